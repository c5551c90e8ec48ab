/* SPDX-License-Identifier: MIT */
/* evfs mount, and mount.evfs: options into struct mount_options. (1) An unknown option is refused,
 * not ignored. (2) Of mount(8)'s own, those are accepted that hold anyway: nothing in the tree is
 * executable, a device or set-user-id, and there are no access times. */
#include "fs/cmd.h"
#include "fs/loop.h"
#include "fs/mount.h"

#include <stdio.h>
#include <string.h>

static const char help[] =
    "Mounts the store in directory DATA (created if need be) at MOUNTPOINT; ':memory:' is a store "
    "in\n"
    "RAM. Ends with umount MOUNTPOINT, or fusermount3 -u.\n"
    "  -f               stay in the foreground\n"
    "  -o OPT[,OPT...]  sync                 every append is durable before write returns\n"
    "                   sync_interval=TIME   else it is at most so much later: 100ms, 2s, never\n"
    "                   strict               a new entity needs a mkdir\n"
    "                   ro                   nothing can be appended\n"
    "                   allow_other          other users may use the mount\n"
    "                   segment_size=SIZE    of the log's files: 64K to 4G; 256M if not given\n"
    "                   compress=LEVEL|off   of sealed segments, 1 to 19; 15 if not given\n"
    "                   schemas=off          learn no schemas from what is appended\n"
    "                   io_uring             requests by io_uring instead of read and write, if\n"
    "                                        the kernel and the libfuse that evfs is built with "
    "can\n"
    "                   max_threads=N        serve at most so many requests at once: 1 to 64\n"
    "                   debug                print every request; stays in the foreground\n";

/* What mount(8) and fstab may say, and what is so anyway. */
static bool is_ignored(const char *opt)
{
    static const char *const words[] = {
        "rw",    "defaults", "auto",    "noauto",   "user",       "nouser",     "users",  "owner",
        "group", "nofail",   "_netdev", "exec",     "noexec",     "suid",       "nosuid", "dev",
        "nodev", "atime",    "noatime", "relatime", "norelatime", "nodiratime", "async"};

    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        if (strcmp(opt, words[i]) == 0)
            return true;
    return strncmp(opt, "x-", 2) == 0 || strncmp(opt, "X-", 2) == 0 ||
           strncmp(opt, "comment=", 8) == 0 || strncmp(opt, "clone_fd=", 9) == 0; /* there was */
}

/* The value behind "name=", or NULL if opt is another one. */
static const char *value_of(const char *opt, const char *name)
{
    size_t n = strlen(name);

    return strncmp(opt, name, n) == 0 && opt[n] == '=' ? opt + n + 1 : NULL;
}

static bool set_flag(struct mount_options *o, const char *opt)
{
    const struct {
        const char *name;
        bool *flag;
    } flags[] = {
        {"sync", &o->sync},    {"strict", &o->strict},     {"allow_other", &o->allow_other},
        {"ro", &o->read_only}, {"io_uring", &o->io_uring}, {"debug", &o->debug}};

    for (size_t i = 0; i < sizeof flags / sizeof *flags; i++) {
        if (strcmp(opt, flags[i].name) == 0) {
            *flags[i].flag = true;
            return true;
        }
    }
    return false;
}

static int set_compress(struct mount_options *o, const char *value)
{
    uint64_t level;

    if (strcmp(value, "off") == 0)
        o->compress = -1;
    else if (cmd_parse_number(value, &level) < 0 || level < 1 || level > 19)
        return cmd_usage("'%s': compress is a level from 1 to 19, or off", value);
    else
        o->compress = (int)level;
    return 0;
}

/* "on" and "off", into *off; opt is the whole option. */
static int set_off(const char *opt, const char *value, bool *off)
{
    *off = strcmp(value, "off") == 0;
    if (!*off && strcmp(value, "on") != 0)
        return cmd_usage("'%s': it is on or off", opt);
    return 0;
}

static int set_threads(struct mount_options *o, const char *value)
{
    uint64_t n;

    if (cmd_parse_number(value, &n) < 0 || n < 1 || n > LOOP_THREADS_MAX)
        return cmd_usage("'%s': max_threads is from 1 to %u", value, LOOP_THREADS_MAX);
    o->max_threads = (unsigned)n;
    return 0;
}

static int set_option(struct mount_options *o, const char *opt)
{
    const char *interval = value_of(opt, "sync_interval"), *size = value_of(opt, "segment_size"),
               *compress = value_of(opt, "compress"), *schemas = value_of(opt, "schemas"),
               *threads = value_of(opt, "max_threads");

    if (interval) {
        if (strcmp(interval, "never") == 0)
            o->sync_interval_ms = UINT32_MAX;
        else if (cmd_parse_interval(interval, &o->sync_interval_ms) < 0 || o->sync_interval_ms == 0)
            return cmd_usage("'%s': a time is like 100ms or 2s; sync is for none at all", opt);
        return 0;
    }
    if (size) {
        if (cmd_parse_size(size, &o->segment_bytes) < 0 || o->segment_bytes < (64ull << 10) ||
            o->segment_bytes > (4ull << 30))
            return cmd_usage("'%s': a size is like 256M, from 64K to 4G", opt);
        return 0;
    }
    if (compress)
        return set_compress(o, compress);
    if (threads)
        return set_threads(o, threads);
    if (schemas)
        return set_off(opt, schemas, &o->no_schemas);
    if (set_flag(o, opt) || is_ignored(opt))
        return 0;
    return cmd_usage("unknown mount option '%s'", opt);
}

/* A list as -o has it; cut at its commas in place. */
static int set_options(struct mount_options *o, char *list)
{
    int r = 0;

    for (char *save, *opt = strtok_r(list, ",", &save); opt && r == 0;
         opt = strtok_r(NULL, ",", &save))
        r = set_option(o, opt);
    return r;
}

static int run(int argc, char **argv)
{
    static const struct option options[] = {{"foreground", no_argument, NULL, 'f'},
                                            {"options", required_argument, NULL, 'o'},
                                            {"help", no_argument, NULL, 'h'},
                                            {0}};
    struct mount_options o = {0};
    /* mount(8) calls its helper as mount.evfs DATA MOUNTPOINT [-sfnv] [-N ns] [-o ...] [-t ...],
     * with letters that mean other things there. */
    bool helper = strcmp(argv[0], "mount.evfs") == 0, dry = false;

    for (int c; (c = cmd_option(argc, argv, helper ? ":sfnvN:o:t:h" : ":fo:h", options)) != -1;) {
        int r = c == 'o' ? set_options(&o, optarg) : 0;
        if (r)
            return r;
        if (c == 'f' && helper)
            dry = true; /* "fake": all but the mount itself */
        else if (c == 'f')
            o.foreground = true;
    }
    if (argc - optind != 2)
        return cmd_usage(argc - optind < 2 ? "DATA and MOUNTPOINT are needed"
                                           : "too many operands");
    if (!*argv[optind]) /* "$UNSET": else it would be the current directory */
        return cmd_usage("DATA is empty");
    o.data = argv[optind];
    o.mountpoint = argv[optind + 1];
    return dry ? CMD_OK : evfs_mount(&o) == 0 ? CMD_OK : CMD_FAILED;
}

const struct command command_mount = {
    .name = "mount",
    .args = "[-f] [-o OPTIONS] DATA|:memory: MOUNTPOINT",
    .summary = "mount a store",
    .help = help,
    .run = run,
};
