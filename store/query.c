/* SPDX-License-Identifier: MIT */
/* query: the reading face of evstore.h: names, children, views, cursors, state, marks. Thin: it checks
 * numbers that come from outside, guards what reads mapped bytes, and remembers damage for health. */
#include "cursor.h"
#include "hotpath.h"
#include "ingest.h"
#include "io.h"
#include "limits.h"
#include "state.h"

#include <errno.h>

#define LOAD(x)     atomic_load_explicit(&(x), memory_order_relaxed)
#define LOAD_ACQ(x) atomic_load_explicit(&(x), memory_order_acquire)

/* ---- names ---- */

/* Events that are visible, an owner, or one below: a set that only a failed append has named is not there. */
static bool is_real(const struct evs_store *st, entity_id e)
{
    const struct set *s = index_set(st->ix, e);

    return LOAD_ACQ(s->n) || (LOAD_ACQ(s->flags) & (SET_OWNED | SET_LEADS));
}

evs_entity evs_find_entity(struct evs_store *st, const char *id, size_t n)
{
    struct slice s = {n ? id : "",
                      n}; /* "" is no entity, but the directory of those that begin with '/' */
    entity_id e = n <= LIMIT_ENTITY_BYTES ? index_find_entity(st->ix, s, index_entity_hash(s)) : 0;

    return e && is_real(st, e) ? e : 0;
}

evs_type evs_find_type(struct evs_store *st, const char *type, size_t n)
{
    struct slice s = {type, n};
    type_id t = n && n <= LIMIT_TYPE_BYTES ? index_find_type(st->ix, s, index_type_hash(s)) : 0;

    return t && LOAD_ACQ(index_type_set(st->ix, t)->n) ? t : 0;
}

evs_entity evs_find_child(struct evs_store *st, evs_entity parent, const char *comp, size_t n)
{
    entity_id e = index_entity_valid(st->ix, parent)
                      ? index_find_child(st->ix, parent, (struct slice){comp, n})
                      : 0;

    return e && is_real(st, e) ? e : 0;
}

int evs_entity_name(struct evs_store *st, evs_entity e, char *buf, size_t cap)
{
    return index_entity_valid(st->ix, e) ? index_entity_name(st->ix, e, buf, cap) : -ENOENT;
}

static int copy_out(struct slice s, char *buf, size_t cap)
{
    if (s.n > cap)
        return -ERANGE;
    memcpy(buf, s.p, s.n);
    return (int)s.n;
}

int evs_component(struct evs_store *st, evs_entity e, char *buf, size_t cap)
{
    if (e == EVS_ROOT || !index_entity_valid(st->ix, e))
        return -ENOENT;
    return copy_out(index_component(st->ix, e), buf, cap);
}

int evs_type_name(struct evs_store *st, evs_type t, char *buf, size_t cap)
{
    if (t == 0 || t > index_type_count(st->ix))
        return -ENOENT;
    return copy_out(index_type_name(st->ix, t), buf, cap);
}

evs_entity evs_parent(struct evs_store *st, evs_entity e)
{
    return e > EVS_ROOT && index_entity_valid(st->ix, e) ? index_set(st->ix, e)->parent : 0;
}

evs_entity evs_next_child(struct evs_store *st, evs_entity parent, evs_entity after)
{
    if (!index_entity_valid(st->ix, parent) || (after && !index_entity_valid(st->ix, after)))
        return 0;
    entity_id at = after, next;

    /* A ring in ascending order of numbers (index.c, (5)); where it descends, the newest is followed by the
     * oldest. Only that tells: a child is linked before its parent calls it the newest, so who compared with
     * the newest would start at a child that is just being linked, or go round. */
    if (!after) {
        at = LOAD_ACQ(index_set(st->ix, parent)->child);
        if (!at)
            return 0;
        while ((next = LOAD_ACQ(index_set(st->ix, at)->next)) > at)
            at = next;
        at = next;
        if (is_real(st, at))
            return at;
    } else if (index_set(st->ix, after)->parent != parent) {
        return 0;
    }
    do {
        next = LOAD_ACQ(index_set(st->ix, at)->next);
        if (next <= at)
            return 0;
        at = next;
    } while (!is_real(st, at));
    return at;
}

evs_type evs_type_count(struct evs_store *st)
{
    return index_type_count(st->ix);
}

/* ---- types of an entity ---- */

struct types {
    const struct evs_store *st;
    entity_id e;
    evs_type *ret;
    size_t cap, n;
    evs_seq newest; /* first event of the type that came last */
    uint64_t seen[(LIMIT_TYPES + 64) / 64];
};

static void types_of_pairs(struct types *t, uint32_t pair)
{
    const struct index *ix = t->st->ix;
    size_t n = 0;

    for (uint32_t v = pair; v; v = LOAD_ACQ(index_set(ix, v)->next))
        n++;
    t->n = n;
    for (uint32_t v = pair; v && n > 0; v = LOAD_ACQ(index_set(ix, v)->next))
        if (--n < t->cap)
            t->ret[n] = index_set(ix, v)->name; /* the list is newest first */
}

static int types_job(void *arg)
{
    struct types *t = arg;
    const struct index *ix = t->st->ix;
    const struct log *lg = t->st->lg;
    struct lengths len = {.lg = lg};
    struct view v;

    t->n = 0;
    if (view_open(ix, lg, &(struct evs_view){.kind = EVS_OWN, .entity = t->e}, log_end(lg), &v) < 0)
        return 0;
    for (int i = 0; i < 2 && v.part[i].set; i++) {
        struct posting it;
        postings_seek_byte(&ix->a, v.part[i].set, v.part[i].n, 0, &len, &it);
        while (it.ordinal < it.limit) {
            const struct log_rec *r = lengths_rec(&len, it.seq);
            type_id type = r->type;
            if (type && type <= LIMIT_TYPES && !(t->seen[type / 64] >> (type % 64) & 1)) {
                t->seen[type / 64] |= 1ull << (type % 64);
                t->newest = it.seq;
                if (t->n++ < t->cap)
                    t->ret[t->n - 1] = type;
            }
            postings_next(&ix->a, &it, r->len);
        }
    }
    return 0;
}

size_t evs_entity_types(struct evs_store *st, evs_entity e, evs_type *ret, size_t cap)
{
    struct types t = {.st = st, .e = e, .ret = ret, .cap = cap};
    uint32_t pairs;

    if (e == EVS_ROOT || !index_entity_valid(st->ix, e))
        return 0;
    pairs = LOAD_ACQ(index_set(st->ix, e)->pairs);
    if (pairs)
        types_of_pairs(&t, pairs);
    else if (io_guarded(types_job, &t) < 0)
        return 0;
    return t.n;
}

static evs_seq first_of(const struct evs_store *st, const struct set *s, bool data)
{
    struct lengths len = {.lg = st->lg, .data = data};
    struct posting it;

    postings_seek_byte(&st->ix->a, s, MIN(LOAD_ACQ(s->n), 1u), 0, &len, &it);
    return it.limit ? it.seq : 0;
}

struct time_job {
    struct evs_store *st;
    entity_id e;
    int64_t us;
};

static int directory_time_job(void *arg)
{
    struct time_job *j = arg;
    struct evs_store *st = j->st;
    const struct set *s = index_set(st->ix, j->e);
    evs_seq newest = 0, end = log_end(st->lg);
    entity_id child = LOAD_ACQ(s->child);
    uint32_t pairs = LOAD_ACQ(s->pairs);

    if (child)
        newest = first_of(st, index_set(st->ix, child), false);
    if (child && !newest) /* the newest has only an owner, or was only named: look at all */
        for (entity_id c = evs_next_child(st, j->e, 0); c; c = evs_next_child(st, j->e, c))
            newest = MAX(newest, first_of(st, index_set(st->ix, c), false));
    if (pairs) {
        newest = MAX(newest, first_of(st, index_set(st->ix, pairs), true));
    } else if (j->e != EVS_ROOT) {
        struct types t = {.st = st, .e = j->e};
        (void)types_job(&t);
        newest = MAX(newest, t.newest);
    }
    newest = MIN(newest, end);
    struct lengths len = {.lg = st->lg};
    j->us = newest ? lengths_rec(&len, (uint32_t)newest)->recorded_us : 0;
    return 0;
}

int64_t evs_directory_time(struct evs_store *st, evs_entity e)
{
    struct time_job j = {.st = st, .e = e};

    if (!index_entity_valid(st->ix, e) || io_guarded(directory_time_job, &j) < 0)
        return 0;
    return j.us;
}

/* ---- views ---- */

struct extent_job {
    struct evs_store *st;
    const struct evs_view *v;
    struct evs_extent *ret;
};

static int extent_job(void *arg)
{
    struct extent_job *j = arg;
    struct view v;
    int r = view_open(j->st->ix, j->st->lg, j->v, log_end(j->st->lg), &v);

    if (r == 0)
        view_extent(j->st->ix, j->st->lg, &v, j->ret);
    return r;
}

int evs_view_extent(struct evs_store *st, const struct evs_view *v, struct evs_extent *ret)
{
    struct evs_extent got;
    struct extent_job j = {st, v, &got};
    int r = io_guarded(extent_job, &j);

    if (r == 0)
        *ret = got;
    return r;
}

struct evs_cursor {
    struct evs_store *st;
    struct cursor *c;
};

int evs_cursor_new(struct evs_store *st, const struct evs_view *v, struct evs_cursor **ret_c,
                   struct evs_error *err)
{
    struct evs_cursor *c = malloc(sizeof *c);

    if (!c)
        return evs_fail(err, EVS_NO_MEMORY, EVS_NOWHERE);
    c->st = st;
    int r = cursor_new(st->ix, st->lg, v, &c->c, err);
    if (r < 0) {
        free(c);
        return r;
    }
    *ret_c = c;
    return 0;
}

void evs_cursor_free(struct evs_cursor *c)
{
    if (c)
        cursor_free(c->c);
    free(c);
}

ssize_t evs_cursor_read(struct evs_cursor *c, uint64_t pos, void *buf, size_t n,
                        struct evs_error *err)
{
    return cursor_read(c->c, pos, buf, n, err);
}

ssize_t evs_cursor_peek(struct evs_cursor *c, uint64_t pos, size_t n, const void **ret,
                        struct evs_error *err)
{
    return cursor_peek(c->c, pos, n, ret, err);
}

void evs_cursor_done(struct evs_cursor *c)
{
    cursor_done(c->c);
}

int evs_cursor_find(struct evs_cursor *c, evs_seq after, uint64_t *ret_pos, struct evs_error *err)
{
    return cursor_find(c->c, after, ret_pos, err);
}

/* ---- state ---- */

struct fold {
    struct state *s;
    evs_seq last; /* that is merged */
    char *
        copy; /* data is merged from a copy: a jump out of mapped memory must not leave half a state */
    size_t cap;
    struct evs_error why;
    int r;
};

static int fold_line(void *arg, evs_seq seq, struct slice line, const struct log_rec *rec)
{
    struct fold *f = arg;
    size_t n = line.n - log_rec_data(rec) - 2; /* without the brace and the LF */

    f->last = seq;
    if (n > f->cap) {
        char *p = realloc(f->copy, 2 * n);
        if (!p)
            return f->r = evs_fail(&f->why, EVS_NO_MEMORY, EVS_NOWHERE);
        f->copy = p;
        f->cap = 2 * n;
    }
    memcpy(f->copy, line.p + log_rec_data(rec), n);
    return f->r = state_merge(f->s, (struct slice){f->copy, n}, &f->why);
}

/* Merge what came after `kept`, NULL: all. A text is the merge of what it was made from, so it is merged first. */
static int fold_own(struct evs_store *st, const struct evs_view *v, const struct kept_state *kept,
                    struct fold *f, struct evs_error *err)
{
    struct evs_error why;
    int r = state_new(&f->s, err);

    if (r == 0 && kept) {
        f->last = kept->last;
        r = state_merge(f->s, (struct slice){kept->text, kept->n - 1}, err); /* without its LF */
    }
    if (r < 0)
        return r;
    r = cursor_each(st->ix, st->lg, v, f->last, fold_line, f, &why);
    return r < 0 ? evs_fail_as(err, f->r < 0 ? &f->why : &why) : 0;
}

struct own_job {
    struct evs_store *st;
    const struct evs_view *v;
    struct view now;
};

static int own_job(void *arg)
{
    struct own_job *j = arg;

    return view_open(j->st->ix, j->st->lg, j->v, log_end(j->st->lg), &j->now);
}

int evs_state(struct evs_store *st, evs_entity e, char **ret_json, size_t *ret_n,
              struct evs_error *err)
{
    const struct evs_view v = {.kind = EVS_OWN, .entity = e};
    struct own_job j = {.st = st, .v = &v};
    struct fold f = {0};

    HOT(state);
    int r = io_guarded(own_job, &j);
    if (r < 0 && r != -ENOENT)
        return evs_fail_errno(err, r, "reading the idx"); /* not the same as no events */
    if (r < 0 || j.now.events == 0)
        return evs_fail(err, EVS_NO_SUCH, EVS_NOWHERE);
    struct kept_state *kept = states_get(&st->states, e);
    if (kept && kept->last >= j.now.last) {
        char *text = malloc(kept->n);
        if (text)
            *ret_json = memcpy(text, kept->text, *ret_n = kept->n);
        else
            r = evs_fail(err, EVS_NO_MEMORY, EVS_NOWHERE);
    } else {
        r = fold_own(st, &v, kept, &f, err);
        if (r == 0)
            r = state_text(f.s, ret_json, ret_n, err);
        if (r == 0)
            states_put(&st->states, e, f.last, *ret_json, *ret_n);
    }
    states_unref(&st->states, kept);
    free(f.copy);
    state_free(f.s);
    return r;
}

/* ---- watching ---- */

void evs_on_change(struct evs_store *st, evs_change_fn *fn, void *arg)
{
    st->on_change_arg = arg;
    st->on_change = fn;
}

void evs_mark_entity(struct evs_store *st, evs_entity e, uint8_t marks)
{
    struct index *ix = st->ix;

    if (e == 0 && (marks & EVS_MARK_CHILDREN))
        index_mark(ix, &ix->type_marks, EVS_MARK_CHILDREN);
    if (!index_entity_valid(ix, e))
        return;
    if (e == EVS_ROOT && (marks & EVS_MARK_BELOW))
        index_mark(ix, &ix->all_marks, EVS_MARK_BELOW);
    if (e == EVS_ROOT)
        marks &= EVS_MARK_CHILDREN; /* the root has no events of its own */
    if (marks)
        index_mark(ix, &index_set(ix, e)->marks, marks);
}

void evs_mark_type(struct evs_store *st, evs_type t)
{
    if (t && t <= index_type_count(st->ix))
        index_mark(st->ix, &index_type_set(st->ix, t)->marks, EVS_MARK_TYPE);
}
