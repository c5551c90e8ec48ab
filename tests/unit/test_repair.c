/* SPDX-License-Identifier: MIT */
/* repair: whatever was done to the files, every line that is still somewhere is kept, what is gone is told exactly
 * and stands as a line in its place, and the store is one that verify finds nothing wrong with. */
#include "repair_check.h"
#include "repair_world.h"
#include "store/checkpoint.h"
#include "store/ingest.h"
#include "store/io.h"
#include "store/lost.h"
#include "store/segment.h"

#include <errno.h>
#include <fcntl.h>
#include <sqlite3.h>
#include <sys/wait.h>
#include <zstd.h>

static void run_seed(uint64_t seed)
{
    int before = check_failed;
    bool exact = damage(seed);

    if (repair() < 0) {
        char text[300];
        check_failed++;
        fprintf(stderr, "repair: %s\n", evs_error_format(&err, text, sizeof text));
    } else {
        check_repaired(exact);
    }
    if (check_failed != before)
        fprintf(stderr, "SEED=%" PRIu64 ":\n%.3000s\n", seed, said);
}

static void test_random_damage_loses_nothing_that_is_there(void)
{
    const char *mode = getenv("EVFS_TEST_MODE"), *given = getenv("SEED");
    uint64_t seed = given ? strtoull(given, NULL, 0) : check_seed();
    int n = given ? 1 : mode && strcmp(mode, "long") == 0 ? 5000 : 60;

    for (int i = 0; i < n && check_failed < 20; i++)
        run_seed(seed + (uint64_t)i);
}

/* The nth call is the last: the next repair completes it, and nothing good is lost. */
static void test_a_repair_that_is_killed_is_completed(void)
{
    const char *mode = getenv("EVFS_TEST_MODE");
    bool all = mode && strcmp(mode, "long") == 0;
    uint64_t seed = check_seed(), store = seed % 1000, n = 1;

    was_killed = true;
    for (;; n += all ? 1 : 1 + (seed * n) % 37) {
        int before = check_failed;
        bool exact = damage(store + n / 97);
        pid_t child = fork();
        if (child == 0) {
            (void)io_fault_set(&(struct io_fault){.n = n, .kill = true, .short_write = true});
            _exit(evs_repair(dir, &done, NULL, NULL, &err) < 0 ? 1 : 77);
        }
        int status = -1;
        CHECK_EQ(waitpid(child, &status, 0), child);
        CHECK(WIFEXITED(status) &&
              (WEXITSTATUS(status) == 77 || WEXITSTATUS(status) == IO_FAULT_EXIT));
        CHECK_EQ(repair(), 0);
        check_repaired(exact);
        if (check_failed != before)
            fprintf(stderr, "SEED=%" PRIu64 ", killed at call %" PRIu64 ":\n%.2000s\n", seed, n,
                    said);
        if (check_failed != before || (WEXITSTATUS(status) == 77 && n > 100))
            break;
        if (WEXITSTATUS(status) == 77) { /* there was little to repair: another one */
            store += 100;
            n = 0;
        }
    }
    was_killed = false;
}

static int killed_at(uint64_t n, bool repairs)
{
    pid_t child = fork();
    int status = -1;

    if (child == 0) {
        struct evs_store *st;
        (void)io_fault_set(&(struct io_fault){.n = n, .kill = true});
        int r = repairs ? evs_repair(dir, &done, NULL, NULL, &err) : evs_open(dir, NULL, &st, &err);
        _exit(r < 0 ? 1 : 77);
    }
    CHECK_EQ(waitpid(child, &status, 0), child);
    CHECK(WIFEXITED(status));
    return WEXITSTATUS(status);
}

/* The checkpoint outlives the old log for a moment, since it alone may know what is lost. Whoever opens the new one
 * then must not believe it; nor if he dies as well. */
static void test_a_checkpoint_of_the_old_log_is_not_believed(void)
{
    char names[FILES][64];
    struct evs_store *st;
    bool is_new = false, stays = true, slow = false;
    int tried = 0;
    size_t len, n;

    for (uint64_t at = 1; !is_new || stays; at += slow ? 1 : 5) {
        restore();
        CHECK(list("log", ".jsonl", names) > 2);
        char *p = read_file(names[1], &len), *q;
        p[len / 2] ^= 1;
        write_file(names[1], p, len);
        if (killed_at(at, true) != IO_FAULT_EXIT)
            break;
        q = read_file(names[1], &n);
        is_new = q && memmem(q, n, LOST_TYPE, strlen(LOST_TYPE));
        stays = access(path_of(CHECKPOINT_FILE), F_OK) == 0;
        free(p);
        free(q);
        if (is_new && !slow) { /* once more, one by one */
            slow = stays = true;
            at -= 5;
            continue;
        }
        if (!is_new || !stays)
            continue;
        tried++;
        for (uint64_t i = 1; killed_at(i, false) != 77; i++)
            ;
        CHECK_EQ(evs_open(dir, NULL, &st, &err), 0);
        CHECK_EQ(evs_end(st), EVENTS);
        CHECK_EQ(evs_close(st, &err), 0);
        said[0] = '\0';
        CHECK_EQ(findings(), 0);
        CHECK_STR(said, "");
        CHECK(access(path_of(CHECKPOINT_VOID), F_OK) < 0);
        CHECK(access(path_of(CHECKPOINT_FILE), F_OK) == 0);
    }
    CHECK(tried > 0);
}

static void cut_out(const char *name, bool with_all)
{
    char path[64];

    CHECK_EQ(unlink(path_of(name)), 0);
    if (!with_all)
        return;
    (void)snprintf(path, sizeof path, "%.24s.idx", name);
    CHECK_EQ(unlink(path_of(path)), 0);
    (void)snprintf(path, sizeof path, "%.24s.sha256", name);
    CHECK_EQ(unlink(path_of(path)), 0);
}

static void test_a_missing_segment_is_told_by_its_events(void)
{
    char names[FILES][64], text[100];

    restore();
    size_t n = list("log", ".jsonl", names);
    CHECK(n >= 4);
    unsigned long long first = strtoull(names[1] + 4, NULL, 10),
                       behind = strtoull(names[2] + 4, NULL, 10);
    cut_out(names[1], true);
    look_what_is_left();
    said[0] = '\0';
    CHECK(findings() > 0);
    (void)snprintf(text, sizeof text, "events %llu to %llu are in no file", first, behind - 1);
    CHECK(strstr(said, text));
    CHECK_EQ(repair(), 0);
    CHECK_EQ(done.lost, behind - first);
    check_repaired(true); /* the checkpoint knows whose they were */
    CHECK_EQ(repair(), 0);
    CHECK_EQ(done.found, 0);
}

/* The end of the log: a segment whose idx is left, or its lines from a line's start on. The idx knows how many were
 * durable, the checkpoint whose they were. */
static void test_a_lost_end_is_told_by_its_events(void)
{
    char names[FILES][64], path[64], text[100];

    for (int i = 0; i < 8; i++) {
        bool cut = i & 1, exact = i & 2, hashed = i & 4;
        size_t len = 0;
        restore();
        size_t n = list("log", ".jsonl", names);
        char *p = read_file(names[n - 1], &len);
        evs_seq first = strtoull(names[n - 1] + 4, NULL, 10) + (cut ? 2 : 0);
        write_file(names[n - 1], p, was[first - (cut ? 2 : 0)].n + was[first - (cut ? 1 : 0)].n);
        free(p);
        if (!cut)
            CHECK_EQ(unlink(path_of(names[n - 1])), 0);
        if (!exact)
            CHECK_EQ(unlink(path_of(CHECKPOINT_FILE)), 0);
        (void)snprintf(path, sizeof path, "%.24s.sha256", names[n - 2]);
        CHECK(hashed || unlink(path_of(path)) == 0);
        look_what_is_left();
        said[0] = '\0';
        CHECK(findings() > 0);
        (void)snprintf(text, sizeof text, "events %" PRIu64 " to %d are in no file", first, EVENTS);
        CHECK(strstr(said, text));
        CHECK_FAIL(evs_rebuild(dir, NULL, NULL, &err), err, DAMAGED); /* and forgets nothing */
        CHECK_EQ(repair(), 0);
        CHECK_EQ(done.lost, EVENTS - first + 1);
        check_repaired(exact);
        CHECK_EQ(evs_rebuild(dir, NULL, NULL, &err), 0);
        CHECK_EQ(repair(), 0);
        CHECK_EQ(done.found, 0);
    }
}

/* Without a checkpoint, what is left of a line says whose it was: if it is of this event. */
static void test_the_end_of_a_line_says_whose_it_was(void)
{
    const evs_seq first = EVENTS - 3; /* big's */
    char names[FILES][64], text[100];

    for (int other = 0; other < 2; other++) {
        size_t len = 0;
        restore();
        CHECK_EQ(unlink(path_of(CHECKPOINT_FILE)), 0);
        size_t n = list("log", ".jsonl", names);
        char *p = read_file(names[n - 1], &len), *to;
        to = memmem(p, len, was[first].p, was[first].n);
        CHECK(to && to + was[12].n < p + len);
        if (other)
            memcpy(to, was[12].p, was[12].n);
        write_file(names[n - 1], p, (size_t)(to - p) + was[other ? 12 : first].n - 3);
        free(p);
        CHECK_EQ(repair(), 0);
        CHECK_EQ(done.lost, 4);
        (void)snprintf(text, sizeof text, "event %" PRIu64 ": big %.*s version %" PRIu64 " is gone",
                       first, (int)was[first].line.type.n, was[first].line.type.p,
                       was[first].line.version);
        CHECK_EQ(strstr(said, text) != NULL, !other);
        (void)snprintf(text, sizeof text, "event %" PRIu64 " is gone", first);
        CHECK_EQ(strstr(said, text) != NULL, other);
        CHECK_EQ(findings(), 0);
    }
}

static void test_a_checkpoint_of_another_log_tells_nothing(void)
{
    char names[FILES][64];
    uint32_t crc = 0;
    size_t len;

    restore();
    char *p = read_file(CHECKPOINT_FILE, &len);
    p[24] ^= 1; /* the CRC of the line that it ends with; then its own */
    memcpy(p + 44, &crc, sizeof crc);
    crc = crc32c(0, p, 136);
    memcpy(p + 44, &crc, sizeof crc);
    write_file(CHECKPOINT_FILE, p, len);
    free(p);
    evs_seq seq = EVENTS; /* the newest of its entity, so that no gap tells */
    while (was[seq].line.entity.p[0] != 'c')
        seq--;
    size_t n = list("log", ".jsonl", names);
    p = read_file(names[n - 1], &len);
    char *line = memmem(p, len, was[seq].p, was[seq].n);
    *(char *)memmem(line, was[seq].n, "\"c/d ", 5) ^= 1;
    write_file(names[n - 1], p, len);
    free(p);
    CHECK_EQ(repair(), 0);
    CHECK_EQ(done.lost, 1);
    CHECK(strstr(said, "whose it was is not known"));
}

/* The last idx says that so many bytes hold no event: nobody opens that, and the lines say what is so. */
static void test_a_wrong_mark_is_made_right(void)
{
    const struct segment_mark wrong = {100, 0};
    struct evs_store *st;
    char names[FILES][64];

    restore();
    size_t n = list("log", ".idx", names);
    evs_seq first = strtoull(names[n - 1] + 4, NULL, 10);
    int fd = open(path_of(names[n - 1]), O_RDWR);
    CHECK_EQ(segment_write_header(fd, first, wrong, false), 0);
    (void)close(fd);
    CHECK_FAIL(evs_open(dir, NULL, &st, &err), err, DAMAGED);
    CHECK_EQ(repair(), 0);
    CHECK_EQ(done.lost, 0);
    CHECK_EQ(findings(), 0);
    CHECK_EQ(evs_open(dir, NULL, &st, &err), 0);
    CHECK_EQ(evs_end(st), EVENTS);
    CHECK_EQ(evs_close(st, &err), 0);
}

static void test_what_is_well_is_left_alone(void)
{
    struct evs_store *st;

    restore();
    CHECK_EQ(repair(), 0);
    CHECK_EQ(done.found, 0);
    CHECK_EQ(done.lost, 0);
    CHECK_STR(said, "");
    CHECK(access(path_of("damaged"), F_OK) < 0 || rmdir(path_of("damaged")) == 0);
    CHECK_EQ(evs_open(dir, NULL, &st, &err), 0);
    CHECK_FAIL(evs_repair(dir, &done, note, NULL, &err), err, IN_USE);
    CHECK_EQ(evs_close(st, &err), 0);
    CHECK_FAIL(evs_repair("/nonexistent/store", &done, note, NULL, &err), err, SYSTEM);
}

/* Nothing in damaged/ is ever written over. */
static void test_what_is_set_aside_stays(void)
{
    char names[FILES][64], was_aside[FILES][64];
    size_t len, n;

    restore();
    n = list("log", ".jsonl", names);
    CHECK(n > 1);
    for (int i = 0; i < 3; i++) {
        char *p = read_file(names[1], &len);
        p[len / 2 + (size_t)i * 700] ^= 1;
        write_file(names[1], p, len);
        CHECK_EQ(repair(), 0);
        CHECK_EQ(done.left, 0);
        n = list("damaged", "", was_aside);
        size_t jsonl = 0, m = 0;
        for (size_t k = 0; k < n; k++)
            jsonl += strstr(was_aside[k], ".jsonl") != NULL;
        CHECK_EQ(jsonl, i + 1);
        (void)snprintf(was_aside[0], 64, i ? "damaged/%.28s.%d" : "damaged/%.28s", names[1] + 4, i);
        char *q = read_file(was_aside[0], &m);
        CHECK(q && m == len && memcmp(p, q, m) == 0);
        free(p);
        free(q);
    }
}

/* What is in log/ and is nobody's to make again goes along: whole lines that were cut once above all. */
static void test_what_is_not_the_logs_stays(void)
{
    static const char *const names[] = {"log/00000000000000000500.cut", "log/notes",
                                        "log/-0000000000000000009.jsonl"};
    char lines[FILES][64];
    size_t len;

    restore();
    for (size_t i = 0; i < ARRAY_LEN(names); i++)
        write_file(names[i], "kept\n", 5);
    CHECK_EQ(mkdir(path_of("log/dir"), 0700), 0);
    CHECK(mkdir(path_of("damaged"), 0700) == 0 || errno == EEXIST);
    CHECK_EQ(mkdir(path_of("damaged/dir"), 0700), 0);
    write_file("log/dir/file", "kept\n", 5);
    CHECK(list("log", ".jsonl", lines) > 1);
    char *p = read_file(lines[1], &len);
    p[len / 2] ^= 1;
    write_file(lines[1], p, len);
    free(p);
    CHECK_EQ(repair(), 0);
    CHECK_EQ(done.left, 0);
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        p = read_file(names[i], &len);
        CHECK(p && len == 5);
        CHECK(!strstr(said, names[i]));
        free(p);
    }
    CHECK(strstr(said, "log/dir: moved to damaged/dir.1"));
    CHECK_EQ(unlink(path_of("damaged/dir.1/file")), 0);
    CHECK_EQ(rmdir(path_of("damaged/dir.1")), 0);
    CHECK_EQ(rmdir(path_of("damaged/dir")), 0);
}

#include "repair_forged.h"

/* Where a later one proves that nothing was changed. */
static void test_a_missing_hash_is_made_again(void)
{
    char names[FILES][64];
    size_t n, len, m;

    restore();
    n = list("log", ".sha256", names);
    CHECK(n >= 3);
    char *p = read_file(names[0], &len);
    CHECK_EQ(unlink(path_of(names[0])), 0);
    CHECK_EQ(repair(), 0);
    CHECK_EQ(done.found, 1);
    CHECK_EQ(done.left, 0);
    CHECK_EQ(done.lost, 0);
    char *q = read_file(names[0], &m);
    CHECK(q && m == len && memcmp(p, q, m) == 0);
    free(p);
    free(q);
}

/* As two frames of zstd in place of the plain file, without a table, which the log needs to open it; bad: a byte of
 * the first is another. */
static void pack(const char *name, size_t half, bool bad)
{
    size_t len, n = 0;
    char *p = read_file(name, &len), *z = malloc(2 * ZSTD_compressBound(len)), path[80];

    n = ZSTD_compress(z, ZSTD_compressBound(len), p, half, 3);
    size_t first = n;
    n += ZSTD_compress(z + n, ZSTD_compressBound(len), p + half, len - half, 3);
    if (bad)
        z[first / 2] ^= 4;
    (void)snprintf(path, sizeof path, "%.40s.zst", name);
    write_file(path, z, n);
    CHECK_EQ(unlink(path_of(name)), 0);
    free(p);
    free(z);
}

/* Of a damaged frame lines may come out that are whole: they are kept, like all others. */
static void test_a_compressed_segment_is_unpacked(void)
{
    char names[FILES][64];
    size_t n, len;

    for (int bad = 0; bad < 2; bad++) {
        restore();
        look_what_is_left();
        n = list("log", ".jsonl", names);
        CHECK(n > 3);
        char *p = read_file(names[1], &len);
        evs_seq first = strtoull(names[1] + 4, NULL, 10), seq = first;
        size_t half = len / 2;
        for (size_t at = 0; bad && at < half; at += was[seq++].n)
            whole[seq] = false;
        free(p);
        pack(names[1], half, bad);
        CHECK_EQ(repair(), 0);
        CHECK(bad ? done.lost > 0 && done.lost <= seq - first : done.lost == 0);
        check_repaired(true);
    }
}

/* What a damaged frame gives may repeat a line: what stood behind it is told all the same. */
static void test_a_line_that_stands_twice(void)
{
    char names[FILES][64], text[100];
    size_t len;

    restore();
    (void)list("log", ".jsonl", names);
    char *p = read_file(names[1], &len), *q = malloc(2 * len + 16), *to = q;
    const evs_seq first = strtoull(names[1] + 4, NULL, 10);
    const size_t skip = was[first].n + was[first + 1].n + was[first + 2].n;
    CHECK(len > skip);
    for (int i = 0; i < 2; i++) {
        memcpy(to, was[first].p, was[first].n);
        to = stpcpy(to + was[first].n, "what\n");
    }
    memcpy(to, p + skip, len - skip);
    write_file(names[1], q, (size_t)(to - q) + len - skip);
    free(p);
    free(q);
    pack(names[1], was[first].n, false);
    whole[first + 1] = whole[first + 2] = false;
    said[0] = '\0';
    CHECK(findings() > 0);
    for (int i = 1; i <= 2; i++) {
        (void)snprintf(text, sizeof text, "event %" PRIu64 " is lost", first + (unsigned)i);
        CHECK(strstr(said, text));
    }
    CHECK_EQ(repair(), 0);
    CHECK_EQ(done.lost, 2);
    check_repaired(true);
}

/* More than a repair has lines for is told at once, by verify as well, and nothing is touched. */
static void test_a_name_far_behind_is_told(void)
{
    static const char far[] = "log/00000000000068161792.jsonl";
    char names[FILES][64];
    size_t len;

    restore();
    (void)list("log", ".jsonl", names);
    char *p = read_file(names[1], &len);
    write_file(far, p, len);
    free(p);
    CHECK_EQ(unlink(path_of(names[1])), 0);
    said[0] = '\0';
    CHECK(findings() > 0);
    CHECK(strstr(said, far)); /* what to move away */
    CHECK(strstr(said, "event 68161792: more than 16777216 are missing before it"));
    CHECK(repair() < 0);
    CHECK_EQ(err.why, EVS_DAMAGED);
    CHECK_EQ(unlink(path_of(far)), 0);
    CHECK_EQ(repair(), 0);
    CHECK(done.lost > 0);
}

/* Rows of meta.db that are whole are kept; the others are named. */
static void test_meta_keeps_its_good_rows(void)
{
    struct evs_store *st;
    struct evs_owner o;
    sqlite3 *db;
    bool own;

    restore();
    CHECK_EQ(evs_open(dir, NULL, &st, &err), 0);
    for (int i = 0; i < 40; i++) {
        char name[20];
        int n = snprintf(name, sizeof name, "c/d %d", i);
        const struct evs_dir d = {EVS_DIR_ENTITY, name, (size_t)n};
        CHECK_EQ(evs_set_owner(st, &d, &(struct evs_owner){(uid_t)i, 2, 0700}, &err), 0);
    }
    CHECK_EQ(evs_close(st, &err), 0);
    CHECK_EQ(sqlite3_open(path_of("meta.db"), &db), SQLITE_OK);
    CHECK_EQ(sqlite3_exec(db, "UPDATE owners SET uid = 0 WHERE uid IN (7, 9)", NULL, NULL, NULL),
             SQLITE_OK);
    CHECK_EQ(sqlite3_close(db), SQLITE_OK);
    CHECK_FAIL(evs_open(dir, NULL, &st, &err), err, DAMAGED);
    CHECK_EQ(repair(), 0);
    CHECK(strstr(said, "owner and mode are gone of a directory: c/d 7"));
    CHECK(strstr(said, "owner and mode are gone of a directory: c/d 9"));
    CHECK(strstr(said, "set aside in damaged/meta.db"));
    CHECK_EQ(findings(), 0);
    CHECK_EQ(evs_open(dir, NULL, &st, &err), 0);
    for (int i = 0; i < 40; i++) {
        char name[20];
        int n = snprintf(name, sizeof name, "c/d %d", i);
        evs_get_owner(st, &(struct evs_dir){EVS_DIR_ENTITY, name, (size_t)n}, &o, &own);
        CHECK_EQ(own, i != 7 && i != 9);
        CHECK(!own || (o.uid == (uid_t)i && o.mode == 0700));
    }
    CHECK_EQ(evs_close(st, &err), 0);

    /* Not even a database any more. */
    size_t len;
    char *p = read_file("meta.db", &len);
    memset(p, 'x', len);
    write_file("meta.db", p, len);
    free(p);
    CHECK_EQ(repair(), 0);
    CHECK_EQ(findings(), 0);
    CHECK_EQ(evs_open(dir, NULL, &st, &err), 0);
    char health[4000];
    CHECK_EQ(evs_health(st, health, sizeof health), 1);
    CHECK(strstr(health, "meta.db was lost"));
    CHECK_EQ(evs_end(st), EVENTS);
    CHECK_EQ(evs_close(st, &err), 0);
    CHECK_EQ(unlink(path_of("meta.db")), 0);
}

int main(void)
{
    make_store();
    RUN(test_a_wrong_mark_is_made_right);
    RUN(test_what_is_well_is_left_alone);
    RUN(test_a_missing_segment_is_told_by_its_events);
    RUN(test_a_lost_end_is_told_by_its_events);
    RUN(test_the_end_of_a_line_says_whose_it_was);
    RUN(test_a_checkpoint_of_another_log_tells_nothing);
    RUN(test_what_is_set_aside_stays);
    RUN(test_what_is_not_the_logs_stays);
    RUN(test_a_name_for_the_lost_that_is_taken);
    RUN(test_a_missing_hash_is_made_again);
    RUN(test_data_that_looks_like_lines_is_data);
    RUN(test_a_line_of_another_store_is_told);
    RUN(test_a_compressed_segment_is_unpacked);
    RUN(test_a_line_that_stands_twice);
    RUN(test_a_name_far_behind_is_told);
    RUN(test_meta_keeps_its_good_rows);
    RUN(test_a_repair_that_is_killed_is_completed);
    RUN(test_a_checkpoint_of_the_old_log_is_not_believed);
    RUN(test_random_damage_loses_nothing_that_is_there);
    for (size_t i = 0; i < good.n; i++)
        free(good.p[i]);
    free(was_bytes);
    model_remove(dir);
    CHECK_DONE();
}
