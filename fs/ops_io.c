/* SPDX-License-Identifier: MIT */
/* Read, write and fsync. (1) A handler waits for no disk sync: the pool does, and replies. (2) All who wait
 * for a sync when one begins share it. (3) A reply to a write follows publish, notify and wake, which
 * evs_write() has done when it returns. */
#include "fs/fs.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <syslog.h>

/* A thread's reading buffer: grows to the largest request, goes with the thread. */
static pthread_key_t buffer_key;
static pthread_once_t buffer_once = PTHREAD_ONCE_INIT;

struct buffer {
    size_t size;
    char bytes[];
};

static void make_key(void)
{
    (void)pthread_key_create(&buffer_key, free); /* without one, each read allocates: see below */
}

static char *read_buffer(size_t n)
{
    struct buffer *b;

    pthread_once(&buffer_once, make_key);
    b = pthread_getspecific(buffer_key);
    if (b && b->size >= n)
        return b->bytes;
    free(b);
    b = malloc(sizeof *b + n);
    if (pthread_setspecific(buffer_key, b) != 0) {
        free(b);
        return NULL;
    }
    if (!b)
        return NULL;
    b->size = n;
    return b->bytes;
}

/* n bytes from pos: in the log itself where they are neighbours there, else copied into this thread's buffer.
 * A reply of less than was asked for is the end of the file: where the log's next segment begins, what
 * follows is copied. */
static ssize_t read_cursor(struct evs_cursor *c, uint64_t pos, size_t n, uint64_t end,
                           const void **ret, struct evs_error *err)
{
    ssize_t r = evs_cursor_peek(c, pos, n, ret, err);

    if (r >= 0 && ((size_t)r == n || pos + (uint64_t)r >= end))
        return r;
    if (r < 0 && r != -EOPNOTSUPP)
        return r;
    char *buf = read_buffer(n);
    *ret = buf;
    return buf ? evs_cursor_read(c, pos, buf, n, err) : -ENOMEM;
}

/* The cursor of one READ; its bytes are there until end_reading(). The open file's where that is free, so that
 * sequential reads don't seek; else one for this read. */
struct reading {
    struct evs_cursor *c; /* NULL: there is none */
    bool own;             /* not the open file's, whose lock is held */
};

static ssize_t read_view(struct open_file *f, const struct evs_view *v, uint64_t pos, size_t n,
                         uint64_t end, struct reading *with, const void **ret)
{
    struct evs_error err = {.why = EVS_OK_};
    ssize_t r = 0;

    with->own = pthread_mutex_trylock(&f->reading) != 0;
    with->c = with->own ? NULL : f->cursor;
    if (!with->c)
        r = evs_cursor_new(f->fs->st, v, &with->c, &err);
    if (!with->own)
        f->cursor = with->c;
    if (r == 0)
        r = read_cursor(with->c, pos, n, end, ret, &err);
    if (r < 0 && err.why != EVS_OK_)
        fs_log_error("read", &err);
    return r;
}

static void end_reading(struct open_file *f, const struct reading *with)
{
    if (with->own) {
        evs_cursor_free(with->c);
        return;
    }
    if (with->c)
        evs_cursor_done(with->c); /* an open file that is not read holds no memory of the log's */
    pthread_mutex_unlock(&f->reading);
}

/* What poll goes by: this read has seen the view as large as it was before it. */
static void note_read(struct open_file *f, uint64_t bytes, uint64_t end)
{
    pthread_mutex_lock(&f->lock);
    if (bytes > f->seen)
        f->seen = bytes;
    f->pos = end;
    f->again = false;
    pthread_mutex_unlock(&f->lock);
}

/* Replied under the lock: the bytes may move. */
static void read_edit(fuse_req_t req, struct edit *e, size_t size, size_t off)
{
    pthread_mutex_lock(&e->lock);
    size_t at = off < e->n ? off : e->n;
    fuse_reply_buf(req, e->text ? e->text + at : NULL, e->n - at < size ? e->n - at : size);
    pthread_mutex_unlock(&e->lock);
}

/* READ: 0 bytes at the end, never a wait. EIO where a line is damaged. The kernel keeps no pages
 * (ops_open.c). */
void op_read(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off, struct fuse_file_info *fi)
{
    struct open_file *f = file_of(fi);
    struct evs_extent x = {0};
    struct evs_view v;
    struct node n;
    ssize_t r;

    (void)ino;
    if (f->edit) {
        read_edit(req, f->edit, size, (size_t)off);
        return;
    }
    if (f->doc) {
        size_t at = (size_t)off < f->doc_n ? (size_t)off : f->doc_n;
        fuse_reply_buf(req, f->doc + at, f->doc_n - at < size ? f->doc_n - at : size);
        return;
    }
    if (!f->reader) {
        fuse_reply_err(req, EBADF);
        return;
    }
    pthread_mutex_lock(&f->lock);
    int viewed = f->viewed ? 1 : file_view(f, &n);
    v = f->view;
    pthread_mutex_unlock(&f->lock);
    if (viewed <= 0) {
        if (viewed == 0)
            fuse_reply_buf(req, NULL, 0);
        else
            fuse_reply_err(req, -viewed);
        return;
    }
    struct reading with = {0};
    const void *bytes = NULL;
    (void)evs_view_extent(f->fs->st, &v, &x); /* a failure shows in the read */
    r = read_view(f, &v, (uint64_t)off, size, x.bytes, &with, &bytes);
    if (r < 0) {
        end_reading(f, &with);
        fuse_reply_err(req, (int)-r);
        return;
    }
    note_read(f, x.bytes, (uint64_t)off + (uint64_t)r);
    fuse_reply_buf(req, bytes, (size_t)r);
    end_reading(f, &with);
}

/* ---- syncs ---- */

struct sync_wait {
    struct sync_wait *next;
    fuse_req_t req;
    evs_seq seq;
    int failed;             /* the errno, negative */
    size_t written;         /* of a write(2): the reply; 0: an fsync */
    struct open_file *file; /* of an fsync that has to look for an unfinished value; may be NULL */
};

static void reply_sync(const struct sync_wait *w, int r)
{
    if (r == 0 && w->file && w->file->writer)
        r = evs_writer_pending(w->file->writer, NULL);
    if (r < 0)
        fuse_reply_err(w->req, -r);
    else if (w->written)
        fuse_reply_write(w->req, w->written);
    else
        fuse_reply_err(w->req, 0);
}

/* Takes out of the queue who is durable, or everybody after a failure (r). The newest event of those who are left. */
static evs_seq take_synced(struct fs *fs, int r, struct sync_wait **ret)
{
    evs_seq durable = evs_durable(fs->st), seq = 0;
    struct sync_wait **at = &fs->syncs.first;

    *ret = NULL;
    pthread_mutex_lock(&fs->syncs.lock);
    for (struct sync_wait *w; (w = *at);) {
        if (w->seq > durable && r == 0) {
            seq = w->seq > seq ? w->seq : seq;
            at = &w->next;
        } else {
            w->failed = w->seq > durable ? r : 0;
            *at = w->next;
            w->next = *ret;
            *ret = w;
        }
    }
    fs->syncs.running = *ret || seq > 0;
    pthread_mutex_unlock(&fs->syncs.lock);
    return seq;
}

static void run_syncs(struct pool_task *task)
{
    struct fs *fs = (struct fs *)((char *)task - offsetof(struct fs, syncs.task));
    struct evs_error err;
    int r = 0;

    for (;;) {
        struct sync_wait *all;
        evs_seq seq = take_synced(fs, r, &all);
        if (!all && seq == 0)
            return;
        for (struct sync_wait *next; all; all = next) {
            next = all->next;
            reply_sync(all, all->failed);
            free(all);
        }
        if (seq > 0 && (r = evs_sync(fs->st, seq, &err)) < 0)
            fs_log_error("fsync", &err);
    }
}

static void wait_sync(struct fs *fs, const struct sync_wait *what)
{
    struct sync_wait *w = malloc(sizeof *w);
    bool start;

    if (!w) { /* what was written is stored, and must be said: wait here */
        reply_sync(what, evs_sync(fs->st, what->seq, NULL));
        return;
    }
    *w = *what;
    if (!evs_sync_join(fs->st, w->seq)) {
        reply_sync(w, 0);
        free(w);
        return;
    }
    pthread_mutex_lock(&fs->syncs.lock);
    w->next = fs->syncs.first;
    fs->syncs.first = w;
    start = !fs->syncs.running;
    fs->syncs.running = true;
    pthread_mutex_unlock(&fs->syncs.lock);
    if (start) {
        fs->syncs.task.fn = run_syncs;
        pool_submit(fs->sync_pool, &fs->syncs.task);
    }
}

/* WRITE: appends, whatever the offset. Less than all was taken where a value is bad; an errno of the store
 * where the first one is (DESIGN, Appending). With sync, and for O_SYNC and O_DSYNC, it is durable before
 * the reply. The kernel drops this file's own attributes by itself. */
void op_write(fuse_req_t req, fuse_ino_t ino, const char *buf, size_t size, off_t off,
              struct fuse_file_info *fi)
{
    struct fs *fs = fs_of(req);
    struct open_file *f = file_of(fi);
    struct evs_cred cred = attr_cred(req);
    struct evs_error err;
    ssize_t r;

    if (f->edit) {
        r = edit_write(f->edit, buf, size, (uint64_t)off, fi->flags & O_APPEND);
        if (r < 0)
            fuse_reply_err(req, (int)-r);
        else
            fuse_reply_write(req, (size_t)r);
        return;
    }
    if (!f->writer) {
        fuse_reply_err(req, EBADF);
        return;
    }
    lease_writing(ino);
    r = evs_write(f->writer, buf, size, &cred, &err);
    lease_writing(0);
    if (r < 0) {
        fs_log_error("write", &err);
        fuse_reply_err(req, (int)-r);
    } else if (r > 0 && (fs->sync || (fi->flags & (O_SYNC | O_DSYNC)))) {
        wait_sync(fs, &(struct sync_wait){
                          .req = req, .seq = evs_writer_seq(f->writer), .written = (size_t)r});
    } else {
        fuse_reply_write(req, (size_t)r);
    }
}

/* FLUSH: close(2) has nothing to say but of pinned.json. Not even asked of us where noflush is known. */
void op_flush(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
    (void)ino;
    if (file_of(fi)->edit)
        pin_check(req, file_of(fi), false);
    else
        fuse_reply_err(req, 0);
}

/* FSYNC: all that is stored is durable; then EINVAL while a value of this open file is unfinished. EIO, EROFS
 * from the disk, and never retried. */
void op_fsync(fuse_req_t req, fuse_ino_t ino, int datasync, struct fuse_file_info *fi)
{
    struct fs *fs = fs_of(req);

    (void)ino;
    (void)datasync;
    if (file_of(fi)->edit) { /* it is durable once it is pinned */
        pin_check(req, file_of(fi), false);
        return;
    }
    wait_sync(fs, &(struct sync_wait){.req = req, .seq = evs_end(fs->st), .file = file_of(fi)});
}

/* FSYNCDIR: the same; a directory has nothing unfinished. */
void op_fsyncdir(fuse_req_t req, fuse_ino_t ino, int datasync, struct fuse_file_info *fi)
{
    struct fs *fs = fs_of(req);

    (void)ino;
    (void)datasync;
    (void)fi;
    wait_sync(fs, &(struct sync_wait){.req = req, .seq = evs_end(fs->st)});
}
