/* SPDX-License-Identifier: MIT */
/* owners_rows: what owners.c and owners_border.c share. All of it under owners.lock, for reading at least. */
#ifndef STORE_OWNERS_ROWS_H
#define STORE_OWNERS_ROWS_H

#include "owners.h"

struct owner_row {
    enum evs_dir_kind kind;
    struct slice name; /* owned; p NULL for the kind's top */
    struct evs_owner own;
};

/* A directory's own row; NULL: it has none. */
const struct owner_row *owners_find(const struct owners *o, enum evs_dir_kind kind,
                                    struct slice name);
/* The nearest row at or above it; NULL only where even the root has none. */
const struct owner_row *owners_nearest(const struct owners *o, enum evs_dir_kind kind,
                                       struct slice name);
/* Does row lie below d? Below the root lies everything but types/. */
bool owners_is_below(const struct owner_row *row, const struct evs_dir *d);

#endif
