/* SPDX-License-Identifier: MIT */
#include "edit.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define FIRST_BYTES 4096u

static bool charge(struct edit *e, size_t n)
{
    (void)pthread_mutex_lock(e->quota_lock);
    bool ok = quota_take(e->quota, e->uid, n);
    (void)pthread_mutex_unlock(e->quota_lock);
    return ok;
}

static void give_back(struct edit *e, size_t n)
{
    (void)pthread_mutex_lock(e->quota_lock);
    quota_give(e->quota, e->uid, n);
    (void)pthread_mutex_unlock(e->quota_lock);
}

int edit_new(char *text, size_t n, size_t most, struct quota *quota, pthread_mutex_t *quota_lock,
             uid_t uid, struct edit **ret)
{
    struct edit *e = calloc(1, sizeof *e);

    if (!e) {
        free(text);
        return -ENOMEM;
    }
    *e = (struct edit){.lock = PTHREAD_MUTEX_INITIALIZER,
                       .most = most,
                       .cut = !text,
                       .quota = quota,
                       .quota_lock = quota_lock,
                       .uid = uid};
    if (!charge(e, n)) {
        free(text);
        free(e);
        return -ENOBUFS;
    }
    e->text = text;
    e->n = e->cap = text ? n : 0;
    *ret = e;
    return 0;
}

void edit_free(struct edit *e)
{
    if (!e)
        return;
    give_back(e, e->cap);
    free(e->text);
    (void)pthread_mutex_destroy(&e->lock);
    free(e);
}

/* Room for n bytes; those behind the end are NUL. */
static int grow(struct edit *e, uint64_t n)
{
    size_t cap = e->cap ? e->cap : FIRST_BYTES;

    if (n > e->most)
        return -EFBIG;
    if (n <= e->cap)
        return 0;
    while (cap < n)
        cap *= 2;
    if (!charge(e, cap - e->cap))
        return -ENOBUFS;
    char *text = realloc(e->text, cap);
    if (!text) {
        give_back(e, cap - e->cap);
        return -ENOMEM;
    }
    e->text = text;
    e->cap = cap;
    return 0;
}

static void end_at(struct edit *e, size_t n)
{
    if (n > e->n)
        memset(e->text + e->n, 0, n - e->n);
    e->n = n;
    e->written = true;
    e->cut = false;
}

ssize_t edit_write(struct edit *e, const char *p, size_t n, uint64_t pos, bool append)
{
    uint64_t end;

    (void)pthread_mutex_lock(&e->lock);
    if (append)
        pos = e->n;
    if (pos < e->most) /* as far as there is room: what is kept is too large then, and is told so */
        n = n < e->most - pos ? n : (size_t)(e->most - pos);
    int r = __builtin_add_overflow(pos, n, &end) ? -EFBIG : grow(e, end);
    if (r == 0 && n) {
        if (end > e->n)
            end_at(e, (size_t)end);
        memcpy(e->text + pos, p, n);
        e->written = true;
        e->cut = false;
    }
    (void)pthread_mutex_unlock(&e->lock);
    return r < 0 ? r : (ssize_t)n;
}

int edit_resize(struct edit *e, uint64_t n)
{
    (void)pthread_mutex_lock(&e->lock);
    int r = grow(e, n);
    if (r == 0)
        end_at(e, (size_t)n);
    (void)pthread_mutex_unlock(&e->lock);
    return r;
}

size_t edit_bytes(struct edit *e)
{
    (void)pthread_mutex_lock(&e->lock);
    size_t n = e->n;
    (void)pthread_mutex_unlock(&e->lock);
    return n;
}

int edit_check(struct edit *e, bool last, edit_check_fn *fn, void *arg)
{
    (void)pthread_mutex_lock(&e->lock);
    if (e->written || (last && e->cut)) {
        e->result = fn(arg, e->text ? e->text : "", e->n);
        e->written = e->cut = false;
    }
    int r = e->result;
    (void)pthread_mutex_unlock(&e->lock);
    return r;
}
