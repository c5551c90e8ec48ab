/* SPDX-License-Identifier: MIT */
/* repair_log: (1) The log is made anew beside the old one, in log.new: good files by a further name (a hard link),
 * the others written and synced; then the two directories change places, which is one step. A crash before it
 * leaves the old log, one behind it the new one: nothing is ever half there.
 * (2) What is replaced has its name in damaged/ before that, synced.
 * (3) The new log has no idx, and so no checkpoint may be there: the next open makes both from the lines. But until
 * it is in place the checkpoint must stay, which alone may know what is lost: the new log has a file that makes it
 * void, until it is removed.
 * (4) Hashes are taken along up to the first piece that is new: behind it they are of another log.
 * (5) So is all else that is in log/ and not made again by itself, such as SEQ.cut: only what has another name
 * elsewhere goes with the old directory. */
#include "repair.h"

#include "chain.h"
#include "checkpoint.h"
#include "io.h"
#include "scan.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>

#define NEW_DIR     "log.new"
#define WRITE_BYTES ((size_t)1 << 20)
#define TELL_EACH   1000 /* lost events; of more, ranges are told */

struct remake {
    struct repair *rp;
    struct survey *s;
    const struct lost_event *lost;
    size_t at_lost;             /* the next one */
    char (*aside)[ASIDE_BYTES]; /* of each file; "": stays */
    int fd;                     /* being written */
    char *buf;
    size_t n, cap;
    uint64_t written;
    int64_t recorded_us; /* of the line before, as is tx */
    uint32_t tx;
    struct line_memo memo;
    struct evs_error *err;
};

/* ---- saying it ---- */

/* For a terminal, and cut: names may be anything. */
static const char *shown(const char *name, char *room, size_t n)
{
    size_t len = strnlen(name, n / 6 - 1);

    room[scan_encode((struct slice){name, len}, room)] = '\0';
    return room;
}

static void place_of(const struct remake *m, const struct survey_lost *l, char *out, size_t n)
{
    out[0] = '\0';
    if (l->bad == SURVEY_NONE)
        return;
    const struct survey_bad *b = &m->s->bad[l->bad];
    (void)snprintf(out, n, " (log/%s: byte %" PRIu64 "); set aside in %s",
                   m->s->files[b->file].name, b->at, m->aside[b->file]);
}

static void tell_one(const struct remake *m, size_t i)
{
    const struct lost_event *e = &m->lost[i];
    char place[200], entity[1300], type[800];

    place_of(m, &m->s->lost[i], place, sizeof place);
    if (e->unknown)
        repair_say(m->rp, "event %" PRIu64 " is gone%s; whose it was is not known",
                   m->s->lost[i].seq, place);
    else
        repair_say(m->rp, "event %" PRIu64 ": %s %s version %" PRIu64 " is gone%s",
                   m->s->lost[i].seq, shown(e->entity, entity, sizeof entity),
                   e->type ? shown(e->type, type, sizeof type) : "(type unknown)", e->version,
                   place);
}

static void tell_lost(const struct remake *m)
{
    size_t n = m->s->n_lost;

    for (size_t i = 0, to; i < n; i = to) {
        char place[200];
        to = i + 1;
        if (n <= TELL_EACH) {
            tell_one(m, i);
            continue;
        }
        while (to < n && m->s->lost[to].seq == m->s->lost[to - 1].seq + 1 &&
               (m->s->lost[to].bad == SURVEY_NONE) == (m->s->lost[i].bad == SURVEY_NONE))
            to++;
        place_of(m, &m->s->lost[i], place, sizeof place);
        repair_say(m->rp, "events %" PRIu64 " to %" PRIu64 " are gone%s", m->s->lost[i].seq,
                   m->s->lost[to - 1].seq, place);
    }
}

/* ---- writing ---- */

static int flush(struct remake *m)
{
    int r = m->n ? io_write_all(m->fd, m->buf, m->n, m->written) : 0;

    m->written += m->n;
    m->n = 0;
    return r;
}

static char *room_for(struct remake *m, size_t n)
{
    if (m->n + n > m->cap) {
        char *p = realloc(m->buf, m->n + n + WRITE_BYTES);
        if (!p)
            return NULL;
        m->buf = p;
        m->cap = m->n + n + WRITE_BYTES;
    }
    return m->buf + m->n;
}

static int write_line(struct remake *m, const struct survey_line *l, struct survey_room *room)
{
    struct slice raw;
    struct line line;
    int r = survey_parse(m->s, l, room, &line, &raw, m->err);

    if (r < 0)
        return r;
    char *p = room_for(m, raw.n);
    if (!p)
        return evs_fail(m->err, EVS_NO_MEMORY, EVS_NOWHERE);
    memcpy(p, raw.p, raw.n);
    m->n += raw.n;
    m->recorded_us = line.recorded_us;
    m->tx = line.tx;
    return 0;
}

static bool needs_escape(const char *s)
{
    for (; *s; s++)
        if ((unsigned char)*s < 0x20 || *s == '"' || *s == '\\')
            return true;
    return false;
}

/* {"evfs":{"lost":{"set_aside":…,"byte":…,"type":…}}} */
static int meta_of(const struct remake *m, size_t i, char *out, size_t n)
{
    const struct survey_lost *l = &m->s->lost[i];
    const char *comma = "";
    int k = snprintf(out, n, "{\"evfs\":{\"lost\":{");

    if (l->bad != SURVEY_NONE) {
        const struct survey_bad *b = &m->s->bad[l->bad];
        k += snprintf(out + k, n - (size_t)k, "\"set_aside\":\"%s\",\"byte\":%" PRIu64,
                      m->aside[b->file], b->at);
        comma = ",";
    }
    if (m->lost[i].type) {
        char type[800];
        k += snprintf(out + k, n - (size_t)k, "%s\"type\":\"%s\"", comma,
                      shown(m->lost[i].type, type, sizeof type));
    }
    return k + snprintf(out + k, n - (size_t)k, "}}}");
}

/* What stands for the event: an ordinary line, so that seq and versions go on without a gap. */
static int write_lost(struct remake *m, size_t i)
{
    const struct lost_event *e = &m->lost[i];
    uint32_t tx = m->tx ? m->tx - 1 : 0, data, crc;
    char meta[1200];
    struct line line, next;
    struct survey_room room = {0};
    struct slice raw;
    const struct survey_line *l = survey_line(m->s, m->s->lost[i].seq + 1);

    /* The first of a transaction: only its own text tells, and must go with what follows. */
    if (!m->tx && e->tx && l && survey_parse(m->s, l, &room, &next, &raw, NULL) == 0 &&
        next.tx == e->tx - 1)
        tx = e->tx;
    free(room.p);
    int n = meta_of(m, i, meta, sizeof meta);
    line = (struct line){.seq = m->s->lost[i].seq,
                         .version = e->version,
                         .recorded_us = m->recorded_us,
                         .entity = {e->entity, strlen(e->entity)},
                         .entity_escape = needs_escape(e->entity),
                         .type = {LOST_TYPE, sizeof LOST_TYPE - 1},
                         .meta = {meta, (size_t)n},
                         .data = {"{}", 2},
                         .tx = tx};
    char *p = room_for(m, line_bound(&line));
    if (!p)
        return evs_fail(m->err, EVS_NO_MEMORY, EVS_NOWHERE);
    m->n += line_write(&line, &m->memo, p, &data, &crc);
    m->tx = tx;
    return 0;
}

/* The line before a piece says when, and whether its transaction goes on. */
static int take_last(struct remake *m, const struct survey_piece *p)
{
    struct slice b;
    struct line l;
    const char *at;
    int r = survey_bytes(m->s, p->file, &b, m->err);

    if (r < 0)
        return r;
    at = b.p;
    for (evs_seq seq = p->first; seq < p->end; seq++) {
        const char *lf = memchr(at, '\n', (size_t)(b.p + b.n - at));
        if (!lf)
            break;
        if (seq + 1 == p->end && line_parse(at, (size_t)(lf + 1 - at), &l, NULL, NULL) == 0) {
            m->recorded_us = l.recorded_us;
            m->tx = l.tx;
        }
        at = lf + 1;
    }
    return 0;
}

/* What is lost in front of all lines has the first one's time. */
static int first_time(struct remake *m)
{
    struct survey_room room = {0};
    struct slice raw, b;
    struct line l;
    int r = 0;

    for (size_t i = 0; i < m->s->n_pieces; i++) {
        const struct survey_piece *p = &m->s->pieces[i];
        if (p->good) {
            r = survey_bytes(m->s, p->file, &b, m->err);
            const char *lf = r == 0 ? memchr(b.p, '\n', b.n) : NULL;
            if (lf && line_parse(b.p, (size_t)(lf + 1 - b.p), &l, NULL, NULL) == 0)
                m->recorded_us = l.recorded_us;
            break;
        }
        const struct survey_line *line = NULL;
        for (evs_seq seq = p->first; seq < p->end && !line; seq++)
            line = survey_line(m->s, seq);
        if (!line)
            continue;
        r = survey_parse(m->s, line, &room, &l, &raw, m->err);
        if (r == 0)
            m->recorded_us = l.recorded_us;
        break;
    }
    free(room.p);
    return r;
}

static int write_piece(struct remake *m, const struct survey_piece *p)
{
    struct survey_room room = {0};
    char name[64];
    int r = 0;

    (void)snprintf(name, sizeof name, NEW_DIR "/%020" PRIu64 ".jsonl", p->first);
    m->fd = io_open(m->rp->dirfd, name, O_RDWR | O_CREAT | O_EXCL, 0600);
    if (m->fd < 0)
        return evs_fail_errno(m->err, m->fd, name);
    m->written = 0;
    for (evs_seq seq = p->first; r == 0 && seq < p->end; seq++) {
        const struct survey_line *l = survey_line(m->s, seq);
        r = l ? write_line(m, l, &room) : write_lost(m, m->at_lost++);
        if (r == 0 && m->n >= WRITE_BYTES && (r = flush(m)) < 0)
            (void)evs_fail_errno(m->err, r, name);
    }
    free(room.p);
    if (r == 0 && ((r = flush(m)) < 0 || (r = io_sync(m->fd)) < 0))
        (void)evs_fail_errno(m->err, r, name);
    (void)io_close(m->fd);
    m->fd = -1;
    return r;
}

/* ---- the new directory ---- */

static int link_new(struct remake *m, const char *name)
{
    char from[300], to[300];

    (void)snprintf(from, sizeof from, "log/%s", name);
    (void)snprintf(to, sizeof to, NEW_DIR "/%s", name);
    int r = io_link(m->rp->dirfd, from, m->rp->dirfd, to);
    return r < 0 ? evs_fail_errno(m->err, r, to) : 0;
}

struct hashes {
    struct remake *m;
    evs_seq changed; /* the first event that is not where or what it was */
    int r;
};

/* Hashes of what stays go along; others are of another log. */
static int take_hash(struct hashes *h, evs_seq first, const char *name)
{
    struct remake *m = h->m;
    evs_seq last = 0;
    char path[64], aside[ASIDE_BYTES];
    uint64_t bytes;
    int r = chain_look(m->rp->dirfd, first, &last, &bytes);

    (void)snprintf(path, sizeof path, "log/%.40s", name);
    return (r == -EBADMSG ? first : last) < h->changed
               ? link_new(m, name)
               : repair_set_aside(m->rp, path, aside, m->err);
}

/* Lines, which are dealt with, and what the next open makes again, or removes. */
static bool is_made(const char *name)
{
    static const char *const suffixes[] = {".jsonl", ".jsonl.zst", ".idx",
                                           ".tmp",   ".zst.tmp",   ".sha256.tmp"};
    size_t digits = strspn(name, "0123456789");

    for (size_t i = 0; digits == 20 && i < ARRAY_LEN(suffixes); i++)
        if (strcmp(name + digits, suffixes[i]) == 0)
            return true;
    return false;
}

static int take_name(void *arg, const char *name)
{
    struct hashes *h = arg;
    struct remake *m = h->m;
    char path[300];
    evs_seq first = chain_first(name);

    (void)snprintf(path, sizeof path, "log/%s", name);
    int fd = io_open(m->rp->dirfd, path, O_RDONLY | O_DIRECTORY, 0);
    if (fd >= 0) { /* has no second name */
        (void)io_close(fd);
        h->r = repair_move_aside(m->rp, path, m->err);
    } else if (first) {
        h->r = take_hash(h, first, name);
    } else if (!is_made(name)) {
        h->r = link_new(m, name);
    }
    return h->r < 0;
}

static int fill_dir(struct remake *m)
{
    struct hashes h = {m, UINT64_MAX, 0};
    int r = first_time(m);

    for (size_t i = 0; r == 0 && i < m->s->n_pieces; i++) {
        const struct survey_piece *p = &m->s->pieces[i];
        if (!p->good) {
            h.changed = MIN(h.changed, p->first);
            r = write_piece(m, p);
            continue;
        }
        r = link_new(m, m->s->files[p->file].name);
        if (r == 0 && i + 1 < m->s->n_pieces && !p[1].good)
            r = take_last(m, p);
    }
    h.changed = MIN(h.changed, m->s->end + 1);
    if (r == 0 && (r = io_list(m->rp->dirfd, "log", take_name, &h)) < 0)
        return evs_fail_errno(m->err, r, "log");
    return r < 0 ? r : h.r;
}

static int sync_dir(struct remake *m, const char *name)
{
    int fd AUTO_CLOSE = io_open(m->rp->dirfd, name, O_RDONLY | O_DIRECTORY, 0);
    int r = fd < 0 ? fd : io_sync(fd);

    return r < 0 ? evs_fail_errno(m->err, r, name) : 0;
}

/* In the new directory: the checkpoint is of the old one. (3) */
static int make_void(struct remake *m)
{
    static const char name[] = NEW_DIR "/" CHECKPOINT_VOID_NAME;
    int fd AUTO_CLOSE = io_open(m->rp->dirfd, name, O_RDWR | O_CREAT, 0600);

    return fd < 0 ? evs_fail_errno(m->err, fd, name) : 0;
}

static int change_places(struct remake *m)
{
    int r = io_exchange(m->rp->dirfd, NEW_DIR, "log");

    if (r == -EINVAL || r == -EXDEV || r == -ENOSYS)
        return evs_fail_errno(m->err, r,
                              NEW_DIR " and log can't change places on this filesystem: repair a "
                                      "copy of the store on another one");
    if (r == 0)
        r = io_sync(m->rp->dirfd);
    if (r < 0)
        return evs_fail_errno(m->err, r, NEW_DIR);
    r = checkpoint_remove(m->rp->dirfd);
    return r < 0 ? evs_fail_errno(m->err, r, CHECKPOINT_FILE) : 0;
}

static int set_files_aside(struct remake *m)
{
    int r = 0;

    for (size_t i = 0; r == 0 && i < m->s->n_files; i++) {
        char path[64];
        if (m->s->files[i].good && !m->s->files[i].put_in)
            continue;
        (void)snprintf(path, sizeof path, "log/%s", m->s->files[i].name);
        r = repair_set_aside(m->rp, path, m->aside[i], m->err);
        if (r == 0)
            repair_say(m->rp, "%s: set aside in %s%s", path, m->aside[i],
                       m->s->files[i].put_in ? ": the log goes on without it" : "");
    }
    return r;
}

int repair_log(struct repair *rp, struct survey *s, const struct lost_event *lost,
               struct evs_error *err)
{
    struct remake m = {.rp = rp, .s = s, .lost = lost, .fd = -1, .err = err};
    int r;

    m.aside = calloc(s->n_files + 1, sizeof *m.aside);
    if (!m.aside)
        return evs_fail(err, EVS_NO_MEMORY, EVS_NOWHERE);
    r = repair_remove_dir(rp, NEW_DIR, err);
    if (r == 0)
        r = set_files_aside(&m);
    if (r == 0 && (r = io_mkdir(rp->dirfd, NEW_DIR, 0777)) < 0)
        (void)evs_fail_errno(err, r, NEW_DIR);
    if (r == 0)
        r = fill_dir(&m);
    if (r == 0)
        r = make_void(&m);
    if (r == 0)
        r = sync_dir(&m, NEW_DIR);
    if (r < 0)
        (void)repair_remove_dir(rp, NEW_DIR, NULL); /* on a full disk others need its room */
    if (r == 0) {
        tell_lost(&m); /* before: afterwards nobody could, if this is the end */
        r = change_places(&m);
    }
    if (r == 0) {
        rp->lost += s->n_lost;
        r = repair_remove_dir(rp, NEW_DIR, err);
    }
    free(m.aside);
    free(m.buf);
    return r;
}
