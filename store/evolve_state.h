/* SPDX-License-Identifier: MIT */
/* evolve_state: shared by evolve*.c alone. */
#ifndef STORE_EVOLVE_STATE_H
#define STORE_EVOLVE_STATE_H

#include "evolve.h"
#include "limits.h"

#include <jansson.h>

/* A schema's text as a tree. */
struct evolve_doc {
    struct slice text;
    json_t *root;
    const char *strange; /* a reason for which nothing of it can be compared; NULL: none */
    bool inner_id;       /* a schema within has an $id: what a $ref means isn't known */
};

/* The place in the data, a JSON Pointer. */
struct evolve_path {
    char *p; /* NUL-terminated */
    size_t n, max;
    bool failed; /* no memory: what was pushed is missing */
};

/* Go down to name; returns what evolve_path_pop() takes. n SIZE_MAX: to "*". */
size_t evolve_path_push(struct evolve_path *path, const char *name, size_t n);
void evolve_path_pop(struct evolve_path *path, size_t to);

/* The schema that a $ref of doc means, or NULL. */
json_t *evolve_resolve(const struct evolve_doc *doc, const json_t *ref);

enum evolve_type {
    TYPE_NULL = 1,
    TYPE_BOOLEAN = 2,
    TYPE_INTEGER = 4,  /* with 1.0 */
    TYPE_FRACTION = 8, /* numbers that are no integer */
    TYPE_STRING = 16,
    TYPE_ARRAY = 32,
    TYPE_OBJECT = 64,
    TYPE_ALL = 127
};

/* The types that "type" allows (NULL: all), and a value's own. */
unsigned evolve_types(const json_t *type);
unsigned evolve_type_of(const json_t *value);
/* Equal as JSON Schema says: 1 and 1.0 are. */
bool evolve_equal(const json_t *a, const json_t *b);
/* Less than 0, 0, more than 0. */
int evolve_compare(const json_t *a, const json_t *b);
/* Neither is nor holds a $ref or $dynamicRef. */
bool evolve_is_plain(const json_t *schema);

/* Prove that what is valid under sub is valid under super. */
int evolve_prove(const struct evolve_doc *sub, const struct evolve_doc *super, unsigned flags,
                 struct evolve_side *ret);

/* Fill e->change. */
int evolve_changes(const struct evolve_doc *from, const struct evolve_doc *to, struct evolve *e);

#endif
