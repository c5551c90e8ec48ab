/* SPDX-License-Identifier: MIT */
/* jsonschema_number: JSON numbers as what they say, of any size: no double is involved. */
#ifndef STORE_JSONSCHEMA_NUMBER_H
#define STORE_JSONSCHEMA_NUMBER_H

#include "util.h"

/* 0.d1d2...dn * 10^point, d1 and dn not 0. Zero has no digits. Borrows the text. */
struct js_number {
    const char *digits; /* at d1; a '.' may lie between them */
    size_t n;           /* how many digits */
    int64_t point;      /* beyond +-JS_POINT_MAX it is JS_POINT_MAX */
    bool negative;      /* never of zero */
};
#define JS_POINT_MAX (INT64_C(1) << 60)

/* Parse a number that scan_value() accepted, at p, ending before end. Returns where it ends. */
const char *js_number_parse(const char *p, const char *end, struct js_number *ret);
/* The whole number at p, if it is an integer written with at most 18 digits, no '.' and no exponent.
 * Returns where it ends, or NULL. */
const char *js_number_small(const char *p, const char *end, int64_t *ret);

/* Negative, 0, positive: as a is less than, equal to, greater than b. */
int js_number_compare(const struct js_number *a, const struct js_number *b);
bool js_number_is_integer(const struct js_number *a);
uint64_t js_number_hash(const struct js_number *a); /* equal numbers, equal hashes */

/* The digits of a as one number, d1d2...dn; false: more than 18. */
bool js_number_mantissa(const struct js_number *a, uint64_t *ret);
/* Is a a multiple of m, whose mantissa is given and not 0? */
bool js_number_is_multiple(const struct js_number *a, const struct js_number *m, uint64_t mantissa);
/* The value of an integer that is not negative, UINT64_MAX if it doesn't fit; false: it isn't one. */
bool js_number_count(const struct js_number *a, uint64_t *ret);

#endif
