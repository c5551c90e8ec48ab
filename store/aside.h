/* SPDX-License-Identifier: MIT */
/* aside: what an open cuts off the log's end, kept where it holds whole lines. Private to resume.c. */
#ifndef STORE_ASIDE_H
#define STORE_ASIDE_H

#include "segment.h"

/* The log ends in s[0], behind its tail; bad is its first byte that is no line of it. If there is a whole line
 * anywhere behind that, in s[0] or in the n - 1 segments after it, all from the tail on is copied to a file
 * log/SEQ.cut, synced; SEQ, also in *ret_seq, is the first event that is missing. Else 0 there. */
int aside_keep(struct segment *const *s, size_t n, uint64_t bad, evs_seq *ret_seq,
               struct evs_error *err);

#endif
