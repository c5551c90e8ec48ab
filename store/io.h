/* SPDX-License-Identifier: MIT */
/* io: every file-system call of the store, so that tests can make the nth one fail. Each returns 0
 * or a count, or a negative errno; EINTR and short counts are dealt with here. Opens are
 * O_CLOEXEC. */
#ifndef STORE_IO_H
#define STORE_IO_H

#include "util.h"

#include <sys/stat.h>
#include <sys/types.h>
#include <sys/uio.h>

/* A descriptor >= 0. Only what is not in a directory of ours (AT_FDCWD) may be a symbolic link; else -ELOOP, of a
 * directory -ENOTDIR. */
int io_open(int dirfd, const char *path, int flags, mode_t mode);
int io_close(int fd);
int io_write_all(int fd, const void *p, size_t n,
                 uint64_t at); /* 0: all n bytes; else some may be there */
ssize_t io_read_all(int fd, void *p, size_t n, uint64_t at); /* less than n only at the end */
int io_truncate(int fd, uint64_t n);
int io_datasync(int fd); /* fdatasync */
int io_sync(int fd);     /* fsync; of a directory: its entries */
int io_rename(int dirfd, const char *from, const char *to);
int io_move(int from_dirfd, const char *from, int dirfd,
            const char *to); /* from one directory to another */
int io_unlink(int dirfd, const char *path);
int io_exchange(int dirfd, const char *a, const char *b); /* two names change places, at once */
/* The same for a file of ours that is derived: a directory that somebody has put there is moved aside, to
 * path.aside. */
int io_remove(int dirfd, const char *path);
int io_mkdir(int dirfd, const char *path, mode_t mode);
int io_rmdir(int dirfd, const char *path);
int io_link(int from_dirfd, const char *from, int dirfd, const char *to); /* a hard link */
int io_clone(int fd, int from); /* fd has the bytes of from and shares its blocks (reflink) */
int io_chown(int fd, uid_t uid, gid_t gid);
int io_stat(int fd, struct stat *ret);
int io_lock(int fd, bool shared); /* flock, non-blocking; -EWOULDBLOCK */

/* Map n bytes of fd from 0, readable, shared: may reach beyond the end of the file (reserved
 * address space for what will be appended). */
int io_map(int fd, size_t n, const char **ret);
/* The same, writable, within the file: what is stored is in the file. Store inside io_guarded(),
 * too: a full disk is a SIGBUS. */
int io_map_write(int fd, size_t n, char **ret);
/* The same, but what is stored is seen by this mapping only. */
int io_map_private(int fd, size_t n, char **ret);
int io_unmap(const void *p, size_t n);
/* Zeroed memory in huge pages, taken from the system only as it is touched. Freed by io_unmap(). */
int io_map_memory(size_t n, char **ret);
/* Take [p, p + n) of it from the system now, which zeroes it, as far as whole small pages lie there. Where the
 * kernel can't, they are taken when they are touched. */
void io_populate(char *p, size_t n);

/* Zeroed memory in small pages, taken from the system as it is touched, of which parts are given back by
 * io_unbacked() (they are zero again), and which a child process does not have. Freed by io_unmap(). */
int io_map_reserved(size_t n, char **ret);
int io_unbacked(char *p, size_t n);
/* Memory p of n bytes takes the place of the mapping at `at`, which had as many, at once for every thread. */
int io_map_over(char *p, size_t n, const char *at);

int io_forget(
    int fd); /* the system keeps no page of what is on disk: the next read is of the disk */
int io_space(int fd, uint64_t *ret_free); /* bytes that may be written where fd is */

/* Call fn with the name of each entry of directory path but "." and "..", in any order; fn may
 * unlink it. A result other than 0 stops and is returned. */
int io_list(int dirfd, const char *path, int (*fn)(void *arg, const char *name), void *arg);

/* Run fn(arg), which reads mapped bytes: a SIGBUS (the disk could not deliver the page, the file
 * was truncated under us) makes it return -EIO instead of killing the process. fn must hold no lock
 * and own nothing. Nests. Returns fn's result. */
int io_guarded(int (*fn)(void *arg), void *arg);
/* n mapped bytes to memory, inside io_guarded(): 0, or -EIO with a part of them in to. */
int io_copy(void *to, const void *from, size_t n);

/* Within such an fn: make io_guarded() return -EIO, as if the page could not be read. Returns only where nothing
 * is guarded. */
void io_guard_fail(void);

/* Fault injection, for tests/fault: fail the nth call from now (1 is the next) with errno code (0:
 * EIO); kill: _exit(IO_FAULT_EXIT) instead; short_write: write half before that; forever: every
 * later call as well. n 0: off, nothing is counted; n UINT64_MAX: only count. Returns calls since
 * the last set. Not while other threads are in a call. */
#define IO_FAULT_EXIT 86
struct io_fault {
    uint64_t n;
    int code;
    bool kill, short_write, forever;
};
uint64_t io_fault_set(const struct io_fault *f);

#endif
