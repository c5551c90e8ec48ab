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

#define SECTOR 512u

/* What the disk doesn't give is zeros, sector by sector; in *ret_gone how many. */
static ssize_t read_all_there_is(int fd, char *buf, size_t n, uint64_t at, uint64_t *ret_gone)
{
    struct stat st;
    ssize_t got = io_read_all(fd, buf, n, at);

    if (got != -EIO)
        return got;
    int r = io_stat(fd, &st);
    if (r < 0 || (uint64_t)st.st_size <= at)
        return r;
    n = MIN(n, (uint64_t)st.st_size - at);
    for (size_t i = 0; i < n; i += SECTOR) {
        const size_t k = MIN(n - i, SECTOR);
        got = io_read_all(fd, buf + i, k, at + i);
        if (got < 0 && got != -EIO)
            return got;
        *ret_gone += got < 0;
        if (got < (ssize_t)k)
            memset(buf + i + MAX(got, 0), 0, k - (size_t)MAX(got, 0));
    }
    return (ssize_t)n;
}

static int copy_file(const struct repair *rp, const char *from, const char *to)
{
    const int dirfd = rp->dirfd;
    uint64_t gone = 0;

    char *buf AUTO_FREE = malloc(COPY_BYTES);
    int a AUTO_CLOSE = io_open(dirfd, from, O_RDONLY, 0);
    int b AUTO_CLOSE = a < 0 ? -1 : io_open(dirfd, to, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    ssize_t n = 1;
    int r = 0;

    if (a < 0 || b < 0 || !buf)
        return a < 0 ? a : b < 0 ? b : -ENOMEM;
    for (uint64_t at = 0; r == 0 && n > 0; at += (uint64_t)n) {
        n = read_all_there_is(a, buf, COPY_BYTES, at, &gone);
        if (n < 0)
            return (int)n;
        r = n ? io_write_all(b, buf, (size_t)n, at) : 0;
    }
    if (gone && r == 0)
        repair_say(rp, "%s: the disk does not give %llu sectors of it", from,
                   (unsigned long long)gone);
    return r;
}

static void count_nothing(void *arg, const char *finding)
{
    (void)arg;
    (void)finding;
}

/* 1: it is damaged, or the disk doesn't give it; 0: it is well, or there is none. */
static int is_damaged(const struct repair *rp, struct evs_error *err)
{
    struct meta *m = NULL;
    struct evs_error why;
    int r = meta_open(rp->dir, true, &m, &why);

    if (r == 0)
        r = meta_verify(m, count_nothing, NULL, &why);
    meta_close(m);
    if (r < 0)
        return why.code == EIO ? 1 : evs_fail_as(err, &why); /* as is DAMAGED */
    return r > 0;
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
        (r = copy_file(rp, "meta.db", OLD_DIR "/meta.db")) < 0)
        return evs_fail_errno(err, r, "meta.db");
    r = copy_file(rp, "meta.db-wal", OLD_DIR "/meta.db-wal");
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
    repair_say(rp, "meta.db: a new one has the %llu owners and pinned schemas that were whole",
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
