/* SPDX-License-Identifier: MIT */
/* store_owners: the owners of directories as evstore.h shows them.
 * (1) meta.db and memory change in one order, under owner_lock.
 * (2) Memory changes under the commit lock, which ingest.c, (4), stands on. */
#include "store_owners.h"
#include "io.h"
#include "limits.h"
#include "meta.h"

struct load_owners {
    struct evs_store *st;
    struct evs_error *err;
};

int owners_mark(struct evs_store *st, struct slice id, struct evs_error *err)
{
    if (!index_has_room(st->ix, 1))
        return evs_fail_at(err, EVS_TOO_MANY, EVS_NOWHERE, "names");
    entity_id e = index_intern_entity(st->ix, id, index_entity_hash(id));
    (void)atomic_fetch_or_explicit(&index_set(st->ix, e)->flags, SET_OWNED, memory_order_release);
    while ((e = index_set(st->ix, e)->parent) > EVS_ROOT)
        (void)atomic_fetch_or_explicit(&index_set(st->ix, e)->flags, SET_LEADS,
                                       memory_order_release);
    return 0;
}

static int load_owner(void *arg, enum evs_dir_kind kind, struct slice name,
                      const struct evs_owner *o) UNANALYSED;
static int load_owner(void *arg, enum evs_dir_kind kind, struct slice name,
                      const struct evs_owner *o)
{
    struct load_owners *l = arg;

    if (kind == EVS_DIR_ENTITY && name.n) {
        int r = owners_mark(l->st, name, l->err);
        if (r < 0)
            return r;
    }
    return owners_set(&l->st->owners, &(struct evs_dir){kind, name.p, name.n}, o, l->err);
}

int owners_load(struct evs_store *st, struct evs_error *err)
{
    struct evs_owner root = {.uid = geteuid(), .gid = getegid(), .mode = 0755};
    struct load_owners l = {st, err};
    struct stat s;

    if (st->dirfd >= 0 && io_stat(st->dirfd, &s) == 0)
        root = (struct evs_owner){.uid = s.st_uid, .gid = s.st_gid, .mode = 0755};
    int r = owners_set(&st->owners, &(struct evs_dir){.kind = EVS_DIR_ROOT}, &root, err);
    return r < 0 ? r : meta_each_owner(st->meta, load_owner, &l, err);
}

void evs_get_owner(struct evs_store *st, const struct evs_dir *d, struct evs_owner *ret,
                   bool *ret_own)
{
    struct evs_owner own;

    (void)owners_effective(&st->owners, d, ret);
    if (ret_own)
        *ret_own = owners_get(&st->owners, d, &own);
}

void evs_entity_owner(struct evs_store *st, evs_entity e, struct evs_owner *ret, bool *ret_own)
{
    char name[LIMIT_ENTITY_BYTES];
    bool own = false;

    if (ret_own)
        *ret_own = false;
    for (evs_entity at = e; at > EVS_ROOT; at = index_set(st->ix, at)->parent) {
        own = atomic_load_explicit(&index_set(st->ix, at)->flags, memory_order_acquire) & SET_OWNED;
        if (own) {
            int n = index_entity_name(st->ix, at, name, sizeof name);
            if (n > 0 &&
                owners_get(&st->owners, &(struct evs_dir){EVS_DIR_ENTITY, name, (size_t)n}, ret)) {
                if (ret_own)
                    *ret_own = at == e;
                return;
            }
        }
    }
    evs_get_owner(st, &(struct evs_dir){.kind = EVS_DIR_ENTITY}, ret,
                  e == EVS_ROOT ? ret_own : NULL);
}

int owners_check_dir(const struct evs_dir *d, struct evs_error *err)
{
    struct slice name = {d->name, d->n};
    char path[EVS_PATH_MAX];
    int r;

    if (d->n == 0)
        return 0;
    if (d->kind == EVS_DIR_TYPE)
        return (r = event_check_type(name, EVS_NOWHERE, err)) < 0
                   ? r
                   : MIN(0, evs_encode_type(d->name, d->n, path, sizeof path, err));
    return (r = event_check_entity(name, EVS_NOWHERE, err)) < 0
               ? r
               : MIN(0, evs_encode_entity(d->name, d->n, path, sizeof path, err));
}

static int change(struct evs_store *st, const struct evs_dir *d, const struct evs_owner *o,
                  struct evs_error *err)
{
    int r;

    ingest_lock(st);
    r = owners_set(&st->owners, d, o, err);
    ingest_unlock(st);
    return r;
}

static int set_owner(struct evs_store *st, const struct evs_dir *d, const struct evs_owner *o,
                     struct evs_error *err)
{
    int r = 0;

    if (!owners_has_room(&st->owners, d, o))
        return evs_fail_at(err, EVS_TOO_MANY, EVS_NOWHERE, "directories with an owner");
    if (d->kind == EVS_DIR_ENTITY && d->n) {
        ingest_lock(st);
        r = owners_mark(st, (struct slice){d->name, d->n}, err);
        ingest_unlock(st);
    }
    /* What is in meta.db is in memory as well: nothing may fail between the two. */
    if (r == 0)
        r = owners_reserve(&st->owners, d, err);
    if (r == 0 && (r = meta_set_owner(st->meta, d, o, err)) == 0)
        r = change(st, d, o, err);
    return r;
}

int evs_set_owner(struct evs_store *st, const struct evs_dir *d, const struct evs_owner *o,
                  struct evs_error *err)
{
    int r;

    if (st->options.read_only)
        return evs_fail(err, EVS_READ_ONLY, EVS_NOWHERE);
    if ((r = owners_check_dir(d, err)) < 0)
        return r;
    (void)pthread_mutex_lock(&st->owner_lock); /* memory and meta.db change in one order */
    r = set_owner(st, d, o, err);
    if (r == 0 && atomic_exchange_explicit(&st->meta_lost, false, memory_order_relaxed))
        r = meta_set_int(st->meta, META_LOST, 0, err);
    (void)pthread_mutex_unlock(&st->owner_lock);
    return r;
}

/* Does anything at or below d make it one that is listed? */
static bool is_marked(struct evs_store *st, const struct evs_dir *d)
{
    return owners_any_below(&st->owners, d) || pins_any_at(&st->pins, d);
}

void owners_unmark(struct evs_store *st, entity_id e)
{
    char name[LIMIT_ENTITY_BYTES];

    (void)atomic_fetch_and_explicit(&index_set(st->ix, e)->flags, (uint8_t)~SET_OWNED,
                                    memory_order_release);
    while ((e = index_set(st->ix, e)->parent) > EVS_ROOT) {
        int n = index_entity_name(st->ix, e, name, sizeof name);
        if (n < 0 || is_marked(st, &(struct evs_dir){EVS_DIR_ENTITY, name, (size_t)n}))
            break; /* what is above leads there too */
        (void)atomic_fetch_and_explicit(&index_set(st->ix, e)->flags, (uint8_t)~SET_LEADS,
                                        memory_order_release);
    }
}

/* Take d's owner out of memory: from then on events may come there by the rights of what is above. */
static NEEDS_COMMIT int take_owner(struct evs_store *st, const struct evs_dir *d, entity_id e,
                                   struct evs_owner *ret, struct evs_error *err)
{
    if ((e && atomic_load_explicit(&index_set(st->ix, e)->n, memory_order_acquire)) ||
        owners_any_below(&st->owners, d))
        return evs_fail(err, EVS_NOT_EMPTY, EVS_NOWHERE);
    if (d->n == 0 || !owners_get(&st->owners, d, ret))
        return evs_fail(err, EVS_NO_SUCH, EVS_NOWHERE);
    (void)owners_clear(&st->owners, d);
    return 0;
}

static int clear_owner(struct evs_store *st, const struct evs_dir *d, struct evs_error *err)
{
    struct slice id = {d->name, d->n};
    struct evs_owner own;
    entity_id e = d->kind == EVS_DIR_ENTITY && d->n
                      ? index_find_entity(st->ix, id, index_entity_hash(id))
                      : 0;
    int r;

    if (pins_any_at(&st->pins, d))
        return evs_fail_at(err, EVS_NOT_EMPTY, EVS_NOWHERE, "pinned.json");
    ingest_lock(st);
    r = take_owner(st, d, e, &own, err);
    ingest_unlock(st);
    if (r < 0)
        return r;
    if ((r = meta_clear_owner(st->meta, d, err)) < 0) {
        (void)change(st, d, &own, NULL); /* its room is still there */
        return r;
    }
    if (e)
        owners_unmark(st, e);
    return 0;
}

int evs_clear_owner(struct evs_store *st, const struct evs_dir *d, struct evs_error *err)
{
    int r;

    if (st->options.read_only)
        return evs_fail(err, EVS_READ_ONLY, EVS_NOWHERE);
    (void)pthread_mutex_lock(&st->owner_lock);
    r = clear_owner(st, d, err);
    (void)pthread_mutex_unlock(&st->owner_lock);
    return r;
}

mode_t evs_border_mask(struct evs_store *st, const struct evs_dir *d)
{
    return owners_border_mask(&st->owners, d, st->ix, st->lg);
}

mode_t evs_rights(const struct evs_owner *own, const struct evs_cred *cred)
{
    return owners_rights(own, cred);
}

bool evs_may_read(struct evs_store *st, const struct evs_dir *d, const struct evs_cred *cred)
{
    return owners_may_read(&st->owners, d, cred, st->ix, st->lg);
}

size_t evs_borders(struct evs_store *st, bool names, char *buf, size_t n)
{
    return owners_borders(&st->owners, st->ix, names, buf, n);
}
