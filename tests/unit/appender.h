/* SPDX-License-Identifier: MIT */
/* appender: what tests of appending share: a store, one user who writes, and short words for what he does. */
#ifndef TESTS_APPENDER_H
#define TESTS_APPENDER_H

#include "model.h"

static struct evs_store *st;
static struct evs_error err;
static const struct evs_cred me = {.uid = 7, .gid = 7, .pid = 99};

static struct evs_writer *writer(enum evs_view_kind kind, const char *entity, const char *type)
{
    struct evs_writer *w = NULL;
    const struct evs_target t = {kind, entity, entity ? strlen(entity) : 0, type,
                                 type ? strlen(type) : 0};

    CHECK_EQ(evs_writer_new(st, &t, "f.jsonl", &w, &err), 0);
    return w;
}

static ssize_t say(struct evs_writer *w, const char *text)
{
    return evs_write(w, text, strlen(text), &me, &err);
}

/* The text is refused as a whole, for this reason, and nothing is stored. */
#define REFUSED(w, text, reason)                                                                   \
    do {                                                                                           \
        evs_seq end_ = evs_end(st);                                                                \
        ssize_t said_ = say(w, text);                                                              \
        CHECK_FAIL(said_, err, reason);                                                            \
        CHECK_EQ(evs_end(st), end_);                                                               \
    } while (0)
#define TAKEN(w, text) CHECK_EQ(say(w, text), strlen(text))

#endif
