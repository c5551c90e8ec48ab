/* SPDX-License-Identifier: MIT */
/* error: how functions of the store fail. Formats nothing and allocates nothing on the hot path. */
#ifndef STORE_ERROR_H
#define STORE_ERROR_H

#include "evstore.h"

#define EVS_NOWHERE UINT64_MAX

/* Fill err (may be NULL) with why and the byte; detail becomes "". Returns the reason's -errno. */
int evs_fail(struct evs_error *err, enum evs_reason why, uint64_t pos);

/* The same with a detail. Not for the hot path. */
int evs_fail_at(struct evs_error *err, enum evs_reason why, uint64_t pos, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));

/* A system call returned negative errno r; what says which, on what. ENOSPC and EDQUOT become DISK_FULL,
 * ENOMEM NO_MEMORY. Returns r. */
int evs_fail_errno(struct evs_error *err, int r, const char *what);

/* Fail as why says, which was filled already. Returns its -errno. */
int evs_fail_as(struct evs_error *err, const struct evs_error *why);

#endif
