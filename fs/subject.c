/* SPDX-License-Identifier: MIT */
/* A table that grows and never shrinks; a subject without leases and waiters is not in it. */
#include "subject.h"

#include <errno.h>
#include <stdlib.h>

static struct subject **slot_of(const struct shard *s, uint64_t key)
{
    return &s->slots[(key * 0x9e3779b97f4a7c15u >> 20) & (s->n_slots - 1)];
}

struct subject *subject_find(const struct shard *s, uint64_t key)
{
    struct subject *sub = s->n_slots ? *slot_of(s, key) : NULL;

    while (sub && sub->key != key)
        sub = sub->next;
    return sub;
}

static int grow(struct shard *s)
{
    struct subject **was = s->slots;
    size_t n = s->n_slots;
    struct subject **slots = calloc(n ? n * 2 : 16, sizeof *slots);

    if (!slots)
        return n ? 0 : -ENOMEM; /* longer chains will do */
    s->slots = slots;
    s->n_slots = n ? n * 2 : 16;
    for (size_t i = 0; i < n; i++) {
        for (struct subject *sub = was[i], *next; sub; sub = next) {
            struct subject **slot = slot_of(s, sub->key);
            next = sub->next;
            sub->next = *slot;
            *slot = sub;
        }
    }
    free(was);
    return 0;
}

struct subject *subject_add(struct shard *s, uint64_t key)
{
    struct subject *sub = subject_find(s, key), **slot;

    if (sub)
        return sub;
    if (s->n >= s->n_slots && grow(s) < 0)
        return NULL;
    sub = calloc(1, sizeof *sub);
    if (!sub)
        return NULL;
    sub->key = key;
    slot = slot_of(s, key);
    sub->next = *slot;
    *slot = sub;
    s->n++;
    return sub;
}

void subject_free_if_empty(struct shard *s, struct subject *sub)
{
    struct subject **p;

    if (sub->leases || sub->waiters)
        return;
    for (p = slot_of(s, sub->key); *p != sub; p = &(*p)->next)
        ;
    *p = sub->next;
    s->n--;
    free(sub);
}

void subject_free_all(struct shard *s)
{
    for (size_t i = 0; i < s->n_slots; i++) {
        for (struct subject *sub = s->slots[i], *next; sub; sub = next) {
            next = sub->next;
            for (struct lease *e = sub->leases, *e_next; e; e = e_next) {
                e_next = e->next;
                free(e);
            }
            free(sub);
        }
    }
    free(s->slots);
    s->slots = NULL;
    s->n_slots = s->n = 0;
}
