/* SPDX-License-Identifier: MIT */
/* meta.db holds what can't be had from the log: settings, and owners and modes of directories.
 * (1) application_id is FORMAT_ID and user_version FORMAT_VERSION, set in the transaction that
 *     makes the tables: a file that has one has all of them.
 * (2) Each row's crc is CRC32C over: a byte for the table ('s', 'o'), then its other columns in
 *     the order of the CREATE statement; an integer as 8 bytes, low byte first; text and blobs
 *     as their length (an integer) and bytes. SQLite checks the shape of its pages, but not what
 *     lies in them.
 * (3) A change is durable when the function returns (WAL with synchronous=FULL: one sync a
 *     commit).
 * (4) lock guards the connection and its statements; no statement is left between rows without
 *     it.
 *
 * SQLite does its own file I/O, so io.c's injected faults do not reach this file. Its own tests
 * cover crashes; ours, what we make of its errors.
 *
 * Reading without changing a byte: a store that was closed cleanly has no WAL (the last
 * connection moves it into meta.db), and meta.db is opened as immutable: no locks, no -wal, no
 * -shm. After a crash there is a WAL, and immutable would overlook it. Then we open with the
 * exclusive locking mode, which keeps the WAL's index in the heap instead of a -shm file,
 * without a checkpoint at the end, and with the VFS that takes no locks (an exclusive one needs
 * a writable descriptor; nolock=1 would rule out a WAL). That no writer runs at the same time is
 * the business of the store's own lock. */
#include "meta.h"
#include "crc.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <sqlite3.h>
#include <stdio.h>
#include <sys/stat.h>

#define FORMAT_ID       0x45564653 /* "EVFS" */
#define FORMAT_VERSION  1
#define BUSY_TIMEOUT_MS 2000 /* somebody looks at meta.db with a tool of his own */

enum statement { GET_INT, SET_INT, SET_OWNER, CLEAR_OWNER, EACH_OWNER, EACH_INT, STATEMENTS };

static const char *const statement_text[STATEMENTS] = {
    [GET_INT] = "SELECT name, value, crc FROM settings WHERE name = ?1",
    [SET_INT] = "INSERT OR REPLACE INTO settings VALUES(?1, ?2, ?3)",
    [SET_OWNER] = "INSERT OR REPLACE INTO owners VALUES(?1, ?2, ?3, ?4, ?5, ?6)",
    [CLEAR_OWNER] = "DELETE FROM owners WHERE kind = ?1 AND name = ?2",
    [EACH_OWNER] = "SELECT kind, name, uid, gid, mode, crc FROM owners",
    [EACH_INT] = "SELECT name, value, crc FROM settings",
};

static const char create_text[] =
    "CREATE TABLE settings(name TEXT NOT NULL PRIMARY KEY, value INTEGER NOT NULL,"
    " crc INTEGER NOT NULL) STRICT, WITHOUT ROWID;"
    "CREATE TABLE owners(kind INTEGER NOT NULL, name BLOB NOT NULL, uid INTEGER NOT NULL,"
    " gid INTEGER NOT NULL, mode INTEGER NOT NULL, crc INTEGER NOT NULL,"
    " PRIMARY KEY(kind, name)) STRICT, WITHOUT ROWID;";

struct meta {
    pthread_mutex_t lock;
    sqlite3 *db;                         /* owned; under lock; NULL while half built */
    sqlite3_stmt *statement[STATEMENTS]; /* owned; under lock; NULL until first needed */
    bool read_only;                      /* const after open */
};

struct owner_row {
    int64_t kind, uid, gid, mode, crc;
    struct slice name; /* until the statement's next step */
};

/* ---- errors ---- */

/* SQLite returned rc (an extended code), while we did what. */
static int fail(struct meta *m, int rc, const char *what, struct evs_error *err)
{
    int system = m->db ? sqlite3_system_errno(m->db) : 0;
    const char *why = m->db ? sqlite3_errmsg(m->db) : sqlite3_errstr(rc);
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

static int damaged(const char *table, struct slice name, struct evs_error *err)
{
    return evs_fail_at(err, EVS_DAMAGED, EVS_NOWHERE, "meta.db: %s '%.*s': checksum differs", table,
                       (int)MIN(name.n, 80), name.n ? name.p : "");
}

/* ---- checksums: invariant (2) ---- */

static uint32_t crc_int(uint32_t crc, int64_t value)
{
    unsigned char b[8];

    for (int i = 0; i < 8; i++)
        b[i] = (unsigned char)((uint64_t)value >> (8 * i));
    return crc32c(crc, b, sizeof b);
}

static uint32_t crc_bytes(uint32_t crc, struct slice s)
{
    crc = crc_int(crc, (int64_t)s.n);
    return s.n ? crc32c(crc, s.p, s.n) : crc;
}

static int64_t setting_crc(struct slice name, int64_t value)
{
    return crc_int(crc_bytes(crc32c(0, "s", 1), name), value);
}

static int64_t owner_crc(const struct owner_row *o)
{
    uint32_t crc = crc_bytes(crc_int(crc32c(0, "o", 1), o->kind), o->name);

    return crc_int(crc_int(crc_int(crc, o->uid), o->gid), o->mode);
}

/* ---- statements; all with the lock held ---- */

/* The statement, ready to bind, or NULL with err and *ret_r. */
static sqlite3_stmt *begin(struct meta *m, enum statement which, int *ret_r, struct evs_error *err)
{
    if (!m->statement[which]) {
        int rc = sqlite3_prepare_v3(m->db, statement_text[which], -1, SQLITE_PREPARE_PERSISTENT,
                                    &m->statement[which], NULL);
        if (rc != SQLITE_OK) {
            *ret_r = fail(m, rc, "prepare", err);
            return NULL;
        }
    }
    return m->statement[which];
}

/* Leave no row, no read transaction and no borrowed pointer behind. */
static void end(sqlite3_stmt *s)
{
    if (!s)
        return;
    (void)sqlite3_reset(s); /* repeats the error of the last step, which has been dealt with */
    (void)sqlite3_clear_bindings(s);
}

static struct slice column_slice(sqlite3_stmt *s, int column)
{
    const void *p = sqlite3_column_blob(s, column); /* before _bytes, as SQLite wants it */

    return (struct slice){p ? p : "", (size_t)sqlite3_column_bytes(s, column)};
}

/* An empty name has no address, and a NULL address would be an SQL NULL. */
static int bind_blob(sqlite3_stmt *s, int i, struct slice b)
{
    return sqlite3_bind_blob64(s, i, b.n ? b.p : "", b.n, SQLITE_STATIC);
}

static bool owner_row_ok(sqlite3_stmt *s, struct owner_row *ret)
{
    *ret = (struct owner_row){
        .kind = sqlite3_column_int64(s, 0),
        .name = column_slice(s, 1),
        .uid = sqlite3_column_int64(s, 2),
        .gid = sqlite3_column_int64(s, 3),
        .mode = sqlite3_column_int64(s, 4),
        .crc = sqlite3_column_int64(s, 5),
    };
    return ret->crc == owner_crc(ret) && ret->kind >= EVS_DIR_ROOT && ret->kind <= EVS_DIR_TYPE &&
           ret->uid >= 0 && ret->uid <= UINT32_MAX && ret->gid >= 0 && ret->gid <= UINT32_MAX &&
           (ret->mode & ~(int64_t)07777) == 0;
}

/* ---- opening ---- */

/* path as an SQLite URI: a directory's name may hold '?', '#' and '%'. */
static void uri_of(const char *path, const char *query, char *out)
{
    out += sprintf(out, "file:");
    for (; *path; path++) {
        unsigned char c = (unsigned char)*path;
        bool plain = (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') ||
                     c == '/' || c == '.' || c == '-' || c == '_';
        out += plain ? sprintf(out, "%c", c) : sprintf(out, "%%%02X", c);
    }
    (void)sprintf(out, "%s", query);
}

/* What an open does to the connection; wal is whether a -wal file waits to be read. */
static int configure(struct meta *m, bool wal, struct evs_error *err)
{
    const char *pragmas = "PRAGMA trusted_schema=OFF; PRAGMA cell_size_check=ON;";
    const char *mode = !m->read_only ? "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL;"
                       : wal         ? "PRAGMA locking_mode=EXCLUSIVE; PRAGMA query_only=ON;"
                                     : "PRAGMA query_only=ON;";

    (void)sqlite3_extended_result_codes(m->db, 1);
    (void)sqlite3_busy_timeout(m->db, BUSY_TIMEOUT_MS);
    (void)sqlite3_db_config(m->db, SQLITE_DBCONFIG_DEFENSIVE, 1, NULL);
    if (m->read_only)
        (void)sqlite3_db_config(m->db, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, NULL);
    int rc = sqlite3_exec(m->db, pragmas, NULL, NULL, NULL);
    if (rc == SQLITE_OK)
        rc = sqlite3_exec(m->db, mode, NULL, NULL, NULL);
    return rc == SQLITE_OK ? 0 : fail(m, rc, "open", err);
}

/* The integer that a statement gives first. */
static int one_int(struct meta *m, const char *sql, int64_t *ret, struct evs_error *err)
{
    sqlite3_stmt *s = NULL;
    int rc = sqlite3_prepare_v2(m->db, sql, -1, &s, NULL);

    if (rc == SQLITE_OK)
        rc = sqlite3_step(s);
    if (rc == SQLITE_ROW)
        *ret = sqlite3_column_int64(s, 0);
    int r = rc == SQLITE_ROW ? 0 : fail(m, rc, "read", err);
    (void)sqlite3_finalize(s);
    return r;
}

static int create_tables(struct meta *m, struct evs_error *err)
{
    char sql[1024];
    int n =
        snprintf(sql, sizeof sql,
                 "BEGIN IMMEDIATE; %s PRAGMA application_id=%d; PRAGMA user_version=%d; COMMIT;",
                 create_text, FORMAT_ID, FORMAT_VERSION);

    assert(n > 0 && (size_t)n < sizeof sql);
    int rc = sqlite3_exec(m->db, sql, NULL, NULL, NULL);
    return rc == SQLITE_OK ? 0 : fail(m, rc, "create", err);
}

/* An empty database becomes ours; anything else must be. */
static int check_format(struct meta *m, bool as_if_empty, struct evs_error *err)
{
    int64_t id = 0, version = 0, tables = 0;
    int r = one_int(m, "PRAGMA application_id", &id, err);

    if (r == 0)
        r = one_int(m, "PRAGMA user_version", &version, err);
    if (r == 0)
        r = one_int(m, "SELECT count(*) FROM sqlite_schema", &tables, err);
    if (r < 0)
        return r;
    if (id == 0 && version == 0 && tables == 0) {
        /* New; or we died after the switch to WAL and before the tables. */
        if (m->read_only && !as_if_empty)
            return evs_fail_at(err, EVS_BAD_FORMAT, EVS_NOWHERE, "meta.db: no tables");
        return create_tables(m, err);
    }
    if (id != FORMAT_ID || version != FORMAT_VERSION)
        return evs_fail_at(err, EVS_BAD_FORMAT, EVS_NOWHERE,
                           "meta.db: application_id 0x%" PRIx64 ", version %" PRId64, id, version);
    return 0;
}

/* In memory: for a store in memory, and for a reader of a store that has no meta.db. */
static int open_memory(struct meta *m, struct evs_error *err)
{
    int rc = sqlite3_open_v2(
        ":memory:", &m->db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX, NULL);

    return rc == SQLITE_OK ? check_format(m, true, err) : fail(m, rc, "open", err);
}

static int open_file(struct meta *m, const char *dir, struct evs_error *err)
{
    size_t n = strlen(dir) + sizeof "/meta.db-wal";
    AUTO_FREE char *path = malloc(n), *uri = malloc(3 * n + 64);
    struct stat st;

    if (!path || !uri)
        return evs_fail(err, EVS_NO_MEMORY, EVS_NOWHERE);
    (void)snprintf(path, n, "%s/meta.db-wal", dir);
    bool wal = stat(path, &st) == 0 && st.st_size > 0;
    path[n - sizeof "-wal"] = '\0';
    bool there = stat(path, &st) == 0;
    if (m->read_only && !there && errno == ENOENT)
        return open_memory(m, err);
    if (there && !S_ISREG(st.st_mode)) /* SQLite would wait for the other end of a FIFO */
        return evs_fail_at(err, EVS_BAD_FORMAT, EVS_NOWHERE, "meta.db: not a regular file");

    uri_of(path, !m->read_only ? "" : wal ? "?mode=ro&vfs=unix-none" : "?mode=ro&immutable=1", uri);
    int flags = m->read_only ? SQLITE_OPEN_READONLY : SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE;
    if (!m->read_only) { /* nobody else's to read, whatever the umask; SQLite gives its -wal the same mode */
        int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NONBLOCK, 0600);
        if (fd >= 0)
            (void)close(fd); /* what is wrong with it, SQLite says next */
    }
    int rc = sqlite3_open_v2(uri, &m->db, flags | SQLITE_OPEN_URI | SQLITE_OPEN_NOMUTEX, NULL);
    if (rc != SQLITE_OK)
        return fail(m, rc, path, err);
    int r = configure(m, wal, err);
    return r < 0 ? r : check_format(m, false, err);
}

/* ---- public ---- */

int meta_open(const char *dir, bool read_only, struct meta **ret, struct evs_error *err)
{
    struct meta *m = calloc(1, sizeof *m);

    if (!m)
        return evs_fail(err, EVS_NO_MEMORY, EVS_NOWHERE);
    m->read_only = read_only;
    (void)pthread_mutex_init(&m->lock, NULL); /* can't fail with default attributes */
    int r = dir ? open_file(m, dir, err) : open_memory(m, err);
    if (r < 0) {
        meta_close(m);
        return r;
    }
    *ret = m;
    return 0;
}

void meta_close(struct meta *m)
{
    if (!m)
        return;
    for (int i = 0; i < STATEMENTS; i++)
        (void)sqlite3_finalize(m->statement[i]); /* repeats an error that was dealt with */
    /* Moves the WAL into meta.db; where that fails, the WAL stays and the next open reads it. */
    int rc = sqlite3_close(m->db);
    assert(rc == SQLITE_OK); /* BUSY: a statement was left */
    (void)rc;
    (void)pthread_mutex_destroy(&m->lock);
    free(m);
}

static int get_int(struct meta *m, struct slice name, int64_t *ret, struct evs_error *err)
{
    int r = 0;
    sqlite3_stmt *s = begin(m, GET_INT, &r, err);

    if (!s)
        return r;
    int rc = sqlite3_bind_text64(s, 1, name.p, name.n, SQLITE_STATIC, SQLITE_UTF8);
    if (rc == SQLITE_OK)
        rc = sqlite3_step(s);
    if (rc == SQLITE_DONE) {
        r = evs_fail_at(err, EVS_NO_SUCH, EVS_NOWHERE, "meta.db: no setting '%s'", name.p);
    } else if (rc != SQLITE_ROW) {
        r = fail(m, rc, "settings", err);
    } else {
        int64_t value = sqlite3_column_int64(s, 1);
        if (sqlite3_column_int64(s, 2) != setting_crc(name, value))
            r = damaged("settings", name, err);
        else
            *ret = value;
    }
    end(s);
    return r;
}

int meta_get_int(struct meta *m, const char *name, int64_t *ret, struct evs_error *err)
{
    (void)pthread_mutex_lock(&m->lock);
    int r = get_int(m, (struct slice){name, strlen(name)}, ret, err);
    (void)pthread_mutex_unlock(&m->lock);
    return r;
}

/* Run a bound statement that changes something; rc: what binding returned. */
static int finish(struct meta *m, sqlite3_stmt *s, int rc, const char *what, struct evs_error *err)
{
    if (rc == SQLITE_OK)
        rc = sqlite3_step(s);
    int r = rc == SQLITE_DONE ? 0 : fail(m, rc, what, err);
    end(s);
    return r;
}

static int set_int(struct meta *m, struct slice name, int64_t value, struct evs_error *err)
{
    int r = 0;
    sqlite3_stmt *s = begin(m, SET_INT, &r, err);

    if (!s)
        return r;
    int rc = sqlite3_bind_text64(s, 1, name.p, name.n, SQLITE_STATIC, SQLITE_UTF8);
    if (rc == SQLITE_OK)
        rc = sqlite3_bind_int64(s, 2, value);
    if (rc == SQLITE_OK)
        rc = sqlite3_bind_int64(s, 3, setting_crc(name, value));
    return finish(m, s, rc, "settings", err);
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

static int set_owner(struct meta *m, const struct owner_row *o, struct evs_error *err)
{
    const int64_t numbers[] = {o->uid, o->gid, o->mode, owner_crc(o)};
    int r = 0;
    sqlite3_stmt *s = begin(m, SET_OWNER, &r, err);

    if (!s)
        return r;
    int rc = sqlite3_bind_int64(s, 1, o->kind);
    if (rc == SQLITE_OK)
        rc = bind_blob(s, 2, o->name);
    for (int i = 0; i < (int)ARRAY_LEN(numbers) && rc == SQLITE_OK; i++)
        rc = sqlite3_bind_int64(s, 3 + i, numbers[i]);
    return finish(m, s, rc, "owners", err);
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

static int clear_owner(struct meta *m, const struct evs_dir *d, struct evs_error *err)
{
    int r = 0;
    sqlite3_stmt *s = begin(m, CLEAR_OWNER, &r, err);

    if (!s)
        return r;
    int rc = sqlite3_bind_int64(s, 1, (int64_t)d->kind);
    if (rc == SQLITE_OK)
        rc = bind_blob(s, 2, (struct slice){d->name, d->n});
    r = finish(m, s, rc, "owners", err);
    if (r == 0 && sqlite3_changes(m->db) == 0)
        return evs_fail(err, EVS_NO_SUCH, EVS_NOWHERE);
    return r;
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
    sqlite3_stmt *s = begin(m, EACH_OWNER, &r, err);

    if (!s)
        return r;
    while (r == 0 && (rc = sqlite3_step(s)) == SQLITE_ROW) {
        if (!owner_row_ok(s, &row)) {
            r = damaged("owners", row.name, err);
            break;
        }
        const struct evs_owner o = {(uid_t)row.uid, (gid_t)row.gid, (mode_t)row.mode};
        r = fn(arg, (enum evs_dir_kind)row.kind, row.name, &o);
    }
    if (r == 0 && rc != SQLITE_DONE)
        r = fail(m, rc, "owners", err);
    end(s);
    return r;
}

int meta_each_owner(struct meta *m, meta_owner_fn *fn, void *arg, struct evs_error *err)
{
    (void)pthread_mutex_lock(&m->lock);
    int r = each_owner(m, fn, arg, err);
    (void)pthread_mutex_unlock(&m->lock);
    return r;
}

/* ---- verify ---- */

struct findings {
    evs_report_fn *report;
    void *arg;
    int n;
};

static void find(struct findings *f, const char *table, struct slice what)
{
    char text[256];

    (void)snprintf(text, sizeof text, "meta.db: %s%.*s", table, (int)MIN(what.n, 160), what.p);
    f->n++;
    f->report(f->arg, text);
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
        return fail(m, rc, "verify", err);
    find(f, "", (struct slice){text, strlen(text)});
    return 0;
}

static int verify_rows(struct meta *m, enum statement which, struct findings *f,
                       struct evs_error *err)
{
    int r = 0, rc;
    struct owner_row row;
    sqlite3_stmt *s = begin(m, which, &r, err);

    if (!s)
        return r;
    while ((rc = sqlite3_step(s)) == SQLITE_ROW) {
        if (which == EACH_OWNER && !owner_row_ok(s, &row))
            find(f, "owners: checksum differs: ", row.name);
        if (which == EACH_INT && sqlite3_column_int64(s, 2) !=
                                     setting_crc(column_slice(s, 0), sqlite3_column_int64(s, 1)))
            find(f, "settings: checksum differs: ", column_slice(s, 0));
    }
    end(s);
    return finding_or_failure(m, rc == SQLITE_DONE ? SQLITE_OK : rc, f, err);
}

int meta_verify(struct meta *m, evs_report_fn *report, void *arg, struct evs_error *err)
{
    struct findings f = {report, arg, 0};

    (void)pthread_mutex_lock(&m->lock);
    int rc = sqlite3_exec(m->db, "PRAGMA integrity_check", integrity_row, &f, NULL);
    int r = finding_or_failure(m, rc, &f, err);
    if (r == 0)
        r = verify_rows(m, EACH_INT, &f, err);
    if (r == 0)
        r = verify_rows(m, EACH_OWNER, &f, err);
    (void)pthread_mutex_unlock(&m->lock);
    return r < 0 ? r : f.n;
}
