/* SPDX-License-Identifier: MIT */
/* node: ids, the table of names that are not real yet, and st_ino. */
#include "check.h"

#include "fs/node.h"

#include <errno.h>

static struct evs_store *open_memory(void)
{
    struct evs_store *st = NULL;
    struct evs_error err;

    CHECK_EQ(evs_open(":memory:", NULL, &st, &err), 0);
    return st;
}

static void append(struct evs_store *st, const char *line)
{
    struct evs_target all = {.kind = EVS_ALL};
    struct evs_cred cred = {0};
    struct evs_writer *w = NULL;
    struct evs_error err;

    CHECK_EQ(evs_writer_new(st, &all, NULL, &w, &err), 0);
    CHECK_EQ(evs_write(w, line, strlen(line), &cred, &err), strlen(line));
    evs_writer_free(w);
}

static struct node named(enum node_kind kind, const char *entity, const char *type)
{
    struct node n = {
        .kind = kind, .entity_n = (uint16_t)strlen(entity), .type_n = (uint16_t)strlen(type)};

    memcpy(n.entity_name, entity, n.entity_n);
    memcpy(n.type_name, type, n.type_n);
    return n;
}

static void computed_ids_are_apart_and_come_back(void)
{
    static const struct {
        enum node_kind kind;
        evs_entity entity;
        evs_type type;
    } all[] = {{NODE_ROOT, 0, 0},           {NODE_ENTITIES, EVS_ROOT, 0},
               {NODE_ENTITY, 2, 0},         {NODE_BELOW, 2, 0},
               {NODE_OWN_TYPE, 2, 1},       {NODE_OWN_TYPE, 1, 2},
               {NODE_TYPE_EVENTS, 0, 2},    {NODE_TYPE, 0, 2},
               {NODE_STATE, UINT32_MAX, 0}, {NODE_OWN_TYPE, UINT32_MAX, 0xffffff}};
    uint64_t ids[sizeof all / sizeof *all];
    struct evs_store *st = open_memory();
    struct nodes *ns = nodes_new(st);

    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        struct node n;
        ids[i] = node_computed_id(all[i].kind, all[i].entity, all[i].type);
        for (size_t j = 0; j < i; j++)
            CHECK(ids[i] != ids[j]);
        CHECK_EQ(nodes_resolve(ns, ids[i], &n), 0);
        CHECK_EQ(n.kind, all[i].kind);
        CHECK_EQ(n.entity, all[i].entity);
        CHECK_EQ(n.type, all[i].type);
    }
    CHECK_EQ(ids[0], NODE_ROOT_ID);
    nodes_free(ns);
    evs_close(st, NULL);
}

static void ids_that_were_never_given_are_stale(void)
{
    static const uint64_t ids[] = {
        0, 2, (uint64_t)NODE_KINDS << 56, (uint64_t)NODE_ROOT << 56, 0xffull << 56 | 7, UINT64_MAX};
    struct evs_store *st = open_memory();
    struct nodes *ns = nodes_new(st);
    struct node n;

    for (size_t i = 0; i < sizeof ids / sizeof *ids; i++)
        CHECK_EQ(nodes_resolve(ns, ids[i], &n), -ESTALE);
    nodes_free(ns);
    evs_close(st, NULL);
}

static void a_name_keeps_its_id_when_it_becomes_real(void)
{
    struct evs_store *st = open_memory();
    struct nodes *ns = nodes_new(st);
    struct node n = named(NODE_OWN_TYPE, "orders/42", "placed"), again = n, got;

    CHECK_EQ(nodes_ref(ns, &n), 0);
    CHECK_EQ(nodes_count(ns), 1);
    CHECK_EQ(nodes_resolve(ns, n.id, &got), 0);
    CHECK(!node_numbered(&got));
    CHECK_MEM(got.entity_name, got.entity_n, "orders/42", 9);
    uint64_t ino = node_st_ino(st, &got);

    append(st, "{\"entity\":\"orders/42\",\"type\":\"placed\",\"data\":1}\n");
    CHECK_EQ(nodes_resolve(ns, n.id, &got), 0);
    CHECK(node_numbered(&got));
    CHECK_EQ(got.entity, evs_find_entity(st, "orders/42", 9));
    CHECK_EQ(node_st_ino(st, &got), ino);

    node_find(st, &again);
    CHECK(node_numbered(&again));
    CHECK_EQ(nodes_ref(ns, &again), 0); /* a second look-up, by number now */
    CHECK_EQ(again.id, n.id);
    CHECK_EQ(node_st_ino(st, &again), ino);

    nodes_forget(ns, n.id, 1);
    CHECK_EQ(nodes_resolve(ns, n.id, &got), 0);
    nodes_forget(ns, n.id, 1);
    CHECK_EQ(nodes_count(ns), 0);
    CHECK_EQ(nodes_resolve(ns, n.id, &got), -ESTALE);
    CHECK_EQ(nodes_ref(ns, &again), 0);
    CHECK_EQ(again.id, node_computed_id(NODE_OWN_TYPE, again.entity, again.type));
    CHECK_EQ(nodes_count(ns), 0);
    nodes_free(ns);
    evs_close(st, NULL);
}

static void names_differ_by_kind_and_by_where_they_part(void)
{
    static const struct {
        enum node_kind kind;
        const char *entity, *type;
    } all[] = {{NODE_ENTITY, "ab", ""},      {NODE_BELOW, "ab", ""},     {NODE_STATE, "ab", ""},
               {NODE_OWN_TYPE, "a", "bc"},   {NODE_OWN_TYPE, "ab", "c"}, {NODE_TYPE, "", "ab"},
               {NODE_TYPE_EVENTS, "", "ab"}, {NODE_ENTITY, "a/b", ""},   {NODE_ENTITY, "a", ""}};
    const size_t n_all = sizeof all / sizeof *all;
    struct evs_store *st = open_memory();
    struct nodes *ns = nodes_new(st);
    uint64_t ids[16], inos[16];

    for (size_t i = 0; i < n_all; i++) {
        struct node n = named(all[i].kind, all[i].entity, all[i].type);
        CHECK_EQ(nodes_ref(ns, &n), 0);
        ids[i] = n.id;
        inos[i] = node_st_ino(st, &n);
        CHECK(inos[i] > NODE_ROOT_ID);
        for (size_t j = 0; j < i; j++) {
            CHECK(ids[i] != ids[j]);
            CHECK(inos[i] != inos[j]);
        }
    }
    CHECK_EQ(nodes_count(ns), n_all);
    nodes_free(ns);
    evs_close(st, NULL);
}

static void the_root_alone_has_ino_1(void)
{
    struct evs_store *st = open_memory();
    struct node root = {.kind = NODE_ROOT}, readme = {.kind = NODE_README};

    CHECK_EQ(node_st_ino(st, &root), 1);
    CHECK(node_st_ino(st, &readme) > 1);
    evs_close(st, NULL);
}

static void many_names_are_found_again(void)
{
    enum { N = 5000 };
    static uint64_t ids[N];
    struct evs_store *st = open_memory();
    struct nodes *ns = nodes_new(st);
    uint64_t seed = check_seed();
    char text[32];
    struct node n;

    for (int i = 0; i < N; i++) {
        (void)snprintf(text, sizeof text, "e%d", i);
        n = named(NODE_ENTITY, text, "");
        CHECK_EQ(nodes_ref(ns, &n), 0);
        ids[i] = n.id;
    }
    CHECK_EQ(nodes_count(ns), N);
    for (int i = 0; i < N; i++) {
        int k = (int)(check_random(&seed) % N);
        (void)snprintf(text, sizeof text, "e%d", k);
        CHECK_EQ(nodes_resolve(ns, ids[k], &n), 0);
        CHECK_MEM(n.entity_name, n.entity_n, text, strlen(text));
        n = named(NODE_ENTITY, text, "");
        CHECK_EQ(nodes_ref(ns, &n), 0);
        CHECK_EQ(n.id, ids[k]);
        nodes_forget(ns, n.id, 1);
    }
    for (int i = 0; i < N; i++)
        nodes_forget(ns, ids[i], 1);
    CHECK_EQ(nodes_count(ns), 0);
    nodes_free(ns);
    evs_close(st, NULL);
}

int main(void)
{
    RUN(computed_ids_are_apart_and_come_back);
    RUN(ids_that_were_never_given_are_stale);
    RUN(a_name_keeps_its_id_when_it_becomes_real);
    RUN(names_differ_by_kind_and_by_where_they_part);
    RUN(the_root_alone_has_ino_1);
    RUN(many_names_are_found_again);
    CHECK_DONE();
}
