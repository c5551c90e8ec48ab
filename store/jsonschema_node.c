/* SPDX-License-Identifier: MIT */
/* Memory, names and places of compiled schemas. */
#include "jsonschema_node.h"

#include "limits.h"
#include "scan.h"

#include <stdio.h>

struct js_chunk {
    struct js_chunk *older;
    size_t used, size;
    _Alignas(16) char bytes[];
};

enum { CHUNK_MIN = 1024, CHUNK_BYTES = 8192 };

bool js_arena_charge(struct js_arena *a, size_t n)
{
    a->full |= n > LIMIT_SCHEMA_MEMORY - a->bytes;
    a->bytes += a->full ? 0 : n;
    return !a->full;
}

void *js_arena_get(struct js_arena *a, size_t n)
{
    struct js_chunk *c = a->chunks;

    n = (n + 7) & ~(size_t)7;
    if (!c || c->size - c->used < n) {
        const size_t size = MAX(n, (size_t)(a->bytes < CHUNK_BYTES ? CHUNK_MIN : CHUNK_BYTES));
        if (!js_arena_charge(a, sizeof *c + size) || !(c = calloc(1, sizeof *c + size)))
            return NULL;
        *c = (struct js_chunk){.older = a->chunks, .size = size};
        a->chunks = c;
    }
    void *const p = c->bytes + c->used;
    c->used += n;
    return p;
}

void js_arena_done(struct js_arena *a)
{
    for (struct js_chunk *c = a->chunks, *older; c; c = older) {
        older = c->older;
        free(c);
    }
    a->chunks = NULL;
}

struct slice js_arena_copy(struct js_arena *a, struct slice s)
{
    char *const p = js_arena_get(a, s.n + 1);

    if (p && s.n)
        memcpy(p, s.p, s.n);
    return (struct slice){p, s.n};
}

bool js_arena_grow(struct js_arena *a, void **array, size_t n, size_t *capacity, size_t element)
{
    if (n < *capacity)
        return true;
    const size_t more = *capacity ? *capacity * 2 : 8;
    void *const p = js_arena_get(a, more * element);
    if (!p)
        return false;
    if (n)
        memcpy(p, *array, n * element);
    *array = p;
    *capacity = more;
    return true;
}

bool js_names_init(struct js_names *t, struct js_arena *a, size_t capacity)
{
    uint32_t slots = 4;

    while (slots < 2 * capacity)
        slots *= 2;
    *t = (struct js_names){.names = js_arena_get(a, MAX(capacity, 1) * sizeof *t->names),
                           .slots = js_arena_get(a, slots * sizeof *t->slots),
                           .mask = slots - 1};
    return t->names && t->slots;
}

uint32_t js_names_add(struct js_names *t, struct slice name, bool *ret_new)
{
    const int64_t known = js_names_find(t, name);
    const uint32_t tag = js_names_hash(name);
    uint32_t i = tag & t->mask;

    *ret_new = known < 0;
    if (known >= 0)
        return (uint32_t)known;
    while (t->slots[i].number)
        i = (i + 1) & t->mask;
    t->names[t->n] = name;
    t->slots[i] = (struct js_slot){.tag = tag, .number = ++t->n};
    return t->n - 1;
}

/* ---- places ---------------------------------------------------------------------------------- */

size_t js_pointer_add(char *out, size_t n, size_t at, struct slice token)
{
    if (at + 1 < n)
        out[at++] = '/';
    for (size_t i = 0; i < token.n && at + 2 < n; i++) {
        const char c = token.p[i];
        if (c == '~' || c == '/') {
            out[at++] = '~';
            out[at++] = c == '~' ? '0' : '1';
        } else {
            out[at++] = c;
        }
    }
    out[at] = '\0';
    return at;
}

/* The part of container that at lies in; its name or index is written behind the pointer. */
static struct slice part_with(struct slice container, const char *at, char *out, size_t n,
                              size_t *len)
{
    struct slice key, value;
    size_t pos = 0;
    char index[24];

    for (unsigned i = 0;; i++) {
        if (*container.p == '{') {
            if (!scan_member(container, &pos, &key, &value))
                return container;
        } else if (!scan_element(container, &pos, &value)) {
            return container;
        }
        if (at < value.p || at >= value.p + value.n)
            continue;
        if (*container.p == '{') {
            key.p++;
            key.n -= 2; /* as written, escapes and all */
        } else {
            key.p = index;
            key.n = (size_t)snprintf(index, sizeof index, "%u", i);
        }
        *len = js_pointer_add(out, n, *len, key);
        return value;
    }
}

size_t js_pointer_to(const struct js_schema *s, uint32_t doc, const char *at, char *out, size_t n)
{
    struct slice v = s->docs[doc].text;
    size_t len = 0;

    out[0] = '\0';
    if (doc > 0)
        len = (size_t)MAX(
            0, snprintf(out, n, "%.*s#", (int)MIN(s->docs[doc].uri.n, n - 2), s->docs[doc].uri.p));
    while (v.p != at && (*v.p == '{' || *v.p == '[')) {
        const struct slice part = part_with(v, at, out, n, &len);
        if (part.p == v.p)
            break;
        v = part;
    }
    return len;
}
