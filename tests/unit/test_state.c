/* SPDX-License-Identifier: MIT */
/* state: RFC 7386's examples, what is kept as written, and random patches against a model in
 * jansson. */
#include "check.h"

#include "store/scan.h"
#include "store/state.h"

#include <jansson.h>
#include <malloc.h>

static uint64_t seed;

static struct state *fresh(void)
{
    struct state *s = NULL;

    CHECK_EQ(state_new(&s, NULL), 0);
    return s;
}

/* Merge a copy of exactly n bytes, then void it: state keeps nothing of ours. */
static void merge(struct state *s, const char *json, size_t n)
{
    char *exact = malloc(n);

    memcpy(exact, json, n);
    CHECK_EQ(scan_whole(exact, n, NULL), 0);
    CHECK_EQ(state_merge(s, (struct slice){exact, n}, NULL), 0);
    memset(exact, '#', n);
    free(exact);
}

static void merge_all(struct state *s, const char *const *patches)
{
    for (; *patches; patches++)
        merge(s, *patches, strlen(*patches));
}

static void expect(const struct state *s, const char *want)
{
    char *text = NULL;
    size_t n = 0;

    CHECK_EQ(state_text(s, &text, &n, NULL), 0);
    CHECK(n > 0 && text[n - 1] == '\n');
    CHECK_MEM(text, n - 1, want, strlen(want));
    free(text);
}

#define FOLD(want, ...)                                                                            \
    do {                                                                                           \
        struct state *s_ = fresh();                                                                \
        merge_all(s_, (const char *const[]){__VA_ARGS__, NULL});                                   \
        expect(s_, want);                                                                          \
        state_free(s_);                                                                            \
    } while (0)

static void test_rfc_7386(void) /* appendix A: result, original, patch */
{
    FOLD("{\"a\":\"c\"}", "{\"a\":\"b\"}", "{\"a\":\"c\"}");
    FOLD("{\"a\":\"b\",\"b\":\"c\"}", "{\"a\":\"b\"}", "{\"b\":\"c\"}");
    FOLD("{}", "{\"a\":\"b\"}", "{\"a\":null}");
    FOLD("{\"b\":\"c\"}", "{\"a\":\"b\",\"b\":\"c\"}", "{\"a\":null}");
    FOLD("{\"a\":\"c\"}", "{\"a\":[\"b\"]}", "{\"a\":\"c\"}");
    FOLD("{\"a\":[\"b\"]}", "{\"a\":\"c\"}", "{\"a\":[\"b\"]}");
    FOLD("{\"a\":{\"b\":\"d\"}}", "{\"a\":{\"b\":\"c\"}}", "{\"a\":{\"b\":\"d\",\"c\":null}}");
    FOLD("{\"a\":[1]}", "{\"a\":[{\"b\":\"c\"}]}", "{\"a\":[1]}");
    FOLD("[\"c\",\"d\"]", "[\"a\",\"b\"]", "[\"c\",\"d\"]");
    FOLD("[\"c\"]", "{\"a\":\"b\"}", "[\"c\"]");
    FOLD("null", "{\"a\":\"foo\"}", "null");
    FOLD("\"bar\"", "{\"a\":\"foo\"}", "\"bar\"");
    FOLD("{\"a\":1}", "{\"e\":null}", "{\"a\":1}"); /* the store's first value is a patch as well */
    FOLD("{\"a\":\"b\"}", "[1,2]", "{\"a\":\"b\",\"c\":null}");
    FOLD("{\"a\":{\"bb\":{}}}", "{}", "{\"a\":{\"bb\":{\"ccc\":null}}}");
    FOLD("{\"title\":\"Hello!\",\"author\":{\"givenName\":\"John\"},\"tags\":[\"example\"],"
         "\"content\":\"This "
         "will be unchanged\",\"phoneNumber\":\"+01-123-456-7890\"}", /* section 3 */
         "{\"title\":\"Goodbye!\",\"author\":{\"givenName\":\"John\",\"familyName\":\"Doe\"},"
         "\"tags\":["
         "\"example\",\"sample\"],\"content\":\"This will be unchanged\"}",
         "{\"title\":\"Hello!\",\"phoneNumber\":\"+01-123-456-7890\",\"author\":{\"familyName\":"
         "null},"
         "\"tags\":[\"example\"]}");
}

static void test_kept(void)
{
    struct state *s = fresh();

    expect(s, "null");
    state_free(s);
    state_free(NULL);
    FOLD("{\"n\":1.50e+03,\"m\":-0}", "{ \"n\" : 1.50e+03 ,\n \"m\":-0\r\n}");
    FOLD("[null,{\"a\":null,\"a\":1},\" [ \",\"\\\" ,\\\\\"]",
         "[ null , { \"a\" : null, \"a\":\t1 } , \" [ \" , \"\\\" ,\\\\\" ]");
    FOLD("{\"s\":\"a b\\u0041\\\" \"}", "{\"s\" : \"a b\\u0041\\\" \"}");
    FOLD("{\"a\":3,\"b\":2}", "{\"a\":1}", "{\"b\":2}", "{\"a\":3}"); /* order of insertion */
    FOLD("{\"b\":2,\"a\":3}", "{\"a\":1,\"b\":2}", "{\"a\":null}",
         "{\"a\":3}"); /* anew: at the end */
    FOLD("7", "{\"a\":{}}", "7");
    FOLD("{}", "7", "{}");
    FOLD("{\"\":1}", "{\"\":{\"\":0}}", "{\"\":1}");
    FOLD("{\"a\":[1,2,3,4,5,6,7,8,9,10,11]}", "{\"a\":{\"b\":1}}",
         "{\"a\":[ 1,2,3,4,5,6,7,8,9,10,11 ]}");
}

static void test_keys_decoded(void)
{
    FOLD("{\"\\u0061b\":2}", "{\"\\u0061b\":1}", "{\"ab\":2}");
    FOLD("{\"ab\":2}", "{\"ab\":1}", "{\"a\\u0062\":2}");
    FOLD("{}", "{\"ab\":1}", "{\"a\\u0062\":null}");
    FOLD("{\"\\ud83d\\ude00\":2}", "{\"\\ud83d\\ude00\":1}", "{\"\xf0\x9f\x98\x80\":2}");
    FOLD("{\"\\/\":2}", "{\"\\/\":1}", "{\"/\":2}");
    FOLD("{\"\\u0000\":2,\"\":1,\"\\u0000\\u0000\":3}",
         "{\"\\u0000\":1,\"\":1,\"\\u0000\\u0000\":3}", "{\"\\u0000\":2}");
    FOLD("{\"\\ud800\":2,\"\\udc00\":1}", "{\"\\ud800\":1,\"\\udc00\":1}", "{\"\\uD800\":2}");
}

static void test_given_twice(void)
{
    FOLD("{\"a\":2}", "{\"a\":1,\"a\":2}");
    FOLD("{\"a\":{\"y\":2}}", "{\"a\":{\"x\":1},\"a\":{\"y\":2}}");
    FOLD("{\"a\":{\"o\":0,\"y\":2}}", "{\"a\":{\"o\":0}}", "{\"a\":{\"x\":1},\"a\":{\"y\":2}}");
    FOLD("{\"a\":{\"o\":0,\"y\":2}}", "{\"a\":{\"o\":0}}", "{\"a\":null,\"\\u0061\":{\"y\":2}}");
    FOLD("{\"a\":{\"o\":0,\"y\":2},\"b\":1}", "{\"a\":{\"o\":0}}",
         "{\"a\":5,\"b\":1,\"a\":{\"y\":2}}");
    FOLD("{}", "{\"a\":1,\"a\":null}");
    FOLD("{\"a\":1}", "{\"a\":null,\"a\":1}");
    FOLD("{\"a\":{\"b\":{\"d\":1}}}", "{\"a\":{\"b\":{\"c\":1},\"b\":{\"d\":2,\"d\":1}}}");
}

static void test_depth(void)
{
    char json[2 * 128 * 6];

    for (int depth = 1; depth <= 128; depth++) {
        size_t n = 0;
        for (int i = 0; i < depth - 1; i++, n += 5)
            memcpy(json + n, "{\"a\":", 5);
        n += (size_t)sprintf(json + n, "{}");
        memset(json + n, '}', (size_t)depth - 1);
        json[n + (size_t)depth - 1] = '\0';
        FOLD(json, json);
        FOLD(json, json, json);
    }
}

/* Many keys: with a search through all of them this would take minutes. */
static void test_many_keys(void)
{
    enum { N = 200000 };
    char *all = malloc(N * 24), *text, one[64];
    size_t n = 0, text_n;
    struct state *s = fresh();

    for (int i = 0; i < N; i++)
        n += (size_t)sprintf(all + n, "%c\"key %d\":%d", i ? ',' : '{', i, i);
    n += (size_t)sprintf(all + n, "}");
    merge(s, all, n);
    CHECK_EQ(state_text(s, &text, &text_n, NULL), 0);
    CHECK_MEM(text, text_n - 1, all, n);
    free(text);
    for (int i = N - 1; i > 0; i--) {
        int len = sprintf(one, "{\"key %d\":null}", i);
        merge(s, one, (size_t)len);
        if (i % 1000 == 500) /* was removed: comes back at the end, and goes again */
            merge_all(s,
                      (const char *const[]){"{\"key 199999\":{}}", "{\"key 199999\":null}", NULL});
    }
    expect(s, "{\"key 0\":0}");
    merge(s, all, n);
    CHECK_EQ(state_text(s, &text, &text_n, NULL), 0);
    CHECK_MEM(text, text_n - 1, all, n);
    free(text);
    free(all);
    state_free(s);
}

/* Superseded values and removed keys don't pile up. (Under a sanitizer mallinfo2() says
 * nothing.) */
static void test_memory(void)
{
    static char json[6000];
    struct state *s = fresh();
    size_t before = mallinfo2().uordblks;

    for (int i = 0; i < 50000; i++) {
        size_t pad = check_random(&seed) % (i % 100 ? 40 : 4000);
        int n = sprintf(json,
                        "{\"v\":\"%0*d\",\"w\":{\"k%d\":[%d,2,3,4,5,6,7,8,9,10]},\"none%d\":null}",
                        (int)pad, i, i, i, i);
        merge(s, json, (size_t)n);
        n = sprintf(json, "{\"w\":{\"k%d\":null}}", i);
        merge(s, json, (size_t)n);
    }
    for (int i = 0; i < 2000; i++) { /* large once, then small */
        int k = i % 1000,
            n = sprintf(json, "{\"w\":{\"k%d\":\"%0*d\"}}", k, i < 1000 ? 2000 : 20, k);
        merge(s, json, (size_t)n);
    }
    CHECK(mallinfo2().uordblks < before + 300000);
    merge(s, "{\"v\":0,\"w\":{\"k\":0}}", 19);
    merge_all(s, (const char *const[]){"{\"w\":0}", "{\"w\":{}}", NULL});
    expect(s, "{\"v\":0,\"w\":{}}");
    CHECK(mallinfo2().uordblks < before + 30000);
    state_free(s);
}

/* ---- against a model ------------------------------------------------------------------------- */

static json_t *model_merge(json_t *target, json_t *patch) /* RFC 7386, section 2, word for word */
{
    const char *key;
    size_t key_n;
    json_t *value;

    if (!json_is_object(patch)) {
        json_decref(target);
        return json_incref(patch);
    }
    if (!json_is_object(target)) {
        json_decref(target);
        target = json_object();
    }
    json_object_keylen_foreach(patch, key, key_n, value)
    {
        json_t *old = json_object_getn(target, key, key_n);
        if (json_is_null(value))
            (void)json_object_deln(target, key, key_n);
        else
            json_object_setn_new(target, key, key_n, model_merge(json_incref(old), value));
    }
    return target;
}

static const char *pick(const char *const *from, size_t n)
{
    return from[(check_random(&seed) >> 20) % n];
}
#define PICK(...)                                                                                  \
    pick((const char *const[]){__VA_ARGS__},                                                       \
         sizeof((const char *const[]){__VA_ARGS__}) / sizeof(char *))

static char *blank(char *o)
{
    return stpcpy(o, PICK("", "", "", " ", "\n", "\t\r\n"));
}

static char *random_value(char *o, unsigned depth, unsigned keys)
{
    uint64_t kind = (check_random(&seed) >> 20) % (depth ? 10 : 6);

    if (kind < 6)
        return stpcpy(o, PICK("null", "null", "true", "1.0", "-0", "17", "\"\"", "\"x \\\" ]\"",
                              "[]", "[ 1 , null]", "\"a text that is longer than sixteen bytes\"",
                              "12345678901234567"));
    bool array = kind == 6;
    unsigned n = (unsigned)(check_random(&seed) >> 20) % (array ? 3 : keys);
    o = stpcpy(o, array ? "[" : "{");
    for (unsigned i = 0; i < n; i++) {
        o = blank(i ? stpcpy(o, ",") : o);
        if (!array) {
            if (keys > 8)
                o += sprintf(o, "\"k%u\"", (unsigned)(check_random(&seed) >> 20) % 60);
            else
                o = stpcpy(o, PICK("\"a\"", "\"b\"", "\"\\u0061\"", "\"c d\"", "\"e\"",
                                   "\"\"")); /* jansson refuses NUL in keys */
            o = blank(stpcpy(blank(o), ":"));
        }
        o = random_value(o, depth - 1, 5);
        o = blank(o);
    }
    return stpcpy(o, array ? "]" : "}");
}

/* No blank outside of a string, no line feed but the last. */
static bool is_compact(const char *p, size_t n)
{
    bool in_string = false;

    for (size_t i = 0; i < n - 1; i++) {
        if (!in_string && scan_is_space(p[i]))
            return false;
        if (p[i] == '"')
            in_string = !in_string;
        else if (p[i] == '\\')
            i++;
    }
    return p[n - 1] == '\n';
}

static void test_model(void)
{
    static char json[1 << 18];
    const size_t flags = JSON_DECODE_ANY;

    for (int round = 0; round < 1500; round++) {
        struct state *s = fresh();
        json_t *model = NULL;
        int steps = 1 + (int)(check_random(&seed) >> 20) % 20;
        for (int i = 0; i < steps; i++) {
            size_t n = (size_t)(random_value(json, 4, round % 3 ? 6 : 50) - json), text_n = 0;
            char *text = NULL;
            json_t *patch = json_loadb(json, n, flags, NULL);
            CHECK(patch != NULL);
            model = model_merge(model, patch);
            json_decref(patch);
            merge(s, json, n);
            CHECK_EQ(state_text(s, &text, &text_n, NULL), 0);
            json_t *got = json_loadb(text, text_n, flags | JSON_REJECT_DUPLICATES, NULL);
            if (!got) /* an array may hold an object with a key twice, as written */
                got = json_loadb(text, text_n, flags, NULL);
            CHECK(got && json_equal(got, model));
            CHECK(is_compact(text, text_n));
            json_decref(got);
            free(text);
        }
        json_decref(model);
        state_free(s);
    }
}

int main(void)
{
    seed = check_seed();
    RUN(test_rfc_7386);
    RUN(test_kept);
    RUN(test_keys_decoded);
    RUN(test_given_twice);
    RUN(test_depth);
    RUN(test_many_keys);
    RUN(test_memory);
    RUN(test_model);
    CHECK_DONE();
}
