/* SPDX-License-Identifier: MIT */
/* index: what is in memory of a store: names of entities and types as a tree, the postings of each, and the
 * table of writers' ids. Derived from the log alone, by index_apply() on each event in order. */
#ifndef STORE_INDEX_H
#define STORE_INDEX_H

#include "postings.h"
#include "stage.h"

typedef uint32_t entity_id; /* a set; 1 is the root, entities/ */
typedef uint32_t type_id;   /* 1, 2, … in order of first appearance */

/* An entity with more own events has a set for each of its types, which takes 3 to 5 bytes an event; of one with
 * fewer the types are filtered, at some 10 ns an event. */
#define INDEX_LARGE 1500u

struct index {
    struct arena a;
    struct table names;                   /* entities, types, pairs */
    struct table ids;                     /* writers' ids: seq */
    struct region types;                  /* uint32_t a type: its set */
    _Atomic uint32_t n_types, n_entities; /* n_entities: with own events */
    struct stage staged, staged_ids;      /* of the commit in progress: names; writers' ids */
    uint32_t staged_types;
    _Atomic uint32_t marked;    /* sets that have marks, and the two below: 0 is the cheap case */
    _Atomic uint8_t all_marks;  /* of the root: EVS_MARK_BELOW */
    _Atomic uint8_t type_marks; /* of types/: EVS_MARK_CHILDREN */
};

int index_new(struct index **ret, struct evs_error *err);
void index_free(struct index *ix);

/* Hashes: computed once, by prepare. */
uint64_t index_entity_hash(struct slice id);
uint64_t index_type_hash(struct slice type);
uint64_t index_id_hash(entity_id e, struct slice id);

/* Look up, lock-free; 0: none. */
entity_id index_find_entity(const struct index *ix, struct slice id, uint64_t hash);
type_id index_find_type(const struct index *ix, struct slice type, uint64_t hash);
entity_id index_find_child(const struct index *ix, entity_id parent, struct slice comp);
/* Bring what the look-up of n hashes touches into the cache, a loop for each step: slot, set, name. */
void index_prefetch(const struct index *ix, const uint64_t *hashes, size_t stride, size_t n);
/* The deepest existing set on the way to id; the root at least. */
entity_id index_find_nearest(const struct index *ix, struct slice id);

/* Room for n more events (each: an entity with every component new, a type, an id)? */
bool index_has_room(const struct index *ix, uint64_t n);

/* What a commit in progress would add. It has its numbers, but only this commit finds it, by staging it again
 * or index_find_staged(); index_keep() shows it to everybody, index_drop() takes back what came since the mark.
 * A type: 0 where there are as many as there may be. */
entity_id index_stage_entity(struct index *ix, struct slice id, uint64_t hash) NEEDS_COMMIT;
type_id index_stage_type(struct index *ix, struct slice type, uint64_t hash) NEEDS_COMMIT;
void index_stage_id(struct index *ix, uint64_t hash, uint32_t seq) NEEDS_COMMIT;
entity_id index_find_staged(const struct index *ix, struct slice id, uint64_t hash) NEEDS_COMMIT;
struct stage_mark {
    size_t names_used, sets_used;
    uint32_t names, ids, types;
};
struct stage_mark index_stage_mark(const struct index *ix) NEEDS_COMMIT;
void index_drop(struct index *ix, const struct stage_mark *to) NEEDS_COMMIT;
void index_keep(struct index *ix) NEEDS_COMMIT;

/* Stage and keep. */
entity_id index_intern_entity(struct index *ix, struct slice id, uint64_t hash) NEEDS_COMMIT;
type_id index_intern_type(struct index *ix, struct slice type, uint64_t hash) NEEDS_COMMIT;

/* Is e the entity with this id? id's last component; *ret_rest is what stands before its '/' (p NULL: nothing). */
bool index_entity_is(const struct index *ix, entity_id e, struct slice id);
struct slice index_last_component(struct slice id, struct slice *ret_rest);

/* Names back. Length; -ERANGE. A type's slice lives as long as the index. */
struct slice index_component(const struct index *ix, entity_id e);
int index_entity_name(const struct index *ix, entity_id e, char *buf, size_t cap);
struct slice index_type_name(const struct index *ix, type_id t);
static inline struct set *index_set(const struct index *ix, entity_id e)
{
    return arena_set(&ix->a, e);
}
static inline struct set *index_type_set(const struct index *ix, type_id t)
{
    return arena_set(&ix->a, ((const uint32_t *)(const void *)ix->types.base)[t]);
}
static inline uint32_t index_type_count(const struct index *ix)
{
    return atomic_load_explicit(&ix->n_types, memory_order_acquire);
}
static inline bool index_entity_valid(const struct index *ix, entity_id e)
{
    return e > 0 &&
           (size_t)e * sizeof(struct set) < __atomic_load_n(&ix->a.sets.used, __ATOMIC_ACQUIRE) &&
           !(atomic_load_explicit(&index_set(ix, e)->flags, memory_order_relaxed) &
             (SET_IS_TYPE | SET_IS_PAIR | SET_IS_OWN));
}

#define INDEX_AHEAD 8u /* events; a power of two */

/* Events that are added one after the other, in order. */
struct apply {
    const struct log *lg;
    uint32_t first; /* recs[seq - first]: those that log_rec() does not show yet */
    const struct log_rec *recs;
    uint32_t n;
    bool large; /* some of its entities have pairs */
    /* Hashes of the pairs of those that are to come; 0: none, or not known. */
    uint64_t pair[INDEX_AHEAD];
};
/* Of large entities: the slot of a pair, that, and its chunk, each when what names it should be there. */
void index_pairs_ahead(const struct index *ix, struct apply *ap, uint32_t i) NEEDS_COMMIT;
/* Before index_apply() of the i-th of ap, for those that follow: fetches what they need. */
static inline void index_ahead(const struct index *ix, struct apply *ap, uint32_t i) NEEDS_COMMIT;
static inline void index_ahead(const struct index *ix, struct apply *ap, uint32_t i)
{
    if (i + INDEX_AHEAD - 1 < ap->n) {
        const struct set *s = index_set(ix, ap->recs[i + INDEX_AHEAD - 1].entity);
        postings_prefetch(&ix->a, s);
        postings_prefetch(&ix->a, index_set(ix, s->parent));
        ap->large |= atomic_load_explicit(&s->pairs, memory_order_relaxed) != 0;
    }
    if (ap->large)
        index_pairs_ahead(ix, ap, i);
}
/* Add event seq, one of ap's, to every set that it belongs to. */
void index_apply(struct index *ix, const struct apply *ap, uint32_t seq) NEEDS_COMMIT;

/* The set for events of type t of large entity e; 0 if there is none. */
uint32_t index_find_pair(const struct index *ix, entity_id e, type_id t);

/* Marks (evs_on_change()). What a commit reports: grows in place, reused. */
struct changes {
    struct evs_change *v;
    size_t n, cap;
};
/* Set marks; who looks at the set's size after that is told of what grows later. */
void index_mark(struct index *ix, _Atomic uint8_t *marks, uint8_t add);
/* After log_publish(): has anything a mark, so that index_report() may find some? Acquire: who took the last one is
 * seen to be reporting (ingest.c). */
static inline bool index_is_marked(const struct index *ix)
{
    atomic_thread_fence(memory_order_seq_cst); /* pairs with index_mark() */
    return atomic_load_explicit(&ix->marked, memory_order_acquire) != 0;
}
/* After log_publish(), without the lock: take the marks off everything that ap's events touched, into c. */
void index_report(struct index *ix, const struct apply *ap, struct changes *c);

/* Bytes: everything; names; ids. */
void index_memory(const struct index *ix, uint64_t *ret_all, uint64_t *ret_names,
                  uint64_t *ret_ids);

/* Invariants of every set. Number of findings. */
int index_check(const struct index *ix, const struct log *lg, evs_report_fn *report, void *arg);

#endif
