/* SPDX-License-Identifier: MIT */
/* postings: a set of events as the ascending list of their seqs, with running byte counts. A set is one
 * cache line; its list lives in it (the first 12 bytes) and in chunks. One writer, readers without a lock. */
#ifndef STORE_POSTINGS_H
#define STORE_POSTINGS_H

#include "log.h"
#include "table.h"

#define SET_INLINE 12

enum set_flags {
    SET_BELOW = 1, /* holds events from below as well: the entity's own are in `own` */
    SET_OWNED = 2, /* a directory with an owner of its own */
    SET_IS_TYPE = 4,
    SET_IS_PAIR = 8, /* events of one type of a large entity: bytes are those of data lines */
    SET_IS_OWN = 16, /* own events of a directory, after its parent's first `child` ones */
    SET_LEADS = 32,  /* a directory with an owner of its own lies below */
};

struct set {
    uint32_t name;          /* in names, / 4; of a pair: the type */
    _Atomic uint32_t n;     /* postings; stored last but for bytes */
    _Atomic uint32_t last;  /* seq of the newest, stored before n */
    _Atomic uint32_t tail;  /* newest chunk, / 64; 0: none */
    _Atomic uint64_t bytes; /* of all its lines, stored after n */
    uint8_t used;           /* bytes used in the newest chunk, or in first[] */
    uint8_t size;           /* class of the newest chunk */
    _Atomic uint8_t flags;  /* enum set_flags */
    _Atomic uint8_t marks;  /* enum evs_mark */
    uint32_t parent;        /* a set; 1 for what stands in entities/; of a type 0 */
    _Atomic uint32_t
        next; /* next sibling in order of appearance, the newest's is the oldest (a ring) */
    _Atomic uint32_t
        child; /* newest child; of an OWN set: how many of parent's postings are own too */
    _Atomic uint32_t own;   /* OWN set; of an OWN set, with pairs: the bytes of those postings */
    _Atomic uint32_t pairs; /* newest pair */
    uint32_t decided;       /* newest version, ahead of n within a commit; of a type: its number */
    uint8_t first[SET_INLINE];
};
static_assert(sizeof(struct set) == 64, "a set is a cache line, on disk as well");

struct chunk {
    _Atomic uint32_t next; /* / 64; 0: none yet */
    uint32_t prev, jump;   /* / 64; jump: skew-binary, O(log n) to any older one */
    uint32_t first;        /* seq of its first posting; the others are deltas in data */
    uint32_t ordinal;      /* postings of the set before it */
    uint32_t depth;        /* chunks before it */
    uint64_t bytes;        /* of the lines before it */
    uint8_t data[];
};
static_assert(sizeof(struct chunk) == 32, "chunk header is on disk");

struct arena {
    struct region chunks; /* units of 64 bytes; 0 is never given out */
    struct region sets;   /* 0 is none, 1 is the root */
    struct region names;  /* uint16 length, bytes; 4-aligned */
};

static inline struct set *arena_set(const struct arena *a, uint32_t id)
{
    return (struct set *)(void *)a->sets.base + id;
}

static inline uint32_t arena_new_set(struct arena *a) NEEDS_COMMIT;
static inline uint32_t arena_new_set(struct arena *a)
{
    size_t used = a->sets.used;

    __atomic_store_n(&a->sets.used, used + sizeof(struct set), __ATOMIC_RELEASE);
    return (uint32_t)(used / sizeof(struct set));
}

static inline struct slice arena_name(const struct arena *a, uint32_t at)
{
    const char *p = a->names.base + (size_t)at * 4;
    uint16_t n;

    memcpy(&n, p, sizeof n);
    return (struct slice){p + sizeof n, n};
}

static inline struct chunk *arena_chunk(const struct arena *a, uint32_t at)
{
    return (struct chunk *)(void *)(a->chunks.base + (size_t)at * 64);
}

/* Append seq, whose line has n_bytes. The arena has room (index_has_room()). */
void postings_add(struct arena *a, struct set *s, uint32_t seq, uint32_t n_bytes) NEEDS_COMMIT;

static inline void postings_prefetch(const struct arena *a, const struct set *s)
{
    uint32_t tail = atomic_load_explicit(&s->tail, memory_order_relaxed);

    if (tail)
        __builtin_prefetch(arena_chunk(a, tail)->data + s->used, 1);
}

/* Lengths of lines by seq, from the idx; remembers the segment. data: the length of the data line. All is read
 * inside io_guarded(), which a rec that can't be had makes fail (io_guard_fail()). */
struct lengths {
    const struct log *lg;
    struct log_span span;
    bool data;
    bool
        nameless; /* recs may lack the index's numbers, as a backup's do: only lengths are asked for */
    evs_seq seq;           /* of rec; 0: none yet */
    struct log_rec rec;    /* checked */
    struct evs_error *err; /* borrowed: to say why one can't be had; may be NULL */
};
const struct log_rec *lengths_load(struct lengths *l, uint32_t seq);
/* Until the next one. */
static inline const struct log_rec *lengths_rec(struct lengths *l, uint32_t seq)
{
    return l->seq == seq ? &l->rec : lengths_load(l, seq);
}
/* A data line is the line without what stands before data and without the closing brace. */
static inline uint32_t lengths_in(const struct lengths *l, const struct log_rec *r)
{
    return l->data ? r->len - log_rec_data(r) - 1 : r->len;
}
static inline uint32_t lengths_of(struct lengths *l, uint32_t seq)
{
    return lengths_in(l, lengths_rec(l, seq));
}

/* A place in a set's list. Valid while ordinal < limit. */
struct posting {
    uint32_t seq, ordinal, limit;
    uint64_t bytes;     /* of the set's lines before it */
    uint32_t chunk_end; /* ordinal at which the next chunk begins */
    uint32_t next;      /* that chunk */
    const uint8_t *p;   /* the next delta */
};

/* A set as it is at seq `end` (log_end()): how many postings, and their bytes. */
struct postings_cut {
    uint32_t n, last; /* last: seq of the newest of the n */
    uint64_t bytes;
};
void postings_at(const struct arena *a, const struct set *s, evs_seq end, struct lengths *len,
                 struct postings_cut *ret);

/* The posting in which byte `pos` of the set's lines lies (ordinal == limit if it is behind the first
 * `limit` postings). */
void postings_seek_byte(const struct arena *a, const struct set *s, uint32_t limit, uint64_t pos,
                        struct lengths *len, struct posting *ret);
/* The first posting with seq > after. */
void postings_seek_seq(const struct arena *a, const struct set *s, uint32_t limit, evs_seq after,
                       struct lengths *len, struct posting *ret);
static inline uint32_t postings_varint(const uint8_t **p)
{
    const uint8_t *at = *p;
    uint32_t v = *at++, b;

    if (v >= 0x80) {
        v &= 0x7f;
        for (int shift = 7; shift < 35; shift += 7) {
            b = *at++;
            v |= (b & 0x7f) << shift;
            if (b < 0x80)
                break;
        }
    }
    *p = at;
    return v;
}

/* To the first posting of a chunk, but for ordinal and bytes. */
void postings_enter(const struct arena *a, struct posting *it, uint32_t at);
/* The next one; bytes grows by n_bytes, the length of the present one. */
static inline void postings_next(const struct arena *a, struct posting *it, uint32_t n_bytes)
{
    it->bytes += n_bytes;
    it->ordinal++;
    if (it->ordinal >= it->limit)
        return;
    if (UNLIKELY(it->ordinal == it->chunk_end))
        postings_enter(a, it, it->next);
    else
        it->seq += postings_varint(&it->p);
}

/* Postings are scattered over the log, so that each costs a miss of the cache: of a run of them all at once. */
#define POSTINGS_RUN 32u
struct postings_run {
    uint32_t n, seq[POSTINGS_RUN];
    struct posting behind; /* its bytes are not kept up */
};
/* Up to `most` postings from a valid place on, their recs on the way into the cache. Reads one of them. */
void postings_look(const struct arena *a, const struct posting *from, uint32_t most,
                   struct lengths *len, struct postings_run *ret);

/* Invariants: order, ordinals, byte counts against the idx. 0 or -EBADMSG. */
int postings_check(const struct arena *a, const struct set *s, struct lengths *len);

#endif
