/* SPDX-License-Identifier: MIT */
/* settle: no lease right after a change, one afterwards, and each node for itself. */
#include "check.h"

#include "fs/settle.h"

static struct settle s;

static void nothing_changed_nothing_waits(void)
{
    CHECK(settle_may_lease(&s, 7, 0));
    CHECK(settle_may_lease(&s, 7, 1));
}

static void after_a_change_each_node_waits_for_itself(void)
{
    uint64_t t = (1ull << 24) - 50; /* over the end of the 24 bits */

    settle_change(&s);
    CHECK(!settle_may_lease(&s, 7, t));
    CHECK(!settle_may_lease(&s, 7, t + SETTLE_MS - 1));
    CHECK(settle_may_lease(&s, 7, t + SETTLE_MS));
    CHECK(settle_may_lease(&s, 7, t + 10 * SETTLE_MS));
    CHECK(!settle_may_lease(&s, 8, t + 10 * SETTLE_MS)); /* the kernel has not asked for it yet */
    settle_change(&s);
    CHECK(!settle_may_lease(&s, 7, t + 11 * SETTLE_MS));
    CHECK(settle_may_lease(&s, 7, t + 12 * SETTLE_MS));
}

static void many_nodes_settle(void)
{
    settle_change(&s);
    for (uint64_t id = 1; id <= 1000; id++)
        CHECK(!settle_may_lease(&s, id << 20, 5));
    int late = 0;
    for (uint64_t id = 1; id <= 1000; id++)
        late += !settle_may_lease(&s, id << 20, 5 + SETTLE_MS);
    CHECK(late < 200); /* those that share a slot */
}

int main(void)
{
    RUN(nothing_changed_nothing_waits);
    RUN(after_a_change_each_node_waits_for_itself);
    RUN(many_nodes_settle);
    CHECK_DONE();
}
