/* SPDX-License-Identifier: MIT */
/* posix: what is read and written; posix.c says where the cases come from. */
#include "posix.h"

#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

/* A pointer to nowhere, and a count of -1, that the compiler does not see through. */
static void *volatile nowhere = (void *)1;
static volatile int minus_one = -1;

/* The whole file has to be text. */
static bool file_is(const char *path, const char *text)
{
    char buf[65536];
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? -1 : read(fd, buf, sizeof buf);

    if (fd >= 0)
        (void)close(fd);
    if (n == (ssize_t)strlen(text) && memcmp(buf, text, (size_t)n) == 0)
        return true;
    fprintf(stderr, "%s has %zd bytes: %.*s\n", path, n, n < 0 ? 0 : (int)n, buf);
    return false;
}

/* write06 and pwrite04: O_APPEND appends wherever the offset is; write moves it to the end, pwrite leaves it. */
static void append_whatever_the_offset(void)
{
    const char *path = at("entities/append/t.jsonl");
    const struct iovec two[2] = {{.iov_base = (char[]){"[\n"}, .iov_len = 2},
                                 {.iov_base = (char[]){"3]\n"}, .iov_len = 3}};
    int fd = open(path, O_RDWR | O_APPEND | O_CREAT | O_EXCL | O_CLOEXEC, 0644);

    WORKS(fd);
    IS(write(fd, "\"one\"\n", 6), 6);
    IS(lseek(fd, 0, SEEK_CUR), 6);
    IS(lseek(fd, 2, SEEK_SET), 2);
    IS(write(fd, "2\n", 2), 2);
    IS(lseek(fd, 0, SEEK_CUR), 8);
    IS(lseek(fd, 1, SEEK_SET), 1);
    IS(pwrite(fd, "{}\n", 3, 0), 3);
    IS(pwrite(fd, "{}\n", 3, 1 << 20), 3);
    IS(lseek(fd, 0, SEEK_CUR), 1);
    IS(writev(fd, two, 2), 5);
    IS(lseek(fd, 0, SEEK_CUR), 19);
    IS(file_is(path, "\"one\"\n2\n{}\n{}\n[ 3]\n"), 1);
    IS(size_of(path), 19);
    WORKS(close(fd));
}

/* open12: another descriptor's append in between; O_CLOEXEC, O_LARGEFILE. dup and fork share the offset. */
static void descriptors(void)
{
    const char *path = at("entities/append/u.jsonl");
    int a = open(path, O_RDWR | O_APPEND | O_CREAT | O_CLOEXEC | O_LARGEFILE, 0644);
    char buf[16];
    int status = 0;

    IS(write(a, "1\n", 2), 2); /* before it, there is no file */
    int b = open(path, O_WRONLY | O_APPEND, 0644), c = dup(a);
    IS(write(b, "2\n", 2), 2);
    IS(write(a, "3\n", 2), 2);
    IS(file_is(path, "1\n2\n3\n"), 1);
    IS(fcntl(a, F_GETFD), FD_CLOEXEC);
    IS(fcntl(b, F_GETFD), 0);
    IS(fcntl(a, F_GETFL) & (O_ACCMODE | O_APPEND), O_RDWR | O_APPEND);
    IS(lseek(a, 2, SEEK_SET), 2);
    IS(lseek(c, 0, SEEK_CUR), 2);
    pid_t pid = fork();
    if (pid == 0)
        _exit(read(c, buf, 2) == 2 && buf[0] == '2' ? 0 : 1);
    IS(waitpid(pid, &status, 0), pid);
    IS(status, 0);
    IS(lseek(a, 0, SEEK_CUR), 4);
    WORKS(close(a));
    IS(write(c, "4\n", 2), 2);
    WORKS(close(c));
    FAILS(EBADF, write(c, "5\n", 2));
    FAILS(EBADF, read(b, buf, 1));
    WORKS(close(b));
    a = open(path, O_RDONLY | O_CLOEXEC);
    FAILS(EBADF, write(a, "5\n", 2));
    FAILS(EBADF, pwrite(a, "5\n", 2, 0));
    FAILS(EINVAL, ftruncate(a, 0));
    WORKS(close(a));
    IS(file_is(path, "1\n2\n3\n4\n"), 1);
}

void group_append(void)
{
    append_whatever_the_offset();
    descriptors();
}

/* lseek in a file of 12 bytes, and reads around its end. */
void group_offsets(void)
{
    const char *path = at("entities/offsets/t.jsonl");
    char buf[32];

    WORKS(append_to(path, "1\n22\n333\n44\n"));
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    IS(lseek(fd, 0, SEEK_END), 12);
    IS(lseek(fd, -2, SEEK_END), 10);
    IS(read(fd, buf, sizeof buf), 2);
    IS(read(fd, buf, sizeof buf), 0);
    IS(lseek(fd, 100, SEEK_SET), 100);
    IS(read(fd, buf, sizeof buf), 0);
    FAILS(EINVAL, lseek(fd, -1, SEEK_SET));
    FAILS(EINVAL, lseek(fd, -13, SEEK_END));
    FAILS(EINVAL, lseek(fd, 0, 99));
    IS(lseek(fd, 5, SEEK_DATA), 5);
    IS(lseek(fd, 5, SEEK_HOLE), 12);
    FAILS(ENXIO, lseek(fd, 12, SEEK_DATA));
    FAILS(ENXIO, lseek(fd, 12, SEEK_HOLE));
    IS(pread(fd, buf, 3, 2), 3);
    IS(memcmp(buf, "22\n", 3), 0);
    IS(pread(fd, buf, 3, 11), 1);
    IS(pread(fd, buf, 3, 12), 0);
    FAILS(EINVAL, pread(fd, buf, 3, -1));
    FAILS(EFAULT, pread(fd, nowhere, 3, 0));
    /* A file that grows goes on where it ended. */
    IS(lseek(fd, 0, SEEK_END), 12);
    WORKS(append_to(path, "5\n"));
    IS(read(fd, buf, sizeof buf), 2);
    IS(lseek(fd, 0, SEEK_END), 14);
    const char *map = mmap(NULL, 14, PROT_READ, MAP_PRIVATE, fd, 0);
    IS(map != MAP_FAILED, 1);
    if (map != MAP_FAILED) {
        IS(memcmp(map, "1\n22\n333\n44\n5\n", 14), 0);
        WORKS(munmap((void *)(uintptr_t)map, 14));
    }
    WORKS(close(fd));
}

/* ---- generic/069: processes that append, and others that read what they append ---- */

enum { WRITERS = 12, READERS = 4, EVENTS = 250, LINE = 24 };

static void write_lines(int w, const char *path)
{
    char line[64];

    for (int i = 0; i < EVENTS; i++) {
        int fd = open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0644);
        (void)snprintf(line, sizeof line, "{\"w\":%4d,\"n\":%8d}\n", w, i);
        if (fd < 0 || write(fd, line, LINE) != LINE || close(fd) < 0)
            _exit(1);
    }
}

/* Whole lines, each writer's in order; true if all are there. last[] goes on from call to call. */
static bool read_lines(int fd, int last[WRITERS])
{
    char line[LINE];
    bool all = true;
    int w, n;

    while (read(fd, line, LINE) == LINE) {
        char text[LINE + 1] = "";
        memcpy(text, line, LINE - 1);
        if (line[LINE - 1] != '\n' || sscanf(text, "{\"w\":%d,\"n\":%d}", &w, &n) != 2 || w < 0 ||
            w >= WRITERS || n != last[w]) {
            fprintf(stderr, "read: %s\n", text);
            _exit(1);
        }
        last[w]++;
    }
    for (int i = 0; i < WRITERS; i++)
        all = all && last[i] == EVENTS;
    return all;
}

static void follow(const char *path)
{
    int last[WRITERS] = {0}, fd = open(path, O_RDONLY | O_CLOEXEC);

    for (int i = 0; i < 60000; i++) { /* a minute; only a failure takes it */
        if (read_lines(fd, last))
            _exit(0);
        (void)usleep(1000);
    }
    fprintf(stderr, "not all lines have come\n");
    _exit(1);
}

void group_writers(void)
{
    const char *path = at("entities/writers/t.jsonl");
    pid_t pids[WRITERS + READERS];
    int last[WRITERS] = {0}, status;

    /* The readers' descriptors are of a file that has something. */
    WORKS(append_to(at("entities/writers/other.jsonl"), "1\n"));
    int fd = open(path, O_RDWR | O_APPEND | O_CREAT | O_CLOEXEC, 0644);
    for (int i = 0; i < WRITERS + READERS; i++) {
        pids[i] = fork();
        if (pids[i] == 0 && i < WRITERS)
            write_lines(i, path);
        else if (pids[i] == 0) {
            while (size_of(path) <= 0)
                (void)usleep(1000);
            follow(path);
        }
        if (pids[i] == 0)
            _exit(0);
    }
    for (int i = 0; i < WRITERS + READERS; i++) {
        IS(waitpid(pids[i], &status, 0), pids[i]);
        IS(status, 0);
    }
    IS(read_lines(fd, last), 1);
    IS(size_of(path), WRITERS * EVENTS * LINE);
    WORKS(close(fd));
}

/* ---- limits ---- */

static void over_the_size_limit(void)
{
    const char *path = at("entities/limits/t.jsonl");
    int fd = open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0644);
    struct rlimit l;

    (void)signal(SIGXFSZ, SIG_IGN);
    WORKS(getrlimit(RLIMIT_FSIZE, &l));
    l.rlim_cur = 4;
    WORKS(setrlimit(RLIMIT_FSIZE, &l));
    IS(write(fd, "1\n2\n", 4), 4);
    IS(lseek(fd, 0, SEEK_END), 4);
    FAILS(EFBIG, write(fd, "3\n", 2));
    IS(file_is(path, "1\n2\n"), 1);
    WORKS(close(fd));
}

void group_limits(void)
{
    const char *path = at("entities/limits/u.jsonl");
    int fd = open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0644);
    struct iovec none[1] = {{.iov_base = NULL, .iov_len = 0}};

    IS(write(fd, "", 0), 0);
    IS(writev(fd, none, 1), 0);
    FAILS(EFAULT, write(fd, nowhere, 10));
    FAILS(EINVAL, writev(fd, none, minus_one));
    FAILS(EBADF, write(-1, "1\n", 2));
    IS(write(fd, "1\n", 2), 2);
    IS(file_is(path, "1\n"), 1);
    WORKS(close(fd));
    in_process(0, over_the_size_limit);
}

/* ---- locks: the kernel's own, so that programs that take turns can ---- */

static bool other_gets(int (*try)(const char *path), const char *path)
{
    int status = 0;
    pid_t pid = fork();

    if (pid == 0)
        _exit(try(path));
    return waitpid(pid, &status, 0) == pid && status == 0;
}

static int try_flock(const char *path)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);

    return flock(fd, LOCK_EX | LOCK_NB) == 0 ? 0 : errno == EWOULDBLOCK ? 1 : 2;
}

static int try_record(const char *path)
{
    int fd = open(path, O_WRONLY | O_APPEND | O_CLOEXEC);
    struct flock l = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = 0, .l_len = 2};

    return fcntl(fd, F_SETLK, &l) == 0 ? 0 : errno == EAGAIN || errno == EACCES ? 1 : 2;
}

void group_locks(void)
{
    const char *path = at("entities/locks/t.jsonl");
    struct flock l = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = 1, .l_len = 1};

    WORKS(append_to(path, "1\n2\n"));
    int fd = open(path, O_WRONLY | O_APPEND | O_CLOEXEC);
    IS(other_gets(try_flock, path), 1);
    WORKS(flock(fd, LOCK_EX));
    IS(other_gets(try_flock, path), 0);
    WORKS(flock(fd, LOCK_UN));
    IS(other_gets(try_flock, path), 1);
    IS(other_gets(try_record, path), 1);
    WORKS(fcntl(fd, F_SETLK, &l));
    IS(other_gets(try_record, path), 0);
    l.l_type = F_UNLCK;
    WORKS(fcntl(fd, F_SETLK, &l));
    IS(other_gets(try_record, path), 1);
    WORKS(close(fd));
}
