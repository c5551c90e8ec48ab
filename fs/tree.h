/* SPDX-License-Identifier: MIT */
/* tree: the grammar of the mount: what a name in a directory is, whether it is there, and what a directory
 * lists. Knows no FUSE. */
#ifndef FS_TREE_H
#define FS_TREE_H

#include "fs/node.h"

#define TREE_NAME_BYTES 256 /* a file name with its NUL */

/* What name is in directory parent, whether it exists or not; ret->id is 0. Fails with
 *   -EINVAL        no entity or type is written so: not the canonical encoding;
 *   -EPERM         a name that the tree keeps for itself, or a directory that holds fixed names only;
 *   -ENAMETOOLONG  the name, or the id that it would make. */
int tree_child(struct evs_store *st, const struct node *parent, const char *name, struct node *ret);

/* Is there such a thing: a directory with events or an owner, a view with events, a document with content?
 * Fixed names are always. */
bool tree_exists(struct evs_store *st, const struct node *n);

/* Does a look-up find it? A directory does not have to exist, unless strict. */
bool tree_answers(struct evs_store *st, const struct node *n, bool strict);

/* The directory that n is or lies in, as the store's owners name it, in terms of nm, which node_names() has
 * filled. */
struct evs_dir tree_dir(const struct node *n, const struct node_names *nm);

/* The view of a numbered node whose kind has one. */
struct evs_view tree_view(const struct node *n);

/* The path from the root of the mount, with a leading '/', into buf. */
#define TREE_PATH_BYTES (EVS_PATH_MAX + 2 * TREE_NAME_BYTES)
void tree_path(struct evs_store *st, const struct node *n, char buf[TREE_PATH_BYTES]);

/* A directory's entries but '.' and '..': those that exist, files first, then directories in order of first
 * appearance. A cookie stands for the place behind an entry, for as long as the store is open. */
struct tree_list {
    struct evs_store *st;
    const struct node *dir;
    uint64_t dir_hash; /* of its name and a '/': names of children go on from it */
    evs_type *types;   /* owned; of the entity's own events; NULL until needed */
    size_t types_n;
    uint32_t versions; /* of the type's schema; 0 until needed */
};
struct tree_entry {
    char name[TREE_NAME_BYTES];
    enum node_kind kind;
    evs_entity entity;
    evs_type type;
    uint64_t ino;    /* st_ino */
    uint64_t cookie; /* behind it */
};
#define TREE_FIRST_COOKIE 2 /* before the first entry: '.' and '..' are the caller's 1 and 2 */

/* st and dir are borrowed until tree_list_done(). */
void tree_list_init(struct tree_list *l, struct evs_store *st, const struct node *dir);
/* The entry behind cookie. 1, or 0 at the end, or -ENOMEM. */
int tree_list_next(struct tree_list *l, uint64_t cookie, struct tree_entry *ret);
void tree_list_done(struct tree_list *l);

/* The directory that n lies in; the root is its own. */
void tree_parent(struct evs_store *st, const struct node *n, struct node *ret);

#endif
