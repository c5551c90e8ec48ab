/* SPDX-License-Identifier: MIT */
/* libFuzzer: rejected.jsonl of any bytes, and entries of any bytes. What is shown is whole lines, JSON if we
 * wrote them; a user's are among all; what is added is shown last, also after reopening. */
#include "fuzz_dir.h"
#include "store/error.h"
#include "store/limits.h"
#include "store/reject.h"
#include "store/scan.h"

static size_t text_of(struct reject *r, bool all, uid_t uid, char **ret)
{
    size_t n;

    DEMAND(reject_text(r, all, uid, ret, &n, NULL) == 0);
    DEMAND(n == 0 || (*ret)[n - 1] == '\n');
    DEMAND(n <= 2 * LIMIT_REJECTED_BYTES);
    return n;
}

static void among(const char *some, size_t some_n, const char *all, size_t all_n)
{
    for (size_t at = 0; at < some_n;) {
        const char *lf = memchr(some + at, '\n', some_n - at);
        size_t n = (size_t)(lf - some) + 1 - at;
        DEMAND(memmem(all, all_n, some + at, n));
        at += n;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct reject *r = NULL;
    struct evs_error why;
    char *all = NULL, *mine = NULL, *again = NULL;

    if (size < 2 || size > 1 << 16)
        return 0;
    const size_t in_file = size * data[0] / 255;
    fuzz_clear("");
    fuzz_put("rejected.jsonl", data + 1, MIN(in_file, size - 1));
    int dirfd = open(fuzz_dir(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DEMAND(dirfd >= 0 && reject_open(dirfd, false, &r, NULL) == 0 && r);
    size_t n = text_of(r, true, 0, &all), m = text_of(r, false, 5, &mine);
    among(mine, m, all, n);
    free(all), free(mine);

    const struct slice rest = {(const char *)data + MIN(in_file, size - 1),
                               size - MIN(in_file, size - 1)};
    (void)evs_fail(&why, EVS_BAD_JSON, size % 3 ? size : EVS_NOWHERE);
    (void)snprintf(why.detail, sizeof why.detail, "%.*s", (int)MIN(rest.n, sizeof why.detail - 1),
                   rest.p);
    const struct reject_entry e = {.uid = 5, .pid = 6, .path = rest, .why = &why, .value = rest};
    reject_add(r, &e);
    n = text_of(r, true, 0, &all);
    DEMAND(n > 0);
    const char *before = n > 1 ? memrchr(all, '\n', n - 1) : NULL;
    const char *last = before ? before + 1 : all;
    const size_t last_n = n - (size_t)(last - all);
    DEMAND(scan_whole(last, last_n, NULL) == 0);
    m = text_of(r, false, 5, &mine);
    DEMAND(m >= last_n && memcmp(mine + m - last_n, last, last_n) == 0);
    among(mine, m, all, n);
    reject_close(r);
    r = NULL;
    DEMAND(reject_open(dirfd, true, &r, NULL) == 0 && r);
    m = text_of(r, true, 0, &again);
    DEMAND(m == n && memcmp(again, all, n) == 0);
    reject_close(r);
    free(all), free(mine), free(again);
    (void)close(dirfd);
    return 0;
}
