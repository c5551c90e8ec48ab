/* SPDX-License-Identifier: MIT */
/* evfs-gate: one workload at a time, small and always the same, for bench/gate.sh: it runs under callgrind, which
 * counts the instructions of measured() and nothing else. What is counted is this thread's work.
 *   evfs-gate list            names, and how many units measured() does of what
 *   evfs-gate id              what a count depends on: compiler, C library, instruction set
 *   evfs-gate speed           steps a nanosecond of a chain of dependent steps: the processor's clock, as work sees it
 *   evfs-gate run NAME DIR    DIR: must not exist; only those on disk make it
 *   evfs-gate time NAME DIR   nanoseconds a unit, over those of a loop that never changes; the least of 15 */
#include "bench.h"

#include <gnu/libc-version.h>

#define EVENTS     20000 /* half of them before measured() */
#define ENTITIES   100
#define LINE_BYTES 200
#define TYPES      20
#define LOOKUPS    10000
#define BIG_EVENTS 1000
#define LARGE      4 /* entities, of so many events that they have sets for types before measured() */
#define READ_BYTES (128u << 10)
#define TIME_RUNS  15
#define REFERENCE  2000000 /* steps of the loop that never changes */
#define OF_ENTITY  (EVENTS / ENTITIES)
#define ENTITY_FMT "orders/%07u"
#define NOINLINE   __attribute__((noinline))

struct job {
    const struct workload *w;
    const char *dir;
    struct evs_store *st;
    struct evs_writer *writer;
    char *text; /* EVENTS lines of LINE_BYTES */
    char buf[READ_BYTES];
};

struct workload {
    const char *name, *unit;
    size_t units;
    void (*run)(struct job *job);
    size_t batch;    /* of those that append: events a write */
    uint32_t spread; /* entities; 0: each event its own */
    bool on_disk, no_schemas;
};

/* ---- input ---- */

static void make_line(char *out, uint32_t i, uint32_t entity)
{
    char line[LINE_BYTES + 1];
    int n = snprintf(line, sizeof line,
                     "{\"entity\":\"" ENTITY_FMT "\",\"type\":\"type-%02u\",\"data\":{\"n\":%u,"
                     "\"customer\":\"c-%08x\",\"total\":%u.25,\"note\":\"",
                     entity, i * 7 % TYPES, i, i * 2654435761u, i * 31);

    memset(line + n, 'x', sizeof line - (size_t)n);
    memcpy(line + LINE_BYTES - 4, "\"}}\n", 4);
    memcpy(out, line, LINE_BYTES);
}

static char *make_text(uint32_t spread)
{
    char *text = malloc((size_t)EVENTS * LINE_BYTES);

    if (!text)
        die("input", NULL);
    for (uint32_t i = 0; i < EVENTS; i++)
        make_line(text + (size_t)i * LINE_BYTES, i, spread ? i * 37 % spread : i);
    return text;
}

/* ---- what is measured ---- */

static void ingest(struct job *job)
{
    for (size_t i = EVENTS / 2; i < EVENTS; i += job->w->batch)
        append_all(job->writer, job->text + i * LINE_BYTES, job->w->batch * LINE_BYTES);
}

/* The same, where a schema is pinned to each type. */
static void ingest_pinned(struct job *job)
{
    ingest(job);
}

static void pin_all(struct evs_store *st)
{
    static const char schema[] =
        "{\"type\":\"object\",\"required\":[\"n\",\"customer\",\"total\"],\"properties\":{"
        "\"n\":{\"type\":\"integer\",\"minimum\":0},\"customer\":{\"type\":\"string\"},"
        "\"total\":{\"type\":\"number\"},\"note\":{\"type\":\"string\",\"maxLength\":1000}},"
        "\"additionalProperties\":false}";
    const struct evs_cred cred = {.uid = getuid()};
    struct evs_error err;

    for (uint32_t i = 0; i < TYPES; i++) {
        char name[16];
        const struct evs_dir d = {EVS_DIR_TYPE, name, (size_t)sprintf(name, "type-%02u", i)};
        if (evs_pin_set(st, &d, schema, sizeof schema - 1, &cred, &err) < 0)
            die("pin", &err);
    }
}

static void read_view(struct job *job, const struct evs_view *v, uint64_t events)
{
    struct evs_cursor *c;
    struct evs_extent x;
    struct evs_error err;
    uint64_t pos = 0;
    ssize_t n;

    if (evs_view_extent(job->st, v, &x) < 0 || x.events != events ||
        evs_cursor_new(job->st, v, &c, &err) < 0)
        die("view", NULL);
    while ((n = evs_cursor_read(c, pos, job->buf, sizeof job->buf, &err)) > 0)
        pos += (uint64_t)n;
    if (n < 0 || pos != x.bytes)
        die("read", &err);
    evs_cursor_free(c);
}

static evs_entity entity_of(struct job *job, uint32_t i)
{
    char id[40];
    int n = snprintf(id, sizeof id, ENTITY_FMT, i);
    evs_entity e = evs_find_entity(job->st, id, (size_t)n);

    if (!e)
        die(id, NULL);
    return e;
}

static void query_entities(struct job *job)
{
    for (uint32_t i = 0; i < ENTITIES; i++)
        read_view(job, &(struct evs_view){.kind = EVS_OWN, .entity = entity_of(job, i)}, OF_ENTITY);
}

static void read_big(struct job *job)
{
    for (uint32_t i = 0; i < EVENTS / BIG_EVENTS; i++)
        read_view(job, &(struct evs_view){.kind = EVS_OWN, .entity = entity_of(job, i)},
                  BIG_EVENTS);
}

static void query_types(struct job *job)
{
    for (evs_type t = 1; t <= TYPES; t++)
        read_view(job, &(struct evs_view){.kind = EVS_TYPE, .type = t}, EVENTS / TYPES);
}

static void scan(struct job *job)
{
    read_view(job, &(struct evs_view){.kind = EVS_ALL}, EVENTS);
}

static void look_up(struct job *job)
{
    for (uint32_t i = 0; i < LOOKUPS; i++)
        (void)entity_of(job, i * 61 % ENTITIES);
}

static void find(struct job *job)
{
    struct evs_cursor *c;
    struct evs_error err;
    uint64_t pos;
    const struct evs_view v = {.kind = EVS_OWN, .entity = entity_of(job, 1)};

    if (evs_cursor_new(job->st, &v, &c, &err) < 0)
        die("cursor", &err);
    for (uint32_t i = 0; i < LOOKUPS; i++)
        if (evs_cursor_find(c, i * 7919 % EVENTS, &pos, &err) < 0)
            die("find", &err);
    evs_cursor_free(c);
}

static void state(struct job *job)
{
    for (uint32_t i = 0; i < EVENTS / BIG_EVENTS; i++) {
        struct evs_error err;
        char *json;
        size_t n;
        if (evs_state(job->st, entity_of(job, i), &json, &n, &err) < 0)
            die("state", &err);
        free(json);
    }
}

static void reopen(struct job *job)
{
    job->st = open_store(job->dir, NO_SYNC, &job->writer);
}

/* ---- the list ---- */

static const struct workload workloads[] = {
    {"ingest_single", "event", EVENTS / 2, ingest, 1, ENTITIES, false, false},
    {"ingest_batch_100", "event", EVENTS / 2, ingest, 100, ENTITIES, false, false},
    {"ingest_batch_1000", "event", EVENTS / 2, ingest, 1000, ENTITIES, false, false},
    {"ingest_no_schemas", "event", EVENTS / 2, ingest, 1000, ENTITIES, false, true},
    {"ingest_batch_10000", "event", EVENTS / 2, ingest, 10000, ENTITIES, false, false},
    {"ingest_pinned_1000", "event", EVENTS / 2, ingest_pinned, 1000, ENTITIES, false, true},
    {"ingest_new_entities", "event", EVENTS / 2, ingest, 1000, 0, false, false},
    {"ingest_large_entities", "event", EVENTS / 2, ingest, 1000, LARGE, false, false},
    {"ingest_disk_1000", "event", EVENTS / 2, ingest, 1000, ENTITIES, true, false},
    {"query_after_ingest", "query", ENTITIES, query_entities, 0, ENTITIES, false, false},
    {"query_after_ingest_disk", "query", ENTITIES, query_entities, 0, ENTITIES, true, false},
    {"query_type", "query", TYPES, query_types, 0, ENTITIES, false, false},
    {"read_entity_1000", "event", EVENTS, read_big, 0, EVENTS / BIG_EVENTS, false, false},
    {"scan", "event", EVENTS, scan, 0, ENTITIES, false, false},
    {"look_up", "look-up", LOOKUPS, look_up, 0, ENTITIES, false, false},
    {"find_seq", "look-up", LOOKUPS, find, 0, ENTITIES, false, false},
    {"state_1000", "event", EVENTS, state, 0, EVENTS / BIG_EVENTS, false, false},
    {"open_checkpoint", "open", 1, reopen, 0, ENTITIES, true, false},
    {"open_replay", "event", EVENTS, reopen, 0, ENTITIES, true, false},
};

static const struct workload *find_workload(const char *name)
{
    for (size_t i = 0; i < sizeof workloads / sizeof *workloads; i++)
        if (strcmp(workloads[i].name, name) == 0)
            return &workloads[i];
    fprintf(stderr, "%s: no such workload\n", name);
    exit(2);
}

/* ---- running ---- */

NOINLINE void measured(struct job *job); /* the name that callgrind is told */
void measured(struct job *job)
{
    job->w->run(job);
    __asm__ volatile("" ::: "memory");
}

static void prepare(struct job *job)
{
    const struct workload *w = job->w;
    char path[4200];

    job->text = make_text(w->spread);
    job->st = open_store_with(
        w->on_disk ? job->dir : ":memory:",
        &(struct evs_options){.sync_interval_ms = NO_SYNC, .no_schemas = w->no_schemas},
        &job->writer);
    if (w->run == ingest_pinned)
        pin_all(job->st);
    append_all(job->writer, job->text, (size_t)(w->batch ? EVENTS / 2 : EVENTS) * LINE_BYTES);
    (void)evs_schema_versions(job->st, 1); /* what was appended is learned: shapes are known */
    if (w->run != reopen)
        return;
    close_store(job->st, job->writer);
    (void)snprintf(path, sizeof path, "%s/index.ckpt", job->dir);
    if (strcmp(w->name, "open_replay") == 0 && unlink(path) < 0)
        die(path, NULL);
}

static void finish(struct job *job)
{
    if (evs_end(job->st) != EVENTS) {
        fprintf(stderr, "%s: %" PRIu64 " events, not %d\n", job->w->name, evs_end(job->st), EVENTS);
        exit(1);
    }
    close_store(job->st, job->writer);
    free(job->text);
}

static void clear(const char *dir)
{
    char command[4200];

    (void)snprintf(command, sizeof command, "rm -rf -- '%s'", dir);
    if (strchr(dir, '\'') || system(command) != 0)
        die(dir, NULL);
}

static uint64_t reference_ns(void)
{
    uint64_t begin = now_ns(), x = 88172645463325252u;

    for (int i = 0; i < REFERENCE; i++) {
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        __asm__ volatile("" : "+r"(x));
    }
    return now_ns() - begin;
}

/* Steps a nanosecond of that loop, of which each waits for the one before and takes a cycle. */
static void print_speed(void)
{
    uint64_t least = UINT64_MAX;

    for (int i = 0; i < 20; i++) {
        uint64_t ns = reference_ns();
        least = ns < least ? ns : least;
    }
    printf("%.2f\n", 6.0 * REFERENCE / (double)least);
}

/* The least of both: what the machine does when nobody is in the way. */
static void print_time(struct job *job)
{
    uint64_t least = UINT64_MAX, reference = UINT64_MAX;

    for (int i = 0; i < TIME_RUNS; i++) {
        prepare(job);
        uint64_t r = reference_ns(), begin = now_ns();
        measured(job);
        uint64_t ns = now_ns() - begin;
        finish(job);
        clear(job->dir);
        least = ns < least ? ns : least;
        reference = r < reference ? r : reference;
    }
    printf("%.6f\n", (double)least / (double)job->w->units / (double)reference);
}

static void print_id(void)
{
#ifdef __clang__
    printf("clang-%s", __clang_version__);
#else
    printf("gcc-%s", __VERSION__);
#endif
    printf(" glibc-%s", gnu_get_libc_version());
#ifdef __x86_64__
    /* Whose it is matters no more: by the limits that gate.sh sets, glibc copies the same way everywhere. */
    printf(" x86_64%s", __builtin_cpu_supports("avx2") ? "+avx2" : "");
#elif defined __aarch64__
    printf(" aarch64");
#endif
    printf("\n");
}

int main(int argc, char **argv)
{
    static struct job job;

    if (argc == 2 && strcmp(argv[1], "list") == 0) {
        for (size_t i = 0; i < sizeof workloads / sizeof *workloads; i++)
            printf("%s %zu %s\n", workloads[i].name, workloads[i].units, workloads[i].unit);
        return 0;
    }
    if (argc == 2 && strcmp(argv[1], "id") == 0)
        return print_id(), 0;
    if (argc == 2 && strcmp(argv[1], "speed") == 0)
        return print_speed(), 0;
    if (argc != 4 || (strcmp(argv[1], "run") != 0 && strcmp(argv[1], "time") != 0))
        return fputs("usage: evfs-gate list | id | speed | run NAME DIR | time NAME DIR\n", stderr),
               2;
    job.w = find_workload(argv[2]);
    job.dir = argv[3];
    if (argv[1][0] == 't')
        return print_time(&job), 0;
    prepare(&job);
    measured(&job);
    finish(&job);
    return 0;
}
