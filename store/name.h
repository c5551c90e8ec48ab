/* SPDX-License-Identifier: MIT */
/* name: ids to file names and back (docs/format.md, "Names"), and the hash of a name. The public
 * evs_encode_entity(), evs_encode_type() and evs_decode_component() live here as well. */
#ifndef STORE_NAME_H
#define STORE_NAME_H

#include "error.h"
#include "util.h"

/* Hash of a name, 64 bits, keyed by nothing: the same in every process, it is on disk. All of its low 32
 * bits are good. Fast for 8-64 bytes. */
uint64_t name_hash(const char *p, size_t n, uint64_t seed);

/* Check that a valid id can be said as a path: components' encoded length and number. 0 or NAME_TOO_LONG.
 * Fast path: no byte that needs encoding and no long component. */
int name_check_entity(struct slice id, uint64_t pos, struct evs_error *err);
int name_check_type(struct slice type, uint64_t pos, struct evs_error *err);

#endif
