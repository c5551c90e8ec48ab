/* SPDX-License-Identifier: MIT */
/* meta_state: what meta.c (opening, reading, changing) and meta_verify.c (checking) share. Private to them. */
#ifndef STORE_META_STATE_H
#define STORE_META_STATE_H

#include "meta.h"

#include <pthread.h>
#include <sqlite3.h>

enum meta_statement {
    GET_INT,
    SET_INT,
    GET_OWNER,
    SET_OWNER,
    CLEAR_OWNER,
    EACH_OWNER,
    EACH_INT,
    GET_PIN,
    SET_PIN,
    CLEAR_PIN,
    EACH_PIN,
    STATEMENTS
};

#define BUSY_TIMEOUT_MS 2000 /* somebody looks at meta.db with a tool of his own */

#define META_SUM "rows_sum" /* the setting that holds the sum of all rows' crcs but its own */

struct meta {
    pthread_mutex_t lock;
    sqlite3 *db;                         /* owned; under lock; NULL while half built */
    sqlite3_stmt *statement[STATEMENTS]; /* owned; under lock; NULL until first needed */
    bool read_only;                      /* const after open */
    bool file;                           /* const after open: has a WAL that we write */
    int fd;                              /* owned: to see whether meta.db is still there; or -1 */
    bool summed;                         /* const after open: its format has META_SUM */
    bool pinned;                         /* the same: it has the table of pins */
};

struct owner_row {
    int64_t kind, uid, gid, mode, crc;
    struct slice name; /* until the statement's next step */
};

struct pin_row {
    int64_t kind, uid, time_us, crc;
    struct slice name, schema; /* until the statement's next step */
};

/* CRC32C goes on over an integer; over a length and bytes: invariant (2) of meta.c. */
uint32_t meta_crc_int(uint32_t crc, int64_t value);
uint32_t meta_crc_bytes(uint32_t crc, struct slice s);
int meta_damaged(const char *table, struct slice name, struct evs_error *err);
struct slice meta_column(sqlite3_stmt *s, int column);
/* An empty name has no address, and a NULL address would be an SQL NULL. */
int meta_bind_blob(sqlite3_stmt *s, int i, struct slice b);

/* All with the lock held. */

/* Run a bound statement that changes something; rc: what binding returned. */
int meta_finish(struct meta *m, sqlite3_stmt *s, int rc, const char *what, struct evs_error *err);
/* A change: one transaction, which changes META_SUM as well. r: how it went; add: what it added to the sum of
 * the rows' crcs. */
int meta_begin_change(struct meta *m, struct evs_error *err);
int meta_end_change(struct meta *m, int r, int64_t add, struct evs_error *err);
/* The crc of the row with this key as it is; 0: there is none. */
int meta_crc_now(struct meta *m, enum meta_statement which, int64_t kind, struct slice name,
                 int64_t *ret, struct evs_error *err);
/* Remove it; NO_SUCH. */
int meta_remove(struct meta *m, enum meta_statement which, int64_t kind, struct slice name,
                struct evs_error *err);
/* The row that EACH_PIN stands on; false: its checksum differs, or it can't be one. */
bool meta_pin_row(sqlite3_stmt *s, struct pin_row *ret);
/* Check every row of pins; *sum grows by their crcs. */
int meta_sum_pins(struct meta *m, int64_t *sum, struct evs_error *err);

/* SQLite returned rc (an extended code), while we did what. */
int meta_fail(struct meta *m, int rc, const char *what, struct evs_error *err);
/* The same without a meta; db may be NULL. */
int meta_fail_db(sqlite3 *db, int rc, const char *what, struct evs_error *err);
/* The statement, ready to bind, or NULL with err and *ret_r. */
sqlite3_stmt *meta_begin(struct meta *m, enum meta_statement which, int *ret_r,
                         struct evs_error *err);
/* Leave no row, no read transaction and no borrowed pointer behind. NULL is fine. */
void meta_end(sqlite3_stmt *s);
/* The row that EACH_OWNER stands on; false: its checksum differs, or it can't be one. */
bool meta_owner_row(sqlite3_stmt *s, struct owner_row *ret);
/* The same for EACH_INT and GET_INT. */
bool meta_int_row(sqlite3_stmt *s, struct slice *ret_name, int64_t *ret_value, int64_t *ret_crc);
/* Run statements that give nothing. */
int meta_run(struct meta *m, const char *sql, const char *what, struct evs_error *err);
int64_t meta_setting_crc(struct slice name, int64_t value);
/* Insert or replace a setting, as a part of a change. */
int meta_put_int(struct meta *m, struct slice name, int64_t value, struct evs_error *err);
extern const struct slice meta_sum_name;
/* Check every row; the sum of their crcs. */
int meta_sum_rows(struct meta *m, int64_t *ret, struct evs_error *err);
/* From the WAL into meta.db (3). Somebody who reads it with a tool of his own may stand in the way: then the
 * next change does it. */
void meta_empty_wal(struct meta *m);

#endif
