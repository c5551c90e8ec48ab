/* SPDX-License-Identifier: MIT */
/* jsonschema_uri: references are resolved against a base (RFC 3986, section 5). */
#ifndef STORE_JSONSCHEMA_URI_H
#define STORE_JSONSCHEMA_URI_H

#include "util.h"

/* The part before '#', and the fragment (p NULL: none). */
void js_uri_split(struct slice uri, struct slice *ret_before, struct slice *ret_fragment);
/* Write base with ref (neither has a fragment) into out, which has room for base.n + ref.n + 2 bytes.
 * Returns the length. */
size_t js_uri_join(struct slice base, struct slice ref, char *out);
/* Decode %xx into out, which has room for s.n bytes. Returns the length. */
size_t js_uri_decode(struct slice s, char *out);

#endif
