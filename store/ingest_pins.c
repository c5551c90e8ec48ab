/* SPDX-License-Identifier: MIT */
/* ingest_pins: a batch is judged by one set of pinned schemas, which it keeps until it is given back: the writer
 * says by it what was broken. */
#include "ingest.h"
#include "repeat.h"

#include <errno.h>

/* Its like may have been stored since it was looked for, before the schema was pinned. */
static bool is_stored(struct evs_store *st, struct prepared *p)
{
    evs_seq end = log_end(st->lg);

    if (!p->ev.id.p)
        return false;
    if (!p->entity && (p->entity = index_find_entity(st->ix, p->ev.entity, p->entity_hash)) != 0)
        p->id_hash = index_id_hash(p->entity, p->ev.id);
    if (!p->entity || repeat_find(st->ix, st->lg, p, p->looked, end) != REPEAT_SAME)
        return false;
    p->looked = UINT64_MAX;
    return true;
}

int ingest_fail_breach(const struct pin_breach *breach, uint64_t pos, struct evs_error *err)
{
    const struct js_error *why = &breach->why;

    return evs_fail_at(err, EVS_SCHEMA, pos, "data%.60s: %.90s", why->instance_path, why->text);
}

/* Events before it may be judged again, by another set, before the writer tells of it. */
static void keep_breach(struct batch *b, const struct pin_breach *breach)
{
    pin_unref(b->breach.pin);
    b->breach = *breach;
    (void)pin_ref(b->breach.pin);
}

static int judge(struct evs_store *st, struct batch *b, struct prepared *p, struct evs_error *err)
{
    const struct event *ev = &p->ev;
    struct pin_breach breach;

    p->warned = false;
    if (p->looked == UINT64_MAX)
        return 0;
    int r = pins_judge(b->pins, ev->entity, ev->type, ev->data, &p->warned, &breach);
    if (UNLIKELY(r < 0))
        return evs_fail(err, EVS_NO_MEMORY, ev->pos);
    if (UNLIKELY(r == 0)) {
        if (is_stored(st, p))
            return 0;
        keep_breach(b, &breach);
        return ingest_fail_breach(&breach, ev->pos, err);
    }
    b->warned |= p->warned;
    return 0;
}

uint32_t ingest_judge_schemas(struct evs_store *st, struct batch *b, uint32_t n,
                              struct evs_error *err)
{
    pins_give(b->pins);
    b->pins = pins_take(&st->pins);
    b->warned = false;
    for (uint32_t i = 0; i < n; i++)
        if (judge(st, b, &b->p[i], err) < 0)
            return i;
    return n;
}

bool ingest_schemas_hold(struct evs_store *st, struct batch *b, uint32_t n)
{
    uint64_t state = pins_state(&st->pins);
    struct pin_set *now = pins_take(&st->pins);

    for (uint32_t i = 0; i < n; i++)
        if (!pins_same(b->pins, now, b->p[i].ev.entity, b->p[i].ev.type)) {
            pins_give(now);
            return false;
        }
    pins_give(b->pins);
    b->pins = now;
    b->pins_state = state;
    return true;
}
