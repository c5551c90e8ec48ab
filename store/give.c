/* SPDX-License-Identifier: MIT */
/* give: (1) Who owns the directory may have put there what he likes: a link to a file of somebody else, symbolic or
 * hard, is never given to him. (2) A directory is the last: while it is root's, nobody else is in it. */
#include "give.h"

#include "io.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

struct giving {
    const struct give *g;
    int dirfd;
};

/* The same file below the same name in the other directory? */
static int is_shared(int dirfd, const char *name, const struct stat *st)
{
    struct stat other;
    int fd AUTO_CLOSE = dirfd < 0 ? -ENOENT : io_open(dirfd, name, O_RDONLY, 0);
    int r = fd < 0 ? fd : io_stat(fd, &other);

    if (r == -ENOENT || r == -ELOOP)
        return 0;
    return r < 0 ? r : other.st_dev == st->st_dev && other.st_ino == st->st_ino;
}

static int give_one(void *arg, const char *name)
{
    const struct giving *v = arg;
    const struct give *g = v->g;
    struct stat st;
    int fd AUTO_CLOSE = io_open(v->dirfd, name, O_RDONLY, 0);

    if (fd == -ELOOP || fd == -ENXIO)
        return 0; /* a symbolic link; a socket */
    int r = fd < 0 ? fd : io_stat(fd, &st);
    if (r < 0 || !S_ISREG(st.st_mode) || (st.st_uid != 0 && st.st_uid != g->from))
        return r;
    if (st.st_nlink > 1 && (r = is_shared(g->shared, name, &st)) <= 0)
        return r;
    return io_chown(fd, g->uid, g->gid);
}

int give_files(int dirfd, const struct give *g)
{
    if (geteuid() != 0 || (g->uid == 0 && g->gid == 0))
        return 0;
    int r = io_list(dirfd, ".", give_one, &(struct giving){g, dirfd});
    return r < 0 ? r : io_chown(dirfd, g->uid, g->gid);
}
