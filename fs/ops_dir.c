/* SPDX-License-Identifier: MIT */
/* Directories. No state is kept between two READDIRs: the cookie says it all (tree.c), so a directory that
 * grows while it is listed shows each entry at most once, and those that were there exactly once. */
#include "fs/fs.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <syslog.h>

#define LISTING_BYTES_MAX (1u << 20)

struct listing {
    fuse_req_t req;
    struct fs *fs;
    const struct node *dir;
    bool plus;
    char *buf;
    size_t size, used;
};

/* Add an entry; false where it does not fit: then nothing was counted. n NULL: '.' and '..', which the kernel
 * does not look up. */
static bool add(struct listing *l, const char *name, const struct stat *st, struct node *n,
                off_t cookie)
{
    char *at = l->buf + l->used;
    size_t left = l->size - l->used, need;
    struct fuse_entry_param e = {.attr = *st};

    if (!l->plus) {
        need = fuse_add_direntry(l->req, at, left, name, st, cookie);
    } else {
        need = fuse_add_direntry_plus(l->req, NULL, 0, name, NULL, 0);
        if (need <= left && n && attr_entry(l->fs, n, true, &e) < 0)
            return false;
        if (need <= left)
            need = fuse_add_direntry_plus(l->req, at, left, name, &e, cookie);
    }
    if (need > left)
        return false;
    l->used += need;
    return true;
}

static bool add_dots(struct listing *l, uint64_t *cookie)
{
    struct stat st = {.st_mode = S_IFDIR, .st_ino = node_st_ino(l->fs->st, l->dir)};
    struct node parent;

    if (*cookie < 1) {
        if (!add(l, ".", &st, NULL, 1))
            return false;
        *cookie = 1;
    }
    if (*cookie < TREE_FIRST_COOKIE) {
        tree_parent(l->fs->st, l->dir, &parent);
        st.st_ino = node_st_ino(l->fs->st, &parent);
        if (!add(l, "..", &st, NULL, TREE_FIRST_COOKIE))
            return false;
        *cookie = TREE_FIRST_COOKIE;
    }
    return true;
}

static int fill(struct listing *l, uint64_t cookie)
{
    struct tree_list list;
    struct tree_entry e;
    struct node n;
    int r;

    if (!add_dots(l, &cookie))
        return 0;
    tree_list_init(&list, l->fs->st, l->dir);
    while ((r = tree_list_next(&list, cookie, &e)) > 0) {
        bool dir = node_traits(e.kind)->dir;
        struct stat st = {.st_ino = e.ino, .st_mode = dir ? S_IFDIR : S_IFREG};
        n.id = 0;
        n.kind = e.kind;
        n.entity = e.entity;
        n.type = e.type;
        n.entity_n = n.type_n = 0;
        if (!node_numbered(&n) && tree_child(l->fs->st, l->dir, e.name, &n) < 0)
            continue;
        if (!add(l, e.name, &st, &n, (off_t)e.cookie))
            break;
        cookie = e.cookie;
    }
    tree_list_done(&list);
    return r < 0 ? r : 0;
}

static void list(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off, bool plus)
{
    struct fs *fs = fs_of(req);
    struct node dir;
    struct listing l = {.req = req, .fs = fs, .dir = &dir, .plus = plus};
    int r = nodes_resolve(fs->nodes, ino, &dir);

    if (r == 0 && !node_traits(dir.kind)->dir)
        r = -ENOTDIR;
    if (r == 0 && off < 0)
        r = -EINVAL;
    if (r == 0) {
        l.size = size < LISTING_BYTES_MAX ? size : LISTING_BYTES_MAX;
        l.buf = malloc(l.size);
        r = l.buf ? fill(&l, (uint64_t)off) : -ENOMEM;
    }
    if (r < 0)
        fuse_reply_err(req, -r);
    else
        fuse_reply_buf(req, l.buf, l.used);
    free(l.buf);
}

/* READDIR: names only. The kernel keeps nothing. */
void op_readdir(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off, struct fuse_file_info *fi)
{
    (void)fi;
    list(req, ino, size, off, false);
}

/* READDIRPLUS: each entry is a look-up as well; names are kept, attributes are not. */
void op_readdirplus(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off,
                    struct fuse_file_info *fi)
{
    (void)fi;
    list(req, ino, size, off, true);
}

/* Give name n in dir the caller as its owner. */
static int make_dir(struct fs *fs, const struct node *dir, struct node *n,
                    const struct fuse_ctx *ctx, mode_t mode)
{
    struct node_names nm;
    struct evs_owner above;
    struct evs_error err = {.why = EVS_OK_};
    int r = -EEXIST;

    node_names(fs->st, n, &nm);
    struct evs_dir d = tree_dir(n, &nm);
    pthread_mutex_lock(&fs->owners_lock);
    node_find(fs->st, n);
    if (!tree_exists(fs->st, n)) {
        attr_owner(fs, dir, &above);
        const struct evs_owner owner = {ctx->uid, above.mode & S_ISGID ? above.gid : ctx->gid,
                                        (mode & 01777) | (above.mode & S_ISGID)};
        r = evs_set_owner(fs->st, &d, &owner, &err);
    }
    pthread_mutex_unlock(&fs->owners_lock);
    if (r < 0 && err.why != EVS_OK_)
        fs_log_error("mkdir", &err);
    return r;
}

/* MKDIR: gives an entity's or a type's name an owner, which makes it real: the caller's, and the mode asked
 * for. EPERM where only fixed names are, EINVAL and ENAMETOOLONG for what no id is written as, EEXIST for
 * what is real. A name that answers already never gets here: the kernel says EEXIST. */
void op_mkdir(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode)
{
    struct fs *fs = fs_of(req);
    struct fuse_entry_param e;
    struct node dir, n;
    int r = nodes_resolve(fs->nodes, parent, &dir);

    if (r == 0)
        r = tree_child(fs->st, &dir, name, &n);
    if (r == 0 && tree_exists(fs->st, &n))
        r = -EEXIST;
    if (r == 0 && n.kind != NODE_ENTITY && n.kind != NODE_TYPE)
        r = -EPERM;
    if (r == 0 && !attr_may(fs, &dir, req, 3))
        r = -EACCES;
    if (r == 0)
        r = make_dir(fs, &dir, &n, fuse_req_ctx(req), mode);
    if (r == 0) {
        node_find(fs->st, &n);
        node_find(fs->st, &dir); /* the way to it is real now */
        attr_changed(fs, &dir);
        r = attr_entry(fs, &n, tree_exists(fs->st, &n), &e);
    }
    if (r < 0)
        fuse_reply_err(req, -r);
    else if (fuse_reply_entry(req, &e) < 0)
        nodes_forget(fs->nodes, n.id, 1);
}

/* The kernel has judged by the owner of the name that it last heard of. */
bool dir_is_stuck(struct fs *fs, const struct node *dir, const struct node *n, uid_t uid)
{
    struct evs_owner above, own;

    attr_owner(fs, dir, &above);
    attr_owner(fs, n, &own);
    return (above.mode & S_ISVTX) && uid != 0 && uid != above.uid && uid != own.uid;
}

/* RMDIR: takes the owner back. ENOTEMPTY with events or owners below; EPERM for fixed names, for what is only a
 * name, where there is nothing to take, and for who may not in a sticky directory. */
void op_rmdir(fuse_req_t req, fuse_ino_t parent, const char *name)
{
    struct fs *fs = fs_of(req);
    struct node_names nm;
    struct node dir, n;
    int r = nodes_resolve(fs->nodes, parent, &dir);

    if (r == 0)
        r = tree_child(fs->st, &dir, name, &n);
    if (r == 0 && n.kind != NODE_ENTITY && n.kind != NODE_TYPE)
        r = -EPERM;
    if (r == 0 && !attr_may(fs, &dir, req, 3))
        r = -EACCES;
    if (r == 0) {
        node_names(fs->st, &n, &nm);
        struct evs_dir d = tree_dir(&n, &nm);
        pthread_mutex_lock(&fs->owners_lock);
        r = dir_is_stuck(fs, &dir, &n, fuse_req_ctx(req)->uid) ? -EPERM
                                                               : evs_clear_owner(fs->st, &d, NULL);
        pthread_mutex_unlock(&fs->owners_lock);
        if (r == -ENOENT)
            r = -EPERM;
    }
    if (r == 0)
        attr_changed(fs, &dir);
    fuse_reply_err(req, -r);
}
