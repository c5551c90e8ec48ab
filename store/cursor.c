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

#include <errno.h>

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

/* The line of c->seq, checked, and pinned with what stands before it from byte `from` of the segment on. */
static int line_at(struct cursor *c, uint64_t from, struct slice *ret,
                   const struct log_rec **ret_rec, struct evs_error *err)
{
    const struct log_rec *r = lengths_rec(&c->len, (uint32_t)c->seq);
    struct slice line = {c->len.span.lines + log_rec_offset(r), r->len};
    uint64_t seq = 0;
    size_t at = 7;

    if (log_rec_offset(r) > c->len.span.bytes || line.n > c->len.span.bytes - log_rec_offset(r) ||
        line.n < 16 || log_rec_data(r) >= line.n - 1)
        return damaged(c, err);
    int e = log_pin(&c->len.span, MIN(from, log_rec_offset(r)), log_rec_offset(r) + line.n, &c->pin,
                    err);
    if (e < 0) {
        (void)log_pin_failed(c->seq, e, err);
        if (e != -ENOMEM) /* else these bytes are lost */
            log_set_read_only(c->lg, err);
        return e;
    }
    while (at < 28 && (unsigned)(line.p[at] - '0') < 10) /* {"seq": has 7 bytes */
        seq = seq * 10 + (unsigned)(line.p[at++] - '0');
    if (seq != c->seq || !line_crc_ok(line.p, line.n, log_rec_data(r)))
        return damaged(c, err);
    *ret = line;
    *ret_rec = r;
    return 0;
}

/* Does the filter let the present posting through? */
static bool wanted(struct cursor *c)
{
    return !c->v.filter || lengths_rec(&c->len, c->it.seq)->type == c->v.filter;
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

static void advance(struct cursor *c)
{
    uint32_t n = lengths_of(&c->len, (uint32_t)c->seq);

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
            advance(c);
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

static int read_job(void *arg)
{
    struct job *j = arg;
    struct cursor *c = j->c;

    if (!go_to(c, j->pos))
        return 0;
    while (c->seq && (size_t)j->got < j->n) {
        struct slice line;
        const struct log_rec *r;
        int e = line_at(c, EVS_NOWHERE, &line, &r, j->err);
        if (e < 0)
            return j->got ? 0 : e;
        if (j->pos >= c->pos + lengths_of(&c->len, (uint32_t)c->seq))
            return j->got ? 0 : damaged(c, j->err); /* by its idx it is elsewhere */
        give(j, line, r);
        if (j->pos < c->pos + lengths_of(&c->len, (uint32_t)c->seq))
            break;
        advance(c);
    }
    return 0;
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
        int e = line_at(c, from, &line, &r, j->err);
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
        advance(c);
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
            advance(c);
        j->pos = c->seq ? c->pos : v->bytes;
        return 0;
    }
    c->part = v->part[1].n && j->after >= v->part[0].last;
    postings_seek_seq(&c->ix->a, v->part[c->part].set, v->part[c->part].n, j->after, &c->len,
                      &c->it);
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

    for (seek(c, 0); c->seq; advance(c)) {
        struct slice line;
        const struct log_rec *rec;
        int r = line_at(c, EVS_NOWHERE, &line, &rec, j->err);
        if (r == 0)
            r = j->fn(j->arg, c->seq, line, rec);
        if (r)
            return r;
    }
    return 0;
}

int cursor_each(const struct index *ix, struct log *lg, const struct evs_view *v,
                cursor_line_fn *fn, void *arg, struct evs_error *err)
{
    struct cursor *c;
    int r = cursor_new(ix, lg, v, &c, err);

    if (r < 0)
        return r;
    struct job j = {.c = c, .fn = fn, .arg = arg, .err = err};
    r = guarded(c, each_job, &j);
    cursor_free(c);
    return r;
}
