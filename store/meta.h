/* SPDX-License-Identifier: MIT */
/* meta: meta.db (SQLite, WAL): what can't be had from the log. Each row has a CRC32C over its other
 * columns; a row that fails it is DAMAGED. Own lock inside; never called under commit. ":memory:" works. */
#ifndef STORE_META_H
#define STORE_META_H

#include "error.h"
#include "util.h"

struct meta;

/* Open or create below the directory path (NULL: in memory). read_only: no byte changes, and where there
 * is no meta.db it is as if empty. */
int meta_open(const char *dir, bool read_only, struct meta **ret, struct evs_error *err);
void meta_close(struct meta *m); /* NULL is fine */

/* Settings: small integers by name. -ENOENT if absent. Durable on return. */
int meta_get_int(struct meta *m, const char *name, int64_t *ret, struct evs_error *err);
int meta_set_int(struct meta *m, const char *name, int64_t value, struct evs_error *err);

/* Owners of directories. Durable on return. each: in any order; a non-zero result of fn stops and is
 * returned; fn must not call meta. */
typedef int meta_owner_fn(void *arg, enum evs_dir_kind kind, struct slice name,
                          const struct evs_owner *o);
int meta_set_owner(struct meta *m, const struct evs_dir *d, const struct evs_owner *o,
                   struct evs_error *err);
int meta_clear_owner(struct meta *m, const struct evs_dir *d, struct evs_error *err);
int meta_each_owner(struct meta *m, meta_owner_fn *fn, void *arg, struct evs_error *err);

/* Pinned schemas. Durable on return. each: in order of kind and name; a non-zero result of fn stops and is
 * returned; fn must not call meta. */
struct meta_pin {
    enum evs_dir_kind kind;
    struct slice name;
    uid_t uid;       /* who pinned it */
    int64_t time_us; /* when */
    struct slice schema;
};
typedef int meta_pin_fn(void *arg, const struct meta_pin *p);
int meta_set_pin(struct meta *m, const struct meta_pin *p, struct evs_error *err);
int meta_clear_pin(struct meta *m, const struct evs_dir *d, struct evs_error *err); /* NO_SUCH */
int meta_each_pin(struct meta *m, meta_pin_fn *fn, void *arg, struct evs_error *err);

/* Are all rows there, and right? DAMAGED if not. What is read is to be believed only after this. */
int meta_check(struct meta *m, struct evs_error *err);

/* A copy of dir's meta.db, which another process may have open and write to, as it is at one moment: path, where no
 * file is or an empty one. -ENOENT where dir has none. Not synced. */
int meta_copy(const char *dir, const char *path, struct evs_error *err);

/* Check every row and SQLite's own integrity_check; the number of findings. */
int meta_verify(struct meta *m, evs_report_fn *report, void *arg, struct evs_error *err);

/* Into to, which is new: the rows of the database at path that are whole. path is a copy: it is written to. What
 * is gone is reported. */
struct meta_mended {
    uint64_t kept, gone; /* rows */
    bool unread;         /* and more may be gone */
};
int meta_mend(const char *path, struct meta *to, struct meta_mended *ret, evs_report_fn *report,
              void *arg, struct evs_error *err);

#endif
