/* SPDX-License-Identifier: MIT */
/* schemas: what a store learns of its types as it is appended to: the same, whenever and however it learns it. */
#include "model.h"

#include "store/ingest.h"
#include "store/io.h"
#include "store/schemas_state.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <pthread.h>
#include <sys/wait.h>

#define THREADS 4

static struct evs_error err;

/* ---- helpers ---- */

static struct evs_store *open_at(const char *dir, const struct evs_options *o)
{
    struct evs_store *st = NULL;

    CHECK_EQ(evs_open(dir, o, &st, &err), 0);
    return st;
}

static void append(struct evs_store *st, const char *text)
{
    struct evs_writer *w;

    CHECK_EQ(evs_writer_new(st, &(struct evs_target){.kind = EVS_ALL}, NULL, &w, &err), 0);
    CHECK_EQ(evs_write(w, text, strlen(text), &(struct evs_cred){.uid = getuid()}, &err),
             strlen(text));
    evs_writer_free(w);
}

/* Of the newest schema of type t; NULL: there is none. */
static json_t *schema_of(struct evs_store *st, evs_type t)
{
    char *text;
    size_t n;

    if (evs_schema(st, t, 0, &text, &n, &err) < 0)
        return NULL;
    json_t *j = json_loadb(text, n, 0, NULL);
    CHECK(j != NULL && text[n] == '\0' && text[n - 1] == '\n');
    free(text);
    return j;
}

/* Once all is learned, which takes longer than a look waits for it where a tool runs the test. */
static json_int_t count_of(struct evs_store *st, evs_type t)
{
    json_int_t n, through, before = -1;

    for (;;) {
        json_t *j = schema_of(st, t);
        n = json_integer_value(json_object_get(j, "x-evfs-count"));
        through = json_integer_value(json_object_get(j, "x-evfs-through"));
        json_decref(j);
        if (through == (json_int_t)evs_end(st) || through <= before)
            break;
        before = through;
    }
    CHECK_EQ(through, evs_end(st));
    return n;
}

/* Everything that is told about all types. */
static char *all_of(struct evs_store *st)
{
    char *all = NULL, *text;
    size_t n, all_n;
    FILE *f = open_memstream(&all, &all_n);

    for (evs_type t = 1; t <= evs_type_count(st); t++) {
        uint32_t versions = evs_schema_versions(st, t);
        fprintf(f, "type %u, %u versions\n", t, versions);
        for (uint32_t v = 0; v <= versions; v++) {
            text = NULL;
            n = 0;
            CHECK_EQ(evs_schema(st, t, v, &text, &n, &err), 0);
            (void)fwrite(text, 1, n, f);
            free(text);
        }
        text = NULL;
        n = 0;
        CHECK_EQ(evs_schema_changes(st, t, &text, &n, &err), 0);
        (void)fwrite(text, 1, n, f);
        free(text);
    }
    (void)fclose(f);
    return all;
}

static void check_verified(const char *dir)
{
    CHECK_EQ(evs_verify(dir, NULL, NULL, &err), 0);
}

/* ---- what is learned ---- */

static void test_a_schema_is_learned(void)
{
    struct evs_store *st = open_at(":memory:", NULL);
    char *text;
    size_t n;

    append(st, "{\"entity\":\"a\",\"type\":\"t\",\"data\":{\"n\":1,\"at\":\"2026-01-01\"}}\n");
    CHECK_EQ(evs_schema_versions(st, 1), 1);
    append(st, "{\"entity\":\"a\",\"type\":\"t\",\"data\":{\"n\":2}}\n");
    CHECK_EQ(evs_schema_versions(st, 1), 2);
    append(st, "{\"entity\":\"a\",\"type\":\"t\",\"data\":{\"n\":3}}\n");
    CHECK_EQ(evs_schema_versions(st, 1), 2);

    json_t *j = schema_of(st, 1), *required = json_object_get(j, "required");
    CHECK_EQ(json_array_size(required), 1);
    CHECK_STR(json_string_value(json_array_get(required, 0)), "n");
    CHECK_EQ(json_integer_value(json_object_get(j, "x-evfs-count")), 3);
    CHECK_EQ(json_integer_value(json_object_get(j, "x-evfs-version")), 2);
    json_decref(j);

    CHECK_EQ(evs_schema(st, 1, 1, &text, &n, &err), 0);
    CHECK(strstr(text, "\"required\": [\"at\", \"n\"]") != NULL);
    free(text);
    CHECK_FAIL(evs_schema(st, 1, 3, &text, &n, &err), err, NO_SUCH);
    CHECK_FAIL(evs_schema(st, 2, 0, &text, &n, &err), err, NO_SUCH);
    CHECK_EQ(evs_schema_versions(st, 2), 0);

    CHECK_EQ(evs_schema_changes(st, 1, &text, &n, &err), 0);
    CHECK(strncmp(text, "{\"version\":1,\"seq\":1,", 21) == 0);
    char *second = strchr(text, '\n') + 1;
    CHECK(strncmp(second, "{\"version\":2,\"seq\":2,", 21) == 0);
    j = json_loads(second, 0, NULL);
    CHECK_STR(json_string_value(json_object_get(j, "compatible")), "backward");
    json_t *change = json_array_get(json_object_get(j, "changes"), 0);
    CHECK_EQ(json_array_size(json_object_get(j, "changes")), 1);
    CHECK_STR(json_string_value(json_object_get(change, "path")), "/at");
    CHECK_STR(json_string_value(json_object_get(change, "what")), "optional");
    json_decref(j);
    free(text);
    CHECK_EQ(evs_schema_table(st, 1, &text, &n, &err), 0);
    CHECK(strstr(text, "\nn      integer        yes                3  1\n") != NULL);
    free(text);
    CHECK_EQ(evs_schema_readme(st, 1, &text, &n, &err), 0);
    CHECK(strstr(text, "3 events") && strstr(text, "\"at\": \"2026-01-01\""));
    CHECK(strstr(text, "The data of event 3 (the newest)") != NULL);
    free(text);
    CHECK_EQ(evs_close(st, &err), 0);
}

static void test_two_schemas_are_compared(void)
{
    static const char old[] = "{\"type\":\"integer\"}", new[] = "{\"type\":\"number\"}";
    char *text;
    size_t n;

    CHECK_EQ(evs_schema_diff(old, strlen(old), new, strlen(new), false, &text, &n, &err), 0);
    CHECK(strstr(text, "widened") && strstr(text, "backward") && strlen(text) == n);
    free(text);
    CHECK_FAIL(evs_schema_diff(old, strlen(old), "{]", 2, false, &text, &n, &err), err, BAD_SCHEMA);
}

/* What people read: numbers as they were, and nothing that a terminal would obey. */
static void test_numbers_and_names_for_people(void)
{
    static const char data[] = "{\"\\n\\u001bx\":[ ],\"price\":99.95,\"far\": [0.30000000000000004,"
                               "123456789012345678901234567890,{}]}";
    struct evs_store *st = open_at(":memory:", NULL);
    char *text, event[300];
    size_t n;

    (void)snprintf(event, sizeof event, "{\"entity\":\"a\",\"type\":\"t\\u0007\",\"data\":%s}\n",
                   data);
    append(st, event);
    CHECK_EQ(evs_schema_table(st, 1, &text, &n, &err), 0);
    CHECK(strstr(text, "\n??x ") != NULL);
    CHECK(strstr(text, "  99.95\n") && strstr(text, "  0.30000000000000004\n"));
    free(text);
    CHECK_EQ(evs_schema_readme(st, 1, &text, &n, &err), 0);
    CHECK(strncmp(text, "t%07: 1 events", 14) == 0);
    CHECK(strstr(text, "\n  {\n    \"\\n\\u001bx\": [],\n    \"price\": 99.95,\n    \"far\": [\n"
                       "      0.30000000000000004,\n      123456789012345678901234567890,\n"
                       "      {}\n    ]\n  }\n") != NULL);
    free(text);
    CHECK_EQ(evs_close(st, &err), 0);
}

static void test_data_that_is_not_given_is_null(void)
{
    struct evs_store *st = open_at(":memory:", NULL);

    append(st,
           "{\"entity\":\"a\",\"type\":\"t\"}\n{\"entity\":\"a\",\"type\":\"t\",\"data\":null}\n");
    json_t *j = schema_of(st, 1);
    CHECK_STR(json_string_value(json_object_get(j, "type")), "null");
    CHECK_EQ(json_integer_value(json_object_get(j, "x-evfs-count")), 2);
    json_decref(j);
    CHECK_EQ(evs_close(st, &err), 0);
}

static void test_schemas_can_be_off(void)
{
    char *dir = model_dir(), path[300], *text;
    struct evs_store *st = open_at(dir, &(struct evs_options){.no_schemas = true});
    size_t n;

    append(st, "{\"entity\":\"a\",\"type\":\"t\",\"data\":{\"n\":1}}\n");
    CHECK_FAIL(evs_schema(st, 1, 0, &text, &n, &err), err, NO_SUCH);
    CHECK_EQ(evs_schema_versions(st, 1), 0);
    CHECK_EQ(evs_close(st, &err), 0);
    (void)snprintf(path, sizeof path, "%s/schemas", dir);
    CHECK_EQ(access(path, F_OK), -1);

    st = open_at(dir, NULL); /* what was appended before is learned */
    CHECK_EQ(count_of(st, 1), 1);
    CHECK_EQ(evs_close(st, &err), 0);
    check_verified(dir);
    model_remove(dir);
}

/* More than the queue holds, and nobody takes them: they are read in the log. */
static void test_a_full_queue_loses_nothing(void)
{
    struct evs_store *st = open_at(":memory:", NULL);
    enum { EVENTS = 40000 };
    char *text = malloc((size_t)EVENTS * 80);
    size_t n = 0;

    schemas_calm(st);
    for (int i = 0; i < EVENTS; i++)
        n +=
            (size_t)sprintf(text + n, "{\"entity\":\"a\",\"type\":\"t%d\",\"data\":{\"k%d\":%d}}\n",
                            i % 3, i % 5, i);
    append(st, text);
    CHECK_EQ(count_of(st, 1) + count_of(st, 2) + count_of(st, 3), EVENTS);
    free(text);
    CHECK_EQ(evs_close(st, &err), 0);
}

/* ---- the same, however ---- */

static uint64_t seed_of_test(void)
{
    const char *s = getenv("SEED");
    uint64_t seed = s ? strtoull(s, NULL, 10) : (uint64_t)getpid() << 20 | (uint64_t)time(NULL);

    printf("# SEED=%" PRIu64 "\n", seed);
    return seed | 1;
}

static uint64_t next_random(uint64_t *s)
{
    *s ^= *s << 13;
    *s ^= *s >> 7;
    *s ^= *s << 17;
    return *s;
}

/* An event of one of six types; now and then of a shape that is new, without data, in a transaction, or with more than
 * the queue holds of one value. */
static int random_event(uint64_t *s, char *out, size_t n)
{
    static const char *const values[] = {
        "1", "1.5", "\"text\"", "null", "[1,\"a\"]", "{\"x\":1}", "false", "\"2026-01-01\"", "[]"};
    uint64_t a = next_random(s), b = next_random(s);
    unsigned field = a % 50 ? 0 : (unsigned)(a >> 8) % 40;
    const unsigned entity = (unsigned)(b % 20), type = (unsigned)(b >> 8) % 6;
    const int digits = b % 37 ? 1 : (int)QUEUE_VALUE_MAX + 1;
    const char *begin = b % 11 ? "" : "[", *end = b % 11 ? "" : "]";

    if (b % 29 == 0)
        return snprintf(out, n, "{\"entity\":\"e/%u\",\"type\":\"t/%u\"}\n", entity, type);
    return snprintf(
        out, n,
        "%s{\"entity\":\"e/%u\",\"type\":\"t/%u\",\"data\":{\"id\":%u,\"kind\":\"k%0*u\"%s,"
        "\"f%u\":%s}}%s\n",
        begin, entity, type, (unsigned)(b >> 16) % 100000, digits, (unsigned)(b >> 32) % 4,
        b % 7 ? "" : ",\"rare\":true", field, a % 40 ? "1" : values[(a >> 16) % ARRAY_LEN(values)],
        end);
}

struct writer_thread {
    pthread_t thread;
    struct evs_store *st;
    uint64_t seed;
    int events;
};

static void *write_some(void *arg)
{
    struct writer_thread *w = arg;
    char text[1 << 17];

    for (int i = 0; i < w->events;) {
        int batch = (int)(next_random(&w->seed) % 40) + 1, n = 0;
        for (int k = 0; k < batch && i < w->events; k++, i++)
            n += random_event(&w->seed, text + n, sizeof text - (size_t)n);
        append(w->st, text);
    }
    return NULL;
}

/* Several writers, and somebody who looks all the time. */
static void write_beside(struct evs_store *st, uint64_t *seed, int events)
{
    struct writer_thread w[THREADS];

    for (int i = 0; i < THREADS; i++) {
        w[i] = (struct writer_thread){
            .st = st, .seed = next_random(seed) | 1, .events = events / THREADS};
        CHECK_EQ(pthread_create(&w[i].thread, NULL, write_some, &w[i]), 0);
    }
    for (int i = 0; i < 5; i++)
        json_decref(schema_of(st, 1 + (evs_type)i));
    for (int i = 0; i < THREADS; i++)
        CHECK_EQ(pthread_join(w[i].thread, NULL), 0);
}

/* One opening of the store, in a process of its own, which ends cleanly or is killed. */
static void one_life(const char *dir, uint64_t seed, int events, bool clean)
{
    (void)fflush(NULL);
    pid_t pid = fork();
    if (pid == 0) {
        check_failed = 0;
        struct evs_store *st = open_at(dir, NULL);
        write_beside(st, &seed, events);
        if (clean)
            CHECK_EQ(evs_close(st, &err), 0);
        _exit(check_failed ? 1 : 0);
    }
    int status;
    CHECK(waitpid(pid, &status, 0) == pid && status == 0);
}

static char *all_at(const char *dir, bool read_only)
{
    struct evs_store *st = open_at(dir, &(struct evs_options){.read_only = read_only});
    json_int_t sum = 0;

    for (evs_type t = 1; t <= evs_type_count(st); t++)
        sum += count_of(st, t);
    CHECK_EQ(sum, evs_end(st));
    char *all = all_of(st);
    CHECK_EQ(evs_close(st, &err), 0);
    return all;
}

static void check_same(char *is, const char *want)
{
    CHECK(strcmp(is, want) == 0);
    free(is);
}

static void test_the_log_alone_decides(void)
{
    uint64_t seed = seed_of_test();
    char *dir = model_dir();

    for (int life = 0; life < 6; life++)
        one_life(dir, next_random(&seed), 1 + (int)(next_random(&seed) % 6000), life % 2);
    char *all = all_at(dir, false);
    CHECK(strlen(all) > 1000);
    check_verified(dir);
    check_same(all_at(dir, false), all);
    int fd = open(dir, O_RDONLY | O_DIRECTORY);
    CHECK_EQ(schemas_remove(fd), 0);
    check_verified(dir);
    check_same(all_at(dir, true), all); /* learned in memory */
    CHECK_EQ(faccessat(fd, "schemas", F_OK, 0), -1);
    check_same(all_at(dir, false), all);
    CHECK_EQ(evs_rebuild(dir, NULL, NULL, &err), 0);
    check_verified(dir);
    check_same(all_at(dir, false), all);
    (void)close(fd);
    free(all);
    model_remove(dir);
}

/* ---- files ---- */

static void make_two_versions(const char *dir)
{
    struct evs_store *st = open_at(dir, NULL);

    append(st, "{\"entity\":\"a\",\"type\":\"t\",\"data\":{\"n\":1}}\n");
    CHECK_EQ(evs_schema_versions(st, 1), 1);
    append(st, "{\"entity\":\"a\",\"type\":\"t\",\"data\":{\"n\":1.5}}\n");
    CHECK_EQ(evs_close(st, &err), 0);
}

static void flip_byte(const char *dir, const char *name, off_t at)
{
    char path[300], c = 0;

    (void)snprintf(path, sizeof path, "%s/%s", dir, name);
    int fd = open(path, O_RDWR);
    CHECK(fd >= 0 && pread(fd, &c, 1, at) == 1);
    c ^= 1;
    CHECK_EQ(pwrite(fd, &c, 1, at), 1);
    (void)close(fd);
}

static void test_damaged_files_are_found_and_made_again(void)
{
    static const char *const names[] = {"schemas/%state", "schemas/t/1.json", "schemas/t/2.json"};
    char *dir = model_dir();
    struct evs_repaired rp;

    make_two_versions(dir);
    char *all = all_at(dir, false);
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        flip_byte(dir, names[i], 70);
        CHECK(evs_verify(dir, NULL, NULL, &err) > 0);
        check_same(all_at(dir, true), all); /* learned anew, in memory */
        check_same(all_at(dir, false), all);
        check_verified(dir);
        flip_byte(dir, names[i], 70);
        CHECK_EQ(evs_repair(dir, &rp, NULL, NULL, &err), 0);
        CHECK(rp.found > 0 && rp.left == 0 && rp.lost == 0);
        check_same(all_at(dir, false), all);
    }
    free(all);
    model_remove(dir);
}

/* The nth call fails, for every n: no append fails by it, and later all is there. Returns whether any call was left. */
static bool fail_once(uint64_t n, int *said_n)
{
    char *dir = model_dir(), health[1000];
    struct evs_store *st = open_at(dir, &(struct evs_options){.sync_interval_ms = UINT32_MAX});

    schemas_calm(st);
    append(st, "{\"entity\":\"a\",\"type\":\"t\",\"data\":{\"n\":1}}\n");
    (void)io_fault_set(&(struct io_fault){.n = n, .code = ENOSPC});
    uint32_t versions = evs_schema_versions(st, 1);
    bool hit = io_fault_set(&(struct io_fault){0}) >= n;
    CHECK(versions == 1 || hit);
    bool said = evs_health(st, health, sizeof health);
    CHECK(said ? hit && strstr(health, "schemas: ") : versions == 1);
    *said_n += said;
    append(st, "{\"entity\":\"a\",\"type\":\"t\",\"data\":{\"n\":1}}\n");
    CHECK_EQ(evs_close(st, &err), 0);
    check_verified(dir);
    st = open_at(dir, NULL);
    CHECK_EQ(count_of(st, 1), 2);
    CHECK_EQ(evs_schema_versions(st, 1), 1);
    CHECK_EQ(evs_health(st, health, sizeof health), 0);
    CHECK_EQ(evs_close(st, &err), 0);
    check_verified(dir);
    model_remove(dir);
    return hit;
}

static void test_calls_that_fail(void)
{
    uint64_t n = 1;
    int said = 0;

    while (fail_once(n, &said))
        n++;
    CHECK(n > 8 && said > 4); /* the others were closes of what was only read */
}

/* Where data of event seq begins in the log's first segment. */
static off_t data_of(const char *dir, evs_seq seq)
{
    static char text[4096];
    char path[300];
    const char *at = text;

    (void)snprintf(path, sizeof path, "%s/log/00000000000000000001.jsonl", dir);
    FILE *f = fopen(path, "r");
    CHECK(f != NULL);
    text[fread(text, 1, sizeof text - 1, f)] = '\0';
    (void)fclose(f);
    for (evs_seq i = 1; i < seq; i++)
        at = strchr(at, '\n') + 1;
    return strstr(at, "\"data\"") - text;
}

/* Event 3 can't be read, with events 4 and 5 counted or not looked at: nothing of that may be kept. log: it is met
 * in the log, with events queued behind it; else in the queue. */
static void get_stuck_at_3(const char *dir, bool log)
{
    static const char known[] = "{\"entity\":\"a\",\"type\":\"t\",\"data\":{\"n\":1}}\n";
    char new[2 * QUEUE_VALUE_MAX]; /* too long for the queue */
    (void)snprintf(new, sizeof new,
                   "{\"entity\":\"a\",\"type\":\"t\",\"data\":{\"new\":\"%0*d\"}}\n",
                   (int)QUEUE_VALUE_MAX, 1);
    struct evs_store *st = open_at(dir, NULL);
    struct schemas *sk = st->schemas;
    char health[1000];

    append(st, known);
    CHECK_EQ(count_of(st, 1), 1);
    schemas_lock(sk);
    append(st, known);
    append(st, new);
    flip_byte(dir, "log/00000000000000000001.jsonl", data_of(dir, 3) + 20);
    if (log) {
        schemas_reset(sk);
        CHECK_EQ(schemas_step(sk),
                 1); /* appends count again, with all that is there still to be read */
    }
    append(st, known);
    append(st, new);
    schemas_unlock(sk);
    json_t *j = schema_of(st, 1);
    CHECK_EQ(json_integer_value(json_object_get(j, "x-evfs-through")), log ? 2 : 1);
    json_decref(j);
    CHECK(evs_health(st, health, sizeof health) && strstr(health, "learning ended before event 3"));
    CHECK_EQ(evs_close(st, &err), 0);
    flip_byte(dir, "log/00000000000000000001.jsonl", data_of(dir, 3) + 20);
}

static void test_what_is_stuck_is_not_kept(void)
{
    for (int log = 0; log < 2; log++) {
        char *dir = model_dir();
        get_stuck_at_3(dir, log);
        char *all = all_at(dir, false);
        check_verified(dir);
        CHECK_EQ(evs_rebuild(dir, NULL, NULL, &err), 0);
        check_same(all_at(dir, false), all);
        free(all);
        model_remove(dir);
    }
}

int main(void)
{
    RUN(test_a_schema_is_learned);
    RUN(test_two_schemas_are_compared);
    RUN(test_numbers_and_names_for_people);
    RUN(test_data_that_is_not_given_is_null);
    RUN(test_schemas_can_be_off);
    RUN(test_a_full_queue_loses_nothing);
    RUN(test_the_log_alone_decides);
    RUN(test_damaged_files_are_found_and_made_again);
    RUN(test_calls_that_fail);
    RUN(test_what_is_stuck_is_not_kept);
    CHECK_DONE();
}
