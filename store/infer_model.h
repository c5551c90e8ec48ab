/* SPDX-License-Identifier: MIT */
/* infer_model: the model of a type, shared by infer*.c alone. */
#ifndef STORE_INFER_MODEL_H
#define STORE_INFER_MODEL_H

#include "infer.h"
#include "infer_format.h"
#include "limits.h"

enum infer_kind {
    KIND_NULL = 1,
    KIND_BOOLEAN = 2,
    KIND_INTEGER = 4,
    KIND_NUMBER = 8, /* written with a point or an exponent */
    KIND_STRING = 16,
    KIND_ARRAY = 32,
    KIND_OBJECT = 64,
    KIND_ALL = 127
};

/* What a node does not describe: anything is allowed there. */
enum infer_beyond {
    BEYOND_DEPTH = 1, /* containers at this place: the place allows anything */
    BEYOND_NAMES = 2, /* some names of this object have no node: its other names allow anything */
    BEYOND_ITEMS = 4, /* elements have no node */
    BEYOND_MAP = 8,   /* values under data-like names have no node */
    BEYOND_ALL = 15
};

/* Scalars that were looked at. text: n times a byte with the length and the value as JSON. */
struct infer_seen {
    double min, max;           /* of the numbers, if any */
    uint32_t len_min, len_max; /* of the strings, in code points, if any */
    uint32_t numbers, strings; /* how many were looked at; they stop at UINT32_MAX */
    bool many;                 /* there are others than those in text */
    uint8_t n;
    uint16_t text_bytes;
    char *text; /* owned */
};

struct infer_member {
    char *name; /* owned, decoded; no NUL, no lone surrogate within */
    uint64_t hash;
    uint64_t stamp; /* the instance in which it was met last */
    struct infer_node *node;
    uint8_t n;     /* bytes of name */
    bool required; /* in every instance so far */
};

struct infer_tally {
    uint64_t count, first, last;
};

/* A place in the values: the union of all that stood there. */
struct infer_node {
    uint16_t id; /* m->nodes[id] is it, and its bit in shapes */
    uint8_t kinds;
    uint8_t format; /* of all strings so far; NONE, too, once they differed */
    uint8_t beyond;
    bool map; /* all names are data: there are too many */
    uint16_t members_n, members_max;
    uint16_t required_n;
    struct infer_member *members; /* in the order in which they came */
    struct infer_node *items;     /* elements of arrays */
    struct infer_node *values;    /* under names that are data */
    struct infer_seen *seen;      /* NULL: nothing was looked at */
    struct infer_tally direct;    /* events that belong to no remembered shape */
};

static_assert(LIMIT_INFER_NODES <= UINT16_MAX && LIMIT_INFER_NAME_BYTES <= UINT8_MAX, "types");

enum { INFER_BITS_BYTES = LIMIT_INFER_NODES / 8 };

struct infer_table; /* of shapes */

/* (1) Each node but the root has one parent, and nodes[] holds all of them, id by id.
 * (2) members_n <= LIMIT_INFER_PROPERTIES; a map has no members.
 * (3) required_n members are required. */
struct infer {
    struct infer_node *root;
    struct infer_node **nodes;
    uint32_t nodes_n, nodes_max;
    bool changed; /* by values that there was no memory for: not told yet */
    _Atomic(struct infer_table *) table;
    uint32_t shapes_n;
    size_t bytes;
    uint64_t stamp;                    /* instances of objects that were merged */
    uint8_t touched[INFER_BITS_BYTES]; /* nodes that the value at hand has */
};

/* Memory of the model, counted in bytes. NULL: there is none. */
void *infer_alloc(struct infer *m, size_t n); /* zeroed */
void *infer_realloc(struct infer *m, void *p, size_t old_n, size_t n);
void infer_release(struct infer *m, void *p, size_t n);

/* A new node, or NULL: no memory, or *ret_full: LIMIT_INFER_NODES are there. */
struct infer_node *infer_node_new(struct infer *m, bool *ret_full);
/* Free what the node owns, not its children nor its place in nodes[]. */
void infer_node_free(struct infer *m, struct infer_node *node);

/* The member with this name, or NULL. hint: where to look first. */
struct infer_member *infer_member_find(const struct infer_node *node, struct slice name,
                                       uint64_t hash, uint32_t hint);
/* A member that is not there yet, with its node; there is room for it. NULL: no memory. */
struct infer_member *infer_member_add(struct infer *m, struct infer_node *node, struct slice name,
                                      uint64_t hash, struct infer_node *child);

/* Make a map of an object: what was under its names is one node from now on. Ids of nodes change. */
void infer_collapse(struct infer *m, struct infer_node *object);

/* Look at a scalar of this node. */
void infer_look_number(struct infer *m, struct infer_node *node, struct slice raw);
void infer_look_string(struct infer *m, struct infer_node *node, struct slice raw);
/* Whether an example may be this number. */
bool infer_is_kept_number(struct slice raw);
/* Add one's scalars to the other's. */
void infer_seen_merge(struct infer *m, struct infer_node *into, const struct infer_seen *from);

void infer_tally_add(struct infer_tally *y, struct infer_tally more);
void infer_tally_span(struct infer_tally *y, const struct infer_span *more);

/* Remember a shape that has the nodes touched[]; it is not there yet. 0 or -ENOMEM. */
int infer_remember(struct infer *m, uint64_t shape, struct infer_tally count);
void infer_shapes_free(struct infer *m);
/* Call each(rec, arg) for all of them, in the order of the table. */
void infer_shapes_each(const struct infer *m, void (*each)(struct infer_shape_rec *, void *),
                       void *arg);

static inline bool infer_bit(const uint8_t *bits, uint32_t i)
{
    return bits[i >> 3] >> (i & 7) & 1;
}

static inline void infer_bit_set(uint8_t *bits, uint32_t i)
{
    bits[i >> 3] = (uint8_t)(bits[i >> 3] | 1u << (i & 7));
}

#endif
