/* SPDX-License-Identifier: MIT */
/* repeat: has an entity an event with this id already, and is it the same? (DESIGN, Idempotence.) */
#ifndef STORE_REPEAT_H
#define STORE_REPEAT_H

#include "ingest.h"

enum repeat { REPEAT_NEW = 0, REPEAT_SAME, REPEAT_OTHER, REPEAT_ERROR };

/* Look for p's id among the stored events with after < seq <= end. */
enum repeat repeat_find(const struct index *ix, const struct log *lg, const struct prepared *p,
                        evs_seq after, evs_seq end);

/* Among the events of b that are decided but not written: seqs end + 1 to end + b->n_stored. */
enum repeat repeat_find_batch(const struct index *ix, const struct batch *b,
                              const struct prepared *p, evs_seq end);

/* Among lines that are being stored as they are, from seq end + 1 on: ids are staged, recs have the numbers. Of which
 * event before p->seq, or 0. */
evs_seq repeat_find_lines(const struct index *ix, const struct line *lines,
                          const struct log_rec *recs, const struct prepared *p, evs_seq end);

#endif
