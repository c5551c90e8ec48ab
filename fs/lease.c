/* SPDX-License-Identifier: MIT */
/* Leases and waiters, by subject: an entity or a type, which is what the store reports changes of.
 *
 * (1) Whoever leaves a lease or a waiter here marks the store afterwards and looks at the extent after that,
 *     so what it doesn't see is reported.
 * (2) A lease is taken out before the kernel is told, and put in before attributes are read. A GETATTR whose
 *     reply is under way while its lease breaks does no harm: the notification makes the kernel ignore it.
 * (3) A report clears its mark. Whatever stays in a subject's lists with that mark is marked again and then
 *     compared, under the shard's lock, so that a walk (lease_break_dir) misses nothing.
 *     One that was granted twice may be of two versions: of two replies under way the older may be shown until the other
 *     is there. So it never survives a change.
 * (4) The kernel is told with no lock held: it may answer by asking us.
 * (5) All leases of a batch are broken before its first waiter is woken: POLLIN comes after the size.
 * (6) What is written to a file by the kernel itself, it knows: once it has our reply it asks for the size anew, and only
 *     for that. So the file's own lease stays, as VERSION_OWN, and the next open needs no GETATTR; it is marked until
 *     the next such write, which the kernel sends after that reply: until then somebody else's change must be told.
 *
 * Shards only keep threads apart; a subject is in one of them for good. A handle and a lease live in lists
 * of their subject, so a batch costs what is watched of what changed, and not what is watched. */
#include "lease.h"
#include "subject.h"

#include <assert.h>
#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>

#define SHARDS          64
#define TOLD_AT_ONCE    128 /* notifications collected under one hold of a lock */
#define SUBJECT_TYPE    (1ull << 32)
#define VERSION_UNTOLD  UINT64_MAX
#define VERSION_UNKNOWN (UINT64_MAX - 1) /* the disk does not say: like no version that was told */
#define VERSION_NEW     (UINT64_MAX - 3)
#define VERSION_OWN     (UINT64_MAX - 2) /* since it was told, the file itself was written to */

struct leases {
    struct evs_store *st;
    struct nodes *nodes;
    struct lease_ops ops;
    _Atomic size_t count; /* of leases, for statistics */
    struct shard shards[SHARDS];
};

static uint64_t key_of(const struct node *n)
{
    switch (n->kind) {
    case NODE_TYPES:
        return 0; /* the store's number for it */
    case NODE_TYPE:
    case NODE_TYPE_EVENTS:
        return SUBJECT_TYPE + n->type;
    case NODE_ENTITY:
    case NODE_BELOW:
    case NODE_OWN_TYPE:
    case NODE_STATE:
        return n->entity;
    default:
        return EVS_ROOT;
    }
}

/* The marks that change what we tell of a node. */
static uint8_t marks_of(enum node_kind kind)
{
    switch (kind) {
    case NODE_ROOT: /* its time is the first event's */
    case NODE_ALL:
    case NODE_BELOW:
        return EVS_MARK_BELOW;
    case NODE_OWN_TYPE:
    case NODE_STATE:
        return EVS_MARK_OWN;
    case NODE_ENTITY:
        return EVS_MARK_OWN | EVS_MARK_CHILDREN;
    case NODE_ENTITIES:
    case NODE_TYPES:
        return EVS_MARK_CHILDREN;
    case NODE_TYPE_EVENTS:
        return EVS_MARK_TYPE;
    default:
        return 0;
    }
}

static struct shard *shard_of(struct leases *l, uint64_t key)
{
    return &l->shards[(key * 0x9e3779b97f4a7c15u) >> 58]; /* 64 of them */
}

static void mark(struct evs_store *st, uint64_t subject, uint8_t marks)
{
    if (marks == 0)
        return;
    if (subject & SUBJECT_TYPE)
        evs_mark_type(st, (evs_type)subject);
    else
        evs_mark_entity(st, (evs_entity)subject, marks);
}

uint64_t lease_version(struct evs_store *st, const struct node *n)
{
    struct evs_view v = {.kind = EVS_ALL, .entity = n->entity, .type = n->type};
    struct evs_extent x = {0};
    int r;

    switch (n->kind) {
    case NODE_ENTITY:
    case NODE_ENTITIES:
        return (uint64_t)evs_directory_time(st, n->entity);
    case NODE_TYPES:
        return evs_type_count(st);
    case NODE_ROOT:
        r = evs_view_extent(st, &v, &x);
        return r < 0 && r != -ENOENT ? VERSION_UNKNOWN : (uint64_t)x.first_us;
    case NODE_STATE:
        v.kind = EVS_OWN;
        break;
    default:
        if (!node_traits(n->kind)->view)
            return 0;
        v.kind = node_traits(n->kind)->view_kind;
        break;
    }
    r = evs_view_extent(st, &v, &x);
    return r < 0 && r != -ENOENT ? VERSION_UNKNOWN : x.bytes;
}

struct leases *lease_new(struct evs_store *st, struct nodes *nodes, const struct lease_ops *ops)
{
    struct leases *l = calloc(1, sizeof *l);

    if (!l)
        return NULL;
    l->st = st;
    l->nodes = nodes;
    l->ops = *ops;
    for (size_t i = 0; i < SHARDS; i++)
        pthread_mutex_init(&l->shards[i].lock, NULL);
    return l;
}

void lease_free(struct leases *l)
{
    if (!l)
        return;
    for (size_t i = 0; i < SHARDS; i++) {
        subject_free_all(&l->shards[i]);
        pthread_mutex_destroy(&l->shards[i].lock);
    }
    free(l);
}

size_t lease_count(struct leases *l)
{
    return atomic_load_explicit(&l->count, memory_order_relaxed);
}

static struct lease **find_lease(struct subject *sub, uint64_t id)
{
    struct lease **p = &sub->leases;

    while (*p && (*p)->id != id)
        p = &(*p)->next;
    return p;
}

static void remove_lease(struct leases *l, struct lease **p)
{
    struct lease *e = *p;

    *p = e->next;
    free(e);
    atomic_fetch_sub_explicit(&l->count, 1, memory_order_relaxed);
}

int lease_grant(struct leases *l, const struct node *n)
{
    uint64_t key = key_of(n);
    struct shard *s = shard_of(l, key);
    struct subject *sub;
    struct lease **p;

    assert(node_numbered(n));
    pthread_mutex_lock(&s->lock);
    sub = subject_add(s, key);
    p = sub ? find_lease(sub, n->id) : NULL;
    if (p && !*p) {
        *p = malloc(sizeof **p);
        if (*p) {
            **p = (struct lease){.id = n->id,
                                 .kind = n->kind,
                                 .entity = n->entity,
                                 .type = n->type,
                                 .version = VERSION_NEW};
            atomic_fetch_add_explicit(&l->count, 1, memory_order_relaxed);
        }
    }
    bool ok = p && *p;
    if (ok) {
        (*p)->mixed = (*p)->version != VERSION_NEW;
        (*p)->version = VERSION_UNTOLD;
    } else if (sub)
        subject_free_if_empty(s, sub);
    pthread_mutex_unlock(&s->lock);
    if (!ok)
        return -ENOMEM;
    mark(l->st, key, marks_of(n->kind));
    return 0;
}

void lease_told(struct leases *l, const struct node *n, uint64_t version)
{
    uint64_t key = key_of(n);
    struct shard *s = shard_of(l, key);

    pthread_mutex_lock(&s->lock);
    struct subject *sub = subject_find(s, key);
    struct lease **p = sub ? find_lease(sub, n->id) : NULL;
    if (p && *p)
        (*p)->version = version;
    pthread_mutex_unlock(&s->lock);
}

/* Take n's lease out where it tells another version (any: whatever it tells). */
static void break_one(struct leases *l, const struct node *n, bool any, uint64_t version)
{
    uint64_t key = key_of(n);
    struct shard *s = shard_of(l, key);
    bool tell = false;

    pthread_mutex_lock(&s->lock);
    struct subject *sub = subject_find(s, key);
    struct lease **p = sub ? find_lease(sub, n->id) : NULL;
    if (p && *p && (any || (*p)->version != version)) {
        remove_lease(l, p);
        subject_free_if_empty(s, sub);
        tell = true;
    }
    pthread_mutex_unlock(&s->lock);
    if (tell)
        l->ops.invalidate(l->ops.arg, n->id);
}

void lease_check(struct leases *l, const struct node *n, uint64_t version)
{
    break_one(l, n, false, version);
}

void lease_drop(struct leases *l, const struct node *n)
{
    break_one(l, n, true, 0);
}

/* Does the lease survive a change under these marks? Called under the shard's lock: reading an extent takes
 * no lock of the store. Only what often gets a mark that is not about it is compared; a view that is marked
 * itself has changed. */
static bool unchanged(struct leases *l, const struct lease *e, uint64_t key)
{
    struct node n = {.kind = e->kind, .entity = e->entity, .type = e->type};

    if (e->kind != NODE_OWN_TYPE && e->kind != NODE_ENTITY && e->kind != NODE_ROOT)
        return false;
    if (e->version == VERSION_UNTOLD || e->version == VERSION_OWN || e->mixed)
        return false;
    if (e->kind == NODE_ROOT && e->version != 0)
        return true; /* the time of the first event: there will be no other */
    mark(l->st, key, marks_of(e->kind));
    return lease_version(l->st, &n) == e->version;
}

static _Thread_local uint64_t writing;

void lease_writing(uint64_t id)
{
    writing = id;
}

/* (6): is the change this file's own? */
static bool is_own(struct leases *l, struct lease *e, uint64_t key)
{
    if (e->id != writing)
        return false;
    if (e->version != VERSION_OWN)
        mark(l->st, key, marks_of(e->kind));
    e->version = VERSION_OWN;
    return true;
}

/* Collect up to cap ids of leases that marks change, and take them out. */
static size_t take_changed(struct leases *l, struct subject *sub, uint8_t marks, uint64_t *ids,
                           size_t cap)
{
    size_t n = 0;

    for (struct lease **p = &sub->leases; *p && n < cap;) {
        if (!(marks_of((*p)->kind) & marks) || is_own(l, *p, sub->key) ||
            unchanged(l, *p, sub->key)) {
            p = &(*p)->next;
            continue;
        }
        ids[n++] = (*p)->id;
        remove_lease(l, p);
    }
    return n;
}

static void break_changed(struct leases *l, uint64_t key, uint8_t marks)
{
    struct shard *s = shard_of(l, key);
    uint64_t ids[TOLD_AT_ONCE];
    size_t n;

    do {
        pthread_mutex_lock(&s->lock);
        struct subject *sub = subject_find(s, key);
        n = sub ? take_changed(l, sub, marks, ids, TOLD_AT_ONCE) : 0;
        if (sub)
            subject_free_if_empty(s, sub);
        pthread_mutex_unlock(&s->lock);
        for (size_t i = 0; i < n; i++)
            l->ops.invalidate(l->ops.arg, ids[i]);
    } while (n == TOLD_AT_ONCE);
}

static uint8_t marks_of_view(const struct waiter *w)
{
    if (w->id)
        return EVS_MARK_BELOW;
    switch (w->view.kind) {
    case EVS_OWN:
    case EVS_OWN_TYPE:
        return EVS_MARK_OWN;
    case EVS_TYPE:
        return EVS_MARK_TYPE;
    default:
        return EVS_MARK_BELOW;
    }
}

static void unlink_waiter(struct waiter *w)
{
    *w->prev = w->next;
    if (w->next)
        w->next->prev = w->prev;
    w->prev = NULL;
}

/* The size of what w waits for; last remembers it for the next of the same view: thousands may wait. */
struct last_size {
    struct evs_view view;
    uint64_t bytes;
    bool set;
};

static uint64_t size_now(struct leases *l, const struct waiter *w, struct last_size *last)
{
    struct evs_view v = w->view;
    struct evs_extent x = {0};

    if (w->id) {
        struct node n;
        if (nodes_resolve(l->nodes, w->id, &n) < 0 || !node_numbered(&n))
            return 0;
        v.entity = n.entity;
        v.type = n.type;
    }
    if (last->set && last->view.kind == v.kind && last->view.entity == v.entity &&
        last->view.type == v.type)
        return last->bytes;
    (void)evs_view_extent(l->st, &v, &x); /* a failure is no event yet */
    *last = (struct last_size){.view = v, .bytes = x.bytes, .set = true};
    return x.bytes;
}

static size_t take_grown(struct leases *l, struct subject *sub, uint8_t marks, void **handles,
                         size_t cap)
{
    struct last_size last = {.set = false};
    size_t n = 0;
    bool marked = false;

    for (struct waiter *w = sub->waiters, *next; w && n < cap; w = next) {
        next = w->next;
        if (!(marks_of_view(w) & marks))
            continue;
        if (!marked) { /* for those that stay */
            mark(l->st, sub->key, marks);
            marked = true;
        }
        if (size_now(l, w, &last) <= w->seen)
            continue;
        handles[n++] = w->handle;
        w->handle = NULL;
        unlink_waiter(w);
    }
    return n;
}

static void wake_grown(struct leases *l, uint64_t key, uint8_t marks)
{
    struct shard *s = shard_of(l, key);
    void *handles[TOLD_AT_ONCE];
    size_t n;

    do {
        pthread_mutex_lock(&s->lock);
        struct subject *sub = subject_find(s, key);
        n = sub ? take_grown(l, sub, marks, handles, TOLD_AT_ONCE) : 0;
        if (sub)
            subject_free_if_empty(s, sub);
        pthread_mutex_unlock(&s->lock);
        for (size_t i = 0; i < n; i++)
            l->ops.wake(l->ops.arg, handles[i]);
    } while (n == TOLD_AT_ONCE);
}

static void each_change(struct leases *l, const struct evs_change *c,
                        void (*fn)(struct leases *l, uint64_t key, uint8_t marks))
{
    uint8_t of_entity = c->marks & (uint8_t)~EVS_MARK_TYPE;

    if (of_entity)
        fn(l, c->entity, of_entity);
    if (c->marks & EVS_MARK_TYPE)
        fn(l, SUBJECT_TYPE + c->type, EVS_MARK_TYPE);
}

void lease_on_change(void *arg, const struct evs_change *changes, size_t n)
{
    struct leases *l = arg;

    for (size_t i = 0; i < n; i++)
        each_change(l, &changes[i], break_changed);
    for (size_t i = 0; i < n; i++)
        each_change(l, &changes[i], wake_grown);
}

static bool is_above(struct evs_store *st, evs_entity above, evs_entity e)
{
    for (; e; e = evs_parent(st, e)) {
        if (e == above)
            return true;
    }
    return false;
}

/* Types show events of any entity, and the root's files all of them: any border may concern them. */
static bool concerns(struct evs_store *st, const struct node *dir, const struct lease *e)
{
    evs_entity changed = dir->kind == NODE_ENTITIES ? EVS_ROOT : dir->entity;

    if (dir->kind != NODE_ENTITY && dir->kind != NODE_ENTITIES)
        return true;
    if (e->entity == 0)
        return true;
    return is_above(st, changed, e->entity) || is_above(st, e->entity, changed);
}

static size_t take_concerned(struct leases *l, struct shard *s, const struct node *dir,
                             uint64_t *ids, size_t cap)
{
    size_t n = 0;

    for (size_t i = 0; i < s->n_slots; i++) {
        for (struct subject *sub = s->slots[i], *next; sub && n < cap; sub = next) {
            next = sub->next;
            for (struct lease **p = &sub->leases; *p && n < cap;) {
                if (!concerns(l->st, dir, *p)) {
                    p = &(*p)->next;
                    continue;
                }
                ids[n++] = (*p)->id;
                remove_lease(l, p);
            }
            subject_free_if_empty(s, sub);
        }
    }
    return n;
}

void lease_break_dir(struct leases *l, const struct node *dir)
{
    uint64_t ids[TOLD_AT_ONCE];
    size_t n;

    for (size_t i = 0; i < SHARDS; i++) {
        struct shard *s = &l->shards[i];
        do {
            pthread_mutex_lock(&s->lock);
            n = take_concerned(l, s, dir, ids, TOLD_AT_ONCE);
            pthread_mutex_unlock(&s->lock);
            for (size_t j = 0; j < n; j++)
                l->ops.invalidate(l->ops.arg, ids[j]);
        } while (n == TOLD_AT_ONCE);
    }
}

int lease_wait(struct leases *l, struct waiter *w, const struct node *n, uint64_t seen,
               void *handle)
{
    bool numbered = node_numbered(n);
    uint64_t key = numbered ? key_of(n) : EVS_ROOT; /* a name becomes real by some event */
    struct shard *s = shard_of(l, key);
    struct subject *sub;

    lease_unwait(l, w);
    *w = (struct waiter){
        .subject = key,
        .view = {.kind = node_traits(n->kind)->view_kind, .entity = n->entity, .type = n->type},
        .id = numbered ? 0 : n->id,
        .seen = seen,
        .handle = handle};
    pthread_mutex_lock(&s->lock);
    sub = subject_add(s, key);
    if (sub) {
        w->next = sub->waiters;
        if (w->next)
            w->next->prev = &w->next;
        w->prev = &sub->waiters;
        sub->waiters = w;
    }
    pthread_mutex_unlock(&s->lock);
    if (!sub) {
        l->ops.drop(l->ops.arg, handle);
        return -ENOMEM;
    }
    mark(l->st, key, marks_of_view(w));
    return 0;
}

void lease_unwait(struct leases *l, struct waiter *w)
{
    struct shard *s = shard_of(l, w->subject);
    void *handle = NULL;

    pthread_mutex_lock(&s->lock);
    if (w->prev) {
        struct subject *sub = subject_find(s, w->subject);
        handle = w->handle;
        w->handle = NULL;
        unlink_waiter(w);
        subject_free_if_empty(s, sub);
    }
    pthread_mutex_unlock(&s->lock);
    if (handle)
        l->ops.drop(l->ops.arg, handle);
}

bool lease_waits(struct leases *l, struct waiter *w)
{
    struct shard *s = shard_of(l, w->subject);
    bool waits;

    pthread_mutex_lock(&s->lock);
    waits = w->prev != NULL;
    pthread_mutex_unlock(&s->lock);
    return waits;
}
