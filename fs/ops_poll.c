/* SPDX-License-Identifier: MIT */
/* Poll. An open file is readable when its view has grown since its last READ that reached us or its last
 * POLLIN; with O_NONBLOCK, while anything is unread.
 *
 * (1) First wait, then look: growth between the two wakes.
 * (2) POLLIN is said after the kernel was told that the size it has is void.
 * (3) A handle stays with its file also after POLLIN: edge-triggered epoll asks only once.
 * (4) epoll_ctl(2) polls as well, and then epoll_wait(2) polls again before it reports: a POLLIN that was
 *     given to epoll_ctl and counted as said would never reach the program, and it would sleep on unread
 *     events. The two can't be told apart, so a POLLIN that answers a POLL with a handle, and was not
 *     preceded by a wake-up, may be said once more to another such (again). The price is one wake-up too many for a program
 *     that doesn't read in between. */
#include "fs/fs.h"

#include <errno.h>
#include <poll.h>

#define READ_EVENTS ((unsigned)(POLLIN | POLLRDNORM))

/* Is there something to read, of a view that has so many bytes now? Under f->lock. */
static bool readable(struct open_file *f, uint64_t bytes, bool armed, bool woken)
{
    if (f->level)
        return bytes > f->pos;
    if (bytes > f->seen) {
        f->again = armed && !woken;
        f->seen = bytes;
        return true;
    }
    bool again = f->again && armed;
    f->again = false;
    return again;
}

/* POLL: what is ready now; with a handle, a notification when more is. Documents and write opens are always
 * ready, as regular files are. */
void op_poll(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi, struct fuse_pollhandle *ph)
{
    struct fs *fs = fs_of(req);
    struct open_file *f = file_of(fi);
    unsigned asked = fi->poll_events & READ_EVENTS, ready = POLLOUT | POLLWRNORM;
    struct evs_extent x = {0};
    struct node n;
    uint64_t most;

    (void)ino;
    if (!node_traits(f->kind)->view || !f->reader || !asked) {
        if (ph)
            fuse_pollhandle_destroy(ph);
        if (!node_traits(f->kind)->view)
            ready |= READ_EVENTS;
        fuse_reply_poll(req, ready);
        return;
    }
    pthread_mutex_lock(&f->lock);
    if (file_view(f, &n) < 0) { /* what is not real yet is waited for by its name */
        pthread_mutex_unlock(&f->lock);
        if (ph)
            fuse_pollhandle_destroy(ph);
        fuse_reply_err(req, ESTALE);
        return;
    }
    bool woken = f->armed && !lease_waits(fs->leases, &f->waiter);
    f->armed = ph != NULL;
    most = f->level ? f->pos : f->seen;
    if (ph && lease_wait(fs->leases, &f->waiter, &n, most, ph) < 0)
        f->armed = false;
    if (!f->viewed) /* the first event may have come before the mark: (1) holds for names, too */
        (void)file_view(f, &n);
    if (f->viewed)
        (void)evs_view_extent(fs->st, &f->view, &x); /* a failure is no event yet */
    bool in = readable(f, x.bytes, ph != NULL, woken);
    pthread_mutex_unlock(&f->lock);
    if (in) {
        if (node_numbered(&n))
            lease_check(fs->leases, &n, x.bytes);
        ready |= READ_EVENTS;
    }
    fuse_reply_poll(req, ready);
}
