/* SPDX-License-Identifier: MIT */
/* lost: (1) An entity whose versions go from v to v + 1 + n around lost events has lost n of them there: each such
 * gap is n jobs, to be done by lost events between two lines. What really was is one way to do them all.
 * (2) So is every way that takes the earliest deadline first (Jackson 1955): lost events in order, each does the
 * job among those that have begun whose gap ends first.
 * (3) What the checkpoint's index or the damaged line's own text says goes before (2), if it fits: the entity has
 * a gap there, or no later line. If the jobs can't be done then, the text is not believed; then neither the
 * index.
 * (4) An event for which no job is left may have been the newest of any entity: it becomes one of an entity of
 * its own, for each run of them one. */
#include "lost.h"

#include "scan.h"
#include "limits.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>

struct job {
    entity_id e;
    evs_seq begin, end; /* the lines around the gap */
    uint64_t version;   /* the next one to give */
    uint64_t left;
};

struct state { /* of an entity */
    uint64_t version;
    evs_seq last;
    size_t job; /* the newest one of it that has begun, plus 1 */
};

struct hint {
    entity_id e; /* 0: none */
    bool from_text;
};

struct assign {
    struct survey *s;
    struct index *ix; /* only for the names */
    struct state *of;
    size_t n_of;
    struct job *jobs; /* in order of their ends */
    size_t n_jobs, cap_jobs;
    struct hint *hints;
    uint32_t *heap; /* of jobs that have begun: the first end on top */
    size_t n_heap;
    struct lost_event *out;
    struct evs_error *err;
};

/* ---- names ---- */

/* raw stands between its quotes. */
static struct slice decoded(struct slice raw, bool escape, char *room)
{
    if (!escape)
        return raw;
    return (struct slice){room, scan_decode((struct slice){raw.p - 1, raw.n + 2}, room, NULL)};
}

static entity_id intern(struct assign *a, struct slice id) UNANALYSED;
static entity_id intern(struct assign *a, struct slice id)
{
    if (!index_has_room(a->ix, 1))
        return 0;
    entity_id e = index_intern_entity(a->ix, id, index_entity_hash(id));

    if (e >= a->n_of) {
        size_t n = MAX(2 * a->n_of, e + (size_t)1024);
        struct state *p = reallocarray(a->of, n, sizeof *p);
        if (!p)
            return 0;
        memset(p + a->n_of, 0, (n - a->n_of) * sizeof *p);
        a->of = p;
        a->n_of = n;
    }
    return e;
}

/* ---- the lines that are there ---- */

static int take_line(struct assign *a, const struct line *l)
{
    char room[6 * LIMIT_ENTITY_BYTES + 2];

    if (l->entity.n > 6 * LIMIT_ENTITY_BYTES)
        return evs_fail_at(a->err, EVS_DAMAGED, EVS_NOWHERE, "event %" PRIu64, l->seq);
    entity_id e = intern(a, decoded(l->entity, l->entity_escape, room));
    if (!e)
        return evs_fail(a->err, EVS_NO_MEMORY, EVS_NOWHERE);
    struct state *of = &a->of[e];
    if (l->version <= of->version)
        return evs_fail_at(a->err, EVS_DAMAGED, EVS_NOWHERE,
                           "event %" PRIu64 " has version %" PRIu64 " again", l->seq, l->version);
    if (l->version > of->version + 1) {
        if (a->n_jobs == a->cap_jobs) {
            size_t cap = MAX(2 * a->cap_jobs, (size_t)64);
            struct job *p = reallocarray(a->jobs, cap, sizeof *p);
            if (!p)
                return evs_fail(a->err, EVS_NO_MEMORY, EVS_NOWHERE);
            a->jobs = p;
            a->cap_jobs = cap;
        }
        a->jobs[a->n_jobs++] = (struct job){.e = e,
                                            .begin = of->last,
                                            .end = l->seq,
                                            .version = of->version + 1,
                                            .left = l->version - of->version - 1};
    }
    of->version = l->version;
    of->last = l->seq;
    return 0;
}

static int take_file(struct assign *a, const struct survey_piece *p)
{
    struct slice b;
    struct line l;
    int r = survey_bytes(a->s, p->file, &b, a->err);
    const char *at = b.p;

    for (evs_seq seq = p->first; r == 0 && seq < p->end; seq++) {
        const char *lf = memchr(at, '\n', (size_t)(b.p + b.n - at));
        if (!lf || line_parse(at, (size_t)(lf + 1 - at), &l, NULL, NULL) < 0)
            return evs_fail_at(a->err, EVS_DAMAGED, (uint64_t)(at - b.p), "log/%s",
                               a->s->files[p->file].name); /* it has changed since */
        r = take_line(a, &l);
        at = lf + 1;
    }
    return r;
}

static int take_all(struct assign *a)
{
    struct survey_room room = {0};
    struct slice raw;
    struct line line;
    int r = 0;

    for (size_t i = 0; r == 0 && i < a->s->n_pieces; i++) {
        const struct survey_piece *p = &a->s->pieces[i];
        if (p->good) {
            r = take_file(a, p);
            continue;
        }
        for (evs_seq seq = p->first; r == 0 && seq < p->end; seq++) {
            const struct survey_line *l = survey_line(a->s, seq);
            if (l)
                r = survey_parse(a->s, l, &room, &line, &raw, a->err);
            if (l && r == 0)
                r = take_line(a, &line);
        }
    }
    free(room.p);
    return r;
}

/* ---- hints ---- */

static size_t find_lost(const struct survey *s, evs_seq seq)
{
    size_t low = 0, high = s->n_lost;

    while (low < high) {
        size_t mid = low + (high - low) / 2;
        if (s->lost[mid].seq < seq)
            low = mid + 1;
        else
            high = mid;
    }
    return low < s->n_lost && s->lost[low].seq == seq ? low : SIZE_MAX;
}

/* Those of the first n in the set that are lost. */
static void each_lost(struct assign *a, const struct index *kept, const struct set *s, uint32_t n,
                      evs_seq to, void (*fn)(struct assign *a, size_t lost, const void *arg),
                      const void *arg)
{
    struct lengths none = {0};
    struct posting it;

    if (n == 0 || atomic_load_explicit(&s->last, memory_order_relaxed) < a->s->lost[0].seq)
        return;
    postings_seek_seq(&kept->a, s, n, 0, &none, &it);
    while (it.ordinal < it.limit && it.seq <= to) {
        size_t k = find_lost(a->s, it.seq);
        if (k != SIZE_MAX)
            fn(a, k, arg);
        postings_next(&kept->a, &it, 0);
    }
}

static void hint_entity(struct assign *a, size_t lost, const void *arg)
{
    a->hints[lost] = (struct hint){intern(a, *(const struct slice *)arg), false};
}

static void hint_type(struct assign *a, size_t lost, const void *arg)
{
    const struct slice *type = arg;

    if (!a->out[lost].type)
        a->out[lost].type = strndup(type->p, type->n);
}

static void hints_of_index(struct assign *a, const struct index *kept, evs_seq to)
{
    size_t n = kept->a.sets.used / sizeof(struct set);
    char room[LIMIT_ENTITY_BYTES];

    for (entity_id e = EVS_ROOT + 1; e < n; e++) {
        if (!index_entity_valid(kept, e))
            continue;
        const struct set *s = index_set(kept, e), *own = NULL;
        uint32_t first = atomic_load_explicit(&s->n, memory_order_relaxed);
        if (atomic_load_explicit(&s->flags, memory_order_relaxed) & SET_BELOW) {
            uint32_t o = atomic_load_explicit(&s->own, memory_order_relaxed);
            own = o ? index_set(kept, o) : NULL;
            first = own ? atomic_load_explicit(&own->child, memory_order_relaxed) : 0;
        }
        int len = index_entity_name(kept, e, room, sizeof room);
        if (len <= 0)
            continue;
        const struct slice id = {room, (size_t)len};
        each_lost(a, kept, s, first, to, hint_entity, &id);
        if (own)
            each_lost(a, kept, own, atomic_load_explicit(&own->n, memory_order_relaxed), to,
                      hint_entity, &id);
    }
    for (type_id t = 1; t <= index_type_count(kept); t++) {
        const struct slice type = index_type_name(kept, t);
        const struct set *s = index_type_set(kept, t);
        each_lost(a, kept, s, atomic_load_explicit(&s->n, memory_order_relaxed), to, hint_type,
                  &type);
    }
}

/* What stands between two pieces of the text; p NULL: they are not there. */
static struct slice between(struct slice text, const char *from, const char *to)
{
    const char *p = memmem(text.p, text.n, from, strlen(from));

    if (!p)
        return (struct slice){0};
    p += strlen(from);
    const char *e = memmem(p, (size_t)(text.p + text.n - p), to, strlen(to));
    return e ? (struct slice){p, (size_t)(e - p)} : (struct slice){0};
}

/* What is left of a line up to where a writer's own bytes may begin, in which anything may stand. */
static struct slice before_data(const char *p, size_t n)
{
    static const char *const ends[] = {",\"meta\":", ",\"crc\":\"", ",\"data\":"};
    size_t k = 0;

    while (k < n && (unsigned char)p[k] >= 0x20) /* damage: what is behind it may be data */
        k++;
    for (size_t i = 0; i < ARRAY_LEN(ends); i++) {
        const char *e = memmem(p, k, ends[i], strlen(ends[i]));
        k = e ? (size_t)(e - p) + 2 : k; /* with what ends the value before */
    }
    return (struct slice){p, k};
}

static bool plain(struct slice s, size_t max)
{
    for (size_t i = 0; i < s.n; i++)
        if ((unsigned char)s.p[i] < 0x20 || s.p[i] == '\\' || s.p[i] == '"')
            return false;
    return s.n > 0 && s.n <= max;
}

/* Of an entity that the log has: a damaged name must not make a new one. */
static void hints_of_text(struct assign *a)
{
    struct slice b, name;

    for (size_t i = 0; i < a->s->n_lost; i++) {
        const struct survey_lost *l = &a->s->lost[i];
        if (!l->its_own)
            continue;
        const struct survey_bad *bad = &a->s->bad[l->bad];
        if (survey_bytes(a->s, bad->file, &b, NULL) < 0)
            continue;
        struct slice text = before_data(b.p + bad->at, (size_t)bad->n);
        name = between(text, ",\"entity\":\"", "\",\"type\":\"");
        if (!a->hints[i].e && plain(name, LIMIT_ENTITY_BYTES)) {
            entity_id e = index_find_entity(a->ix, name, index_entity_hash(name));
            a->hints[i] = (struct hint){e && e < a->n_of && a->of[e].last ? e : 0, true};
        }
        name = between(text, "\",\"type\":\"", "\",\"version\":");
        if (!a->out[i].type && plain(name, LIMIT_TYPE_BYTES))
            a->out[i].type = strndup(name.p, name.n);
        name = between(text, ",\"tx\":", ",\"");
        if (name.n > 0 && name.n < 6 && strspn(name.p, "0123456789") == name.n)
            a->out[i].tx = (uint32_t)strtoul(name.p, NULL, 10);
    }
}

/* ---- who does which job ---- */

static void heap_push(struct assign *a, uint32_t job)
{
    size_t i = a->n_heap++;

    for (; i > 0 && a->heap[(i - 1) / 2] > job; i = (i - 1) / 2)
        a->heap[i] = a->heap[(i - 1) / 2];
    a->heap[i] = job;
}

static void heap_pop(struct assign *a)
{
    uint32_t job = a->heap[--a->n_heap];
    size_t i = 0, c;

    while ((c = 2 * i + 1) < a->n_heap) {
        c += c + 1 < a->n_heap && a->heap[c + 1] < a->heap[c];
        if (job <= a->heap[c])
            break;
        a->heap[i] = a->heap[c];
        i = c;
    }
    a->heap[i] = job;
}

struct begun { /* jobs by their beginning */
    evs_seq begin;
    uint32_t job;
};

static int by_begin(const void *x, const void *y)
{
    const struct begun *a = x, *b = y;

    return a->begin != b->begin ? (a->begin > b->begin) - (a->begin < b->begin)
                                : (a->job > b->job) - (a->job < b->job);
}

static int give(struct assign *a, size_t i, entity_id e, uint64_t version)
{
    char room[LIMIT_ENTITY_BYTES];
    int n = index_entity_name(a->ix, e, room, sizeof room);

    free(a->out[i].entity);
    a->out[i].entity = n > 0 ? strndup(room, (size_t)n) : NULL;
    a->out[i].version = version;
    a->out[i].unknown = false;
    return a->out[i].entity ? 0 : -ENOMEM;
}

/* By its hint, if that fits. 1: done. */
static int give_hinted(struct assign *a, size_t i, struct job *jobs, struct state *of)
{
    evs_seq seq = a->s->lost[i].seq;
    entity_id e = a->hints[i].e;
    struct job *j = of[e].job ? &jobs[of[e].job - 1] : NULL;
    int r;

    if (j && j->left && j->end > seq) {
        j->left--;
        r = give(a, i, e, j->version++);
    } else if (of[e].last < seq) {
        r = give(a, i, e, ++of[e].version);
    } else {
        return 0;
    }
    return r < 0 ? r : 1;
}

/* A name for run that nobody has events under: a writer may have taken the first ones. */
static void unknown_name(const struct assign *a, evs_seq run, char out[64])
{
    for (unsigned k = 0;; k++) {
        int n =
            snprintf(out, 64, k ? LOST_ENTITY "/%" PRIu64 ".%u" : LOST_ENTITY "/%" PRIu64, run, k);
        const struct slice name = {out, (size_t)n};
        if (!index_find_entity(a->ix, name, index_entity_hash(name)))
            return;
    }
}

static int give_unknown(struct assign *a, size_t i, evs_seq *run, uint64_t *version)
{
    char name[64];

    if (i == 0 || a->s->lost[i - 1].seq + 1 != a->s->lost[i].seq || !a->out[i - 1].unknown) {
        *run = a->s->lost[i].seq;
        *version = 0;
    }
    unknown_name(a, *run, name);
    free(a->out[i].entity);
    a->out[i].entity = strdup(name);
    a->out[i].version = ++*version;
    a->out[i].unknown = true;
    return a->out[i].entity ? 0 : -ENOMEM;
}

/* trust: 2 all hints, 1 those of the index, 0 none. 1: all is done; 0: some job is not. */
static int schedule(struct assign *a, int trust, struct job *jobs, struct state *of,
                    const struct begun *order)
{
    size_t next = 0;
    evs_seq run = 0;
    uint64_t version = 0;
    int r = 0;

    a->n_heap = 0;
    for (size_t i = 0; r >= 0 && i < a->s->n_lost; i++) {
        evs_seq seq = a->s->lost[i].seq;
        for (; next < a->n_jobs && order[next].begin < seq; next++) {
            heap_push(a, order[next].job);
            of[jobs[order[next].job].e].job = order[next].job + (size_t)1;
        }
        while (a->n_heap && jobs[a->heap[0]].left == 0)
            heap_pop(a);
        if (a->n_heap && jobs[a->heap[0]].end < seq)
            return 0;
        r = 0;
        if (a->hints[i].e && trust > a->hints[i].from_text)
            r = give_hinted(a, i, jobs, of);
        if (r == 0 && a->n_heap) {
            struct job *j = &jobs[a->heap[0]];
            j->left--;
            r = give(a, i, j->e, j->version++);
        } else if (r == 0) {
            r = give_unknown(a, i, &run, &version);
        }
    }
    for (size_t i = 0; r >= 0 && i < a->n_jobs; i++)
        if (jobs[i].left)
            return 0;
    return r < 0 ? r : 1;
}

static int fail_gap(struct assign *a)
{
    const struct job *j = &a->jobs[0];
    char room[LIMIT_ENTITY_BYTES];
    int n = index_entity_name(a->ix, j->e, room, sizeof room);

    return evs_fail_at(a->err, EVS_DAMAGED, EVS_NOWHERE,
                       "versions of %.*s are missing before event %" PRIu64
                       ", and no lost event explains it",
                       MAX(MIN(n, 60), 0), room, j->end);
}

static int solve(struct assign *a)
{
    struct job *jobs AUTO_FREE = calloc(a->n_jobs + 1, sizeof *jobs);
    struct state *of AUTO_FREE = calloc(a->n_of + 1, sizeof *of);
    struct begun *order AUTO_FREE = calloc(a->n_jobs + 1, sizeof *order);
    int r = 0;

    a->heap = calloc(a->n_jobs + 1, sizeof *a->heap);
    if (!jobs || !of || !order || !a->heap)
        return evs_fail(a->err, EVS_NO_MEMORY, EVS_NOWHERE);
    for (size_t i = 0; i < a->n_jobs; i++)
        order[i] = (struct begun){a->jobs[i].begin, (uint32_t)i};
    qsort(order, a->n_jobs, sizeof *order, by_begin);
    for (int trust = 2; r == 0 && trust >= 0; trust--) {
        if (a->n_jobs) /* else a->jobs is NULL, which memcpy() takes not even for nothing */
            memcpy(jobs, a->jobs, a->n_jobs * sizeof *jobs);
        if (a->n_of)
            memcpy(of, a->of, a->n_of * sizeof *of);
        r = schedule(a, trust, jobs, of, order);
    }
    return r < 0 ? evs_fail(a->err, EVS_NO_MEMORY, EVS_NOWHERE) : r == 0 ? fail_gap(a) : 0;
}

int lost_assign(struct survey *s, const struct index *kept, evs_seq kept_to,
                struct lost_event **ret, struct evs_error *err)
{
    struct assign a = {.s = s, .err = err};
    int r = index_new(&a.ix, err);

    if (r < 0)
        return r;
    a.hints = calloc(s->n_lost + 1, sizeof *a.hints);
    a.out = calloc(s->n_lost + 1, sizeof *a.out);
    r = a.hints && a.out ? take_all(&a) : evs_fail(err, EVS_NO_MEMORY, EVS_NOWHERE);
    if (r == 0 && kept && s->n_lost)
        hints_of_index(&a, kept, kept_to);
    if (r == 0) {
        hints_of_text(&a);
        r = solve(&a);
    }
    if (r == 0)
        *ret = TAKE(a.out);
    lost_free(a.out, s->n_lost);
    free(a.hints);
    free(a.heap);
    free(a.jobs);
    free(a.of);
    index_free(a.ix);
    return r;
}

void lost_free(struct lost_event *v, size_t n)
{
    for (size_t i = 0; v && i < n; i++) {
        free(v[i].entity);
        free(v[i].type);
    }
    free(v);
}
