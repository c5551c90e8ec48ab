/* SPDX-License-Identifier: MIT */
/* segment_fix: puts records of an idx right, while a log that is opened is replayed. A record that is right, as
 * nearly all are, is only looked at. */
#include "segment.h"

#include "io.h"

#include <fcntl.h>

struct fix {
    const struct log_rec *now, *want;
    char *to; /* NULL: only compare */
};

/* 1 if it differed. */
static int fix_rec(void *arg)
{
    struct fix *f = arg;

    if (memcmp(f->now, f->want, sizeof *f->now) == 0)
        return 0;
    if (f->to)
        memcpy(f->to, f->want, sizeof *f->want);
    return 1;
}

/* A mapping: a pwrite for each rec took four times as long as all the rest of a replay. */
static int open_fix(struct segment *s, uint64_t n, struct evs_error *err)
{
    s->fix_bytes = segment_idx_bytes(n);
    s->fix_fd = segment_file(s, ".idx", O_RDWR);
    int r = s->fix_fd < 0 ? s->fix_fd : io_map_write(s->fix_fd, s->fix_bytes, &s->fix_map);
    return r < 0 ? segment_fail(s, ".idx", r, err) : 0;
}

int segment_fix_done(struct segment *s, struct evs_error *err)
{
    int r = 0;

    if (s->fix_map)
        (void)io_unmap(s->fix_map, s->fix_bytes); /* no error but ours */
    if (s->fix_map && s->sealed)
        r = io_datasync(s->fix_fd);
    if (r <
        0) /* for the next open, which writes the recs again: the kernel takes them for written now */
        (void)segment_write_header(s->fix_fd, s->first, s->synced, false);
    if (s->fix_fd >= 0)
        (void)io_close(s->fix_fd); /* synced, or its turn comes with idx_fd */
    s->fix_map = NULL;
    s->fix_fd = -1;
    return r < 0 ? segment_fail(s, ".idx", r, err) : 0;
}

int segment_fix(struct segment *s, uint64_t n, const struct log_rec *rec, struct evs_error *err)
{
    struct log_rec want = *rec;
    struct fix f = {&s->recs[n], &want, NULL};
    int r = 0;

    want.check = log_rec_check(rec, s->first + n);
    /* A rec that the disk doesn't give differs. */
    if (!s->fix_map && !s->own_recs) {
        if (io_guarded(fix_rec, &f) == 0)
            return 0;
        r = s->read_only ? segment_own_recs(s, s->tail.n, err) : open_fix(s, s->tail.n, err);
    }
    if (r < 0)
        return r;
    f.now = &s->recs[n];
    f.to = (s->own_recs ? s->own_recs : s->fix_map + SEGMENT_HEADER_BYTES) + n * sizeof *rec;
    r = io_guarded(fix_rec, &f);
    return r < 0 ? segment_fail(s, ".idx", r, err) : 0;
}
