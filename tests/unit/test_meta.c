/* SPDX-License-Identifier: MIT */
/* meta: settings and owners survive, damage is found, a reader changes nothing. */
#include "store/meta.h"
#include "meta_file.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>

static int find_row(void *arg, int n, char **values, char **names)
{
    (void)n, (void)names;
    *(int64_t *)arg = strtoll(values[0], NULL, 10);
    return 0;
}

static int64_t sql_int(const char *text)
{
    sqlite3 *db;
    int64_t v = -1;

    CHECK_EQ(sqlite3_open(file, &db), SQLITE_OK);
    CHECK_EQ(sqlite3_exec(db, text, find_row, &v, NULL), SQLITE_OK);
    CHECK_EQ(sqlite3_close(db), SQLITE_OK);
    return v;
}

static struct meta *opened(const char *where, bool read_only)
{
    struct meta *m = NULL;
    struct evs_error err;
    char text[300];
    int r = meta_open(where, read_only, &m, &err);

    CHECK_EQ(r, 0);
    if (r < 0)
        fprintf(stderr, "%s\n", evs_error_format(&err, text, sizeof text));
    return m;
}

static int set(struct meta *m, enum evs_dir_kind kind, const char *name, uid_t uid, mode_t mode,
               struct evs_error *err)
{
    const struct evs_dir d = {kind, name, strlen(name)};
    const struct evs_owner o = {uid, uid + 1, mode};

    return meta_set_owner(m, &d, &o, err);
}

struct seen {
    int n, stop_at;
    char names[8][32];
    struct evs_owner owner[8];
    enum evs_dir_kind kind[8];
};

static int see(void *arg, enum evs_dir_kind kind, struct slice name, const struct evs_owner *o)
{
    struct seen *s = arg;

    if (s->n == s->stop_at)
        return -ECANCELED;
    (void)snprintf(s->names[s->n], sizeof s->names[0], "%.*s", (int)name.n, name.p);
    s->owner[s->n] = *o;
    s->kind[s->n++] = kind;
    return 0;
}

static int index_of(const struct seen *s, enum evs_dir_kind kind, const char *name)
{
    for (int i = 0; i < s->n; i++)
        if (s->kind[i] == kind && strcmp(s->names[i], name) == 0)
            return i;
    return -1;
}

static void use_settings(struct meta *m)
{
    struct evs_error err = {0};
    int64_t v = 77;

    CHECK_FAIL(meta_get_int(m, "key", &v, &err), err, NO_SUCH);
    CHECK_EQ(meta_get_int(m, "key", &v, NULL), -ENOENT);
    CHECK_EQ(v, 77);
    CHECK_EQ(meta_set_int(m, "key", INT64_MIN, &err), 0);
    CHECK_EQ(meta_set_int(m, "other", 5, &err), 0);
    CHECK_EQ(meta_get_int(m, "key", &v, &err), 0);
    CHECK(v == INT64_MIN);
    CHECK_EQ(meta_set_int(m, "key", -3, &err), 0);
    CHECK_EQ(meta_get_int(m, "key", &v, &err), 0);
    CHECK_EQ(v, -3);
}

static void use_owners(struct meta *m)
{
    struct evs_error err = {0};
    struct seen s = {.stop_at = -1};
    const struct evs_dir gone_dir = {EVS_DIR_TYPE, "a/b", 3};

    CHECK_EQ(set(m, EVS_DIR_ROOT, "", 0, 0755, &err), 0);
    CHECK_EQ(set(m, EVS_DIR_ENTITY, "", 4294967294u, 0700, &err), 0);
    CHECK_EQ(set(m, EVS_DIR_ENTITY, "a/b", 1000, 02750, &err), 0);
    CHECK_EQ(set(m, EVS_DIR_TYPE, "a/b", 1001, 0710, &err), 0);
    CHECK_EQ(set(m, EVS_DIR_ENTITY, "a/b", 1002, 0711, &err), 0);
    CHECK_EQ(meta_each_owner(m, see, &s, &err), 0);
    CHECK_EQ(s.n, 4);
    int i = index_of(&s, EVS_DIR_ENTITY, "a/b");
    CHECK(i >= 0);
    CHECK_EQ(s.owner[i].uid, 1002);
    CHECK_EQ(s.owner[i].gid, 1003);
    CHECK_EQ(s.owner[i].mode, 0711);
    i = index_of(&s, EVS_DIR_ENTITY, "");
    CHECK(i >= 0);
    CHECK_EQ(s.owner[i].uid, 4294967294u);

    CHECK_EQ(meta_clear_owner(m, &gone_dir, &err), 0);
    CHECK_FAIL(meta_clear_owner(m, &gone_dir, &err), err, NO_SUCH);
    s = (struct seen){.stop_at = 2};
    CHECK_EQ(meta_each_owner(m, see, &s, &err), -ECANCELED);
    CHECK_EQ(s.n, 2);
    s = (struct seen){.stop_at = -1}; /* the stopped walk left nothing behind */
    CHECK_EQ(meta_each_owner(m, see, &s, &err), 0);
    CHECK_EQ(s.n, 3);
}

static void count_finding(void *arg, const char *finding)
{
    CHECK(strstr(finding, "meta.db: ") == finding);
    (*(int *)arg)++;
}

static int verify(struct meta *m)
{
    struct evs_error err = {0};
    int told = 0, n = meta_verify(m, count_finding, &told, &err);

    CHECK_EQ(n, told);
    return n;
}

static void in_memory(void)
{
    struct meta *m = opened(NULL, false);

    use_settings(m);
    use_owners(m);
    CHECK_EQ(verify(m), 0);
    meta_close(m);
    meta_close(NULL);
}

static void survives(void)
{
    struct seen s = {.stop_at = -1};
    int64_t v = 0;

    fresh();
    struct meta *m = opened(dir, false);
    use_settings(m);
    use_owners(m);
    meta_close(m);
    m = opened(dir, false);
    CHECK_EQ(meta_get_int(m, "key", &v, NULL), 0);
    CHECK_EQ(v, -3);
    CHECK_EQ(meta_each_owner(m, see, &s, NULL), 0);
    CHECK_EQ(s.n, 3);
    CHECK_EQ(verify(m), 0);
    meta_close(m);
    gone();
}

/* A directory whose name means something in an URI, and a program that died while it had the
 * file open. */
static void survives_kill(void)
{
    int64_t v = 0;

    fresh();
    char odd[128];
    (void)snprintf(odd, sizeof odd, "%s/a?mode=memory#%%41 b", dir);
    CHECK_EQ(mkdir(odd, 0700), 0);
    pid_t pid = fork();
    if (pid == 0) {
        struct meta *m = opened(odd, false);
        (void)meta_set_int(m, "key", 12, NULL);
        (void)set(m, EVS_DIR_ENTITY, "a", 7, 0700, NULL);
        _exit(check_failed ? 1 : 0); /* without meta_close(): the WAL stays */
    }
    int status = -1;
    CHECK_EQ(waitpid(pid, &status, 0), pid);
    CHECK_EQ(status, 0);
    struct meta *m = opened(odd, false);
    CHECK_EQ(meta_get_int(m, "key", &v, NULL), 0);
    CHECK_EQ(v, 12);
    meta_close(m);
    gone();
}

/* Names, times of change and bytes of all files of dir, as one number. */
static uint64_t fingerprint(void)
{
    uint64_t sum = 0;
    DIR *d = opendir(dir);
    struct dirent *e;

    CHECK(d);
    while (d && (e = readdir(d))) {
        struct stat st;
        uint64_t h = 1469598103934665603u;
        if (e->d_name[0] == '.' || fstatat(dirfd(d), e->d_name, &st, 0) < 0)
            continue;
        for (const char *p = e->d_name; *p; p++)
            h = (h ^ (unsigned char)*p) * 1099511628211u;
        h = (h ^ (uint64_t)st.st_mtim.tv_nsec) * 1099511628211u;
        int fd = openat(dirfd(d), e->d_name, O_RDONLY | O_CLOEXEC);
        for (unsigned char c; read(fd, &c, 1) == 1;)
            h = (h ^ c) * 1099511628211u;
        (void)close(fd);
        sum += h;
    }
    if (d)
        (void)closedir(d);
    return sum;
}

static void check_reader(bool kept)
{
    struct evs_error err = {0};
    struct seen s = {.stop_at = -1};
    const struct evs_dir d = {EVS_DIR_ENTITY, "a", 1};
    int64_t v = 0;
    uint64_t before = fingerprint();
    struct meta *m = opened(dir, true);

    CHECK_EQ(meta_get_int(m, "key", &v, NULL), kept ? 0 : -ENOENT);
    CHECK_EQ(v, kept ? 12 : 0);
    CHECK_EQ(meta_each_owner(m, see, &s, NULL), 0);
    CHECK_EQ(s.n, kept);
    CHECK_EQ(verify(m), 0);
    CHECK_FAIL(meta_set_int(m, "key", 1, &err), err, READ_ONLY);
    CHECK_FAIL(set(m, EVS_DIR_ROOT, "", 1, 0700, &err), err, READ_ONLY);
    CHECK_FAIL(meta_clear_owner(m, &d, &err), err, READ_ONLY);
    CHECK(fingerprint() == before);
    meta_close(m);
    CHECK(fingerprint() == before);
}

static void reader_changes_nothing(void)
{
    fresh();
    check_reader(false); /* there is no meta.db */
    pid_t pid = fork();
    if (pid == 0) {
        struct meta *m = opened(dir, false);
        sqlite3 *db; /* somebody who reads: while he does, the WAL stays */
        CHECK_EQ(sqlite3_open(file, &db), SQLITE_OK);
        CHECK_EQ(sqlite3_exec(db, "BEGIN; SELECT * FROM settings", NULL, NULL, NULL), SQLITE_OK);
        (void)meta_set_int(m, "key", 12, NULL);
        (void)set(m, EVS_DIR_ENTITY, "a", 7, 0700, NULL);
        _exit(check_failed ? 1 : 0);
    }
    int status = -1;
    CHECK_EQ(waitpid(pid, &status, 0), pid);
    CHECK_EQ(status, 0);
    struct stat st;
    char wal[128];
    (void)snprintf(wal, sizeof wal, "%s-wal", file);
    CHECK(stat(wal, &st) == 0 && st.st_size > 0);
    check_reader(true); /* with a WAL, and without its -shm */
    (void)snprintf(wal, sizeof wal, "%s-shm", file);
    (void)unlink(wal);
    check_reader(true);
    meta_close(opened(dir, false));
    check_reader(true); /* closed cleanly */
    gone();
}

static void refuses_other_files(void)
{
    struct meta *m = NULL;
    struct evs_error err = {0};

    fresh();
    sql("CREATE TABLE t(a)");
    CHECK_FAIL(meta_open(dir, false, &m, &err), err, BAD_FORMAT);
    sql("PRAGMA application_id=1163282003"); /* ours, of a version to come */
    sql("PRAGMA user_version=3");
    CHECK_FAIL(meta_open(dir, false, &m, &err), err, BAD_FORMAT);
    CHECK_FAIL(meta_open(dir, true, &m, &err), err, BAD_FORMAT);
    FILE *f = fopen(file, "w");
    CHECK(f && fprintf(f, "%04096d", 1) == 4096 && fclose(f) == 0);
    CHECK_FAIL(meta_open(dir, false, &m, &err), err, DAMAGED);
    CHECK_EQ(unlink(file), 0);
    CHECK_EQ(mkdir(file, 0700), 0);
    CHECK_FAIL(meta_open(dir, false, &m, &err), err, BAD_FORMAT);
    CHECK_FAIL(meta_open("/nowhere/at/all", false, &m, &err), err, SYSTEM);
    CHECK_EQ(err.code, ENOENT);
    CHECK(m == NULL);
    gone();
}

static void made_as_described(void)
{
    fresh();
    meta_close(opened(dir, false));
    CHECK_EQ(sql_int("PRAGMA application_id"), 0x45564653);
    CHECK_EQ(sql_int("PRAGMA user_version"), 4);
    sqlite3 *db;
    CHECK_EQ(sqlite3_open(file, &db), SQLITE_OK);
    CHECK(sqlite3_exec(db, "INSERT INTO settings VALUES('a', 'text', 1)", NULL, NULL, NULL) ==
          SQLITE_CONSTRAINT); /* STRICT */
    CHECK_EQ(sqlite3_close(db), SQLITE_OK);
    gone();
}

/* Each change to one column of a row is found, by use and by verify. */
static void finds_damage(void)
{
    static const char *const changes[] = {
        "UPDATE owners SET uid = uid + 1 WHERE name = x'61'",
        "UPDATE owners SET gid = gid + 1 WHERE name = x'61'",
        "UPDATE owners SET mode = mode | 2 WHERE name = x'61'",
        "UPDATE owners SET name = x'62' WHERE name = x'61'",
        "UPDATE owners SET kind = 2 WHERE name = x'61'",
        "UPDATE owners SET crc = crc + 1 WHERE name = x'61'",
    };
    struct evs_error err = {0};
    int64_t v = 0;

    for (size_t i = 0; i < ARRAY_LEN(changes); i++) {
        struct seen s = {.stop_at = -1};
        fresh();
        struct meta *m = opened(dir, false);
        CHECK_EQ(set(m, EVS_DIR_ENTITY, "a", 7, 0700, &err), 0);
        CHECK_EQ(set(m, EVS_DIR_ROOT, "", 7, 0700, &err), 0);
        CHECK_EQ(meta_set_int(m, "key", 4, &err), 0);
        meta_close(m);
        sql(changes[i]);
        sql("UPDATE settings SET value = 5 WHERE name = 'key'");
        m = opened(dir, false);
        CHECK_FAIL(meta_each_owner(m, see, &s, &err), err, DAMAGED);
        CHECK(strstr(err.detail, "owners"));
        CHECK_FAIL(meta_get_int(m, "key", &v, &err), err, DAMAGED);
        CHECK_EQ(v, 0);
        CHECK_EQ(verify(m), 2);
        CHECK_FAIL(meta_check(m, &err), err, DAMAGED);
        CHECK_FAIL(meta_set_int(m, "key", 4, &err), err, DAMAGED);
        meta_close(m);
        gone();
    }
}

/* A page that shows fewer rows than it had would open what they close. */
static void misses_rows(void)
{
    static const char *const changes[] = {
        "DELETE FROM owners WHERE name = x'61'",
        "DELETE FROM owners",
        "DELETE FROM settings WHERE name = 'key'",
        "DELETE FROM settings WHERE name = 'rows_sum'",
        "DELETE FROM settings",
    };
    struct evs_error err = {0};

    for (size_t i = 0; i < ARRAY_LEN(changes); i++) {
        const struct evs_dir d = {EVS_DIR_ENTITY, "b", 1};
        fresh();
        struct meta *m = opened(dir, false);
        CHECK_EQ(set(m, EVS_DIR_ENTITY, "a", 7, 0700, &err), 0);
        CHECK_EQ(set(m, EVS_DIR_ENTITY, "b", 7, 0700, &err), 0);
        CHECK_EQ(set(m, EVS_DIR_ENTITY, "a", 8, 0700, &err), 0);
        CHECK_EQ(meta_clear_owner(m, &d, &err), 0);
        CHECK_FAIL(meta_clear_owner(m, &d, &err), err, NO_SUCH);
        CHECK_EQ(meta_set_int(m, "key", 4, &err), 0);
        CHECK_EQ(meta_set_int(m, "key", 5, &err), 0);
        CHECK_EQ(meta_check(m, &err), 0);
        CHECK_EQ(verify(m), 0);
        meta_close(m);
        sql(changes[i]);
        for (int read_only = 0; read_only < 2; read_only++) {
            m = opened(dir, read_only);
            CHECK_FAIL(meta_check(m, &err), err, DAMAGED);
            CHECK_EQ(verify(m), 1);
            meta_close(m);
        }
        gone();
    }
}

/* The WAL is emptied by each change: damage in it could undo one. */
static void stands_in_the_file(void)
{
    struct evs_error err = {0};
    struct stat st;
    char wal[128];

    fresh();
    struct meta *m = opened(dir, false);
    CHECK_EQ(set(m, EVS_DIR_ENTITY, "a", 7, 0700, &err), 0);
    (void)snprintf(wal, sizeof wal, "%s-wal", file);
    CHECK(stat(wal, &st) < 0 || st.st_size == 0);
    CHECK_EQ(unlink(file), 0);
    CHECK_FAIL(set(m, EVS_DIR_ENTITY, "a", 7, 0755, &err), err, DAMAGED);
    CHECK(strstr(err.detail, "meta.db was removed"));
    meta_close(m);
    gone();
}

static void takes_over_older_versions(void)
{
    static const char *const to_older[] = {
        "DELETE FROM settings WHERE name = 'rows_sum'; DROP TABLE pins; PRAGMA user_version=1",
        "DROP TABLE pins; PRAGMA user_version=2",
    };
    struct evs_error err = {0};

    for (size_t v = 0; v < ARRAY_LEN(to_older); v++) {
        fresh();
        struct meta *m = opened(dir, false);
        CHECK_EQ(set(m, EVS_DIR_ENTITY, "a", 7, 0700, &err), 0);
        meta_close(m);
        sql(to_older[v]);
        m = opened(dir, true);
        CHECK_EQ(meta_check(m, &err), 0);
        CHECK_EQ(verify(m), 0);
        meta_close(m);
        for (int i = 0; i < 2; i++) {
            m = opened(dir, false);
            CHECK_EQ(meta_check(m, &err), 0);
            CHECK_EQ(verify(m), 0);
            meta_close(m);
            CHECK_EQ(sql_int("PRAGMA user_version"), 4);
        }
        gone();
    }
}

static void finds_damaged_pages(void)
{
    struct evs_error err = {0};
    struct meta *m;
    char garbage[4096];

    fresh();
    m = opened(dir, false);
    for (int i = 0; i < 300; i++) {
        char name[32];
        (void)snprintf(name, sizeof name, "some/entity/%d", i);
        CHECK_EQ(set(m, EVS_DIR_ENTITY, name, 7, 0700, &err), 0);
    }
    meta_close(m);
    memset(garbage, 0x5a, sizeof garbage);
    int fd = open(file, O_WRONLY | O_CLOEXEC);
    off_t size = lseek(fd, 0, SEEK_END);
    CHECK(size >= 4 * 4096);
    CHECK_EQ(pwrite(fd, garbage, sizeof garbage, size - 4096), 4096);
    CHECK_EQ(close(fd), 0);
    int r = meta_open(dir, false, &m, &err);
    CHECK_EQ(r, 0);
    CHECK(verify(m) > 0);
    meta_close(m);
    gone();
}

/* Another program holds the write lock: we wait, and then say so. */
static void says_busy(void)
{
    struct evs_error err = {0};
    sqlite3 *db;

    fresh();
    struct meta *m = opened(dir, false);
    CHECK_EQ(sqlite3_open(file, &db), SQLITE_OK);
    CHECK_EQ(sqlite3_exec(db, "BEGIN IMMEDIATE", NULL, NULL, NULL), SQLITE_OK);
    CHECK_FAIL(meta_set_int(m, "key", 1, &err), err, IN_USE);
    CHECK_EQ(sqlite3_exec(db, "COMMIT", NULL, NULL, NULL), SQLITE_OK);
    CHECK_EQ(sqlite3_close(db), SQLITE_OK);
    CHECK_EQ(meta_set_int(m, "key", 1, &err), 0);
    meta_close(m);
    gone();
}

/* The file can't grow: the change fails and leaves nothing, and the next one works again. */
static void survives_a_failed_write(void)
{
    struct evs_error err = {0};
    struct rlimit old, low;
    int64_t v = 0, last = -1, i;
    int r = 0;

    fresh();
    struct meta *m = opened(dir, false);
    CHECK_EQ(getrlimit(RLIMIT_FSIZE, &old), 0);
    low = (struct rlimit){64 << 10, old.rlim_max};
    (void)signal(SIGXFSZ, SIG_IGN);
    CHECK_EQ(setrlimit(RLIMIT_FSIZE, &low), 0);
    for (i = 0; i < 1000 && r == 0; i++) {
        char name[512];
        (void)snprintf(name, sizeof name, "%0400" PRId64, i); /* so that meta.db grows */
        r = set(m, EVS_DIR_ENTITY, name, 7, 0700, &err);
        if (r == 0)
            r = meta_set_int(m, "key", i, &err);
        if (r == 0)
            last = i;
    }
    CHECK(r < 0 && last >= 0);
    CHECK(err.why == EVS_SYSTEM || err.why == EVS_DISK_FULL);
    CHECK_EQ(setrlimit(RLIMIT_FSIZE, &old), 0);
    CHECK_EQ(meta_get_int(m, "key", &v, NULL), 0);
    CHECK_EQ(v, last);
    CHECK_EQ(meta_set_int(m, "key", 1000, &err), 0);
    meta_close(m);
    m = opened(dir, false);
    CHECK_EQ(meta_get_int(m, "key", &v, NULL), 0);
    CHECK_EQ(v, 1000);
    CHECK_EQ(verify(m), 0);
    meta_close(m);
    gone();
}

static void *work(void *arg)
{
    for (int i = 0; i < 200; i++) {
        char name[32];
        int64_t v = 0;
        (void)snprintf(name, sizeof name, "n%d", i % 10);
        CHECK_EQ(meta_set_int(arg, name, i % 10, NULL), 0);
        CHECK_EQ(meta_get_int(arg, name, &v, NULL), 0);
        CHECK_EQ(v, i % 10);
    }
    return NULL;
}

static void threads_share(void)
{
    pthread_t t[4];
    struct meta *m = opened(NULL, false);

    for (int i = 0; i < 4; i++)
        CHECK_EQ(pthread_create(&t[i], NULL, work, m), 0);
    for (int i = 0; i < 4; i++)
        CHECK_EQ(pthread_join(t[i], NULL), 0);
    meta_close(m);
}

int main(void)
{
    RUN(in_memory);
    RUN(survives);
    RUN(survives_kill);
    RUN(reader_changes_nothing);
    RUN(refuses_other_files);
    RUN(made_as_described);
    RUN(finds_damage);
    RUN(misses_rows);
    RUN(stands_in_the_file);
    RUN(takes_over_older_versions);
    RUN(finds_damaged_pages);
    RUN(says_busy);
    RUN(survives_a_failed_write);
    RUN(threads_share);
    CHECK_DONE();
}
