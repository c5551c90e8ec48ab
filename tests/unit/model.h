/* SPDX-License-Identifier: MIT */
/* model: what a store must show, worked out the slow way: the lines of EVS_ALL, taken apart, and every view
 * as a filter over them. */
#ifndef MODEL_H
#define MODEL_H

#include "check.h"
#include "store/evstore.h"
#include "store/line.h"

#include <ftw.h>
#include <unistd.h>

struct model {
    char *bytes; /* of EVS_ALL */
    size_t n_bytes;
    struct line *lines;
    struct slice *raw;
    size_t n;
};

static inline char *model_read(struct evs_store *st, const struct evs_view *v, size_t *ret_n)
{
    struct evs_cursor *c;
    struct evs_extent x;
    struct evs_error err;

    *ret_n = 0;
    if (evs_cursor_new(st, v, &c, &err) < 0)
        return strdup("");
    CHECK_EQ(evs_view_extent(st, v, &x), 0);
    char *buf = malloc(x.bytes + 1);
    size_t got = 0;
    ssize_t r;
    while ((r = evs_cursor_read(c, got, buf + got, MIN(x.bytes - got, (size_t)70000), &err)) > 0)
        got += (size_t)r;
    CHECK(r == 0);
    CHECK_EQ(got, x.bytes);
    evs_cursor_free(c);
    *ret_n = got;
    buf[got] = '\0'; /* who looks for a number at its end stops there */
    return buf;
}

/* The same bytes without a copy. */
static inline void model_peek(struct evs_store *st, const char *want, size_t n)
{
    struct evs_cursor *c;
    struct evs_error err;
    const void *p;
    ssize_t r;
    size_t at = 0;

    CHECK_EQ(evs_cursor_new(st, &(struct evs_view){.kind = EVS_ALL}, &c, &err), 0);
    for (size_t len = 1; (r = evs_cursor_peek(c, at, len, &p, &err)) > 0; at += (size_t)r) {
        CHECK((size_t)r <= len && at + (size_t)r <= n);
        CHECK(memcmp(p, want + at, (size_t)r) == 0);
        len = len * 3 % 5000 + 1;
    }
    CHECK_EQ(r, 0);
    CHECK_EQ(at, n);
    evs_cursor_free(c);
}

static inline void model_load(struct model *m, struct evs_store *st)
{
    uint32_t data, crc;

    *m = (struct model){0};
    m->bytes = model_read(st, &(struct evs_view){.kind = EVS_ALL}, &m->n_bytes);
    model_peek(st, m->bytes, m->n_bytes);
    for (size_t i = 0; i < m->n_bytes; i++)
        m->n += m->bytes[i] == '\n';
    m->lines = calloc(m->n + 1, sizeof *m->lines);
    m->raw = calloc(m->n + 1, sizeof *m->raw);
    const char *p = m->bytes;
    for (size_t i = 0; i < m->n; i++) {
        const char *lf = memchr(p, '\n', m->n_bytes - (size_t)(p - m->bytes));
        m->raw[i] = (struct slice){p, (size_t)(lf - p) + 1};
        CHECK_EQ(line_parse(p, m->raw[i].n, &m->lines[i], &data, &crc), 0);
        CHECK_EQ(m->lines[i].seq, i + 1);
        p = lf + 1;
    }
    CHECK_EQ(m->n, evs_end(st));
}

static inline void model_free(struct model *m)
{
    free(m->bytes);
    free(m->lines);
    free(m->raw);
}

/* The bytes of the events that are at or below / exactly entity (p NULL: any), of the type (n 0: any). */
static inline char *model_view(const struct model *m, struct slice entity, bool below,
                               struct slice type, bool data, size_t *ret_n, size_t *ret_events)
{
    char *out = malloc(m->n_bytes + 1);
    size_t n = 0, events = 0;

    for (size_t i = 0; i < m->n; i++) {
        struct slice e = m->lines[i].entity;
        bool at = !entity.p || slice_eq(e, entity) ||
                  (below && e.n > entity.n && e.p[entity.n] == '/' &&
                   memcmp(e.p, entity.p, entity.n) == 0);
        if (!at || (type.n && !slice_eq(m->lines[i].type, type)))
            continue;
        struct slice s = data ? m->lines[i].data : m->raw[i];
        memcpy(out + n, s.p, s.n);
        n += s.n;
        if (data)
            out[n++] = '\n';
        events++;
    }
    *ret_n = n;
    *ret_events = events;
    return out;
}

/* Does the store show this view as the model does: size, bytes, and at a few random places? */
static inline void model_check_view(struct evs_store *st, const struct evs_view *v,
                                    const char *want, size_t n, size_t events, uint64_t *random)
{
    struct evs_extent x = {0};
    struct evs_cursor *c;
    struct evs_error err;
    size_t got_n;
    char *got = model_read(st, v, &got_n);

    CHECK_EQ(got_n, n);
    CHECK(got_n != n || memcmp(got, want, n) == 0);
    if (evs_view_extent(st, v, &x) == 0)
        CHECK_EQ(x.events, events);
    if (n && evs_cursor_new(st, v, &c, &err) == 0) {
        char buf[3000];
        for (int i = 0; i < 20; i++) {
            uint64_t pos = check_random(random) % (n + 10);
            size_t len = check_random(random) % sizeof buf;
            ssize_t r = evs_cursor_read(c, pos, buf, len, &err);
            size_t expect = pos >= n ? 0 : MIN(len, n - pos);
            CHECK_EQ(r, expect);
            CHECK(r <= 0 || memcmp(buf, want + pos, (size_t)r) == 0);
        }
        evs_cursor_free(c);
    }
    free(got);
}

static inline void model_check_entity(struct evs_store *st, const struct model *m, struct slice id,
                                      uint64_t *random)
{
    evs_entity e = evs_find_entity(st, id.p, id.n);
    evs_type types[256];
    size_t n, events, n_types;
    char *want, name[2048];

    want = model_view(m, id, true, (struct slice){0}, false, &n, &events);
    model_check_view(st, &(struct evs_view){EVS_BELOW, e, 0}, want, n, events, random);
    free(want);
    want = model_view(m, id, false, (struct slice){0}, false, &n, &events);
    model_check_view(st, &(struct evs_view){EVS_OWN, e, 0}, want, n, events, random);
    free(want);
    n_types = e ? evs_entity_types(st, e, types, ARRAY_LEN(types)) : 0;
    size_t own = 0;
    for (evs_type t = 1; t <= evs_type_count(st); t++) {
        int len = evs_type_name(st, t, name, sizeof name);
        want = model_view(m, id, false, (struct slice){name, (size_t)len}, true, &n, &events);
        model_check_view(st, &(struct evs_view){EVS_OWN_TYPE, e, t}, want, n, events, random);
        free(want);
        own += events > 0;
    }
    CHECK_EQ(n_types, own);
}

static inline void model_check_all(struct evs_store *st, uint64_t *random)
{
    struct model m;
    char name[2048];
    size_t n, events;

    model_load(&m, st);
    for (evs_type t = 1; t <= evs_type_count(st); t++) {
        int len = evs_type_name(st, t, name, sizeof name);
        char *want = model_view(&m, (struct slice){0}, false, (struct slice){name, (size_t)len},
                                false, &n, &events);
        model_check_view(st, &(struct evs_view){EVS_TYPE, 0, t}, want, n, events, random);
        free(want);
    }
    /* every entity and directory, by walking the tree */
    evs_entity stack[64];
    int depth = 0;
    stack[0] = 0;
    evs_entity parent = EVS_ROOT;
    for (;;) {
        evs_entity e = evs_next_child(st, parent, stack[depth]);
        if (!e) {
            if (depth-- == 0)
                break;
            parent = evs_parent(st, parent);
            continue;
        }
        stack[depth] = e;
        int len = evs_entity_name(st, e, name, sizeof name);
        CHECK_EQ(evs_find_entity(st, name, (size_t)len), e);
        model_check_entity(st, &m, (struct slice){name, (size_t)len}, random);
        parent = e;
        stack[++depth] = 0;
    }
    model_free(&m);
}

/* ---- stores to test with ---- */

static inline ssize_t put(struct evs_store *st, const char *text)
{
    struct evs_writer *w;
    struct evs_error err;

    CHECK_EQ(evs_writer_new(st, &(struct evs_target){.kind = EVS_ALL}, "events.jsonl", &w, &err),
             0);
    ssize_t r = evs_write(w, text, strlen(text), &(struct evs_cred){.uid = 7}, &err);
    evs_writer_free(w);
    return r;
}

static inline int rm_entry(const char *path, const struct stat *s, int flag, struct FTW *f)
{
    (void)s, (void)flag, (void)f;
    return remove(path);
}

/* A fresh directory's name; model_remove() it. */
static inline char *model_dir(void)
{
    char *d = strdup("/tmp/evfs-test-XXXXXX");

    return mkdtemp(d);
}
static inline void model_remove(char *d)
{
    (void)nftw(d, rm_entry, 8, FTW_DEPTH | FTW_PHYS);
    free(d);
}

#endif
