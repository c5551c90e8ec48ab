/* SPDX-License-Identifier: MIT */
/* Who may append what: rights that change while an append is under way, and what a refusal tells. */
#include "model.h"
#include "store/ingest.h"
#include "store/limits.h"

#include <errno.h>
#include <stdio.h>

/* behind what has parameters of these names */
#include "appender.h"

static void start(void)
{
    CHECK_EQ(evs_open(":memory:", NULL, &st, &err), 0);
}

static void stop(void)
{
    CHECK_EQ(evs_close(st, &err), 0);
}

static const struct evs_dir acme = {EVS_DIR_ENTITY, "acme", 4};

static void own_acme(mode_t mode)
{
    CHECK_EQ(evs_set_owner(st, &acme, &(struct evs_owner){5, 6, mode}, &err), 0);
}

/* text's events, prepared through /events.jsonl. */
static struct batch *prepared(const char *text)
{
    struct batch *b = batch_get(st);
    const struct evs_target all = {.kind = EVS_ALL};
    size_t n = strlen(text);

    for (size_t at = 0; at < n;) {
        struct prepared *p = batch_add(b);
        ssize_t r = event_scan(text + at, n - at, 0, &b->scratch, &p->ev, &err);
        CHECK(r > 0);
        p->ev.pos = (uint32_t)at;
        b->n++;
        at += (size_t)r + 1; /* a line feed */
    }
    CHECK_EQ(ingest_prepare(st, b, &all, &me, &err), b->n);
    return b;
}

static const char three[] = "{\"entity\":\"x\",\"type\":\"t\"}\n"
                            "{\"entity\":\"acme/1\",\"type\":\"t\"}\n"
                            "{\"entity\":\"y\",\"type\":\"t\"}\n";

static void test_a_chmod_overtakes_an_append(void)
{
    start();
    own_acme(0777);
    struct batch *b = prepared(three);
    own_acme(0700);
    CHECK_EQ(ingest_commit(st, b, 3, false, &me, &err), 1);
    CHECK_EQ(err.why, EVS_DENIED);
    CHECK_EQ(err.pos, b->p[1].ev.pos);
    CHECK_EQ(evs_end(st), 1);
    batch_put(st, b);

    own_acme(0777);
    b = prepared(three); /* as a transaction: nothing */
    own_acme(0700);
    CHECK_EQ(ingest_commit(st, b, 3, true, &me, &err), 0);
    CHECK_EQ(err.why, EVS_DENIED);
    CHECK_EQ(evs_end(st), 1);
    batch_put(st, b);

    own_acme(0777);
    b = prepared(three); /* owners changed, but not for the worse */
    own_acme(0733);
    CHECK_EQ(ingest_commit(st, b, 3, true, &me, &err), 3);
    CHECK_EQ(evs_end(st), 4);
    batch_put(st, b);

    b = prepared(three); /* nor does it matter to what lies elsewhere */
    own_acme(0700);
    CHECK_EQ(ingest_commit(st, b, 1, true, &me, &err), 1);
    batch_put(st, b);
    stop();
}

static void test_who_may_not_write_learns_nothing(void)
{
    start();
    struct evs_writer *w = writer(EVS_ALL, NULL, NULL);
    TAKEN(w, "{\"entity\":\"acme/1\",\"type\":\"t\",\"id\":\"a\",\"data\":1}\n");
    own_acme(0700);
    /* a repeat, another content, a version that is wrong or right, a name too long, an id that is new */
    REFUSED(w, "{\"entity\":\"acme/1\",\"type\":\"t\",\"id\":\"a\",\"data\":1}\n", DENIED);
    REFUSED(w, "{\"entity\":\"acme/1\",\"type\":\"t\",\"id\":\"a\",\"data\":2}\n", DENIED);
    REFUSED(w, "{\"entity\":\"acme/1\",\"type\":\"t\",\"expected_version\":7}\n", DENIED);
    REFUSED(w, "{\"entity\":\"acme/1\",\"type\":\"t\",\"expected_version\":1}\n", DENIED);
    REFUSED(w, "{\"entity\":\"acme/2\",\"type\":\"t\",\"expected_version\":1}\n", DENIED);
    REFUSED(w, "{\"entity\":\"acme/1\",\"type\":\"t\",\"id\":\"b\"}\n", DENIED);
    CHECK_EQ(err.detail[0], '\0');
    char name[600];
    (void)snprintf(name, sizeof name, "{\"type\":\"t\",\"entity\":\"acme/%0500d\"}\n", 0);
    REFUSED(w, name, DENIED);
    /* in a transaction as well, whatever stands before and behind it */
    REFUSED(w,
            "[{\"entity\":\"x\",\"type\":\"t\",\"expected_version\":7},"
            "{\"entity\":\"acme/1\",\"type\":\"t\",\"id\":\"a\",\"data\":2},"
            "{\"entity\":\"x\",\"type\":\"t\"}]\n",
            DENIED);
    evs_writer_free(w);
    stop();
}

/* ---- what a border closes ---- */

static struct evs_dir entity(const char *id)
{
    return (struct evs_dir){EVS_DIR_ENTITY, id, strlen(id)};
}

static struct evs_dir type(const char *name)
{
    return (struct evs_dir){EVS_DIR_TYPE, name, strlen(name)};
}

static const struct evs_dir root = {.kind = EVS_DIR_ROOT};

static void own(struct evs_dir d, uid_t uid, gid_t gid, mode_t mode)
{
    CHECK_EQ(evs_set_owner(st, &d, &(struct evs_owner){uid, gid, mode}, &err), 0);
}

static mode_t mask(struct evs_dir d)
{
    return evs_border_mask(st, &d);
}

static void add(const char *id, const char *of)
{
    struct evs_writer *w = writer(EVS_OWN_TYPE, id, of);

    CHECK_EQ(evs_write(w, "1\n", 2, &(struct evs_cred){.uid = 0}, &err), 2);
    evs_writer_free(w);
}

/* A type's file is closed by events of that type, and by no others. */
static void test_a_border_closes_the_types_that_it_holds(void)
{
    start();
    own(root, 0, 0, 0755);
    add("acme/1", "a");
    add("beta/1", "b");
    add("open/1", "c");
    add("open/1", "a");
    CHECK_EQ(mask(type("a")), 0444);
    own(entity("acme"), 5, 6, 0700);
    CHECK_EQ(mask(type("a")), 0400);
    CHECK_EQ(mask(type("b")), 0444);
    CHECK_EQ(mask(type("c")), 0444);
    CHECK_EQ(mask(type("never")), 0444);
    CHECK_EQ(mask(root), 0400);
    own(entity("beta"), 7, 8, 0750);
    CHECK_EQ(mask(type("b")), 0400);
    CHECK_EQ(mask(type("c")), 0444);
    add("acme/1/deep", "c"); /* the first of its type there */
    CHECK_EQ(mask(type("c")), 0400);
    add("acme/1", "new");
    CHECK_EQ(mask(type("new")), 0400);
    own(entity("acme"), 5, 6, 0755);
    CHECK_EQ(mask(type("a")), 0444);
    CHECK_EQ(mask(type("b")), 0400);
    own(entity("acme/1"), 5, 6, 0700); /* a border within what is open */
    CHECK_EQ(mask(type("a")), 0400);
    CHECK_EQ(mask(entity("acme")), 0400); /* its own owner's */
    own(type("a"), 9, 9, 0755);           /* and the owner of the type may not read there */
    CHECK_EQ(mask(type("a")), 0);
    own(type("a"), 5, 9, 0755);
    CHECK_EQ(mask(type("a")), 0400);
    stop();
}

static void test_all_of_entities_is_a_border_too(void)
{
    start();
    own(root, 0, 0, 0755);
    own(entity(""), 5, 5, 0700);
    CHECK_EQ(mask(type("t")), 0444); /* there is nothing yet */
    add("a", "t");
    CHECK_EQ(mask(type("t")), 0400);
    own(entity(""), 5, 5, 0755);
    CHECK_EQ(mask(type("t")), 0444);
    stop();
}

/* What has no owner of its own is as open as the root, whatever is said of types/. */
static void test_types_are_not_more_open_than_the_root(void)
{
    start();
    add("a", "t");
    own(root, 0, 0, 0711);
    CHECK_EQ(mask(type("t")), 0444); /* as closed as the root */
    own(type(""), 0, 0, 0755);
    CHECK_EQ(mask(type("t")), 0400);
    own(entity(""), 0, 0, 0755);
    CHECK_EQ(mask(type("t")), 0444);
    stop();
}

static bool may_read(struct evs_dir d, uid_t uid, gid_t gid)
{
    return evs_may_read(st, &d, &(struct evs_cred){.uid = uid, .gid = gid});
}

/* The bits can't say of which groups an owner is; who opens a file can. */
static void test_a_file_is_opened_by_who_may_read_all_of_it(void)
{
    start();
    own(root, 9, 20, 0755);
    add("acme/1", "t");
    add("open/1", "u");
    CHECK(may_read(root, 9, 1));
    own(entity("acme"), 5, 20, 0750);
    CHECK_EQ(mask(root), 0400);
    CHECK(may_read(root, 9, 20));
    CHECK(!may_read(root, 9, 1)); /* the root's group is not his */
    CHECK(!may_read(type("t"), 9, 1));
    CHECK(may_read(type("t"), 9, 20));
    CHECK(may_read(type("u"), 9, 1));
    CHECK(may_read(root, 5, 1) && may_read(root, 0, 0));
    CHECK(may_read(entity("open"), 9, 1));
    own(entity("acme"), 5, 20, 0705);
    CHECK(may_read(root, 9, 1) && !may_read(root, 9, 20));
    stop();
}

/* However the events came, and in whatever order it is asked. */
static void test_types_are_found_by_any_way(void)
{
    uint64_t random = check_seed();
    bool holds[8][40] = {0}, any[40] = {0};
    char id[16], name[16];

    start();
    own(root, 0, 0, 0755);
    for (unsigned i = 0; i < 8; i++) {
        (void)snprintf(id, sizeof id, "b%u", i);
        own(entity(id), 5, 5, 0755);
    }
    for (int round = 0; round < 4000; round++) {
        unsigned b = (unsigned)(check_random(&random) % 8),
                 t = (unsigned)(check_random(&random) % 40);
        t = t * t / 40; /* some are rare */
        (void)snprintf(name, sizeof name, "t%u", t);
        if (check_random(&random) % 4) {
            (void)snprintf(id, sizeof id, "b%u/%u", b, (unsigned)(check_random(&random) % 3));
            add(id, name);
            holds[b][t] = any[t] = true;
            continue;
        }
        (void)snprintf(id, sizeof id, "b%u", b);
        own(entity(id), 5, 5, 0700);
        CHECK_EQ(mask(type(name)), any[t] && holds[b][t] ? 0400 : 0444);
        own(entity(id), 5, 5, 0755);
        CHECK_EQ(mask(type(name)), 0444);
    }
    stop();
}

static void test_borders_are_named_to_who_may_know(void)
{
    char text[400], name[32];

    start();
    own(root, 0, 0, 0755);
    add("acme/1", "t");
    CHECK_EQ(evs_borders(st, true, text, sizeof text), 0);
    CHECK_STR(text, "");
    own(entity("acme"), 5, 6, 0700);
    own(entity("empty"), 5, 6, 0700); /* closes nothing */
    CHECK_EQ(evs_borders(st, true, text, sizeof text), 1);
    CHECK(strstr(text, "border: entities/acme (mode 700)") && !strstr(text, "empty"));
    CHECK_EQ(evs_borders(st, false, text, sizeof text), 1);
    CHECK_STR(text, "border: 1 close files above them\n");
    for (int i = 0; i < 20; i++) {
        (void)snprintf(name, sizeof name, "tenant%d", i);
        add(name, "t");
        own(entity(name), 5, 6, 0700);
    }
    CHECK_EQ(evs_borders(st, true, text, sizeof text), 21); /* whole lines, and how many are left */
    CHECK(strstr(text, " more close files above them\n"));
    CHECK_EQ(text[strlen(text) - 1], '\n');
    stop();
}

/* ---- shares ---- */

/* uid makes types until it is refused; returns how many. */
static uint32_t make_types(uid_t uid, const char *stem)
{
    struct evs_writer *w = writer(EVS_ALL, NULL, NULL);
    const struct evs_cred cred = {.uid = uid};
    uint32_t made = 0;
    char text[80];
    ssize_t r;

    do {
        int n = snprintf(text, sizeof text, "{\"entity\":\"e\",\"type\":\"%s%u\"}\n", stem, made);
        r = evs_write(w, text, (size_t)n, &cred, &err);
        made += r > 0;
    } while (r > 0);
    CHECK_FAIL(r, err, TOO_MANY);
    /* what there is can still be written */
    (void)snprintf(text, sizeof text, "{\"entity\":\"e\",\"type\":\"%s0\"}\n", stem);
    CHECK(evs_write(w, text, strlen(text), &cred, &err) > 0);
    evs_writer_free(w);
    return made;
}

static void test_no_user_takes_all_types(void)
{
    start();
    own(root, 9, 9, 0777);
    CHECK_EQ(make_types(7, "a"), LIMIT_TYPES / 2);
    CHECK_EQ(make_types(8, "b"), LIMIT_TYPES / 4);
    struct evs_writer *w = writer(EVS_ALL, NULL, NULL); /* and not by a transaction either */
    static const char tx[] =
        "[{\"entity\":\"e\",\"type\":\"x\"},{\"entity\":\"e\",\"type\":\"y\"}]\n";
    CHECK_FAIL(evs_write(w, tx, strlen(tx), &(struct evs_cred){.uid = 7}, &err), err, TOO_MANY);
    evs_writer_free(w);
    CHECK_EQ(make_types(9, "c"), LIMIT_TYPES / 4); /* the owner of the store: all that are left */
    stop();
}

static void test_no_user_takes_all_owned_directories(void)
{
    struct owners *o;
    char name[24];
    uint32_t made = 0;

    start();
    o = &st->owners;
    own(root, 9, 9, 0777);
    const struct evs_owner his = {7, 7, 0700}, other = {8, 8, 0700}, mine = {9, 9, 0700};
    for (
        ;;
        made++) { /* in memory only: what meta.db does is not the question; in order, or it takes minutes */
        (void)snprintf(name, sizeof name, "d%07u", made);
        const struct evs_dir d = entity(name);
        if ((made % 1024 == 0 || made > LIMIT_OWNERS / 2 - 3) && !owners_has_room(o, &d, &his))
            break;
        CHECK_EQ(owners_set(o, &d, &his, &err), 0);
    }
    CHECK_EQ(made, LIMIT_OWNERS / 2 - 1); /* the root has one */
    const struct evs_dir d = entity("x"), d0 = entity("d0000000");
    CHECK_FAIL(evs_set_owner(st, &d, &his, &err), err, TOO_MANY);
    CHECK(owners_has_room(o, &d0, &his)); /* it has one */
    CHECK(owners_has_room(o, &d, &other) && owners_has_room(o, &d, &mine));
    stop();
}

int main(void)
{
    RUN(test_a_chmod_overtakes_an_append);
    RUN(test_who_may_not_write_learns_nothing);
    RUN(test_a_border_closes_the_types_that_it_holds);
    RUN(test_all_of_entities_is_a_border_too);
    RUN(test_types_are_not_more_open_than_the_root);
    RUN(test_a_file_is_opened_by_who_may_read_all_of_it);
    RUN(test_types_are_found_by_any_way);
    RUN(test_borders_are_named_to_who_may_know);
    RUN(test_no_user_takes_all_types);
    RUN(test_no_user_takes_all_owned_directories);
    CHECK_DONE();
}
