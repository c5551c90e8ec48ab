/* SPDX-License-Identifier: MIT */
/* keeper: (1) At most one checkpoint is being written, under `writing`. (2) A checkpoint counts only when the
 * idx up to it is durable: behind it nobody looks at the lines again. (3) Errors of the keeper are not lost:
 * a failed sync makes the log read-only, and health says so; a failed checkpoint is only a slower open. */
#include "chain.h"
#include "checkpoint.h"
#include "cursor.h"
#include "io.h"
#include "keeper.h"
#include "limits.h"
#include "packer.h"

#include <errno.h>
#include <time.h>

#define CHECKPOINT_MIN_EVENTS 1000000u            /* no checkpoint for less growth than this */
#define CHECK_BYTES           ((uint64_t)1 << 20) /* of the log, each time the keeper wakes: 10 MB/s */
#define IDLE_MS               1000u
#define LAST_CHAIN_US         20000u

struct keeper {
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t wake;
    bool stop;

    struct cursor *check; /* the keeper's: reads through what the checkpoint covered; NULL: done */
    uint64_t checked, check_to; /* bytes of the log */
};

static void note_checkpoint(struct evs_store *st, evs_seq seq, uint64_t bytes)
{
    atomic_store_explicit(&st->checkpoint_bytes, bytes, memory_order_relaxed);
    atomic_store_explicit(&st->checkpoint_seq, seq, memory_order_relaxed);
}

static bool dirty(const struct evs_store *st)
{
    /* A log that is read-only after a write that failed still owes the sync of what came before. */
    return st->options.sync_interval_ms != UINT32_MAX && log_end(st->lg) > log_durable(st->lg);
}

static void sync_now(struct evs_store *st)
{
    if (dirty(st)) /* an error makes the log read-only, and health says why */
        (void)log_sync(st->lg, log_end(st->lg), NULL);
}

/* A large checkpoint takes longer than sync_interval, which holds all the same. */
static int wait_for(struct evs_store *st, int child)
{
    const struct timespec pause = {.tv_nsec = 5000000};
    int r;

    while ((r = checkpoint_finish(child, false)) == -EAGAIN) {
        (void)nanosleep(&pause, NULL);
        sync_now(st);
    }
    return r;
}

int keeper_checkpoint(struct evs_store *st, struct evs_error *err)
{
    struct checkpoint_mark m = {0};
    int r, child;

    if (st->dirfd < 0 || st->options.read_only)
        return 0;
    (void)pthread_mutex_lock(&st->checkpoint_lock);
    ingest_lock(st);
    child = checkpoint_mark_at(st->lg, log_end(st->lg), &m, err);
    if (child == 0)
        child = checkpoint_begin(st->dirfd, st->ix, &m);
    uint64_t bytes = log_bytes(st->lg);
    ingest_unlock(st);
    r = child < 0 ? child : wait_for(st, child);
    if (r < 0) {
        (void)evs_fail_errno(err, r, CHECKPOINT_TMP);
        /* On a full disk it would take the room that appends need, and the next try as well: not before the
         * log has grown on (checkpoint_due()). */
        (void)io_unlink(st->dirfd, CHECKPOINT_TMP);
        atomic_store_explicit(&st->checkpoint_bytes, bytes, memory_order_relaxed);
    } else if ((r = log_sync(st->lg, m.seq, err)) == 0 && (r = log_sync_idx(st->lg, err)) == 0 &&
               (r = checkpoint_adopt(st->dirfd, err)) == 0) {
        note_checkpoint(st, m.seq, bytes);
    }
    (void)pthread_mutex_unlock(&st->checkpoint_lock);
    return r;
}

/* Has the log grown by as much as a checkpoint takes (20 bytes an event, about), and by enough to be worth it? */
static bool checkpoint_due(struct evs_store *st)
{
    uint64_t all, names, ids;
    uint64_t grown =
        log_bytes(st->lg) - atomic_load_explicit(&st->checkpoint_bytes, memory_order_relaxed);

    if (log_end(st->lg) - atomic_load_explicit(&st->checkpoint_seq, memory_order_relaxed) <
        CHECKPOINT_MIN_EVENTS)
        return false;
    ingest_lock(st);
    index_memory(st->ix, &all, &names, &ids);
    ingest_unlock(st);
    return grown >= all;
}

/* The lines that opening did not look at, as the checkpoint covers them: a piece at a time, once. What is
 * damaged makes the store read-only, as a read of it would. */
static void check_some(struct evs_store *st)
{
    struct keeper *k = st->keeper;
    const void *bytes;
    ssize_t n = 0;

    if (!k->check)
        return;
    if (!log_read_only(st->lg) && k->checked < k->check_to)
        n = cursor_peek(k->check, k->checked, MIN(CHECK_BYTES, k->check_to - k->checked), &bytes,
                        NULL);
    k->checked += (uint64_t)MAX(n, 0);
    cursor_done(k->check);
    if (n <= 0) {
        cursor_free(k->check);
        k->check = NULL;
    }
}

static void *run(void *arg)
{
    struct evs_store *st = arg;
    struct keeper *k = st->keeper;
    bool never = st->options.sync_interval_ms == UINT32_MAX;
    uint32_t ms = never ? IDLE_MS : st->options.sync_interval_ms;
    struct timespec at;

    (void)clock_gettime(CLOCK_MONOTONIC, &at);
    (void)pthread_mutex_lock(&k->lock);
    while (!k->stop) {
        at.tv_sec += ms / 1000;
        at.tv_nsec += (long)(ms % 1000) * 1000000;
        if (at.tv_nsec >= 1000000000) {
            at.tv_nsec -= 1000000000;
            at.tv_sec++;
        }
        while (!k->stop && pthread_cond_timedwait(&k->wake, &k->lock, &at) == 0)
            ;
        if (k->stop)
            break;
        (void)pthread_mutex_unlock(&k->lock);
        sync_now(st);
        check_some(st);
        packer_tick(st);
        (void)chain_extend(st->chain, MIN(ms, IDLE_MS) * 50); /* a twentieth of the time */
        if (!log_read_only(st->lg) && checkpoint_due(st))
            (void)keeper_checkpoint(st, NULL); /* tried again when the log has grown on */
        (void)clock_gettime(CLOCK_MONOTONIC, &at);
        (void)pthread_mutex_lock(&k->lock);
    }
    (void)pthread_mutex_unlock(&k->lock);
    return NULL;
}

int keeper_start(struct evs_store *st, struct evs_error *err)
{
    struct keeper *k;
    pthread_condattr_t attr;
    int r;

    if (st->dirfd < 0 || st->options.read_only)
        return 0;
    k = calloc(1, sizeof *k);
    if (!k)
        return evs_fail(err, EVS_NO_MEMORY, EVS_NOWHERE);
    k->lock = (pthread_mutex_t)PTHREAD_MUTEX_INITIALIZER;
    (void)pthread_condattr_init(&attr);
    (void)pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    (void)pthread_cond_init(&k->wake, &attr);
    (void)pthread_condattr_destroy(&attr);
    if (st->checkpoint_seq &&
        cursor_new(st->ix, st->lg, &(struct evs_view){.kind = EVS_ALL}, &k->check, NULL) == 0)
        k->check_to = log_bytes(st->lg);
    st->keeper = k;
    r = pthread_create(&k->thread, NULL, run, st);
    if (r) {
        st->keeper = NULL;
        cursor_free(k->check);
        free(k);
        return evs_fail_errno(err, -r, "starting a thread");
    }
    return 0;
}

void keeper_stop(struct evs_store *st)
{
    struct keeper *k = st->keeper;

    if (!k)
        return;
    (void)pthread_mutex_lock(&k->lock);
    k->stop = true;
    (void)pthread_cond_signal(&k->wake);
    (void)pthread_mutex_unlock(&k->lock);
    (void)pthread_join(k->thread, NULL);
    (void)chain_extend(st->chain, LAST_CHAIN_US); /* for stores that are never open for long */
    (void)pthread_cond_destroy(&k->wake);
    (void)pthread_mutex_destroy(&k->lock);
    cursor_free(k->check);
    free(k);
    st->keeper = NULL;
}
