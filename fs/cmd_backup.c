/* SPDX-License-Identifier: MIT */
/* evfs backup: a copy of a store that is a store. (1) Of a mounted one, the mount says how long the log is: the
 * size of its events.jsonl is that of whole events and transactions, and an fsync makes them durable. The files
 * are then read beside the daemon. (2) What is printed at the end is true, and on the disk. */
#include "fs/cmd.h"
#include "fs/place.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static const char help[] =
    "Copies the store in directory DATA to the directory DEST, which is a store then as well. DATA "
    "may be\n"
    "mounted: the copy has every event that was there when it began, and no half transaction. "
    "Files that\n"
    "never change again are shared (reflink, hard link) where the filesystem can. If DEST is an "
    "older\n"
    "backup of DATA, only what is new is copied. Everything new is checked and synced. The list of "
    "what\n"
    "was rejected is not copied.\n"
    "Prints: N events, B bytes (linked L, copied C, kept K).\n"
    "To restore, mount DEST, or a copy of it.\n";

/* The mount's word: so many bytes are there, and durable. 0, or 1 after a message. */
static int ask_mount(const char *dir, const char *at, uint64_t *ret_bytes)
{
    char path[PATH_MAX + 16];
    struct stat st;
    int fd = open(at, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    (void)snprintf(path, sizeof path, "%s/events.jsonl", at);
    /* The size first: all of it is synced then. */
    if (fd < 0 || stat(path, &st) < 0 || fsync(fd) < 0) {
        int e = errno;
        if (fd >= 0)
            (void)close(fd);
        return cmd_fail(
            "%s: it is mounted at %s, which does not sync: %s; unmount it, then back it up", dir,
            at, strerror(e));
    }
    (void)close(fd); /* only read */
    *ret_bytes = (uint64_t)st.st_size;
    return 0;
}

static int fail(const char *dir, const struct evs_error *err)
{
    char text[512];

    if (err->why == EVS_SYSTEM)
        cmd_reason(err, text, sizeof text);
    else
        evs_error_format(err, text, sizeof text);
    return cmd_fail("%s: %s%s", dir, text,
                    err->why == EVS_NOT_BACKUP ? "; give an empty directory" : "");
}

static int backup(const char *dir, const char *dest, struct evs_backup *ret)
{
    char at[PATH_MAX];
    struct evs_error err;
    uint64_t bytes = UINT64_MAX;
    int waited_ms = 0;

    while (evs_backup(dir, dest, bytes, ret, &err) < 0) {
        bool ours = err.why == EVS_IN_USE && strncmp(err.detail, dir, sizeof err.detail - 1) == 0;
        if (!ours || bytes != UINT64_MAX) {
            return err.why == EVS_IN_USE ? cmd_fail_store(dest, &err) : fail(dir, &err);
        } else if (place_of_store(dir, at, sizeof at)) {
            if (ask_mount(dir, at, &bytes) != 0)
                return CMD_FAILED;
        } else if (!place_ending(dir, &err, &waited_ms)) {
            return cmd_fail("%s: a process has it open, and no mount of it can be seen from here: "
                            "run this where it is mounted, or end that process",
                            dir);
        }
    }
    return CMD_OK;
}

static int run(int argc, char **argv)
{
    static const struct option options[] = {{"help", no_argument, NULL, 'h'}, {0}};
    struct evs_backup b;

    while (cmd_option(argc, argv, ":h", options) != -1)
        ;
    if (argc - optind != 2)
        return cmd_usage(argc - optind < 2 ? "DATA and DEST are needed" : "too many operands");
    if (backup(argv[optind], argv[optind + 1], &b) != CMD_OK)
        return CMD_FAILED;
    if (b.meta_kept)
        fprintf(
            stderr,
            "evfs backup: %s: its meta.db was lost: %s keeps the owners and modes that it has\n",
            argv[optind], argv[optind + 1]);
    printf("%" PRIu64 " events, %" PRIu64 " bytes (linked %" PRIu64 ", copied %" PRIu64
           ", kept %" PRIu64 ")\n",
           b.events, b.bytes, b.linked, b.copied, b.kept);
    return CMD_OK;
}

const struct command command_backup = {
    .name = "backup",
    .args = "DATA DEST",
    .summary = "copy a store, mounted or not, to a directory",
    .help = help,
    .run = run,
};
