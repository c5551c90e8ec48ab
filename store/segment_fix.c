/* SPDX-License-Identifier: MIT */
/* segment_fix: puts records of an idx right, while a log that is opened is replayed. A record that is right, as
 * nearly all are, is only looked at.
 * A header that says sealed vouches for recs on disk, whatever the page cache shows. */
#include "segment.h"

#include "io.h"

#include <fcntl.h>

struct fix {
    const struct log_rec *now, *want;
    size_t n;
    char *to; /* NULL: only compare */
};

/* 1 if they differed. */
static int fix_recs(void *arg)
{
    struct fix *f = arg;

    if (memcmp(f->now, f->want, f->n * sizeof *f->now) == 0)
        return 0;
    if (f->to)
        memcpy(f->to, f->want, f->n * sizeof *f->want);
    return 1;
}

/* Until the recs are on disk the header doesn't say sealed: if the process dies meanwhile, the page cache shows
 * the next one recs that are right, and nobody would ever sync them; of a segment that isn't sealed it writes
 * them again and does. */
static int unseal(struct segment *s, int idx_fd)
{
    int r = s->unsealed ? 0 : segment_write_header(idx_fd, s->first, s->synced, false);

    s->unsealed |= r == 0;
    return r;
}

/* A mapping: a pwrite for each rec took four times as long as all the rest of a replay. */
static int open_fix(struct segment *s, uint64_t n, struct evs_error *err)
{
    s->fix_bytes = segment_idx_bytes(n);
    s->fix_fd = segment_file(s, ".idx", O_RDWR);
    int r = s->fix_fd < 0 ? s->fix_fd : s->sealed ? unseal(s, s->fix_fd) : 0;
    if (r == 0)
        r = io_map_write(s->fix_fd, s->fix_bytes, &s->fix_map);
    return r < 0 ? segment_fail(s, ".idx", r, err) : 0;
}

/* Recs first, as when it was sealed. Where this fails the next open does it. */
static int seal_again(struct segment *s)
{
    int r = io_datasync(s->fix_fd);

    if (r == 0)
        r = segment_write_header(s->fix_fd, s->first, s->synced, true);
    if (r == 0)
        r = io_datasync(s->fix_fd);
    s->unsealed = r < 0;
    return r;
}

int segment_fix_done(struct segment *s, struct evs_error *err)
{
    int r = 0;

    if (s->fix_map)
        (void)io_unmap(s->fix_map, s->fix_bytes); /* no error but ours */
    if (s->fix_map && s->unsealed)
        r = seal_again(s);
    if (s->fix_fd >= 0)
        (void)io_close(s->fix_fd); /* synced, or its turn comes with idx_fd */
    s->fix_map = NULL;
    s->fix_fd = -1;
    return r < 0 ? segment_fail(s, ".idx", r, err) : 0;
}

int segment_fix(struct segment *s, uint64_t at, const struct log_rec *recs, size_t n,
                struct evs_error *err)
{
    struct fix f = {&s->recs[at], recs, n, NULL};
    int r = 0;

    /* Recs that the disk doesn't give differ. */
    if (!s->fix_map && !s->own_recs) {
        if (io_guarded(fix_recs, &f) == 0)
            return 0;
        r = s->read_only ? segment_own_recs(s, s->tail.n, err) : open_fix(s, s->tail.n, err);
    }
    if (r < 0)
        return r;
    f.now = &s->recs[at];
    f.to = (s->own_recs ? s->own_recs : s->fix_map + SEGMENT_HEADER_BYTES) + at * sizeof *recs;
    r = io_guarded(fix_recs, &f);
    return r < 0 ? segment_fail(s, ".idx", r, err) : 0;
}
