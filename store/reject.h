/* SPDX-License-Identifier: MIT */
/* reject: rejected.jsonl: what was refused, by whom and why. Bounded (LIMIT_REJECTED_BYTES: the older half
 * is dropped), kept over remounts, never synced, no part of the truth: its own failures are swallowed. Own
 * lock. In memory with dirfd -1. */
#ifndef STORE_REJECT_H
#define STORE_REJECT_H

#include "error.h"
#include "util.h"

struct reject;
struct reject_entry {
    int64_t time_us;
    uid_t uid;
    pid_t pid;
    struct slice path;           /* of the file that was written */
    const struct evs_error *why; /* pos: the byte in that write */
    struct slice value; /* the first LIMIT_REJECTED_VALUE_BYTES are kept, as a JSON string */
    /* Of what broke a pinned schema; NULL: nothing of that. Borrowed, as is why. */
    const struct reject_schema {
        const char *instance_path, *schema_path, *keyword;
        bool warned; /* it is stored all the same, and not counted */
    } * schema;
};
/* A file that can't be opened or read is as if empty. NULL in *ret only without memory. */
int reject_open(int dirfd, bool read_only, struct reject **ret, struct evs_error *err);
void reject_close(struct reject *r);
void reject_add(struct reject *r, const struct reject_entry *e);
uint64_t reject_count(struct reject *r); /* since open */
/* The lines of uid, or all; malloc'ed. */
int reject_text(struct reject *r, bool all, uid_t uid, char **ret, size_t *ret_n,
                struct evs_error *err);

#endif
