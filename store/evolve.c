/* SPDX-License-Identifier: MIT */
/* Schemas as trees, and what came out of comparing them as text. */
#include "evolve_state.h"

#include "scan.h"

#include <errno.h>
#include <stdio.h>

/* ---- the place in the data ------------------------------------------------------------------- */

static void path_put(struct evolve_path *path, const char *s, size_t n)
{
    if (path->failed)
        return;
    if (path->max - path->n < n + 1) {
        const size_t max = (path->n + n + 1) * 2;
        char *p = realloc(path->p, max);
        if (!p) {
            path->failed = true;
            return;
        }
        path->p = p;
        path->max = max;
    }
    memcpy(path->p + path->n, s, n);
    path->n += n;
    path->p[path->n] = '\0';
}

size_t evolve_path_push(struct evolve_path *path, const char *name, size_t n)
{
    const size_t back = path->n;

    path_put(path, "/", 1);
    if (n == SIZE_MAX)
        path_put(path, "*", 1);
    for (size_t i = 0; n != SIZE_MAX && i < n; i++) {
        if (name[i] == '~')
            path_put(path, "~0", 2);
        else if (name[i] == '/')
            path_put(path, "~1", 2);
        else if (name[i])
            path_put(path, name + i, 1);
    }
    return back;
}

void evolve_path_pop(struct evolve_path *path, size_t to)
{
    path->n = to;
    if (path->p)
        path->p[to] = '\0';
}

/* ---- trees ----------------------------------------------------------------------------------- */

static int hex(char c)
{
    return c >= '0' && c <= '9'   ? c - '0'
           : c >= 'a' && c <= 'f' ? c - 'a' + 10
           : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                  : -1;
}

/* The next token of a JSON Pointer in a fragment, decoded into out. Returns where it ends, or NULL. */
static const char *pointer_token(const char *p, const char *end, char *out, size_t *ret_n)
{
    size_t n = 0;

    while (p < end && *p != '/') {
        char c = *p++;
        if (c == '%') {
            if (end - p < 2 || hex(p[0]) < 0 || hex(p[1]) < 0)
                return NULL;
            c = (char)(hex(p[0]) * 16 + hex(p[1]));
            p += 2;
        }
        out[n++] = c;
    }
    size_t k = 0;
    for (size_t i = 0; i < n; i++) {
        if (out[i] == '~' && i + 1 < n && (out[i + 1] == '0' || out[i + 1] == '1'))
            out[k++] = out[++i] == '0' ? '~' : '/';
        else
            out[k++] = out[i];
    }
    *ret_n = k;
    return p;
}

json_t *evolve_resolve(const struct evolve_doc *doc, const json_t *ref)
{
    const char *p = json_string_value(ref), *end = p ? p + json_string_length(ref) : NULL;
    json_t *at = doc->root;
    char token[1024];
    size_t n;

    if (!p || doc->inner_id || *p != '#' || (p + 1 < end && p[1] != '/') ||
        (size_t)(end - p) > sizeof token)
        return NULL;
    for (p++; at && p < end;) {
        p = pointer_token(p + 1, end, token, &n);
        if (!p)
            return NULL;
        if (json_is_array(at)) {
            char *stop;
            token[MIN(n, sizeof token - 1)] = '\0';
            const unsigned long i = strtoul(token, &stop, 10);
            at = n > 0 && *stop == '\0' && token[0] >= '0' && token[0] <= '9'
                     ? json_array_get(at, i)
                     : NULL;
        } else {
            at = json_object_getn(at, token, n);
        }
    }
    return at;
}

unsigned evolve_types(const json_t *type)
{
    static const struct {
        const char *name;
        unsigned types;
    } names[] = {{"null", TYPE_NULL},       {"boolean", TYPE_BOOLEAN},
                 {"integer", TYPE_INTEGER}, {"number", TYPE_INTEGER | TYPE_FRACTION},
                 {"string", TYPE_STRING},   {"array", TYPE_ARRAY},
                 {"object", TYPE_OBJECT}};
    unsigned types = 0;

    if (json_is_string(type)) {
        for (size_t i = 0; i < ARRAY_LEN(names); i++)
            if (strcmp(names[i].name, json_string_value(type)) == 0)
                types = names[i].types;
        return types ? types : TYPE_ALL;
    }
    for (size_t i = 0; i < json_array_size(type); i++)
        if (json_is_string(json_array_get(type, i)))
            types |= evolve_types(json_array_get(type, i));
    return types ? types : TYPE_ALL;
}

unsigned evolve_type_of(const json_t *value)
{
    switch (json_typeof(value)) {
    case JSON_NULL:
        return TYPE_NULL;
    case JSON_TRUE:
    case JSON_FALSE:
        return TYPE_BOOLEAN;
    case JSON_INTEGER:
        return TYPE_INTEGER;
    case JSON_REAL: {
        const double v = json_real_value(value);
        /* Beyond 2^53 all doubles are whole. */
        const bool whole = !(v > -0x1p53 && v < 0x1p53) || v == (double)(int64_t)v;
        return whole ? TYPE_INTEGER : TYPE_FRACTION;
    }
    case JSON_STRING:
        return TYPE_STRING;
    case JSON_ARRAY:
        return TYPE_ARRAY;
    case JSON_OBJECT:
        break;
    }
    return TYPE_OBJECT;
}

static long double number_of(const json_t *j)
{
    return json_is_integer(j) ? (long double)json_integer_value(j)
                              : (long double)json_real_value(j);
}

int evolve_compare(const json_t *a, const json_t *b)
{
    const long double x = number_of(a), y = number_of(b);

    return x < y ? -1 : x > y;
}

bool evolve_equal(const json_t *a, const json_t *b)
{
    const char *name;
    size_t n;
    json_t *member;

    if (!a || !b)
        return false;
    if (json_is_number(a) && json_is_number(b))
        return evolve_compare(a, b) == 0;
    if (json_typeof(a) != json_typeof(b))
        return false;
    if (json_is_array(a)) {
        bool same = json_array_size(a) == json_array_size(b);
        for (size_t i = 0; same && i < json_array_size(a); i++)
            same = evolve_equal(json_array_get(a, i), json_array_get(b, i));
        return same;
    }
    if (!json_is_object(a))
        return json_equal(a, b);
    if (json_object_size(a) != json_object_size(b))
        return false;
    json_object_keylen_foreach((json_t *)(uintptr_t)a, name, n, member)
    {
        if (!evolve_equal(member, json_object_getn(b, name, n)))
            return false;
    }
    return true;
}

/* Whether found(name, value) of any member within. */
static bool has_within(const json_t *j, bool (*found)(const char *, const json_t *))
{
    const char *name;
    json_t *member;

    for (size_t i = 0; i < json_array_size(j); i++)
        if (has_within(json_array_get(j, i), found))
            return true;
    json_object_foreach((json_t *)(uintptr_t)j, name, member)
    {
        if (found(name, member) || has_within(member, found))
            return true;
    }
    return false;
}

static bool is_ref(const char *name, const json_t *value)
{
    return json_is_string(value) &&
           (strcmp(name, "$ref") == 0 || strcmp(name, "$dynamicRef") == 0 ||
            strcmp(name, "$recursiveRef") == 0);
}

static bool is_id(const char *name, const json_t *value)
{
    return json_is_string(value) && strcmp(name, "$id") == 0;
}

static bool is_meta(const char *name, const json_t *value)
{
    return strcmp(name, "$schema") == 0 && json_is_string(value) &&
           strcmp(json_string_value(value), "https://json-schema.org/draft/2020-12/schema") != 0 &&
           strcmp(json_string_value(value), "https://json-schema.org/draft/2020-12/schema#") != 0;
}

bool evolve_is_plain(const json_t *schema)
{
    return !has_within(schema, is_ref);
}

/* Numbers that a double does not hold exactly enough to tell them apart, outside of strings. */
static bool has_long_number(struct slice text)
{
    for (size_t i = 0; i < text.n;) {
        const char c = text.p[i];
        if (c != '"' && c != '-' && (c < '0' || c > '9')) {
            i++;
            continue;
        }
        const size_t n = scan_skip(text.p + i, text.n - i);
        size_t digits = 0;
        bool exponent = false;
        for (size_t k = i; c != '"' && k < i + n; k++) {
            digits += text.p[k] >= '0' && text.p[k] <= '9';
            exponent |= text.p[k] == 'e' || text.p[k] == 'E';
        }
        if (digits > 15 || (exponent && digits > 12))
            return true;
        i += MAX(n, 1u);
    }
    return false;
}

static void doc_done(struct evolve_doc *doc)
{
    json_decref(doc->root);
}

static int doc_init(struct evolve_doc *doc, struct slice text)
{
    json_error_t e;

    *doc = (struct evolve_doc){.text = text};
    if (scan_whole(text.p, text.n, NULL) < 0)
        return -EINVAL;
    const bool numbers = has_long_number(text);
    doc->root = json_loadb(text.p, text.n,
                           JSON_DECODE_ANY | JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL |
                               (numbers ? JSON_DECODE_INT_AS_REAL : 0),
                           &e);
    if (!doc->root && json_error_code(&e) == json_error_out_of_memory)
        return -ENOMEM;
    if (!doc->root && json_error_code(&e) == json_error_numeric_overflow) {
        doc->root = json_true();
        doc->strange = "a number that no double holds";
        return 0;
    }
    if (!json_is_object(doc->root) && !json_is_boolean(doc->root)) {
        doc_done(doc);
        return -EINVAL;
    }
    const char *name;
    json_t *member;
    json_object_foreach(doc->root, name, member)
    {
        doc->inner_id |= has_within(member, is_id);
    }
    if (numbers)
        doc->strange = "a number of more than 15 digits";
    else if (has_within(doc->root, is_meta))
        doc->strange = "another $schema than 2020-12";
    return 0;
}

/* ---- public ---------------------------------------------------------------------------------- */

int evolve_diff(struct slice old_schema, struct slice new_schema, unsigned flags,
                struct evolve *ret)
{
    struct evolve e = {0};
    struct evolve_doc from, to;
    int r = doc_init(&from, old_schema);

    if (r < 0)
        return r;
    r = doc_init(&to, new_schema);
    if (r < 0) {
        doc_done(&from);
        return r;
    }
    r = evolve_prove(&from, &to, flags, &e.backward);
    if (r == 0)
        r = evolve_prove(&to, &from, flags, &e.forward);
    if (r == 0)
        r = evolve_changes(&from, &to, &e);
    doc_done(&from);
    doc_done(&to);
    if (r < 0)
        evolve_done(&e);
    else
        *ret = e;
    return r;
}

static void side_done(struct evolve_side *s)
{
    for (uint32_t i = 0; i < s->n; i++) {
        free(s->reason[i].path);
        free(s->reason[i].why);
    }
}

void evolve_done(struct evolve *e)
{
    for (size_t i = 0; i < e->n; i++) {
        free(e->change[i].path);
        free(e->change[i].keyword);
        free(e->change[i].from);
        free(e->change[i].to);
    }
    free(e->change);
    side_done(&e->backward);
    side_done(&e->forward);
    *e = (struct evolve){0};
}

const char *evolve_what_name(enum evolve_what what)
{
    static const char *const names[] = {
#define X(name, text) text,
        EVOLVE_WHATS(X)
#undef X
    };

    return names[what];
}

const char *evolve_verdict(const struct evolve *e)
{
    return e->backward.holds  ? e->forward.holds ? "full" : "backward"
           : e->forward.holds ? "forward"
                              : "none";
}
