/* SPDX-License-Identifier: MIT */
/* backup_compare: is what a backup has a prefix of the store's log? And is what it got whole? */
#include "backup_state.h"
#include "io.h"
#include "limits.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>

#define SAMPLE ((size_t)64 << 10) /* bytes compared at each end of a sealed segment */

struct read_at {
    const char *from;
    char *to;
    size_t n;
};

static int read_job(void *arg)
{
    const struct read_at *j = arg;

    memcpy(j->to, j->from, j->n);
    return 0;
}

int backup_bytes(const char *from, char *to, size_t n)
{
    return io_guarded(read_job, &(struct read_at){from, to, n});
}

/* 1 if the next n bytes, or the first of them, are the same in both. */
static int same_bytes(struct backup *b, const struct log *old, uint64_t pos, uint64_t n,
                      struct evs_error *err)
{
    char *buf AUTO_FREE = malloc(2 * SAMPLE);
    size_t k = (size_t)MIN(n, SAMPLE);

    if (!buf)
        return evs_fail(err, EVS_NO_MEMORY, EVS_NOWHERE);
    if (pos + k > b->end)
        return 0;
    ssize_t r = log_read(old, pos, buf, k, err);
    if (r >= 0)
        r = log_read(b->src, pos, buf + SAMPLE, k, err);
    return r < 0 ? (int)r : memcmp(buf, buf + SAMPLE, k) == 0;
}

struct compare {
    struct backup *b;
    uint64_t pos; /* of the next line, in both logs */
    evs_seq end;
    char *buf; /* two lines of up to cap bytes */
    size_t cap;
    struct evs_error *err;
};

static int compare_line(struct compare *c, const struct log_walked *w)
{
    size_t n = w->raw.n;

    if (n > c->cap) {
        char *p = realloc(c->buf, 4 * n);
        if (!p)
            return evs_fail(c->err, EVS_NO_MEMORY, EVS_NOWHERE);
        c->buf = p;
        c->cap = 2 * n;
    }
    int r = backup_bytes(w->raw.p, c->buf, n);
    if (r < 0)
        return evs_fail_errno(c->err, r, c->b->dest);
    if (c->pos >= c->b->end)
        return evs_fail_at(c->err, EVS_NOT_BACKUP, EVS_NOWHERE,
                           "event %" PRIu64 " is in it, and not in the store", w->line.seq);
    bool there = c->pos + n <= c->b->end;
    ssize_t k = there ? log_read(c->b->src, c->pos, c->buf + c->cap, n, c->err) : 0;
    if (k < 0)
        return (int)k;
    if (!there || memcmp(c->buf, c->buf + c->cap, n) != 0)
        return evs_fail_at(c->err, EVS_NOT_BACKUP, EVS_NOWHERE, "event %" PRIu64 " differs",
                           w->line.seq);
    c->pos += n;
    return 0;
}

static int compare_lines(void *arg, const struct log_walked *lines, size_t n)
{
    struct compare *c = arg;
    int r = 0;

    for (size_t i = 0; i < n && r == 0 && lines[i].line.seq < c->end; i++)
        r = compare_line(c, &lines[i]);
    return r;
}

/* backup.c, (5) */
static int compare(struct backup *b, const struct log *old, struct evs_error *err)
{
    evs_seq end = log_end(old);
    struct log_span sp;

    for (evs_seq seq = 1; seq <= end; seq = sp.end) {
        int r = log_span(old, seq, &sp);
        if (r < 0)
            return evs_fail(err, EVS_NO_SUCH, EVS_NOWHERE); /* can't be: it is visible */
        if (log_sealed(old, seq)) {
            uint64_t tail = MIN(sp.bytes, SAMPLE);
            if ((r = same_bytes(b, old, sp.before, sp.bytes, err)) > 0)
                r = same_bytes(b, old, sp.before + sp.bytes - tail, tail, err);
            if (r < 0)
                return r;
            if (r > 0)
                continue;
        }
        struct compare c = {.b = b, .pos = sp.before, .end = sp.end, .err = err};
        r = log_walk(old, sp.first, compare_lines, &c, err);
        free(c.buf);
        if (r < 0)
            return r;
    }
    return 0;
}

int backup_compare(struct backup *b, uint64_t *ret_bytes, evs_seq *ret_seq, struct evs_error *err)
{
    const struct log_options lo = {.segment_bytes = LIMIT_SEGMENT_BYTES_MAX, .read_only = true};
    struct log *old;
    int r = log_open(b->root, &lo, &old, err);

    if (r < 0)
        return r;
    r = compare(b, old, err);
    if (r == 0) {
        *ret_bytes = log_bytes(old);
        *ret_seq = log_end(old);
    }
    log_abandon(old);
    return r;
}

static int check_line(void *arg, const struct log_walked *lines, size_t n)
{
    (void)arg;
    (void)lines;
    (void)n;
    return 0; /* the walk checks */
}

int backup_check(struct backup *b, evs_seq from, struct evs_error *err)
{
    const struct log_options lo = {.segment_bytes = LIMIT_SEGMENT_BYTES_MAX, .read_only = true};
    struct log *lg;
    int r = log_open(b->root, &lo, &lg, err);

    if (r < 0)
        return r;
    if (log_bytes(lg) != b->end || log_end(lg) != b->end_seq)
        r = evs_fail_at(err, EVS_DAMAGED, log_bytes(lg),
                        "%s: the backup ends with event %" PRIu64 ", not %" PRIu64, b->dest,
                        log_end(lg), b->end_seq);
    else if (from <= b->end_seq)
        r = log_walk(lg, from, check_line, NULL, err);
    log_abandon(lg);
    return r;
}
