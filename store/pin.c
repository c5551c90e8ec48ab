/* SPDX-License-Identifier: MIT */
/* pin: keeps bytes of a segment where a reader can look at them.
 *
 * (1) While a segment has a pin, nothing is done to what its pin covers: lines stays what it is.
 * (2) A pin covers the whole file where the lines are mapped from it.
 * Pins are counted on a line of the cache of their own: readers that share a segment must not slow down who
 * only looks at how far it goes. */
#include "log_state.h"

#include "io.h"

#include <assert.h>

int log_pin_bytes(const struct log_span *span, uint64_t from, uint64_t to, struct log_pin *p,
                  struct evs_error *err)
{
    struct segment *s = span->segment;

    assert(from <= to && to <= span->bytes);
    (void)err;
    (void)atomic_fetch_add_explicit(&s->pins, 1, memory_order_acquire);
    log_unpin(p);
    *p = (struct log_pin){s, 0, UINT64_MAX};
    return 0;
}

void log_unpin(struct log_pin *p)
{
    if (!p->s)
        return;
    /* Release: all looking is done. */
    (void)atomic_fetch_sub_explicit(&p->s->pins, 1, memory_order_release);
    *p = (struct log_pin){0};
}

int log_line(const struct log *lg, evs_seq seq, struct log_pin *p, struct slice *ret,
             struct evs_error *err)
{
    struct log_span span = {0};
    int r = log_span(lg, seq, &span);

    assert(r == 0);
    const struct log_rec *rec = &span.recs[seq - span.first];
    uint64_t at = MIN(log_rec_offset(rec), span.bytes), n = MIN(rec->len, span.bytes - at);
    r = log_pin(&span, at, at + n, p, err);
    if (r == 0)
        *ret = (struct slice){span.lines + at, n};
    return r;
}

#define READ_BYTES ((uint64_t)1 << 20) /* so much is pinned at a time */

struct copy {
    char *to;
    const char *from;
    size_t n;
};

static int copy_job(void *arg)
{
    struct copy *c = arg;

    memcpy(c->to, c->from, c->n);
    return 0;
}

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
        r = io_guarded(copy_job, &(struct copy){(char *)buf + got, span.lines + from, k});
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
