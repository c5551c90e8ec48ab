/* SPDX-License-Identifier: MIT */
/* Arrays and objects: one pass over the elements or members, whatever keywords there are. */
#include "jsonschema_run.h"

#include "limits.h"

#include <errno.h>

/* A part of the value on the way, by a schema for it. */
static bool part(struct js_run *r, const struct js_node *n, const char *p,
                 const struct js_step *step, const char **end)
{
    const char *known;

    r->step = step;
    const bool ok = js_eval(r, n, p, NULL, &known);
    r->step = step->up;
    *end = known ? known : *end;
    return ok;
}

/* ---- arrays ---------------------------------------------------------------------------------- */

static bool contains(struct js_run *r, const struct js_node *n, const char *p,
                     const struct js_step *step, const char **end)
{
    r->quiet++;
    const bool ok = part(r, n, p, step, end);
    r->quiet--;
    return ok;
}

static bool array_counts(struct js_run *r, const struct js_node *n, uint64_t count,
                         uint64_t contained)
{
    const struct js_arrays *const a = n->arrays;

    if (count < a->min)
        return js_invalid(r, n, "minItems", "has %llu elements, must have %llu",
                          (unsigned long long)count, (unsigned long long)a->min);
    if (count > a->max)
        return js_invalid(r, n, "maxItems", "has %llu elements, may have %llu",
                          (unsigned long long)count, (unsigned long long)a->max);
    if (a->contains && contained < a->min_contains)
        return js_invalid(r, n, a->min_contains == 1 ? "contains" : "minContains",
                          "%llu elements are as contains demands, must be %llu",
                          (unsigned long long)contained, (unsigned long long)a->min_contains);
    if (a->contains && contained > a->max_contains)
        return js_invalid(r, n, "maxContains", "%llu elements are as contains demands, may be %llu",
                          (unsigned long long)contained, (unsigned long long)a->max_contains);
    return true;
}

bool js_eval_array(struct js_run *r, const struct js_node *n, const char *p, struct js_bits *marks,
                   const char **ret_end)
{
    const struct js_arrays *const a = n->arrays;
    const char *const from = p;
    struct js_step step = {.up = r->step};
    uint64_t contained = 0;

    p = js_token(p + 1);
    while (*p != ']') {
        const size_t i = step.index;
        const struct js_node *const item = i < a->n_prefix ? a->prefix[i] : a->items;
        const char *end = NULL;
        r->work++;
        if (item && !part(r, item, p, &step, &end))
            return false;
        bool seen = item != NULL;
        if (a->contains && contains(r, a->contains, p, &step, &end)) {
            contained++;
            seen = true;
        }
        if (r->stopped)
            return false;
        if (marks && seen)
            js_bits_set(marks, i);
        p = js_token(end ? end : js_end(r, p));
        if (*p == ',')
            p = js_token(p + 1);
        step.index++;
    }
    *ret_end = p + 1;
    return array_counts(r, n, step.index, contained) && (!a->unique || js_eval_unique(r, n, from));
}

/* ---- objects --------------------------------------------------------------------------------- */

/* A member on the way. */
struct member {
    struct js_step step; /* with its key */
    const char *value, *end;
    unsigned special;
    bool evaluated;
};

static bool not_allowed(struct js_run *r, const struct js_node *n, const char *keyword,
                        const struct member *m)
{
    const struct js_step *const before = r->step;

    r->step = &m->step;
    (void)js_invalid(r, n, keyword, "the property %.*s is not allowed",
                     (int)MIN(m->step.key.n, 100), m->step.key.p);
    r->step = before;
    return false;
}

/* The member by one schema of a keyword of n. */
static bool member(struct js_run *r, const struct js_node *n, const char *keyword,
                   const struct js_node *to, struct member *m)
{
    m->evaluated = true;
    if (to->fixed == JS_ALWAYS)
        return true;
    if (to->fixed == JS_NEVER)
        return not_allowed(r, n, keyword, m);
    return part(r, to, m->value, &m->step, &m->end);
}

static bool member_name(struct js_run *r, const struct js_node *n, struct member *m)
{
    const char *end;

    return js_eval(r, n, m->step.key.p, NULL, &end);
}

static bool member_patterns(struct js_run *r, const struct js_node *n, struct member *m)
{
    const struct js_objects *const o = n->objects;

    for (uint32_t i = 0; i < o->n_patterns; i++)
        if (js_matches(r, n, o->patterns[i], m->step.key, m->special, "patternProperties") &&
            !member(r, n, "patternProperties", o->pattern_nodes[i], m))
            return false;
    return !r->stopped;
}

/* One member by all keywords; there is its number among the names, or -1. */
static bool member_all(struct js_run *r, const struct js_node *n, struct member *m, int64_t there)
{
    const struct js_objects *const o = n->objects;

    if (there >= 0 && o->nodes[there] && !member(r, n, "properties", o->nodes[there], m))
        return false;
    if (o->n_patterns && !member_patterns(r, n, m))
        return false;
    if (!m->evaluated && o->additional && !member(r, n, "additionalProperties", o->additional, m))
        return false;
    return !o->property_names || member_name(r, o->property_names, m);
}

static bool missing(struct js_run *r, const struct js_node *n, const struct js_bits *there)
{
    const struct js_objects *const o = n->objects;

    for (uint32_t i = 0; i < o->names.n; i++)
        if (o->required[i / 64] >> i % 64 & 1 && !js_bits_get(there, i))
            return js_invalid(r, n, "required", "the property \"%.*s\" is missing",
                              (int)MIN(o->names.names[i].n, 100), o->names.names[i].p);
    return false;
}

static bool required(struct js_run *r, const struct js_node *n, const struct js_bits *there)
{
    const struct js_objects *const o = n->objects;

    for (size_t i = 0; o->required && i < there->n; i++)
        if (UNLIKELY((there->words[i] & o->required[i]) != o->required[i]))
            return missing(r, n, there);
    return true;
}

static bool dependents(struct js_run *r, const struct js_node *n, const char *p,
                       const struct js_bits *there, struct js_bits *marks)
{
    const struct js_objects *const o = n->objects;
    const char *end;

    for (uint32_t i = 0; i < o->n_dependents; i++) {
        const struct js_dependent *const d = &o->dependents[i];
        if (!js_bits_get(there, d->bit))
            continue;
        for (uint32_t k = 0; k < d->n; k++)
            if (!js_bits_get(there, d->bits[k]))
                return js_invalid(r, n, d->keyword, "the property \"%.*s\" is missing",
                                  (int)MIN(o->names.names[d->bits[k]].n, 100),
                                  o->names.names[d->bits[k]].p);
        if (d->node && !js_eval(r, d->node, p, marks, &end))
            return false;
    }
    return true;
}

/* The key at p (its quote), and where its value is. */
static const char *take_key(const struct js_run *r, const char *p, struct member *m)
{
    const char *const end = js_string_end(p, r->end, &m->special);

    m->step.key = (struct slice){p, (size_t)(end - p)};
    return m->value = js_token(js_token(end) + 1);
}

/* What follows a member: the next key, or '}'. */
static const char *after(struct js_run *r, const struct member *m)
{
    const char *p = js_token(m->end ? m->end : js_end(r, m->value));

    return *p == ',' ? js_token(p + 1) : p;
}

static bool members(struct js_run *r, const struct js_node *n, const char *p, struct js_bits *there,
                    struct js_bits *marks, const char **ret_end)
{
    const struct js_objects *const o = n->objects;
    uint64_t count = 0;

    p = js_token(p + 1);
    for (; *p != '}'; count++) {
        struct member m = {.step.up = r->step};
        (void)take_key(r, p, &m);
        r->work++;
        const struct slice name = js_string_text(m.step.key, m.special, &r->scratch);
        if (UNLIKELY(!name.p)) {
            r->stopped = -ENOMEM;
            return false;
        }
        const int64_t i = js_names_find(&o->names, name);
        if (i >= 0)
            js_bits_set(there, (size_t)i);
        if (!member_all(r, n, &m, i))
            return false;
        if (marks && m.evaluated)
            js_bits_set(marks, count);
        p = after(r, &m);
    }
    *ret_end = p + 1;
    if (count < o->min)
        return js_invalid(r, n, "minProperties", "has %llu properties, must have %llu",
                          (unsigned long long)count, (unsigned long long)o->min);
    if (count > o->max)
        return js_invalid(r, n, "maxProperties", "has %llu properties, may have %llu",
                          (unsigned long long)count, (unsigned long long)o->max);
    return true;
}

bool js_eval_object(struct js_run *r, const struct js_node *n, const char *p, struct js_bits *marks,
                    const char **ret_end)
{
    struct js_bits there;

    if (!js_bits_init(r, &there, n->objects->names.n))
        return false;
    const bool ok = members(r, n, p, &there, marks, ret_end) && required(r, n, &there) &&
                    dependents(r, n, p, &there, marks);
    js_bits_done(&there);
    return ok;
}

/* ---- what nothing evaluated ------------------------------------------------------------------ */

static bool unevaluated_items(struct js_run *r, const struct js_node *n, const char *p,
                              struct js_bits *marks)
{
    struct js_step step = {.up = r->step};

    for (p = js_token(p + 1); *p != ']'; step.index++) {
        const char *end = NULL;
        r->work++;
        if (!js_bits_get(marks, step.index)) {
            if (!part(r, n->unevaluated_items, p, &step, &end))
                return false;
            js_bits_set(marks, step.index);
        }
        p = js_token(end ? end : js_end(r, p));
        if (*p == ',')
            p = js_token(p + 1);
    }
    return true;
}

static bool unevaluated_properties(struct js_run *r, const struct js_node *n, const char *p,
                                   struct js_bits *marks)
{
    p = js_token(p + 1);
    for (size_t i = 0; *p != '}'; i++) {
        struct member m = {.step.up = r->step};
        (void)take_key(r, p, &m);
        r->work++;
        if (!js_bits_get(marks, i)) {
            if (!member(r, n, "unevaluatedProperties", n->unevaluated_properties, &m))
                return false;
            js_bits_set(marks, i);
        }
        p = after(r, &m);
    }
    return true;
}

bool js_eval_unevaluated(struct js_run *r, const struct js_node *n, const char *p,
                         struct js_bits *marks)
{
    return *p == '[' ? unevaluated_items(r, n, p, marks) : unevaluated_properties(r, n, p, marks);
}
