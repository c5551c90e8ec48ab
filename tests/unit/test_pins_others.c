/* SPDX-License-Identifier: MIT */
/* pins_others: who pins and unpins where he may keeps nobody else from appending. */
#include "model.h"

#include <pthread.h>
#include <stdatomic.h>

#define XY      "xyxyxyxyxyxyxyxyxyxy"
#define PATTERN "{\"pattern\":\"^(x|y|xy)*$\"}"

static struct evs_store *st;
static struct evs_error err;
static const struct evs_cred me = {.uid = 7, .pid = 99};
static _Atomic bool enough;
static _Atomic unsigned said; /* how often the other has pinned */

static void *pin_another(void *arg)
{
    (void)arg;
    for (unsigned i = 0; !atomic_load(&enough); i++) {
        struct evs_error why;
        const struct evs_dir d = {i % 2 ? EVS_DIR_TYPE : EVS_DIR_ENTITY, "another", 7};
        char schema[40];
        int n = snprintf(schema, sizeof schema, "{\"title\":\"%u\"}", i);
        CHECK_EQ(evs_pin_set(st, &d, schema, (size_t)n, &me, &why), 0);
        (void)atomic_fetch_add(&said, 1);
    }
    return NULL;
}

/* Judging them takes longer than another user takes to pin anew. */
static void test_pins_of_others_keep_nobody_waiting(void)
{
    enum { EVENTS = 20000, BYTES = 160 };
    char *text = malloc(EVENTS * BYTES + 8), *p = text;
    const struct evs_dir d = {EVS_DIR_TYPE, "t", 1};
    struct evs_writer *w = NULL;
    pthread_t t;

    CHECK(text != NULL);
    for (int i = 0; i < EVENTS; i++)
        p += sprintf(p, "%c{\"entity\":\"e/%d\",\"type\":\"t\",\"data\":\"" XY XY XY XY "\"}",
                     i ? ',' : '[', i % 100);
    (void)strcpy(p, "]\n");
    CHECK_EQ(evs_open(":memory:", NULL, &st, &err), 0);
    CHECK_EQ(evs_pin_set(st, &d, PATTERN, strlen(PATTERN), &me, &err), 0);
    atomic_store(&enough, false);
    atomic_store(&said, 0);
    CHECK_EQ(pthread_create(&t, NULL, pin_another, NULL), 0);
    while (atomic_load(&said) < 10)
        ;
    CHECK_EQ(evs_writer_new(st, &(struct evs_target){.kind = EVS_ALL}, NULL, &w, &err), 0);
    CHECK_EQ(evs_write(w, text, strlen(text), &me, &err), (ssize_t)strlen(text));
    evs_writer_free(w);
    atomic_store(&enough, true);
    CHECK_EQ(pthread_join(t, NULL), 0);
    CHECK_EQ(evs_end(st), EVENTS);
    free(text);
    CHECK_EQ(evs_close(st, &err), 0);
}

int main(void)
{
    RUN(test_pins_of_others_keep_nobody_waiting);
    CHECK_DONE();
}
