/* SPDX-License-Identifier: MIT */
/* lost: whose the events were that a survey has found nowhere. */
#ifndef STORE_LOST_H
#define STORE_LOST_H

#include "index.h"
#include "survey.h"

#define LOST_TYPE   "evfs.lost"
#define LOST_ENTITY "evfs/lost" /* and "/SEQ": where nothing tells */

struct lost_event {
    char *entity; /* decoded, terminated; owned */
    char *type;   /* as it was, decoded, terminated; owned; NULL: unknown */
    uint64_t version;
    uint32_t tx;  /* as the damaged line says; 0: unknown, or none */
    bool unknown; /* whose it was */
};

/* One for each of s->lost: so that with them in their places every entity's versions are gapless. kept (NULL:
 * there is none) is an index of the log as it was, up to event kept_to. DAMAGED: it can't be, a line that checks
 * has a version that no lost event explains. */
int lost_assign(struct survey *s, const struct index *kept, evs_seq kept_to,
                struct lost_event **ret, struct evs_error *err);
void lost_free(struct lost_event *v, size_t n); /* NULL is fine */

#endif
