/* SPDX-License-Identifier: MIT */
/* gather: (1) Those whom the last pass was for are expected back, beside those who came while it ran. So who is alone
 * is full at once, and who left is missed once.
 * (2) The wait is at most what a pass takes, from the end of the last one: who comes later waits for nobody.
 * (3) A wait is worth it where it brings waiters faster than the passes carry them. Where it does not, as with writers
 * who are busy while the disk is, the next passes begin without one: 1, 3, 7 up to 63, until one is worth it. */
#include "gather.h"

#define WAIT_MAX_NS 10000000u /* whatever a pass takes */
#define SKIP_MAX    63u

/* A pass begins after a wait from its predecessor's end. */
static void judge(struct gather *g, uint64_t waited_ns)
{
    uint64_t more = g->came - g->were;

    if (more * (g->sync_ns + waited_ns) >= g->came * waited_ns)
        g->skipped = 0;
    else
        g->skip = g->skipped = MIN(2 * g->skipped + 1, SKIP_MAX);
}

void gather_begin(struct gather *g, uint64_t now_ns)
{
    if (g->skip > 0)
        g->skip--;
    else if (g->were < g->expected)
        judge(g, now_ns - g->end_ns);
    g->began_ns = now_ns;
    g->carried = g->came;
    g->came = 0;
}

void gather_end(struct gather *g, uint64_t now_ns)
{
    uint64_t took = now_ns - g->began_ns;

    g->sync_ns = g->sync_ns ? (3 * g->sync_ns + took) / 4 : took;
    g->were = g->came;
    g->expected = g->carried + g->came;
    g->end_ns = now_ns;
    g->until_ns = now_ns + (g->skip > 0 ? 0 : MIN(g->sync_ns, WAIT_MAX_NS));
}
