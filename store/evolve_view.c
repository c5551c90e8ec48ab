/* SPDX-License-Identifier: MIT */
/* Views: see evolve_view.h. All here may forget, and never invent: what a view says is true of each value that
 * obeys its schemas. */
#include "evolve_view.h"

enum { REFS_MAX = 32 };

static void add(struct prover *c, struct view *v, const json_t *schema, unsigned refs)
{
    const json_t *all = json_object_get(schema, "allOf"), *ref = json_object_get(schema, "$ref");

    if (json_is_false(schema))
        v->never = true;
    if (json_is_boolean(schema))
        return;
    if (!json_is_object(schema) || refs == REFS_MAX || v->n == VIEW_MAX) {
        v->forgot = true;
        return;
    }
    v->split[v->n] = 0;
    v->schema[v->n++] = schema;
    if (ref)
        add(c, v, evolve_resolve(c->sub, ref), refs + 1);
    for (size_t i = 0; i < json_array_size(all); i++)
        add(c, v, json_array_get(all, i), refs + 1);
}

void view_add(struct prover *c, struct view *v, const json_t *schema)
{
    add(c, v, schema, 0);
}

unsigned view_types(const struct view *v)
{
    unsigned types = v->never ? 0 : TYPE_ALL;

    for (unsigned i = 0; i < v->n; i++)
        types &= evolve_types(json_object_get(v->schema[i], "type"));
    return types;
}

const json_t *view_next(const struct view *v, const char *keyword, unsigned *i)
{
    while (*i < v->n) {
        const json_t *j = json_object_get(v->schema[(*i)++], keyword);
        if (j)
            return j;
    }
    return NULL;
}

static bool view_has(const struct view *v, const char *keyword)
{
    unsigned i = 0;

    return view_next(v, keyword, &i) != NULL;
}

/* By EVOLVE_CLOSED: nothing says more of members or elements than keyword lists. */
static bool is_closed(const struct prover *c, const struct view *v)
{
    static const char *const opens[] = {
        "additionalProperties", "patternProperties", "unevaluatedProperties", "propertyNames",
        "unevaluatedItems",     "contains",          "x-evfs-limit",          "if",
        "dependentSchemas",     "$dynamicRef"};

    if (!(c->flags & EVOLVE_CLOSED) || v->forgot || !view_has(v, "type"))
        return false;
    for (size_t i = 0; i < ARRAY_LEN(opens); i++)
        if (view_has(v, opens[i]))
            return false;
    return true;
}

void view_member(struct prover *c, const struct view *v, const char *name, size_t n,
                 struct view *ret)
{
    bool listed = false;

    *ret = (struct view){.never = v->never};
    for (unsigned i = 0; i < v->n; i++) {
        const json_t *schema = v->schema[i];
        const json_t *mine =
            name ? json_object_getn(json_object_get(schema, "properties"), name, n) : NULL;
        listed |= mine != NULL;
        if (!mine && !json_object_get(schema, "patternProperties"))
            mine = json_object_get(schema, "additionalProperties");
        if (mine)
            view_add(c, ret, mine);
    }
    ret->never |= !listed && is_closed(c, v);
}

void view_other(struct prover *c, const struct view *v, struct view *ret)
{
    view_member(c, v, NULL, 0, ret);
}

void view_element(struct prover *c, const struct view *v, size_t i, struct view *ret)
{
    bool listed = false;

    *ret = (struct view){.never = v->never};
    for (unsigned k = 0; k < v->n; k++) {
        const json_t *schema = v->schema[k], *first = json_object_get(schema, "prefixItems"),
                     *max = json_object_get(schema, "maxItems");
        const json_t *mine = json_array_get(first, i);
        if (!mine)
            mine = json_object_get(schema, "items");
        listed |= mine != NULL;
        if (mine)
            view_add(c, ret, mine);
        if (json_is_integer(max) && json_integer_value(max) >= 0 &&
            (uint64_t)json_integer_value(max) <= i)
            ret->never = true;
    }
    ret->never |= !listed && is_closed(c, v);
}

bool view_requires(const struct view *v, const char *name, size_t n)
{
    const json_t *required;

    for (unsigned i = 0; (required = view_next(v, "required", &i));) {
        for (size_t k = 0; k < json_array_size(required); k++) {
            const json_t *r = json_array_get(required, k);
            if (json_is_string(r) && json_string_length(r) == n &&
                memcmp(json_string_value(r), name, n) == 0)
                return true;
        }
    }
    return false;
}

/* ---- values as schemas ----------------------------------------------------------------------- */

static size_t code_points(const json_t *s)
{
    const char *p = json_string_value(s);
    size_t n = 0;

    for (size_t i = 0; i < json_string_length(s); i++)
        n += ((unsigned char)p[i] & 0xc0) != 0x80;
    return n;
}

static json_t *exactly(const json_t *value)
{
    static const char *const names[] = {"null",   "boolean", "integer", "number",
                                        "string", "array",   "object"};
    const unsigned type = evolve_type_of(value);
    json_t *s = json_object();
    const char *name;
    size_t i, name_n;
    json_t *member;
    int r = json_object_set_new(s, "type", json_string(names[__builtin_ctz(type)]));

    r |= json_object_set_new(s, "const", json_deep_copy(value));
    if (json_is_number(value)) {
        r |= json_object_set_new(s, "minimum", json_deep_copy(value));
        r |= json_object_set_new(s, "maximum", json_deep_copy(value));
    } else if (type == TYPE_STRING) {
        const json_int_t n = (json_int_t)code_points(value);
        r |= json_object_set_new(s, "minLength", json_integer(n));
        r |= json_object_set_new(s, "maxLength", json_integer(n));
    } else if (type == TYPE_ARRAY) {
        const size_t n = json_array_size(value);
        json_t *elements = json_array();
        for (i = 0; i < n; i++)
            r |= json_array_append_new(elements, exactly(json_array_get(value, i)));
        r |= json_object_set_new(s, "prefixItems", elements);
        r |= json_object_set_new(s, "items", json_false());
        r |= json_object_set_new(s, "minItems", json_integer((json_int_t)n));
        r |= json_object_set_new(s, "maxItems", json_integer((json_int_t)n));
    } else if (type == TYPE_OBJECT) {
        json_t *members = json_object(), *required = json_array();
        json_object_keylen_foreach((json_t *)(uintptr_t)value, name, name_n, member)
        {
            r |= json_object_setn_new(members, name, name_n, exactly(member));
            r |= json_array_append_new(required, json_stringn(name, name_n));
        }
        r |= json_object_set_new(s, "properties", members);
        r |= json_object_set_new(s, "required", required);
        r |= json_object_set_new(s, "additionalProperties", json_false());
    }
    if (r == 0)
        return s;
    json_decref(s);
    return NULL;
}

const json_t *view_exactly(struct prover *c, const json_t *value)
{
    json_t *s = exactly(value);

    if (!s || json_array_append_new(c->made, s) < 0) {
        c->failed = true;
        return NULL;
    }
    return s;
}
