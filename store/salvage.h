/* SPDX-License-Identifier: MIT */
/* salvage: copies lines of which nobody knows whether they are on disk into a new segment, where
 * they are. Private to resume.c. */
#ifndef STORE_SALVAGE_H
#define STORE_SALVAGE_H

#include "segment.h"

/* Copy the n_lines lines of s[0] behind its mark (synced) and of s[1] to s[n - 1] whole, each up to
 * its tail, into a segment that begins with the first of them, n_lines > 0. On 0 it is durable,
 * with recs, its files are open and its mark is its end; the old ones are as they were, but that a
 * file of the same name is replaced. */
int salvage_lines(struct segment *const *s, size_t n, uint64_t n_lines, struct segment **ret,
                  struct evs_error *err);

#endif
