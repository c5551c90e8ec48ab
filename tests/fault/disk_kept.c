/* SPDX-License-Identifier: MIT */
/* disk_kept: what is remembered of the watched files and directories. With the disk's lock held.
 * Of each file the shadow has a hard link (l), so that no inode is ever used twice, a copy as it was synced (s),
 * and a copy of what was lost by a sync that failed (p): the kernel takes such pages for clean, so that a later
 * sync does not write them either, until they are written again. */
#include "disk.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#define SECTOR 512u

struct disk *disk_;

static bool among(const ino_t *v, uint32_t n, ino_t ino)
{
    for (uint32_t i = n; i-- > 0;)
        if (v[i] == ino)
            return true;
    return false;
}

bool disk_is_dir(ino_t ino)
{
    return among(disk_->dirs, disk_->n_dirs, ino);
}

bool disk_is_file(ino_t ino)
{
    return among(disk_->files, disk_->n_files, ino);
}

void disk_die(const char *what)
{
    dprintf(2, "disk: %s: %s\n", what, strerror(errno));
    _exit(99);
}

static int shadow_open(char letter, ino_t ino, int flags)
{
    char path[300];

    /* By path: the child that writes a checkpoint closes what it doesn't know. */
    (void)snprintf(path, sizeof path, "%s/%c%ju", disk_->shadow, letter, (uintmax_t)ino);
    return (int)syscall(SYS_openat, AT_FDCWD, path, flags | O_CLOEXEC, 0600);
}

ssize_t disk_load(char letter, ino_t ino, unsigned char *buf)
{
    int fd = shadow_open(letter, ino, O_RDONLY);
    size_t n = 0;
    ssize_t k;

    if (fd < 0)
        return -1;
    while ((k = syscall(SYS_pread64, fd, buf + n, DISK_BYTES - n, (off_t)n)) > 0)
        n += (size_t)k;
    (void)close(fd);
    if (k < 0 || n == DISK_BYTES)
        disk_die("a file is too large for the test");
    return (ssize_t)n;
}

static ssize_t disk_at(char letter, ino_t ino, unsigned char *buf, size_t n, uint64_t at)
{
    int fd = shadow_open(letter, ino, O_RDONLY);
    ssize_t r = fd < 0 ? -1 : syscall(SYS_pread64, fd, buf, n, (off_t)at);

    if (fd >= 0)
        (void)close(fd);
    return r;
}

void disk_save(char letter, ino_t ino, const unsigned char *buf, size_t n)
{
    int fd = shadow_open(letter, ino, O_WRONLY | O_CREAT | O_TRUNC);

    if (fd < 0 || (n && syscall(SYS_pwrite64, fd, buf, n, (off_t)0) != (ssize_t)n))
        disk_die("shadow");
    (void)close(fd);
}

/* The file's bytes are on the disk now, but for those that an earlier sync has lost. */
void disk_snapshot(ino_t ino)
{
    struct disk *d = disk_;
    ssize_t n = disk_load('l', ino, d->now), m = d->n_lost ? disk_load('p', ino, d->lost) : -1;

    if (m >= 0) {
        ssize_t old = disk_load('s', ino, d->then);
        memset(d->then + (old > 0 ? old : 0), 0, DISK_BYTES - (size_t)(old > 0 ? old : 0));
        for (ssize_t at = 0; at < n; at += SECTOR) {
            size_t k = (size_t)(n - at < SECTOR ? n - at : SECTOR);
            size_t l = (size_t)(m - at < SECTOR ? m - at : SECTOR);
            if (at < m && k == l && memcmp(d->now + at, d->lost + at, k) == 0)
                memcpy(d->now + at, d->then + at, k);
        }
    }
    disk_save('s', ino, d->now, (size_t)n);
}

/* The same, though it failed: nothing of what is new now will ever be written. */
void disk_lose(ino_t ino)
{
    struct disk *d = disk_;
    ssize_t n = disk_load('l', ino, d->now), old = disk_load('s', ino, d->then);

    /* What the disk has already is not lost. */
    for (ssize_t at = 0; at < n && at < old; at += SECTOR)
        if (n - at >= SECTOR && old - at >= SECTOR &&
            memcmp(d->now + at, d->then + at, SECTOR) == 0)
            d->now[at] ^= 0xff;
    disk_save('p', ino, d->now, (size_t)n);
    d->n_lost++;
}

/* Written again: the next sync has it. */
void disk_find_again(ino_t ino, uint64_t at, size_t n)
{
    struct disk *d = disk_;
    ssize_t m = d->n_lost ? disk_load('p', ino, d->lost) : -1;

    if (m < 0)
        return;
    for (uint64_t i = at / SECTOR * SECTOR; i < at + n && i < (uint64_t)m; i += SECTOR) {
        size_t k = (uint64_t)m - i < SECTOR ? (uint64_t)m - i : SECTOR;
        unsigned char now[SECTOR];
        (void)disk_at('l', ino, now, k, i);
        if (memcmp(now, d->lost + i, k) == 0)
            d->lost[i] ^= 0xff;
    }
    disk_save('p', ino, d->lost, (size_t)m);
}

void disk_sync_dir(ino_t dir)
{
    struct disk *d = disk_;
    uint32_t kept = 0;

    for (uint32_t i = 0; i < d->n_ops; i++) {
        const struct disk_op *op = &d->ops[i];
        if (op->dir != dir) {
            d->ops[kept++] = *op;
            continue;
        }
        uint32_t n = 0;
        for (uint32_t k = 0; k < d->n_synced; k++) {
            const struct disk_entry *e = &d->synced[k];
            bool gone = e->dir == dir && (strcmp(e->name, op->name) == 0 ||
                                          (*op->from && strcmp(e->name, op->from) == 0));
            if (!gone)
                d->synced[n++] = *e;
        }
        if (op->ino) {
            if (n == DISK_FILES)
                disk_die("too many files");
            d->synced[n] = (struct disk_entry){.dir = dir, .ino = op->ino};
            memcpy(d->synced[n++].name, op->name, DISK_NAME);
        }
        d->n_synced = n;
    }
    d->n_ops = kept;
}

void disk_add_file(ino_t ino, int dirfd, const char *path)
{
    char link[300];

    (void)snprintf(link, sizeof link, "%s/l%ju", disk_->shadow, (uintmax_t)ino);
    if (linkat(dirfd, path, AT_FDCWD, link, 0) < 0)
        disk_die("link");
    if (disk_->n_files == DISK_FILES)
        disk_die("too many files");
    disk_->files[disk_->n_files++] = ino;
}

/* The directory of a path, if it is watched, and the name in it. */
bool disk_find_dir(int dirfd, const char *path, ino_t *ret_dir, const char **ret_name)
{
    char dir[512] = ".";
    const char *slash = strrchr(path, '/');
    struct stat st;

    if (!disk_ || !atomic_load(&disk_->watching))
        return false;
    if (slash)
        (void)snprintf(dir, sizeof dir, "%.*s", (int)(slash - path), path);
    if ((slash || dirfd == AT_FDCWD ? fstatat(dirfd, dir, &st, 0) : fstat(dirfd, &st)) < 0)
        return false;
    *ret_dir = st.st_ino;
    *ret_name = slash ? slash + 1 : path;
    if (!disk_is_dir(st.st_ino) || strcmp(*ret_name, ".") == 0)
        return false;
    if (strlen(*ret_name) >= DISK_NAME)
        disk_die("a name is too long for the test");
    return true;
}

void disk_add_op(ino_t dir, const char *name, ino_t ino, const char *from)
{
    struct disk_op *op = &disk_->ops[disk_->n_ops];

    if (disk_->n_ops == DISK_OPS)
        disk_die("too many changes of directories");
    *op = (struct disk_op){.dir = dir, .ino = ino};
    (void)snprintf(op->name, sizeof op->name, "%s", name);
    (void)snprintf(op->from, sizeof op->from, "%s", from);
    disk_->n_ops++;
}

/* ---- starting ---- */

static void take_in(int fd, ino_t ino)
{
    struct disk *d = disk_;
    DIR *dir = fdopendir(dup(fd));
    const struct dirent *e;
    struct stat st;

    if (!dir || d->n_dirs == 64)
        disk_die("directory");
    d->dirs[d->n_dirs++] = ino;
    while ((e = readdir(dir))) {
        if (e->d_name[0] == '.' || fstatat(fd, e->d_name, &st, 0) < 0)
            continue;
        struct disk_entry *to = &d->synced[d->n_synced++];
        *to = (struct disk_entry){.dir = ino, .ino = st.st_ino};
        if (strlen(e->d_name) >= DISK_NAME)
            disk_die("a name is too long for the test");
        memcpy(to->name, e->d_name, strlen(e->d_name));
        if (S_ISDIR(st.st_mode)) {
            int sub = (int)syscall(SYS_openat, fd, e->d_name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
            take_in(sub, st.st_ino);
            (void)close(sub);
        } else {
            disk_add_file(st.st_ino, fd, e->d_name);
            disk_snapshot(st.st_ino);
        }
    }
    (void)closedir(dir);
}

void disk_watch(const struct disk_watch *w)
{
    struct stat st;

    if (!disk_) {
        void *p =
            mmap(NULL, sizeof *disk_, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
        if (p == MAP_FAILED)
            disk_die("mmap");
        disk_ = p;
    }
    struct disk *d = disk_;
    atomic_flag_clear(&d->lock);
    atomic_store(&d->watching, false);
    atomic_store(&d->cut, false);
    atomic_store(&d->changes, 0);
    d->w = *w;
    d->behind[0] = '\0';
    (void)snprintf(d->out, sizeof d->out, "%s", w->out);
    (void)snprintf(d->shadow, sizeof d->shadow, "%s", w->shadow);
    d->n_files = d->n_dirs = d->n_synced = d->n_ops = d->n_syncs = d->n_lost = 0;
    int root = (int)syscall(SYS_openat, AT_FDCWD, w->root, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (root < 0 || fstat(root, &st) < 0)
        disk_die(w->root);
    d->root_ino = st.st_ino;
    take_in(root, st.st_ino);
    (void)close(root);
    atomic_store(&d->watching, true);
}

uint64_t disk_watched(void)
{
    return atomic_load(&disk_->changes);
}
