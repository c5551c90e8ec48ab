/* SPDX-License-Identifier: MIT */
/* futex: to sleep until a word changes. Whoever wakes changes the word first. */
#ifndef STORE_FUTEX_H
#define STORE_FUTEX_H

#include <linux/futex.h>
#include <stdatomic.h>
#include <stdint.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

/* Sleep while *word is value, until woken, or until the monotonic time (0: for ever). Also returns for no reason. */
static inline void futex_wait(_Atomic uint32_t *word, uint32_t value, uint64_t until_ns)
{
    const struct timespec t = {.tv_sec = (time_t)(until_ns / 1000000000u),
                               .tv_nsec = (long)(until_ns % 1000000000u)};

    (void)syscall(SYS_futex, word, FUTEX_WAIT_BITSET_PRIVATE, value, until_ns ? &t : NULL, NULL,
                  FUTEX_BITSET_MATCH_ANY);
}

static inline void futex_wake(_Atomic uint32_t *word, int n)
{
    (void)syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, n, NULL, NULL, 0);
}

#endif
