/* SPDX-License-Identifier: MIT */
/* cmd_feed: input, passed on in pieces. (1) A piece ends behind a line feed where it can, so a
 * value that is one line lies in one write, and where it is bad, the line that is named is its own.
 * (2) What a slow producer has sent as whole lines is passed on at once, not when a buffer is full.
 * (3) f->line and f->column are where the bytes not yet taken begin, until a failure moves them to
 * the byte that is to blame.
 *
 * The bytes are not looked at but for line feeds: values are the store's business. */
#include "fs/cmd.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define PIECE_BYTES (1u << 20)
#define PIECE_MAX   (64u << 20) /* of whole lines: twenty times the longest line of a store */

struct buffer {
    char *p; /* owned */
    size_t cap, n;
    bool end;   /* of the input */
    bool added; /* its last byte is a line feed that the input has not */
};

static int fail(struct evs_error *err, int code, const char *what)
{
    if (err) {
        *err = (struct evs_error){.why = EVS_SYSTEM, .code = code, .pos = UINT64_MAX};
        (void)snprintf(err->detail, sizeof err->detail, "%s", what);
    }
    return -code;
}

/* Move line and column over n bytes. */
static void advance(struct feed *f, const char *p, size_t n)
{
    const char *end = p + n, *lf;

    for (; (lf = memchr(p, '\n', (size_t)(end - p))); p = lf + 1) {
        f->line++;
        f->column = 1;
    }
    f->column += (uint64_t)(end - p);
}

/* Read what there is, once. At the end a line feed is added where the last line has none, as a
 * number or a literal ends only with what follows it. */
static int fill(struct buffer *b, int fd, bool *in_line, struct evs_error *err)
{
    ssize_t r = read(fd, b->p + b->n, b->cap - b->n);

    if (r < 0 && errno == EINTR)
        return cmd_signal() ? -EINTR : 0;
    if (r < 0)
        return fail(err, errno, "read");
    if (r > 0) {
        b->n += (size_t)r;
        *in_line = b->p[b->n - 1] != '\n';
        return 0;
    }
    b->end = true;
    b->added = *in_line;
    if (b->added)
        b->p[b->n++] = '\n'; /* cap leaves room: the read was of at least one byte */
    return 0;
}

/* How much of the buffer is a piece now; 0: more has to be read. */
static size_t piece(const struct feed *f, const struct buffer *b)
{
    const char *lf = b->n ? memrchr(b->p, '\n', b->n) : NULL;

    if (lf)
        return (size_t)(lf + 1 - b->p);
    return b->end || (b->n == b->cap && !f->whole_lines) ? b->n : 0;
}

/* Give n bytes away; of whole lines perhaps fewer, as a transaction may need lines that are still to come.
 * Returns how many are left. On failure line and column are set to where it failed. added: the last byte is
 * a line feed of ours; if that is what breaks a value, the value was never finished. */
static ssize_t give(struct feed *f, const char *p, size_t n, bool added, struct evs_error *err)
{
    while (n > 0) {
        struct evs_error e = {.pos = UINT64_MAX};
        ssize_t r = f->write(f->arg, p, n, &e);

        if (r > 0) {
            advance(f, p, (size_t)r);
            f->taken += (uint64_t)r;
            p += r;
            n -= (size_t)r;
            continue;
        }
        if (r == 0 && f->whole_lines)
            return (ssize_t)n;
        if (r == 0) /* it says nothing, so a second try could go on for ever */
            r = fail(&e, EIO, "write took nothing");
        if (added && e.why == EVS_LINE_BREAK && e.pos == n - 1)
            e.why = EVS_UNFINISHED;
        if (e.pos != UINT64_MAX)
            advance(f, p, e.pos < n ? e.pos : n);
        else
            f->column = 0;
        if (err)
            *err = e;
        return r;
    }
    return 0;
}

static int grow(struct buffer *b, struct evs_error *err)
{
    if (b->cap >= PIECE_MAX)
        return fail(err, EMSGSIZE, "a line is longer than 64 MiB");
    char *p = realloc(b->p, b->cap * 2);
    if (!p)
        return fail(err, ENOMEM, "input");
    b->p = p;
    b->cap *= 2;
    return 0;
}

static int copy(struct feed *f, int fd, struct buffer *b, struct evs_error *err)
{
    bool in_line = false;

    while (!b->end) {
        int r = b->n == b->cap ? grow(b, err) : 0;
        if (r == 0)
            r = fill(b, fd, &in_line, err);
        if (r < 0)
            return r;
        size_t n = piece(f, b);
        ssize_t left = give(f, b->p, n, b->added, err);
        if (left < 0)
            return (int)left;
        if (left > 0 && b->end)
            return fail(err, EINVAL, "the last transaction is not whole");
        n -= (size_t)left;
        memmove(b->p, b->p + n, b->n - n);
        b->n -= n;
        if (cmd_signal())
            return -EINTR;
    }
    return 0;
}

int feed_file(struct feed *f, const char *path, struct evs_error *err)
{
    bool from_stdin = !path || strcmp(path, "-") == 0;
    size_t cap = f->piece_bytes ? f->piece_bytes : PIECE_BYTES;

    f->name = from_stdin ? "" : path;
    f->line = f->column = 1;
    int fd = from_stdin ? STDIN_FILENO : open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        f->line = f->column = 0;
        return fail(err, errno, "open");
    }
    struct buffer b = {.p = malloc(cap), .cap = cap};
    int r = b.p ? copy(f, fd, &b, err) : fail(err, ENOMEM, "input");
    free(b.p);
    if (!from_stdin)
        (void)close(fd); /* only read: nothing to learn */
    return r;
}

ssize_t cmd_write_values(struct evs_writer *w, const char *p, size_t n, const struct evs_cred *cred,
                         struct evs_error *err)
{
    bool began = evs_writer_pending(w, NULL) < 0;
    ssize_t r = evs_write(w, p, n, cred, err);

    if (r < 0 && began && err)
        err->pos = UINT64_MAX; /* of the value, or of this write: err does not say */
    return r;
}

/* What to do next, by errno: the same for a store that is open here and for a mount. */
static const char *advice(int code)
{
    switch (code) {
    case ENOSPC:
    case EDQUOT:
        return "make room, then append the rest, from this line on";
    case EIO:
    case EROFS:
        return "'evfs verify' says what is wrong with the store";
    case ENOTCONN:
    case ECONNABORTED:
        return "the mount has ended; mount it again, then append the rest, from this line on";
    case EACCES:
    case EPERM:
        return "append it as somebody who may write there";
    default:
        return "what stands before it is stored; correct it, then append the rest, from this line "
               "on";
    }
}

int feed_report(const struct feed *f, const struct evs_error *err)
{
    const char *colon = *f->name ? ": " : "";
    char text[512];

    if (err->why == EVS_UNFINISHED)
        return cmd_fail("%s%sthe last value is not finished: it is not stored, all before it is",
                        f->name, colon);
    cmd_reason(err, text, sizeof text);
    if (f->line == 0)
        return cmd_fail("%s%s%s", f->name, colon, text);
    if (f->column == 0)
        return cmd_fail("%s%sline %" PRIu64 ": %s: %s", f->name, colon, f->line, text,
                        advice(err->code));
    return cmd_fail("%s%sline %" PRIu64 ", byte %" PRIu64 ": %s: %s", f->name, colon, f->line,
                    f->column, text, advice(err->code));
}
