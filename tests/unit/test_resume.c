/* SPDX-License-Identifier: MIT */
/* What log_open() makes of a log left behind: torn, cut, damaged, half recovered; a reader changes no byte of it. */
#include "log_world.h"

#include <errno.h>

/* A log of `durable` lines that were synced and `more` that were not, left by a crash. */
static struct world *left_behind(uint64_t segment_bytes, uint32_t durable, uint32_t more)
{
    struct world *w = world_new(segment_bytes);

    world_reopen(w);
    for (uint32_t i = 0; i < durable; i++)
        world_add(w, 1, false);
    CHECK_EQ(log_sync(w->lg, durable, NULL), 0);
    for (uint32_t i = 0; i < more; i++)
        world_add(w, 1, false);
    world_crash(w);
    return w;
}

static size_t line_bytes(const struct world *w, evs_seq from, evs_seq to)
{
    char line[WORLD_LINE_MAX];
    struct log_rec rec;
    size_t n = 0;

    for (evs_seq seq = from; seq < to; seq++)
        n += world_line(w, seq, line, &rec);
    return n;
}

/* A reader sees end lines and changes nothing; then a writer sees the same. */
static void check_both(struct world *w, evs_seq end)
{
    struct world_files *before = world_save(w), *after;

    w->o.read_only = true;
    world_reopen(w);
    CHECK(log_read_only(w->lg));
    world_check(w, end, true);
    CHECK_EQ(log_durable(w->lg), end);
    world_close(w);
    w->o.read_only = false;
    after = world_save(w);
    CHECK(world_same(before, after));
    world_forget(after);
    world_forget(before);

    world_reopen(w);
    CHECK_EQ(log_durable(w->lg), end);
    world_check(w, end, true);
}

static UNANALYSED void no_log_is_an_empty_one(void)
{
    struct world *w = world_new(4096);
    struct evs_error err;

    w->o.read_only = true;
    world_reopen(w);
    CHECK_EQ(log_end(w->lg), 0);
    CHECK_EQ(log_bytes(w->lg), 0);
    CHECK_FAIL(log_reserve(w->lg, 1, 1, &err), err, READ_ONLY);
    CHECK_EQ(log_sync(w->lg, 1, NULL), 0);
    world_close(w);
    CHECK_EQ(world_size(w, 1, ".jsonl"), -1);
    w->o.read_only = false;
    world_reopen(w);
    world_close(w);
    world_reopen(w);
    world_check(w, 0, false);
    world_free(w);
}

static void torn_tail_at_each_byte(void)
{
    struct world *w = left_behind(1 << 20, 3, 2);
    struct world_files *files = world_save(w);
    int64_t whole = world_size(w, 1, ".jsonl");

    for (int64_t size = whole; size >= (int64_t)line_bytes(w, 1, 4);
         size -= size > whole - 3 ? 1 : 7) {
        world_restore(w, files);
        world_cut(w, 1, size);
        evs_seq end = size == whole ? 5 : size >= (int64_t)line_bytes(w, 1, 5) ? 4 : 3;
        check_both(w, end);
        world_add(w, 1, false); /* goes on where the log ends */
        world_crash(w);
        world_reopen(w);
        world_check(w, end + 1, true);
        world_crash(w);
    }
    world_forget(files);
    world_free(w);
}

static void damage_behind_the_mark_is_a_torn_tail(void)
{
    struct world *w = left_behind(1 << 20, 3, 4);
    struct world_files *files = world_save(w);

    for (evs_seq seq = 4; seq <= 7; seq++) {
        world_restore(w, files);
        world_flip(w, 1, ".jsonl", (int64_t)line_bytes(w, 1, seq) + 60);
        check_both(w, seq - 1);
        world_crash(w);
    }
    world_forget(files);
    world_free(w);
}

static void transaction_is_whole_or_gone(void)
{
    struct world *w = left_behind(1 << 20, 2, 1);

    world_reopen(w);
    CHECK_EQ(log_sync(w->lg, 3, NULL), 0);
    world_add(w, 4, true);
    world_add(w, 5, true);
    world_crash(w);
    struct world_files *files = world_save(w);
    for (evs_seq last = 12; last >= 3; last--) { /* the last line that is there */
        evs_seq seg = world_size(w, 3, ".jsonl") > 0 ? 3 : 1;
        world_restore(w, files);
        world_cut(w, seg, (int64_t)line_bytes(w, seg, last + 1));
        check_both(w, last == 12 ? 12 : last >= 7 ? 7 : 3);
        world_crash(w);
    }
    world_forget(files);
    world_free(w);
}

/* Lines that are good each, but whose tx don't count down. */
static UNANALYSED void transaction_out_of_order(void)
{
    static const uint32_t odd[][3] = {{2, 0, 0}, {1, 1, 0}, {2, 1, 5}};

    for (size_t i = 0; i < ARRAY_LEN(odd); i++) {
        struct world *w = world_new(1 << 20);
        char line[WORLD_LINE_MAX];
        struct log_rec rec;
        world_reopen(w);
        world_add(w, 2, true);
        for (evs_seq seq = 3; seq < 6; seq++) {
            w->tx[seq] = odd[i][seq - 3];
            size_t n = world_line(w, seq, line, &rec);
            CHECK_EQ(log_append(w->lg, line, n, &rec, 1, NULL), 0);
        }
        log_publish(w->lg);
        world_crash(w);
        check_both(w, 2);
        world_free(w);
    }
}

static void damaged_middle_is_refused(void)
{
    struct world *w = left_behind(4096, 60, 0);
    struct world_seen seen = {w, 1, false};
    struct evs_error err = {0};
    struct log_span span;

    /* Before the mark, open doesn't look; who reads the lines does. */
    world_reopen(w);
    CHECK_EQ(log_span(w->lg, 20, &span), 0);
    evs_seq first = span.first;
    int64_t pos = (int64_t)line_bytes(w, first, 20);
    CHECK(first > 1 && span.end < 60);
    world_close(w);
    struct world_files *files = world_save(w);
    world_flip(w, first, ".jsonl", pos + 30);
    world_reopen(w);
    CHECK_FAIL(log_walk(w->lg, 1, world_walked, &seen, &err), err, DAMAGED);
    CHECK_EQ(err.pos, pos);
    char name[64];
    (void)snprintf(name, sizeof name, "log/%020" PRIu64 ".jsonl", first);
    CHECK_STR(err.detail, name);
    CHECK_EQ(seen.next, 20);
    world_close(w);

    /* Without its idx it is read, and known to be whole by what follows. */
    world_unlink(w, first, ".idx");
    CHECK_FAIL(world_open(w, &err), err, DAMAGED);
    CHECK_EQ(err.pos, pos);
    char line[80];
    (void)snprintf(line, sizeof line, "%s: event 20", name);
    CHECK_STR(err.detail, line);

    world_restore(w, files); /* shorter than it was sealed with */
    world_cut(w, first, pos);
    CHECK_FAIL(world_open(w, &err), err, DAMAGED);
    CHECK_EQ(err.pos, pos);
    CHECK_STR(err.detail, name);

    /* Without any idx: at most the last two are unsealed, so the others are known to be whole. */
    world_restore(w, files);
    for (evs_seq seq = 1; seq <= 60; seq++)
        if (world_size(w, seq, ".idx") > 0)
            world_unlink(w, seq, ".idx");
    world_flip(w, first, ".jsonl", pos + 30);
    CHECK_FAIL(world_open(w, &err), err, DAMAGED);
    CHECK_EQ(err.pos, pos);

    world_restore(w, files); /* a segment is missing */
    world_unlink(w, first, ".jsonl");
    CHECK_FAIL(world_open(w, &err), err, DAMAGED);
    world_restore(w, files);
    world_unlink(w, 1, ".jsonl");
    CHECK_FAIL(world_open(w, &err), err, DAMAGED);
    CHECK_STR(err.detail, "log/00000000000000000001.jsonl is missing");

    world_restore(w, files); /* shorter than the mark of the last one */
    evs_seq last = 0;
    for (evs_seq seq = 1; seq <= 60; seq++)
        last = world_size(w, seq, ".jsonl") > 0 ? seq : last;
    world_cut(w, last, 10);
    CHECK_FAIL(world_open(w, &err), err, DAMAGED);
    CHECK_EQ(err.pos, 10);

    world_restore(w, files);
    world_reopen(w);
    world_check(w, 60, false);
    world_forget(files);
    world_free(w);
}

static void idx_is_derived(void)
{
    struct world *w = left_behind(4096, 60, 10);
    struct world_files *files = world_save(w);
    struct evs_error err;

    for (int i = 0; i < 3; i++) {
        world_restore(w, files);
        for (evs_seq seq = 1; seq <= 70; seq++)
            if (world_size(w, seq, ".jsonl") > 0) {
                if (i == 0)
                    world_unlink(w, seq, ".idx");
                else /* a header that is wrong; a rec that is */
                    world_flip(w, seq, ".idx", i == 1 ? 40 : 4096 + 33);
            }
        check_both(w, 70);
        world_close(w);
        world_reopen(w);
        world_check(w, 70, false); /* what was fixed is on disk */
        world_crash(w);
    }

    world_restore(w, files); /* a version from the future */
    int fd = world_file(w, 1, ".idx", O_RDWR);
    struct {
        char magic[8];
        uint32_t version;
        char rest[32];
        uint32_t crc;
    } h;
    CHECK_EQ(sizeof h, 48);
    CHECK_EQ(pread(fd, &h, sizeof h, 0), sizeof h);
    h.version = 2;
    uint32_t crc32c(uint32_t crc, const void *p, size_t n);
    h.crc = crc32c(0, &h, 44);
    CHECK_EQ(pwrite(fd, &h, sizeof h, 0), sizeof h);
    (void)close(fd);
    CHECK_FAIL(world_open(w, &err), err, BAD_FORMAT);
    world_forget(files);
    world_free(w);
}

static void unclean_end_is_copied(void)
{
    struct world *w = left_behind(1 << 20, 10, 5);
    int64_t mark = (int64_t)line_bytes(w, 1, 11), rest = (int64_t)line_bytes(w, 11, 16);

    check_both(w, 15);
    CHECK_EQ(log_segments(w->lg), 2);
    CHECK_EQ(world_size(w, 1, ".jsonl"), mark);
    CHECK_EQ(world_size(w, 11, ".jsonl"), rest);
    world_crash(w); /* nothing is behind the durable end now: no copy */
    world_reopen(w);
    CHECK_EQ(log_segments(w->lg), 2);
    world_add(w, 1, false);
    world_close(w); /* a clean end: no copy */
    world_reopen(w);
    CHECK_EQ(log_segments(w->lg), 2);
    world_check(w, 16, false);
    world_free(w);

    /* All of it, and two segments: the copy has the old name. */
    w = left_behind(4096, 0, 30);
    check_both(w, 30);
    CHECK_EQ(log_segments(w->lg), 1 + (world_size(w, 1, ".jsonl") < (int64_t)line_bytes(w, 1, 31)));
    world_free(w);
}

/* Recs that were right are kept by a copy: whoever has a checkpoint doesn't look at them again. */
static void copy_keeps_recs(void)
{
    struct world *w = left_behind(1 << 20, 10, 5);

    world_reopen(w);
    CHECK_EQ(log_segments(w->lg), 2);
    world_check(w, 15, false);
    world_free(w);
}

/* In another process, so that it can be killed: recover, with the nth call the last one. */
static bool killed_at(struct world *w, uint64_t n, bool short_write)
{
    int status = 0;

    (void)fflush(NULL);
    pid_t pid = fork();
    if (pid == 0) {
        io_fault_set(&(struct io_fault){.n = n, .kill = true, .short_write = short_write});
        int r = world_open(w, NULL);
        _exit(r < 0 ? 1 : 0);
    }
    CHECK(pid > 0 && waitpid(pid, &status, 0) == pid);
    CHECK(WIFEXITED(status) && (WEXITSTATUS(status) == 0 || WEXITSTATUS(status) == IO_FAULT_EXIT));
    return WIFEXITED(status) && WEXITSTATUS(status) == IO_FAULT_EXIT;
}

static void recover_again_after(struct world *w, evs_seq end, int code)
{
    struct world_files *files = world_save(w);

    for (uint64_t n = 1;; n++) {
        bool hit;
        world_restore(w, files);
        if (code == 0) {
            hit = killed_at(w, n, n % 2 == 0);
        } else {
            io_fault_set(&(struct io_fault){.n = n, .code = code});
            if (world_open(w, NULL) == 0)
                world_crash(w);
            hit = io_fault_set(NULL) >= n;
        }
        world_reopen(w);
        world_check(w, end, true);
        world_add(w, 1, false);
        world_close(w);
        world_reopen(w);
        world_check(w, end + 1, true);
        world_crash(w);
        if (!hit)
            break;
    }
    world_forget(files);
    world_free(w);
}

static void killed_while_recovering(void)
{
    recover_again_after(left_behind(1 << 20, 10, 5), 15, 0); /* cut and copied */
    recover_again_after(left_behind(1 << 20, 0, 5), 5, 0);   /* replaced */
    recover_again_after(left_behind(4096, 10, 10), 20, 0);   /* two segments into one */
}

static void failed_while_recovering(void)
{
    recover_again_after(left_behind(4096, 10, 10), 20, EIO);
}

/* Kill the daemon at each call: what a batch had returned for is there. */
static void killed_while_appending(void)
{
    for (uint64_t n = 1;; n += n < 40 ? 1 : 3) {
        struct world *w = world_new(4096);
        int pipes[2], status = 0;
        evs_seq acked = 0, seq;
        CHECK_EQ(pipe(pipes), 0);
        (void)fflush(NULL);
        pid_t pid = fork();
        if (pid == 0) {
            check_failed = 0;
            world_reopen(w);
            io_fault_set(&(struct io_fault){.n = n, .kill = true, .short_write = true});
            for (int i = 0; i < 30; i++) {
                world_add(w, 1 + (uint32_t)i % 4, i % 2);
                seq = log_end(w->lg);
                if (write(pipes[1], &seq, sizeof seq) != sizeof seq)
                    _exit(1);
                if (i % 5 == 0)
                    CHECK_EQ(log_sync(w->lg, seq, NULL), 0);
            }
            _exit(check_failed ? 1 : 0);
        }
        (void)close(pipes[1]);
        while (read(pipes[0], &seq, sizeof seq) == sizeof seq)
            acked = seq;
        (void)close(pipes[0]);
        CHECK(pid > 0 && waitpid(pid, &status, 0) == pid && WIFEXITED(status));
        for (uint32_t i = 0, at = 1; i < 30; i++) /* the same transactions here */
            for (uint32_t k = 1 + i % 4; k-- > 0; at++)
                w->tx[at] = i % 2 ? k : 0;
        world_reopen(w);
        evs_seq end = log_end(w->lg);
        CHECK(end >= acked && end <= acked + 4); /* the batch under way: all, or what was single */
        CHECK_EQ(w->tx[end], 0);
        world_check(w, end, true);
        world_free(w);
        if (WEXITSTATUS(status) != IO_FAULT_EXIT) {
            CHECK_EQ(WEXITSTATUS(status), 0);
            break;
        }
    }
}

/* A power cut may take any page that was not synced: here all from some byte on, in either
 * segment. */
static void power_cut(void)
{
    struct world *w = left_behind(4096, 10, 12);
    struct world_files *files = world_save(w);
    evs_seq second = 2;

    while (world_size(w, second, ".jsonl") < 0)
        second++;
    CHECK(second > 11 && second < 22);
    int64_t end = world_size(w, 1, ".jsonl"), mark = (int64_t)line_bytes(w, 1, 11);
    for (int64_t size = end; size >= mark; size = size == mark ? 0 : MAX(size - 90, mark)) {
        world_restore(w, files);
        world_cut(w, 1, size); /* and the second is whole: it can't count */
        evs_seq last = 10;
        while (last < 22 && (int64_t)line_bytes(w, 1, last + 2) <= size)
            last++;
        check_both(w, size == end ? 22 : last);
        world_add(w, 1, false);
        world_close(w);
        world_reopen(w);
        world_check(w, size == end ? 23 : last + 1, false);
        world_crash(w);
    }
    world_restore(w, files);
    world_cut(w, second, 0);
    check_both(w, second - 1);
    world_forget(files);
    world_free(w);
}

static void other_names_are_ignored(void)
{
    struct world *w = left_behind(4096, 5, 0);
    static const char *const others[] = {
        "/log/1.jsonl", "/log/00000000000000000000.jsonl", "/log/99999999999999999999.jsonl",
        "/log/0000000000000000000x.jsonl", "/log/00000000000000000009.jsonl.bak"};
    char path[400];

    for (size_t i = 0; i < ARRAY_LEN(others); i++) {
        (void)snprintf(path, sizeof path, "%s%s", w->dir, others[i]);
        int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0666);
        CHECK(fd >= 0);
        (void)close(fd);
    }
    check_both(w, 5);
    CHECK_EQ(log_segments(w->lg), 1);
    world_crash(w);
    /* An idx without lines, and what an interrupted copy leaves, go away. */
    (void)close(world_file(w, 6, ".idx", O_WRONLY | O_CREAT));
    (void)close(world_file(w, 7, ".tmp", O_WRONLY | O_CREAT));
    check_both(w, 5);
    CHECK_EQ(world_size(w, 6, ".idx"), -1);
    CHECK_EQ(world_size(w, 7, ".tmp"), -1);
    for (size_t i = 0; i < ARRAY_LEN(others); i++) {
        (void)snprintf(path, sizeof path, "%s%s", w->dir, others[i]);
        CHECK_EQ(access(path, F_OK), 0);
    }
    world_free(w);
}

/* What vouches for lines that are gone says so, wherever the segment stood. */
static void removed_segment_is_damage(void)
{
    struct world *w = left_behind(4096, 60, 0);
    struct world_files *files = world_save(w);

    for (evs_seq first = 1; first <= 60; first++) {
        struct evs_error err = {0};
        char what[80];
        if (world_size(w, first, ".jsonl") < 0)
            continue;
        world_unlink(w, first, ".jsonl");
        for (int i = 0; i < 2; i++) {
            w->o.read_only = i == 0;
            CHECK_FAIL(world_open(w, &err), err, DAMAGED);
            (void)snprintf(what, sizeof what, "log/%020" PRIu64 ".jsonl is missing", first);
            CHECK_STR(err.detail, what);
        }
        CHECK(world_size(w, first, ".idx") > 0);
        world_restore(w, files);
    }
    world_forget(files);
    world_free(w);
}

/* Without the idx nothing vouches for the lines behind a bad one: they are no events any more, but kept. */
static void what_is_cut_is_kept(void)
{
    struct world *w = left_behind(1 << 20, 6, 0);
    int64_t whole = world_size(w, 1, ".jsonl"), third = (int64_t)line_bytes(w, 1, 3);

    world_unlink(w, 1, ".idx");
    world_flip(w, 1, ".jsonl", third + 60);
    check_both(w, 2);
    CHECK_EQ(log_cut_kept(w->lg), 3);
    CHECK_EQ(world_size(w, 3, ".cut"), whole - third);
    world_close(w);
    world_reopen(w); /* it stays until somebody has looked at it */
    CHECK_EQ(log_cut_kept(w->lg), 3);
    world_add(w, 2, false);
    world_crash(w);
    world_cut(w, 1, (int64_t)line_bytes(w, 1, 5) - 5); /* torn, and nothing behind it */
    world_reopen(w);
    world_check(w, 3, true);
    CHECK_EQ(world_size(w, 4, ".cut"), -1);
    world_crash(w);
    world_free(w);
}

struct counted {
    evs_seq next;
    uint64_t runs, stop_at;
};

static int count_lines(void *arg, const struct log_walked *l, size_t n)
{
    struct counted *c = arg;

    CHECK(n >= 1 && n <= LOG_WALK_LINES);
    for (size_t i = 0; i < n; i++)
        CHECK_EQ(l[i].line.seq, c->next++);
    return ++c->runs == c->stop_at ? 42 : 0;
}

static void walk_from_anywhere(void)
{
    struct world *w = left_behind(40000, 400, 0);

    world_reopen(w);
    for (evs_seq from = 0; from <= 402; from++) {
        struct counted c = {.next = MAX(from, 1u)};
        CHECK_EQ(log_walk(w->lg, from, count_lines, &c, NULL), 0);
        CHECK_EQ(c.next, MAX(from, 401u));
    }
    struct counted stop = {.next = 1, .stop_at = 2};
    CHECK_EQ(log_walk(w->lg, 1, count_lines, &stop, NULL), 42);
    CHECK_EQ(stop.runs, 2);
    world_crash(w);
    world_flip(w, 1, ".idx", 4096 + 20 * 32); /* the rec of seq 21 points elsewhere */
    world_reopen(w);
    struct counted c = {.next = 21};
    CHECK_EQ(log_walk(w->lg, 21, count_lines, &c, NULL), 0);
    CHECK_EQ(c.next, 401);
    world_free(w);
}

/* A damaged idx gives other bytes, never an address outside. */
static UNANALYSED void wild_recs_stay_inside(void)
{
    struct world *w = left_behind(1 << 20, 5, 0);
    struct log_pin pin = {0};
    struct slice line;

    world_reopen(w);
    struct log_rec wild = {.place = log_place((1ull << 40) - 1, 0), .len = UINT32_MAX, .entity = 1};
    CHECK_EQ(log_fix_recs(w->lg, 3, &wild, 1, NULL), 0);
    CHECK_EQ(log_line(w->lg, 3, &pin, &line, NULL), 0);
    CHECK_EQ(line.n, 0);
    wild.place = log_place(100, 0);
    CHECK_EQ(log_fix_recs(w->lg, 3, &wild, 1, NULL), 0);
    CHECK_EQ(log_line(w->lg, 3, &pin, &line, NULL), 0);
    CHECK_EQ(line.n, log_bytes(w->lg) - 100);
    log_unpin(&pin);
    world_check(w, 5, true);
    world_free(w);
}

int main(void)
{
    RUN(no_log_is_an_empty_one);
    RUN(torn_tail_at_each_byte);
    RUN(damage_behind_the_mark_is_a_torn_tail);
    RUN(transaction_is_whole_or_gone);
    RUN(transaction_out_of_order);
    RUN(damaged_middle_is_refused);
    RUN(idx_is_derived);
    RUN(unclean_end_is_copied);
    RUN(copy_keeps_recs);
    RUN(killed_while_recovering);
    RUN(failed_while_recovering);
    RUN(killed_while_appending);
    RUN(power_cut);
    RUN(other_names_are_ignored);
    RUN(removed_segment_is_damage);
    RUN(what_is_cut_is_kept);
    RUN(walk_from_anywhere);
    RUN(wild_recs_stay_inside);
    CHECK_DONE();
}
