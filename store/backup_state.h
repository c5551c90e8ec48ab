/* SPDX-License-Identifier: MIT */
/* backup_state: what the parts of a backup share. Private to backup*.c. */
#ifndef STORE_BACKUP_STATE_H
#define STORE_BACKUP_STATE_H

#include "hold.h"
#include "log.h"

#define BACKUP_WORK "backup.tmp"

struct backup {
    const char *dir, *dest;
    uint64_t bytes;             /* as given */
    int src_fd, src_log_fd;     /* owned, as are all of these; -1: not open */
    struct hold src_hold, hold; /* hold: of dest */
    int dest_fd, work_fd;       /* work_fd: WORK */
    int root;                   /* dest_fd or work_fd: the backup's log is there */
    int log_fd;                 /* its directory "log" */
    struct log *src;            /* owned */
    uint64_t end;               /* of src's bytes, what the backup is to have; */
    evs_seq end_seq;            /* its last event */
    struct evs_backup done;
};

/* memcpy() of mapped bytes; -EIO where the disk doesn't give them. */
int backup_bytes(const char *from, char *to, size_t n);

/* How far the backup's log goes: bytes and events; it is a prefix of the store's. NOT_BACKUP with the first event
 * that is not. */
int backup_compare(struct backup *b, uint64_t *ret_bytes, evs_seq *ret_seq, struct evs_error *err);

/* Read what is new in the backup, from event from on, as its next reader will. */
int backup_check(struct backup *b, evs_seq from, struct evs_error *err);

/* The store's meta.db becomes the backup's, checked and synced. */
int backup_meta(struct backup *b, struct evs_error *err);

#endif
