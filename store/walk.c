/* SPDX-License-Identifier: MIT */
/* walk: reads lines one after another, as they stand, and takes each apart once. Recovery looks for
 * the log's end with it, replay builds the index from it.
 *
 * (1) A line counts if it ends in LF within the bytes given, line_parse() accepts it, its seq is
 *     the one that must come now, and it goes on with the transaction that the line before has
 *     begun.
 * (2) Mapped bytes are read under io_guarded(), a batch at a time; who was given a batch is called
 *     outside.
 * Batches keep the lines in the cache between taking them apart and the caller's look at them. */
#include "segment.h"

#include "io.h"

#include <errno.h>

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

    if (pos > sp->bytes || rec.len > sp->bytes - pos || (pos > 0 && sp->lines[pos - 1] != '\n') ||
        line_parse(sp->lines + pos, rec.len, &line, NULL, NULL) < 0 || line.seq != st->seq)
        return 0;
    st->pos = pos;
    return 1;
}

/* Where to begin with seq in its segment: at its line, or, where the rec proves wrong, at the first
 * one. */
static struct segment_walk walk_from(const struct log_span *sp, evs_seq seq)
{
    struct start st = {.span = sp, .seq = seq};

    if (io_guarded(find_start, &st) <= 0)
        st = (struct start){.seq = sp->first};
    return (struct segment_walk){sp->lines, st.pos, sp->bytes, st.seq, 0};
}

static int walk_segment(const struct log *lg, struct segment_walk *w, evs_seq from, evs_seq end,
                        struct log_walked *out, log_walk_fn *fn, void *arg, struct evs_error *err)
{
    while (w->seq < end) {
        int n = segment_batch(w, out, MIN(end - w->seq, LOG_WALK_LINES));
        if (n <= 0) {
            char name[64];
            log_segment_name(lg, w->seq, name, sizeof name);
            return evs_fail_at(err, EVS_DAMAGED, w->pos, "%s", name);
        }
        size_t skip = w->seq - (uint64_t)n < from ? from - (w->seq - (uint64_t)n) : 0;
        int r = skip < (size_t)n ? fn(arg, out + skip, (size_t)n - skip) : 0;
        if (r != 0)
            return r;
    }
    return 0;
}

int log_walk(const struct log *lg, evs_seq from, log_walk_fn *fn, void *arg, struct evs_error *err)
{
    struct log_walked *out AUTO_FREE = malloc(LOG_WALK_LINES * sizeof *out);
    evs_seq end = log_end(lg) + 1;
    struct log_span span;
    int r = 0;

    if (!out)
        return evs_fail(err, EVS_NO_MEMORY, EVS_NOWHERE);
    for (evs_seq seq = MAX(from, 1u); r == 0 && seq < end; seq = span.end) {
        r = log_span(lg, seq, &span);
        if (r < 0) /* can't be: it is visible */
            return evs_fail(err, EVS_NO_SUCH, EVS_NOWHERE);
        struct segment_walk w = walk_from(&span, seq);
        r = walk_segment(lg, &w, seq, MIN(span.end, end), out, fn, arg, err);
    }
    return r;
}

struct get_rec {
    const struct log *lg;
    evs_seq seq;
    struct log_rec rec;
};

static int get_rec_job(void *arg)
{
    struct get_rec *g = arg;

    g->rec = *log_rec(g->lg, g->seq);
    return 0;
}

int log_rec_get(const struct log *lg, evs_seq seq, struct log_rec *ret)
{
    struct get_rec g = {.lg = lg, .seq = seq};

    if (seq == 0 || seq > log_end(lg))
        return -ENOENT;
    int r = io_guarded(get_rec_job, &g);
    if (r == 0)
        *ret = g.rec;
    return r;
}
