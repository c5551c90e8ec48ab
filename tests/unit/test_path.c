/* SPDX-License-Identifier: MIT */
/* path: what each form of a path stands for, and that everything else is refused. */
#include "tests/unit/check.h"

#include "fs/path.h"

static struct evs_error err;

static void check_is(const char *path, enum evs_view_kind kind, const char *entity,
                     const char *type)
{
    struct path p;
    int r = path_parse(path, &p, &err);

    if (r < 0)
        fprintf(stderr, "'%s' is refused: %s\n", path, evs_reason_name(err.why));
    CHECK_EQ(r, 0);
    if (r < 0)
        return;
    CHECK_EQ(p.target.kind, kind);
    CHECK_EQ(p.target.entity != NULL, entity != NULL);
    CHECK_EQ(p.target.type != NULL, type != NULL);
    if (entity && p.target.entity)
        CHECK_MEM(p.target.entity, p.target.entity_len, entity, strlen(entity));
    if (type && p.target.type)
        CHECK_MEM(p.target.type, p.target.type_len, type, strlen(type));
}

static void check_refused(const char *path, uint64_t pos)
{
    struct path p = {.target.kind = EVS_OWN};
    int r = path_parse(path, &p, &err);

    if (r >= 0)
        fprintf(stderr, "'%s' is accepted\n", path);
    CHECK_FAIL(r, err, NO_SUCH);
    if (pos != UINT64_MAX)
        CHECK_EQ(err.pos, pos);
    CHECK_EQ(p.target.kind, EVS_OWN); /* untouched */
}

static void forms(void)
{
    check_is("events.jsonl", EVS_ALL, NULL, NULL);
    check_is("/events.jsonl", EVS_ALL, NULL, NULL);
    check_is("entities/orders/events.jsonl", EVS_BELOW, "orders", NULL);
    check_is("entities/orders/42/events.jsonl", EVS_BELOW, "orders/42", NULL);
    check_is("entities/orders/42/placed.jsonl", EVS_OWN_TYPE, "orders/42", "placed");
    check_is("types/placed/events.jsonl", EVS_TYPE, NULL, "placed");
    check_is("entities/entities/types.jsonl", EVS_OWN_TYPE, "entities", "types");
    check_is("entities/.x/y~/z.jsonl", EVS_OWN_TYPE, ".x/y~", "z");
}

static void encoded(void)
{
    check_is("entities/a/%65vents.jsonl", EVS_OWN_TYPE, "a", "events");
    check_is("entities/%65vents/events.jsonl", EVS_BELOW, "events", NULL);
    check_is("types/%65vents/events.jsonl", EVS_TYPE, NULL, "events");
    check_is("types/a%2Fb/events.jsonl", EVS_TYPE, NULL, "a/b");
    check_is("entities/%/x/t.jsonl", EVS_OWN_TYPE, "/x", "t");
    check_is("entities/%2E%2E/t.jsonl", EVS_OWN_TYPE, "..", "t");
    check_is("entities/a%2Ejson/t.jsonl", EVS_OWN_TYPE, "a.json", "t");
    check_is("entities/gr\xc3\xbc\xc3\x9f"
             "e/t.jsonl",
             EVS_OWN_TYPE,
             "gr\xc3\xbc\xc3\x9f"
             "e",
             "t");
}

static void refused(void)
{
    check_refused("", 0);
    check_refused("/", 1);
    check_refused("//events.jsonl", 1);
    check_refused("events.json", 0);
    check_refused("x/events.jsonl", 0);
    check_refused("entities", 0);
    check_refused("entities/", 9);
    check_refused("entities/events.jsonl", 9); /* entities/ holds directories only */
    check_refused("entities/orders", 9);
    check_refused("entities/orders/42", 16);
    check_refused("entities/orders/.jsonl", 16);
    check_refused("entities/orders/state.json", 16);
    check_refused("types/events.jsonl", UINT64_MAX);
    check_refused("types/placed", UINT64_MAX);
    check_refused("types/placed/schema.json", 13);
    check_refused("types/placed/x/events.jsonl", UINT64_MAX);
    check_refused("when/1/events.jsonl", 0);
}

/* What is not the canonical encoding does not exist: a path and what it stands for are one to
 * one. */
static void not_canonical(void)
{
    check_refused("entities/a//t.jsonl", UINT64_MAX);
    check_refused("entities/a/./t.jsonl", UINT64_MAX);
    check_refused("entities/a/../t.jsonl", UINT64_MAX);
    check_refused("entities/%61/t.jsonl", UINT64_MAX);
    check_refused("entities/a%2ejson/t.jsonl", UINT64_MAX);
    check_refused("entities/a.json/t.jsonl", UINT64_MAX);
    check_refused("types/a%2fb/events.jsonl", UINT64_MAX);
    check_refused("entities/a%/t.jsonl", UINT64_MAX);
    check_refused("entities/events/events.jsonl", UINT64_MAX); /* one rule for entities and types */
}

/* An id may be as long as the limit, and one byte longer is refused, never cut. */
static void longest(void)
{
    char path[2000] = "entities", want[1100] = "";
    struct path p;

    for (int i = 0; i < 8; i++) { /* 8 x 128 bytes, seven slashes: 127 x 8 + 8 - 1 = 1023 */
        char comp[128];
        memset(comp, 'a' + i, 127);
        comp[127] = '\0';
        strcat(strcat(path, "/"), comp);
        strcat(strcat(want, i ? "/" : ""), comp);
    }
    char *end = path + strlen(path);
    strcpy(end, "x/t.jsonl"); /* 1024 */
    strcat(want, "x");
    CHECK_EQ(strlen(want), 1024);
    check_is(path, EVS_OWN_TYPE, want, "t");
    strcpy(end, "xx/t.jsonl");
    CHECK_FAIL(path_parse(path, &p, &err), err, NAME_TOO_LONG);

    strcpy(path, "entities"); /* and as deep */
    for (int i = 0; i < 32; i++)
        strcat(path, "/a");
    end = path + strlen(path);
    strcpy(end, "/t.jsonl");
    CHECK_EQ(path_parse(path, &p, &err), 0);
    strcpy(end, "/a/t.jsonl");
    CHECK_FAIL(path_parse(path, &p, &err), err, NAME_TOO_LONG);
}

int main(void)
{
    RUN(forms);
    RUN(encoded);
    RUN(refused);
    RUN(not_canonical);
    RUN(longest);
    CHECK_DONE();
}
