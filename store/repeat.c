/* SPDX-License-Identifier: MIT */
/* repeat: an id is looked for in two places: where the id itself says that it is (an id of the store's own
 * carries its seq), and in the table of writers' ids. A find counts only if the line says so too: the table
 * holds 32 bits of a hash. */
#include "io.h"
#include "repeat.h"
#include "scan.h"

#include <errno.h>

struct look {
    const struct index *ix;
    const struct log *lg;
    const struct prepared *p;
    evs_seq seq;
    enum repeat found;
    struct log_pin pin;
};

/* As stored: a CR or LF of what was given is a blank in the line. */
static bool same_json(struct slice stored, struct slice given, bool breaks)
{
    if (stored.n != given.n)
        return false;
    if (!breaks)
        return stored.n == 0 || memcmp(stored.p, given.p, stored.n) == 0;
    for (size_t i = 0; i < stored.n; i++) {
        char c = given.p[i] == '\n' || given.p[i] == '\r' ? ' ' : given.p[i];
        if (stored.p[i] != c)
            return false;
    }
    return true;
}

static const struct slice json_null = {"null", 4};

static bool same_id(const struct line *l, struct slice id)
{
    char text[1024];

    if (!l->id_escape)
        return slice_eq(l->id, id);
    if (l->id.n > sizeof text)
        return false;
    struct slice raw = {l->id.p - 1, l->id.n + 2}; /* the quotes stand around it */
    return slice_eq((struct slice){text, scan_decode(raw, text, NULL)}, id);
}

static int compare_job(void *arg)
{
    struct look *k = arg;
    const struct event *ev = &k->p->ev;
    struct log_span span = {0};
    struct log_rec r;
    struct slice at;
    struct line l;
    int e;

    k->found = REPEAT_NEW;
    if ((e = log_span(k->lg, k->seq, &span)) < 0 ||
        (e = log_span_rec(k->lg, &span, k->seq, &r, NULL)) < 0)
        return e;
    if (r.entity != k->p->entity)
        return 0;
    if ((e = log_line(k->lg, k->seq, &k->pin, &at, NULL)) < 0)
        return e;
    if (line_parse(at.p, at.n, &l, NULL, NULL) < 0 || l.seq != k->seq)
        return -EIO;
    if (!same_id(&l, ev->id))
        return 0;
    bool same = r.type == k->p->type && (!ev->time.p || slice_eq(l.time, ev->time)) &&
                (l.meta.p != NULL) == (ev->meta.p != NULL) &&
                (!ev->meta.p || same_json(l.meta, ev->meta, ev->meta_breaks)) &&
                same_json(l.data, ev->data.p ? ev->data : json_null, ev->data_breaks);
    k->found = same ? REPEAT_SAME : REPEAT_OTHER;
    return 0;
}

static enum repeat look_at(struct look *k, evs_seq seq)
{
    k->seq = seq;
    int r = io_guarded(compare_job, k);
    log_unpin(&k->pin);
    return r < 0 ? REPEAT_ERROR : k->found;
}

enum repeat repeat_find(const struct index *ix, const struct log *lg, const struct prepared *p,
                        evs_seq after, evs_seq end)
{
    struct look k = {.ix = ix, .lg = lg, .p = p};
    evs_seq own = line_id_seq(p->ev.id);
    struct table_probe probe;
    enum repeat r;

    if (own > after && own <= end && (r = look_at(&k, own)) != REPEAT_NEW)
        return r;
    for (uint32_t v = table_first(&probe, &ix->ids, p->id_hash); v; v = table_next(&probe))
        if (v > after && v <= end && (r = look_at(&k, v)) != REPEAT_NEW)
            return r;
    return REPEAT_NEW;
}

static enum repeat compare_prepared(const struct prepared *a, const struct prepared *p)
{
    const struct event *x = &a->ev, *y = &p->ev;

    if (a->entity != p->entity || !x->id.p || !slice_eq(x->id, y->id))
        return REPEAT_NEW;
    struct slice xd = x->data.p ? x->data : json_null, yd = y->data.p ? y->data : json_null;
    bool same = a->type == p->type && (!y->time.p || slice_eq(x->time, y->time)) &&
                (x->meta.p != NULL) == (y->meta.p != NULL) && slice_eq(x->meta, y->meta) &&
                slice_eq(xd, yd);
    return same ? REPEAT_SAME : REPEAT_OTHER;
}

enum repeat repeat_find_batch(const struct index *ix, const struct batch *b,
                              const struct prepared *p, evs_seq end)
{
    evs_seq own = line_id_seq(p->ev.id);
    const struct stage *ids = &ix->staged_ids;
    enum repeat r;

    if (own > end && own - end <= b->n_stored &&
        (r = compare_prepared(&b->p[b->order[own - end - 1]], p)))
        return r;
    for (uint32_t i = stage_first(ids, p->id_hash); i; i = stage_next(ids, i))
        if ((r = compare_prepared(&b->p[b->order[stage_at(ids, i)->value - end - 1]], p)))
            return r;
    return REPEAT_NEW;
}

evs_seq repeat_find_lines(const struct index *ix, const struct line *lines,
                          const struct log_rec *recs, const struct prepared *p, evs_seq end)
{
    const struct stage *ids = &ix->staged_ids;

    for (uint32_t i = stage_first(ids, p->id_hash); i; i = stage_next(ids, i)) {
        const evs_seq seq = stage_at(ids, i)->value, k = seq - end - 1;
        if (seq < p->seq && recs[k].entity == p->entity && same_id(&lines[k], p->ev.id))
            return seq;
    }
    return 0;
}
