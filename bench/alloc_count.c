/* SPDX-License-Identifier: MIT */
/* Definitions in the program come before the library's, so that these are called by everyone, the C
 * library's own functions included. They hand on to glibc's under its inner names; free() needs no
 * counting and stays glibc's. Not to be combined with a sanitizer or another malloc, which do the
 * same. */
#include "alloc_count.h"

#include <errno.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdlib.h>

extern void *__libc_malloc(size_t n);
extern void *__libc_calloc(size_t count, size_t n);
extern void *__libc_realloc(void *p, size_t n);
extern void *__libc_memalign(size_t alignment, size_t n);

#define SHOWN __attribute__((visibility("default")))

static _Atomic uint64_t calls;

static void count(void)
{
    (void)atomic_fetch_add_explicit(&calls, 1, memory_order_relaxed);
}

uint64_t alloc_count(void)
{
    return atomic_load_explicit(&calls, memory_order_relaxed);
}

SHOWN void *malloc(size_t n)
{
    count();
    return __libc_malloc(n);
}

SHOWN void *calloc(size_t members, size_t n)
{
    count();
    return __libc_calloc(members, n);
}

SHOWN void *realloc(void *p, size_t n)
{
    count();
    return __libc_realloc(p, n);
}

SHOWN void *aligned_alloc(size_t alignment, size_t n)
{
    count();
    return __libc_memalign(alignment, n);
}

SHOWN int posix_memalign(void **ret, size_t alignment, size_t n)
{
    count();
    void *p = __libc_memalign(alignment, n);
    if (!p)
        return ENOMEM;
    *ret = p;
    return 0;
}
