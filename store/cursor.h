/* SPDX-License-Identifier: MIT */
/* cursor: reads a view as bytes, from any byte, checking every line that it touches. The public face is
 * evs_cursor_*() in evstore.h; this is for the store's own use. */
#ifndef STORE_CURSOR_H
#define STORE_CURSOR_H

#include "view.h"

struct cursor;
int cursor_new(const struct index *ix, struct log *lg, const struct evs_view *v,
               struct cursor **ret, struct evs_error *err);
void cursor_free(struct cursor *c);
/* Damage behind bytes that are given all the same is said by the next read. */
ssize_t cursor_read(struct cursor *c, uint64_t pos, void *buf, size_t n, struct evs_error *err);
/* The same without a copy, where the view's lines are neighbours in the log (EVS_ALL): *ret points to up to n
 * checked bytes, mapped until the cursor is used again, done or freed. -EOPNOTSUPP for other views. */
ssize_t cursor_peek(struct cursor *c, uint64_t pos, size_t n, const void **ret,
                    struct evs_error *err);
void cursor_done(struct cursor *c); /* what was peeked at is not looked at any more */
int cursor_find(struct cursor *c, evs_seq after, uint64_t *ret_pos, struct evs_error *err);

/* Each whole line of a view, in order, checked; those with a seq above `after`, which is 0 for EVS_ALL and where a
 * filter is. fn's non-zero result ends it and is returned. The slice is mapped memory, for the call (fn runs guarded:
 * it must own nothing that a jump would leak). */
typedef int cursor_line_fn(void *arg, evs_seq seq, struct slice line, const struct log_rec *rec);
int cursor_each(const struct index *ix, struct log *lg, const struct evs_view *v, evs_seq after,
                cursor_line_fn *fn, void *arg, struct evs_error *err);

#endif
