/* SPDX-License-Identifier: MIT */
/* An object with too many names becomes a map: all that was under its names is merged into one node. This is
 * rare, so that it may renumber all nodes: places in the schema are freed for others by it.
 *
 * Merging can't fail: a member for which there is no memory is dropped, and the object then allows anything
 * under names that it does not have (BEYOND_NAMES). */
#include "infer_model.h"

struct merge {
    struct infer *m;
    uint16_t into[LIMIT_INFER_NODES]; /* the node that took this one; itself: it stands; GONE */
    uint16_t id[LIMIT_INFER_NODES];   /* its new id */
    struct infer_node *now[LIMIT_INFER_NODES];
};

enum { GONE = UINT16_MAX };

/* The node and all below it are no more. */
static void drop(struct merge *g, struct infer_node *node)
{
    for (uint32_t i = 0; i < node->members_n; i++)
        drop(g, node->members[i].node);
    if (node->items)
        drop(g, node->items);
    if (node->values)
        drop(g, node->values);
    g->into[node->id] = GONE;
    g->m->nodes[node->id] = NULL;
    infer_node_free(g->m, node);
}

static void merge_node(struct merge *g, struct infer_node *to, struct infer_node *from);

/* One of the two places that a node has for a child without a name. */
static void merge_child(struct merge *g, struct infer_node **to, struct infer_node **from)
{
    struct infer_node *child = TAKE(*from);

    if (!child)
        return;
    if (*to)
        merge_node(g, *to, child);
    else
        *to = child;
}

static void unrequire(struct infer_node *node, struct infer_member *member)
{
    node->required_n = (uint16_t)(node->required_n - member->required);
    member->required = false;
}

static void merge_members_into_values(struct merge *g, struct infer_node *node)
{
    for (uint32_t i = 0; i < node->members_n; i++)
        merge_child(g, &node->values, &node->members[i].node);
    for (uint32_t i = 0; i < node->members_n; i++)
        infer_release(g->m, node->members[i].name, node->members[i].n + 1u);
    node->members_n = node->required_n = 0;
    node->map = true;
}

/* What from's instances lacked is not required in to; of a name that from may have had without a node, to's
 * node does not tell all: it goes. */
static void narrow_members(struct merge *g, struct infer_node *to, const struct infer_node *from)
{
    uint32_t n = 0;

    for (uint32_t i = 0; i < to->members_n; i++) {
        struct infer_member *member = &to->members[i];
        const struct infer_member *other =
            infer_member_find(from, (struct slice){member->name, member->n}, member->hash, i);
        if (!other || !other->required)
            unrequire(to, member);
        if (other || !(from->beyond & BEYOND_NAMES)) {
            to->members[n++] = *member;
        } else {
            drop(g, member->node);
            infer_release(g->m, member->name, member->n + 1u);
        }
    }
    to->members_n = (uint16_t)n;
}

static void merge_members(struct merge *g, struct infer_node *to, struct infer_node *from)
{
    const bool both = to->kinds & from->kinds & KIND_OBJECT;

    if (both)
        narrow_members(g, to, from);
    for (uint32_t i = 0; i < from->members_n; i++) {
        struct infer_member *member = &from->members[i];
        const struct slice name = {member->name, member->n};
        struct infer_member *mine = infer_member_find(to, name, member->hash, i);
        struct infer_node *child = TAKE(member->node);
        if (mine) {
            merge_node(g, mine->node, child);
        } else if (to->members_n < LIMIT_INFER_PROPERTIES && !to->map &&
                   !(to->beyond & BEYOND_NAMES) &&
                   (mine = infer_member_add(g->m, to, name, member->hash, child))) {
            mine->required = !both && member->required;
            to->required_n = (uint16_t)(to->required_n + mine->required);
        } else if (to->map || to->members_n == LIMIT_INFER_PROPERTIES) {
            merge_members_into_values(g, to);
            merge_child(g, &to->values, &child);
        } else {
            to->beyond |= BEYOND_NAMES;
            drop(g, child);
        }
    }
    for (uint32_t i = 0; i < from->members_n; i++)
        infer_release(g->m, from->members[i].name, from->members[i].n + 1u);
    from->members_n = 0;
}

/* Add all of from to to; from is no more. */
static void merge_node(struct merge *g, struct infer_node *to, struct infer_node *from)
{
    if (from->map && !to->map)
        merge_members_into_values(g, to);
    merge_members(g, to, from);
    merge_child(g, &to->items, &from->items);
    merge_child(g, &to->values, &from->values);
    if (to->kinds & from->kinds & KIND_STRING)
        to->format = to->format == from->format ? to->format : FORMAT_NONE;
    else if (from->kinds & KIND_STRING)
        to->format = from->format;
    to->kinds |= from->kinds;
    to->beyond |= from->beyond;
    infer_seen_merge(g->m, to, from->seen);
    infer_tally_add(&to->direct, from->direct);
    /* Whether they were in the same events isn't known: at most they were in all. */
    to->direct.count = MIN(to->direct.count, g->m->root->direct.count);
    g->into[from->id] = to->id;
    g->m->nodes[from->id] = NULL;
    infer_node_free(g->m, from);
}

static void renumber_bits(const struct merge *g, uint8_t *bits, uint32_t bytes)
{
    uint8_t now[INFER_BITS_BYTES] = {0};

    for (uint32_t i = 0; i < bytes * 8; i++)
        if (infer_bit(bits, i) && g->id[i] != GONE)
            infer_bit_set(now, g->id[i]);
    memcpy(bits, now, bytes);
}

static void renumber_shape(struct infer_shape_rec *rec, void *arg)
{
    renumber_bits(arg, rec->nodes, rec->nodes_bytes);
}

/* New ids without gaps. A node gets the rank of the least old id of those that went into it, so that no id
 * grows and no record of a shape needs more bytes. */
static void renumber(struct merge *g)
{
    struct infer *m = g->m;
    uint32_t n = 0;

    for (uint32_t i = 0; i < m->nodes_n; i++)
        g->id[i] = GONE;
    for (uint32_t i = 0; i < m->nodes_n; i++) {
        uint16_t to = (uint16_t)i;
        while (to != GONE && g->into[to] != to)
            to = g->into[to];
        if (to == GONE)
            continue;
        if (g->id[to] == GONE) {
            g->id[to] = (uint16_t)n;
            g->now[n] = m->nodes[to];
            g->now[n]->id = (uint16_t)n;
            n++;
        }
        g->id[i] = g->id[to];
    }
    memcpy(m->nodes, g->now, n * sizeof(g->now[0]));
    infer_shapes_each(m, renumber_shape, g);
    renumber_bits(g, m->touched, INFER_BITS_BYTES);
    m->nodes_n = n;
}

void infer_collapse(struct infer *m, struct infer_node *object)
{
    struct merge g;

    g.m = m;
    for (uint32_t i = 0; i < LIMIT_INFER_NODES; i++)
        g.into[i] = g.id[i] = (uint16_t)i;
    merge_members_into_values(&g, object);
    renumber(&g);
}
