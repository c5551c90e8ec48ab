/* SPDX-License-Identifier: MIT */
/* jsonschema_format: the formats of JSON Schema 2020-12, as their standards have them. */
#ifndef STORE_JSONSCHEMA_FORMAT_H
#define STORE_JSONSCHEMA_FORMAT_H

#include "util.h"

/* Is text (decoded; lone surrogates as scan_decode() leaves them) of the format? Allocates nothing, but for
 * "regex". Any thread. */
typedef bool (*js_format_check)(struct slice text);

/* NULL: no format of this name is known. */
js_format_check js_format_find(struct slice name);

/* Those that have their own file (jsonschema_iri.c, jsonschema_host.c). */
bool js_is_uri(struct slice s);
bool js_is_uri_reference(struct slice s);
bool js_is_iri(struct slice s);
bool js_is_iri_reference(struct slice s);
bool js_is_uri_template(struct slice s);
bool js_is_ipv4(struct slice s);
bool js_is_ipv6(struct slice s);
bool js_is_hostname(struct slice s);
bool js_is_idn_hostname(struct slice s);
bool js_is_email(struct slice s);
bool js_is_idn_email(struct slice s);

/* A character of UTF-8 (or WTF-8) at p, which moves behind it. */
uint32_t js_next_char(const char **p, const char *end);

#endif
