/* SPDX-License-Identifier: MIT */
/* Recognisers of what is in strings. They run for each string of each event, so that each first asks what
 * costs least: the length and the first byte. A string that is not ASCII has no format. */
#include "infer_format.h"

#include "limits.h"
#include "scan.h"

#if defined(__SSE2__)
#include <emmintrin.h>
#endif

static_assert(INFER_RAW_NAME_MAX == 6 * LIMIT_INFER_NAME_BYTES, "a name's decoded bytes");

enum { FORMAT_BYTES_MAX = 2048 }; /* longer strings have no format */

/* ---- classes of bytes ------------------------------------------------------------------------ */

enum {
    IS_DIGIT = 1,
    IS_HEX = 2,
    IS_ALPHA = 4,
    IS_URI = 8, /* in a host */
    IS_ATOM = 16,
    IS_SCHEME = 32,
    IS_PATH = 64,
    IS_QUERY = 128
};
#define IN_URI (IS_URI | IS_PATH | IS_QUERY)

static const uint8_t classes[256] = {
    ['!'] = IN_URI | IS_ATOM,
    ['#'] = IS_ATOM,
    ['$'] = IN_URI | IS_ATOM,
    ['%'] = IS_ATOM,
    ['&'] = IN_URI | IS_ATOM,
    ['\''] = IN_URI | IS_ATOM,
    ['('] = IN_URI,
    [')'] = IN_URI,
    ['*'] = IN_URI | IS_ATOM,
    ['+'] = IN_URI | IS_ATOM | IS_SCHEME,
    [','] = IN_URI,
    ['-'] = IN_URI | IS_ATOM | IS_SCHEME,
    ['.'] = IN_URI | IS_SCHEME,
    ['/'] = IS_PATH | IS_QUERY,
    [':'] = IS_PATH | IS_QUERY,
    [';'] = IN_URI,
    ['='] = IN_URI | IS_ATOM,
    ['?'] = IS_QUERY | IS_ATOM,
    ['@'] = IS_PATH | IS_QUERY,
    ['^'] = IS_ATOM,
    ['_'] = IN_URI | IS_ATOM,
    ['`'] = IS_ATOM,
    ['{'] = IS_ATOM,
    ['|'] = IS_ATOM,
    ['}'] = IS_ATOM,
    ['~'] = IN_URI | IS_ATOM,
    ['0' ... '9'] = IS_DIGIT | IS_HEX | IN_URI | IS_ATOM | IS_SCHEME,
    ['A' ... 'F'] = IS_HEX | IS_ALPHA | IN_URI | IS_ATOM | IS_SCHEME,
    ['G' ... 'Z'] = IS_ALPHA | IN_URI | IS_ATOM | IS_SCHEME,
    ['a' ... 'f'] = IS_HEX | IS_ALPHA | IN_URI | IS_ATOM | IS_SCHEME,
    ['g' ... 'z'] = IS_ALPHA | IN_URI | IS_ATOM | IS_SCHEME,
};

static inline bool is(char c, unsigned mask)
{
    return classes[(unsigned char)c] & mask;
}

static inline bool all_are(const char *p, size_t n, unsigned mask)
{
    for (size_t i = 0; i < n; i++)
        if (!is(p[i], mask))
            return false;
    return true;
}

/* ---- dates ----------------------------------------------------------------------------------- */

/* Two digits of at most max; -1: not so. */
static inline int two(const char *p, int max)
{
    if (!is(p[0], IS_DIGIT) || !is(p[1], IS_DIGIT))
        return -1;
    const int v = (p[0] - '0') * 10 + (p[1] - '0');
    return v <= max ? v : -1;
}

/* Ten bytes, YYYY-MM-DD. */
static bool is_date(const char *p)
{
    static const int8_t days[] = {0, 31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};

    if (p[4] != '-' || p[7] != '-')
        return false;
    const int century = two(p, 99), year = two(p + 2, 99), month = two(p + 5, 12),
              day = two(p + 8, 31);
    if (century < 0 || year < 0 || month < 1 || day < 1 || day > days[month])
        return false;
    const int whole = century * 100 + year;
    const bool leap = whole % 4 == 0 && (whole % 100 != 0 || whole % 400 == 0);
    return month != 2 || day < 29 || leap;
}

/* n >= 20, YYYY-MM-DDThh:mm:ss[.f](Z|+hh:mm) */
static bool is_date_time(const char *p, size_t n)
{
    size_t i = 19;

    if (p[10] != 'T' || p[13] != ':' || p[16] != ':' || two(p + 11, 23) < 0 ||
        two(p + 14, 59) < 0 || two(p + 17, 59) < 0 || !is_date(p))
        return false;
    if (p[i] == '.') {
        i++;
        while (i < n && is(p[i], IS_DIGIT))
            i++;
        if (i == 20)
            return false;
    }
    if (i + 1 == n)
        return p[i] == 'Z';
    return i + 6 == n && (p[i] == '+' || p[i] == '-') && two(p + i + 1, 23) >= 0 &&
           p[i + 3] == ':' && two(p + i + 4, 59) >= 0;
}

/* ---- identifiers and addresses --------------------------------------------------------------- */

/* n == 36 */
static bool is_uuid(const char *p)
{
    for (size_t i = 0; i < 36; i++) {
        const bool dash = i == 8 || i == 13 || i == 18 || i == 23;
        if (dash ? p[i] != '-' : !is(p[i], IS_HEX))
            return false;
    }
    return true;
}

static bool is_ipv4(const char *p, size_t n)
{
    size_t i = 0;

    for (unsigned part = 0; part < 4; part++) {
        const size_t from = i;
        unsigned v = 0;
        while (i < n && i - from < 3 && is(p[i], IS_DIGIT))
            v = v * 10 + (unsigned)(p[i++] - '0');
        if (i == from || v > 255 || (p[from] == '0' && i - from > 1))
            return false;
        if (part < 3 && (i == n || p[i++] != '.'))
            return false;
    }
    return i == n;
}

/* Up to eight groups of up to four digits; "::" once, for one group or more. */
static bool is_ipv6(const char *p, size_t n)
{
    unsigned groups = 0;
    bool gap = false;
    size_t i = 0;

    if (n >= 2 && p[0] == ':' && p[1] == ':') {
        gap = true;
        i = 2;
    }
    while (i < n) {
        const size_t from = i;
        while (i < n && i - from < 4 && is(p[i], IS_HEX))
            i++;
        if (i == from || ++groups > 8)
            return false;
        if (i == n)
            break;
        if (p[i++] != ':' || i == n)
            return false;
        if (p[i] == ':') {
            if (gap)
                return false;
            gap = true;
            i++;
        }
    }
    return groups > 0 && (gap ? groups < 8 : groups == 8);
}

/* Letters, digits and inner hyphens between dots, one dot at least. */
static bool is_domain(const char *p, size_t n)
{
    size_t label = 0, dots = 0;

    for (size_t i = 0; i < n; i++) {
        if (p[i] == '.') {
            if (label == 0 || p[i - 1] == '-')
                return false;
            dots++;
            label = 0;
        } else if (is(p[i], IS_DIGIT | IS_ALPHA) || (p[i] == '-' && label > 0)) {
            if (++label > 63)
                return false;
        } else {
            return false;
        }
    }
    return dots > 0 && label > 0 && p[n - 1] != '-' && n <= 253;
}

/* at: where the only '@' is */
static bool is_email(const char *p, size_t n, size_t at)
{
    if (at == 0 || at > 64 || n > 254 || p[0] == '.' || p[at - 1] == '.')
        return false;
    for (size_t i = 0; i < at; i++)
        if (!is(p[i], IS_ATOM) && (p[i] != '.' || p[i - 1] == '.'))
            return false;
    return is_domain(p + at + 1, n - at - 1);
}

/* ---- addresses of the web -------------------------------------------------------------------- */

/* How many of the bytes from i on, by sixteens, are what most of an address is made of: letters, digits, "-._" and,
 * but for a host, '/'. All of these are in the class; more may follow that are. */
static inline size_t uri_usual(const char *p, size_t i, size_t n, unsigned class)
{
#if defined(__SSE2__)
    const __m128i slash = _mm_set1_epi8(class == IS_URI ? '/' : 0); /* 0 is nothing usual */

    while (n - i >= 16) {
        __m128i v = _mm_loadu_si128((const __m128i *)(const void *)(p + i));
        __m128i letter = _mm_sub_epi8(_mm_or_si128(v, _mm_set1_epi8(0x20)), _mm_set1_epi8('a'));
        __m128i digit = _mm_sub_epi8(v, _mm_set1_epi8('-')); /* "-./" stand in front of them */
        letter = _mm_cmpeq_epi8(_mm_min_epu8(letter, _mm_set1_epi8('z' - 'a')), letter);
        digit = _mm_cmpeq_epi8(_mm_min_epu8(digit, _mm_set1_epi8('9' - '-')), digit);
        __m128i usual =
            _mm_or_si128(_mm_or_si128(letter, digit), _mm_cmpeq_epi8(v, _mm_set1_epi8('_')));
        usual = _mm_andnot_si128(_mm_cmpeq_epi8(v, slash), usual);
        unsigned k = (unsigned)__builtin_ctz(~(unsigned)_mm_movemask_epi8(usual));
        i += k;
        if (k < 16)
            return i;
    }
#else
    (void)p, (void)n, (void)class;
#endif
    return i;
}

/* Where bytes of the class, and percent-encoded ones, end. */
static inline size_t uri_part(const char *p, size_t i, size_t n, unsigned class)
{
    for (;;) {
        i = uri_usual(p, i, n, class);
        while (i < n && is(p[i], class))
            i++;
        if (i == n || p[i] != '%' || n - i < 3 || !is(p[i + 1], IS_HEX) || !is(p[i + 2], IS_HEX))
            return i;
        i += 3;
    }
}

/* scheme://[user@]host[:port][/path][?query][#fragment]; colon: where the first ':' is */
static bool is_uri(const char *p, size_t n, size_t colon)
{
    if (n - colon < 4 || p[colon + 1] != '/' || p[colon + 2] != '/' || !is(p[0], IS_ALPHA) ||
        !all_are(p, colon, IS_SCHEME))
        return false;
    size_t from = colon + 3, i = uri_part(p, from, n, IS_URI), user = i;
    while (user < n && p[user] == ':') /* a user has any of them, a host one */
        user = uri_part(p, user + 1, n, IS_URI);
    if (user < n && p[user] == '@') {
        from = user + 1;
        i = uri_part(p, from, n, IS_URI);
    }
    /* A host may be empty only as in file:///. */
    if (i == from && (from != colon + 3 || i == n || p[i] != '/'))
        return false;
    if (i < n && p[i] == ':')
        for (i++; i < n && is(p[i], IS_DIGIT);)
            i++;
    if (i < n && p[i] == '/')
        i = uri_part(p, i, n, IS_PATH);
    if (i < n && p[i] == '?')
        i = uri_part(p, i + 1, n, IS_QUERY);
    if (i < n && p[i] == '#')
        i = uri_part(p, i + 1, n, IS_QUERY);
    return i == n;
}

/* ---- public ---------------------------------------------------------------------------------- */

const char *infer_format_name(enum infer_format f)
{
    static const char *const names[FORMAT_COUNT] = {NULL,  "date-time", "date", "uuid",
                                                    "uri", "email",     "ipv4", "ipv6"};

    return names[f];
}

static enum infer_format digit_first(const char *p, size_t n)
{
    if (n == 10)
        return is_date(p) ? FORMAT_DATE : is_ipv4(p, n) ? FORMAT_IPV4 : FORMAT_NONE;
    if (n >= 20 && p[10] == 'T')
        return is_date_time(p, n) ? FORMAT_DATE_TIME : FORMAT_NONE;
    if (n >= 7 && n <= 15 && is_ipv4(p, n))
        return FORMAT_IPV4;
    return FORMAT_NONE;
}

enum infer_format infer_format(const char *p, size_t n)
{
    if (n < 3 || n > FORMAT_BYTES_MAX)
        return FORMAT_NONE;
    if (is(p[0], IS_DIGIT)) {
        enum infer_format f = digit_first(p, n);
        if (f != FORMAT_NONE)
            return f;
    }
    if (n == 36 && p[8] == '-')
        return is_uuid(p) ? FORMAT_UUID : FORMAT_NONE;
    const char *colon = memchr(p, ':', MIN(n, 39u));
    if (colon) {
        if (n <= 39 && is_ipv6(p, n))
            return FORMAT_IPV6;
        return is_uri(p, n, (size_t)(colon - p)) ? FORMAT_URI : FORMAT_NONE;
    }
    const char *at = n <= 254 && is(p[0], IS_ATOM) ? memchr(p, '@', MIN(n, 65u)) : NULL;
    return at && is_email(p, n, (size_t)(at - p)) ? FORMAT_EMAIL : FORMAT_NONE;
}

enum infer_format infer_format_raw(struct slice raw)
{
    char decoded[FORMAT_BYTES_MAX];
    bool odd;

    if (!memchr(raw.p, '\\', raw.n))
        return infer_format(raw.p + 1, raw.n - 2);
    if (raw.n > sizeof decoded)
        return FORMAT_NONE;
    const size_t n = scan_decode(raw, decoded, &odd);
    return odd ? FORMAT_NONE : infer_format(decoded, n);
}

/* An id by its look: a run of five digits, eight hex digits with two that are no letters, or sixteen letters
 * and digits with four digits among them. */
static bool is_id(const char *p, size_t n)
{
    size_t digits = 0, run = 0, longest = 0, hex = 0, word = 0;

    for (size_t i = 0; i < n; i++) {
        const bool digit = is(p[i], IS_DIGIT);
        digits += digit;
        run = digit ? run + 1 : 0;
        longest = MAX(longest, run);
        hex += is(p[i], IS_HEX);
        word += is(p[i], IS_HEX | IS_ALPHA) || p[i] == '-' || p[i] == '_';
    }
    return longest >= 5 || (digits == n && n > 0) || (hex == n && n >= 8 && digits >= 2) ||
           (word == n && n >= 16 && digits >= 4);
}

/* Whether one of eight bytes is below 'A'. With the high bit set it may be or not. */
static inline bool some_below_a(uint64_t v)
{
    const uint64_t ones = 0x0101010101010101u, at = v ^ ones * '@';

    return (~v & ones * 0x40) | ((at - ones) & ~at & ones * 0x80);
}

/* Names are mostly letters and '_'. What makes one data holds a digit, '/', ':' or '@', all below 'A', or is too
 * long. */
static inline bool is_word(const char *p, size_t n)
{
    if (n < 4) {
        for (size_t i = 0; i < n; i++)
            if (p[i] <= '@')
                return false;
        return true;
    }
    if (n < 8)
        return !some_below_a((uint64_t)load32(p) << 32 | load32(p + n - 4));
    for (size_t i = 0; i + 8 < n; i += 8)
        if (some_below_a(load64(p + i)))
            return false;
    return !some_below_a(load64(p + n - 8)) && n <= LIMIT_INFER_NAME_BYTES;
}

bool infer_plain_name_is_data(const char *p, size_t n)
{
    if (LIKELY(is_word(p, n)))
        return false;
    return n > LIMIT_INFER_NAME_BYTES || is_id(p, n) || memchr(p, '/', n) ||
           infer_format(p, n) != FORMAT_NONE;
}

bool infer_name_is_data(struct slice raw)
{
    char decoded[INFER_RAW_NAME_MAX + 2];
    bool odd;

    if (!memchr(raw.p, '\\', raw.n))
        return infer_plain_name_is_data(raw.p + 1, raw.n - 2);
    if (raw.n > sizeof decoded)
        return true;
    const size_t n = scan_decode(raw, decoded, &odd);
    return odd || infer_plain_name_is_data(decoded, n);
}
