/* SPDX-License-Identifier: MIT */
/* infer_format: what a string looks like, and which names of members are data. Both say the same of the same
 * bytes at any time, so that a shape's hash and the model agree. */
#ifndef STORE_INFER_FORMAT_H
#define STORE_INFER_FORMAT_H

#include "util.h"

enum infer_format {
    FORMAT_NONE,
    FORMAT_DATE_TIME,
    FORMAT_DATE,
    FORMAT_UUID,
    FORMAT_URI,
    FORMAT_EMAIL,
    FORMAT_IPV4,
    FORMAT_IPV6,
    FORMAT_COUNT
};

/* As JSON Schema calls it; NULL for FORMAT_NONE. */
const char *infer_format_name(enum infer_format f);

/* The one format of these (decoded) bytes. Stricter than the standards, never looser: RFC 3339 with days that
 * the month has and no leap second, RFC 4122, RFC 3986 with "//" and a host, RFC 5321 with a dot in the
 * domain, dotted quads, RFC 4291 without a dotted end. */
enum infer_format infer_format(const char *p, size_t n);

/* The same of a string as it stands in JSON, with its quotes. */
enum infer_format infer_format_raw(struct slice raw);

/* The name (raw, with its quotes) of a member is data, not a field's name: an id, a number, a date, a path,
 * an address, longer than LIMIT_INFER_NAME_BYTES, or no text that a schema can hold (a lone surrogate, a
 * NUL). */
bool infer_name_is_data(struct slice raw);
/* The same of a name without escapes, and without its quotes. */
bool infer_plain_name_is_data(const char *p, size_t n);

/* Bytes that a raw name of a field may have, without its quotes: each decoded byte comes of at most 6. */
#define INFER_RAW_NAME_MAX (6u * 128u)

#endif
