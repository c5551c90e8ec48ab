/* SPDX-License-Identifier: MIT */
/* evfs import: pours files of events into a store that nobody has open, as appends to events.jsonl
 * do, or exactly (--exact), line by line as another store has them. Prints how many are new, how
 * many were there, and how fast. (1) Whatever the end, what is reported as stored is durable: the
 * store is closed first. */
#include "fs/cmd.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <time.h>

static const char help[] =
    "Appends the events of FILEs, or of stdin, to the store in directory DATA, which is created "
    "if\n"
    "need be. An event that the store has already (same entity, id and content) is skipped.\n"
    "      --exact   the lines are another store's events.jsonl, from its first event on: keep "
    "seq,\n"
    "                id, times, version and uid; DATA must be empty\n"
    "On a bad value, line, byte and reason are printed; all events before it are stored.\n";

struct import {
    struct evs_store *st;
    struct evs_writer *w; /* NULL: exact */
    struct evs_cred cred;
};

static ssize_t write_import(void *arg, const char *p, size_t n, struct evs_error *err)
{
    const struct import *im = arg;

    return im->w ? cmd_write_values(im->w, p, n, &im->cred, err)
                 : evs_import_exact(im->st, p, n, err);
}

static double seconds(void)
{
    struct timespec t;

    (void)clock_gettime(CLOCK_MONOTONIC, &t); /* can't fail for this clock */
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

/* Feed all files; CMD_OK, or CMD_FAILED with the message printed. */
static int feed_all(struct feed *f, struct import *im, char **files)
{
    struct evs_error err;
    char *none[] = {NULL, NULL};
    int r = 0;

    if (!*files)
        files = none;
    do {
        r = feed_file(f, *files, &err);
        if (r == 0 && im->w)
            r = evs_writer_pending(im->w, &err);
    } while (r == 0 && *files && *++files);
    if (r == -EINTR)
        return cmd_fail("ended by a signal, after %" PRIu64 " bytes", f->taken);
    return r < 0 ? feed_report(f, &err) : CMD_OK;
}

static int import(const char *data, char **files, bool exact)
{
    struct evs_error err;
    struct evs_stats s;
    struct import im = {.cred = cmd_cred()};

    if (cmd_open_store(data, NULL, &im.st) != CMD_OK)
        return CMD_FAILED;
    evs_seq before = evs_end(im.st);
    int r = 0;
    if (exact && before > 0)
        r = cmd_fail("%s: has %" PRIu64 " events: --exact needs an empty store", data, before);
    else if (!exact)
        r = evs_writer_new(im.st, &(struct evs_target){.kind = EVS_ALL}, "import", &im.w, &err);
    if (r < 0)
        r = cmd_fail_store(data, &err);

    struct feed f = {.write = write_import, .arg = &im, .whole_lines = exact, .name = ""};
    double began = seconds();
    if (r == 0)
        r = feed_all(&f, &im, files);
    double took = seconds() - began;
    evs_stats(im.st, &s);
    uint64_t stored = evs_end(im.st) - before;
    evs_writer_free(im.w);
    if (evs_close(im.st, &err) < 0)
        return cmd_fail_store(data, &err);
    if (!exact || before == 0)
        printf("%s: %" PRIu64 " events stored, %" PRIu64
               " were there, %.1f MB in %.2f s (%.0f events/s)\n",
               data, stored, s.repeated, (double)f.taken / 1e6, took,
               took > 0 ? (double)(stored + s.repeated) / took : 0);
    return r;
}

static int run(int argc, char **argv)
{
    static const struct option options[] = {
        {"exact", no_argument, NULL, 'x'}, {"help", no_argument, NULL, 'h'}, {0}};
    bool exact = false;

    for (int c; (c = cmd_option(argc, argv, ":h", options)) != -1;)
        exact = exact || c == 'x';
    if (optind == argc)
        return cmd_usage("no store");
    cmd_catch_signals();
    return import(argv[optind], argv + optind + 1, exact);
}

const struct command command_import = {
    .name = "import",
    .args = "[--exact] DATA [FILE...]",
    .summary = "append the events of files to a store that is not mounted",
    .help = help,
    .run = run,
};
