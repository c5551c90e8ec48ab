/* SPDX-License-Identifier: MIT */
/* verify: everything in a store's directory against its log. Not on the way of an append. */
#include "chain.h"
#include "checkpoint.h"
#include "findings.h"
#include "hold.h"
#include "io.h"
#include "limits.h"
#include "meta.h"
#include "pins.h"
#include "recover.h"
#include "schemas.h"
#include "survey.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>

#define MAX_FINDINGS 1000

struct verify {
    int dirfd;
    struct log *lg;
    struct index *ix; /* made anew from the lines, as far as they are good */
    evs_seq seen;     /* last line that was good */
    uint32_t tx;      /* events that the transaction before it still expects */
    bool gap;         /* a bad line was passed over: versions can't be told any more */
    bool idx_differs; /* then sums over the idx say nothing new */
    struct {
        evs_seq segment, first; /* 0: none of this segment differs */
        uint64_t offset, n;
    } idx;                     /* records that differ: one finding a segment */
    evs_seq bad[MAX_FINDINGS]; /* segments with damaged lines, ascending */
    size_t n_bad;
    const char *from;
    struct evs_proof *proof;
    struct index
        *kept; /* the checkpoint's; NULL: there is no good one, and nobody will believe the idx */
    evs_seq kept_to;
    struct findings found;
};

static void find_at(struct verify *v, evs_seq seq, uint64_t offset, const char *what)
{
    char name[80];

    log_segment_name(v->lg, seq, name, sizeof name);
    findings_add(&v->found, "%s: byte %" PRIu64 ": event %" PRIu64 ": %s", name, offset, seq, what);
}

/* What differs in the idx of the segment that was looked through. */
static void find_idx(struct verify *v)
{
    if (v->idx.n == 1)
        find_at(v, v->idx.first, v->idx.offset, "its idx record differs: run 'evfs rebuild'");
    else if (v->idx.n > 1)
        findings_add(&v->found,
                     "log/%020" PRIu64 ".idx: %" PRIu64
                     " records differ, the first is of event %" PRIu64 ": run 'evfs rebuild'",
                     v->idx.segment, v->idx.n, v->idx.first);
    v->idx.n = 0;
}

static void idx_differs(struct verify *v, evs_seq seq, uint64_t offset)
{
    struct log_span sp;

    v->idx_differs = true;
    if (log_span(v->lg, seq, &sp) < 0)
        return; /* can't be: it is visible */
    if (v->idx.n && v->idx.segment != sp.first)
        find_idx(v);
    if (v->idx.n++ > 0)
        return;
    v->idx.segment = sp.first;
    v->idx.first = seq;
    v->idx.offset = offset;
}

/* a: as the line says; b: as the idx has it. */
static bool rec_differs(const struct log_rec *a, const struct log_rec *b, evs_seq seq)
{
    return a->place != b->place || a->recorded_us != b->recorded_us || a->len != b->len ||
           b->check != log_rec_check(b, seq);
}

/* Up to the checkpoint the idx is believed in what entity and type are, by the checkpoint's numbers. rec has
 * those of v->ix. */
static bool numbers_differ(const struct verify *v, const struct log_rec *rec,
                           const struct log_rec *stored)
{
    char name[LIMIT_ENTITY_BYTES];
    struct slice type = index_type_name(v->ix, rec->type);
    int n = index_entity_name(v->ix, rec->entity, name, sizeof name);
    struct slice id = {name, (size_t)MAX(n, 0)};

    return stored->entity != index_find_entity(v->kept, id, index_entity_hash(id)) ||
           stored->type != index_find_type(v->kept, type, index_type_hash(type));
}

static int verify_lines(void *arg, const struct log_walked *lines, size_t n) UNANALYSED;
static int verify_lines(void *arg, const struct log_walked *lines, size_t n)
{
    struct verify *v = arg;
    struct log_rec there[LOG_WALK_LINES] = {0};

    /* What the disk does not give differs. */
    (void)io_copy(there, log_rec(v->lg, lines[0].line.seq), n * sizeof *there);
    for (size_t i = 0; i < n && v->found.n < MAX_FINDINGS; i++) {
        const struct log_walked *w = &lines[i];
        const struct line *l = &w->line;
        struct log_rec rec = {.place = log_place(w->offset, w->data),
                              .recorded_us = l->recorded_us,
                              .len = (uint32_t)w->raw.n};
        struct evs_error why;
        if (v->tx && l->tx != v->tx - 1 && !v->gap)
            find_at(v, l->seq, w->offset, "a transaction is not whole");
        v->tx = l->tx;
        const struct log_rec *stored = &there[i];
        bool differs = rec_differs(&rec, stored, l->seq);
        if (!v->gap && ingest_restore(v->ix, l, &rec, &why) < 0) {
            find_at(v, l->seq, w->offset, why.detail[0] ? why.detail : evs_reason_text(why.why));
            v->gap = true;
        }
        if (!v->gap) {
            index_keep(v->ix);
            const struct apply ap = {.lg = v->lg, .first = (uint32_t)l->seq, .recs = &rec, .n = 1};
            index_apply(v->ix, &ap, ap.first);
            differs = differs || (l->seq <= v->kept_to && numbers_differ(v, &rec, stored));
        }
        if (differs)
            idx_differs(v, l->seq, w->offset);
        v->seen = l->seq;
    }
    return v->found.n < MAX_FINDINGS ? 0 : 1;
}

/* "event 4", "events 4 to 7". */
static const char *events(evs_seq from, evs_seq to, char out[64])
{
    int n = snprintf(out, 64, from == to ? "event %" PRIu64 : "events %" PRIu64, from);

    if (from < to)
        (void)snprintf(out + n, 64 - (size_t)n, " to %" PRIu64, to);
    return out;
}

/* Where the log can't be opened, or its idx finds no line: which events from this one on are nowhere. True: there
 * are some, or that can't be told. frames: only those that were in compressed files. */
static bool verify_rest(struct verify *v, evs_seq from, bool frames)
{
    struct survey *s;
    struct evs_error why;
    char text[320];
    int before = v->found.n;

    if (survey_new(v->dirfd, UINT64_MAX, 0, false, &s, &why) < 0) {
        findings_add(&v->found, "%s", evs_error_format(&why, text, sizeof text));
        return true;
    }
    size_t i = 0, to;
    while (i < s->n_lost && s->lost[i].seq < from)
        i++;
    for (; i < s->n_lost && v->found.n < MAX_FINDINGS; i = to) {
        const struct survey_lost *l = &s->lost[i];
        for (to = i + 1; to < s->n_lost && s->lost[to].seq == s->lost[to - 1].seq + 1 &&
                         s->lost[to].bad == l->bad;)
            to++;
        const struct survey_bad *b = l->bad == SURVEY_NONE ? NULL : &s->bad[l->bad];
        const char *name = b ? s->files[b->file].name : "";
        evs_seq end = s->lost[to - 1].seq;
        if (b && survey_packed(name)) /* taken along by bad frames */
            findings_add(&v->found, "log/%s, decompressed: byte %" PRIu64 ": %s %s lost", name,
                         b->at, events(l->seq, end, text), end > l->seq ? "are" : "is");
        else if (frames)
            continue;
        else if (b)
            findings_add(&v->found, "log/%s: byte %" PRIu64 ": %s: %s", name, b->at,
                         events(l->seq, end, text), evs_reason_text(EVS_DAMAGED));
        else
            findings_add(&v->found, "log: events %" PRIu64 " to %" PRIu64 " are in no file", l->seq,
                         s->lost[to - 1].seq);
    }
    for (i = 0; from == 0 && i < s->n_files && v->found.n < MAX_FINDINGS; i++)
        if (s->files[i].put_in)
            findings_add(&v->found, "log/%s: does not belong there: the log goes on without it",
                         s->files[i].name);
    survey_free(s);
    return v->found.n > before;
}

static void find_whole(struct verify *v)
{
    findings_add(&v->found, "log: no event is lost by that: run 'evfs verify --repair'");
}

/* Is this a message of a compressed file? */
static bool is_packed(const char *detail)
{
    size_t n = strlen(detail);

    return n > 4 && strcmp(detail + n - 4, ".zst") == 0;
}

/* All lines; behind a bad one it goes on with the next that the idx can find. */
static int verify_log(struct verify *v, struct evs_error *err)
{
    evs_seq end = log_end(v->lg), from = 1;
    uint64_t pos = UINT64_MAX; /* of the last damage */
    bool frames = false;       /* compressed lines are damaged */
    char text[64];

    while (from <= end) {
        struct evs_error why;
        int r = log_walk(v->lg, from, verify_lines, v, &why);
        find_idx(v);
        if (r >= 0) {
            if (frames && !verify_rest(v, 1, true))
                find_whole(v);
            return 0;
        }
        if (why.why != EVS_DAMAGED) {
            if (err)
                *err = why;
            return r;
        }
        evs_seq bad = MAX(v->seen + 1, from);
        evs_seq last = bad;
        bool frame = is_packed(why.detail);
        if (frame)
            last = log_frame_last(v->lg, bad, why.pos);
        else if (why.pos == pos &&
                 verify_rest(v, bad, false)) { /* the next line is not where the idx says */
            v->gap = true;
            return 0;
        }
        pos = frame ? UINT64_MAX : why.pos;
        frames |= frame;
        findings_add(&v->found, "%s: byte %" PRIu64 ": %s: %s", why.detail, why.pos,
                     events(bad, last, text), evs_reason_text(why.why));
        struct log_span sp;
        if (log_span(v->lg, bad, &sp) == 0 && (!v->n_bad || v->bad[v->n_bad - 1] < sp.first) &&
            v->n_bad < MAX_FINDINGS)
            v->bad[v->n_bad++] = sp.first;
        v->gap = true;
        from = last + 1;
        if (v->found.n >= MAX_FINDINGS) {
            findings_add(&v->found, "more than %d findings: the rest is not looked at",
                         MAX_FINDINGS);
            return 0;
        }
    }
    return 0;
}

static void load_checkpoint(struct verify *v, int dirfd) UNANALYSED;
static void load_checkpoint(struct verify *v, int dirfd)
{
    struct checkpoint_mark m;
    struct index *ix;
    struct evs_error why;
    uint64_t bytes;
    char text[320];

    if (index_new(&ix, &why) < 0) {
        findings_add(&v->found, "%s: %s", CHECKPOINT_FILE,
                     evs_error_format(&why, text, sizeof text));
        return;
    }
    int r = checkpoint_read(dirfd, ix, &m, &bytes, &why);
    if (r == -ENOENT) {
        /* none yet: nothing is wrong with that */
    } else if (r < 0) {
        findings_add(&v->found, "%s: run 'evfs rebuild'",
                     evs_error_format(&why, text, sizeof text));
    } else if (checkpoint_is_foreign(v->lg, &m)) {
        findings_add(&v->found, "%s: belongs to another log: run 'evfs rebuild'", CHECKPOINT_FILE);
    } else if (m.seq > log_end(v->lg)) {
        findings_add(
            &v->found,
            "log: ends with event %llu of %llu: run 'evfs verify --repair', or 'evfs rebuild' to "
            "give up the others",
            (unsigned long long)log_end(v->lg), (unsigned long long)m.seq);
    } else {
        v->kept = TAKE(ix);
        v->kept_to = m.seq;
    }
    index_free(ix);
}

/* Is this failure damage, which is what verify looks for? Then it is a finding, and 0. */
static int as_finding(struct verify *v, int r, const struct evs_error *why, struct evs_error *err)
{
    char text[320];

    if (why->why == EVS_DAMAGED) {
        findings_add(&v->found, "%s", evs_error_format(why, text, sizeof text));
        return 0;
    }
    if (err)
        *err = *why;
    return r;
}

/* What the disk does not give of it is damage as well: a repair makes a new one. */
static int fail_meta(struct verify *v, int r, const struct evs_error *why, struct evs_error *err)
{
    char text[320];

    if (why->why == EVS_DAMAGED || why->code != EIO)
        return as_finding(v, r, why, err);
    findings_add(&v->found, "%s: run 'evfs verify --repair'",
                 evs_error_format(why, text, sizeof text));
    return 0;
}

static int verify_chain(struct verify *v, int dirfd, struct evs_error *err)
{
    struct chain_proof p;
    const struct chain_known bad = {v->bad, v->n_bad};
    int r = chain_verify(dirfd, v->lg, v->from, bad, &p, v->found.report, v->found.arg, err);

    if (r < 0)
        return r;
    v->found.n += r;
    *v->proof = (struct evs_proof){.events = p.events, .from = p.from};
    memcpy(v->proof->sha256, p.sha256, sizeof p.sha256);
    return 0;
}

static int verify_all(struct verify *v, const char *dir, int dirfd, struct evs_error *err)
{
    const struct log_options lo = {.segment_bytes = DEFAULT_SEGMENT_BYTES, .read_only = true};
    struct meta *meta = NULL;
    struct evs_error why;
    int r;

    if ((r = index_new(&v->ix, err)) < 0)
        return r;
    if ((r = log_open(dirfd, &lo, &v->lg, &why)) < 0) {
        bool table = why.why == EVS_DAMAGED && is_packed(why.detail);
        if ((table || why.why != EVS_DAMAGED || !verify_rest(v, 0, false)) &&
            (r = as_finding(v, r, &why, err)) < 0)
            return r;
        if (table && !verify_rest(v, 0, false)) /* nothing of the file could be read before */
            find_whole(v);
    } else {
        load_checkpoint(v, dirfd);
        if ((r = verify_log(v, err)) < 0)
            return r;
        if (!v->gap && !v->idx_differs)
            v->found.n += index_check(v->ix, v->lg, v->found.report, v->found.arg);
        if (!v->gap && !v->idx_differs && v->kept)
            v->found.n += index_check(v->kept, v->lg, v->found.report, v->found.arg);
        if ((r = verify_chain(v, dirfd, err)) < 0)
            return r;
        v->found.n += schemas_verify(dirfd, v->lg, v->found.report, v->found.arg);
    }
    if ((r = meta_open(dir, true, &meta, &why)) < 0)
        return fail_meta(v, r, &why, err);
    int64_t key;
    if (v->lg && log_end(v->lg) > 0 && meta_get_int(meta, "id_key", &key, NULL) == -ENOENT)
        findings_add(&v->found, "meta.db is missing: owners and modes of directories are lost");
    r = pins_verify(meta, v->found.report, v->found.arg, &why);
    v->found.n += MAX(r, 0);
    meta_close(meta);
    return r < 0 ? fail_meta(v, r, &why, err) : 0;
}

static int fail_hold(const char *dir, int r, struct evs_error *err)
{
    return r == -EWOULDBLOCK ? evs_fail_at(err, EVS_IN_USE, EVS_NOWHERE, "%s", dir)
                             : evs_fail_errno(err, r, "lock");
}

int evs_prove(const char *dir, const char *from, struct evs_proof *ret, evs_report_fn *report,
              void *arg, struct evs_error *err)
{
    struct verify v = {.dirfd = -1, .found = {report, arg, 0}, .from = from, .proof = ret};
    AUTO_CLOSE int dirfd = io_open(AT_FDCWD, dir, O_RDONLY | O_DIRECTORY, 0);
    int r;

    if (from && (strlen(from) != 64 || strspn(from, "0123456789abcdef") != 64))
        return evs_fail_at(err, EVS_BAD_FIELD, EVS_NOWHERE, "a hash is 64 lower-case digits");
    *ret = (struct evs_proof){.from = EVS_NOWHERE};
    if (dirfd < 0)
        return evs_fail_errno(err, dirfd, dir);
    struct hold hold;
    r = hold_take(dirfd, true, &hold);
    v.dirfd = dirfd;
    r = r < 0 ? fail_hold(dir, r, err) : verify_all(&v, dir, dirfd, err);
    hold_drop(&hold);
    log_abandon(v.lg);
    index_free(v.ix);
    index_free(v.kept);
    return r < 0 ? r : v.found.n;
}

int evs_verify(const char *dir, evs_report_fn *report, void *arg, struct evs_error *err)
{
    struct evs_proof unused;

    return evs_prove(dir, NULL, &unused, report, arg, err);
}
