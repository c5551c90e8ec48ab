/* SPDX-License-Identifier: MIT */
/* The keywords of one type of value: that each of super's follows from what the view says. */
#include "evolve_view.h"

/* ---- keywords that a number bounds ----------------------------------------------------------- */

/* Some schema of the view says keyword <= (up) or >= (down) the bound; strict: < or >. */
static bool bounded(const struct view *v, const char *keyword, const json_t *bound, bool up,
                    bool strict)
{
    const json_t *mine;

    for (unsigned i = 0; (mine = view_next(v, keyword, &i));) {
        if (!json_is_number(mine) || !json_is_number(bound))
            continue;
        const int d = evolve_compare(mine, bound) * (up ? -1 : 1);
        if (strict ? d > 0 : d >= 0)
            return true;
    }
    return false;
}

static bool multiple(const struct view *v, const json_t *of, unsigned type)
{
    const json_t *mine;

    if (!json_is_number(of))
        return false;
    if (type == TYPE_INTEGER && json_is_integer(of) && json_integer_value(of) == 1)
        return true;
    for (unsigned i = 0; (mine = view_next(v, "multipleOf", &i));) {
        if (!json_is_number(mine))
            continue;
        if (evolve_equal(mine, of) ||
            (json_is_integer(mine) && json_is_integer(of) && json_integer_value(of) > 0 &&
             json_integer_value(mine) % json_integer_value(of) == 0))
            return true;
    }
    return false;
}

bool prove_number(struct prover *c, const struct view *v, const json_t *s, unsigned type)
{
    const json_t *j;
    bool r = true;

    if ((j = json_object_get(s, "minimum")) && !bounded(v, "minimum", j, false, false) &&
        !bounded(v, "exclusiveMinimum", j, false, false))
        r = prove_because(c, "minimum: it may be less");
    if ((j = json_object_get(s, "maximum")) && !bounded(v, "maximum", j, true, false) &&
        !bounded(v, "exclusiveMaximum", j, true, false))
        r = prove_because(c, "maximum: it may be more");
    if ((j = json_object_get(s, "exclusiveMinimum")) && !bounded(v, "minimum", j, false, true) &&
        !bounded(v, "exclusiveMinimum", j, false, false))
        r = prove_because(c, "exclusiveMinimum: it may be as little");
    if ((j = json_object_get(s, "exclusiveMaximum")) && !bounded(v, "maximum", j, true, true) &&
        !bounded(v, "exclusiveMaximum", j, true, false))
        r = prove_because(c, "exclusiveMaximum: it may be as much");
    if ((j = json_object_get(s, "multipleOf")) && !multiple(v, j, type))
        r = prove_because(c, "multipleOf: not known to be one");
    return r;
}

static bool is_zero(const json_t *j)
{
    return json_is_number(j) && json_number_value(j) <= 0;
}

/* Some schema of the view has the keyword with an equal value. */
bool prove_same(const struct view *v, const char *keyword, const json_t *value)
{
    const json_t *mine;

    for (unsigned i = 0; (mine = view_next(v, keyword, &i));)
        if (evolve_is_plain(mine) && evolve_is_plain(value) && evolve_equal(mine, value))
            return true;
    return false;
}

bool prove_string(struct prover *c, const struct view *v, const json_t *s)
{
    const json_t *j;
    bool r = true;

    if ((j = json_object_get(s, "minLength")) && !is_zero(j) &&
        !bounded(v, "minLength", j, false, false))
        r = prove_because(c, "minLength: it may be shorter");
    if ((j = json_object_get(s, "maxLength")) && !bounded(v, "maxLength", j, true, false))
        r = prove_because(c, "maxLength: it may be longer");
    if ((j = json_object_get(s, "pattern")) && !prove_same(v, "pattern", j))
        r = prove_because(c, "pattern: not known to match");
    if ((j = json_object_get(s, "format")) && !prove_same(v, "format", j))
        r = prove_because(c, "format: not known to be %s",
                          json_is_string(j) ? json_string_value(j) : "it");
    return r;
}

/* ---- arrays ---------------------------------------------------------------------------------- */

static bool element_holds(struct prover *c, const struct view *v, size_t i, const json_t *super)
{
    struct view element;

    view_element(c, v, i, &element);
    if (element.never)
        return true;
    const size_t back = evolve_path_push(&c->path, NULL, SIZE_MAX);
    const bool r = prove_holds(c, element, super, TYPE_ALL);
    evolve_path_pop(&c->path, back);
    return r;
}

static bool items_hold(struct prover *c, const struct view *v, const json_t *s)
{
    const json_t *first = json_object_get(s, "prefixItems"), *items = json_object_get(s, "items"),
                 *mine;
    size_t n = json_array_size(first), most = n;
    bool r = true;

    for (unsigned i = 0; (mine = view_next(v, "prefixItems", &i));)
        most = MAX(most, json_array_size(mine));
    for (size_t i = 0; i < n; i++)
        r &= element_holds(c, v, i, json_array_get(first, i));
    for (size_t i = n; items && i < most; i++)
        r &= element_holds(c, v, i, items);
    if (items)
        r &= element_holds(c, v, most, items); /* and all behind it */
    return r;
}

bool prove_array(struct prover *c, const struct view *v, const json_t *s)
{
    const json_t *j;
    bool r = items_hold(c, v, s);

    if ((j = json_object_get(s, "minItems")) && !is_zero(j) &&
        !bounded(v, "minItems", j, false, false))
        r = prove_because(c, "minItems: there may be fewer");
    if ((j = json_object_get(s, "maxItems")) && !bounded(v, "maxItems", j, true, false))
        r = prove_because(c, "maxItems: there may be more");
    if (json_is_true(json_object_get(s, "uniqueItems")) &&
        !prove_same(v, "uniqueItems", json_true()))
        r = prove_because(c, "uniqueItems: two may be equal");
    return r;
}

/* ---- objects --------------------------------------------------------------------------------- */

static bool member_holds(struct prover *c, const struct view *member, const char *name, size_t n,
                         const json_t *super)
{
    if (member->never)
        return true;
    const size_t back = evolve_path_push(&c->path, name, n);
    const bool r = prove_holds(c, *member, super, TYPE_ALL);
    evolve_path_pop(&c->path, back);
    return r;
}

/* To look n names up is work, though none may lead to a step. */
static bool may_look_up(struct prover *c, size_t n)
{
    view_charge(c, 8 * n);
    return c->work > 0 || prove_because(c, "not compared: too large");
}

static bool properties_hold(struct prover *c, const struct view *v, const json_t *properties)
{
    const char *name;
    size_t n;
    json_t *sub;
    bool r = true;

    if (!may_look_up(c, json_object_size(properties)))
        return false;
    json_object_keylen_foreach((json_t *)(uintptr_t)properties, name, n, sub)
    {
        struct view member;
        view_member(c, v, name, n, &member);
        r &= member_holds(c, &member, name, n, sub);
    }
    return r;
}

/* additionalProperties of s: of all names that the view lists and s does not, and of all that neither does.
 * patternProperties of s would except some: to ask it of them too proves more than is needed. */
static bool additional_holds(struct prover *c, const struct view *v, const json_t *s,
                             const json_t *additional)
{
    const json_t *properties = json_object_get(s, "properties"), *mine;
    const char *name;
    size_t n;
    json_t *ignored;
    struct view member;
    bool r = true;

    if (json_is_true(additional))
        return true;
    for (unsigned i = 0; (mine = view_next(v, "properties", &i));) {
        if (!may_look_up(c, json_object_size(mine)))
            return false;
        json_object_keylen_foreach((json_t *)(uintptr_t)mine, name, n, ignored)
        {
            if (json_object_getn(properties, name, n))
                continue;
            view_member(c, v, name, n, &member);
            r &= member_holds(c, &member, name, n, additional);
        }
    }
    view_other(c, v, &member);
    return member_holds(c, &member, NULL, SIZE_MAX, additional) && r;
}

/* Each pattern of s is one of the view's, with no less under it, or asks nothing. */
static bool patterns_hold(struct prover *c, const struct view *v, const json_t *patterns)
{
    const char *pattern;
    size_t n;
    json_t *sub;
    bool r = true;

    json_object_keylen_foreach((json_t *)(uintptr_t)patterns, pattern, n, sub)
    {
        struct view member = {0};
        const json_t *mine;
        for (unsigned i = 0; (mine = view_next(v, "patternProperties", &i));)
            if ((mine = json_object_getn(mine, pattern, n)))
                view_add(c, &member, mine);
        r &= member_holds(c, &member, NULL, SIZE_MAX, sub);
    }
    return r;
}

/* How many names the schemas require at least, by the one that requires most. */
static size_t required_n(const struct view *v)
{
    const json_t *required;
    size_t most = 0;

    for (unsigned i = 0; (required = view_next(v, "required", &i));)
        most = MAX(most, json_array_size(required));
    return most;
}

static bool required_holds(struct prover *c, const struct view *v, const json_t *required)
{
    const size_t most = required_n(v);
    bool r = true;

    for (size_t i = 0; i < json_array_size(required); i++) {
        const json_t *name = json_array_get(required, i);
        view_charge(c, most);
        if (c->work == 0)
            return prove_because(c, "not compared: too large");
        if (!json_is_string(name) ||
            !view_requires(v, json_string_value(name), json_string_length(name)))
            r = prove_because(c, "required: '%s' may be missing",
                              json_is_string(name) ? json_string_value(name) : "?");
    }
    return r;
}

/* dependentRequired and dependentSchemas: what they ask holds always, or the name never occurs. */
static bool dependents_hold(struct prover *c, const struct view *v, const json_t *dependent)
{
    const char *name;
    size_t n;
    json_t *ask;
    bool r = true;

    json_object_keylen_foreach((json_t *)(uintptr_t)dependent, name, n, ask)
    {
        struct view member;
        view_member(c, v, name, n, &member);
        if (member.never)
            continue;
        r &= json_is_array(ask) ? required_holds(c, v, ask) : prove_holds(c, *v, ask, TYPE_OBJECT);
    }
    return r;
}

/* At most as many names as the bound: by a schema that lists all that there may be. */
static bool few_names(const struct view *v, const json_t *bound)
{
    for (unsigned i = 0; i < v->n; i++) {
        const json_t *s = v->schema[i];
        if (json_is_false(json_object_get(s, "additionalProperties")) &&
            !json_object_get(s, "patternProperties") && json_is_integer(bound) &&
            (json_int_t)json_object_size(json_object_get(s, "properties")) <=
                json_integer_value(bound))
            return true;
    }
    return false;
}

bool prove_object(struct prover *c, const struct view *v, const json_t *s)
{
    const json_t *j;
    bool r = true;

    if ((j = json_object_get(s, "required")) && !prove_same(v, "required", j))
        r &= required_holds(c, v, j);
    if ((j = json_object_get(s, "properties")))
        r &= properties_hold(c, v, j);
    if ((j = json_object_get(s, "patternProperties")))
        r &= patterns_hold(c, v, j);
    if ((j = json_object_get(s, "additionalProperties")))
        r &= additional_holds(c, v, s, j);
    if ((j = json_object_get(s, "dependentRequired")) && !prove_same(v, "dependentRequired", j))
        r &= dependents_hold(c, v, j);
    if ((j = json_object_get(s, "dependentSchemas")) && !prove_same(v, "dependentSchemas", j))
        r &= dependents_hold(c, v, j);
    if ((j = json_object_get(s, "minProperties")) && !is_zero(j) &&
        !bounded(v, "minProperties", j, false, false) &&
        !(json_is_integer(j) && (json_int_t)required_n(v) >= json_integer_value(j)))
        r = prove_because(c, "minProperties: there may be fewer");
    if ((j = json_object_get(s, "maxProperties")) && !bounded(v, "maxProperties", j, true, false) &&
        !few_names(v, j))
        r = prove_because(c, "maxProperties: there may be more");
    return r;
}
