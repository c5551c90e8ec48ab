/* SPDX-License-Identifier: MIT */
/* tree: what names are, which of them answer, and what directories list. */
#include "check.h"

#include "fs/tree.h"

#include <errno.h>

static struct evs_store *open_with(const char *lines)
{
    struct evs_target all = {.kind = EVS_ALL};
    struct evs_cred cred = {0};
    struct evs_store *st = NULL;
    struct evs_writer *w = NULL;
    struct evs_error err;

    CHECK_EQ(evs_open(":memory:", NULL, &st, &err), 0);
    CHECK_EQ(evs_writer_new(st, &all, NULL, &w, &err), 0);
    if (*lines)
        CHECK_EQ(evs_write(w, lines, strlen(lines), &cred, &err), strlen(lines));
    evs_writer_free(w);
    return st;
}

/* Walk path ("entities/a/b.jsonl") from the root; the result of the last step. */
static int walk(struct evs_store *st, const char *path, struct node *ret)
{
    struct node n = {.kind = NODE_ROOT, .id = NODE_ROOT_ID};
    char copy[8192];
    int r = 0;

    (void)snprintf(copy, sizeof copy, "%s", path);
    for (char *save, *name = strtok_r(copy, "/", &save); name && r == 0;
         name = strtok_r(NULL, "/", &save)) {
        r = tree_child(st, &n, name, ret);
        n = *ret;
    }
    return r;
}

static void names_are_what_the_grammar_says(void)
{
    static const struct {
        const char *path;
        int r;
        enum node_kind kind;
        const char *entity, *type;
    } all[] = {
        {"README", 0, NODE_README, "", ""},
        {"events.jsonl", 0, NODE_ALL, "", ""},
        {"other.jsonl", -EPERM, 0, "", ""},
        {"entities", 0, NODE_ENTITIES, "", ""},
        {"entities/events.jsonl", -EPERM, 0, "", ""},
        {"entities/state.json", -EPERM, 0, "", ""},
        {"entities/placed.jsonl", -EPERM, 0, "", ""},
        {"entities/a", 0, NODE_ENTITY, "a", ""},
        {"entities/a/b/c", 0, NODE_ENTITY, "a/b/c", ""},
        {"entities/a/events.jsonl", 0, NODE_BELOW, "a", ""},
        {"entities/a/state.json", 0, NODE_STATE, "a", ""},
        {"entities/a/other.json", -EPERM, 0, "", ""},
        {"entities/a/x.csv", -EPERM, 0, "", ""},
        {"entities/a/b/placed.jsonl", 0, NODE_OWN_TYPE, "a/b", "placed"},
        {"entities/a/x%2Fy.jsonl", 0, NODE_OWN_TYPE, "a", "x/y"},
        {"entities/a/x%2fy.jsonl", -EINVAL, 0, "", ""},
        {"entities/a/%61.jsonl", -EINVAL, 0, "", ""},
        {"entities/a/%65vents.jsonl", 0, NODE_OWN_TYPE, "a", "events"},
        {"entities/a%2Ejsonl", 0, NODE_ENTITY, "a.jsonl", ""},
        {"entities/100%25", 0, NODE_ENTITY, "100%", ""},
        {"entities/100%", -EINVAL, 0, "", ""},
        {"entities/%2E%2E", 0, NODE_ENTITY, "..", ""},
        {"entities/%", 0, NODE_ENTITY, "", ""}, /* before there is an id that begins with '/' */
        {"entities/%/x", 0, NODE_ENTITY, "/x", ""},
        {"entities/%/%/t.jsonl", 0, NODE_OWN_TYPE, "/", "t"},
        {"types/placed", 0, NODE_TYPE, "", "placed"},
        {"types/placed/events.jsonl", 0, NODE_TYPE_EVENTS, "", "placed"},
        {"types/placed/other.jsonl", -EPERM, 0, "", ""},
        {"types/a.jsonl", -EINVAL, 0, "", ""},
        {".evfs/health", 0, NODE_HEALTH, "", ""},
        {".evfs/none", -EPERM, 0, "", ""},
    };
    struct evs_store *st = open_with("");

    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        struct node n;
        int r = walk(st, all[i].path, &n);
        if (r != all[i].r)
            fprintf(stderr, "at %s\n", all[i].path);
        CHECK_EQ(r, all[i].r);
        if (r < 0 || all[i].r < 0)
            continue;
        struct node_names nm;
        node_names(st, &n, &nm);
        CHECK_EQ(n.kind, all[i].kind);
        CHECK_MEM(nm.entity, nm.entity_n, all[i].entity, strlen(all[i].entity));
        CHECK_MEM(nm.type, nm.type_n, all[i].type, strlen(all[i].type));
    }
    evs_close(st, NULL);
}

static void long_and_deep_names_are_refused(void)
{
    struct evs_store *st = open_with("");
    char path[8192] = "entities/";
    struct node n;

    memset(path + 9, 'a', 240);
    strcpy(path + 249, "");
    CHECK_EQ(walk(st, path, &n), 0);
    memset(path + 9, 'a', 256);
    strcpy(path + 265, "");
    CHECK_EQ(walk(st, path, &n), -ENAMETOOLONG);
    strcpy(path, "entities");
    for (int i = 0; i < 32; i++)
        strcat(path, "/d");
    CHECK_EQ(walk(st, path, &n), 0);
    strcat(path, "/d");
    CHECK_EQ(walk(st, path, &n), -ENAMETOOLONG);
    strcpy(path, "entities"); /* 6 × 200 bytes are more than an id has */
    for (int i = 0; i < 6; i++) {
        size_t at = strlen(path);
        path[at] = '/';
        memset(path + at + 1, 'x', 200);
        path[at + 201] = '\0';
    }
    CHECK_EQ(walk(st, path, &n), -ENAMETOOLONG);
    evs_close(st, NULL);
}

static void what_answers(void)
{
    static const struct {
        const char *path;
        bool answers, strict, exists;
    } all[] = {
        {"README", true, true, true},
        {"events.jsonl", true, true, true},
        {"entities/orders", true, true, true},
        {"entities/ghost", true, false, false},
        {"entities/.git", false, false, false},
        {"entities/ghost~", false, false, false},
        {"entities/orders/.git", false, false, false},
        {"entities/.real", true, true, true},
        {"entities/orders/42/placed.jsonl", true, true, true},
        {"entities/orders/placed.jsonl", false, false, false},
        {"entities/orders/42/paid.jsonl", false, false, false},
        {"entities/orders/events.jsonl", true, true, true},
        {"entities/orders/state.json", false, false, false},
        {"entities/orders/42/state.json", true, true, true},
        {"entities/ghost/events.jsonl", false, false, false},
        {"types/placed", true, true, true},
        {"types/none", true, true, false},
        {"types/.none", false, false, false},
        {"types/placed/events.jsonl", true, true, true},
        {"types/none/events.jsonl", false, false, false},
    };
    struct evs_store *st = open_with("{\"entity\":\"orders/42\",\"type\":\"placed\"}\n"
                                     "{\"entity\":\".real\",\"type\":\"paid\"}\n");

    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        struct node n;
        CHECK_EQ(walk(st, all[i].path, &n), 0);
        bool right = tree_answers(st, &n, false) == all[i].answers &&
                     tree_answers(st, &n, true) == all[i].strict &&
                     tree_exists(st, &n) == all[i].exists;
        if (!right)
            fprintf(stderr, "at %s\n", all[i].path);
        CHECK(right);
    }
    evs_close(st, NULL);
}

/* The names of path's directory, joined by blanks. Each must be found again, as the same thing. */
static void list(struct evs_store *st, const char *path, char *out)
{
    struct node dir = {.kind = NODE_ROOT, .id = NODE_ROOT_ID}, child, same;
    struct tree_list l;
    struct tree_entry e;
    uint64_t cookie = TREE_FIRST_COOKIE;

    *out = '\0';
    if (*path)
        CHECK_EQ(walk(st, path, &dir), 0);
    for (int r = 1; r > 0;) {
        tree_list_init(&l, st, &dir); /* anew for each: the cookie says it all */
        r = tree_list_next(&l, cookie, &e);
        tree_list_done(&l);
        CHECK(r >= 0);
        if (r <= 0)
            break;
        CHECK(e.cookie > cookie);
        cookie = e.cookie;
        strcat(strcat(out, *out ? " " : ""), e.name);
        CHECK_EQ(tree_child(st, &dir, e.name, &child), 0);
        CHECK_EQ(child.kind, e.kind);
        CHECK_EQ(child.entity, e.entity);
        CHECK_EQ(child.type, e.type);
        CHECK_EQ(node_st_ino(st, &child), e.ino);
        CHECK(tree_answers(st, &child, true));
        tree_parent(st, &child, &same);
        CHECK_EQ(node_st_ino(st, &same), node_st_ino(st, &dir));
    }
}

static void directories_list_what_exists(void)
{
    struct evs_store *st = open_with("{\"entity\":\"orders/42\",\"type\":\"placed\"}\n"
                                     "{\"entity\":\"orders/42\",\"type\":\"x/y\"}\n"
                                     "{\"entity\":\"orders/42\",\"type\":\"events\"}\n"
                                     "{\"entity\":\"orders/%\",\"type\":\"placed\"}\n"
                                     "{\"entity\":\"orders\",\"type\":\"made\"}\n"
                                     "{\"entity\":\"..\",\"type\":\"placed\"}\n");
    char out[4096];

    list(st, "", out);
    CHECK_STR(out, "README events.jsonl entities types .evfs");
    list(st, "entities", out);
    CHECK_STR(out, "orders %2E%2E");
    list(st, "entities/orders", out);
    CHECK_STR(out, "events.jsonl state.json made.jsonl 42 %25");
    list(st, "entities/orders/42", out);
    CHECK_STR(out, "events.jsonl state.json placed.jsonl x%2Fy.jsonl %65vents.jsonl");
    list(st, "entities/ghost", out);
    CHECK_STR(out, "");
    list(st, "types", out);
    CHECK_STR(out, "placed x%2Fy %65vents made");
    struct evs_target all = {.kind = EVS_ALL};
    struct evs_writer *w = NULL;
    static const char refused[] = "[{\"entity\":\"new\",\"type\":\"new\"},{\"entity\":\"orders\","
                                  "\"type\":\"made\",\"expected_version\":9}]\n";
    CHECK_EQ(evs_writer_new(st, &all, NULL, &w, NULL), 0);
    CHECK_EQ(evs_write(w, refused, strlen(refused), &(struct evs_cred){0}, NULL), -ESTALE);
    evs_writer_free(w);
    list(st, "types", out); /* a refused transaction leaves nothing to see */
    CHECK_STR(out, "placed x%2Fy %65vents made");
    list(st, "entities", out);
    CHECK_STR(out, "orders %2E%2E");
    list(st, "types/placed", out);
    CHECK_STR(out, "events.jsonl README schema.json schemas changes.jsonl");
    list(st, ".evfs", out);
#ifdef EVFS_HOTPATH
    CHECK_STR(out, "stats.json metrics.prom rejected.jsonl health hotpath.json");
#else
    CHECK_STR(out, "stats.json metrics.prom rejected.jsonl health");
#endif
    evs_close(st, NULL);
}

static void paths_are_said_as_they_are_typed(void)
{
    static const char *const all[] = {"/events.jsonl", "/entities/a/b.jsonl",
                                      "/entities/a/x%2Fy.jsonl", "/entities/100%25/events.jsonl",
                                      "/types/x%2Fy/events.jsonl"};
    struct evs_store *st = open_with("");
    char path[TREE_PATH_BYTES];

    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        struct node n;
        CHECK_EQ(walk(st, all[i] + 1, &n), 0);
        tree_path(st, &n, path);
        CHECK_STR(path, all[i]);
    }
    evs_close(st, NULL);
}

int main(void)
{
    RUN(names_are_what_the_grammar_says);
    RUN(long_and_deep_names_are_refused);
    RUN(what_answers);
    RUN(directories_list_what_exists);
    RUN(paths_are_said_as_they_are_typed);
    CHECK_DONE();
}
