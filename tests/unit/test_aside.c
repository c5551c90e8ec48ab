/* SPDX-License-Identifier: MIT */
/* aside: what an open cuts is kept, once; a disk that is full takes no more of it with each try. */
#include "log_world.h"

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

int main(void)
{
    RUN(a_failure_leaves_nothing);
    RUN(a_directory_is_no_idx);
    CHECK_DONE();
}
