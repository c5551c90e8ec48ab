/* SPDX-License-Identifier: MIT */
/* alloc_count: calls of malloc and its kin since the program began, by any thread. A program that
 * links alloc_count.c has all its allocations counted, the store's among them. Pages that are
 * mapped (the index, segments in memory) are not heap and not counted. */
#ifndef BENCH_ALLOC_COUNT_H
#define BENCH_ALLOC_COUNT_H

#include <stdint.h>

uint64_t alloc_count(void);

#endif
