/* SPDX-License-Identifier: MIT */
/* disk: the calls, and what is remembered of them.
 * (1) Only system calls: a checkpoint is written by a child that is a copy of one thread, and may take no lock of
 *     the C library's.
 * (2) What is remembered is in shared memory and in the shadow directory, so that this child and its parent
 *     have the same disk. */
#include "disk.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#define EXPORT __attribute__((visibility("default")))

static struct disk_fault fault; /* const while armed */
static _Atomic bool armed, beside;
static _Atomic uint64_t calls, tries;
static _Atomic unsigned hit_log, hit_other;

uint64_t disk_fault_set(const struct disk_fault *f)
{
    uint64_t n = atomic_load(&calls);

    atomic_store(&armed, false);
    fault = f ? *f : (struct disk_fault){0};
    if (f) {
        atomic_store(&hit_log, 0);
        atomic_store(&hit_other, 0);
    }
    atomic_store(&calls, 0);
    atomic_store(&tries, 0);
    atomic_store(&armed, f != NULL);
    return n;
}

void disk_fault_hit(unsigned *ret_log, unsigned *ret_other)
{
    *ret_log = atomic_load(&hit_log);
    *ret_other = atomic_load(&hit_other);
}

void disk_fault_beside(bool yes)
{
    atomic_store(&beside, yes);
}

static bool is_log(int fd)
{
    char link[32], path[512];

    if (fd < 0 || atomic_load(&beside))
        return false;
    (void)snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t n = readlink(link, path, sizeof path - 1);
    path[n > 0 ? n : 0] = '\0';
    return strstr(path, "/log") != NULL;
}

/* Does the fault meet this call? */
static bool meets(enum disk_kind kind, int fd)
{
    if (!atomic_load(&armed) || !(fault.kinds & kind))
        return false;
    uint64_t n = atomic_fetch_add(&calls, 1) + 1;
    if (n != fault.n && !(fault.forever && n > fault.n))
        return false;
    atomic_fetch_or(is_log(fd) ? &hit_log : &hit_other, kind);
    return true;
}

/* -1 with errno if the call must fail now. */
static int fails(enum disk_kind kind, int fd)
{
    if (atomic_load(&armed) && fault.how == DISK_INTERRUPTED) {
        /* Each call is interrupted twice before it gets through. */
        if ((fault.kinds & kind) && atomic_fetch_add(&calls, 1) + 1 >= fault.n &&
            atomic_fetch_add(&tries, 1) % 3 != 2) {
            errno = EINTR;
            return -1;
        }
        return 0;
    }
    if (fault.how == DISK_SHORT || !meets(kind, fd))
        return 0;
    errno = fault.code;
    return -1;
}

/* ---- the lock, and the cut ---- */

static void leave(void) __attribute__((noreturn));
static void leave(void)
{
    for (;;)
        (void)syscall(SYS_exit_group, DISK_CUT_EXIT);
}

static void lock(void)
{
    while (atomic_flag_test_and_set(&disk_->lock)) {
        if (atomic_load(&disk_->cut)) /* whoever met it has the lock for ever */
            leave();
        (void)sched_yield();
    }
}

static void unlock(void)
{
    atomic_flag_clear(&disk_->lock);
}

static void cut_here(void) __attribute__((noreturn));
static void cut_here(void)
{
    bool first = !atomic_exchange(&disk_->cut, true);

    if (first)
        disk_make_cut();
    leave();
}

void disk_cut_behind(const char *name)
{
    (void)snprintf(disk_->behind, sizeof disk_->behind, "%s", name);
}

void disk_cut(void)
{
    lock();
    cut_here();
}

/* Before a call that changes something of what is watched: is this where the power goes? With the lock held from
 * here to unlock_(), so that a sync and what it remembers are one. */
static bool begin_change(void)
{
    if (!disk_ || !atomic_load(&disk_->watching))
        return false;
    lock();
    if (atomic_load(&disk_->cut))
        leave();
    return true;
}

static bool is_cut(void)
{
    return atomic_fetch_add(&disk_->changes, 1) + 1 == disk_->w.cut_at;
}

/* ---- the calls ---- */

static int open_any(int dirfd, const char *path, int flags, mode_t mode)
{
    bool make = flags & O_CREAT && faccessat(dirfd, path, F_OK, 0) < 0;
    const char *name;
    struct stat st;
    ino_t dir;

    if (fails(make ? DISK_CREATE : DISK_OPEN, -1) < 0)
        return -1;
    bool watched =
        (make || flags & O_TRUNC) && disk_find_dir(dirfd, path, &dir, &name) && begin_change();
    if (watched && is_cut())
        cut_here();
    int fd = (int)syscall(SYS_openat, dirfd, path, flags, mode);
    int e = errno;
    if (watched && fd >= 0 && make && fstat(fd, &st) == 0) {
        disk_add_file(st.st_ino, dirfd, path);
        disk_add_op(dir, name, st.st_ino, "");
    }
    if (watched)
        unlock();
    errno = e;
    return fd;
}

#define MODE_OF(flags)                                                                             \
    ({                                                                                             \
        mode_t mode_ = 0;                                                                          \
        if ((flags) & (O_CREAT | O_TMPFILE)) {                                                     \
            va_list ap_;                                                                           \
            va_start(ap_, flags);                                                                  \
            mode_ = va_arg(ap_, mode_t);                                                           \
            va_end(ap_);                                                                           \
        }                                                                                          \
        mode_;                                                                                     \
    })

/* _FILE_OFFSET_BITS=64 makes these open64(), openat64(), pwrite64() and so on, which is what everybody calls. */
EXPORT int open(const char *path, int flags, ...)
{
    return open_any(AT_FDCWD, path, flags, MODE_OF(flags));
}

EXPORT int openat(int dirfd, const char *path, int flags, ...)
{
    return open_any(dirfd, path, flags, MODE_OF(flags));
}

static bool is_bad(int fd, size_t n, off_t at)
{
    struct stat st;

    return atomic_load(&armed) && fault.bad_file && at < fault.bad_to &&
           at + (off_t)n > fault.bad_from && fstat(fd, &st) == 0 && st.st_ino == fault.bad_file;
}

EXPORT ssize_t pread(int fd, void *p, size_t n, off_t at)
{
    if (fails(DISK_READ, fd) < 0)
        return -1;
    if (is_bad(fd, n, at)) {
        errno = EIO;
        return -1;
    }
    return syscall(SYS_pread64, fd, p, n, at);
}

static bool watched_file(int fd, struct stat *ret)
{
    return disk_ && atomic_load(&disk_->watching) && fstat(fd, ret) == 0 &&
           disk_is_file(ret->st_ino);
}

EXPORT ssize_t pwrite(int fd, const void *p, size_t n, off_t at)
{
    struct stat st;

    if (fails(DISK_WRITE, fd) < 0) {
        if (errno == ENOSPC && n > 1) /* what fits is written */
            (void)syscall(SYS_pwrite64, fd, p, n / 2, at);
        errno = errno == EINTR ? EINTR : fault.code;
        return -1;
    }
    if (fault.how == DISK_SHORT && n > 1 && meets(DISK_WRITE, fd))
        n = (n + 1) / 2;
    bool watched = watched_file(fd, &st) && begin_change();
    if (watched && is_cut()) {
        size_t k = n * (disk_->w.seed & 7) / 7;
        if (k)
            (void)syscall(SYS_pwrite64, fd, p, k, at);
        cut_here();
    }
    ssize_t r = syscall(SYS_pwrite64, fd, p, n, at);
    int e = errno;
    if (watched && r > 0)
        disk_find_again(st.st_ino, (uint64_t)at, (size_t)r);
    if (watched)
        unlock();
    errno = e;
    return r;
}

EXPORT int ftruncate(int fd, off_t n)
{
    struct stat st;

    if (fstat(fd, &st) == 0 && fails(st.st_size < n ? DISK_EXTEND : DISK_SHRINK, fd) < 0)
        return -1;
    bool watched = watched_file(fd, &st) && begin_change();
    if (watched && is_cut())
        cut_here();
    int r = (int)syscall(SYS_ftruncate, fd, n);
    int e = errno;
    if (watched)
        unlock();
    errno = e;
    return r;
}

static int sync_any(int fd)
{
    struct disk *d = disk_;
    struct stat st;

    if (fails(DISK_SYNC, fd) < 0)
        return -1;
    if (!d || !atomic_load(&d->watching) || fstat(fd, &st) < 0)
        return 0; /* what the real disk has is not what is tested */
    bool dir = disk_is_dir(st.st_ino);
    if ((!dir && !disk_is_file(st.st_ino)) || !begin_change())
        return 0;
    if (is_cut())
        cut_here();
    int r = ++d->n_syncs == d->w.fail_sync ? -1 : 0;
    if (dir && r == 0) {
        disk_sync_dir(st.st_ino);
    } else if (!dir && r < 0) {
        disk_lose(st.st_ino);
    } else if (!dir && !d->w.lie) {
        disk_snapshot(st.st_ino);
    }
    unlock();
    errno = EIO;
    return r;
}

EXPORT int fdatasync(int fd)
{
    return sync_any(fd);
}

EXPORT int fsync(int fd)
{
    return sync_any(fd);
}

EXPORT int renameat(int fromfd, const char *from, int tofd, const char *to)
{
    const char *name, *old;
    struct stat st;
    ino_t dir;

    if (fails(DISK_RENAME, -1) < 0)
        return -1;
    bool watched = disk_find_dir(fromfd, from, &dir, &old) &&
                   disk_find_dir(tofd, to, &dir, &name) && fstatat(fromfd, from, &st, 0) == 0 &&
                   begin_change();
    if (watched && is_cut())
        cut_here();
    int r = (int)syscall(SYS_renameat2, fromfd, from, tofd, to, 0);
    int e = errno;
    if (watched && r == 0)
        disk_add_op(dir, name, st.st_ino, old);
    if (watched)
        unlock();
    errno = e;
    return r;
}

EXPORT int unlinkat(int dirfd, const char *path, int flags)
{
    const char *name;
    ino_t dir;

    if (fails(DISK_UNLINK, -1) < 0)
        return -1;
    bool watched = disk_find_dir(dirfd, path, &dir, &name) && begin_change();
    if (watched && is_cut())
        cut_here();
    int r = (int)syscall(SYS_unlinkat, dirfd, path, flags);
    int e = errno;
    if (watched && r == 0) {
        disk_add_op(dir, name, 0, "");
        if (strcmp(name, disk_->behind) == 0)
            disk_->w.cut_at = atomic_load(&disk_->changes) + 1;
    }
    if (watched)
        unlock();
    errno = e;
    return r;
}

EXPORT int unlink(const char *path)
{
    return unlinkat(AT_FDCWD, path, 0);
}

EXPORT int mkdirat(int dirfd, const char *path, mode_t mode)
{
    const char *name;
    struct stat st;
    ino_t dir;

    if (fails(DISK_MKDIR, -1) < 0)
        return -1;
    bool watched = disk_find_dir(dirfd, path, &dir, &name) && begin_change();
    if (watched && is_cut())
        cut_here();
    int r = (int)syscall(SYS_mkdirat, dirfd, path, mode);
    int e = errno;
    if (watched && r == 0 && fstatat(dirfd, path, &st, 0) == 0) {
        disk_->dirs[disk_->n_dirs++] = st.st_ino;
        disk_add_op(dir, name, st.st_ino, "");
    }
    if (watched)
        unlock();
    errno = e;
    return r;
}

EXPORT void *mmap(void *p, size_t n, int prot, int flags, int fd, off_t at)
{
    if (fails(DISK_MAP, fd) < 0)
        return MAP_FAILED;
    return (void *)syscall(SYS_mmap, p, n, prot, flags, fd, at); /* NOLINT: an address is a long */
}
