/* SPDX-License-Identifier: MIT */
/* Appending: values cut anywhere, errors and what they leave, repeats, transactions, versions, many writers. */
#include "model.h"
#include "store/ingest.h"
#include "store/io.h"
#include "store/limits.h"

#include <errno.h>
#include <pthread.h>

/* behind what has parameters of these names */
#include "appender.h"

static void start(void)
{
    CHECK_EQ(evs_open(":memory:", NULL, &st, &err), 0);
}

static void stop(void)
{
    CHECK_EQ(index_check(st->ix, st->lg, NULL, NULL), 0);
    CHECK_EQ(pending_total(&st->pending), 0);
    CHECK_EQ(evs_close(st, &err), 0);
}

static char *data_of(const char *entity, const char *type)
{
    const struct evs_view v = {EVS_OWN_TYPE, evs_find_entity(st, entity, strlen(entity)),
                               evs_find_type(st, type, strlen(type))};
    size_t n;
    char *p = model_read(st, &v, &n);

    p = realloc(p, n + 1);
    p[n] = '\0';
    return p;
}

#define DATA_IS(entity, type, want)                                                                \
    do {                                                                                           \
        char *got_data_ = data_of(entity, type);                                                   \
        CHECK_STR(got_data_, want);                                                                \
        free(got_data_);                                                                           \
    } while (0)

static char *rejected(void)
{
    char *text;
    size_t n;

    CHECK_EQ(evs_rejected(st, true, 0, &text, &n, &err), 0);
    text = realloc(text, n + 1);
    text[n] = '\0';
    return text;
}

static void test_data_goes_in_and_comes_out(void)
{
    start();
    struct evs_writer *w = writer(EVS_OWN_TYPE, "orders/42", "placed");
    TAKEN(w, "{\"total\": 99}\n[1,\t2]\n\"x\"\n 1e5 \nnull true\n{\n  \"a\":\n  1\n}\n");
    evs_writer_free(w);
    DATA_IS("orders/42", "placed",
            "{\"total\": 99}\n[1,\t2]\n\"x\"\n1e5\nnull\ntrue\n{   \"a\":   1 }\n");
    stop();
}

static void test_what_is_bad_is_refused_and_noted(void)
{
    start();
    struct evs_writer *w = writer(EVS_OWN_TYPE, "e", "t"), *all = writer(EVS_ALL, NULL, NULL);
    struct evs_writer *below = writer(EVS_BELOW, "dir", NULL), *type = writer(EVS_TYPE, NULL, "t");
    REFUSED(w, "{]\n", BAD_JSON);
    REFUSED(w, "{\"a\":\n", LINE_BREAK);
    REFUSED(w, "\"\xff\"\n", BAD_UTF8);
    REFUSED(all, "1\n", NOT_EVENT);
    REFUSED(all, "{\"type\":\"t\"}\n", NO_ENTITY);
    REFUSED(all, "{\"entity\":\"e\"}\n", NO_TYPE);
    REFUSED(all, "{\"entity\":\"e\",\"type\":\"t\",\"x\":1}\n", UNKNOWN_NAME);
    REFUSED(all, "{\"entity\":\"e\",\"type\":\"t\",\"entity_id\":\"e\"}\n", GIVEN_TWICE);
    REFUSED(all, "{\"entity\":\"\",\"type\":\"t\"}\n", BAD_NAME);
    REFUSED(all, "{\"entity\":\"e\",\"type\":\"t\",\"time\":\"yesterday\"}\n", BAD_TIME);
    REFUSED(below, "{\"entity\":\"other\",\"type\":\"t\"}\n", WRONG_PLACE);
    REFUSED(below, "{\"entity\":\"dirx\",\"type\":\"t\"}\n", WRONG_PLACE);
    REFUSED(type, "{\"entity\":\"e\",\"type\":\"u\"}\n", WRONG_PLACE);
    REFUSED(all, "{\"entity\":\"e\",\"type\":\"t\",\"expected_version\":3}\n", STALE);
    TAKEN(below, "{\"type\":\"t\"}\n{\"entity\":\"dir/x\",\"type\":\"t\"}\n");
    TAKEN(type, "{\"entity\":\"e\"}\n");
    CHECK_EQ(evs_end(st), 3);
    char *text = rejected();
    CHECK_EQ(reject_count(st->rejects), 14);
    CHECK(strstr(text, "\"BAD_JSON\"") && strstr(text, "yesterday") && strstr(text, "f.jsonl") &&
          strstr(text, "\"pid\":99"));
    free(text);
    evs_writer_free(w), evs_writer_free(all), evs_writer_free(below), evs_writer_free(type);
    stop();
}

static void test_what_stands_before_a_bad_value_is_stored(void)
{
    start();
    struct evs_writer *w = writer(EVS_OWN_TYPE, "e", "t");
    CHECK_EQ(say(w, "1\n2\n  bad\n4\n"), 6);
    REFUSED(w, "bad\n4\n", BAD_JSON);
    CHECK_EQ(reject_count(st->rejects), 1); /* once, though it was met twice */
    TAKEN(w, "5\n");
    CHECK_EQ(say(w, "{}{}"), 2);
    REFUSED(w, "{}", NOT_APART);
    TAKEN(w, " {}\n");
    /* Nothing of a number or literal that only begins well. */
    REFUSED(w, "01\n", BAD_JSON);
    REFUSED(w, "2026-11-24\n", BAD_JSON);
    REFUSED(w, "truefalse\n", BAD_JSON);
    REFUSED(w, "1{}\n", BAD_JSON);
    evs_writer_free(w);
    DATA_IS("e", "t", "1\n2\n5\n{}\n{}\n");
    stop();
}

static void test_an_unfinished_value_waits(void)
{
    start();
    struct evs_writer *w = writer(EVS_OWN_TYPE, "e", "t");
    TAKEN(w, "{\"a\":");
    CHECK_FAIL(evs_writer_pending(w, &err), err, UNFINISHED);
    CHECK_EQ(evs_end(st), 0);
    TAKEN(w, "1}");
    CHECK_EQ(evs_writer_pending(w, &err), 0);
    CHECK_EQ(evs_end(st), 1);
    TAKEN(w, "\n12");
    TAKEN(w, "34");
    CHECK_EQ(evs_end(st), 1);
    TAKEN(w, "\n{\"b\":");
    /* bad, and it began earlier: nothing is taken any more */
    REFUSED(w, "]}\n", BAD_JSON);
    REFUSED(w, "1\n", BAD_JSON);
    evs_writer_free(w);
    DATA_IS("e", "t", "{\"a\":1}\n1234\n");
    w = writer(EVS_OWN_TYPE, "e", "t");
    TAKEN(w, "[1,2");
    evs_writer_free(w);
    char *text = rejected();
    CHECK(strstr(text, "UNFINISHED") && strstr(text, "[1,2"));
    free(text);
    stop();
}

/* Bad at one byte when it comes at once: the same byte, from the value's first one, when it comes in two. */
static void test_the_first_error_counts_wherever_it_is_cut(void)
{
    static const struct {
        const char *text;
        enum evs_view_kind kind;
    } cases[] = {
        {"{\"a\":1 2 }]\n", EVS_OWN_TYPE},
        {"{\"a\" 1,\n\"b\":2}\n", EVS_OWN_TYPE},
        {"{\"a\" "
         "[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[["
         "[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[",
         EVS_OWN_TYPE},
        {"{\"entity\":\"e\",\"type\":7,\n}\n", EVS_ALL},
        {"{\"entity\":\"e\",\"type\":\"t\",\"type\":\"\n", EVS_ALL},
        {"[{\"entity\":\"e\"\n}]\n", EVS_ALL},
    };

    start();
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        const size_t n = strlen(cases[i].text);
        struct evs_writer *w = writer(cases[i].kind, "e", "t");
        CHECK(say(w, cases[i].text) < 0);
        const struct evs_error want = err;
        evs_writer_free(w);
        for (size_t cut = 1; cut < n; cut++) {
            w = writer(cases[i].kind, "e", "t");
            ssize_t r = evs_write(w, cases[i].text, cut, &me, &err);
            if (r > 0) {
                CHECK_EQ(r, cut);
                r = evs_write(w, cases[i].text + cut, n - cut, &me, &err);
            }
            CHECK(r < 0);
            CHECK_STR(evs_reason_name(err.why), evs_reason_name(want.why));
            CHECK_EQ(err.pos, want.pos);
            evs_writer_free(w);
        }
    }
    stop();
}

/* Every way to cut one input gives the same events. */
static void test_any_cut_gives_the_same(void)
{
    static const char text[] =
        "{\"entity\":\"a\",\"type\":\"t\",\"data\":{\"x\":\"\\u00e9\\\"}\xc3\xa9\"}} "
        "{\n\"entity\":\"b\",\n"
        "\"type\":\"t\",\"data\":[\n1,\n2]}\n[{\"entity\":\"a\",\"type\":\"u\"},\n"
        "{\"entity\":\"c\",\"type\":\"u\",\"data\":-0.5e+3}]\n{\"entity\":\"a\",\"type\":\"t\","
        "\"data\":null}";
    size_t n = strlen(text), want_n = 0;
    char *want = NULL;
    uint64_t random = check_seed();
    for (size_t cut = 0; cut <= n + 60; cut++) {
        start();
        struct evs_writer *w = writer(EVS_ALL, NULL, NULL);
        for (size_t at = 0; at < n;) {
            size_t piece = cut == 0   ? n
                           : cut <= n ? (at == 0 ? cut : n - cut)
                                      : 1 + check_random(&random) % (cut - n);
            piece = MIN(piece, n - at);
            CHECK_EQ(evs_write(w, text + at, piece, &me, &err), piece);
            at += piece;
        }
        CHECK_EQ(evs_writer_pending(w, &err), 0);
        evs_writer_free(w);
        CHECK_EQ(evs_end(st), 5);
        struct model m;
        model_load(&m, st);
        char *all = malloc(m.n_bytes + 100);
        size_t all_n = 0;
        for (size_t i = 0; i < m.n; i++)
            all_n += (size_t)sprintf(all + all_n, "%.*s %.*s %u %.*s\n", (int)m.lines[i].entity.n,
                                     m.lines[i].entity.p, (int)m.lines[i].type.n, m.lines[i].type.p,
                                     m.lines[i].tx, (int)m.lines[i].data.n, m.lines[i].data.p);
        if (!want) {
            want = TAKE(all);
            want_n = all_n;
        }
        CHECK_MEM(all ? all : want, all_n, want, want_n);
        free(all);
        model_free(&m);
        stop();
    }
    free(want);
}

static void test_a_transaction_is_all_or_nothing(void)
{
    start();
    struct evs_writer *w = writer(EVS_ALL, NULL, NULL);
    TAKEN(w, "[{\"entity\":\"a\",\"type\":\"t\",\"expected_version\":0},{\"entity\":\"b\",\"type\":"
             "\"t\"},"
             "{\"entity\":\"a\",\"type\":\"t\",\"expected_version\":1}]\n[]\n");
    CHECK_EQ(evs_end(st), 3);
    REFUSED(w,
            "[{\"entity\":\"a\",\"type\":\"t\"},{\"entity\":\"b\",\"type\":\"t\",\"expected_"
            "version\":5}]\n",
            STALE);
    REFUSED(w, "[{\"entity\":\"a\",\"type\":\"t\"},{\"entity\":\"b\"}]\n", NO_TYPE);
    REFUSED(w, "[{\"entity\":\"a\",\"type\":\"t\"},]\n", BAD_JSON);
    REFUSED(w, "[1]\n", NOT_EVENT);
    TAKEN(
        w,
        "{\"entity\":\"a\",\"type\":\"t\",\"expected_version\":2}\n"); /* nothing of what failed was counted */
    struct model m;
    model_load(&m, st);
    CHECK_EQ(m.lines[0].tx, 2);
    CHECK_EQ(m.lines[1].tx, 1);
    CHECK_EQ(m.lines[2].tx, 0);
    CHECK_EQ(m.lines[3].version, 3);
    model_free(&m);
    evs_writer_free(w);
    stop();
}

static void test_a_repeat_stores_nothing(void)
{
    start();
    struct evs_writer *w = writer(EVS_ALL, NULL, NULL);
    TAKEN(w, "{\"id\":\"x1\",\"entity\":\"a\",\"type\":\"t\",\"data\":{\"n\":1}}\n");
    TAKEN(w, "{\"id\":\"x1\",\"entity\":\"a\",\"type\":\"t\",\"data\":{\"n\":1},\"expected_"
             "version\":0}\n");
    REFUSED(w, "{\"id\":\"x1\",\"entity\":\"a\",\"type\":\"t\",\"data\":{\"n\":2}}\n", ID_TAKEN);
    REFUSED(w, "{\"id\":\"x1\",\"entity\":\"a\",\"type\":\"u\",\"data\":{\"n\":1}}\n", ID_TAKEN);
    TAKEN(
        w,
        "{\"id\":\"x1\",\"entity\":\"b\",\"type\":\"t\",\"data\":{\"n\":2}}\n"); /* an id's scope is its entity */
    CHECK_EQ(evs_end(st), 2);
    /* twice in one write, and in one transaction */
    TAKEN(w, "{\"id\":\"y\",\"entity\":\"n\",\"type\":\"t\"}\n{\"id\":\"y\",\"entity\":\"n\","
             "\"type\":\"t\"}\n");
    TAKEN(w, "[{\"id\":\"z\",\"entity\":\"n\",\"type\":\"t\"},{\"id\":\"q\",\"entity\":\"n\","
             "\"type\":\"t\"},"
             "{\"id\":\"z\",\"entity\":\"n\",\"type\":\"t\"}]\n");
    CHECK_EQ(evs_end(st), 5);
    REFUSED(w,
            "[{\"id\":\"r\",\"entity\":\"n\",\"type\":\"t\"},{\"id\":\"r\",\"entity\":\"n\","
            "\"type\":\"t\",\"data\":1}]\n",
            ID_TAKEN);
    TAKEN(
        w,
        "{\"id\":\"r\",\"entity\":\"n\",\"type\":\"t\",\"data\":5}\n"); /* what failed left no id behind */
    CHECK_EQ(evs_end(st), 6);
    const uint64_t ids = st->ix->ids.n;
    for (int i = 0; i < 1000; i++)
        REFUSED(w,
                "[{\"id\":\"s\",\"entity\":\"n\",\"type\":\"t\"},{\"entity\":\"n\",\"type\":"
                "\"t\",\"expected_version\":99}]\n",
                STALE);
    CHECK_EQ(st->ix->ids.n, ids); /* however often it is tried again */
    /* the store's own lines poured back in */
    size_t n;
    char *all = model_read(st, &(struct evs_view){.kind = EVS_ALL}, &n);
    TAKEN(w, "{\"entity\":\"own\",\"type\":\"t\",\"data\":[1]}\n");
    CHECK_EQ(evs_write(w, all, n, &me, &err), n);
    free(all);
    all = model_read(st, &(struct evs_view){.kind = EVS_ALL}, &n);
    CHECK_EQ(evs_write(w, all, n, &me, &err), n);
    free(all);
    CHECK_EQ(evs_end(st), 7);
    evs_writer_free(w);
    stop();
}

static void test_repeats_are_known_after_reopening(void)
{
    char *dir = model_dir();
    static const char text[] =
        "{\"id\":\"x1\",\"entity\":\"a\",\"type\":\"t\",\"meta\":{\"k\":1},\"data\":\"\\u00e9\"}\n";

    for (int i = 0; i < 4; i++) {
        CHECK_EQ(evs_open(dir, NULL, &st, &err), 0);
        struct evs_writer *w = writer(EVS_ALL, NULL, NULL);
        TAKEN(w, text);
        CHECK_EQ(evs_end(st), 1);
        REFUSED(w,
                "{\"id\":\"x1\",\"entity\":\"a\",\"type\":\"t\",\"meta\":{\"k\":2},\"data\":"
                "\"\\u00e9\"}\n",
                ID_TAKEN);
        evs_writer_free(w);
        stop();
        if (i == 1)
            CHECK_EQ(evs_rebuild(dir, NULL, NULL, &err), 0);
    }
    model_remove(dir);
}

static void test_limits_have_their_errors(void)
{
    size_t n = LIMIT_TX_BYTES + 1000;
    char *big = malloc(n + 1);

    start();
    struct evs_writer *w = writer(EVS_OWN_TYPE, "e", "t"), *all = writer(EVS_ALL, NULL, NULL);
    memset(big, 'x', n);
    big[0] = '"';
    big[LIMIT_VALUE_BYTES - 1] = '"';
    CHECK_EQ(evs_write(w, big, LIMIT_VALUE_BYTES, &me, &err), LIMIT_VALUE_BYTES);
    big[LIMIT_VALUE_BYTES - 1] = 'x';
    big[LIMIT_VALUE_BYTES] = '"';
    CHECK_EQ(say(w, "\n"), 1);
    CHECK_FAIL(evs_write(w, big, LIMIT_VALUE_BYTES + 1, &me, &err), err, TOO_LARGE);
    CHECK_EQ(evs_write(w, big, 1000, &me, &err), 1000); /* in pieces too */
    CHECK_FAIL(evs_write(w, big + 1000, LIMIT_VALUE_BYTES, &me, &err), err, TOO_LARGE);
    evs_writer_free(w);
    CHECK_EQ(evs_end(st), 1);

    char *p = big;
    *p++ = '[';
    for (unsigned i = 0; i <= LIMIT_TX_EVENTS; i++)
        p += sprintf(p, "{\"entity\":\"e%u\",\"type\":\"t\"},", i % 1000);
    p[-1] = ']';
    CHECK_FAIL(evs_write(all, big, (size_t)(p - big), &me, &err), err, TOO_MANY);
    *(p = strrchr(big, '{')) = '\0';
    p[-1] = ']';
    TAKEN(all, big);
    CHECK_EQ(evs_end(st), 1 + LIMIT_TX_EVENTS);
    memset(big, ' ', n);
    big[0] = '[';
    big[1] = '\n';
    big[n - 1] = ']';
    CHECK_FAIL(evs_write(all, "\n", 1, &me, &err) == 1 ? evs_write(all, big, n, &me, &err) : 0, err,
               TOO_LARGE);

    memset(big, 'n', 1100);
    int len = sprintf(big + 1100, "{\"entity\":\"%.1025s\",\"type\":\"t\"}\n", big);
    CHECK_FAIL(evs_write(all, big + 1100, (size_t)len, &me, &err), err, NAME_TOO_LONG);
    len = sprintf(big + 1100, "{\"entity\":\"%.250s\",\"type\":\"t\"}\n", big); /* no file name */
    CHECK_FAIL(evs_write(all, big + 1100, (size_t)len, &me, &err), err, NAME_TOO_LONG);
    evs_writer_free(all);
    free(big);
    stop();
}

static void test_unfinished_values_are_bounded(void)
{
    enum { WRITERS = 300 };
    static struct evs_writer *w[WRITERS];
    size_t n = LIMIT_VALUE_BYTES - 10;
    char *text = malloc(n);
    int refused = 0;

    start();
    memset(text, 'x', n);
    text[0] = '"';
    for (int i = 0; i < WRITERS; i++) {
        w[i] = writer(EVS_OWN_TYPE, "e", "t");
        ssize_t r = evs_write(w[i], text, n, &me, &err);
        if (r < 0) {
            CHECK_FAIL(r, err, PENDING_FULL);
            refused++;
        }
    }
    CHECK(refused > 30 && refused < 60);
    CHECK(pending_total(&st->pending) <= LIMIT_PENDING_BYTES);
    struct evs_writer *other = writer(EVS_OWN_TYPE, "e", "t"); /* another user has its part */
    CHECK_EQ(evs_write(other, text, n, &(struct evs_cred){.uid = 8}, &err), n);
    evs_writer_free(other);
    for (int i = 0; i < WRITERS; i++)
        evs_writer_free(w[i]);
    free(text);
    stop();
}

/* The nth file-system call fails, for every n: what was acknowledged is there afterwards, once. */
static void faults(int code, bool short_write)
{
    for (uint64_t n = 1;; n++) {
        char *dir = model_dir();
        CHECK_EQ(evs_open(dir, &(struct evs_options){.sync_interval_ms = UINT32_MAX}, &st, &err),
                 0);
        struct evs_writer *w = writer(EVS_OWN_TYPE, "e", "t");
        TAKEN(w, "0\n");
        io_fault_set(&(struct io_fault){.n = n, .code = code, .short_write = short_write});
        int stored = 1;
        for (int i = 0; i < 3; i++) {
            ssize_t r = say(w, "7\n");
            CHECK(r == 2 || r == -code || (code != ENOSPC && r == -EROFS));
            stored += r == 2;
        }
        uint64_t calls = io_fault_set(&(struct io_fault){0});
        if (code == ENOSPC) { /* room again: it goes on */
            TAKEN(w, "8\n");
            stored++;
        }
        CHECK_EQ(evs_end(st), stored);
        evs_writer_free(w);
        (void)evs_close(st, NULL);
        CHECK_EQ(evs_open(dir, NULL, &st, &err), 0);
        CHECK_EQ(evs_end(st), stored);
        CHECK_EQ(index_check(st->ix, st->lg, NULL, NULL), 0);
        CHECK_EQ(evs_close(st, &err), 0);
        CHECK_EQ(evs_verify(dir, NULL, NULL, &err), 0);
        model_remove(dir);
        if (calls < n)
            break;
    }
}

static void test_failed_calls_lose_nothing(void)
{
    faults(ENOSPC, false);
    faults(ENOSPC, true);
    faults(EIO, false);
    faults(EIO, true);
}

enum { THREADS = 8, EACH = 3000 };

static void *write_many(void *arg)
{
    int me_no = (int)(intptr_t)arg;
    char text[200];
    struct evs_error why;
    struct evs_writer *w = NULL;

    (void)evs_writer_new(st, &(struct evs_target){.kind = EVS_ALL}, NULL, &w, &why);
    for (int i = 0; i < EACH; i++) {
        int n =
            snprintf(text, sizeof text, "{\"entity\":\"%s%d\",\"type\":\"t%d\",\"data\":[%d,%d]}\n",
                     i % 2 ? "own/" : "", i % 2 ? me_no : i % 5, i % 3, me_no, i);
        int cut = i % n; /* half of them in two pieces */
        if (evs_write(w, text, (size_t)cut, &me, &why) != cut ||
            evs_write(w, text + cut, (size_t)(n - cut), &me, &why) != n - cut)
            abort();
    }
    evs_writer_free(w);
    return NULL;
}

static void test_many_writers_keep_their_order(void)
{
    pthread_t th[THREADS];
    int next[THREADS] = {0};
    struct model m;

    start();
    for (intptr_t i = 0; i < THREADS; i++)
        CHECK_EQ(pthread_create(&th[i], NULL, write_many, (void *)i), 0);
    for (int i = 0; i < THREADS; i++)
        (void)pthread_join(th[i], NULL);
    model_load(&m, st);
    CHECK_EQ(m.n, THREADS * EACH);
    for (size_t i = 0; i < m.n; i++) {
        int who = -1, no = -1;
        CHECK_EQ(sscanf(m.lines[i].data.p, "[%d,%d]", &who, &no), 2);
        CHECK(who >= 0 && who < THREADS);
        CHECK_EQ(no, next[who]++);
    }
    model_free(&m);
    uint64_t random = 5;
    model_check_all(st, &random);
    stop();
}

int main(void)
{
    RUN(test_data_goes_in_and_comes_out);
    RUN(test_what_is_bad_is_refused_and_noted);
    RUN(test_what_stands_before_a_bad_value_is_stored);
    RUN(test_an_unfinished_value_waits);
    RUN(test_the_first_error_counts_wherever_it_is_cut);
    RUN(test_any_cut_gives_the_same);
    RUN(test_a_transaction_is_all_or_nothing);
    RUN(test_a_repeat_stores_nothing);
    RUN(test_repeats_are_known_after_reopening);
    RUN(test_limits_have_their_errors);
    RUN(test_unfinished_values_are_bounded);
    RUN(test_failed_calls_lose_nothing);
    RUN(test_many_writers_keep_their_order);
    CHECK_DONE();
}
