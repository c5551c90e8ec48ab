/* SPDX-License-Identifier: MIT */
/* heap: once a store runs, appending and reading take nothing from the heap, in whatever thread. Counted by a malloc
 * that counts (bench/alloc_count.c), so not built with a sanitizer, which is a malloc of its own. */
#include "bench/alloc_count.h"
#include "model.h"

#define WARM_EVENTS 20000 /* rooms that grow by doubling have grown, threads have their buffers */
#define EVENTS      100000
#define ENTITIES    100

static struct evs_store *st;
static struct evs_error err;

static void append(struct evs_writer *w, uint32_t from, uint32_t to, uint32_t batch, bool new_names)
{
    static char text[1 << 18];
    const struct evs_cred cred = {.uid = getuid()};

    for (uint32_t i = from; i < to; i += batch) {
        int n = 0;
        for (uint32_t k = i; k < i + batch && k < to; k++)
            n += snprintf(
                text + n, sizeof text - (size_t)n,
                "{\"entity\":\"orders/%u\",\"type\":\"t%u\",\"id\":\"i%u\",\"data\":{\"n\":%u,"
                "\"note\":\"what was said\"}}\n",
                new_names ? k : k * 31 % ENTITIES, k % 20, k, k);
        CHECK_EQ(evs_write(w, text, (size_t)n, &cred, &err), n);
    }
}

/* Allocations of EVENTS events behind WARM_EVENTS others. */
static uint64_t count_appends(const char *dir, uint32_t batch, bool new_names)
{
    struct evs_writer *w;

    CHECK_EQ(evs_open(dir, NULL, &st, &err), 0);
    CHECK_EQ(evs_writer_new(st, &(struct evs_target){.kind = EVS_ALL}, NULL, &w, &err), 0);
    append(w, 0, WARM_EVENTS, batch, new_names);
    CHECK_EQ(evs_sync(st, evs_end(st), &err), 0);
    CHECK(evs_schema_versions(st, 1) > 0); /* what was appended is learned, and shapes are known */
    uint64_t before = alloc_count();
    append(w, WARM_EVENTS, WARM_EVENTS + EVENTS, batch, new_names);
    uint64_t n = alloc_count() - before;
    CHECK_EQ(evs_end(st), WARM_EVENTS + EVENTS);
    evs_writer_free(w);
    return n;
}

static void test_the_counter_counts(void)
{
    uint64_t before = alloc_count();
    void *volatile p = malloc(10);

    CHECK_EQ(alloc_count() - before, 1);
    free(p);
}

static void test_appending_into_memory(void)
{
    static const uint32_t batches[] = {1, 100, 1000};

    for (size_t i = 0; i < ARRAY_LEN(batches); i++) {
        CHECK_EQ(count_appends(":memory:", batches[i], false), 0);
        CHECK_EQ(evs_close(st, &err), 0);
    }
}

static void test_appending_to_disk(void)
{
    char *dir = model_dir();

    CHECK_EQ(count_appends(dir, 100, false), 0);
    CHECK_EQ(evs_close(st, &err), 0);
    model_remove(dir);
}

static void test_new_entities(void)
{
    CHECK_EQ(count_appends(":memory:", 100, true), 0);
    CHECK_EQ(evs_close(st, &err), 0);
}

/* All conform; a type's schema, and a directory's. */
static void test_pinned_schemas(void)
{
    static const char schema[] =
        "{\"type\":\"object\",\"required\":[\"n\",\"note\"],\"additionalProperties\":false,"
        "\"properties\":{\"n\":{\"type\":\"integer\",\"minimum\":0},"
        "\"note\":{\"type\":[\"string\",\"null\"],\"maxLength\":100}}}";
    static const struct evs_dir pinned[] = {
        {EVS_DIR_TYPE, "t1", 2}, {EVS_DIR_TYPE, "t2", 2}, {EVS_DIR_ENTITY, "orders", 6}};
    const struct evs_cred cred = {.uid = getuid()};
    struct evs_writer *w;

    CHECK_EQ(evs_open(":memory:", NULL, &st, &err), 0);
    CHECK_EQ(evs_writer_new(st, &(struct evs_target){.kind = EVS_ALL}, NULL, &w, &err), 0);
    for (size_t i = 0; i < ARRAY_LEN(pinned); i++)
        CHECK_EQ(evs_pin_set(st, &pinned[i], schema, strlen(schema), &cred, &err), 0);
    append(w, 0, WARM_EVENTS, 100, false);
    CHECK(evs_schema_versions(st, 1) > 0); /* as above */
    uint64_t before = alloc_count();
    append(w, WARM_EVENTS, WARM_EVENTS + EVENTS, 100, false);
    CHECK_EQ(alloc_count() - before, 0);
    CHECK_EQ(evs_end(st), WARM_EVENTS + EVENTS);
    evs_writer_free(w);
    CHECK_EQ(evs_close(st, &err), 0);
}

static void test_reading(void)
{
    static const enum evs_view_kind kinds[] = {EVS_ALL, EVS_BELOW, EVS_OWN, EVS_OWN_TYPE, EVS_TYPE};
    static char buf[70000];

    (void)count_appends(":memory:", 1000, false);
    for (size_t i = 0; i < ARRAY_LEN(kinds); i++) {
        const struct evs_view v = {.kind = kinds[i],
                                   .entity = evs_find_entity(st, "orders/31", 9),
                                   .type = evs_find_type(st, "t1", 2)};
        struct evs_cursor *c;
        uint64_t pos = 0, before = 0, reads = 0;
        ssize_t n;
        CHECK_EQ(evs_cursor_new(st, &v, &c, &err), 0);
        while ((n = evs_cursor_read(c, pos, buf, 7000, &err)) > 0) {
            pos += (uint64_t)n;
            if (reads++ == 0)
                before = alloc_count();
        }
        CHECK_EQ(n, 0);
        CHECK(reads > 1);
        CHECK_EQ(alloc_count() - before, 0);
        evs_cursor_free(c);
    }
    CHECK_EQ(evs_close(st, &err), 0);
}

int main(void)
{
    RUN(test_the_counter_counts);
    RUN(test_appending_into_memory);
    RUN(test_appending_to_disk);
    RUN(test_new_entities);
    RUN(test_pinned_schemas);
    RUN(test_reading);
    CHECK_DONE();
}
