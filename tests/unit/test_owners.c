/* SPDX-License-Identifier: MIT */
/* Owners: inheritance, what lies below, borders and their masks, who may append where. */
#include "check.h"
#include "store/owners.h"

#include <errno.h>
#include <pthread.h>

static struct owners o;
static struct index *ix;
static struct evs_error err;

static const struct evs_dir root = {.kind = EVS_DIR_ROOT};

static struct evs_dir entity(const char *id)
{
    return (struct evs_dir){EVS_DIR_ENTITY, id, strlen(id)};
}

static struct evs_dir type(const char *name)
{
    return (struct evs_dir){EVS_DIR_TYPE, name, strlen(name)};
}

static void own(struct evs_dir d, uid_t uid, gid_t gid, mode_t mode)
{
    CHECK_EQ(owners_set(&o, &d, &(struct evs_owner){uid, gid, mode}, &err), 0);
}

static void start(uid_t uid, mode_t mode)
{
    CHECK_EQ(owners_init(&o, &err), 0);
    CHECK_EQ(index_new(&ix, &err), 0);
    own(root, uid, 0, mode);
}

static void stop(void)
{
    owners_done(&o);
    index_free(ix);
}

static uid_t effective(struct evs_dir d)
{
    struct evs_owner got = {.uid = 9999};

    CHECK(owners_effective(&o, &d, &got));
    return got.uid;
}

static bool has_below(struct evs_dir d)
{
    return owners_any_below(&o, &d);
}

static mode_t mask(struct evs_dir d)
{
    return owners_border_mask(&o, &d, ix, NULL); /* types need events: test_rights.c */
}

static bool may(struct evs_dir through, const char *id, uid_t uid, gid_t gid)
{
    return owners_may_append(&o, &through, (struct slice){id, strlen(id)},
                             &(struct evs_cred){.uid = uid, .gid = gid});
}

/* The entity is known, with so many events (as far as owners can see). */
static UNANALYSED void known(const char *id, uint32_t n)
{
    struct slice s = {id, strlen(id)};
    entity_id e = index_intern_entity(ix, s, index_entity_hash(s));

    index_set(ix, e)->n = n;
}

static void the_nearest_above_counts(void)
{
    struct evs_owner got;

    start(1, 0755);
    own(entity(""), 2, 0, 0755);
    own(entity("a"), 3, 0, 0755);
    own(entity("a/b/c"), 4, 0, 0755);
    own(entity("a/bc"), 5, 0, 0755);
    own(type("t/u"), 6, 0, 0755);
    CHECK_EQ(effective(root), 1);
    CHECK_EQ(effective(entity("")), 2);
    CHECK_EQ(effective(entity("z")), 2);
    CHECK_EQ(effective(entity("/a")), 2); /* below a component without a name, not below a */
    CHECK_EQ(effective(entity("a")), 3);
    CHECK_EQ(effective(entity("a/")), 3);
    CHECK_EQ(effective(entity("a/b")), 3);
    CHECK_EQ(effective(entity("ab")), 2);
    CHECK_EQ(effective(entity("a/b/c")), 4);
    CHECK_EQ(effective(entity("a/b/c//d")), 4);
    CHECK_EQ(effective(entity("a/b/cd")), 3);
    CHECK_EQ(effective(entity("a/bc/d")), 5);
    CHECK_EQ(effective(type("")), 1);
    CHECK_EQ(effective(type("a")), 1);
    CHECK_EQ(effective(type("t/u")), 6);
    CHECK_EQ(effective(type("t/u/v")), 1); /* types do not nest */
    CHECK(!owners_get(&o, &(struct evs_dir){EVS_DIR_ENTITY, "a/b", 3}, &got));
    CHECK(owners_get(&o, &(struct evs_dir){EVS_DIR_ENTITY, "a/b/c", 5}, &got));
    CHECK_EQ(got.uid, 4);
    stop();
}

static void owners_come_and_go(void)
{
    start(1, 0755);
    CHECK_EQ(o.below, 0);
    own(entity("a"), 3, 0, 0755);
    own(entity("a"), 4, 0, 0700); /* replaced, not added */
    own(root, 2, 0, 0755);
    CHECK_EQ(o.below, 1);
    CHECK_EQ(o.n, 2);
    CHECK_EQ(effective(entity("a/b")), 4);
    CHECK_EQ(owners_clear(&o, &(struct evs_dir){EVS_DIR_ENTITY, "b", 1}), -ENOENT);
    CHECK_EQ(owners_clear(&o, &(struct evs_dir){EVS_DIR_TYPE, "a", 1}), -ENOENT);
    CHECK_EQ(owners_clear(&o, &(struct evs_dir){EVS_DIR_ENTITY, "a", 1}), 0);
    CHECK_EQ(owners_clear(&o, &(struct evs_dir){EVS_DIR_ENTITY, "a", 1}), -ENOENT);
    CHECK_EQ(o.below, 0);
    CHECK_EQ(effective(entity("a/b")), 2);
    CHECK(o.spare && o.spare_bytes > strlen("a")); /* to take it back needs no memory */
    stop();
}

static void what_lies_below_is_known(void)
{
    start(1, 0755);
    CHECK(!has_below(root));
    own(entity(""), 2, 0, 0755);
    CHECK(!has_below(entity("")));
    CHECK(has_below(root));
    own(entity("a/b"), 2, 0, 0755);
    own(entity("ab"), 2, 0, 0755);
    own(type("a"), 2, 0, 0755);
    CHECK(has_below(entity("")));
    CHECK(has_below(entity("a")));
    CHECK(!has_below(entity("a/b")));
    CHECK(!has_below(entity("ab")));
    CHECK(!has_below(entity("a/")));
    CHECK(!has_below(type("a")));
    CHECK(has_below(type("")));
    stop();
}

static void many_are_kept_in_order(void)
{
    uint64_t random = check_seed();
    uid_t want[500] = {0};
    char name[40];

    start(1000, 0755);
    for (int i = 0; i < 3000; i++) {
        unsigned k = (unsigned)(check_random(&random) % ARRAY_LEN(want));
        (void)snprintf(name, sizeof name, "%u/%u", k % 13, k);
        struct evs_dir d = entity(name);
        if (check_random(&random) % 3) {
            want[k] = 1 + (uid_t)(check_random(&random) % 900);
            own(d, want[k], 0, 0755);
        } else {
            CHECK_EQ(owners_clear(&o, &d), want[k] ? 0 : -ENOENT);
            want[k] = 0;
        }
    }
    size_t n = 0;
    for (unsigned k = 0; k < ARRAY_LEN(want); k++) {
        (void)snprintf(name, sizeof name, "%u/%u/x", k % 13, k);
        CHECK_EQ(effective(entity(name)), want[k] ? want[k] : 1000);
        n += want[k] > 0;
    }
    CHECK_EQ(o.below, n);
    CHECK_EQ(o.n, n + 1);
    stop();
}

static void a_border_takes_read_bits(void)
{
    start(0, 0755);
    known("acme", 1);
    known("other", 1);
    CHECK_EQ(mask(root), 0444);
    own(entity("acme"), 5, 6, 0755); /* everybody may read there */
    CHECK_EQ(mask(root), 0444);
    own(entity("acme"), 5, 6, 0700);
    CHECK_EQ(mask(root), 0400); /* root is root everywhere */
    CHECK_EQ(mask(entity("")), 0400);
    CHECK_EQ(mask(entity("acme")), 0444); /* within it nothing is hidden */
    CHECK_EQ(mask(entity("acme/1")), 0444);
    CHECK_EQ(mask(entity("other")), 0444);
    own(entity("acme"), 5, 6, 0755 & ~0001); /* not listed by others: a border as well */
    CHECK_EQ(mask(root), 0400);
    stop();
}

static void a_directorys_owner_must_be_let_in_too(void)
{
    start(1, 0755);
    own(entity("a"), 2, 20, 0755);
    known("a/b", 1);
    own(entity("a/b"), 3, 30, 0700);
    CHECK_EQ(mask(entity("a")), 0);
    CHECK_EQ(mask(root), 0);
    own(entity("a/b"), 2, 30, 0700); /* its own owner */
    CHECK_EQ(mask(entity("a")), 0400);
    CHECK_EQ(mask(root), 0);
    own(entity("a/b"), 3, 20, 0750); /* by his group */
    CHECK_EQ(mask(entity("a")), 0400);
    own(entity("a/b"), 3, 20, 0705); /* his group is shut out, though others are not */
    CHECK_EQ(mask(entity("a")), 0);
    own(entity("a/b"), 3, 30, 0705); /* he is one of the others */
    CHECK_EQ(mask(entity("a")), 0400);
    stop();
}

static void a_border_that_shuts_nobody_out_is_none(void)
{
    start(1, 0700);
    known("a", 1);
    own(entity("a"), 1, 0, 0700); /* the same owner, no less open than the root */
    CHECK_EQ(mask(root), 0444);
    own(entity("a"), 1, 0, 0300);
    CHECK_EQ(mask(root), 0);
    stop();
}

static void an_empty_border_hides_nothing(void)
{
    start(0, 0755);
    known("a", 0);
    own(entity("a"), 5, 5, 0700);
    CHECK_EQ(mask(root), 0444);
    known("a", 1);
    CHECK_EQ(mask(root), 0400);
    stop();
}

static void all_entities_can_be_closed(void)
{
    start(0, 0755);
    own(entity(""), 5, 5, 0700);
    CHECK_EQ(mask(root), 0444); /* there is nothing yet */
    ix->n_entities = 1;
    CHECK_EQ(mask(root), 0400);
    CHECK_EQ(mask(entity("")), 0444);
    CHECK(!may(root, "a", 7, 7));
    CHECK(may(root, "a", 5, 7));
    stop();
}

static void without_borders_the_kernels_word_counts(void)
{
    start(0, 0700);
    CHECK(may(root, "a", 7, 7));
    CHECK(may(entity("a"), "a/b", 7, 7));
    CHECK(may(type("t"), "a", 7, 7));
    stop();
}

static void above_a_border_each_event_is_judged(void)
{
    start(0, 0777);
    own(entity("acme"), 5, 6, 0770);
    own(entity("acme/open"), 5, 6, 0777);
    CHECK(may(root, "acme/1", 5, 1));
    CHECK(may(root, "acme/1", 0, 0));
    CHECK(may(root, "acme/1", 7, 6)); /* by group */
    CHECK(!may(root, "acme/1", 7, 7));
    CHECK(!may(root, "acme", 7, 7));
    CHECK(!may(type("t"), "acme/1", 7, 7));
    CHECK(!may(entity(""), "acme/1", 7, 7));
    CHECK(may(root, "acmes", 7, 7));
    CHECK(may(root, "other", 7, 7));
    CHECK(!may(root, "acme/open/1", 7, 7)); /* who can't get there by its path can't by another */
    CHECK(may(root, "acme/open/1", 7, 6));
    CHECK(may(entity("acme"), "acme/open/1", 7, 7)); /* the kernel has let it into acme */
    CHECK(may(entity("acme"), "acme/1", 7, 7));      /* the kernel let it open the file there */
    CHECK(may(entity("acme/1"), "acme/1/2", 7, 7));
    own(entity("acme/1/in"), 8, 8, 0700);
    CHECK(!may(entity("acme/1"), "acme/1/in", 5, 6));
    CHECK(may(entity("acme/1"), "acme/1/in/x", 8, 1));
    own(entity("acme"), 5, 6, 0711); /* a way in for those who know a name */
    CHECK(!may(root, "acme/1", 7, 7));
    CHECK(may(root, "acme/open/1", 7, 7));
    own(entity("acme/open"), 5, 6, 0666); /* a directory that can't be searched */
    CHECK(!may(root, "acme/open", 7, 7));
    own(entity("acme"), 5, 6, 0570); /* an owner who may not write is not saved by his group */
    CHECK(!may(root, "acme/1", 5, 6));
    own(entity("acme"), 5, 6, 0707); /* nor a group by the others */
    CHECK(!may(root, "acme/1", 7, 6));
    CHECK(may(root, "acme/1", 7, 7));
    stop();
}

/* Where types are more open than the entities that have no owner of their own. */
static void a_type_opens_no_other_directory(void)
{
    start(1, 0711);
    CHECK(may(type("t"), "a", 7, 7)); /* nothing has an owner: the kernel's word counts */
    own(type("t"), 1, 0, 0777);
    CHECK(!may(type("t"), "a", 7, 7));
    CHECK(may(type("t"), "a", 1, 7));
    own(entity(""), 1, 0, 0777);
    CHECK(may(type("t"), "a", 7, 7));
    stop();
}

static int asked;

static int groups_of(void *arg, gid_t *ret, int cap)
{
    int n = *(const int *)arg;

    asked++;
    for (int i = 0; i < MIN(n, cap); i++)
        ret[i] = 100 + (gid_t)i;
    return n;
}

static void groups_are_asked_for_only_at_a_border(void)
{
    int n = 3;
    struct evs_cred cred = {.uid = 7, .gid = 7, .groups = groups_of, .groups_arg = &n};
    struct slice acme = {"acme", 4}, other = {"other", 5};

    start(0, 0755);
    asked = 0;
    CHECK(owners_may_append(&o, &root, acme, &cred));
    own(entity("acme"), 5, 102, 0770);
    CHECK(owners_may_append(&o, &root, other, &cred));
    CHECK_EQ(asked, 0);
    CHECK(owners_may_append(&o, &root, acme, &cred));
    CHECK_EQ(asked, 1);
    own(entity("acme"), 5, 103, 0770); /* one more than he has */
    CHECK(!owners_may_append(&o, &root, acme, &cred));
    n = 0;
    CHECK(!owners_may_append(&o, &root, acme, &cred));
    n = -1;
    CHECK(!owners_may_append(&o, &root, acme, &cred));
    n = 1 << 20; /* more than there is room for */
    CHECK(owners_may_append(&o, &root, acme, &cred));
    cred.groups = NULL;
    CHECK(!owners_may_append(&o, &root, acme, &cred));
    stop();
}

static _Atomic bool changing;

static void *look(void *arg)
{
    (void)arg;
    while (atomic_load_explicit(&changing, memory_order_acquire)) {
        uid_t uid = effective(entity("a/b"));
        CHECK(uid == 1 || uid == 3 || uid == 4);
        mode_t m = mask(root);
        CHECK(m == 0444 || m == 0);
        (void)may(root, "a/b", 3, 3);
    }
    return NULL;
}

static void readers_see_whole_rows(void)
{
    pthread_t th[2];

    start(1, 0755);
    known("a", 1);
    changing = true;
    for (size_t i = 0; i < ARRAY_LEN(th); i++)
        CHECK_EQ(pthread_create(&th[i], NULL, look, NULL), 0);
    for (int i = 0; i < 3000; i++) {
        struct evs_dir a = entity("a");
        own(a, 3, 3, 0700);
        own(entity(i % 2 ? "0" : "z"), 9, 9, 0755);
        own(a, 4, 4, 0755);
        CHECK_EQ(owners_clear(&o, &a), 0);
    }
    atomic_store_explicit(&changing, false, memory_order_release);
    for (size_t i = 0; i < ARRAY_LEN(th); i++)
        (void)pthread_join(th[i], NULL);
    stop();
}

int main(void)
{
    RUN(the_nearest_above_counts);
    RUN(owners_come_and_go);
    RUN(what_lies_below_is_known);
    RUN(many_are_kept_in_order);
    RUN(a_border_takes_read_bits);
    RUN(a_directorys_owner_must_be_let_in_too);
    RUN(a_border_that_shuts_nobody_out_is_none);
    RUN(an_empty_border_hides_nothing);
    RUN(all_entities_can_be_closed);
    RUN(without_borders_the_kernels_word_counts);
    RUN(above_a_border_each_event_is_judged);
    RUN(a_type_opens_no_other_directory);
    RUN(groups_are_asked_for_only_at_a_border);
    RUN(readers_see_whole_rows);
    CHECK_DONE();
}
