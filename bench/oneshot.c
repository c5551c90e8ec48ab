/* SPDX-License-Identifier: MIT */
/* evfs-oneshot: what one write(2) of one event costs on a descriptor that stays open. Each write is
 * timed alone; a run prints the median of its writes in microseconds. The cost of reading the clock
 * (some 25 ns, twice) is in it. */
#include "bench.h"

int main(int argc, char **argv)
{
    static const char event[] =
        "{\"customer\":\"c-0123456789\",\"total\":99.5,\"note\":\"the parcel is to be left with a "
        "neighbour\"}\n";

    if (argc < 2 || argc > 4)
        return fputs("usage: evfs-oneshot FILE [RUNS [WRITES]]\n", stderr), 2;
    size_t runs = argc > 2 ? strtoull(argv[2], NULL, 10) : 9;
    size_t writes = argc > 3 ? strtoull(argv[3], NULL, 10) : 2000;
    uint64_t *ns = calloc(writes + 1, sizeof *ns);
    int fd = open(argv[1], O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0644);
    if (fd < 0 || !ns)
        die(argv[1], NULL);

    for (size_t run = 0; run <= runs; run++) { /* the first warms up */
        for (size_t i = 0; i < writes; i++) {
            uint64_t begin = now_ns();
            ssize_t r = write(fd, event, sizeof event - 1);
            ns[i] = now_ns() - begin;
            if (r != (ssize_t)sizeof event - 1)
                die(argv[1], NULL);
        }
        if (run > 0)
            printf("%.2f\n", (double)median(ns, writes) / 1e3);
    }
    free(ns);
    return close(fd) < 0;
}
