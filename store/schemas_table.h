/* SPDX-License-Identifier: MIT */
/* schemas_table: an inferred schema for people to read. Pure. */
#ifndef STORE_SCHEMAS_TABLE_H
#define STORE_SCHEMAS_TABLE_H

#include "util.h"

/* A line for each field: its path, types, whether it is required, how many events have it, and a value. *ret is
 * malloc'ed, the caller's, terminated. -EBADMSG: not JSON; -ENOMEM. */
int schemas_table(struct slice schema, char **ret, size_t *ret_n);

/* A value that scan_value() accepted over several lines, indented, as it was written; long lines, and many, are cut.
 * *ret as above. -ENOMEM. */
int schemas_example(struct slice json, char **ret);

#endif
