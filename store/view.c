/* SPDX-License-Identifier: MIT */
/* view: which sets a view consists of.
 * An entity's own events are in up to two sets (index.c, (2)). What is read, and in what order, so that a
 * writer between two loads does no harm: first the counts of the entity's set, then its flags. If SET_BELOW
 * is not set by then, all that was counted is its own. If it is, `own` tells how much is. */
#include "view.h"

#include <errno.h>

#define LOAD_ACQ(x) atomic_load_explicit(&(x), memory_order_acquire)

static void part_at(const struct index *ix, const struct log *lg, const struct set *s, bool data,
                    evs_seq end, struct view_part *ret)
{
    struct lengths len = {.lg = lg, .data = data};
    struct postings_cut cut;

    postings_at(&ix->a, s, end, &len, &cut);
    *ret = (struct view_part){.set = s, .n = cut.n, .last = cut.last, .bytes = cut.bytes};
}

static uint64_t log_bytes_at(const struct log *lg, evs_seq end)
{
    struct lengths len = {.lg = lg};

    if (end == 0)
        return 0;
    const struct log_rec *r = lengths_rec(&len, (uint32_t)end);
    return len.span.before + log_rec_offset(r) + r->len;
}

static void own_parts(const struct index *ix, const struct log *lg, entity_id e, evs_seq end,
                      struct view *v)
{
    const struct set *s = index_set(ix, e);

    part_at(ix, lg, s, false, end, &v->part[0]);
    if (!(LOAD_ACQ(s->flags) & SET_BELOW))
        return;
    uint32_t own = LOAD_ACQ(s->own);
    if (!own) {
        v->part[0] = (struct view_part){0};
        return;
    }
    const struct set *o = index_set(ix, own);
    uint32_t n = atomic_load_explicit(&o->child, memory_order_relaxed);
    uint64_t bytes = atomic_load_explicit(&o->own, memory_order_relaxed) |
                     (uint64_t)atomic_load_explicit(&o->pairs, memory_order_relaxed) << 32;
    if (v->part[0].n < n)
        return; /* end lies before the entity became a directory: what there is is all its own */
    struct lengths len = {.lg = lg};
    struct posting newest;
    postings_seek_byte(&ix->a, s, n, bytes - (bytes > 0), &len, &newest);
    v->part[0] = (struct view_part){.set = s, .n = n, .last = newest.seq, .bytes = bytes};
    part_at(ix, lg, o, false, end, &v->part[1]);
}

/* Counts what a filter lets through: at most about INDEX_LARGE postings. */
static void count_filtered(const struct index *ix, const struct log *lg, struct view *v)
{
    struct lengths len = {.lg = lg};

    for (int i = 0; i < 2 && v->part[i].set; i++) {
        struct posting it;
        postings_seek_seq(&ix->a, v->part[i].set, v->part[i].n, 0, &len, &it);
        while (it.ordinal < it.limit) {
            struct postings_run run;
            postings_look(&ix->a, &it, POSTINGS_RUN, &len, &run);
            it = run.behind;
            for (uint32_t k = 0; k < run.n; k++) {
                const struct log_rec *r = lengths_rec(&len, run.seq[k]);
                if (r->type != v->filter)
                    continue;
                v->events++;
                v->bytes += r->len - log_rec_data(r) - 1;
                v->last = run.seq[k];
                v->first = v->first ? v->first : run.seq[k];
            }
        }
    }
}

int view_open(const struct index *ix, const struct log *lg, const struct evs_view *v, evs_seq end,
              struct view *ret)
{
    *ret = (struct view){.kind = v->kind, .data = v->kind == EVS_OWN_TYPE, .end = end};
    if (v->kind == EVS_ALL || (v->kind == EVS_BELOW && v->entity == EVS_ROOT)) {
        ret->kind = EVS_ALL;
        ret->events = ret->last = end;
        ret->bytes = log_bytes_at(lg, end);
        return 0;
    }
    bool by_type = v->kind == EVS_TYPE || v->kind == EVS_OWN_TYPE;
    if (by_type && (v->type == 0 || v->type > index_type_count(ix)))
        return -ENOENT;
    if (v->kind != EVS_TYPE && (!index_entity_valid(ix, v->entity) || v->entity == EVS_ROOT))
        return -ENOENT;

    if (v->kind == EVS_TYPE) {
        part_at(ix, lg, index_type_set(ix, v->type), false, end, &ret->part[0]);
    } else if (v->kind == EVS_BELOW) {
        part_at(ix, lg, index_set(ix, v->entity), false, end, &ret->part[0]);
    } else if (v->kind == EVS_OWN_TYPE && LOAD_ACQ(index_set(ix, v->entity)->pairs)) {
        uint32_t pair = index_find_pair(ix, v->entity, v->type);
        if (pair)
            part_at(ix, lg, index_set(ix, pair), true, end, &ret->part[0]);
    } else {
        own_parts(ix, lg, v->entity, end, ret);
        if (v->kind == EVS_OWN_TYPE) {
            ret->filter = v->type;
            count_filtered(ix, lg, ret);
            return 0;
        }
    }
    ret->events = (uint64_t)ret->part[0].n + ret->part[1].n;
    ret->bytes = ret->part[0].bytes + ret->part[1].bytes;
    ret->last = ret->part[1].n ? ret->part[1].last : 0;
    if (!ret->last && ret->part[0].n)
        ret->last = ret->part[0].last;
    return 0;
}

void view_extent(const struct index *ix, const struct log *lg, const struct view *v,
                 struct evs_extent *ret)
{
    evs_seq first = v->first;

    *ret = (struct evs_extent){.events = v->events, .bytes = v->bytes};
    if (!v->events)
        return;
    if (v->kind == EVS_ALL)
        first = 1;
    for (int i = 0; i < 2 && !first && v->part[i].set; i++) {
        struct lengths len = {.lg = lg, .data = v->data};
        struct posting it;
        postings_seek_byte(&ix->a, v->part[i].set, v->part[i].n, 0, &len, &it);
        first = it.ordinal < it.limit ? it.seq : 0;
    }
    ret->first = first;
    ret->last = v->last;
    struct lengths len = {.lg = lg};
    ret->first_us = lengths_rec(&len, (uint32_t)ret->first)->recorded_us;
    ret->last_us = lengths_rec(&len, (uint32_t)ret->last)->recorded_us;
}
