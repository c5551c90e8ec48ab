/* SPDX-License-Identifier: MIT */
#include "conform.h"
#include "store/evolve.h"
#include "store/infer.h"
#include "store/jsonschema.h"

static struct slice text(const char *s)
{
    return (struct slice){s, strlen(s)};
}

static struct evolve diff(const char *from, const char *to, unsigned flags)
{
    struct evolve e = {0};

    CHECK_EQ(evolve_diff(text(from), text(to), flags, &e), 0);
    return e;
}

/* ---- never compatible when it isn't ---------------------------------------------------------- */

static uint64_t seed;

static unsigned pick(unsigned n)
{
    return (unsigned)(check_random(&seed) % n);
}

static json_t *random_value(unsigned depth)
{
    static const char *const strings[] = {"", "a", "b", "cc", "2026-01-01", "\xc3\xa4"};
    static const char *const names[] = {"a", "b", "c"};
    const unsigned kind = pick(depth ? 9 : 7);
    json_t *j;

    switch (kind) {
    case 0:
        return json_null();
    case 1:
        return json_boolean(pick(2));
    case 2:
    case 3:
        return json_integer((json_int_t)pick(7) - 2);
    case 4:
        return json_real((double)pick(12) / 2 - 2);
    case 5:
    case 6:
        return json_string(strings[pick(6)]);
    case 7:
        j = json_array();
        for (unsigned n = pick(4); n > 0; n--)
            json_array_append_new(j, random_value(depth - 1));
        return j;
    default:
        j = json_object();
        for (unsigned n = pick(4); n > 0; n--)
            json_object_set_new(j, names[pick(3)], random_value(depth - 1));
        return j;
    }
}

static json_t *random_schema(unsigned depth);

static json_t *random_list(unsigned depth)
{
    json_t *j = json_array();

    for (unsigned n = 1 + pick(3); n > 0; n--)
        json_array_append_new(j, random_schema(depth));
    return j;
}

static json_t *random_names(void)
{
    static const char *const names[] = {"a", "b", "c"};
    json_t *j = json_array();

    for (unsigned i = 0; i < 3; i++)
        if (pick(2))
            json_array_append_new(j, json_string(names[i]));
    return j;
}

static void random_keyword(json_t *s, unsigned depth)
{
    static const char *const types[] = {"null",   "boolean", "integer", "number",
                                        "string", "array",   "object"};
    static const char *const bounds[] = {
        "minimum",   "maximum",  "exclusiveMinimum", "exclusiveMaximum", "minLength",
        "maxLength", "minItems", "maxItems",         "minProperties",    "maxProperties"};
    static const char *const lists[] = {"anyOf", "allOf", "oneOf", "prefixItems"};
    static const char *const subs[] = {"items", "additionalProperties", "not", "if", "then",
                                       "else"};
    static const char *const names[] = {"a", "b", "c"};
    const unsigned kind = pick(depth ? 16 : 9);
    json_t *j;

    if (kind < 3) {
        const unsigned some = 1 + pick(127);
        j = json_array();
        for (unsigned i = 0; i < 7; i++)
            if (some >> i & 1 && (json_array_size(j) == 0 || pick(2)))
                json_array_append_new(j, json_string(types[i]));
        json_object_set_new(s, "type", j);
    } else if (kind < 5) {
        json_object_set_new(s, bounds[pick(10)], json_integer(pick(4)));
    } else if (kind == 5) {
        j = json_array();
        for (unsigned n = 1 + pick(4); n > 0; n--)
            json_array_append_new(j, random_value(1));
        json_object_set_new(s, "enum", j);
    } else if (kind == 6) {
        json_object_set_new(s, "required", random_names());
    } else if (kind == 7) {
        static const char *const one[] = {"const", "format", "uniqueItems", "multipleOf"};
        const unsigned i = pick(4);
        json_object_set_new(s, one[i],
                            i == 0   ? random_value(2)
                            : i == 1 ? json_string("date")
                            : i == 2 ? json_true()
                                     : json_integer(1 + pick(3)));
    } else if (kind == 8) {
        json_object_set_new(s, "$ref", json_string(pick(2) ? "#/$defs/x" : "#/$defs/y"));
    } else if (kind < 11) {
        json_object_set_new(s, lists[pick(4)], random_list(depth - 1));
    } else if (kind < 13) {
        json_object_set_new(s, subs[pick(6)], random_schema(depth - 1));
    } else {
        j = json_object();
        for (unsigned n = 1 + pick(3); n > 0; n--)
            json_object_set_new(j, names[pick(3)], random_schema(depth - 1));
        json_object_set_new(s, "properties", j);
    }
}

static json_t *random_schema(unsigned depth)
{
    json_t *s;

    if (pick(16) == 0)
        return json_boolean(pick(2));
    s = json_object();
    for (unsigned n = 1 + pick(3); n > 0; n--)
        random_keyword(s, depth);
    return s;
}

static json_t *random_root(unsigned depth)
{
    json_t *s = NULL, *defs = json_object();

    do {
        json_decref(s);
        s = random_schema(depth);
    } while (!json_is_object(s));
    /* y leads to x, and x nowhere: no circles */
    json_t *x = json_object(), *y = json_object();
    json_object_set_new(x, "type", json_string(pick(2) ? "integer" : "object"));
    json_object_set_new(x, "minimum", json_integer(pick(3)));
    json_object_set_new(y, "$ref", json_string("#/$defs/x"));
    if (pick(2))
        json_object_set_new(y, "maximum", json_integer(pick(3)));
    json_object_set_new(defs, "x", x);
    json_object_set_new(defs, "y", y);
    json_object_set_new(s, "$defs", defs);
    return s;
}

/* A schema that is nearly the same. */
static json_t *near(json_t *s)
{
    json_t *j = json_deep_copy(s), *at = j, *member;
    const char *name;

    for (unsigned down = pick(3); down > 0; down--) {
        json_object_foreach(at, name, member)
        {
            if (json_is_object(member) && strcmp(name, "$defs") != 0 &&
                strcmp(name, "const") != 0 && pick(2)) {
                at = member;
                break;
            }
        }
    }
    if (at != j && json_object_get(at, "a") && json_is_object(json_object_get(at, "a")))
        at = json_object_get(at, "a");
    if (pick(2) && at == j)
        random_keyword(at, 1);
    else
        json_object_foreach(at, name, member)
        {
            if (strcmp(name, "$defs") == 0 || pick(2))
                continue;
            json_object_del(at, name);
            break;
        }
    return j;
}

static struct js_schema *compiled(const char *schema)
{
    const struct js_options o = {.assert_format = true};
    struct js_schema *s = NULL;
    struct js_error e = {0};
    const int r = js_compile(text(schema), &o, &s, &e);

    if (r != 0)
        fprintf(stderr, "%s: %s: %s\n", schema, e.schema_path, e.text);
    CHECK_EQ(r, 0);
    return s;
}

/* The two judges agree of the value. */
static bool is_valid(json_t *schema, const struct js_schema *s, json_t *v)
{
    AUTO_FREE char *t = json_dumps(v, JSON_ENCODE_ANY);
    const bool valid = conforms(schema, v);

    if (js_validate(s, text(t), NULL) != valid) {
        AUTO_FREE char *a = json_dumps(schema, 0);
        check_failed++;
        fprintf(stderr, "%s: %s: the judges differ\n", a, t);
    }
    return valid;
}

static void check_pair(json_t *from, json_t *to, unsigned *ret_proved, unsigned *ret_tried)
{
    AUTO_FREE char *a = json_dumps(from, 0), *b = json_dumps(to, 0);
    struct evolve e = diff(a, b, 0);
    struct js_schema *x = NULL, *y = NULL;

    *ret_proved += e.backward.holds + e.forward.holds;
    if (e.backward.holds || e.forward.holds) {
        x = compiled(a);
        y = compiled(b);
    }
    for (unsigned i = 0; i < 40 && x && y; i++) {
        json_t *v = random_value(3);
        const bool old = is_valid(from, x, v), new = is_valid(to, y, v);
        *ret_tried += (e.backward.holds && old) || (e.forward.holds && new);
        if ((e.backward.holds && old && !new) || (e.forward.holds && new && !old)) {
            AUTO_FREE char *t = json_dumps(v, JSON_ENCODE_ANY);
            check_failed++;
            fprintf(stderr, "%s (%d)\n%s (%d)\n%s: %s\n", a, old, b, new, evolve_verdict(&e), t);
        }
        json_decref(v);
    }
    js_free(x);
    js_free(y);
    evolve_done(&e);
}

static void random_pairs(void)
{
    const char *mode = getenv("EVFS_TEST_MODE");
    const int failed = check_failed;
    const unsigned rounds = !mode || strcmp(mode, "quick") == 0 ? 5000
                            : strcmp(mode, "ci") == 0           ? 25000
                                                                : 100000;
    unsigned proved = 0, tried = 0;

    seed = check_seed();
    for (unsigned i = 0; i < rounds && check_failed < failed + 5; i++) {
        json_t *from = random_root(1 + i % 3);
        json_t *to = i % 4 ? near(from) : random_root(1 + i % 3);
        check_pair(from, to, &proved, &tried);
        json_decref(from);
        json_decref(to);
    }
    printf("# %u of %u directions proved, %u values tried\n", proved, 2 * rounds, tried);
    CHECK(tried > rounds);
    CHECK(proved > rounds / 4);
}

/* n random values go into the model and to values[]. */
static void add_some(struct infer *m, char **values, unsigned n, evs_seq seq)
{
    for (unsigned i = 0; i < n; i++) {
        json_t *v = random_value(3);
        values[i] = json_dumps(v, JSON_ENCODE_ANY);
        CHECK(infer_add(m, text(values[i]), infer_shape(text(values[i])), seq + i) >= 0);
        json_decref(v);
    }
}

static char *schema_of(const struct infer *m)
{
    char *p = NULL;
    size_t n;

    CHECK_EQ(infer_schema(m, NULL, &p, &n), 0);
    return p;
}

/* An inferred schema only grows: it is backward compatible, always; and forward, then all values that came since
 * are valid under the old one. */
static void inferred_schemas_grow(void)
{
    enum { OLD = 12, NEW = 3 };
    unsigned full = 0;

    seed = check_seed();
    for (unsigned round = 0; round < 2000; round++) {
        struct infer *m = NULL;
        char *values[OLD + NEW];
        CHECK_EQ(infer_new(&m), 0);
        const unsigned old = 1 + pick(OLD);
        add_some(m, values, old, 1);
        AUTO_FREE char *a = schema_of(m);
        add_some(m, values + old, NEW, 100);
        AUTO_FREE char *b = schema_of(m);
        struct evolve e = diff(a, b, EVOLVE_CLOSED);
        if (!e.backward.holds)
            fprintf(stderr, "%s: %s\n%s\n%s\n", e.backward.reason[0].path, e.backward.reason[0].why,
                    a, b);
        CHECK(e.backward.holds);
        CHECK(e.n > 0 || e.forward.holds);
        struct js_schema *s = e.forward.holds ? compiled(a) : NULL;
        for (unsigned i = 0; s && i < old + NEW; i++)
            CHECK_EQ(js_validate(s, text(values[i]), NULL), 1);
        full += s != NULL;
        js_free(s);
        evolve_done(&e);
        infer_free(m);
        for (unsigned i = 0; i < old + NEW; i++)
            free(values[i]);
    }
    CHECK(full > 20 && full < 1900);
}

int main(void)
{
    RUN(inferred_schemas_grow);
    RUN(random_pairs);
    CHECK_DONE();
}
