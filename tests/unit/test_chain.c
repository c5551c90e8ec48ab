/* SPDX-License-Identifier: MIT */
/* The chain: what is beside sealed segments, that it is sha256 of the log's first lines, that every change to what
 * is sealed is named, also by who knows the checksums of lines; and what only a hash noted elsewhere proves. */
#include "model.h"
#include "store/chain.h"
#include "store/crc.h"
#include "store/ingest.h"
#include "store/io.h"
#include "store/keeper.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <nettle/sha2.h>
#include <sys/stat.h>
#include <sys/wait.h>

#define EVENTS 1600

static struct evs_error err;
static char *dir;
static char said[32768]; /* what the last prove() found */
static struct evs_proof proof;

/* In memory where that is possible: what a disk keeps is not looked at here, and its syncs take time. */
static char *fresh_dir(void)
{
    char *d = strdup("/dev/shm/evfs-test-XXXXXX");

    if (mkdtemp(d))
        return d;
    free(d);
    return model_dir();
}

static void note(void *arg, const char *finding)
{
    size_t n = strlen(said);

    (void)arg;
    (void)snprintf(said + n, sizeof said - n, "%s\n", finding);
}

static int prove(const char *from)
{
    said[0] = '\0';
    return evs_prove(dir, from, &proof, note, NULL, &err);
}

static void check_said(const char *what)
{
    if (!strstr(said, what)) {
        check_failed++;
        fprintf(stderr, "not said: '%s', but: %s", what, said);
    }
}

static struct evs_store *open_store(void)
{
    struct evs_store *st = NULL;

    CHECK_EQ(
        evs_open(dir, &(struct evs_options){.segment_bytes = 64 << 10, .compress = -1}, &st, &err),
        0);
    return st;
}

static void add(struct evs_store *st, int n)
{
    char text[300];

    for (int i = 0; i < n; i++) {
        (void)snprintf(text, sizeof text,
                       "{\"entity\":\"a/%d\",\"type\":\"t%d\",\"data\":{\"n\":%d}}\n", i % 30,
                       i % 3, i);
        CHECK(put(st, text) > 0);
    }
}

/* Everything that is sealed has its file. */
static void finish(struct evs_store *st)
{
    CHECK_EQ(evs_sync(st, evs_end(st), &err), 0);
    keeper_stop(st); /* it hashes too */
    while (chain_extend(st->chain, 1000000))
        ;
    CHECK_EQ(evs_close(st, &err), 0);
}

static void fill(int n)
{
    struct evs_store *st = open_store();

    add(st, n);
    finish(st);
}

static void enter(void)
{
    dir = fresh_dir();
    fill(EVENTS);
    CHECK_EQ(prove(NULL), 0);
    CHECK_EQ(proof.events, EVENTS);
}

static void hex_sha(const char *p, size_t n, char out[CHAIN_HEX])
{
    struct sha256_ctx c;
    uint8_t d[32];

    sha256_init(&c);
    sha256_update(&c, n, (const uint8_t *)p);
    sha256_digest(&c, sizeof d, d);
    for (int i = 0; i < 32; i++)
        (void)snprintf(out + 2 * i, 3, "%02x", d[i]);
}

struct files {
    char name[40][64];
    size_t n;
};

static int by_name(const void *a, const void *b)
{
    return strcmp(a, b);
}

static struct files list(const char *suffix)
{
    struct files f = {.n = 0};
    char path[300];
    struct dirent *e;

    (void)snprintf(path, sizeof path, "%s/log", dir);
    DIR *d = opendir(path);
    while (d && (e = readdir(d)) && f.n < ARRAY_LEN(f.name)) {
        size_t n = strlen(e->d_name), k = strlen(suffix);
        if (n > k && strcmp(e->d_name + n - k, suffix) == 0)
            (void)snprintf(f.name[f.n++], sizeof f.name[0], "log/%.50s", e->d_name);
    }
    (void)closedir(d);
    qsort(f.name, f.n, sizeof f.name[0], by_name);
    return f;
}

static char *path_of(const char *name)
{
    static char path[2][400];
    static int turn;

    turn = !turn;
    (void)snprintf(path[turn], sizeof path[0], "%s/%s", dir, name);
    return path[turn];
}

static char *read_file(const char *name, size_t *ret_n)
{
    struct stat s = {0};
    int fd = open(path_of(name), O_RDONLY | O_CLOEXEC);

    CHECK(fd >= 0 && fstat(fd, &s) == 0);
    char *p = malloc((size_t)s.st_size + 1);
    CHECK_EQ(read(fd, p, (size_t)s.st_size), s.st_size);
    (void)close(fd);
    p[s.st_size] = '\0';
    *ret_n = (size_t)s.st_size;
    return p;
}

static void write_file(const char *name, const char *p, size_t n)
{
    int fd = open(path_of(name), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

    CHECK_EQ(write(fd, p, n), n);
    (void)close(fd);
}

/* All files of log/, to go back to. */
struct saved {
    struct files names;
    char *p[40];
    size_t n[40];
};

static struct saved save(void)
{
    struct saved s = {.names = list("")};

    size_t k = 0;
    for (size_t i = 0; i < s.names.n; i++) {
        if (strstr(s.names.name[i], "/."))
            continue;
        memmove(s.names.name[k], s.names.name[i], sizeof s.names.name[0]);
        s.p[k] = read_file(s.names.name[k], &s.n[k]);
        k++;
    }
    s.names.n = k;
    return s;
}

static void restore(const struct saved *s)
{
    struct files now = list("");

    for (size_t i = 0; i < now.n; i++)
        if (!strstr(now.name[i], "/."))
            CHECK_EQ(unlink(path_of(now.name[i])), 0);
    for (size_t i = 0; i < s->names.n; i++)
        write_file(s->names.name[i], s->p[i], s->n[i]);
}

static void forget(struct saved *s)
{
    for (size_t i = 0; i < s->names.n; i++)
        free(s->p[i]);
}

static char *whole_log(size_t *ret_n)
{
    struct evs_store *st;
    CHECK_EQ(evs_open(dir, &(struct evs_options){.read_only = true}, &st, &err), 0);
    char *p = model_read(st, &(struct evs_view){.kind = EVS_ALL}, ret_n);

    CHECK_EQ(evs_close(st, &err), 0);
    return p;
}

static void test_the_hash_is_that_of_the_first_lines(void)
{
    size_t n, at = 0;
    char hex[CHAIN_HEX];

    enter();
    char *log = whole_log(&n);
    hex_sha(log, n, hex);
    CHECK_STR(proof.sha256, hex);
    struct files f = list(CHAIN_SUFFIX), s = list(".jsonl");
    CHECK(f.n >= 4);
    CHECK_EQ(f.n, s.n - 1);
    int dirfd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    for (size_t i = 0; i < f.n; i++) {
        evs_seq last;
        uint64_t bytes;
        size_t m;
        char want[100];
        CHECK_EQ(chain_look(dirfd, strtoull(f.name[i] + 4, NULL, 10), &last, &bytes), 0);
        hex_sha(log, bytes, hex);
        char *text = read_file(f.name[i], &m);
        (void)snprintf(want, sizeof want, "\nsha256 %s\n", hex);
        CHECK(strstr(text, want));
        free(text);
    }
    (void)close(dirfd);
    for (evs_seq seq = 0; seq <= EVENTS; seq += 123) {
        while (at < n) {
            unsigned long long is = 0;
            CHECK_EQ(sscanf(log + at, "{\"seq\":%llu", &is), 1);
            if (is > seq)
                break;
            at += (size_t)((char *)memchr(log + at, '\n', n - at) - (log + at)) + 1;
        }
        hex_sha(log, at, hex);
        CHECK_EQ(prove(hex), 0);
        CHECK_EQ(proof.from, seq);
    }
    hex_sha(log, n - 1, hex); /* not whole lines */
    CHECK_EQ(prove(hex), 1);
    CHECK_EQ(proof.from, EVS_NOWHERE);
    check_said("it is not, or does not continue");
    CHECK_FAIL(prove("12"), err, BAD_FIELD);
    free(log);
    model_remove(dir);
}

static void test_it_goes_on_where_it_was(void)
{
    char first[CHAIN_HEX];
    struct evs_stats s;

    enter();
    memcpy(first, proof.sha256, sizeof first);
    size_t n = list(CHAIN_SUFFIX).n;
    struct evs_store *st = open_store();
    evs_stats(st, &s);
    CHECK(s.chained > 0 && s.chained < EVENTS);
    evs_seq before = s.chained;
    add(st, EVENTS);
    finish(st);
    CHECK(list(CHAIN_SUFFIX).n > n);
    CHECK_EQ(prove(first), 0);
    CHECK_EQ(proof.from, EVENTS);
    CHECK_EQ(proof.events, 2 * EVENTS);
    CHECK_EQ(evs_open(dir, &(struct evs_options){.read_only = true}, &st, &err), 0);
    evs_stats(st, &s);
    CHECK(s.chained > before && strlen(s.sha256) == 64);
    CHECK_EQ(evs_close(st, &err), 0);
    CHECK_EQ(prove(s.sha256), 0);
    CHECK_EQ(proof.from, s.chained);
    model_remove(dir);
}

/* Those at the end are made up for; the order in which they come is the only one. */
static void test_missing_files_are_made(void)
{
    enter();
    struct saved s = save();
    struct files f = list(CHAIN_SUFFIX);
    for (size_t i = f.n; i-- > 0;) {
        size_t n, m;
        char *want = read_file(f.name[i], &n);
        for (size_t k = i; k < f.n; k++)
            CHECK_EQ(unlink(path_of(f.name[k])), 0);
        CHECK_EQ(prove(NULL), 0); /* not yet made is no finding */
        finish(open_store());
        char *got = read_file(f.name[i], &m);
        CHECK_MEM(got, m, want, n);
        free(got);
        free(want);
    }
    CHECK_EQ(list(CHAIN_SUFFIX).n, f.n);
    restore(&s);
    CHECK_EQ(unlink(path_of(f.name[1])), 0);
    finish(open_store()); /* one in the middle is evidence */
    CHECK_EQ(prove(NULL), 1);
    check_said(f.name[1]);
    check_said("is missing");
    int dirfd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    struct log *lg;
    CHECK_EQ(log_open(dirfd, &(struct log_options){.segment_bytes = 1 << 20, .read_only = true},
                      &lg, &err),
             0);
    CHECK_EQ(chain_mend(dirfd, lg, &err), 1);
    CHECK_EQ(prove(NULL), 0);
    size_t n, k = 0;
    char *got = read_file(f.name[1], &n);
    while (strcmp(s.names.name[k], f.name[1]) != 0)
        k++;
    CHECK_MEM(got, n, s.p[k], s.n[k]);
    free(got);
    log_abandon(lg);
    (void)close(dirfd);
    forget(&s);
    model_remove(dir);
}

static void test_each_bit_of_a_file_counts(void)
{
    size_t n;

    enter();
    struct files f = list(CHAIN_SUFFIX);
    char *text = read_file(f.name[1], &n);
    for (size_t bit = 0; bit < 8 * n; bit += 11) {
        text[bit / 8] ^= (char)(1 << bit % 8);
        write_file(f.name[1], text, n);
        text[bit / 8] ^= (char)(1 << bit % 8);
        CHECK_EQ(prove(NULL), 1);
        check_said(f.name[1]);
    }
    write_file(f.name[1], text, n - 1);
    CHECK_EQ(prove(NULL), 1);
    write_file(f.name[1], text, n);
    CHECK_EQ(prove(NULL), 0);
    free(text);

    /* The last one: it is not gone on from, health says so, and nothing writes over it. */
    text = read_file(f.name[f.n - 1], &n);
    text[n / 2] ^= 1;
    write_file(f.name[f.n - 1], text, n);
    struct evs_store *st = open_store();
    char health[2000];
    CHECK_EQ(evs_health(st, health, sizeof health), 1);
    CHECK(strstr(health, f.name[f.n - 1]));
    add(st, 900);
    finish(st);
    CHECK_EQ(list(CHAIN_SUFFIX).n, f.n);
    CHECK_EQ(prove(NULL), 1);
    free(text);
    model_remove(dir);
}

/* ---- who changes what is sealed ---- */

/* The line's checksum is made right again, as whoever knows the format can. */
static void sign(char *line, size_t n)
{
    char *crc = memmem(line, n, "\"crc\":\"", 7);
    char hex[9];

    uint32_t c = crc32c(0, line, (size_t)(crc + 7 - line));
    c = crc32c(c, crc + 15, n - (size_t)(crc + 15 - line));
    (void)snprintf(hex, sizeof hex, "%08x", c);
    memcpy(crc + 7, hex, 8);
}

/* Another value in some line of the segment, all sums and the idx of it made right again. */
static void forge(const char *segment)
{
    size_t n;
    char *text = read_file(segment, &n), *line = text + n / 2;

    while (line[-1] != '\n')
        line--;
    size_t len = (size_t)((char *)memchr(line, '\n', n) - line) + 1;
    char *digit = (char *)memmem(line, len, "\"data\":{\"n\":", 12) + 12;
    *digit = *digit == '9' ? '1' : (char)(*digit + 1);
    sign(line, len);
    write_file(segment, text, n);
    free(text);
    CHECK_EQ(evs_rebuild(dir, NULL, NULL, &err), 0);
}

static void test_a_forged_line_is_found(void)
{
    char noted[CHAIN_HEX];

    enter();
    memcpy(noted, proof.sha256, sizeof noted);
    struct files s = list(".jsonl"), f = list(CHAIN_SUFFIX);
    size_t n;
    char *next AUTO_FREE = read_file(f.name[3], &n);
    forge(s.name[2]);
    CHECK_EQ(prove(NULL), 1); /* this one, none behind it */
    check_said(s.name[2]);
    check_said("its bytes are not those that were sealed");
    CHECK_EQ(prove(noted), 2);

    /* Its own hash is made anew as well: the next one's is not of what stands there now. */
    for (size_t i = 2; i < f.n; i++)
        CHECK_EQ(unlink(path_of(f.name[i])), 0);
    finish(open_store());
    write_file(f.name[3], next, n);
    CHECK_EQ(prove(NULL), 1);
    check_said("; or those of event ");
    /* The hashes are made anew as well: only what was noted elsewhere tells. */
    for (size_t i = 0; i < f.n; i++)
        CHECK_EQ(unlink(path_of(f.name[i])), 0);
    finish(open_store());
    CHECK(list(CHAIN_SUFFIX).n == f.n && prove(NULL) == 0);
    CHECK_EQ(prove(noted), 1);
    check_said("it is not, or does not continue");
    model_remove(dir);
}

static void test_a_flipped_bit_is_named_by_its_line(void)
{
    size_t n;

    enter();
    struct files s = list(".jsonl");
    char *text = read_file(s.name[1], &n);
    text[n / 3] ^= 1;
    write_file(s.name[1], text, n);
    CHECK_EQ(prove(NULL), 1); /* that the segment differs is no news then */
    check_said("stored bytes are damaged");
    CHECK_EQ(unlink(path_of(list(CHAIN_SUFFIX).name[1])), 0);
    CHECK_EQ(prove(NULL), 2); /* nor by the next hash, which speaks for both then */
    check_said("is missing");
    free(text);
    model_remove(dir);
}

/* The end is taken away: all files of the newest sealed segment, and what follows. */
static void test_a_shorter_log_is_found(void)
{
    char noted[CHAIN_HEX];

    enter();
    memcpy(noted, proof.sha256, sizeof noted);
    struct files s = list(".jsonl"), x = list(".idx"), f = list(CHAIN_SUFFIX);
    for (size_t i = s.n - 2; i < s.n; i++) {
        CHECK_EQ(unlink(path_of(s.name[i])), 0);
        CHECK_EQ(unlink(path_of(x.name[i])), 0);
    }
    CHECK_EQ(unlink(path_of("index.ckpt")), 0);
    CHECK(prove(NULL) >= 1);
    check_said(f.name[f.n - 1]);
    check_said("up to event");
    check_said("%state");
    CHECK_EQ(unlink(path_of(f.name[f.n - 1])), 0);
    CHECK_EQ(unlink(path_of("schemas/%state")), 0);
    CHECK_EQ(prove(NULL), 0);
    CHECK_EQ(prove(noted), 1);
    model_remove(dir);
}

/* Two neighbours' lines are exchanged, with new seqs and sums. */
static void test_swapped_segments_are_found(void)
{
    size_t n, m;

    enter();
    struct files s = list(".jsonl");
    struct saved all = save();
    char *a = read_file(s.name[1], &n), *b = read_file(s.name[2], &m);
    write_file(s.name[1], b, m);
    write_file(s.name[2], a, n);
    CHECK(prove(NULL) > 0);
    restore(&all);
    CHECK_EQ(prove(NULL), 0);
    free(a);
    free(b);
    forget(&all);
    model_remove(dir);
}

/* Every line again, and a clean end: what was noted holds over recovery, which copies what was not synced. */
static void test_a_crash_changes_no_hash(void)
{
    char noted[CHAIN_HEX];
    size_t n;

    dir = fresh_dir();
    pid_t child = fork();
    if (child == 0) {
        struct evs_store *st;
        if (evs_open(dir,
                     &(struct evs_options){
                         .segment_bytes = 64 << 10, .compress = -1, .sync_interval_ms = UINT32_MAX},
                     &st, &err) < 0)
            _exit(1);
        add(st, EVENTS);
        _exit(0);
    }
    int status = -1;
    CHECK(waitpid(child, &status, 0) == child && status == 0);
    struct evs_store *st;
    CHECK_EQ(evs_open(dir, &(struct evs_options){.read_only = true}, &st, &err), 0);
    CHECK_EQ(evs_end(st), EVENTS);
    char *p = model_read(st, &(struct evs_view){.kind = EVS_ALL}, &n);
    hex_sha(p, n, noted);
    free(p);
    CHECK_EQ(evs_close(st, &err), 0);
    fill(10);
    CHECK_EQ(prove(noted), 0);
    CHECK_EQ(proof.from, EVENTS);
    CHECK_EQ(proof.events, EVENTS + 10);
    model_remove(dir);
}

/* The nth call fails, or is the last: files are whole or not there, and the next open goes on. */
static void test_a_fault_at_any_call_loses_no_hash(void)
{
    enter();
    struct files f = list(CHAIN_SUFFIX);
    struct saved all = save();
    for (int kind = 0; kind < 3; kind++) {
        uint64_t n = 1, calls = 1;
        for (; n <= calls; n++) {
            restore(&all);
            for (size_t i = 2; i < f.n; i++)
                CHECK_EQ(unlink(path_of(f.name[i])), 0);
            pid_t child = fork();
            if (child == 0) {
                struct log *lg;
                struct chain *c;
                int dirfd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
                if (log_open(dirfd, &(struct log_options){.segment_bytes = 64 << 10}, &lg, &err) ||
                    chain_open(dirfd, lg, &c, &err))
                    _exit(1);
                (void)io_fault_set(&(struct io_fault){.n = n,
                                                      .kill = kind == 0,
                                                      .code = kind == 1 ? ENOSPC : EIO,
                                                      .short_write = true});
                (void)chain_extend(c, 1000000);
                uint64_t made = io_fault_set(NULL);
                _exit(made < n ? 77 : 0);
            }
            int status = -1;
            CHECK_EQ(waitpid(child, &status, 0), child);
            CHECK(WIFEXITED(status) && WEXITSTATUS(status) != 1);
            if (WIFEXITED(status) && WEXITSTATUS(status) == 77)
                break;
            calls = n + 1;
            CHECK_EQ(prove(NULL), 0);
            finish(open_store());
            CHECK_EQ(prove(NULL), 0);
            CHECK_EQ(list(CHAIN_SUFFIX).n, f.n);
            CHECK_EQ(list(".tmp").n, 0);
        }
        CHECK(n > 10);
    }
    forget(&all);
    model_remove(dir);
}

int main(void)
{
    RUN(test_the_hash_is_that_of_the_first_lines);
    RUN(test_it_goes_on_where_it_was);
    RUN(test_missing_files_are_made);
    RUN(test_each_bit_of_a_file_counts);
    RUN(test_a_forged_line_is_found);
    RUN(test_a_flipped_bit_is_named_by_its_line);
    RUN(test_a_shorter_log_is_found);
    RUN(test_swapped_segments_are_found);
    RUN(test_a_crash_changes_no_hash);
    RUN(test_a_fault_at_any_call_loses_no_hash);
    CHECK_DONE();
}
