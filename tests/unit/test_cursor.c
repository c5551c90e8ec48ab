/* SPDX-License-Identifier: MIT */
/* Reading views as bytes: in pieces of any size, from any byte, while they grow; finding a seq; damage. */
#include "model.h"
#include "store/cursor.h"
#include "store/ingest.h"
#include "store/schemas.h"

#include <errno.h>
#include <pthread.h>

static struct evs_store *st;
static struct evs_error err;
static uint64_t seed;

static const char *const ids[] = {"d", "d/x", "e", "big", "only/below"};

static void add(struct evs_store *to, const char *id, int type, int no)
{
    char text[300];
    int n =
        snprintf(text, sizeof text, "{\"entity\":\"%s\",\"type\":\"t%d\",\"data\":[%d,\"%*s\"]}\n",
                 id, type, no, no % 50, "");

    CHECK_EQ(put(to, text), n);
}

/* n events; d is an entity and a directory, big has pairs from about 3,000 events on, only is a directory alone. */
static void fill(int n, uint64_t *random)
{
    for (int i = 0; i < n; i++) {
        uint64_t r = check_random(random);
        add(st, i % 2 ? "big" : ids[r % ARRAY_LEN(ids)], (int)(r >> 20) % 3, i);
    }
}

static void start(void)
{
    CHECK_EQ(evs_open(":memory:", &(struct evs_options){.segment_bytes = 64 << 10}, &st, &err), 0);
}

static void stop(void)
{
    CHECK_EQ(evs_close(st, &err), 0);
}

static evs_entity entity(const char *id)
{
    return evs_find_entity(st, id, strlen(id));
}

/* Every view of the store, into v[cap]; how many. */
static size_t all_views(struct evs_view *v, size_t cap)
{
    static const char *const dirs[] = {"d", "d/x", "e", "big", "only/below", "only"};
    size_t n = 0;

    v[n++] = (struct evs_view){.kind = EVS_ALL};
    v[n++] = (struct evs_view){EVS_BELOW, EVS_ROOT, 0};
    for (evs_type t = 1; t <= evs_type_count(st); t++)
        v[n++] = (struct evs_view){EVS_TYPE, 0, t};
    for (size_t i = 0; i < ARRAY_LEN(dirs); i++) {
        evs_entity e = entity(dirs[i]);
        v[n++] = (struct evs_view){EVS_BELOW, e, 0};
        v[n++] = (struct evs_view){EVS_OWN, e, 0};
        for (evs_type t = 1; t <= evs_type_count(st); t++)
            v[n++] = (struct evs_view){EVS_OWN_TYPE, e, t};
    }
    CHECK(n <= cap);
    return n;
}

static void read_in_pieces(const struct evs_view *v, size_t piece)
{
    struct evs_cursor *c;
    size_t n, at = 0;
    char *want = model_read(st, v, &n), *buf = malloc(piece);
    ssize_t r;

    CHECK_EQ(evs_cursor_new(st, v, &c, &err), 0);
    while ((r = evs_cursor_read(c, at, buf, piece, &err)) > 0) {
        CHECK(at + (size_t)r <= n && memcmp(want + at, buf, (size_t)r) == 0);
        CHECK_EQ(r, MIN(piece, n - at));
        at += (size_t)r;
    }
    CHECK_EQ(r, 0);
    CHECK_EQ(at, n);
    CHECK_EQ(evs_cursor_read(c, n + 1, buf, piece, &err), 0);
    CHECK_EQ(evs_cursor_read(c, UINT64_MAX, buf, piece, &err), 0);
    CHECK_EQ(evs_cursor_read(c, 0, buf, 0, &err), 0);
    evs_cursor_free(c);
    free(buf);
    free(want);
}

static void test_pieces_of_any_size(void)
{
    static const size_t pieces[] = {1, 7, 100, 300, 4096, 131072};
    struct evs_view v[80];
    uint64_t random = seed;

    start();
    fill(600, &random);
    for (int round = 0; round < 2; round++) { /* filtered, then with pairs */
        size_t n = all_views(v, ARRAY_LEN(v));
        for (size_t i = 0; i < n; i++)
            for (size_t k = round; k < ARRAY_LEN(pieces); k++)
                read_in_pieces(&v[i], pieces[k]);
        fill(3400, &random);
    }
    stop();
}

/* The line at byte pos of a view that shows whole lines. */
static evs_seq seq_at(const char *bytes, size_t pos)
{
    static const char first[] = "{\"seq\":";

    CHECK(strncmp(bytes + pos, first, sizeof first - 1) == 0);
    return strtoull(bytes + pos + sizeof first - 1, NULL, 10);
}

static void find_all(const struct evs_view *v)
{
    struct evs_extent x;
    struct evs_cursor *c;
    uint64_t pos = 0, before = 0;
    size_t n;
    char *bytes = model_read(st, v, &n);

    CHECK_EQ(evs_view_extent(st, v, &x), 0);
    CHECK_EQ(evs_cursor_new(st, v, &c, &err), 0);
    CHECK_EQ(evs_cursor_find(c, 0, &pos, &err), 0);
    CHECK_EQ(pos, 0);
    CHECK_EQ(evs_cursor_find(c, UINT64_MAX, &pos, &err), 0);
    CHECK_EQ(pos, n);
    CHECK_EQ(evs_cursor_find(c, x.last, &pos, &err), 0);
    CHECK_EQ(pos, n);
    for (evs_seq after = 0; after <= evs_end(st) + 3; after++) {
        CHECK_EQ(evs_cursor_find(c, after, &pos, &err), 0);
        CHECK(pos >= before && pos <= n);
        CHECK(pos == 0 || bytes[pos - 1] == '\n');
        CHECK_EQ(pos == n, after >= x.last);
        if (v->kind != EVS_OWN_TYPE) {
            if (pos < n)
                CHECK(seq_at(bytes, pos) > after);
            if (pos > before) /* it was the last one's turn, and no earlier */
                CHECK_EQ(seq_at(bytes, before), after);
        }
        before = pos;
    }
    evs_cursor_free(c);
    free(bytes);
}

static void test_a_seq_is_found(void)
{
    struct evs_view v[80];
    uint64_t random = seed + 1;

    start();
    fill(300, &random);
    for (int round = 0; round < 2; round++) {
        size_t n = all_views(v, ARRAY_LEN(v));
        for (size_t i = 0; i < n; i++)
            find_all(&v[i]);
        fill(2000, &random);
    }
    stop();
}

/* A view that shows nothing has an end all the same. */
static void test_an_empty_view_can_be_asked(void)
{
    struct evs_cursor *c;
    uint64_t pos = 99;
    char buf[10];

    start();
    CHECK_EQ(evs_cursor_new(st, &(struct evs_view){.kind = EVS_ALL}, &c, &err), 0);
    CHECK_EQ(evs_cursor_find(c, 0, &pos, &err), 0);
    CHECK_EQ(pos, 0);
    evs_cursor_free(c);
    for (int i = 0; i < 1100; i++)
        add(st, "only/below", 0, i);
    add(st, "e", 1, 0);
    const struct evs_view v[] = {{EVS_OWN, entity("only"), 0},
                                 {EVS_OWN_TYPE, entity("only"), 1},
                                 {EVS_OWN_TYPE, entity("e"), 1},
                                 {EVS_OWN_TYPE, entity("only/below"), 2}};
    for (size_t i = 0; i < ARRAY_LEN(v); i++) {
        pos = 99;
        CHECK_EQ(evs_cursor_new(st, &v[i], &c, &err), 0);
        CHECK_EQ(evs_cursor_read(c, 0, buf, sizeof buf, &err), 0);
        CHECK_EQ(evs_cursor_find(c, 0, &pos, &err), 0);
        CHECK_EQ(pos, 0);
        pos = 99;
        CHECK_EQ(evs_cursor_find(c, 500, &pos, &err), 0);
        CHECK_EQ(pos, 0);
        evs_cursor_free(c);
        CHECK_EQ(cursor_each(st->ix, st->lg, &v[i], 0, NULL, NULL, &err), 0);
    }
    stop();
}

static int collect(void *arg, evs_seq seq, struct slice line, const struct log_rec *rec)
{
    uint64_t *sum = arg;

    CHECK_EQ(line.n, rec->len);
    CHECK_EQ(line.p[line.n - 1], '\n');
    sum[0]++;
    sum[1] += line.n;
    CHECK(seq > sum[2]);
    sum[2] = seq;
    return seq == sum[3] ? 42 : 0;
}

static void test_each_line_is_given_once(void)
{
    struct evs_view v[80];
    uint64_t random = seed + 2;

    start();
    fill(3700, &random);
    size_t n = all_views(v, ARRAY_LEN(v));
    for (size_t i = 0; i < n; i++) {
        struct evs_extent x;
        uint64_t sum[4] = {0};
        CHECK_EQ(evs_view_extent(st, &v[i], &x), 0);
        CHECK_EQ(cursor_each(st->ix, st->lg, &v[i], 0, collect, sum, &err), 0);
        CHECK_EQ(sum[0], x.events);
        CHECK_EQ(sum[2], x.last);
        CHECK(v[i].kind == EVS_OWN_TYPE || sum[1] == x.bytes);
    }
    uint64_t sum[4] = {0, 0, 0, 17};
    CHECK_EQ(cursor_each(st->ix, st->lg, &v[0], 0, collect, sum, &err), 42);
    CHECK_EQ(sum[0], 17);
    stop();
}

/* A cursor stays open while an entity grows, becomes a directory, and large. */
static void test_a_tail_grows_while_it_is_read(void)
{
    enum { VIEWS = 5 };
    struct evs_view v[VIEWS];
    struct evs_cursor *c[VIEWS];
    struct {
        char *p;
        size_t n;
    } got[VIEWS] = {0};
    uint64_t random = seed + 3;

    start();
    add(st, "g", 0, 0);
    add(st, "g", 1, 0);
    evs_entity g = entity("g");
    v[0] = (struct evs_view){.kind = EVS_ALL};
    v[1] = (struct evs_view){EVS_BELOW, g, 0};
    v[2] = (struct evs_view){EVS_OWN, g, 0};
    v[3] = (struct evs_view){EVS_OWN_TYPE, g, 1};
    v[4] = (struct evs_view){EVS_TYPE, 0, 2};
    for (int i = 0; i < VIEWS; i++) {
        CHECK_EQ(evs_cursor_new(st, &v[i], &c[i], &err), 0);
        got[i].p = malloc(1 << 20);
    }
    for (int k = 0; k < 2500; k++) {
        uint64_t r = check_random(&random);
        add(st, k > 300 && r % 4 == 0 ? "g/x" : r % 9 == 0 ? "h" : "g", (int)(r >> 10) % 2, k);
        for (int i = 0; i < VIEWS; i++) {
            if ((r >> (30 + i)) % 3 == 0)
                continue; /* sometimes more than one event is new, or a part is left */
            size_t room = (r >> 40) % 4 ? 1000 : (r >> 45) % 100;
            ssize_t n = evs_cursor_read(c[i], got[i].n, got[i].p + got[i].n, room, &err);
            CHECK(n >= 0);
            got[i].n += n > 0 ? (size_t)n : 0;
        }
    }
    for (int i = 0; i < VIEWS; i++) {
        ssize_t r;
        while ((r = evs_cursor_read(c[i], got[i].n, got[i].p + got[i].n, 3000, &err)) > 0)
            got[i].n += (size_t)r;
        size_t n;
        char *want = model_read(st, &v[i], &n);
        CHECK_EQ(got[i].n, n);
        CHECK(got[i].n == n && memcmp(got[i].p, want, n) == 0);
        free(want);
        free(got[i].p);
        evs_cursor_free(c[i]);
    }
    stop();
}

/* ---- damage ---- */

/* In memory what readers see is writable memory: damage to it is damage to the disk. */
static struct log_rec *rec_of(evs_seq seq)
{
    return (struct log_rec *)(uintptr_t)log_rec(st->lg, seq);
}

static void start_damage(void)
{
    uint64_t random = seed + 4;

    start();
    schemas_calm(st); /* the test writes to what its thread reads */
    fill(1500, &random);
}

/* Reading v to its end fails at event bad, after all that stands before it, and the store is read-only. */
static void fails_at(const struct evs_view *v, evs_seq bad, const char *want)
{
    static char buf[1 << 20];
    struct evs_cursor *c;
    size_t got = 0;
    ssize_t r;
    char event[40], health[400];

    (void)snprintf(event, sizeof event, "event %d", (int)bad);
    CHECK_EQ(evs_cursor_new(st, v, &c, &err), 0);
    while ((r = evs_cursor_read(c, got, buf + got, MIN(sizeof buf - got, (size_t)5000), &err)) > 0)
        got += (size_t)r;
    CHECK_FAIL(r, err, DAMAGED);
    CHECK(strstr(err.detail, event));
    CHECK(strstr(err.detail, "log/000"));
    CHECK(memcmp(buf, want, got) == 0);
    CHECK_FAIL(evs_cursor_read(c, got, buf, 1, &err), err, DAMAGED); /* and again */
    evs_cursor_free(c);
    CHECK(log_read_only(st->lg));
    CHECK_EQ(put(st, "{\"entity\":\"a\",\"type\":\"t\"}\n"), -EROFS);
    CHECK_EQ(evs_health(st, health, sizeof health), 1);
    CHECK(strstr(health, event));
}

static void test_a_flipped_bit_is_not_given_out(void)
{
    for (int k = 0; k < 8; k++) {
        start_damage();
        size_t n;
        const struct evs_view v = {.kind = k % 2 ? EVS_ALL : EVS_BELOW, .entity = entity("big")};
        char *want = model_read(st, &v, &n);
        struct evs_extent x;
        CHECK_EQ(evs_view_extent(st, &v, &x), 0);
        evs_seq bad = k == 0 ? x.first : k == 1 ? 1 : x.last;
        struct log_pin pin = {0};
        struct slice line;
        CHECK_EQ(log_line(st->lg, bad, &pin, &line, NULL), 0);
        log_unpin(&pin);
        char *at = (char *)(uintptr_t)line.p + (size_t)k * (line.n - 1) / 7;
        *at ^= 4;
        fails_at(&v, bad, want);
        free(want);
        stop();
    }
}

/* The view is what it was, the store goes on, health says what was wrong, and the recs are what they were. */
static void is_put_right(const struct evs_view *v, const char *want, size_t want_n, evs_seq first,
                         const struct log_rec *old, size_t n)
{
    char event[40], health[400];
    evs_seq mended;
    size_t got_n;
    char *got = model_read(st, v, &got_n);

    CHECK_EQ(got_n, want_n);
    CHECK(got_n == want_n && memcmp(got, want, want_n) == 0);
    free(got);
    for (size_t i = 0; i < n; i++)
        CHECK(memcmp(rec_of(first + i), &old[i], sizeof *old) == 0);
    CHECK_EQ(log_mended(st->lg, &mended), n);
    CHECK(!log_read_only(st->lg));
    (void)snprintf(event, sizeof event, "event %d ", (int)mended);
    CHECK(mended >= first && mended < first + n);
    CHECK_EQ(evs_health(st, health, sizeof health), 1);
    CHECK(strstr(health, event));
    CHECK(put(st, "{\"entity\":\"a\",\"type\":\"t\"}\n") > 0);
}

static void test_a_rec_that_is_wrong_is_put_right(void)
{
    for (int k = 0; k < 9; k++) {
        start_damage();
        const struct evs_view v = {.kind = k % 2 ? EVS_ALL : EVS_TYPE, .type = 1};
        size_t n;
        char *want = model_read(st, &v, &n);
        struct evs_extent x;
        CHECK_EQ(evs_view_extent(st, &v, &x), 0);
        evs_seq bad = v.kind == EVS_ALL ? 700 : x.last;
        struct log_rec *r = rec_of(bad), old = *r;
        if (k == 0)
            *r = *rec_of(bad - 1); /* another line, whole */
        else if (k == 1)
            r->place = log_place(log_rec_offset(r) + 1, log_rec_data(r));
        else if (k == 2)
            r->place = log_place((1ull << 40) - 1, log_rec_data(r));
        else if (k == 3)
            r->place = log_place(log_rec_offset(r), log_rec_data(r) + 1);
        else if (k == 4)
            r->len++;
        else if (k == 5)
            r->len = UINT32_MAX;
        else if (k == 6)
            r->type ^= 3;
        else if (k == 7)
            r->recorded_us++;
        else
            *r = (struct log_rec){0};
        is_put_right(&v, want, n, bad, &old, 1);
        free(want);
        stop();
    }
}

/* A page of the idx is gone, or all of it. */
static void test_a_run_of_recs_is_put_right(void)
{
    static struct log_rec old[1500];

    for (int k = 0; k < 3; k++) {
        const struct evs_view v = {.kind = EVS_ALL};
        const evs_seq first = k == 0 ? 129 : 1;
        size_t n, n_recs = k == 0 ? 128 : 1500;
        start_damage();
        char *want = model_read(st, &v, &n);
        for (size_t i = 0; i < n_recs; i++) {
            old[i] = *rec_of(first + i);
            memset(rec_of(first + i), k == 2 ? 0xff : 0, sizeof *old);
        }
        is_put_right(&v, want, n, first, old, n_recs);
        free(want);
        stop();
    }
}

/* Where the line is bad as well nothing is made up. */
static void test_a_rec_without_a_line_stays_wrong(void)
{
    for (int k = 0; k < 3; k++) {
        start_damage();
        const struct evs_view v = {.kind = EVS_ALL};
        size_t n;
        char *want = model_read(st, &v, &n);
        struct log_pin pin = {0};
        struct slice line;
        CHECK_EQ(log_line(st->lg, 700, &pin, &line, NULL), 0);
        log_unpin(&pin);
        ((char *)(uintptr_t)line.p)[k == 0   ? 30
                                    : k == 1 ? 0
                                             : line.n - 1] ^= 1; /* data, start, LF */
        *rec_of(700) = (struct log_rec){0};
        if (k == 1)
            *rec_of(699) = (struct log_rec){0};
        fails_at(&v, 700, want);
        char buf[600];
        struct evs_cursor *c;
        CHECK_EQ(evs_cursor_new(st, &v, &c, &err), 0);
        uint64_t pos = 0; /* those behind it are there */
        CHECK_EQ(evs_cursor_find(c, 800, &pos, &err), 0);
        CHECK_EQ(evs_cursor_read(c, pos, buf, sizeof buf, &err), sizeof buf);
        CHECK(memcmp(buf, want + pos, sizeof buf) == 0);
        evs_cursor_free(c);
        free(want);
        stop();
    }
}

/* Whatever stands in the idx: every byte that is given is the right one, and all are. */
static void test_no_rec_makes_it_err(void)
{
    struct evs_view v[80];
    uint64_t random = seed + 5;

    start_damage();
    size_t n_views = all_views(v, ARRAY_LEN(v));
    struct {
        char *p;
        size_t n;
        struct evs_extent x;
    } want[80];
    for (size_t i = 0; i < n_views; i++) {
        want[i].p = model_read(st, &v[i], &want[i].n);
        CHECK_EQ(evs_view_extent(st, &v[i], &want[i].x), 0);
    }
    for (int k = 0; k < 300; k++) {
        for (int m = 0; m < 10; m++) {
            struct log_rec *r = rec_of(1 + check_random(&random) % evs_end(st));
            for (int b = 0; b < 3; b++)
                ((uint8_t *)r)[check_random(&random) % sizeof *r] ^= (uint8_t)check_random(&random);
        }
        size_t i = check_random(&random) % n_views, n;
        struct evs_extent x;
        struct evs_cursor *c;
        char buf[4000];
        if (k % 3 == 0) {
            char *got = model_read(st, &v[i], &n);
            CHECK(n == want[i].n && memcmp(got, want[i].p, n) == 0);
            free(got);
        }
        CHECK_EQ(evs_view_extent(st, &v[i], &x), 0);
        CHECK(memcmp(&x, &want[i].x, sizeof x) == 0);
        CHECK_EQ(evs_cursor_new(st, &v[i], &c, &err), 0);
        uint64_t pos = want[i].n ? check_random(&random) % want[i].n : 0;
        ssize_t r = evs_cursor_read(c, pos, buf, sizeof buf, &err);
        CHECK_EQ(r, MIN(sizeof buf, want[i].n - pos));
        CHECK(r < 0 || memcmp(buf, want[i].p + pos, (size_t)r) == 0);
        evs_cursor_free(c);
    }
    CHECK(!log_read_only(st->lg));
    for (size_t i = 0; i < n_views; i++)
        free(want[i].p);
    stop();
}

/* ---- readers and a writer ---- */

static _Atomic bool writing;

static void *tail(void *arg)
{
    const struct evs_view *v = arg;
    struct evs_cursor *c;
    struct evs_error why;
    char buf[4096];
    uint64_t pos = 0, lines = 0;
    bool last = false;

    CHECK_EQ(evs_cursor_new(st, v, &c, &why), 0);
    for (;;) {
        ssize_t r = evs_cursor_read(c, pos, buf, sizeof buf, &why);
        CHECK(r >= 0);
        if (r <= 0) {
            if (last)
                break;
            last = !atomic_load_explicit(&writing, memory_order_acquire);
            continue;
        }
        pos += (uint64_t)r;
        for (ssize_t i = 0; i < r; i++)
            lines += buf[i] == '\n';
    }
    evs_cursor_free(c);
    return (void *)(uintptr_t)lines;
}

static void test_readers_follow_a_writer(void)
{
    uint64_t random = seed + 6;
    pthread_t th[5];
    void *lines;

    start();
    add(st, "big", 0, 0);
    add(st, "d", 1, 0);
    struct evs_view v[] = {{.kind = EVS_ALL},
                           {EVS_OWN, entity("d"), 0},
                           {EVS_BELOW, entity("d"), 0},
                           {EVS_OWN_TYPE, entity("big"), 1},
                           {EVS_TYPE, 0, 2}};
    writing = true;
    for (size_t i = 0; i < ARRAY_LEN(th); i++)
        CHECK_EQ(pthread_create(&th[i], NULL, tail, &v[i]), 0);
    fill(5000, &random);
    atomic_store_explicit(&writing, false, memory_order_release);
    for (size_t i = 0; i < ARRAY_LEN(th); i++) {
        struct evs_extent x;
        (void)pthread_join(th[i], &lines);
        CHECK_EQ(evs_view_extent(st, &v[i], &x), 0);
        CHECK_EQ((uintptr_t)lines, x.events);
    }
    stop();
}

int main(void)
{
    seed = check_seed();
    RUN(test_pieces_of_any_size);
    RUN(test_a_seq_is_found);
    RUN(test_an_empty_view_can_be_asked);
    RUN(test_each_line_is_given_once);
    RUN(test_a_tail_grows_while_it_is_read);
    RUN(test_a_flipped_bit_is_not_given_out);
    RUN(test_a_rec_that_is_wrong_is_put_right);
    RUN(test_a_run_of_recs_is_put_right);
    RUN(test_a_rec_without_a_line_stays_wrong);
    RUN(test_no_rec_makes_it_err);
    RUN(test_readers_follow_a_writer);
    CHECK_DONE();
}
