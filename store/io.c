/* SPDX-License-Identifier: MIT */
/* io: the only place of the store that talks to the file system.
 *
 * (1) A call is counted by the fault hook before it is made; a call that is made to fail does
 *     nothing, except that a write may write half, and a close closes: the descriptor is gone in
 *     any case.
 * (2) A name in a directory of the store is no symbolic link: who owns the directory would have root write to, or
 *     give away, what it points to. A link that leads to the store's directory is followed.
 * (3) Without a fault the hook costs one relaxed load.
 * (4) SIGBUS: one handler for the process, installed when first needed and never taken away.
 *     Whether a fault is ours is decided by the thread that has it: its guard points to the
 *     innermost io_guarded(). A fault of anybody else goes to the handler that was there before. */
#include "io.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <linux/fs.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/statvfs.h>
#include <ucontext.h>

#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23 /* Linux 5.14; older headers lack it */
#endif

#define RETRY(call)                                                                                \
    ({                                                                                             \
        __typeof__(call) retry_;                                                                   \
        do                                                                                         \
            retry_ = (call);                                                                       \
        while (retry_ < 0 && errno == EINTR);                                                      \
        retry_ < 0 ? -errno : retry_;                                                              \
    })

/* ---- faults ---- */

static struct io_fault fault; /* const while fault_on */
static _Atomic bool fault_on;
static _Atomic uint64_t fault_calls;

uint64_t io_fault_set(const struct io_fault *f)
{
    uint64_t calls = atomic_load_explicit(&fault_calls, memory_order_relaxed);

    atomic_store_explicit(&fault_on, false, memory_order_relaxed);
    fault = f ? *f : (struct io_fault){0};
    atomic_store_explicit(&fault_calls, 0, memory_order_relaxed);
    /* Release: for threads that are started afterwards, starting them is enough already. */
    atomic_store_explicit(&fault_on, fault.n > 0, memory_order_release);
    return calls;
}

static __attribute__((noinline)) int fault_count(void)
{
    uint64_t n = 1 + atomic_fetch_add_explicit(&fault_calls, 1, memory_order_relaxed);

    if (n != fault.n && !(fault.forever && n > fault.n))
        return 0;
    return fault.code > 0 ? -fault.code : -EIO;
}

/* What the call about to be made must return instead, or 0. */
static inline int fault_next(void)
{
    return UNLIKELY(atomic_load_explicit(&fault_on, memory_order_relaxed)) ? fault_count() : 0;
}

static inline int fault_now(void)
{
    int r = fault_next();

    if (UNLIKELY(r < 0) && fault.kill)
        _exit(IO_FAULT_EXIT);
    return r;
}

/* ---- calls ---- */

int io_open(int dirfd, const char *path, int flags, mode_t mode)
{
    int r = fault_now();

    if (dirfd != AT_FDCWD)
        flags |= O_NOFOLLOW; /* (2) */
    /* Not blocking: a FIFO with the name of a file of ours would wait for its other end for ever. It is nothing
     * to a regular file. */
    return r < 0 ? r : RETRY(openat(dirfd, path, flags | O_CLOEXEC | O_NONBLOCK, mode));
}

int io_close(int fd)
{
    int r = fault_now();
    int c = close(fd) < 0 && errno != EINTR ? -errno : 0; /* Linux has closed it even with EINTR */

    return r < 0 ? r : c;
}

static int write_all(int fd, const char *p, size_t n, uint64_t at)
{
    while (n > 0) {
        ssize_t k = RETRY(pwrite(fd, p, n, (off_t)at));
        if (k <= 0)
            return k < 0 ? (int)k : -EIO;
        p += k;
        n -= (size_t)k;
        at += (uint64_t)k;
    }
    return 0;
}

int io_write_all(int fd, const void *p, size_t n, uint64_t at)
{
    int r = fault_next();

    if (UNLIKELY(r < 0)) {
        if (fault.short_write)
            (void)write_all(fd, p, n / 2, at); /* it fails anyway */
        if (fault.kill)
            _exit(IO_FAULT_EXIT);
        return r;
    }
    return write_all(fd, p, n, at);
}

ssize_t io_read_all(int fd, void *p, size_t n, uint64_t at)
{
    size_t done = 0;
    int r = fault_now();

    if (r < 0)
        return r;
    while (done < n) {
        ssize_t k = RETRY(pread(fd, (char *)p + done, n - done, (off_t)(at + done)));
        if (k < 0)
            return k;
        if (k == 0)
            break;
        done += (size_t)k;
    }
    return (ssize_t)done;
}

int io_truncate(int fd, uint64_t n)
{
    int r = fault_now();

    return r < 0 ? r : RETRY(ftruncate(fd, (off_t)n));
}

int io_datasync(int fd)
{
    int r = fault_now();

    return r < 0 ? r : RETRY(fdatasync(fd));
}

int io_sync(int fd)
{
    int r = fault_now();

    return r < 0 ? r : RETRY(fsync(fd));
}

int io_move(int from_dirfd, const char *from, int dirfd, const char *to)
{
    int r = fault_now();

    return r < 0 ? r : RETRY(renameat(from_dirfd, from, dirfd, to));
}

int io_rename(int dirfd, const char *from, const char *to)
{
    return io_move(dirfd, from, dirfd, to);
}

int io_exchange(int dirfd, const char *a, const char *b)
{
    int r = fault_now();

    return r < 0 ? r : RETRY(renameat2(dirfd, a, dirfd, b, RENAME_EXCHANGE));
}

int io_unlink(int dirfd, const char *path)
{
    int r = fault_now();

    return r < 0 ? r : RETRY(unlinkat(dirfd, path, 0));
}

int io_remove(int dirfd, const char *path)
{
    char aside[128];
    int r = io_unlink(dirfd, path);

    if (r != -EISDIR || (size_t)snprintf(aside, sizeof aside, "%s.aside", path) >= sizeof aside)
        return r;
    return io_rename(dirfd, path, aside);
}

int io_mkdir(int dirfd, const char *path, mode_t mode)
{
    int r = fault_now();

    return r < 0 ? r : RETRY(mkdirat(dirfd, path, mode));
}

int io_rmdir(int dirfd, const char *path)
{
    int r = fault_now();

    return r < 0 ? r : RETRY(unlinkat(dirfd, path, AT_REMOVEDIR));
}

int io_link(int from_dirfd, const char *from, int dirfd, const char *to)
{
    int r = fault_now();

    return r < 0 ? r : RETRY(linkat(from_dirfd, from, dirfd, to, 0));
}

int io_clone(int fd, int from)
{
    int r = fault_now();

    return r < 0 ? r : RETRY(ioctl(fd, FICLONE, from));
}

int io_chown(int fd, uid_t uid, gid_t gid)
{
    int r = fault_now();

    return r < 0 ? r : RETRY(fchown(fd, uid, gid));
}

int io_stat(int fd, struct stat *ret)
{
    struct stat st;
    int r = fault_now();

    if (r == 0)
        r = RETRY(fstat(fd, &st));
    if (r == 0)
        *ret = st;
    return r;
}

int io_forget(int fd)
{
    int r = fault_now();

    return r < 0 ? r : -posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
}

int io_space(int fd, uint64_t *ret_free)
{
    struct statvfs v;
    int r = fault_now();

    if (r == 0)
        r = RETRY(fstatvfs(fd, &v));
    if (r == 0)
        *ret_free = (uint64_t)v.f_bavail * v.f_frsize;
    return r;
}

int io_lock(int fd, bool shared)
{
    int r = fault_now();

    return r < 0 ? r : RETRY(flock(fd, (shared ? LOCK_SH : LOCK_EX) | LOCK_NB));
}

int io_list(int dirfd, const char *path, int (*fn)(void *arg, const char *name), void *arg)
{
    int r = io_open(dirfd, path, O_RDONLY | O_DIRECTORY, 0);

    if (r < 0)
        return r;
    DIR *d = fdopendir(r);
    if (!d) {
        int e = -errno;
        (void)close(r); /* reading only */
        return e;
    }
    for (r = 0; r == 0;) {
        errno = 0;
        const struct dirent *e = readdir(d);
        if (!e) {
            r = -errno;
            break;
        }
        if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0)
            r = fn(arg, e->d_name);
    }
    (void)closedir(d); /* reading only */
    return r;
}

/* ---- mappings ---- */

static int map_any(int fd, size_t n, int prot, int flags, char **ret)
{
    int r = fault_now();

    if (r < 0)
        return r;
    void *p = mmap(NULL, n, prot, flags, fd, 0);
    if (p == MAP_FAILED)
        return -errno;
    *ret = p;
    return 0;
}

int io_map(int fd, size_t n, const char **ret)
{
    char *p = NULL;
    int r = map_any(fd, n, PROT_READ, MAP_SHARED, &p);

    if (r == 0)
        *ret = p;
    return r;
}

int io_map_write(int fd, size_t n, char **ret)
{
    return map_any(fd, n, PROT_READ | PROT_WRITE, MAP_SHARED, ret);
}

int io_map_private(int fd, size_t n, char **ret)
{
    return map_any(fd, n, PROT_READ | PROT_WRITE, MAP_PRIVATE, ret);
}

int io_map_memory(size_t n, char **ret)
{
    int r =
        map_any(-1, n, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, ret);

    if (r == 0)
        (void)madvise(*ret, n, MADV_HUGEPAGE); /* a kernel without them gives small pages */
    return r;
}

void io_populate(char *p, size_t n)
{
    const uintptr_t from = ((uintptr_t)p + 4095) & ~(uintptr_t)4095, to = (uintptr_t)p + n;

    if (from < to)
        (void)madvise((char *)from, (to - from) & ~(size_t)4095, MADV_POPULATE_WRITE);
}

int io_map_reserved(size_t n, char **ret)
{
    int r =
        map_any(-1, n, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, ret);

    if (r == 0) {
        (void)madvise(*ret, n, MADV_NOHUGEPAGE); /* else a part that is given back may stay */
        (void)madvise(*ret, n, MADV_DONTFORK);   /* else a child keeps what we give back */
    }
    return r;
}

int io_unbacked(char *p, size_t n)
{
    int r = fault_now();

    return r < 0 ? r : madvise(p, n, MADV_DONTNEED) < 0 ? -errno : 0;
}

int io_map_over(char *p, size_t n, const char *at)
{
    int r = fault_now();

    if (r < 0)
        return r;
    void *to = (void *)(uintptr_t)at;
    return mremap(p, n, n, MREMAP_MAYMOVE | MREMAP_FIXED, to) == MAP_FAILED ? -errno : 0;
}

int io_unmap(const void *p, size_t n)
{
    return munmap((void *)(uintptr_t)p, n) < 0 ? -errno : 0;
}

/* ---- SIGBUS ---- */

/* initial-exec: a signal handler must not be the one who makes a thread's variables. */
static _Thread_local sigjmp_buf *volatile guard __attribute__((tls_model("initial-exec")));
static pthread_once_t guard_once = PTHREAD_ONCE_INIT;
static struct sigaction guard_before; /* const after guard_install() */

static void guard_signal(int sig, siginfo_t *info, void *context)
{
    bool fault_here = info->si_code > 0; /* else a process has sent it */

    if (guard && fault_here) {
        /* Leave nothing blocked: sigaction()'s NODEFER is enough for SIGBUS by the book, but a
         * sanitizer that wraps handlers blocks everything. Only this path pays for it. */
        (void)pthread_sigmask(SIG_SETMASK, &((const ucontext_t *)context)->uc_sigmask, NULL);
        siglongjmp(*guard, 1);
    }
    if (guard_before.sa_flags & SA_SIGINFO) {
        guard_before.sa_sigaction(sig, info, context);
    } else if (guard_before.sa_handler != SIG_DFL && guard_before.sa_handler != SIG_IGN) {
        guard_before.sa_handler(sig);
    } else if (fault_here || guard_before.sa_handler == SIG_DFL) {
        /* A fault that is ignored comes back at once: die of it, as without us. */
        (void)signal(sig, SIG_DFL);
        (void)raise(sig); /* here and now: SA_NODEFER */
    }
}

static void guard_install(void)
{
    struct sigaction sa = {.sa_sigaction = guard_signal, .sa_flags = SA_SIGINFO | SA_NODEFER};

    (void)sigemptyset(&sa.sa_mask);
    /* Can't fail for a valid signal; and before it has succeeded nobody reads guard_before. */
    (void)sigaction(SIGBUS, &sa, &guard_before);
}

int io_guarded(int (*fn)(void *arg), void *arg)
{
    sigjmp_buf here;
    sigjmp_buf *const outer = guard;
    int r = fault_now();

    if (r < 0)
        return r;
    (void)pthread_once(&guard_once, guard_install);
    /* No signal mask to save: SA_NODEFER blocks nothing, and asking for it is a system call. */
    if (sigsetjmp(here, 0) != 0) {
        guard = outer;
        return -EIO;
    }
    guard = &here;
    r = fn(arg);
    guard = outer;
    return r;
}

struct copy {
    void *to;
    const void *from;
    size_t n;
};

static int copy(void *arg)
{
    struct copy *c = arg;

    memcpy(c->to, c->from, c->n);
    return 0;
}

int io_copy(void *to, const void *from, size_t n)
{
    return io_guarded(copy, &(struct copy){to, from, n});
}

void io_guard_fail(void)
{
    if (guard)
        siglongjmp(*guard, 1);
}
