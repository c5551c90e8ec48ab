/* SPDX-License-Identifier: MIT */
/* What a person calls the differences of two schemas: a walk through both at once, along the data. It tells,
 * and proves nothing: evolve_prove.c does. An anyOf whose branches differ in type is read as one schema, type
 * by type, as inferred schemas have it. */
#include "evolve_state.h"

#include <errno.h>
#include <stdio.h>

enum { NESTING_MAX = 100, VALUE_BYTES_MAX = 200 };

struct walk {
    const struct evolve_doc *from, *to;
    struct evolve *e;
    struct evolve_path path;
    unsigned depth;
    uint32_t work;
    bool failed;
};

/* ---- one change ------------------------------------------------------------------------------ */

static bool is_annotation(const char *keyword)
{
    static const char *const names[] = {
        "title",     "description", "default", "examples", "$comment", "deprecated", "readOnly",
        "writeOnly", "$schema",     "$id",     "$anchor",  "$defs",    "definitions"};

    for (size_t i = 0; i < ARRAY_LEN(names); i++)
        if (strcmp(names[i], keyword) == 0)
            return true;
    return strncmp(keyword, "x-", 2) == 0;
}

/* A schema without what is no part of a comparison. */
static json_t *stripped(const json_t *j)
{
    const char *name;
    size_t n;
    json_t *member;

    if (json_is_array(j)) {
        json_t *copy = json_array();
        for (size_t i = 0; i < json_array_size(j); i++)
            (void)json_array_append_new(copy, stripped(json_array_get(j, i)));
        return copy;
    }
    if (!json_is_object(j))
        return json_deep_copy(j);
    json_t *copy = json_object();
    json_object_keylen_foreach((json_t *)(uintptr_t)j, name, n, member)
    {
        const bool names = strcmp(name, "properties") == 0 && json_is_object(member);
        if (names) {
            const char *field;
            size_t k;
            json_t *sub, *fields = json_object();
            json_object_keylen_foreach(member, field, k, sub)
            {
                (void)json_object_setn_new(fields, field, k, stripped(sub));
            }
            (void)json_object_setn_new(copy, name, n, fields);
        } else if (!is_annotation(name)) {
            (void)json_object_setn_new(copy, name, n, stripped(member));
        }
    }
    return copy;
}

/* As JSON, cut where it is long. NULL: there is none, or no memory. */
static char *value_text(struct walk *w, const json_t *j)
{
    static const char dots[] = "\xe2\x80\xa6";

    if (!j)
        return NULL;
    json_t *bare = stripped(j);
    char *s = json_dumps(bare, JSON_COMPACT | JSON_ENCODE_ANY);
    json_decref(bare);
    if (!s) {
        w->failed = true;
        return NULL;
    }
    if (strlen(s) > VALUE_BYTES_MAX) {
        size_t n = VALUE_BYTES_MAX - sizeof dots;
        while (n > 0 && ((unsigned char)s[n] & 0xc0) == 0x80)
            n--;
        memcpy(s + n, dots, sizeof dots);
    }
    return s;
}

static void change(struct walk *w, enum evolve_what what, const char *keyword, const json_t *from,
                   const json_t *to)
{
    struct evolve *e = w->e;

    if (e->n == LIMIT_EVOLVE_CHANGES) {
        e->more = true;
        return;
    }
    if ((e->n & (e->n - 1)) == 0) {
        struct evolve_change *grown = reallocarray(e->change, e->n ? e->n * 2 : 1, sizeof *grown);
        if (!grown) {
            w->failed = true;
            return;
        }
        e->change = grown;
    }
    struct evolve_change *c = &e->change[e->n++];
    *c = (struct evolve_change){.what = what,
                                .path = strdup(w->path.p ? w->path.p : ""),
                                .keyword = strdup(keyword),
                                .from = value_text(w, from),
                                .to = value_text(w, to)};
    if (!c->path || !c->keyword)
        w->failed = true;
}

/* ---- a schema by types ----------------------------------------------------------------------- */

/* A schema, with the branches of an anyOf that differ in type. */
struct parts {
    const json_t *own;
    const json_t *branches; /* NULL: none, or they share a type */
    unsigned types;
};

/* Nothing but a $ref and annotations. */
static bool is_only_ref(const json_t *schema)
{
    const char *name;
    json_t *ignored;
    size_t n = 0;

    json_object_foreach((json_t *)(uintptr_t)schema, name, ignored)
    {
        n += !is_annotation(name);
    }
    return n == 1 && json_object_get(schema, "$ref");
}

static struct parts parts_of(const struct evolve_doc *doc, const json_t *schema)
{
    struct parts p = {0};

    for (unsigned i = 0; i < 32 && is_only_ref(schema); i++) {
        const json_t *to = evolve_resolve(doc, json_object_get(schema, "$ref"));
        if (!to)
            break;
        schema = to;
    }
    p.own = schema;
    p.types = json_is_false(schema) ? 0 : evolve_types(json_object_get(schema, "type"));
    const json_t *any = json_object_get(schema, "anyOf");
    unsigned all = 0;
    for (size_t i = 0; i < json_array_size(any); i++) {
        const json_t *type = json_object_get(json_array_get(any, i), "type");
        if (!type || (all & evolve_types(type)))
            return p;
        all |= evolve_types(type);
    }
    if (all) {
        p.branches = any;
        p.types &= all;
    }
    return p;
}

/* What the schema says by the keyword of values of the type. */
static const json_t *said(const struct parts *p, unsigned type, const char *keyword)
{
    const json_t *j = json_object_get(p->own, keyword);

    for (size_t i = 0; !j && i < json_array_size(p->branches); i++) {
        const json_t *branch = json_array_get(p->branches, i);
        if (evolve_types(json_object_get(branch, "type")) & type)
            j = json_object_get(branch, keyword);
    }
    return j;
}

static json_t *types_json(unsigned types)
{
    static const struct {
        unsigned type;
        const char *name;
    } names[] = {{TYPE_STRING, "string"},   {TYPE_INTEGER, "integer"}, {TYPE_FRACTION, "number"},
                 {TYPE_BOOLEAN, "boolean"}, {TYPE_ARRAY, "array"},     {TYPE_OBJECT, "object"},
                 {TYPE_NULL, "null"}};
    json_t *list = json_array();

    if (types == TYPE_ALL || types == 0) {
        json_decref(list);
        return types ? NULL : json_false();
    }
    if (types & TYPE_FRACTION)
        types &= ~(unsigned)TYPE_INTEGER;
    for (size_t i = 0; i < ARRAY_LEN(names); i++)
        if (types & names[i].type)
            (void)json_array_append_new(list, json_string(names[i].name));
    if (json_array_size(list) == 1) {
        json_t *one = json_incref(json_array_get(list, 0));
        json_decref(list);
        return one;
    }
    return list;
}

static void types_differ(struct walk *w, unsigned from, unsigned to)
{
    if (from == to)
        return;
    json_t *a = types_json(from), *b = types_json(to);
    change(w,
           (from & ~to) == 0   ? EVOLVE_WIDENED
           : (to & ~from) == 0 ? EVOLVE_NARROWED
                               : EVOLVE_TYPE_CHANGED,
           "type", a, b);
    json_decref(a);
    json_decref(b);
}

/* ---- keywords -------------------------------------------------------------------------------- */

static void bounds_differ(struct walk *w, const struct parts *from, const struct parts *to)
{
    static const struct {
        const char *keyword;
        unsigned type;
        bool upper;
    } bounds[] = {{"minimum", TYPE_INTEGER, false},      {"exclusiveMinimum", TYPE_INTEGER, false},
                  {"maximum", TYPE_INTEGER, true},       {"exclusiveMaximum", TYPE_INTEGER, true},
                  {"minLength", TYPE_STRING, false},     {"maxLength", TYPE_STRING, true},
                  {"minItems", TYPE_ARRAY, false},       {"maxItems", TYPE_ARRAY, true},
                  {"minProperties", TYPE_OBJECT, false}, {"maxProperties", TYPE_OBJECT, true}};

    for (size_t i = 0; i < ARRAY_LEN(bounds); i++) {
        const json_t *a = said(from, bounds[i].type, bounds[i].keyword),
                     *b = said(to, bounds[i].type, bounds[i].keyword);
        if (a == b || evolve_equal(a, b))
            continue;
        const int d = a && b ? evolve_compare(a, b) : a ? 1 : -1;
        const bool wider = a && b ? (bounds[i].upper ? d < 0 : d > 0) : a != NULL;
        change(w, wider ? EVOLVE_WIDENED : EVOLVE_NARROWED, bounds[i].keyword, a, b);
    }
}

/* A loop over n things: its part of the work. False: nothing is left of it. */
static bool charge(struct walk *w, size_t n)
{
    w->work -= (uint32_t)MIN(n / 64, w->work);
    return w->work > 0;
}

static bool lists_all(struct walk *w, const json_t *values, const json_t *of)
{
    for (size_t i = 0; i < json_array_size(of); i++) {
        bool found = false;
        if (!charge(w, json_array_size(values)))
            return false;
        for (size_t k = 0; !found && k < json_array_size(values); k++)
            found = evolve_equal(json_array_get(values, k), json_array_get(of, i));
        if (!found)
            return false;
    }
    return true;
}

static void values_differ(struct walk *w, const json_t *from, const json_t *to)
{
    const json_t *a = json_object_get(from, "enum"), *b = json_object_get(to, "enum"),
                 *x = json_object_get(from, "const"), *y = json_object_get(to, "const");

    if (a != b && !evolve_equal(a, b) && !(a && b && lists_all(w, a, b) && lists_all(w, b, a)))
        change(w,
               !b || (a && lists_all(w, b, a))   ? EVOLVE_WIDENED
               : !a || (b && lists_all(w, a, b)) ? EVOLVE_NARROWED
                                                 : EVOLVE_OTHER,
               "enum", a, b);
    if (x != y && !evolve_equal(x, y))
        change(w, x && y ? EVOLVE_OTHER : x ? EVOLVE_WIDENED : EVOLVE_NARROWED, "const", x, y);
}

static void formats_differ(struct walk *w, const struct parts *from, const struct parts *to)
{
    const json_t *a = said(from, TYPE_STRING, "format"), *b = said(to, TYPE_STRING, "format");

    if (a == b || evolve_equal(a, b) || !(from->types & to->types & TYPE_STRING))
        return;
    change(w,
           !b   ? EVOLVE_FORMAT_LOST
           : !a ? EVOLVE_FORMAT_ADDED
                : EVOLVE_FORMAT_CHANGED,
           "format", a, b);
}

/* Keywords that are compared as a whole. */
static void others_differ(struct walk *w, const struct parts *from, const struct parts *to)
{
    static const char *const others[] = {"$ref",
                                         "$dynamicRef",
                                         "allOf",
                                         "oneOf",
                                         "not",
                                         "if",
                                         "then",
                                         "else",
                                         "contains",
                                         "dependentSchemas",
                                         "dependentRequired",
                                         "propertyNames",
                                         "minContains",
                                         "maxContains",
                                         "uniqueItems",
                                         "multipleOf",
                                         "pattern",
                                         "patternProperties",
                                         "unevaluatedItems",
                                         "unevaluatedProperties",
                                         "anyOf"};

    for (size_t i = 0; i < ARRAY_LEN(others); i++) {
        const bool any = strcmp(others[i], "anyOf") == 0;
        const json_t *a = any ? NULL : said(from, TYPE_ALL, others[i]),
                     *b = any ? NULL : said(to, TYPE_ALL, others[i]);
        if (any && !from->branches)
            a = json_object_get(from->own, "anyOf");
        if (any && !to->branches)
            b = json_object_get(to->own, "anyOf");
        if (!a && !b)
            continue;
        json_t *x = a ? stripped(a) : NULL, *y = b ? stripped(b) : NULL;
        if (!evolve_equal(x, y))
            change(w, EVOLVE_OTHER, others[i], a, b);
        json_decref(x);
        json_decref(y);
    }
}

/* ---- children -------------------------------------------------------------------------------- */

static void differ(struct walk *w, const json_t *from, const json_t *to);

static void child(struct walk *w, const char *name, size_t n, const char *keyword,
                  const json_t *from, const json_t *to)
{
    if (!from && !to)
        return;
    const size_t back = evolve_path_push(&w->path, name, n);
    if (from && to)
        differ(w, from, to);
    else
        change(w, to ? EVOLVE_ADDED : EVOLVE_REMOVED, keyword, from, to);
    evolve_path_pop(&w->path, back);
}

static bool lists_name(const json_t *required, const char *name, size_t n)
{
    for (size_t i = 0; i < json_array_size(required); i++) {
        const json_t *r = json_array_get(required, i);
        if (json_is_string(r) && json_string_length(r) == n &&
            memcmp(json_string_value(r), name, n) == 0)
            return true;
    }
    return false;
}

/* Names that only one of both requires. A field that went away is said once. */
static void required_differ(struct walk *w, const json_t *a, const json_t *b, const json_t *fields,
                            enum evolve_what what)
{
    for (size_t i = 0; i < json_array_size(a); i++) {
        const json_t *r = json_array_get(a, i);
        const char *name = json_string_value(r);
        if (!charge(w, json_array_size(b))) {
            w->e->more = true;
            return;
        }
        if (!name || lists_name(b, name, json_string_length(r)))
            continue;
        if (what == EVOLVE_OPTIONAL && fields &&
            !json_object_getn(fields, name, json_string_length(r)))
            continue;
        const size_t back = evolve_path_push(&w->path, name, json_string_length(r));
        change(w, what, "required", NULL, NULL);
        evolve_path_pop(&w->path, back);
    }
}

static void members_differ(struct walk *w, const struct parts *from, const struct parts *to)
{
    const json_t *a = said(from, TYPE_OBJECT, "properties"),
                 *b = said(to, TYPE_OBJECT, "properties"), *x = said(from, TYPE_OBJECT, "required"),
                 *y = said(to, TYPE_OBJECT, "required");
    const char *name;
    size_t n;
    json_t *sub;

    json_object_keylen_foreach((json_t *)(uintptr_t)a, name, n, sub)
    {
        child(w, name, n, "properties", sub, json_object_getn(b, name, n));
    }
    json_object_keylen_foreach((json_t *)(uintptr_t)b, name, n, sub)
    {
        if (!json_object_getn(a, name, n))
            child(w, name, n, "properties", NULL, sub);
    }
    if (!evolve_equal(x, y)) {
        required_differ(w, x, y, b, EVOLVE_OPTIONAL);
        required_differ(w, y, x, NULL, EVOLVE_REQUIRED);
    }

    a = said(from, TYPE_OBJECT, "additionalProperties");
    b = said(to, TYPE_OBJECT, "additionalProperties");
    a = json_is_true(a) ? NULL : a; /* as if it were not there */
    b = json_is_true(b) ? NULL : b;
    if (json_is_false(a) != json_is_false(b))
        change(w, json_is_false(a) ? EVOLVE_WIDENED : EVOLVE_NARROWED, "additionalProperties", a,
               b);
    else
        child(w, NULL, SIZE_MAX, "additionalProperties", a, b);
}

static void elements_differ(struct walk *w, const struct parts *from, const struct parts *to)
{
    const json_t *a = said(from, TYPE_ARRAY, "prefixItems"),
                 *b = said(to, TYPE_ARRAY, "prefixItems"), *x = said(from, TYPE_ARRAY, "items"),
                 *y = said(to, TYPE_ARRAY, "items");
    char index[24];

    for (size_t i = 0; i < json_array_size(a) || i < json_array_size(b); i++) {
        const int n = snprintf(index, sizeof index, "%zu", i);
        const json_t *mine = json_array_get(a, i), *other = json_array_get(b, i);
        child(w, index, (size_t)n, "prefixItems", mine ? mine : x, other ? other : y);
    }
    child(w, NULL, SIZE_MAX, "items", x, y);
}

static void differ(struct walk *w, const json_t *from, const json_t *to)
{
    if (w->depth == NESTING_MAX || w->work == 0 || w->failed) {
        w->e->more = true;
        return;
    }
    w->work--;
    w->depth++;
    const struct parts a = parts_of(w->from, from), b = parts_of(w->to, to);
    types_differ(w, a.types, b.types);
    if (a.types && b.types) {
        formats_differ(w, &a, &b);
        values_differ(w, a.own, b.own);
        bounds_differ(w, &a, &b);
        others_differ(w, &a, &b);
        if (a.types & b.types & TYPE_ARRAY)
            elements_differ(w, &a, &b);
        if (a.types & b.types & TYPE_OBJECT)
            members_differ(w, &a, &b);
    }
    w->depth--;
}

int evolve_changes(const struct evolve_doc *from, const struct evolve_doc *to, struct evolve *e)
{
    struct walk w = {.from = from, .to = to, .e = e, .work = LIMIT_EVOLVE_STEPS};
    static const char *const defs[] = {"$defs", "definitions"};

    differ(&w, from->root, to->root);
    for (size_t i = 0; i < ARRAY_LEN(defs) && e->n == 0; i++) {
        const json_t *a = json_object_get(from->root, defs[i]),
                     *b = json_object_get(to->root, defs[i]);
        if (a != b && !evolve_equal(a, b))
            change(&w, EVOLVE_OTHER, defs[i], a, b);
    }
    free(w.path.p);
    return w.failed || w.path.failed ? -ENOMEM : 0;
}
