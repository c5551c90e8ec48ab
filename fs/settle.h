/* SPDX-License-Identifier: MIT */
/* settle: has the kernel taken over who owns a node, since that last changed for any? Knows no FUSE. */
#ifndef FS_SETTLE_H
#define FS_SETTLE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#define SETTLE_SLOTS 16384u
#define SETTLE_MS    100u

struct settle {
    _Atomic uint64_t changes; /* of owners and modes; 0: none since the mount, and all is settled */
    _Atomic uint64_t slots[SETTLE_SLOTS]; /* a node's hash, and when it was first told: settle.c */
};

/* Some owner or mode has changed. Before the kernel's attributes are voided. */
void settle_change(struct settle *s);
/* May the attributes of node id, which are about to be told at now_ms (a clock that goes on), be leased? */
bool settle_may_lease(struct settle *s, uint64_t id, uint64_t now_ms);

#endif
