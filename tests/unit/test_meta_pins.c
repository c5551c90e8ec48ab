/* SPDX-License-Identifier: MIT */
/* meta_pins: pinned schemas survive, damage to their rows is found, and what is whole is kept by a repair. */
#include "store/meta.h"
#include "meta_file.h"

#include <sys/stat.h>

static struct meta *opened(const char *where, bool read_only)
{
    struct meta *m = NULL;
    struct evs_error err;

    CHECK_EQ(meta_open(where, read_only, &m, &err), 0);
    return m;
}

static void count_finding(void *arg, const char *finding)
{
    CHECK(strstr(finding, "meta.db: ") == finding);
    (*(int *)arg)++;
}

static int verify(struct meta *m)
{
    struct evs_error err = {0};
    int told = 0, n = meta_verify(m, count_finding, &told, &err);

    CHECK_EQ(n, told);
    return n;
}

static int set_pin(struct meta *m, enum evs_dir_kind kind, const char *name, const char *schema)
{
    struct evs_error err = {0};

    return meta_set_pin(m,
                        &(struct meta_pin){.kind = kind,
                                           .name = {name, strlen(name)},
                                           .uid = 7,
                                           .time_us = 1234567890123456,
                                           .schema = {schema, strlen(schema)}},
                        &err);
}

static int note_pin(void *arg, const struct meta_pin *p)
{
    char *text = arg;

    CHECK_EQ(p->uid, 7);
    CHECK(p->time_us == 1234567890123456);
    (void)sprintf(text + strlen(text), "%d %.*s %.*s;", (int)p->kind, (int)p->name.n, p->name.p,
                  (int)p->schema.n, p->schema.p);
    return 0;
}

static void keeps_pins(void)
{
    const struct evs_dir d = {EVS_DIR_TYPE, "t", 1}, none = {EVS_DIR_ENTITY, "t", 1};
    struct evs_error err = {0};
    char text[256] = "";

    fresh();
    struct meta *m = opened(dir, false);
    CHECK_EQ(set_pin(m, EVS_DIR_TYPE, "t", "{}"), 0);
    CHECK_EQ(set_pin(m, EVS_DIR_TYPE, "u", "{ \"a\" :1}\n"), 0);
    CHECK_EQ(set_pin(m, EVS_DIR_ENTITY, "e/f", "true"), 0);
    CHECK_EQ(set_pin(m, EVS_DIR_TYPE, "u", "false"), 0);
    CHECK_EQ(meta_clear_pin(m, &d, &err), 0);
    CHECK_FAIL(meta_clear_pin(m, &d, &err), err, NO_SUCH);
    CHECK_FAIL(meta_clear_pin(m, &none, &err), err, NO_SUCH);
    CHECK_EQ(meta_check(m, &err), 0);
    meta_close(m);
    for (int read_only = 0; read_only < 2; read_only++) {
        m = opened(dir, read_only);
        CHECK_EQ(verify(m), 0);
        text[0] = '\0';
        CHECK_EQ(meta_each_pin(m, note_pin, text, &err), 0);
        CHECK_STR(text, "1 e/f true;2 u false;");
        meta_close(m);
    }
    gone();
}

static void finds_damaged_pins(void)
{
    static const char *const changes[] = {
        "UPDATE pins SET schema = x'7b7d' WHERE name = x'75'",
        "UPDATE pins SET uid = uid + 1 WHERE name = x'75'",
        "UPDATE pins SET time = time + 1 WHERE name = x'75'",
        "UPDATE pins SET name = x'76' WHERE name = x'75'",
        "UPDATE pins SET kind = 1 WHERE name = x'75'",
        "UPDATE pins SET crc = crc + 1 WHERE name = x'75'",
        "DELETE FROM pins WHERE name = x'75'",
    };
    struct evs_error err = {0};
    char text[256] = "";

    for (size_t i = 0; i < ARRAY_LEN(changes); i++) {
        bool deleted = i + 1 == ARRAY_LEN(changes);
        fresh();
        struct meta *m = opened(dir, false);
        CHECK_EQ(set_pin(m, EVS_DIR_TYPE, "u", "true"), 0);
        meta_close(m);
        sql(changes[i]);
        m = opened(dir, false);
        CHECK_EQ(verify(m), 1);
        CHECK_FAIL(meta_check(m, &err), err, DAMAGED);
        if (!deleted) {
            CHECK_FAIL(meta_each_pin(m, note_pin, text, &err), err, DAMAGED);
            CHECK(strstr(err.detail, "pins"));
        }
        meta_close(m);
        gone();
    }
}

static void mend_finding(void *arg, const char *finding)
{
    (void)strcat(strcat((char *)arg, finding), ";");
}

static void mends(void)
{
    struct evs_error err = {0};
    struct meta_mended mended;
    char said[512] = "", text[256] = "";

    fresh();
    struct meta *m = opened(dir, false), *to = opened(NULL, false);
    CHECK_EQ(set_pin(m, EVS_DIR_TYPE, "t", "{}"), 0);
    CHECK_EQ(set_pin(m, EVS_DIR_TYPE, "u", "true"), 0);
    CHECK_EQ(set_pin(m, EVS_DIR_ENTITY, "e", "false"), 0);
    meta_close(m);
    sql("UPDATE pins SET schema = x'7b7d' WHERE name = x'75'");
    CHECK_EQ(meta_mend(file, to, &mended, mend_finding, said, &err), 0);
    CHECK_EQ(mended.kept, 2);
    CHECK_EQ(mended.gone, 1);
    CHECK(!mended.unread);
    CHECK_STR(said, "meta.db: the pinned schema is gone of: u;");
    CHECK_EQ(meta_each_pin(to, note_pin, text, &err), 0);
    CHECK_STR(text, "1 e false;2 t {};");
    meta_close(to);

    text[0] = said[0] = '\0';
    sql("DROP TABLE pins; PRAGMA user_version=2"); /* an older one has none, and lost none */
    to = opened(NULL, false);
    CHECK_EQ(meta_mend(file, to, &mended, mend_finding, said, &err), 0);
    CHECK_STR(said, "");
    CHECK(!mended.unread);
    meta_close(to);
    gone();
}

int main(void)
{
    RUN(keeps_pins);
    RUN(finds_damaged_pins);
    RUN(mends);
    CHECK_DONE();
}
