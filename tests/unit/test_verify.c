/* SPDX-License-Identifier: MIT */
/* verify finds what is wrong, counts it and names it; rebuild makes derived files again; import --exact. */
#include "model.h"
#include "store/checkpoint.h"
#include "store/ingest.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sqlite3.h>
#include <sys/stat.h>

#define IDX_HEADER 4096

static struct evs_error err;
static char *dir;
static char report[16384]; /* what the last verify() said */

static void note(void *arg, const char *finding)
{
    size_t n = strlen(report);

    (void)arg;
    (void)snprintf(report + n, sizeof report - n, "%s\n", finding);
}

static int verify(void)
{
    report[0] = '\0';
    int r = evs_verify(dir, note, NULL, &err);
    int lines = 0;
    for (const char *p = report; (p = strchr(p, '\n')); p++)
        lines++;
    CHECK_EQ(lines, MAX(r, 0));
    return r;
}

/* The last verify() has a finding that says so. */
static void said(const char *what)
{
    if (!strstr(report, what)) {
        check_failed++;
        fprintf(stderr, "not said: '%s', but: %s", what, report);
    }
}

/* n events in segments of 64 KiB: entities with 1 to many events, transactions, pairs. */
static void fill(int n)
{
    struct evs_store *st;
    char text[400];

    CHECK_EQ(
        evs_open(dir, &(struct evs_options){.segment_bytes = 64 << 10, .compress = -1}, &st, &err),
        0);
    while (evs_end(st) < (evs_seq)n) {
        int i = (int)evs_end(st);
        (void)snprintf(text, sizeof text,
                       "[{\"entity\":\"a/%d\",\"type\":\"t%d\",\"data\":{\"n\":%d}},"
                       "{\"entity\":\"big\",\"type\":\"u\"},{\"entity\":\"a\",\"type\":\"t1\"}]\n"
                       "{\"entity\":\"big\",\"type\":\"v\",\"data\":\"%d\"}\n",
                       i % 30, i % 3, i, i);
        CHECK(put(st, text) > 0);
    }
    CHECK_EQ(evs_close(st, &err), 0);
}

static void enter(int n)
{
    dir = model_dir();
    fill(n);
    CHECK_EQ(verify(), 0);
}

static int file(const char *name)
{
    char path[400];

    (void)snprintf(path, sizeof path, "%s/%s", dir, name);
    int fd = open(path, O_RDWR | O_CLOEXEC);
    CHECK(fd >= 0);
    return fd;
}

static off_t size_of(int fd)
{
    struct stat s = {0};

    CHECK_EQ(fstat(fd, &s), 0);
    return s.st_size;
}

static void flip(int fd, off_t at, char with)
{
    char c = 0;

    CHECK_EQ(pread(fd, &c, 1, at), 1);
    c ^= with;
    CHECK_EQ(pwrite(fd, &c, 1, at), 1);
}

static int by_name(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

/* "log/…" of every file with this ending, sorted, into names; how many. */
static size_t list(const char *suffix, char **names, size_t cap)
{
    char path[300];
    struct dirent *e;
    size_t n = 0;

    (void)snprintf(path, sizeof path, "%s/log", dir);
    DIR *d = opendir(path);
    while (d && (e = readdir(d)) && n < cap) {
        if (!strstr(e->d_name, suffix))
            continue;
        names[n] = malloc(300);
        (void)snprintf(names[n++], 300, "log/%s", e->d_name);
    }
    (void)closedir(d);
    qsort(names, n, sizeof *names, by_name);
    return n;
}

static void test_each_flipped_bit_of_the_log_is_named(void)
{
    char *names[40], event[60];
    uint64_t random = check_seed();

    enter(2000);
    size_t n = list(".jsonl", names, ARRAY_LEN(names));
    CHECK(n >= 4);
    for (size_t i = 0; i < n; i++) {
        int fd = file(names[i]);
        off_t size = size_of(fd);
        char *bytes = calloc((size_t)size + 1, 1); /* a string: sscanf() looks for its end */
        CHECK_EQ(pread(fd, bytes, (size_t)size, 0), size);
        for (int k = 0; k < 12; k++) {
            off_t at = k == 0   ? 0
                       : k == 1 ? size - 1
                                : (off_t)(check_random(&random) % (uint64_t)size);
            off_t line = at;
            while (line > 0 && bytes[line - 1] != '\n')
                line--;
            unsigned long long seq = 0;
            CHECK_EQ(sscanf(bytes + line, "{\"seq\":%llu", &seq), 1);
            flip(fd, at, 1);
            /* A lost line feed joins two lines, so the second is not where it should be either. */
            int found = verify();
            CHECK(found == 1 || (found == 2 && bytes[at] == '\n'));
            (void)snprintf(event, sizeof event,
                           "%s: byte %lld: event %llu: stored bytes are damaged", names[i],
                           (long long)line, seq);
            said(event);
            flip(fd, at, 1);
        }
        CHECK_EQ(verify(), 0);
        free(bytes);
        (void)close(fd);
        free(names[i]);
    }
    model_remove(dir);
}

/* The disk gives no record of the second idx any more, while it is being looked at. */
static void lose_idx(void *arg, const char *finding)
{
    int fd = file(arg);

    (void)finding;
    CHECK_EQ(ftruncate(fd, IDX_HEADER), 0);
    (void)close(fd);
}

static void test_an_idx_that_goes_is_no_end_of_verify(void)
{
    char *names[40], *idx[40];

    enter(2000);
    size_t n = list(".jsonl", names, ARRAY_LEN(names));
    CHECK(n >= 4);
    CHECK_EQ(list(".idx", idx, ARRAY_LEN(idx)), n);
    int fd = file(names[0]);
    flip(fd, 100, 1);
    (void)close(fd);
    CHECK_EQ(evs_verify(dir, lose_idx, idx[1], &err), 2);
    CHECK_EQ(verify(), 2);
    said("records differ");
    for (size_t i = 0; i < n; i++) {
        free(names[i]);
        free(idx[i]);
    }
    model_remove(dir);
}

static void test_many_damages_are_all_counted(void)
{
    char *names[40];
    char command[900];
    int flips = 0;

    enter(2000);
    size_t n = list(".jsonl", names, ARRAY_LEN(names));
    for (size_t i = 0; i < n; i++) {
        int fd = file(names[i]);
        for (off_t at = 100; at < size_of(fd); at += 9000, flips++) {
            char c = '\n';
            while (pread(fd, &c, 1, at) == 1 && c == '\n')
                at++;
            flip(fd, at, 1);
        }
        (void)close(fd);
        free(names[i]);
    }
    CHECK(flips > 20);
    CHECK_EQ(verify(), flips);
    (void)snprintf(command, sizeof command, "cp -a '%s' '%s.was'", dir, dir);
    CHECK_EQ(system(command), 0);
    CHECK_EQ(evs_rebuild(dir, NULL, NULL, &err), -EIO); /* it does not guess */
    CHECK_EQ(err.why, EVS_DAMAGED);
    (void)snprintf(command, sizeof command,
                   "diff -r -x lock '%s' '%s.was' && test -s '%s/index.ckpt' && rm -r '%s.was'",
                   dir, dir, dir, dir);
    CHECK_EQ(system(command), 0); /* and forgets nothing */
    model_remove(dir);
}

/* Every field of an idx record, in a sealed segment and in the last one. */
static void test_wrong_idx_records_are_found_and_repaired(void)
{
    char *names[40], event[60];
    uint64_t random = 4;

    enter(1500);
    size_t n = list(".idx", names, ARRAY_LEN(names));
    CHECK(n >= 3);
    for (size_t i = 0; i < n; i += n - 1) {
        unsigned long long first = strtoull(names[i] + 4, NULL, 10);
        for (size_t at = 0; at < sizeof(struct log_rec); at += 4) {
            int fd = file(names[i]);
            off_t rec = IDX_HEADER + 7 * (off_t)sizeof(struct log_rec);
            flip(fd, rec + (off_t)at, 1);
            CHECK_EQ(verify(), 1);
            (void)snprintf(event, sizeof event, "event %llu: its idx record differs", first + 7);
            said(event);
            said("run 'evfs rebuild'");
            (void)close(fd);
            CHECK_EQ(evs_rebuild(dir, NULL, NULL, &err), 0);
            CHECK_EQ(verify(), 0);
        }
    }
    struct evs_store *st;
    CHECK_EQ(evs_open(dir, NULL, &st, &err), 0);
    model_check_all(st, &random);
    CHECK_EQ(evs_close(st, &err), 0);
    for (size_t i = 0; i < n; i++)
        free(names[i]);
    model_remove(dir);
}

static void test_lost_idx_files_come_back(void)
{
    char *names[40], path[600];

    enter(1500);
    size_t n = list(".idx", names, ARRAY_LEN(names));
    for (size_t i = 0; i < n; i++) {
        (void)snprintf(path, sizeof path, "%s/%s", dir, names[i]);
        CHECK_EQ(unlink(path), 0);
        free(names[i]);
    }
    CHECK_EQ(evs_rebuild(dir, NULL, NULL, &err), 0);
    CHECK_EQ(verify(), 0);
    n = list(".idx", names, ARRAY_LEN(names));
    CHECK(n > 0);
    for (size_t i = 0; i < n; i++)
        free(names[i]);
    struct evs_store *st;
    uint64_t random = 6;
    CHECK_EQ(evs_open(dir, NULL, &st, &err), 0);
    CHECK_EQ(evs_end(st), 1500);
    model_check_all(st, &random);
    CHECK_EQ(evs_close(st, &err), 0);
    model_remove(dir);
}

static void test_a_bad_checkpoint_is_found_and_repaired(void)
{
    static const off_t at[] = {0, 9, 17, 130, 4096, 4097, 9000};

    enter(400);
    for (size_t i = 0; i < ARRAY_LEN(at); i++) {
        int fd = file(CHECKPOINT_FILE);
        flip(fd, at[i], 8);
        (void)close(fd);
        CHECK_EQ(verify(), 1);
        said(CHECKPOINT_FILE);
        said("run 'evfs rebuild'");
        CHECK_EQ(evs_rebuild(dir, note, NULL, &err), 0);
        CHECK_EQ(verify(), 0);
    }
    report[0] = '\0';
    CHECK_EQ(evs_rebuild(dir, note, NULL, &err), 0);
    CHECK_STR(report, "400 events of 17 entities and 5 types\n");
    model_remove(dir);
}

/* As whoever can write to the file could, past SQLite's own checks: the row's CRC is left as it was. */
static void test_a_bad_row_of_meta_is_found(void)
{
    struct evs_store *st;
    char path[300];
    sqlite3 *db;

    enter(8);
    CHECK_EQ(evs_open(dir, NULL, &st, &err), 0);
    CHECK_EQ(evs_set_owner(st, &(struct evs_dir){EVS_DIR_ENTITY, "a", 1},
                           &(struct evs_owner){1, 2, 0700}, &err),
             0);
    CHECK_EQ(evs_close(st, &err), 0);
    CHECK_EQ(verify(), 0);
    (void)snprintf(path, sizeof path, "%s/meta.db", dir);
    CHECK_EQ(sqlite3_open(path, &db), SQLITE_OK);
    CHECK_EQ(sqlite3_exec(db, "UPDATE owners SET mode = 511", NULL, NULL, NULL), SQLITE_OK);
    CHECK_EQ(sqlite3_close(db), SQLITE_OK);
    CHECK_EQ(verify(), 1);
    said("meta.db");
    CHECK_FAIL(evs_open(dir, NULL, &st, &err), err, DAMAGED);
    model_remove(dir);
}

/* Behind a lost mark the log is read before it is opened; what is bad there is a finding like any other. */
static void test_damage_that_keeps_the_log_shut_is_a_finding(void)
{
    char *idx[40], *lines[40];

    enter(1500);
    size_t n = list(".idx", idx, ARRAY_LEN(idx));
    CHECK_EQ(list(".jsonl", lines, ARRAY_LEN(lines)), n);
    int fd = file(idx[n - 2]);
    flip(fd, 24, 1); /* the mark: the header's CRC is wrong now */
    (void)close(fd);
    CHECK_EQ(verify(), 0);
    fd = file(lines[n - 2]);
    flip(fd, 5000, 1);
    (void)close(fd);
    CHECK_EQ(verify(), 1);
    said(lines[n - 2]);
    for (size_t i = 0; i < n; i++) {
        free(idx[i]);
        free(lines[i]);
    }
    model_remove(dir);
}

static void test_nothing_is_changed_by_looking(void)
{
    char *names[40];
    struct stat before, after;

    enter(500);
    size_t n = list("", names, ARRAY_LEN(names));
    for (size_t i = 0; i < n; i++) {
        if (strstr(names[i], "/.")) {
            free(names[i]);
            continue;
        }
        int fd = file(names[i]);
        CHECK_EQ(fstat(fd, &before), 0);
        CHECK_EQ(verify(), 0);
        CHECK_EQ(fstat(fd, &after), 0);
        CHECK_EQ(after.st_size, before.st_size);
        CHECK_EQ(after.st_mtim.tv_nsec, before.st_mtim.tv_nsec);
        (void)close(fd);
        free(names[i]);
    }
    CHECK_FAIL(evs_verify("/nonexistent/store", NULL, NULL, &err), err, SYSTEM);
    model_remove(dir);
}

/* ---- import --exact ---- */

static struct evs_store *source(size_t *ret_n, char **ret)
{
    struct evs_store *st;

    dir = model_dir();
    fill(1200);
    CHECK_EQ(evs_open(dir, NULL, &st, &err), 0);
    *ret = model_read(st, &(struct evs_view){.kind = EVS_ALL}, ret_n);
    return st;
}

/* Give it away in pieces of whole lines, as a file that is read is; what is not taken comes again. */
static void pour(struct evs_store *to, const char *p, size_t n, size_t piece)
{
    size_t at = 0, size = piece;

    while (at < n) {
        size_t end = MIN(n, at + size);
        while (end < n && p[end - 1] != '\n')
            end++;
        ssize_t r = evs_import_exact(to, p + at, end - at, &err);
        CHECK(r >= 0);
        if (r < 0)
            return;
        size = r ? piece : size + piece; /* a transaction that is larger */
        at += (size_t)r;
        CHECK(at == n || size < n);
    }
}

static void test_an_exact_import_is_the_same_store(void)
{
    static const size_t pieces[] = {1, 700, 20000, SIZE_MAX / 2};
    char *bytes, *to = NULL;
    size_t n, m;
    uint64_t random = 5;
    struct evs_store *from = source(&n, &bytes), *st;
    char *first = dir;

    for (size_t i = 0; i < ARRAY_LEN(pieces); i++) {
        to = model_dir();
        CHECK_EQ(evs_open(to, &(struct evs_options){.segment_bytes = 64 << 10, .compress = -1}, &st,
                          &err),
                 0);
        pour(st, bytes, n, MIN(pieces[i], n));
        CHECK_EQ(evs_close(st, &err), 0);
        dir = to;
        CHECK_EQ(verify(), 0);
        CHECK_EQ(evs_open(to, NULL, &st, &err), 0);
        char *got = model_read(st, &(struct evs_view){.kind = EVS_ALL}, &m);
        CHECK(m == n && memcmp(got, bytes, n) == 0);
        CHECK_EQ(index_check(st->ix, st->lg, NULL, NULL), 0);
        if (i == 1)
            model_check_all(st, &random);
        /* it goes on with the versions and ids that it has */
        CHECK_EQ(put(st, "{\"entity\":\"big\",\"type\":\"v\",\"expected_version\":3}\n"), -ESTALE);
        CHECK(put(st, "{\"entity\":\"big\",\"type\":\"v\",\"expected_version\":600}\n") > 0);
        free(got);
        CHECK_EQ(evs_close(st, &err), 0);
        model_remove(to);
    }
    free(bytes);
    CHECK_EQ(evs_close(from, &err), 0);
    model_remove(first);
}

/* Half a transaction is never in the store: neither seen nor found after a crash. */
static void test_a_transaction_is_imported_whole(void)
{
    char *bytes;
    size_t n;
    struct evs_store *from = source(&n, &bytes), *st;

    CHECK_EQ(evs_open(":memory:", NULL, &st, &err), 0);
    size_t at = 0, end = 0;
    for (int i = 0; i < 40; i++) { /* three lines of one, then one alone */
        end = (size_t)((char *)memchr(bytes + end, '\n', n - end) - bytes) + 1;
        ssize_t r = evs_import_exact(st, bytes + at, end - at, &err);
        bool whole = i % 4 >= 2;
        CHECK_EQ(r, whole ? end - at : 0);
        CHECK_EQ(evs_end(st), whole ? i + 1 : i / 4 * 4);
        at += r > 0 ? (size_t)r : 0;
    }
    CHECK_EQ(evs_close(st, &err), 0);
    free(bytes);
    CHECK_EQ(evs_close(from, &err), 0);
    model_remove(dir);
}

/* What can't be is refused, and all before it stays. */
static void test_a_bad_line_is_not_imported(void)
{
    char *bytes;
    size_t n, lines[8] = {0};
    struct evs_store *from = source(&n, &bytes), *st;

    for (size_t i = 1; i < ARRAY_LEN(lines); i++)
        lines[i] = (size_t)((char *)memchr(bytes + lines[i - 1], '\n', n) - bytes) + 1;
    CHECK_EQ(evs_open(":memory:", NULL, &st, &err), 0);
    CHECK_FAIL(evs_import_exact(st, bytes + lines[3], lines[4] - lines[3], &err), err, BAD_FIELD);
    bytes[lines[4] + 20] ^= 1;
    CHECK_EQ(evs_import_exact(st, bytes, lines[7], &err), lines[4]);
    CHECK_EQ(evs_end(st), 4);
    CHECK_FAIL(evs_import_exact(st, bytes + lines[4], lines[7] - lines[4], &err), err, DAMAGED);
    bytes[lines[4] + 20] ^= 1;
    CHECK_FAIL(evs_import_exact(st, bytes, lines[4], &err), err, BAD_FIELD); /* seq 1 again */
    CHECK_EQ(evs_import_exact(st, bytes + lines[4], lines[7] - lines[4], &err),
             lines[7] - lines[4]);
    CHECK_EQ(evs_import_exact(st, bytes, 0, &err), 0);
    CHECK_EQ(index_check(st->ix, st->lg, NULL, NULL), 0);
    CHECK_EQ(evs_close(st, &err), 0);

    /* half a transaction in the source: its beginning without its end */
    CHECK_EQ(evs_open(":memory:", NULL, &st, &err), 0);
    CHECK_EQ(evs_import_exact(st, bytes, lines[2], &err), 0);
    memmove(bytes + lines[2], bytes + lines[3], lines[7] - lines[3]);
    CHECK(evs_import_exact(st, bytes, lines[6], &err) < 0);
    CHECK_EQ(evs_end(st), 0);
    CHECK_EQ(index_check(st->ix, st->lg, NULL, NULL), 0);
    CHECK_EQ(evs_close(st, &err), 0);
    free(bytes);
    CHECK_EQ(evs_close(from, &err), 0);
    model_remove(dir);
}

int main(void)
{
    RUN(test_each_flipped_bit_of_the_log_is_named);
    RUN(test_many_damages_are_all_counted);
    RUN(test_an_idx_that_goes_is_no_end_of_verify);
    RUN(test_wrong_idx_records_are_found_and_repaired);
    RUN(test_lost_idx_files_come_back);
    RUN(test_a_bad_checkpoint_is_found_and_repaired);
    RUN(test_a_bad_row_of_meta_is_found);
    RUN(test_damage_that_keeps_the_log_shut_is_a_finding);
    RUN(test_nothing_is_changed_by_looking);
    RUN(test_an_exact_import_is_the_same_store);
    RUN(test_a_transaction_is_imported_whole);
    RUN(test_a_bad_line_is_not_imported);
    CHECK_DONE();
}
