/* SPDX-License-Identifier: MIT */
#include "conform.h"
#include "infer_world.h"
#include "store/jsonschema.h"
#include "store/scan.h"

#include <errno.h>

/* ---- kept ------------------------------------------------------------------------------------ */

static struct infer *saved_and_loaded(struct infer *m)
{
    struct infer *again = NULL;
    char *p = NULL, *q = NULL;
    size_t n = 0, k = 0;

    CHECK_EQ(infer_save(m, &p, &n), 0);
    CHECK_EQ(infer_load((struct slice){p, n}, &again), 0);
    CHECK_EQ(infer_save(again, &q, &k), 0);
    CHECK_MEM(q, k, p, n);
    free(p);
    free(q);
    AUTO_FREE char *was = schema(m, false), *is = schema(again, false);
    CHECK_STR(is, was);
    infer_free(m);
    return again;
}

static void damage_is_refused(void)
{
    struct infer *m = model(), *again;
    uint64_t random = check_seed();
    char *p = NULL;
    size_t n = 0;

    (void)add(m, "{\"a\":[1,\"x\",{\"b\":null}],\"9\":\"2026-01-01\"}", 1);
    (void)add(m, "{\"a\":1.5,\"c\":{}}", 2);
    CHECK_EQ(infer_save(m, &p, &n), 0);
    for (size_t i = 0; i < n; i++) {
        again = NULL;
        CHECK_EQ(infer_load((struct slice){p, i}, &again), -EBADMSG);
        CHECK(!again);
    }
    for (unsigned round = 0; round < 20000; round++) {
        AUTO_FREE char *bad = malloc(n);
        memcpy(bad, p, n);
        for (unsigned i = 0; i <= round % 3; i++)
            bad[check_random(&random) % n] = (char)check_random(&random);
        again = NULL;
        int r = infer_load((struct slice){bad, n}, &again);
        CHECK(r == 0 || r == -EBADMSG);
        if (r == 0) {
            json_decref(tree(again));
            CHECK(add(again, "{\"a\":[{}],\"c\":{\"5\":[]},\"z\":1}", 7) >= 0);
        }
        infer_free(again);
    }
    free(p);
    infer_free(m);
}

/* ---- always valid ---------------------------------------------------------------------------- */

struct corpus {
    char **line;
    size_t n, max;
};

static void corpus_put(struct corpus *c, struct slice s)
{
    if (c->n == c->max) {
        c->max = c->max ? c->max * 2 : 64;
        c->line = realloc(c->line, c->max * sizeof *c->line);
    }
    c->line[c->n++] = strndup(s.p, s.n);
}

static void corpus_done(struct corpus *c)
{
    for (size_t i = 0; i < c->n; i++)
        free(c->line[i]);
    free(c->line);
}

static json_t *load(const char *s)
{
    return json_loads(s, JSON_DECODE_ANY | JSON_ALLOW_NUL, NULL);
}

/* Count in each schema the events that have it, by the values themselves. */
static void count_schema(json_t *sub, json_t *v, json_int_t seq)
{
    json_t *part = sub, *any = json_object_get(sub, "anyOf"), *value;
    const char *name;
    size_t name_n;

    if (json_integer_value(json_object_get(sub, "last")) != seq) {
        const json_int_t n = json_integer_value(json_object_get(sub, "n"));
        if (n == 0)
            json_object_set_new(sub, "first", json_integer(seq));
        json_object_set_new(sub, "n", json_integer(n + 1));
        json_object_set_new(sub, "last", json_integer(seq));
    }
    for (size_t i = 0; i < json_array_size(any); i++)
        if (conform_type(json_object_get(json_array_get(any, i), "type"), v))
            part = json_array_get(any, i);
    json_t *items = json_object_get(part, "items"),
           *more = json_object_get(part, "additionalProperties");
    for (size_t i = 0; items && i < json_array_size(v); i++)
        count_schema(items, json_array_get(v, i), seq);
    json_object_keylen_foreach(v, name, name_n, value)
    {
        json_t *child = json_object_getn(json_object_get(part, "properties"), name, name_n);
        child = child ? child : more;
        if (child)
            count_schema(child, value, seq);
    }
}

static void check_counts(json_t *sub)
{
    json_t *value, *counted = json_object_get(sub, "x-evfs-count");
    const char *name;

    if (counted) {
        CHECK_EQ(json_integer_value(counted), json_integer_value(json_object_get(sub, "n")));
        CHECK_EQ(json_integer_value(json_object_get(sub, "x-evfs-first")),
                 json_integer_value(json_object_get(sub, "first")));
        CHECK_EQ(json_integer_value(json_object_get(sub, "x-evfs-last")),
                 json_integer_value(json_object_get(sub, "last")));
    }
    json_object_foreach(json_object_get(sub, "properties"), name, value)
    {
        check_counts(value);
    }
    if (json_object_get(sub, "additionalProperties"))
        check_counts(json_object_get(sub, "additionalProperties"));
    if (json_object_get(sub, "items"))
        check_counts(json_object_get(sub, "items"));
    for (size_t i = 0; i < json_array_size(json_object_get(sub, "anyOf")); i++)
        check_counts(json_array_get(json_object_get(sub, "anyOf"), i));
}

/* The validator's word, formats asserted, on all values as they were written. */
static size_t count_refused(const char *what, const char *schema_text, const struct corpus *c)
{
    const struct js_options o = {.assert_format = true};
    struct js_schema *s = NULL;
    struct js_error e = {0};
    size_t bad = 0;

    CHECK_EQ(js_compile(text(schema_text), &o, &s, &e), 0);
    for (size_t i = 0; s && i < c->n; i++)
        if (js_validate(s, text(c->line[i]), &e) != 1 && bad++ < 3)
            fprintf(stderr, "%s: %s: %s: %.200s\n", what, e.instance_path, e.text, c->line[i]);
    if (!s)
        fprintf(stderr, "%s: %s: %s\n", what, e.schema_path, e.text);
    js_free(s);
    return bad;
}

/* The values of c in some order as the live path does it: a shape that was seen is hit, or sampled, or
 * added anyhow. The model is saved and loaded in between. */
static struct infer *learn(const struct corpus *c, uint64_t *random)
{
    struct infer *m = model();
    AUTO_FREE size_t *order = malloc((c->n + 1) * sizeof *order);

    for (size_t i = 0; i < c->n; i++) {
        const size_t j = check_random(random) % (i + 1);
        order[i] = order[j];
        order[j] = i;
    }
    for (size_t i = 0; i < c->n; i++) {
        const struct slice v = text(c->line[order[i]]);
        const uint64_t h = infer_shape(v);
        struct infer_shape_rec *rec = infer_find(m, h);
        const unsigned way = (unsigned)(check_random(random) % 8);
        if (rec && way < 6)
            infer_hit(rec, order[i] + 1);
        else
            CHECK(infer_add(m, v, h, order[i] + 1) == 0 || !rec);
        if (way == 7 && check_random(random) % 64 == 0)
            m = saved_and_loaded(m);
    }
    CHECK_EQ(infer_count(m), c->n);
    return m;
}

static void check_corpus(const char *what, const struct corpus *c, uint64_t *random, bool counts)
{
    struct infer *a = learn(c, random), *b = learn(c, random);
    AUTO_FREE char *sa = schema(a, true), *sb = schema(b, true);
    json_t *j = tree(a);
    size_t bad = 0;

    CHECK_STR(sa, sb);
    AUTO_FREE char *annotated = schema(a, false);
    CHECK_EQ(count_refused(what, annotated, c), 0);
    for (size_t i = 0; i < c->n; i++) {
        json_t *v = load(c->line[i]);
        if (v && !conforms(j, v) && bad++ < 3)
            fprintf(stderr, "%s: not valid: %.200s\n", what, c->line[i]);
        if (v && counts)
            count_schema(j, v, (json_int_t)i + 1);
        json_decref(v);
    }
    CHECK_EQ(bad, 0);
    if (counts)
        check_counts(j);
    json_decref(j);
    infer_free(a);
    infer_free(b);
}

static size_t random_json(uint64_t *random, char *p, unsigned depth)
{
    static const char *const scalars[] = {"null",
                                          "true",
                                          "false",
                                          "0",
                                          "-1",
                                          "17",
                                          "1.5",
                                          "1e3",
                                          "-0.0",
                                          "\"\"",
                                          "\"a\"",
                                          "\"b\\n\"",
                                          "\"2026-01-01\"",
                                          "\"2026-01-02\"",
                                          "\"2026-01-01T00:00:00Z\"",
                                          "\"http://a.example/\"",
                                          "\"x@a.example\"",
                                          "\"10.0.0.1\"",
                                          "\"fe80::1\"",
                                          "\"123e4567-e89b-12d3-a456-426614174000\"",
                                          "\"\xc3\xa4\"",
                                          "123456789012345678"};
    static const char *const keys[] = {"a",          "b",   "c",  "d", "e",   "\\u0061", "10",
                                       "2026-01-01", "x/y", "77", "",  "\\/", "\xc3\xa4"};
    const unsigned kind = (unsigned)(check_random(random) % 10);
    size_t n = 0;

    if (depth == 0 || kind < 4) {
        const char *s = scalars[check_random(random) % ARRAY_LEN(scalars)];
        strcpy(p, s);
        return strlen(s);
    }
    const bool object = kind < 8;
    const unsigned members = (unsigned)(check_random(random) % 5);
    p[n++] = object ? '{' : '[';
    for (unsigned i = 0; i < members; i++) {
        n += (size_t)sprintf(p + n, "%s", i ? ", " : "");
        if (object)
            n += (size_t)sprintf(p + n, "\"%s\":", keys[check_random(random) % ARRAY_LEN(keys)]);
        n += random_json(random, p + n, depth - 1);
    }
    p[n++] = object ? '}' : ']';
    p[n] = '\0';
    return n;
}

static void random_values(void)
{
    uint64_t random = check_seed();
    static char buf[1 << 16];

    for (unsigned round = 0; round < 300; round++) {
        struct corpus c = {0};
        const unsigned n = 1 + (unsigned)(check_random(&random) % 60), depth = round % 6;
        bool twice = false;
        for (unsigned i = 0; i < n; i++) {
            const size_t len = random_json(&random, buf, depth);
            json_t *j = json_loads(buf, JSON_DECODE_ANY | JSON_REJECT_DUPLICATES, NULL);
            CHECK(scan_whole(buf, len, NULL) == 0);
            twice |= !j;
            corpus_put(&c, (struct slice){buf, len});
            json_decref(j);
        }
        check_corpus("random", &c, &random, !twice);
        corpus_done(&c);
    }
}

/* The data of the events of a stream, each type a corpus of at most max. */
static void check_stream(const char *file, size_t max, uint64_t *random)
{
    enum { TYPES = 400 };
    static char *types[TYPES];
    static struct corpus corpora[TYPES];
    char command[512];
    size_t types_n = 0, line_max = 0, i;
    char *line = NULL;
    ssize_t n;

    (void)snprintf(command, sizeof command, "zstd -dc '%s/%s'", check_data(), file);
    FILE *f = popen(command, "r");
    while (f && (n = getline(&line, &line_max, f)) > 0) {
        struct slice event = {line, (size_t)n - 1}, key, v, type = {0}, data = {0};
        for (size_t pos = 0; scan_member(event, &pos, &key, &v);) {
            if (slice_eq(key, text("\"type\"")))
                type = v;
            else if (slice_eq(key, text("\"data\"")))
                data = v;
        }
        CHECK(type.p && data.p);
        for (i = 0; i < types_n && !slice_eq(type, text(types[i])); i++)
            continue;
        if (i == types_n && types_n < TYPES)
            types[types_n++] = strndup(type.p, type.n);
        if (i < TYPES && corpora[i].n < max)
            corpus_put(&corpora[i], data);
    }
    free(line);
    if (f)
        (void)pclose(f);
    CHECK(types_n > 4);
    for (i = 0; i < types_n; i++) {
        check_corpus(types[i], &corpora[i], random, true);
        corpus_done(&corpora[i]);
        corpora[i] = (struct corpus){0};
        free(types[i]);
    }
}

static void real_events(void)
{
    uint64_t random = check_seed();
    const char *mode = getenv("EVFS_TEST_MODE");
    const size_t max = mode && strcmp(mode, "quick") == 0 ? 200 : 5000;

    check_stream("git-events.jsonl.zst", max, &random);
    check_stream("gharchive-2015-01-01-0.jsonl.zst", max, &random);
    check_stream("github-webhooks.jsonl.zst", max, &random);
}

/* All the files that a parser must take, as values of one type, and each alone. */
static void corner_cases(void)
{
    uint64_t random = check_seed();
    struct corpus all = {0};
    char command[512];
    char path[1024];

    (void)snprintf(
        command, sizeof command,
        "find '%s/JSONTestSuite/test_parsing' -name 'y_*'; find '%s/cloudevents' -name '*.json'",
        check_data(), check_data());
    FILE *list = popen(command, "r");
    while (list && fgets(path, sizeof path, list)) {
        static char buf[1 << 20];
        path[strcspn(path, "\n")] = '\0';
        FILE *f = fopen(path, "re");
        size_t n = f ? fread(buf, 1, sizeof buf - 1, f) : 0, from = 0;
        if (f)
            (void)fclose(f);
        buf[n] = '\0';
        while (n > 0 && scan_is_space(buf[n - 1]))
            n--;
        while (from < n && scan_is_space(buf[from]))
            from++;
        if (n == 0 || memchr(buf, '\0', n) || scan_whole(buf + from, n - from, NULL) < 0)
            continue;
        struct corpus one = {0};
        corpus_put(&one, (struct slice){buf + from, n - from});
        check_corpus(path, &one, &random, false);
        corpus_put(&all, (struct slice){buf + from, n - from});
        corpus_done(&one);
    }
    if (list)
        (void)pclose(list);
    CHECK(all.n > 90);
    check_corpus("all", &all, &random, false);
    corpus_done(&all);
}

int main(void)
{
    RUN(damage_is_refused);
    RUN(random_values);
    if (check_data()) {
        RUN(corner_cases);
        RUN(real_events);
    } else {
        SKIP("corner_cases, real_events", "no EVFS_TEST_DATA");
    }
    CHECK_DONE();
}
