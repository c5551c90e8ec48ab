/* SPDX-License-Identifier: MIT */
/* ingest_lock: the commit lock. Who finds it taken, and nobody else who waits, looks for it a while before it sleeps: a
 * commit is mostly shorter than falling asleep and being woken. Where more wait, the processors have others to run. */
#include "hotpath.h"
#include "ingest.h"

#define SPIN_NS 50000u

static inline void relax(void)
{
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

/* Look for the lock to become free without sleeping, for as long as waking up again may take. */
static bool await_commit(struct evs_store *st)
{
    const uint64_t until = monotonic_ns() + SPIN_NS;

    do {
        for (uint32_t i = 0; i < 20; i++)
            relax();
        if (pthread_mutex_trylock(&st->commit) == 0)
            return true;
    } while (monotonic_ns() < until);
    return false;
}

void ingest_lock(struct evs_store *st)
{
    HOT(wait);
    if (LIKELY(pthread_mutex_trylock(&st->commit) == 0))
        return;
    const bool alone = atomic_fetch_add_explicit(&st->waiting, 1, memory_order_relaxed) == 0;
    if (!alone || st->one_cpu || !await_commit(st))
        (void)pthread_mutex_lock(&st->commit);
    atomic_fetch_sub_explicit(&st->waiting, 1, memory_order_relaxed);
}

void ingest_unlock(struct evs_store *st)
{
    LOG_CHECKED(st->lg);
    (void)pthread_mutex_unlock(&st->commit);
}
