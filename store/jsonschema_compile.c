/* SPDX-License-Identifier: MIT */
/* A schema is checked against its meta-schema, then each of its subschemas becomes a node, once, however
 * many references lead there: a list of work, so nothing recurses. References are pointers between nodes
 * when this is done; only a $dynamicRef that has a choice decides while validating. */
#include "jsonschema_compile.h"

#include "jsonschema_uri.h"
#include "limits.h"
#include "scan.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>

const char *js_keyword(const struct js_keywords *k, const char *name)
{
    const int64_t i = js_names_find(&k->members->names, (struct slice){name, strlen(name)});

    return i < 0 ? NULL : k->members->values[i];
}

int js_keyword_fail(const struct js_keywords *k, const char *name, const char *what)
{
    return js_docs_fail(&k->c->docs, -EINVAL, k->node->doc, k->node->at, name, "%s %s", name, what);
}

/* ---- nodes ----------------------------------------------------------------------------------- */

static int node_at(struct js_compiler *c, const char *at, uint32_t resource,
                   const struct js_node **ret)
{
    struct js_arena *const a = &c->schema->arena;
    struct js_node *n = js_place_get(&c->by_place, at);
    const uint32_t doc = c->docs.resources[resource].doc;

    *ret = n;
    if (n)
        return 0;
    if (c->n_nodes == LIMIT_SCHEMA_NODES)
        return js_docs_fail(&c->docs, -E2BIG, doc, at, "", "more than %u subschemas",
                            LIMIT_SCHEMA_NODES);
    n = js_arena_get(a, sizeof *n);
    if (!n || !js_place_set(&c->by_place, a, at, n) ||
        !js_arena_grow(a, (void **)&c->nodes, c->n_nodes, &c->nodes_capacity,
                       sizeof(struct js_node *)))
        return -ENOMEM;
    *n = (struct js_node){.at = at, .doc = doc, .resource = resource, .types = JS_ANY_TYPE};
    c->nodes[c->n_nodes++] = n;
    *ret = n;
    return 0;
}

int js_node_of(const struct js_keywords *k, const char *at, const struct js_node **ret)
{
    const uintptr_t base = (uintptr_t)js_place_get(&k->c->docs.bases, at);

    return node_at(k->c, at, base ? (uint32_t)(base - 1) : k->node->resource, ret);
}

int js_nodes_one(const struct js_keywords *k, const char *name, const struct js_node **ret)
{
    const char *const at = js_keyword(k, name);

    return at ? js_node_of(k, at, ret) : 0;
}

int js_nodes_list(const struct js_keywords *k, const char *name, const struct js_node ***ret,
                  uint32_t *ret_n)
{
    const char *const at = js_keyword(k, name);
    const struct js_members *m;

    if (!at)
        return 0;
    if (*at != '[')
        return js_keyword_fail(k, name, "must be an array of schemas");
    int r = js_docs_members(&k->c->docs, k->node->doc, at, &m);
    if (r < 0)
        return r;
    *ret = js_arena_get(&k->c->schema->arena, MAX(m->n, 1) * sizeof **ret);
    if (!*ret)
        return -ENOMEM;
    for (uint32_t i = 0; r == 0 && i < m->n; i++)
        r = js_node_of(k, m->values[i], &(*ret)[i]);
    *ret_n = m->n;
    return r;
}

/* ---- references ------------------------------------------------------------------------------ */

/* Where $ref or $dynamicRef leads; *ret stays if it isn't there. */
static int reference(const struct js_keywords *k, const char *name, const struct js_node **ret,
                     const struct js_anchor **ret_anchor)
{
    const char *const at = js_keyword(k, name);
    struct js_target t;

    if (!at)
        return 0;
    if (*at != '"')
        return js_keyword_fail(k, name, "must be a string");
    const struct slice ref = js_docs_string(&k->c->docs, k->node->doc, at);
    if (!ref.p)
        return -ENOMEM;
    const int r =
        js_docs_resolve(&k->c->docs, k->node->resource, k->node->at, name, ref, &t, ret_anchor);
    return r < 0 ? r : node_at(k->c, t.at, t.resource, ret);
}

static int dynamic_reference(const struct js_keywords *k, struct js_in_place *p,
                             const struct js_node **ret)
{
    struct js_compiler *const c = k->c;
    const struct js_anchor *anchor = NULL;
    const struct js_node *to = NULL;

    const int r = reference(k, "$dynamicRef", &to, &anchor);
    if (r < 0 || !anchor || !anchor->dynamic) {
        *ret = to; /* as $ref is */
        return r;
    }
    struct js_dynamic *const d = js_arena_get(&c->schema->arena, sizeof *d);
    if (!d || !js_arena_grow(&c->schema->arena, (void **)&c->dynamics, c->n_dynamics,
                             &c->dynamics_capacity, sizeof *c->dynamics))
        return -ENOMEM;
    *d = (struct js_dynamic){.first = to};
    c->dynamics[c->n_dynamics++] = (struct js_dynamic_ref){.to = d, .name = anchor->name};
    p->dynamic = d;
    return 0;
}

/* All anchors of the name of each $dynamicRef. There may be more with each node. */
static int find_candidates(struct js_compiler *c)
{
    struct js_docs *const d = &c->docs;
    int r = 0;

    for (uint32_t i = 0; i < c->n_dynamics; i++) {
        struct js_dynamic *const to = c->dynamics[i].to;
        to->n = 0;
        to->candidates = js_arena_get(&c->schema->arena, d->n_anchors * sizeof *to->candidates);
        if (!to->candidates)
            return -ENOMEM;
        for (uint32_t k = 0; r == 0 && k < d->n_anchors; k++) {
            if (!d->anchors[k].dynamic || !slice_eq(d->anchors[k].name, c->dynamics[i].name))
                continue;
            struct js_candidate *const x = &to->candidates[to->n++];
            x->resource = d->anchors[k].resource;
            r = node_at(c, d->anchors[k].at, x->resource, &x->node);
        }
        if (r < 0)
            return r;
    }
    return 0;
}

/* ---- one schema ------------------------------------------------------------------------------ */

static int in_place(const struct js_keywords *k)
{
    struct js_in_place p = {0};
    const struct js_node **all = NULL, *refs[2] = {NULL, NULL};
    const struct js_anchor *anchor;
    uint32_t n_all = 0;

    int r = reference(k, "$ref", &refs[0], &anchor);
    if (r == 0)
        r = dynamic_reference(k, &p, &refs[1]);
    if (r == 0 && (k->vocabularies & JS_APPLICATOR)) {
        r = js_nodes_list(k, "allOf", &all, &n_all);
        if (r == 0)
            r = js_nodes_list(k, "anyOf", &p.any, &p.n_any);
        if (r == 0)
            r = js_nodes_list(k, "oneOf", &p.one, &p.n_one);
        if (r == 0)
            r = js_nodes_one(k, "not", &p.not );
        if (r == 0)
            r = js_nodes_one(k, "if", &p.if_);
        if (r == 0 && p.if_)
            r = js_nodes_one(k, "then", &p.then_);
        if (r == 0 && p.if_)
            r = js_nodes_one(k, "else", &p.else_);
    }
    if (r < 0 ||
        !(refs[0] || refs[1] || n_all || p.n_any || p.n_one || p.not || p.if_ || p.dynamic))
        return r;
    struct js_in_place *const kept = js_arena_get(&k->c->schema->arena, sizeof *kept);
    p.all = js_arena_get(&k->c->schema->arena, (n_all + 2) * sizeof *p.all);
    if (!kept || !p.all)
        return -ENOMEM;
    for (unsigned i = 0; i < 2; i++)
        if (refs[i])
            p.all[p.n_all++] = refs[i];
    for (uint32_t i = 0; i < n_all; i++)
        p.all[p.n_all++] = all[i];
    *kept = p;
    k->node->in_place = kept;
    return 0;
}

static int compile_node(struct js_compiler *c, struct js_node *n)
{
    struct js_keywords k = {
        .c = c, .node = n, .vocabularies = c->docs.resources[n->resource].vocabularies};

    if (*n->at == 't' || *n->at == 'f') {
        n->fixed = *n->at == 't' ? JS_ALWAYS : JS_NEVER;
        return 0;
    }
    if (*n->at != '{')
        return js_docs_fail(&c->docs, -EINVAL, n->doc, n->at, "",
                            "a schema must be an object, true or false");
    int r = js_docs_members(&c->docs, n->doc, n->at, &k.members);
    if (r < 0)
        return r;
    if (k.members->n == 0) {
        n->fixed = JS_ALWAYS;
        return 0;
    }
    r = in_place(&k);
    if (r == 0 && (k.vocabularies & JS_VALIDATION))
        r = js_rules_values(&k);
    if (r == 0 && (k.vocabularies & JS_VALIDATION))
        r = js_rules_numbers(&k);
    if (r == 0)
        r = js_rules_strings(&k);
    if (r == 0)
        r = js_rules_arrays(&k);
    if (r == 0)
        r = js_rules_objects(&k);
    if (r == 0 && (k.vocabularies & JS_UNEVALUATED)) {
        r = js_nodes_one(&k, "unevaluatedItems", &n->unevaluated_items);
        if (r == 0)
            r = js_nodes_one(&k, "unevaluatedProperties", &n->unevaluated_properties);
    }
    return r;
}

/* ---- circles --------------------------------------------------------------------------------- */

/* The ith schema that n applies to the same value; NULL: there are no more. */
static const struct js_node *applied(const struct js_node *n, uint32_t i)
{
    const struct js_in_place *const p = n->in_place;
    const struct js_node *found;

    if (p) {
        if (i < p->n_all)
            return p->all[i];
        i -= p->n_all;
        if (i < p->n_any)
            return p->any[i];
        i -= p->n_any;
        if (i < p->n_one)
            return p->one[i];
        i -= p->n_one;
        const struct js_node *const single[] = {p->not, p->if_, p->then_, p->else_};
        for (unsigned k = 0; k < ARRAY_LEN(single); k++)
            if (single[k] && i-- == 0)
                return single[k];
    }
    for (uint32_t k = 0; n->objects && k < n->objects->n_dependents; k++) {
        found = n->objects->dependents[k].node;
        if (found && i-- == 0)
            return found;
    }
    return NULL;
}

struct step {
    const struct js_node *node;
    uint32_t next;
};
enum { NEW, ON_THE_WAY, DONE };

static void set_state(const struct js_node *n, uint8_t state)
{
    ((struct js_node *)(uintptr_t)n)->state = state;
}

/* A schema that applies itself to the same value would do so for ever. */
static int find_circle(struct js_compiler *c)
{
    struct step *const steps = js_arena_get(&c->schema->arena, MAX(c->n_nodes, 1) * sizeof *steps);

    if (!steps)
        return -ENOMEM;
    for (uint32_t i = 0; i < c->n_nodes; i++) {
        size_t depth = 0;
        if (c->nodes[i]->state != NEW)
            continue;
        steps[depth++] = (struct step){.node = c->nodes[i]};
        set_state(c->nodes[i], ON_THE_WAY);
        while (depth > 0) {
            struct step *const s = &steps[depth - 1];
            const struct js_node *const to = applied(s->node, s->next++);
            if (!to) {
                set_state(s->node, DONE);
                depth--;
            } else if (to->state == ON_THE_WAY) {
                return js_docs_fail(&c->docs, -EINVAL, to->doc, to->at, "",
                                    "this schema applies itself to the same value, without end");
            } else if (to->state == NEW) {
                set_state(to, ON_THE_WAY);
                steps[depth++] = (struct step){.node = to};
            }
        }
    }
    return 0;
}

/* ---- short cuts ------------------------------------------------------------------------------ */

/* Does n only refer to another schema, of the same resource? Then the scope is the same, too. */
static const struct js_node *only_reference(const struct js_node *n)
{
    const struct js_in_place *const p = n->in_place;

    if (!p || p->n_all != 1 || p->n_any || p->n_one || p->not || p->if_ || p->dynamic)
        return NULL;
    if (n->values || n->constant || n->numbers || n->strings || n->arrays || n->objects ||
        n->unevaluated_items || n->unevaluated_properties || n->types != JS_ANY_TYPE ||
        p->all[0]->resource != n->resource)
        return NULL;
    return p->all[0];
}

static void find_short_cuts(struct js_compiler *c)
{
    for (uint32_t i = 0; i < c->n_nodes; i++) {
        struct js_node *const n = c->nodes[i];
        n->simple = !(n->values || n->constant || n->in_place);
        if (!n->simple)
            n->more = JS_ANY_TYPE;
        if (n->numbers || (n->types & JS_INTEGER_ONLY))
            n->more |= 1 << SCAN_NUMBER;
        if (n->strings)
            n->more |= 1 << SCAN_STRING;
        if (n->arrays || n->unevaluated_items)
            n->more |= 1 << SCAN_ARRAY;
        if (n->objects || n->unevaluated_properties)
            n->more |= 1 << SCAN_OBJECT;
        n->same = only_reference(n);
    }
}

/* ---- documents and public -------------------------------------------------------------------- */

static int compile(struct slice text, const struct js_options *o, bool check,
                   struct js_schema **ret, struct js_error *err);

/* The $schema of a document. */
static int dialect_of(struct slice text, char **ret, struct slice *ret_uri)
{
    struct slice key, value, fragment;
    size_t pos = 0;

    *ret_uri = (struct slice){JS_META_URI, sizeof JS_META_URI - 1};
    while (*text.p == '{' && scan_member(text, &pos, &key, &value)) {
        if (*value.p != '"' || !slice_eq(key, (struct slice){"\"$schema\"", 9}))
            continue;
        *ret = malloc(value.n);
        if (!*ret)
            return -ENOMEM;
        js_uri_split((struct slice){*ret, scan_decode(value, *ret, NULL)}, ret_uri, &fragment);
        break;
    }
    return 0;
}

/* A schema that refers to the meta-schema uri. */
static int compile_meta(struct js_docs *d, struct slice uri, struct js_schema **ret)
{
    AUTO_FREE char *text = malloc(uri.n * 6 + 16);
    struct js_options o = d->options ? *d->options : (struct js_options){0};

    if (!text)
        return -ENOMEM;
    size_t n = (size_t)sprintf(text, "{\"$ref\":\"");
    n += scan_encode(uri, text + n);
    text[n++] = '"';
    text[n++] = '}';
    o.assert_format = false;
    return compile((struct slice){text, n}, &o, false, ret, d->err);
}

/* That of the standard: compiled when first needed, and kept. */
static int standard_meta(const struct js_schema **ret)
{
    static _Atomic(struct js_schema *) kept;
    static const struct slice uri = {JS_META_URI, sizeof JS_META_URI - 1};
    struct js_schema *there = atomic_load_explicit(&kept, memory_order_acquire), *made = NULL;
    struct js_docs none = {0};

    if (!there) {
        const int r = compile_meta(&none, uri, &made);
        if (r < 0)
            return r;
        /* Release: who finds it finds all of it. Pairs with the load above. */
        if (atomic_compare_exchange_strong_explicit(&kept, &there, made, memory_order_acq_rel,
                                                    memory_order_acquire))
            there = made;
        else
            js_free(made);
    }
    *ret = there;
    return 0;
}

/* A meta-schema of the caller's, *ret_own to js_free(). */
static int other_meta(struct js_docs *d, struct slice dialect, struct js_schema **ret_own)
{
    const int r = compile_meta(d, dialect, ret_own);

    if (r == -EINVAL && strcmp(d->err->schema_path, "/$ref") == 0) {
        *d->err = (struct js_error){.keyword = "$schema", .schema_path = "/$schema"};
        (void)snprintf(d->err->text, sizeof d->err->text,
                       "the meta-schema %.*s is not known; that of 2020-12 is",
                       (int)MIN(dialect.n, 90), dialect.p);
    }
    return r;
}

int js_docs_check(struct js_docs *d, struct slice text, struct slice uri)
{
    AUTO_FREE char *memory = NULL;
    const struct js_schema *meta = NULL;
    struct js_schema *own = NULL;
    struct slice dialect;
    struct js_error why = {0};

    if (d->unchecked)
        return 0;
    while (text.n > 0 && scan_is_space(*text.p)) {
        text.p++;
        text.n--;
    }
    int r = dialect_of(text, &memory, &dialect);
    if (r < 0)
        return r;
    if (slice_eq(dialect, (struct slice){JS_META_URI, sizeof JS_META_URI - 1})) {
        r = standard_meta(&meta);
    } else {
        r = other_meta(d, dialect, &own);
        meta = own;
    }
    if (r < 0)
        return r;
    r = js_validate(meta, text, &why);
    js_free(own);
    if (r == 1)
        return 0;
    if (d->err) {
        char *const path = d->err->schema_path;
        const size_t size = sizeof d->err->schema_path;
        *d->err = why;
        const int n = snprintf(path, size, "%.*s%s", (int)MIN(uri.n, 100), uri.p, uri.n ? "#" : "");
        (void)snprintf(path + n, size - (size_t)n, "%.150s", why.instance_path);
        d->err->instance_path[0] = '\0';
    }
    return r < 0 ? r : -EINVAL;
}

static int compile_all(struct js_compiler *c, struct slice text)
{
    const struct slice none = {"", 0};
    const struct js_node *root;
    struct evs_error why;
    uint32_t resource;

    int r = js_docs_fits(&c->docs, text);
    if (r < 0)
        return r;
    r = scan_whole(text.p, text.n, &why);
    if (r < 0)
        return js_docs_fail(&c->docs, -EINVAL, 0, NULL, "", "%s, at byte %llu",
                            evs_reason_text(why.why), (unsigned long long)why.pos);
    r = js_docs_check(&c->docs, text, none);
    if (r == 0)
        r = js_docs_add(&c->docs, text, none, false, &resource);
    if (r == 0)
        r = node_at(c, c->docs.resources[resource].at, resource, &root);
    while (r == 0 && c->n_done < c->n_nodes) {
        r = compile_node(c, c->nodes[c->n_done++]);
        if (r == 0 && c->n_done == c->n_nodes)
            r = find_candidates(c);
    }
    if (r == 0)
        r = find_circle(c);
    if (r < 0)
        return r;
    find_short_cuts(c);
    c->schema->root = root;
    return r;
}

static int compile(struct slice text, const struct js_options *o, bool check,
                   struct js_schema **ret, struct js_error *err)
{
    struct js_schema *const s = calloc(1, sizeof *s);
    struct js_compiler c = {.schema = s, .assert_format = o && o->assert_format};

    if (!s)
        return -ENOMEM;
    c.docs = (struct js_docs){.schema = s, .options = o, .err = err, .unchecked = !check};
    int r = compile_all(&c, text);
    if (r == -ENOMEM && s->arena.full)
        r = js_docs_fail(&c.docs, -E2BIG, 0, NULL, "", "compiled it has more than %u bytes",
                         LIMIT_SCHEMA_MEMORY);
    if (r < 0)
        js_free(s);
    else
        *ret = s;
    return r;
}

int js_compile(struct slice text, const struct js_options *o, struct js_schema **ret,
               struct js_error *err)
{
    struct js_error why = {0};
    const int r = compile(text, o, true, ret, &why);

    if (r < 0 && err) {
        if (r == -ENOMEM)
            why = (struct js_error){.text = "no memory"};
        *err = why;
    }
    return r;
}

void js_free(struct js_schema *s)
{
    if (!s)
        return;
    for (struct js_pattern *p = s->patterns, *next; p; p = next) {
        next = p->next;
        js_pattern_free(p);
    }
    js_arena_done(&s->arena);
    free(s);
}

size_t js_bytes(const struct js_schema *s)
{
    return sizeof *s + s->arena.bytes;
}

int js_validate(const struct js_schema *s, struct slice json, struct js_error *err)
{
    return js_run(s, s->root, json, err);
}
