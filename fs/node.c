/* SPDX-License-Identifier: MIT */
/* Node ids. Always true:
 * (1) The root is 1. Every other id has its kind in bits 56-63, so none is below 2^56.
 * (2) A computed id has the entity in bits 24-55 and the type in bits 0-23. Numbers never change their
 *     meaning while the store is open, so the kernel may keep such an id for ever.
 * (3) A table id has kind NODE_TABLE and a counter that never repeats, so its generation is 0 too.
 * (4) A name is in the table from the first reply that gave its table id until the kernel forgot all of
 *     them; nodes_ref() asks the table first, so the kernel doesn't get two ids for one name.
 * (5) Numbers found for a table entry stay in it: the name is then only needed for (4).
 *
 * The table has one lock: it is held for a hash look-up and a copy, and not at all while the table is
 * empty. */
#include "node.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NODE_TABLE   0xffu
#define KIND_SHIFT   56
#define ENTITY_SHIFT 24
#define TYPE_MASK    0xffffffu

static const struct node_traits traits[NODE_KINDS] = {
    [NODE_ROOT] = {.dir = true},
    [NODE_README] = {.document = true},
    [NODE_ALL] = {.view = true, .view_kind = EVS_ALL},
    [NODE_ENTITIES] = {.dir = true},
    [NODE_ENTITY] = {.dir = true, .entity = true},
    [NODE_BELOW] = {.view = true, .entity = true, .view_kind = EVS_BELOW},
    [NODE_OWN_TYPE] = {.view = true, .entity = true, .type = true, .view_kind = EVS_OWN_TYPE},
    [NODE_STATE] = {.document = true, .entity = true, .own = true, .sized = true},
    [NODE_TYPES] = {.dir = true},
    [NODE_TYPE] = {.dir = true, .type = true},
    [NODE_TYPE_EVENTS] = {.view = true, .type = true, .view_kind = EVS_TYPE},
    [NODE_DOT] = {.dir = true},
    [NODE_STATS] = {.document = true},
    [NODE_METRICS] = {.document = true},
    [NODE_REJECTED] = {.document = true},
    [NODE_HEALTH] = {.document = true},
    [NODE_HOTPATH] = {.document = true},
    [NODE_TYPE_PIN] = {.document = true, .type = true, .own = true, .text = true, .fleeting = true},
    [NODE_TYPE_REFUSAL] = {.document = true, .type = true, .own = true, .fleeting = true},
    [NODE_DIR_PIN] =
        {.document = true, .entity = true, .own = true, .text = true, .fleeting = true},
    [NODE_SCHEMA] = {.document = true, .type = true, .own = true, .learned = true, .sized = true},
    [NODE_SCHEMAS] = {.dir = true, .type = true},
    [NODE_VERSION] = {.document = true, .type = true, .own = true, .learned = true, .sized = true},
    [NODE_CHANGES] = {.document = true, .type = true, .own = true, .learned = true, .sized = true},
    [NODE_TYPE_README] =
        {.document = true, .type = true, .own = true, .learned = true, .sized = true},
    [NODE_DIR_REFUSAL] = {.document = true, .entity = true, .own = true, .fleeting = true},
};

struct entry {
    struct entry *next_name, *next_id; /* chains of the two tables */
    uint64_t id, hash, count;
    enum node_kind kind;
    evs_entity entity; /* 0: not found yet */
    evs_type type;
    uint16_t entity_n, type_n;
    char names[]; /* entity, then type */
};

struct nodes {
    struct evs_store *st;
    pthread_mutex_t lock;
    struct entry **by_name, **by_id; /* slots each, a power of two */
    size_t slots;
    _Atomic size_t used; /* written under lock; a stale 0 is argued in nodes_ref() */
    uint64_t next;       /* of (3) */
};

const struct node_traits *node_traits(enum node_kind kind)
{
    assert(kind > 0 && kind < NODE_KINDS);
    return &traits[kind];
}

bool node_numbered(const struct node *n)
{
    const struct node_traits *t = node_traits(n->kind);

    return (!t->entity || n->entity) && (!t->type || n->type);
}

void node_find(struct evs_store *st, struct node *n)
{
    const struct node_traits *t = node_traits(n->kind);

    if (t->entity && !n->entity)
        n->entity = evs_find_entity(st, n->entity_name, n->entity_n);
    if (t->type && !n->type)
        n->type = evs_find_type(st, n->type_name, n->type_n);
}

uint64_t node_computed_id(enum node_kind kind, evs_entity entity, evs_type type)
{
    if (kind == NODE_ROOT)
        return NODE_ROOT_ID;
    assert(type <= TYPE_MASK);
    return (uint64_t)kind << KIND_SHIFT | (uint64_t)entity << ENTITY_SHIFT | type;
}

void node_names(struct evs_store *st, const struct node *n, struct node_names *ret)
{
    const struct node_traits *t = node_traits(n->kind);
    int r;

    ret->entity_n = ret->type_n = 0;
    if (n->kind == NODE_VERSION)
        ret->entity_n = (size_t)sprintf(ret->entity, "%" PRIu32, n->entity);
    if (t->entity && n->entity) {
        r = evs_entity_name(st, n->entity, ret->entity, sizeof ret->entity);
        assert(r >= 0);
        ret->entity_n = (size_t)r;
    } else if (t->entity) {
        memcpy(ret->entity, n->entity_name, n->entity_n);
        ret->entity_n = n->entity_n;
    }
    if (t->type && n->type) {
        r = evs_type_name(st, n->type, ret->type, sizeof ret->type);
        assert(r >= 0);
        ret->type_n = (size_t)r;
    } else if (t->type) {
        memcpy(ret->type, n->type_name, n->type_n);
        ret->type_n = n->type_n;
    }
}

/* FNV-1a: it can go on from any point, and names are short. node_ino() mixes what it leaves weak. */
uint64_t node_hash_start(void)
{
    return 0xcbf29ce484222325u;
}

uint64_t node_hash(uint64_t h, const char *p, size_t n)
{
    for (size_t i = 0; i < n; i++)
        h = (h ^ (unsigned char)p[i]) * 0x100000001b3u;
    return h;
}

/* 0 is in no name, so it can part the two. */
uint64_t node_hash_type(uint64_t h, const char *type, size_t n)
{
    return node_hash(node_hash(h, "", 1), type, n);
}

uint64_t node_ino(enum node_kind kind, uint64_t h)
{
    if (kind == NODE_ROOT)
        return NODE_ROOT_ID;
    h ^= (uint64_t)kind * 0x9e3779b97f4a7c15u;
    h = (h ^ h >> 33) * 0xff51afd7ed558ccdu; /* the finalizer of MurmurHash3 */
    h = (h ^ h >> 33) * 0xc4ceb9fe1a85ec53u;
    h ^= h >> 33;
    return h <= NODE_ROOT_ID ? h + 2 : h;
}

static uint64_t hash_names(const struct node_names *nm, enum node_kind kind)
{
    uint64_t h = node_hash(node_hash_start(), nm->entity, nm->entity_n);

    return node_ino(kind, node_hash_type(h, nm->type, nm->type_n));
}

uint64_t node_st_ino(struct evs_store *st, const struct node *n)
{
    struct node_names nm;

    node_names(st, n, &nm);
    return hash_names(&nm, n->kind);
}

struct nodes *nodes_new(struct evs_store *st)
{
    struct nodes *ns = calloc(1, sizeof *ns);

    if (!ns)
        return NULL;
    ns->st = st;
    ns->slots = 64;
    ns->by_name = calloc(ns->slots, sizeof *ns->by_name);
    ns->by_id = calloc(ns->slots, sizeof *ns->by_id);
    if (pthread_mutex_init(&ns->lock, NULL) != 0 || !ns->by_name || !ns->by_id) {
        free(ns->by_name);
        free(ns->by_id);
        free(ns);
        return NULL;
    }
    return ns;
}

void nodes_free(struct nodes *ns)
{
    if (!ns)
        return;
    for (size_t i = 0; i < ns->slots; i++) {
        for (struct entry *e = ns->by_id[i], *next; e; e = next) {
            next = e->next_id;
            free(e);
        }
    }
    free(ns->by_name);
    free(ns->by_id);
    pthread_mutex_destroy(&ns->lock);
    free(ns);
}

static struct entry **name_slot(struct nodes *ns, uint64_t hash)
{
    return &ns->by_name[hash & (ns->slots - 1)];
}

static struct entry **id_slot(struct nodes *ns, uint64_t id)
{
    return &ns->by_id[id & (ns->slots - 1)];
}

static struct entry *find_id(struct nodes *ns, uint64_t id)
{
    struct entry *e = *id_slot(ns, id);

    while (e && e->id != id)
        e = e->next_id;
    return e;
}

static struct entry *find_name(struct nodes *ns, const struct node_names *nm, enum node_kind kind,
                               uint64_t hash)
{
    for (struct entry *e = *name_slot(ns, hash); e; e = e->next_name) {
        if (e->hash == hash && e->kind == kind && e->entity_n == nm->entity_n &&
            e->type_n == nm->type_n && memcmp(e->names, nm->entity, nm->entity_n) == 0 &&
            memcmp(e->names + e->entity_n, nm->type, nm->type_n) == 0)
            return e;
    }
    return NULL;
}

/* Twice the slots. Without the memory for it the chains only get longer. */
static void grow(struct nodes *ns)
{
    size_t old = ns->slots;
    struct entry **by_name = calloc(old * 2, sizeof *by_name);
    struct entry **by_id = calloc(old * 2, sizeof *by_id);
    struct entry **was = ns->by_id;

    if (!by_name || !by_id) {
        free(by_name);
        free(by_id);
        return;
    }
    free(ns->by_name);
    ns->by_name = by_name;
    ns->by_id = by_id;
    ns->slots = old * 2;
    for (size_t i = 0; i < old; i++) {
        for (struct entry *e = was[i], *next; e; e = next) {
            next = e->next_id;
            e->next_name = *name_slot(ns, e->hash);
            *name_slot(ns, e->hash) = e;
            e->next_id = *id_slot(ns, e->id);
            *id_slot(ns, e->id) = e;
        }
    }
    free(was);
}

static struct entry *add(struct nodes *ns, const struct node_names *nm, enum node_kind kind,
                         uint64_t hash)
{
    size_t used = atomic_load_explicit(&ns->used, memory_order_relaxed);
    struct entry *e = malloc(sizeof *e + nm->entity_n + nm->type_n);

    if (!e)
        return NULL;
    if (used >= ns->slots)
        grow(ns);
    *e = (struct entry){.id = (uint64_t)NODE_TABLE << KIND_SHIFT | ++ns->next,
                        .hash = hash,
                        .kind = kind,
                        .entity_n = (uint16_t)nm->entity_n,
                        .type_n = (uint16_t)nm->type_n};
    memcpy(e->names, nm->entity, nm->entity_n);
    memcpy(e->names + nm->entity_n, nm->type, nm->type_n);
    e->next_name = *name_slot(ns, hash);
    *name_slot(ns, hash) = e;
    e->next_id = *id_slot(ns, e->id);
    *id_slot(ns, e->id) = e;
    atomic_store_explicit(&ns->used, used + 1, memory_order_relaxed);
    return e;
}

/* A stale 0 of used: another thread is adding this very name, in a look-up that began before the name was
 * real. The kernel has one look-up of a name at a time, so it is for another name. */
int nodes_ref(struct nodes *ns, struct node *n)
{
    bool numbered = node_numbered(n);
    struct node_names nm;
    struct entry *e;

    if (numbered && atomic_load_explicit(&ns->used, memory_order_relaxed) == 0) {
        n->id = node_computed_id(n->kind, n->entity, n->type);
        return 0;
    }
    node_names(ns->st, n, &nm);
    uint64_t hash = hash_names(&nm, n->kind);

    pthread_mutex_lock(&ns->lock);
    e = find_name(ns, &nm, n->kind, hash);
    if (!e && !numbered)
        e = add(ns, &nm, n->kind, hash);
    if (e) {
        e->count++;
        n->id = e->id;
    }
    pthread_mutex_unlock(&ns->lock);
    if (e)
        return 0;
    if (!numbered)
        return -ENOMEM;
    n->id = node_computed_id(n->kind, n->entity, n->type);
    return 0;
}

static void take_out(struct nodes *ns, struct entry *e)
{
    struct entry **p = name_slot(ns, e->hash);

    while (*p != e)
        p = &(*p)->next_name;
    *p = e->next_name;
    p = id_slot(ns, e->id);
    while (*p != e)
        p = &(*p)->next_id;
    *p = e->next_id;
    atomic_store_explicit(&ns->used, atomic_load_explicit(&ns->used, memory_order_relaxed) - 1,
                          memory_order_relaxed);
}

void nodes_forget(struct nodes *ns, uint64_t id, uint64_t count)
{
    struct entry *e;

    if (id >> KIND_SHIFT != NODE_TABLE)
        return;
    pthread_mutex_lock(&ns->lock);
    e = find_id(ns, id);
    if (e) {
        e->count -= e->count < count ? e->count : count;
        if (e->count == 0)
            take_out(ns, e);
        else
            e = NULL;
    }
    pthread_mutex_unlock(&ns->lock);
    free(e);
}

static int resolve_table(struct nodes *ns, uint64_t id, struct node *ret)
{
    struct entry *e;

    pthread_mutex_lock(&ns->lock);
    e = find_id(ns, id);
    if (e) {
        ret->kind = e->kind;
        ret->entity = e->entity;
        ret->type = e->type;
        ret->entity_n = e->entity_n;
        ret->type_n = e->type_n;
        memcpy(ret->entity_name, e->names, e->entity_n);
        memcpy(ret->type_name, e->names + e->entity_n, e->type_n);
        if (!node_numbered(ret)) {
            node_find(ns->st, ret);
            e->entity = ret->entity;
            e->type = ret->type;
        }
    }
    pthread_mutex_unlock(&ns->lock);
    return e ? 0 : -ESTALE;
}

int nodes_resolve(struct nodes *ns, uint64_t id, struct node *ret)
{
    uint64_t kind = id >> KIND_SHIFT;

    ret->id = id;
    ret->hidden = false;
    ret->entity = 0;
    ret->type = 0;
    ret->entity_n = ret->type_n = 0;
    if (kind == NODE_TABLE)
        return resolve_table(ns, id, ret);
    if (id == NODE_ROOT_ID)
        kind = NODE_ROOT;
    else if (kind <= NODE_ROOT || kind >= NODE_KINDS)
        return -ESTALE;
    else {
        ret->entity = (evs_entity)(id >> ENTITY_SHIFT);
        ret->type = (evs_type)(id & TYPE_MASK);
    }
    ret->kind = (enum node_kind)kind;
    return 0;
}

size_t nodes_count(struct nodes *ns)
{
    return atomic_load_explicit(&ns->used, memory_order_relaxed);
}
