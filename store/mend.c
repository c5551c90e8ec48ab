/* SPDX-License-Identifier: MIT */
/* mend: recs of the idx that are not what they must be, put right from the lines while others read.
 *
 * (1) A rec is believed only if its check is right, and a line only if its CRC and seq are. So a rec is
 *     made from such a line and from nothing else; where there is none, the line is what is damaged.
 * (2) The line is looked for between its neighbours, as far as their recs are right, with names or without, then in the whole
 *     segment: the LFs alone say where lines begin, so that one which is damaged hides no other.
 * (3) What lies between the neighbour before and the line is put right on the way: each rec is looked
 *     for once, however many are wrong.
 * (4) One thread at a time writes recs, each with one write (in memory, of words): who reads one
 *     meanwhile sees a check that is wrong, and comes here. After other locks nobody takes this one's.
 * (5) A rec is derived: where it can't be written it is made again by whoever asks next. */
#include "log_state.h"

#include "io.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>

#define WINDOW_BYTES     ((uint64_t)64 << 10)
#define WINDOW_BYTES_MAX ((uint64_t)4 << 20) /* no line is longer */
#define LOOK_AHEAD       64u                 /* recs behind it that may say where it ends */

void log_set_names(struct log *lg, log_names_fn *fn, const void *arg)
{
    lg->mender->names = fn;
    lg->mender->names_arg = arg;
}

uint64_t log_mended(const struct log *lg, evs_seq *ret_first)
{
    *ret_first = atomic_load_explicit(&lg->mender->first, memory_order_acquire);
    return atomic_load_explicit(&lg->mender->n, memory_order_relaxed);
}

/* ---- recs as they stand ---- */

struct peek {
    const struct log_span *span;
    evs_seq seq;
    struct log_rec rec;
};

static int peek_job(void *arg)
{
    struct peek *p = arg;

    memcpy(&p->rec, &p->span->recs[p->seq - p->span->first], sizeof p->rec);
    return p->rec.check == log_rec_check(&p->rec, p->seq) &&
           log_rec_offset(&p->rec) <= p->span->bytes &&
           p->rec.len <= p->span->bytes - log_rec_offset(&p->rec);
}

/* Does it say where its line is? Who copies lines has no names for their recs, and there may be millions. */
static bool is_placed(const struct log_span *span, evs_seq seq, struct log_rec *ret)
{
    struct peek p = {.span = span, .seq = seq};
    bool placed = io_guarded(peek_job, &p) == 1;

    *ret = p.rec;
    return placed;
}

static bool is_right(const struct log_span *span, evs_seq seq, struct log_rec *ret)
{
    return is_placed(span, seq, ret) && ret->entity != 0;
}

static void put_right(struct mender *m, struct segment *s, evs_seq seq, const struct log_rec *rec)
{
    char *own = s->own_recs ? s->own_recs : s->own_idx ? s->own_idx + SEGMENT_HEADER_BYTES : NULL;
    const uint64_t at = (seq - s->first) * sizeof *rec;
    uint64_t none = 0, word[sizeof *rec / 8];

    if (own) {
        uint64_t *to = (uint64_t *)(void *)(own + at);
        memcpy(word, rec, sizeof *rec);
        for (size_t i = 0; i < ARRAY_LEN(word); i++)
            __atomic_store_n(&to[i], word[i], __ATOMIC_RELAXED);
    } else {
        char name[SEGMENT_NAME_BYTES];
        segment_name(s->first, ".idx", name);
        int fd = io_open(s->dirfd, name, O_WRONLY, 0);
        if (fd >= 0) {
            (void)io_write_all(fd, rec, sizeof *rec, SEGMENT_HEADER_BYTES + at); /* (5) */
            (void)io_close(fd);
        }
    }
    (void)atomic_compare_exchange_strong(&m->first, &none, seq);
    (void)atomic_fetch_add_explicit(&m->n, 1, memory_order_relaxed);
}

/* ---- lines ---- */

struct search {
    struct mender *m;
    const struct log_span *span;
    struct log_pin pin;
    uint64_t pos, window, end; /* where a line begins; what is pinned; where to stop */
    evs_seq after, seq;        /* recs behind after are put right, up to that of seq */
    struct log_walked line;    /* found */
};

/* The next whole line within the window that is good. 1; 0: there is none, pos is behind all that was read. */
static int line_job(void *arg)
{
    struct search *k = arg;
    const char *lines = k->span->lines;

    while (k->pos < k->window) {
        const char *p = lines + k->pos, *lf = memchr(p, '\n', k->window - k->pos);
        size_t n = lf ? (size_t)(lf - p) + 1 : 0;
        if (!lf)
            return 0;
        struct log_walked *l = &k->line;
        l->offset = k->pos;
        k->pos += n;
        if (line_parse(p, n, &l->line, &l->data, &l->crc) < 0)
            continue;
        l->raw = (struct slice){p, n};
        return 1;
    }
    return 0;
}

/* The next good line. 1, 0 at the end, or -EIO: bytes can't be had. */
static int next_line(struct search *k, struct evs_error *err)
{
    uint64_t more = WINDOW_BYTES;

    for (;;) {
        int r = io_guarded(line_job, k);
        if (r != 0 || k->window >= k->end)
            return r;
        if (k->window - k->pos >= WINDOW_BYTES_MAX)
            k->pos = k->window; /* no line */
        more = MIN(MAX(more, 4 * (k->window - k->pos)), 2 * WINDOW_BYTES_MAX);
        uint64_t to = MIN(k->end, k->pos + more);
        r = log_pin(k->span, k->pos, to, &k->pin, err);
        if (r < 0)
            return r;
        k->window = to;
    }
}

struct names_job {
    const struct mender *m;
    const struct line *line;
    struct log_rec *rec;
};

static int names_job(void *arg)
{
    struct names_job *j = arg;

    j->m->names(j->m->names_arg, j->line, &j->rec->entity, &j->rec->type);
    return 0;
}

/* Make and write the rec of the line that was found. */
static void mend_line(struct search *k, struct log_rec *ret)
{
    const struct log_walked *l = &k->line;
    struct log_rec rec = {.place = log_place(l->offset, l->data),
                          .recorded_us = l->line.recorded_us,
                          .len = (uint32_t)l->raw.n};

    if (k->m->names && io_guarded(names_job, &(struct names_job){k->m, &l->line, &rec}) == 0 &&
        rec.entity && rec.type) {
        rec.check = log_rec_check(&rec, l->line.seq);
        put_right(k->m, k->span->segment, l->line.seq, &rec);
    }
    *ret = rec;
}

/* From k->pos to `end`. 1: found. */
static int search(struct search *k, uint64_t end, struct log_rec *ret, struct evs_error *err)
{
    int r;

    k->window = k->pos;
    k->end = end;
    while ((r = next_line(k, err)) > 0) {
        evs_seq seq = k->line.line.seq;
        struct log_rec rec;
        if (seq == k->seq) {
            mend_line(k, ret);
            return 1;
        }
        if (seq > k->after && seq < k->seq && !is_right(k->span, seq, &rec))
            mend_line(k, &rec);
    }
    return r;
}

static int mend(struct mender *m, const struct log_span *span, evs_seq seq, struct log_rec *ret,
                struct log_pin *pin, struct evs_error *err)
{
    struct search k = {.m = m, .span = span, .seq = seq, .after = seq - 1};
    uint64_t from = 0, end = span->bytes;
    struct log_rec rec;

    while (k.after >= span->first && !is_placed(span, k.after, &rec))
        k.after--;
    if (k.after >= span->first)
        from = log_rec_offset(&rec) + rec.len;
    for (evs_seq next = seq + 1; next < MIN(span->end, seq + LOOK_AHEAD); next++)
        if (is_placed(span, next, &rec)) {
            end = log_rec_offset(&rec);
            break;
        }
    k.pos = from;
    int r = from < end ? search(&k, end, ret, err) : 0;
    if (r == 0 && (from > 0 || end < span->bytes)) {
        k.pos = 0;
        r = search(&k, span->bytes, ret, err);
    }
    *pin = k.pin;
    if (r > 0)
        return 0;
    if (r < 0 && r != -EIO)
        return r;
    char name[64];
    log_segment_name(m->lg, seq, name, sizeof name);
    return evs_fail_at(err, EVS_DAMAGED, from, "%s: event %" PRIu64, name, seq);
}

int log_mend(const struct log *lg, evs_seq seq, struct log_rec *ret, struct evs_error *err)
{
    struct mender *m = lg->mender;
    struct log_pin pin = {0};
    struct log_span span;
    struct evs_error why;
    struct log_rec rec;

    if (log_span(lg, seq, &span) < 0)
        return evs_fail(err, EVS_NO_SUCH, EVS_NOWHERE);
    (void)pthread_mutex_lock(&m->lock);
    int r = is_right(&span, seq, &rec) ? 0 : mend(m, &span, seq, &rec, &pin, &why);
    (void)pthread_mutex_unlock(&m->lock);
    log_unpin(&pin);
    if (r < 0) {
        if (why.why == EVS_DAMAGED)
            log_set_read_only(m->lg, &why);
        return evs_fail_as(err, &why);
    }
    *ret = rec;
    return 0;
}
