/* SPDX-License-Identifier: MIT */
/* Civil dates are Howard Hinnant's algorithms (days_from_civil, civil_from_days): the year is
 * taken to begin in March, so that the leap day is its last, and 400 years are always 146,097
 * days. timegm() would do as well, but takes a lock for the time zone and 35 ns, three times
 * what all of clock_parse() does.
 * (1) Every time that parses can be formatted: it lies in the years 0000-9999 UTC.
 * (2) A leap second, hh:mm:60, is the same instant as the next second's beginning, as POSIX
 *     counts. */
#include "clock.h"

#include <assert.h>
#include <endian.h>
#include <errno.h>
#include <time.h>

#define SECOND_US  1000000
#define DAY_S      86400
#define ERA_DAYS   146097         /* 400 years */
#define FIRST_S    (-62167219200) /* 0000-01-01T00:00:00Z */
#define BEYOND_S   253402300800   /* 10000-01-01T00:00:00Z */
#define EPOCH_DAYS 719468         /* from 0000-03-01 to 1970-01-01 */
#define DATE_TIME  19             /* bytes of 2026-11-24T17:09:18 */

int64_t clock_now_us(void)
{
    struct timespec t;

    (void)clock_gettime(CLOCK_REALTIME, &t); /* can't fail: the clock exists, t is ours */
    return (int64_t)t.tv_sec * SECOND_US + t.tv_nsec / 1000;
}

static void put2(char *p, unsigned v)
{
    p[0] = (char)('0' + v / 10);
    p[1] = (char)('0' + v % 10);
}

/* "2026-11-24T17:09:18." */
static void format_second(int64_t second, char text[20])
{
    int64_t days = (second - FIRST_S) / DAY_S + FIRST_S / DAY_S + EPOCH_DAYS;
    unsigned of_day = (unsigned)((second - FIRST_S) % DAY_S);
    int64_t era = (days >= 0 ? days : days - (ERA_DAYS - 1)) / ERA_DAYS;
    unsigned doe = (unsigned)(days - era * ERA_DAYS);
    unsigned yoe = (doe - doe / 1460 + doe / 36524 - doe / 146096) / 365;
    unsigned doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
    unsigned mp = (5 * doy + 2) / 153; /* months since March */
    unsigned day = doy - (153 * mp + 2) / 5 + 1;
    unsigned month = mp < 10 ? mp + 3 : mp - 9;
    unsigned year = (unsigned)(era * 400 + yoe + (month <= 2));

    put2(text, year / 100);
    put2(text + 2, year % 100);
    text[4] = '-';
    put2(text + 5, month);
    text[7] = '-';
    put2(text + 8, day);
    text[10] = 'T';
    put2(text + 11, of_day / 3600);
    text[13] = ':';
    put2(text + 14, of_day / 60 % 60);
    text[16] = ':';
    put2(text + 17, of_day % 60);
    text[19] = '.';
}

void clock_format(struct clock_text *c, int64_t us, char out[CLOCK_TEXT_BYTES])
{
    int64_t second = us / SECOND_US - (us % SECOND_US < 0);
    unsigned fraction = (unsigned)(us - second * SECOND_US);

    if (UNLIKELY(second != c->second)) {
        assert(second >= FIRST_S && second < BEYOND_S);
        format_second(second, c->text);
        c->second = second;
    }
    memcpy(out, c->text, sizeof c->text);
    put2(out + 20, fraction / 10000);
    put2(out + 22, fraction / 100 % 100);
    put2(out + 24, fraction % 100);
    out[26] = 'Z';
}

static int64_t days_from_civil(unsigned year, unsigned month, unsigned day)
{
    int64_t y = (int64_t)year - (month <= 2);
    int64_t era = (y >= 0 ? y : y - 399) / 400;
    unsigned yoe = (unsigned)(y - era * 400);
    unsigned doy = (153 * (month > 2 ? month - 3 : month + 9) + 2) / 5 + day - 1;

    return era * ERA_DAYS + (int64_t)(yoe * 365 + yoe / 4 - yoe / 100 + doy) - EPOCH_DAYS;
}

static unsigned month_days(unsigned year, unsigned month)
{
    static const uint8_t days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};

    return days[month - 1] + (month == 2 && year % 4 == 0 && (year % 100 != 0 || year % 400 == 0));
}

/* Two digits; anything else gives at least 100. */
static unsigned two(const char *p)
{
    unsigned hi = (unsigned char)p[0] - '0', lo = (unsigned char)p[1] - '0';

    return hi > 9 || lo > 9 ? 100 : hi * 10 + lo;
}

struct civil {
    unsigned year, month, day, hour, minute, second;
};

/* Of the 19 bytes "2026-11-24T17:09:18"; false if they are not that. */
static bool read_civil(const char *p, struct civil *c)
{
    unsigned century = two(p), yy = two(p + 2);

    *c = (struct civil){century * 100 + yy, two(p + 5),  two(p + 8),
                        two(p + 11),        two(p + 14), two(p + 17)};
    if (p[4] != '-' || p[7] != '-' || p[13] != ':' || p[16] != ':')
        return false;
    if (p[10] != 'T' && p[10] != 't' && p[10] != ' ')
        return false;
    if (century > 99 || yy > 99 || c->month < 1 || c->month > 12 || c->hour > 23 ||
        c->minute > 59 || c->second > 60)
        return false;
    return c->day >= 1 && c->day <= month_days(c->year, c->month);
}

/* Their seconds as if they were UTC; INT64_MIN if they are not that. */
static int64_t parse_second(const char *p, bool *ret_leap)
{
    struct civil c;

    if (!read_civil(p, &c))
        return INT64_MIN;
    *ret_leap = c.second == 60;
    return days_from_civil(c.year, c.month, c.day) * DAY_S + c.hour * 3600 + c.minute * 60 +
           c.second;
}

/* "Z", "z" or "+01:00" are all of s. 0 or -EINVAL. */
static int parse_offset(struct slice s, int64_t *ret_s)
{
    if (s.n == 1 && (s.p[0] == 'Z' || s.p[0] == 'z')) {
        *ret_s = 0;
        return 0;
    }
    if (s.n != 6 || (s.p[0] != '+' && s.p[0] != '-') || s.p[3] != ':')
        return -EINVAL;

    unsigned hour = two(s.p + 1), minute = two(s.p + 4);
    if (hour > 23 || minute > 59)
        return -EINVAL;
    *ret_s = (int64_t)(hour * 3600 + minute * 60) * (s.p[0] == '-' ? -1 : 1);
    return 0;
}

/* Leap seconds are inserted at the end of a month in UTC (ITU-R TF.460): the second that follows
 * is the first of a month. Which months had one is not known for the future, so all may. */
static bool begins_month(int64_t second)
{
    char text[20];

    if (second < FIRST_S || second >= BEYOND_S)
        return false;
    format_second(second, text);
    return memcmp(text + 8, "01T00:00:00", 11) == 0;
}

int clock_parse(struct slice s, int64_t *ret_us)
{
    int64_t offset, second;
    unsigned fraction = 0, unit = SECOND_US / 10;
    size_t i = DATE_TIME;
    bool leap = false;

    if (s.n < DATE_TIME + 1)
        return -EINVAL;
    second = parse_second(s.p, &leap);
    if (second == INT64_MIN)
        return -EINVAL;
    if (s.p[i] == '.') {
        size_t first = ++i;
        for (; i < s.n && s.p[i] >= '0' && s.p[i] <= '9'; i++, unit /= 10)
            fraction += (unsigned)(s.p[i] - '0') * unit;
        if (i == first)
            return -EINVAL;
    }
    if (parse_offset((struct slice){s.p + i, s.n - i}, &offset) < 0)
        return -EINVAL;
    second -= offset;
    if (second < FIRST_S || second >= BEYOND_S || (leap && !begins_month(second)))
        return -EINVAL;
    *ret_us = second * SECOND_US + fraction;
    return 0;
}

/* Six digits; two bytes before them may be read. False: they are others. */
static inline bool six(const char *p, unsigned *ret)
{
    const uint64_t zeros = 0x3030303030303030u, tops = 0x8080808080808080u;
    uint64_t v = ((le64toh(load64(p - 2)) & ~0xffffull) | 0x3030) - zeros;

    if ((v | (v + 0x7676767676767676u)) & tops) /* one is above 9 */
        return false;
    v = v * 10 + (v >> 8); /* pairs, in each second byte */
    v = (v & 0x000000ff000000ffu) * 0x000f424000000064u +
        (v >> 16 & 0x000000ff000000ffu) * 0x0000271000000001u;
    *ret = (unsigned)(v >> 32);
    return true;
}

int clock_parse_near(struct clock_text *c, struct slice s, int64_t *ret_us)
{
    unsigned fraction;

    if (LIKELY(s.n == CLOCK_TEXT_BYTES && memcmp(s.p, c->text, sizeof c->text) == 0 &&
               s.p[CLOCK_TEXT_BYTES - 1] == 'Z' && six(s.p + sizeof c->text, &fraction))) {
        *ret_us = c->second * SECOND_US + fraction;
        return 1;
    }
    int r = clock_parse(s, ret_us);
    if (r < 0 || s.n != CLOCK_TEXT_BYTES || s.p[10] != 'T' || s.p[17] == '6' ||
        s.p[sizeof c->text - 1] != '.' || s.p[CLOCK_TEXT_BYTES - 1] != 'Z')
        return r;
    c->second = *ret_us / SECOND_US - (*ret_us % SECOND_US < 0);
    memcpy(c->text, s.p, sizeof c->text);
    return 1;
}

int clock_check(struct slice s)
{
    struct civil c;
    int64_t us;

    /* UTC to the second, which most writers give, needs no count of days. */
    if (s.n == DATE_TIME + 1 && s.p[DATE_TIME] == 'Z' && read_civil(s.p, &c) && c.second < 60)
        return 0;
    return clock_parse(s, &us);
}
