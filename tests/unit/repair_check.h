/* SPDX-License-Identifier: MIT */
/* repair_check: a store of repair_world.h is damaged, repaired, and what must be then is looked for. */
#ifndef REPAIR_CHECK_H
#define REPAIR_CHECK_H

#include "repair_world.h"
#include "store/lost.h"

/* ---- what must be then ---- */

static int repair(void)
{
    said[0] = '\0';
    return evs_repair(dir, &done, note, NULL, &err);
}

static bool told(evs_seq seq)
{
    unsigned long long a, b;
    char text[40];

    (void)snprintf(text, sizeof text, "event %" PRIu64, seq);
    for (const char *p = said; (p = strstr(p, text)); p++) {
        const char *gone = strstr(p, "is gone");
        if ((p == said || p[-1] == '\n') && (p[strlen(text)] == ':' || p[strlen(text)] == ' ') &&
            gone && gone < strchr(p, '\n'))
            return true;
    }
    for (const char *p = said; (p = strstr(p, "events ")); p++) {
        int n = 0; /* stays 0 unless all of it is there */
        (void)sscanf(p, "events %llu to %llu are gone%n", &a, &b, &n);
        if (n && seq >= a && seq <= b)
            return true;
    }
    return false;
}

/* exact: the checkpoint was there, so nothing had to be guessed. */
static bool was_killed; /* then the one before may have told it */

static void check_event(struct slice raw, evs_seq seq, bool exact)
{
    struct line l;

    CHECK_EQ(line_parse(raw.p, raw.n, &l, NULL, NULL), 0);
    CHECK_EQ(l.seq, seq);
    if (raw.n == was[seq].n && memcmp(raw.p, was[seq].p, raw.n) == 0) {
        CHECK(whole[seq] || but_lf[seq]);
        CHECK(!told(seq));
        return;
    }
    CHECK(!whole[seq]);
    CHECK_MEM(l.type.p, l.type.n, LOST_TYPE, strlen(LOST_TYPE));
    CHECK_MEM(l.data.p, l.data.n, "{}", 2);
    CHECK(l.meta.p && memmem(l.meta.p, l.meta.n, "{\"evfs\":{\"lost\":{", 17));
    CHECK(told(seq) || was_killed);
    if (exact) {
        CHECK_MEM(l.entity.p, l.entity.n, was[seq].line.entity.p, was[seq].line.entity.n);
        CHECK_EQ(l.version, was[seq].line.version);
        char type[200];
        (void)snprintf(type, sizeof type, "\"type\":\"%.*s\"", (int)was[seq].line.type.n,
                       was[seq].line.type.p);
        CHECK(memmem(l.meta.p, l.meta.n, type, strlen(type)));
    }
}

static int findings(void)
{
    return evs_verify(dir, note, NULL, &err);
}

static void check_repaired(bool exact)
{
    struct evs_store *st;
    size_t n, at = 0;

    CHECK_EQ(done.left, 0);
    CHECK_EQ(findings(), 0);
    if (evs_open(dir, &(struct evs_options){.segment_bytes = 64 << 10, .compress = -1}, &st, &err) <
        0) {
        CHECK_STR(err.detail, "it opens");
        return;
    }
    char *p = model_read(st, &(struct evs_view){.kind = EVS_ALL}, &n);
    evs_seq end = evs_end(st), lost = 0;
    for (evs_seq seq = 1; seq <= end; seq++) {
        char *lf = memchr(p + at, '\n', n - at);
        size_t len = (size_t)(lf - p) + 1 - at;
        check_event((struct slice){p + at, len}, seq, exact);
        lost += len != was[seq].n || memcmp(p + at, was[seq].p, len) != 0;
        at += len;
    }
    for (evs_seq seq = end + 1; seq <= EVENTS; seq++)
        CHECK(!whole[seq] || is_kept(seq, end));
    /* Behind the end, the checkpoint knows how many there were; without it, perhaps nothing does. */
    lost += EVENTS - end;
    CHECK(was_killed || (exact ? done.lost == lost : done.lost <= lost));
    /* It goes on: with the right versions, or verify would say so. */
    CHECK(put(st, "[{\"entity\":\"big\",\"type\":\"u\"},{\"entity\":\"a\",\"type\":\"t1\"},"
                  "{\"entity\":\"c/d 3\",\"type\":\"t1\"}]\n") > 0);
    CHECK_EQ(evs_close(st, &err), 0);
    free(p);
    CHECK_EQ(findings(), 0);
}

/* True: its checkpoint is whole. */
static bool damage(uint64_t seed)
{
    uint64_t random = seed;

    restore();
    for (uint64_t k = 1 + check_random(&random) % 4; k > 0; k--)
        hit(&random);
    look_what_is_left();
    int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    struct checkpoint_mark m;
    struct index *ix;
    uint64_t bytes;
    CHECK_EQ(index_new(&ix, NULL), 0);
    bool exact = checkpoint_read(fd, ix, &m, &bytes, NULL) == 0;
    index_free(ix);
    (void)close(fd);
    return exact;
}

#endif
