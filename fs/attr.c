/* SPDX-License-Identifier: MIT */
/* Attributes. (1) A file has its directory's owner, group and mode without the x bits; what shows events
 * from below a border loses read bits (evs_border_mask). (2) mtime, ctime and atime are one time: a file's
 * is its newest event's, a directory's that of the first event of its newest entry; without events, that of
 * the mount. (3) Nobody but chmod of a directory changes anything here. */
#include "fs/fs.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define BLOCK_BYTES 4096

static void owner_of(struct fs *fs, const struct node *n, const struct node_names *nm,
                     struct evs_owner *ret)
{
    struct evs_dir dir = tree_dir(n, nm);

    if (dir.kind == EVS_DIR_ENTITY && n->entity)
        evs_entity_owner(fs->st, n->entity, ret, NULL);
    else
        evs_get_owner(fs->st, &dir, ret, NULL);
}

void attr_owner(struct fs *fs, const struct node *n, struct evs_owner *ret)
{
    struct node_names nm;

    node_names(fs->st, n, &nm);
    owner_of(fs, n, &nm, ret);
}

static int groups_of(void *arg, gid_t *ret, int cap)
{
    int n = fuse_req_getgroups(arg, cap, ret);

    return n < 0 ? 0 : n < cap ? n : cap;
}

struct evs_cred attr_cred(fuse_req_t req)
{
    const struct fuse_ctx *ctx = fuse_req_ctx(req);

    return (struct evs_cred){
        .uid = ctx->uid, .gid = ctx->gid, .pid = ctx->pid, .groups = groups_of, .groups_arg = req};
}

/* Does it show what lies below borders? A type's events may lie below any. */
static bool shows_below(const struct node *n)
{
    return n->kind == NODE_ALL || n->kind == NODE_BELOW || n->kind == NODE_TYPE_EVENTS ||
           node_traits(n->kind)->learned;
}

/* Which read bits do the borders below leave to a file? */
static mode_t border(struct fs *fs, const struct node *n, const struct node_names *nm)
{
    struct evs_dir dir = tree_dir(n, nm);

    return shows_below(n) ? evs_border_mask(fs->st, &dir) : 0444;
}

bool attr_may(struct fs *fs, const struct node *n, fuse_req_t req, mode_t want)
{
    struct evs_cred cred = attr_cred(req);
    struct node_names nm;
    struct evs_owner owner;

    if (cred.uid == 0 || (node_traits(n->kind)->document && !node_traits(n->kind)->own))
        return true; /* documents are everybody's to read; what they show is another question */
    node_names(fs->st, n, &nm);
    owner_of(fs, n, &nm, &owner);
    if ((evs_rights(&owner, &cred) & want) != want)
        return false;
    if (!(want & 4) || !shows_below(n))
        return true;
    struct evs_dir dir = tree_dir(n, &nm);
    return cred.uid == owner.uid ? evs_may_read(fs->st, &dir, &cred)
                                 : evs_border_mask(fs->st, &dir) == 0444;
}

bool attr_lease(struct fs *fs, const struct node *n)
{
    struct timespec now;

    (void)clock_gettime(CLOCK_MONOTONIC_COARSE, &now);
    uint64_t ms = (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
    (void)pthread_rwlock_rdlock(&fs->settling);
    bool leased = settle_may_lease(&fs->settle, n->id, ms) && lease_grant(fs->leases, n) == 0;
    (void)pthread_rwlock_unlock(&fs->settling);
    return leased;
}

/* What was leased before is void; what is leased from now on was settled after the change. */
void attr_changed(struct fs *fs, const struct node *dir)
{
    (void)pthread_rwlock_wrlock(&fs->settling);
    settle_change(&fs->settle);
    (void)pthread_rwlock_unlock(&fs->settling);
    lease_break_dir(fs->leases, dir);
}

static mode_t mode_of(struct fs *fs, const struct node *n, const struct node_names *nm,
                      mode_t dir_mode)
{
    const struct node_traits *t = node_traits(n->kind);

    if (n->kind == NODE_DOT)
        return S_IFDIR | 0555;
    if (n->kind == NODE_SCHEMAS)
        return S_IFDIR | (dir_mode & 0555);
    if (t->dir)
        return S_IFDIR | (dir_mode & 07777);
    if (t->document && !t->own) /* rejected.jsonl shows each reader its own */
        return S_IFREG | 0444;
    mode_t write = t->document && !t->text ? 0 : dir_mode & 0222;
    return S_IFREG | write | (dir_mode & 0444 & border(fs, n, nm));
}

static void measure_pin(struct fs *fs, const struct node *n, int64_t *ret_us, uint64_t *ret_bytes)
{
    struct node_names nm;
    struct evs_pin p;
    char *text = NULL;
    size_t bytes = 0;

    node_names(fs->st, n, &nm);
    struct evs_dir d = tree_dir(n, &nm);
    evs_pin_stat(fs->st, &d, &p);
    if (!node_traits(n->kind)->text) {
        (void)evs_pin_refusal(fs->st, &d, &text, &bytes,
                              NULL); /* else it is gone, and has no bytes */
        free(text);
    }
    *ret_us = node_traits(n->kind)->text ? p.time_us : p.refusal_us;
    *ret_bytes = node_traits(n->kind)->text ? p.bytes : bytes;
}

/* Time and size, and the lease's version, as lease_version() counts it. Outputs are 0 at first. */
static int measure(struct fs *fs, const struct node *n, int64_t *ret_us, uint64_t *ret_bytes,
                   uint64_t *ret_version)
{
    struct evs_view v = {.kind = EVS_ALL};
    struct evs_extent x = {0};

    int r = 0;

    if (node_traits(n->kind)->fleeting)
        measure_pin(fs, n, ret_us, ret_bytes);
    if (node_traits(n->kind)->fleeting || !node_numbered(n))
        return 0;
    if (n->kind == NODE_ENTITY || n->kind == NODE_ENTITIES) {
        *ret_us = evs_directory_time(fs->st, n->entity);
        *ret_version = (uint64_t)*ret_us;
        return 0;
    }
    if (node_traits(n->kind)->view)
        v = tree_view(n);
    else if (n->kind == NODE_STATE)
        v = (struct evs_view){.kind = EVS_OWN, .entity = n->entity};
    else if (node_traits(n->kind)->type || n->kind == NODE_TYPES)
        v = (struct evs_view){.kind = EVS_TYPE, .type = n->type ? n->type : evs_type_count(fs->st)};
    if (v.kind == EVS_TYPE && v.type == 0)
        return 0;
    if (n->kind != NODE_README)
        r = evs_view_extent(fs->st, &v, &x);
    if (r < 0 && r != -ENOENT) /* ENOENT: no event yet */
        return r;
    *ret_us = node_traits(n->kind)->dir ? x.first_us : x.last_us;
    if (node_traits(n->kind)->view)
        *ret_bytes = x.bytes;
    *ret_version = n->kind == NODE_TYPES  ? v.type
                   : n->kind == NODE_ROOT ? (uint64_t)x.first_us
                                          : x.bytes;
    return 0;
}

int attr_fill(struct fs *fs, const struct node *n, struct stat *ret, uint64_t *ret_version)
{
    struct node_names nm;
    struct evs_owner owner;
    int64_t us = 0;
    uint64_t bytes = n->kind == NODE_README ? docs_readme_bytes() : 0, version = 0;
    int r = measure(fs, n, &us, &bytes, &version);

    if (r < 0)
        return r;
    node_names(fs->st, n, &nm);
    owner_of(fs, n, &nm, &owner);
    if (us == 0)
        us = fs->start_us;
    *ret = (struct stat){
        .st_ino = node_st_ino(fs->st, n),
        .st_mode = mode_of(fs, n, &nm, owner.mode),
        .st_nlink = 1,
        .st_uid = owner.uid,
        .st_gid = owner.gid,
        .st_size = (off_t)bytes,
        .st_blocks = (blkcnt_t)((bytes + 511) / 512),
        .st_blksize = BLOCK_BYTES,
        .st_mtim = {.tv_sec = us / 1000000, .tv_nsec = us % 1000000 * 1000},
    };
    ret->st_atim = ret->st_ctim = ret->st_mtim;
    if (ret_version)
        *ret_version = version;
    return 0;
}

/* The kernel may keep the name of what is real, but no attributes: only GETATTR leases them, since no
 * notification reaches an inode that the kernel doesn't have yet. */
int attr_entry(struct fs *fs, struct node *n, bool real, struct fuse_entry_param *ret)
{
    int r = nodes_ref(fs->nodes, n);

    if (r < 0)
        return r;
    *ret = (struct fuse_entry_param){.ino = n->id,
                                     .attr_timeout = 0,
                                     .entry_timeout =
                                         real && !node_traits(n->kind)->fleeting ? FS_LONG_S : 0};
    r = attr_fill(fs, n, &ret->attr, NULL);
    if (r < 0)
        nodes_forget(fs->nodes, n->id, 1);
    return r;
}
