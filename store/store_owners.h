/* SPDX-License-Identifier: MIT */
/* store_owners: directories with an owner of their own, as opening a store finds them. */
#ifndef STORE_STORE_OWNERS_H
#define STORE_STORE_OWNERS_H

#include "ingest.h"

#define META_LOST "meta_lost" /* the setting: meta.db was lost, and no owner was set since */

/* While opening: the root's owner is that of the directory, the others are in meta.db. */
int owners_load(struct evs_store *st, struct evs_error *err);

#endif
