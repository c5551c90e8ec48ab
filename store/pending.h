/* SPDX-License-Identifier: MIT */
/* pending: how much memory the unfinished values of all writers hold, and an equal part of it for each
 * uid that has any, so that one user can't take what another needs. */
#ifndef STORE_PENDING_H
#define STORE_PENDING_H

#include "error.h"
#include "util.h"

#include <pthread.h>
#include <sys/types.h>

struct pending {
    pthread_mutex_t lock;
    struct pending_uid *uids; /* those that hold something */
    size_t n, cap;
    uint64_t total;
};
void pending_init(struct pending *p);
void pending_done(struct pending *p);
/* Take n more bytes for uid. PENDING_FULL: they would be more than its part. NO_MEMORY. */
int pending_take(struct pending *p, uid_t uid, size_t n, struct evs_error *err);
void pending_give(struct pending *p, uid_t uid, size_t n);
uint64_t pending_total(struct pending *p);

#endif
