/* SPDX-License-Identifier: MIT */
/* meta_file: a directory with a meta.db for each test, and SQL on it behind meta's back. */
#ifndef TESTS_META_FILE_H
#define TESTS_META_FILE_H

#include "check.h"

#include <sqlite3.h>

static char dir[64]; /* a fresh one for each test */
static char file[96];

static void fresh(void)
{
    (void)snprintf(dir, sizeof dir, "/tmp/test_meta.XXXXXX");
    CHECK(mkdtemp(dir));
    (void)snprintf(file, sizeof file, "%s/meta.db", dir);
}

static void gone(void)
{
    char command[128];

    (void)snprintf(command, sizeof command, "rm -rf '%s'", dir);
    CHECK_EQ(system(command), 0);
}

/* Run SQL on the file behind meta's back. */
static void sql(const char *text)
{
    sqlite3 *db;

    CHECK_EQ(sqlite3_open(file, &db), SQLITE_OK);
    CHECK_EQ(sqlite3_exec(db, text, NULL, NULL, NULL), SQLITE_OK);
    CHECK_EQ(sqlite3_close(db), SQLITE_OK);
}

#endif
