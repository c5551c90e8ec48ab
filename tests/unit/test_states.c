/* SPDX-License-Identifier: MIT */
/* States that are kept: what is dropped, what stays with who has it; and evs_state() with them against one fold of
 * all events, while entities grow and become directories, and while others read. */
#include "model.h"
#include "store/index.h"
#include "store/limits.h"
#include "store/scan.h"
#include "store/state.h"
#include "store/states.h"

#include <errno.h>
#include <pthread.h>

/* ---- the cache ---- */

#define ROOM DEFAULT_STATES_BYTES
#define MOST (ROOM / 8 - sizeof(struct kept_state) - 16) /* bytes of the largest that is kept */

static char big[MOST + 1];

static bool has(struct states *s, uint32_t entity, evs_seq last, const char *text, size_t n)
{
    struct kept_state *k = states_get(s, entity);
    bool same =
        k && k->entity == entity && k->last == last && k->n == n && memcmp(k->text, text, n) == 0;

    states_unref(s, k);
    return same;
}

static void an_older_state_takes_no_place(void)
{
    struct states s;

    states_init(&s, ROOM);
    CHECK(!states_get(&s, 7));
    CHECK_EQ(states_bytes(&s), 0);
    states_put(&s, 7, 3, "{}\n", 3);
    states_put(&s, 7 + DEFAULT_STATES, 4, "1\n", 2); /* the same slot */
    struct kept_state *held = states_get(&s, 7);
    states_put(&s, 7, 5, "{\"a\":1}\n", 8);
    states_put(&s, 7, 4, "null\n", 5);
    CHECK(has(&s, 7, 5, "{\"a\":1}\n", 8));
    CHECK(has(&s, 7 + DEFAULT_STATES, 4, "1\n", 2));
    CHECK(held && held->last == 3 && memcmp(held->text, "{}\n", 3) == 0);
    states_unref(&s, held);
    states_done(&s);
}

static void the_least_recently_used_go(void)
{
    struct states s;

    states_init(&s, ROOM);
    states_put(&s, 1, 1, big, sizeof big); /* larger than any may be */
    CHECK(!states_get(&s, 1));
    for (uint32_t e = 1; e <= 8; e++)
        states_put(&s, e, e, big, MOST);
    CHECK(has(&s, 1, 1, big, MOST)); /* the most recently used from here on */
    states_put(&s, 100, 1, big, MOST);
    CHECK(has(&s, 1, 1, big, MOST));
    CHECK(!states_get(&s, 2));
    CHECK(has(&s, 3, 3, big, MOST));
    CHECK(states_bytes(&s) <= ROOM + DEFAULT_STATES * sizeof(void *));

    for (uint32_t e = 1; e <= 2 * DEFAULT_STATES; e++)
        states_put(&s, e, 1000, "{}\n", 3);
    CHECK_EQ(s.n, DEFAULT_STATES);
    CHECK(!states_get(&s, DEFAULT_STATES));
    CHECK(has(&s, DEFAULT_STATES + 1, 1000, "{}\n", 3));
    CHECK(states_bytes(&s) <= ROOM + DEFAULT_STATES * sizeof(void *));
    states_done(&s);

    states_init(&s, 0);
    states_put(&s, 1, 1, "{}\n", 3);
    CHECK(!states_get(&s, 1));
    states_done(&s);
}

/* ---- evs_state() ---- */

static struct evs_store *st;
static struct evs_error err;

static evs_entity entity(const char *id)
{
    return evs_find_entity(st, id, strlen(id));
}

/* The merge of all lines of an entity, each read now. */
static char *fold_all(evs_entity e, size_t *ret_n)
{
    const struct evs_view v = {.kind = EVS_OWN, .entity = e};
    struct state *s;
    size_t n;
    char *lines = model_read(st, &v, &n), *text = NULL;

    CHECK_EQ(state_new(&s, &err), 0);
    for (char *p = lines, *lf; p < lines + n; p = lf + 1) {
        struct line l;
        lf = memchr(p, '\n', (size_t)(lines + n - p));
        CHECK_EQ(line_parse(p, (size_t)(lf + 1 - p), &l, NULL, NULL), 0);
        CHECK_EQ(state_merge(s, l.data, &err), 0);
    }
    CHECK_EQ(state_text(s, &text, ret_n, &err), 0);
    state_free(s);
    free(lines);
    return text;
}

static void is_right(evs_entity e)
{
    size_t n, want_n;
    char *json = NULL, *want = fold_all(e, &want_n);

    CHECK_EQ(evs_state(st, e, &json, &n, &err), 0);
    CHECK_MEM(json, n, want, want_n);
    free(json);
    free(want);
}

static const char *const ids[] = {"a", "d", "d/x", "b/c"};

/* A patch of any kind: scalars, nulls, arrays, objects within objects, keys with escapes and twice. */
static void add_patch(uint64_t *random, const char *id)
{
    static const char *const data[] = {
        "{\"k%u\":%u}",
        "{\"k%u\":null}",
        "{\"o\":{\"k%u\":%u,\"n\":{\"x\":[1, 2]}}}",
        "{\"o\":{\"n\":null,\"k%u\":\"%u\"}}",
        "{\"k%u\":{\"y\":%u},\"k1\":[null,{\"z\":null}]}",
        "{\"\\u006b%u\":%u,\"k2\":{\"deep\":{\"er\":1}},\"k2\":{\"last\":2}}",
        "{\"k%u\":\"a longer text of more than sixteen bytes, %u\"}",
        "{}",
        "[%u,%u]",
        "17",
        "null",
    };
    char text[300], value[200];
    uint64_t r = check_random(random);
    size_t kind = (r >> 8) % 200 ? (r >> 20) % 8 : 8 + (r >> 20) % 3; /* not an object: seldom */

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
    (void)snprintf(value, sizeof value, data[kind], (unsigned)(r >> 30) % 12,
                   (unsigned)(r >> 40) % 1000);
#pragma GCC diagnostic pop
    int n =
        snprintf(text, sizeof text, "{\"entity\":\"%s\",\"type\":\"t\",\"data\":%s}\n", id, value);
    CHECK_EQ(put(st, text), n);
}

static void a_state_grows_with_its_entity(void)
{
    uint64_t random = check_seed();

    CHECK_EQ(evs_open(":memory:", NULL, &st, &err), 0);
    for (int i = 0; i < 3000; i++) {
        uint64_t r = check_random(&random);
        const char *id = ids[r % (i < 500 ? 2 : ARRAY_LEN(ids))]; /* d becomes a directory */
        add_patch(&random, id);
        if ((r >> 10) % 3 == 0)
            is_right(entity(id));
        if ((r >> 20) % 7 == 0) /* again, with nothing new */
            is_right(entity(id));
    }
    for (size_t i = 0; i < ARRAY_LEN(ids); i++)
        is_right(entity(ids[i]));
    struct evs_stats s;
    evs_stats(st, &s);
    CHECK(s.state_bytes > DEFAULT_STATES * sizeof(void *));
    CHECK(s.state_bytes < DEFAULT_STATES * sizeof(void *) + 20000);

    char *json = NULL;
    size_t n;
    CHECK_EQ(evs_state(st, entity("b"), &json, &n, &err), -ENOENT); /* only something below */
    CHECK(!json);
    CHECK_EQ(evs_close(st, &err), 0);
}

static _Atomic bool writing;

/* {"n":i} of each event i: it never goes back, and every state was one once. */
static void *read_states(void *arg)
{
    const evs_entity e = entity(arg);
    uintptr_t asked = 0;
    long newest = 0;

    do {
        struct evs_error why;
        char *json = NULL;
        size_t n;
        CHECK_EQ(evs_state(st, e, &json, &n, &why), 0);
        char *end, *at = strstr(json, "\"n\":");
        CHECK(at && json[n - 1] == '\n');
        long now = strtol(at + 4, &end, 10);
        CHECK(now >= newest && *end == '}');
        newest = now;
        free(json);
        asked++;
    } while (atomic_load_explicit(&writing, memory_order_acquire));
    return (void *)asked;
}

static void states_are_read_while_they_grow(void)
{
    static char names[][2] = {"a", "d"};
    pthread_t th[4];
    char text[100];

    CHECK_EQ(evs_open(":memory:", NULL, &st, &err), 0);
    CHECK(put(st, "{\"entity\":\"a\",\"type\":\"t\",\"data\":{\"n\":0}}\n") > 0);
    CHECK(put(st, "{\"entity\":\"d\",\"type\":\"t\",\"data\":{\"n\":0}}\n") > 0);
    writing = true;
    for (size_t i = 0; i < ARRAY_LEN(th); i++)
        CHECK_EQ(pthread_create(&th[i], NULL, read_states, names[i % 2]), 0);
    for (int i = 1; i <= 3000; i++) {
        int n =
            snprintf(text, sizeof text, "{\"entity\":\"%s\",\"type\":\"t\",\"data\":{\"n\":%d}}\n",
                     i % 2 ? "a" : "d", i);
        CHECK_EQ(put(st, text), n);
    }
    atomic_store_explicit(&writing, false, memory_order_release);
    for (size_t i = 0; i < ARRAY_LEN(th); i++) {
        void *asked;
        (void)pthread_join(th[i], &asked);
        CHECK((uintptr_t)asked > 0);
    }
    is_right(entity("a"));
    is_right(entity("d"));
    CHECK_EQ(evs_close(st, &err), 0);
}

int main(void)
{
    RUN(an_older_state_takes_no_place);
    RUN(the_least_recently_used_go);
    RUN(a_state_grows_with_its_entity);
    RUN(states_are_read_while_they_grow);
    CHECK_DONE();
}
