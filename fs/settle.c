/* SPDX-License-Identifier: MIT */
/* A reply to GETATTR that a notification overtakes is ignored by the kernel, and the permission check that asked
 * for it goes on with the owner and mode from before: after a chmod an open was judged by the old mode once in
 * some hundred times, on a file that others append to. What has no lease is not notified of. So:
 * (1) After a change of any owner or mode the first replies for a node are not leased, until SETTLE_MS after the
 *     first of them: by then the kernel has taken it over. Later ones may be overtaken: owner and mode are the
 *     same.
 * (2) A slot holds the upper 40 bits of a hash of node and change, and 24 bits of milliseconds. Nodes that share one
 *     put each other out, and two that look alike (once in 2^40) count as one: that costs a lease, or the
 *     certainty; a read is judged by the owner of now all the same (attr_may_open()). */
#include "settle.h"

#define TIME_BITS 24
#define TIME_MASK ((1ull << TIME_BITS) - 1)

void settle_change(struct settle *s)
{
    atomic_fetch_add_explicit(&s->changes, 1, memory_order_release);
}

bool settle_may_lease(struct settle *s, uint64_t id, uint64_t now_ms)
{
    uint64_t changes = atomic_load_explicit(&s->changes, memory_order_acquire);

    if (changes == 0)
        return true;
    uint64_t hash = (id ^ changes << 17) * 0x9e3779b97f4a7c15u;
    hash = (hash ^ hash >> 32) * 0xd6e8feb86659fd93u;
    _Atomic uint64_t *slot = &s->slots[hash % SETTLE_SLOTS];
    uint64_t had = atomic_load_explicit(slot, memory_order_relaxed);

    if (had >> TIME_BITS == hash >> TIME_BITS)
        return ((now_ms - had) & TIME_MASK) >= SETTLE_MS;
    atomic_store_explicit(slot, (hash & ~TIME_MASK) | (now_ms & TIME_MASK), memory_order_relaxed);
    return false;
}
