/* SPDX-License-Identifier: MIT */
/* flip_world: a small store with one of everything, kept in memory, so that a bit of any of its files can be flipped
 * and all be restored. For test_flip.c. */
#ifndef FLIP_WORLD_H
#define FLIP_WORLD_H

#include "tests/unit/model.h"

#include "store/chain.h"
#include "store/ingest.h"
#include "store/keeper.h"
#include "store/log_state.h"
#include "store/schemas.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sqlite3.h>
#include <stdarg.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>

#define SEGMENT_BYTES 4096
#define ALARM_SECONDS 120
#define BIG_EVENTS    7

/* PACKED: compressed lines. TWICE: lines that are there in both forms, either of which is enough. */
enum kind { LOG, PACKED, TWICE, IDX, CHECKPOINT, META, CHAIN, OTHER };

struct file {
    char name[64]; /* from the store's directory */
    enum kind kind;
    evs_seq first; /* of a file in log/ */
    char *bytes;
    size_t n;
};

static const struct place {
    struct evs_dir dir;
    struct evs_owner owner; /* mode 0: none of its own */
} places[] = {
    {{EVS_DIR_ENTITY, "a/b", 3}, {4711, 4712, 0700}},
    {{EVS_DIR_ENTITY, "tenant", 6}, {1001, 1002, 0750}},
    {{EVS_DIR_TYPE, "paid", 4}, {1003, 1004, 0711}},
    {{EVS_DIR_ENTITY, "z", 1}, {0}},
};

/* What the store is before a bit is flipped. */
static struct world {
    char *dir;
    struct file files[128];
    int n;
    struct model m;
    char *rejected;  /* what all users see */
    evs_seq durable; /* up to here nothing may be lost */
    bool clean;
} w;

/* Shared with the child: where it is, so that the parent can say what killed it. */
static struct progress {
    uint64_t next;
    uint64_t tried, refused, read_errors, harmless, failed;
    int file;
    uint64_t byte;
    int bit;
} * now;

static const char *const ids[] = {"a", "a/b", "a/b/c", "x//y", "tenant", "50%", "z"};
static const char *const types[] = {"placed", "paid", "a/b"};

static void fail(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
static void fail(const char *fmt, ...)
{
    va_list ap;

    now->failed++;
    fprintf(stderr, "FLIP=%s:%" PRIu64 ":%d: ", w.files[now->file].name, now->byte, now->bit);
    va_start(ap, fmt);
    (void)vfprintf(stderr, fmt, ap);
    va_end(ap);
    fprintf(stderr, "\n");
}

/* ---- the store ---- */

/* As put(), by a user whom no border stops. */
static ssize_t give(struct evs_store *st, const char *text)
{
    struct evs_writer *wr;
    struct evs_error err;

    CHECK_EQ(evs_writer_new(st, &(struct evs_target){.kind = EVS_ALL}, "events.jsonl", &wr, &err),
             0);
    ssize_t r = evs_write(wr, text, strlen(text), &(struct evs_cred){.uid = 0}, &err);
    evs_writer_free(wr);
    return r;
}

/* In one write, so in one segment, which has two frames: the one in the middle is in both. */
static void fill_two_frames(struct evs_store *st)
{
    static char text[FRAME_BYTES + 4096];
    size_t n = 0;

    for (int i = 0; i < BIG_EVENTS; i++) {
        int pad = i == BIG_EVENTS / 2 ? (int)FRAME_BYTES : 3 * i;
        n += (size_t)sprintf(text + n, "{\"entity\":\"big\",\"type\":\"big\",\"data\":\"%*d\"}\n",
                             pad, i);
    }
    CHECK(give(st, text) == (ssize_t)n);
}

static void fill(struct evs_store *st)
{
    char text[1024];

    fill_two_frames(st);
    for (int i = 0; i < 36; i++) {
        (void)snprintf(
            text, sizeof text,
            "{\"entity\":\"%s\",\"type\":\"%s\",\"data\":{\"n\":%d,\"s\":\"%.*s\"}%s%d%s",
            ids[i % 7], types[i % 3], i, i % 37, "abcdefghijklmnopqrstuvwxyz0123456789-",
            i % 4 == 1 ? ",\"id\":\"wid-" : ",\"meta\":{\"k\":", i, i % 4 == 1 ? "\"}\n" : "}}\n");
        CHECK(give(st, text) == (ssize_t)strlen(text));
    }
    CHECK(give(st, "[{\"entity\":\"a\",\"type\":\"paid\",\"data\":1},\n"
                   "{\"entity\":\"z\",\"type\":\"paid\",\"time\":\"2020-01-02T03:04:05Z\"},\n"
                   "{\"entity\":\"tenant\",\"type\":\"placed\",\"data\":\"x\"}]\n") > 0);
    CHECK(give(st, "{\"entity\":\"a\"}\n") < 0); /* for rejected.jsonl */
    CHECK(give(st, "{]\n") < 0);
    CHECK(put(st, "{]\n") < 0); /* by another user */
}

/* Segments smaller than anybody may ask for: the fewer bytes, the more of them get their turn. */
static UNANALYSED void make_segments_small(struct evs_store *st)
{
    st->lg->o.segment_bytes = SEGMENT_BYTES;
    st->lg->current->room.bytes = MAX(SEGMENT_BYTES, st->lg->current->tail.bytes);
}

/* All sealed segments are hashed, two are compressed; of the second one the plain file stays if the packer dies. */
static void hash_and_pack(struct evs_store *st, bool clean)
{
    struct evs_error err;

    while (chain_extend(st->chain, UINT32_MAX))
        ;
    for (int step = 0; step < (clean ? 4 : 3); step++) {
        CHECK_EQ(log_pack(st->lg, 19, NULL, &err), 1);
        log_pack_switch(st->lg);
    }
}

/* The same for meta.db: of its 4 KiB a page most are zeros. */
static void make_pages_small(const char *dir)
{
    struct evs_store *st;
    struct evs_error err;
    char path[300];
    sqlite3 *db;

    CHECK_EQ(evs_open(dir, NULL, &st, &err), 0);
    CHECK_EQ(evs_close(st, &err), 0);
    (void)snprintf(path, sizeof path, "%s/meta.db", dir);
    CHECK_EQ(sqlite3_open(path, &db), SQLITE_OK);
    CHECK_EQ(sqlite3_exec(db, "PRAGMA journal_mode=DELETE; PRAGMA page_size=512; VACUUM", NULL,
                          NULL, NULL),
             SQLITE_OK);
    CHECK_EQ(sqlite3_close(db), SQLITE_OK);
}

static void make_store(const char *dir, bool clean)
{
    const struct evs_options o = {.sync_interval_ms = UINT32_MAX, .compress = -1};
    struct evs_store *st;
    struct evs_error err;

    make_pages_small(dir);
    CHECK_EQ(evs_open(dir, &o, &st, &err), 0);
    keeper_stop(st);
    schemas_calm(st);
    make_segments_small(st);
    for (size_t i = 0; i < ARRAY_LEN(places); i++)
        if (places[i].owner.mode)
            CHECK_EQ(evs_set_owner(st, &places[i].dir, &places[i].owner, &err), 0);
    fill(st);
    CHECK_EQ(evs_checkpoint(st, &err), 0);
    CHECK(give(st, "{\"entity\":\"late\",\"type\":\"late\",\"data\":[1,2]}\n") > 0);
    CHECK_EQ(evs_sync(st, evs_end(st), &err), 0);
    hash_and_pack(st, clean);
    if (clean) {
        CHECK_EQ(evs_close(st, &err), 0);
        return;
    }
    /* What may go is behind the durable place: of one event and a transaction. */
    CHECK(give(st, "{\"entity\":\"a\",\"type\":\"paid\",\"data\":[3]}\n") > 0);
    CHECK(give(st, "[{\"entity\":\"late\",\"type\":\"late\"},{\"entity\":\"a\",\"type\":\"x\"}]") >
          0);
    _exit(check_failed ? 1 : 0);
}

static bool ends_with(const char *s, const char *end)
{
    size_t n = strlen(s), m = strlen(end);

    return n >= m && strcmp(s + n - m, end) == 0;
}

static enum kind kind_of(const char *name)
{
    if (ends_with(name, ".jsonl"))
        return strncmp(name, "log/", 4) == 0 ? LOG : OTHER;
    return ends_with(name, ".zst")            ? PACKED
           : ends_with(name, ".idx")          ? IDX
           : strcmp(name, "index.ckpt") == 0  ? CHECKPOINT
           : strncmp(name, "meta.db", 7) == 0 ? META
           : ends_with(name, ".sha256")       ? CHAIN
                                              : OTHER;
}

static void path_of(const char *name, char out[256])
{
    (void)snprintf(out, 256, "%s/%.200s", w.dir, name);
}

static void take_file(const char *name)
{
    struct file *f = &w.files[w.n];
    struct stat st;
    char path[256];

    path_of(name, path);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    CHECK(fd >= 0 && fstat(fd, &st) == 0);
    (void)snprintf(f->name, sizeof f->name, "%s", name);
    f->kind = kind_of(name);
    f->first = strncmp(name, "log/", 4) == 0 ? strtoull(name + 4, NULL, 10) : 0;
    f->n = (size_t)st.st_size;
    f->bytes = malloc(f->n + 1);
    CHECK_EQ(read(fd, f->bytes, f->n), f->n);
    (void)close(fd);
    w.n++;
}

static int by_name(const void *a, const void *b)
{
    return strcmp(((const struct file *)a)->name, ((const struct file *)b)->name);
}

static void mark_twice(void)
{
    for (int i = 0; i + 1 < w.n; i++) /* by name: a segment's files stand together */
        for (int k = i + 1; k < w.n; k++)
            if (w.files[i].kind == LOG && w.files[k].kind == PACKED &&
                w.files[i].first == w.files[k].first)
                w.files[i].kind = w.files[k].kind = TWICE;
}

/* fn with the name of each file of the store below dir, which is "" or ends in '/'. */
static void each_file_of(const char *dir, void (*fn)(const char *name))
{
    char path[256], name[512];
    struct stat st;

    path_of(dir, path);
    DIR *d = opendir(path);
    for (const struct dirent *e; d && (e = readdir(d));) {
        if (e->d_name[0] == '.')
            continue;
        (void)snprintf(name, sizeof name, "%s%s", dir, e->d_name);
        path_of(name, path);
        if (lstat(path, &st) == 0 && S_ISDIR(st.st_mode)) {
            (void)strcat(name, "/");
            each_file_of(name, fn);
        } else {
            fn(name);
        }
    }
    CHECK(d != NULL);
    (void)closedir(d);
}

static void each_file(void (*fn)(const char *name))
{
    each_file_of("", fn);
}

static void remove_other(const char *name)
{
    char path[256];

    for (int i = 0; i < w.n; i++)
        if (strcmp(w.files[i].name, name) == 0)
            return;
    path_of(name, path);
    (void)remove(path);
}

static void restore(void)
{
    each_file(remove_other);
    for (int i = 0; i < w.n; i++) {
        char path[256];
        path_of(w.files[i].name, path);
        for (char *p = strchr(path + strlen(w.dir) + 1, '/'); p; p = strchr(p + 1, '/')) {
            *p = '\0';
            (void)mkdir(path, 0700);
            *p = '/';
        }
        int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
        CHECK(fd >= 0 && write(fd, w.files[i].bytes, w.files[i].n) == (ssize_t)w.files[i].n);
        (void)close(fd);
    }
}

static void flip(void)
{
    const struct file *f = &w.files[now->file];
    char path[256], c = (char)(f->bytes[now->byte] ^ (1 << now->bit));

    path_of(f->name, path);
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    CHECK(fd >= 0 && pwrite(fd, &c, 1, (off_t)now->byte) == 1);
    (void)close(fd);
}

static bool make_world(bool clean)
{
    struct evs_store *st;
    struct evs_error err;
    int status, before = check_failed;

    w = (struct world){.dir = strdup("/dev/shm/evfs-flip-XXXXXX"), .clean = clean};
    if (!mkdtemp(w.dir)) {
        free(w.dir);
        w.dir = model_dir();
    }
    (void)fflush(NULL);
    pid_t pid = fork();
    if (pid == 0) {
        check_failed = 0;
        make_store(w.dir, clean);
        _exit(check_failed ? 1 : 0);
    }
    CHECK(waitpid(pid, &status, 0) == pid && status == 0);
    each_file(take_file);
    qsort(w.files, (size_t)w.n, sizeof *w.files, by_name);
    mark_twice();
    CHECK_EQ(evs_open(w.dir, &(struct evs_options){.read_only = true}, &st, &err), 0);
    model_load(&w.m, st);
    size_t n;
    CHECK_EQ(evs_rejected(st, true, 0, &w.rejected, &n, &err), 0);
    w.durable = clean ? w.m.n : w.m.n - 3;
    CHECK_EQ(evs_close(st, &err), 0);
    CHECK_EQ(w.m.n, BIG_EVENTS + (clean ? 40 : 43));
    return check_failed == before;
}

static void free_world(void)
{
    for (int i = 0; i < w.n; i++)
        free(w.files[i].bytes);
    free(w.rejected);
    model_free(&w.m);
    model_remove(w.dir);
}

#endif
