/* SPDX-License-Identifier: MIT */
/* pack: sealed segments become compressed ones under their readers; a crash or a failure at any call of it loses
 * nothing; what is damaged is named. */
#include "log_world.h"
#include "store/frames.h"

#include <errno.h>
#include <pthread.h>

#define SEGMENT 8192u
#define LINES   140u /* four segments or so */

static struct evs_error err;

/* Every step that there is to do; what was compressed is switched to at once. */
static int pack_all(struct world *w, const _Atomic bool *stop)
{
    int r;

    while ((r = log_pack(w->lg, 1, stop, &err)) > 0)
        log_pack_switch(w->lg);
    return r;
}

/* Closed, all but the last segment sealed and plain. */
static struct world *filled(void)
{
    struct world *w = world_new(SEGMENT);

    world_reopen(w);
    for (uint32_t i = 0; i < LINES / 4; i++)
        world_add(w, 4, i % 3 == 0);
    CHECK_EQ(log_sync(w->lg, LINES, NULL), 0);
    CHECK(log_segments(w->lg) > 3);
    world_close(w);
    return w;
}

static struct world *packed(void)
{
    struct world *w = filled();

    world_reopen(w);
    CHECK_EQ(pack_all(w, NULL), 0);
    world_close(w);
    return w;
}

/* How many names below log/ end so. */
static size_t count_files(const struct world *w, const char *suffix)
{
    struct world_files *f = world_save(w);
    size_t n = 0;

    for (size_t i = 0; i < f->n; i++)
        n += strcmp(f->f[i].name + 20, suffix) == 0;
    world_forget(f);
    return n;
}

/* The second segment's first seq. */
static evs_seq second(struct world *w)
{
    struct log_span span;

    world_reopen(w);
    CHECK_EQ(log_span(w->lg, 1, &span), 0);
    world_close(w);
    return span.end;
}

static void check_read(struct world *w)
{
    uint64_t n = log_bytes(w->lg), at = 0;
    char *all = malloc(n), want[WORLD_LINE_MAX];
    struct log_rec rec;

    CHECK_EQ(log_read(w->lg, 0, all, n, &err), n);
    for (evs_seq seq = 1; seq <= log_end(w->lg); seq++) {
        size_t len = world_line(w, seq, want, &rec);
        CHECK_MEM(all + at, len, want, len);
        at += len;
    }
    free(all);
}

static void sealed_segments_are_packed(void)
{
    struct world *w = filled();
    struct log_packed p;

    world_reopen(w);
    uint64_t segments = log_segments(w->lg);
    CHECK(log_pack_due(w->lg));
    log_pack_stats(w->lg, &p);
    CHECK_EQ(p.segments, 0);
    CHECK_EQ(p.disk_bytes, log_bytes(w->lg));
    CHECK_EQ(pack_all(w, NULL), 0);
    CHECK(!log_pack_due(w->lg));
    CHECK_EQ(count_files(w, ".jsonl.zst"), segments - 1);
    CHECK_EQ(count_files(w, ".jsonl"), 1);
    CHECK_EQ(count_files(w, ".zst.tmp"), 0);
    log_pack_stats(w->lg, &p);
    CHECK_EQ(p.segments, segments - 1);
    CHECK(p.disk_bytes < log_bytes(w->lg) * 2 / 3);
    for (uint32_t i = 0; i < 12; i++) {
        world_check(w, LINES + 4 * i, i == 0);
        check_read(w);
        world_add(w, 4, true);
        world_close(w);
        world_reopen(w);
        CHECK_EQ(pack_all(w, NULL), 0);
    }
    CHECK(log_segments(w->lg) > segments);
    world_close(w);
    w->o.read_only = true;
    world_reopen(w);
    CHECK(!log_pack_due(w->lg));
    world_check(w, LINES + 48, true);
    world_free(w);
}

/* Killed at each call: what is there opens to the same log. */
static void killed_while_packing(void)
{
    struct world *w = filled();
    struct world_files *files = world_save(w);

    for (uint64_t n = 1;; n++) {
        int status = 0;
        world_restore(w, files);
        (void)fflush(NULL);
        pid_t pid = fork();
        if (pid == 0) {
            world_reopen(w);
            io_fault_set(&(struct io_fault){.n = n, .kill = true, .short_write = n % 2});
            _exit(pack_all(w, NULL) == 0 ? 0 : 1);
        }
        CHECK(pid > 0 && waitpid(pid, &status, 0) == pid && WIFEXITED(status));
        world_reopen(w);
        CHECK_EQ(count_files(w, ".zst.tmp"), 0);
        CHECK_EQ(count_files(w, ".jsonl") + count_files(w, ".jsonl.zst"), log_segments(w->lg));
        world_check(w, LINES, n % 2); /* not even a rec was lost */
        world_add(w, 4, true);
        CHECK_EQ(pack_all(w, NULL), 0);
        world_close(w);
        world_reopen(w);
        world_check(w, LINES + 4, false);
        world_crash(w);
        if (WEXITSTATUS(status) != IO_FAULT_EXIT) {
            CHECK_EQ(WEXITSTATUS(status), 0);
            break;
        }
    }
    world_forget(files);
    world_free(w);
}

/* Each call fails, once or from then on: the log goes on, and is whole; a full disk is tried again. */
static void failed_while_packing(int code, bool forever)
{
    struct world *w = filled();
    struct world_files *files = world_save(w);
    struct log_packed p;

    for (uint64_t n = 1;; n++) {
        world_restore(w, files);
        world_reopen(w);
        io_fault_set(
            &(struct io_fault){.n = n, .code = code, .short_write = n % 2, .forever = forever});
        int r = pack_all(w, NULL);
        bool hit = io_fault_set(NULL) >= n;
        if (r < 0 && code == ENOSPC)
            CHECK(hit);
        CHECK(!log_read_only(w->lg));
        world_check(w, LINES, false);
        world_add(w, 4, true);
        log_pack_stats(w->lg, &p);
        if (r < 0 && err.why == EVS_DISK_FULL) /* else the segment is let be */
            CHECK(log_pack_due(w->lg) || p.segments + 2 >= log_segments(w->lg));
        while (pack_all(w, NULL) < 0)
            ;
        world_check(w, LINES + 4, false);
        world_close(w);
        world_reopen(w);
        CHECK_EQ(pack_all(w, NULL), 0);
        CHECK_EQ(count_files(w, ".zst.tmp"), 0);
        CHECK_EQ(count_files(w, ".jsonl"), 1);
        world_check(w, LINES + 4, false);
        world_crash(w);
        if (!hit)
            break;
    }
    world_forget(files);
    world_free(w);
}

static void failing_calls(void)
{
    failed_while_packing(EIO, false);
    failed_while_packing(ENOSPC, false);
    failed_while_packing(ENOSPC, true);
}

/* Both forms: the compressed one is the segment; unless its table (1) or a frame (2) is bad, then the plain one is. */
static void both_forms(void)
{
    struct world *w = filled();
    struct world_files *plain = world_save(w);

    world_reopen(w);
    CHECK_EQ(pack_all(w, NULL), 0);
    world_close(w);
    struct world_files *zst = world_save(w);
    for (int bad = 0; bad < 3; bad++) {
        world_restore(w, plain);
        for (size_t i = 0; i < zst->n; i++) {
            evs_seq first = strtoull(zst->f[i].name, NULL, 10);
            if (strcmp(zst->f[i].name + 20, ".jsonl.zst") != 0)
                continue;
            int fd = world_file(w, first, ".jsonl.zst", O_RDWR | O_CREAT);
            CHECK_EQ(write(fd, zst->f[i].p, zst->f[i].len), zst->f[i].len);
            (void)close(fd);
            if (bad)
                world_flip(w, first, ".jsonl.zst", bad == 1 ? (int64_t)zst->f[i].len - 2 : 100);
        }
        w->o.read_only = true;
        world_reopen(w);
        world_check(w, LINES, false);
        world_crash(w);
        w->o.read_only = false;
        world_reopen(w);
        world_check(w, LINES, false);
        CHECK_EQ(count_files(w, ".jsonl"), bad ? log_segments(w->lg) : 1);
        CHECK_EQ(log_pack_due(w->lg), bad > 0);
        CHECK_EQ(pack_all(w, NULL), 0);
        world_close(w);
        world_reopen(w);
        world_check(w, LINES, false);
        CHECK_EQ(count_files(w, ".jsonl"), 1);
        world_crash(w);
    }
    world_forget(plain);
    world_forget(zst);
    world_free(w);
}

/* A lost idx, or its header, costs time: also that of the last segment but the open one. */
static void lost_idx_is_made_again(void)
{
    for (int i = 0; i < 4; i++) {
        struct world *w = packed();
        evs_seq first = i % 2 ? second(w) : 1;
        if (i < 2)
            world_unlink(w, first, ".idx");
        else
            world_flip(w, first, ".idx", 30);
        w->o.read_only = true;
        world_reopen(w);
        CHECK_EQ(log_recs_end(w->lg), first - 1);
        world_check(w, LINES, true);
        world_crash(w);
        w->o.read_only = false;
        world_reopen(w);
        world_check(w, LINES, true);
        world_close(w);
        world_reopen(w);
        CHECK_EQ(log_recs_end(w->lg), LINES);
        world_check(w, LINES, false);
        world_free(w);
    }
}

static int ignore(void *arg, const struct log_walked *lines, size_t n)
{
    (void)arg;
    (void)lines;
    (void)n;
    return 0;
}

/* Any byte of a file: the log is not opened, or says where it is wrong, or is right all the same. */
static void damage_is_named(void)
{
    struct world *w = packed();
    evs_seq first = second(w);
    int64_t size = world_size(w, first, ".jsonl.zst");
    char buf[4096], name[64];

    (void)snprintf(name, sizeof name, "log/%020" PRIu64 ".jsonl.zst", first);
    for (int64_t at = 0; at < size; at += at < 30 || at > size - 40 ? 1 : 61) {
        world_flip(w, first, ".jsonl.zst", at);
        int r = world_open(w, &err);
        if (r == 0) {
            struct log_span span;
            r = log_walk(w->lg, 1, ignore, NULL, &err);
            CHECK_EQ(log_span(w->lg, first, &span), 0);
            ssize_t n = log_read(w->lg, span.before, buf, sizeof buf, r < 0 ? NULL : &err);
            CHECK_EQ(n, r < 0 ? -EIO : (ssize_t)sizeof buf);
            if (r == 0)
                world_check(w, LINES, false);
            world_crash(w);
        }
        if (r < 0) {
            CHECK_FAIL(r, err, DAMAGED);
            CHECK(strncmp(err.detail, name, strlen(name)) == 0);
            CHECK(err.pos < (uint64_t)size || strstr(err.detail, "decompressed"));
        }
        world_flip(w, first, ".jsonl.zst", at);
    }
    world_reopen(w);
    world_check(w, LINES, false);
    world_free(w);
}

/* A whole file with fewer lines than the idx says. */
static void wrong_size_is_damage(void)
{
    struct world *w = packed();
    struct world_files *f = world_save(w);
    evs_seq next = second(w);

    for (size_t i = 0; i < f->n; i++)
        if (strcmp(f->f[i].name + 20, ".jsonl.zst") == 0 &&
            strtoull(f->f[i].name, NULL, 10) == next) {
            int fd = world_file(w, 1, ".jsonl.zst", O_RDWR | O_TRUNC);
            CHECK_EQ(write(fd, f->f[i].p, f->f[i].len), f->f[i].len);
            (void)close(fd);
        }
    CHECK_FAIL(world_open(w, &err), err, DAMAGED);
    world_unlink(w, 1, ".idx"); /* nor does it begin with event 1 */
    CHECK_FAIL(world_open(w, &err), err, DAMAGED);
    world_forget(f);
    world_free(w);
}

static void stopped_at_once(void)
{
    struct world *w = filled();
    _Atomic bool stop = true;

    world_reopen(w);
    CHECK_EQ(pack_all(w, &stop), -ECANCELED);
    CHECK_EQ(count_files(w, ".zst.tmp") + count_files(w, ".jsonl.zst"), 0);
    CHECK(log_pack_due(w->lg));
    CHECK_EQ(pack_all(w, NULL), 0);
    CHECK_EQ(count_files(w, ".jsonl"), 1);
    world_check(w, LINES, false);
    world_free(w);
}

/* While somebody looks at the plain file it stays; afterwards it goes. */
static void a_pin_keeps_the_plain_form(void)
{
    struct world *w = filled();
    struct log_pin pin = {0}, other = {0};
    struct slice line, again;
    char want[WORLD_LINE_MAX];
    struct log_rec rec;

    world_reopen(w);
    size_t n = world_line(w, 1, want, &rec);
    CHECK_EQ(log_line(w->lg, 1, &pin, &line, NULL), 0);
    CHECK_EQ(pack_all(w, NULL), 0);
    CHECK_EQ(world_size(w, 1, ".jsonl.zst") > 0, true);
    CHECK_EQ(world_size(w, 1, ".jsonl") > 0, true);
    CHECK_MEM(line.p, line.n, want, n);
    CHECK_EQ(log_line(w->lg, 1, &other, &again, NULL), 0);
    log_unpin(&pin);
    log_pack_switch(w->lg);
    CHECK_EQ(pack_all(w, NULL), 0);
    CHECK_EQ(world_size(w, 1, ".jsonl") > 0, true);
    log_unpin(&other);
    log_pack_switch(w->lg);
    CHECK_EQ(pack_all(w, NULL), 0);
    CHECK_EQ(world_size(w, 1, ".jsonl"), -1);
    CHECK_EQ(log_line(w->lg, 1, &pin, &again, NULL), 0);
    CHECK(again.p == line.p); /* the address stays */
    CHECK_MEM(again.p, again.n, want, n);
    log_unpin(&pin);
    world_free(w);
}

struct crowd {
    struct world *w;
    _Atomic bool stop;
    _Atomic uint64_t reads;
    uint64_t seed;
};

static void *read_on(void *arg)
{
    struct crowd *c = arg;
    uint64_t seed = c->seed;
    char want[WORLD_LINE_MAX];
    struct log_rec rec;

    while (!atomic_load_explicit(&c->stop, memory_order_relaxed)) {
        struct log_pin pin = {0};
        struct slice line;
        for (int i = 0; i < 20; i++) {
            evs_seq seq = 1 + check_random(&seed) % LINES;
            size_t n = world_line(c->w, seq, want, &rec);
            CHECK_EQ(log_line(c->w->lg, seq, &pin, &line, NULL), 0);
            CHECK_MEM(line.p, line.n, want, n);
        }
        log_unpin(&pin);
        (void)atomic_fetch_add_explicit(&c->reads, 20, memory_order_relaxed);
        (void)sched_yield();
    }
    return NULL;
}

/* Readers all through packing and switching: every byte right. */
static void readers_notice_nothing(void)
{
    uint64_t seed = check_seed();

    for (int round = 0; round < 6; round++) {
        struct crowd c = {.w = filled(), .seed = check_random(&seed)};
        pthread_t t[3];
        int r;
        world_reopen(c.w);
        for (size_t i = 0; i < ARRAY_LEN(t); i++)
            CHECK_EQ(pthread_create(&t[i], NULL, read_on, &c), 0);
        do {
            r = log_pack(c.w->lg, 1, NULL, &err);
            CHECK(r >= 0);
            log_pack_switch(c.w->lg);
            (void)sched_yield();
        } while (r > 0 || log_pack_due(c.w->lg));
        uint64_t reads = atomic_load_explicit(&c.reads, memory_order_relaxed);
        while (atomic_load_explicit(&c.reads, memory_order_relaxed) < reads + 200)
            (void)sched_yield();
        atomic_store_explicit(&c.stop, true, memory_order_relaxed);
        for (size_t i = 0; i < ARRAY_LEN(t); i++)
            (void)pthread_join(t[i], NULL);
        CHECK_EQ(count_files(c.w, ".jsonl"), 1);
        world_check(c.w, LINES, false);
        world_free(c.w);
    }
}

int main(void)
{
    RUN(sealed_segments_are_packed);
    RUN(killed_while_packing);
    RUN(failing_calls);
    RUN(both_forms);
    RUN(lost_idx_is_made_again);
    RUN(damage_is_named);
    RUN(wrong_size_is_damage);
    RUN(stopped_at_once);
    RUN(a_pin_keeps_the_plain_form);
    RUN(readers_notice_nothing);
    CHECK_DONE();
}
