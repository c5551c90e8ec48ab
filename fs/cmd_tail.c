/* SPDX-License-Identifier: MIT */
/* evfs tail: the newest lines of a .jsonl of a mount, and what comes after them. (1) One offset
 * goes through the file once, so nothing is lost or printed twice between the first part and the
 * following. (2) Output is written at once, by write(2), no buffer behind it. (3) Following waits
 * in poll(2) only: the daemon wakes us when the view has grown, whichever file the event came
 * through.
 *
 * With -f the file is open O_NONBLOCK: then reads go to the daemon and poll is level-triggered, so
 * a size or page that the kernel has cached can't hide an event. */
#include "fs/cmd.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define READ_BYTES (256u << 10)
#define EMPTY_MAX                                                                                  \
    3 /* wake-ups without bytes in a row, before we take it for no view and slow down */
#define EMPTY_MS    100
#define SEARCH_STOP (64u << 10) /* a seq is searched by halves down to this, then line by line */

static const char help[] =
    "Prints the last lines of PATH, a .jsonl below a mount.\n"
    "  -n N     N lines, 10 if not given\n"
    "  -s SEQ   instead: all events whose seq is at least SEQ; not for TYPE.jsonl, where no seq "
    "is\n"
    "  -f       follow: print each new event within a millisecond, until the mount or the reader\n"
    "           of the output goes away\n";

struct tail {
    const char *path;
    int fd;
    uint64_t pos; /* of the next byte to print */
    char *buf;    /* READ_BYTES */
};

static int fail_read(const struct tail *t, int code)
{
    bool gone = code == ENOTCONN || code == ECONNABORTED || code == ENODEV;

    return cmd_fail("%s: %s%s", t->path, strerror(code), gone ? ": the mount has ended" : "");
}

/* pread(2) that starts again after a signal; a file with nothing more for now (EAGAIN) has
 * ended. */
static ssize_t read_at(const struct tail *t, void *buf, size_t n, uint64_t pos)
{
    ssize_t r;

    do
        r = pread(t->fd, buf, n, (off_t)pos);
    while (r < 0 && errno == EINTR);
    return r < 0 && errno != EAGAIN ? -errno : r < 0 ? 0 : r;
}

/* Print from t->pos to the end as it is now. The bytes printed, or negative with the message
 * out. */
static int64_t print_rest(struct tail *t)
{
    int64_t sum = 0;

    for (;;) {
        ssize_t n = read_at(t, t->buf, READ_BYTES, t->pos);
        if (n < 0)
            (void)fail_read(t, (int)-n);
        if (n <= 0)
            return n < 0 ? n : sum;
        int r = cmd_write_all(STDOUT_FILENO, t->buf, (size_t)n);
        if (r < 0) {
            (void)cmd_fail("stdout: %s", strerror(-r));
            return r;
        }
        t->pos += (uint64_t)n;
        sum += n;
    }
}

/* Set t->pos to where the last `lines` lines of the first `size` bytes begin. 0 or a negative
 * errno. */
static int seek_lines(struct tail *t, uint64_t size, uint64_t lines)
{
    uint64_t end = size;

    t->pos = size;
    if (lines == 0)
        return 0;
    while (end > 0) {
        size_t n = end < READ_BYTES ? (size_t)end : READ_BYTES;
        ssize_t r = read_at(t, t->buf, n, end - n);
        if (r < 0)
            return (int)r;
        if ((size_t)r < n)
            return -EIO; /* a view never shrinks */
        for (size_t i = n; i-- > 0;) {
            bool last =
                end - n + i + 1 == size; /* the line feed of the last line ends no line before it */
            if (t->buf[i] == '\n' && !last && --lines == 0) {
                t->pos = end - n + i + 1;
                return 0;
            }
        }
        end -= n;
    }
    t->pos = 0;
    return 0;
}

/* The first line that begins at or behind pos, below size; size if there is none. Negative
 * errno. */
static int64_t next_line(const struct tail *t, uint64_t pos, uint64_t size)
{
    if (pos == 0)
        return 0;
    for (uint64_t at = pos - 1; at < size;) {
        ssize_t r = read_at(t, t->buf, READ_BYTES, at);
        if (r < 0)
            return r;
        const char *lf = r ? memchr(t->buf, '\n', (size_t)r) : NULL;
        if (lf)
            return (int64_t)(at + (uint64_t)(lf - t->buf) + 1);
        if (r == 0)
            break;
        at += (uint64_t)r;
    }
    return (int64_t)size;
}

/* The seq of the line at pos. 0: there is no line; -EINVAL: it has no seq; or a negative errno. */
static int64_t seq_at(const struct tail *t, uint64_t pos)
{
    static const char head[] = "{\"seq\":";
    char line[64] = "";
    ssize_t r = read_at(t, line, sizeof line - 1, pos);

    if (r <= 0)
        return r;
    if (strncmp(line, head, sizeof head - 1) != 0)
        return -EINVAL;
    return (int64_t)strtoull(line + sizeof head - 1, NULL, 10);
}

/* Set t->pos to the first line whose seq is at least want: by halves, as seqs grow along a view. */
static int seek_seq(struct tail *t, uint64_t size, evs_seq want)
{
    uint64_t low = 0,
             high =
                 size; /* the line is at or behind low; behind high only if there is none below */
    int64_t at, seq;

    while (high - low > SEARCH_STOP) {
        uint64_t middle = low + (high - low) / 2;
        at = next_line(t, middle, size);
        if (at < 0)
            return (int)at;
        if ((uint64_t)at >= high) {
            high = middle;
            continue;
        }
        seq = seq_at(t, (uint64_t)at);
        if (seq < 0)
            return (int)seq;
        *((evs_seq)seq < want ? &low : &high) = (uint64_t)at;
    }
    for (at = (int64_t)low; (seq = seq_at(t, (uint64_t)at)) > 0 && (evs_seq)seq < want;) {
        at = next_line(t, (uint64_t)at + 1, size);
        if (at < 0)
            return (int)at;
        if ((uint64_t)at >= size)
            break;
    }
    t->pos = (uint64_t)at;
    return seq < 0 ? (int)seq : 0;
}

/* A computed file has no size before it is read: read all, then print the last lines of it. */
static int print_computed(struct tail *t, uint64_t lines)
{
    char *all = NULL;
    size_t n = 0, cap = 0;
    ssize_t r;

    for (;;) {
        if (n == cap) {
            cap = cap ? cap * 2 : READ_BYTES;
            char *p = realloc(all, cap);
            if (!p) {
                free(all);
                return cmd_fail("%s: no memory", t->path);
            }
            all = p;
        }
        r = read_at(t, all + n, cap - n, n);
        if (r <= 0)
            break;
        n += (size_t)r;
    }
    size_t from = n;
    for (uint64_t left = lines; left > 0 && from > 0; left--) {
        const char *lf = memrchr(all, '\n', from - 1);
        from = lf ? (size_t)(lf + 1 - all) : 0;
    }
    t->pos = n;
    int w = r < 0 ? (int)r : cmd_write_all(STDOUT_FILENO, all + from, n - from);
    free(all);
    return w < 0 ? fail_read(t, -w) : CMD_OK;
}

/* Print what comes, until the file or the reader of stdout has gone. */
static int follow(struct tail *t)
{
    for (int empty = 0;;) {
        struct pollfd fds[2] = {
            {.fd = t->fd, .events = POLLIN},
            {.fd = STDOUT_FILENO}}; /* POLLERR: nobody reads the pipe any more */
        if (poll(fds, 2, -1) < 0) {
            if (errno == EINTR)
                continue;
            return cmd_fail("poll: %s", strerror(errno));
        }
        if (fds[1].revents & (POLLERR | POLLNVAL))
            return CMD_OK;
        int64_t n = print_rest(t);
        if (n < 0)
            return CMD_FAILED;
        if (fds[0].revents & (POLLERR | POLLHUP | POLLNVAL))
            return fail_read(t, ENOTCONN);
        empty = n > 0 ? 0 : empty + 1;
        if (empty > EMPTY_MAX) { /* an ordinary file is always ready: don't spin */
            struct timespec pause = {.tv_nsec = EMPTY_MS * 1000000l};
            (void)nanosleep(&pause, NULL); /* shorter after a signal is fine */
        }
    }
}

struct wish {
    uint64_t lines;
    evs_seq from; /* 0: by lines */
    bool follow;
};

static int tail(struct tail *t, const struct wish *w)
{
    struct stat sb;

    if (fstat(t->fd, &sb) < 0)
        return fail_read(t, errno);
    if (S_ISDIR(sb.st_mode))
        return cmd_fail("%s: a directory: %s/events.jsonl is what is in it", t->path, t->path);
    if (sb.st_size == 0 && !w->from) {
        int r = print_computed(t, w->lines);
        return r == CMD_OK && w->follow ? follow(t) : r;
    }
    int r = w->from ? seek_seq(t, (uint64_t)sb.st_size, w->from)
                    : seek_lines(t, (uint64_t)sb.st_size, w->lines);
    if (r == -EINVAL && w->from)
        return cmd_fail("%s: its lines have no seq: use an events.jsonl with -s", t->path);
    if (r < 0)
        return fail_read(t, -r);
    if (print_rest(t) < 0)
        return CMD_FAILED;
    return w->follow ? follow(t) : CMD_OK;
}

static int run(int argc, char **argv)
{
    static const struct option options[] = {{"lines", required_argument, NULL, 'n'},
                                            {"from", required_argument, NULL, 's'},
                                            {"follow", no_argument, NULL, 'f'},
                                            {"help", no_argument, NULL, 'h'},
                                            {0}};
    struct wish w = {.lines = 10};

    for (int c; (c = cmd_option(argc, argv, ":n:s:fh", options)) != -1;) {
        if (c == 'n' && cmd_parse_number(optarg, &w.lines) < 0)
            return cmd_usage("'%s' is not a number of lines", optarg);
        if (c == 's' && (cmd_parse_number(optarg, &w.from) < 0 || w.from == 0))
            return cmd_usage("'%s' is not a seq", optarg);
        w.follow = w.follow || c == 'f';
    }
    if (argc - optind != 1)
        return cmd_usage(argc == optind ? "no path" : "too many operands");

    struct tail t = {.path = argv[optind], .buf = malloc(READ_BYTES)};
    if (!t.buf)
        return cmd_fail("no memory");
    t.fd = open(t.path, O_RDONLY | O_CLOEXEC | (w.follow ? O_NONBLOCK : 0));
    int r = t.fd < 0 ? cmd_fail("%s: %s", t.path, strerror(errno)) : tail(&t, &w);
    if (t.fd >= 0)
        (void)close(t.fd); /* only read: nothing to learn */
    free(t.buf);
    return r;
}

const struct command command_tail = {
    .name = "tail",
    .args = "[-f] [-n LINES | -s SEQ] PATH",
    .summary = "print the newest events of a file of a mount, and those to come",
    .help = help,
    .run = run,
};
