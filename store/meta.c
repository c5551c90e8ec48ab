/* SPDX-License-Identifier: MIT */
/* meta.db holds what can't be had from the log: settings, owners and modes of directories, and pinned schemas.
 * (1) application_id is FORMAT_ID and user_version FORMAT_VERSION, set in the transaction that
 *     makes the tables: a file that has one has all of them.
 * (2) Each row's crc is CRC32C over: a byte for the table ('s', 'o', 'p'), then its other columns in
 *     the order of the CREATE statement; an integer as 8 bytes, low byte first; text and blobs
 *     as their length (an integer) and bytes. SQLite checks the shape of its pages, but not what
 *     lies in them. The setting META_SUM is the sum of all other rows' crcs, changed with them in one
 *     transaction: a row that a damaged page no longer shows is missed. Who loses the row of a closed
 *     directory must not find it open.
 * (3) A change is durable when the function returns (WAL with synchronous=FULL: one sync a
 *     commit), and stands in meta.db itself, not only in the WAL: damage to a frame of that would look like
 *     a commit that was torn, and be passed over.
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
#include "meta_state.h"

#include "crc.h"
#include "io.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <sys/stat.h>

#define FORMAT_ID 0x45564653 /* "EVFS" */
/* 1 had no META_SUM, 2 no pins. One flipped bit makes none of the versions into another. */
#define FORMAT_VERSION 4

static const char create_text[] =
    "CREATE TABLE settings(name TEXT NOT NULL PRIMARY KEY, value INTEGER NOT NULL,"
    " crc INTEGER NOT NULL) STRICT, WITHOUT ROWID;"
    "CREATE TABLE owners(kind INTEGER NOT NULL, name BLOB NOT NULL, uid INTEGER NOT NULL,"
    " gid INTEGER NOT NULL, mode INTEGER NOT NULL, crc INTEGER NOT NULL,"
    " PRIMARY KEY(kind, name)) STRICT, WITHOUT ROWID;";

static const char create_pins_text[] =
    "CREATE TABLE pins(kind INTEGER NOT NULL, name BLOB NOT NULL, uid INTEGER NOT NULL,"
    " time INTEGER NOT NULL, schema BLOB NOT NULL, crc INTEGER NOT NULL,"
    " PRIMARY KEY(kind, name)) STRICT;"; /* large rows: with a rowid */

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
    return rc == SQLITE_OK ? 0 : meta_fail(m, rc, "open", err);
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
    int r = rc == SQLITE_ROW ? 0 : meta_fail(m, rc, "read", err);
    (void)sqlite3_finalize(s);
    return r;
}

static int create_tables(struct meta *m, struct evs_error *err)
{
    char sql[1024];
    int n = snprintf(sql, sizeof sql,
                     "BEGIN IMMEDIATE; %s %s INSERT INTO settings VALUES('%s', 0, %" PRId64 ");"
                     " PRAGMA application_id=%d; PRAGMA user_version=%d; COMMIT;",
                     create_text, create_pins_text, META_SUM, meta_setting_crc(meta_sum_name, 0),
                     FORMAT_ID, FORMAT_VERSION);

    assert(n > 0 && (size_t)n < sizeof sql);
    int r = meta_run(m, sql, "create", err);
    if (r == 0)
        meta_empty_wal(m);
    return r;
}

/* From version 1, the same without META_SUM and pins, or 2, without pins. */
static int upgrade(struct meta *m, int64_t from, struct evs_error *err)
{
    char done[64];
    int64_t sum = 0;
    int r = meta_run(m, "BEGIN IMMEDIATE", "begin", err);

    if (r < 0)
        return r;
    (void)snprintf(done, sizeof done, "PRAGMA user_version=%d; COMMIT", FORMAT_VERSION);
    r = meta_run(m, create_pins_text, "create", err);
    if (r == 0 && from == 1)
        r = meta_sum_rows(m, &sum, err);
    if (r == 0 && from == 1)
        r = meta_put_int(m, meta_sum_name, sum, err);
    if (r == 0)
        r = meta_run(m, done, "commit", err);
    if (r < 0)
        (void)sqlite3_exec(m->db, "ROLLBACK", NULL, NULL, NULL);
    else
        meta_empty_wal(m);
    return r;
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
    if (id == FORMAT_ID && (version == 1 || version == 2)) {
        m->summed = version == 2 || !m->read_only;
        m->pinned = !m->read_only;
        return m->read_only ? 0 : upgrade(m, version, err);
    }
    if (id != FORMAT_ID || version != FORMAT_VERSION)
        return evs_fail_at(err, EVS_BAD_FORMAT, EVS_NOWHERE,
                           "meta.db: application_id 0x%" PRIx64 ", version %" PRId64, id, version);
    return 0;
}

/* The -wal gets its name before anything is in it: SQLite syncs the directory as well, but does not look whether that
 * worked, and moves the WAL into meta.db then. Torn there, and without the WAL, it could not be opened again. */
static int name_wal(struct meta *m, const char *dir, struct evs_error *err)
{
    int64_t tables;
    int r = one_int(m, "SELECT count(*) FROM sqlite_schema", &tables, err); /* makes it */

    if (r < 0)
        return r;
    int fd AUTO_CLOSE = io_open(AT_FDCWD, dir, O_RDONLY | O_DIRECTORY, 0);
    r = fd < 0 ? fd : io_sync(fd);
    return r < 0 ? evs_fail_errno(err, r, "meta.db-wal") : 0;
}

/* In memory: for a store in memory, and for a reader of a store that has no meta.db. */
static int open_memory(struct meta *m, struct evs_error *err)
{
    int rc = sqlite3_open_v2(
        ":memory:", &m->db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX, NULL);

    return rc == SQLITE_OK ? check_format(m, true, err) : meta_fail(m, rc, "open", err);
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
    if (!m->read_only) /* nobody else's to read, whatever the umask; SQLite gives its -wal the same mode */
        m->fd = io_open(AT_FDCWD, path, O_RDWR | O_CREAT | O_NOFOLLOW, 0600);
    if (m->fd == -ENOSPC || m->fd == -EDQUOT || m->fd == -ELOOP)
        /* SQLite would say that it isn't there, or follow the link */
        return evs_fail_errno(err, m->fd, "meta.db");
    m->file = !m->read_only; /* what else is wrong with it, SQLite says next */
    int rc = sqlite3_open_v2(uri, &m->db, flags | SQLITE_OPEN_URI | SQLITE_OPEN_NOMUTEX, NULL);
    if (rc != SQLITE_OK)
        return meta_fail(m, rc, path, err);
    if (!m->read_only && sqlite3_db_readonly(m->db, "main") != 0)
        /* It could not be opened for writing, and SQLite is content with reading: each chmod would fail. */
        return evs_fail_at(err, EVS_READ_ONLY, EVS_NOWHERE, "meta.db: cannot be written");
    int r = configure(m, wal, err);
    if (r == 0 && !m->read_only)
        r = name_wal(m, dir, err);
    return r < 0 ? r : check_format(m, false, err);
}

/* ---- public ---- */

int meta_open(const char *dir, bool read_only, struct meta **ret, struct evs_error *err)
{
    struct meta *m = calloc(1, sizeof *m);

    if (!m)
        return evs_fail(err, EVS_NO_MEMORY, EVS_NOWHERE);
    m->read_only = read_only;
    m->summed = m->pinned = true;
    m->fd = -1;
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
    if (m->fd >= 0)
        (void)io_close(
            m->fd); /* after SQLite's own: a close of any takes all of the process's locks */
    (void)pthread_mutex_destroy(&m->lock);
    free(m);
}
