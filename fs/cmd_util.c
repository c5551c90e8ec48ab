/* SPDX-License-Identifier: MIT */
/* cmd_util: messages, options and small things that every subcommand needs. (1) Messages go to
 * stderr, once, and begin with the command's name; stdout holds only what was asked for. (2) What
 * is parsed is a whole word or refused: "10x" is no number. */
#include "fs/cmd.h"
#include "fs/place.h"

#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static const struct command *running;     /* const after main() began */
static volatile sig_atomic_t signal_came; /* written by the handler only */

void cmd_begin(const struct command *c)
{
    running = c;
}

void cmd_print_help(const struct command *c)
{
    printf("usage: evfs %s %s\n%s.\n\n%s", c->name, c->args, c->summary, c->help);
}

__attribute__((format(printf, 1, 0))) static void message(const char *fmt, va_list ap)
{
    char text[2048];

    (void)vsnprintf(text, sizeof text, fmt, ap); /* cut is fine: it is for people */
    fprintf(stderr, "evfs%s%s: %s\n", running ? " " : "", running ? running->name : "", text);
}

int cmd_fail(const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    message(fmt, ap);
    va_end(ap);
    return CMD_FAILED;
}

int cmd_usage(const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    message(fmt, ap);
    va_end(ap);
    fprintf(stderr, "see 'evfs%s%s --help'\n", running ? " " : "", running ? running->name : "");
    return CMD_USAGE;
}

int cmd_option(int argc, char **argv, const char *letters, const struct option *names)
{
    opterr = 0; /* getopt would call the program by the command's name */
    int c = getopt_long(argc, argv, letters, names, NULL);

    if (c == 'h') {
        cmd_print_help(running);
        exit(fflush(stdout) == 0 ? CMD_OK : CMD_FAILED);
    }
    if (c == ':' || (c == '?' && optopt && strchr(letters, optopt)))
        exit(cmd_usage("'%s' needs a value", argv[optind - 1]));
    if (c == '?' && optopt)
        exit(cmd_usage("unknown option '-%c'", optopt));
    if (c == '?')
        exit(cmd_usage("unknown option '%s'", argv[optind - 1]));
    return c;
}

char *cmd_reason(const struct evs_error *err, char *buf, size_t n)
{
    struct evs_error e = *err;

    e.pos = UINT64_MAX;
    if (e.why != EVS_SYSTEM)
        return evs_error_format(&e, buf, n);
    (void)snprintf(buf, n, "%s%s%s", e.detail, e.detail[0] ? ": " : "", strerror(e.code));
    return buf;
}

int cmd_fail_store(const char *dir, const struct evs_error *err)
{
    char text[512], at[PATH_MAX];
    struct evs_error e = *err;

    if (strcmp(e.detail, dir) == 0)
        e.detail[0] = '\0'; /* dir stands before it anyway */
    if (e.why == EVS_SYSTEM)
        cmd_reason(&e, text, sizeof text);
    else
        evs_error_format(&e, text, sizeof text);
    if (err->why != EVS_IN_USE)
        return cmd_fail("%s: %s%s", dir, text,
                        err->why == EVS_DAMAGED ? "; 'evfs verify' finds all damage" : "");
    if (place_of_store(dir, at, sizeof at))
        return cmd_fail(
            "%s: %s: it is mounted at %s: use the files there (%s/events.jsonl is every "
            "event), or unmount it first",
            dir, text, at, at);
    return cmd_fail("%s: %s: wait until that process has ended", dir, text);
}

int cmd_open_store(const char *dir, const struct evs_options *o, struct evs_store **ret_st)
{
    struct evs_error err;
    int waited_ms = 0, r;

    do
        r = evs_open(dir, o, ret_st, &err);
    while (r < 0 && place_ending(dir, &err, &waited_ms));
    return r < 0 ? cmd_fail_store(dir, &err) : CMD_OK;
}

int cmd_parse_number(const char *s, uint64_t *ret)
{
    char *end;

    if (*s < '0' || *s > '9')
        return -EINVAL;
    errno = 0;
    unsigned long long v = strtoull(s, &end, 10);
    if (errno || *end)
        return -EINVAL;
    *ret = v;
    return 0;
}

/* The number before a unit; *ret_unit is what follows. */
static int parse_prefix(const char *s, uint64_t *ret, const char **ret_unit)
{
    char digits[24];
    size_t n = strspn(s, "0123456789");

    if (n == 0 || n >= sizeof digits)
        return -EINVAL;
    memcpy(digits, s, n);
    digits[n] = '\0';
    *ret_unit = s + n;
    return cmd_parse_number(digits, ret);
}

int cmd_parse_size(const char *s, uint64_t *ret)
{
    static const char units[] = "KMG";
    const char *unit, *u;
    uint64_t v, bytes;

    if (parse_prefix(s, &v, &unit) < 0)
        return -EINVAL;
    if (!*unit) {
        *ret = v;
        return 0;
    }
    u = strchr(units, *unit);
    if (!u || unit[1] || __builtin_mul_overflow(v, 1ull << 10 * (u - units + 1), &bytes))
        return -EINVAL;
    *ret = bytes;
    return 0;
}

int cmd_parse_interval(const char *s, uint32_t *ret_ms)
{
    const char *unit;
    uint64_t v, ms;

    if (parse_prefix(s, &v, &unit) < 0)
        return -EINVAL;
    uint64_t factor = strcmp(unit, "ms") == 0 ? 1 : strcmp(unit, "s") == 0 ? 1000 : 0;
    if (factor == 0 || __builtin_mul_overflow(v, factor, &ms) || ms >= UINT32_MAX)
        return -EINVAL;
    *ret_ms = (uint32_t)ms;
    return 0;
}

int cmd_write_all(int fd, const void *p, size_t n)
{
    const char *s = p;

    while (n > 0) {
        ssize_t r = write(fd, s, n);
        if (r < 0 && errno != EINTR)
            return -errno;
        if (r > 0) {
            s += r;
            n -= (size_t)r;
        }
    }
    return 0;
}

/* Cut the last component off, in place: "a/b" to "a", "a" to ".", "/a" to "/". */
static void cut_component(char *path)
{
    char *slash = strrchr(path, '/');

    if (!slash)
        (void)strcpy(path, "."); /* a path is at least a byte long */
    else
        slash[slash == path] = '\0';
}

int cmd_mount_root(const char *path, char *root, size_t cap)
{
    char at[PATH_MAX], probe[PATH_MAX + 16];
    struct stat here, above;

    if (!*path || strlen(path) >= sizeof at)
        return *path ? -ENAMETOOLONG : -ENOENT;
    (void)strcpy(at, path);
    for (;;) { /* the nearest directory that is there */
        int r = stat(at, &here) < 0 ? -errno : 0;
        if (r == 0 && S_ISDIR(here.st_mode))
            break;
        if (r == -ENOTCONN || strcmp(at, ".") == 0 || strcmp(at, "/") == 0)
            return r ? r : -ENOTDIR;
        cut_component(at);
    }
    char *real = realpath(at, NULL);
    if (!real)
        return -errno;
    (void)snprintf(at, sizeof at, "%s", real);
    free(real);
    while (strcmp(at, "/") != 0) {
        char up[PATH_MAX];
        (void)strcpy(up, at);
        cut_component(up);
        if (stat(up, &above) < 0 || above.st_dev != here.st_dev)
            break;
        (void)strcpy(at, up);
    }
    (void)snprintf(probe, sizeof probe, "%s/.evfs/stats.json", at);
    if (access(probe, F_OK) < 0)
        return -EXDEV;
    return snprintf(root, cap, "%s", at) < (int)cap ? 0 : -ENAMETOOLONG;
}

static int own_groups(void *arg, gid_t *ret, int cap)
{
    (void)arg;
    int n = getgroups(cap, ret);

    return n > 0 ? n : 0; /* more groups than cap: unknown, as the contract says */
}

struct evs_cred cmd_cred(void)
{
    return (struct evs_cred){
        .uid = geteuid(), .gid = getegid(), .pid = getpid(), .groups = own_groups};
}

static void note_signal(int number)
{
    signal_came = number;
}

void cmd_catch_signals(void)
{
    /* No SA_RESTART: a read that waits for input has to end. SA_RESETHAND: the second one kills. */
    struct sigaction sa = {.sa_handler = note_signal, .sa_flags = (int)SA_RESETHAND};

    (void)sigaction(SIGINT, &sa, NULL); /* these fail for bad numbers only */
    (void)sigaction(SIGTERM, &sa, NULL);
}

int cmd_signal(void)
{
    return signal_came;
}
