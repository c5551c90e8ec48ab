/* SPDX-License-Identifier: MIT */
/* jsonschema_regex: regular expressions of ECMA-262 (with its flag u), matched by PCRE2 within bounds. */
#ifndef STORE_JSONSCHEMA_REGEX_H
#define STORE_JSONSCHEMA_REGEX_H

#include "jsonschema_runs.h"

struct js_pattern {
    struct js_pattern *next; /* for whoever keeps a list */
    void *code;              /* PCRE2's */
    struct js_runs runs;     /* if is_runs: then they are matched */
    bool is_runs;
    size_t bytes; /* of all of it */
    char text[];  /* as the schema has it, with a NUL */
};

/* Compile text (UTF-8). 0 with *ret, the caller's; -EINVAL with a sentence in why; -E2BIG; -ENOMEM. */
int js_pattern_compile(struct slice text, struct js_pattern **ret, char *why, size_t why_n);
void js_pattern_free(struct js_pattern *p); /* NULL is fine */

/* Whether text is a regular expression of ECMA-262. -ENOMEM, else 1 or 0. */
int js_pattern_is_valid(struct slice text);

/* What matching needs: of one thread; all zero to begin with, then js_matcher_done(). */
struct js_matcher {
    void *data, *context;
    uint64_t steps; /* taken so far, of LIMIT_PATTERN_STEPS */
};
/* Is there a match anywhere in text (UTF-8; lone surrogates as scan_decode() leaves them)? 1, 0, -ENOMEM;
 * -ETIME: the steps of this matcher, or the memory of a match, did not suffice to say. */
int js_pattern_match(const struct js_pattern *p, struct js_matcher *m, struct slice text);
void js_matcher_done(struct js_matcher *m);

#endif
