/* SPDX-License-Identifier: MIT */
/* An event as a writer gives it: one walk over its members, which validates each value where it
 * finds it.
 *
 * (1) Members come in any order, each name once, whatever its spelling: seen has a bit a field.
 * (2) Whether the object is a CloudEvent shows only when "specversion" is met, perhaps last. Until
 *     then what only a CloudEvent may have is remembered (cloud, extras); finish_cloud() decides.
 * (3) Slices of the result point into the input, or into the scratch where a name had escapes or
 *     was composed. One byte of input makes at most some 10 bytes of scratch.
 * (4) A failure is reported at the first byte that shows it, so a value that ends too early may be
 *     refused at once: nothing that follows could mend it. */
#include "event.h"

#include "clock.h"
#include "event_names.h"
#include "limits.h"
#include "outline.h"
#include "scan.h"
#include "scan_plain.h"

#include <assert.h>
#include <errno.h>

#define EXTRAS_FEW 16u /* as many need no scratch */
#define NO_KEY     UINT32_MAX

struct parse {
    const char *s, *end;
    unsigned flags;                      /* for the values */
    bool may_break;                      /* the line rule: this object may span lines */
    const struct scan_outliner *outline; /* NULL: not asked for */
    struct scratch *sc;
    struct evs_error *err;
    uint32_t seen;              /* bit f: field f has been met */
    uint32_t unknown;           /* the first key that only a CloudEvent may have; NO_KEY */
    uint32_t own;               /* the first that a CloudEvent may not have; NO_KEY */
    struct slice cloud[4];      /* raw values of F_SPECVERSION ... F_DATA_BASE64 */
    struct event_extra *extras; /* few, or scratch */
    uint32_t n_extras, cap_extras;
    ssize_t result; /* of a walk that stopped; 0: unfinished */
    struct event ev;
    struct event_extra few[EXTRAS_FEW];
};

/* ---- members --------------------------------------------------------------------------------- */

static ssize_t fail(struct parse *p, enum evs_reason why, const char *at)
{
    return evs_fail(p->err, why, (uint64_t)(at - p->s));
}

/* A scan of the bytes at v failed with r: make err's position one in the event. */
static ssize_t scan_failed(struct parse *p, const char *v, ssize_t r)
{
    if (r < 0 && p->err)
        p->err->pos += (uint64_t)(v - p->s);
    return r;
}

static ssize_t take_raw(struct parse *p, const char *v, struct slice *ret, bool *ret_breaks)
{
    ssize_t r = scan_value(v, (size_t)(p->end - v), p->flags, ret_breaks, p->err);

    *ret = (struct slice){v, (size_t)r};
    return LIKELY(r > 0) ? r : scan_failed(p, v, r);
}

/* The value at v is not the string that it should be: null is not given, anything else wrong. */
static ssize_t not_string(struct parse *p, const char *v)
{
    struct slice value;
    ssize_t r = take_raw(p, v, &value, NULL);

    return r <= 0 || *v == 'n' ? r : fail(p, EVS_BAD_FIELD, v);
}

/* A string, decoded; *ret_odd: it held what names refuse. */
static ssize_t take_string(struct parse *p, const char *v, struct slice *ret, bool *ret_escape,
                           bool *ret_odd)
{
    bool escapes;
    ssize_t r = scan_string(v, (size_t)(p->end - v), p->flags, &escapes, p->err);

    if (r <= 0)
        return scan_failed(p, v, r);
    *ret = (struct slice){v + 1, (size_t)r - 2};
    *ret_escape = *ret_odd = false;
    if (UNLIKELY(escapes)) {
        char *out = scratch_get(p->sc, (size_t)r);
        if (!out)
            return fail(p, EVS_NO_MEMORY, v);
        *ret = (struct slice){out, scan_decode((struct slice){v, (size_t)r}, out, ret_odd)};
        *ret_escape = event_needs_escape(*ret);
    }
    return r;
}

static ssize_t take_any_name(struct parse *p, const char *v, size_t limit, struct slice *ret,
                             bool *ret_escape)
{
    bool odd;

    if (UNLIKELY(*v != '"'))
        return not_string(p, v);
    ssize_t r = take_string(p, v, ret, ret_escape, &odd);
    if (LIKELY(r > 0)) {
        if (UNLIKELY(ret->n == 0 || odd))
            return fail(p, EVS_BAD_NAME, v);
        if (UNLIKELY(ret->n > limit))
            return fail(p, EVS_NAME_TOO_LONG, v);
    }
    return r;
}

/* Most names are plain, and need no second look. */
static inline ssize_t take_name(struct parse *p, const char *v, size_t limit, struct slice *ret,
                                bool *ret_escape)
{
    if (LIKELY(*v == '"')) {
        const char *end = plain(v + 1, p->end);
        const size_t n = (size_t)(end - v) - 1;
        if (LIKELY(end < p->end && *end == '"' && n > 0 && n <= limit)) {
            *ret = (struct slice){v + 1, n};
            *ret_escape = false;
            return (ssize_t)n + 2;
        }
    }
    return take_any_name(p, v, limit, ret, ret_escape);
}

static ssize_t take_time(struct parse *p, const char *v)
{
    bool escape, odd;

    if (*v != '"')
        return not_string(p, v);
    ssize_t r = take_string(p, v, &p->ev.time, &escape, &odd);
    if (r > 0 && clock_check(p->ev.time) < 0)
        return fail(p, EVS_BAD_TIME, v);
    return r;
}

/* Digits only: 1e3 and 1.0 are integers as well, but nobody means them. */
static ssize_t take_expected(struct parse *p, const char *v)
{
    struct slice digits;
    ssize_t r = take_raw(p, v, &digits, NULL);
    uint64_t x = 0;

    if (r <= 0 || *v == 'n')
        return r;
    for (ssize_t i = 0; i < r; i++) {
        if (v[i] < '0' || v[i] > '9' || __builtin_mul_overflow(x, 10, &x) ||
            __builtin_add_overflow(x, (uint64_t)(v[i] - '0'), &x))
            return fail(p, EVS_BAD_FIELD, v);
    }
    p->ev.expected = x;
    return x == EVENT_ANY_VERSION ? fail(p, EVS_BAD_FIELD, v) : r;
}

static ssize_t take_data(struct parse *p, const char *v)
{
    struct event *ev = &p->ev;

    if (!p->outline)
        return take_raw(p, v, &ev->data, &ev->data_breaks);
    ssize_t r = scan_outline(v, (size_t)(p->end - v), p->flags, p->outline, &ev->data_breaks,
                             &ev->outline, p->err);
    ev->data = (struct slice){v, (size_t)r};
    return LIKELY(r > 0) ? r : scan_failed(p, v, r);
}

static ssize_t take_meta(struct parse *p, const char *v)
{
    ssize_t r = take_raw(p, v, &p->ev.meta, &p->ev.meta_breaks);

    if (r > 0 && *v == 'n')
        p->ev.meta = (struct slice){0};
    return r > 0 && *v != '{' && *v != 'n' ? fail(p, EVS_BAD_FIELD, v) : r;
}

/* What only a CloudEvent may have, or what is ignored but in one: remember it. */
static ssize_t take_extra(struct parse *p, const char *v, struct slice key, const char *key_at)
{
    struct slice value;
    ssize_t r = take_raw(p, v, &value, NULL);

    if (r <= 0)
        return r;
    if (p->n_extras == p->cap_extras) {
        char *more = scratch_get(p->sc, 2 * p->cap_extras * sizeof *p->extras);
        if (!more)
            return fail(p, EVS_NO_MEMORY, v);
        memcpy(more, p->extras, p->n_extras * sizeof *p->extras);
        p->extras = (struct event_extra *)(void *)more;
        p->cap_extras *= 2;
    }
    p->extras[p->n_extras++] = (struct event_extra){
        key.p, (uint32_t)key.n, (uint32_t)(key_at - p->s), (uint32_t)(v - p->s), (uint32_t)r};
    return r;
}

static ssize_t take_value(struct parse *p, unsigned f, const char *v, struct slice key,
                          const char *key_at)
{
    struct event *ev = &p->ev;

    switch (f) {
    case F_ID:
        return take_name(p, v, LIMIT_ID_BYTES, &ev->id, &ev->id_escape);
    case F_TIME:
        return take_time(p, v);
    case F_ENTITY:
        return take_name(p, v, LIMIT_ENTITY_BYTES, &ev->entity, &ev->entity_escape);
    case F_TYPE:
        return take_name(p, v, LIMIT_TYPE_BYTES, &ev->type, &ev->type_escape);
    case F_META:
        return take_meta(p, v);
    case F_DATA:
        return take_data(p, v);
    case F_EXPECTED:
        return take_expected(p, v);
    case F_SPECVERSION:
    case F_SOURCE:
    case F_SUBJECT:
    case F_DATA_BASE64:
        return take_raw(p, v, &p->cloud[f - F_SPECVERSION], NULL);
    default:
        return take_extra(p, v, key, key_at);
    }
}

/* ---- CloudEvents ----------------------------------------------------------------------------- */

static ssize_t refuse(struct parse *p, enum evs_reason why, uint64_t pos, const char *text)
{
    return evs_fail_at(p->err, why, pos, "CloudEvent: %s", text);
}

/* The place of a key that is given twice, or NO_KEY; without memory, 0: no key stands there. */
static uint32_t extra_twice(struct parse *p)
{
    struct event_extra *x = p->extras;
    size_t bytes = p->n_extras * sizeof *x;

    x = (struct event_extra *)(void *)scratch_get(p->sc, bytes); /* a copy: meta keeps the order */
    if (!x)
        return 0;
    memcpy(x, p->extras, bytes);
    qsort(x, p->n_extras, sizeof *x, event_extra_order);
    for (uint32_t i = 1; i < p->n_extras; i++) {
        if (x[i].key_n == x[i - 1].key_n && memcmp(x[i].key, x[i - 1].key, x[i].key_n) == 0)
            return x[i].key_pos;
    }
    return NO_KEY;
}

/* Attributes that say what data is. */
static ssize_t check_attribute(struct parse *p, const struct event_extra *x, bool base64)
{
    const char *v = p->s + x->value;
    struct slice text = {0};
    bool escape, odd;

    if (!event_is_attribute_value((struct slice){v, x->value_n}))
        return refuse(p, EVS_BAD_FIELD, x->value,
                      "an attribute is a string, an int32 or a boolean");
    if (base64 && event_extra_is(x, "datacontentencoding"))
        return fail(p, EVS_GIVEN_TWICE, p->s + x->key_pos);
    if (!event_extra_is(x, "datacontenttype") && !event_extra_is(x, "dataschema"))
        return 0;
    if (*v == '"' && take_string(p, v, &text, &escape, &odd) < 0)
        return -ENOMEM; /* the only reason left: the string is known to be one */
    if (text.n == 0 || (event_extra_is(x, "datacontenttype") && !event_is_media_type(text)))
        return refuse(p, EVS_BAD_FIELD, x->value, "not a media type, or an empty schema");
    return 0;
}

static char *put(char *out, const char *p, size_t n)
{
    memcpy(out, p, n);
    return out + n;
}
#define PUT(out, text) put(out, text, sizeof text - 1)

/* Attributes and extensions that are given, in their order, as one object. Names need no
 * escapes, values no rewriting. */
static ssize_t cloud_meta(struct parse *p, bool base64)
{
    static const char encoding[] = "\"datacontentencoding\":\"base64\",";
    size_t bound = 2 + sizeof encoding;
    char *meta, *out;

    for (uint32_t i = 0; i < p->n_extras; i++) {
        if (p->s[p->extras[i].value] == 'n')
            continue;
        ssize_t r = check_attribute(p, &p->extras[i], base64);
        if (r < 0)
            return r;
        bound += p->extras[i].key_n + p->extras[i].value_n + sizeof "\"\":,";
    }
    meta = scratch_get(p->sc, bound);
    if (!meta)
        return fail(p, EVS_NO_MEMORY, p->s);
    out = PUT(meta, "{");
    for (uint32_t i = 0; i < p->n_extras; i++) {
        const struct event_extra *x = &p->extras[i];
        if (p->s[x->value] == 'n')
            continue;
        out = put(PUT(out, "\""), x->key, x->key_n);
        out = PUT(put(PUT(out, "\":"), p->s + x->value, x->value_n), ",");
    }
    if (base64)
        out = PUT(out, encoding);
    if (out == meta + 1)
        return 0;  /* none */
    out[-1] = '}'; /* the last comma */
    p->ev.meta = (struct slice){meta, (size_t)(out - meta)};
    return 0;
}

/* entity = source/subject, or source; without a '/' that begins it. */
static ssize_t cloud_entity(struct parse *p, const char *source, const char *subject)
{
    struct event *ev = &p->ev;
    struct slice sub = {0};
    bool escape = false;
    ssize_t r = take_name(p, source, LIMIT_ENTITY_BYTES + 1, &ev->entity, &ev->entity_escape);

    if (r > 0 && subject)
        r = take_name(p, subject, LIMIT_ENTITY_BYTES, &sub, &escape);
    if (r < 0)
        return r;
    if (!ev->entity.p)
        return refuse(p, EVS_NOT_EVENT, 0, "source is null");
    if (sub.p) {
        char *both = scratch_get(p->sc, ev->entity.n + 1 + sub.n);
        if (!both)
            return fail(p, EVS_NO_MEMORY, p->s);
        (void)put(PUT(put(both, ev->entity.p, ev->entity.n), "/"), sub.p, sub.n);
        ev->entity = (struct slice){both, ev->entity.n + 1 + sub.n};
        ev->entity_escape |= escape;
    }
    if (ev->entity.p[0] == '/')
        ev->entity = (struct slice){ev->entity.p + 1, ev->entity.n - 1};
    if (ev->entity.n == 0 || ev->entity.n > LIMIT_ENTITY_BYTES)
        return fail(p, ev->entity.n ? EVS_NAME_TOO_LONG : EVS_BAD_NAME, source);
    return 0;
}

static ssize_t finish_cloud(struct parse *p)
{
    const char *spec = p->cloud[0].p, *source = p->cloud[F_SOURCE - F_SPECVERSION].p;
    const char *subject = p->cloud[F_SUBJECT - F_SPECVERSION].p;
    const struct slice base64 = p->cloud[F_DATA_BASE64 - F_SPECVERSION];
    const bool encoded = base64.p && *base64.p == '"';
    struct slice version = {0};
    bool escape;

    if (take_name(p, spec, 3, &version, &escape) < 0 ||
        !slice_eq(version, (struct slice){"1.0", 3}))
        return refuse(p, EVS_BAD_FIELD, (uint64_t)(spec - p->s), "specversion is not \"1.0\"");
    if (p->own != NO_KEY)
        return refuse(p, p->seen & 1u << F_ENTITY ? EVS_GIVEN_TWICE : EVS_UNKNOWN_NAME, p->own,
                      "source, type, time, data and extensions are its names");
    if (!p->ev.id.p || !p->ev.type.p || !source)
        return refuse(p, EVS_NOT_EVENT, 0, "id, source and type are required");
    ssize_t r = cloud_entity(p, source, subject);
    if (r < 0)
        return r;
    if (base64.p && (p->seen & 1u << F_DATA))
        return fail(p, EVS_GIVEN_TWICE, base64.p);
    if (base64.p && !encoded && *base64.p != 'n')
        return fail(p, EVS_BAD_FIELD, base64.p);
    if (encoded) {
        p->ev.data = base64;
        p->ev.outline = 0;
    }
    uint32_t twice = extra_twice(p);
    if (twice != NO_KEY)
        return fail(p, twice ? EVS_GIVEN_TWICE : EVS_NO_MEMORY, p->s + twice);
    return cloud_meta(p, encoded);
}

/* ---- the object ------------------------------------------------------------------------------ */

/* Functions here return where to go on, or NULL with the result in p->result. */
static const char *stop(struct parse *p, ssize_t result)
{
    p->result = result;
    return NULL;
}

/* White space between the event's own tokens. opening: behind its brace, where a LF allows
 * others. */
static __attribute__((noinline)) const char *blanks(struct parse *p, const char *v, bool opening)
{
    const char *end = p->end;
    bool cr = false;

    for (; v < end; v++) {
        if (*v == '\n' && opening)
            p->may_break = true;
        if (*v == '\r' && opening)
            cr = true;
        else if (*v == '\n' || *v == '\r') {
            if (!p->may_break)
                return stop(p, fail(p, EVS_LINE_BREAK, v));
        } else if (*v != ' ' && *v != '\t') {
            return cr && !p->may_break ? stop(p, fail(p, EVS_LINE_BREAK, v)) : v;
        }
    }
    return stop(p, 0);
}

static inline const char *next(struct parse *p, const char *v)
{
    return LIKELY(v < p->end && (unsigned char)*v > ' ') ? v : blanks(p, v, false);
}

/* A key that is spelled with escapes, or unknown, or close to the end. */
static const char *odd_key(struct parse *p, const char *at, struct slice *key, unsigned *ret_field)
{
    char room[EVENT_KEY_ROOM] = {0};
    bool escape, odd;
    size_t n = 0;
    ssize_t r = take_string(p, at, key, &escape, &odd);

    if (r <= 0)
        return stop(p, r);
    *ret_field = F_OTHER;
    if (key->n < sizeof room) {
        *put(room, key->p, key->n) = '"';
        *ret_field = event_spelling(room, &n);
    }
    if (n != key->n)
        *ret_field = F_OTHER;
    if (*ret_field == F_OTHER && !event_is_attribute(*key))
        return stop(p, fail(p, EVS_UNKNOWN_NAME, at)); /* not even in a CloudEvent */
    return at + r;
}

/* Behind the colon that follows a key, v behind that key; to the value. */
static const char *colon(struct parse *p, const char *v)
{
    if (!(v = next(p, v)))
        return NULL;
    return *v == ':' ? next(p, v + 1) : stop(p, fail(p, EVS_BAD_JSON, v));
}

static inline const char *member(struct parse *p, const char *at)
{
    struct slice key = {at + 1, 0};
    unsigned f = F_OTHER;
    const char *v;

    if (*at != '"')
        return stop(p, fail(p, EVS_BAD_JSON, at));
    if (LIKELY(p->end - at > EVENT_KEY_ROOM))
        f = event_spelling(at + 1, &key.n);
    const bool known = f != F_OTHER; /* then its colon and more is within the room */
    v = LIKELY(known) ? at + key.n + 2 : odd_key(p, at, &key, &f);
    if (!v)
        return NULL;
    uint32_t bit = f == F_OTHER ? 0 : 1u << (f & 0xff);
    if (p->seen & bit)
        return stop(p, fail(p, EVS_GIVEN_TWICE, at));
    p->seen |= bit;
    if (UNLIKELY((f & F_OWN) && p->own == NO_KEY))
        p->own = (uint32_t)(at - p->s);
    f &= 0xff;
    if (UNLIKELY((f == F_OTHER || (f > F_SPECVERSION && f < F_SEQ)) && p->unknown == NO_KEY))
        p->unknown = (uint32_t)(at - p->s);
    if (LIKELY(known && *v == ':' && (unsigned char)v[1] > ' '))
        v++;
    else if (!(v = colon(p, v)))
        return NULL;
    ssize_t r = take_value(p, f, v, key, at);
    if (LIKELY(r > 0))
        return v + r;
    return stop(p, r);
}

/* All members; v is behind the opening brace. To behind the closing one. */
static const char *members(struct parse *p, const char *v)
{
    v = v < p->end && (unsigned char)*v > ' ' ? v : blanks(p, v, true);
    if (v && *v == '}')
        return v + 1;
    while (v) {
        v = member(p, v);
        if (v && p->end - v > 2 && memcmp(v, ",\"", 2) == 0) {
            v++;
            continue;
        }
        if (v)
            v = next(p, v);
        if (!v || *v == '}')
            return v ? v + 1 : NULL;
        v = *v == ',' ? next(p, v + 1) : stop(p, fail(p, EVS_BAD_JSON, v));
    }
    return NULL;
}

/* Field by field, in wide moves: of all at once the compiler makes a slow "rep stos". */
static inline void event_init(struct event *ev)
{
    static_assert(sizeof *ev == 128, "every field is set");
    ev->entity = ev->type = ev->id = ev->time = ev->meta = ev->data = (struct slice){0};
    ev->expected = EVENT_ANY_VERSION;
    ev->outline = 0;
    ev->pos = 0;
    ev->entity_escape = ev->type_escape = ev->id_escape = false;
    ev->meta_breaks = ev->data_breaks = false;
}

ssize_t event_scan(const char *s, size_t n, unsigned flags, struct scratch *sc, struct event *ret,
                   struct evs_error *err)
{
    struct parse p;
    const char *v;

    if (n == 0)
        return 0;
    assert(flags >> 8 < LIMIT_DEPTH);
    p.s = s;
    p.end = s + MIN(n, LIMIT_VALUE_BYTES);
    p.flags = (flags & SCAN_ANY_LINES) | SCAN_DEPTH((flags >> 8) + 1);
    p.may_break = flags & SCAN_ANY_LINES;
    p.outline = flags & EVENT_OUTLINE ? outline_by() : NULL;
    p.sc = sc;
    p.err = err;
    p.seen = 0;
    p.result = 0;
    p.unknown = p.own = NO_KEY;
    p.extras = p.few;
    p.n_extras = 0;
    p.cap_extras = EXTRAS_FEW;
    memset(p.cloud, 0, sizeof p.cloud);
    event_init(&p.ev);
    if (*s != '{')
        return fail(&p, strchr("[\"-0123456789tfn", *s) && *s ? EVS_NOT_EVENT : EVS_BAD_JSON, s);

    v = members(&p, s + 1);
    if (UNLIKELY(!v)) /* what is unfinished within the limit can't end within it */
        return p.result == 0 && s + n > p.end ? fail(&p, EVS_TOO_LARGE, p.end) : p.result;
    if (UNLIKELY(p.seen & 1u << F_SPECVERSION))
        p.result = finish_cloud(&p);
    else if (UNLIKELY(p.unknown != NO_KEY))
        p.result = fail(&p, EVS_UNKNOWN_NAME, s + p.unknown);
    if (UNLIKELY(p.result < 0))
        return p.result;
    *ret = p.ev;
    return v - s;
}
