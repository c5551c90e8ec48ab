/* SPDX-License-Identifier: MIT */
/* check: what unit tests stand on. Never compiled out; a failed check prints both sides and the test goes
 * on; the process ends with 1. A test is a function run by RUN(); the last line of main is CHECK_DONE(). */
#ifndef CHECK_H
#define CHECK_H

#include "store/error.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int check_failed, check_tests;

#define CHECK(cond)                                                                                \
    do {                                                                                           \
        if (!(cond)) {                                                                             \
            check_failed++;                                                                        \
            fprintf(stderr, "%s:%d: not so: %s\n", __FILE__, __LINE__, #cond);                     \
        }                                                                                          \
    } while (0)

#define CHECK_EQ(got, want)                                                                        \
    do {                                                                                           \
        int64_t got_ = (int64_t)(got), want_ = (int64_t)(want);                                    \
        if (got_ != want_) {                                                                       \
            check_failed++;                                                                        \
            fprintf(stderr, "%s:%d: %s is %" PRId64 ", not %" PRId64 "\n", __FILE__, __LINE__,     \
                    #got, got_, want_);                                                            \
        }                                                                                          \
    } while (0)

#define CHECK_MEM(got, got_n, want, want_n)                                                        \
    do {                                                                                           \
        size_t gn_ = (size_t)(got_n), wn_ = (size_t)(want_n);                                      \
        const char *g_ = (got), *w_ = (want);                                                      \
        if (gn_ != wn_ || (gn_ && memcmp(g_, w_, gn_) != 0)) {                                     \
            check_failed++;                                                                        \
            fprintf(stderr, "%s:%d: %s is '%.*s' (%zu), not '%.*s' (%zu)\n", __FILE__, __LINE__,   \
                    #got, (int)gn_, g_, gn_, (int)wn_, w_, wn_);                                   \
        }                                                                                          \
    } while (0)
#define CHECK_STR(got, want) CHECK_MEM(got, strlen(got), want, strlen(want))

/* r failed, and err (a struct evs_error, just filled) says reason. */
#define CHECK_FAIL(r, err, reason)                                                                 \
    do {                                                                                           \
        int64_t r_ = (int64_t)(r);                                                                 \
        if (r_ >= 0 || (err).why != EVS_##reason) {                                                \
            check_failed++;                                                                        \
            fprintf(stderr, "%s:%d: %s is %" PRId64 " (%s), not " #reason "\n", __FILE__,          \
                    __LINE__, #r, r_, r_ < 0 ? evs_reason_name((err).why) : "no failure");         \
        }                                                                                          \
    } while (0)

#define RUN(test)                                                                                  \
    do {                                                                                           \
        int before_ = check_failed;                                                                \
        check_tests++;                                                                             \
        test();                                                                                    \
        printf("%s %s\n", check_failed == before_ ? "ok" : "not ok", #test);                       \
    } while (0)

#define SKIP(test, why) printf("skip %s: %s\n", test, why)
#define CHECK_DONE()    return check_failed ? 1 : 0

/* The directory of real test data, or NULL: EVFS_TEST_DATA. */
static inline const char *check_data(void)
{
    const char *d = getenv("EVFS_TEST_DATA");

    return d && *d ? d : NULL;
}

/* Random numbers that a printed seed repeats: SEED=... in the environment. */
static inline uint64_t check_seed(void)
{
    const char *s = getenv("SEED");
    uint64_t seed =
        s ? strtoull(s, NULL, 0) : (uint64_t)(uintptr_t)&check_failed ^ 0x9e3779b97f4a7c15u;

    printf("# SEED=%" PRIu64 "\n", seed);
    return seed;
}
static inline uint64_t check_random(uint64_t *state) /* xorshift64*, Vigna 2016 */
{
    *state = *state ? *state : 1;
    *state ^= *state >> 12;
    *state ^= *state << 25;
    *state ^= *state >> 27;
    return *state * 0x2545f4914f6cdd1du;
}

#endif
