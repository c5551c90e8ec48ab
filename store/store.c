/* SPDX-License-Identifier: MIT */
/* store: opening, closing, and what is said about a store as a whole.
 * Opening: lock, meta.db, log (which finds its own end), index (checkpoint and replay), owners. Each can be
 * half there: evs_close() and the failure path are one function that takes whatever exists. */
#include "chain.h"
#include "checkpoint.h"
#include "clock.h"
#include "io.h"
#include "keeper.h"
#include "limits.h"
#include "meta.h"
#include "packer.h"
#include "recover.h"
#include "schemas.h"
#include "store_owners.h"
#include "store_pins.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <sched.h>
#include <stdio.h>
#include <sys/random.h>
#include <sys/statvfs.h>

static int64_t real_clock(void *arg)
{
    (void)arg;
    return clock_now_us();
}

const char *evs_version(void)
{
    return EVFS_VERSION;
}

/* ---- opening ---- */

static int take_lock(struct evs_store *st, struct evs_error *err)
{
    char who[24];
    int r = hold_take(st->dirfd, st->options.read_only, &st->hold);

    if (r == -EWOULDBLOCK) {
        hold_who(&st->hold, who, sizeof who);
        return evs_fail_at(err, EVS_IN_USE, EVS_NOWHERE, "process %s has it", who);
    }
    return r < 0 ? evs_fail_errno(err, r, "lock") : 0;
}

/* A new store must be found again. Before log/ is made, so that one that is there needs no sync. */
static int sync_parent(struct evs_store *st, struct evs_error *err)
{
    AUTO_CLOSE int fd = io_open(st->dirfd, "..", O_RDONLY | O_DIRECTORY, 0);

    if (fd == -EACCES)
        return 0; /* then it was not made by us */
    int r = fd < 0 ? fd : io_sync(fd);
    return r < 0 ? evs_fail_errno(err, r, "..") : 0;
}

static int open_directory(struct evs_store *st, const char *dir, struct evs_error *err)
{
    bool make = !st->options.read_only && !st->options.must_exist;
    int r = make ? io_mkdir(AT_FDCWD, dir, 0700) : 0;

    if (r < 0 && r != -EEXIST)
        return evs_fail_errno(err, r, dir);
    st->dirfd = io_open(AT_FDCWD, dir, O_RDONLY | O_DIRECTORY, 0);
    if (st->dirfd < 0)
        return evs_fail_errno(err, st->dirfd, dir);
    int log = io_open(st->dirfd, "log", O_RDONLY | O_DIRECTORY, 0);
    if (log >= 0)
        (void)io_close(log);
    else if (log != -ENOENT)
        return evs_fail_errno(err, log, "log");
    else if (!make)
        return evs_fail_at(err, EVS_BAD_FORMAT, EVS_NOWHERE, "%s", dir);
    else if ((r = sync_parent(st, err)) < 0)
        return r;
    return take_lock(st, err);
}

/* 22 random bits that keep the ids of two stores apart; made once. */
static int load_key(struct evs_store *st, struct evs_error *err)
{
    int64_t key;
    int r = meta_get_int(st->meta, "id_key", &key, err);

    if (r == -ENOENT) {
        uint32_t random;
        st->key_made = true;
        if (getrandom(&random, sizeof random, 0) != sizeof random)
            random = (uint32_t)clock_now_us();
        key = random & 0x3fffff;
        r = st->options.read_only ? 0 : meta_set_int(st->meta, "id_key", key, err);
    }
    if (r == 0)
        st->id_key = (uint32_t)key & 0x3fffff;
    return r;
}

/* Events, and no meta.db: who owned what is not known any more. Said in health until somebody sets an owner. */
static int note_lost_meta(struct evs_store *st, struct evs_error *err)
{
    int64_t lost = 0;
    int r = meta_get_int(st->meta, META_LOST, &lost, err);

    if (st->key_made && log_end(st->lg) > 0) {
        lost = 1;
        r = st->options.read_only ? 0 : meta_set_int(st->meta, META_LOST, lost, err);
    }
    atomic_store_explicit(&st->meta_lost, lost != 0, memory_order_relaxed);
    return r == -ENOENT ? 0 : r;
}

static void set_defaults(struct evs_options *o)
{
    if (!o->state_bytes)
        o->state_bytes = DEFAULT_STATES_BYTES;
    if (!o->sync_interval_ms)
        o->sync_interval_ms = DEFAULT_SYNC_INTERVAL_MS;
    if (!o->segment_bytes)
        o->segment_bytes = DEFAULT_SEGMENT_BYTES;
    o->segment_bytes = MAX(MIN(o->segment_bytes, LIMIT_SEGMENT_BYTES_MAX), LIMIT_SEGMENT_BYTES_MIN);
    if (!o->compress)
        o->compress = DEFAULT_COMPRESS;
    if (!o->clock_us)
        o->clock_us = real_clock;
}

static int open_parts(struct evs_store *st, const char *dir, struct evs_error *err) UNANALYSED;
static int open_parts(struct evs_store *st, const char *dir, struct evs_error *err)
{
    bool memory = strcmp(dir, ":memory:") == 0;
    evs_seq from;
    int r;

    if ((r = owners_init(&st->owners, err)) < 0 || (r = pins_init(&st->pins, err)) < 0 ||
        (!memory && (r = open_directory(st, dir, err)) < 0))
        return r;
    if ((r = meta_open(memory ? NULL : dir, st->options.read_only, &st->meta, err)) < 0 ||
        (r = meta_check(st->meta, err)) < 0 || (r = load_key(st, err)) < 0 ||
        (r = reject_open(st->dirfd, st->options.read_only, &st->rejects, err)) < 0)
        return r;
    const struct log_options lo = {.segment_bytes = st->options.segment_bytes,
                                   .memory = memory,
                                   .read_only = st->options.read_only};
    if ((r = log_open(st->dirfd, &lo, &st->lg, err)) < 0 ||
        (r = recover_index(st->dirfd, st->options.read_only, st->lg, &st->ix, &from,
                           &st->recorded_us, err)) < 0 ||
        (r = note_lost_meta(st, err)) < 0 || (r = owners_load(st, err)) < 0 ||
        (r = pins_load(st, err)) < 0 ||
        (!memory && (r = chain_open(st->dirfd, st->lg, &st->chain, err)) < 0))
        return r;
    st->checkpoint_seq = from;
    st->checkpoint_bytes = from ? log_bytes(st->lg) : 0;
    if ((r = schemas_start(st, err)) < 0 || (r = packer_start(st, err)) < 0)
        return r;
    return keeper_start(st, err);
}

static void free_parts(struct evs_store *st)
{
    chain_close(st->chain);
    meta_close(st->meta);
    reject_close(st->rejects);
    index_free(st->ix);
    owners_done(&st->owners);
    pins_done(&st->pins);
    pending_done(&st->pending);
    states_done(&st->states);
    shares_done(&st->types_made);
    while (st->pool) {
        struct batch *b = st->pool;
        st->pool = b->next;
        batch_free(b);
    }
    hold_drop(&st->hold);
    if (st->dirfd >= 0)
        (void)io_close(st->dirfd);
    free(st);
}

int evs_open(const char *dir, const struct evs_options *options, struct evs_store **ret_st,
             struct evs_error *err)
{
    struct evs_store *st = calloc(1, sizeof *st);
    int r;

    if (!st)
        return evs_fail(err, EVS_NO_MEMORY, EVS_NOWHERE);
    st->options = options ? *options : (struct evs_options){0};
    set_defaults(&st->options);
    st->dirfd = -1;
    st->hold = HOLD_NONE;
    cpu_set_t cpus;
    st->one_cpu = sched_getaffinity(0, sizeof cpus, &cpus) == 0 && CPU_COUNT(&cpus) == 1;
    st->commit = st->owner_lock = st->pool_lock = st->checkpoint_lock = st->report_lock =
        (pthread_mutex_t)PTHREAD_MUTEX_INITIALIZER;
    st->opened_us = clock_now_us();
    pending_init(&st->pending);
    states_init(&st->states, st->options.state_bytes == UINT64_MAX ? 0 : st->options.state_bytes);
    r = open_parts(st, dir, err);
    if (r < 0) {
        keeper_stop(st);
        packer_stop(st);
        schemas_stop(st);
        log_abandon(st->lg);
        free_parts(st);
        return r;
    }
    *ret_st = st;
    return 0;
}

/* ---- closing ---- */

/* The last checkpoint: nobody else is there any more, so no child is needed. */
static int final_checkpoint(struct evs_store *st, struct evs_error *err)
{
    evs_seq end = log_end(st->lg);
    struct checkpoint_mark m;
    uint64_t bytes;
    int r;

    if (st->dirfd < 0 || st->options.read_only || log_read_only(st->lg) ||
        end == st->checkpoint_seq)
        return 0;
    if ((r = log_sync(st->lg, end, err)) < 0 || (r = log_sync_idx(st->lg, err)) < 0)
        return r;
    r = checkpoint_mark_at(st->lg, end, &m, err);
    if (r < 0)
        return r;
    r = checkpoint_write(st->dirfd, st->ix, &m, &bytes);
    if (r < 0) {
        (void)io_unlink(st->dirfd, CHECKPOINT_TMP); /* on a full disk others need its room */
        return evs_fail_errno(err, r, CHECKPOINT_TMP);
    }
    return checkpoint_adopt(st->dirfd, err);
}

int evs_close(struct evs_store *st, struct evs_error *err)
{
    if (!st)
        return 0;
    keeper_stop(st);
    packer_stop(st);
    schemas_stop(st);
    int r = final_checkpoint(st, err), e;
    if (log_read_only(st->lg) && !st->options.read_only) {
        log_give_up(st->lg); /* after an I/O error nothing may claim a clean end */
        e = 0;
    } else {
        e = log_close(st->lg, r < 0 ? NULL : err);
    }
    free_parts(st);
    return r < 0 ? r : e;
}

/* ---- the whole ---- */

evs_seq evs_end(const struct evs_store *st)
{
    return log_end(st->lg);
}

evs_seq evs_durable(const struct evs_store *st)
{
    return log_durable(st->lg);
}

int evs_sync(struct evs_store *st, evs_seq seq, struct evs_error *err)
{
    return log_sync(st->lg, MIN(seq, log_end(st->lg)), err);
}

bool evs_sync_join(struct evs_store *st, evs_seq seq)
{
    return log_sync_join(st->lg, seq);
}

int evs_checkpoint(struct evs_store *st, struct evs_error *err)
{
    return keeper_checkpoint(st, err);
}

void evs_stats(struct evs_store *st, struct evs_stats *ret)
{
    evs_seq end = log_end(st->lg);
    int64_t behind = atomic_load_explicit(&st->behind_us, memory_order_relaxed);
    struct log_packed packed;

    log_pack_stats(st->lg, &packed);
    *ret = (struct evs_stats){
        .events = end,
        .entities = atomic_load_explicit(&st->ix->n_entities, memory_order_relaxed),
        .types = index_type_count(st->ix),
        .bytes = log_bytes(st->lg),
        .segments = log_segments(st->lg),
        .compressed = packed.segments,
        .disk_bytes = packed.disk_bytes,
        .unpacked_bytes = packed.memory,
        .state_bytes = states_bytes(&st->states),
        .schema_bytes = schemas_memory(st),
        .durable = log_durable(st->lg),
        .appended = atomic_load_explicit(&st->appended, memory_order_relaxed),
        .repeated = atomic_load_explicit(&st->repeated, memory_order_relaxed),
        .rejected = reject_count(st->rejects),
        .transactions = atomic_load_explicit(&st->transactions, memory_order_relaxed),
        .syncs = log_sync_count(st->lg),
        .batches = atomic_load_explicit(&st->batches, memory_order_relaxed),
        .pending_bytes = pending_total(&st->pending),
        .writers = atomic_load_explicit(&st->writers, memory_order_relaxed),
        .pins = pins_number(&st->pins),
        .schema_refused = atomic_load_explicit(&st->pins.refused, memory_order_relaxed),
        .schema_warned = atomic_load_explicit(&st->pins.warned, memory_order_relaxed),
        .opened_us = st->opened_us,
        .clock_behind_us = behind,
        .read_only = log_read_only(st->lg) || st->options.read_only};
    ingest_lock(st);
    ret->newest_us = st->recorded_us; /* not from the idx: it is mapped, and may not be there */
    index_memory(st->ix, &ret->index_bytes, &ret->names_bytes, &ret->id_bytes);
    ingest_unlock(st);
    if (st->chain)
        (void)chain_newest(st->chain, &ret->chained, ret->sha256);
}

int evs_health(struct evs_store *st, char *buf, size_t n)
{
    int64_t behind = atomic_load_explicit(&st->behind_us, memory_order_relaxed);
    size_t used = 0;
    char why[320] = "";
    struct evs_error trouble;

    if (log_trouble(st->lg, &trouble))
        (void)evs_error_format(&trouble, why, sizeof why);
    if (log_read_only(st->lg) && !st->options.read_only)
        used += (size_t)snprintf(buf, n, "read-only until it is opened again: %s\n", why);
    if (behind > 1000000 && used < n)
        used += (size_t)snprintf(buf + used, n - used,
                                 "the clock is %" PRId64 " s behind the newest event: "
                                 "recorded repeats\n",
                                 behind / 1000000);
    if (log_cut_kept(st->lg) && used < n)
        used += (size_t)snprintf(buf + used, n - used,
                                 "log/%020" PRIu64
                                 ".cut keeps lines that did not follow the log's end when "
                                 "it was opened after a crash; see evfs(5), and remove it\n",
                                 log_cut_kept(st->lg));
    if (atomic_load_explicit(&st->meta_lost, memory_order_relaxed) && used < n)
        used += (size_t)snprintf(buf + used, n - used,
                                 "meta.db was lost: directories have no owners and modes of their "
                                 "own any more, and no schema is pinned; set them again (chmod, "
                                 "chown, pinned.json)\n");
    uint32_t broken = pins_broken(&st->pins);
    if (broken && used < n)
        used += (size_t)snprintf(buf + used, n - used,
                                 "%" PRIu32 " pinned schemas can't be compiled by this program: "
                                 "nothing that they are for is taken until they are replaced\n",
                                 broken);
    if (st->chain && chain_trouble(st->chain, why, sizeof why) && used < n)
        used += (size_t)snprintf(buf + used, n - used, "%s: run 'evfs verify'\n", why);
    evs_seq mended_first;
    uint64_t mended = log_mended(st->lg, &mended_first);
    if (mended && used < n)
        used += (size_t)snprintf(buf + used, n - used,
                                 "the idx record of event %" PRIu64 "%s wrong (%" PRIu64
                                 " in all), and put right from the log\n",
                                 mended_first, mended > 1 ? " and others were" : " was", mended);
    if (schemas_trouble(st, why, sizeof why) && used < n)
        used += (size_t)snprintf(buf + used, n - used, "%s\n", why);
    bool well = used == 0;
    if (well)
        (void)snprintf(buf, n, "ok\n");
    return !well;
}

int evs_space(struct evs_store *st, uint64_t *ret_total, uint64_t *ret_free, struct evs_error *err)
{
    struct statvfs v;

    if (st->dirfd < 0) {
        long pages = sysconf(_SC_PHYS_PAGES), avail = sysconf(_SC_AVPHYS_PAGES),
             size = sysconf(_SC_PAGESIZE);
        *ret_total = (uint64_t)pages * (uint64_t)size;
        *ret_free = (uint64_t)avail * (uint64_t)size;
        return 0;
    }
    if (fstatvfs(st->dirfd, &v) < 0)
        return evs_fail_errno(err, -errno, "statvfs");
    *ret_total = v.f_blocks * v.f_frsize;
    *ret_free = v.f_bavail * v.f_frsize;
    return 0;
}

int evs_rejected(struct evs_store *st, bool all, uid_t uid, char **ret, size_t *ret_n,
                 struct evs_error *err)
{
    return reject_text(st->rejects, all, uid, ret, ret_n, err);
}
