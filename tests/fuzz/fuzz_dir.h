/* SPDX-License-Identifier: MIT */
/* fuzz_dir: a directory in memory for targets whose input are files, and a small store whose files an input
 * damages. */
#ifndef FUZZ_DIR_H
#define FUZZ_DIR_H

#include "fuzz.h"
#include "store/crc.h"
#include "store/ingest.h"
#include "store/recover.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>

static inline void fuzz_remove(void);

static inline const char *fuzz_dir(void)
{
    static char dir[256];

    if (!dir[0]) {
        const char *top = getenv("EVFS_FUZZ_DIR"); /* whose is to be removed with what is in it */
        (void)snprintf(dir, sizeof dir, "%s/evfs-fuzz-XXXXXX", top ? top : "/dev/shm");
        if (!mkdtemp(dir)) {
            (void)snprintf(dir, sizeof dir, "/tmp/evfs-fuzz-XXXXXX");
            DEMAND(mkdtemp(dir));
        }
        (void)atexit(fuzz_remove);
    }
    return dir;
}

static inline void fuzz_path(char out[400], const char *name)
{
    (void)snprintf(out, 400, "%s/%s", fuzz_dir(), name);
}

static inline void fuzz_put(const char *name, const void *p, size_t n)
{
    char path[400];

    fuzz_path(path, name);
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    DEMAND(fd >= 0 && write(fd, p, n) == (ssize_t)n);
    (void)close(fd);
}

static inline void fuzz_clear(const char *below)
{
    char path[700], dir[400];

    fuzz_path(dir, below);
    DIR *d = opendir(dir);
    for (struct dirent *e; d && (e = readdir(d));) {
        if (e->d_type == DT_DIR)
            continue;
        (void)snprintf(path, sizeof path, "%s/%s", dir, e->d_name);
        (void)unlink(path);
    }
    if (d)
        (void)closedir(d);
}

static inline void fuzz_remove(void)
{
    char path[400];

    fuzz_clear("log");
    fuzz_clear("");
    fuzz_path(path, "log");
    (void)rmdir(path);
    (void)rmdir(fuzz_dir());
}

/* ---- a store to damage ---- */

#define FUZZ_LOG  "log/00000000000000000001.jsonl"
#define FUZZ_IDX  "log/00000000000000000001.idx"
#define FUZZ_CKPT "index.ckpt"

struct fuzz_file {
    char *p;
    size_t n;
};

struct fuzz_store {
    struct fuzz_file log, idx, ckpt, meta;
};

static inline struct fuzz_file fuzz_get(const char *name)
{
    char path[400];
    struct stat s;

    fuzz_path(path, name);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    DEMAND(fd >= 0 && fstat(fd, &s) == 0);
    struct fuzz_file f = {malloc((size_t)s.st_size + 1), (size_t)s.st_size};
    DEMAND(read(fd, f.p, f.n) == (ssize_t)f.n);
    (void)close(fd);
    return f;
}

static inline void fuzz_append(struct evs_store *st, int from, int to)
{
    struct evs_writer *w = NULL;
    char text[400];

    DEMAND(evs_writer_new(st, &(struct evs_target){.kind = EVS_ALL}, NULL, &w, NULL) == 0);
    for (int i = from; i < to; i++) {
        int n;
        if (i % 7 == 3)
            n = snprintf(text, sizeof text,
                         "[{\"entity\":\"a/"
                         "%d\",\"type\":\"t\"},{\"entity\":\"a\",\"type\":\"u\",\"id\":\"i%d\"},"
                         "{\"entity\":\"b\",\"type\":\"t\",\"data\":[%d]}]\n",
                         i % 3, i, i);
        else
            n = snprintf(
                text, sizeof text, "{\"entity\":\"%s%d\",\"type\":\"t%d\",\"data\":{\"n\":%d}%s}\n",
                i % 2 ? "a/b/" : "c\\n", i % 4, i % 3, i, i % 5 ? "" : ",\"meta\":{\"m\":1}");
        DEMAND(evs_write(w, text, (size_t)n, &(struct evs_cred){.uid = 7}, NULL) == n);
    }
    evs_writer_free(w);
}

static inline const struct evs_options *fuzz_options(bool read_only)
{
    static const struct evs_options o[2] = {{.clock_us = fuzz_clock,
                                             .sync_interval_ms = UINT32_MAX,
                                             .segment_bytes = 64 << 10,
                                             .no_schemas = true},
                                            {.clock_us = fuzz_clock,
                                             .sync_interval_ms = UINT32_MAX,
                                             .segment_bytes = 64 << 10,
                                             .no_schemas = true,
                                             .read_only = true}};

    return &o[read_only];
}

/* Its checkpoint covers half of it; the end was clean. */
static inline const struct fuzz_store *fuzz_store(void)
{
    static struct fuzz_store base;
    struct evs_store *st = NULL;

    if (base.log.p)
        return &base;
    DEMAND(evs_open(fuzz_dir(), fuzz_options(false), &st, NULL) == 0);
    fuzz_append(st, 0, 20);
    DEMAND(evs_checkpoint(st, NULL) == 0);
    struct fuzz_file ckpt = fuzz_get(FUZZ_CKPT);
    fuzz_append(st, 20, 40);
    DEMAND(evs_close(st, NULL) == 0);
    base.log = fuzz_get(FUZZ_LOG);
    base.idx = fuzz_get(FUZZ_IDX);
    base.meta = fuzz_get("meta.db");
    base.ckpt = ckpt;
    return &base;
}

/* The edits of an input, [what, where (2), how many, bytes…] each, applied to a copy of f. */
static inline struct fuzz_file fuzz_edit(const struct fuzz_file *f, const uint8_t *data,
                                         size_t size)
{
    enum { OVERWRITE, DELETE, INSERT, CUT, KINDS };
    struct fuzz_file e = {malloc(f->n + 256 * size + 1), f->n};

    memcpy(e.p, f->p, f->n);
    while (size >= 4 && e.n > 0) {
        size_t at = (data[1] | (size_t)data[2] << 8) * (f->n > 65536 ? f->n / 65536 : 1) % e.n;
        size_t n = data[3], given = MIN(n, size - 4);
        const uint8_t *bytes = data + 4;
        int kind = data[0] % KINDS;
        size -= 4, data += 4;
        if (kind == OVERWRITE) {
            memcpy(e.p + at, bytes, MIN(given, e.n - at));
        } else if (kind == DELETE) {
            n = MIN(n, e.n - at);
            memmove(e.p + at, e.p + at + n, e.n - at - n);
            e.n -= n;
            continue;
        } else if (kind == INSERT) {
            memmove(e.p + at + given, e.p + at, e.n - at);
            memcpy(e.p + at, bytes, given);
            e.n += given;
        } else {
            e.n = at;
            continue;
        }
        size -= given, data += given;
    }
    return e;
}

/* Give every line the checksum that its bytes have. */
static inline void fuzz_fix_lines(struct fuzz_file *f)
{
    static const char key[] = "\"crc\":\"", hex[] = "0123456789abcdef";

    for (char *p = f->p, *lf; (lf = memchr(p, '\n', f->n - (size_t)(p - f->p))); p = lf + 1) {
        size_t n = (size_t)(lf - p) + 1;
        char *at = memmem(p, n, key, sizeof key - 1);
        if (!at || (size_t)(lf - at) < sizeof key - 1 + 8)
            continue;
        at += sizeof key - 1;
        uint32_t crc = crc32c(crc32c(0, p, (size_t)(at - p)), at + 8, n - (size_t)(at - p) - 8);
        for (int i = 0; i < 8; i++)
            at[i] = hex[crc >> (28 - 4 * i) & 15];
    }
}

/* Lay the files out anew; NULL is a file that is not there. */
static inline void fuzz_lay(const struct fuzz_file *log, const struct fuzz_file *idx,
                            const struct fuzz_file *ckpt)
{
    const struct fuzz_file *meta = &fuzz_store()->meta;

    fuzz_clear("log");
    fuzz_clear("");
    fuzz_put(FUZZ_LOG, log->p, log->n);
    if (idx)
        fuzz_put(FUZZ_IDX, idx->p, idx->n);
    if (ckpt)
        fuzz_put(FUZZ_CKPT, ckpt->p, ckpt->n);
    fuzz_put("meta.db", meta->p, meta->n);
}

/* Log and index without what else a store has, which would take most of the time. On failure st is empty. */
static inline int fuzz_open(bool read_only, struct evs_store *st, struct evs_error *err) UNANALYSED;
static inline int fuzz_open(bool read_only, struct evs_store *st, struct evs_error *err)
{
    const struct log_options o = {.segment_bytes = 64 << 10, .read_only = read_only};
    int64_t recorded_us;
    evs_seq from;
    int r;

    *st = (struct evs_store){.options.read_only = read_only, .hold = HOLD_NONE};
    st->dirfd = open(fuzz_dir(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DEMAND(st->dirfd >= 0);
    if ((r = log_open(st->dirfd, &o, &st->lg, err)) == 0 &&
        (r = recover_index(st->dirfd, read_only, st->lg, &st->ix, &from, &recorded_us, err)) == 0)
        return 0;
    DEMAND(r == -err->code && err->why != EVS_OK_);
    log_abandon(st->lg);
    (void)close(st->dirfd);
    return r;
}

static inline void fuzz_close(struct evs_store *st)
{
    if (st->options.read_only)
        log_abandon(st->lg);
    else
        (void)log_close(st->lg, NULL);
    index_free(st->ix);
    (void)close(st->dirfd);
}

/* What verify finds: any number, but no crash; none where all was looked at while opening. */
static inline void fuzz_verify(bool clean)
{
    struct evs_error err = {.why = EVS_OK_};
    int r = evs_verify(fuzz_dir(), NULL, NULL, &err);

    DEMAND(r >= 0 || (r == -err.code && err.why != EVS_OK_));
    DEMAND(!clean || r == 0);
}

/* Is the line the one that base has with its seq? */
static inline void fuzz_is_from(const struct fuzz_file *base, const char *p, size_t n)
{
    const char *at = memmem(base->p, base->n, p, n);

    DEMAND(at && (at == base->p || at[-1] == '\n'));
}

/* Every view of an open store: whole lines, or an error. base (may be NULL): where each of them stands. */
static inline void fuzz_look(struct evs_store *st, const struct fuzz_file *base)
{
    const evs_type types = evs_type_count(st);
    ssize_t r;
    size_t n;

    struct evs_view v[3] = {{.kind = EVS_ALL}};
    for (evs_entity e = 0; e < 40; e++) {
        v[0] = e ? (struct evs_view){.kind = EVS_BELOW, .entity = e}
                 : (struct evs_view){.kind = EVS_ALL};
        v[1] = (struct evs_view){.kind = EVS_TYPE, .type = e};
        v[2] = (struct evs_view){.kind = EVS_OWN_TYPE, .entity = e, .type = 1 + e % 3};
        for (int k = 0; k < 3; k++) {
            char name[1100];
            if (k != 1 && e && (e == EVS_ROOT || evs_entity_name(st, e, name, sizeof name) <= 0))
                continue;
            if (k == 1 && (e == 0 || e > types))
                continue;
            if (k == 2 && (e == 0 || v[2].type > types))
                continue;
            char *p = fuzz_read(st, &v[k], &n, &r);
            for (size_t at = 0; at < n && k < 2 && r == 0;) {
                const char *lf = memchr(p + at, '\n', n - at);
                DEMAND(lf);
                if (base)
                    fuzz_is_from(base, p + at, (size_t)(lf - p) + 1 - at);
                at = (size_t)(lf - p) + 1;
            }
            free(p);
        }
    }
    (void)evs_next_child(st, EVS_ROOT, 0);
}

#endif
