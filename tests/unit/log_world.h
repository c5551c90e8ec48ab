/* SPDX-License-Identifier: MIT */
/* log_world: a log in a directory of its own, whose lines are a function of their seq, so that a
 * test can say of any log whether it holds what was put in. Shared by test_log.c and
 * test_resume.c. */
#ifndef LOG_WORLD_H
#define LOG_WORLD_H

#include "check.h"

#include "store/io.h"
#include "store/log.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/wait.h>

#define WORLD_LINES    20000u
#define WORLD_LINE_MAX 1024u

struct world {
    char dir[256];
    int dirfd;
    struct log *lg; /* NULL while closed */
    struct log_options o;
    uint32_t tx[WORLD_LINES + 1]; /* of the line with this seq */
};

static inline void world_clear(struct world *w, const char *below)
{
    char path[600];
    struct dirent *e;
    (void)snprintf(path, sizeof path, "%s/%s", w->dir, below);
    DIR *d = opendir(path);

    while (d && (e = readdir(d))) {
        (void)snprintf(path, sizeof path, "%s/%s/%s", w->dir, below, e->d_name);
        (void)unlink(path);
    }
    if (d)
        (void)closedir(d);
}

static inline struct world *world_new(uint64_t segment_bytes)
{
    struct world *w = calloc(1, sizeof *w);
    const char *tmp = getenv("TMPDIR");

    if (!w)
        abort();
    (void)snprintf(w->dir, sizeof w->dir, "%s/evfs-log-XXXXXX", tmp ? tmp : "/tmp");
    if (!mkdtemp(w->dir) || (w->dirfd = open(w->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC)) < 0)
        abort();
    w->o.segment_bytes = segment_bytes;
    return w;
}

static inline void world_free(struct world *w)
{
    char path[300];

    log_abandon(w->lg);
    world_clear(w, "log");
    (void)snprintf(path, sizeof path, "%s/log", w->dir);
    (void)rmdir(path);
    (void)close(w->dirfd);
    (void)rmdir(w->dir);
    free(w);
}

static inline int world_open(struct world *w, struct evs_error *err)
{
    return log_open(w->dirfd, &w->o, &w->lg, err);
}

static inline void world_reopen(struct world *w) /* must succeed */
{
    struct evs_error err = {0};
    char text[300];
    int r = world_open(w, &err);

    if (r < 0) {
        fprintf(stderr, "open: %s\n", evs_error_format(&err, text, sizeof text));
        exit(1);
    }
}

static inline void world_crash(struct world *w)
{
    log_abandon(w->lg);
    w->lg = NULL;
}

static inline void world_close(struct world *w)
{
    CHECK_EQ(log_close(w->lg, NULL), 0);
    w->lg = NULL;
}

/* The line of seq, and its rec but for the offset. */
static inline size_t world_line(const struct world *w, evs_seq seq, char *out, struct log_rec *rec)
{
    static _Thread_local struct line_memo memo;
    char data[WORLD_LINE_MAX / 2];
    uint32_t data_at, crc;
    int n = snprintf(data, sizeof data, "{\"n\":%" PRIu64 ",\"pad\":\"%.*s\"}", seq,
                     (int)(seq * 7 % 60),
                     "the quick brown fox jumps over the lazy dog, and on and on and on");
    struct line l = {
        .seq = seq,
        .version = seq,
        .recorded_us = 1790000000000000 + (int64_t)seq,
        .entity = {"orders/42", 9},
        .type = {"placed", 6},
        .data = {data, (size_t)n},
        .uid = 1000,
        .tx = w->tx[seq],
        .id_key = 77,
    };

    if (line_bound(&l) > WORLD_LINE_MAX)
        abort();
    size_t len = line_write(&l, &memo, out, &data_at, &crc);
    *rec = (struct log_rec){
        .place = log_place(0, data_at),
        .recorded_us = l.recorded_us,
        .len = (uint32_t)len,
        .check = crc, /* of the line, until the log puts the right one */
        .entity = 7,
        .type = 3,
    };
    return len;
}

/* Append n lines as one batch, of one transaction if tx, and publish. On failure cut. */
static inline UNANALYSED int world_try(struct world *w, uint32_t n, bool tx, struct evs_error *err)
{
    char *lines = malloc((size_t)n * WORLD_LINE_MAX);
    struct log_rec *recs = calloc(n, sizeof *recs);
    size_t bytes = 0;
    evs_seq first = log_end(w->lg) + 1;

    if (!lines || !recs || first + n > WORLD_LINES)
        abort();
    for (uint32_t i = 0; i < n; i++) {
        w->tx[first + i] = tx ? n - 1 - i : 0;
        recs[i].place = bytes; /* replaced below, when the tail is known */
        size_t len = world_line(w, first + i, lines + bytes, &recs[i]);
        recs[i].place += bytes;
        bytes += len;
    }
    int r = log_reserve(w->lg, bytes, n, err);
    for (uint32_t i = 0; r == 0 && i < n; i++)
        recs[i].place += log_tail(w->lg);
    if (r == 0)
        r = log_append(w->lg, lines, bytes, recs, n, err);
    if (r == 0)
        log_publish(w->lg);
    free(lines);
    free(recs);
    return r;
}

static inline void world_add(struct world *w, uint32_t n, bool tx)
{
    CHECK_EQ(world_try(w, n, tx, NULL), 0);
}

struct world_seen {
    struct world *w;
    evs_seq next;
    bool fix;
};

static inline UNANALYSED int world_walked(void *arg, const struct log_walked *l, size_t n)
{
    struct world_seen *seen = arg;
    char want[WORLD_LINE_MAX];
    struct log_rec rec;

    for (size_t i = 0; i < n; i++, seen->next++) {
        size_t len = world_line(seen->w, seen->next, want, &rec);
        CHECK_EQ(l[i].line.seq, seen->next);
        CHECK_MEM(l[i].raw.p, l[i].raw.n, want, len);
        CHECK_EQ(l[i].crc, rec.check);
        CHECK_EQ(l[i].data, log_rec_data(&rec));
        rec.place = log_place(l[i].offset, l[i].data);
        if (seen->fix)
            CHECK_EQ(log_fix_recs(seen->w->lg, seen->next, &rec, 1, NULL), 0);
        rec.check = log_rec_check(&rec, seen->next);
        CHECK(memcmp(log_rec(seen->w->lg, seen->next), &rec, sizeof rec) == 0);
    }
    return 0;
}

/* The log holds exactly the lines 1 to end, with (after a replay, where fix) the right recs. */
static inline void world_check(struct world *w, evs_seq end, bool fix)
{
    struct world_seen seen = {w, 1, fix};
    char want[WORLD_LINE_MAX];
    struct log_pin pin = {0};
    struct log_rec rec;
    uint64_t bytes = 0;

    CHECK_EQ(log_end(w->lg), end);
    CHECK_EQ(log_walk(w->lg, 1, world_walked, &seen, NULL), 0);
    CHECK_EQ(seen.next, end + 1);
    for (evs_seq seq = 1; seq <= end; seq++) {
        size_t len = world_line(w, seq, want, &rec);
        struct slice got = {0};
        CHECK_EQ(log_line(w->lg, seq, &pin, &got, NULL), 0);
        CHECK_MEM(got.p, got.n, want, len);
        bytes += len;
    }
    log_unpin(&pin);
    CHECK_EQ(log_bytes(w->lg), bytes);
}

static inline int world_file(const struct world *w, evs_seq first, const char *suffix, int flags)
{
    char path[400];

    (void)snprintf(path, sizeof path, "%s/log/%020" PRIu64 "%s", w->dir, first, suffix);
    return open(path, flags | O_CLOEXEC, 0666);
}

static inline int64_t world_size(const struct world *w, evs_seq first, const char *suffix)
{
    struct stat st = {.st_size = -1};
    int fd = world_file(w, first, suffix, O_RDONLY);

    if (fd >= 0) {
        (void)fstat(fd, &st);
        (void)close(fd);
    }
    return st.st_size;
}

static inline void world_cut(const struct world *w, evs_seq first, int64_t size)
{
    int fd = world_file(w, first, ".jsonl", O_RDWR);

    CHECK_EQ(ftruncate(fd, size), 0);
    (void)close(fd);
}

static inline void world_unlink(const struct world *w, evs_seq first, const char *suffix)
{
    char path[400];

    (void)snprintf(path, sizeof path, "%s/log/%020" PRIu64 "%s", w->dir, first, suffix);
    CHECK_EQ(unlink(path), 0);
}

/* Change the byte at pos. */
static inline void world_flip(const struct world *w, evs_seq first, const char *suffix, int64_t pos)
{
    char c = 0;
    int fd = world_file(w, first, suffix, O_RDWR);

    CHECK_EQ(pread(fd, &c, 1, pos), 1);
    c ^= 1;
    CHECK_EQ(pwrite(fd, &c, 1, pos), 1);
    (void)close(fd);
}

/* All files below log/, as bytes in memory: for going back, and for comparing. */
struct world_files {
    size_t n;
    struct {
        char name[64];
        char *p;
        size_t len;
    } f[256];
};

static inline int world_order(const void *a, const void *b)
{
    return strcmp(a, b);
}

static inline struct world_files *world_save(const struct world *w)
{
    struct world_files *s = calloc(1, sizeof *s);
    char path[300];
    struct dirent *e;
    (void)snprintf(path, sizeof path, "%s/log", w->dir);
    DIR *d = opendir(path);

    if (!s || !d)
        abort();
    while ((e = readdir(d)) && s->n < ARRAY_LEN(s->f)) {
        struct stat st;
        if (e->d_name[0] == '.')
            continue;
        int fd = openat(dirfd(d), e->d_name, O_RDONLY | O_CLOEXEC);
        if (fd < 0 || fstat(fd, &st) < 0 || !(s->f[s->n].p = malloc((size_t)st.st_size + 1)))
            abort();
        s->f[s->n].len = (size_t)read(fd, s->f[s->n].p, (size_t)st.st_size);
        (void)snprintf(s->f[s->n++].name, sizeof s->f[0].name, "%.60s", e->d_name);
        (void)close(fd);
    }
    (void)closedir(d);
    qsort(s->f, s->n, sizeof s->f[0], world_order);
    return s;
}

static inline void world_restore(struct world *w, const struct world_files *s)
{
    world_clear(w, "log");
    for (size_t i = 0; i < s->n; i++) {
        char path[400];
        (void)snprintf(path, sizeof path, "%s/log/%s", w->dir, s->f[i].name);
        int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0666);
        if (fd < 0 || write(fd, s->f[i].p, s->f[i].len) != (ssize_t)s->f[i].len)
            abort();
        (void)close(fd);
    }
}

static inline bool world_same(const struct world_files *a, const struct world_files *b)
{
    bool same = a->n == b->n;

    for (size_t i = 0; same && i < a->n; i++)
        same = strcmp(a->f[i].name, b->f[i].name) == 0 && a->f[i].len == b->f[i].len &&
               memcmp(a->f[i].p, b->f[i].p, a->f[i].len) == 0;
    return same;
}

static inline void world_forget(struct world_files *s)
{
    for (size_t i = 0; i < s->n; i++)
        free(s->f[i].p);
    free(s);
}

#endif
