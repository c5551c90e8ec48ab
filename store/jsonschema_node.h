/* SPDX-License-Identifier: MIT */
/* jsonschema_node: what a schema is compiled to, and the memory in which it lies. */
#ifndef STORE_JSONSCHEMA_NODE_H
#define STORE_JSONSCHEMA_NODE_H

#include "jsonschema.h"
#include "jsonschema_format.h"
#include "jsonschema_number.h"
#include "jsonschema_regex.h"

/* Memory that goes all at once. */
struct js_arena {
    struct js_chunk *chunks; /* the newest is the one that is filled */
    size_t bytes;            /* of all chunks, and of what was charged */
    bool full;               /* LIMIT_SCHEMA_MEMORY was met: NULL is no lack of memory then */
};
void *js_arena_get(struct js_arena *a, size_t n); /* zeroed, aligned to 8; NULL: no memory */
/* Count n bytes that lie elsewhere. false: they are too many. */
bool js_arena_charge(struct js_arena *a, size_t n);
void js_arena_done(struct js_arena *a);
/* s, copied; p NULL: no memory. */
struct slice js_arena_copy(struct js_arena *a, struct slice s);
/* Make room in an array of the arena for one element more than n; what it leaves behind stays. */
bool js_arena_grow(struct js_arena *a, void **array, size_t n, size_t *capacity, size_t element);

/* Names with their numbers, 0 to n - 1: a hash table without deletion. */
struct js_slot {
    uint32_t tag;
    uint32_t number; /* + 1; 0: free */
};
struct js_names {
    struct slice *names;
    struct js_slot *slots; /* mask + 1 of them, at most half of them taken */
    uint32_t mask, n;
};
bool js_names_init(struct js_names *t, struct js_arena *a, size_t capacity); /* false: no memory */
/* The number of name; a new one for a new name (its text borrowed for good; there is room). */
uint32_t js_names_add(struct js_names *t, struct slice name, bool *ret_new);

/* Of its length and at most 24 of its bytes: for names, not for what someone may choose freely. */
static inline uint32_t js_names_hash(struct slice s)
{
    const char *p = s.p;
    const size_t n = s.n;
    uint64_t a, b;

    if (n >= 8) {
        a = load64(p) ^ (load64(p + n / 2 - 4) << 1);
        b = load64(p + n - 8);
    } else if (n >= 4) {
        a = load32(p);
        b = load32(p + n - 4);
    } else {
        a = n ? (unsigned char)p[0] | (unsigned)(unsigned char)p[n / 2] << 8 : 0;
        b = n ? (unsigned char)p[n - 1] : 0;
    }
    const unsigned __int128 m =
        (unsigned __int128)(a ^ 0x9e3779b97f4a7c15u) * (b ^ (n * 0xd6e8feb86659fd93u));
    return (uint32_t)((uint64_t)m ^ (uint64_t)(m >> 64));
}

static inline bool js_names_equal(struct slice a, struct slice b)
{
    if (a.n != b.n)
        return false;
    if (a.n >= 8 && a.n <= 16)
        return load64(a.p) == load64(b.p) && load64(a.p + a.n - 8) == load64(b.p + b.n - 8);
    if (a.n >= 4 && a.n < 8)
        return load32(a.p) == load32(b.p) && load32(a.p + a.n - 4) == load32(b.p + b.n - 4);
    return memcmp(a.p, b.p, a.n) == 0;
}

/* The number of name, or -1. */
static inline int64_t js_names_find(const struct js_names *t, struct slice name)
{
    if (t->n == 0)
        return -1;
    const uint32_t tag = js_names_hash(name);
    for (uint32_t i = tag & t->mask; t->slots[i].number; i = (i + 1) & t->mask)
        if (t->slots[i].tag == tag && js_names_equal(t->names[t->slots[i].number - 1], name))
            return t->slots[i].number - 1;
    return -1;
}

/* Kinds are bits: 1 << enum scan_kind. A number is an integer where its value is one (1.0 is). */
enum { JS_INTEGER_ONLY = 1 << 7, JS_ANY_TYPE = 0x7f };

struct js_node;

/* enum and const: strings and literals by look-up, numbers and containers one by one. */
struct js_values {
    struct js_names strings; /* decoded */
    const struct js_number *numbers;
    const struct slice *trees; /* arrays and objects */
    uint32_t n_numbers, n_trees;
    uint8_t literals; /* kinds */
};

struct js_bound {
    struct js_number number;
    int64_t small; /* the same where is_small */
    bool is_set, is_small;
};
struct js_numbers {
    struct js_bound minimum, maximum, above, below;
    struct js_bound multiple;
    uint64_t mantissa; /* of multiple */
    bool small;        /* all that are set are, and there is no multiple */
};

struct js_strings {
    uint64_t min, max;
    const struct js_pattern *pattern;
    js_format_check format; /* NULL: none */
    struct slice format_name;
};

struct js_arrays {
    uint64_t min, max, min_contains, max_contains;
    const struct js_node **prefix;
    const struct js_node *items, *contains;
    uint32_t n_prefix;
    bool unique;
};

struct js_dependent {
    uint32_t bit;
    uint32_t n;           /* of names */
    const uint32_t *bits; /* that must be there as well */
    const struct js_node *node;
    const char *keyword;
};
/* A name that properties, required or a dependency speaks of has a number. */
struct js_objects {
    uint64_t min, max;
    struct js_names names;
    const struct js_node **nodes; /* by number; NULL: not in properties */
    const struct js_pattern **patterns;
    const struct js_node **pattern_nodes;
    const struct js_node *additional, *property_names;
    const struct js_dependent *dependents;
    const uint64_t *required; /* bits, by number */
    uint32_t n_patterns, n_dependents;
    uint32_t n_bits; /* how many of the names: it matters whether those were there */
};

/* A $dynamicRef whose anchor is dynamic: one of several, as the scope at run time decides. */
struct js_candidate {
    uint32_t resource;
    const struct js_node *node;
};
struct js_dynamic {
    const struct js_node *first; /* where it leads without a scope */
    struct js_candidate *candidates;
    uint32_t n;
};

struct js_in_place {
    const struct js_node **all, **any, **one; /* all: $ref and allOf */
    uint32_t n_all, n_any, n_one;
    const struct js_node * not, *if_, *then_, *else_;
    const struct js_dynamic *dynamic;
};

enum js_fixed { JS_NOT_FIXED, JS_ALWAYS, JS_NEVER };

struct js_node {
    const char *at; /* its text, in a document */
    uint32_t doc, resource;
    uint8_t fixed; /* enum js_fixed */
    uint8_t types;
    uint8_t more; /* kinds of which more than the type matters; JS_INTEGER_ONLY is not among them */
    bool simple;  /* of numbers and strings, only their own keywords matter */
    uint8_t state; /* while compiling: of the search for circles */
    const struct js_values *values, *constant;
    const struct js_numbers *numbers;
    const struct js_strings *strings;
    const struct js_arrays *arrays;
    const struct js_objects *objects;
    const struct js_in_place *in_place;
    const struct js_node *unevaluated_items, *unevaluated_properties;
    const struct js_node *same; /* all it does is refer to this one; NULL: it does more */
};

struct js_doc {
    struct slice text; /* of the arena, or static */
    struct slice uri;
    bool known; /* of the standard: text is right */
};

struct js_schema {
    struct js_arena arena;
    struct js_doc *docs; /* docs[0] is the schema's own */
    uint32_t n_docs;
    const struct js_node *root;
    struct js_pattern *patterns; /* list */
};

/* Write at most n bytes with their NUL: the JSON Pointer of what begins at at, or "" for the whole of
 * text. Of a doc that isn't the schema's own, URI and '#' are before it. Returns the length. */
size_t js_pointer_to(const struct js_schema *s, uint32_t doc, const char *at, char *out, size_t n);
/* Append a token to a JSON Pointer of length at. Returns the new length. */
size_t js_pointer_add(char *out, size_t n, size_t at, struct slice token);

/* Validate, beginning at a node: what js_validate() does with the root. */
int js_run(const struct js_schema *s, const struct js_node *node, struct slice json,
           struct js_error *err);

#endif
