/* SPDX-License-Identifier: MIT */
/* share: users are few: a list. The caller has the lock. */
#include "share.h"

static struct share *find(const struct shares *s, uid_t uid)
{
    for (size_t i = 0; i < s->n; i++)
        if (s->v[i].uid == uid)
            return &s->v[i];
    return NULL;
}

void shares_done(struct shares *s)
{
    free(s->v);
    *s = (struct shares){0};
}

uint64_t shares_of(const struct shares *s, uid_t uid)
{
    const struct share *u = find(s, uid);

    return u ? u->taken : 0;
}

void shares_add(struct shares *s, uid_t uid, uint64_t n)
{
    struct share *u = find(s, uid);

    if (!u && s->n == s->cap) {
        size_t cap = s->cap ? 2 * s->cap : 8;
        struct share *v = reallocarray(s->v, cap, sizeof *v);
        if (!v)
            return;
        s->v = v;
        s->cap = cap;
    }
    if (!u) {
        u = &s->v[s->n++];
        *u = (struct share){.uid = uid};
    }
    u->taken += n;
}
