/* SPDX-License-Identifier: MIT */
/* Blocks, newest first, each at least twice as large as the one before: the newest is worth keeping. */
#include "scratch.h"

struct scratch_block {
    struct scratch_block *older;
    size_t size;
    char bytes[] __attribute__((aligned(8)));
};

void scratch_init(struct scratch *s)
{
    *s = (struct scratch){0};
}

static void free_blocks(struct scratch_block *b)
{
    for (struct scratch_block *older; b; b = older) {
        older = b->older;
        free(b);
    }
}

void scratch_reset(struct scratch *s)
{
    if (s->blocks) {
        free_blocks(s->blocks->older);
        s->blocks->older = NULL;
    }
    s->used = 0;
}

void scratch_done(struct scratch *s)
{
    free_blocks(s->blocks);
    scratch_init(s);
}

char *scratch_get(struct scratch *s, size_t n)
{
    struct scratch_block *b = s->blocks;

    if (n > SIZE_MAX / 4)
        return NULL;
    n = (n + 7) & ~(size_t)7;
    if (!b || b->size - s->used < n) {
        size_t size = MAX(n, b ? 2 * b->size : 4000);
        b = malloc(sizeof *b + size);
        if (!b)
            return NULL;
        *b = (struct scratch_block){.older = s->blocks, .size = size};
        s->blocks = b;
        s->used = 0;
    }
    s->used += n;
    return b->bytes + s->used - n;
}
