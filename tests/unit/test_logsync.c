/* SPDX-License-Identifier: MIT */
/* logsync: who waits for a sync shares it, and what of a wait can go wrong. */
#include "log_world.h"

#include <errno.h>
#include <pthread.h>
#include <time.h>

#include "store/log_state.h"

#define THREADS 8u
#define ROUNDS  40u

/* The store's fdatasync takes so long, and fails where it is told to. */
static _Atomic long datasync_ns;
static _Atomic int datasync_error;
static _Atomic unsigned datasyncs;
/* How many a pass of this log was for, at most. */
static struct log *_Atomic watched;
static _Atomic unsigned carried;

static void watch(struct log *lg)
{
    (void)pthread_mutex_lock(&lg->sync_lock);
    if (lg->gather.carried > atomic_load(&carried))
        atomic_store(&carried, lg->gather.carried);
    (void)pthread_mutex_unlock(&lg->sync_lock);
}

/* Whose next pass one joins while it runs, who waits for what it covers. */
static struct log *_Atomic joined;
static pthread_t late;

static void *waits_for_the_end(void *arg)
{
    CHECK_EQ(log_sync(arg, log_end(arg), NULL), 0);
    return NULL;
}

static void let_join(struct log *lg)
{
    const struct timespec moment = {.tv_nsec = 100000};
    unsigned n = 0;

    CHECK_EQ(pthread_create(&late, NULL, waits_for_the_end, lg), 0);
    for (int i = 0; i < 100000 && n < 2; i++) {
        (void)nanosleep(&moment, NULL);
        (void)pthread_mutex_lock(&lg->sync_lock);
        n = lg->gather.carried;
        (void)pthread_mutex_unlock(&lg->sync_lock);
    }
    CHECK_EQ(n, 2);
    CHECK_EQ(lg->gather.came, 0); /* nobody waits for the next pass */
}

int fdatasync(int fd)
{
    const struct timespec t = {.tv_nsec = atomic_load(&datasync_ns)};

    (void)fd;
    atomic_fetch_add(&datasyncs, 1);
    if (t.tv_nsec > 0)
        (void)nanosleep(&t, NULL);
    struct log *lg = atomic_exchange(&joined, NULL);
    if (lg)
        let_join(lg);
    if (atomic_load(&watched))
        watch(atomic_load(&watched));
    errno = atomic_load(&datasync_error);
    return errno ? -1 : 0;
}

struct crowd {
    struct world *w;
    unsigned threads;
    pthread_mutex_t commit;
    pthread_barrier_t all;
    _Atomic bool over;
};

static void append_one(struct crowd *c, evs_seq *ret)
{
    (void)pthread_mutex_lock(&c->commit);
    world_add(c->w, 1, false);
    *ret = log_end(c->w->lg);
    (void)pthread_mutex_unlock(&c->commit);
}

static void *in_step(void *arg)
{
    struct crowd *c = arg;
    evs_seq mine;

    for (unsigned i = 0; i < ROUNDS; i++) {
        append_one(c, &mine);
        (void)pthread_barrier_wait(&c->all); /* all have appended: one sync covers them */
        CHECK_EQ(log_sync(c->w->lg, mine, NULL), 0);
        CHECK(log_durable(c->w->lg) >= mine);
        (void)pthread_barrier_wait(&c->all);
    }
    return NULL;
}

static void *freely(void *arg)
{
    struct crowd *c = arg;
    evs_seq mine;

    for (unsigned i = 0; i < ROUNDS; i++) {
        append_one(c, &mine);
        CHECK_EQ(log_sync(c->w->lg, mine, NULL), 0);
        CHECK(log_durable(c->w->lg) >= mine && log_durable(c->w->lg) <= log_end(c->w->lg));
        struct log_pin pin = {0};
        struct slice line;
        CHECK_EQ(log_line(c->w->lg, mine, &pin, &line, NULL), 0);
        CHECK_EQ(line.p[line.n - 1], '\n');
        log_unpin(&pin);
    }
    return NULL;
}

/* So many threads; their number of fdatasyncs. */
static uint64_t run_crowd(void *(*fn)(void *), unsigned threads, uint64_t segment_bytes)
{
    struct crowd c = {.w = world_new(segment_bytes), .threads = threads};
    pthread_t t[THREADS];

    world_reopen(c.w);
    atomic_store(&carried, 0);
    atomic_store(&watched, c.w->lg);
    (void)pthread_mutex_init(&c.commit, NULL);
    (void)pthread_barrier_init(&c.all, NULL, threads);
    for (unsigned i = 0; i < threads; i++)
        CHECK_EQ(pthread_create(&t[i], NULL, fn, &c), 0);
    for (unsigned i = 0; i < threads; i++)
        (void)pthread_join(t[i], NULL);
    atomic_store(&watched, NULL);
    CHECK_EQ(log_end(c.w->lg), threads * ROUNDS);
    CHECK_EQ(log_durable(c.w->lg), threads * ROUNDS);
    uint64_t syncs = log_sync_count(c.w->lg);
    world_close(c.w);
    world_reopen(c.w);
    world_check(c.w, threads * ROUNDS, false);
    world_free(c.w);
    (void)pthread_barrier_destroy(&c.all);
    (void)pthread_mutex_destroy(&c.commit);
    return syncs;
}

static void waiters_share_a_sync(void)
{
    CHECK_EQ(run_crowd(in_step, THREADS, 1 << 20), ROUNDS);
    CHECK(carried > 0 && carried <= THREADS);
    CHECK(run_crowd(freely, THREADS, 1 << 20) <= THREADS * ROUNDS);
}

static void who_is_covered_waits_for_the_pass_that_runs(void)
{
    struct world *w = world_new(1 << 20);

    world_reopen(w);
    world_add(w, 2, false);
    atomic_store(&datasyncs, 0);
    atomic_store(&joined, w->lg);
    CHECK_EQ(log_sync(w->lg, 1, NULL), 0);
    (void)pthread_join(late, NULL);
    CHECK_EQ(log_durable(w->lg), 2);
    CHECK_EQ(atomic_load(&datasyncs), 1);
    CHECK(!log_sync_join(w->lg, 2)); /* it is durable */
    CHECK_EQ(w->lg->gather.came, 0);
    world_add(w, 1, false);
    CHECK(log_sync_join(w->lg, 3));
    CHECK_EQ(w->lg->gather.came, 1);
    CHECK_EQ(log_sync(w->lg, 3, NULL), 0);
    CHECK_EQ(atomic_load(&datasyncs), 2);
    world_close(w);
    world_free(w);
}

/* Does a sync carry nearly all threads? Not each time on a machine that is busy with other things. */
static bool carries_all(unsigned threads)
{
    for (int tries = 0; tries < 20; tries++) {
        uint64_t syncs = run_crowd(freely, threads, 1 << 20);
        CHECK(carried > 0 && carried <= threads); /* nobody is counted twice */
        if (syncs < ROUNDS * 3 / 2)
            return true;
    }
    return false;
}

/* Each comes back while the other's sync runs, and would have to wait for that one and for one of its own, but that the
 * next sync begins a moment later, with both. */
static void syncs_wait_for_those_who_come_back(void)
{
    atomic_store(&datasync_ns, 10000000);
    CHECK(carries_all(2));
    CHECK(carries_all(THREADS));
    atomic_store(&datasync_ns, 0);
}

static void sync_while_rolling(void)
{
    (void)run_crowd(freely, THREADS, 4096);
}

/* One who syncs in the names of all others: they are counted, and it is woken when the last one has come. */
static void *for_all(void *arg)
{
    struct crowd *c = arg;

    while (!atomic_load(&c->over))
        CHECK_EQ(log_sync(c->w->lg, UINT64_MAX, NULL), 0);
    return NULL;
}

/* Waits of all kinds, with passes between them that sync no lines: nobody is forgotten. */
static void *mixed(void *arg)
{
    struct crowd *c = arg;
    evs_seq mine;

    for (unsigned i = 0; i < ROUNDS; i++) {
        append_one(c, &mine);
        if (mine % 5 == 0)
            CHECK_EQ(log_sync_idx(c->w->lg, NULL), 0);
        if (mine % 3 > 0) {
            CHECK_EQ(log_sync(c->w->lg, mine, NULL), 0);
            continue;
        }
        (void)log_sync_join(c->w->lg, mine);
        while (log_durable(c->w->lg) < mine) /* by for_all() */
            (void)sched_yield();
    }
    return NULL;
}

static void *mixed_in_a_crowd(void *arg)
{
    struct crowd *c = arg;
    pthread_t t;
    bool first = pthread_barrier_wait(&c->all) == PTHREAD_BARRIER_SERIAL_THREAD;

    if (first)
        CHECK_EQ(pthread_create(&t, NULL, for_all, c), 0);
    (void)mixed(c);
    (void)pthread_barrier_wait(&c->all);
    if (first) {
        atomic_store(&c->over, true);
        (void)pthread_join(t, NULL);
    }
    return NULL;
}

static void nobody_is_forgotten(void)
{
    for (int i = 0; i < 10; i++) {
        atomic_store(&datasync_ns, i % 2 * 100000);
        (void)run_crowd(mixed_in_a_crowd, THREADS, 1 << 20);
    }
    atomic_store(&datasync_ns, 0);
}

static void *fails(void *arg)
{
    struct crowd *c = arg;
    struct evs_error err;
    evs_seq mine;

    append_one(c, &mine);
    (void)pthread_barrier_wait(&c->all);
    CHECK_FAIL(log_sync(c->w->lg, mine, &err), err, SYSTEM);
    CHECK_EQ(err.code, EIO);
    return NULL;
}

static void a_failure_is_told_to_all(void)
{
    struct crowd c = {.w = world_new(1 << 20), .threads = THREADS};
    pthread_t t[THREADS];

    world_reopen(c.w);
    (void)pthread_mutex_init(&c.commit, NULL);
    (void)pthread_barrier_init(&c.all, NULL, THREADS);
    atomic_store(&datasync_ns, 1000000);
    atomic_store(&datasync_error, EIO);
    atomic_store(&datasyncs, 0);
    for (unsigned i = 0; i < THREADS; i++)
        CHECK_EQ(pthread_create(&t[i], NULL, fails, &c), 0);
    for (unsigned i = 0; i < THREADS; i++)
        (void)pthread_join(t[i], NULL);
    CHECK_EQ(atomic_load(&datasyncs), 1); /* nobody tries again */
    CHECK_EQ(log_durable(c.w->lg), 0);
    atomic_store(&datasync_ns, 0);
    atomic_store(&datasync_error, 0);
    world_crash(c.w);
    world_free(c.w);
    (void)pthread_barrier_destroy(&c.all);
    (void)pthread_mutex_destroy(&c.commit);
}

int main(void)
{
    RUN(waiters_share_a_sync);
    RUN(who_is_covered_waits_for_the_pass_that_runs);
    RUN(syncs_wait_for_those_who_come_back);
    RUN(sync_while_rolling);
    RUN(nobody_is_forgotten);
    RUN(a_failure_is_told_to_all);
    CHECK_DONE();
}
