/* SPDX-License-Identifier: MIT */
/* The log while it is open: appending, rolling, reading, syncing; on disk and in memory; failing
 * calls. What an open makes of a log that was left behind is in test_resume.c, who waits for syncs in
 * test_logsync.c. */
#include "log_world.h"

#include "store/limits.h"

#include <errno.h>
#include <sys/mman.h>

static void append_read_reopen(void)
{
    struct world *w = world_new(1 << 20);
    struct log_span span;

    world_reopen(w);
    CHECK_EQ(log_end(w->lg), 0);
    CHECK_EQ(log_bytes(w->lg), 0);
    CHECK_EQ(log_segments(w->lg), 1);
    CHECK_EQ(log_span(w->lg, 0, &span), -ENOENT);
    CHECK_EQ(log_span(w->lg, 1, &span), -ENOENT);
    CHECK_EQ(log_span_at(w->lg, 0, &span), -ENOENT);
    world_add(w, 1, false);
    world_add(w, 9, false);
    world_add(w, 5, true);
    world_check(w, 15, false);
    CHECK_EQ(log_durable(w->lg), 0);
    CHECK_EQ(log_sync(w->lg, 3, NULL), 0);
    CHECK_EQ(log_durable(w->lg), 15); /* a sync takes all */
    CHECK_EQ(log_sync_count(w->lg), 1);
    CHECK_EQ(log_sync(w->lg, UINT64_MAX, NULL), 0); /* as much as there is: nothing more */
    CHECK_EQ(log_sync_count(w->lg), 1);
    world_close(w);
    world_reopen(w);
    CHECK_EQ(log_durable(w->lg), 15);
    world_check(w, 15, false); /* recs as well, unfixed */
    world_add(w, 3, false);
    world_check(w, 18, false);
    world_free(w);
}

static void nothing_is_visible_before_publish(void) UNANALYSED;
static void nothing_is_visible_before_publish(void)
{
    struct world *w = world_new(1 << 20);
    char line[WORLD_LINE_MAX];
    struct log_rec rec;
    struct log_span span;

    world_reopen(w);
    world_add(w, 2, false);
    uint64_t bytes = log_bytes(w->lg);
    size_t n = world_line(w, 3, line, &rec);
    for (int i = 0; i < 3; i++) { /* cut, cut, publish */
        CHECK_EQ(log_reserve(w->lg, n, 1, NULL), 0);
        CHECK_EQ(log_tail(w->lg), bytes);
        rec.place = log_place(log_tail(w->lg), log_rec_data(&rec));
        CHECK_EQ(log_append(w->lg, line, n, &rec, 1, NULL), 0);
        CHECK_EQ(log_end(w->lg), 2);
        CHECK_EQ(log_bytes(w->lg), bytes);
        CHECK_EQ(log_span(w->lg, 3, &span), -ENOENT);
        CHECK_EQ(log_span_at(w->lg, bytes, &span), -ENOENT);
        CHECK_EQ(world_size(w, 1, ".jsonl"), (int64_t)(bytes + n));
        if (i < 2) {
            CHECK_EQ(log_cut(w->lg, NULL), 0);
            CHECK_EQ(world_size(w, 1, ".jsonl"), (int64_t)bytes);
            CHECK_EQ(world_size(w, 1, ".idx"), 4096 + 2 * 32);
        }
    }
    log_publish(w->lg);
    world_check(w, 3, false);
    world_free(w);
}

/* Every span and every byte position, over many small segments. */
static void check_spans(const struct log *lg)
{
    struct log_span a, b;
    uint64_t before = 0, pos = 0;

    for (evs_seq seq = 1; seq <= log_end(lg); seq++) {
        CHECK_EQ(log_span(lg, seq, &a), 0);
        CHECK(a.first <= seq && seq < a.end);
        if (seq == a.first) {
            CHECK_EQ(a.before, before);
            before += a.bytes;
        }
        const struct log_rec *rec = &a.recs[seq - a.first];
        CHECK(rec == log_rec(lg, seq));
        CHECK_EQ(a.before + log_rec_offset(rec), pos);
        CHECK_EQ(log_span_at(lg, pos, &b), 0);
        CHECK_EQ(b.first, a.first);
        pos += rec->len;
        CHECK_EQ(log_span_at(lg, pos - 1, &b), 0);
        CHECK_EQ(b.first, a.first);
    }
    CHECK_EQ(before, log_bytes(lg));
    CHECK_EQ(log_span_at(lg, pos, &b), -ENOENT);
}

/* log_read() gives what the spans show, from any byte, over the borders of segments. */
static void check_read(const struct log *lg)
{
    uint64_t end = log_bytes(lg);
    char *all = malloc(end + 1), *part = malloc(end + 1);
    struct log_span span;

    CHECK_EQ(log_read(lg, 0, all, end + 1, NULL), end);
    for (uint64_t pos = 0; pos < end; pos = span.before + span.bytes) {
        CHECK_EQ(log_span_at(lg, pos, &span), 0);
        CHECK(memcmp(all + pos, span.lines, span.bytes) == 0);
    }
    for (uint64_t pos = 0; pos <= end; pos += 997) {
        size_t n = MIN((size_t)(end - pos), 70000u);
        CHECK_EQ(log_read(lg, pos, part, 70000, NULL), n);
        CHECK(n == 0 || memcmp(all + pos, part, n) == 0);
    }
    CHECK_EQ(log_read(lg, end + 1, part, 1, NULL), 0);
    free(all);
    free(part);
}

static void roll_with_small_segments(void)
{
    struct world *w = world_new(4096);
    char name[64];

    world_reopen(w);
    for (int i = 0; i < 100; i++)
        world_add(w, 1 + (uint32_t)i % 9, i % 3 == 0);
    evs_seq end = log_end(w->lg);
    CHECK(log_segments(w->lg) > 20);
    check_spans(w->lg);
    check_read(w->lg);
    world_check(w, end, false);
    log_segment_name(w->lg, 1, name, sizeof name);
    CHECK_STR(name, "log/00000000000000000001.jsonl");
    CHECK(log_durable(w->lg) > 0); /* a roll seals all but the last but one */
    CHECK(log_sync_count(w->lg) + 2 >= log_segments(w->lg));
    CHECK_EQ(log_sync(w->lg, end, NULL), 0);
    CHECK_EQ(log_durable(w->lg), end);
    world_close(w);
    world_reopen(w);
    world_check(w, end, false);
    check_spans(w->lg);

    /* A batch that no segment holds gets one of its own; so does the first of an empty log. */
    uint64_t segments = log_segments(w->lg);
    world_add(w, 100, true);
    CHECK_EQ(log_segments(w->lg), segments + 1);
    world_add(w, 1, false);
    CHECK_EQ(log_segments(w->lg), segments + 2);
    world_check(w, end + 101, false);
    world_close(w);
    world_reopen(w);
    world_check(w, end + 101, false);
    world_free(w);

    w = world_new(4096);
    world_reopen(w);
    world_add(w, 100, true);
    CHECK_EQ(log_segments(w->lg), 1);
    world_add(w, 1, false);
    CHECK_EQ(log_segments(w->lg), 2);
    world_close(w);
    world_reopen(w);
    world_check(w, 101, false);
    world_free(w);
}

/* A million bytes a line would be slow: an idx is full when recs are, however short the lines. */
static void roll_when_idx_is_full(void) UNANALYSED;
static void roll_when_idx_is_full(void)
{
    struct world *w = world_new(4096);
    uint32_t room = 4096 / 128 + LIMIT_TX_EVENTS;

    world_reopen(w);
    world_add(w, 1, false);
    CHECK_EQ(log_reserve(w->lg, 1, room - 1, NULL), 0);
    CHECK_EQ(log_segments(w->lg), 1);
    CHECK_EQ(log_reserve(w->lg, 1, room, NULL), 0);
    CHECK_EQ(log_segments(w->lg), 2);
    CHECK_EQ(log_reserve(w->lg, 1, room + 1, NULL), 0); /* the empty one grows */
    CHECK_EQ(log_segments(w->lg), 2);
    struct evs_error err;
    CHECK_FAIL(log_reserve(w->lg, (size_t)1 << 40, 1, &err), err, TOO_LARGE);
    world_add(w, 3, false);
    world_check(w, 4, false);
    world_free(w);
}

static void in_memory(void)
{
    struct world *w = world_new(4096);

    w->o.memory = true;
    CHECK_EQ(log_open(-1, &w->o, &w->lg, NULL), 0);
    world_add(w, 100, true); /* larger than the first one */
    for (int i = 0; i < 100; i++)
        world_add(w, 1 + (uint32_t)i % 9, false);
    CHECK(log_segments(w->lg) > 20);
    evs_seq end = log_end(w->lg);
    world_check(w, end, false);
    check_spans(w->lg);
    CHECK_EQ(log_durable(w->lg), end); /* as durable as it gets */
    CHECK_EQ(log_sync(w->lg, end, NULL), 0);
    CHECK_EQ(log_sync_count(w->lg), 0);
    CHECK_EQ(log_sync_idx(w->lg, NULL), 0);
    CHECK_EQ(world_size(w, 1, ".jsonl"), -1); /* no file */
    world_close(w);
    world_free(w);
}

/* Lines that were written to their place at once; cut, they leave no trace. */
static UNANALYSED void written_in_place(void)
{
    struct world *w = world_new(4096);
    char *room, line[WORLD_LINE_MAX];
    struct log_rec rec;

    world_reopen(w);
    CHECK(log_room(w->lg, 1) == NULL); /* not on disk */
    world_close(w);
    w->o.memory = true;
    CHECK_EQ(log_open(-1, &w->o, &w->lg, NULL), 0);
    world_add(w, 3, false);
    CHECK(log_room(w->lg, 4096) == NULL); /* that much is not left */
    for (int i = 0; i < 2; i++) {
        size_t n = world_line(w, 4, line, &rec);
        CHECK_EQ(log_reserve(w->lg, n, 1, NULL), 0);
        rec.place = log_place(log_tail(w->lg), log_rec_data(&rec));
        room = log_room(w->lg, n);
        CHECK(room != NULL);
        memcpy(room, line, n);
        CHECK_EQ(log_append(w->lg, room, n, &rec, 1, NULL), 0);
        CHECK_EQ(log_end(w->lg), 3);
        if (i == 0)
            CHECK_EQ(log_cut(w->lg, NULL), 0);
    }
    log_publish(w->lg);
    world_check(w, 4, false);
    world_close(w);
    world_free(w);
}

/* In memory: what comes next has its pages before it is written, of a log that is not small. */
static UNANALYSED void pages_are_made_ahead(void)
{
    enum { STEP = 64 << 10, AHEAD = 512 << 10 };
    struct world *w = world_new(8 << 20);
    char *text = malloc(STEP),
         *probe = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    struct log_rec rec = {.len = STEP, .entity = 1, .type = 1};
    uint32_t looked = 0;

    CHECK(text != NULL && probe != MAP_FAILED);
    const bool can = madvise(probe, 4096, 23 /* MADV_POPULATE_WRITE */) == 0;
    (void)munmap(probe, 4096);
    memset(text, 'x', STEP);
    text[STEP - 1] = '\n';
    w->o.memory = true;
    CHECK_EQ(log_open(-1, &w->o, &w->lg, NULL), 0);
    for (uint32_t i = 0; i < 300; i++) { /* two segments and a half */
        unsigned char is = 0;
        CHECK_EQ(log_reserve(w->lg, STEP, 1, NULL), 0);
        rec.place = log_place(log_tail(w->lg), 0);
        const uint64_t used = log_tail(w->lg) + STEP;
        CHECK_EQ(log_append(w->lg, text, STEP, &rec, 1, NULL), 0);
        log_publish(w->lg);
        log_make_ready(w->lg);
        const char *next = log_room(w->lg, AHEAD + 4096);
        if (!next || used < 1 << 20 || !can)
            continue;
        void *page = (void *)(((uintptr_t)next + AHEAD) & ~(uintptr_t)4095);
        CHECK_EQ(mincore(page, 4096, &is), 0);
        CHECK_EQ(is & 1, 1);
        looked++;
    }
    CHECK(looked > 200 || !can);
    CHECK_EQ(log_segments(w->lg), 3);
    world_close(w);
    world_free(w);
    free(text);
}

static void no_memory_leaves_the_log_usable(void)
{
    struct world *w = world_new(4096);
    struct evs_error err = {0};

    w->o.memory = true;
    CHECK_EQ(log_open(-1, &w->o, &w->lg, NULL), 0);
    world_add(w, 8, false);
    io_fault_set(&(struct io_fault){.n = 1, .code = ENOMEM, .forever = true});
    int r = 0;
    for (int i = 0; i < 10 && r == 0; i++)
        r = world_try(w, 4, false, &err);
    CHECK_FAIL(r, err, NO_MEMORY);
    io_fault_set(NULL);
    CHECK(!log_read_only(w->lg));
    world_add(w, 8, false);
    world_check(w, log_end(w->lg), false);
    world_free(w);
}

/* Batches, a roll, transactions and syncs; remembers what was promised. */
struct promised {
    evs_seq appended, synced, syncing; /* syncing: what a failed sync may have made durable */
    bool closed;
};

static void workload(struct world *w, struct promised *p)
{
    for (int i = 0; i < 10; i++) {
        if (world_try(w, 1 + (uint32_t)i % 5, i % 4 == 3, NULL) < 0) {
            /* nothing of it is visible */
            CHECK_EQ(log_end(w->lg), p->appended);
            continue;
        }
        p->appended = log_end(w->lg);
        if (i % 3 == 0 && log_sync(w->lg, p->appended, NULL) == 0)
            p->synced = p->appended;
    }
}

/* Fail the nth call of a workload, for every n until a run has no fault; then reopen: all that was
 * acknowledged is there, and nothing else. */
static void fail_each(int code, bool short_write)
{
    for (uint64_t n = 1;; n++) {
        struct world *w = world_new(4096);
        struct promised p = {0};
        world_reopen(w);
        io_fault_set(&(struct io_fault){.n = n, .code = code, .short_write = short_write});
        workload(w, &p);
        uint64_t calls = io_fault_set(NULL);
        evs_seq end = log_end(w->lg);
        CHECK_EQ(end, p.appended);
        CHECK(log_durable(w->lg) >= p.synced);
        world_check(w, end, false);
        world_crash(w);
        world_reopen(w);
        world_check(w, end, true);
        world_add(w, 2, true);
        world_close(w);
        world_reopen(w);
        world_check(w, end + 2, true);
        world_free(w);
        if (n > calls)
            break;
    }
}

static void each_call_fails(void)
{
    fail_each(EIO, false);
    fail_each(EIO, true);
}

static void disk_full_at_each_call(void)
{
    fail_each(ENOSPC, true);
}

static void full_disk_is_no_failure(void)
{
    struct world *w = world_new(1 << 20);
    struct evs_error err;

    world_reopen(w);
    world_add(w, 2, false);
    int64_t size = world_size(w, 1, ".jsonl");
    for (uint64_t n = 1; n <= 2; n++) { /* lines, recs */
        io_fault_set(&(struct io_fault){.n = n, .code = ENOSPC, .short_write = true});
        CHECK_FAIL(world_try(w, 3, false, &err), err, DISK_FULL);
        io_fault_set(NULL);
        CHECK(!log_read_only(w->lg));
        CHECK_EQ(world_size(w, 1, ".jsonl"), size);
        CHECK_EQ(world_size(w, 1, ".idx"), 4096 + 2 * 32);
    }
    world_add(w, 3, false);
    world_check(w, 5, false);
    /* Full, and then the cut fails as well. */
    io_fault_set(&(struct io_fault){.n = 1, .code = ENOSPC, .short_write = true, .forever = true});
    CHECK_FAIL(world_try(w, 3, false, &err), err, DISK_FULL);
    io_fault_set(NULL);
    CHECK(log_read_only(w->lg));
    CHECK_FAIL(world_try(w, 3, false, &err), err, READ_ONLY);
    world_check(w, 5, false);              /* reading goes on */
    CHECK_EQ(log_sync(w->lg, 5, NULL), 0); /* and what was acknowledged can be synced */
    world_close(w);
    world_reopen(w);
    world_check(w, 5, true);
    world_free(w);
}

static void failed_sync_is_for_good(void)
{
    struct world *w = world_new(1 << 20);
    struct evs_error err;

    world_reopen(w);
    world_add(w, 2, false);
    io_fault_set(&(struct io_fault){.n = 2, .code = EIO}); /* 1: the directory */
    CHECK_FAIL(log_sync(w->lg, 2, &err), err, SYSTEM);
    io_fault_set(NULL);
    CHECK(log_read_only(w->lg));
    CHECK_FAIL(log_sync(w->lg, 2, &err), err, SYSTEM);
    CHECK_FAIL(log_sync_idx(w->lg, &err), err, SYSTEM);
    CHECK_FAIL(world_try(w, 1, false, &err), err, READ_ONLY);
    CHECK_EQ(log_durable(w->lg), 0);
    CHECK_FAIL(log_close(w->lg, &err), err, SYSTEM);
    w->lg = NULL;
    world_reopen(w);
    world_check(w, 2, true);
    world_free(w);
}

/* Somebody removes the file of an open log: the next sync says so, and nothing more is taken. */
static void file_is_removed(void)
{
    struct world *w = world_new(1 << 20);
    struct evs_error err;

    world_reopen(w);
    world_add(w, 2, false);
    CHECK_EQ(log_sync(w->lg, 2, NULL), 0);
    world_unlink(w, 1, ".jsonl");
    world_add(w, 1, false);
    CHECK_FAIL(log_sync(w->lg, 3, &err), err, DAMAGED);
    CHECK(log_read_only(w->lg));
    CHECK_FAIL(world_try(w, 1, false, &err), err, READ_ONLY);
    CHECK_EQ(log_durable(w->lg), 2);
    world_check(w, 3, false); /* reading goes on */
    world_crash(w);
    world_free(w);
}

/* log_check(), which debug builds call after each commit, sees what it is for. */
static UNANALYSED void invariants_are_checked(void)
{
    struct world *w = world_new(4096);
    char line[WORLD_LINE_MAX];
    struct log_rec rec;
    struct log_span span;

    world_reopen(w);
    CHECK_EQ(log_check(w->lg, NULL, NULL), 0);
    for (int i = 0; i < 100; i++)
        world_add(w, 1, false);
    CHECK(log_segments(w->lg) > 2);
    CHECK_EQ(log_check(w->lg, NULL, NULL), 0);
    size_t n = world_line(w, 101, line, &rec);
    CHECK_EQ(log_reserve(w->lg, n, 1, NULL), 0);
    CHECK_EQ(log_append(w->lg, line, n, &rec, 1, NULL), 0);
    CHECK_EQ(log_check(w->lg, NULL, NULL), 1); /* not published */
    CHECK_EQ(log_cut(w->lg, NULL), 0);
    CHECK_EQ(log_check(w->lg, NULL, NULL), 0);
    CHECK_EQ(log_span(w->lg, 100, &span), 0);
    int64_t size = world_size(w, span.first, ".jsonl");
    world_cut(w, span.first, size + 1);
    CHECK_EQ(log_check(w->lg, NULL, NULL), 1); /* longer than its lines */
    world_cut(w, span.first, size);
    CHECK_EQ(log_check(w->lg, NULL, NULL), 0);
    world_free(w);
}

int main(void)
{
    RUN(append_read_reopen);
    RUN(nothing_is_visible_before_publish);
    RUN(roll_with_small_segments);
    RUN(roll_when_idx_is_full);
    RUN(in_memory);
    RUN(written_in_place);
    RUN(pages_are_made_ahead);
    RUN(no_memory_leaves_the_log_usable);
    RUN(full_disk_is_no_failure);
    RUN(failed_sync_is_for_good);
    RUN(file_is_removed);
    RUN(each_call_fails);
    RUN(disk_full_at_each_call);
    RUN(invariants_are_checked);
    CHECK_DONE();
}
