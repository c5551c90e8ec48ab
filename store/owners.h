/* SPDX-License-Identifier: MIT */
/* owners: who owns which directory, in memory; meta.db keeps it. Owners are few (tenants), look-ups are
 * many: a sorted array under a read-write lock. Directories inherit from the nearest one above. */
#ifndef STORE_OWNERS_H
#define STORE_OWNERS_H

#include "index.h"

#include <pthread.h>

/* Which types the events at or below an entity have, as far as anybody asked: (1) whoever asks looks at the
 * events since the last time, so an append does nothing for it; (2) a type that was found stays for good. */
struct border_types {
    pthread_mutex_t lock;
    struct entity_types {
        entity_id e;
        evs_seq seen;   /* events up to this one have been looked at */
        type_id *types; /* owned, ascending */
        uint32_t n, cap;
    } * v; /* owned, by e */
    size_t n, cap;
};

struct owners {
    pthread_rwlock_t lock;
    struct owner_row *rows; /* sorted by kind, then name */
    size_t n, cap;
    char *spare; /* owned: spare_bytes of room for the next row's name; NULL and 0: none */
    size_t spare_bytes;
    _Atomic size_t below; /* rows that are not the root's: 0 is the common case */
    _Atomic uint64_t gen; /* changes so far */
    struct border_types kinds;
};

int owners_init(struct owners *o, struct evs_error *err);
void owners_done(struct owners *o);

/* Take the memory that the next owners_set() of this directory needs, so that it can't fail any more. */
int owners_reserve(struct owners *o, const struct evs_dir *d, struct evs_error *err);
/* Put or replace; take away (-ENOENT): then to put the same again, next, can't fail. */
int owners_set(struct owners *o, const struct evs_dir *d, const struct evs_owner *own,
               struct evs_error *err);
int owners_clear(struct owners *o, const struct evs_dir *d);
/* Exactly this directory's own: true and *ret, or false. */
bool owners_get(struct owners *o, const struct evs_dir *d, struct evs_owner *ret);
/* Its own or the nearest above it. */
bool owners_effective(struct owners *o, const struct evs_dir *d, struct evs_owner *ret);
/* Has any directory below d an owner of its own? */
bool owners_any_below(struct owners *o, const struct evs_dir *d);

/* evs_border_mask(), exact: only what holds an event that a file of d would show is a border to it. */
mode_t owners_border_mask(struct owners *o, const struct evs_dir *d, const struct index *ix,
                          const struct log *lg);
/* evs_may_read(). */
bool owners_may_read(struct owners *o, const struct evs_dir *d, const struct evs_cred *cred,
                     const struct index *ix, const struct log *lg);

/* evs_borders(). */
size_t owners_borders(struct owners *o, const struct index *ix, bool names, char *buf, size_t n);

/* No share binds root and the owner of the store. */
bool owners_is_free(struct owners *o, uid_t uid);
/* Room for one more directory with an owner: own's share of them is not used up? */
bool owners_has_room(struct owners *o, const struct evs_dir *d, const struct evs_owner *own);

/* evs_rights(). */
mode_t owners_rights(const struct evs_owner *own, const struct evs_cred *cred);

/* What owners_may_append() answers holds as long as this is the same. Load it before asking. */
static inline uint64_t owners_gen(const struct owners *o)
{
    return atomic_load_explicit(&o->gen, memory_order_acquire);
}

/* May cred append to entity `id`, which lies at or below directory `through` (or anywhere: the root, a type),
 * through a file of that directory, which the kernel has let it open? It must be able to write in id's own
 * directory, and to search that and every other on the way down to it, as for a file there. */
bool owners_may_append(struct owners *o, const struct evs_dir *through, struct slice id,
                       const struct evs_cred *cred);

#endif
