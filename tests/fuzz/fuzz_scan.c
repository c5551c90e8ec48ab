/* SPDX-License-Identifier: MIT */
/* libFuzzer: scan against jansson, and skim against scan with cuts that the input's first bytes
 * choose. */
#include "../unit/judge.h"
#include "fuzz.h"

static void demand(const char *bad)
{
    if (bad) {
        fprintf(stderr, "%s\n", bad);
        abort();
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 3 || size > 1 << 16)
        return 0;
    size_t n = size - 2, cuts[2] = {data[0] % (n + 1), data[1] % (n + 1)};
    AUTO_FREE char *s = malloc(n); /* of its own: a read beyond is seen */

    memcpy(s, data + 2, n);
    demand(judge_whole(s, n));
    if (scan_is_space(s[0]))
        return 0;
    if (cuts[0] > cuts[1]) {
        size_t first = cuts[1];
        cuts[1] = cuts[0];
        cuts[0] = first;
    }
    demand(judge_cuts(s, n, false, cuts, 2));
    demand(judge_cuts(s, n, true, cuts, 2));
    return 0;
}
