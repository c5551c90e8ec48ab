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
 *     is read-only. What was durable before stays so.
 * (5) Each pass is of a round. A waiter is of the round of the next pass; of the one that runs if that is sure to cover
 *     what it waits for. The end of a pass wakes its round, and one of the next round. While nobody leads and somebody
 *     of the next round sleeps, one of them is awake, or keeps the time that gather.h sets: nobody waits for who
 *     doesn't come. Whoever is woken and has no need of the next pass wakes another. */
#include "log_state.h"

#include "futex.h"
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

/* With sync_lock held. Relaxed: whoever sees what a pass made durable sees that it began (log_durable()). */
static uint32_t next_round(const struct log *lg)
{
    return atomic_load_explicit(&lg->round, memory_order_relaxed);
}

/* From here on nobody of the round falls asleep without having seen what is so now. With sync_lock held; whoever
 * sleeps already is to be woken afterwards. */
static _Atomic uint32_t *changed(struct log *lg, uint32_t round)
{
    _Atomic uint32_t *word = &lg->rounds[round & 1];

    atomic_fetch_add_explicit(word, 1, memory_order_relaxed);
    return word;
}

/* Give up sync_lock and sleep until something has changed for the round, or until the time (0: for ever). */
static void sleep_in(struct log *lg, uint32_t round, uint64_t until_ns)
{
    _Atomic uint32_t *word = &lg->rounds[round & 1];
    uint32_t value = atomic_load_explicit(word, memory_order_relaxed);

    (void)pthread_mutex_unlock(&lg->sync_lock);
    futex_wait(word, value, until_ns);
}

/* Give up sync_lock and wake one of those who wait for the next pass, to see to it. */
static void wake_one(struct log *lg)
{
    _Atomic uint32_t *word = changed(lg, next_round(lg));

    (void)pthread_mutex_unlock(&lg->sync_lock);
    futex_wake(word, 1);
}

/* Run a pass as the leader, with sync_lock held and nobody leading. Gives the lock up. */
static void lead(struct log *lg, int (*pass)(struct log *lg, struct evs_error *err))
{
    uint32_t round = next_round(lg);
    struct evs_error err;

    lg->syncing = true;
    lg->covered = pass == idx_pass ? 0 : log_end(lg);
    lg->timed = false;
    atomic_store_explicit(&lg->round, round + 1, memory_order_relaxed);
    gather_begin(&lg->gather, monotonic_ns());
    (void)pthread_mutex_unlock(&lg->sync_lock);
    int r = pass(lg, &err);
    (void)pthread_mutex_lock(&lg->sync_lock);
    lg->syncing = false;
    gather_end(&lg->gather, monotonic_ns());
    if (r < 0) {
        lg->sync_failed = true;
        lg->sync_error = err;
        log_set_read_only(lg, &err);
    }
    int n = r < 0 ? INT32_MAX : lg->gather.came > 0;
    _Atomic uint32_t *next = changed(lg, round + 1), *done = changed(lg, round);
    (void)pthread_mutex_unlock(&lg->sync_lock);
    if (n > 0)
        futex_wake(next, n); /* one of them sees to the next pass */
    futex_wake(done, INT32_MAX);
}

static int sync_result(const struct log *lg, struct evs_error *err)
{
    if (!lg->sync_failed)
        return 0;
    if (err)
        *err = lg->sync_error;
    return -lg->sync_error.code;
}

/* Is a pass running that is of the round? With sync_lock held. */
static bool is_carried(const struct log *lg, uint32_t round)
{
    return lg->syncing && round + 1 == next_round(lg);
}

/* The round of one who comes, with sync_lock held. */
static uint32_t join(struct log *lg, evs_seq seq)
{
    uint32_t next = next_round(lg);

    if (lg->syncing && seq <= lg->covered) {
        gather_carry(&lg->gather);
        return next - 1;
    }
    gather_join(&lg->gather);
    return next;
}

/* What is to be done by somebody who is of the round, with sync_lock held, which is given up: sleep until its pass is
 * done; or, for the next pass, lead it, or sleep until it might be time. One of them keeps the time. */
static void take_part(struct log *lg, uint32_t round)
{
    const struct gather *g = &lg->gather;

    if (is_carried(lg, round)) {
        sleep_in(lg, round, 0);
    } else if (!lg->syncing && (gather_full(g) || monotonic_ns() >= g->until_ns)) {
        lead(lg, sync_pass);
    } else if (lg->syncing || lg->timed) {
        sleep_in(lg, round, 0);
    } else {
        lg->timed = true;
        sleep_in(lg, round, g->until_ns);
        (void)pthread_mutex_lock(&lg->sync_lock);
        if (round == next_round(lg))
            lg->timed = false;
        (void)pthread_mutex_unlock(&lg->sync_lock);
    }
}

int log_sync(struct log *lg, evs_seq seq, struct evs_error *err)
{
    uint32_t round;

    seq = MIN(seq, log_end(lg));
    if (log_durable(lg) >= seq)
        return 0;
    HOT(durable);
    (void)pthread_mutex_lock(&lg->sync_lock);
    if (log_durable(lg) >= seq) { /* while it waited for the lock */
        (void)pthread_mutex_unlock(&lg->sync_lock);
        return 0;
    }
    round = join(lg, seq);
    while (log_durable(lg) < seq && !lg->sync_failed) {
        if (round != next_round(lg) && !is_carried(lg, round))
            round = join(lg, seq); /* that was a pass which syncs no lines */
        take_part(lg, round);
        if (log_durable(lg) >= seq && round != next_round(lg))
            return 0; /* as a rule, without the lock */
        (void)pthread_mutex_lock(&lg->sync_lock);
    }
    int r = log_durable(lg) >= seq ? 0 : sync_result(lg, err);
    /* Perhaps it was woken to see to the next pass, and has no need of one. */
    if (round == next_round(lg))
        gather_leave(&lg->gather);
    if (round == next_round(lg) && !lg->syncing)
        wake_one(lg);
    else
        (void)pthread_mutex_unlock(&lg->sync_lock);
    return r;
}

bool log_sync_join(struct log *lg, evs_seq seq)
{
    (void)pthread_mutex_lock(&lg->sync_lock);
    bool waits = log_durable(lg) < seq;
    if (waits)
        (void)join(lg, seq);
    if (waits && !lg->syncing && gather_full(&lg->gather))
        wake_one(lg);
    else
        (void)pthread_mutex_unlock(&lg->sync_lock);
    return waits;
}

/* A pass that must run, whatever is durable. Waits for nobody but a leader. */
static int run_pass(struct log *lg, int (*pass)(struct log *lg, struct evs_error *err),
                    struct evs_error *err)
{
    if (lg->dirfd < 0 || lg->o.read_only)
        return 0;
    (void)pthread_mutex_lock(&lg->sync_lock);
    while (lg->syncing) {
        sleep_in(lg, next_round(lg) - 1, 0);
        (void)pthread_mutex_lock(&lg->sync_lock);
    }
    if (!lg->sync_failed) {
        lead(lg, pass);
        (void)pthread_mutex_lock(&lg->sync_lock);
    }
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
