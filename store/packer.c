/* SPDX-License-Identifier: MIT */
/* packer: (1) It runs at idle priority, of the processor and of the disk, so it holds nothing that anybody waits
 * for: what must happen at once is the keeper's (packer_tick()). (2) Nothing depends on it: whatever fails is
 * tried later, or at the next open. (3) It is there only while there is something to compress: a thread of idle
 * priority takes its time to end, and a store that is closed should not wait for it. */
#include "packer.h"

#include "io.h"

#include <sched.h>
#include <sys/syscall.h>

#define RETRY_S 60 /* after a full disk */

struct packer {
    pthread_t thread;
    bool running;          /* the keeper's: there is a thread to be joined */
    _Atomic bool stop;     /* it is to end */
    _Atomic bool done;     /* it ends by itself: nothing is left to do, or no room for it */
    _Atomic uint64_t next; /* no new one before; monotonic_ns(). Stored before done */
};

/* Where either is refused it runs like any other thread. */
static void be_idle(void)
{
    const struct sched_param none = {0};
    const int who_thread = 1, class_idle = 3 << 13; /* ioprio_set(2): no header has them */

    (void)pthread_setschedparam(pthread_self(), SCHED_IDLE, &none);
    (void)syscall(SYS_ioprio_set, who_thread, 0, class_idle);
}

static void *run(void *arg)
{
    struct evs_store *st = arg;
    struct packer *p = st->packer;
    struct evs_error err = {.why = EVS_OK_};
    int r = 1;

    be_idle();
    while (r != 0 && err.why != EVS_DISK_FULL &&
           !atomic_load_explicit(&p->stop, memory_order_relaxed))
        r = log_pack(st->lg, st->options.compress, &p->stop, &err);
    if (err.why == EVS_DISK_FULL)
        atomic_store_explicit(&p->next, monotonic_ns() + RETRY_S * 1000000000ull,
                              memory_order_relaxed);
    atomic_store_explicit(&p->done, true, memory_order_release); /* pairs with packer_tick() */
    return NULL;
}

int packer_start(struct evs_store *st, struct evs_error *err)
{
    if (st->dirfd < 0 || st->options.read_only || st->options.compress < 0)
        return 0;
    st->packer = calloc(1, sizeof *st->packer);
    return st->packer ? 0 : evs_fail(err, EVS_NO_MEMORY, EVS_NOWHERE);
}

static void join(struct packer *p)
{
    const struct sched_param none = {0};

    if (!p->running)
        return;
    /* Whoever waits for it must not wait until the machine is idle. Only root may do that. */
    (void)pthread_setschedparam(p->thread, SCHED_OTHER, &none);
    (void)pthread_join(p->thread, NULL);
    p->running = false;
}

void packer_stop(struct evs_store *st)
{
    struct packer *p = st->packer;

    if (!p)
        return;
    atomic_store_explicit(&p->stop, true, memory_order_relaxed);
    join(p);
    free(p);
    st->packer = NULL;
}

void packer_tick(struct evs_store *st)
{
    struct packer *p = st->packer;

    if (!p)
        return;
    log_pack_switch(st->lg);
    if (p->running && atomic_load_explicit(&p->done, memory_order_acquire))
        join(p);
    if (p->running || !log_pack_due(st->lg) ||
        monotonic_ns() < atomic_load_explicit(&p->next, memory_order_relaxed))
        return;
    atomic_store_explicit(&p->done, false, memory_order_relaxed);
    p->running = pthread_create(&p->thread, NULL, run, st) == 0; /* else at the next tick */
}
