/* SPDX-License-Identifier: MIT */
/* The hash of a value's shape: one pass over bytes that scan_value() has accepted, no memory but a few KiB
 * of stack.
 *
 * (1) Equal shapes hash equally where that is cheap (the order of members counts, it seldom changes); shapes
 *     of which the model would differ hash differently, but for the chance of 64 bits.
 * (2) A container's elements (of an object: the values under names that are data) are a set. seen[] holds the
 *     distinct hashes of all containers that are open, each one's from its base on; those of an inner
 *     container lie above and are gone when it closes. A set that outgrows SET_MAX, or finds seen[] full,
 *     takes the rest in order: more shapes than need be, never fewer.
 * (3) The model looks no deeper than LIMIT_INFER_DEPTH and no more does the hash. */
#include "infer.h"
#include "infer_format.h"

#include "limits.h"
#include "name.h"
#include "scan.h"

enum { SET_MAX = 32, SEEN_MAX = 512 };

/* What is mixed in for a scalar or a container; the formats of strings follow HASH_STRING. */
enum { HASH_NULL = 1, HASH_BOOLEAN, HASH_INTEGER, HASH_NUMBER, HASH_DEEP, HASH_SET, HASH_STRING };

struct frame {
    uint64_t h;    /* of what stands in order */
    uint64_t name; /* of an object: of the name whose value comes */
    uint32_t base; /* into seen[] */
    bool object;
    bool in_set; /* the value that comes belongs to the set */
};

struct walk {
    const char *end;
    uint32_t seen_n;
    struct frame frame[LIMIT_INFER_DEPTH + 1]; /* frame[0] takes the hash of the whole */
    uint64_t seen[SEEN_MAX];
};

static inline uint64_t mix(uint64_t h, uint64_t v)
{
    const unsigned __int128 product =
        (unsigned __int128)(h ^ 0x9e3779b97f4a7c15u) * (v ^ 0xd6e8feb86659fd93u);

    return (uint64_t)product ^ (uint64_t)(product >> 64) ^ (h << 1);
}

static __attribute__((noinline)) void put_in_set(struct walk *w, struct frame *f, uint64_t v)
{
    for (uint32_t i = w->seen_n; i > f->base; i--) /* the newest first: mostly it is that */
        if (w->seen[i - 1] == v)
            return;
    if (w->seen_n - f->base < SET_MAX && w->seen_n < SEEN_MAX)
        w->seen[w->seen_n++] = v;
    else
        f->h = mix(f->h + HASH_SET, v);
}

/* A finished value goes to the container that it is in. */
static inline void put(struct walk *w, struct frame *f, uint64_t v)
{
    if (LIKELY(!f->in_set))
        f->h = mix(f->h ^ f->name, v);
    else
        put_in_set(w, f, v);
}

/* What the container makes of all that was put into it. The order of a set's members must not count. */
static inline uint64_t finish(struct walk *w, const struct frame *f)
{
    const uint32_t n = w->seen_n - f->base;
    uint64_t sum = n;

    for (uint32_t i = f->base; i < w->seen_n; i++)
        sum += mix(w->seen[i], HASH_SET);
    w->seen_n = f->base;
    return mix(f->h, sum);
}

/* The end of the string at p, behind its quote; *ret_escapes: it has some. */
static inline const char *string_end(const char *p, const char *end, bool *ret_escapes)
{
    bool escapes = false;

    for (p++;;) {
        p += scan_plain(p, (size_t)(end - p));
        if (LIKELY(p < end && *p == '"'))
            break;
        if (UNLIKELY(end - p < 2)) {
            p = end - 1; /* no such value was accepted */
            break;
        }
        escapes |= *p == '\\';
        p += *p == '\\' ? 2 : 1;
    }
    *ret_escapes = escapes;
    return p + 1;
}

static __attribute__((noinline)) void escaped_name(struct frame *f, struct slice raw)
{
    char decoded[INFER_RAW_NAME_MAX + 2];

    f->in_set = infer_name_is_data(raw);
    if (!f->in_set)
        f->name = name_hash(decoded, scan_decode(raw, decoded, NULL), 0);
}

/* The name at p; returns where it ends. */
static inline const char *name(const struct walk *w, struct frame *f, const char *p)
{
    bool escapes;
    const char *to = string_end(p, w->end, &escapes);

    if (UNLIKELY(escapes)) {
        escaped_name(f, (struct slice){p, (size_t)(to - p)});
        return to;
    }
    const size_t n = (size_t)(to - p) - 2;
    f->in_set = infer_plain_name_is_data(p + 1, n);
    f->name = name_hash(p + 1, n, 0);
    return to;
}

static inline const char *number(const char *p, const char *end, uint64_t *ret)
{
    *ret = HASH_INTEGER;
    for (p++; p < end; p++) {
        const char c = *p;
        if (LIKELY(c >= '0' && c <= '9'))
            continue;
        if (c == '.' || c == 'e' || c == 'E')
            *ret = HASH_NUMBER;
        else if (c != '-' && c != '+')
            break;
    }
    return p;
}

static inline const char *scalar(const char *p, const char *end, uint64_t *ret)
{
    const char *to;
    bool escapes;

    switch (*p) {
    case '"':
        to = string_end(p, end, &escapes);
        *ret = HASH_STRING + (LIKELY(!escapes)
                                  ? infer_format(p + 1, (size_t)(to - p) - 2)
                                  : infer_format_raw((struct slice){p, (size_t)(to - p)}));
        return to;
    case 'n':
        *ret = HASH_NULL;
        return p + MIN(4, end - p);
    case 't':
        *ret = HASH_BOOLEAN;
        return p + MIN(4, end - p);
    case 'f':
        *ret = HASH_BOOLEAN;
        return p + MIN(5, end - p);
    default:
        return number(p, end, ret);
    }
}

static __attribute__((noinline)) const char *blanks(const char *p, const char *end)
{
    while (p < end && ((unsigned char)*p <= ' ' || *p == ',' || *p == ':'))
        p++;
    return p;
}

/* To the next token behind white space, commas and colons. */
static inline const char *next(const char *p, const char *end)
{
    p += p < end && (*p == ',' || *p == ':');
    return LIKELY(p < end && (unsigned char)*p > ' ') ? p : blanks(p, end);
}

uint64_t infer_shape(struct slice json)
{
    const char *p = json.p, *end = p + json.n;
    struct walk w;
    struct frame *f = w.frame;
    uint64_t v;

    w.end = end;
    w.seen_n = 0;
    *f = (struct frame){.h = INFER_VERSION};
    for (;;) {
        p = next(p, end);
        if (f->object && p < end && *p == '"') /* what is no name was taken with its name */
            p = next(name(&w, f, p), end);
        if (UNLIKELY(p >= end))
            return f->h;
        if (*p == '}' || *p == ']') {
            v = finish(&w, f);
            p++;
            f--;
        } else if (*p != '{' && *p != '[') {
            p = scalar(p, end, &v);
        } else if (LIKELY(f < w.frame + LIMIT_INFER_DEPTH)) {
            const bool object = *p++ == '{';
            *++f = (struct frame){
                .h = object ? '{' : '[', .base = w.seen_n, .object = object, .in_set = !object};
            continue;
        } else {
            p += scan_skip(p, (size_t)(end - p));
            v = HASH_DEEP;
        }
        put(&w, f, v);
        if (f == w.frame)
            return f->h;
    }
}
