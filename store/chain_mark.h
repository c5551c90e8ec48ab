/* SPDX-License-Identifier: MIT */
/* chain_mark: what a file of the chain says, and how bytes are hashed. Private to chain*.c. */
#ifndef STORE_CHAIN_MARK_H
#define STORE_CHAIN_MARK_H

#include "chain.h"

#include <nettle/sha2.h>

#define CHAIN_NAME_BYTES 64
/* Hashed in one go: takes half a millisecond, without the processor's instructions four. */
#define CHAIN_STEP_BYTES ((size_t)1 << 20)

struct chain_mark {
    evs_seq first, last;
    uint64_t bytes; /* of all lines up to last */
    struct sha256_ctx sum;
};

/* "log/FIRST.sha256" and suffix. */
void chain_name(evs_seq first, const char *suffix, char out[CHAIN_NAME_BYTES]);
/* -ENOENT; -EBADMSG: it does not check; or another failure. */
int chain_load(int dirfd, evs_seq first, struct chain_mark *ret);
int chain_save(int dirfd, const struct chain_mark *m); /* durable on return */

/* The hash of what is in sum, which can go on. */
void chain_digest(const struct sha256_ctx *sum, char out[CHAIN_HEX]);
/* n bytes of the segment from byte at on; on failure sum is as it was. */
int chain_hash(struct sha256_ctx *sum, const struct log_span *sp, uint64_t at, size_t n);
/* The same of bytes [from, to) of all lines joined; on failure sum may have some of them. */
int chain_hash_to(struct log *lg, struct sha256_ctx *sum, uint64_t from, uint64_t to);

#endif
