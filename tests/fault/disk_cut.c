/* SPDX-License-Identifier: MIT */
/* disk_cut: what a disk may show after the power went.
 *
 * Of each file: every sector of 512 bytes that differs from what was synced is, independently of all others, the
 * new one, the old one, the beginning of the new with the rest of the old, or garbage; the size is that of then
 * or now, or, of one that has grown, anything between. A cut has happened or not, and then what was behind is as it
 * was: file systems change a size in one step, and SQLite counts on it (of half a WAL it would take the first
 * transactions, though all of them are in the database). Garbage only where bytes were written: a disk is taken to
 * leave the rest of a sector alone, as SQLite takes it ("powersafe overwrite").
 * Of each directory: every change since it was synced has happened or not, independently; a rename is one.
 * All is drawn from the seed. So that not every cut is the same chaos, each file has a temper of its own: all
 * new, all old, mostly new, or any. */
#include "disk.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#define SECTOR 512u

enum temper { ALL_NEW, ALL_OLD, MOSTLY_NEW, ANY, TEMPERS };
enum fate { NEW, OLD, TORN, GARBLED, FATES };

static uint64_t state;

static uint64_t draw(uint64_t below)
{
    state = state ? state : 1;
    state ^= state >> 12;
    state ^= state << 25;
    state ^= state >> 27;
    return (state * 0x2545f4914f6cdd1du >> 20) % below;
}

static void garble(unsigned char *to, const unsigned char *now, const unsigned char *then, size_t n)
{
    size_t a = 0, b = n;

    while (a < b && now[a] == then[a])
        a++;
    while (b > a && now[b - 1] == then[b - 1])
        b--;
    for (; a < b; a++)
        to[a] = (unsigned char)draw(256);
}

/* Decide each sector; the result is in d->now. Returns the size. */
static size_t build_bytes(ino_t ino, enum temper temper, unsigned fates[FATES])
{
    struct disk *d = disk_;
    ssize_t n = disk_load('l', ino, d->now), m = disk_load('s', ino, d->then);
    size_t now = (size_t)n, then = (size_t)(m > 0 ? m : 0), most = now > then ? now : then;

    memset(d->now + now, 0, most - now);
    memset(d->then + then, 0, most - then);
    for (size_t at = 0; at < most; at += SECTOR) {
        size_t k = most - at < SECTOR ? most - at : SECTOR;
        unsigned char *p = d->now + at, *q = d->then + at;
        if (memcmp(p, q, k) == 0)
            continue;
        enum fate f = temper == ALL_NEW                ? NEW
                      : temper == ALL_OLD              ? OLD
                      : temper == ANY || draw(16) == 0 ? (enum fate)draw(FATES)
                                                       : NEW;
        if (at >= now)
            f = OLD;
        fates[f]++;
        if (f == GARBLED)
            garble(p, p, q, k);
        else if (f == OLD)
            memcpy(p, q, k);
        else if (f == TORN) {
            size_t keep = draw(k);
            memcpy(p + keep, q + keep, k - keep);
        }
    }
    if (temper == ALL_NEW)
        return now;
    if (temper == ALL_OLD)
        return then;
    if (now < then)
        return draw(2) ? now : then;
    return draw(2) ? now : draw(2) ? then : then + draw(now - then + 1);
}

static void build_file(int to, const char *name, ino_t ino)
{
    unsigned fates[FATES] = {0};
    enum temper temper = (enum temper)draw(TEMPERS);
    size_t n = build_bytes(ino, temper, fates);
    int fd = (int)syscall(SYS_openat, to, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);

    if (fd < 0 || (n && syscall(SYS_pwrite64, fd, disk_->now, n, (off_t)0) != (ssize_t)n)) {
        dprintf(2, "disk: cannot write %s\n", name);
        _exit(99);
    }
    (void)close(fd);
    if (disk_->w.trace)
        dprintf(2, "#   %s: %zu bytes; sectors: %u new, %u old, %u torn, %u garbled\n", name, n,
                fates[NEW], fates[OLD], fates[TORN], fates[GARBLED]);
}

static void build_dir(const char *path, ino_t dir)
{
    struct disk *d = disk_;
    struct disk_entry list[DISK_FILES];
    uint32_t n = 0;

    (void)syscall(SYS_mkdirat, AT_FDCWD, path, 0700);
    int to = (int)syscall(SYS_openat, AT_FDCWD, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    for (uint32_t i = 0; i < d->n_synced; i++)
        if (d->synced[i].dir == dir)
            list[n++] = d->synced[i];
    uint64_t odds = draw(3); /* none, some, all of the changes */
    for (uint32_t i = 0; i < d->n_ops; i++) {
        const struct disk_op *op = &d->ops[i];
        if (op->dir != dir)
            continue;
        bool happened = odds == 2 || (odds == 1 && draw(2));
        if (d->w.trace)
            dprintf(2, "#   %s %s%s%s%s\n", happened ? "done:  " : "undone:", op->from,
                    *op->from ? " -> "
                    : op->ino ? "new "
                              : "gone ",
                    op->name, "");
        if (!happened)
            continue;
        uint32_t k = 0;
        for (uint32_t j = 0; j < n; j++)
            if (strcmp(list[j].name, op->name) != 0 && strcmp(list[j].name, op->from) != 0)
                list[k++] = list[j];
        n = k;
        if (op->ino) {
            if (n == DISK_FILES)
                disk_die("too many files");
            list[n] = (struct disk_entry){.dir = dir, .ino = op->ino};
            memcpy(list[n++].name, op->name, DISK_NAME);
        }
    }
    for (uint32_t i = 0; i < n; i++) {
        char sub[512];
        (void)snprintf(sub, sizeof sub, "%s/%s", path, list[i].name);
        if (disk_is_dir(list[i].ino))
            build_dir(sub, list[i].ino);
        else
            build_file(to, list[i].name, list[i].ino);
    }
    (void)close(to);
}

void disk_make_cut(void)
{
    state = disk_->w.seed * 0x9e3779b97f4a7c15u + 1;
    (void)draw(2);
    if (disk_->w.trace)
        dprintf(2, "# the power goes, call %ju\n", (uintmax_t)atomic_load(&disk_->changes));
    build_dir(disk_->out, disk_->root_ino);
}
