/* SPDX-License-Identifier: MIT */
/* Open files. (1) All of them are in fs->files, so that an unmount with files open can end their writers
 * before the store is closed. (2) Nobody uses an open file after its RELEASE but the list. (3) A view is
 * found once and stays: numbers never change their meaning. */
#include "fs/fs.h"

#include <errno.h>
#include <stdlib.h>

int file_new(struct fs *fs, const struct node *n, uid_t uid, struct open_file **ret_f)
{
    struct open_file *f = calloc(1, sizeof *f);

    if (!f)
        return -ENOMEM;
    pthread_mutex_lock(&fs->files_lock);
    bool ok = quota_take(&fs->file_quota, uid, 1);
    pthread_mutex_unlock(&fs->files_lock);
    if (!ok) {
        free(f);
        return -ENFILE;
    }
    f->fs = fs;
    f->uid = uid;
    f->id = n->id;
    f->kind = n->kind;
    pthread_mutex_init(&f->lock, NULL);
    pthread_mutex_init(&f->reading, NULL);
    if (node_traits(n->kind)->view && node_numbered(n)) {
        f->view = tree_view(n);
        f->viewed = true;
    }
    pthread_mutex_lock(&fs->files_lock);
    f->next = fs->files;
    if (f->next)
        f->next->prev = &f->next;
    f->prev = &fs->files;
    fs->files = f;
    fs->files_n++;
    pthread_mutex_unlock(&fs->files_lock);
    *ret_f = f;
    return 0;
}

int file_set_doc(struct open_file *f, char *doc, size_t n)
{
    pthread_mutex_lock(&f->fs->files_lock);
    bool ok = quota_take(&f->fs->doc_quota, f->uid, n);
    pthread_mutex_unlock(&f->fs->files_lock);
    if (!ok) {
        free(doc);
        return -ENOBUFS;
    }
    f->doc = doc;
    f->doc_n = n;
    return 0;
}

void file_free(struct open_file *f)
{
    if (!f)
        return;
    /* A READ replies before it lets go of the cursor, and RELEASE can overtake it then. */
    pthread_mutex_lock(&f->reading);
    pthread_mutex_unlock(&f->reading);
    pthread_mutex_lock(&f->fs->files_lock);
    f->fs->files_n--;
    quota_give(&f->fs->file_quota, f->uid, 1);
    quota_give(&f->fs->doc_quota, f->uid, f->doc ? f->doc_n : 0);
    *f->prev = f->next;
    if (f->next)
        f->next->prev = f->prev;
    pthread_mutex_unlock(&f->fs->files_lock);
    lease_unwait(f->fs->leases, &f->waiter);
    evs_cursor_free(f->cursor);
    evs_writer_free(f->writer);
    free(f->doc);
    edit_free(f->edit);
    pthread_mutex_destroy(&f->reading);
    pthread_mutex_destroy(&f->lock);
    free(f);
}

struct docs_reader file_reader(struct fs *fs, uid_t uid)
{
    struct docs_reader r = {.st = fs->st,
                            .rings = fs->rings,
                            .uid = uid,
                            .sees_all = uid == 0 || uid == fs->owner,
                            .names = nodes_count(fs->nodes),
                            .leases = lease_count(fs->leases)};

    pthread_mutex_lock(&fs->files_lock);
    r.files = fs->files_n;
    pthread_mutex_unlock(&fs->files_lock);
    return r;
}

int file_view(struct open_file *f, struct node *n)
{
    int r = nodes_resolve(f->fs->nodes, f->id, n);

    if (r < 0)
        return r;
    if (!f->viewed && node_numbered(n)) {
        f->view = tree_view(n);
        f->viewed = true;
    }
    return f->viewed;
}
