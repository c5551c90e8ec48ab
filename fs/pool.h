/* SPDX-License-Identifier: MIT */
/* pool: the daemon's own threads, for what must not be done in a handler (fsync, states, documents). */
#ifndef FS_POOL_H
#define FS_POOL_H

/* Embedded in what the task works on; fn may free it. */
struct pool_task {
    void (*fn)(struct pool_task *t);
    struct pool_task *next; /* the pool's */
};

struct pool;
struct pool *pool_new(unsigned threads); /* NULL: no memory or no thread */
/* Run t->fn(t) in one of the threads, in the order of submission. Never fails, never waits. */
void pool_submit(struct pool *p, struct pool_task *t);
/* Run what was submitted, end the threads, free. NULL is fine. */
void pool_stop(struct pool *p);

#endif
