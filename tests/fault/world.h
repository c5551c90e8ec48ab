/* SPDX-License-Identifier: MIT */
/* world: a store under test, and what it must hold. All that an event says follows from its number k, so that
 * memory of what was written is a list of numbers. Nothing here allocates: allocations are made to fail. */
#ifndef WORLD_H
#define WORLD_H

#include "store/evstore.h"

#define WORLD_EVENTS   8000
#define WORLD_ENTITIES 8

struct world_event {
    uint32_t k, tx; /* tx: how many of its transaction follow */
};

/* Plain memory: it may be shared with the process that looks at what is left. */
struct world {
    char dir[200];
    struct evs_options options;
    struct evs_store *st; /* NULL: not open */
    struct evs_writer *w; /* of /events.jsonl; NULL: none */
    unsigned allowed;     /* bits of the evs_reasons that a call may fail with; 0: none may */
    bool
        may_stay; /* the disk refuses to cut as well: what was refused may be found at the next open */
    bool uncut;          /* that is so for ev[n .. n + flight) */
    uint32_t failures;   /* calls that failed */
    uint64_t compressed; /* segments that were when it was opened, all openings together */
    uint32_t n,
        flight; /* ev[0 .. n) are stored; of the next `flight` a whole-transaction prefix may be */
    uint32_t durable;                     /* of n */
    uint32_t next_k;                      /* numbers are not used twice */
    uint32_t mode[WORLD_ENTITIES];        /* of directories; 0: not its own */
    uint32_t mode_flight[WORLD_ENTITIES]; /* what it is being changed to */
    uint32_t pin[WORLD_ENTITIES];         /* the number of its schema; 0: none is pinned */
    uint32_t pin_flight[WORLD_ENTITIES];  /* of the one that is being pinned */
    bool shows_change;                    /* the last failure left the store read-only */
    struct world_event ev[WORLD_EVENTS];
};

/* Open, and see that what is there is what must be. False: it failed, as it may. */
bool world_open(struct world *w);
bool world_close(struct world *w);
/* As a daemon that dies: nothing is written any more. */
void world_kill(struct world *w);
/* Open and writable, opened again if it was read-only. */
bool world_ready(struct world *w);

/* Append n events in one write; as a transaction. expect: each says its expected_version. */
void world_append(struct world *w, uint32_t n, bool transaction, bool expect);
/* The same through a file of one entity and type: its data alone. */
void world_append_data(struct world *w);
/* An event with a writer's id that is there already: accepted, and not stored again. */
void world_repeat(struct world *w, uint32_t skip);
void world_sync(struct world *w);
void world_checkpoint(struct world *w);
void world_chmod(struct world *w, uint32_t entity, uint32_t mode);
/* Pin schema `number`, to which all events conform; 0 unpins. */
void world_pin(struct world *w, uint32_t entity, uint32_t number);
/* So many steps of what a store does to its sealed segments in the background: each hashes one, and compresses one
 * or removes a plain file. */
void world_pack(struct world *w, uint32_t steps);
void world_read(struct world *w);
void world_state(struct world *w, uint32_t entity);

/* How many checks have failed so far. */
int world_failed(void);

/* As it stands, not open: nothing is found. */
bool world_verify(struct world *w);

/* No faults from here on: all is there, an append works, verify finds nothing. */
void world_finish(struct world *w);

#endif
