/* SPDX-License-Identifier: MIT */
/* jsonschema_value: JSON values as the data model of JSON Schema has them: 1.0 is 1, strings are what their
 * escapes say, the order of members does not count. All values were accepted by scan_value(). */
#ifndef STORE_JSONSCHEMA_VALUE_H
#define STORE_JSONSCHEMA_VALUE_H

#include "util.h"

#if defined(__SSE2__)
#include <emmintrin.h>
#endif

/* What is special in a string. */
enum js_special { JS_ESCAPES = 1, JS_NON_ASCII = 2 };

#if defined(__SSE2__)
/* Cross 16 bytes at a time, while there are so many before end and neither a quote nor a backslash in them:
 * to the first such byte, or to the last 15. */
static inline const char *js_string_run(const char *p, const char *end, unsigned *special)
{
    for (; end - p >= 16; p += 16) {
        const __m128i v = _mm_loadu_si128((const __m128i *)(const void *)p);
        const __m128i stop = _mm_or_si128(_mm_cmpeq_epi8(v, _mm_set1_epi8('"')),
                                          _mm_cmpeq_epi8(v, _mm_set1_epi8('\\')));
        const unsigned at = (unsigned)_mm_movemask_epi8(stop),
                       high = (unsigned)_mm_movemask_epi8(v);
        /* at ^ (at - 1): what is before the first, and it; all, if there is none */
        *special |= high & (at ^ (at - 1)) ? JS_NON_ASCII : 0;
        if (at)
            return p + __builtin_ctz(at);
    }
    return p;
}
#else
static inline const char *js_string_run(const char *p, const char *end, unsigned *special)
{
    (void)end;
    for (; *p != '"' && *p != '\\'; p++)
        *special |= *p & 0x80 ? JS_NON_ASCII : 0;
    return p;
}
#endif

/* The end of a string (behind its closing quote) that begins at p. */
static inline const char *js_string_end(const char *p, const char *end, unsigned *ret_special)
{
    unsigned special = 0;

    for (p++;;) {
        p = js_string_run(p, end, &special);
        while (*p != '"' && *p != '\\')
            special |= *p++ & 0x80 ? JS_NON_ASCII : 0;
        if (LIKELY(*p == '"'))
            break;
        if (*p == '\\') {
            special |= JS_ESCAPES;
            p += 2;
        }
    }
    *ret_special = special;
    return p + 1;
}
/* Its length in characters (code points; a lone surrogate is one). */
uint64_t js_string_length(struct slice raw);
/* Memory for decoded text, which grows. */
struct js_scratch {
    char *p;
    size_t n;
};
/* What raw (with quotes) says; it lies in raw, or in the scratch until its next use. p NULL: no memory. */
struct slice js_string_decoded(struct slice raw, struct js_scratch *scratch);
static inline struct slice js_string_text(struct slice raw, unsigned special,
                                          struct js_scratch *scratch)
{
    if (UNLIKELY(special & JS_ESCAPES))
        return js_string_decoded(raw, scratch);
    return (struct slice){raw.p + 1, raw.n - 2};
}

uint64_t js_value_hash(struct slice v); /* equal values, equal hashes */
/* 1: equal. 0: not. -ENOMEM. */
int js_value_equal(struct slice a, struct slice b);

#endif
