/* SPDX-License-Identifier: MIT */
/* fs: what the operations share: the mounted store, open files, and how they reply. Only mount.c, attr.c,
 * file.c and ops_*.c include it. */
#ifndef FS_FS_H
#define FS_FS_H

#define FUSE_USE_VERSION 314

#include "fs/docs.h"
#include "fs/edit.h"
#include "fs/lease.h"
#include "fs/node.h"
#include "fs/pool.h"
#include "fs/quota.h"
#include "fs/settle.h"
#include "fs/tree.h"

#include <fuse_lowlevel.h>
#include <pthread.h>

#define FS_LONG_S      86400.0    /* what only a notification ends */
#define FS_WRITE_BYTES (1u << 20) /* one request; more is slower, and fatal with libfuse 3.14 */

/* fsync(2) and synchronous writes that wait for one evs_sync(). */
struct sync_queue {
    pthread_mutex_t lock;
    struct sync_wait *first; /* under lock */
    bool running;            /* under lock: the task is in the pool */
    struct pool_task task;
};

struct open_file;
struct fs {
    struct evs_store *st;
    struct fuse_session *se; /* NULL until there is one */
    struct nodes *nodes;
    struct leases *leases;
    struct settle settle;
    pthread_rwlock_t
        settling; /* held while a lease is granted, and for writing where owners have changed */
    struct pool *pool, *sync_pool; /* a pool of one: no sync waits behind states and documents */
    struct sync_queue syncs;
    bool strict, sync, read_only, rings; /* const while mounted */
    uid_t owner;                         /* of the mount */
    int64_t start_us;                    /* the time of what has no event */
    pthread_mutex_t owners_lock;         /* of changes: from reading an owner to setting it */
    pthread_mutex_t files_lock;
    struct open_file *files;            /* under files_lock */
    size_t files_n;                     /* under files_lock */
    struct quota file_quota, doc_quota; /* under files_lock */
};

/* One line to stderr, or to syslog for a daemon. level: syslog's. */
void fs_log(int level, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* An error of the store that an operator must see; what is the writer's own mistake is not logged. */
void fs_log_error(const char *doing, const struct evs_error *err);

static inline struct fs *fs_of(fuse_req_t req)
{
    return fuse_req_userdata(req);
}

/* ---- attributes (attr.c) ---- */

void attr_owner(struct fs *fs, const struct node *n, struct evs_owner *ret);
/* Everything but a computed size, which is 0; *ret_version (may be NULL) is what lease_told() wants. -EIO where
 * the disk does not say. */
int attr_fill(struct fs *fs, const struct node *n, struct stat *ret, uint64_t *ret_version);
/* Reply material for a look-up; takes one reference to n's name. -ENOMEM. */
int attr_entry(struct fs *fs, struct node *n, bool real, struct fuse_entry_param *ret);

/* Whose request it is; valid as long as the request. */
struct evs_cred attr_cred(fuse_req_t req);
/* May the caller do this (4 read, 2 write, 1 search) with n as it is now? The kernel has judged as well, but
 * perhaps by what was (settle.c), and by bits that can't say of which groups a file's owner is. By uid, gid and
 * groups alone: capabilities without uid 0 are nothing here. */
bool attr_may(struct fs *fs, const struct node *n, fuse_req_t req, mode_t want);
/* Grant a lease of numbered node n for a GETATTR that is going to look. False: nothing of the reply is kept. */
bool attr_lease(struct fs *fs, const struct node *n);
/* Owner or mode of directory dir has changed: when this returns the kernel knows of no attribute from before. */
void attr_changed(struct fs *fs, const struct node *dir);

/* ---- open files (file.c) ---- */

struct open_file {
    struct open_file *next, **prev; /* under fs->files_lock */
    struct fs *fs;
    uint64_t id; /* the node */
    enum node_kind kind;
    struct evs_writer *writer; /* NULL: not open for writing */
    bool reader;               /* open for reading */
    bool level;                /* O_NONBLOCK: readable while anything is unread */
    uid_t uid;                 /* who opened it: on his account it is */
    char *doc;                 /* the snapshot of a document: file_set_doc() */
    size_t doc_n;
    struct edit *edit; /* owned; of a text that is open for writing; else NULL */
    struct node node;  /* with an edit: what it is of */

    pthread_mutex_t reading;   /* of cursor; held while it reads */
    struct evs_cursor *cursor; /* for sequential reads; NULL until the first */

    pthread_mutex_t lock; /* of what follows; the leases' locks come after it */
    struct evs_view view; /* once viewed */
    bool viewed;          /* the node was numbered when we last looked, and then for good */
    uint64_t seen;        /* bytes of the view at the last READ or POLLIN */
    uint64_t pos;         /* end of the last READ */
    bool armed, again;    /* see ops_poll.c */
    struct waiter waiter;
};

/* What docs_make() wants to know of the mount. */
struct docs_reader file_reader(struct fs *fs, uid_t uid);
/* -ENFILE where uid has his part of all open files, -ENOMEM. */
int file_new(struct fs *fs, const struct node *n, uid_t uid, struct open_file **ret_f);
void file_free(struct open_file *f); /* NULL is fine */
/* The file takes a malloc'ed document over. -ENOBUFS where uid has his part of all that are open: it is freed. */
int file_set_doc(struct open_file *f, char *doc, size_t n);
/* *n becomes the node. 1 if f->view is known by now, 0 if not, -ESTALE. Under f->lock. */
int file_view(struct open_file *f, struct node *n);

static inline struct open_file *file_of(const struct fuse_file_info *fi)
{
    return (struct open_file *)(uintptr_t)fi->fh; /* NOLINT: what libfuse keeps for us */
}

/* ---- operations (ops_*.c) ---- */

void op_lookup(fuse_req_t req, fuse_ino_t parent, const char *name);
void op_forget(fuse_req_t req, fuse_ino_t ino, uint64_t count);
void op_forget_multi(fuse_req_t req, size_t count, struct fuse_forget_data *forgets);
void op_getattr(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi);
void op_setattr(fuse_req_t req, fuse_ino_t ino, struct stat *attr, int to_set,
                struct fuse_file_info *fi);
void op_statfs(fuse_req_t req, fuse_ino_t ino);

void op_readdir(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off, struct fuse_file_info *fi);
void op_readdirplus(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off,
                    struct fuse_file_info *fi);
void op_mkdir(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode);
void op_rmdir(fuse_req_t req, fuse_ino_t parent, const char *name);

void op_open(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi);
void op_create(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode,
               struct fuse_file_info *fi);
void op_release(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi);
void op_read(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off, struct fuse_file_info *fi);
void op_write(fuse_req_t req, fuse_ino_t ino, const char *buf, size_t size, off_t off,
              struct fuse_file_info *fi);
void op_flush(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi);
void op_fsync(fuse_req_t req, fuse_ino_t ino, int datasync, struct fuse_file_info *fi);
void op_fsyncdir(fuse_req_t req, fuse_ino_t ino, int datasync, struct fuse_file_info *fi);
void op_poll(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi, struct fuse_pollhandle *ph);

/* ---- pinned.json (ops_pin.c) ---- */

/* Open node n, a text, for writing. -ENFILE, -ENOBUFS, -ENOMEM. */
int pin_open(struct fs *fs, const struct node *n, uid_t uid, struct fuse_file_info *fi);
/* Reply once what was written is checked. last: it is a RELEASE. */
void pin_check(fuse_req_t req, struct open_file *f, bool last);
void op_unlink(fuse_req_t req, fuse_ino_t parent, const char *name);

/* In a sticky directory only its owner, the name's and root take a name away (ops_dir.c). */
bool dir_is_stuck(struct fs *fs, const struct node *dir, const struct node *n, uid_t uid);

/* What can't be done here: ops_refuse.c. */
void ops_refuse(struct fuse_lowlevel_ops *ops);

#endif
