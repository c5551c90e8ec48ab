/* SPDX-License-Identifier: MIT */
#include "conform.h"
#include "infer_world.h"

#include <pthread.h>

/* ---- what is inferred ------------------------------------------------------------------------ */

static void a_whole_schema(void)
{
    struct infer *m = model();

    CHECK_EQ(add(m, "{\"id\":1,\"name\":\"a\",\"tags\":[{\"t\":1},{\"t\":2,\"u\":null}]}", 5), 1);
    CHECK_EQ(add(m, "{\"id\":2,\"name\":null,\"tags\":[],\"when\":\"2026-01-01\"}", 9), 1);
    CHECK_EQ(add(m, "{\"id\":3,\"name\":\"b\",\"tags\":[{\"t\":7}]}", 11), 0);
    CHECK_EQ(add(m, "{\"id\":3,\"name\":\"c\",\"tags\":[{\"t\":8}]}", 12), 0);
    AUTO_FREE char *got = schema(m, true);
    CHECK_STR(got, "{\n"
                   "  \"$schema\": \"https://json-schema.org/draft/2020-12/schema\",\n"
                   "  \"type\": \"object\",\n"
                   "  \"required\": [\"id\", \"name\", \"tags\"],\n"
                   "  \"properties\": {\n"
                   "    \"id\": {\n"
                   "      \"type\": \"integer\"\n"
                   "    },\n"
                   "    \"name\": {\n"
                   "      \"type\": [\"string\", \"null\"]\n"
                   "    },\n"
                   "    \"tags\": {\n"
                   "      \"type\": \"array\",\n"
                   "      \"items\": {\n"
                   "        \"type\": \"object\",\n"
                   "        \"required\": [\"t\"],\n"
                   "        \"properties\": {\n"
                   "          \"t\": {\n"
                   "            \"type\": \"integer\"\n"
                   "          },\n"
                   "          \"u\": {\n"
                   "            \"type\": \"null\"\n"
                   "          }\n"
                   "        }\n"
                   "      }\n"
                   "    },\n"
                   "    \"when\": {\n"
                   "      \"type\": \"string\",\n"
                   "      \"format\": \"date\"\n"
                   "    }\n"
                   "  }\n"
                   "}\n");
    json_t *j = tree(m);
    check_text(j, "x-evfs-count", "4");
    check_text(j, "x-evfs-first", "5");
    check_text(j, "x-evfs-last", "12");
    check_text(j, "properties/when/x-evfs-count", "1");
    check_text(j, "properties/when/x-evfs-first", "9");
    check_text(j, "properties/tags/items/x-evfs-count", "3");
    check_text(j, "properties/tags/items/properties/t/x-evfs-maximum", "8");
    check_text(j, "properties/id/x-evfs-minimum", "1");
    check_text(j, "properties/name/examples", "[\"a\",\"b\",\"c\"]");
    json_decref(j);
    infer_free(m);
}

static void unions(void)
{
    struct infer *m = model();
    json_t *j;

    CHECK_EQ(add(m, "{\"v\":1}", 1), 1);
    CHECK_EQ(add(m, "{\"v\":1.5}", 2), 1);
    CHECK_EQ(add(m, "{\"v\":\"x\"}", 3), 1);
    j = tree(m);
    check_text(j, "properties/v/type", "[\"string\",\"number\"]");
    json_decref(j);
    CHECK_EQ(add(m, "{\"v\":{\"a\":true}}", 4), 1);
    CHECK_EQ(add(m, "{\"v\":[]}", 5), 1);
    CHECK_EQ(add(m, "{\"v\":null}", 6), 1);
    j = tree(m);
    check_text(
        j, "properties/v/anyOf",
        "[{\"type\":[\"string\",\"number\",\"null\"]},{\"type\":\"array\"},{\"type\":\"object\","
        "\"required\":[\"a\"],\"properties\":{\"a\":{\"type\":\"boolean\",\"x-evfs-count\":1,"
        "\"x-evfs-first\":4,\"x-evfs-last\":4}}}]");
    json_decref(j);
    infer_free(m);
    m = model();
    (void)add(m, "{\"o\":{\"a\":1},\"n\":1.0,\"b\":[]}", 1);
    (void)add(m, "{\"o\":null,\"n\":1,\"b\":{}}", 2);
    (void)add(m, "{\"o\":null,\"n\":1,\"b\":null}", 2);
    j = tree(m);
    check_text(j, "properties/o/type", "[\"object\",\"null\"]");
    check_text(j, "properties/n/type", "\"number\"");
    check_text(j, "properties/b/anyOf",
               "[{\"type\":\"null\"},{\"type\":\"array\"},{\"type\":\"object\"}]");
    json_decref(j);
    infer_free(m);
}

static void formats_are_dropped_for_good(void)
{
    struct infer *m = model();
    json_t *j;

    CHECK_EQ(add(m, "[\"2026-01-01\"]", 1), 1);
    CHECK_EQ(add(m, "[\"2026-01-02\",\"2026-01-03\"]", 2), 0);
    j = tree(m);
    check_text(j, "items/format", "\"date\"");
    json_decref(j);
    CHECK_EQ(add(m, "[\"2026-01-02\",\"soon\"]", 3), 1);
    CHECK_EQ(add(m, "[\"http://a.example\"]", 4), 0);
    j = tree(m);
    check_text(j, "items/format", "nothing");
    json_decref(j);
    infer_free(m);
}

/* A key twice: each of its values is one of the field's; it is there once. */
static void keys_given_twice(void)
{
    struct infer *m = model();

    CHECK_EQ(add(m, "{\"a\":1,\"b\":1,\"a\":\"x\"}", 1), 1);
    CHECK_EQ(add(m, "{\"a\":1,\"a\":2}", 2), 1);
    json_t *j = tree(m);
    check_text(j, "properties/a/type", "[\"string\",\"integer\"]");
    check_text(j, "properties/a/x-evfs-count", "2");
    check_text(j, "required", "[\"a\"]");
    json_decref(j);
    infer_free(m);
}

static void vocabularies(void)
{
    struct infer *m = model();
    char buf[128];
    json_t *j;

    for (unsigned i = 0; i < 40; i++) {
        (void)snprintf(buf, sizeof buf,
                       "{\"state\":\"%s\",\"word\":\"w%u\",\"day\":\"2026-01-0%u\"}",
                       i & 1 ? "open" : "closed", i, i % 2 + 1);
        (void)add(m, buf, i + 1);
    }
    j = tree(m);
    check_text(j, "properties/state/x-evfs-enum", "[\"closed\",\"open\"]");
    check_text(j, "properties/state/enum", "nothing");
    check_text(j, "properties/state/x-evfs-max-length", "6");
    check_text(j, "properties/word/x-evfs-enum", "nothing");
    check_text(j, "properties/word/examples", "[\"w0\",\"w1\",\"w2\"]");
    check_text(j, "properties/day/x-evfs-enum", "nothing");
    json_decref(j);
    infer_free(m);
    m = model();
    (void)add(m, "[\"\\u00e4\\ud83d\\ude00\xc3\xa4\\n\",1e400,123456789012345678901234567890]", 1);
    j = tree(m);
    check_text(j, "items/x-evfs-max-length", "4");
    check_text(j, "items/examples", "nothing");
    json_decref(j);
    infer_free(m);
}

/* Seen shapes are hit without their values; counts are those of the events. */
static void hits_count(void)
{
    struct infer *m = model();
    const uint64_t h = shape("{\"a\":1}");

    CHECK(!infer_find(m, h));
    CHECK_EQ(add(m, "{\"a\":1}", 3), 1);
    for (unsigned i = 0; i < 10; i++)
        infer_hit(infer_find(m, h), 10 + i);
    CHECK_EQ(add(m, "{\"a\":1,\"b\":[]}", 100), 1);
    CHECK_EQ(add(m, "{\"a\":5}", 2), 0);
    CHECK_EQ(infer_count(m), 13);
    json_t *j = tree(m);
    check_text(j, "properties/a/x-evfs-count", "13");
    check_text(j, "properties/a/x-evfs-first", "2");
    check_text(j, "properties/a/x-evfs-last", "100");
    check_text(j, "properties/a/x-evfs-maximum", "5");
    check_text(j, "properties/b/x-evfs-count", "1");
    check_text(j, "required", "[\"a\"]");
    json_decref(j);
    infer_free(m);
}

/* ---- limits ---------------------------------------------------------------------------------- */

/* An object of names f<from> .. f<to - 1>, each {"x":1,"<name>":...} or a number. */
static char *wide(unsigned from, unsigned to, const char *value)
{
    char *s = malloc((to - from) * (strlen(value) + 16) + 3), *p = s;

    *p++ = '{';
    for (unsigned i = from; i < to; i++)
        p += sprintf(p, "%s\"f%u\":%s", i > from ? "," : "", i, value);
    strcpy(p, "}");
    return s;
}

static void too_many_names(void)
{
    struct infer *m = model();
    AUTO_FREE char *a = wide(0, LIMIT_INFER_PROPERTIES, "{\"x\":1}");
    AUTO_FREE char *b = wide(300, 301, "{\"x\":\"s\",\"y\":[1]}");
    json_t *j;

    CHECK_EQ(add(m, a, 1), 1);
    j = tree(m);
    CHECK_EQ(json_object_size(at(j, "properties")), LIMIT_INFER_PROPERTIES);
    json_decref(j);
    CHECK_EQ(add(m, b, 2), 1);
    CHECK_EQ(add(m, "{\"f7\":{\"x\":null}}", 3), 1);
    j = tree(m);
    check_text(j, "properties", "nothing");
    check_text(j, "x-evfs-limit", "\"properties\"");
    check_text(j, "additionalProperties/x-evfs-count", "3");
    check_text(j, "additionalProperties/required", "[\"x\"]");
    check_text(j, "additionalProperties/properties/x/type", "[\"string\",\"integer\",\"null\"]");
    check_text(j, "additionalProperties/properties/x/x-evfs-first", "1");
    check_text(j, "additionalProperties/properties/y/x-evfs-count", "1");
    check_text(j, "additionalProperties/properties/y/items/x-evfs-count", "1");
    json_decref(j);
    infer_free(m);
}

static void too_many_nodes(void)
{
    struct infer *m = model();
    char buf[64];
    json_t *j, *v;

    /* 20 objects of as many names as one may have: not all of them fit. */
    for (unsigned i = 0; i < 20; i++) {
        AUTO_FREE char *inner = wide(0, LIMIT_INFER_PROPERTIES, "1");
        AUTO_FREE char *all = malloc(strlen(inner) + 32);
        (void)sprintf(all, "{\"o%c\":%s}", (int)('a' + i), inner);
        CHECK(add(m, all, i + 1) >= 0);
        v = json_loads(all, 0, NULL);
        j = tree(m);
        CHECK(conforms(j, v));
        json_decref(j);
        json_decref(v);
    }
    j = tree(m);
    check_text(j, "x-evfs-limit", "\"nodes\"");
    check_text(j, "properties/oa/x-evfs-limit", "nothing");
    json_decref(j);
    /* What has no place may be anything from now on, even after places were freed. */
    (void)snprintf(buf, sizeof buf, "{\"ot\":\"x\"}");
    CHECK_EQ(add(m, buf, 50), 0);
    AUTO_FREE char *more = wide(0, 300, "1");
    AUTO_FREE char *all = malloc(strlen(more) + 32);
    (void)sprintf(all, "{\"oa\":%s}", more);
    CHECK_EQ(add(m, all, 51), 1);
    CHECK_EQ(add(m, "{\"ot\":5}", 52), 0);
    j = tree(m);
    v = json_loads(buf, 0, NULL);
    CHECK(conforms(j, v));
    check_text(j, "properties/ot", "nothing");
    check_text(j, "properties/oa/x-evfs-limit", "\"properties\"");
    CHECK(infer_bytes(m) < 4u << 20);
    json_decref(j);
    json_decref(v);
    infer_free(m);
}

static void too_deep(void)
{
    struct infer *m = model();
    char a[512] = "", b[512] = "";

    for (unsigned i = 0; i < 100; i++)
        strcat(a, "["), strcat(b, "[");
    strcat(a, "1"), strcat(b, "\"x\"");
    for (unsigned i = 0; i < 100; i++)
        strcat(a, "]"), strcat(b, "]");
    CHECK_EQ(shape(a), shape(b));
    CHECK_EQ(add(m, a, 1), 1);
    json_t *j = tree(m), *inner = j, *v = json_loads(b, JSON_DECODE_ANY, NULL);
    unsigned depth = 0;
    for (json_t *next; (next = json_object_get(inner, "items")); depth++)
        inner = next;
    CHECK_EQ(depth, LIMIT_INFER_DEPTH);
    check_text(inner, "x-evfs-limit", "\"depth\"");
    CHECK(conforms(j, v));
    json_decref(v);
    json_decref(j);
    infer_free(m);
}

/* More shapes than are remembered: counted and merged all the same. */
static void too_many_shapes(void)
{
    struct infer *m = model();
    char buf[512];

    for (unsigned i = 0; i < 3 * LIMIT_INFER_SHAPES; i++) {
        size_t n = (size_t)sprintf(buf, "{\"n\":%u", i);
        for (unsigned bit = 0; bit < 14; bit++)
            if (i >> bit & 1)
                n += (size_t)sprintf(buf + n, ",\"b%u\":1", bit);
        strcpy(buf + n, "}");
        CHECK(add(m, buf, i + 1) >= 0);
    }
    json_t *j = tree(m);
    check_text(j, "x-evfs-count", "12288");
    check_text(j, "x-evfs-last", "12288");
    check_text(j, "properties/b0/x-evfs-count", "6144");
    check_text(j, "properties/b13/x-evfs-first", "8193");
    check_text(j, "properties/b13/x-evfs-count", "4096");
    check_text(j, "required", "[\"n\"]");
    json_decref(j);
    infer_free(m);
}

/* ---- two threads ----------------------------------------------------------------------------- */

struct race {
    struct infer *m;
    _Atomic bool done;
    uint64_t hits;
};

static void *hit_all(void *arg)
{
    struct race *r = arg;
    char buf[64];

    for (unsigned i = 0; !atomic_load(&r->done); i++) {
        (void)snprintf(buf, sizeof buf, "{\"f%u\":1}", i % 200);
        struct infer_shape_rec *rec = infer_find(r->m, infer_shape(text(buf)));
        if (rec) {
            infer_hit(rec, 1000 + i);
            r->hits++;
        }
    }
    return NULL;
}

static void a_reader_beside(void)
{
    struct race r = {.m = model()};
    pthread_t t;
    char buf[64];

    CHECK_EQ(pthread_create(&t, NULL, hit_all, &r), 0);
    for (unsigned i = 0; i < 200; i++) {
        (void)snprintf(buf, sizeof buf, "{\"f%u\":1}", i);
        CHECK_EQ(add(r.m, buf, i + 1), 1);
        if (i % 20 == 0)
            free(schema(r.m, false));
    }
    while (!infer_find(r.m, shape("{\"f199\":1}")))
        continue;
    atomic_store(&r.done, true);
    CHECK_EQ(pthread_join(t, NULL), 0);
    CHECK_EQ(infer_count(r.m), 200 + r.hits);
    infer_free(r.m);
}

int main(void)
{
    RUN(a_whole_schema);
    RUN(unions);
    RUN(formats_are_dropped_for_good);
    RUN(keys_given_twice);
    RUN(vocabularies);
    RUN(hits_count);
    RUN(too_many_names);
    RUN(too_many_nodes);
    RUN(too_deep);
    RUN(too_many_shapes);
    RUN(a_reader_beside);
    CHECK_DONE();
}
