/* SPDX-License-Identifier: MIT */
/* scratch: what can't be a slice of an event as it was given. */
#ifndef STORE_SCRATCH_H
#define STORE_SCRATCH_H

#include "util.h"

/* Memory (for a decoded name, the meta of a CloudEvent) that is given back all at once. Grows to a maximum that the
 * input's size bounds; reused by every write; no allocation in the steady state. */
struct scratch {
    struct scratch_block *blocks; /* owned; newest first */
    size_t used;                  /* of the newest */
};
void scratch_init(struct scratch *s);
void scratch_reset(struct scratch *s); /* all that was given out is void; keeps the largest block */
void scratch_done(struct scratch *s);
char *scratch_get(struct scratch *s, size_t n) MUST_CHECK; /* NULL: no memory. 8-aligned */

#endif
