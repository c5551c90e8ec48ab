/* SPDX-License-Identifier: MIT */
/* libFuzzer: an idx of any bytes beside a good log, its header's checksum made right if the input says so. No
 * crash, and no line that is not the log's; without a checkpoint it is made anew and all of it is there. */
#include "fuzz_dir.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    enum { NO_CKPT = 1, FIX = 2, READ_ONLY = 4, VERIFY = 224 };
    const struct fuzz_store *base = fuzz_store();
    struct evs_store st;
    struct evs_error err = {.why = EVS_OK_};

    if (size < 1 || size > 1 << 14)
        return 0;
    const unsigned how = data[0];
    struct fuzz_file f = fuzz_edit(&base->idx, data + 1, size - 1);
    if ((how & FIX) && f.n >= 48) {
        uint32_t crc = crc32c(0, f.p, 44);
        memcpy(f.p + 44, &crc, sizeof crc);
    }
    fuzz_lay(&base->log, &f, how & NO_CKPT ? NULL : &base->ckpt);
    const bool verify = (how & VERIFY) == VERIFY;
    if (verify)
        fuzz_verify(false);
    if (fuzz_open(how & READ_ONLY, &st, &err) == 0) {
        fuzz_look(&st, &base->log);
        DEMAND(log_read_only(st.lg) || log_bytes(st.lg) == base->log.n);
        fuzz_close(&st);
        if (verify)
            fuzz_verify((how & NO_CKPT) && !(how & READ_ONLY));
    }
    free(f.p);
    return 0;
}
