/* SPDX-License-Identifier: MIT */
/* log: the lines of a store, in segments, and the idx: a fixed-size record for each line. Appends
 * whole batches, rolls, syncs, recovers. Knows lines (line.h) but neither names nor index. In
 * memory (":memory:") the same functions work on anonymous memory.
 *
 * docs/format.md, "Segments" has the bytes. Roughly: log/FIRSTSEQ(20 digits).jsonl holds lines
 * only; FIRSTSEQ.idx holds a header of 4096 bytes (magic, format version, first seq, durable end,
 * flags sealed and clean, the sealed size, a CRC over these) and then one struct log_rec a line. */
#ifndef STORE_LOG_H
#define STORE_LOG_H

#include "crc.h"
#include "error.h"
#include "line.h"
#include "lock.h"
#include "util.h"

#include <stdatomic.h>

struct log;
struct segment;

/* On disk and in memory, little endian. */
struct log_rec {
    uint64_t place; /* low 40 bits: the line's offset in its segment; high 24: of data in it */
    int64_t recorded_us;
    uint32_t len; /* of the line, LF included */
    uint32_t
        check; /* CRC32C of the rec with seq in this place: the log puts it, and nothing believes a rec without */
    uint32_t entity; /* index's number of the entity */
    uint32_t type;   /* index's number of the type */
};
static_assert(sizeof(struct log_rec) == 32, "idx records are on disk");

static inline uint64_t log_rec_offset(const struct log_rec *r)
{
    return r->place & ((1ull << 40) - 1);
}
static inline uint32_t log_rec_data(const struct log_rec *r)
{
    return (uint32_t)(r->place >> 40);
}
static inline uint64_t log_place(uint64_t offset, uint32_t data)
{
    return offset | (uint64_t)data << 40;
}

static inline uint32_t log_rec_check(const struct log_rec *r, evs_seq seq)
{
    return crc32c_words(r->place, (uint64_t)r->recorded_us, r->len | seq << 32,
                        r->entity | (uint64_t)r->type << 32);
}
/* May it be believed? Not before it has the index's numbers: who copies lines puts 0. */
static inline bool log_rec_ok(const struct log_rec *r, evs_seq seq)
{
    return LIKELY(r->check == log_rec_check(r, seq) && r->entity != 0);
}

struct log_options {
    uint64_t
        segment_bytes; /* within LIMIT_SEGMENT_BYTES_MIN..MAX; the caller has put the default in */
    bool memory;       /* dirfd is -1; nothing touches a disk */
    bool read_only;    /* changes no byte: what follows the last whole line is only ignored */
};

/* Open the log below dirfd (borrowed for the log's life; the directory "log" is made if need be).
 * Finds the end: reads and checks the lines behind the durable end of the first unsealed segment;
 * cuts a torn tail and an unfinished transaction; after an end that was not clean copies what lies
 * behind the durable end into a new segment, synced. Afterwards end, durable and published are the
 * same. DAMAGED: segment and byte. */
int log_open(int dirfd, const struct log_options *o, struct log **ret, struct evs_error *err);

/* Clean end: everything synced, headers say clean. Frees, also on failure. NULL is fine. */
int log_close(struct log *lg, struct evs_error *err);
/* Free without a clean end: no write, no sync (after an I/O error; in tests, a crash). */
void log_abandon(struct log *lg);

/* The same for a log that an error has made read-only: if an append could not be cut back, it is tried again, so
 * that what was refused is not there after the next open. */
void log_give_up(struct log *lg);

/* ---- appending: under the commit lock ---- */

/* Make room for n_lines lines of n_bytes together in one segment: rolls to a new one if they do not
 * fit (a batch larger than a segment gets one of its own). Call once before log_append of a batch,
 * when all appended before is published or cut: a roll ends what log_cut() could take back. On
 * failure nothing has changed, but for READ_ONLY where a sync failed. */
int log_reserve(struct log *lg, size_t n_bytes, uint32_t n_lines, struct evs_error *err)
    NEEDS_COMMIT;
/* Where the next line will begin: recs' offsets count from here. */
uint64_t log_tail(const struct log *lg) NEEDS_COMMIT;
/* Of a log in memory: where lines may be written that log_append() then need not copy, n_bytes from the tail on. NULL:
 * elsewhere. Until they are appended nobody sees them. */
char *log_room(struct log *lg, uint64_t n_bytes) NEEDS_COMMIT;
/* Of a log in memory, without the lock, once after a commit: the kernel makes the pages for what comes next, and zeroes
 * them, so that nobody waits for that under the lock. Any thread. */
void log_make_ready(const struct log *lg);
/* Append n_lines lines (n_bytes, each with its LF) and their recs (whose check it puts), all or nothing: on failure both
 * files are cut back; DISK_FULL leaves the log usable, any other failure makes it read-only. Not
 * yet visible. With several pieces of one transaction, log_cut() takes back earlier pieces. */
int log_append(struct log *lg, const char *lines, size_t n_bytes, struct log_rec *recs,
               uint32_t n_lines, struct evs_error *err) NEEDS_COMMIT;
/* Take back everything appended since the last log_publish(). */
int log_cut(struct log *lg, struct evs_error *err) NEEDS_COMMIT;
/* Make all that was appended visible to readers: log_end() grows. Release. */
void log_publish(struct log *lg) NEEDS_COMMIT;
/* While recovering, before other threads read: put recs of n neighbours in one segment, from seq on, where they differ
 * from what the idx has; the next log_rec() sees them. Their check is put as well. Done makes what was put durable where no later sync would; without it, after
 * a failure or a death, the next open does so. log_close() calls it as well. */
int log_fix_recs(struct log *lg, evs_seq seq, struct log_rec *recs, size_t n, struct evs_error *err)
    NEEDS_COMMIT;
int log_fix_done(struct log *lg, struct evs_error *err) NEEDS_COMMIT;

/* ---- any thread, no lock ---- */

evs_seq log_end(const struct log *lg); /* newest visible event. Acquire: pairs with log_publish() */
evs_seq log_durable(const struct log *lg); /* newest durable one */
uint64_t log_bytes(const struct log *lg);  /* of all visible lines */
bool log_read_only(const struct log *lg);
/* Damage was found, or a call failed for good: why is kept for log_trouble(), the first one for ever. */
void log_set_read_only(struct log *lg, const struct evs_error *why);
/* Why it is read-only. False, *ret untouched: it is not, or it was opened so. Whoever sees log_read_only() sees
 * why as well. */
bool log_trouble(struct log *lg, struct evs_error *ret);
uint64_t log_segments(const struct log *lg);
/* Last event of the sealed segments, which never change; 0: none. */
evs_seq log_sealed_end(const struct log *lg);
/* Up to this event the idx files had recs when the log was opened: what a checkpoint that reaches further
 * counts on is lost. */
evs_seq log_recs_end(const struct log *lg);
/* What was cut off the end at an open, now or earlier, is kept in log/SEQ.cut (aside.c); 0: there is none. */
evs_seq log_cut_kept(const struct log *lg);

/* The rec of a line, 1 <= seq <= log_end(), as it stands in the idx; lives as long as the log (mapped: read it
 * inside io_guarded()). For who compares: nothing vouches for it. */
const struct log_rec *log_rec(const struct log *lg, evs_seq seq);

/* ---- recs that can be believed ----
 * A rec whose check is wrong is put right from the lines, in the idx as well: the line is looked for where its
 * neighbours say, then in its whole segment. Only where there is no such line that is whole it fails: DAMAGED,
 * with segment, byte and event; then the log is read-only from now on. */

/* -ENOENT where there is no such event, -EIO where its page can't be read. */
int log_rec_get(const struct log *lg, evs_seq seq, struct log_rec *ret, struct evs_error *err);
/* The slow half of the above, and of log_span_rec(). */
int log_mend(const struct log *lg, evs_seq seq, struct log_rec *ret, struct evs_error *err);

/* The numbers of the names of a line, which are the index's; 0 where it knows none: the rec is then not written.
 * Set before other threads read. */
typedef void log_names_fn(const void *arg, const struct line *l, uint32_t *ret_entity,
                          uint32_t *ret_type);
void log_set_names(struct log *lg, log_names_fn *fn, const void *arg);
/* How many recs were put right since the log was opened, and the first of them. */
uint64_t log_mended(const struct log *lg, evs_seq *ret_first);

/* For runs of neighbours: the segment that holds seq, as plain arrays. */
struct log_span {
    evs_seq first, end;         /* seqs in [first, end), clamped to log_end() */
    const struct log_rec *recs; /* recs[seq - first] */
    const char *lines;       /* + log_rec_offset(); read them between log_pin() and log_unpin() */
    uint64_t bytes;          /* of lines, visible */
    uint64_t before;         /* bytes of all segments before this one */
    struct segment *segment; /* for log_pin() */
};
/* 0; -ENOENT where seq is 0 or beyond log_end(). */
int log_span(const struct log *lg, evs_seq seq, struct log_span *ret);
/* The rec of a line in the span as it stands there, copied: nothing vouches for it. Inside io_guarded(). */
static inline void log_span_peek(const struct log_span *span, evs_seq seq, struct log_rec *ret)
{
    const uint64_t *from = (const uint64_t *)(const void *)&span->recs[seq - span->first];
    char *to = (char *)ret;

    /* One that is just being put right is torn, which its check tells. Words are stored where they are loaded as words
     * again: of an array, copied in vectors, that would wait for the stores. */
    const uint64_t a = __atomic_load_n(&from[0], __ATOMIC_RELAXED),
                   b = __atomic_load_n(&from[1], __ATOMIC_RELAXED),
                   c = __atomic_load_n(&from[2], __ATOMIC_RELAXED),
                   d = __atomic_load_n(&from[3], __ATOMIC_RELAXED);
    memcpy(to, &a, sizeof a);
    memcpy(to + 8, &b, sizeof b);
    memcpy(to + 16, &c, sizeof c);
    memcpy(to + 24, &d, sizeof d);
}
/* The same, checked, or put right. */
static inline int log_span_rec(const struct log *lg, const struct log_span *span, evs_seq seq,
                               struct log_rec *ret, struct evs_error *err)
{
    log_span_peek(span, seq, ret);
    return log_rec_ok(ret, seq) ? 0 : log_mend(lg, seq, ret, err);
}
/* Is the segment that holds seq sealed: will its file never change again? Of a log opened read-only. */
bool log_sealed(const struct log *lg, evs_seq seq);
/* The segment that holds byte pos of all lines joined. -ENOENT beyond the end. */
int log_span_at(const struct log *lg, uint64_t pos, struct log_span *ret);

/* ---- bytes of lines ----
 * A sealed segment may be compressed at any time, so that its lines stand in no memory: what is read must be
 * pinned. A pin is held for as long as it takes to look, not while nothing happens: it keeps memory. Pinned
 * bytes are still mapped: read them inside io_guarded(); the pin itself outlives a jump out of it, so it
 * stands outside of the function that is guarded. One thread at a time uses a pin. */
struct log_pin {
    struct segment *s; /* NULL: holds nothing, as {0} */
    uint64_t from, to; /* what may be read, of its bytes: perhaps more than was asked for */
};

/* -EIO (SYSTEM; DAMAGED with segment and byte) where they can't be had; p is as it was then. */
int log_pin_bytes(const struct log_span *span, uint64_t from, uint64_t to, struct log_pin *p,
                  struct evs_error *err);
void log_unpin(struct log_pin *p); /* {0} is fine */

/* Make bytes [from, to) of the span's segment, from <= to <= span->bytes, readable at span->lines until
 * p is unpinned, or pins something else: then what it held before is let go. Costs a comparison where p
 * holds them already. */
static inline int log_pin(const struct log_span *span, uint64_t from, uint64_t to,
                          struct log_pin *p, struct evs_error *err)
{
    return LIKELY(p->s == span->segment && from >= p->from && to <= p->to)
               ? 0
               : log_pin_bytes(span, from, to, p, err);
}

/* The bytes of a line by its rec, pinned, 1 <= seq <= log_end(). Offset and length are clamped to the segment:
 * a damaged idx gives other bytes, never an address outside. Reads the rec: inside io_guarded(). */
int log_line(const struct log *lg, evs_seq seq, struct log_pin *p, struct slice *ret,
             struct evs_error *err);

/* A failure of pinning bytes of seq's line: if it is damage it says so, and of which event. Returns r. */
int log_pin_failed(evs_seq seq, int r, struct evs_error *err);
/* The last event with bytes in the frame at byte `at` of the file of seq's segment; seq if that is not packed. */
evs_seq log_frame_last(const struct log *lg, evs_seq seq, uint64_t at);

/* pread(2) of all lines joined: up to n bytes from pos, less only at the end. Plain bytes in whatever form they
 * are kept, and not checked. Byte b of the segment that holds seq is at log_span()'s before + b. */
ssize_t log_read(const struct log *lg, uint64_t pos, void *buf, size_t n, struct evs_error *err);

/* "log/00000000000000000001.jsonl" of the segment that holds seq, for messages. */
void log_segment_name(const struct log *lg, evs_seq seq, char *buf, size_t n);

/* For replay: lines as they stand in the log, taken apart, without trusting the idx. The slices
 * live for the call that is given them; reading them is reading mapped bytes (io_guarded()). */
struct log_walked {
    struct line line;   /* of line_parse(): CRC checked, names raw */
    struct slice raw;   /* with its LF */
    uint64_t offset;    /* in its segment: log_place(offset, data) */
    uint32_t data, crc; /* as in struct log_rec */
};
/* A run of 1 to LOG_WALK_LINES neighbours in one segment. Not 0 ends the walk and is its result.
 * Called outside of io_guarded(). */
#define LOG_WALK_LINES 128
typedef int log_walk_fn(void *arg, const struct log_walked *lines, size_t n);
/* Call fn for all lines with from <= seq <= log_end(), in order. Begins at from's place if its rec
 * proves right (the line there checks and is from), else looks for it from its segment's start.
 * DAMAGED with segment and byte at the first bad line, or one out of order; what fn was given
 * before stays given. */
int log_walk(const struct log *lg, evs_seq from, log_walk_fn *fn, void *arg, struct evs_error *err);

/* ---- compressing what is sealed ----
 * One thread packs; one, perhaps another, lets readers go over to what was packed. Neither is waited for by
 * anybody who reads or appends. */

/* Is there anything for log_pack() to do? Any thread. */
bool log_pack_due(const struct log *lg);
/* Compress one sealed segment, or remove the plain file of one that readers have gone over from. Ends with
 * -ECANCELED within a frame or so of *stop. 1: go on; 0: nothing to do. DISK_FULL: try later; after any other
 * failure that segment is let be until the log is opened anew. Nothing of the log is lost in any case. */
int log_pack(struct log *lg, int level, const _Atomic bool *stop, struct evs_error *err);
/* Readers go over to what is packed, where none is looking. Takes microseconds. */
void log_pack_switch(struct log *lg);

struct log_packed {
    uint64_t segments;   /* that are compressed */
    uint64_t disk_bytes; /* of lines of all segments, in the form that they are in */
    uint64_t memory;     /* what is decompressed of them */
};
void log_pack_stats(const struct log *lg, struct log_packed *ret);

/* Wait until all events up to seq are durable; whoever waits shares one fdatasync. Syncs the
 * directory first where a segment is new; stores the durable end in the idx header afterwards (not
 * synced); seals what was rolled away from. An error makes the log read-only for good. */
int log_sync(struct log *lg, evs_seq seq, struct evs_error *err);
/* One more waits until seq, which is visible, is durable, in whose name another thread calls log_sync(): nobody need wait
 * for it longer. False: it is, there is nothing to wait for. */
bool log_sync_join(struct log *lg, evs_seq seq);
/* Make the recs of all durable events durable as well, which log_sync() doesn't: before a
 * checkpoint counts, as after it nobody looks at these lines to fix their recs. Not under the
 * commit lock. */
int log_sync_idx(struct log *lg, struct evs_error *err);
uint64_t log_sync_count(const struct log *lg); /* fdatasyncs of segments since open */

/* The invariants of the log and its newest segment. Returns the number of findings; report may be NULL. */
int log_check(const struct log *lg, evs_report_fn *report, void *arg) NEEDS_COMMIT;

#ifdef EVFS_CHECKS
#define LOG_CHECKED(lg) assert(log_check(lg, NULL, NULL) == 0)
#else
#define LOG_CHECKED(lg) ((void)(lg))
#endif

#endif
