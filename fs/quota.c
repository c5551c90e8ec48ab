/* SPDX-License-Identifier: MIT */
/* quota: users are few: a list. */
#include "quota.h"

#include <assert.h>
#include <stdlib.h>

static struct quota_user *find(const struct quota *q, uid_t uid)
{
    for (size_t i = 0; i < q->n; i++)
        if (q->v[i].uid == uid)
            return &q->v[i];
    return NULL;
}

void quota_done(struct quota *q)
{
    free(q->v);
    q->v = NULL;
    q->n = q->cap = 0;
}

bool quota_take(struct quota *q, uid_t uid, uint64_t n)
{
    struct quota_user *u = find(q, uid);

    if (n == 0)
        return true;
    if (u && (n > q->whole / q->n || u->held > q->whole / q->n - n))
        return false;
    if (!u && q->n == q->cap) {
        size_t cap = q->cap ? 2 * q->cap : 8;
        struct quota_user *v = reallocarray(q->v, cap, sizeof *v);
        if (!v)
            return false;
        q->v = v;
        q->cap = cap;
    }
    if (!u) {
        u = &q->v[q->n++];
        *u = (struct quota_user){.uid = uid};
    }
    u->held += n;
    return true;
}

void quota_give(struct quota *q, uid_t uid, uint64_t n)
{
    struct quota_user *u = find(q, uid);

    if (n == 0)
        return;
    assert(u && u->held >= n);
    u->held -= n;
    if (!u->held)
        *u = q->v[--q->n];
}
