/* SPDX-License-Identifier: MIT */
/* lease: which nodes' attributes the kernel holds, and which open files wait to be told of growth. A commit
 * that changes one of them tells the kernel: attributes first, then the waiters. Knows no FUSE: the two
 * ways to tell are functions. */
#ifndef FS_LEASE_H
#define FS_LEASE_H

#include "fs/node.h"

#include <pthread.h>

struct leases;

/* Called without a lock. handle is what lease_wait() got; wake owns it from then on. */
struct lease_ops {
    void (*invalidate)(void *arg, uint64_t id); /* the kernel's attributes of node id are void */
    void (*wake)(void *arg, void *handle);
    void (*drop)(void *arg, void *handle); /* not needed any more: free it, tell nobody */
    void *arg;
};

/* nodes resolves waiters of names that are not real yet. Both are borrowed for its life. NULL: no memory. */
struct leases *lease_new(struct evs_store *st, struct nodes *nodes, const struct lease_ops *ops);
void lease_free(struct leases *l); /* after the last request; NULL is fine */

/* What this thread appends from now on was written to node id, by a request that the kernel waits for; 0: nothing. */
void lease_writing(uint64_t id);

/* What evs_on_change() takes, arg being the leases. */
void lease_on_change(void *arg, const struct evs_change *changes, size_t n);

/* The kernel is going to hold the attributes of n, which is numbered: note it and mark the store. Call it
 * before looking at what is to be told. -ENOMEM: no lease, reply with timeout 0. */
int lease_grant(struct leases *l, const struct node *n);
/* What was told: the bytes of a view, the time of a directory. A change that leaves it so keeps the lease. */
void lease_told(struct leases *l, const struct node *n, uint64_t version);
/* The caller has seen a version and is going to show it some other way: where the kernel was told another
 * one, invalidate first. */
void lease_check(struct leases *l, const struct node *n, uint64_t version);
/* The kernel forgot n. It is told to drop the attributes all the same: it may have the node again. */
void lease_drop(struct leases *l, const struct node *n);
/* Owner or mode of directory dir changed: void are all leases at and below it and of the views above. */
void lease_break_dir(struct leases *l, const struct node *dir);

/* What of n's attributes would be the version of lease_told(). */
uint64_t lease_version(struct evs_store *st, const struct node *n);

/* One open file that waits. Its owner keeps the memory and zeroes it first; all else is the leases'. */
struct waiter {
    struct waiter *next, **prev; /* in its subject's list; prev NULL: not waiting */
    uint64_t subject;
    struct evs_view view;
    uint64_t id;   /* of a node that is not numbered, else 0 */
    uint64_t seen; /* bytes; more than that wakes */
    void *handle;
};

/* Wait with handle (which replaces an earlier one) until the view has more than seen bytes. n may be not
 * numbered. Look at the extent after it. -ENOMEM: handle was dropped. */
int lease_wait(struct leases *l, struct waiter *w, const struct node *n, uint64_t seen,
               void *handle);
/* End of waiting, if it still does. Afterwards nobody touches w. */
void lease_unwait(struct leases *l, struct waiter *w);
/* Is it waiting, that is, was it not woken since lease_wait()? */
bool lease_waits(struct leases *l, struct waiter *w);

size_t lease_count(struct leases *l);

#endif
