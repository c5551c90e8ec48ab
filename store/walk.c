/* SPDX-License-Identifier: MIT */
/* walk: reads lines one after another, as they stand, and takes each apart once. Recovery looks for
 * the log's end with it, replay builds the index from it.
 *
 * (1) A line counts if it ends in LF within the bytes given, line_read() accepts it, its seq is
 *     the one that must come now, and it goes on with the transaction that the line before has
 *     begun.
 * (2) Mapped bytes are read under io_guarded(), a batch at a time; who was given a batch is called
 *     outside.
 * (3) What is looked at is pinned, a window of a segment at a time: a batch's lines lie in the window, and
 *     a line that its end cuts is read again with the next one.
 * (4) Of a plain segment the window is a copy, by read(2): whoever walks needs each byte once, and a mapped page costs
 *     six times as much as copying it. What can't be had so, and a line longer than that, is read as it is mapped.
 * Batches keep the lines in the cache between taking them apart and the caller's look at them. */
#include "segment.h"

#include "io.h"
#include "limits.h"

#include <errno.h>
#include <fcntl.h>
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
        const char *p = w->lines + (w->pos - w->base);
        int len = line_read(p, w->end - w->pos, &w->near, &l->line, &l->data, &l->crc);

        if (len < 0 || l->line.seq != w->seq || (w->tx > 0 && l->line.tx != w->tx - 1))
            return n > 0 ? (int)n : -EBADMSG; /* the next call says so */
        l->raw = (struct slice){p, (size_t)len};
        l->offset = w->pos;
        w->pos += (uint64_t)len;
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

static int look_at_mark(void *arg)
{
    const struct segment *s = *(const struct segment **)arg;
    const uint64_t end = s->synced.bytes;
    const char *lf = memrchr(s->lines, '\n', end - 1), *p = lf ? lf + 1 : s->lines;
    struct line l;

    if (line_parse(p, (size_t)(s->lines + end - p), &l, NULL, NULL) < 0)
        return 0;
    return l.seq == s->first + s->synced.n - 1 && l.tx == 0 ? 1 : -EBADMSG;
}

int segment_check_mark(const struct segment *s)
{
    if (s->synced.bytes == 0 || s->synced.n == 0)
        return s->synced.bytes == s->synced.n ? 1 : -EBADMSG;
    return io_guarded(look_at_mark, &s);
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
    return (struct segment_walk){.lines = sp->lines, .pos = st.pos, .end = st.pos, .seq = st.seq};
}

/* Where a walk of a log gets its windows from. */
struct source {
    const struct log_span *span;
    struct log_pin pin;
    int fd;    /* owned: of the span's lines; -1: they are read as they are mapped */
    char *buf; /* owned: COPY_BYTES of them */
};

#define COPY_BYTES ((uint64_t)128 << 10)

static void open_source(struct source *src, const struct log_span *sp)
{
    if (src->fd >= 0)
        (void)io_close(src->fd);
    /* Relaxed: one that becomes packed meanwhile has the same bytes still. */
    bool plain = sp->segment->dirfd >= 0 &&
                 atomic_load_explicit(&sp->segment->form, memory_order_relaxed) != SEGMENT_PACKED;
    src->fd = plain ? segment_file(sp->segment, ".jsonl", O_RDONLY) : -1;
    src->span = sp;
}

static void close_source(struct source *src)
{
    if (src->fd >= 0)
        (void)io_close(src->fd);
    log_unpin(&src->pin);
    free(src->buf);
}

/* A window that is a copy, with more than the present one has left. */
static bool copy_window(struct source *src, struct segment_walk *w)
{
    uint64_t n = MIN(src->span->bytes - w->pos, COPY_BYTES);

    if (src->fd < 0 || w->end - w->pos >= n ||
        io_read_all(src->fd, src->buf, n, w->pos) != (ssize_t)n)
        return false;
    w->lines = src->buf;
    w->base = w->pos;
    w->end = w->pos + n;
    return true;
}

#define WINDOW_BYTES     ((uint64_t)1 << 20)
#define WINDOW_BYTES_MAX ((uint64_t)2 * LIMIT_TX_BYTES) /* no line is longer */

/* Pin what comes next: more than the present window has left of it. 0: there is no more, or what is left is
 * more than a line. Where not all of it can be had, a frame further on may be what is damaged: one frame then. */
static int open_window(struct source *src, struct segment_walk *w, struct evs_error *err)
{
    const struct log_span *sp = src->span;
    uint64_t left = w->end - w->pos;

    if (w->end >= sp->bytes || left >= WINDOW_BYTES_MAX)
        return 0;
    if (copy_window(src, w))
        return 1;
    uint64_t to = MIN(sp->bytes, w->pos + MAX(WINDOW_BYTES, 2 * left));
    int r = log_pin(sp, w->pos, to, &src->pin, NULL);
    if (r < 0)
        r = log_pin(sp, w->pos, w->end + 1, &src->pin, err);
    w->lines = sp->lines;
    w->base = 0;
    w->end = MIN(src->fd >= 0 ? to : sp->bytes, src->pin.to);
    return r < 0 ? r : 1;
}

int segment_count(struct segment *s, uint64_t *ret_n, struct evs_error *err)
{
    struct log_walked *out AUTO_FREE = malloc(LOG_WALK_LINES * sizeof *out);
    struct log_span span = {.first = s->first, .lines = s->lines, .bytes = s->size, .segment = s};
    struct segment_walk w = {.lines = s->lines, .seq = s->first};
    struct source src = {.span = &span, .fd = -1};
    int r = out ? 1 : evs_fail(err, EVS_NO_MEMORY, EVS_NOWHERE);

    while (r > 0) {
        r = segment_batch(&w, out, LOG_WALK_LINES);
        if (r <= 0)
            r = open_window(&src, &w, err); /* perhaps the window cuts a line */
    }
    close_source(&src);
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

static int walk_segment(const struct log *lg, struct source *src, evs_seq from, evs_seq end,
                        struct log_walked *out, log_walk_fn *fn, void *arg, struct evs_error *err)
{
    struct segment_walk w = walk_from(src->span, from, &src->pin);

    while (w.seq < end) {
        int n = segment_batch(&w, out, MIN(end - w.seq, LOG_WALK_LINES));
        int r = n > 0 ? 1 : open_window(src, &w, err); /* perhaps the window cuts a line */
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
    struct source src = {.fd = -1, .buf = malloc(COPY_BYTES)};
    evs_seq end = log_end(lg) + 1;
    struct log_span span;
    int r = out && src.buf ? 0 : evs_fail(err, EVS_NO_MEMORY, EVS_NOWHERE);

    for (evs_seq seq = MAX(from, 1u); r == 0 && seq < end; seq = span.end) {
        r = log_span(lg, seq, &span);
        if (r < 0) { /* can't be: it is visible */
            r = evs_fail(err, EVS_NO_SUCH, EVS_NOWHERE);
            break;
        }
        open_source(&src, &span);
        r = walk_segment(lg, &src, seq, MIN(span.end, end), out, fn, arg, err);
    }
    close_source(&src);
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
