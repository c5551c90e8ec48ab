/* SPDX-License-Identifier: MIT */
/* differ: the same calls on two trees. What its files share. A step is drawn before anything runs and says all
 * of it: so a list of steps replays, and a part of it can be tried. */
#ifndef DIFFER_H
#define DIFFER_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/types.h>

enum { ORACLE, EVFS, SIDES };
enum { WORKERS = 4, SLOTS = 6, DIRS = 4, FILES = 14, STRANGER = 65534 };

/* clang-format off */
#define CALLS(X) \
    X(OPEN) X(CLOSE) X(DUP) X(WRITE) \
    X(WRITEV) X(PWRITE) X(PWRITEV2) X(VIEW_WRITE) \
    X(READ) X(READV) X(PREAD) X(LSEEK) \
    X(FSTAT) X(STAT) X(LSTAT) X(STATX) \
    X(ACCESS) X(READDIR) X(FSYNC) X(FDATASYNC) \
    X(SYNCFS) X(TRUNCATE) X(FTRUNCATE) X(RENAME) \
    X(UNLINK) X(LINK) X(SYMLINK) X(MKNOD) \
    X(CHMOD) X(CHMOD_DIR) X(FCHMOD) X(CHOWN) \
    X(CHOWN_DIR) X(UTIMES_NOW) X(UTIMES_SET) X(MKDIR) \
    X(RMDIR) X(GETFL) X(SETFL) X(APPEND_OFF) \
    X(FALLOC_KEEP) X(FALLOC_PUNCH) X(COPY_RANGE) X(SENDFILE) \
    X(SENDFILE_TO) X(MAP_PRIVATE) X(MAP_SHARED) X(MAP_WRITE) \
    X(POLL) X(FLOCK) X(SETLK) X(SETXATTR) \
    X(GETXATTR) X(LISTXATTR) X(READLINK) X(STATFS) \
    X(FADVISE)

/* clang-format on */

enum call {
#define X(name) CALL_##name,
    CALLS(X)
#undef X
        CALL_COUNT
};

struct step {
    uint8_t call, worker, slot, slot2, file, file2, dir;
    int flags;     /* of open and the like; a mode */
    uint32_t a, b; /* whatever else is drawn */
};

/* What one side answered. hash is of all that it gave besides: bytes, attributes, names. */
struct answer {
    int64_t ret;
    int err; /* 0 where it worked */
    uint64_t hash;
    char note[200]; /* what was hashed, for who reads a difference */
};
struct answers {
    struct answer side[SIDES];
};

/* Where the steps happen; the same below each: dir_names[DIRS], file_names[FILES]. */
struct world {
    char base[SIDES][3000];
    char entity[64]; /* what base[EVFS] is called as an entity */
    char all[3000];  /* events.jsonl of the mount */
    bool views;      /* VIEW_WRITE is among the steps */
};

extern const char *const dir_names[DIRS], *const file_names[FILES];
extern const uint8_t dir_of_file[FILES];
enum { FILE_NONE = 12, FILE_BELOW_FILE = 13 }; /* never made; a path through a file */

/* differ_calls.c */
void step_print(FILE *f, const struct step *s);
const char *world_path(const struct world *w, int side, const char *name);
/* Does a step's call take a file's path, and is it of the second one as well? */
bool step_names_file(const struct step *s);
/* Serve one end of a socket until it is closed: a step in, both answers out. */
_Noreturn void work(const struct world *w, int worker, int fd);

/* differ_known.c: is the difference on the list? Where it is, its row is counted. The sizes are of the oracle's
 * files before the step, -1 where there was none. */
bool known(const struct step *s, const struct answers *r, int64_t size, int64_t size2);
void known_print(void);
/* Rows that were never met, named on stderr. */
unsigned known_unused(void);

#endif
