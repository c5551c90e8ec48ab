/* SPDX-License-Identifier: MIT */
/* What a commit would add: found by the commit alone, kept or dropped as if it had never been. */
#include "check.h"
#include "store/index.h"
#include "store/limits.h"

static struct evs_error err;

static uint32_t count(const struct stage *s, uint64_t hash, uint32_t *ret_newest)
{
    uint32_t n = 0;

    *ret_newest = 0;
    for (uint32_t i = stage_first(s, hash); i; i = stage_next(s, i)) {
        CHECK_EQ(stage_at(s, i)->hash, hash);
        if (!n++)
            *ret_newest = stage_at(s, i)->value;
    }
    return n;
}

static uint64_t hash_of(uint32_t v)
{
    return (uint64_t)(v % 1000) *
           0x9e3779b97f4a7c15u; /* many of the same, and of the same bucket */
}

static UNANALYSED void test_what_is_added_is_found_until_it_is_cut(void)
{
    static const uint32_t sizes[] = {0, 1, 1023, 1024, 1025, 5000, 70000};
    struct stage s;
    uint32_t newest;

    CHECK_EQ(stage_init(&s, &err), 0);
    for (size_t k = 0; k < ARRAY_LEN(sizes); k++) {
        const uint32_t n = sizes[k], half = n / 2;
        for (uint32_t v = 1; v <= n; v++)
            stage_add(&s, hash_of(v), v);
        CHECK_EQ(s.n, n);
        stage_cut(&s, half);
        for (uint32_t h = 0; h < 1000; h++) {
            uint32_t want = half / 1000 + (h > 0 && h <= half % 1000);
            CHECK_EQ(count(&s, hash_of(h), &newest), want);
            CHECK_EQ(newest, want ? (half - h) / 1000 * 1000 + h : 0);
        }
        stage_cut(&s, 0);
        for (uint32_t h = 0; h < 1000; h++)
            CHECK_EQ(count(&s, hash_of(h), &newest), 0);
    }
    stage_done(&s);
}

static struct slice text(const char *s)
{
    return (struct slice){s, strlen(s)};
}

static entity_id find(const struct index *ix, const char *id)
{
    return index_find_entity(ix, text(id), index_entity_hash(text(id)));
}

static UNANALYSED entity_id stage(struct index *ix, const char *id)
{
    return index_stage_entity(ix, text(id), index_entity_hash(text(id)));
}

static UNANALYSED type_id stage_type(struct index *ix, const char *type)
{
    return index_stage_type(ix, text(type), index_type_hash(text(type)));
}

/* Everything of the arena that a checkpoint would hold. */
static char *image(const struct index *ix, size_t *ret_n)
{
    char *p = malloc(ix->a.names.used + ix->a.sets.used);

    memcpy(p, ix->a.names.base, ix->a.names.used);
    memcpy(p + ix->a.names.used, ix->a.sets.base, ix->a.sets.used);
    *ret_n = ix->a.names.used + ix->a.sets.used;
    return p;
}

static UNANALYSED void test_staged_names_are_nobodys_until_kept(void)
{
    struct index *ix;
    size_t before_n, after_n;

    CHECK_EQ(index_new(&ix, &err), 0);
    stage(ix, "a/b"), stage_type(ix, "t");
    index_keep(ix);
    const entity_id b = find(ix, "a/b");
    CHECK(b && find(ix, "a"));
    char *before = image(ix, &before_n);

    const struct stage_mark none = index_stage_mark(ix);
    CHECK_EQ(stage(ix, "a/b"), b); /* what is there is not staged */
    CHECK_EQ(ix->staged.n, 0);
    const entity_id e = stage(ix, "a/c/d");
    CHECK_EQ(stage(ix, "a/c/d"), e);
    CHECK_EQ(index_find_staged(ix, text("a/c/d"), index_entity_hash(text("a/c/d"))), e);
    const struct stage_mark some = index_stage_mark(ix);
    CHECK(stage(ix, "a/c/e") != e && stage(ix, "x") != e);
    CHECK_EQ(stage_type(ix, "t"), 1);
    CHECK_EQ(stage_type(ix, "u"), 2);
    CHECK_EQ(stage_type(ix, "u"), 2);
    CHECK_EQ(stage_type(ix, "v"), 3);
    CHECK(!find(ix, "a/c/d") && !find(ix, "a/c") && !find(ix, "x"));
    CHECK_EQ(index_type_count(ix), 1);
    CHECK_EQ(index_set(ix, find(ix, "a"))->child, b);
    index_drop(ix, &some);
    CHECK_EQ(stage(ix, "a/c/d"), e);
    CHECK_EQ(stage_type(ix, "v"), 2); /* numbers are given again */
    index_drop(ix, &none);
    char *after = image(ix, &after_n);
    CHECK_MEM(after, after_n, before, before_n);
    CHECK_EQ(ix->names.n, 3);
    free(before), free(after);

    CHECK_EQ(stage(ix, "a/c/d"), e);
    CHECK_EQ(stage_type(ix, "v"), 2);
    index_stage_id(ix, 77, 9);
    index_keep(ix);
    CHECK_EQ(find(ix, "a/c/d"), e);
    CHECK_EQ(index_set(ix, find(ix, "a"))->child, find(ix, "a/c"));
    CHECK_EQ(index_type_count(ix), 2);
    CHECK_EQ(ix->ids.n, 1);
    CHECK_EQ(ix->staged.n + ix->staged_ids.n + ix->staged_types, 0);
    index_free(ix);
}

static UNANALYSED void test_types_end_at_their_limit_staged_or_not(void)
{
    struct index *ix;
    char name[16];

    CHECK_EQ(index_new(&ix, &err), 0);
    for (uint32_t i = 1; i <= LIMIT_TYPES; i++) {
        (void)snprintf(name, sizeof name, "t%u", i);
        CHECK_EQ(stage_type(ix, name), i);
    }
    CHECK_EQ(stage_type(ix, "one more"), 0);
    CHECK_EQ(stage_type(ix, "t77"), 77);
    index_keep(ix);
    CHECK_EQ(stage_type(ix, "one more"), 0);
    CHECK_EQ(stage_type(ix, "t77"), 77);
    CHECK_EQ(ix->staged.n, 0);
    index_free(ix);
}

int main(void)
{
    RUN(test_what_is_added_is_found_until_it_is_cut);
    RUN(test_staged_names_are_nobodys_until_kept);
    RUN(test_types_end_at_their_limit_staged_or_not);
    CHECK_DONE();
}
