/* SPDX-License-Identifier: MIT */
/* The nth call fails, for every n, until a run has no fault left: file-system calls (of the store through
 * store/io, and below it those of SQLite as well), allocations, mappings; once and for ever. After each run
 * the store is opened without faults: world.h says what must be there.
 *   N=17 VARIANT=name   only this run; EVFS_TEST_MODE=quick (unset) takes few n, ci most, long all */
#include "../unit/check.h"
#include "alloc.h"
#include "disk.h"
#include "world.h"

#include "store/io.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

/* Of bytes that can't be read SQLite says that they are damaged. */
#define DISK_ERRORS (1u << EVS_SYSTEM | 1u << EVS_READ_ONLY | 1u << EVS_DAMAGED)

enum source { THROUGH_IO, BELOW, ALLOCATION, ALLOCATION_OF_SQLITE };

static const struct variant {
    const char *name;
    enum source source;
    struct io_fault io;
    struct disk_fault disk;
    bool forever;
    unsigned allowed;
} variants[] = {
    {"call-eio-once", THROUGH_IO, .allowed = DISK_ERRORS},
    {"call-eio-forever", THROUGH_IO, .forever = true, .allowed = DISK_ERRORS},
    {"call-short-once", THROUGH_IO, .io = {.short_write = true}, .allowed = DISK_ERRORS},
    {"disk-eio-once", BELOW, .disk = {.kinds = DISK_ANY & ~DISK_MAP, .code = EIO},
     .allowed = DISK_ERRORS},
    {"disk-eio-forever", BELOW, .disk = {.kinds = DISK_ANY & ~DISK_MAP, .code = EIO},
     .forever = true, .allowed = DISK_ERRORS},
    {"disk-full-once", BELOW, .disk = {.kinds = DISK_GROWS, .code = ENOSPC},
     .allowed = 1u << EVS_DISK_FULL},
    {"disk-full-forever", BELOW, .disk = {.kinds = DISK_GROWS, .code = ENOSPC}, .forever = true,
     .allowed = 1u << EVS_DISK_FULL},
    {"short-writes", BELOW, .disk = {.kinds = DISK_WRITE, .how = DISK_SHORT}, .forever = true},
    {"interrupted", BELOW,
     .disk = {.kinds = DISK_OPEN | DISK_CREATE | DISK_READ | DISK_WRITE | DISK_EXTEND | DISK_SHRINK,
              .how = DISK_INTERRUPTED},
     .forever = true},
    {"no-mapping-once", BELOW, .disk = {.kinds = DISK_MAP, .code = ENOMEM},
     .allowed = 1u << EVS_NO_MEMORY | 1u << EVS_SYSTEM}, /* SQLite says no more than that */
    {"no-mapping-forever", BELOW, .disk = {.kinds = DISK_MAP, .code = ENOMEM}, .forever = true,
     .allowed = 1u << EVS_NO_MEMORY | 1u << EVS_SYSTEM},
    {"no-memory-once", ALLOCATION, .allowed = 1u << EVS_NO_MEMORY},
    {"no-memory-forever", ALLOCATION, .forever = true, .allowed = 1u << EVS_NO_MEMORY},
    {"no-memory-for-sqlite-once", ALLOCATION_OF_SQLITE, .allowed = 1u << EVS_NO_MEMORY},
    {"no-memory-for-sqlite-forever", ALLOCATION_OF_SQLITE, .forever = true,
     .allowed = 1u << EVS_NO_MEMORY},
};

static struct world world;
static char now[64]; /* the run, for whoever looks at a crash */

static int64_t clock_of_test(void *arg)
{
    static int64_t us = 1790000000000000;

    (void)arg;
    return us += 1000;
}

static void died(int sig)
{
    static const char text[] = "died in run ";

    (void)!write(2, text, sizeof text - 1);
    (void)!write(2, now, strlen(now));
    (void)!write(2, "\n", 1);
    (void)signal(sig, SIG_DFL);
    (void)raise(sig);
}

/* What every store does in its life: grows over several segments, which are hashed and compressed, is synced, closed,
 * killed, opened. */
static void life(struct world *w)
{
    world_append(w, 1, false, false);
    world_append(w, 10, false, true);
    world_append(w, 6, true, true);
    world_chmod(w, 1, 0700);
    world_pin(w, 0, 1);
    world_pin(w, 2, 2);
    world_sync(w);
    world_repeat(w, 0);
    world_append_data(w);
    for (int i = 0; i < 4; i++) /* rolls, and the second roll seals */
        world_append(w, 60, i & 1, false);
    world_checkpoint(w);
    world_state(w, 3);
    world_append(w, 5, false, false);
    if (w->st)
        (void)world_close(w);
    world_append(w, 4, true, true);
    world_sync(w);
    world_append(w, 40, false, false);
    world_pack(w, 2);
    world_chmod(w, 1, 0750);
    world_pin(w, 0, 3);
    world_pin(w, 2, 0);
    world_kill(w);                   /* of one segment both forms are there */
    world_append(w, 4, true, false); /* opened again, what was not synced is copied */
    world_pack(w, 2);
    world_read(w);
    world_repeat(w, 3);
    world_state(w, 3);
    world_sync(w);
}

static void clean(const char *dir, bool keep)
{
    struct dirent *e;
    DIR *d = opendir(dir);
    char path[512];

    if (!d)
        return;
    while ((e = readdir(d))) {
        if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0)
            continue;
        (void)snprintf(path, sizeof path, "%.200s/%.200s", dir, e->d_name);
        if (remove(path) < 0)
            clean(path, false);
    }
    (void)closedir(d);
    if (!keep)
        (void)rmdir(dir);
}

static void arm(const struct variant *v, uint64_t n)
{
    struct io_fault io = v->io;
    struct disk_fault disk = v->disk;

    io.n = disk.n = n;
    io.forever = disk.forever = v->forever;
    if (v->source == THROUGH_IO)
        (void)io_fault_set(&io);
    else if (v->source == BELOW)
        (void)disk_fault_set(&disk);
    else
        (void)alloc_fault_set(n, v->forever, v->source == ALLOCATION_OF_SQLITE);
}

static uint64_t disarm(const struct variant *v)
{
    uint64_t calls = v->source == THROUGH_IO ? io_fault_set(NULL)
                     : v->source == BELOW    ? disk_fault_set(NULL)
                                             : alloc_fault_set(0, false, false);
    return calls;
}

/* False: the run was over before there was a fault. */
static bool run(const struct variant *v, uint64_t n, const char *dir)
{
    struct world *w = &world;

    (void)snprintf(now, sizeof now, "VARIANT=%s N=%ju", v->name, (uintmax_t)n);
    clean(dir, true);
    *w = (struct world){
        .allowed = v->allowed,
        .may_stay = v->forever && v->allowed & 1u << EVS_SYSTEM,
        .options = {.sync_interval_ms = UINT32_MAX, .segment_bytes = 1, .clock_us = clock_of_test}};
    (void)snprintf(w->dir, sizeof w->dir, "%s/s", dir);
    arm(v, n);
    life(w);
    bool met = disarm(v) >= n;
    if (w->st && v->allowed == 1u << EVS_DISK_FULL) {
        struct evs_stats s;
        evs_stats(w->st, &s);
        CHECK(!s.read_only); /* there is room again, and it goes on */
    }
    world_finish(w);
    return met;
}

static int failed(void)
{
    return check_failed + world_failed();
}

/* Every n; in CI every second at most, or fewer where neighbours are the same call again: what SQLite does, and what goes on failing. */
static uint64_t step_of(const struct variant *v)
{
    const char *mode = getenv("EVFS_TEST_MODE");
    bool ci = mode && strcmp(mode, "ci") == 0,
         harmless = v->source == BELOW && v->disk.how != DISK_FAILS;

    if (mode && strcmp(mode, "long") == 0)
        return 1;
    if (v->source == ALLOCATION_OF_SQLITE || harmless)
        return ci ? 23 : 97;
    return ci ? (v->forever ? 5 : 2) : 31;
}

/* In CI in passes, each over the whole life and between those before, so that none of it is left out where time is over. */
static const uint8_t passes[] = {0, 4, 2, 6, 1, 3, 5, 7};
#define CI_SECONDS 10

static void run_variant(const struct variant *v, const char *dir, const char *only)
{
    const char *mode = getenv("EVFS_TEST_MODE");
    const bool ci = mode && strcmp(mode, "ci") == 0;
    const uint64_t until = monotonic_ns() + CI_SECONDS * 1000000000ull;
    const size_t n_passes = ci ? ARRAY_LEN(passes) : 1;
    const uint64_t step = step_of(v), stride = n_passes * step;
    int before = failed();
    uint64_t runs = 0;
    size_t done = 0;

    check_tests++;
    if (only) {
        (void)run(v, strtoull(only, NULL, 0), dir);
        runs = 1;
    }
    while (!only && done < n_passes && failed() == before && (!ci || monotonic_ns() < until)) {
        for (uint64_t n = 1 + passes[done] * step; run(v, n, dir) && failed() == before;
             n += stride)
            runs++;
        done++;
    }
    if (failed() > before)
        fprintf(stderr, "in run %s\n", now);
    printf("%s %s\n# %ju runs, %zu of %zu passes with a fault each %ju calls\n",
           failed() == before ? "ok" : "not ok", v->name, (uintmax_t)runs, done, n_passes,
           (uintmax_t)stride);
    (void)fflush(stdout);
}

int main(void)
{
    char dir[] = "/dev/shm/evfs-faults-XXXXXX", slow[] = "/tmp/evfs-faults-XXXXXX";
    char *d = mkdtemp(dir) ? dir : mkdtemp(slow);

    if (!d)
        return 1;
    alloc_init();
    (void)signal(SIGABRT, died);
    const char *only = getenv("VARIANT");
    for (size_t i = 0; i < ARRAY_LEN(variants); i++)
        if (!only || strcmp(only, variants[i].name) == 0)
            run_variant(&variants[i], d, getenv("N"));
    clean(d, false);
    return failed() ? 1 : 0;
}
