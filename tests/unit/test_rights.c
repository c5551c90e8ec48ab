/* SPDX-License-Identifier: MIT */
/* Who may append what: rights that change while an append is under way, and what a refusal tells. */
#include "model.h"
#include "store/ingest.h"

#include <errno.h>
#include <stdio.h>

static struct evs_store *st;
static struct evs_error err;
static const struct evs_cred me = {.uid = 7, .gid = 7};

static void start(void)
{
    CHECK_EQ(evs_open(":memory:", NULL, &st, &err), 0);
}

static void stop(void)
{
    CHECK_EQ(evs_close(st, &err), 0);
}

static struct evs_writer *writer(enum evs_view_kind kind, const char *entity, const char *type)
{
    struct evs_writer *w = NULL;
    const struct evs_target t = {kind, entity, entity ? strlen(entity) : 0, type,
                                 type ? strlen(type) : 0};

    CHECK_EQ(evs_writer_new(st, &t, "f.jsonl", &w, &err), 0);
    return w;
}

static ssize_t say(struct evs_writer *w, const char *text)
{
    return evs_write(w, text, strlen(text), &me, &err);
}

/* The text is refused as a whole, for this reason, and nothing is stored. */
#define REFUSED(w, text, reason)                                                                   \
    do {                                                                                           \
        evs_seq end_ = evs_end(st);                                                                \
        ssize_t said_ = say(w, text);                                                              \
        CHECK_FAIL(said_, err, reason);                                                            \
        CHECK_EQ(evs_end(st), end_);                                                               \
    } while (0)
#define TAKEN(w, text) CHECK_EQ(say(w, text), strlen(text))

static const struct evs_dir acme = {EVS_DIR_ENTITY, "acme", 4};

static void own_acme(mode_t mode)
{
    CHECK_EQ(evs_set_owner(st, &acme, &(struct evs_owner){5, 6, mode}, &err), 0);
}

/* text's events, prepared through /events.jsonl. */
static struct batch *prepared(const char *text)
{
    struct batch *b = batch_get(st);
    const struct evs_target all = {.kind = EVS_ALL};
    size_t n = strlen(text);

    for (size_t at = 0; at < n;) {
        struct prepared *p = batch_add(b);
        ssize_t r = event_scan(text + at, n - at, 0, &b->scratch, &p->ev, &err);
        CHECK(r > 0);
        p->ev.pos = (uint32_t)at;
        b->n++;
        at += (size_t)r + 1; /* a line feed */
    }
    CHECK_EQ(ingest_prepare(st, b, &all, &me, &err), b->n);
    return b;
}

static const char three[] = "{\"entity\":\"x\",\"type\":\"t\"}\n"
                            "{\"entity\":\"acme/1\",\"type\":\"t\"}\n"
                            "{\"entity\":\"y\",\"type\":\"t\"}\n";

static void test_a_chmod_overtakes_an_append(void)
{
    start();
    own_acme(0777);
    struct batch *b = prepared(three);
    own_acme(0700);
    CHECK_EQ(ingest_commit(st, b, 3, false, &me, &err), 1);
    CHECK_EQ(err.why, EVS_DENIED);
    CHECK_EQ(err.pos, b->p[1].ev.pos);
    CHECK_EQ(evs_end(st), 1);
    batch_put(st, b);

    own_acme(0777);
    b = prepared(three); /* as a transaction: nothing */
    own_acme(0700);
    CHECK_EQ(ingest_commit(st, b, 3, true, &me, &err), 0);
    CHECK_EQ(err.why, EVS_DENIED);
    CHECK_EQ(evs_end(st), 1);
    batch_put(st, b);

    own_acme(0777);
    b = prepared(three); /* owners changed, but not for the worse */
    own_acme(0733);
    CHECK_EQ(ingest_commit(st, b, 3, true, &me, &err), 3);
    CHECK_EQ(evs_end(st), 4);
    batch_put(st, b);

    b = prepared(three); /* nor does it matter to what lies elsewhere */
    own_acme(0700);
    CHECK_EQ(ingest_commit(st, b, 1, true, &me, &err), 1);
    batch_put(st, b);
    stop();
}

static void test_who_may_not_write_learns_nothing(void)
{
    start();
    struct evs_writer *w = writer(EVS_ALL, NULL, NULL);
    TAKEN(w, "{\"entity\":\"acme/1\",\"type\":\"t\",\"id\":\"a\",\"data\":1}\n");
    own_acme(0700);
    /* a repeat, another content, a version that is wrong or right, a name too long, an id that is new */
    REFUSED(w, "{\"entity\":\"acme/1\",\"type\":\"t\",\"id\":\"a\",\"data\":1}\n", DENIED);
    REFUSED(w, "{\"entity\":\"acme/1\",\"type\":\"t\",\"id\":\"a\",\"data\":2}\n", DENIED);
    REFUSED(w, "{\"entity\":\"acme/1\",\"type\":\"t\",\"expected_version\":7}\n", DENIED);
    REFUSED(w, "{\"entity\":\"acme/1\",\"type\":\"t\",\"expected_version\":1}\n", DENIED);
    REFUSED(w, "{\"entity\":\"acme/2\",\"type\":\"t\",\"expected_version\":1}\n", DENIED);
    REFUSED(w, "{\"entity\":\"acme/1\",\"type\":\"t\",\"id\":\"b\"}\n", DENIED);
    CHECK_EQ(err.detail[0], '\0');
    char name[600];
    (void)snprintf(name, sizeof name, "{\"type\":\"t\",\"entity\":\"acme/%0500d\"}\n", 0);
    REFUSED(w, name, DENIED);
    /* in a transaction as well, whatever stands before and behind it */
    REFUSED(w,
            "[{\"entity\":\"x\",\"type\":\"t\",\"expected_version\":7},"
            "{\"entity\":\"acme/1\",\"type\":\"t\",\"id\":\"a\",\"data\":2},"
            "{\"entity\":\"x\",\"type\":\"t\"}]\n",
            DENIED);
    evs_writer_free(w);
    stop();
}

int main(void)
{
    RUN(test_a_chmod_overtakes_an_append);
    RUN(test_who_may_not_write_learns_nothing);
    CHECK_DONE();
}
