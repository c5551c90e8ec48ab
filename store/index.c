/* SPDX-License-Identifier: MIT */
/* index: names and sets. Everything is a set in one array, numbered in order of first appearance:
 * (1) Set 1 is the root. It has children and marks but no postings: its events are the whole log.
 * (2) An entity's set holds the events at or below it. While nothing is below (no SET_BELOW) these are its
 *     own. With SET_BELOW its own are: the first `child` postings of it, then those of the set `own`; or
 *     none, where own is 0. So an entity that becomes a directory copies nothing.
 * (3) An entity with more than INDEX_LARGE own events has a set for each type of them (a pair), in a list
 *     from `pairs`, newest first. pairs is stored when all of them are complete.
 * (4) A name is found by the hash of the whole id and verified component by component up to the root.
 * (5) Children form a ring in order of appearance, which is that of their numbers: child is the newest, its
 *     next the oldest.
 * (6) decided of an entity is the number of its own events, those of a commit in progress included. */
#include "index.h"
#include "io.h"
#include "limits.h"
#include "name.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>

#define LOAD(x)         atomic_load_explicit(&(x), memory_order_relaxed)
#define LOAD_ACQ(x)     atomic_load_explicit(&(x), memory_order_acquire)
#define STORE(x, v)     atomic_store_explicit(&(x), (v), memory_order_relaxed)
#define STORE_REL(x, v) atomic_store_explicit(&(x), (v), memory_order_release)

enum { SEED_ENTITY, SEED_TYPE, SEED_PAIR, SEED_ID };

/* Sets that one event may make: each component with an own set, its type, a pair, a few to spare. */
#define SETS_AN_EVENT (2 * LIMIT_COMPONENTS + 6)
#define GIB           ((size_t)1 << 30)
#define PREFETCH_RUN  128 /* look-ups that wait for memory together */

uint64_t index_entity_hash(struct slice id)
{
    return name_hash(id.p, id.n, SEED_ENTITY);
}

uint64_t index_type_hash(struct slice type)
{
    return name_hash(type.p, type.n, SEED_TYPE);
}

uint64_t index_id_hash(entity_id e, struct slice id)
{
    return name_hash(id.p, id.n, SEED_ID + ((uint64_t)e << 8));
}

static uint64_t pair_hash(entity_id e, type_id t)
{
    uint32_t key[2] = {e, t};

    return name_hash((const char *)key, sizeof key, SEED_PAIR);
}

int index_new(struct index **ret, struct evs_error *err)
{
    struct index *ix = calloc(1, sizeof *ix);
    int r;

    if (!ix)
        return evs_fail(err, EVS_NO_MEMORY, EVS_NOWHERE);
    if ((r = region_init(&ix->a.names, 4 * GIB, err)) < 0 ||
        (r = region_init(&ix->a.sets, 16 * GIB, err)) < 0 ||
        (r = region_init(&ix->a.chunks, 64 * GIB, err)) < 0 ||
        (r = region_init(&ix->types, (LIMIT_TYPES + 1) * sizeof(uint32_t), err)) < 0 ||
        (r = table_init(&ix->names, 8 * GIB, err)) < 0 ||
        (r = table_init(&ix->ids, 32 * GIB, err)) < 0 || (r = stage_init(&ix->staged, err)) < 0 ||
        (r = stage_init(&ix->staged_ids, err)) < 0) {
        index_free(ix);
        return r;
    }
    ix->a.names.used = 4; /* an empty name for the root; 0 is none */
    ix->a.sets.used = 2 * sizeof(struct set);
    ix->a.chunks.used = 64;
    *ret = ix;
    return 0;
}

void index_free(struct index *ix)
{
    if (!ix)
        return;
    region_done(&ix->a.names);
    region_done(&ix->a.sets);
    region_done(&ix->a.chunks);
    region_done(&ix->types);
    table_done(&ix->names);
    table_done(&ix->ids);
    stage_done(&ix->staged);
    stage_done(&ix->staged_ids);
    free(ix);
}

/* ---- names ---- */

struct slice index_component(const struct index *ix, entity_id e)
{
    return arena_name(&ix->a, index_set(ix, e)->name);
}

struct slice index_type_name(const struct index *ix, type_id t)
{
    return arena_name(&ix->a, index_type_set(ix, t)->name);
}

int index_entity_name(const struct index *ix, entity_id e, char *buf, size_t cap)
{
    char *end = buf + cap, *at = end;

    while (e != 1) { /* from the last component to the first, at the end of buf */
        struct slice c = index_component(ix, e);
        e = index_set(ix, e)->parent;
        if ((size_t)(at - buf) < c.n + (e != 1))
            return -ERANGE;
        at -= c.n;
        memcpy(at, c.p, c.n);
        if (e != 1)
            *--at = '/';
    }
    memmove(buf, at, (size_t)(end - at));
    return (int)(end - at);
}

struct slice index_last_component(struct slice id, struct slice *ret_rest)
{
    const char *slash = memrchr(id.p, '/', id.n);

    if (!slash) {
        *ret_rest = (struct slice){0};
        return id;
    }
    *ret_rest = (struct slice){id.p, (size_t)(slash - id.p)};
    return (struct slice){slash + 1, id.n - ret_rest->n - 1};
}

bool index_entity_is(const struct index *ix, entity_id e, struct slice id)
{
    const struct set *s = index_set(ix, e);

    if (LOAD(s->flags) & (SET_IS_TYPE | SET_IS_PAIR | SET_IS_OWN))
        return false;
    while (e != 1) { /* no component holds a '/' */
        const struct slice comp = index_component(ix, e);
        if (comp.n > id.n || !bytes_eq(id.p + id.n - comp.n, comp.p, comp.n))
            return false;
        e = index_set(ix, e)->parent;
        if (comp.n == id.n)
            return e == 1;
        id.n -= comp.n + 1;
        if (id.p[id.n] != '/')
            return false;
    }
    return false;
}

entity_id index_find_entity(const struct index *ix, struct slice id, uint64_t hash)
{
    struct table_probe p;

    for (uint32_t v = table_first(&p, &ix->names, hash); v; v = table_next(&p))
        if (index_entity_is(ix, v, id))
            return v;
    return 0;
}

void index_prefetch(const struct index *ix, const uint64_t *hashes, size_t stride, size_t n)
{
    const char *p = (const char *)hashes;
    uint32_t sets[PREFETCH_RUN];

    for (size_t k; n > 0; n -= k, p += k * stride) {
        k = MIN(n, ARRAY_LEN(sets));
        for (size_t i = 0; i < k; i++)
            table_prefetch(&ix->names, load64(p + i * stride));
        for (size_t i = 0; i < k; i++) {
            sets[i] = table_guess(&ix->names, load64(p + i * stride));
            __builtin_prefetch(index_set(ix, sets[i]), 1);
        }
        for (size_t i = 0; i < k; i++)
            __builtin_prefetch(ix->a.names.base + (size_t)index_set(ix, sets[i])->name * 4);
    }
}

type_id index_find_type(const struct index *ix, struct slice type, uint64_t hash)
{
    struct table_probe p;

    for (uint32_t v = table_first(&p, &ix->names, hash); v; v = table_next(&p)) {
        const struct set *s = index_set(ix, v);
        if (LOAD(s->flags) & SET_IS_TYPE) {
            const struct slice name = arena_name(&ix->a, s->name);
            if (name.n == type.n && bytes_eq(name.p, type.p, name.n))
                return s->decided;
        }
    }
    return 0;
}

static uint32_t find_pair(const struct index *ix, entity_id e, type_id t, uint64_t hash)
{
    struct table_probe p;

    for (uint32_t v = table_first(&p, &ix->names, hash); v; v = table_next(&p)) {
        const struct set *s = index_set(ix, v);
        if ((LOAD(s->flags) & SET_IS_PAIR) && s->parent == e && s->name == t)
            return v;
    }
    return 0;
}

uint32_t index_find_pair(const struct index *ix, entity_id e, type_id t)
{
    return find_pair(ix, e, t, pair_hash(e, t));
}

entity_id index_find_child(const struct index *ix, entity_id parent, struct slice comp)
{
    char buf[LIMIT_ENTITY_BYTES + 1];
    int n = index_entity_name(ix, parent, buf, LIMIT_ENTITY_BYTES);

    if (n < 0 || (size_t)n + 1 + comp.n > sizeof buf)
        return 0;
    if (parent != 1)
        buf[n++] = '/';
    memcpy(buf + n, comp.p, comp.n);
    struct slice id = {buf, (size_t)n + comp.n};
    return index_find_entity(ix, id, index_entity_hash(id));
}

entity_id index_find_nearest(const struct index *ix, struct slice id)
{
    while (id.p) {
        entity_id e = index_find_entity(ix, id, index_entity_hash(id));
        if (e)
            return e;
        (void)index_last_component(id, &id);
    }
    return 1;
}

bool index_has_room(const struct index *ix, uint64_t n)
{
    const struct arena *a = &ix->a;

    return a->sets.used + n * SETS_AN_EVENT * sizeof(struct set) <= a->sets.reserved &&
           a->sets.used / sizeof(struct set) + n * SETS_AN_EVENT < UINT32_MAX &&
           a->chunks.used + n * (LIMIT_COMPONENTS + 4) * 256 <= a->chunks.reserved &&
           a->names.used + n * (LIMIT_ENTITY_BYTES + LIMIT_TYPE_BYTES + 8 * LIMIT_COMPONENTS) <=
               a->names.reserved &&
           ix->staged.n + n * (LIMIT_COMPONENTS + 1) <=
               ix->staged.entries.reserved / sizeof(struct stage_entry) &&
           ix->staged_ids.n + n <= ix->staged_ids.entries.reserved / sizeof(struct stage_entry) &&
           table_has_room(&ix->names, n * SETS_AN_EVENT) && table_has_room(&ix->ids, n);
}

/* ---- applying an event ---- */

/* Makes e's own events a set of their own: from now on its postings hold others' too. */
static NEEDS_COMMIT struct set *split_own(struct index *ix, entity_id e, uint32_t own_n,
                                          uint64_t own_bytes)
{
    struct set *s = index_set(ix, e);
    uint32_t v = arena_new_set(&ix->a);
    struct set *o = index_set(ix, v);

    o->parent = e;
    STORE(o->flags, SET_IS_OWN);
    STORE(o->child, own_n);
    STORE(o->own, (uint32_t)own_bytes);
    STORE(o->pairs, (uint32_t)(own_bytes >> 32));
    STORE_REL(s->own, v); /* before SET_BELOW: who sees the flag sees the set */
    return o;
}

static NEEDS_COMMIT void apply_below(struct index *ix, entity_id e, uint32_t seq, uint32_t len)
{
    struct set *s = index_set(ix, e);
    uint32_t n = LOAD(s->n);

    if (UNLIKELY(!(LOAD(s->flags) & SET_BELOW))) {
        if (n)
            (void)split_own(ix, e, n, LOAD(s->bytes));
        (void)atomic_fetch_or_explicit(&s->flags, SET_BELOW, memory_order_acq_rel);
    }
    postings_add(&ix->a, s, seq, len);
}

static NEEDS_COMMIT void add_pair(struct index *ix, entity_id e, type_id t, uint64_t hash,
                                  uint32_t seq, uint32_t data_len, uint32_t *head)
{
    uint32_t v = find_pair(ix, e, t, hash);

    if (!v) {
        v = arena_new_set(&ix->a);
        struct set *p = index_set(ix, v);
        p->parent = e;
        p->name = t;
        STORE(p->flags, SET_IS_PAIR);
        STORE(p->next, *head);
        *head = v;
        postings_add(&ix->a, p, seq, data_len);
        table_insert(&ix->names, hash, v);
        return;
    }
    postings_add(&ix->a, index_set(ix, v), seq, data_len);
}

/* The own events of an entity, read from the idx: a page of it may be unreadable. */
struct own_events {
    const struct index *ix;
    const struct apply *ap;
    entity_id e;
    uint32_t n;
    struct own_event {
        uint32_t seq, data_len;
        type_id type;
    } v[INDEX_LARGE + 1];
};

static int own_events_job(void *arg)
{
    struct own_events *o = arg;
    const struct index *ix = o->ix;
    const struct set *s = index_set(ix, o->e);
    const uint32_t own = LOAD(s->own);
    struct lengths len = {.lg = o->ap->lg};

    for (int part = 0; part < (own ? 2 : 1); part++) {
        const struct set *from = part == 0 ? s : index_set(ix, own);
        uint32_t limit = part == 0 && own ? LOAD(index_set(ix, own)->child) : LOAD(from->n);
        struct posting it;
        postings_seek_byte(&ix->a, from, limit, 0, &len, &it);
        while (it.ordinal < it.limit && o->n < ARRAY_LEN(o->v)) {
            const struct log_rec *r = it.seq >= o->ap->first ? &o->ap->recs[it.seq - o->ap->first]
                                                             : lengths_rec(&len, it.seq);
            o->v[o->n++] = (struct own_event){it.seq, r->len - log_rec_data(r) - 1, r->type};
            postings_next(&ix->a, &it, r->len);
        }
    }
    return 0;
}

/* Where it can't be done, the entity stays as it is: slower, not wrong. */
static NEEDS_COMMIT void become_large(struct index *ix, const struct apply *ap, entity_id e)
{
    struct own_events o = {.ix = ix, .ap = ap, .e = e};
    uint32_t head = 0;

    if (ix->a.sets.used + (INDEX_LARGE + 2) * sizeof(struct set) > ix->a.sets.reserved ||
        !table_has_room(&ix->names, INDEX_LARGE + 2) || io_guarded(own_events_job, &o) < 0)
        return;
    for (uint32_t i = 0; i < o.n; i++)
        add_pair(ix, e, o.v[i].type, pair_hash(e, o.v[i].type), o.v[i].seq, o.v[i].data_len, &head);
    STORE_REL(index_set(ix, e)->pairs, head);
}

static NEEDS_COMMIT void apply_own(struct index *ix, const struct apply *ap, uint32_t seq,
                                   const struct log_rec *rec)
{
    struct set *s = index_set(ix, rec->entity);
    uint32_t own_n = LOAD(s->n), pairs = LOAD(s->pairs);

    postings_add(&ix->a, s, seq, rec->len);
    if (UNLIKELY(LOAD(s->flags) & SET_BELOW)) {
        uint32_t own = LOAD(s->own);
        struct set *o = own ? index_set(ix, own) : split_own(ix, rec->entity, 0, 0);
        own_n = LOAD(o->child) + LOAD(o->n);
        postings_add(&ix->a, o, seq, rec->len);
    }
    if (pairs) {
        uint32_t head = pairs;
        uint64_t hash = ap->pair[(seq - ap->first) % INDEX_AHEAD];
        add_pair(ix, rec->entity, rec->type, hash ? hash : pair_hash(rec->entity, rec->type), seq,
                 rec->len - log_rec_data(rec) - 1, &head);
        if (head != pairs)
            STORE_REL(s->pairs, head);
    } else if (UNLIKELY(own_n == INDEX_LARGE)) {
        become_large(ix, ap, rec->entity);
    }
    if (UNLIKELY(!own_n))
        STORE(ix->n_entities, LOAD(ix->n_entities) + 1);
}

void index_pairs_ahead(const struct index *ix, struct apply *ap, uint32_t i)
{
    const uint64_t set = ap->pair[(i + INDEX_AHEAD / 2) % INDEX_AHEAD],
                   chunk = ap->pair[(i + INDEX_AHEAD / 4) % INDEX_AHEAD];
    const struct log_rec *r = &ap->recs[i + INDEX_AHEAD - 1];
    uint64_t hash = 0;

    if (i + INDEX_AHEAD - 1 < ap->n && LOAD(index_set(ix, r->entity)->pairs)) {
        hash = pair_hash(r->entity, r->type);
        table_prefetch(&ix->names, hash);
    }
    ap->pair[(i + INDEX_AHEAD - 1) % INDEX_AHEAD] = hash;
    if (set)
        __builtin_prefetch(index_set(ix, table_guess(&ix->names, set)), 1);
    if (chunk)
        postings_prefetch(&ix->a, index_set(ix, table_guess(&ix->names, chunk)));
}

void index_apply(struct index *ix, const struct apply *ap, uint32_t seq)
{
    const struct log_rec *rec = &ap->recs[seq - ap->first];

    table_tend(&ix->names);
    apply_own(ix, ap, seq, rec);
    for (entity_id e = index_set(ix, rec->entity)->parent; e != 1; e = index_set(ix, e)->parent)
        apply_below(ix, e, seq, rec->len);
    postings_add(&ix->a, index_type_set(ix, rec->type), seq, rec->len);
}

/* ---- marks ---- */

void index_mark(struct index *ix, _Atomic uint8_t *marks, uint8_t add)
{
    if ((atomic_load(marks) & add) != add) {
        atomic_fetch_add(&ix->marked, 1);
        if (atomic_fetch_or(marks, add))
            atomic_fetch_sub(&ix->marked, 1); /* it had some: counted already */
    }
    /* Pairs with the fence in index_report(): either the commit sees the mark, or who set it sees what the
     * commit published. Without it the loads of log_end() that follow, which only acquire, might be done
     * before the mark is there for others. */
    atomic_thread_fence(memory_order_seq_cst);
}

static void take_marks(struct index *ix, _Atomic uint8_t *marks, uint8_t want, entity_id e,
                       type_id t, struct changes *c)
{
    uint8_t had;

    if (LIKELY(!(atomic_load_explicit(marks, memory_order_relaxed) & want)))
        return;
    had = atomic_fetch_and(marks, (uint8_t)~want);
    if (!(had & want))
        return;
    if (!(had & ~want))
        atomic_fetch_sub(&ix->marked, 1);
    if (c->n == c->cap) {
        size_t cap = c->cap ? 2 * c->cap : 64;
        struct evs_change *v = reallocarray(c->v, cap, sizeof *v);
        assert(v); /* a change that nobody hears of would be a wrong size for a day: rather die */
        c->v = v;
        c->cap = cap;
    }
    c->v[c->n++] = (struct evs_change){.entity = e, .type = t, .marks = had & want};
}

/* Is its first posting one of ap's? */
static bool is_new(const struct set *s, const struct apply *ap)
{
    uint32_t first = 0;

    for (int i = 0, shift = 0; i < 5; i++, shift += 7) {
        first |= (uint32_t)(s->first[i] & 0x7f) << shift;
        if (s->first[i] < 0x80)
            break;
    }
    return first >= ap->first;
}

void index_report(struct index *ix, const struct apply *ap, struct changes *c)
{
    atomic_thread_fence(memory_order_seq_cst);
    if (LIKELY(atomic_load_explicit(&ix->marked, memory_order_relaxed) == 0))
        return;
    take_marks(ix, &ix->all_marks, EVS_MARK_BELOW, EVS_ROOT, 0, c);
    for (uint32_t i = 0; i < ap->n; i++) {
        const struct log_rec *r = &ap->recs[i];
        uint8_t want = EVS_MARK_BELOW | EVS_MARK_OWN;
        for (entity_id e = r->entity; e != 1; want = EVS_MARK_BELOW) {
            struct set *s = index_set(ix, e), *parent = index_set(ix, s->parent);
            take_marks(ix, &s->marks, want, e, 0, c);
            if (UNLIKELY(LOAD(parent->marks) & EVS_MARK_CHILDREN) && is_new(s, ap))
                take_marks(ix, &parent->marks, EVS_MARK_CHILDREN, s->parent, 0, c);
            e = s->parent;
        }
        struct set *t = index_type_set(ix, r->type);
        take_marks(ix, &t->marks, EVS_MARK_TYPE, 0, r->type, c);
        if (UNLIKELY(LOAD(ix->type_marks)) && is_new(t, ap))
            take_marks(ix, &ix->type_marks, EVS_MARK_CHILDREN, 0, 0, c);
    }
}

/* ---- figures and checks ---- */

void index_memory(const struct index *ix, uint64_t *ret_all, uint64_t *ret_names, uint64_t *ret_ids)
{
    *ret_names = ix->a.names.used;
    *ret_ids = ix->ids.n ? table_bytes(&ix->ids) : 0;
    *ret_all = ix->a.names.used + ix->a.sets.used + ix->a.chunks.used + ix->types.used +
               table_bytes(&ix->names) + *ret_ids;
}

int index_check(const struct index *ix, const struct log *lg, evs_report_fn *report, void *arg)
{
    uint32_t n_sets = (uint32_t)(ix->a.sets.used / sizeof(struct set));
    int found = 0;

    for (uint32_t v = 2; v < n_sets; v++) {
        const struct set *s = index_set(ix, v);
        struct lengths len = {.lg = lg, .data = LOAD(s->flags) & SET_IS_PAIR, .nameless = true};
        if (postings_check(&ix->a, s, &len) < 0) {
            char text[80];
            (void)snprintf(text, sizeof text, "index: set %u does not agree with the log", v);
            found++;
            if (report)
                report(arg, text);
        }
    }
    return found;
}
