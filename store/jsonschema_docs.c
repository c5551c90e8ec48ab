/* SPDX-License-Identifier: MIT */
/* A document is its text; a schema in it is the address of its value. What has an $id, an $anchor or a
 * $dynamicAnchor is found once, when the document is added, and only where keywords of the standard hold
 * schemas: an "$id" within an enum is data. */
#include "jsonschema_docs.h"

#include "jsonschema_uri.h"
#include "jsonschema_value.h"
#include "limits.h"
#include "scan.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>

#define S(literal) ((struct slice){literal, sizeof literal - 1})

int js_docs_fail(struct js_docs *d, int r, uint32_t doc, const char *at, const char *keyword,
                 const char *fmt, ...)
{
    struct js_error *const err = d->err;
    va_list ap;

    if (!err)
        return r;
    *err = (struct js_error){0};
    (void)snprintf(err->keyword, sizeof err->keyword, "%s", keyword);
    const size_t n =
        at ? js_pointer_to(d->schema, doc, at, err->schema_path, sizeof err->schema_path) : 0;
    if (*keyword && at)
        (void)js_pointer_add(err->schema_path, sizeof err->schema_path, n,
                             (struct slice){keyword, strlen(keyword)});
    va_start(ap, fmt);
    (void)vsnprintf(err->text, sizeof err->text, fmt, ap);
    va_end(ap);
    return r;
}

/* ---- by address ------------------------------------------------------------------------------ */

struct js_place_slot {
    const char *at;
    void *value;
};

static struct js_place_slot *slot(const struct js_place_map *m, const char *at)
{
    size_t i = ((uintptr_t)at * 0x9e3779b97f4a7c15u >> 20) & m->mask;

    while (m->slots[i].at && m->slots[i].at != at)
        i = (i + 1) & m->mask;
    return &m->slots[i];
}

void *js_place_get(const struct js_place_map *m, const char *at)
{
    return m->slots ? slot(m, at)->value : NULL;
}

bool js_place_set(struct js_place_map *m, struct js_arena *a, const char *at, void *value)
{
    if (!m->slots || m->n * 2 > m->mask) {
        struct js_place_map more = {.mask = m->slots ? m->mask * 2 + 1 : 63};
        more.slots = js_arena_get(a, (more.mask + 1) * sizeof *more.slots);
        if (!more.slots)
            return false;
        for (size_t i = 0; m->slots && i <= m->mask; i++)
            if (m->slots[i].at)
                *slot(&more, m->slots[i].at) = m->slots[i];
        more.n = m->n;
        *m = more;
    }
    struct js_place_slot *const s = slot(m, at);
    m->n += s->at == NULL;
    *s = (struct js_place_slot){at, value};
    return true;
}

/* ---- values ---------------------------------------------------------------------------------- */

struct slice js_docs_value(const struct js_docs *d, uint32_t doc, const char *at)
{
    const struct slice text = d->schema->docs[doc].text;

    return (struct slice){at, scan_skip(at, (size_t)(text.p + text.n - at))};
}

static struct slice decoded(struct js_docs *d, struct slice raw)
{
    if (!memchr(raw.p, '\\', raw.n))
        return (struct slice){raw.p + 1, raw.n - 2};
    char *const p = js_arena_get(&d->schema->arena, raw.n);
    return (struct slice){p, p ? scan_decode(raw, p, NULL) : 0};
}

struct slice js_docs_string(struct js_docs *d, uint32_t doc, const char *at)
{
    return decoded(d, js_docs_value(d, doc, at));
}

static size_t count(struct slice v)
{
    struct slice key, value;
    size_t pos = 0, n = 0;

    while (*v.p == '{' ? scan_member(v, &pos, &key, &value) : scan_element(v, &pos, &value))
        n++;
    return n;
}

int js_docs_members(struct js_docs *d, uint32_t doc, const char *at, const struct js_members **ret)
{
    struct js_members *m = js_place_get(&d->members, at);
    struct js_arena *const a = &d->schema->arena;

    *ret = m;
    if (m)
        return 0;
    const struct slice v = js_docs_value(d, doc, at);
    struct slice key, value;
    size_t pos = 0;
    const size_t n = count(v);
    m = js_arena_get(a, sizeof *m);
    if (!m || !(m->values = js_arena_get(a, MAX(n, 1) * sizeof *m->values)))
        return -ENOMEM;
    m->object = *at == '{';
    if (m->object && !js_names_init(&m->names, a, n))
        return -ENOMEM;
    while (m->object ? scan_member(v, &pos, &key, &value) : scan_element(v, &pos, &value)) {
        bool new = true;
        if (m->object) {
            const struct slice name = decoded(d, key);
            if (!name.p)
                return -ENOMEM;
            (void)js_names_add(&m->names, name, &new);
        }
        if (!new)
            return js_docs_fail(d, -EINVAL, doc, value.p, "", "a name stands twice in one object");
        m->values[m->n++] = value.p;
    }
    if (!js_place_set(&d->members, a, at, m))
        return -ENOMEM;
    *ret = m;
    return 0;
}

/* The value of a member that is a string; p NULL: none. */
static int string_member(struct js_docs *d, uint32_t doc, const struct js_members *m,
                         struct slice name, struct slice *ret)
{
    const int64_t i = js_names_find(&m->names, name);

    *ret = (struct slice){NULL, 0};
    if (i < 0 || *m->values[i] != '"')
        return 0;
    *ret = js_docs_string(d, doc, m->values[i]);
    return ret->p ? 0 : -ENOMEM;
}

/* ---- what documents contain ------------------------------------------------------------------ */

enum js_holds js_keyword_holds(struct slice keyword)
{
    static const struct {
        struct slice name;
        enum js_holds holds;
    } keywords[] = {
        {S("properties"), JS_HOLDS_MAP},
        {S("$defs"), JS_HOLDS_MAP},
        {S("items"), JS_HOLDS_ONE},
        {S("additionalProperties"), JS_HOLDS_ONE},
        {S("anyOf"), JS_HOLDS_LIST},
        {S("allOf"), JS_HOLDS_LIST},
        {S("oneOf"), JS_HOLDS_LIST},
        {S("prefixItems"), JS_HOLDS_LIST},
        {S("patternProperties"), JS_HOLDS_MAP},
        {S("dependentSchemas"), JS_HOLDS_MAP},
        {S("dependencies"), JS_HOLDS_MAP},
        {S("definitions"), JS_HOLDS_MAP},
        {S("contains"), JS_HOLDS_ONE},
        {S("not"), JS_HOLDS_ONE},
        {S("if"), JS_HOLDS_ONE},
        {S("then"), JS_HOLDS_ONE},
        {S("else"), JS_HOLDS_ONE},
        {S("propertyNames"), JS_HOLDS_ONE},
        {S("unevaluatedItems"), JS_HOLDS_ONE},
        {S("unevaluatedProperties"), JS_HOLDS_ONE},
        {S("contentSchema"), JS_HOLDS_ONE},
    };

    for (size_t i = 0; i < ARRAY_LEN(keywords); i++)
        if (slice_eq(keyword, keywords[i].name))
            return keywords[i].holds;
    return JS_HOLDS_NONE;
}

static int64_t find_resource(const struct js_docs *d, struct slice uri)
{
    for (uint32_t i = 0; i < d->n_resources; i++)
        if (slice_eq(d->resources[i].uri, uri))
            return i;
    return -1;
}

/* base with ref, in the arena. */
static struct slice joined(struct js_docs *d, struct slice base, struct slice ref)
{
    char *const p = js_arena_get(&d->schema->arena, base.n + ref.n + 2);

    return (struct slice){p, p ? js_uri_join(base, ref, p) : 0};
}

static int add_resource(struct js_docs *d, struct js_resource r)
{
    if (d->n_resources == LIMIT_SCHEMA_NAMES)
        return js_docs_fail(d, -E2BIG, r.doc, r.at, "$id", "more than %u of $id",
                            LIMIT_SCHEMA_NAMES);
    if (!js_arena_grow(&d->schema->arena, (void **)&d->resources, d->n_resources,
                       &d->resources_capacity, sizeof *d->resources))
        return -ENOMEM;
    d->resources[d->n_resources++] = r;
    return js_place_set(&d->bases, &d->schema->arena, r.at, (void *)(uintptr_t)d->n_resources)
               ? 0
               : -ENOMEM;
}

static int add_anchor(struct js_docs *d, uint32_t resource, const char *at, struct slice name,
                      bool dynamic)
{
    const struct js_resource *const r = &d->resources[resource];

    for (uint32_t i = 0; i < d->n_anchors; i++)
        if (d->anchors[i].resource == resource && slice_eq(d->anchors[i].name, name) &&
            d->anchors[i].at != at)
            return js_docs_fail(d, -EINVAL, r->doc, at, dynamic ? "$dynamicAnchor" : "$anchor",
                                "the anchor %.*s stands twice", (int)MIN(name.n, 60), name.p);
    if (d->n_anchors == LIMIT_SCHEMA_NAMES)
        return js_docs_fail(d, -E2BIG, r->doc, at, "$anchor", "more than %u anchors",
                            LIMIT_SCHEMA_NAMES);
    if (!js_arena_grow(&d->schema->arena, (void **)&d->anchors, d->n_anchors, &d->anchors_capacity,
                       sizeof *d->anchors))
        return -ENOMEM;
    d->anchors[d->n_anchors++] =
        (struct js_anchor){.resource = resource, .name = name, .at = at, .dynamic = dynamic};
    return 0;
}

/* What "$id" makes of a schema; *resource becomes that which begins here. */
static int enter_id(struct js_docs *d, const struct js_members *m, const char *at,
                    uint32_t *resource)
{
    struct js_resource r = d->resources[*resource];
    struct slice id, fragment, dialect;

    int e = string_member(d, r.doc, m, S("$id"), &id);
    if (e < 0)
        return e;
    const bool root = r.at == at; /* of the document */
    e = string_member(d, r.doc, m, S("$schema"), &dialect);
    if (e < 0)
        return e;
    if (dialect.p && (root || id.p))
        r.dialect = dialect;
    if (!id.p) {
        d->resources[*resource] = r;
        return 0;
    }
    js_uri_split(id, &id, &fragment);
    if (fragment.n)
        return js_docs_fail(d, -EINVAL, r.doc, at, "$id", "$id has a fragment");
    r.uri = joined(d, r.uri, id);
    if (!r.uri.p)
        return -ENOMEM;
    const int64_t other = find_resource(d, r.uri);
    if (other >= 0 && !(root && other == *resource))
        return js_docs_fail(d, -EINVAL, r.doc, at, "$id", "two schemas have the $id %.*s",
                            (int)MIN(r.uri.n, 100), r.uri.p);
    if (root) {
        d->resources[*resource] = r;
        return 0;
    }
    r.at = at;
    *resource = d->n_resources;
    return add_resource(d, r);
}

static int find_names(struct js_docs *d, const char *at, uint32_t resource);

/* The schemas that one keyword holds. */
static int find_within(struct js_docs *d, struct slice keyword, const char *at, uint32_t resource)
{
    const enum js_holds holds = js_keyword_holds(keyword);
    const struct js_members *m;

    if (holds == JS_HOLDS_ONE)
        return find_names(d, at, resource);
    if (holds == JS_HOLDS_NONE || *at != (holds == JS_HOLDS_MAP ? '{' : '['))
        return 0;
    int r = js_docs_members(d, d->resources[resource].doc, at, &m);
    for (uint32_t i = 0; r == 0 && i < m->n; i++)
        r = find_names(d, m->values[i], resource);
    return r;
}

/* Recursion is as deep as the document nests. */
static int find_names(struct js_docs *d, const char *at, uint32_t resource)
{
    const struct js_members *m;
    struct slice name;

    if (*at != '{')
        return 0;
    int r = js_docs_members(d, d->resources[resource].doc, at, &m);
    if (r == 0)
        r = enter_id(d, m, at, &resource);
    if (r == 0)
        r = string_member(d, d->resources[resource].doc, m, S("$anchor"), &name);
    if (r == 0 && name.p)
        r = add_anchor(d, resource, at, name, false);
    if (r == 0)
        r = string_member(d, d->resources[resource].doc, m, S("$dynamicAnchor"), &name);
    if (r == 0 && name.p)
        r = add_anchor(d, resource, at, name, true);
    for (uint32_t i = 0; r == 0 && i < m->n; i++)
        r = find_within(d, m->names.names[i], m->values[i], resource);
    return r;
}

/* ---- dialects -------------------------------------------------------------------------------- */

static int get(struct js_docs *d, struct slice uri, uint32_t *ret);

/* The vocabularies that a meta-schema's $vocabulary lists. */
static int listed_vocabularies(struct js_docs *d, uint32_t meta, unsigned *ret)
{
    const struct js_resource r = d->resources[meta];
    const struct js_members *m, *list;

    *ret = JS_STANDARD;
    if (*r.at != '{')
        return 0;
    int e = js_docs_members(d, r.doc, r.at, &m);
    const int64_t i = e == 0 ? js_names_find(&m->names, S("$vocabulary")) : -1;
    if (e < 0 || i < 0 || *m->values[i] != '{')
        return e;
    if ((e = js_docs_members(d, r.doc, m->values[i], &list)) < 0)
        return e;
    *ret = 0;
    for (uint32_t k = 0; k < list->n; k++) {
        const unsigned bit = js_meta_vocabulary(list->names.names[k]);
        *ret |= bit;
        if (!bit && *list->values[k] == 't')
            return js_docs_fail(d, -EINVAL, r.doc, list->values[k], "",
                                "the vocabulary %.*s is required, and not known",
                                (int)MIN(list->names.names[k].n, 90), list->names.names[k].p);
    }
    return 0;
}

static int vocabularies(struct js_docs *d, struct slice dialect, uint32_t doc, const char *at,
                        unsigned *ret)
{
    struct slice uri, fragment;
    uint32_t meta;

    js_uri_split(dialect, &uri, &fragment);
    *ret = JS_STANDARD;
    if (slice_eq(uri, S(JS_META_URI)) || d->schema->docs[doc].known)
        return 0;
    const int r = get(d, uri, &meta);
    if (r == -ENOENT)
        return js_docs_fail(d, -EINVAL, doc, at, "$schema",
                            "the meta-schema %.*s is not known (" JS_META_URI " is)",
                            (int)MIN(uri.n, 60), uri.p);
    return r < 0 ? r : listed_vocabularies(d, meta, ret);
}

/* ---- public ---------------------------------------------------------------------------------- */

int js_docs_fits(struct js_docs *d, struct slice text)
{
    const size_t own = d->options ? d->options->max_bytes : 0, max = own ? own : LIMIT_SCHEMA_BYTES;

    return text.n > max ? js_docs_fail(d, -E2BIG, 0, NULL, "", "more than %zu bytes", max) : 0;
}

int js_docs_add(struct js_docs *d, struct slice text, struct slice uri, bool known,
                uint32_t *ret_resource)
{
    struct js_schema *const s = d->schema;
    const uint32_t doc = s->n_docs, first = d->n_resources;
    struct evs_error why;
    size_t i = 0;

    int r = js_docs_fits(d, text);

    if (r < 0)
        return r;
    if (doc == LIMIT_SCHEMA_DOCUMENTS)
        return js_docs_fail(d, -E2BIG, 0, NULL, "", "more than %u documents",
                            LIMIT_SCHEMA_DOCUMENTS);
    r = scan_whole(text.p, text.n, &why);
    if (r < 0)
        return js_docs_fail(d, -EINVAL, 0, NULL, "", "%s at byte %llu%s%.*s",
                            evs_reason_text(why.why), (unsigned long long)why.pos,
                            uri.n ? " of " : "", (int)MIN(uri.n, 80), uri.p);
    if (!js_arena_grow(&s->arena, (void **)&s->docs, doc, &d->docs_capacity, sizeof *s->docs))
        return -ENOMEM;
    while (scan_is_space(text.p[i]))
        i++;
    struct js_doc *const added = &s->docs[doc];
    *added = (struct js_doc){.uri = js_arena_copy(&s->arena, uri), .known = known};
    added->text = js_arena_copy(&s->arena, (struct slice){text.p + i, text.n - i});
    if (!added->uri.p || !added->text.p)
        return -ENOMEM;
    s->n_docs++;
    r = add_resource(
        d, (struct js_resource){
               .uri = added->uri, .dialect = S(JS_META_URI), .at = added->text.p, .doc = doc});
    if (r == 0)
        r = find_names(d, added->text.p, first);
    const uint32_t behind = d->n_resources;
    for (uint32_t k = first; r == 0 && k < behind; k++) {
        unsigned v = 0;
        r = vocabularies(d, d->resources[k].dialect, doc, d->resources[k].at, &v);
        d->resources[k].vocabularies = v;
    }
    *ret_resource = first;
    return r;
}

/* The resource whose part at is, coming from base: it is another one where at has an $id. */
static uint32_t base_at(const struct js_docs *d, const char *at, uint32_t base)
{
    const uintptr_t other = (uintptr_t)js_place_get(&d->bases, at);

    return other ? (uint32_t)(other - 1) : base;
}

/* The resource of a URI without fragment: one that is there, a meta-schema, or what the caller resolves. */
static int get(struct js_docs *d, struct slice uri, uint32_t *ret)
{
    const int64_t there = find_resource(d, uri);
    struct slice text = {NULL, 0};

    if (there >= 0) {
        *ret = (uint32_t)there;
        return 0;
    }
    for (uint32_t i = 1; i < d->schema->n_docs; i++) /* by where it was found, whatever its $id */
        if (slice_eq(d->schema->docs[i].uri, uri)) {
            *ret = base_at(d, d->schema->docs[i].text.p, 0);
            return 0;
        }
    const struct slice meta = js_meta_find(uri, &d->schema->arena);
    if (meta.p)
        return js_docs_add(d, meta, uri, true, ret);
    if (!d->options || !d->options->resolve ||
        d->options->resolve(d->options->resolve_arg, uri, &text) < 0)
        return -ENOENT;
    const int r = js_docs_check(d, text, uri);
    return r < 0 ? r : js_docs_add(d, text, uri, false, ret);
}

/* Follow a JSON Pointer, whose escapes of the URI are undone. -ENOENT: it leads nowhere. */
static int follow(struct js_docs *d, struct slice pointer, struct js_target *t)
{
    const uint32_t doc = d->resources[t->resource].doc;
    const struct js_members *m;
    char *const token = js_arena_get(&d->schema->arena, pointer.n + 1);

    if (!token)
        return -ENOMEM;
    for (size_t i = 0; i < pointer.n;) {
        size_t n = 0;
        int64_t k = -1;
        for (i++; i < pointer.n && pointer.p[i] != '/'; i++)
            token[n++] = pointer.p[i] != '~' || i + 1 == pointer.n ? pointer.p[i]
                         : pointer.p[++i] == '1'                   ? '/'
                                                                   : '~';
        if (*t->at != '{' && *t->at != '[')
            return -ENOENT;
        const int r = js_docs_members(d, doc, t->at, &m);
        if (r < 0)
            return r;
        token[n] = '\0';
        if (m->object)
            k = js_names_find(&m->names, (struct slice){token, n});
        else if (n > 0 && n < 10 && strspn(token, "0123456789") == n && (n == 1 || *token != '0'))
            k = strtol(token, NULL, 10);
        if (k < 0 || k >= m->n)
            return -ENOENT;
        t->at = m->values[k];
        t->resource = base_at(d, t->at, t->resource);
    }
    return 0;
}

static int fragment_target(struct js_docs *d, struct slice fragment, struct js_target *t,
                           const struct js_anchor **ret)
{
    char *const p = js_arena_get(&d->schema->arena, fragment.n + 1);

    if (!p)
        return -ENOMEM;
    fragment = (struct slice){p, js_uri_decode(fragment, p)};
    if (fragment.n == 0 || *fragment.p == '/')
        return follow(d, fragment, t);
    for (uint32_t i = 0; i < d->n_anchors; i++)
        if (d->anchors[i].resource == t->resource && slice_eq(d->anchors[i].name, fragment)) {
            *ret = &d->anchors[i];
            t->at = d->anchors[i].at;
            return 0;
        }
    return -ENOENT;
}

int js_docs_resolve(struct js_docs *d, uint32_t from, const char *place, const char *keyword,
                    struct slice ref, struct js_target *ret, const struct js_anchor **ret_anchor)
{
    const uint32_t doc = d->resources[from].doc;
    struct slice uri, fragment;

    *ret_anchor = NULL;
    js_uri_split(ref, &uri, &fragment);
    ret->resource = from;
    int r = 0;
    if (uri.n > 0) {
        uri = joined(d, d->resources[from].uri, uri);
        r = uri.p ? get(d, uri, &ret->resource) : -ENOMEM;
    }
    if (r == 0) {
        ret->at = d->resources[ret->resource].at;
        r = fragment_target(d, fragment, ret, ret_anchor);
    }
    if (r == -ENOENT)
        return js_docs_fail(d, -EINVAL, doc, place, keyword, "the reference %.*s leads nowhere",
                            (int)MIN(ref.n, 110), ref.p);
    return r;
}
