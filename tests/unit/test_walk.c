/* SPDX-License-Identifier: MIT */
/* log_walk() of lines of all lengths: windows are copies, lines longer than one are read as they are mapped, and so
 * is all of a file that can't be opened. test_resume.c has where it begins, and damage. */
#include "log_world.h"

#include <errno.h>

#define LINES 600u

static size_t data_bytes(evs_seq seq)
{
    return seq % 97 == 0 ? 100000 * (seq % 5) + 20 : 4 + seq * 37 % 900;
}

static UNANALYSED void add(struct world *w, evs_seq seq)
{
    static char data[400100], line[400600];
    struct line_memo memo = {0};
    const size_t n = data_bytes(seq);
    uint32_t at, crc;

    memset(data, '0' + (int)(seq % 10), n);
    data[0] = data[n - 1] = '"';
    struct line l = {.seq = seq,
                     .version = seq,
                     .recorded_us = 1764000000000000 + (int64_t)seq,
                     .entity = {"e", 1},
                     .type = {"t", 1},
                     .data = {data, n}};
    const size_t bytes = line_write(&l, &memo, line, &at, &crc);
    CHECK_EQ(log_reserve(w->lg, bytes, 1, NULL), 0);
    struct log_rec rec = {.place = log_place(log_tail(w->lg), at),
                          .recorded_us = l.recorded_us,
                          .len = (uint32_t)bytes,
                          .entity = 2,
                          .type = 1};
    CHECK_EQ(log_append(w->lg, line, bytes, &rec, 1, NULL), 0);
    log_publish(w->lg);
}

static int look(void *arg, const struct log_walked *lines, size_t n)
{
    evs_seq *next = arg;

    for (size_t i = 0; i < n; i++, ++*next) {
        const struct line *l = &lines[i].line;
        CHECK_EQ(l->seq, *next);
        CHECK_EQ(l->data.n, data_bytes(*next));
        CHECK_EQ(l->data.p[1], '0' + (int)(*next % 10));
        CHECK_EQ(lines[i].raw.p[lines[i].raw.n - 1], '\n');
        CHECK_EQ(l->data.p - lines[i].raw.p, lines[i].data);
    }
    return 0;
}

static uint64_t walk(const struct world *w, evs_seq from)
{
    evs_seq next = from;

    (void)io_fault_set(&(struct io_fault){.n = UINT64_MAX});
    CHECK_EQ(log_walk(w->lg, from, look, &next, NULL), 0);
    CHECK_EQ(next, LINES + 1);
    return io_fault_set(&(struct io_fault){0});
}

static void lines_of_all_lengths(void)
{
    struct world *w = world_new(64 << 20);
    const char *jsonl = "log/00000000000000000001.jsonl";

    world_reopen(w);
    for (evs_seq seq = 1; seq <= LINES; seq++)
        add(w, seq);
    const uint64_t calls = walk(w, 1);
    CHECK(calls >= 5 && calls < 100); /* it reads, in pieces */
    for (evs_seq from = 1; from <= LINES; from += 13)
        (void)walk(w, from);
    for (uint64_t n = 1; n <= calls; n++) { /* what can't be read is there all the same */
        evs_seq next = 1;
        (void)io_fault_set(&(struct io_fault){.n = n, .forever = n % 2});
        int r = log_walk(w->lg, 1, look, &next, NULL);
        CHECK(r == 0 ? next == LINES + 1 : r == -EIO);
    }
    (void)io_fault_set(&(struct io_fault){0});
    CHECK_EQ(unlinkat(w->dirfd, jsonl, 0), 0);
    (void)walk(w, 1);
    world_free(w);
}

int main(void)
{
    RUN(lines_of_all_lengths);
    CHECK_DONE();
}
