/* SPDX-License-Identifier: MIT */
/* line: the one form in which an event is stored (docs/format.md, "The line"). Writes it, takes it apart,
 * checks it. Pure functions. */
#ifndef STORE_LINE_H
#define STORE_LINE_H

#include "clock.h"
#include "error.h"
#include "util.h"

/* What is written. Slices are decoded names (entity, type, id) and raw JSON (meta, data). */
struct line {
    uint64_t seq, version;
    int64_t recorded_us;
    struct slice id;   /* p NULL when writing: the store's own, made from recorded, seq and key */
    struct slice time; /* as given; p NULL: recorded */
    struct slice entity, type;
    struct slice meta, data; /* meta p NULL: none; data p NULL: null */
    uint32_t uid, tx;        /* tx 0: absent */
    uint32_t id_key;         /* writing: LINE_KEY_BITS */
    uint64_t id_seq;         /* read: line_id_seq() of the id */
    bool entity_escape, type_escape, id_escape, meta_breaks, data_breaks;
};

#define LINE_ID_BYTES  36
#define LINE_SEQ_BITS  40 /* in the store's own id */
#define LINE_KEY_BITS  22
#define LINE_CRC_BYTES 8
/* What a line has in common with the one before, as text. All 0 to begin with. */
struct line_memo {
    struct clock_text clock;
    int64_t recorded_us;
    uint64_t seq;
    uint32_t uid;
    bool has_time, has_uid;
    uint8_t seq_n; /* 0: none yet */
    uint8_t uid_n, crc_n;
    char seq_text[24];
    char id[26], time[49], uid_text[32];
};

/* An upper bound of what line_write() needs. */
size_t line_bound(const struct line *l);
/* Write the line with its LF. Returns its length; *ret_data is the offset of data, *ret_crc the CRC. */
size_t line_write(const struct line *l, struct line_memo *m, char *out, uint32_t *ret_data,
                  uint32_t *ret_crc);

/* Take apart a line with its LF. Checks the form strictly (fields, order, numbers without leading zeros)
 * and the CRC; not that data is JSON: the CRC vouches for it. Names stay raw: entity_escape and so on say
 * that they hold escapes (scan_decode() wants the quotes, which stand around the slice). *ret_data,
 * *ret_crc as above, may be NULL. 0, or -EBADMSG where anything differs. */
int line_parse(const char *p, size_t n, struct line *ret, uint32_t *ret_data, uint32_t *ret_crc);
/* The same of the line at the beginning of n bytes, one of many: near is of the line before, all 0 to begin with. Its
 * length, or -EBADMSG, and then *ret is anything. */
int line_read(const char *p, size_t n, struct clock_text *near, struct line *ret,
              uint32_t *ret_data, uint32_t *ret_crc);

/* Only the CRC, for bytes whose place is known; data: the offset of data (log_rec_data()), which says where
 * the CRC stands. Of n_bytes anything, never reads outside of them. */
bool line_crc_ok(const char *p, size_t n, uint32_t data);

/* The store's own id: UUID version 7 (RFC 9562, method 3 for the fraction of a millisecond), rand_b = seq
 * (40 bits) and key (22 bits). LINE_ID_BYTES, lower case. */
void line_own_id(int64_t recorded_us, uint64_t seq, uint32_t key, char out[LINE_ID_BYTES]);
/* The seq that an id of this form carries; 0 if it is not of this form. */
uint64_t line_id_seq(struct slice id);

#endif
