/* SPDX-License-Identifier: MIT */
/* Borders: directories with an owner that keep somebody out whom a file above them lets in.
 * (1) A row is a border to a file of directory d if it lies below d (to types: anywhere), is less open than d, and
 *     holds an event that the file shows: any at all, or one of the type.
 * (2) Whether an entity's directory holds events of a type is looked up in its events, from where the last look
 *     ended. No lock of the owners is held meanwhile: the first look may have millions to go through.
 * (3) Where that can't be said (no memory, a disk that does not answer) the file is closed. */
#include "io.h"
#include "owners_rows.h"

#include <errno.h>
#include <stdio.h>

#define LOAD(x)     atomic_load_explicit(&(x), memory_order_relaxed)
#define LOAD_ACQ(x) atomic_load_explicit(&(x), memory_order_acquire)

#define GROUPS_MAX 1024

/* ---- types below an entity ---- */

static bool has_type(const struct entity_types *et, type_id t, uint32_t *ret_at)
{
    uint32_t low = 0, high = et->n;

    while (low < high) {
        uint32_t mid = (low + high) / 2;
        if (et->types[mid] < t)
            low = mid + 1;
        else
            high = mid;
    }
    *ret_at = low;
    return low < et->n && et->types[low] == t;
}

static int add_type(struct entity_types *et, type_id t)
{
    uint32_t at;

    if (has_type(et, t, &at))
        return 0;
    if (et->n == et->cap) {
        uint32_t cap = et->cap ? 2 * et->cap : 8;
        type_id *types = reallocarray(et->types, cap, sizeof *types);
        if (!types)
            return -ENOMEM;
        et->types = types;
        et->cap = cap;
    }
    memmove(et->types + at + 1, et->types + at, (et->n - at) * sizeof *et->types);
    et->types[at] = t;
    et->n++;
    return 0;
}

static struct entity_types *types_of(struct border_types *k, entity_id e)
{
    size_t low = 0, high = k->n;

    while (low < high) {
        size_t mid = (low + high) / 2;
        if (k->v[mid].e < e)
            low = mid + 1;
        else
            high = mid;
    }
    if (low < k->n && k->v[low].e == e)
        return &k->v[low];
    if (k->n == k->cap) {
        size_t cap = k->cap ? 2 * k->cap : 8;
        struct entity_types *v = reallocarray(k->v, cap, sizeof *v);
        if (!v)
            return NULL;
        k->v = v;
        k->cap = cap;
    }
    memmove(k->v + low + 1, k->v + low, (k->n - low) * sizeof *k->v);
    k->v[low] = (struct entity_types){.e = e};
    k->n++;
    return &k->v[low];
}

struct look {
    const struct index *ix;
    const struct log *lg;
    struct entity_types *et;
    type_id t; /* stop where it is found */
    bool found;
};

static int look_job(void *arg)
{
    struct look *l = arg;
    struct lengths len = {.lg = l->lg};
    evs_seq end = log_end(l->lg); /* before the count: what is published is in every set */
    const struct set *s = index_set(l->ix, l->et->e);
    uint32_t n = LOAD_ACQ(s->n);
    struct posting it;
    type_id last = 0;

    postings_seek_seq(&l->ix->a, s, n, l->et->seen, &len, &it);
    while (it.ordinal < it.limit && it.seq <= end) {
        const struct log_rec *r = lengths_rec(&len, it.seq);
        if (r->type != last && add_type(l->et, last = r->type) < 0)
            return -ENOMEM;
        l->et->seen = it.seq;
        if ((l->found = last == l->t))
            return 0;
        postings_next(&l->ix->a, &it, r->len);
    }
    l->et->seen = end;
    return 0;
}

static bool holds_type(struct border_types *k, const struct index *ix, const struct log *lg,
                       entity_id e, type_id t)
{
    uint32_t at;

    (void)pthread_mutex_lock(&k->lock);
    struct look l = {.ix = ix, .lg = lg, .et = types_of(k, e), .t = t};
    bool held = !l.et || has_type(l.et, t, &at);
    if (!held && LOAD_ACQ(index_set(ix, e)->last) > l.et->seen)
        held = io_guarded(look_job, &l) < 0 || l.found;
    (void)pthread_mutex_unlock(&k->lock);
    return held;
}

/* ---- borders ---- */

/* Read a directory: list it and go through it. */
static bool all_may_read(const struct evs_owner *b)
{
    return (b->mode & 0555) == 0555;
}

static bool owner_may_read(const struct evs_owner *who, const struct evs_owner *b)
{
    if (who->uid == 0)
        return true;
    mode_t want = who->uid == b->uid ? 0500 : who->gid == b->gid ? 0050 : 0005;
    return (b->mode & want) == want;
}

/* Does row keep somebody out whom `from`, another's owner, lets in? */
static bool is_closer(const struct owner_row *row, const struct evs_owner *from)
{
    return !all_may_read(&row->own) && (row->own.uid != from->uid || row->own.gid != from->gid ||
                                        (from->mode & 0555 & ~row->own.mode));
}

/* The entity of a row that holds events; 0: it holds none. entities/ itself, and the root, hold all. */
static entity_id holding(const struct owner_row *row, const struct index *ix)
{
    if (row->name.n == 0)
        return LOAD(ix->n_entities) ? EVS_ROOT : 0;
    entity_id e = index_find_entity(ix, row->name, index_entity_hash(row->name));
    return e && LOAD(index_set(ix, e)->n) ? e : 0;
}

/* Those of whom it must be known whether they hold a type. */
struct borders {
    struct border {
        entity_id e;
        mode_t leaves;
    } * v, few[32];
    size_t n, cap;
    bool failed;
};

static void note(struct borders *b, entity_id e, mode_t leaves)
{
    if (b->n == b->cap) {
        struct border *v = malloc(2 * b->cap * sizeof *v);
        if (!v) {
            b->failed = true;
            return;
        }
        memcpy(v, b->v, b->n * sizeof *v);
        if (b->v != b->few)
            free(b->v);
        b->v = v;
        b->cap *= 2;
    }
    b->v[b->n++] = (struct border){e, leaves};
}

/* Of whom it is asked: cred, or where that is NULL the owner of d, who may have any groups. */
static mode_t leaves_to(const struct owner_row *row, const struct evs_owner *own,
                        const struct evs_cred *cred)
{
    if (cred)
        return (owners_rights(&row->own, cred) & 05) == 05 ? 0444 : 0;
    return owner_may_read(own, &row->own) ? 0400 : 0;
}

static bool is_type_row(const struct owners *o, const struct owner_row *row)
{
    /* What has no owner in entities/ is the root's, and types/ may be more open than that. */
    return row->kind == EVS_DIR_ENTITY ||
           (row->kind == EVS_DIR_ROOT && !owners_find(o, EVS_DIR_ENTITY, (struct slice){0}));
}

/* The read bits that the borders leave to a file of d which shows what is below d, or a type. */
static mode_t left_by_borders(struct owners *o, const struct evs_dir *d,
                              const struct evs_cred *cred, const struct index *ix,
                              struct borders *later)
{
    mode_t mask = 0444;
    bool type = d->kind == EVS_DIR_TYPE;
    entity_id e;

    (void)pthread_rwlock_rdlock(&o->lock);
    const struct owner_row *own =
        owners_nearest(o, d->kind, d->n ? (struct slice){d->name, d->n} : (struct slice){0});
    const mode_t least = cred || own->own.uid != 0 ? 0 : 0400;
    for (size_t i = 0; i < o->n && mask != least; i++) {
        const struct owner_row *row = &o->rows[i];
        if (!(type ? is_type_row(o, row) : owners_is_below(row, d)) || !is_closer(row, &own->own) ||
            !(e = holding(row, ix)))
            continue;
        mode_t leaves = leaves_to(row, &own->own, cred);
        if (type && e != EVS_ROOT)
            note(later, e, leaves);
        else
            mask &= leaves;
    }
    (void)pthread_rwlock_unlock(&o->lock);
    return mask;
}

static mode_t left(struct owners *o, const struct evs_dir *d, const struct evs_cred *cred,
                   const struct index *ix, const struct log *lg)
{
    struct borders b = {.cap = ARRAY_LEN(b.few)};
    struct slice name = {d->name, d->n};

    if (LOAD(o->below) == 0)
        return 0444;
    type_id t = d->kind == EVS_DIR_TYPE ? index_find_type(ix, name, index_type_hash(name)) : 0;
    if (d->kind == EVS_DIR_TYPE && (!t || !LOAD(index_type_set(ix, t)->n)))
        return 0444; /* there is nothing to show */
    b.v = b.few;
    mode_t mask = left_by_borders(o, d, cred, ix, &b);
    if (b.failed)
        mask = 0;
    for (size_t i = 0; i < b.n; i++)
        if ((mask & ~b.v[i].leaves) && holds_type(&o->kinds, ix, lg, b.v[i].e, t))
            mask &= b.v[i].leaves;
    if (b.v != b.few)
        free(b.v);
    return mask;
}

mode_t owners_border_mask(struct owners *o, const struct evs_dir *d, const struct index *ix,
                          const struct log *lg)
{
    return left(o, d, NULL, ix, lg);
}

struct groups {
    gid_t v[GROUPS_MAX];
    int n;
};

static int groups_known(void *arg, gid_t *ret, int cap)
{
    const struct groups *g = arg;
    int n = MIN(g->n, cap);

    memcpy(ret, g->v, (size_t)n * sizeof *ret);
    return n;
}

bool owners_may_read(struct owners *o, const struct evs_dir *d, const struct evs_cred *cred,
                     const struct index *ix, const struct log *lg)
{
    struct groups g = {.n = 0};
    struct evs_cred known = *cred;

    if (cred->uid == 0 || LOAD(o->below) == 0)
        return true;
    if (cred->groups) /* asked for once, and under no lock */
        g.n = MAX(0, MIN(cred->groups(cred->groups_arg, g.v, GROUPS_MAX), GROUPS_MAX));
    known.groups = groups_known;
    known.groups_arg = &g;
    return left(o, d, &known, ix, lg) == 0444;
}

/* ---- what is said of them ---- */

static size_t say(const struct owner_row *row, char *buf, size_t n)
{
    char path[EVS_PATH_MAX] = "";

    if (row->name.n && evs_encode_entity(row->name.p, row->name.n, path, sizeof path, NULL) < 0)
        return 0;
    int r = snprintf(buf, n,
                     "border: entities/%s (mode %03o): files above it that show its events are "
                     "closed to who may not read there\n",
                     path, (unsigned)row->own.mode & 0777);
    return r > 0 ? (size_t)r : 0;
}

#define MORE_BYTES 80 /* for what did not fit */

size_t owners_borders(struct owners *o, const struct index *ix, bool names, char *buf, size_t n)
{
    size_t used = 0, count = 0, said = 0;
    bool full = !names;

    buf[0] = '\0';
    (void)pthread_rwlock_rdlock(&o->lock);
    const struct owner_row *root = owners_find(o, EVS_DIR_ROOT, (struct slice){0});
    for (size_t i = 0; root && i < o->n; i++) {
        const struct owner_row *row = &o->rows[i];
        if (row->kind != EVS_DIR_ENTITY || !is_closer(row, &root->own) || !holding(row, ix))
            continue;
        count++;
        size_t more = full ? 0 : say(row, buf + used, n - used);
        full = full || more + MORE_BYTES > n - used;
        if (!full) {
            used += more;
            said++;
        }
    }
    (void)pthread_rwlock_unlock(&o->lock);
    buf[used] = '\0';
    if (count > said && n - used > MORE_BYTES)
        (void)snprintf(buf + used, n - used, "border: %zu%s close files above them\n", count - said,
                       said ? " more" : "");
    return count;
}
