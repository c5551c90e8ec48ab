/* SPDX-License-Identifier: MIT */
/* frames: every byte is the plain one, whatever is pinned and evicted meanwhile, by however many; what is
 * damaged in a file is found, or changes nothing. */
#include "check.h"
#include "store/frames.h"
#include "store/io.h"
#include "store/limits.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sys/wait.h>
#include <zstd.h>

#define PLAIN_BYTES (11 * FRAME_BYTES + 12345)
#define THREADS     6

static char dir[256];
static int dirfd_;
static char *plain;
static uint64_t seed;
static struct evs_error err;

struct opened {
    struct frame_cache *c;
    struct frames *f;
    char *place;
};

static void write_file(const char *name, uint64_t n, int level)
{
    const struct frames_job j = {.plain = plain, .n = n, .level = level};
    int fd = io_open(dirfd_, name, O_RDWR | O_CREAT | O_TRUNC, 0600);

    CHECK(fd >= 0);
    CHECK_EQ(frames_write(&j, fd, &err), 0);
    (void)close(fd);
}

static int open_file(const char *name, uint64_t limit, struct opened *o)
{
    *o = (struct opened){0};
    CHECK_EQ(frame_cache_new(limit, &o->c, &err), 0);
    int r = frames_open(dirfd_, name, o->c, &o->f, &err);
    if (r < 0) {
        frame_cache_free(o->c);
        return r;
    }
    CHECK_EQ(io_map_reserved(frames_plain(o->f) + 1, &o->place), 0);
    frames_place(o->f, o->place);
    return 0;
}

static void close_file(struct opened *o)
{
    uint64_t n = frames_plain(o->f);

    frames_close(o->f);
    CHECK_EQ(frame_cache_bytes(o->c), 0);
    (void)io_unmap(o->place, n + 1);
    frame_cache_free(o->c);
}

/* Pins, compares, unpins. */
static bool same(struct opened *o, uint64_t from, uint64_t to)
{
    uint64_t a = from, b = to;

    frames_round(o->f, &a, &b);
    CHECK(a <= from && b >= to && b <= frames_plain(o->f));
    if (frames_pin(o->f, a, b, &err) < 0)
        return false;
    bool is = memcmp(o->place + a, plain + a, b - a) == 0;
    frames_unpin(o->f, a, b);
    return is;
}

/* Sizes around the borders of frames; each byte there, and ranges at random. */
static void gives_what_was_put_in(void)
{
    const uint64_t sizes[] = {1,
                              4095,
                              4096,
                              4097,
                              FRAME_BYTES - 1,
                              FRAME_BYTES,
                              FRAME_BYTES + 1,
                              3 * FRAME_BYTES,
                              PLAIN_BYTES};

    for (size_t i = 0; i < ARRAY_LEN(sizes); i++) {
        uint64_t n = sizes[i];
        struct opened o;
        write_file("sizes", n, 1 + (int)(i % 3));
        CHECK_EQ(open_file("sizes", 4 * FRAME_BYTES, &o), 0);
        CHECK_EQ(frames_plain(o.f), n);
        CHECK_EQ(frames_compare(o.f, &(struct frames_job){.plain = plain, .n = n}, &err), 0);
        CHECK(same(&o, 0, n));
        CHECK(same(&o, 0, 0) && same(&o, n, n) && same(&o, n - 1, n));
        for (int k = 0; k < 300; k++) {
            uint64_t a = check_random(&seed) % n, b = check_random(&seed) % n;
            if (b - a > 3 * FRAME_BYTES) /* a > b as well */
                b = MIN(a + 300, n);
            CHECK(same(&o, a, b));
            CHECK(frame_cache_bytes(o.c) <= 4 * FRAME_BYTES);
        }
        close_file(&o);
    }
}

/* The zstd library alone makes the plain bytes of the file: so does zstdcat. */
static void is_a_zstd_file(void)
{
    struct stat st;

    write_file("z", PLAIN_BYTES, 3);
    int fd = io_open(dirfd_, "z", O_RDONLY, 0);
    CHECK_EQ(io_stat(fd, &st), 0);
    char *packed = malloc((size_t)st.st_size), *out = malloc(PLAIN_BYTES);
    CHECK_EQ(io_read_all(fd, packed, (size_t)st.st_size, 0), st.st_size);
    CHECK_EQ(ZSTD_decompress(out, PLAIN_BYTES, packed, (size_t)st.st_size), PLAIN_BYTES);
    CHECK(memcmp(out, plain, PLAIN_BYTES) == 0);
    CHECK((uint64_t)st.st_size < PLAIN_BYTES * 3 / 4);
    (void)close(fd);
    free(packed);
    free(out);
}

/* What is pinned stays, also where the cache has no room for it; what is not goes. */
static void pins_are_kept_over_the_limit(void)
{
    struct opened o;

    write_file("pins", PLAIN_BYTES, 1);
    CHECK_EQ(open_file("pins", 2 * FRAME_BYTES, &o), 0);
    CHECK_EQ(frames_pin(o.f, 0, 5 * FRAME_BYTES, &err), 0);
    CHECK_EQ(frame_cache_bytes(o.c), 5 * FRAME_BYTES);
    for (uint64_t at = 5 * FRAME_BYTES; at < PLAIN_BYTES; at += 1000)
        CHECK(same(&o, at, MIN(at + 1000, PLAIN_BYTES)));
    CHECK_EQ(memcmp(o.place, plain, 5 * FRAME_BYTES), 0);
    CHECK_EQ(frame_cache_bytes(o.c), 5 * FRAME_BYTES);
    uint64_t loads = frame_cache_loads(o.c);
    CHECK(same(&o, 0, 5 * FRAME_BYTES)); /* still there */
    CHECK_EQ(frame_cache_loads(o.c), loads);
    frames_unpin(o.f, 0, 5 * FRAME_BYTES);
    CHECK_EQ(frame_cache_bytes(o.c), 2 * FRAME_BYTES);
    close_file(&o);
}

/* What is read again and again outlives a scan. */
static void used_frames_outlive_a_scan(void)
{
    struct opened o;

    write_file("scan", PLAIN_BYTES, 1);
    CHECK_EQ(open_file("scan", 4 * FRAME_BYTES, &o), 0);
    CHECK(same(&o, 0, 100));
    uint64_t before = frame_cache_loads(o.c);
    for (uint64_t at = FRAME_BYTES; at < PLAIN_BYTES; at += FRAME_BYTES) {
        CHECK(same(&o, at, MIN(at + FRAME_BYTES, PLAIN_BYTES)));
        CHECK(same(&o, 0, 100));
    }
    CHECK_EQ(frame_cache_loads(o.c) - before, 11); /* each of the others once */
    close_file(&o);
}

struct reader {
    struct opened *o;
    uint64_t seed;
    int rounds;
};

static void *read_much(void *arg)
{
    struct reader *r = arg;

    for (int i = 0; i < r->rounds; i++) {
        uint64_t from = check_random(&r->seed) % PLAIN_BYTES;
        uint64_t n = check_random(&r->seed) % (i % 8 ? 500 : 2 * FRAME_BYTES);
        CHECK(same(r->o, from, MIN(from + n, PLAIN_BYTES)));
    }
    return NULL;
}

/* Many threads, room for hardly any of them: each sees only right bytes. */
static void threads_share_a_small_cache(void)
{
    struct reader r[THREADS];
    pthread_t t[THREADS];
    struct opened o;

    write_file("threads", PLAIN_BYTES, 1);
    CHECK_EQ(open_file("threads", 3 * FRAME_BYTES, &o), 0);
    for (size_t i = 0; i < THREADS; i++) {
        r[i] = (struct reader){&o, check_random(&seed), 400};
        CHECK_EQ(pthread_create(&t[i], NULL, read_much, &r[i]), 0);
    }
    for (size_t i = 0; i < THREADS; i++)
        (void)pthread_join(t[i], NULL);
    CHECK(frame_cache_bytes(o.c) <= 3 * FRAME_BYTES);
    CHECK(same(&o, 0, 1));
    close_file(&o);
}

/* All of a file, after a change: refused, or what was put in; whichever range is read. */
static bool found_or_harmless(const char *name)
{
    struct opened o;
    bool right = true, refused = false;
    int r = open_file(name, DEFAULT_FRAMES_BYTES, &o);

    if (r < 0) {
        CHECK_FAIL(r, err, DAMAGED);
        return true;
    }
    for (uint64_t at = 0; at < frames_plain(o.f); at += FRAME_BYTES) {
        uint64_t n = MIN(FRAME_BYTES, frames_plain(o.f) - at);
        r = frames_pin(o.f, at, at + n, &err);
        if (r < 0) {
            CHECK_FAIL(r, err, DAMAGED);
            CHECK(strstr(err.detail, name) && err.pos < frames_packed(o.f));
            refused = true;
            continue;
        }
        right = right && at + n <= PLAIN_BYTES && memcmp(o.place + at, plain + at, n) == 0;
        frames_unpin(o.f, at, at + n);
    }
    right = right && (refused || frames_plain(o.f) == PLAIN_BYTES);
    close_file(&o);
    return right;
}

/* Bits all over the file: all of the table and of the frames' headers, and others at random. */
static void damage_is_found_or_harmless(void)
{
    struct stat st;
    char c;

    write_file("bits", PLAIN_BYTES, 3);
    int fd = io_open(dirfd_, "bits", O_RDWR, 0);
    CHECK_EQ(io_stat(fd, &st), 0);
    off_t table = st.st_size - (8 + 12 * 8 + 9);
    for (int i = 0; i < 2200; i++) {
        off_t at = i < 16 * 8           ? i / 8
                   : i < (16 + 113) * 8 ? table + i / 8 - 16
                                        : (off_t)(check_random(&seed) % (uint64_t)st.st_size);
        CHECK_EQ(pread(fd, &c, 1, at), 1);
        char bad = (char)(c ^ 1 << i % 8);
        CHECK_EQ(pwrite(fd, &bad, 1, at), 1);
        if (!found_or_harmless("bits")) {
            check_failed++;
            fprintf(stderr, "byte %lld, bit %d: other bytes are believed\n", (long long)at, i % 8);
        }
        CHECK_EQ(pwrite(fd, &c, 1, at), 1);
    }
    CHECK(found_or_harmless("bits"));
    for (off_t n = st.st_size - 1; n >= 0; n -= n > st.st_size - 200 ? 1 : 9973) {
        CHECK_EQ(ftruncate(fd, n), 0);
        CHECK(found_or_harmless("bits"));
    }
    (void)close(fd);
}

/* A file that is cut while it is open is an error of the disk. */
static void cut_while_open(void)
{
    struct opened o;

    write_file("cut", PLAIN_BYTES, 1);
    CHECK_EQ(open_file("cut", DEFAULT_FRAMES_BYTES, &o), 0);
    int fd = io_open(dirfd_, "cut", O_RDWR, 0);
    CHECK_EQ(ftruncate(fd, 100), 0);
    CHECK(same(&o, 0, 1) == false);
    CHECK(err.why == EVS_SYSTEM || err.why == EVS_DAMAGED); /* the page's rest reads as zeros */
    CHECK_EQ(frames_pin(o.f, 5 * FRAME_BYTES, 5 * FRAME_BYTES + 1, &err), -EIO);
    CHECK_EQ(err.why, EVS_SYSTEM);
    CHECK_EQ(frame_cache_bytes(o.c), 0);
    (void)close(fd);
    close_file(&o);
}

/* Each call of writing fails once: an error, never a crash; -ECANCELED when it is stopped. */
static void failing_calls(void)
{
    const struct frames_job j = {.plain = plain, .n = 3 * FRAME_BYTES, .level = 1};
    _Atomic bool stop = true;

    for (uint64_t n = 1;; n++) {
        int fd = io_open(dirfd_, "fail", O_RDWR | O_CREAT | O_TRUNC, 0600);
        io_fault_set(&(struct io_fault){.n = n, .code = ENOSPC, .short_write = n % 2});
        int r = frames_write(&j, fd, &err);
        bool hit = io_fault_set(NULL) >= n;
        (void)close(fd);
        CHECK_EQ(r, hit ? -ENOSPC : 0);
        if (!hit)
            break;
        CHECK_FAIL(r, err, DISK_FULL);
    }
    struct frames_job stopped = j;
    stopped.stop = &stop;
    int fd = io_open(dirfd_, "fail", O_RDWR, 0);
    CHECK_EQ(frames_write(&stopped, fd, &err), -ECANCELED);
    (void)close(fd);
}

int main(void)
{
    const char *tmp = getenv("TMPDIR");
    char path[300];

    seed = check_seed();
    plain = malloc(PLAIN_BYTES);
    (void)snprintf(dir, sizeof dir, "%s/evfs-frames-XXXXXX", tmp ? tmp : "/tmp");
    if (!plain || !mkdtemp(dir) || (dirfd_ = open(dir, O_RDONLY | O_DIRECTORY)) < 0)
        abort();
    for (size_t i = 0; i < PLAIN_BYTES;) { /* compresses to a half or so */
        char text[80];
        int n = snprintf(text, sizeof text, "{\"n\":%zu,\"r\":\"%016" PRIx64 "\"}\n", i,
                         check_random(&seed));
        size_t k = MIN((size_t)n, PLAIN_BYTES - i);
        memcpy(plain + i, text, k);
        i += k;
    }
    RUN(gives_what_was_put_in);
    RUN(is_a_zstd_file);
    RUN(pins_are_kept_over_the_limit);
    RUN(used_frames_outlive_a_scan);
    RUN(threads_share_a_small_cache);
    RUN(damage_is_found_or_harmless);
    RUN(cut_while_open);
    RUN(failing_calls);
    const char *names[] = {"sizes", "z", "pins", "scan", "threads", "bits", "cut", "fail"};
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        (void)snprintf(path, sizeof path, "%s/%s", dir, names[i]);
        (void)unlink(path);
    }
    (void)rmdir(dir);
    free(plain);
    CHECK_DONE();
}
