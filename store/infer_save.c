/* SPDX-License-Identifier: MIT */
/* A model as bytes, and back. Numbers are LEB128 unless said; nodes in preorder, their ids are their ranks:
 *
 *   model  = told(1) node shapes_n shape*
 *   node   = kinds(1) format(1) beyond(1) map(1) span has_seen(1) [seen] members_n member* child child
 *   span   = count [first last]               first and last only if count > 0
 *   seen   = min(8) max(8) len_min len_max numbers strings many(1) n(1) text_bytes text
 *   member = n(1) name required(1) node
 *   child  = there(1) [node]                   elements, then values under data-like names
 *   shape  = shape(8) span bytes bits          sorted by shape; told: 0: a change is not told yet
 *
 * Eight-byte numbers are little-endian, min and max as IEEE 754. What infer_load() accepts obeys all that the
 * model's functions rely on, and its text is taken by any parser. */
#include "infer_model.h"

#include "name.h"
#include "scan.h"

#include <endian.h>
#include <errno.h>
#include <math.h>

/* ---- out ------------------------------------------------------------------------------------- */

struct out {
    char *p;
    size_t n, max;
    bool failed;
    const struct infer *m;
    uint16_t rank[LIMIT_INFER_NODES]; /* of a node, by its id */
    uint32_t ranks;
    struct infer_shape_rec **shapes;
    size_t shapes_n;
};

static void put_bytes(struct out *o, const void *p, size_t n)
{
    if (o->max - o->n < n && !o->failed) {
        const size_t max = MAX(o->n + n, o->max * 2);
        char *q = realloc(o->p, max);
        o->failed = !q;
        o->p = q ? q : o->p;
        o->max = q ? max : o->max;
    }
    if (o->failed || n == 0)
        return;
    memcpy(o->p + o->n, p, n);
    o->n += n;
}

static void put_byte(struct out *o, unsigned v)
{
    put_bytes(o, &(uint8_t){(uint8_t)v}, 1);
}

static void put_uint(struct out *o, uint64_t v)
{
    for (; v >= 0x80; v >>= 7)
        put_byte(o, (unsigned)(v & 0x7f) | 0x80u);
    put_byte(o, (unsigned)v);
}

static void put_le64(struct out *o, uint64_t v)
{
    put_bytes(o, &(uint64_t){htole64(v)}, 8);
}

static void put_double(struct out *o, double v)
{
    uint64_t bits;

    memcpy(&bits, &v, 8);
    put_le64(o, bits);
}

static void put_span(struct out *o, uint64_t count, uint64_t first, uint64_t last)
{
    put_uint(o, count);
    if (count > 0) {
        put_uint(o, first);
        put_uint(o, last);
    }
}

static void put_seen(struct out *o, const struct infer_seen *s)
{
    put_byte(o, s != NULL);
    if (!s)
        return;
    put_double(o, s->min);
    put_double(o, s->max);
    put_uint(o, s->len_min);
    put_uint(o, s->len_max);
    put_uint(o, s->numbers);
    put_uint(o, s->strings);
    put_byte(o, s->many);
    put_byte(o, s->n);
    put_uint(o, s->text_bytes);
    put_bytes(o, s->text, s->text_bytes);
}

static void put_node(struct out *o, const struct infer_node *node);

static void put_child(struct out *o, const struct infer_node *child)
{
    put_byte(o, child != NULL);
    if (child)
        put_node(o, child);
}

static void put_node(struct out *o, const struct infer_node *node)
{
    o->rank[node->id] = (uint16_t)o->ranks++;
    put_byte(o, node->kinds);
    put_byte(o, node->format);
    put_byte(o, node->beyond);
    put_byte(o, node->map);
    put_span(o, node->direct.count, node->direct.first, node->direct.last);
    put_seen(o, node->seen);
    put_uint(o, node->members_n);
    for (uint32_t i = 0; i < node->members_n; i++) {
        const struct infer_member *member = &node->members[i];
        put_byte(o, member->n);
        put_bytes(o, member->name, member->n);
        put_byte(o, member->required);
        put_node(o, member->node);
    }
    put_child(o, node->items);
    put_child(o, node->values);
}

static void put_shape(struct out *o, const struct infer_shape_rec *rec)
{
    struct infer_tally all = {0};
    uint8_t bits[INFER_BITS_BYTES] = {0};
    uint32_t bytes = 0;

    infer_tally_span(&all, &rec->added);
    infer_tally_span(&all, &rec->hits);
    for (uint32_t i = 0; i < rec->nodes_bytes * 8; i++) {
        if (infer_bit(rec->nodes, i)) {
            const uint32_t rank = o->rank[i];
            infer_bit_set(bits, rank);
            bytes = MAX(bytes, rank / 8 + 1);
        }
    }
    put_le64(o, rec->shape);
    put_span(o, all.count, all.first, all.last);
    put_uint(o, bytes);
    put_bytes(o, bits, bytes);
}

static void collect(struct infer_shape_rec *rec, void *arg)
{
    struct out *o = arg;

    o->shapes[o->shapes_n++] = rec;
}

static int by_shape(const void *a, const void *b)
{
    struct infer_shape_rec *const *x = a, *const *y = b;

    return (*x)->shape < (*y)->shape ? -1 : (*x)->shape > (*y)->shape;
}

int infer_save(const struct infer *m, char **ret, size_t *ret_n)
{
    AUTO_FREE struct out *o = calloc(1, sizeof *o);
    AUTO_FREE struct infer_shape_rec **shapes = calloc(m->shapes_n + 1u, sizeof *shapes);

    if (!o || !shapes)
        return -ENOMEM;
    o->m = m;
    o->shapes = shapes;
    put_byte(o, !m->changed);
    put_node(o, m->root);
    infer_shapes_each(m, collect, o);
    qsort(shapes, o->shapes_n, sizeof *shapes, by_shape);
    put_uint(o, o->shapes_n);
    for (size_t i = 0; i < o->shapes_n; i++)
        put_shape(o, shapes[i]);
    if (o->failed) {
        free(o->p);
        return -ENOMEM;
    }
    *ret = o->p;
    *ret_n = o->n;
    return 0;
}

/* ---- in -------------------------------------------------------------------------------------- */

struct in {
    const char *p, *end;
    int r; /* 0, -EBADMSG, -ENOMEM */
    struct infer *m;
};

static void bad(struct in *in)
{
    in->r = in->r ? in->r : -EBADMSG;
    in->p = in->end;
}

static void no_memory(struct in *in)
{
    in->r = -ENOMEM;
    in->p = in->end;
}

/* n bytes; NULL after a failure. */
static const char *get_bytes(struct in *in, size_t n)
{
    const char *p = in->p;

    if ((size_t)(in->end - p) < n) {
        bad(in);
        return NULL;
    }
    in->p += n;
    return p;
}

/* A byte of at most max. After a failure 0, as all that is got. */
static unsigned get_byte(struct in *in, unsigned max)
{
    const char *p = get_bytes(in, 1);
    const unsigned v = p ? (uint8_t)*p : 0;

    if (v <= max)
        return v;
    bad(in);
    return 0;
}

static uint64_t get_uint(struct in *in, uint64_t max)
{
    uint64_t v = 0;

    for (unsigned shift = 0; shift < 64; shift += 7) {
        const unsigned b = get_byte(in, 0xff);
        v |= (uint64_t)(b & 0x7f) << shift;
        if (b < 0x80) {
            if (v <= max)
                return v;
            break;
        }
    }
    bad(in);
    return 0;
}

static uint64_t get_le64(struct in *in)
{
    const char *p = get_bytes(in, 8);

    return p ? le64toh(load64(p)) : 0;
}

static double get_double(struct in *in)
{
    const uint64_t bits = get_le64(in);
    double v;

    memcpy(&v, &bits, 8);
    if (isfinite(v))
        return v;
    bad(in);
    return 0;
}

static void get_span(struct in *in, uint64_t *count, uint64_t *first, uint64_t *last)
{
    *count = get_uint(in, UINT64_MAX);
    *first = *count ? get_uint(in, UINT64_MAX) : 0;
    *last = *count ? get_uint(in, UINT64_MAX) : 0;
    if (*first > *last)
        bad(in);
}

/* The values kept are scalars that infer_look_*() keep. */
static bool is_kept_text(const struct infer_seen *s)
{
    size_t at = 0;

    for (unsigned i = 0; i < s->n; i++) {
        const size_t left = s->text_bytes - at, n = left ? (unsigned char)s->text[at] : 0;
        const char *p = s->text + at + 1;
        if (n == 0 || n > LIMIT_INFER_VALUE_BYTES || n >= left || scan_whole(p, n, NULL) < 0)
            return false;
        if (*p == '"' ? memchr(p, '\\', n) || p[n - 1] != '"' || scan_is_space(p[n - 1])
                      : !infer_is_kept_number((struct slice){p, n}))
            return false;
        at += 1 + n;
    }
    return at == s->text_bytes;
}

static void get_seen(struct in *in, struct infer_node *node)
{
    if (!get_byte(in, 1))
        return;
    struct infer_seen *s = node->seen = infer_alloc(in->m, sizeof *s);
    if (!s) {
        no_memory(in);
        return;
    }
    s->min = get_double(in);
    s->max = get_double(in);
    s->len_min = (uint32_t)get_uint(in, UINT32_MAX);
    s->len_max = (uint32_t)get_uint(in, UINT32_MAX);
    s->numbers = (uint32_t)get_uint(in, UINT32_MAX);
    s->strings = (uint32_t)get_uint(in, UINT32_MAX);
    s->many = get_byte(in, 1);
    s->n = (uint8_t)get_byte(in, s->many ? LIMIT_INFER_EXAMPLES : LIMIT_INFER_ENUM);
    const size_t n = get_uint(in, s->n * (LIMIT_INFER_VALUE_BYTES + 1u));
    const char *text = get_bytes(in, n);
    if (!text || n == 0)
        return;
    s->text = infer_alloc(in->m, n);
    if (!s->text) {
        no_memory(in);
        return;
    }
    memcpy(s->text, text, n);
    s->text_bytes = (uint16_t)n;
    if (!is_kept_text(s))
        bad(in);
}

static struct infer_node *get_node(struct in *in, struct infer_node *node, unsigned depth);

static struct infer_node *get_child(struct in *in, unsigned depth)
{
    bool full;

    if (in->r < 0 || depth > LIMIT_INFER_DEPTH) {
        bad(in);
        return NULL;
    }
    struct infer_node *node = infer_node_new(in->m, &full);
    if (full)
        bad(in);
    else if (!node)
        no_memory(in);
    return node ? get_node(in, node, depth) : NULL;
}

static void get_members(struct in *in, struct infer_node *node, unsigned depth)
{
    const uint64_t n = get_uint(in, node->map ? 0 : LIMIT_INFER_PROPERTIES);

    for (uint64_t i = 0; i < n && in->r == 0; i++) {
        const size_t name_n = get_byte(in, LIMIT_INFER_NAME_BYTES);
        const char *p = get_bytes(in, name_n);
        const bool required = get_byte(in, 1);
        if (!p || !scan_is_utf8(p, name_n) || memchr(p, '\0', name_n)) {
            bad(in);
            return;
        }
        const struct slice name = {p, name_n};
        const uint64_t hash = name_hash(p, name_n, 0);
        struct infer_node *child =
            infer_member_find(node, name, hash, 0) ? NULL : get_child(in, depth + 1);
        if (!child) {
            bad(in);
            return;
        }
        struct infer_member *member = infer_member_add(in->m, node, name, hash, child);
        if (!member) {
            no_memory(in); /* the child is in nodes[], which frees it */
            return;
        }
        member->required = required;
        node->required_n = (uint16_t)(node->required_n + required);
    }
}

static struct infer_node *get_node(struct in *in, struct infer_node *node, unsigned depth)
{
    node->kinds = (uint8_t)get_byte(in, KIND_ALL);
    node->format = (uint8_t)get_byte(in, FORMAT_COUNT - 1);
    node->beyond = (uint8_t)get_byte(in, BEYOND_ALL);
    node->map = get_byte(in, 1);
    get_span(in, &node->direct.count, &node->direct.first, &node->direct.last);
    get_seen(in, node);
    get_members(in, node, depth);
    if (get_byte(in, 1))
        node->items = get_child(in, depth + 1);
    if (get_byte(in, 1))
        node->values = get_child(in, depth + 1);
    if (((node->members_n > 0 || node->values || node->map) && !(node->kinds & KIND_OBJECT)) ||
        (node->items && !(node->kinds & KIND_ARRAY)))
        bad(in);
    return node;
}

static void get_shape(struct in *in)
{
    struct infer *m = in->m;
    const uint64_t shape = get_le64(in);
    uint64_t count, first, last;

    get_span(in, &count, &first, &last);
    const uint32_t bytes = (uint32_t)get_uint(in, INFER_BITS_BYTES);
    const char *bits = get_bytes(in, bytes);
    if (!bits || bytes == 0 || count == 0 || infer_find(m, shape)) {
        bad(in);
        return;
    }
    memset(m->touched, 0, sizeof m->touched);
    memcpy(m->touched, bits, bytes);
    bool right = infer_bit(m->touched, 0) && m->touched[bytes - 1] != 0;
    for (uint32_t i = m->nodes_n; i < bytes * 8; i++)
        right &= !infer_bit(m->touched, i);
    if (!right) {
        bad(in);
        return;
    }
    if (infer_remember(m, shape, (struct infer_tally){count, first, last}) < 0)
        no_memory(in);
}

int infer_load(struct slice bytes, struct infer **ret)
{
    struct in in = {.p = bytes.p, .end = bytes.p + bytes.n};
    int r = infer_new(&in.m);

    if (r < 0)
        return r;
    in.m->changed = !get_byte(&in, 1);
    (void)get_node(&in, in.m->root, 0);
    const uint64_t shapes = get_uint(&in, LIMIT_INFER_SHAPES);
    for (uint64_t i = 0; i < shapes && in.r == 0; i++)
        get_shape(&in);
    if (in.r == 0 && in.p < in.end)
        bad(&in);
    if (in.r < 0) {
        infer_free(in.m);
        return in.r;
    }
    *ret = in.m;
    return 0;
}
