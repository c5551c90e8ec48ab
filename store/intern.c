/* SPDX-License-Identifier: MIT */
/* index: names on their way in. What a commit needs of new names is made at once, their sets and numbers, but
 * nothing leads there: neither the table of names nor a directory's children. index_keep() makes both; or
 * index_drop() gives the room back, and what was there is zero again.
 * (1) So a number that a reader was given is never another's later, and what is refused leaves nothing.
 * (2) Staged sets are the newest of the arena, in the order of the stage: a parent before its children. */
#include "index.h"
#include "limits.h"

#define LOAD(x)         atomic_load_explicit(&(x), memory_order_relaxed)
#define STORE(x, v)     atomic_store_explicit(&(x), (v), memory_order_relaxed)
#define STORE_REL(x, v) atomic_store_explicit(&(x), (v), memory_order_release)
#define AHEAD           8 /* ids whose slots index_keep() prefetches */

static uint32_t add_name(struct index *ix, struct slice s)
{
    uint32_t at = (uint32_t)(ix->a.names.used / 4);
    char *p = ix->a.names.base + ix->a.names.used;
    uint16_t n = (uint16_t)s.n;

    memcpy(p, &n, sizeof n);
    memcpy(p + sizeof n, s.p, s.n);
    ix->a.names.used += (sizeof n + s.n + 3) & ~(size_t)3;
    return at;
}

entity_id index_find_staged(const struct index *ix, struct slice id, uint64_t hash)
{
    const struct stage *st = &ix->staged;

    for (uint32_t i = stage_first(st, hash); i; i = stage_next(st, i))
        if (index_entity_is(ix, stage_at(st, i)->value, id))
            return stage_at(st, i)->value;
    return 0;
}

entity_id index_stage_entity(struct index *ix, struct slice id, uint64_t hash)
{
    entity_id e = index_find_entity(ix, id, hash);
    struct slice rest, comp;

    if (e || (e = index_find_staged(ix, id, hash)))
        return e;
    comp = index_last_component(id, &rest);
    entity_id parent = rest.p ? index_stage_entity(ix, rest, index_entity_hash(rest)) : 1;
    e = arena_new_set(&ix->a);
    index_set(ix, e)->name = add_name(ix, comp);
    index_set(ix, e)->parent = parent;
    stage_add(&ix->staged, hash, e);
    return e;
}

type_id index_stage_type(struct index *ix, struct slice type, uint64_t hash)
{
    const struct stage *st = &ix->staged;
    type_id t = index_find_type(ix, type, hash);

    if (t)
        return t;
    for (uint32_t i = stage_first(st, hash); i; i = stage_next(st, i)) {
        const struct set *s = index_set(ix, stage_at(st, i)->value);
        if ((LOAD(s->flags) & SET_IS_TYPE) && slice_eq(arena_name(&ix->a, s->name), type))
            return s->decided;
    }
    t = LOAD(ix->n_types) + ix->staged_types + 1;
    if (t > LIMIT_TYPES)
        return 0;
    uint32_t v = arena_new_set(&ix->a);
    struct set *s = index_set(ix, v);
    s->name = add_name(ix, type);
    s->decided = t;
    STORE(s->flags, SET_IS_TYPE);
    ((uint32_t *)(void *)ix->types.base)[t] = v;
    ix->staged_types++;
    stage_add(&ix->staged, hash, v);
    return t;
}

void index_stage_id(struct index *ix, uint64_t hash, uint32_t seq)
{
    stage_add(&ix->staged_ids, hash, seq);
}

struct stage_mark index_stage_mark(const struct index *ix)
{
    return (struct stage_mark){.names_used = ix->a.names.used,
                               .sets_used = ix->a.sets.used,
                               .names = ix->staged.n,
                               .ids = ix->staged_ids.n,
                               .types = ix->staged_types};
}

void index_drop(struct index *ix, const struct stage_mark *to)
{
    struct arena *a = &ix->a;

    stage_cut(&ix->staged, to->names);
    stage_cut(&ix->staged_ids, to->ids);
    ix->staged_types = to->types;
    if (a->sets.used == to->sets_used)
        return;
    memset(a->sets.base + to->sets_used, 0, a->sets.used - to->sets_used);
    memset(a->names.base + to->names_used, 0, a->names.used - to->names_used);
    __atomic_store_n(&a->sets.used, to->sets_used, __ATOMIC_RELEASE);
    a->names.used = to->names_used;
}

static NEEDS_COMMIT void add_child(struct index *ix, entity_id child)
{
    struct set *c = index_set(ix, child), *p = index_set(ix, c->parent);
    uint32_t newest = LOAD(p->child);

    STORE(c->next, newest ? LOAD(index_set(ix, newest)->next) : child);
    if (newest)
        STORE_REL(index_set(ix, newest)->next, child);
    STORE_REL(p->child, child); /* pairs with evs_next_child() */
}

void index_keep(struct index *ix)
{
    const struct stage *st = &ix->staged, *ids = &ix->staged_ids;

    for (uint32_t i = 1; i <= st->n; i++) {
        const struct stage_entry *e = stage_at(st, i);
        const struct set *s = index_set(ix, e->value);
        if (LOAD(s->flags) & SET_IS_TYPE) {
            ix->types.used = (s->decided + 1) * sizeof(uint32_t);
            STORE_REL(ix->n_types, s->decided);
        } else {
            add_child(ix, e->value);
        }
        table_insert(&ix->names, e->hash, e->value);
    }
    for (uint32_t i = 1; i <= ids->n; i++) {
        if (i + AHEAD <= ids->n)
            table_prefetch(&ix->ids, stage_at(ids, i + AHEAD)->hash);
        table_insert(&ix->ids, stage_at(ids, i)->hash, stage_at(ids, i)->value);
    }
    ix->staged_types = 0;
    stage_cut(&ix->staged, 0);
    stage_cut(&ix->staged_ids, 0);
}

entity_id index_intern_entity(struct index *ix, struct slice id, uint64_t hash)
{
    entity_id e = index_stage_entity(ix, id, hash);

    index_keep(ix);
    return e;
}

type_id index_intern_type(struct index *ix, struct slice type, uint64_t hash)
{
    type_id t = index_stage_type(ix, type, hash);

    index_keep(ix);
    return t;
}
