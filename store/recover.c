/* SPDX-License-Identifier: MIT */
/* recover: replay. Every line behind the checkpoint is checked and applied; its idx record is put right. A
 * checkpoint is believed only if the log has the line that it ends with. One that is whole and ends behind the
 * log says that events are missing: they were durable before it was. */
#include "checkpoint.h"
#include "io.h"
#include "recover.h"

#include <errno.h>
#include <stdio.h>

struct replay {
    struct index *ix;
    struct log *lg;
    struct evs_error *err;
    evs_seq next; /* the line that comes now */
    bool said;    /* err says already why */
    bool dry;     /* only looks: neither idx nor lists are made */
};

static int replay_failed(struct replay *rp, const struct log_walked *w)
{
    char name[80], why[sizeof rp->err->detail];

    rp->said = true;
    if (!rp->err)
        return -EIO;
    log_segment_name(rp->lg, w->line.seq, name, sizeof name);
    memcpy(why, rp->err->detail, sizeof why);
    return evs_fail_at(rp->err, rp->err->why, w->offset, "%s: %.70s", name, why);
}

/* Names that are known already, so that what follows finds everything in the cache: the misses of one event
 * overlap with those of its neighbours. */
static void look_ahead(const struct index *ix, const struct log_walked *lines, size_t n,
                       struct log_rec *recs)
{
    uint64_t hash[LOG_WALK_LINES] = {0};

    for (size_t i = 0; i < n; i++)
        hash[i] = index_entity_hash(lines[i].line.entity);
    index_prefetch(ix, hash, sizeof *hash, n);
    for (size_t i = 0; i < n; i++) {
        const struct line *l = &lines[i].line;
        if (l->entity_escape || l->type_escape)
            continue;
        recs[i].entity = index_find_entity(ix, l->entity, hash[i]);
        recs[i].type = index_find_type(ix, l->type, index_type_hash(l->type));
        if (recs[i].entity)
            postings_prefetch(&ix->a, index_set(ix, recs[i].entity));
    }
}

static int replay_lines(void *arg, const struct log_walked *lines, size_t n) UNANALYSED;
static int replay_lines(void *arg, const struct log_walked *lines, size_t n)
{
    struct replay *rp = arg;
    struct log_rec recs[LOG_WALK_LINES];
    int r;

    for (size_t i = 0; i < n; i++)
        recs[i] = (struct log_rec){.place = log_place(lines[i].offset, lines[i].data),
                                   .recorded_us = lines[i].line.recorded_us,
                                   .len = (uint32_t)lines[i].raw.n};
    look_ahead(rp->ix, lines, n, recs);
    for (size_t i = 0; i < n; i++)
        if ((r = ingest_restore(rp->ix, &lines[i].line, &recs[i], rp->err)) < 0)
            return replay_failed(rp, &lines[i]);
    if (!rp->dry && (r = log_fix_recs(rp->lg, lines[0].line.seq, recs, n, rp->err)) < 0) {
        rp->said = true;
        return r;
    }
    index_keep(rp->ix);
    rp->next += n;
    if (rp->dry)
        return 0;
    struct apply ap = {
        .lg = rp->lg, .first = (uint32_t)lines[0].line.seq, .recs = recs, .n = (uint32_t)n};
    for (uint32_t i = 0; i < ap.n; i++) {
        index_ahead(rp->ix, &ap, i);
        index_apply(rp->ix, &ap, ap.first + i);
    }
    return 0;
}

static int replay(struct replay *rp) UNANALYSED;
static int replay(struct replay *rp)
{
    int r = log_walk(rp->lg, rp->next, replay_lines, rp, rp->err);

    if (r == 0)
        return log_fix_done(rp->lg, rp->err);
    if (r < 0 && !rp->said && rp->err && rp->err->why == EVS_DAMAGED) {
        char where[64];
        (void)snprintf(where, sizeof where, "%.63s", rp->err->detail);
        return evs_fail_at(rp->err, EVS_DAMAGED, rp->err->pos, "%s: event %llu", where,
                           (unsigned long long)rp->next);
    }
    return r;
}

struct last_rec {
    struct log_span span;
    evs_seq seq;
};

static int is_empty(void *arg)
{
    static const struct log_rec none;
    const struct last_rec *l = arg;

    return memcmp(&l->span.recs[l->seq - l->span.first], &none, sizeof none) == 0;
}

/* Has a segment an idx up to seq that was made anew and not filled? Whoever made it died before he could remove
 * the checkpoint. */
static bool has_empty_recs(const struct log *lg, evs_seq seq)
{
    struct last_rec l;

    for (evs_seq from = 1; from <= seq; from = l.span.end) {
        if (log_span(lg, from, &l.span) < 0)
            return false; /* can't be: it is visible */
        l.seq = MIN(l.span.end - 1, seq);
        if (io_guarded(is_empty, &l) > 0)
            return true;
    }
    return false;
}

/* The checkpoint counts on recs of all lines up to it, which it made durable: an idx that is gone since is
 * made again from the lines only. */
static int belongs(const struct log *lg, const struct checkpoint_mark *m, struct evs_error *err)
{
    struct checkpoint_mark is = {0};

    if (m->seq > log_end(lg) || m->seq > log_recs_end(lg) || has_empty_recs(lg, m->seq))
        return 0;
    int r = checkpoint_mark_at(lg, m->seq, &is, err);
    return r < 0 ? r : is.line_crc == m->line_crc && !checkpoint_first_differs(&is, m);
}

static void names_of(const void *ix, const struct line *l, uint32_t *ret_entity, uint32_t *ret_type)
{
    ingest_find_names(ix, l, ret_entity, ret_type);
}

static int fail_missing(const struct log *lg, evs_seq seq, struct evs_error *err)
{
    return evs_fail_at(
        err, EVS_DAMAGED, log_bytes(lg),
        "log: ends with event %llu of %llu: run 'evfs verify --repair', or 'evfs rebuild' to "
        "give up the others",
        (unsigned long long)log_end(lg), (unsigned long long)seq);
}

int recover_index(int dirfd, bool read_only, struct log *lg, struct index **ret_ix,
                  evs_seq *ret_seq, int64_t *ret_recorded_us, struct evs_error *err)
{
    struct checkpoint_mark m = {0};
    struct index *ix;
    uint64_t bytes;
    int r = index_new(&ix, err);

    if (r < 0)
        return r;
    bool kept = dirfd >= 0 && checkpoint_read(dirfd, ix, &m, &bytes, NULL) == 0;
    if (kept && m.seq > log_end(lg) && !checkpoint_is_foreign(lg, &m)) {
        index_free(ix);
        return fail_missing(lg, m.seq, err);
    }
    if (kept && (r = belongs(lg, &m, err)) <= 0) {
        kept = false;
        if (r < 0) {
            index_free(ix);
            return r;
        }
    }
    if (dirfd >= 0 && !kept) {
        /* None, or not whole, or of another log, or its idx is lost: everything is in the log. Replay numbers
         * the names anew, in the idx as well, so that one with the old numbers must not be met again. */
        index_free(ix);
        r = read_only ? 0 : checkpoint_remove(dirfd);
        if (r < 0)
            return evs_fail_errno(err, r, CHECKPOINT_FILE);
        if ((r = index_new(&ix, err)) < 0)
            return r;
        m = (struct checkpoint_mark){0};
    }
    log_set_names(lg, names_of, ix);
    struct replay rp = {.ix = ix, .lg = lg, .err = err, .next = m.seq + 1};
    if (m.seq < log_end(lg) && (r = replay(&rp)) < 0) {
        index_free(ix);
        return r;
    }
    struct log_rec newest = {0};
    if (log_end(lg) && (r = log_rec_get(lg, log_end(lg), &newest, err)) < 0) {
        index_free(ix);
        return r;
    }
    *ret_ix = ix;
    *ret_seq = m.seq;
    *ret_recorded_us = newest.recorded_us;
    return 0;
}

int recover_check(struct log *lg, struct evs_error *err)
{
    struct index *ix;
    int r = index_new(&ix, err);

    if (r < 0)
        return r;
    struct replay rp = {.ix = ix, .lg = lg, .err = err, .next = 1, .dry = true};
    r = replay(&rp);
    index_free(ix);
    return r;
}
