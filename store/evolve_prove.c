/* SPDX-License-Identifier: MIT */
/* The proof that each value valid under one schema (sub) is valid under another (super).
 *
 * What is known of the value is a view of sub, that is schemas which all hold; it is split into cases at
 * enum, const, anyOf and oneOf, and by the value's type. Each keyword of super then has to follow.
 * (1) What is not looked at on sub's side makes the view weaker: less is proved, nothing wrong.
 * (2) A keyword of super that this file does not know how to prove fails the proof, but for annotations.
 * (3) Each step costs one of c->work, and nesting has an end: so has the proof, whatever the schemas.
 * The only short cut is that a schema follows from an equal one, where neither has references. */
#include "evolve_view.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>

enum { NESTING_MAX = 100 };

/* ---- reasons --------------------------------------------------------------------------------- */

bool prove_because(struct prover *c, const char *fmt, ...)
{
    struct evolve_side *side = c->ret;
    va_list ap;

    if (c->quiet > 0 || side->n == EVOLVE_REASONS_MAX)
        return false;
    struct evolve_reason *reason = &side->reason[side->n];
    reason->path = strdup(c->path.p ? c->path.p : "");
    va_start(ap, fmt);
    const int r = vasprintf(&reason->why, fmt, ap);
    va_end(ap);
    if (r < 0 || !reason->path) {
        free(reason->path);
        if (r >= 0)
            free(reason->why);
        *reason = (struct evolve_reason){0};
        c->failed = true;
        return false;
    }
    side->n++;
    return false;
}

/* The same, but where another way may still be found. */
static bool quietly(struct prover *c, const struct view *v, const json_t *super, unsigned types)
{
    c->quiet++;
    const bool r = prove_holds(c, *v, super, types);
    c->quiet--;
    return r;
}

/* A view of one schema alone. */
static struct view view_of(struct prover *c, const json_t *schema)
{
    struct view v = {0};

    view_add(c, &v, schema);
    return v;
}

/* ---- values ---------------------------------------------------------------------------------- */

/* The one value that the view allows, or NULL. */
static const json_t *only_value(const struct view *v)
{
    const json_t *value;

    for (unsigned i = 0; (value = view_next(v, "const", &i));)
        return value;
    return NULL;
}

static bool is_among(struct prover *c, const json_t *value, const json_t *values)
{
    view_charge(c, json_array_size(values));
    for (size_t i = 0; i < json_array_size(values); i++)
        if (evolve_equal(value, json_array_get(values, i)))
            return true;
    return false;
}

static bool enum_holds(struct prover *c, const struct view *v, const json_t *values, unsigned type)
{
    const json_t *value = only_value(v);
    bool all = false;

    if (value)
        all = is_among(c, value, values);
    else if (type == TYPE_NULL || type == TYPE_BOOLEAN) {
        json_t *a = type == TYPE_NULL ? json_null() : json_true();
        all = is_among(c, a, values) && (type == TYPE_NULL || is_among(c, json_false(), values));
    }
    return all || prove_because(c, "enum: not all values are listed");
}

/* ---- no value in common ---------------------------------------------------------------------- */

/* The values that a schema lists, or NULL: it does not. */
static const json_t *listed(const json_t *schema, json_t **ret_one)
{
    json_t *one = json_object_get(schema, "const");

    *ret_one = one;
    return one ? NULL : json_object_get(schema, "enum");
}

static bool lists_differ(struct prover *c, const json_t *a, const json_t *b)
{
    json_t *one_a, *one_b;
    const json_t *many_a = listed(a, &one_a), *many_b = listed(b, &one_b);

    if ((!one_a && !many_a) || (!one_b && !many_b))
        return false;
    if (one_a)
        return one_b ? !evolve_equal(one_a, one_b) : !is_among(c, one_a, many_b);
    for (size_t i = 0; i < json_array_size(many_a); i++) {
        if (c->work < 2)
            return false;
        const json_t *x = json_array_get(many_a, i);
        if (one_b ? evolve_equal(x, one_b) : is_among(c, x, many_b))
            return false;
    }
    return json_is_array(many_a);
}

/* No value of these types obeys both. */
static bool disjoint(struct prover *c, const struct view *v, const json_t *schema, unsigned types,
                     unsigned depth)
{
    const json_t *ref = json_object_get(schema, "$ref");
    const json_t *required = json_object_get(schema, "required"), *all;
    bool only_object;

    if (json_is_false(schema) || v->never)
        return true;
    if (!json_is_object(schema) || depth > 8 || c->work < 2)
        return false;
    c->work--;
    types &= view_types(v) & evolve_types(json_object_get(schema, "type"));
    if (types == 0)
        return true;
    if (ref && disjoint(c, v, evolve_resolve(c->super, ref), types, depth + 1))
        return true;
    all = json_object_get(schema, "allOf");
    for (size_t i = 0; i < json_array_size(all); i++)
        if (disjoint(c, v, json_array_get(all, i), types, depth + 1))
            return true;
    for (unsigned i = 0; i < v->n; i++)
        if (lists_differ(c, v->schema[i], schema))
            return true;
    only_object = types == TYPE_OBJECT;
    for (size_t i = 0; only_object && i < json_array_size(required); i++) {
        const json_t *r = json_array_get(required, i);
        const char *name = json_string_value(r);
        struct view member;
        if (!name)
            continue;
        view_member(c, v, name, json_string_length(r), &member);
        if (member.never)
            return true;
        const json_t *mine =
            json_object_getn(json_object_get(schema, "properties"), name, json_string_length(r));
        if (mine && disjoint(c, &member, mine, TYPE_ALL, depth + 1))
            return true;
    }
    return false;
}

/* ---- schemas in place ------------------------------------------------------------------------ */

static bool any_holds(struct prover *c, const struct view *v, const json_t *any, unsigned type)
{
    for (size_t i = 0; i < json_array_size(any); i++)
        if (quietly(c, v, json_array_get(any, i), type))
            return true;
    /* The only branch of the type says best why. */
    const json_t *only = NULL;
    for (size_t i = 0, n = 0; i < json_array_size(any); i++) {
        const json_t *branch = json_array_get(any, i);
        if (evolve_types(json_object_get(branch, "type")) & type)
            only = n++ ? NULL : branch;
    }
    if (only && json_object_get(only, "type"))
        return prove_holds(c, *v, only, type);
    return prove_because(c, "anyOf: no branch takes all of it");
}

static bool one_holds(struct prover *c, const struct view *v, const json_t *one, unsigned type)
{
    for (size_t i = 0; i < json_array_size(one); i++) {
        bool others = true;
        if (!quietly(c, v, json_array_get(one, i), type))
            continue;
        for (size_t k = 0; others && k < json_array_size(one); k++)
            others = k == i || disjoint(c, v, json_array_get(one, k), type, 0);
        if (others)
            return true;
    }
    return prove_because(c, "oneOf: not known to be exactly one");
}

static bool condition_holds(struct prover *c, const struct view *v, const json_t *s, unsigned type)
{
    const json_t *cond = json_object_get(s, "if"), *yes = json_object_get(s, "then"),
                 *no = json_object_get(s, "else");

    if (!cond)
        return true;
    if ((!yes || quietly(c, v, yes, type)) && (!no || quietly(c, v, no, type)))
        return true;
    if (no ? quietly(c, v, no, type) && disjoint(c, v, cond, type, 0)
           : disjoint(c, v, cond, type, 0))
        return true;
    if (yes && quietly(c, v, yes, type) && quietly(c, v, cond, type))
        return true;
    return prove_because(c, "if: not known to hold");
}

/* What is not compared but as a whole. */
static bool others_hold(struct prover *c, const struct view *v, const json_t *s, unsigned type)
{
    static const struct {
        const char *keyword;
        unsigned types;
    } others[] = {{"$dynamicRef", TYPE_ALL},        {"$recursiveRef", TYPE_ALL},
                  {"unevaluatedItems", TYPE_ARRAY}, {"unevaluatedProperties", TYPE_OBJECT},
                  {"propertyNames", TYPE_OBJECT},   {"dependencies", TYPE_OBJECT},
                  {"contains", TYPE_ARRAY}};
    bool r = true;

    for (size_t i = 0; i < ARRAY_LEN(others); i++) {
        const json_t *j = json_object_get(s, others[i].keyword);
        if (!j || !(others[i].types & type) || json_is_true(j))
            continue;
        /* propertyNames alone depends on nothing beside it. */
        if (strcmp(others[i].keyword, "propertyNames") == 0 && prove_same(v, "propertyNames", j))
            continue;
        r = prove_because(c, "not compared: %s", others[i].keyword);
    }
    return r;
}

static bool in_place_holds(struct prover *c, const struct view *v, const json_t *s, unsigned type)
{
    const json_t *j;
    bool r = true;

    if ((j = json_object_get(s, "$ref"))) {
        const json_t *to = evolve_resolve(c->super, j);
        r &= to ? prove_holds(c, *v, to, type) : prove_because(c, "not compared: $ref");
    }
    j = json_object_get(s, "allOf");
    for (size_t i = 0; i < json_array_size(j); i++)
        r &= prove_holds(c, *v, json_array_get(j, i), type);
    if ((j = json_object_get(s, "anyOf")))
        r &= any_holds(c, v, j, type);
    if ((j = json_object_get(s, "oneOf")))
        r &= one_holds(c, v, j, type);
    if ((j = json_object_get(s, "not")) && !prove_same(v, "not", j) && !disjoint(c, v, j, type, 0))
        r = prove_because(c, "not: not known to be another");
    return r && condition_holds(c, v, s, type) && others_hold(c, v, s, type);
}

static const char *const type_names[] = {"null",   "boolean", "integer", "number",
                                         "string", "array",   "object"};

static bool type_holds(struct prover *c, const struct view *v, const json_t *s, unsigned type)
{
    const json_t *j;
    bool r = true;

    if (!(evolve_types(json_object_get(s, "type")) & type))
        return prove_because(c, "type: it may be %s", type_names[__builtin_ctz(type)]);
    if ((j = json_object_get(s, "enum")))
        r &= enum_holds(c, v, j, type);
    if ((j = json_object_get(s, "const"))) {
        const json_t *value = only_value(v);
        if (!(value && evolve_equal(value, j)) && type != TYPE_NULL)
            r = prove_because(c, "const: it may be another");
        else if (type == TYPE_NULL && !json_is_null(j))
            r = prove_because(c, "const: it may be null");
    }
    if (type & (TYPE_INTEGER | TYPE_FRACTION))
        r &= prove_number(c, v, s, type);
    else if (type == TYPE_STRING)
        r &= prove_string(c, v, s);
    else if (type == TYPE_ARRAY)
        r &= prove_array(c, v, s);
    else if (type == TYPE_OBJECT)
        r &= prove_object(c, v, s);
    return in_place_holds(c, v, s, type) && r;
}

/* ---- cases ----------------------------------------------------------------------------------- */

enum split { SPLIT_NONE, SPLIT_HOLDS, SPLIT_FAILS };

static bool case_holds(struct prover *c, const struct view *v, const json_t *more,
                       const json_t *super, unsigned types)
{
    struct view with = *v;

    view_add(c, &with, more);
    return prove_holds(c, with, super, types);
}

static bool values_hold(struct prover *c, const json_t *values, const json_t *super, unsigned types)
{
    for (size_t i = 0; i < json_array_size(values); i++) {
        const json_t *value = json_array_get(values, i);
        if (!(evolve_type_of(value) & types))
            continue;
        /* The value says all: what else is known of it is not needed, but that it may not occur. */
        const json_t *exact = view_exactly(c, value);
        struct view one = {.n = 1, .schema = {exact}, .split = {SPLIT_CONST}};
        if (!exact || !prove_holds(c, one, super, types))
            return false;
    }
    return true;
}

/* If a schema of the view lists cases: whether super holds in each. */
static enum split split(struct prover *c, struct view *v, const json_t *super, unsigned types)
{
    static const struct {
        const char *keyword;
        unsigned bit;
    } cases[] = {{"anyOf", SPLIT_ANY}, {"oneOf", SPLIT_ONE}};

    for (unsigned i = 0; i < v->n; i++) {
        const json_t *values = json_object_get(v->schema[i], "enum"), *j;
        if (json_is_array(values) && !(v->split[i] & SPLIT_ENUM)) {
            v->split[i] |= SPLIT_ENUM;
            return values_hold(c, values, super, types) ? SPLIT_HOLDS : SPLIT_FAILS;
        }
        j = json_object_get(v->schema[i], "const");
        if (j && !(v->split[i] & SPLIT_CONST)) {
            v->split[i] |= SPLIT_CONST;
            const json_t *exact = view_exactly(c, j);
            struct view one = {.n = 1, .schema = {exact}, .split = {SPLIT_CONST}};
            return exact && (!(evolve_type_of(j) & types) || prove_holds(c, one, super, types))
                       ? SPLIT_HOLDS
                       : SPLIT_FAILS;
        }
        for (size_t k = 0; k < ARRAY_LEN(cases); k++) {
            j = json_object_get(v->schema[i], cases[k].keyword);
            if (!json_is_array(j) || (v->split[i] & cases[k].bit))
                continue;
            v->split[i] = (uint8_t)(v->split[i] | cases[k].bit);
            bool all = true;
            for (size_t b = 0; b < json_array_size(j); b++)
                all &= case_holds(c, v, json_array_get(j, b), super, types);
            return all ? SPLIT_HOLDS : SPLIT_FAILS;
        }
    }
    return SPLIT_NONE;
}

static bool holds_nested(struct prover *c, struct view *v, const json_t *super, unsigned types)
{
    bool r = true;

    if (json_is_true(super))
        return true;
    if (!json_is_false(super) && !json_is_object(super))
        return prove_because(c, "not compared: not a schema");
    types &= view_types(v);
    if (types == 0)
        return true;
    for (unsigned i = 0; i < v->n; i++)
        if (json_is_object(super) && json_equal(v->schema[i], super) && evolve_is_plain(super))
            return true;
    if (json_is_object(super) && json_object_size(super) == 0)
        return true;
    switch (split(c, v, super, types)) {
    case SPLIT_HOLDS:
        return true;
    case SPLIT_FAILS:
        return false;
    case SPLIT_NONE:
        break;
    }
    if (json_is_false(super))
        return prove_because(c, "false: nothing is allowed");
    for (unsigned bit = TYPE_NULL; bit <= TYPE_OBJECT; bit <<= 1)
        if (types & bit)
            r &= type_holds(c, v, super, bit);
    return r;
}

bool prove_holds(struct prover *c, struct view v, const json_t *super, unsigned types)
{
    bool r;

    if (v.never)
        return true;
    if (c->work == 0 || c->depth == NESTING_MAX)
        return prove_because(c, "not compared: %s", c->work ? "too deep" : "too large");
    c->work--;
    c->depth++;
    r = holds_nested(c, &v, super, types);
    c->depth--;
    return r;
}

int evolve_prove(const struct evolve_doc *sub, const struct evolve_doc *super, unsigned flags,
                 struct evolve_side *ret)
{
    struct prover c = {
        .sub = sub, .super = super, .ret = ret, .flags = flags, .work = LIMIT_EVOLVE_STEPS};

    c.made = json_array();
    if (!c.made)
        return -ENOMEM;
    const char *strange = sub->strange ? sub->strange : super->strange;
    if (slice_eq(sub->text, super->text))
        ret->holds = true;
    else if (strange)
        ret->holds = prove_because(&c, "not compared: %s", strange);
    else
        ret->holds = prove_holds(&c, view_of(&c, sub->root), super->root, TYPE_ALL);
    free(c.path.p);
    json_decref(c.made);
    return c.failed || c.path.failed ? -ENOMEM : 0;
}
