/* SPDX-License-Identifier: MIT */
/* store_owners: directories with an owner of their own, as opening a store finds them. */
#ifndef STORE_STORE_OWNERS_H
#define STORE_STORE_OWNERS_H

#include "ingest.h"

#define META_LOST "meta_lost" /* the setting: meta.db was lost, and no owner was set since */

/* While opening: the root's owner is that of the directory, the others are in meta.db. */
int owners_load(struct evs_store *st, struct evs_error *err);

/* An entity that has an owner or a pinned schema is listed: the index must know its name. */
int owners_mark(struct evs_store *st, struct slice id, struct evs_error *err) NEEDS_COMMIT;
/* It has neither any more. */
void owners_unmark(struct evs_store *st, entity_id e);

/* May a directory be called so? */
int owners_check_dir(const struct evs_dir *d, struct evs_error *err);

#endif
