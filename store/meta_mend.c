/* SPDX-License-Identifier: MIT */
/* meta_mend: the rows of a damaged meta.db that are good. Read from both ends, as SQLite gives up at the first page
 * that it can't follow; each row's own checksum decides. */
#include "meta_state.h"

#include <inttypes.h>
#include <stdio.h>

struct mend {
    sqlite3 *from;
    struct meta *to;
    evs_report_fn *report;
    void *arg;
    struct meta_mended *ret;
    struct evs_error *err;
};

static void say(const struct mend *m, const char *what, struct slice name)
{
    char text[320];

    (void)snprintf(text, sizeof text, "meta.db: %s%.*s", what, (int)MIN(name.n, 200),
                   name.n ? name.p : "");
    if (m->report)
        m->report(m->arg, text);
}

static int take_owner(struct mend *m, sqlite3_stmt *s, bool again)
{
    struct owner_row o;

    if (!meta_owner_row(s, &o)) {
        m->ret->gone += !again;
        if (!again)
            say(m, "owner and mode are gone of a directory: ", o.name);
        return 0;
    }
    const struct evs_dir d = {(enum evs_dir_kind)o.kind, o.name.p, o.name.n};
    const struct evs_owner is = {(uid_t)o.uid, (gid_t)o.gid, (mode_t)o.mode};
    m->ret->kept += !again;
    return meta_set_owner(m->to, &d, &is, m->err);
}

static int take_setting(struct mend *m, sqlite3_stmt *s, bool again)
{
    struct slice name;
    int64_t value, crc;
    char text[64];

    if (!meta_int_row(s, &name, &value, &crc)) {
        m->ret->gone += !again;
        if (!again)
            say(m, "a setting is gone: ", name);
        return 0;
    }
    if (slice_eq(name, meta_sum_name) || name.n >= sizeof text)
        return 0; /* the new one sums up its own */
    (void)snprintf(text, sizeof text, "%.*s", (int)name.n, name.p);
    return meta_set_int(m->to, text, value, m->err);
}

static int take_pin(struct mend *m, sqlite3_stmt *s, bool again)
{
    struct pin_row p;

    if (!meta_pin_row(s, &p)) {
        m->ret->gone += !again;
        if (!again)
            say(m, "the pinned schema is gone of: ", p.name);
        return 0;
    }
    m->ret->kept += !again;
    return meta_set_pin(m->to,
                        &(struct meta_pin){.kind = (enum evs_dir_kind)p.kind,
                                           .name = p.name,
                                           .uid = (uid_t)p.uid,
                                           .time_us = p.time_us,
                                           .schema = p.schema},
                        m->err);
}

static const struct table {
    const char *forth, *back, *gone;
    int (*take)(struct mend *m, sqlite3_stmt *s, bool again);
} tables[] = {
    {"SELECT name, value, crc FROM settings ORDER BY name",
     "SELECT name, value, crc FROM settings ORDER BY name DESC",
     "settings may be gone: not all of it can be read", take_setting},
    {"SELECT kind, name, uid, gid, mode, crc FROM owners ORDER BY kind, name",
     "SELECT kind, name, uid, gid, mode, crc FROM owners ORDER BY kind DESC, name DESC",
     "owners and modes may be gone: not all of it can be read", take_owner},
    {"SELECT kind, name, uid, time, schema, crc FROM pins ORDER BY kind, name",
     "SELECT kind, name, uid, time, schema, crc FROM pins ORDER BY kind DESC, name DESC",
     "pinned schemas may be gone: not all of it can be read", take_pin},
};

/* False in *ret_all: SQLite gave up before the end. */
static int take_rows(struct mend *m, const struct table *t, bool again, bool *ret_all)
{
    sqlite3_stmt *s = NULL;
    int rc = sqlite3_prepare_v2(m->from, again ? t->back : t->forth, -1, &s, NULL), r = 0;

    while (rc == SQLITE_OK || rc == SQLITE_ROW) {
        rc = sqlite3_step(s);
        if (rc == SQLITE_ROW)
            r = t->take(m, s, again);
        if (r < 0)
            break;
    }
    (void)sqlite3_finalize(s); /* repeats an error that was dealt with */
    *ret_all = rc == SQLITE_DONE;
    return r;
}

static int take_table(struct mend *m, const struct table *t)
{
    bool all = false;
    int r = take_rows(m, t, false, &all);

    if (r < 0 || all)
        return r;
    r = take_rows(m, t, true, &all);
    m->ret->unread = true;
    say(m, t->gone, (struct slice){"", 0});
    return r;
}

/* Older formats have no pins. Where the number can't be read, nor can what follows. */
static bool has_pins(sqlite3 *db)
{
    sqlite3_stmt *s = NULL;
    bool old = sqlite3_prepare_v2(db, "PRAGMA user_version", -1, &s, NULL) == SQLITE_OK &&
               sqlite3_step(s) == SQLITE_ROW && sqlite3_column_int64(s, 0) <= 2;

    (void)sqlite3_finalize(s);
    return !old;
}

int meta_mend(const char *path, struct meta *to, struct meta_mended *ret, evs_report_fn *report,
              void *arg, struct evs_error *err)
{
    struct mend m = {.to = to, .report = report, .arg = arg, .ret = ret, .err = err};
    int r = 0;

    *ret = (struct meta_mended){0};
    if (sqlite3_open_v2(path, &m.from, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX, NULL) !=
        SQLITE_OK) {
        ret->unread = true;
    } else {
        size_t n = has_pins(m.from) ? ARRAY_LEN(tables) : ARRAY_LEN(tables) - 1;
        for (size_t i = 0; r == 0 && i < n; i++)
            r = take_table(&m, &tables[i]);
    }
    (void)sqlite3_close(m.from); /* a copy, which is thrown away */
    return MIN(r, 0);
}
