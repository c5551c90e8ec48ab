/* SPDX-License-Identifier: MIT */
/* libFuzzer: the grammar of paths, twice: path_parse(), for a store that is not mounted, and a walk through
 * the tree, as the kernel does it, take the same paths to the same views; and the tree says the path back. */
#include "fuzz.h"

#include "fs/path.h"
#include "fs/tree.h"

#include <errno.h>
#include <limits.h>

static struct evs_store *st;

static void start(void)
{
    static const char lines[] =
        "{\"entity\":\"a/b\",\"type\":\"t\"}\n{\"entity\":\"a\",\"type\":\"events\"}\n"
        "{\"entity\":\"..//x.json\",\"type\":\"u/v.csv\"}\n{\"entity\":\".git\",\"type\":\"~\"}\n";
    struct evs_writer *w = NULL;

    DEMAND(evs_open(":memory:", NULL, &st, NULL) == 0);
    DEMAND(evs_writer_new(st, &(struct evs_target){.kind = EVS_ALL}, NULL, &w, NULL) == 0);
    DEMAND(evs_write(w, lines, sizeof lines - 1, &(struct evs_cred){0}, NULL) == sizeof lines - 1);
    evs_writer_free(w);
}

/* As the kernel walks: no empty components, no '.' and '..'. 0; -errno; 1: not for the tree. */
static int walk(const char *path, struct node *ret)
{
    struct node at = {.kind = NODE_ROOT, .id = NODE_ROOT_ID};

    for (const char *p = path, *end;; p = end + 1) {
        char name[NAME_MAX + 1];
        end = strchrnul(p, '/');
        size_t n = (size_t)(end - p);
        if (n == 0 || (n == 1 && p[0] == '.') || (n == 2 && p[0] == '.' && p[1] == '.'))
            return 1;
        if (n > NAME_MAX)
            return -ENAMETOOLONG;
        if (!node_traits(at.kind)->dir)
            return -ENOTDIR;
        memcpy(name, p, n);
        name[n] = '\0';
        int r = tree_child(st, &at, name, ret);
        if (r < 0) {
            DEMAND(r == -EINVAL || r == -EPERM || r == -ENAMETOOLONG);
            return r;
        }
        (void)tree_answers(st, ret, true);
        DEMAND(!tree_exists(st, ret) || tree_answers(st, ret, false));
        at = *ret;
        if (!*end)
            return 0;
    }
}

static void same_names(const struct path *p, const struct node *n)
{
    struct node_names names;

    node_names(st, n, &names);
    DEMAND(p->target.entity_len == names.entity_n && p->target.type_len == names.type_n);
    DEMAND(names.entity_n == 0 || memcmp(p->entity, names.entity, names.entity_n) == 0);
    DEMAND(names.type_n == 0 || memcmp(p->type, names.type, names.type_n) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct path p;
    struct node n;
    struct evs_error err;
    char back[TREE_PATH_BYTES];

    if (!st)
        start();
    if (size > 8192 || memchr(data, '\0', size))
        return 0;
    AUTO_FREE char *path = malloc(size + 1);
    if (size)
        memcpy(path, data, size);
    path[size] = '\0';
    int parsed = path_parse(path, &p, &err);
    DEMAND(parsed == 0 ||
           (parsed == -err.code && (err.why == EVS_NO_SUCH || err.why == EVS_NAME_TOO_LONG)));
    int walked = walk(path + (path[0] == '/'), &n);
    const bool said = walked == 0 && (node_traits(n.kind)->view || n.kind == NODE_ENTITY ||
                                      n.kind == NODE_STATE || n.kind == NODE_TYPE);
    if (said) {
        tree_path(st, &n, back);
        DEMAND(strcmp(back + 1, path + (path[0] == '/')) == 0);
        struct node parent;
        tree_parent(st, &n, &parent);
        DEMAND(node_traits(parent.kind)->dir);
    }
    const bool view = walked == 0 && node_traits(n.kind)->view;
    if (parsed == 0) {
        DEMAND(view && p.target.kind == node_traits(n.kind)->view_kind);
        same_names(&p, &n);
        struct evs_view v;
        if (path_view(st, &p, &v, &err) == 0)
            DEMAND(node_numbered(&n));
    }
    DEMAND(!view || parsed == 0);
    return 0;
}
