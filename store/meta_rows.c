/* SPDX-License-Identifier: MIT */
/* meta_rows: reading and changing rows of meta.db; the invariants stand in meta.c. */
#include "meta_state.h"

#include "crc.h"
#include "io.h"

#include <errno.h>
#include <stdio.h>

static const char *const statement_text[STATEMENTS] = {
    [GET_INT] = "SELECT name, value, crc FROM settings WHERE name = ?1",
    [SET_INT] = "INSERT OR REPLACE INTO settings VALUES(?1, ?2, ?3)",
    [GET_OWNER] = "SELECT crc FROM owners WHERE kind = ?1 AND name = ?2",
    [SET_OWNER] = "INSERT OR REPLACE INTO owners VALUES(?1, ?2, ?3, ?4, ?5, ?6)",
    [CLEAR_OWNER] = "DELETE FROM owners WHERE kind = ?1 AND name = ?2",
    [EACH_OWNER] = "SELECT kind, name, uid, gid, mode, crc FROM owners",
    [EACH_INT] = "SELECT name, value, crc FROM settings",
    [GET_PIN] = "SELECT crc FROM pins WHERE kind = ?1 AND name = ?2",
    [SET_PIN] = "INSERT OR REPLACE INTO pins VALUES(?1, ?2, ?3, ?4, ?5, ?6)",
    [CLEAR_PIN] = "DELETE FROM pins WHERE kind = ?1 AND name = ?2",
    [EACH_PIN] = "SELECT kind, name, uid, time, schema, crc FROM pins ORDER BY kind, name",
};

/* ---- errors ---- */

int meta_fail(struct meta *m, int rc, const char *what, struct evs_error *err)
{
    return meta_fail_db(m->db, rc, what, err);
}

int meta_fail_db(sqlite3 *db, int rc, const char *what, struct evs_error *err)
{
    int system = db ? sqlite3_system_errno(db) : 0;
    const char *why = db ? sqlite3_errmsg(db) : sqlite3_errstr(rc);
    char text[128];

    (void)snprintf(text, sizeof text, "meta.db: %s: %s", what, why); /* cut is fine: for people */
    switch (rc & 0xff) {
    case SQLITE_FULL:
        return evs_fail_at(err, EVS_DISK_FULL, EVS_NOWHERE, "%s", text);
    case SQLITE_NOTADB:
    case SQLITE_CORRUPT:
        return evs_fail_at(err, EVS_DAMAGED, EVS_NOWHERE, "%s", text);
    case SQLITE_READONLY:
        return evs_fail_at(err, EVS_READ_ONLY, EVS_NOWHERE, "%s", text);
    case SQLITE_NOMEM:
        return evs_fail_at(err, EVS_NO_MEMORY, EVS_NOWHERE, "%s", text);
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
        return evs_fail_at(err, EVS_IN_USE, EVS_NOWHERE, "%s", text);
    case SQLITE_CANTOPEN:
        return evs_fail_errno(err, system > 0 ? -system : -EIO, text);
    default: /* IOERR, and whatever else; a full disk shows as IOERR where the -shm file grows */
        return evs_fail_errno(err, system == ENOSPC || system == EDQUOT ? -ENOSPC : -EIO, text);
    }
}

int meta_damaged(const char *table, struct slice name, struct evs_error *err)
{
    return evs_fail_at(err, EVS_DAMAGED, EVS_NOWHERE, "meta.db: %s '%.*s': checksum differs", table,
                       (int)MIN(name.n, 80), name.n ? name.p : "");
}

/* ---- checksums: invariant (2) ---- */

uint32_t meta_crc_int(uint32_t crc, int64_t value)
{
    unsigned char b[8];

    for (int i = 0; i < 8; i++)
        b[i] = (unsigned char)((uint64_t)value >> (8 * i));
    return crc32c(crc, b, sizeof b);
}

uint32_t meta_crc_bytes(uint32_t crc, struct slice s)
{
    crc = meta_crc_int(crc, (int64_t)s.n);
    return s.n ? crc32c(crc, s.p, s.n) : crc;
}

int64_t meta_setting_crc(struct slice name, int64_t value)
{
    return meta_crc_int(meta_crc_bytes(crc32c(0, "s", 1), name), value);
}

static int64_t owner_crc(const struct owner_row *o)
{
    uint32_t crc = meta_crc_bytes(meta_crc_int(crc32c(0, "o", 1), o->kind), o->name);

    return meta_crc_int(meta_crc_int(meta_crc_int(crc, o->uid), o->gid), o->mode);
}

/* ---- statements; all with the lock held ---- */

sqlite3_stmt *meta_begin(struct meta *m, enum meta_statement which, int *ret_r,
                         struct evs_error *err)
{
    if (!m->statement[which]) {
        int rc = sqlite3_prepare_v3(m->db, statement_text[which], -1, SQLITE_PREPARE_PERSISTENT,
                                    &m->statement[which], NULL);
        if (rc != SQLITE_OK) {
            *ret_r = meta_fail(m, rc, "prepare", err);
            return NULL;
        }
    }
    return m->statement[which];
}

void meta_end(sqlite3_stmt *s)
{
    if (!s)
        return;
    (void)sqlite3_reset(s); /* repeats the error of the last step, which has been dealt with */
    (void)sqlite3_clear_bindings(s);
}

struct slice meta_column(sqlite3_stmt *s, int column)
{
    const void *p = sqlite3_column_blob(s, column); /* before _bytes, as SQLite wants it */

    return (struct slice){p ? p : "", (size_t)sqlite3_column_bytes(s, column)};
}

int meta_bind_blob(sqlite3_stmt *s, int i, struct slice b)
{
    return sqlite3_bind_blob64(s, i, b.n ? b.p : "", b.n, SQLITE_STATIC);
}

bool meta_owner_row(sqlite3_stmt *s, struct owner_row *ret)
{
    *ret = (struct owner_row){
        .kind = sqlite3_column_int64(s, 0),
        .name = meta_column(s, 1),
        .uid = sqlite3_column_int64(s, 2),
        .gid = sqlite3_column_int64(s, 3),
        .mode = sqlite3_column_int64(s, 4),
        .crc = sqlite3_column_int64(s, 5),
    };
    return ret->crc == owner_crc(ret) && ret->kind >= EVS_DIR_ROOT && ret->kind <= EVS_DIR_TYPE &&
           ret->uid >= 0 && ret->uid <= UINT32_MAX && ret->gid >= 0 && ret->gid <= UINT32_MAX &&
           (ret->mode & ~(int64_t)07777) == 0;
}

bool meta_int_row(sqlite3_stmt *s, struct slice *ret_name, int64_t *ret_value, int64_t *ret_crc)
{
    *ret_name = meta_column(s, 0);
    *ret_value = sqlite3_column_int64(s, 1);
    *ret_crc = sqlite3_column_int64(s, 2);
    return *ret_crc == meta_setting_crc(*ret_name, *ret_value);
}

static int get_int(struct meta *m, struct slice name, int64_t *ret, struct evs_error *err)
{
    int r = 0;
    sqlite3_stmt *s = meta_begin(m, GET_INT, &r, err);

    if (!s)
        return r;
    int rc = sqlite3_bind_text64(s, 1, name.p, name.n, SQLITE_STATIC, SQLITE_UTF8);
    if (rc == SQLITE_OK)
        rc = sqlite3_step(s);
    if (rc == SQLITE_DONE) {
        r = evs_fail_at(err, EVS_NO_SUCH, EVS_NOWHERE, "meta.db: no setting '%s'", name.p);
    } else if (rc != SQLITE_ROW) {
        r = meta_fail(m, rc, "settings", err);
    } else {
        struct slice is;
        int64_t value, crc;
        if (!meta_int_row(s, &is, &value, &crc))
            r = meta_damaged("settings", name, err);
        else
            *ret = value;
    }
    meta_end(s);
    return r;
}

int meta_finish(struct meta *m, sqlite3_stmt *s, int rc, const char *what, struct evs_error *err)
{
    if (rc == SQLITE_OK)
        rc = sqlite3_step(s);
    int r = rc == SQLITE_DONE ? 0 : meta_fail(m, rc, what, err);
    meta_end(s);
    return r;
}

int meta_put_int(struct meta *m, struct slice name, int64_t value, struct evs_error *err)
{
    int r = 0;
    sqlite3_stmt *s = meta_begin(m, SET_INT, &r, err);

    if (!s)
        return r;
    int rc = sqlite3_bind_text64(s, 1, name.p, name.n, SQLITE_STATIC, SQLITE_UTF8);
    if (rc == SQLITE_OK)
        rc = sqlite3_bind_int64(s, 2, value);
    if (rc == SQLITE_OK)
        rc = sqlite3_bind_int64(s, 3, meta_setting_crc(name, value));
    return meta_finish(m, s, rc, "settings", err);
}

/* ---- changes: one transaction each, which changes META_SUM as well ---- */

const struct slice meta_sum_name = {META_SUM, sizeof META_SUM - 1};

int meta_run(struct meta *m, const char *sql, const char *what, struct evs_error *err)
{
    int rc = sqlite3_exec(m->db, sql, NULL, NULL, NULL);

    return rc == SQLITE_OK ? 0 : meta_fail(m, rc, what, err);
}

/* SQLite goes on writing into a file that was removed, and nobody would find it again. */
static int check_there(const struct meta *m, struct evs_error *err)
{
    struct stat st;

    if (m->fd < 0 || io_stat(m->fd, &st) < 0 || st.st_nlink > 0)
        return 0;
    return evs_fail_at(err, EVS_DAMAGED, EVS_NOWHERE, "meta.db was removed");
}

int meta_begin_change(struct meta *m, struct evs_error *err)
{
    int r = check_there(m, err);

    return r < 0 ? r : meta_run(m, "BEGIN IMMEDIATE", "begin", err);
}

void meta_empty_wal(struct meta *m)
{
    if (!m->file)
        return;
    (void)sqlite3_busy_timeout(m->db, 0);
    (void)sqlite3_wal_checkpoint_v2(m->db, NULL, SQLITE_CHECKPOINT_TRUNCATE, NULL, NULL);
    (void)sqlite3_busy_timeout(m->db, BUSY_TIMEOUT_MS);
}

int meta_end_change(struct meta *m, int r, int64_t add, struct evs_error *err)
{
    int64_t sum;

    if (r == 0)
        r = get_int(m, meta_sum_name, &sum, err);
    if (r == 0)
        r = meta_put_int(m, meta_sum_name, sum + add, err);
    if (r == 0)
        r = meta_run(m, "COMMIT", "commit", err);
    if (r < 0) {
        (void)sqlite3_exec(m->db, "ROLLBACK", NULL, NULL, NULL); /* or it is rolled back already */
        return r;
    }
    meta_empty_wal(m);
    return check_there(m, err);
}

int meta_sum_rows(struct meta *m, int64_t *ret, struct evs_error *err)
{
    struct owner_row row;
    struct slice name;
    int64_t value, crc;
    int r = 0, rc = SQLITE_DONE;
    sqlite3_stmt *s = meta_begin(m, EACH_OWNER, &r, err);

    *ret = 0;
    while (s && r == 0 && (rc = sqlite3_step(s)) == SQLITE_ROW) {
        if (!meta_owner_row(s, &row))
            r = meta_damaged("owners", row.name, err);
        *ret += row.crc;
    }
    if (r == 0 && rc != SQLITE_DONE)
        r = meta_fail(m, rc, "owners", err);
    meta_end(s);
    s = r == 0 ? meta_begin(m, EACH_INT, &r, err) : NULL;
    while (s && r == 0 && (rc = sqlite3_step(s)) == SQLITE_ROW) {
        if (!meta_int_row(s, &name, &value, &crc))
            r = meta_damaged("settings", name, err);
        *ret += slice_eq(name, meta_sum_name) ? 0 : crc;
    }
    if (r == 0 && rc != SQLITE_DONE)
        r = meta_fail(m, rc, "settings", err);
    meta_end(s);
    return r < 0 ? r : meta_sum_pins(m, ret, err);
}

int meta_check(struct meta *m, struct evs_error *err)
{
    int64_t is = 0, want = 0;

    (void)pthread_mutex_lock(&m->lock);
    int r = meta_sum_rows(m, &is, err);
    if (r == 0 && m->summed) {
        r = get_int(m, meta_sum_name, &want, err);
        if (r == -ENOENT || (r == 0 && is != want))
            r = evs_fail_at(err, EVS_DAMAGED, EVS_NOWHERE, "meta.db: rows are missing");
    }
    (void)pthread_mutex_unlock(&m->lock);
    return r;
}

int meta_get_int(struct meta *m, const char *name, int64_t *ret, struct evs_error *err)
{
    (void)pthread_mutex_lock(&m->lock);
    int r = get_int(m, (struct slice){name, strlen(name)}, ret, err);
    (void)pthread_mutex_unlock(&m->lock);
    return r;
}

static int set_int(struct meta *m, struct slice name, int64_t value, struct evs_error *err)
{
    int64_t old = 0;
    int r = meta_begin_change(m, err);

    if (r < 0)
        return r;
    r = get_int(m, name, &old, err);
    int64_t add = meta_setting_crc(name, value) - (r == 0 ? meta_setting_crc(name, old) : 0);
    if (r == 0 || r == -ENOENT)
        r = meta_put_int(m, name, value, err);
    return meta_end_change(m, r, add, err);
}

int meta_set_int(struct meta *m, const char *name, int64_t value, struct evs_error *err)
{
    if (m->read_only)
        return evs_fail(err, EVS_READ_ONLY, EVS_NOWHERE);
    (void)pthread_mutex_lock(&m->lock);
    int r = set_int(m, (struct slice){name, strlen(name)}, value, err);
    (void)pthread_mutex_unlock(&m->lock);
    return r;
}

int meta_crc_now(struct meta *m, enum meta_statement which, int64_t kind, struct slice name,
                 int64_t *ret, struct evs_error *err)
{
    int r = 0;
    sqlite3_stmt *s = meta_begin(m, which, &r, err);

    if (!s)
        return r;
    int rc = sqlite3_bind_int64(s, 1, kind);
    if (rc == SQLITE_OK)
        rc = meta_bind_blob(s, 2, name);
    if (rc == SQLITE_OK)
        rc = sqlite3_step(s);
    *ret = rc == SQLITE_ROW ? sqlite3_column_int64(s, 0) : 0;
    if (rc != SQLITE_ROW && rc != SQLITE_DONE)
        r = meta_fail(m, rc, "read", err);
    meta_end(s);
    return r;
}

static int put_owner(struct meta *m, const struct owner_row *o, struct evs_error *err)
{
    const int64_t numbers[] = {o->uid, o->gid, o->mode, owner_crc(o)};
    int r = 0;
    sqlite3_stmt *s = meta_begin(m, SET_OWNER, &r, err);

    if (!s)
        return r;
    int rc = sqlite3_bind_int64(s, 1, o->kind);
    if (rc == SQLITE_OK)
        rc = meta_bind_blob(s, 2, o->name);
    for (int i = 0; i < (int)ARRAY_LEN(numbers) && rc == SQLITE_OK; i++)
        rc = sqlite3_bind_int64(s, 3 + i, numbers[i]);
    return meta_finish(m, s, rc, "owners", err);
}

static int set_owner(struct meta *m, const struct owner_row *o, struct evs_error *err)
{
    int64_t old = 0;
    int r = meta_begin_change(m, err);

    if (r < 0)
        return r;
    r = meta_crc_now(m, GET_OWNER, o->kind, o->name, &old, err);
    if (r == 0)
        r = put_owner(m, o, err);
    return meta_end_change(m, r, owner_crc(o) - old, err);
}

int meta_set_owner(struct meta *m, const struct evs_dir *d, const struct evs_owner *o,
                   struct evs_error *err)
{
    const struct owner_row row = {.kind = (int64_t)d->kind,
                                  .name = {d->name, d->n},
                                  .uid = o->uid,
                                  .gid = o->gid,
                                  .mode = o->mode & 07777};

    if (m->read_only)
        return evs_fail(err, EVS_READ_ONLY, EVS_NOWHERE);
    (void)pthread_mutex_lock(&m->lock);
    int r = set_owner(m, &row, err);
    (void)pthread_mutex_unlock(&m->lock);
    return r;
}

int meta_remove(struct meta *m, enum meta_statement which, int64_t kind, struct slice name,
                struct evs_error *err)
{
    int r = 0;
    sqlite3_stmt *s = meta_begin(m, which, &r, err);

    if (!s)
        return r;
    int rc = sqlite3_bind_int64(s, 1, kind);
    if (rc == SQLITE_OK)
        rc = meta_bind_blob(s, 2, name);
    r = meta_finish(m, s, rc, "remove", err);
    if (r == 0 && sqlite3_changes(m->db) == 0)
        return evs_fail(err, EVS_NO_SUCH, EVS_NOWHERE);
    return r;
}

static int clear_owner(struct meta *m, const struct evs_dir *d, struct evs_error *err)
{
    const struct owner_row row = {.kind = (int64_t)d->kind, .name = {d->name, d->n}};
    int64_t old = 0;
    int r = meta_begin_change(m, err);

    if (r < 0)
        return r;
    r = meta_crc_now(m, GET_OWNER, row.kind, row.name, &old, err);
    if (r == 0)
        r = meta_remove(m, CLEAR_OWNER, row.kind, row.name, err);
    return meta_end_change(m, r, -old, err);
}

int meta_clear_owner(struct meta *m, const struct evs_dir *d, struct evs_error *err)
{
    if (m->read_only)
        return evs_fail(err, EVS_READ_ONLY, EVS_NOWHERE);
    (void)pthread_mutex_lock(&m->lock);
    int r = clear_owner(m, d, err);
    (void)pthread_mutex_unlock(&m->lock);
    return r;
}

static int each_owner(struct meta *m, meta_owner_fn *fn, void *arg, struct evs_error *err)
{
    int r = 0, rc = SQLITE_DONE;
    struct owner_row row;
    sqlite3_stmt *s = meta_begin(m, EACH_OWNER, &r, err);

    if (!s)
        return r;
    while (r == 0 && (rc = sqlite3_step(s)) == SQLITE_ROW) {
        if (!meta_owner_row(s, &row)) {
            r = meta_damaged("owners", row.name, err);
            break;
        }
        const struct evs_owner o = {(uid_t)row.uid, (gid_t)row.gid, (mode_t)row.mode};
        r = fn(arg, (enum evs_dir_kind)row.kind, row.name, &o);
    }
    if (r == 0 && rc != SQLITE_DONE)
        r = meta_fail(m, rc, "owners", err);
    meta_end(s);
    return r;
}

int meta_each_owner(struct meta *m, meta_owner_fn *fn, void *arg, struct evs_error *err)
{
    (void)pthread_mutex_lock(&m->lock);
    int r = each_owner(m, fn, arg, err);
    (void)pthread_mutex_unlock(&m->lock);
    return r;
}
