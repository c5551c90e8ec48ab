/* SPDX-License-Identifier: MIT */
/* Backups: equal to the store, incremental, refused where they are another's; and with every file-system call of
 * one failing, or being the last: the store is untouched, the backup is an older one or none, and the next run
 * completes it. */
#include "model.h"
#include "store/io.h"
#include "store/log.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <sys/wait.h>

#define SMALL ((uint64_t)64 << 10)

#ifdef __SANITIZE_THREAD__ /* more of the same shows it nothing new, and takes 4 minutes */
enum { BACKUPS = 4, APPENDS = 300, STEP = 60 };
#else
enum { BACKUPS = 12, APPENDS = 1500, STEP = 6 };
#endif

static uint64_t seed;

static const struct evs_options small = {.segment_bytes = SMALL, .compress = -1};

struct place {
    char *dir, data[300], dest[310], saved[300];
};

/* Where a sync costs nothing, if there is such a place: there are thousands. */
static void place_new(struct place *p)
{
    p->dir = strdup("/dev/shm/evfs-test-XXXXXX");
    if (!mkdtemp(p->dir)) {
        free(p->dir);
        p->dir = model_dir();
    }
    (void)snprintf(p->data, sizeof p->data, "%s/data", p->dir);
    (void)snprintf(p->dest, sizeof p->dest, "%s/dest", p->dir);
    (void)snprintf(p->saved, sizeof p->saved, "%s/saved", p->dir);
}

static void shell(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
static void shell(const char *fmt, ...)
{
    char text[1200];
    va_list ap;

    va_start(ap, fmt);
    (void)vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    CHECK_EQ(system(text), 0);
}

/* n events of some 800 bytes; each fifth is a transaction of three. */
static void fill(struct evs_store *st, int n, const char *tag)
{
    struct evs_writer *w;
    struct evs_error err;
    char pad[700];

    memset(pad, 'x', sizeof pad);
    CHECK_EQ(evs_writer_new(st, &(struct evs_target){.kind = EVS_ALL}, NULL, &w, &err), 0);
    for (int i = 0; i < n; i++) {
        char text[4096];
        char one[1200];
        (void)snprintf(one, sizeof one,
                       "{\"entity\":\"e/%s/%d\",\"type\":\"t%d\",\"data\":\"%.*s\"}", tag, i % 7,
                       i % 3, (int)sizeof pad - i % 90, pad);
        if (i % 5 == 0)
            (void)snprintf(text, sizeof text, "[%s,\n%s,\n%s]\n", one, one, one);
        else
            (void)snprintf(text, sizeof text, "%s\n", one);
        CHECK_EQ(evs_write(w, text, strlen(text), &(struct evs_cred){.uid = 3}, &err),
                 strlen(text));
    }
    evs_writer_free(w);
}

static void grow(const struct place *p, int n, const char *tag)
{
    struct evs_store *st;
    struct evs_error err;

    CHECK_EQ(evs_open(p->data, &small, &st, &err), 0);
    fill(st, n, tag);
    CHECK_EQ(evs_close(st, &err), 0);
}

static void show(void *arg, const char *finding)
{
    (void)arg;
    fprintf(stderr, "# %s\n", finding);
}

static char *bytes_of(const char *dir, size_t *ret_n)
{
    struct evs_store *st;
    struct evs_error err = {0};
    const struct evs_options o = {.read_only = true, .must_exist = true};

    *ret_n = 0;
    if (evs_open(dir, &o, &st, &err) < 0) {
        char text[320];
        fprintf(stderr, "# %s: %s\n", dir, evs_error_format(&err, text, sizeof text));
        return NULL;
    }
    char *p = model_read(st, &(struct evs_view){.kind = EVS_ALL}, ret_n);
    CHECK_EQ(evs_close(st, &err), 0);
    return p;
}

/* dest is the same store, or with prefix an older one, perhaps after a crash: whole events, whole transactions.
 * Returns its bytes. */
static size_t check_copy(const struct place *p, bool prefix)
{
    size_t n, m;
    char *a = bytes_of(p->data, &n), *b = bytes_of(p->dest, &m);
    struct evs_error err;

    CHECK(a && b && m <= n);
    if (!prefix)
        CHECK_EQ(m, n);
    if (a && b && m <= n)
        CHECK(memcmp(a, b, m) == 0);
    if (!prefix) /* after a crash the idx may lack what the next open puts there */
        CHECK_EQ(evs_verify(p->dest, show, NULL, &err), 0);
    free(a);
    free(b);
    return m;
}

static bool is_store(const struct place *p)
{
    char path[320];

    (void)snprintf(path, sizeof path, "%s/log", p->dest);
    return access(path, F_OK) == 0;
}

static int backup(const struct place *p, struct evs_backup *ret)
{
    struct evs_error err = {0};
    int r = evs_backup(p->data, p->dest, UINT64_MAX, ret, &err);
    char text[320];

    if (r < 0)
        fprintf(stderr, "# %s\n", evs_error_format(&err, text, sizeof text));
    CHECK_EQ(ret->linked + ret->copied + ret->kept, ret->bytes);
    return r;
}

static void test_first_and_again(void)
{
    struct place p;
    struct evs_backup b = {0};

    place_new(&p);
    grow(&p, 300, "a");
    CHECK_EQ(backup(&p, &b), 0);
    CHECK_EQ(check_copy(&p, false), b.bytes);
    CHECK_EQ(b.events, 300 + 2 * 60);
    CHECK(b.linked > SMALL && b.copied > 0 && b.kept == 0);
    shell("cd %s && ls -a | tr '\\n' ' ' | grep -qx '. .. lock log meta.db '", p.dest);
    shell("test -z \"$(find %s ! -perm 600 -type f)\" -a -z \"$(find %s ! -perm 700 -type d)\"",
          p.dest, p.dest);

    uint64_t bytes = b.bytes;
    CHECK_EQ(backup(&p, &b), 0);
    CHECK_EQ(b.kept, bytes);
    grow(&p, 3, "b");
    CHECK_EQ(backup(&p, &b), 0);
    CHECK_EQ(check_copy(&p, false), b.bytes);
    CHECK(b.kept == bytes && b.linked == 0 && b.copied < 6000);
    bytes = b.bytes;
    grow(&p, 300, "c");
    CHECK_EQ(backup(&p, &b), 0);
    CHECK_EQ(check_copy(&p, false), b.bytes);
    CHECK(b.kept == bytes && b.linked > SMALL && b.copied < 2 * SMALL);

    /* Opened, it has an index; that says nothing about what comes. */
    struct evs_store *st;
    struct evs_error err;
    CHECK_EQ(evs_open(p.dest, &small, &st, &err), 0);
    CHECK_EQ(evs_close(st, &err), 0);
    shell("test -e %s/index.ckpt", p.dest);
    grow(&p, 100, "new");
    CHECK_EQ(backup(&p, &b), 0);
    shell("test ! -e %s/index.ckpt", p.dest);
    CHECK_EQ(check_copy(&p, false), b.bytes);
    model_remove(p.dir);
}

static void test_an_empty_store(void)
{
    struct place p;
    struct evs_backup b = {0};

    place_new(&p);
    grow(&p, 0, "");
    shell("mkdir -p %s/lost+found", p.dest); /* the root of a filesystem is empty, too */
    CHECK_EQ(backup(&p, &b), 0);
    CHECK_EQ(b.events + b.bytes, 0);
    CHECK_EQ(check_copy(&p, false), 0);
    grow(&p, 100, "a");
    CHECK_EQ(backup(&p, &b), 0);
    CHECK_EQ(check_copy(&p, false), b.bytes);
    CHECK_EQ(b.kept, 0);
    model_remove(p.dir);
}

static void test_owners_come_along(void)
{
    const struct evs_dir d = {EVS_DIR_ENTITY, "acme", 4};
    const struct evs_owner acme = {12, 13, 0700}, other = {14, 15, 0711};
    struct evs_owner got;
    struct evs_backup b = {0};
    struct evs_error err;
    struct evs_store *st;
    struct place p;
    bool own;

    place_new(&p);
    CHECK_EQ(evs_open(p.data, &small, &st, &err), 0);
    CHECK_EQ(evs_set_owner(st, &d, &acme, &err), 0);
    fill(st, 10, "a");
    /* Of a store that is open: meta.db is in use, with a -wal. */
    struct evs_stats s;
    evs_stats(st, &s);
    CHECK_EQ(evs_sync(st, evs_end(st), &err), 0);
    CHECK_EQ(evs_backup(p.data, p.dest, s.bytes, &b, &err), 0);
    CHECK_EQ(evs_set_owner(st, &d, &other, &err), 0); /* still works beside it */
    CHECK_EQ(evs_close(st, &err), 0);
    for (int i = 0; i < 2; i++) {
        CHECK_EQ(evs_open(p.dest, &(struct evs_options){.read_only = true}, &st, &err), 0);
        evs_get_owner(st, &d, &got, &own);
        CHECK(own && got.uid == (i ? 14 : 12) && got.gid == (i ? 15 : 13) &&
              got.mode == (i ? 0711 : 0700));
        CHECK_EQ(evs_close(st, &err), 0);
        CHECK_EQ(backup(&p, &b), 0);
    }
    /* What the store has lost, the backup keeps. */
    shell("rm %s/meta.db", p.data);
    for (int i = 0; i < 2; i++) {
        CHECK_EQ(backup(&p, &b), 0);
        CHECK(b.meta_kept);
        grow(&p, 1, "b"); /* makes a new one */
    }
    CHECK_EQ(evs_open(p.dest, &(struct evs_options){.read_only = true}, &st, &err), 0);
    evs_get_owner(st, &d, &got, &own);
    CHECK(own && got.uid == 14);
    CHECK_EQ(evs_close(st, &err), 0);
    model_remove(p.dir);
}

static void refuses(const struct place *p, const char *what)
{
    struct evs_backup b = {.events = 77};
    struct evs_error err = {0};
    int r = evs_backup(p->data, p->dest, UINT64_MAX, &b, &err);

    CHECK_FAIL(r, err, NOT_BACKUP);
    CHECK_EQ(b.events, 77);
    if (!strstr(err.detail, what))
        CHECK_STR(err.detail, what);
}

static void test_what_is_refused(void)
{
    struct evs_backup b = {0};
    struct evs_error err;
    struct evs_store *st;
    struct place p, q;

    place_new(&p);
    grow(&p, 200, "a");
    /* No store, and not empty. */
    shell("mkdir %s && echo hello >%s/letter", p.dest, p.dest);
    refuses(&p, "no store");
    shell("test \"$(ls -a %s | wc -l)\" = 3; rm -r %s", p.dest, p.dest);
    /* It was appended to: one event more than the store has, then another than it has. */
    CHECK_EQ(backup(&p, &b), 0);
    CHECK_EQ(evs_open(p.dest, &small, &st, &err), 0);
    fill(st, 2, "x");
    CHECK_EQ(evs_close(st, &err), 0);
    shell("cp -r %s %s", p.dest, p.saved);
    refuses(&p, "event 281 is in it");
    grow(&p, 200, "a");
    refuses(&p, "event 281 differs");
    shell("diff -r -x lock -x backup.tmp %s %s", p.dest, p.saved);
    /* Another store's. */
    place_new(&q);
    grow(&q, 100, "a");
    (void)snprintf(p.dest, sizeof p.dest, "%s", q.data);
    refuses(&p, "event 1 differs");
    /* In use. */
    CHECK_EQ(evs_open(q.data, NULL, &st, &err), 0);
    CHECK_FAIL(evs_backup(p.data, q.data, UINT64_MAX, &b, &err), err, IN_USE);
    CHECK_STR(err.detail, q.data);
    CHECK_FAIL(evs_backup(q.data, q.dest, UINT64_MAX, &b, &err), err, IN_USE);
    CHECK_STR(err.detail, q.data);
    CHECK_EQ(evs_close(st, &err), 0);
    /* Itself; what is not there; a length that is none. */
    (void)snprintf(p.dest, sizeof p.dest, "%s/.", p.data);
    refuses(&p, "store itself");
    CHECK_FAIL(evs_backup(p.dir, p.dest, UINT64_MAX, &b, &err), err, BAD_FORMAT);
    CHECK_FAIL(evs_backup(p.saved, q.dest, 17, &b, &err), err, DAMAGED);
    CHECK_FAIL(evs_backup(p.saved, q.dest, UINT64_MAX - 1, &b, &err), err, DAMAGED);
    shell("test ! -e %s", q.dest);
    model_remove(p.dir);
    model_remove(q.dir);
}

/* Of a length that splits a transaction. */
static void test_only_whole_transactions(void)
{
    struct evs_backup b = {0};
    struct evs_error err;
    struct place p;
    size_t n;

    place_new(&p);
    grow(&p, 20, "a");
    char *bytes = bytes_of(p.data, &n);
    for (size_t i = 0; i < n; i++) {
        if (bytes[i] != '\n')
            continue;
        struct line l;
        const char *start = i ? memrchr(bytes, '\n', i) : NULL;
        start = start ? start + 1 : bytes;
        CHECK_EQ(line_parse(start, (size_t)(bytes + i + 1 - start), &l, NULL, NULL), 0);
        int r = evs_backup(p.data, p.dest, i + 1, &b, &err);
        if (l.tx)
            CHECK_FAIL(r, err, DAMAGED);
        else
            CHECK_EQ(r, 0);
        if (r == 0)
            CHECK_EQ(check_copy(&p, true), i + 1);
    }
    free(bytes);
    model_remove(p.dir);
}

/* The store dies and comes back: its segments begin elsewhere then. */
static void test_segments_may_differ(void)
{
    struct evs_backup b = {0};
    struct evs_error err;
    struct place p;

    place_new(&p);
    grow(&p, 50, "a");
    for (int round = 0; round < 4; round++) {
        pid_t pid = fork();
        if (pid == 0) {
            struct evs_store *st;
            struct evs_stats s;
            CHECK_EQ(evs_open(p.data,
                              &(struct evs_options){.segment_bytes = SMALL,
                                                    .compress = -1,
                                                    .sync_interval_ms = UINT32_MAX},
                              &st, &err),
                     0);
            fill(st, 20, "k");
            evs_stats(st, &s);
            CHECK_EQ(evs_backup(p.data, p.dest, s.bytes, &b, &err), 0);
            fill(st, 2 + 60 * (round % 2), "l");
            _exit(check_failed ? 1 : 0);
        }
        int status;
        (void)waitpid(pid, &status, 0);
        CHECK_EQ(status, 0);
        uint64_t before = check_copy(&p, true);
        grow(&p, 100, "m"); /* recovers */
        CHECK_EQ(backup(&p, &b), 0);
        CHECK_EQ(b.kept, before);
        CHECK_EQ(check_copy(&p, false), b.bytes);
    }
    model_remove(p.dir);
}

/* Files are shared, and yet two stores: whatever is lost in one. */
static void test_a_shared_file_is_never_written(void)
{
    struct evs_backup b = {0};
    struct evs_error err;
    struct evs_store *st;

    struct place p;

    place_new(&p);
    grow(&p, 300, "a");
    CHECK_EQ(backup(&p, &b), 0);
    CHECK(b.linked > 0);
    shell("cat %s/log/*.jsonl >%s/before; rm %s/log/*.idx", p.data, p.dir, p.dest);
    CHECK_EQ(evs_open(p.dest, &(struct evs_options){.segment_bytes = 4 << 20, .compress = -1}, &st,
                      &err),
             0);
    fill(st, 100, "more");
    CHECK_EQ(evs_close(st, &err), 0);
    CHECK_EQ(evs_verify(p.dest, show, NULL, &err), 0);
    shell("cat %s/log/*.jsonl | cmp - %s/before", p.data, p.dir);
    CHECK_EQ(evs_verify(p.data, show, NULL, &err), 0);
    model_remove(p.dir);
    /* Both have a bad first line in a segment that, without an idx, may be cut there. */
    place_new(&p);
    grow(&p, 300, "a");
    CHECK_EQ(backup(&p, &b), 0);
    shell("f=$(ls %s/log/*.jsonl | tail -n 2 | head -n 1); printf X | dd of=$f bs=1 conv=notrunc "
          "status=none; cat %s/log/*.jsonl >%s/before; rm %s/log/*.idx",
          p.data, p.data, p.dir, p.dest);
    if (evs_open(p.dest, &small, &st, &err) == 0)
        CHECK_EQ(evs_close(st, &err), 0);
    shell("cat %s/log/*.jsonl | cmp - %s/before", p.data, p.dir);
    model_remove(p.dir);
}

static void test_damage_is_not_copied(void)
{
    struct evs_backup b = {0};
    struct evs_error err;
    struct place p;

    place_new(&p);
    grow(&p, 60, "a");
    CHECK_EQ(backup(&p, &b), 0);
    grow(&p, 300, "b");
    shell("f=$(ls %s/log/*.jsonl | tail -n 2 | head -n 1); printf X | dd of=$f bs=1 seek=5000 "
          "conv=notrunc status=none",
          p.data);
    CHECK_FAIL(evs_backup(p.data, p.dest, UINT64_MAX, &b, &err), err, DAMAGED);
    CHECK(strstr(err.detail, ".jsonl") && err.pos != EVS_NOWHERE);
    CHECK_EQ(evs_verify(p.dest, show, NULL, &err), 0); /* up to there it is a backup */
    model_remove(p.dir);
}

/* ---- while somebody appends ---- */

struct appender {
    struct evs_store *st;
    _Atomic bool stop;
};

static void *append_on(void *arg)
{
    struct appender *a = arg;

    for (int i = 0; i < APPENDS && !atomic_load_explicit(&a->stop, memory_order_relaxed); i++)
        fill(a->st, 5, "on");
    return NULL;
}

static void test_of_a_store_that_is_written(void)
{
    struct appender a = {0};
    pthread_t threads[2];
    struct evs_error err = {0};
    struct place p;

    place_new(&p);
    CHECK_EQ(evs_open(p.data, &small, &a.st, &err), 0);
    for (size_t i = 0; i < ARRAY_LEN(threads); i++)
        (void)pthread_create(&threads[i], NULL, append_on, &a);
    for (int i = 0; i < BACKUPS; i++) {
        struct evs_backup b = {0};
        struct evs_stats s;
        evs_stats(a.st, &s);
        CHECK_EQ(evs_sync(a.st, s.events, &err), 0);
        int r = evs_backup(p.data, p.dest, s.bytes, &b, &err);
        char text[320];
        if (r < 0)
            fprintf(stderr, "# %s\n", evs_error_format(&err, text, sizeof text));
        CHECK_EQ(r, 0);
        CHECK_EQ(b.bytes, s.bytes);
        CHECK_EQ(evs_verify(p.dest, show, NULL, &err), 0);
    }
    atomic_store(&a.stop, true);
    for (size_t i = 0; i < ARRAY_LEN(threads); i++)
        (void)pthread_join(threads[i], NULL);
    CHECK_EQ(evs_close(a.st, &err), 0);
    (void)check_copy(&p, true);
    model_remove(p.dir);
}

/* ---- every call ---- */

/* One backup with a fault, in a process of its own. Returns how it ended: 0 done, 1 failed, or IO_FAULT_EXIT.
 * *ret_calls: how many calls it made. */
static int with_fault(const struct place *p, struct io_fault f, uint64_t *ret_calls)
{
    int ends[2], status;

    CHECK_EQ(pipe(ends), 0);
    pid_t pid = fork();
    if (pid == 0) {
        struct evs_backup b;
        struct evs_error err;
        (void)io_fault_set(&f);
        int r = evs_backup(p->data, p->dest, UINT64_MAX, &b, &err);
        uint64_t calls = io_fault_set(NULL);
        _exit(write(ends[1], &calls, sizeof calls) == sizeof calls && r == 0 ? 0 : 1);
    }
    (void)close(ends[1]);
    *ret_calls = 0;
    if (read(ends[0], ret_calls, sizeof *ret_calls) < 0)
        *ret_calls = 0;
    (void)close(ends[0]);
    (void)waitpid(pid, &status, 0);
    CHECK(WIFEXITED(status));
    return WEXITSTATUS(status);
}

/* From saved, or from nothing, for each n of one run's calls; not in a long run for each of STEP, from a random
 * one on. */
static void each_call(const struct place *p, bool saved, struct io_fault f, const char *what)
{
    const char *mode = getenv("EVFS_TEST_MODE");
    uint64_t calls, n, step = mode && strcmp(mode, "long") == 0 ? 1 : STEP;
    struct evs_backup b;
    size_t least = 0;

    shell("rm -rf %s; test -n '%s' || exit 0; cp -r %s %s", p->dest, saved ? "x" : "", p->saved,
          p->dest);
    if (saved)
        least = check_copy(p, true);
    CHECK_EQ(with_fault(p, (struct io_fault){.n = UINT64_MAX}, &calls), 0);
    CHECK(calls > 50);
    for (n = 1 + check_random(&seed) % step; n <= calls; n += step) {
        uint64_t ignored;
        shell("rm -rf %s; test -n '%s' || exit 0; cp -r %s %s", p->dest, saved ? "x" : "", p->saved,
              p->dest);
        f.n = n;
        int before = check_failed, how = with_fault(p, f, &ignored);
        CHECK(how == 0 || how == 1 || how == IO_FAULT_EXIT);
        if (is_store(p)) /* the older one, or more */
            CHECK(check_copy(p, true) >= least);
        else
            CHECK(!saved);
        CHECK_EQ(backup(p, &b), 0);
        CHECK_EQ(check_copy(p, false), b.bytes);
        if (check_failed != before) {
            fprintf(stderr, "# %s at call %" PRIu64 " of %" PRIu64 "\n", what, n, calls);
            break;
        }
    }
    printf("# %s: %" PRIu64 " calls\n", what, calls);
}

static void test_every_call(void)
{
    struct evs_error err;
    struct evs_backup b;
    struct place p;

    place_new(&p);
    grow(&p, 90, "a");
    each_call(&p, false, (struct io_fault){.kill = true}, "first, killed");
    each_call(&p, false, (struct io_fault){.code = ENOSPC, .short_write = true},
              "first, ENOSPC once");
    CHECK_EQ(backup(&p, &b), 0);
    shell("rm -rf %s; cp -r %s %s", p.saved, p.dest, p.saved);
    grow(&p, 90, "b");
    each_call(&p, true, (struct io_fault){.kill = true, .short_write = true}, "second, killed");
    each_call(&p, true, (struct io_fault){.code = ENOSPC, .short_write = true, .forever = true},
              "second, ENOSPC for ever");
    each_call(&p, true, (struct io_fault){0}, "second, EIO once");
    CHECK_EQ(evs_verify(p.data, show, NULL, &err), 0);
    model_remove(p.dir);
}

int main(void)
{
    seed = check_seed();
    RUN(test_first_and_again);
    RUN(test_an_empty_store);
    RUN(test_owners_come_along);
    RUN(test_what_is_refused);
    RUN(test_only_whole_transactions);
    RUN(test_segments_may_differ);
    RUN(test_a_shared_file_is_never_written);
    RUN(test_damage_is_not_copied);
    RUN(test_of_a_store_that_is_written);
    RUN(test_every_call);
    CHECK_DONE();
}
