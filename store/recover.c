/* SPDX-License-Identifier: MIT */
/* recover: replay. Every line behind the checkpoint is checked and applied; its idx record is put right. A
 * checkpoint is believed only if the log has the line that it ends with. */
#include "checkpoint.h"
#include "recover.h"

#include <errno.h>

struct replay {
    struct index *ix;
    struct log *lg;
    struct evs_error *err;
};

static int replay_lines(void *arg, const struct log_walked *lines, size_t n) UNANALYSED;
static int replay_lines(void *arg, const struct log_walked *lines, size_t n)
{
    struct replay *rp = arg;

    for (size_t i = 0; i < n; i++) {
        const struct line *l = &lines[i].line;
        if (!l->entity_escape)
            table_prefetch(&rp->ix->names, index_entity_hash(l->entity));
    }
    for (size_t i = 0; i < n; i++) {
        const struct log_walked *w = &lines[i];
        struct log_rec rec = {.place = log_place(w->offset, w->data),
                              .recorded_us = w->line.recorded_us,
                              .len = (uint32_t)w->raw.n,
                              .crc = w->crc};
        int r = ingest_restore(rp->ix, rp->lg, &w->line, &rec, rp->err);
        if (r < 0) {
            if (rp->err) {
                char name[80], why[sizeof rp->err->detail];
                log_segment_name(rp->lg, w->line.seq, name, sizeof name);
                memcpy(why, rp->err->detail, sizeof why);
                (void)evs_fail_at(rp->err, rp->err->why, w->offset, "%s: %.70s", name, why);
            }
            return r;
        }
        if ((r = log_fix_rec(rp->lg, w->line.seq, &rec, rp->err)) < 0)
            return r;
    }
    return 0;
}

static bool belongs(const struct log *lg, const struct checkpoint_mark *m)
{
    return m->seq <= log_end(lg) && (m->seq == 0 || log_rec(lg, m->seq)->crc == m->line_crc);
}

int recover_index(int dirfd, struct log *lg, struct index **ret_ix, evs_seq *ret_seq,
                  int64_t *ret_recorded_us, struct evs_error *err)
{
    struct checkpoint_mark m = {0};
    struct index *ix;
    uint64_t bytes;
    int r = index_new(&ix, err);

    if (r < 0)
        return r;
    if (dirfd >= 0 && (checkpoint_read(dirfd, ix, &m, &bytes, NULL) < 0 || !belongs(lg, &m))) {
        /* None, or not whole, or of another log: everything is in the log. */
        index_free(ix);
        if ((r = index_new(&ix, err)) < 0)
            return r;
        m = (struct checkpoint_mark){0};
    }
    struct replay rp = {.ix = ix, .lg = lg, .err = err};
    if (m.seq < log_end(lg) && (r = log_walk(lg, m.seq + 1, replay_lines, &rp, err)) < 0) {
        index_free(ix);
        return r;
    }
    *ret_ix = ix;
    *ret_seq = m.seq;
    *ret_recorded_us = log_end(lg) ? log_rec(lg, log_end(lg))->recorded_us : 0;
    return 0;
}
