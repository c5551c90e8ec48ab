/* SPDX-License-Identifier: MIT */
/* pinned.json: a document that is written as any small file. (1) An open file has the bytes for itself; what it
 * has written is checked, and pinned, at each close(2) of a descriptor of it, and by fsync(2), in the pool: those
 * return what is wrong. A shell does not show that, so it stands in pinned.error as well. (2) Opened with O_TRUNC,
 * and not written to, it is checked at the last close only: shells close descriptors before the program writes.
 * (3) Where it was opened and nothing was written, nothing happens. */
#include "fs/fs.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>

int pin_open(struct fs *fs, const struct node *n, uid_t uid, struct fuse_file_info *fi)
{
    struct node_names nm;
    struct open_file *f;
    char *text = NULL;
    size_t bytes = 0;
    int r = file_new(fs, n, uid, &f);

    if (r < 0)
        return r;
    node_names(fs->st, n, &nm);
    struct evs_dir d = tree_dir(n, &nm);
    if (!(fi->flags & O_TRUNC) && (r = evs_pin_text(fs->st, &d, &text, &bytes, NULL)) == -ENOENT)
        r = 0; /* its bytes are still to come */
    if (r == 0)
        r = edit_new(text, bytes, EVS_SCHEMA_BYTES + 1, &fs->doc_quota, &fs->files_lock, uid,
                     &f->edit);
    if (r < 0) {
        file_free(f);
        return r;
    }
    if (!(fi->flags & O_TRUNC))
        f->edit->cut = false;
    f->node = *n;
    fi->fh = (uintptr_t)f;
    fi->direct_io = 1;
    return 0;
}

static int pin_text(void *arg, const char *text, size_t n)
{
    struct open_file *f = arg;
    struct evs_cred cred = {.uid = f->uid};
    struct node_names nm;
    struct evs_error err;

    node_names(f->fs->st, &f->node, &nm);
    struct evs_dir d = tree_dir(&f->node, &nm);
    int r = evs_pin_set(f->fs->st, &d, text, n, &cred, &err);
    if (r < 0)
        fs_log_error("pinned.json", &err);
    return r;
}

struct check_task {
    struct pool_task task;
    fuse_req_t req;
    struct open_file *file;
    bool last; /* RELEASE: the file goes */
};

static void check(struct pool_task *task)
{
    struct check_task *t = (struct check_task *)task;
    int r = edit_check(t->file->edit, t->last, pin_text, t->file);

    if (t->last)
        file_free(t->file);
    fuse_reply_err(t->req, t->last ? 0 : -r);
    free(t);
}

void pin_check(fuse_req_t req, struct open_file *f, bool last)
{
    struct check_task *t = malloc(sizeof *t);

    if (!t) {
        if (last)
            file_free(f);
        fuse_reply_err(req, last ? 0 : ENOMEM);
        return;
    }
    *t = (struct check_task){.task = {.fn = check}, .req = req, .file = f, .last = last};
    pool_submit(f->fs->pool, &t->task);
}

/* UNLINK: of pinned.json unpins, of its error forgets that; EPERM for all else, and for who may not in a sticky
 * directory; EACCES; errors of the disk. */
void op_unlink(fuse_req_t req, fuse_ino_t parent, const char *name)
{
    struct fs *fs = fs_of(req);
    struct evs_error err = {.why = EVS_OK_};
    struct node_names nm;
    struct node dir, n;
    int r = nodes_resolve(fs->nodes, parent, &dir);

    if (r == 0 && (tree_child(fs->st, &dir, name, &n) < 0 || !node_traits(n.kind)->fleeting))
        r = -EPERM;
    if (r == 0 && !attr_may(fs, &dir, req, 3))
        r = -EACCES;
    if (r == 0 && dir_is_stuck(fs, &dir, &n, fuse_req_ctx(req)->uid))
        r = -EPERM;
    if (r == 0) {
        node_names(fs->st, &n, &nm);
        struct evs_dir d = tree_dir(&n, &nm);
        r = node_traits(n.kind)->text ? evs_pin_clear(fs->st, &d, &err)
                                      : evs_pin_forget(fs->st, &d, &err);
        if (r < 0)
            fs_log_error("rm pinned.json", &err);
    }
    fuse_reply_err(req, -r);
}
