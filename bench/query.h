/* SPDX-License-Identifier: MIT */
/* query: what evfs-query asks, of a store in this process and of SQLite beside it. Both have the same lines. */
#ifndef QUERY_H
#define QUERY_H

#include "bench.h"

#define NAME_BYTES 32

struct sqlite_side;

/* What is asked, and where the answer goes. */
struct world {
    struct evs_store *st;
    struct sqlite_side *sq; /* NULL: only the store is asked */
    char (*entity)[NAME_BYTES];
    size_t entities;
    evs_type types;
    evs_seq end;
    size_t limit;
    uint64_t random, turn; /* turn: states are asked of one entity after the other */
    char *buf;             /* the last answer */
    size_t cap;
    uint64_t lines,
        bytes; /* answered since a question was first asked: what shows that the same was read */
};

/* Ask one question, of an entity or a type drawn from w->random, which is new for each. */
typedef void question_fn(struct world *w);
struct question {
    const char *name;
    question_fn *ask;
};

extern const struct question store_questions[], sqlite_questions[]; /* end with NULL */

void world_room(struct world *w, size_t n); /* w->buf has n bytes */

/* A database with all lines of the store: the one in the file, or, if there is no file, a new one. */
struct sqlite_side *sqlite_open_lines(const char *file, struct evs_store *st);
void sqlite_done(struct sqlite_side *s);

#endif
