/* SPDX-License-Identifier: MIT */
/* resume: where a log ends, and how it goes on from there (docs/format.md, "Segments").
 *
 * The durable place is the furthest that a header vouches for, or the start of the last segment but
 * one if that is further: a roll seals all but the one that it leaves.
 * (1) Before the durable place every line must be there: DAMAGED if not. Sealed segments are not
 *     read, nor is what stands before a segment's own mark; whoever replays checks those lines.
 * (2) Behind it, the log ends before the first line that is bad, missing, or of a transaction that
 *     is not whole. What follows, later segments too, is cut.
 * (3) What lies between the durable place and the end may stand in the page cache only. It is copied to a new
 *     segment, which is synced before the log is used (salvage.c has why, and how a crash leaves it).
 * (4) A segment's lines at or past the next one's first seq are not part of the log.
 * (5) Where the durable lines of a segment reach past the next one's first seq, the log ends with
 *     them: what follows are leftovers of a copy.
 * (6) A compressed segment is sealed: it was made of one that was, and is whole since it has its name. Where
 *     its plain file is there as well, that is what is left of it, and goes: when the directory is synced, as who
 *     gave that name may have died before it was; and only if the compressed one is whole still.
 * (7) Before lines are removed their idx is: a header never vouches for lines that were written after
 *     it. An idx without lines is removed if it vouches for none; else they were removed behind our
 *     back, which is damage.
 * (8) What (2) cuts is kept in a file of its own where there are whole lines in it (aside.c).
 * (9) A mark where no line ends is damage if something would be cut there, and so is one that another line than its
 *     last, or none of a transaction's end, contradicts: nothing is cut for a header that is wrong. */
#include "resume.h"

#include "aside.h"
#include "io.h"
#include "limits.h"
#include "salvage.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>

#define NO_LIMIT UINT64_MAX

/* What is being resumed. */
struct resume {
    int dirfd;
    const struct log_options *o;
    struct frame_cache *cache;
    struct segment **s; /* owned: each, and the array, which has room for one more */
    size_t n;
    size_t durable; /* s[durable]->synced is the durable place */
    bool unlinked;  /* the directory needs a sync */
    evs_seq cut;    /* log/CUT.cut is there; 0: none */
};

enum { LINES, IDX, PACKED, NAME_KINDS };

/* Names found in the directory. */
struct names {
    int dirfd;
    bool read_only;
    evs_seq *first[NAME_KINDS]; /* owned; of .jsonl or .jsonl.zst, of .idx, of .jsonl.zst */
    size_t n[NAME_KINDS], cap[NAME_KINDS];
    evs_seq cut;
};

struct segment_mark resume_room(const struct log_options *o)
{
    /* No line is shorter than 128 bytes by much, and none is refused for it: a full idx rolls as
     * well. */
    return (struct segment_mark){o->segment_bytes, o->segment_bytes / 128 + LIMIT_TX_EVENTS};
}

static evs_seq durable_end(const struct segment *s)
{
    return s->first + s->synced.n;
}

static int fail_damaged(const struct segment *s, uint64_t pos, struct evs_error *err)
{
    const char *suffix = s->frames ? ".zst, decompressed" : ""; /* in which there is that byte */

    return evs_fail_at(err, EVS_DAMAGED, pos, "log/%020" PRIu64 ".jsonl%s", s->first, suffix);
}

static int fail_line(const struct segment *s, struct segment_mark at, struct evs_error *err)
{
    return evs_fail_at(err, EVS_DAMAGED, at.bytes, "log/%020" PRIu64 ".jsonl: event %" PRIu64,
                       s->first, s->first + at.n);
}

/* ---- which segments there are ---- */

static int add_name(struct names *l, int kind, evs_seq first)
{
    if (l->n[kind] == l->cap[kind]) {
        size_t cap = l->cap[kind] ? 2 * l->cap[kind] : 64;
        evs_seq *p = realloc(l->first[kind], cap * sizeof *p);
        if (!p)
            return -ENOMEM;
        l->first[kind] = p;
        l->cap[kind] = cap;
    }
    l->first[kind][l->n[kind]++] = first;
    return 0;
}

static int take_name(void *arg, const char *name)
{
    struct names *l = arg;
    const char *suffix;
    evs_seq first = segment_first(name, &suffix);

    if (first == 0)
        return 0;
    if (strcmp(suffix, ".jsonl") == 0)
        return add_name(l, LINES, first);
    if (strcmp(suffix, ".idx") == 0)
        return add_name(l, IDX, first);
    if (strcmp(suffix, ".jsonl.zst") == 0) {
        int r = add_name(l, PACKED, first);
        return r < 0 ? r : add_name(l, LINES, first);
    }
    if (strcmp(suffix, ".cut") == 0)
        l->cut = MAX(l->cut, first);
    bool tmp = strcmp(suffix, ".tmp") == 0 || strcmp(suffix, ".zst.tmp") == 0;
    return tmp && !l->read_only ? io_remove(l->dirfd, name) : 0;
}

static int order_seqs(const void *a, const void *b)
{
    evs_seq x = *(const evs_seq *)a, y = *(const evs_seq *)b;

    return (x > y) - (x < y);
}

static void order_names(struct names *l, int kind)
{
    size_t n = 0;

    if (l->n[kind] > 0)
        qsort(l->first[kind], l->n[kind], sizeof(evs_seq), order_seqs);
    for (size_t i = 0; i < l->n[kind]; i++) /* a segment may be there in both forms */
        if (n == 0 || l->first[kind][n - 1] != l->first[kind][i])
            l->first[kind][n++] = l->first[kind][i];
    l->n[kind] = n;
}

static bool has_name(const struct names *l, int kind, evs_seq first)
{
    return l->n[kind] > 0 &&
           bsearch(&first, l->first[kind], l->n[kind], sizeof(evs_seq), order_seqs);
}

/* An idx whose lines are gone would vouch for other lines if a segment of its name were made. */
static int remove_orphan(struct names *l, evs_seq first, struct evs_error *err)
{
    char name[SEGMENT_NAME_BYTES];
    int r = segment_vouches(l->dirfd, first, err);

    if (r < 0)
        return r;
    /* A mark is stored after the directory has the lines, and they are removed after it. Only a backup that was
     * interrupted makes a sealed idx first, of the segment that comes next. */
    bool later = l->n[LINES] > 0 && l->first[LINES][l->n[LINES] - 1] > first;
    if (r == 1 || (r == 2 && later))
        return evs_fail_at(err, EVS_DAMAGED, 0, "log/%020" PRIu64 ".jsonl is missing", first);
    segment_name(first, ".idx", name);
    r = l->read_only ? 0 : io_remove(l->dirfd, name);
    return r < 0 ? segment_fail_name(name, r, err) : 0;
}

static int remove_orphans(struct names *l, struct evs_error *err)
{
    bool unlinked = false;
    int r = 0;

    for (size_t i = 0; i < l->n[IDX]; i++) {
        if (has_name(l, LINES, l->first[IDX][i]))
            continue;
        if ((r = remove_orphan(l, l->first[IDX][i], err)) < 0)
            return r;
        unlinked = true;
    }
    r = unlinked && !l->read_only ? io_sync(l->dirfd) : 0;
    return r < 0 ? evs_fail_errno(err, r, "log") : 0;
}

static int list_names(struct names *l, struct evs_error *err)
{
    int r = io_list(l->dirfd, ".", take_name, l);

    if (r < 0)
        return evs_fail_errno(err, r, "log");
    for (int kind = 0; kind < NAME_KINDS; kind++)
        order_names(l, kind);
    return remove_orphans(l, err);
}

static int remove_file(struct resume *rs, evs_seq first, const char *suffix, struct evs_error *err);

static bool has_plain(const struct segment *s)
{
    int fd AUTO_CLOSE = segment_file(s, ".jsonl", O_RDONLY);

    return fd >= 0;
}

static int remove_plain(struct resume *rs, evs_seq first, struct evs_error *err)
{
    int r = io_sync(rs->dirfd);

    return r < 0 ? evs_fail_errno(err, r, "log") : remove_file(rs, first, ".jsonl", err);
}

/* (6) A compressed file that is damaged is none while the plain one is there. */
static int open_packed(struct resume *rs, evs_seq first, struct segment **ret,
                       struct evs_error *err)
{
    const bool read_only = rs->o->read_only;
    struct segment *s = NULL;
    struct evs_error why, plain;
    int r = segment_open_packed(rs->dirfd, first, read_only, rs->cache, &s, &why);
    bool both = r == 0 && has_plain(s);

    if (both)
        r = frames_compare(s->frames, NULL, &why);
    if (both && r == 0 && !read_only)
        r = remove_plain(rs, first, &why);
    if (r == 0) {
        *ret = s;
        return 0;
    }
    segment_close(s);
    if (why.why == EVS_DAMAGED && segment_open(rs->dirfd, first, read_only, ret, &plain) == 0)
        return 0;
    return evs_fail_as(err, &why);
}

static int open_segments(struct resume *rs, struct evs_error *err)
{
    struct names l = {.dirfd = rs->dirfd, .read_only = rs->o->read_only};
    int r = list_names(&l, err);

    if (r == 0 && l.n[LINES] > 0 && l.first[LINES][0] != 1)
        r = evs_fail_at(err, EVS_DAMAGED, 0, "log/%020d.jsonl is missing", 1);
    if (r == 0) {
        rs->s = calloc(l.n[LINES] + 1, sizeof(struct segment *));
        if (!rs->s)
            r = evs_fail(err, EVS_NO_MEMORY, EVS_NOWHERE);
    }
    while (r == 0 && rs->n < l.n[LINES]) {
        evs_seq first = l.first[LINES][rs->n];
        struct segment **s = &rs->s[rs->n];
        r = has_name(&l, PACKED, first) ? open_packed(rs, first, s, err)
                                        : segment_open(rs->dirfd, first, l.read_only, s, err);
        rs->n += *s != NULL;
    }
    rs->cut = l.cut;
    for (int kind = 0; kind < NAME_KINDS; kind++)
        free(l.first[kind]);
    return r;
}

/* ---- taking segments out ---- */

static int remove_file(struct resume *rs, evs_seq first, const char *suffix, struct evs_error *err)
{
    char name[SEGMENT_NAME_BYTES];

    segment_name(first, suffix, name);
    int r = io_unlink(rs->dirfd, name);
    if (r < 0 && r != -ENOENT)
        return segment_fail_name(name, r, err);
    rs->unlinked |= r == 0;
    return 0;
}

/* Take the last segment out of the log. (7) */
static int drop_last(struct resume *rs, struct evs_error *err)
{
    struct segment *s = rs->s[rs->n - 1];
    int r = 0;

    if (!rs->o->read_only)
        r = remove_file(rs, s->first, ".idx", err);
    if (r == 0 && !rs->o->read_only)
        r = remove_file(rs, s->first, ".jsonl", err);
    if (r < 0)
        return r;
    segment_close(s);
    rs->n--;
    return 0;
}

/* All behind segment i. */
static int drop_after(struct resume *rs, size_t i, struct evs_error *err)
{
    int r = 0;

    while (r == 0 && rs->n > i + 1)
        r = drop_last(rs, err);
    return r;
}

/* ---- where it ends ---- */

static void find_durable(struct resume *rs)
{
    rs->durable = rs->n >= 2 ? rs->n - 2 : 0;
    for (size_t i = rs->n; i-- > rs->durable;)
        if (rs->s[i]->sealed || rs->s[i]->synced.n > 0) {
            rs->durable = i;
            break;
        }
}

/* Read s from its mark on, up to seq limit (4). *ret_end: behind its last line that is no
 * transaction's or ends one. Returns 1 if the lines go right up to limit; 0 if not, with the place
 * in *ret_bad, or if the mark is past it (5). */
static int read_tail(const struct segment *s, evs_seq limit, struct segment_mark *ret_end,
                     struct segment_mark *ret_bad, struct evs_error *err)
{
    struct log_walked *out AUTO_FREE = malloc(LOG_WALK_LINES * sizeof *out);
    struct segment_walk w = {
        .lines = s->lines, .pos = s->synced.bytes, .end = s->size, .seq = durable_end(s)};
    int n = 1;

    if (!out)
        return evs_fail(err, EVS_NO_MEMORY, EVS_NOWHERE);
    *ret_end = s->synced;
    while (n > 0 && w.seq < limit) {
        n = segment_batch(&w, out, MIN(limit - w.seq, LOG_WALK_LINES));
        for (int i = 0; i < n; i++)
            if (out[i].line.tx == 0)
                *ret_end = (struct segment_mark){out[i].offset + out[i].raw.n,
                                                 out[i].line.seq + 1 - s->first};
    }
    *ret_bad = (struct segment_mark){w.pos, w.seq - s->first};
    if (n < 0 && n != -EBADMSG) /* unreadable is not the same as bad: nothing is cut for it */
        return evs_fail_at(err, EVS_SYSTEM, w.pos, "log/%020" PRIu64 ".jsonl", s->first);
    return w.seq == limit && w.tx == 0;
}

/* (9) bad: where the log ends, if it does so in s. */
static int check_mark(const struct segment *s, const struct segment_mark *bad,
                      struct evs_error *err)
{
    const bool cuts = bad && bad->n == s->synced.n && bad->bytes < s->size;
    int r = segment_check_mark(s);

    if (r > 0 || (r != -EBADMSG && !cuts))
        return 0;
    return r == -EIO ? segment_fail(s, ".jsonl", r, err) : fail_line(s, s->synced, err);
}

static int check_sealed(const struct segment *s, evs_seq limit, struct evs_error *err)
{
    if (s->size != s->synced.bytes || (limit != NO_LIMIT && durable_end(s) != limit))
        return fail_damaged(s, MIN(s->size, s->synced.bytes), err);
    return 0;
}

/* Give segment i its tail. *ret_last: the log ends in it, and *ret_bad is not of it any more. */
static UNANALYSED int check_segment(struct resume *rs, size_t i, bool *ret_last, uint64_t *ret_bad,
                                    struct evs_error *err)
{
    struct segment *s = rs->s[i];
    evs_seq limit = i + 1 < rs->n ? rs->s[i + 1]->first : NO_LIMIT;
    struct segment_mark bad = {0};

    if (s->sealed) {
        int r = s->lost_idx ? segment_count(s, &s->synced.n, err) : 0;
        s->tail = s->synced;
        return r < 0 ? r : check_sealed(s, limit, err);
    }
    if (s->size < s->synced.bytes)
        return fail_damaged(s, s->size, err);
    int r = read_tail(s, limit, &s->tail, &bad, err);
    int q = r < 0 ? r : check_mark(s, r == 0 ? &bad : NULL, err);
    if (q < 0)
        return q;
    if (r == 0 && i < rs->durable)
        return fail_line(s, bad, err);
    *ret_bad = bad.bytes;
    *ret_last = r == 0;
    return 0;
}

/* The log ends in segment i. (5), (7) */
static int cut_after(struct resume *rs, size_t i, uint64_t bad, struct evs_error *err)
{
    const struct segment *s = rs->s[i];
    bool copied = i + 1 < rs->n && durable_end(s) > rs->s[i + 1]->first;
    evs_seq kept = 0;
    int r = copied || rs->o->read_only ? 0 : aside_keep(&rs->s[i], rs->n - i, bad, &kept, err);

    if (kept)
        rs->cut = kept;
    return r < 0 ? r : drop_after(rs, i, err);
}

static int find_end(struct resume *rs, struct evs_error *err)
{
    int r = 0;

    find_durable(rs);
    for (size_t i = 0; r == 0 && i < rs->n; i++) {
        bool last = false;
        uint64_t bad = 0;
        r = check_segment(rs, i, &last, &bad, err);
        if (r == 0 && last)
            r = cut_after(rs, i, bad, err);
    }
    return r;
}

/* The last event before the first one whose idx has no rec. A sealed header vouches for its recs. */
static UNANALYSED evs_seq recs_end(const struct resume *rs)
{
    evs_seq end = 0;

    for (size_t i = 0; i < rs->n; i++) {
        const struct segment *s = rs->s[i];
        uint64_t n = s->sealed && !s->lost_idx ? s->tail.n : MIN(s->idx_recs, s->tail.n);
        end = s->first + n - 1;
        if (n < s->tail.n)
            break;
    }
    return end;
}

/* ---- fit to go on ---- */

/* The durable place at the end of a segment is the start of the next one. How many lines are behind
 * it? */
static UNANALYSED uint64_t lines_to_salvage(struct resume *rs)
{
    uint64_t n = 0;

    while (rs->durable + 1 < rs->n && rs->s[rs->durable]->tail.n == rs->s[rs->durable]->synced.n)
        rs->durable++;
    for (size_t i = rs->durable; i < rs->n; i++)
        n += rs->s[i]->tail.n;
    return rs->n > 0 ? n - rs->s[rs->durable]->synced.n : 0;
}

static int salvage(struct resume *rs, uint64_t n, struct evs_error *err)
{
    struct segment *old = rs->s[rs->durable], *new = NULL;
    int r = salvage_lines(&rs->s[rs->durable], rs->n - rs->durable, n, &new, err);

    if (r < 0)
        return r;
    r = drop_after(rs, rs->durable, err);
    if (r < 0) {
        segment_close(new);
        return r;
    }
    rs->unlinked = true;
    if (old->synced.n == 0) {
        segment_close(old); /* its name is the new one's already */
        rs->s[rs->durable] = new;
    } else {
        rs->s[rs->n++] = new;
    }
    return 0;
}

#define RENEW_BYTES ((size_t)64 << 10)

/* Write the first n recs once more, unless a clean end has vouched for them: if a sync of the idx had failed, the
 * kernel holds them as written when they are not, and no later sync would write them. What is wrong in them is
 * put right by the replay. */
static int renew_recs(const struct segment *s, uint64_t n, struct evs_error *err)
{
    uint64_t at = SEGMENT_HEADER_BYTES, end = at + n * sizeof(struct log_rec);

    if (s->clean || n == 0)
        return 0;
    char *buf AUTO_FREE = malloc(RENEW_BYTES);
    if (!buf)
        return evs_fail(err, EVS_NO_MEMORY, EVS_NOWHERE);
    while (at < end) {
        ssize_t k = io_read_all(s->idx_fd, buf, MIN(end - at, RENEW_BYTES), at);
        int r = k > 0 ? io_write_all(s->idx_fd, buf, (size_t)k, at) : (int)k;
        if (r < 0)
            return evs_fail_errno(err, r, "log: idx");
        if (k == 0)
            break;
        at += (uint64_t)k;
    }
    return 0;
}

/* Cut one that is not sealed, but durable up to end, and seal it. */
static int finish_segment(struct segment *s, struct segment_mark end, struct evs_error *err)
{
    int r = segment_open_files(s, err);

    if (r < 0)
        return r;
    r = io_truncate(s->fd, end.bytes);
    if (r == 0)
        r = io_datasync(s->fd);
    if (r < 0)
        return evs_fail_errno(err, r, "log: cut");
    r = renew_recs(s, end.n, err);
    if (r == 0)
        r = segment_map_recs(s, end.n, end.n, err);
    if (r < 0)
        return r;
    segment_set_end(s, end);
    return segment_seal(s, NULL, err);
}

/* The last one: cut, noted as durable, with room to grow. */
static UNANALYSED int open_last(struct resume *rs, struct segment *s, struct evs_error *err)
{
    struct segment_mark end = s->tail, room = resume_room(rs->o);
    int r = s->fd < 0 ? segment_open_files(s, err) : 0;

    if (r == 0 && s->size > end.bytes) {
        r = io_truncate(s->fd, end.bytes);
        if (r == 0)
            r = io_datasync(s->fd);
        if (r < 0)
            return evs_fail_errno(err, r, "log: cut");
    }
    if (r == 0)
        r = segment_map_lines(s, MAX(room.bytes, end.bytes), err);
    if (r == 0)
        r = renew_recs(s, end.n, err);
    if (r == 0)
        r = segment_map_recs(s, end.n, MAX(room.n, end.n), err);
    if (r < 0)
        return r;
    segment_set_end(s, end);
    return segment_note(s, err);
}

static UNANALYSED int make_fit(struct resume *rs, struct evs_error *err)
{
    uint64_t n = lines_to_salvage(rs);
    int r = n > 0 ? salvage(rs, n, err) : 0;

    if (r == 0 && rs->unlinked) {
        r = io_sync(rs->dirfd);
        if (r < 0)
            return evs_fail_errno(err, r, "log");
    }
    for (size_t i = 0; r == 0 && i < rs->n; i++) {
        struct segment *s = rs->s[i];
        if (s->sealed)
            segment_set_end(s, s->synced);
        if (s->lost_idx)
            r = segment_make_idx(s, s->synced.n, err);
        else if (s->sealed)
            continue;
        else if (i + 1 < rs->n)
            r = finish_segment(s, i < rs->durable ? s->tail : s->synced, err);
        else
            r = open_last(rs, s, err);
    }
    return r;
}

static UNANALYSED int make_readable(struct resume *rs, struct evs_error *err)
{
    int r = 0;

    for (size_t i = 0; r == 0 && i < rs->n; i++) {
        segment_set_end(rs->s[i], rs->s[i]->tail);
        r = segment_map_recs(rs->s[i], rs->s[i]->tail.n, rs->s[i]->tail.n, err);
    }
    return r;
}

int resume_segments(int dirfd, const struct log_options *o, struct frame_cache *cache,
                    struct segments *ret, struct evs_error *err)
{
    struct resume rs = {.dirfd = dirfd, .o = o, .cache = cache};
    int r = open_segments(&rs, err);

    if (r == 0)
        r = find_end(&rs, err);
    evs_seq recs = r == 0 ? recs_end(&rs) : 0;
    if (r == 0)
        r = o->read_only ? make_readable(&rs, err) : make_fit(&rs, err);

    struct segments all = {rs.s, rs.n, recs, rs.cut};
    if (r < 0)
        resume_free(&all);
    else
        *ret = all;
    return r;
}

void resume_free(struct segments *all)
{
    for (size_t i = 0; i < all->n; i++)
        segment_close(all->s[i]);
    free(all->s);
    *all = (struct segments){0};
}
