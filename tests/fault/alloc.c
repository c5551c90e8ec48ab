/* SPDX-License-Identifier: MIT */
#include "alloc.h"

#include <errno.h>
#include <sqlite3.h>
#include <stdatomic.h>
#include <stddef.h>

static uint64_t fail_at; /* const while armed */
static bool fail_forever, fail_sqlite;
static _Atomic bool armed;
static _Atomic uint64_t calls;

void *__real_malloc(size_t n);
void *__real_calloc(size_t n, size_t size);
void *__real_realloc(void *p, size_t n);
void *__real_reallocarray(void *p, size_t n, size_t size);
void *__wrap_malloc(size_t n);
void *__wrap_calloc(size_t n, size_t size);
void *__wrap_realloc(void *p, size_t n);
void *__wrap_reallocarray(void *p, size_t n, size_t size);

static struct sqlite3_mem_methods sqlite_own;

static bool fails(bool sqlite)
{
    if (!atomic_load(&armed) || fail_sqlite != sqlite)
        return false;
    uint64_t n = atomic_fetch_add(&calls, 1) + 1;
    bool yes = n == fail_at || (fail_forever && n > fail_at);
    if (yes)
        errno = ENOMEM;
    return yes;
}

void *__wrap_malloc(size_t n)
{
    return fails(false) ? NULL : __real_malloc(n);
}

void *__wrap_calloc(size_t n, size_t size)
{
    return fails(false) ? NULL : __real_calloc(n, size);
}

void *__wrap_realloc(void *p, size_t n)
{
    return fails(false) ? NULL : __real_realloc(p, n);
}

void *__wrap_reallocarray(void *p, size_t n, size_t size)
{
    return fails(false) ? NULL : __real_reallocarray(p, n, size);
}

static void *sqlite_malloc(int n)
{
    return fails(true) ? NULL : sqlite_own.xMalloc(n);
}

static void *sqlite_realloc(void *p, int n)
{
    return fails(true) ? NULL : sqlite_own.xRealloc(p, n);
}

void alloc_init(void)
{
    (void)sqlite3_config(SQLITE_CONFIG_GETMALLOC, &sqlite_own);
    struct sqlite3_mem_methods m = sqlite_own;
    m.xMalloc = sqlite_malloc;
    m.xRealloc = sqlite_realloc;
    (void)sqlite3_config(SQLITE_CONFIG_MALLOC, &m);
}

uint64_t alloc_fault_set(uint64_t n, bool forever, bool sqlite)
{
    uint64_t before = atomic_load(&calls);

    atomic_store(&armed, false);
    fail_at = n;
    fail_forever = forever;
    fail_sqlite = sqlite;
    atomic_store(&calls, 0);
    atomic_store(&armed, n > 0);
    return before;
}
