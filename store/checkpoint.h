/* SPDX-License-Identifier: MIT */
/* checkpoint: the index as a file, index.ckpt, so that opening need not read the whole log. Derived: a bad
 * one is ignored, and the log is replayed. docs/format.md, "The checkpoint". */
#ifndef STORE_CHECKPOINT_H
#define STORE_CHECKPOINT_H

#include "index.h"

#define CHECKPOINT_FILE "index.ckpt"
#define CHECKPOINT_TMP  "index.tmp"
/* While this is there CHECKPOINT_FILE is of another log, and is none. */
#define CHECKPOINT_VOID_NAME "no.ckpt"
#define CHECKPOINT_VOID      "log/" CHECKPOINT_VOID_NAME

/* Up to which event, and the CRC of its line and of the log's first: so that it is known to belong to this log, also
 * where this ends before it. */
struct checkpoint_mark {
    evs_seq seq;
    uint32_t line_crc, first_crc; /* first_crc 0: that line can't be read */
};

/* Is what has one mark of another log than what has the other? First lines say so whatever seqs there are. */
static inline bool checkpoint_first_differs(const struct checkpoint_mark *a,
                                            const struct checkpoint_mark *b)
{
    return a->first_crc && b->first_crc && a->first_crc != b->first_crc;
}

/* Is a checkpoint with this mark one of another log? By the first line, and by the one that it ends with; no, where
 * neither can be read. Any thread, no lock. */
bool checkpoint_is_foreign(const struct log *lg, const struct checkpoint_mark *m);

/* The mark for all events up to seq. DAMAGED where its line is. */
int checkpoint_mark_at(const struct log *lg, evs_seq seq, struct checkpoint_mark *ret,
                       struct evs_error *err);

/* Write CHECKPOINT_TMP and sync it; the caller renames. Nothing may change the index meanwhile, which loses its
 * marks and SET_OWNED: for a child of fork(), or at the end. Allocates nothing and takes no lock. Returns 0;
 * ret_bytes: its size. */
int checkpoint_write(int dirfd, struct index *ix, const struct checkpoint_mark *m,
                     uint64_t *ret_bytes) UNANALYSED;

/* The same in a child process that has a frozen copy of the memory. begin: under the commit lock, returns the
 * child (> 0) or -errno. finish: any time later, without it; -EAGAIN while it runs (wait false), else its
 * result. */
int checkpoint_begin(int dirfd, struct index *ix, const struct checkpoint_mark *m) NEEDS_COMMIT;
int checkpoint_finish(int child, bool wait);

/* Make the file that was written the checkpoint. */
int checkpoint_adopt(int dirfd, struct evs_error *err);

/* Remove it durably, and then what makes it void. 0 as well if it is not there. */
int checkpoint_remove(int dirfd);

/* Read it into a fresh index. -ENOENT: there is none. DAMAGED: it is not whole, ix must be freed. */
int checkpoint_read(int dirfd, struct index *ix, struct checkpoint_mark *ret, uint64_t *ret_bytes,
                    struct evs_error *err) UNANALYSED;

/* Does whoever follows ix, read from a checkpoint that ends at seq, stay within it and come to an end? */
bool checkpoint_fits(const struct index *ix, evs_seq seq);

#endif
