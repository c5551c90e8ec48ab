/* SPDX-License-Identifier: MIT */
#include "conform.h"
#include "infer_world.h"
#include "store/infer_format.h"

/* ---- strings and names ----------------------------------------------------------------------- */

static const struct {
    const char *s;
    enum infer_format f;
} format_cases[] = {{"2026-02-28", FORMAT_DATE},
                    {"2024-02-29", FORMAT_DATE},
                    {"2023-02-29", FORMAT_NONE},
                    {"1900-02-29", FORMAT_NONE},
                    {"2000-02-29", FORMAT_DATE},
                    {"2026-04-31", FORMAT_NONE},
                    {"2026-00-10", FORMAT_NONE},
                    {"2026-13-10", FORMAT_NONE},
                    {"2026-1-100", FORMAT_NONE},
                    {"2015-01-01T00:00:00Z", FORMAT_DATE_TIME},
                    {"2015-01-01T00:00:00.123456789Z", FORMAT_DATE_TIME},
                    {"2023-05-13T22:09:38.000-04:00", FORMAT_DATE_TIME},
                    {"2015-01-01T00:00:00", FORMAT_NONE},
                    {"2015-01-01T00:00:00.Z", FORMAT_NONE},
                    {"2015-01-01T24:00:00Z", FORMAT_NONE},
                    {"2015-01-01T23:59:60Z", FORMAT_NONE},
                    {"2015-01-01 00:00:00Z", FORMAT_NONE},
                    {"2015-02-30T00:00:00Z", FORMAT_NONE},
                    {"2015-01-01T00:00:00+24:00", FORMAT_NONE},
                    {"2015-01-01T00:00:00+0100", FORMAT_NONE},
                    {"123e4567-e89b-12d3-a456-426614174000", FORMAT_UUID},
                    {"ABCDEF67-E89B-12D3-A456-426614174000", FORMAT_UUID},
                    {"123e4567-e89b-12d3-a456-42661417400g", FORMAT_NONE},
                    {"123e4567-e89b-12d3-a456426614174000-", FORMAT_NONE},
                    {"https://example.org/a?b=c&d#e", FORMAT_URI},
                    {"https://example.org", FORMAT_URI},
                    {"http://user:pw@h.example:8080/%41", FORMAT_URI},
                    {"file:///etc/passwd", FORMAT_URI},
                    {"git://github.com/x/y.git", FORMAT_URI},
                    {"https://api.github.com/users/x{/repo}", FORMAT_NONE},
                    {"https://exa mple.org", FORMAT_NONE},
                    {"https://example.org/%4", FORMAT_NONE},
                    {"https://example.org/%zz", FORMAT_NONE},
                    {"https://example.org/#a#b", FORMAT_NONE},
                    {"https://example.org:port/", FORMAT_NONE},
                    {"https://", FORMAT_NONE},
                    {"https://a@b@c/", FORMAT_NONE},
                    {"https://?x", FORMAT_NONE},
                    {"https://\xc3\xa4.org/", FORMAT_NONE},
                    {"note: this", FORMAT_NONE},
                    {"1http://a.b", FORMAT_NONE},
                    {"a.b+c@example.org", FORMAT_EMAIL},
                    {"4@example.org", FORMAT_EMAIL},
                    {"a..b@example.org", FORMAT_NONE},
                    {".a@example.org", FORMAT_NONE},
                    {"a.@example.org", FORMAT_NONE},
                    {"a@b@example.org", FORMAT_NONE},
                    {"a@example", FORMAT_NONE},
                    {"a@-x.org", FORMAT_NONE},
                    {"a@x-.org", FORMAT_NONE},
                    {"a@x..org", FORMAT_NONE},
                    {"a b@example.org", FORMAT_NONE},
                    {"127.0.0.1", FORMAT_IPV4},
                    {"255.255.255.255", FORMAT_IPV4},
                    {"10.10.10.1", FORMAT_IPV4},
                    {"256.0.0.1", FORMAT_NONE},
                    {"1.2.3", FORMAT_NONE},
                    {"01.2.3.4", FORMAT_NONE},
                    {"1.2.3.4.5", FORMAT_NONE},
                    {"::1", FORMAT_IPV6},
                    {"fe80::1", FORMAT_IPV6},
                    {"2001:db8:0:0:0:0:0:1", FORMAT_IPV6},
                    {"1::", FORMAT_IPV6},
                    {"1:2:3:4:5:6:7::", FORMAT_IPV6},
                    {"1:2:3:4:5:6:7:8::", FORMAT_NONE},
                    {"1:2:3:4:5:6:7", FORMAT_NONE},
                    {"1:2:3:4:5:6:7:8:9", FORMAT_NONE},
                    {"1::2::3", FORMAT_NONE},
                    {":1::", FORMAT_NONE},
                    {"12345::", FORMAT_NONE},
                    {"::", FORMAT_NONE},
                    {"10:30", FORMAT_NONE},
                    {"", FORMAT_NONE},
                    {"word", FORMAT_NONE}};

/* What is looked at by sixteen bytes has the format that it has byte by byte, whichever byte, and wherever. */
static void long_addresses(void)
{
    static const char *const before[] = {"http://", "http://h/", "http://h/?",
                                         "http://u:", "http://h/#"};
    static const char *const behind[] = {"/", "", "", "@h", ""};
    char few[64], many[128];

    for (unsigned b = 0; b < 256; b++) {
        if (b == '%')
            continue; /* with what follows it */
        for (size_t k = 0; k < ARRAY_LEN(before); k++) {
            const size_t few_n = (size_t)sprintf(few, "%sa%ca%s", before[k], 'X', behind[k]);
            few[strlen(before[k]) + 1] = (char)b;
            for (int at = 1; at < 40; at++) {
                const size_t n =
                    (size_t)sprintf(many, "%s%.*s%s", before[k], 41,
                                    "abcdefghijklmnopqrstuvwxyzABCDEFXYZ-._09zz", behind[k]);
                many[strlen(before[k]) + (size_t)at] = (char)b;
                CHECK_EQ(infer_format(many, n), infer_format(few, few_n));
            }
        }
    }
}

static void formats(void)
{
    char raw[128];

    for (size_t i = 0; i < ARRAY_LEN(format_cases); i++) {
        enum infer_format f = infer_format(format_cases[i].s, strlen(format_cases[i].s));
        if (f != format_cases[i].f)
            fprintf(stderr, "%s:\n", format_cases[i].s);
        CHECK_EQ(f, format_cases[i].f);
        CHECK(f == FORMAT_NONE ||
              conform_format(infer_format_name(f), format_cases[i].s, strlen(format_cases[i].s)));
        (void)snprintf(raw, sizeof raw, "\"%s\"", format_cases[i].s);
        CHECK_EQ(infer_format_raw(text(raw)), format_cases[i].f);
    }
    CHECK_EQ(infer_format_raw(text("\"https:\\/\\/a.b\\/c\"")), FORMAT_URI);
    CHECK_EQ(infer_format_raw(text("\"https://a.b/\\ud800\"")), FORMAT_NONE);
    CHECK_EQ(infer_format("::1\0", 4), FORMAT_NONE);
    CHECK_EQ(infer_format("http://a.b/\0", 12), FORMAT_NONE);
}

static void names(void)
{
    static const char *const data[] = {"\"1\"",
                                       "\"2015\"",
                                       "\"2015-01-01\"",
                                       "\"123e4567-e89b-12d3-a456-426614174000\"",
                                       "\"a@example.org\"",
                                       "\"src/main.c\"",
                                       "\"/\"",
                                       "\"user-12345\"",
                                       "\"10.0.0.1\"",
                                       "\"e246b48a79\"",
                                       "\"01ARZ3NDEKTSV4RRFFQ69G5FAV\"",
                                       "\"\\ud800\"",
                                       "\"a\\u0000b\"",
                                       "\"a\\/b\"",
                                       "\"https://example.org\"",
                                       "\"cus_4QFJ02jw2pOmA6\""};
    static const char *const fields[] = {"\"id\"",
                                         "\"\"",
                                         "\"+1\"",
                                         "\"sha256\"",
                                         "\"address_line_1\"",
                                         "\"ipv4\"",
                                         "\"iso8601\"",
                                         "\"created_at\"",
                                         "\"facade\"",
                                         "\"deadbeef\"",
                                         "\"full name\"",
                                         "\"\xc3\xa4\"",
                                         "\"a\\\"b\"",
                                         "\"size_256\"",
                                         "\"$ref\"",
                                         "\"dismiss_stale_reviews_on_push\"",
                                         "\"x-request-id\"",
                                         "\"8ball\""};
    char big[256];

    for (size_t i = 0; i < ARRAY_LEN(data); i++)
        if (!infer_name_is_data(text(data[i])))
            check_failed++, fprintf(stderr, "%s is a field\n", data[i]);
    for (size_t i = 0; i < ARRAY_LEN(fields); i++)
        if (infer_name_is_data(text(fields[i])))
            check_failed++, fprintf(stderr, "%s is data\n", fields[i]);
    memset(big, 'a', sizeof big);
    big[0] = '"', big[129] = '"', big[130] = '\0';
    CHECK(!infer_name_is_data(text(big)));
    big[129] = 'a', big[130] = '"';
    CHECK(infer_name_is_data((struct slice){big, 131}));
}

/* ---- shapes ---------------------------------------------------------------------------------- */

static void shapes(void)
{
    static const char *const same[][2] = {
        {"1", "-20"},
        {"1.0", "1e3"},
        {"\"a\"", "\"bcd\\\"\""},
        {"true", "false"},
        {"{\"a\":1}", "{ \"a\" :\n 22 }"},
        {"{\"a\":1}", "{\"\\u0061\":1}"},
        {"[1,2,3]", "[1]"},
        {"[1,\"a\",2]", "[\"b\",3]"},
        {"[[1],[\"a\"],[1]]", "[[\"a\"],[1,2]]"},
        {"{\"100\":1,\"200\":2}", "{\"300\":3}"},
        {"{\"100\":1,\"a\":2,\"200\":\"x\"}", "{\"7\":\"x\",\"a\":2,\"8\":1}"},
        {"{\"d\":\"2015-01-01\"}", "{\"d\":\"2016-02-29\"}"}};
    static const char *const differ[] = {"1",
                                         "1.0",
                                         "\"a\"",
                                         "true",
                                         "null",
                                         "[]",
                                         "{}",
                                         "[1]",
                                         "[1.5]",
                                         "[[1]]",
                                         "[[]]",
                                         "[{}]",
                                         "[1,\"a\"]",
                                         "[null]",
                                         "{\"a\":1}",
                                         "{\"b\":1}",
                                         "{\"a\":1,\"b\":1}",
                                         "{\"a\":{\"b\":1}}",
                                         "{\"a\":[1]}",
                                         "{\"a\":null}",
                                         "{\"1\":1}",
                                         "{\"1\":1,\"a\":1}",
                                         "{\"1\":\"x\"}",
                                         "{\"1\":\"x\",\"2\":1}",
                                         "[{\"a\":1},{\"b\":1}]",
                                         "[{\"a\":1,\"b\":1}]",
                                         "[[1],[2.5]]",
                                         "[[1,2.5]]",
                                         "\"2015-01-01\"",
                                         "\"2015-01-01T00:00:00Z\"",
                                         "\"a@b.example\"",
                                         "\"http://a.example\"",
                                         "\"::1\"",
                                         "\"1.2.3.4\"",
                                         "\"123e4567-e89b-12d3-a456-426614174000\"",
                                         "[[[]]]",
                                         "{\"a\":{}}",
                                         "{\"a\":[]}",
                                         "[{\"a\":1}]"};

    for (size_t i = 0; i < ARRAY_LEN(same); i++) {
        if (shape(same[i][0]) != shape(same[i][1]))
            check_failed++, fprintf(stderr, "%s and %s differ\n", same[i][0], same[i][1]);
    }
    for (size_t i = 0; i < ARRAY_LEN(differ); i++)
        for (size_t j = 0; j < i; j++)
            if (shape(differ[i]) == shape(differ[j]))
                check_failed++, fprintf(stderr, "%s and %s are one\n", differ[i], differ[j]);
    /* More distinct elements than the set holds: still told apart. */
    char many[2][8192] = {"[", "["};
    for (int side = 0; side < 2; side++) {
        size_t n = 1;
        for (int i = 0; i < 200; i++)
            n += (size_t)sprintf(many[side] + n, "%s{\"k%d\":1}", i ? "," : "",
                                 i == 150 ? i + side * 900 : i);
        strcpy(many[side] + n, "]");
    }
    CHECK(shape(many[0]) != shape(many[1]));
}

int main(void)
{
    RUN(formats);
    RUN(long_addresses);
    RUN(names);
    RUN(shapes);
    CHECK_DONE();
}
