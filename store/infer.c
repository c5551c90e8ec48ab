/* SPDX-License-Identifier: MIT */
/* Values into a model. One walk does both: to merge a value (grow), which makes what is not there yet, and to
 * look at its scalars.
 *
 * What is merged is idempotent and its order does not matter: kinds are united, a format stays while all
 * agree, a member is required while each instance has it. So a value whose shape was merged can be skipped.
 * Counts are kept by shape, with the set of nodes that the shape has: what a node's count is, is the sum over
 * its shapes. Values beyond LIMIT_INFER_SHAPES are merged one by one and counted in the nodes themselves.
 *
 * Where LIMIT_INFER_NODES are used up, a child is left out for good, and its parent says so (beyond): once
 * a value was not looked at, a node that came later would not tell all. */
#include "infer_model.h"

#include "name.h"
#include "scan.h"

#include <errno.h>

struct merge {
    struct infer *m;
    const char *p, *end;
    bool grow;
    bool changed; /* structurally */
    bool failed;  /* no memory */
};

static void value(struct merge *g, struct infer_node *node, unsigned depth);

static struct slice string(struct merge *g)
{
    const struct slice s = {g->p, scan_skip(g->p, (size_t)(g->end - g->p))};

    g->p += s.n;
    return s;
}

/* To the next token behind white space, commas and colons. */
static char next(struct merge *g)
{
    while (g->p < g->end && (scan_is_space(*g->p) || *g->p == ',' || *g->p == ':'))
        g->p++;
    return g->p < g->end ? *g->p : '\0';
}

static void add_kind(struct merge *g, struct infer_node *node, unsigned kind)
{
    if (!g->grow || (node->kinds & kind))
        return;
    /* An integer is a number. */
    g->changed |= !(kind == KIND_INTEGER && (node->kinds & KIND_NUMBER));
    node->kinds = (uint8_t)(node->kinds | kind);
}

static void set_beyond(struct merge *g, struct infer_node *node, unsigned what)
{
    g->changed |= !(node->beyond & what);
    node->beyond = (uint8_t)(node->beyond | what);
}

/* A node for a child that has none. NULL: it gets none; if for lack of places, node says so by beyond. */
static struct infer_node *new_child(struct merge *g, struct infer_node *node, unsigned beyond)
{
    bool full;

    if (!g->grow || g->failed || (node->beyond & beyond))
        return NULL;
    struct infer_node *child = infer_node_new(g->m, &full);
    if (full)
        set_beyond(g, node, beyond);
    else if (!child)
        g->failed = true;
    return child;
}

/* ---- scalars --------------------------------------------------------------------------------- */

static void a_string(struct merge *g, struct infer_node *node)
{
    const struct slice raw = string(g);

    if (g->grow) {
        const enum infer_format f = infer_format_raw(raw);
        if (!(node->kinds & KIND_STRING)) {
            node->format = (uint8_t)f;
        } else if (node->format != FORMAT_NONE && node->format != f) {
            node->format = FORMAT_NONE;
            g->changed = true;
        }
        add_kind(g, node, KIND_STRING);
    }
    infer_look_string(g->m, node, raw);
}

static void a_number(struct merge *g, struct infer_node *node)
{
    const struct slice raw = string(g);
    unsigned kind = KIND_INTEGER;

    for (size_t i = 0; i < raw.n; i++)
        if (raw.p[i] == '.' || raw.p[i] == 'e' || raw.p[i] == 'E')
            kind = KIND_NUMBER;
    add_kind(g, node, kind);
    infer_look_number(g->m, node, raw);
}

/* ---- containers ------------------------------------------------------------------------------ */

static void an_array(struct merge *g, struct infer_node *node, unsigned depth)
{
    char c;

    add_kind(g, node, KIND_ARRAY);
    g->p++;
    while ((c = next(g)) && c != ']') {
        if (!node->items)
            node->items = new_child(g, node, BEYOND_ITEMS);
        value(g, node->items, depth + 1);
    }
    g->p += c == ']';
}

struct instance {
    struct infer_node *node;
    uint64_t stamp;
    uint32_t hint;     /* where the next member is looked for first */
    uint32_t required; /* members that are required, met so far */
    bool first;        /* the first of this object */
};

/* The node for what is under a plain name, or NULL. */
static struct infer_node *named_child(struct merge *g, struct instance *o, struct slice name)
{
    struct infer_node *node = o->node;
    const uint64_t hash = name_hash(name.p, name.n, 0);
    struct infer_member *member = infer_member_find(node, name, hash, o->hint);

    if (!member) {
        if (g->grow && node->members_n == LIMIT_INFER_PROPERTIES) {
            infer_collapse(g->m, node);
            g->changed = true;
            return node->values;
        }
        struct infer_node *child = new_child(g, node, BEYOND_NAMES);
        if (!child)
            return NULL;
        member = infer_member_add(g->m, node, name, hash, child);
        if (!member) {
            g->m->nodes_n--; /* it is the last */
            infer_node_free(g->m, child);
            g->failed = true;
            return NULL;
        }
        g->changed = true;
        member->required = o->first;
        node->required_n = (uint16_t)(node->required_n + o->first);
    }
    o->hint = (uint32_t)(member - node->members) + 1;
    o->required += member->required && member->stamp != o->stamp;
    if (g->grow)
        member->stamp = o->stamp;
    return member->node;
}

static void a_member(struct merge *g, struct instance *o, unsigned depth)
{
    struct infer_node *node = o->node, *child;
    const struct slice raw = string(g);
    char decoded[INFER_RAW_NAME_MAX + 2];

    if (node->map || infer_name_is_data(raw)) {
        if (!node->values && (child = new_child(g, node, BEYOND_MAP))) {
            node->values = child;
            g->changed = true;
        }
        child = node->values;
    } else {
        struct slice name = {raw.p + 1, raw.n - 2};
        if (memchr(name.p, '\\', name.n))
            name = (struct slice){decoded, scan_decode(raw, decoded, NULL)};
        child = named_child(g, o, name);
    }
    (void)next(g);
    value(g, child, depth + 1);
}

static void an_object(struct merge *g, struct infer_node *node, unsigned depth)
{
    struct instance o = {.node = node, .first = !(node->kinds & KIND_OBJECT)};
    char c;

    o.stamp = g->grow ? ++g->m->stamp : 0;
    add_kind(g, node, KIND_OBJECT);
    g->p++;
    while ((c = next(g)) && c != '}')
        a_member(g, &o, depth);
    g->p += c == '}';
    if (!g->grow || o.required >= node->required_n)
        return;
    for (uint32_t i = 0; i < node->members_n; i++) {
        struct infer_member *member = &node->members[i];
        if (member->required && member->stamp != o.stamp) {
            member->required = false;
            node->required_n--;
            g->changed = true;
        }
    }
}

/* One value, at g->p. node NULL: it is only passed. */
static void value(struct merge *g, struct infer_node *node, unsigned depth)
{
    const char c = *g->p;

    if (!node || g->failed) {
        (void)string(g);
        return;
    }
    if (g->grow)
        infer_bit_set(g->m->touched, node->id);
    if ((c == '{' || c == '[') && depth >= LIMIT_INFER_DEPTH) {
        if (g->grow)
            set_beyond(g, node, BEYOND_DEPTH);
        (void)string(g);
    } else if (c == '{') {
        an_object(g, node, depth);
    } else if (c == '[') {
        an_array(g, node, depth);
    } else if (c == '"') {
        a_string(g, node);
    } else if (c == 'n') {
        add_kind(g, node, KIND_NULL);
        (void)string(g);
    } else if (c == 't' || c == 'f') {
        add_kind(g, node, KIND_BOOLEAN);
        (void)string(g);
    } else {
        a_number(g, node);
    }
}

/* ---- public ---------------------------------------------------------------------------------- */

int infer_new(struct infer **ret)
{
    struct infer *m = calloc(1, sizeof *m);
    bool full;

    if (!m)
        return -ENOMEM;
    m->bytes = sizeof *m;
    m->root = infer_node_new(m, &full);
    if (!m->root) {
        infer_free(m);
        return -ENOMEM;
    }
    *ret = m;
    return 0;
}

void infer_free(struct infer *m)
{
    if (!m)
        return;
    infer_shapes_free(m);
    for (uint32_t i = 0; i < m->nodes_n; i++)
        infer_node_free(m, m->nodes[i]);
    infer_release(m, m->nodes, m->nodes_max * sizeof(struct infer_node *));
    assert(m->bytes == sizeof *m);
    free(m);
}

static void count_nodes(struct infer *m, evs_seq seq)
{
    for (uint32_t i = 0; i < m->nodes_n; i++)
        if (infer_bit(m->touched, i))
            infer_tally_add(&m->nodes[i]->direct, (struct infer_tally){1, seq, seq});
}

int infer_add(struct infer *m, struct slice json, uint64_t shape, evs_seq seq)
{
    struct merge g = {.m = m, .p = json.p, .end = json.p + json.n, .grow = true};
    struct infer_shape_rec *rec = infer_find(m, shape);

    assert(json.n > 0);
    if (rec) {
        infer_span_add(&rec->added, seq);
        infer_sample(m, json);
        return 0;
    }
    memset(m->touched, 0, sizeof m->touched);
    value(&g, m->root, 0);
    m->changed |= g.changed;
    if (g.failed)
        return -ENOMEM;
    if (m->shapes_n == LIMIT_INFER_SHAPES)
        count_nodes(m, seq);
    else if (infer_remember(m, shape, (struct infer_tally){1, seq, seq}) < 0)
        return -ENOMEM;
    const bool changed = m->changed;
    m->changed = false;
    return changed;
}

void infer_sample(struct infer *m, struct slice json)
{
    struct merge g = {.m = m, .p = json.p, .end = json.p + json.n};

    assert(json.n > 0);
    value(&g, m->root, 0);
}

size_t infer_bytes(const struct infer *m)
{
    return m->bytes;
}

static void tally_shape(struct infer_shape_rec *rec, void *arg)
{
    infer_tally_span(arg, &rec->added);
    infer_tally_span(arg, &rec->hits);
}

uint64_t infer_count(const struct infer *m)
{
    struct infer_tally y = m->root->direct;

    infer_shapes_each(m, tally_shape, &y);
    return y.count;
}
