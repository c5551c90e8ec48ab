/* SPDX-License-Identifier: MIT */
/* disk: what lies below the C library's calls, for the store and SQLite alike: the test program has functions of
 * these names of its own, which count, fail, and remember; the library and the program know nothing of it.
 *
 * Faults: the nth call of some kinds fails once or for ever, writes short, or is interrupted.
 * Power: of each file the bytes at its last sync are kept, of each directory the entries. At the cut, a directory
 * is made that a disk might show afterwards: see disk_cut.c. */
#ifndef DISK_H
#define DISK_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

enum disk_kind {
    DISK_OPEN = 1,
    DISK_CREATE = 2, /* an open that makes a file */
    DISK_READ = 4,
    DISK_WRITE = 8,
    DISK_EXTEND = 16, /* truncate to more */
    DISK_SHRINK = 32, /* truncate to less */
    DISK_SYNC = 64,
    DISK_RENAME = 128,
    DISK_UNLINK = 256,
    DISK_MKDIR = 512,
    DISK_MAP = 1024,
    DISK_ANY = 2047,
    DISK_CHANGES = DISK_CREATE | DISK_WRITE | DISK_EXTEND | DISK_SHRINK | DISK_SYNC | DISK_RENAME |
                   DISK_UNLINK | DISK_MKDIR,
    /* what needs room */
    DISK_GROWS = DISK_CREATE | DISK_WRITE | DISK_EXTEND | DISK_RENAME | DISK_MKDIR,
};

enum disk_how { DISK_FAILS, DISK_SHORT, DISK_INTERRUPTED };

struct disk_fault {
    uint64_t n; /* the nth call of the kinds from now; UINT64_MAX: only count */
    unsigned kinds;
    enum disk_how how;
    int code; /* errno of DISK_FAILS */
    bool forever;
    /* A bad sector instead of all that: no read of this file gives a byte of [bad_from, bad_to). 0: none. */
    ino_t bad_file;
    off_t bad_from, bad_to;
};
/* NULL: none. Returns how many calls of the kinds there were since the last set. */
uint64_t disk_fault_set(const struct disk_fault *f);
/* The kinds of the calls that were made to fail since the last set, of files in log/ and of all others. */
void disk_fault_hit(unsigned *ret_log, unsigned *ret_other);
/* From now on what is hit in log/ counts as other files: nobody's lines are in them. */
void disk_fault_beside(bool yes);

/* ---- power ---- */

#define DISK_CUT_EXIT 87 /* of the process that met the cut */

struct disk_watch {
    const char *root;   /* what is there now is taken as synced */
    const char *shadow; /* an empty directory on the same file system */
    const char *out;    /* made at the cut */
    uint64_t cut_at;    /* the nth call that changes something */
    uint64_t seed;
    unsigned
        fail_sync; /* the nth sync fails, and what it should have written of a file is lost; 0: none */
    bool lie;      /* syncs of files do nothing: for the test of the test */
    bool trace;
};
void disk_watch(const struct disk_watch *w);
uint64_t disk_watched(void); /* calls that changed something */
/* It goes at the first call that changes something after a file of this name was removed. */
void disk_cut_behind(const char *name);
/* The power goes now, and this process with it. */
void disk_cut(void) __attribute__((noreturn));

/* ---- between disk.c (calls), disk_kept.c and disk_cut.c ---- */

#define DISK_FILES 2048
#define DISK_OPS   4096
#define DISK_NAME  64
#define DISK_BYTES ((size_t)8 << 20) /* a file is at most this large */

struct disk_entry {
    ino_t dir, ino;
    char name[DISK_NAME];
};
/* A change of a directory since it was synced. */
struct disk_op {
    ino_t dir, ino;                        /* ino: of what name is now; 0: nothing */
    char name[DISK_NAME], from[DISK_NAME]; /* from: the name that it had before, in a rename */
};
struct disk {
    atomic_flag lock;
    _Atomic bool watching, cut;
    _Atomic uint64_t changes;
    struct disk_watch w;
    char out[256], shadow[256], behind[DISK_NAME];
    ino_t root_ino;
    ino_t files[DISK_FILES], dirs[64];
    uint32_t n_files, n_dirs, n_synced, n_ops, n_syncs, n_lost;
    struct disk_entry synced[DISK_FILES];
    struct disk_op ops[DISK_OPS];
    unsigned char now[DISK_BYTES], then[DISK_BYTES], lost[DISK_BYTES];
};
extern struct disk *disk_;

bool disk_is_dir(ino_t ino);
bool disk_is_file(ino_t ino);
/* The bytes of shadow/<letter><ino>: l as it is now, s as it was synced, p what a failed sync lost. -1: none. */
ssize_t disk_load(char letter, ino_t ino, unsigned char *buf);
void disk_save(char letter, ino_t ino, const unsigned char *buf, size_t n);
void disk_make_cut(void);
void disk_die(const char *what) __attribute__((noreturn));

/* The directory of a path, if it is watched, and the name in it. */
bool disk_find_dir(int dirfd, const char *path, ino_t *ret_dir, const char **ret_name);
void disk_add_file(ino_t ino, int dirfd, const char *path);
void disk_add_op(ino_t dir, const char *name, ino_t ino, const char *from);
void disk_sync_dir(ino_t dir);
void disk_snapshot(ino_t ino);                          /* synced */
void disk_lose(ino_t ino);                              /* a sync failed */
void disk_find_again(ino_t ino, uint64_t at, size_t n); /* written since */

#endif
