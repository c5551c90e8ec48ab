/* SPDX-License-Identifier: MIT */
/* postings: lists of seqs in one cache line and in chunks of 64, 128 and 256 bytes.
 * (1) A list is: first[] (deltas as LEB128, the first from 0), then chunks; a chunk's first seq stands in
 *     its header, the others are deltas in data. A chunk ends where the next one's ordinal begins.
 * (2) Bytes and chunk headers below the n postings never change but for next, which is set once.
 * (3) The writer stores: postings' bytes and chunk links, last, n (release), bytes (release). So who has
 *     loaded n (acquire) may decode n postings; and if last, loaded after n and bytes, is not beyond
 *     log_end(), loaded before them, n and bytes belong together: nothing has been added since, as events
 *     up to log_end() were added before it was published.
 * (4) jump makes a skew-binary list (Myers, 1983): any older chunk in O(log n) steps. */
#include "postings.h"
#include "io.h"

#include <errno.h>

#define CHUNK_CLASSES 3
static const uint16_t chunk_room[CHUNK_CLASSES] = {32, 96, 224};

#define LOAD(x)         atomic_load_explicit(&(x), memory_order_relaxed)
#define LOAD_ACQ(x)     atomic_load_explicit(&(x), memory_order_acquire)
#define STORE(x, v)     atomic_store_explicit(&(x), (v), memory_order_relaxed)
#define STORE_REL(x, v) atomic_store_explicit(&(x), (v), memory_order_release)

static inline uint32_t varint_size(uint32_t v)
{
    return v < 1u << 7 ? 1 : v < 1u << 14 ? 2 : v < 1u << 21 ? 3 : v < 1u << 28 ? 4 : 5;
}

static inline void varint_put(uint8_t *p, uint32_t v)
{
    for (; v >= 0x80; v >>= 7)
        *p++ = (uint8_t)(v | 0x80);
    *p = (uint8_t)v;
}

static struct chunk *add_chunk(struct arena *a, struct set *s, uint32_t seq, uint32_t n)
{
    uint32_t tail = LOAD(s->tail);
    uint8_t size = !tail ? 0 : (uint8_t)MIN(s->size + 1, CHUNK_CLASSES - 1);
    uint32_t at = (uint32_t)(a->chunks.used / 64);
    struct chunk *c = arena_chunk(a, at);

    a->chunks.used += sizeof *c + chunk_room[size];
    *c = (struct chunk){.prev = tail, .first = seq, .ordinal = n, .bytes = LOAD(s->bytes)};
    if (tail) {
        const struct chunk *p = arena_chunk(a, tail);
        const struct chunk *j = arena_chunk(a, p->jump),
                           *jj = p->jump ? arena_chunk(a, j->jump) : NULL;
        c->depth = p->depth + 1;
        c->jump =
            p->jump && j->jump && p->depth - j->depth == j->depth - jj->depth ? j->jump : tail;
        STORE_REL(arena_chunk(a, tail)->next, at); /* pairs with postings_enter() */
    }
    s->size = size;
    s->used = 0;
    STORE_REL(s->tail, at); /* pairs with find_chunk() */
    return c;
}

void postings_add(struct arena *a, struct set *s, uint32_t seq, uint32_t n_bytes)
{
    uint32_t n = LOAD(s->n), tail = LOAD(s->tail), delta = seq - LOAD(s->last);
    uint32_t need = varint_size(delta), room = tail ? chunk_room[s->size] : SET_INLINE;

    if (UNLIKELY(s->used + need > room)) {
        (void)add_chunk(a, s, seq, n);
    } else {
        varint_put((tail ? arena_chunk(a, tail)->data : s->first) + s->used, delta);
        s->used = (uint8_t)(s->used + need);
    }
    STORE(s->last, seq);
    STORE_REL(s->n, n + 1);
    STORE_REL(s->bytes, LOAD(s->bytes) + n_bytes);
}

static bool is_whole(const struct lengths *l, uint32_t seq)
{
    const struct log_rec *r = &l->span.recs[seq - l->span.first];

    return r->check == log_rec_check(r, seq);
}

const struct log_rec *lengths_load(struct lengths *l, uint32_t seq)
{
    l->seq = seq;
    if (UNLIKELY(seq < l->span.first || seq >= l->span.end) && log_span(l->lg, seq, &l->span) < 0) {
        l->rec = (struct log_rec){.len = 1}; /* a damaged index. The check of the line finds it */
    } else if (UNLIKELY(l->nameless) && is_whole(l, seq)) {
        l->rec = l->span.recs[seq - l->span.first];
    } else if (UNLIKELY(log_span_rec(l->lg, &l->span, seq, &l->rec, l->err) < 0)) {
        l->seq = 0;
        io_guard_fail();
        l->rec = (struct log_rec){.len = 1}; /* nothing is guarded: who checks a whole index */
    }
    return &l->rec;
}

void postings_enter(const struct arena *a, struct posting *it, uint32_t at)
{
    const struct chunk *c = arena_chunk(a, at);

    it->seq = c->first;
    it->p = c->data;
    it->next = LOAD_ACQ(c->next);
    it->chunk_end = it->next ? arena_chunk(a, it->next)->ordinal : UINT32_MAX;
}

enum chunk_key { BY_BYTE, BY_SEQ, BY_DEPTH };

static inline uint64_t key_of(const struct chunk *c, enum chunk_key key)
{
    return key == BY_BYTE ? c->bytes : key == BY_SEQ ? c->first : c->depth;
}

/* Does it lie behind what is looked for, or behind the first `limit` postings? */
static inline bool is_beyond(const struct arena *a, uint32_t at, enum chunk_key key, uint64_t want,
                             uint32_t limit)
{
    const struct chunk *c = arena_chunk(a, at);

    return key_of(c, key) > want || c->ordinal >= limit;
}

/* The newest chunk that begins within the first `limit` postings and whose key is not above want; 0 if
 * there is none. */
static uint32_t find_chunk(const struct arena *a, const struct set *s, enum chunk_key key,
                           uint64_t want, uint32_t limit)
{
    uint32_t at = LOAD_ACQ(s->tail);

    while (at && is_beyond(a, at, key, want, limit)) {
        const struct chunk *c = arena_chunk(a, at);
        at = c->jump && is_beyond(a, c->jump, key, want, limit) ? c->jump : c->prev;
    }
    return at;
}

static void start_at(const struct arena *a, const struct set *s, uint32_t limit, uint32_t at,
                     struct posting *ret)
{
    *ret = (struct posting){.limit = limit};
    if (at) {
        ret->ordinal = arena_chunk(a, at)->ordinal;
        ret->bytes = arena_chunk(a, at)->bytes;
        postings_enter(a, ret, at);
        return;
    }
    ret->p = s->first;
    ret->chunk_end = UINT32_MAX;
    if (limit > 0)
        ret->seq = postings_varint(&ret->p);
    ret->next = find_chunk(a, s, BY_DEPTH, 0, UINT32_MAX);
    if (ret->next)
        ret->chunk_end = arena_chunk(a, ret->next)->ordinal;
}

void postings_look(const struct arena *a, const struct posting *from, uint32_t most,
                   struct lengths *len, struct postings_run *ret)
{
    (void)lengths_rec(len, from->seq); /* its span */
    const struct log_span s = len->span;
    struct posting it = *from;
    uint32_t n = 0;
    while (n < most && it.ordinal < it.limit) {
        if (LIKELY(it.seq - s.first < s.end - s.first)) /* seqs below first wrap */
            __builtin_prefetch(&s.recs[it.seq - s.first]);
        ret->seq[n++] = it.seq;
        postings_next(a, &it, 0);
    }
    ret->n = n;
    ret->behind = it;
}

void postings_seek_byte(const struct arena *a, const struct set *s, uint32_t limit, uint64_t pos,
                        struct lengths *len, struct posting *ret)
{
    struct postings_run run;
    uint32_t looked = 0;

    start_at(a, s, limit, find_chunk(a, s, BY_BYTE, pos, limit), ret);
    while (ret->ordinal < limit) {
        if (ret->ordinal >= looked) {
            postings_look(a, ret, POSTINGS_RUN, len, &run);
            looked = run.behind.ordinal;
        }
        uint32_t n = lengths_of(len, ret->seq);
        if (ret->bytes + n > pos)
            return;
        postings_next(a, ret, n);
    }
}

void postings_seek_seq(const struct arena *a, const struct set *s, uint32_t limit, evs_seq after,
                       struct lengths *len, struct posting *ret)
{
    start_at(a, s, limit, find_chunk(a, s, BY_SEQ, after, limit), ret);
    while (ret->ordinal < limit && ret->seq <= after)
        postings_next(a, ret, lengths_of(len, ret->seq));
}

void postings_at(const struct arena *a, const struct set *s, evs_seq end, struct lengths *len,
                 struct postings_cut *ret)
{
    uint64_t bytes = LOAD_ACQ(s->bytes);
    uint32_t n = LOAD_ACQ(s->n), last = LOAD_ACQ(s->last);
    struct posting it;

    if (last <= end) { /* see (3) */
        *ret = (struct postings_cut){.n = n, .last = last, .bytes = bytes};
        return;
    }
    start_at(a, s, n, find_chunk(a, s, BY_SEQ, end, n), &it);
    *ret = (struct postings_cut){0};
    while (it.ordinal < n && it.seq <= end) {
        ret->last = it.seq;
        postings_next(a, &it, lengths_of(len, it.seq));
    }
    ret->n = it.ordinal;
    ret->bytes = it.bytes;
}

int postings_check(const struct arena *a, const struct set *s, struct lengths *len)
{
    struct posting it;
    uint32_t n = LOAD_ACQ(s->n), before = 0;
    const uint32_t max = (uint32_t)(a->chunks.used / 64);

    if (LOAD(s->tail) >= MAX(max, 1u))
        return -EBADMSG;
    start_at(a, s, n, 0, &it);
    while (it.ordinal < n) {
        if (it.seq <= before || it.seq > log_end(len->lg) || it.next >= MAX(max, 1u))
            return -EBADMSG;
        before = it.seq;
        postings_next(a, &it, lengths_of(len, it.seq));
    }
    return before == LOAD(s->last) && it.bytes == LOAD(s->bytes) ? 0 : -EBADMSG;
}
