/* SPDX-License-Identifier: MIT */
/* frames: plain bytes that are there while somebody looks at them.
 *
 * A file has a reserved place in memory as large as its plain bytes. A frame is decompressed into its part of it
 * when it is first pinned, and given back to the system by whoever needs room for another one.
 * (1) A frame's word is its state: pins, whether it is there, whether somebody is loading it, whether it was
 *     pinned again since it was loaded, or since the hand of the clock came by (so whoever reads everything once
 *     makes nothing go that others use). Only the lock's holder makes it loading, there, or gone; anybody adds
 *     pins to one that is there, and takes away his own. One with pins never goes.
 * (2) In the ring are exactly the frames that are there; `bytes` are theirs, and of those being loaded.
 * (3) Nothing of a file is believed: sizes are bounded when the table is read, zstd checks each frame against its
 *     checksum, and a frame that gives other than its size is damaged.
 * (4) The file is read by copying out of its mapping, guarded; zstd works on the copy, so that a disk that fails,
 *     or a file that changes, does no more than fail.
 * The lock is held for the list's sake only, never while decompressing, and nothing mapped from a file is
 * touched under it. */
#include "frames.h"

#include "io.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <zstd.h>

#define FRAME_BYTES_MAX ((uint64_t)1 << 20) /* of a file that somebody else has made */
#define NAME_BYTES      48

#define PINS    0x00ffffffu
#define THERE   0x80000000u
#define USED    0x40000000u
#define LOADING 0x20000000u

struct frame {
    uint64_t
        at; /* byte of the file where it begins; of the one behind the last: where the table does */
    _Atomic uint32_t state;
};

struct frames {
    struct frame_cache *cache;
    const char *map; /* the file, mapped */
    uint64_t packed, plain;
    uint64_t frame_bytes; /* plain bytes of each but the last */
    uint64_t n;
    char *place;
    char name[NAME_BYTES];
    struct frame frame[]; /* n + 1 */
};

struct slot {
    struct frames *f;
    uint64_t i;
};

/* What a thread needs to decompress. */
struct decoder {
    struct decoder *next;
    ZSTD_DCtx *zstd;
    char *buf; /* of cap bytes */
    size_t cap;
};

struct frame_cache {
    pthread_mutex_t lock;
    pthread_cond_t loaded;
    uint64_t limit;         /* const; the rest is under lock */
    _Atomic uint64_t bytes; /* (2); stored under lock, loaded by anyone */
    uint64_t loads;
    struct slot *ring;        /* owned; n of cap are in use */
    size_t n, cap, hand;      /* hand: where the next victim is looked for */
    struct decoder *decoders; /* idle ones; as many as ever decompressed at once */
};

/* ---- the cache ---- */

int frame_cache_new(uint64_t limit, struct frame_cache **ret, struct evs_error *err)
{
    struct frame_cache *c = calloc(1, sizeof *c);

    if (!c)
        return evs_fail(err, EVS_NO_MEMORY, EVS_NOWHERE);
    c->limit = limit;
    (void)pthread_mutex_init(&c->lock, NULL); /* without attributes neither can fail */
    (void)pthread_cond_init(&c->loaded, NULL);
    *ret = c;
    return 0;
}

static void decoder_free(struct decoder *d)
{
    if (!d)
        return;
    (void)ZSTD_freeDCtx(d->zstd); /* can't fail */
    free(d->buf);
    free(d);
}

void frame_cache_free(struct frame_cache *c)
{
    if (!c)
        return;
    while (c->decoders) {
        struct decoder *d = c->decoders;
        c->decoders = d->next;
        decoder_free(d);
    }
    free(c->ring);
    (void)pthread_cond_destroy(&c->loaded);
    (void)pthread_mutex_destroy(&c->lock);
    free(c);
}

uint64_t frame_cache_bytes(struct frame_cache *c)
{
    return atomic_load_explicit(&c->bytes, memory_order_relaxed);
}

uint64_t frame_cache_loads(struct frame_cache *c)
{
    (void)pthread_mutex_lock(&c->lock);
    uint64_t n = c->loads;
    (void)pthread_mutex_unlock(&c->lock);
    return n;
}

static uint64_t plain_of(const struct frames *f, uint64_t i)
{
    return MIN(f->plain - i * f->frame_bytes, f->frame_bytes);
}

static void drop_frame(const struct frames *f, uint64_t i)
{
    /* A place that can't be given back is only memory. */
    (void)io_unbacked(f->place + i * f->frame_bytes, plain_of(f, i));
}

/* Under lock. */
static void add_bytes(struct frame_cache *c, uint64_t n)
{
    atomic_fetch_add_explicit(&c->bytes, n, memory_order_relaxed);
}

/* The newest takes its place in the ring: just behind the hand, if that stays where it is. */
static void ring_remove(struct frame_cache *c, size_t at)
{
    add_bytes(c, -plain_of(c->ring[at].f, c->ring[at].i));
    c->ring[at] = c->ring[--c->n];
}

/* Under lock: give back one that nobody has used for a round of the hand. False: all are pinned. */
static bool evict_one(struct frame_cache *c)
{
    for (size_t steps = 2 * c->n + 1; c->n > 0 && steps > 0; steps--) {
        if (c->hand >= c->n)
            c->hand = 0;
        struct slot s = c->ring[c->hand];
        _Atomic uint32_t *state = &s.f->frame[s.i].state;
        uint32_t is = atomic_load_explicit(state, memory_order_relaxed);
        if (is == THERE && atomic_compare_exchange_strong_explicit(
                               state, &is, 0, memory_order_acquire, memory_order_relaxed)) {
            /* Acquire: whoever had it pinned has looked. Pairs with frames_unpin(). */
            drop_frame(s.f, s.i);
            ring_remove(c, c->hand++);
            return true;
        }
        (void)atomic_fetch_and_explicit(state, ~USED, memory_order_relaxed);
        c->hand++;
    }
    return false;
}

/* Under lock. Room for n more bytes, and for a slot. */
static int make_room(struct frame_cache *c, uint64_t n)
{
    while (frame_cache_bytes(c) + n > c->limit && evict_one(c))
        ;
    if (c->n < c->cap)
        return 0;
    size_t cap = c->cap ? 2 * c->cap : 64;
    struct slot *ring = reallocarray(c->ring, cap, sizeof *ring);
    if (!ring)
        return -ENOMEM;
    c->ring = ring;
    c->cap = cap;
    return 0;
}

/* ---- decompressing ---- */

static struct decoder *decoder_new(void)
{
    struct decoder *d = calloc(1, sizeof *d);

    if (d && !(d->zstd = ZSTD_createDCtx())) {
        free(d);
        return NULL;
    }
    return d;
}

static int fail_frame(const struct frames *f, uint64_t i, struct evs_error *err)
{
    return evs_fail_at(err, EVS_DAMAGED, f->frame[i].at, "log/%s", f->name);
}

/* Frame i into out. (3), (4) */
static int decode(const struct frames *f, uint64_t i, struct decoder *d, char *out,
                  struct evs_error *err)
{
    size_t n = (size_t)(f->frame[i + 1].at - f->frame[i].at), plain = (size_t)plain_of(f, i);

    if (d->cap < n) {
        char *p = realloc(d->buf, n);
        if (!p)
            return evs_fail(err, EVS_NO_MEMORY, EVS_NOWHERE);
        d->buf = p;
        d->cap = n;
    }
    int r = io_copy(d->buf, f->map + f->frame[i].at, n);
    if (r < 0) {
        (void)evs_fail_at(err, EVS_SYSTEM, f->frame[i].at, "log/%s", f->name);
        return r;
    }
    size_t got = ZSTD_decompressDCtx(d->zstd, out, plain, d->buf, n);
    return ZSTD_isError(got) || got != plain ? fail_frame(f, i, err) : 0;
}

static struct decoder *take_decoder(struct frame_cache *c)
{
    struct decoder *d = c->decoders;

    if (d)
        c->decoders = d->next;
    return d;
}

/* Under lock, which is dropped meanwhile: load frame i, which is loading by now. */
static int load_frame(struct frames *f, uint64_t i, struct evs_error *err)
{
    struct frame_cache *c = f->cache;
    struct decoder *d = take_decoder(c);
    uint64_t n = plain_of(f, i);

    add_bytes(c, n);
    (void)pthread_mutex_unlock(&c->lock);
    if (!d)
        d = decoder_new();
    int r = d ? decode(f, i, d, f->place + i * f->frame_bytes, err)
              : evs_fail(err, EVS_NO_MEMORY, EVS_NOWHERE);
    if (r < 0)
        drop_frame(f, i);
    (void)pthread_mutex_lock(&c->lock);
    if (d) {
        d->next = c->decoders;
        c->decoders = d;
    }
    /* Others may have taken the slot that there was. */
    if (r == 0 && c->n == c->cap && make_room(c, 0) < 0) {
        drop_frame(f, i);
        r = evs_fail(err, EVS_NO_MEMORY, EVS_NOWHERE);
    }
    if (r < 0) {
        add_bytes(c, -n);
        return r;
    }
    c->ring[c->n++] = (struct slot){f, i};
    c->loads++;
    return 0;
}

static bool pin_there(struct frames *f, uint64_t i)
{
    _Atomic uint32_t *state = &f->frame[i].state;
    uint32_t is = atomic_load_explicit(state, memory_order_relaxed);

    while (is & THERE) {
        assert((is & PINS) < PINS);
        /* Acquire: the bytes are there. Pairs with pin_slow(). */
        if (atomic_compare_exchange_weak_explicit(state, &is, (is + 1) | USED, memory_order_acquire,
                                                  memory_order_relaxed))
            return true;
    }
    return false;
}

static int pin_slow(struct frames *f, uint64_t i, struct evs_error *err)
{
    struct frame_cache *c = f->cache;
    _Atomic uint32_t *state = &f->frame[i].state;
    int r = 0;

    (void)pthread_mutex_lock(&c->lock);
    while (!pin_there(f, i)) {
        if (atomic_load_explicit(state, memory_order_relaxed) & LOADING) {
            (void)pthread_cond_wait(&c->loaded, &c->lock);
            continue;
        }
        if ((r = make_room(c, plain_of(f, i))) < 0) {
            r = evs_fail(err, EVS_NO_MEMORY, EVS_NOWHERE);
            break;
        }
        atomic_store_explicit(state, LOADING, memory_order_relaxed);
        r = load_frame(f, i, err);
        /* Release: who pins it sees its bytes. */
        atomic_store_explicit(state, r == 0 ? THERE | 1 : 0, memory_order_release);
        (void)pthread_cond_broadcast(&c->loaded);
        break;
    }
    (void)pthread_mutex_unlock(&c->lock);
    return r;
}

static void unpin_frame(struct frames *f, uint64_t i)
{
    /* Release: all looking is done before it may go. */
    uint32_t was = atomic_fetch_sub_explicit(&f->frame[i].state, 1, memory_order_release);

    assert(was & THERE && was & PINS);
    (void)was;
}

int frames_pin(struct frames *f, uint64_t from, uint64_t to, struct evs_error *err)
{
    uint64_t first = from / f->frame_bytes, end = (to + f->frame_bytes - 1) / f->frame_bytes;

    assert(from <= to && to <= f->plain);
    for (uint64_t i = first; i < end; i++) {
        int r = pin_there(f, i) ? 0 : pin_slow(f, i, err);
        if (r < 0) {
            while (i > first)
                unpin_frame(f, --i);
            return r;
        }
    }
    return 0;
}

void frames_unpin(struct frames *f, uint64_t from, uint64_t to)
{
    for (uint64_t i = from / f->frame_bytes; i * f->frame_bytes < to; i++)
        unpin_frame(f, i);
    if (UNLIKELY(frame_cache_bytes(f->cache) > f->cache->limit)) { /* so much was pinned at once */
        (void)pthread_mutex_lock(&f->cache->lock);
        (void)make_room(f->cache, 0);
        (void)pthread_mutex_unlock(&f->cache->lock);
    }
}

void frames_round(const struct frames *f, uint64_t *from, uint64_t *to)
{
    uint64_t end = (*to + f->frame_bytes - 1) / f->frame_bytes * f->frame_bytes;

    *from -= *from % f->frame_bytes;
    *to = MIN(end, f->plain);
}

uint64_t frames_plain_end(const struct frames *f, uint64_t at)
{
    for (uint64_t i = 0; i < f->n; i++)
        if (f->frame[i].at == at)
            return i * f->frame_bytes + plain_of(f, i);
    return 0;
}

/* ---- a file ---- */

uint64_t frames_plain(const struct frames *f)
{
    return f->plain;
}

uint64_t frames_packed(const struct frames *f)
{
    return f->packed;
}

void frames_place(struct frames *f, char *at)
{
    f->place = at;
}

/* The end of a file, and the table in it. */
struct tail {
    int fd;
    const char *name;
    uint64_t size;
    uint64_t n;     /* frames */
    uint64_t table; /* where it begins, its header included */
    unsigned
        entry; /* bytes of one: sizes, and perhaps a checksum, which each frame has in itself */
};

static int fail_table(const struct tail *t, struct evs_error *err)
{
    return evs_fail_at(err, EVS_DAMAGED, t->table, "log/%s", t->name);
}

static int fail_read(const struct tail *t, int r, struct evs_error *err)
{
    char what[NAME_BYTES + 8];

    (void)snprintf(what, sizeof what, "log/%s", t->name);
    return evs_fail_errno(err, r, what);
}

static int read_footer(struct tail *t, struct evs_error *err)
{
    unsigned char foot[FRAMES_FOOTER_BYTES], head[FRAMES_SKIP_BYTES];
    struct stat st;
    int r = io_stat(t->fd, &st);

    if (r < 0)
        return fail_read(t, r, err);
    t->size = (uint64_t)st.st_size;
    t->table = t->size - MIN(t->size, FRAMES_FOOTER_BYTES);
    if (!S_ISREG(st.st_mode) || t->size < FRAMES_SKIP_BYTES + FRAMES_FOOTER_BYTES)
        return fail_table(t, err);
    ssize_t n = io_read_all(t->fd, foot, sizeof foot, t->size - sizeof foot);
    if (n < 0)
        return fail_read(t, (int)n, err);
    t->n = load32(foot);
    t->entry = foot[4] & 0x80 ? 12 : 8;
    uint64_t bytes = FRAMES_SKIP_BYTES + t->n * t->entry + FRAMES_FOOTER_BYTES;
    if (n < (ssize_t)sizeof foot || load32(foot + 5) != FRAMES_SEEK_MAGIC || (foot[4] & 0x7c) ||
        t->n == 0 || bytes > t->size)
        return fail_table(t, err);
    t->table = t->size - bytes;
    n = io_read_all(t->fd, head, sizeof head, t->table);
    if (n < 0)
        return fail_read(t, (int)n, err);
    if (n < (ssize_t)sizeof head || load32(head) != FRAMES_SKIP_MAGIC ||
        load32(head + 4) != bytes - FRAMES_SKIP_BYTES)
        return fail_table(t, err);
    return 0;
}

/* Frames of one size, in whole pages, but for the last; of no more bytes than compressing can make; side by side
 * up to the table. */
static int take_table(struct frames *f, const struct tail *t, const char *table,
                      struct evs_error *err)
{
    uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE), at = 0;

    f->frame_bytes = load32(table + 4);
    if (f->frame_bytes == 0 || f->frame_bytes > FRAME_BYTES_MAX)
        return fail_table(t, err);
    for (uint64_t i = 0; i < t->n; i++) {
        uint64_t packed = load32(table + i * t->entry), plain = load32(table + i * t->entry + 4);
        bool last = i + 1 == t->n;
        if (plain == 0 || plain > f->frame_bytes ||
            (!last && (plain < f->frame_bytes || plain % page)) || packed == 0 ||
            packed > ZSTD_compressBound(FRAME_BYTES_MAX))
            return fail_table(t, err);
        f->frame[i].at = at;
        at += packed;
        f->plain += plain;
    }
    f->frame[t->n].at = at;
    if (t->n == 1) /* a place in whole pages all the same */
        f->frame_bytes = (f->frame_bytes + page - 1) / page * page;
    return at == t->table ? 0 : fail_table(t, err);
}

static int read_table(struct frames *f, const struct tail *t, struct evs_error *err)
{
    size_t n = (size_t)t->n * t->entry;
    char *table AUTO_FREE = malloc(n);

    if (!table)
        return evs_fail(err, EVS_NO_MEMORY, EVS_NOWHERE);
    ssize_t got = io_read_all(t->fd, table, n, t->table + FRAMES_SKIP_BYTES);
    if (got < 0)
        return fail_read(t, (int)got, err);
    return (size_t)got < n ? fail_table(t, err) : take_table(f, t, table, err);
}

int frames_open(int dirfd, const char *name, struct frame_cache *c, struct frames **ret,
                struct evs_error *err)
{
    int fd AUTO_CLOSE = io_open(dirfd, name, O_RDONLY, 0);
    struct tail t = {.fd = fd, .name = name};

    if (fd < 0)
        return fail_read(&t, fd, err);
    int r = read_footer(&t, err);
    if (r < 0)
        return r;
    struct frames *f = calloc(1, sizeof *f + (size_t)(t.n + 1) * sizeof *f->frame);
    if (!f)
        return evs_fail(err, EVS_NO_MEMORY, EVS_NOWHERE);
    f->cache = c;
    f->packed = t.size;
    f->n = t.n;
    (void)snprintf(f->name, sizeof f->name, "%s", name);
    r = read_table(f, &t, err);
    if (r == 0 && (r = io_map(fd, t.size, &f->map)) < 0)
        (void)fail_read(&t, r, err);
    if (r < 0)
        frames_close(f);
    else
        *ret = f;
    return r;
}

void frames_close(struct frames *f)
{
    if (!f)
        return;
    (void)pthread_mutex_lock(&f->cache->lock);
    for (size_t i = f->cache->n; i-- > 0;)
        if (f->cache->ring[i].f == f)
            ring_remove(f->cache, i);
    (void)pthread_mutex_unlock(&f->cache->lock);
    if (f->map)
        (void)io_unmap(f->map, f->packed); /* no error but ours */
    free(f);
}

/* ---- comparing ---- */

struct same {
    const char *a, *b;
    size_t n;
};

static int same_job(void *arg)
{
    struct same *s = arg;

    return memcmp(s->a, s->b, s->n) == 0;
}

int frames_compare(struct frames *f, const struct frames_job *j, struct evs_error *err)
{
    struct decoder *d = decoder_new();
    char *out AUTO_FREE = malloc(f->frame_bytes);
    int r = 1;

    if (!d || !out)
        r = evs_fail(err, EVS_NO_MEMORY, EVS_NOWHERE);
    else if (j && f->plain != j->n)
        r = evs_fail_at(err, EVS_DAMAGED, f->packed, "log/%s", f->name);
    for (uint64_t i = 0; r > 0 && i < f->n; i++) {
        if (j && frames_stopped(j)) {
            r = evs_fail_errno(err, -ECANCELED, "compressing");
            break;
        }
        if ((r = decode(f, i, d, out, err)) < 0)
            break;
        const uint64_t at = i * f->frame_bytes;
        r = j ? io_guarded(same_job, &(struct same){out, j->plain + at, plain_of(f, i)}) : 1;
        if (r < 0)
            (void)evs_fail_errno(err, r, "reading lines to compare");
        else if (r == 0)
            r = fail_frame(f, i, err);
    }
    decoder_free(d);
    return MIN(r, 0);
}
