/* SPDX-License-Identifier: MIT */
/* survey: (1) A line counts wherever it stands, if its checksum is right and its seq is one that is missing: lines
 * that changed places, or files that changed names, lose nothing. (2) A line whose LF alone was lost is whole: its
 * checksum, which covers the LF, says so. (3) A file is good if it holds its lines and nothing else: from the first
 * of its name up to the next file's. Behind the last line of the last file may stand what a crash has left, if its
 * idx says that it was not durable. (4) What a file should have had and no file has is lost. So is, behind the last
 * line that was found, what anything says was durable: the checkpoint, a hash, the mark of an idx. (5) Data may
 * look like lines: a writer can put any there, checksums and all. Behind a LF stands a line of the store's, since no
 * value has one. Within a chunk that is damaged, what may be within a value is none, nor what can't be as far from
 * the line before as it says. */
#include "survey.h"

#include "crc.h"
#include "io.h"
#include "limits.h"
#include "segment.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>

#define LOST_MAX       (1u << 24) /* events that get lines of a repair: 2 GB of memory */
#define LINE_BYTES_MIN 100        /* of all fields but the longest there is nothing to leave out */

static bool grow(void *array, size_t n, size_t *cap, size_t size)
{
    void **p = array;

    if (n < *cap)
        return true;
    size_t more = *cap ? 2 * *cap : 64;
    void *q = reallocarray(*p, more, size);
    if (!q)
        return false;
    *p = q;
    *cap = more;
    return true;
}

/* ---- files ---- */

static int take_name(void *arg, const char *name)
{
    struct survey *s = arg;
    const char *suffix;
    struct survey_file f = {.first = segment_first(name, &suffix)};

    if (f.first == 0 || (strcmp(suffix, ".jsonl") != 0 && strcmp(suffix, ".jsonl.zst") != 0))
        return 0;
    if (!grow(&s->files, s->n_files, &s->cap_files, sizeof *s->files))
        return -ENOMEM;
    (void)snprintf(f.name, sizeof f.name, "%s", name);
    s->files[s->n_files++] = f;
    return 0;
}

static int by_first(const void *a, const void *b)
{
    const struct survey_file *x = a, *y = b;

    return x->first == y->first ? strcmp(x->name, y->name)
                                : (x->first > y->first) - (x->first < y->first);
}

/* ---- lines ---- */

/* How far a file is as it should be: lines one behind another. */
struct run {
    evs_seq end; /* behind the last of them */
    uint64_t pos;
    uint32_t tx; /* that the last one still expects */
};

static void run_through(struct slice bytes, evs_seq first, evs_seq limit, struct run *ret)
{
    struct line l;

    *ret = (struct run){.end = first};
    while (ret->pos < bytes.n && ret->end < limit) {
        const char *p = bytes.p + ret->pos, *lf = memchr(p, '\n', bytes.n - ret->pos);
        size_t n = lf ? (size_t)(lf + 1 - p) : 0;
        if (!lf || line_parse(p, n, &l, NULL, NULL) < 0 || l.seq != ret->end ||
            (ret->tx && l.tx != ret->tx - 1))
            return;
        ret->pos += n;
        ret->end++;
        ret->tx = l.tx;
    }
}

struct pick { /* lines out of a file that is not good */
    struct survey *s;
    uint32_t file;
    struct slice bytes;
    char *room; /* for a line with its LF put back */
    size_t room_n;
    evs_seq before; /* the last line that was found, or the one before the file; */
    uint64_t after; /* its end */
    size_t open;    /* bad places from here on wait for the next one */
};

static int add_line(struct pick *k, uint64_t at, size_t n, evs_seq seq, bool loose)
{
    struct survey *s = k->s;

    if (!grow(&s->lines, s->n_lines, &s->cap_lines, sizeof *s->lines))
        return -ENOMEM;
    s->lines[s->n_lines++] = (struct survey_line){seq, at, (uint32_t)n, k->file, loose};
    for (; k->open < s->n_bad; k->open++)
        s->bad[k->open].behind = seq;
    k->before = seq;
    k->after = at + n;
    return 0;
}

static int add_bad(struct pick *k, uint64_t at, size_t n, bool goes_on)
{
    struct survey *s = k->s;

    if (goes_on && k->open < s->n_bad) {
        s->bad[s->n_bad - 1].n = at + n - s->bad[s->n_bad - 1].at;
        return 0;
    }
    if (!grow(&s->bad, s->n_bad, &s->cap_bad, sizeof *s->bad))
        return -ENOMEM;
    s->bad[s->n_bad++] = (struct survey_bad){at, n, k->before, UINT64_MAX, k->file};
    return 0;
}

/* Is [at, at + n) a line, with or without its LF? n is then without. */
static evs_seq whole(struct pick *k, uint64_t at, size_t *n, bool lf_lost)
{
    const char *p = k->bytes.p + at;
    struct line l;

    if (!lf_lost) {
        if (line_parse(p, *n, &l, NULL, NULL) < 0)
            return 0;
        --*n;
        return l.seq;
    }
    if (*n + 1 > k->room_n) {
        char *q = realloc(k->room, *n + 4096);
        if (!q)
            return 0;
        k->room = q;
        k->room_n = *n + 4096;
    }
    memcpy(k->room, p, *n);
    k->room[*n] = '\n';
    return line_parse(k->room, *n + 1, &l, NULL, NULL) < 0 ? 0 : l.seq;
}

/* (5) What begins like a line behind p; NULL: nothing. Within a value an object stands behind one of these bytes. */
static const char *next_head(const char *p, size_t n)
{
    static const char head[] = "{\"seq\":", within[] = "[,: \t";
    const char *end = p + n;

    do
        p = memmem(p + 1, (size_t)(end - p - 1), head, sizeof head - 1);
    while (p && memchr(within, p[-1], sizeof within - 1));
    return p;
}

/* (5) Behind damage: are there as many bytes as the events since the line before need? */
static bool may_be_here(const struct pick *k, uint64_t at, evs_seq seq)
{
    return seq > k->before && seq - k->before - 1 <= (at - k->after) / LINE_BYTES_MIN;
}

/* From one LF to the next: a line; or what is left of some, of which the first may have lost their LFs. */
static int pick_chunk(struct pick *k, uint64_t at, uint64_t end)
{
    bool ends = k->bytes.p[end - 1] == '\n', bad = false;
    int r = 0;

    while (r == 0 && at < end) {
        size_t n = (size_t)(end - at);
        evs_seq seq = whole(k, at, &n, !ends);
        if (seq && (!bad || may_be_here(k, at, seq)))
            return add_line(k, at, n, seq, bad);
        const char *p = k->bytes.p + at;
        n = (size_t)(end - at);
        const char *next = next_head(p, n);
        size_t m = next ? (size_t)(next - p) : n, text = m - 1;
        if (next && (seq = whole(k, at, &text, true)) != 0 && (!bad || may_be_here(k, at, seq))) {
            r = add_line(k, at, text, seq, bad);
            bad = false;
        } else {
            r = add_bad(k, at, m, bad);
            bad = true;
        }
        at += m;
    }
    return r;
}

static int pick_lines(struct survey *s, uint32_t file, struct evs_error *err)
{
    struct pick k = {.s = s, .file = file, .before = s->files[file].first - 1, .open = s->n_bad};
    uint64_t at = 0;
    int r = survey_bytes(s, file, &k.bytes, err);

    if (r < 0)
        return r;
    while (r == 0 && at < k.bytes.n) {
        const char *lf = memchr(k.bytes.p + at, '\n', k.bytes.n - at);
        uint64_t end = lf ? (uint64_t)(lf + 1 - k.bytes.p) : k.bytes.n;
        r = pick_chunk(&k, at, end);
        at = end;
    }
    free(k.room);
    return r < 0 ? evs_fail_errno(err, r, s->files[file].name) : 0;
}

static int by_seq(const void *a, const void *b)
{
    const struct survey_line *x = a, *y = b;

    if (x->seq != y->seq)
        return (x->seq > y->seq) - (x->seq < y->seq);
    if (x->loose != y->loose)
        return x->loose - y->loose;
    if (x->file != y->file)
        return (x->file > y->file) - (x->file < y->file);
    return (x->at > y->at) - (x->at < y->at);
}

/* The first line that has this seq or a later one. */
static size_t find_line(const struct survey *s, evs_seq seq)
{
    size_t low = 0, high = s->n_lines;

    while (low < high) {
        size_t mid = low + (high - low) / 2;
        if (s->lines[mid].seq < seq)
            low = mid + 1;
        else
            high = mid;
    }
    return low;
}

const struct survey_line *survey_line(const struct survey *s, evs_seq seq)
{
    size_t i = find_line(s, seq);

    return i < s->n_lines && s->lines[i].seq == seq ? &s->lines[i] : NULL;
}

/* ---- the whole ---- */

struct idx_says {
    uint64_t n; /* so many lines are durable; */
    bool sealed;
};

/* What the header of an idx says (docs/format.md, "The idx"). False: nothing is known. */
static bool ask_idx(const struct survey *s, evs_seq first, struct idx_says *ret)
{
    struct {
        char magic[8];
        uint32_t version, flags;
        uint64_t first, bytes, n;
        uint32_t unused, crc;
    } h;
    char path[64];

    static_assert(sizeof h == 48, "as on disk");
    (void)snprintf(path, sizeof path, "log/%020" PRIu64 ".idx", first);
    int fd AUTO_CLOSE = io_open(s->dirfd, path, O_RDONLY, 0);
    bool good = fd >= 0 && io_read_all(fd, &h, sizeof h, 0) == (ssize_t)sizeof h &&
                memcmp(h.magic, "evfsidx\n", sizeof h.magic) == 0 && h.version == 1 &&
                h.crc == crc32c(0, &h, offsetof(__typeof__(h), crc)) && h.first == first;
    *ret = good ? (struct idx_says){MIN(h.n, LIMIT_EVENTS), h.flags & 1} : (struct idx_says){0};
    return good;
}

/* Up to which event the idx files vouch for. A sealed one behind all lines is what a backup that was interrupted
 * leaves. */
static int take_idx(void *arg, const char *name)
{
    struct survey *s = arg;
    struct idx_says says;
    const char *suffix;
    evs_seq first = segment_first(name, &suffix);

    if (first == 0 || strcmp(suffix, ".idx") != 0 || first > LIMIT_EVENTS ||
        !ask_idx(s, first, &says) || says.n == 0)
        return 0;
    if (!says.sealed || (s->n_files && s->files[s->n_files - 1].first >= first))
        s->known = MAX(s->known, MIN(first + says.n - 1, LIMIT_EVENTS));
    return 0;
}

/* Does a line stand behind what run has seen that is none of those in it? */
static bool goes_on(struct slice bytes, evs_seq first, const struct run *run)
{
    const char *p = bytes.p + run->pos, *lf;
    struct line l;

    while ((lf = memchr(p, '\n', (size_t)(bytes.p + bytes.n - p)))) {
        if (line_parse(p, (size_t)(lf + 1 - p), &l, NULL, NULL) == 0 &&
            (l.seq >= run->end || l.seq < first))
            return true;
        p = lf + 1;
    }
    return false;
}

static int look_at(struct survey *s, size_t i, evs_seq end, struct evs_error *err)
{
    struct survey_file *f = &s->files[i];
    bool all = end == UINT64_MAX;
    struct slice bytes;
    struct run run;
    size_t j = i + 1;
    int r = survey_bytes(s, (uint32_t)i, &bytes, err);

    if (r < 0)
        return r;
    f->marked = ask_idx(s, f->first, &(struct idx_says){0});
    run_through(bytes, f->first, all ? UINT64_MAX : end + 1, &run);
    while (all && j + 1 < s->n_files && s->files[j].first < run.end &&
           s->files[j + 1].first == run.end && run.pos == bytes.n)
        s->files[j++].put_in = true;
    evs_seq limit =
        j < s->n_files && (all || s->files[j].first <= end) ? s->files[j].first : UINT64_MAX;
    bool last = limit == UINT64_MAX;
    f->end = MIN(run.end, limit);
    f->good = run.end >= limit || (run.pos == bytes.n && (!run.tx || last)) ||
              (last && run.end > s->known) || (!all && last && run.end > end);
    if (last && f->good && run.tx && run.end - 1 <= s->known)
        f->good = false; /* the transaction was whole once */
    if (all && last && f->good && !f->marked && goes_on(bytes, f->first, &run))
        f->good = false; /* and no idx to say that it was never durable */
    if ((s->unpack && survey_packed(f->name)) || f->broken)
        f->good = false; /* its lines may be, but the log can't read them */
    return f->good ? 0 : pick_lines(s, (uint32_t)i, err);
}

static int add_lost(struct survey *s, evs_seq seq)
{
    if (!grow(&s->lost, s->n_lost, &s->cap_lost, sizeof *s->lost))
        return -ENOMEM;
    s->lost[s->n_lost++] = (struct survey_lost){seq, SURVEY_NONE, false};
    return 0;
}

static int add_piece(struct survey *s, evs_seq first, evs_seq end, uint32_t file, bool good)
{
    int r;

    if (first >= end)
        return 0;
    s->pieces[s->n_pieces++] = (struct survey_piece){first, end, file, good};
    if (good)
        return 0;
    size_t i = find_line(s, first);
    for (evs_seq seq = first; seq < end; seq++) {
        while (i < s->n_lines && s->lines[i].seq < seq)
            i++;
        evs_seq to = i < s->n_lines ? MIN(s->lines[i].seq, end) : end;
        if (to - seq > LOST_MAX - s->n_lost) {
            s->far = i;
            s->far_end = end;
            return -EOVERFLOW;
        }
        for (; seq < to; seq++)
            if ((r = add_lost(s, seq)) < 0)
                return r;
    }
    return 0;
}

/* Behind the last line of the last file. */
static evs_seq last_end(const struct survey *s, uint32_t file, evs_seq end)
{
    evs_seq to = s->files[file].first;

    if (end != UINT64_MAX)
        return MAX(to, end + 1);
    if (s->n_lines && s->lines[s->n_lines - 1].seq >= to)
        to = s->lines[s->n_lines - 1].seq + 1;
    return MAX(to, s->known + 1);
}

static int make_pieces(struct survey *s, evs_seq end)
{
    evs_seq at = 1;
    int r = 0;

    s->pieces = calloc(2 * s->n_files + 3, sizeof *s->pieces);
    if (!s->pieces)
        return -ENOMEM;
    for (size_t i = 0; r == 0 && i < s->n_files; i++) {
        const struct survey_file *f = &s->files[i];
        size_t j = i + 1;
        if (f->put_in)
            continue;
        while (j < s->n_files && s->files[j].put_in)
            j++;
        r = add_piece(s, at, f->first, SURVEY_NONE, false); /* nothing, where they join */
        if (r < 0)
            break;
        at = f->good ? f->end : j < s->n_files ? s->files[j].first : last_end(s, (uint32_t)i, end);
        r = add_piece(s, f->first, at, (uint32_t)i, f->good);
    }
    evs_seq last = MAX(s->n_lines ? s->lines[s->n_lines - 1].seq : 0, s->known);
    if (r == 0 && end == UINT64_MAX && last >= at) { /* in a file of another name, or in none */
        r = add_piece(s, at, last + 1, SURVEY_NONE, false);
        at = last + 1;
    }
    s->end = at - 1;
    return r;
}

int survey_parse(struct survey *s, const struct survey_line *l, struct survey_room *room,
                 struct line *ret, struct slice *ret_raw, struct evs_error *err)
{
    struct slice bytes;
    size_t n = l->n + (size_t)1;
    int r = survey_bytes(s, l->file, &bytes, err);

    if (r < 0)
        return r;
    if (n > room->n) {
        char *p = realloc(room->p, n + 4096);
        if (!p)
            return evs_fail(err, EVS_NO_MEMORY, EVS_NOWHERE);
        *room = (struct survey_room){p, n + 4096};
    }
    memcpy(room->p, bytes.p + l->at, l->n);
    room->p[l->n] = '\n';
    *ret_raw = (struct slice){room->p, n};
    if (line_parse(room->p, n, ret, NULL, NULL) < 0) /* the file has changed meanwhile */
        return evs_fail_at(err, EVS_DAMAGED, l->at, "log/%s", s->files[l->file].name);
    return 0;
}

/* A transaction that the log ends in was whole once: what is missing of it is lost, and stands for it. */
static int finish_tx(struct survey *s, struct evs_error *err)
{
    const struct survey_line *l = survey_line(s, s->end);
    struct survey_piece *p = s->n_pieces ? &s->pieces[s->n_pieces - 1] : NULL;
    struct survey_room room = {0};
    struct slice raw;
    struct line line;
    evs_seq back = s->end;
    int r = 0;

    if (!p || p->good)
        return 0;
    while (!l && back > p->first)
        l = survey_line(s, --back);
    if (!l)
        return 0;
    r = survey_parse(s, l, &room, &line, &raw, err);
    free(room.p);
    if (r < 0)
        return r;
    while (r == 0 && s->end < back + line.tx) {
        r = add_lost(s, ++s->end);
        p->end = s->end + 1;
    }
    return r < 0 ? evs_fail_errno(err, r, "log") : 0;
}

/* A line that is right, of another store perhaps, is far behind the others; or a file's name; or only index.ckpt. */
static int fail_far(const struct survey *s, struct evs_error *err)
{
    const struct survey_line *l = s->far < s->n_lines ? &s->lines[s->far] : NULL;
    size_t i = l ? l->file : 0;

    while (!l && i < s->n_files && s->files[i].first != s->far_end)
        i++;
    if (i == s->n_files)
        return evs_fail_at(err, EVS_DAMAGED, EVS_NOWHERE,
                           "log: more than %u events are missing: 'evfs rebuild' gives up those "
                           "that only index.ckpt knows of",
                           LOST_MAX);
    return evs_fail_at(err, EVS_DAMAGED, l ? l->at : EVS_NOWHERE,
                       "log/%s: event %" PRIu64 ": more than %u are missing before it: is it of "
                       "this store? Else move the file away",
                       s->files[i].name, l ? l->seq : s->far_end, LOST_MAX);
}

/* Do the bytes begin as this event's line does? */
static bool begins_as(struct survey *s, const struct survey_bad *b, evs_seq seq)
{
    char head[40];
    struct slice bytes;
    size_t n = (size_t)snprintf(head, sizeof head, "{\"seq\":%" PRIu64 ",", seq);

    return b->n >= n && survey_bytes(s, b->file, &bytes, NULL) == 0 && b->at + n <= bytes.n &&
           memcmp(bytes.p + b->at, head, n) == 0;
}

/* Which bad place is which lost event's: as many between two lines as are missing, or by the seq still there. */
static void place_lost(struct survey *s)
{
    for (size_t i = 0; i < s->n_bad;) {
        const struct survey_bad *b = &s->bad[i];
        size_t n = 1, from = 0, to;
        evs_seq behind = b->behind;
        while (i + n < s->n_bad && s->bad[i + n].file == b->file &&
               s->bad[i + n].before == b->before) { /* the line before may stand there twice */
            behind = MAX(behind, s->bad[i + n].behind);
            n++;
        }
        while (from < s->n_lost && s->lost[from].seq <= MAX(b->before, s->files[b->file].first - 1))
            from++;
        for (to = from; to < s->n_lost && s->lost[to].seq < behind; to++)
            ;
        if (behind == UINT64_MAX) /* up to the next file */
            while (to > from && b->file + 1 < s->n_files &&
                   s->lost[to - 1].seq >= s->files[b->file + 1].first)
                to--;
        for (size_t k = from; k < to; k++) {
            s->lost[k].bad = (uint32_t)(i + MIN(k - from, n - 1));
            s->lost[k].its_own =
                to - from == n || begins_as(s, &s->bad[s->lost[k].bad], s->lost[k].seq);
        }
        i += n;
    }
}

static int look_through(struct survey *s, evs_seq end, struct evs_error *err)
{
    int r = io_list(s->dirfd, "log", take_name, s);

    if (r < 0)
        return evs_fail_errno(err, r, "log");
    if (s->n_files)
        qsort(s->files, s->n_files, sizeof *s->files, by_first);
    for (size_t i = 0; i < s->n_files; i++) { /* of two the plain one; what is behind the end */
        bool twice = i > 0 && s->files[i].first == s->files[i - 1].first;
        s->files[i].put_in = twice || (end != UINT64_MAX && s->files[i].first > MAX(end, 1u));
    }
    if ((r = io_list(s->dirfd, "log", take_idx, s)) < 0)
        return evs_fail_errno(err, r, "log");
    for (size_t i = 0; r == 0 && i < s->n_files; i++)
        if (!s->files[i].put_in)
            r = look_at(s, i, end, err);
    if (r < 0)
        return r;
    if (s->n_lines)
        qsort(s->lines, s->n_lines, sizeof *s->lines, by_seq);
    r = make_pieces(s, end);
    if (r == -EOVERFLOW)
        return fail_far(s, err);
    if (r < 0)
        return evs_fail_errno(err, r, "log");
    r = finish_tx(s, err);
    place_lost(s);
    return r;
}

int survey_new(int dirfd, evs_seq end, evs_seq known, bool unpack, struct survey **ret,
               struct evs_error *err)
{
    struct survey *s = calloc(1, sizeof *s);

    if (!s)
        return evs_fail(err, EVS_NO_MEMORY, EVS_NOWHERE);
    s->dirfd = dirfd;
    s->known = known;
    s->unpack = unpack;
    int r = look_through(s, end, err);
    if (r < 0) {
        survey_free(s);
        return r;
    }
    s->known = MAX(s->known, s->end);
    *ret = s;
    return 0;
}

void survey_free(struct survey *s)
{
    if (!s)
        return;
    survey_drop_bytes(s);
    free(s->files);
    free(s->lines);
    free(s->bad);
    free(s->lost);
    free(s->pieces);
    free(s);
}

bool survey_well(const struct survey *s)
{
    for (size_t i = 0; i < s->n_files; i++)
        if (!s->files[i].good)
            return false;
    return s->n_lost == 0;
}
