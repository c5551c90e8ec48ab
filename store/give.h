/* SPDX-License-Identifier: MIT */
/* give: what root makes in a store of somebody else is to be his as well, or he could not mount it. */
#ifndef STORE_GIVE_H
#define STORE_GIVE_H

#include "util.h"

#include <sys/types.h>

struct give {
    uid_t from; /* whose files are given as well; else root's only */
    uid_t uid;
    gid_t gid;
    int shared; /* a directory: a file with a second name is given only if that is here. -1: none is given */
};

/* The files in the directory, and then the directory. Nothing if we are not root, or they are for root. 0, or a negative
 * errno. */
int give_files(int dirfd, const struct give *g);

#endif
