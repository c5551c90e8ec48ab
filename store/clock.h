/* SPDX-License-Identifier: MIT */
/* clock: times as text (RFC 3339) and as microseconds since 1970 UTC. */
#ifndef STORE_CLOCK_H
#define STORE_CLOCK_H

#include "util.h"

#define CLOCK_TEXT_BYTES 27 /* 2026-11-24T17:09:18.123456Z */

int64_t clock_now_us(void); /* CLOCK_REALTIME */

/* Format exactly CLOCK_TEXT_BYTES bytes, not terminated. us: years 0000-9999. Fast for neighbours: the
 * caller keeps a struct clock_text, which remembers the last second. */
struct clock_text {
    int64_t second; /* INT64_MIN: none yet */
    char text[20];
};
void clock_format(struct clock_text *c, int64_t us, char out[CLOCK_TEXT_BYTES]);

/* Parse RFC 3339 ("T", "t" or a blank between date and time; "Z", "z" or an offset; any number of digits of
 * a fraction; leap second 60 only where it may be). 0 or -EINVAL. Fractions beyond microseconds are cut. */
int clock_parse(struct slice s, int64_t *ret_us);
/* The same. 1: s is what clock_format() writes, and then fast where c has its second (all 0: it has none); c has
 * it from now on. */
int clock_parse_near(struct clock_text *c, struct slice s, int64_t *ret_us);
/* Whether that would be 0. */
int clock_check(struct slice s);

#endif
