/* SPDX-License-Identifier: MIT */
/* evfs stats: numbers about a store, one a line: of a mount from its .evfs/stats.json, else of the
 * store in a directory, which is opened to look only. */
#include "fs/cmd.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define JSON_BYTES (64u << 10) /* stats.json is some 1 KB */

static const char help[] =
    "TARGET is the directory of a store, or a path in a mount. Sizes are in bytes; durable is the "
    "seq up\n"
    "to which events survive power loss; appended, repeated, rejected, transactions, syncs and "
    "batches\n"
    "count since the store was opened. The line health says 'ok', or what is wrong.\n";

static bool ends_in(const char *s, const char *end)
{
    size_t n = strlen(s), e = strlen(end);

    return n >= e && strcmp(s + n - e, end) == 0;
}

/* One row; sizes and times get a second form that people can read. */
static void print_row(const char *name, const char *value)
{
    char more[40] = "";
    long long v = strtoll(value, NULL, 10);

    if (ends_in(name, "bytes") && v >= 10000) {
        (void)snprintf(more, sizeof more, "  (%.1f MB)", (double)v / 1e6);
    } else if ((strcmp(name, "newest_us") == 0 || strcmp(name, "opened_us") == 0) && v > 0) {
        struct tm tm;
        time_t t = (time_t)(v / 1000000);
        if (gmtime_r(&t, &tm))
            (void)strftime(more, sizeof more, "  (%Y-%m-%dT%H:%M:%SZ)", &tm);
    }
    printf("%-16s %s%s\n", name, value, more);
}

static void print_number(const char *name, uint64_t v)
{
    char text[24];

    (void)snprintf(text, sizeof text, "%" PRIu64, v);
    print_row(name, text);
}

/* The end of the value at p: the comma or bracket behind it. What we read is our own daemon's. */
static const char *value_end(const char *p)
{
    int depth = 0;

    for (bool quoted = false; *p; p++) {
        if (quoted && *p == '\\' && p[1])
            p++;
        else if (*p == '"')
            quoted = !quoted;
        else if (!quoted && (*p == '{' || *p == '['))
            depth++;
        else if (!quoted && (*p == '}' || *p == ']') && depth-- == 0)
            break;
        else if (!quoted && *p == ',' && depth == 0)
            break;
    }
    return p;
}

/* The members of one JSON object as rows; a member that is one itself stays as it is. */
static void print_members(const char *json)
{
    for (const char *p = strchr(json, '{'); p && (p = strchr(p, '"'));) {
        char name[64], value[1024];
        const char *quote = strchr(p + 1, '"'), *v = quote ? strchr(quote, ':') : NULL;
        if (!v)
            break;
        (void)snprintf(name, sizeof name, "%.*s", (int)(quote - p - 1), p + 1);
        v += 1 + strspn(v + 1, " \t\n");
        const char *end = value_end(v);
        int n = (int)(end - v);
        while (n > 0 && strchr(" \t\r\n", v[n - 1]))
            n--;
        bool text = n >= 2 && v[0] == '"';
        (void)snprintf(value, sizeof value, "%.*s", text ? n - 2 : n, v + text);
        print_row(name, value);
        p = *end == ',' ? end : NULL;
    }
}

/* A small file of the mount into buf, terminated. 0 or a negative errno. */
static int read_small(const char *root, const char *name, char *buf, size_t cap)
{
    char path[PATH_MAX + 32];
    size_t n = 0;
    ssize_t r;

    (void)snprintf(path, sizeof path, "%s/%s", root, name);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    do {
        r = read(fd, buf + n, cap - 1 - n);
        n += r > 0 ? (size_t)r : 0;
    } while (r > 0 && n < cap - 1);
    int code = r < 0 ? -errno : 0;
    (void)close(fd); /* only read: nothing to learn */
    buf[n] = '\0';
    return code;
}

static int stats_mounted(const char *root)
{
    char *buf = malloc(JSON_BYTES);
    int r = buf ? read_small(root, ".evfs/stats.json", buf, JSON_BYTES) : -ENOMEM;

    if (r == 0) {
        print_row("mount", root);
        print_members(buf);
        r = read_small(root, ".evfs/health", buf, JSON_BYTES);
    }
    if (r == 0)
        printf("%-16s %s", "health", buf);
    free(buf);
    return r < 0 ? cmd_fail("%s: %s", root, strerror(-r)) : CMD_OK;
}

static int stats_opened(const char *dir)
{
    struct evs_error err;
    struct evs_store *st;
    struct evs_stats s;
    char health[4096];

    if (cmd_open_store(dir, &(struct evs_options){.read_only = true, .must_exist = true}, &st) !=
        CMD_OK)
        return CMD_FAILED;
    evs_stats(st, &s);
    print_row("store", dir);
    print_number("events", s.events);
    print_number("entities", s.entities);
    print_number("types", s.types);
    print_number("bytes", s.bytes);
    print_number("disk_bytes", s.disk_bytes);
    print_number("segments", s.segments);
    print_number("compressed", s.compressed);
    print_number("durable", s.durable);
    print_number("newest_us", (uint64_t)s.newest_us);
    print_number("index_bytes", s.index_bytes);
    print_number("names_bytes", s.names_bytes);
    print_number("id_bytes", s.id_bytes);
    if (s.chained)
        printf("%-16s {\"events\":%" PRIu64 ",\"sha256\":\"%s\"}\n", "sealed", s.chained, s.sha256);
    (void)evs_health(st, health, sizeof health); /* the text says it all */
    printf("%-16s %s", "health", health);
    (void)evs_borders(st, true, health, sizeof health);
    printf("%s", health);
    return evs_close(st, &err) < 0 ? cmd_fail_store(dir, &err) : CMD_OK;
}

static int run(int argc, char **argv)
{
    static const struct option options[] = {{"help", no_argument, NULL, 'h'}, {0}};
    char root[PATH_MAX];

    while (cmd_option(argc, argv, ":h", options) != -1)
        ;
    if (argc - optind != 1)
        return cmd_usage(argc == optind ? "no target" : "too many operands");
    int r = cmd_mount_root(argv[optind], root, sizeof root);
    if (r == 0)
        return stats_mounted(root);
    return r == -EXDEV ? stats_opened(argv[optind])
                       : cmd_fail("%s: %s", argv[optind], strerror(-r));
}

const struct command command_stats = {
    .name = "stats",
    .args = "TARGET",
    .summary = "numbers about a store or a mount",
    .help = help,
    .run = run,
};
