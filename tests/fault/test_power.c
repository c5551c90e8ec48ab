/* SPDX-License-Identifier: MIT */
/* The power goes at a random call, and what a disk might show then (disk_cut.c) is opened: what was synced is
 * there, what follows is a prefix of what was written, transactions are whole, owners that were set are set, verify
 * finds nothing; and it goes on. Two more cuts may come on top, in the middle of recovering too.
 *   SEED=n            only this one, told in words
 *   FROM=n SEEDS=m    from n on so many
 *   EVFS_TEST_MODE    quick (unset) 150 seeds, ci 1,000 or what a minute allows, at least 150, long 100,000 */
#include "../unit/check.h"
#include "disk.h"
#include "store/ingest.h"
#include "store/log_state.h"
#include "world.h"

#include <dirent.h>
#include <fcntl.h>
#include <errno.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define ROUNDS_MAX 3

static struct world *world; /* shared: who looks at what is left is another process */
static char top[64];
static bool trace;

static int64_t clock_of_test(void *arg)
{
    static int64_t us = 1790000000000000;

    (void)arg;
    return us += 1000;
}

static void clean(const char *dir)
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
            clean(path);
    }
    (void)closedir(d);
    (void)rmdir(dir);
}

/* ---- a life, as the seed has it ---- */

/* kill -9 at the nth call of compressing or hashing: from there on nothing gets through. */
static void die_while_packing(struct world *w, uint64_t n, unsigned kinds)
{
    struct disk_fault f = {.n = n, .kinds = kinds, .code = EIO, .forever = true};
    unsigned allowed = w->allowed;

    if (!world_ready(w))
        return;
    w->allowed |= 1u << EVS_SYSTEM | 1u << EVS_READ_ONLY;
    (void)disk_fault_set(&f);
    world_pack(w, 4);
    f.n = UINT64_MAX;
    (void)disk_fault_set(&f); /* what was hit is forgotten */
    (void)disk_fault_set(NULL);
    world_kill(w);
    w->allowed = allowed;
}

static void step(struct world *w, uint64_t *random)
{
    uint32_t much = check_random(random) % 4 == 0 ? 90 : 12;
    uint32_t n = 1 + (uint32_t)(check_random(random) % much);

    switch (check_random(random) % 18) {
    case 0 ... 3:
        world_append(w, n, false, false);
        break;
    case 4 ... 6:
        world_append(w, n, true, check_random(random) & 1);
        break;
    case 7:
        world_append_data(w);
        break;
    case 8 ... 9:
        world_sync(w);
        break;
    case 10:
        world_checkpoint(w);
        break;
    case 11:
        world_chmod(w, (uint32_t)(check_random(random) % WORLD_ENTITIES),
                    0700 | (uint32_t)(check_random(random) & 077));
        world_pin(w, (uint32_t)(check_random(random) % WORLD_ENTITIES),
                  (uint32_t)(check_random(random) % 4));
        break;
    case 12:
        world_repeat(w, (uint32_t)(check_random(random) % 4));
        break;
    case 13:
        if (check_random(random) & 1)
            world_read(w);
        else
            world_state(w, (uint32_t)(check_random(random) % WORLD_ENTITIES));
        break;
    case 14:
        world_pack(w, 1 + (uint32_t)(check_random(random) % 4));
        break;
    case 15:
        if (check_random(random) & 1)
            die_while_packing(w, 1 + check_random(random) % 20, DISK_CHANGES);
        else
            world_pack(w, 4);
        break;
    case 16:
        if (w->st && check_random(random) & 1)
            (void)world_close(w);
        break;
    default:
        if (check_random(random) % 3 == 0)
            world_kill(w);
    }
}

static void live(struct world *w, uint64_t *random)
{
    uint32_t steps = (uint32_t)(check_random(random) % 30);

    (void)world_ready(w);
    for (uint32_t i = 0; i < steps && w->n < WORLD_EVENTS - 1000; i++)
        step(w, random);
    if (check_random(random) & 1 && w->st)
        (void)world_close(w);
}

/* ---- rounds ---- */

/* Run fn in a process of its own; what it checked is in *ret_failed. Returns its exit status. */
static int in_child(void (*fn)(void *arg), void *arg)
{
    (void)fflush(stdout);
    pid_t pid = fork();
    int status = 0;

    if (pid == 0) {
        check_failed = 0; /* what failed before is not this one's */
        fn(arg);
        _exit(check_failed + world_failed() ? 1 : 0);
    }
    if (pid < 0 || waitpid(pid, &status, 0) != pid)
        return -1;
    return WIFEXITED(status) ? WEXITSTATUS(status) : 1000 + WTERMSIG(status);
}

enum life { ANY_LIFE, BOTH_FORMS, IDX_STALE, IDX_LOST };

struct round {
    char from[100], out[100], shadow[100];
    uint64_t seed; /* of this round; of IDX_STALE and IDX_LOST the number of the try */
    bool lie;
    enum life life;
};

static void until_the_cut(void *arg)
{
    const struct round *r = arg;
    uint64_t random = r->seed;
    const uint64_t spread = check_random(&random) % 3;
    struct disk_watch w = {
        .root = r->from,
        .shadow = r->shadow,
        .out = r->out,
        .cut_at = 1 + check_random(&random) % (spread == 0   ? 40
                                               : spread == 1 ? 150
                                                             : 500),
        .seed = r->seed,
        .fail_sync =
            check_random(&random) % 6 == 0 ? 1 + (unsigned)(check_random(&random) % 12) : 0,
        .lie = r->lie,
        .trace = trace,
    };

    world->st = NULL;
    world->w = NULL;
    world->options.sync = check_random(&random) % 8 == 0;
    world->allowed = w.fail_sync ? 1u << EVS_SYSTEM | 1u << EVS_READ_ONLY : 0;
    (void)snprintf(world->dir, sizeof world->dir, "%s/store", r->from);
    if (trace)
        fprintf(stderr, "# round: %u events, %u durable, cut at %ju%s%s\n", world->n,
                world->durable, (uintmax_t)w.cut_at, w.fail_sync ? ", a sync fails" : "",
                world->options.sync ? ", each write is synced" : "");
    disk_watch(&w);
    live(world, &random);
    if (check_failed + world_failed())
        _exit(1);
    disk_cut();
}

/* A segment has both forms, but the name of the compressed one was not synced when the packer died; the power goes
 * when the next open has removed the plain one. */
static void until_the_plain_file_goes(void *arg)
{
    const struct round *r = arg;
    const struct disk_watch w = {
        .root = r->from, .shadow = r->shadow, .out = r->out, .seed = r->seed, .trace = trace};

    (void)snprintf(world->dir, sizeof world->dir, "%s/store", r->from);
    disk_watch(&w);
    for (int i = 0; i < 4; i++)
        world_append(world, 60, false, false);
    world_sync(world);
    die_while_packing(world, 4, DISK_SYNC); /* of a hash and its name, of the file; of its name */
    disk_cut_behind("00000000000000000001.jsonl");
    (void)world_ready(world);
    if (check_failed + world_failed())
        _exit(1);
    disk_cut();
}

/* Of the first segment and of the last one: the records are of other numbers of the names, as if the numbers had been
 * given anew since; or the file is gone. The checkpoint goes with the first, and stays with the second. */
static void damage_idx(const struct round *r, evs_seq last)
{
    const evs_seq first[] = {1, last};
    struct log_rec rec[8];
    char path[300];

    for (int i = 0; i < 2; i++) {
        (void)snprintf(path, sizeof path, "%s/store/log/%020ju.idx", r->from, (uintmax_t)first[i]);
        int fd = open(path, O_RDWR | O_CLOEXEC);
        ssize_t n = fd < 0 ? 0 : pread(fd, rec, sizeof rec, SEGMENT_HEADER_BYTES);
        CHECK(n >= (ssize_t)sizeof *rec);
        for (ssize_t k = 0; k < n / (ssize_t)sizeof *rec; k++) {
            rec[k].entity = rec[k].entity % WORLD_ENTITIES + 1;
            rec[k].check = log_rec_check(&rec[k], first[i] + (evs_seq)k);
        }
        CHECK_EQ(pwrite(fd, rec, (size_t)n, SEGMENT_HEADER_BYTES), n);
        (void)close(fd);
        if (r->life == IDX_LOST)
            CHECK_EQ(unlink(path), 0);
    }
    (void)snprintf(path, sizeof path, "%s/store/index.ckpt", r->from);
    if (r->life == IDX_STALE)
        CHECK_EQ(unlink(path), 0);
}

/* An idx is put right, or made again, by who opens the store and dies; the next one finds it right, since it is so
 * in the page cache, and makes a checkpoint, which counts on it. */
static void until_a_checkpoint_counts_on_an_idx(void *arg)
{
    const struct round *r = arg;
    const struct disk_watch w = {
        .root = r->from, .shadow = r->shadow, .out = r->out, .seed = r->seed, .trace = trace};
    struct disk_fault f = {
        .n = 1 + r->seed / 2, .kinds = DISK_CHANGES, .code = EIO, .forever = true};

    (void)snprintf(world->dir, sizeof world->dir, "%s/store", r->from);
    for (int i = 0; i < 3; i++)
        world_append(world, 60, false, false);
    if (r->seed & 1)
        world_pack(world, 4);
    evs_seq last = world->st->lg->s[log_segments(world->st->lg) - 1]->first;
    (void)world_close(world);
    damage_idx(r, last);
    disk_watch(&w);
    world->allowed = 1u << EVS_SYSTEM | 1u << EVS_READ_ONLY;
    (void)disk_fault_set(&f);
    (void)world_ready(world);
    (void)disk_fault_set(NULL);
    world_kill(world);
    world->allowed = 0;
    world->failures = 0;
    if (world_ready(world))
        world_checkpoint(world);
    if (check_failed + world_failed())
        _exit(1);
    disk_cut();
}

static void (*const lives[])(void *arg) = {
    [ANY_LIFE] = until_the_cut,
    [BOTH_FORMS] = until_the_plain_file_goes,
    [IDX_STALE] = until_a_checkpoint_counts_on_an_idx,
    [IDX_LOST] = until_a_checkpoint_counts_on_an_idx,
};

/* What was durable must be there; of the rest, a prefix. */
static void look(void *arg)
{
    const struct round *r = arg;
    struct world *w = world;

    w->st = NULL;
    w->w = NULL;
    w->options.sync = false;
    w->allowed = 0;
    (void)snprintf(w->dir, sizeof w->dir, "%s/store", r->out);
    if (trace)
        fprintf(stderr, "# then: %u events and %u in flight, %u durable\n", w->n, w->flight,
                w->durable);
    w->flight += w->n - w->durable;
    w->n = w->durable;
    if (r->life >= IDX_STALE) { /* opened, but not read: that puts records right */
        CHECK_EQ(evs_open(w->dir, &w->options, &w->st, NULL), 0);
        (void)world_close(w);
        CHECK(world_verify(w));
    }
    if (!world_open(w)) {
        check_failed++;
        return;
    }
    if (trace)
        fprintf(stderr, "# found: %u events\n", w->n);
    world_finish(w);
}

/* As look() will, but only what it must find is worked out. */
static void expect_a_prefix(struct world *w)
{
    w->flight += w->n - w->durable;
    w->n = w->durable;
}

/* 0, or what went wrong. */
static int run_seed(uint64_t seed, bool lie, enum life life)
{
    uint64_t random = seed * 0x9e3779b97f4a7c15u + 7;
    uint32_t rounds = life != ANY_LIFE ? 1 : 1 + (uint32_t)(check_random(&random) % ROUNDS_MAX);
    struct round r = {.lie = lie, .life = life};
    int code = 0;

    uint64_t compressed = world->compressed;
    memset(world, 0, sizeof *world);
    world->compressed = compressed;
    world->options = (struct evs_options){
        .sync_interval_ms = UINT32_MAX, .segment_bytes = 1, .clock_us = clock_of_test};
    (void)snprintf(r.out, sizeof r.out, "%s/0", top);
    (void)mkdir(r.out, 0700);
    for (uint32_t i = 1; i <= rounds && code == 0; i++) {
        memcpy(r.from, r.out, sizeof r.from);
        (void)snprintf(r.out, sizeof r.out, "%s/%u", top, i);
        (void)snprintf(r.shadow, sizeof r.shadow, "%s/shadow%u", top, i);
        (void)mkdir(r.shadow, 0700);
        r.seed = life >= IDX_STALE ? seed : check_random(&random);
        int e = in_child(lives[life], &r);
        code = e == DISK_CUT_EXIT ? 0 : e ? e : 1;
        clean(r.from);
        clean(r.shadow);
        if (i < rounds)
            expect_a_prefix(world);
    }
    if (code == 0)
        code = in_child(look, &r);
    clean(r.out);
    return code;
}

/* ---- tests ---- */

#define FEWEST     150u
#define CI_SECONDS 60

static void synced_is_there_and_the_rest_a_prefix(void)
{
    const char *mode = getenv("EVFS_TEST_MODE"), *one = getenv("SEED"), *count = getenv("SEEDS"),
               *first = getenv("FROM");
    const bool ci = mode && strcmp(mode, "ci") == 0;
    const uint64_t begin = monotonic_ns();
    uint64_t n = mode && strcmp(mode, "long") == 0 ? 100000 : ci ? 1000 : FEWEST;
    uint64_t bad = 0, from = 1;

    if (count)
        n = strtoull(count, NULL, 0);
    if (first)
        from = strtoull(first, NULL, 0);
    if (one) {
        from = strtoull(one, NULL, 0);
        n = 1;
        trace = true;
    }
    for (uint64_t seed = from; seed < from + n && bad < 10; seed++) {
        int r = run_seed(seed, false, ANY_LIFE);
        if (r) {
            fprintf(stderr, "SEED=%ju: ended with %d\n", (uintmax_t)seed, r);
            bad++;
        }
        if (ci && !count && seed >= FEWEST && monotonic_ns() - begin > CI_SECONDS * 1000000000ull)
            n = seed - from + 1;
    }
    printf("# seeds %ju to %ju; %ju compressed segments were opened\n", (uintmax_t)from,
           (uintmax_t)(from + n - 1), (uintmax_t)world->compressed);
    CHECK_EQ(bad, 0);
}

/* The test of the test: a disk that says it has synced and has not loses events, and that is seen. */
static void a_disk_that_lies_is_found_out(void)
{
    int found = 0;
    int out = dup(2), null = open("/dev/null", O_WRONLY | O_CLOEXEC);

    (void)dup2(null, 2); /* what it finds is as it should be */
    for (uint64_t seed = 1; seed <= 40 && found < 3; seed++)
        found += run_seed(seed, true, ANY_LIFE) != 0;
    (void)dup2(out, 2);
    (void)close(out);
    (void)close(null);
    CHECK_EQ(found, 3);
}

static void both_forms_when_the_power_goes(void)
{
    uint64_t bad = 0;

    for (uint64_t seed = 1; seed <= 40; seed++)
        bad += run_seed(seed, false, BOTH_FORMS) != 0;
    CHECK_EQ(bad, 0);
}

static void idx_that_a_checkpoint_counts_on(void)
{
    uint64_t bad = 0;

    for (uint64_t seed = 1; seed <= 100; seed++) {
        bad += run_seed(seed, false, IDX_STALE) != 0;
        bad += run_seed(seed, false, IDX_LOST) != 0;
    }
    CHECK_EQ(bad, 0);
}

int main(void)
{
    char fast[] = "/dev/shm/evfs-power-XXXXXX", slow[] = "/tmp/evfs-power-XXXXXX";
    char *d = mkdtemp(fast) ? fast : mkdtemp(slow);

    if (!d)
        return 1;
    (void)snprintf(top, sizeof top, "%s", d);
    void *p = mmap(NULL, sizeof *world, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (p == MAP_FAILED)
        return 1;
    world = p;
    RUN(synced_is_there_and_the_rest_a_prefix);
    if (!getenv("SEED"))
        RUN(both_forms_when_the_power_goes);
    if (!getenv("SEED"))
        RUN(idx_that_a_checkpoint_counts_on);
    if (!getenv("SEED"))
        RUN(a_disk_that_lies_is_found_out);
    clean(d);
    CHECK_DONE();
}
