/* SPDX-License-Identifier: MIT */
/* checkpoint: a header of one page, then the index's memory as it is, each block from a page's start.
 * (1) The header says how long each block is and its CRC32C, and has a CRC of its own: a file that is not
 *     whole, or not of this format, is refused as a whole.
 * (2) It is written beside the old one, synced, and renamed: there is always a whole one or none.
 * (3) Numbers are little endian, as in memory on every machine that evfs runs on; the header says so. */
#include "checkpoint.h"
#include "hotpath.h"
#include "crc.h"
#include "io.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#define MAGIC  "evfsckpt"
#define FORMAT 3u /* 1 counted on recs without a check, 2 did not know its log's first line */
#define PAGE   4096ull
#define PIECE  ((size_t)8 << 20)

enum { BLOCK_NAMES, BLOCK_SETS, BLOCK_CHUNKS, BLOCK_TYPES, BLOCK_TABLE, BLOCK_IDS, BLOCKS };

struct header {
    char magic[8];
    uint32_t format, endian; /* 0x01020304 */
    uint64_t seq;
    uint32_t line_crc, n_types, n_entities, table_bits, ids_bits,
        crc; /* crc: of the header with crc 0 */
    uint64_t table_n, ids_n;
    uint64_t bytes[BLOCKS];
    uint32_t block_crc[BLOCKS];
    uint32_t first_crc, unused;
};
static_assert(sizeof(struct header) == 144 && sizeof(struct header) <= PAGE,
              "the header is on disk");

static uint64_t round_up(uint64_t n)
{
    return (n + PAGE - 1) & ~(PAGE - 1);
}

static uint32_t log2_of(size_t n)
{
    return (uint32_t)(63 - __builtin_clzll(n));
}

/* Marks are of who watches now, owners are meta.db's: the log says neither, and a mark that came back would
 * look as if it were counted in ix->marked. */
static void forget_what_is_not_the_logs(struct index *ix)
{
    const uint32_t n = (uint32_t)(ix->a.sets.used / sizeof(struct set));

    for (uint32_t v = 1; v < n; v++) {
        struct set *s = index_set(ix, v);
        if (atomic_load_explicit(&s->marks, memory_order_relaxed))
            atomic_store_explicit(&s->marks, 0, memory_order_relaxed);
        const uint8_t owners = SET_OWNED | SET_LEADS;
        if (atomic_load_explicit(&s->flags, memory_order_relaxed) & owners)
            (void)atomic_fetch_and_explicit(&s->flags, (uint8_t)~owners, memory_order_relaxed);
    }
}

struct mark_job {
    const struct log *lg;
    struct log_pin pin;
    evs_seq seq;
    uint32_t crc;
    struct evs_error *err;
};

static int mark_job(void *arg)
{
    struct mark_job *j = arg;
    struct slice line;
    struct line l;
    char name[64];
    int r = log_line(j->lg, j->seq, &j->pin, &line, j->err);

    if (r < 0 || (line_parse(line.p, line.n, &l, NULL, &j->crc) == 0 && l.seq == j->seq))
        return r;
    log_segment_name(j->lg, j->seq, name, sizeof name);
    struct log_span span = {0};
    struct log_rec rec = {0};
    (void)log_span(j->lg, j->seq, &span);
    (void)log_span_rec(j->lg, &span, j->seq, &rec, NULL);
    return evs_fail_at(j->err, EVS_DAMAGED, log_rec_offset(&rec), "%s: event %llu", name,
                       (unsigned long long)j->seq);
}

/* 0: there is none, or it can't be read: that is for others to say. */
static uint32_t first_crc(const struct log *lg)
{
    struct mark_job j = {.lg = lg, .seq = 1};
    int r = log_end(lg) > 0 ? io_guarded(mark_job, &j) : -ENOENT;

    log_unpin(&j.pin);
    return r < 0 ? 0 : j.crc;
}

bool checkpoint_is_foreign(const struct log *lg, const struct checkpoint_mark *m)
{
    struct checkpoint_mark is = {.first_crc = first_crc(lg)};

    if (m->seq == 0)
        return false;
    if (checkpoint_first_differs(&is, m))
        return true;
    return m->seq <= log_end(lg) && checkpoint_mark_at(lg, m->seq, &is, NULL) == 0 &&
           is.line_crc != m->line_crc;
}

int checkpoint_mark_at(const struct log *lg, evs_seq seq, struct checkpoint_mark *ret,
                       struct evs_error *err)
{
    struct evs_error why = {.why = EVS_OK_};
    struct mark_job j = {.lg = lg, .seq = seq, .err = &why};
    int r = seq ? io_guarded(mark_job, &j) : 0;

    log_unpin(&j.pin);
    if (r == 0)
        *ret = (struct checkpoint_mark){seq, j.crc, first_crc(lg)};
    else if (why.why != EVS_OK_)
        return evs_fail_as(err, &why);
    else
        return evs_fail_errno(err, r, "reading the log");
    return 0;
}

int checkpoint_write(int dirfd, struct index *ix, const struct checkpoint_mark *m,
                     uint64_t *ret_bytes)
{
    const void *block[BLOCKS] = {ix->a.names.base, ix->a.sets.base, ix->a.chunks.base,
                                 ix->types.base};
    size_t table_bytes, ids_bytes;
    int fd, r = 0;

    HOT(checkpoint);
    forget_what_is_not_the_logs(ix);
    table_settle(&ix->names);
    table_settle(&ix->ids);
    block[BLOCK_TABLE] = table_block(&ix->names, &table_bytes);
    block[BLOCK_IDS] = table_block(&ix->ids, &ids_bytes);
    struct header h = {.magic = MAGIC,
                       .format = FORMAT,
                       .endian = 0x01020304,
                       .seq = m->seq,
                       .line_crc = m->line_crc,
                       .first_crc = m->first_crc,
                       .n_types = ix->n_types,
                       .n_entities = ix->n_entities,
                       .table_bits = log2_of(table_bytes / 8),
                       .ids_bits = log2_of(ids_bytes / 8),
                       .table_n = ix->names.n,
                       .ids_n = ix->ids.n,
                       .bytes = {ix->a.names.used, ix->a.sets.used, ix->a.chunks.used,
                                 ix->types.used, table_bytes, ids_bytes}};
    fd = io_open(dirfd, CHECKPOINT_TMP, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    if ((fd == -EISDIR || fd == -ELOOP) && io_remove(dirfd, CHECKPOINT_TMP) == 0)
        fd = io_open(dirfd, CHECKPOINT_TMP, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    if (fd < 0)
        return fd;
    uint64_t at = PAGE;
    for (int i = 0; i < BLOCKS && r == 0; i++) {
        for (uint64_t done = 0; done < h.bytes[i] && r == 0; done += PIECE) {
            const char *p = (const char *)block[i] + done;
            size_t n = MIN(PIECE, h.bytes[i] - done);
            h.block_crc[i] = crc32c(h.block_crc[i], p, n);
            r = io_write_all(fd, p, n, at + done);
        }
        at += round_up(h.bytes[i]);
    }
    h.crc = crc32c(0, &h, sizeof h);
    if (r == 0)
        r = io_write_all(fd, &h, sizeof h, 0);
    if (r == 0)
        r = io_datasync(fd);
    int e = io_close(fd);
    *ret_bytes = at;
    return r < 0 ? r : e;
}

static void leave(int code) __attribute__((noreturn));
static void leave(int code)
{
    for (;;)
        (void)syscall(SYS_exit_group, code);
}

int checkpoint_begin(int dirfd, struct index *ix, const struct checkpoint_mark *m)
{
    /* Not fork(): no handlers run, no SIGCHLD reaches a program that this library is only part of. */
    const pid_t parent = getpid();
    long child = syscall(SYS_clone, 0, NULL, NULL, NULL, NULL);

    if (child != 0)
        return child < 0 ? -errno : (int)child;
    /* Only system calls from here on, not even _exit(), which sanitizers hook: the memory is a copy, other
     * threads are gone in mid-step. First let go of what would outlive a killed parent: its lock on the
     * store, its connection to the kernel. */
    uint64_t bytes;
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (syscall(SYS_getppid) != parent) /* it died before that */
        (void)syscall(SYS_exit_group, ECANCELED);
    if (dirfd != 3 && dup2(dirfd, 3) < 0)
        leave(errno);
    (void)syscall(SYS_close_range, 4u, ~0u, 0u);
    leave(-checkpoint_write(3, ix, m, &bytes));
}

int checkpoint_finish(int child, bool wait)
{
    int status;

    for (;;) {
        int r = waitpid(child, &status, __WCLONE | (wait ? 0 : WNOHANG));
        if (r == 0)
            return -EAGAIN;
        if (r == child)
            return WIFEXITED(status) ? -WEXITSTATUS(status) : -EIO;
        if (errno != EINTR)
            return -errno;
    }
}

int checkpoint_adopt(int dirfd, struct evs_error *err)
{
    int r = io_rename(dirfd, CHECKPOINT_TMP, CHECKPOINT_FILE);

    if (r == 0)
        r = io_sync(dirfd);
    return r < 0 ? evs_fail_errno(err, r, CHECKPOINT_FILE) : 0;
}

/* 1: what is there is of another log. */
static int is_void(int dirfd)
{
    int fd AUTO_CLOSE = io_open(dirfd, CHECKPOINT_VOID, O_RDONLY, 0);

    return fd >= 0 ? 1 : fd == -ENOENT ? 0 : fd;
}

int checkpoint_remove(int dirfd)
{
    int voided = is_void(dirfd), r = voided < 0 ? voided : io_remove(dirfd, CHECKPOINT_FILE);

    if (r == 0 || (r == -ENOENT && voided)) /* who removed it may have died before that */
        r = io_sync(dirfd);
    if (r == 0 && voided)
        r = io_unlink(dirfd, CHECKPOINT_VOID);
    return r == -ENOENT ? 0 : r;
}

static int bad(struct evs_error *err, uint64_t at)
{
    return evs_fail_at(err, EVS_DAMAGED, at, CHECKPOINT_FILE);
}

static bool header_ok(const struct header *h)
{
    struct header copy = *h;

    copy.crc = 0;
    return memcmp(h->magic, MAGIC, sizeof h->magic) == 0 && h->format == FORMAT &&
           h->endian == 0x01020304 && h->crc == crc32c(0, &copy, sizeof copy) &&
           h->table_bits < 32 && h->ids_bits < 32 &&
           h->bytes[BLOCK_TABLE] == 8ull << h->table_bits &&
           h->bytes[BLOCK_IDS] == 8ull << h->ids_bits;
}

static int read_blocks(int fd, const struct header *h, char *const block[BLOCKS],
                       const size_t room[BLOCKS], uint64_t *ret_end, struct evs_error *err)
{
    uint64_t at = PAGE;

    for (int i = 0; i < BLOCKS; i++) {
        uint32_t crc = 0;
        if (!block[i] || h->bytes[i] > room[i])
            return bad(err, at);
        for (uint64_t done = 0; done < h->bytes[i]; done += PIECE) {
            size_t n = MIN(PIECE, h->bytes[i] - done);
            ssize_t got = io_read_all(fd, block[i] + done, n, at + done);
            if (got < 0)
                return evs_fail_errno(err, (int)got, CHECKPOINT_FILE);
            if ((size_t)got < n)
                return bad(err, at + done + (size_t)got);
            crc = crc32c(crc, block[i] + done, n);
        }
        if (crc != h->block_crc[i])
            return bad(err, at);
        at += round_up(h->bytes[i]);
    }
    *ret_end = at;
    return 0;
}

int checkpoint_read(int dirfd, struct index *ix, struct checkpoint_mark *ret, uint64_t *ret_bytes,
                    struct evs_error *err)
{
    int voided = is_void(dirfd);
    AUTO_CLOSE int fd = voided < 0 ? voided : io_open(dirfd, CHECKPOINT_FILE, O_RDONLY, 0);
    struct header h;

    if (fd == -ENOENT || voided > 0)
        return -ENOENT;
    if (fd < 0)
        return evs_fail_errno(err, fd, CHECKPOINT_FILE);
    ssize_t got = io_read_all(fd, &h, sizeof h, 0);
    if (got < 0)
        return evs_fail_errno(err, (int)got, CHECKPOINT_FILE);
    if ((size_t)got < sizeof h || !header_ok(&h))
        return bad(err, 0);
    char *const block[BLOCKS] = {ix->a.names.base,
                                 ix->a.sets.base,
                                 ix->a.chunks.base,
                                 ix->types.base,
                                 table_adopt(&ix->names, h.table_bits, h.table_n),
                                 table_adopt(&ix->ids, h.ids_bits, h.ids_n)};
    const size_t room[BLOCKS] = {ix->a.names.reserved, ix->a.sets.reserved,  ix->a.chunks.reserved,
                                 ix->types.reserved,   h.bytes[BLOCK_TABLE], h.bytes[BLOCK_IDS]};
    int r = read_blocks(fd, &h, block, room, ret_bytes, err);
    if (r < 0)
        return r;
    ix->a.names.used = h.bytes[BLOCK_NAMES];
    ix->a.sets.used = h.bytes[BLOCK_SETS];
    ix->a.chunks.used = h.bytes[BLOCK_CHUNKS];
    ix->types.used = h.bytes[BLOCK_TYPES];
    ix->n_types = h.n_types;
    ix->n_entities = h.n_entities;
    if (!checkpoint_fits(ix, h.seq))
        return bad(err, 0);
    *ret = (struct checkpoint_mark){h.seq, h.line_crc, h.first_crc};
    return 0;
}
