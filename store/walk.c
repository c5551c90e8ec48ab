/* SPDX-License-Identifier: MIT */
/* walk: reads lines one after another, as they stand, and takes each apart once. Recovery looks for
 * the log's end with it, replay builds the index from it.
 *
 * (1) A line counts if it ends in LF within the bytes given, line_parse() accepts it, its seq is
 *     the one that must come now, and it goes on with the transaction that the line before has
 *     begun.
 * (2) Mapped bytes are read under io_guarded(), a batch at a time; who was given a batch is called
 *     outside.
 * (3) What is looked at is pinned, a window of a segment at a time: a batch's lines lie in the window, and
 *     a line that its end cuts is read again with the next one.
 * Batches keep the lines in the cache between taking them apart and the caller's look at them. */
#include "segment.h"

#include "io.h"
#include "limits.h"

#include <errno.h>
#include <inttypes.h>

struct batch {
    struct segment_walk *w;
    struct log_walked *out;
    size_t cap;
};

static int read_batch(void *arg)
{
    struct batch *b = arg;
    struct segment_walk *w = b->w;
    size_t n = 0;

    for (; n < b->cap && w->pos < w->end; n++) {
        struct log_walked *l = &b->out[n];
        const char *p = w->lines + w->pos;
        const char *lf = memchr(p, '\n', w->end - w->pos);
        size_t len = lf ? (size_t)(lf - p) + 1 : 0;

        if (!lf || line_parse(p, len, &l->line, &l->data, &l->crc) < 0 || l->line.seq != w->seq ||
            (w->tx > 0 && l->line.tx != w->tx - 1))
            return n > 0 ? (int)n : -EBADMSG; /* the next call says so */
        l->raw = (struct slice){p, len};
        l->offset = w->pos;
        w->pos += len;
        w->seq++;
        w->tx = l->line.tx;
    }
    return (int)n;
}

int segment_batch(struct segment_walk *w, struct log_walked *out, size_t cap)
{
    struct segment_walk from = *w;
    int r = io_guarded(read_batch, &(struct batch){w, out, cap});

    if (r < 0)
        *w = from; /* what was read up to there is given to nobody */
    return r;
}

struct start {
    const struct log_span *span;
    struct log_pin *pin;
    evs_seq seq;
    uint64_t pos;
};

/* Does seq's rec point to seq's line? */
static int find_start(void *arg)
{
    struct start *st = arg;
    const struct log_span *sp = st->span;
    const struct log_rec rec = sp->recs[st->seq - sp->first];
    uint64_t pos = log_rec_offset(&rec);
    struct line line;

    if (pos > sp->bytes || rec.len > sp->bytes - pos ||
        log_pin(sp, pos - (pos > 0), pos + rec.len, st->pin, NULL) < 0 ||
        (pos > 0 && sp->lines[pos - 1] != '\n') ||
        line_parse(sp->lines + pos, rec.len, &line, NULL, NULL) < 0 || line.seq != st->seq)
        return 0;
    st->pos = pos;
    return 1;
}

/* Where to begin with seq in its segment: at its line, or, where the rec proves wrong, at the first
 * one. What may be read there is for open_window() to say. */
static struct segment_walk walk_from(const struct log_span *sp, evs_seq seq, struct log_pin *pin)
{
    struct start st = {.span = sp, .pin = pin, .seq = seq};

    if (io_guarded(find_start, &st) <= 0)
        st = (struct start){.seq = sp->first};
    return (struct segment_walk){sp->lines, st.pos, st.pos, st.seq, 0};
}

#define WINDOW_BYTES     ((uint64_t)1 << 20)
#define WINDOW_BYTES_MAX ((uint64_t)2 * LIMIT_TX_BYTES) /* no line is longer */

/* Pin what comes next: more than the present window has left of it. 0: there is no more, or what is left is
 * more than a line. Where not all of it can be had, a frame further on may be what is damaged: one frame then. */
static int open_window(const struct log_span *sp, struct segment_walk *w, struct log_pin *pin,
                       struct evs_error *err)
{
    uint64_t left = w->end - w->pos;

    if (w->end >= sp->bytes || left >= WINDOW_BYTES_MAX)
        return 0;
    uint64_t to = MIN(sp->bytes, w->pos + MAX(WINDOW_BYTES, 2 * left));
    int r = log_pin(sp, w->pos, to, pin, NULL);
    if (r < 0)
        r = log_pin(sp, w->pos, w->end + 1, pin, err);
    w->end = MIN(sp->bytes, pin->to);
    return r < 0 ? r : 1;
}

int segment_count(struct segment *s, uint64_t *ret_n, struct evs_error *err)
{
    struct log_walked *out AUTO_FREE = malloc(LOG_WALK_LINES * sizeof *out);
    struct log_span span = {.first = s->first, .lines = s->lines, .bytes = s->size, .segment = s};
    struct segment_walk w = {s->lines, 0, 0, s->first, 0};
    struct log_pin pin = {0};
    int r = out ? 1 : evs_fail(err, EVS_NO_MEMORY, EVS_NOWHERE);

    while (r > 0) {
        r = segment_batch(&w, out, LOG_WALK_LINES);
        if (r <= 0)
            r = open_window(&span, &w, &pin, err); /* perhaps the window cuts a line */
    }
    log_unpin(&pin);
    if (r < 0)
        return r;
    if (w.pos < s->size || w.tx > 0)
        return evs_fail_at(err, EVS_DAMAGED, w.pos, "log/%020" PRIu64 ".jsonl", s->first);
    *ret_n = w.seq - s->first;
    return 0;
}

static int fail_line(const struct log *lg, const struct segment_walk *w, struct evs_error *err)
{
    char name[64];

    log_segment_name(lg, w->seq, name, sizeof name);
    return evs_fail_at(err, EVS_DAMAGED, w->pos, "%s", name);
}

static int walk_segment(const struct log *lg, const struct log_span *sp, evs_seq from, evs_seq end,
                        struct log_pin *pin, struct log_walked *out, log_walk_fn *fn, void *arg,
                        struct evs_error *err)
{
    struct segment_walk w = walk_from(sp, from, pin);

    while (w.seq < end) {
        int n = segment_batch(&w, out, MIN(end - w.seq, LOG_WALK_LINES));
        int r = n > 0 ? 1 : open_window(sp, &w, pin, err); /* perhaps the window cuts a line */
        if (r <= 0)
            return r < 0 ? r : fail_line(lg, &w, err);
        if (n <= 0)
            continue;
        size_t skip = w.seq - (uint64_t)n < from ? from - (w.seq - (uint64_t)n) : 0;
        r = skip < (size_t)n ? fn(arg, out + skip, (size_t)n - skip) : 0;
        if (r != 0)
            return r;
    }
    return 0;
}

int log_walk(const struct log *lg, evs_seq from, log_walk_fn *fn, void *arg, struct evs_error *err)
{
    struct log_walked *out AUTO_FREE = malloc(LOG_WALK_LINES * sizeof *out);
    evs_seq end = log_end(lg) + 1;
    struct log_pin pin = {0};
    struct log_span span;
    int r = 0;

    if (!out)
        return evs_fail(err, EVS_NO_MEMORY, EVS_NOWHERE);
    for (evs_seq seq = MAX(from, 1u); r == 0 && seq < end; seq = span.end) {
        r = log_span(lg, seq, &span);
        if (r < 0) { /* can't be: it is visible */
            r = evs_fail(err, EVS_NO_SUCH, EVS_NOWHERE);
            break;
        }
        r = walk_segment(lg, &span, seq, MIN(span.end, end), &pin, out, fn, arg, err);
    }
    log_unpin(&pin);
    return r;
}

struct get_rec {
    const struct log *lg;
    evs_seq seq;
    struct log_span span;
    struct log_rec rec;
    struct evs_error why;
};

static int get_rec_job(void *arg)
{
    struct get_rec *g = arg;

    return log_span(g->lg, g->seq, &g->span) < 0
               ? -ENOENT
               : log_span_rec(g->lg, &g->span, g->seq, &g->rec, &g->why);
}

int log_rec_get(const struct log *lg, evs_seq seq, struct log_rec *ret, struct evs_error *err)
{
    struct get_rec g = {.lg = lg, .seq = seq};

    if (seq == 0 || seq > log_end(lg))
        return evs_fail(err, EVS_NO_SUCH, EVS_NOWHERE);
    int r = io_guarded(get_rec_job, &g);
    if (r == 0)
        *ret = g.rec;
    else if (g.why.why != EVS_OK_)
        (void)evs_fail_as(err, &g.why);
    else
        (void)evs_fail_errno(err, r, "reading the idx");
    return r;
}
