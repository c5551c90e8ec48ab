/* SPDX-License-Identifier: MIT */
/* The calls, the fault hook, and reading mapped bytes that are not there. */
#include "check.h"

#include "store/io.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <sys/wait.h>

static char dir[256];
static int dirfd_;

static int seen_names;

static int see_name(void *arg, const char *name)
{
    seen_names += strcmp(name, arg) == 0 ? 1 : 100;
    return 0;
}

static int stop_at_name(void *arg, const char *name)
{
    (void)arg;
    (void)name;
    return 7;
}

static void calls_do_what_they_say(void)
{
    char buf[16] = "";
    struct stat st;
    int fd = io_open(dirfd_, "a", O_RDWR | O_CREAT, 0600), fd2;

    CHECK(fd >= 0);
    CHECK(fcntl(fd, F_GETFD) & FD_CLOEXEC);
    CHECK_EQ(io_write_all(fd, "hello, world", 12, 0), 0);
    CHECK_EQ(io_write_all(fd, "HELLO", 5, 12), 0);
    CHECK_EQ(io_read_all(fd, buf, 5, 12), 5);
    CHECK_MEM(buf, 5, "HELLO", 5);
    CHECK_EQ(io_read_all(fd, buf, 16, 10), 7); /* less only at the end */
    CHECK_EQ(io_read_all(fd, buf, 16, 100), 0);
    CHECK_EQ(io_truncate(fd, 5), 0);
    CHECK_EQ(io_stat(fd, &st), 0);
    CHECK_EQ(st.st_size, 5);
    CHECK_EQ(io_datasync(fd), 0);
    CHECK_EQ(io_sync(fd), 0);
    CHECK_EQ(io_lock(fd, false), 0);
    fd2 = io_open(dirfd_, "a", O_RDONLY, 0);
    CHECK_EQ(io_lock(fd2, true), -EWOULDBLOCK);
    CHECK_EQ(io_close(fd2), 0);
    CHECK_EQ(io_close(fd), 0);
    CHECK_EQ(io_close(fd), -EBADF);
    CHECK_EQ(io_open(dirfd_, "none", O_RDONLY, 0), -ENOENT);
    CHECK_EQ(io_write_all(-1, "x", 1, 0), -EBADF);
    CHECK_EQ(io_read_all(-1, buf, 1, 0), -EBADF);
    CHECK_EQ(io_rename(dirfd_, "a", "b"), 0);
    CHECK_EQ(io_rename(dirfd_, "a", "b"), -ENOENT);
    seen_names = 0;
    CHECK_EQ(io_list(dirfd_, ".", see_name, (char[]){"b"}), 0);
    CHECK_EQ(seen_names, 1);
    CHECK_EQ(io_list(dirfd_, ".", stop_at_name, NULL), 7);
    CHECK_EQ(io_list(dirfd_, "none", stop_at_name, NULL), -ENOENT);
    CHECK_EQ(io_unlink(dirfd_, "b"), 0);
    CHECK_EQ(io_unlink(dirfd_, "b"), -ENOENT);
    CHECK_EQ(io_mkdir(dirfd_, "d", 0700), 0);
    CHECK_EQ(io_mkdir(dirfd_, "d", 0700), -EEXIST);
    CHECK_EQ(unlinkat(dirfd_, "d", AT_REMOVEDIR), 0);
    CHECK_EQ(io_sync(dirfd_), 0);
}

static void nth_call_fails(void)
{
    struct stat st;
    int fd = io_open(dirfd_, "f", O_RDWR | O_CREAT, 0600);

    io_fault_set(&(struct io_fault){.n = 3, .code = ENOSPC});
    CHECK_EQ(io_write_all(fd, "1234567890", 10, 0), 0);
    CHECK_EQ(io_datasync(fd), 0);
    CHECK_EQ(io_truncate(fd, 0), -ENOSPC);
    CHECK_EQ(io_stat(fd, &st), 0); /* once */
    CHECK_EQ(st.st_size, 10);
    CHECK_EQ(io_fault_set(&(struct io_fault){.n = 1, .forever = true}), 4);
    CHECK_EQ(io_truncate(fd, 0), -EIO); /* no code: EIO */
    CHECK_EQ(io_sync(fd), -EIO);
    CHECK_EQ(io_fault_set(&(struct io_fault){.n = 1, .code = EIO, .short_write = true}), 2);
    CHECK_EQ(io_write_all(fd, "abcdefghij", 10, 10), -EIO);
    CHECK_EQ(io_fault_set(&(struct io_fault){.n = UINT64_MAX}), 1);
    CHECK_EQ(io_stat(fd, &st), 0);
    CHECK_EQ(st.st_size, 15); /* half of it */
    CHECK_EQ(io_fault_set(NULL), 1);
    CHECK_EQ(io_stat(fd, &st), 0);
    CHECK_EQ(io_fault_set(NULL), 0); /* off: not counted */
    io_fault_set(&(struct io_fault){.n = 1});
    CHECK_EQ(io_close(fd), -EIO);
    io_fault_set(NULL);
    CHECK_EQ(fcntl(fd, F_GETFD), -1); /* and is closed all the same */
}

/* The exit status of a child that makes a 10 byte write and then a truncate under f. */
static int child_status(const struct io_fault *f)
{
    int status = -1;

    (void)fflush(NULL);
    pid_t pid = fork();
    if (pid == 0) {
        int fd = io_open(dirfd_, "k", O_RDWR | O_CREAT | O_TRUNC, 0600);
        io_fault_set(f);
        (void)io_write_all(fd, "1234567890", 10, 0);
        (void)io_truncate(fd, 3);
        _exit(0);
    }
    CHECK(pid > 0 && waitpid(pid, &status, 0) == pid);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static int64_t size_of(const char *name)
{
    struct stat st;

    return fstatat(dirfd_, name, &st, 0) < 0 ? -1 : (int64_t)st.st_size;
}

static void nth_call_kills(void)
{
    CHECK_EQ(child_status(&(struct io_fault){.n = 1, .kill = true}), IO_FAULT_EXIT);
    CHECK_EQ(size_of("k"), 0);
    CHECK_EQ(child_status(&(struct io_fault){.n = 1, .kill = true, .short_write = true}),
             IO_FAULT_EXIT);
    CHECK_EQ(size_of("k"), 5);
    CHECK_EQ(child_status(&(struct io_fault){.n = 2, .kill = true, .short_write = true}),
             IO_FAULT_EXIT);
    CHECK_EQ(size_of("k"), 10);
    CHECK_EQ(child_status(&(struct io_fault){.n = 3, .kill = true}), 0);
    CHECK_EQ(size_of("k"), 3);
    CHECK_EQ(io_unlink(dirfd_, "k"), 0);
}

/* ---- mappings ---- */

struct peek {
    const volatile char *p;
    int got;
    bool nested; /* a guard within that is done with before */
};

static int nothing(void *arg)
{
    (void)arg;
    return 5;
}

static int peek_at(void *arg)
{
    struct peek *k = arg;

    if (k->nested)
        k->got = io_guarded(nothing, NULL);
    k->got = *k->p;
    return 1;
}

static int peek_twice(void *arg)
{
    struct peek *k = arg;
    int r = io_guarded(peek_at, k); /* fails inside; this one goes on */

    return r == -EIO ? 2 + (io_guarded(peek_at, k) == -EIO) : r;
}

static void missing_bytes_are_eio(void)
{
    const char *p;
    int fd = io_open(dirfd_, "m", O_RDWR | O_CREAT, 0600);

    CHECK_EQ(io_write_all(fd, "x", 1, 0), 0);
    CHECK_EQ(io_map(fd, 1 << 20, &p), 0); /* beyond the end of the file */
    for (int nested = 0; nested < 2; nested++) {
        struct peek here = {.p = p, .nested = nested}, beyond = {.p = p + 8192, .nested = nested};
        CHECK_EQ(io_guarded(peek_at, &here), 1);
        CHECK_EQ(here.got, 'x');
        CHECK_EQ(io_guarded(peek_at, &beyond), -EIO);
        CHECK_EQ(io_guarded(peek_twice, &beyond), 3);
        CHECK_EQ(io_guarded(peek_twice, &here), 1);
    }
    CHECK_EQ(io_write_all(fd, "y", 1, 8192), 0); /* appended: now it is there */
    struct peek k = {.p = p + 8192};
    CHECK_EQ(io_guarded(peek_at, &k), 1);
    CHECK_EQ(k.got, 'y');
    CHECK_EQ(io_truncate(fd, 1), 0); /* and now it isn't */
    CHECK_EQ(io_guarded(peek_at, &k), -EIO);
    CHECK_EQ(io_guarded(nothing, NULL), 5);
    io_fault_set(&(struct io_fault){.n = 1});
    CHECK_EQ(io_guarded(nothing, NULL), -EIO);
    io_fault_set(NULL);
    CHECK_EQ(io_unmap(p, 1 << 20), 0);
    CHECK_EQ(io_close(fd), 0);
}

static void *peek_often(void *arg)
{
    for (int i = 0; i < 200; i++) {
        struct peek k = {.p = arg};
        CHECK_EQ(io_guarded(peek_at, &k), -EIO);
    }
    return NULL;
}

static void each_thread_has_its_guard(void)
{
    const char *p;
    pthread_t t[4];
    int fd = io_open(dirfd_, "m", O_RDWR, 0600);

    CHECK_EQ(io_map(fd, 1 << 20, &p), 0);
    for (int i = 0; i < 4; i++)
        CHECK_EQ(pthread_create(&t[i], NULL, peek_often, (char *)(uintptr_t)p + 65536), 0);
    for (int i = 0; i < 4; i++)
        (void)pthread_join(t[i], NULL);
    CHECK_EQ(io_unmap(p, 1 << 20), 0);
    CHECK_EQ(io_close(fd), 0);
}

static void others_handler(int sig)
{
    _exit(sig == SIGBUS ? 44 : 45);
}

/* In a child: SIGBUS outside of a guard goes where it would have gone without us. */
static int unguarded_status(bool handler)
{
    int status = 0;

    (void)fflush(NULL);
    pid_t pid = fork();
    if (pid == 0) {
        const char *p;
        (void)signal(SIGBUS, handler ? others_handler : SIG_DFL);
        int fd = io_open(dirfd_, "m", O_RDWR, 0600);
        if (io_map(fd, 1 << 20, &p) < 0 || io_guarded(nothing, NULL) != 5)
            _exit(1);
        struct peek k = {.p = p + 65536};
        if (io_guarded(peek_at, &k) != -EIO)
            _exit(2);
        (void)peek_at(&k);
        _exit(3);
    }
    CHECK(pid > 0 && waitpid(pid, &status, 0) == pid);
    return status;
}

static void unguarded_goes_to_the_handler_before(void)
{
    int s = unguarded_status(true);
    CHECK(WIFEXITED(s) && WEXITSTATUS(s) == 44);
    s = unguarded_status(false);
    CHECK(WIFSIGNALED(s) && WTERMSIG(s) == SIGBUS);
}

static void memory_is_zero(void)
{
    char *p;

    CHECK_EQ(io_map_memory((size_t)1 << 32, &p), 0); /* more than is touched */
    CHECK_EQ(p[0], 0);
    p[(1u << 31) + 1] = 7;
    CHECK_EQ(p[1u << 31], 0);
    CHECK_EQ(io_unmap(p, (size_t)1 << 32), 0);
    int r = io_map_memory((size_t)1 << 62, &p);
    CHECK(r == -ENOMEM || r == -EINVAL); /* valgrind's answer */
}

int main(void)
{
    const char *tmp = getenv("TMPDIR");

    (void)snprintf(dir, sizeof dir, "%s/evfs-io-XXXXXX", tmp ? tmp : "/tmp");
    if (!mkdtemp(dir) || (dirfd_ = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC)) < 0)
        return 1;
    RUN(calls_do_what_they_say);
    RUN(nth_call_fails);
    RUN(nth_call_kills);
    /* Before the first guard in this process: children install their own. */
    (void)close(io_open(dirfd_, "m", O_RDWR | O_CREAT, 0600));
    RUN(unguarded_goes_to_the_handler_before);
    RUN(missing_bytes_are_eio);
    RUN(each_thread_has_its_guard);
    RUN(memory_is_zero);
    (void)unlinkat(dirfd_, "f", 0);
    (void)unlinkat(dirfd_, "m", 0);
    (void)rmdir(dir);
    CHECK_DONE();
}
