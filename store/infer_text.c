/* SPDX-License-Identifier: MIT */
/* A model as the text of a JSON Schema. A node is one schema; where it has scalars and containers, or arrays
 * and objects, each of them is a branch of anyOf. */
#include "infer_model.h"

#include "scan.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>

enum {
    KINDS_PLAIN = KIND_BOOLEAN | KIND_INTEGER | KIND_NUMBER | KIND_STRING,
    KINDS_SCALAR = KINDS_PLAIN | KIND_NULL
};

struct text {
    char *p;
    size_t n, max;
    bool failed;
    bool first; /* nothing stands in the innermost bracket yet */
    bool structure;
    unsigned indent;
    struct infer_tally *tally; /* of each node */
    const struct infer *m;
};

/* ---- text ------------------------------------------------------------------------------------ */

/* Room for n bytes more; NULL: there is no memory. */
static char *room(struct text *t, size_t n)
{
    if (t->failed)
        return NULL;
    if (t->max - t->n < n) {
        const size_t max = MAX(t->n + n, t->max * 2);
        char *p = realloc(t->p, max);
        if (!p) {
            t->failed = true;
            return NULL;
        }
        t->p = p;
        t->max = max;
    }
    return t->p + t->n;
}

static void put_n(struct text *t, const char *s, size_t n)
{
    char *p = room(t, n);

    if (p)
        memcpy(p, s, n);
    t->n += p ? n : 0;
}

static void put(struct text *t, const char *s)
{
    put_n(t, s, strlen(s));
}

static __attribute__((format(printf, 2, 3))) void putf(struct text *t, const char *fmt, ...)
{
    char buf[128];
    va_list ap;

    va_start(ap, fmt);
    (void)vsnprintf(buf, sizeof buf, fmt, ap);
    va_end(ap);
    put(t, buf);
}

static void put_string(struct text *t, struct slice s)
{
    char *p = room(t, 6 * s.n + 2);

    if (!p)
        return;
    p[0] = '"';
    const size_t n = scan_encode(s, p + 1);
    p[1 + n] = '"';
    t->n += n + 2;
}

static void put_line(struct text *t)
{
    put(t, "\n");
    for (unsigned i = 0; i < t->indent; i++)
        put(t, "  ");
}

static void enter(struct text *t, const char *bracket)
{
    put(t, bracket);
    t->indent++;
    t->first = true;
}

static void leave(struct text *t, const char *bracket)
{
    t->indent--;
    if (!t->first)
        put_line(t);
    put(t, bracket);
    t->first = false;
}

/* The next line of the innermost bracket. */
static void line(struct text *t)
{
    if (!t->first)
        put(t, ",");
    t->first = false;
    put_line(t);
}

static void key_n(struct text *t, struct slice name)
{
    line(t);
    put_string(t, name);
    put(t, ": ");
}

static void key(struct text *t, const char *name)
{
    key_n(t, (struct slice){name, strlen(name)});
}

static void key_number(struct text *t, const char *name, double v)
{
    key(t, name);
    if (v > -0x1p53 && v < 0x1p53 && v == (double)(int64_t)v) {
        putf(t, "%.0f", v + 0.0); /* -0 is 0 */
        return;
    }
    char buf[40];
    for (int digits = 15; digits <= 17; digits++) {
        (void)snprintf(buf, sizeof buf, "%.*g", digits, v);
        if (strtod(buf, NULL) == v)
            break;
    }
    put(t, buf);
}

static void key_count(struct text *t, const char *name, uint64_t v)
{
    key(t, name);
    putf(t, "%llu", (unsigned long long)v);
}

/* ---- annotations ----------------------------------------------------------------------------- */

static void put_values(struct text *t, const char *name, const struct infer_seen *s, unsigned max)
{
    key(t, name);
    put(t, "[");
    for (size_t i = 0, at = 0; i < s->n && i < max; i++) {
        const size_t n = (unsigned char)s->text[at];
        put(t, i ? ", " : "");
        put_n(t, s->text + at + 1, n);
        at += 1 + n;
    }
    put(t, "]");
}

/* A vocabulary: few values, each seen several times on the average, and all of them were kept. */
static bool is_vocabulary(const struct infer_node *node)
{
    const struct infer_seen *s = node->seen;

    return !s->many && s->strings >= 16 && s->n * 4u <= s->strings && node->format == FORMAT_NONE &&
           !(node->kinds & (KIND_BOOLEAN | KIND_INTEGER | KIND_NUMBER));
}

static void put_seen(struct text *t, const struct infer_node *node)
{
    const struct infer_seen *s = node->seen;

    if (!s)
        return;
    if (s->numbers > 0) {
        key_number(t, "x-evfs-minimum", s->min);
        key_number(t, "x-evfs-maximum", s->max);
    }
    if (s->strings > 0) {
        key_count(t, "x-evfs-min-length", s->len_min);
        key_count(t, "x-evfs-max-length", s->len_max);
    }
    if (s->n > 0 && is_vocabulary(node))
        put_values(t, "x-evfs-enum", s, s->n);
    else if (s->n > 0)
        put_values(t, "examples", s, LIMIT_INFER_EXAMPLES);
}

static void put_counts(struct text *t, const struct infer_node *node)
{
    const struct infer_tally *y = &t->tally[node->id];

    key_count(t, "x-evfs-count", y->count);
    if (y->count > 0) {
        key_count(t, "x-evfs-first", y->first);
        key_count(t, "x-evfs-last", y->last);
    }
}

/* ---- schemas --------------------------------------------------------------------------------- */

static void put_schema(struct text *t, const struct infer_node *node);

static void put_types(struct text *t, unsigned kinds)
{
    static const struct {
        unsigned kind;
        const char *name;
    } types[] = {{KIND_STRING, "string"},   {KIND_INTEGER, "integer"}, {KIND_NUMBER, "number"},
                 {KIND_BOOLEAN, "boolean"}, {KIND_ARRAY, "array"},     {KIND_OBJECT, "object"},
                 {KIND_NULL, "null"}};

    if (kinds & KIND_NUMBER)
        kinds &= ~(unsigned)KIND_INTEGER;
    const bool one = (kinds & (kinds - 1)) == 0;
    key(t, "type");
    put(t, one ? "" : "[");
    for (size_t i = 0, n = 0; i < ARRAY_LEN(types); i++) {
        if (kinds & types[i].kind) {
            put(t, n++ ? ", \"" : "\"");
            put(t, types[i].name);
            put(t, "\"");
        }
    }
    put(t, one ? "" : "]");
}

static int by_name(const void *a, const void *b)
{
    const struct infer_member *const *x = a, *const *y = b;
    const int c = memcmp((*x)->name, (*y)->name, MIN((*x)->n, (*y)->n));

    return c ? c : (*x)->n - (*y)->n;
}

static void put_members(struct text *t, const struct infer_node *node)
{
    const struct infer_member *sorted[LIMIT_INFER_PROPERTIES];

    for (uint32_t i = 0; i < node->members_n; i++)
        sorted[i] = &node->members[i];
    qsort(sorted, node->members_n, sizeof(sorted[0]), by_name);
    if (node->required_n > 0) {
        key(t, "required");
        put(t, "[");
        for (uint32_t i = 0, n = 0; i < node->members_n; i++) {
            if (!sorted[i]->required)
                continue;
            put(t, n++ ? ", " : "");
            put_string(t, (struct slice){sorted[i]->name, sorted[i]->n});
        }
        put(t, "]");
    }
    key(t, "properties");
    enter(t, "{");
    for (uint32_t i = 0; i < node->members_n; i++) {
        key_n(t, (struct slice){sorted[i]->name, sorted[i]->n});
        put_schema(t, sorted[i]->node);
    }
    leave(t, "}");
}

/* What the schema says of these of the node's kinds. */
static void put_part(struct text *t, const struct infer_node *node, unsigned kinds)
{
    put_types(t, kinds);
    if ((kinds & KIND_STRING) && node->format != FORMAT_NONE) {
        key(t, "format");
        putf(t, "\"%s\"", infer_format_name(node->format));
    }
    if ((kinds & KIND_ARRAY) && node->items && !(node->beyond & BEYOND_ITEMS)) {
        key(t, "items");
        put_schema(t, node->items);
    }
    if (!(kinds & KIND_OBJECT))
        return;
    if (node->members_n > 0)
        put_members(t, node);
    if (node->values && !(node->beyond & (BEYOND_NAMES | BEYOND_MAP))) {
        key(t, "additionalProperties");
        put_schema(t, node->values);
    }
}

static void put_branch(struct text *t, const struct infer_node *node, unsigned kinds)
{
    if (!kinds)
        return;
    line(t);
    enter(t, "{");
    put_part(t, node, kinds);
    leave(t, "}");
}

static void put_body(struct text *t, const struct infer_node *node)
{
    const unsigned kinds = node->kinds;
    const bool plain = kinds & KINDS_PLAIN, array = kinds & KIND_ARRAY,
               object = kinds & KIND_OBJECT;

    if (node->beyond & BEYOND_DEPTH) {
        key(t, "x-evfs-limit");
        put(t, "\"depth\"");
        return;
    }
    if (plain + array + object > 1) {
        key(t, "anyOf");
        enter(t, "[");
        put_branch(t, node, kinds & KINDS_SCALAR);
        put_branch(t, node, kinds & KIND_ARRAY);
        put_branch(t, node, kinds & KIND_OBJECT);
        leave(t, "]");
    } else if (kinds) {
        put_part(t, node, kinds);
    }
    if (node->beyond || node->map) {
        key(t, "x-evfs-limit");
        put(t, node->beyond ? "\"nodes\"" : "\"properties\"");
    }
    if (!t->structure)
        put_seen(t, node);
}

static void put_schema(struct text *t, const struct infer_node *node)
{
    enter(t, "{");
    put_body(t, node);
    if (!t->structure)
        put_counts(t, node);
    leave(t, "}");
}

/* ---- counts ---------------------------------------------------------------------------------- */

static void tally_shape(struct infer_shape_rec *rec, void *arg)
{
    struct text *t = arg;
    struct infer_tally y = {0};

    infer_tally_span(&y, &rec->added);
    infer_tally_span(&y, &rec->hits);
    for (uint32_t i = 0; i < t->m->nodes_n && i < rec->nodes_bytes * 8; i++)
        if (infer_bit(rec->nodes, i))
            infer_tally_add(&t->tally[i], y);
}

/* ---- public ---------------------------------------------------------------------------------- */

int infer_schema(const struct infer *m, const struct infer_options *o, char **ret, size_t *ret_n)
{
    struct text t = {.m = m, .structure = o && o->structure};

    t.tally = calloc(m->nodes_n, sizeof *t.tally);
    if (!t.tally)
        return -ENOMEM;
    for (uint32_t i = 0; i < m->nodes_n; i++)
        infer_tally_add(&t.tally[i], m->nodes[i]->direct);
    infer_shapes_each(m, tally_shape, &t);

    enter(&t, "{");
    key(&t, "$schema");
    put(&t, "\"https://json-schema.org/draft/2020-12/schema\"");
    if (o && o->title.p) {
        key(&t, "title");
        put_string(&t, o->title);
    }
    put_body(&t, m->root);
    if (!t.structure)
        put_counts(&t, m->root);
    leave(&t, "}");
    put_n(&t, "\n", 2); /* with the NUL */
    free(t.tally);
    if (t.failed) {
        free(t.p);
        return -ENOMEM;
    }
    *ret = t.p;
    *ret_n = t.n - 1;
    return 0;
}
