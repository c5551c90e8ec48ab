/* SPDX-License-Identifier: MIT */
/* limits_infer: the limits of inferred schemas and of comparing schemas, for test_limits.c. Nothing is refused by them: what is larger is
 * described with less detail, and each function checks that it is so for n, and not before. */
#ifndef LIMITS_INFER_H
#define LIMITS_INFER_H

#include "check.h"
#include "store/evolve.h"
#include "store/infer.h"
#include "store/limits.h"

/* The schema of one value, many times. */
static inline char *inferred(const char *json, unsigned times)
{
    const struct slice v = {json, strlen(json)};
    struct infer *m = NULL;
    char *ret = NULL;
    size_t n;

    CHECK_EQ(infer_new(&m), 0);
    for (unsigned i = 0; i < times; i++)
        CHECK(infer_add(m, v, infer_shape(v), i + 1) >= 0);
    CHECK_EQ(infer_schema(m, NULL, &ret, &n), 0);
    infer_free(m);
    return ret;
}

static inline void check_says(const char *json, unsigned times, const char *what, bool want)
{
    AUTO_FREE char *s = inferred(json, times);
    CHECK_EQ(strstr(s, what) != NULL, want);
}

/* "{<name>0: v, ...}" with n members, at p. Returns its end. */
static inline char *put_members(char *p, const char *name, size_t n)
{
    *p++ = '{';
    for (size_t i = 0; i < n; i++)
        p += sprintf(p, "%s\"%s%zu\":1", i ? "," : "", name, i);
    return stpcpy(p, "}");
}

static enum evs_reason infer_properties(size_t n)
{
    AUTO_FREE char *json = malloc(n * 16 + 16);

    (void)put_members(json, "f", n);
    check_says(json, 1, "\"x-evfs-limit\": \"properties\"", n > LIMIT_INFER_PROPERTIES);
    return EVS_OK_;
}

static enum evs_reason
infer_nodes(size_t n) /* the whole, arrays, and objects of 100 members in each */
{
    AUTO_FREE char *json = malloc(n * 20 + 64);
    char *p = json;

    *p++ = '{';
    for (size_t left = n - 1, i = 0; left > 0; i++) {
        const size_t some = MIN(left, 101u);
        p += sprintf(p, "%s\"o%zu\":", i ? "," : "", i);
        p = put_members(p, "f", some - 1);
        left -= some;
    }
    (void)stpcpy(p, "}");
    check_says(json, 1, "\"x-evfs-limit\": \"nodes\"", n > LIMIT_INFER_NODES);
    return EVS_OK_;
}

static enum evs_reason infer_depth(size_t n)
{
    AUTO_FREE char *json = malloc(2 * n + 1);

    memset(json, '[', n);
    memset(json + n, ']', n);
    json[2 * n] = '\0';
    check_says(json, 1, "\"x-evfs-limit\": \"depth\"", n > LIMIT_INFER_DEPTH);
    return EVS_OK_;
}

static enum evs_reason infer_name_bytes(size_t n)
{
    AUTO_FREE char *json = malloc(n + 16);

    (void)sprintf(json, "{\"%0*d\":1}", (int)n, 0);
    memset(json + 2, 'n', n);
    check_says(json, 1, "\"additionalProperties\"", n > LIMIT_INFER_NAME_BYTES);
    return EVS_OK_;
}

static enum evs_reason infer_shapes(size_t n)
{
    struct infer *m = NULL;
    char json[256];

    CHECK_EQ(infer_new(&m), 0);
    for (size_t i = 1; i <= n; i++) {
        char *p = json + sprintf(json, "{");
        for (unsigned bit = 0; bit < 16; bit++)
            if (i >> bit & 1)
                p += sprintf(p, "%s\"b%u\":1", p > json + 1 ? "," : "", bit);
        (void)stpcpy(p, "}");
        const struct slice v = {json, strlen(json)};
        const uint64_t shape = infer_shape(v);
        CHECK(infer_add(m, v, shape, i) >= 0);
        if (i == n)
            CHECK_EQ(infer_find(m, shape) == NULL, n > LIMIT_INFER_SHAPES);
    }
    CHECK_EQ(infer_count(m), n);
    infer_free(m);
    return EVS_OK_;
}

static enum evs_reason infer_enum(size_t n)
{
    AUTO_FREE char *json = malloc(n * 8 + 3);
    char *p = json;

    for (size_t i = 0; i < n; i++)
        p += sprintf(p, "%s\"w%zu\"", i ? "," : "[", i);
    (void)stpcpy(p, "]");
    check_says(json, 10, "\"x-evfs-enum\"", n <= LIMIT_INFER_ENUM);
    return EVS_OK_;
}

static enum evs_reason infer_examples(size_t n)
{
    AUTO_FREE char *json = malloc(n * 8 + 3);
    char *p = json;

    for (size_t i = 0; i < n; i++)
        p += sprintf(p, "%s%zu", i ? "," : "[", 7000 + i);
    (void)stpcpy(p, "]");
    check_says(json, 1, "\"examples\": [7000, 7001, 7002]", true);
    return EVS_OK_;
}

static enum evs_reason infer_value_bytes(size_t n)
{
    AUTO_FREE char *json = malloc(n + 1);

    memset(json, 'v', n);
    json[0] = json[n - 1] = '"';
    json[n] = '\0';
    check_says(json, 1, "\"examples\"", n <= LIMIT_INFER_VALUE_BYTES);
    return EVS_OK_;
}

/* Objects of one field each, n of them: from integers to strings. */
static enum evs_reason evolve_changes_told(size_t n)
{
    AUTO_FREE char *from = malloc(n * 40 + 64), *to = malloc(n * 40 + 64);
    char *p = stpcpy(from, "{\"properties\":{"), *q = stpcpy(to, "{\"properties\":{");
    struct evolve e = {0};

    for (size_t i = 0; i < n; i++) {
        p += sprintf(p, "%s\"f%zu\":{\"type\":\"integer\"}", i ? "," : "", i);
        q += sprintf(q, "%s\"f%zu\":{\"type\":\"string\"}", i ? "," : "", i);
    }
    (void)stpcpy(p, "}}"), (void)stpcpy(q, "}}");
    CHECK_EQ(evolve_diff((struct slice){from, strlen(from)}, (struct slice){to, strlen(to)}, 0, &e),
             0);
    CHECK_EQ(e.n, MIN(n, LIMIT_EVOLVE_CHANGES));
    CHECK_EQ(e.more, n > LIMIT_EVOLVE_CHANGES);
    evolve_done(&e);
    return EVS_OK_;
}

/* A proof of n steps: one for the whole and one for each schema of an allOf. */
static enum evs_reason evolve_steps(size_t n)
{
    static const char one[] = "{\"minimum\":0}";
    AUTO_FREE char *all = malloc(n * sizeof one + 64);
    char *p = stpcpy(all, "{\"allOf\":[");
    const char *from = "{\"minimum\":1,\"type\":\"integer\"}";
    struct evolve e = {0};

    for (size_t i = 1; i < n; i++) {
        p = stpcpy(p, i > 1 ? "," : "");
        p = stpcpy(p, one);
    }
    (void)stpcpy(p, "]}");
    CHECK_EQ(
        evolve_diff((struct slice){from, strlen(from)}, (struct slice){all, strlen(all)}, 0, &e),
        0);
    CHECK_EQ(e.backward.holds, n <= LIMIT_EVOLVE_STEPS);
    evolve_done(&e);
    return EVS_OK_;
}

#endif
