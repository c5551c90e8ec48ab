/* SPDX-License-Identifier: MIT */
/* path: the paths of the tree that hold events, as what they stand for (docs/format.md, "Names"):
 *
 *     events.jsonl               every event
 *     entities/E/events.jsonl    events at or below entity E (its components are directories)
 *     entities/E/TYPE.jsonl      E's own events of one type
 *     types/TYPE/events.jsonl    events of one type
 *
 * Pure text: whether there is such an entity is not asked. */
#ifndef FS_PATH_H
#define FS_PATH_H

#include "store/evstore.h"

#define PATH_ENTITY_BYTES 1024 /* longest id */
#define PATH_TYPE_BYTES   256  /* longest type, and longest component */
#define PATH_COMPONENTS   32   /* of an id, at most */

/* target's names lie in entity and type: not to be copied. */
struct path {
    struct evs_target target;
    char entity[PATH_ENTITY_BYTES];
    char type[PATH_TYPE_BYTES];
};

/* Parse path, relative to the root of the tree; one '/' before it is dropped. 0, or NO_SUCH with
 * pos at the component that can't be, or NAME_TOO_LONG. */
int path_parse(const char *path, struct path *ret, struct evs_error *err);

/* The view of what a path stands for. NO_SUCH where the store has none of its events. */
int path_view(struct evs_store *st, const struct path *p, struct evs_view *ret,
              struct evs_error *err);

#endif
