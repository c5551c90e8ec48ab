/* SPDX-License-Identifier: MIT */
/* quota: equal parts of what is given back. */
#include "check.h"

#include "fs/quota.h"

static void equal_parts(void)
{
    struct quota q = {.whole = 100};

    CHECK(quota_take(&q, 1, 60));
    CHECK(quota_take(&q, 1, 40));
    CHECK(!quota_take(&q, 1, 1));
    CHECK(quota_take(&q, 2, 50)); /* a newcomer's part, though all is taken */
    CHECK(!quota_take(&q, 2, 1));
    quota_give(&q, 1, 60);
    CHECK(quota_take(&q, 1, 10));
    CHECK(!quota_take(&q, 1, 1)); /* two users now */
    quota_give(&q, 2, 50);
    CHECK(quota_take(&q, 1, 50));
    quota_give(&q, 1, 100);
    CHECK_EQ(q.n, 0);
    CHECK(quota_take(&q, 3, 500)); /* one thing, however large */
    CHECK(!quota_take(&q, 3, 1));
    CHECK(!quota_take(&q, 3, UINT64_MAX));
    CHECK(quota_take(&q, 3, 0));
    quota_give(&q, 3, 500);
    quota_done(&q);
}

static void many_users(void)
{
    struct quota q = {.whole = 1000};

    for (uid_t u = 0; u < 100; u++)
        CHECK(quota_take(&q, u, 5));
    for (uid_t u = 0; u < 100; u++) {
        CHECK(quota_take(&q, u, 5));
        CHECK(!quota_take(&q, u, 1));
    }
    for (uid_t u = 0; u < 100; u++)
        quota_give(&q, u, 10);
    CHECK_EQ(q.n, 0);
    quota_done(&q);
}

int main(void)
{
    RUN(equal_parts);
    RUN(many_users);
    CHECK_DONE();
}
