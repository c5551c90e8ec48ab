/* SPDX-License-Identifier: MIT */
/* segment: one file of lines and its idx. Private to log.c, pin.c, resume.c and
 * backup_file.c. Appends, cuts, seals; walks lines. Knows nothing of other segments. In memory the same on anonymous memory, without
 * files. */
#ifndef STORE_SEGMENT_H
#define STORE_SEGMENT_H

#include "frames.h"
#include "log.h"

#define SEGMENT_HEADER_BYTES 4096
#define SEGMENT_NAME_BYTES   32 /* 20 digits, a suffix, NUL */
#define SEGMENT_BYTES_BITS   36
#define SEGMENT_LINES_BITS   28

/* A place in a segment: so many whole lines of so many bytes. Also room for them. */
struct segment_mark {
    uint64_t bytes, n;
};

/* Where the bytes of lines are. */
enum segment_form {
    SEGMENT_PLAIN, /* lines is a mapping of the file, or memory */
    SEGMENT_READY, /* the same; frames hold the same bytes, durably, and readers may go over to them */
    SEGMENT_PACKED, /* lines is the place of frames: there while they are pinned */
};

#define PINS_SWITCHING 0x80000000u /* bit of pins: lines is about to become another mapping */

struct segment {
    evs_seq first;              /* const */
    uint64_t before;            /* bytes of all segments before; const once in the log's array */
    int dirfd;                  /* borrowed; -1 in memory */
    int fd, idx_fd;             /* owned; -1: in memory, read only, or sealed */
    bool read_only;             /* const: nothing is ever written */
    bool sealed;                /* one thread: the opener, then the syncer */
    const char *lines;          /* mapped; const once anything is visible, as are the next four */
    const struct log_rec *recs; /* mapped behind the header; or own memory */
    struct segment_mark room;   /* mapped for so much */
    char *own_lines;            /* in memory: the same bytes, writable */
    char *own_recs;             /* the same for recs; also of a reader that had to */

    /* In memory: up to there its pages have been asked for. */
    _Atomic size_t lines_ready, recs_ready;

    const char *idx_map;        /* with the header; NULL: own_recs */
    char *own_idx;              /* of a reader: the same, writable, and nobody else's */
    char *fix_map;              /* the idx, writable, while recs are being fixed */
    uint64_t fix_bytes;         /* of that mapping */
    int fix_fd;                 /* owned; or -1 */
    bool unsealed;              /* the header on disk does not say sealed: recs are being fixed */
    uint64_t size, idx_recs;    /* when opened: of the file, and the recs that its idx had */
    bool clean;                 /* when opened: its header said so */
    struct segment_mark synced; /* one thread: the syncer. What a header may call durable */
    struct segment_mark tail UNDER_COMMIT; /* end of what is appended */
    _Atomic uint64_t visible; /* a mark in one word: stored under commit, loaded by anyone */
    bool lost_idx;            /* when opened packed: no header says how many lines there are */
    struct frames *frames;    /* owned; const once the form is not PLAIN */
    char *place;              /* owned: memory that lines becomes; of who switches while READY */
    bool plain_left;          /* one thread, the packer: the plain file is still there */
    bool unpackable;          /* the same: it was tried */
    _Atomic uint8_t form;     /* enum segment_form. Only goes up */
    _Alignas(64) _Atomic uint32_t pins; /* readers that look at plain lines: pin.c */
};

/* "00000000000000000001" and suffix (".jsonl", ".idx", ".tmp"). */
void segment_name(evs_seq first, const char *suffix, char out[SEGMENT_NAME_BYTES]);
/* The first event that a name begins with, and what stands behind it; 0: the name is none of the log's. */
static inline evs_seq segment_first(const char *name, const char **ret_suffix)
{
    evs_seq first = 0;
    size_t i = 0;

    for (; i < 20 && name[i] >= '0' && name[i] <= '9'; i++)
        if (__builtin_mul_overflow(first, 10, &first) ||
            __builtin_add_overflow(first, (unsigned)(name[i] - '0'), &first))
            return 0;
    *ret_suffix = name + i;
    return i == 20 ? first : 0;
}

/* Open one of its files (a descriptor, or -errno); fail with its name, or that of any file of the log; how large an
 * idx of n recs is. */
int segment_file(const struct segment *s, const char *suffix, int flags);
int segment_fail(const struct segment *s, const char *suffix, int r, struct evs_error *err);
int segment_fail_name(const char *name, int r, struct evs_error *err);
static inline uint64_t segment_idx_bytes(uint64_t n)
{
    return SEGMENT_HEADER_BYTES + n * sizeof(struct log_rec);
}

/* Make an empty one below dirfd (-1: in memory). Nothing is left behind by a failure, or *ret_left
 * says so. */
int segment_create(int dirfd, evs_seq first, struct segment_mark room, struct segment **ret,
                   bool *ret_left, struct evs_error *err);
/* Open what is there: lines are mapped, and recs where it is sealed; synced is what the header
 * says, 0 where there is no good one. Keeps no file open. */
int segment_open(int dirfd, evs_seq first, bool read_only, struct segment **ret,
                 struct evs_error *err);
/* The same for one that is compressed, which is sealed whatever its idx says: without a good header synced has
 * its bytes and no lines, and lost_idx is set. */
int segment_open_packed(int dirfd, evs_seq first, bool read_only, struct frame_cache *cache,
                        struct segment **ret, struct evs_error *err);
/* Of that one: count its lines by reading them. DAMAGED at the first that is none. */
int segment_count(struct segment *s, uint64_t *ret_n, struct evs_error *err);
/* Give it an idx of n records, to be put right, and a sealed header. Not read only. */
int segment_make_idx(struct segment *s, uint64_t n, struct evs_error *err);
/* 1 if the header of the idx says that lines are durable, 2 if it says sealed; 0 if not, or if there is no good
 * one. */
int segment_vouches(int dirfd, evs_seq first, struct evs_error *err);
/* Open the files for writing, made if need be. Not read only. Lines that another name shares (a hard link of a
 * backup) are copied to a file of their own first. */
int segment_open_files(struct segment *s, struct evs_error *err);
/* NULL and half-built are fine; neither syncs nor writes. */
void segment_close(struct segment *s);

/* Map lines with at least so much room, and recs; the files are open, or it is read only, and
 * nobody reads. The idx is cut or extended to n recs (a reader has them in memory then); what is
 * new in it is 0. */
int segment_map_lines(struct segment *s, uint64_t bytes, struct evs_error *err);
int segment_map_recs(struct segment *s, uint64_t n, uint64_t room, struct evs_error *err);
/* Hold n recs in own memory from now on, which a reader may then change. */
int segment_own_recs(struct segment *s, uint64_t n, struct evs_error *err);
/* While recovering: end at mark, all of it visible. */
void segment_set_end(struct segment *s, struct segment_mark mark);

/* Append behind tail, all or nothing. *ret_broken is set where the log may not go on after this
 * failure. */
int segment_append(struct segment *s, const char *lines, size_t n_bytes, struct log_rec *recs,
                   uint32_t n_lines, bool *ret_broken, struct evs_error *err) NEEDS_COMMIT;
/* Cut both files to the mark, which becomes tail. */
int segment_cut(struct segment *s, struct segment_mark to, struct evs_error *err) NEEDS_COMMIT;
void segment_show(struct segment *s) NEEDS_COMMIT; /* all that is appended is visible. Release */
struct segment_mark
segment_visible(const struct segment *s); /* acquire: pairs with segment_show() */

/* Make lines up to the mark durable; true in *ret_called if that took an fdatasync. DAMAGED if the
 * file was removed meanwhile. */
int segment_sync(struct segment *s, struct segment_mark to, bool *ret_called,
                 struct evs_error *err);
/* Store synced in the header, not durably. A full disk is no failure: the mark may be too low. */
int segment_note(struct segment *s, struct evs_error *err);
/* Recs on disk, then header and flags as well: sealed (closes the files), or clean. Lines are
 * synced. *ret_full (may be NULL) is set where a failure is that there is no room for the header, which may be
 * tried again: no sync has failed. */
int segment_sync_idx(struct segment *s, struct evs_error *err); /* only recs */
int segment_seal(struct segment *s, bool *ret_full, struct evs_error *err);
int segment_clean(struct segment *s, struct evs_error *err);
/* The header of an idx file that nobody has open: its mark, and sealed or not. Does not sync. 0 or a negative
 * errno. */
int segment_write_header(int idx_fd, evs_seq first, struct segment_mark mark, bool sealed);
/* If the file *fd, open for writing, has another name as well, *fd becomes a copy of it under the same name,
 * synced. 1 if so, else 0. */
int segment_unshare(int dirfd, evs_seq first, int *fd, struct evs_error *err);
/* Put recs [at, at + n), at + n <= tail.n, where they differ. Keeps the idx open until done. Of a sealed one the header on disk does not
 * say so from the first rec that differs until done has synced all of them, which nobody else would. */
int segment_fix(struct segment *s, uint64_t at, const struct log_rec *recs, size_t n,
                struct evs_error *err) NEEDS_COMMIT;
int segment_fix_done(struct segment *s, struct evs_error *err);

/* The reading end of a walk: lines of [pos, end), the next one being seq. */
struct segment_walk {
    const char *lines; /* from byte `base` on */
    uint64_t pos, end;
    evs_seq seq;
    uint32_t tx; /* of the line before */
    uint64_t base;
    struct clock_text near; /* of line_read() */
};
/* Up to cap lines. Their number, 0 at the end; -EBADMSG: a bad line at pos; -EIO: the disk gave no
 * page. */
int segment_batch(struct segment_walk *w, struct log_walked *out, size_t cap);
/* Of what is plain and not shorter than the mark that it has synced: 1 if the mark's last line ends there, and a
 * transaction with it; 0 if no whole line does; -EBADMSG if another; -EIO if the disk gives no page. */
int segment_check_mark(const struct segment *s);

#endif
