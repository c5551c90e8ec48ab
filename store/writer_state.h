/* SPDX-License-Identifier: MIT */
/* writer_state: what writer.c (appending) and writer_note.c (saying what was refused) share. Private to them. */
#ifndef STORE_WRITER_STATE_H
#define STORE_WRITER_STATE_H

#include "ingest.h"
#include "scan.h"

struct evs_writer {
    struct evs_store *st;
    pthread_mutex_t lock;
    struct evs_target target; /* names owned */
    char *path;               /* owned; for rejected.jsonl */
    char *pend;               /* owned; pend_n of pend_cap bytes, charged to pend_uid */
    size_t pend_n, pend_cap;
    uid_t pend_uid;
    struct skim skim;
    bool apart,
        noted;  /* noted: the bad value at which the last write stopped is in rejected.jsonl */
    int failed; /* errno; 0: none */
    struct evs_error why;
    evs_seq seq;
};

/* One call of evs_write(). */
struct take {
    struct evs_writer *w;
    const struct evs_cred *cred;
    struct batch *b;
    const char *s;
    size_t n, pos; /* pos: all before it is stored */
    bool apart;
};

/* List a value that was refused; cred NULL: that of who wrote what is pending. */
void writer_note(struct evs_writer *w, const struct evs_cred *cred, const struct evs_error *why,
                 const char *value, size_t n, const struct reject_schema *schema);
/* The same for a bad value of this write, of which why is the reason that preparing or storing gave. */
void writer_reject(const struct take *t, const struct evs_error *why, const char *value, size_t n);
/* The same for the first bytes of one from pend and from this write. */
void writer_reject_pending(struct take *t, const struct evs_error *why, const char *s, size_t n);
/* Of the first n events of the batch, which are stored, list those that broke a schema that only warns. */
void writer_list_warned(struct take *t, uint32_t n);

#endif
