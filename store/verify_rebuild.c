/* SPDX-License-Identifier: MIT */
/* verify_rebuild: everything derived of a store is made again from its log. */
#include "checkpoint.h"
#include "hold.h"
#include "io.h"
#include "limits.h"
#include "recover.h"
#include "schemas.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>

static int fail_hold(const char *dir, int r, struct evs_error *err)
{
    return r == -EWOULDBLOCK ? evs_fail_at(err, EVS_IN_USE, EVS_NOWHERE, "%s", dir)
                             : evs_fail_errno(err, r, "lock");
}

/* If the log can be replayed: else the checkpoint may be the only one that knows what was lost. */
static int forget_derived(int dirfd, struct evs_error *err) UNANALYSED;
static int forget_derived(int dirfd, struct evs_error *err)
{
    const struct log_options lo = {.segment_bytes = DEFAULT_SEGMENT_BYTES, .read_only = true};
    struct log *lg;
    int r = log_open(dirfd, &lo, &lg, err);

    if (r < 0)
        return r;
    r = recover_check(lg, err);
    log_abandon(lg);
    if (r < 0)
        return r;
    if ((r = checkpoint_remove(dirfd)) < 0)
        return evs_fail_errno(err, r, CHECKPOINT_FILE);
    return (r = schemas_remove(dirfd)) < 0 ? evs_fail_errno(err, r, "schemas") : 0;
}

int evs_rebuild(const char *dir, evs_report_fn *report, void *arg, struct evs_error *err)
{
    const struct evs_options o = {.must_exist = true};
    struct evs_store *st;
    char text[160];
    int r;

    /* Opening without a checkpoint replays every line, puts each idx record right, and closing writes the
     * checkpoint. The headers of the idx stay: they say up to where the log is durable. */
    AUTO_CLOSE int dirfd = io_open(AT_FDCWD, dir, O_RDONLY | O_DIRECTORY, 0);
    if (dirfd < 0)
        return evs_fail_errno(err, dirfd, dir);
    struct hold hold;
    if ((r = hold_take(dirfd, false, &hold)) < 0)
        (void)fail_hold(dir, r, err);
    else
        r = forget_derived(dirfd, err);
    hold_drop(&hold); /* evs_open() takes it */
    if (r < 0)
        return r;
    if ((r = evs_open(dir, &o, &st, err)) < 0)
        return r;
    (void)snprintf(text, sizeof text, "%" PRIu64 " events of %u entities and %u types",
                   log_end(st->lg), atomic_load_explicit(&st->ix->n_entities, memory_order_relaxed),
                   index_type_count(st->ix));
    if (report)
        report(arg, text);
    r = schemas_finish(st, err);
    int e = evs_close(st, r < 0 ? NULL : err);
    return r < 0 ? r : e;
}
