/* SPDX-License-Identifier: MIT */
/* lease: who is told of what, and in which order. The kernel is a list of what it was told. */
#include "check.h"

#include "fs/lease.h"

#include <errno.h>

static struct told {
    char what; /* i: invalidated, w: woken, d: dropped */
    uint64_t id;
} told[512];
static size_t told_n;

static void tell(char what, uint64_t id)
{
    if (told_n < sizeof told / sizeof *told)
        told[told_n] = (struct told){what, id};
    told_n++;
}

static void invalidate(void *arg, uint64_t id)
{
    (void)arg;
    tell('i', id);
}

static void wake(void *arg, void *handle)
{
    (void)arg;
    tell('w', (uintptr_t)handle);
}

static void drop(void *arg, void *handle)
{
    (void)arg;
    tell('d', (uintptr_t)handle);
}

struct world {
    struct evs_store *st;
    struct nodes *ns;
    struct leases *l;
};

static struct world begin(void)
{
    static const struct lease_ops ops = {.invalidate = invalidate, .wake = wake, .drop = drop};
    struct world w = {.st = NULL};
    struct evs_error err;

    told_n = 0;
    CHECK_EQ(evs_open(":memory:", NULL, &w.st, &err), 0);
    w.ns = nodes_new(w.st);
    w.l = lease_new(w.st, w.ns, &ops);
    evs_on_change(w.st, lease_on_change, w.l);
    return w;
}

static void end(struct world *w)
{
    lease_free(w->l);
    nodes_free(w->ns);
    evs_close(w->st, NULL);
}

static void append(struct world *w, const char *entity, const char *type)
{
    struct evs_target all = {.kind = EVS_ALL};
    struct evs_cred cred = {0};
    struct evs_writer *wr = NULL;
    struct evs_error err;
    char line[256];
    int n = snprintf(line, sizeof line, "{\"entity\":\"%s\",\"type\":\"%s\",\"data\":1}\n", entity,
                     type);

    CHECK_EQ(evs_writer_new(w->st, &all, NULL, &wr, &err), 0);
    CHECK_EQ(evs_write(wr, line, (size_t)n, &cred, &err), n);
    evs_writer_free(wr);
}

static struct node node(struct world *w, enum node_kind kind, const char *entity, const char *type)
{
    struct node n = {
        .kind = kind, .entity_n = (uint16_t)strlen(entity), .type_n = (uint16_t)strlen(type)};

    memcpy(n.entity_name, entity, n.entity_n);
    memcpy(n.type_name, type, n.type_n);
    node_find(w->st, &n);
    if (kind == NODE_ENTITIES)
        n.entity = EVS_ROOT;
    CHECK_EQ(nodes_ref(w->ns, &n), 0);
    return n;
}

/* As GETATTR does. */
static void look(struct world *w, const struct node *n)
{
    CHECK_EQ(lease_grant(w->l, n), 0);
    lease_told(w->l, n, lease_version(w->st, n));
}

static size_t count(char what, uint64_t id)
{
    size_t n = 0;

    for (size_t i = 0; i < told_n && i < sizeof told / sizeof *told; i++)
        n += told[i].what == what && told[i].id == id;
    return n;
}

static void a_lease_is_broken_once_by_what_changes_it(void)
{
    struct world w = begin();

    append(&w, "a/b", "x");
    append(&w, "a/c", "y");
    struct node all = node(&w, NODE_ALL, "", ""), below = node(&w, NODE_BELOW, "a", ""),
                own = node(&w, NODE_OWN_TYPE, "a/b", "x"), other = node(&w, NODE_BELOW, "a/c", ""),
                type = node(&w, NODE_TYPE_EVENTS, "", "x"), state = node(&w, NODE_STATE, "a/b", "");
    look(&w, &all);
    look(&w, &below);
    look(&w, &own);
    look(&w, &other);
    look(&w, &type);
    look(&w, &state);
    CHECK_EQ(lease_count(w.l), 6);
    append(&w, "a/b", "x");
    CHECK_EQ(count('i', all.id), 1);
    CHECK_EQ(count('i', below.id), 1);
    CHECK_EQ(count('i', own.id), 1);
    CHECK_EQ(count('i', type.id), 1);
    CHECK_EQ(count('i', state.id), 1);
    CHECK_EQ(count('i', other.id), 0);
    append(&w, "a/b", "x"); /* nobody looked again */
    CHECK_EQ(told_n, 5);
    append(&w, "a/c", "x");
    CHECK_EQ(count('i', other.id), 1);
    CHECK_EQ(lease_count(w.l), 0);
    end(&w);
}

static void what_stays_the_same_keeps_its_lease(void)
{
    struct world w = begin();

    append(&w, "a", "x");
    append(&w, "a", "y");
    struct node x = node(&w, NODE_OWN_TYPE, "a", "x"), dir = node(&w, NODE_ENTITY, "a", "");
    look(&w, &x);
    look(&w, &dir);
    append(&w, "a", "y");
    append(&w, "a", "y");
    CHECK_EQ(told_n, 0);
    append(&w, "a", "x"); /* the mark is set again, though two reports have cleared it */
    CHECK_EQ(count('i', x.id), 1);
    CHECK_EQ(count('i', dir.id), 0);
    end(&w);
}

static void append_by(struct world *w, const struct node *n, const char *entity, const char *type)
{
    lease_writing(n->id);
    append(w, entity, type);
    lease_writing(0);
}

static void a_write_to_the_file_itself_leaves_its_lease(void)
{
    struct world w = begin();
    append(&w, "a", "t");
    struct node file = node(&w, NODE_OWN_TYPE, "a", "t"), own = node(&w, NODE_STATE, "a", ""),
                dir = node(&w, NODE_ENTITY, "a", "");

    look(&w, &file);
    look(&w, &own);
    append_by(&w, &file, "a", "t");
    CHECK_EQ(count('i', file.id), 0); /* the kernel knows */
    CHECK_EQ(count('i', own.id), 1);  /* of this it does not */
    CHECK_EQ(lease_count(w.l), 1);

    /* Until the kernel has our reply the size it was told may be asked of it: what others write is told. */
    append(&w, "a", "t");
    CHECK_EQ(count('i', file.id), 1);
    CHECK_EQ(lease_count(w.l), 0);

    /* The next write comes after that reply: the kernel asks for the size, whoever writes. */
    look(&w, &file);
    append_by(&w, &file, "a", "t");
    append_by(&w, &file, "a", "t");
    append(&w, "a", "t");
    CHECK_EQ(count('i', file.id), 1);

    /* Which was told, and is no secret any more. */
    look(&w, &file);
    append(&w, "a", "t");
    CHECK_EQ(count('i', file.id), 2);

    /* Mode and owner it still has from us; and a reader that sees the growth is shown it. */
    look(&w, &file);
    append_by(&w, &file, "a", "t");
    append_by(&w, &file, "a", "t");
    lease_check(w.l, &file, lease_version(w.st, &file));
    CHECK_EQ(count('i', file.id), 3);
    look(&w, &file);
    append_by(&w, &file, "a", "t");
    append_by(&w, &file, "a", "t");
    lease_break_dir(w.l, &dir);
    CHECK_EQ(count('i', file.id), 4);
    CHECK_EQ(lease_count(w.l), 0);
    end(&w);
}

static void a_new_entry_breaks_its_directory(void)
{
    struct world w = begin();

    append(&w, "a/b", "x");
    struct node top = node(&w, NODE_ENTITIES, "", ""), dir = node(&w, NODE_ENTITY, "a", ""),
                types = node(&w, NODE_TYPES, "", "");
    look(&w, &top);
    look(&w, &dir);
    look(&w, &types);
    append(&w, "a/c", "x");
    CHECK_EQ(count('i', top.id), 0);
    CHECK_EQ(count('i', types.id), 0);
    append(&w, "d", "y");
    CHECK_EQ(count('i', top.id), 1);
    CHECK_EQ(count('i', types.id), 1);
    end(&w);
}

static void a_check_breaks_only_what_differs(void)
{
    struct world w = begin();

    append(&w, "a", "x");
    struct node n = node(&w, NODE_ALL, "", "");
    look(&w, &n);
    lease_check(w.l, &n, lease_version(w.st, &n));
    CHECK_EQ(told_n, 0);
    lease_check(w.l, &n, lease_version(w.st, &n) + 1);
    CHECK_EQ(count('i', n.id), 1);
    lease_check(w.l, &n, 0); /* there is none any more */
    CHECK_EQ(told_n, 1);
    end(&w);
}

static void chmod_breaks_what_is_below_and_the_views_above(void)
{
    struct world w = begin();

    append(&w, "a/b/c", "x");
    append(&w, "z", "x");
    struct node all = node(&w, NODE_ALL, "", ""), above = node(&w, NODE_BELOW, "a", ""),
                self = node(&w, NODE_ENTITY, "a/b", ""),
                below = node(&w, NODE_OWN_TYPE, "a/b/c", "x"),
                beside = node(&w, NODE_BELOW, "z", ""), type = node(&w, NODE_TYPE_EVENTS, "", "x");
    look(&w, &all);
    look(&w, &above);
    look(&w, &self);
    look(&w, &below);
    look(&w, &beside);
    look(&w, &type);
    lease_break_dir(w.l, &self);
    CHECK_EQ(count('i', all.id), 1);
    CHECK_EQ(count('i', above.id), 1);
    CHECK_EQ(count('i', self.id), 1);
    CHECK_EQ(count('i', below.id), 1);
    CHECK_EQ(count('i', type.id), 1);
    CHECK_EQ(count('i', beside.id), 0);
    end(&w);
}

static void a_waiter_is_woken_after_the_leases_broke(void)
{
    struct world w = begin();
    struct waiter wait = {.prev = NULL};

    append(&w, "a", "x");
    struct node own = node(&w, NODE_OWN_TYPE, "a", "x"), all = node(&w, NODE_ALL, "", "");
    look(&w, &own);
    look(&w, &all);
    CHECK_EQ(lease_wait(w.l, &wait, &own, lease_version(w.st, &own), (void *)7), 0);
    append(&w, "a", "y");
    CHECK(lease_waits(w.l, &wait));
    append(&w, "b", "x");
    CHECK(lease_waits(w.l, &wait));
    append(&w, "a", "x");
    CHECK(!lease_waits(w.l, &wait));
    CHECK_EQ(count('w', 7), 1);
    CHECK_EQ(count('i', own.id), 1);
    CHECK(told_n == 3 && told[2].what == 'w');
    append(&w, "a", "x");
    CHECK_EQ(count('w', 7), 1);
    lease_unwait(w.l, &wait);
    CHECK_EQ(told_n, 3);
    end(&w);
}

static void a_name_that_is_not_real_can_be_waited_for(void)
{
    struct world w = begin();
    struct waiter wait = {.prev = NULL};
    struct node own = node(&w, NODE_OWN_TYPE, "new/one", "x");

    CHECK(!node_numbered(&own));
    CHECK_EQ(lease_wait(w.l, &wait, &own, 0, (void *)9), 0);
    append(&w, "old", "x");
    append(&w, "new/one", "y");
    CHECK(lease_waits(w.l, &wait));
    append(&w, "new/one", "x");
    CHECK_EQ(count('w', 9), 1);
    end(&w);
}

static void handles_are_dropped_once(void)
{
    struct world w = begin();
    struct waiter wait = {.prev = NULL};
    struct node all = node(&w, NODE_ALL, "", "");

    CHECK_EQ(lease_wait(w.l, &wait, &all, 0, (void *)1), 0);
    CHECK_EQ(lease_wait(w.l, &wait, &all, 0, (void *)2), 0);
    CHECK_EQ(count('d', 1), 1);
    lease_unwait(w.l, &wait);
    lease_unwait(w.l, &wait);
    CHECK_EQ(count('d', 2), 1);
    append(&w, "a", "x");
    CHECK_EQ(told_n, 2);
    end(&w);
}

static void thousands_wait_for_one_view(void)
{
    enum { N = 3000 };
    static struct waiter waits[N];
    struct world w = begin();
    size_t left = 0;

    append(&w, "a", "x");
    struct node below = node(&w, NODE_BELOW, "a", "");
    for (size_t i = 0; i < N; i++)
        CHECK_EQ(lease_wait(w.l, &waits[i], &below, lease_version(w.st, &below),
                            (void *)(uintptr_t)(i + 1)),
                 0);
    append(&w, "b", "x");
    CHECK_EQ(told_n, 0);
    append(&w, "a", "x");
    CHECK_EQ(told_n, N);
    for (size_t i = 0; i < N; i++)
        left += lease_waits(w.l, &waits[i]);
    CHECK_EQ(left, 0);
    end(&w);
}

int main(void)
{
    RUN(a_lease_is_broken_once_by_what_changes_it);
    RUN(what_stays_the_same_keeps_its_lease);
    RUN(a_write_to_the_file_itself_leaves_its_lease);
    RUN(a_new_entry_breaks_its_directory);
    RUN(a_check_breaks_only_what_differs);
    RUN(chmod_breaks_what_is_below_and_the_views_above);
    RUN(a_waiter_is_woken_after_the_leases_broke);
    RUN(a_name_that_is_not_real_can_be_waited_for);
    RUN(handles_are_dropped_once);
    RUN(thousands_wait_for_one_view);
    CHECK_DONE();
}
