/* SPDX-License-Identifier: MIT */
/* repair: what evs_repair() is made of. Private to repair*.c. */
#ifndef STORE_REPAIR_H
#define STORE_REPAIR_H

#include "lost.h"

#define DAMAGED_DIR "damaged" /* what is set aside: never deleted, never written over */

struct repair {
    const char *dir;
    int dirfd;
    evs_report_fn *report;
    void *arg;
    uint64_t lost;
    uint64_t mended; /* things that are no part of the log */
};

void repair_say(const struct repair *rp, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));
/* A further name for path (below the store), in damaged/, durable; the name below the store into ret. 0 as well
 * where it has one there already. */
#define ASIDE_BYTES 80
int repair_set_aside(const struct repair *rp, const char *path, char ret[ASIDE_BYTES],
                     struct evs_error *err);
/* A directory, which can't have one, changes its name to one in damaged/. */
int repair_move_aside(const struct repair *rp, const char *path, struct evs_error *err);
/* A directory below the store and the files in it, if it is there. */
int repair_remove_dir(const struct repair *rp, const char *name, struct evs_error *err);

/* The log as the survey says, with lines for what is lost. Durable, and at once or not at all. */
int repair_log(struct repair *rp, struct survey *s, const struct lost_event *lost,
               struct evs_error *err);
/* meta.db, if anything is wrong with it: a new one with the rows that are good. */
int repair_meta(struct repair *rp, struct evs_error *err);

#endif
