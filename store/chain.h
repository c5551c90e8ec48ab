/* SPDX-License-Identifier: MIT */
/* chain: the SHA-256 of the log. Its hash after event N is that of its first N lines, wherever segments begin:
 * `head -n N events.jsonl | sha256sum`. Beside each sealed segment lies FIRST.sha256 with the hash at its end,
 * and the state from which the next one goes on (docs/format.md, "The chain"). */
#ifndef STORE_CHAIN_H
#define STORE_CHAIN_H

#include "log.h"

#define CHAIN_HEX     65 /* 64 digits and a NUL */
#define CHAIN_SUFFIX  ".sha256"
#define CHAIN_NOWHERE UINT64_MAX

struct chain;

/* The chain of lg, whose files are in log/ below dirfd; both are borrowed. Reads from the back until it finds a
 * file: what is missing before that one is not made up for, verify is to see it. */
int chain_open(int dirfd, struct log *lg, struct chain **ret, struct evs_error *err);
void chain_close(struct chain *c); /* NULL is fine */

/* Hash sealed segments that have no file yet, and write it, for about so many microseconds: a step of it takes
 * less than 10 ms. One thread. True: there is more to do. NULL is fine. */
bool chain_extend(struct chain *c, uint64_t budget_us);

/* Any thread: the newest that is stored, after which event. False: there is none. */
bool chain_newest(struct chain *c, evs_seq *ret, char ret_hex[CHAIN_HEX]);
/* Any thread: in words, why it is not extended any more. False: nothing is wrong. */
bool chain_trouble(struct chain *c, char *buf, size_t n);

struct chain_proof {
    evs_seq events;
    char sha256[CHAIN_HEX]; /* of all of them */
    evs_seq from;           /* CHAIN_NOWHERE: no first lines have the hash that was asked for */
};

/* Hash everything, check each file against its segment, and look for `from` (NULL, or 64 digits) among the hashes
 * after each event. The segments of known, ascending, have damaged lines that were reported already: that their
 * bytes differ is no news. Number of findings, or a failure. */
struct chain_known {
    const evs_seq *first;
    size_t n;
};
int chain_verify(int dirfd, struct log *lg, const char *from, struct chain_known known,
                 struct chain_proof *ret, evs_report_fn *report, void *arg, struct evs_error *err);

/* FIRST, if name is FIRST.sha256; else 0. */
evs_seq chain_first(const char *name);
/* What FIRST.sha256 says: up to which event, and the bytes of all lines up to there. -ENOENT; -EBADMSG: it does not
 * check; or another failure. */
int chain_look(int dirfd, evs_seq first, evs_seq *ret_last, uint64_t *ret_bytes);

/* Make files again that are missing or do not check, in front of one that does, where that one proves that
 * nothing was changed. Number of those made, or a failure. */
int chain_mend(int dirfd, struct log *lg, struct evs_error *err);

#endif
