/* SPDX-License-Identifier: MIT */
/* libFuzzer: a checkpoint of any bytes beside a good log. Where its checksums don't fit it is not believed, and
 * the whole log is there all the same. Checksums of the header, or of all, are made right if the input says
 * so: then what it says of sizes and places must hold before it is used. What lists hold is believed where all
 * checksums are right (store/checkpoint_check.c), so it is put back as it was. */
#include "fuzz_dir.h"

enum { HEADER = 144, BLOCKS = 6, PAGE = 4096 };

static uint64_t u64_at(const struct fuzz_file *f, size_t at)
{
    return load64(f->p + at);
}

static void fix(struct fuzz_file *f, bool blocks)
{
    uint64_t at = PAGE;

    if (f->n < HEADER)
        return;
    for (int i = 0; blocks && i < BLOCKS; i++) {
        uint64_t n = u64_at(f, 64 + 8 * (size_t)i);
        if (n > f->n || at > f->n - n)
            break;
        uint32_t crc = crc32c(0, f->p + at, n);
        memcpy(f->p + 112 + 4 * i, &crc, sizeof crc);
        at += (n + PAGE - 1) & ~(uint64_t)(PAGE - 1);
    }
    memset(f->p + 44, 0, 4);
    uint32_t crc = crc32c(0, f->p, HEADER);
    memcpy(f->p + 44, &crc, sizeof crc);
}

static bool same_sizes(const struct fuzz_file *a, const struct fuzz_file *b)
{
    return a->n == b->n && memcmp(a->p + 64, b->p + 64, 8 * BLOCKS) == 0;
}

/* The chunks; and of each set how many, the newest, the last chunk, bytes, and the inline list. */
static void put_back_lists(struct fuzz_file *f, const struct fuzz_file *base)
{
    const uint64_t sets = PAGE + ((u64_at(base, 64) + PAGE - 1) & ~(uint64_t)(PAGE - 1));
    const uint64_t sets_n = u64_at(base, 72);
    const uint64_t chunks = sets + ((sets_n + PAGE - 1) & ~(uint64_t)(PAGE - 1));

    memcpy(f->p + chunks, base->p + chunks, u64_at(base, 80));
    for (uint64_t at = sets; at < sets + sets_n; at += 64) {
        memcpy(f->p + at + 4, base->p + at + 4, 22);
        memcpy(f->p + at + 52, base->p + at + 52, 12);
        if (base->p[at + 26] & SET_IS_OWN) /* counts, not places */
            memcpy(f->p + at + 36, base->p + at + 36, 12);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    enum { FIX_HEADER = 1, FIX_BLOCKS = 2, READ_ONLY = 4 };
    const struct fuzz_store *base = fuzz_store();
    struct evs_store st;
    struct evs_error err = {.why = EVS_OK_};

    if (size < 1 || size > 1 << 14)
        return 0;
    const unsigned how = data[0];
    struct fuzz_file f = fuzz_edit(&base->ckpt, data + 1, size - 1);
    const bool all = (how & FIX_BLOCKS) && same_sizes(&f, &base->ckpt);
    if (all)
        put_back_lists(&f, &base->ckpt);
    if (how & FIX_HEADER)
        fix(&f, all);
    fuzz_lay(&base->log, &base->idx, &f);
    if (fuzz_open(how & READ_ONLY, &st, &err) == 0) {
        fuzz_look(&st, &base->log);
        fuzz_close(&st);
    }
    free(f.p);
    return 0;
}
