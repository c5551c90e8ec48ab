/* SPDX-License-Identifier: MIT */
/* The memory of unfinished values: nobody gets more than an equal part, and everybody gets that. */
#include "check.h"
#include "store/limits.h"
#include "store/pending.h"

#include <pthread.h>

#define ALL LIMIT_PENDING_BYTES

static struct pending p;

static void one_user_may_have_all(void)
{
    pending_init(&p);
    CHECK(pending_take(&p, 1, ALL + 1, NULL) < 0);
    CHECK_EQ(p.n, 0);
    CHECK(pending_take(&p, 1, ALL, NULL) == 0);
    CHECK(pending_take(&p, 1, 1, NULL) < 0);
    CHECK_EQ(pending_total(&p), ALL);
    pending_give(&p, 1, 1);
    CHECK(pending_take(&p, 1, 1, NULL) == 0);
    pending_give(&p, 1, ALL);
    CHECK_EQ(pending_total(&p), 0);
    CHECK_EQ(p.n, 0);
    pending_done(&p);
}

static void a_newcomer_has_its_part(void)
{
    pending_init(&p);
    CHECK(pending_take(&p, 1, ALL, NULL) == 0);
    CHECK(pending_take(&p, 2, ALL / 2 + 1, NULL) < 0);
    CHECK(pending_take(&p, 2, ALL / 2, NULL) == 0);
    CHECK(pending_take(&p, 2, 1, NULL) < 0);
    CHECK(pending_take(&p, 1, 1, NULL) < 0); /* keeps what it had, gets no more */
    CHECK(pending_take(&p, 3, ALL / 3, NULL) == 0);
    CHECK(pending_take(&p, 3, 1, NULL) < 0);
    pending_give(&p, 1, ALL / 2);
    CHECK(pending_take(&p, 1, 1, NULL) < 0); /* still more than a third */
    pending_give(&p, 1, ALL / 2);
    CHECK_EQ(p.n, 2);
    CHECK(pending_take(&p, 3, ALL / 2 - ALL / 3, NULL) == 0); /* one less: parts are halves again */
    pending_give(&p, 3, ALL / 2);
    pending_give(&p, 2, ALL / 2);
    CHECK_EQ(pending_total(&p), 0);
    CHECK_EQ(p.n, 0);
    pending_done(&p);
}

static void nothing_makes_nobody_known(void)
{
    pending_init(&p);
    CHECK(pending_take(&p, 1, 0, NULL) == 0);
    CHECK_EQ(p.n, 0);
    CHECK(pending_take(&p, 2, 5, NULL) == 0);
    CHECK(pending_take(&p, 2, 0, NULL) == 0);
    CHECK_EQ(p.n, 1);
    pending_give(&p, 1, 0);
    pending_give(&p, 2, 5);
    CHECK_EQ(p.n, 0);
    pending_done(&p);
}

static void many_users_are_told_apart(void)
{
    uint64_t held[100] = {0}, total = 0, random = check_seed();

    pending_init(&p);
    for (int i = 0; i < 20000; i++) {
        uid_t uid = (uid_t)(check_random(&random) % ARRAY_LEN(held));
        if (check_random(&random) % 2) {
            size_t n = check_random(&random) % 50000;
            size_t users = 0;
            for (size_t u = 0; u < ARRAY_LEN(held); u++)
                users += held[u] > 0 && u != uid;
            bool fits = held[uid] + n <= ALL / (users + 1);
            CHECK_EQ(pending_take(&p, uid, n, NULL) == 0, fits);
            held[uid] += fits ? n : 0;
            total += fits ? n : 0;
        } else if (held[uid]) {
            size_t n = check_random(&random) % (held[uid] + 1);
            pending_give(&p, uid, n);
            held[uid] -= n;
            total -= n;
        }
        CHECK_EQ(pending_total(&p), total);
    }
    for (size_t u = 0; u < ARRAY_LEN(held); u++)
        pending_give(&p, (uid_t)u, held[u]);
    CHECK_EQ(p.n, 0);
    CHECK_EQ(pending_total(&p), 0);
    pending_done(&p);
}

static void *take_and_give(void *arg)
{
    uid_t uid = (uid_t)(uintptr_t)arg % 2;
    int taken = 0;

    for (int i = 0; i < 20000; i++) {
        taken += pending_take(&p, uid, 1000, NULL) == 0;
        if (taken > 10) {
            pending_give(&p, uid, 10 * 1000);
            taken -= 10;
        }
    }
    pending_give(&p, uid, (size_t)taken * 1000);
    return NULL;
}

static void threads_leave_no_rest(void)
{
    pthread_t th[4];

    pending_init(&p);
    for (uintptr_t i = 0; i < ARRAY_LEN(th); i++)
        CHECK_EQ(pthread_create(&th[i], NULL, take_and_give, (void *)i), 0);
    for (size_t i = 0; i < ARRAY_LEN(th); i++)
        (void)pthread_join(th[i], NULL);
    CHECK_EQ(pending_total(&p), 0);
    CHECK_EQ(p.n, 0);
    pending_done(&p);
}

int main(void)
{
    RUN(one_user_may_have_all);
    RUN(a_newcomer_has_its_part);
    RUN(nothing_makes_nobody_known);
    RUN(many_users_are_told_apart);
    RUN(threads_leave_no_rest);
    CHECK_DONE();
}
