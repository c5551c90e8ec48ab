/* SPDX-License-Identifier: MIT */
/* The clients of load.c. (1) A client's events carry its number and a running number, from 0 and without a
 * gap, so whatever is lost, stored twice or out of order shows. (2) The running number moves on only when
 * write(2) has taken the event. (3) Each has a pace, or the disk would be full within minutes; what it does
 * between two ticks is as fast as it can. */
#include "load.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <time.h>
#include <unistd.h>

#define BULK_EVENTS 250
#define TENANTS     20

static int self; /* which client this process is */
static unsigned random_state;

static unsigned any(unsigned n)
{
    random_state = random_state * 1664525u + 1013904223u;
    return (random_state >> 8) % n;
}

void took(enum op op, uint64_t since_ns)
{
    uint64_t ns = clock_ns() - since_ns, max;
    struct times *t = &shared->times[op];
    int high = 63 - __builtin_clzll(ns | 16);
    size_t bucket = (size_t)high * 16 + ((ns >> (high - 4)) & 15);

    atomic_fetch_add_explicit(&t->n, 1, memory_order_relaxed);
    atomic_fetch_add_explicit(&t->in[bucket], 1, memory_order_relaxed);
    max = atomic_load_explicit(&t->max_ns, memory_order_relaxed);
    while (ns > max && !atomic_compare_exchange_weak_explicit(
                           &t->max_ns, &max, ns, memory_order_relaxed, memory_order_relaxed))
        ;
}

/* Sleep until the next of so many ticks a second; false at the end of the run. A client that is late does
 * not catch up. */
static bool tick(unsigned per_second)
{
    static uint64_t next;
    uint64_t now = clock_ns(), step = 1000000000u / per_second;

    next = next + step < now ? now : next + step;
    if (next > now) {
        struct timespec t = {.tv_sec = (time_t)((next - now) / 1000000000u),
                             .tv_nsec = (long)((next - now) % 1000000000u)};
        (void)nanosleep(&t, NULL); /* a signal only makes it shorter */
    }
    return !atomic_load_explicit(&shared->stop, memory_order_relaxed);
}

static const char *at(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

static const char *at(const char *fmt, ...)
{
    static char path[4096];
    va_list ap;
    int n = snprintf(path, sizeof path, "%s/", root);

    va_start(ap, fmt);
    (void)vsnprintf(path + n, sizeof path - (size_t)n, fmt, ap);
    va_end(ap);
    return path;
}

static int open_or_die(const char *path, int flags)
{
    int fd = open(path, flags | O_CLOEXEC, 0644);

    if (fd < 0)
        give_up("%s: open: %s", path, strerror(errno));
    return fd;
}

/* One write(2) that has to be taken whole; so many events are acknowledged by it. */
static void append(int fd, const char *text, size_t n, unsigned events)
{
    ssize_t r = write(fd, text, n);

    if (r < 0)
        give_up("write: %s: %.200s", strerror(errno), text);
    if ((size_t)r != n)
        give_up("write: %zd of %zu bytes", r, n);
    atomic_fetch_add_explicit(&shared->acked[self], events, memory_order_relaxed);
}

static uint64_t number(void)
{
    return atomic_load_explicit(&shared->acked[self], memory_order_relaxed);
}

/* The data of this client's next event but k. */
static size_t data(char *buf, size_t cap, unsigned k)
{
    return (size_t)snprintf(buf, cap, "{\"c\":%d,\"n\":%" PRIu64 ",\"pad\":\"%.*s\"}", self,
                            number() + k, (int)any(60),
                            "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx");
}

/* ---- writers ---- */

/* One descriptor for the whole run. */
static void append_with(enum op op, int flags, bool sync, unsigned per_second)
{
    char line[256];
    int fd = open_or_die(at("entities/load/w%d/t%d.jsonl", self, self % 3),
                         O_WRONLY | O_APPEND | O_CREAT | flags);

    while (tick(per_second)) {
        size_t n = data(line, sizeof line - 1, 0);
        line[n++] = '\n';
        uint64_t begin = clock_ns();
        append(fd, line, n, 1);
        if (sync && fsync(fd) < 0)
            give_up("fsync: %s", strerror(errno));
        took(op, begin);
    }
    (void)close(fd);
}

static void appends(void)
{
    append_with(OP_APPEND, 0, false, 500);
}

static void syncs(void)
{
    append_with(OP_FSYNC, 0, true, 100);
}

static void dsyncs(void)
{
    append_with(OP_DSYNC, O_DSYNC, false, 100);
}

/* As the shell's >> does. */
static void echoes(void)
{
    char line[256];

    while (tick(300)) {
        size_t n = data(line, sizeof line - 1, 0);
        line[n++] = '\n';
        const char *path = at("entities/echo/e%u/said.jsonl", any(200));
        uint64_t begin = clock_ns();
        int fd = open_or_die(path, O_WRONLY | O_APPEND | O_CREAT);
        append(fd, line, n, 1);
        (void)close(fd);
        took(OP_ECHO, begin);
    }
}

/* Of three events on two entities, with ids and the versions expected; the repeat of one stores nothing, and
 * a stale one fails. Nobody else writes to these entities. */
static void transactions(void)
{
    uint64_t version[50] = {0};
    char text[2048], one[256];
    int fd = open_or_die(at("events.jsonl"), O_WRONLY | O_APPEND);

    while (tick(200)) {
        unsigned account = any(50);
        size_t n = 0;
        for (unsigned k = 0; k < 3; k++) {
            size_t d = data(one, sizeof one, k);
            n += (size_t)snprintf(text + n, sizeof text - n,
                                  "%c{\"entity\":\"bank/%u\",\"type\":\"moved\",\"id\":\"%" PRIu64
                                  "\",\"expected_version\":%" PRIu64 ",\"data\":%.*s}",
                                  k ? ',' : '[', k == 2 ? 1000 : account, number() + k,
                                  k == 2 ? number() / 3 : version[account] + k, (int)d, one);
        }
        n += (size_t)snprintf(text + n, sizeof text - n, "]\n");
        uint64_t begin = clock_ns();
        append(fd, text, n, 3);
        took(OP_TX, begin);
        version[account] += 2;
        if (any(10) == 0 && write(fd, text, n) != (ssize_t)n)
            give_up("a repeated transaction is refused: %s", strerror(errno));
        if (any(10) == 0) {
            n = (size_t)snprintf(
                text, sizeof text,
                "{\"entity\":\"bank/%u\",\"type\":\"moved\",\"expected_version\":0}\n", account);
            if (write(fd, text, n) >= 0 || errno != ESTALE)
                give_up("a stale version is not refused");
        }
    }
    (void)close(fd);
}

/* Whole events, many in a write, for many entities and 20 types. */
static void bulk(void)
{
    static char text[BULK_EVENTS * 320];
    char one[256];
    int fd = open_or_die(at("events.jsonl"), O_WRONLY | O_APPEND);

    while (tick(12)) {
        size_t n = 0;
        for (unsigned k = 0; k < BULK_EVENTS; k++) {
            size_t d = data(one, sizeof one, k);
            n += (size_t)snprintf(text + n, sizeof text - n,
                                  "{\"entity\":\"bulk/%u/%u\",\"type\":\"b%u\",\"data\":%.*s}\n",
                                  any(10), any(1000), any(20), (int)d, one);
        }
        uint64_t begin = clock_ns();
        append(fd, text, n, BULK_EVENTS);
        took(OP_BULK, begin);
    }
    (void)close(fd);
}

/* An entity that was not there before, then a look at it. */
static void new_entities(void)
{
    char line[256], path[512];
    struct stat st;

    while (tick(100)) {
        uint64_t k = number();
        size_t n = data(line, sizeof line - 1, 0);
        line[n++] = '\n';
        (void)snprintf(path, sizeof path, "%s",
                       at("entities/new/%" PRIu64 "/%" PRIu64 "/born.jsonl", k % 100, k));
        uint64_t begin = clock_ns();
        int fd = open_or_die(path, O_WRONLY | O_APPEND | O_CREAT | O_EXCL);
        append(fd, line, n, 1);
        (void)close(fd);
        took(OP_NEW, begin);
        if (stat(path, &st) < 0 || (size_t)st.st_size != n)
            give_up("%s: not there, or of another size", path);
    }
}

/* What must fail, and must store nothing; and values that their writer leaves unfinished. */
static void refused(void)
{
    static const char *const bad[] = {"{\"entity\":\"bad\",\"type\":\"t\",\"data\":tru}\n",
                                      "{\"type\":\"t\"}\n", "oops\n",
                                      "{\"entity\":\"bad\",\"type\":\"t\",\"datum\":1}\n"};

    while (tick(50)) {
        const char *text = bad[any(4)];
        int fd = open_or_die(at("events.jsonl"), O_WRONLY | O_APPEND);
        uint64_t begin = clock_ns();
        if (write(fd, text, strlen(text)) >= 0 || errno != EINVAL)
            give_up("not refused: %s", text);
        took(OP_REFUSED, begin);
        if (any(2) == 0 && write(fd, "{\"entity\":", 10) != 10)
            give_up("an unfinished value is not kept");
        (void)close(fd);
    }
}

/* ---- readers ---- */

/* Blocks anywhere in events.jsonl begin and end as they should; a whole file now and then. */
static void readers(void)
{
    static char buf[65536];
    struct stat st;
    int fd = open_or_die(at("events.jsonl"), O_RDONLY);

    while (tick(100)) {
        if (fstat(fd, &st) < 0)
            give_up("fstat: %s", strerror(errno));
        off_t off = st.st_size > 0 ? (off_t)((uint64_t)any(1u << 24) * 104729u % st.st_size) : 0;
        uint64_t begin = clock_ns();
        ssize_t r = pread(fd, buf, sizeof buf, off);
        took(OP_READ, begin);
        if (r < 0 || (r == 0 && off < st.st_size) || memchr(buf, '\0', (size_t)r))
            give_up("read at %lld of %lld: %zd", (long long)off, (long long)st.st_size, r);
        if (any(20) == 0) {
            int cat = open(at("entities/echo/e%u/said.jsonl", any(200)), O_RDONLY | O_CLOEXEC);
            char last = '\n';
            begin = clock_ns();
            while (cat >= 0 && (r = read(cat, buf, sizeof buf)) > 0)
                last = buf[r - 1];
            if (cat >= 0 && (r < 0 || last != '\n'))
                give_up("cat: it does not end with a line");
            if (cat >= 0)
                (void)close(cat);
            took(OP_CAT, begin);
        }
    }
    (void)close(fd);
}

/* As tail -f with poll(2): each seq comes, once, in order. The time is that of one read after a wake-up. */
static void follower(void)
{
    static char buf[1 << 20];
    size_t have = 0;
    uint64_t want = 1;
    int fd = open_or_die(at("events.jsonl"), O_RDONLY);

    for (;;) {
        bool last = atomic_load_explicit(&shared->stop, memory_order_relaxed);
        uint64_t begin = clock_ns();
        ssize_t r = read(fd, buf + have, sizeof buf - have);
        if (r < 0)
            give_up("follow: %s", strerror(errno));
        if (r == 0) {
            if (last)
                break;
            struct pollfd p = {.fd = fd, .events = POLLIN};
            if (poll(&p, 1, 200) < 0)
                give_up("poll: %s", strerror(errno));
            continue;
        }
        took(OP_WAKE, begin);
        have += (size_t)r;
        char *line = buf, *lf;
        while ((lf = memchr(line, '\n', have - (size_t)(line - buf)))) {
            if (strncmp(line, "{\"seq\":", 7) != 0 || strtoull(line + 7, NULL, 10) != want)
                give_up("follow: where %" PRIu64 " belongs is %.*s", want, (int)(lf - line), line);
            want++;
            line = lf + 1;
        }
        have -= (size_t)(line - buf);
        memmove(buf, line, have);
    }
    atomic_store_explicit(&shared->seen_by_tail, want - 1, memory_order_relaxed);
    (void)close(fd);
}

/* The state of an entity of some thousand events. */
static void one_state(void)
{
    static char buf[65536];
    const char *path = any(2) ? at("entities/bank/%u/state.json", any(50))
                              : at("entities/echo/e%u/state.json", any(200));
    uint64_t begin = clock_ns();
    int fd = open(path, O_RDONLY | O_CLOEXEC);

    if (fd < 0 && errno != ENOENT)
        give_up("%s: %s", path, strerror(errno));
    if (fd < 0)
        return;
    ssize_t r = read(fd, buf, sizeof buf);
    if (r < 2 || buf[0] != '{' || buf[r - 1] != '\n')
        give_up("%s: is no state: %zd bytes", path, r);
    (void)close(fd);
    took(OP_STATE, begin);
}

static void one_list(const char *dir)
{
    uint64_t begin = clock_ns();
    DIR *d = opendir(at("%s", dir));
    unsigned n = 0;

    if (!d)
        give_up("%s: %s", dir, strerror(errno));
    while (readdir(d))
        n++;
    if (n < 2)
        give_up("%s: lists %u entries", dir, n);
    (void)closedir(d);
    took(OP_LIST, begin);
}

static void lists_and_states(void)
{
    static const char *const dirs[] = {"entities", "entities/echo", "entities/bulk/3", "types",
                                       "entities/bank"};
    struct stat st;

    while (tick(100)) {
        unsigned what = any(10);
        if (what == 0) {
            one_list(dirs[any(5)]);
        } else if (what < 4) {
            one_state();
        } else {
            uint64_t begin = clock_ns();
            if (stat(at("%s/events.jsonl", any(2) ? "entities/echo/e7" : "."), &st) < 0 &&
                errno != ENOENT)
                give_up("stat: %s", strerror(errno));
            took(OP_STAT, begin);
        }
    }
}

/* Tenants that are opened and closed while all of it goes on: a stat shows it at once. */
static void tenants(void)
{
    struct stat st;
    char path[512];

    for (int i = 0; i < TENANTS; i++)
        if (mkdir(at("entities/tenant/%d", i), 0700) < 0 && errno != EEXIST)
            give_up("mkdir: %s", strerror(errno));
    while (tick(20)) {
        mode_t mode = any(2) ? 0750 : 0700;
        (void)snprintf(path, sizeof path, "%s", at("entities/tenant/%u", any(TENANTS)));
        uint64_t begin = clock_ns();
        if (chmod(path, mode) < 0)
            give_up("chmod: %s", strerror(errno));
        took(OP_CHMOD, begin);
        if (stat(path, &st) < 0 || (st.st_mode & 07777) != mode)
            give_up("%s: chmod %o, but its mode is %o", path, mode, st.st_mode & 07777);
    }
}

/* Private mappings, the disk's figures, .evfs/. */
static void watchers(void)
{
    static char buf[65536];
    struct statvfs sv;
    struct stat st;

    while (tick(20)) {
        int fd = open(at("types/b7/events.jsonl"), O_RDONLY | O_CLOEXEC);
        uint64_t begin = clock_ns();
        if (fd >= 0 && fstat(fd, &st) == 0 && st.st_size > 0) {
            size_t n = (size_t)st.st_size < 65536 ? (size_t)st.st_size : 65536;
            const char *p = mmap(NULL, n, PROT_READ, MAP_PRIVATE, fd, 0);
            if (p == MAP_FAILED)
                give_up("mmap: %s", strerror(errno));
            if (p[0] != '{' || memchr(p, '\0', n))
                give_up("a mapping shows other bytes than the file has");
            (void)munmap((void *)(uintptr_t)p, n);
            took(OP_MAP, begin);
        }
        if (fd >= 0)
            (void)close(fd);
        begin = clock_ns();
        fd = open_or_die(at(".evfs/health"), O_RDONLY);
        ssize_t r = read(fd, buf, sizeof buf - 1);
        (void)close(fd);
        if (r < 0 || statvfs(root, &sv) < 0)
            give_up("health or statvfs: %s", strerror(errno));
        buf[r] = '\0';
        if (strstr(buf, "read-only") || strstr(buf, "damage"))
            give_up("health: %s", buf);
        took(OP_STATS, begin);
    }
}

static const struct {
    const char *name;
    void (*run)(void);
} clients[CLIENTS] = {
    {"appends", appends},   {"appends", appends},
    {"appends", appends},   {"echoes", echoes},
    {"echoes", echoes},     {"transactions", transactions},
    {"fsync", syncs},       {"O_DSYNC", dsyncs},
    {"bulk", bulk},         {"new entities", new_entities},
    {"refused", refused},   {"readers", readers},
    {"follower", follower}, {"lists and states", lists_and_states},
    {"tenants", tenants},   {"watchers", watchers},
};

const char *client_name(int i)
{
    return clients[i].name;
}

void client(int i)
{
    self = i;
    random_state = (unsigned)i * 7919u + 1;
    clients[i].run();
}
