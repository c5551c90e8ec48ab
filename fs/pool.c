/* SPDX-License-Identifier: MIT */
/* A queue and a fixed number of threads. (1) Every task submitted before pool_stop() runs exactly once.
 * (2) The queue is not bounded here: each task is one request, and the kernel bounds those by the callers
 * that wait. (3) The threads have the
 * creator's signal mask. */
#include "pool.h"

#include <assert.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>

#define THREADS_MAX 16

struct pool {
    pthread_mutex_t lock;
    pthread_cond_t more;
    struct pool_task *first, **last; /* under lock */
    bool stop;                       /* under lock */
    unsigned n;                      /* const after pool_new() */
    pthread_t threads[THREADS_MAX];
};

static void *run(void *arg)
{
    struct pool *p = arg;
    struct pool_task *t;

    for (;;) {
        pthread_mutex_lock(&p->lock);
        while (!p->first && !p->stop)
            pthread_cond_wait(&p->more, &p->lock);
        t = p->first;
        if (t) {
            p->first = t->next;
            if (!p->first)
                p->last = &p->first;
        }
        pthread_mutex_unlock(&p->lock);
        if (!t)
            return NULL;
        t->fn(t);
    }
}

struct pool *pool_new(unsigned threads)
{
    struct pool *p = calloc(1, sizeof *p);

    assert(threads > 0 && threads <= THREADS_MAX);
    if (!p)
        return NULL;
    p->last = &p->first;
    pthread_mutex_init(&p->lock, NULL);
    pthread_cond_init(&p->more, NULL);
    while (p->n < threads && pthread_create(&p->threads[p->n], NULL, run, p) == 0)
        p->n++;
    if (p->n == 0) {
        pool_stop(p);
        return NULL;
    }
    return p;
}

void pool_submit(struct pool *p, struct pool_task *t)
{
    t->next = NULL;
    pthread_mutex_lock(&p->lock);
    *p->last = t;
    p->last = &t->next;
    pthread_cond_signal(&p->more);
    pthread_mutex_unlock(&p->lock);
}

void pool_stop(struct pool *p)
{
    if (!p)
        return;
    pthread_mutex_lock(&p->lock);
    p->stop = true;
    pthread_cond_broadcast(&p->more);
    pthread_mutex_unlock(&p->lock);
    for (unsigned i = 0; i < p->n; i++)
        pthread_join(p->threads[i], NULL);
    pthread_cond_destroy(&p->more);
    pthread_mutex_destroy(&p->lock);
    free(p);
}
