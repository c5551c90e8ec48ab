/* SPDX-License-Identifier: MIT */
/* share: how much each user has taken of what does not come back, so that none takes what the others need. */
#ifndef STORE_SHARE_H
#define STORE_SHARE_H

#include "error.h"
#include "util.h"

struct shares {
    struct share {
        uid_t uid;
        uint64_t taken;
    } * v; /* owned; a user who has taken nothing is not in it */
    size_t n, cap;
};

void shares_done(struct shares *s); /* zeroed is fine */
/* What uid has taken so far. */
uint64_t shares_of(const struct shares *s, uid_t uid);
/* Without memory what was taken is not counted. */
void shares_add(struct shares *s, uid_t uid, uint64_t n);

/* The rule: a user may take while no more is his, with it, than is then left for all the others: half by the
 * first, a quarter by the next, and nobody ever finds nothing. */
static inline bool shares_allow(uint64_t his, uint64_t left)
{
    return his <= left;
}

#endif
