/* SPDX-License-Identifier: MIT */
/* evfs-pack: what compressing sealed segments gives and costs, in this process.
 *   evfs-pack fill DIR FILE BYTES   appends FILE again and again until the log has BYTES; nothing is compressed
 *   evfs-pack pack DIR LEVEL        compresses all but the last segment; prints seconds of processor time, reading
 *                                   back and comparing included
 *   evfs-pack read DIR              prints, RUNS times, "random US" (64 bytes at a random byte, each time another
 *                                   event, checked) and "scan GB/S" (1 MiB at a time, checked, without a copy) */
#include "bench.h"

#include <time.h>

#define READS      5000
#define READ_BYTES 64
#define SCAN_BYTES ((size_t)1 << 20)
#define RUNS       5

static struct evs_store *open_dir(const char *dir, int level, bool read_only)
{
    const struct evs_options o = {.compress = level, .read_only = read_only};
    struct evs_store *st;
    struct evs_error err;

    if (evs_open(dir, &o, &st, &err) < 0)
        die(dir, &err);
    return st;
}

static void close_dir(struct evs_store *st)
{
    struct evs_error err;

    if (evs_close(st, &err) < 0)
        die("close", &err);
}

static void fill(const char *dir, const char *file, uint64_t bytes)
{
    struct evs_store *st = open_dir(dir, -1, false);
    struct evs_stats s = {0};
    struct evs_writer *w;
    struct evs_error err;
    size_t n;
    char *text = load_file(file, &n);

    if (evs_writer_new(st, &(struct evs_target){.kind = EVS_ALL}, "bench", &w, &err) < 0)
        die("writer", &err);
    for (; s.bytes < bytes; evs_stats(st, &s))
        append_all(w, text, n);
    if (evs_sync(st, evs_end(st), &err) < 0)
        die("sync", &err);
    evs_writer_free(w);
    free(text);
    close_dir(st);
}

static double cpu_s(void)
{
    struct timespec t;

    (void)clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

/* All but the last segment. */
static void pack(const char *dir, int level)
{
    struct evs_store *st = open_dir(dir, level, false);
    const struct timespec pause = {.tv_nsec = 20000000};
    struct evs_stats s;
    double begin = cpu_s();

    for (evs_stats(st, &s); s.compressed + 1 < s.segments; evs_stats(st, &s))
        (void)nanosleep(&pause, NULL);
    printf("%.3f\n", cpu_s() - begin);
    close_dir(st);
}

static double random_reads(struct evs_cursor *c, uint64_t bytes)
{
    struct evs_error err;
    char buf[READ_BYTES];
    uint64_t state = 88172645463325252, begin = now_ns();

    for (int i = 0; i < READS; i++) {
        state ^= state << 13; /* xorshift64, Marsaglia 2003 */
        state ^= state >> 7;
        state ^= state << 17;
        if (evs_cursor_read(c, state % (bytes - READ_BYTES), buf, sizeof buf, &err) != READ_BYTES)
            die("read", &err);
    }
    return (double)(now_ns() - begin) / 1e3 / READS;
}

static double scan(struct evs_cursor *c, uint64_t bytes)
{
    struct evs_error err;
    const void *p;
    uint64_t at = 0, begin = now_ns();

    for (ssize_t n; at < bytes; at += (uint64_t)n)
        if ((n = evs_cursor_peek(c, at, SCAN_BYTES, &p, &err)) <= 0)
            die("peek", &err);
    return (double)bytes / (double)(now_ns() - begin);
}

static void read_all(const char *dir)
{
    struct evs_store *st = open_dir(dir, -1, true);
    struct evs_stats s;
    struct evs_cursor *c;
    struct evs_error err;

    evs_stats(st, &s);
    if (evs_cursor_new(st, &(struct evs_view){.kind = EVS_ALL}, &c, &err) < 0)
        die("cursor", &err);
    for (int run = 0; run <= RUNS; run++) {
        double us = random_reads(c, s.bytes), gbs = scan(c, s.bytes);
        if (run > 0)
            printf("random %.2f\nscan %.3f\n", us, gbs);
    }
    evs_cursor_free(c);
    close_dir(st);
}

int main(int argc, char **argv)
{
    if (argc == 5 && strcmp(argv[1], "fill") == 0)
        fill(argv[2], argv[3], strtoull(argv[4], NULL, 10));
    else if (argc == 4 && strcmp(argv[1], "pack") == 0)
        pack(argv[2], (int)strtol(argv[3], NULL, 10));
    else if (argc == 3 && strcmp(argv[1], "read") == 0)
        read_all(argv[2]);
    else
        return fputs("usage: evfs-pack fill DIR FILE BYTES | pack DIR LEVEL | read DIR\n", stderr),
               2;
    return 0;
}
