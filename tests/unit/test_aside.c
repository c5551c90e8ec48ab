/* SPDX-License-Identifier: MIT */
/* aside: what an open cuts is kept, once; a disk that is full takes no more of it with each try. */
#include "log_world.h"
#include "store/segment.h"

#include <errno.h>
#include <sys/stat.h>

/* Six lines, of which the third is damaged, and no idx that says that any was durable. */
static struct world *cut_world(int64_t *ret_kept)
{
    struct world *w = world_new(1 << 20);

    world_reopen(w);
    world_add(w, 6, false);
    world_close(w);
    world_unlink(w, 1, ".idx");
    int64_t whole = world_size(w, 1, ".jsonl"), third = 0;
    char line[WORLD_LINE_MAX];
    struct log_rec rec;
    for (evs_seq seq = 1; seq < 3; seq++)
        third += (int64_t)world_line(w, seq, line, &rec);
    world_flip(w, 1, ".jsonl", third + 60);
    *ret_kept = whole - third;
    return w;
}

static void a_failure_leaves_nothing(void)
{
    struct evs_error err;
    int64_t kept = 0;
    int r = -1, failed = 0;

    for (uint64_t n = 1; r < 0; n++) {
        struct world *w = cut_world(&kept);
        (void)io_fault_set(
            &(struct io_fault){.n = n, .code = ENOSPC, .short_write = true, .forever = false});
        r = world_open(w, &err);
        (void)io_fault_set(NULL);
        failed += r < 0;
        CHECK(r == 0 || strncmp(err.detail, "log", 3) == 0); /* and says of what */
        if (r < 0 &&
            world_size(w, 1, ".jsonl") > kept) { /* it is not cut yet: the same once more */
            CHECK(world_size(w, 3, ".cut") <= 0 || world_size(w, 3, ".cut") == kept);
            bool was_kept = world_size(w, 3, ".cut") == kept;
            world_reopen(w);
            CHECK_EQ(world_size(w, 3, ".cut"), was_kept ? 2 * kept : kept);
        }
        world_free(w);
    }
    CHECK(failed > 5);
}

/* It has the name of an idx whose lines are gone, but is none: moved aside, as others are. */
static void a_directory_is_no_idx(void)
{
    struct world *w = world_new(1 << 20);
    char path[300];

    world_reopen(w);
    world_add(w, 6, false);
    world_close(w);
    (void)snprintf(path, sizeof path, "%s/log/%020d.idx", w->dir, 99);
    CHECK_EQ(mkdir(path, 0700), 0);
    w->o.read_only = true;
    world_reopen(w);
    world_crash(w);
    w->o.read_only = false;
    world_reopen(w);
    CHECK_EQ(log_end(w->lg), 6);
    world_close(w);
    CHECK(access(path, F_OK) < 0);
    (void)snprintf(path, sizeof path, "%s/log/%020d.idx.aside", w->dir, 99);
    CHECK_EQ(rmdir(path), 0);
    world_free(w);
}

struct liar {
    uint64_t bytes, n;
};

static void put_mark(const struct world *w, struct liar m)
{
    int fd = world_file(w, 1, ".idx", O_RDWR);

    CHECK_EQ(segment_write_header(fd, 1, (struct segment_mark){m.bytes, m.n}, false), 0);
    (void)close(fd);
}

/* A header that is whole and wrong: whoever opens says so, and nothing is cut for it. */
static void a_wrong_mark_cuts_nothing(void)
{
    struct world *w = world_new(1 << 20);
    char line[WORLD_LINE_MAX];
    struct log_rec rec;
    uint64_t at[11] = {0};

    world_reopen(w);
    world_add(w, 6, false);
    world_add(w, 3, true); /* 7 to 9 */
    world_add(w, 1, false);
    world_close(w);
    struct world_files *good = world_save(w);
    for (evs_seq seq = 1; seq <= 10; seq++)
        at[seq] = at[seq - 1] + world_line(w, seq, line, &rec);
    const struct liar marks[] = {{at[1], 0},     {at[10], 0}, {0, 1},       {0, 10},
                                 {0, 1 << 20},   {at[3], 2},  {at[3], 4},   {at[3] - 1, 3},
                                 {at[3] + 1, 3}, {at[10], 9}, {at[10], 11}, {1, 1},
                                 {at[7], 7},     {at[8], 8}};
    for (size_t i = 0; i < ARRAY_LEN(marks); i++) {
        world_restore(w, good);
        put_mark(w, marks[i]);
        struct world_files *before = world_save(w);
        for (int read_only = 1; read_only >= 0; read_only--) {
            struct evs_error err = {0};
            w->o.read_only = read_only;
            CHECK_FAIL(world_open(w, &err), err, DAMAGED);
            CHECK_EQ(err.pos, marks[i].bytes);
            struct world_files *after = world_save(w);
            CHECK(world_same(before, after));
            world_forget(after);
        }
        world_forget(before);
    }
    /* Of a line that is damaged before a mark that is right, whoever reads it tells; what follows isn't cut. */
    world_restore(w, good);
    put_mark(w, (struct liar){at[3], 3});
    world_flip(w, 1, ".jsonl", (int64_t)at[2] + 60);
    world_reopen(w);
    CHECK_EQ(log_end(w->lg), 10);
    world_close(w);
    world_forget(good);
    world_free(w);
}

/* A page of it that can't be read now is no reason to cut, nor to refuse where nothing would be. */
static void a_mark_that_cant_be_read_cuts_nothing(void)
{
    struct world *w = world_new(1 << 20);
    int refused = 0;

    world_reopen(w);
    world_add(w, 6, false);
    CHECK_EQ(log_sync(w->lg, 6, NULL), 0);
    world_add(w, 6, false);
    world_crash(w);
    world_cut(w, 1, world_size(w, 1, ".jsonl") - 5); /* a torn tail */
    struct world_files *files = world_save(w);
    for (uint64_t n = 1;; n++) {
        struct evs_error err = {0};
        world_restore(w, files);
        (void)io_fault_set(&(struct io_fault){.n = n, .code = EIO});
        int r = world_open(w, &err);
        bool hit = io_fault_set(NULL) >= n;
        if (r == 0)
            world_close(w);
        refused += r < 0;
        world_reopen(w);
        world_check(w, 11, true);
        world_close(w);
        if (!hit)
            break;
    }
    CHECK(refused > 5);
    world_forget(files);
    world_free(w);
}

int main(void)
{
    RUN(a_failure_leaves_nothing);
    RUN(a_directory_is_no_idx);
    RUN(a_wrong_mark_cuts_nothing);
    RUN(a_mark_that_cant_be_read_cuts_nothing);
    CHECK_DONE();
}
