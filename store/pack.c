/* SPDX-License-Identifier: MIT */
/* pack: compresses a sealed segment, FIRST.jsonl, to FIRST.jsonl.zst (docs/format.md, "Compressed segments").
 *
 * A crash between any two steps loses nothing:
 *  a. FIRST.zst.tmp is written and synced. It is nothing yet: the next open removes it.
 *  b. It is read back, from the disk as far as the system lets us, and compared with the lines.
 *  c. It is renamed, the directory is synced. From now on it is the segment for whoever opens the log; a plain
 *     file beside it is what step e has not done.
 *  d. Readers go over: where nobody has a pin, the place of the frames is moved over the mapping of the file.
 *  e. The plain file is removed, the directory is synced.
 * The packer does a to c, and e; whoever calls log_pack_switch() does d. A segment's form says which was done
 * last; only these two change it, each its own step. d is a thread's that runs at once when it is woken, so that
 * a reader never waits for one of idle priority. */
#include "log_state.h"

#include "io.h"

#include <errno.h>
#include <fcntl.h>

static enum segment_form form_of(const struct segment *s)
{
    return atomic_load_explicit(&s->form, memory_order_acquire);
}

bool log_pack_due(const struct log *lg)
{
    if (lg->dirfd < 0 || log_read_only(lg))
        return false;
    return atomic_load_explicit(&lg->packed, memory_order_relaxed) <
               atomic_load_explicit(&lg->sealed, memory_order_relaxed) ||
           atomic_load_explicit(&lg->left, memory_order_relaxed) > 0;
}

/* Steps a and b. */
static int write_tmp(struct log *lg, const char *tmp, const struct frames_job *j,
                     struct evs_error *err)
{
    struct frames *f = NULL;
    uint64_t free_bytes;
    int r = io_space(lg->dirfd, &free_bytes);

    if (r == 0 && free_bytes < j->n) /* appends need it more */
        r = -ENOSPC;
    if (r < 0)
        return segment_fail_name(tmp, r, err);
    int fd AUTO_CLOSE = io_open(lg->dirfd, tmp, O_RDWR | O_CREAT | O_TRUNC, 0600);
    if (fd < 0)
        return segment_fail_name(tmp, fd, err);
    if ((r = frames_write(j, fd, err)) < 0)
        return r;
    (void)io_forget(fd); /* else what is compared was perhaps never on disk: as good as it gets */
    if ((r = frames_open(lg->dirfd, tmp, lg->frames, &f, err)) == 0)
        r = frames_compare(f, j, err);
    frames_close(f);
    return r;
}

/* By a descriptor of its own: each is told of an error once, and the log's must not miss it (logsync.c). */
static int sync_names(const struct log *lg)
{
    int fd AUTO_CLOSE = io_open(lg->dirfd, ".", O_RDONLY | O_DIRECTORY, 0);

    return fd < 0 ? fd : io_sync(fd);
}

/* Step c, and what readers will need. */
static int put_in_place(struct log *lg, struct segment *s, const char *tmp, struct evs_error *err)
{
    char name[SEGMENT_NAME_BYTES];

    segment_name(s->first, ".jsonl.zst", name);
    int r = io_rename(lg->dirfd, tmp, name);
    if (r == 0)
        r = sync_names(lg);
    if (r < 0)
        return segment_fail_name(name, r, err);
    if ((r = io_map_reserved(s->room.bytes, &s->place)) < 0)
        return segment_fail_name(name, r, err);
    if ((r = frames_open(lg->dirfd, name, lg->frames, &s->frames, err)) < 0)
        return r;
    frames_place(s->frames, (char *)(uintptr_t)s->lines);
    s->plain_left = true;
    atomic_fetch_add_explicit(&lg->left, 1, memory_order_relaxed);
    atomic_fetch_add_explicit(&lg->ready, 1, memory_order_relaxed);
    /* Release: pairs with form_of(). */
    atomic_store_explicit(&s->form, SEGMENT_READY, memory_order_release);
    return 0;
}

static int pack_segment(struct log *lg, struct segment *s, int level, const _Atomic bool *stop,
                        struct evs_error *err)
{
    const struct frames_job j = {s->lines, segment_visible(s).bytes, level, stop};
    char tmp[SEGMENT_NAME_BYTES];

    segment_name(s->first, ".zst.tmp", tmp);
    int r = write_tmp(lg, tmp, &j, err);
    if (r < 0) {
        (void)io_unlink(lg->dirfd, tmp); /* else the next open does */
        return r;
    }
    return put_in_place(lg, s, tmp, err);
}

/* Step e. */
static int remove_plain(struct log *lg, struct segment *s, struct evs_error *err)
{
    char name[SEGMENT_NAME_BYTES];

    segment_name(s->first, ".jsonl", name);
    int r = io_unlink(lg->dirfd, name);
    if (r == 0 || r == -ENOENT)
        r = sync_names(lg);
    s->plain_left = false; /* whatever came of it: the next open does it */
    atomic_fetch_sub_explicit(&lg->left, 1, memory_order_relaxed);
    return r < 0 ? segment_fail_name(name, r, err) : 1;
}

int log_pack(struct log *lg, int level, const _Atomic bool *stop, struct evs_error *err)
{
    size_t n = atomic_load_explicit(&lg->sealed, memory_order_acquire);
    struct segment *next = NULL;

    if (lg->dirfd < 0 || log_read_only(lg))
        return 0;
    for (size_t i = 0; i < n; i++) {
        struct segment *s = lg->s[i];
        enum segment_form form = form_of(s);
        if (form == SEGMENT_PACKED && s->plain_left)
            return remove_plain(lg, s, err);
        if (form == SEGMENT_PLAIN && !s->unpackable && !next)
            next = s;
    }
    if (!next)
        return 0;
    struct evs_error why;
    int r = segment_visible(next).n > 0 ? pack_segment(lg, next, level, stop, &why)
                                        : evs_fail(&why, EVS_NO_SUCH, EVS_NOWHERE);
    if (r < 0) {
        next->unpackable = why.why != EVS_DISK_FULL && r != -ECANCELED;
        atomic_fetch_add_explicit(&lg->packed, next->unpackable, memory_order_relaxed);
        return evs_fail_as(err, &why);
    }
    atomic_fetch_add_explicit(&lg->packed, 1, memory_order_relaxed);
    return 1;
}

/* Step d. */
static bool switch_segment(struct segment *s)
{
    uint32_t none = 0;

    /* Acquire: whoever had a pin has looked. Pairs with log_unpin(). */
    if (!atomic_compare_exchange_strong_explicit(&s->pins, &none, PINS_SWITCHING,
                                                 memory_order_acquire, memory_order_relaxed))
        return false;
    bool done = io_map_over(s->place, s->room.bytes, s->lines) == 0;
    if (done) {
        s->place = NULL;
        /* Release: who sees the form sees its frames. Pairs with log_pin(). */
        atomic_store_explicit(&s->form, SEGMENT_PACKED, memory_order_release);
    }
    (void)atomic_fetch_and_explicit(&s->pins, ~PINS_SWITCHING, memory_order_release);
    return done;
}

void log_pack_switch(struct log *lg)
{
    size_t n = atomic_load_explicit(&lg->sealed, memory_order_acquire);

    if (atomic_load_explicit(&lg->ready, memory_order_relaxed) == 0)
        return;
    for (size_t i = 0; i < n; i++)
        if (form_of(lg->s[i]) == SEGMENT_READY && switch_segment(lg->s[i]))
            atomic_fetch_sub_explicit(&lg->ready, 1, memory_order_relaxed);
}

void log_pack_stats(const struct log *lg, struct log_packed *ret)
{
    size_t n = log_count(lg);

    *ret = (struct log_packed){.memory = frame_cache_bytes(lg->frames)};
    for (size_t i = 0; i < n; i++) {
        const struct segment *s = lg->s[i];
        bool packed = form_of(s) != SEGMENT_PLAIN;
        ret->segments += packed;
        ret->disk_bytes += packed ? frames_packed(s->frames) : segment_visible(s).bytes;
    }
}
