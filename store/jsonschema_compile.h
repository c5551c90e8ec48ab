/* SPDX-License-Identifier: MIT */
/* jsonschema_compile: what the parts of the compiler share. */
#ifndef STORE_JSONSCHEMA_COMPILE_H
#define STORE_JSONSCHEMA_COMPILE_H

#include "jsonschema_docs.h"

struct js_dynamic_ref { /* whose candidates are to be found when all is known */
    struct js_dynamic *to;
    struct slice name;
};

struct js_compiler {
    struct js_schema *schema;
    struct js_docs docs;
    struct js_place_map by_place; /* struct js_node */
    struct js_node **nodes;       /* the first n_done of them are compiled */
    struct js_dynamic_ref *dynamics;
    uint32_t n_nodes, n_done, n_dynamics;
    size_t nodes_capacity, dynamics_capacity;
    bool assert_format;
};

/* One schema while it is compiled. */
struct js_keywords {
    struct js_compiler *c;
    struct js_node *node;
    const struct js_members *members;
    unsigned vocabularies;
};

/* The value of a keyword; NULL: it isn't there. */
const char *js_keyword(const struct js_keywords *k, const char *name);
/* Fail with -EINVAL for what a keyword says. */
int js_keyword_fail(const struct js_keywords *k, const char *name, const char *what);

/* The node of the schema at, within that of k (it may be another base); compiled later. */
int js_node_of(const struct js_keywords *k, const char *at, const struct js_node **ret);
/* Those of a keyword: one, or a list; 0 and nothing if it isn't there. */
int js_nodes_one(const struct js_keywords *k, const char *name, const struct js_node **ret);
int js_nodes_list(const struct js_keywords *k, const char *name, const struct js_node ***ret,
                  uint32_t *ret_n);

/* jsonschema_rules.c, jsonschema_members.c: the parts of a node. */
int js_rules_values(const struct js_keywords *k);
int js_rules_numbers(const struct js_keywords *k);
int js_rules_strings(const struct js_keywords *k);
int js_rules_arrays(const struct js_keywords *k);
int js_rules_objects(const struct js_keywords *k);
/* A keyword that is an integer of 0 or more; *ret stays if it isn't there. */
int js_rules_count(const struct js_keywords *k, const char *name, uint64_t *ret, bool *ret_any);
/* The pattern at at (a string), of the schema's list. */
int js_rules_pattern(const struct js_keywords *k, const char *keyword, struct slice text,
                     const struct js_pattern **ret);

#endif
