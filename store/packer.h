/* SPDX-License-Identifier: MIT */
/* packer: the thread that compresses sealed segments, when the machine has nothing else to do. */
#ifndef STORE_PACKER_H
#define STORE_PACKER_H

#include "ingest.h"

int packer_start(struct evs_store *st,
                 struct evs_error *err); /* options may say that there is none */
void packer_stop(struct evs_store *st);  /* none is fine; takes as long as a frame, or a sync */

/* Every now and then, by the keeper, which runs when it wants to: readers go over to what is compressed, and a
 * packer is started if there is more. */
void packer_tick(struct evs_store *st);

#endif
