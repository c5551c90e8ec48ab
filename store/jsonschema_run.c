/* SPDX-License-Identifier: MIT */
/* Validation is a walk over the value's bytes, along the schema's nodes.
 *
 * (1) A failure is reported once, where it happens first, unless within something that may fail (anyOf, not,
 *     if, contains): there r->quiet is not 0.
 * (2) r->stopped ends everything: false is returned all the way up, and nothing turns it into valid.
 * (3) Each value that is walked through to its end gives that end to its caller, so that a valid value is
 *     crossed once, not once for each level around it.
 * (4) marks are of the value itself, never of its parts. What failed leaves none: it had marks of its own. */
#include "jsonschema_run.h"

#include "limits.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>

/* ---- reports --------------------------------------------------------------------------------- */

static void write_place(const struct js_step *s, char *out, size_t n, size_t *at)
{
    char index[24];

    if (!s)
        return;
    write_place(s->up, out, n, at); /* as deep as the value nests */
    struct slice token = {index, 0};
    if (s->key.p)
        token = (struct slice){s->key.p + 1, s->key.n - 2};
    else
        token.n = (size_t)snprintf(index, sizeof index, "%zu", s->index);
    AUTO_FREE char *decoded = NULL;
    if (s->key.p && memchr(token.p, '\\', token.n) && (decoded = malloc(s->key.n)) != NULL)
        token = (struct slice){decoded, scan_decode(s->key, decoded, NULL)};
    *at = js_pointer_add(out, n, *at, token);
}

static void report(struct js_run *r, const struct js_node *n, const char *keyword)
{
    struct js_error *const err = r->err;
    size_t at = 0;

    *err = (struct js_error){0};
    write_place(r->step, err->instance_path, sizeof err->instance_path, &at);
    at = js_pointer_to(r->schema, n->doc, n->at, err->schema_path, sizeof err->schema_path);
    if (n->fixed == JS_NOT_FIXED)
        (void)js_pointer_add(err->schema_path, sizeof err->schema_path, at,
                             (struct slice){keyword, strlen(keyword)});
    (void)snprintf(err->keyword, sizeof err->keyword, "%s", keyword);
}

bool js_invalid(struct js_run *r, const struct js_node *n, const char *keyword, const char *fmt,
                ...)
{
    va_list ap;

    if (r->quiet || r->stopped || !r->err)
        return false;
    report(r, n, keyword);
    va_start(ap, fmt);
    (void)vsnprintf(r->err->text, sizeof r->err->text, fmt, ap);
    va_end(ap);
    return false;
}

bool js_stop(struct js_run *r, int e, const struct js_node *n, const char *keyword,
             const char *text)
{
    if (r->stopped)
        return false;
    r->stopped = e;
    if (r->err) {
        report(r, n, keyword);
        (void)snprintf(r->err->text, sizeof r->err->text, "%s", text);
    }
    return false;
}

bool js_overworked(struct js_run *r, const struct js_node *n)
{
    if (r->nesting > LIMIT_SCHEMA_NESTING)
        return js_stop(r, -E2BIG, n, "",
                       "schemas apply each other too deep for this value, or without end");
    return js_stop(r, -E2BIG, n, "", "validating this value by this schema takes too much work");
}

/* ---- bits ------------------------------------------------------------------------------------ */

bool js_bits_init(struct js_run *r, struct js_bits *b, size_t n)
{
    b->n = n / 64 + 1;
    b->few[0] = b->few[1] = 0;
    b->words = b->n <= ARRAY_LEN(b->few) ? b->few : calloc(b->n, sizeof *b->words);
    if (b->words)
        return true;
    r->stopped = r->stopped ? r->stopped : -ENOMEM;
    return false;
}

void js_bits_done(struct js_bits *b)
{
    if (b->words != b->few)
        free(b->words);
}

void js_bits_add(struct js_bits *b, const struct js_bits *more)
{
    for (size_t i = 0; i < b->n; i++)
        b->words[i] |= more->words[i];
}

bool js_bits_like(struct js_run *r, struct js_bits *b, const struct js_bits *like)
{
    r->work += like->n;
    return js_bits_init(r, b, (like->n - 1) * 64);
}

/* ---- scalars --------------------------------------------------------------------------------- */

static const char *kind_name(enum scan_kind kind)
{
    static const char *const names[] = {"null",     "false",    "true",     "a number",
                                        "a string", "an array", "an object"};

    return names[kind];
}

static bool wrong_type(struct js_run *r, const struct js_node *n, enum scan_kind kind)
{
    static const char *const names[] = {"null", NULL, "boolean", NULL, "string", "array", "object"};
    char list[100];
    size_t at = 0;

    if (r->quiet || !r->err)
        return false;
    list[0] = '\0';
    for (unsigned i = 0; i <= SCAN_OBJECT; i++) {
        const char *name = names[i];
        if (!(n->types >> i & 1))
            continue;
        if (i == SCAN_NUMBER)
            name = n->types & JS_INTEGER_ONLY ? "integer" : "number";
        if (name)
            at += (size_t)snprintf(list + at, sizeof list - at, "%s%s", at ? " or " : "", name);
    }
    return js_invalid(r, n, "type", "is %s%s, must be %s", kind_name(kind),
                      kind == SCAN_NUMBER && n->types & JS_INTEGER_ONLY ? " with a fraction" : "",
                      list);
}

static int compare(const struct js_number *a, bool small, int64_t v, const struct js_bound *b)
{
    if (LIKELY(small && b->is_small))
        return (v > b->small) - (v < b->small);
    return js_number_compare(a, &b->number);
}

static bool number(struct js_run *r, const struct js_node *n, const char *p, const char **ret_end)
{
    const struct js_numbers *const rules = n->numbers;
    struct js_number v;
    int64_t s = 0;

    const char *end = js_number_small(p, r->end, &s);
    const bool small = end != NULL;
    if (!small || (rules && !rules->small))
        end = js_number_parse(p, r->end, &v);
    *ret_end = end;
    if (!small && (n->types & JS_INTEGER_ONLY) && !js_number_is_integer(&v))
        return wrong_type(r, n, SCAN_NUMBER);
    if (!rules)
        return true;
    if (rules->minimum.is_set && compare(&v, small, s, &rules->minimum) < 0)
        return js_invalid(r, n, "minimum", "%.*s is less than the minimum", (int)MIN(end - p, 100),
                          p);
    if (rules->maximum.is_set && compare(&v, small, s, &rules->maximum) > 0)
        return js_invalid(r, n, "maximum", "%.*s is more than the maximum", (int)MIN(end - p, 100),
                          p);
    if (rules->above.is_set && compare(&v, small, s, &rules->above) <= 0)
        return js_invalid(r, n, "exclusiveMinimum", "%.*s must be greater", (int)MIN(end - p, 100),
                          p);
    if (rules->below.is_set && compare(&v, small, s, &rules->below) >= 0)
        return js_invalid(r, n, "exclusiveMaximum", "%.*s must be less", (int)MIN(end - p, 100), p);
    if (rules->multiple.is_set &&
        !js_number_is_multiple(&v, &rules->multiple.number, rules->mantissa))
        return js_invalid(r, n, "multipleOf", "%.*s is not a multiple", (int)MIN(end - p, 100), p);
    return true;
}

bool js_matches(struct js_run *r, const struct js_node *n, const struct js_pattern *p,
                struct slice raw, unsigned special, const char *keyword)
{
    const struct slice text = js_string_text(raw, special, &r->scratch);

    if (!text.p) {
        r->stopped = -ENOMEM;
        return false;
    }
    r->work += text.n / 64;
    const int m = js_pattern_match(p, &r->matcher, text);
    if (m == -ETIME)
        return js_stop(r, 1, n, keyword, "the pattern took too long");
    if (m < 0)
        r->stopped = m;
    return m == 1;
}

static bool string(struct js_run *r, const struct js_node *n, const char *p, const char **ret_end)
{
    const struct js_strings *const rules = n->strings;
    unsigned special;

    const char *const end = js_string_end(p, r->end, &special);
    const struct slice raw = {p, (size_t)(end - p)};
    *ret_end = end;
    r->work += raw.n / 64;
    if (rules->min > 0 || rules->max != UINT64_MAX) {
        const uint64_t length = LIKELY(!special) ? raw.n - 2 : js_string_length(raw);
        if (length < rules->min)
            return js_invalid(r, n, "minLength", "has %llu characters, must have %llu",
                              (unsigned long long)length, (unsigned long long)rules->min);
        if (length > rules->max)
            return js_invalid(r, n, "maxLength", "has %llu characters, may have %llu",
                              (unsigned long long)length, (unsigned long long)rules->max);
    }
    if (rules->format) {
        const struct slice text = js_string_text(raw, special, &r->scratch);
        if (!text.p) {
            r->stopped = -ENOMEM;
            return false;
        }
        if (!rules->format(text))
            return js_invalid(r, n, "format", "is not of the format %.*s",
                              (int)MIN(rules->format_name.n, 60), rules->format_name.p);
    }
    if (rules->pattern && !js_matches(r, n, rules->pattern, raw, special, "pattern"))
        return js_invalid(r, n, "pattern", "does not match %.120s", rules->pattern->text);
    return true;
}

static bool in_set(struct js_run *r, const struct js_values *set, const char *p,
                   enum scan_kind kind, const char **ret_end)
{
    const char *const end = kind == SCAN_STRING ? NULL : js_end(r, p);
    unsigned special;
    struct js_number v;

    if (kind == SCAN_STRING) {
        *ret_end = js_string_end(p, r->end, &special);
        const struct slice raw = {p, (size_t)(*ret_end - p)};
        const struct slice text = js_string_text(raw, special, &r->scratch);
        if (!text.p)
            r->stopped = -ENOMEM;
        return text.p && js_names_find(&set->strings, text) >= 0;
    }
    *ret_end = end;
    if (kind == SCAN_NUMBER) {
        (void)js_number_parse(p, end, &v);
        r->work += set->n_numbers;
        for (uint32_t i = 0; i < set->n_numbers; i++)
            if (js_number_compare(&v, &set->numbers[i]) == 0)
                return true;
        return false;
    }
    if (kind < SCAN_NUMBER)
        return set->literals >> kind & 1;
    for (uint32_t i = 0; i < set->n_trees && !r->stopped; i++) {
        const int same = js_value_equal((struct slice){p, (size_t)(end - p)}, set->trees[i]);
        if (same < 0)
            r->stopped = same;
        r->work += 1 + MIN(set->trees[i].n, (size_t)(end - p));
        if (same == 1)
            return true;
    }
    return false;
}

/* ---- in place -------------------------------------------------------------------------------- */

/* Where a $dynamicRef leads: to the outermost resource in the scope that has its anchor. */
static const struct js_node *dynamic_target(struct js_run *r, const struct js_dynamic *d)
{
    const struct js_node *found = d->first;

    if (d->n == 1)
        return found;
    for (const struct js_scope *s = r->scope; s; s = s->up) {
        r->work += d->n / 8;
        for (uint32_t i = 0; i < d->n; i++)
            if (d->candidates[i].resource == s->resource)
                found = d->candidates[i].node;
    }
    return found;
}

/* One schema that may fail; what it marks is kept only if it doesn't. */
static bool try(struct js_run *r, const struct js_node *n, const char *p, struct js_bits *marks)
{
    struct js_bits own;
    const char *end;

    if (!marks) {
        r->quiet++;
        const bool ok = js_eval(r, n, p, NULL, &end);
        r->quiet--;
        return ok;
    }
    if (!js_bits_like(r, &own, marks))
        return false;
    r->quiet++;
    const bool ok = js_eval(r, n, p, &own, &end);
    r->quiet--;
    if (ok)
        js_bits_add(marks, &own);
    js_bits_done(&own);
    return ok;
}

static bool any_of(struct js_run *r, const struct js_node *n, const char *p, struct js_bits *marks)
{
    const struct js_in_place *const a = n->in_place;
    bool ok = false;

    /* With marks, all that are valid count. */
    for (uint32_t i = 0; i < a->n_any && !r->stopped && (!ok || marks); i++)
        ok |= try(r, a->any[i], p, marks);
    return ok || js_invalid(r, n, "anyOf", "is %s, which none of the %u schemas of anyOf allows",
                            kind_name(scan_kind(*p)), a->n_any);
}

static bool one_of(struct js_run *r, const struct js_node *n, const char *p, struct js_bits *marks)
{
    const struct js_in_place *const a = n->in_place;
    uint32_t valid = 0, first = 0;

    for (uint32_t i = 0; i < a->n_one && !r->stopped && valid < 2; i++) {
        if (!try(r, a->one[i], p, marks))
            continue;
        if (valid++ == 0)
            first = i;
        else
            return js_invalid(r, n, "oneOf", "is valid by the schemas %u and %u of oneOf", first,
                              i);
    }
    return valid == 1 ||
           js_invalid(r, n, "oneOf", "is %s, which none of the %u schemas of oneOf allows",
                      kind_name(scan_kind(*p)), a->n_one);
}

static bool in_place(struct js_run *r, const struct js_node *n, const char *p,
                     struct js_bits *marks, const char **ret_end)
{
    const struct js_in_place *const a = n->in_place;
    const char *end;

    for (uint32_t i = 0; i < a->n_all; i++) {
        if (!js_eval(r, a->all[i], p, marks, &end))
            return false;
        *ret_end = end ? end : *ret_end;
    }
    if (a->dynamic && !js_eval(r, dynamic_target(r, a->dynamic), p, marks, &end))
        return false;
    if (a->n_any && !any_of(r, n, p, marks))
        return false;
    if (a->n_one && !one_of(r, n, p, marks))
        return false;
    if (a->not &&try(r, a->not, p, NULL))
        return js_invalid(r, n, "not", "is what \"not\" excludes");
    if (a->if_) {
        const struct js_node *const next = try(r, a->if_, p, marks) ? a->then_ : a->else_;
        if (next && !r->stopped && !js_eval(r, next, p, marks, &end))
            return false;
    }
    return !r->stopped;
}

/* ---- one schema ------------------------------------------------------------------------------ */

static bool by_kind(struct js_run *r, const struct js_node *n, enum scan_kind kind, const char *p,
                    struct js_bits *marks, const char **ret_end)
{
    switch (kind) {
    case SCAN_NUMBER:
        return !(n->numbers || (n->types & JS_INTEGER_ONLY)) || number(r, n, p, ret_end);
    case SCAN_STRING:
        return !n->strings || string(r, n, p, ret_end);
    case SCAN_ARRAY:
        return !n->arrays || js_eval_array(r, n, p, marks, ret_end);
    case SCAN_OBJECT:
        return !n->objects || js_eval_object(r, n, p, marks, ret_end);
    default:
        return true;
    }
}

static bool eval_all(struct js_run *r, const struct js_node *n, enum scan_kind kind, const char *p,
                     struct js_bits *marks, const char **ret_end)
{
    if (n->values && !in_set(r, n->values, p, kind, ret_end))
        return js_invalid(r, n, "enum", "is none of the values of enum");
    if (n->constant && !in_set(r, n->constant, p, kind, ret_end))
        return js_invalid(r, n, "const", "is not the value of const");
    return by_kind(r, n, kind, p, marks, ret_end) &&
           (!n->in_place || in_place(r, n, p, marks, ret_end));
}

static size_t count_parts(struct js_run *r, const char *p)
{
    const struct slice v = {p, (size_t)(r->end - p)};
    struct slice key, value;
    size_t pos = 0, n = 0;

    while (*p == '{' ? scan_member(v, &pos, &key, &value) : scan_element(v, &pos, &value))
        n++;
    r->work += n + pos / 64;
    return n;
}

/* With unevaluated... : it sees what this schema marks, and no other. */
static bool eval_marked(struct js_run *r, const struct js_node *n, enum scan_kind kind,
                        const char *p, struct js_bits *marks, const char **ret_end)
{
    const size_t parts = count_parts(r, p);
    struct js_bits own;

    if (!js_bits_init(r, &own, parts))
        return false;
    const bool ok = eval_all(r, n, kind, p, &own, ret_end) && js_eval_unevaluated(r, n, p, &own);
    if (ok && marks)
        js_bits_add(marks, &own);
    js_bits_done(&own);
    return ok;
}

/* With all that may matter: a place in the scope, and the depth. */
static __attribute__((noinline)) bool eval_deep(struct js_run *r, const struct js_node *n,
                                                enum scan_kind kind, const char *p,
                                                struct js_bits *marks, const char **ret_end)
{
    const struct js_scope scope = {.up = r->scope, .resource = n->resource}, *const before =
                                                                                 r->scope;
    bool ok;

    if (UNLIKELY(r->work > LIMIT_SCHEMA_WORK || ++r->nesting > LIMIT_SCHEMA_NESTING))
        return js_overworked(r, n);
    if (!before || before->resource != n->resource)
        r->scope = &scope;
    if (UNLIKELY((n->unevaluated_items && kind == SCAN_ARRAY) ||
                 (n->unevaluated_properties && kind == SCAN_OBJECT)))
        ok = eval_marked(r, n, kind, p, marks, ret_end);
    else
        ok = eval_all(r, n, kind, p, marks, ret_end);
    r->scope = before;
    r->nesting--;
    return ok && !r->stopped;
}

bool js_eval(struct js_run *r, const struct js_node *n, const char *p, struct js_bits *marks,
             const char **ret_end)
{
    const enum scan_kind kind = js_kind(*p);

    *ret_end = NULL;
    r->work++;
    if (n->same)
        n = n->same;
    if (n->fixed != JS_NOT_FIXED)
        return n->fixed == JS_ALWAYS || js_invalid(r, n, "false", "no value is allowed here");
    if (UNLIKELY(!(n->types >> kind & 1)))
        return wrong_type(r, n, kind);
    if (!(n->more >> kind & 1))
        return true;
    if (n->simple && kind == SCAN_STRING)
        return string(r, n, p, ret_end);
    if (n->simple && kind == SCAN_NUMBER)
        return number(r, n, p, ret_end);
    return eval_deep(r, n, kind, p, marks, ret_end);
}

int js_run(const struct js_schema *s, const struct js_node *node, struct slice json,
           struct js_error *err)
{
    struct js_run r = {.schema = s, .end = json.p + json.n, .err = err};
    const char *end;

    const bool ok = js_eval(&r, node, json.p, NULL, &end);
    free(r.scratch.p);
    js_matcher_done(&r.matcher);
    if (r.stopped == -ENOMEM && err)
        *err = (struct js_error){.text = "no memory"};
    return r.stopped < 0 ? r.stopped : ok && !r.stopped;
}
