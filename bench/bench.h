/* SPDX-License-Identifier: MIT */
/* bench: what the drivers share. A driver prints one figure a run, a line each, and nothing else on
 * stdout; lib.sh makes medians and tables of them. A driver that can't do its work says why on
 * stderr and ends with 1, so that no figure is made of a failure. */
#ifndef BENCH_H
#define BENCH_H

#include "store/evstore.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

static inline uint64_t now_ns(void)
{
    struct timespec t;

    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static inline _Noreturn void die(const char *what, const struct evs_error *err)
{
    char text[512];

    if (err)
        fprintf(stderr, "%s: %s\n", what, evs_error_format(err, text, sizeof text));
    else
        fprintf(stderr, "%s: %s\n", what, strerror(errno));
    exit(1);
}

/* A whole file; malloc'ed, its pages touched. */
static inline char *load_file(const char *path, size_t *ret_n)
{
    struct stat st;
    int fd = open(path, O_RDONLY | O_CLOEXEC);

    if (fd < 0 || fstat(fd, &st) < 0)
        die(path, NULL);
    size_t n = (size_t)st.st_size, got = 0;
    char *p = malloc(n + 1);
    if (!p)
        die(path, NULL);
    while (got < n) {
        ssize_t r = read(fd, p + got, n - got);
        if (r <= 0)
            die(path, NULL);
        got += (size_t)r;
    }
    (void)close(fd);
    *ret_n = n;
    return p;
}

/* Bytes of the next `lines` lines at p, or of what is left; *ret_lines: how many there were. */
static inline size_t next_batch(const char *p, size_t n, size_t lines, size_t *ret_lines)
{
    size_t used = 0, i = 0;

    for (; i < lines && used < n; i++) {
        const char *lf = memchr(p + used, '\n', n - used);
        used = lf ? (size_t)(lf - p) + 1 : n;
    }
    *ret_lines = i;
    return used;
}

static struct evs_cred own_cred; /* asked for once: three system calls are more than an event */

__attribute__((constructor)) static void take_own_cred(void)
{
    own_cred = (struct evs_cred){.uid = getuid(), .gid = getgid(), .pid = getpid()};
}

/* All n bytes, or the end of the program: a benchmark's events are all good. */
static inline void append_all(struct evs_writer *w, const char *p, size_t n)
{
    struct evs_error err;

    while (n > 0) {
        ssize_t r = evs_write(w, p, n, &own_cred, &err);
        if (r < 0)
            die("append", &err);
        p += r;
        n -= (size_t)r;
    }
}

#define NO_SYNC UINT32_MAX /* a sync interval: never in the background */

/* Open, with a writer for whole events. */
static inline struct evs_store *open_store_with(const char *dir, const struct evs_options *options,
                                                struct evs_writer **ret_w)
{
    struct evs_store *st;
    struct evs_error err;

    if (evs_open(dir, options, &st, &err) < 0)
        die(dir, &err);
    if (evs_writer_new(st, &(struct evs_target){.kind = EVS_ALL}, "bench", ret_w, &err) < 0)
        die("writer", &err);
    return st;
}

static inline struct evs_store *open_store(const char *dir, uint32_t sync_interval_ms,
                                           struct evs_writer **ret_w)
{
    return open_store_with(dir, &(struct evs_options){.sync_interval_ms = sync_interval_ms}, ret_w);
}

static inline void close_store(struct evs_store *st, struct evs_writer *w)
{
    struct evs_error err;

    evs_writer_free(w);
    if (evs_close(st, &err) < 0)
        die("close", &err);
}

static inline int compare_u64(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

    return x < y ? -1 : x > y;
}

/* The median of v[n]; sorts it. */
static inline uint64_t median(uint64_t *v, size_t n)
{
    qsort(v, n, sizeof *v, compare_u64);
    return v[n / 2];
}

#endif
