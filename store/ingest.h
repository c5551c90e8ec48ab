/* SPDX-License-Identifier: MIT */
/* ingest: from events as scanned to lines that are stored: prepare (without the lock), decide, write, apply,
 * publish (under it), report. */
#ifndef STORE_INGEST_H
#define STORE_INGEST_H

#include "event.h"
#include "hold.h"
#include "index.h"
#include "owners.h"
#include "pending.h"
#include "pins.h"
#include "reject.h"
#include "share.h"
#include "states.h"

#define BATCH_EVENTS 1024 /* of one go; a transaction may have more */

struct meta;
struct schemas;
struct infer_shape_rec;

struct evs_store {
    struct log *lg;
    struct index *ix;
    struct meta *meta;
    struct reject *rejects;
    struct owners owners;
    struct pins pins;
    struct pending pending;
    struct shares types_made UNDER_COMMIT; /* since the store was opened, by user */
    struct evs_options options;
    int dirfd; /* -1 in memory */
    struct hold hold;
    uint32_t id_key; /* 22 bits of every id that the store makes */
    bool key_made;   /* by this open: there was no meta.db, or it was empty */
    _Atomic bool meta_lost;

    pthread_mutex_t commit;   /* the role commit_role */
    _Atomic uint32_t waiting; /* for commit */
    bool one_cpu;             /* const: who holds commit does not run while another waits for it */
    int64_t recorded_us UNDER_COMMIT; /* of the newest event: never goes back */
    pthread_mutex_t owner_lock;       /* of changes of owners; taken before commit */
    _Atomic int64_t behind_us;        /* how far the clock is behind it */
    struct line_memo memo UNDER_COMMIT;
    pthread_mutex_t checkpoint_lock; /* one checkpoint at a time; taken before commit */
    _Atomic uint64_t checkpoint_bytes, checkpoint_seq; /* of the log, at the last one */

    evs_change_fn
        *on_change; /* set before the first append; runs under report_lock, with no other */
    pthread_mutex_t report_lock;
    _Atomic uint32_t reporting; /* hold report_lock, or wait for it */
    void *on_change_arg;

    pthread_mutex_t pool_lock;
    struct batch *pool; /* batches not in use */

    _Atomic uint64_t appended, repeated, transactions, batches, writers;
    int64_t opened_us;
    struct keeper *keeper;   /* the background thread; NULL: none */
    struct packer *packer;   /* the same */
    struct schemas *schemas; /* NULL: nothing is learned */
    struct chain *chain;     /* of the log; NULL in memory */
    struct states states;
};

/* One event on its way. */
struct prepared {
    struct event ev; /* entity and type filled in from the target */
    uint64_t entity_hash, type_hash, id_hash;
    entity_id entity;
    type_id type;
    evs_seq seq;    /* given by decide; 0: a repeat, nothing is stored */
    evs_seq looked; /* up to which seq a repeat has been looked for; UINT64_MAX: it is one */
    bool warned;    /* breaks a pinned schema that only warns */
    uint64_t version;
    struct infer_shape_rec *shape; /* of data, as its type has shown it before; NULL: not known */
};

struct batch {
    struct batch *next;
    struct prepared *p;
    uint32_t n, cap;
    uint32_t n_stored; /* decided, no repeats: p[order[i]] has the seq log_end() + 1 + i */
    uint32_t *order;
    struct evs_dir
        through; /* of the file that was written; borrowed from the target of ingest_prepare() */
    uint64_t owners_gen;      /* owners_gen() before rights were judged */
    uint64_t pins_state;      /* pins_state() before schemas were */
    struct pin_set *pins;     /* by which they were: a reference; NULL: none was needed */
    struct pin_breach breach; /* after SCHEMA: what broke which; with a reference of its pin */
    bool warned;              /* any of p may be */
    uint32_t shapes_gen;      /* of the models that shapes were looked up in */
    bool wake;                /* schemas_wake() is due */
    struct log_rec *recs;
    char *lines;
    size_t lines_cap;
    struct scratch scratch;
    struct changes changes;
};

/* Take one from the pool, or make it: n 0. NULL without memory. Give it back: large ones are trimmed. */
struct batch *batch_get(struct evs_store *st);
void batch_put(struct evs_store *st, struct batch *b);
void batch_free(struct batch *b);
/* Room for one more event: &b->p[b->n]. NULL without memory. */
struct prepared *batch_add(struct batch *b);

/* Fill in what the target says, check places, names, permissions, and look up what can be without the lock.
 * Returns how many events from the first on are good; fewer than b->n: err says why the next one is not. */
uint32_t ingest_prepare(struct evs_store *st, struct batch *b, const struct evs_target *target,
                        const struct evs_cred *cred, struct evs_error *err);

/* Store the first n events of b: as one transaction, or as far as they go. Returns how many were stored or
 * were repeats; fewer than n: err says why the next was not (for a transaction then 0). */
uint32_t ingest_commit(struct evs_store *st, struct batch *b, uint32_t n, bool transaction,
                       const struct evs_cred *cred, struct evs_error *err);

/* Judge the first n events by the schemas that are pinned now; returns how many are good. Fewer: err says why the
 * next is not. Repeats are good: they store nothing. */
uint32_t ingest_judge_schemas(struct evs_store *st, struct batch *b, uint32_t n,
                              struct evs_error *err);

/* Are the schemas that apply to the first n events still those by which they were judged? Then that is as good as to be
 * judged by those that are pinned now. Looks up, and validates nothing. */
bool ingest_schemas_hold(struct evs_store *st, struct batch *b, uint32_t n) NEEDS_COMMIT;

/* Fail as SCHEMA. */
int ingest_fail_breach(const struct pin_breach *breach, uint64_t pos, struct evs_error *err);

/* Its names, decoded; names: room for those that have escapes. -EBADMSG where entity or type is empty or too long. */
int ingest_names(const struct line *l, struct slice *entity, struct slice *type, struct slice *id,
                 char *names, size_t cap);

/* A stored line (recovery, import --exact) takes its place: its names get their numbers in rec (unless they
 * are there: found already), its version must be its entity's next. Names and a writer's id are staged: the
 * caller calls index_keep() and applies it then (index_apply()), or takes it back and drops them. */
int ingest_restore(struct index *ix, const struct line *l, struct log_rec *rec,
                   struct evs_error *err) NEEDS_COMMIT;
/* The numbers that its names have; 0: none. */
void ingest_find_names(const struct index *ix, const struct line *l, uint32_t *ret_entity,
                       uint32_t *ret_type);
void ingest_unrestore(struct index *ix, const struct log_rec *rec) NEEDS_COMMIT;

/* Take and drop the commit lock: the only two places. */
void ingest_lock(struct evs_store *st) TAKES_COMMIT;
void ingest_unlock(struct evs_store *st) DROPS_COMMIT;

#endif
