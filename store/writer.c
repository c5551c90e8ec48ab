/* SPDX-License-Identifier: MIT */
/* writer: one open file that appends; takes the bytes of write(2) apart.
 * (1) Everything before the byte that evs_write() returns is stored, or kept in pend as the beginning of a value.
 * (2) pend holds the bytes of one unfinished value from its first byte on, skim how far it has been looked at.
 * (3) apart: the last byte taken belonged to a value, so that white space must come next.
 * (4) Once a value that began in an earlier write turns out bad, failed is set and nothing is taken any more:
 *     where the next value would begin is not known.
 * Errors that are not the input's (a full disk) leave everything as it was before the write. */
#include "hotpath.h"
#include "limits.h"
#include "name.h"
#include "outline.h"
#include "scan.h"
#include "writer_state.h"

#include <errno.h>

#define BATCH_BYTES ((size_t)256 << 10) /* of input in one go, but for a value that is larger */

/* Did the input cause it? Else it may go better next time. */
static bool inputs_fault(enum evs_reason why)
{
    switch (why) {
    case EVS_SYSTEM:
    case EVS_PENDING_FULL:
    case EVS_READ_ONLY:
    case EVS_DISK_FULL:
    case EVS_NO_MEMORY:
    case EVS_DAMAGED:
        return false;
    default:
        return true;
    }
}

static bool takes_events(const struct evs_writer *w)
{
    return w->target.kind != EVS_OWN_TYPE;
}

static char *copy(const char *p, size_t n)
{
    char *c = malloc(n + 1);

    if (c) {
        if (n)
            memcpy(c, p, n);
        c[n] = '\0';
    }
    return c;
}

static int check_target(const struct evs_target *t, struct evs_error *err)
{
    struct slice entity = {t->entity, t->entity_len}, type = {t->type, t->type_len};
    int r;

    if (t->kind == EVS_OWN)
        return evs_fail(err, EVS_BAD_NAME, EVS_NOWHERE);
    bool top = t->kind == EVS_BELOW && t->entity_len == 0; /* entities/%: ids that begin with '/' */
    if ((t->kind == EVS_BELOW || t->kind == EVS_OWN_TYPE) && !top &&
        ((r = event_check_entity(entity, EVS_NOWHERE, err)) < 0 ||
         (r = name_check_entity(entity, EVS_NOWHERE, err)) < 0))
        return r;
    if ((t->kind == EVS_TYPE || t->kind == EVS_OWN_TYPE) &&
        ((r = event_check_type(type, EVS_NOWHERE, err)) < 0 ||
         (r = name_check_type(type, EVS_NOWHERE, err)) < 0))
        return r;
    return 0;
}

int evs_writer_new(struct evs_store *st, const struct evs_target *target, const char *path,
                   struct evs_writer **ret_w, struct evs_error *err)
{
    int r = check_target(target, err);

    if (r < 0)
        return r;
    if (st->options.read_only)
        return evs_fail(err, EVS_READ_ONLY, EVS_NOWHERE);
    struct evs_writer *w = calloc(1, sizeof *w);
    if (!w)
        return evs_fail(err, EVS_NO_MEMORY, EVS_NOWHERE);
    w->st = st;
    w->lock = (pthread_mutex_t)PTHREAD_MUTEX_INITIALIZER;
    w->target = *target;
    w->target.entity = copy(target->entity, target->entity_len);
    w->target.type = copy(target->type, target->type_len);
    w->path = copy(path, path ? strlen(path) : 0);
    atomic_fetch_add_explicit(&st->writers, 1, memory_order_relaxed);
    if (!w->target.entity || !w->target.type || !w->path) {
        evs_writer_free(w);
        return evs_fail(err, EVS_NO_MEMORY, EVS_NOWHERE);
    }
    *ret_w = w;
    return 0;
}

static void drop_pending(struct evs_writer *w)
{
    if (w->pend_cap)
        pending_give(&w->st->pending, w->pend_uid, w->pend_cap);
    free(w->pend);
    w->pend = NULL;
    w->pend_n = w->pend_cap = 0;
}

/* Room for n more bytes of pend and one to spare. */
static int grow_pending(struct evs_writer *w, size_t n, uid_t uid, struct evs_error *err)
{
    size_t need = w->pend_n + n + 1;

    if (need <= w->pend_cap)
        return 0;
    size_t cap = MAX(need, w->pend_cap + w->pend_cap / 2);
    if (!w->pend_cap)
        w->pend_uid = uid;
    int r = pending_take(&w->st->pending, w->pend_uid, cap - w->pend_cap, err);
    if (r < 0)
        return r;
    char *p = realloc(w->pend, cap);
    if (!p) {
        pending_give(&w->st->pending, w->pend_uid, cap - w->pend_cap);
        return evs_fail(err, EVS_NO_MEMORY, EVS_NOWHERE);
    }
    w->pend = p;
    w->pend_cap = cap;
    return 0;
}

static size_t value_limit(const struct evs_writer *w, char first)
{
    return takes_events(w) && first == '[' ? LIMIT_TX_BYTES : LIMIT_VALUE_BYTES;
}

/* The value that begins at t->pos does not end in this write: keep it. */
static int keep_rest(struct take *t, struct evs_error *err)
{
    struct evs_writer *w = t->w;
    size_t n = t->n - t->pos;
    struct skim k;
    ssize_t r;

    if (n > value_limit(w, t->s[t->pos]))
        return evs_fail(err, EVS_TOO_LARGE, t->pos);
    skim_init(&k, takes_events(w));
    r = skim_feed(&k, t->s + t->pos, n, err);
    if (r < 0) {
        if (err && err->pos != EVS_NOWHERE)
            err->pos += t->pos;
        return (int)r;
    }
    if ((r = grow_pending(w, n, t->cred->uid, err)) < 0)
        return (int)r;
    memcpy(w->pend, t->s + t->pos, n);
    w->pend_n = n;
    w->skim = k;
    t->pos = t->n;
    t->apart = false;
    return 0;
}

/* Prepare and store what is in the batch. On failure t->pos is where the first event not stored begins. */
static int store_batch(struct take *t, bool transaction, struct evs_error *err)
{
    struct batch *b = t->b;
    uint32_t want = b->n, n, done;
    struct evs_error why, later; /* filled by what fails; zeros for them would cost every write */

    if (want == 0)
        return 0;
    n = ingest_prepare(t->w->st, b, &t->w->target, t->cred, &later);
    if (n < want && transaction)
        n = 0;
    done = n ? ingest_commit(t->w->st, b, n, transaction, t->cred, &why) : 0;
    if (done)
        t->w->seq = log_end(t->w->st->lg);
    if (UNLIKELY(b->warned))
        writer_list_warned(t, done);
    if (done == want)
        return 0;
    if (!transaction)
        t->pos = b->p[done].ev.pos;
    t->apart = false;
    if (done == n)
        why = later;
    if (err)
        *err = why;
    return -why.code;
}

static ssize_t scan_one(struct take *t, struct prepared *p, struct evs_error *err)
{
    const char *s = t->s + t->pos;
    size_t n = t->n - t->pos;
    ssize_t r;

    if (takes_events(t->w)) {
        r = event_scan(s, n, t->w->st->schemas ? EVENT_OUTLINE : 0, &t->b->scratch, &p->ev, err);
    } else {
        bool breaks = false;
        uint64_t outline = 0;
        const size_t most = MIN(n, (size_t)LIMIT_VALUE_BYTES + 1);
        /* one level for the line that it will be data of: what is stored can be appended again */
        r = t->w->st->schemas
                ? scan_outline(s, most, SCAN_DEPTH(1), outline_by(), &breaks, &outline, err)
                : scan_value(s, most, SCAN_DEPTH(1), &breaks, err);
        if (r > (ssize_t)LIMIT_VALUE_BYTES || (r == 0 && n > LIMIT_VALUE_BYTES))
            return evs_fail(err, EVS_TOO_LARGE, t->pos);
        /* 01, 1.2.3, 2026-11-24: not a number that begins well */
        if (r > 0 && scan_kind(*s) <= SCAN_NUMBER && !scan_is_space(s[r]))
            return evs_fail(err, EVS_BAD_JSON, t->pos + (size_t)r);
        p->ev = (struct event){.data = {s, (size_t)r},
                               .data_breaks = breaks,
                               .outline = outline,
                               .expected = EVENT_ANY_VERSION};
    }
    if (r < 0 && err && err->pos != EVS_NOWHERE)
        err->pos += t->pos;
    p->ev.pos = (uint32_t)t->pos;
    return r;
}

/* Move over white space. NOT_APART where a value must not begin yet. */
static int skip_space(struct take *t, struct evs_error *err)
{
    while (t->pos < t->n && scan_is_space(t->s[t->pos])) {
        t->apart = false;
        t->pos++;
    }
    return t->apart && t->pos < t->n ? evs_fail(err, EVS_NOT_APART, t->pos) : 0;
}

/* Fill the batch with values from t->pos on. Returns 1 if more may follow, 0 at the end of the input or at an
 * unfinished value or a transaction (t->pos is there), or the reason why the value at t->pos is bad. */
static int fill_batch(struct take *t, struct evs_error *err)
{
    /* Its lines, which may be three times as long, are to fit into one segment. */
    const size_t from = t->pos, most = MIN(BATCH_BYTES, t->w->st->options.segment_bytes / 4);

    HOT(scan);
    t->b->n = 0;
    scratch_reset(&t->b->scratch);
    while (t->b->n < BATCH_EVENTS && t->pos - from < most) {
        int r = skip_space(t, err);
        if (r < 0)
            return r;
        if (t->pos == t->n || (takes_events(t->w) && t->s[t->pos] == '['))
            return 0;
        struct prepared *p = batch_add(t->b);
        if (!p)
            return evs_fail(err, EVS_NO_MEMORY, EVS_NOWHERE);
        ssize_t n = scan_one(t, p, err);
        if (n <= 0)
            return (int)n;
        t->b->n++;
        t->pos += (size_t)n;
        t->apart = true;
    }
    return 1;
}

/* The elements of the array s[0..n), which skim has found whole. */
static int scan_elements(struct take *t, const char *s, size_t n, struct evs_error *err)
{
    const unsigned flags = SCAN_ANY_LINES | SCAN_DEPTH(1) | (t->w->st->schemas ? EVENT_OUTLINE : 0);
    size_t at = 1;
    bool first = true;

    for (;; first = false) {
        while (at < n && scan_is_space(s[at]))
            at++;
        if (at < n && s[at] == ']' && (first || t->b->n == 0))
            break;
        if (t->b->n == LIMIT_TX_EVENTS)
            return evs_fail_at(err, EVS_TOO_MANY, t->pos + at, "events in a transaction");
        struct prepared *p = batch_add(t->b);
        if (!p)
            return evs_fail(err, EVS_NO_MEMORY, EVS_NOWHERE);
        /* skim has judged the line breaks of all of it */
        ssize_t r = event_scan(s + at, n - at, flags, &t->b->scratch, &p->ev, err);
        if (r <= 0) {
            if (r == 0)
                return evs_fail(err, EVS_BAD_JSON, t->pos + at);
            if (err && err->pos != EVS_NOWHERE)
                err->pos += t->pos + at;
            return (int)r;
        }
        p->ev.pos = (uint32_t)(t->pos + at);
        t->b->n++;
        at += (size_t)r;
        while (at < n && scan_is_space(s[at]))
            at++;
        if (at < n && s[at] == ',') {
            at++;
            continue;
        }
        if (at < n && s[at] == ']')
            break;
        return evs_fail(err, EVS_BAD_JSON, t->pos + at);
    }
    return 0;
}

/* A transaction begins at t->pos. Returns its length once it is stored, 0 if it is unfinished. */
static ssize_t take_transaction(struct take *t, struct evs_error *err)
{
    const char *s = t->s + t->pos;
    struct skim k;
    int r;

    skim_init(&k, true);
    ssize_t n = skim_feed(&k, s, t->n - t->pos, err);
    if (n < 0 && err && err->pos != EVS_NOWHERE)
        err->pos += t->pos;
    if (n <= 0)
        return n;
    if ((size_t)n > LIMIT_TX_BYTES)
        return evs_fail(err, EVS_TOO_LARGE, t->pos);
    t->b->n = 0;
    scratch_reset(&t->b->scratch);
    if ((r = scan_elements(t, s, (size_t)n, err)) < 0 || (r = store_batch(t, true, err)) < 0)
        return r;
    return n;
}

/* Store all values from t->pos on, keep the unfinished one. 0, or why the value at t->pos is bad. */
static int take_values(struct take *t, struct evs_error *err)
{
    struct evs_error why;
    int more = 1, r;

    while (more == 1) {
        more = fill_batch(t, &why);
        if ((r = store_batch(t, false, err)) < 0)
            return r;
        if (more == 0 && t->pos < t->n && takes_events(t->w) && t->s[t->pos] == '[') {
            ssize_t n = take_transaction(t, &why);
            if (n > 0) {
                t->pos += (size_t)n;
                t->apart = true;
            }
            more = n > 0 ? 1 : (int)n;
        }
    }
    if (more < 0) {
        if (err)
            *err = why;
        return more;
    }
    if (t->pos < t->n &&
        t->s == t->w->pend) /* skim said that it ends here, scan that it does not */
        return evs_fail(err, EVS_BAD_JSON, t->pos);
    return t->pos < t->n ? keep_rest(t, err) : 0;
}

/* skim has found that the value in pend, which goes on with s, goes wrong at err->pos of s. It only looks for the
 * end: perhaps scan finds an earlier byte wrong, as it would had all come in one write. */
static int first_error(struct take *t, const char *s, struct evs_error *err)
{
    struct evs_writer *w = t->w;
    const size_t add = err->pos + 1;
    const bool transaction = takes_events(w) && w->pend[0] == '[';
    struct evs_error why;

    if (!transaction && grow_pending(w, add, t->cred->uid, &why) == 0) {
        struct take whole = {.w = w, .b = t->b, .s = w->pend, .n = w->pend_n + add};
        struct prepared *p = &t->b->p[0];
        memcpy(w->pend + w->pend_n, s, add);
        scratch_reset(&t->b->scratch);
        if (scan_one(&whole, p, &why) < 0) {
            *err = why;
            return -why.code;
        }
    }
    err->pos += w->pend_n;
    return -err->code;
}

/* Bytes for the value in pend. Returns how many of s[0..n) belong to it and are taken. */
static ssize_t feed_pending(struct take *t, const char *s, size_t n, struct evs_error *err)
{
    struct evs_writer *w = t->w;
    struct skim k = w->skim;
    ssize_t r = skim_feed(&k, s, n, err);
    size_t add = k.done ? (size_t)MAX(r, 0) : n;

    if (r < 0)
        return first_error(t, s, err);
    if (w->pend_n + add > value_limit(w, w->pend[0]))
        return evs_fail(err, EVS_TOO_LARGE, 0);
    if ((r = grow_pending(w, add, t->cred->uid, err)) < 0)
        return r;
    memcpy(w->pend + w->pend_n, s, add);
    if (!k.done) {
        w->pend_n += add;
        w->skim = k;
        return (ssize_t)add;
    }
    w->pend[w->pend_n + add] = ' '; /* ends a number */
    struct take whole = {
        .w = w, .cred = t->cred, .b = t->b, .s = w->pend, .n = w->pend_n + add + 1};
    size_t before = w->pend_n;
    if ((r = take_values(&whole, err)) < 0)
        return r;
    assert(w->pend_n == before); /* whole: skim and scan agree on where it ends */
    drop_pending(w);
    t->apart = true;
    return (ssize_t)add;
}

static ssize_t write_locked(struct take *t, struct evs_error *err)
{
    struct evs_writer *w = t->w;
    struct evs_error why;
    bool noted = w->noted;
    ssize_t r = 0;

    w->noted = false;
    if (w->pend_n) {
        r = feed_pending(t, t->s, t->n, &why);
        if (r < 0) {
            if (inputs_fault(why.why)) {
                writer_reject_pending(t, &why, t->s, t->n);
                drop_pending(w);
                w->failed = why.code;
                w->why = why;
            }
            goto fail;
        }
        t->pos = (size_t)r;
        if (w->pend_n)
            return r;
    }
    r = take_values(t, &why);
    w->apart = t->apart;
    if (r == 0)
        return (ssize_t)t->pos;
    if (inputs_fault(why.why) && !(noted && t->pos == 0))
        writer_reject(t, &why, t->s + t->pos, t->n - t->pos);
    w->noted = t->pos > 0;
    if (t->pos > 0)
        return (ssize_t)t->pos;
fail:
    if (err)
        *err = why;
    return -why.code;
}

ssize_t evs_write(struct evs_writer *w, const void *buf, size_t n, const struct evs_cred *cred,
                  struct evs_error *err)
{
    struct take t = {.w = w, .cred = cred, .s = buf, .n = MIN(n, (size_t)1 << 30)};
    ssize_t r;

    if (n == 0)
        return 0;
    HOT(write);
    t.b = batch_get(w->st);
    if (!t.b)
        return evs_fail(err, EVS_NO_MEMORY, EVS_NOWHERE);
    (void)pthread_mutex_lock(&w->lock);
    t.apart = w->apart;
    if (w->failed) {
        if (err)
            *err = w->why;
        r = -w->failed;
    } else {
        r = write_locked(&t, err);
    }
    evs_seq seq = w->seq;
    (void)pthread_mutex_unlock(&w->lock);
    batch_put(w->st, t.b);
    if (r > 0 && w->st->options.sync) {
        int e = evs_sync(w->st, seq, err);
        if (e < 0)
            return e;
    }
    return r;
}

evs_seq evs_writer_seq(struct evs_writer *w)
{
    (void)pthread_mutex_lock(&w->lock);
    evs_seq seq = w->seq;
    (void)pthread_mutex_unlock(&w->lock);
    return seq;
}

int evs_writer_pending(struct evs_writer *w, struct evs_error *err)
{
    (void)pthread_mutex_lock(&w->lock);
    bool pending = w->pend_n > 0;
    (void)pthread_mutex_unlock(&w->lock);
    return pending ? evs_fail(err, EVS_UNFINISHED, EVS_NOWHERE) : 0;
}

void evs_writer_free(struct evs_writer *w)
{
    if (!w)
        return;
    if (w->pend_n) {
        struct evs_error why;
        (void)evs_fail(&why, EVS_UNFINISHED, w->pend_n);
        writer_note(w, NULL, &why, w->pend, w->pend_n, NULL);
    }
    drop_pending(w);
    atomic_fetch_sub_explicit(&w->st->writers, 1, memory_order_relaxed);
    free((char *)(uintptr_t)w->target.entity);
    free((char *)(uintptr_t)w->target.type);
    free(w->path);
    (void)pthread_mutex_destroy(&w->lock);
    free(w);
}
