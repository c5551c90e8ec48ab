/* SPDX-License-Identifier: MIT */
/* repair_meta: meta.db, which nothing can be made again from. A copy is read; what is good in it goes into a new one,
 * in meta.new. When that is whole it is called meta.good, and from then on it only has to be put in the place of
 * the old one: a -wal of that must be gone before, since SQLite would take it for the new one's. */
#include "repair.h"

#include "io.h"
#include "meta.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>

#define OLD_DIR    "meta.old"
#define NEW_DIR    "meta.new"
#define GOOD_DIR   "meta.good"
#define COPY_BYTES ((size_t)64 << 10)

static int copy_file(int dirfd, const char *from, const char *to)
{
    char *buf AUTO_FREE = malloc(COPY_BYTES);
    int a AUTO_CLOSE = io_open(dirfd, from, O_RDONLY, 0);
    int b AUTO_CLOSE = a < 0 ? -1 : io_open(dirfd, to, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    ssize_t n = 1;
    int r = 0;

    if (a < 0 || b < 0 || !buf)
        return a < 0 ? a : b < 0 ? b : -ENOMEM;
    for (uint64_t at = 0; r == 0 && n > 0; at += (uint64_t)n) {
        n = io_read_all(a, buf, COPY_BYTES, at);
        if (n < 0)
            return (int)n;
        r = n ? io_write_all(b, buf, (size_t)n, at) : 0;
    }
    return r;
}

static void count_nothing(void *arg, const char *finding)
{
    (void)arg;
    (void)finding;
}

/* 1: it is damaged; 0: it is well, or there is none. */
static int is_damaged(const struct repair *rp, struct evs_error *err)
{
    struct meta *m = NULL;
    struct evs_error why;
    int r = meta_open(rp->dir, true, &m, &why);

    if (r < 0)
        return why.why == EVS_DAMAGED ? 1 : evs_fail_as(err, &why);
    r = meta_verify(m, count_nothing, NULL, err);
    meta_close(m);
    return r > 0 ? 1 : r;
}

static int make_new(const struct repair *rp, struct evs_error *err)
{
    size_t n = strlen(rp->dir) + sizeof "/" OLD_DIR "/meta.db";
    char *old AUTO_FREE = malloc(n), *new AUTO_FREE = malloc(n);
    struct meta_mended mended;
    struct meta *m = NULL;
    int r;

    if (!old || !new)
        return evs_fail(err, EVS_NO_MEMORY, EVS_NOWHERE);
    (void)snprintf(old, n, "%s/" OLD_DIR "/meta.db", rp->dir);
    (void)snprintf(new, n, "%s/" NEW_DIR, rp->dir);
    if ((r = io_mkdir(rp->dirfd, OLD_DIR, 0700)) < 0 ||
        (r = io_mkdir(rp->dirfd, NEW_DIR, 0700)) < 0 ||
        (r = copy_file(rp->dirfd, "meta.db", OLD_DIR "/meta.db")) < 0)
        return evs_fail_errno(err, r, "meta.db");
    r = copy_file(rp->dirfd, "meta.db-wal", OLD_DIR "/meta.db-wal");
    if (r < 0 && r != -ENOENT)
        return evs_fail_errno(err, r, "meta.db-wal");
    if ((r = meta_open(new, false, &m, err)) < 0)
        return r;
    r = meta_mend(old, m, &mended, rp->report, rp->arg, err);
    meta_close(m);
    if (r < 0)
        return r;
    int fd AUTO_CLOSE = io_open(rp->dirfd, NEW_DIR, O_RDONLY | O_DIRECTORY, 0);
    r = fd < 0 ? fd : io_sync(fd);
    if (r < 0)
        return evs_fail_errno(err, r, NEW_DIR);
    repair_say(rp, "meta.db: a new one has the %llu owners that were whole",
               (unsigned long long)mended.kept);
    return 0;
}

static int set_aside(const struct repair *rp, struct evs_error *err)
{
    char name[ASIDE_BYTES];
    int r = repair_set_aside(rp, "meta.db", name, err);

    if (r < 0)
        return r;
    repair_say(rp, "meta.db: set aside in %s", name);
    int fd AUTO_CLOSE = io_open(rp->dirfd, "meta.db-wal", O_RDONLY, 0);
    return fd == -ENOENT ? 0 : repair_set_aside(rp, "meta.db-wal", name, err);
}

/* The new one is whole: into the old one's place. */
static int put_in_place(const struct repair *rp, struct evs_error *err)
{
    static const char *const old[] = {"meta.db-wal", "meta.db-shm"};
    int r = 0;

    for (size_t i = 0; i < ARRAY_LEN(old); i++) {
        r = io_unlink(rp->dirfd, old[i]);
        if (r < 0 && r != -ENOENT)
            return evs_fail_errno(err, r, old[i]);
    }
    r = io_sync(rp->dirfd);
    if (r == 0)
        r = io_rename(rp->dirfd, GOOD_DIR "/meta.db", "meta.db");
    if (r == 0)
        r = io_sync(rp->dirfd);
    return r < 0 ? evs_fail_errno(err, r, "meta.db") : 0;
}

static int remove_dirs(const struct repair *rp, struct evs_error *err)
{
    int r = repair_remove_dir(rp, OLD_DIR, err);

    return r < 0 ? r : repair_remove_dir(rp, NEW_DIR, err);
}

int repair_meta(struct repair *rp, struct evs_error *err)
{
    int good AUTO_CLOSE = io_open(rp->dirfd, GOOD_DIR "/meta.db", O_RDONLY, 0);
    int r;

    if (good == -ENOENT) {
        if ((r = remove_dirs(rp, err)) < 0 || (r = repair_remove_dir(rp, GOOD_DIR, err)) < 0 ||
            (r = is_damaged(rp, err)) <= 0)
            return r;
        if ((r = make_new(rp, err)) < 0 || (r = set_aside(rp, err)) < 0)
            return r;
        r = io_rename(rp->dirfd, NEW_DIR, GOOD_DIR);
        if (r == 0)
            r = io_sync(rp->dirfd);
        if (r < 0)
            return evs_fail_errno(err, r, GOOD_DIR);
    } else if (good < 0) {
        return evs_fail_errno(err, good, GOOD_DIR);
    }
    rp->mended++;
    if ((r = put_in_place(rp, err)) < 0 || (r = remove_dirs(rp, err)) < 0)
        return r;
    return repair_remove_dir(rp, GOOD_DIR, err);
}
