/* SPDX-License-Identifier: MIT */
/* Lists of seqs: every way to find a place in them, against a plain array; cuts; damage; a reader while the
 * writer goes on. */
#include "check.h"
#include "store/postings.h"

#include <pthread.h>
#include <sched.h>

#define EVENTS 60000u

static struct arena a;
static struct log *lg;
static struct evs_error err;
static uint64_t seed;

static uint32_t line_bytes[EVENTS + 200]; /* of each event, by seq */

/* A log in memory with lines of random length; what is in them is nobody's business here. show: each is
 * published at once, so that segments may end anywhere. */
static UNANALYSED void grow_log(uint32_t n, bool show, uint64_t *random)
{
    evs_seq end = log_end(lg);
    static char line[200];
    struct log_rec rec;

    memset(line, 'x', sizeof line);
    for (uint32_t i = 0; i < n; i++) {
        rec = (struct log_rec){.len = 40 + (uint32_t)(check_random(random) % 150), .entity = 1};
        CHECK_EQ(log_reserve(lg, rec.len, 1, &err), 0);
        rec.place = log_place(log_tail(lg), 20 + (uint32_t)(check_random(random) % 10));
        line[rec.len - 1] = '\n';
        CHECK_EQ(log_append(lg, line, rec.len, &rec, 1, &err), 0);
        line[rec.len - 1] = 'x';
        line_bytes[end + i + 1] = rec.len;
        if (show)
            log_publish(lg);
    }
}

static void start(uint64_t segment_bytes)
{
    const struct log_options o = {.segment_bytes = segment_bytes, .memory = true};

    CHECK_EQ(log_open(-1, &o, &lg, &err), 0);
    CHECK_EQ(region_init(&a.chunks, 64 << 20, &err), 0);
    CHECK_EQ(region_init(&a.sets, 1 << 20, &err), 0);
    a.chunks.used = 64;
}

static void stop(void)
{
    region_done(&a.chunks);
    region_done(&a.sets);
    log_abandon(lg);
}

struct list {
    struct set *set;
    struct lengths len;
    uint32_t *seq; /* what the set must hold */
    uint64_t *before;
    uint32_t n;
};

static UNANALYSED void list_add(struct list *l, uint32_t seq)
{
    uint32_t n = lengths_of(&l->len, seq);

    postings_add(&a, l->set, seq, n);
    l->seq[l->n] = seq;
    l->before[l->n + 1] = l->before[l->n] + n;
    l->n++;
}

static void list_new(struct list *l, uint32_t number, bool data)
{
    *l = (struct list){.set = arena_set(&a, number), .len = {.lg = lg, .data = data}};
    l->seq = calloc(EVENTS + 2, sizeof *l->seq);
    l->before = calloc(EVENTS + 2, sizeof *l->before);
}

static void list_free(struct list *l)
{
    free(l->seq);
    free(l->before);
}

/* The posting of the list that it stands at is number i. */
static void at(const struct list *l, const struct posting *it, uint32_t i, uint32_t limit)
{
    CHECK_EQ(it->ordinal, i);
    if (i < limit) {
        CHECK_EQ(it->seq, l->seq[i]);
        CHECK_EQ(it->bytes, l->before[i]);
    }
}

static void check_places(struct list *l, uint32_t limit, uint32_t i, uint64_t *random)
{
    struct posting it;
    uint32_t length = (uint32_t)(l->before[i + 1] - l->before[i]);

    postings_seek_byte(&a, l->set, limit, l->before[i], &l->len, &it);
    at(l, &it, i, limit);
    postings_seek_byte(&a, l->set, limit, l->before[i] + length - 1, &l->len, &it);
    at(l, &it, i, limit);
    postings_seek_byte(&a, l->set, limit, l->before[i] + check_random(random) % length, &l->len,
                       &it);
    at(l, &it, i, limit);
    postings_seek_seq(&a, l->set, limit, l->seq[i] - 1, &l->len, &it);
    at(l, &it, i, limit);
    postings_seek_seq(&a, l->set, limit, l->seq[i], &l->len, &it);
    CHECK_EQ(it.ordinal, i + 1);
    CHECK(i + 1 >= limit || it.seq == l->seq[i + 1]);
    CHECK(i + 1 < limit || it.bytes == l->before[i + 1]);
}

static void check_list(struct list *l, uint32_t limit, uint64_t *random)
{
    struct posting it;

    postings_seek_byte(&a, l->set, limit, 0, &l->len, &it);
    for (uint32_t i = 0; i < limit; i++) {
        at(l, &it, i, limit);
        postings_next(&a, &it, lengths_of(&l->len, it.seq));
    }
    CHECK_EQ(it.ordinal, limit);
    postings_seek_byte(&a, l->set, limit, l->before[limit], &l->len, &it);
    CHECK_EQ(it.ordinal, limit);
    postings_seek_byte(&a, l->set, limit, UINT64_MAX, &l->len, &it);
    CHECK_EQ(it.ordinal, limit);
    postings_seek_seq(&a, l->set, limit, UINT64_MAX, &l->len, &it);
    CHECK_EQ(it.ordinal, limit);
    for (int k = 0; limit > 0 && k < 50; k++)
        check_places(l, limit, (uint32_t)(check_random(random) % limit), random);
}

/* As the set was at seq end. */
static void check_cut(struct list *l, uint32_t end)
{
    struct postings_cut cut;
    uint32_t n = 0;

    for (uint32_t low = 0, high = l->n; low < high;) { /* how many are not beyond end */
        uint32_t mid = (low + high) / 2;
        if (l->seq[mid] <= end)
            low = n = mid + 1;
        else
            high = mid;
    }
    postings_at(&a, l->set, end, &l->len, &cut);
    CHECK_EQ(cut.n, n);
    CHECK_EQ(cut.last, n ? l->seq[n - 1] : 0);
    CHECK_EQ(cut.bytes, l->before[n]);
}

static void lists_of_any_density(void)
{
    static const uint32_t gaps[] = {1, 2, 5, 120, 140, 3000, 17000, 50000};
    uint64_t random = seed;

    start(1 << 20);
    grow_log(EVENTS, true, &random);
    for (uint32_t k = 0; k < 2 * ARRAY_LEN(gaps); k++) {
        struct list l;
        uint32_t gap = gaps[k / 2];
        list_new(&l, k + 2, k % 2);
        for (uint64_t s = 1 + check_random(&random) % gap; s <= EVENTS;
             s += gap == 1 ? 1 : 1 + check_random(&random) % (2 * gap))
            list_add(&l, (uint32_t)s);
        check_list(&l, l.n, &random);
        check_list(&l, l.n / 2, &random);
        check_list(&l, MIN(l.n, 1u), &random);
        for (int i = 0; i < 100; i++)
            check_cut(&l, (uint32_t)(check_random(&random) % (EVENTS + 10)));
        check_cut(&l, 0);
        check_cut(&l, EVENTS);
        CHECK_EQ(postings_check(&a, l.set, &l.len), 0);
        list_free(&l);
    }
    stop();
}

/* Every length from 0 on: the seams between the set's own bytes and the chunks of each size. */
static void lists_of_any_length(void)
{
    uint64_t random = seed + 1;
    struct list l;

    start(1 << 20);
    grow_log(3000, true, &random);
    list_new(&l, 2, false);
    check_list(&l, 0, &random);
    CHECK_EQ(postings_check(&a, l.set, &l.len), 0);
    for (uint32_t s = 1; s <= 3000; s += 1 + (s % 5 == 0)) {
        list_add(&l, s);
        for (uint32_t i = l.n > 40 ? l.n - 40 : 0; i < l.n; i++)
            check_places(&l, l.n, i, &random);
        check_cut(&l, s);
        check_cut(&l, s - 1);
        check_cut(&l, s / 2);
        CHECK_EQ(postings_check(&a, l.set, &l.len), 0);
    }
    list_free(&l);
    stop();
}

static void an_iterator_goes_on_while_the_list_grows(void)
{
    uint64_t random = seed + 2;
    struct posting it;
    struct list l;

    start(1 << 20);
    grow_log(2000, true, &random);
    list_new(&l, 2, false);
    list_add(&l, 1);
    postings_seek_byte(&a, l.set, 1, 0, &l.len, &it);
    for (uint32_t s = 2; s <= 2000; s++) {
        list_add(&l, s);
        if (it.chunk_end == UINT32_MAX) /* the newest chunk: it may have a successor by now */
            postings_seek_seq(&a, l.set, l.n, it.seq - 1, &l.len, &it);
        it.limit = l.n;
        at(&l, &it, l.n - 2, l.n);
        postings_next(&a, &it, lengths_of(&l.len, it.seq));
        at(&l, &it, l.n - 1, l.n);
    }
    list_free(&l);
    stop();
}

static void damage_is_found(void)
{
    uint64_t random = seed + 3;
    struct list l;

    start(1 << 20);
    grow_log(5000, true, &random);
    list_new(&l, 2, false);
    for (uint32_t s = 3; s <= 5000; s += 3)
        list_add(&l, s);
    CHECK_EQ(postings_check(&a, l.set, &l.len), 0);
    struct set whole;
    memcpy(&whole, l.set, sizeof whole);
    l.set->bytes++;
    CHECK(postings_check(&a, l.set, &l.len) < 0);
    l.set->bytes--;
    l.set->last--;
    CHECK(postings_check(&a, l.set, &l.len) < 0);
    l.set->last++;
    l.set->n--;
    CHECK(postings_check(&a, l.set, &l.len) < 0);
    l.set->n++;
    l.set->tail = (uint32_t)(a.chunks.used / 64);
    CHECK(postings_check(&a, l.set, &l.len) < 0);
    memcpy(l.set, &whole, sizeof whole);
    struct chunk *c = arena_chunk(&a, l.set->tail);
    for (int i = 0; i < l.set->used; i++) {
        c->data[i] ^= 1;
        CHECK(postings_check(&a, l.set, &l.len) < 0);
        c->data[i] ^= 1;
    }
    int missed =
        0; /* other lines may be as long together by chance: the chunk behind begins anew */
    for (int i = 0; i < SET_INLINE; i++) {
        l.set->first[i] ^= 2;
        missed += postings_check(&a, l.set, &l.len) == 0;
        l.set->first[i] ^= 2;
    }
    CHECK(missed <= 2);
    CHECK_EQ(postings_check(&a, l.set, &l.len), 0);
    list_free(&l);
    stop();
}

/* ---- a reader while the writer goes on: events 3, 6, 9, ... are the set's ---- */

static _Atomic bool writing;
static _Atomic uint32_t looked; /* readers that have seen something */

static void *read_cuts(void *arg)
{
    struct lengths len = {.lg = lg};
    uint64_t random = (uint64_t)(uintptr_t)arg, looks = 0;
    const struct set *s = arena_set(&a, 2);

    while (atomic_load_explicit(&writing, memory_order_acquire)) {
        struct postings_cut cut;
        struct posting it;
        uint32_t end = (uint32_t)log_end(lg);
        postings_at(&a, s, end, &len, &cut);
        CHECK_EQ(cut.n, end / 3);
        CHECK_EQ(cut.last, end / 3 * 3);
        if (!cut.n)
            continue;
        uint32_t want = (uint32_t)(check_random(&random) % cut.n);
        postings_seek_seq(&a, s, cut.n, want * 3, &len, &it);
        CHECK_EQ(it.ordinal, want);
        for (int i = 0; i < 300 && it.ordinal < it.limit; i++, want++) {
            CHECK_EQ(it.seq, want * 3 + 3);
            postings_next(&a, &it, lengths_of(&len, it.seq));
        }
        postings_seek_byte(&a, s, cut.n, cut.bytes - 1, &len, &it);
        CHECK_EQ(it.seq, cut.last);
        CHECK_EQ(it.ordinal, cut.n - 1);
        if (looks++ == 0)
            atomic_fetch_add_explicit(&looked, 1, memory_order_release);
    }
    return NULL;
}

static UNANALYSED void readers_see_whole_lists(void)
{
    uint64_t random = seed + 4;
    pthread_t th[2];

    start(64 << 20);
    writing = true;
    looked = 0;
    for (uintptr_t i = 0; i < ARRAY_LEN(th); i++)
        CHECK_EQ(pthread_create(&th[i], NULL, read_cuts, (void *)(i + 5)), 0);
    for (uint32_t s = 1; log_end(lg) < EVENTS;
         s++) { /* before the log shows the event, as ingest does */
        uint32_t n = s % 7 ? 1 : 100;
        evs_seq first = log_end(lg) + 1;
        grow_log(n, false, &random);
        for (evs_seq q = (first + 2) / 3 * 3; q < first + n; q += 3)
            postings_add(&a, arena_set(&a, 2), (uint32_t)q, line_bytes[q]);
        log_publish(lg);
    }
    while (atomic_load_explicit(&looked, memory_order_acquire) < ARRAY_LEN(th))
        sched_yield(); /* on a busy machine a reader may not have had its turn yet */
    atomic_store_explicit(&writing, false, memory_order_release);
    for (size_t i = 0; i < ARRAY_LEN(th); i++)
        (void)pthread_join(th[i], NULL);
    struct lengths len = {.lg = lg};
    CHECK_EQ(postings_check(&a, arena_set(&a, 2), &len), 0);
    stop();
}

int main(void)
{
    seed = check_seed();
    RUN(lists_of_any_density);
    RUN(lists_of_any_length);
    RUN(an_iterator_goes_on_while_the_list_grows);
    RUN(damage_is_found);
    RUN(readers_see_whole_lists);
    CHECK_DONE();
}
