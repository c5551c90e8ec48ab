/* SPDX-License-Identifier: MIT */
/* schemas: the schema of each type, learned from every event as it is appended (infer.h does the learning). A
 * shape that its type has shown before costs the append a hash, a look-up and a count; everything else is done
 * by a thread, in the order of seq: so the log alone decides what is learned, whoever wrote it and whenever.
 * docs/format.md, "Schemas", has the files. All of it is derived: what fails here fails no append. */
#ifndef STORE_SCHEMAS_H
#define STORE_SCHEMAS_H

#include "ingest.h"

struct schemas;

/* Load what is there and start the thread. st->schemas stays NULL where options say that there are none. */
int schemas_start(struct evs_store *st, struct evs_error *err);
/* Stop the thread, catch up with what takes no time, save, free. NULL is fine. The log is still open. */
void schemas_stop(struct evs_store *st);

/* Stop the thread only: who asks, or closes, does the work. For tests that count disk calls. */
void schemas_calm(struct evs_store *st);

/* ---- appending ---- */

/* Look the shapes of the first n events up (p->shape); what is not known is left for the thread. No lock. */
void schemas_prepare(struct evs_store *st, struct batch *b, uint32_t n);
/* Count what was stored and just published. True: call schemas_wake() after the lock. */
bool schemas_note(struct evs_store *st, struct batch *b) NEEDS_COMMIT;
void schemas_wake(struct evs_store *st);
/* Events are about to be published that schemas_note() is not told of: the thread reads them in the log. */
void schemas_pass_over(struct evs_store *st) NEEDS_COMMIT;

/* ---- the whole ---- */

uint64_t
schemas_memory(struct evs_store *st); /* memory with what is learned; at most LIMIT_SCHEMAS_BYTES */
/* What health says, "" if all is well. Returns whether there is anything. */
bool schemas_trouble(struct evs_store *st, char *buf, size_t n);

/* Wait until everything up to evs_end() is learned and saved: evs_rebuild(). */
int schemas_finish(struct evs_store *st, struct evs_error *err);

/* The files below dirfd against themselves and the log. Returns the number of findings. */
int schemas_verify(int dirfd, const struct log *lg, evs_report_fn *report, void *arg);
/* Remove all files of ours below dirfd; the next open makes them again. 0, or a negative errno. */
int schemas_remove(int dirfd);

#endif
