/* SPDX-License-Identifier: MIT */
/* jsonschema_run: what the parts of a validation share. */
#ifndef STORE_JSONSCHEMA_RUN_H
#define STORE_JSONSCHEMA_RUN_H

#include "jsonschema_node.h"
#include "jsonschema_value.h"
#include "scan.h"

/* On the way to a value: one member or element. */
struct js_step {
    const struct js_step *up;
    struct slice key; /* as written, with quotes; p NULL: an element */
    size_t index;
};
/* On the way through schemas: a resource that was entered. */
struct js_scope {
    const struct js_scope *up;
    uint32_t resource;
};

/* Bits by number; a few need no memory. */
struct js_bits {
    uint64_t *words;
    size_t n; /* words */
    uint64_t few[2];
};

struct js_run {
    const struct js_schema *schema;
    const char *end; /* of the instance */
    struct js_error *err;
    const struct js_step *step;
    const struct js_scope *scope;
    uint64_t work;
    unsigned nesting, quiet; /* quiet: failures are answers, not reports */
    int stopped;             /* 0; negative errno; 1: it is invalid, whatever else */
    struct js_scratch scratch;
    struct js_matcher matcher;
};

/* Is the value at p valid by n? *ret_end is its end, or NULL where that isn't known. marks (may be NULL):
 * which members or elements of the value were evaluated. */
bool js_eval(struct js_run *r, const struct js_node *n, const char *p, struct js_bits *marks,
             const char **ret_end);
/* As parts of js_eval(), jsonschema_containers.c. */
bool js_eval_array(struct js_run *r, const struct js_node *n, const char *p, struct js_bits *marks,
                   const char **ret_end);
bool js_eval_object(struct js_run *r, const struct js_node *n, const char *p, struct js_bits *marks,
                    const char **ret_end);
bool js_eval_unevaluated(struct js_run *r, const struct js_node *n, const char *p,
                         struct js_bits *marks);
/* jsonschema_unique.c */
bool js_eval_unique(struct js_run *r, const struct js_node *n, const char *p);

/* Always false. The value is invalid: for a keyword of n, unless nobody listens. */
bool js_invalid(struct js_run *r, const struct js_node *n, const char *keyword, const char *fmt,
                ...) __attribute__((format(printf, 4, 5), cold));
/* Always false. The whole validation ends: with errno e (negative), or 1: invalid. */
bool js_stop(struct js_run *r, int e, const struct js_node *n, const char *keyword,
             const char *text) __attribute__((cold));
/* Count n units of work; false: too much. */
bool js_overworked(struct js_run *r, const struct js_node *n) __attribute__((cold));

/* The match of a string by a pattern of n's keyword. */
bool js_matches(struct js_run *r, const struct js_node *n, const struct js_pattern *p,
                struct slice raw, unsigned special, const char *keyword);

bool js_bits_init(struct js_run *r, struct js_bits *b, size_t n); /* zeroed; false: stopped */
void js_bits_done(struct js_bits *b);
static inline void js_bits_set(struct js_bits *b, size_t i)
{
    b->words[i / 64] |= UINT64_C(1) << i % 64;
}
static inline bool js_bits_get(const struct js_bits *b, size_t i)
{
    return b->words[i / 64] >> i % 64 & 1;
}
void js_bits_add(struct js_bits *b, const struct js_bits *more);
/* Bits as many as there are. */
bool js_bits_like(struct js_run *r, struct js_bits *b, const struct js_bits *like);

/* scan_kind(), here. */
static inline enum scan_kind js_kind(char c)
{
    return c == '"'   ? SCAN_STRING
           : c == '{' ? SCAN_OBJECT
           : c == '[' ? SCAN_ARRAY
           : c < 'a'  ? SCAN_NUMBER
           : c == 't' ? SCAN_TRUE
           : c == 'f' ? SCAN_FALSE
                      : SCAN_NULL;
}

/* What may follow a number or literal. */
static inline bool js_ends_scalar(char c)
{
    return c <= ' ' || c == ',' || c == ']' || c == '}';
}

/* The end of the value at p; crossing it is work. */
static inline const char *js_end(struct js_run *r, const char *p)
{
    const char *const from = p;
    unsigned special;

    if (*p == '"' || *p == '{' || *p == '[') {
        p = *p == '"' ? js_string_end(p, r->end, &special) : p + scan_skip(p, (size_t)(r->end - p));
        r->work += (size_t)(p - from) / 64;
        return p;
    }
    while (p < r->end && !js_ends_scalar(*p))
        p++;
    return p;
}
/* The next byte that isn't white space. */
static inline const char *js_token(const char *p)
{
    while (UNLIKELY(scan_is_space(*p)))
        p++;
    return p;
}

#endif
