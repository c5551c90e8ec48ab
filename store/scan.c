/* SPDX-License-Identifier: MIT */
/* One pass, no recursion, no memory: JSON is validated and its end found at once.
 *
 * (1) No byte at or beyond s + n is read: input may be a mapping that ends there. The 16-byte
 *     steps stop 16 bytes before the end, the rest goes byte by byte.
 * (2) A walk that meets the end is unfinished, never wrong: what comes next could complete it.
 *     So each test of a byte is preceded by a test for the end.
 * (3) frame[d] describes the container at depth d for 1 <= d <= depth; what lies above is garbage.
 * (4) Functions of a walk return where to go on, or NULL with why and at set (why EVS_OK_:
 *     unfinished).
 *
 * What costs here is not bytes but mispredicted branches, some 10 ns for a key with its value; so
 * white space is tested for once and skipped out of line, and strings are crossed 16 bytes at a
 * time. */
#include "scan.h"

#include "limits.h"

#include <assert.h>

#if defined(__SSE2__)
#include <emmintrin.h>
#endif

enum { FRAME_OBJECT = 1, FRAME_BROKEN = 2 };

struct walk {
    const char *end;
    const char *at;      /* of the failure */
    enum evs_reason why; /* EVS_OK_: none, or unfinished */
    unsigned depth;
    bool any_lines;
    bool breaks;      /* a CR or LF was met between tokens */
    bool ends;        /* the input ends at end: a number may end there */
    bool transaction; /* the outermost array may break after its commas */
    uint8_t frame[LIMIT_DEPTH + 1];
};

static const char *fail(struct walk *w, enum evs_reason why, const char *at)
{
    w->why = why;
    w->at = at;
    return NULL;
}

static const char *unfinished(struct walk *w)
{
    return fail(w, EVS_OK_, w->end);
}

/* ---- strings --------------------------------------------------------------------------------- */

static inline bool is_plain(unsigned char c)
{
    return c >= 0x20 && c < 0x80 && c != '"' && c != '\\';
}

#if defined(__SSE2__)
#define PLAIN_STEP 16
/* Index of the first of 16 bytes that is not plain; 16 if all are. As signed numbers, 0x80 and
 * above are below 0x20 too: one comparison finds both. */
static inline unsigned plain_step(const char *p)
{
    __m128i v = _mm_loadu_si128((const __m128i *)(const void *)p);
    __m128i odd = _mm_cmplt_epi8(v, _mm_set1_epi8(0x20));

    odd = _mm_or_si128(odd, _mm_cmpeq_epi8(v, _mm_set1_epi8('"')));
    odd = _mm_or_si128(odd, _mm_cmpeq_epi8(v, _mm_set1_epi8('\\')));
    return (unsigned)__builtin_ctz((unsigned)_mm_movemask_epi8(odd) | 0x10000u);
}
#else
#define PLAIN_STEP 8
/* The same for 8 bytes in a word. A byte's high bit in odd may be a false alarm only behind a
 * true one (a borrow), so the first byte that is really odd is found by looking at them. */
static inline unsigned plain_step(const char *p)
{
    const uint64_t ones = 0x0101010101010101u, highs = ones * 0x80;
    uint64_t v = load64(p), q = v ^ (ones * '"'), b = v ^ (ones * '\\');
    uint64_t odd = (v | (v - ones * 0x20) | (q - ones) | (b - ones)) & highs;
    unsigned i = 0;

    if (LIKELY(odd == 0))
        return 8;
    while (i < 8 && is_plain((unsigned char)p[i]))
        i++;
    return i;
}
#endif

/* The first byte that is not plain, or end. */
static inline const char *plain(const char *p, const char *end)
{
    while (LIKELY(end - p >= PLAIN_STEP)) {
        unsigned i = plain_step(p);
        p += i;
        if (i < PLAIN_STEP)
            return p;
    }
    while (p < end && is_plain((unsigned char)*p))
        p++;
    return p;
}

/* What may follow a lead byte: how many bytes, and the range of the first of them. This is the
 * table of well-formed sequences in the Unicode standard: no overlong forms, no surrogates,
 * nothing above U+10FFFF. 0: not a lead byte. */
static inline unsigned utf8_lead(unsigned char c, unsigned char *ret_low, unsigned char *ret_high)
{
    *ret_low = c == 0xe0 ? 0xa0 : c == 0xf0 ? 0x90 : 0x80;
    *ret_high = c == 0xed ? 0x9f : c == 0xf4 ? 0x8f : 0xbf;
    return c < 0xc2 ? 0 : c < 0xe0 ? 1 : c < 0xf0 ? 2 : c < 0xf5 ? 3 : 0;
}

/* A run of bytes of 0x80 and above, at p. */
static const char *utf8_run(struct walk *w, const char *p)
{
    while (p < w->end && (unsigned char)*p >= 0x80) {
        unsigned char low, high;
        unsigned more = utf8_lead((unsigned char)*p, &low, &high);
        if (more == 0)
            return fail(w, EVS_BAD_UTF8, p);
        for (p++; more > 0; more--, p++) {
            if (p == w->end)
                return unfinished(w);
            if ((unsigned char)*p < low || (unsigned char)*p > high)
                return fail(w, EVS_BAD_UTF8, p);
            low = 0x80;
            high = 0xbf;
        }
    }
    return p;
}

/* 0-15, or -1. */
static inline int hex_digit(char c)
{
    return c >= '0' && c <= '9'   ? c - '0'
           : c >= 'a' && c <= 'f' ? c - 'a' + 10
           : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                  : -1;
}

/* An escape, p at its backslash. Surrogates are not paired here: data is kept as written. */
static const char *escape(struct walk *w, const char *p)
{
    if (++p == w->end)
        return unfinished(w);
    switch (*p) {
    case '"':
    case '\\':
    case '/':
    case 'b':
    case 'f':
    case 'n':
    case 'r':
    case 't':
        return p + 1;
    case 'u':
        for (int i = 0; i < 4; i++) {
            if (++p == w->end)
                return unfinished(w);
            if (hex_digit(*p) < 0)
                return fail(w, EVS_BAD_JSON, p);
        }
        return p + 1;
    default:
        return fail(w, EVS_BAD_JSON, p);
    }
}

/* What is not plain in a string, at p. */
static const char *not_plain(struct walk *w, const char *p)
{
    if (*p == '\\')
        return escape(w, p);
    if ((unsigned char)*p >= 0x80)
        return utf8_run(w, p);
    return fail(w, *p == '\n' && !w->any_lines ? EVS_LINE_BREAK : EVS_BAD_JSON, p);
}

/* The rest of a string, p behind its opening quote. */
static inline const char *string(struct walk *w, const char *p)
{
    for (;;) {
        p = plain(p, w->end);
        if (UNLIKELY(p == w->end))
            return unfinished(w);
        if (LIKELY(*p == '"'))
            return p + 1;
        p = not_plain(w, p);
        if (!p)
            return NULL;
    }
}

/* ---- numbers and literals -------------------------------------------------------------------- */

static inline bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

/* One digit or more. */
static inline const char *digits(struct walk *w, const char *p)
{
    if (UNLIKELY(p == w->end))
        return unfinished(w);
    if (UNLIKELY(!is_digit(*p)))
        return fail(w, EVS_BAD_JSON, p);
    do
        p++;
    while (p < w->end && is_digit(*p));
    return p;
}

/* p is where a number or literal may end; at the end of the input only if nothing can follow. */
static inline const char *may_end(struct walk *w, const char *p)
{
    return LIKELY(p < w->end) || w->ends ? p : unfinished(w);
}

static const char *number(struct walk *w, const char *p)
{
    if (*p == '-')
        p++;
    if (p < w->end && *p == '0')
        p++; /* a digit behind it belongs to nothing: the caller finds it */
    else if (!(p = digits(w, p)))
        return NULL;
    if (p < w->end && *p == '.' && !(p = digits(w, p + 1)))
        return NULL;
    if (p < w->end && (*p == 'e' || *p == 'E')) {
        p++;
        if (p < w->end && (*p == '+' || *p == '-'))
            p++;
        if (!(p = digits(w, p)))
            return NULL;
    }
    return may_end(w, p);
}

static const char *literal(struct walk *w, const char *p, const char *word)
{
    for (; *word; word++, p++) {
        if (p == w->end)
            return unfinished(w);
        if (*p != *word)
            return fail(w, EVS_BAD_JSON, p);
    }
    return may_end(w, p);
}

static inline const char *scalar(struct walk *w, const char *p)
{
    switch (*p) {
    case '"':
        return string(w, p + 1);
    case 't':
        return literal(w, p, "true");
    case 'f':
        return literal(w, p, "false");
    case 'n':
        return literal(w, p, "null");
    default:
        return *p == '-' || is_digit(*p) ? number(w, p) : fail(w, EVS_BAD_JSON, p);
    }
}

/* ---- white space and structure --------------------------------------------------------------- */

/* White space at p, within the container at depth. Out of line: most input has none. */
static __attribute__((noinline)) const char *blanks(struct walk *w, const char *p, bool may_break)
{
    may_break = may_break || w->any_lines || (w->frame[w->depth] & FRAME_BROKEN);
    for (; p < w->end; p++) {
        if (*p == ' ' || *p == '\t')
            continue;
        if (*p != '\n' && *p != '\r')
            return p;
        if (!may_break)
            return fail(w, EVS_LINE_BREAK, p);
        w->breaks = true;
    }
    return unfinished(w);
}

/* To the next token. */
static inline const char *next(struct walk *w, const char *p, bool may_break)
{
    return LIKELY(p < w->end && (unsigned char)*p > ' ') ? p : blanks(w, p, may_break);
}

/* White space behind an opening bracket: here a LF allows those that follow. A CR is right only
 * if a LF comes, which is known at the next token. */
static __attribute__((noinline)) const char *opening(struct walk *w, const char *p)
{
    bool cr = false;

    for (; p < w->end; p++) {
        if (*p == '\n') {
            w->frame[w->depth] |= FRAME_BROKEN;
            return blanks(w, p, true);
        }
        if (*p == '\r')
            cr = true;
        else if (*p != ' ' && *p != '\t')
            break;
    }
    if (p == w->end)
        return unfinished(w);
    if (cr && !w->any_lines)
        return fail(w, EVS_LINE_BREAK, p);
    w->breaks |= cr;
    return p;
}

/* Enter the container at p; to its first token. */
static inline const char *enter(struct walk *w, const char *p)
{
    if (UNLIKELY(w->depth == LIMIT_DEPTH))
        return fail(w, EVS_TOO_DEEP, p);
    w->frame[++w->depth] = *p++ == '{' ? FRAME_OBJECT : 0;
    return LIKELY(p < w->end && (unsigned char)*p > ' ') ? p : opening(w, p);
}

/* A key and its colon; to the value. */
static inline const char *key(struct walk *w, const char *p)
{
    if (UNLIKELY(*p != '"'))
        return fail(w, EVS_BAD_JSON, p);
    if (!(p = string(w, p + 1)) || !(p = next(w, p, false)))
        return NULL;
    return LIKELY(*p == ':') ? next(w, p + 1, false) : fail(w, EVS_BAD_JSON, p);
}

static const char *value(struct walk *w, const char *p)
{
    const unsigned base = w->depth;
    bool ended;

    for (;;) { /* p is at a value */
        bool object = *p == '{';
        ended = !object && *p != '[';
        if (ended) {
            p = scalar(w, p);
        } else {
            p = enter(w, p);
            if (p && *p == (object ? '}' : ']')) {
                ended = true;
                w->depth--;
                p++;
            } else if (p && object) {
                p = key(w, p);
            }
        }
        if (UNLIKELY(!p))
            return NULL;
        while (ended) { /* p is behind one */
            if (w->depth == base)
                return p;
            if (!(p = next(w, p, false)))
                return NULL;
            object = w->frame[w->depth] & FRAME_OBJECT;
            if (*p == ',') {
                ended = false;
                p = next(w, p + 1, w->transaction && w->depth == 1 && !object);
                if (p && object)
                    p = key(w, p);
                if (UNLIKELY(!p))
                    return NULL;
            } else if (LIKELY(*p == (object ? '}' : ']'))) {
                w->depth--;
                p++;
            } else {
                return fail(w, EVS_BAD_JSON, p);
            }
        }
    }
}

/* ---- public: validating ---------------------------------------------------------------------- */

static inline void walk_init(struct walk *w, const char *end, unsigned flags)
{
    w->end = w->at = end;
    w->why = EVS_OK_;
    w->depth = flags >> 8;
    w->any_lines = flags & SCAN_ANY_LINES;
    w->transaction = flags & SCAN_TRANSACTION;
    w->breaks = w->ends = false;
    w->frame[w->depth] = 0;
}

static inline ssize_t walk_result(const struct walk *w, const char *s, const char *p,
                                  struct evs_error *err)
{
    if (LIKELY(p != NULL))
        return p - s;
    return w->why == EVS_OK_ ? 0 : evs_fail(err, w->why, (uint64_t)(w->at - s));
}

ssize_t scan_value(const char *s, size_t n, unsigned flags, bool *ret_breaks, struct evs_error *err)
{
    struct walk w;

    if (n == 0)
        return 0;
    assert(flags >> 8 <= LIMIT_DEPTH);
    walk_init(&w, s + n, flags);
    const char *p = value(&w, s);
    if (p && ret_breaks)
        *ret_breaks = w.breaks;
    return walk_result(&w, s, p, err);
}

ssize_t scan_string(const char *s, size_t n, unsigned flags, bool *ret_escapes,
                    struct evs_error *err)
{
    const char *end = s + n, *p;
    struct walk w;

    assert(n > 0 && s[0] == '"');
    p = plain(s + 1, end);
    if (LIKELY(p < end && *p == '"')) {
        *ret_escapes = false;
        return p + 1 - s;
    }
    walk_init(&w, end, flags & SCAN_ANY_LINES);
    p = string(&w, s + 1);
    if (p)
        *ret_escapes = memchr(s, '\\', (size_t)(p - s)) != NULL;
    return walk_result(&w, s, p, err);
}

int scan_whole(const char *s, size_t n, struct evs_error *err)
{
    struct walk w;
    const char *p;

    walk_init(&w, s + n, SCAN_ANY_LINES);
    w.ends = true;
    p = next(&w, s, true);
    if (p)
        p = value(&w, p);
    while (p && p < w.end && scan_is_space(*p))
        p++;
    if (p && p < w.end)
        p = fail(&w, EVS_BAD_JSON, p);
    if (p)
        return 0;
    return evs_fail(err, w.why == EVS_OK_ ? EVS_UNFINISHED : w.why, (uint64_t)(w.at - s));
}

size_t scan_plain(const char *s, size_t n)
{
    return (size_t)(plain(s, s + n) - s);
}

bool scan_is_utf8(const char *s, size_t n)
{
    struct walk w;
    const char *p = s;

    walk_init(&w, s + n, 0);
    while (p && p < w.end)
        p = (unsigned char)*p < 0x80 ? p + 1 : utf8_run(&w, p);
    return p != NULL;
}
