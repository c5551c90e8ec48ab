/* SPDX-License-Identifier: MIT */
/* pending: (1) total is the sum of all uids' bytes. (2) A uid is in the list exactly while it holds some.
 * (3) Nobody gets more than LIMIT_PENDING_BYTES / number of uids; who has more from before keeps it, and a
 *     newcomer has its part all the same. */
#include "pending.h"
#include "limits.h"

struct pending_uid {
    uid_t uid;
    uint64_t bytes;
};

void pending_init(struct pending *p)
{
    *p = (struct pending){.lock = PTHREAD_MUTEX_INITIALIZER};
}

void pending_done(struct pending *p)
{
    free(p->uids);
    (void)pthread_mutex_destroy(&p->lock);
}

static struct pending_uid *find(const struct pending *p, uid_t uid)
{
    for (size_t i = 0; i < p->n; i++)
        if (p->uids[i].uid == uid)
            return &p->uids[i];
    return NULL;
}

static struct pending_uid *add(struct pending *p, uid_t uid)
{
    if (p->n == p->cap) {
        size_t cap = p->cap ? 2 * p->cap : 8;
        struct pending_uid *v = reallocarray(p->uids, cap, sizeof *v);
        if (!v)
            return NULL;
        p->uids = v;
        p->cap = cap;
    }
    p->uids[p->n] = (struct pending_uid){.uid = uid};
    return &p->uids[p->n++];
}

int pending_take(struct pending *p, uid_t uid, size_t n, struct evs_error *err)
{
    int r = 0;

    (void)pthread_mutex_lock(&p->lock);
    struct pending_uid *u = find(p, uid);
    uint64_t others = p->n - (u != NULL), part = LIMIT_PENDING_BYTES / (others + 1);
    if ((u ? u->bytes : 0) + n > part) {
        r = evs_fail(err, EVS_PENDING_FULL, 0);
    } else if (!u && !(u = add(p, uid))) {
        r = evs_fail(err, EVS_NO_MEMORY, EVS_NOWHERE);
    } else {
        u->bytes += n;
        p->total += n;
        if (!u->bytes)
            *u = p->uids[--p->n];
    }
    (void)pthread_mutex_unlock(&p->lock);
    return r;
}

void pending_give(struct pending *p, uid_t uid, size_t n)
{
    (void)pthread_mutex_lock(&p->lock);
    struct pending_uid *u = find(p, uid);
    if (u) {
        assert(u->bytes >= n);
        u->bytes -= n;
        p->total -= n;
        if (!u->bytes)
            *u = p->uids[--p->n];
    }
    (void)pthread_mutex_unlock(&p->lock);
}

uint64_t pending_total(struct pending *p)
{
    (void)pthread_mutex_lock(&p->lock);
    uint64_t n = p->total;
    (void)pthread_mutex_unlock(&p->lock);
    return n;
}
