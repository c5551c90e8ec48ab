/* SPDX-License-Identifier: MIT */
/* hold: who has a store open. One writer, or any number of readers. */
#ifndef STORE_HOLD_H
#define STORE_HOLD_H

#include "util.h"

struct hold {
    int file, dir; /* owned; -1: none */
};
#define HOLD_NONE ((struct hold){-1, -1})

/* Take it: shared, for a reader, who makes no lock file; else for a writer, whose process id is written into it. 0, or a
 * negative errno: -EWOULDBLOCK if somebody has it. *h is to be dropped in either case. */
int hold_take(int dirfd, bool shared, struct hold *h);
/* Who has it, as far as known, after -EWOULDBLOCK: "123" or "?". */
void hold_who(const struct hold *h, char *out, size_t n);
void hold_drop(struct hold *h); /* none is fine */

#endif
