/* SPDX-License-Identifier: MIT */
/* jsonschema_runs: regular expressions that need no engine: "^", characters of some sets so many times each,
 * "$" (^[0-9a-f]{40}$, ^evt_\w+$). Most of those that schemas have are such. */
#ifndef STORE_JSONSCHEMA_RUNS_H
#define STORE_JSONSCHEMA_RUNS_H

#include "util.h"

enum { JS_RUNS_MAX = 24 };

struct js_charset_run {
    uint64_t set[2]; /* ASCII only */
    uint32_t min, max;
};
struct js_runs {
    uint32_t n;
    bool to_end; /* "$" */
    struct js_charset_run runs[JS_RUNS_MAX];
};

/* text was accepted by js_ecma_translate(). False: it isn't of this kind. */
bool js_runs_parse(struct slice text, struct js_runs *ret);
/* Time is linear in the text. */
bool js_runs_match(const struct js_runs *r, struct slice text);

#endif
