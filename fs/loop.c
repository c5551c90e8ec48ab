/* SPDX-License-Identifier: MIT */
/* loop: who takes the next request.
 * (1) The kernel wakes the threads that wait for requests in turn, each where it ran last. Of ten that wait for what one
 *     program asks each lies asleep by another processor; of two, one is at hand. So whoever has served a request and
 *     finds READY_MAX waiting is parked here; who was parked last is called first.
 * (2) Quick is what mostly takes microseconds, by its kind and size alone. It is begun even where nobody is left to wait
 *     for the next request, which may well come before another thread could be awake.
 * (3) Before a request that takes longer somebody is called if nobody waits. After BULK of them without a quick one of
 *     anybody's in between one is called before each, until all wait or work, and none is parked: who reads in bulk is
 *     served faster by ten than by two.
 * (4) A quick request can be slow all the same, on a slow disk or behind a large batch; and a machine may have processors
 *     for more. So once a request was begun with nobody waiting, and until that has not happened for a while, the thread
 *     that began the loop looks around at each tick. Where nobody waits, and fewer are busy than there are processors, or
 *     those who are have begun few in that way since the last tick, it calls one. So each that hangs holds up the others
 *     for two ticks at most, until all threads hang.
 * (5) Threads are started when one is called and none is parked, and end with the loop. A thread is cancelled only
 *     while it reads, where it holds nothing; what it read into is freed when it has been joined. */
#define FUSE_USE_VERSION 314
#include "loop.h"

#include <assert.h>
#include <errno.h>
#include <fuse_lowlevel.h>
#include <linux/fuse.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#define READY_MAX   2u
#define QUICK_BYTES (8192u + sizeof(struct fuse_in_header) + sizeof(struct fuse_write_in))
#define BULK        4u
#define TICK_MS     10
#define FEW         20u /* in a tick, of one thread: half a millisecond each is not quick */
#define QUIET_TICKS 100u

struct worker {
    struct loop *l; /* const */
    pthread_t thread;
    struct fuse_buf buf;   /* the thread's; stop()'s once it is joined. libfuse allocates it */
    pthread_cond_t called; /* with the lock: no longer parked, or over */
    bool parked;           /* under lock */
    struct worker *next;   /* under lock: who was parked before */
};

struct loop {
    struct fuse_session *se; /* const */
    int news; /* const: an eventfd for watch(): there is something to watch, or the end */
    unsigned max, processors; /* const */
    pthread_mutex_t lock;
    /* under lock: */
    unsigned n;            /* threads; of them: */
    unsigned waiting;      /* wait for a request, or are about to */
    unsigned busy;         /* serve one */
    struct worker *parked; /* the others */
    unsigned slow;         /* requests since the last quick one */
    uint64_t alone;        /* so often a request was begun and nobody waited */
    bool watched;          /* (4) */
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

/* Nothing of a thread that is cancelled has its address taken: ASan minds. */
static void tell(struct loop *l)
{
    static const uint64_t one = 1;

    (void)!write(l->news, &one, sizeof one);
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
    case FUSE_POLL:
    case FUSE_INTERRUPT:
        return h->len <= QUICK_BYTES;
    default:
        return false;
    }
}

/* Before a request is served. With the lock. */
static void see_to_next(struct loop *l, bool quick)
{
    l->waiting--;
    l->busy++;
    l->slow = quick ? 0 : l->slow + 1;
    if (l->slow > (l->waiting == 0 ? 0 : BULK))
        call_one(l);
    if (l->waiting > 0)
        return;
    l->alone++;
    if (!l->watched && l->max > 1) {
        l->watched = true;
        tell(l);
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

/* With the lock. False: no more. */
static bool next(struct loop *l, struct worker *w)
{
    l->busy--;
    if (l->over)
        return false;
    if (fuse_session_exited(l->se)) {
        end(l, 0);
        return false;
    }
    if (l->slow <= BULK && l->waiting >= READY_MAX)
        return park(l, w);
    l->waiting++;
    return true;
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
        if (r <= 0 || fuse_session_exited(l->se)) {
            end(l, r);
            (void)pthread_mutex_unlock(&l->lock);
            break;
        }
        see_to_next(l, is_quick(&w->buf));
        (void)pthread_mutex_unlock(&l->lock);
        fuse_session_process_buf(l->se, &w->buf);
        (void)pthread_mutex_lock(&l->lock);
        goes_on = next(l, w);
        (void)pthread_mutex_unlock(&l->lock);
    }
    return NULL;
}

/* (4), with the lock: so many were begun alone since the last tick. */
static void look_around(struct loop *l, uint64_t begun, unsigned *quiet)
{
    if (l->waiting == 0 && (begun < (uint64_t)FEW * l->busy || l->busy < l->processors))
        call_one(l);
    if (begun > 0 || l->waiting == 0)
        *quiet = 0;
    else if (++*quiet >= QUIET_TICKS)
        l->watched = false;
}

/* Until the session has ended. The signals that end it come in only while this waits, where none can be missed. */
static void watch(struct loop *l, const sigset_t *mask)
{
    static const struct timespec tick = {.tv_nsec = TICK_MS * 1000000};
    struct pollfd fd = {.fd = l->news, .events = POLLIN};
    uint64_t alone = 0, count;
    unsigned quiet = 0;
    bool watched = false;

    while (!fuse_session_exited(l->se)) {
        const int r = ppoll(&fd, 1, watched ? &tick : NULL, mask);
        if (r > 0)
            (void)!read(l->news, &count, sizeof count);
        (void)pthread_mutex_lock(&l->lock);
        if (r == 0)
            look_around(l, l->alone - alone, &quiet);
        else
            quiet = 0;
        alone = l->alone;
        watched = l->watched;
        (void)pthread_mutex_unlock(&l->lock);
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

static unsigned processors(void)
{
    cpu_set_t cpus;

    return sched_getaffinity(0, sizeof cpus, &cpus) == 0 ? (unsigned)CPU_COUNT(&cpus) : 1;
}

int loop_run(struct fuse_session *se, unsigned threads)
{
    struct loop *l = calloc(1, sizeof *l);
    int r;

    assert(threads >= 1 && threads <= LOOP_THREADS_MAX);
    if (!l)
        return -ENOMEM;
    l->se = se;
    l->max = threads;
    l->processors = processors();
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
