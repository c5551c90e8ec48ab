/* SPDX-License-Identifier: MIT */
#include "check.h"
#include "store/table.h"

#include <pthread.h>

#define N 300000u

static uint64_t hash_of(uint32_t v) /* many values share low bits: probing is put to work */
{
    return v % 7 ? v * 0x9e3779b97f4a7c15ull >> 13 : v % 1024 * 64;
}

static bool holds(const struct table *t, uint32_t v)
{
    struct table_probe p;

    for (uint32_t x = table_first(&p, t, hash_of(v)); x; x = table_next(&p))
        if (x == v)
            return true;
    return false;
}

static UNANALYSED void test_what_is_inserted_is_found(void)
{
    struct table t;
    struct evs_error err;

    CHECK_EQ(table_init(&t, 64u << 20, &err), 0);
    for (uint32_t v = 1; v <= N / 3; v++) {
        CHECK(table_has_room(&t, 1));
        table_insert(&t, hash_of(v), v);
        if (v % 1009 == 0 || v < 2000)
            for (uint32_t w = v; w > 0; w = w > 97 ? w - 97 : 0)
                if (!holds(&t, w)) {
                    CHECK_EQ(w, 0);
                    break;
                }
    }
    CHECK(!holds(&t, N / 3 + 1));
    CHECK_EQ(t.n, N / 3);
    table_done(&t);
}

/* Where no more is inserted it doesn't stay half grown. */
static UNANALYSED void test_growing_ends_without_inserts(void)
{
    struct table t;
    struct evs_error err;
    uint32_t v = 0;

    CHECK_EQ(table_init(&t, 64u << 20, &err), 0);
    while (v < 4000 || !table_growing(&t)) {
        v++;
        table_insert(&t, hash_of(v), v);
    }
    for (int i = 0; i < 1000; i++)
        table_tend(&t);
    CHECK(!table_growing(&t));
    for (uint32_t w = 1; w <= v; w++) {
        CHECK(holds(&t, w));
        CHECK(table_guess(&t, hash_of(w)) != 0);
    }
    table_done(&t);
}

static UNANALYSED void test_a_block_is_adopted(void)
{
    struct table t, u;
    struct evs_error err;
    size_t n;

    CHECK_EQ(table_init(&t, 64u << 20, &err), 0);
    CHECK_EQ(table_init(&u, 64u << 20, &err), 0);
    for (uint32_t v = 1; v <= 5000; v++)
        table_insert(&t, hash_of(v), v);
    table_settle(&t);
    const void *block = table_block(&t, &n);
    uint32_t bits = (uint32_t)__builtin_ctzll(n / 8);
    void *to = table_adopt(&u, bits, t.n);
    CHECK(to);
    memcpy(to, block, n);
    for (uint32_t v = 1; v <= 5000; v++)
        CHECK(holds(&u, v));
    for (uint32_t v = 5001; v <= 20000; v++) /* and it grows on */
        table_insert(&u, hash_of(v), v);
    for (uint32_t v = 1; v <= 20000; v++)
        CHECK(holds(&u, v));
    CHECK(!table_adopt(&t, 40, 1));
    CHECK(!table_adopt(&t, 3, 1));
    table_done(&t);
    table_done(&u);
}

static void test_room_ends(void)
{
    struct table t;
    struct evs_error err;

    CHECK_EQ(table_init(&t, 2u << 20, &err), 0); /* 2^17 slots at the most */
    CHECK(table_has_room(&t, (1u << 17) / 4 * 3));
    CHECK(!table_has_room(&t, (1u << 17) / 4 * 3 + 1));
    table_done(&t);
}

struct shared {
    struct table t;
    _Atomic uint32_t newest;
    _Atomic uint32_t missed;
};

static void *reader(void *arg)
{
    struct shared *s = arg;
    uint64_t random = (uint64_t)(uintptr_t)&random | 1;
    uint32_t n;

    while ((n = atomic_load_explicit(&s->newest, memory_order_acquire)) < N) {
        uint32_t v = n ? (uint32_t)(check_random(&random) % n) + 1 : 0;
        if (v && !holds(&s->t, v))
            s->missed++;
    }
    return NULL;
}

static UNANALYSED void test_readers_miss_nothing_while_it_grows(void)
{
    static struct shared s;
    pthread_t th[2];
    struct evs_error err;

    CHECK_EQ(table_init(&s.t, 64u << 20, &err), 0);
    for (int i = 0; i < 2; i++)
        CHECK_EQ(pthread_create(&th[i], NULL, reader, &s), 0);
    for (uint32_t v = 1; v <= N; v++) {
        table_insert(&s.t, hash_of(v), v);
        atomic_store_explicit(&s.newest, v, memory_order_release);
    }
    for (int i = 0; i < 2; i++)
        (void)pthread_join(th[i], NULL);
    CHECK_EQ(s.missed, 0);
    table_done(&s.t);
}

int main(void)
{
    RUN(test_what_is_inserted_is_found);
    RUN(test_growing_ends_without_inserts);
    RUN(test_a_block_is_adopted);
    RUN(test_room_ends);
    RUN(test_readers_miss_nothing_while_it_grows);
    CHECK_DONE();
}
