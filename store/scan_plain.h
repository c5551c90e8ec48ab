/* SPDX-License-Identifier: MIT */
/* scan_plain: runs of bytes that need no second look, sixteen at a time where the processor can. Reads no byte at or
 * beyond end. */
#ifndef STORE_SCAN_PLAIN_H
#define STORE_SCAN_PLAIN_H

#include "util.h"

#if defined(__SSE2__)
#include <emmintrin.h>
#endif

static inline bool is_plain(unsigned char c)
{
    return c >= 0x20 && c < 0x80 && c != '"' && c != '\\';
}

#if defined(__SSE2__)
#define PLAIN_STEP 16
/* Index of the first of 16 bytes that is not plain; 16 if all are. As signed numbers, 0x80 and above are below 0x20 too;
 * and with 2 flipped, of all others only '"' is 0x20: one comparison finds them all. */
static inline unsigned plain_step(const char *p)
{
    __m128i v = _mm_loadu_si128((const __m128i *)(const void *)p);
    __m128i above = _mm_cmpgt_epi8(_mm_xor_si128(v, _mm_set1_epi8(2)), _mm_set1_epi8(0x20));
    __m128i fine = _mm_andnot_si128(_mm_cmpeq_epi8(v, _mm_set1_epi8('\\')), above);

    return (unsigned)__builtin_ctz(~(unsigned)_mm_movemask_epi8(fine));
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

#if defined(__SSE2__)
/* Index of the first of 16 bytes that is no digit; 16 if all are. */
static inline unsigned digits_step(const char *p)
{
    __m128i v = _mm_loadu_si128((const __m128i *)(const void *)p);
    __m128i d = _mm_sub_epi8(v, _mm_set1_epi8('0'));
    __m128i is_digit = _mm_cmpeq_epi8(_mm_min_epu8(d, _mm_set1_epi8(9)), d);

    return (unsigned)__builtin_ctz(~(unsigned)_mm_movemask_epi8(is_digit));
}
#endif

/* The first byte that is no digit, or end. */
static inline const char *digits_end(const char *p, const char *end)
{
#if defined(__SSE2__)
    while (LIKELY(end - p >= 16)) {
        unsigned i = digits_step(p);
        p += i;
        if (i < 16)
            return p;
    }
#endif
    while (p < end && *p >= '0' && *p <= '9')
        p++;
    return p;
}

/* Behind a number of digits alone, not too many, that ends before end; NULL: perhaps another number, perhaps none. */
static inline const char *integer_short(const char *p, const char *end)
{
#if defined(__SSE2__)
    if (LIKELY(end - p > 16)) {
        unsigned n = digits_step(p);
        char next = p[n];
        bool odd = n == 0 || n == 16 || (*p == '0' && n > 1) || next == '.' || (next | 0x20) == 'e';
        return odd ? NULL : p + n;
    }
#else
    (void)p, (void)end;
#endif
    return NULL;
}

#endif
