/* SPDX-License-Identifier: MIT */
/* states:
 * (1) An entry's text never changes. One that is put in the place of another leaves that to who has it.
 * (2) An entity has at most one entry in the table, the one with the largest `last` of those that were put.
 * (3) bytes is the sum over the table, at most room; who has an entry that is not in it any more,
 *     has it for as long as a copy takes. */
#include "states.h"

#include "limits.h"

#define ENTRY_BYTES(n) (sizeof(struct kept_state) + (n) + 16) /* 16: the heap's own */

static struct kept_state **slot_of(const struct states *s, uint32_t entity)
{
    return &s->table[entity * 2654435761u % DEFAULT_STATES]; /* Knuth's multiplicative hash */
}

void states_init(struct states *s, uint64_t room)
{
    *s = (struct states){.room = room};
    (void)pthread_mutex_init(&s->lock, NULL); /* without attributes none can fail */
}

static void unref(struct kept_state *k)
{
    if (--k->refs == 0)
        free(k);
}

static void list_out(struct states *s, struct kept_state *k)
{
    *(k->newer ? &k->newer->older : &s->newest) = k->older;
    *(k->older ? &k->older->newer : &s->oldest) = k->newer;
}

static void list_in(struct states *s, struct kept_state *k)
{
    k->newer = NULL;
    k->older = s->newest;
    *(s->newest ? &s->newest->newer : &s->oldest) = k;
    s->newest = k;
}

static void drop(struct states *s, struct kept_state *k)
{
    struct kept_state **at = slot_of(s, k->entity);

    while (*at != k)
        at = &(*at)->next;
    *at = k->next;
    list_out(s, k);
    s->bytes -= ENTRY_BYTES(k->n);
    s->n--;
    unref(k);
}

void states_done(struct states *s)
{
    while (s->newest)
        drop(s, s->newest);
    free(s->table);
    (void)pthread_mutex_destroy(&s->lock);
}

static struct kept_state *find(const struct states *s, uint32_t entity)
{
    struct kept_state *k = s->table ? *slot_of(s, entity) : NULL;

    while (k && k->entity != entity)
        k = k->next;
    return k;
}

struct kept_state *states_get(struct states *s, uint32_t entity)
{
    (void)pthread_mutex_lock(&s->lock);
    struct kept_state *k = find(s, entity);
    if (k) {
        k->refs++;
        list_out(s, k);
        list_in(s, k);
    }
    (void)pthread_mutex_unlock(&s->lock);
    return k;
}

void states_unref(struct states *s, struct kept_state *k)
{
    if (!k)
        return;
    (void)pthread_mutex_lock(&s->lock);
    unref(k);
    (void)pthread_mutex_unlock(&s->lock);
}

void states_put(struct states *s, uint32_t entity, evs_seq last, const char *text, size_t n)
{
    if (ENTRY_BYTES(n) > s->room / 8)
        return;
    struct kept_state *k = malloc(sizeof *k + n);
    if (!k)
        return;
    *k = (struct kept_state){.entity = entity, .last = last, .n = n, .refs = 1};
    memcpy(k->text, text, n);

    (void)pthread_mutex_lock(&s->lock);
    if (!s->table)
        s->table = calloc(DEFAULT_STATES, sizeof *s->table);
    struct kept_state *old = find(s, entity);
    if (!s->table || (old && old->last >= last)) { /* somebody else was faster */
        free(k);
    } else {
        if (old)
            drop(s, old);
        while (s->n == DEFAULT_STATES || s->bytes + ENTRY_BYTES(n) > s->room)
            drop(s, s->oldest);
        struct kept_state **at = slot_of(s, entity);
        k->next = *at;
        *at = k;
        list_in(s, k);
        s->bytes += ENTRY_BYTES(n);
        s->n++;
    }
    (void)pthread_mutex_unlock(&s->lock);
}

uint64_t states_bytes(struct states *s)
{
    (void)pthread_mutex_lock(&s->lock);
    uint64_t bytes = s->bytes + (s->table ? DEFAULT_STATES * sizeof *s->table : 0);
    (void)pthread_mutex_unlock(&s->lock);
    return bytes;
}
