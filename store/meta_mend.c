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

/* False in *ret_all: SQLite gave up before the end. */
static int take_rows(struct mend *m, const char *sql, bool owners, bool again, bool *ret_all)
{
    sqlite3_stmt *s = NULL;
    int rc = sqlite3_prepare_v2(m->from, sql, -1, &s, NULL), r = 0;

    while (rc == SQLITE_OK || rc == SQLITE_ROW) {
        rc = sqlite3_step(s);
        if (rc == SQLITE_ROW)
            r = owners ? take_owner(m, s, again) : take_setting(m, s, again);
        if (r < 0)
            break;
    }
    (void)sqlite3_finalize(s); /* repeats an error that was dealt with */
    *ret_all = rc == SQLITE_DONE;
    return r;
}

static int take_table(struct mend *m, const char *forth, const char *back, bool owners)
{
    bool all = false;
    int r = take_rows(m, forth, owners, false, &all);

    if (r < 0 || all)
        return r;
    r = take_rows(m, back, owners, true, &all);
    m->ret->unread = true;
    say(m,
        owners ? "owners and modes may be gone: not all of it can be read"
               : "settings may be gone: not all of it can be read",
        (struct slice){"", 0});
    return r;
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
        r = take_table(&m, "SELECT name, value, crc FROM settings ORDER BY name",
                       "SELECT name, value, crc FROM settings ORDER BY name DESC", false);
        if (r == 0)
            r = take_table(
                &m, "SELECT kind, name, uid, gid, mode, crc FROM owners ORDER BY kind, name",
                "SELECT kind, name, uid, gid, mode, crc FROM owners ORDER BY kind DESC, name DESC",
                true);
    }
    (void)sqlite3_close(m.from); /* a copy, which is thrown away */
    return MIN(r, 0);
}
