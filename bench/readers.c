/* SPDX-License-Identifier: MIT */
/* evfs-readers: what one client pays that reads one thing after the other. Prints microseconds each.
 *   evfs-readers files N FILE...          opens, reads to the end, closes; the files in turn
 *   evfs-readers sqlite N FILE ENTITY...  the data of an entity's rows, with a prepared statement */
#include "bench.h"

#include <sqlite3.h>

static char buf[128 << 10]; /* cat's */

static size_t read_file(const char *path)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    size_t got = 0;
    ssize_t n = -1;

    while (fd >= 0 && (n = read(fd, buf, sizeof buf)) > 0)
        got += (size_t)n;
    if (n < 0)
        die(path, NULL);
    (void)close(fd);
    return got;
}

static size_t read_rows(sqlite3_stmt *s, const char *entity)
{
    size_t got = 0;

    (void)sqlite3_bind_text(s, 1, entity, -1, SQLITE_STATIC);
    while (sqlite3_step(s) == SQLITE_ROW) {
        size_t n = (size_t)sqlite3_column_bytes(s, 0);
        if (got + n > sizeof buf)
            die("too many rows", NULL);
        memcpy(buf + got, sqlite3_column_text(s, 0), n);
        got += n;
    }
    if (sqlite3_reset(s) != SQLITE_OK)
        die("sqlite", NULL);
    return got;
}

static sqlite3_stmt *open_rows(const char *file, sqlite3 **ret_db)
{
    sqlite3_stmt *s;

    if (sqlite3_open_v2(file, ret_db, SQLITE_OPEN_READONLY, NULL) != SQLITE_OK ||
        sqlite3_prepare_v2(*ret_db, "SELECT data FROM e WHERE entity = ? ORDER BY seq", -1, &s,
                           NULL) != SQLITE_OK)
        die(sqlite3_errmsg(*ret_db), NULL);
    return s;
}

int main(int argc, char **argv)
{
    bool files = argc > 3 && strcmp(argv[1], "files") == 0;
    int first = files ? 3 : 4;
    sqlite3 *db = NULL;
    sqlite3_stmt *s = NULL;

    if (argc <= first || (!files && strcmp(argv[1], "sqlite") != 0))
        return fputs("usage: evfs-readers files N FILE... | sqlite N FILE ENTITY...\n", stderr), 2;
    size_t n = strtoull(argv[2], NULL, 10);
    if (!files)
        s = open_rows(argv[3], &db);
    uint64_t begin = now_ns();
    for (size_t i = 0; i < n; i++) {
        const char *what = argv[first + (int)(i % (size_t)(argc - first))];
        if ((files ? read_file(what) : read_rows(s, what)) == 0) {
            fprintf(stderr, "%s: nothing\n", what);
            return 1;
        }
    }
    printf("%.2f\n", (double)(now_ns() - begin) / 1e3 / (double)n);
    (void)sqlite3_finalize(s);
    (void)sqlite3_close(db);
    return 0;
}
