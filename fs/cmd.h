/* SPDX-License-Identifier: MIT */
/* cmd: what the subcommands share. A subcommand is a table row and a function; it prints its errors
 * itself, once, as "evfs NAME: what happened: what to do", and returns the exit code. */
#ifndef FS_CMD_H
#define FS_CMD_H

#include "store/evstore.h"

#include <getopt.h>

enum cmd_exit { CMD_OK = 0, CMD_FAILED = 1, CMD_USAGE = 2, CMD_LOST = 3 };

struct command {
    const char *name;
    const char *args;                  /* the synopsis after the name */
    const char *summary;               /* one line, for evfs --help */
    const char *help;                  /* the options, for evfs NAME --help */
    int (*run)(int argc, char **argv); /* argv[0] is the command's name */
};

extern const struct command command_mount, command_append, command_tail, command_import,
    command_export, command_backup, command_verify, command_rebuild, command_stats, command_schema;

/* ---- messages and options (cmd_util.c) ---- */

/* The command that runs, for messages; set once by main(). */
void cmd_begin(const struct command *c);
void cmd_print_help(const struct command *c);

/* getopt_long() with -h, --help and mistakes dealt with: those two end the program, with 0 and
 * 2. */
int cmd_option(int argc, char **argv, const char *letters, const struct option *names);

/* "evfs NAME: ...\n" on stderr. Return CMD_FAILED, and CMD_USAGE after a pointer to --help. */
int cmd_fail(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
int cmd_usage(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/* The same for an error of the store in directory dir. IN_USE says who has it, and where it is
 * mounted. Returns CMD_FAILED. */
int cmd_fail_store(const char *dir, const struct evs_error *err);

/* evs_open(), for a command: waits for a daemon that is ending, and prints why it failed. CMD_OK or
 * CMD_FAILED. */
int cmd_open_store(const char *dir, const struct evs_options *o, struct evs_store **ret_st);

/* The reason without its byte, for who prints the place better, into buf. Returns buf. */
char *cmd_reason(const struct evs_error *err, char *buf, size_t n);

/* A decimal number with nothing behind it; a size with K, M, G (powers of 1024); a time with ms or
 * s. 0 or -EINVAL. */
int cmd_parse_number(const char *s, uint64_t *ret);
int cmd_parse_size(const char *s, uint64_t *ret);
int cmd_parse_interval(const char *s, uint32_t *ret_ms);

/* All n bytes to fd. 0 or a negative errno. */
int cmd_write_all(int fd, const void *p, size_t n);

/* The mount that path lies in: its root into root[cap], without a slash at the end. path need not
 * exist. 0 or a negative errno; -EXDEV where that is no evfs mount. */
int cmd_mount_root(const char *path, char *root, size_t cap);

/* The calling process as a writer. */
struct evs_cred cmd_cred(void);

/* SIGINT and SIGTERM set a flag from now on, once; a second one kills. */
void cmd_catch_signals(void);
int cmd_signal(void); /* the one that came; 0: none */

/* ---- input in pieces (cmd_feed.c) ---- */

/* Copies input to something that takes bytes as evs_write() does, and knows where in the input it
 * is. */
struct feed {
    ssize_t (*write)(void *arg, const char *p, size_t n, struct evs_error *err);
    void *arg;
    size_t piece_bytes; /* the most that one write gets; 0: 1 MiB */
    bool whole_lines;   /* write gets whole lines only, a piece grows where a line is longer */

    uint64_t taken;   /* bytes that were taken, of all inputs */
    const char *name; /* of the input, "" for stdin: of the last one when it has failed */
    uint64_t line;    /* where it failed, from 1; 0: it could not be opened */
    uint64_t column;  /* byte in that line, from 1; 0: no byte is to blame */
};

/* Feed one file, "-" or NULL for stdin. A last line without a line feed gets one. 0, or a negative
 * errno with err and the place in f; -EINTR with nothing in err after a signal. */
int feed_file(struct feed *f, const char *path, struct evs_error *err);

/* evs_write() for feeds: where a value that began in an earlier write is bad, err has no byte. */
ssize_t cmd_write_values(struct evs_writer *w, const char *p, size_t n, const struct evs_cred *cred,
                         struct evs_error *err);

/* Print what feed_file() returned, and what to do about it. Returns CMD_FAILED. */
int feed_report(const struct feed *f, const struct evs_error *err);

#endif
