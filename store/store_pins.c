/* SPDX-License-Identifier: MIT */
/* store_pins: pinned schemas as evstore.h shows them.
 * (1) meta.db and memory change in one order, under pins.change: first meta.db, durably, then, with what can't
 *     fail any more, memory.
 * (2) Memory changes under the commit lock, which ingest.c, (4), stands on. */
#include "store_pins.h"
#include "evolve.h"
#include "limits.h"
#include "meta.h"
#include "scan.h"
#include "store_owners.h"

#include <errno.h>
#include <stdio.h>

static_assert(EVS_SCHEMA_BYTES == LIMIT_SCHEMA_BYTES, "one limit, two names");

#define REFUSAL_BYTES 8192 /* of a reason, what is kept */

/* ---- opening ---- */

struct load_pins {
    struct evs_store *st;
    struct pin **v; /* owned, as are the references */
    size_t n, cap;
};

static int load_pin(void *arg, const struct meta_pin *p) UNANALYSED;
static int load_pin(void *arg, const struct meta_pin *p)
{
    struct load_pins *l = arg;
    const struct evs_dir d = {p->kind, p->name.p, p->name.n};

    if (p->kind == EVS_DIR_ENTITY && owners_mark(l->st, p->name, NULL) < 0)
        return -EMSGSIZE;
    if (l->n == l->cap) {
        size_t cap = l->cap ? 2 * l->cap : 16;
        struct pin **v = reallocarray(l->v, cap, sizeof *v);
        if (!v)
            return -ENOMEM;
        l->v = v;
        l->cap = cap;
    }
    int r = pin_restore(&d, p->schema, p->uid, p->time_us, &l->v[l->n]);
    l->n += r == 0;
    return r;
}

int pins_load(struct evs_store *st, struct evs_error *err)
{
    struct load_pins l = {.st = st};
    struct pin_set *set;
    struct evs_error why = {.why = EVS_OK_};
    int r = meta_each_pin(st->meta, load_pin, &l, &why);

    if (r == 0 && l.n && (r = pins_of(&st->pins, l.v, l.n, &set)) == 0)
        pins_publish(&st->pins, set);
    for (size_t i = 0; i < l.n; i++)
        pin_unref(l.v[i]);
    free(l.v);
    if (r == -EMSGSIZE)
        return evs_fail_at(err, EVS_TOO_MANY, EVS_NOWHERE, "names");
    if (r < 0)
        return why.why == EVS_OK_ ? evs_fail(err, EVS_NO_MEMORY, EVS_NOWHERE)
                                  : evs_fail_as(err, &why);
    return 0;
}

/* ---- why a schema is refused ---- */

/* Into text, for a person: where in the schema, and what. */
static int refuse_json(struct slice schema, const struct evs_error *why, char *text,
                       struct evs_error *err)
{
    size_t line = 1, column = 1;

    for (size_t i = 0; i < schema.n && i < why->pos; i++) {
        column = schema.p[i] == '\n' ? 1 : column + 1;
        line += schema.p[i] == '\n';
    }
    (void)snprintf(text, REFUSAL_BYTES, "line %zu, column %zu: %s\n", line, column,
                   schema.n ? evs_reason_text(why->why) : "the file is empty (rm unpins)");
    return evs_fail_at(err, EVS_BAD_SCHEMA, why->pos, "line %zu, column %zu: %s", line, column,
                       evs_reason_text(why->why));
}

static int refuse_schema(const struct js_error *why, char *text, struct evs_error *err)
{
    (void)snprintf(text, REFUSAL_BYTES, "at #%s: %s\n", why->schema_path, why->text);
    return evs_fail_at(err, EVS_BAD_SCHEMA, EVS_NOWHERE, "at #%.60s: %.90s", why->schema_path,
                       why->text);
}

static int refuse(const struct evs_error *why, char *text, struct evs_error *err)
{
    (void)evs_error_format(why, text, REFUSAL_BYTES - 1);
    (void)strcat(text, "\n");
    return evs_fail_as(err, why);
}

static int refuse_memory(char *text, struct evs_error *err)
{
    struct evs_error why;

    (void)evs_fail(&why, EVS_NO_MEMORY, EVS_NOWHERE);
    return refuse(&why, text, err);
}

static int compile(const struct evs_dir *d, struct slice schema, uid_t uid, int64_t now,
                   struct pin **ret, char *text, struct evs_error *err)
{
    struct js_error js = {.text = ""};
    struct evs_error why;

    if (schema.n > LIMIT_SCHEMA_BYTES) {
        (void)evs_fail_at(&why, EVS_TOO_LARGE, EVS_NOWHERE, "the schema has %zu bytes", schema.n);
        return refuse(&why, text, err);
    }
    if (scan_whole(schema.p, schema.n, &why) < 0)
        return refuse_json(schema, &why, text, err);
    int r = pin_new(d, schema, uid, now, ret, &js);
    if (r == -ENOMEM)
        return refuse_memory(text, err);
    return r < 0 ? refuse_schema(&js, text, err) : 0;
}

/* ---- changing ---- */

static int mark(struct evs_store *st, const struct evs_dir *d, struct evs_error *err)
{
    int r = 0;

    if (d->kind != EVS_DIR_ENTITY)
        return 0;
    (void)pthread_mutex_lock(&st->owner_lock);
    ingest_lock(st);
    r = owners_mark(st, (struct slice){d->name, d->n}, err);
    ingest_unlock(st);
    (void)pthread_mutex_unlock(&st->owner_lock);
    return r;
}

/* If nothing is pinned to d. */
static void unmark(struct evs_store *st, const struct evs_dir *d)
{
    struct slice id = {d->name, d->n};
    struct pin *pin = pins_get(&st->pins, d);
    struct evs_owner own;

    (void)pthread_mutex_lock(&st->owner_lock);
    if (d->kind == EVS_DIR_ENTITY && !pin && !owners_get(&st->owners, d, &own))
        owners_unmark(st, index_find_entity(st->ix, id, index_entity_hash(id)));
    (void)pthread_mutex_unlock(&st->owner_lock);
    pin_unref(pin);
}

/* Put pin (NULL: none) in the place of what d has. */
static int put(struct evs_store *st, const struct evs_dir *d, struct pin *pin,
               struct evs_error *err)
{
    struct pin_set *set;
    int r;

    if (pin && (r = mark(st, d, err)) < 0)
        return r;
    if (pins_with(&st->pins, d, pin, &set) < 0) {
        unmark(st, d);
        return evs_fail(err, EVS_NO_MEMORY, EVS_NOWHERE);
    }
    if (pin)
        r = meta_set_pin(st->meta,
                         &(struct meta_pin){.kind = d->kind,
                                            .name = pin->name,
                                            .uid = pin->uid,
                                            .time_us = pin->time_us,
                                            .schema = pin->text},
                         err);
    else
        r = meta_clear_pin(st->meta, d, err);
    if (r < 0) {
        pins_give(set);
        unmark(st, d);
        return r;
    }
    ingest_lock(st);
    pins_publish(&st->pins, set);
    ingest_unlock(st);
    if (pin)
        (void)mark(st, d,
                   NULL); /* again: an owner that was taken away meanwhile took the mark along */
    else
        unmark(st, d);
    return 0;
}

static int check_room(struct evs_store *st, const struct evs_dir *d, const struct pin *pin,
                      struct evs_error *err)
{
    bool unbound = owners_is_free(&st->owners, pin->uid);
    int r = pins_room(&st->pins, d, pin, unbound);

    if (r == 0)
        return 0;
    return evs_fail_at(err, EVS_TOO_MANY, EVS_NOWHERE, "pinned schemas%s",
                       r == -EDQUOT ? " by one user" : "");
}

/* Does pin hold what old asks of its successor? The reasons why not go into text. */
static int check_compatible(const struct pin *old, const struct pin *pin, char *text,
                            struct evs_error *err)
{
    static const char *const modes[] = {"none", "backward", "forward", "full"};
    struct evolve e;
    char *why = NULL;
    size_t n = 0;
    int r = evolve_diff(old->text, pin->text, 0, &e);

    if (r == -EINVAL) {
        struct js_error bad = {.text = "can't be compared with the pinned schema"};
        return refuse_schema(&bad, text, err);
    }
    if (r < 0)
        return refuse_memory(text, err);
    bool holds = (e.backward.holds || old->compat == PIN_FORWARD) &&
                 (e.forward.holds || old->compat == PIN_BACKWARD);
    if (!holds && evolve_text(&e, &why, &n) < 0)
        r = refuse_memory(text, err);
    if (!holds && r == 0) {
        (void)snprintf(text, REFUSAL_BYTES,
                       "breaks \"x-evfs-compatibility\": \"%s\" of the pinned schema:\n%.*s",
                       modes[old->compat], (int)MIN(n, (size_t)REFUSAL_BYTES - 100), why);
        r = evs_fail_at(err, EVS_INCOMPATIBLE, EVS_NOWHERE, "%s", modes[old->compat]);
    }
    free(why);
    evolve_done(&e);
    return r;
}

/* pin is in the place of what d has, or text says why not. */
static int replace(struct evs_store *st, const struct evs_dir *d, struct pin *pin, char *text,
                   struct evs_error *err)
{
    struct pin *old = pins_get(&st->pins, d);
    struct evs_error why;
    int r = 0;

    if (old && slice_eq(old->text, pin->text)) {
        pin_unref(old);
        return 0;
    }
    if (old && old->compat != PIN_ANY)
        r = check_compatible(old, pin, text, err);
    pin_unref(old);
    if (r < 0)
        return r;
    if ((r = check_room(st, d, pin, &why)) < 0 || (r = put(st, d, pin, &why)) < 0)
        return refuse(&why, text, err);
    return 0;
}

static int check_pinnable(struct evs_store *st, const struct evs_dir *d, struct evs_error *err)
{
    if (st->options.read_only)
        return evs_fail(err, EVS_READ_ONLY, EVS_NOWHERE);
    if (d->kind == EVS_DIR_ROOT || d->n == 0)
        return evs_fail(err, EVS_BAD_NAME, EVS_NOWHERE);
    return owners_check_dir(d, err);
}

int evs_pin_set(struct evs_store *st, const struct evs_dir *d, const char *schema, size_t n,
                const struct evs_cred *cred, struct evs_error *err)
{
    int64_t now = st->options.clock_us(st->options.clock_arg);
    struct pin *pin = NULL;
    int r = check_pinnable(st, d, err);

    if (r < 0)
        return r;
    char *text AUTO_FREE = malloc(REFUSAL_BYTES);
    if (!text)
        return evs_fail(err, EVS_NO_MEMORY, EVS_NOWHERE);
    r = compile(d, (struct slice){schema, n}, cred->uid, now, &pin, text, err);
    (void)pthread_mutex_lock(&st->pins.change);
    if (r == 0)
        r = replace(st, d, pin, text, err);
    pins_note(&st->pins, d, r < 0 ? text : NULL, now);
    (void)pthread_mutex_unlock(&st->pins.change);
    pin_unref(pin);
    return r;
}

int evs_pin_clear(struct evs_store *st, const struct evs_dir *d, struct evs_error *err)
{
    int64_t refusal_us = 0;
    int r = check_pinnable(st, d, err);

    if (r < 0)
        return r;
    (void)pthread_mutex_lock(&st->pins.change);
    struct pin *old = pins_get(&st->pins, d);
    free(pins_noted(&st->pins, d, &refusal_us));
    if (old)
        r = put(st, d, NULL, err);
    else if (!refusal_us)
        r = evs_fail(err, EVS_NO_SUCH, EVS_NOWHERE);
    if (r == 0)
        pins_note(&st->pins, d, NULL, 0);
    (void)pthread_mutex_unlock(&st->pins.change);
    pin_unref(old);
    return r;
}

int evs_pin_forget(struct evs_store *st, const struct evs_dir *d, struct evs_error *err)
{
    int64_t refusal_us = 0;
    int r = check_pinnable(st, d, err);

    if (r < 0)
        return r;
    (void)pthread_mutex_lock(&st->pins.change);
    free(pins_noted(&st->pins, d, &refusal_us));
    pins_note(&st->pins, d, NULL, 0);
    (void)pthread_mutex_unlock(&st->pins.change);
    return refusal_us ? 0 : evs_fail(err, EVS_NO_SUCH, EVS_NOWHERE);
}

/* ---- looking ---- */

void evs_pin_stat(struct evs_store *st, const struct evs_dir *d, struct evs_pin *ret)
{
    struct pin *pin = pins_get(&st->pins, d);

    *ret = (struct evs_pin){.pinned = pin != NULL};
    if (pin) {
        ret->bytes = pin->text.n;
        ret->level = pin->level;
        ret->uid = pin->uid;
        ret->time_us = pin->time_us;
        ret->refused = atomic_load_explicit(&pin->refused, memory_order_relaxed);
        ret->warned = atomic_load_explicit(&pin->warned, memory_order_relaxed);
    }
    pin_unref(pin);
    free(pins_noted(&st->pins, d, &ret->refusal_us));
}

int evs_next_pinned_type(struct evs_store *st, uint32_t *place, char *buf, size_t cap)
{
    struct pin *pin = pins_next_type(&st->pins, *place);

    if (!pin)
        return 0;
    int n = pin->name.n > cap ? -ERANGE : (int)pin->name.n;
    if (n > 0) {
        memcpy(buf, pin->name.p, pin->name.n);
        *place = pin->serial;
    }
    pin_unref(pin);
    return n;
}

int evs_pin_text(struct evs_store *st, const struct evs_dir *d, char **ret, size_t *ret_n,
                 struct evs_error *err)
{
    struct pin *pin = pins_get(&st->pins, d);

    if (!pin)
        return evs_fail(err, EVS_NO_SUCH, EVS_NOWHERE);
    size_t n = pin->text.n;
    char *copy = malloc(n + 1);
    if (copy)
        memcpy(copy, pin->text.p, n + 1);
    pin_unref(pin);
    if (!copy)
        return evs_fail(err, EVS_NO_MEMORY, EVS_NOWHERE);
    *ret = copy;
    *ret_n = n;
    return 0;
}

int evs_pin_refusal(struct evs_store *st, const struct evs_dir *d, char **ret, size_t *ret_n,
                    struct evs_error *err)
{
    static const char head[] = "{\"why\":\"", tail[] = "\"}\n";
    char *text = pins_noted(&st->pins, d, NULL);

    if (!text)
        return evs_fail(err, EVS_NO_SUCH, EVS_NOWHERE);
    size_t n = strlen(text);
    if (d->kind == EVS_DIR_ENTITY) {
        if (!scan_is_utf8(text, n)) /* cut within a character */
            for (char *c = text; *c; c++)
                *c = (char)(*c & 0x80 ? '?' : *c);
        char *json = malloc(6 * n + sizeof head + sizeof tail);
        if (json) {
            char *p = stpcpy(json, head);
            p += scan_encode((struct slice){text, n - 1}, p); /* without its line feed */
            n = (size_t)(stpcpy(p, tail) - json);
        }
        free(text);
        text = json;
    }
    if (!text)
        return evs_fail(err, EVS_NO_MEMORY, EVS_NOWHERE);
    *ret = text;
    *ret_n = n;
    return 0;
}

/* ---- without a store ---- */

int evs_schema_diff(const char *old_json, size_t old_n, const char *new_json, size_t new_n,
                    bool learned, char **ret_text, size_t *ret_n, struct evs_error *err)
{
    struct evolve e;
    int r = evolve_diff((struct slice){old_json, old_n}, (struct slice){new_json, new_n},
                        learned ? EVOLVE_CLOSED : 0, &e);

    if (r < 0)
        return evs_fail(err, r == -ENOMEM ? EVS_NO_MEMORY : EVS_BAD_SCHEMA, EVS_NOWHERE);
    r = evolve_text(&e, ret_text, ret_n);
    bool full = e.backward.holds && e.forward.holds;
    evolve_done(&e);
    return r < 0 ? evs_fail(err, EVS_NO_MEMORY, EVS_NOWHERE) : full;
}

struct evs_checker {
    struct js_schema *schema;
};

int evs_checker_new(const char *schema, size_t n, struct evs_checker **ret, struct evs_error *err)
{
    /* What was learned may be larger than what can be pinned. */
    static const struct js_options options = {.assert_format = true,
                                              .max_bytes = LIMIT_SCHEMAS_BYTES};
    struct slice text = {schema, n};
    struct evs_error why;
    struct js_error js = {.text = ""};
    char words[REFUSAL_BYTES];

    if (scan_whole(schema, n, &why) < 0)
        return refuse_json(text, &why, words, err);
    struct evs_checker *c = calloc(1, sizeof *c);
    int r = c ? js_compile(text, &options, &c->schema, &js) : -ENOMEM;
    if (r < 0) {
        free(c);
        return r == -ENOMEM ? evs_fail(err, EVS_NO_MEMORY, EVS_NOWHERE)
                            : refuse_schema(&js, words, err);
    }
    *ret = c;
    return 0;
}

void evs_checker_free(struct evs_checker *c)
{
    if (c)
        js_free(c->schema);
    free(c);
}

int evs_checker_check(const struct evs_checker *c, const char *json, size_t n,
                      struct evs_breach *ret)
{
    struct evs_error why;
    struct js_error js;

    if (scan_whole(json, n, &why) < 0) {
        *ret = (struct evs_breach){.keyword = ""};
        (void)snprintf(ret->text, sizeof ret->text, "byte %llu: %s", (unsigned long long)why.pos,
                       evs_reason_text(why.why));
        return 0;
    }
    while (n && scan_is_space(*json))
        json++, n--;
    while (n && scan_is_space(json[n - 1]))
        n--;
    int r = js_validate(c->schema, (struct slice){json, n}, &js);
    if (r == 0 || r == -E2BIG) {
        static_assert(sizeof *ret == sizeof js, "the same fields");
        memcpy(ret, &js, sizeof js);
        r = 0;
    }
    return r;
}
