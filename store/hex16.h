/* SPDX-License-Identifier: MIT */
/* hex16: sixteen hexadecimal digits at once, and eight. */
#ifndef STORE_HEX16_H
#define STORE_HEX16_H

#include "util.h"

#include <endian.h>

#if defined(__SSE2__)
#include <emmintrin.h>
#endif

/* Sixteen lower-case digits; false: they are others. */
#if defined(__SSE2__) && defined(__x86_64__)
static inline bool read_hex16(const char *p, uint64_t *ret)
{
    const __m128i v = _mm_loadu_si128((const __m128i *)(const void *)p);
    const __m128i d = _mm_sub_epi8(v, _mm_set1_epi8('0')), l = _mm_sub_epi8(v, _mm_set1_epi8('a'));
    const __m128i digit = _mm_cmpeq_epi8(_mm_min_epu8(d, _mm_set1_epi8(9)), d);
    const __m128i letter = _mm_cmpeq_epi8(_mm_min_epu8(l, _mm_set1_epi8(5)), l);
    const __m128i n = _mm_or_si128(_mm_and_si128(digit, d),
                                   _mm_and_si128(letter, _mm_add_epi8(l, _mm_set1_epi8(10))));
    const __m128i two = _mm_and_si128(_mm_or_si128(_mm_slli_epi16(n, 4), _mm_srli_epi16(n, 8)),
                                      _mm_set1_epi16(0xff)); /* the first is the higher one */

    *ret = __builtin_bswap64((uint64_t)_mm_cvtsi128_si64(_mm_packus_epi16(two, two)));
    return _mm_movemask_epi8(_mm_or_si128(digit, letter)) == 0xffff;
}
#else
static inline bool read_hex16(const char *p, uint64_t *ret)
{
    *ret = 0;
    for (int i = 0; i < 16; i++) {
        const char c = p[i];
        const bool digit = c >= '0' && c <= '9';
        if (!digit && !(c >= 'a' && c <= 'f'))
            return false;
        *ret = *ret << 4 | (uint64_t)(digit ? c - '0' : c - 'a' + 10);
    }
    return true;
}
#endif

/* Eight lower-case digits at once: each nibble into its own byte, then those above 9 get 'a' -
 * '9' - 1. */
static inline char *put_hex8(char *o, uint32_t value)
{
    const uint64_t ones = 0x0101010101010101u;
    uint64_t v = value;

    v = (v << 16 | v) & 0x0000ffff0000ffffu;
    v = (v << 8 | v) & 0x00ff00ff00ff00ffu;
    v = (v << 4 | v) & 0x0f0f0f0f0f0f0f0fu;
    v += ones * '0' + ((v + ones * 6) >> 4 & ones) * ('a' - '9' - 1);
    v = htobe64(v);
    memcpy(o, &v, 8);
    return o + 8;
}

#endif
