/* SPDX-License-Identifier: MIT */
/* line: exact text, both ways; what is not exactly a line is refused; no byte outside is read. */
#include "check.h"

#include "store/crc.h"
#include "store/line.h"
#include "store/scan.h"

#include <errno.h>

#define TEXT(s) ((struct slice){(s), sizeof(s) - 1})
#define US      1795540158123456 /* 2026-11-24T17:09:18.123456Z */

static uint64_t seed;

/* Write, and check what line_write() says of itself. The text is malloc'ed. */
static char *write_line(const struct line *l, size_t *ret_n)
{
    struct line_memo m = {0};
    size_t bound = line_bound(l);
    char *out = malloc(bound);
    uint32_t data, crc;
    size_t n = line_write(l, &m, out, &data, &crc);
    struct slice d = l->data.p ? l->data : TEXT("null");

    CHECK(n <= bound);
    CHECK(n == data + d.n + 2);
    CHECK_MEM(out + data - 9, 9, "\",\"data\":", 9);
    char hex[9];
    (void)snprintf(hex, sizeof hex, "%08x", crc);
    char *digits = out + data - 9 - 8;
    CHECK_MEM(digits, 8, hex, 8);
    uint32_t sum = crc32c_table(0, out, (size_t)(digits - out));
    CHECK_EQ(crc32c_table(sum, digits + 8, n - (size_t)(digits - out) - 8), crc);
    *ret_n = n;
    return out;
}

/* line_parse() of exactly n bytes: a sanitizer sees each byte read outside. */
static int parse(const char *p, size_t n, struct line *ret)
{
    char *exact = malloc(n ? n : 1);
    uint32_t data = 77, crc = 77;

    memcpy(exact, p, n);
    int r = line_parse(exact, n, ret, &data, &crc);
    if (r == 0) {
        CHECK(line_crc_ok(exact, n, data));
        for (uint32_t wrong = 0; wrong < n + 40; wrong += wrong == data - 1 ? 2 : 1)
            CHECK(!line_crc_ok(exact, n, wrong));
        CHECK(ret->data.p == exact + data);
        CHECK_EQ(line_parse(exact, n, ret, NULL, NULL), 0);
    } else {
        CHECK_EQ(r, -EBADMSG);
        CHECK(data == 77 && crc == 77);
        for (uint32_t at = 0; at < n + 40; at++)
            (void)line_crc_ok(exact, n, at); /* only the sanitizer judges */
    }
    free(exact);
    return r;
}

static void test_known(void)
{
    struct line l = {.seq = 1042,
                     .version = 3,
                     .recorded_us = US,
                     .id = TEXT("019ab3c1-7d2e-7c4f-9a51-3f0c2b9e8d10"),
                     .entity = TEXT("orders/42"),
                     .type = TEXT("placed"),
                     .uid = 1000,
                     .data = TEXT("{\"total\":99}")};
    static const char want[] = "{\"seq\":1042,\"id\":\"019ab3c1-7d2e-7c4f-9a51-3f0c2b9e8d10\","
                               "\"time\":\"2026-11-24T17:09:18.123456Z\",\"entity\":\"orders/"
                               "42\",\"type\":\"placed\",\"version\":3,"
                               "\"uid\":1000,\"crc\":\"0f022b5e\",\"data\":{\"total\":99}}\n";
    struct line got;
    size_t n;
    char *text = write_line(&l, &n);

    CHECK_MEM(text, n, want, sizeof want - 1);
    CHECK_EQ(line_parse(text, n, &got, NULL, NULL), 0);
    CHECK(got.seq == 1042 && got.version == 3 && got.recorded_us == US && got.uid == 1000 &&
          got.tx == 0);
    CHECK_MEM(got.entity.p, got.entity.n, "orders/42", 9);
    CHECK_MEM(got.time.p, got.time.n, "2026-11-24T17:09:18.123456Z", 27);
    CHECK(!got.entity_escape && !got.type_escape && !got.id_escape && got.meta.p == NULL);
    free(text);
}

static void expect(const struct line *l, const char *part)
{
    size_t n;
    char *text = write_line(l, &n);
    struct line got;

    if (!memmem(text, n, part, strlen(part)))
        fprintf(stderr, "no %s in %.*s", part, (int)n, text);
    CHECK(memmem(text, n, part, strlen(part)) != NULL);
    CHECK_EQ(parse(text, n, &got), 0);
    free(text);
}

static const struct line plain = {.seq = 1,
                                  .version = 1,
                                  .recorded_us = US,
                                  .entity = TEXT("e"),
                                  .type = TEXT("t"),
                                  .data = TEXT("1")};

static void test_fields(void)
{
    struct line l = plain;

    expect(&l, "18.123456Z\",\"entity\":\"e\",\"type\":\"t\",\"version\":1,\"uid\":0,\"crc\":\"");
    l.time = TEXT("2026-11-24T17:09:18.123456Z"); /* the same text: no recorded */
    expect(&l, "\"time\":\"2026-11-24T17:09:18.123456Z\",\"entity\":");
    l.time = TEXT("2026-11-24T17:09:18.1234560Z"); /* the same instant, another text */
    expect(&l, "18.1234560Z\",\"recorded\":\"2026-11-24T17:09:18.123456Z\",\"entity\":");
    l.time = TEXT("1999-12-31 23:59:59+01:00");
    expect(&l,
           "\"time\":\"1999-12-31 23:59:59+01:00\",\"recorded\":\"2026-11-24T17:09:18.123456Z\",");
    l.tx = 7;
    expect(&l, "\"uid\":0,\"tx\":7,\"crc\":");
    l.meta = TEXT("{ \"a\" : [\"}\\\"\",{}] }");
    expect(&l, "\"tx\":7,\"meta\":{ \"a\" : [\"}\\\"\",{}] },\"crc\":\"");
    l.tx = 0;
    l.meta = TEXT("{\"\":\"\",\"crc\":\"00000000\",\"data\":1}");
    expect(&l, "\"uid\":0,\"meta\":{\"\":\"\",\"crc\":\"00000000\",\"data\":1},\"crc\":\"");
    l.data = (struct slice){NULL, 0};
    expect(&l, "\",\"data\":null}\n");
    l.seq = UINT64_MAX;
    l.version = 10000000000000000000u;
    l.uid = UINT32_MAX;
    expect(&l, "{\"seq\":18446744073709551615,");
    expect(&l, "\"version\":10000000000000000000,\"uid\":4294967295,");
    for (uint64_t v = 1, last = 0; v > last; last = v, v *= 10) {
        char want[64];
        for (int d = -1; d <= 1; d++) {
            l.seq = v + d ? v + d : 1;
            (void)snprintf(want, sizeof want, "{\"seq\":%" PRIu64 ",\"id\"", l.seq);
            expect(&l, want);
        }
    }
}

static void test_escapes_and_breaks(void)
{
    struct line l = plain, got;
    size_t n;

    l.entity = TEXT("a\"b\\c\n\x01");
    l.entity_escape = true;
    l.type = TEXT("\x1f");
    l.type_escape = true;
    l.id = TEXT("\t\"");
    l.id_escape = true;
    expect(&l, "\"id\":\"\\t\\\"\",\"time\"");
    expect(&l, "\"entity\":\"a\\\"b\\\\c\\n\\u0001\",\"type\":\"\\u001f\",");
    l.data = TEXT("{\r\n \"a\\n\":1\n}");
    l.data_breaks = true;
    l.meta = TEXT("{\n}");
    l.meta_breaks = true;
    expect(&l, "\"meta\":{ },");
    expect(&l, "\"data\":{   \"a\\n\":1 }}\n");

    char *text = write_line(&l, &n), name[64];
    CHECK_EQ(line_parse(text, n, &got, NULL, NULL), 0);
    CHECK(got.entity_escape && got.type_escape && got.id_escape);
    n = scan_decode((struct slice){got.entity.p - 1, got.entity.n + 2}, name, NULL);
    CHECK_MEM(name, n, l.entity.p, l.entity.n);
    free(text);
}

/* ---- refusing -------------------------------------------------------------------------------- */

/* Replace the first `from` of a good line by `to`, put the right CRC in, and expect refusal. */
static void refuse(const struct line *l, const char *from, const char *to)
{
    size_t n, cut = strlen(from), add = strlen(to);
    char *text = write_line(l, &n), *at = memmem(text, n, from, cut), *out = malloc(n + add + 1);
    struct line got = {.seq = 4711};

    CHECK(at != NULL);
    if (at) {
        size_t before = (size_t)(at - text), len = n - cut + add;
        memcpy(out, text, before);
        memcpy(out + before, to, add);
        memcpy(out + before + add, at + cut, n - before - cut);
        char *digits = memmem(out, len, "\"crc\":\"", 7);
        if (digits && (size_t)(out + len - digits) > 15) {
            char hex[9];
            digits += 7;
            uint32_t crc = crc32c(0, out, (size_t)(digits - out));
            crc = crc32c(crc, digits + 8, (size_t)(out + len - digits) - 8);
            (void)snprintf(hex, sizeof hex, "%08x", crc);
            memcpy(digits, hex, 8);
        }
        int r = parse(out, len, &got);
        if (r == 0)
            fprintf(stderr, "'%s' for '%s' was taken\n", to, from);
        CHECK_EQ(r, -EBADMSG);
        CHECK_EQ(got.seq, 4711); /* outputs are untouched */
    }
    free(text);
    free(out);
}

/* What stands in the line of test_refused(), and what must not stand there. */
static const char *const edits[][2] = {
    {"{\"seq\":1,", "{\"seq\":0,"},
    {"{\"seq\":1,", "{\"seq\":01,"},
    {"{\"seq\":1,", "{\"seq\":-1,"},
    {"{\"seq\":1,", "{\"seq\":,"},
    {"{\"seq\":1,", "{\"seq\":18446744073709551616,"},
    {"{\"seq\":1,", "{\"seq\":99999999999999999999,"},
    {"{\"seq\":1,", "{\"seq\":100000000000000000000,"},
    {"{\"seq\":1,", "{\"seq\":1 ,"},
    {"{\"seq\":1,", "{\"seq\":1.0,"},
    {"{\"seq\":1,", "{ \"seq\":1,"},
    {"{\"seq\":1,", "{\"sek\":1,"},
    {"{\"seq\":1,", ""},
    {"{\"seq\":1,", "\n{\"seq\":1,"},
    {"\"version\":5,", "\"version\":0,"},
    {"\"version\":5,", "\"version\":5,\"version\":5,"},
    {"\"version\":5,", ""},
    {"\"version\":5,\"uid\":6", "\"uid\":6,\"version\":5"},
    {"\"uid\":6,", "\"uid\":4294967296,"},
    {"\"uid\":6,", "\"uid\":06,"},
    {"\"uid\":6,", "\"uid\":\"6\","},
    {"\"tx\":7,", "\"tx\":0,"},
    {"\"tx\":7,", "\"tx\":4294967296,"},
    {"\"tx\":7,", "\"tx\":07,"},
    {"\"meta\":{}", "\"meta\":[]"},
    {"\"meta\":{}", "\"meta\":null"},
    {"\"meta\":{}", "\"meta\":{"},
    {"\"meta\":{}", "\"meta\":{\"}"},
    {"\"meta\":{}", "\"meta\":{\"\\\"}"},
    {"\"meta\":{}", "\"meta\":"},
    {"\"meta\":{}", "\"meta\":{\n}"},
    {"\"meta\":{}", "\"meta\":{}}"},
    {"\"tx\":7,\"meta\":{}", "\"meta\":{},\"tx\":7"},
    {"\"id\":\"i\"", "\"id\":\"\""},
    {"\"id\":\"i\"", "\"id\":i"},
    {"\"id\":\"i\"", "\"id\":\"\x01\""},
    {"\"id\":\"i\"", "\"id\":\"\\x\""},
    {"\"id\":\"i\"", "\"id\":\"\\u0041\""},
    {"\"id\":\"i\"", "\"id\":\"\\u0008\""},
    {"\"id\":\"i\"", "\"id\":\"\\u0009\""},
    {"\"id\":\"i\"", "\"id\":\"\\u000c\""},
    {"\"id\":\"i\"", "\"id\":\"\\u000d\""},
    {"\"id\":\"i\"", "\"id\":\"\\u0020\""},
    {"\"id\":\"i\"", "\"id\":\"\\u0022\""},
    {"\"id\":\"i\"", "\"id\":\"\\u005c\""},
    {"\"id\":\"i\"", "\"id\":\"\\u007f\""},
    {"\"id\":\"i\"", "\"id\":\"\\u000a\""},
    {"\"id\":\"i\"", "\"id\":\"\\u001F\""},
    {"\"id\":\"i\"", "\"id\":\"\\/\""},
    {"\"id\":\"i\"", "\"id\":\"\\u00\""},
    {"\"id\":\"i\"", "\"id\":\"\\\""},
    {"\"entity\":\"e\"", "\"entity\":\"\""},
    {"\"type\":\"t\"", "\"type\":\"\""},
    {"\"type\":\"t\"", "\"type\":\"t\n\""},
    {"\"type\":\"t\",", "\"type\":\"t\", "},
    {"\"time\":\"2026-11-24T17:09:18Z\"",
     "\"time\":\"2026-11-24T17:09:18.123456Z\""}, /* as recorded */
    {"\"time\":\"2026-11-24T17:09:18Z\"", "\"time\":\"2026-11-24\""},
    {"\"time\":\"2026-11-24T17:09:18Z\"", "\"time\":\"2026-11-24T17:09:61Z\""},
    {"\"recorded\":\"2026-11-24T17:09:18.123456Z\",", ""}, /* then time must be its text */
    {"18.123456Z", "18.12345Z"},
    {"18.123456Z", "18.1234567Z"},
    {"18.123456Z", "18.123456z"},
    {"T17:09:18.123456Z", "t17:09:18.123456Z"},
    {"17:09:18.123456Z", "17:09:18.1+00:00"},
    {"\"crc\"", "\"CRC\""},
    {"\"data\":[]}\n", "\"data\":}\n"},
    {"\"data\":[]}\n", "\"data\":[]}"},
    {"\"data\":[]}\n", "\"data\":[]}\r\n"},
    {"\"data\":[]}\n", "\"data\":[]}\n\n"},
    {"\"data\":[]}\n", "\"data\":[\n]}\n"},
    {"\"data\":[]}\n", "\"date\":[]}\n"},
    {"\"data\":[]}\n", "\"data\":[]\n"},
    {"\"data\":[]}\n", "\"data\":[]}\n "},
};

static void test_refused(void)
{
    struct line l = plain;

    l.id = TEXT("i");
    l.version = 5;
    l.uid = 6;
    l.tx = 7;
    l.meta = TEXT("{}");
    l.data = TEXT("[]");
    l.time = TEXT("2026-11-24T17:09:18Z");
    for (size_t i = 0; i < ARRAY_LEN(edits); i++)
        refuse(&l, edits[i][0], edits[i][1]);
}

/* ---- random ---------------------------------------------------------------------------------- */

static struct slice random_text(char *buf, size_t max, bool *ret_escape)
{
    size_t n = 1 + check_random(&seed) % max;

    *ret_escape = check_random(&seed) % 4 == 0;
    for (size_t i = 0; i < n; i++) {
        uint64_t r = check_random(&seed) >> 24;
        buf[i] = *ret_escape && r % 3 == 0 ? "\"\\\n\r\t\b\f\x01\x1f"[r / 3 % 9]
                 : r % 5 == 0              ? (char)(0x80 + r / 5 % 128)
                                           : (char)('a' + r / 5 % 26);
    }
    return (struct slice){buf, n};
}

static struct line random_line(char buf[5][256])
{
    static const struct slice times[] = {TEXT("2026-11-24T17:09:18.123456Z"),
                                         TEXT("2020-02-29t01:02:03+05:30"),
                                         TEXT("1990-12-31T23:59:60Z"),
                                         {NULL, 0}};
    static const struct slice metas[] = {
        TEXT("{}"), TEXT("{\"a\\\\\":\"\\\"}\",\"b\":[{},\"]\"]}"), {NULL, 0}};
    static const struct slice datas[] = {
        TEXT("{\"a\":\"},\\\"crc\\\":\"}"), TEXT("0"), TEXT("\"}\""), {NULL, 0}};
    struct line l = {.seq = 1 + (check_random(&seed) >> check_random(&seed) % 60),
                     .version = 1 + (check_random(&seed) >> check_random(&seed) % 60),
                     .recorded_us = US + (int64_t)(check_random(&seed) % 3),
                     .uid = (uint32_t)check_random(&seed),
                     .tx = check_random(&seed) % 2 ? (uint32_t)check_random(&seed) : 0,
                     .time = times[check_random(&seed) % 4],
                     .meta = metas[check_random(&seed) % 3],
                     .data = datas[check_random(&seed) % 4],
                     .id_key = (uint32_t)check_random(&seed)};

    l.entity = random_text(buf[0], 100, &l.entity_escape);
    l.type = random_text(buf[1], 40, &l.type_escape);
    if (check_random(&seed) % 2)
        l.id = random_text(buf[2], 40, &l.id_escape);
    return l;
}

static void decoded(struct slice *s, bool escape, char *buf)
{
    if (escape)
        *s = (struct slice){buf, scan_decode((struct slice){s->p - 1, s->n + 2}, buf, NULL)};
}

/* What was parsed, written again, is the same bytes. */
static void check_again(const char *p, size_t n)
{
    char buf[3][4096];
    struct line l;
    size_t again_n;

    if (line_parse(p, n, &l, NULL, NULL) < 0 || n > 4000)
        return;
    decoded(&l.entity, l.entity_escape, buf[0]);
    decoded(&l.type, l.type_escape, buf[1]);
    decoded(&l.id, l.id_escape, buf[2]);
    char *again = write_line(&l, &again_n);
    CHECK_MEM(again, again_n, p, n);
    free(again);
}

static void test_round_trip(void)
{
    char buf[5][256], name[256];

    for (int i = 0; i < 20000; i++) {
        struct line l = random_line(buf), got;
        size_t n;
        char *text = write_line(&l, &n);
        CHECK_EQ(line_parse(text, n, &got, NULL, NULL), 0);
        CHECK(got.seq == l.seq && got.version == l.version && got.uid == l.uid && got.tx == l.tx);
        CHECK_EQ(got.recorded_us, l.recorded_us);
        CHECK(!l.time.p || slice_eq(l.time, got.time));
        CHECK(slice_eq(l.meta, got.meta) && (l.meta.p != NULL) == (got.meta.p != NULL));
        CHECK(slice_eq(l.data.p ? l.data : TEXT("null"), got.data));
        decoded(&got.entity, got.entity_escape, name);
        CHECK_MEM(got.entity.p, got.entity.n, l.entity.p, l.entity.n);
        if (!l.id.p && l.seq < 1ull << 40)
            CHECK_EQ(line_id_seq(got.id), l.seq);
        check_again(text, n);
        free(text);
    }
}

/* Every changed byte and every cut is found; with a right CRC, what is taken is still canonical. */
static void test_damage(void)
{
    static const char mean[] = "\"\\{}[],:\n\r 0159azZ\x01\xff";
    char buf[5][256];
    struct line got;

    for (int i = 0; i < 300; i++) {
        struct line l = random_line(buf);
        size_t n;
        char *text = write_line(&l, &n);
        for (size_t k = 0; k < n; k++) {
            char was = text[k];
            text[k] = check_random(&seed) % 2 ? mean[check_random(&seed) % (sizeof mean - 1)]
                                              : (char)(was ^ 1 << check_random(&seed) % 8);
            CHECK_EQ(parse(text, n, &got), text[k] == was ? 0 : -EBADMSG);
            char *digits = memmem(text, n, "\"crc\":\"", 7);
            if (digits && text + n - digits > 16) {
                char kept[8], hex[9];
                memcpy(kept, digits + 7, 8);
                uint32_t crc = crc32c(0, text, (size_t)(digits + 7 - text));
                (void)snprintf(hex, 9, "%08x",
                               crc32c(crc, digits + 15, (size_t)(text + n - digits) - 15));
                memcpy(digits + 7, hex, 8);
                if (parse(text, n, &got) == 0)
                    check_again(text, n);
                memcpy(digits + 7, kept, 8);
            }
            text[k] = was;
            CHECK_EQ(parse(text, k, &got), -EBADMSG);
        }
        CHECK_EQ(parse(text, n, &got), 0);
        free(text);
    }
}

/* ---- ids ------------------------------------------------------------------------------------- */

static void test_own_id(void)
{
    char id[LINE_ID_BYTES], before[LINE_ID_BYTES] = {0};
    uint64_t rand_b = 0x18c4dc0c0c07398fu; /* the example of RFC 9562, A.6 */
    struct slice s = {id, sizeof id};

    line_own_id(0x017f22e279b0 * 1000, rand_b >> 22, (uint32_t)rand_b & 0x3fffff, id);
    CHECK_MEM(id, sizeof id, "017f22e2-79b0-7000-98c4-dc0c0c07398f", 36);
    CHECK_EQ(line_id_seq(s), rand_b >> 22);
    line_own_id(0x017f22e279b0 * 1000 + 999, 1, UINT32_MAX, id);
    CHECK_MEM(id, sizeof id, "017f22e2-79b0-7ffb-8000-0000007fffff", 36);
    CHECK_EQ(line_id_seq(s), 1);
    line_own_id(-1, (1ull << 40) - 1, 0, id); /* a clock before 1970: 48 bits wrap */
    CHECK_MEM(id, sizeof id, "ffffffff-ffff-7ffb-bfff-ffffffc00000", 36);
    CHECK_EQ(line_id_seq(s), (1ull << 40) - 1);

    for (int i = 0; i < 5000; i++) { /* later and further is greater as text */
        line_own_id(US + i * 7 / 3, (uint64_t)i + 1, 0x155555, id);
        CHECK_EQ(line_id_seq(s), i + 1);
        CHECK(memcmp(before, id, sizeof id) < 0);
        memcpy(before, id, sizeof id);
    }
}

static void test_foreign_ids(void)
{
    static const char *const ids[] = {
        "",
        "x",
        "017F22E2-79B0-7CC3-98C4-DC0C0C07398F",
        "017f22e2-79b0-4cc3-98c4-dc0c0c07398f",
        "017f22e2-79b0-7cc3-c8c4-dc0c0c07398f",
        "017f22e2-79b0-7cc3-18c4-dc0c0c07398f",
        "017f22e2-79b0-7cc3-98c4-dc0c0c07398",
        "017f22e2-79b0-7cc3-98c4-dc0c0c07398f0",
        "017f22e2-79b0-7cc3-98c4_dc0c0c07398f",
        "017f22e2-79b0-7cc3-98c4-dc0c0c07398g",
        "017f22e2079b0-7cc3-98c4-dc0c0c07398f",
        "017f22e2-79b0-7000-8000-00000007398f", /* seq 0 */
    };

    for (size_t i = 0; i < ARRAY_LEN(ids); i++)
        CHECK_EQ(line_id_seq((struct slice){ids[i], strlen(ids[i])}), 0);
    CHECK(line_id_seq(TEXT("017f22e2-79b0-7cc3-98c4-dc0c0c07398f")) == 0x18c4dc0c0c07398fu >> 22);
}

/* Each byte of an id as each other byte: of the form, or 0. */
static void test_ids_with_another_byte(void)
{
    static const char digits[] = "0123456789abcdef";
    char id[] = "017f22e2-79b0-7cc3-98c4-dc0c0c07398f";

    for (size_t i = 0; i < LINE_ID_BYTES; i++) {
        const char was = id[i];
        for (int c = 0; c < 256; c++) {
            const bool dash = i == 8 || i == 13 || i == 18 || i == 23;
            uint64_t low = 0;
            id[i] = (char)c;
            bool form = dash      ? c == '-'
                        : i == 14 ? c == '7'
                        : i == 19 ? c && strchr("89ab", c)
                                  : c && strchr(digits, c);
            for (size_t k = 19; form && k < LINE_ID_BYTES; k++)
                if (k != 23)
                    low = low << 4 | (uint64_t)(strchr(digits, id[k]) - digits);
            CHECK_EQ(line_id_seq((struct slice){id, LINE_ID_BYTES}),
                     form ? low >> 22 & ((1ull << 40) - 1) : 0);
        }
        id[i] = was;
    }
}

/* ---- what is remembered of the line before ---------------------------------------------------- */

static void same_with(struct line_memo *m, const struct line *l)
{
    char text[1024];
    uint32_t data, crc;
    size_t n, want_n;
    char *want = write_line(l, &want_n);

    CHECK(line_bound(l) <= sizeof text);
    n = line_write(l, m, text, &data, &crc);
    CHECK_MEM(text, n, want, want_n);
    free(want);
}

static void test_memo(void)
{
    static const char names[] = "abcdefghijklmnopqrstuvwxyz0123456789ABCD";
    struct line_memo m = {0}, early = {0};
    struct line l = plain;

    l.recorded_us = 0; /* as a memo that knows nothing has it */
    l.seq = 0;
    same_with(&early, &l);
    for (uint64_t at = 1; at < 1ull << 50; at = at * 10 + 7) { /* over each number of digits */
        for (uint64_t seq = at; seq < at + 25; seq++) {
            l.seq = seq;
            same_with(&m, &l);
        }
    }
    for (int i = 0; i < 3000; i++) {
        uint64_t r = check_random(&seed);
        l.seq = r % 4 == 0 ? r >> r % 64 : l.seq + 1;
        l.recorded_us = r % 5 == 0 ? (int64_t)(r >> 20) % 2000000 - 1000
                                   : l.recorded_us + (int64_t)(r >> 8) % 2;
        l.version = 1 + (r >> 9) % 20000;
        l.uid = r % 7 == 0 ? (uint32_t)(r >> 3) : l.uid;
        l.tx = r % 11 == 0 ? (uint32_t)(r >> 17) : 0;
        l.meta = r % 13 == 0 ? TEXT("{\"a\":1}") : (struct slice){0};
        l.id = r % 17 == 0 ? TEXT("mine") : (struct slice){0};
        l.time = r % 3 == 0 ? TEXT("2026-11-24T17:09:18.123456Z") : (struct slice){0};
        l.entity = (struct slice){names, 1 + (r >> 30) % (sizeof names - 1)};
        l.type = (struct slice){names, 1 + (r >> 40) % (sizeof names - 1)};
        same_with(&m, &l);
    }
}

/* One after the other, of different seconds, and whether an id is the store's own. */
static void test_neighbours(void)
{
    char text[4000];
    struct line_memo m = {0};
    struct clock_text near = {0};
    struct line l = plain, got;
    uint32_t data, crc;
    size_t n = 0, at = 0;

    l.id = (struct slice){0};
    for (l.seq = 1; l.seq <= 6; l.seq++, l.recorded_us += 499999) {
        l.id = l.seq == 3 ? TEXT("not-one-of-the-store's-own-identifier") : (struct slice){0};
        n += line_write(&l, &m, text + n, &data, &crc);
    }
    l = plain;
    for (l.seq = 1; l.seq <= 6; l.seq++, l.recorded_us += 499999) {
        int r = line_read(text + at, n - at, &near, &got, &data, &crc);
        CHECK(r > 0 && text[at + (size_t)r - 1] == '\n');
        CHECK_EQ(got.seq, l.seq);
        CHECK_EQ(got.id_seq, l.seq == 3 ? 0 : l.seq);
        CHECK_EQ(got.recorded_us, l.recorded_us);
        CHECK(line_crc_ok(text + at, (size_t)r, data));
        at += (size_t)r;
    }
    CHECK_EQ(at, n);
    CHECK_EQ(line_read(text, 0, &near, &got, NULL, NULL), -EBADMSG);
    CHECK_EQ(line_read(text, 40, &near, &got, NULL, NULL), -EBADMSG); /* no LF */
}

int main(void)
{
    seed = check_seed();
    RUN(test_known);
    RUN(test_fields);
    RUN(test_escapes_and_breaks);
    RUN(test_refused);
    RUN(test_round_trip);
    RUN(test_damage);
    RUN(test_memo);
    RUN(test_neighbours);
    RUN(test_own_id);
    RUN(test_foreign_ids);
    RUN(test_ids_with_another_byte);
    CHECK_DONE();
}
