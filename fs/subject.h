/* SPDX-License-Identifier: MIT */
/* subject: the hash table under lease.c: what is watched of an entity or a type. Used by lease.c only. */
#ifndef FS_SUBJECT_H
#define FS_SUBJECT_H

#include "fs/lease.h"

struct lease {
    struct lease *next;
    uint64_t id, version;
    enum node_kind kind;
    evs_entity entity;
    evs_type type;
    bool mixed; /* the kernel was told twice: until it has both replies it may show the older one */
};

struct subject {
    struct subject *next;
    uint64_t key; /* an entity, or SUBJECT_TYPE + a type */
    struct lease *leases;
    struct waiter *waiters;
};

struct shard {
    pthread_mutex_t lock;
    struct subject **slots; /* n_slots, a power of two; NULL until needed */
    size_t n_slots, n;
};

/* All of it under the shard's lock. add: NULL without memory. */
struct subject *subject_find(const struct shard *s, uint64_t key);
struct subject *subject_add(struct shard *s, uint64_t key);
void subject_free_if_empty(struct shard *s, struct subject *sub);
/* Free all, leases too; waiters belong to others. */
void subject_free_all(struct shard *s);

#endif
