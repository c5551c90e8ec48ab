/* SPDX-License-Identifier: MIT */
/* pool: every task runs once, and none is lost when the pool is stopped. */
#include "check.h"

#include "fs/pool.h"

#include <stdatomic.h>

struct job {
    struct pool_task task;
    _Atomic int runs;
    struct pool *again; /* submit itself once more */
};

static void work(struct pool_task *t)
{
    struct job *j = (struct job *)t;
    struct pool *again = j->again;

    atomic_fetch_add(&j->runs, 1);
    if (again) {
        j->again = NULL;
        pool_submit(again, t);
    }
}

static void every_task_runs_once(void)
{
    enum { N = 2000 };
    static struct job jobs[N];
    struct pool *p = pool_new(4);
    int wrong = 0;

    for (int i = 0; i < N; i++) {
        jobs[i].task.fn = work;
        pool_submit(p, &jobs[i].task);
    }
    pool_stop(p); /* runs what is left */
    for (int i = 0; i < N; i++)
        wrong += atomic_load(&jobs[i].runs) != 1;
    CHECK_EQ(wrong, 0);
}

static void a_task_may_submit_another(void)
{
    struct pool *p = pool_new(2);
    struct job j = {.task = {.fn = work}, .again = p};

    pool_submit(p, &j.task);
    pool_stop(p);
    CHECK_EQ(atomic_load(&j.runs), 2);
}

static void nothing_to_stop(void)
{
    pool_stop(NULL);
    pool_stop(pool_new(1));
}

int main(void)
{
    RUN(every_task_runs_once);
    RUN(a_task_may_submit_another);
    RUN(nothing_to_stop);
    CHECK_DONE();
}
