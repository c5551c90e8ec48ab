/* SPDX-License-Identifier: MIT */
/* Look-up and attributes. What the kernel may keep: names of real things for good; attributes only from
 * GETATTR, and until a change is notified (lease.c). ENOENT is never kept: another view may make the name
 * real at any time. */
#include "fs/fs.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* LOOKUP: an entry; ENOENT for what is not there and can't be; ENAMETOOLONG. A name that is not real is kept
 * for no time, but has a node, which stays the same when it becomes real. */
void op_lookup(fuse_req_t req, fuse_ino_t parent, const char *name)
{
    struct fs *fs = fs_of(req);
    struct fuse_entry_param e;
    struct node dir, n;
    int r = nodes_resolve(fs->nodes, parent, &dir);

    if (r == 0)
        r = tree_child(fs->st, &dir, name, &n);
    if (r == -EINVAL || r == -EPERM)
        r = -ENOENT;
    if (r == 0 && !tree_answers(fs->st, &n, fs->strict))
        r = -ENOENT;
    if (r == 0)
        r = attr_entry(fs, &n, tree_exists(fs->st, &n), &e);
    if (r < 0)
        fuse_reply_err(req, -r);
    else if (fuse_reply_entry(req, &e) < 0)
        nodes_forget(fs->nodes, n.id, 1);
}

static void forget(struct fs *fs, uint64_t id, uint64_t count)
{
    struct node n;

    if (nodes_resolve(fs->nodes, id, &n) == 0 && node_numbered(&n))
        lease_drop(fs->leases, &n);
    nodes_forget(fs->nodes, id, count);
}

void op_forget(fuse_req_t req, fuse_ino_t ino, uint64_t count)
{
    forget(fs_of(req), ino, count);
    fuse_reply_none(req);
}

void op_forget_multi(fuse_req_t req, size_t count, struct fuse_forget_data *forgets)
{
    for (size_t i = 0; i < count; i++)
        forget(fs_of(req), forgets[i].ino, forgets[i].nlookup);
    fuse_reply_none(req);
}

struct attr_task {
    struct pool_task task;
    struct fs *fs;
    fuse_req_t req;
    struct node node;
};

static void sized_attr(struct pool_task *task)
{
    struct attr_task *t = (struct attr_task *)task;
    struct fs *fs = t->fs;
    bool leased = t->node.kind == NODE_STATE && attr_lease(fs, &t->node);
    struct stat st;
    uint64_t version = 0;
    int r = attr_fill(fs, &t->node, &st, &version);
    char *json = NULL;
    size_t n = 0;
    struct docs_reader reader = file_reader(fs, 0);

    if (r == 0)
        r = docs_make(&reader, &t->node, &json, &n);

    if (r == 0 || r == -ENOENT) {
        free(json);
        st.st_size = (off_t)n;
        st.st_blocks = (blkcnt_t)((n + 511) / 512);
        if (leased)
            lease_told(fs->leases, &t->node, version);
        fuse_reply_attr(t->req, &st, leased ? FS_LONG_S : 0);
    } else {
        fuse_reply_err(t->req, -r);
    }
    free(t);
}

/* A descriptor's attributes are its node's, but for the size of what it is writing. */
static void size_of_edit(const struct fuse_file_info *fi, struct stat *st)
{
    if (fi && file_of(fi) && file_of(fi)->edit)
        st->st_size = (off_t)edit_bytes(file_of(fi)->edit);
}

/* ftruncate(2), and truncate(2) to the size that it has. */
static int set_size(const struct node *n, const struct fuse_file_info *fi, uint64_t size,
                    const struct stat *now)
{
    if (fi && file_of(fi) && file_of(fi)->edit)
        return edit_resize(file_of(fi)->edit, size);
    return node_traits(n->kind)->text && size == (uint64_t)now->st_size ? 0 : -EPERM;
}

/* GETATTR: the attributes, kept until a notification; at once void for what is not real yet, for a while after
 * owners have changed (settle.c), and for .evfs/, which changes with everything. ESTALE for a node that we don't know. state.json and what was learned have their
 * true size, from the pool. */
void op_getattr(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
    struct fs *fs = fs_of(req);
    struct node n;
    struct stat st;
    bool leased = false;
    int r = nodes_resolve(fs->nodes, ino, &n);

    if (r < 0) {
        fuse_reply_err(req, -r);
        return;
    }
    if (node_traits(n.kind)->sized && node_numbered(&n)) {
        struct attr_task *t = malloc(sizeof *t);
        if (!t) {
            fuse_reply_err(req, ENOMEM);
            return;
        }
        *t = (struct attr_task){.task = {.fn = sized_attr}, .fs = fs, .req = req, .node = n};
        pool_submit(fs->pool, &t->task);
        return;
    }
    if (node_numbered(&n) && n.kind != NODE_SCHEMAS &&
        (!node_traits(n.kind)->document || n.kind == NODE_README))
        leased = attr_lease(fs, &n);
    uint64_t version = 0;
    r = attr_fill(fs, &n, &st, &version);
    if (r < 0) {
        fuse_reply_err(req, -r); /* and the lease, which tells nothing, goes with the next change */
        return;
    }
    if (n.kind == NODE_TYPE &&
        version == 0) /* its first event is not visible yet: its time will change */
        leased = false;
    if (leased)
        lease_told(fs->leases, &n, version);
    size_of_edit(fi, &st);
    fuse_reply_attr(req, &st, leased ? FS_LONG_S : 0);
}

/* The kernel has judged by the owner that it last heard of, and does not ask for news: he may have changed since,
 * with the directory above. So judge by the one there is: chmod is the owner's, chown root's; the owner may
 * name himself. */
static bool may_change(const struct evs_owner *o, const struct fuse_ctx *ctx,
                       const struct stat *attr, int to_set)
{
    return ctx->uid == 0 ||
           (ctx->uid == o->uid && (!(to_set & FUSE_SET_ATTR_UID) || attr->st_uid == o->uid));
}

/* Give directory n an owner of its own. The kernel has forgotten the old one when it returns. */
static int set_owner(struct fs *fs, struct node *n, const struct fuse_ctx *ctx,
                     const struct stat *attr, int to_set)
{
    struct node_names nm;
    struct evs_owner o;
    struct evs_error err = {.why = EVS_OK_};
    int r = -EPERM;

    node_names(fs->st, n, &nm);
    struct evs_dir dir = tree_dir(n, &nm);
    pthread_mutex_lock(
        &fs->owners_lock); /* a chmod must not put back whom a chown has just replaced */
    attr_owner(fs, n, &o);
    if (may_change(&o, ctx, attr, to_set)) {
        if (to_set & FUSE_SET_ATTR_MODE)
            o.mode = attr->st_mode & 07777;
        if (to_set & FUSE_SET_ATTR_UID)
            o.uid = attr->st_uid;
        if (to_set & FUSE_SET_ATTR_GID)
            o.gid = attr->st_gid;
        r = evs_set_owner(fs->st, &dir, &o, &err);
    }
    pthread_mutex_unlock(&fs->owners_lock);
    if (r < 0) {
        if (err.why != EVS_OK_)
            fs_log_error("chmod or chown", &err);
        return r;
    }
    node_find(
        fs->st,
        n); /* it has a number now, and what is below may have been leased before it had one */
    attr_changed(fs, n);
    return 0;
}

/* Would chmod or chown leave a file as it is? Then it is no failure: copying programs ask for that. */
static bool changes_nothing(const struct stat *st, const struct stat *attr, int to_set)
{
    return (!(to_set & FUSE_SET_ATTR_MODE) || ((st->st_mode ^ attr->st_mode) & 07777) == 0) &&
           (!(to_set & FUSE_SET_ATTR_UID) || st->st_uid == attr->st_uid) &&
           (!(to_set & FUSE_SET_ATTR_GID) || st->st_gid == attr->st_gid);
}

/* SETATTR: chmod and chown of a directory, EPERM for who is neither its owner nor root; utimes is
 * taken and does nothing; size, but of pinned.json, and the mode of files are EPERM. The kernel's other attributes at and below
 * are void before the reply; the reply itself is not kept. */
void op_setattr(fuse_req_t req, fuse_ino_t ino, struct stat *attr, int to_set,
                struct fuse_file_info *fi)
{
    struct fs *fs = fs_of(req);
    struct node n;
    struct stat st;
    int r = nodes_resolve(fs->nodes, ino, &n);
    int owner = to_set & (FUSE_SET_ATTR_MODE | FUSE_SET_ATTR_UID | FUSE_SET_ATTR_GID);

    if (r == 0 && (to_set & FUSE_SET_ATTR_SIZE) && (r = attr_fill(fs, &n, &st, NULL)) == 0)
        r = set_size(&n, fi, (uint64_t)attr->st_size, &st);
    if (r == 0 && owner) {
        r = attr_fill(fs, &n, &st, NULL);
        if (r == 0 && changes_nothing(&st, attr, to_set) && !node_traits(n.kind)->dir)
            owner = 0;
    }
    if (r == 0 && owner)
        r = node_traits(n.kind)->dir && n.kind != NODE_DOT && n.kind != NODE_SCHEMAS
                ? set_owner(fs, &n, fuse_req_ctx(req), attr, to_set)
                : -EPERM;
    if (r == 0)
        r = attr_fill(fs, &n, &st, NULL);
    if (r < 0) {
        fuse_reply_err(req, -r);
        return;
    }
    size_of_edit(fi, &st);
    fuse_reply_attr(req, &st, 0);
}

/* STATFS: the disk of the log. Files are entities and types. */
void op_statfs(fuse_req_t req, fuse_ino_t ino)
{
    struct fs *fs = fs_of(req);
    struct evs_stats s = {0};
    uint64_t total = 0, left = 0;
    int r = evs_space(fs->st, &total, &left, NULL);

    (void)ino;
    if (r < 0) {
        fuse_reply_err(req, -r);
        return;
    }
    evs_stats(fs->st, &s);
    uint64_t files = s.entities + s.types, most = UINT32_MAX;
    struct statvfs sv = {.f_bsize = 4096,
                         .f_frsize = 4096,
                         .f_blocks = total / 4096,
                         .f_bfree = left / 4096,
                         .f_bavail = left / 4096,
                         .f_files = most,
                         .f_ffree = most > files ? most - files : 0,
                         .f_favail = most > files ? most - files : 0,
                         .f_namemax = TREE_NAME_BYTES - 1};
    fuse_reply_statfs(req, &sv);
}
