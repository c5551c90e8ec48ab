/* SPDX-License-Identifier: MIT */
/* schemas_queue: what is put is taken once, in its order, each with its own value or with none. */
#include "check.h"

#include "store/schemas_queue.h"

#include <pthread.h>
#include <sched.h>

#define MANY 200000u

static uint32_t length_of(uint64_t seq)
{
    const uint64_t x = seq * 0x9e3779b97f4a7c15u;

    return seq % 7 == 0 ? (uint32_t)(x >> 50) % (QUEUE_VALUE_MAX + 2) : (uint32_t)(x >> 56);
}

static char byte_of(uint64_t seq, uint32_t at)
{
    return (char)(seq * 31 + at);
}

static UNANALYSED bool put(struct queue *q, uint64_t seq, uint32_t n)
{
    char value[QUEUE_VALUE_MAX + 2];

    for (uint32_t i = 0; i < n; i++)
        value[i] = byte_of(seq, i);
    return queue_put(q,
                     &(struct queued){.seq_counted = seq * 2,
                                      .type = (type_id)(seq % 9),
                                      .recorded_us = (int64_t)seq},
                     (struct slice){value, n});
}

/* Takes the oldest, which must be seq's. Does it have its value? */
static bool take(struct queue *q, uint64_t seq)
{
    struct slice v;

    CHECK(queue_any(q));
    CHECK_EQ(queue_first_seq(q), seq);
    const struct queued *ev = queue_first(q, &v);
    CHECK_EQ(ev->seq_counted, seq * 2);
    CHECK_EQ(ev->type, seq % 9);
    CHECK_EQ(ev->recorded_us, seq);
    CHECK_EQ(v.p != NULL, ev->n > 0);
    if (v.p) {
        uint32_t same = 0;
        CHECK_EQ(v.n, length_of(seq));
        while (same < v.n && v.p[same] == byte_of(seq, same))
            same++;
        CHECK_EQ(same, v.n);
        CHECK_EQ(v.p[v.n], '}');
    }
    queue_drop(q);
    return v.p != NULL;
}

static void begin(struct queue *q)
{
    *q = (struct queue){0};
    CHECK_EQ(queue_init(q), 0);
    CHECK(!queue_any(q));
}

static void values_stand_where_they_are_looked_for(void)
{
    struct queue q;
    uint64_t next = 1, seq = 1, with = 0;

    begin(&q);
    for (; seq <= MANY; seq++) {
        CHECK(put(&q, seq, length_of(seq)));
        while (seq - next > seq / 1000 % 100) /* more and less of them at a time, round and round */
            with += take(&q, next++);
    }
    while (next < seq)
        with += take(&q, next++);
    CHECK(!queue_any(&q));
    CHECK(with > MANY / 10 * 9);
    queue_done(&q);
}

static void no_room_for_a_value_is_room_for_an_event(void)
{
    struct queue q;
    uint64_t seq = 0, with = 0;

    begin(&q);
    while (put(&q, seq + 7, length_of(seq + 7)))
        seq++;
    CHECK_EQ(seq, QUEUE_EVENTS);
    for (uint64_t i = 0; i < seq; i++)
        with += take(&q, i + 7);
    CHECK(with > 100);
    CHECK(with < seq / 2);
    CHECK(!queue_any(&q));
    CHECK(put(&q, 5, length_of(5))); /* and there is room again */
    CHECK(take(&q, 5));
    CHECK(put(&q, 6, QUEUE_VALUE_MAX + 1));
    CHECK(!take(&q, 6)); /* too long a one */
    queue_done(&q);
}

static UNANALYSED void clear(struct queue *q)
{
    queue_clear(q);
}

static void what_is_cleared_is_gone(void)
{
    struct queue q;

    begin(&q);
    for (uint64_t seq = 1; seq < 3000; seq++)
        (void)put(&q, seq, length_of(seq));
    CHECK(take(&q, 1));
    clear(&q);
    CHECK(!queue_any(&q));
    for (uint64_t seq = 1; seq < 1000; seq++) {
        CHECK(put(&q, seq, length_of(seq)));
        CHECK_EQ(take(&q, seq), length_of(seq) > 0 && length_of(seq) <= QUEUE_VALUE_MAX);
    }
    queue_done(&q);
}

static void *put_many(void *arg)
{
    for (uint64_t seq = 1; seq <= MANY; seq++)
        while (!put(arg, seq, length_of(seq)))
            (void)sched_yield();
    return NULL;
}

static void one_puts_while_another_takes(void)
{
    struct queue q;
    pthread_t thread;
    uint64_t with = 0;

    begin(&q);
    CHECK_EQ(pthread_create(&thread, NULL, put_many, &q), 0);
    for (uint64_t seq = 1; seq <= MANY; seq++) {
        while (!queue_any(&q))
            (void)sched_yield();
        with += take(&q, seq);
    }
    CHECK_EQ(pthread_join(thread, NULL), 0);
    CHECK(!queue_any(&q));
    CHECK(with > 0);
    queue_done(&q);
}

int main(void)
{
    RUN(values_stand_where_they_are_looked_for);
    RUN(no_room_for_a_value_is_room_for_an_event);
    RUN(what_is_cleared_is_gone);
    RUN(one_puts_while_another_takes);
    CHECK_DONE();
}
