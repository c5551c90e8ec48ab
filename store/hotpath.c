/* SPDX-License-Identifier: MIT */
/* hotpath: one counter of ticks a span, and a histogram of 64 powers of two. Threads add to the same counters,
 * relaxed: who builds with -Dhotpath=true wants to see where time goes, not how fast it is. */
#include "evstore.h"
#include "hotpath.h"
#include "util.h"

#include <errno.h>
#include <inttypes.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

#ifdef EVFS_HOTPATH

static struct {
    _Atomic uint64_t n, ticks, most,
        of[64]; /* of[i]: took at least 2^i ticks, and less than twice that */
} spans[HOT_SPAN_COUNT];

static uint64_t first_ns, first_ticks;

uint64_t hot_ticks(void)
{
#ifdef __x86_64__
    return __builtin_ia32_rdtsc();
#else
    return monotonic_ns();
#endif
}

__attribute__((constructor)) static void begin(void)
{
    first_ns = monotonic_ns();
    first_ticks = hot_ticks();
}

void hot_add(enum hot_span span, uint64_t ticks)
{
    uint64_t most = atomic_load_explicit(&spans[span].most, memory_order_relaxed);

    atomic_fetch_add_explicit(&spans[span].n, 1, memory_order_relaxed);
    atomic_fetch_add_explicit(&spans[span].ticks, ticks, memory_order_relaxed);
    atomic_fetch_add_explicit(&spans[span].of[63 - __builtin_clzll(ticks | 1)], 1,
                              memory_order_relaxed);
    while (ticks > most &&
           !atomic_compare_exchange_weak_explicit(&spans[span].most, &most, ticks,
                                                  memory_order_relaxed, memory_order_relaxed))
        ;
}

static void print_span(FILE *f, size_t i, double ns, const char *name, const char *in,
                       const char *text)
{
    const char *comma = "";

    fprintf(f, "%s\n{\"span\":\"%s\",\"in\":\"%s\",\"what\":\"%s\",\"count\":%" PRIu64,
            i ? "," : "", name, in, text, atomic_load(&spans[i].n));
    fprintf(f, ",\"total_us\":%.1f,\"most_us\":%.3f,\"below_ns\":{",
            (double)atomic_load(&spans[i].ticks) * ns / 1e3,
            (double)atomic_load(&spans[i].most) * ns / 1e3);
    for (int k = 0; k < 64; k++) {
        uint64_t n = atomic_load(&spans[i].of[k]);
        if (!n)
            continue;
        fprintf(f, "%s\"%.0f\":%" PRIu64, comma, (double)(2ull << k) * ns, n);
        comma = ",";
    }
    fputs("}}", f);
}

int evs_hotpath(char **ret_json, size_t *ret_n)
{
    double ns = (double)(monotonic_ns() - first_ns) / (double)(hot_ticks() - first_ticks);
    FILE *f = open_memstream(ret_json, ret_n);
    size_t i = 0;

    if (!f)
        return -ENOMEM;
    fputs("[", f);
#define X(name, in, text) print_span(f, i++, ns, #name, in, text);
    HOT_SPANS(X)
#undef X
    fputs("\n]\n", f);
    return fclose(f) == 0 ? 0 : -ENOMEM;
}

#else

int evs_hotpath(char **ret_json, size_t *ret_n)
{
    (void)ret_json;
    (void)ret_n;
    return -EOPNOTSUPP;
}

#endif
