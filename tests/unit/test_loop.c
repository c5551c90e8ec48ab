/* SPDX-License-Identifier: MIT */
/* loop: every request is served once, by no more threads than there may be; one that hangs holds up no other; and it
 * ends by what ends a session. The kernel is a socket here, each packet a request; libfuse's four functions that the
 * loop calls are below. */
#include "check.h"

#include "fs/loop.h"
#include "store/util.h"

#define FUSE_USE_VERSION 314
#include <errno.h>
#include <fuse_lowlevel.h>
#include <linux/fuse.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/socket.h>
#include <unistd.h>

/* What a request does. */
enum does { AT_ONCE, HANGS /* until it is let go */, IS_SLOW, EXITS };
#define SLOW_US 5000

static struct {
    int fds[2];                        /* requests are written to [0], read from [1] */
    _Atomic int exited, fail, threads; /* threads: so many have come to read */
    pthread_mutex_t lock;
    pthread_cond_t changed;
    int served, busy, busy_max; /* under lock */
    bool let_go;                /* under lock */
} k = {.lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER};

struct request {
    struct fuse_in_header head;
    enum does does;
};

int fuse_session_receive_buf(struct fuse_session *se, struct fuse_buf *buf)
{
    (void)se;
    if (!buf->mem) {
        buf->mem = malloc(sizeof(struct request));
        atomic_fetch_add(&k.threads, 1);
    }
    ssize_t n = read(k.fds[1], buf->mem, sizeof(struct request));
    if (n == 0) {
        atomic_store(&k.exited, 1); /* unmounted */
        return 0;
    }
    if (n > 0 && atomic_load(&k.fail))
        return -atomic_load(&k.fail);
    buf->size = n > 0 ? (size_t)n : 0;
    return n < 0 ? -errno : (int)n;
}

void fuse_session_process_buf(struct fuse_session *se, const struct fuse_buf *buf)
{
    const struct request *r = buf->mem;

    (void)pthread_mutex_lock(&k.lock);
    k.busy++;
    k.busy_max = MAX(k.busy_max, k.busy);
    (void)pthread_cond_broadcast(&k.changed);
    while (r->does == HANGS && !k.let_go)
        (void)pthread_cond_wait(&k.changed, &k.lock);
    (void)pthread_mutex_unlock(&k.lock);
    if (r->does == IS_SLOW)
        (void)usleep(SLOW_US);
    if (r->does == EXITS)
        fuse_session_exit(se);
    (void)pthread_mutex_lock(&k.lock);
    k.busy--;
    k.served++;
    (void)pthread_cond_broadcast(&k.changed);
    (void)pthread_mutex_unlock(&k.lock);
}

int fuse_session_exited(struct fuse_session *se)
{
    (void)se;
    return atomic_load(&k.exited);
}

void fuse_session_exit(struct fuse_session *se)
{
    (void)se;
    atomic_store(&k.exited, 1);
}

static void send_one(uint32_t opcode, enum does does)
{
    const struct request r = {.head = {.opcode = opcode, .len = sizeof r}, .does = does};

    if (write(k.fds[0], &r, sizeof r) != sizeof r)
        abort();
}

static void await_served(int n)
{
    (void)pthread_mutex_lock(&k.lock);
    while (k.served < n)
        (void)pthread_cond_wait(&k.changed, &k.lock);
    (void)pthread_mutex_unlock(&k.lock);
}

static void await_busy(int n)
{
    (void)pthread_mutex_lock(&k.lock);
    while (k.busy < n)
        (void)pthread_cond_wait(&k.changed, &k.lock);
    (void)pthread_mutex_unlock(&k.lock);
}

static void let_go(void)
{
    (void)pthread_mutex_lock(&k.lock);
    k.let_go = true;
    (void)pthread_cond_broadcast(&k.changed);
    (void)pthread_mutex_unlock(&k.lock);
}

/* Run the loop in this thread, with a client in another, who has no signals; returns what the loop did. */
static int with_client(unsigned threads, void *(*client)(void *))
{
    sigset_t all, mask;
    pthread_t t;

    atomic_store(&k.exited, 0);
    atomic_store(&k.fail, 0);
    atomic_store(&k.threads, 0);
    k.served = k.busy = k.busy_max = 0;
    k.let_go = false;
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, k.fds) < 0)
        abort();
    sigfillset(&all);
    (void)pthread_sigmask(SIG_BLOCK, &all, &mask);
    (void)pthread_create(&t, NULL, client, NULL);
    (void)pthread_sigmask(SIG_SETMASK, &mask, NULL);
    int r = loop_run(NULL, threads);
    (void)pthread_join(t, NULL);
    (void)close(k.fds[0]);
    (void)close(k.fds[1]);
    return r;
}

static void unmount(void)
{
    (void)shutdown(k.fds[0], SHUT_WR);
}

/* ---- all are served ---- */

#define MANY 3000

static void *send_many(void *arg)
{
    static const uint32_t opcodes[] = {FUSE_WRITE,   FUSE_READ,    FUSE_OPEN,   FUSE_FSYNC,
                                       FUSE_GETATTR, FUSE_READDIR, FUSE_RELEASE};

    for (int i = 0; i < MANY; i++)
        send_one(opcodes[i % (int)(sizeof opcodes / sizeof *opcodes)], AT_ONCE);
    return arg;
}

static void *four_clients(void *arg)
{
    pthread_t t[4];

    for (int i = 0; i < 4; i++)
        (void)pthread_create(&t[i], NULL, send_many, NULL);
    for (int i = 0; i < 4; i++)
        (void)pthread_join(t[i], NULL);
    await_served(4 * MANY);
    unmount();
    return arg;
}

static void every_request_is_served_once(void)
{
    for (unsigned threads = 1; threads <= LOOP_THREADS_MAX; threads *= 4) {
        CHECK_EQ(with_client(threads, four_clients), 0);
        CHECK_EQ(k.served, 4 * MANY);
    }
}

/* ---- some hang ---- */

static void *nine_that_hang(void *arg)
{
    for (int i = 0; i < 9; i++)
        send_one(i % 2 ? FUSE_WRITE : FUSE_OPEN, HANGS);
    await_busy(9);
    send_one(FUSE_GETATTR, AT_ONCE);
    await_served(1); /* or the test runs out of its time */
    send_one(FUSE_READ, AT_ONCE);
    await_served(2);
    let_go();
    await_served(11);
    unmount();
    return arg;
}

static void quick_ones_that_hang_hold_up_no_other(void)
{
    CHECK_EQ(with_client(LOOP_THREADS_DEFAULT, nine_that_hang), 0);
    CHECK_EQ(k.served, 11);
    CHECK_EQ(k.busy_max, 10);
}

#define SLOW_ONES 20000 /* at most */

static int sent;

static bool all_are_busy(void)
{
    (void)pthread_mutex_lock(&k.lock);
    const bool all = k.busy_max == LOOP_THREADS_DEFAULT;
    (void)pthread_mutex_unlock(&k.lock);
    return all;
}

static void *slow_ones(void *arg)
{
    for (sent = 0; sent < SLOW_ONES && !all_are_busy(); sent += 100) {
        for (int i = 0; i < 100; i++)
            send_one(FUSE_WRITE, IS_SLOW);
    }
    await_served(sent);
    unmount();
    return arg;
}

/* Two at a time could serve them all; but who waits behind them would wait for all that is before him. */
static void those_that_are_slow_get_all_threads(void)
{
    CHECK_EQ(with_client(LOOP_THREADS_DEFAULT, slow_ones), 0);
    CHECK_EQ(k.served, sent);
    CHECK_EQ(k.busy_max, LOOP_THREADS_DEFAULT);
}

#define READS 20

/* One after the other, so that one thread could serve them all: nobody is called but for what follows. */
static void *much_to_read(void *arg)
{
    for (int i = 1; i <= READS; i++) {
        send_one(FUSE_READ, AT_ONCE);
        await_served(i);
    }
    while (atomic_load(&k.threads) < (int)LOOP_THREADS_DEFAULT)
        (void)sched_yield(); /* or the test runs out of its time */
    unmount();
    return arg;
}

static void who_reads_in_bulk_finds_all_threads_waiting(void)
{
    CHECK_EQ(with_client(LOOP_THREADS_DEFAULT, much_to_read), 0);
    CHECK_EQ(k.served, READS);
    CHECK_EQ(k.threads, LOOP_THREADS_DEFAULT);
}

static void *more_than_threads(void *arg)
{
    for (int i = 0; i < 8; i++)
        send_one(i % 2 ? FUSE_WRITE : FUSE_READ, HANGS);
    await_busy(3);
    (void)usleep(50000); /* a fourth would come meanwhile */
    let_go();
    await_served(8);
    for (int i = 0; i < 100; i++) /* those that were parked are called again */
        send_one(i % 3 ? FUSE_READ : FUSE_WRITE, AT_ONCE);
    await_served(108);
    unmount();
    return arg;
}

static void no_more_threads_than_there_may_be(void)
{
    CHECK_EQ(with_client(3, more_than_threads), 0);
    CHECK_EQ(k.busy_max, 3);
    CHECK_EQ(k.served, 108);
}

/* ---- the end ---- */

static void on_signal(int sig)
{
    (void)sig;
    atomic_store(&k.exited, 1);
}

static void *terminate(void *arg)
{
    for (int i = 0; i < 20; i++)
        send_one(FUSE_READ, AT_ONCE); /* some threads wait, some are parked */
    await_served(20);
    send_one(FUSE_WRITE, HANGS);
    await_busy(1);
    (void)kill(getpid(), SIGTERM);
    while (!atomic_load(&k.exited))
        (void)sched_yield();
    let_go(); /* what was begun is brought to its end */
    return arg;
}

static void a_signal_ends_it(void)
{
    struct sigaction a = {.sa_handler = on_signal}, before;

    (void)sigaction(SIGTERM, &a, &before);
    for (int i = 0; i < 20; i++) {
        CHECK_EQ(with_client(4, terminate), 0);
        CHECK_EQ(k.served, 21);
    }
    (void)sigaction(SIGTERM, &before, NULL);
}

static void *exit_within(void *arg)
{
    send_one(FUSE_READ, AT_ONCE);
    await_served(1);
    send_one(FUSE_WRITE, EXITS);
    return arg;
}

static void so_does_one_of_its_threads(void)
{
    CHECK_EQ(with_client(4, exit_within), 0);
    CHECK_EQ(with_client(1, exit_within), 0);
}

static void *break_it(void *arg)
{
    send_one(FUSE_WRITE, AT_ONCE);
    await_served(1);
    atomic_store(&k.fail, EIO);
    send_one(FUSE_WRITE, AT_ONCE);
    return arg;
}

static void an_error_of_reading_ends_it(void)
{
    CHECK_EQ(with_client(4, break_it), -EIO);
}

static void *only_unmount(void *arg)
{
    unmount();
    return arg;
}

static void so_does_an_unmount_before_the_first_request(void)
{
    CHECK_EQ(with_client(10, only_unmount), 0);
    CHECK_EQ(k.served, 0);
}

int main(void)
{
    RUN(every_request_is_served_once);
    RUN(quick_ones_that_hang_hold_up_no_other);
    RUN(those_that_are_slow_get_all_threads);
    RUN(who_reads_in_bulk_finds_all_threads_waiting);
    RUN(no_more_threads_than_there_may_be);
    RUN(a_signal_ends_it);
    RUN(so_does_one_of_its_threads);
    RUN(an_error_of_reading_ends_it);
    RUN(so_does_an_unmount_before_the_first_request);
    CHECK_DONE();
}
