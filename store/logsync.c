/* SPDX-License-Identifier: MIT */
/* logsync: makes the log durable, for all who wait together.
 *
 * (1) One leader at a time works on the segments, without any lock; whoever comes meanwhile waits.
 *     A pass covers all that was visible when it began. If it doesn't cover a waiter's seq, that
 *     one, or another waiter, leads the next pass, which does.
 * (2) The leader needs no commit lock, so a roll may wait for it under commit.
 * (3) In a pass: the directory first where a segment is new, then segments in order, so that a
 *     header that calls lines durable also speaks for the segments before. What was rolled away
 *     from is sealed on the way.
 *     On a full disk that is left for later, and roll() waits for it.
 * (4) An error is for good: everybody who asks for more gets it, nothing is called again, the log
 *     is read-only. What was durable before stays so. */
#include "log_state.h"

#include "hotpath.h"
#include "io.h"

static int sync_dir(struct log *lg, struct evs_error *err)
{
    /* Cleared first: what is made from here on sets it again. */
    if (!atomic_exchange_explicit(&lg->dir_dirty, false, memory_order_relaxed))
        return 0;
    int r = io_sync(lg->dirfd);
    return r < 0 ? evs_fail_errno(err, r, "log") : 0;
}

/* One pass over all that is not sealed, by the leader. In order, so that a header that calls lines
 * durable also speaks for the segments before. */
static int sync_pass(struct log *lg, struct evs_error *err)
{
    size_t n = log_count(lg);
    bool full = false;
    int r = 0;

    for (size_t i = atomic_load_explicit(&lg->sealed, memory_order_relaxed); r == 0 && i < n; i++) {
        struct segment *s = lg->s[i];
        struct segment_mark to = segment_visible(s);
        bool called = false;
        r = sync_dir(lg, err);
        if (r == 0) {
            HOT(sync);
            r = segment_sync(s, to, &called, err);
        }
        if (r < 0)
            break;
        atomic_fetch_add_explicit(&lg->syncs, called, memory_order_relaxed);
        /* Release: pairs with log_durable(); who sees it may act on the outside world. */
        atomic_store_explicit(&lg->durable, s->first + to.n - 1, memory_order_release);
        if (i + 1 == n) {
            r = called ? segment_note(s, err) : 0;
        } else if (!full) { /* of those behind it none is sealed either */
            r = segment_seal(s, &full, err);
            if (full) /* the lines are durable all the same; the next pass tries again */
                r = 0;
            else if (r == 0)
                atomic_store_explicit(&lg->sealed, i + 1, memory_order_release);
        }
    }
    return r;
}

/* The recs of what sync_pass() has left unsealed. */
static int idx_pass(struct log *lg, struct evs_error *err)
{
    size_t n = log_count(lg);
    int r = 0;

    for (size_t i = atomic_load_explicit(&lg->sealed, memory_order_relaxed); r == 0 && i < n; i++)
        r = segment_sync_idx(lg->s[i], err);
    return r;
}

static int close_pass(struct log *lg, struct evs_error *err)
{
    int r = sync_pass(lg, err);

    /* Read-only: perhaps more stands in the file than ever was published. */
    return r == 0 && !log_read_only(lg) ? segment_clean(lg->s[log_count(lg) - 1], err) : r;
}

/* Run a pass as the leader, with sync_lock held and nobody leading. */
static void lead(struct log *lg, int (*pass)(struct log *lg, struct evs_error *err))
{
    struct evs_error err;

    lg->syncing = true;
    (void)pthread_mutex_unlock(&lg->sync_lock);
    int r = pass(lg, &err);
    (void)pthread_mutex_lock(&lg->sync_lock);
    lg->syncing = false;
    if (r < 0) {
        lg->sync_failed = true;
        lg->sync_error = err;
        log_set_read_only(lg, &err);
    }
    (void)pthread_cond_broadcast(&lg->sync_done);
}

static int sync_result(const struct log *lg, struct evs_error *err)
{
    if (!lg->sync_failed)
        return 0;
    if (err)
        *err = lg->sync_error;
    return -lg->sync_error.code;
}

int log_sync(struct log *lg, evs_seq seq, struct evs_error *err)
{
    int r = 0;

    seq = MIN(seq, log_end(lg));
    if (log_durable(lg) >= seq)
        return 0;
    HOT(durable);
    (void)pthread_mutex_lock(&lg->sync_lock);
    while (log_durable(lg) < seq && !lg->sync_failed) {
        if (lg->syncing)
            (void)pthread_cond_wait(&lg->sync_done, &lg->sync_lock);
        else
            lead(lg, sync_pass);
    }
    if (log_durable(lg) < seq)
        r = sync_result(lg, err);
    (void)pthread_mutex_unlock(&lg->sync_lock);
    return r;
}

/* A pass that must run, whatever is durable. */
static int run_pass(struct log *lg, int (*pass)(struct log *lg, struct evs_error *err),
                    struct evs_error *err)
{
    if (lg->dirfd < 0 || lg->o.read_only)
        return 0;
    (void)pthread_mutex_lock(&lg->sync_lock);
    while (lg->syncing)
        (void)pthread_cond_wait(&lg->sync_done, &lg->sync_lock);
    if (!lg->sync_failed)
        lead(lg, pass);
    int r = sync_result(lg, err);
    (void)pthread_mutex_unlock(&lg->sync_lock);
    return r;
}

int log_sync_idx(struct log *lg, struct evs_error *err)
{
    return run_pass(lg, idx_pass, err);
}

int sync_now(struct log *lg, struct evs_error *err)
{
    return run_pass(lg, sync_pass, err);
}

int sync_close(struct log *lg, struct evs_error *err)
{
    return run_pass(lg, close_pass, err);
}

uint64_t log_sync_count(const struct log *lg)
{
    return atomic_load_explicit(&lg->syncs, memory_order_relaxed);
}
