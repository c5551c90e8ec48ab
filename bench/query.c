/* SPDX-License-Identifier: MIT */
/* evfs-query: asks a store in this process, and SQLite with the same lines, the same questions in turns. A run
 * prints a line for each: its name, and the microseconds of an answer.
 *   evfs-query [--fill FILE] [--sqlite FILE] [--runs R] [--limit N] [--no-states] DIR QUESTION...
 * --no-states: the store keeps none. --fill appends FILE before; --sqlite makes a database there if there is none, asked by "sqlite:QUESTION". Questions
 * are those of query_store.c; entity and type are drawn at random from all, the same in every question.
 * (1) Every page of the log is read before the clock runs.  (2) A question and its twin in SQLite have answers of
 * as many bytes: else this program fails.  (3) A figure is the mean of as many answers as take 50 ms. */
#include "query.h"

#include <getopt.h>

#define SAMPLE_NS   50000000u
#define SAMPLE_MAX  100000u
#define COMPARED    20u
#define WARM_BYTES  ((size_t)1 << 20)
#define ANSWER_SEED 0x9e3779b97f4a7c15u

static const char usage[] = "usage: evfs-query [--fill FILE] [--sqlite FILE] "
                            "[--runs R] [--limit N] [--no-states] DIR "
                            "[sqlite:]QUESTION...\n";

static uint64_t next_random(uint64_t *state) /* xorshift64*, Vigna 2016 */
{
    *state ^= *state >> 12;
    *state ^= *state << 25;
    *state ^= *state >> 27;
    return *state * 0x2545f4914f6cdd1du;
}

static const struct question *find_question(const char *name)
{
    bool sqlite = strncmp(name, "sqlite:", 7) == 0;
    const struct question *q = sqlite ? sqlite_questions : store_questions;

    for (name += sqlite ? 7 : 0; q->name; q++)
        if (strcmp(q->name, name) == 0)
            return q;
    fprintf(stderr, "%s: no such question\n", name);
    exit(2);
}

/* Entities: all that have events and nothing below, in order of first
 * appearance. */
static void add_entity(struct world *w, evs_entity e)
{
    if (w->entities % 1024 == 0) {
        w->entity = realloc(w->entity, (w->entities + 1024) * sizeof *w->entity);
        if (!w->entity)
            die("entities", NULL);
    }
    int n = evs_entity_name(w->st, e, w->entity[w->entities], NAME_BYTES - 1);
    if (n < 0)
        die("the name of an entity", NULL);
    w->entity[w->entities++][n] = '\0';
}

static void look_around(struct world *w)
{
    for (evs_entity d = 0; (d = evs_next_child(w->st, EVS_ROOT, d));)
        for (evs_entity e = 0; (e = evs_next_child(w->st, d, e));)
            add_entity(w, e);
    w->types = evs_type_count(w->st);
    w->end = evs_end(w->st);
    if (w->entities == 0) {
        fprintf(stderr, "the store has no entities\n");
        exit(1);
    }
}

/* (1) */
static void read_log(struct world *w)
{
    struct evs_cursor *c;
    struct evs_error err;
    uint64_t at = 0;
    ssize_t n;

    if (evs_cursor_new(w->st, &(struct evs_view){.kind = EVS_ALL}, &c, &err) < 0)
        die("cursor", &err);
    world_room(w, WARM_BYTES);
    for (; (n = evs_cursor_read(c, at, w->buf, WARM_BYTES, &err)) != 0; at += (uint64_t)n)
        if (n < 0)
            die("read", &err);
    evs_cursor_free(c);
}

/* Microseconds an answer. */
static double sample(struct world *w, const struct question *q, uint64_t seed)
{
    uint64_t begin = now_ns(), ns = 0, i = 0;

    for (; i < SAMPLE_MAX && ns < SAMPLE_NS; i++, ns = now_ns() - begin) {
        w->random = next_random(&seed);
        q->ask(w);
    }
    return (double)ns / 1e3 / (double)i;
}

/* Bytes of the first answers. */
static uint64_t answered(struct world *w, const struct question *q)
{
    uint64_t seed = ANSWER_SEED;

    w->bytes = w->turn = 0;
    for (unsigned i = 0; i < COMPARED; i++) {
        w->random = next_random(&seed);
        q->ask(w);
    }
    return w->bytes;
}

static void compare(struct world *w, const char *name)
{
    for (const struct question *q = sqlite_questions; w->sq && q->name; q++) {
        if (strcmp(q->name, name) != 0)
            continue;
        uint64_t here = answered(w, find_question(name)), there = answered(w, q);
        if (here != there) {
            fprintf(stderr, "%s: %" PRIu64 " bytes, from SQLite %" PRIu64 "\n", name, here, there);
            exit(1);
        }
    }
}

int main(int argc, char **argv)
{
    static const struct option options[] = {
        {"fill", required_argument, NULL, 'f'}, {"sqlite", required_argument, NULL, 's'},
        {"runs", required_argument, NULL, 'r'}, {"limit", required_argument, NULL, 'l'},
        {"no-states", no_argument, NULL, 'n'},  {0}};
    const char *fill = NULL, *sqlite = NULL;
    struct world w = {.limit = 100};
    struct evs_options options_of_store = {.sync_interval_ms = NO_SYNC};
    struct evs_writer *writer;
    size_t runs = 10;

    for (int c; (c = getopt_long(argc, argv, "", options, NULL)) != -1;) {
        if (c == 'f')
            fill = optarg;
        else if (c == 's')
            sqlite = optarg;
        else if (c == 'r')
            runs = strtoull(optarg, NULL, 10);
        else if (c == 'n')
            options_of_store.state_bytes = UINT64_MAX;
        else if (c == 'l')
            w.limit = strtoull(optarg, NULL, 10);
        else
            return fputs(usage, stderr), 2;
    }
    if (argc - optind < 2 || w.limit == 0)
        return fputs(usage, stderr), 2;
    w.st = open_store_with(argv[optind], &options_of_store, &writer);
    if (fill) {
        size_t n;
        char *text = load_file(fill, &n);
        append_all(writer, text, n);
        free(text);
    }
    look_around(&w);
    if (sqlite)
        w.sq = sqlite_open_lines(sqlite, w.st);
    read_log(&w);
    for (int i = optind + 1; i < argc; i++)
        if (strncmp(argv[i], "sqlite:", 7) != 0)
            compare(&w, argv[i]);
    for (size_t run = 0; run <= runs; run++)
        for (int i = optind + 1; i < argc; i++) {
            double us = sample(&w, find_question(argv[i]), ANSWER_SEED + run);
            if (run > 0)
                printf("%s %.3f\n", argv[i], us);
        }
    sqlite_done(w.sq);
    free(w.entity);
    free(w.buf);
    close_store(w.st, writer);
    return 0;
}
