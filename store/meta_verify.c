/* SPDX-License-Identifier: MIT */
/* meta_verify: every row of meta.db looked at, and whether all of them are there. */
#include "findings.h"
#include "meta_state.h"

#include <string.h>

static void find(struct findings *f, const char *table, struct slice what)
{
    findings_add(f, "meta.db: %s%.*s", table, (int)MIN(what.n, 160), what.p);
}

static int integrity_row(void *arg, int columns, char **values, char **names)
{
    (void)names;
    if (columns == 1 && values[0] && strcmp(values[0], "ok") != 0)
        find(arg, "", (struct slice){values[0], strlen(values[0])});
    return 0;
}

/* Damage that SQLite stumbles over is what verify looks for, and no reason to stop. */
static int finding_or_failure(struct meta *m, int rc, struct findings *f, struct evs_error *err)
{
    const char *text = sqlite3_errmsg(m->db);

    if (rc == SQLITE_OK)
        return 0;
    if ((rc & 0xff) != SQLITE_CORRUPT)
        return meta_fail(m, rc, "verify", err);
    find(f, "", (struct slice){text, strlen(text)});
    return 0;
}

static int verify_rows(struct meta *m, enum meta_statement which, struct findings *f,
                       struct evs_error *err)
{
    int r = 0, rc;
    struct owner_row row;
    struct pin_row pin;
    struct slice name;
    int64_t value, crc;
    sqlite3_stmt *s = meta_begin(m, which, &r, err);

    if (!s)
        return r;
    while ((rc = sqlite3_step(s)) == SQLITE_ROW) {
        if (which == EACH_OWNER && !meta_owner_row(s, &row))
            find(f, "owners: checksum differs: ", row.name);
        if (which == EACH_INT && !meta_int_row(s, &name, &value, &crc))
            find(f, "settings: checksum differs: ", name);
        if (which == EACH_PIN && !meta_pin_row(s, &pin))
            find(f, "pins: checksum differs: ", pin.name);
    }
    meta_end(s);
    return finding_or_failure(m, rc == SQLITE_DONE ? SQLITE_OK : rc, f, err);
}

int meta_verify(struct meta *m, evs_report_fn *report, void *arg, struct evs_error *err)
{
    struct findings f = {report, arg, 0};
    struct evs_error why;

    (void)pthread_mutex_lock(&m->lock);
    int rc = sqlite3_exec(m->db, "PRAGMA integrity_check", integrity_row, &f, NULL);
    int r = finding_or_failure(m, rc, &f, err);
    if (r == 0)
        r = verify_rows(m, EACH_INT, &f, err);
    if (r == 0)
        r = verify_rows(m, EACH_OWNER, &f, err);
    if (r == 0 && m->pinned)
        r = verify_rows(m, EACH_PIN, &f, err);
    (void)pthread_mutex_unlock(&m->lock);
    if (r == 0 && f.n == 0 && meta_check(m, &why) < 0) { /* each is good, but there were more */
        if (why.why != EVS_DAMAGED)
            return evs_fail_as(err, &why);
        find(&f, why.detail + strlen("meta.db: "), (struct slice){"", 0});
    }
    return r < 0 ? r : f.n;
}
