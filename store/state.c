/* SPDX-License-Identifier: MIT */
/* The merge is a tree of objects; everything else (a scalar, an array) is a leaf of text.
 * (1) Members stand in order of insertion. A removed one leaves a hole; holes are closed before
 *     a merge when they outnumber what is there, so they cost at most as much as the members.
 * (2) No two members of an object have keys that decode to the same bytes.
 * (3) Leaves hold compact JSON: no blanks outside of strings. A leaf is overwritten in place,
 *     and gives back its memory when it needs less than a quarter: what is superseded does not
 *     pile up.
 * (4) No member's `entry` is set between merges.
 *
 * An object of a patch is applied in two passes: the first finds (or makes) the member for each
 * of its keys, the second merges the values. So a key given twice takes only its last value,
 * where applying one after the other would merge both ({"a":{"x":1},"a":{"y":2}} is
 * {"a":{"y":2}}). Patches of one type have the same keys in the same order: the member behind
 * the one found last is tried first, which saves decoding and hashing nearly every key. */
#include "state.h"

#include "limits.h"
#include "name.h"
#include "scan.h"

#include <assert.h>
#include <sys/auxv.h>

#define SHORT_BYTES 16u /* a leaf up to here needs no memory of its own */
#define LINEAR_MAX  16u /* members up to which an object is searched without a table */

enum value_kind { ABSENT, SHORT, LONG, OBJECT };

struct value {
    union {
        char text[SHORT_BYTES]; /* SHORT */
        struct {
            char *heap; /* LONG; owned */
            uint32_t cap;
        };
        struct object *object; /* OBJECT; owned */
    };
    uint32_t n; /* bytes of the text */
    enum value_kind kind;
};

struct member {
    struct value v; /* ABSENT: a hole, or not merged yet */
    char *key;      /* raw with its quotes; decoded bytes behind, if it has escapes; NULL: a hole */
    uint32_t raw_n; /* bytes of the raw key */
    uint32_t name_n; /* bytes of the decoded one */
    uint32_t hash;   /* of the decoded one */
    uint32_t entry;  /* in the running merge: its place in todo, from 1; else 0 */
};

struct object {
    struct member *m; /* owned */
    uint32_t n, cap;  /* members and holes */
    uint32_t holes;
    uint32_t table_cap; /* a power of two, at least 2 n; 0: no table yet */
    uint32_t *table;    /* owned; place in m, from 1, by hash, next free slot; 0: free */
};

struct todo {
    uint32_t member;
    struct slice value;
};

struct state {
    struct value root;
    uint64_t seed;     /* keys are users': who knows no seed can't make them collide */
    struct todo *todo; /* stack of the running merge: one stretch an object that is open; owned */
    size_t n, cap;     /* of todo */
    char *decoded;     /* of the key that is looked up; owned */
    size_t decoded_cap;
};

/* ---- values and objects ---------------------------------------------------------------------- */

static void object_free(struct object *o);

static void value_clear(struct value *v)
{
    if (v->kind == LONG)
        free(v->heap);
    else if (v->kind == OBJECT)
        object_free(v->object);
    *v = (struct value){.kind = ABSENT};
}

/* At most LIMIT_DEPTH deep. */
static void object_free(struct object *o)
{
    for (uint32_t i = 0; i < o->n; i++) {
        value_clear(&o->m[i].v);
        free(o->m[i].key);
    }
    free(o->m);
    free(o->table);
    free(o);
}

/* Copy a scalar or an array without the blanks outside of its strings. Returns the length. */
static size_t copy_compact(struct slice json, char *out)
{
    bool in_string = false;
    size_t len = 0;

    if (json.p[0] != '[') {
        memcpy(out, json.p, json.n);
        return json.n;
    }
    for (size_t i = 0; i < json.n; i++) {
        char c = json.p[i];
        if (!in_string && scan_is_space(c))
            continue;
        out[len++] = c;
        if (c == '"')
            in_string = !in_string;
        else if (c == '\\')
            out[len++] = json.p[++i]; /* only in a string; never its last byte */
    }
    return len;
}

/* n <= 16 bytes. */
static inline void copy_short(char *to, const char *from, size_t n)
{
    if (n >= 8) {
        uint64_t a = load64(from), b = load64(from + n - 8);
        memcpy(to, &a, sizeof a);
        memcpy(to + n - 8, &b, sizeof b);
    } else if (n >= 4) {
        uint32_t a = load32(from), b = load32(from + n - 4);
        memcpy(to, &a, sizeof a);
        memcpy(to + n - 4, &b, sizeof b);
    } else {
        for (size_t i = 0; i < n; i++)
            to[i] = from[i];
    }
}

static int set_leaf(struct value *v, struct slice json)
{
    bool fits = v->kind == LONG && v->cap >= json.n && v->cap / 4 <= json.n;

    if (!fits)
        value_clear(v);
    if (fits) {
        v->n = (uint32_t)copy_compact(json, v->heap);
    } else if (json.n <= SHORT_BYTES) {
        v->n = (uint32_t)copy_compact(json, v->text);
        v->kind = SHORT;
    } else {
        char *heap = malloc(json.n);
        if (!heap)
            return -1;
        v->heap = heap;
        v->cap = (uint32_t)json.n;
        v->kind = LONG;
        v->n = (uint32_t)copy_compact(json, heap);
    }
    return 0;
}

static inline int value_set_leaf(struct value *v, struct slice json)
{
    if (UNLIKELY(json.n > SHORT_BYTES || v->kind != SHORT || json.p[0] == '['))
        return set_leaf(v, json);
    copy_short(v->text, json.p, json.n);
    v->n = (uint32_t)json.n;
    return 0;
}

/* memcmp() is mostly the call, for what is as short as keys. n >= 2. */
static inline bool same(const char *a, const char *b, size_t n)
{
    if (n < 8)
        return n < 4 ? memcmp(a, b, 2) == 0 && a[n - 1] == b[n - 1]
                     : load32(a) == load32(b) && load32(a + n - 4) == load32(b + n - 4);
    for (size_t i = 0; i + 8 < n; i += 8)
        if (load64(a + i) != load64(b + i))
            return false;
    return load64(a + n - 8) == load64(b + n - 8);
}

static const char *name_of(const struct member *m)
{
    return m->raw_n == m->name_n + 2 ? m->key + 1 : m->key + m->raw_n;
}

static void table_add(struct object *o, uint32_t i)
{
    uint32_t at = o->m[i].hash & (o->table_cap - 1);

    while (o->table[at] != 0)
        at = (at + 1) & (o->table_cap - 1);
    o->table[at] = i + 1;
}

/* Make the table again, for o->n members and one more, where there must be one. */
static int table_make(struct object *o)
{
    uint32_t cap = 4 * LINEAR_MAX;

    free(TAKE(o->table));
    o->table_cap = 0;
    if (o->n < LINEAR_MAX)
        return 0;
    while (cap < 3 * (o->n + 1))
        cap *= 2;
    o->table = calloc(cap, sizeof *o->table);
    if (!o->table)
        return -1;
    o->table_cap = cap;
    for (uint32_t i = 0; i < o->n; i++)
        table_add(o, i);
    return 0;
}

/* Close the holes where they outnumber the members. Moves members: only between merges of this
 * object. */
static int object_compact(struct object *o)
{
    uint32_t n = 0, cap;
    struct member *m;

    if (o->holes <= LINEAR_MAX || o->holes <= o->n - o->holes)
        return 0;
    for (uint32_t i = 0; i < o->n; i++) {
        if (o->m[i].key)
            o->m[n++] = o->m[i];
    }
    o->n = n;
    o->holes = 0;
    cap = MAX(n, LINEAR_MAX);
    if (cap < o->cap / 2) {
        m = realloc(o->m, cap * sizeof *m);
        if (!m)
            return -1;
        o->m = m;
        o->cap = cap;
    }
    return table_make(o);
}

static int object_grow(struct object *o)
{
    uint32_t cap = o->cap ? o->cap + o->cap / 2 : 4;
    struct member *m = realloc(o->m, cap * sizeof *m);

    if (!m)
        return -1;
    o->m = m;
    o->cap = cap;
    return 0;
}

/* The place of the member with this decoded name; -1: none. */
static int64_t object_find(const struct object *o, struct slice name, uint32_t hash)
{
    if (!o->table) {
        for (uint32_t i = 0; i < o->n; i++) {
            const struct member *m = &o->m[i];
            if (m->hash == hash && m->key && slice_eq((struct slice){name_of(m), m->name_n}, name))
                return i;
        }
        return -1;
    }
    for (uint32_t at = hash & (o->table_cap - 1); o->table[at] != 0;
         at = (at + 1) & (o->table_cap - 1)) {
        const struct member *m = &o->m[o->table[at] - 1];
        if (m->hash == hash && m->key && slice_eq((struct slice){name_of(m), m->name_n}, name))
            return o->table[at] - 1;
    }
    return -1;
}

/* Add a member without a value. Its place, or -1 without memory. */
static int64_t object_add(struct object *o, struct slice raw, struct slice name, uint32_t hash)
{
    bool escaped = raw.n != name.n + 2;
    char *key;

    if (o->n == o->cap && object_grow(o) < 0)
        return -1;
    if ((o->table ? 2 * (o->n + 1) > o->table_cap : o->n >= LINEAR_MAX) && table_make(o) < 0)
        return -1;
    key = malloc(raw.n + (escaped ? name.n : 0));
    if (!key)
        return -1;
    memcpy(key, raw.p, raw.n);
    if (escaped)
        memcpy(key + raw.n, name.p, name.n);
    o->m[o->n] = (struct member){
        .key = key, .raw_n = (uint32_t)raw.n, .name_n = (uint32_t)name.n, .hash = hash};
    if (o->table)
        table_add(o, o->n);
    return o->n++;
}

/* A hole keeps its hash, and with it its place in the table. */
static void object_remove(struct object *o, uint32_t i)
{
    value_clear(&o->m[i].v);
    free(TAKE(o->m[i].key));
    o->holes++;
}

/* ---- merging --------------------------------------------------------------------------------- */

/* The member for a raw key, made where there is none; -1 without memory. */
static int64_t find_or_add(struct state *s, struct object *o, struct slice raw)
{
    struct slice name = {raw.p + 1, raw.n - 2};
    uint32_t hash;
    int64_t i;

    if (memchr(name.p, '\\', name.n)) {
        if (s->decoded_cap < raw.n) {
            char *p = realloc(s->decoded, raw.n);
            if (!p)
                return -1;
            s->decoded = p;
            s->decoded_cap = raw.n;
        }
        name = (struct slice){s->decoded, scan_decode(raw, s->decoded, NULL)};
    }
    hash = (uint32_t)name_hash(name.p, name.n, s->seed);
    i = object_find(o, name, hash);
    return i >= 0 ? i : object_add(o, raw, name, hash);
}

/* Is the next member of the patch that of number `hint`? Then its value is *ret. */
static inline bool takes_hint(const struct object *o, uint32_t hint, struct slice patch,
                              size_t *pos, struct slice *ret)
{
    if (hint >= o->n)
        return false;
    const struct member *m = &o->m[hint];
    size_t at = *pos ? *pos + (patch.p[*pos] == ',') : 1;
    if (!m->key || patch.n - at <= m->raw_n + 1u || patch.p[at + m->raw_n] != ':' ||
        !same(patch.p + at, m->key, m->raw_n))
        return false;
    at += m->raw_n + 1u;
    if (scan_is_space(patch.p[at]))
        return false;
    *ret = (struct slice){patch.p + at, scan_skip(patch.p + at, patch.n - at)};
    *pos = at + ret->n;
    return true;
}

/* First pass: push what is to be done for each key of the patch. */
static int collect(struct state *s, struct object *o, struct slice patch)
{
    size_t pos = 0, base = s->n;
    struct slice key, value;
    uint32_t hint = 0;

    while (pos + 1 < patch.n) { /* the last byte is the closing bracket */
        int64_t i = hint;
        if (!takes_hint(o, hint, patch, &pos, &value)) {
            if (!scan_member(patch, &pos, &key, &value))
                return 0;
            i = find_or_add(s, o, key);
        }
        if (i < 0)
            return -1;
        hint = (uint32_t)i + 1;
        if (o->m[i].entry != 0) { /* given twice: the last one counts */
            s->todo[base + o->m[i].entry - 1].value = value;
            continue;
        }
        if (s->n == s->cap) {
            size_t cap = s->cap ? 2 * s->cap : 64;
            struct todo *t = realloc(s->todo, cap * sizeof *t);
            if (!t)
                return -1;
            s->todo = t;
            s->cap = cap;
        }
        s->todo[s->n++] = (struct todo){(uint32_t)i, value};
        o->m[i].entry = (uint32_t)(s->n - base);
    }
    return 0;
}

static int merge_value(struct state *s, struct value *v, struct slice json, unsigned depth);

static int merge_object(struct state *s, struct object *o, struct slice patch, unsigned depth)
{
    size_t base = s->n;
    int r = 0;

    if (object_compact(o) < 0 || collect(s, o, patch) < 0)
        return -1;
    for (size_t k = base, end = s->n; k < end && r == 0; k++) {
        const struct slice value = s->todo[k].value; /* a copy: the stack moves when it grows */
        const uint32_t i = s->todo[k].member;
        struct member *m = &o->m[i];
        m->entry = 0;
        if (value.p[0] == 'n')
            object_remove(o, i);
        else if (value.p[0] == '{')
            r = merge_value(s, &m->v, value, depth);
        else
            r = value_set_leaf(&m->v, value);
    }
    if (r < 0)
        return -1;
    s->n = base;
    return 0;
}

static int merge_value(struct state *s, struct value *v, struct slice json, unsigned depth)
{
    if (json.p[0] != '{')
        return value_set_leaf(v, json);
    assert(depth < LIMIT_DEPTH); /* scan_value() refuses more */
    if (v->kind != OBJECT) {
        struct object *o = calloc(1, sizeof *o);
        if (!o)
            return -1;
        value_clear(v);
        v->object = o;
        v->kind = OBJECT;
    }
    return merge_object(s, v->object, json, depth + 1);
}

/* ---- text ------------------------------------------------------------------------------------ */

/* Write v into out (NULL: only count). Returns the length. */
static size_t write_value(const struct value *v, char *out)
{
    const char *text = v->kind == LONG ? v->heap : v->text;
    size_t len = 1;

    if (v->kind != OBJECT) {
        if (out)
            memcpy(out, text, v->n);
        return v->n;
    }
    if (out)
        out[0] = '{';
    for (uint32_t i = 0; i < v->object->n; i++) {
        const struct member *m = &v->object->m[i];
        if (!m->key)
            continue;
        if (out) {
            memcpy(out + len, m->key, m->raw_n);
            out[len + m->raw_n] = ':';
        }
        len += m->raw_n + 1;
        len += write_value(&m->v, out ? out + len : NULL);
        if (out)
            out[len] = ',';
        len++;
    }
    len -= len > 1; /* the last comma becomes the bracket */
    if (out)
        out[len] = '}';
    return len + 1;
}

int state_text(const struct state *s, char **ret, size_t *ret_n, struct evs_error *err)
{
    static const struct value null = {.text = "null", .n = 4, .kind = SHORT};
    const struct value *root = s->root.kind == ABSENT ? &null : &s->root;
    size_t n = write_value(root, NULL) + 1;
    char *text = malloc(n);

    if (!text)
        return evs_fail(err, EVS_NO_MEMORY, EVS_NOWHERE);
    (void)write_value(root, text);
    text[n - 1] = '\n';
    *ret = text;
    *ret_n = n;
    return 0;
}

/* ---- the face -------------------------------------------------------------------------------- */

int state_new(struct state **ret, struct evs_error *err)
{
    struct state *s = calloc(1, sizeof *s);
    const void *random = (const void *)getauxval(AT_RANDOM); /* 16 bytes, of this process */

    if (!s)
        return evs_fail(err, EVS_NO_MEMORY, EVS_NOWHERE);
    s->seed = random ? load64(random) : (uint64_t)(uintptr_t)s;
    *ret = s;
    return 0;
}

void state_free(struct state *s)
{
    if (!s)
        return;
    value_clear(&s->root);
    free(s->todo);
    free(s->decoded);
    free(s);
}

/* Without memory the merge may be half done: all that is left is state_free(). */
int state_merge(struct state *s, struct slice json, struct evs_error *err)
{
    s->n = 0;
    if (merge_value(s, &s->root, json, 0) < 0)
        return evs_fail(err, EVS_NO_MEMORY, EVS_NOWHERE);
    return 0;
}
