/* SPDX-License-Identifier: MIT */
/* repair: a store that verify finds something wrong with is made one that it does not, and who has it is told
 * exactly which events are gone. What is derived is made again; what is damaged is set aside, never deleted.
 * It is done in steps of which each leaves a store that a repair begins with again. */
#include "repair.h"

#include "chain.h"
#include "checkpoint.h"
#include "give.h"
#include "hold.h"
#include "ingest.h"
#include "io.h"
#include "keeper.h"
#include "schemas.h"
#include "limits.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>

void repair_say(const struct repair *rp, const char *fmt, ...)
{
    char text[2600];
    va_list ap;

    va_start(ap, fmt);
    (void)vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    if (rp->report)
        rp->report(rp->arg, text);
}

/* ---- files ---- */

/* 1: the same file; 0: another one. */
static int same_file(int dirfd, const char *a, const char *b)
{
    struct stat x, y;
    int fa AUTO_CLOSE = io_open(dirfd, a, O_RDONLY, 0);
    int fb AUTO_CLOSE = io_open(dirfd, b, O_RDONLY, 0);

    if (fa < 0 || fb < 0)
        return MIN(fa, fb);
    int r = io_stat(fa, &x);
    if (r == 0)
        r = io_stat(fb, &y);
    return r < 0 ? r : x.st_ino == y.st_ino && x.st_dev == y.st_dev;
}

/* The nth name for path in damaged/. False: it is too long. */
static bool aside_name(const char *path, unsigned n, char *out, size_t size)
{
    const char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path;
    int k = n == 0 ? snprintf(out, size, DAMAGED_DIR "/%s", name)
                   : snprintf(out, size, DAMAGED_DIR "/%s.%u", name, n);

    return (size_t)k < size;
}

static int make_damaged(const struct repair *rp, struct evs_error *err)
{
    int r = io_mkdir(rp->dirfd, DAMAGED_DIR, 0700);

    return r < 0 && r != -EEXIST ? evs_fail_errno(err, r, DAMAGED_DIR) : 0;
}

static int sync_damaged(const struct repair *rp, struct evs_error *err)
{
    int fd AUTO_CLOSE = io_open(rp->dirfd, DAMAGED_DIR, O_RDONLY | O_DIRECTORY, 0);
    int r = fd < 0 ? fd : io_sync(fd);

    if (r == 0)
        r = io_sync(rp->dirfd);
    return r < 0 ? evs_fail_errno(err, r, DAMAGED_DIR) : 0;
}

int repair_set_aside(const struct repair *rp, const char *path, char ret[ASIDE_BYTES],
                     struct evs_error *err)
{
    int r = make_damaged(rp, err);

    if (r < 0)
        return r;
    for (unsigned n = 0;; n++) {
        char to[ASIDE_BYTES];
        if (!aside_name(path, n, to, sizeof to)) {
            r = -ENAMETOOLONG;
            break;
        }
        r = io_link(rp->dirfd, path, rp->dirfd, to);
        if (r == -EEXIST) {
            r = same_file(rp->dirfd, path, to);
            if (r == 0)
                continue; /* what an earlier repair has put there */
        }
        memcpy(ret, to, sizeof to);
        break;
    }
    return r < 0 ? evs_fail_errno(err, r, path) : sync_damaged(rp, err);
}

int repair_move_aside(const struct repair *rp, const char *path, struct evs_error *err)
{
    char to[300];
    int r = make_damaged(rp, err), fd = 0;

    if (r < 0)
        return r;
    for (unsigned n = 0; r == 0 && fd >= 0; n++) { /* to the first name that nothing has */
        if (!aside_name(path, n, to, sizeof to))
            r = -ENAMETOOLONG;
        else if ((fd = io_open(rp->dirfd, to, O_PATH | O_NOFOLLOW, 0)) >= 0)
            (void)io_close(fd);
    }
    if (r == 0)
        r = fd == -ENOENT ? io_rename(rp->dirfd, path, to) : fd;
    if (r < 0)
        return evs_fail_errno(err, r, path);
    repair_say(rp, "%s: moved to %s", path, to);
    return sync_damaged(rp, err);
}

struct emptying {
    int dirfd;
    const char *dir;
};

static int remove_entry(void *arg, const char *name)
{
    const struct emptying *e = arg;
    char path[300];

    (void)snprintf(path, sizeof path, "%s/%s", e->dir, name);
    return io_unlink(e->dirfd, path);
}

int repair_remove_dir(const struct repair *rp, const char *name, struct evs_error *err)
{
    int r = io_list(rp->dirfd, name, remove_entry, &(struct emptying){rp->dirfd, name});

    if (r == 0)
        r = io_rmdir(rp->dirfd, name);
    return r < 0 && r != -ENOENT ? evs_fail_errno(err, r, name) : 0;
}

/* ---- what there is ---- */

/* The last event of which a hash tells. */
struct telling {
    int dirfd;
    evs_seq last;
};

static int take_hash(void *arg, const char *name)
{
    struct telling *t = arg;
    evs_seq first = chain_first(name), last;
    uint64_t bytes;

    if (first && chain_look(t->dirfd, first, &last, &bytes) == 0 && last <= LIMIT_EVENTS)
        t->last = MAX(t->last, last);
    return 0;
}

struct before { /* the log as it is found */
    struct index *kept;
    evs_seq kept_to, known;
    evs_seq
        end; /* where it ends when it is opened; UINT64_MAX: it can't be, or is shorter than it was */
};

static int look(struct repair *rp, struct before *b, struct evs_error *err) UNANALYSED;
static int look(struct repair *rp, struct before *b, struct evs_error *err)
{
    const struct log_options o = {.segment_bytes = DEFAULT_SEGMENT_BYTES, .read_only = true};
    struct telling t = {rp->dirfd, 0};
    struct checkpoint_mark m = {0};
    struct evs_error why;
    struct log *lg = NULL;
    uint64_t bytes;
    int r = index_new(&b->kept, err);

    if (r < 0)
        return r;
    if (checkpoint_read(rp->dirfd, b->kept, &m, &bytes, NULL) < 0) {
        index_free(b->kept);
        b->kept = NULL;
        m.seq = 0;
    }
    if ((r = io_list(rp->dirfd, "log", take_hash, &t)) < 0)
        return evs_fail_errno(err, r, "log");
    r = log_open(rp->dirfd, &o, &lg, &why);
    if (r < 0 && why.why != EVS_DAMAGED && why.code != EIO)
        return evs_fail_as(err, &why);
    if (r == 0 && checkpoint_is_foreign(lg, &m))
        m.seq = 0; /* it tells nothing of this log */
    b->kept_to = m.seq;
    b->known = MAX(m.seq, t.last);
    b->end = r < 0 || log_end(lg) < b->known ? UINT64_MAX : log_end(lg);
    log_abandon(lg);
    return 0;
}

/* ---- what is derived ---- */

static int make_derived(struct repair *rp, struct evs_error *err)
{
    const struct evs_options o = {.must_exist = true};
    struct evs_store *st;
    int r = checkpoint_remove(rp->dirfd), e;

    if (r < 0)
        return evs_fail_errno(err, r, CHECKPOINT_FILE);
    if ((r = schemas_remove(rp->dirfd)) < 0)
        return evs_fail_errno(err, r, "schemas");
    if ((r = evs_open(rp->dir, &o, &st, err)) < 0)
        return r;
    keeper_stop(st);
    r = chain_mend(rp->dirfd, st->lg, err);
    chain_close(TAKE(st->chain));
    if (r >= 0)
        r = chain_open(rp->dirfd, st->lg, &st->chain, err);
    while (r >= 0 && chain_extend(st->chain, UINT32_MAX))
        ;
    if (r >= 0)
        r = schemas_finish(st, err);
    e = evs_close(st, r < 0 ? NULL : err);
    return r < 0 ? r : e;
}

/* ---- the whole ---- */

/* end as for survey_new(). */
static int repair_lines_to(struct repair *rp, const struct before *b, evs_seq end,
                           struct evs_error *err)
{
    struct survey *s = NULL;
    struct lost_event *lost = NULL;
    int r = survey_new(rp->dirfd, end, b->known, b->end == UINT64_MAX, &s, err);

    if (r == 0 && (b->end == UINT64_MAX || !survey_well(s))) {
        r = lost_assign(s, b->kept, b->kept_to, &lost, err);
        if (r == 0)
            r = repair_log(rp, s, lost, err);
    }
    lost_free(lost, s ? s->n_lost : 0);
    survey_free(s);
    return r;
}

/* All that can be found counts; but what opening the log would cut may not fit what is before it. */
static int repair_lines(struct repair *rp, struct evs_error *err)
{
    struct before b = {0};
    struct evs_error why;
    int r = look(rp, &b, err);

    if (r == 0) {
        r = repair_lines_to(rp, &b, UINT64_MAX, &why);
        if (r < 0 && why.why == EVS_DAMAGED && b.end != UINT64_MAX)
            r = repair_lines_to(rp, &b, b.end, &why);
        if (r < 0)
            (void)evs_fail_as(err, &why);
    }
    index_free(b.kept);
    return r;
}

static int take_lock(int dirfd, const char *dir, struct hold *ret, struct evs_error *err)
{
    int r = hold_take(dirfd, false, ret);

    return r == -EWOULDBLOCK ? evs_fail_at(err, EVS_IN_USE, EVS_NOWHERE, "%s", dir)
           : r < 0           ? evs_fail_errno(err, r, "lock")
                             : 0;
}

static int give_dir(const struct repair *rp, const char *path, const struct stat *st)
{
    const struct give g = {st->st_uid, st->st_uid, st->st_gid, -1};
    int fd AUTO_CLOSE = io_open(rp->dirfd, path, O_RDONLY | O_DIRECTORY, 0);

    return fd == -ENOENT || fd == -ENOTDIR ? 0 : fd < 0 ? fd : give_files(fd, &g);
}

struct giving_schemas {
    const struct repair *rp;
    const struct stat *st;
};

static int give_type(void *arg, const char *name)
{
    const struct giving_schemas *g = arg;
    char path[280];

    (void)snprintf(path, sizeof path, "schemas/%s", name);
    return give_dir(g->rp, path, g->st);
}

/* Also where nothing was to be repaired: an interrupted one may have. */
static int give_back(const struct repair *rp, struct evs_error *err)
{
    static const char *const dirs[] = {"log", DAMAGED_DIR, "schemas", "."};
    struct stat st;
    int r = io_stat(rp->dirfd, &st);

    if (r == 0)
        r = io_list(rp->dirfd, "schemas", give_type, &(struct giving_schemas){rp, &st});
    if (r == -ENOENT || r == -ENOTDIR)
        r = 0;
    for (size_t i = 0; i < ARRAY_LEN(dirs) && r == 0; i++)
        r = give_dir(rp, dirs[i], &st);
    return r < 0 ? evs_fail_errno(err, r, rp->dir) : 0;
}

int evs_repair(const char *dir, struct evs_repaired *ret, evs_report_fn *report, void *arg,
               struct evs_error *err)
{
    struct repair rp = {.dir = dir, .report = report, .arg = arg};
    struct evs_proof proof;
    struct hold hold;
    int r;
    int dirfd AUTO_CLOSE = io_open(AT_FDCWD, dir, O_RDONLY | O_DIRECTORY, 0);

    if (dirfd < 0)
        return evs_fail_errno(err, dirfd, dir);
    rp.dirfd = dirfd;
    *ret = (struct evs_repaired){0};
    r = take_lock(dirfd, dir, &hold, err);
    if (r == 0)
        r = repair_remove_dir(&rp, "log.new", err);
    if (r == 0)
        r = repair_meta(&rp, err);
    hold_drop(&hold); /* verify shares it */
    int found = r == 0 ? evs_prove(dir, NULL, &proof, report, arg, err) : 0;
    ret->found = rp.mended + (uint64_t)MAX(found, 0);
    if (r == 0 && found == 0)
        return give_back(&rp, err);
    if (r < 0 || found < 0)
        return MIN(r, found);
    if ((r = take_lock(dirfd, dir, &hold, err)) == 0)
        r = repair_lines(&rp, err);
    hold_drop(&hold); /* evs_open() takes it */
    ret->lost = rp.lost;
    if (r < 0 || (r = make_derived(&rp, err)) < 0 || (r = give_back(&rp, err)) < 0)
        return r;
    r = evs_prove(dir, NULL, &proof, report, arg, err);
    ret->left = (uint64_t)MAX(r, 0);
    return MIN(r, 0);
}
