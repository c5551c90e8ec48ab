/* SPDX-License-Identifier: MIT */
/* gather: whom the next sync waits for, and how long; the times are the test's. */
#include "check.h"

#include "store/gather.h"

#define US    1000u
#define START 1000000000u

static void join(struct gather *g, unsigned n)
{
    while (n-- > 0)
        gather_join(g);
}

/* A pass that begins and ends then; so many come while it runs. */
static void pass(struct gather *g, uint64_t begin_ns, uint64_t end_ns, unsigned come)
{
    gather_begin(g, begin_ns);
    CHECK_EQ(g->came, 0);
    join(g, come);
    gather_end(g, end_ns);
}

static void alone_waits_for_nobody(void)
{
    struct gather g = {0};

    for (uint64_t t = START; t < START + 100000 * US; t += 1000 * US) {
        join(&g, 1);
        CHECK(gather_full(&g));
        pass(&g, t, t + 200 * US, 0);
    }
}

static void two_go_together(void)
{
    struct gather g = {0};
    uint64_t t = START;

    join(&g, 1);
    pass(&g, t, t + 200 * US, 1);
    for (int i = 0; i < 10; i++) {
        CHECK(!gather_full(&g));
        CHECK_EQ(g.until_ns, g.end_ns + 200 * US); /* what a pass takes */
        join(&g, i == 0 ? 1 : 2);
        CHECK(gather_full(&g));
        t = g.end_ns + 10 * US;
        pass(&g, t, t + 200 * US, 0);
    }
    /* One has left: it is waited for once. */
    join(&g, 1);
    CHECK(!gather_full(&g));
    pass(&g, g.until_ns, g.until_ns + 200 * US, 0);
    join(&g, 1);
    CHECK(gather_full(&g));
}

static void a_wait_has_a_limit(void)
{
    struct gather g = {0};

    join(&g, 1);
    pass(&g, START, START + 5000000 * (uint64_t)US, 1);
    CHECK_EQ(g.until_ns, g.end_ns + 10000 * US);
}

/* So many passes that one waiter of two begins without a wait, after the other one has missed a wait. */
static unsigned passes_without(struct gather *g)
{
    unsigned n = 0;

    for (;; n++) {
        uint64_t t = g->end_ns;
        CHECK_EQ(g->were, 1);
        CHECK_EQ(g->expected, 2);
        if (g->until_ns > t)
            return n;
        pass(g, t, t + 200 * US, 1); /* of the one who comes too late each time */
    }
}

static void waits_that_bring_nothing_become_rare(void)
{
    struct gather g = {0};

    join(&g, 1);
    pass(&g, START, START + 200 * US, 1);
    CHECK_EQ(passes_without(&g), 0);
    for (unsigned want = 1; want < 200; want = 2 * want + 1) {
        pass(&g, g.until_ns, g.until_ns + 200 * US, 1);
        CHECK_EQ(passes_without(&g), want < 63 ? want : 63);
    }
    /* One that brings the other in time, and they are as before. */
    join(&g, 1);
    pass(&g, g.end_ns + 10 * US, g.end_ns + 210 * US, 1);
    gather_join(&g);
    CHECK(g.until_ns > g.end_ns);
}

/* Who comes at the speed of the processor, while a pass could run: 20 of 40 more would take 4 us each, a pass
 * carries one in 5. */
static void a_wait_is_worth_what_it_brings(void)
{
    struct gather g = {0};

    join(&g, 20);
    pass(&g, START, START + 200 * US, 40);
    join(&g, 2); /* in 200 us */
    pass(&g, g.until_ns, g.until_ns + 200 * US, 20);
    CHECK_EQ(g.until_ns, g.end_ns);
    pass(&g, g.end_ns, g.end_ns + 200 * US, 40);
    join(&g, 18); /* the next time as many as that, in 80 */
    pass(&g, g.end_ns + 80 * US, g.end_ns + 280 * US, 10);
    CHECK(g.until_ns > g.end_ns);
}

/* Two come while the pass runs, one of them with what it covers: that one comes back as the others do. */
static void who_is_covered_is_carried(void)
{
    struct gather g = {0};

    join(&g, 1);
    gather_begin(&g, START);
    gather_carry(&g);
    join(&g, 1);
    gather_end(&g, START + 200 * US);
    CHECK_EQ(g.came, 1);
    CHECK_EQ(g.expected, 3);
    join(&g, 1);
    CHECK(!gather_full(&g));
    join(&g, 1);
    CHECK(gather_full(&g));
}

/* Two were there when a pass ended, which had covered one of them; nobody comes, and the wait was for nothing. */
static void who_leaves_is_not_counted(void)
{
    struct gather g = {0};

    join(&g, 1);
    pass(&g, START, START + 200 * US, 2);
    gather_leave(&g);
    CHECK(!gather_full(&g));
    pass(&g, g.until_ns, g.until_ns + 200 * US, 1);
    CHECK_EQ(g.carried, 1);
    CHECK_EQ(g.skip, 1);
    gather_leave(&g);
    CHECK_EQ(g.came, 0);
    CHECK_EQ(g.were, 0);
}

int main(void)
{
    RUN(who_is_covered_is_carried);
    RUN(who_leaves_is_not_counted);
    RUN(alone_waits_for_nobody);
    RUN(two_go_together);
    RUN(a_wait_has_a_limit);
    RUN(waits_that_bring_nothing_become_rare);
    RUN(a_wait_is_worth_what_it_brings);
    CHECK_DONE();
}
