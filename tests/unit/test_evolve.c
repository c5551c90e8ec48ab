/* SPDX-License-Identifier: MIT */
#include "check.h"
#include "store/evolve.h"
#include "store/limits.h"

#include <errno.h>
#include <time.h>

static struct slice text(const char *s)
{
    return (struct slice){s, strlen(s)};
}

static struct evolve diff(const char *from, const char *to, unsigned flags)
{
    struct evolve e = {0};

    CHECK_EQ(evolve_diff(text(from), text(to), flags, &e), 0);
    return e;
}

/* ---- verdicts -------------------------------------------------------------------------------- */

#define AB(type_a, type_b)                                                                         \
    "{\"type\":\"object\",\"properties\":{\"a\":{\"type\":\"" type_a                               \
    "\"},\"b\":{\"type\":\"" type_b "\"}}}"
#define A(keywords) "{\"type\":\"object\",\"properties\":{\"a\":{" keywords "}}}"

static const struct {
    const char *from, *to, *verdict;
    unsigned flags;
} verdicts[] = {
    {"true", "true", "full", 0},
    {"true", "{}", "full", 0},
    {"false", "true", "backward", 0},
    {"{\"type\":\"integer\"}", "{\"type\":\"number\"}", "backward", 0},
    {"{\"type\":\"number\"}", "{\"type\":\"integer\"}", "forward", 0},
    {"{\"type\":\"string\"}", "{\"type\":[\"string\",\"null\"]}", "backward", 0},
    {"{\"type\":\"string\"}", "{\"type\":\"integer\"}", "none", 0},
    {"{\"type\":\"string\",\"title\":\"a\",\"x-evfs-count\":1}", "{\"type\":\"string\"}", "full",
     0},
    /* objects are open: b may have been anything */
    {A("\"type\":\"string\""), AB("string", "string"), "forward", 0},
    {A("\"type\":\"string\""), AB("string", "string"), "full", EVOLVE_CLOSED},
    {AB("string", "string"), A("\"type\":\"string\""), "backward", 0},
    {A("\"type\":\"integer\""), A("\"type\":\"number\""), "backward", 0},
    {A("\"format\":\"date\""), A("\"minimum\":1"), "none", 0},
    {"{\"required\":[\"a\",\"b\"]}", "{\"required\":[\"a\"]}", "backward", 0},
    {"{\"required\":[\"a\"]}", "{\"required\":[\"b\"]}", "none", 0},
    {"{\"additionalProperties\":false}", "{}", "backward", 0},
    {"{\"additionalProperties\":false}", "{\"properties\":{\"a\":{\"type\":\"null\"}}}", "backward",
     0},
    {"{\"properties\":{\"a\":{\"type\":\"string\"}},\"additionalProperties\":{\"type\":\"string\"}"
     "}",
     "{\"additionalProperties\":{\"type\":\"string\"}}", "full", 0},
    {"{\"properties\":{\"a\":{\"type\":\"string\"}},\"additionalProperties\":false}",
     "{\"properties\":{\"a\":{\"type\":\"string\"},\"b\":{}},\"additionalProperties\":false}",
     "backward", 0},
    {"{\"patternProperties\":{\"^a\":{\"type\":\"string\"}}}",
     "{\"patternProperties\":{\"^a\":{}}}", "backward", 0},
    {"{\"patternProperties\":{\"^a\":{\"type\":\"string\"}}}",
     "{\"patternProperties\":{\"^b\":{\"type\":\"string\"}}}", "none", 0},
    {"{\"patternProperties\":{\"^a\":{\"type\":\"string\"}},\"additionalProperties\":{\"type\":"
     "\"integer\"}}",
     "{\"properties\":{\"ab\":{\"type\":\"integer\"}}}", "none", 0},
    /* bounds */
    {"{\"minimum\":5}", "{\"minimum\":4.5}", "backward", 0},
    {"{\"exclusiveMinimum\":5}", "{\"minimum\":5}", "backward", 0},
    {"{\"minimum\":5}", "{\"exclusiveMinimum\":5}", "forward", 0},
    {"{\"maximum\":5,\"minimum\":1}", "{\"maximum\":6,\"minimum\":2}", "none", 0},
    {"{\"minLength\":2,\"maxLength\":3}", "{\"minLength\":1,\"maxLength\":4}", "backward", 0},
    {"{\"multipleOf\":6}", "{\"multipleOf\":3}", "backward", 0},
    {"{\"multipleOf\":0.5}", "{\"multipleOf\":0.25}", "none", 0},
    {"{\"pattern\":\"^a\"}", "{}", "backward", 0},
    {"{\"pattern\":\"^a\"}", "{\"pattern\":\"a\"}", "none", 0},
    {"{\"format\":\"date\"}", "{}", "backward", 0},
    {"{\"format\":\"date\"}", "{\"format\":\"date-time\"}", "none", 0},
    {"{\"minItems\":1,\"uniqueItems\":true}", "{\"minItems\":0}", "backward", 0},
    {"{\"required\":[\"a\",\"b\"]}", "{\"minProperties\":2}", "backward", 0},
    /* arrays */
    {"{\"items\":{\"type\":\"integer\"}}", "{\"items\":{\"type\":\"number\"}}", "backward", 0},
    {"{\"prefixItems\":[{\"type\":\"integer\"}],\"items\":{\"type\":\"string\"}}",
     "{\"items\":{\"type\":[\"string\",\"integer\"]}}", "backward", 0},
    {"{\"items\":{\"type\":\"string\"},\"maxItems\":1}",
     "{\"prefixItems\":[{\"type\":\"string\"},{\"type\":\"null\"}]}", "backward", 0},
    {"{\"type\":\"array\"}", "{\"type\":\"array\",\"items\":{\"type\":\"string\"}}", "forward", 0},
    {"{\"type\":\"array\"}", "{\"type\":\"array\",\"items\":{\"type\":\"string\"}}", "full",
     EVOLVE_CLOSED},
    {"{\"type\":\"array\",\"x-evfs-limit\":\"nodes\"}",
     "{\"type\":\"array\",\"items\":{\"type\":\"string\"}}", "forward", EVOLVE_CLOSED},
    /* values */
    {"{\"enum\":[1,2]}", "{\"enum\":[1.0,2,3]}", "backward", 0},
    {"{\"enum\":[1,2]}", "{\"type\":\"integer\"}", "backward", 0},
    {"{\"enum\":[\"a\",\"bb\",null]}", "{\"type\":[\"string\",\"null\"],\"maxLength\":2}",
     "backward", 0},
    {"{\"enum\":[\"a\",\"bbb\",null]}", "{\"type\":[\"string\",\"null\"],\"maxLength\":2}", "none",
     0},
    {"{\"const\":{\"a\":[1]}}",
     "{\"required\":[\"a\"],\"properties\":{\"a\":{\"items\":{\"minimum\":1}}}}", "backward", 0},
    {"{\"type\":\"boolean\"}", "{\"enum\":[true,false]}", "full", 0},
    {"{\"enum\":[\"a\"],\"type\":\"integer\"}", "false", "full", 0},
    /* combined */
    {"{\"type\":\"string\"}", "{\"anyOf\":[{\"type\":\"string\"},{\"type\":\"array\"}]}",
     "backward", 0},
    {"{\"type\":[\"string\",\"array\"]}",
     "{\"anyOf\":[{\"type\":\"string\"},{\"type\":\"array\"}]}", "full", 0},
    {"{\"oneOf\":[{\"type\":\"string\"},{\"type\":\"null\"}]}", "{\"type\":[\"null\",\"string\"]}",
     "full", 0},
    {"{\"oneOf\":[{\"type\":\"string\"},{\"minLength\":2}]}", "{\"type\":\"string\"}", "none", 0},
    {"{\"allOf\":[{\"minimum\":1},{\"type\":\"integer\"}]}", "{\"type\":\"integer\",\"minimum\":1}",
     "full", 0},
    {"{\"type\":\"integer\"}", "{\"not\":{\"type\":\"string\"}}", "backward", 0},
    {"{\"not\":{\"type\":\"string\"}}", "{\"not\":{\"type\":\"string\"},\"title\":\"x\"}", "full",
     0},
    {"{\"not\":{\"type\":\"string\"}}", "{\"not\":{\"type\":\"integer\"}}", "none", 0},
    {"{\"type\":\"integer\"}", "{\"if\":{\"type\":\"string\"},\"then\":{\"maxLength\":1}}",
     "backward", 0},
    {"{\"type\":\"object\",\"required\":[\"t\",\"a\"],\"properties\":{\"t\":{\"const\":\"x\"}}}",
     "{\"oneOf\":[{\"required\":[\"t\",\"a\"],\"properties\":{\"t\":{\"const\":\"x\"}}},"
     "{\"required\":[\"t\"],\"properties\":{\"t\":{\"const\":\"y\"}}}]}",
     "backward", 0},
    /* references */
    {"{\"$ref\":\"#/$defs/a\",\"$defs\":{\"a\":{\"type\":\"integer\"}}}", "{\"type\":\"integer\"}",
     "full", 0},
    {"{\"$ref\":\"#/$defs/a~1b%25\",\"$defs\":{\"a/b%\":{\"type\":\"integer\"}}}",
     "{\"type\":\"integer\"}", "full", 0},
    {"{\"items\":{\"$ref\":\"#/$defs/a\"},\"$defs\":{\"a\":{\"type\":\"integer\"}}}",
     "{\"items\":{\"$ref\":\"#/$defs/a\"},\"$defs\":{\"a\":{\"type\":\"string\"}}}", "none", 0},
    {"{\"$ref\":\"#\"}", "{\"$ref\":\"#\",\"title\":\"x\"}", "none", 0},
    {"{\"$ref\":\"https://example.org/s\"}", "{\"$ref\":\"https://example.org/s\",\"title\":\"x\"}",
     "none", 0},
    {"{\"$dynamicRef\":\"#a\"}", "{}", "backward", 0},
    {"{\"contains\":{}}", "{\"contains\":{\"type\":\"string\"}}", "none", 0},
    {"{\"propertyNames\":{\"maxLength\":3}}",
     "{\"propertyNames\":{\"maxLength\":3},\"title\":\"\"}", "full", 0},
    {"{\"unevaluatedProperties\":false}", "{\"unevaluatedProperties\":false,\"title\":\"\"}",
     "none", 0},
    {"{\"$schema\":\"http://json-schema.org/draft-07/schema#\"}", "{}", "none", 0},
    {"{\"minimum\":0.1000000000000000055}", "{\"minimum\":0.1}", "none", 0},
    {"{\"maximum\":1e999}", "{}", "none", 0}};

static void who_can_read_what(void)
{
    for (size_t i = 0; i < ARRAY_LEN(verdicts); i++) {
        struct evolve e = diff(verdicts[i].from, verdicts[i].to, verdicts[i].flags);
        if (strcmp(evolve_verdict(&e), verdicts[i].verdict) != 0)
            fprintf(stderr, "%s -> %s:\n", verdicts[i].from, verdicts[i].to);
        CHECK_STR(evolve_verdict(&e), verdicts[i].verdict);
        CHECK_EQ(e.backward.holds, e.backward.n == 0);
        CHECK_EQ(e.forward.holds, e.forward.n == 0);
        evolve_done(&e);
    }
}

static void texts_that_are_no_schema(void)
{
    static const char *const bad[] = {"", "1", "[]", "\"a\"", "{", "{\"a\":1,\"a\":2}", "{} {}"};

    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        struct evolve e = {0};
        CHECK_EQ(evolve_diff(text(bad[i]), text("{}"), 0, &e), -EINVAL);
        CHECK_EQ(evolve_diff(text("{}"), text(bad[i]), 0, &e), -EINVAL);
        CHECK(!e.change);
    }
}

/* ---- changes --------------------------------------------------------------------------------- */

static void check_json(const char *from, const char *to, unsigned flags, const char *want)
{
    struct evolve e = diff(from, to, flags);
    char *p = NULL;
    size_t n = 0;

    CHECK_EQ(evolve_json(&e, &p, &n), 0);
    CHECK_MEM(p, n, want, strlen(want));
    free(p);
    evolve_done(&e);
}

static void what_changed(void)
{
    check_json(
        "{\"type\":\"object\",\"required\":[\"a\",\"b\"],\"properties\":{\"a\":{\"type\":"
        "\"integer\"},"
        "\"b\":{\"type\":\"string\",\"format\":\"date\",\"x-evfs-count\":3}}}",
        "{\"type\":\"object\",\"required\":[\"a\"],\"properties\":{\"a\":{\"type\":[\"integer\","
        "\"null\"]},"
        "\"b\":{\"type\":\"string\"},\"c/d\":{\"type\":\"array\",\"examples\":[1]}}}",
        EVOLVE_CLOSED,
        "{\"compatible\":\"backward\",\"changes\":["
        "{\"path\":\"/a\",\"what\":\"widened\",\"keyword\":\"type\",\"from\":\"integer\","
        "\"to\":[\"integer\",\"null\"]},"
        "{\"path\":\"/b\",\"what\":\"format lost\",\"keyword\":\"format\",\"from\":\"date\"},"
        "{\"path\":\"/"
        "c~1d\",\"what\":\"added\",\"keyword\":\"properties\",\"to\":{\"type\":\"array\"}},"
        "{\"path\":\"/b\",\"what\":\"optional\",\"keyword\":\"required\"}],"
        "\"backward\":[],\"forward\":["
        "{\"path\":\"\",\"why\":\"required: 'b' may be missing\"},"
        "{\"path\":\"/a\",\"why\":\"type: it may be null\"},"
        "{\"path\":\"/b\",\"why\":\"format: not known to be date\"}]}");
    check_json(
        "{\"items\":{\"properties\":{\"a\":{\"type\":\"string\"}}}}",
        "{\"items\":{\"properties\":{\"a\":{\"anyOf\":[{\"type\":\"string\"},{\"type\":\"object\"}]"
        "}}}}",
        0,
        "{\"compatible\":\"backward\",\"changes\":[{\"path\":\"/*/a\",\"what\":\"widened\","
        "\"keyword\":\"type\",\"from\":\"string\",\"to\":[\"string\",\"object\"]}],\"backward\":[],"
        "\"forward\":[{\"path\":\"/*/a\",\"why\":\"type: it may be object\"}]}");
    check_json("{\"maximum\":3,\"enum\":[1,2]}", "{\"maximum\":2,\"enum\":[1,2,3]}", 0,
               "{\"compatible\":\"backward\",\"changes\":[{\"path\":\"\",\"what\":\"widened\","
               "\"keyword\":\"enum\","
               "\"from\":[1,2],\"to\":[1,2,3]},{\"path\":\"\",\"what\":\"narrowed\",\"keyword\":"
               "\"maximum\","
               "\"from\":3,\"to\":2}],\"backward\":[],\"forward\":[{\"path\":\"\",\"why\":\"enum: "
               "not all values are listed\"}]}");
    check_json("{\"type\":\"string\",\"description\":\"a\"}",
               "{\"type\":\"string\",\"examples\":[\"b\"]}", 0,
               "{\"compatible\":\"full\",\"changes\":[],\"backward\":[],\"forward\":[]}");
    check_json(
        "{\"additionalProperties\":false}", "{\"additionalProperties\":{\"type\":\"null\"}}", 0,
        "{\"compatible\":\"backward\",\"changes\":[{\"path\":\"\",\"what\":\"widened\","
        "\"keyword\":\"additionalProperties\",\"from\":false,\"to\":{\"type\":\"null\"}}],"
        "\"backward\":[],\"forward\":[{\"path\":\"/*\",\"why\":\"false: nothing is allowed\"}]}");
}

static void lines_for_a_person(void)
{
    struct evolve e = diff(
        "{\"type\":\"object\",\"properties\":{\"a\":{\"type\":\"integer\"}}}",
        "{\"type\":\"object\",\"required\":[\"a\"],\"properties\":{\"a\":{\"type\":\"string\"}}}",
        0);
    char *p = NULL;
    size_t n = 0;

    CHECK_EQ(evolve_text(&e, &p, &n), 0);
    CHECK_STR(p, "type changed   /a  type  \"integer\" -> \"string\"\n"
                 "required       /a\n"
                 "backward: no, new readers may refuse old data\n"
                 "    (all of it): required: 'a' may be missing\n"
                 "    /a: type: it may be integer\n"
                 "forward: no, old readers may refuse new data\n"
                 "    /a: type: it may be string\n"
                 "compatible: none\n");
    free(p);
    evolve_done(&e);
}

/* ---- limits ---------------------------------------------------------------------------------- */

/* Schemas that would take for ever: an end, and no verdict that isn't proved. */
static void hostile_schemas(void)
{
    char deep[40000] = "", *p = deep;
    struct evolve e;

    /* $defs that double at each step */
    p += sprintf(p, "{\"$ref\":\"#/$defs/d0\",\"$defs\":{");
    for (unsigned i = 0; i < 30; i++)
        p += sprintf(p,
                     "\"d%u\":{\"anyOf\":[{\"$ref\":\"#/$defs/d%u\"},{\"$ref\":\"#/$defs/"
                     "d%u\",\"minimum\":%u}]},",
                     i, i + 1, i + 1, i);
    p += sprintf(p, "\"d30\":{\"type\":\"integer\"}}}");
    e = diff(deep, "{\"type\":\"integer\",\"maximum\":1}", 0);
    CHECK_STR(evolve_verdict(&e), "forward");
    evolve_done(&e);
    p = deep;
    for (unsigned i = 0; i < 1000; i++)
        p += sprintf(p, "{\"items\":");
    p += sprintf(p, "true");
    for (unsigned i = 0; i < 1000; i++)
        p += sprintf(p, "}");
    CHECK(evolve_diff(text(deep), text("{}"), 0, &e) == -EINVAL);
    e = diff("{\"properties\":{\"a\":{\"$ref\":\"#\"}},\"type\":\"object\"}",
             "{\"properties\":{\"a\":{\"$ref\":\"#\"}},\"type\":[\"object\",\"null\"]}", 0);
    CHECK(!e.forward.holds);
    evolve_done(&e);
}

/* Long lists in both: an end in time, and no verdict that isn't proved. */
static void long_lists(void)
{
    static const char *const keyword[] = {"enum", "required"};
    enum { N = 40000 };

    for (unsigned k = 0; k < 2; k++) {
        AUTO_FREE char *a = malloc(N * 12 + 64), *b = malloc(N * 12 + 64);
        char *p = a + sprintf(a, "{\"%s\":[", keyword[k]),
             *q = b + sprintf(b, "{\"%s\":[", keyword[k]);
        for (unsigned i = 0; i < N; i++) {
            p += sprintf(p, "%s\"a%u\"", i ? "," : "", i);
            q += sprintf(q, "%s\"a%u\"", i ? "," : "", N - i);
        }
        strcpy(p, "]}"), strcpy(q, "]}");
        struct evolve e = diff(a, b, 0);
        CHECK_STR(evolve_verdict(&e), "none");
        CHECK(e.more || e.n > 0);
        evolve_done(&e);
    }
}

static void many_changes(void)
{
    static char from[200000], to[200000];
    char *p = from, *q = to;

    p += sprintf(p, "{\"properties\":{"), q += sprintf(q, "{\"properties\":{");
    for (unsigned i = 0; i <= LIMIT_EVOLVE_CHANGES; i++) {
        p += sprintf(p, "%s\"f%u\":{\"type\":\"integer\"}", i ? "," : "", i);
        q += sprintf(q, "%s\"f%u\":{\"type\":\"string\"}", i ? "," : "", i);
    }
    strcpy(p, "}}"), strcpy(q, "}}");
    struct evolve e = diff(from, to, 0);
    CHECK_EQ(e.n, LIMIT_EVOLVE_CHANGES);
    CHECK(e.more);
    CHECK_EQ(e.backward.n, EVOLVE_REASONS_MAX);
    evolve_done(&e);
}

/* Names that can't occur, each looked up for each schema: 2 * 10^9 times, were that no work. */
static void names_that_never_occur(void)
{
    enum { NAMES = 100000, SCHEMAS = 20000 };
    char *const from = malloc(NAMES * 20), *const to = malloc(SCHEMAS * 48), *p = from, *q = to;

    p += sprintf(p, "{\"properties\":{");
    for (unsigned i = 0; i < NAMES; i++)
        p += sprintf(p, "%s\"f%u\":false", i ? "," : "", i);
    strcpy(p, "}}");
    q += sprintf(q, "{\"allOf\":[");
    for (unsigned i = 0; i < SCHEMAS; i++)
        q += sprintf(q, "%s{\"additionalProperties\":{\"minimum\":%u}}", i ? "," : "", i);
    strcpy(q, "]}");
    struct evolve e = diff(from, to, 0);
    CHECK(!e.backward.holds);
    evolve_done(&e);
    free(from);
    free(to);
}

/* A name is never cut within a character: what says it is JSON. */
static void names_of_any_length(void)
{
    char name[140], from[200];

    for (size_t n = 1; n < sizeof name / 2; n++) {
        memset(name, 'a', n);
        strcpy(name + n, "\xc3\xa9");
        (void)snprintf(from, sizeof from, "{\"required\":[\"%s\"]}", name);
        struct evolve e = diff(from, "{}", 0);
        AUTO_FREE char *json = NULL;
        size_t json_n;
        CHECK_EQ(evolve_json(&e, &json, &json_n), 0);
        CHECK(json && strstr(json, name) != NULL);
        evolve_done(&e);
    }
}

int main(void)
{
    RUN(who_can_read_what);
    RUN(texts_that_are_no_schema);
    RUN(what_changed);
    RUN(lines_for_a_person);
    RUN(hostile_schemas);
    RUN(long_lists);
    RUN(many_changes);
    RUN(names_that_never_occur);
    RUN(names_of_any_length);
    CHECK_DONE();
}
