/* SPDX-License-Identifier: MIT */
/* scan_skip() against one byte at a time, in memory of exactly the size of what is skipped: steps of many bytes begin
 * and end everywhere. */
#include "check.h"

#include "store/scan.h"

static uint64_t random_state;

static size_t below(size_t n)
{
    return (size_t)(check_random(&random_state) % n);
}

/* Of a string, a number or a literal. */
static size_t skip_bytes(const char *s, size_t n)
{
    size_t i = 0;

    if (s[0] != '"') {
        while (i < n && !memchr(" \t\r\n,]}", s[i], 7))
            i++;
        return i;
    }
    for (i = 1; i < n && s[i] != '"'; i++)
        i += s[i] == '\\';
    return i < n ? i + 1 : n;
}

static void test_skip(void)
{
    static const char bytes[] = "aaaaaaaaaaaaaaaa1.e\"\\,]} :\t\x1f\xc3\xa9";

    for (int i = 0; i < 40000; i++) {
        size_t n = 1 + below(70);
        char *p = malloc(n);
        for (size_t k = 0; k < n; k++)
            p[k] = bytes[below(i % 2 ? 18 : sizeof bytes - 1)];
        if (i & 4)
            p[n - 1] = i & 2 ? '"' : '}';
        if (i & 2)
            p[0] = '"';
        CHECK_EQ(scan_skip(p, n), skip_bytes(p, n));
        free(p);
    }
}

int main(void)
{
    random_state = check_seed();
    RUN(test_skip);
    CHECK_DONE();
}
