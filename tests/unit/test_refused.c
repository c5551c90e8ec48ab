/* SPDX-License-Identifier: MIT */
/* Nothing refused leaves anything: no name, no id, no byte of the index, whoever refused it. */
#include "model.h"
#include "store/ingest.h"
#include "store/io.h"
#include "store/limits.h"

#include <errno.h>
#include <pthread.h>

static struct evs_store *st;
static struct evs_writer *w;
static struct evs_error err;
static struct evs_cred me = {.uid = 7};

static void start(const char *dir)
{
    CHECK_EQ(evs_open(dir, &(struct evs_options){.sync_interval_ms = UINT32_MAX}, &st, &err), 0);
    CHECK_EQ(evs_writer_new(st, &(struct evs_target){.kind = EVS_ALL}, "f", &w, &err), 0);
}

static void stop(void)
{
    evs_writer_free(w);
    CHECK_EQ(index_check(st->ix, st->lg, NULL, NULL), 0);
    CHECK_EQ(evs_close(st, &err), 0);
}

static ssize_t say(const char *text)
{
    return evs_write(w, text, strlen(text), &me, &err);
}

#ifdef __SANITIZE_THREAD__
#define REFUSALS 2000 /* ThreadSanitizer looks at every byte that rejected.jsonl moves */
#else
#define REFUSALS 100000
#endif

/* What the index holds, apart from its lists. */
struct holds {
    size_t names, sets, chunks;
    uint64_t in_names, in_ids;
    uint32_t types, entities;
};

static struct holds holds(void)
{
    const struct index *ix = st->ix;

    CHECK_EQ(ix->staged.n + ix->staged_ids.n + ix->staged_types, 0);
    return (struct holds){ix->a.names.used, ix->a.sets.used,      ix->a.chunks.used, ix->names.n,
                          ix->ids.n,        index_type_count(ix), ix->n_entities};
}

static void same(const struct holds *a)
{
    const struct holds b = holds();

    CHECK_EQ(b.names, a->names);
    CHECK_EQ(b.sets, a->sets);
    CHECK_EQ(b.chunks, a->chunks);
    CHECK_EQ(b.in_names, a->in_names);
    CHECK_EQ(b.in_ids, a->in_ids);
    CHECK_EQ(b.types, a->types);
    CHECK_EQ(b.entities, a->entities);
}

static void test_refused_transactions_again_and_again(void)
{
    char text[400];

    start(":memory:");
    CHECK_EQ(say("{\"entity\":\"e\",\"type\":\"t\"}\n"), 26);
    const struct holds before = holds();
    for (int i = 0; i < REFUSALS; i++) {
        (void)snprintf(text, sizeof text,
                       "[{\"entity\":\"fresh/%d/a\",\"type\":\"t%d\",\"id\":\"i%d\"},"
                       "{\"entity\":\"fresh/%d/b\",\"type\":\"t\"},"
                       "{\"entity\":\"e\",\"type\":\"u%d\",\"expected_version\":9}]\n",
                       i, i, i, i, i);
        ssize_t r = say(text);
        if (r != -ESTALE) {
            CHECK_FAIL(r, err, STALE);
            break;
        }
    }
    same(&before);
    CHECK(!evs_find_entity(st, "fresh", 5) && !evs_find_type(st, "t1", 2));
    CHECK_EQ(say("{\"entity\":\"e\",\"type\":\"t\",\"expected_version\":1}\n"), 47);
    stop();
}

/* In a transaction and alone, for each reason that is found under the lock or later. */
static void test_each_reason_leaves_nothing(void)
{
    static const struct {
        const char *text;
        enum evs_reason why;
    } cases[] = {
        {"{\"entity\":\"n/1\",\"type\":\"n1\",\"expected_version\":3}\n", EVS_STALE},
        {"{\"entity\":\"e\",\"type\":\"n2\",\"expected_version\":3}\n", EVS_STALE},
        {"{\"entity\":\"e\",\"type\":\"n3\",\"id\":\"x\"}\n", EVS_ID_TAKEN},
        {"[{\"entity\":\"n/2\",\"type\":\"n4\",\"id\":\"y\"},{\"entity\":\"n/2\",\"type\":\"n5\","
         "\"id\":\"y\"}]\n",
         EVS_ID_TAKEN},
        {"[{\"entity\":\"n/3\",\"type\":\"n6\"},{\"entity\":\"n/3\",\"type\":\"n6\","
         "\"expected_version\":0}]\n",
         EVS_STALE},
        {"[{\"entity\":\"n/4\",\"type\":\"n7\"},{\"entity\":\"n/5\"}]\n", EVS_NO_TYPE},
        {"[{\"entity\":\"n/6\",\"type\":\"n8\"},{\"entity\":\"\",\"type\":\"t\"}]\n", EVS_BAD_NAME},
    };

    start(":memory:");
    CHECK_EQ(say("{\"entity\":\"e\",\"type\":\"t\",\"id\":\"x\"}\n"), 35);
    const struct holds before = holds();
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        ssize_t r = say(cases[i].text);
        CHECK(r < 0);
        if (err.why != cases[i].why)
            CHECK_STR(evs_reason_name(err.why), evs_reason_name(cases[i].why));
        same(&before);
    }
    /* What stands before it stays, with its names; of the bad one nothing. */
    CHECK_EQ(say("{\"entity\":\"n/7\",\"type\":\"n9\"}\n"
                 "{\"entity\":\"n/8\",\"type\":\"n10\",\"expected_version\":1}\n"),
             29);
    CHECK(evs_find_entity(st, "n/7", 3) && evs_find_type(st, "n9", 2));
    CHECK(!evs_find_entity(st, "n/8", 3) && !evs_find_type(st, "n10", 3));
    CHECK_EQ(evs_end(st), 2);
    stop();
}

static void test_types_end_and_those_there_are_go_on(void)
{
    char text[100];

    me.uid = 0; /* whom no share binds */
    start(":memory:");
    for (unsigned i = 0; i < LIMIT_TYPES; i++) {
        int n = snprintf(text, sizeof text, "{\"entity\":\"e\",\"type\":\"t%u\"}\n", i);
        if (say(text) != n) {
            CHECK_EQ(i, LIMIT_TYPES);
            break;
        }
    }
    const struct holds before = holds();
    CHECK_FAIL(say("{\"entity\":\"new/1\",\"type\":\"more\"}\n"), err, TOO_MANY);
    CHECK_FAIL(
        say("[{\"entity\":\"new/2\",\"type\":\"t1\"},{\"entity\":\"e\",\"type\":\"more\"}]\n"), err,
        TOO_MANY);
    same(&before);
    CHECK_EQ(say("{\"entity\":\"new/1\",\"type\":\"t65535\"}\n"), 35);
    CHECK_EQ(evs_end(st), LIMIT_TYPES + 1);
    stop();
    me.uid = 7;
}

/* The nth call fails while a transaction of new names is written: all of them are new again afterwards. */
static void failed_writes(int code, bool short_write)
{
    static const char text[] = "[{\"entity\":\"n/a\",\"type\":\"n\",\"id\":\"1\"},"
                               "{\"entity\":\"n/b\",\"type\":\"m\",\"id\":\"2\"}]\n";

    for (uint64_t n = 1;; n++) {
        char *dir = model_dir();
        start(dir);
        CHECK_EQ(say("{\"entity\":\"e\",\"type\":\"t\"}\n"), 26);
        const struct holds before = holds();
        io_fault_set(&(struct io_fault){.n = n, .code = code, .short_write = short_write});
        ssize_t r = say(text);
        uint64_t calls = io_fault_set(&(struct io_fault){0});
        if (r < 0) {
            same(&before);
            CHECK(!evs_find_entity(st, "n", 1) && !evs_find_entity(st, "n/a", 3));
        }
        if (r < 0 && code == ENOSPC) /* room again */
            CHECK_EQ(say(text), sizeof text - 1);
        if (code == ENOSPC || r >= 0) {
            CHECK_EQ(evs_end(st), 3);
            CHECK_EQ(say(text), sizeof text - 1); /* a repeat */
            CHECK_EQ(evs_end(st), 3);
            CHECK(evs_find_entity(st, "n/b", 3) && evs_find_type(st, "m", 1));
        }
        stop();
        model_remove(dir);
        if (calls < n)
            break;
    }
}

static void test_what_could_not_be_written_leaves_nothing(void)
{
    failed_writes(ENOSPC, false);
    failed_writes(ENOSPC, true);
    failed_writes(EIO, false);
}

/* ---- others look on while transactions are refused and taken ---- */

enum { ROUNDS = 4000, THREADS = 4 };

static void *race(void *arg)
{
    const int no = (int)(intptr_t)arg;
    struct evs_writer *mine = NULL;
    struct evs_error why;
    char text[300];

    (void)evs_writer_new(st, &(struct evs_target){.kind = EVS_ALL}, NULL, &mine, &why);
    for (int i = 0; i < ROUNDS; i++) {
        /* One thread's names are refused while the others take the same numbers for theirs. */
        bool bad = no == 0 || i % 3 == 0;
        int n =
            snprintf(text, sizeof text,
                     "[{\"entity\":\"%s/%d\",\"type\":\"%s%d\",\"id\":\"%d\",\"data\":\"%s/%d\"},"
                     "{\"entity\":\"%s/x%d\",\"type\":\"t\",\"expected_version\":%d}]\n",
                     bad ? "bad" : "good", i / 2, bad ? "bad" : "good", i % 50, no * ROUNDS + i,
                     bad ? "bad" : "good", i / 2, bad ? "bad" : "good", no * ROUNDS + i, bad);
        ssize_t r = evs_write(mine, text, (size_t)n, &me, &why);
        if (r != (bad ? -ESTALE : n))
            abort();
        if (evs_find_entity(st, "bad", 3) || evs_find_type(st, "bad1", 4))
            abort();
    }
    evs_writer_free(mine);
    return NULL;
}

static void test_numbers_of_refused_names_are_nobodys(void)
{
    pthread_t th[THREADS];
    struct model m;

    start(":memory:");
    for (intptr_t i = 0; i < THREADS; i++)
        CHECK_EQ(pthread_create(&th[i], NULL, race, (void *)i), 0);
    for (int i = 0; i < THREADS; i++)
        (void)pthread_join(th[i], NULL);
    model_load(&m, st);
    for (size_t i = 0; i < m.n; i++) {
        const struct line *l = &m.lines[i];
        CHECK(l->entity.n > 5 && memcmp(l->entity.p, "good/", 5) == 0);
        if (l->tx) /* its data is its entity */
            CHECK_MEM(l->entity.p, l->entity.n, l->data.p + 1, l->data.n - 2);
    }
    model_free(&m);
    stop();
}

int main(void)
{
    RUN(test_refused_transactions_again_and_again);
    RUN(test_each_reason_leaves_nothing);
    RUN(test_types_end_and_those_there_are_go_on);
    RUN(test_what_could_not_be_written_leaves_nothing);
    RUN(test_numbers_of_refused_names_are_nobodys);
    CHECK_DONE();
}
