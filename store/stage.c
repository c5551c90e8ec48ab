/* SPDX-License-Identifier: MIT */
/* stage: a chained hash table in two arrays that grow in place.
 * (1) Entry i is in the chain of the bucket that the low bits of its hash name; a chain goes from newer to
 *     older, so the newest entry of all stands at the head of its chain, and cutting is popping.
 * (2) All heads are 0 while n is 0: who empties it visits what it holds, not all buckets.
 * (3) There are at least as many buckets as entries, and few for an ordinary batch: they stay in the cache. */
#include "stage.h"

#include <sys/mman.h>

#define MIN_BITS 10
#define KEPT     4096u /* entries, whose memory is kept for the next commit */

static uint32_t *heads_of(const struct stage *s)
{
    return (uint32_t *)(void *)s->heads.base;
}

static struct stage_entry *entries_of(const struct stage *s)
{
    return (struct stage_entry *)(void *)s->entries.base;
}

int stage_init(struct stage *s, struct evs_error *err)
{
    int r;

    *s = (struct stage){.bits = MIN_BITS};
    if ((r = region_init(&s->entries, STAGE_MAX * sizeof(struct stage_entry), err)) < 0 ||
        (r = region_init(&s->heads, STAGE_MAX * sizeof(uint32_t), err)) < 0)
        return r;
    /* Mostly a few pages of each are in use: a huge one would only cost memory. */
    (void)madvise(s->entries.base, s->entries.reserved, MADV_NOHUGEPAGE);
    (void)madvise(s->heads.base, s->heads.reserved, MADV_NOHUGEPAGE);
    return 0;
}

void stage_done(struct stage *s)
{
    region_done(&s->entries);
    region_done(&s->heads);
}

static void link_entry(struct stage *s, uint32_t i)
{
    struct stage_entry *e = &entries_of(s)[i - 1];
    uint32_t *head = &heads_of(s)[e->hash & ((1u << s->bits) - 1)];

    e->next = *head;
    *head = i;
}

void stage_add(struct stage *s, uint64_t hash, uint32_t value)
{
    assert((s->n + 1ull) * sizeof(struct stage_entry) <= s->entries.reserved);
    if (UNLIKELY(s->n == 1u << s->bits) &&
        (sizeof(uint32_t) << (s->bits + 1)) <= s->heads.reserved) {
        s->bits++;
        memset(s->heads.base, 0, sizeof(uint32_t) << s->bits);
        for (uint32_t i = 1; i <= s->n; i++)
            link_entry(s, i);
    }
    entries_of(s)[s->n++] = (struct stage_entry){.hash = hash, .value = value};
    link_entry(s, s->n);
}

void stage_cut(struct stage *s, uint32_t n)
{
    for (; s->n > n; s->n--) {
        const struct stage_entry *e = &entries_of(s)[s->n - 1];
        heads_of(s)[e->hash & ((1u << s->bits) - 1)] = e->next;
    }
    if (n == 0 && UNLIKELY(1u << s->bits > KEPT)) {
        (void)madvise(s->entries.base, s->entries.reserved, MADV_DONTNEED);
        (void)madvise(s->heads.base, s->heads.reserved, MADV_DONTNEED);
        s->bits = MIN_BITS;
    }
}
