/* SPDX-License-Identifier: MIT */
/* pins: the schemas that are pinned to types and to directories of entities, compiled, in memory; meta.db keeps
 * them. Events are judged by a set that never changes: whoever judges takes a reference once a batch, a change
 * makes a new set. */
#ifndef STORE_PINS_H
#define STORE_PINS_H

#include "error.h"
#include "jsonschema.h"
#include "util.h"

#include <pthread.h>
#include <stdatomic.h>

enum pin_compat { PIN_ANY, PIN_BACKWARD, PIN_FORWARD, PIN_FULL };

/* One pinned schema. Constant but for the counters. */
struct pin {
    enum evs_dir_kind kind; /* EVS_DIR_ENTITY: of all events at or below it; EVS_DIR_TYPE */
    struct slice name, text;
    uint64_t hash;
    struct js_schema
        *schema; /* owned; NULL: it does not compile any more, and nothing conforms to it */
    enum evs_level level;
    enum pin_compat compat;
    uid_t uid;
    int64_t time_us;
    uint32_t serial; /* its place in the order in which they were first pinned; from 1 */
    _Atomic uint32_t refs;
    _Atomic uint64_t refused, warned; /* since it was pinned, or the store opened */
};

struct pin_set; /* constant; counted */
struct meta;

/* Why a schema was refused, in words: of the LIMIT_PIN_ERRORS newest refusals. */
struct pin_error {
    enum evs_dir_kind kind;
    struct slice name; /* owned, as is text */
    char *text;
    int64_t time_us;
};

struct pins {
    pthread_mutex_t change;   /* one change at a time; taken before commit */
    pthread_mutex_t lock;     /* of what follows; nothing is taken while it is held */
    uint32_t serials;         /* given so far; under change */
    struct pin_set *set;      /* never NULL after pins_init() */
    struct pin_error *errors; /* owned, oldest first */
    size_t n_errors;
    _Atomic uint32_t known; /* pins and errors: 0 is the common case */
    _Atomic uint64_t state; /* changes so far, times 2; and 1 while any schema is enforced */
    _Atomic uint64_t refused, warned; /* events, since the store opened */
};

int pins_init(struct pins *p, struct evs_error *err);
void pins_done(struct pins *p); /* zeroed is fine */

/* ---- judging ---- */

#define PINS_SOME 1u /* of pins_state(): there is something to judge by */

/* What was judged holds as long as this is the same. Load it before taking the set. */
static inline uint64_t pins_state(const struct pins *p)
{
    return atomic_load_explicit(&p->state, memory_order_acquire);
}

struct pin_set *pins_take(struct pins *p); /* to pins_give() */
void pins_give(struct pin_set *s);         /* NULL is fine */

/* What broke which schema. */
struct pin_breach {
    struct pin *pin; /* lives as long as the set */
    struct js_error why;
};

/* Would both sets judge every event of this entity and type alike? old NULL: nothing is pinned in it. */
bool pins_same(const struct pin_set *old, const struct pin_set *now, struct slice entity,
               struct slice type);

/* Judge data (one value; n 0: null) of an event by all that apply, the type's first, then from its entity up.
 * 1: it may be stored. 0: a strict one is broken. *warned: one that only warns is broken, and no strict one.
 * *ret (may be NULL) is the first of these. -ENOMEM. No allocation but the validator's. Any thread. */
int pins_judge(const struct pin_set *s, struct slice entity, struct slice type, struct slice data,
               bool *warned, struct pin_breach *ret);

/* An event was refused, or stored with a warning. */
void pins_count(struct pins *p, struct pin *pin, bool warned);

/* ---- changing; with p->change held, but for the first ---- */

/* Compile text. On -EINVAL and -E2BIG why says what is wrong with it. *ret has one reference. */
int pin_new(const struct evs_dir *d, struct slice text, uid_t uid, int64_t time_us,
            struct pin **ret, struct js_error *why);
/* The same for one that was accepted before: it is kept, though it may not compile. -ENOMEM. */
int pin_restore(const struct evs_dir *d, struct slice text, uid_t uid, int64_t time_us,
                struct pin **ret);
struct pin *pin_ref(struct pin *pin);
void pin_unref(struct pin *pin); /* NULL is fine */

/* The set with pin in place of what that type or directory has; or (pin NULL) without it. -ENOMEM. */
int pins_with(struct pins *p, const struct evs_dir *d, struct pin *pin, struct pin_set **ret);
/* The set of these, which are all of different directories or types. Each gets a reference and a serial. -ENOMEM. */
int pins_of(struct pins *p, struct pin *const *v, size_t n, struct pin_set **ret);
/* From now on set is in force, which the pins take over. Under the commit lock once the store is open. */
void pins_publish(struct pins *p, struct pin_set *set);
/* Room for pin in place of what d has? -E2BIG where there are too many; -EDQUOT where its user has his share;
 * unbound: no share binds him. */
int pins_room(struct pins *p, const struct evs_dir *d, const struct pin *pin, bool unbound);

/* ---- looking; any thread ---- */

/* The pin of exactly this type or directory, with a reference; NULL: none. */
struct pin *pins_get(struct pins *p, const struct evs_dir *d);
/* The pin of a type whose serial is the next above after, with a reference; NULL: no more. */
struct pin *pins_next_type(struct pins *p, uint32_t after);
/* Does any directory of entities at or below d have one? */
bool pins_any_at(struct pins *p, const struct evs_dir *d);
uint32_t pins_number(struct pins *p);
/* Of how many does none conform, since they don't compile any more? */
uint32_t pins_broken(struct pins *p);

/* meta_verify(), and that the schemas compile. */
int pins_verify(struct meta *m, evs_report_fn *report, void *arg, struct evs_error *err);

/* Note why a schema for d was refused; NULL: forget it. Without memory nothing is noted. */
void pins_note(struct pins *p, const struct evs_dir *d, const char *text, int64_t time_us);
/* malloc'ed; NULL: none was. */
char *pins_noted(struct pins *p, const struct evs_dir *d, int64_t *ret_us);

#endif
