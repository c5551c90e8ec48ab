/* SPDX-License-Identifier: MIT */
/* Dates and times (RFC 3339), UUIDs (RFC 9562), JSON Pointers (RFC 6901), and the table of all formats. */
#include "jsonschema_format.h"

#include "jsonschema_regex.h"

uint32_t js_next_char(const char **p, const char *end)
{
    const unsigned char c = (unsigned char)*(*p)++;
    const unsigned more = c < 0x80 ? 0 : c < 0xe0 ? 1 : c < 0xf0 ? 2 : 3;
    uint32_t v = more == 0 ? c : c & (0x3fu >> more);

    for (unsigned i = 0; i < more && *p < end; i++)
        v = v << 6 | ((unsigned char)*(*p)++ & 0x3f);
    return v;
}

static inline bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static inline bool is_hex(char c)
{
    return is_digit(c) || ((c | 0x20) >= 'a' && (c | 0x20) <= 'f');
}

/* Two digits at p. */
static inline unsigned two(const char *p)
{
    return is_digit(p[0]) && is_digit(p[1]) ? (unsigned)(p[0] - '0') * 10 + (unsigned)(p[1] - '0')
                                            : 100;
}

static bool is_date(struct slice s)
{
    static const unsigned char days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};

    if (s.n != 10 || s.p[4] != '-' || s.p[7] != '-')
        return false;
    const unsigned century = two(s.p), of_century = two(s.p + 2), month = two(s.p + 5),
                   day = two(s.p + 8);
    if (century > 99 || of_century > 99 || month < 1 || month > 12)
        return false;
    const unsigned year = century * 100 + of_century;
    const bool leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    return day >= 1 && day <= days[month - 1] + (month == 2 && leap ? 1u : 0u);
}

static bool is_time(struct slice s)
{
    if (s.n < 9 || s.p[2] != ':' || s.p[5] != ':')
        return false;
    const unsigned hour = two(s.p), minute = two(s.p + 3), second = two(s.p + 6);
    if (hour > 23 || minute > 59 || second > 60)
        return false;
    size_t i = 8;
    if (s.p[i] == '.') {
        while (++i < s.n && is_digit(s.p[i]))
            ;
        if (i == 9)
            return false;
    }
    int offset = 0; /* minutes */
    if (s.n - i == 1) {
        if ((s.p[i] | 0x20) != 'z')
            return false;
    } else {
        if (s.n - i != 6 || (s.p[i] != '+' && s.p[i] != '-') || s.p[i + 3] != ':')
            return false;
        const unsigned hours = two(s.p + i + 1), minutes = two(s.p + i + 4);
        if (hours > 23 || minutes > 59)
            return false;
        offset = (int)(hours * 60 + minutes) * (s.p[i] == '-' ? -1 : 1);
    }
    /* A leap second is the last of a day of UTC. */
    const int utc = ((int)(hour * 60 + minute) - offset + 2 * 1440) % 1440;
    return second < 60 || utc == 1439;
}

static bool is_date_time(struct slice s)
{
    return s.n > 11 && (s.p[10] | 0x20) == 't' && is_date((struct slice){s.p, 10}) &&
           is_time((struct slice){s.p + 11, s.n - 11});
}

/* Digits with a unit each, in this order, none left out between two; at least one. Moves *p. */
static bool take_units(const char **p, const char *end, const char *units)
{
    const char *unit = NULL;

    while (*p < end && is_digit(**p)) {
        const char *q = *p;
        while (q < end && is_digit(*q))
            q++;
        const char *const found = q < end ? strchr(units, *q) : NULL;
        if (!found || !*found || (unit && found != unit + 1))
            return false;
        unit = found;
        *p = q + 1;
    }
    return unit != NULL;
}

/* RFC 3339, appendix A. */
static bool is_duration(struct slice s)
{
    const char *p = s.p + 1, *const end = s.p + s.n;

    if (s.n < 3 || *s.p != 'P')
        return false;
    if (s.p[s.n - 1] == 'W')
        return take_units(&p, end, "W") && p == end;
    if (*p != 'T' && !take_units(&p, end, "YMD"))
        return false;
    if (p == end)
        return true;
    if (*p++ != 'T')
        return false;
    return take_units(&p, end, "HMS") && p == end;
}

static bool is_uuid(struct slice s)
{
    if (s.n != 36)
        return false;
    for (size_t i = 0; i < 36; i++) {
        const bool dash = i == 8 || i == 13 || i == 18 || i == 23;
        if (dash ? s.p[i] != '-' : !is_hex(s.p[i]))
            return false;
    }
    return true;
}

static bool is_json_pointer(struct slice s)
{
    if (s.n > 0 && *s.p != '/')
        return false;
    for (size_t i = 0; i < s.n; i++)
        if (s.p[i] == '~' && (i + 1 == s.n || (s.p[i + 1] != '0' && s.p[i + 1] != '1')))
            return false;
    return true;
}

static bool is_relative_json_pointer(struct slice s)
{
    size_t i = 0;

    while (i < s.n && is_digit(s.p[i]))
        i++;
    if (i == 0 || (i > 1 && *s.p == '0'))
        return false;
    if (i + 1 == s.n && s.p[i] == '#')
        return true;
    return is_json_pointer((struct slice){s.p + i, s.n - i});
}

static bool is_regex(struct slice s)
{
    return js_pattern_is_valid(s) != 0; /* no memory: no reason to refuse */
}

js_format_check js_format_find(struct slice name)
{
    static const struct {
        const char *name;
        js_format_check check;
    } formats[] = {
        {"date-time", is_date_time},
        {"date", is_date},
        {"time", is_time},
        {"duration", is_duration},
        {"email", js_is_email},
        {"idn-email", js_is_idn_email},
        {"hostname", js_is_hostname},
        {"idn-hostname", js_is_idn_hostname},
        {"ipv4", js_is_ipv4},
        {"ipv6", js_is_ipv6},
        {"uri", js_is_uri},
        {"uri-reference", js_is_uri_reference},
        {"iri", js_is_iri},
        {"iri-reference", js_is_iri_reference},
        {"uuid", is_uuid},
        {"uri-template", js_is_uri_template},
        {"json-pointer", is_json_pointer},
        {"relative-json-pointer", is_relative_json_pointer},
        {"regex", is_regex},
    };

    for (size_t i = 0; i < ARRAY_LEN(formats); i++)
        if (slice_eq(name, (struct slice){formats[i].name, strlen(formats[i].name)}))
            return formats[i].check;
    return NULL;
}
