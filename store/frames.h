/* SPDX-License-Identifier: MIT */
/* frames: a file of independent zstd frames with a table of them at its end (the seekable format of zstd), and
 * the memory into which frames are decompressed when somebody looks at them. Knows neither lines nor segments.
 * docs/format.md, "Compressed segments". */
#ifndef STORE_FRAMES_H
#define STORE_FRAMES_H

#include "error.h"
#include "util.h"

#include <stdatomic.h>

/* The seekable format. Numbers are u32, little endian. */
#define FRAMES_SKIP_MAGIC                                                                          \
    0x184d2a5eu /* then the bytes that follow: of entries (two numbers) and footer */
#define FRAMES_SKIP_BYTES   8u
#define FRAMES_SEEK_MAGIC   0x8f92eab1u /* the last number of the footer */
#define FRAMES_FOOTER_BYTES 9u

/* Plain bytes of a frame that we write; the last has fewer. */
#define FRAME_BYTES ((size_t)64 << 10)

/* What is decompressed of all files together: up to limit bytes, and more only while more is pinned. */
struct frame_cache;
int frame_cache_new(uint64_t limit, struct frame_cache **ret, struct evs_error *err);
void frame_cache_free(struct frame_cache *c); /* all files are closed; NULL is fine */
uint64_t frame_cache_bytes(struct frame_cache *c);
uint64_t frame_cache_loads(struct frame_cache *c); /* frames that were decompressed so far */

/* One file. Its name is kept for messages. The table is believed only if it fills the file to the byte: else
 * DAMAGED. Frames are checked when they are read. */
struct frames;
int frames_open(int dirfd, const char *name, struct frame_cache *c, struct frames **ret,
                struct evs_error *err);
void frames_close(struct frames *f);            /* nothing is pinned; NULL is fine */
uint64_t frames_plain(const struct frames *f);  /* bytes, decompressed */
uint64_t frames_packed(const struct frames *f); /* of the file */

/* Where the plain bytes appear: room for frames_plain() of them (io_map_reserved()), borrowed until it is closed.
 * Before anything is pinned. */
void frames_place(struct frames *f, char *at);

/* Make plain bytes [from, to) readable at their place until they are unpinned by a call with the same range. Any
 * thread; waits for a disk, and for another thread that decompresses the same frame. DAMAGED names the file and
 * its byte; then nothing is pinned. */
int frames_pin(struct frames *f, uint64_t from, uint64_t to, struct evs_error *err);
void frames_unpin(struct frames *f, uint64_t from, uint64_t to);
/* [*from, *to) grows to whole frames: what a pin of it covers. */
void frames_round(const struct frames *f, uint64_t *from, uint64_t *to);

/* Where the plain bytes of the frame end that stands at this byte of the file. 0: none does. */
uint64_t frames_plain_end(const struct frames *f, uint64_t at);

/* Write n bytes, mapped, as frames and table to fd from its start; synced. -ECANCELED when *stop is set, within a
 * frame or so. */
struct frames_job {
    const char *plain;
    uint64_t n;
    int level;
    const _Atomic bool *stop; /* NULL: never */
};
static inline bool frames_stopped(const struct frames_job *j)
{
    return j->stop && atomic_load_explicit(j->stop, memory_order_relaxed);
}
int frames_write(const struct frames_job *j, int fd, struct evs_error *err);
/* Does the file give these bytes? NULL: are its frames whole? 0, DAMAGED, -ECANCELED. */
int frames_compare(struct frames *f, const struct frames_job *j, struct evs_error *err);

#endif
