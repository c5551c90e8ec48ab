/* SPDX-License-Identifier: MIT */
/* schemas_queue: see the header. A value that does not fit before the end of bytes begins at their start: both sides
 * know where by its length alone (begin_of()). */
#include "schemas_queue.h"

#include <errno.h>

int queue_init(struct queue *q)
{
    q->ring = calloc(QUEUE_EVENTS, sizeof *q->ring);
    q->bytes = malloc(QUEUE_BYTES);
    return q->ring && q->bytes ? 0 : -ENOMEM;
}

void queue_done(struct queue *q)
{
    free(q->ring);
    free(q->bytes);
}

/* Where n bytes begin that come behind the first `used` ones ever. */
static uint64_t begin_of(uint64_t used, size_t n)
{
    const size_t at = used % QUEUE_BYTES;

    return at + n > QUEUE_BYTES ? used + (QUEUE_BYTES - at) : used;
}

/* A copy of value and a brace; false: there is no room. */
static NEEDS_COMMIT bool put_value(struct queue *q, struct slice value)
{
    const uint64_t begin = begin_of(q->put, value.n + 1);
    /* Pairs with queue_drop(): what stood there is not looked at any more. */
    const uint64_t got = atomic_load_explicit(&q->got, memory_order_acquire);

    if (begin + value.n + 1 - got > QUEUE_BYTES)
        return false;
    char *to = q->bytes + begin % QUEUE_BYTES;
    memcpy(to, value.p, value.n);
    to[value.n] = '}';
    q->put = begin + value.n + 1;
    return true;
}

bool queue_put(struct queue *q, const struct queued *ev, struct slice value)
{
    const uint32_t head = queue_head(q);

    if (head - atomic_load_explicit(&q->tail, memory_order_acquire) == QUEUE_EVENTS)
        return false;
    struct queued *to = &q->ring[head % QUEUE_EVENTS];
    *to = *ev;
    to->n = value.n && value.n <= QUEUE_VALUE_MAX && put_value(q, value) ? (uint32_t)value.n : 0;
    atomic_store_explicit(&q->head, head + 1, memory_order_release); /* pairs with queue_any() */
    return true;
}

const struct queued *queue_first(const struct queue *q, struct slice *ret_value)
{
    const struct queued *ev = &q->ring[queue_tail(q) % QUEUE_EVENTS];
    const uint64_t got = atomic_load_explicit(&q->got, memory_order_relaxed);

    *ret_value = ev->n ? (struct slice){q->bytes + begin_of(got, ev->n + 1) % QUEUE_BYTES, ev->n}
                       : (struct slice){0};
    return ev;
}

void queue_drop(struct queue *q)
{
    const uint32_t tail = queue_tail(q), n = q->ring[tail % QUEUE_EVENTS].n;

    if (n) {
        const uint64_t got = atomic_load_explicit(&q->got, memory_order_relaxed);
        atomic_store_explicit(&q->got, begin_of(got, n + 1) + n + 1, memory_order_release);
    }
    atomic_store_explicit(&q->tail, tail + 1, memory_order_release); /* pairs with queue_put() */
}

void queue_clear(struct queue *q)
{
    atomic_store_explicit(&q->got, q->put, memory_order_relaxed);
    atomic_store_explicit(&q->tail, queue_head(q), memory_order_relaxed);
}
