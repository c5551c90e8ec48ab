/* SPDX-License-Identifier: MIT */
/* One pass, no recursion, no memory: JSON is validated and its end found at once.
 *
 * (1) No byte at or beyond s + n is read: input may be a mapping that ends there. The 16-byte
 *     steps stop 16 bytes before the end, the rest goes byte by byte.
 * (2) A walk that meets the end is unfinished, never wrong: what comes next could complete it.
 *     So each test of a byte is preceded by a test for the end.
 * (3) frame[d] describes the container at depth d for 1 <= d <= depth; what lies above is garbage.
 * (4) Functions of a walk return where to go on, or NULL with why and at set (why EVS_OK_:
 *     unfinished).
 *
 * What costs here is not bytes but mispredicted branches, some 10 ns for a key with its value; so
 * white space is tested for once and skipped out of line, and strings are crossed 16 bytes at a
 * time. */
#include "scan.h"

#include "limits.h"
#include "scan_walk.h"

#include <assert.h>

/* ---- outlines -------------------------------------------------------------------------------- */

/* The value of the walk is the one element of an array that does not exist: h[base] in the end. */
struct outline {
    const struct scan_outliner *by;
    uint64_t key0, key1;            /* its key */
    uint64_t h[LIMIT_DEPTH + 1];    /* of the container at a depth */
    uint64_t last[LIMIT_DEPTH + 1]; /* of its last element, or of the name whose value comes */
};

static inline uint64_t mix(uint64_t a, uint64_t b)
{
    const unsigned __int128 product = (unsigned __int128)a * b;

    return (uint64_t)product ^ (uint64_t)(product >> 64);
}

/* A name of n < 16 bytes, with zeros behind it. */
static inline uint64_t hash_short(const struct outline *o, size_t n, uint64_t a, uint64_t b)
{
    return mix(o->key0 ^ n ^ a, o->key1 ^ b);
}

static inline uint64_t hash_name(const struct outline *o, const char *p, size_t n)
{
    uint64_t h = o->key0 ^ n, two[2] = {0};

    if (n < sizeof two) {
        memcpy(two, p, n);
        return hash_short(o, n, two[0], two[1]);
    }
    for (; n > 16; p += 8, n -= 8)
        h = mix(h ^ load64(p), o->key1);
    return mix(h ^ load64(p), o->key1 ^ load64(p + n - 8));
}

/* A value is whole: it goes to the container that it is in, at depth. */
static inline void outline_put(struct outline *o, const struct walk *w, unsigned depth, uint64_t v)
{
    if (LIKELY(w->frame[depth] & FRAME_OBJECT)) {
        o->h[depth] = mix(o->h[depth] ^ o->last[depth], o->key1 ^ v);
    } else if (v != o->last[depth]) {
        o->h[depth] = mix(o->h[depth], o->key1 ^ v);
        o->last[depth] = v;
    }
}

static inline void outline_enter(struct outline *o, unsigned depth, bool object)
{
    o->h[depth] = o->key0 + (object ? 1 : 2);
    o->last[depth] = 0;
}

static inline void outline_leave(struct outline *o, const struct walk *w)
{
    outline_put(o, w, w->depth - 1, mix(o->h[w->depth], o->key1));
}

/* As plain(), and whether ':' or '@' is among those bytes. */
#if defined(__SSE2__)
static inline const char *plain_marked(const char *p, const char *end, bool *marked)
{
    __m128i marks = _mm_setzero_si128();

    while (LIKELY(end - p >= PLAIN_STEP)) {
        __m128i v = _mm_loadu_si128((const __m128i *)(const void *)p);
        __m128i mark = _mm_or_si128(_mm_cmpeq_epi8(v, _mm_set1_epi8(':')),
                                    _mm_cmpeq_epi8(v, _mm_set1_epi8('@')));
        unsigned i = plain_step(p);
        if (LIKELY(i < PLAIN_STEP)) {
            *marked |=
                _mm_movemask_epi8(marks) || ((unsigned)_mm_movemask_epi8(mark) & ((1u << i) - 1));
            return p + i;
        }
        marks = _mm_or_si128(marks, mark);
        p += PLAIN_STEP;
    }
    *marked |= _mm_movemask_epi8(marks) != 0;
    for (; p < end && is_plain((unsigned char)*p); p++)
        *marked |= *p == ':' || *p == '@';
    return p;
}
#else
static inline const char *plain_marked(const char *p, const char *end, bool *marked)
{
    for (; p < end && is_plain((unsigned char)*p); p++)
        *marked |= *p == ':' || *p == '@';
    return p;
}
#endif

/* A string's rest of less than 16 plain bytes at p; NULL: perhaps another. */
static inline const char *string_short(const char *p, const char *end, bool *ret_marked)
{
#if defined(__SSE2__)
    if (LIKELY(end - p > PLAIN_STEP)) {
        __m128i v = _mm_loadu_si128((const __m128i *)(const void *)p);
        __m128i mark = _mm_or_si128(_mm_cmpeq_epi8(v, _mm_set1_epi8(':')),
                                    _mm_cmpeq_epi8(v, _mm_set1_epi8('@')));
        unsigned n = plain_step(p);
        *ret_marked = (unsigned)_mm_movemask_epi8(mark) & ((1u << n) - 1);
        return n < PLAIN_STEP && p[n] == '"' ? p + n + 1 : NULL;
    }
#else
    (void)p, (void)end, (void)ret_marked;
#endif
    return NULL;
}

/* The rest of a string, p behind its opening quote, and whether it holds ':' or '@'. */
static __attribute__((noinline)) const char *string_any(struct walk *w, const char *p,
                                                        bool *ret_marked)
{
    bool marked = false;

    for (;;) {
        p = plain_marked(p, w->end, &marked);
        if (UNLIKELY(p == w->end))
            return unfinished(w);
        if (LIKELY(*p == '"')) {
            *ret_marked = marked;
            return p + 1;
        }
        p = not_plain(w, p);
        if (!p)
            return NULL;
    }
}

static inline const char *string_marked(struct walk *w, const char *p, bool *ret_marked)
{
    const char *behind = string_short(p, w->end, ret_marked);

    return behind ? behind : string_any(w, p, ret_marked);
}

#define OUTLINE_KIND(k) ((uint64_t)(k)*0x9e3779b97f4a7c15u)

/* May class_of() say anything but 0? s[0] is the quote of a string of n bytes without an escape. */
static inline bool has_class(const char *s, size_t n, bool marked)
{
    return marked ||
           (n >= 7 && n <= 36 &&
            (s[5] == '-' || s[2] == '.' || s[3] == '.' || s[4] == '.' || (n >= 9 && s[9] == '-')));
}

static const uint8_t kinds[256] = {['n'] = 1, ['t'] = 2, ['f'] = 2, ['-'] = 3, ['0' ... '9'] = 3};

static inline const char *scalar_outlined(struct walk *w, const char *p, struct outline *o)
{
    const char *from = p;
    uint64_t kind;
    bool marked;

    if (LIKELY(*p == '"')) {
        w->escaped = false;
        if (!(p = string_marked(w, p + 1, &marked)))
            return NULL;
        kind = 16;
        if (UNLIKELY(has_class(from, (size_t)(p - from) - 2, marked) || w->escaped))
            kind += o->by->class_of((struct slice){from, (size_t)(p - from)}, w->escaped);
    } else {
        kind = kinds[(unsigned char)*p];
        const char *behind = kind == 3 ? integer_short(p, w->end) : NULL;
        if (LIKELY(behind != NULL)) {
            p = behind;
        } else {
            w->fraction = false;
            if (!(p = kind == 3 ? number(w, p) : scalar(w, p)))
                return NULL;
            kind += w->fraction;
        }
    }
    outline_put(o, w, w->depth, OUTLINE_KIND(kind));
    return p;
}

#define KEY_SHORT 18 /* bytes that key_short() looks at */
/* A name of less than 16 plain bytes at p, a colon and no blank: to the value; or NULL, and nothing has happened. */
#if defined(__SSE2__) && defined(__x86_64__)
static inline const char *key_short(const struct walk *w, const char *p, struct outline *o)
{
    static const uint8_t keep[32] = {[0 ... 15] = 0xff};

    unsigned n = plain_step(p);
    if (UNLIKELY(n == 16 || memcmp(p + n, "\":", 2) != 0 || (unsigned char)p[n + 2] <= ' '))
        return NULL;
    __m128i v = _mm_and_si128(_mm_loadu_si128((const __m128i *)(const void *)p),
                              _mm_loadu_si128((const __m128i *)(const void *)(keep + 16 - n)));
    o->last[w->depth] = hash_short(o, n, (uint64_t)_mm_cvtsi128_si64(v),
                                   (uint64_t)_mm_cvtsi128_si64(_mm_unpackhi_epi64(v, v)));
    return p + n + 2;
}
#else
static inline const char *key_short(const struct walk *w, const char *p, struct outline *o)
{
    (void)w, (void)p, (void)o;
    return NULL;
}
#endif

static __attribute__((noinline)) const char *key_any(struct walk *w, const char *p,
                                                     struct outline *o)
{
    const char *from = p;

    if (!(p = string(w, p)))
        return NULL;
    o->last[w->depth] = hash_name(o, from, (size_t)(p - from) - 1);
    if (!(p = next(w, p, false)))
        return NULL;
    return LIKELY(*p == ':') ? next(w, p + 1, false) : fail(w, EVS_BAD_JSON, p);
}

static inline const char *key_outlined(struct walk *w, const char *p, struct outline *o)
{
    if (UNLIKELY(*p != '"'))
        return fail(w, EVS_BAD_JSON, p);
    const char *value = w->end - p > KEY_SHORT ? key_short(w, p + 1, o) : NULL;
    return LIKELY(value != NULL) ? value : key_any(w, p + 1, o);
}

/* From behind a value to the next one of an object, where nothing is unusual; else NULL, and nothing has happened. */
static inline const char *member_short(struct walk *w, const char *p, struct outline *o)
{
    if (w->end - p <= KEY_SHORT + 1 || memcmp(p, ",\"", 2) != 0 ||
        !(w->frame[w->depth] & FRAME_OBJECT))
        return NULL;
    return key_short(w, p + 2, o);
}

/* o: NULL, and compiled without it, where no outline is asked for. */
static inline __attribute__((always_inline)) const char *walk_value(struct walk *w, const char *p,
                                                                    struct outline *o)
{
    const unsigned base = w->depth;
    bool ended;

    for (;;) { /* p is at a value */
        bool object = *p == '{';
        ended = !object && *p != '[';
        if (ended) {
            p = o ? scalar_outlined(w, p, o) : scalar(w, p);
        } else {
            p = enter(w, p);
            if (o && p)
                outline_enter(o, w->depth, object);
            if (p && *p == (object ? '}' : ']')) {
                ended = true;
                if (o)
                    outline_leave(o, w);
                w->depth--;
                p++;
            } else if (p && object) {
                p = o ? key_outlined(w, p, o) : key(w, p);
            }
        }
        if (UNLIKELY(!p))
            return NULL;
        while (ended) { /* p is behind one */
            if (w->depth == base)
                return p;
            const char *member = o ? member_short(w, p, o) : NULL;
            if (LIKELY(member != NULL)) {
                p = member;
                break;
            }
            if (!(p = next(w, p, false)))
                return NULL;
            object = w->frame[w->depth] & FRAME_OBJECT;
            if (*p == ',') {
                ended = false;
                p = next(w, p + 1, w->transaction && w->depth == 1 && !object);
                if (p && object)
                    p = o ? key_outlined(w, p, o) : key(w, p);
                if (UNLIKELY(!p))
                    return NULL;
            } else if (LIKELY(*p == (object ? '}' : ']'))) {
                if (o)
                    outline_leave(o, w);
                w->depth--;
                p++;
            } else {
                return fail(w, EVS_BAD_JSON, p);
            }
        }
    }
}

static const char *value(struct walk *w, const char *p)
{
    return walk_value(w, p, NULL);
}

static const char *value_outlined(struct walk *w, const char *p, struct outline *o)
{
    return walk_value(w, p, o);
}

/* ---- public: validating ---------------------------------------------------------------------- */

static inline void walk_init(struct walk *w, const char *end, unsigned flags)
{
    w->end = w->at = end;
    w->why = EVS_OK_;
    w->depth = flags >> 8;
    w->any_lines = flags & SCAN_ANY_LINES;
    w->transaction = flags & SCAN_TRANSACTION;
    w->breaks = w->ends = false;
    w->frame[w->depth] = 0;
}

static inline ssize_t walk_result(const struct walk *w, const char *s, const char *p,
                                  struct evs_error *err)
{
    if (LIKELY(p != NULL))
        return p - s;
    return w->why == EVS_OK_ ? 0 : evs_fail(err, w->why, (uint64_t)(w->at - s));
}

ssize_t scan_value(const char *s, size_t n, unsigned flags, bool *ret_breaks, struct evs_error *err)
{
    struct walk w;

    if (n == 0)
        return 0;
    assert(flags >> 8 <= LIMIT_DEPTH);
    walk_init(&w, s + n, flags);
    const char *p = value(&w, s);
    if (p && ret_breaks)
        *ret_breaks = w.breaks;
    return walk_result(&w, s, p, err);
}

ssize_t scan_outline(const char *s, size_t n, unsigned flags, const struct scan_outliner *by,
                     bool *ret_breaks, uint64_t *ret_outline, struct evs_error *err)
{
    struct outline o;
    struct walk w;

    if (n == 0)
        return 0;
    assert(flags >> 8 <= LIMIT_DEPTH);
    walk_init(&w, s + n, flags);
    o.by = by;
    o.key0 = by->key[0];
    o.key1 = by->key[1];
    outline_enter(&o, w.depth, false);
    const char *p = value_outlined(&w, s, &o);
    if (p) {
        *ret_outline = o.h[w.depth];
        if (ret_breaks)
            *ret_breaks = w.breaks;
    }
    return walk_result(&w, s, p, err);
}

ssize_t scan_string(const char *s, size_t n, unsigned flags, bool *ret_escapes,
                    struct evs_error *err)
{
    const char *end = s + n, *p;
    struct walk w;

    assert(n > 0 && s[0] == '"');
    p = plain(s + 1, end);
    if (LIKELY(p < end && *p == '"')) {
        *ret_escapes = false;
        return p + 1 - s;
    }
    walk_init(&w, end, flags & SCAN_ANY_LINES);
    p = string(&w, s + 1);
    if (p)
        *ret_escapes = memchr(s, '\\', (size_t)(p - s)) != NULL;
    return walk_result(&w, s, p, err);
}

int scan_whole(const char *s, size_t n, struct evs_error *err)
{
    struct walk w;
    const char *p;

    walk_init(&w, s + n, SCAN_ANY_LINES);
    w.ends = true;
    p = next(&w, s, true);
    if (p)
        p = value(&w, p);
    while (p && p < w.end && scan_is_space(*p))
        p++;
    if (p && p < w.end)
        p = fail(&w, EVS_BAD_JSON, p);
    if (p)
        return 0;
    return evs_fail(err, w.why == EVS_OK_ ? EVS_UNFINISHED : w.why, (uint64_t)(w.at - s));
}

size_t scan_plain(const char *s, size_t n)
{
    return (size_t)(plain(s, s + n) - s);
}

bool scan_is_utf8(const char *s, size_t n)
{
    struct walk w;
    const char *p = s;

    walk_init(&w, s + n, 0);
    while (p && p < w.end)
        p = (unsigned char)*p < 0x80 ? p + 1 : utf8_run(&w, p);
    return p != NULL;
}
