/* SPDX-License-Identifier: MIT */
/* world: (1) ev[0 .. n) is what the store has acknowledged, in its order; all of it must be there when it is
 * opened again, once, and nothing else, but for what was in flight when the process died.
 * (2) A call that fails says a reason that is allowed now, and leaves the store as it was; after an error of the
 * disk in a write or a sync it is read-only and says so.
 * (3) Nothing happens in the background: what does in a store is a call here (world_pack()), so that a run can be
 * had again. */
#include "world.h"

#include "../unit/check.h"
#include "disk.h"
#include "store/chain.h"
#include "store/ingest.h"
#include "store/keeper.h"
#include "store/schemas.h"
#include "store/line.h"
#include "store/log_state.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

static const char *const names[WORLD_ENTITIES] = {
    "a", "a/b", "a/b/c", "orders/1", "orders/2", "solo", "x%2/y", "\xc3\xa4/\xf0\x9f\x98\x80"};

#define TEXT_BYTES  (2u << 20)
#define EVENT_BYTES (80u << 10) /* the largest */
#define SEGMENT_BYTES                                                                              \
    (32u << 10) /* less than anybody may ask for, so that a short life has several */
static char text[TEXT_BYTES], got[8u << 20];

static uint32_t entity_of(uint32_t k)
{
    return (k * 2654435761u >> 13) % WORLD_ENTITIES;
}

static bool has_id(uint32_t k)
{
    return k % 5 == 0;
}

static size_t data_text(uint32_t k, char *out)
{
    static const char letters[] = "abcdefghijklmnopqrstuvwxyz";
    uint32_t pad = (k * 2654435761u >> 16) % 400 + (k % 17 == 0 ? 6000 : 0);
    int n = sprintf(out, "{\"k\":%u,\"pad\":\"", k);

    if (k % 67 == 5)
        pad += (uint32_t)FRAME_BYTES; /* its segment has two frames */
    for (uint32_t i = 0; i < pad; i++)
        out[n++] = letters[(k + i) % 26];
    return (size_t)(n + sprintf(out + n, "\"}"));
}

static size_t event_text(uint32_t k, int64_t version, char *out)
{
    int n = sprintf(out, "{\"entity\":\"%s\",\"type\":\"t%u\"", names[entity_of(k)], k % 3);

    if (has_id(k))
        n += sprintf(out + n, ",\"id\":\"w%u\"", k);
    if (version >= 0)
        n += sprintf(out + n, ",\"expected_version\":%jd", (intmax_t)version);
    n += sprintf(out + n, ",\"data\":");
    n += (int)data_text(k, out + n);
    return (size_t)(n + sprintf(out + n, "}"));
}

/* ---- failures ---- */

/* A call that failed: may it, and does the store say what it must? */
static void failed(struct world *w, const char *what, const struct evs_error *err)
{
    static char health[4096], buf[320];
    struct evs_stats s;

    w->failures++;
    /* Where SQLite can't make a file it looks for one to read, and says that this isn't there. */
    bool meta = err->why == EVS_SYSTEM && strncmp(err->detail, "meta.db", 7) == 0 && w->allowed;
    if (!(w->allowed & 1u << err->why) && !meta) {
        check_failed++;
        fprintf(stderr, "%s: %s (%s)\n", what, evs_error_format(err, buf, sizeof buf),
                evs_reason_name(err->why));
    }
    if (!w->st)
        return;
    evs_stats(w->st, &s);
    int r = evs_health(w->st, health, sizeof health);
    CHECK_EQ(strncmp(health, "read-only", 9) == 0, s.read_only); /* it may have more to say */
    if (s.read_only) {
        CHECK_EQ(r, 1);
        CHECK(strncmp(health, "read-only until it is opened again: ", 36) == 0);
        CHECK(strchr(health, '\n') > health + 40); /* why */
    }
    unsigned log, other;
    disk_fault_hit(&log, &other);
    if (log & (DISK_WRITE | DISK_SYNC) && !(w->allowed & 1u << EVS_DISK_FULL) && !s.read_only) {
        check_failed++;
        fprintf(stderr, "%s: %s: the log goes on after an error of the disk (%x)\n", what,
                evs_error_format(err, buf, sizeof buf), log);
    }
    w->shows_change = s.read_only;
    if (err->why == EVS_READ_ONLY && !s.read_only) {
        check_failed++;
        fprintf(stderr, "%s: read-only, and the store is not: %s\n", what, err->detail);
    }
}

/* ---- what is there ---- */

static bool same_event(const struct world_event *e, const char *p, size_t n, uint64_t seq,
                       struct line *l)
{
    static char want[EVENT_BYTES];
    char type[16];

    if (line_parse(p, n, l, NULL, NULL) < 0 || l->seq != seq)
        return false;
    const char *name = names[entity_of(e->k)];
    size_t len = data_text(e->k, want);
    int tn = snprintf(type, sizeof type, "t%u", e->k % 3);
    return l->tx == e->tx && slice_eq(l->data, (struct slice){want, len}) &&
           slice_eq(l->type, (struct slice){type, (size_t)tn}) &&
           slice_eq(l->entity, (struct slice){name, strlen(name)});
}

/* All lines are ev[0 .. n + flight), of which at least n are there, and no transaction in part. */
static void check_lines(struct world *w, const char *p, size_t n_bytes)
{
    struct line l = {0};
    uint32_t n = 0;

    for (size_t at = 0; at < n_bytes; n++) {
        const char *lf = memchr(p + at, '\n', n_bytes - at);
        if (!lf || n >= w->n + w->flight ||
            !same_event(&w->ev[n], p + at, (size_t)(lf - p) + 1 - at, n + 1, &l)) {
            check_failed++;
            fprintf(stderr, "event %u of %u + %u is not what was written: %.*s\n", n + 1, w->n,
                    w->flight, lf ? (int)MIN((size_t)(lf - p) - at, (size_t)200) : 20, p + at);
            break;
        }
        at = (size_t)(lf - p) + 1;
    }
    if (n < w->n) {
        check_failed++;
        fprintf(stderr, "%u events of %u are lost: the log ends with %u\n", w->n - n, w->n, n);
    }
    CHECK(n == 0 || w->ev[n - 1].tx == 0);
    w->n = n;
    w->flight = 0;
    w->uncut = false;
}

static ssize_t read_all(struct world *w, struct evs_error *err)
{
    struct evs_cursor *c;
    size_t n = 0;
    ssize_t r = evs_cursor_new(w->st, &(struct evs_view){.kind = EVS_ALL}, &c, err);

    if (r < 0)
        return r;
    while ((r = evs_cursor_read(c, n, got + n, MIN(sizeof got - n, (size_t)50000), err)) > 0)
        n += (size_t)r;
    evs_cursor_free(c);
    return r < 0 ? r : (ssize_t)n;
}

static void check_pins(struct world *w)
{
    for (uint32_t e = 0; e < WORLD_ENTITIES; e++) {
        char *schema = NULL;
        size_t n;
        uint32_t is = 0;
        const struct evs_dir d = {EVS_DIR_ENTITY, names[e], strlen(names[e])};
        int r = evs_pin_text(w->st, &d, &schema, &n, NULL);
        if (r == -ENOMEM)
            continue; /* not known for now */
        if (r == 0)
            (void)sscanf(schema, "{\"minimum\":0,\"title\":\"%u\"}", &is);
        free(schema);
        if (is != w->pin[e] && is != w->pin_flight[e]) {
            check_failed++;
            fprintf(stderr, "%s has schema %u, not %u or %u\n", names[e], is, w->pin[e],
                    w->pin_flight[e]);
        }
        w->pin[e] = w->pin_flight[e] = is;
    }
}

static void check_modes(struct world *w)
{
    for (uint32_t e = 0; e < WORLD_ENTITIES; e++) {
        struct evs_owner o = {0};
        bool own = false;
        evs_get_owner(w->st, &(struct evs_dir){EVS_DIR_ENTITY, names[e], strlen(names[e])}, &o,
                      &own);
        uint32_t is = own ? o.mode : 0;
        if (is != w->mode[e] && is != w->mode_flight[e]) {
            check_failed++;
            fprintf(stderr, "%s has mode %o, not %o or %o\n", names[e], is, w->mode[e],
                    w->mode_flight[e]);
        }
        w->mode[e] = w->mode_flight[e] = is;
    }
}

/* (3); the chain as well, which is extended once more when the keeper ends. */
static UNANALYSED void make_it_calm(struct evs_store *st)
{
    struct chain *c = TAKE(st->chain);

    keeper_stop(st);
    schemas_calm(st);
    st->chain = c;
    st->lg->o.segment_bytes = SEGMENT_BYTES;
    st->lg->current->room.bytes = MAX(SEGMENT_BYTES, st->lg->current->tail.bytes);
}

bool world_open(struct world *w)
{
    struct evs_error err = {0};

    w->options.compress = -1;
    int r = evs_open(w->dir, &w->options, &w->st, &err);
    if (r < 0) {
        w->st = NULL;
        failed(w, "open", &err);
        return false;
    }
    make_it_calm(w->st);
    struct log_packed packed;
    log_pack_stats(w->st->lg, &packed);
    w->compressed += packed.segments;
    ssize_t n = read_all(w, &err);
    if (n < 0)
        failed(w, "read", &err);
    else
        check_lines(w, got, (size_t)n);
    CHECK_EQ(evs_durable(w->st), evs_end(w->st));
    w->durable = (uint32_t)evs_durable(w->st);
    check_modes(w);
    check_pins(w);
    r = evs_writer_new(w->st, &(struct evs_target){.kind = EVS_ALL}, "events.jsonl", &w->w, &err);
    if (r < 0) {
        w->w = NULL;
        failed(w, "writer", &err);
        world_close(w);
        return false;
    }
    return true;
}

bool world_close(struct world *w)
{
    struct evs_error err = {0};
    struct evs_store *st = TAKE(w->st);

    evs_writer_free(TAKE(w->w));
    if (evs_close(st, &err) < 0) {
        failed(w, "close", &err);
        return false;
    }
    return true;
}

void world_kill(struct world *w)
{
    struct evs_error why;

    if (!w->st)
        return;
    evs_writer_free(TAKE(w->w));
    /* A log that is read-only is let go of as it is. */
    (void)evs_fail(&why, EVS_READ_ONLY, EVS_NOWHERE);
    log_set_read_only(w->st->lg, &why);
    (void)evs_close(TAKE(w->st), NULL);
}

bool world_ready(struct world *w)
{
    struct evs_stats s;

    if (w->st) {
        evs_stats(w->st, &s);
        if (!s.read_only)
            return true;
        (void)world_close(w);
    }
    return world_open(w) || (w->failures < 3 && world_open(w));
}

/* ---- appending ---- */

static int64_t version_of(const struct world *w, uint32_t entity, uint32_t to)
{
    int64_t n = 0;

    for (uint32_t i = 0; i < to; i++)
        n += entity_of(w->ev[i].k) == entity;
    return n;
}

/* What a write of ev[n .. n + want) has stored: evs_end() tells, and what it returned must agree. tried: it failed in
 * its middle, and err is of the next one. */
static void stored(struct world *w, uint32_t want, bool ok, bool tried, const struct evs_error *err)
{
    uint32_t all = w->n + want, end = (uint32_t)evs_end(w->st);

    CHECK(end >= w->n && end <= all);
    if (ok)
        CHECK_EQ(end, all);
    w->n = end;
    w->uncut = !ok && w->may_stay && (tried || err->why != EVS_READ_ONLY);
    w->flight = w->uncut ? all - end : 0;
}

static void check_refusal(struct world *w, const char *what, const struct evs_error *err)
{
    struct evs_error again = {0};
    static const char one[] = "{\"entity\":\"a\",\"type\":\"t\",\"data\":1}";

    failed(w, what, err);
    if (!w->shows_change)
        return;
    /* Read-only is for good, and for everybody. */
    ssize_t r = evs_write(w->w, one, sizeof one - 1, &(struct evs_cred){0}, &again);
    CHECK_FAIL(r, again, READ_ONLY);
    CHECK_EQ(again.code, EROFS);
}

void world_append(struct world *w, uint32_t n, bool transaction, bool expect)
{
    size_t len = 0, end[512];
    struct evs_error err = {0};

    if (!world_ready(w))
        return;
    assert(n <= 512 && w->n + n <= WORLD_EVENTS);
    if (transaction)
        text[len++] = '[';
    for (uint32_t i = 0; i < n; i++) {
        uint32_t k = w->next_k++;
        w->ev[w->n + i] = (struct world_event){k, transaction ? n - 1 - i : 0};
        if (i && transaction)
            text[len++] = ',';
        len += event_text(k, expect ? version_of(w, entity_of(k), w->n + i) : -1, text + len);
        if (!transaction)
            text[len++] = '\n';
        end[i] = len;
        assert(len < TEXT_BYTES - EVENT_BYTES);
    }
    if (transaction) {
        text[len++] = ']';
        text[len++] = '\n';
    }
    w->flight = n;
    uint32_t before = w->n;
    ssize_t r = evs_write(w->w, text, len, &(struct evs_cred){.uid = 7}, &err);
    bool ok = r == (ssize_t)len, tried = r >= 0 && !ok;
    if (tried) {
        /* Short: what stands before it is stored; the rest fails and says why, or is stored now. */
        uint32_t some = 0;
        while (some < n && end[some] <= (size_t)r)
            some++;
        CHECK(!transaction);
        CHECK_EQ(evs_end(w->st), before + some);
        r = evs_write(w->w, text + r, len - (size_t)r, &(struct evs_cred){.uid = 7}, &err);
        ok = r > 0 && evs_end(w->st) == before + n;
    }
    if (transaction && !ok && !w->options.sync)
        CHECK_EQ(evs_end(w->st), before);
    stored(w, n, ok, tried, &err);
    if (!ok)
        check_refusal(w, "append", &err);
    else if (w->options.sync)
        w->durable = w->n;
}

void world_append_data(struct world *w)
{
    struct evs_error err = {0};
    struct evs_writer *one;

    if (!world_ready(w))
        return;
    assert(w->n < WORLD_EVENTS);
    while (has_id(w->next_k)) /* data alone has no id */
        w->next_k++;
    uint32_t k = w->next_k++;
    const char *name = names[entity_of(k)];
    char type[16];
    int tn = snprintf(type, sizeof type, "t%u", k % 3);
    const struct evs_target t = {EVS_OWN_TYPE, name, strlen(name), type, (size_t)tn};
    w->ev[w->n] = (struct world_event){k, 0};
    if (evs_writer_new(w->st, &t, "x.jsonl", &one, &err) < 0) {
        failed(w, "writer", &err);
        return;
    }
    size_t len = data_text(k, text), half = len / 3;
    text[len++] = '\n';
    w->flight = 1;
    /* In two writes, as a program that flushes its buffer in the middle of a value. */
    ssize_t r = evs_write(one, text, half, &(struct evs_cred){.uid = 7}, &err);
    if (r == (ssize_t)half)
        r = evs_write(one, text + half, len - half, &(struct evs_cred){.uid = 7}, &err);
    stored(w, 1, r > 0, false, &err);
    if (r < 0)
        failed(w, "append", &err);
    else if (w->options.sync)
        w->durable = w->n;
    evs_writer_free(one);
}

void world_repeat(struct world *w, uint32_t skip)
{
    struct evs_error err = {0};
    uint32_t i = 0;

    if (!world_ready(w))
        return;
    for (; i < w->n; i++)
        if (has_id(w->ev[i].k) && skip-- == 0)
            break;
    if (i == w->n)
        return;
    size_t len = event_text(w->ev[i].k, -1, text);
    text[len++] = '\n';
    ssize_t r = evs_write(w->w, text, len, &(struct evs_cred){.uid = 7}, &err);
    CHECK_EQ(evs_end(w->st), w->n);
    if (r < 0)
        failed(w, "repeat", &err);
}

/* ---- the rest ---- */

void world_sync(struct world *w)
{
    struct evs_error err = {0};

    if (!world_ready(w))
        return;
    if (evs_sync(w->st, evs_end(w->st), &err) < 0) {
        check_refusal(w, "sync", &err);
        return;
    }
    CHECK_EQ(evs_durable(w->st), w->n);
    w->durable = w->n;
}

void world_checkpoint(struct world *w)
{
    struct evs_error err = {0};

    if (world_ready(w) && evs_checkpoint(w->st, &err) < 0)
        failed(w, "checkpoint", &err);
}

void world_pack(struct world *w, uint32_t steps)
{
    struct evs_error err = {0};
    bool more = true;

    for (uint32_t i = 0; i < steps && more && world_ready(w); i++) {
        disk_fault_beside(true); /* neither is a write of the log: it goes on without them */
        more = chain_extend(w->st->chain, 0);
        int r = log_pack(w->st->lg, 1, NULL, &err);
        disk_fault_beside(false);
        if (r < 0)
            failed(w, "pack", &err);
        more = more || r > 0;
        log_pack_switch(w->st->lg);
    }
}

void world_chmod(struct world *w, uint32_t entity, uint32_t mode)
{
    struct evs_error err = {0};

    if (!world_ready(w))
        return;
    w->mode_flight[entity] = mode;
    const struct evs_dir d = {EVS_DIR_ENTITY, names[entity], strlen(names[entity])};
    if (evs_set_owner(w->st, &d, &(struct evs_owner){7, 7, (mode_t)mode}, &err) < 0) {
        failed(w, "chmod", &err);
        /* Refused is not changed; but a commit whose sync failed may still be found in the WAL after a crash. */
        if (err.why != EVS_SYSTEM)
            w->mode_flight[entity] = w->mode[entity];
        return;
    }
    w->mode[entity] = w->mode_flight[entity] = mode;
}

void world_pin(struct world *w, uint32_t entity, uint32_t number)
{
    struct evs_error err = {0};
    char schema[64];

    if (!world_ready(w) || (!number && !w->pin[entity]))
        return;
    w->pin_flight[entity] = number;
    const struct evs_dir d = {EVS_DIR_ENTITY, names[entity], strlen(names[entity])};
    int n = sprintf(schema, "{\"minimum\":0,\"title\":\"%u\"}", number);
    int r = number ? evs_pin_set(w->st, &d, schema, (size_t)n, &(struct evs_cred){.uid = 7}, &err)
                   : evs_pin_clear(w->st, &d, &err);
    if (r < 0) {
        failed(w, "pin", &err);
        if (err.why != EVS_SYSTEM) /* as with chmod */
            w->pin_flight[entity] = w->pin[entity];
        return;
    }
    w->pin[entity] = w->pin_flight[entity] = number;
}

void world_read(struct world *w)
{
    struct evs_error err = {0};

    if (!world_ready(w))
        return;
    ssize_t n = read_all(w, &err);
    if (n < 0) {
        failed(w, "read", &err);
        return;
    }
    uint32_t flight = w->flight, was = w->n;
    bool uncut = w->uncut;
    w->flight = 0;
    check_lines(w, got, (size_t)n);
    CHECK_EQ(w->n, was);
    w->flight = flight;
    w->uncut = uncut;
}

void world_state(struct world *w, uint32_t entity)
{
    struct evs_error err = {0};
    char *json;
    size_t n;

    if (!world_ready(w))
        return;
    evs_entity e = evs_find_entity(w->st, names[entity], strlen(names[entity]));
    if (!e || version_of(w, entity, w->n) == 0)
        return;
    if (evs_state(w->st, e, &json, &n, &err) < 0) {
        failed(w, "state", &err);
        return;
    }
    /* The merge of objects with the same two names is the newest one. */
    uint32_t i = w->n;
    while (entity_of(w->ev[i - 1].k) != entity)
        i--;
    size_t want = data_text(w->ev[i - 1].k, text);
    text[want++] = '\n';
    CHECK_MEM(json, n, text, want);
    free(json);
}

static void finding(void *arg, const char *what)
{
    (void)arg;
    fprintf(stderr, "verify: %s\n", what);
}

int world_failed(void)
{
    (void)check_tests;
    return check_failed;
}

bool world_verify(struct world *w)
{
    struct evs_error err = {0};
    int r = evs_verify(w->dir, finding, NULL, &err);

    if (r < 0)
        failed(w, "verify", &err);
    return r == 0;
}

void world_finish(struct world *w)
{
    w->allowed = 0;
    w->may_stay = false;
    world_append(w, 3, true, true);
    world_append(w, 2, false, false);
    world_sync(w);
    world_pack(w, UINT32_MAX);
    world_read(w);
    world_repeat(w, 1);
    CHECK(world_close(w));
    CHECK(world_verify(w));
}
