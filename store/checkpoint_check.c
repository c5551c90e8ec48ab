/* SPDX-License-Identifier: MIT */
/* checkpoint: are the places that it names within it? Its checksums say that the bytes are those that were
 * written; this says that whoever follows them stays inside and comes to an end, whoever wrote them.
 * (1) A parent has a lower number than its children, a pair's next older one than it; children of a directory
 *     go up to the newest: so no walk is endless.
 * (2) A table has empty slots, or no look-up would end.
 * (3) What lists hold is not looked at: it would take as long as reading the log's idx. */
#include "checkpoint.h"
#include "limits.h"

#define LOAD(x) atomic_load_explicit(&(x), memory_order_relaxed)

struct checked {
    const struct index *ix;
    uint32_t n_sets, n_types;
    evs_seq seq;
};

static bool is_kind(const struct checked *c, uint32_t v, uint8_t kind)
{
    const uint8_t kinds = SET_IS_TYPE | SET_IS_PAIR | SET_IS_OWN;

    return v > 0 && v < c->n_sets && (LOAD(index_set(c->ix, v)->flags) & kinds) == kind;
}

static bool name_fits(const struct checked *c, const struct set *s, size_t limit)
{
    const size_t at = (size_t)s->name * 4, used = c->ix->a.names.used;

    return at + sizeof(uint16_t) <= used &&
           at + sizeof(uint16_t) + arena_name(&c->ix->a, s->name).n <= used &&
           arena_name(&c->ix->a, s->name).n <= limit;
}

static bool list_fits(const struct checked *c, const struct set *s)
{
    static const uint8_t room[] = {32, 96, 224};
    const uint32_t tail = LOAD(s->tail);

    return LOAD(s->n) <= c->seq && LOAD(s->last) <= c->seq && s->size < ARRAY_LEN(room) &&
           s->used <= (tail ? room[s->size] : SET_INLINE) &&
           (size_t)tail * 64 < c->ix->a.chunks.used;
}

/* The next sibling is a newer one, but for the newest, whose next is the oldest. */
static bool ring_fits(const struct checked *c, uint32_t v, const struct set *s)
{
    const uint32_t next = LOAD(s->next), newest = LOAD(index_set(c->ix, s->parent)->child);

    return is_kind(c, next, 0) && index_set(c->ix, next)->parent == s->parent &&
           (v == newest ? next <= v : next > v && next <= newest);
}

static bool leads_fit(const struct checked *c, uint32_t v, const struct set *s)
{
    const uint32_t child = LOAD(s->child), own = LOAD(s->own), pairs = LOAD(s->pairs);

    return (!child || (is_kind(c, child, 0) && index_set(c->ix, child)->parent == v)) &&
           (!own || (is_kind(c, own, SET_IS_OWN) && index_set(c->ix, own)->parent == v)) &&
           (!pairs || (is_kind(c, pairs, SET_IS_PAIR) && index_set(c->ix, pairs)->parent == v));
}

static bool set_fits(const struct checked *c, uint32_t v)
{
    const struct set *s = index_set(c->ix, v);
    const uint32_t next = LOAD(s->next);

    if (!list_fits(c, s))
        return false;
    switch (LOAD(s->flags) & (SET_IS_TYPE | SET_IS_PAIR | SET_IS_OWN)) {
    case 0:
        return s->parent > 0 && s->parent < v && is_kind(c, s->parent, 0) &&
               name_fits(c, s, LIMIT_ENTITY_BYTES) && ring_fits(c, v, s) && leads_fit(c, v, s);
    case SET_IS_TYPE:
        return s->decided > 0 && s->decided <= c->n_types && name_fits(c, s, LIMIT_TYPE_BYTES) &&
               ((const uint32_t *)(const void *)c->ix->types.base)[s->decided] == v;
    case SET_IS_PAIR:
        return s->name > 0 && s->name <= c->n_types && s->parent > 1 && is_kind(c, s->parent, 0) &&
               (!next || (next < v && is_kind(c, next, SET_IS_PAIR) &&
                          index_set(c->ix, next)->parent == s->parent));
    case SET_IS_OWN: /* child: so many of its parent's are its own as well */
        return s->parent > 1 && is_kind(c, s->parent, 0) &&
               LOAD(index_set(c->ix, s->parent)->own) == v &&
               LOAD(s->child) <= LOAD(index_set(c->ix, s->parent)->n);
    default:
        return false;
    }
}

/* Every value is one of [1, end), so many slots are filled, and some are not. */
static bool table_fits(const struct table *t, uint64_t end)
{
    size_t bytes;
    const uint64_t *slots = table_block(t, &bytes);
    uint64_t n = 0;

    for (size_t i = 0; i < bytes / 8; i++) {
        const uint64_t value = slots[i] >> 32;
        if (value >= end)
            return false;
        n += value > 0;
    }
    return n == t->n && n <= bytes / 8 * 3 / 4;
}

bool checkpoint_fits(const struct index *ix, evs_seq seq)
{
    const size_t sets = ix->a.sets.used / sizeof(struct set), types = index_type_count(ix);
    const struct checked c = {
        .ix = ix, .n_sets = (uint32_t)sets, .n_types = (uint32_t)types, .seq = seq};
    const struct set *root = index_set(ix, 1);

    if (seq > LIMIT_EVENTS || ix->n_entities > sets || types > LIMIT_TYPES || sets < 2 ||
        sets > UINT32_MAX || ix->a.sets.used % sizeof(struct set) || ix->a.names.used < 4 ||
        ix->a.names.used % 4 || ix->a.chunks.used < 64 || ix->a.chunks.used % 64 ||
        ix->types.used != (types ? (types + 1) * sizeof(uint32_t) : 0))
        return false;
    for (size_t t = 1; t <= types; t++)
        if (!is_kind(&c, ((const uint32_t *)(const void *)ix->types.base)[t], SET_IS_TYPE))
            return false;
    if (LOAD(root->flags) & (SET_IS_TYPE | SET_IS_PAIR | SET_IS_OWN) || root->parent ||
        root->name || LOAD(root->own) || LOAD(root->pairs) || !leads_fit(&c, 1, root))
        return false;
    for (uint32_t v = 2; v < c.n_sets; v++)
        if (!set_fits(&c, v))
            return false;
    return table_fits(&ix->names, sets) && table_fits(&ix->ids, seq + 1);
}
