/* SPDX-License-Identifier: MIT */
/* The questions as a program asks them that links libevstore: by name, with a new cursor, and the answer copied
 * into a buffer. So a look-up, an extent and all checks are in each figure. */
#include "query.h"

#include <assert.h>

#define TAIL_SPARE 512u

void world_room(struct world *w, size_t n)
{
    if (n <= w->cap)
        return;
    free(w->buf);
    w->cap = 2 * n;
    w->buf = malloc(w->cap);
    if (!w->buf)
        die("memory", NULL);
}

static evs_entity any_entity(struct world *w)
{
    const char *name = w->entity[w->random % w->entities];
    evs_entity e = evs_find_entity(w->st, name, strlen(name));

    assert(e);
    return e;
}

static evs_type any_type(struct world *w)
{
    char name[NAME_BYTES];
    int n = evs_type_name(w->st, 1 + (evs_type)(w->random % w->types), name, sizeof name);
    evs_type t = n > 0 ? evs_find_type(w->st, name, (size_t)n) : 0;

    assert(t);
    return t;
}

static struct evs_cursor *new_cursor(struct world *w, const struct evs_view *v)
{
    struct evs_cursor *c;
    struct evs_error err;

    if (evs_cursor_new(w->st, v, &c, &err) < 0)
        die("cursor", &err);
    return c;
}

static struct evs_extent extent_of(struct world *w, const struct evs_view *v)
{
    struct evs_extent x;

    if (evs_view_extent(w->st, v, &x) < 0)
        die("extent", NULL);
    return x;
}

/* The bytes [from, to) of a view, into w->buf. */
static void read_range(struct world *w, struct evs_cursor *c, uint64_t from, uint64_t to)
{
    struct evs_error err;
    size_t got = 0;

    world_room(w, to - from);
    while (from + got < to) {
        ssize_t n = evs_cursor_read(c, from + got, w->buf + got, to - from - got, &err);
        if (n <= 0)
            die("read", &err);
        got += (size_t)n;
    }
    w->bytes += got;
}

static void read_view(struct world *w, const struct evs_view *v)
{
    struct evs_cursor *c = new_cursor(w, v);
    struct evs_extent x = extent_of(w, v);

    read_range(w, c, 0, x.bytes);
    evs_cursor_free(c);
}

/* The newest w->limit lines, as tail(1) finds them: so many bytes from the end as they will have, twice as many
 * if they are too few. */
static void read_newest(struct world *w, const struct evs_view *v)
{
    struct evs_cursor *c = new_cursor(w, v);
    struct evs_extent x = extent_of(w, v);
    uint64_t want = x.events < w->limit ? x.events : w->limit, keep = w->bytes, found = 0;
    size_t guess = x.bytes / x.events * want * 9 / 8 + TAIL_SPARE;

    for (; found < want; guess *= 2) {
        uint64_t from = guess < x.bytes ? x.bytes - guess : 0, n = x.bytes - from;
        read_range(w, c, from, x.bytes);
        found = 0;
        const char *p = w->buf + n, *lf;
        while (found < want && p > w->buf) {
            lf = memrchr(w->buf, '\n', (size_t)(p - 1 - w->buf));
            if (!lf && from > 0)
                break;
            p = lf ? lf + 1 : w->buf;
            found++;
        }
        w->bytes = keep + (uint64_t)(w->buf + n - p);
    }
    evs_cursor_free(c);
}

static void ask_entity(struct world *w)
{
    read_view(w, &(struct evs_view){.kind = EVS_OWN, .entity = any_entity(w)});
}

static void ask_entity_newest(struct world *w)
{
    read_newest(w, &(struct evs_view){.kind = EVS_OWN, .entity = any_entity(w)});
}

static void ask_type(struct world *w)
{
    read_view(w, &(struct evs_view){.kind = EVS_TYPE, .type = any_type(w)});
}

static void ask_type_newest(struct world *w)
{
    read_newest(w, &(struct evs_view){.kind = EVS_TYPE, .type = any_type(w)});
}

/* How many events it has, as an answer in decimal and a line feed. */
static void answer_number(struct world *w, uint64_t v)
{
    world_room(w, NAME_BYTES);
    w->bytes += (uint64_t)snprintf(w->buf, NAME_BYTES, "%" PRIu64 "\n", v);
}

static void ask_find_entity(struct world *w)
{
    const struct evs_view v = {.kind = EVS_OWN, .entity = any_entity(w)};

    answer_number(w, extent_of(w, &v).events);
}

static void ask_find_type(struct world *w)
{
    const struct evs_view v = {.kind = EVS_TYPE, .type = any_type(w)};

    answer_number(w, extent_of(w, &v).events);
}

static void ask_both(struct world *w)
{
    read_view(
        w, &(struct evs_view){.kind = EVS_OWN_TYPE, .entity = any_entity(w), .type = any_type(w)});
}

/* ---- time ---- */

static evs_seq any_seq(const struct world *w)
{
    return 1 + (w->random >> 32) % w->end;
}

/* An entity as it was at an event, and what came after. */
static void ask_as_of(struct world *w)
{
    const struct evs_view v = {.kind = EVS_OWN, .entity = any_entity(w)};
    struct evs_cursor *c = new_cursor(w, &v);
    struct evs_error err;
    uint64_t to;

    if (evs_cursor_find(c, any_seq(w), &to, &err) < 0)
        die("find", &err);
    read_range(w, c, 0, to);
    evs_cursor_free(c);
}

static void ask_after(struct world *w)
{
    const struct evs_view v = {.kind = EVS_OWN, .entity = any_entity(w)};
    struct evs_cursor *c = new_cursor(w, &v);
    struct evs_error err;
    uint64_t from;

    if (evs_cursor_find(c, any_seq(w), &from, &err) < 0)
        die("find", &err);
    read_range(w, c, from, extent_of(w, &v).bytes);
    evs_cursor_free(c);
}

/* w->limit events of the whole store, from some event on. */
static void ask_all_after(struct world *w)
{
    struct evs_cursor *c = new_cursor(w, &(struct evs_view){.kind = EVS_ALL});
    struct evs_error err;
    evs_seq seq = any_seq(w);
    uint64_t from, to;

    if (evs_cursor_find(c, seq, &from, &err) < 0 ||
        evs_cursor_find(c, seq + w->limit, &to, &err) < 0)
        die("find", &err);
    read_range(w, c, from, to);
    evs_cursor_free(c);
}

/* ---- state ---- */

static void state_of(struct world *w, evs_entity e)
{
    char *json;
    size_t n;
    struct evs_error err;

    if (evs_state(w->st, e, &json, &n, &err) < 0)
        die("state", &err);
    w->bytes += n;
    free(json);
}

static void ask_state(struct world *w)
{
    const char *name = w->entity[w->turn++ % w->entities];

    state_of(w, evs_find_entity(w->st, name, strlen(name)));
}

static void ask_state_again(struct world *w)
{
    state_of(w, evs_find_entity(w->st, w->entity[0], strlen(w->entity[0])));
}

const struct question store_questions[] = {{"entity", ask_entity},
                                           {"entity-newest", ask_entity_newest},
                                           {"type", ask_type},
                                           {"type-newest", ask_type_newest},
                                           {"entity-type", ask_both},
                                           {"count-entity", ask_find_entity},
                                           {"count-type", ask_find_type},
                                           {"as-of", ask_as_of},
                                           {"after", ask_after},
                                           {"all-after", ask_all_after},
                                           {"state", ask_state},
                                           {"state-again", ask_state_again},
                                           {0}};
