/* SPDX-License-Identifier: MIT */
/* hold: (1) DATA/lock is locked, and DATA itself: somebody who takes a lock file for an old one and removes it would let
 * a second daemon in, and each would write over what the other has acknowledged. (2) Where a filesystem locks no
 * directories, the file has to do. */
#include "hold.h"

#include "io.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

static int lock_dir(int dirfd, bool shared, int *ret)
{
    *ret = io_open(dirfd, ".", O_RDONLY | O_DIRECTORY, 0);
    int r = *ret < 0 ? *ret : io_lock(*ret, shared);

    return r == -EBADF || r == -EINVAL || r == -ENOLCK || r == -EOPNOTSUPP || r == -ENOSYS ? 0 : r;
}

int hold_take(int dirfd, bool shared, struct hold *h)
{
    char who[24];
    int r;

    *h = HOLD_NONE;
    h->file = io_open(dirfd, "lock", shared ? O_RDONLY : O_RDWR | O_CREAT, 0600);
    if (h->file < 0 && !(shared && h->file == -ENOENT)) /* a copy may have none */
        return h->file;
    if (h->file >= 0 && (r = io_lock(h->file, shared)) < 0)
        return r;
    if ((r = lock_dir(dirfd, shared, &h->dir)) < 0 || shared)
        return r;
    int n = snprintf(who, sizeof who, "%ld\n", (long)getpid());
    if ((r = io_truncate(h->file, 0)) == 0)
        r = io_write_all(h->file, who, (size_t)n, 0);
    return r;
}

void hold_who(const struct hold *h, char *out, size_t n)
{
    ssize_t k = h->file < 0 ? 0 : io_read_all(h->file, out, n - 1, 0);

    while (k > 0 && (unsigned)(out[k - 1] - '0') > 9)
        k--;
    (void)snprintf(out + MAX(k, 0), n - (size_t)MAX(k, 0), k > 0 ? "" : "?");
}

void hold_drop(struct hold *h)
{
    if (h->dir >= 0)
        (void)io_close(h->dir);
    if (h->file >= 0)
        (void)io_close(h->file); /* drops the lock, as the other does */
    *h = HOLD_NONE;
}
