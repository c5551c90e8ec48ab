/* SPDX-License-Identifier: MIT */
/* quota: what users hold of something that they give back. Each who holds any may hold an equal part of the
 * whole; who has more from before keeps it, and a newcomer gets his part all the same. Knows no FUSE. */
#ifndef FS_QUOTA_H
#define FS_QUOTA_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define QUOTA_FILES     262144u        /* open files of all users together */
#define QUOTA_DOC_BYTES (256ull << 20) /* of documents (state.json, …) that are open */

struct quota {
    uint64_t whole;
    struct quota_user {
        uid_t uid;
        uint64_t held;
    } * v; /* owned; who holds nothing is not in it */
    size_t n, cap;
};

void quota_done(struct quota *q); /* zeroed is fine */
/* Under the caller's lock. take: false where it would be more than the user's part, unless it is all he holds, or
 * without memory. */
bool quota_take(struct quota *q, uid_t uid, uint64_t n);
void quota_give(struct quota *q, uid_t uid, uint64_t n);

#endif
