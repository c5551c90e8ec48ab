/* SPDX-License-Identifier: MIT */
/* crc: known values, and all ways to compute it against one bit at a time. */
#include "check.h"

#include "store/crc.h"

static uint32_t bitwise(uint32_t crc, const unsigned char *p, size_t n)
{
    crc = ~crc;
    while (n-- > 0) {
        crc ^= *p++;
        for (int i = 0; i < 8; i++)
            crc = crc >> 1 ^ (crc & 1 ? 0x82f63b78u : 0);
    }
    return ~crc;
}

/* RFC 3720, B.4, and the usual check value. */
static void test_known(void)
{
    unsigned char b[32];
    struct {
        const void *p;
        size_t n;
        uint32_t want;
    } cases[] = {{"123456789", 9, 0xe3069283u}, {"", 0, 0}, {"a", 1, 0xc1d04330u}};

    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        CHECK_EQ(crc32c(0, cases[i].p, cases[i].n), cases[i].want);
        CHECK_EQ(crc32c_table(0, cases[i].p, cases[i].n), cases[i].want);
    }
    memset(b, 0, sizeof b);
    CHECK_EQ(crc32c(0, b, sizeof b), 0x8a9136aau);
    CHECK_EQ(crc32c_table(0, b, sizeof b), 0x8a9136aau);
    memset(b, 0xff, sizeof b);
    CHECK_EQ(crc32c(0, b, sizeof b), 0x62a8ab43u);
    for (size_t i = 0; i < sizeof b; i++)
        b[i] = (unsigned char)i;
    CHECK_EQ(crc32c(0, b, sizeof b), 0x46dd794eu);
    CHECK_EQ(crc32c_table(0, b, sizeof b), 0x46dd794eu);
}

static uint64_t seed;

static unsigned char *random_bytes(size_t n)
{
    unsigned char *p = malloc(n ? n : 1); /* exactly n: a sanitizer sees a byte too much */

    for (size_t i = 0; i < n; i++)
        p[i] = (unsigned char)(check_random(&seed) >> 32);
    return p;
}

/* Every length where the number of lanes, words or odd bytes changes, at any alignment. */
static void test_lengths(void)
{
    for (size_t n = 0; n < 700; n++) {
        size_t shift = n % 8;
        unsigned char *p = random_bytes(n + shift);
        uint32_t before = (uint32_t)check_random(&seed), want = bitwise(before, p + shift, n);
        CHECK_EQ(crc32c(before, p + shift, n), want);
        CHECK_EQ(crc32c_table(before, p + shift, n), want);
        free(p);
    }
    for (size_t n = 3000; n < 20000; n += 1 + check_random(&seed) % 1500) {
        unsigned char *p = random_bytes(n);
        uint32_t want = bitwise(0, p, n);
        CHECK_EQ(crc32c(0, p, n), want);
        CHECK_EQ(crc32c_table(0, p, n), want);
        free(p);
    }
}

static void test_pieces(void)
{
    unsigned char *p = random_bytes(5000);
    uint32_t whole = crc32c(0, p, 5000);

    for (int i = 0; i < 300; i++) {
        size_t a = check_random(&seed) % 5001, b = a + check_random(&seed) % (5001 - a);
        uint32_t crc = crc32c(crc32c(crc32c(0, p, a), p + a, b - a), p + b, 5000 - b);
        CHECK_EQ(crc, whole);
    }
    free(p);
}

static void test_finds_changes(void)
{
    unsigned char *p = random_bytes(400);
    uint32_t crc = crc32c(0, p, 400);

    for (size_t bit = 0; bit < 400 * 8; bit++) {
        p[bit / 8] ^= (unsigned char)(1u << bit % 8);
        CHECK(crc32c(0, p, 400) != crc);
        p[bit / 8] ^= (unsigned char)(1u << bit % 8);
    }
    CHECK_EQ(crc32c(0, p, 400), crc);
    free(p);
}

static void two_are_one(void)
{
    for (size_t n = 0; n < 320; n++)
        for (size_t m = 0; m < 320; m += m < 40 ? 1 : 7) {
            unsigned char *p = random_bytes(n), *q = random_bytes(m);
            CHECK_EQ(crc32c_two(p, n, q, m), crc32c_table(crc32c_table(0, p, n), q, m));
            free(p);
            free(q);
        }
    for (size_t n = 500; n < 2060; n += n == 530 ? 1500 : 1) { /* where the lanes end */
        unsigned char *p = random_bytes(2 * n);
        CHECK_EQ(crc32c_two(p, n, p + n, n), crc32c_table(0, p, 2 * n));
        CHECK_EQ(crc32c_two(p, n, p + n, 64), crc32c_table(0, p, n + 64));
        CHECK_EQ(crc32c_two(p, 64, p + 64, n), crc32c_table(0, p, n + 64));
        free(p);
    }
}

static void words_are_bytes(void)
{
    uint64_t random = 7, w[4];

    for (int i = 0; i < 1000; i++) {
        for (int k = 0; k < 4; k++)
            w[k] = i ? check_random(&random) : 0;
        CHECK_EQ(crc32c_words(w[0], w[1], w[2], w[3]), crc32c_table(0, w, sizeof w));
    }
}

int main(void)
{
    RUN(words_are_bytes);
    seed = check_seed();
    RUN(test_known);
    RUN(test_lengths);
    RUN(test_pieces);
    RUN(test_finds_changes);
    RUN(two_are_one);
    CHECK_DONE();
}
