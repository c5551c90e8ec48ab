/* SPDX-License-Identifier: MIT */
/* backup_file: the files of a backup: whole segments and plain copies. */
#ifndef STORE_BACKUP_FILE_H
#define STORE_BACKUP_FILE_H

#include "log.h"

/* Copy a file byte for byte and read it back; synced, mode 0600. -ENOENT where there is none. 0 or a negative
 * errno. */
int backup_copy(int from_dirfd, const char *name, int to_dirfd, const char *to);

/* Put the sealed segment sp of src, which is opened read-only, into the directory to (a "log" as well): its file
 * shared where the filesystem can, else copied and read back, and an idx. from is src's directory. Its lines are
 * checked before. All of it is synced: it is there, or nothing that counts. */
int backup_segment(const struct log *src, int from, int to, const struct log_span *sp,
                   bool *ret_shared, struct evs_error *err);

#endif
