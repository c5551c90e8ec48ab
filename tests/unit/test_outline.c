/* SPDX-License-Identifier: MIT */
/* outline: the walk is scan_value()'s, and equal outlines are of equal shapes: on everything that the tests have, and on
 * random values. */
#include "check.h"
#include "store/infer.h"
#include "store/infer_format.h"
#include "store/outline.h"

#include <time.h>

static uint64_t seed;

static uint64_t next_random(void)
{
    seed ^= seed << 13;
    seed ^= seed >> 7;
    seed ^= seed << 17;
    return seed;
}

/* Behind a number there must be something, or it could go on. */
static uint64_t outline_of(const char *s, size_t n)
{
    char *text = malloc(n + 1);
    uint64_t o = 0;

    memcpy(text, s, n);
    text[n] = ' ';
    CHECK_EQ(scan_outline(text, n + 1, SCAN_ANY_LINES, outline_by(), NULL, &o, NULL), n);
    free(text);
    return o;
}

static uint64_t outline_text(const char *s)
{
    return outline_of(s, strlen(s));
}

static void test_what_counts(void)
{
    static const char *const same[][2] = {
        {"{\"a\":1,\"b\":[1,2,3]}", "{ \"a\" : -7 , \"b\":[4] }"},
        {"[{\"x\":\"y\"},{\"x\":\"zz\"}]", "[{\"x\":\"\"}]"},
        {"true", "false"},
        {"1.5", "1e3"},
        {"\"some text\"", "\"other, longer text of many bytes\""},
        {"\"2026-01-01\"", "\"1999-12-31\""},
    };
    static const char *const other[][2] = {
        {"{\"a\":1}", "{\"a\":1.0}"},
        {"{\"a\":1,\"b\":1}", "{\"b\":1,\"a\":1}"},
        {"{\"a\":{\"b\":1}}", "{\"a\":1,\"b\":1}"},
        {"{\"a\":{\"b\":1},\"c\":1}", "{\"a\":{\"b\":1,\"c\":1}}"},
        {"[]", "{}"},
        {"[1,\"a\"]", "[\"a\"]"},
        {"[[1],[1]]", "[1]"},
        {"null", "0"},
        {"\"2026-01-01\"", "\"2026-02-30\""},
        {"\"a@example.org\"", "\"a example.org\""},
        {"\"\\u0032026-01-01\"", "\"2026-01-0\""},
        {"{\"abcdefghij\":1}", "{\"abcdefghik\":1}"},
        {"{\"abcdefghijklmnopqrstuvw\":1}", "{\"abcdefghiXklmnopqrstuvw\":1}"},
    };

    for (size_t i = 0; i < ARRAY_LEN(same); i++)
        CHECK(outline_text(same[i][0]) == outline_text(same[i][1]));
    for (size_t i = 0; i < ARRAY_LEN(other); i++)
        CHECK(outline_text(other[i][0]) != outline_text(other[i][1]));
}

/* Of the first n bytes, where room bytes are all that may be read. */
static uint64_t outline_in(const char *text, size_t n, size_t room)
{
    char *exact = malloc(room);
    uint64_t o = 0;

    memcpy(exact, text, room);
    CHECK_EQ(scan_outline(exact, room, 0, outline_by(), NULL, &o, NULL), n);
    free(exact);
    return o;
}

/* Near the end of the input names, strings and numbers are looked at byte by byte: the outline is the same. */
static void test_the_end_is_no_other_place(void)
{
    static const char bytes[] = "abcdefghijklmnopqrstuvwxyz0123456789";
    static const char *const forms[][2] = {{"{\"", "\":1}"},
                                           {"{\"", "\" :true}"},
                                           {"{\"", "\": \"\"}"},
                                           {"[\"", "\"]"},
                                           {"[\"", ":\"]"}};
    uint64_t before[ARRAY_LEN(forms)] = {0};
    char text[128];

    for (int n = 0; n < (int)sizeof bytes; n++) {
        for (size_t f = 0; f < ARRAY_LEN(forms); f++) {
            memset(text, ' ', sizeof text);
            size_t len = (size_t)sprintf(text, "%s%.*s%s", forms[f][0], n, bytes, forms[f][1]);
            text[len] = ' ';
            const uint64_t want = outline_of(text, len);
            for (size_t room = len; room <= sizeof text; room++) {
                CHECK(outline_in(text, len, room) == want);
            }
            CHECK(f > 2 || want != before[f]); /* of strings only the class counts */
            CHECK(f != 3 || n == 0 || want == before[f]);
            before[f] = want;
        }
    }
    for (int n = 1; n < 60; n++) {
        memset(text, ' ', sizeof text);
        memset(text + 1, '7', (size_t)n);
        text[0] = '[';
        text[n + 1] = ']';
        for (size_t room = (size_t)n + 2; room <= sizeof text; room++)
            CHECK(outline_in(text, (size_t)n + 2, room) == outline_text("[1]"));
    }
}

/* ---- equal outlines, equal shapes ---- */

#define SLOTS (1u << 17)
static struct {
    uint64_t outline, shape;
} known[SLOTS];
static size_t values, outlines;

static void check_value(struct slice v)
{
    uint64_t o = outline_of(v.p, v.n), shape = infer_shape(v);

    values++;
    for (size_t i = o % SLOTS;; i = (i + 1) % SLOTS) {
        if (known[i].outline == o) {
            CHECK(known[i].shape == shape);
            return;
        }
        if (!known[i].outline && outlines < SLOTS / 2) {
            known[i].outline = o;
            known[i].shape = shape;
            outlines++;
        }
        if (!known[i].outline || outlines == SLOTS / 2)
            return;
    }
}

/* Values of few names and kinds, so that outlines repeat. */
static char *random_value(char *p, int depth)
{
    static const char *const scalars[] = {"null",
                                          "true",
                                          "1",
                                          "-0",
                                          "1.5",
                                          "2E1",
                                          "\"text\"",
                                          "\"\"",
                                          "\"a:b\"",
                                          "\"2026-01-01\"",
                                          "\"1.2.3.4\"",
                                          "\"::1\"",
                                          "\"a@b.c\"",
                                          "\"http://h\"",
                                          "\"\\u0031.2.3.4\"",
                                          "\"\xc3\xa9\"",
                                          "\"12345.789\"",
                                          "\"abcd-ef\"",
                                          "\"12.0.0.1\"",
                                          "\"01234567-89ab-cdef-0123-456789abcdef\"",
                                          "\"2026-01-01T00:00:00Z\""};
    static const char *const names[] = {
        "a",     "ab",         "abcd", "name_of_it", "a_name_of_many_bytes",
        "12345", "2026-01-01", "a/b",  "\\u0061",    "x@y.org"};
    uint64_t r = next_random();

    if (depth == 0 || r % 3 == 0)
        return stpcpy(p, scalars[(r >> 8) % ARRAY_LEN(scalars)]);
    bool object = r & 4;
    unsigned n = (unsigned)(r >> 8) % 4;
    *p++ = object ? '{' : '[';
    for (unsigned i = 0; i < n; i++) {
        if (i)
            *p++ = ',';
        if (object)
            p += sprintf(p, "\"%s\":", names[next_random() % ARRAY_LEN(names)]);
        p = random_value(p, depth - 1);
    }
    *p++ = object ? '}' : ']';
    *p = '\0';
    return p;
}

static void test_random_values(void)
{
    char text[16384];

    for (int i = 0; i < 200000; i++) {
        char *end = random_value(text, 1 + i % 4);
        check_value((struct slice){text, (size_t)(end - text)});
    }
    CHECK(outlines > 100 && values > outlines);
}

/* Bytes like those of formats: whatever has a format has another outline than plain text. */
static void test_formats_are_never_missed(void)
{
    static const char bytes[] = "0123456789abcdefT:.-@/Zzh+_%";
    static const char *const like[] = {"2026-01-01",
                                       "2026-01-01T00:00:00Z",
                                       "1.2.3.4",
                                       "127.0.0.1",
                                       "::1",
                                       "fe80::1:2",
                                       "a@b.cd",
                                       "http://a.b/c",
                                       "01234567-89ab-cdef-0123-456789abcdef"};
    const uint64_t plain = outline_text("\"plain\"");
    char text[80];
    int with = 0;

    for (int i = 0; i < 1000000; i++) {
        int n = sprintf(text, "\"%s", like[next_random() % ARRAY_LEN(like)]);
        for (uint64_t k = next_random() % 4; k > 0; k--)
            text[1 + next_random() % (uint64_t)(n - 1)] = bytes[next_random() % (sizeof bytes - 1)];
        n = 1 + (int)(next_random() % 4 ? n - 1 : (int)(next_random() % (uint64_t)n));
        text[n++] = '"';
        text[n] = '\0';
        bool has = infer_format(text + 1, (size_t)n - 2) != FORMAT_NONE;
        with += has;
        CHECK_EQ(outline_of(text, (size_t)n) != plain, has);
    }
    CHECK(with > 1000);
}

/* Whatever is cut, or damaged: the same result as scan_value()'s, and the same byte. */
static void test_the_walk_is_the_same(void)
{
    char text[16384], damaged[16400];

    for (int i = 0; i < 100000; i++) {
        size_t n = (size_t)(random_value(text, 3) - text);
        memcpy(damaged, text, n);
        static const char bytes[] = "\"{}[],:\\\n 1e.";
        const uint64_t r = next_random();
        damaged[next_random() % n] = r % 3 ? bytes[(r >> 8) % (sizeof bytes - 1)] : (char)(r >> 8);
        size_t cut = next_random() % 4 ? n : next_random() % n + 1;
        char *exact = malloc(cut); /* the sanitizers see what is read beyond */
        memcpy(exact, damaged, cut);
        struct evs_error a = {0}, b = {0};
        bool breaks_a = false, breaks_b = false;
        uint64_t o;
        ssize_t want = scan_value(exact, cut, 0, &breaks_a, &a);
        CHECK_EQ(scan_outline(exact, cut, 0, outline_by(), &breaks_b, &o, &b), want);
        CHECK(breaks_a == breaks_b);
        CHECK(want >= 0 || (a.why == b.why && a.pos == b.pos));
        free(exact);
    }
}

static void check_file(const char *dir, const char *name)
{
    char command[4300], *line = NULL;
    size_t cap = 0, before = values;
    ssize_t n;

    (void)snprintf(command, sizeof command, "zstd -dc '%s/%s' | head -n 20000", dir, name);
    FILE *f = popen(command, "re");
    CHECK(f != NULL);
    while (f && (n = getline(&line, &cap, f)) > 0)
        check_value((struct slice){line, (size_t)n - 1});
    if (f)
        (void)pclose(f);
    free(line);
    CHECK(values > before);
}

static void test_real_data(void)
{
    static const char *const names[] = {"git-events.jsonl.zst", "github-webhooks.jsonl.zst",
                                        "gharchive-2015-01-01-0.jsonl.zst"};
    const char *dir = getenv("EVFS_TEST_DATA");

    if (!dir)
        printf("# skip: EVFS_TEST_DATA is not set\n");
    for (size_t i = 0; dir && i < ARRAY_LEN(names); i++)
        check_file(dir, names[i]);
}

int main(void)
{
    const char *s = getenv("SEED");

    seed = (s ? strtoull(s, NULL, 10) : (uint64_t)time(NULL)) | 1;
    printf("# SEED=%" PRIu64 "\n", seed);
    RUN(test_what_counts);
    RUN(test_the_end_is_no_other_place);
    RUN(test_random_values);
    RUN(test_formats_are_never_missed);
    RUN(test_the_walk_is_the_same);
    RUN(test_real_data);
    printf("# %zu values, %zu outlines\n", values, outlines);
    CHECK_DONE();
}
