/* SPDX-License-Identifier: MIT */
/* log: segments one behind another, and who may see and trust how much of them.
 *
 * (1) seqs are gapless over segments: a segment's first seq is the end of the one before, plus one.
 * (2) end: what readers see. The newest segment's visible word is the only truth of it; all older
 *     segments are visible whole, since a roll begins when nothing is appended that isn't
 *     published.
 * (3) durable <= end: what an fdatasync has covered. Only the syncer stores it, after that call.
 * (4) At most the last two segments are unsealed: a roll that would make three first syncs, which
 *     seals.
 * (5) read_only is never cleared. A failed sync is remembered, and given to all who ask for more.
 *
 * Readers take no lock. They load count (acquire: the pointers below it and what they point to are
 * there; pairs with add_segment()), then the segment's visible word (acquire; pairs with
 * segment_show()). A stale count shows an end that was true a moment ago. Segments and mappings
 * live until the log is freed.
 * */
#include "log_state.h"

#include "hotpath.h"
#include "io.h"
#include "limits.h"
#include "resume.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>

/* ---- segments ---- */

static UNANALYSED void add_segment(struct log *lg, struct segment *s)
{
    size_t n = atomic_load_explicit(&lg->count, memory_order_relaxed);
    struct segment *last = n > 0 ? lg->s[n - 1] : NULL;

    s->before = last ? last->before + segment_visible(last).bytes : 0;
    lg->s[n] = s;
    lg->current = s;
    atomic_store_explicit(&lg->count, n + 1, memory_order_release);
}

/* The last segment of the first n for which first (by_pos: before) is at most key; s[0] begins at 1
 * (0). */
static struct segment *find_segment(const struct log *lg, uint64_t key, bool by_pos)
{
    size_t low = 0, n = log_count(lg);
    struct segment *last = lg->s[n - 1];

    if (LIKELY((by_pos ? last->before : last->first) <= key))
        return last;
    for (size_t high = n - 1; high - low > 1;) { /* s[low] <= key < s[high] */
        size_t mid = low + (high - low) / 2;
        if ((by_pos ? lg->s[mid]->before : lg->s[mid]->first) <= key)
            low = mid;
        else
            high = mid;
    }
    return lg->s[low];
}

static int create_segment(struct log *lg, evs_seq first, struct segment_mark room,
                          struct evs_error *err)
{
    struct segment *s;
    bool left = false;

    if (log_count(lg) == SEGMENTS_MAX)
        return evs_fail(err, EVS_TOO_MANY, EVS_NOWHERE);
    struct evs_error why;
    int r = segment_create(lg->dirfd, first, room, &s, &left, &why);
    /* Half a segment is left, which the next one of this name would meet; or the disk is failing. */
    if (left || (r < 0 && why.code == EIO))
        log_set_read_only(lg, &why);
    if (r < 0)
        return evs_fail_as(err, &why);
    /* Between the two: a sync that sees the segment sees that its directory needs one. */
    atomic_store_explicit(&lg->dir_dirty, lg->dirfd >= 0, memory_order_relaxed);
    add_segment(lg, s);
    return 0;
}

/* ---- open and close ---- */

static int open_dir(struct log *lg, int dirfd, struct evs_error *err)
{
    if (!lg->o.read_only) {
        int r = io_mkdir(dirfd, "log", 0777);
        if (r == 0 || r == -EEXIST)
            r = io_sync(
                dirfd); /* before anything in it can be durable; who made it may have died before that */
        if (r < 0)
            return evs_fail_errno(err, r, "log");
    }
    int fd = io_open(dirfd, "log", O_RDONLY | O_DIRECTORY, 0);
    if (fd < 0 && !(lg->o.read_only && fd == -ENOENT))
        return evs_fail_errno(err, fd, "log");
    lg->dirfd = fd < 0 ? -1 : fd;
    return 0;
}

static UNANALYSED int log_new(const struct log_options *o, struct log **ret, struct evs_error *err)
{
    struct log *lg = calloc(1, sizeof *lg);
    char *room;
    int r;

    if (!lg)
        return evs_fail(err, EVS_NO_MEMORY, EVS_NOWHERE);
    lg->mender = calloc(1, sizeof *lg->mender);
    if (!lg->mender) {
        free(lg);
        return evs_fail(err, EVS_NO_MEMORY, EVS_NOWHERE);
    }
    lg->mender->lg = lg;
    (void)pthread_mutex_init(&lg->mender->lock, NULL);
    lg->o = *o;
    lg->dirfd = -1;
    r = io_map_memory(SEGMENTS_MAX * sizeof(struct segment *), &room);
    if (r < 0) {
        free(lg->mender);
        free(lg);
        return evs_fail_errno(err, r, "log");
    }
    lg->s = (struct segment **)(void *)room;
    r = frame_cache_new(DEFAULT_FRAMES_BYTES, &lg->frames, err);
    if (r < 0) {
        (void)io_unmap(room, SEGMENTS_MAX * sizeof(struct segment *));
        free(lg->mender);
        free(lg);
        return r;
    }
    (void)pthread_mutex_init(&lg->sync_lock, NULL); /* without attributes none can fail */
    (void)pthread_mutex_init(&lg->trouble_lock, NULL);
    *ret = lg;
    return 0;
}

static int load_segments(struct log *lg, struct evs_error *err)
{
    struct segments all = {0};
    struct segment_mark room = resume_room(&lg->o);
    int r = lg->dirfd < 0 ? 0 : resume_segments(lg->dirfd, &lg->o, lg->frames, &all, err);

    if (r < 0)
        return r;
    for (size_t i = 0; i < all.n && i < SEGMENTS_MAX; i++)
        add_segment(lg, TAKE(all.s[i]));
    bool full = all.n > 0 && lg->s[all.n - 1]->sealed && !lg->o.read_only;
    size_t sealed = full ? all.n : all.n > 0 ? all.n - 1 : 0;
    atomic_store_explicit(&lg->sealed, sealed, memory_order_relaxed);
    size_t packed = 0;
    for (size_t i = 0; i < sealed; i++)
        packed += lg->s[i]->frames != NULL;
    atomic_store_explicit(&lg->packed, packed, memory_order_relaxed);
    lg->recs_end = all.recs_end;
    lg->cut_kept = all.cut;
    resume_free(&all);
    if (log_count(lg) == 0 && lg->o.read_only) {
        if (lg->dirfd >= 0)
            (void)io_close(lg->dirfd);
        lg->dirfd = -1; /* nothing there: an empty log in memory, which nobody appends to */
        return create_segment(lg, 1, (struct segment_mark){1, 1}, err);
    }
    return log_count(lg) == 0 || full ? create_segment(lg, log_end(lg) + 1, room, err) : 0;
}

/* What is there may have been made by one who died before the directory was synced; and the first segment is the
 * one without which others are damage. */
static int sync_names(struct log *lg, struct evs_error *err)
{
    if (lg->dirfd < 0 || lg->o.read_only)
        return 0;
    atomic_store_explicit(&lg->dir_dirty, false, memory_order_relaxed);
    int r = io_sync(lg->dirfd);
    return r < 0 ? evs_fail_errno(err, r, "log") : 0;
}

int log_open(int dirfd, const struct log_options *o, struct log **ret, struct evs_error *err)
{
    struct log *lg = NULL;
    int r = log_new(o, &lg, err);

    if (r < 0)
        return r;
    if (!o->memory)
        r = open_dir(lg, dirfd, err);
    if (r == 0)
        r = load_segments(lg, err);
    if (r == 0)
        r = sync_names(lg, err);
    if (r < 0) {
        log_abandon(lg);
        return r;
    }
    atomic_store_explicit(&lg->read_only, o->read_only, memory_order_relaxed);
    atomic_store_explicit(&lg->durable, log_end(lg), memory_order_relaxed);
    *ret = lg;
    return 0;
}

UNANALYSED void log_abandon(struct log *lg)
{
    if (!lg)
        return;
    for (size_t i = 0; i < log_count(lg); i++)
        segment_close(lg->s[i]);
    (void)io_unmap(lg->s, SEGMENTS_MAX * sizeof(struct segment *)); /* no error but ours */
    frame_cache_free(lg->frames);
    if (lg->dirfd >= 0)
        (void)io_close(lg->dirfd);
    (void)pthread_mutex_destroy(&lg->sync_lock);
    (void)pthread_mutex_destroy(&lg->trouble_lock);
    (void)pthread_mutex_destroy(&lg->mender->lock);
    free(lg->mender);
    free(lg);
}

UNANALYSED void log_give_up(struct log *lg)
{
    struct segment *s = lg->current;
    struct stat st;

    /* Only shorter: a file that somebody else has cut is not made whole by zeros. */
    if (s->fd >= 0 && io_stat(s->fd, &st) == 0 && (uint64_t)st.st_size > segment_visible(s).bytes)
        (void)segment_cut(s, segment_visible(s), NULL); /* as good as it gets */
    log_abandon(lg);
}

int log_fix_done(struct log *lg, struct evs_error *err)
{
    struct segment *s = lg->fixing;

    lg->fixing = NULL;
    return s ? segment_fix_done(s, err) : 0;
}

UNANALYSED int log_close(struct log *lg, struct evs_error *err)
{
    if (!lg)
        return 0;
    int r = log_fix_done(lg, err);
    /* If an append could not be cut back, try again: what was refused should not be there after the
     * next open. */
    if (log_read_only(lg) && !lg->o.read_only)
        (void)segment_cut(lg->current, segment_visible(lg->current), NULL); /* as good as it gets */
    int q = sync_close(lg, r < 0 ? NULL : err);
    log_abandon(lg);
    return r < 0 ? r : q;
}

/* ---- appending ---- */

/* Start a new segment. All that was appended is published. */
static int roll(struct log *lg, struct segment_mark room, struct evs_error *err) NEEDS_COMMIT;
static int roll(struct log *lg, struct segment_mark room, struct evs_error *err)
{
    size_t sealed = atomic_load_explicit(&lg->sealed, memory_order_acquire);
    int r = 0;

    assert(segment_visible(lg->current).n == lg->current->tail.n);
    if (log_count(lg) - sealed >= 2) { /* (4); waits for a leader, who may do it already */
        r = sync_now(lg, err);
        sealed = atomic_load_explicit(&lg->sealed, memory_order_acquire);
        if (r == 0 && lg->dirfd >= 0 && log_count(lg) - sealed >= 2)
            r = evs_fail_errno(err, -ENOSPC, "log");
    }
    return r < 0 ? r : create_segment(lg, log_end(lg) + 1, room, err);
}

static bool fits(const struct segment *s, size_t n_bytes, uint32_t n_lines) NEEDS_COMMIT;
static bool fits(const struct segment *s, size_t n_bytes, uint32_t n_lines)
{
    return s->tail.bytes + n_bytes <= s->room.bytes && s->tail.n + n_lines <= s->room.n;
}

int log_reserve(struct log *lg, size_t n_bytes, uint32_t n_lines, struct evs_error *err)
{
    struct segment *s = lg->current;
    struct segment_mark room = resume_room(&lg->o);

    if (log_read_only(lg))
        return evs_fail(err, EVS_READ_ONLY, EVS_NOWHERE);
    if (LIKELY(fits(s, n_bytes, n_lines)))
        return 0;
    if (n_bytes >> SEGMENT_BYTES_BITS || n_lines >> SEGMENT_LINES_BITS)
        return evs_fail(err, EVS_TOO_LARGE, EVS_NOWHERE);
    room = (struct segment_mark){MAX(room.bytes, n_bytes), MAX(room.n, n_lines)};
    if (s->tail.n > 0)
        return roll(lg, room, err);
    /* It is empty, and its name would be the new one's: nobody reads it, so it can be mapped
     * anew. */
    int r = segment_map_lines(s, room.bytes, err);
    return r < 0 ? r : segment_map_recs(s, 0, room.n, err);
}

uint64_t log_tail(const struct log *lg)
{
    return lg->current->tail.bytes;
}

char *log_room(struct log *lg, uint64_t n_bytes)
{
    const struct segment *s = lg->current;

    return s->own_lines && n_bytes <= s->room.bytes - s->tail.bytes ? s->own_lines + s->tail.bytes
                                                                    : NULL;
}

#define READY_BYTES ((uintptr_t)2 << 20) /* a huge page */

/* One of those who find less than half of one left makes the next one ready. What stays small asks for nothing. True for
 * who did. */
static inline bool make_ready(char *base, size_t used, size_t room, _Atomic size_t *ready)
{
    size_t had = atomic_load_explicit(ready, memory_order_relaxed), from = MAX(had, used);

    if (LIKELY(used < READY_BYTES / 2 || used + READY_BYTES / 2 <= had || from >= room))
        return false;
    uintptr_t at = (uintptr_t)base, end = (at + from + READY_BYTES * 3 / 2) & ~(READY_BYTES - 1);
    size_t to = MIN(room, end - at);
    if (!atomic_compare_exchange_strong(ready, &had, to))
        return false;
    io_populate(base + from, to - from);
    return true;
}

void log_make_ready(const struct log *lg)
{
    struct segment *s = lg->s[log_count(lg) - 1];
    const struct segment_mark end = segment_visible(s);
    const size_t rec = sizeof(struct log_rec);

    if (end.bytes < READY_BYTES / 2 || !s->own_lines) /* const once anything is visible */
        return;
    if (make_ready(s->own_lines, end.bytes, s->room.bytes, &s->lines_ready)) /* far longer */
        (void)make_ready(s->own_recs, end.n * rec, s->room.n * rec, &s->recs_ready);
}

int log_append(struct log *lg, const char *lines, size_t n_bytes, struct log_rec *recs,
               uint32_t n_lines, struct evs_error *err)
{
    bool broken = false;

    HOT(log);
    assert(n_lines > 0 && n_bytes > 0 && lines[n_bytes - 1] == '\n');
    if (log_read_only(lg))
        return evs_fail(err, EVS_READ_ONLY, EVS_NOWHERE);
    struct evs_error why;
    int r = segment_append(lg->current, lines, n_bytes, recs, n_lines, &broken, &why);
    if (broken)
        log_set_read_only(lg, &why);
    return r < 0 ? evs_fail_as(err, &why) : 0;
}

int log_cut(struct log *lg, struct evs_error *err)
{
    struct segment_mark to = segment_visible(lg->current);

    if (to.n == lg->current->tail.n)
        return 0;
    struct evs_error why;
    int r = segment_cut(lg->current, to, &why);
    if (r < 0) { /* what is not published stands in the file */
        log_set_read_only(lg, &why);
        return evs_fail_as(err, &why);
    }
    return 0;
}

void log_publish(struct log *lg)
{
    segment_show(lg->current);
}

int log_fix_recs(struct log *lg, evs_seq seq, struct log_rec *recs, size_t n, struct evs_error *err)
{
    struct segment *s = find_segment(lg, seq, false);

    assert(seq - s->first + n <= s->tail.n);
    for (size_t i = 0; i < n; i++)
        recs[i].check = log_rec_check(&recs[i], seq + i);
    if (lg->fixing != s) {
        int r = log_fix_done(lg, err);
        if (r < 0)
            return r;
        lg->fixing = s;
    }
    return segment_fix(s, seq - s->first, recs, n, err);
}

/* ---- any thread, no lock ---- */

evs_seq log_end(const struct log *lg)
{
    size_t n = log_count(lg);

    return n > 0 ? lg->s[n - 1]->first + segment_visible(lg->s[n - 1]).n - 1 : 0;
}

evs_seq log_durable(const struct log *lg)
{
    return lg->dirfd < 0 ? log_end(lg) : atomic_load_explicit(&lg->durable, memory_order_acquire);
}

uint64_t log_bytes(const struct log *lg)
{
    const struct segment *s = lg->s[log_count(lg) - 1];

    return s->before + segment_visible(s).bytes;
}

bool log_read_only(const struct log *lg)
{
    return atomic_load_explicit(&lg->read_only, memory_order_acquire);
}

void log_set_read_only(struct log *lg, const struct evs_error *why)
{
    (void)pthread_mutex_lock(&lg->trouble_lock);
    if (lg->trouble.why == EVS_OK_)
        lg->trouble = *why;
    (void)pthread_mutex_unlock(&lg->trouble_lock);
    /* Release: who sees it sees why. Pairs with log_read_only(). */
    atomic_store_explicit(&lg->read_only, true, memory_order_release);
}

bool log_trouble(struct log *lg, struct evs_error *ret)
{
    (void)pthread_mutex_lock(&lg->trouble_lock);
    bool any = lg->trouble.why != EVS_OK_;
    if (any)
        *ret = lg->trouble;
    (void)pthread_mutex_unlock(&lg->trouble_lock);
    return any;
}

evs_seq log_recs_end(const struct log *lg)
{
    return lg->recs_end;
}

evs_seq log_cut_kept(const struct log *lg)
{
    return lg->cut_kept;
}

evs_seq log_sealed_end(const struct log *lg)
{
    size_t n = atomic_load_explicit(&lg->sealed, memory_order_acquire);

    return n > 0 ? lg->s[n - 1]->first + segment_visible(lg->s[n - 1]).n - 1 : 0;
}

uint64_t log_segments(const struct log *lg)
{
    return log_count(lg);
}

const struct log_rec *log_rec(const struct log *lg, evs_seq seq)
{
    const struct segment *s = find_segment(lg, seq, false);

    assert(seq - s->first < segment_visible(s).n);
    return &s->recs[seq - s->first];
}

static void span_of(struct segment *s, struct segment_mark end, struct log_span *ret)
{
    *ret = (struct log_span){
        .first = s->first,
        .end = s->first + end.n,
        .recs = s->recs,
        .lines = s->lines,
        .bytes = end.bytes,
        .before = s->before,
        .segment = s,
    };
}

int log_span(const struct log *lg, evs_seq seq, struct log_span *ret)
{
    struct segment *s = find_segment(lg, seq, false);
    struct segment_mark end = segment_visible(s);

    if (seq - s->first >= end.n) /* seq 0 as well */
        return -ENOENT;
    span_of(s, end, ret);
    return 0;
}

bool log_sealed(const struct log *lg, evs_seq seq)
{
    return find_segment(lg, seq, false)->sealed;
}

int log_span_at(const struct log *lg, uint64_t pos, struct log_span *ret)
{
    struct segment *s = find_segment(lg, pos, true);
    struct segment_mark end = segment_visible(s);

    if (pos - s->before >= end.bytes)
        return -ENOENT;
    span_of(s, end, ret);
    return 0;
}

void log_segment_name(const struct log *lg, evs_seq seq, char *buf, size_t n)
{
    (void)snprintf(buf, n, "log/%020" PRIu64 ".jsonl", find_segment(lg, seq, false)->first);
}
