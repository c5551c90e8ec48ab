/* SPDX-License-Identifier: MIT */
/* log_check: the invariants of log.c and segment.c, by their numbers there. Called after each commit in builds
 * with -Dchecks=true, under the commit lock; the syncer may be at work, so only what it stores atomically is
 * looked at. */
#include "findings.h"
#include "log_state.h"

#include "io.h"

#include <inttypes.h>

static void find(struct findings *f, const struct segment *s, const char *what)
{
    findings_add(f, "log/%020" PRIu64 ".jsonl: %s", s->first, what);
}

/* segment (7): both files end where the lines do, unless a failed cut has made the log read-only. */
static UNANALYSED void check_files(const struct segment *s, struct findings *f)
{
    struct stat st;

    if (s->fd < 0 || s->read_only)
        return;
    if (io_stat(s->fd, &st) == 0 && (uint64_t)st.st_size != s->tail.bytes)
        find(f, s, "(7) the file is longer or shorter than its lines");
    if (io_stat(s->idx_fd, &st) == 0 &&
        (uint64_t)st.st_size != SEGMENT_HEADER_BYTES + s->tail.n * sizeof(struct log_rec))
        find(f, s, "(7) the idx has more or fewer records than there are lines");
}

/* segment (2): the newest record says where the lines end. */
static int check_newest(void *arg)
{
    const struct segment *s = arg;
    struct segment_mark end = segment_visible(s);
    const struct log_rec *rec = &s->recs[end.n - 1];

    return log_rec_offset(rec) + rec->len != end.bytes;
}

static UNANALYSED void check_current(const struct log *lg, struct findings *f)
{
    struct segment *s = lg->current;
    struct segment_mark end = segment_visible(s);

    if (s != lg->s[log_count(lg) - 1])
        find(f, s, "the current segment is not the last one");
    if (end.n != s->tail.n || end.bytes != s->tail.bytes)
        find(f, s, "something is appended and not published");
    if (end.bytes > s->room.bytes || end.n > s->room.n)
        find(f, s, "(5) more lines than room");
    if (end.n > 0 && io_guarded(check_newest, s) > 0)
        find(f, s, "(2) the newest record does not end where the lines end");
    if (!log_read_only(lg))
        check_files(s, f);
}

UNANALYSED int log_check(const struct log *lg, evs_report_fn *report, void *arg)
{
    struct findings f = {report, arg, 0};
    size_t n = log_count(lg), sealed = atomic_load_explicit(&lg->sealed, memory_order_acquire);
    evs_seq next = 1, end = log_end(lg);
    uint64_t before = 0;

    for (size_t i = 0; i < n; i++) {
        const struct segment *s = lg->s[i];
        struct segment_mark m = segment_visible(s);
        if (s->first != next || s->before != before)
            find(&f, s, "(1) does not begin where the one before ends");
        if (i + 1 < n && m.n == 0)
            find(&f, s, "(2) is empty and not the last one");
        next = s->first + m.n;
        before += m.bytes;
    }
    if (end + 1 != next)
        find(&f, lg->s[n - 1], "(2) is not where the log ends");
    if (log_durable(lg) > end)
        find(&f, lg->s[n - 1], "(3) more is durable than there is");
    if (lg->dirfd >= 0 && !lg->o.read_only && n - sealed > 2)
        find(&f, lg->s[sealed], "(4) is the third one that is not sealed");
    check_current(lg, &f);
    return f.n;
}
