/* SPDX-License-Identifier: MIT */
/* feed: what the commands read is passed on whole, and a failure is named by line and byte. The
 * sink is a store in small: values are lines, one with '!' in it is refused at this byte. */
#include "tests/unit/check.h"

#include "fs/cmd.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

struct sink {
    char got[4096];
    size_t n, calls, largest;
    bool no_place; /* failures name no byte */
    bool torn;     /* a write did not end behind a line feed */
    int refill;    /* a pipe's writing end, which gets "more\n" at the first call; -1: none */
};

static struct sink sink;
static struct evs_error err;

static ssize_t take(void *arg, const char *p, size_t n, struct evs_error *e)
{
    struct sink *s = arg;
    const char *bad = memchr(p, '!', n), *lf = bad ? memrchr(p, '\n', (size_t)(bad - p)) : NULL;
    size_t good = bad ? (lf ? (size_t)(lf + 1 - p) : 0) : n;

    if (s->calls++ == 0 && s->refill >= 0) {
        CHECK_EQ(write(s->refill, "more\n", 5), 5);
        close(s->refill);
    }
    if (good == 0) {
        *e = (struct evs_error){.why = EVS_BAD_JSON,
                                .code = EINVAL,
                                .pos = s->no_place ? UINT64_MAX : (uint64_t)(bad - p)};
        return -EINVAL;
    }
    s->torn = s->torn || p[good - 1] != '\n';
    s->largest = good > s->largest ? good : s->largest;
    memcpy(s->got + s->n, p, good);
    s->n += good;
    return (ssize_t)good;
}

/* Feed text through a file, in pieces. */
static int feed_text(struct feed *f, const char *text, size_t piece_bytes)
{
    char path[] = "/tmp/test_feed.XXXXXX";
    int fd = mkstemp(path);

    CHECK(fd >= 0);
    CHECK_EQ(write(fd, text, strlen(text)), strlen(text));
    close(fd);
    sink = (struct sink){.refill = -1, .no_place = sink.no_place};
    *f = (struct feed){
        .write = take, .arg = &sink, .piece_bytes = piece_bytes, .whole_lines = f->whole_lines};
    int r = feed_file(f, path, &err);
    unlink(path);
    f->name = ""; /* path ends here */
    return r;
}

static void whole(void)
{
    struct feed f = {0};

    for (size_t piece = 1; piece < 20; piece++) {
        CHECK_EQ(feed_text(&f, "one\ntwo three\n\nfour\n", piece), 0);
        CHECK_MEM(sink.got, sink.n, "one\ntwo three\n\nfour\n", 20);
        CHECK_EQ(f.taken, 20);
        CHECK(sink.largest <= piece);
    }
    CHECK_EQ(feed_text(&f, "", 8), 0);
    CHECK_EQ(sink.calls, 0);
}

static void last_line_feed(void)
{
    struct feed f = {0};

    for (size_t piece = 1; piece < 9; piece++) {
        CHECK_EQ(feed_text(&f, "1\n234", piece), 0);
        CHECK_MEM(sink.got, sink.n, "1\n234\n", 6);
    }
}

static void place(void)
{
    struct feed f = {0};

    for (size_t piece = 1; piece < 32; piece++) {
        f.whole_lines = piece % 2;
        CHECK_EQ(feed_text(&f, "one\ntwo three\n\nfo!r\nfive\n", piece), -EINVAL);
        CHECK_EQ(f.line, 4);
        CHECK_EQ(f.column, 3);
        CHECK_EQ(err.why, EVS_BAD_JSON);
        if (f.whole_lines || piece > 4)
            CHECK_MEM(sink.got, sink.n, "one\ntwo three\n\n", 15);
    }
    CHECK_EQ(feed_text(&f, "!\n", 8), -EINVAL);
    CHECK_EQ(f.line, 1);
    CHECK_EQ(f.column, 1);
}

static void no_place(void)
{
    struct feed f = {0};

    sink.no_place = true;
    CHECK_EQ(feed_text(&f, "one\ntwo!\n", 64), -EINVAL);
    sink.no_place = false;
    CHECK_EQ(f.line, 2);
    CHECK_EQ(f.column, 0);
}

static void whole_lines(void)
{
    struct feed f = {.whole_lines = true};

    for (size_t piece = 1; piece < 20; piece++) {
        CHECK_EQ(feed_text(&f, "a line that is longer\nb\nc\nand a last one", piece), 0);
        CHECK_MEM(sink.got, sink.n, "a line that is longer\nb\nc\nand a last one\n", 41);
        CHECK(!sink.torn);
    }
}

/* What a producer has sent as whole lines goes on before it sends more. */
static void slow_producer(void)
{
    int fds[2];
    char path[32];
    struct feed f = {.write = take, .arg = &sink};

    CHECK_EQ(pipe(fds), 0);
    CHECK_EQ(write(fds[1], "one\ntw", 6), 6);
    sink = (struct sink){.refill = fds[1]};
    snprintf(path, sizeof path, "/dev/fd/%d", fds[0]);
    /* The pipe ends only after the first call, so this would hang if "one" waited for the end. */
    int keep = open(path, O_RDONLY);
    CHECK(keep >= 0);
    snprintf(path, sizeof path, "/dev/fd/%d", keep);
    alarm(10);
    CHECK_EQ(feed_file(&f, path, &err), 0);
    alarm(0);
    CHECK_MEM(sink.got, sink.n, "one\ntwmore\n", 11);
    CHECK(!sink.torn);
    close(keep);
    close(fds[0]);
}

static void missing(void)
{
    struct feed f = {.write = take, .arg = &sink};

    CHECK_EQ(feed_file(&f, "/nonexistent/file", &err), -ENOENT);
    CHECK_EQ(f.line, 0);
    CHECK_EQ(err.code, ENOENT);
    CHECK_EQ(feed_file(&f, "/tmp", &err), -EISDIR);
}

static void numbers(void)
{
    uint64_t v = 7;
    uint32_t ms = 7;

    CHECK_EQ(cmd_parse_size("64K", &v), 0);
    CHECK_EQ(v, 65536);
    CHECK_EQ(cmd_parse_size("4G", &v), 0);
    CHECK_EQ(v, 4ll << 30);
    CHECK_EQ(cmd_parse_size("12", &v), 0);
    CHECK_EQ(v, 12);
    const char *const bad[] = {"",   "K",  "1KB",          "-1",
                               " 1", "1 ", "99999999999G", "99999999999999999999"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        CHECK_EQ(cmd_parse_size(bad[i], &v), -EINVAL);
    CHECK_EQ(v, 12);
    CHECK_EQ(cmd_parse_number("18446744073709551615", &v), 0);
    CHECK_EQ(v, -1);
    CHECK_EQ(cmd_parse_number("18446744073709551616", &v), -EINVAL);
    CHECK_EQ(cmd_parse_interval("2s", &ms), 0);
    CHECK_EQ(ms, 2000);
    CHECK_EQ(cmd_parse_interval("100ms", &ms), 0);
    CHECK_EQ(ms, 100);
    CHECK_EQ(cmd_parse_interval("100", &ms), -EINVAL);
    CHECK_EQ(cmd_parse_interval("9999999s", &ms), -EINVAL);
}

int main(void)
{
    RUN(whole);
    RUN(last_line_feed);
    RUN(place);
    RUN(no_place);
    RUN(whole_lines);
    RUN(slow_producer);
    RUN(missing);
    RUN(numbers);
    CHECK_DONE();
}
