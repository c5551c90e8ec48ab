/* SPDX-License-Identifier: MIT */
/* cursor: one reader for every view. It keeps the place behind the last byte that it gave, so that reading
 * on costs no search; another byte is found in O(log n) through the chunks' running byte counts.
 * (1) pos is the view's byte at which `line` begins; the bytes of [pos, pos + line_len) are the line's.
 * (2) Nothing is given out of a line whose CRC or seq is not what it must be: then DAMAGED, and the log is
 *     read-only from then on.
 * (3) All reading of mapped bytes happens inside io_guarded(): a disk that can't deliver is EIO.
 * (4) Lines are pinned while they are looked at. Between two calls nothing is, but for what a peek has given:
 *     a file that is open and not read holds no memory. */
#include "cursor.h"
#include "hotpath.h"
#include "io.h"

#include <endian.h>
#include <errno.h>

#define CACHE_LINE  64
#define AHEAD_BYTES 1024u /* of a line: of longer ones the processor sees what comes */

struct cursor {
    const struct index *ix;
    struct log *lg;
    struct evs_view of;
    struct view v; /* the last look at it */
    struct lengths len;
    uint64_t pos;      /* byte of the view at which the present line begins */
    evs_seq seq;       /* of the present line; 0: no place yet, or at the end */
    int part;          /* in which it.seq stands */
    struct posting it; /* not for EVS_ALL */
    struct log_pin pin;
};

struct job {
    struct cursor *c;
    uint64_t pos;
    char *buf;
    const char *at; /* peek: where the bytes are */
    size_t n;
    ssize_t got;
    evs_seq after;
    cursor_line_fn *fn;
    void *arg;
    struct evs_error *err;
};

static int open_job(void *arg)
{
    struct cursor *c = arg;

    return view_open(c->ix, c->lg, &c->of, log_end(c->lg), &c->v);
}

int cursor_new(const struct index *ix, struct log *lg, const struct evs_view *v,
               struct cursor **ret, struct evs_error *err)
{
    struct cursor *c = malloc(sizeof *c);

    if (!c)
        return evs_fail(err, EVS_NO_MEMORY, EVS_NOWHERE);
    *c = (struct cursor){.ix = ix, .lg = lg, .of = *v, .len.lg = lg};
    int r = io_guarded(open_job, c);
    if (r < 0) {
        free(c);
        if (r == -ENOENT)
            return evs_fail(err, EVS_NO_SUCH, EVS_NOWHERE);
        struct evs_error why;
        return log_trouble(lg, &why) ? evs_fail_as(err, &why)
                                     : evs_fail_errno(err, r, "reading the log");
    }
    c->len.data = c->v.data;
    *ret = c;
    return 0;
}

void cursor_done(struct cursor *c)
{
    log_unpin(&c->pin);
}

void cursor_free(struct cursor *c)
{
    if (c)
        cursor_done(c);
    free(c);
}

/* The present line, or the way to it, is not what it must be. err is not NULL. */
static int damaged(struct cursor *c, struct evs_error *err)
{
    char name[80];

    log_segment_name(c->lg, c->seq, name, sizeof name);
    int r = evs_fail_at(err, EVS_DAMAGED, log_rec_offset(lengths_rec(&c->len, (uint32_t)c->seq)),
                        "%s: event %llu", name, (unsigned long long)c->seq);
    log_set_read_only(c->lg, err);
    return r;
}

/* Does this seq stand in a line of at least 28 bytes? Up to seven digits at once: as 0 to 9, the first the highest,
 * they are joined to pairs, and these to one number. */
static bool has_seq(const char *p, evs_seq want)
{
    const uint64_t ones = 0x0101010101010101u, every_4th = 0x000000ff000000ffu;
    const char *at = p + sizeof "{\"seq\":" - 1, *end = p + 28;
    uint64_t v = le64toh(load64(at)) ^ ones * '0', other = (v | (v + ones * 0x76)) & ones * 0x80;
    unsigned bits = other ? (unsigned)__builtin_ctzll(other) & ~7u : 64;
    uint64_t seq = 0;

    if (LIKELY(bits > 0 && bits < 64)) {
        v <<= 64 - bits;
        v = v * 10 + (v >> 8);
        v = (v & every_4th) * (100 + (1000000ull << 32)) +
            (v >> 16 & every_4th) * (1 + (10000ull << 32));
        return v >> 32 == want;
    }
    for (unsigned digit; at < end && (digit = (unsigned)(*at - '0')) < 10; at++)
        seq = seq * 10 + digit;
    return seq == want;
}

/* The line of c->seq, which has rec r, checked, and pinned with what stands before it from byte `from` of the
 * segment on. Inlined, as a call of it costs a twentieth of reading a line; ret is set in any case. */
static inline __attribute__((always_inline)) int line_at(struct cursor *c, uint64_t from,
                                                         const struct log_rec *r, struct slice *ret,
                                                         struct evs_error *err)
{
    const struct slice line = {c->len.span.lines + log_rec_offset(r), r->len};

    *ret = line;
    if (log_rec_offset(r) > c->len.span.bytes || line.n > c->len.span.bytes - log_rec_offset(r) ||
        line.n < 28 || log_rec_data(r) >= line.n - 1)
        return damaged(c, err);
    int e = log_pin(&c->len.span, MIN(from, log_rec_offset(r)), log_rec_offset(r) + line.n, &c->pin,
                    err);
    if (e < 0) {
        (void)log_pin_failed(c->seq, e, err);
        if (e != -ENOMEM) /* else these bytes are lost */
            log_set_read_only(c->lg, err);
        return e;
    }
    if (!has_seq(line.p, c->seq) || !line_crc_ok(line.p, line.n, log_rec_data(r)))
        return damaged(c, err);
    return 0;
}

/* Does the filter let the present posting through? */
static bool wanted(struct cursor *c)
{
    struct postings_run run;

    if (!c->v.filter)
        return true;
    if (c->it.ordinal % POSTINGS_RUN == 0) /* the recs of those behind it as well */
        postings_look(&c->ix->a, &c->it, POSTINGS_RUN, &c->len, &run);
    return lengths_rec(&c->len, c->it.seq)->type == c->v.filter;
}

/* From c->it on, the first posting that the view shows becomes the present line. */
static void settle(struct cursor *c)
{
    for (;;) {
        while (c->it.ordinal < c->it.limit && !wanted(c))
            postings_next(&c->ix->a, &c->it, 0);
        if (c->it.ordinal < c->it.limit) {
            c->seq = c->it.seq;
            return;
        }
        if (c->part == 1 || !c->v.part[1].n) {
            c->seq = 0;
            return;
        }
        c->part = 1;
        postings_seek_seq(&c->ix->a, c->v.part[1].set, c->v.part[1].n, 0, &c->len, &c->it);
    }
}

/* To the line behind the present one, which has n bytes. */
static void advance(struct cursor *c, uint32_t n)
{
    c->pos += n;
    if (c->v.kind == EVS_ALL) {
        c->seq = c->seq < c->v.end ? c->seq + 1 : 0;
        return;
    }
    postings_next(&c->ix->a, &c->it, n);
    settle(c);
}

static void seek_all(struct cursor *c, uint64_t pos)
{
    struct log_span *s = &c->len.span;

    c->seq = 0;
    if (pos >= c->v.bytes || log_span_at(c->lg, pos, s) < 0)
        return;
    evs_seq low = s->first,
            high = MIN(s->end, c->v.end + 1); /* the last line that begins at or before pos */
    while (high - low > 1) {
        evs_seq mid = low + (high - low) / 2;
        if (log_rec_offset(lengths_rec(&c->len, (uint32_t)mid)) <= pos - s->before)
            low = mid;
        else
            high = mid;
    }
    c->seq = low;
    c->pos = s->before + log_rec_offset(lengths_rec(&c->len, (uint32_t)low));
}

static void seek(struct cursor *c, uint64_t pos)
{
    struct view *v = &c->v;

    if (v->kind == EVS_ALL) {
        seek_all(c, pos);
        return;
    }
    if (!v->events) { /* perhaps not even a set */
        c->seq = 0;
        return;
    }
    if (v->filter) {
        c->part = 0;
        c->pos = 0;
        postings_seek_seq(&c->ix->a, v->part[0].set, v->part[0].n, 0, &c->len, &c->it);
        c->len.data = true;
        for (settle(c); c->seq && c->pos + lengths_of(&c->len, (uint32_t)c->seq) <= pos;)
            advance(c, lengths_of(&c->len, (uint32_t)c->seq));
        return;
    }
    c->part = pos >= v->part[0].bytes && v->part[1].n;
    uint64_t before = c->part ? v->part[0].bytes : 0;
    postings_seek_byte(&c->ix->a, v->part[c->part].set, v->part[c->part].n, pos - before, &c->len,
                       &c->it);
    c->pos = before + c->it.bytes;
    settle(c);
}

/* Look at the view again; a place that was kept stays one, with the new limit. */
static void refresh(struct cursor *c)
{
    struct view v;

    if (log_end(c->lg) == c->v.end || view_open(c->ix, c->lg, &c->of, log_end(c->lg), &v) < 0)
        return;
    bool same = c->seq && v.filter == c->v.filter && v.part[0].set == c->v.part[0].set &&
                v.part[c->part].set == c->v.part[c->part].set;
    if (same && v.kind != EVS_ALL) {
        struct posting *it = &c->it;
        it->limit = v.part[c->part].n;
        if (it->chunk_end == UINT32_MAX)
            same = false; /* the chunk may have a successor by now */
    }
    c->v = v;
    if (!same)
        c->seq = 0;
}

static void give(struct job *j, struct slice line, const struct log_rec *r)
{
    struct cursor *c = j->c;
    size_t skip = (size_t)(j->pos - c->pos);
    struct slice from = line;

    if (c->v.data)
        from = (struct slice){line.p + log_rec_data(r),
                              line.n - log_rec_data(r) - 1}; /* the brace's place is LF's */
    size_t n = MIN(from.n - skip, j->n - (size_t)j->got);
    memcpy(j->buf + j->got, from.p + skip, n);
    if (c->v.data && skip + n == from.n)
        j->buf[(size_t)j->got + n - 1] = '\n';
    j->got += (ssize_t)n;
    j->pos += n;
}

/* The line in which pos lies becomes the present one. False: pos is at the end, or behind it. */
static bool go_to(struct cursor *c, uint64_t pos)
{
    refresh(c);
    if (pos >= c->v.bytes)
        return false;
    if (!c->seq || pos < c->pos || pos >= c->pos + lengths_of(&c->len, (uint32_t)c->seq))
        seek(c, pos);
    return true;
}

/* ---- runs ----
 * Lines are scattered over the log, and their recs. A run of them is fetched into the cache before the first is looked
 * at: misses, of page tables too, are then waited for together. */

struct run {
    struct postings_run p; /* seqs; not of EVS_ALL: what is behind them */
    uint32_t n;            /* of those the first that have a rec; at least 1 */
    struct log_rec rec[POSTINGS_RUN];
};

/* The present line and those behind it, as far as n bytes need them. */
static void look_ahead(struct cursor *c, uint64_t n, struct run *ret)
{
    const struct log_span *s = &c->len.span;
    const uint32_t most = (uint32_t)MIN(n / (c->v.bytes / c->v.events + 1) + 1, POSTINGS_RUN);

    ret->rec[0] = *lengths_rec(&c->len, (uint32_t)c->seq);
    if (c->v.kind == EVS_ALL) {
        ret->p.n = (uint32_t)MIN(most, c->v.end - c->seq + 1);
        for (uint32_t i = 0; i < ret->p.n; i++)
            ret->p.seq[i] = (uint32_t)c->seq + i;
    } else {
        postings_look(&c->ix->a, &c->it, c->v.filter ? 1 : most, &c->len, &ret->p);
    }
    for (ret->n = 1; ret->n < ret->p.n; ret->n++) {
        uint32_t seq = ret->p.seq[ret->n];
        struct log_rec *r = &ret->rec[ret->n];
        if (UNLIKELY(seq < s->first || seq >= s->end))
            break;
        log_span_peek(s, seq, r);
        if (UNLIKELY(!log_rec_ok(r, seq)))
            break; /* the next run begins with it */
    }
    if (c->v.kind == EVS_ALL)
        return; /* of neighbours the processor sees by itself what comes */
    for (uint32_t i = 1; i < ret->n; i++) { /* apart, so that no rec waits behind lines */
        const char *p = s->lines + log_rec_offset(&ret->rec[i]);
        const char *end = p + MIN(ret->rec[i].len, AHEAD_BYTES);
        for (; p < end; p += CACHE_LINE)
            __builtin_prefetch(p);
    }
}

/* The first `done` lines of a run from the present one on were read: what stands behind them is the present one. */
static void step(struct cursor *c, const struct run *run, uint32_t done)
{
    if (c->v.kind == EVS_ALL) {
        evs_seq next = (evs_seq)run->p.seq[0] + done;
        c->seq = next <= c->v.end ? next : 0;
        return;
    }
    if (done == run->p.n)
        c->it = run->p.behind;
    else
        for (; done > 0; done--)
            postings_next(&c->ix->a, &c->it, 0);
    settle(c);
}

/* Give lines of a run. 1: all of them; 0: no more is wanted, or can be given; or why not one byte could. */
static int give_run(struct job *j, const struct run *run, uint32_t *ret_done)
{
    struct cursor *c = j->c;

    for (uint32_t i = 0; i < run->n; i++) {
        struct slice line;
        *ret_done = i;
        c->seq = run->p.seq[i];
        int r = line_at(c, EVS_NOWHERE, &run->rec[i], &line, j->err);
        uint32_t n = lengths_in(&c->len, &run->rec[i]);
        if (r == 0 && j->pos >= c->pos + n)
            r = damaged(c, j->err); /* by its idx it is elsewhere */
        if (r < 0)
            return j->got ? 0 : r;
        give(j, line, &run->rec[i]);
        if (j->pos < c->pos + n)
            return 0;
        c->pos += n;
        *ret_done = i + 1;
        if ((size_t)j->got == j->n)
            return 0;
    }
    return 1;
}

static int read_job(void *arg)
{
    struct job *j = arg;
    struct cursor *c = j->c;
    int r = go_to(c, j->pos);

    while (r > 0 && c->seq) {
        struct run run;
        uint32_t done = 0;
        look_ahead(c, j->n - (size_t)j->got, &run);
        r = give_run(j, &run, &done);
        step(c, &run, done);
    }
    return MIN(r, 0);
}

/* The page of the present line, or of its rec, can't be read: the disk fails, or somebody has cut the file.
 * What is appended behind that could not be found again either. */
static int unreadable(struct cursor *c, struct evs_error *err)
{
    char name[80];

    log_segment_name(c->lg, MAX(c->seq, (evs_seq)1), name, sizeof name);
    int r = evs_fail_at(err, EVS_DAMAGED, EVS_NOWHERE, "%s: event %llu can't be read", name,
                        (unsigned long long)c->seq);
    log_set_read_only(c->lg, err);
    return r;
}

static int guarded(struct cursor *c, int (*fn)(void *), struct job *j)
{
    struct evs_error local = {.why = EVS_OK_};
    struct evs_error *err = j->err;

    j->err = c->len.err = &local;
    int r = io_guarded(fn, j);
    c->len.err = NULL;
    if (r < 0) {
        if (local.why == EVS_OK_ && r == -EIO)
            (void)unreadable(c, &local);
        else if (local.why == EVS_OK_)
            (void)evs_fail_errno(&local, r, "reading the log");
        c->seq = 0;
        if (j->got > 0) /* what stands before it was checked, and the next read says so */
            r = 0;
    }
    if (err && r < 0) /* with r 0 there is damage behind bytes that are given all the same */
        *err = local;
    return r;
}

ssize_t cursor_read(struct cursor *c, uint64_t pos, void *buf, size_t n, struct evs_error *err)
{
    struct job j = {.c = c, .pos = pos, .buf = buf, .n = n, .err = err};

    HOT(read);
    int r = guarded(c, read_job, &j);

    cursor_done(c);
    return r < 0 ? r : j.got;
}

static int peek_job(void *arg)
{
    struct job *j = arg;
    struct cursor *c = j->c;
    uint64_t from = EVS_NOWHERE;

    if (!go_to(c, j->pos))
        return 0;
    while (c->seq && (size_t)j->got < j->n) {
        const struct log_rec *r = lengths_rec(&c->len, (uint32_t)c->seq);
        struct slice line;
        if (!j->got)
            from = log_rec_offset(r);
        else if (c->len.span.lines + log_rec_offset(r) != j->at + j->got)
            break; /* the next segment: to pin it would let go of this one */
        int e = line_at(c, from, r, &line, j->err);
        if (e < 0)
            return j->got ? 0 : e;
        size_t skip = j->got ? 0 : (size_t)(j->pos - c->pos);
        if (skip >= line.n)
            return damaged(c, j->err); /* by its idx it is elsewhere */
        if (!j->got)
            j->at = line.p + skip;
        if (line.n - skip > j->n - (size_t)j->got) {
            j->got = (ssize_t)j->n; /* a part of it; it stays the present one */
            break;
        }
        j->got += (ssize_t)(line.n - skip);
        advance(c, (uint32_t)line.n);
    }
    return 0;
}

ssize_t cursor_peek(struct cursor *c, uint64_t pos, size_t n, const void **ret,
                    struct evs_error *err)
{
    struct job j = {.c = c, .pos = pos, .n = n, .err = err};
    int r;

    if (c->v.kind != EVS_ALL)
        return -EOPNOTSUPP;
    cursor_done(c);
    r = guarded(c, peek_job, &j);
    if (r == 0)
        *ret = j.at;
    else
        cursor_done(c);
    return r < 0 ? r : j.got;
}

/* it at the first posting above after. Neither all events nor filtered ones, and some. */
static void seek_seq(struct cursor *c, evs_seq after)
{
    const struct view *v = &c->v;

    c->part = v->part[1].n && after >= v->part[0].last;
    postings_seek_seq(&c->ix->a, v->part[c->part].set, v->part[c->part].n, after, &c->len, &c->it);
}

static int find_job(void *arg)
{
    struct job *j = arg;
    struct cursor *c = j->c;
    struct view *v = &c->v;

    refresh(c);
    c->seq = 0;
    if (v->kind == EVS_ALL) {
        j->pos = v->bytes;
        if (j->after < v->end) {
            uint64_t at = log_rec_offset(lengths_rec(&c->len, (uint32_t)j->after + 1));
            j->pos = c->len.span.before + at;
        }
        return 0;
    }
    if (!v->events) {
        j->pos = 0;
        return 0;
    }
    if (v->filter) {
        seek(c, 0);
        while (c->seq && c->seq <= j->after)
            advance(c, lengths_of(&c->len, (uint32_t)c->seq));
        j->pos = c->seq ? c->pos : v->bytes;
        return 0;
    }
    seek_seq(c, j->after);
    j->pos = (c->part ? v->part[0].bytes : 0) + c->it.bytes;
    return 0;
}

int cursor_find(struct cursor *c, evs_seq after, uint64_t *ret_pos, struct evs_error *err)
{
    struct job j = {.c = c, .after = after, .err = err};
    int r = guarded(c, find_job, &j);

    cursor_done(c);
    c->seq = 0;
    if (r == 0)
        *ret_pos = j.pos;
    return r;
}

static int each_job(void *arg)
{
    struct job *j = arg;
    struct cursor *c = j->c;

    if (j->after && c->v.events) {
        seek_seq(c, j->after);
        settle(c);
    } else {
        seek(c, 0);
    }
    while (c->seq) {
        struct run run;
        look_ahead(c, c->v.bytes, &run);
        for (uint32_t i = 0; i < run.n; i++) {
            struct slice line;
            c->seq = run.p.seq[i];
            int r = line_at(c, EVS_NOWHERE, &run.rec[i], &line, j->err);
            if (r == 0)
                r = j->fn(j->arg, c->seq, line, &run.rec[i]);
            if (r)
                return r;
        }
        step(c, &run, run.n);
    }
    return 0;
}

int cursor_each(const struct index *ix, struct log *lg, const struct evs_view *v, evs_seq after,
                cursor_line_fn *fn, void *arg, struct evs_error *err)
{
    struct cursor *c;
    int r = cursor_new(ix, lg, v, &c, err);

    if (r < 0)
        return r;
    struct job j = {.c = c, .after = after, .fn = fn, .arg = arg, .err = err};
    r = guarded(c, each_job, &j);
    cursor_free(c);
    return r;
}
