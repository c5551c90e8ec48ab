/* SPDX-License-Identifier: MIT */
/* evfs append: input to one file of the tree, of a mount or of a store that nobody has open, and an
 * exact answer: how far it is stored, and which byte of which line was refused and why. (1) On 0
 * everything is stored and durable. (2) On 1 what stands before the named line is stored, nothing
 * behind it.
 *
 * A mount says only an errno; the reason comes from its rejected.jsonl, where our own last entry
 * stands. */
#include "fs/cmd.h"
#include "fs/path.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* Below the largest write that reaches the daemon as one request. */
#define MOUNT_PIECE_BYTES (512u << 10)
#define REJECTED_BYTES    (256u << 10) /* of rejected.jsonl's end; a line of it has at most 50 KB */

static const char help[] =
    "FILE lies below a mount. DATA is the directory of a store that nobody has open, and PATH a\n"
    "file inside its tree: a first operand that is a directory is DATA. INPUT is read, or stdin.\n"
    "What can be appended to, and what the values are:\n"
    "  events.jsonl               whole events, each an object; an array is a transaction\n"
    "  entities/E/events.jsonl    the same, of entity E or below it\n"
    "  entities/E/TYPE.jsonl      the data of events of one type of E\n"
    "  types/TYPE/events.jsonl    whole events of one type\n"
    "On success everything is stored and durable. On a bad value, line, byte and reason are\n"
    "printed; what stands before it is stored, nothing behind it.\n";

/* ---- to a mount ---- */

struct mounted {
    int fd;
    size_t before;       /* bytes that the last write took, if it was a short one */
    bool first;          /* nothing was written yet */
    char root[PATH_MAX]; /* of the mount */
};

/* The number or string behind key ("\"pos\":") in a line of rejected.jsonl, NULL if absent. Inside
 * strings quotes are escaped, so key can't be found there. */
static const char *field(const char *line, const char *key)
{
    const char *p = strstr(line, key);

    return p ? p + strlen(key) : NULL;
}

/* Make err more exact by a line of rejected.jsonl, if it is ours. */
static bool use_entry(const char *line, struct evs_error *err)
{
    const char *pid = field(line, "\"pid\":"), *why = field(line, "\"reason\":\""),
               *pos = field(line, "\"pos\":"), *detail = field(line, "\"detail\":\"");
    size_t n = 0;

    if (!pid || !why || strtoull(pid, NULL, 10) != (unsigned long long)getpid())
        return false;
    for (int i = 1; i < EVS_REASON_COUNT; i++) {
        const char *name = evs_reason_name((enum evs_reason)i);
        if (strncmp(why, name, strlen(name)) == 0 && why[strlen(name)] == '"')
            err->why = (enum evs_reason)i;
    }
    if (pos && *pos >= '0' && *pos <= '9')
        err->pos = strtoull(pos, NULL, 10);
    for (; detail && *detail && *detail != '"' && n < sizeof err->detail - 1; detail++) {
        if (*detail == '\\' && detail[1]) /* of the escapes, only \" and \\ come up in details */
            detail++;
        err->detail[n++] = *detail;
    }
    err->detail[n] = '\0';
    return true;
}

/* The end of an open file into text[REJECTED_BYTES + 1]: at least its last half, as its size is not
 * known before it is read (a computed file). Returns the length. */
static size_t read_end(int fd, char *text)
{
    size_t n = 0;
    ssize_t r;

    while ((r = read(fd, text + n, REJECTED_BYTES - n)) > 0) {
        n += (size_t)r;
        if (n > REJECTED_BYTES / 2) {
            memmove(text, text + n - REJECTED_BYTES / 2, REJECTED_BYTES / 2);
            n = REJECTED_BYTES / 2;
        }
    }
    return n; /* an error is as an end: what is there may do */
}

/* Find our newest entry in the mount's rejected.jsonl; where it can't be read, err stays as it
 * is. */
static void explain(const struct mounted *m, struct evs_error *err)
{
    char path[PATH_MAX + 32], *text = malloc(REJECTED_BYTES + 1);

    if (!text)
        return;
    (void)snprintf(path, sizeof path, "%s/.evfs/rejected.jsonl", m->root);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    size_t n = fd < 0 ? 0 : read_end(fd, text);
    if (fd >= 0)
        (void)close(fd); /* only read: nothing to learn */
    if (n > 0 && text[n - 1] == '\n')
        n--;
    for (bool found = false; n > 0 && !found;) { /* lines, from the last */
        text[n] = '\0';
        const char *lf = memrchr(text, '\n', n);
        found = use_entry(lf ? lf + 1 : text, err);
        n = lf ? (size_t)(lf - text) : 0;
    }
    free(text);
}

/* Does a value begin at p, as far as can be seen? After a short write one does, and at the start of
 * a line that isn't an inner one of a pretty-printed value. */
static bool value_begins(const struct mounted *m, const char *p)
{
    return m->first || m->before > 0 || !strchr(" \t\r\n]}\"", *p);
}

/* A bad value is entered into rejected.jsonl by the write that stops before it, with its place in
 * that write; one that began in an earlier write, with its place in the value, which is no use
 * here. */
static ssize_t write_mounted(void *arg, const char *p, size_t n, struct evs_error *err)
{
    struct mounted *m = arg;
    ssize_t r = write(m->fd, p, n);

    if (r >= 0) {
        m->before = (size_t)r < n ? (size_t)r : 0;
        m->first = false;
        return r;
    }
    int code = errno;
    *err = (struct evs_error){.why = EVS_SYSTEM, .code = code, .pos = UINT64_MAX};
    explain(m, err);
    if (err->pos < m->before || !value_begins(m, p))
        err->pos = UINT64_MAX;
    if (err->pos != UINT64_MAX)
        err->pos -= m->before;
    return -code;
}

/* The errors that the tree itself has for an open, in words. */
static int fail_open(const char *file, int code)
{
    switch (code) {
    case ENOENT:
        return cmd_fail(
            "%s: no such file can be: see evfs(5) for the names that can be appended to", file);
    case EPERM:
        return cmd_fail("%s: can't be appended to: it is a view or a document", file);
    default:
        return cmd_fail("%s: %s", file, strerror(code));
    }
}

static int append_mounted(const char *file, const char *input)
{
    struct mounted m = {.first = true};
    struct evs_error err;
    int r = cmd_mount_root(file, m.root, sizeof m.root);

    if (r == -EXDEV)
        return cmd_fail("%s: not below an evfs mount: mount the store, or name DATA and PATH",
                        file);
    if (r < 0)
        return cmd_fail("%s: %s", file, strerror(-r));
    m.fd = open(file, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0666);
    if (m.fd < 0)
        return fail_open(file, errno);

    struct feed f = {.write = write_mounted, .arg = &m, .piece_bytes = MOUNT_PIECE_BYTES};
    r = feed_file(&f, input, &err);
    if (r == -EINTR)
        r = cmd_fail("ended by a signal after %" PRIu64 " bytes; whole values of them are stored",
                     f.taken);
    else if (r < 0)
        r = feed_report(&f, &err);
    else if (fsync(m.fd) < 0) { /* says as well whether the last value is finished */
        int code = errno;
        err = (struct evs_error){.why = EVS_UNFINISHED, .code = code, .pos = UINT64_MAX};
        r = code == EINVAL
                ? feed_report(&f, &err)
                : cmd_fail("%s: fsync: %s: not known to be durable", file, strerror(code));
    }
    if (close(m.fd) < 0 && r == 0)
        r = cmd_fail("%s: %s", file, strerror(errno));
    return r;
}

/* ---- to a store that is not open ---- */

struct opened {
    struct evs_writer *w;
    struct evs_cred cred;
};

static ssize_t write_opened(void *arg, const char *p, size_t n, struct evs_error *err)
{
    const struct opened *o = arg;

    return cmd_write_values(o->w, p, n, &o->cred, err);
}

static int append_opened(const char *data, const char *path, const char *input)
{
    struct evs_error err;
    struct path target;
    struct evs_store *st;
    struct opened o = {.cred = cmd_cred()};

    if (path_parse(path, &target, &err) < 0)
        return cmd_fail("%s: not a file that can be appended to: see 'evfs append --help'", path);
    if (cmd_open_store(data, &(struct evs_options){.must_exist = true, .compress = -1}, &st) !=
        CMD_OK)
        return CMD_FAILED;

    struct feed f = {.write = write_opened, .arg = &o};
    int r = evs_writer_new(st, &target.target, path, &o.w, &err);
    if (r < 0)
        r = cmd_fail_store(path, &err);
    else if ((r = feed_file(&f, input, &err)) == -EINTR)
        r = cmd_fail("ended by a signal after %" PRIu64 " bytes; whole values of them are stored",
                     f.taken);
    else if (r < 0)
        r = feed_report(&f, &err);
    else if (evs_writer_pending(o.w, &err) < 0)
        r = feed_report(&f, &err);
    evs_writer_free(o.w);
    if (evs_close(st, &err) < 0)
        return cmd_fail_store(data, &err);
    return r;
}

static int run(int argc, char **argv)
{
    static const struct option options[] = {{"help", no_argument, NULL, 'h'}, {0}};
    struct stat sb;

    while (cmd_option(argc, argv, ":h", options) != -1)
        ;
    argc -= optind;
    argv += optind;
    if (argc < 1)
        return cmd_usage("no target");
    bool data = stat(argv[0], &sb) == 0 && S_ISDIR(sb.st_mode);
    if (data && argc < 2)
        return cmd_usage("%s is a directory: name a file below a mount, or a PATH behind DATA",
                         argv[0]);
    if (argc > 2 + data)
        return cmd_usage("too many operands: '%s'", argv[2 + data]);
    cmd_catch_signals();
    if (data)
        return append_opened(argv[0], argv[1], argc > 2 ? argv[2] : NULL);
    return append_mounted(argv[0], argc > 1 ? argv[1] : NULL);
}

const struct command command_append = {
    .name = "append",
    .args = "FILE|DATA PATH [INPUT]",
    .summary = "append events to a file of the tree, and say exactly what was stored",
    .help = help,
    .run = run,
};
