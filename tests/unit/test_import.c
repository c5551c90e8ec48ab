/* SPDX-License-Identifier: MIT */
/* import --exact: what no store could have stored is refused, though its checksum is right. The rest is in
 * test_verify.c. */
#include "model.h"
#include "store/ingest.h"

static struct evs_error err;

/* Neither is what no store would have taken, though its checksum is right. */
static void test_content_is_checked_on_import(void)
{
    static char text[3 << 20], bad[2 << 20], deep[100];
    char *too_deep = calloc(1, 257);
    const struct {
        struct slice entity, type, id, meta, data;
        enum evs_reason why;
    } cases[] = {
#define S(s) {(char *)(uintptr_t)(s), sizeof(s) - 1}
        {S("a"), S("t"), S("x"), S("{}"), S("{\"a\":[1]}"), EVS_OK_},
        {S("a"), S("t"), S("x"), S("{}"), S("{{{"), EVS_BAD_JSON},
        {S("a"), S("t"), S("x"), S("{}"), S("1}"), EVS_BAD_JSON},
        {S("a"), S("t"), S("x"), S("{}"), S("\"\1\""), EVS_BAD_JSON},
        {S("a"), S("t"), S("x"), S("{a}"), S("1"), EVS_BAD_JSON},
        {S("a"), S("t"), S("x"), S("{}"), {bad, sizeof bad}, EVS_BAD_JSON},
        {S("a"), S("t"), S("x"), S("{}"), {too_deep, 256}, EVS_BAD_JSON},
        {S("\xff"), S("t"), S("x"), S("{}"), S("1"), EVS_BAD_NAME},
        {S("a"), S("t\0"), S("x"), S("{}"), S("1"), EVS_BAD_NAME},
        {S("a"), S("t"), S("\xff"), S("{}"), S("1"), EVS_BAD_NAME},
        {{deep, 65}, S("t"), S("x"), S("{}"), S("1"), EVS_NAME_TOO_LONG},
        {{bad, 250}, S("t"), S("x"), S("{}"), S("1"), EVS_NAME_TOO_LONG},
#undef S
    };
    struct line_memo memo = {0};
    struct evs_store *st;
    uint32_t data, crc;

    memset(bad, '1', sizeof bad);
    memset(mempcpy(too_deep, memset(bad, '[', 128), 128), ']', 128);
    memset(bad, '1', 128);
    for (size_t i = 0; i < sizeof deep; i++)
        deep[i] = i % 2 ? '/' : 'a';
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct line l = {.seq = 1,
                         .version = 1,
                         .recorded_us = 1,
                         .entity = cases[i].entity,
                         .type = cases[i].type,
                         .type_escape = true,
                         .id = cases[i].id,
                         .meta = cases[i].meta,
                         .data = cases[i].data};
        size_t n = line_write(&l, &memo, text, &data, &crc);
        CHECK_EQ(evs_open(":memory:", NULL, &st, &err), 0);
        if (cases[i].why == EVS_OK_) {
            CHECK_EQ(evs_import_exact(st, text, n, &err), n);
        } else {
            CHECK(evs_import_exact(st, text, n, &err) < 0);
            CHECK_STR(evs_reason_name(err.why), evs_reason_name(cases[i].why));
            CHECK_EQ(evs_end(st), 0);
        }
        CHECK_EQ(evs_close(st, &err), 0);
    }
    free(too_deep);
}

/* An entity's id is given once, whether it has been stored or is in the same call. */
static void test_an_id_is_not_imported_twice(void)
{
    static const char *const lines[][2] = {
        {"a", "x"}, {"b", "x"} /* another's */, {"a", "y"}, {"a", "x"}};
    char text[ARRAY_LEN(lines) * 512];
    size_t end[ARRAY_LEN(lines) + 1] = {0};
    struct line_memo memo = {0};
    uint64_t version[2] = {0};
    struct evs_store *st;
    uint32_t data, crc;

    for (size_t i = 0; i < ARRAY_LEN(lines); i++) {
        const struct line l = {.seq = i + 1,
                               .version = ++version[*lines[i][0] - 'a'],
                               .recorded_us = 1,
                               .entity = {lines[i][0], 1},
                               .type = {"t", 1},
                               .id = {lines[i][1], 1},
                               .data = {"1", 1}};
        end[i + 1] = end[i] + line_write(&l, &memo, text + end[i], &data, &crc);
    }
    for (size_t stored = 0; stored <= 3; stored++) {
        CHECK_EQ(evs_open(":memory:", NULL, &st, &err), 0);
        CHECK_EQ(evs_import_exact(st, text, end[stored], &err), end[stored]);
        if (stored < 3) /* what is good goes in */
            CHECK_EQ(evs_import_exact(st, text + end[stored], end[4] - end[stored], &err),
                     end[3] - end[stored]);
        CHECK_EQ(evs_end(st), 3);
        CHECK_FAIL(evs_import_exact(st, text + end[3], end[4] - end[3], &err), err, ID_TAKEN);
        CHECK_STR(err.detail, "seq 4");
        CHECK_EQ(index_check(st->ix, st->lg, NULL, NULL), 0);
        CHECK(put(st, "{\"entity\":\"a\",\"type\":\"t\",\"expected_version\":2}\n") > 0);
        CHECK_EQ(evs_close(st, &err), 0);
    }
}

int main(void)
{
    RUN(test_content_is_checked_on_import);
    RUN(test_an_id_is_not_imported_twice);
    CHECK_DONE();
}
