/* SPDX-License-Identifier: MIT */
/* loop: who takes the next request.
 * (1) The kernel wakes the threads that wait for requests in turn, each where it ran last. Of ten that wait for what one
 *     program asks each lies asleep by another processor; of two, one is at hand. So after a quick request no more than
 *     READY_MAX wait: the others are parked here, and who was parked last is called first.
 * (2) Quick is what touches memory and at most a page of the log. It is begun even where nobody is left to wait for the
 *     next request, which may well come before another thread could be awake.
 * (3) Before a request that takes longer one more is called, until all wait or work: such come in numbers, and who reads
 *     in bulk is served faster by ten than by two. After it a thread waits with the others.
 * (4) A quick request can be slow all the same, on a disk that hangs or behind a large batch. So the thread that began
 *     the loop looks around at each tick, once a quick request was begun with nobody waiting and until that has not
 *     happened for a while: where it is the same one as at the last tick somebody is called. It holds up others for two
 *     ticks.
 * (5) Threads are started when one is called and none is parked, and end with the loop. A thread is cancelled only
 *     while it reads, where it holds nothing; what it read into is freed when it has been joined. */
#define FUSE_USE_VERSION 314
#include "loop.h"

#include <errno.h>
#include <fuse_lowlevel.h>
#include <linux/fuse.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#define READY_MAX   2u
#define QUICK_BYTES 8192u /* of a request, its header included */
#define TICK_MS     10
#define QUIET_TICKS 100u

struct worker {
    struct loop *l;
    pthread_t thread;
    struct fuse_buf buf; /* the thread's; libfuse allocates it */
    pthread_cond_t called;
    bool parked;         /* under lock */
    struct worker *next; /* under lock: who was parked before */
};

struct loop {
    struct fuse_session *se;
    int news;     /* an eventfd for loop_run(): to be watched from now on, or ended */
    unsigned max; /* threads */
    pthread_mutex_t lock;
    /* under lock: */
    unsigned n, waiting; /* threads; those of them that wait for a request, or are about to */
    struct worker *parked;
    uint64_t alone; /* so often a quick request was begun and nobody waited */
    bool watched;   /* (4) */
    bool over;
    int r;
    struct worker workers[LOOP_THREADS_MAX];
};

static void *run(void *arg);

/* Somebody is to wait for the next request: who was parked last, or a new thread. All are busy: nobody. With the lock. */
static void call_one(struct loop *l)
{
    struct worker *w = l->parked;

    if (w) {
        l->parked = w->next;
        w->parked = false;
        (void)pthread_cond_signal(&w->called);
        l->waiting++;
    } else if (l->n < l->max &&
               pthread_create(&l->workers[l->n].thread, NULL, run, &l->workers[l->n]) == 0) {
        l->n++;
        l->waiting++;
    }
}

/* With the lock. False: it is over. */
static bool park(struct loop *l, struct worker *w)
{
    w->parked = true;
    w->next = l->parked;
    l->parked = w;
    while (w->parked && !l->over)
        (void)pthread_cond_wait(&w->called, &l->lock);
    return !l->over;
}

static void tell(struct loop *l)
{
    static const uint64_t one =
        1; /* nothing of a thread that is cancelled has its address taken, which ASan minds */

    (void)!write(l->news, &one, sizeof one); /* fails only where it has been told 2^64 times */
}

static bool is_quick(const struct fuse_buf *b)
{
    const struct fuse_in_header *h = b->mem;

    if (b->flags & FUSE_BUF_IS_FD)
        return false;
    switch (h->opcode) {
    case FUSE_LOOKUP:
    case FUSE_FORGET:
    case FUSE_BATCH_FORGET:
    case FUSE_GETATTR:
    case FUSE_OPEN:
    case FUSE_CREATE:
    case FUSE_WRITE:
    case FUSE_FLUSH:
    case FUSE_RELEASE:
        return h->len <= QUICK_BYTES;
    default:
        return false;
    }
}

/* Before a request is served. With the lock. */
static void see_to_next(struct loop *l, bool quick)
{
    if (!quick) {
        call_one(l);
    } else if (l->waiting == 0) {
        l->alone++;
        if (!l->watched)
            tell(l);
        l->watched = true;
    }
}

static int receive(struct worker *w)
{
    int r;

    (void)pthread_setcancelstate(PTHREAD_CANCEL_ENABLE, NULL);
    do
        r = fuse_session_receive_buf(w->l->se, &w->buf);
    while (r == -EINTR && !fuse_session_exited(w->l->se));
    (void)pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, NULL);
    return r;
}

/* The session is at its end, or can't go on. With the lock. */
static void end(struct loop *l, int r)
{
    if (r < 0 && r != -EINTR && l->r == 0)
        l->r = r;
    fuse_session_exit(l->se);
    tell(l);
}

static void *run(void *arg)
{
    struct worker *w = arg;
    struct loop *l = w->l;
    bool goes_on = true;

    (void)pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, NULL);
    while (goes_on) {
        const int r = receive(w);
        (void)pthread_mutex_lock(&l->lock);
        l->waiting--;
        if (r <= 0 || fuse_session_exited(l->se)) {
            end(l, r);
            (void)pthread_mutex_unlock(&l->lock);
            break;
        }
        const bool quick = is_quick(&w->buf);
        see_to_next(l, quick);
        (void)pthread_mutex_unlock(&l->lock);
        fuse_session_process_buf(l->se, &w->buf);
        (void)pthread_mutex_lock(&l->lock);
        if (l->over)
            goes_on = false;
        else if (quick && l->waiting >= READY_MAX)
            goes_on = park(l, w);
        else
            l->waiting++;
        (void)pthread_mutex_unlock(&l->lock);
    }
    return NULL;
}

/* Until the session has ended. The signals that end it come in only while this waits, where none can be missed. */
static void watch(struct loop *l, const sigset_t *mask)
{
    struct pollfd fd = {.fd = l->news, .events = POLLIN};
    uint64_t alone = 0, count;
    unsigned quiet = 0;

    while (!fuse_session_exited(l->se)) {
        (void)pthread_mutex_lock(&l->lock);
        if (l->alone != alone)
            quiet = 0;
        else if (l->waiting == 0)
            call_one(l);
        else if (++quiet >= QUIET_TICKS)
            l->watched = false;
        alone = l->alone;
        const struct timespec tick = {.tv_nsec = TICK_MS * 1000000}, *t = l->watched ? &tick : NULL;
        (void)pthread_mutex_unlock(&l->lock);
        if (ppoll(&fd, 1, t, mask) > 0)
            (void)!read(l->news, &count, sizeof count);
    }
}

static void stop(struct loop *l)
{
    (void)pthread_mutex_lock(&l->lock);
    l->over = true;
    for (unsigned i = 0; i < l->n; i++) {
        (void)pthread_cond_signal(&l->workers[i].called);
        (void)pthread_cancel(l->workers[i].thread);
    }
    (void)pthread_mutex_unlock(&l->lock);
    for (unsigned i = 0; i < l->n; i++) {
        (void)pthread_join(l->workers[i].thread, NULL);
        free(l->workers[i].buf.mem);
    }
}

static int serve(struct loop *l)
{
    sigset_t ends, mask;
    int r;

    sigemptyset(&ends);
    sigaddset(&ends, SIGHUP);
    sigaddset(&ends, SIGINT);
    sigaddset(&ends, SIGTERM);
    (void)pthread_sigmask(SIG_BLOCK, &ends, &mask); /* the threads keep it so */
    (void)pthread_mutex_lock(&l->lock);
    call_one(l);
    r = l->n > 0 ? 0 : -EAGAIN;
    (void)pthread_mutex_unlock(&l->lock);
    if (r == 0) {
        watch(l, &mask);
        stop(l);
        r = l->r;
    }
    (void)pthread_sigmask(SIG_SETMASK, &mask, NULL);
    return r;
}

int loop_run(struct fuse_session *se, unsigned threads)
{
    struct loop *l = calloc(1, sizeof *l);
    int r;

    if (!l)
        return -ENOMEM;
    l->se = se;
    l->max = threads;
    l->news = eventfd(0, EFD_CLOEXEC);
    if (l->news < 0) {
        r = -errno;
        free(l);
        return r;
    }
    (void)pthread_mutex_init(&l->lock, NULL); /* without attributes none can fail */
    for (unsigned i = 0; i < threads; i++) {
        l->workers[i].l = l;
        (void)pthread_cond_init(&l->workers[i].called, NULL);
    }
    r = serve(l);
    for (unsigned i = 0; i < threads; i++)
        (void)pthread_cond_destroy(&l->workers[i].called);
    (void)pthread_mutex_destroy(&l->lock);
    (void)close(l->news);
    free(l);
    return r;
}
