/* SPDX-License-Identifier: MIT */
/* evfs-cores: what the first two processors that it may run on can do at once. Where there are only these, it bounds what
 * two writers can.
 *   evfs-cores work   how many times as much as one of them both do, of work that shares nothing: 1.2 where they are two
 *                     threads of one core
 *   evfs-cores line   nanoseconds for a cache line from one to the other and back, twice what it costs to touch one that the
 *                     other has written: 90 within a core or below one cache, 500 from one part of a processor to another
 * Prints one figure. In a guest it is of the processors that its host gives it now: it may give it others within a minute. */
#include "bench.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>

#define STEPS      50000000u
#define ROUND_TRIP 200000u
#define PATIENCE_S 60u /* made to share one processor, each waits for a time slice of the other's */

static _Alignas(128) _Atomic uint32_t line;
static _Alignas(128) pthread_barrier_t both;
static int cpu[2];

static void run_on(int i)
{
    cpu_set_t set;

    CPU_ZERO(&set);
    CPU_SET(cpu[i], &set);
    if ((errno = pthread_setaffinity_np(pthread_self(), sizeof set, &set)) != 0)
        die("pthread_setaffinity_np", NULL);
}

static double work(void)
{
    const uint64_t begin = now_ns();
    uint64_t a = begin, b = 2, c = 3, d = 4;

    for (uint32_t i = 0; i < STEPS; i++) { /* three or four instructions a cycle */
        a = a * 7 + i;
        b ^= b << 1;
        c += a ^ i;
        d = d * 5 + c;
        b += i;
    }
    __asm__ volatile("" : : "r"(a + b + c + d));
    return (double)(now_ns() - begin);
}

static void *work_beside(void *ret)
{
    run_on(1);
    (void)pthread_barrier_wait(&both);
    *(double *)ret = work();
    return NULL;
}

/* Takes the line when it is odd, and gives it back even. */
static void *answer(void *unused)
{
    run_on(1);
    (void)pthread_barrier_wait(&both);
    for (uint32_t i = 1; i < 2 * ROUND_TRIP; i += 2) {
        while (atomic_load_explicit(&line, memory_order_acquire) != i)
            ;
        atomic_store_explicit(&line, i + 1, memory_order_release);
    }
    return unused;
}

static double ask(void)
{
    (void)pthread_barrier_wait(&both);
    const uint64_t begin = now_ns();
    for (uint32_t i = 1; i < 2 * ROUND_TRIP; i += 2) {
        atomic_store_explicit(&line, i, memory_order_release);
        while (atomic_load_explicit(&line, memory_order_acquire) != i + 1)
            ;
    }
    return (double)(now_ns() - begin) / ROUND_TRIP;
}

static bool find_two(void)
{
    cpu_set_t set;
    int n = 0;

    if (sched_getaffinity(0, sizeof set, &set) < 0)
        die("sched_getaffinity", NULL);
    for (int i = 0; i < CPU_SETSIZE && n < 2; i++)
        if (CPU_ISSET(i, &set))
            cpu[n++] = i;
    return n == 2;
}

int main(int argc, char **argv)
{
    const bool is_work = argc == 2 && strcmp(argv[1], "work") == 0;
    double alone = 0, here, there = 0;
    pthread_t other;

    if (!is_work && !(argc == 2 && strcmp(argv[1], "line") == 0))
        return fputs("usage: evfs-cores work|line\n", stderr), 2;
    if (!find_two())
        return fputs("evfs-cores: there is one processor only\n", stderr), 1;
    (void)alarm(PATIENCE_S);
    run_on(0);
    (void)pthread_barrier_init(&both, NULL, 2);
    if (is_work)
        alone = work();
    if ((errno = pthread_create(&other, NULL, is_work ? work_beside : answer, &there)) != 0)
        die("pthread_create", NULL);
    if (is_work) {
        (void)pthread_barrier_wait(&both);
        here = work();
    } else {
        here = ask();
    }
    (void)pthread_join(other, NULL);
    if (is_work)
        printf("%.2f\n", alone / here + alone / there);
    else
        printf("%.1f\n", here);
    return 0;
}
