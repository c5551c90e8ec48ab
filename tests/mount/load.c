/* SPDX-License-Identifier: MIT */
/* load MOUNT SECONDS PID: 16 clients of the mount whose daemon is PID, for so many seconds; then every event
 * that was acknowledged is looked for. Prints a table of latencies and what the daemon used, and fails if
 *   - a client met what must not be (load_clients.c);
 *   - an acknowledged event is not there exactly once (load_watch.c);
 *   - the daemon has more descriptors or threads at the end than when the load began to be steady;
 *   - its memory grew by more than its index, the names that the kernel knows, its caches, and MEMORY_SLACK;
 *   - its caches have more than the README says.
 * Times are printed and never judged; nor is memory where EVFS_SANITIZED says that a sanitizer has most of it. */
#include "load.h"

#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

/* Thread stacks, the allocator's free pages, a state under way: what is not in proportion to events. */
#define MEMORY_SLACK (16u << 20)
/* What the daemon may keep decompressed, and of states; a frame may be in use beyond. */
#define CACHES_MOST ((64u + 16u + 2u) << 20)
/* A state or a checkpoint has some. */
#define LEAK_SLACK 16

struct shared *shared;
const char *root;

static const char *const op_names[OPS] = {
    [OP_APPEND] = "append, one on an open descriptor",
    [OP_ECHO] = "open, append, close",
    [OP_TX] = "transaction of 3",
    [OP_FSYNC] = "append and fsync",
    [OP_DSYNC] = "append, O_DSYNC",
    [OP_BULK] = "append of 250",
    [OP_NEW] = "new entity: open, append, close",
    [OP_REFUSED] = "refused append",
    [OP_READ] = "pread of 64 KiB",
    [OP_CAT] = "cat",
    [OP_WAKE] = "read of a follower",
    [OP_STAT] = "stat",
    [OP_LIST] = "ls",
    [OP_STATE] = "state.json",
    [OP_CHMOD] = "chmod of a tenant",
    [OP_MAP] = "open, mmap, close",
    [OP_STATS] = "health and statfs",
};

uint64_t clock_ns(void)
{
    struct timespec t;

    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

void give_up(const char *fmt, ...)
{
    va_list ap;
    char text[1024];

    va_start(ap, fmt);
    (void)vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    fprintf(stderr, "load: %s\n", text);
    if (shared) {
        atomic_store_explicit(&shared->failed, true, memory_order_relaxed);
        atomic_store_explicit(&shared->stop, true, memory_order_relaxed);
    }
    exit(1);
}

static void start(pid_t pids[CLIENTS])
{
    for (int i = 0; i < CLIENTS; i++) {
        pids[i] = fork();
        if (pids[i] < 0)
            give_up("fork: %s", strerror(errno));
        if (pids[i] == 0) {
            client(i);
            exit(0);
        }
    }
}

/* They look at stop at each tick: who does not end in time hangs in a call, which is a failure. */
static void join(const pid_t pids[CLIENTS])
{
    uint64_t until = clock_ns() + 60ull * 1000000000u;

    for (int i = 0; i < CLIENTS; i++) {
        int status = 0;
        pid_t p;
        while ((p = waitpid(pids[i], &status, WNOHANG)) == 0 && clock_ns() < until)
            (void)usleep(10000);
        if (p == 0) {
            fprintf(stderr, "load: client %d (%s) hangs\n", i, client_name(i));
            (void)kill(pids[i], SIGKILL);
        } else if (status == 0) {
            continue;
        }
        fprintf(stderr, "load: client %d (%s) failed\n", i, client_name(i));
        atomic_store_explicit(&shared->failed, true, memory_order_relaxed);
    }
}

/* The upper end of the bucket that the per-mille'th is in. */
static double percentile_us(const struct times *t, double part)
{
    uint64_t n = atomic_load_explicit(&t->n, memory_order_relaxed), sum = 0;
    uint64_t max = atomic_load_explicit(&t->max_ns, memory_order_relaxed), end = max;

    for (size_t i = 0; i < BUCKETS; i++) {
        sum += atomic_load_explicit(&t->in[i], memory_order_relaxed);
        if ((double)sum >= part * (double)n && sum > 0) {
            end = (uint64_t)(16 + i % 16 + 1) << (i / 16 - 4);
            break;
        }
    }
    return (double)(end < max ? end : max) / 1000;
}

static void print_times(void)
{
    printf("%-34s %9s %9s %9s %9s %9s us\n", "operation", "count", "50%", "99%", "99.9%", "most");
    for (int i = 0; i < OPS; i++) {
        const struct times *t = &shared->times[i];
        uint64_t n = atomic_load_explicit(&t->n, memory_order_relaxed);
        if (n == 0)
            give_up("no %s was done", op_names[i]);
        printf("%-34s %9" PRIu64 " %9.0f %9.0f %9.0f %9.0f\n", op_names[i], n,
               percentile_us(t, 0.5), percentile_us(t, 0.99), percentile_us(t, 0.999),
               (double)atomic_load_explicit(&t->max_ns, memory_order_relaxed) / 1000);
    }
}

static void print_daemon(const char *when, const struct daemon_now *d)
{
    printf("%-10s %9" PRIu64 " events, %" PRIu64 " KiB anonymous of %" PRIu64 " KiB, index %" PRIu64
           " KiB, caches %" PRIu64 " KiB, %" PRIu64 " descriptors, %" PRIu64 " threads, %" PRIu64
           " open files, %" PRIu64 " names\n",
           when, d->events, d->anonymous >> 10, d->rss >> 10, d->index >> 10, d->caches >> 10,
           d->files, d->tasks, d->open_files, d->names);
}

/* Make the kernel forget the names of this mount that nobody uses: what the daemon has for them has to end
 * as well. Only root can, by a remount that changes nothing. */
static void forget_names(pid_t daemon)
{
    struct daemon_now d;

    if (mount("evfs", root, "fuse", MS_REMOUNT | MS_NOSUID | MS_NODEV, NULL) < 0) {
        printf("names that the kernel knows are taken for %u bytes each: remount: %s\n", NAME_BYTES,
               strerror(errno));
        return;
    }
    for (int i = 0; i < 100; i++) { /* it tells the daemon in the background */
        watch_look(daemon, &d);
        if (d.names < 10000)
            break;
        (void)usleep(100000);
    }
}

/* The least that was seen within some seconds: a checkpoint, a state or a burst is no leak. */
static void settle(pid_t daemon, unsigned looks, struct daemon_now *ret)
{
    struct daemon_now d;

    forget_names(daemon);
    watch_look(daemon, ret);
    for (unsigned i = 1; i < looks; i++) {
        (void)usleep(200000);
        watch_look(daemon, &d);
        /* all of both samples, as one is subtracted from the other */
        if ((int64_t)(d.anonymous - d.expected) < (int64_t)(ret->anonymous - ret->expected)) {
            ret->anonymous = d.anonymous;
            ret->expected = d.expected;
        }
        ret->files = d.files < ret->files ? d.files : ret->files;
        ret->tasks = d.tasks < ret->tasks ? d.tasks : ret->tasks;
        ret->events = d.events;
        ret->rss = d.rss;
        ret->open_files = d.open_files;
        ret->names = d.names;
        ret->index = d.index;
        ret->caches = d.caches;
    }
}

static void check_leaks(const struct daemon_now *warm, const struct daemon_now *end)
{
    int64_t rest = (int64_t)(end->anonymous - end->index - end->caches) -
                   (int64_t)(warm->anonymous - warm->index - warm->caches);
    uint64_t events = end->events - warm->events;

    printf("after the warm-up: %" PRIu64 " events, index %.1f bytes an event, all else %+" PRId64
           " KiB\n",
           events, events ? (double)(end->index - warm->index) / (double)events : 0, rest / 1024);
    if (end->caches > CACHES_MOST)
        give_up("the daemon's caches have %" PRIu64 " KiB", end->caches >> 10);
    if (getenv("EVFS_SANITIZED"))
        printf("the daemon's memory is a sanitizer's: not judged\n");
    else if (rest > (int64_t)MEMORY_SLACK)
        give_up("the daemon's memory grew by %" PRId64 " KiB beside its index and names",
                rest / 1024);
    if (end->files > warm->files + LEAK_SLACK)
        give_up("the daemon has %" PRIu64 " descriptors, and had %" PRIu64, end->files,
                warm->files);
    if (end->tasks > warm->tasks + LEAK_SLACK)
        give_up("the daemon has %" PRIu64 " threads, and had %" PRIu64, end->tasks, warm->tasks);
}

static bool sleep_until(uint64_t ns)
{
    while (clock_ns() < ns && !atomic_load_explicit(&shared->stop, memory_order_relaxed))
        (void)usleep(50000);
    return !atomic_load_explicit(&shared->stop, memory_order_relaxed);
}

int main(int argc, char **argv)
{
    struct daemon_now before, warm, now, end;
    pid_t pids[CLIENTS], daemon;

    if (argc != 4) {
        fprintf(stderr, "usage: load MOUNT SECONDS PID\n");
        return 2;
    }
    root = argv[1];
    uint64_t seconds = strtoull(argv[2], NULL, 10);
    daemon = (pid_t)atoi(argv[3]);
    shared = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (shared == MAP_FAILED)
        give_up("mmap: %s", strerror(errno));
    watch_look(daemon, &before);
    print_daemon("before", &before);
    (void)fflush(stdout);
    uint64_t begin = clock_ns(), second = 1000000000u;
    start(pids);
    bool going = sleep_until(begin + seconds * second / 4);
    settle(daemon, going ? 20 : 1, &warm);
    print_daemon("warm", &warm);
    for (uint64_t minute = seconds / 240 / 5 * 5 + 5;
         going && begin + minute * 60 * second < begin + seconds * second; minute += 5) {
        going = sleep_until(begin + minute * 60 * second);
        watch_look(daemon, &now);
        printf("%2" PRIu64 " min     ", minute);
        print_daemon("", &now);
        (void)fflush(stdout);
    }
    (void)sleep_until(begin + seconds * second);
    watch_look(daemon, &now);
    print_daemon("loaded", &now);
    atomic_store_explicit(&shared->stop, true, memory_order_relaxed);
    join(pids);
    settle(daemon, 20, &end);
    print_daemon("after", &end);
    (void)fflush(stdout);
    if (atomic_load_explicit(&shared->failed, memory_order_relaxed))
        return 1;
    print_times();
    uint64_t events = watch_check();
    printf("%" PRIu64 " events, each acknowledged once and stored once\n", events);
    check_leaks(&warm, &end);
    return 0;
}
