/* SPDX-License-Identifier: MIT */
/* reject: lines are JSON whatever was rejected, bounded, fair among users, and nobody's failure. */
#include "store/reject.h"
#include "store/clock.h"
#include "store/io.h"
#include "store/limits.h"
#include "check.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sys/stat.h>

#define TIME_US INT64_C(1764004158123456) /* 2025-11-24T17:09:18.123456Z */

static char dir[64];
static int dirfd_;

/* ThreadSanitizer finds nothing in what one thread does, and takes minutes for it. */
#ifdef __SANITIZE_THREAD__
enum { UNDER_TSAN = 1 };
#else
enum { UNDER_TSAN = 0 };
#endif

static void fresh(void)
{
    (void)snprintf(dir, sizeof dir, "/tmp/test_reject.XXXXXX");
    CHECK(mkdtemp(dir));
    dirfd_ = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    CHECK(dirfd_ >= 0);
}

static void gone(void)
{
    char command[128];

    (void)snprintf(command, sizeof command, "rm -rf '%s'", dir);
    CHECK_EQ(system(command), 0);
    (void)close(dirfd_);
}

static struct reject *opened(int fd, bool read_only)
{
    struct reject *r = NULL;

    CHECK_EQ(reject_open(fd, read_only, &r, NULL), 0);
    return r;
}

static void add_bytes(struct reject *r, uid_t uid, const char *value, size_t n)
{
    struct evs_error err = {0};

    (void)evs_fail(&err, EVS_BAD_JSON, 17);
    reject_add(r, &(struct reject_entry){.time_us = TIME_US,
                                         .uid = uid,
                                         .pid = 42,
                                         .path = {"entities/a/b.jsonl", 18},
                                         .why = &err,
                                         .value = {value, n}});
}

static void add(struct reject *r, uid_t uid, const char *value)
{
    add_bytes(r, uid, value, strlen(value));
}

static char *text_of(struct reject *r, bool all, uid_t uid, size_t *ret_n)
{
    char *text = NULL;

    CHECK_EQ(reject_text(r, all, uid, &text, ret_n, NULL), 0);
    return text;
}

/* The bytes of the file; malloc'ed and terminated. */
static char *file_text(size_t *ret_n)
{
    int fd = openat(dirfd_, "rejected.jsonl", O_RDONLY | O_CLOEXEC);
    struct stat st = {0};

    CHECK(fd >= 0 && fstat(fd, &st) == 0);
    char *text = calloc(1, (size_t)st.st_size + 1);
    CHECK_EQ(read(fd, text, (size_t)st.st_size), st.st_size);
    (void)close(fd);
    *ret_n = (size_t)st.st_size;
    return text;
}

static size_t count(const char *text, const char *what)
{
    size_t n = 0;

    for (; (text = strstr(text, what)); text++)
        n++;
    return n;
}

static void whole_line(void)
{
    static const char want[] =
        "{\"time\":\"2025-11-24T17:09:18.123456Z\",\"uid\":1000,\"pid\":42,"
        "\"path\":\"entities/a/b.jsonl\",\"reason\":\"BAD_JSON\",\"text\":\"not JSON\","
        "\"errno\":\"EINVAL\",\"pos\":17,\"detail\":\"\",\"value\":\"{x\","
        "\"crc\":\"62f648d0\"}\n"
        "{\"time\":\"1970-01-01T00:00:00.000000Z\",\"uid\":4294967295,\"pid\":0,"
        "\"path\":\"\",\"reason\":\"STALE\",\"text\":\"expected_version is not the newest\","
        "\"errno\":\"ESTALE\",\"pos\":null,\"detail\":\"newest is 3, \\\"x\\\"\",\"value\":\"\","
        "\"crc\":\"2c992f5f\"}\n";
    struct reject *r = opened(-1, false);
    struct evs_error err = {0};
    size_t n;

    add(r, 1000, "{x");
    (void)evs_fail_at(&err, EVS_STALE, EVS_NOWHERE, "newest is %d, \"x\"", 3);
    reject_add(r, &(struct reject_entry){.uid = UINT32_MAX, .why = &err});
    CHECK_EQ(reject_count(r), 2);
    AUTO_FREE char *text = text_of(r, true, 0, &n);
    CHECK_MEM(text, n, want, sizeof want - 1);
    AUTO_FREE char *own = text_of(r, false, UINT32_MAX, &n);
    CHECK_STR(own, strchr(want, '\n') + 1);
    AUTO_FREE char *none = text_of(r, false, 0, &n);
    CHECK_EQ(n, 0);
    CHECK_STR(none, "");
    reject_close(r);
    reject_close(NULL);
}

/* What value becomes between its quotes. */
static void check_value(const char *value, size_t n, const char *want)
{
    struct reject *r = opened(-1, false);
    size_t text_n;

    add_bytes(r, 1, value, n);
    AUTO_FREE char *text = text_of(r, true, 0, &text_n);
    char *at = strstr(text, "\"value\":\"");
    CHECK(at);
    if (at)
        CHECK_MEM(at + 9, text_n - (size_t)(at + 9 - text) - 3 - 17, want,
                  strlen(want)); /* ,"crc":"xxxxxxxx" */
    reject_close(r);
}

static void any_bytes(void)
{
#define V(s, want) check_value(s, sizeof s - 1, want)
    V("a\"b\\c\n\r\t\b\f\0\x1f/\x7f", "a\\\"b\\\\c\\n\\r\\t\\b\\f\\u0000\\u001f/\x7f");
    V("\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80\xf4\x8f\xbf\xbf",
      "\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80\xf4\x8f\xbf\xbf");
#define R "\xef\xbf\xbd"
    V("\xff\x80z", R R "z");
    V("\xc0\xaf\xc1\x80", R R R R); /* overlong */
    V("\xe0\x9f\xbf", R R R);       /* overlong */
    V("\xed\xa0\x80", R R R);       /* surrogate */
    V("\xf0\x8f\xbf\xbf\xf4\x90\x80\x80", R R R R R R R R);
    V("\xf5\x80\x80\x80", R R R R);
    V("\xe2\x82", R R); /* cut by the end of what was written */
    V("\xe2\x82x\xc3\"", R R "x" R "\\\"");
#undef R
#undef V
}

static void value_is_cut(void)
{
    char value[LIMIT_REJECTED_VALUE_BYTES + 10], want[sizeof value];

    memset(value, 'x', sizeof value);
    memset(want, 'x', sizeof want);
    want[LIMIT_REJECTED_VALUE_BYTES] = '\0';
    check_value(value, sizeof value, want);
    memcpy(value + LIMIT_REJECTED_VALUE_BYTES - 2, "\xe2\x82\xac",
           3); /* a character across the cut */
    want[LIMIT_REJECTED_VALUE_BYTES - 2] = '\0';
    check_value(value, sizeof value, want);

    /* The longest line there can be, many times. */
    char path[5000];
    struct evs_error err = {.why = EVS_NOT_EVENT, .code = EINVAL, .pos = UINT64_MAX - 1};
    memset(value, 1, sizeof value);
    memset(path, 2, sizeof path);
    memset(err.detail, 3, sizeof err.detail); /* not terminated */
    struct reject *r = opened(-1, false);
    for (int i = 0; i < 100; i++)
        reject_add(r, &(struct reject_entry){.path = {path, sizeof path},
                                             .uid = UINT32_MAX,
                                             .pid = INT32_MAX,
                                             .why = &err,
                                             .value = {value, sizeof value}});
    size_t n;
    AUTO_FREE char *text = text_of(r, true, 0, &n);
    CHECK(n > LIMIT_REJECTED_BYTES / 4 && n < LIMIT_REJECTED_BYTES + 60000);
    CHECK_EQ(text[n - 1], '\n');
    reject_close(r);
}

static void survives(void)
{
    size_t n, file_n;

    fresh();
    struct reject *r = opened(dirfd_, false);
    add(r, 1, "one");
    add(r, 2, "two");
    reject_close(r);
    r = opened(dirfd_, false);
    CHECK_EQ(reject_count(r), 0);
    add(r, 1, "three");
    AUTO_FREE char *text = text_of(r, true, 0, &n);
    CHECK_EQ(count(text, "\n"), 3);
    CHECK(strstr(text, "one") < strstr(text, "two") && strstr(text, "two") < strstr(text, "three"));
    AUTO_FREE char *file = file_text(&file_n);
    CHECK_MEM(file, file_n, text, n);
    reject_close(r);

    struct stat before, after;
    CHECK_EQ(fstatat(dirfd_, "rejected.jsonl", &before, 0), 0);
    r = opened(dirfd_, true); /* a reader sees it and writes nothing */
    add(r, 9, "four");
    AUTO_FREE char *own = text_of(r, false, 2, &n);
    CHECK_EQ(count(own, "\n"), 1);
    CHECK(strstr(own, "two"));
    reject_close(r);
    CHECK_EQ(fstatat(dirfd_, "rejected.jsonl", &after, 0), 0);
    CHECK_EQ(after.st_size, before.st_size);
    CHECK_EQ(after.st_mtim.tv_nsec, before.st_mtim.tv_nsec);
    gone();

    fresh();
    reject_close(opened(dirfd_, true)); /* creates nothing */
    CHECK(fstatat(dirfd_, "rejected.jsonl", &after, 0) < 0);
    gone();
}

/* A torn line, an edited file, a file of another kind: what is ours is kept, the rest is
 * dropped. */
static void garbled(void)
{
    static const char torn[] = "{\"time\":\"2025-11-24T17:09:18.1234";
    size_t n, file_n;

    fresh();
    struct reject *r = opened(dirfd_, false);
    add(r, 1, "one");
    reject_close(r);
    int fd = openat(dirfd_, "rejected.jsonl", O_WRONLY | O_APPEND | O_CLOEXEC);
    CHECK(write(fd, "\n\nwhat?\n{}\n", 11) == 11 && write(fd, torn, sizeof torn - 1) > 0);
    (void)close(fd);
    r = opened(dirfd_, false);
    add(r, 1, "two");
    AUTO_FREE char *text = text_of(r, true, 0, &n);
    CHECK_EQ(count(text, "\n"), 2);
    CHECK(strstr(text, "one") && strstr(text, "two") && !strstr(text, "what"));
    reject_close(r);
    AUTO_FREE char *file = file_text(&file_n);
    CHECK_MEM(file, file_n, text, n);

    CHECK_EQ(unlinkat(dirfd_, "rejected.jsonl", 0), 0);
    CHECK_EQ(mkdirat(dirfd_, "rejected.jsonl", 0700), 0);
    r = opened(dirfd_, false); /* not a file: in memory only */
    add(r, 1, "three");
    AUTO_FREE char *memory = text_of(r, true, 0, &n);
    CHECK_EQ(count(memory, "\n"), 1);
    reject_close(r);
    gone();
}

static void bounded(void)
{
    char value[300];
    size_t n, file_n;
    struct stat st;

    fresh();
    struct reject *r = opened(dirfd_, false);
    for (int i = 0; i < 20000; i++) {
        (void)snprintf(value, sizeof value, "number %d.", i);
        add(r, 1, value);
        if (i % 1000 == 0) {
            CHECK_EQ(fstatat(dirfd_, "rejected.jsonl", &st, 0), 0);
            CHECK(st.st_size < LIMIT_REJECTED_BYTES + 60000);
        }
    }
    CHECK_EQ(reject_count(r), 20000);
    AUTO_FREE char *text = text_of(r, true, 0, &n);
    CHECK(n >= LIMIT_REJECTED_BYTES / 2 - 1000);
    for (int i = 19999; i > 19999 - 2000; i -= 37) { /* the newest are there, in order */
        (void)snprintf(value, sizeof value, "number %d.", i);
        if (!strstr(text, value))
            CHECK_EQ(i, -1);
    }
    CHECK(!strstr(text, "number 0."));
    AUTO_FREE char *file = file_text(&file_n);
    CHECK_MEM(file, file_n, text, n);
    reject_close(r);
    CHECK(fstatat(dirfd_, "rejected.jsonl.tmp", &st, 0) < 0);
    gone();
}

static void fair(void)
{
    struct reject *r = opened(-1, false);
    size_t n;

    for (int i = 0; i < 200; i++) {
        add(r, 7, "mine");
        add(r, 8, "ours");
    }
    for (int i = 0; i < 30000; i++)
        add(r, 66, "flood");
    AUTO_FREE char *mine = text_of(r, false, 7, &n);
    CHECK_EQ(count(mine, "\"mine\""), 200);
    AUTO_FREE char *flood = text_of(r, false, 66, &n);
    CHECK_EQ(count(flood, "\n"), count(flood, "\"flood\""));
    CHECK(n > LIMIT_REJECTED_BYTES / 3);    /* what others do not use */
    for (int uid = 1000; uid < 1200; uid++) /* more users than are counted one by one */
        for (int i = 0; i < 100; i++)
            add(r, (uid_t)uid, "crowd");
    AUTO_FREE char *all = text_of(r, true, 0, &n);
    CHECK(n > LIMIT_REJECTED_BYTES / 3 && n < LIMIT_REJECTED_BYTES + 60000);
    CHECK(count(all, "\"crowd\"") > 100);
    reject_close(r);
}

/* Every call fails once, or for ever, on its way: what is asked for is right, the file is mended
 * later. */
static void failures_are_swallowed(void)
{
    for (uint64_t nth = 1; nth < 12; nth++)
        for (int forever = 0; forever < 2; forever++) {
            size_t n, file_n;
            fresh();
            struct io_fault f = {.n = nth, .code = ENOSPC, .short_write = true, .forever = forever};
            (void)io_fault_set(&f);
            struct reject *r = opened(dirfd_, false);
            for (int i = 0; i < 10; i++)
                add(r, 1, "kept");
            AUTO_FREE char *text = text_of(r, true, 0, &n);
            CHECK_EQ(count(text, "\"kept\""), 10);
            (void)io_fault_set(&(struct io_fault){0});
            reject_close(r);
            r = opened(dirfd_, false);
            AUTO_FREE char *again = text_of(r, true, 0, &file_n);
            CHECK_MEM(again, file_n, text, n);
            reject_close(r);
            gone();
        }
}

static void *add_many(void *arg)
{
    for (int i = 0; i < 5000; i++)
        add(arg, 5, "from a thread");
    return NULL;
}

/* A bit that is flipped takes its line with it (an LF the next one as well), and changes no other. */
static void flipped_lines_are_dropped(void)
{
    size_t n, kept;

    fresh();
    struct reject *r = opened(dirfd_, false);
    for (uid_t uid = 1000; uid < 1003; uid++)
        add(r, uid, "{x");
    reject_close(r);
    AUTO_FREE char *want = file_text(&n);
    CHECK_EQ(count(want, "\n"), 3);
    for (size_t bit = 0; bit < 8 * n; bit++) {
        want[bit / 8] ^= (char)(1 << bit % 8);
        int fd = openat(dirfd_, "rejected.jsonl", O_WRONLY | O_TRUNC | O_CLOEXEC);
        CHECK(fd >= 0 && write(fd, want, n) == (ssize_t)n);
        (void)close(fd);
        want[bit / 8] ^= (char)(1 << bit % 8);
        r = opened(dirfd_, true);
        AUTO_FREE char *text = text_of(r, true, 0, &kept);
        CHECK_EQ(count(text, "\n"), bit / 8 % (n / 3) == n / 3 - 1 && bit / 8 < n - 1 ? 1 : 2);
        for (char *p = text, *lf; (lf = strchr(p, '\n')); p = lf + 1) {
            *lf = '\0';
            CHECK(strstr(want, p));
        }
        reject_close(r);
    }
    gone();
}

static void threads_share(void)
{
    pthread_t t[4];
    size_t n;

    fresh();
    struct reject *r = opened(dirfd_, false);
    for (int i = 0; i < 4; i++)
        CHECK_EQ(pthread_create(&t[i], NULL, add_many, r), 0);
    for (int i = 0; i < 4; i++)
        CHECK_EQ(pthread_join(t[i], NULL), 0);
    CHECK_EQ(reject_count(r), 20000);
    AUTO_FREE char *text = text_of(r, true, 0, &n);
    CHECK_EQ(count(text, "\n"), count(text, "\"from a thread\",\"crc\":\""));
    reject_close(r);
    gone();
}

int main(void)
{
    RUN(whole_line);
    RUN(any_bytes);
    RUN(value_is_cut);
    RUN(survives);
    RUN(garbled);
    RUN(failures_are_swallowed);
    if (!UNDER_TSAN) {
        RUN(bounded);
        RUN(fair);
        RUN(flipped_lines_are_dropped);
    }
    RUN(threads_share);
    CHECK_DONE();
}
