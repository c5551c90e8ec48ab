/* SPDX-License-Identifier: MIT */
/* owners: rows sorted by (kind, name). (1) There is always a row for the root, so that a search upwards
 * ends. (2) The rows below a directory are neighbours: names that begin with it and a '/'. */
#include "owners_rows.h"
#include "limits.h"
#include "share.h"

#include <errno.h>

#define MAX_GROUPS 1024

int owners_init(struct owners *o, struct evs_error *err)
{
    pthread_rwlockattr_t attr;

    *o = (struct owners){0};
    /* Look-ups never end on a busy mount: who changes an owner must not wait until there is none. */
    (void)pthread_rwlockattr_init(&attr);
    (void)pthread_rwlockattr_setkind_np(&attr, PTHREAD_RWLOCK_PREFER_WRITER_NONRECURSIVE_NP);
    int r = pthread_rwlock_init(&o->lock, &attr);
    o->kinds.lock = (pthread_mutex_t)PTHREAD_MUTEX_INITIALIZER;
    (void)pthread_rwlockattr_destroy(&attr);

    return r ? evs_fail_errno(err, -r, "a lock") : 0;
}

void owners_done(struct owners *o)
{
    for (size_t i = 0; i < o->n; i++)
        free((char *)(uintptr_t)o->rows[i].name.p);
    free(o->rows);
    free(o->spare);
    (void)pthread_rwlock_destroy(&o->lock);
    for (size_t i = 0; i < o->kinds.n; i++)
        free(o->kinds.v[i].types);
    free(o->kinds.v);
    (void)pthread_mutex_destroy(&o->kinds.lock);
}

static int compare(enum evs_dir_kind kind, struct slice name, const struct owner_row *row)
{
    if (kind != row->kind)
        return kind < row->kind ? -1 : 1;
    size_t n = MIN(name.n, row->name.n);
    int c = n ? memcmp(name.p, row->name.p, n) : 0;
    return c ? c : (name.n > row->name.n) - (name.n < row->name.n);
}

/* The first row that is not before (kind, name). */
static size_t lower(const struct owners *o, enum evs_dir_kind kind, struct slice name)
{
    size_t low = 0, high = o->n;

    while (low < high) {
        size_t mid = (low + high) / 2;
        if (compare(kind, name, &o->rows[mid]) > 0)
            low = mid + 1;
        else
            high = mid;
    }
    return low;
}

const struct owner_row *owners_find(const struct owners *o, enum evs_dir_kind kind,
                                    struct slice name)
{
    size_t i = lower(o, kind, name);

    return i < o->n && compare(kind, name, &o->rows[i]) == 0 ? &o->rows[i] : NULL;
}

/* Room for one more row, and for its name. */
static int reserve(struct owners *o, size_t name_bytes, struct evs_error *err)
{
    if (o->n == o->cap) {
        size_t cap = o->cap ? 2 * o->cap : 16;
        struct owner_row *rows = reallocarray(o->rows, cap, sizeof *rows);
        if (!rows)
            return evs_fail(err, EVS_NO_MEMORY, EVS_NOWHERE);
        o->rows = rows;
        o->cap = cap;
    }
    if (o->spare_bytes > name_bytes)
        return 0;
    char *p = realloc(o->spare, name_bytes + 1);
    if (!p)
        return evs_fail(err, EVS_NO_MEMORY, EVS_NOWHERE);
    o->spare = p;
    o->spare_bytes = name_bytes + 1;
    return 0;
}

int owners_reserve(struct owners *o, const struct evs_dir *d, struct evs_error *err)
{
    (void)pthread_rwlock_wrlock(&o->lock);
    int r = reserve(o, d->n, err);
    (void)pthread_rwlock_unlock(&o->lock);
    return r;
}

int owners_set(struct owners *o, const struct evs_dir *d, const struct evs_owner *own,
               struct evs_error *err)
{
    struct slice name = {d->name, d->n};
    int r = 0;

    (void)pthread_rwlock_wrlock(&o->lock);
    size_t i = lower(o, d->kind, name);
    if (i < o->n && compare(d->kind, name, &o->rows[i]) == 0) {
        o->rows[i].own = *own;
        goto out;
    }
    if ((r = reserve(o, d->n, err)) < 0)
        goto out;
    char *copy = TAKE(o->spare);
    o->spare_bytes = 0;
    if (d->n)
        memcpy(copy, d->name, d->n);
    memmove(o->rows + i + 1, o->rows + i, (o->n - i) * sizeof *o->rows);
    o->rows[i] = (struct owner_row){.kind = d->kind, .name = {copy, d->n}, .own = *own};
    o->n++;
    if (d->kind != EVS_DIR_ROOT)
        o->below++;
out:
    atomic_fetch_add_explicit(&o->gen, r == 0, memory_order_release);
    (void)pthread_rwlock_unlock(&o->lock);
    return r;
}

int owners_clear(struct owners *o, const struct evs_dir *d)
{
    int r = -ENOENT;

    (void)pthread_rwlock_wrlock(&o->lock);
    const struct owner_row *row = owners_find(o, d->kind, (struct slice){d->name, d->n});
    if (row) {
        size_t i = (size_t)(row - o->rows);
        free(o->spare); /* its own room instead: who takes it back can't fail */
        o->spare = (char *)(uintptr_t)row->name.p;
        o->spare_bytes = row->name.n + 1;
        memmove(o->rows + i, o->rows + i + 1, (o->n - i - 1) * sizeof *o->rows);
        o->n--;
        if (d->kind != EVS_DIR_ROOT)
            o->below--;
        atomic_fetch_add_explicit(&o->gen, 1, memory_order_release);
        r = 0;
    }
    (void)pthread_rwlock_unlock(&o->lock);
    return r;
}

bool owners_is_free(struct owners *o, uid_t uid)
{
    struct evs_owner root = {.uid = 0};

    (void)owners_get(o, &(struct evs_dir){.kind = EVS_DIR_ROOT}, &root);
    return uid == 0 || uid == root.uid;
}

bool owners_has_room(struct owners *o, const struct evs_dir *d, const struct evs_owner *own)
{
    size_t his = 1;

    if (owners_get(o, d, &(struct evs_owner){0}))
        return true;
    bool is_free = owners_is_free(o, own->uid);
    (void)pthread_rwlock_rdlock(&o->lock);
    size_t left = o->n < LIMIT_OWNERS ? LIMIT_OWNERS - o->n : 0;
    for (size_t i = 0; !is_free && i < o->n; i++)
        his += o->rows[i].own.uid == own->uid;
    (void)pthread_rwlock_unlock(&o->lock);
    return left > 0 && (is_free || shares_allow(his, left - 1));
}

bool owners_get(struct owners *o, const struct evs_dir *d, struct evs_owner *ret)
{
    (void)pthread_rwlock_rdlock(&o->lock);
    const struct owner_row *row = owners_find(o, d->kind, (struct slice){d->name, d->n});
    if (row)
        *ret = row->own;
    (void)pthread_rwlock_unlock(&o->lock);
    return row;
}

/* The directory above one of entities/; without p: entities/ itself. */
static struct slice above(struct slice name)
{
    const char *slash = name.n ? memrchr(name.p, '/', name.n) : NULL;

    return slash && slash != name.p ? (struct slice){name.p, (size_t)(slash - name.p)}
                                    : (struct slice){0};
}

/* The nearest row at or above a directory; NULL only where even the root has none. */
const struct owner_row *owners_nearest(const struct owners *o, enum evs_dir_kind kind,
                                       struct slice name)
{
    const struct owner_row *row;

    for (;;) {
        if ((row = owners_find(o, kind, name)))
            return row;
        if (!name.p)
            break;
        name = kind == EVS_DIR_ENTITY ? above(name) : (struct slice){0};
    }
    return owners_find(o, EVS_DIR_ROOT, (struct slice){0});
}

bool owners_effective(struct owners *o, const struct evs_dir *d, struct evs_owner *ret)
{
    (void)pthread_rwlock_rdlock(&o->lock);
    const struct owner_row *row =
        owners_nearest(o, d->kind, d->n ? (struct slice){d->name, d->n} : (struct slice){0});
    if (row)
        *ret = row->own;
    (void)pthread_rwlock_unlock(&o->lock);
    return row;
}

bool owners_is_below(const struct owner_row *row, const struct evs_dir *d)
{
    if (d->kind == EVS_DIR_ROOT)
        return row->kind == EVS_DIR_ENTITY;
    if (row->kind != d->kind)
        return false;
    if (d->n == 0)
        return row->name.n > 0;
    return row->name.n > d->n && row->name.p[d->n] == '/' &&
           memcmp(row->name.p, d->name, d->n) == 0;
}

bool owners_any_below(struct owners *o, const struct evs_dir *d)
{
    bool any = false;

    (void)pthread_rwlock_rdlock(&o->lock);
    for (size_t i = 0; i < o->n && !any; i++)
        any = owners_is_below(&o->rows[i], d);
    (void)pthread_rwlock_unlock(&o->lock);
    return any;
}

static bool in_group(const struct evs_cred *c, gid_t gid)
{
    gid_t groups[MAX_GROUPS];
    int n;

    if (c->gid == gid)
        return true;
    n = c->groups ? c->groups(c->groups_arg, groups, MAX_GROUPS) : 0;
    for (int i = 0; i < MIN(n, MAX_GROUPS); i++)
        if (groups[i] == gid)
            return true;
    return false;
}

mode_t owners_rights(const struct evs_owner *own, const struct evs_cred *c)
{
    mode_t group = own->mode >> 3 & 07, others = own->mode & 07;

    if (c->uid == own->uid)
        return own->mode >> 6 & 07;
    /* The groups of a process are read from /proc: only where they make a difference. */
    return group != others && in_group(c, own->gid) ? group : others;
}

#define WAY_MAX (LIMIT_COMPONENTS + 2)

/* The owners on the way from `through` down to entity id, that of id's own directory first; `through` itself and
 * what is above it were the kernel's to judge when the file was opened. Returns how many. */
static size_t way_down(const struct owners *o, const struct evs_dir *through, struct slice id,
                       struct evs_owner way[WAY_MAX])
{
    size_t n = 0;

    for (struct slice name = id;; name = above(name)) {
        if (through->kind == EVS_DIR_ENTITY && name.n <= through->n)
            return n;
        const struct owner_row *row = owners_find(o, EVS_DIR_ENTITY, name);
        if (row && n < WAY_MAX)
            way[n++] = row->own;
        if (!name.p)
            break;
    }
    /* types/ may be more open than the root, whose owner is that of entities without one. */
    const struct owner_row *root = owners_nearest(o, EVS_DIR_ENTITY, id);
    if (n == 0 && root && through->kind == EVS_DIR_TYPE &&
        root != owners_nearest(o, EVS_DIR_TYPE,
                               (struct slice){through->n ? through->name : NULL, through->n}))
        way[n++] = root->own;
    return n;
}

bool owners_may_append(struct owners *o, const struct evs_dir *through, struct slice id,
                       const struct evs_cred *cred)
{
    struct evs_owner way[WAY_MAX];

    if (LIKELY(atomic_load_explicit(&o->below, memory_order_relaxed) == 0) || cred->uid == 0)
        return true;
    (void)pthread_rwlock_rdlock(&o->lock);
    size_t n = way_down(o, through, id, way);
    (void)pthread_rwlock_unlock(&o->lock);
    /* Write where the event lies, and get there: as the path of the entity's own file would ask for. */
    for (size_t i = 0; i < n; i++) {
        mode_t want = i == 0 ? 03 : 01;
        if ((owners_rights(&way[i], cred) & want) != want)
            return false;
    }
    return true;
}
