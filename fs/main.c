/* SPDX-License-Identifier: MIT */
/* evfs: the program. Finds the subcommand and runs it. (1) Exit codes: 0, 1 for a failure, 2 for a
 * mistake in the command line. (2) Output that could not be written is a failure, also where it is
 * the last line. (3) Descriptors 0 to 2 are never those of a file that we open. */
#include "fs/cmd.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const struct command *const commands[] = {
    &command_mount,  &command_append, &command_tail,    &command_import, &command_export,
    &command_backup, &command_verify, &command_rebuild, &command_stats,  &command_schema,
};

static void print_help(void)
{
    printf("usage: evfs COMMAND ...\n"
           "An event store that you use as a filesystem.\n\n");
    for (size_t i = 0; i < sizeof commands / sizeof *commands; i++)
        printf("  %-8s  %s\n", commands[i]->name, commands[i]->summary);
    printf("\nevfs COMMAND --help says more, and so do evfs(1) and evfs(5). First steps:\n\n"
           "  evfs mount /var/lib/orders /ev\n"
           "  echo '{\"total\":99}' >> /ev/entities/orders/42/placed.jsonl\n"
           "  evfs tail -f /ev/events.jsonl\n");
}

static const struct command *find(const char *name)
{
    for (size_t i = 0; i < sizeof commands / sizeof *commands; i++)
        if (strcmp(commands[i]->name, name) == 0)
            return commands[i];
    return NULL;
}

/* Flush stdout; what it says about the exit code. */
static int finish(int code)
{
    if (fflush(stdout) == 0 && !ferror(stdout))
        return code;
    return code ? code : cmd_fail("stdout: %s", strerror(errno));
}

/* A standard descriptor that is closed would be that of the next file: what is printed would go into the store.
 * O_PATH: reading and writing fail as if it were closed still. */
static void fill_standard(void)
{
    for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++)
        if (fcntl(fd, F_GETFD) < 0 && open("/", O_PATH) < 0)
            exit(CMD_FAILED); /* and nowhere to say so */
}

int main(int argc, char **argv)
{
    fill_standard();
    (void)signal(SIGXFSZ, SIG_IGN); /* a write that is too long fails, and the store says so */

    const char *slash = argc > 0 ? strrchr(argv[0], '/') : NULL,
               *self = slash ? slash + 1 : argv[0];

    if (argc > 0 && strcmp(self, "mount.evfs") == 0) {
        static char name[] = "mount.evfs";
        cmd_begin(&command_mount);
        argv[0] = name;
        return finish(command_mount.run(argc, argv));
    }
    if (argc < 2)
        return cmd_usage("no command");
    if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0 ||
        strcmp(argv[1], "help") == 0) {
        print_help();
        return finish(CMD_OK);
    }
    if (strcmp(argv[1], "--version") == 0 || strcmp(argv[1], "-V") == 0) {
        printf("evfs %s\n", evs_version());
        return finish(CMD_OK);
    }
    const struct command *c = find(argv[1]);
    if (!c)
        return cmd_usage("there is no command '%s'", argv[1]);
    cmd_begin(c);
    return finish(c->run(argc - 1, argv + 1));
}
