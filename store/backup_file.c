/* SPDX-License-Identifier: MIT */
/* backup_file: one sealed segment into a backup.
 * (1) The idx comes first, whole and synced, and says sealed; without its lines it is nothing (resume.c). So a
 *     file that is shared never stands in the backup as one that may be appended to.
 * (2) The idx is made from the lines, as they were checked, and never shared: a rebuild writes to it in place.
 *     Its numbers of entities and types are 0: a backup has no checkpoint, and the first replay puts them.
 * (3) The lines get their name by a rename, and the directory is synced before the next segment: a backup has
 *     no gaps whatever the moment.
 * (4) Of the forms that the lines may have in the store, the backup gets the one that is there. */
#include "backup_file.h"

#include "io.h"
#include "segment.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>

#define COPY_BYTES ((size_t)1 << 20)

/* ---- copying ---- */

static int copy_bytes(int from, int to, char *buf)
{
    ssize_t n = 1;

    for (uint64_t at = 0; n > 0; at += (uint64_t)n) {
        n = io_read_all(from, buf, COPY_BYTES, at);
        int r = n > 0 ? io_write_all(to, buf, (size_t)n, at) : 0;
        if (r < 0)
            return r;
    }
    return (int)n;
}

static int compare_bytes(int from, int to, char *buf)
{
    char *other = buf + COPY_BYTES;
    ssize_t n = 1;

    for (uint64_t at = 0; n > 0; at += (uint64_t)n) {
        n = io_read_all(from, buf, COPY_BYTES, at);
        ssize_t k = n < 0 ? n : io_read_all(to, other, COPY_BYTES, at);
        if (n < 0 || k < 0)
            return (int)MIN(n, k);
        if (n != k || memcmp(buf, other, (size_t)n) != 0)
            return -EIO;
    }
    return (int)n;
}

static int copy_file(int from, int to)
{
    char *buf AUTO_FREE = malloc(2 * COPY_BYTES);
    int r = buf ? copy_bytes(from, to, buf) : -ENOMEM;

    if (r == 0)
        r = io_sync(to);
    return r < 0 ? r : compare_bytes(from, to, buf);
}

int backup_copy(int from_dirfd, const char *name, int to_dirfd, const char *to)
{
    int from AUTO_CLOSE = io_open(from_dirfd, name, O_RDONLY, 0);

    if (from < 0)
        return from;
    int fd AUTO_CLOSE = io_open(to_dirfd, to, O_RDWR | O_CREAT | O_TRUNC, 0600);
    return fd < 0 ? fd : copy_file(from, fd);
}

/* ---- the idx ---- */

struct idx {
    int fd;
    evs_seq first, end;
    uint64_t n; /* recs written */
};

static int write_recs(void *arg, const struct log_walked *lines, size_t n)
{
    struct log_rec recs[LOG_WALK_LINES];
    struct idx *x = arg;
    size_t k = 0;

    for (; k < n && lines[k].line.seq < x->end; k++) {
        recs[k] = (struct log_rec){.place = log_place(lines[k].offset, lines[k].data),
                                   .recorded_us = lines[k].line.recorded_us,
                                   .len = (uint32_t)lines[k].raw.n};
        recs[k].check = log_rec_check(&recs[k], lines[k].line.seq);
    }
    if (k == 0)
        return 1;
    int r = io_write_all(x->fd, recs, k * sizeof *recs, SEGMENT_HEADER_BYTES + x->n * sizeof *recs);
    x->n += k;
    return r < 0 ? r : x->n == x->end - x->first;
}

static int write_idx(const struct log *src, int to, const struct log_span *sp,
                     struct evs_error *err)
{
    char name[SEGMENT_NAME_BYTES];
    struct idx x = {.first = sp->first, .end = sp->end};

    segment_name(sp->first, ".idx", name);
    x.fd = io_open(to, name, O_RDWR | O_CREAT | O_TRUNC, 0600);
    if (x.fd < 0)
        return evs_fail_errno(err, x.fd, name);
    struct evs_error why = {.why = EVS_OK_};
    int r = log_walk(src, sp->first, write_recs, &x, &why);
    if (r >= 0)
        r = io_datasync(x.fd);
    if (r == 0)
        r = segment_write_header(x.fd, sp->first, (struct segment_mark){sp->bytes, x.n}, true);
    if (r == 0)
        r = io_sync(x.fd);
    int c = io_close(x.fd);
    if (r == 0)
        r = c;
    if (r < 0)
        return why.why != EVS_OK_ ? evs_fail_as(err, &why) : evs_fail_errno(err, r, name);
    assert(x.n == sp->end - sp->first); /* a walk that ends well has seen all lines */
    return 0;
}

/* ---- the lines ---- */

/* name as tmp in to. 1 if they share the bytes, 0 if they don't, -ENOENT where there is no such file. */
static int take_file(int from_dirfd, const char *name, int to, const char *tmp)
{
    int from AUTO_CLOSE = io_open(from_dirfd, name, O_RDONLY, 0);
    int r;

    if (from < 0)
        return from;
    int fd AUTO_CLOSE = io_open(to, tmp, O_RDWR | O_CREAT | O_TRUNC, 0600);
    if (fd < 0)
        return fd;
    if (io_clone(fd, from) == 0)
        return (r = io_sync(fd)) < 0 ? r : 1;
    if ((r = io_unlink(to, tmp)) < 0)
        return r;
    if (io_link(from_dirfd, name, to, tmp) == 0)
        return 1;
    int copy AUTO_CLOSE = io_open(to, tmp, O_RDWR | O_CREAT | O_TRUNC, 0600);
    return copy < 0 ? copy : copy_file(from, copy);
}

int backup_segment(const struct log *src, int from, int to, const struct log_span *sp,
                   bool *ret_shared, struct evs_error *err)
{
    static const char *const forms[] = {".jsonl", ".jsonl.zst"};
    char tmp[SEGMENT_NAME_BYTES], name[SEGMENT_NAME_BYTES];
    int r = write_idx(src, to, sp, err);

    if (r < 0)
        return r;
    segment_name(sp->first, ".tmp", tmp);
    for (size_t i = 0; i < ARRAY_LEN(forms); i++) {
        segment_name(sp->first, forms[i], name);
        r = take_file(from, name, to, tmp);
        if (r != -ENOENT)
            break;
    }
    if (r < 0)
        return evs_fail_errno(err, r, name);
    *ret_shared = r > 0;
    r = io_rename(to, tmp, name);
    if (r == 0)
        r = io_sync(to);
    return r < 0 ? evs_fail_errno(err, r, name) : 0;
}
