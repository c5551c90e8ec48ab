/* SPDX-License-Identifier: MIT */
/* jsonschema_docs: the documents that a schema consists of, what in them has an $id or an anchor, and where
 * a reference leads. For the time of compiling; everything lies in the schema's arena. */
#ifndef STORE_JSONSCHEMA_DOCS_H
#define STORE_JSONSCHEMA_DOCS_H

#include "jsonschema_node.h"

/* Vocabularies, as bits. */
enum js_vocabulary {
    JS_CORE = 1,
    JS_APPLICATOR = 2,
    JS_UNEVALUATED = 4,
    JS_VALIDATION = 8,
    JS_META_DATA = 16,
    JS_FORMAT_ANNOTATION = 32,
    JS_FORMAT_ASSERTION = 64,
    JS_CONTENT = 128,
    JS_STANDARD = 255 & ~JS_FORMAT_ASSERTION
};

/* Something with a base URI of its own: a document, or what has an $id in it. */
struct js_resource {
    struct slice uri;     /* absolute, or as good as it gets; no fragment */
    struct slice dialect; /* its $schema; of the document if it has none */
    const char *at;
    uint32_t doc;
    unsigned vocabularies;
};

struct js_anchor {
    uint32_t resource;
    struct slice name;
    const char *at;
    bool dynamic;
};

/* The members of an object by their names (decoded), or the elements of an array. */
struct js_members {
    struct js_names names; /* of an object */
    const char **values;
    uint32_t n;
    bool object;
};

struct js_place_map { /* by address */
    struct js_place_slot *slots;
    size_t mask, n;
};

struct js_docs {
    struct js_schema *schema;
    const struct js_options *options;
    struct js_error *err;
    bool unchecked; /* documents are what they have to be */
    struct js_resource *resources;
    struct js_anchor *anchors;
    uint32_t n_resources, n_anchors;
    size_t docs_capacity, resources_capacity, anchors_capacity;
    struct js_place_map members; /* struct js_members by container */
    struct js_place_map bases;   /* struct js_resource's number + 1 by its root */
};

/* What a place in a document means. */
struct js_target {
    const char *at;
    uint32_t resource;
};

/* Is text not larger than a document may be? */
int js_docs_fits(struct js_docs *d, struct slice text);
/* Add a document that was checked against its meta-schema: 0 with its resource; or an error. */
int js_docs_add(struct js_docs *d, struct slice text, struct slice uri, bool known,
                uint32_t *ret_resource);
/* Check text (a document of uri) against its meta-schema; jsonschema_compile.c. */
int js_docs_check(struct js_docs *d, struct slice text, struct slice uri);
/* Where the reference ref leads, from within a resource. -EINVAL with err: nowhere. */
int js_docs_resolve(struct js_docs *d, uint32_t from, const char *place, const char *keyword,
                    struct slice ref, struct js_target *ret, const struct js_anchor **ret_anchor);
/* The members of the container at; -EINVAL: a name is there twice. */
int js_docs_members(struct js_docs *d, uint32_t doc, const char *at, const struct js_members **ret);
/* The decoded string at at; p NULL: no memory. */
struct slice js_docs_string(struct js_docs *d, uint32_t doc, const char *at);
/* The value at, with its length. */
struct slice js_docs_value(const struct js_docs *d, uint32_t doc, const char *at);

/* Fail: fills err. Returns r. */
int js_docs_fail(struct js_docs *d, int r, uint32_t doc, const char *at, const char *keyword,
                 const char *fmt, ...) __attribute__((format(printf, 6, 7)));

void *js_place_get(const struct js_place_map *m, const char *at);
bool js_place_set(struct js_place_map *m, struct js_arena *a, const char *at,
                  void *value); /* false: no memory */

/* Keywords whose values hold schemas. */
enum js_holds { JS_HOLDS_NONE, JS_HOLDS_ONE, JS_HOLDS_LIST, JS_HOLDS_MAP };
enum js_holds js_keyword_holds(struct slice keyword);

/* The text of a meta-schema of 2020-12 (static, jsonschema_meta.c); p NULL: uri is none of them. */
struct slice js_meta_find(struct slice uri, struct js_arena *a);
/* The bit of a vocabulary, 0: not known. */
unsigned js_meta_vocabulary(struct slice uri);
#define JS_META_URI "https://json-schema.org/draft/2020-12/schema"

#endif
