/* SPDX-License-Identifier: MIT */
/* posix: what its files share. A check that fails says where, and the group goes on; a process of another
 * user counts for its group by how it ends. */
#ifndef POSIX_H
#define POSIX_H

#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/types.h>

extern int failures, checks;
extern const char *root; /* of the mount */

/* A path below the mount; one of eight buffers in turn. */
const char *at(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
/* "xxx...", so many bytes; of the same buffers. */
const char *long_name(size_t n, const char *suffix);

#define FAILS(want, call)                                                                          \
    do {                                                                                           \
        errno = 0;                                                                                 \
        long r_ = (long)(call);                                                                    \
        int e_ = errno;                                                                            \
        checks++;                                                                                  \
        if (r_ != -1 || e_ != (want)) {                                                            \
            failures++;                                                                            \
            fprintf(stderr, "%s:%d: %s: %s, not " #want "\n", __FILE__, __LINE__, #call,           \
                    r_ == -1 ? strerrorname_np(e_) : "it worked");                                 \
        }                                                                                          \
    } while (0)
#define WORKS(call)                                                                                \
    do {                                                                                           \
        errno = 0;                                                                                 \
        long r_ = (long)(call);                                                                    \
        int e_ = errno;                                                                            \
        checks++;                                                                                  \
        if (r_ == -1) {                                                                            \
            failures++;                                                                            \
            fprintf(stderr, "%s:%d: %s: %s\n", __FILE__, __LINE__, #call, strerrorname_np(e_));    \
        }                                                                                          \
    } while (0)
#define IS(got, want)                                                                              \
    do {                                                                                           \
        long g_ = (long)(got), w_ = (long)(want);                                                  \
        checks++;                                                                                  \
        if (g_ != w_) {                                                                            \
            failures++;                                                                            \
            fprintf(stderr, "%s:%d: %s is %ld, not %ld\n", __FILE__, __LINE__, #got, g_, w_);      \
        }                                                                                          \
    } while (0)

int open_close(const char *path, int flags); /* 0, or -1 with errno */
int append_to(const char *path, const char *text);
off_t size_of(const char *path);
/* Run fn in a process, as user uid with no groups; 0 for the caller's own. */
void in_process(uid_t uid, void (*fn)(void));

/* posix_data.c */
void group_append(void);
void group_offsets(void);
void group_writers(void);
void group_limits(void);
void group_locks(void);

#endif
