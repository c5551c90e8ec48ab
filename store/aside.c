/* SPDX-License-Identifier: MIT */
/* aside: the end of a log is where its first bad line is, if nothing vouches for more. What follows is cut: after
 * a power cut these are the pieces that the disk happened to write. But if the idx that vouched for them is lost
 * as well, they may be events that were durable, behind one that was damaged since. The two can't be told apart,
 * so whole lines are never thrown away.
 *
 * A transaction without its end, and a line that is torn, are not kept: nobody was told that they are stored.
 * The file is only ever appended to: an open that was interrupted here finds the same once more. */
#include "aside.h"

#include "io.h"

#include <errno.h>
#include <fcntl.h>

#define COPY_BYTES ((size_t)1 << 20)

struct look {
    const char *lines;
    uint64_t pos, end;
};

/* 1 if a whole line begins at a line's start in [pos, end). */
static int look(void *arg)
{
    struct look *k = arg;

    while (k->pos < k->end) {
        struct line l;
        const char *p = k->lines + k->pos, *lf = memchr(p, '\n', k->end - k->pos);
        if (!lf)
            return 0;
        if (line_parse(p, (size_t)(lf - p) + 1, &l, NULL, NULL) == 0)
            return 1;
        k->pos += (uint64_t)(lf - p) + 1;
    }
    return 0;
}

/* 1, 0, or -EIO: what can't be read now is not thrown away. */
static int holds_lines(struct segment *const *s, size_t n, uint64_t bad)
{
    int r = 0;

    for (size_t i = 0; i < n && r == 0; i++) {
        struct look k = {s[i]->lines, i == 0 ? bad : 0, s[i]->size};
        r = io_guarded(look, &k);
    }
    return r;
}

static UNANALYSED int copy(struct segment *const *s, size_t n, int fd, uint64_t at)
{
    int r = 0;

    for (size_t i = 0; i < n; i++) {
        uint64_t pos = i == 0 ? s[i]->tail.bytes : 0;
        while (pos < s[i]->size) {
            size_t k = MIN(s[i]->size - pos, COPY_BYTES);
            if ((r = io_write_all(fd, s[i]->lines + pos, k, at)) < 0)
                return r;
            pos += k;
            at += k;
        }
    }
    return io_sync(fd);
}

/* A failure is cut back: on a full disk each open would take what room is left. */
static int append(struct segment *const *s, size_t n, int fd)
{
    struct stat st;
    int r = io_stat(fd, &st);

    if (r == 0 && (r = copy(s, n, fd, (uint64_t)st.st_size)) < 0)
        (void)io_truncate(fd, (uint64_t)st.st_size); /* as good as it gets */
    return r;
}

UNANALYSED int aside_keep(struct segment *const *s, size_t n, uint64_t bad, evs_seq *ret_seq,
                          struct evs_error *err)
{
    evs_seq seq = s[0]->first + s[0]->tail.n;
    char name[SEGMENT_NAME_BYTES];

    *ret_seq = 0;
    segment_name(seq, ".cut", name);
    int r = holds_lines(s, n, bad);
    if (r <= 0)
        return r < 0 ? segment_fail_name(name, r, err) : 0;
    int fd AUTO_CLOSE = io_open(s[0]->dirfd, name, O_RDWR | O_CREAT, 0600);
    r = fd < 0 ? fd : append(s, n, fd);
    if (r == 0)
        r = io_sync(s[0]->dirfd);
    if (r < 0)
        return segment_fail_name(name, r, err);
    *ret_seq = seq;
    return 0;
}
