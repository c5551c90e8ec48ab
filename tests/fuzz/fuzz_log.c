/* SPDX-License-Identifier: MIT */
/* libFuzzer: a segment of any bytes. It is opened or refused; what is shown are whole lines, none that was not
 * written; and where all of it was looked at, verify finds nothing afterwards. */
#include "fuzz_dir.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    enum { NO_IDX = 1, NO_CKPT = 2, FIX = 4, RAW = 8, READ_ONLY = 16, VERIFY = 224 };
    const struct fuzz_store *base = fuzz_store();
    struct evs_store st;
    struct evs_error err = {.why = EVS_OK_};

    if (size < 1 || size > 1 << 14)
        return 0;
    const unsigned how = data[0];
    struct fuzz_file f;
    if (how & RAW) {
        f = (struct fuzz_file){malloc(size), size - 1};
        memcpy(f.p, data + 1, size - 1);
    } else {
        f = fuzz_edit(&base->log, data + 1, size - 1);
    }
    if (how & FIX)
        fuzz_fix_lines(&f);
    fuzz_lay(&f, how & NO_IDX ? NULL : &base->idx, how & NO_CKPT ? NULL : &base->ckpt);
    const bool verify = (how & VERIFY) == VERIFY;
    if (verify)
        fuzz_verify(false);
    if (fuzz_open(how & READ_ONLY, &st, &err) == 0) {
        fuzz_look(&st, how & (FIX | RAW) ? NULL : &base->log);
        fuzz_close(&st);
        if (verify)
            fuzz_verify((how & NO_CKPT) && (how & NO_IDX) && !(how & READ_ONLY));
    }
    free(f.p);
    return 0;
}
