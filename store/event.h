/* SPDX-License-Identifier: MIT */
/* event: the model of an event as a writer gives it, in any of the spellings (docs/format.md, "Input").
 * One pass over the bytes: validates the JSON and finds the fields. */
#ifndef STORE_EVENT_H
#define STORE_EVENT_H

#include "error.h"
#include "scratch.h"
#include "util.h"

#define EVENT_ANY_VERSION UINT64_MAX

struct event {
    struct slice entity, type, id; /* decoded UTF-8 without NUL; p NULL: not given */
    struct slice time;             /* RFC 3339, without quotes; p NULL: not given */
    struct slice meta, data;       /* JSON as written; p NULL: not given (data: null) */
    uint64_t expected;             /* expected_version; EVENT_ANY_VERSION: none */
    uint64_t outline;              /* scan_outline() of data, by outline_by(); 0: not known */
    uint32_t pos; /* of the value in what was scanned, for messages; the caller's */
    bool entity_escape, type_escape, id_escape; /* needs scan_encode() when written */
    bool meta_breaks, data_breaks;              /* holds CR or LF: a blank each when written */
};

/* Scan one event: an object at s[0]. Returns its length; 0 if s ends inside it and is a proper beginning;
 * negative: scan's reasons, and NOT_EVENT, UNKNOWN_NAME, GIVEN_TWICE, BAD_NAME, BAD_FIELD, BAD_TIME,
 * NAME_TOO_LONG, TOO_LARGE (the object is larger than LIMIT_VALUE_BYTES), NO_MEMORY, with err->pos relative
 * to s. Does not ask whether entity and type are given: the file may say them. flags: scan's. The slices of
 * *ret live as long as s and the scratch. */
#define EVENT_OUTLINE 4u /* in flags: find the outline as well */
ssize_t event_scan(const char *s, size_t n, unsigned flags, struct scratch *sc, struct event *ret,
                   struct evs_error *err);

/* Check a decoded entity, type or id: length limits, UTF-8, no NUL. pos for err. */
int event_check_entity(struct slice s, uint64_t pos, struct evs_error *err);
int event_check_type(struct slice s, uint64_t pos, struct evs_error *err);
int event_check_id(struct slice s, uint64_t pos, struct evs_error *err);

/* Do the bytes need escapes inside a JSON string ('"', '\\', below 0x20)? */
bool event_needs_escape(struct slice s);

#endif
