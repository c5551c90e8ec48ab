/* SPDX-License-Identifier: MIT */
/* What a store of events can't do. Events are not renamed, linked or cut: EPERM, the answer that
 * every tool prints. Where the kernel asks once and remembers, ENOSYS. Left out altogether are lseek and
 * copy_file_range (the kernel does them itself), locks (they are the kernel's, on this machine), bmap. */
#include "fs/fs.h"

#include <errno.h>

static void refuse_mknod(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode,
                         dev_t dev)
{
    (void)parent;
    (void)name;
    (void)mode;
    (void)dev;
    fuse_reply_err(req, EPERM);
}

static void refuse_symlink(fuse_req_t req, const char *target, fuse_ino_t parent, const char *name)
{
    (void)target;
    (void)parent;
    (void)name;
    fuse_reply_err(req, EPERM);
}

static void refuse_rename(fuse_req_t req, fuse_ino_t parent, const char *name, fuse_ino_t to,
                          const char *to_name, unsigned flags)
{
    (void)parent;
    (void)name;
    (void)to;
    (void)to_name;
    (void)flags;
    fuse_reply_err(req, EPERM);
}

static void refuse_link(fuse_req_t req, fuse_ino_t ino, fuse_ino_t to, const char *to_name)
{
    (void)ino;
    (void)to;
    (void)to_name;
    fuse_reply_err(req, EPERM);
}

static void refuse_setxattr(fuse_req_t req, fuse_ino_t ino, const char *name, const char *value,
                            size_t n, int flags)
{
    (void)ino;
    (void)name;
    (void)value;
    (void)n;
    (void)flags;
    fuse_reply_err(req, EPERM);
}

static void refuse_removexattr(fuse_req_t req, fuse_ino_t ino, const char *name)
{
    (void)ino;
    (void)name;
    fuse_reply_err(req, EPERM);
}

static void no_getxattr(fuse_req_t req, fuse_ino_t ino, const char *name, size_t n)
{
    (void)ino;
    (void)name;
    (void)n;
    fuse_reply_err(req, ENOSYS); /* the kernel does not ask again */
}

static void no_listxattr(fuse_req_t req, fuse_ino_t ino, size_t n)
{
    (void)ino;
    (void)n;
    fuse_reply_err(req, ENOSYS);
}

static void refuse_fallocate(fuse_req_t req, fuse_ino_t ino, int mode, off_t off, off_t n,
                             struct fuse_file_info *fi)
{
    (void)ino;
    (void)mode;
    (void)off;
    (void)n;
    (void)fi;
    fuse_reply_err(req, EPERM);
}

static void no_ioctl(fuse_req_t req, fuse_ino_t ino, unsigned cmd, void *arg,
                     struct fuse_file_info *fi, unsigned flags, const void *in, size_t in_n,
                     size_t out_n)
{
    (void)ino;
    (void)cmd;
    (void)arg;
    (void)fi;
    (void)flags;
    (void)in;
    (void)in_n;
    (void)out_n;
    fuse_reply_err(req, ENOTTY);
}

void ops_refuse(struct fuse_lowlevel_ops *ops)
{
    ops->mknod = refuse_mknod;
    ops->symlink = refuse_symlink;
    ops->rename = refuse_rename;
    ops->link = refuse_link;
    ops->setxattr = refuse_setxattr;
    ops->removexattr = refuse_removexattr;
    ops->getxattr = no_getxattr;
    ops->listxattr = no_listxattr;
    ops->fallocate = refuse_fallocate;
    ops->ioctl = no_ioctl;
}
