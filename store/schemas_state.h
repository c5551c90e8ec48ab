/* SPDX-License-Identifier: MIT */
/* schemas_state: what is learned, in memory. Private to schemas*.c.
 *
 * Two sides: appends, under the commit lock, count what is known and queue what is not; whoever holds `work` (the
 * thread, or a reader that wants to know) takes the queue, or reads the log, one event after the other. */
#ifndef STORE_SCHEMAS_STATE_H
#define STORE_SCHEMAS_STATE_H

#include "infer.h"
#include "limits.h"
#include "schemas.h"
#include "schemas_queue.h"

#define SCHEMAS_DIR   "schemas"
#define SCHEMAS_STATE "%state" /* in it: no type's directory, as that is no encoding of a name */
#define SCHEMAS_TMP   "%state.tmp"

#define SCHEMAS_SAMPLE 64u /* every so many events' values are looked at for annotations */

/* A schema that a type had, from the event on that changed it. Changes with the same recorded time are one. */
struct schema_version {
    evs_seq first, last; /* events that changed it */
    int64_t recorded_us;
    uint32_t text_n, text_crc;   /* of the file */
    uint32_t plain_n, plain_crc; /* of the schema in it, without what says which version it is */
    char *change;                /* owned: its line in changes.jsonl, with LF */
    uint32_t change_n;
    char *text; /* owned; NULL: it is in its file */
};

struct schema_type {
    type_id id;
    struct infer *model;           /* never changes; NULL: there was no room for one */
    _Atomic bool open;             /* no room for more: anything is allowed, nothing is counted */
    bool dirty;                    /* has changed since the newest version */
    int64_t changed_us;            /* recorded time of the newest change */
    evs_seq changed, changed_last; /* first and last change with that time */
    struct schema_version *v;
    uint32_t n_v, cap_v;
    struct schema_type *next; /* dirty, or retired */
};

/* A shape by its outline. Any thread reads and writes, without a lock: an entry that is torn is none. */
struct schema_memo {
    _Atomic uint64_t tag; /* the key, and the address of shape, as XOR */
    struct infer_shape_rec *_Atomic shape;
};
#define SCHEMAS_MEMO 8192u /* entries; a power of two */

static inline struct infer_shape_rec *memo_get(struct schema_memo *m, uint64_t key)
{
    struct infer_shape_rec *shape = atomic_load_explicit(&m->shape, memory_order_acquire);
    uint64_t tag = atomic_load_explicit(&m->tag, memory_order_relaxed);

    return LIKELY(shape && (tag ^ (uintptr_t)shape) == key) ? shape : NULL;
}

static inline void memo_put(struct schema_memo *m, uint64_t key, struct infer_shape_rec *shape)
{
    atomic_store_explicit(&m->tag, key ^ (uintptr_t)shape, memory_order_relaxed);
    atomic_store_explicit(&m->shape, shape, memory_order_release);
}

struct schemas {
    struct evs_store *st;
    struct schema_memo *memo;
    struct schema_type *_Atomic *types; /* by number, LIMIT_TYPES + 1; set once, release */
    type_id last_type;                  /* no type with a higher number is among them; under work */

    /* Appends. */
    _Atomic bool live; /* they count and queue; changes under the commit lock */
    evs_seq
        off UNDER_COMMIT; /* not live: the first event that they did not; 0: taken over by next */
    struct queue queue;   /* put to under the commit lock, taken from under work */
    struct infer_shape_rec unlearned; /* of types that are open */
    _Atomic uint32_t generation; /* of the models: what was found in others counts for nothing */
    _Atomic bool asleep;         /* the thread wants to be woken */

    /* The thread. */
    pthread_t thread;
    bool running;
    pthread_mutex_t lock; /* of stop and wake */
    pthread_cond_t wake;
    bool stop;

    pthread_mutex_t work;     /* all that follows; taken before commit */
    _Atomic uint32_t waiting; /* for work */
    evs_seq next, to; /* events [next, to) are to be read in the log, before those of the queue */
    struct schema_type *dirty;
    struct schema_type
        *retired; /* until all is freed: an append may still hold a record of theirs */
    size_t bytes; /* of all models and versions */
    size_t texts; /* of the files of all versions */
    size_t held;  /* of the texts that are in no file */
    char *value;  /* owned: of one event */
    size_t value_cap;
    bool checked;      /* the files of versions are what the state says */
    bool stuck;        /* an event can't be read or learned: nothing goes on, nothing is saved */
    bool unwritten;    /* a version's text is not in its file */
    evs_seq saved;     /* the state on disk reaches to here */
    uint64_t tried_ns; /* last attempt to save, or to write a version; monotonic_ns() */
    uint32_t crowded;  /* types that are open */
    char trouble[200]; /* why the files could not be written, or what is stuck; "" : nothing */
};

static inline bool schemas_queued(const struct schemas *sk)
{
    return queue_any(&sk->queue);
}

/* ---- schemas.c: all with work held ---- */

/* Do some: 1: more is left, 0: everything up to the end at the call is learned, or it is stuck. */
int schemas_step(struct schemas *sk);
/* Up to which event everything is learned, and nothing beyond is counted until work is given back. */
evs_seq schemas_quiesce(struct schemas *sk);
/* Forget everything and learn it from the log again. */
void schemas_reset(struct schemas *sk);
/* Forget all types: their memory is kept until the end. */
void schemas_forget(struct schemas *sk);
struct schema_type *schemas_type(const struct schemas *sk, type_id t);
struct schema_type *schemas_add_type(struct schemas *sk, type_id id, struct infer *model);
void schemas_lock(struct schemas *sk);
void schemas_unlock(struct schemas *sk);
/* Catch up with target, but not for longer than limit_ms; returns with work held. */
void schemas_catch_up(struct schemas *sk, evs_seq target, int limit_ms);
/* Give work back, and let the appends count again. */
void schemas_leave(struct schemas *sk);
/* A step failed with r: -EBADMSG once begins anew, else nothing goes on. */
void schemas_fail(struct schemas *sk, int r);
void schemas_say(struct schemas *sk, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* Up to which event everything is learned, once the appends that are under way are. */
evs_seq schemas_learned(const struct schemas *sk);
bool schemas_on_disk(const struct schemas *sk); /* there is a directory that may be written */

/* ---- schemas_version.c: the same ---- */

/* Make a version of what has changed. -EBADMSG: an older version's file is damaged; -ENOMEM. */
int schemas_flush(struct schemas *sk, struct schema_type *t);
int schemas_flush_all(struct schemas *sk);
/* The text of version n from 1 on, malloc'ed. -EBADMSG: its file is not what it was. */
int schemas_text(struct schemas *sk, const struct schema_type *t, uint32_t n, char **ret);
static inline size_t schemas_on_disk_bytes(size_t n) /* whole blocks */
{
    return (n + 4095) & ~(size_t)4095;
}
/* The disk is for events: may all texts, and n bytes, take as much as is left where dir is? 0, or a negative errno. */
int schemas_room(const struct schemas *sk, int dir, size_t n);
/* Put texts that are only in memory into their files. */
int schemas_write_texts(struct schemas *sk);
/* Are the files those of the state, no more and no less? Mends what can be. -EBADMSG: they can't be believed. */
int schemas_check_files(struct schemas *sk);
/* The schema as it is now, without annotations. */
int schemas_plain(const struct schemas *sk, const struct schema_type *t, char **ret, size_t *ret_n);
void schemas_free_versions(struct schema_type *t);
#define SCHEMAS_NAME_BYTES 280 /* of a file or directory in schemas/ */
/* Descriptors of schemas/, and of a directory in it, borrowing dirfd: -errno; -ELOOP or -ENOTDIR: somebody has put
 * something else there. make: -ENOENT is no reason. */
int schemas_open_dir(int dirfd, const char *type_name, bool make);
/* Is it a version's file, by itself? Up to which event it reaches. */
bool schemas_text_ok(const char *p, size_t n, evs_seq *ret_last);

bool schemas_same_text(const struct schema_version *v, const char *p, size_t n);
/* A whole file in schemas/, or in a directory of it, malloc'ed and terminated; -EBADMSG: too large. */
int schemas_read_file(int dirfd, const char *type_name, const char *file, char **ret,
                      size_t *ret_n);
/* The name of a type's directory. */
void schemas_type_name(struct slice type, char out[SCHEMAS_NAME_BYTES]);

/* ---- schemas_save.c: the same ---- */

/* -ENOENT: there is none; -EBADMSG: it is not whole or of another log. Nothing of it is kept then. */
int schemas_load(struct schemas *sk);
int schemas_save(struct schemas *sk);

/* What the state says of files, without the models: for who has no store, only a log. */
struct schemas_known_type {
    struct slice name;
    struct schema_version *v; /* owned; change and text NULL */
    uint32_t n;
};
struct schemas_known {
    evs_seq through;
    struct schemas_known_type *types; /* owned */
    uint32_t n;
    char *state; /* owned: names are slices of it */
};
/* As schemas_load(). */
int schemas_known(int dirfd, const struct log *lg, struct schemas_known *ret);
void schemas_known_done(struct schemas_known *k);

#endif
