/* SPDX-License-Identifier: MIT */
/* state: folds JSON values into one by RFC 7386 (merge patch). Keeps scalars and arrays as they were
 * written (number spelling too); keys are compared decoded. Memory: O(size of the result + the patches
 * fed so far, compacted), bounded by the caller. */
#ifndef STORE_STATE_H
#define STORE_STATE_H

#include "error.h"
#include "util.h"

struct state;
int state_new(struct state **ret, struct evs_error *err);
void state_free(struct state *s); /* NULL is fine */
/* Merge one value, which scan_value() has accepted. A copy of what is kept is made. */
int state_merge(struct state *s, struct slice json, struct evs_error *err);
/* The result, compact, with a LF, malloc'ed, the caller's. "null\n" if nothing was merged. */
int state_text(const struct state *s, char **ret, size_t *ret_n, struct evs_error *err);

#endif
