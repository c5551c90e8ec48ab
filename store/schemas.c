/* SPDX-License-Identifier: MIT */
/* schemas: who learns what, and when.
 * (1) Every event is taken exactly once, in the order of seq, but for counts, where order says nothing: from the
 *     log, [next, to); then from the queue; and those that an append has counted itself.
 * (2) While live, an append counts what is known (infer_hit(), under the commit lock) and queues what is not, and
 *     each 64th event, whose values are looked at. Full queue, or events that come without it: live ends at that
 *     event, `off`, and from there on the log is read, once the queue is empty.
 * (3) live begins with the next event to come; what lies between is read in the log first. So nobody ever waits
 *     for the thread, however far it is behind.
 * (4) To look at a moment, or save it, live is ended and the queue emptied: then what is learned is that of all
 *     events up to `off`, and of no other.
 * (5) What is learned depends on the log alone: an event is looked at closely if its shape is new or its seq a
 *     multiple of 64, never because of when the thread came to it. */
#include "schemas.h"

#include "hotpath.h"
#include "io.h"
#include "outline.h"
#include "schemas_state.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>

#define STEP_EVENTS 1024u
#define LIVE_BEHIND                                                                                \
    (1u << 17)     /* live begins when no more than these are to be read, while somebody may wait */
#define RUSH 1024u /* so many queued wake the thread though it has not rested enough */

/* ---- appending ---- */

static const struct slice no_data = {"null", 4};

static struct infer_shape_rec *find_by_shape(struct schemas *sk, type_id type, struct slice data,
                                             uint64_t outline, uint64_t key,
                                             struct schema_memo *memo)
{
    struct schema_type *t = type ? schemas_type(sk, type) : NULL;

    if (!t)
        return NULL;
    if (UNLIKELY(atomic_load_explicit(&t->open, memory_order_relaxed)))
        return &sk->unlearned;
    struct infer_shape_rec *shape = infer_find(t->model, infer_shape(data.p ? data : no_data));
    if (shape && outline) {
        struct infer_shape_rec *was = atomic_load_explicit(&memo[0].shape, memory_order_relaxed);
        if (was) /* the older of the two goes */
            memo_put(&memo[1],
                     atomic_load_explicit(&memo[0].tag, memory_order_relaxed) ^ (uintptr_t)was,
                     was);
        memo_put(&memo[0], key, shape);
    }
    return shape;
}

/* By its outline, which costs nothing; else by its shape, and then its outline is known. An outline has two places:
 * with one, each event of two busy types that share it (one start in 40 with 20 types) would be looked at in full. */
static inline struct infer_shape_rec *find_shape(struct schemas *sk, type_id type,
                                                 struct slice data, uint64_t outline,
                                                 uint32_t generation)
{
    const uint64_t key = (outline ^ generation) + type * 0x9e3779b97f4a7c15u;
    struct schema_memo *memo = &sk->memo[((key >> 32 ^ key) & ~1ull) % SCHEMAS_MEMO];
    struct infer_shape_rec *shape = memo_get(&memo[0], key);

    if (LIKELY(shape) || (shape = memo_get(&memo[1], key)))
        return shape;
    return find_by_shape(sk, type, data, outline, key, memo);
}

void schemas_prepare(struct evs_store *st, struct batch *b, uint32_t n)
{
    struct schemas *sk = st->schemas;

    if (!sk)
        return;
    HOT(shapes);
    /* In this order: who sees a new generation sees that live ended before it. Both pair with schemas_reset() and
     * go_on(): what is looked up is never a forgotten type. */
    b->shapes_gen = atomic_load_explicit(&sk->generation, memory_order_acquire);
    bool live = atomic_load_explicit(&sk->live, memory_order_acquire);
    for (uint32_t i = 0; i < n; i++) {
        const struct event *ev = &b->p[i].ev;
        b->p[i].shape =
            live ? find_shape(sk, b->p[i].type, ev->data, ev->outline, b->shapes_gen) : NULL;
    }
}

static NEEDS_COMMIT void end_live(struct schemas *sk, evs_seq off)
{
    atomic_store_explicit(&sk->live, false, memory_order_relaxed);
    sk->off = off;
}

static NEEDS_COMMIT bool queue_one(struct schemas *sk, const struct prepared *p,
                                   int64_t recorded_us, bool counted)
{
    const struct slice data = p->ev.data.p ? p->ev.data : no_data;

    return queue_put(&sk->queue,
                     &(struct queued){.seq_counted = p->seq * 2 + counted,
                                      .recorded_us = recorded_us,
                                      .type = p->type},
                     p->ev.data_breaks ? (struct slice){0} : data); /* as it is stored */
}

bool schemas_note(struct evs_store *st, struct batch *b)
{
    struct schemas *sk = st->schemas;

    if (!sk || !atomic_load_explicit(&sk->live, memory_order_relaxed))
        return false;
    const uint32_t head = queue_head(&sk->queue);
    bool known = b->shapes_gen == atomic_load_explicit(&sk->generation, memory_order_relaxed);
    for (uint32_t i = 0; i < b->n_stored; i++) {
        const struct prepared *p = &b->p[b->order[i]];
        struct infer_shape_rec *shape = known ? p->shape : NULL;
        if (LIKELY(shape && p->seq % SCHEMAS_SAMPLE != 0)) {
            infer_hit(shape, p->seq);
            continue;
        }
        if (!queue_one(sk, p, b->recs[i].recorded_us, shape != NULL)) {
            end_live(sk, p->seq);
            return true;
        }
        if (shape)
            infer_hit(shape, p->seq);
    }
    const uint32_t queued = queue_head(&sk->queue) - head;
    if (!queued)
        return false;
    const uint32_t waiting = head - queue_tail(&sk->queue);
    if (waiting < RUSH && waiting + queued >= RUSH)
        return true;
    atomic_thread_fence(
        memory_order_seq_cst); /* pairs with rest(): it sees the event, or we see it asleep */
    return atomic_load_explicit(&sk->asleep, memory_order_relaxed);
}

void schemas_wake(struct evs_store *st)
{
    struct schemas *sk = st->schemas;

    (void)pthread_mutex_lock(&sk->lock);
    (void)pthread_cond_signal(&sk->wake);
    (void)pthread_mutex_unlock(&sk->lock);
}

void schemas_pass_over(struct evs_store *st)
{
    struct schemas *sk = st->schemas;

    if (sk && atomic_load_explicit(&sk->live, memory_order_relaxed))
        end_live(sk, log_end(st->lg) + 1);
}

/* ---- types ---- */

struct schema_type *schemas_type(const struct schemas *sk, type_id t)
{
    return t <= LIMIT_TYPES ? atomic_load_explicit(&sk->types[t], memory_order_acquire) : NULL;
}

struct schema_type *schemas_add_type(struct schemas *sk, type_id id, struct infer *model)
{
    struct schema_type *t = calloc(1, sizeof *t);

    if (!t)
        return NULL;
    t->id = id;
    t->model = model;
    t->changed_us = INT64_MIN;
    if (!model) {
        atomic_store_explicit(&t->open, true, memory_order_relaxed);
        sk->crowded++;
    }
    sk->bytes += sizeof *t + (model ? infer_bytes(model) : 0);
    sk->last_type = MAX(sk->last_type, id);
    atomic_store_explicit(&sk->types[id], t, memory_order_release); /* pairs with schemas_type() */
    return t;
}

void schemas_forget(struct schemas *sk)
{
    for (type_id i = 1; i <= sk->last_type; i++) {
        struct schema_type *t = schemas_type(sk, i);
        if (!t)
            continue;
        atomic_store_explicit(&sk->types[i], NULL, memory_order_relaxed);
        t->next = sk->retired;
        sk->retired = t;
    }
    sk->last_type = 0;
    sk->dirty = NULL;
    sk->bytes = sk->texts = sk->held = 0;
    sk->next = sk->to = 1;
    sk->saved = 0;
    sk->crowded = 0;
    sk->unwritten = false;
}

void schemas_reset(struct schemas *sk)
{
    ingest_lock(sk->st);
    atomic_store_explicit(&sk->live, false, memory_order_relaxed);
    sk->off = 0;
    atomic_fetch_add_explicit(&sk->generation, 1, memory_order_release);
    queue_clear(&sk->queue);
    ingest_unlock(sk->st);
    schemas_forget(sk);
    sk->checked = true;
    if (schemas_on_disk(sk) && schemas_remove(sk->st->dirfd) < 0)
        schemas_say(sk, "can't be removed");
}

/* ---- learning one event ---- */

void schemas_say(struct schemas *sk, const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    (void)vsnprintf(sk->trouble, sizeof sk->trouble, fmt, ap);
    va_end(ap);
}

static void get_stuck(struct schemas *sk, evs_seq seq, const char *why)
{
    sk->stuck = true;
    schemas_say(sk, "learning ended before event %" PRIu64 ": %s", seq, why);
}

static bool room_for(struct schemas *sk, size_t n)
{
    if (n <= sk->value_cap)
        return true;
    char *p = malloc(n + n / 2);
    if (!p)
        return false;
    free(sk->value);
    sk->value = p;
    sk->value_cap = n + n / 2;
    return true;
}

/* No room: what the type shows from now on is not learned, so nothing of what it shows is excluded. */
static void open_type(struct schemas *sk, struct schema_type *t)
{
    atomic_store_explicit(&t->open, true, memory_order_relaxed);
    sk->crowded++;
}

static void note_change(struct schemas *sk, struct schema_type *t, evs_seq seq, int64_t recorded_us)
{
    if (t->changed_us != recorded_us) {
        t->changed_us = recorded_us;
        t->changed = seq;
    }
    t->changed_last = seq;
    if (!t->dirty) {
        t->dirty = true;
        t->next = sk->dirty;
        sk->dirty = t;
    }
}

static struct schema_type *type_of(struct schemas *sk, type_id id)
{
    struct schema_type *t = schemas_type(sk, id);
    struct infer *model = NULL;

    if (t)
        return t;
    if (sk->bytes < LIMIT_SCHEMAS_BYTES && infer_new(&model) < 0)
        return NULL;
    t = schemas_add_type(sk, id, model);
    if (!t)
        infer_free(model);
    return t;
}

/* An event, from the log or from the queue. */
struct lesson {
    evs_seq seq;
    int64_t recorded_us;
    type_id type;
    uint64_t shape;
    struct slice data; /* in the log, in value, or in the queue until it is dropped there */
    bool counted;
    bool mapped; /* data is in the log: copied before it is looked at closely */
};

static int copy_data(struct schemas *sk, struct lesson *l)
{
    if (!l->mapped)
        return 0;
    if (!room_for(sk, l->data.n))
        return -ENOMEM;
    int r = io_copy(sk->value, l->data.p, l->data.n);
    l->data.p = sk->value;
    l->mapped = false;
    return r;
}

static int learn_new(struct schemas *sk, struct schema_type *t, struct lesson *l)
{
    int r = 0;

    if (t->dirty && t->changed_us != l->recorded_us && (r = schemas_flush(sk, t)) < 0)
        return r;
    if (sk->bytes >= LIMIT_SCHEMAS_BYTES && infer_count(t->model) > 0) {
        open_type(sk, t);
        note_change(sk, t, l->seq, l->recorded_us);
        return 0;
    }
    size_t before = infer_bytes(t->model);
    r = infer_add(t->model, l->data, l->shape, l->seq);
    sk->bytes += infer_bytes(t->model) - before;
    if (r > 0)
        note_change(sk, t, l->seq, l->recorded_us);
    return MIN(r, 0);
}

static int learn(struct schemas *sk, struct lesson *l)
{
    bool first = !schemas_type(sk, l->type), sample = l->seq % SCHEMAS_SAMPLE == 0;
    struct schema_type *t = type_of(sk, l->type);
    int r;

    if (!t)
        return -ENOMEM;
    if (atomic_load_explicit(&t->open, memory_order_relaxed)) {
        if (first)
            note_change(sk, t, l->seq, l->recorded_us);
        return 0;
    }
    struct infer_shape_rec *known = infer_find(t->model, l->shape);
    if (known && !l->counted)
        infer_span_add(&known->added, l->seq);
    if (known && !sample)
        return 0;
    if ((r = copy_data(sk, l)) < 0)
        return r;
    if (!known)
        return learn_new(sk, t, l);
    infer_sample(t->model, l->data);
    return 0;
}

/* ---- reading the log ---- */

struct reading {
    struct schemas *sk;
    evs_seq stop;
    uint32_t left;
    int r;
    const struct log_walked *lines; /* of the run that is hashed */
    size_t n;
    type_id types[LOG_WALK_LINES];
    uint64_t shapes[LOG_WALK_LINES];
};

/* infer_shape(), of data that stands in a line. */
static uint64_t shape_of(struct schemas *sk, type_id type, struct slice data)
{
    struct infer_shape_rec *known = NULL;
    struct evs_error err;
    uint64_t outline;

    if (!data.p)
        return infer_shape(no_data);
    /* One byte more, a brace: else a number at the end would not be whole. */
    if (scan_outline(data.p, data.n + 1, SCAN_ANY_LINES, outline_by(), NULL, &outline, &err) > 0)
        known = find_shape(sk, type, data, outline,
                           atomic_load_explicit(&sk->generation, memory_order_relaxed));
    return known ? known->shape : infer_shape(data);
}

static int hash_lines(void *arg)
{
    struct reading *k = arg;

    for (size_t i = 0; i < k->n; i++)
        k->shapes[i] = shape_of(k->sk, k->types[i], k->lines[i].line.data);
    return 0;
}

static int read_lines(void *arg, const struct log_walked *lines, size_t n)
{
    struct reading *k = arg;
    struct schemas *sk = k->sk;

    k->lines = lines;
    k->n = MIN(n, k->stop - sk->next);
    for (size_t i = 0; i < k->n && k->r == 0; i++) {
        struct log_rec rec;
        if ((k->r = log_rec_get(sk->st->lg, lines[i].line.seq, &rec, NULL)) == 0)
            k->types[i] = rec.type;
    }
    if (k->r == 0)
        k->r = io_guarded(hash_lines, k);
    for (size_t i = 0; i < k->n && k->r == 0; i++) {
        const struct line *line = &lines[i].line;
        struct lesson l = {.seq = line->seq,
                           .recorded_us = line->recorded_us,
                           .type = k->types[i],
                           .shape = k->shapes[i],
                           .data = line->data.p ? line->data : no_data,
                           .mapped = true};
        if ((k->r = learn(sk, &l)) == 0)
            sk->next++;
    }
    k->left -= (uint32_t)MIN(k->n, k->left);
    return k->r < 0 || sk->next >= k->stop || k->left == 0;
}

static int read_log(struct schemas *sk)
{
    struct reading k = {.sk = sk, .stop = sk->to, .left = STEP_EVENTS};
    struct evs_error why;
    int r = log_walk(sk->st->lg, sk->next, read_lines, &k, &why);

    if (k.r < 0)
        return k.r;
    return r < 0 ? r : 1;
}

/* ---- reading what is queued ---- */

struct line_copy {
    struct schemas *sk;
    evs_seq seq;
    const struct log_rec *rec;
    struct log_pin *pin;
};

static int copy_line(void *arg)
{
    struct line_copy *c = arg;
    struct slice line;
    int r = log_line(c->sk->st->lg, c->seq, c->pin, &line, NULL);

    if (r < 0)
        return r;
    if (line.n != c->rec->len || !line_crc_ok(line.p, line.n, log_rec_data(c->rec)))
        return -EIO;
    memcpy(c->sk->value, line.p + log_rec_data(c->rec), line.n - log_rec_data(c->rec));
    return 0;
}

static int read_queued(struct schemas *sk, struct lesson *l)
{
    struct log_pin pin = {0};
    struct log_rec rec;
    int r = log_rec_get(sk->st->lg, l->seq, &rec, NULL);

    if (r < 0)
        return r;
    if (rec.len < log_rec_data(&rec) + 2)
        return -EIO;
    if (!room_for(sk, rec.len))
        return -ENOMEM;
    r = io_guarded(copy_line, &(struct line_copy){sk, l->seq, &rec, &pin});
    log_unpin(&pin);
    l->data = (struct slice){sk->value, rec.len - log_rec_data(&rec) - 2}; /* "}\n" */
    return r;
}

static int take_queued(struct schemas *sk)
{
    struct lesson l = {0};
    const struct queued *q = queue_first(&sk->queue, &l.data);
    int r;

    l.seq = q->seq_counted / 2;
    l.counted = q->seq_counted & 1;
    l.recorded_us = q->recorded_us;
    l.type = q->type;
    if (!l.data.p && (r = read_queued(sk, &l)) < 0)
        return r;
    l.shape = shape_of(sk, l.type, l.data);
    return learn(sk, &l);
}

static int read_queue(struct schemas *sk)
{
    int r;

    for (uint32_t i = 0; i < STEP_EVENTS && schemas_queued(sk); i++) {
        if ((r = take_queued(sk)) < 0)
            return r;
        queue_drop(&sk->queue);
    }
    return 1;
}

/* ---- the order of things ---- */

/* Nothing is queued nor to be read: where it goes on. 0: nowhere, all is learned. */
static int go_on(struct schemas *sk)
{
    int more = 0;

    if (sk->stuck || atomic_load_explicit(&sk->live, memory_order_relaxed))
        return 0;
    ingest_lock(sk->st);
    evs_seq end = log_end(sk->st->lg);
    if (schemas_queued(sk)) {
        more = 1; /* filled since, before live ended */
    } else if (!atomic_load_explicit(&sk->live, memory_order_relaxed)) {
        if (sk->off)
            sk->next = sk->off;
        sk->off = 0;
        sk->to = end + 1;
        more = sk->next < sk->to;
        if (sk->running && end + 1 - sk->next <= LIVE_BEHIND)
            atomic_store_explicit(&sk->live, true, memory_order_release);
    }
    ingest_unlock(sk->st);
    return more;
}

void schemas_fail(struct schemas *sk, int r)
{
    if (r == -EBADMSG && atomic_load_explicit(&sk->generation, memory_order_relaxed) == 0) {
        schemas_reset(sk); /* a file of a version is not what it was: the log is */
        return;
    }
    ingest_lock(sk->st);
    atomic_store_explicit(&sk->live, false, memory_order_relaxed);
    ingest_unlock(sk->st);
    get_stuck(sk, schemas_learned(sk) + 1, strerror(-r));
}

int schemas_step(struct schemas *sk)
{
    int r = 0;

    if (sk->stuck)
        return 0;
    if (!sk->checked) {
        r = schemas_check_files(sk);
        sk->checked = r == 0;
    }
    if (r == 0 && sk->next < sk->to)
        r = read_log(sk);
    else if (r == 0 && schemas_queued(sk))
        r = read_queue(sk);
    else if (r == 0 && (r = go_on(sk)) == 0)
        r = schemas_flush_all(sk);
    if (r < 0)
        schemas_fail(sk, r);
    return r < 0 ? !sk->stuck : r;
}

/* Up to where everything is learned. */
evs_seq schemas_learned(const struct schemas *sk)
{
    evs_seq end = log_end(sk->st->lg); /* before live is looked at */
    bool live = atomic_load_explicit(&sk->live, memory_order_relaxed);

    if (sk->next < sk->to)
        return sk->next - 1;
    if (schemas_queued(sk))
        return queue_first_seq(&sk->queue) - 1;
    return live ? end : sk->next - 1;
}

evs_seq schemas_quiesce(struct schemas *sk)
{
    ingest_lock(sk->st);
    if (atomic_load_explicit(&sk->live, memory_order_relaxed))
        end_live(sk, log_end(sk->st->lg) + 1);
    evs_seq off = sk->off;
    ingest_unlock(sk->st);
    while (!sk->stuck && sk->checked && off && (sk->next < sk->to || schemas_queued(sk)))
        (void)schemas_step(sk);
    if (off && !sk->stuck && sk->next == sk->to && !schemas_queued(sk)) {
        ingest_lock(sk->st);
        if (sk->off)
            sk->next = sk->to = sk->off;
        sk->off = 0;
        ingest_unlock(sk->st);
    }
    (void)schemas_flush_all(sk);
    return sk->next - 1;
}

void schemas_leave(struct schemas *sk)
{
    (void)go_on(sk);
    bool wake = sk->running &&
                (sk->next < sk->to || !atomic_load_explicit(&sk->live, memory_order_relaxed));
    schemas_unlock(sk);
    if (wake)
        schemas_wake(sk->st);
}
