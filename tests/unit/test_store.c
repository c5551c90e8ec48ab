/* SPDX-License-Identifier: MIT */
/* The whole store against a model: random events, every view, over reopening, rebuilding and a crash. */
#include "model.h"
#include "store/ingest.h"
#include "store/io.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>

static uint64_t seed;

static const char *const ids[] = {"a",  "a/b", "a/b/c", "b",   "x//y",
                                  "/z", "b/1", "b/2",   "big", "\xc3\xa9t\xc3\xa9"};
static const char *const types[] = {"placed", "paid", "t3", "a.b"};

/* n random events; big gets many, so that it becomes large, and later a directory. */
static void fill(struct evs_store *st, int n, uint64_t *random)
{
    char text[256];
    struct evs_writer *w;
    struct evs_error err;

    CHECK_EQ(evs_writer_new(st, &(struct evs_target){.kind = EVS_ALL}, "events.jsonl", &w, &err),
             0);
    for (int i = 0; i < n; i++) {
        uint64_t r = check_random(random);
        const char *id = r % 3 == 0 ? "big" : ids[(r >> 8) % ARRAY_LEN(ids)];
        if (r % 97 == 0)
            id = "big/child";
        int len =
            snprintf(text, sizeof text,
                     "{\"entity\":\"%s\",\"type\":\"%s\",\"data\":{\"n\":%d,\"s\":\"%.*s\"}}\n", id,
                     types[(r >> 20) % ARRAY_LEN(types)], i, (int)((r >> 30) % 60),
                     "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx");
        CHECK_EQ(evs_write(w, text, (size_t)len, &(struct evs_cred){.uid = 3}, &err), len);
    }
    evs_writer_free(w);
}

static void test_views_in_memory(void)
{
    uint64_t random = seed;
    struct evs_store *st;
    struct evs_error err;

    CHECK_EQ(evs_open(":memory:", NULL, &st, &err), 0);
    for (int i = 0; i < 4; i++) {
        fill(st, i == 0 ? 30 : 1500, &random);
        model_check_all(st, &random);
    }
    CHECK_EQ(index_check(st->ix, st->lg, NULL, NULL), 0);
    CHECK_EQ(evs_close(st, &err), 0);
}

static void count_finding(void *arg, const char *text)
{
    fprintf(stderr, "# %s\n", text);
    ++*(int *)arg;
}

static void test_views_survive_reopening(void)
{
    const struct evs_options o = {.segment_bytes = 128 << 10};
    uint64_t random = seed + 1;
    char *dir = model_dir();
    struct evs_store *st;
    struct evs_error err;
    int findings = 0;

    for (int i = 0; i < 5; i++) {
        CHECK_EQ(evs_open(dir, &o, &st, &err), 0);
        model_check_all(st, &random);
        fill(st, 700, &random);
        if (i == 2)
            CHECK_EQ(evs_checkpoint(st, &err), 0);
        fill(st, 100, &random);
        model_check_all(st, &random);
        CHECK_EQ(evs_close(st, &err), 0);
        CHECK_EQ(evs_verify(dir, count_finding, &findings, &err), 0);
        if (i == 3)
            CHECK_EQ(evs_rebuild(dir, NULL, NULL, &err), 0);
    }
    CHECK_EQ(findings, 0);
    CHECK_EQ(evs_open(dir, &(struct evs_options){.read_only = true}, &st, &err), 0);
    CHECK_EQ(evs_end(st), 4000);
    model_check_all(st, &random);
    CHECK_EQ(evs_close(st, &err), 0);
    model_remove(dir);
}

static void test_what_was_acknowledged_survives_a_kill(void)
{
    char *dir = model_dir();
    struct evs_store *st;
    struct evs_error err;
    uint64_t random = seed + 2;

    for (int round = 1; round <= 5; round++) {
        pid_t pid = fork();
        if (pid == 0) {
            CHECK_EQ(evs_open(dir, &(struct evs_options){.segment_bytes = 128 << 10}, &st, &err),
                     0);
            fill(st, 333, &random);
            _exit(check_failed ? 1 : 0); /* no close */
        }
        int status;
        (void)waitpid(pid, &status, 0);
        CHECK_EQ(status, 0);
        CHECK_EQ(evs_open(dir, NULL, &st, &err), 0);
        CHECK_EQ(evs_end(st), 333 * round);
        model_check_all(st, &random);
        CHECK_EQ(index_check(st->ix, st->lg, NULL, NULL), 0);
        CHECK_EQ(evs_close(st, &err), 0);
    }
    model_remove(dir);
}

static void make_directory(const char *dir, const char *name)
{
    char path[300];

    (void)snprintf(path, sizeof path, "%s/%s", dir, name);
    (void)remove(path);
    CHECK_EQ(mkdir(path, 0700), 0);
    (void)snprintf(path, sizeof path, "%s/%s/somebody's", dir, name);
    CHECK_EQ(close(open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600)), 0);
}

/* A directory in the place of a derived file costs the time to make that again, and is kept. */
static void test_a_directory_is_moved_aside(void)
{
    static const char *const names[] = {"index.ckpt", "index.tmp", "log/00000000000000000001.idx",
                                        "log/00000000000000000001.tmp"};

    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        char *dir = model_dir(), path[300];
        struct evs_store *st;
        struct evs_error err;
        uint64_t random = seed + 3;
        CHECK_EQ(evs_open(dir, NULL, &st, &err), 0);
        fill(st, 50, &random);
        CHECK_EQ(evs_close(st, &err), 0);
        make_directory(dir, names[i]);
        CHECK_EQ(evs_open(dir, &(struct evs_options){.read_only = true}, &st, &err), 0);
        model_check_all(st, &random);
        CHECK_EQ(evs_close(st, &err), 0);
        for (int k = 1; k < 3; k++) {
            CHECK_EQ(evs_open(dir, NULL, &st, &err), 0);
            CHECK_EQ(evs_end(st), 50 * k);
            model_check_all(st, &random);
            fill(st, 50, &random);
            CHECK_EQ(evs_close(st, &err), 0);
        }
        CHECK_EQ(evs_verify(dir, NULL, NULL, &err), 0);
        (void)snprintf(path, sizeof path, "%s/%s.aside/somebody's", dir, names[i]);
        CHECK_EQ(access(path, F_OK), 0);
        model_remove(dir);
    }
}

static int check_mode(const char *path, const struct stat *s, int flag, struct FTW *f)
{
    (void)f;
    if (flag == FTW_F && (s->st_mode & 077))
        CHECK_STR(path, "closed to others");
    return 0;
}

static void test_what_is_stored_is_closed_to_others(void)
{
    char *dir = model_dir();
    mode_t old = umask(0);
    struct evs_store *st;
    struct evs_error err;

    CHECK_EQ(evs_open(dir, NULL, &st, &err), 0);
    CHECK(put(st, "{\"entity\":\"a\",\"type\":\"t\"}\n{]") > 0);
    CHECK_EQ(evs_checkpoint(st, &err), 0);
    (void)nftw(dir, check_mode, 8, FTW_PHYS);
    CHECK_EQ(evs_close(st, &err), 0);
    (void)nftw(dir, check_mode, 8, FTW_PHYS);
    (void)umask(old);
    model_remove(dir);
}

static void test_a_store_is_used_by_one(void)
{
    char *dir = model_dir(), pid[40];
    struct evs_store *st, *other;
    struct evs_error err;

    CHECK_EQ(evs_open(dir, NULL, &st, &err), 0);
    CHECK_FAIL(evs_open(dir, NULL, &other, &err), err, IN_USE);
    (void)snprintf(pid, sizeof pid, "process %ld has it", (long)getpid());
    CHECK_STR(err.detail, pid);
    CHECK_FAIL(evs_verify(dir, NULL, NULL, &err), err, IN_USE);
    CHECK_FAIL(evs_rebuild(dir, NULL, NULL, &err), err, IN_USE);
    CHECK_EQ(evs_close(st, &err), 0);
    CHECK_FAIL(evs_open("/nonexistent/dir", NULL, &other, &err), err, SYSTEM);
    CHECK_FAIL(evs_open("/tmp", &(struct evs_options){.must_exist = true}, &other, &err), err,
               BAD_FORMAT);
    model_remove(dir);
}

static void test_damage_is_found_and_named(void)
{
    char *dir = model_dir(), path[200];
    struct evs_store *st;
    struct evs_error err;
    int findings = 0;

    CHECK_EQ(evs_open(dir, NULL, &st, &err), 0);
    CHECK(put(st, "{\"entity\":\"a\",\"type\":\"t\",\"data\":1}\n{\"entity\":\"a\",\"type\":\"t\","
                  "\"data\":2}\n"
                  "{\"entity\":\"a\",\"type\":\"t\",\"data\":3}\n") > 0);
    CHECK_EQ(evs_close(st, &err), 0);
    (void)snprintf(path, sizeof path, "%s/log/00000000000000000001.jsonl", dir);
    int fd = open(path, O_RDWR);
    char text[2048];
    ssize_t n = pread(fd, text, sizeof text - 1, 0);
    text[n] = '\0';
    size_t second = (size_t)(strchr(text, '\n') - text) + 1;
    CHECK_EQ(pwrite(fd, "9", 1, (off_t)(strstr(text + second, "\"data\":2") - text) + 7), 1);
    (void)close(fd);
    CHECK_EQ(evs_verify(dir, count_finding, &findings, &err), 1);
    CHECK_EQ(findings, 1);

    /* it mounts, as the checkpoint covers it; but the line is not given out, and who looks at nothing hears of
     * it as well */
    CHECK_EQ(evs_open(dir, &(struct evs_options){.sync_interval_ms = 1}, &st, &err), 0);
    for (int i = 0; i < 5000 && evs_health(st, text, sizeof text) == 0; i++)
        usleep(1000);
    CHECK(strstr(text, "read-only") && strstr(text, "log/00000000000000000001.jsonl"));
    (void)evs_close(st, &err);
    CHECK_EQ(evs_open(dir, &(struct evs_options){.sync_interval_ms = UINT32_MAX}, &st, &err), 0);
    struct evs_cursor *c;
    CHECK_EQ(evs_cursor_new(st, &(struct evs_view){.kind = EVS_ALL}, &c, &err), 0);
    CHECK_EQ(evs_cursor_read(c, 0, text, sizeof text, &err), second);
    CHECK_FAIL(evs_cursor_read(c, second, text, sizeof text, &err), err, DAMAGED);
    CHECK_EQ(err.pos, second);
    CHECK(strstr(err.detail, "log/00000000000000000001.jsonl"));
    CHECK(put(st, "{\"entity\":\"a\",\"type\":\"t\"}\n") == -EROFS);
    CHECK_EQ(evs_health(st, text, sizeof text), 1);
    CHECK(strstr(text, "read-only"));
    evs_cursor_free(c);
    (void)evs_close(st, &err);

    /* and without the checkpoint it does not mount */
    (void)snprintf(path, sizeof path, "%s/index.ckpt", dir);
    CHECK_EQ(unlink(path), 0);
    CHECK_FAIL(evs_open(dir, NULL, &st, &err), err, DAMAGED);
    CHECK_EQ(err.pos, second);
    model_remove(dir);
}

static void test_a_segment_that_is_cut_is_appended_to_no_more(void)
{
    char *dir = model_dir(), path[200], text[100];
    struct evs_store *st;
    struct evs_cursor *c;
    struct evs_error err;
    uint64_t random = seed + 5;

    CHECK_EQ(evs_open(dir, &(struct evs_options){.sync_interval_ms = UINT32_MAX}, &st, &err), 0);
    fill(st, 200, &random); /* several pages */
    (void)snprintf(path, sizeof path, "%s/log/00000000000000000001.jsonl", dir);
    CHECK_EQ(truncate(path, 100), 0);
    CHECK_EQ(evs_cursor_new(st, &(struct evs_view){.kind = EVS_ALL}, &c, &err), 0);
    CHECK_FAIL(evs_cursor_read(c, 20000, text, sizeof text, &err), err, DAMAGED);
    CHECK(strstr(err.detail, "log/00000000000000000001.jsonl"));
    CHECK(put(st, "{\"entity\":\"a\",\"type\":\"t\"}\n") == -EROFS);
    evs_cursor_free(c);
    (void)evs_close(st, &err);
    model_remove(dir);
}

static void test_a_bad_checkpoint_costs_only_time(void)
{
    char *dir = model_dir(), path[200];
    struct evs_store *st;
    struct evs_error err;
    uint64_t random = seed + 3;

    CHECK_EQ(evs_open(dir, NULL, &st, &err), 0);
    fill(st, 200, &random);
    CHECK_EQ(evs_close(st, &err), 0);
    (void)snprintf(path, sizeof path, "%s/index.ckpt", dir);
    for (off_t at = 0; at < 30000; at += 577) {
        int fd = open(path, O_RDWR);
        char c;
        if (pread(fd, &c, 1, at) == 1) {
            c ^= 0x10;
            CHECK_EQ(pwrite(fd, &c, 1, at), 1);
        }
        (void)close(fd);
        evs_seq before = 200 + (evs_seq)(at / 577);
        CHECK_EQ(evs_open(dir, NULL, &st, &err), 0);
        CHECK_EQ(evs_end(st), before);
        CHECK_EQ(index_check(st->ix, st->lg, NULL, NULL), 0);
        CHECK(put(st, "{\"entity\":\"q\",\"type\":\"t\"}\n") > 0);
        CHECK_EQ(evs_close(st, &err), 0);
    }
    CHECK_EQ(evs_open(dir, NULL, &st, &err), 0);
    model_check_all(st, &random);
    CHECK_EQ(evs_close(st, &err), 0);
    model_remove(dir);
}

static void test_a_lost_idx_costs_only_time(void)
{
    char *dir = model_dir(), path[200];
    struct evs_store *st;
    struct evs_error err;
    uint64_t random = seed + 5;
    int findings = 0;

    for (int i = 0; i < 3;
         i++) { /* read only, then once more to be used; what is sealed, and the last */
        const struct evs_options o = {.segment_bytes = 128 << 10, .read_only = i == 1};
        CHECK_EQ(evs_open(dir, &o, &st, &err), 0);
        model_check_all(st, &random);
        if (i == 0)
            fill(st, 2000, &random);
        CHECK(log_segments(st->lg) > 2);
        evs_seq last = st->lg ? evs_end(st) : 0;
        char name[80];
        log_segment_name(st->lg, i == 0 ? 1 : last, name, sizeof name);
        CHECK_EQ(evs_close(st, &err), 0);
        (void)snprintf(path, sizeof path, "%s/%.*sidx", dir, (int)strlen(name) - 5, name);
        if (i == 0)
            CHECK_EQ(unlink(path), 0);
        else if (i == 2)
            CHECK_EQ(truncate(path, 4096 + 32), 0);
    }
    CHECK_EQ(evs_open(dir, NULL, &st, &err), 0);
    model_check_all(st, &random);
    CHECK_EQ(evs_end(st), 2000);
    CHECK_EQ(evs_close(st, &err), 0);
    CHECK_EQ(evs_verify(dir, count_finding, &findings, &err), 0);
    model_remove(dir);
}

static void test_a_failed_checkpoint_leaves_no_file(void)
{
    char *dir = model_dir(), path[200];
    struct evs_store *st;
    struct evs_error err;
    uint64_t random = seed + 6;
    struct rlimit old, small;

    (void)snprintf(path, sizeof path, "%s/index.tmp", dir);
    CHECK_EQ(evs_open(dir, NULL, &st, &err), 0);
    fill(st, 20, &random);
    CHECK_EQ(evs_sync(st, evs_end(st), &err), 0);
    (void)signal(SIGXFSZ, SIG_IGN);
    CHECK_EQ(getrlimit(RLIMIT_FSIZE, &old), 0);
    small = (struct rlimit){.rlim_cur = 5000, .rlim_max = old.rlim_max};
    CHECK_EQ(setrlimit(RLIMIT_FSIZE, &small), 0);
    CHECK(evs_checkpoint(st, &err) < 0);
    CHECK_EQ(setrlimit(RLIMIT_FSIZE, &old), 0);
    CHECK_EQ(access(path, F_OK), -1);
    CHECK_EQ(evs_checkpoint(st, &err), 0);
    CHECK_EQ(evs_close(st, &err), 0);
    model_remove(dir);
}

static void test_owners_are_kept(void)
{
    char *dir = model_dir();
    struct evs_store *st;
    struct evs_error err;
    const struct evs_dir acme = {EVS_DIR_ENTITY, "acme", 4},
                         below = {EVS_DIR_ENTITY, "acme/1/2", 8};
    struct evs_owner o = {5, 6, 0700}, got;
    bool own;

    CHECK_EQ(evs_open(dir, NULL, &st, &err), 0);
    CHECK_EQ(evs_set_owner(st, &acme, &o, &err), 0);
    CHECK(evs_find_entity(st, "acme", 4));
    CHECK_EQ(evs_next_child(st, EVS_ROOT, 0), evs_find_entity(st, "acme", 4));
    CHECK(put(st, "{\"entity\":\"acme/1\",\"type\":\"t\"}\n") == -EACCES); /* uid 7 */
    CHECK_EQ(evs_end(st), 0);
    struct evs_writer *w;
    CHECK_EQ(evs_writer_new(st, &(struct evs_target){.kind = EVS_ALL}, NULL, &w, &err), 0);
    static const char text[] = "{\"entity\":\"acme/1\",\"type\":\"t\"}\n";
    CHECK_FAIL(evs_write(w, text, strlen(text), &(struct evs_cred){.uid = 7}, &err), err, DENIED);
    CHECK_EQ(evs_write(w, text, strlen(text), &(struct evs_cred){.uid = 5}, &err), strlen(text));
    evs_writer_free(w);
    CHECK_EQ(evs_border_mask(st, &(struct evs_dir){.kind = EVS_DIR_ROOT}),
             getuid() == 0 ? 0400 : 0);
    CHECK_EQ(evs_close(st, &err), 0);

    CHECK_EQ(evs_open(dir, NULL, &st, &err), 0);
    evs_get_owner(st, &below, &got, &own);
    CHECK_EQ(got.uid, 5);
    CHECK_EQ(got.mode, 0700);
    CHECK(!own);
    evs_entity_owner(st, evs_find_entity(st, "acme", 4), &got, &own);
    CHECK(own);
    CHECK_EQ(got.gid, 6);
    CHECK_FAIL(evs_clear_owner(st, &acme, &err), err, NOT_EMPTY);
    CHECK_EQ(evs_set_owner(st, &(struct evs_dir){EVS_DIR_ENTITY, "empty", 5}, &o, &err), 0);
    CHECK_EQ(evs_clear_owner(st, &(struct evs_dir){EVS_DIR_ENTITY, "empty", 5}, &err), 0);
    CHECK_FAIL(evs_clear_owner(st, &(struct evs_dir){EVS_DIR_ENTITY, "empty", 5}, &err), err,
               NO_SUCH);
    /* a way to a directory with an owner is listed, as long as there is one */
    const struct evs_dir deep = {EVS_DIR_ENTITY, "p/q/r", 5};
    CHECK_EQ(evs_set_owner(st, &deep, &o, &err), 0);
    CHECK(evs_find_entity(st, "p", 1) && evs_find_entity(st, "p/q", 3));
    CHECK_EQ(evs_next_child(st, evs_find_entity(st, "p", 1), 0), evs_find_entity(st, "p/q", 3));
    CHECK_EQ(evs_clear_owner(st, &deep, &err), 0);
    CHECK(!evs_find_entity(st, "p", 1) && !evs_find_entity(st, "p/q", 3));
    CHECK_EQ(evs_close(st, &err), 0);
    model_remove(dir);
}

static void test_a_lost_meta_db_is_said(void)
{
    char *dir = model_dir(), path[200], text[400];
    const struct evs_dir acme = {EVS_DIR_ENTITY, "acme", 4};
    const struct evs_owner o = {5, 6, 0700};
    struct evs_store *st;
    struct evs_error err;
    int findings = 0;

    CHECK_EQ(evs_open(dir, NULL, &st, &err), 0);
    CHECK(put(st, "{\"entity\":\"acme\",\"type\":\"t\"}\n") > 0);
    CHECK_EQ(evs_set_owner(st, &acme, &o, &err), 0);
    CHECK_EQ(evs_health(st, text, sizeof text), 0);
    CHECK_EQ(evs_close(st, &err), 0);
    (void)snprintf(path, sizeof path, "%s/meta.db", dir);
    CHECK_EQ(unlink(path), 0);
    CHECK_EQ(evs_verify(dir, count_finding, &findings, &err), 1);
    for (int i = 0; i < 2; i++) { /* not only once */
        CHECK_EQ(evs_open(dir, NULL, &st, &err), 0);
        CHECK_EQ(evs_health(st, text, sizeof text), 1);
        CHECK(strstr(text, "meta.db was lost"));
        if (i == 0)
            CHECK_EQ(evs_close(st, &err), 0);
    }
    CHECK_EQ(evs_set_owner(st, &acme, &o, &err), 0);
    CHECK_EQ(evs_health(st, text, sizeof text), 0);
    CHECK_EQ(evs_close(st, &err), 0);
    model_remove(dir);
}

struct seen {
    pthread_mutex_t lock;
    uint8_t below, own, type, children, all;
    evs_entity e;
};

static void on_change(void *arg, const struct evs_change *c, size_t n)
{
    struct seen *s = arg;

    (void)pthread_mutex_lock(&s->lock);
    for (size_t i = 0; i < n; i++) {
        s->below |= c[i].entity == s->e && (c[i].marks & EVS_MARK_BELOW);
        s->own |= c[i].entity == s->e && (c[i].marks & EVS_MARK_OWN);
        s->all |= c[i].entity == EVS_ROOT && (c[i].marks & EVS_MARK_BELOW);
        s->type |= c[i].type && (c[i].marks & EVS_MARK_TYPE);
        s->children |= (c[i].marks & EVS_MARK_CHILDREN) != 0;
    }
    (void)pthread_mutex_unlock(&s->lock);
}

static void test_marks_are_reported_once(void)
{
    struct seen s = {.lock = PTHREAD_MUTEX_INITIALIZER};
    struct evs_store *st;
    struct evs_error err;

    CHECK_EQ(evs_open(":memory:", NULL, &st, &err), 0);
    evs_on_change(st, on_change, &s);
    CHECK(put(st, "{\"entity\":\"a\",\"type\":\"t\"}\n") > 0);
    s.e = evs_find_entity(st, "a", 1);
    CHECK(!s.below && !s.all);
    evs_mark_entity(st, s.e, EVS_MARK_BELOW | EVS_MARK_OWN | EVS_MARK_CHILDREN);
    evs_mark_entity(st, EVS_ROOT, EVS_MARK_BELOW);
    evs_mark_type(st, 1);
    CHECK(put(st, "{\"entity\":\"a/b\",\"type\":\"u\"}\n") > 0);
    CHECK(s.below && s.all && s.children && !s.own && !s.type);
    s.below = s.all = s.children = 0;
    CHECK(put(st, "{\"entity\":\"a\",\"type\":\"t\"}\n") > 0);
    CHECK(s.own && s.type && !s.below && !s.all && !s.children);
    CHECK_EQ(st->ix->marked, 0);
    CHECK_EQ(evs_close(st, &err), 0);
}

static void test_exact_import_is_exact(void)
{
    struct evs_store *a, *b;
    struct evs_error err;
    uint64_t random = seed + 4;
    size_t n, m;

    CHECK_EQ(evs_open(":memory:", NULL, &a, &err), 0);
    CHECK_EQ(evs_open(":memory:", NULL, &b, &err), 0);
    fill(a, 500, &random);
    char *x = model_read(a, &(struct evs_view){.kind = EVS_ALL}, &n);
    CHECK_EQ(evs_import_exact(b, x, n, &err), n);
    char *y = model_read(b, &(struct evs_view){.kind = EVS_ALL}, &m);
    CHECK_MEM(y, m, x, n);
    CHECK(evs_import_exact(b, x, n, &err) < 0); /* not empty any more */
    model_check_all(b, &random);
    free(x);
    free(y);
    CHECK_EQ(evs_close(a, &err), 0);
    CHECK_EQ(evs_close(b, &err), 0);
}

/* A write fails half-way and the cut fails as well: what was refused is cut at the end, if that goes. What was
 * acknowledged before is synced all the same. */
static void refused_is_gone_after_close(void)
{
    static const char one[] = "{\"entity\":\"a\",\"type\":\"t\",\"data\":1}\n";
    const struct evs_options o = {.sync_interval_ms = 200};
    char *dir = model_dir(), many[40 * sizeof one] = "";
    struct evs_store *st;
    struct evs_error err;

    for (int i = 0; i < 40; i++)
        strcat(many, one);
    CHECK_EQ(evs_open(dir, &o, &st, &err), 0);
    CHECK(put(st, one) > 0);
    (void)io_fault_set(&(struct io_fault){.n = 1, .short_write = true, .forever = true});
    CHECK_EQ(put(st, many), -EIO);
    (void)io_fault_set(NULL);
    CHECK_EQ(put(st, one), -EROFS);
    CHECK_EQ(evs_end(st), 1);
    for (int i = 0; i < 3000 && evs_durable(st) < 1; i++)
        (void)usleep(10000);
    CHECK_EQ(evs_durable(st), 1);
    CHECK_EQ(evs_close(st, &err), 0);
    CHECK_EQ(evs_open(dir, &o, &st, &err), 0);
    CHECK_EQ(evs_end(st), 1);
    CHECK(put(st, one) > 0);
    CHECK_EQ(evs_close(st, &err), 0);
    CHECK_EQ(evs_verify(dir, NULL, NULL, &err), 0);
    model_remove(dir);
}

int main(void)
{
    seed = check_seed();
    RUN(test_views_in_memory);
    RUN(test_views_survive_reopening);
    RUN(test_what_was_acknowledged_survives_a_kill);
    RUN(test_a_directory_is_moved_aside);
    RUN(test_what_is_stored_is_closed_to_others);
    RUN(test_a_store_is_used_by_one);
    RUN(test_damage_is_found_and_named);
    RUN(test_a_segment_that_is_cut_is_appended_to_no_more);
    RUN(test_a_bad_checkpoint_costs_only_time);
    RUN(test_a_lost_idx_costs_only_time);
    RUN(test_a_failed_checkpoint_leaves_no_file);
    RUN(test_owners_are_kept);
    RUN(test_a_lost_meta_db_is_said);
    RUN(test_marks_are_reported_once);
    RUN(test_exact_import_is_exact);
    RUN(refused_is_gone_after_close);
    CHECK_DONE();
}
