/* SPDX-License-Identifier: MIT */
/* edit: the bytes of a small document that an open file writes. They are its own until they are checked: two open
 * files never mix, the last one that is closed wins. Knows no FUSE. */
#ifndef FS_EDIT_H
#define FS_EDIT_H

#include "fs/quota.h"

#include <pthread.h>

struct edit {
    pthread_mutex_t lock; /* of all that follows */
    char *text;           /* owned; n of cap bytes */
    size_t n, cap, most;  /* most: constant */
    bool written;         /* since it was last checked */
    bool cut;             /* it was emptied, and nothing was written since */
    int result;           /* of the last check: 0 or a negative errno */
    struct quota *quota;  /* borrowed; cap is charged to uid, under quota_lock */
    pthread_mutex_t *quota_lock;
    uid_t uid;
};

/* Begins with text, malloc'ed, which it takes over (NULL: empty, which is a cut). -ENOMEM, -ENOBUFS where uid has
 * his part of the quota: text is freed. */
int edit_new(char *text, size_t n, size_t most, struct quota *quota, pthread_mutex_t *quota_lock,
             uid_t uid, struct edit **ret);
void edit_free(struct edit *e); /* NULL is fine */

/* pwrite(2), with append at the end. What lies between the end and pos becomes NUL. n, or less where most is
 * reached, or -EFBIG, -ENOBUFS, -ENOMEM. */
ssize_t edit_write(struct edit *e, const char *p, size_t n, uint64_t pos, bool append);
/* ftruncate(2). */
int edit_resize(struct edit *e, uint64_t n);
size_t edit_bytes(struct edit *e);

/* Check what was written since the last time: fn gets the text, and its result is that of this call, and of later
 * ones until something is written. last: nobody can write any more, so a text that was only emptied is checked as
 * well (until then it may be that the writer has not begun). */
typedef int edit_check_fn(void *arg, const char *text, size_t n);
int edit_check(struct edit *e, bool last, edit_check_fn *fn, void *arg);

#endif
