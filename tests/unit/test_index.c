/* SPDX-License-Identifier: MIT */
/* Names as a tree, types, pairs, marks, and what readers see while the writer goes on. */
#include "model.h"
#include "store/ingest.h"
#include "store/limits.h"

#include <errno.h>
#include <pthread.h>

static struct index *ix;
static struct evs_error err;

static struct slice text(const char *s)
{
    return (struct slice){s, strlen(s)};
}

static entity_id find(const char *id)
{
    return index_find_entity(ix, text(id), index_entity_hash(text(id)));
}

static UNANALYSED entity_id intern(const char *id)
{
    return index_intern_entity(ix, text(id), index_entity_hash(text(id)));
}

static UNANALYSED type_id intern_type(const char *type)
{
    return index_intern_type(ix, text(type), index_type_hash(text(type)));
}

static void name_is(entity_id e, const char *want)
{
    char buf[LIMIT_ENTITY_BYTES];
    int n = index_entity_name(ix, e, buf, sizeof buf);

    CHECK_MEM(buf, n, want, strlen(want));
    if (n > 0)
        CHECK_EQ(index_entity_name(ix, e, buf, (size_t)n - 1), -ERANGE);
}

static void test_names_are_a_tree(void)
{
    static const char *const ids[] = {"a",   "a/b/c", "a/b", "/",    "//",       "/a", "a/",
                                      "a//", "b",     "ab",  "a/bc", "\xc3\xa9", " "};

    CHECK_EQ(index_new(&ix, &err), 0);
    for (size_t i = 0; i < ARRAY_LEN(ids); i++)
        CHECK(!find(ids[i]));
    for (size_t i = 0; i < ARRAY_LEN(ids); i++) {
        entity_id e = intern(ids[i]);
        CHECK_EQ(intern(ids[i]), e);
    }
    for (size_t i = 0; i < ARRAY_LEN(ids); i++) {
        CHECK(find(ids[i]) > 1);
        name_is(find(ids[i]), ids[i]);
        for (size_t k = 0; k < i; k++)
            CHECK(find(ids[i]) != find(ids[k]));
    }
    entity_id a = find("a"), b = find("a/b"), empty = find("");
    CHECK_EQ(index_set(ix, a)->parent, 1);
    CHECK_EQ(index_set(ix, b)->parent, a);
    CHECK_EQ(index_set(ix, empty)->parent, 1); /* above those that begin with '/' */
    CHECK_EQ(index_set(ix, find("/"))->parent, empty);
    CHECK_EQ(index_find_child(ix, 1, text("a")), a);
    CHECK_EQ(index_find_child(ix, a, text("b")), b);
    CHECK_EQ(index_find_child(ix, a, text("")), find("a/"));
    CHECK_EQ(index_find_child(ix, a, text("x")), 0);
    CHECK_EQ(index_find_child(ix, a, text("b/c")), find("a/b/c"));
    CHECK_EQ(index_find_nearest(ix, text("a/b/x/y")), b);
    CHECK_EQ(index_find_nearest(ix, text("a/b")), b);
    CHECK_EQ(index_find_nearest(ix, text("zz/b")), 1);
    struct slice comp = index_component(ix, find("a/b/c"));
    CHECK_MEM(comp.p, comp.n, "c", 1);
    name_is(1, "");
    index_free(ix);
    index_free(NULL);
}

/* Of any length up to 40, in any component, no other byte will do. */
static UNANALYSED void test_names_differ_in_one_byte(void)
{
    CHECK_EQ(index_new(&ix, &err), 0);
    for (size_t n = 1; n <= 40; n++) {
        char name[41];
        memset(name, 'n', n);
        const struct slice id = {name, n};
        for (size_t slash = 0; slash < n; slash += 5) { /* at 0: none */
            if (slash)
                name[slash] = '/';
            entity_id e = index_intern_entity(ix, id, index_entity_hash(id));
            type_id t = index_intern_type(ix, id, index_type_hash(id));
            CHECK(index_entity_is(ix, e, id));
            for (size_t i = 0; i < n; i++) {
                name[i] ^= 1;
                CHECK(!index_entity_is(ix, e, id));
                name[i] ^= 1;
                CHECK(!index_entity_is(ix, e, (struct slice){name, i}));
                CHECK(i == 0 || !index_entity_is(ix, e, (struct slice){name + i, n - i}));
            }
            CHECK_EQ(index_find_type(ix, id, index_type_hash(id)), t);
        }
    }
    index_free(ix);
}

static void test_long_names(void)
{
    char id[LIMIT_ENTITY_BYTES + 1], comp[LIMIT_ENTITY_BYTES + 1];

    CHECK_EQ(index_new(&ix, &err), 0);
    memset(id, 'x', sizeof id);
    id[LIMIT_ENTITY_BYTES] = '\0';
    for (size_t i = 1; i <= LIMIT_COMPONENTS - 1; i++)
        id[i * 30] = '/';
    entity_id e = intern(id);
    name_is(e, id);
    size_t slash = (LIMIT_COMPONENTS - 1) * 30;
    memcpy(comp, id + slash + 1, sizeof id - slash - 1);
    CHECK_EQ(index_find_child(ix, index_set(ix, e)->parent, text(comp)), e);
    memset(comp, 'y', sizeof comp - 1);
    comp[sizeof comp - 1] = '\0';
    CHECK_EQ(index_find_child(ix, e, text(comp)), 0);
    CHECK_EQ(index_find_child(ix, 1, text(comp)), 0);
    index_free(ix);
}

static void test_types_are_not_entities(void)
{
    CHECK_EQ(index_new(&ix, &err), 0);
    CHECK_EQ(intern_type("a"), 1);
    CHECK(!find("a"));
    entity_id a = intern("a");
    CHECK_EQ(intern_type("b/c"), 2);
    CHECK_EQ(intern_type("a"), 1);
    CHECK_EQ(find("a"), a);
    CHECK_EQ(index_type_count(ix), 2);
    struct slice name = index_type_name(ix, 2);
    CHECK_MEM(name.p, name.n, "b/c", 3);
    CHECK_EQ(index_find_type(ix, text("b/c"), index_type_hash(text("b/c"))), 2);
    CHECK_EQ(index_find_type(ix, text("b"), index_type_hash(text("b"))), 0);
    for (uint32_t e = 0; e < 10; e++)
        CHECK_EQ(index_entity_valid(ix, e), e == 1 || e == a);
    index_free(ix);
}

static void test_types_have_a_limit(void)
{
    char name[20];

    CHECK_EQ(index_new(&ix, &err), 0);
    for (uint32_t i = 1; i <= LIMIT_TYPES; i++) {
        (void)snprintf(name, sizeof name, "t%u", i);
        if (intern_type(name) != i)
            CHECK_EQ(i, 0);
    }
    CHECK_EQ(intern_type("one more"), 0);
    CHECK_EQ(intern_type("t77"), 77);
    CHECK_EQ(index_type_count(ix), LIMIT_TYPES);
    index_free(ix);
}

static void test_room_is_told_before_it_ends(void)
{
    CHECK_EQ(index_new(&ix, &err), 0);
    CHECK(index_has_room(ix, LIMIT_TX_EVENTS));
    size_t used = ix->a.sets.used;
    ix->a.sets.used = ix->a.sets.reserved - 1000;
    CHECK(!index_has_room(ix, 1));
    ix->a.sets.used = used;
    used = ix->a.names.used;
    ix->a.names.used = ix->a.names.reserved - 1000;
    CHECK(!index_has_room(ix, 1));
    ix->a.names.used = used;
    used = ix->a.chunks.used;
    ix->a.chunks.used = ix->a.chunks.reserved - 1000;
    CHECK(!index_has_room(ix, 1));
    ix->a.chunks.used = used;
    CHECK(index_has_room(ix, 1));
    index_free(ix);
}

/* ---- with events ---- */

static struct evs_store *st;

static void start(void)
{
    CHECK_EQ(evs_open(":memory:", NULL, &st, &err), 0);
    ix = st->ix;
}

static void add(const char *id, const char *type)
{
    char line[300];
    int n = snprintf(line, sizeof line, "{\"entity\":\"%s\",\"type\":\"%s\"}\n", id, type);

    CHECK_EQ(put(st, line), n);
}

static void test_children_stand_in_order_of_appearance(void)
{
    char name[20];

    start();
    add("d/x0", "t");
    evs_entity d = evs_find_entity(st, "d", 1);
    CHECK_EQ(evs_next_child(st, d, 1), 0); /* not its child */
    for (int i = 1; i < 50; i++) {
        (void)snprintf(name, sizeof name, "d/x%d", i);
        add(name, "t");
        if (i % 3 == 0)
            (void)intern("d/nobody"); /* named by an append that failed: not listed */
    }
    evs_entity c = 0;
    for (int i = 0; i < 50; i++) {
        char comp[20];
        c = evs_next_child(st, d, c);
        int n = evs_component(st, c, comp, sizeof comp);
        CHECK_EQ(n, snprintf(name, sizeof name, "x%d", i));
        CHECK(n < 0 || memcmp(comp, name, (size_t)n) == 0);
    }
    CHECK_EQ(evs_next_child(st, d, c), 0);
    add("d/nobody", "t"); /* but then it has its place, from when it was named */
    size_t children = 0;
    for (c = 0; (c = evs_next_child(st, d, c));)
        children++;
    CHECK_EQ(children, 51);
    CHECK_EQ(evs_close(st, &err), 0);
}

/* Who appends to entities that are there helps the table of names to grow, too. */
static void test_names_do_not_stay_half_moved(void)
{
    char name[20];
    int n = 0;

    start();
    while (n < 3000 || !table_growing(&ix->names)) {
        (void)snprintf(name, sizeof name, "e%d", n++);
        add(name, "t");
    }
    for (int i = 0; i < 1000; i++)
        add("e1", "t");
    CHECK(!table_growing(&ix->names));
    CHECK_EQ(evs_close(st, &err), 0);
}

static void test_an_entity_and_a_directory_are_counted_once(void)
{
    struct evs_stats s;

    start();
    add("d/x", "t");
    add("d/x", "u");
    evs_stats(st, &s);
    CHECK_EQ(s.entities, 1);
    add("d", "t");
    add("d", "t");
    evs_stats(st, &s);
    CHECK_EQ(s.entities, 2);
    CHECK_EQ(s.types, 2);
    CHECK_EQ(evs_close(st, &err), 0);
}

static void test_a_check_finds_what_is_wrong(void)
{
    start();
    for (int i = 0; i < 1200; i++)
        add(i % 3 ? "a" : "a/b", i % 2 ? "t" : "u");
    for (int i = 0; i < 1300; i++)
        add("a", "v");
    CHECK_EQ(index_check(ix, st->lg, NULL, NULL), 0);
    uint32_t n = (uint32_t)(ix->a.sets.used / sizeof(struct set)), with_events = 0;
    for (uint32_t v = 2; v < n; v++) {
        struct set *s = arena_set(&ix->a, v);
        if (!s->n)
            continue;
        with_events++;
        s->bytes++;
        CHECK_EQ(index_check(ix, st->lg, NULL, NULL), 1);
        s->bytes--;
        s->last++;
        CHECK_EQ(index_check(ix, st->lg, NULL, NULL), 1);
        s->last--;
    }
    CHECK_EQ(with_events, 2 + 1 + 3 + 3); /* a, a/b; a's own; types; pairs of a */
    CHECK_EQ(evs_close(st, &err), 0);
}

/* ---- marks ---- */

static struct evs_change got[64];
static size_t got_n;

static void take(void *arg, const struct evs_change *c, size_t n)
{
    (void)arg;
    for (size_t i = 0; i < n && got_n < ARRAY_LEN(got); i++)
        got[got_n++] = c[i];
}

static uint8_t marks_of(evs_entity e, evs_type t)
{
    uint8_t marks = 0;

    for (size_t i = 0; i < got_n; i++)
        if (got[i].entity == e && got[i].type == t) {
            CHECK(!(marks & got[i].marks)); /* each once */
            marks |= got[i].marks;
        }
    return marks;
}

static void test_marks_say_what_grew(void)
{
    const uint8_t all = EVS_MARK_BELOW | EVS_MARK_OWN | EVS_MARK_CHILDREN;

    start();
    evs_on_change(st, take, NULL);
    add("d", "t");
    add("d/x", "t");
    evs_entity d = evs_find_entity(st, "d", 1), x = evs_find_entity(st, "d/x", 3);
    CHECK_EQ(got_n, 0);
    evs_mark_entity(st, d, all);
    evs_mark_entity(st, d, all); /* twice is once */
    evs_mark_entity(st, x, all);
    evs_mark_entity(st, EVS_ROOT, all);
    evs_mark_entity(st, 0, EVS_MARK_CHILDREN);
    evs_mark_type(st, 1);
    evs_mark_type(st, 99);
    evs_mark_entity(st, 99, all);
    CHECK_EQ(ix->marked, 5 + 1); /* the root's BELOW and CHILDREN are two */

    add("d/y", "t");
    CHECK_EQ(marks_of(d, 0), EVS_MARK_BELOW | EVS_MARK_CHILDREN);
    CHECK_EQ(marks_of(EVS_ROOT, 0), EVS_MARK_BELOW);
    CHECK_EQ(marks_of(0, 1), EVS_MARK_TYPE);
    CHECK_EQ(marks_of(x, 0), 0);
    got_n = 0;
    add("d/y", "t");
    CHECK_EQ(got_n, 0);
    add("d", "t");
    CHECK_EQ(marks_of(d, 0), EVS_MARK_OWN);
    got_n = 0;
    add("e", "u");
    CHECK_EQ(marks_of(EVS_ROOT, 0), EVS_MARK_CHILDREN);
    CHECK_EQ(marks_of(0, 0), EVS_MARK_CHILDREN); /* types/ */
    CHECK_EQ(got_n, 2);
    got_n = 0;
    add("d/x", "v");
    CHECK_EQ(marks_of(x, 0), EVS_MARK_BELOW | EVS_MARK_OWN);
    got_n = 0;
    add("d/x/deep/er", "v");
    CHECK_EQ(marks_of(x, 0), EVS_MARK_CHILDREN);
    CHECK_EQ(got_n, 1);
    CHECK_EQ(ix->marked, 0);
    got_n = 0;
    CHECK_EQ(evs_close(st, &err), 0);
}

/* ---- readers and a writer ---- */

enum { NAMES = 6000 };
static _Atomic int made;

static void name_of(int i, char *out, size_t n)
{
    (void)snprintf(out, n, "dir%d/sub/e%d", i % 37, i);
}

static void *look_up(void *arg)
{
    uint64_t random = 1 + (uintptr_t)arg;
    char name[64], back[64];
    int n;

    while ((n = atomic_load_explicit(&made, memory_order_acquire)) < NAMES) {
        if (!n)
            continue;
        name_of((int)(check_random(&random) % (uint64_t)n), name, sizeof name);
        entity_id e = find(name);
        CHECK(e);
        int len = e ? index_entity_name(ix, e, back, sizeof back) : 0;
        CHECK_MEM(back, len, name, strlen(name));
        name_of(NAMES + n, name, sizeof name);
        CHECK(!find(name));
        size_t children = 0;
        for (evs_entity c = 0; (c = evs_next_child(st, EVS_ROOT, c));)
            children++;
        CHECK(children >= (size_t)MIN(n, 37) && children <= 37);
        CHECK_EQ(index_find_type(ix, text("t"), index_type_hash(text("t"))), 1);
    }
    return NULL;
}

static void test_names_are_found_while_others_are_made(void)
{
    pthread_t th[2];
    char name[64];

    start();
    made = 0;
    for (uintptr_t i = 0; i < ARRAY_LEN(th); i++)
        CHECK_EQ(pthread_create(&th[i], NULL, look_up, (void *)i), 0);
    for (int i = 0; i < NAMES; i++) {
        name_of(i, name, sizeof name);
        add(name, "t");
        atomic_store_explicit(&made, i + 1, memory_order_release);
    }
    for (size_t i = 0; i < ARRAY_LEN(th); i++)
        (void)pthread_join(th[i], NULL);
    CHECK_EQ(index_check(ix, st->lg, NULL, NULL), 0);
    CHECK_EQ(evs_close(st, &err), 0);
}

/* A mark that is set before the view is looked at: what the look did not show is reported, always. */
static _Atomic uint64_t reported;
static _Atomic bool growing;

static void note(void *arg, const struct evs_change *c, size_t n)
{
    (void)arg;
    for (size_t i = 0; i < n; i++)
        if (c[i].type == 1 && (c[i].marks & EVS_MARK_TYPE))
            atomic_fetch_add(&reported, 1);
}

static void *watch(void *arg)
{
    uint64_t seen = 0, missed = 0;

    (void)arg;
    while (atomic_load_explicit(&growing, memory_order_acquire)) {
        struct evs_extent x = {0};
        uint64_t before = atomic_load(&reported);
        evs_mark_type(st, 1);
        CHECK_EQ(evs_view_extent(st, &(struct evs_view){EVS_TYPE, 0, 1}, &x), 0);
        if (x.events > seen)
            seen = x.events;
        /* No report and yet it grew, and so for good: the writer has gone on since. */
        evs_seq end = evs_end(st) + 2;
        while (atomic_load(&reported) == before && evs_end(st) < end &&
               atomic_load_explicit(&growing, memory_order_acquire))
            ;
        missed += atomic_load(&reported) == before && evs_end(st) >= end;
    }
    return (void *)(uintptr_t)missed;
}

static void test_no_growth_goes_unreported(void)
{
    pthread_t th;
    void *missed;

    start();
    reported = 0;
    evs_on_change(st, note, NULL);
    add("a", "t");
    growing = true;
    CHECK_EQ(pthread_create(&th, NULL, watch, NULL), 0);
    for (int i = 0; i < 20000; i++)
        add("a", "t");
    atomic_store_explicit(&growing, false, memory_order_release);
    (void)pthread_join(th, &missed);
    CHECK_EQ((uintptr_t)missed, 0);
    CHECK(reported > 0);
    CHECK_EQ(evs_close(st, &err), 0);
}

int main(void)
{
    RUN(test_names_are_a_tree);
    RUN(test_names_differ_in_one_byte);
    RUN(test_long_names);
    RUN(test_types_are_not_entities);
    RUN(test_types_have_a_limit);
    RUN(test_room_is_told_before_it_ends);
    RUN(test_children_stand_in_order_of_appearance);
    RUN(test_names_do_not_stay_half_moved);
    RUN(test_an_entity_and_a_directory_are_counted_once);
    RUN(test_a_check_finds_what_is_wrong);
    RUN(test_marks_say_what_grew);
    RUN(test_names_are_found_while_others_are_made);
    RUN(test_no_growth_goes_unreported);
    CHECK_DONE();
}
