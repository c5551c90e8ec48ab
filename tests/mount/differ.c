/* SPDX-License-Identifier: MIT */
/* differ ORACLE MOUNT SECONDS: the same random calls, by several processes in one order, on an append-only
 * directory of another filesystem and on evfs; each answer is compared: what the call returned, its errno, the
 * bytes, attributes and names that it gave. Now and then the two trees are compared as a whole.
 *
 * ORACLE is an empty directory where FS_APPEND_FL can be set (ext4, xfs, btrfs, tmpfs since Linux 6.6), which
 * only root may. A file of the oracle gets it when it is made, and what a file of evfs has by itself: the
 * owner and mode of its directory, without the x bits.
 *
 * A difference that is not on the list (differ_known.c) ends the run. Its round is then run again with ever
 * fewer steps, and the shortest list that still differs is printed. SEED=n begins with that round; STEPS=n
 * is how many a round has; ALL=1 fails for a row of the list that was never needed. */
#include "differ.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/fs.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

const char *const dir_names[DIRS] = {"a", "a/b", "c", "c/d"};
const char *const file_names[FILES] = {
    "a/t.jsonl",   "a/u.jsonl",   "a/z.jsonl",    "a/b/t.jsonl",      "a/b/v.jsonl",
    "a/b/z.jsonl", "c/t.jsonl",   "c/x.jsonl",    "c/z.jsonl",        "c/d/t.jsonl",
    "c/d/u.jsonl", "c/d/z.jsonl", "c/none.jsonl", "a/z.jsonl/x.jsonl"};
const uint8_t dir_of_file[FILES] = {0, 0, 0, 1, 1, 1, 2, 2, 2, 3, 3, 3, 2, 0};
enum { SHARED_FILE = 0, SHARED_READ = 6, Z = 2 }; /* every third is there from the beginning */

static const char *oracle_root, *mount_root;
static bool quiet; /* while a shorter list is looked for */

static uint64_t random_state;

static uint32_t draw(void)
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return (uint32_t)(random_state >> 16);
}

static _Noreturn void die(const char *what)
{
    fprintf(stderr, "differ: %s: %s\n", what, strerror(errno));
    exit(1);
}

static int draw_flags(void)
{
    static const int more[] = {O_TRUNC,   O_EXCL | O_CREAT, O_DIRECTORY, O_NOFOLLOW,
                               O_PATH,    O_DSYNC,          O_NONBLOCK,  O_SYNC,
                               O_NOATIME, O_CREAT,          O_TMPFILE,   O_TRUNC | O_CREAT};
    int flags = (int[]){O_RDONLY, O_WRONLY, O_RDWR}[draw() % 3];

    if (draw() % 4)
        flags |= O_APPEND;
    if (draw() % 2)
        flags |= O_CREAT;
    if (draw() % 3 == 0)
        flags |= more[draw() % (sizeof more / sizeof *more)];
    if (draw() % 9 == 0)
        flags |= more[draw() % (sizeof more / sizeof *more)];
    return flags;
}

static struct step draw_step(void)
{
    static const int modes[] = {0755, 0700, 0777, 0711, 0750, 0733, 01777, 02775, 0555, 0000};
    struct step s = {.call = (uint8_t)(draw() % CALL_COUNT),
                     .worker = (uint8_t)(draw() % WORKERS),
                     .slot = (uint8_t)(draw() % SLOTS),
                     .slot2 = (uint8_t)(draw() % SLOTS),
                     .file = (uint8_t)(draw() % FILES),
                     .file2 = (uint8_t)(draw() % (FILES - 1)),
                     .dir = (uint8_t)(draw() % DIRS),
                     .a = draw(),
                     .b = draw()};

    if (draw() % 5 == 0)
        s.call = CALL_OPEN;
    else if (draw() % 6 == 0)
        s.call = (uint8_t)(CALL_WRITE + draw() % 8);
    if (s.call == CALL_OPEN)
        s.flags = draw_flags();
    else
        s.flags = modes[draw() % (sizeof modes / sizeof *modes)];
    if (s.call == CALL_VIEW_WRITE) { /* by root: above borders, and to a file that can be */
        s.worker %= WORKERS - 1;
        s.file %= FILE_NONE;
    }
    return s;
}

/* ---- the two trees ---- */

static off_t oracle_size(const struct world *w, int file)
{
    struct stat st;

    return stat(world_path(w, ORACLE, file_names[file]), &st) < 0 ? -1 : st.st_size;
}

/* Give a file of the oracle its directory's owner and mode, and make it append-only. */
static void adopt(const struct world *w, int file)
{
    const char *path = world_path(w, ORACLE, file_names[file]);
    struct stat dir;
    int flags = 0, fd = open(path, O_RDONLY | O_CLOEXEC);

    if (fd < 0)
        return; /* not there */
    if (stat(world_path(w, ORACLE, dir_names[dir_of_file[file]]), &dir) < 0 ||
        ioctl(fd, FS_IOC_GETFLAGS, &flags) < 0)
        die(path);
    flags &= ~FS_APPEND_FL;
    if (ioctl(fd, FS_IOC_SETFLAGS, &flags) < 0 || fchown(fd, dir.st_uid, dir.st_gid) < 0 ||
        fchmod(fd, dir.st_mode & 0666) < 0)
        die(path);
    flags |= FS_APPEND_FL;
    if (ioctl(fd, FS_IOC_SETFLAGS, &flags) < 0)
        die(path);
    (void)close(fd);
}

static void append(const char *path)
{
    int fd = open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0644);

    if (fd < 0 || write(fd, "0\n", 2) != 2)
        die(path);
    (void)close(fd);
}

static void world_make(struct world *w, uint64_t round)
{
    *w = (struct world){0};
    (void)snprintf(w->entity, sizeof w->entity, "w%" PRIu64, round);
    (void)snprintf(w->base[ORACLE], sizeof w->base[0], "%s/%s", oracle_root, w->entity);
    (void)snprintf(w->base[EVFS], sizeof w->base[0], "%s/entities/%s", mount_root, w->entity);
    (void)snprintf(w->all, sizeof w->all, "%s/events.jsonl", mount_root);
    if (mkdir(w->base[ORACLE], 0755) < 0)
        die(w->base[ORACLE]);
    for (int i = 0; i < DIRS; i++)
        if (mkdir(world_path(w, ORACLE, dir_names[i]), 0755) < 0)
            die(dir_names[i]);
    for (int side = 0; side < SIDES; side++)
        for (int i = Z; i < FILE_NONE; i += 3)
            append(world_path(w, side, file_names[i]));
    for (int side = 0; side < SIDES; side++)
        for (int i = 0; i < DIRS; i++)
            if (chmod(world_path(w, side, dir_names[i]), 0755) < 0)
                die(dir_names[i]);
    for (int i = Z; i < FILE_NONE; i += 3)
        adopt(w, i);
}

/* Only the oracle's: a store keeps its events. */
static void world_remove(const struct world *w)
{
    char command[sizeof w->base + 64];

    (void)snprintf(command, sizeof command, "chattr -R -a '%s' && rm -rf '%s'", w->base[ORACLE],
                   w->base[ORACLE]);
    if (system(command) != 0)
        die(command);
}

static char *content(const char *path, size_t *ret_n)
{
    struct stat st = {0};
    int fd = open(path, O_RDONLY | O_CLOEXEC);

    *ret_n = 0;
    if (fd < 0)
        return strdup("");
    (void)fstat(fd, &st);
    char *p = malloc((size_t)st.st_size + 4096);
    ssize_t r;
    while ((r = read(fd, p + *ret_n, (size_t)st.st_size + 4096 - *ret_n)) > 0)
        *ret_n += (size_t)r;
    (void)close(fd);
    return p;
}

/* Every file has the same bytes on both sides. */
static bool same_trees(const struct world *w)
{
    bool same = true;

    for (int i = 0; i < FILE_NONE && same; i++) {
        size_t n[SIDES];
        char *p[SIDES];
        for (int side = 0; side < SIDES; side++)
            p[side] = content(world_path(w, side, file_names[i]), &n[side]);
        same = n[ORACLE] == n[EVFS] && memcmp(p[ORACLE], p[EVFS], n[EVFS]) == 0;
        if (!same && !quiet)
            fprintf(stderr, "differ: %s: %zu bytes, and %zu on evfs\n", file_names[i], n[ORACLE],
                    n[EVFS]);
        free(p[ORACLE]);
        free(p[EVFS]);
    }
    return same;
}

/* ---- one round ---- */

static void start(const struct world *w, pid_t pids[WORKERS], int fds[WORKERS])
{
    for (int side = 0; side < SIDES; side++)
        for (int i = 0; i < 2; i++) {
            const char *name = file_names[i ? SHARED_READ : SHARED_FILE];
            int fd = open(world_path(w, side, name),
                          i ? O_RDONLY | O_CREAT : O_RDWR | O_APPEND | O_CREAT, 0644);
            if (fd < 0 || dup2(fd, 100 + 2 * i + side) < 0)
                die(name);
            (void)close(fd);
        }
    adopt(w, SHARED_FILE);
    adopt(w, SHARED_READ);
    for (int i = 0; i < WORKERS; i++) {
        int pair[2];
        if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
            die("socketpair");
        pids[i] = fork();
        if (pids[i] < 0)
            die("fork");
        if (pids[i] == 0) {
            for (int j = 0; j < i; j++)
                (void)close(fds[j]);
            (void)close(pair[0]);
            work(w, i, pair[1]);
        }
        (void)close(pair[1]);
        fds[i] = pair[0];
    }
    for (int i = 100; i < 104; i++)
        (void)close(i);
}

static void tell(const struct step *s, const struct answers *r)
{
    static const char *const names[SIDES] = {"oracle", "evfs"};

    if (quiet)
        return;
    step_print(stderr, s);
    for (int side = 0; side < SIDES; side++)
        fprintf(stderr, "  %-6s %" PRId64 " %s hash %" PRIx64 " %s\n", names[side],
                r->side[side].ret, r->side[side].err ? strerrorname_np(r->side[side].err) : "",
                r->side[side].hash, r->side[side].note);
}

static bool step_differs(const struct world *w, const struct step *s, int fd)
{
    struct answers r;
    const struct answer *o = &r.side[ORACLE], *e = &r.side[EVFS];
    off_t size = oracle_size(w, s->file), size2 = oracle_size(w, s->file2);

    if (write(fd, s, sizeof *s) != sizeof *s || read(fd, &r, sizeof r) != sizeof r)
        die("a worker ended");
    /* What of the oracle has to follow by itself. */
    if (s->call == CALL_OPEN || s->call == CALL_VIEW_WRITE) {
        adopt(w, s->file);
    } else if (s->call == CALL_CHMOD_DIR || s->call == CALL_CHOWN_DIR) {
        for (int i = 0; i < FILE_NONE; i++)
            if (dir_of_file[i] == s->dir)
                adopt(w, i);
    }
    if (o->ret == e->ret && o->err == e->err && o->hash == e->hash)
        return false;
    if (known(s, &r, size, size2))
        return false;
    tell(s, &r);
    return true;
}

/* Run steps in a new world. The index of the first that differs; n if none does. */
static size_t run(const struct step *steps, size_t n, bool views)
{
    static uint64_t worlds;
    struct world w;
    pid_t pids[WORKERS];
    int fds[WORKERS], status;
    size_t i;

    world_make(&w, ++worlds);
    w.views = views;
    start(&w, pids, fds);
    for (i = 0; i < n; i++)
        if (step_differs(&w, &steps[i], fds[steps[i].worker]) ||
            (i % 250 == 249 && !same_trees(&w)))
            break;
    if (i == n && !same_trees(&w))
        i = n - 1;
    for (int j = 0; j < WORKERS; j++) {
        (void)close(fds[j]);
        if (waitpid(pids[j], &status, 0) < 0 || status != 0)
            die("a worker failed");
    }
    world_remove(&w);
    return i;
}

/* Leave out ever smaller parts, as long as it still differs. */
static size_t shrink(struct step *steps, size_t n, bool views)
{
    struct step *some = malloc(n * sizeof *some);

    quiet = true;
    for (size_t part = n / 2; part > 0; part /= 2) {
        for (size_t from = 0; from < n;) {
            size_t cut = part < n - from ? part : n - from, left = n - cut;
            memcpy(some, steps, from * sizeof *steps);
            memcpy(some + from, steps + from + cut, (n - from - cut) * sizeof *steps);
            size_t at = left ? run(some, left, views) : left;
            if (at < left) {
                n = at + 1;
                memcpy(steps, some, n * sizeof *steps);
            } else {
                from += cut;
            }
        }
    }
    quiet = false;
    free(some);
    return n;
}

static uint64_t number(const char *name, uint64_t otherwise)
{
    const char *s = getenv(name);

    return s && *s ? strtoull(s, NULL, 10) : otherwise;
}

int main(int argc, char **argv)
{
    struct timespec t;
    uint64_t seed, rounds = 0, calls = 0;

    if (argc != 4) {
        fprintf(stderr, "usage: differ ORACLE MOUNT SECONDS\n");
        return 2;
    }
    oracle_root = argv[1];
    mount_root = argv[2];
    (void)umask(022);
    (void)signal(SIGPIPE, SIG_IGN);
    (void)clock_gettime(CLOCK_REALTIME, &t);
    seed = number("SEED", (uint64_t)t.tv_nsec % 1000000 + (uint64_t)t.tv_sec % 1000 * 1000000);
    size_t n = (size_t)number("STEPS", 2500);
    time_t end = t.tv_sec + atoi(argv[3]);
    struct step *steps = calloc(n, sizeof *steps);
    if (!steps)
        die("memory");
    for (; rounds == 0 || time(NULL) < end; rounds++, calls += n) {
        random_state = (seed + rounds + 1) * 0x9e3779b97f4a7c15u;
        bool views = (seed + rounds) % 2;
        for (size_t i = 0; i < n; i++) {
            steps[i] = draw_step();
            if (steps[i].call == CALL_VIEW_WRITE && !views)
                steps[i].call = CALL_WRITE;
        }
        size_t at = run(steps, n, views);
        if (at == n)
            continue;
        fprintf(stderr, "differ: SEED=%" PRIu64 ", step %zu; the shortest list of steps:\n",
                seed + rounds, at);
        size_t left = shrink(steps, at + 1, views);
        for (size_t i = 0; i < left; i++)
            step_print(stderr, &steps[i]);
        (void)run(steps, left, views);
        return 1;
    }
    printf("SEED=%" PRIu64 ": %" PRIu64 " rounds, %" PRIu64 " calls, %d processes\n", seed, rounds,
           calls, WORKERS);
    known_print();
    return getenv("ALL") && known_unused() ? 1 : 0;
}
