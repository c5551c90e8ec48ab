/* SPDX-License-Identifier: MIT */
/* evfs-warm: touches MIB of memory and gives it back to the kernel. A guest that reports its free pages to its host pays
 * for each that is touched anew, 10 to 30 times what clearing it costs; those that were touched just now are
 * there for the next two seconds. Takes no more than half of what is free.
 *   evfs-warm MIB */
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#define HUGE ((size_t)2 << 20)

int main(int argc, char **argv)
{
    if (argc != 2)
        return fputs("usage: evfs-warm MIB\n", stderr), 2;
    const size_t page = (size_t)sysconf(_SC_PAGESIZE);
    const size_t half = (size_t)sysconf(_SC_AVPHYS_PAGES) / 2 * page;
    size_t n = strtoull(argv[1], NULL, 10) << 20;

    n = (n < half ? n : half) / HUGE * HUGE;
    if (n == 0)
        return 0;
    char *p = mmap(NULL, n, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (p == MAP_FAILED)
        return perror("evfs-warm"), 1;
    (void)madvise(p, n, MADV_HUGEPAGE);
    for (size_t at = 0; at < n; at += page)
        p[at] = 1;
    return munmap(p, n) < 0;
}
