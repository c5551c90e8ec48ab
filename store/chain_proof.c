/* SPDX-License-Identifier: MIT */
/* chain_proof: the whole log against its chain, and against a hash that was noted elsewhere. Two sums run: that of
 * all bytes as they are, which is the log's; and one that goes on from what the file before says, which tells
 * what of a segment itself was changed. They are one until something differs. */
#include "chain_mark.h"
#include "findings.h"
#include "io.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>

/* ---- verifying ---- */

struct file {
    struct chain_mark m;
    int r; /* of chain_load() */
};

struct proving {
    int dirfd;
    struct log *lg;
    const char *from;
    struct file *files; /* by first */
    size_t n_files;
    struct chain_proof proof;
    struct sha256_ctx whole, pin; /* of all bytes; going on from what the file before says */
    uint64_t pos;                 /* bytes that both have */
    evs_seq lines;                /* that whole has, while a hash is looked for */
    bool apart;                   /* the two differ */
    bool blind;                   /* pin is nothing, until a file says what comes next */
    bool unknown;                 /* not all bytes could be read: there is no whole */
    evs_seq agreed; /* first event of the file before, if that one fits its own; or 0 */
    struct chain_known known;
    struct findings found;
};

static void look_for(struct proving *v, evs_seq seq)
{
    char hex[CHAIN_HEX];

    chain_digest(&v->whole, hex);
    if (v->proof.from == CHAIN_NOWHERE && strcmp(hex, v->from) == 0)
        v->proof.from = seq;
}

/* ---- bytes ---- */

struct piece {
    struct proving *v;
    const char *p;
    size_t n;
};

/* Line by line: a noted hash is of whole lines. */
static int hash_lines(void *arg)
{
    struct piece *k = arg;
    struct proving *v = k->v;

    while (k->n > 0) {
        bool look = v->proof.from == CHAIN_NOWHERE; /* found: the rest at once */
        const char *lf = look ? memchr(k->p, '\n', k->n) : NULL;
        size_t n = lf ? (size_t)(lf + 1 - k->p) : k->n;
        sha256_update(&v->whole, n, (const uint8_t *)k->p);
        if (lf)
            look_for(v, ++v->lines);
        k->p += n;
        k->n -= n;
    }
    return 0;
}

static int look_through(struct proving *v, const struct log_span *sp, uint64_t at, size_t n)
{
    struct log_pin pin = {0};
    int r = log_pin(sp, at, at + n, &pin, NULL);

    if (r == 0)
        r = io_guarded(hash_lines, &(struct piece){v, sp->lines + at, n});
    log_unpin(&pin);
    return r;
}

/* On to byte `to`. Bytes that the disk does not give, or that do not unpack, are damage that the lines tell of; after
 * them the hash of the whole is not known. */
static void go_on(struct proving *v, uint64_t to)
{
    struct log_span sp;

    while (v->pos < to && log_span_at(v->lg, v->pos, &sp) == 0) {
        uint64_t at = v->pos - sp.before;
        size_t n = MIN(MIN(sp.bytes - at, to - v->pos), CHAIN_STEP_BYTES);
        int r = v->apart && !v->blind ? chain_hash(&v->pin, &sp, at, n) : 0;
        if (r == 0 && !v->unknown)
            r = v->from ? look_through(v, &sp, at, n) : chain_hash(&v->whole, &sp, at, n);
        v->apart |= r < 0;
        v->unknown |= r < 0;
        v->blind |= r < 0;
        v->pos += n;
    }
    if (!v->apart)
        v->pin = v->whole;
}

/* ---- files ---- */

static int take_file(void *arg, const char *name)
{
    struct proving *v = arg;
    evs_seq first = chain_first(name);

    if (!first)
        return 0;
    if ((v->n_files & (v->n_files - 1)) == 0) { /* the room doubles at each power of two */
        struct file *p = reallocarray(v->files, MAX(2 * v->n_files, 1u), sizeof *p);
        if (!p)
            return -ENOMEM;
        v->files = p;
    }
    struct file *f = &v->files[v->n_files++];
    *f = (struct file){.m.first = first};
    f->r = chain_load(v->dirfd, first, &f->m);
    return 0;
}

static int by_first(const void *a, const void *b)
{
    const struct file *x = a, *y = b;

    return (x->m.first > y->m.first) - (x->m.first < y->m.first);
}

static int list_files(struct proving *v, struct evs_error *err)
{
    int r = io_list(v->dirfd, "log", take_file, v);

    if (v->n_files)
        qsort(v->files, v->n_files, sizeof *v->files, by_first);
    return r < 0 ? evs_fail_errno(err, r, "log") : 0;
}

/* Are there damaged lines among these, which were reported already? */
static bool is_known(const struct proving *v, evs_seq from, evs_seq to)
{
    struct log_span sp;

    for (size_t i = 0; i < v->known.n; i++)
        if (v->known.first[i] <= to && log_span(v->lg, v->known.first[i], &sp) == 0 &&
            sp.end > from)
            return true;
    return false;
}

/* Two changes look the same: that of these bytes, and that of those before together with their hash, which this one
 * goes on from. Nothing that is left tells which it was. */
static void say_changed(struct proving *v, const struct chain_mark *m, const char *name,
                        evs_seq from, evs_seq agreed)
{
    char other[120] = "";

    if (agreed)
        (void)snprintf(other, sizeof other,
                       "; or those of event %" PRIu64 " to %" PRIu64
                       " were changed, and their hash with them",
                       agreed, from - 1);
    findings_add(&v->found,
                 "%s: its bytes are not those that were sealed: event %" PRIu64 " to %" PRIu64
                 " (log/%020" PRIu64 CHAIN_SUFFIX ")%s",
                 name, from, m->last, m->first, other);
}

/* before: the last event of the good file before. unsure: there is a damaged one between. */
static void check_file(struct proving *v, const struct chain_mark *m, evs_seq before, bool unsure)
{
    char is[CHAIN_HEX], was[CHAIN_HEX], name[64];
    const evs_seq from = MIN(m->first, before + 1); /* what it speaks for */

    if (!unsure && m->first > before + 1)
        findings_add(&v->found,
                     "log/%020" PRIu64 CHAIN_SUFFIX ": is missing: run 'evfs verify --repair'",
                     before + 1);
    if (m->last > v->proof.events || m->bytes > log_bytes(v->lg)) {
        findings_add(&v->found,
                     "log: ends with event %" PRIu64 "; up to event %" PRIu64
                     " it was sealed (log/%020" PRIu64 CHAIN_SUFFIX ")",
                     v->proof.events, m->last, m->first);
        return;
    }
    if (m->bytes < v->pos) {
        findings_add(&v->found,
                     "log/%020" PRIu64 CHAIN_SUFFIX ": does not follow from the one before",
                     m->first);
        return;
    }
    go_on(v, m->bytes);
    chain_digest(&v->pin, is);
    chain_digest(&m->sum, was);
    log_segment_name(v->lg, from, name, sizeof name);
    const evs_seq agreed = v->agreed;
    v->agreed = 0;
    if (!v->blind && strcmp(is, was) == 0) {
        v->agreed = from;
        return;
    }
    if (!v->blind && !is_known(v, from, m->last))
        say_changed(v, m, name, from, agreed);
    v->pin = m->sum;
    v->apart = true;
    v->blind = false;
}

static void check_files(struct proving *v)
{
    evs_seq before = 0;
    bool unsure = false;

    for (size_t i = 0; i < v->n_files; i++) {
        const struct file *f = &v->files[i];
        if (f->r < 0) {
            findings_add(&v->found, "log/%020" PRIu64 CHAIN_SUFFIX ": %s", f->m.first,
                         f->r == -EBADMSG ? "stored bytes are damaged: run 'evfs verify --repair'"
                                          : strerror(-f->r));
            unsure = true;
            continue;
        }
        check_file(v, &f->m, before, unsure);
        before = f->m.last;
        unsure = false;
    }
}

int chain_verify(int dirfd, struct log *lg, const char *from, struct chain_known known,
                 struct chain_proof *ret, evs_report_fn *report, void *arg, struct evs_error *err)
{
    struct proving v = {
        .dirfd = dirfd, .lg = lg, .from = from, .known = known, .found = {report, arg, 0}};
    int r = list_files(&v, err);

    if (r == 0) {
        v.proof = (struct chain_proof){.events = log_end(lg), .from = CHAIN_NOWHERE};
        sha256_init(&v.whole);
        v.pin = v.whole;
        if (from)
            look_for(&v, 0);
        check_files(&v);
        go_on(&v, log_bytes(lg));
        if (from && v.proof.from == CHAIN_NOWHERE)
            findings_add(
                &v.found,
                "log: no first lines of it have the hash %s: it is not, or does not continue, the "
                "one "
                "that this was noted of",
                from);
        if (!v.unknown)
            chain_digest(&v.whole, v.proof.sha256);
        *ret = v.proof;
    }
    free(v.files);
    return r < 0 ? r : v.found.n;
}

/* ---- mending ---- */

/* Where event seq begins among all bytes. */
static int begin_of(struct log *lg, evs_seq seq, uint64_t *ret)
{
    struct log_span sp;
    struct log_rec rec;
    int r = log_span(lg, seq, &sp);

    if (r == 0 && seq == sp.first)
        *ret = sp.before;
    else if (r == 0 && (r = log_rec_get(lg, seq, &rec, NULL)) == 0)
        *ret = sp.before + log_rec_offset(&rec);
    return r;
}

/* What is missing between a file and one behind it, segment by segment: kept only if it leads to what that one
 * says. Number of those made. */
static int mend_run(int dirfd, struct log *lg, const struct chain_mark *before,
                    const struct chain_mark *m)
{
    struct log_span sp;
    char is[CHAIN_HEX], was[CHAIN_HEX];
    int made = 0, r = 0;

    for (int pass = 0; pass < 2; pass++) {
        struct chain_mark at = *before;
        while (at.last + 1 < m->first) {
            uint64_t end = 0;
            if (log_span(lg, at.last + 1, &sp) < 0)
                return 0;
            at.first = at.last + 1;
            at.last = MIN(sp.end, m->first) - 1;
            if (begin_of(lg, at.last + 1, &end) < 0 || end < at.bytes)
                return 0;
            if ((r = chain_hash_to(lg, &at.sum, at.bytes, end)) < 0)
                return r;
            at.bytes = end;
            if (pass == 1 && (r = chain_save(dirfd, &at)) < 0)
                return r;
            made += pass;
        }
        if ((r = chain_hash_to(lg, &at.sum, at.bytes, m->bytes)) < 0)
            return r;
        chain_digest(&at.sum, is);
        chain_digest(&m->sum, was);
        if (strcmp(is, was) != 0)
            return 0; /* verify says that they differ */
    }
    return made;
}

/* Behind the last good one nothing vouches for anything: they are made as if there had been none. */
static int remove_bad(const struct proving *v, size_t from, struct evs_error *err)
{
    char name[CHAIN_NAME_BYTES];
    int n = 0;

    for (size_t i = from; i < v->n_files; i++) {
        chain_name(v->files[i].m.first, "", name);
        int r = io_unlink(v->dirfd, name);
        if (r < 0)
            return evs_fail_errno(err, r, name);
        n++;
    }
    return n;
}

int chain_mend(int dirfd, struct log *lg, struct evs_error *err)
{
    struct proving v = {.dirfd = dirfd, .lg = lg};
    struct chain_mark good = {0};
    size_t behind = 0; /* the last good one */
    int made = 0, r = list_files(&v, err);

    sha256_init(&good.sum);
    for (size_t i = 0; r >= 0 && i < v.n_files; i++) {
        const struct file *f = &v.files[i];
        if (f->r < 0 && f->r != -EBADMSG)
            r = evs_fail_errno(err, f->r, "log: " CHAIN_SUFFIX);
        if (f->r < 0)
            continue;
        if (f->m.first > good.last + 1 && (r = mend_run(dirfd, lg, &good, &f->m)) < 0)
            (void)evs_fail_errno(err, r, "log: " CHAIN_SUFFIX);
        made += MAX(r, 0);
        r = MIN(r, 0);
        good = f->m;
        behind = i + 1;
    }
    if (r >= 0)
        r = remove_bad(&v, behind, err);
    free(v.files);
    return r < 0 ? r : made + r;
}
