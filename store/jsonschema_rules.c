/* SPDX-License-Identifier: MIT */
/* Keywords that assert something of a value by itself: type, enum, const, and those of numbers, strings and
 * lengths. What the meta-schema demands is tested here again: a reference may lead to what no meta-schema
 * has seen. */
#include "jsonschema_compile.h"

#include "jsonschema_value.h"
#include "limits.h"
#include "scan.h"

#include <errno.h>
#include <stdio.h>

/* ---- type, enum, const ----------------------------------------------------------------------- */

static unsigned type_bits(struct slice name)
{
    static const struct {
        const char *name;
        unsigned bits;
    } types[] = {
        {"null", 1 << SCAN_NULL},     {"boolean", 1 << SCAN_FALSE | 1 << SCAN_TRUE},
        {"number", 1 << SCAN_NUMBER}, {"string", 1 << SCAN_STRING},
        {"array", 1 << SCAN_ARRAY},   {"object", 1 << SCAN_OBJECT},
        {"integer", JS_INTEGER_ONLY},
    };

    for (size_t i = 0; i < ARRAY_LEN(types); i++)
        if (slice_eq(name, (struct slice){types[i].name, strlen(types[i].name)}))
            return types[i].bits;
    return 0;
}

static int type(const struct js_keywords *k)
{
    const char *const at = js_keyword(k, "type");
    struct js_docs *const d = &k->c->docs;
    const struct js_members *m;
    unsigned bits = 0;

    if (!at)
        return 0;
    if (*at == '"') {
        const struct slice name = js_docs_string(d, k->node->doc, at);
        if (!name.p)
            return -ENOMEM;
        bits = type_bits(name);
    } else if (*at == '[') {
        const int r = js_docs_members(d, k->node->doc, at, &m);
        if (r < 0)
            return r;
        for (uint32_t i = 0; i < m->n; i++) {
            const struct slice name = *m->values[i] == '"'
                                          ? js_docs_string(d, k->node->doc, m->values[i])
                                          : (struct slice){"", 0};
            if (!name.p)
                return -ENOMEM;
            if (!type_bits(name))
                return js_keyword_fail(k, "type", "names an unknown type");
            bits |= type_bits(name);
        }
    }
    if (!bits)
        return js_keyword_fail(k, "type", "must be the name of a type, or several");
    if (bits & 1 << SCAN_NUMBER)
        bits &= ~(unsigned)JS_INTEGER_ONLY; /* every integer is a number */
    if (bits & JS_INTEGER_ONLY)
        bits |= 1 << SCAN_NUMBER;
    k->node->types = (uint8_t)bits;
    return 0;
}

/* One value of a set; there is room for it. */
static int add_value(const struct js_keywords *k, struct js_values *set, const char *at,
                     struct js_number *numbers, struct slice *trees)
{
    const struct slice v = js_docs_value(&k->c->docs, k->node->doc, at);
    bool new;

    switch (scan_kind(*at)) {
    case SCAN_STRING: {
        const struct slice text = js_docs_string(&k->c->docs, k->node->doc, at);
        if (!text.p)
            return -ENOMEM;
        (void)js_names_add(&set->strings, text, &new);
        return 0;
    }
    case SCAN_NUMBER:
        (void)js_number_parse(v.p, v.p + v.n, &numbers[set->n_numbers++]);
        return 0;
    case SCAN_ARRAY:
    case SCAN_OBJECT:
        trees[set->n_trees++] = v;
        return 0;
    default:
        set->literals |= (uint8_t)(1 << scan_kind(*at));
        return 0;
    }
}

static int make_set(const struct js_keywords *k, const char *const *values, uint32_t n,
                    const struct js_values **ret)
{
    struct js_arena *const a = &k->c->schema->arena;
    size_t kinds[8] = {0};
    int r = 0;

    for (uint32_t i = 0; i < n; i++)
        kinds[scan_kind(*values[i])]++;
    struct js_values *const set = js_arena_get(a, sizeof *set);
    struct js_number *const numbers = js_arena_get(a, kinds[SCAN_NUMBER] * sizeof *numbers);
    struct slice *const trees =
        js_arena_get(a, (kinds[SCAN_ARRAY] + kinds[SCAN_OBJECT]) * sizeof *trees);
    if (!set || !numbers || !trees || !js_names_init(&set->strings, a, kinds[SCAN_STRING]))
        return -ENOMEM;
    for (uint32_t i = 0; r == 0 && i < n; i++)
        r = add_value(k, set, values[i], numbers, trees);
    set->numbers = numbers;
    set->trees = trees;
    *ret = set;
    return r;
}

int js_rules_values(const struct js_keywords *k)
{
    const char *const list = js_keyword(k, "enum"), *const one = js_keyword(k, "const");
    const struct js_members *m;

    int r = type(k);
    if (r == 0 && list) {
        if (*list != '[')
            return js_keyword_fail(k, "enum", "must be an array");
        r = js_docs_members(&k->c->docs, k->node->doc, list, &m);
        if (r == 0)
            r = make_set(k, m->values, m->n, &k->node->values);
    }
    if (r == 0 && one)
        r = make_set(k, &one, 1, &k->node->constant);
    return r;
}

/* ---- numbers --------------------------------------------------------------------------------- */

static int bound(const struct js_keywords *k, const char *name, struct js_bound *ret)
{
    const char *const at = js_keyword(k, name);

    if (!at)
        return 0;
    if (scan_kind(*at) != SCAN_NUMBER)
        return js_keyword_fail(k, name, "must be a number");
    const struct slice v = js_docs_value(&k->c->docs, k->node->doc, at);
    (void)js_number_parse(v.p, v.p + v.n, &ret->number);
    ret->is_set = true;
    ret->is_small = js_number_small(v.p, v.p + v.n, &ret->small) != NULL;
    return 0;
}

int js_rules_numbers(const struct js_keywords *k)
{
    struct js_numbers n = {0};

    int r = bound(k, "minimum", &n.minimum);
    if (r == 0)
        r = bound(k, "maximum", &n.maximum);
    if (r == 0)
        r = bound(k, "exclusiveMinimum", &n.above);
    if (r == 0)
        r = bound(k, "exclusiveMaximum", &n.below);
    if (r == 0)
        r = bound(k, "multipleOf", &n.multiple);
    if (r < 0)
        return r;
    if (n.multiple.is_set && (n.multiple.number.n == 0 || n.multiple.number.negative))
        return js_keyword_fail(k, "multipleOf", "must be more than 0");
    if (n.multiple.is_set && !js_number_mantissa(&n.multiple.number, &n.mantissa))
        return js_keyword_fail(k, "multipleOf", "has more than 18 digits");
    if (!(n.minimum.is_set || n.maximum.is_set || n.above.is_set || n.below.is_set ||
          n.multiple.is_set))
        return 0;
    n.small = !n.multiple.is_set;
    const struct js_bound *const bounds[] = {&n.minimum, &n.maximum, &n.above, &n.below};
    for (size_t i = 0; i < ARRAY_LEN(bounds); i++)
        n.small &= !bounds[i]->is_set || bounds[i]->is_small;
    struct js_numbers *const kept = js_arena_get(&k->c->schema->arena, sizeof *kept);
    if (!kept)
        return -ENOMEM;
    *kept = n;
    k->node->numbers = kept;
    return 0;
}

int js_rules_count(const struct js_keywords *k, const char *name, uint64_t *ret, bool *ret_any)
{
    const char *const at = js_keyword(k, name);
    struct js_number v;

    if (!at)
        return 0;
    *ret_any = true;
    if (scan_kind(*at) == SCAN_NUMBER) {
        const struct slice s = js_docs_value(&k->c->docs, k->node->doc, at);
        (void)js_number_parse(s.p, s.p + s.n, &v);
        if (js_number_count(&v, ret))
            return 0;
    }
    return js_keyword_fail(k, name, "must be an integer that is not negative");
}

/* ---- strings --------------------------------------------------------------------------------- */

int js_rules_pattern(const struct js_keywords *k, const char *keyword, struct slice text,
                     const struct js_pattern **ret)
{
    struct js_schema *const s = k->c->schema;
    struct js_pattern *p;
    char why[120], whole[200];

    const int r = js_pattern_compile(text, &p, why, sizeof why);
    if (r == -ENOMEM)
        return r;
    if (r < 0) {
        (void)snprintf(whole, sizeof whole, "has a bad regular expression: %s", why);
        (void)js_keyword_fail(k, keyword, whole);
        return r;
    }
    p->next = s->patterns;
    s->patterns = p;
    *ret = p;
    return js_arena_charge(&s->arena, p->bytes) ? 0 : -ENOMEM;
}

/* A keyword that is a string; p NULL: it isn't there. */
static int text_of(const struct js_keywords *k, const char *name, struct slice *ret)
{
    const char *const at = js_keyword(k, name);

    *ret = (struct slice){NULL, 0};
    if (!at)
        return 0;
    if (*at != '"')
        return js_keyword_fail(k, name, "must be a string");
    *ret = js_docs_string(&k->c->docs, k->node->doc, at);
    return ret->p ? 0 : -ENOMEM;
}

int js_rules_strings(const struct js_keywords *k)
{
    struct js_strings s = {.max = UINT64_MAX};
    struct slice pattern = {NULL, 0};
    bool any = false;

    int r = text_of(k, "format", &s.format_name);
    if (r == 0 && s.format_name.p &&
        (k->c->assert_format || (k->vocabularies & JS_FORMAT_ASSERTION)))
        s.format = js_format_find(s.format_name);
    if (r == 0 && (k->vocabularies & JS_VALIDATION)) {
        r = js_rules_count(k, "minLength", &s.min, &any);
        if (r == 0)
            r = js_rules_count(k, "maxLength", &s.max, &any);
        if (r == 0)
            r = text_of(k, "pattern", &pattern);
        if (r == 0 && pattern.p)
            r = js_rules_pattern(k, "pattern", pattern, &s.pattern);
    }
    if (r < 0 || !(any || s.pattern || s.format))
        return r;
    struct js_strings *const kept = js_arena_get(&k->c->schema->arena, sizeof *kept);
    if (!kept)
        return -ENOMEM;
    *kept = s;
    k->node->strings = kept;
    return 0;
}
