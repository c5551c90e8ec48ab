/* SPDX-License-Identifier: MIT */
/* pins: (1) A set and what is in it never change while anybody has a reference; p->set has one.
 * (2) state changes with p->set, and a set that is in force is never older than the state that was loaded
 *     before it was taken.
 * (3) A set's pins are in the order of their serials; one that is replaced hands its serial on.
 * (4) A set's table has at least twice as many slots as pins, so that a search ends. */
#include "pins.h"

#include "index.h"
#include "limits.h"
#include "scan.h"
#include "share.h"

#include <errno.h>
#include <stdio.h>

struct pin_set {
    _Atomic uint32_t refs;
    uint32_t n, entities; /* entities: of n, those of directories that are enforced */
    uint32_t enforced;
    size_t mask;
    struct pin **table; /* mask + 1 slots, by hash */
    struct pin *v[];
};

/* ---- references ---- */

void pin_unref(struct pin *pin)
{
    if (!pin || atomic_fetch_sub_explicit(&pin->refs, 1, memory_order_acq_rel) != 1)
        return;
    js_free(pin->schema);
    free(pin);
}

struct pin *pin_ref(struct pin *pin)
{
    (void)atomic_fetch_add_explicit(&pin->refs, 1, memory_order_relaxed);
    return pin;
}

struct pin_set *pins_take(struct pins *p)
{
    (void)pthread_mutex_lock(&p->lock);
    struct pin_set *s = p->set;
    (void)atomic_fetch_add_explicit(&s->refs, 1, memory_order_relaxed);
    (void)pthread_mutex_unlock(&p->lock);
    return s;
}

void pins_give(struct pin_set *s)
{
    if (!s || atomic_fetch_sub_explicit(&s->refs, 1, memory_order_acq_rel) != 1)
        return;
    for (uint32_t i = 0; i < s->n; i++)
        pin_unref(s->v[i]);
    free(s->table);
    free(s);
}

/* ---- finding ---- */

static uint64_t hash_of(enum evs_dir_kind kind, struct slice name)
{
    return kind == EVS_DIR_TYPE ? index_type_hash(name) : index_entity_hash(name);
}

static struct pin *find(const struct pin_set *s, enum evs_dir_kind kind, struct slice name)
{
    uint64_t hash = hash_of(kind, name);

    for (size_t i = hash & s->mask; s->table[i]; i = (i + 1) & s->mask) {
        struct pin *pin = s->table[i];
        if (pin->hash == hash && pin->kind == kind && slice_eq(pin->name, name))
            return pin;
    }
    return NULL;
}

/* ---- judging ---- */

static void cannot_compile(struct js_error *why)
{
    *why = (struct js_error){.text = "the pinned schema can't be compiled by this program"};
}

/* As js_validate(). */
static int conforms(const struct pin *pin, struct slice data, struct js_error *why)
{
    if (LIKELY(pin->schema)) {
        int r = js_validate(pin->schema, data, why);
        return r == -E2BIG ? 0 : r;
    }
    if (why)
        cannot_compile(why);
    return 0;
}

/* Goes on from what was found so far: *warned. As pins_judge(). */
static int judge_by(struct pin *pin, struct slice data, bool *warned, struct pin_breach *ret)
{
    struct js_error why, *to = ret ? &why : NULL;

    if (!pin || pin->level == EVS_LEVEL_OFF || (pin->level == EVS_LEVEL_WARN && *warned))
        return 1;
    int r = conforms(pin, data, to);
    if (r != 0)
        return r;
    if (ret)
        *ret = (struct pin_breach){pin, why};
    *warned = pin->level == EVS_LEVEL_WARN;
    return *warned;
}

int pins_judge(const struct pin_set *s, struct slice entity, struct slice type, struct slice data,
               bool *warned, struct pin_breach *ret)
{
    static const struct slice null = {"null", 4};
    int r;

    *warned = false;
    if (!data.n)
        data = null;
    r = judge_by(find(s, EVS_DIR_TYPE, type), data, warned, ret);
    for (struct slice dir = entity; r == 1 && s->entities && dir.n;) {
        r = judge_by(find(s, EVS_DIR_ENTITY, dir), data, warned, ret);
        const char *slash = memrchr(dir.p, '/', dir.n);
        dir.n = slash ? (size_t)(slash - dir.p) : 0;
    }
    return r;
}

static const struct pin *find_enforced(const struct pin_set *s, enum evs_dir_kind kind,
                                       struct slice name)
{
    const struct pin *pin = s ? find(s, kind, name) : NULL;

    return pin && pin->level != EVS_LEVEL_OFF ? pin : NULL;
}

bool pins_same(const struct pin_set *old, const struct pin_set *now, struct slice entity,
               struct slice type)
{
    bool any = (old && old->entities) || now->entities;

    if (find_enforced(old, EVS_DIR_TYPE, type) != find_enforced(now, EVS_DIR_TYPE, type))
        return false;
    for (struct slice dir = entity; any && dir.n;) {
        if (find_enforced(old, EVS_DIR_ENTITY, dir) != find_enforced(now, EVS_DIR_ENTITY, dir))
            return false;
        const char *slash = memrchr(dir.p, '/', dir.n);
        dir.n = slash ? (size_t)(slash - dir.p) : 0;
    }
    return true;
}

void pins_count(struct pins *p, struct pin *pin, bool warned)
{
    (void)atomic_fetch_add_explicit(warned ? &p->warned : &p->refused, 1, memory_order_relaxed);
    (void)atomic_fetch_add_explicit(warned ? &pin->warned : &pin->refused, 1, memory_order_relaxed);
}

/* ---- one schema ---- */

struct word {
    const char *text;
    int value;
};

static const struct word levels[] = {
    {"strict", EVS_LEVEL_STRICT}, {"warn", EVS_LEVEL_WARN}, {"off", EVS_LEVEL_OFF}};
static const struct word compats[] = {
    {"none", PIN_ANY}, {"backward", PIN_BACKWARD}, {"forward", PIN_FORWARD}, {"full", PIN_FULL}};

static int parse_word(struct slice value, const struct word *words, size_t n, int *ret)
{
    for (size_t i = 0; i < n; i++) {
        struct slice is = {value.p + 1, value.n - 2};
        if (value.p[0] == '"' &&
            slice_eq(is, (struct slice){words[i].text, strlen(words[i].text)})) {
            *ret = words[i].value;
            return 0;
        }
    }
    return -EINVAL;
}

static int bad_word(struct js_error *why, const char *keyword, const char *allowed)
{
    *why = (struct js_error){.keyword = ""};
    (void)snprintf(why->keyword, sizeof why->keyword, "%s", keyword);
    (void)snprintf(why->schema_path, sizeof why->schema_path, "/%s", keyword);
    (void)snprintf(why->text, sizeof why->text, "must be %s", allowed);
    return -EINVAL;
}

static bool is_key(struct slice raw, const char *name)
{
    return raw.n == strlen(name) + 2 && memcmp(raw.p + 1, name, raw.n - 2) == 0;
}

/* Our own keywords, at the top of a schema that js_compile() accepted. */
static int read_keywords(struct pin *pin, struct js_error *why)
{
    struct slice text = pin->text, key, value;
    size_t pos = 0;
    int level = EVS_LEVEL_STRICT, compat = PIN_ANY;

    while (text.n && scan_is_space(*text.p))
        text.p++, text.n--;
    while (text.n && *text.p == '{' && scan_member(text, &pos, &key, &value) > 0) {
        if (is_key(key, "x-evfs-level") && parse_word(value, levels, ARRAY_LEN(levels), &level) < 0)
            return bad_word(why, "x-evfs-level", "\"strict\", \"warn\" or \"off\"");
        if (is_key(key, "x-evfs-compatibility") &&
            parse_word(value, compats, ARRAY_LEN(compats), &compat) < 0)
            return bad_word(why, "x-evfs-compatibility",
                            "\"none\", \"backward\", \"forward\" or \"full\"");
    }
    pin->level = (enum evs_level)level;
    pin->compat = (enum pin_compat)compat;
    return 0;
}

static struct pin *pin_alloc(const struct evs_dir *d, struct slice text, uid_t uid, int64_t time_us)
{
    struct pin *pin = malloc(sizeof *pin + d->n + text.n + 1);

    if (!pin)
        return NULL;
    char *name = (char *)(pin + 1), *copy = name + d->n;
    memcpy(name, d->name, d->n);
    memcpy(copy, text.p, text.n);
    copy[text.n] = '\0';
    *pin = (struct pin){.kind = d->kind,
                        .name = {name, d->n},
                        .text = {copy, text.n},
                        .uid = uid,
                        .time_us = time_us,
                        .refs = 1};
    pin->hash = hash_of(d->kind, pin->name);
    return pin;
}

int pin_new(const struct evs_dir *d, struct slice text, uid_t uid, int64_t time_us,
            struct pin **ret, struct js_error *why)
{
    static const struct js_options options = {.assert_format = true};
    struct pin *pin = pin_alloc(d, text, uid, time_us);

    if (!pin)
        return -ENOMEM;
    int r = js_compile(pin->text, &options, &pin->schema, why);
    if (r == 0)
        r = read_keywords(pin, why);
    if (r < 0) {
        pin_unref(pin);
        return r;
    }
    *ret = pin;
    return 0;
}

int pin_restore(const struct evs_dir *d, struct slice text, uid_t uid, int64_t time_us,
                struct pin **ret)
{
    struct js_error why;
    int r = pin_new(d, text, uid, time_us, ret, &why);

    if (r != -EINVAL && r != -E2BIG)
        return r;
    *ret = pin_alloc(d, text, uid, time_us); /* strict, and nothing conforms to it */
    return *ret ? 0 : -ENOMEM;
}

/* ---- sets ---- */

static struct pin_set *set_new(size_t n)
{
    size_t slots = 4;

    while (slots < 2 * n)
        slots *= 2;
    struct pin_set *s = calloc(1, sizeof *s + n * sizeof *s->v);
    if (!s)
        return NULL;
    s->table = calloc(slots, sizeof *s->table);
    if (!s->table) {
        free(s);
        return NULL;
    }
    s->refs = 1;
    s->mask = slots - 1;
    return s;
}

static void set_add(struct pin_set *s, struct pin *pin)
{
    size_t i = pin->hash & s->mask;

    while (s->table[i])
        i = (i + 1) & s->mask;
    s->table[i] = s->v[s->n++] = pin_ref(pin);
    s->enforced += pin->level != EVS_LEVEL_OFF;
    s->entities += pin->level != EVS_LEVEL_OFF && pin->kind == EVS_DIR_ENTITY;
}

static bool is_of(const struct pin *pin, const struct evs_dir *d)
{
    return pin->kind == d->kind && slice_eq(pin->name, (struct slice){d->name, d->n});
}

int pins_with(struct pins *p, const struct evs_dir *d, struct pin *pin, struct pin_set **ret)
{
    struct pin_set *s = set_new(p->set->n + 1);

    if (!s)
        return -ENOMEM;
    if (pin)
        pin->serial = 0;
    for (uint32_t i = 0; i < p->set->n; i++) {
        struct pin *old = p->set->v[i];
        if (!is_of(old, d)) {
            set_add(s, old);
        } else if (pin) {
            pin->serial = old->serial;
            set_add(s, pin);
        }
    }
    if (pin && !pin->serial) {
        pin->serial = ++p->serials;
        set_add(s, pin);
    }
    *ret = s;
    return 0;
}

int pins_of(struct pins *p, struct pin *const *v, size_t n, struct pin_set **ret)
{
    struct pin_set *s = set_new(n);

    if (!s)
        return -ENOMEM;
    for (size_t i = 0; i < n; i++) {
        v[i]->serial = ++p->serials;
        set_add(s, v[i]);
    }
    *ret = s;
    return 0;
}

static void count_known(struct pins *p)
{
    atomic_store_explicit(&p->known, p->set->n + (uint32_t)p->n_errors, memory_order_release);
}

void pins_publish(struct pins *p, struct pin_set *set)
{
    uint64_t state = atomic_load_explicit(&p->state, memory_order_relaxed);

    (void)pthread_mutex_lock(&p->lock);
    struct pin_set *old = p->set;
    p->set = set;
    count_known(p);
    (void)pthread_mutex_unlock(&p->lock);
    atomic_store_explicit(&p->state, ((state >> 1) + 1) << 1 | (set->enforced ? PINS_SOME : 0),
                          memory_order_release);
    pins_give(old);
}

struct usage {
    uint64_t n, bytes, memory;
};

static void add_usage(struct usage *u, const struct pin *pin)
{
    u->n++;
    u->bytes += pin->text.n;
    u->memory += pin->schema ? js_bytes(pin->schema) : 0;
}

int pins_room(struct pins *p, const struct evs_dir *d, const struct pin *pin, bool unbound)
{
    struct usage all = {0}, his = {0};

    add_usage(&all, pin);
    add_usage(&his, pin);
    for (uint32_t i = 0; i < p->set->n; i++) {
        const struct pin *other = p->set->v[i];
        if (is_of(other, d))
            continue;
        add_usage(&all, other);
        if (other->uid == pin->uid)
            add_usage(&his, other);
    }
    if (all.n > LIMIT_PINS || all.bytes > LIMIT_PINS_BYTES || all.memory > LIMIT_PINS_MEMORY)
        return -E2BIG;
    return unbound || (shares_allow(his.n, LIMIT_PINS - all.n) &&
                       shares_allow(his.bytes, LIMIT_PINS_BYTES - all.bytes) &&
                       shares_allow(his.memory, LIMIT_PINS_MEMORY - all.memory))
               ? 0
               : -EDQUOT;
}

int pins_init(struct pins *p, struct evs_error *err)
{
    p->change = p->lock = (pthread_mutex_t)PTHREAD_MUTEX_INITIALIZER;
    p->set = set_new(0);
    return p->set ? 0 : evs_fail(err, EVS_NO_MEMORY, EVS_NOWHERE);
}

void pins_done(struct pins *p)
{
    for (size_t i = 0; i < p->n_errors; i++)
        free(p->errors[i].text);
    free(p->errors);
    pins_give(p->set);
    p->errors = NULL;
    p->n_errors = 0;
    p->set = NULL;
}

/* ---- looking ---- */

static bool knows_none(struct pins *p)
{
    return atomic_load_explicit(&p->known, memory_order_acquire) == 0;
}

struct pin *pins_get(struct pins *p, const struct evs_dir *d)
{
    if (knows_none(p))
        return NULL;
    (void)pthread_mutex_lock(&p->lock);
    struct pin *pin = find(p->set, d->kind, (struct slice){d->name, d->n});
    if (pin)
        (void)pin_ref(pin);
    (void)pthread_mutex_unlock(&p->lock);
    return pin;
}

struct pin *pins_next_type(struct pins *p, uint32_t after)
{
    struct pin *found = NULL;

    if (knows_none(p))
        return NULL;
    (void)pthread_mutex_lock(&p->lock);
    const struct pin_set *s = p->set;
    uint32_t i = 0, to = s->n;
    while (i < to) {
        uint32_t mid = i + (to - i) / 2;
        if (s->v[mid]->serial <= after)
            i = mid + 1;
        else
            to = mid;
    }
    for (; i < s->n && !found; i++)
        found = s->v[i]->kind == EVS_DIR_TYPE ? pin_ref(s->v[i]) : NULL;
    (void)pthread_mutex_unlock(&p->lock);
    return found;
}

bool pins_any_at(struct pins *p, const struct evs_dir *d)
{
    bool any = false;

    if (knows_none(p))
        return false;
    struct pin_set *s = pins_take(p);
    for (uint32_t i = 0; i < s->n && !any; i++) {
        struct slice name = s->v[i]->name;
        any = s->v[i]->kind == d->kind && name.n >= d->n && memcmp(name.p, d->name, d->n) == 0 &&
              (name.n == d->n || (d->kind == EVS_DIR_ENTITY && name.p[d->n] == '/'));
    }
    pins_give(s);
    return any;
}

uint32_t pins_number(struct pins *p)
{
    (void)pthread_mutex_lock(&p->lock);
    uint32_t n = p->set->n;
    (void)pthread_mutex_unlock(&p->lock);
    return n;
}

uint32_t pins_broken(struct pins *p)
{
    uint32_t n = 0;

    if (knows_none(p))
        return 0;
    struct pin_set *s = pins_take(p);
    for (uint32_t i = 0; i < s->n; i++)
        n += !s->v[i]->schema;
    pins_give(s);
    return n;
}

/* ---- refusals ---- */

static struct pin_error *find_error(struct pins *p, const struct evs_dir *d)
{
    for (size_t i = 0; i < p->n_errors; i++)
        if (p->errors[i].kind == d->kind &&
            slice_eq(p->errors[i].name, (struct slice){d->name, d->n}))
            return &p->errors[i];
    return NULL;
}

static void drop_error(struct pins *p, struct pin_error *e)
{
    free(e->text);
    p->n_errors--;
    memmove(e, e + 1, (size_t)(p->errors + p->n_errors - e) * sizeof *e);
}

static void add_error(struct pins *p, const struct evs_dir *d, const char *text, int64_t time_us)
{
    size_t n = strlen(text) + 1;

    if (!p->errors)
        p->errors = calloc(LIMIT_PIN_ERRORS, sizeof *p->errors);
    char *copy = p->errors ? malloc(n + d->n) : NULL;
    if (!copy)
        return;
    if (p->n_errors == LIMIT_PIN_ERRORS)
        drop_error(p, p->errors);
    memcpy(copy, text, n);
    memcpy(copy + n, d->name, d->n);
    p->errors[p->n_errors++] = (struct pin_error){
        .kind = d->kind, .name = {copy + n, d->n}, .text = copy, .time_us = time_us};
}

void pins_note(struct pins *p, const struct evs_dir *d, const char *text, int64_t time_us)
{
    (void)pthread_mutex_lock(&p->lock);
    struct pin_error *e = find_error(p, d);
    if (e)
        drop_error(p, e);
    if (text)
        add_error(p, d, text, time_us);
    count_known(p);
    (void)pthread_mutex_unlock(&p->lock);
}

char *pins_noted(struct pins *p, const struct evs_dir *d, int64_t *ret_us)
{
    if (knows_none(p))
        return NULL;
    (void)pthread_mutex_lock(&p->lock);
    struct pin_error *e = find_error(p, d);
    char *text = e ? strdup(e->text) : NULL;
    if (e && ret_us)
        *ret_us = e->time_us;
    (void)pthread_mutex_unlock(&p->lock);
    return text;
}
