/* SPDX-License-Identifier: MIT */
/* docs: the documents that the mount computes: README, state.json and .evfs/. */
#ifndef FS_DOCS_H
#define FS_DOCS_H

#include "fs/node.h"

/* Who reads what of which store. */
struct docs_reader {
    struct evs_store *st;
    uid_t uid;
    bool rings;                    /* requests come by io_uring */
    bool sees_all;                 /* of rejected.jsonl: root and the mount's owner */
    uint64_t names, leases, files; /* of the mount, for the statistics */
};

/* The content of a document node; malloc'ed, the caller's, never NULL on success. A negative errno: -ENOENT
 * for the state of what has no events. May be slow. */
int docs_make(const struct docs_reader *r, const struct node *n, char **ret, size_t *ret_n);
/* The size of README, which never changes. */
size_t docs_readme_bytes(void);

#endif
