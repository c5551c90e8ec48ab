/* SPDX-License-Identifier: MIT */
/* fuzz: what the targets share. A target's input is bytes of its own to choose how, and then the bytes that
 * are looked at; memory that is handed to what is tested has exactly its length, so that a read beyond is
 * seen. */
#ifndef FUZZ_H
#define FUZZ_H

#include "store/evstore.h"
#include "store/util.h"

#include <stdio.h>
#include <sys/prctl.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define DEMAND(cond)                                                                               \
    do {                                                                                           \
        if (!(cond)) {                                                                             \
            fprintf(stderr, "%s:%d: not so: %s\n", __FILE__, __LINE__, #cond);                     \
            abort();                                                                               \
        }                                                                                          \
    } while (0)

/* Zeroing huge pages would be most of what opening a small store costs. */
__attribute__((constructor)) static void fuzz_small_pages(void)
{
    (void)prctl(PR_SET_THP_DISABLE, 1, 0, 0, 0);
}

/* The clock of a store under test: it stands still. */
static inline int64_t fuzz_clock(void *arg)
{
    (void)arg;
    return 1790000000123456;
}

/* The whole of a view, and no more than its extent says. */
static inline char *fuzz_read(struct evs_store *st, const struct evs_view *v, size_t *ret_n,
                              ssize_t *ret_r)
{
    struct evs_cursor *c = NULL;
    struct evs_extent x = {0};
    struct evs_error err;
    size_t n = 0;
    ssize_t r = evs_view_extent(st, v, &x);

    if (x.bytes > 1u << 20) /* a damaged idx says so: more than memory may hold */
        x.bytes = 1u << 20;
    char *buf = malloc(x.bytes + 1);
    DEMAND(buf);
    if (r == 0 && (r = evs_cursor_new(st, v, &c, &err)) == 0)
        while (n < x.bytes && (r = evs_cursor_read(c, n, buf + n, x.bytes - n, &err)) > 0)
            n += (size_t)r;
    evs_cursor_free(c);
    DEMAND(r != 0 || n <= x.bytes); /* 0: the view's end */
    buf[n] = '\0';
    *ret_n = n;
    *ret_r = r < 0 ? r : 0;
    return buf;
}

#endif
