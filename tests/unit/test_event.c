/* SPDX-License-Identifier: MIT */
/* event: fields in all spellings, CloudEvents, limits, positions; tests/corpus; the CloudEvents
 * project's own examples. Inputs lie at the end of their memory. */
#include "check.h"

#include "store/event.h"
#include "store/limits.h"
#include "store/scan.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <jansson.h>

static struct scratch scratch;
static struct event ev;
static struct evs_error err;
static char *input; /* what ev points into */

static ssize_t scan_n(const char *s, size_t n, unsigned flags)
{
    free(input);
    input = malloc(n + 1);
    memcpy(input + 1, s, n);
    scratch_reset(&scratch);
    return event_scan(input + 1, n, flags, &scratch, &ev, &err);
}

static ssize_t scan(const char *s)
{
    return scan_n(s, strlen(s), 0);
}

#define CHECK_SLICE(got, want) CHECK_MEM((got).p, (got).n, want, strlen(want))
#define CHECK_TAKEN(text)      CHECK_EQ(scan(text), strlen(text))
/* Refused at byte pos. */
#define CHECK_REFUSED(text, reason, at)                                                            \
    do {                                                                                           \
        CHECK_FAIL(scan(text), err, reason);                                                       \
        CHECK_EQ(err.pos, at);                                                                     \
    } while (0)

static void test_fields(void)
{
    CHECK_TAKEN(
        "{\"id\":\"i\",\"time\":\"2026-11-24T17:09:18.5Z\",\"entity\":\"a/b\",\"type\":\"t\","
        "\"meta\":{\"m\":1},\"expected_version\":18446744073709551614,\"data\":[ 1 ]}");
    CHECK_SLICE(ev.id, "i");
    CHECK_SLICE(ev.time, "2026-11-24T17:09:18.5Z");
    CHECK_SLICE(ev.entity, "a/b");
    CHECK_SLICE(ev.type, "t");
    CHECK_SLICE(ev.meta, "{\"m\":1}");
    CHECK_SLICE(ev.data, "[ 1 ]");
    CHECK(ev.expected == EVENT_ANY_VERSION - 1);
    CHECK(!ev.entity_escape && !ev.type_escape && !ev.id_escape && !ev.meta_breaks &&
          !ev.data_breaks);

    CHECK_EQ(scan("{}{}"), 2);
    CHECK(!ev.id.p && !ev.time.p && !ev.entity.p && !ev.type.p && !ev.meta.p && !ev.data.p);
    CHECK(ev.expected == EVENT_ANY_VERSION);

    CHECK_TAKEN("{\"event_type\":\"t\",\"entity_id\":\"e\",\"payload\":1,\"metadata\":{},"
                "\"timestamp\":\"2026-11-24t17:09:18+01:00\"}");
    CHECK_SLICE(ev.type, "t");
    CHECK_SLICE(ev.entity, "e");
    CHECK_SLICE(ev.data, "1");
    CHECK_SLICE(ev.meta, "{}");
    CHECK_SLICE(ev.time, "2026-11-24t17:09:18+01:00");

    CHECK_TAKEN("{\"id\":null,\"entity\":null,\"type\":null,\"time\":null,\"meta\":null,"
                "\"expected_version\":null,\"data\":null}");
    CHECK(!ev.id.p && !ev.time.p && !ev.entity.p && !ev.type.p && !ev.meta.p);
    CHECK_SLICE(ev.data, "null");
    CHECK_TAKEN("{\"seq\":{},\"version\":[],\"recorded\":1,\"uid\":null,\"crc\":\"\",\"tx\":-1e5}");
}

static void test_escapes(void)
{
    CHECK_TAKEN("{\"\\u0065ntity\":\"a\\u00e4\\/b\",\"type\":\"\\\"\",\"id\":\"\\n\"}");
    CHECK_SLICE(ev.entity, "a\xc3\xa4/b");
    CHECK_SLICE(ev.type, "\"");
    CHECK_SLICE(ev.id, "\n");
    CHECK(!ev.entity_escape && ev.type_escape && ev.id_escape);
    CHECK_TAKEN("{\"time\":\"2026-11-24T17:09:18\\u005a\"}");
    CHECK_SLICE(ev.time, "2026-11-24T17:09:18Z");
    CHECK_REFUSED("{\"entity\":1,\"\\u0065ntity\":2}", BAD_FIELD, 10);
    CHECK_REFUSED("{\"entity\":\"a\",\"\\u0065ntity\":\"b\"}", GIVEN_TWICE, 14);
    CHECK_REFUSED("{\"id\\\"\":1}", UNKNOWN_NAME, 1);
    CHECK(event_needs_escape((struct slice){"\xc3\xa4\x1f", 3}));
    CHECK(!event_needs_escape((struct slice){"\xc3\xa4/\x7f", 4}));
}

static void test_positions(void)
{
    CHECK_REFUSED("12", NOT_EVENT, 0);
    CHECK_REFUSED("[", NOT_EVENT, 0);
    CHECK_REFUSED("x", BAD_JSON, 0);
    CHECK_REFUSED("{\"type\":\"t\" \"id\"", BAD_JSON, 12);
    CHECK_REFUSED("{\"data\":[1,}", BAD_JSON, 11);
    CHECK_REFUSED("{\"id\":\"a\xff\"}", BAD_UTF8, 8);
    CHECK_REFUSED("{\"type\":tru}", BAD_JSON, 11);
    CHECK_REFUSED("{\"type\":\"t\",\"a\":1,\"b\":2}", UNKNOWN_NAME, 12);
    CHECK_REFUSED("{\"A\":1,", UNKNOWN_NAME, 1); /* nothing that follows makes it right */
    CHECK_REFUSED("{\"data\":1,\"payload\":2}", GIVEN_TWICE, 10);
    CHECK_REFUSED("{\"id\":\"\"}", BAD_NAME, 6);
    CHECK_REFUSED("{\"meta\":[]}", BAD_FIELD, 8);
    CHECK_REFUSED("{\"time\":\"now\"}", BAD_TIME, 8);
    CHECK_REFUSED("{\"expected_version\":1.0}", BAD_FIELD, 20);
    CHECK_REFUSED("{\"expected_version\":18446744073709551615}", BAD_FIELD, 20);
    ev.pos = 17; /* outputs are untouched on failure */
    ev.expected = 5;
    CHECK_FAIL(scan("{\"expected_version\":1,\"id\":7}"), err, BAD_FIELD);
    CHECK(ev.pos == 17 && ev.expected == 5);
}

static void test_lines(void)
{
    CHECK_TAKEN("{\r\n  \"data\": {\n    \"a\": 1\n  },\n \"meta\":{} }");
    CHECK(ev.data_breaks && !ev.meta_breaks);
    CHECK_TAKEN("{\"data\":[\n1\n],\"meta\":{\r\n}}");
    CHECK(ev.data_breaks && ev.meta_breaks);
    CHECK_REFUSED("{\"data\":1\n}", LINE_BREAK, 9);
    CHECK_REFUSED("{\"data\":1,\n\"id\":\"a\"}", LINE_BREAK, 10);
    CHECK_REFUSED("{\"data\":\n1}", LINE_BREAK, 8);
    CHECK_REFUSED("{\n\"data\":[1,\n2]}", LINE_BREAK, 12);
    CHECK_REFUSED("{\r\"data\":1}", LINE_BREAK, 2);
    CHECK_REFUSED("{\"entity\":\"a\n", LINE_BREAK, 12);
    CHECK_EQ(scan_n("{\r\"data\":[1,\n2]\n}", 17, SCAN_ANY_LINES), 17);
    CHECK(ev.data_breaks);
}

static void test_limits(void)
{
    char text[4096];

    for (unsigned over = 0; over < 2; over++) {
        static const struct {
            const char *field;
            unsigned limit;
        } names[] = {
            {"entity", LIMIT_ENTITY_BYTES}, {"type", LIMIT_TYPE_BYTES}, {"id", LIMIT_ID_BYTES}};
        for (size_t i = 0; i < ARRAY_LEN(names); i++) {
            int n = snprintf(text, sizeof text, "{\"%s\":\"\\u0041%0*d\"}", names[i].field,
                             (int)(names[i].limit - 1 + over), 0);
            if (over)
                CHECK_FAIL(scan(text), err, NAME_TOO_LONG);
            else
                CHECK_EQ(scan(text), n);
        }
        memset(text, '[', sizeof text);
        memcpy(text, "{\"data\":", 8);
        unsigned deep = LIMIT_DEPTH - 1 + over;
        memset(text + 8 + deep, ']', deep);
        text[8 + 2 * deep] = '}';
        if (over)
            CHECK_FAIL(scan_n(text, 9 + 2 * deep, 0), err, TOO_DEEP);
        else
            CHECK_EQ(scan_n(text, 9 + 2 * deep, 0), 9 + 2 * deep);
        if (!over) /* as an element of a transaction, it is one deeper */
            CHECK_FAIL(scan_n(text, 9 + 2 * deep, SCAN_DEPTH(1)), err, TOO_DEEP);
    }
    CHECK_EQ(event_check_entity((struct slice){text, LIMIT_ENTITY_BYTES + 1}, 3, &err),
             -ENAMETOOLONG);
    CHECK_EQ(err.pos, 3);
    CHECK_FAIL(event_check_type((struct slice){text, LIMIT_TYPE_BYTES + 1}, 0, &err), err,
               NAME_TOO_LONG);
    CHECK_FAIL(event_check_entity((struct slice){"", 0}, 0, &err), err, BAD_NAME);
    CHECK_FAIL(event_check_type((struct slice){"a\0b", 3}, 0, &err), err, BAD_NAME);
    CHECK_FAIL(event_check_type((struct slice){"\xed\xa0\x80", 3}, 0, &err), err, BAD_NAME);
    CHECK_EQ(event_check_entity((struct slice){"\xc3\xa4\n", 3}, 0, &err), 0);
}

static void test_size(void)
{
    size_t max = LIMIT_VALUE_BYTES;
    AUTO_FREE char *text = malloc(max + 8);

    memset(text, 'x', max + 8);
    memcpy(text, "{\"data\":\"", 9);
    memcpy(text + max - 2, "\"}{}", 4);
    CHECK_EQ(scan_n(text, max, 0), max);
    CHECK_EQ(scan_n(text, max + 2, 0), max);
    CHECK_EQ(scan_n(text, max - 1, 0), 0);
    memcpy(text + max - 2, "x\"}{", 4);
    CHECK_EQ(scan_n(text, max, 0), 0);
    CHECK_FAIL(scan_n(text, max + 1, 0), err, TOO_LARGE);
    CHECK_EQ(err.pos, max);
    CHECK_FAIL(scan_n(text, max + 4, 0), err, TOO_LARGE);
}

static void test_scratch(void)
{
    struct scratch s;
    char *first, *big;

    scratch_init(&s);
    first = scratch_get(&s, 3);
    big = scratch_get(&s, 100000);
    CHECK(first && big);
    memset(big, 1, 100000);
    for (int i = 0; i < 100; i++)
        CHECK(((uintptr_t)scratch_get(&s, (size_t)i) & 7) == 0);
    CHECK(scratch_get(&s, SIZE_MAX - 3) == NULL);
    scratch_reset(&s);
    first =
        scratch_get(&s, 100000); /* the largest block was kept: from here on nothing is allocated */
    scratch_reset(&s);
    CHECK(scratch_get(&s, 50000) == first);
    CHECK(scratch_get(&s, 50000) == first + 50000);
    scratch_done(&s);
    scratch_done(&s);
}

/* ---- CloudEvents ----------------------------------------------------------------------------- */

#define CLOUD "{\"specversion\":\"1.0\",\"id\":\"i\",\"type\":\"t\",\"source\":"

static void test_cloud(void)
{
    CHECK_TAKEN(CLOUD "\"/a/b\"}");
    CHECK_SLICE(ev.entity, "a/b");
    CHECK(!ev.meta.p && !ev.data.p);
    CHECK_TAKEN(CLOUD "\"//a\",\"subject\":\"s\\\"\"}");
    CHECK_SLICE(ev.entity, "/a/s\"");
    CHECK(ev.entity_escape);
    CHECK_TAKEN(
        "{\"seq\":1,\"x\":\"\\u00e4\",\"source\":\"s\",\"type\":\"t\",\"dataschema\":\"urn:x\","
        "\"none\":null,\"b\":true,\"id\":\"i\",\"data\":{\n},\"expected_version\":0,"
        "\"d\\u0061tacontenttype\":\"text\\/plain; charset=utf-8\",\"specversion\":\"1.0\"}");
    CHECK_SLICE(ev.meta, "{\"seq\":1,\"x\":\"\\u00e4\",\"dataschema\":\"urn:x\",\"b\":true,"
                         "\"datacontenttype\":\"text\\/plain; charset=utf-8\"}");
    CHECK(ev.expected == 0 && ev.data_breaks);
    CHECK_TAKEN(CLOUD "\"s\",\"data_base64\":\"AA==\"}");
    CHECK_SLICE(ev.data, "\"AA==\"");
    CHECK_SLICE(ev.meta, "{\"datacontentencoding\":\"base64\"}");
    CHECK_TAKEN(CLOUD "\"s\",\"data_base64\":null}");
    CHECK(!ev.data.p && !ev.meta.p);

    CHECK_REFUSED("{\"a\":1,\"source\":\"s\"}", UNKNOWN_NAME, 1);
    CHECK_REFUSED(CLOUD "null}", NOT_EVENT, 0);
    CHECK_REFUSED(CLOUD "\"s\",\"x\":{}}", BAD_FIELD, 58);
    CHECK_REFUSED(CLOUD "\"s\",\"meta\":{}}", UNKNOWN_NAME, 54);
    CHECK_REFUSED(CLOUD "\"s\",\"entity\":\"e\"}", GIVEN_TWICE, 54);
    CHECK_REFUSED(CLOUD "\"s\",\"x\":1,\"x\":1}", GIVEN_TWICE, 60);
    CHECK_REFUSED(CLOUD "\"s\",\"specversion\":\"1.0\"}", GIVEN_TWICE, 54);
    CHECK_REFUSED("{\"specversion\":\"1.1\"}", BAD_FIELD, 15);
    char text[2 * LIMIT_ENTITY_BYTES];
    for (unsigned over = 0; over < 2;
         over++) { /* the limit is the entity's, source and subject joined */
        (void)snprintf(text, sizeof text, CLOUD "\"/%0600d\",\"subject\":\"%0*d\"}", 0,
                       (int)(LIMIT_ENTITY_BYTES - 601 + over), 0);
        if (over)
            CHECK_FAIL(scan(text), err, NAME_TOO_LONG);
        else
            CHECK_EQ(scan(text), strlen(text));
    }
}

/* More attributes than fit on the stack: kept in order, and a name given twice is found. */
static void test_cloud_many(void)
{
    enum { MANY = 3000 };
    AUTO_FREE char *text = malloc(MANY * 20 + 200), *want = malloc(MANY * 20);
    size_t n = (size_t)sprintf(text, "{\"source\":\"s\",\"id\":\"i\",\"type\":\"t\""), m = 0,
           twice = 0;

    for (int i = 0; i < MANY; i++) {
        n += (size_t)sprintf(text + n, ",\"x%d\":%d", (i * 7) % MANY, i);
        m += (size_t)sprintf(want + m, "%c\"x%d\":%d", i ? ',' : '{', (i * 7) % MANY, i);
    }
    strcpy(text + n, ",\"specversion\":\"1.0\"}");
    strcpy(want + m, "}");
    CHECK_TAKEN(text);
    CHECK_SLICE(ev.meta, want);
    n += (size_t)sprintf(text + n, ",\"x77\":0");
    twice = n - strlen("\"x77\":0");
    strcpy(text + n, ",\"specversion\":\"1.0\"}");
    CHECK_FAIL(scan(text), err, GIVEN_TWICE);
    CHECK_EQ(err.pos, twice);
}

/* Each event of tests[].event, or tests[].batch (refused if one of it is). */
static void check_examples(const char *name, bool valid)
{
    char path[4096];
    json_t *test, *one;
    size_t i, k;

    (void)snprintf(path, sizeof path, "%s/cloudevents/%s", check_data(), name);
    json_t *all = json_load_file(path, 0, NULL), *tests = json_object_get(all, "tests");
    CHECK(json_array_size(tests) > 0);
    json_array_foreach(tests, i, test)
    {
        json_t *batch = json_object_get(test, "batch"), *event = json_object_get(test, "event");
        bool taken = true;
        if (event)
            json_array_append((batch = json_array()), event);
        json_array_foreach(batch, k, one)
        {
            AUTO_FREE char *text = json_dumps(one, JSON_COMPACT | JSON_ENCODE_ANY);
            taken &= scan(text) == (ssize_t)strlen(text) && ev.entity.p && ev.type.p;
        }
        if (taken != valid) {
            fprintf(stderr, "%s: %s is %s\n", name, json_string_value(json_object_get(test, "id")),
                    taken ? "accepted" : evs_reason_name(err.why));
            check_failed++;
        }
        if (event)
            json_decref(batch);
    }
    json_decref(all);
}

static void test_cloud_examples(void)
{
    check_examples("valid-events.json", true);
    check_examples("valid-batches.json", true);
    check_examples("invalid-events.json", false);
    check_examples("invalid-batches.json", false);
}

/* ---- the corpus ------------------------------------------------------------------------------ */

/* One line with its LF, as a write to events.jsonl would see it; EVS_OK_ if it is accepted. */
static enum evs_reason take_line(const char *line, size_t n)
{
    while (n > 1 && (*line == ' ' || *line == '\t')) {
        line++;
        n--;
    }
    if (*line != '[') {
        if (scan_n(line, n, 0) < 0)
            return err.why;
        return !ev.entity.p ? EVS_NO_ENTITY : !ev.type.p ? EVS_NO_TYPE : EVS_OK_;
    }
    struct slice array = {line, 0}, element;
    size_t pos = 0;
    ssize_t r = scan_value(line, n, SCAN_TRANSACTION, NULL, &err);
    if (r < 0)
        return err.why;
    array.n = (size_t)r;
    while (scan_element(array, &pos, &element)) {
        if (scan_n(element.p, element.n, SCAN_DEPTH(1)) <= 0)
            return err.why;
    }
    return EVS_OK_;
}

static void check_line(const char *file, int number, const char *line, size_t n, const char *want)
{
    enum evs_reason why = take_line(line, n);
    const char *got = evs_reason_name(why);

    if (strcmp(got, want) != 0) {
        fprintf(stderr, "%s:%d: %s, not %s\n", file, number, got, want);
        check_failed++;
    }
    if (why != EVS_OK_ || line[0] != '{')
        return;
    ssize_t end = scan_n(line, n, 0);
    for (ssize_t k = 1; k < end; k++) { /* each beginning is a proper one */
        if (scan_n(line, (size_t)k, 0) != 0) {
            fprintf(stderr, "%s:%d: cut at %zd\n", file, number, k);
            check_failed++;
            return;
        }
    }
}

/* The reason that "bad_name-nul.jsonl" demands: BAD_NAME. */
static void check_file(const char *dir, const char *name, bool accept)
{
    char path[4400], want[64] = "OK", *line = NULL;
    size_t cap = 0, i = 0;
    ssize_t n;

    if (!accept) {
        for (i = 0; i < strcspn(name, "-.") && i < sizeof want - 1; i++)
            want[i] = (char)toupper((unsigned char)name[i]);
        want[i] = '\0';
    }
    (void)snprintf(path, sizeof path, "%s/%s", dir, name);
    FILE *f = fopen(path, "rb");
    CHECK(f != NULL);
    for (int number = 1; f && (n = getline(&line, &cap, f)) > 0; number++)
        check_line(path, number, line, (size_t)n, want);
    free(line);
    if (f)
        (void)fclose(f);
}

static void test_corpus(void)
{
    const char *source = getenv("EVFS_SOURCE_DIR"), *slash = strstr(__FILE__, "tests/unit/");
    char dir[4096];

    for (int accept = 0; accept < 2; accept++) {
        int files = 0;
        (void)snprintf(dir, sizeof dir, "%.*s%stests/corpus/%s",
                       source  ? (int)strlen(source)
                       : slash ? (int)(slash - __FILE__)
                               : 0,
                       source ? source : __FILE__, source ? "/" : "", accept ? "accept" : "refuse");
        DIR *d = opendir(dir);
        CHECK(d != NULL);
        for (struct dirent *e; d && (e = readdir(d));) {
            if (!strstr(e->d_name, ".jsonl"))
                continue;
            check_file(dir, e->d_name, accept);
            files++;
        }
        if (d)
            (void)closedir(d);
        CHECK(files >= 20);
    }
}

int main(void)
{
    scratch_init(&scratch);
    RUN(test_fields);
    RUN(test_escapes);
    RUN(test_positions);
    RUN(test_lines);
    RUN(test_limits);
    RUN(test_size);
    RUN(test_scratch);
    RUN(test_cloud);
    RUN(test_cloud_many);
    RUN(test_corpus);
    if (check_data())
        RUN(test_cloud_examples);
    else
        SKIP("test_cloud_examples", "EVFS_TEST_DATA is not set");
    scratch_done(&scratch);
    free(input);
    CHECK_DONE();
}
