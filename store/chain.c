/* SPDX-License-Identifier: MIT */
/* chain: (1) A file is written once, for a sealed segment, after the file of the segment before: log/FIRST.tmp
 * is no name for it, as recovery has that; FIRST.sha256.tmp is written, synced and renamed, and what a crash leaves
 * of it is written over by the next try, which is for the same segment.
 * (2) A file goes on from the state in the one before, not from bytes that are read again: so each segment is
 * checked alone, and a change is found in the segment that was changed, not in all behind it.
 * (3) One that is there is never written over: if it says something else, the chain ends before it, health says
 * so, and verify tells what differs.
 * (4) The form is one only: a file is read by writing what was understood, and comparing. */
#include "chain_mark.h"

#include "crc.h"
#include "io.h"
#include "segment.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#define TEXT_BYTES 1024

struct chain {
    int dirfd;
    struct log *lg;
    struct chain_mark at; /* up to which byte it is hashed; one thread */
    bool begun;           /* within a segment: at.first and at.last are of the next file */
    uint64_t to;          /* the byte up to which that goes */
    pthread_mutex_t lock;
    evs_seq newest; /* under lock, as are the next two */
    char hex[CHAIN_HEX], trouble[160];
    _Atomic bool stopped; /* trouble says why */
};

/* ---- the file ---- */

static void hex_of(const uint8_t *p, size_t n, char *out)
{
    static const char digits[] = "0123456789abcdef";

    for (size_t i = 0; i < n; i++) {
        out[2 * i] = digits[p[i] >> 4];
        out[2 * i + 1] = digits[p[i] & 15];
    }
    out[2 * n] = '\0';
}

static void bytes_of(const char *hex, size_t n, uint8_t *out)
{
    for (size_t i = 0; i < 2 * n; i++) {
        unsigned digit = (unsigned)(hex[i] <= '9' ? hex[i] - '0' : hex[i] - 'a' + 10);
        out[i / 2] = (uint8_t)(i % 2 ? out[i / 2] | digit : digit << 4);
    }
}

void chain_digest(const struct sha256_ctx *sum, char out[CHAIN_HEX])
{
    struct sha256_ctx copy = *sum; /* finishing spends it */
    uint8_t d[SHA256_DIGEST_SIZE];

    sha256_digest(&copy, sizeof d, d);
    hex_of(d, sizeof d, out);
}

static int print(const struct chain_mark *m, char out[TEXT_BYTES])
{
    char sha[CHAIN_HEX], state[CHAIN_HEX] = "", block[2 * SHA256_BLOCK_SIZE + 1];
    uint8_t rest[SHA256_BLOCK_SIZE] = {0};

    chain_digest(&m->sum, sha);
    for (int i = 0; i < 8; i++)
        (void)snprintf(state + 8 * i, 9, "%08" PRIx32, m->sum.state[i]);
    memcpy(rest, m->sum.block, m->bytes % SHA256_BLOCK_SIZE);
    hex_of(rest, sizeof rest, block);
    int n = snprintf(out, TEXT_BYTES,
                     "evfs sha256 1\nfirst %" PRIu64 "\nlast %" PRIu64 "\nbytes %" PRIu64
                     "\nsha256 %s\nstate %s\nblock %s\n",
                     m->first, m->last, m->bytes, sha, state, block);
    return n + snprintf(out + n, TEXT_BYTES - (size_t)n, "crc %08" PRIx32 "\n",
                        crc32c(0, out, (size_t)n));
}

static int parse(const char *text, size_t n, struct chain_mark *ret)
{
    char sha[CHAIN_HEX], state[CHAIN_HEX], block[2 * SHA256_BLOCK_SIZE + 1], again[TEXT_BYTES];
    struct chain_mark m = {0};

    if (sscanf(text,
               "evfs sha256 1\nfirst %" SCNu64 "\nlast %" SCNu64 "\nbytes %" SCNu64
               "\nsha256 %64[0-9a-f]\nstate %64[0-9a-f]\nblock %128[0-9a-f]",
               &m.first, &m.last, &m.bytes, sha, state, block) != 6 ||
        strlen(state) != 64 || strlen(block) != 128)
        return -EBADMSG;
    sha256_init(&m.sum);
    for (int i = 0; i < 8; i++) {
        uint8_t b[4];
        bytes_of(state + 8 * i, 4, b);
        m.sum.state[i] =
            (uint32_t)b[0] << 24 | (uint32_t)b[1] << 16 | (uint32_t)b[2] << 8 | (uint32_t)b[3];
    }
    bytes_of(block, SHA256_BLOCK_SIZE, m.sum.block);
    m.sum.count = m.bytes / SHA256_BLOCK_SIZE;
    m.sum.index = (unsigned)(m.bytes % SHA256_BLOCK_SIZE);
    if ((size_t)print(&m, again) != n || memcmp(text, again, n) != 0) /* hash and CRC as well */
        return -EBADMSG;
    *ret = m;
    return 0;
}

void chain_name(evs_seq first, const char *suffix, char out[CHAIN_NAME_BYTES])
{
    (void)snprintf(out, CHAIN_NAME_BYTES, "log/%020" PRIu64 CHAIN_SUFFIX "%s", first, suffix);
}

int chain_load(int dirfd, evs_seq first, struct chain_mark *ret)
{
    char name[CHAIN_NAME_BYTES], text[TEXT_BYTES + 1];

    chain_name(first, "", name);
    int fd AUTO_CLOSE = io_open(dirfd, name, O_RDONLY, 0);
    if (fd < 0)
        return fd;
    ssize_t n = io_read_all(fd, text, TEXT_BYTES, 0);
    if (n < 0)
        return (int)n;
    text[n] = '\0';
    int r = parse(text, (size_t)n, ret);
    return r == 0 && ret->first != first ? -EBADMSG : r;
}

static int sync_log(int dirfd)
{
    int fd AUTO_CLOSE = io_open(dirfd, "log", O_RDONLY | O_DIRECTORY, 0);

    return fd < 0 ? fd : io_sync(fd);
}

int chain_save(int dirfd, const struct chain_mark *m)
{
    char name[CHAIN_NAME_BYTES], tmp[CHAIN_NAME_BYTES], text[TEXT_BYTES];
    int n = print(m, text);

    chain_name(m->first, "", name);
    chain_name(m->first, ".tmp", tmp);
    int fd AUTO_CLOSE = io_open(dirfd, tmp, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    int r = fd < 0 ? fd : io_write_all(fd, text, (size_t)n, 0);
    if (r == 0)
        r = io_datasync(fd);
    if (r == 0)
        r = io_rename(dirfd, tmp, name);
    if (r == 0)
        return sync_log(dirfd);
    if (fd >= 0)
        (void)io_unlink(dirfd, tmp); /* on a full disk others need its room */
    return r;
}

evs_seq chain_first(const char *name)
{
    const char *suffix;
    evs_seq first = segment_first(name, &suffix);

    return first && strcmp(suffix, CHAIN_SUFFIX) == 0 ? first : 0;
}

int chain_look(int dirfd, evs_seq first, evs_seq *ret_last, uint64_t *ret_bytes)
{
    struct chain_mark m;
    int r = chain_load(dirfd, first, &m);

    if (r == 0) {
        *ret_last = m.last;
        *ret_bytes = m.bytes;
    }
    return r;
}

/* ---- hashing ---- */

struct hash_job {
    struct sha256_ctx *sum;
    const char *p;
    size_t n;
};

static int hash_bytes(void *arg)
{
    struct hash_job *j = arg;

    sha256_update(j->sum, j->n, (const uint8_t *)j->p);
    return 0;
}

int chain_hash(struct sha256_ctx *sum, const struct log_span *sp, uint64_t at, size_t n)
{
    struct sha256_ctx copy = *sum;
    struct log_pin pin = {0};
    int r = log_pin(sp, at, at + n, &pin, NULL);

    if (r == 0)
        r = io_guarded(hash_bytes, &(struct hash_job){&copy, sp->lines + at, n});
    log_unpin(&pin);
    if (r == 0)
        *sum = copy;
    return r;
}

int chain_hash_to(struct log *lg, struct sha256_ctx *sum, uint64_t from, uint64_t to)
{
    struct log_span sp;
    int r = 0;

    while (r == 0 && from < to) {
        r = log_span_at(lg, from, &sp);
        if (r < 0)
            break;
        uint64_t at = from - sp.before;
        size_t n = MIN(MIN(sp.bytes - at, to - from), CHAIN_STEP_BYTES);
        r = chain_hash(sum, &sp, at, n);
        from += n;
    }
    return r;
}

/* ---- extending ---- */

static void stop(struct chain *c, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static void stop(struct chain *c, const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    (void)pthread_mutex_lock(&c->lock);
    (void)vsnprintf(c->trouble, sizeof c->trouble, fmt, ap);
    (void)pthread_mutex_unlock(&c->lock);
    va_end(ap);
    /* Release: pairs with chain_trouble(). */
    atomic_store_explicit(&c->stopped, true, memory_order_release);
}

static void take_newest(struct chain *c, const struct chain_mark *m)
{
    (void)pthread_mutex_lock(&c->lock);
    c->newest = m->last;
    chain_digest(&m->sum, c->hex);
    (void)pthread_mutex_unlock(&c->lock);
}

static int take_name(void *arg, const char *name)
{
    evs_seq *newest = arg, first = chain_first(name);

    *newest = MAX(*newest, first);
    return 0;
}

static void find_newest(struct chain *c)
{
    struct chain_mark m;
    evs_seq newest = 0;
    int r = io_list(c->dirfd, "log", take_name, &newest);

    if (r == 0 && newest == 0)
        return;
    if (r == 0)
        r = chain_load(c->dirfd, newest, &m);
    if (r < 0) {
        stop(c, "log/%020" PRIu64 CHAIN_SUFFIX ": %s", newest,
             r == -EBADMSG ? "stored bytes are damaged" : strerror(-r));
    } else if (m.last > log_end(c->lg) || m.bytes > log_bytes(c->lg)) {
        stop(c, "log/%020" PRIu64 CHAIN_SUFFIX ": the log ends with event %" PRIu64 " of %" PRIu64,
             newest, log_end(c->lg), m.last);
    } else {
        c->at = m;
        take_newest(c, &m);
    }
}

int chain_open(int dirfd, struct log *lg, struct chain **ret, struct evs_error *err)
{
    struct chain *c = calloc(1, sizeof *c);

    if (!c)
        return evs_fail(err, EVS_NO_MEMORY, EVS_NOWHERE);
    c->dirfd = dirfd;
    c->lg = lg;
    c->lock = (pthread_mutex_t)PTHREAD_MUTEX_INITIALIZER;
    sha256_init(&c->at.sum);
    find_newest(c);
    *ret = c;
    return 0;
}

void chain_close(struct chain *c)
{
    if (!c)
        return;
    (void)pthread_mutex_destroy(&c->lock);
    free(c);
}

/* The segment is hashed: its file. False where it has to be tried again later. */
static bool finish(struct chain *c)
{
    struct chain_mark there;
    char text[TEXT_BYTES], want[TEXT_BYTES];
    int r = chain_load(c->dirfd, c->at.first, &there);

    if (r == -ENOENT) {
        r = chain_save(c->dirfd, &c->at);
        if (r == -ENOSPC || r == -EDQUOT)
            return false;
    } else if (r == 0) {
        (void)print(&there, text);
        (void)print(&c->at, want);
        r = strcmp(text, want) == 0 ? 0 : -EBADMSG;
    }
    if (r == 0)
        take_newest(c, &c->at);
    else if (r == -EBADMSG)
        stop(c, "log/%020" PRIu64 CHAIN_SUFFIX " says something else than the log", c->at.first);
    else
        stop(c, "log/%020" PRIu64 CHAIN_SUFFIX ": %s", c->at.first, strerror(-r));
    c->begun = false;
    return r == 0;
}

/* True: it has done something, and may go on. */
static bool step(struct chain *c)
{
    struct log_span sp;

    if (atomic_load_explicit(&c->stopped, memory_order_relaxed))
        return false;
    if (!c->begun) {
        if (c->at.last >= log_sealed_end(c->lg) || log_span(c->lg, c->at.last + 1, &sp) < 0)
            return false;
        c->begun = true;
        c->at.first = c->at.last + 1;
        c->at.last = sp.end - 1;
        c->to = sp.before + sp.bytes;
    }
    uint64_t end = MIN(c->to, c->at.bytes + CHAIN_STEP_BYTES);
    int r = chain_hash_to(c->lg, &c->at.sum, c->at.bytes, end);
    if (r < 0) {
        stop(c, "log: the segment of event %" PRIu64 " can't be read: %s", c->at.last,
             strerror(-r));
        return false;
    }
    c->at.bytes = end;
    return end < c->to || finish(c);
}

bool chain_extend(struct chain *c, uint64_t budget_us)
{
    uint64_t end = monotonic_ns() + budget_us * 1000;

    while (c && step(c))
        if (monotonic_ns() >= end)
            return true;
    return false;
}

bool chain_newest(struct chain *c, evs_seq *ret, char ret_hex[CHAIN_HEX])
{
    (void)pthread_mutex_lock(&c->lock);
    bool any = c->newest > 0;
    if (any) {
        *ret = c->newest;
        memcpy(ret_hex, c->hex, CHAIN_HEX);
    }
    (void)pthread_mutex_unlock(&c->lock);
    return any;
}

bool chain_trouble(struct chain *c, char *buf, size_t n)
{
    if (!atomic_load_explicit(&c->stopped, memory_order_acquire))
        return false;
    (void)pthread_mutex_lock(&c->lock);
    (void)snprintf(buf, n, "%s", c->trouble);
    (void)pthread_mutex_unlock(&c->lock);
    return true;
}
