/* SPDX-License-Identifier: MIT */
/* What a view shows, over the seams of the index: an entity that is or becomes a directory, one that becomes
 * large, every moment of the past, transactions. */
#include "model.h"
#include "store/ingest.h"
#include "store/view.h"

#include <errno.h>
#include <pthread.h>

static struct evs_store *st;
static struct evs_error err;

static void start(void)
{
    CHECK_EQ(evs_open(":memory:", NULL, &st, &err), 0);
}

static void stop(void)
{
    CHECK_EQ(index_check(st->ix, st->lg, NULL, NULL), 0);
    CHECK_EQ(evs_close(st, &err), 0);
}

static evs_entity entity(const char *id)
{
    return evs_find_entity(st, id, strlen(id));
}

static void add(struct evs_writer *w, const char *id, int type, int n)
{
    char text[200];

    for (int i = 0; i < n; i++) {
        int len =
            snprintf(text, sizeof text, "{\"entity\":\"%s\",\"type\":\"t%d\",\"data\":%d%*s}\n", id,
                     type < 0 ? i % -type : type, i, i % 13, "");
        CHECK_EQ(evs_write(w, text, (size_t)len, &(struct evs_cred){.uid = 1}, &err), len);
    }
}

static struct evs_writer *writer(void)
{
    struct evs_writer *w = NULL;

    CHECK_EQ(evs_writer_new(st, &(struct evs_target){.kind = EVS_ALL}, NULL, &w, &err), 0);
    return w;
}

/* The events of m that v shows when the log ends at end: how many, their bytes, the first and the last. */
static void expect(const struct model *m, const struct evs_view *v, evs_seq end,
                   struct evs_extent *ret)
{
    char id[1024], type[128];
    int id_n = v->entity > EVS_ROOT ? evs_entity_name(st, v->entity, id, sizeof id) : 0;
    int type_n = v->type ? evs_type_name(st, v->type, type, sizeof type) : 0;

    *ret = (struct evs_extent){0};
    for (size_t i = 0; i < end; i++) {
        const struct line *l = &m->lines[i];
        bool own = l->entity.n == (size_t)id_n && memcmp(l->entity.p, id, (size_t)id_n) == 0;
        bool below = l->entity.n > (size_t)id_n && l->entity.p[id_n] == '/' &&
                     memcmp(l->entity.p, id, (size_t)id_n) == 0;
        if (v->kind == EVS_BELOW ? v->entity != EVS_ROOT && !own && !below
                                 : (v->kind == EVS_OWN || v->kind == EVS_OWN_TYPE) && !own)
            continue;
        if (v->type && (l->type.n != (size_t)type_n || memcmp(l->type.p, type, (size_t)type_n)))
            continue;
        ret->first = ret->events++ ? ret->first : l->seq;
        ret->last = l->seq;
        ret->bytes += v->kind == EVS_OWN_TYPE ? l->data.n + 1 : m->raw[i].n;
    }
}

static void check_at(const struct model *m, const struct evs_view *v, evs_seq end)
{
    struct evs_extent want, got = {0};
    struct view view;

    expect(m, v, end, &want);
    CHECK_EQ(view_open(st->ix, st->lg, v, end, &view), 0);
    view_extent(st->ix, st->lg, &view, &got);
    CHECK_EQ(got.events, want.events);
    CHECK_EQ(got.bytes, want.bytes);
    CHECK_EQ(got.first, want.first);
    CHECK_EQ(got.last, want.last);
    if (want.events) {
        CHECK_EQ(got.first_us, m->lines[want.first - 1].recorded_us);
        CHECK_EQ(got.last_us, m->lines[want.last - 1].recorded_us);
    }
}

/* All views of these entities, as they were at every step-th event, and around those given. */
static void check_past(const char *const *ids, size_t n, unsigned step, const evs_seq *seams,
                       size_t n_seams)
{
    struct model m;
    size_t ends = 0;

    model_load(&m, st);
    evs_seq *end = calloc(m.n / step + 3 * n_seams + 2, sizeof *end);
    for (evs_seq e = 0; e <= m.n; e += step)
        end[ends++] = e;
    for (size_t i = 0; i < n_seams; i++)
        for (evs_seq e = seams[i] - 1; e <= seams[i] + 1; e++)
            if (e <= m.n)
                end[ends++] = e;
    end[ends++] = m.n;
    for (size_t i = 0; i < ends; i++) {
        check_at(&m, &(struct evs_view){.kind = EVS_ALL}, end[i]);
        check_at(&m, &(struct evs_view){EVS_BELOW, EVS_ROOT, 0}, end[i]);
        for (evs_type t = 1; t <= evs_type_count(st); t++)
            check_at(&m, &(struct evs_view){EVS_TYPE, 0, t}, end[i]);
        for (size_t k = 0; k < n; k++) {
            evs_entity e = entity(ids[k]);
            check_at(&m, &(struct evs_view){EVS_BELOW, e, 0}, end[i]);
            check_at(&m, &(struct evs_view){EVS_OWN, e, 0}, end[i]);
            for (evs_type t = 1; t <= evs_type_count(st); t++)
                check_at(&m, &(struct evs_view){EVS_OWN_TYPE, e, t}, end[i]);
        }
    }
    free(end);
    model_free(&m);
}

static void test_a_directory_has_events_of_its_own(void)
{
    static const char *const ids[] = {"d", "d/x", "d/x/y", "e", "d/", "d//z"};

    start();
    struct evs_writer *w = writer();
    add(w, "d/x/y", -2, 3); /* d is a directory before it has an event */
    CHECK(!(index_set(st->ix, entity("d"))->own));
    add(w, "d", -3, 4);
    add(w, "e", -2, 2);
    add(w, "d/x", 0, 5);
    add(w, "d//z", 1, 1);
    add(w, "d", 1, 1);
    check_past(ids, ARRAY_LEN(ids), 1, NULL, 0);
    evs_writer_free(w);
    stop();
}

static void test_an_entity_becomes_a_directory(void)
{
    static const char *const ids[] = {"d", "d/x", "other"};

    for (int own = 1; own < 60;
         own += own < 30 ? 1 : 7) { /* in the set itself, and in its chunks */
        start();
        struct evs_writer *w = writer();
        add(w, "d", -2, own);
        add(w, "other", 0, 2);
        add(w, "d/x", 1, 2);
        add(w, "d", 0, own % 3); /* with none, all its own are before */
        add(w, "d/x", 0, 1);
        check_past(ids, ARRAY_LEN(ids), 1, NULL, 0);
        evs_writer_free(w);
        stop();
    }
}

/* Exactly as many own events, n of them before something is below. */
static void large(int own, int n, bool directory_first)
{
    static const char *const ids[] = {"d", "d/x"};
    const evs_seq seams[] = {INDEX_LARGE - 1, INDEX_LARGE,    INDEX_LARGE + 1, INDEX_LARGE + 2,
                             (evs_seq)n,      (evs_seq)n + 1, (evs_seq)own + 1};
    evs_type types[8];

    start();
    struct evs_writer *w = writer();
    if (directory_first)
        add(w, "d/x", 0, 1);
    add(w, "d", -4, n);
    if (own > n) {
        add(w, "d/x", 1, 1);
        add(w, "d", -3, own - n);
    }
    bool pairs = index_set(st->ix, entity("d"))->pairs;
    CHECK_EQ(pairs, own > (int)INDEX_LARGE);
    CHECK_EQ(index_find_pair(st->ix, entity("d"), 1) > 0, pairs);
    CHECK_EQ(evs_entity_types(st, entity("d"), types, ARRAY_LEN(types)), 4);
    add(w, "d/x", 5, 1);
    add(w, "d", 6, 2); /* a type that came after it was large */
    add(w, "d", 2, 1);
    check_past(ids, ARRAY_LEN(ids), 401, seams, ARRAY_LEN(seams));
    CHECK_EQ(evs_entity_types(st, entity("d"), types, ARRAY_LEN(types)), 5);
    CHECK_EQ(types[4], evs_find_type(st, "t6", 2));
    for (evs_type t = 0; t < 4; t++)
        CHECK_EQ(types[t], evs_find_type(st, (char[]){'t', (char)('0' + t)}, 2));
    evs_writer_free(w);
    stop();
}

static void test_an_entity_becomes_large(void)
{
    const int most = INDEX_LARGE;

    for (int own = most - 1; own <= most + 2; own++) {
        large(own, own, false);
        large(own, own, true);
        large(own, most - 10, false); /* a directory just before */
        large(own, 5, false);
    }
    large(most + 500, most + 1, false); /* and just after */
    large(most + 500, most, false);
    large(2 * most, most, true);
}

static void test_what_is_not_there_is_refused(void)
{
    struct evs_extent x = {.events = 77};
    struct view v;

    start();
    struct evs_writer *w = writer();
    add(w, "d", 0, 1);
    add(w, "d/x", 0, 1);
    add(w, "d", 0, 1);
    evs_entity d = entity("d"), own = index_set(st->ix, d)->own;
    const struct evs_view bad[] = {
        {EVS_TYPE, 0, 0},
        {EVS_TYPE, 0, 2},
        {EVS_OWN, 0, 0},
        {EVS_OWN, own, 0},
        {EVS_OWN, EVS_ROOT, 0},
        {EVS_BELOW, 0, 0},
        {EVS_BELOW, 1000, 0},
        {EVS_OWN_TYPE, d, 0},
        {EVS_OWN_TYPE, d, 9},
        {EVS_OWN_TYPE, 0, 1},
        {EVS_OWN, 3, 0} /* the type's set */,
    };
    CHECK(own > 0);
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        struct evs_cursor *c;
        CHECK_EQ(view_open(st->ix, st->lg, &bad[i], 1, &v), -ENOENT);
        CHECK_EQ(evs_view_extent(st, &bad[i], &x), -ENOENT);
        CHECK_FAIL(evs_cursor_new(st, &bad[i], &c, &err), err, NO_SUCH);
    }
    CHECK_EQ(x.events, 77);
    evs_writer_free(w);
    stop();
}

/* ---- transactions, while others look ---- */

/* Each has PART events of a, of which 2 are of type t0, PART of a/b and BULK of c: more than one batch. */
enum { PART = 3, BULK = 700, TRANSACTIONS = 120, EACH = 2 * PART + BULK };

static _Atomic bool writing;

static char *transaction(size_t *ret_n)
{
    char *text = malloc(EACH * 64), *p = text;

    *p++ = '[';
    for (int i = 0; i < PART; i++)
        p += sprintf(p, "{\"entity\":\"a\",\"type\":\"t%d\",\"data\":%d},", i < 2 ? 0 : 1, i);
    for (int i = 0; i < BULK; i++)
        p += sprintf(p, "{\"entity\":\"c\",\"type\":\"t%d\",\"data\":%d},", i % 7, i % 10);
    for (int i = 0; i < PART; i++)
        p += sprintf(p, "{\"entity\":\"a/b\",\"type\":\"t1\",\"data\":%d},", i);
    p[-1] = ']';
    *p++ = '\n';
    *ret_n = (size_t)(p - text);
    return text;
}

static void look(const struct evs_view *v, uint64_t each)
{
    struct evs_extent x;
    char last = 0;
    struct evs_cursor *c;

    CHECK_EQ(evs_view_extent(st, v, &x), 0);
    CHECK_EQ(x.events % each, 0);
    if (!x.events || evs_cursor_new(st, v, &c, NULL) < 0)
        return;
    CHECK_EQ(evs_cursor_read(c, x.bytes - 1, &last, 1, NULL), 1);
    CHECK_EQ(last, '\n');
    evs_cursor_free(c);
}

static void *look_on(void *arg)
{
    evs_entity a = entity("a"), b = entity("a/b"), big = entity("c");
    uintptr_t looks = 0;

    (void)arg;
    while (atomic_load_explicit(&writing, memory_order_acquire)) {
        CHECK_EQ(evs_end(st) % EACH, 0);
        look(&(struct evs_view){.kind = EVS_ALL}, EACH);
        look(&(struct evs_view){EVS_BELOW, a, 0}, 2 * PART);
        look(&(struct evs_view){EVS_OWN, a, 0}, PART);
        look(&(struct evs_view){EVS_OWN_TYPE, a, 1}, 2);
        look(&(struct evs_view){EVS_OWN, b, 0}, PART);
        look(&(struct evs_view){EVS_OWN, big, 0}, BULK);
        look(&(struct evs_view){EVS_OWN_TYPE, big, 1}, BULK / 7);
        look(&(struct evs_view){EVS_OWN_TYPE, big, evs_find_type(st, "t6", 2)}, BULK / 7);
        look(&(struct evs_view){EVS_TYPE, 0, 1}, 2 + BULK / 7);
        looks++;
    }
    return (void *)looks;
}

static void test_half_a_transaction_is_never_seen(void)
{
    pthread_t th[2];
    void *looks;
    size_t n;
    char *text = transaction(&n);

    start();
    struct evs_writer *w = writer();
    CHECK_EQ(evs_write(w, text, n, &(struct evs_cred){.uid = 1}, &err), n);
    writing = true;
    for (size_t i = 0; i < ARRAY_LEN(th); i++)
        CHECK_EQ(pthread_create(&th[i], NULL, look_on, NULL), 0);
    for (int i = 1; i < TRANSACTIONS; i++)
        CHECK_EQ(evs_write(w, text, n, &(struct evs_cred){.uid = 1}, &err), n);
    atomic_store_explicit(&writing, false, memory_order_release);
    for (size_t i = 0; i < ARRAY_LEN(th); i++) {
        (void)pthread_join(th[i], &looks);
        CHECK(looks);
    }
    CHECK_EQ(evs_end(st), TRANSACTIONS * EACH);
    evs_writer_free(w);
    free(text);
    stop();
}

int main(void)
{
    RUN(test_a_directory_has_events_of_its_own);
    RUN(test_an_entity_becomes_a_directory);
    RUN(test_an_entity_becomes_large);
    RUN(test_what_is_not_there_is_refused);
    RUN(test_half_a_transaction_is_never_seen);
    CHECK_DONE();
}
