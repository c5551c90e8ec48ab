/* SPDX-License-Identifier: MIT */
/* evfs-ingest: appends the lines of a file to a store in this process, in batches. The input is in
 * memory before the clock runs; each run has a fresh store; the first is a warm-up and not printed.
 * What a run prints depends on the mode:
 *   rate     events a second, from the first write to the return of the last; not synced
 *   plain    the same bytes in the same batches by write(2) to a plain file: what rate is compared to
 *   allocs   heap allocations an event in the second half of the input
 *   memory   bytes an event of the index without names and ids, of names, of writers' ids */
#include "alloc_count.h"
#include "bench.h"

#include <getopt.h>

struct plan {
    const char *dir; /* a directory that must not exist yet, or ":memory:" */
    const char *mode;
    size_t runs, batch;
    bool no_schemas;
    char *text;
    size_t n;
};

static const char usage[] =
    "usage: evfs-ingest [--dir DIR] [--mode rate|plain|allocs|memory] [--runs R] [--batch EVENTS] "
    "[--no-schemas] FILE\n";

static void print_memory(struct evs_store *st)
{
    struct evs_stats s;

    evs_stats(st, &s);
    double n = (double)s.events;
    printf("%.2f %.2f %.2f\n", (double)(s.index_bytes - s.names_bytes - s.id_bytes) / n,
           (double)s.names_bytes / n, (double)s.id_bytes / n);
}

/* One run; shown: print its figure. */
static void run_store(const struct plan *p, bool shown)
{
    struct evs_writer *w;
    const struct evs_options options = {.sync_interval_ms = NO_SYNC, .no_schemas = p->no_schemas};
    struct evs_store *st = open_store_with(p->dir, &options, &w);
    size_t events = 0, half_events = 0, lines;
    uint64_t half_allocs = 0, ns = 0;

    for (size_t at = 0; at < p->n;) {
        size_t bytes = next_batch(p->text + at, p->n - at, p->batch, &lines);
        if (!half_events && at >= p->n / 2) {
            half_events = events;
            (void)evs_schema_versions(st, 1); /* what was appended is learned */
            half_allocs = alloc_count();
        }
        uint64_t begin = now_ns();
        append_all(w, p->text + at, bytes);
        ns += now_ns() - begin;
        at += bytes;
        events += lines;
    }
    uint64_t allocs = alloc_count() - half_allocs;
    if (evs_end(st) != events) {
        fprintf(stderr, "stored %" PRIu64 " of %zu events\n", evs_end(st), events);
        exit(1);
    }
    if (shown && strcmp(p->mode, "rate") == 0)
        printf("%.0f\n", (double)events * 1e9 / (double)ns);
    if (shown && strcmp(p->mode, "allocs") == 0)
        printf("%.6f\n", (double)allocs / (double)(events - half_events));
    if (shown && strcmp(p->mode, "memory") == 0)
        print_memory(st);
    close_store(st, w);
}

static void run_plain(const struct plan *p, bool shown)
{
    int fd = open(p->dir, O_WRONLY | O_CREAT | O_TRUNC | O_APPEND | O_CLOEXEC, 0600);
    size_t events = 0, lines;
    uint64_t ns = 0;

    if (fd < 0)
        die(p->dir, NULL);
    for (size_t at = 0; at < p->n;) {
        size_t bytes = next_batch(p->text + at, p->n - at, p->batch, &lines);
        uint64_t begin = now_ns();
        if (write(fd, p->text + at, bytes) != (ssize_t)bytes)
            die(p->dir, NULL);
        ns += now_ns() - begin;
        at += bytes;
        events += lines;
    }
    if (shown)
        printf("%.0f\n", (double)events * 1e9 / (double)ns);
    (void)close(fd);
}

/* Between runs, not timed: the directory of the last one. */
static void clear(const char *dir)
{
    char command[4200];

    if (strcmp(dir, ":memory:") == 0)
        return;
    (void)snprintf(command, sizeof command, "rm -rf -- '%s'", dir);
    if (strchr(dir, '\'') || system(command) != 0)
        die(dir, NULL);
}

int main(int argc, char **argv)
{
    static const struct option options[] = {
        {"dir", required_argument, NULL, 'd'},  {"mode", required_argument, NULL, 'm'},
        {"runs", required_argument, NULL, 'r'}, {"batch", required_argument, NULL, 'b'},
        {"no-schemas", no_argument, NULL, 'n'}, {0}};
    struct plan p = {.dir = ":memory:", .mode = "rate", .runs = 5, .batch = 10000};

    for (int c; (c = getopt_long(argc, argv, "", options, NULL)) != -1;) {
        if (c == 'd')
            p.dir = optarg;
        else if (c == 'm')
            p.mode = optarg;
        else if (c == 'r')
            p.runs = strtoull(optarg, NULL, 10);
        else if (c == 'n')
            p.no_schemas = true;
        else if (c == 'b')
            p.batch = strtoull(optarg, NULL, 10);
        else
            return fputs(usage, stderr), 2;
    }
    if (optind + 1 != argc || p.runs == 0 || p.batch == 0)
        return fputs(usage, stderr), 2;
    p.text = load_file(argv[optind], &p.n);
    for (size_t i = 0; i <= p.runs; i++) {
        clear(p.dir);
        if (strcmp(p.mode, "plain") == 0)
            run_plain(&p, i > 0);
        else
            run_store(&p, i > 0);
        (void)fflush(stdout);
    }
    clear(p.dir);
    free(p.text);
    return 0;
}
