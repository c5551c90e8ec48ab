/* SPDX-License-Identifier: MIT */
/* Nodes, members and remembered shapes of a model.
 *
 * The table of shapes is open addressing on the shape itself, never more than half full, and only grows: a
 * new table is filled, then published; the older ones live on until the model is freed, since a reader may be
 * in one. Together they hold less than the newest. A reader acquires the table and then a slot; each was
 * stored with release after what it points to was complete. A stale table lacks the newest shapes only. */
#include "infer_model.h"

#include "name.h"

#include <errno.h>

/* ---- memory ---------------------------------------------------------------------------------- */

void *infer_alloc(struct infer *m, size_t n)
{
    void *p = calloc(1, n);

    m->bytes += p ? n : 0;
    return p;
}

void *infer_realloc(struct infer *m, void *p, size_t old_n, size_t n)
{
    void *q = realloc(p, n);

    if (q)
        m->bytes += n - old_n;
    return q;
}

void infer_release(struct infer *m, void *p, size_t n)
{
    if (p)
        m->bytes -= n;
    free(p);
}

/* ---- nodes ----------------------------------------------------------------------------------- */

struct infer_node *infer_node_new(struct infer *m, bool *ret_full)
{
    struct infer_node *node;

    *ret_full = m->nodes_n == LIMIT_INFER_NODES;
    if (*ret_full)
        return NULL;
    if (m->nodes_n == m->nodes_max) {
        const uint32_t old = m->nodes_max, max = old ? old * 2 : 16;
        struct infer_node **nodes =
            infer_realloc(m, m->nodes, old * sizeof(*nodes), max * sizeof(*nodes));
        if (!nodes)
            return NULL;
        m->nodes = nodes;
        m->nodes_max = max;
    }
    if (!(node = infer_alloc(m, sizeof *node)))
        return NULL;
    node->id = (uint16_t)m->nodes_n;
    m->nodes[m->nodes_n++] = node;
    return node;
}

void infer_node_free(struct infer *m, struct infer_node *node)
{
    for (uint32_t i = 0; i < node->members_n; i++)
        infer_release(m, node->members[i].name, node->members[i].n + 1u);
    infer_release(m, node->members, node->members_max * sizeof *node->members);
    if (node->seen)
        infer_release(m, node->seen->text, node->seen->text_bytes);
    infer_release(m, node->seen, sizeof *node->seen);
    infer_release(m, node, sizeof *node);
}

struct infer_member *infer_member_find(const struct infer_node *node, struct slice name,
                                       uint64_t hash, uint32_t hint)
{
    for (uint32_t i = 0, at = hint; i < node->members_n; i++, at++) {
        at = at < node->members_n ? at : 0;
        struct infer_member *member = &node->members[at];
        if (member->hash == hash && slice_eq(name, (struct slice){member->name, member->n}))
            return member;
    }
    return NULL;
}

struct infer_member *infer_member_add(struct infer *m, struct infer_node *node, struct slice name,
                                      uint64_t hash, struct infer_node *child)
{
    assert(node->members_n < LIMIT_INFER_PROPERTIES && name.n <= LIMIT_INFER_NAME_BYTES);
    if (node->members_n == node->members_max) {
        const uint32_t old = node->members_max, max = old ? old * 2 : 4;
        struct infer_member *members =
            infer_realloc(m, node->members, old * sizeof *members, max * sizeof *members);
        if (!members)
            return NULL;
        node->members = members;
        node->members_max = (uint16_t)max;
    }
    char *copy = infer_alloc(m, name.n + 1);
    if (!copy)
        return NULL;
    memcpy(copy, name.p, name.n);
    struct infer_member *member = &node->members[node->members_n++];
    *member =
        (struct infer_member){.name = copy, .n = (uint8_t)name.n, .hash = hash, .node = child};
    return member;
}

/* ---- shapes ---------------------------------------------------------------------------------- */

struct infer_table {
    size_t mask;
    struct infer_table *older;
    _Atomic(struct infer_shape_rec *) slot[];
};

enum { TABLE_MIN = 16 };

static size_t table_bytes(size_t slots)
{
    return sizeof(struct infer_table) + slots * sizeof(_Atomic(struct infer_shape_rec *));
}

static void table_put(struct infer_table *t, struct infer_shape_rec *rec)
{
    size_t i = rec->shape & t->mask;

    while (atomic_load_explicit(&t->slot[i], memory_order_relaxed))
        i = (i + 1) & t->mask;
    /* Release: pairs with infer_find(). */
    atomic_store_explicit(&t->slot[i], rec, memory_order_release);
}

static struct infer_table *table_now(const struct infer *m)
{
    return atomic_load_explicit(&m->table, memory_order_acquire);
}

static int shapes_put(struct infer *m, struct infer_shape_rec *rec)
{
    struct infer_table *t = table_now(m);

    if (!t || (m->shapes_n + 1) * 2 > t->mask + 1) {
        const size_t slots = t ? (t->mask + 1) * 2 : TABLE_MIN;
        struct infer_table *grown = infer_alloc(m, table_bytes(slots));
        if (!grown)
            return -ENOMEM;
        grown->mask = slots - 1;
        grown->older = t;
        for (size_t i = 0; t && i <= t->mask; i++) {
            struct infer_shape_rec *old = atomic_load_explicit(&t->slot[i], memory_order_relaxed);
            if (old)
                table_put(grown, old);
        }
        atomic_store_explicit(&m->table, grown, memory_order_release);
        t = grown;
    }
    table_put(t, rec);
    m->shapes_n++;
    return 0;
}

int infer_remember(struct infer *m, uint64_t shape, struct infer_tally count)
{
    uint32_t bytes = INFER_BITS_BYTES;

    while (bytes > 1 && m->touched[bytes - 1] == 0)
        bytes--;
    struct infer_shape_rec *rec = infer_alloc(m, sizeof *rec);
    uint8_t *nodes = infer_alloc(m, bytes);
    if (rec && nodes) {
        memcpy(nodes, m->touched, bytes);
        *rec = (struct infer_shape_rec){.shape = shape,
                                        .added = {count.count, count.first, count.last},
                                        .nodes = nodes,
                                        .nodes_bytes = bytes};
        if (shapes_put(m, rec) == 0)
            return 0;
    }
    infer_release(m, rec, sizeof *rec);
    infer_release(m, nodes, bytes);
    return -ENOMEM;
}

struct infer_shape_rec *infer_find(const struct infer *m, uint64_t shape)
{
    const struct infer_table *t = table_now(m);
    struct infer_shape_rec *rec;

    if (!t)
        return NULL;
    for (size_t i = shape & t->mask;; i = (i + 1) & t->mask) {
        rec = atomic_load_explicit(&t->slot[i], memory_order_acquire);
        if (!rec || rec->shape == shape)
            return rec;
    }
}

void infer_shapes_each(const struct infer *m, void (*each)(struct infer_shape_rec *, void *),
                       void *arg)
{
    const struct infer_table *t = table_now(m);

    for (size_t i = 0; t && i <= t->mask; i++) {
        struct infer_shape_rec *rec = atomic_load_explicit(&t->slot[i], memory_order_relaxed);
        if (rec)
            each(rec, arg);
    }
}

static void shape_free(struct infer_shape_rec *rec, void *arg)
{
    struct infer *m = arg;

    infer_release(m, rec->nodes, rec->nodes_bytes);
    infer_release(m, rec, sizeof *rec);
}

void infer_shapes_free(struct infer *m)
{
    struct infer_table *t = table_now(m);

    infer_shapes_each(m, shape_free, m);
    while (t) {
        struct infer_table *older = t->older;
        infer_release(m, t, table_bytes(t->mask + 1));
        t = older;
    }
}

/* ---- counts ---------------------------------------------------------------------------------- */

void infer_tally_add(struct infer_tally *y, struct infer_tally more)
{
    if (more.count == 0)
        return;
    y->first = y->count ? MIN(y->first, more.first) : more.first;
    y->last = MAX(y->last, more.last);
    y->count += more.count;
}

void infer_tally_span(struct infer_tally *y, const struct infer_span *more)
{
    /* Acquire: pairs with infer_span_add(). */
    const uint64_t count = atomic_load_explicit(&more->count, memory_order_acquire);

    infer_tally_add(
        y, (struct infer_tally){count, atomic_load_explicit(&more->first, memory_order_relaxed),
                                atomic_load_explicit(&more->last, memory_order_relaxed)});
}
