/* SPDX-License-Identifier: MIT */
/* URIs (RFC 3986), IRIs (RFC 3987), URI templates (RFC 6570), IP addresses. */
#include "jsonschema_format.h"

static inline bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static inline bool is_alpha(char c)
{
    return (c | 0x20) >= 'a' && (c | 0x20) <= 'z';
}

static inline bool is_hex(char c)
{
    return is_digit(c) || ((c | 0x20) >= 'a' && (c | 0x20) <= 'f');
}

/* ---- addresses ------------------------------------------------------------------------------- */

bool js_is_ipv4(struct slice s)
{
    size_t i = 0;

    for (unsigned part = 0; part < 4; part++) {
        unsigned v = 0;
        const size_t from = i;
        while (i < s.n && is_digit(s.p[i]) && i - from < 3)
            v = v * 10 + (unsigned)(s.p[i++] - '0');
        if (i == from || v > 255 || (i - from > 1 && s.p[from] == '0'))
            return false;
        if (part < 3 && (i == s.n || s.p[i++] != '.'))
            return false;
    }
    return i == s.n;
}

/* RFC 4291, without a zone. */
bool js_is_ipv6(struct slice s)
{
    unsigned groups = 0;
    bool gap = false;
    size_t i = 0;

    if (s.n >= 2 && s.p[0] == ':' && s.p[1] == ':') {
        gap = true;
        i = 2;
    }
    while (i < s.n) {
        const size_t from = i;
        while (i < s.n && is_hex(s.p[i]) && i - from < 4)
            i++;
        if (i < s.n && s.p[i] == '.') {
            if (!js_is_ipv4((struct slice){s.p + from, s.n - from}))
                return false;
            groups += 2;
            break;
        }
        if (i == from)
            return false;
        groups++;
        if (i == s.n)
            break;
        if (s.p[i++] != ':' || i == s.n)
            return false;
        if (s.p[i] == ':') {
            if (gap)
                return false;
            gap = true;
            i++;
        }
    }
    return gap ? groups < 8 : groups == 8;
}

/* ---- URIs and IRIs --------------------------------------------------------------------------- */

enum {
    UNRESERVED = 1,
    SUB = 2,
    COLON = 4,
    AT = 8,
    SLASH = 16,
    QUESTION = 32,
    NON_ASCII = 64,
    PRIVATE = 128
};
enum { PCHAR = UNRESERVED | SUB | COLON | AT };

static bool is_ucschar(uint32_t c)
{
    if (c < 0x10000)
        return c >= 0xa0 && !(c >= 0xd800 && c <= 0xf8ff) && !(c >= 0xfdd0 && c <= 0xfdef) &&
               c < 0xfff0;
    return c < 0xf0000 && (c & 0xfffe) != 0xfffe && !(c >= 0xe0000 && c < 0xe1000);
}

static bool is_private(uint32_t c)
{
    return (c >= 0xe000 && c <= 0xf8ff) || (c >= 0xf0000 && (c & 0xfffe) != 0xfffe);
}

/* As far as what is allowed goes; false: a bad %. */
static bool span(const char **p, const char *end, unsigned allowed)
{
    while (*p < end) {
        const char c = **p;
        const char *q = *p;
        if (c & 0x80) {
            const uint32_t u = js_next_char(&q, end);
            if (!((allowed & NON_ASCII) && is_ucschar(u)) &&
                !((allowed & PRIVATE) && is_private(u)))
                return true;
            *p = q;
            continue;
        }
        if (c == '%') {
            if (end - *p < 3 || !is_hex((*p)[1]) || !is_hex((*p)[2]))
                return false;
            *p += 3;
            continue;
        }
        unsigned is = 0;
        if (is_alpha(c) || is_digit(c) || (c && strchr("-._~", c)))
            is = UNRESERVED;
        else if (c && strchr("!$&'()*+,;=", c))
            is = SUB;
        else
            is = c == ':' ? COLON : c == '@' ? AT : c == '/' ? SLASH : c == '?' ? QUESTION : 0;
        if (!(is & allowed))
            return true;
        (*p)++;
    }
    return true;
}

/* What is between [ and ]. */
static bool is_ip_literal(const char *p, const char *end)
{
    if (end > p && (*p | 0x20) == 'v') {
        const char *const from = ++p;
        while (p < end && is_hex(*p))
            p++;
        if (p == from || p == end || *p++ != '.' || p == end || memchr(p, '%', (size_t)(end - p)))
            return false;
        return span(&p, end, UNRESERVED | SUB | COLON) && p == end;
    }
    return js_is_ipv6((struct slice){p, (size_t)(end - p)});
}

/* Behind "//"; to its end. */
static bool authority(const char **p, const char *end, unsigned more)
{
    const char *q = *p;

    if (!span(&q, end, UNRESERVED | SUB | COLON | more))
        return false;
    if (q < end && *q == '@')
        *p = q + 1;
    if (*p < end && **p == '[') {
        const char *const close = memchr(*p, ']', (size_t)(end - *p));
        if (!close || !is_ip_literal(*p + 1, close))
            return false;
        *p = close + 1;
    } else if (!span(p, end, UNRESERVED | SUB | more)) {
        return false;
    }
    if (*p < end && **p == ':')
        do
            (*p)++;
        while (*p < end && is_digit(**p));
    return true;
}

/* The length of "scheme:", 0 without. */
static size_t scheme(struct slice s)
{
    size_t i = 0;

    if (s.n == 0 || !is_alpha(*s.p))
        return 0;
    while (i < s.n &&
           (is_alpha(s.p[i]) || is_digit(s.p[i]) || strchr("+-.", s.p[i] ? s.p[i] : 'x')))
        i++;
    return i < s.n && s.p[i] == ':' ? i + 1 : 0;
}

static bool reference(struct slice s, bool needs_scheme, unsigned more)
{
    const size_t n = scheme(s);
    const char *p = s.p + n, *const end = s.p + s.n;

    if (n == 0 && needs_scheme)
        return false;
    if (end - p >= 2 && p[0] == '/' && p[1] == '/') {
        p += 2;
        if (!authority(&p, end, more) || (p < end && *p != '/' && *p != '?' && *p != '#'))
            return false;
    } else if (n == 0 && !span(&p, end, (PCHAR & ~COLON) | more)) {
        return false; /* its first segment without a ':' would be a scheme's end */
    } else if (n == 0 && p < end && *p == ':') {
        return false;
    }
    if (!span(&p, end, PCHAR | SLASH | more))
        return false;
    if (p < end && *p == '?') {
        p++;
        if (!span(&p, end, PCHAR | SLASH | QUESTION | more | (more ? PRIVATE : 0)))
            return false;
    }
    if (p < end && *p == '#') {
        p++;
        if (!span(&p, end, PCHAR | SLASH | QUESTION | more))
            return false;
    }
    return p == end;
}

bool js_is_uri(struct slice s)
{
    return reference(s, true, 0);
}

bool js_is_uri_reference(struct slice s)
{
    return reference(s, false, 0);
}

bool js_is_iri(struct slice s)
{
    return reference(s, true, NON_ASCII);
}

bool js_is_iri_reference(struct slice s)
{
    return reference(s, false, NON_ASCII);
}

/* ---- templates ------------------------------------------------------------------------------- */

/* One variable of an expression; to its end. */
static bool variable(const char **p, const char *end)
{
    bool any = false, dot = false;

    for (; *p < end; (*p)++) {
        const char c = **p;
        if (c == '%') {
            if (end - *p < 3 || !is_hex((*p)[1]) || !is_hex((*p)[2]))
                return false;
            *p += 2;
        } else if (c == '.') {
            if (!any || dot)
                return false;
            dot = true;
            continue;
        } else if (!is_alpha(c) && !is_digit(c) && c != '_') {
            break;
        }
        any = true;
        dot = false;
    }
    if (!any || dot)
        return false;
    if (*p < end && **p == '*') {
        (*p)++;
    } else if (*p < end && **p == ':') {
        const char *const from = ++*p;
        while (*p < end && is_digit(**p))
            (*p)++;
        return *p > from && *p - from <= 4 && *from != '0';
    }
    return true;
}

static bool expression(const char **p, const char *end)
{
    if (*p < end && strchr("+#./;?&=,!@|", **p ? **p : 'x'))
        (*p)++;
    do
        if (!variable(p, end))
            return false;
    while (*p < end && *(*p)++ == ',');
    return (*p)[-1] == '}';
}

bool js_is_uri_template(struct slice s)
{
    const char *p = s.p, *const end = s.p + s.n;

    while (p < end) {
        const char c = *p;
        if (c & 0x80) {
            const uint32_t u = js_next_char(&p, end);
            if (!is_ucschar(u) && !is_private(u))
                return false;
        } else if (c == '{') {
            p++;
            if (!expression(&p, end))
                return false;
        } else if (c == '%') {
            if (end - p < 3 || !is_hex(p[1]) || !is_hex(p[2]))
                return false;
            p += 3;
        } else if (c <= ' ' || c == 0x7f || strchr("\"<>\\^`|}", c)) {
            return false;
        } else {
            p++;
        }
    }
    return true;
}
