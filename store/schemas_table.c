/* SPDX-License-Identifier: MIT */
/* schemas_table: walks a schema as infer writes it. A path is a.b for members, a[] for elements, a.* for names that
 * are data. Wide columns are cut by characters, never within one. What would control a terminal is shown as '?'. */
#include "schemas_table.h"

#include "scan.h"

#include <errno.h>
#include <jansson.h>
#include <stdio.h>

#define PATH_MAX_BYTES 512
#define CELL_CHARS     40
#define EXAMPLE_LINES  40
#define EXAMPLE_CHARS  160

struct row {
    char *path, *types, *example; /* owned */
    bool required;
    json_int_t count;
};

struct table {
    struct row *rows; /* owned */
    size_t n, cap;
    bool failed; /* no memory */
};

/* ---- cells ---- */

/* Bytes of the first `chars` characters of UTF-8; all of them: whole. */
static size_t cut(const char *s, size_t chars)
{
    size_t i = 0;

    for (; s[i]; i++)
        if (((unsigned char)s[i] & 0xc0) != 0x80 && chars-- == 0)
            break;
    return i;
}

static size_t width(const char *s)
{
    size_t n = 0;

    for (; *s; s++)
        n += ((unsigned char)*s & 0xc0) != 0x80;
    return n;
}

static void add_types(FILE *f, const json_t *schema, const char **separator)
{
    const json_t *type = json_object_get(schema, "type"),
                 *format = json_object_get(schema, "format");
    size_t i;
    json_t *one;

    for (i = 0; i < json_array_size(type) || (json_is_string(type) && i == 0); i++) {
        const char *name = json_string_value(json_is_string(type) ? type : json_array_get(type, i));
        (void)fprintf(f, "%s%s", *separator, name ? name : "?");
        if (name && strcmp(name, "string") == 0 && json_is_string(format))
            (void)fprintf(f, " (%s)", json_string_value(format));
        *separator = " or ";
    }
    json_array_foreach(json_object_get(schema, "anyOf"), i, one) add_types(f, one, separator);
}

static char *types_of(const json_t *schema)
{
    const char *separator = "";
    char *p = NULL;
    size_t n;
    FILE *f = open_memstream(&p, &n);

    if (!f)
        return NULL;
    add_types(f, schema, &separator);
    if (!*separator)
        (void)fprintf(f, "anything");
    if (fclose(f) != 0) {
        free(p);
        return NULL;
    }
    return p;
}

static const json_t *example_of(const json_t *schema)
{
    const json_t *v = json_array_get(json_object_get(schema, "examples"), 0);
    size_t i;
    json_t *one;

    if (!v)
        v = json_array_get(json_object_get(schema, "x-evfs-enum"), 0);
    if (!v)
        v = json_object_get(schema, "x-evfs-minimum");
    json_array_foreach(json_object_get(schema, "anyOf"), i, one) if (!v) v = example_of(one);
    return v;
}

/* With as many digits as tell it from other numbers. */
static char *value_text(const json_t *v)
{
    char *text = NULL;

    for (size_t digits = 15; digits <= 17; digits++) {
        free(text);
        text = json_dumps(v, JSON_COMPACT | JSON_ENCODE_ANY | JSON_REAL_PRECISION(digits));
        if (!text || !json_is_real(v) || strtod(text, NULL) == json_real_value(v))
            break;
    }
    return text;
}

static void add_row(struct table *t, const char *path, const json_t *schema, bool required)
{
    if (t->n == t->cap && !t->failed) {
        size_t cap = t->cap ? t->cap * 2 : 32;
        struct row *rows = reallocarray(t->rows, cap, sizeof *rows);
        t->failed = !rows;
        t->rows = rows ? rows : t->rows;
        t->cap = rows ? cap : t->cap;
    }
    if (t->failed)
        return;
    const json_t *v = example_of(schema);
    struct row *r = &t->rows[t->n++];
    *r = (struct row){.path = strdup(path),
                      .types = types_of(schema),
                      .example = v ? value_text(v) : strdup(""),
                      .required = required,
                      .count = json_integer_value(json_object_get(schema, "x-evfs-count"))};
    t->failed = !r->path || !r->types || !r->example;
}

/* ---- walking ---- */

static bool is_required(const json_t *schema, const char *name)
{
    size_t i;
    json_t *one;

    json_array_foreach(json_object_get(schema, "required"), i,
                       one) if (strcmp(json_string_value(one), name) == 0) return true;
    return false;
}

static void walk(struct table *t, const char *path, const json_t *schema);

static void walk_field(struct table *t, const char *path, const json_t *schema, bool required)
{
    add_row(t, path, schema, required);
    walk(t, path, schema);
}

static void walk(struct table *t, const char *path, const json_t *schema)
{
    char below[PATH_MAX_BYTES];
    const char *name, *dot = *path ? "." : "";
    json_t *one;
    size_t i;

    json_object_foreach(json_object_get(schema, "properties"), name, one)
    {
        if ((size_t)snprintf(below, sizeof below, "%s%s%s", path, dot, name) < sizeof below)
            walk_field(t, below, one, is_required(schema, name));
    }
    one = json_object_get(schema, "additionalProperties");
    if (json_is_object(one) &&
        (size_t)snprintf(below, sizeof below, "%s%s*", path, dot) < sizeof below)
        walk_field(t, below, one, false);
    one = json_object_get(schema, "items");
    if (json_is_object(one) && (size_t)snprintf(below, sizeof below, "%s[]", path) < sizeof below)
        walk_field(t, below, one, false);
    json_array_foreach(json_object_get(schema, "anyOf"), i, one) walk(t, path, one);
}

/* ---- text ---- */

static void print_text(FILE *f, const char *s, size_t n)
{
    for (size_t i = 0; i < n; i++)
        (void)fputc((unsigned char)s[i] < ' ' || s[i] == 0x7f ? '?' : s[i], f);
}

static void print_cell(FILE *f, const char *s, size_t to)
{
    size_t n = cut(s, CELL_CHARS);
    bool whole = s[n] == '\0';

    if (!whole)
        n = cut(s, CELL_CHARS - 1);
    print_text(f, s, n);
    (void)fputs(whole ? "" : "…", f);
    for (size_t w = MIN(width(s), (size_t)CELL_CHARS); w < to; w++)
        (void)fputc(' ', f);
}

static void print(const struct table *t, FILE *f)
{
    size_t path = 5, types = 4;

    for (size_t i = 0; i < t->n; i++) {
        path = MAX(path, width(t->rows[i].path));
        types = MAX(types, width(t->rows[i].types));
    }
    path = MIN(path, (size_t)CELL_CHARS);
    types = MIN(types, (size_t)CELL_CHARS);
    (void)fprintf(f, "%-*s  %-*s  required       count  example\n", (int)path, "field", (int)types,
                  "type");
    for (size_t i = 0; i < t->n; i++) {
        const struct row *r = &t->rows[i];
        print_cell(f, r->path, path);
        (void)fputs("  ", f);
        print_cell(f, r->types, types);
        (void)fprintf(f, "  %-8s  %10" JSON_INTEGER_FORMAT "  ", r->required ? "yes" : "",
                      r->count);
        print_cell(f, r->example, 0);
        (void)fputc('\n', f);
    }
}

static void table_done(struct table *t)
{
    for (size_t i = 0; i < t->n; i++) {
        free(t->rows[i].path);
        free(t->rows[i].types);
        free(t->rows[i].example);
    }
    free(t->rows);
}

int schemas_table(struct slice schema, char **ret, size_t *ret_n)
{
    json_t *root = json_loadb(schema.p, schema.n, JSON_ALLOW_NUL, NULL);
    struct table t = {0};
    char *text = NULL;
    int r = 0;

    if (!root)
        return -EBADMSG;
    if (!json_is_object(json_object_get(root, "properties")))
        add_row(&t, "(data)", root, true);
    walk(&t, "", root);
    FILE *f = t.failed ? NULL : open_memstream(&text, ret_n);
    if (f) {
        print(&t, f);
        r = fclose(f) == 0 ? 0 : -ENOMEM;
    } else {
        r = -ENOMEM;
    }
    table_done(&t);
    json_decref(root);
    if (r < 0)
        free(text);
    else
        *ret = text;
    return r;
}

static size_t blanks(struct slice json, size_t at)
{
    while (at < json.n && scan_is_space(json.p[at]))
        at++;
    return at;
}

/* Its own bytes, but for white space: numbers stay as they were written. */
static void put_indented(FILE *f, struct slice json)
{
    int depth = 0;

    for (size_t i = blanks(json, 0), n; i < json.n; i = blanks(json, i + n)) {
        const char c = json.p[i];
        n = 1;
        if (c == '{' || c == '[') {
            const size_t inner = blanks(json, i + 1);
            const bool empty = inner < json.n && (json.p[inner] == '}' || json.p[inner] == ']');
            depth += !empty;
            (void)fputc(c, f);
            if (empty)
                (void)fputc(json.p[inner], f);
            else
                (void)fprintf(f, "\n%*s", 2 * depth, "");
            n = empty ? inner + 1 - i : 1;
        } else if (c == '}' || c == ']') {
            depth--;
            (void)fprintf(f, "\n%*s%c", 2 * depth, "", c);
        } else if (c == ',') {
            (void)fprintf(f, ",\n%*s", 2 * depth, "");
        } else if (c == ':') {
            (void)fputs(": ", f);
        } else {
            n = scan_skip(json.p + i, json.n - i);
            (void)fwrite(json.p + i, 1, n, f);
        }
    }
}

static char *indented(struct slice json)
{
    char *text = NULL;
    size_t n;
    FILE *f = open_memstream(&text, &n);

    if (!f)
        return NULL;
    put_indented(f, json);
    if (fclose(f) == 0)
        return text;
    free(text);
    return NULL;
}

int schemas_example(struct slice json, char **ret)
{
    char *text = indented(json);
    size_t n, lines = 0;
    FILE *f = text ? open_memstream(ret, &n) : NULL;

    if (!f) {
        free(text);
        return -ENOMEM;
    }
    char *next = text;
    for (char *line; lines < EXAMPLE_LINES && (line = strsep(&next, "\n")); lines++) {
        size_t k = cut(line, EXAMPLE_CHARS);
        (void)fputs("  ", f);
        print_text(f, line, k);
        (void)fputs(line[k] ? "…\n" : "\n", f);
    }
    if (next)
        (void)fputs("  …\n", f);
    free(text);
    if (fclose(f) != 0) {
        free(*ret);
        return -ENOMEM;
    }
    return 0;
}
