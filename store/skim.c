/* SPDX-License-Identifier: MIT */
/* JSON without validation: the end of a value that arrives in pieces, and walks through values that
 * scan_value() has accepted.
 *
 * skim_feed() and scan_value() agree, however the input is cut: (1) where scan_value() accepts,
 * skim finds the same end; (2) what makes skim fail makes scan_value() fail as well, at the same
 * byte or earlier. Whatever else is wrong is left to scan_value(), which sees the whole value once
 * it has ended.
 *
 * The walks never read beyond the slice that they are given, even if it is not what scan_value()
 * accepted; what they return is then meaningless. */
#include "scan.h"

#include "limits.h"

#if defined(__SSE2__)
#include <emmintrin.h>
#endif

/* ---- skim ------------------------------------------------------------------------------------ */

void skim_init(struct skim *k, bool transaction)
{
    *k = (struct skim){.transaction = transaction};
}

static inline uint64_t bit_of(unsigned depth)
{
    return 1ull << ((depth - 1) & 63);
}

static inline bool is_object(const struct skim *k)
{
    return k->object[(k->depth - 1) >> 6] & bit_of(k->depth);
}

static inline bool is_broken(const struct skim *k)
{
    return k->broken[(k->depth - 1) >> 6] & bit_of(k->depth);
}

static enum evs_reason skim_open(struct skim *k, char c)
{
    if (k->depth == LIMIT_DEPTH)
        return EVS_TOO_DEEP;
    k->depth++;
    unsigned word = (k->depth - 1u) >> 6;
    uint64_t bit = bit_of(k->depth);
    k->broken[word] &= ~bit;
    k->object[word] = c == '{' ? k->object[word] | bit : k->object[word] & ~bit;
    k->opened = 1;
    return EVS_OK_;
}

static enum evs_reason skim_close(struct skim *k, char c)
{
    if (is_object(k) != (c == '}'))
        return EVS_BAD_JSON;
    k->done = --k->depth == 0;
    return EVS_OK_;
}

static enum evs_reason skim_break(struct skim *k, char c)
{
    if (k->opened && c == '\r') {
        k->opened = 2; /* right if a LF comes before the next token */
        return EVS_OK_;
    }
    if (k->opened) {
        k->opened = 0;
        k->broken[(k->depth - 1) >> 6] |= bit_of(k->depth);
    }
    return is_broken(k) || k->after_comma ? EVS_OK_ : EVS_LINE_BREAK;
}

/* One byte between strings, within a container. */
static enum evs_reason skim_byte(struct skim *k, char c)
{
    if (c == ' ' || c == '\t')
        return EVS_OK_;
    if (c == '\n' || c == '\r')
        return skim_break(k, c);
    if (k->opened == 2)
        return EVS_LINE_BREAK;
    k->opened = 0;
    k->after_comma = c == ',' && k->transaction && k->depth == 1 && !is_object(k);
    if (c == '{' || c == '[')
        return skim_open(k, c);
    if (c == '}' || c == ']')
        return skim_close(k, c);
    k->in_string = c == '"';
    return EVS_OK_;
}

/* Within a string: to its end, or that of the input. */
static const char *skim_string(struct skim *k, const char *p, const char *end,
                               enum evs_reason *ret_why)
{
    while (p < end) {
        if (!k->escaped) {
            p += scan_plain(p, (size_t)(end - p));
            if (p == end)
                break;
        }
        if (*p == '\n') {
            *ret_why = EVS_LINE_BREAK;
            return p;
        }
        if (*p == '"' && !k->escaped) {
            k->in_string = 0;
            k->done = k->depth == 0;
            return p + 1;
        }
        k->escaped = *p++ == '\\' && !k->escaped;
    }
    return p;
}

static void skim_start(struct skim *k, char c)
{
    k->started = 1;
    k->in_string = c == '"';
    k->scalar = c != '"' && c != '{' && c != '[';
}

/* A number or literal ends before white space; whether it is one, scan_value() says. */
static ssize_t skim_scalar(struct skim *k, const char *s, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (scan_is_space(s[i])) {
            k->done = 1;
            return (ssize_t)i;
        }
    }
    return 0;
}

ssize_t skim_feed(struct skim *k, const char *s, size_t n, struct evs_error *err)
{
    const char *p = s, *end = s + n;
    enum evs_reason why = EVS_OK_;

    if (n == 0 || k->done)
        return 0;
    if (!k->started) {
        skim_start(k, *p);
        if (!k->scalar) {
            why = k->in_string ? EVS_OK_ : skim_open(k, *p);
            p++;
        }
    }
    if (k->scalar)
        return skim_scalar(k, s, n);
    while (p < end && !k->done) {
        if (k->in_string) {
            p = skim_string(k, p, end, &why);
        } else {
            why = skim_byte(k, *p);
            if (why == EVS_OK_)
                p++;
        }
        if (UNLIKELY(why != EVS_OK_))
            return evs_fail(err, why, (uint64_t)(p - s));
    }
    return k->done ? p - s : 0;
}

/* ---- walks ----------------------------------------------------------------------------------- */

enum scan_kind scan_kind(char c)
{
    switch (c) {
    case '{':
        return SCAN_OBJECT;
    case '[':
        return SCAN_ARRAY;
    case '"':
        return SCAN_STRING;
    case 't':
        return SCAN_TRUE;
    case 'f':
        return SCAN_FALSE;
    case 'n':
        return SCAN_NULL;
    default:
        return SCAN_NUMBER;
    }
}

/* What ends a number or a literal, and what stands between tokens. */
enum { ENDS = 1, SPACE = 2 };
static const unsigned char classes[256] = {
    [' '] = ENDS | SPACE, ['\n'] = ENDS | SPACE, ['\t'] = ENDS | SPACE, ['\r'] = ENDS | SPACE,
    [','] = ENDS,         [']'] = ENDS,          ['}'] = ENDS};

#if defined(__SSE2__)
#define STEP 16
/* Of 16 bytes, as bits: which are '"' or '\\'. */
static inline unsigned quotes(const char *s)
{
    __m128i v = _mm_loadu_si128((const __m128i *)(const void *)s);
    __m128i found =
        _mm_or_si128(_mm_cmpeq_epi8(v, _mm_set1_epi8('"')), _mm_cmpeq_epi8(v, _mm_set1_epi8('\\')));

    return (unsigned)_mm_movemask_epi8(found);
}

/* How many of n bytes at s are surely none that ENDS: at most 16. */
static inline size_t no_ends(const char *s, size_t n)
{
    if (n < STEP)
        return 0;
    __m128i v = _mm_loadu_si128((const __m128i *)(const void *)s);
    __m128i found = _mm_or_si128(_mm_cmplt_epi8(v, _mm_set1_epi8(' ' + 1)),
                                 _mm_cmpeq_epi8(v, _mm_set1_epi8(',')));
    /* bit 0x20 is all that ']' and '}' differ in */
    found = _mm_or_si128(found,
                         _mm_cmpeq_epi8(_mm_or_si128(v, _mm_set1_epi8(0x20)), _mm_set1_epi8('}')));
    return (unsigned)__builtin_ctz((unsigned)_mm_movemask_epi8(found) | 1u << STEP);
}
#else
#define STEP 1
static inline unsigned quotes(const char *s)
{
    return *s == '"' || *s == '\\';
}

static inline size_t no_ends(const char *s, size_t n)
{
    (void)s;
    (void)n;
    return 0;
}
#endif

/* From i <= n on, the first byte that is '"' or '\\', or n. The last step begins in front of i where it must. */
static inline size_t to_quote(const char *s, size_t i, size_t n)
{
    unsigned found;

    for (; n - i >= STEP; i += STEP) {
        if ((found = quotes(s + i)) != 0)
            return i + (unsigned)__builtin_ctz(found);
    }
    if (LIKELY(n >= STEP && i < n)) {
        found = quotes(s + n - STEP) >> (i - (n - STEP));
        return found ? i + (unsigned)__builtin_ctz(found) : n;
    }
    while (i < n && s[i] != '"' && s[i] != '\\')
        i++;
    return i;
}

/* The length of the string at s. */
static inline size_t skip_string(const char *s, size_t n)
{
    size_t i = 1;

    while (i < n) {
        i = to_quote(s, i, n);
        if (i < n && s[i] == '"')
            return i + 1;
        i += 2;
    }
    return n;
}

size_t scan_skip(const char *s, size_t n)
{
    unsigned depth = 0;
    size_t i = 0;

    if (n == 0)
        return 0;
    if (s[0] == '"')
        return skip_string(s, n);
    if (s[0] != '{' && s[0] != '[') {
        for (i = no_ends(s, n); i < n && !(classes[(unsigned char)s[i]] & ENDS);)
            i++;
        return i;
    }
    do {
        char c = s[i];
        if (c == '"') {
            i += skip_string(s + i, n - i);
            continue;
        }
        depth += c == '{' || c == '[';
        depth -= c == '}' || c == ']';
        i++;
    } while (depth > 0 && i < n);
    return i;
}

/* To the next token that is neither white space nor c. */
static size_t skip_to_token(struct slice s, size_t i, char c)
{
    while (i < s.n && (s.p[i] == c || classes[(unsigned char)s.p[i]] & SPACE))
        i++;
    return i;
}

static size_t take_value(struct slice s, size_t i, struct slice *ret)
{
    *ret = (struct slice){s.p + i, scan_skip(s.p + i, s.n - i)};
    return i + ret->n;
}

int scan_element(struct slice array, size_t *pos, struct slice *ret_value)
{
    size_t i = skip_to_token(array, *pos ? *pos : 1, ',');

    if (i >= array.n || array.p[i] == ']' || array.p[i] == '}') {
        *pos = i;
        return 0;
    }
    *pos = take_value(array, i, ret_value);
    return 1;
}

int scan_member(struct slice object, size_t *pos, struct slice *ret_key, struct slice *ret_value)
{
    if (!scan_element(object, pos, ret_key))
        return 0;
    *pos = take_value(object, skip_to_token(object, *pos, ':'), ret_value);
    return 1;
}

/* ---- strings --------------------------------------------------------------------------------- */

/* The four digits of an escape; s behind its 'u'. */
static unsigned hex4(const char *s)
{
    unsigned v = 0;

    for (int i = 0; i < 4; i++)
        v = v << 4 | (unsigned)(s[i] <= '9' ? s[i] - '0' : (s[i] | 0x20) - 'a' + 10);
    return v;
}

static size_t put_utf8(char *out, unsigned c)
{
    if (c < 0x80) {
        out[0] = (char)c;
        return 1;
    }
    if (c < 0x800) {
        out[0] = (char)(0xc0 | c >> 6);
        out[1] = (char)(0x80 | (c & 0x3f));
        return 2;
    }
    if (c < 0x10000) {
        out[0] = (char)(0xe0 | c >> 12);
        out[1] = (char)(0x80 | (c >> 6 & 0x3f));
        out[2] = (char)(0x80 | (c & 0x3f));
        return 3;
    }
    out[0] = (char)(0xf0 | c >> 18);
    out[1] = (char)(0x80 | (c >> 12 & 0x3f));
    out[2] = (char)(0x80 | (c >> 6 & 0x3f));
    out[3] = (char)(0x80 | (c & 0x3f));
    return 4;
}

static bool is_surrogate(unsigned c)
{
    return c >= 0xd800 && c < 0xe000;
}

/* The escape at s (n bytes are left); its length. */
static size_t decode_escape(const char *s, size_t n, unsigned *ret_c)
{
    static const char names[] = "bfnrt", codes[] = "\b\f\n\r\t";

    if (s[1] != 'u') {
        const char *name = strchr(names, s[1]);
        *ret_c = name ? (unsigned char)codes[name - names] : (unsigned char)s[1];
        return 2;
    }
    if (n < 6) {
        *ret_c = 0;
        return n;
    }
    *ret_c = hex4(s + 2);
    if (*ret_c >= 0xd800 && *ret_c < 0xdc00 && n >= 12 && s[6] == '\\' && s[7] == 'u') {
        unsigned low = hex4(s + 8);
        if (low >= 0xdc00 && low < 0xe000) {
            *ret_c = 0x10000 + ((*ret_c - 0xd800) << 10) + (low - 0xdc00);
            return 12;
        }
    }
    return 6;
}

size_t scan_decode(struct slice raw, char *out, bool *ret_odd)
{
    size_t i = 1, n = 0, end = raw.n > 1 ? raw.n - 1 : 1;
    bool odd = false;

    while (i < end) {
        const char *back = memchr(raw.p + i, '\\', end - i);
        size_t run = back ? (size_t)(back - raw.p) - i : end - i;
        unsigned c;

        memcpy(out + n, raw.p + i, run);
        n += run;
        i += run;
        if (i + 1 >= end)
            break;
        i += decode_escape(raw.p + i, end - i, &c);
        odd |= c == 0 || is_surrogate(c);
        n += put_utf8(out + n, c);
    }
    if (ret_odd)
        *ret_odd = odd;
    return n;
}

static size_t encode_byte(char *out, unsigned char c)
{
    static const char hex[] = "0123456789abcdef", names[] = "bfnrt\"\\", codes[] = "\b\f\n\r\t\"\\";
    const char *code = memchr(codes, c, sizeof codes - 1);

    out[0] = '\\';
    if (code) {
        out[1] = names[code - codes];
        return 2;
    }
    memcpy(out + 1, "u00", 3);
    out[4] = hex[c >> 4];
    out[5] = hex[c & 15];
    return 6;
}

size_t scan_encode(struct slice s, char *out)
{
    size_t n = 0;

    for (size_t i = 0; i < s.n;) {
        size_t run = scan_plain(s.p + i, s.n - i);
        memcpy(out + n, s.p + i, run);
        n += run;
        i += run;
        for (; i < s.n && (unsigned char)s.p[i] >= 0x80; i++)
            out[n++] = s.p[i];
        if (i < s.n && ((unsigned char)s.p[i] < 0x20 || s.p[i] == '"' || s.p[i] == '\\'))
            n += encode_byte(out + n, (unsigned char)s.p[i++]);
    }
    return n;
}
