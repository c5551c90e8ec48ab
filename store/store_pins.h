/* SPDX-License-Identifier: MIT */
/* store_pins: pinned schemas, as opening a store finds them. */
#ifndef STORE_STORE_PINS_H
#define STORE_STORE_PINS_H

#include "ingest.h"

/* While opening: what meta.db has. A schema that does not compile any more keeps all events out. */
int pins_load(struct evs_store *st, struct evs_error *err);

#endif
