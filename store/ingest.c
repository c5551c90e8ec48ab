/* SPDX-License-Identifier: MIT */
/* ingest: one loop a stage over a batch that fits the cache, each prefetching for the next.
 * (1) What needs no order is done before the lock: names, places, permissions, repeats among what is stored.
 * (2) Under the lock an event is decided from the store, the batch and one reading of the clock: seq, version,
 *     id, recorded. Nothing else decides, so that the order could come from elsewhere.
 * (3) What a batch adds to names and writers' ids is staged until its lines are written: what is refused, or
 *     can't be written, leaves nothing, and whoever tries again and again fills no memory. Only decided of an
 *     entity runs ahead of the log, and is counted back.
 * (4) Rights are judged before the lock, and hold only while owners are as they were then. Owners change under
 *     the lock, so who finds another generation under it judges again: no event follows the reply to a chmod
 *     or chown that forbids it. Not under the lock, since a process's groups are asked for in /proc. So it is with
 *     pinned schemas; only whether they are still the same is seen under it, at last.
 * (5) Order: log_append, index_keep, index_apply, log_publish, index_report. A reader that sees a seq finds it
 *     in every set. */
#include "hotpath.h"
#include "ingest.h"
#include "limits.h"
#include "name.h"
#include "repeat.h"
#include "scan.h"
#include "schemas.h"

#include <errno.h>

#define KEEP_EVENTS 2048u
#define KEEP_LINES  ((size_t)4 << 20)

/* ---- batches ---- */

void batch_free(struct batch *b)
{
    if (!b)
        return;
    pins_give(b->pins);
    pin_unref(b->breach.pin);
    scratch_done(&b->scratch);
    free(b->changes.v);
    free(b->p);
    free(b->order);
    free(b->recs);
    free(b->lines);
    free(b);
}

static bool batch_grow(struct batch *b, uint32_t cap)
{
    struct prepared *p = reallocarray(b->p, cap, sizeof *p);
    if (p)
        b->p = p;
    struct log_rec *recs = reallocarray(b->recs, cap, sizeof *recs);
    if (recs)
        b->recs = recs;
    uint32_t *order = reallocarray(b->order, cap, sizeof *order);
    if (order)
        b->order = order;
    if (!p || !recs || !order)
        return false;
    b->cap = cap;
    return true;
}

struct batch *batch_get(struct evs_store *st)
{
    (void)pthread_mutex_lock(&st->pool_lock);
    struct batch *b = st->pool;
    if (b)
        st->pool = b->next;
    (void)pthread_mutex_unlock(&st->pool_lock);
    if (b)
        return b;
    b = calloc(1, sizeof *b);
    if (!b)
        return NULL;
    scratch_init(&b->scratch);
    if (!batch_grow(b, BATCH_EVENTS)) {
        batch_free(b);
        return NULL;
    }
    return b;
}

void batch_put(struct evs_store *st, struct batch *b)
{
    if (!b)
        return;
    if (b->cap > KEEP_EVENTS || b->lines_cap > KEEP_LINES) {
        batch_free(b);
        return;
    }
    pins_give(TAKE(b->pins));
    pin_unref(TAKE(b->breach.pin));
    b->n = 0;
    scratch_reset(&b->scratch);
    (void)pthread_mutex_lock(&st->pool_lock);
    b->next = st->pool;
    st->pool = b;
    (void)pthread_mutex_unlock(&st->pool_lock);
}

struct prepared *batch_add(struct batch *b)
{
    if (b->n == b->cap && !batch_grow(b, b->cap * 2))
        return NULL;
    return &b->p[b->n];
}

/* ---- prepare ---- */

static int check_place(struct prepared *p, const struct evs_target *t, struct evs_error *err)
{
    struct event *ev = &p->ev;
    struct slice dir = {t->entity, t->entity_len}, type = {t->type, t->type_len};

    if (t->kind == EVS_BELOW || t->kind == EVS_OWN_TYPE) {
        if (!ev->entity.p && dir.n) {
            ev->entity = dir;
            ev->entity_escape = event_needs_escape(dir);
        } else if (ev->entity.p && !slice_eq(ev->entity, dir) &&
                   (ev->entity.n <= dir.n || ev->entity.p[dir.n] != '/' ||
                    (dir.n && memcmp(ev->entity.p, dir.p, dir.n) != 0))) {
            return evs_fail(err, EVS_WRONG_PLACE, ev->pos);
        }
    }
    if (t->kind == EVS_TYPE || t->kind == EVS_OWN_TYPE) {
        if (!ev->type.p) {
            ev->type = type;
            ev->type_escape = event_needs_escape(type);
        } else if (!slice_eq(ev->type, type)) {
            return evs_fail(err, EVS_WRONG_PLACE, ev->pos);
        }
    }
    if (!ev->entity.p)
        return evs_fail(err, EVS_NO_ENTITY, ev->pos);
    if (!ev->type.p)
        return evs_fail(err, EVS_NO_TYPE, ev->pos);
    return 0;
}

static struct evs_dir target_dir(const struct evs_target *t)
{
    switch (t->kind) {
    case EVS_BELOW:
    case EVS_OWN:
    case EVS_OWN_TYPE:
        return (struct evs_dir){EVS_DIR_ENTITY, t->entity, t->entity_len};
    case EVS_TYPE:
        return (struct evs_dir){EVS_DIR_TYPE, t->type, t->type_len};
    case EVS_ALL:
        break;
    }
    return (struct evs_dir){.kind = EVS_DIR_ROOT};
}

/* before: the event before it, which cred may append; NULL: none. */
static int look_up(struct evs_store *st, struct prepared *p, const struct prepared *before,
                   const struct evs_dir *through, const struct evs_cred *cred, evs_seq end,
                   struct evs_error *err)
{
    const struct index *ix = st->ix;
    struct event *ev = &p->ev;
    int r;

    p->entity = index_find_entity(ix, ev->entity, p->entity_hash);
    bool same = before && p->entity && p->entity == before->entity;
    p->type = index_find_type(ix, ev->type, p->type_hash);
    /* First of all: to who may not write there nothing else is said, not even that an id is taken. */
    if (!same && UNLIKELY(!owners_may_append(&st->owners, through, ev->entity, cred)))
        return evs_fail(err, EVS_DENIED, ev->pos);
    if (UNLIKELY(!p->entity) && (r = name_check_entity(ev->entity, ev->pos, err)) < 0)
        return r;
    if (UNLIKELY(!p->type) && (r = name_check_type(ev->type, ev->pos, err)) < 0)
        return r;
    p->looked = end;
    if (ev->id.p && p->entity) {
        p->id_hash = index_id_hash(p->entity, ev->id);
        switch (repeat_find(ix, st->lg, p, 0, end)) {
        case REPEAT_OTHER:
            return evs_fail(err, EVS_ID_TAKEN, ev->pos);
        case REPEAT_ERROR:
            return evs_fail(err, EVS_DAMAGED, ev->pos);
        case REPEAT_SAME:
            p->looked = UINT64_MAX; /* for ever: what is stored does not change */
            break;
        case REPEAT_NEW:
            break;
        }
    }
    return 0;
}

uint32_t ingest_prepare(struct evs_store *st, struct batch *b, const struct evs_target *target,
                        const struct evs_cred *cred, struct evs_error *err)
{
    evs_seq end = log_end(st->lg);
    uint32_t n = b->n, i;
    struct evs_error later;
    bool failed = false;

    HOT(prepare);
    b->through = target_dir(target);
    b->owners_gen = owners_gen(&st->owners);
    b->pins_state = pins_state(&st->pins);
    b->warned = false;
    for (i = 0; i < n; i++) {
        struct prepared *p = &b->p[i];
        if (check_place(p, target, &later) < 0) {
            failed = true;
            n = i;
            break;
        }
        p->entity_hash = index_entity_hash(p->ev.entity);
        p->type_hash = index_type_hash(p->ev.type);
    }
    index_prefetch(st->ix, &b->p->entity_hash, sizeof *b->p, n);
    for (i = 0; i < n; i++)
        if (look_up(st, &b->p[i], i ? &b->p[i - 1] : NULL, &b->through, cred, end, &later) < 0) {
            failed = true;
            n = i;
        }
    if (UNLIKELY(b->pins_state & PINS_SOME) && (i = ingest_judge_schemas(st, b, n, &later)) < n) {
        failed = true;
        n = i;
    }
    schemas_prepare(st, b, n);
    if (failed && err)
        *err = later;
    return n;
}

/* How many of the first n events may cred append as owners and schemas are now? Fewer: err says why not the next. */
static uint32_t judge_again(struct evs_store *st, struct batch *b, uint32_t n,
                            const struct evs_cred *cred, struct evs_error *err)
{
    const uint64_t judged_by = b->pins_state;
    uint32_t may = 0;

    b->owners_gen = owners_gen(&st->owners);
    b->pins_state = pins_state(&st->pins);
    while (may < n && owners_may_append(&st->owners, &b->through, b->p[may].ev.entity, cred))
        may++;
    if (may < n)
        (void)evs_fail(err, EVS_DENIED, b->p[may].ev.pos);
    if (b->pins_state == judged_by)
        return may;
    return b->pins_state & PINS_SOME ? ingest_judge_schemas(st, b, may, err) : may;
}

/* Who pins and unpins all the time, wherever he may, must not keep everybody else from appending: who has judged again
 * and again sees under the lock whether the schemas of his own events are still those. */
#define PATIENCE 2u

static NEEDS_COMMIT bool still_holds(struct evs_store *st, struct batch *b, uint32_t n)
{
    return b->owners_gen == owners_gen(&st->owners) && ingest_schemas_hold(st, b, n);
}

static bool is_outdated(struct evs_store *st, const struct batch *b)
{
    return b->owners_gen != owners_gen(&st->owners) || b->pins_state != pins_state(&st->pins);
}

/* ---- under the lock ---- */

/* Types are for ever, so one user must not make them all. Root and the owner of the store may. */
static NEEDS_COMMIT bool may_make_type(struct evs_store *st, uid_t uid)
{
    uint64_t staged = st->ix->staged_types, made = shares_of(&st->types_made, uid) + staged;

    return shares_allow(made, LIMIT_TYPES - index_type_count(st->ix) - staged) ||
           owners_is_free(&st->owners, uid);
}

/* An event whose entity or type the store did not have when it was prepared. */
static NEEDS_COMMIT int decide_new(struct evs_store *st, struct prepared *p, uid_t uid,
                                   struct evs_error *err)
{
    struct event *ev = &p->ev;
    uint32_t staged = st->ix->staged_types;

    if (!p->entity)
        p->entity = index_stage_entity(st->ix, ev->entity, p->entity_hash);
    if (ev->id.p)
        p->id_hash = index_id_hash(p->entity, ev->id);
    if (!p->type && !(p->type = index_stage_type(st->ix, ev->type, p->type_hash)))
        return evs_fail_at(err, EVS_TOO_MANY, ev->pos, "types");
    if (UNLIKELY(st->ix->staged_types != staged) && !may_make_type(st, uid))
        return evs_fail_at(err, EVS_TOO_MANY, ev->pos, "types by one user");
    return 0;
}

static NEEDS_COMMIT int decide_repeat(struct evs_store *st, struct batch *b, struct prepared *p,
                                      evs_seq end, struct evs_error *err)
{
    enum repeat r = REPEAT_SAME;

    if (p->looked != UINT64_MAX) {
        r = end > p->looked ? repeat_find(st->ix, st->lg, p, p->looked, end) : REPEAT_NEW;
        if (r == REPEAT_NEW)
            r = repeat_find_batch(st->ix, b, p, end);
    }
    if (r == REPEAT_OTHER)
        return evs_fail(err, EVS_ID_TAKEN, p->ev.pos);
    if (r == REPEAT_ERROR)
        return evs_fail(err, EVS_DAMAGED, p->ev.pos);
    return r == REPEAT_SAME;
}

/* The store's own ids say where they are. */
static bool is_in_table(const struct prepared *p)
{
    return p->ev.id.p && line_id_seq(p->ev.id) != p->seq;
}

static NEEDS_COMMIT int decide_one(struct evs_store *st, struct batch *b, struct prepared *p,
                                   evs_seq end, uid_t uid, struct evs_error *err)
{
    int same;

    p->seq = 0;
    if (UNLIKELY(!p->entity || !p->type) && decide_new(st, p, uid, err) < 0)
        return -1;
    if (p->ev.id.p && (same = decide_repeat(st, b, p, end, err)) != 0)
        return same < 0 ? -1 : 0;
    struct set *s = index_set(st->ix, p->entity);
    if (p->ev.expected != EVENT_ANY_VERSION && p->ev.expected != s->decided) {
        (void)evs_fail_at(err, EVS_STALE, p->ev.pos, "it is %u", s->decided);
        return -1;
    }
    p->version = ++s->decided;
    p->seq = end + b->n_stored + 1;
    b->order[b->n_stored++] = (uint32_t)(p - b->p);
    if (is_in_table(p))
        index_stage_id(st->ix, p->id_hash, (uint32_t)p->seq);
    return 0;
}

/* Decide the first n events, as far as they go; returns how many, with b->n_stored of them to be stored. */
static NEEDS_COMMIT uint32_t decide(struct evs_store *st, struct batch *b, uint32_t n, uid_t uid,
                                    struct evs_error *err)
{
    evs_seq end = log_end(st->lg);

    HOT(decide);
    b->n_stored = 0;
    for (uint32_t i = 0; i < n; i++) {
        struct prepared *p = &b->p[i];
        bool fresh = !p->entity || !p->type;
        struct stage_mark before = {0};
        if (UNLIKELY(fresh))
            before = index_stage_mark(st->ix);
        if (UNLIKELY(decide_one(st, b, p, end, uid, err) < 0)) {
            if (fresh)
                index_drop(st->ix, &before);
            return i;
        }
    }
    return n;
}

static NEEDS_COMMIT void undecide(struct evs_store *st, struct batch *b,
                                  const struct stage_mark *before)
{
    while (b->n_stored > 0)
        index_set(st->ix, b->p[b->order[--b->n_stored]].entity)->decided--;
    index_drop(st->ix, before);
}

static struct line as_line(const struct prepared *p)
{
    const struct event *ev = &p->ev;

    return (struct line){.seq = p->seq,
                         .version = p->version,
                         .id = ev->id,
                         .time = ev->time,
                         .entity = ev->entity,
                         .type = ev->type,
                         .meta = ev->meta,
                         .data = ev->data,
                         .entity_escape = ev->entity_escape,
                         .type_escape = ev->type_escape,
                         .id_escape = ev->id_escape,
                         .meta_breaks = ev->meta_breaks,
                         .data_breaks = ev->data_breaks};
}

/* A line's envelope is at most this, escapes of the longest names included; data and meta come on top. */
#define ENVELOPE (6 * (LIMIT_ENTITY_BYTES + LIMIT_TYPE_BYTES + LIMIT_ID_BYTES) + 512)

static size_t lines_bound(const struct batch *b)
{
    size_t need = 0;

    for (uint32_t i = 0; i < b->n_stored; i++) {
        const struct event *ev = &b->p[b->order[i]].ev;
        need += ev->data.n + ev->meta.n + ev->time.n + 256 +
                (ev->entity.n + ev->type.n + ev->id.n) *
                    (ev->entity_escape || ev->type_escape || ev->id_escape ? 6 : 1);
    }
    return need;
}

/* Where lines of so many bytes are written: to their place at once, or to the batch's own buffer. */
static NEEDS_COMMIT char *lines_room(struct evs_store *st, struct batch *b, size_t need)
{
    char *p = log_room(st->lg, need);

    if (p || need <= b->lines_cap)
        return p ? p : b->lines;
    p = malloc(need + need / 4);
    if (!p)
        return NULL;
    free(b->lines);
    b->lines = p;
    b->lines_cap = need + need / 4;
    return p;
}

static NEEDS_COMMIT int write_lines(struct evs_store *st, struct batch *b, bool transaction,
                                    int64_t recorded_us, uid_t uid, struct evs_error *err)
{
    const size_t bound = lines_bound(b);
    size_t used = 0;

    HOT(lines);
    int r = log_reserve(st->lg, bound, b->n_stored, err);
    if (r < 0)
        return r;
    /* line_write() may use up to line_bound() for the last one */
    char *lines = lines_room(st, b, bound + ENVELOPE);
    if (!lines)
        return evs_fail(err, EVS_NO_MEMORY, EVS_NOWHERE);
    uint64_t tail = log_tail(st->lg);
    for (uint32_t i = 0; i < b->n_stored; i++) {
        const struct prepared *p = &b->p[b->order[i]];
        struct line l = as_line(p);
        uint32_t data, crc;
        l.recorded_us = recorded_us;
        l.uid = uid;
        l.tx = transaction ? b->n_stored - 1 - i : 0;
        l.id_key = st->id_key;
        size_t n = line_write(&l, &st->memo, lines + used, &data, &crc);
        b->recs[i] = (struct log_rec){.place = log_place(tail + used, data),
                                      .recorded_us = recorded_us,
                                      .len = (uint32_t)n,
                                      .entity = p->entity,
                                      .type = p->type};
        used += n;
    }
    assert(used <= bound + ENVELOPE);
    return log_append(st->lg, lines, used, b->recs, b->n_stored, err);
}

static NEEDS_COMMIT void apply(struct evs_store *st, struct apply *ap)
{
    struct index *ix = st->ix;

    HOT(apply);
    for (uint32_t i = 0; i < ap->n; i++) {
        index_ahead(ix, ap, i);
        index_apply(ix, ap, ap->first + i);
    }
}

static NEEDS_COMMIT uint32_t commit_locked(struct evs_store *st, struct batch *b, uint32_t n,
                                           bool transaction, uid_t uid, struct apply *ap,
                                           struct evs_error *err)
{
    int64_t now = st->options.clock_us(st->options.clock_arg);
    int64_t recorded = MAX(now, st->recorded_us);
    uint32_t done;

    HOT(commit);
    if (log_read_only(st->lg)) {
        (void)evs_fail(err, EVS_READ_ONLY, b->p[0].ev.pos);
        return 0;
    }
    if (log_end(st->lg) + n > LIMIT_EVENTS || !index_has_room(st->ix, n)) {
        (void)evs_fail_at(err, EVS_TOO_MANY, b->p[0].ev.pos, "events or names");
        return 0;
    }
    const struct stage_mark before = index_stage_mark(st->ix);
    done = decide(st, b, n, uid, err);
    if (done < n && transaction) {
        undecide(st, b, &before);
        return 0;
    }
    ap->first = (uint32_t)log_end(st->lg) + 1;
    ap->recs = b->recs;
    if (!b->n_stored)
        return done;
    if (write_lines(st, b, transaction, recorded, uid, err) < 0) {
        undecide(st, b, &before);
        return 0;
    }
    if (UNLIKELY(st->ix->staged_types))
        shares_add(&st->types_made, uid, st->ix->staged_types);
    index_keep(st->ix);
    ap->n = b->n_stored;
    apply(st, ap);
    log_publish(st->lg);
    b->wake = schemas_note(st, b);
    st->recorded_us = recorded;
    atomic_store_explicit(&st->behind_us, recorded - now, memory_order_relaxed);
    return done;
}

/* One after the other: a mark that somebody else has taken for what both have appended is told of before either
 * returns. reporting is raised before a mark goes: who sees none left sees that. */
static void report(struct evs_store *st, struct batch *b, const struct apply *ap)
{
    HOT(report);
    if (LIKELY(!index_is_marked(st->ix) && atomic_load(&st->reporting) == 0))
        return;
    atomic_fetch_add(&st->reporting, 1);
    (void)pthread_mutex_lock(&st->report_lock);
    b->changes.n = 0;
    index_report(st->ix, ap, &b->changes);
    if (b->changes.n)
        st->on_change(st->on_change_arg, b->changes.v, b->changes.n);
    (void)pthread_mutex_unlock(&st->report_lock);
    atomic_fetch_sub(&st->reporting, 1);
}

uint32_t ingest_commit(struct evs_store *st, struct batch *b, uint32_t n, bool transaction,
                       const struct evs_cred *cred, struct evs_error *err)
{
    struct apply ap = {.lg = st->lg};
    struct evs_error why;
    uint32_t may = n, done = 0;

    if (n == 0)
        return 0;
    b->n_stored = 0;
    b->wake = false;
    ingest_lock(st);
    for (uint32_t tries = 0; UNLIKELY(is_outdated(st, b)); tries++) { /* (4) */
        if (tries >= PATIENCE && still_holds(st, b, may))
            break;
        ingest_unlock(st);
        if ((may = judge_again(st, b, may, cred, &why)) < n && transaction)
            may = 0;
        ingest_lock(st);
    }
    if (may)
        done = commit_locked(st, b, may, transaction, cred->uid, &ap, &why);
    ingest_unlock(st);
    log_make_ready(st->lg);
    if (UNLIKELY(b->wake))
        schemas_wake(st);
    if (done < n && err)
        *err = why;
    atomic_fetch_add_explicit(&st->appended, b->n_stored, memory_order_relaxed);
    atomic_fetch_add_explicit(&st->repeated, done - b->n_stored, memory_order_relaxed);
    atomic_fetch_add_explicit(&st->batches, 1, memory_order_relaxed);
    if (transaction && done)
        atomic_fetch_add_explicit(&st->transactions, 1, memory_order_relaxed);
    if (ap.n && st->on_change)
        report(st, b, &ap);
    return done;
}
