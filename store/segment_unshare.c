/* SPDX-License-Identifier: MIT */
/* segment_unshare: who writes to a file of lines is the only one who has it.
 *
 * A sealed segment never changes, so a backup may share it by a hard link. What says that it is sealed is its
 * idx, and that may be lost: then the next open takes the segment for one that can be cut and appended to, in
 * every store that has the file. So a file with a second name is never opened for writing: a copy takes its
 * name first. FIRST.tmp is removed by the next open if we die before the rename. */
#include "segment.h"

#include "io.h"

#include <errno.h>
#include <fcntl.h>

#define COPY_BYTES ((size_t)1 << 20)

static int copy_bytes(int from, int to)
{
    char *buf AUTO_FREE = malloc(COPY_BYTES);
    ssize_t n = buf ? 1 : -ENOMEM;

    for (uint64_t at = 0; n > 0; at += (uint64_t)n) {
        n = io_read_all(from, buf, COPY_BYTES, at);
        int r = n > 0 ? io_write_all(to, buf, (size_t)n, at) : 0;
        if (r < 0)
            return r;
    }
    return n < 0 ? (int)n : io_sync(to);
}

int segment_unshare(int dirfd, evs_seq first, int *fd, struct evs_error *err)
{
    char tmp[SEGMENT_NAME_BYTES], name[SEGMENT_NAME_BYTES];
    struct stat st;
    int r = io_stat(*fd, &st);

    segment_name(first, ".tmp", tmp);
    segment_name(first, ".jsonl", name);
    if (r < 0)
        return segment_fail_name(name, r, err);
    if (st.st_nlink <= 1)
        return 0;
    int copy = io_open(dirfd, tmp, O_RDWR | O_CREAT | O_TRUNC, 0600);
    r = copy < 0 ? copy : copy_bytes(*fd, copy);
    if (r == 0)
        r = io_rename(dirfd, tmp, name);
    if (r == 0)
        r = io_sync(dirfd);
    if (r < 0) {
        if (copy >= 0)
            (void)io_close(copy); /* given up */
        return segment_fail_name(tmp, r, err);
    }
    (void)io_close(*fd); /* nothing was written to it */
    *fd = copy;
    return 1;
}
