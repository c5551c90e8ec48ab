/* SPDX-License-Identifier: MIT */
/* Open, create and release. (1) What appends is opened direct_io and noflush: a write(2) is one request, and
 * close(2) asks nothing. (2) What reads a view is opened direct_io too. The kernel's page cache can't be had
 * for a file that grows behind its back: a GETATTR first raises the size and then drops the last page, and
 * whoever reads in between gets NUL bytes for what the page did not hold yet (4 readers of a file that 4
 * programs append to: within a second). Only a read-only mount, where nothing grows, is cached.
 * (3) A document is one snapshot, made in the pool. */
#include "fs/fs.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>

/* May this open of a file with so many bytes write? It has to append, or to begin the file. */
static int check_write(const struct node *n, int flags, uint64_t bytes)
{
    bool writes = (flags & O_ACCMODE) != O_RDONLY;

    if (!writes && !(flags & O_TRUNC))
        return 0;
    if (!node_traits(n->kind)->view)
        return -EPERM;
    if (bytes > 0 && (!(flags & O_APPEND) || (flags & O_TRUNC)))
        return -EPERM;
    return 0;
}

static int open_writer(struct fs *fs, const struct node *n, struct open_file *f)
{
    char path[TREE_PATH_BYTES];
    struct node_names nm;

    node_names(fs->st, n, &nm);
    tree_path(fs->st, n, path);
    struct evs_target target = {.kind = node_traits(n->kind)->view_kind,
                                .entity = nm.entity,
                                .entity_len = nm.entity_n,
                                .type = nm.type,
                                .type_len = nm.type_n};
    return evs_writer_new(fs->st, &target, path, &f->writer, NULL);
}

/* Open node n, a view, into *fi. */
static int open_view(struct fs *fs, const struct node *n, uid_t uid, struct fuse_file_info *fi)
{
    struct evs_extent x = {0};
    struct open_file *f;
    int r;

    if (node_numbered(n)) {
        struct evs_view v = tree_view(n);
        (void)evs_view_extent(fs->st, &v, &x); /* a failure is no event yet */
    }
    r = check_write(n, fi->flags, x.bytes);
    if (r < 0)
        return r;
    if ((r = file_new(fs, n, uid, &f)) < 0)
        return r;
    f->reader = (fi->flags & O_ACCMODE) != O_WRONLY;
    f->level = (fi->flags & O_NONBLOCK) != 0;
    if ((fi->flags & O_ACCMODE) != O_RDONLY) {
        r = open_writer(fs, n, f);
        if (r < 0) {
            file_free(f);
            return r;
        }
    }
    fi->fh = (uintptr_t)f;
    fi->direct_io = !fs->read_only;
    fi->keep_cache = fs->read_only;
    fi->noflush = 1;
    return 0;
}

struct doc_task {
    struct pool_task task;
    struct fs *fs;
    fuse_req_t req;
    struct fuse_file_info fi;
    uid_t uid;
    struct node node;
};

static void open_doc(struct pool_task *task)
{
    struct doc_task *t = (struct doc_task *)task;
    struct docs_reader reader = file_reader(t->fs, t->uid);
    struct open_file *f = NULL;
    char *doc;
    size_t n;
    int r = file_new(t->fs, &t->node, t->uid, &f);

    if (r == 0 && (r = docs_make(&reader, &t->node, &doc, &n)) == 0)
        r = file_set_doc(f, doc, n);

    t->fi.fh = (uintptr_t)f;
    t->fi.direct_io = 1;
    t->fi.noflush = 1;
    if (r < 0)
        fuse_reply_err(t->req, -r);
    if (r < 0 || fuse_reply_open(t->req, &t->fi) < 0)
        file_free(f);
    free(t);
}

static mode_t wanted(int flags)
{
    int how = flags & O_ACCMODE;

    return (mode_t)((how != O_WRONLY ? 4 : 0) | (how != O_RDONLY ? 2 : 0));
}

/* OPEN. EPERM for a write open of what computes or exists, but for O_APPEND of a view; ENOENT for a document
 * of nothing; EACCES for who may not, now; ENFILE and ENOBUFS for who has his part of all
 * open files, or of the bytes of open documents. Caches: see above. */
void op_open(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
    struct fs *fs = fs_of(req);
    struct node n;
    int r = nodes_resolve(fs->nodes, ino, &n);

    if (r == 0 && !attr_may(fs, &n, req, wanted(fi->flags)))
        r = -EACCES;
    if (r == 0 && node_traits(n.kind)->text && (fi->flags & O_ACCMODE) != O_RDONLY) {
        r = pin_open(fs, &n, fuse_req_ctx(req)->uid, fi);
    } else if (r == 0 && node_traits(n.kind)->document) {
        struct doc_task *t = malloc(sizeof *t);
        r = !t ? -ENOMEM : check_write(&n, fi->flags, 1);
        if (r == 0) {
            *t = (struct doc_task){.task = {.fn = open_doc},
                                   .fs = fs,
                                   .req = req,
                                   .fi = *fi,
                                   .uid = fuse_req_ctx(req)->uid,
                                   .node = n};
            pool_submit(fs->pool, &t->task);
            return;
        }
        free(t);
    } else if (r == 0) {
        r = node_traits(n.kind)->view ? open_view(fs, &n, fuse_req_ctx(req)->uid, fi) : -EISDIR;
    }
    if (r < 0)
        fuse_reply_err(req, -r);
    else if (fuse_reply_open(req, fi) < 0)
        file_free(file_of(fi));
}

/* CREATE: opens a file that has no event yet, whose size is 0 and whose name is not kept. EACCES where the
 * file that it will be may not be opened so, EPERM where no file may be, EINVAL for a name that is no
 * type's, ENAMETOOLONG; EEXIST with O_EXCL for what another path made meanwhile. The mode is the
 * directory's, whatever is asked for. */
void op_create(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode,
               struct fuse_file_info *fi)
{
    struct fs *fs = fs_of(req);
    struct fuse_entry_param e;
    struct node dir, n;
    bool real = false;
    int r = nodes_resolve(fs->nodes, parent, &dir);

    (void)mode;
    if (r == 0)
        r = tree_child(fs->st, &dir, name, &n);
    if (r == 0 && !node_traits(n.kind)->view && !node_traits(n.kind)->text)
        r = -EPERM;
    if (r == 0) {
        real = tree_exists(fs->st, &n);
        if (real && (fi->flags & O_EXCL))
            r = -EEXIST;
    }
    /* The kernel asks only whether a file may be made here, and who makes one may do anything with it: but it is
     * its directory's owner's, as are the events that will come. */
    if (r == 0 &&
        !(attr_may(fs, &n, req, wanted(fi->flags)) && (real || attr_may(fs, &dir, req, 3))))
        r = -EACCES;
    if (r == 0)
        r = attr_entry(fs, &n, real, &e);
    if (r < 0) {
        fuse_reply_err(req, -r);
        return;
    }
    r = node_traits(n.kind)->text ? pin_open(fs, &n, fuse_req_ctx(req)->uid, fi)
                                  : open_view(fs, &n, fuse_req_ctx(req)->uid, fi);
    if (r < 0)
        fuse_reply_err(req, -r);
    else if (fuse_reply_create(req, &e, fi) < 0)
        file_free(file_of(fi));
    else
        return;
    nodes_forget(fs->nodes, n.id, 1);
}

/* RELEASE: the last close. An unfinished value goes to rejected.jsonl; a schema is checked. */
void op_release(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
    (void)ino;
    if (file_of(fi)->edit) {
        pin_check(req, file_of(fi), true);
        return;
    }
    file_free(file_of(fi));
    fuse_reply_err(req, 0);
}
