/* SPDX-License-Identifier: MIT */
/* states: the newest states that were asked for, as text, the least recently used dropped first. Knows neither events
 * nor rights: who may see a state is settled before it is asked for. Any thread. */
#ifndef STORE_STATES_H
#define STORE_STATES_H

#include "error.h"
#include "util.h"

#include <pthread.h>

struct kept_state {
    uint32_t entity;
    evs_seq last;  /* newest event in it */
    size_t n;      /* of text */
    uint32_t refs; /* under the cache's lock */
    struct kept_state *next, *newer, *older;
    char text[];
};

struct states {
    pthread_mutex_t lock;
    struct kept_state **table; /* by entity; NULL until the first is put */
    struct kept_state *newest, *oldest;
    uint64_t room;  /* for all entries; const */
    uint64_t bytes; /* of all entries */
    size_t n;
};
void states_init(struct states *s, uint64_t room); /* room 0: keeps none */
void states_done(struct states *s);                /* nobody has one any more */

/* The one that is kept of an entity, for states_unref(); NULL: none. */
struct kept_state *states_get(struct states *s, uint32_t entity);
void states_unref(struct states *s, struct kept_state *k); /* NULL is fine */
/* Keep a copy, in the place of an older one of the entity. Not without memory, and not what is larger than an eighth
 * of the room. */
void states_put(struct states *s, uint32_t entity, evs_seq last, const char *text, size_t n);
uint64_t states_bytes(struct states *s); /* memory of them all */

#endif
