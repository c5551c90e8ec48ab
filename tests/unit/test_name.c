/* SPDX-License-Identifier: MIT */
/* name: encoding and decoding are inverse, injective and canonical; limits; the hash spreads. */
#include "check.h"

#include "store/limits.h"
#include "store/name.h"

#include <errno.h>

static uint64_t seed;

static int decode(const char *comp, size_t n, bool is_type, char *out, size_t cap,
                  struct evs_error *err)
{
    char *exact = malloc(n ? n : 1);
    int r;

    memcpy(exact, comp, n);
    r = evs_decode_component(exact, n, is_type, out, cap, err);
    free(exact);
    return r;
}

static void both_ways(const char *name, const char *want, bool is_type)
{
    char out[EVS_PATH_MAX], back[256];
    struct evs_error err;
    int n = is_type ? evs_encode_type(name, strlen(name), out, sizeof out, &err)
                    : evs_encode_entity(name, strlen(name), out, sizeof out, &err);

    CHECK_MEM(out, n, want, strlen(want));
    CHECK_EQ(out[n < 0 ? 0 : n], '\0');
    n = decode(want, strlen(want), is_type, back, sizeof back, &err);
    CHECK_MEM(back, n, name, strlen(name));
}

static void test_rules(void)
{
    static const char *const same[][2] = {
        {"a", "a"},
        {"42", "42"},
        {".", "%2E"},
        {"..", "%2E%2E"},
        {"...", "..."},
        {".git", ".git"},
        {"x~", "x~"},
        {"a%b", "a%25b"},
        {"%", "%25"},
        {"%2E", "%252E"},
        {"a.jsonl", "a%2Ejsonl"},
        {"a.json", "a%2Ejson"},
        {"a.csv", "a%2Ecsv"},
        {".csv", "%2Ecsv"},
        {".json", "%2Ejson"},
        {"a..json", "a.%2Ejson"},
        {"a.json.json", "a.json%2Ejson"},
        {"a.jsonl.x", "a.jsonl.x"},
        {"a.JSON", "a.JSON"},
        {"json", "json"},
        {"events", "%65vents"},
        {"Events", "Events"},
        {"events2", "events2"},
        {"event", "event"},
        {"events.jsonl", "events%2Ejsonl"},
        {"a\nb", "a%0Ab"},
        {"\x01", "%01"},
        {"\x7f", "%7F"},
        {"\x1f\x20", "%1F "},
        {"Z\xc3\xbcrich", "Z\xc3\xbcrich"},
        {"a b:c*?\"<>|\\", "a b:c*?\"<>|\\"},
        {"schema", "schema"},
    };

    for (size_t i = 0; i < sizeof same / sizeof same[0]; i++) {
        both_ways(same[i][0], same[i][1], false);
        both_ways(same[i][0], same[i][1], true);
    }
    both_ways("a/b", "a%2Fb", true);
    both_ways("/", "%2F", true);
    both_ways("./..", ".%2F..", true);
}

static void test_paths(void)
{
    static const char *const paths[][2] = {
        {"orders/42", "orders/42"},
        {"a//b", "a/%/b"},
        {"/", "%/%"},
        {"/a", "%/a"},
        {"a/", "a/%"},
        {"./../x", "%2E/%2E%2E/x"},
        {"events/events", "%65vents/%65vents"},
        {"a.csv/b", "a%2Ecsv/b"},
    };
    char out[EVS_PATH_MAX];

    for (size_t i = 0; i < sizeof paths / sizeof paths[0]; i++) {
        int n = evs_encode_entity(paths[i][0], strlen(paths[i][0]), out, sizeof out, NULL);
        CHECK_MEM(out, n, paths[i][1], strlen(paths[i][1]));
    }
    CHECK_EQ(decode("%", 1, false, out, sizeof out, NULL), 0);
}

static void test_not_canonical(void)
{
    static const char *const bad[] = {
        "%2e",      "%2F",          "%41",          "%",          "a%",     "%2",      "%2E%2E%2E",
        ".",        "..",           "%2E.",         ".%2E",       "%0a",    "%00",     "a%00",
        "events",   "%45vents",     "%65vent",      "%65%76ents", "a.json", "a.jsonl", "a.csv",
        "a%2Ejso",  "%7e",          "%20",          "%2525%",     "%zz",    "%+1",     "\n",
        "\xff",     "caf\xc3",      "\xed\xa0\x80", "\x7f",       "a/b",    "",        "a%2E",
        "x%2E.csv", "%2Ecsv%2Ecsv", "%C3%BC",
    };
    char out[256];
    struct evs_error err;

    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        if (strcmp(bad[i], "%") != 0)
            CHECK_FAIL(decode(bad[i], strlen(bad[i]), false, out, sizeof out, &err), err, NO_SUCH);
        if (strcmp(bad[i], "%2F") != 0)
            CHECK_FAIL(decode(bad[i], strlen(bad[i]), true, out, sizeof out, &err), err, NO_SUCH);
    }
    CHECK_FAIL(decode("a\0b", 3, true, out, sizeof out, &err), err, NO_SUCH);
}

static void test_limits(void)
{
    char id[2048], out[EVS_PATH_MAX];
    struct evs_error err;

    memset(id, 'a', sizeof id);
    CHECK_EQ(evs_encode_entity(id, 249, out, sizeof out, &err), 249);
    CHECK_FAIL(evs_encode_entity(id, 250, out, sizeof out, &err), err, NAME_TOO_LONG);
    CHECK_EQ(decode(id, 249, false, out, sizeof out, &err), 249);
    CHECK_FAIL(decode(id, 250, false, out, sizeof out, &err), err, NAME_TOO_LONG);
    memcpy(id, "x/y/", 4); /* the third component is the long one */
    CHECK_EQ(name_check_entity((struct slice){id, 253}, 100, &err), 0);
    CHECK_FAIL(name_check_entity((struct slice){id, 254}, 100, &err), err, NAME_TOO_LONG);
    CHECK_EQ(err.pos, 104);
    memcpy(id + 248, ".json", 5); /* 249 bytes, but 251 encoded */
    CHECK_FAIL(name_check_entity((struct slice){id, 253}, 0, &err), err, NAME_TOO_LONG);
    CHECK_EQ(name_check_entity((struct slice){id + 2, 251}, 0, NULL), -ENAMETOOLONG);

    memset(id, '\n', sizeof id);
    CHECK_EQ(name_check_entity((struct slice){id, 83}, 0, &err), 0); /* 3 * 83 = 249 */
    CHECK_FAIL(name_check_entity((struct slice){id, 84}, 0, &err), err, NAME_TOO_LONG);
    CHECK_EQ(name_check_type((struct slice){id, 83}, 0, &err), 0);
    CHECK_FAIL(name_check_type((struct slice){id, 84}, 0, &err), err, NAME_TOO_LONG);
    memset(id, '/', sizeof id);
    CHECK_FAIL(name_check_type((struct slice){id, 84}, 7, &err), err, NAME_TOO_LONG);
    CHECK_EQ(err.pos, 7);

    for (size_t n = 1; n < 1024; n++) /* n slashes are n + 1 components */
        CHECK_EQ(name_check_entity((struct slice){id, n}, 0, NULL), n < 32 ? 0 : -ENAMETOOLONG);
    for (size_t i = 0; i < sizeof id; i += 2)
        id[i] = 'a';
    CHECK_EQ(evs_encode_entity(id, 63, out, sizeof out, &err), 63);
    CHECK_FAIL(evs_encode_entity(id, 65, out, sizeof out, &err), err, NAME_TOO_LONG);

    memset(id, 'a', sizeof id);
    CHECK_EQ(evs_encode_type(id, 128, out, sizeof out, &err), 128);
    CHECK_FAIL(evs_encode_type(id, 129, out, sizeof out, &err), err, NAME_TOO_LONG);
    for (size_t i = 200; i < sizeof id; i += 200)
        id[i] = '/';
    CHECK_EQ(evs_encode_entity(id, 1024, out, sizeof out, &err), 1024);
    CHECK_FAIL(evs_encode_entity(id, 1025, out, sizeof out, &err), err, NAME_TOO_LONG);
}

static void test_refused(void)
{
    char out[8];
    struct evs_error err;

    CHECK_FAIL(evs_encode_entity("", 0, out, sizeof out, &err), err, BAD_NAME);
    CHECK_FAIL(evs_encode_type("", 0, out, sizeof out, &err), err, BAD_NAME);
    CHECK_FAIL(evs_encode_entity("a\0b", 3, out, sizeof out, &err), err, BAD_NAME);
    CHECK_EQ(err.pos, 1);
    CHECK_FAIL(evs_encode_entity("a\xff", 2, out, sizeof out, &err), err, BAD_UTF8);
    CHECK_FAIL(evs_encode_type("\xed\xa0\x80", 3, out, sizeof out, &err), err, BAD_UTF8);
    CHECK_FAIL(evs_encode_type("\0", 1, out, sizeof out, &err), err, BAD_NAME);
    CHECK_EQ(evs_encode_entity("abc/efg", 7, out, 8, &err), 7);
    CHECK_EQ(evs_encode_entity("abc/efgh", 8, out, 8, &err), -ERANGE);
    CHECK_EQ(evs_encode_type("abc/e", 5, out, 8, &err), 7);
    CHECK_EQ(evs_encode_type("abc/ef", 6, out, 8, &err), -ERANGE);
    CHECK_EQ(evs_decode_component("abc", 3, false, out, 3, &err), 3);
    CHECK_EQ(evs_decode_component("abcd", 4, false, out, 3, &err), -ERANGE);
}

/* UTF-8 that meets the rules often: dots, endings, '%', digits, control bytes, '/'. */
static size_t random_name(char *out, size_t max, bool slashes)
{
    static const char *const parts[] = {".",   ".json", ".jsonl",   ".csv", "events", "%",
                                        "%2E", "%65",   "vents",    "a",    "2E",     "\n",
                                        "%2F", "..",    "\xc3\xa9", "%0A"};
    size_t n = 0, want = 1 + check_random(&seed) % max;

    while (n < want) {
        uint64_t r = check_random(&seed) >> 20;
        const char *part = parts[r % 16];
        if (r % 5 == 0)
            out[n++] = (char)(1 + r / 8 % 127);
        else if (r % 5 == 1)
            out[n++] = '/';
        else
            for (; *part; part++)
                out[n++] = *part;
        if (!slashes && out[n - 1] == '/')
            n--;
    }
    return n;
}

static void test_round_trip(void)
{
    char id[64], out[EVS_PATH_MAX], back[EVS_PATH_MAX];

    for (int i = 0; i < 100000; i++) {
        size_t n = random_name(id, i % 2 ? 40 : 9, true), at = 0;
        int len = evs_encode_entity(id, n, out, sizeof out, NULL), used = 0;
        if (len < 0) { /* only for too many components */
            CHECK_EQ(len, -ENAMETOOLONG);
            continue;
        }
        while (used <= len) {
            int end = used + (int)strcspn(out + used, "/");
            CHECK(end > used && end - used <= 249);
            int part =
                decode(out + used, (size_t)(end - used), false, back + at, sizeof back - at, NULL);
            CHECK(part >= 0);
            at += part < 0 ? 0 : (size_t)part;
            back[at++] = '/';
            used = end + 1;
        }
        CHECK_MEM(back, at - 1, id, n);
        len = evs_encode_type(id, n, out, sizeof out, NULL);
        CHECK(len > 0 && !strchr(out, '/'));
        len = decode(out, len < 0 ? 0 : (size_t)len, true, back, sizeof back, NULL);
        CHECK_MEM(back, len, id, n);
    }
}

/* Any component: decoding succeeds exactly where encoding what it would be gives it back. */
static void test_canonical(void)
{
    char comp[64], name[64], out[EVS_PATH_MAX];
    int decoded = 0;

    for (int i = 0; i < 200000; i++) {
        size_t n = random_name(comp, 10, false);
        bool is_type = check_random(&seed) % 2;
        int len = decode(comp, n, is_type, name, sizeof name, NULL);
        if (len >= 0) {
            int again = is_type ? evs_encode_type(name, (size_t)len, out, sizeof out, NULL)
                                : evs_encode_entity(name, (size_t)len, out, sizeof out, NULL);
            if (len > 0)
                CHECK_MEM(out, again, comp, n);
            decoded++;
        } else {
            CHECK_EQ(len, -ENOENT);
        }
        /* A name that encodes to itself is one that decodes. */
        int same = evs_encode_type(comp, n, out, sizeof out, NULL);
        if (same == (int)n && memcmp(out, comp, n) == 0)
            CHECK_EQ(decode(comp, n, true, name, sizeof name, NULL), n);
    }
    CHECK(decoded > 1000 && decoded < 199000);
}

/* No two of many short names share an encoding: all strings of up to 3 bytes over a mean
 * alphabet. */
static void test_injective(void)
{
    static const char alphabet[] = "%.2E/\na";
    enum { N = 7 * 7 * 7 + 7 * 7 + 7 };
    static char seen[N][32];
    int count = 0;

    for (int n = 1; n <= 3; n++) {
        for (int k = 0; k < (n == 1 ? 7 : n == 2 ? 49 : 343); k++) {
            char name[3] = {alphabet[k % 7], alphabet[k / 7 % 7], alphabet[k / 49]};
            CHECK(evs_encode_type(name, (size_t)n, seen[count], sizeof seen[0], NULL) > 0);
            for (int i = 0; i < count; i++)
                CHECK(strcmp(seen[i], seen[count]) != 0);
            count++;
        }
    }
    CHECK_EQ(count, N);
}

/* The fast look at eight bytes at once agrees with encoding, at every place and for every byte. */
static void test_fast_look(void)
{
    char id[251];

    for (int c = 1; c < 256; c++) {
        for (size_t at = 0; at < 20; at++) {
            struct slice all = {id, 248}; /* one byte more than 249 if it is encoded */
            memset(id, 'x', sizeof id);
            id[at + 30] = (char)c;
            bool odd = c < 0x20 || c == 0x7f || c == '%';
            CHECK_EQ(name_check_entity(all, 0, NULL), odd ? -ENAMETOOLONG : 0);
            CHECK_EQ(name_check_type(all, 0, NULL), odd || c == '/' ? -ENAMETOOLONG : 0);
        }
    }
}

/* On disk: these numbers must never change. */
static void test_hash_fixed(void)
{
    static const struct {
        const char *name;
        uint64_t hash;
    } known[] = {
        {"", 0x6dd81c0b2d687a2cu},
        {"a", 0x78b39f85b993ce39u},
        {"abcd", 0x48579b7bc2a27cffu},
        {"placed", 0x3e39474514d61d7au},
        {"orders/42", 0x4beb6261974af747u},
        {"orders/4212345678901", 0x728b7f518a785898u},
        {"tenant/acme/orders/4212345678901234567890", 0x0e31bd2ef4452c9au},
    };

    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++)
        CHECK_EQ(name_hash(known[i].name, strlen(known[i].name), 1), known[i].hash);
}

static void test_hash_spreads(void)
{
    enum { BITS = 18, N = 1 << (BITS - 1) };
    static const struct {
        const char *before, *after;
        int width;
    } forms[] = {
        {"", "", 1}, {"orders/", "", 1}, {"customers/eu-central/", "/orders/of/this/year", 8}};
    static uint8_t seen[1 << BITS];
    char name[64];

    for (size_t f = 0; f < 3; f++) {
        int shared[2] = {0, 0};
        for (int part = 0; part < 2; part++) { /* low bits; bits 14 to 31 */
            memset(seen, 0, sizeof seen);
            for (int i = 0; i < N; i++) {
                int n = snprintf(name, sizeof name, "%s%0*d%s", forms[f].before, forms[f].width, i,
                                 forms[f].after);
                uint64_t h = name_hash(name, (size_t)n, 5);
                uint32_t slot = (uint32_t)h >> (part ? 32 - BITS : 0) & ((1u << BITS) - 1);
                shared[part] += seen[slot] != 0;
                seen[slot] = 1;
            }
            /* Half a name a slot: N - S (1 - exp(-1/2)) = 27,925 share one, by chance +- 150. */
            CHECK(shared[part] > 26900 && shared[part] < 28900);
        }
    }
}

/* Each bit of name, length and seed moves each half of the hash. */
static void test_hash_bits(void)
{
    for (size_t n = 0; n <= 70; n++) {
        char *p = malloc(n + 1);
        memset(p, 0, n + 1);
        uint64_t h = name_hash(p, n, 0);
        CHECK((uint32_t)h != (uint32_t)name_hash(p, n + 1, 0));
        for (int bit = 0; bit < 64; bit++)
            CHECK((uint32_t)h != (uint32_t)name_hash(p, n, 1ull << bit));
        for (size_t bit = 0; bit < 8 * n; bit++) {
            p[bit / 8] = (char)(1 << bit % 8);
            uint64_t other = name_hash(p, n, 0);
            CHECK((uint32_t)h != (uint32_t)other && h >> 32 != other >> 32);
            p[bit / 8] = 0;
        }
        free(p);
    }
}

int main(void)
{
    seed = check_seed();
    RUN(test_rules);
    RUN(test_paths);
    RUN(test_not_canonical);
    RUN(test_limits);
    RUN(test_refused);
    RUN(test_round_trip);
    RUN(test_canonical);
    RUN(test_injective);
    RUN(test_fast_look);
    RUN(test_hash_fixed);
    RUN(test_hash_spreads);
    RUN(test_hash_bits);
    CHECK_DONE();
}
