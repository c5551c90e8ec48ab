/* SPDX-License-Identifier: MIT */
/* survey: what of a log is still there, when it can't be opened, or holds lines that are damaged: every line that
 * proves itself by its checksum, wherever it stands; and which events are nowhere. Reads only. */
#ifndef STORE_SURVEY_H
#define STORE_SURVEY_H

#include "log.h"

#define SURVEY_NONE UINT32_MAX

/* A file of lines, log/NAME. */
struct survey_file {
    evs_seq first; /* as in its name */
    char name[48];
    bool good;   /* it is lines [first, end), in order, and may stay as it is */
    bool put_in; /* the file before has its lines as well, and goes on with those of the next */
    evs_seq end; /* if good */
    bool marked; /* its idx says how many lines are durable; else nothing is known */
    /* Compressed, and a frame or the table is not whole; as survey_bytes() found it. */
    bool broken;
};

/* A whole line in a file that is not good. */
struct survey_line {
    evs_seq seq;
    uint64_t at;
    uint32_t n; /* bytes, its LF not included */
    uint32_t file;
    bool loose; /* it stands behind damage, not behind a LF: another of its seq goes before it */
};

/* Bytes that are no line. */
struct survey_bad {
    uint64_t at, n;
    evs_seq before,
        behind; /* the lines around it; at the ends of its file its first - 1, and UINT64_MAX */
    uint32_t file;
};

/* An event that is nowhere. */
struct survey_lost {
    evs_seq seq;
    uint32_t bad; /* what stands in its place; or SURVEY_NONE */
    bool its_own; /* and that is surely of this event, and of no other */
};

/* How the log is to be: pieces one behind another, gapless from 1 on. */
struct survey_piece {
    evs_seq first, end;
    uint32_t file; /* good: this one as it is; else the one it replaces, or SURVEY_NONE */
    bool good;
};

struct survey {
    int dirfd;   /* of the store; borrowed, as is all that is given */
    bool unpack; /* const, as it was given */
    struct survey_file *files;
    size_t n_files, cap_files;
    struct survey_line *lines; /* by seq, each once */
    size_t n_lines, cap_lines;
    size_t far;      /* where too many are missing: before this line, or behind the last */
    evs_seq far_end; /* and before this event */
    struct survey_bad *bad;
    size_t n_bad, cap_bad;
    struct survey_lost *lost; /* by seq: those within the log */
    size_t n_lost, cap_lost;
    struct survey_piece *pieces;
    size_t n_pieces;
    evs_seq end;   /* the log's last event, as it is to be */
    evs_seq known; /* the last one of which anything tells */

    struct { /* the bytes of files, as they are needed */
        uint32_t file;
        char *p;
        size_t n;
    } kept[2];
    int turn;
};

/* end: the log's end if it could be opened to read, and then lines behind it count no more than opening it says;
 * UINT64_MAX: all that can be found count. known: see there. unpack: compressed files are
 * not good, as the log can't be opened with them. */
int survey_new(int dirfd, evs_seq end, evs_seq known, bool unpack, struct survey **ret,
               struct evs_error *err);
void survey_free(struct survey *s); /* NULL is fine */

/* All of a file's plain bytes; what the disk does not give is zeros. Until the next but one call. */
int survey_bytes(struct survey *s, uint32_t file, struct slice *ret, struct evs_error *err);
void survey_drop_bytes(struct survey *s);
bool survey_packed(const char *name); /* FIRST.jsonl.zst */
/* The line of a seq; NULL: there is none outside of good files. */
const struct survey_line *survey_line(const struct survey *s, evs_seq seq);
/* The line with its LF, in room, and taken apart; until room is used again or freed. */
struct survey_room {
    char *p; /* the caller's to free */
    size_t n;
};
int survey_parse(struct survey *s, const struct survey_line *l, struct survey_room *room,
                 struct line *ret, struct slice *ret_raw, struct evs_error *err);
/* Is anything of the lines wrong? */
bool survey_well(const struct survey *s);

#endif
