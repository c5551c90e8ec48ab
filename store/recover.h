/* SPDX-License-Identifier: MIT */
/* recover: the index of a log, from the checkpoint and the lines behind it. */
#ifndef STORE_RECOVER_H
#define STORE_RECOVER_H

#include "ingest.h"

/* *ret_ix is the caller's. dirfd -1: no checkpoint. A checkpoint that is bad, or whose
 * idx is lost, is ignored, and removed unless read_only. ret_seq and ret_recorded: up
 * to which event the checkpoint reached; recorded time of the newest event. */
int recover_index(int dirfd, bool read_only, struct log *lg, struct index **ret_ix,
                  evs_seq *ret_seq, int64_t *ret_recorded_us, struct evs_error *err) NEEDS_COMMIT;

/* Would a replay of all lines succeed? Changes nothing of the log. */
int recover_check(struct log *lg, struct evs_error *err) NEEDS_COMMIT;

#endif
