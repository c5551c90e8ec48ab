/* SPDX-License-Identifier: MIT */
/* scan and skim: by table, by JSONTestSuite, against jansson, and with every cut. Inputs lie at
 * the end of their memory, so that AddressSanitizer sees a read beyond. */
#include "check.h"

#include "judge.h"
#include "store/limits.h"

#include <dirent.h>
#include <errno.h>

static uint64_t random_state;

static size_t below(size_t n)
{
    return (size_t)(check_random(&random_state) % n);
}

/* scan_value() of a copy that ends where its memory ends. */
static ssize_t scan(const char *s, size_t n, unsigned flags, bool *ret_breaks,
                    struct evs_error *err)
{
    AUTO_FREE char *copy = malloc(n + 1);

    memcpy(copy + 1, s, n);
    return scan_value(copy + 1, n, flags, ret_breaks, err);
}

/* want > 0: the length; 0: unfinished; -why: refused at pos. */
static const struct {
    const char *text;
    int want;
    uint64_t pos;
} cases[] = {
    {"{}", 2, 0},
    {"[]x", 2, 0},
    {"\"a\"", 3, 0},
    {"1", 0, 0},
    {"1 ", 1, 0},
    {"-0.5e+10,", 8, 0},
    {"01 ", 1, 0}, /* what follows is the caller's */
    {"1.", 0, 0},
    {"1. ", -EVS_BAD_JSON, 2},
    {".5", -EVS_BAD_JSON, 0},
    {"+1", -EVS_BAD_JSON, 0},
    {"1e", 0, 0},
    {"1ex", -EVS_BAD_JSON, 2},
    {"-", 0, 0},
    {"-a", -EVS_BAD_JSON, 1},
    {"tru", 0, 0},
    {"true", 0, 0},
    {"true\n", 4, 0},
    {"null]", 4, 0},
    {"falsy", -EVS_BAD_JSON, 4},
    {"[1,]", -EVS_BAD_JSON, 3},
    {"[,1]", -EVS_BAD_JSON, 1},
    {"[1 2]", -EVS_BAD_JSON, 3},
    {"[01]", -EVS_BAD_JSON, 2},
    {"[1}", -EVS_BAD_JSON, 2},
    {"{\"a\":1]", -EVS_BAD_JSON, 6},
    {"{\"a\" 1}", -EVS_BAD_JSON, 5},
    {"{a:1}", -EVS_BAD_JSON, 1},
    {"{\"a\":1,}", -EVS_BAD_JSON, 7},
    {"{\"a\":}", -EVS_BAD_JSON, 5},
    {"{\"a\" : [ 1 , {} ] }", 19, 0},
    {"\"\\u12g4\"", -EVS_BAD_JSON, 5},
    {"\"\\x\"", -EVS_BAD_JSON, 2},
    {"\"\\ud800\"", 8, 0},
    {"\"\t\"", -EVS_BAD_JSON, 1},
    {"\"\x7f\"", 3, 0},
    {"\"\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80\"", 11, 0},
    {"\"\xc3\"", -EVS_BAD_UTF8, 2},
    {"\"\xc3", 0, 0},
    {"\"\x80\"", -EVS_BAD_UTF8, 1},
    {"\"\xc0\xaf\"", -EVS_BAD_UTF8, 1},
    {"\"\xe0\x9f\x80\"", -EVS_BAD_UTF8, 2},
    {"\"\xed\xa0\x80\"", -EVS_BAD_UTF8, 2},
    {"\"\xed\x9f\xbf\xee\x80\x80\"", 8, 0},
    {"\"\xf0\x8f\xbf\xbf\"", -EVS_BAD_UTF8, 2},
    {"\"\xf4\x90\x80\x80\"", -EVS_BAD_UTF8, 2},
    {"\"\xf4\x8f\xbf\xbf\"", 6, 0},
    {"\"\xf5\x80\x80\x80\"", -EVS_BAD_UTF8, 1},
    {"\"0123456789abcdef0123456789abcd\xff\"", -EVS_BAD_UTF8, 31},
    {"\xef\xbb\xbf{}", -EVS_BAD_JSON, 0},
};

static void test_cases(void)
{
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct evs_error err = {.pos = 0};
        int before = check_failed;
        ssize_t r = scan(cases[i].text, strlen(cases[i].text), 0, NULL, &err);
        CHECK_EQ(r > 0 ? r : -(int)err.why, cases[i].want);
        CHECK_EQ(err.pos, cases[i].pos);
        if (check_failed != before)
            fprintf(stderr, "  in %s\n", cases[i].text);
    }
}

/* The line rule; T: as a transaction; want as above. */
static const struct {
    const char *text;
    bool tx;
    int want;
    uint64_t pos;
} lines[] = {
    {"{\n \"a\": 1\n}", false, 11, 0},
    {"{ \t\r\n\"a\":\r\n1\r\n}", false, 15, 0},
    {"{\"a\":1\n}", false, -EVS_LINE_BREAK, 6},
    {"{\"a\":1,\n\"b\":2}", false, -EVS_LINE_BREAK, 7},
    {"{ \"a\":\n1}", false, -EVS_LINE_BREAK, 6},
    {"{\n\"a\":{\"b\":1,\n\"c\":2}\n}", false, -EVS_LINE_BREAK, 13}, /* its own bracket counts */
    {"{\n\"a\":{\n}\n}", false, 11, 0},
    {"{\"a\":{\n\"b\":1}\n}", false, -EVS_LINE_BREAK, 13}, /* so does the outer one's */
    {"{\"a\":{\n\"b\":1}}", false, 14, 0},
    {"[\n]", false, 3, 0},
    {"[1,\n2]", false, -EVS_LINE_BREAK, 3},
    {"[1,\n2]", true, 6, 0},
    {"[1, \r\n\n 2]", true, 10, 0},
    {"[1\n,2]", true, -EVS_LINE_BREAK, 2},
    {"[1,2\n]", true, -EVS_LINE_BREAK, 4},
    {"[\n1\n,2\n]", true, 8, 0},
    {"[[1,\n2]]", true, -EVS_LINE_BREAK, 4}, /* the outermost only */
    {"[{\"a\":1,\n\"b\":2}]", true, -EVS_LINE_BREAK, 8},
    {"{\"a\":1,\n\"b\":2}", true, -EVS_LINE_BREAK, 7}, /* an object is no transaction */
    {"[\r1]", false, -EVS_LINE_BREAK, 2},              /* a CR alone: known at the next token */
    {"[\r", false, 0, 0},
    {"[ \r\n\r1]", false, 7, 0},
    {"\"a\nb\"", false, -EVS_LINE_BREAK, 2}, /* a forgotten quote */
    {"\"a\rb\"", false, -EVS_BAD_JSON, 2},
    {"[\n\"a\nb\"]", false, -EVS_LINE_BREAK, 4},
};

static void test_lines(void)
{
    for (size_t i = 0; i < ARRAY_LEN(lines); i++) {
        struct evs_error err = {.pos = 0};
        int before = check_failed;
        const char *text = lines[i].text;
        bool breaks = false;
        ssize_t r = scan(text, strlen(text), lines[i].tx ? SCAN_TRANSACTION : 0, &breaks, &err);
        CHECK_EQ(r > 0 ? r : -(int)err.why, lines[i].want);
        CHECK_EQ(err.pos, lines[i].pos);
        if (r > 0)
            CHECK_EQ(breaks, strpbrk(text, "\r\n") != NULL);
        if (check_failed != before)
            fprintf(stderr, "  in %s\n", text);
    }
    struct evs_error err;
    CHECK_EQ(scan("[1\n,\r2]", 7, SCAN_ANY_LINES, NULL, &err), 7);
    CHECK_FAIL(scan("\"\n\"", 3, SCAN_ANY_LINES, NULL, &err), err, BAD_JSON);
}

static void test_depth(void)
{
    char text[2 * LIMIT_DEPTH + 2];
    struct evs_error err;
    struct skim k;

    memset(text, '[', LIMIT_DEPTH);
    memset(text + LIMIT_DEPTH, ']', LIMIT_DEPTH);
    CHECK_EQ(scan(text, 2 * LIMIT_DEPTH, 0, NULL, &err), 2 * LIMIT_DEPTH);
    CHECK_EQ(scan(text, 2 * LIMIT_DEPTH, SCAN_DEPTH(1), NULL, &err), -EMSGSIZE);
    CHECK_EQ(err.pos, LIMIT_DEPTH - 1);
    skim_init(&k, false);
    CHECK_EQ(skim_feed(&k, text, 2 * LIMIT_DEPTH, &err), 2 * LIMIT_DEPTH);
    memset(text, '[', LIMIT_DEPTH + 1);
    CHECK_FAIL(scan(text, LIMIT_DEPTH + 1, 0, NULL, &err), err, TOO_DEEP);
    CHECK_EQ(err.pos, LIMIT_DEPTH);
    skim_init(&k, false);
    CHECK_FAIL(skim_feed(&k, text, LIMIT_DEPTH + 1, &err), err, TOO_DEEP);
    CHECK_EQ(err.pos, LIMIT_DEPTH);
}

static void test_whole(void)
{
    struct evs_error err;

    CHECK_EQ(scan_whole("1", 1, NULL), 0);
    CHECK_EQ(scan_whole(" true", 5, NULL), 0);
    CHECK_EQ(scan_whole("\n[1\n,2 ]\r\n", 10, NULL), 0);
    CHECK_FAIL(scan_whole("", 0, &err), err, UNFINISHED);
    CHECK_FAIL(scan_whole(" ", 1, &err), err, UNFINISHED);
    CHECK_FAIL(scan_whole("1.", 2, &err), err, UNFINISHED);
    CHECK_FAIL(scan_whole("nul", 3, &err), err, UNFINISHED);
    CHECK_FAIL(scan_whole("{} x", 4, &err), err, BAD_JSON);
    CHECK_EQ(err.pos, 3);
}

static void check_decode(const char *raw, const char *want, size_t want_n, bool want_odd)
{
    char out[64];
    bool odd = !want_odd;
    size_t n = scan_decode((struct slice){raw, strlen(raw)}, out, &odd);

    CHECK_MEM(out, n, want, want_n);
    CHECK_EQ(odd, want_odd);
}

static void test_strings(void)
{
    char out[64];

    check_decode("\"\"", "", 0, false);
    check_decode("\"a\\\"\\\\\\/\\b\\f\\n\\r\\t\"", "a\"\\/\b\f\n\r\t", 9, false);
    check_decode("\"\\u0041\\u00e4\\u20aC\\ud83d\\ude00\"", "A\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80",
                 10, false);
    check_decode("\"\\u0000\"", "\0", 1, true);
    check_decode("\"\\ud800\"", "\xed\xa0\x80", 3, true);
    check_decode("\"\\ud800\\ud83d\\ude00\"", "\xed\xa0\x80\xf0\x9f\x98\x80", 7, true);
    check_decode("\"\\ude00x\"", "\xed\xb8\x80x", 4, true);
    size_t n = scan_encode((struct slice){"\x01\x1f\"\\/\n\t\b\f\r\x7f\xc3\xa4", 13}, out);
    CHECK_MEM(out, n, "\\u0001\\u001f\\\"\\\\/\\n\\t\\b\\f\\r\x7f\xc3\xa4", 30);
    CHECK(scan_is_utf8("a\xc3\xa4", 3));
    CHECK(!scan_is_utf8("a\xc3\xa4", 2));
    CHECK(!scan_is_utf8("\xed\xa0\x80", 3));
    for (size_t i = 0; i < 40; i++) { /* a byte that is not plain at each place of the steps */
        for (int c = 0; c < 256; c++) {
            char s[40];
            bool is_plain = c >= 0x20 && c < 0x80 && c != '"' && c != '\\';
            memset(s, 'x', sizeof s);
            s[i] = (char)c;
            if (scan_plain(s, sizeof s) != (is_plain ? sizeof s : i))
                CHECK_EQ(scan_plain(s, sizeof s), is_plain ? sizeof s : i);
        }
    }
}

/* ---- JSONTestSuite --------------------------------------------------------------------------- */

/* What the RFC leaves open, decided: docs/json.md has the reasons. */
static const struct {
    const char *name;
    enum evs_reason why; /* EVS_OK_: accepted */
} left_open[] = {
    {"i_number_double_huge_neg_exp.json", EVS_OK_},
    {"i_number_huge_exp.json", EVS_OK_},
    {"i_number_neg_int_huge_exp.json", EVS_OK_},
    {"i_number_pos_double_huge_exp.json", EVS_OK_},
    {"i_number_real_neg_overflow.json", EVS_OK_},
    {"i_number_real_pos_overflow.json", EVS_OK_},
    {"i_number_real_underflow.json", EVS_OK_},
    {"i_number_too_big_neg_int.json", EVS_OK_},
    {"i_number_too_big_pos_int.json", EVS_OK_},
    {"i_number_very_big_negative_int.json", EVS_OK_},
    {"i_object_key_lone_2nd_surrogate.json", EVS_OK_},
    {"i_string_1st_surrogate_but_2nd_missing.json", EVS_OK_},
    {"i_string_1st_valid_surrogate_2nd_invalid.json", EVS_OK_},
    {"i_string_UTF-16LE_with_BOM.json", EVS_BAD_JSON},
    {"i_string_UTF-8_invalid_sequence.json", EVS_BAD_UTF8},
    {"i_string_UTF8_surrogate_U+D800.json", EVS_BAD_UTF8},
    {"i_string_incomplete_surrogate_and_escape_valid.json", EVS_OK_},
    {"i_string_incomplete_surrogate_pair.json", EVS_OK_},
    {"i_string_incomplete_surrogates_escape_valid.json", EVS_OK_},
    {"i_string_invalid_lonely_surrogate.json", EVS_OK_},
    {"i_string_invalid_surrogate.json", EVS_OK_},
    {"i_string_invalid_utf-8.json", EVS_BAD_UTF8},
    {"i_string_inverted_surrogates_U+1D11E.json", EVS_OK_},
    {"i_string_iso_latin_1.json", EVS_BAD_UTF8},
    {"i_string_lone_second_surrogate.json", EVS_OK_},
    {"i_string_lone_utf8_continuation_byte.json", EVS_BAD_UTF8},
    {"i_string_not_in_unicode_range.json", EVS_BAD_UTF8},
    {"i_string_overlong_sequence_2_bytes.json", EVS_BAD_UTF8},
    {"i_string_overlong_sequence_6_bytes.json", EVS_BAD_UTF8},
    {"i_string_overlong_sequence_6_bytes_null.json", EVS_BAD_UTF8},
    {"i_string_truncated-utf-8.json", EVS_BAD_UTF8},
    {"i_string_utf16BE_no_BOM.json", EVS_BAD_JSON},
    {"i_string_utf16LE_no_BOM.json", EVS_BAD_JSON},
    {"i_structure_500_nested_arrays.json", EVS_TOO_DEEP},
    {"i_structure_UTF-8_BOM_empty_object.json", EVS_BAD_JSON},
};

static char *read_file(const char *dir, const char *name, size_t *ret_n)
{
    char path[4400];

    (void)snprintf(path, sizeof path, "%s/%s", dir, name);
    FILE *f = fopen(path, "rb");
    if (!f)
        return NULL;
    char *text = malloc(1 << 20);
    *ret_n = fread(text, 1, 1 << 20, f);
    (void)fclose(f);
    return text;
}

static void check_suite_file(const char *name, const char *text, size_t n)
{
    struct evs_error err = {.why = EVS_OK_};
    AUTO_FREE char *exact = malloc(n + 1);

    memcpy(exact + 1, text, n);
    int r = scan_whole(exact + 1, n, &err);
    bool right = name[0] == 'y' ? r == 0 : name[0] == 'n' ? r < 0 : false;
    for (size_t i = 0; name[0] == 'i' && i < ARRAY_LEN(left_open); i++)
        right |= strcmp(left_open[i].name, name) == 0 && left_open[i].why == err.why;
    if (!right) {
        fprintf(stderr, "%s: %s\n", name, r < 0 ? evs_reason_name(err.why) : "accepted");
        check_failed++;
    }
    if (judge_whole(exact + 1, n) != NULL) {
        fprintf(stderr, "%s: %s\n", name, judge_whole(exact + 1, n));
        check_failed++;
    }
}

static void test_suite(void)
{
    char dir[4096];
    size_t n = 0, count[3] = {0};

    (void)snprintf(dir, sizeof dir, "%s/JSONTestSuite/test_parsing", check_data());
    DIR *d = opendir(dir);
    CHECK(d != NULL);
    for (struct dirent *e; d && (e = readdir(d));) {
        const char *kind = strchr("yni", e->d_name[0]);
        if (!kind || e->d_name[1] != '_')
            continue;
        AUTO_FREE char *text = read_file(dir, e->d_name, &n);
        CHECK(text != NULL);
        check_suite_file(e->d_name, text, n);
        count[kind - "yni"]++;
    }
    if (d)
        (void)closedir(d);
    CHECK_EQ(count[0], 95);
    CHECK_EQ(count[1], 188);
    CHECK_EQ(count[2], ARRAY_LEN(left_open));
}

/* ---- random values and their mutations ------------------------------------------------------- */

struct text {
    char p[8192];
    size_t n;
};

static void put(struct text *t, const char *s)
{
    size_t n = strlen(s);

    if (t->n + n < sizeof t->p) {
        memcpy(t->p + t->n, s, n);
        t->n += n;
    }
}

static void put_space(struct text *t)
{
    static const char *const spaces[] = {" ", "\n", "\r\n", "\t", "\r", "\n  "};

    if (below(8) == 0)
        put(t, spaces[below(ARRAY_LEN(spaces))]);
}

static void put_string(struct text *t)
{
    static const char *const parts[] = {"a",
                                        "id",
                                        "0123456789abcdef",
                                        " ",
                                        "\\\"",
                                        "\\\\",
                                        "\\/",
                                        "\\n",
                                        "\\u0041",
                                        "\\u00e4",
                                        "\\ud83d\\ude00",
                                        "\\ud800",
                                        "\\udc00",
                                        "\\u0000",
                                        "\xc3\xa4",
                                        "\xe2\x82\xac",
                                        "\xf0\x9f\x98\x80",
                                        "\x7f",
                                        "{",
                                        "]",
                                        ",",
                                        ":"};

    put(t, "\"");
    for (size_t i = below(6); i > 0; i--)
        put(t, parts[below(below(2) ? ARRAY_LEN(parts) : 4)]);
    put(t, "\"");
}

static void put_scalar(struct text *t)
{
    static const char *const words[] = {"null",
                                        "true",
                                        "false",
                                        "0",
                                        "-1",
                                        "12.5",
                                        "1e3",
                                        "-0.0E-2",
                                        "9223372036854775807",
                                        "9223372036854775808",
                                        "1e999",
                                        "123456789012345678901234567890"};

    if (below(2))
        put_string(t);
    else
        put(t, words[below(ARRAY_LEN(words))]);
}

static void put_value(struct text *t, unsigned depth)
{
    size_t kind = below(depth ? 4 : 1);

    if (kind < 2) {
        put_scalar(t);
        return;
    }
    bool object = kind == 2;
    put(t, object ? "{" : "[");
    if (below(5) == 0)
        put(t, "\n");
    put_space(t);
    for (size_t n = below(5), i = 0; i < n; i++) {
        if (i) {
            put(t, ",");
            put_space(t);
        }
        if (object) {
            put_string(t);
            put_space(t);
            put(t, ":");
            put_space(t);
        }
        put_value(t, depth - 1);
        put_space(t);
    }
    put(t, object ? "}" : "]");
}

static void mutate(struct text *t)
{
    static const char bytes[] =
        "\"\\{}[]:, \n\r\t0-.eEtu\x00\x1f\x7f\x80\xbf\xc0\xc3\xe0\xed\xf0\xf4\xff";
    size_t at = below(t->n + 1), n = below(8);

    switch (below(4)) {
    case 0:
        if (at < t->n)
            t->p[at] = bytes[below(sizeof bytes - 1)];
        break;
    case 1:
        t->n = at;
        break;
    case 2: /* leave out */
        n = MIN(n, t->n - at);
        memmove(t->p + at, t->p + at + n, t->n - at - n);
        t->n -= n;
        break;
    default: /* twice */
        n = MIN(n, t->n - at);
        if (t->n + n < sizeof t->p) {
            memmove(t->p + at + n, t->p + at, t->n - at);
            t->n += n;
        }
        break;
    }
}

/* Any cut: every split in two, some in many. */
static const char *check_cuts(const char *s, size_t n)
{
    size_t cuts[8];

    for (int tx = 0; tx < 2; tx++) {
        for (size_t i = 0; i <= n; i += n < 200 ? 1 : 1 + below(n / 50)) {
            const char *bad = judge_cuts(s, n, tx, &i, 1);
            if (bad)
                return bad;
        }
        cuts[0] = below(n + 1);
        for (size_t i = 1; i < ARRAY_LEN(cuts); i++)
            cuts[i] = cuts[i - 1] + below(n + 1 - cuts[i - 1]);
        const char *bad = judge_cuts(s, n, tx, cuts, ARRAY_LEN(cuts));
        if (bad)
            return bad;
    }
    return NULL;
}

/* What is true of any text. */
static const char *check_text(const char *text, size_t n)
{
    AUTO_FREE char *memory = malloc(n + 2);
    char *s = memcpy(memory + 1, text, n);
    const char *bad = judge_whole(s, n);

    if (!bad && n > 0 && !scan_is_space(s[0]))
        bad = check_cuts(s, n);
    return bad;
}

static void test_random(void)
{
    struct text t;
    int accepted = 0;

    for (int i = 0; i < 20000; i++) {
        t.n = 0;
        put_value(&t, 5);
        if (below(2))
            put(&t, below(2) ? "\n" : " {}");
        for (size_t m = below(4); m > 0 && i % 2; m--)
            mutate(&t);
        const char *bad = check_text(t.p, t.n);
        accepted += scan_whole(t.p, t.n, NULL) == 0;
        if (bad) {
            fprintf(stderr, "%s:\n%.*s\n", bad, (int)t.n, t.p);
            check_failed++;
            return;
        }
    }
    CHECK(accepted > 5000 && accepted < 19000); /* both sides are tried */
}

/* Each proper beginning is unfinished, to scan and to skim. */
static void test_prefixes(void)
{
    struct evs_error err = {.pos = 0};
    struct text t;

    for (int i = 0; i < 2000; i++) {
        t.n = 0;
        put_value(&t, 4);
        put(&t, " ");
        ssize_t n = scan(t.p, t.n, 0, NULL, &err);
        for (ssize_t k = 0; k < n; k++) {
            ssize_t r = scan(t.p, (size_t)k, 0, NULL, &err);
            if (r != 0)
                CHECK_EQ(r, 0);
        }
    }
}

static void test_skim_cases(void)
{
    struct evs_error err;
    struct skim k;

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        const char *bad = check_cuts(cases[i].text, strlen(cases[i].text));
        CHECK_STR(bad ? bad : "", "");
    }
    for (size_t i = 0; i < ARRAY_LEN(lines); i++) {
        const char *bad = check_cuts(lines[i].text, strlen(lines[i].text));
        CHECK_STR(bad ? bad : "", "");
    }
    skim_init(&k, false); /* a scalar that a piece ends with, and white space that comes alone */
    CHECK_EQ(skim_feed(&k, "12", 2, &err), 0);
    CHECK(!k.done);
    CHECK_EQ(skim_feed(&k, " 3", 2, &err), 0);
    CHECK(k.done);
    skim_init(&k, false);
    CHECK_EQ(skim_feed(&k, "[", 1, &err), 0);
    CHECK_FAIL(skim_feed(&k, "1}", 2, &err), err, BAD_JSON);
    CHECK_EQ(err.pos, 1);
}

int main(void)
{
    random_state = check_seed();
    RUN(test_cases);
    RUN(test_lines);
    RUN(test_depth);
    RUN(test_whole);
    RUN(test_strings);
    RUN(test_skim_cases);
    RUN(test_prefixes);
    RUN(test_random);
    if (check_data())
        RUN(test_suite);
    else
        SKIP("test_suite", "EVFS_TEST_DATA is not set");
    CHECK_DONE();
}
