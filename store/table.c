/* SPDX-License-Identifier: MIT */
/* table: open addressing with linear probing, home = low bits of the hash, so that growing needs only the
 * slot.
 * (1) A slot is empty (value 0), or filled once and then stays what it is for as long as its table lives.
 * (2) The table of 2^b slots stands at slot 2^b of one reserved range: a reader that still looks at an old
 *     table reads memory that is its own, at worst emptied; then gen has changed and it looks again.
 * (3) While gen says TABLE_GROWING, an entry is in the new table, or in the old one at or after `moved`.
 * (4) Every insert copies 16 old slots, and a table of 2^b slots grows at 3/4 full: copying is done long
 *     before the next growth, and no insert pays for the whole. Who inserts no more goes on by table_tend(). */
#include "table.h"

#include <assert.h>
#include <errno.h>
#include <sys/mman.h>

#define HUGE_PAGE   ((size_t)2 << 20)
#define MOVE_A_TIME 16

int region_init(struct region *r, size_t want, struct evs_error *err)
{
    for (size_t n = MAX(want, HUGE_PAGE); n >= HUGE_PAGE; n /= 2) {
        char *p = mmap(NULL, n, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE,
                       -1, 0);
        if (p != MAP_FAILED) {
            if (want > HUGE_PAGE)
                (void)madvise(p, n,
                              MADV_HUGEPAGE); /* faster where the kernel has it, right without */
            *r = (struct region){.base = p, .reserved = n};
            return 0;
        }
    }
    return evs_fail_errno(err, -errno, "reserving memory for the index");
}

void region_done(struct region *r)
{
    if (r->base)
        (void)munmap(r->base, r->reserved);
    *r = (struct region){0};
}

int table_init(struct table *t, size_t reserve, struct evs_error *err)
{
    *t = (struct table){.gen = TABLE_MIN_BITS};
    return region_init(&t->mem, reserve, err);
}

void table_done(struct table *t)
{
    region_done(&t->mem);
}

static uint32_t bits_of(const struct table *t)
{
    return atomic_load_explicit(&t->gen, memory_order_relaxed) & 0xff;
}

static bool fits(const struct table *t, uint32_t bits)
{
    return bits <= 31 && ((size_t)16 << bits) <= t->mem.reserved;
}

bool table_has_room(const struct table *t, uint64_t more)
{
    uint32_t bits = bits_of(t);

    while (t->n + more > (3ull << bits) / 4)
        if (!fits(t, ++bits))
            return false;
    return true;
}

static void put(const struct table *t, uint32_t bits, uint64_t slot)
{
    _Atomic uint64_t *slots = table_slots(t, bits);
    uint32_t mask = (uint32_t)((1ull << bits) - 1), at = (uint32_t)slot & mask;

    while (atomic_load_explicit(&slots[at], memory_order_relaxed) >> 32)
        at = (at + 1) & mask;
    atomic_store_explicit(&slots[at], slot, memory_order_release); /* pairs with table_next() */
}

static NEEDS_COMMIT void move_some(struct table *t, uint64_t count)
{
    uint32_t bits = bits_of(t), old_bits = bits - 1;
    uint64_t size = 1ull << old_bits;
    _Atomic uint64_t *old = table_slots(t, old_bits);

    for (; count > 0 && t->moved < size; count--, t->moved++) {
        uint64_t s = atomic_load_explicit(&old[t->moved], memory_order_relaxed);
        if (s >> 32)
            put(t, bits, s);
    }
    if (t->moved == size) {
        atomic_store_explicit(&t->gen, bits, memory_order_release);
        /* Whole pages only; small tables are left where they are. A reader that is still in there finds
         * emptiness and looks again, see (2). */
        uintptr_t from = ((uintptr_t)table_address(t, size) + 4095) & ~(uintptr_t)4095;
        uintptr_t to = (uintptr_t)table_address(t, 2 * size) & ~(uintptr_t)4095;
        if (to > from)
            (void)madvise((void *)from, to - from, MADV_DONTNEED);
    }
}

void table_insert(struct table *t, uint64_t hash, uint32_t value)
{
    uint32_t bits = bits_of(t);

    assert(value);
    if (table_growing(t)) {
        move_some(t, MOVE_A_TIME);
    } else if (UNLIKELY(t->n + 1 > (3ull << bits) / 4)) {
        assert(fits(t, bits + 1)); /* table_has_room() was asked */
        t->moved = 0;
        atomic_store_explicit(&t->gen, ++bits | TABLE_GROWING, memory_order_release);
        move_some(t, MOVE_A_TIME);
    }
    put(t, bits, (uint64_t)value << 32 | (uint32_t)hash);
    t->n++;
}

void table_move_on(struct table *t)
{
    move_some(t, MOVE_A_TIME);
}

void table_settle(struct table *t)
{
    if (table_growing(t))
        move_some(t, UINT64_MAX);
}

size_t table_bytes(const struct table *t)
{
    uint32_t bits = bits_of(t);

    return ((size_t)8 << bits) + (table_growing(t) ? (size_t)4 << bits : 0);
}

const void *table_block(const struct table *t, size_t *ret_bytes)
{
    assert(!table_growing(t));
    *ret_bytes = (size_t)8 << bits_of(t);
    return table_address(t, 1ull << bits_of(t));
}

void *table_adopt(struct table *t, uint32_t bits, uint64_t n)
{
    if (bits < TABLE_MIN_BITS || !fits(t, bits) || n > (1ull << bits))
        return NULL;
    t->n = n;
    atomic_store_explicit(&t->gen, bits, memory_order_release);
    return table_address(t, 1ull << bits);
}
