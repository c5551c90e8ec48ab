/* SPDX-License-Identifier: MIT */
/* pins: what is pinned is enforced, from the return of the call on, through every writer; what is refused changes
 * nothing, and says why. */
#include "model.h"
#include "store/ingest.h"
#include "store/limits.h"
#include "store/meta.h"

#include <errno.h>
#include <pthread.h>

/* behind what has parameters of these names */
#include "appender.h"

static void start(const char *dir)
{
    CHECK_EQ(evs_open(dir, NULL, &st, &err), 0);
}

static void stop(void)
{
    CHECK_EQ(index_check(st->ix, st->lg, NULL, NULL), 0);
    CHECK_EQ(evs_close(st, &err), 0);
}

static struct evs_dir dir_of(enum evs_dir_kind kind, const char *name)
{
    return (struct evs_dir){kind, name, strlen(name)};
}

static int pin_as(enum evs_dir_kind kind, const char *name, const char *schema, uid_t uid)
{
    const struct evs_dir d = dir_of(kind, name);

    return evs_pin_set(st, &d, schema, strlen(schema), &(struct evs_cred){.uid = uid}, &err);
}

static int pin(const char *type, const char *schema)
{
    return pin_as(EVS_DIR_TYPE, type, schema, 7);
}

static int unpin(enum evs_dir_kind kind, const char *name)
{
    const struct evs_dir d = dir_of(kind, name);

    return evs_pin_clear(st, &d, &err);
}

static struct evs_pin pin_stat(enum evs_dir_kind kind, const char *name)
{
    const struct evs_dir d = dir_of(kind, name);
    struct evs_pin p;

    evs_pin_stat(st, &d, &p);
    return p;
}

/* What evs_pin_text() or evs_pin_refusal() gives; "" where there is none. */
static char *text_of(int (*get)(struct evs_store *, const struct evs_dir *, char **, size_t *,
                                struct evs_error *),
                     enum evs_dir_kind kind, const char *name)
{
    const struct evs_dir d = dir_of(kind, name);
    char *text = NULL;
    size_t n = 0;
    int r = get(st, &d, &text, &n, &err);

    if (r < 0)
        CHECK_FAIL(r, err, NO_SUCH);
    text = realloc(text, n + 1);
    text[n] = '\0';
    return text;
}

#define TEXT_IS(get, kind, name, want)                                                             \
    do {                                                                                           \
        char *text_ = text_of(get, kind, name);                                                    \
        CHECK_STR(text_, want);                                                                    \
        free(text_);                                                                               \
    } while (0)
#define TEXT_HAS(get, kind, name, part)                                                            \
    do {                                                                                           \
        char *text_ = text_of(get, kind, name);                                                    \
        CHECK(strstr(text_, part));                                                                \
        free(text_);                                                                               \
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

static size_t count(const char *text, const char *part)
{
    size_t n = 0;

    for (const char *p = text; (p = strstr(p, part)) != NULL; p++)
        n++;
    return n;
}

#define TOTAL "{\"type\":\"object\",\"required\":[\"total\"]}"

static void test_what_breaks_it_is_refused_everywhere(void)
{
    start(":memory:");
    struct evs_writer *own = writer(EVS_OWN_TYPE, "o/1", "placed"),
                      *type = writer(EVS_TYPE, NULL, "placed"), *all = writer(EVS_ALL, NULL, NULL),
                      *below = writer(EVS_BELOW, "o", NULL);
    TAKEN(own, "{}\n");
    CHECK_EQ(pin("placed", TOTAL), 0);
    REFUSED(own, "{}\n", SCHEMA);
    CHECK_EQ(err.code, EBADMSG);
    CHECK_EQ(err.pos, 0);
    CHECK(strlen(err.detail) > 10);
    REFUSED(own, "5\n", SCHEMA);
    REFUSED(type, "{\"entity\":\"o/2\"}\n", SCHEMA); /* its data is null */
    REFUSED(all, "{\"entity\":\"o/2\",\"type\":\"placed\",\"data\":{}}\n", SCHEMA);
    REFUSED(below, "{\"type\":\"placed\",\"data\":1}\n", SCHEMA);
    TAKEN(all, "{\"entity\":\"o/2\",\"type\":\"paid\",\"data\":1}\n");
    TAKEN(own, "{\"total\":1}\n");
    TAKEN(type, "{\"entity\":\"o/2\",\"data\":{\"total\":1}}\n");
    CHECK_EQ(unpin(EVS_DIR_TYPE, "placed"), 0);
    TAKEN(own, "{}\n");
    CHECK_FAIL(unpin(EVS_DIR_TYPE, "placed"), err, NO_SUCH);
    evs_writer_free(own), evs_writer_free(type), evs_writer_free(all), evs_writer_free(below);
    stop();
}

static void test_a_batch_up_to_it_and_a_transaction_not_at_all(void)
{
    start(":memory:");
    struct evs_writer *w = writer(EVS_ALL, NULL, NULL);
    static const char good[] = "{\"entity\":\"e\",\"type\":\"t\",\"data\":{\"total\":1}}";
    static const char bad[] = "{\"entity\":\"e\",\"type\":\"t\",\"data\":{}}";
    char text[512];
    CHECK_EQ(pin("t", TOTAL), 0);
    (void)sprintf(text, "%s\n%s\n%s\n%s\n", good, good, bad, good);
    CHECK_EQ(say(w, text), 2 * sizeof good);
    CHECK_EQ(evs_end(st), 2);
    REFUSED(w, text + 2 * sizeof good, SCHEMA);
    CHECK_EQ(pin_stat(EVS_DIR_TYPE, "t").refused, 1); /* one value, which was tried twice */
    (void)sprintf(text, "[%s,%s]\n", good, bad);
    REFUSED(w, text, SCHEMA);
    CHECK_EQ(err.pos, 1 + sizeof good);
    (void)sprintf(text, "[%s,%s]\n", good, good);
    TAKEN(w, text);
    CHECK_EQ(pin_stat(EVS_DIR_TYPE, "t").refused, 2);
    struct evs_stats s;
    evs_stats(st, &s);
    CHECK_EQ(s.schema_refused, 2);
    CHECK_EQ(s.pins, 1);
    CHECK_EQ(s.rejected, 2);
    char *list = rejected();
    CHECK_EQ(
        count(list,
              "\"reason\":\"SCHEMA\",\"text\":\"breaks the pinned schema\",\"errno\":\"EBADMSG\""),
        2);
    CHECK_EQ(count(list,
                   "\"instance_path\":\"\",\"schema_path\":\"/required\",\"keyword\":\"required\","
                   "\"level\":\"strict\",\"value\":"),
             2);
    free(list);
    evs_writer_free(w);
    stop();
}

static void test_a_repeat_of_what_is_stored_is_taken(void)
{
    start(":memory:");
    struct evs_writer *w = writer(EVS_ALL, NULL, NULL);
    static const char old[] = "{\"entity\":\"e\",\"type\":\"t\",\"id\":\"a\",\"data\":1}\n";
    TAKEN(w, old);
    CHECK_EQ(pin("t", TOTAL), 0);
    TAKEN(w, old);
    CHECK_EQ(evs_end(st), 1);
    REFUSED(w, "{\"entity\":\"e\",\"type\":\"t\",\"id\":\"b\",\"data\":1}\n", SCHEMA);
    REFUSED(w, "{\"entity\":\"e\",\"type\":\"t\",\"id\":\"a\",\"data\":2}\n", ID_TAKEN);
    evs_writer_free(w);
    stop();
}

static void test_directories_hold_for_all_below(void)
{
    start(":memory:");
    struct evs_writer *w = writer(EVS_ALL, NULL, NULL);
    CHECK_EQ(pin_as(EVS_DIR_ENTITY, "orders", "{\"required\":[\"a\"]}", 7), 0);
    CHECK_EQ(pin_as(EVS_DIR_ENTITY, "orders/42", "{\"required\":[\"b\"]}", 7), 0);
    REFUSED(w, "{\"entity\":\"orders\",\"type\":\"t\",\"data\":{}}\n", SCHEMA);
    REFUSED(w, "{\"entity\":\"orders/41/x\",\"type\":\"u\",\"data\":{\"b\":1}}\n", SCHEMA);
    REFUSED(w, "{\"entity\":\"orders/42\",\"type\":\"u\",\"data\":{\"a\":1}}\n", SCHEMA);
    REFUSED(w, "{\"entity\":\"orders/42/deep/er\",\"type\":\"u\",\"data\":{\"b\":1}}\n", SCHEMA);
    TAKEN(w, "{\"entity\":\"orders/42/x\",\"type\":\"u\",\"data\":{\"a\":1,\"b\":1}}\n"
             "{\"entity\":\"orders/41\",\"type\":\"u\",\"data\":{\"a\":1}}\n"
             "{\"entity\":\"orders2\",\"type\":\"u\",\"data\":{}}\n"
             "{\"entity\":\"order\",\"type\":\"u\",\"data\":{}}\n");
    CHECK_EQ(pin("u", "{\"required\":[\"c\"]}"), 0);
    REFUSED(w, "{\"entity\":\"orders/42\",\"type\":\"u\",\"data\":{\"a\":1,\"b\":1}}\n", SCHEMA);
    TAKEN(w, "{\"entity\":\"orders/42\",\"type\":\"u\",\"data\":{\"a\":1,\"b\":1,\"c\":1}}\n");
    const struct evs_dir d = dir_of(EVS_DIR_ENTITY, "orders");
    const struct evs_owner o = {.uid = 7, .mode = 0700};
    CHECK_EQ(evs_set_owner(st, &(struct evs_dir){EVS_DIR_ENTITY, "new", 3}, &o, &err), 0);
    CHECK_EQ(pin_as(EVS_DIR_ENTITY, "new", "true", 7), 0);
    CHECK_FAIL(evs_clear_owner(st, &(struct evs_dir){EVS_DIR_ENTITY, "new", 3}, &err), err,
               NOT_EMPTY);
    CHECK_EQ(unpin(EVS_DIR_ENTITY, "new"), 0);
    CHECK_EQ(evs_clear_owner(st, &(struct evs_dir){EVS_DIR_ENTITY, "new", 3}, &err), 0);
    (void)d;
    CHECK_FAIL(pin_as(EVS_DIR_ENTITY, "", "true", 7), err, BAD_NAME);
    CHECK_FAIL(pin_as(EVS_DIR_ROOT, "", "true", 7), err, BAD_NAME);
    evs_writer_free(w);
    stop();
}

static void test_warn_stores_counts_and_lists(void)
{
    start(":memory:");
    struct evs_writer *w = writer(EVS_ALL, NULL, NULL);
    struct evs_stats s;
    CHECK_EQ(pin("t", "{\"x-evfs-level\":\"warn\",\"type\":\"object\",\"required\":[\"a\"]}"), 0);
    TAKEN(w, "{\"entity\":\"e\",\"type\":\"t\",\"id\":\"i1\",\"data\":{}}\n"
             "{\"entity\":\"e\",\"type\":\"t\",\"data\":{\"a\":1}}\n"
             "{\"entity\":\"e\",\"type\":\"t\"}\n");
    TAKEN(w, "{\"entity\":\"e\",\"type\":\"t\",\"id\":\"i1\",\"data\":{}}\n"); /* stores nothing */
    TAKEN(w, "[{\"entity\":\"e\",\"type\":\"t\",\"data\":7}]\n");
    CHECK_EQ(evs_end(st), 4);
    evs_stats(st, &s);
    CHECK_EQ(s.schema_warned, 3);
    CHECK_EQ(s.schema_refused, 0);
    CHECK_EQ(s.rejected, 0);
    CHECK_EQ(pin_stat(EVS_DIR_TYPE, "t").warned, 3);
    char *list = rejected();
    CHECK_EQ(count(list, "\n"), 3);
    CHECK_EQ(count(list, "\"keyword\":\"required\",\"level\":\"warn\""), 1);
    CHECK_EQ(count(list, "\"keyword\":\"type\",\"level\":\"warn\""), 2);
    CHECK(strstr(list, "\"value\":\"{\\\"entity\\\":\\\"e\\\",\\\"type\\\":\\\"t\\\"}\\n\""));
    free(list);
    /* One that only warns does not hide a strict one, in whatever order. */
    CHECK_EQ(pin_as(EVS_DIR_ENTITY, "e", "{\"required\":[\"b\"]}", 7), 0);
    REFUSED(w, "{\"entity\":\"e\",\"type\":\"t\",\"data\":{}}\n", SCHEMA);
    TAKEN(w, "{\"entity\":\"e\",\"type\":\"t\",\"data\":{\"b\":1}}\n");
    CHECK_EQ(pin("t", "{\"x-evfs-level\":\"off\",\"required\":[\"a\"]}"), 0);
    CHECK_EQ(unpin(EVS_DIR_ENTITY, "e"), 0);
    TAKEN(w, "{\"entity\":\"e\",\"type\":\"t\",\"data\":{}}\n");
    evs_stats(st, &s);
    CHECK_EQ(s.schema_warned, 4);
    evs_writer_free(w);
    stop();
}

static void test_a_bad_schema_changes_nothing(void)
{
    static char big[LIMIT_SCHEMA_BYTES + 2];

    start(":memory:");
    struct evs_writer *w = writer(EVS_OWN_TYPE, "e", "t");
    CHECK_FAIL(pin("t", "{\"a\":\n  nul}"), err, BAD_SCHEMA);
    TEXT_IS(evs_pin_refusal, EVS_DIR_TYPE, "t", "line 2, column 6: not JSON\n");
    TEXT_IS(evs_pin_text, EVS_DIR_TYPE, "t", "");
    CHECK(!pin_stat(EVS_DIR_TYPE, "t").pinned);
    CHECK(pin_stat(EVS_DIR_TYPE, "t").refusal_us > 0);
    CHECK_EQ(unpin(EVS_DIR_TYPE, "t"), 0); /* forgets it */
    TEXT_IS(evs_pin_refusal, EVS_DIR_TYPE, "t", "");

    CHECK_EQ(pin("t", TOTAL "\n"), 0);
    CHECK_FAIL(pin("t", ""), err, BAD_SCHEMA);
    TEXT_HAS(evs_pin_refusal, EVS_DIR_TYPE, "t", "empty");
    CHECK_FAIL(pin("t", "{\"type\":\"nonsense\"}"), err, BAD_SCHEMA);
    TEXT_HAS(evs_pin_refusal, EVS_DIR_TYPE, "t", "at #/type: ");
    CHECK_FAIL(pin("t", "{\"x-evfs-level\":\"severe\"}"), err, BAD_SCHEMA);
    TEXT_IS(evs_pin_refusal, EVS_DIR_TYPE, "t",
            "at #/x-evfs-level: must be \"strict\", \"warn\" or \"off\"\n");
    CHECK_FAIL(pin("t", "{\"x-evfs-compatibility\":1}"), err, BAD_SCHEMA);
    memset(big, ' ', sizeof big - 1);
    CHECK_FAIL(pin("t", big), err, TOO_LARGE);
    TEXT_HAS(evs_pin_refusal, EVS_DIR_TYPE, "t", "larger than the limit");
    TEXT_IS(evs_pin_text, EVS_DIR_TYPE, "t", TOTAL "\n");
    REFUSED(w, "{}\n", SCHEMA);
    CHECK_EQ(pin("t", TOTAL "\n"), 0); /* the same again: no change, and no refusal any more */
    CHECK_EQ(pin_stat(EVS_DIR_TYPE, "t").refused, 1);
    CHECK_EQ(pin_stat(EVS_DIR_TYPE, "t").refusal_us, 0);

    CHECK_FAIL(pin_as(EVS_DIR_ENTITY, "a/b", "{\"q\":\"", 7), err, BAD_SCHEMA);
    TEXT_IS(evs_pin_refusal, EVS_DIR_ENTITY, "a/b",
            "{\"why\":\"line 1, column 7: the value was never finished\"}\n");
    for (uint32_t i = 0; i < LIMIT_PIN_ERRORS; i++) {
        char name[32];
        (void)sprintf(name, "n%u", i);
        CHECK_FAIL(pin(name, "x"), err, BAD_SCHEMA);
    }
    TEXT_IS(evs_pin_refusal, EVS_DIR_ENTITY, "a/b", ""); /* the oldest goes */
    TEXT_HAS(evs_pin_refusal, EVS_DIR_TYPE, "n0", "not JSON");
    evs_writer_free(w);
    stop();
}

static void test_the_next_one_must_be_compatible(void)
{
    start(":memory:");
    CHECK_EQ(pin("t", "{\"x-evfs-compatibility\":\"backward\",\"type\":\"integer\"}"), 0);
    CHECK_FAIL(pin("t", "{\"type\":\"string\"}"), err, INCOMPATIBLE);
    CHECK_STR(err.detail, "backward");
    TEXT_HAS(evs_pin_refusal, EVS_DIR_TYPE, "t", "\"backward\" of the pinned schema:\n");
    TEXT_HAS(evs_pin_text, EVS_DIR_TYPE, "t", "integer");
    CHECK_EQ(pin("t", "{\"x-evfs-compatibility\":\"forward\",\"type\":\"number\"}"), 0);
    CHECK_FAIL(pin("t", "{\"type\":[\"number\",\"null\"]}"), err, INCOMPATIBLE);
    CHECK_EQ(pin("t", "{\"x-evfs-compatibility\":\"full\",\"type\":\"integer\"}"), 0);
    CHECK_FAIL(pin("t", "{\"type\":\"number\"}"), err, INCOMPATIBLE);
    CHECK_EQ(pin("t", "{\"x-evfs-level\":\"off\",\"type\":\"integer\",\"title\":\"t\"}"), 0);
    CHECK_EQ(pin("t", "{\"type\":\"string\"}"), 0);
    stop();
}

static void test_it_is_kept(void)
{
    char *dir = model_dir();
    struct evs_error why;

    start(dir);
    CHECK_EQ(pin("t", " " TOTAL "\n"), 0);
    CHECK_EQ(pin("gone", "true"), 0);
    CHECK_EQ(pin_as(EVS_DIR_ENTITY, "o", "{\"required\":[\"a\"]}", 9), 0);
    CHECK_EQ(unpin(EVS_DIR_TYPE, "gone"), 0);
    int64_t when = pin_stat(EVS_DIR_TYPE, "t").time_us;
    stop();
    CHECK_EQ(evs_verify(dir, NULL, NULL, &err), 0);
    start(dir);
    TEXT_IS(evs_pin_text, EVS_DIR_TYPE, "t", " " TOTAL "\n");
    CHECK(when > 0 && pin_stat(EVS_DIR_TYPE, "t").time_us == when);
    CHECK_EQ(pin_stat(EVS_DIR_ENTITY, "o").uid, 9);
    CHECK(!pin_stat(EVS_DIR_TYPE, "gone").pinned);
    struct evs_writer *w = writer(EVS_ALL, NULL, NULL);
    REFUSED(w, "{\"entity\":\"e\",\"type\":\"t\",\"data\":{}}\n", SCHEMA);
    REFUSED(w, "{\"entity\":\"o/1\",\"type\":\"x\",\"data\":{}}\n", SCHEMA);
    evs_writer_free(w);
    stop();
    CHECK_EQ(evs_open(dir, &(struct evs_options){.read_only = true}, &st, &err), 0);
    TEXT_IS(evs_pin_text, EVS_DIR_ENTITY, "o", "{\"required\":[\"a\"]}");
    CHECK_FAIL(pin("t", "true"), err, READ_ONLY);
    CHECK_FAIL(unpin(EVS_DIR_TYPE, "t"), err, READ_ONLY);
    CHECK_EQ(evs_close(st, &why), 0);
    model_remove(dir);
}

/* One that a later program took, and this one can't compile: nothing that it is for gets in. */
static void test_what_does_not_compile_any_more_keeps_all_out(void)
{
    char *dir = model_dir(), text[512];
    struct meta *m;

    start(dir);
    stop();
    CHECK_EQ(meta_open(dir, false, &m, &err), 0);
    CHECK_EQ(meta_set_pin(m,
                          &(struct meta_pin){.kind = EVS_DIR_TYPE,
                                             .name = {"t", 1},
                                             .schema = {"{\"type\":\"nonsense\"}", 19}},
                          &err),
             0);
    meta_close(m);
    CHECK_EQ(evs_verify(dir, NULL, NULL, &err), 1);
    start(dir);
    struct evs_writer *w = writer(EVS_OWN_TYPE, "e", "t");
    REFUSED(w, "1\n", SCHEMA);
    CHECK_EQ(evs_health(st, text, sizeof text), 1);
    CHECK(strstr(text, "1 pinned schemas can't be compiled"));
    CHECK_EQ(pin("t", "true"), 0);
    TAKEN(w, "1\n");
    evs_writer_free(w);
    stop();
    model_remove(dir);
}

static void test_one_user_cannot_have_them_all(void)
{
    static char large[LIMIT_SCHEMA_BYTES - 10];
    uint32_t n = 0;
    char name[32];

    start(":memory:");
    memset(large, ' ', sizeof large - 1);
    memcpy(large, "true", 4);
    do
        (void)sprintf(name, "t%u", n++);
    while (pin_as(EVS_DIR_TYPE, name, large, 1001) == 0);
    CHECK_FAIL(-err.code, err, TOO_MANY);
    CHECK(strstr(err.detail, "by one user"));
    CHECK(n > 25 && n < 40); /* half of 64 MiB */
    TEXT_HAS(evs_pin_refusal, EVS_DIR_TYPE, name, "by one user");
    CHECK_EQ(pin_as(EVS_DIR_TYPE, name, large, 1002), 0);
    CHECK_EQ(pin_as(EVS_DIR_TYPE, "t0", "true", 1001), 0); /* less is always fine */
    do
        (void)sprintf(name, "t%u", ++n);
    while (pin_as(EVS_DIR_TYPE, name, large, 0) == 0);
    CHECK_FAIL(-err.code, err, TOO_MANY);
    CHECK(!strstr(err.detail, "by one user"));
    CHECK(n > 60 && n < 70);
    stop();
}

/* ---- writers while it changes ---- */

static _Atomic bool enough;
static _Atomic evs_seq at_pin; /* the newest event when evs_pin_set() had returned; 0: it has not */
static _Atomic uint64_t said;

static void prepare_event(struct batch *b, const char *text)
{
    struct prepared *p = batch_add(b);

    CHECK(p != NULL);
    CHECK(event_scan(text, strlen(text), 0, &b->scratch, &p->ev, &err) > 0);
    b->n++;
}

/* Of two events the second is refused. Before the first is stored the schema that did so is replaced, and the first
 * breaks the new one, which warns: what is told of the second is still what it broke. */
static void test_a_change_between_judging_and_telling(void)
{
    start(":memory:");
    const struct evs_target all = {.kind = EVS_ALL};
    struct evs_error why = {.why = EVS_OK_};
    CHECK_EQ(pin("t", "{\"required\":[\"a\"]}"), 0);
    struct batch *b = batch_get(st);
    prepare_event(b, "{\"entity\":\"e\",\"type\":\"t\",\"data\":{\"a\":1}} ");
    prepare_event(b, "{\"entity\":\"e\",\"type\":\"t\",\"data\":{}} ");
    CHECK_EQ(ingest_prepare(st, b, &all, &me, &why), 1);
    CHECK_EQ(why.why, EVS_SCHEMA);
    CHECK_EQ(pin("t", "{\"maxProperties\":0,\"x-evfs-level\":\"warn\"}"), 0);
    CHECK_EQ(ingest_commit(st, b, 1, false, &me, &err), 1);
    CHECK(b->p[0].warned);
    CHECK_STR(b->breach.why.keyword, "required");
    pins_count(&st->pins, b->breach.pin, false);
    CHECK_EQ(pin_stat(EVS_DIR_TYPE, "t").refused, 0); /* the new one refused nothing */
    batch_put(st, b);
    stop();
}

static void *append_until_refused(void *arg)
{
    struct evs_writer *w = writer(EVS_ALL, NULL, NULL);
    const bool tx = arg != NULL;
    struct evs_error why;

    while (!atomic_load(&enough)) {
        static const char one[] = "{\"entity\":\"e\",\"type\":\"t\",\"data\":{}}\n";
        static const char two[] = "[{\"entity\":\"e\",\"type\":\"t\",\"data\":{}},{\"entity\":"
                                  "\"f\",\"type\":\"t\",\"data\":{}}]\n";
        bool pinned = atomic_load(&at_pin) != 0;
        ssize_t r = evs_write(w, tx ? two : one, strlen(tx ? two : one), &me, &why);
        (void)atomic_fetch_add(&said, 1);
        if (r < 0)
            CHECK_FAIL((int)r, why, SCHEMA);
        CHECK(!pinned || r < 0);
    }
    evs_writer_free(w);
    return NULL;
}

static void test_nothing_follows_the_return_of_the_call(void)
{
    start(":memory:");
    for (int round = 0; round < 20; round++) {
        pthread_t t[3];
        atomic_store(&enough, false);
        atomic_store(&at_pin, 0);
        for (size_t i = 0; i < ARRAY_LEN(t); i++)
            CHECK_EQ(pthread_create(&t[i], NULL, append_until_refused, i == 0 ? &t : NULL), 0);
        for (uint64_t from = atomic_load(&said); atomic_load(&said) < from + 50;)
            ;
        CHECK_EQ(pin("t", TOTAL), 0);
        evs_seq end = evs_end(st);
        atomic_store(&at_pin, end);
        for (uint64_t from = atomic_load(&said); atomic_load(&said) < from + 50;)
            ;
        atomic_store(&enough, true);
        for (size_t i = 0; i < ARRAY_LEN(t); i++)
            CHECK_EQ(pthread_join(t[i], NULL), 0);
        CHECK_EQ(evs_end(st), end);
        CHECK_EQ(unpin(EVS_DIR_TYPE, "t"), 0);
    }
    stop();
}

static void *pin_and_unpin(void *arg)
{
    (void)arg;
    for (int i = 0; i < 300; i++) {
        struct evs_error why;
        const struct evs_dir d = dir_of(EVS_DIR_TYPE, "t");
        const char *schema = i % 2 ? "true" : TOTAL;
        CHECK_EQ(evs_pin_set(st, &d, schema, strlen(schema), &me, &why), 0);
        if (i % 5 == 0)
            CHECK_EQ(evs_pin_clear(st, &d, &why), 0);
    }
    atomic_store(&enough, true);
    return NULL;
}

static void test_changes_while_writers_run(void)
{
    pthread_t t[3];

    start(":memory:");
    atomic_store(&enough, false);
    atomic_store(&at_pin, 0);
    for (size_t i = 0; i < 2; i++)
        CHECK_EQ(pthread_create(&t[i], NULL, append_until_refused, i == 0 ? &t : NULL), 0);
    CHECK_EQ(pthread_create(&t[2], NULL, pin_and_unpin, NULL), 0);
    for (size_t i = 0; i < ARRAY_LEN(t); i++)
        CHECK_EQ(pthread_join(t[i], NULL), 0);
    CHECK(evs_end(st) > 0);
    stop();
}

static void test_checking_without_a_store(void)
{
    struct evs_checker *c;
    struct evs_breach b;

    CHECK_FAIL(evs_checker_new("{", 1, &c, &err), err, BAD_SCHEMA);
    CHECK_FAIL(evs_checker_new("{\"type\":\"nonsense\"}", 19, &c, &err), err, BAD_SCHEMA);
    CHECK_EQ(evs_checker_new(TOTAL, strlen(TOTAL), &c, &err), 0);
    CHECK_EQ(evs_checker_check(c, " {\"total\":1}\n", 13, &b), 1);
    CHECK_EQ(evs_checker_check(c, "{}", 2, &b), 0);
    CHECK_STR(b.keyword, "required");
    CHECK_STR(b.schema_path, "/required");
    CHECK_EQ(evs_checker_check(c, "{", 1, &b), 0);
    CHECK_STR(b.keyword, "");
    CHECK(strstr(b.text, "byte 1: "));
    evs_checker_free(c);

    /* A schema that was learned may be larger than what can be pinned. */
    const size_t n = LIMIT_SCHEMA_BYTES + 100;
    char *large = malloc(n);
    CHECK(large != NULL);
    memset(large, ' ', n);
    memcpy(large, TOTAL, strlen(TOTAL));
    CHECK_EQ(evs_checker_new(large, n, &c, &err), 0);
    CHECK_EQ(evs_checker_check(c, "{\"total\":1}", 11, &b), 1);
    CHECK_EQ(evs_checker_check(c, "{}", 2, &b), 0);
    free(large);
    evs_checker_free(c);
}

int main(void)
{
    RUN(test_what_breaks_it_is_refused_everywhere);
    RUN(test_a_batch_up_to_it_and_a_transaction_not_at_all);
    RUN(test_a_repeat_of_what_is_stored_is_taken);
    RUN(test_directories_hold_for_all_below);
    RUN(test_warn_stores_counts_and_lists);
    RUN(test_a_bad_schema_changes_nothing);
    RUN(test_the_next_one_must_be_compatible);
    RUN(test_it_is_kept);
    RUN(test_what_does_not_compile_any_more_keeps_all_out);
    RUN(test_one_user_cannot_have_them_all);
    RUN(test_a_change_between_judging_and_telling);
    RUN(test_nothing_follows_the_return_of_the_call);
    RUN(test_changes_while_writers_run);
    RUN(test_checking_without_a_store);
    CHECK_DONE();
}
