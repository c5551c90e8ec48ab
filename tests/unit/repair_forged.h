/* SPDX-License-Identifier: MIT */
/* repair_forged: what writers put into a store so that its repair is misled. For test_repair.c, in the middle of which it
 * stands. */
#ifndef REPAIR_FORGED_H
#define REPAIR_FORGED_H

#include "repair_world.h"

/* Somebody has events under the names that lost events of nobody get, and data that names another. */
static void test_a_name_for_the_lost_that_is_taken(void)
{
    char *const all = dir, text[200];
    struct evs_store *st;
    size_t len = 0;

    dir = model_dir();
    CHECK_EQ(evs_open(dir, NULL, &st, &err), 0);
    for (int i = 1; i < 9; i++) {
        (void)snprintf(text, sizeof text,
                       i < 5
                           ? "{\"entity\":\"a/%d\",\"type\":\"t\",\"data\":{\"x\":1,\"entity\":\"a/"
                             "1\",\"type\":\"u\",\"version\":7}}\n"
                           : "{\"entity\":\"evfs/lost/%d\",\"type\":\"t\"}\n",
                       i < 5 ? i : i / 2);
        CHECK(put(st, text) > 0);
    }
    CHECK_EQ(evs_close(st, &err), 0);
    CHECK_EQ(unlink(path_of(CHECKPOINT_FILE)), 0);
    const char *name = "log/00000000000000000001.jsonl";
    char *p = read_file(name, &len), *at = memmem(p, len, "\"entity\":\"a/3", 13);
    memset(at, 0, 40);
    write_file(name, p, len);
    free(p);
    CHECK_EQ(repair(), 0);
    CHECK_EQ(done.left, 0);
    CHECK_EQ(done.lost, 1);
    CHECK_EQ(findings(), 0);
    p = read_file(name, &len);
    CHECK(memmem(p, len, "\"entity\":\"evfs/lost/3.1\"", 24));
    free(p);
    model_remove(dir);
    dir = all;
}

/* A line of root's that somebody has made, with its LF. */
static size_t forge(evs_seq seq, char *to)
{
    struct line_memo memo = {0};
    struct line l = {.seq = seq,
                     .version = was[seq].line.version,
                     .recorded_us = was[seq].line.recorded_us,
                     .entity = was[seq].line.entity,
                     .type = {"forged", 6},
                     .data = {"{}", 2}};
    uint32_t data, crc;

    return line_write(&l, &memo, to, &data, &crc);
}

/* In names[0], event seq becomes a damaged line with one within its data, behind the byte `behind`. */
static void plant(const char *name, evs_seq seq, evs_seq forged, char behind)
{
    size_t len, at = (size_t)(was[seq].p - was_bytes), n = was[seq].n;
    char *p = read_file(name, &len), *q = malloc(len + 2000), *o = mempcpy(q, p, at);

    o += sprintf(o, "{\"seq\":%" PRIu64 ",\"what\":\"was here\",\"data\":[1%c", seq, behind);
    o += forge(forged, o);
    o[-1] = ','; /* for the LF */
    o = stpcpy(o, "{\"seq\":9}]}\n");
    memcpy(o, p + at + n, len - at - n);
    write_file(name, q, (size_t)(o - q) + len - at - n);
    free(p);
    free(q);
}

/* What a writer puts into data is no line of the store, even when his own is damaged. */
static void test_data_that_looks_like_lines_is_data(void)
{
    static const char within[] = {'[', ',', ':', ' ', '\t'};
    char names[FILES][64];
    evs_seq seq = 3;

    restore();
    CHECK(list("log", ".jsonl", names) > 1);
    while (was[seq].line.tx || was[seq - 1].line.tx || was[seq + 1].line.tx)
        seq++;
    for (size_t i = 0; i < sizeof within + 2; i++) {
        restore();
        if (i < sizeof within)
            plant(names[0], seq, seq, within[i]);
        else /* behind a byte that is damage itself: an event that is there; one that can't be so near */
            plant(names[0], seq, seq + (i > sizeof within ? 90 : 1), '\0');
        look_what_is_left();
        CHECK_EQ(repair(), 0);
        CHECK_EQ(done.lost, 1);
        CHECK(told(seq));
        check_repaired(true);
    }
}

/* A line that is right, far behind all others: there is no room for what would be missing before it. */
static void test_a_line_of_another_store_is_told(void)
{
    char names[FILES][64], *p, *q, *o;
    size_t len;

    restore();
    CHECK(list("log", ".jsonl", names) > 2);
    p = read_file(names[0], &len);
    q = malloc(len + 1000);
    o = mempcpy(q, p, len);
    o += forge(10, o);
    struct line l;
    CHECK_EQ(line_parse(q + len, (size_t)(o - q) - len, &l, NULL, NULL), 0);
    l.seq = 4000000000;
    l.version = 1;
    struct line_memo memo = {0};
    char far[1000];
    uint32_t data, crc;
    o = mempcpy(q + len, far, line_write(&l, &memo, far, &data, &crc));
    write_file(names[0], q, (size_t)(o - q));
    look_what_is_left();
    CHECK_EQ(repair(), 0); /* the others say where the log ends */
    check_repaired(true);
    CHECK_EQ(done.lost, 0);
    write_file(names[0], q, (size_t)(o - q));
    cut_out(names[1], true);
    CHECK_FAIL(repair(), err, DAMAGED);
    CHECK(strstr(err.detail, "event 4000000000") && strstr(err.detail, "move the file away"));
    free(p);
    free(q);
}

#endif
