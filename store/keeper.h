/* SPDX-License-Identifier: MIT */
/* keeper: the one background thread of a store: syncs what is not durable yet every sync_interval, and
 * writes a checkpoint when the log has grown by the size of one, and reads through what the store opened
 * without looking at. */
#ifndef STORE_KEEPER_H
#define STORE_KEEPER_H

#include "ingest.h"

int keeper_start(struct evs_store *st, struct evs_error *err);
void keeper_stop(
    struct evs_store *st); /* none is fine; waits for a checkpoint that is being written */

/* Write a checkpoint now and wait for it. */
int keeper_checkpoint(struct evs_store *st, struct evs_error *err);

#endif
