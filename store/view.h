/* SPDX-License-Identifier: MIT */
/* view: what a struct evs_view means in sets: which postings, how many of each, filtered by what. */
#ifndef STORE_VIEW_H
#define STORE_VIEW_H

#include "index.h"

/* A view at one moment: the first `n` postings of part 0, then those of part 1. Where filter is set, only
 * the events of that type (and of that entity) count. */
struct view {
    enum evs_view_kind kind;
    struct view_part {
        const struct set *set; /* NULL: none */
        uint32_t n, last;
        uint64_t bytes; /* of its n lines (of pairs: data lines) */
    } part[2];
    bool data;              /* lines are data */
    type_id filter;         /* 0: none. Then the parts hold at most about INDEX_LARGE postings */
    uint64_t events, bytes; /* of the whole view; with a filter counted by view_open() */
    evs_seq first, last;    /* first: only with a filter */
    evs_seq end;            /* log_end() when it was opened */
};

/* Resolve v as it is at seq `end`, which log_end() has returned. NO_SUCH for numbers that name nothing. */
int view_open(const struct index *ix, const struct log *lg, const struct evs_view *v, evs_seq end,
              struct view *ret);

/* Seq and recorded time of first and last event of an open view, and its size. */
void view_extent(const struct index *ix, const struct log *lg, const struct view *v,
                 struct evs_extent *ret);

#endif
