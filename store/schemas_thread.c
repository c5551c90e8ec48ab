/* SPDX-License-Identifier: MIT */
/* schemas_thread: the thread that learns, and how a store's schemas begin and end. It is woken when an append
 * has queued something; otherwise it sleeps, but for saving now and then what has changed. Whatever it can't write is
 * tried again later, and said in health: what is learned stays in memory, and can be learned again. */
#include "clock.h"
#include "io.h"
#include "schemas_state.h"

#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <time.h>

#define START_MS  200 /* what is open for less has more to do than this */
#define GATHER_MS 20  /* after the first event that is queued */
#define SAVE_S    60
#define LAST_MS   200 /* to catch up at the end */

bool schemas_on_disk(const struct schemas *sk)
{
    return sk->st->dirfd >= 0 && !sk->st->options.read_only && !log_read_only(sk->st->lg);
}

static void save_some(struct schemas *sk, bool all)
{
    bool due = all || monotonic_ns() - sk->tried_ns >= SAVE_S * 1000000000ull;

    if (!due || !schemas_on_disk(sk) || !sk->checked ||
        (schemas_learned(sk) == sk->saved && !sk->unwritten))
        return;
    sk->tried_ns = monotonic_ns();
    (void)schemas_save(sk); /* health says why not */
}

void schemas_lock(struct schemas *sk)
{
    atomic_fetch_add_explicit(&sk->waiting, 1, memory_order_relaxed);
    (void)pthread_mutex_lock(&sk->work);
    atomic_fetch_sub_explicit(&sk->waiting, 1, memory_order_relaxed);
}

void schemas_unlock(struct schemas *sk)
{
    const struct timespec pause = {.tv_nsec = 50000};

    (void)pthread_mutex_unlock(&sk->work);
    if (atomic_load_explicit(&sk->waiting, memory_order_relaxed))
        (void)nanosleep(&pause, NULL); /* a mutex is not fair */
}

void schemas_catch_up(struct schemas *sk, evs_seq target, int limit_ms)
{
    const uint64_t until = monotonic_ns() + (uint64_t)limit_ms * 1000000;

    schemas_lock(sk);
    while (!sk->stuck && (!sk->checked || schemas_learned(sk) < target) && monotonic_ns() < until) {
        (void)schemas_step(sk);
        schemas_unlock(sk);
        schemas_lock(sk);
    }
}

/* Not of a lower priority: who asks waits for what it holds. So that the appends have the processor, it sleeps as long
 * as it works (run()). */
static void be_patient(void)
{
    const struct sched_param none = {0};

    (void)pthread_setschedparam(pthread_self(), SCHED_BATCH, &none);
}

/* With lock held; returns early when it is woken. */
static void pause_ms(struct schemas *sk, int ms)
{
    struct timespec at;

    (void)clock_gettime(CLOCK_MONOTONIC, &at);
    at.tv_sec += ms / 1000;
    at.tv_nsec += (long)(ms % 1000) * 1000000;
    if (at.tv_nsec >= 1000000000) {
        at.tv_nsec -= 1000000000;
        at.tv_sec++;
    }
    if (!sk->stop)
        (void)pthread_cond_timedwait(&sk->wake, &sk->lock, &at);
}

/* Until there is something to do, and then a little longer, for more to come. */
static bool rest(struct schemas *sk)
{
    (void)pthread_mutex_lock(&sk->lock);
    atomic_store_explicit(&sk->asleep, true, memory_order_relaxed);
    atomic_thread_fence(memory_order_seq_cst); /* pairs with schemas_note() */
    if (!schemas_queued(sk) && atomic_load_explicit(&sk->live, memory_order_relaxed))
        pause_ms(sk, SAVE_S * 1000);
    else if (sk->stuck)
        pause_ms(sk, SAVE_S * 1000);
    atomic_store_explicit(&sk->asleep, false, memory_order_relaxed);
    pause_ms(sk, GATHER_MS);
    bool stop = sk->stop;
    (void)pthread_mutex_unlock(&sk->lock);
    return !stop;
}

static bool stopping(struct schemas *sk)
{
    (void)pthread_mutex_lock(&sk->lock);
    bool stop = sk->stop;
    (void)pthread_mutex_unlock(&sk->lock);
    return stop;
}

static void *run(void *arg)
{
    struct schemas *sk = arg;

    be_patient();
    (void)pthread_mutex_lock(&sk->lock);
    pause_ms(sk, START_MS);
    (void)pthread_mutex_unlock(&sk->lock);
    while (!stopping(sk)) {
        schemas_lock(sk);
        int64_t begin = clock_now_us();
        int more = schemas_step(sk);
        int64_t took_us = clock_now_us() - begin;
        save_some(sk, false);
        schemas_unlock(sk);
        if (more)
            (void)usleep((useconds_t)MIN(MAX(took_us, 0), 10000));
        if (!more && !rest(sk))
            break;
    }
    return NULL;
}

/* ---- beginning and end ---- */

static void free_types(struct schema_type *t)
{
    while (t) {
        struct schema_type *next = t->next;
        infer_free(t->model);
        schemas_free_versions(t);
        free(t);
        t = next;
    }
}

static void free_all(struct schemas *sk)
{
    for (type_id i = 1; i <= sk->last_type; i++) {
        struct schema_type *t = schemas_type(sk, i);
        if (t) {
            t->next = NULL;
            free_types(t);
        }
    }
    free_types(sk->retired);
    free(sk->types);
    queue_done(&sk->queue);
    free(sk->memo);
    free(sk->value);
    (void)pthread_cond_destroy(&sk->wake);
    (void)pthread_mutex_destroy(&sk->lock);
    (void)pthread_mutex_destroy(&sk->work);
    free(sk);
}

static struct schemas *make(struct evs_store *st)
{
    struct schemas *sk = calloc(1, sizeof *sk);
    pthread_condattr_t attr;

    if (!sk)
        return NULL;
    sk->st = st;
    sk->lock = sk->work = (pthread_mutex_t)PTHREAD_MUTEX_INITIALIZER;
    (void)pthread_condattr_init(&attr);
    (void)pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    (void)pthread_cond_init(&sk->wake, &attr);
    (void)pthread_condattr_destroy(&attr);
    sk->next = sk->to = 1;
    sk->types = calloc(LIMIT_TYPES + 1, sizeof *sk->types);
    sk->tried_ns = monotonic_ns();
    sk->memo = calloc(SCHEMAS_MEMO, sizeof *sk->memo);
    if (queue_init(&sk->queue) < 0 || !sk->types || !sk->memo) {
        free_all(sk);
        return NULL;
    }
    return sk;
}

int schemas_start(struct evs_store *st, struct evs_error *err)
{
    if (st->options.no_schemas)
        return 0;
    struct schemas *sk = make(st);
    if (!sk)
        return evs_fail(err, EVS_NO_MEMORY, EVS_NOWHERE);
    st->schemas = sk;
    int r = st->dirfd >= 0 ? schemas_load(sk) : -ENOENT;
    if (r == -ENOMEM)
        return evs_fail(err, EVS_NO_MEMORY, EVS_NOWHERE);
    if (r < 0 && st->dirfd >= 0 && !st->options.read_only)
        (void)schemas_remove(st->dirfd); /* files that nobody vouches for: they are made again */
    sk->checked = r < 0;
    if (st->options.read_only)
        return 0; /* who asks does the work */
    sk->running = true;
    if (sk->next == log_end(st->lg) + 1)
        atomic_store_explicit(&sk->live, true, memory_order_relaxed); /* nobody appends yet */
    r = pthread_create(&sk->thread, NULL, run, sk);
    if (r) {
        sk->running = false;
        return evs_fail_errno(err, -r, "starting a thread");
    }
    return 0;
}

void schemas_calm(struct evs_store *st)
{
    struct schemas *sk = st->schemas;

    if (!sk || !sk->running)
        return;
    (void)pthread_mutex_lock(&sk->lock);
    sk->stop = true;
    (void)pthread_cond_signal(&sk->wake);
    (void)pthread_mutex_unlock(&sk->lock);
    (void)pthread_join(sk->thread, NULL);
    sk->running = false;
}

void schemas_stop(struct evs_store *st)
{
    struct schemas *sk = st->schemas;

    if (!sk)
        return;
    schemas_calm(st);
    if (schemas_on_disk(sk)) {
        schemas_catch_up(sk, log_end(st->lg), LAST_MS);
        save_some(sk, true);
        (void)pthread_mutex_unlock(&sk->work);
    }
    st->schemas = NULL;
    free_all(sk);
}

int schemas_finish(struct evs_store *st, struct evs_error *err)
{
    struct schemas *sk = st->schemas;
    int r = 0;

    if (!sk)
        return 0;
    schemas_catch_up(sk, log_end(st->lg), INT32_MAX);
    if (sk->stuck)
        r = evs_fail_at(err, EVS_SYSTEM, EVS_NOWHERE, "schemas: %s", sk->trouble);
    else if (schemas_on_disk(sk) && (r = schemas_save(sk)) < 0)
        r = evs_fail_errno(err, r, SCHEMAS_DIR);
    (void)pthread_mutex_unlock(&sk->work);
    return r;
}

uint64_t schemas_memory(struct evs_store *st)
{
    struct schemas *sk = st->schemas;

    if (!sk)
        return 0;
    schemas_lock(sk);
    uint64_t bytes = sk->bytes;
    schemas_unlock(sk);
    return bytes;
}

bool schemas_trouble(struct evs_store *st, char *buf, size_t n)
{
    struct schemas *sk = st->schemas;

    if (!sk)
        return false;
    schemas_lock(sk);
    size_t used = 0;
    buf[0] = '\0';
    if (sk->trouble[0])
        used = (size_t)snprintf(buf, n, "schemas: %s", sk->trouble);
    if (sk->crowded && used < n)
        (void)snprintf(
            buf + used, n - used,
            "%s%u types have shown more than there is room for (%u MiB): their schemas allow "
            "anything",
            used ? "; " : "schemas: ", sk->crowded, LIMIT_SCHEMAS_BYTES >> 20);
    schemas_unlock(sk);
    return buf[0] != '\0';
}
