/* SPDX-License-Identifier: MIT */
/* place: which mounts of evfs there are, and whether a mountpoint is fit to be mounted on. */
#ifndef FS_PLACE_H
#define FS_PLACE_H

#include "store/evstore.h"

#include <stdbool.h>
#include <stddef.h>

/* Check it, and end a mount of ours there whose daemon is dead. *ret_path is its absolute path, malloc'ed,
 * the caller's. 0, or 1 after a message on stderr. */
int place_check(const char *mountpoint, char **ret_path);

/* Where the store in dir is mounted, into at[cap] (NULL, 0: only whether); false if this process sees no such
 * mount. */
bool place_of_store(const char *dir, char *at, size_t cap);

/* umount(8) returns before the daemon has written its checkpoint: who opens the store at once waits for that.
 * True if err is IN_USE, the store is mounted nowhere, and not too long has been waited: then it has slept a
 * little, and *waited_ms (0 at first) has grown. */
bool place_ending(const char *dir, const struct evs_error *err, int *waited_ms);

#endif
