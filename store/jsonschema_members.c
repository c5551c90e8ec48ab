/* SPDX-License-Identifier: MIT */
/* Keywords of arrays and objects. Every name that an object's keywords speak of gets a number: one look-up
 * finds its schema, and a bit says that it was there. */
#include "jsonschema_compile.h"

#include <errno.h>

int js_rules_arrays(const struct js_keywords *k)
{
    struct js_arrays a = {.max = UINT64_MAX, .min_contains = 1, .max_contains = UINT64_MAX};
    const char *const unique = js_keyword(k, "uniqueItems");
    bool any = false, counts = false;
    int r = 0;

    if (k->vocabularies & JS_APPLICATOR) {
        r = js_nodes_list(k, "prefixItems", &a.prefix, &a.n_prefix);
        if (r == 0)
            r = js_nodes_one(k, "items", &a.items);
        if (r == 0)
            r = js_nodes_one(k, "contains", &a.contains);
    }
    if (r == 0 && (k->vocabularies & JS_VALIDATION)) {
        r = js_rules_count(k, "minItems", &a.min, &any);
        if (r == 0)
            r = js_rules_count(k, "maxItems", &a.max, &any);
        if (r == 0)
            r = js_rules_count(k, "minContains", &a.min_contains, &counts);
        if (r == 0)
            r = js_rules_count(k, "maxContains", &a.max_contains, &counts);
        if (r == 0 && unique && *unique != 't' && *unique != 'f')
            r = js_keyword_fail(k, "uniqueItems", "must be true or false");
        a.unique = unique && *unique == 't';
    }
    if (r < 0 || !(any || a.unique || a.n_prefix || a.items || a.contains))
        return r;
    struct js_arrays *const kept = js_arena_get(&k->c->schema->arena, sizeof *kept);
    if (!kept)
        return -ENOMEM;
    *kept = a;
    k->node->arrays = kept;
    return 0;
}

/* ---- objects --------------------------------------------------------------------------------- */

/* What names are spoken of, and by which keywords. */
struct spoken {
    const struct js_members *properties, *required, *schemas, *lists,
        *older; /* older: dependencies */
    uint32_t n_names, n_dependents;
};

/* The members of a keyword, if it is there. */
static int members_of(const struct js_keywords *k, const char *name, char kind,
                      const struct js_members **ret)
{
    const char *const at = js_keyword(k, name);

    *ret = NULL;
    if (!at)
        return 0;
    if (*at != kind)
        return js_keyword_fail(k, name, kind == '{' ? "must be an object" : "must be an array");
    return js_docs_members(&k->c->docs, k->node->doc, at, ret);
}

/* The strings of a list, as names: their numbers. */
static int name_list(const struct js_keywords *k, const char *keyword, const char *at,
                     struct js_names *names, uint32_t **ret, uint32_t *ret_n)
{
    const struct js_members *m;
    bool new;

    if (*at != '[')
        return js_keyword_fail(k, keyword, "must hold arrays of names");
    const int r = js_docs_members(&k->c->docs, k->node->doc, at, &m);
    if (r < 0)
        return r;
    uint32_t *const numbers = js_arena_get(&k->c->schema->arena, MAX(m->n, 1) * sizeof *numbers);
    if (!numbers)
        return -ENOMEM;
    for (uint32_t i = 0; i < m->n; i++) {
        if (*m->values[i] != '"')
            return js_keyword_fail(k, keyword, "must hold arrays of names");
        const struct slice name = js_docs_string(&k->c->docs, k->node->doc, m->values[i]);
        if (!name.p)
            return -ENOMEM;
        numbers[i] = js_names_add(names, name, &new);
    }
    *ret = numbers;
    *ret_n = m->n;
    return 0;
}

/* How many names there may be; so many get room. */
static int count_names(const struct js_keywords *k, struct spoken *s)
{
    const struct js_members *const lists[] = {s->lists, s->older}, *list;

    s->n_names = (s->properties ? s->properties->n : 0) + (s->required ? s->required->n : 0);
    s->n_dependents = s->schemas ? s->schemas->n : 0;
    for (unsigned i = 0; i < ARRAY_LEN(lists); i++) {
        s->n_dependents += lists[i] ? lists[i]->n : 0;
        for (uint32_t j = 0; lists[i] && j < lists[i]->n; j++) {
            if (*lists[i]->values[j] != '[')
                continue;
            const int r = js_docs_members(&k->c->docs, k->node->doc, lists[i]->values[j], &list);
            if (r < 0)
                return r;
            s->n_names += list->n;
        }
    }
    s->n_names += s->n_dependents;
    return 0;
}

static int find_spoken(const struct js_keywords *k, struct spoken *s)
{
    int r = 0;

    *s = (struct spoken){0};
    if (k->vocabularies & JS_APPLICATOR) {
        r = members_of(k, "properties", '{', &s->properties);
        if (r == 0)
            r = members_of(k, "dependentSchemas", '{', &s->schemas);
        if (r == 0)
            r = members_of(k, "dependencies", '{', &s->older);
    }
    if (r == 0 && (k->vocabularies & JS_VALIDATION)) {
        r = members_of(k, "required", '[', &s->required);
        if (r == 0)
            r = members_of(k, "dependentRequired", '{', &s->lists);
    }
    return r < 0 ? r : count_names(k, s);
}

/* The dependents of one keyword, whose values are schemas or lists of names. */
static int dependents(const struct js_keywords *k, const char *keyword, const struct js_members *m,
                      struct js_objects *o, struct js_dependent *out)
{
    bool new;
    int r = 0;

    for (uint32_t i = 0; m && r == 0 && i < m->n; i++) {
        struct js_dependent *const d = &out[o->n_dependents++];
        uint32_t *bits = NULL;
        d->bit = js_names_add(&o->names, m->names.names[i], &new);
        d->keyword = keyword;
        if (*m->values[i] == '[')
            r = name_list(k, keyword, m->values[i], &o->names, &bits, &d->n);
        else
            r = js_node_of(k, m->values[i], &d->node);
        d->bits = bits;
    }
    return r;
}

static int properties(const struct js_keywords *k, const struct spoken *s, struct js_objects *o)
{
    struct js_arena *const a = &k->c->schema->arena;
    const size_t words = s->n_names / 64 + 1;
    uint64_t *const required = js_arena_get(a, words * sizeof *required);
    struct js_dependent *const d = js_arena_get(a, MAX(s->n_dependents, 1) * sizeof *d);
    uint32_t *numbers, n = 0;
    bool new;
    int r = 0;

    o->nodes = js_arena_get(a, MAX(s->n_names, 1) * sizeof *o->nodes);
    if (!required || !d || !o->nodes || !js_names_init(&o->names, a, s->n_names))
        return -ENOMEM;
    /* Required names first: their bits are the lowest. */
    if (s->required) {
        r = name_list(k, "required", js_keyword(k, "required"), &o->names, &numbers, &n);
        for (uint32_t i = 0; r == 0 && i < n; i++)
            required[numbers[i] / 64] |= UINT64_C(1) << numbers[i] % 64;
    }
    if (r == 0)
        r = dependents(k, "dependentSchemas", s->schemas, o, d);
    if (r == 0)
        r = dependents(k, "dependentRequired", s->lists, o, d);
    if (r == 0)
        r = dependents(k, "dependencies", s->older, o, d);
    o->n_bits = o->names.n;
    for (uint32_t i = 0; s->properties && r == 0 && i < s->properties->n; i++)
        r = js_node_of(k, s->properties->values[i],
                       &o->nodes[js_names_add(&o->names, s->properties->names.names[i], &new)]);
    o->required = n ? required : NULL;
    o->dependents = d;
    return r;
}

static int patterns(const struct js_keywords *k, struct js_objects *o)
{
    struct js_arena *const a = &k->c->schema->arena;
    const struct js_members *m;

    int r = members_of(k, "patternProperties", '{', &m);
    if (r < 0 || !m)
        return r;
    o->patterns = js_arena_get(a, MAX(m->n, 1) * sizeof *o->patterns);
    o->pattern_nodes = js_arena_get(a, MAX(m->n, 1) * sizeof *o->pattern_nodes);
    if (!o->patterns || !o->pattern_nodes)
        return -ENOMEM;
    for (uint32_t i = 0; r == 0 && i < m->n; i++) {
        r = js_rules_pattern(k, "patternProperties", m->names.names[i], &o->patterns[i]);
        if (r == 0)
            r = js_node_of(k, m->values[i], &o->pattern_nodes[i]);
    }
    o->n_patterns = m->n;
    return r;
}

int js_rules_objects(const struct js_keywords *k)
{
    struct js_objects o = {.max = UINT64_MAX};
    struct spoken s;
    bool any = false;

    int r = find_spoken(k, &s);
    if (r == 0 && s.n_names > 0)
        r = properties(k, &s, &o);
    if (r == 0 && (k->vocabularies & JS_APPLICATOR)) {
        r = patterns(k, &o);
        if (r == 0)
            r = js_nodes_one(k, "additionalProperties", &o.additional);
        if (r == 0)
            r = js_nodes_one(k, "propertyNames", &o.property_names);
    }
    if (r == 0 && (k->vocabularies & JS_VALIDATION)) {
        r = js_rules_count(k, "minProperties", &o.min, &any);
        if (r == 0)
            r = js_rules_count(k, "maxProperties", &o.max, &any);
    }
    if (r < 0 || !(any || o.names.n || o.n_patterns || o.additional || o.property_names))
        return r;
    struct js_objects *const kept = js_arena_get(&k->c->schema->arena, sizeof *kept);
    if (!kept)
        return -ENOMEM;
    *kept = o;
    k->node->objects = kept;
    return 0;
}
