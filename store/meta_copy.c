/* SPDX-License-Identifier: MIT */
/* meta_copy: meta.db of a store that is in use, copied by SQLite itself: a read transaction in another
 * connection sees one moment, waits for nobody, and keeps nobody waiting. The file is never opened otherwise:
 * closing any descriptor of it would drop the locks of a connection that this process may have. */
#include "meta_state.h"

#include <errno.h>
#include <sqlite3.h>
#include <stdio.h>
#include <sys/stat.h>

#define BUSY_TIMEOUT_MS 2000

static int vacuum_into(sqlite3 *db, const char *path)
{
    sqlite3_stmt *s = NULL;
    int rc = sqlite3_prepare_v2(db, "VACUUM INTO ?1", -1, &s, NULL);

    if (rc == SQLITE_OK)
        rc = sqlite3_bind_text(s, 1, path, -1, SQLITE_STATIC);
    if (rc == SQLITE_OK)
        rc = sqlite3_step(s);
    (void)sqlite3_finalize(s); /* repeats what step said */
    return rc == SQLITE_DONE ? SQLITE_OK : rc;
}

int meta_copy(const char *dir, const char *path, struct evs_error *err)
{
    size_t n = strlen(dir) + sizeof "/meta.db";
    char *from AUTO_FREE = malloc(n);
    sqlite3 *db = NULL;
    struct stat st;

    if (!from)
        return evs_fail(err, EVS_NO_MEMORY, EVS_NOWHERE);
    (void)snprintf(from, n, "%s/meta.db", dir);
    if (stat(from, &st) < 0)
        return evs_fail_errno(err, -errno, "meta.db");
    if (!S_ISREG(st.st_mode))
        return evs_fail_at(err, EVS_BAD_FORMAT, EVS_NOWHERE, "meta.db: not a regular file");
    int rc = sqlite3_open_v2(from, &db, SQLITE_OPEN_READONLY | SQLITE_OPEN_NOMUTEX, NULL);
    if (rc == SQLITE_OK) {
        (void)sqlite3_busy_timeout(db, BUSY_TIMEOUT_MS);
        rc = vacuum_into(db, path);
    }
    int r = rc == SQLITE_OK ? 0 : meta_fail_db(db, rc, "copy", err);
    (void)sqlite3_close(db); /* reading only */
    return r;
}
