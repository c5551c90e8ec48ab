/* SPDX-License-Identifier: MIT */
/* writer_note: what of a write is listed in rejected.jsonl. */
#include "limits.h"
#include "writer_state.h"

void writer_note(struct evs_writer *w, const struct evs_cred *cred, const struct evs_error *why,
                 const char *value, size_t n, const struct reject_schema *schema)
{
    reject_add(w->st->rejects,
               &(struct reject_entry){.time_us = w->st->options.clock_us(w->st->options.clock_arg),
                                      .uid = cred ? cred->uid : w->pend_uid,
                                      .pid = cred ? cred->pid : 0,
                                      .path = {w->path, strlen(w->path)},
                                      .why = why,
                                      .value = {value, MIN(n, (size_t)LIMIT_REJECTED_VALUE_BYTES)},
                                      .schema = schema});
}

/* breach: what SCHEMA means. */
static void note_breach(const struct take *t, const struct evs_error *why, const char *value,
                        size_t n, const struct pin_breach *breach, bool warned)
{
    const struct reject_schema schema = {.instance_path = breach->why.instance_path,
                                         .schema_path = breach->why.schema_path,
                                         .keyword = breach->why.keyword,
                                         .warned = warned};

    writer_note(t->w, t->cred, why, value, n, &schema);
    pins_count(&t->w->st->pins, breach->pin, warned);
}

void writer_reject(const struct take *t, const struct evs_error *why, const char *value, size_t n)
{
    if (why->why == EVS_SCHEMA)
        note_breach(t, why, value, n, &t->b->breach, false);
    else
        writer_note(t->w, t->cred, why, value, n, NULL);
}

void writer_list_warned(struct take *t, uint32_t n)
{
    struct batch *b = t->b;

    for (uint32_t i = 0; i < n; i++) {
        const struct prepared *p = &b->p[i];
        const struct event *ev = &p->ev;
        struct pin_breach breach;
        struct evs_error why;
        bool warned = false;
        if (!p->warned || !p->seq ||
            pins_judge(b->pins, ev->entity, ev->type, ev->data, &warned, &breach) != 1 || !warned)
            continue;
        (void)ingest_fail_breach(&breach, ev->pos, &why);
        size_t end = i + 1 < b->n ? b->p[i + 1].ev.pos : t->n;
        note_breach(t, &why, t->s + ev->pos, end - ev->pos, &breach, true);
    }
}

void writer_reject_pending(struct take *t, const struct evs_error *why, const char *s, size_t n)
{
    char value[LIMIT_REJECTED_VALUE_BYTES];
    size_t a = MIN(t->w->pend_n, sizeof value), b = MIN(n, sizeof value - a);

    memcpy(value, t->w->pend, a);
    memcpy(value + a, s, b);
    writer_reject(t, why, value, a + b);
}
