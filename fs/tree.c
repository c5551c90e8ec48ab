/* SPDX-License-Identifier: MIT */
/* The grammar. Always true:
 * (1) A name is exactly one thing: fixed names first, then the endings .jsonl, .json and .csv, which no
 *     encoded component has, then components. So nothing that a user appends can hide a fixed name.
 * (2) What a listing gives, tree_child() of that name gives back, with the same numbers.
 * (3) Cookies: 1 and 2 are '.' and '..'; 3 + i the i-th fixed name; from COOKIE_TYPES the entity's own
 *     types in their order; from COOKIE_CHILDREN the number of the child, or of the type; from COOKIE_PINNED the
 *     places of pinned types that have no event. All orders only grow. */
#include "tree.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NAME_MAX_BYTES  (TREE_NAME_BYTES - 1)
#define COOKIE_TYPES    (1ull << 24)
#define COOKIE_CHILDREN (1ull << 32)
#define COOKIE_PINNED   (1ull << 40)
#define JSONL           ".jsonl"

static const struct fixed {
    enum node_kind dir;
    const char *name;
    enum node_kind kind;
} fixed[] = {
    {NODE_ROOT, "README", NODE_README},
    {NODE_ROOT, "events.jsonl", NODE_ALL},
    {NODE_ROOT, "entities", NODE_ENTITIES},
    {NODE_ROOT, "types", NODE_TYPES},
    {NODE_ROOT, ".evfs", NODE_DOT},
    {NODE_ENTITY, "events.jsonl", NODE_BELOW},
    {NODE_ENTITY, "state.json", NODE_STATE},
    {NODE_ENTITY, "pinned.json", NODE_DIR_PIN},
    {NODE_ENTITY, "pinned.error.json", NODE_DIR_REFUSAL},
    {NODE_TYPE, "events.jsonl", NODE_TYPE_EVENTS},
    {NODE_TYPE, "README", NODE_TYPE_README},
    {NODE_TYPE, "schema.json", NODE_SCHEMA},
    {NODE_TYPE, "schemas", NODE_SCHEMAS},
    {NODE_TYPE, "changes.jsonl", NODE_CHANGES},
    {NODE_TYPE, "pinned.json", NODE_TYPE_PIN},
    {NODE_TYPE, "pinned.error", NODE_TYPE_REFUSAL},
    {NODE_DOT, "stats.json", NODE_STATS},
    {NODE_DOT, "metrics.prom", NODE_METRICS},
    {NODE_DOT, "rejected.jsonl", NODE_REJECTED},
    {NODE_DOT, "health", NODE_HEALTH},
#ifdef EVFS_HOTPATH
    {NODE_DOT, "hotpath.json", NODE_HOTPATH},
#endif
};
#define FIXED_N (sizeof fixed / sizeof *fixed)

static bool ends_in(const char *name, size_t n, const char *end)
{
    size_t end_n = strlen(end);

    return n >= end_n && memcmp(name + n - end_n, end, end_n) == 0;
}

static int as_errno(int r)
{
    return r == -ENOENT ? -EINVAL : r;
}

/* The id that component comp of parent makes: encoding it again checks length and depth. */
static int join_entity(struct evs_store *st, const struct node *parent, const char *comp, size_t n,
                       struct node *ret)
{
    struct node_names nm = {.entity_n = 0};
    char path[EVS_PATH_MAX];
    size_t at = 0;
    int r;

    if (parent->kind == NODE_ENTITY) {
        node_names(st, parent, &nm);
        memcpy(ret->entity_name, nm.entity, nm.entity_n);
        at = nm.entity_n;
        if (at + 1 + n > NODE_ENTITY_BYTES)
            return -ENAMETOOLONG;
        ret->entity_name[at++] = '/';
    }
    if (at + n > NODE_ENTITY_BYTES)
        return -ENAMETOOLONG;
    memcpy(ret->entity_name + at, comp, n);
    ret->entity_n = (uint16_t)(at + n);
    if (ret->entity_n == 0) /* entities/%: no id itself, but where those are that begin with '/' */
        return 0;
    r = evs_encode_entity(ret->entity_name, ret->entity_n, path, sizeof path, NULL);
    return r < 0 ? as_errno(r) : 0;
}

static int child_entity(struct evs_store *st, const struct node *parent, const char *name, size_t n,
                        struct node *ret)
{
    char comp[NODE_ENTITY_BYTES];
    int r = evs_decode_component(name, n, false, comp, sizeof comp, NULL);

    if (r < 0)
        return as_errno(r);
    ret->kind = NODE_ENTITY;
    if (parent->entity)
        ret->entity = evs_find_child(st, parent->entity, comp, (size_t)r);
    return ret->entity ? 0 : join_entity(st, parent, comp, (size_t)r, ret);
}

static int find_type(struct evs_store *st, const char *name, size_t n, struct node *ret)
{
    char type[NAME_MAX_BYTES];
    int r = evs_decode_component(name, n, true, type, sizeof type, NULL);

    if (r < 0)
        return as_errno(r);
    if (r > NODE_TYPE_BYTES)
        return -ENAMETOOLONG;
    ret->type = evs_find_type(st, type, (size_t)r);
    memcpy(ret->type_name, type, (size_t)r);
    ret->type_n = (uint16_t)r;
    return 0;
}

static void same_entity(const struct node *parent, struct node *ret)
{
    ret->entity = parent->entity;
    ret->entity_n = parent->entity_n;
    memcpy(ret->entity_name, parent->entity_name, parent->entity_n);
}

static void same_type(const struct node *parent, struct node *ret)
{
    ret->type = parent->type;
    ret->type_n = parent->type_n;
    memcpy(ret->type_name, parent->type_name, parent->type_n);
}

static bool child_fixed(const struct node *parent, const char *name, struct node *ret)
{
    for (size_t i = 0; i < FIXED_N; i++) {
        if (fixed[i].dir != parent->kind || strcmp(fixed[i].name, name) != 0)
            continue;
        ret->kind = fixed[i].kind;
        if (node_traits(ret->kind)->entity)
            same_entity(parent, ret);
        if (node_traits(ret->kind)->type)
            same_type(parent, ret);
        if (ret->kind == NODE_ENTITIES)
            ret->entity = EVS_ROOT;
        return true;
    }
    return false;
}

/* N.json, as it is listed. */
static int child_version(const struct node *parent, const char *name, struct node *ret)
{
    char canonical[24];
    char *end;
    unsigned long v = strtoul(name, &end, 10);

    (void)snprintf(canonical, sizeof canonical, "%lu.json", v);
    if (v == 0 || v > UINT32_MAX || strcmp(canonical, name) != 0)
        return -EPERM;
    ret->kind = NODE_VERSION;
    ret->entity = (evs_entity)v;
    same_type(parent, ret);
    return 0;
}

int tree_child(struct evs_store *st, const struct node *parent, const char *name, struct node *ret)
{
    size_t n = strlen(name);

    ret->id = 0;
    ret->entity = 0;
    ret->type = 0;
    ret->entity_n = ret->type_n = 0;
    ret->hidden = n > 0 && (name[0] == '.' || name[n - 1] == '~');
    if (n > NAME_MAX_BYTES)
        return -ENAMETOOLONG;
    if (child_fixed(parent, name, ret)) {
        ret->hidden = false;
        bool nameless = node_traits(ret->kind)->entity && !ret->entity && !ret->entity_n;
        return nameless && node_traits(ret->kind)->fleeting ? -EPERM : 0; /* in entities/% */
    }

    switch (parent->kind) {
    case NODE_ENTITY:
        if (ends_in(name, n, JSONL)) {
            ret->kind = NODE_OWN_TYPE;
            same_entity(parent, ret);
            return find_type(st, name, n - strlen(JSONL), ret);
        }
        if (ends_in(name, n, ".json") || ends_in(name, n, ".csv"))
            return -EPERM;
        return child_entity(st, parent, name, n, ret);
    case NODE_ENTITIES:
        if (ends_in(name, n, JSONL) || ends_in(name, n, ".json") || ends_in(name, n, ".csv"))
            return -EPERM;
        return child_entity(st, parent, name, n, ret);
    case NODE_TYPES:
        ret->kind = NODE_TYPE;
        return find_type(st, name, n, ret);
    case NODE_SCHEMAS:
        return child_version(parent, name, ret);
    default:
        return -EPERM;
    }
}

struct evs_view tree_view(const struct node *n)
{
    assert(node_traits(n->kind)->view);
    return (struct evs_view){
        .kind = node_traits(n->kind)->view_kind, .entity = n->entity, .type = n->type};
}

static bool has_events(struct evs_store *st, const struct evs_view *v)
{
    struct evs_extent x = {0};
    int r = evs_view_extent(st, v, &x);

    return r < 0 ? r != -ENOENT : x.events > 0; /* where the disk does not say, reading will */
}

struct evs_dir tree_dir(const struct node *n, const struct node_names *nm)
{
    const struct node_traits *t = node_traits(n->kind);

    if (t->entity || n->kind == NODE_ENTITIES)
        return (struct evs_dir){EVS_DIR_ENTITY, t->entity ? nm->entity : "",
                                t->entity ? nm->entity_n : 0};
    if (t->type || n->kind == NODE_TYPES)
        return (struct evs_dir){EVS_DIR_TYPE, t->type ? nm->type : "", t->type ? nm->type_n : 0};
    return (struct evs_dir){.kind = EVS_DIR_ROOT, .name = ""};
}

/* What is pinned, or why not, is known by name: there need be no event. */
static bool fleeting_exists(struct evs_store *st, const struct node *n)
{
    struct node_names nm;
    struct evs_pin p;

    node_names(st, n, &nm);
    struct evs_dir d = tree_dir(n, &nm);
    evs_pin_stat(st, &d, &p);
    return node_traits(n->kind)->text ? p.pinned : p.refusal_us != 0;
}

bool tree_exists(struct evs_store *st, const struct node *n)
{
    const struct node_traits *t = node_traits(n->kind);
    struct evs_view v;

    if (t->fleeting)
        return fleeting_exists(st, n);

    if (!t->entity && !t->type)
        return true;
    if (!node_numbered(n))
        return false;
    if (n->kind == NODE_VERSION)
        return n->entity <= evs_schema_versions(st, n->type);
    if (t->learned || n->kind == NODE_SCHEMAS)
        return evs_learns(st) &&
               has_events(st, &(struct evs_view){.kind = EVS_TYPE, .type = n->type});
    if (t->dir)
        return true;
    v = n->kind == NODE_STATE ? (struct evs_view){.kind = EVS_OWN, .entity = n->entity}
                              : tree_view(n);
    return has_events(st, &v);
}

bool tree_answers(struct evs_store *st, const struct node *n, bool strict)
{
    bool name = n->kind == NODE_ENTITY || n->kind == NODE_TYPE;
    bool any = name && !n->hidden && (!strict || n->kind == NODE_TYPE);

    return any || tree_exists(st, n);
}

void tree_path(struct evs_store *st, const struct node *n, char buf[TREE_PATH_BYTES])
{
    char entity[EVS_PATH_MAX] = "%", type[TREE_NAME_BYTES] = "";
    struct node_names nm;

    node_names(st, n, &nm);
    if (nm.entity_n)
        (void)evs_encode_entity(nm.entity, nm.entity_n, entity, sizeof entity, NULL);
    if (nm.type_n)
        (void)evs_encode_type(nm.type, nm.type_n, type, sizeof type, NULL);
    switch (n->kind) {
    case NODE_ALL:
        (void)snprintf(buf, TREE_PATH_BYTES, "/events.jsonl");
        break;
    case NODE_ENTITY:
        (void)snprintf(buf, TREE_PATH_BYTES, "/entities/%s", entity);
        break;
    case NODE_BELOW:
        (void)snprintf(buf, TREE_PATH_BYTES, "/entities/%s/events.jsonl", entity);
        break;
    case NODE_OWN_TYPE:
        (void)snprintf(buf, TREE_PATH_BYTES, "/entities/%s/%s" JSONL, entity, type);
        break;
    case NODE_STATE:
        (void)snprintf(buf, TREE_PATH_BYTES, "/entities/%s/state.json", entity);
        break;
    case NODE_TYPE:
        (void)snprintf(buf, TREE_PATH_BYTES, "/types/%s", type);
        break;
    case NODE_TYPE_EVENTS:
        (void)snprintf(buf, TREE_PATH_BYTES, "/types/%s/events.jsonl", type);
        break;
    default: /* nobody appends to the others */
        (void)snprintf(buf, TREE_PATH_BYTES, "/");
    }
}

void tree_parent(struct evs_store *st, const struct node *n, struct node *ret)
{
    *ret = (struct node){.kind = NODE_ROOT, .id = NODE_ROOT_ID};
    switch (n->kind) {
    case NODE_ENTITY:
        if (n->entity) {
            ret->entity = evs_parent(st, n->entity);
        } else {
            size_t len = n->entity_n;
            while (len > 0 && n->entity_name[len - 1] != '/')
                len--;
            ret->entity = len ? 0 : EVS_ROOT;
            ret->entity_n = (uint16_t)(len ? len - 1 : 0);
            memcpy(ret->entity_name, n->entity_name, ret->entity_n);
        }
        ret->kind = ret->entity == EVS_ROOT ? NODE_ENTITIES : NODE_ENTITY;
        break;
    case NODE_BELOW:
    case NODE_OWN_TYPE:
    case NODE_STATE:
    case NODE_DIR_PIN:
    case NODE_DIR_REFUSAL:
        ret->kind = NODE_ENTITY;
        same_entity(n, ret);
        break;
    case NODE_TYPE:
        ret->kind = NODE_TYPES;
        break;
    case NODE_TYPE_EVENTS:
    case NODE_SCHEMA:
    case NODE_SCHEMAS:
    case NODE_CHANGES:
    case NODE_TYPE_README:
    case NODE_TYPE_PIN:
    case NODE_TYPE_REFUSAL:
        ret->kind = NODE_TYPE;
        same_type(n, ret);
        break;
    case NODE_VERSION:
        ret->kind = NODE_SCHEMAS;
        same_type(n, ret);
        break;
    case NODE_STATS:
    case NODE_METRICS:
    case NODE_REJECTED:
    case NODE_HEALTH:
    case NODE_HOTPATH:
        ret->kind = NODE_DOT;
        break;
    default: /* in the root */
        break;
    }
}

void tree_list_init(struct tree_list *l, struct evs_store *st, const struct node *dir)
{
    struct node_names nm;

    node_names(st, dir, &nm);
    *l = (struct tree_list){.st = st, .dir = dir};
    l->dir_hash = node_hash(node_hash_start(), nm.entity, nm.entity_n);
}

void tree_list_done(struct tree_list *l)
{
    free(l->types);
    l->types = NULL;
}

static bool next_fixed(struct tree_list *l, uint64_t cookie, struct tree_entry *ret)
{
    struct node child = {.kind = NODE_ROOT};

    for (size_t i = cookie - TREE_FIRST_COOKIE; i < FIXED_N; i++) {
        if (fixed[i].dir != l->dir->kind || !child_fixed(l->dir, fixed[i].name, &child) ||
            !tree_exists(l->st, &child))
            continue;
        (void)snprintf(ret->name, sizeof ret->name, "%s", fixed[i].name);
        ret->kind = child.kind;
        ret->entity = child.entity;
        ret->type = child.type;
        ret->ino = node_st_ino(l->st, &child);
        ret->cookie = TREE_FIRST_COOKIE + i + 1;
        return true;
    }
    return false;
}

static int load_types(struct tree_list *l)
{
    size_t n;

    if (l->types)
        return 0;
    n = evs_entity_types(l->st, l->dir->entity, NULL, 0);
    l->types = malloc((n + 1) * sizeof *l->types);
    if (!l->types)
        return -ENOMEM;
    l->types_n = evs_entity_types(l->st, l->dir->entity, l->types, n);
    if (l->types_n > n)
        l->types_n = n; /* it got more just now: the next listing has them */
    return 0;
}

/* Fill in what a type in this directory is called. False where that can't be: types are checked when
 * they come in. */
static bool type_entry(struct tree_list *l, evs_type t, enum node_kind kind, struct tree_entry *ret)
{
    char type[NODE_TYPE_BYTES];
    int n = evs_type_name(l->st, t, type, sizeof type), r;

    if (n < 0)
        return false;
    r = evs_encode_type(type, (size_t)n, ret->name, sizeof ret->name - strlen(JSONL), NULL);
    if (r < 0)
        return false;
    if (kind == NODE_OWN_TYPE)
        memcpy(ret->name + r, JSONL, sizeof JSONL);
    ret->kind = kind;
    ret->type = t;
    ret->entity = kind == NODE_OWN_TYPE ? l->dir->entity : 0;
    ret->ino = node_ino(kind, node_hash_type(l->dir_hash, type, (size_t)n));
    return true;
}

static int next_own_type(struct tree_list *l, uint64_t i, struct tree_entry *ret)
{
    int r = load_types(l);

    for (; r == 0 && i < l->types_n; i++) {
        ret->cookie = COOKIE_TYPES + i + 1;
        if (type_entry(l, l->types[i], NODE_OWN_TYPE, ret))
            return 1;
    }
    return r;
}

static int next_child(struct tree_list *l, evs_entity after, struct tree_entry *ret)
{
    char comp[NODE_ENTITY_BYTES];
    evs_entity e = after;
    uint64_t h = l->dir_hash;

    while ((e = evs_next_child(l->st, l->dir->entity, e)) != 0) {
        int n = evs_component(l->st, e, comp, sizeof comp);
        if (n < 0)
            continue;
        /* One component encodes as an entity of one: the empty one as well, which an id may hold. */
        if (evs_encode_entity(comp, (size_t)n, ret->name, sizeof ret->name, NULL) < 0) {
            if (n != 0)
                continue;
            memcpy(ret->name, "%", 2);
        }
        if (l->dir->kind == NODE_ENTITY)
            h = node_hash(h, "/", 1);
        ret->kind = NODE_ENTITY;
        ret->entity = e;
        ret->type = 0;
        ret->ino = node_ino(NODE_ENTITY, node_hash_type(node_hash(h, comp, (size_t)n), NULL, 0));
        ret->cookie = COOKIE_CHILDREN + e;
        return 1;
    }
    return 0;
}

/* A transaction that was refused leaves types that only have a number: they are not listed. */
static int next_type(struct tree_list *l, uint64_t after, struct tree_entry *ret)
{
    evs_type count = evs_type_count(l->st);

    for (uint64_t t = after + 1; t <= count; t++) {
        if (!has_events(l->st, &(struct evs_view){.kind = EVS_TYPE, .type = (evs_type)t}))
            continue;
        ret->cookie = COOKIE_CHILDREN + t;
        if (type_entry(l, (evs_type)t, NODE_TYPE, ret))
            return 1;
    }
    return 0;
}

static int next_version(struct tree_list *l, uint64_t after, struct tree_entry *ret)
{
    if (!l->versions)
        l->versions = evs_schema_versions(l->st, l->dir->type);
    if (after >= l->versions)
        return 0;
    struct node child = {.kind = NODE_VERSION, .entity = (evs_entity)after + 1};
    same_type(l->dir, &child);
    (void)snprintf(ret->name, sizeof ret->name, "%" PRIu32 ".json", child.entity);
    ret->kind = NODE_VERSION;
    ret->entity = child.entity;
    ret->type = child.type;
    ret->ino = node_st_ino(l->st, &child);
    ret->cookie = COOKIE_CHILDREN + child.entity;
    return 1;
}

/* A type that has no event yet, but a schema. */
static int next_pinned(struct tree_list *l, uint32_t place, struct tree_entry *ret)
{
    char type[NODE_TYPE_BYTES];
    int n;

    while ((n = evs_next_pinned_type(l->st, &place, type, sizeof type)) > 0) {
        evs_type t = evs_find_type(l->st, type, (size_t)n);
        if ((t && has_events(l->st, &(struct evs_view){.kind = EVS_TYPE, .type = t})) ||
            evs_encode_type(type, (size_t)n, ret->name, sizeof ret->name, NULL) < 0)
            continue;
        ret->kind = NODE_TYPE;
        ret->entity = 0;
        ret->type = t;
        ret->ino = node_ino(NODE_TYPE, node_hash_type(l->dir_hash, type, (size_t)n));
        ret->cookie = COOKIE_PINNED + place;
        return 1;
    }
    return 0;
}

int tree_list_next(struct tree_list *l, uint64_t cookie, struct tree_entry *ret)
{
    int r = 0;

    if (cookie < COOKIE_TYPES && next_fixed(l, cookie, ret))
        return 1;
    if (l->dir->kind == NODE_TYPES) {
        if (cookie < COOKIE_PINNED)
            r = next_type(l, cookie < COOKIE_CHILDREN ? 0 : cookie - COOKIE_CHILDREN, ret);
        return r ? r
                 : next_pinned(l, cookie < COOKIE_PINNED ? 0 : (uint32_t)(cookie - COOKIE_PINNED),
                               ret);
    }
    if (l->dir->kind == NODE_SCHEMAS)
        return next_version(l, cookie < COOKIE_CHILDREN ? 0 : cookie - COOKIE_CHILDREN, ret);
    if (l->dir->entity == 0)
        return 0;
    if (cookie < COOKIE_CHILDREN && l->dir->kind == NODE_ENTITY)
        r = next_own_type(l, cookie < COOKIE_TYPES ? 0 : cookie - COOKIE_TYPES, ret);
    if (r)
        return r;
    return next_child(l, cookie < COOKIE_CHILDREN ? 0 : (evs_entity)(cookie - COOKIE_CHILDREN),
                      ret);
}
