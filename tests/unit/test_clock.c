/* SPDX-License-Identifier: MIT */
/* clock: RFC 3339 both ways, against libc's gmtime_r and timegm. */
#include "check.h"

#include "store/clock.h"

#include <errno.h>
#include <time.h>

#define YEAR_0     (-62167219200)
#define YEAR_10000 253402300800

static uint64_t seed;

/* clock_parse_near(), with the second before and with its own, as clock_parse() has it: r and us. */
static void parse_near(struct slice s, int r, int64_t us)
{
    static struct clock_text near;
    struct clock_text before = near, c = {.second = INT64_MIN};
    char text[CLOCK_TEXT_BYTES];

    if (r == 0)
        clock_format(&c, us, text);
    int want = r < 0 ? r : slice_eq(s, (struct slice){text, sizeof text});
    for (int i = 0; i < 2; i++) {
        int64_t got = us;
        CHECK_EQ(clock_parse_near(&near, s, &got), want);
        CHECK_EQ(got, us);
    }
    if (want <= 0)
        CHECK(memcmp(&near, &before, sizeof near) == 0);
}

static int parse(const char *s, int64_t *ret_us)
{
    size_t n = strlen(s);
    char *exact = malloc(n ? n : 1); /* no NUL behind it: a sanitizer sees a byte too much */
    int r;

    memcpy(exact, s, n);
    r = clock_parse((struct slice){exact, n}, ret_us);
    CHECK_EQ(clock_check((struct slice){exact, n}), r);
    parse_near((struct slice){exact, n}, r, *ret_us);
    free(exact);
    return r;
}

static void expect(const char *text, int64_t us)
{
    int64_t got = -1;
    int r = parse(text, &got);

    if (r != 0 || got != us)
        fprintf(stderr, "%s:\n", text);
    CHECK_EQ(r, 0);
    CHECK_EQ(got, us);
}

static void refuse(const char *text)
{
    int64_t got = 42;
    int r = parse(text, &got);

    if (r != -EINVAL || got != 42)
        fprintf(stderr, "'%s':\n", text);
    CHECK_EQ(r, -EINVAL);
    CHECK_EQ(got, 42); /* outputs are untouched on failure */
}

static void test_known(void)
{
    expect("1970-01-01T00:00:00Z", 0);
    expect("2026-11-24T17:09:18.123456Z", 1795540158123456);
    expect("1985-04-12T23:20:50.52Z", 482196050520000); /* RFC 3339, 5.8 */
    expect("1996-12-19T16:39:57-08:00", 851042397000000);
    expect("1937-01-01T12:00:27.87+00:20", -1041337172130000);
    expect("1969-12-31T23:59:59.999999Z", -1);
    expect("0000-01-01T00:00:00Z", YEAR_0 * 1000000);
    expect("9999-12-31T23:59:59.999999Z", YEAR_10000 * 1000000 - 1);
    expect("2000-02-29t00:00:00z", 951782400000000);
    expect("2000-02-29 00:00:00.5-00:00", 951782400500000);
    expect("2000-02-29T00:00:00.1234569999999999999999999999999999999999Z", 951782400123456);
    expect("2000-02-29T00:00:00.0000001Z", 951782400000000);
    expect("2000-03-01T23:59:00+23:59", 951868800000000);
}

static void test_leap_seconds(void)
{
    expect("1990-12-31T23:59:60Z", 662688000000000); /* RFC 3339, 5.8 */
    expect("1990-12-31T15:59:60-08:00", 662688000000000);
    expect("2016-12-31T23:59:60.25Z", 1483228800250000);
    expect("2015-06-30T23:59:60Z", 1435708800000000);
    refuse("1990-12-30T23:59:60Z");
    refuse("1990-12-31T22:59:60Z");
    refuse("1990-12-31T23:58:60Z");
    refuse("1990-12-31T23:59:60-08:00");
    refuse("1990-12-31T23:59:61Z");
    refuse("9999-12-31T23:59:60Z"); /* would be the year 10000 */
}

static void test_refused(void)
{
    static const char *const bad[] = {
        "",
        "Z",
        "2026-11-24",
        "2026-11-24T17:09:18",
        "2026-11-24T17:09Z",
        "2026-11-24T17:09:18.Z",
        "2026-11-24T17:09:18,5Z",
        "2026-11-24_17:09:18Z",
        "2026-11-24T17:09:18ZZ",
        "2026-11-24T17:09:18 Z",
        " 2026-11-24T17:09:18Z",
        "2026-11-24T17:09:18Z ",
        "2026-13-24T17:09:18Z",
        "2026-00-24T17:09:18Z",
        "2026-11-31T17:09:18Z",
        "2026-11-00T17:09:18Z",
        "2026-02-29T17:09:18Z",
        "1900-02-29T17:09:18Z",
        "2026-11-24T24:00:00Z",
        "2026-11-24T17:60:18Z",
        "2026-11-24T17:09:18+24:00",
        "2026-11-24T17:09:18+01:60",
        "2026-11-24T17:09:18+0100",
        "2026-11-24T17:09:18+01",
        "2026-11-24T17:09:18+01:00Z",
        "2026-11-24T17:09:18.1+1:00",
        "20261124T170918Z",
        "2026-1-024T17:09:18Z",
        "-026-11-24T17:09:18Z",
        "+026-11-24T17:09:18Z",
        "2026-11-24T17:09:1xZ",
        "2026/11/24T17:09:18Z",
        "2026-11-24T17.09.18Z",
        "2026-11-24T17:09:18.12 3Z",
        "0000-01-01T00:00:00+00:01",
        "9999-12-31T23:59:59-00:01",
    };

    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        refuse(bad[i]);
}

static void expect_format(struct clock_text *c, int64_t us)
{
    char got[CLOCK_TEXT_BYTES], want[64];
    int64_t fraction = (us % 1000000 + 1000000) % 1000000, back = 0;
    time_t t = (time_t)((us - fraction) / 1000000);
    struct tm tm;

    clock_format(c, us, got);
    CHECK(gmtime_r(&t, &tm) != NULL);
    (void)snprintf(want, sizeof want, "%04d-%02d-%02dT%02d:%02d:%02d.%06dZ", tm.tm_year + 1900,
                   tm.tm_mon + 1, tm.tm_mday, tm.tm_hour, tm.tm_min, tm.tm_sec, (int)fraction);
    CHECK_MEM(got, CLOCK_TEXT_BYTES, want, strlen(want));
    CHECK_EQ(clock_parse((struct slice){got, CLOCK_TEXT_BYTES}, &back), 0);
    CHECK_EQ(back, us);
    parse_near((struct slice){got, CLOCK_TEXT_BYTES}, 0, us);
    CHECK_EQ(timegm(&tm), t);
}

static void test_format(void)
{
    struct clock_text c = {.second = INT64_MIN};
    const int64_t edges[] = {0,
                             -1,
                             1,
                             999999,
                             1000000,
                             -1000000,
                             -1000001,
                             YEAR_0 * 1000000,
                             YEAR_10000 * 1000000 - 1,
                             951782399999999,
                             951782400000000};

    for (size_t i = 0; i < sizeof edges / sizeof edges[0]; i++) {
        expect_format(&c, edges[i]);
        expect_format(&c, edges[i]); /* the second is remembered now */
    }
    for (int i = 0; i < 20000; i++) {
        int64_t second = YEAR_0 + (int64_t)(check_random(&seed) % (uint64_t)(YEAR_10000 - YEAR_0));
        expect_format(&c, second * 1000000 + (int64_t)(check_random(&seed) % 1000000));
    }
    /* Each day of two 400-year cycles. */
    for (int64_t day = -146097; day < 146097; day++)
        expect_format(&c, (day * 86400 + 43200) * 1000000 - 500000);
}

/* Every byte of a time whose second is known may be another. */
static void test_near(void)
{
    for (size_t at = 0; at < CLOCK_TEXT_BYTES; at++) {
        for (int b = 1; b < 256; b++) {
            char text[] = "2026-11-24T17:09:18.123456Z";
            int64_t us = 42;
            (void)parse(text, &us);
            text[at] = (char)b;
            us = 42;
            (void)parse(text, &us);
        }
    }
}

/* An offset moves the instant, nothing else. */
static void test_offsets(void)
{
    for (int i = 0; i < 2000; i++) {
        int64_t second = (int64_t)(check_random(&seed) % 4000000000u), a = 0, b = 0;
        int minutes = (int)(check_random(&seed) % 1440);
        bool west = check_random(&seed) % 2;
        char text[CLOCK_TEXT_BYTES + 6];
        struct clock_text c = {.second = INT64_MIN};
        clock_format(&c, second * 1000000, text);
        CHECK_EQ(clock_parse((struct slice){text, CLOCK_TEXT_BYTES}, &a), 0);
        (void)snprintf(text + CLOCK_TEXT_BYTES - 1, 7, "%c%02d:%02d", west ? '-' : '+',
                       minutes / 60, minutes % 60);
        CHECK_EQ(clock_parse((struct slice){text, CLOCK_TEXT_BYTES + 5}, &b), 0);
        CHECK_EQ(b - a, (west ? 60000000ll : -60000000ll) * minutes);
    }
}

static void test_now(void)
{
    time_t t = time(NULL);
    int64_t us = clock_now_us();

    CHECK(us / 1000000 >= t && us / 1000000 <= t + 60);
    CHECK(clock_now_us() >= us || clock_now_us() > us - 60000000);
}

int main(void)
{
    seed = check_seed();
    RUN(test_known);
    RUN(test_leap_seconds);
    RUN(test_refused);
    RUN(test_format);
    RUN(test_near);
    RUN(test_offsets);
    RUN(test_now);
    CHECK_DONE();
}
