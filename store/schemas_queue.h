/* SPDX-License-Identifier: MIT */
/* schemas_queue: events on their way from the appends to who learns from them, in the order of seq, with their values
 * as long as there is room for these: whoever looks for a value in the log maps a page for it, which costs more than
 * all else that is learned from it. Private to schemas*.c.
 *
 * One thread at a time puts, which holds the commit lock, and one takes, which holds `work`; the two run at once. */
#ifndef STORE_SCHEMAS_QUEUE_H
#define STORE_SCHEMAS_QUEUE_H

#include "index.h"
#include "lock.h"

#define QUEUE_EVENTS    16384u              /* a power of two */
#define QUEUE_BYTES     ((size_t)256 << 10) /* of values */
#define QUEUE_VALUE_MAX (QUEUE_BYTES / 128) /* no longer ones are put: they are in the log */

struct queued {
    uint64_t seq_counted; /* seq * 2, + 1 if it is counted */
    int64_t recorded_us;
    type_id type;
    uint32_t n; /* bytes of the value; 0: it is in the log */
};

struct queue {
    struct queued *ring; /* owned, QUEUE_EVENTS */
    char *bytes; /* owned, QUEUE_BYTES; a value stands in it in one piece, with a brace behind it */
    _Atomic uint32_t head, tail;
    uint64_t put UNDER_COMMIT; /* bytes ever put, with those that were left free */
    _Atomic uint64_t got;      /* those of what was taken */
};

/* 0 or -ENOMEM. queue_done() takes what failed, too. */
int queue_init(struct queue *q);
void queue_done(struct queue *q);

static inline uint32_t queue_head(const struct queue *q)
{
    return atomic_load_explicit(&q->head, memory_order_relaxed);
}
static inline uint32_t queue_tail(const struct queue *q)
{
    return atomic_load_explicit(&q->tail, memory_order_relaxed);
}
/* Acquire: what was put before is there. */
static inline bool queue_any(const struct queue *q)
{
    return atomic_load_explicit(&q->head, memory_order_acquire) != queue_tail(q);
}

/* False: it is full. value: of no bytes: it is to be read in the log. */
bool queue_put(struct queue *q, const struct queued *ev, struct slice value) NEEDS_COMMIT;

/* The oldest one, which is there, and its value, which lives until queue_drop(); p NULL: it is in the log. Behind it is one
 * byte more, a brace. */
static inline uint64_t queue_first_seq(const struct queue *q)
{
    return q->ring[queue_tail(q) % QUEUE_EVENTS].seq_counted / 2;
}
const struct queued *queue_first(const struct queue *q, struct slice *ret_value);
void queue_drop(struct queue *q);
/* All of them. Also the commit lock is held. */
void queue_clear(struct queue *q) NEEDS_COMMIT;

#endif
