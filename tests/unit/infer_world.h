/* SPDX-License-Identifier: MIT */
/* infer_world: what the tests of inference share. */
#ifndef INFER_WORLD_H
#define INFER_WORLD_H

#include "check.h"
#include "store/infer.h"
#include "store/limits.h"

#include <jansson.h>

static inline struct slice text(const char *s)
{
    return (struct slice){s, strlen(s)};
}

static inline struct infer *model(void)
{
    struct infer *m = NULL;

    CHECK_EQ(infer_new(&m), 0);
    return m;
}

static inline int add(struct infer *m, const char *json, evs_seq seq)
{
    return infer_add(m, text(json), infer_shape(text(json)), seq);
}

static inline char *schema(const struct infer *m, bool structure)
{
    const struct infer_options o = {.structure = structure};
    char *p = NULL;
    size_t n = 0;

    CHECK_EQ(infer_schema(m, &o, &p, &n), 0);
    CHECK_EQ(strlen(p), n);
    return p;
}

/* The schema as a tree. */
static inline json_t *tree(const struct infer *m)
{
    AUTO_FREE char *p = schema(m, false);
    json_error_t e;
    json_t *j = json_loads(p, 0, &e);

    if (!j)
        fprintf(stderr, "%s at %d\n", e.text, e.position);
    CHECK(j);
    return j;
}

static inline json_t *at(json_t *j, const char *path)
{
    char key[64];

    while (*path && j) {
        const size_t n = strcspn(path, "/");
        memcpy(key, path, n);
        key[n] = '\0';
        j = json_object_get(j, key);
        path += n + (path[n] == '/');
    }
    return j;
}

static inline void check_text(json_t *root, const char *path, const char *want)
{
    json_t *j = at(root, path);
    AUTO_FREE char *got = j ? json_dumps(j, JSON_COMPACT | JSON_ENCODE_ANY) : strdup("nothing");

    CHECK_STR(got, want);
}

static inline uint64_t shape(const char *s)
{
    return infer_shape(text(s));
}

#endif
