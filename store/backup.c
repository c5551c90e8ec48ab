/* SPDX-License-Identifier: MIT */
/* backup: a store's log, up to a byte, and its meta.db, in a directory that is a store then as well.
 *
 * (1) The log is read as any reader does who has the files only: opened read-only, beside whoever writes.
 *     Bytes before the given one never change, however segments are rolled, sealed, or, after a crash, cut and
 *     copied meanwhile.
 * (2) The backup's log only ever grows at its end, by whole transactions. It has its own recovery: whatever the
 *     moment of a crash, its next open finds a prefix of the store's log, and the next backup goes on from it.
 * (3) The first backup grows in BACKUP_WORK, and gets its place by a rename when it is whole: before, there is
 *     no log and so no store.
 * (4) Owners are at least as new as events: meta.db is copied after the end of the log was decided, and put
 *     into place before the log grows. A directory that was closed before an event came is closed in the backup.
 * (5) What a backup has is compared before anything in it changes: a sealed segment by its place in the log and
 *     its first and last bytes, all else byte by byte.
 * (6) Sealed segments are taken as files where the backup's log ends at their start, all else is appended line
 *     by line. So segments need not begin at the same events in both. */
#include "backup_file.h"
#include "backup_state.h"
#include "give.h"
#include "io.h"
#include "limits.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>

#define LINE_BYTES  ((size_t)64 << 10) /* most lines are shorter */
#define PIECE_BYTES ((size_t)1 << 20)  /* appended at once, and more only for a transaction */
#define OPEN_TRIES  20

/* ---- the store ---- */

static int open_src(struct backup *b, struct evs_error *err)
{
    b->src_fd = io_open(AT_FDCWD, b->dir, O_RDONLY | O_DIRECTORY, 0);
    if (b->src_fd < 0)
        return evs_fail_errno(err, b->src_fd, b->dir);
    b->src_log_fd = io_open(b->src_fd, "log", O_RDONLY | O_DIRECTORY, 0);
    if (b->src_log_fd == -ENOENT)
        return evs_fail_at(err, EVS_BAD_FORMAT, EVS_NOWHERE, "%s", b->dir);
    if (b->src_log_fd < 0)
        return evs_fail_errno(err, b->src_log_fd, "log");
    if (b->bytes != UINT64_MAX)
        return 0; /* who has it open has given a number */
    int r = hold_take(b->src_fd, true, &b->src_hold);
    if (r == -EWOULDBLOCK)
        return evs_fail_at(err, EVS_IN_USE, EVS_NOWHERE, "%s", b->dir);
    return r < 0 ? evs_fail_errno(err, r, "lock") : 0;
}

/* While somebody writes, a length may be older than the header that speaks of it, and a file be gone that was
 * listed: that looks like damage, and looks well at the next try. */
static int open_src_log(struct backup *b, struct evs_error *err)
{
    const struct log_options lo = {.segment_bytes = DEFAULT_SEGMENT_BYTES, .read_only = true};
    bool live = b->bytes != UINT64_MAX;
    int r = -EIO;

    for (int i = 0; r < 0 && i < (live ? OPEN_TRIES : 1); i++) {
        r = log_open(b->src_fd, &lo, &b->src, err);
        if (r == 0 && live && log_bytes(b->src) < b->bytes) {
            r = evs_fail_at(err, EVS_DAMAGED, log_bytes(b->src), "%s: the log is not that long",
                            b->dir);
            log_abandon(TAKE(b->src));
        }
    }
    if (r == 0)
        b->end = live ? b->bytes : log_bytes(b->src);
    return r;
}

/* Which event ends at b->end? */
static int find_end(struct backup *b, struct evs_error *err)
{
    int r = b->end ? -EBADMSG : 0;

    for (size_t n = LINE_BYTES; r == -EBADMSG; n *= 4) {
        size_t k = (size_t)MIN(n, b->end);
        char *buf AUTO_FREE = malloc(k);
        if (!buf)
            return evs_fail(err, EVS_NO_MEMORY, EVS_NOWHERE);
        ssize_t got = log_read(b->src, b->end - k, buf, k, err);
        if (got < 0)
            return (int)got;
        const char *lf = k > 1 ? memrchr(buf, '\n', k - 1) : NULL;
        const char *p = lf ? lf + 1 : buf;
        struct line l;
        r = line_parse(p, (size_t)(buf + k - p), &l, NULL, NULL);
        if (r == 0 && l.tx == 0)
            b->end_seq = l.seq;
        else if (r == 0 || lf || k == b->end)
            return evs_fail_at(err, EVS_DAMAGED, b->end, "%s: no whole event ends here", b->dir);
    }
    return 0;
}

/* ---- the backup's directory ---- */

static int look_for_others(void *arg, const char *name)
{
    (void)arg; /* what a first backup has left, and the root of a filesystem of its own */
    return strncmp(name, "meta.db", 7) != 0 && strcmp(name, "lock") != 0 &&
           strcmp(name, BACKUP_WORK) != 0 && strcmp(name, "lost+found") != 0;
}

static int lock_dest(struct backup *b, struct evs_error *err)
{
    int r = hold_take(b->dest_fd, false, &b->hold);

    if (r == -EWOULDBLOCK)
        return evs_fail_at(err, EVS_IN_USE, EVS_NOWHERE, "%s", b->dest);
    return r < 0 ? evs_fail_errno(err, r, b->dest) : 0;
}

static int sync_parent(struct backup *b, struct evs_error *err)
{
    int up AUTO_CLOSE = io_open(b->dest_fd, "..", O_RDONLY | O_DIRECTORY, 0);
    int r = up < 0 ? up : io_sync(up);

    return r < 0 ? evs_fail_errno(err, r, b->dest) : 0;
}

/* Open dest, made if need be, and find out what it is. Nothing in it changes but the lock. */
static int open_dest(struct backup *b, struct evs_error *err)
{
    struct stat s, d;
    int made = io_mkdir(AT_FDCWD, b->dest, 0700), r;

    if (made < 0 && made != -EEXIST)
        return evs_fail_errno(err, made, b->dest);
    b->dest_fd = io_open(AT_FDCWD, b->dest, O_RDONLY | O_DIRECTORY, 0);
    if (b->dest_fd < 0)
        return evs_fail_errno(err, b->dest_fd, b->dest);
    if ((r = io_stat(b->src_fd, &s)) < 0 || (r = io_stat(b->dest_fd, &d)) < 0)
        return evs_fail_errno(err, r, b->dest);
    if (s.st_dev == d.st_dev && s.st_ino == d.st_ino)
        return evs_fail_at(err, EVS_NOT_BACKUP, EVS_NOWHERE, "%s is the store itself", b->dest);
    int log = io_open(b->dest_fd, "log", O_RDONLY | O_DIRECTORY, 0);
    if (log >= 0)
        (void)io_close(log); /* only asked whether it is there */
    else if (log != -ENOENT)
        return evs_fail_errno(err, log, b->dest);
    else if ((r = io_list(b->dest_fd, ".", look_for_others, NULL)) != 0)
        return r < 0 ? evs_fail_errno(err, r, b->dest)
                     : evs_fail_at(err, EVS_NOT_BACKUP, EVS_NOWHERE,
                                   "%s is not empty, and no store", b->dest);
    if (made == 0 && (r = sync_parent(b, err)) < 0)
        return r;
    if ((r = lock_dest(b, err)) < 0)
        return r;
    r = io_mkdir(b->dest_fd, BACKUP_WORK, 0700);
    b->work_fd =
        r < 0 && r != -EEXIST ? r : io_open(b->dest_fd, BACKUP_WORK, O_RDONLY | O_DIRECTORY, 0);
    if (b->work_fd < 0)
        return evs_fail_errno(err, b->work_fd, b->dest);
    b->root = log >= 0 ? b->dest_fd : b->work_fd;
    return 0;
}

/* ---- growing ---- */

/* Lines on their way to the end of the backup's log. */
struct piece {
    struct log *to;
    evs_seq until; /* not with it */
    char *buf;
    struct log_rec *recs;
    size_t n, cap;
    uint32_t lines, lines_cap;
    struct evs_error *err;
};

static int append_piece(struct piece *p) UNANALYSED;
static int append_piece(struct piece *p)
{
    if (p->lines == 0)
        return 0;
    int r = log_reserve(p->to, p->n, p->lines, p->err);
    if (r < 0)
        return r;
    for (uint32_t i = 0; i < p->lines; i++)
        p->recs[i].place += log_tail(p->to);
    if ((r = log_append(p->to, p->buf, p->n, p->recs, p->lines, p->err)) < 0)
        return r;
    log_publish(p->to);
    p->n = 0;
    p->lines = 0;
    return 0;
}

static int grow_piece(struct piece *p, size_t bytes, size_t lines)
{
    if (p->n + bytes > p->cap) {
        size_t cap = MAX(2 * p->cap, p->n + bytes);
        char *buf = realloc(p->buf, cap);
        if (!buf)
            return -ENOMEM;
        p->buf = buf;
        p->cap = cap;
    }
    if (p->lines + lines > p->lines_cap) {
        uint32_t cap = MAX(2 * p->lines_cap, p->lines + (uint32_t)lines);
        struct log_rec *recs = reallocarray(p->recs, cap, sizeof *recs);
        if (!recs)
            return -ENOMEM;
        p->recs = recs;
        p->lines_cap = cap;
    }
    return 0;
}

static int take_line(struct piece *p, const struct log_walked *w)
{
    int r = grow_piece(p, w->raw.n, 1);

    if (r == 0)
        r = backup_bytes(w->raw.p, p->buf + p->n, w->raw.n);
    if (r < 0)
        return evs_fail_errno(p->err, r, "log");
    p->recs[p->lines++] = (struct log_rec){.place = log_place(p->n, w->data),
                                           .recorded_us = w->line.recorded_us,
                                           .len = (uint32_t)w->raw.n};
    p->n += w->raw.n;
    return 0;
}

static int take_lines(void *arg, const struct log_walked *lines, size_t n)
{
    struct piece *p = arg;

    for (size_t i = 0; i < n; i++) {
        if (lines[i].line.seq == p->until)
            return 1;
        int r = take_line(p, &lines[i]);
        if (r == 0 && lines[i].line.tx == 0 && p->n >= PIECE_BYTES)
            r = append_piece(p);
        if (r < 0)
            return r;
    }
    return 0;
}

/* The backup's log for writing. Large segments: where the store's own end is where the backup's do. */
static int open_for_writing(struct backup *b, struct log **ret, struct evs_error *err)
{
    const struct log_options lo = {.segment_bytes = LIMIT_SEGMENT_BYTES_MAX};

    return log_open(b->root, &lo, ret, err);
}

/* Events [from, until). The log's close syncs them. */
static int append_lines(struct backup *b, evs_seq from, evs_seq until, struct evs_error *err)
{
    struct piece p = {.until = until, .err = err};
    int r = open_for_writing(b, &p.to, err);

    if (r < 0)
        return r;
    r = log_walk(b->src, from, take_lines, &p, err);
    if (r >= 0)
        r = append_piece(&p);
    free(p.buf);
    free(p.recs);
    int c = log_close(p.to, r < 0 ? NULL : err);
    return r < 0 ? r : c;
}

/* The last segment of the backup may be an empty one, with the name of the one that is to come. */
static int remove_empty(struct backup *b, evs_seq first, struct evs_error *err)
{
    static const char *const suffixes[] = {".idx",
                                           ".jsonl"}; /* in this order: format.md, "The idx" (4) */
    char name[32];
    bool any = false;

    for (size_t i = 0; i < ARRAY_LEN(suffixes); i++) {
        (void)snprintf(name, sizeof name, "%020" PRIu64 "%s", first, suffixes[i]);
        int r = io_unlink(b->log_fd, name);
        if (r < 0 && r != -ENOENT)
            return evs_fail_errno(err, r, name);
        any = any || r == 0;
    }
    int r = any ? io_sync(b->log_fd) : 0;
    return r < 0 ? evs_fail_errno(err, r, "log") : 0;
}

/* All that the store has between the two. */
static int grow(struct backup *b, uint64_t pos, evs_seq seq, struct evs_error *err)
{
    while (pos < b->end) {
        struct log_span sp;
        bool shared = false;
        int r = log_span_at(b->src, pos, &sp);
        if (r < 0)
            return evs_fail_errno(err, r, b->dir); /* can't be: b->end is within it */
        uint64_t stop = MIN(sp.before + sp.bytes, b->end);
        evs_seq until = stop == b->end ? b->end_seq + 1 : sp.end;
        if (sp.before == pos && sp.before + sp.bytes == stop && log_sealed(b->src, seq)) {
            r = remove_empty(b, seq, err);
            if (r == 0)
                r = backup_segment(b->src, b->src_log_fd, b->log_fd, &sp, &shared, err);
        } else {
            r = append_lines(b, seq, until, err);
        }
        if (r < 0)
            return r;
        *(shared ? &b->done.linked : &b->done.copied) += stop - pos;
        pos = stop;
        seq = until;
    }
    return 0;
}

/* ---- the whole ---- */

/* The backup's log is there, and recovered. If it is to grow, then without a checkpoint, which would be believed in
 * what the idx says of entities. */
static int prepare(struct backup *b, bool grows, struct evs_error *err)
{
    struct log *lg;
    int r = grows ? io_unlink(b->root, "index.ckpt") : -ENOENT;

    if (r == 0)
        r = io_sync(b->root);
    if (r < 0 && r != -ENOENT)
        return evs_fail_errno(err, r, "index.ckpt");
    r = io_mkdir(b->root, "log", 0700);
    if (r == 0)
        r = io_sync(b->root);
    if (r < 0 && r != -EEXIST)
        return evs_fail_errno(err, r, "log");
    if ((r = open_for_writing(b, &lg, err)) < 0 || (r = log_close(lg, err)) < 0)
        return r;
    b->log_fd = io_open(b->root, "log", O_RDONLY | O_DIRECTORY, 0);
    return b->log_fd < 0 ? evs_fail_errno(err, b->log_fd, "log") : 0;
}

/* Root makes a backup for who owns the store; and who owns the directory owns the tree's root. */
static int give_away(struct backup *b, struct evs_error *err)
{
    struct stat s, d;
    int r = io_stat(b->src_fd, &s);

    if (r == 0)
        r = io_stat(b->dest_fd, &d);
    if (r == 0) {
        const struct give g = {d.st_uid, s.st_uid, s.st_gid, b->src_log_fd};
        const int dirs[] = {b->log_fd, b->work_fd, b->dest_fd};
        for (size_t i = 0; i < ARRAY_LEN(dirs) && r == 0; i++)
            r = give_files(dirs[i], &g);
    }
    return r < 0 ? evs_fail_errno(err, r, b->dest) : 0;
}

/* (3) */
static int finish(struct backup *b, struct evs_error *err)
{
    int r = 0;

    if (b->root == b->work_fd && (r = io_move(b->work_fd, "log", b->dest_fd, "log")) == 0)
        r = io_sync(b->work_fd);
    if (r == 0)
        r = io_rmdir(b->dest_fd, BACKUP_WORK);
    if (r == -ENOENT || r == -ENOTEMPTY)
        r = 0; /* ours is not in it any more */
    if (r == 0)
        r = io_sync(b->dest_fd);
    return r < 0 ? evs_fail_errno(err, r, b->dest) : 0;
}

static int run(struct backup *b, struct evs_error *err)
{
    uint64_t pos = 0;
    evs_seq seq = 0;
    int r;

    if ((r = open_src(b, err)) < 0 || (r = open_src_log(b, err)) < 0 ||
        (r = find_end(b, err)) < 0 || (r = open_dest(b, err)) < 0 ||
        (r = backup_compare(b, &pos, &seq, err)) < 0 || (r = backup_meta(b, err)) < 0)
        return r;
    b->done.kept = pos;
    if ((r = prepare(b, pos < b->end, err)) < 0 || (r = grow(b, pos, seq + 1, err)) < 0 ||
        (r = backup_check(b, seq + 1, err)) < 0 || (r = give_away(b, err)) < 0 ||
        (r = finish(b, err)) < 0)
        return r;
    b->done.events = b->end_seq;
    b->done.bytes = b->end;
    return 0;
}

int evs_backup(const char *dir, const char *dest, uint64_t bytes, struct evs_backup *ret,
               struct evs_error *err)
{
    struct backup b = {.dir = dir,
                       .dest = dest,
                       .bytes = bytes,
                       .src_fd = -1,
                       .src_log_fd = -1,
                       .src_hold = HOLD_NONE,
                       .hold = HOLD_NONE,
                       .dest_fd = -1,
                       .work_fd = -1,
                       .log_fd = -1};
    int r = run(&b, err);
    const int fds[] = {b.log_fd, b.work_fd, b.dest_fd, b.src_log_fd, b.src_fd};

    log_abandon(b.src);
    for (size_t i = 0; i < ARRAY_LEN(fds); i++)
        if (fds[i] >= 0)
            (void)io_close(fds[i]); /* what was written is synced */
    hold_drop(&b.src_hold);
    hold_drop(&b.hold);
    if (r == 0)
        *ret = b.done;
    return r;
}
