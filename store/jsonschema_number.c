/* SPDX-License-Identifier: MIT */
/* Numbers are compared digit by digit, as written: 1, 1.0 and 10e-1 are one number, 1e400 is finite, and
 * 12345678901234567890 is not its neighbour. */
#include "jsonschema_number.h"

static inline bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

const char *js_number_small(const char *p, const char *end, int64_t *ret)
{
    const bool negative = *p == '-';
    const char *const from = p += negative;
    uint64_t v = 0;

    for (; p < end && is_digit(*p); p++) {
        if (UNLIKELY(p - from == 18))
            return NULL;
        v = v * 10 + (uint64_t)(*p - '0');
    }
    if (UNLIKELY(p < end && (*p == '.' || (*p | 0x20) == 'e')))
        return NULL;
    *ret = negative ? -(int64_t)v : (int64_t)v;
    return p;
}

/* The exponent behind its 'e'; moves *p behind it. */
static int64_t exponent(const char **p, const char *end)
{
    const bool negative = **p == '-';
    int64_t v = 0;

    *p += negative || **p == '+';
    for (; *p < end && is_digit(**p); (*p)++)
        v = v < JS_POINT_MAX / 10 ? v * 10 + (**p - '0') : JS_POINT_MAX;
    return negative ? -v : v;
}

const char *js_number_parse(const char *p, const char *end, struct js_number *ret)
{
    const char *first = NULL;
    size_t n = 0, zeros = 0; /* zeros: at the end of what was seen */
    int64_t point = 0;
    bool fraction = false;
    const bool negative = *p == '-';

    for (p += negative; p < end && (is_digit(*p) || *p == '.'); p++) {
        if (*p == '.') {
            fraction = true;
            continue;
        }
        if (!first && *p == '0') {
            point -= fraction;
            continue;
        }
        first = first ? first : p;
        point += !fraction;
        zeros = *p == '0' ? zeros + 1 : 0;
        n++;
    }
    if (p < end && (*p | 0x20) == 'e') {
        p++;
        point += exponent(&p, end);
        point = MAX(MIN(point, JS_POINT_MAX), -JS_POINT_MAX);
    }
    *ret = (struct js_number){
        .digits = first, .n = n - zeros, .point = first ? point : 0, .negative = negative && first};
    return p;
}

/* The next digit, *p at it or at the '.' before it. */
static inline int next_digit(const char **p)
{
    if (**p == '.')
        (*p)++;
    return *(*p)++ - '0';
}

static int compare_size(const struct js_number *a, const struct js_number *b)
{
    const char *p = a->digits, *q = b->digits;

    if (a->n == 0 || b->n == 0)
        return (a->n != 0) - (b->n != 0);
    if (a->point != b->point)
        return a->point < b->point ? -1 : 1;
    for (size_t i = 0; i < MIN(a->n, b->n); i++) {
        const int d = next_digit(&p) - next_digit(&q);
        if (d != 0)
            return d;
    }
    return (a->n > b->n) - (a->n < b->n);
}

int js_number_compare(const struct js_number *a, const struct js_number *b)
{
    if (a->negative != b->negative)
        return a->negative ? -1 : 1;
    const int c = compare_size(a, b);
    return a->negative ? -c : c;
}

bool js_number_is_integer(const struct js_number *a)
{
    return a->n == 0 || (a->point > 0 && (uint64_t)a->point >= a->n);
}

uint64_t js_number_hash(const struct js_number *a)
{
    uint64_t h = (uint64_t)a->point * 0x9e3779b97f4a7c15u + a->negative;
    const char *p = a->digits;

    for (size_t i = 0; i < a->n; i++)
        h = (h ^ (uint64_t)next_digit(&p)) * 0x100000001b3u;
    return h ^ (h >> 29);
}

bool js_number_mantissa(const struct js_number *a, uint64_t *ret)
{
    const char *p = a->digits;
    uint64_t v = 0;

    if (a->n > 18)
        return false;
    for (size_t i = 0; i < a->n; i++)
        v = v * 10 + (uint64_t)next_digit(&p);
    *ret = v;
    return true;
}

static uint64_t multiply_mod(uint64_t a, uint64_t b, uint64_t m)
{
    return (uint64_t)((unsigned __int128)a * b % m);
}

/* With a = A * 10^i and m = M * 10^j, both A and M integers without a trailing 0: for i < j, A would have
 * to be divisible by 10; else A * 10^(i-j) must be by M. */
bool js_number_is_multiple(const struct js_number *a, const struct js_number *m, uint64_t mantissa)
{
    const int64_t i = a->point - (int64_t)a->n, j = m->point - (int64_t)m->n;
    const char *p = a->digits;
    uint64_t left = 0;

    if (a->n == 0)
        return true;
    if (i < j)
        return false;
    for (size_t k = 0; k < a->n; k++)
        left = (uint64_t)(((unsigned __int128)left * 10 + (unsigned)next_digit(&p)) % mantissa);
    uint64_t power = 1 % mantissa, ten = 10 % mantissa;
    for (uint64_t e = (uint64_t)(i - j); e > 0; e >>= 1) {
        if (e & 1)
            power = multiply_mod(power, ten, mantissa);
        ten = multiply_mod(ten, ten, mantissa);
    }
    return multiply_mod(left, power, mantissa) == 0;
}

bool js_number_count(const struct js_number *a, uint64_t *ret)
{
    const char *p = a->digits;
    uint64_t v = 0;

    if (a->negative || !js_number_is_integer(a))
        return false;
    for (int64_t i = 0; i < a->point; i++) {
        const unsigned d = (uint64_t)i < a->n ? (unsigned)next_digit(&p) : 0;
        if (__builtin_mul_overflow(v, 10, &v) || __builtin_add_overflow(v, d, &v)) {
            v = UINT64_MAX;
            break;
        }
    }
    *ret = v;
    return true;
}
