/* SPDX-License-Identifier: MIT */
/* pin: keeps bytes of a segment where a reader can look at them.
 *
 * (1) While a plain segment has a pin, its lines stay a mapping of the file. A pin of it covers all of it, and
 *     has no end (`to`).
 * (2) A pin of a packed one covers whole frames, which stay.
 * (3) Who switches (log_pack_switch()) does it with the switching bit set, which it sets only where there is
 *     no pin; who finds the bit waits for as long as a remapping takes.
 * Pins are counted on a line of the cache of their own: readers that share a segment must not slow down who
 * only looks at how far it goes. */
#include "log_state.h"

#include "io.h"

#include <assert.h>
#include <sched.h>
#include <stdio.h>

#define WHOLE UINT64_MAX

static bool is_packed(const struct segment *s)
{
    /* Acquire: the frames, and their place, are there. Pairs with log_pack_switch(). */
    return atomic_load_explicit(&s->form, memory_order_acquire) == SEGMENT_PACKED;
}

static void unpin_plain(struct segment *s)
{
    /* Release: all looking is done before it may be switched. */
    (void)atomic_fetch_sub_explicit(&s->pins, 1, memory_order_release);
}

/* False: it is packed. */
static bool pin_plain(struct segment *s)
{
    while (!is_packed(s)) {
        /* Acquire: who finds no bit finds the form as it was when the bit was taken away. */
        uint32_t was = atomic_fetch_add_explicit(&s->pins, 1, memory_order_acquire);
        if (!(was & PINS_SWITCHING) && !is_packed(s))
            return true;
        unpin_plain(s);
        if (was & PINS_SWITCHING)
            (void)sched_yield();
    }
    return false;
}

int log_pin_bytes(const struct log_span *span, uint64_t from, uint64_t to, struct log_pin *p,
                  struct evs_error *err)
{
    struct segment *s = span->segment;
    struct log_pin new = {s, 0, WHOLE};

    assert(from <= to && to <= span->bytes);
    if (!pin_plain(s)) {
        new.from = from;
        new.to = to;
        frames_round(s->frames, &new.from, &new.to);
        int r = frames_pin(s->frames, new.from, new.to, err);
        if (r < 0)
            return r;
    }
    log_unpin(p);
    *p = new;
    return 0;
}

void log_unpin(struct log_pin *p)
{
    if (p->s && p->to == WHOLE)
        unpin_plain(p->s);
    else if (p->s)
        frames_unpin(p->s->frames, p->from, p->to);
    *p = (struct log_pin){0};
}

int log_pin_failed(evs_seq seq, int r, struct evs_error *err)
{
    char where[64];

    if (!err || err->why != EVS_DAMAGED)
        return r;
    (void)snprintf(where, sizeof where, "%.63s", err->detail);
    return evs_fail_at(err, EVS_DAMAGED, err->pos, "%s: event %llu", where,
                       (unsigned long long)seq);
}

evs_seq log_frame_last(const struct log *lg, evs_seq seq, uint64_t at)
{
    struct log_span span;
    struct log_rec rec;

    if (log_span(lg, seq, &span) < 0 || !is_packed(span.segment))
        return seq;
    uint64_t end = frames_plain_end(span.segment->frames, at);
    while (seq + 1 < span.end && log_rec_get(lg, seq + 1, &rec, NULL) == 0 &&
           log_rec_offset(&rec) < end)
        seq++;
    return seq;
}

int log_line(const struct log *lg, evs_seq seq, struct log_pin *p, struct slice *ret,
             struct evs_error *err)
{
    struct log_span span = {0};
    int r = log_span(lg, seq, &span);

    assert(r == 0);
    struct log_rec rec;
    if ((r = log_span_rec(lg, &span, seq, &rec, err)) < 0)
        return r;
    uint64_t at = MIN(log_rec_offset(&rec), span.bytes), n = MIN(rec.len, span.bytes - at);
    r = log_pin(&span, at, at + n, p, err);
    if (r < 0)
        return log_pin_failed(seq, r, err);
    *ret = (struct slice){span.lines + at, n};
    return 0;
}

#define READ_BYTES ((uint64_t)1 << 20) /* so much is pinned at a time */

ssize_t log_read(const struct log *lg, uint64_t pos, void *buf, size_t n, struct evs_error *err)
{
    struct log_pin pin = {0};
    struct log_span span;
    size_t got = 0;
    int r = 0;

    while (r == 0 && got < n && log_span_at(lg, pos + got, &span) == 0) {
        uint64_t from = pos + got - span.before;
        size_t k = MIN(MIN(n - got, span.bytes - from), READ_BYTES);
        r = log_pin(&span, from, from + k, &pin, err);
        if (r < 0)
            break;
        r = io_copy((char *)buf + got, span.lines + from, k);
        if (r < 0) {
            char name[64];
            log_segment_name(lg, span.first, name, sizeof name);
            (void)evs_fail_errno(err, r, name);
        }
        got += k;
    }
    log_unpin(&pin);
    return r < 0 ? r : (ssize_t)got;
}
