/* SPDX-License-Identifier: MIT */
/* Every limit of store/limits.h: what is as large is taken, what is larger by one has its error, and evfs(5) says
 * so. A limit that this table does not know is a failure. */
#include "limits_infer.h"
#include "model.h"
#include "store/ingest.h"
#include "store/jsonschema_node.h"
#include "store/limits.h"
#include "store/schemas_state.h"

#include <errno.h>

static struct evs_store *st;
static struct evs_writer *all, *own; /* of events.jsonl, and of entities/e/t.jsonl */
static struct evs_error err;
static const struct evs_cred me = {.uid = 0}; /* whom no share binds */

#define ROOM ((size_t)LIMIT_TX_BYTES + (4u << 20))
static char *text; /* ROOM bytes */
static int64_t ticks = 2000000000000000;

static void start(void)
{
    CHECK_EQ(evs_open(":memory:", NULL, &st, &err), 0);
    CHECK_EQ(evs_writer_new(st, &(struct evs_target){.kind = EVS_ALL}, "a", &all, &err), 0);
    CHECK_EQ(
        evs_writer_new(st, &(struct evs_target){EVS_OWN_TYPE, "e", 1, "t", 1}, "o", &own, &err), 0);
}

static void stop(void)
{
    evs_writer_free(all), evs_writer_free(own);
    CHECK_EQ(pending_total(&st->pending), 0);
    CHECK_EQ(evs_close(st, &err), 0);
}

static char *repeat(char *p, const char *what, size_t times)
{
    for (; times > 0; times--)
        p = stpcpy(p, what);
    return p;
}

static ssize_t say(struct evs_writer *w, const char *end)
{
    return evs_write(w, text, (size_t)(end - text), &me, &err);
}

/* Each puts one with n of what is limited into text, and writes it: 0 or the reason. */
static enum evs_reason said(struct evs_writer *w, const char *end)
{
    const evs_seq before = evs_end(st);
    const ssize_t n = end - text, r = say(w, end);

    CHECK(r == n || r < 0);
    if (r < 0) {
        CHECK_EQ(r, -err.code);
        CHECK_EQ(evs_end(st), before);
    }
    return r < 0 ? err.why : EVS_OK_;
}

static enum evs_reason depth(size_t n) /* the event's own object counts */
{
    char *p = repeat(text, "[", n - 1);

    return said(own, stpcpy(repeat(p, "]", n - 1), "\n"));
}

static enum evs_reason value(size_t n)
{
    char *p = stpcpy(text, "\"");

    return said(own, stpcpy(repeat(p, "x", n - 2), "\"\n"));
}

static enum evs_reason tx_bytes(size_t n) /* blanks count */
{
    static const char head[] = "[\n{\"entity\":\"e\",\"type\":\"t\"}";
    char *p = stpcpy(text, head);

    return said(all, stpcpy(repeat(p, " ", n - sizeof head), "]\n"));
}

static enum evs_reason tx_events(size_t n)
{
    char *p = repeat(stpcpy(text, "["), "{\"entity\":\"e\",\"type\":\"t\"},", n);

    return said(all, stpcpy(p - 1, "]\n"));
}

/* An entity of n bytes, in components that no other limit forbids. */
static enum evs_reason entity(size_t n)
{
    char *p = stpcpy(text, "{\"type\":\"t\",\"entity\":\"");

    for (size_t i = 0; i < n; i++)
        *p++ = i % 200 == 199 && i + 1 < n ? '/' : 'e';
    return said(all, stpcpy(p, "\"}\n"));
}

static enum evs_reason type(size_t n)
{
    char *p = repeat(stpcpy(text, "{\"entity\":\"e\",\"type\":\""), "t", n);

    return said(all, stpcpy(p, "\"}\n"));
}

static enum evs_reason id(size_t n)
{
    char *p = repeat(stpcpy(text, "{\"entity\":\"e\",\"type\":\"t\",\"id\":\""), "i", n);

    return said(all, stpcpy(p, "\"}\n"));
}

static enum evs_reason components(size_t n)
{
    char *p = repeat(stpcpy(text, "{\"type\":\"t\",\"entity\":\"c"), "/c", n - 1);

    return said(all, stpcpy(p, "\"}\n"));
}

static enum evs_reason component_file(size_t n) /* with ".jsonl"; '%' is three bytes of the name */
{
    char *p = stpcpy(text, "{\"type\":\"t\",\"entity\":\"");

    n -= strlen(".jsonl");
    p = repeat(repeat(p, "f", n % 3), "%", n / 3);
    return said(all, stpcpy(p, "\"}\n"));
}

static enum evs_reason types(size_t n)
{
    for (size_t have = index_type_count(st->ix); have < n; have++) {
        enum evs_reason why =
            said(all, text + sprintf(text, "{\"entity\":\"e\",\"type\":\"n%zu\"}\n", have));
        if (why != EVS_OK_)
            return why;
    }
    return EVS_OK_;
}

/* All but one in memory only: what meta.db does is not the question. */
static enum evs_reason owned_directories(size_t n)
{
    const struct evs_owner root = {.mode = 0700};
    char name[24];

    for (size_t i = 0; st->owners.n + 1 < n; i++) {
        (void)snprintf(name, sizeof name, "d%07zu", i);
        CHECK_EQ(owners_set(&st->owners, &(struct evs_dir){EVS_DIR_ENTITY, name, 8}, &root, &err),
                 0);
    }
    (void)snprintf(name, sizeof name, "z%07zu", n % 1000);
    int r = evs_set_owner(st, &(struct evs_dir){EVS_DIR_ENTITY, name, 8}, &root, &err);
    return r < 0 ? err.why : EVS_OK_;
}

/* As many writers as it takes, one of which has what is left. */
static enum evs_reason pending(size_t n)
{
    enum { EACH = 1 << 19 };
    struct evs_writer *w[LIMIT_PENDING_BYTES / EACH + 2];
    size_t writers = 0;
    enum evs_reason why = EVS_OK_;

    (void)repeat(stpcpy(text, "\""), "x", EACH);
    for (size_t left = n; left > 0 && why == EVS_OK_;) {
        const size_t part = MIN(left, (size_t)EACH); /* one byte of each is to spare */
        CHECK_EQ(evs_writer_new(st, &(struct evs_target){EVS_OWN_TYPE, "e", 1, "t", 1}, "p",
                                &w[writers++], &err),
                 0);
        if (part > 1)
            why = said(w[writers - 1], text + part - 1);
        else if (pending_take(&st->pending, me.uid, 1, NULL) == 0)
            pending_give(&st->pending, me.uid, 1);
        else
            why = -evs_fail(&err, EVS_PENDING_FULL, 0) == ENOBUFS ? err.why : EVS_OK_;
        left -= part;
    }
    CHECK(pending_total(&st->pending) <= LIMIT_PENDING_BYTES);
    while (writers > 0)
        evs_writer_free(w[--writers]);
    CHECK_EQ(pending_total(&st->pending), 0);
    return why;
}

/* The line of the last event, and of the one that can't be. */
static UNANALYSED enum evs_reason events(size_t n)
{
    const struct line l = {
        .seq = n, .version = 1, .id = {"i", 1}, .entity = {"last", 4}, .type = {"t", 1}};
    struct log_rec rec = {0};
    const struct stage_mark before = index_stage_mark(st->ix);
    int r = ingest_restore(st->ix, &l, &rec, &err);

    if (r == 0)
        ingest_unrestore(st->ix, &rec);
    index_drop(st->ix, &before);
    return r < 0 ? err.why : EVS_OK_;
}

/* Nothing is refused: as much as is kept stays below the limit. */
static enum evs_reason rejected(size_t n)
{
    char *p = NULL;
    size_t len;

    for (size_t i = 0; i < n / 3000; i++)
        (void)said(all, stpcpy(repeat(stpcpy(text, "!"), "x", 5000), "\n"));
    CHECK_EQ(evs_rejected(st, true, 0, &p, &len, &err), 0);
    CHECK(len > 0 && len <= LIMIT_REJECTED_BYTES + 50000);
    free(p);
    return EVS_OK_;
}

static enum evs_reason rejected_value(size_t n)
{
    char *got = NULL;
    size_t len;

    (void)said(all, stpcpy(repeat(stpcpy(text, "!"), "y", n - 1), "\n"));
    CHECK_EQ(evs_rejected(st, true, 0, &got, &len, &err), 0);
    const char *value = memmem(got, len, "\"value\":\"!", 10);
    CHECK(value && strspn(value + 10, "y") == MIN(n, (size_t)LIMIT_REJECTED_VALUE_BYTES) - 1);
    free(got);
    return EVS_OK_;
}

static int pin(const char *type, size_t n)
{
    const struct evs_dir d = {EVS_DIR_TYPE, type, strlen(type)};

    memset(text, ' ', n);
    memcpy(text, "true", MIN(n, (size_t)4));
    return evs_pin_set(st, &d, text, n, &(struct evs_cred){.uid = 0}, &err);
}

/* So many of n bytes each in memory only: what meta.db does is not the question. */
static UNANALYSED void pin_many(size_t count, size_t n)
{
    struct pin **v = calloc(count, sizeof *v);
    struct pin_set *set;
    struct js_error why;
    char name[24];

    memset(text, ' ', n);
    memcpy(text, "true", 4);
    for (size_t i = 0; i < count; i++) {
        const struct evs_dir d = {EVS_DIR_TYPE, name, (size_t)sprintf(name, "p%zu", i)};
        CHECK_EQ(pin_new(&d, (struct slice){text, n}, 0, 0, &v[i], &why), 0);
    }
    CHECK_EQ(pins_of(&st->pins, v, count, &set), 0);
    pins_publish(&st->pins, set);
    for (size_t i = 0; i < count; i++)
        pin_unref(v[i]);
    free(v);
}

static enum evs_reason pinned(size_t n)
{
    char name[24];

    if (pins_number(&st->pins) < n - 1)
        pin_many(n - 1, 4);
    (void)sprintf(name, "z%zu", n);
    return pin(name, 4) < 0 ? err.why : EVS_OK_;
}

static enum evs_reason pinned_bytes(size_t n)
{
    const size_t each = LIMIT_SCHEMA_BYTES / 2, many = n / each - 1;

    pin_many(many, each);
    return pin("z", n - many * each) < 0 ? err.why : EVS_OK_;
}

/* Another schema beside one that is said to have all the memory but what it needs itself, or a byte less. */
static enum evs_reason pinned_memory(size_t n)
{
    pin_many(1, 4);
    struct pin *p = pins_get(&st->pins, &(struct evs_dir){EVS_DIR_TYPE, "p0", 2});
    const size_t needed = js_bytes(p->schema);
    p->schema->arena.bytes += n - 2 * needed;
    CHECK_EQ(js_bytes(p->schema), n - needed);
    pin_unref(p);
    return pin("z", 4) < 0 ? err.why : EVS_OK_;
}

/* Nothing is refused for it: the oldest reasons go. */
static enum evs_reason refused_schemas(size_t n)
{
    char name[24];

    for (size_t i = 0; i < n; i++) {
        (void)sprintf(name, "r%zu", i);
        CHECK_FAIL(pin(name, 1), err, BAD_SCHEMA);
    }
    CHECK_EQ(st->pins.n_errors, MIN(n, (size_t)LIMIT_PIN_ERRORS));
    return EVS_OK_;
}

/* What is out of range is moved into it by the library; evfs mount refuses it (tests/mount/commands.bats). */
static enum evs_reason segment_bytes(size_t n)
{
    struct evs_store *other = NULL;

    CHECK_EQ(evs_open(":memory:", &(struct evs_options){.segment_bytes = n}, &other, &err), 0);
    CHECK(other->options.segment_bytes >= LIMIT_SEGMENT_BYTES_MIN &&
          other->options.segment_bytes <= LIMIT_SEGMENT_BYTES_MAX);
    CHECK_EQ(evs_close(other, &err), 0);
    return EVS_OK_;
}

static int64_t ticking(void *arg)
{
    (void)arg;
    return ++ticks;
}

/* Each event is a change, at a time of its own. What is beyond goes into the newest version. */
static enum evs_reason schema_versions(size_t n)
{
    st->options.clock_us = ticking;
    for (size_t i = 0; i < n; i++) {
        (void)sprintf(text,
                      "{\"entity\":\"v\",\"type\":\"v%zu\",\"data\":{\"o%zu\":{\"f%zu\":1}}}\n", n,
                      i / 100, i % 100);
        CHECK_EQ(said(all, text + strlen(text)), EVS_OK_);
    }
    evs_type t = evs_type_count(st);
    CHECK_EQ(evs_schema_versions(st, t), MIN(n, (size_t)LIMIT_SCHEMA_VERSIONS));
    char *schema = NULL;
    size_t len;
    (void)snprintf(text, ROOM, "\"f%zu\"", (n - 1) % 100);
    CHECK_EQ(evs_schema(st, t, evs_schema_versions(st, t), &schema, &len, &err), 0);
    CHECK(schema && strstr(schema, text) != NULL);
    free(schema);
    return EVS_OK_;
}

/* A change that comes when the versions of all types, which can't be written, have n - 1 bytes. */
static enum evs_reason schemas_held(size_t n)
{
    st->options.clock_us = ticking;
    (void)sprintf(text, "{\"entity\":\"v\",\"type\":\"h%zu\"}\n", n);
    CHECK_EQ(said(all, text + strlen(text)), EVS_OK_);
    evs_type t = evs_type_count(st);
    CHECK_EQ(evs_schema_versions(st, t), 1);
    (void)pthread_mutex_lock(&st->schemas->work);
    const size_t more = n - 1 - st->schemas->held;
    st->schemas->held += more;
    (void)pthread_mutex_unlock(&st->schemas->work);
    (void)sprintf(text, "{\"entity\":\"v\",\"type\":\"h%zu\",\"data\":1}\n", n);
    CHECK_EQ(said(all, text + strlen(text)), EVS_OK_);
    CHECK_EQ(evs_schema_versions(st, t), n > LIMIT_SCHEMAS_BYTES ? 1 : 2);
    (void)pthread_mutex_lock(&st->schemas->work);
    st->schemas->held -= more;
    (void)pthread_mutex_unlock(&st->schemas->work);
    return EVS_OK_;
}

/* A change that comes when the files of its type's versions have n - 1 bytes. */
static enum evs_reason schema_texts(size_t n)
{
    st->options.clock_us = ticking;
    (void)sprintf(text, "{\"entity\":\"v\",\"type\":\"x%zu\"}\n", n);
    CHECK_EQ(said(all, text + strlen(text)), EVS_OK_);
    evs_type t = evs_type_count(st);
    CHECK_EQ(evs_schema_versions(st, t), 1);
    (void)pthread_mutex_lock(&st->schemas->work);
    struct schema_version *v = schemas_type(st->schemas, t)->v;
    CHECK(v->text && v->text_n < n - 1 && (v->text = realloc(v->text, n)) != NULL);
    memset(v->text + v->text_n, ' ', n - 1 - v->text_n);
    st->schemas->texts += n - 1 - v->text_n;
    st->schemas->held += n - 1 - v->text_n;
    v->text_n = (uint32_t)n - 1;
    (void)pthread_mutex_unlock(&st->schemas->work);
    (void)sprintf(text, "{\"entity\":\"v\",\"type\":\"x%zu\",\"data\":1}\n", n);
    CHECK_EQ(said(all, text + strlen(text)), EVS_OK_);
    CHECK_EQ(evs_schema_versions(st, t), n > LIMIT_SCHEMA_TEXTS_BYTES ? 1 : 2);
    return EVS_OK_;
}

/* The schema of a type that comes when all others have n - 1 bytes. */
static enum evs_reason schemas_bytes(size_t n)
{
    char *schema = NULL;
    size_t len;

    CHECK(evs_schema_versions(st, 1) > 0);
    (void)pthread_mutex_lock(&st->schemas->work);
    st->schemas->bytes = n - 1;
    (void)pthread_mutex_unlock(&st->schemas->work);
    (void)sprintf(text, "{\"entity\":\"v\",\"type\":\"n%zu\"}\n", n);
    CHECK_EQ(said(all, text + strlen(text)), EVS_OK_);
    CHECK_EQ(evs_schema(st, evs_type_count(st), 0, &schema, &len, &err), 0);
    CHECK_EQ(schema && strstr(schema, "\"x-evfs-limit\"") != NULL, n > LIMIT_SCHEMAS_BYTES);
    free(schema);
    char health[400];
    CHECK_EQ(evs_health(st, health, sizeof health), n > LIMIT_SCHEMAS_BYTES);
    return EVS_OK_;
}

static const struct row {
    const char *name;
    uint64_t limit;
    enum evs_reason (*try)(size_t n);
    enum evs_reason more; /* why one more is refused; EVS_OK_: it is only not kept */
    int code;             /* and the errno that write(2) has then */
    const char *said;     /* in evfs(5) */
} rows[] = {
#define ROW(limit, try, more, code, said)                                                          \
    {                                                                                              \
#limit, limit, try, EVS_##more, code, said                                                 \
    }
    ROW(LIMIT_DEPTH, depth, TOO_DEEP, EMSGSIZE, "nesting 128"),
    ROW(LIMIT_VALUE_BYTES, value, TOO_LARGE, EMSGSIZE, "a value 1 MiB"),
    ROW(LIMIT_TX_BYTES, tx_bytes, TOO_LARGE, EMSGSIZE, "a transaction 16 MiB"),
    ROW(LIMIT_TX_EVENTS, tx_events, TOO_MANY, EMSGSIZE, "65,536 events"),
    ROW(LIMIT_ENTITY_BYTES, entity, NAME_TOO_LONG, ENAMETOOLONG, "an entity 1,024 bytes"),
    ROW(LIMIT_TYPE_BYTES, type, NAME_TOO_LONG, ENAMETOOLONG, "a type or id 128 bytes"),
    ROW(LIMIT_ID_BYTES, id, NAME_TOO_LONG, ENAMETOOLONG, "a type or id 128 bytes"),
    ROW(LIMIT_COMPONENTS, components, NAME_TOO_LONG, ENAMETOOLONG, "32 components"),
    ROW(LIMIT_COMPONENT_FILE_BYTES, component_file, NAME_TOO_LONG, ENAMETOOLONG, "249 bytes"),
    ROW(LIMIT_TYPES, types, TOO_MANY, EMSGSIZE, "65,536 types"),
    ROW(LIMIT_OWNERS, owned_directories, TOO_MANY, EMSGSIZE,
        "directories with an owner of their own (262,144)"),
    ROW(LIMIT_PENDING_BYTES, pending, PENDING_FULL, ENOBUFS, "256 MiB"),
    ROW(LIMIT_PINS, pinned, TOO_MANY, EMSGSIZE, "65,536 pinned schemas"),
    ROW(LIMIT_PINS_MEMORY, pinned_memory, TOO_MANY, EMSGSIZE, "512 MiB compiled"),
    ROW(LIMIT_PINS_BYTES, pinned_bytes, TOO_MANY, EMSGSIZE, "together 64 MiB"),
    ROW(LIMIT_PIN_ERRORS, refused_schemas, OK_, 0, "reasons of the newest 1,024 refused schemas"),
    ROW(LIMIT_EVENTS, events, DAMAGED, EIO, "4,294,967,280 events"),
    ROW(LIMIT_REJECTED_BYTES, rejected, OK_, 0, "the newest 1 MiB"),
    ROW(LIMIT_REJECTED_VALUE_BYTES, rejected_value, OK_, 0, "first 4 KiB"),
    ROW(LIMIT_SEGMENT_BYTES_MIN, segment_bytes, OK_, 0, "64 KiB"),
    ROW(LIMIT_SEGMENT_BYTES_MAX, segment_bytes, OK_, 0, "4 GiB"),
    ROW(LIMIT_SCHEMA_VERSIONS, schema_versions, OK_, 0, "1,000 versions"),
    ROW(LIMIT_SCHEMA_TEXTS_BYTES, schema_texts, OK_, 0, "32 MiB of them"),
    ROW(LIMIT_SCHEMAS_BYTES, schemas_held, OK_, 0, "64 MiB more of versions"),
    ROW(LIMIT_SCHEMAS_BYTES, schemas_bytes, OK_, 0, "64 MiB of memory"),
    ROW(LIMIT_EVOLVE_STEPS, evolve_steps, OK_, 0, "200,000 steps"),
    ROW(LIMIT_EVOLVE_CHANGES, evolve_changes_told, OK_, 0, "1,000 differences"),
    ROW(LIMIT_INFER_PROPERTIES, infer_properties, OK_, 0, "256 fields an object"),
    ROW(LIMIT_INFER_NODES, infer_nodes, OK_, 0, "4,096 places"),
    ROW(LIMIT_INFER_DEPTH, infer_depth, OK_, 0, "nested 32 deep"),
    ROW(LIMIT_INFER_NAME_BYTES, infer_name_bytes, OK_, 0, "names of 128 bytes"),
    ROW(LIMIT_INFER_SHAPES, infer_shapes, OK_, 0, "4,096 shapes"),
    ROW(LIMIT_INFER_ENUM, infer_enum, OK_, 0, "vocabulary of 16 words"),
    ROW(LIMIT_INFER_EXAMPLES, infer_examples, OK_, 0, "3 examples"),
    ROW(LIMIT_INFER_VALUE_BYTES, infer_value_bytes, OK_, 0, "of 80 bytes each"),
};

static void test_one_more_than_each_limit_has_its_error(void)
{
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        const struct row *r = &rows[i];
        const int failed = check_failed;
        start();
        CHECK_EQ(said(own, stpcpy(text, "0\n")), EVS_OK_);
        enum evs_reason why = r->try(r->limit);
        CHECK_STR(evs_reason_name(why), evs_reason_name(EVS_OK_));
        why = r->try(r->limit + 1);
        CHECK_STR(evs_reason_name(why), evs_reason_name(r->more));
        if (r->more != EVS_OK_)
            CHECK_EQ(err.code, r->code);
        /* and what is allowed goes on */
        CHECK_EQ(said(own, stpcpy(text, "1\n")), EVS_OK_);
        stop();
        if (check_failed > failed)
            fprintf(stderr, "that was %s\n", r->name);
    }
}

static char *source(const char *name)
{
    const char *top = getenv("EVFS_SOURCE_DIR");
    char path[4096];

    (void)snprintf(path, sizeof path, "%s/%s", top ? top : ".", name);
    FILE *f = fopen(path, "re");
    if (!f) {
        fprintf(stderr, "%s: no such file; EVFS_SOURCE_DIR is the repository\n", path);
        exit(1);
    }
    size_t n = fread(text, 1, ROOM - 1, f);
    (void)fclose(f);
    text[n] = '\0';
    return text;
}

/* Those of JSON Schemas: test_jsonschema.c reaches them. */
static const struct {
    const char *name, *said;
} of_schemas[] = {
    {"LIMIT_SCHEMA_BYTES", "A JSON Schema has at most 1 MiB"},
    {"LIMIT_SCHEMA_DOCUMENTS", "64 documents"},
    {"LIMIT_SCHEMA_NAMES", "1,024 of $id and as many anchors"},
    {"LIMIT_SCHEMA_NODES", "65,536 subschemas"},
    {"LIMIT_SCHEMA_MEMORY", "compiled 64 MiB"},
    {"LIMIT_SCHEMA_NESTING", "1,024 schemas within each other"},
    {"LIMIT_SCHEMA_WORK", "33,554,432 steps"},
    {"LIMIT_PATTERN_BYTES", "regular expressions of 4,096 bytes"},
    {"LIMIT_PATTERN_STEPS", "4,194,304 steps of its regular expressions"},
    {"LIMIT_PATTERN_HEAP_KIB", "16 MiB of memory"},
};

static bool is_of_schemas(const char *name, size_t n)
{
    for (size_t i = 0; i < ARRAY_LEN(of_schemas); i++)
        if (strlen(of_schemas[i].name) == n && memcmp(of_schemas[i].name, name, n) == 0)
            return true;
    return false;
}

static void test_every_limit_is_in_the_table_and_in_the_manual(void)
{
    static const char define[] = "#define LIMIT_";

    for (char *p = source("store/limits.h"); (p = strstr(p, define)); p++) {
        char *name = p + strlen("#define ");
        const size_t n = strspn(name, "ABCDEFGHIJKLMNOPQRSTUVWXYZ_0123456789");
        size_t i = 0;
        while (i < ARRAY_LEN(rows) &&
               (strlen(rows[i].name) != n || memcmp(rows[i].name, name, n) != 0))
            i++;
        if (is_of_schemas(name, n))
            continue;
        if (i == ARRAY_LEN(rows))
            fprintf(stderr, "%.*s has no row here: which error has what is larger?\n", (int)n,
                    name);
        CHECK(i < ARRAY_LEN(rows));
    }
    char *man = source("docs/man/evfs.5");
    for (char *p = man; *p; p++) /* lines are filled */
        *p = *p == '\n' ? ' ' : *p;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        if (!strstr(man, rows[i].said))
            fprintf(stderr, "evfs(5) does not say '%s' (%s)\n", rows[i].said, rows[i].name);
        CHECK(strstr(man, rows[i].said));
    }
    for (size_t i = 0; i < ARRAY_LEN(of_schemas); i++) {
        if (!strstr(man, of_schemas[i].said))
            fprintf(stderr, "evfs(5) does not say '%s' (%s)\n", of_schemas[i].said,
                    of_schemas[i].name);
        CHECK(strstr(man, of_schemas[i].said));
    }
}

int main(void)
{
    text = malloc(ROOM);
    RUN(test_one_more_than_each_limit_has_its_error);
    RUN(test_every_limit_is_in_the_table_and_in_the_manual);
    free(text);
    CHECK_DONE();
}
