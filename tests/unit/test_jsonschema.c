/* SPDX-License-Identifier: MIT */
/* jsonschema: what the test suite of JSON Schema doesn't ask. Instances lie at the end of memory of their
 * own, so that a read beyond is seen. */
#include "check.h"
#include "jsonschema_by.h"
#include "store/jsonschema_value.h"
#include "store/limits.h"
#include "store/scan.h"

#include <errno.h>
#include <pthread.h>
#include <time.h>

/* ---- reports --------------------------------------------------------------------------------- */

static void test_reports(void)
{
    static const struct {
        const char *schema, *json, *keyword, *instance, *path, *text;
    } cases[] = {
        {"{\"type\":\"object\"}", "[]", "type", "", "/type", "is an array, must be object"},
        {"{\"type\":[\"integer\",\"null\"]}", "1.5", "type", "", "/type",
         "is a number with a fraction, must be null or integer"},
        {"{\"properties\":{\"a/b\":{\"items\":{\"minimum\":3}}}}", "{\"a/b\":[3,2]}", "minimum",
         "/a~1b/1", "/properties/a~1b/items/minimum", "2 is less than the minimum"},
        {"{\"required\":[\"a\",\"b\"]}", "{\"a\":1}", "required", "", "/required",
         "the property \"b\" is missing"},
        {"{\"additionalProperties\":false}", "{\"x\":1}", "additionalProperties", "/x",
         "/additionalProperties", "the property \"x\" is not allowed"},
        {"{\"$ref\":\"#/$defs/s\",\"$defs\":{\"s\":{\"maxLength\":2}}}", "\"abc\"", "maxLength", "",
         "/$defs/s/maxLength", "has 3 characters, may have 2"},
        {"{\"properties\":{\"k\\u0065y\":{\"const\":1}}}", "{\"\\u006bey\":2}", "const", "/key",
         "/properties/k\\u0065y/const", "is not the value of const"},
        {"{\"anyOf\":[{\"type\":\"null\"},{\"minimum\":9}]}", "3", "anyOf", "", "/anyOf",
         "is a number, which none of the 2 schemas of anyOf allows"},
        {"{\"oneOf\":[true,{\"minimum\":1}]}", "3", "oneOf", "", "/oneOf",
         "is valid by the schemas 0 and 1 of oneOf"},
        {"{\"pattern\":\"^a\"}", "\"b\"", "pattern", "", "/pattern", "does not match ^a"},
        {"{\"format\":\"date\"}", "\"2023-02-29\"", "format", "", "/format",
         "is not of the format date"},
        {"{\"uniqueItems\":true}", "[1,2,1.0]", "uniqueItems", "", "/uniqueItems",
         "two elements are equal: 1.0"},
        {"{\"unevaluatedProperties\":false}", "{\"a\":1}", "unevaluatedProperties", "/a",
         "/unevaluatedProperties", "the property \"a\" is not allowed"},
        {"{\"dependentRequired\":{\"a\":[\"b\"]}}", "{\"a\":1}", "dependentRequired", "",
         "/dependentRequired", "the property \"b\" is missing"},
        {"{\"contains\":{\"const\":1}}", "[2]", "contains", "", "/contains",
         "0 elements are as contains demands, must be 1"},
        {"false", "1", "false", "", "", "no value is allowed here"},
    };

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct js_error err = {0};
        CHECK_EQ(by(cases[i].schema, cases[i].json, &err), 0);
        CHECK_STR(err.keyword, cases[i].keyword);
        CHECK_STR(err.instance_path, cases[i].instance);
        CHECK_STR(err.schema_path, cases[i].path);
        CHECK_STR(err.text, cases[i].text);
        CHECK_EQ(by(cases[i].schema, cases[i].json, NULL), 0);
    }
}

/* Paths that are too long end somewhere, whole. */
static void test_long_paths(void)
{
    char json[2000] = "", schema[4000] = "";
    struct js_error err = {0};

    for (unsigned i = 0; i < 30; i++) {
        strcat(schema, "{\"properties\":{\"a_rather_long_name\":");
        strcat(json, "{\"a_rather_long_name\":");
    }
    strcat(schema, "{\"type\":\"null\"}");
    strcat(json, "1");
    for (unsigned i = 0; i < 30; i++) {
        strcat(schema, "}}");
        strcat(json, "}");
    }
    CHECK_EQ(by(schema, json, &err), 0);
    CHECK_STR(err.keyword, "type");
    CHECK(strlen(err.instance_path) > 200 && strlen(err.instance_path) < sizeof err.instance_path);
    CHECK(strlen(err.schema_path) > 200 && strlen(err.schema_path) < sizeof err.schema_path);
    CHECK_MEM(err.instance_path, 20, "/a_rather_long_name/", 20);
}

/* ---- numbers --------------------------------------------------------------------------------- */

static void test_numbers(void)
{
    static const struct {
        const char *schema, *json;
        int valid;
    } cases[] = {
        {"{\"const\":1}", "1.0", 1},
        {"{\"const\":1}", "10e-1", 1},
        {"{\"const\":1}", "1.0000000000000000000000000001", 0},
        {"{\"const\":0}", "-0.0e5", 1},
        {"{\"enum\":[100]}", "1E2", 1},
        {"{\"const\":12345678901234567890}", "12345678901234567891", 0},
        {"{\"const\":12345678901234567890}", "1234567890123456789e1", 1},
        {"{\"maximum\":1e400}", "1e399", 1},
        {"{\"maximum\":1e400}", "1.1e400", 0},
        {"{\"minimum\":-1e400}", "-2e400", 0},
        {"{\"exclusiveMaximum\":0.3}", "0.3", 0},
        {"{\"exclusiveMaximum\":0.3}", "0.29999999999999999999999999999", 1},
        {"{\"exclusiveMinimum\":9007199254740992}", "9007199254740993", 1},
        {"{\"minimum\":1e-999999999999999999999999}", "0", 0},
        {"{\"multipleOf\":0.01}", "19.99", 1},
        {"{\"multipleOf\":0.01}", "19.995", 0},
        {"{\"multipleOf\":3}", "1e400", 0},
        {"{\"multipleOf\":3}", "111111111111111111111111111", 1},
        {"{\"multipleOf\":0.1}", "1e308", 1},
        {"{\"multipleOf\":1e10}", "123e9", 0},
        {"{\"multipleOf\":1e10}", "120e9", 1},
        {"{\"multipleOf\":7}", "0", 1},
        {"{\"type\":\"integer\"}", "1e400", 1},
        {"{\"type\":\"integer\"}", "1.50e1", 1},
        {"{\"type\":\"integer\"}", "1.5", 0},
        {"{\"type\":\"integer\"}", "1e-1", 0},
        {"{\"type\":\"integer\"}", "-0.0", 1},
        {"{\"maxLength\":1e999}", "\"abc\"", 1},
        {"{\"minItems\":1.0}", "[]", 0},
    };

    for (size_t i = 0; i < ARRAY_LEN(cases); i++)
        if (by(cases[i].schema, cases[i].json, NULL) != cases[i].valid) {
            fprintf(stderr, "%s: %s\n", cases[i].schema, cases[i].json);
            check_failed++;
        }
}

/* ---- equality -------------------------------------------------------------------------------- */

static void test_equality(void)
{
    static const struct {
        const char *schema, *json;
        int valid;
    } cases[] = {
        {"{\"const\":{\"a\":1,\"b\":[2,null]}}", "{ \"b\" : [ 2.0 , null ] , \"\\u0061\" : 1 }", 1},
        {"{\"const\":{\"a\":1,\"b\":2}}", "{\"b\":1,\"a\":2}", 0},
        {"{\"const\":{\"a\":1,\"b\":2}}", "{\"a\":1}", 0},
        {"{\"const\":[1,2]}", "[2,1]", 0},
        {"{\"const\":\"a\\/b\"}", "\"a/b\"", 1},
        {"{\"const\":\"\\ud83d\\ude00\"}", "\"\xf0\x9f\x98\x80\"", 1},
        {"{\"const\":false}", "0", 0},
        {"{\"enum\":[null,true,\"x\",{\"\":{}}]}", "{\"\":{ }}", 1},
        {"{\"enum\":[]}", "1", 0},
        {"{\"uniqueItems\":true}", "[{\"a\":1,\"b\":2},{\"b\":2.0,\"a\":1}]", 0},
        {"{\"uniqueItems\":true}", "[1,true,\"1\",[1],[\"1\"],null,0,false,{},[]]", 1},
        {"{\"uniqueItems\":true}", "[\"abcdefgh\\u0069\",\"abcdefghi\"]", 0},
        {"{\"minLength\":2}", "\"\\ud83d\\ude00\"", 0},
        {"{\"minLength\":2}", "\"\\ud83dx\"", 1},
        {"{\"maxLength\":2}", "\"\xc3\xa9\\n\"", 1},
    };

    for (size_t i = 0; i < ARRAY_LEN(cases); i++)
        if (by(cases[i].schema, cases[i].json, NULL) != cases[i].valid) {
            fprintf(stderr, "%s: %s\n", cases[i].schema, cases[i].json);
            check_failed++;
        }
}

/* Quadratic, this would be 1.25 * 10^9 comparisons of objects. */
static void test_many_unique(void)
{
    enum { N = 50000 };
    char *const json = malloc(N * 32), *p = json;

    *p++ = '[';
    for (unsigned i = 0; i < N; i++)
        p += sprintf(p, "%s{\"n\":%u}", i ? "," : "", i);
    strcpy(p, "]");
    CHECK_EQ(by("{\"uniqueItems\":true}", json, NULL), 1);
    strcpy(p, ",{\"n\":49999}]");
    CHECK_EQ(by("{\"uniqueItems\":true}", json, NULL), 0);
    free(json);
}

/* Values that were sought so that they stand side by side in the table: to look for a free place is work. */
static void test_unique_that_meet(void)
{
    enum { N = 12000, SLOTS = 32768 };
    char *const json = malloc(N * 12), *p = json, number[12];
    struct js_error err;

    *p++ = '[';
    for (unsigned i = 0, n = 0; n < N; i++) {
        (void)sprintf(number, "%u", i);
        if (js_value_hash(of(number)) % SLOTS < SLOTS / 32)
            p += sprintf(p, "%s%s", n++ ? "," : "", number);
    }
    strcpy(p, "]");
    CHECK_EQ(by("{\"uniqueItems\":true}", json, &err), -E2BIG);
    CHECK(strstr(err.text, "too much work") != NULL);
    free(json);
}

/* What is deep and long is not crossed again and again at each depth. */
static void test_deep_and_long(void)
{
    static const char *const schemas[] = {
        "{\"uniqueItems\":true,\"items\":{\"$ref\":\"#\"}}",
        "{\"type\":\"array\",\"items\":{\"anyOf\":[{\"const\":[[[]]]},{\"$ref\":\"#\"},true]}}",
        "{\"unevaluatedItems\":false,\"items\":{\"$ref\":\"#\"}}",
    };
    enum { DEPTH = 100, N = 900000 };
    char *const json = malloc(N + 4 * DEPTH + 16), *p = json;

    for (unsigned i = 0; i < DEPTH; i++)
        *p++ = '[';
    *p++ = '"';
    memset(p, 'x', N);
    p += N;
    *p++ = '"';
    for (unsigned i = 0; i < DEPTH; i++)
        p = stpcpy(p, ",1]");
    for (size_t i = 0; i < ARRAY_LEN(schemas); i++)
        CHECK_EQ(by(schemas[i], json, NULL), 1);
    free(json);
}

/* Each of the 10,000 crosses the whole value: that is too much, and said soon. */
static void test_many_crossings(void)
{
    enum { SCHEMAS = 10000, N = 900000 };
    char *const json = malloc(N + 32), *const schema = malloc(SCHEMAS * 32 + 32), *p = schema;
    struct js_error err = {0};

    p = stpcpy(p, "{\"allOf\":[true");
    for (unsigned i = 0; i < SCHEMAS; i++)
        p = stpcpy(p, ",{\"minProperties\":1}");
    strcpy(p, "]}");
    memset(json, '1', N + 16);
    memcpy(json, "{\"a\":\"", 6);
    strcpy(json + N, "\"}");
    CHECK_EQ(by(schema, json, &err), -E2BIG);
    CHECK_STR(err.text, "validating this value by this schema takes too much work");
    free(schema);
    free(json);
}

/* ---- compiling ------------------------------------------------------------------------------- */

static void test_refused(void)
{
    static const struct {
        const char *schema, *path, *text; /* its beginning */
    } cases[] = {
        {"", "", "the value was never finished, at byte 0"},
        {"{\"type\":", "", "the value was never finished, at byte 8"},
        {"{\"type\":}", "", ""},
        {"1", "", "is a number, must be boolean or object"},
        {"{\"type\":\"strin\"}", "/type", ""},
        {"{\"properties\":{\"a\":{\"minimum\":\"x\"}}}", "/properties/a/minimum",
         "is a string, must be number"},
        {"{\"required\":[\"a\",\"a\"]}", "/required", "two elements are equal"},
        {"{\"maxLength\":-1}", "/maxLength", "-1 is less"},
        {"{\"multipleOf\":0}", "/multipleOf", "0 must be greater"},
        {"{\"anyOf\":[]}", "/anyOf", "has 0 elements"},
        {"{\"$ref\":\"#/$defs/a\"}", "/$ref", "the reference #/$defs/a leads nowhere"},
        {"{\"$ref\":\"#a\"}", "/$ref", "the reference #a leads nowhere"},
        {"{\"$ref\":\"http://example.com/x\"}", "/$ref",
         "the reference http://example.com/x leads nowhere"},
        {"{\"$ref\":\"#\"}", "", "this schema applies itself"},
        {"{\"properties\":{\"a\":{\"anyOf\":[{\"type\":\"null\"},{\"$ref\":\"#/properties/a\"}]}}}",
         "/properties/a", "this schema applies itself"},
        {"{\"$schema\":\"http://json-schema.org/draft-07/schema#\"}", "/$schema",
         "the meta-schema http://json-schema.org/draft-07/schema is not known"},
        {"{\"$anchor\":\"a\",\"items\":{\"$anchor\":\"a\"}}", "/items/$anchor",
         "the anchor a stands twice"},
        {"{\"items\":{\"$id\":\"x\"},\"not\":{\"$id\":\"x\"}}", "/not/$id", "two schemas"},
        {"{\"type\":\"null\",\"type\":\"string\"}", "/type", "a name stands twice"},
        {"{\"$ref\":\"#/x\",\"x\":1}", "/x", "a schema must be"},
    };

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct js_schema *s = NULL;
        struct js_error err = {0};
        const int r = js_compile(of(cases[i].schema), NULL, &s, &err);
        CHECK_EQ(r, -EINVAL);
        CHECK(s == NULL && err.text[0]);
        if (strcmp(err.schema_path, cases[i].path) != 0 ||
            strncmp(err.text, cases[i].text, strlen(cases[i].text)) != 0) {
            fprintf(stderr, "%s: '%s' '%s'\n", cases[i].schema, err.schema_path, err.text);
            check_failed++;
        }
        CHECK_EQ(js_compile(of(cases[i].schema), NULL, &s, NULL), -EINVAL);
    }
}

static void test_limits(void)
{
    struct js_schema *s = NULL;
    struct js_error err = {0};
    const size_t n = LIMIT_SCHEMA_BYTES;
    char *const text = malloc(n + 64);

    memset(text, ' ', n + 1);
    memcpy(text, "{}", 2);
    CHECK_EQ(js_compile((struct slice){text, n}, NULL, &s, &err), 0);
    js_free(s);
    CHECK_EQ(js_compile((struct slice){text, n + 1}, NULL, &s, &err), -E2BIG);
    CHECK_STR(err.text, "more than 1048576 bytes");

    char *p = text + sprintf(text, "{\"allOf\":[{}");
    for (unsigned i = 0; i < LIMIT_SCHEMA_NODES; i++)
        p += sprintf(p, ",{}");
    strcpy(p, "]}");
    CHECK_EQ(js_compile(of(text), NULL, &s, &err), -E2BIG);
    CHECK_STR(err.text, "more than 65536 subschemas");

    memset(text, '[', 200);
    CHECK_EQ(js_compile((struct slice){text, 200}, NULL, &s, &err), -EINVAL);

    p = text + sprintf(text, "{\"$defs\":{");
    for (unsigned i = 0; i <= LIMIT_SCHEMA_NAMES; i++)
        p += sprintf(p, "%s\"%u\":{\"$anchor\":\"a%u\"}", i ? "," : "", i, i);
    strcpy(p, "}}");
    CHECK_EQ(js_compile(of(text), NULL, &s, &err), -E2BIG);
    CHECK_STR(err.text, "more than 1024 anchors");
    for (p = text; (p = strstr(p, "$anchor\":\"a"));)
        memcpy(p, "$id\"    :\"a", strlen("$id\"    :\"a"));
    CHECK_EQ(js_compile(of(text), NULL, &s, &err), -E2BIG);
    CHECK_STR(err.text, "more than 1024 of $id");

    p = text + sprintf(text, "{\"pattern\":\"");
    memset(p, 'a', LIMIT_PATTERN_BYTES + 1);
    strcpy(p + LIMIT_PATTERN_BYTES + 1, "\"}");
    CHECK_EQ(js_compile(of(text), NULL, &s, &err), -E2BIG);
    CHECK_STR(err.text, "pattern has a bad regular expression: longer than 4096 bytes");
    strcpy(p + LIMIT_PATTERN_BYTES, "\"}");
    CHECK_EQ(js_compile(of(text), NULL, &s, &err), 0);
    js_free(s);
    free(text);
    s = NULL;

    /* Twice as many schemas each level of the value: 2^40. */
    s = compiled("{\"properties\":{\"a\":{\"allOf\":[{\"$ref\":\"#\"},{\"$ref\":\"#\"}]}}}");
    char json[512] = "";
    for (unsigned i = 0; i < 40; i++)
        strcat(json, "{\"a\":");
    strcat(json, "1");
    for (unsigned i = 0; i < 40; i++)
        strcat(json, "}");
    CHECK_EQ(validated(s, json, &err), -E2BIG);
    CHECK_STR(err.text, "validating this value by this schema takes too much work");
    js_free(s);
    /* A circle that only shows where a $dynamicRef leads. */
    s = compiled("{\"$id\":\"http://x/"
                 "a\",\"$dynamicAnchor\":\"d\",\"$ref\":\"b\",\"$defs\":{\"b\":{\"$id\":\"b\","
                 "\"$dynamicRef\":\"#d\",\"$defs\":{\"d\":{\"$dynamicAnchor\":\"d\"}}}}}");
    CHECK_EQ(validated(s, "1", &err), -E2BIG);
    CHECK_STR(err.text, "schemas apply each other too deep for this value, or without end");
    js_free(s);
}

static int resolve_twice(void *arg, struct slice uri, struct slice *ret_text)
{
    ++*(unsigned *)arg;
    if (slice_eq(uri, of("http://x/other")))
        *ret_text = of(
            "{\"$id\":\"http://x/moved\",\"type\":\"string\",\"$defs\":{\"n\":{\"maximum\":2}}}");
    else if (slice_eq(uri, of("http://x/bad")))
        *ret_text = of("{\"properties\":[]}");
    else if (uri.n > 9 && memcmp(uri.p, "http://y/", 9) == 0)
        *ret_text = of("{\"type\":\"string\"}");
    else
        return -ENOENT;
    return 0;
}

/* A regular expression of a few bytes may need thousands. */
static void test_memory(void)
{
    enum { N = 5000 };
    char *const text = malloc(N * 40), *p = text;
    struct js_schema *s = NULL;
    struct js_error err;

    p += sprintf(p, "{\"anyOf\":[");
    for (unsigned i = 0; i < N; i++)
        p += sprintf(p, "%s{\"pattern\":\"((a){40}){20}%u\"}", i ? "," : "", i);
    strcpy(p, "]}");
    CHECK_EQ(js_compile(of(text), NULL, &s, &err), -E2BIG);
    CHECK_STR(err.text, "compiled it has more than 67108864 bytes");
    CHECK(s == NULL);
    free(text);
    s = compiled("true");
    CHECK(js_bytes(s) < 8192);
    js_free(s);
}

static void test_resolving(void)
{
    unsigned asked = 0;
    const struct js_options o = {.resolve = resolve_twice, .resolve_arg = &asked};
    struct js_schema *s = NULL;
    struct js_error err = {0};

    CHECK_EQ(js_compile(of("{\"$id\":\"http://x/a/\",\"items\":{\"$ref\":\"../"
                           "other\"},\"prefixItems\":[{\"$ref\":"
                           "\"http://x/other#/$defs/n\"}]}"),
                        &o, &s, &err),
             0);
    CHECK_EQ(asked, 1);
    CHECK_EQ(validated(s, "[1,\"x\"]", &err), 1);
    CHECK_EQ(validated(s, "[3]", &err), 0);
    CHECK_STR(err.schema_path, "http://x/other#/$defs/n/maximum");
    CHECK_EQ(validated(s, "[1,2]", &err), 0);
    CHECK_STR(err.instance_path, "/1");
    js_free(s);
    CHECK_EQ(js_compile(of("{\"$ref\":\"http://x/bad\"}"), &o, &s, &err), -EINVAL);
    CHECK_STR(err.schema_path, "http://x/bad#/properties");

    char many[8192] = "{\"allOf\":[true", *p = many + strlen(many);
    for (unsigned i = 0; i < LIMIT_SCHEMA_DOCUMENTS; i++)
        p += sprintf(p, ",{\"$ref\":\"http://y/%u\"}", i);
    strcpy(p, "]}");
    CHECK_EQ(js_compile(of(many), &o, &s, &err), -E2BIG);
    CHECK_STR(err.text, "more than 64 documents");
}

/* ---- threads --------------------------------------------------------------------------------- */

static void *validate_often(void *arg)
{
    for (unsigned i = 0; i < 2000; i++) {
        struct js_error err;
        CHECK_EQ(validated(arg, "{\"a\":[\"abc\",{\"b\":\"x\\u0301.example\"}]}", &err), 1);
        CHECK_EQ(validated(arg, "{\"a\":[\"abd\"]}", &err), 0);
    }
    return NULL;
}

static void test_threads(void)
{
    struct js_schema *const s = compiled(
        "{\"properties\":{\"a\":{\"items\":{\"anyOf\":[{\"pattern\":\"^a.c$\",\"type\":\"string\"},"
        "{\"type\":\"object\",\"properties\":{\"b\":{\"format\":\"idn-hostname\"}}}]},"
        "\"uniqueItems\":true}},\"unevaluatedProperties\":false}");
    pthread_t t[4];

    for (size_t i = 0; i < ARRAY_LEN(t); i++)
        CHECK_EQ(pthread_create(&t[i], NULL, validate_often, s), 0);
    for (size_t i = 0; i < ARRAY_LEN(t); i++)
        (void)pthread_join(t[i], NULL);
    js_free(s);
}

int main(void)
{
    RUN(test_reports);
    RUN(test_long_paths);
    RUN(test_numbers);
    RUN(test_equality);
    RUN(test_many_unique);
    RUN(test_unique_that_meet);
    RUN(test_deep_and_long);
    RUN(test_many_crossings);
    RUN(test_refused);
    RUN(test_limits);
    RUN(test_memory);
    RUN(test_resolving);
    RUN(test_threads);
    CHECK_DONE();
}
