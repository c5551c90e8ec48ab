/* SPDX-License-Identifier: MIT */
/* salvage: why lines are copied that stand in the file already (docs/format.md, "Segments").
 *
 * What lies behind the durable place may be in the page cache only. If an fsync failed before the
 * daemon died, the cache holds these pages as if they had been written: no later fsync would write
 * them, and all would seem well until the power goes. So they are written again, to new blocks of a
 * new file.
 *
 * A crash between any two steps leaves a log that recovers to the same end (after a power cut: to
 * an end that is not before the durable place); FIRST is the seq at the durable place:
 *  a. FIRST.tmp is written and synced. Before the next step nothing has happened: other names are
 *     ignored.
 *  b. It is renamed to FIRST.jsonl, the directory is synced. If the old segment has this name, it
 *     is replaced by the same lines and more. Else the old one overlaps the new one, and lines at
 *     or past the next segment's first seq are no part of the log. FIRST has no idx yet, or the old
 *     one's with its mark at 0: no line in it counts as durable, so all are copied again, onto the
 *     same name. No other idx can be there and claim more: recovery has removed those that had no
 *     lines.
 *  c. Its idx is written: recs, sync, header, sync. From now on the durable place is in it, and the
 *     log ends with it: old segments that begin within its durable lines are leftovers.
 *  d. (resume.c) Later old segments are removed, the old one is cut to its mark and sealed.
 *  e. (resume.c) The directory is synced before anything is accepted: a leftover that came back
 *     after a power cut would hold other lines under the same seqs. */
#include "salvage.h"

#include "io.h"

#include <errno.h>
#include <fcntl.h>

#define COPY_BYTES ((size_t)1 << 20)

static UNANALYSED int write_lines(struct segment *const *s, size_t n, int fd, uint64_t *ret_bytes)
{
    uint64_t at = 0;

    for (size_t i = 0; i < n; i++) {
        uint64_t pos = i == 0 ? s[i]->synced.bytes : 0;
        while (pos < s[i]->tail.bytes) {
            size_t k = MIN(s[i]->tail.bytes - pos, COPY_BYTES);
            int r = io_write_all(fd, s[i]->lines + pos, k, at); /* unreadable: EFAULT */
            if (r < 0)
                return r;
            pos += k;
            at += k;
        }
    }
    *ret_bytes = at;
    return io_sync(fd);
}

/* Recs for lines of s from its mark, to stand at `at` on. The numbers of entity and type are the
 * index's: kept where the old rec is of this very line, else 0 and for the replay to put. */
static UNANALYSED int make_recs(const struct segment *s, struct segment_mark from, uint64_t *at,
                                struct log_rec **out)
{
    struct segment_walk w = {
        .lines = s->lines, .pos = from.bytes, .end = s->tail.bytes, .seq = s->first + from.n};
    int n, r = 0, fd AUTO_CLOSE = -1;
    char name[SEGMENT_NAME_BYTES];
    struct log_walked *l = malloc(LOG_WALK_LINES * sizeof *l);

    segment_name(s->first, ".idx", name);
    fd = io_open(s->dirfd, name, O_RDONLY, 0);
    if (!l || (fd < 0 && fd != -ENOENT)) {
        free(l);
        return fd < 0 ? fd : -ENOMEM;
    }
    for (uint64_t i = from.n; (n = segment_batch(&w, l, LOG_WALK_LINES)) > 0; i += n) {
        struct log_rec old[LOG_WALK_LINES] = {0};
        if (fd >= 0)
            r = (int)io_read_all(fd, old, n * sizeof *old, SEGMENT_HEADER_BYTES + i * sizeof *old);
        if (r < 0)
            break;
        for (int k = 0; k < n; k++) {
            const struct log_walked *v = &l[k];
            bool same = log_rec_ok(&old[k], v->line.seq) && old[k].len == v->raw.n &&
                        old[k].place == log_place(v->offset, v->data);
            struct log_rec *rec = (*out)++;
            *rec = (struct log_rec){
                .place = log_place(*at, v->data),
                .recorded_us = v->line.recorded_us,
                .len = (uint32_t)v->raw.n,
                .entity = same ? old[k].entity : 0,
                .type = same ? old[k].type : 0,
            };
            rec->check = log_rec_check(rec, v->line.seq);
            *at += v->raw.n;
        }
    }
    free(l);
    return r < 0 ? r : n;
}

static int all_recs(struct segment *const *s, size_t n, struct log_rec *out)
{
    uint64_t at = 0;
    int r = 0;

    for (size_t i = 0; r == 0 && i < n; i++)
        r = make_recs(s[i], i == 0 ? s[i]->synced : (struct segment_mark){0}, &at, &out);
    return r;
}

/* Steps a and b. */
static int write_file(struct segment *const *s, size_t n, evs_seq first, uint64_t *ret_bytes,
                      struct evs_error *err)
{
    char tmp[SEGMENT_NAME_BYTES], name[SEGMENT_NAME_BYTES];
    int dirfd = s[0]->dirfd;

    segment_name(first, ".tmp", tmp);
    segment_name(first, ".jsonl", name);
    int r, fd AUTO_CLOSE = io_open(dirfd, tmp, O_RDWR | O_CREAT | O_TRUNC, 0600);
    r = fd < 0 ? fd : write_lines(s, n, fd, ret_bytes);
    if (r == 0)
        r = io_rename(dirfd, tmp, name);
    if (r == 0)
        r = io_sync(dirfd);
    return r < 0 ? segment_fail_name(tmp, r, err) : 0;
}

/* Step c. */
static int write_idx(struct segment *s, const struct log_rec *recs, struct segment_mark end,
                     struct evs_error *err)
{
    bool called;
    int r = segment_open_files(s, err);

    if (r == 0)
        r = segment_map_recs(s, end.n, end.n, err);
    if (r < 0)
        return r;
    r = io_write_all(s->idx_fd, recs, end.n * sizeof *recs, SEGMENT_HEADER_BYTES);
    if (r < 0)
        return evs_fail_errno(err, r, "log: idx");
    r = segment_sync(s, end, &called, err);
    if (r == 0)
        r = segment_clean(s, err);
    if (r < 0)
        return r;
    segment_set_end(s, end);
    s->clean = true;
    return 0;
}

int salvage_lines(struct segment *const *s, size_t n, uint64_t n_lines, struct segment **ret,
                  struct evs_error *err)
{
    evs_seq first = s[0]->first + s[0]->synced.n;
    struct segment_mark end = {.n = n_lines};
    struct segment *new = NULL;
    struct log_rec *recs AUTO_FREE = calloc(n_lines, sizeof *recs);

    if (!recs)
        return evs_fail(err, EVS_NO_MEMORY, EVS_NOWHERE);
    int r = all_recs(s, n, recs); /* before the file of an old idx may be written */
    if (r < 0)
        return evs_fail_errno(err, r, "log: copy");
    r = write_file(s, n, first, &end.bytes, err);
    if (r == 0)
        r = segment_open(s[0]->dirfd, first, false, &new, err);
    if (r == 0)
        r = write_idx(new, recs, end, err);
    if (r < 0)
        segment_close(new);
    else
        *ret = new;
    return r;
}
