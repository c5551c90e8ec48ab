/* SPDX-License-Identifier: MIT */
/* evfs-reopen: how long a store takes to be ready again.
 *   evfs-reopen fill DIR         append stdin and end cleanly (checkpoint)
 *   evfs-reopen kill DIR         append stdin and die by SIGKILL
 *   evfs-reopen open DIR FILE    open; append the first 10,000 lines of FILE; prints the
 *                                milliseconds of both and the number of events found; ends cleanly */
#include "bench.h"

#include <signal.h>

#define FIRST_EVENTS 10000
#define CHUNK_BYTES  (2u << 20)

static void fill(const char *dir, bool kill_me)
{
    struct evs_writer *w;
    /* Killed, it has the default's background syncs, as a mount has: what is not yet durable is
     * copied by the next open, and with none at all that would be everything. */
    struct evs_store *st = open_store(dir, kill_me ? 0 : NO_SYNC, &w);
    char *buf = malloc(CHUNK_BYTES);
    ssize_t n;

    if (!buf)
        die("fill", NULL);
    while ((n = read(STDIN_FILENO, buf, CHUNK_BYTES)) > 0)
        append_all(w, buf, (size_t)n); /* it may end inside an event: the writer keeps the rest */
    if (n < 0)
        die("stdin", NULL);
    if (kill_me)
        (void)raise(SIGKILL);
    free(buf);
    close_store(st, w);
}

static void reopen(const char *dir, const char *file)
{
    size_t n, lines;
    char *text = load_file(file, &n);
    struct evs_writer *w;

    n = next_batch(text, n, FIRST_EVENTS, &lines);
    uint64_t begin = now_ns();
    struct evs_store *st = open_store(dir, NO_SYNC, &w);
    uint64_t opened = now_ns();
    evs_seq found = evs_end(st);
    append_all(w, text, n);
    uint64_t appended = now_ns();
    if (evs_end(st) != found + lines) {
        fprintf(stderr, "%" PRIu64 " events, not %" PRIu64 "\n", evs_end(st), found + lines);
        exit(1);
    }
    printf("%.2f %.2f %" PRIu64 "\n", (double)(opened - begin) / 1e6,
           (double)(appended - opened) / 1e6, found);
    close_store(st, w);
    free(text);
}

int main(int argc, char **argv)
{
    if (argc == 3 && strcmp(argv[1], "fill") == 0)
        fill(argv[2], false);
    else if (argc == 3 && strcmp(argv[1], "kill") == 0)
        fill(argv[2], true);
    else if (argc == 4 && strcmp(argv[1], "open") == 0)
        reopen(argv[2], argv[3]);
    else
        return fputs("usage: evfs-reopen fill|kill DIR | open DIR FILE\n", stderr), 2;
    return 0;
}
