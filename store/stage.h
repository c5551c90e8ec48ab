/* SPDX-License-Identifier: MIT */
/* stage: a list of (hash, value) that can be searched and cut back to any earlier length: what a commit in
 * progress would add to a table, before it is certain that it will. One thread, the one that has the commit
 * lock. */
#ifndef STORE_STAGE_H
#define STORE_STAGE_H

#include "table.h"

#define STAGE_MAX (1u << 22) /* entries; index_has_room() asks for what fits */

struct stage_entry {
    uint64_t hash;
    uint32_t value;
    uint32_t next; /* older one of the same bucket, from 1; 0: none */
};

struct stage {
    struct region entries; /* struct stage_entry, from 0 */
    struct region heads;   /* uint32_t a bucket: its newest entry, from 1; all 0 while n is 0 */
    uint32_t n, bits;      /* 2^bits buckets */
};

int stage_init(struct stage *s, struct evs_error *err);
void stage_done(struct stage *s); /* zeroed is fine */

void stage_add(struct stage *s, uint64_t hash, uint32_t value) NEEDS_COMMIT;
/* Keep the first n only. With 0 memory beyond the ordinary is given back. */
void stage_cut(struct stage *s, uint32_t n) NEEDS_COMMIT;

/* Entry i, from 1 to n in the order in which they came. */
static inline const struct stage_entry *stage_at(const struct stage *s, uint32_t i)
{
    return (const struct stage_entry *)(const void *)s->entries.base + (i - 1);
}

/* Entries with this hash, newest first, then 0:
 *     for (uint32_t i = stage_first(s, hash); i; i = stage_next(s, i)) if (is_it(stage_at(s, i))) … */
static inline uint32_t stage_same_(const struct stage *s, uint32_t i, uint64_t hash)
{
    while (i && stage_at(s, i)->hash != hash)
        i = stage_at(s, i)->next;
    return i;
}

static inline uint32_t stage_first(const struct stage *s, uint64_t hash)
{
    const uint32_t *heads = (const uint32_t *)(const void *)s->heads.base;

    return s->n ? stage_same_(s, heads[hash & ((1u << s->bits) - 1)], hash) : 0;
}

static inline uint32_t stage_next(const struct stage *s, uint32_t i)
{
    return stage_same_(s, stage_at(s, i)->next, stage_at(s, i)->hash);
}

#endif
