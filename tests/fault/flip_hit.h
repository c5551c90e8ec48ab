/* SPDX-License-Identifier: MIT */
/* flip_hit: what of the log a flipped bit is in, and whether a message says so. For test_flip.c. */
#ifndef FLIP_HIT_H
#define FLIP_HIT_H

#include "flip_world.h"

struct hit {
    evs_seq from,
        to; /* events of the line, or of the frame; 0: of none, it is the table of the frames */
    uint64_t at, end; /* bytes of the file in which a message may say that it is */
};

static bool everything; /* EVFS_TEST_MODE=long, or only one flip */

/* Events that have any of these plain bytes of a segment. */
static void events_in(evs_seq first, uint64_t from, uint64_t end, struct hit *h)
{
    uint64_t at = 0;

    for (evs_seq seq = first; seq <= w.m.n && at < end; at += w.m.raw[seq++ - 1].n)
        if (at + w.m.raw[seq - 1].n > from) {
            h->from = h->from ? h->from : seq;
            h->to = seq;
        }
}

/* False: not in lines. */
static bool find_hit(struct hit *ret)
{
    const struct file *f = &w.files[now->file];
    struct hit h = {0};

    if (f->kind == LOG) {
        events_in(f->first, now->byte, now->byte + 1, &h);
        for (evs_seq seq = f->first; seq < h.to; seq++)
            h.at += w.m.raw[seq - 1].n;
        h.end = h.to ? h.at + w.m.raw[h.to - 1].n : 0;
        *ret = h;
        return h.to > 0;
    }
    if (f->kind != PACKED)
        return false;
    const uint32_t n = load32(f->bytes + f->n - FRAMES_FOOTER_BYTES);
    const char *entry = f->bytes + f->n - FRAMES_FOOTER_BYTES - (size_t)n * 8;
    uint64_t plain = 0;
    for (uint32_t i = 0; i < n; i++, entry += 8) {
        h.end = h.at + load32(entry);
        if (now->byte < h.end) {
            events_in(f->first, plain, plain + load32(entry + 4), &h);
            *ret = h;
            return true;
        }
        h.at = h.end;
        plain += load32(entry + 4);
    }
    h = (struct hit){
        .end = UINT64_MAX}; /* where the table should begin, or of the plain bytes that it counts */
    *ret = h;
    return true;
}

/* Does the text name file and event, and pos lie in what is hit? */
static void check_named(const char *text, uint64_t pos)
{
    struct hit h = {0};
    bool hit = find_hit(&h);
    const char *event = strstr(text, "event ");
    evs_seq seq = event ? strtoull(event + 6, NULL, 10) : 0;

    if (!hit || !strstr(text, w.files[now->file].name) || seq < h.from || seq > h.to ||
        pos < h.at || pos > h.end)
        fail("'%s', byte %" PRIu64 ": not named as event %" PRIu64 " to %" PRIu64
             " at bytes %" PRIu64 "-%" PRIu64,
             text, pos, h.from, h.to, h.at, h.end);
}

/* ---- what verify says ---- */

struct findings {
    int n;
    bool named;    /* one says where the flipped bit is */
    bool lost[64]; /* events that are said to be gone */
};

static void take_finding(void *arg, const char *text)
{
    struct findings *f = arg;
    struct hit h = {0};

    f->n++;
    if (!find_hit(&h))
        return;
    const char *byte = strstr(text, "byte "), *event = strstr(text, "event");
    uint64_t pos = byte ? strtoull(byte + 5, NULL, 10) : UINT64_MAX;
    evs_seq from = 0, to = 0;
    if (event && sscanf(event, "events %" SCNu64 " to %" SCNu64, &from, &to) != 2 &&
        sscanf(event, "event %" SCNu64, &from) == 1)
        to = from;
    bool lost = strstr(text, from == to ? " is lost" : " are lost") && from;
    for (evs_seq seq = from; lost && seq <= MIN(to, ARRAY_LEN(f->lost) - 1); seq++)
        f->lost[seq] = true;
    f->named |= !lost && strstr(text, w.files[now->file].name) && from >= h.from && to <= h.to &&
                pos >= h.at && pos <= h.end;
}

/* ---- what is left of it ---- */

/* Of all events those that are not what they were: each in its place, of type evfs.lost, and said to be lost. */
static void check_left(const struct model *m, const struct findings *said, uint64_t lost)
{
    struct hit h = {0};

    (void)find_hit(&h);
    if (m->n != w.m.n)
        fail("repaired: %zu events of %zu", m->n, w.m.n);
    for (size_t i = 0; i < MIN(m->n, w.m.n); i++) {
        bool same = slice_eq(m->raw[i], w.m.raw[i]);
        if (!same && (i + 1 < h.from || i + 1 > h.to))
            fail("repaired: event %zu is another, of %" PRIu64 " to %" PRIu64, i + 1, h.from, h.to);
        if (!same && !slice_eq(m->lines[i].type, (struct slice){"evfs.lost", 9}))
            fail("repaired: event %zu is neither there nor lost", i + 1);
        if (same == said->lost[i + 1])
            fail("verify said that event %zu is %s", i + 1, same ? "lost" : "not");
        lost -= !same;
    }
    if (lost)
        fail("repaired: another number of lost events than said");
}

/* The same flip, repaired: what is in good frames is kept, all else is told, and nothing is found any more. */
static void check_repair(const struct findings *said)
{
    struct evs_repaired rp;
    struct evs_store *st;
    struct evs_error err;
    struct model m;

    if (!everything && now->next % 4) /* a repair takes as long as all the rest */
        return;
    restore();
    flip();
    int r = evs_repair(w.dir, &rp, NULL, NULL, &err);
    if (r < 0 || rp.left || rp.found == 0) {
        fail("repair: %s, %" PRIu64 " found, %" PRIu64 " left", r < 0 ? err.detail : "done",
             r < 0 ? 0 : rp.found, r < 0 ? 0 : rp.left);
        return;
    }
    if (evs_open(w.dir, &(struct evs_options){.read_only = true}, &st, &err) < 0) {
        fail("repaired, and does not open: %s", err.detail);
        return;
    }
    int before = check_failed;
    model_load(&m, st);
    if (check_failed != before)
        fail("repaired: does not read right");
    check_left(&m, said, rp.lost);
    model_free(&m);
    if (evs_close(st, &err) < 0)
        fail("closing what was repaired: %s", err.detail);
}

#endif
