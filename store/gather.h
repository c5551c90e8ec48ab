/* SPDX-License-Identifier: MIT */
/* gather: how many are worth waiting for before the next sync begins, and until when. A decision from counts and
 * times; all zero is a good start. The caller's lock guards it. */
#ifndef STORE_GATHER_H
#define STORE_GATHER_H

#include "util.h"

struct gather {
    uint32_t came;             /* wait for the next pass */
    uint32_t carried;          /* did for the last one, do for the one that runs */
    uint32_t were;             /* of came: were there when it ended */
    uint32_t expected;         /* no use in waiting for more */
    uint32_t skip, skipped;    /* so many passes more, and at the last time, no wait */
    uint64_t began_ns, end_ns; /* of the last pass */
    uint64_t until_ns;         /* wait no longer */
    uint64_t sync_ns;          /* what a pass takes, of late */
};

static inline void gather_join(struct gather *g)
{
    g->came++;
}

/* One who waited for the next pass has no need of it any more. */
static inline void gather_leave(struct gather *g)
{
    g->came--;
    g->were = MIN(g->were, g->came);
}

/* While a pass runs: it is for one more. */
static inline void gather_carry(struct gather *g)
{
    g->carried++;
}

/* Nobody more is expected: begin. Asked before there is a need to look at the clock. */
static inline bool gather_full(const struct gather *g)
{
    return g->came >= g->expected;
}

void gather_begin(
    struct gather *g,
    uint64_t now_ns); /* a pass: who comes from now on waits for the next, but for gather_carry() */
void gather_end(struct gather *g, uint64_t now_ns);

#endif
