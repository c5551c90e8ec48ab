/* SPDX-License-Identifier: MIT */
/* Where evfs answers differently than an append-only file of ext4, and why: all of it. evfs(5) says the same
 * in words. A row whose difference is no longer met has to go: with --long the test fails for it. */
#include "differ.h"

#include <errno.h>

enum when {
    ALWAYS,
    EMPTY,  /* the oracle's file has no byte: here it is none yet */
    EMPTY2, /* the same of the second file */
    NEW,    /* not even the oracle had it */
};
#define ANY (-1)

static struct row {
    int call;         /* ANY: of those that name a file */
    int oracle, evfs; /* errno, 0: it worked; ANY */
    enum when when;
    bool hash; /* both worked, and what they gave differs */
    const char *why;
    unsigned met;
} rows[] = {
    {ANY, ANY, ENOENT, EMPTY, false, "a file is there from its first event on", 0},
    {CALL_OPEN, EEXIST, 0, EMPTY, false, "so O_EXCL makes it until then", 0},
    {CALL_OPEN, EPERM, 0, EMPTY, false, "and the open that begins it needs no O_APPEND", 0},
    {CALL_OPEN, ANY, EACCES, EMPTY, false, "and needs leave to write to the directory", 0},
    {CALL_OPEN, 0, EACCES, NEW, false,
     "who makes a file has no right to it by that: it is its directory's owner's", 0},
    {CALL_OPEN, 0, EPERM, NEW, false, "and O_NOATIME is the owner's alone, so not his", 0},
    {CALL_RENAME, EPERM, EACCES, ALWAYS, false,
     "the kernel looks at both directories before it asks whether the file may go", 0},
    {CALL_LINK, EEXIST, ANY, EMPTY2, false, "nor is it in the way of a link", 0},
    {CALL_OPEN, 0, EOPNOTSUPP, ALWAYS, false, "O_TMPFILE: no file without a name", 0},
    {CALL_SYMLINK, 0, EPERM, ALWAYS, false, "no symbolic links", 0},
    {CALL_MKNOD, 0, EPERM, ALWAYS, false, "no FIFOs, no devices", 0},
    {CALL_UTIMES_SET, EPERM, 0, ALWAYS, false, "utimes of a file is taken, and does nothing", 0},
    {CALL_UTIMES_NOW, 0, EACCES, ALWAYS, false,
     "who became the owner by a chown may ask for it once the kernel looked again", 0},
    {CALL_UTIMES_NOW, EACCES, 0, ALWAYS, false,
     "and who was the owner until a chown may ask for it until the kernel looks again", 0},
    {CALL_FALLOC_KEEP, 0, EPERM, ALWAYS, false, "no space is set aside", 0},
    {CALL_APPEND_OFF, EPERM, 0, ALWAYS, false,
     "O_APPEND is the kernel's to keep or to drop; what is written is appended either way", 0},
    {CALL_MAP_SHARED, EACCES, ENODEV, ALWAYS, false, "not even where the oracle refuses them", 0},
    {CALL_MAP_SHARED, 0, ENODEV, ALWAYS, false, "only private mappings: pages are not shared", 0},
    {CALL_MAP_WRITE, EACCES, ENODEV, ALWAYS, false, "only private mappings", 0},
    {CALL_SETXATTR, EPERM, EACCES, ALWAYS, false, "nor is who may not write told so first", 0},
    {CALL_GETXATTR, ENODATA, EOPNOTSUPP, ALWAYS, false, "no extended attributes", 0},
    {CALL_LISTXATTR, 0, EOPNOTSUPP, ALWAYS, false, "no extended attributes", 0},
};
enum { ROWS = sizeof rows / sizeof *rows };

bool known(const struct step *s, const struct answers *r, int64_t size, int64_t size2)
{
    const struct answer *o = &r->side[ORACLE], *e = &r->side[EVFS];

    for (int i = 0; i < ROWS; i++) {
        struct row *row = &rows[i];
        if ((row->call == ANY ? !step_names_file(s) : row->call != s->call) ||
            (row->oracle != ANY && row->oracle != o->err) ||
            (row->evfs != ANY && row->evfs != e->err) || (row->when == EMPTY && size != 0) ||
            (row->when == EMPTY2 && size2 != 0) || (row->when == NEW && size >= 0) ||
            (row->hash != (o->err == 0 && e->err == 0)))
            continue;
        row->met++;
        return true;
    }
    return false;
}

void known_print(void)
{
    for (int i = 0; i < ROWS; i++)
        printf("%8u times known: %s\n", rows[i].met, rows[i].why);
}

unsigned known_unused(void)
{
    unsigned n = 0;

    for (int i = 0; i < ROWS; i++)
        if (rows[i].met == 0) {
            fprintf(stderr, "differ: never met: %s\n", rows[i].why);
            n++;
        }
    return n;
}
