/* SPDX-License-Identifier: MIT */
/* conform: does a value of jansson's conform to a schema? Knows the keywords that infer_schema() writes, and those
 * of the schemas of test_evolve.c; formats by regular expressions. A judge that shares no code with what it
 * judges. */
#ifndef CONFORM_H
#define CONFORM_H

#include "check.h"

#include <jansson.h>
#include <regex.h>
#include <stdbool.h>

static inline bool conform_format(const char *format, const char *s, size_t n)
{
    static const char *const re[][2] = {
        {"date-time",
         "^[0-9]{4}-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])T([01][0-9]|2[0-3]):[0-5][0-9]:"
         "[0-5][0-9](\\.[0-9]+)?(Z|[+-]([01][0-9]|2[0-3]):[0-5][0-9])$"},
        {"date", "^[0-9]{4}-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])$"},
        {"uuid", "^[0-9a-fA-F]{8}-([0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12}$"},
        {"uri",
         "^[A-Za-z][A-Za-z0-9+.-]*://([^][/?#@\"<>\\^`{|} ]*@)?[^][/?#@:\"<>\\^`{|} ]*(:[0-9]*)?"
         "(/[^][?#\"<>\\^`{|} ]*)?(\\?[^][#\"<>\\^`{|} ]*)?(#[^][#\"<>\\^`{|} ]*)?$"},
        {"email", "^[^][@.,:;<>()\" ]+(\\.[^][@.,:;<>()\" ]+)*@([A-Za-z0-9-]+\\.)+[A-Za-z0-9-]+$"},
        {"ipv4", "^((25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])(\\.|$)){4}$"},
        {"ipv6", "^[0-9a-fA-F:]{3,39}$"},
    };
    static regex_t compiled[sizeof re / sizeof re[0]];
    static bool ready;

    for (size_t i = 0; !ready && i < sizeof re / sizeof re[0]; i++)
        if (regcomp(&compiled[i], re[i][1], REG_EXTENDED | REG_NOSUB) != 0)
            abort();
    ready = true;
    for (size_t i = 0; i < sizeof re / sizeof re[0]; i++)
        if (strcmp(format, re[i][0]) == 0)
            return strlen(s) == n && regexec(&compiled[i], s, 0, NULL, 0) == 0;
    return false;
}

static inline bool conform_is_whole(double d)
{
    return d > -1e18 && d < 1e18 ? d == (double)(int64_t)d : true;
}

static inline bool conform_type_name(const char *t, const json_t *v)
{
    const double d = json_number_value(v);
    const bool whole = json_is_number(v) && conform_is_whole(d);

    switch (json_typeof(v)) {
    case JSON_NULL:
        return strcmp(t, "null") == 0;
    case JSON_TRUE:
    case JSON_FALSE:
        return strcmp(t, "boolean") == 0;
    case JSON_INTEGER:
    case JSON_REAL:
        return strcmp(t, "number") == 0 || (whole && strcmp(t, "integer") == 0);
    case JSON_STRING:
        return strcmp(t, "string") == 0;
    case JSON_ARRAY:
        return strcmp(t, "array") == 0;
    default:
        return strcmp(t, "object") == 0;
    }
}

static inline bool conform_type(const json_t *type, const json_t *v)
{
    if (!type)
        return true;
    if (json_is_string(type))
        return conform_type_name(json_string_value(type), v);
    for (size_t i = 0; i < json_array_size(type); i++)
        if (conform_type_name(json_string_value(json_array_get(type, i)), v))
            return true;
    return false;
}

/* Equal as JSON Schema says: 1 and 1.0 are, wherever they are. */
static inline bool conform_same(json_t *a, json_t *b)
{
    const char *name;
    json_t *member;
    bool same = json_typeof(a) == json_typeof(b);

    if (json_is_number(a) && json_is_number(b))
        return json_number_value(a) == json_number_value(b);
    if (!same || (!json_is_array(a) && !json_is_object(a)))
        return same && json_equal(a, b);
    same = json_array_size(a) == json_array_size(b) && json_object_size(a) == json_object_size(b);
    for (size_t i = 0; same && i < json_array_size(a); i++)
        same = conform_same(json_array_get(a, i), json_array_get(b, i));
    json_object_foreach(a, name, member)
    {
        json_t *other = json_object_get(b, name);
        same = same && other && conform_same(member, other);
    }
    return same;
}

static inline bool conforms_in(json_t *root, json_t *schema, json_t *v);

/* How many of the schemas it conforms to. */
static inline size_t conform_count(json_t *root, json_t *schemas, json_t *v)
{
    size_t n = 0;

    for (size_t i = 0; i < json_array_size(schemas); i++)
        n += conforms_in(root, json_array_get(schemas, i), v);
    return n;
}

static inline bool conform_combined(json_t *root, json_t *schema, json_t *v)
{
    json_t *any = json_object_get(schema, "anyOf"), *one = json_object_get(schema, "oneOf"),
           *all = json_object_get(schema, "allOf"), *not = json_object_get(schema, "not"),
           *cond = json_object_get(schema, "if"), *ref = json_object_get(schema, "$ref"), *sub;

    if ((any && conform_count(root, any, v) == 0) || (one && conform_count(root, one, v) != 1) ||
        conform_count(root, all, v) < json_array_size(all) || (not &&conforms_in(root, not, v)))
        return false;
    if (ref && strncmp(json_string_value(ref), "#/$defs/", 8) == 0 &&
        !conforms_in(
            root, json_object_get(json_object_get(root, "$defs"), json_string_value(ref) + 8), v))
        return false;
    sub = cond ? json_object_get(schema, conforms_in(root, cond, v) ? "then" : "else") : NULL;
    return !sub || conforms_in(root, sub, v);
}

static inline bool conform_bounds(json_t *schema, const char *low, const char *high, double n)
{
    json_t *least = json_object_get(schema, low), *most = json_object_get(schema, high);

    return (!least || n >= json_number_value(least)) && (!most || n <= json_number_value(most));
}

static inline bool conform_scalar(json_t *schema, json_t *v)
{
    json_t *values = json_object_get(schema, "enum"), *one = json_object_get(schema, "const"),
           *least = json_object_get(schema, "exclusiveMinimum"),
           *most = json_object_get(schema, "exclusiveMaximum"),
           *of = json_object_get(schema, "multipleOf");
    const char *format = json_string_value(json_object_get(schema, "format"));
    const double d = json_number_value(v);
    bool listed = !values;
    size_t points = 0;

    for (size_t i = 0; i < json_array_size(values); i++)
        listed |= conform_same(v, json_array_get(values, i));
    if (!listed || (one && !conform_same(one, v)))
        return false;
    if (json_is_number(v))
        return conform_bounds(schema, "minimum", "maximum", d) &&
               (!least || d > json_number_value(least)) && (!most || d < json_number_value(most)) &&
               (!of || conform_is_whole(d / json_number_value(of)));
    if (!json_is_string(v))
        return true;
    for (size_t i = 0; i < json_string_length(v); i++)
        points += ((unsigned char)json_string_value(v)[i] & 0xc0) != 0x80;
    return conform_bounds(schema, "minLength", "maxLength", (double)points) &&
           (!format || conform_format(format, json_string_value(v), json_string_length(v)));
}

static inline bool conform_array(json_t *root, json_t *schema, json_t *v)
{
    json_t *items = json_object_get(schema, "items"),
           *first = json_object_get(schema, "prefixItems");
    const size_t n = json_array_size(v);

    for (size_t i = 0; i < n; i++) {
        json_t *sub = json_array_get(first, i);
        sub = sub ? sub : items;
        if (sub && !conforms_in(root, sub, json_array_get(v, i)))
            return false;
        for (size_t k = 0; json_is_true(json_object_get(schema, "uniqueItems")) && k < i; k++)
            if (conform_same(json_array_get(v, i), json_array_get(v, k)))
                return false;
    }
    return conform_bounds(schema, "minItems", "maxItems", (double)n);
}

static inline bool conform_object(json_t *root, json_t *schema, json_t *v)
{
    json_t *required = json_object_get(schema, "required"),
           *properties = json_object_get(schema, "properties"),
           *more = json_object_get(schema, "additionalProperties"), *value;
    const char *name;
    size_t name_n;

    for (size_t i = 0; i < json_array_size(required); i++) {
        json_t *r = json_array_get(required, i);
        if (!json_object_getn(v, json_string_value(r), json_string_length(r)))
            return false;
    }
    json_object_keylen_foreach(v, name, name_n, value)
    {
        json_t *sub = json_object_getn(properties, name, name_n);
        sub = sub ? sub : more;
        if (sub && !conforms_in(root, sub, value))
            return false;
    }
    return conform_bounds(schema, "minProperties", "maxProperties", (double)json_object_size(v));
}

static inline bool conforms_in(json_t *root, json_t *schema, json_t *v)
{
    if (json_is_boolean(schema))
        return json_is_true(schema);
    return conform_type(json_object_get(schema, "type"), v) && conform_scalar(schema, v) &&
           conform_combined(root, schema, v) &&
           (!json_is_array(v) || conform_array(root, schema, v)) &&
           (!json_is_object(v) || conform_object(root, schema, v));
}

static inline bool conforms(json_t *schema, json_t *v)
{
    return conforms_in(schema, schema, v);
}

#endif
