/* SPDX-License-Identifier: MIT */
/* table: a hash table from 32 bits of a hash to a number, 8 bytes a slot; and region: reserved address
 * space that grows in place. One writer (under the commit lock), any readers without a lock. */
#ifndef STORE_TABLE_H
#define STORE_TABLE_H

#include "error.h"
#include "lock.h"
#include "util.h"

#include <stdatomic.h>

struct region {
    char *base;      /* const after init; zero where never written */
    size_t reserved; /* const after init */
    size_t used;     /* the writer's */
};

/* Reserve up to want bytes of address space (half as much, and so on, where the system gives less). */
int region_init(struct region *r, size_t want, struct evs_error *err);
void region_done(struct region *r); /* zeroed is fine */

/* Slot: low word the low 32 bits of the hash, high word the value; value 0 is an empty slot. */
struct table {
    struct region mem; /* the table of 2^b slots stands at slot 2^b: no address is used twice */
    _Atomic uint32_t
        gen;    /* bits of the table | TABLE_GROWING while the one of bits - 1 holds some still */
    uint64_t n; /* slots filled */
    uint64_t moved; /* while growing: slots of the old one that have been copied */
};
#define TABLE_GROWING  0x100u
#define TABLE_MIN_BITS 9

int table_init(struct table *t, size_t reserve, struct evs_error *err);
void table_done(struct table *t);
/* Room for one more? False when the address space is used up. */
bool table_has_room(const struct table *t, uint64_t more);
void table_insert(struct table *t, uint64_t hash, uint32_t value) NEEDS_COMMIT;
static inline bool table_growing(const struct table *t)
{
    return atomic_load_explicit(&t->gen, memory_order_relaxed) & TABLE_GROWING;
}

/* Once in a while, where nothing may be inserted for long: what the old table still holds takes two look-ups, and
 * is not guessed. */
void table_move_on(struct table *t) NEEDS_COMMIT;
static inline void table_tend(struct table *t) NEEDS_COMMIT;
static inline void table_tend(struct table *t)
{
    if (UNLIKELY(table_growing(t)))
        table_move_on(t);
}
/* Copy what the old table still holds. */
void table_settle(struct table *t) NEEDS_COMMIT;
/* Bytes of memory in use. */
size_t table_bytes(const struct table *t);
/* The slots as one block (settled), for the checkpoint; and the way back: a block of 2^bits slots to fill,
 * which holds n. NULL where it does not fit. */
const void *table_block(const struct table *t, size_t *ret_bytes);
void *table_adopt(struct table *t, uint32_t bits, uint64_t n);

/* Every value whose hash has the same low 32 bits (some perhaps twice), then 0:
 *     for (uint32_t v = table_first(&p, t, hash); v; v = table_next(&p)) if (is_it(v)) return v;
 * The end is certain: what was inserted before the call began is seen. */
struct table_probe {
    const struct table *t;
    uint32_t hash, gen, mask, at;
    bool in_old;
};

static inline void *table_address(const struct table *t, uint64_t slot)
{
    return t->mem.base + slot * 8;
}

static inline _Atomic uint64_t *table_slots(const struct table *t, uint32_t bits)
{
    return table_address(t, 1ull << bits);
}

static inline void table_begin_(struct table_probe *p)
{
    p->gen = atomic_load_explicit(&p->t->gen, memory_order_acquire);
    p->mask = (uint32_t)((1ull << (p->gen & 0xff)) - 1);
    p->at = p->hash & p->mask;
    p->in_old = false;
}

static inline uint32_t table_next(struct table_probe *p)
{
    for (;;) {
        uint32_t bits = (p->gen & 0xff) - (p->in_old ? 1 : 0);
        _Atomic uint64_t *slots = table_slots(p->t, bits);

        for (;;) {
            /* Acquire: pairs with table_insert(); what the value names was written before. */
            uint64_t s = atomic_load_explicit(&slots[p->at], memory_order_acquire);
            if (s >> 32 == 0)
                break;
            p->at = (p->at + 1) & p->mask;
            if ((uint32_t)s == p->hash)
                return (uint32_t)(s >> 32);
        }
        if ((p->gen & TABLE_GROWING) && !p->in_old) {
            p->in_old = true;
            p->mask >>= 1;
            p->at = p->hash & p->mask;
            continue;
        }
        /* A table that grew meanwhile may have been emptied under us: look again in the new one. */
        if (LIKELY(atomic_load_explicit(&p->t->gen, memory_order_acquire) == p->gen))
            return 0;
        table_begin_(p);
    }
}

static inline uint32_t table_first(struct table_probe *p, const struct table *t, uint64_t hash)
{
    p->t = t;
    p->hash = (uint32_t)hash;
    table_begin_(p);
    return table_next(p);
}

static inline void table_prefetch(const struct table *t, uint64_t hash)
{
    uint32_t bits = atomic_load_explicit(&t->gen, memory_order_relaxed) & 0xff;

    __builtin_prefetch(table_address(t, (1ull << bits) + (hash & ((1ull << bits) - 1))));
}

/* Its value, most likely; 0 where none is near: for prefetching only. Acquire, as table_next(): what the value names
 * may be looked at. */
static inline uint32_t table_guess(const struct table *t, uint64_t hash)
{
    uint32_t bits = atomic_load_explicit(&t->gen, memory_order_relaxed) & 0xff;
    const uint32_t mask = (uint32_t)((1ull << bits) - 1);
    uint64_t s;

    for (uint32_t at = (uint32_t)hash & mask;; at = (at + 1) & mask) {
        s = atomic_load_explicit(&table_slots(t, bits)[at], memory_order_acquire);
        if (s >> 32 == 0 || (uint32_t)s == (uint32_t)hash)
            return (uint32_t)(s >> 32);
    }
}

#endif
