/* SPDX-License-Identifier: MIT */
/* evfs verify, evfs rebuild: findings on stdout, one a line, then a summary. Exit code 1 if there
 * is any. */
#include "fs/cmd.h"
#include "fs/place.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

static const char verify_help[] =
    "Reads every byte of the store in directory DATA: each line and its checksum, the order of\n"
    "seq and version, transactions, sealed segments against the hashes beside them, and what was\n"
    "derived against the log. Prints one finding a line, then how many events there are and the\n"
    "SHA-256 of the log, which is that of events.jsonl: noted down elsewhere, it proves later "
    "that\n"
    "nothing before it was changed. Changes nothing. Exit code: 0 if all is well, 1 if not.\n"
    "\n"
    "  --from HASH  also prove that the store continues the one of which HASH was noted\n"
    "  --repair     make it whole again: what is derived is made anew; files with damaged lines "
    "are\n"
    "               set aside in DATA/damaged, all good lines stay, and a line of type evfs.lost\n"
    "               stands for each event that is gone. Prints which they are. Exit code: 0 if "
    "all\n"
    "               is well and nothing was lost, 3 if all is well but events are gone, 1 if not\n";
static const char rebuild_help[] =
    "Makes the index files of the store in directory DATA again from its log, which is only read.\n"
    "Exit code: 0 if the log was whole, 1 if not.\n";

static void print_finding(void *arg, const char *finding)
{
    (void)arg;
    /* Names may be anything: a finding is one line, and moves no cursor. */
    for (const char *p = finding; *p; p++) {
        unsigned char c = (unsigned char)*p;
        if (c < 0x20 || c == 0x7f)
            printf("\\x%02x", c);
        else
            putchar(c);
    }
    putchar('\n');
}

static int summary(const char *dir, int found, const char *well)
{
    if (found == 0)
        printf("%s: %s\n", dir, well);
    else
        printf("%s: %d finding%s\n", dir, found, found == 1 ? "" : "s");
    return found == 0 ? CMD_OK : CMD_FAILED;
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
    return summary(dir, r, well);
}

/* What to note down, and what was. */
static void print_proof(const struct evs_proof *proof, const char *from)
{
    if (proof->sha256[0])
        printf("%" PRIu64 " events, sha256 %s\n", proof->events, proof->sha256);
    if (from && proof->from != UINT64_MAX)
        printf("continues the log that ended with event %" PRIu64 ", sha256 %s\n", proof->from,
               from);
}

static int verify(const char *dir, const char *from)
{
    struct evs_proof proof;
    struct evs_error err;
    int waited_ms = 0, r;

    do
        r = evs_prove(dir, from, &proof, print_finding, NULL, &err);
    while (r < 0 && place_ending(dir, &err, &waited_ms));
    if (r < 0)
        return cmd_fail_store(dir, &err);
    print_proof(&proof, from);
    return summary(dir, r, "all is well");
}

static int repair(const char *dir)
{
    struct evs_repaired done;
    struct evs_error err;
    int waited_ms = 0, r;

    do
        r = evs_repair(dir, &done, print_finding, NULL, &err);
    while (r < 0 && place_ending(dir, &err, &waited_ms));
    if (r < 0)
        return cmd_fail_store(dir, &err);
    if (done.found == 0)
        printf("%s: all is well\n", dir);
    else if (done.left > 0)
        printf("%s: %" PRIu64 " findings could not be repaired\n", dir, done.left);
    else
        printf("%s: repaired; %" PRIu64 " events are gone\n", dir, done.lost);
    return done.left ? CMD_FAILED : done.lost ? CMD_LOST : CMD_OK;
}

static int run_verify(int argc, char **argv)
{
    static const struct option options[] = {{"help", no_argument, NULL, 'h'},
                                            {"from", required_argument, NULL, 'f'},
                                            {"repair", no_argument, NULL, 'r'},
                                            {0}};
    const char *from = NULL;
    bool mend = false;
    int c;

    while ((c = cmd_option(argc, argv, ":h", options)) != -1) {
        if (c == 'f')
            from = optarg;
        mend |= c == 'r';
    }
    if (argc - optind != 1)
        return cmd_usage(argc == optind ? "no store" : "too many operands");
    if (from && (strlen(from) != 64 || strspn(from, "0123456789abcdef") != 64))
        return cmd_usage("--from: a hash is 64 lower-case hexadecimal digits");
    if (from && mend)
        return cmd_usage("--from and --repair are two things: repair first");
    return mend ? repair(argv[optind]) : verify(argv[optind], from);
}

static int run_rebuild(int argc, char **argv)
{
    return upkeep(argc, argv, evs_rebuild, "rebuilt");
}

const struct command command_verify = {
    .name = "verify",
    .args = "[--from HASH | --repair] DATA",
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
