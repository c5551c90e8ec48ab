/* SPDX-License-Identifier: MIT */
/* log_state: what log.c (appending, reading) and logsync.c (syncing) share. Private to them. */
#ifndef STORE_LOG_STATE_H
#define STORE_LOG_STATE_H

#include "gather.h"
#include "segment.h"

#include <pthread.h>

/* Room for segment pointers: address space, not memory. Enough for LIMIT_EVENTS in the smallest
 * segments. */
#define SEGMENTS_MAX ((size_t)1 << 25)

/* Recs that are put right (mend.c). The readers' way to it: they have the log const. */
struct mender {
    pthread_mutex_t lock;
    struct log *lg;
    log_names_fn *names; /* const once others read, as is its argument; NULL: not known yet */
    const void *names_arg;
    _Atomic uint64_t n; /* how many */
    _Atomic uint64_t first;
};

struct log {
    struct log_options o;   /* const after open, as is dirfd */
    int dirfd;              /* owned: the directory "log"; -1 in memory */
    evs_seq recs_end;       /* const after open: see log_recs_end() */
    evs_seq cut_kept;       /* the same: log_cut_kept() */
    struct segment **s;     /* reserved for SEGMENTS_MAX, mapped; entries const once below count */
    _Atomic size_t count;   /* stored under commit */
    _Atomic bool read_only; /* stored after trouble */
    pthread_mutex_t trouble_lock;
    struct evs_error trouble;             /* under trouble_lock; EVS_OK_: none */
    struct segment *current UNDER_COMMIT; /* s[count - 1] */
    struct segment *fixing UNDER_COMMIT;  /* recs of it are being fixed; or NULL */
    struct mender *mender;                /* owned; const after open */

    struct frame_cache *frames; /* owned, const */
    /* Of sealed segments: so many are compressed or can't be; of these so many wait for readers to go over
     * (taken away by who switches), and of so many the plain file is still there. Stored by the packer. */
    _Atomic size_t packed, ready, left;

    _Atomic bool dir_dirty;   /* a file was made since the directory was synced */
    _Atomic size_t sealed;    /* so many segments at the front are; stored by the leader */
    _Atomic uint64_t durable; /* stored by the leader */
    _Atomic uint64_t syncs;
    pthread_mutex_t sync_lock;
    struct gather gather;       /* under sync_lock */
    _Atomic uint32_t round;     /* of the next pass; stored under sync_lock */
    _Atomic uint32_t rounds[2]; /* futexes: who is of a round sleeps on that of its lowest bit */
    bool syncing;               /* under sync_lock: there is a leader */
    evs_seq covered;  /* under sync_lock: the last that its pass is sure to cover; 0: none */
    bool timed;       /* under sync_lock: one of the next round keeps the time */
    bool sync_failed; /* under sync_lock: for good, sync_error says why */
    struct evs_error sync_error;
};

/* Acquire: the pointers below it, and what they point to, are there. Pairs with add_segment(). */
static inline size_t log_count(const struct log *lg)
{
    return atomic_load_explicit(&lg->count, memory_order_acquire);
}

/* Sync all that is visible, and seal what was rolled away from. Waits for who is at it already. */
int sync_now(struct log *lg, struct evs_error *err);
/* The same, and the header of the last segment says that the end is clean, unless the log is
 * read-only. */
int sync_close(struct log *lg, struct evs_error *err);

#endif
