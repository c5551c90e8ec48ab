/* SPDX-License-Identifier: MIT */
/* evfs verify, evfs rebuild: findings on stdout, one a line, then a summary. Exit code 1 if there
 * is any. */
#include "fs/cmd.h"
#include "fs/place.h"

#include <stdio.h>

static const char verify_help[] =
    "Reads every byte of the store in directory DATA: each line and its checksum, the order of\n"
    "seq and version, transactions, and what was derived against the log. Prints one finding a\n"
    "line. Changes nothing. Exit code: 0 if all is well, 1 if not.\n";
static const char rebuild_help[] =
    "Makes the index files of the store in directory DATA again from its log, which is only read.\n"
    "Exit code: 0 if the log was whole, 1 if not.\n";

static void print_finding(void *arg, const char *finding)
{
    (void)arg;
    printf("%s\n", finding);
}

typedef int upkeep_fn(const char *dir, evs_report_fn *report, void *arg, struct evs_error *err);

static int upkeep(int argc, char **argv, upkeep_fn *fn, const char *well)
{
    static const struct option options[] = {{"help", no_argument, NULL, 'h'}, {0}};
    struct evs_error err;

    while (cmd_option(argc, argv, ":h", options) != -1)
        ;
    if (argc - optind != 1)
        return cmd_usage(argc == optind ? "no store" : "too many operands");
    const char *dir = argv[optind];
    int waited_ms = 0, r;
    do
        r = fn(dir, print_finding, NULL, &err);
    while (r < 0 && place_ending(dir, &err, &waited_ms));
    if (r < 0)
        return cmd_fail_store(dir, &err);
    if (r == 0)
        printf("%s: %s\n", dir, well);
    else
        printf("%s: %d finding%s\n", dir, r, r == 1 ? "" : "s");
    return r == 0 ? CMD_OK : CMD_FAILED;
}

static int run_verify(int argc, char **argv)
{
    return upkeep(argc, argv, evs_verify, "all is well");
}

static int run_rebuild(int argc, char **argv)
{
    return upkeep(argc, argv, evs_rebuild, "rebuilt");
}

const struct command command_verify = {
    .name = "verify",
    .args = "DATA",
    .summary = "check every byte of a store",
    .help = verify_help,
    .run = run_verify,
};

const struct command command_rebuild = {
    .name = "rebuild",
    .args = "DATA",
    .summary = "make the index files of a store again from its log",
    .help = rebuild_help,
    .run = run_rebuild,
};
