/* SPDX-License-Identifier: MIT */
/* evfs-scaling: what an append and a question cost while a store grows, ten times from size to size.
 *   evfs-scaling DIR RUNS WARM SIZE...   DIR: must not exist. WARM: see (3). SIZE: events, ascending
 * prints a line for each run: size, what, microseconds (or milliseconds, bytes, as the name says).
 * (1) Events of 200 bytes, of 20 types at random. A million neighbours have 10,000 entities, with 100 events each
 *     about: how far the events of an entity lie apart does not depend on the size, nor does its number of events.
 * (2) Asked are the same number of entities at each size, of the whole store, all of which were asked before the clock
 *     runs: their lines are in memory, whether all of the store would fit or not.
 * (3) Appends: 10,000 events a run, to 100 entities that are new, a thousand a write, not synced: the same work in
 *     each store, after all else is measured there; for the least size in a store of that size for each run, DIR-1,
 *     DIR-2 and so on. They stay: the next size has those of the sizes before beside its own. Before, what types look like is learned, what was appended until then is written to the disk,
 *     so that nothing waits for that, and the shell command WARM runs (lib.sh: warm). */
#include "query.h"

#define LINE_BYTES   200
#define TYPES        20
#define BATCH        1000u
#define ERA          1000000u /* events that share their entities */
#define PER_ENTITY   100u
#define SEED         88172645463325252u
#define SAMPLE       500u   /* entities that are asked */
#define APPENDED     100u   /* entities */
#define APPEND_RUN   10000u /* events */
#define QUESTION_MIN 500u   /* answers a run */

static const char *const asked[] = {"entity", "type-newest", "count-entity", "as-of", "state"};

struct growth {
    struct evs_writer *writer;
    uint64_t n, appended, random;
    char text[BATCH * LINE_BYTES];
};

static uint64_t next_random(uint64_t *state) /* xorshift64*, Vigna 2016 */
{
    *state ^= *state >> 12;
    *state ^= *state << 25;
    *state ^= *state >> 27;
    return *state * 0x2545f4914f6cdd1du;
}

/* Entities of an era of so many events, of which there are some so far. */
static uint64_t entities_in(uint64_t events)
{
    return events < PER_ENTITY ? 1 : events / PER_ENTITY;
}

static void make_line(struct growth *g, char *to, const char *directory, uint64_t entity)
{
    uint64_t r = next_random(&g->random);
    char line[LINE_BYTES + 1];
    int n =
        snprintf(line, sizeof line,
                 "{\"entity\":\"%s/%07" PRIu64 "\",\"type\":\"type-%02u\",\"data\":{\"n\":%" PRIu64
                 ",\"customer\":\"c-%08x\",\"total\":%u.25,\"note\":\"",
                 directory, entity, (unsigned)(r % TYPES), g->n, (unsigned)r, (unsigned)(r >> 40));
    memset(line + n, 'x', sizeof line - (size_t)n);
    memcpy(line + LINE_BYTES - 4, "\"}}\n", 4);
    memcpy(to, line, LINE_BYTES);
}

/* Append what was made; the nanoseconds that it took. */
static uint64_t append_batch(struct growth *g, uint32_t lines)
{
    uint64_t begin = now_ns();

    append_all(g->writer, g->text, (size_t)lines * LINE_BYTES);
    return now_ns() - begin;
}

/* Append up to `size` events. */
static void grow(struct growth *g, uint64_t size)
{
    const uint64_t entities = entities_in(size < ERA ? size : ERA);

    while (g->n < size) {
        uint32_t lines = 0;
        for (; lines < BATCH && g->n < size; lines++, g->n++)
            make_line(g, g->text + (size_t)lines * LINE_BYTES, "orders",
                      g->n / ERA * (ERA / PER_ENTITY) + next_random(&g->random) % entities);
        (void)append_batch(g, lines);
    }
}

static void print(uint64_t size, const char *what, double v)
{
    printf("%" PRIu64 " %s %.3f\n", size, what, v);
}

/* (3) */
static void measure_appends(struct evs_store *st, struct growth *g, uint64_t size, uint64_t runs,
                            const char *warm)
{
    (void)evs_schema_versions(st, 1); /* waits */
    sync();
    if (system(warm) != 0) {
        fprintf(stderr, "failed: %s\n", warm);
        exit(1);
    }
    for (uint64_t i = 0; i < runs; i++) {
        uint64_t ns = 0;
        for (uint32_t done = 0; done < APPEND_RUN; done += BATCH) {
            for (uint32_t k = 0; k < BATCH; k++)
                make_line(g, g->text + (size_t)k * LINE_BYTES, "appended",
                          g->appended + next_random(&g->random) % APPENDED);
            ns += append_batch(g, BATCH);
        }
        g->appended += APPENDED;
        print(size, "append", (double)ns / 1e3 / APPEND_RUN);
    }
}

/* Names that are there: an entity of some event each. */
static void take_sample(struct world *w, struct growth *g)
{
    struct evs_cursor *c;
    struct evs_error err;
    char line[400];

    if (evs_cursor_new(w->st, &(struct evs_view){.kind = EVS_ALL}, &c, &err) < 0)
        die("cursor", &err);
    for (w->entities = 0; w->entities < SAMPLE;) {
        uint64_t pos;
        ssize_t got;
        if (evs_cursor_find(c, next_random(&g->random) % w->end, &pos, &err) < 0 ||
            (got = evs_cursor_read(c, pos, line, sizeof line - 1, &err)) <= 0)
            die("read", &err);
        line[got] = '\0';
        const char *name = strstr(line, "orders/");
        size_t n = name ? strcspn(name, "\"") : NAME_BYTES;
        if (n >= NAME_BYTES)
            continue; /* see (3) */
        memcpy(w->entity[w->entities], name, n);
        w->entity[w->entities++][n] = '\0';
    }
    evs_cursor_free(c);
}

static void ask_all(struct world *w, const char *name, uint64_t size, uint64_t runs,
                    uint64_t *random)
{
    const struct question *q = store_questions;

    while (strcmp(q->name, name) != 0)
        q++;
    for (uint64_t run = 0; run <= runs; run++) {
        uint64_t begin = now_ns();
        for (w->turn = 0; w->turn < QUESTION_MIN;) {
            uint64_t turn = w->turn;
            w->random = run ? next_random(random) : turn; /* the first: each entity, each type */
            q->ask(w);
            w->turn = turn + 1;
        }
        if (run)
            print(size, name, (double)(now_ns() - begin) / 1e3 / QUESTION_MIN);
    }
}

static struct evs_store *open_grown(const char *dir, struct evs_writer **ret_w)
{
    const struct evs_options options = {
        .sync_interval_ms = NO_SYNC, .compress = -1, .state_bytes = UINT64_MAX};

    return open_store_with(dir, &options, ret_w);
}

static void measure_least(const char *dir, uint64_t size, uint64_t runs, const char *warm)
{
    static struct growth g;

    for (uint64_t run = 1; run <= runs; run++) {
        char name[4096];
        snprintf(name, sizeof name, "%s-%" PRIu64, dir, run);
        g.n = g.appended = 0;
        g.random = SEED + run;
        struct evs_store *st = open_grown(name, &g.writer);
        grow(&g, size);
        measure_appends(st, &g, size, 1, warm);
        close_store(st, g.writer);
    }
}

int main(int argc, char **argv)
{
    static struct growth g = {.random = SEED};
    struct world w = {.limit = 100, .types = TYPES};
    struct evs_stats s;

    if (argc < 5)
        return fputs("usage: evfs-scaling DIR RUNS WARM SIZE...\n", stderr), 2;
    const uint64_t runs = strtoull(argv[2], NULL, 10);
    w.entity = malloc(SAMPLE * sizeof *w.entity);
    if (!w.entity)
        die("memory", NULL);
    w.st = open_grown(argv[1], &g.writer);
    for (int i = 4; i < argc; i++) {
        const uint64_t size = strtoull(argv[i], NULL, 10);
        fprintf(stderr, "# %" PRIu64 " events\n", size);
        grow(&g, size);
        w.end = evs_end(w.st);
        take_sample(&w, &g);
        for (size_t k = 0; k < sizeof asked / sizeof *asked; k++)
            ask_all(&w, asked[k], size, runs, &g.random);
        evs_stats(w.st, &s);
        print(size, "index-bytes", (double)(s.index_bytes - s.names_bytes) / (double)w.end);
        close_store(w.st, g.writer);
        for (uint64_t run = 0; run <= runs; run++) {
            uint64_t begin = now_ns();
            w.st = open_grown(argv[1], &g.writer);
            if (run)
                print(size, "open-ms", (double)(now_ns() - begin) / 1e6);
            if (run < runs)
                close_store(w.st, g.writer);
        }
        if (i == 4)
            measure_least(argv[1], size, runs, argv[3]);
        else
            measure_appends(w.st, &g, size, runs, argv[3]);
        fflush(stdout);
    }
    close_store(w.st, g.writer);
    free(w.entity);
    free(w.buf);
    return 0;
}
