/* SPDX-License-Identifier: MIT */
/* CRC32C: P(x) = 0x1edc6f41, bits reflected, register and result inverted.
 * (1) Which function crc32c() is, and all tables, are settled by a constructor: before main(),
 *     and before dlopen() returns. So there is no first call to race for, and they are const
 *     afterwards.
 * (2) All three ways (bytes, tables, the instruction in three lanes) give the same number.
 *
 * The instruction takes 3 cycles but can begin every cycle: one chain of them leaves two thirds
 * of the unit idle. From LANES_MIN bytes on, three chains run over three neighbouring pieces of
 * 8 k bytes each, and are joined: the CRC of a piece followed by 8 k bytes of zeros is its
 * register times x^(64 k) mod P, one carry-less multiplication with a constant of shift[]: 15 ns
 * for 320 bytes instead of 29. */
#include "crc.h"

#include "util.h"

#include <assert.h>
#include <endian.h>

#define POLY 0x82f63b78u /* P, reflected */

typedef uint32_t crc_fn(uint32_t crc, const void *p, size_t n);

/* Const after settle(). table[k][b]: byte b followed by k zero bytes. */
static uint32_t table[8][256];
static crc_fn *crc_best;

static uint32_t one_byte(uint32_t crc, unsigned char b)
{
    return table[0][(crc ^ b) & 0xff] ^ crc >> 8;
}

/* Slicing by 8 (Kounavis and Berry): eight look-ups that do not wait for each other. */
uint32_t crc32c_table(uint32_t crc, const void *p, size_t n)
{
    const unsigned char *s = p;

    crc = ~crc;
    for (; n >= 8; s += 8, n -= 8) {
        uint64_t v = le64toh(load64(s)) ^ crc;
        crc = table[7][v & 0xff] ^ table[6][v >> 8 & 0xff] ^ table[5][v >> 16 & 0xff] ^
              table[4][v >> 24 & 0xff] ^ table[3][v >> 32 & 0xff] ^ table[2][v >> 40 & 0xff] ^
              table[1][v >> 48 & 0xff] ^ table[0][v >> 56];
    }
    while (n-- > 0)
        crc = one_byte(crc, *s++);
    return ~crc;
}

static void make_tables(void)
{
    for (uint32_t b = 0; b < 256; b++) {
        uint32_t v = b;
        for (int bit = 0; bit < 8; bit++)
            v = v >> 1 ^ (v & 1 ? POLY : 0);
        table[0][b] = v;
    }
    for (int k = 1; k < 8; k++) {
        for (int b = 0; b < 256; b++)
            table[k][b] = one_byte(table[k - 1][b], 0);
    }
}

static uint32_t words_table(uint64_t a, uint64_t b, uint64_t c, uint64_t d)
{
    const uint64_t words[] = {a, b, c, d};

    return crc32c_table(0, words, sizeof words);
}

typedef uint32_t words_fn(uint64_t a, uint64_t b, uint64_t c, uint64_t d);
static words_fn *words_best = words_table; /* const after settle() */

typedef uint32_t two_fn(const void *p, size_t n, const void *q, size_t m);
static uint32_t two_plain(const void *p, size_t n, const void *q, size_t m);
static two_fn *two_best = two_plain; /* const after settle() */

#if defined(__x86_64__)

#include <immintrin.h>

#define SSE42       __attribute__((target("sse4.2")))
#define SSE42_CLMUL __attribute__((target("sse4.2,pclmul")))
#define LANES_MIN   144 /* bytes; below, joining costs more than it saves */
#define LANE_WORDS  128 /* at most, a lane: 3 KiB a round stay in the first-level cache */
#define PIECE_MAX   512 /* bytes, of two: three lanes in each are faster above */

/* shift[k] = x^(8 k - 33) mod P, reflected, from 8 bytes on. Multiplying two reflected 32-bit polynomials
 * without carry gives their product times x, and the instruction on 64 bits multiplies by x^32:
 * x^33 in all. */
#define SHIFT_BYTES (16 * LANE_WORDS)
static uint32_t shift[SHIFT_BYTES + 1]; /* const after settle() */
static_assert(PIECE_MAX + PIECE_MAX / 2 <= SHIFT_BYTES, "how far a lane of two_lanes() is shifted");

SSE42 static uint32_t chain(uint32_t crc, const unsigned char *s, size_t n)
{
    uint64_t c = crc;

    for (; n >= 8; s += 8, n -= 8)
        c = _mm_crc32_u64(c, load64(s));
    crc = (uint32_t)c;
    if (n & 4) {
        crc = _mm_crc32_u32(crc, load32(s));
        s += 4;
    }
    for (n &= 3; n > 0; n--)
        crc = _mm_crc32_u8(crc, *s++);
    return crc;
}

/* The register times x^(8 bytes), in 64 bits that reduced() makes a register again; a sum of them as well. */
SSE42_CLMUL static inline __m128i product(uint64_t crc, size_t bytes)
{
    return _mm_clmulepi64_si128(_mm_cvtsi64_si128((int64_t)crc),
                                _mm_cvtsi32_si128((int32_t)shift[bytes]), 0);
}

SSE42_CLMUL static inline uint64_t reduced(__m128i product)
{
    return _mm_crc32_u64(0, (uint64_t)_mm_cvtsi128_si64(product));
}

SSE42_CLMUL static uint32_t crc_lanes(uint32_t crc, const void *p, size_t n)
{
    const unsigned char *s = p;
    uint64_t a = ~crc;

    while (n >= LANES_MIN) {
        size_t words = MIN(n / 24, (size_t)LANE_WORDS), lane = 8 * words;
        const unsigned char *end = s + lane;
        uint64_t b = 0, c = 0;

        for (; s < end; s += 8) {
            a = _mm_crc32_u64(a, load64(s));
            b = _mm_crc32_u64(b, load64(s + lane));
            c = _mm_crc32_u64(c, load64(s + 2 * lane));
        }
        a = reduced(_mm_xor_si128(product(a, 2 * lane), product(b, lane))) ^ c;
        s += 2 * lane;
        n -= 3 * lane;
    }
    return ~chain((uint32_t)a, s, n);
}

/* What becomes of a register over n < 8 bytes; 8 at s may be read. The bytes of it that meet those of s go with them
 * behind zeros, which leave a register of 0 as it is; the others come down. */
SSE42 static inline uint64_t head(uint64_t crc, const unsigned char *s, size_t n)
{
    return _mm_crc32_u64(0, (load64(s) ^ crc) << (63 - 8 * n) << 1) ^ crc >> 8 * n;
}

/* Four lanes at once, the halves of p and of q; what is left over words, and over pairs of those, begins a first
 * half. Their registers are joined by reducing the sum of their products. */
SSE42_CLMUL static uint32_t two_lanes(const void *p, size_t n, const void *q, size_t m)
{
    if (n < 16 || m < 16 || n > PIECE_MAX || m > PIECE_MAX)
        return two_plain(p, n, q, m);
    const unsigned char *s = p, *t = q;
    uint64_t a = head(UINT32_MAX, s, n % 8), b = 0, c = head(0, t, m % 8), d = 0;
    s += n % 8;
    t += m % 8;
    if (n & 8) {
        a = _mm_crc32_u64(a, load64(s));
        s += 8;
    }
    if (m & 8) {
        c = _mm_crc32_u64(c, load64(t));
        t += 8;
    }
    const size_t lane = n / 16 * 8, lane2 = m / 16 * 8;
    const unsigned char *const s_end = s + lane, *const t_end = t + lane2;
    const unsigned char *const both = s + MIN(lane, lane2);
    for (; s < both; s += 8, t += 8) {
        a = _mm_crc32_u64(a, load64(s));
        b = _mm_crc32_u64(b, load64(s + lane));
        c = _mm_crc32_u64(c, load64(t));
        d = _mm_crc32_u64(d, load64(t + lane2));
    }
    for (; s < s_end; s += 8) {
        a = _mm_crc32_u64(a, load64(s));
        b = _mm_crc32_u64(b, load64(s + lane));
    }
    for (; t < t_end; t += 8) {
        c = _mm_crc32_u64(c, load64(t));
        d = _mm_crc32_u64(d, load64(t + lane2));
    }
    __m128i sum =
        _mm_xor_si128(_mm_xor_si128(product(a, lane + m), product(b, m)), product(c, lane2));
    return ~(uint32_t)(reduced(sum) ^ d);
}

SSE42 static uint32_t crc_words(uint64_t a, uint64_t b, uint64_t c, uint64_t d)
{
    uint64_t crc = _mm_crc32_u64(_mm_crc32_u64(UINT32_MAX, a), b);

    return ~(uint32_t)_mm_crc32_u64(_mm_crc32_u64(crc, c), d);
}

SSE42 static uint32_t crc_chain(uint32_t crc, const void *p, size_t n)
{
    return ~chain(~crc, p, n);
}

/* x^31 is bit 0; a zero byte multiplies the register by x^8. */
SSE42 static void make_shifts(void)
{
    shift[8] = 1;
    for (size_t k = 9; k < ARRAY_LEN(shift); k++)
        shift[k] = _mm_crc32_u8(shift[k - 1], 0);
}

static crc_fn *best(void)
{
    __builtin_cpu_init(); /* we may run before libgcc's own constructor */
    if (!__builtin_cpu_supports("sse4.2"))
        return crc32c_table;
    make_shifts();
    words_best = crc_words;
    if (!__builtin_cpu_supports("pclmul"))
        return crc_chain;
    two_best = two_lanes;
    return crc_lanes;
}

#else

static crc_fn *best(void)
{
    return crc32c_table;
}

#endif

__attribute__((constructor)) static void settle(void)
{
    make_tables();
    crc_best = best();
}

uint32_t crc32c(uint32_t crc, const void *p, size_t n)
{
    return crc_best(crc, p, n);
}

static uint32_t two_plain(const void *p, size_t n, const void *q, size_t m)
{
    return crc_best(crc_best(0, p, n), q, m);
}

uint32_t crc32c_two(const void *p, size_t n, const void *q, size_t m)
{
    return two_best(p, n, q, m);
}

uint32_t crc32c_words(uint64_t a, uint64_t b, uint64_t c, uint64_t d)
{
    return words_best(a, b, c, d);
}
