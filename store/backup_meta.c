/* SPDX-License-Identifier: MIT */
/* backup_meta: meta.db of a backup. (1) It is made and checked in BACKUP_WORK, and gets its name by a rename: the backup
 * has the old one or the new one, whole. (2) One that the store has lost does not replace one that it had. */
#include "backup_file.h"
#include "backup_state.h"
#include "io.h"
#include "meta.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>

static void no_report(void *arg, const char *finding)
{
    struct evs_error *e = arg;

    if (e->why == EVS_OK_)
        (void)evs_fail_at(e, EVS_DAMAGED, EVS_NOWHERE, "%s", finding);
}

/* Every row of the copy in BACKUP_WORK; *ret_lost: the store has lost it before. */
static int check_meta(const char *work, bool *ret_lost, struct evs_error *err)
{
    struct evs_error first = {.why = EVS_OK_};
    struct meta *m;
    int64_t lost = 0;
    int r = meta_open(work, false, &m, err);

    if (r < 0)
        return r;
    r = meta_verify(m, no_report, &first, err);
    if (r > 0)
        r = evs_fail_as(err, &first);
    if (r == 0 && (r = meta_get_int(m, "meta_lost", &lost, err)) == -ENOENT)
        r = 0;
    meta_close(m);
    *ret_lost = lost != 0;
    return r;
}

static int copy_meta(struct backup *b, const char *path, struct evs_error *err)
{
    static const char *const files[] = {"meta.db", "meta.db-wal", "meta.db-shm"};

    for (size_t i = 0; i < ARRAY_LEN(files); i++) {
        int r = io_unlink(b->work_fd, files[i]);
        if (r < 0 && r != -ENOENT)
            return evs_fail_errno(err, r, BACKUP_WORK);
    }
    int fd =
        io_open(b->work_fd, "meta.db", O_RDWR | O_CREAT, 0600); /* whatever SQLite would take */
    if (fd < 0)
        return evs_fail_errno(err, fd, BACKUP_WORK);
    (void)io_close(fd); /* empty */
    if (b->bytes != UINT64_MAX)
        return meta_copy(b->dir, path, err);
    int r = backup_copy(b->src_fd, "meta.db", b->work_fd, "meta.db");
    if (r == 0)
        r = backup_copy(b->src_fd, "meta.db-wal", b->work_fd, "meta.db-wal");
    else if (r != -ENOENT)
        return evs_fail_errno(err, r, "meta.db");
    else
        return evs_fail_errno(err, r, "meta.db is missing");
    return r < 0 && r != -ENOENT ? evs_fail_errno(err, r, "meta.db-wal") : 0;
}

/* The name it has from now on; a -wal of the old one would be taken for its own. */
static int install_meta(struct backup *b, struct evs_error *err)
{
    int fd = io_open(b->work_fd, "meta.db", O_RDONLY, 0), r = fd < 0 ? fd : io_sync(fd), u;

    if (fd >= 0)
        (void)io_close(fd); /* reading only */
    if (r == 0)
        r = (u = io_unlink(b->dest_fd, "meta.db-wal")) == -ENOENT ? 0 : u;
    if (r == 0)
        r = (u = io_unlink(b->dest_fd, "meta.db-shm")) == -ENOENT ? 0 : u;
    if (r == 0) /* or the power goes, and the -wal is there again beside the new one */
        r = io_sync(b->dest_fd);
    if (r == 0)
        r = io_move(b->work_fd, "meta.db", b->dest_fd, "meta.db");
    if (r == 0)
        r = io_sync(b->dest_fd);
    return r < 0 ? evs_fail_errno(err, r, b->dest) : 0;
}

int backup_meta(struct backup *b, struct evs_error *err)
{
    size_t n = strlen(b->dest) + sizeof "/" BACKUP_WORK "/meta.db";
    char *path AUTO_FREE = malloc(n);
    struct evs_error why;
    bool lost = false;

    if (!path)
        return evs_fail(err, EVS_NO_MEMORY, EVS_NOWHERE);
    (void)snprintf(path, n, "%s/" BACKUP_WORK "/meta.db", b->dest);
    int r = copy_meta(b, path, &why);
    if (r < 0 && r != -ENOENT)
        return evs_fail_as(err, &why);
    if (r == 0) {
        *strrchr(path, '/') = '\0';
        if ((r = check_meta(path, &lost, err)) < 0)
            return r;
    }
    int old = io_open(b->dest_fd, "meta.db", O_RDONLY, 0);
    if (old >= 0)
        (void)io_close(old); /* only asked whether it is there */
    b->done.meta_kept = (r == -ENOENT || lost) && old >= 0;
    return r == 0 && !b->done.meta_kept ? install_meta(b, err) : 0;
}
