/* SPDX-License-Identifier: MIT */
/* evolve: how two JSON Schemas (2020-12) differ, and who can read whose data. Pure, off the hot path.
 * docs/schemas.md has the rules. Any thread; two calls share nothing. */
#ifndef STORE_EVOLVE_H
#define STORE_EVOLVE_H

#include "util.h"

#include <stdint.h>

#define EVOLVE_WHATS(X)                                                                            \
    X(ADDED, "added")               /* a field */                                                  \
    X(REMOVED, "removed")           /* a field */                                                  \
    X(REQUIRED, "required")         /* a field that was optional */                                \
    X(OPTIONAL, "optional")         /* a field that was required */                                \
    X(WIDENED, "widened")           /* types, enum, a bound: more is allowed */                    \
    X(NARROWED, "narrowed")         /* less is allowed */                                          \
    X(TYPE_CHANGED, "type changed") /* neither holds the other */                                  \
    X(FORMAT_LOST, "format lost")                                                                  \
    X(FORMAT_ADDED, "format added")                                                                \
    X(FORMAT_CHANGED, "format changed")                                                            \
    X(OTHER, "other") /* a keyword that is only compared as a whole */

enum evolve_what {
#define X(name, text) EVOLVE_##name,
    EVOLVE_WHATS(X)
#undef X
};

/* One difference. All strings are owned by the struct evolve. */
struct evolve_change {
    enum evolve_what what;
    char *
        path; /* JSON Pointer into the data; "*": any element, or any name that is not listed; "": all */
    char *keyword; /* "type", "maximum", ...; "properties" for a field */
    char *from;    /* the value of the keyword, as JSON, cut where it is long; NULL: it had none */
    char *to;
};

/* Why one direction does not hold. */
struct evolve_reason {
    char *path; /* as above */
    char *why;  /* a sentence: "'a' may be missing", "not compared: $dynamicRef" */
};

enum { EVOLVE_REASONS_MAX = 8 };

struct evolve_side {
    bool holds;
    uint32_t n; /* reasons, the first that were found; 0 if it holds */
    struct evolve_reason reason[EVOLVE_REASONS_MAX];
};

struct evolve {
    struct evolve_change *change;
    size_t n;
    bool more; /* there may be more: LIMIT_EVOLVE_CHANGES or _STEPS was met */
    struct evolve_side
        backward; /* what is valid under old is valid under new: new readers, old data */
    struct evolve_side forward; /* the reverse: old readers, new data. Both: fully compatible */
};

/* In flags. Data has only what its schema mentions: an object's names, where the schema does not say
 * additionalProperties or the like, and elements of an array only where it says items. True of inferred
 * schemas, which mention all that was seen; so a field that is added breaks no reader. Without it an open
 * object may have held that name with anything. */
enum evolve_flags { EVOLVE_CLOSED = 1 };

/* Compare. Formats count as assertions. Annotations are no difference. A direction holds only where that is
 * proved: what can't be compared is a reason. 0 with *ret the caller's, to evolve_done(); -EINVAL: a text is
 * no JSON, has a key twice, or is neither object nor boolean; -ENOMEM. */
int evolve_diff(struct slice old_schema, struct slice new_schema, unsigned flags,
                struct evolve *ret);
void evolve_done(struct evolve *e); /* zeroed is fine */

const char *evolve_what_name(enum evolve_what what);
/* "full", "backward", "forward" or "none". */
const char *evolve_verdict(const struct evolve *e);

/* One JSON object on one line, without a LF:
 * {"compatible":"backward","changes":[{"path":"/a","what":"added","keyword":"properties","to":{...}}],
 *  "backward":[],"forward":[{"path":"/a","why":"..."}]}
 * *ret is the caller's, to free(). 0 or -ENOMEM. */
int evolve_json(const struct evolve *e, char **ret, size_t *ret_n);
/* Lines for a person, the verdict last. The same ownership. */
int evolve_text(const struct evolve *e, char **ret, size_t *ret_n);

#endif
