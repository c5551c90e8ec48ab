/* SPDX-License-Identifier: MIT */
/* evolve_view: what all the schemas together say that a value has to obey. */
#ifndef STORE_EVOLVE_VIEW_H
#define STORE_EVOLVE_VIEW_H

#include "evolve_state.h"

enum { VIEW_MAX = 32 };

/* What of a schema was split into cases already. */
enum { SPLIT_ENUM = 1, SPLIT_CONST = 2, SPLIT_ANY = 4, SPLIT_ONE = 8 };

/* Schemas that all hold at once, without those that a $ref or allOf leads to left to follow. Leaving one out
 * only makes the view say less, which is safe for the side that is given. */
struct view {
    const json_t *schema[VIEW_MAX];
    uint8_t split[VIEW_MAX];
    uint8_t n;
    bool forgot; /* one was left out */
    bool never;  /* false is among them: there is no such value */
};

/* What the proof works with. */
struct prover {
    const struct evolve_doc *sub, *super;
    struct evolve_side *ret;
    struct evolve_path path;
    unsigned flags, depth, quiet;
    uint32_t work; /* steps that are left */
    json_t *made;  /* array: schemas that were made on the way */
    bool failed;   /* no memory */
};

/* A loop over n things between two steps: its part of the work. */
static inline void view_charge(struct prover *c, size_t n)
{
    c->work -= (uint32_t)MIN(n / 64, c->work);
}

/* Add a schema of the sub side, and all that it leads to. */
void view_add(struct prover *c, struct view *v, const json_t *schema);
/* The types that it allows, as far as "type" says. */
unsigned view_types(const struct view *v);
/* The first of its schemas that has the keyword, or NULL; *ret_i: where to go on, 0 first. */
const json_t *view_next(const struct view *v, const char *keyword, unsigned *i);
/* What holds of the member with this name, and of members with names that are listed in neither. */
void view_member(struct prover *c, const struct view *v, const char *name, size_t n,
                 struct view *ret);
void view_other(struct prover *c, const struct view *v, struct view *ret);
/* What holds of element i, and, if no schema lists as many, of those behind it. */
void view_element(struct prover *c, const struct view *v, size_t i, struct view *ret);
bool view_requires(const struct view *v, const char *name, size_t n);
/* A schema that only this value obeys; borrowed until the proof ends. NULL: no memory. */
const json_t *view_exactly(struct prover *c, const json_t *value);

/* ---- the proof ------------------------------------------------------------------------------- */

/* Each says whether the schema super, or its keywords for a type, hold for every value that the view allows of
 * these types; if not, why not is noted. */
bool prove_holds(struct prover *c, struct view v, const json_t *super, unsigned types);
bool prove_number(struct prover *c, const struct view *v, const json_t *s, unsigned type);
bool prove_string(struct prover *c, const struct view *v, const json_t *s);
bool prove_array(struct prover *c, const struct view *v, const json_t *s);
bool prove_object(struct prover *c, const struct view *v, const json_t *s);

/* Note a reason, if reasons are wanted here. Returns false. */
bool prove_because(struct prover *c, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* Some schema of the view has the keyword with an equal value, without references. */
bool prove_same(const struct view *v, const char *keyword, const json_t *value);

#endif
