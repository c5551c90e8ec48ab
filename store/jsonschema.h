/* SPDX-License-Identifier: MIT */
/* jsonschema: does a JSON value conform to a JSON Schema of draft 2020-12 (json-schema.org/draft/2020-12,
 * all vocabularies)? A schema is compiled once; validating walks the value's bytes, builds no tree, and
 * allocates nothing but where a keyword needs memory that grows with the value (patterns, unique items,
 * unevaluated members of long objects, equality of objects).
 *
 * docs/jsonschema.md says where the standard leaves a choice and what was chosen. */
#ifndef STORE_JSONSCHEMA_H
#define STORE_JSONSCHEMA_H

#include "util.h"

/* Compiled; never changes; any number of threads may validate by it. */
struct js_schema;

/* What was wrong. The paths are JSON Pointers (RFC 6901), cut at their end where they are longer.
 * instance_path leads to the value that failed; schema_path to the keyword, within the schema's own
 * document, or behind "URI#" where it lies in another; text is a sentence for a person. */
struct js_error {
    char keyword[32];
    char instance_path[256];
    char schema_path[256];
    char text[160];
};

struct js_options {
    /* "format" is an assertion; else that depends on the schema's vocabularies alone. An unknown format
     * is always valid. */
    bool assert_format;
    /* Gives the text of the document uri (without fragment): 0 with *ret_text, which is borrowed for
     * the js_compile() that asks; negative where there is none. NULL: there is none. The meta-schemas of
     * 2020-12 are known without it. Nothing is ever fetched. */
    int (*resolve)(void *arg, struct slice uri, struct slice *ret_text);
    void *resolve_arg;
    size_t max_bytes; /* of a document; 0: LIMIT_SCHEMA_BYTES */
};

/* Compile text (borrowed for the call). o may be NULL: no format assertion, nothing to resolve.
 * 0 with *ret, the caller's, to js_free(). Else *ret is untouched and err (may be NULL) says why:
 *   -EINVAL  not JSON, against its meta-schema, another draft, a vocabulary that is required and not
 *            known, a reference that leads nowhere or in a circle, a bad regular expression;
 *   -E2BIG   more than max_bytes, LIMIT_SCHEMA_NODES, or another limit of limits.h;
 *   -ENOMEM. */
int js_compile(struct slice text, const struct js_options *o, struct js_schema **ret,
               struct js_error *err);
void js_free(struct js_schema *s); /* NULL is fine */
/* Bytes of memory that it holds. */
size_t js_bytes(const struct js_schema *s);

/* json: exactly one value that scan_value() accepted. 1: valid. 0: not, err (may be NULL) says the first
 * failure. A regular expression that takes too long is a failure, too, even below "not".
 * -ENOMEM, or -E2BIG where validating needs more nesting (LIMIT_SCHEMA_NESTING) or more work
 * (LIMIT_SCHEMA_WORK) than is allowed; err says which. Any thread. */
int js_validate(const struct js_schema *s, struct slice json, struct js_error *err);

#endif
