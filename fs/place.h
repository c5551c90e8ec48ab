/* SPDX-License-Identifier: MIT */
/* place: is the mountpoint fit to be mounted on? */
#ifndef FS_PLACE_H
#define FS_PLACE_H

/* Check it, and end a mount of ours there whose daemon is dead. *ret_path is its absolute path, malloc'ed,
 * the caller's. 0, or 1 after a message on stderr. */
int place_check(const char *mountpoint, char **ret_path);

#endif
