/* SPDX-License-Identifier: MIT */
/* node: what the kernel calls an inode. A node is a kind and the numbers of its entity and type; its id is
 * computed from these, so real things need no table. A name that has no number yet is in a counted table. */
#ifndef FS_NODE_H
#define FS_NODE_H

#include "store/evstore.h"

#define NODE_ENTITY_BYTES 1024 /* longest decoded entity */
#define NODE_TYPE_BYTES   128  /* longest decoded type */
#define NODE_ROOT_ID      1    /* FUSE_ROOT_ID */

/* A new kind of file: one value here, one row of the table in node.c, one row in tree.c. They are in node
 * ids that the kernel holds only while mounted, and in st_ino, which users may keep: append, don't renumber. */
enum node_kind {
    NODE_ROOT = 1,
    NODE_README,
    NODE_ALL,         /* /events.jsonl */
    NODE_ENTITIES,    /* entities/; its entity is EVS_ROOT */
    NODE_ENTITY,      /* the directory of an entity */
    NODE_BELOW,       /* its events.jsonl */
    NODE_OWN_TYPE,    /* its TYPE.jsonl */
    NODE_STATE,       /* its state.json */
    NODE_TYPES,       /* types/ */
    NODE_TYPE,        /* types/T/ */
    NODE_TYPE_EVENTS, /* types/T/events.jsonl */
    NODE_DOT,         /* .evfs/ */
    NODE_STATS,
    NODE_METRICS,
    NODE_REJECTED,
    NODE_HEALTH,
    NODE_HOTPATH,      /* only in a build that counts */
    NODE_TYPE_PIN,     /* types/T/pinned.json */
    NODE_TYPE_REFUSAL, /* types/T/pinned.error */
    NODE_DIR_PIN,      /* pinned.json in the directory of an entity */
    NODE_DIR_REFUSAL,  /* pinned.error.json there */
    NODE_SCHEMA,       /* types/T/schema.json: what its data looks like */
    NODE_SCHEMAS,      /* types/T/schemas/ */
    NODE_VERSION,      /* types/T/schemas/N.json; its entity is N */
    NODE_CHANGES,      /* types/T/changes.jsonl: what each version changed */
    NODE_TYPE_README,  /* types/T/README */
    NODE_KINDS
};

/* What is true of every node of a kind. */
struct node_traits {
    bool dir;
    bool entity; /* it has an entity */
    bool type;   /* it has a type */
    bool view;   /* its content is a view, of kind view_kind: can be read, polled and appended to */
    bool document; /* its content is computed when it is opened */
    bool own;      /* a document with the rights of its directory; others are everybody's to read */
    bool text;     /* a document that users write */
    bool
        learned; /* shows what was learned from the events of a type: who may not read these, may not read it */
    bool sized;    /* a document whose size is told, which is only known by making it */
    bool fleeting; /* comes and goes: its name is not kept */
    enum evs_view_kind view_kind;
};
const struct node_traits *node_traits(enum node_kind kind);

struct node {
    uint64_t id; /* the kernel's; 0: it has none yet */
    enum node_kind kind;
    evs_entity entity; /* 0: none, or not yet: entity_name says which */
    evs_type type;     /* likewise */
    bool hidden;       /* the name begins with '.' or ends in '~': answered only once real */
    uint16_t entity_n, type_n;
    char entity_name
        [NODE_ENTITY_BYTES]; /* decoded; valid only where entity is 0 and the kind has one */
    char type_name[NODE_TYPE_BYTES];
};

/* Does it have all the numbers that its kind needs? */
bool node_numbered(const struct node *n);
/* Give it the numbers of names that the store has meanwhile. */
void node_find(struct evs_store *st, struct node *n);
/* The id that a numbered node has by computation. */
uint64_t node_computed_id(enum node_kind kind, evs_entity entity, evs_type type);

/* Both names, decoded; "" where the kind has none. Of a version the digits stand for the entity's. */
struct node_names {
    size_t entity_n, type_n;
    char entity[NODE_ENTITY_BYTES], type[NODE_TYPE_BYTES];
};
void node_names(struct evs_store *st, const struct node *n, struct node_names *ret);

/* st_ino: a hash of kind and names, so the same before and after the first event and over remounts. Never 0;
 * 1 only for the root. The name hash goes on where it stopped: a listing hashes its directory once. */
uint64_t node_hash_start(void);
uint64_t node_hash(uint64_t h, const char *p, size_t n);
uint64_t node_hash_type(uint64_t h, const char *type, size_t n); /* after the entity's name */
uint64_t node_ino(enum node_kind kind, uint64_t name_hash);
uint64_t node_st_ino(struct evs_store *st, const struct node *n);

/* ---- names that were looked up before they were real ---- */

struct nodes;
struct nodes *nodes_new(struct evs_store *st); /* NULL: no memory. st is borrowed for its life */
void nodes_free(struct nodes *ns);             /* NULL is fine */

/* Set n->id to what the kernel shall call it, and count one more look-up. A name that the kernel knows by a
 * table id keeps it, though it is real now. -ENOMEM. */
int nodes_ref(struct nodes *ns, struct node *n);
/* The kernel drops count look-ups of id. */
void nodes_forget(struct nodes *ns, uint64_t id, uint64_t count);
/* What id is. A table id is numbered as soon as the store has the names. -ESTALE for an id that we never
 * gave. */
int nodes_resolve(struct nodes *ns, uint64_t id, struct node *ret);
size_t nodes_count(struct nodes *ns); /* names in the table */

#endif
