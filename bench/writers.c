/* SPDX-License-Identifier: MIT */
/* evfs-writers: threads that append at once, each with a writer (a descriptor, a connection) of its own and its own
 * part of the lines of FILE. Prints the events a second of all together, from the first one's first write to the last
 * one's end. PATH must not exist yet, but for a file of a mount.
 *   evfs-writers [--threads N] [--events M] [--batch B] [--sync] [--slower US] KIND PATH FILE
 *     store   a store in this process, in the directory PATH or ":memory:"
 *     file    write(2) with O_APPEND to PATH: a plain file, or one of a mount. %d in PATH is the thread's number: a file
 *             each, without which the kernel lets only one of them write or sync at a time
 *     sqlite  a database in WAL mode; a batch is a transaction
 * M events a thread, B a batch. With --sync a batch is durable before the thread goes on: evs_sync(), fdatasync(2),
 * synchronous = FULL. --slower: each fdatasync(2) of this process takes so many microseconds more, as on a disk that does. */
#include "bench.h"

#include <getopt.h>
#include <pthread.h>
#include <sqlite3.h>
#include <sys/syscall.h>

#define THREADS_MAX 64
#define BUSY_MS     60000

struct plan {
    const char *path;
    size_t threads, events, batch;
    bool sync;
    struct evs_store *st; /* kind store */
    pthread_barrier_t start;
};

struct thread {
    struct plan *p;
    size_t number;
    pthread_t id;
    const char *text;
    size_t n;
    uint64_t begin_ns, end_ns;
    struct evs_writer *w;
    int fd;
    sqlite3 *db;
    sqlite3_stmt *insert;
};

struct kind {
    const char *name;
    void (*prepare)(struct plan *p); /* once; may be NULL */
    void (*open)(struct thread *t);
    void (*append)(struct thread *t, const char *p, size_t n); /* whole lines, one batch */
    void (*close)(struct thread *t);
    void (*finish)(struct plan *p); /* checks that all is there; may be NULL */
};

static const char usage[] = "usage: evfs-writers [--threads N] [--events M] [--batch B] [--sync] "
                            "[--slower US] store|file|sqlite PATH FILE\n";

/* In the place of the C library's, for the store and SQLite as well. */
static long slower_us;

int fdatasync(int fd)
{
    const struct timespec t = {.tv_sec = slower_us / 1000000,
                               .tv_nsec = slower_us % 1000000 * 1000};
    int r = (int)syscall(SYS_fdatasync, fd);

    int e = errno;
    if (slower_us > 0)
        (void)nanosleep(&t, NULL);
    errno = e;
    return r;
}

/* ---- store ---- */

static void store_prepare(struct plan *p)
{
    struct evs_writer *w;

    p->st = open_store(p->path, NO_SYNC, &w);
    evs_writer_free(w);
}

static void store_open(struct thread *t)
{
    struct evs_error err;

    if (evs_writer_new(t->p->st, &(struct evs_target){.kind = EVS_ALL}, "bench", &t->w, &err) < 0)
        die("writer", &err);
}

static void store_append(struct thread *t, const char *p, size_t n)
{
    struct evs_error err;

    append_all(t->w, p, n);
    if (t->p->sync && evs_sync(t->p->st, evs_writer_seq(t->w), &err) < 0)
        die("sync", &err);
}

static void store_close(struct thread *t)
{
    evs_writer_free(t->w);
}

static void store_finish(struct plan *p)
{
    evs_seq end = evs_end(p->st);

    close_store(p->st, NULL);
    if (end == p->threads * p->events)
        return;
    fprintf(stderr, "stored %" PRIu64 " of %zu events\n", end, p->threads * p->events);
    exit(1);
}

/* ---- file ---- */

static void file_open(struct thread *t)
{
    const char *number = strstr(t->p->path, "%d");
    int head = number ? (int)(number - t->p->path) : 0;
    char path[4096];

    if (number)
        (void)snprintf(path, sizeof path, "%.*s%zu%s", head, t->p->path, t->number, number + 2);
    else
        (void)snprintf(path, sizeof path, "%s", t->p->path);
    t->fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    if (t->fd < 0)
        die(path, NULL);
}

static void file_append(struct thread *t, const char *p, size_t n)
{
    if (write(t->fd, p, n) != (ssize_t)n || (t->p->sync && fdatasync(t->fd) < 0))
        die(t->p->path, NULL);
}

static void file_close(struct thread *t)
{
    (void)close(t->fd);
}

/* ---- SQLite ---- */

static void run(sqlite3 *db, const char *sql)
{
    if (sqlite3_exec(db, sql, NULL, NULL, NULL) == SQLITE_OK)
        return;
    fprintf(stderr, "sqlite: %s: %s\n", sql, sqlite3_errmsg(db));
    exit(1);
}

static sqlite3 *sqlite_connect(const char *path, bool sync)
{
    sqlite3 *db;

    if (sqlite3_open(path, &db) != SQLITE_OK)
        die(path, NULL);
    (void)sqlite3_busy_timeout(db, BUSY_MS);
    run(db, "PRAGMA journal_mode = WAL");
    run(db, sync ? "PRAGMA synchronous = FULL" : "PRAGMA synchronous = NORMAL");
    return db;
}

static void sqlite_prepare(struct plan *p)
{
    sqlite3 *db = sqlite_connect(p->path, p->sync);

    run(db, "CREATE TABLE e(seq INTEGER PRIMARY KEY, entity TEXT, type TEXT, data TEXT)");
    run(db, "CREATE INDEX i ON e(entity)");
    (void)sqlite3_close(db);
}

static void sqlite_open(struct thread *t)
{
    static const char sql[] = "INSERT INTO e(entity, type, data) "
                              "VALUES(?1->>'entity', ?1->>'type', ?1->'data')";

    t->db = sqlite_connect(t->p->path, t->p->sync);
    if (sqlite3_prepare_v2(t->db, sql, -1, &t->insert, NULL) != SQLITE_OK)
        die("sqlite: prepare", NULL);
}

static void sqlite_append(struct thread *t, const char *p, size_t n)
{
    const char *end = p + n, *lf;

    run(t->db, "BEGIN IMMEDIATE");
    for (; p < end && (lf = memchr(p, '\n', (size_t)(end - p))); p = lf + 1) {
        (void)sqlite3_bind_text(t->insert, 1, p, (int)(lf - p), SQLITE_STATIC);
        if (sqlite3_step(t->insert) != SQLITE_DONE || sqlite3_reset(t->insert) != SQLITE_OK)
            die(sqlite3_errmsg(t->db), NULL);
    }
    run(t->db, "COMMIT");
}

static void sqlite_close(struct thread *t)
{
    (void)sqlite3_finalize(t->insert);
    (void)sqlite3_close(t->db);
}

static const struct kind kinds[] = {
    {"store", store_prepare, store_open, store_append, store_close, store_finish},
    {"file", NULL, file_open, file_append, file_close, NULL},
    {"sqlite", sqlite_prepare, sqlite_open, sqlite_append, sqlite_close, NULL},
};

/* ---- threads ---- */

static const struct kind *kind;

static void *work(void *arg)
{
    struct thread *t = arg;
    size_t at = 0, lines;

    kind->open(t);
    (void)pthread_barrier_wait(&t->p->start);
    t->begin_ns = now_ns();
    while (at < t->n) {
        size_t bytes = next_batch(t->text + at, t->n - at, t->p->batch, &lines);
        kind->append(t, t->text + at, bytes);
        at += bytes;
    }
    t->end_ns = now_ns();
    kind->close(t);
    return NULL;
}

/* Nanoseconds from the first begin to the last end. */
static uint64_t run_threads(struct plan *p, const char *text, size_t n)
{
    struct thread t[THREADS_MAX] = {0};
    uint64_t begin = UINT64_MAX, end = 0;
    size_t at = 0, lines;

    if (pthread_barrier_init(&p->start, NULL, (unsigned)p->threads) != 0)
        die("barrier", NULL);
    for (size_t i = 0; i < p->threads; i++) {
        t[i].p = p;
        t[i].number = i;
        t[i].text = text + at;
        at += t[i].n = next_batch(text + at, n - at, p->events, &lines);
        if (lines != p->events) {
            fprintf(stderr, "the file has too few lines\n");
            exit(1);
        }
    }
    for (size_t i = 0; i < p->threads; i++)
        if (pthread_create(&t[i].id, NULL, work, &t[i]) != 0)
            die("thread", NULL);
    for (size_t i = 0; i < p->threads; i++) {
        (void)pthread_join(t[i].id, NULL);
        begin = t[i].begin_ns < begin ? t[i].begin_ns : begin;
        end = t[i].end_ns > end ? t[i].end_ns : end;
    }
    (void)pthread_barrier_destroy(&p->start);
    return end - begin;
}

int main(int argc, char **argv)
{
    static const struct option options[] = {
        {"threads", required_argument, NULL, 't'}, {"events", required_argument, NULL, 'e'},
        {"batch", required_argument, NULL, 'b'},   {"sync", no_argument, NULL, 's'},
        {"slower", required_argument, NULL, 'l'},  {0}};
    struct plan p = {.threads = 1, .events = 1000, .batch = 1};
    size_t n;

    for (int c; (c = getopt_long(argc, argv, "", options, NULL)) != -1;) {
        if (c == 't')
            p.threads = strtoull(optarg, NULL, 10);
        else if (c == 'e')
            p.events = strtoull(optarg, NULL, 10);
        else if (c == 'b')
            p.batch = strtoull(optarg, NULL, 10);
        else if (c == 's')
            p.sync = true;
        else if (c == 'l')
            slower_us = strtol(optarg, NULL, 10);
        else
            return fputs(usage, stderr), 2;
    }
    for (size_t i = 0; argc - optind == 3 && i < sizeof kinds / sizeof *kinds; i++)
        if (strcmp(argv[optind], kinds[i].name) == 0)
            kind = &kinds[i];
    if (!kind || p.threads == 0 || p.threads > THREADS_MAX || p.events == 0 || p.batch == 0)
        return fputs(usage, stderr), 2;
    p.path = argv[optind + 1];
    char *text = load_file(argv[optind + 2], &n);
    if (kind->prepare)
        kind->prepare(&p);
    uint64_t ns = run_threads(&p, text, n);
    if (kind->finish)
        kind->finish(&p);
    printf("%.0f\n", (double)(p.threads * p.events) * 1e9 / (double)ns);
    free(text);
    return 0;
}
