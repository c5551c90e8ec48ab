/* SPDX-License-Identifier: MIT */
/* The same questions to SQLite, at its best: in this process, a table with an index for each question, statements
 * prepared once, pages and mapping as large as the file. Each answer's lines are copied, as those of the store are. */
#include "query.h"

#include <sqlite3.h>

#define READ_BYTES ((size_t)1 << 20)

enum statement {
    ENTITY,
    ENTITY_NEWEST,
    TYPE,
    TYPE_NEWEST,
    BOTH,
    COUNT_ENTITY,
    COUNT_TYPE,
    AS_OF,
    AFTER,
    ALL_AFTER,
    STATE,
    STATEMENTS
};

static const char *const texts[STATEMENTS] = {
    [ENTITY] = "SELECT line FROM e WHERE entity = ?1 ORDER BY seq",
    [ENTITY_NEWEST] = "SELECT line FROM e WHERE entity = ?1 ORDER BY seq DESC LIMIT ?2",
    [TYPE] = "SELECT line FROM e WHERE type = ?1 ORDER BY seq",
    [TYPE_NEWEST] = "SELECT line FROM e WHERE type = ?1 ORDER BY seq DESC LIMIT ?2",
    [BOTH] = "SELECT line->'data' FROM e WHERE entity = ?1 AND +type = ?2 ORDER BY seq",
    [COUNT_ENTITY] = "SELECT count(*) FROM e WHERE entity = ?1",
    [COUNT_TYPE] = "SELECT count(*) FROM e WHERE type = ?1",
    [AS_OF] = "SELECT line FROM e WHERE entity = ?1 AND seq <= ?2 ORDER BY seq",
    [AFTER] = "SELECT line FROM e WHERE entity = ?1 AND seq > ?2 ORDER BY seq",
    [ALL_AFTER] = "SELECT line FROM e WHERE seq > ?1 AND seq <= ?2 ORDER BY seq",
    [STATE] = "WITH RECURSIVE l(n, d) AS MATERIALIZED (SELECT row_number() OVER (ORDER BY seq), "
              "line->'data' "
              "FROM e WHERE entity = ?1), m(n, s) AS (SELECT 0, '{}' UNION ALL "
              "SELECT l.n, json_patch(s, d) FROM m JOIN l ON l.n = m.n + 1) "
              "SELECT s FROM m ORDER BY n DESC LIMIT 1",
};

struct sqlite_side {
    sqlite3 *db;
    sqlite3_stmt *st[STATEMENTS];
};

static _Noreturn void complain(sqlite3 *db)
{
    fprintf(stderr, "sqlite: %s\n", sqlite3_errmsg(db));
    exit(1);
}

static void run(sqlite3 *db, const char *sql)
{
    if (sqlite3_exec(db, sql, NULL, NULL, NULL) != SQLITE_OK)
        complain(db);
}

/* The string of a member that has no escapes and stands before data: evfs-gen's entity and type. */
static const char *member(const char *line, size_t n, const char *key, size_t *ret_n)
{
    const char *p = memmem(line, n, key, strlen(key));

    if (!p)
        die("a line without entity or type", NULL);
    p += strlen(key);
    *ret_n = (size_t)((const char *)memchr(p, '"', n - (size_t)(p - line)) - p);
    return p;
}

static void insert(sqlite3_stmt *s, const char *line, size_t n)
{
    size_t entity_n, type_n;
    const char *entity = member(line, n, "\"entity\":\"", &entity_n);
    const char *type = member(line, n, "\"type\":\"", &type_n);

    (void)sqlite3_bind_text(s, 1, entity, (int)entity_n, SQLITE_STATIC);
    (void)sqlite3_bind_text(s, 2, type, (int)type_n, SQLITE_STATIC);
    (void)sqlite3_bind_text(s, 3, line, (int)n, SQLITE_STATIC);
    if (sqlite3_step(s) != SQLITE_DONE || sqlite3_reset(s) != SQLITE_OK)
        complain(sqlite3_db_handle(s));
}

static void copy_lines(sqlite3_stmt *s, struct evs_store *st)
{
    struct evs_cursor *c;
    struct evs_error err;
    char *buf = malloc(READ_BYTES);
    uint64_t pos = 0;
    ssize_t got;

    if (!buf || evs_cursor_new(st, &(struct evs_view){.kind = EVS_ALL}, &c, &err) < 0)
        die("cursor", NULL);
    while ((got = evs_cursor_read(c, pos, buf, READ_BYTES, &err)) > 0) {
        const char *line = buf, *end = buf + got, *lf;
        for (; (lf = memchr(line, '\n', (size_t)(end - line))); line = lf + 1)
            insert(s, line, (size_t)(lf - line));
        pos += (uint64_t)(line - buf);
    }
    if (got < 0)
        die("read", &err);
    evs_cursor_free(c);
    free(buf);
}

/* Without a journal: who fills it alone and then only reads needs none. */
static void fill(sqlite3 *db, struct evs_store *st)
{
    sqlite3_stmt *in;

    run(db, "CREATE TABLE e(seq INTEGER PRIMARY KEY, entity TEXT, type TEXT, line TEXT); BEGIN");
    if (sqlite3_prepare_v2(db, "INSERT INTO e(entity, type, line) VALUES(?1, ?2, ?3)", -1, &in,
                           NULL) != SQLITE_OK)
        complain(db);
    copy_lines(in, st);
    (void)sqlite3_finalize(in);
    run(db,
        "COMMIT; CREATE INDEX by_entity ON e(entity); CREATE INDEX by_type ON e(type); ANALYZE");
}

struct sqlite_side *sqlite_open_lines(const char *file, struct evs_store *st)
{
    struct sqlite_side *s = calloc(1, sizeof *s);
    bool is_new = access(file, F_OK) < 0;

    if (!s || sqlite3_open(file, &s->db) != SQLITE_OK)
        die(file, NULL);
    run(s->db, "PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF; PRAGMA cache_size = -1048576;"
               "PRAGMA mmap_size = 17179869184");
    if (is_new)
        fill(s->db, st);
    run(s->db, "BEGIN");
    for (int i = 0; i < STATEMENTS; i++)
        if (sqlite3_prepare_v3(s->db, texts[i], -1, SQLITE_PREPARE_PERSISTENT, &s->st[i], NULL) !=
            SQLITE_OK)
            complain(s->db);
    return s;
}

void sqlite_done(struct sqlite_side *s)
{
    if (!s)
        return;
    for (int i = 0; i < STATEMENTS; i++)
        (void)sqlite3_finalize(s->st[i]);
    (void)sqlite3_close(s->db);
    free(s);
}

/* ---- questions ---- */

static void bind_entity(struct world *w, enum statement i)
{
    (void)sqlite3_bind_text(w->sq->st[i], 1, w->entity[w->random % w->entities], -1, SQLITE_STATIC);
}

static void bind_type(struct world *w, enum statement i, int place)
{
    char name[NAME_BYTES];
    int n = evs_type_name(w->st, 1 + (evs_type)(w->random % w->types), name, sizeof name);

    (void)sqlite3_bind_text(w->sq->st[i], place, name, n, SQLITE_TRANSIENT);
}

static void bind_number(struct world *w, enum statement i, int place, uint64_t v)
{
    (void)sqlite3_bind_int64(w->sq->st[i], place, (sqlite3_int64)v);
}

static void answer(struct world *w, enum statement i)
{
    sqlite3_stmt *s = w->sq->st[i];
    size_t at = 0;
    int r;

    world_room(w, 1);
    while ((r = sqlite3_step(s)) == SQLITE_ROW) {
        size_t n = (size_t)sqlite3_column_bytes(s, 0);
        if (at + n + 1 > w->cap) {
            w->cap = 2 * (at + n + 1);
            if (!(w->buf = realloc(w->buf, w->cap)))
                die("memory", NULL);
        }
        memcpy(w->buf + at, sqlite3_column_text(s, 0), n);
        w->buf[at + n] = '\n';
        at += n + 1;
    }
    if (r != SQLITE_DONE || sqlite3_reset(s) != SQLITE_OK)
        complain(w->sq->db);
    w->bytes += at;
}

static void ask_entity(struct world *w)
{
    bind_entity(w, ENTITY);
    answer(w, ENTITY);
}

static void ask_entity_newest(struct world *w)
{
    bind_entity(w, ENTITY_NEWEST);
    bind_number(w, ENTITY_NEWEST, 2, w->limit);
    answer(w, ENTITY_NEWEST);
}

static void ask_type(struct world *w)
{
    bind_type(w, TYPE, 1);
    answer(w, TYPE);
}

static void ask_type_newest(struct world *w)
{
    bind_type(w, TYPE_NEWEST, 1);
    bind_number(w, TYPE_NEWEST, 2, w->limit);
    answer(w, TYPE_NEWEST);
}

static void ask_both(struct world *w)
{
    bind_entity(w, BOTH);
    bind_type(w, BOTH, 2);
    answer(w, BOTH);
}

static void ask_count_entity(struct world *w)
{
    bind_entity(w, COUNT_ENTITY);
    answer(w, COUNT_ENTITY);
}

static void ask_count_type(struct world *w)
{
    bind_type(w, COUNT_TYPE, 1);
    answer(w, COUNT_TYPE);
}

static void ask_as_of(struct world *w)
{
    bind_entity(w, AS_OF);
    bind_number(w, AS_OF, 2, 1 + (w->random >> 32) % w->end);
    answer(w, AS_OF);
}

static void ask_after(struct world *w)
{
    bind_entity(w, AFTER);
    bind_number(w, AFTER, 2, 1 + (w->random >> 32) % w->end);
    answer(w, AFTER);
}

static void ask_all_after(struct world *w)
{
    evs_seq seq = 1 + (w->random >> 32) % w->end;

    bind_number(w, ALL_AFTER, 1, seq);
    bind_number(w, ALL_AFTER, 2, seq + w->limit);
    answer(w, ALL_AFTER);
}

static void ask_state(struct world *w)
{
    const char *name = w->entity[w->turn++ % w->entities];

    (void)sqlite3_bind_text(w->sq->st[STATE], 1, name, -1, SQLITE_STATIC);
    answer(w, STATE);
}

const struct question sqlite_questions[] = {{"entity", ask_entity},
                                            {"entity-newest", ask_entity_newest},
                                            {"type", ask_type},
                                            {"type-newest", ask_type_newest},
                                            {"entity-type", ask_both},
                                            {"count-entity", ask_count_entity},
                                            {"count-type", ask_count_type},
                                            {"as-of", ask_as_of},
                                            {"after", ask_after},
                                            {"all-after", ask_all_after},
                                            {"state", ask_state},
                                            {0}};
