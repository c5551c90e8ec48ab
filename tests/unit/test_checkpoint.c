/* SPDX-License-Identifier: MIT */
/* The index as a file: there and back; damage to any part of it; one of another log; one that is written
 * while others append, and the death of the process. */
#include "model.h"
#include "store/checkpoint.h"
#include "store/ingest.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#define HEADER_BYTES 136

static struct evs_error err;
static char *dir;
static int dirfd_;

static void enter(void)
{
    dir = model_dir();
    dirfd_ = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    CHECK(dirfd_ >= 0);
}

static void leave(void)
{
    (void)close(dirfd_);
    model_remove(dir);
}

static struct evs_store *open_store(const struct evs_options *o)
{
    struct evs_store *st = NULL;
    char text[300];

    if (evs_open(dir, o, &st, &err) < 0) {
        fprintf(stderr, "open: %s\n", evs_error_format(&err, text, sizeof text));
        exit(1);
    }
    return st;
}

static void fill(struct evs_store *st, int n)
{
    char text[300];
    struct evs_writer *w;

    CHECK_EQ(evs_writer_new(st, &(struct evs_target){.kind = EVS_ALL}, NULL, &w, &err), 0);
    for (int i = 0; i < n; i++) {
        int len = snprintf(text, sizeof text,
                           "{\"entity\":\"%s%d\",\"type\":\"t%d\",\"id\":\"%llu\",\"data\":%d}\n",
                           i % 3 ? "" : "big/", i % 3 == 1 ? 0 : i % 40, i % 4,
                           (unsigned long long)evs_end(st), i);
        CHECK_EQ(evs_write(w, text, (size_t)len, &(struct evs_cred){.uid = 3}, &err), len);
    }
    evs_writer_free(w);
}

static UNANALYSED void write_it(struct index *ix, const struct checkpoint_mark *m)
{
    uint64_t bytes = 0;
    struct stat s;

    CHECK_EQ(checkpoint_write(dirfd_, ix, m, &bytes), 0);
    CHECK_EQ(fstatat(dirfd_, CHECKPOINT_TMP, &s, 0), 0);
    CHECK_EQ(checkpoint_adopt(dirfd_, &err), 0);
    CHECK(fstatat(dirfd_, CHECKPOINT_TMP, &s, 0) < 0);
}

static UNANALYSED int read_it(struct index **ret, struct checkpoint_mark *m)
{
    uint64_t bytes;

    *ret = NULL;
    CHECK_EQ(index_new(ret, &err), 0);
    return checkpoint_read(dirfd_, *ret, m, &bytes, &err);
}

static bool same_region(const struct region *a, const struct region *b)
{
    return a->used == b->used && memcmp(a->base, b->base, a->used) == 0;
}

static void test_there_and_back(void)
{
    struct checkpoint_mark m = {.line_crc = 0x12345678}, got;
    struct evs_store *st;
    struct index *ix;

    enter();
    CHECK_EQ(read_it(&ix, &got), -ENOENT);
    index_free(ix);
    for (int n = 0; n <= 3000; n += 1500) { /* an empty index as well */
        CHECK_EQ(evs_open(":memory:", NULL, &st, &err), 0);
        fill(st, n);
        m.seq = evs_end(st);
        write_it(st->ix, &m);
        CHECK_EQ(read_it(&ix, &got), 0);
        CHECK_EQ(got.seq, m.seq);
        CHECK_EQ(got.line_crc, m.line_crc);
        CHECK(same_region(&ix->a.names, &st->ix->a.names));
        CHECK(same_region(&ix->a.sets, &st->ix->a.sets));
        CHECK(same_region(&ix->a.chunks, &st->ix->a.chunks));
        CHECK(same_region(&ix->types, &st->ix->types));
        CHECK_EQ(ix->n_types, st->ix->n_types);
        CHECK_EQ(ix->n_entities, st->ix->n_entities);
        CHECK_EQ(ix->names.n, st->ix->names.n);
        CHECK_EQ(ix->ids.n, n);
        CHECK_EQ(index_check(ix, st->lg, NULL, NULL), 0);
        struct slice name = {"big/3", 5};
        uint64_t hash = index_entity_hash(name);
        CHECK_EQ(index_find_entity(ix, name, hash), index_find_entity(st->ix, name, hash));
        index_free(ix);
        CHECK_EQ(evs_close(st, &err), 0);
    }
    leave();
}

static void flip(off_t at)
{
    int fd = openat(dirfd_, CHECKPOINT_FILE, O_RDWR | O_CLOEXEC);
    char c = 0;

    CHECK_EQ(pread(fd, &c, 1, at), 1);
    c ^= 0x20;
    CHECK_EQ(pwrite(fd, &c, 1, at), 1);
    (void)close(fd);
}

static void is_refused(void)
{
    struct checkpoint_mark m = {.seq = 7};
    struct index *ix;

    CHECK_FAIL(read_it(&ix, &m), err, DAMAGED);
    CHECK_STR(err.detail, CHECKPOINT_FILE);
    CHECK_EQ(m.seq, 7);
    index_free(ix);
}

static off_t write_small(void)
{
    const struct checkpoint_mark m = {.seq = 300, .line_crc = 1};
    struct evs_store *st;
    struct stat s;

    CHECK_EQ(evs_open(":memory:", NULL, &st, &err), 0);
    fill(st, 300);
    write_it(st->ix, &m);
    CHECK_EQ(evs_close(st, &err), 0);
    CHECK_EQ(fstatat(dirfd_, CHECKPOINT_FILE, &s, 0), 0);
    return s.st_size;
}

static UNANALYSED void test_a_flipped_bit_is_found(void)
{
    struct checkpoint_mark m;
    struct index *ix;
    uint64_t bytes;

    enter();
    off_t size = write_small();
    CHECK_EQ(index_new(&ix, &err), 0); /* one is enough: nothing is put into it */
    for (off_t at = 0; at < HEADER_BYTES; at++) {
        flip(at);
        CHECK_FAIL(checkpoint_read(dirfd_, ix, &m, &bytes, &err), err, DAMAGED);
        CHECK_EQ(err.pos, 0);
        flip(at);
    }
    CHECK_EQ(ix->names.n, 0);
    index_free(ix);
    for (off_t at = 4096; at < size; at += 1009) {
        flip(at);
        int r = read_it(&ix, &m);
        index_free(ix);
        char c = 1; /* only between a block's end and the next page nothing is checked: zeros */
        if (r == 0) {
            int fd = openat(dirfd_, CHECKPOINT_FILE, O_RDONLY | O_CLOEXEC);
            CHECK_EQ(pread(fd, &c, 1, at), 1);
            (void)close(fd);
            CHECK_EQ(c, 0x20);
        } else {
            CHECK_FAIL(r, err, DAMAGED);
        }
        flip(at);
    }
    CHECK_EQ(read_it(&ix, &m), 0);
    index_free(ix);
    leave();
}

static void test_a_short_file_is_refused(void)
{
    enter();
    off_t size = write_small();
    CHECK(size > 6 * 4096); /* a page each */
    for (off_t n = (size - 1) / 4096 * 4096; n >= 0; n -= 4096) {
        int fd = openat(dirfd_, CHECKPOINT_FILE, O_RDWR | O_CLOEXEC);
        CHECK_EQ(ftruncate(fd, n + 1), 0);
        is_refused();
        CHECK_EQ(ftruncate(fd, n), 0);
        is_refused();
        (void)close(fd);
    }
    leave();
}

/* What the log does not say must not be in it: who watches, and who owns. */
static void test_marks_and_owners_are_not_kept(void)
{
    const struct evs_dir d = {EVS_DIR_ENTITY, "owned", 5};
    const uint8_t all = EVS_MARK_BELOW | EVS_MARK_OWN | EVS_MARK_CHILDREN;
    struct checkpoint_mark m;
    struct index *ix;

    enter();
    struct evs_store *st = open_store(NULL);
    fill(st, 50);
    CHECK_EQ(evs_set_owner(st, &d, &(struct evs_owner){1, 1, 0755}, &err), 0);
    evs_entity big = evs_find_entity(st, "big", 3), owned = evs_find_entity(st, "owned", 5);
    evs_mark_entity(st, big, all);
    evs_mark_type(st, 1);
    CHECK_EQ(evs_checkpoint(st, &err), 0);
    CHECK_EQ(index_set(st->ix, big)->marks, all); /* the store at work is not touched */
    CHECK(index_set(st->ix, owned)->flags & SET_OWNED);
    CHECK_EQ(read_it(&ix, &m), 0);
    CHECK_EQ(m.seq, 50);
    CHECK_EQ(index_set(ix, big)->marks, 0);
    CHECK_EQ(index_type_set(ix, 1)->marks, 0);
    CHECK_EQ(index_set(ix, owned)->flags & SET_OWNED, 0);
    index_free(ix);

    CHECK_EQ(evs_clear_owner(st, &d, &err), 0); /* no event: the checkpoint stays as it is */
    CHECK_EQ(evs_close(st, &err), 0);
    st = open_store(NULL);
    for (evs_entity e = 0; (e = evs_next_child(st, EVS_ROOT, e));)
        CHECK(e != owned);
    evs_mark_entity(st, big, EVS_MARK_BELOW); /* and what is marked now is reported */
    CHECK_EQ(st->ix->marked, 1);
    fill(st, 10);
    evs_mark_entity(st, big, all);
    CHECK_EQ(evs_close(st, &err), 0);
    CHECK_EQ(read_it(&ix, &m), 0);
    CHECK_EQ(m.seq, 60);
    CHECK_EQ(index_set(ix, big)->marks, 0);
    index_free(ix);
    leave();
}

static void test_one_of_another_log_is_ignored(void)
{
    char *other;
    char from[300], to[300];
    struct evs_store *st;
    uint64_t random = 1;

    enter();
    st = open_store(NULL);
    fill(st, 200);
    CHECK_EQ(evs_close(st, &err), 0);
    other = dir;
    int other_fd = dirfd_;
    for (int n = 200; n >= 100; n -= 100) { /* as long, and shorter than the checkpoint says */
        enter();
        st = open_store(NULL);
        CHECK(put(st, "{\"entity\":\"first\",\"type\":\"here\"}\n") > 0);
        fill(st, n - 1);
        CHECK_EQ(evs_close(st, &err), 0);
        (void)snprintf(from, sizeof from, "%s/%s", other, CHECKPOINT_FILE);
        (void)snprintf(to, sizeof to, "%s/%s", dir, CHECKPOINT_FILE);
        CHECK_EQ(unlink(to), 0);
        CHECK_EQ(link(from, to), 0);
        st = open_store(&(struct evs_options){.read_only = true});
        CHECK_EQ(evs_find_entity(st, "first", 5), 2);
        model_check_all(st, &random);
        CHECK_EQ(evs_close(st, &err), 0);
        CHECK_EQ(evs_verify(dir, NULL, NULL, &err), 1);
        if (n < 200) { /* what it tells of the events behind is told of another log */
            struct evs_repaired done;
            CHECK_EQ(evs_repair(dir, &done, NULL, NULL, &err), 0);
            CHECK_EQ(done.found, 1);
            CHECK_EQ(done.lost, 0);
            CHECK_EQ(unlink(to), 0);
            CHECK_EQ(link(from, to), 0);
        }
        st = open_store(NULL);
        CHECK_EQ(evs_end(st), n);
        model_check_all(st, &random);
        CHECK_EQ(index_check(st->ix, st->lg, NULL, NULL), 0);
        CHECK_EQ(evs_close(st, &err), 0); /* writes its own */
        CHECK_EQ(evs_verify(dir, NULL, NULL, &err), 0);
        leave();
    }
    dir = other;
    dirfd_ = other_fd;
    leave();
}

/* Of this log, which has lost its end: rebuilt only if somebody says so. */
static void test_one_that_ends_behind_the_log(void)
{
    struct evs_store *st, *none = NULL;
    char command[900];

    enter();
    st = open_store(NULL);
    fill(st, 100);
    CHECK_EQ(evs_close(st, &err), 0);
    (void)snprintf(command, sizeof command, "cp -a '%s/log' '%s/log.was'", dir, dir);
    CHECK_EQ(system(command), 0);
    st = open_store(NULL);
    fill(st, 100);
    CHECK_EQ(evs_close(st, &err), 0);
    (void)snprintf(command, sizeof command, "cd '%s' && rm -r log && mv log.was log", dir);
    CHECK_EQ(system(command), 0);
    CHECK_FAIL(evs_open(dir, NULL, &none, &err), err, DAMAGED);
    CHECK_STR(err.detail, "log: ends with event 100 of 200: run 'evfs verify --repair', or "
                          "'evfs rebuild' to give up the others");
    CHECK(evs_verify(dir, NULL, NULL, &err) > 0);
    CHECK_EQ(evs_rebuild(dir, NULL, NULL, &err), 0);
    st = open_store(NULL);
    CHECK_EQ(evs_end(st), 100);
    CHECK_EQ(evs_close(st, &err), 0);
    CHECK_EQ(evs_verify(dir, NULL, NULL, &err), 0);
    leave();
}

/* ---- while others append ---- */

enum { WRITERS = 4, LOOPS = 1200, CHECKPOINTS = 6 };

static _Atomic bool stop_writing;

static void *append(void *arg)
{
    struct evs_store *st = arg;
    struct evs_writer *w = NULL;
    struct evs_error why;
    char text[400];

    if (evs_writer_new(st, &(struct evs_target){.kind = EVS_ALL}, NULL, &w, &why) < 0)
        abort();
    for (int i = 0; i < LOOPS && !atomic_load_explicit(&stop_writing, memory_order_relaxed); i++) {
        /* pairs that stay together, or a checkpoint has seen half of them */
        int n = snprintf(text, sizeof text,
                         "[{\"entity\":\"x/%d\",\"type\":\"t%d\",\"data\":%d},"
                         "{\"entity\":\"y%d\",\"type\":\"u\"}]\n",
                         i % 50, i % 3, i, i % 1000);
        if (evs_write(w, text, (size_t)n, &(struct evs_cred){.uid = 3}, &why) != n)
            abort();
    }
    evs_writer_free(w);
    return NULL;
}

/* Ends at once, without a clean end; its exit code says whether all went well. */
static void append_and_die(int round)
{
    pthread_t th[WRITERS];
    struct evs_store *st = open_store(&(struct evs_options){.segment_bytes = 256 << 10});
    evs_seq before = evs_end(st);

    for (int i = 0; i < WRITERS; i++)
        CHECK_EQ(pthread_create(&th[i], NULL, append, st), 0);
    for (int i = 0; i < CHECKPOINTS; i++) {
        CHECK_EQ(evs_checkpoint(st, &err), 0);
        struct checkpoint_mark m;
        struct index *ix;
        CHECK_EQ(read_it(&ix, &m), 0);
        CHECK(m.seq >= before && m.seq <= evs_end(st));
        CHECK_EQ(m.seq % 2, 0); /* never within a transaction */
        struct checkpoint_mark is = {0};
        CHECK_EQ(checkpoint_mark_at(st->lg, m.seq, &is, NULL), 0);
        CHECK(is.line_crc == m.line_crc);
        CHECK_EQ(index_check(ix, st->lg, NULL, NULL), 0);
        index_free(ix);
        before = m.seq;
    }
    if (round % 2) { /* or in the middle of it */
        for (int i = 0; i < WRITERS; i++)
            (void)pthread_join(th[i], NULL);
        CHECK_EQ(evs_end(st) % 2, 0);
    }
    for (;;) /* nothing that runs at an end, a sanitizer's neither */
        (void)syscall(SYS_exit_group, check_failed ? 1 : 0);
}

static void test_a_checkpoint_is_written_while_others_append(void)
{
    uint64_t random = 3;
    evs_seq end = 0;

    enter();
    for (int round = 0; round < 4; round++) {
        int status = 0;
        pid_t pid = fork();
        if (pid == 0)
            append_and_die(round);
        CHECK_EQ(waitpid(pid, &status, 0), pid);
        CHECK_EQ(status, 0);
        struct evs_store *st = open_store(NULL);
        CHECK(st->checkpoint_seq > end);
        CHECK(round % 2 == 0 || evs_end(st) == end + 2ull * WRITERS * LOOPS);
        CHECK_EQ(evs_end(st) % 2, 0);
        CHECK_EQ(index_check(st->ix, st->lg, NULL, NULL), 0);
        end = evs_end(st);
        if (round == 3)
            model_check_all(st, &random);
        CHECK_EQ(evs_close(st, &err), 0);
        CHECK_EQ(evs_verify(dir, NULL, NULL, &err), 0);
    }
    leave();
}

int main(void)
{
    RUN(test_there_and_back);
    RUN(test_a_flipped_bit_is_found);
    RUN(test_a_short_file_is_refused);
    RUN(test_marks_and_owners_are_not_kept);
    RUN(test_one_of_another_log_is_ignored);
    RUN(test_one_that_ends_behind_the_log);
    RUN(test_a_checkpoint_is_written_while_others_append);
    CHECK_DONE();
}
