/* SPDX-License-Identifier: MIT */
/* Equality without a tree: arrays go side by side; so do objects while their names come in the same order,
 * and are sorted by hash where they don't. Recursion is as deep as values may nest (LIMIT_DEPTH). */
#include "jsonschema_value.h"

#include "jsonschema_number.h"
#include "scan.h"

#include <errno.h>

static inline bool is_surrogate(const char *p, const char *end, char low)
{
    return end - p >= 6 && p[0] == '\\' && p[1] == 'u' && (p[2] == 'd' || p[2] == 'D') &&
           (low ? strchr("cdefCDEF", p[3]) : strchr("89abAB", p[3])) != NULL;
}

uint64_t js_string_length(struct slice raw)
{
    const char *p = raw.p + 1, *const end = raw.p + raw.n - 1;
    uint64_t n = 0;

    while (p < end) {
        const size_t plain = scan_plain(p, (size_t)(end - p));
        n += plain;
        p += plain;
        if (p == end)
            break;
        n++;
        if (*p == '\\') {
            const bool pair = is_surrogate(p, end, false) && is_surrogate(p + 6, end, true);
            p += p[1] != 'u' ? 2 : pair ? 12 : 6;
        } else {
            for (p++; p < end && (*p & 0xc0) == 0x80; p++)
                ;
        }
    }
    return n;
}

struct slice js_string_decoded(struct slice raw, struct js_scratch *scratch)
{
    if (raw.n > scratch->n) {
        char *const p = realloc(scratch->p, raw.n + 64);
        if (!p)
            return (struct slice){NULL, 0};
        *scratch = (struct js_scratch){p, raw.n + 64};
    }
    return (struct slice){scratch->p, scan_decode(raw, scratch->p, NULL)};
}

/* ---- hash ------------------------------------------------------------------------------------ */

static uint64_t mix(uint64_t a, uint64_t b)
{
    const unsigned __int128 m =
        (unsigned __int128)(a ^ 0x9e3779b97f4a7c15u) * (b ^ 0xd6e8feb86659fd93u);

    return (uint64_t)m ^ (uint64_t)(m >> 64);
}

static uint64_t hash_bytes(const char *p, size_t n, uint64_t h)
{
    for (; n >= 8; p += 8, n -= 8)
        h = mix(h, load64(p));
    uint64_t rest = n;
    for (size_t i = 0; i < n; i++)
        rest = rest << 8 | (unsigned char)p[i];
    return mix(h, rest);
}

static inline const char *token(const char *p)
{
    while (scan_is_space(*p))
        p++;
    return p;
}

/* One piece of a string that has escapes: the bytes that an escape, or the next run of others, means. */
struct pieces {
    const char *p, *end;
    char bytes[4];
};

static struct slice next_piece(struct pieces *s)
{
    const char *const from = s->p;

    if (s->p == s->end)
        return (struct slice){NULL, 0};
    if (*s->p != '\\') {
        while (s->p < s->end && *s->p != '\\')
            s->p++;
        return (struct slice){from, (size_t)(s->p - from)};
    }
    s->p += s->p[1] != 'u'                                                              ? 2
            : is_surrogate(from, s->end, false) && is_surrogate(from + 6, s->end, true) ? 12
                                                                                        : 6;
    char quoted[16];
    const size_t n = (size_t)(s->p - from);
    quoted[0] = quoted[n + 1] = '"';
    memcpy(quoted + 1, from, n);
    char decoded[16];
    const size_t m = scan_decode((struct slice){quoted, n + 2}, decoded, NULL);
    memcpy(s->bytes, decoded, m); /* at most 4: one character */
    return (struct slice){s->bytes, m};
}

static uint64_t hash_string(struct slice raw)
{
    const char *const p = raw.p + 1;
    const size_t n = raw.n - 2;
    uint64_t h = 5, word = 0, bytes = 0;

    if (LIKELY(!memchr(p, '\\', n)))
        return hash_bytes(p, n, 5);
    /* Bytes are gathered to the words that hash_bytes() would see. */
    struct pieces s = {.p = p, .end = p + n};
    char buffer[8];
    for (struct slice piece; (piece = next_piece(&s)).p;)
        for (size_t i = 0; i < piece.n; i++) {
            buffer[bytes++ % 8] = piece.p[i];
            if (bytes % 8 == 0)
                h = mix(h, load64(buffer));
        }
    word = bytes % 8;
    for (size_t i = 0; i < bytes % 8; i++)
        word = word << 8 | (unsigned char)buffer[i];
    return mix(h, word);
}

/* Each byte is met once, however deep it lies. Returns the end of the value at p. */
static const char *hash_at(const char *p, const char *end, uint64_t *ret)
{
    const enum scan_kind kind = scan_kind(*p);
    const char close = kind == SCAN_OBJECT ? '}' : ']', *from;
    struct js_number number;
    uint64_t h = 7 + (uint64_t)kind, name = 0, part;
    unsigned special;

    switch (kind) {
    case SCAN_STRING:
        from = p;
        p = js_string_end(p, end, &special);
        *ret = hash_string((struct slice){from, (size_t)(p - from)});
        return p;
    case SCAN_NUMBER:
        p = js_number_parse(p, end, &number);
        *ret = mix(h, js_number_hash(&number));
        return p;
    case SCAN_ARRAY:
    case SCAN_OBJECT:
        break;
    default:
        *ret = mix(h, 2);
        return p + (kind == SCAN_FALSE ? 5 : 4);
    }
    p = token(p + 1);
    while (*p != close) {
        if (kind == SCAN_OBJECT)
            p = token(token(hash_at(p, end, &name)) + 1);
        p = token(hash_at(p, end, &part));
        h = kind == SCAN_OBJECT ? h + mix(name, part) : mix(h, part); /* members in any order */
        if (*p == ',')
            p = token(p + 1);
    }
    *ret = mix(h, 1);
    return p + 1;
}

uint64_t js_value_hash(struct slice v)
{
    uint64_t h;

    (void)hash_at(v.p, v.p + v.n, &h);
    return h;
}

/* ---- equality -------------------------------------------------------------------------------- */

static bool strings_equal(struct slice a, struct slice b)
{
    if (slice_eq(a, b))
        return true;
    if (!memchr(a.p, '\\', a.n) && !memchr(b.p, '\\', b.n))
        return false;
    struct pieces s = {.p = a.p + 1, .end = a.p + a.n - 1},
                  t = {.p = b.p + 1, .end = b.p + b.n - 1};
    struct slice x = {"", 0}, y = {"", 0};
    for (;;) {
        if (x.n == 0)
            x = next_piece(&s);
        if (y.n == 0)
            y = next_piece(&t);
        if (!x.p || !y.p)
            return !x.p && !y.p;
        const size_t n = MIN(x.n, y.n);
        if (memcmp(x.p, y.p, n) != 0)
            return false;
        x.p += n;
        x.n -= n;
        y.p += n;
        y.n -= n;
    }
}

static int arrays_equal(struct slice a, struct slice b)
{
    struct slice x, y;
    size_t i = 0, j = 0;

    for (;;) {
        const int more = scan_element(a, &i, &x);
        if (scan_element(b, &j, &y) != more)
            return 0;
        if (!more)
            return 1;
        const int r = js_value_equal(x, y);
        if (r != 1)
            return r;
    }
}

struct member {
    uint64_t hash; /* of its name */
    struct slice key, value;
};

static int by_hash(const void *a, const void *b)
{
    const struct member *x = a, *y = b;

    return (x->hash > y->hash) - (x->hash < y->hash);
}

/* The members of an object from pos on, sorted. NULL: no memory. */
static struct member *sorted_members(struct slice object, size_t pos, size_t n)
{
    struct member *const m = calloc(MAX(n, 1), sizeof *m);

    for (size_t i = 0; m && i < n && scan_member(object, &pos, &m[i].key, &m[i].value); i++)
        m[i].hash = hash_string(m[i].key);
    if (m)
        qsort(m, n, sizeof *m, by_hash);
    return m;
}

static size_t count_members(struct slice object, size_t pos)
{
    struct slice key, value;
    size_t n = 0;

    while (scan_member(object, &pos, &key, &value))
        n++;
    return n;
}

/* From where the order of names differs. */
static int shuffled_equal(struct slice a, size_t i, struct slice b, size_t j)
{
    const size_t n = count_members(a, i);

    if (count_members(b, j) != n)
        return 0;
    AUTO_FREE struct member *x = sorted_members(a, i, n);
    AUTO_FREE struct member *y = sorted_members(b, j, n);
    if (!x || !y)
        return -ENOMEM;
    for (size_t k = 0; k < n; k++) {
        size_t l = k;
        if (x[k].hash != y[k].hash)
            return 0;
        /* Several of one hash: the one of this name comes here. */
        while (l < n && y[l].hash == x[k].hash && !strings_equal(x[k].key, y[l].key))
            l++;
        if (l == n || y[l].hash != x[k].hash)
            return 0;
        const struct member other = y[l];
        y[l] = y[k];
        y[k] = other;
        const int r = js_value_equal(x[k].value, other.value);
        if (r != 1)
            return r;
    }
    return 1;
}

static int objects_equal(struct slice a, struct slice b)
{
    struct slice ka, va, kb, vb;
    size_t i = 0, j = 0;

    for (;;) {
        const size_t at_a = i, at_b = j;
        const int more = scan_member(a, &i, &ka, &va);
        if (scan_member(b, &j, &kb, &vb) != more)
            return 0;
        if (!more)
            return 1;
        if (!strings_equal(ka, kb))
            return shuffled_equal(a, at_a, b, at_b);
        const int r = js_value_equal(va, vb);
        if (r != 1)
            return r;
    }
}

int js_value_equal(struct slice a, struct slice b)
{
    const enum scan_kind kind = scan_kind(*a.p);
    struct js_number x, y;

    if (scan_kind(*b.p) != kind)
        return 0;
    switch (kind) {
    case SCAN_STRING:
        return strings_equal(a, b);
    case SCAN_NUMBER:
        (void)js_number_parse(a.p, a.p + a.n, &x);
        (void)js_number_parse(b.p, b.p + b.n, &y);
        return js_number_compare(&x, &y) == 0;
    case SCAN_ARRAY:
        return arrays_equal(a, b);
    case SCAN_OBJECT:
        return objects_equal(a, b);
    default:
        return 1;
    }
}
