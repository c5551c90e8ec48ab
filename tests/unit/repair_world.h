/* SPDX-License-Identifier: MIT */
/* repair_world: a store whose lines are known, and all that can be done to its files. For test_repair.c. */
#ifndef REPAIR_WORLD_H
#define REPAIR_WORLD_H

#include "model.h"
#include "store/chain.h"
#include "store/checkpoint.h"
#include "store/ingest.h"
#include "store/keeper.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>

#define EVENTS 1400
#define FILES  64

static struct evs_error err;
static char *dir;
static char said[1 << 20];
static struct evs_repaired done;

/* ---- the store, as it was ---- */

static struct {
    char *p;
    size_t n;
    struct line line;
} was[EVENTS + 1];
static char *was_bytes;
static size_t was_n;

static struct {
    size_t n;
    char name[FILES][64];
    char *p[FILES];
    size_t len[FILES];
} good;

static void note(void *arg, const char *finding)
{
    size_t n = strlen(said);

    (void)arg;
    (void)snprintf(said + n, sizeof said - n, "%s\n", finding);
}

static char *path_of(const char *name)
{
    static char path[4][400];
    static int turn;

    turn = (turn + 1) % 4;
    (void)snprintf(path[turn], sizeof path[0], "%s/%s", dir, name);
    return path[turn];
}

static char *read_file(const char *name, size_t *ret_n)
{
    struct stat s = {0};
    int fd = open(path_of(name), O_RDONLY | O_CLOEXEC);

    if (fd < 0)
        return NULL;
    CHECK_EQ(fstat(fd, &s), 0);
    char *p = malloc((size_t)s.st_size + 1);
    CHECK_EQ(read(fd, p, (size_t)s.st_size), s.st_size);
    (void)close(fd);
    *ret_n = (size_t)s.st_size;
    return p;
}

static void write_file(const char *name, const char *p, size_t n)
{
    int fd = open(path_of(name), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

    CHECK_EQ(write(fd, p, n), n);
    (void)close(fd);
}

static int by_name(const void *a, const void *b)
{
    return strcmp(a, b);
}

static size_t list(const char *sub, const char *suffix, char names[FILES][64])
{
    struct dirent *e;
    DIR *d = opendir(path_of(sub));
    size_t n = 0;

    while (d && (e = readdir(d)) && n < FILES) {
        size_t len = strlen(e->d_name), k = strlen(suffix);
        if (e->d_name[0] != '.' && len >= k && strcmp(e->d_name + len - k, suffix) == 0)
            (void)snprintf(names[n++], 64, "%.20s/%.40s", sub, e->d_name);
    }
    if (d)
        (void)closedir(d);
    qsort(names, n, 64, by_name);
    return n;
}

static void empty(const char *sub)
{
    char names[FILES][64];

    for (size_t n; (n = list(sub, "", names)) > 0;)
        for (size_t i = 0; i < n; i++)
            CHECK_EQ(unlink(path_of(names[i])), 0);
}

static void restore(void)
{
    empty("log");
    empty("log.new");
    empty("damaged");
    (void)rmdir(path_of("log.new"));
    (void)unlink(path_of(CHECKPOINT_FILE));
    for (size_t i = 0; i < good.n; i++)
        write_file(good.name[i], good.p[i], good.len[i]);
}

static void fill(struct evs_store *st, uint64_t *random)
{
    char text[700];

    while (evs_end(st) < EVENTS - 4) {
        unsigned i = (unsigned)evs_end(st), a = (unsigned)(check_random(random) % 40),
                 b = (unsigned)(check_random(random) % 7);
        (void)snprintf(text, sizeof text,
                       i % 9 == 0
                           ? "[{\"entity\":\"a/%u\",\"type\":\"t%u\",\"data\":{\"n\":%u}},"
                             "{\"entity\":\"big\",\"type\":\"u\"},{\"entity\":\"a\",\"type\":"
                             "\"t1\",\"id\":\"x%u\"}]\n"
                           : "{\"entity\":\"c/d "
                             "%u\",\"type\":\"v%u\",\"data\":\"{\\\"seq\\\":%u\",\"id\":\"i%u\"}\n",
                       a, b, i, i);
        CHECK(put(st, text) > 0);
    }
    while (evs_end(st) < EVENTS)
        CHECK(put(st, "{\"entity\":\"big\",\"type\":\"last\"}\n") > 0);
}

static void make_store(void)
{
    struct evs_store *st = NULL;
    uint64_t random = 11;

    dir = strdup("/dev/shm/evfs-test-XXXXXX"); /* what a disk keeps is not looked at here */
    if (!mkdtemp(dir)) {
        free(dir);
        dir = model_dir();
    }
    CHECK_EQ(
        evs_open(dir, &(struct evs_options){.segment_bytes = 64 << 10, .compress = -1}, &st, &err),
        0);
    fill(st, &random);
    CHECK_EQ(evs_sync(st, evs_end(st), &err), 0);
    keeper_stop(st);
    while (chain_extend(st->chain, 1000000))
        ;
    was_bytes = model_read(st, &(struct evs_view){.kind = EVS_ALL}, &was_n);
    CHECK_EQ(evs_close(st, &err), 0);
    char *p = was_bytes;
    for (evs_seq seq = 1; seq <= EVENTS; seq++) {
        char *lf = memchr(p, '\n', was_n - (size_t)(p - was_bytes));
        was[seq].p = p;
        was[seq].n = (size_t)(lf - p) + 1;
        CHECK_EQ(line_parse(p, was[seq].n, &was[seq].line, NULL, NULL), 0);
        p = lf + 1;
    }
    good.n = list("log", "", good.name);
    (void)snprintf(good.name[good.n++], 64, CHECKPOINT_FILE);
    for (size_t i = 0; i < good.n; i++)
        good.p[i] = read_file(good.name[i], &good.len[i]);
}

/* ---- what is done to it ---- */

static bool whole[EVENTS + 1];  /* the line is somewhere, byte for byte */
static bool but_lf[EVENTS + 1]; /* all but its LF */

static void look_what_is_left(void)
{
    char names[FILES][64];
    size_t n = list("log", ".jsonl", names);

    memset(whole, 0, sizeof whole);
    memset(but_lf, 0, sizeof but_lf);
    for (size_t i = 0; i < n; i++) {
        size_t len = 0;
        char *p = read_file(names[i], &len);
        for (evs_seq seq = 1; seq <= EVENTS; seq++) {
            for (char *at = p; !whole[seq] && (at = memmem(at, len - (size_t)(at - p), was[seq].p,
                                                           was[seq].n - 1));
                 at++) {
                size_t end = (size_t)(at - p) + was[seq].n - 1;
                whole[seq] = end < len && p[end] == '\n';
                but_lf[seq] = true;
            }
        }
        free(p);
    }
}

/* Behind the last good line with nothing that vouches for more, the log ends; whole lines there are kept aside. */
static bool is_kept(evs_seq seq, evs_seq end)
{
    char name[64];
    size_t n;

    (void)snprintf(name, sizeof name, "log/%020" PRIu64 ".cut", end + 1);
    char *p = read_file(name, &n);
    bool found = p && memmem(p, n, was[seq].p, was[seq].n);
    free(p);
    return found;
}

static void swap_lines(const char *name, const char *p, size_t len)
{
    const char *a = memchr(p + len / 4, '\n', len / 4), *b = memchr(p + len / 2, '\n', len / 4);

    if (!a || !b)
        return;
    a++, b++;
    const char *ae = memchr(a, '\n', len - (size_t)(a - p)),
               *be = memchr(b, '\n', len - (size_t)(b - p));
    if (!ae || !be || ae >= b)
        return;
    char *q = malloc(len), *o = mempcpy(q, p, (size_t)(a - p));
    o = mempcpy(o, b, (size_t)(be + 1 - b));
    o = mempcpy(o, ae + 1, (size_t)(b - ae - 1));
    o = mempcpy(o, a, (size_t)(ae + 1 - a));
    memcpy(o, be + 1, len - (size_t)(be + 1 - p));
    write_file(name, q, len);
    free(q);
}

static void hit(uint64_t *random)
{
    char lines[FILES][64], all[FILES][64];
    size_t n = list("log", ".jsonl", lines), n_all = list("log", "", all), len = 0, at, sectors;
    const char *name = lines[check_random(random) % n];
    char *p = read_file(name, &len), *q, other[64];
    size_t other_len;

    if (len < 2000) {
        free(p);
        return;
    }
    switch (check_random(random) % 11) {
    case 0: /* a bit */
    case 1:
        p[check_random(random) % len] ^= (char)(1 << check_random(random) % 8);
        write_file(name, p, len);
        break;
    case 2: /* a sector or more of zeros */
        at = check_random(random) % (len - 600) & ~(size_t)511;
        sectors = (size_t)1 << check_random(random) % 3;
        memset(p + at, 0, MIN(len - at, 512 * sectors));
        write_file(name, p, len);
        break;
    case 3: /* cut */
        write_file(name, p, len - 1 - check_random(random) % (len / 2));
        break;
    case 4: /* a file is gone */
        CHECK_EQ(unlink(path_of(all[check_random(random) % n_all])), 0);
        break;
    case 5: /* two lines change places */
        swap_lines(name, p, len);
        break;
    case 6: /* two files have each other's name */
        memcpy(other, lines[check_random(random) % n], sizeof other);
        q = read_file(other, &other_len);
        write_file(other, p, len);
        write_file(name, q, other_len);
        free(q);
        break;
    case 7: /* something derived */
        free(p);
        name = all[check_random(random) % n_all];
        p = read_file(name, &len);
        if (len)
            p[check_random(random) % len] ^= 1;
        write_file(name, p, len);
        break;
    case 8:
        (void)unlink(path_of(CHECKPOINT_FILE));
        break;
    case 9: /* bytes that are nothing are put in */
        at = check_random(random) % len;
        q = calloc(1, len + 300);
        memcpy(q, p, at);
        memset(q + at, 'x', 300);
        memcpy(q + at + 300, p + at, len - at);
        write_file(name, q, len + 300);
        free(q);
        break;
    default: { /* a line is taken out */
        char *a = memchr(p + len / 3, '\n', len / 3),
             *e = a ? memchr(a + 1, '\n', len - (size_t)(a + 1 - p)) : NULL;
        if (!e)
            break;
        memmove(a + 1, e + 1, len - (size_t)(e + 1 - p));
        write_file(name, p, len - (size_t)(e - a));
        break;
    }
    }
    free(p);
}

#endif
