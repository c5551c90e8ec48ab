/* SPDX-License-Identifier: MIT */
/* import: import --exact, which stores lines of another store as they are: with their seqs, times and ids.
 * (1) What could not have become a line here is refused: names, values, an id that its entity has already.
 * (2) What is stored is whole transactions, each group with one append. */
#include "ingest.h"

#include "event.h"
#include "limits.h"
#include "name.h"
#include "repeat.h"
#include "scan.h"
#include "schemas.h"

#include <inttypes.h>

/* Lines that are stored together: whole transactions. */
struct group {
    struct line *lines;
    struct log_rec *recs;
    uint32_t n, cap, most; /* most: lines at a time */
    size_t bytes;
};

static bool group_grow(struct group *g)
{
    uint32_t cap = g->cap ? 2 * g->cap : BATCH_EVENTS;
    struct line *lines = reallocarray(g->lines, cap, sizeof *lines);
    if (lines)
        g->lines = lines;
    struct log_rec *recs = reallocarray(g->recs, cap, sizeof *recs);
    if (recs)
        g->recs = recs;
    if (!lines || !recs)
        return false;
    g->cap = cap;
    return true;
}

static bool is_value(struct slice s, bool object)
{
    /* A number goes on to what follows it: there is more of the line behind both. */
    return s.n <= LIMIT_VALUE_BYTES && (!object || *s.p == '{') &&
           scan_value(s.p, s.n + 1, SCAN_ANY_LINES | SCAN_DEPTH(1), NULL, NULL) == (ssize_t)s.n;
}

/* A checksum that is right does not make it a line that a store could have. */
static int check_content(const struct line *l, uint64_t pos, struct evs_error *err)
{
    char room[6 * (LIMIT_ENTITY_BYTES + LIMIT_TYPE_BYTES + LIMIT_ID_BYTES)];
    struct slice entity, type, id;
    int r;

    if (!is_value(l->data, false) || (l->meta.p && !is_value(l->meta, true)))
        return evs_fail_at(err, EVS_BAD_JSON, pos, "data or meta, or one is too large");
    if (ingest_names(l, &entity, &type, &id, room, sizeof room) < 0)
        return evs_fail(err, EVS_NAME_TOO_LONG, pos);
    if ((r = event_check_entity(entity, pos, err)) < 0 ||
        (r = event_check_type(type, pos, err)) < 0 || (r = event_check_id(id, pos, err)) < 0 ||
        (r = name_check_entity(entity, pos, err)) < 0 || (r = name_check_type(type, pos, err)) < 0)
        return r;
    return 0;
}

static int group_line(struct group *g, struct slice raw, evs_seq seq, int64_t recorded_us,
                      struct evs_error *err)
{
    struct line *l = &g->lines[g->n];
    struct log_rec *rec = &g->recs[g->n];
    uint32_t data, crc;

    if (line_parse(raw.p, raw.n, l, &data, &crc) < 0)
        return evs_fail_at(err, EVS_DAMAGED, g->bytes,
                           "not a line of a store, or its checksum differs");
    if (l->seq != seq)
        return evs_fail_at(err, EVS_BAD_FIELD, g->bytes, "seq is %" PRIu64 ", not %" PRIu64, l->seq,
                           seq);
    if (l->recorded_us < recorded_us)
        return evs_fail_at(err, EVS_BAD_FIELD, g->bytes, "recorded goes back");
    if (g->n && g->lines[g->n - 1].tx && l->tx != g->lines[g->n - 1].tx - 1)
        return evs_fail_at(err, EVS_BAD_FIELD, g->bytes, "a transaction is not whole");
    int r = check_content(l, g->bytes, err);
    if (r < 0)
        return r;
    *rec = (struct log_rec){
        .place = log_place(g->bytes, data), .recorded_us = l->recorded_us, .len = (uint32_t)raw.n};
    g->bytes += raw.n;
    g->n++;
    return 0;
}

/* The next lines of in, up to the end of a transaction. n 0: there is no whole one. */
static int group_fill(struct group *g, struct evs_store *st, struct slice in, struct evs_error *err)
    NEEDS_COMMIT;
static int group_fill(struct group *g, struct evs_store *st, struct slice in, struct evs_error *err)
{
    evs_seq end = log_end(st->lg);
    uint32_t whole = 0;
    size_t whole_bytes = 0;
    int r = 0;

    g->n = 0;
    g->bytes = 0;
    while (g->bytes < in.n && g->n < g->most && (whole < BATCH_EVENTS || whole < g->n) &&
           g->n < BATCH_EVENTS + LIMIT_TX_EVENTS) {
        const char *p = in.p + g->bytes, *lf = memchr(p, '\n', in.n - g->bytes);
        int64_t before = g->n ? g->recs[g->n - 1].recorded_us : st->recorded_us;
        if (!lf)
            break;
        if (g->n == g->cap && !group_grow(g))
            return evs_fail(err, EVS_NO_MEMORY, EVS_NOWHERE);
        r = group_line(g, (struct slice){p, (size_t)(lf - p) + 1}, end + g->n + 1, before, err);
        if (r < 0)
            break;
        if (g->lines[g->n - 1].tx == 0) {
            whole = g->n;
            whole_bytes = g->bytes;
        }
    }
    g->n = whole;
    g->bytes = whole_bytes;
    return whole ? 0 : r; /* what is whole goes in first: the bad line is met again */
}

/* Has the entity of line i, which is staged, an event with this id? One that is the store's own carries its seq. */
static int check_id(const struct group *g, const struct evs_store *st, uint32_t i,
                    struct evs_error *err) NEEDS_COMMIT;
static int check_id(const struct group *g, const struct evs_store *st, uint32_t i,
                    struct evs_error *err)
{
    char room[6 * (LIMIT_ENTITY_BYTES + LIMIT_TYPE_BYTES + LIMIT_ID_BYTES)];
    struct prepared p = {.entity = g->recs[i].entity, .seq = g->lines[i].seq};
    struct slice entity, type;
    const evs_seq end = log_end(st->lg);

    if (ingest_names(&g->lines[i], &entity, &type, &p.ev.id, room, sizeof room) < 0 ||
        line_id_seq(p.ev.id) == p.seq)
        return 0;
    p.id_hash = index_id_hash(p.entity, p.ev.id);
    if (repeat_find_lines(st->ix, g->lines, g->recs, &p, end) == 0)
        switch (repeat_find(st->ix, st->lg, &p, 0, end)) {
        case REPEAT_NEW:
            return 0;
        case REPEAT_ERROR:
            return evs_fail_at(err, EVS_DAMAGED, EVS_NOWHERE, "an event with this id");
        default:
            break;
        }
    return evs_fail_at(err, EVS_ID_TAKEN, EVS_NOWHERE, "seq %" PRIu64, p.seq);
}

/* Names, versions and ids of all lines. The number of those that are good; fewer than there are: err says why. */
static uint32_t group_restore(struct group *g, struct evs_store *st, struct evs_error *err)
    NEEDS_COMMIT;
static uint32_t group_restore(struct group *g, struct evs_store *st, struct evs_error *err)
{
    for (uint32_t n = 0; n < g->n; n++) {
        const uint64_t pos = log_rec_offset(&g->recs[n]);
        int r = ingest_restore(st->ix, &g->lines[n], &g->recs[n], err);
        if (r == 0 && (r = check_id(g, st, n, err)) < 0)
            ingest_unrestore(st->ix, &g->recs[n]);
        if (r < 0) {
            err->pos = pos;
            return n;
        }
        g->recs[n].place += log_tail(st->lg);
    }
    return g->n;
}

/* All of it, or nothing: then *ret_good lines at its beginning are whole transactions that could be. */
static int group_store(struct group *g, struct evs_store *st, const char *bytes, uint32_t *ret_good,
                       struct evs_error *err) NEEDS_COMMIT;
static int group_store(struct group *g, struct evs_store *st, const char *bytes, uint32_t *ret_good,
                       struct evs_error *err)
{
    const struct apply ap = {
        .lg = st->lg, .first = (uint32_t)log_end(st->lg) + 1, .recs = g->recs, .n = g->n};
    const struct stage_mark before = index_stage_mark(st->ix);
    int r = log_reserve(st->lg, g->bytes, g->n, err);
    uint32_t n = r == 0 ? group_restore(g, st, err) : 0;

    *ret_good = 0;
    if (r == 0 && n < g->n) {
        r = -err->code;
        for (*ret_good = n; *ret_good > 0 && g->lines[*ret_good - 1].tx > 0;)
            --*ret_good;
    }
    if (r == 0)
        r = log_append(st->lg, bytes, g->bytes, g->recs, g->n, err);
    if (r < 0) {
        while (n > 0)
            ingest_unrestore(st->ix, &g->recs[--n]);
        index_drop(st->ix, &before);
        return r;
    }
    index_keep(st->ix);
    for (uint32_t i = 0; i < g->n; i++)
        index_apply(st->ix, &ap, ap.first + i);
    log_publish(st->lg);
    st->recorded_us = g->recs[g->n - 1].recorded_us;
    return 0;
}

ssize_t evs_import_exact(struct evs_store *st, const void *lines, size_t n, struct evs_error *err)
{
    const char *p = lines;
    struct group g = {.most = UINT32_MAX};
    size_t at = 0;
    int r = 0;

    ingest_lock(st);
    schemas_pass_over(st);
    while (at < n) {
        struct evs_error why;
        r = group_fill(&g, st, (struct slice){p + at, n - at}, &why);
        if (r == 0 && g.n == 0)
            break; /* the rest is not whole yet */
        uint32_t good = 0;
        if (r == 0)
            r = group_store(&g, st, p + at, &good, &why);
        if (r < 0 && good > 0) { /* these go in first: the bad line is met again */
            g.most = good;
            continue;
        }
        g.most = UINT32_MAX;
        if (r < 0) {
            if (err) {
                *err = why;
                err->pos = at + (why.pos == EVS_NOWHERE ? 0 : why.pos);
            }
            break;
        }
        at += g.bytes;
    }
    ingest_unlock(st);
    free(g.lines);
    free(g.recs);
    return at ? (ssize_t)at : r;
}
