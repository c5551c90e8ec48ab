/* SPDX-License-Identifier: MIT */
/* evfs export: a view of a store that nobody has open for writing, to stdout, as the mount would
 * show it. */
#include "fs/cmd.h"
#include "fs/path.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define READ_BYTES (1u << 20)

static const char help[] =
    "Prints the events of the store in directory DATA as JSON Lines: all, or those of PATH, a file "
    "of\n"
    "its tree (entities/orders/42/placed.jsonl, types/placed/events.jsonl).\n"
    "      --from SEQ   begin with the first event whose seq is at least SEQ\n"
    "'evfs import --exact' makes the same store again from a whole one.\n";

static int copy(struct evs_cursor *c, uint64_t pos, struct evs_error *err)
{
    char *buf = malloc(READ_BYTES);
    ssize_t n = 0;
    int r = 0;

    if (!buf)
        return cmd_fail("no memory");
    while (r == 0 && (n = evs_cursor_read(c, pos, buf, READ_BYTES, err)) > 0) {
        r = cmd_write_all(STDOUT_FILENO, buf, (size_t)n);
        pos += (uint64_t)n;
    }
    free(buf);
    if (r < 0)
        return cmd_fail("stdout: %s", strerror(-r));
    return (int)n; /* 0, or the error of the read */
}

static int export_view(struct evs_store *st, const char *path, evs_seq from, struct evs_error *err)
{
    struct path p;
    struct evs_view v;
    struct evs_cursor *c;
    uint64_t pos = 0;
    int r = path_parse(path, &p, err);

    if (r == 0)
        r = path_view(st, &p, &v, err);
    if (r == 0)
        r = evs_cursor_new(st, &v, &c, err);
    if (r < 0)
        return r;
    if (from > 1)
        r = evs_cursor_find(c, from - 1, &pos, err);
    if (r == 0)
        r = copy(c, pos, err);
    evs_cursor_free(c);
    return r;
}

static int run(int argc, char **argv)
{
    static const struct option options[] = {
        {"from", required_argument, NULL, 'f'}, {"help", no_argument, NULL, 'h'}, {0}};
    struct evs_error err;
    struct evs_store *st;
    evs_seq from = 0;

    for (int c; (c = cmd_option(argc, argv, ":h", options)) != -1;)
        if (c == 'f' && cmd_parse_number(optarg, &from) < 0)
            return cmd_usage("'%s' is not a seq", optarg);
    argc -= optind;
    argv += optind;
    if (argc < 1 || argc > 2)
        return cmd_usage(argc < 1 ? "no store" : "too many operands");
    const char *path = argc > 1 ? argv[1] : "events.jsonl";

    if (cmd_open_store(argv[0], &(struct evs_options){.read_only = true, .must_exist = true},
                       &st) != CMD_OK)
        return CMD_FAILED;
    int r = export_view(st, path, from, &err);
    if (r < 0 && err.why == EVS_NO_SUCH)
        r = cmd_fail("%s: %s: no such events", argv[0], path);
    else if (r < 0)
        r = cmd_fail_store(argv[0], &err);
    if (evs_close(st, &err) < 0 && r == 0)
        r = cmd_fail_store(argv[0], &err);
    return r;
}

const struct command command_export = {
    .name = "export",
    .args = "[--from SEQ] DATA [PATH]",
    .summary = "print the events of a store that is not mounted",
    .help = help,
    .run = run,
};
