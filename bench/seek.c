/* SPDX-License-Identifier: MIT */
/* evfs-seek: reads 64 bytes at random places of all events of one entity, by a cursor in this
 * process; a run prints microseconds a read. The read checks the line that it touches against its
 * checksum, so this is the price of a seek that can be trusted. With --plain, the same by pread(2)
 * on a plain file: what it is compared to. */
#include "bench.h"

#define READS      10000
#define READ_BYTES 64

static uint64_t next_random(uint64_t *state) /* xorshift64*, Vigna 2016 */
{
    *state ^= *state >> 12;
    *state ^= *state << 25;
    *state ^= *state >> 27;
    return *state * 0x2545f4914f6cdd1du;
}

static double us_each(uint64_t begin)
{
    return (double)(now_ns() - begin) / 1e3 / READS;
}

static void plain(const char *path, size_t runs)
{
    struct stat st;
    char buf[READ_BYTES];
    uint64_t state = 1;
    int fd = open(path, O_RDONLY | O_CLOEXEC);

    if (fd < 0 || fstat(fd, &st) < 0)
        die(path, NULL);
    for (size_t run = 0; run <= runs; run++) {
        uint64_t begin = now_ns();
        for (int i = 0; i < READS; i++) {
            uint64_t at = next_random(&state) % ((uint64_t)st.st_size - READ_BYTES);
            if (pread(fd, buf, sizeof buf, (off_t)at) != READ_BYTES)
                die(path, NULL);
        }
        if (run > 0)
            printf("%.2f\n", us_each(begin));
    }
    (void)close(fd);
}

static void seek(struct evs_store *st, evs_entity e, size_t runs)
{
    const struct evs_view v = {.kind = EVS_OWN, .entity = e};
    struct evs_cursor *c;
    struct evs_extent extent;
    struct evs_error err;
    char buf[READ_BYTES];
    uint64_t state = 1;

    if (evs_view_extent(st, &v, &extent) < 0 || evs_cursor_new(st, &v, &c, &err) < 0)
        die("cursor", &err);
    fprintf(stderr, "# %" PRIu64 " events, %" PRIu64 " bytes\n", extent.events, extent.bytes);
    for (size_t run = 0; run <= runs; run++) {
        uint64_t begin = now_ns();
        for (int i = 0; i < READS; i++) {
            uint64_t at = next_random(&state) % (extent.bytes - READ_BYTES);
            if (evs_cursor_read(c, at, buf, sizeof buf, &err) != READ_BYTES)
                die("read", &err);
        }
        if (run > 0)
            printf("%.2f\n", us_each(begin));
    }
    evs_cursor_free(c);
}

int main(int argc, char **argv)
{
    size_t runs = argc > 3 ? strtoull(argv[argc - 1], NULL, 10) : 0, n;
    struct evs_writer *w;

    if (argc == 4 && runs && strcmp(argv[1], "--plain") == 0)
        return plain(argv[2], runs), 0;
    if (argc != 5 || !runs)
        return fputs("usage: evfs-seek DIR FILE ENTITY RUNS | --plain FILE RUNS\n", stderr), 2;
    struct evs_store *st = open_store(argv[1], NO_SYNC, &w);
    char *text = load_file(argv[2], &n);
    append_all(w, text, n);
    free(text);
    evs_entity e = evs_find_entity(st, argv[3], strlen(argv[3]));
    if (!e) {
        fprintf(stderr, "%s: no such entity\n", argv[3]);
        return 1;
    }
    seek(st, e, runs);
    close_store(st, w);
    return 0;
}
