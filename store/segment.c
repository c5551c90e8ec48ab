/* SPDX-License-Identifier: MIT */
/* segment: one file of lines, FIRST.jsonl, and its idx, FIRST.idx (docs/format.md, "Segments").
 *
 * (1) Bytes below visible never change, in either file.
 * (2) The idx holds a header and then one rec a line. Neither is needed to have the lines.
 * (3) The header's mark is a whole number of lines that an fdatasync of the lines has covered. It can only be
 *     too low: it is written after that fdatasync, and is itself synced only by sealing and a clean end.
 * (4) sealed: the mark is the whole file, and lines, recs and header are on disk. A sealed segment
 *     is never written again (but for recs that prove wrong), so its files are closed and only the
 *     mappings stay.
 * (5) Files are appended by pwrite and read through shared mappings, which the kernel keeps alike.
 *     A mapping reaches as far as the segment may grow, so that no reader ever sees it move.
 * (6) A sealed segment may be kept as FIRST.jsonl.zst instead of FIRST.jsonl (frames.h): then lines is memory
 *     that is filled where it is pinned (pin.c). The form changes from plain to packed while nobody has a pin;
 *     the address stays.
 * (7) Both files are cut back when an append fails: a file is longer than tail only within an
 *     append, or after a failed cut, and then the log is read-only.
 * visible holds bytes and lines in one word: a reader never sees one without the other. */
#include "segment.h"

#include "crc.h"
#include "io.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <sys/mman.h>

#define FORMAT_VERSION 1
#define FLAG_SEALED    1u
#define FLAG_CLEAN     2u

/* The first bytes of an idx; up to SEGMENT_HEADER_BYTES follow zeros. */
struct header {
    char magic[8];
    uint32_t version, flags;
    uint64_t first;    /* seq, as in the name */
    uint64_t bytes, n; /* the mark: durable lines */
    uint32_t unused;   /* 0 */
    uint32_t crc;      /* CRC32C of the bytes before */
};
static_assert(sizeof(struct header) == 48, "headers are on disk");
static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "files are little endian");
static_assert(SEGMENT_BYTES_BITS + SEGMENT_LINES_BITS == 64, "a mark is one word");

static const char magic[8] = {'e', 'v', 'f', 's', 'i', 'd', 'x', '\n'};

void segment_name(evs_seq first, const char *suffix, char out[SEGMENT_NAME_BYTES])
{
    (void)snprintf(out, SEGMENT_NAME_BYTES, "%020" PRIu64 "%s", first, suffix);
}

int segment_fail_name(const char *name, int r, struct evs_error *err)
{
    char what[SEGMENT_NAME_BYTES + 8];

    (void)snprintf(what, sizeof what, "log/%s", name);
    return evs_fail_errno(err, r, what);
}

int segment_fail(const struct segment *s, const char *suffix, int r, struct evs_error *err)
{
    char name[SEGMENT_NAME_BYTES];

    segment_name(s->first, suffix, name);
    return segment_fail_name(name, r, err);
}

/* ---- visible ---- */

static uint64_t mark_word(struct segment_mark m)
{
    return m.bytes << SEGMENT_LINES_BITS | m.n;
}

struct segment_mark segment_visible(const struct segment *s)
{
    /* Acquire: whoever sees this length sees the bytes. Pairs with segment_show(). */
    uint64_t w = atomic_load_explicit(&s->visible, memory_order_acquire);

    return (struct segment_mark){w >> SEGMENT_LINES_BITS, w & ((1u << SEGMENT_LINES_BITS) - 1)};
}

void segment_show(struct segment *s)
{
    atomic_store_explicit(&s->visible, mark_word(s->tail), memory_order_release);
}

UNANALYSED void segment_set_end(struct segment *s, struct segment_mark mark)
{
    s->tail = s->synced = mark;
    segment_show(s);
}

/* ---- mappings ---- */

static void unmap_lines(struct segment *s)
{
    if (s->lines)
        (void)io_unmap(s->lines, s->room.bytes); /* no error but ours */
    s->lines = s->own_lines = NULL;
}

static void unmap_recs(struct segment *s)
{
    if (s->idx_map)
        (void)io_unmap(s->idx_map, segment_idx_bytes(s->room.n));
    else if (s->own_recs)
        (void)io_unmap(s->own_recs, s->room.n * sizeof(struct log_rec));
    s->idx_map = s->own_recs = s->own_idx = NULL;
    s->recs = NULL;
}

static int map_lines(struct segment *s, int fd, uint64_t bytes, struct evs_error *err)
{
    const char *p;
    char *own = NULL;
    uint64_t room = MAX(bytes, 4096u);
    int r = s->dirfd < 0 ? io_map_memory(room, &own) : io_map(fd, room, &p);

    if (r < 0)
        return segment_fail(s, ".jsonl", r, err);
    unmap_lines(s);
    s->own_lines = own;
    s->lines = own ? own : p;
    s->room.bytes = room;
    return 0;
}

int segment_map_lines(struct segment *s, uint64_t bytes, struct evs_error *err)
{
    return s->room.bytes >= bytes && s->lines ? 0 : map_lines(s, s->fd, bytes, err);
}

static int map_idx(struct segment *s, int fd, uint64_t room, struct evs_error *err)
{
    const char *p;
    char *own = NULL; /* of a reader, who keeps to itself what it puts right */
    int r = s->read_only ? io_map_private(fd, segment_idx_bytes(room), &own)
                         : io_map(fd, segment_idx_bytes(room), &p);

    if (r < 0)
        return segment_fail(s, ".idx", r, err);
    unmap_recs(s);
    s->own_idx = own;
    s->idx_map = own ? own : p;
    s->recs = (const struct log_rec *)(const void *)(s->idx_map + SEGMENT_HEADER_BYTES);
    s->room.n = room;
    return 0;
}

int segment_own_recs(struct segment *s, uint64_t n, struct evs_error *err)
{
    char *own;
    uint64_t room = MAX(n, 1u);
    int r = io_map_memory(room * sizeof(struct log_rec), &own);

    if (r < 0)
        return segment_fail(s, ".idx", r, err);
    /* What the disk doesn't give stays 0, and is found to be wrong like everything else. */
    if (s->recs)
        (void)io_copy(own, s->recs, MIN(n, s->idx_recs) * sizeof(struct log_rec));
    unmap_recs(s);
    s->own_recs = own;
    s->recs = (const struct log_rec *)(const void *)own;
    s->room.n = room;
    return 0;
}

int segment_map_recs(struct segment *s, uint64_t n, uint64_t room, struct evs_error *err)
{
    if (s->dirfd < 0)
        return segment_own_recs(s, room, err);
    if (s->read_only)
        return s->recs && s->idx_recs >= n ? 0 : segment_own_recs(s, n, err);

    int r = io_truncate(s->idx_fd, segment_idx_bytes(n));
    return r < 0 ? segment_fail(s, ".idx", r, err) : map_idx(s, s->idx_fd, MAX(room, n), err);
}

/* ---- header ---- */

static int put_header(int fd, evs_seq first, struct segment_mark mark, uint32_t flags)
{
    struct header h = {
        .version = FORMAT_VERSION,
        .flags = flags,
        .first = first,
        .bytes = mark.bytes,
        .n = mark.n,
    };

    memcpy(h.magic, magic, sizeof magic);
    h.crc = crc32c(0, &h, offsetof(struct header, crc));
    return io_write_all(fd, &h, sizeof h, 0);
}

static int write_header(const struct segment *s, int fd, uint32_t flags)
{
    return put_header(fd, s->first, s->synced, flags);
}

int segment_write_header(int idx_fd, evs_seq first, struct segment_mark mark, bool sealed)
{
    return put_header(idx_fd, first, mark, sealed ? FLAG_SEALED : 0);
}

static int read_header(struct segment *s, int fd, struct evs_error *err)
{
    struct header h;
    struct stat st;
    ssize_t n = io_read_all(fd, &h, sizeof h, 0);
    int r = n < 0 ? (int)n : io_stat(fd, &st);

    if (r < 0)
        return segment_fail(s, ".idx", r, err);
    if ((uint64_t)st.st_size > SEGMENT_HEADER_BYTES)
        s->idx_recs = ((uint64_t)st.st_size - SEGMENT_HEADER_BYTES) / sizeof(struct log_rec);
    if (n < (ssize_t)sizeof h || memcmp(h.magic, magic, sizeof magic) != 0 ||
        h.crc != crc32c(0, &h, offsetof(struct header, crc)))
        return 0;
    if (h.version != FORMAT_VERSION)
        return evs_fail_at(err, EVS_BAD_FORMAT, 8, "log/%020" PRIu64 ".idx", s->first);
    if (h.first != s->first || h.bytes >> SEGMENT_BYTES_BITS || h.n >> SEGMENT_LINES_BITS ||
        (h.flags & FLAG_SEALED && s->idx_recs < h.n))
        return 0;
    s->sealed = h.flags & FLAG_SEALED;
    s->clean = h.flags & FLAG_CLEAN;
    s->synced = (struct segment_mark){h.bytes, h.n};
    return 0;
}

/* ---- open and close ---- */

static int segment_new(int dirfd, evs_seq first, bool read_only, struct segment **ret,
                       struct evs_error *err)
{
    struct segment *s = aligned_alloc(_Alignof(struct segment), sizeof *s);

    if (!s)
        return evs_fail(err, EVS_NO_MEMORY, EVS_NOWHERE);
    *s = (struct segment){
        .first = first,
        .dirfd = dirfd,
        .fd = -1,
        .idx_fd = -1,
        .fix_fd = -1,
        .read_only = read_only,
    };
    *ret = s;
    return 0;
}

static void close_files(struct segment *s)
{
    if (s->fd >= 0)
        (void)io_close(s->fd); /* what matters has been synced */
    if (s->idx_fd >= 0)
        (void)io_close(s->idx_fd);
    s->fd = s->idx_fd = -1;
}

void segment_close(struct segment *s)
{
    if (!s)
        return;
    if (s->fix_map)
        (void)io_unmap(s->fix_map, s->fix_bytes); /* given up */
    if (s->fix_fd >= 0)
        (void)io_close(s->fix_fd);
    frames_close(s->frames);
    if (s->place)
        (void)io_unmap(s->place, s->room.bytes);
    unmap_lines(s);
    unmap_recs(s);
    close_files(s);
    free(s);
}

int segment_file(const struct segment *s, const char *suffix, int flags)
{
    char name[SEGMENT_NAME_BYTES];

    segment_name(s->first, suffix, name);
    return io_open(s->dirfd, name, flags, 0600);
}

static int open_lines(struct segment *s, struct evs_error *err)
{
    struct stat st;
    int r, fd AUTO_CLOSE = segment_file(s, ".jsonl", O_RDONLY);

    if (fd < 0)
        return segment_fail(s, ".jsonl", fd, err);
    r = io_stat(fd, &st);
    if (r < 0)
        return segment_fail(s, ".jsonl", r, err);
    s->size = (uint64_t)st.st_size;
    if (!S_ISREG(st.st_mode) || s->size >> SEGMENT_BYTES_BITS)
        return evs_fail_at(err, EVS_BAD_FORMAT, EVS_NOWHERE, "log/%020" PRIu64 ".jsonl", s->first);
    return map_lines(s, fd, s->size, err);
}

static int open_idx(struct segment *s, struct evs_error *err)
{
    int fd AUTO_CLOSE = segment_file(s, ".idx", O_RDONLY);

    if (fd < 0)
        return fd == -ENOENT ? 0 : segment_fail(s, ".idx", fd, err);
    struct stat st;
    int r = io_stat(fd, &st);
    if (r == 0 && !S_ISREG(st.st_mode)) { /* not ours: there is none */
        char name[SEGMENT_NAME_BYTES];
        segment_name(s->first, ".idx", name);
        r = s->read_only ? 0 : io_remove(s->dirfd, name);
        return r < 0 ? segment_fail(s, ".idx", r, err) : 0;
    }
    r = r < 0 ? segment_fail(s, ".idx", r, err) : read_header(s, fd, err);
    if (r < 0 || (!s->sealed && !s->read_only))
        return r;
    return map_idx(s, fd, s->idx_recs, err);
}

int segment_open(int dirfd, evs_seq first, bool read_only, struct segment **ret,
                 struct evs_error *err)
{
    struct segment *s = NULL;
    int r = segment_new(dirfd, first, read_only, &s, err);

    if (r == 0)
        r = open_lines(s, err);
    if (r == 0)
        r = open_idx(s, err);
    if (r < 0)
        segment_close(s);
    else
        *ret = s;
    return r;
}

static int open_frames(struct segment *s, struct frame_cache *cache, struct evs_error *err)
{
    char name[SEGMENT_NAME_BYTES], *place;

    segment_name(s->first, ".jsonl.zst", name);
    int r = frames_open(s->dirfd, name, cache, &s->frames, err);
    if (r < 0)
        return r;
    s->size = frames_plain(s->frames);
    if (s->size >> SEGMENT_BYTES_BITS)
        return evs_fail_at(err, EVS_BAD_FORMAT, EVS_NOWHERE, "log/%s", name);
    uint64_t room = MAX(s->size, 4096u);
    r = io_map_reserved(room, &place);
    if (r < 0)
        return segment_fail(s, ".jsonl.zst", r, err);
    s->lines = place;
    s->room.bytes = room;
    frames_place(s->frames, place);
    atomic_store_explicit(&s->form, SEGMENT_PACKED, memory_order_relaxed);
    return 0;
}

int segment_open_packed(int dirfd, evs_seq first, bool read_only, struct frame_cache *cache,
                        struct segment **ret, struct evs_error *err)
{
    struct segment *s = NULL;
    int r = segment_new(dirfd, first, read_only, &s, err);

    if (r == 0)
        r = open_frames(s, cache, err);
    if (r == 0)
        r = open_idx(s, err);
    if (r < 0) {
        segment_close(s);
        return r;
    }
    s->lost_idx = !s->sealed;
    if (s->lost_idx) { /* nor are its recs believed */
        s->idx_recs = 0;
        s->sealed = true;
        s->synced = (struct segment_mark){s->size, 0};
    }
    *ret = s;
    return 0;
}

int segment_make_idx(struct segment *s, uint64_t n, struct evs_error *err)
{
    s->idx_fd = segment_file(s, ".idx", O_RDWR | O_CREAT | O_TRUNC);
    if (s->idx_fd < 0)
        return segment_fail(s, ".idx", s->idx_fd, err);
    int r = segment_map_recs(s, n, n, err);
    if (r == 0)
        r = segment_seal(s, NULL, err);
    s->lost_idx = s->lost_idx && r < 0;
    return r;
}

int segment_vouches(int dirfd, evs_seq first, struct evs_error *err)
{
    struct segment s = {.first = first, .dirfd = dirfd};
    int fd AUTO_CLOSE = segment_file(&s, ".idx", O_RDONLY);
    struct stat st;
    int r = fd < 0 ? fd : io_stat(fd, &st);

    if (r < 0)
        return segment_fail(&s, ".idx", r, err);
    r = S_ISREG(st.st_mode) ? read_header(&s, fd, err) : 0; /* what is not ours says nothing */
    return r < 0 ? r : s.synced.n == 0 ? 0 : s.sealed ? 2 : 1;
}

int segment_open_files(struct segment *s, struct evs_error *err)
{
    assert(!s->read_only && s->fd < 0);
    s->fd = segment_file(s, ".jsonl", O_RDWR);
    if (s->fd < 0)
        return segment_fail(s, ".jsonl", s->fd, err);
    int r = segment_unshare(s->dirfd, s->first, &s->fd, err);
    if (r > 0)
        r = map_lines(s, s->fd, s->size, err);
    if (r < 0)
        return r;
    s->idx_fd = segment_file(s, ".idx", O_RDWR | O_CREAT);
    return s->idx_fd < 0 ? segment_fail(s, ".idx", s->idx_fd, err) : 0;
}

static int create_files(struct segment *s, struct segment_mark room, struct evs_error *err)
{
    /* Both new: a log that is open has no idx without its lines (resume.c). */
    s->fd = segment_file(s, ".jsonl", O_RDWR | O_CREAT | O_EXCL);
    if (s->fd < 0)
        return segment_fail(s, ".jsonl", s->fd, err);
    s->idx_fd = segment_file(s, ".idx", O_RDWR | O_CREAT | O_TRUNC);
    if (s->idx_fd < 0)
        return segment_fail(s, ".idx", s->idx_fd, err);
    int r = write_header(s, s->idx_fd, 0);
    return r < 0 ? segment_fail(s, ".idx", r, err) : segment_map_recs(s, 0, room.n, err);
}

/* Take back what create_files() made; the idx first, so that none is ever alone. */
static int remove_files(const struct segment *s)
{
    char name[SEGMENT_NAME_BYTES];

    if (s->fd < 0)
        return 0;
    segment_name(s->first, ".idx", name);
    int r = io_unlink(s->dirfd, name);
    if (r < 0 && r != -ENOENT)
        return r;
    segment_name(s->first, ".jsonl", name);
    return io_unlink(s->dirfd, name);
}

int segment_create(int dirfd, evs_seq first, struct segment_mark room, struct segment **ret,
                   bool *ret_left, struct evs_error *err)
{
    struct segment *s = NULL;
    int r = segment_new(dirfd, first, false, &s, err);

    if (r < 0)
        return r;
    r = dirfd < 0 ? segment_own_recs(s, room.n, err) : create_files(s, room, err);
    if (r == 0)
        r = segment_map_lines(s, room.bytes, err);
    if (r < 0) {
        *ret_left = remove_files(s) < 0;
        segment_close(s);
        return r;
    }
    *ret = s;
    return 0;
}

/* ---- appending ---- */

static int cut_files(const struct segment *s, struct segment_mark to)
{
    if (s->fd < 0)
        return 0;
    int r = io_truncate(s->fd, to.bytes);
    int q = io_truncate(s->idx_fd, segment_idx_bytes(to.n)); /* in any case */
    return r < 0 ? r : q;
}

int segment_append(struct segment *s, const char *lines, size_t n_bytes, struct log_rec *recs,
                   uint32_t n_lines, bool *ret_broken, struct evs_error *err)
{
    struct segment_mark t = s->tail;
    size_t n_recs = n_lines * sizeof *recs;
    const char *file = ".jsonl";
    int r = 0;

    assert(t.bytes + n_bytes <= s->room.bytes && t.n + n_lines <= s->room.n);
    for (uint32_t i = 0; i < n_lines; i++)
        recs[i].check = log_rec_check(&recs[i], s->first + t.n + i);
    if (s->own_lines) {
        if (lines != s->own_lines + t.bytes) /* else they were written there */
            memcpy(s->own_lines + t.bytes, lines, n_bytes);
        memcpy(s->own_recs + t.n * sizeof *recs, recs, n_recs);
    } else {
        r = io_write_all(s->fd, lines, n_bytes, t.bytes);
        if (r == 0) {
            file = ".idx";
            r = io_write_all(s->idx_fd, recs, n_recs, segment_idx_bytes(t.n));
        }
    }
    if (r < 0) {
        /* Cut what was written, or the next open would take it for lines. */
        bool cut = cut_files(s, t) == 0;
        *ret_broken = !cut || !(r == -ENOSPC || r == -EDQUOT);
        return segment_fail(s, file, r, err);
    }
    s->tail = (struct segment_mark){t.bytes + n_bytes, t.n + n_lines};
    return 0;
}

int segment_cut(struct segment *s, struct segment_mark to, struct evs_error *err)
{
    int r = cut_files(s, to);

    s->tail = to;
    return r < 0 ? segment_fail(s, ".jsonl", r, err) : 0;
}

/* ---- syncing ---- */

/* A file that was removed behind our back still takes what is written, and nobody would find it again: the
 * writers have to know. */
static int check_there(const struct segment *s, struct evs_error *err)
{
    struct stat st;
    int r = io_stat(s->fd, &st);

    if (r < 0)
        return segment_fail(s, ".jsonl", r, err);
    if (st.st_nlink > 0)
        return 0;
    return evs_fail_at(err, EVS_DAMAGED, EVS_NOWHERE, "log/%020" PRIu64 ".jsonl was removed",
                       s->first);
}

int segment_sync(struct segment *s, struct segment_mark to, bool *ret_called, struct evs_error *err)
{
    *ret_called = s->synced.bytes < to.bytes;
    if (!*ret_called)
        return 0;
    int r = io_datasync(s->fd);
    if (r < 0)
        return segment_fail(s, ".jsonl", r, err);
    if ((r = check_there(s, err)) < 0)
        return r;
    s->synced = to;
    return 0;
}

int segment_note(struct segment *s, struct evs_error *err)
{
    int r = write_header(s, s->idx_fd, 0);

    return r < 0 && r != -ENOSPC && r != -EDQUOT ? segment_fail(s, ".idx", r, err) : 0;
}

int segment_sync_idx(struct segment *s, struct evs_error *err)
{
    int r = io_datasync(s->idx_fd);

    return r < 0 ? segment_fail(s, ".idx", r, err) : 0;
}

/* Recs first: flags that are on disk vouch for recs that are. */
static int sync_header(struct segment *s, uint32_t flags, bool *ret_full, struct evs_error *err)
{
    int r = segment_sync_idx(s, err);

    if (r < 0)
        return r;
    r = write_header(s, s->idx_fd, flags);
    if (ret_full)
        *ret_full = r == -ENOSPC || r == -EDQUOT;
    return r < 0 ? segment_fail(s, ".idx", r, err) : segment_sync_idx(s, err);
}

int segment_seal(struct segment *s, bool *ret_full, struct evs_error *err)
{
    int r = sync_header(s, FLAG_SEALED, ret_full, err);

    if (r < 0)
        return r;
    s->sealed = true;
    close_files(s);
    return 0;
}

int segment_clean(struct segment *s, struct evs_error *err)
{
    return sync_header(s, FLAG_CLEAN, NULL, err);
}
