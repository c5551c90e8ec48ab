/* SPDX-License-Identifier: MIT */
/* libFuzzer: any cut of an input into writes gives the same events and the same errors as the input in one
 * write. The first bytes choose the file and the cuts. */
#include "fuzz.h"
#include "store/line.h"
#include "store/log.h"

enum { CUTS = 4, HEAD = 1 + CUTS };

struct outcome {
    char *lines; /* owned */
    size_t n;
    bool pending;
    struct evs_error why; /* EVS_OK_: all was taken */
};

static const struct evs_target targets[] = {
    {.kind = EVS_ALL},
    {.kind = EVS_OWN_TYPE, .entity = "e/1", .entity_len = 3, .type = "t", .type_len = 1},
    {.kind = EVS_BELOW, .entity = "e", .entity_len = 1},
    {.kind = EVS_TYPE, .type = "t", .type_len = 1},
};

/* Write pieces that end at cuts (ascending), as a program does: what a short write left is written again. */
static struct outcome feed(const struct evs_target *target, const char *s, size_t n,
                           const size_t *cuts, size_t n_cuts)
{
    const struct evs_options o = {.clock_us = fuzz_clock, .sync_interval_ms = UINT32_MAX};
    const struct evs_cred cred = {.uid = 5};
    struct outcome out = {.why = {.why = EVS_OK_}};
    struct evs_store *st = NULL;
    struct evs_writer *w = NULL;
    size_t at = 0;
    ssize_t r;

    DEMAND(evs_open(":memory:", &o, &st, NULL) == 0);
    DEMAND(evs_writer_new(st, target, "f", &w, NULL) == 0);
    for (size_t i = 0; i <= n_cuts && out.why.why == EVS_OK_; i++) {
        size_t to = i < n_cuts ? cuts[i] : n;
        while (at < to) {
            AUTO_FREE char *piece = malloc(to - at);
            memcpy(piece, s + at, to - at);
            evs_seq end = evs_end(st);
            struct evs_error err = {.why = EVS_OK_};
            r = evs_write(w, piece, to - at, &cred, &err);
            if (r < 0) {
                DEMAND(err.why != EVS_OK_ && err.code == -r && evs_end(st) == end);
                out.why = err;
                break;
            }
            DEMAND(r > 0 && (size_t)r <= to - at);
            at += (size_t)r;
        }
    }
    out.pending = evs_writer_pending(w, NULL) < 0;
    if (out.why.why !=
        EVS_OK_) /* said again, or it was the beginning of what was to come: never taken */
        DEMAND(!out.pending);
    evs_writer_free(w);
    struct evs_stats stats;
    evs_stats(st, &stats);
    DEMAND(stats.pending_bytes == 0 && stats.writers == 0);
    out.lines = fuzz_read(st, &(struct evs_view){.kind = EVS_ALL}, &out.n, &r);
    DEMAND(r == 0);
    DEMAND(evs_close(st, NULL) == 0);
    return out;
}

static struct line line_at(const char *s, size_t n, size_t *ret_n)
{
    const char *lf = memchr(s, '\n', n);
    struct line l;

    DEMAND(lf);
    *ret_n = (size_t)(lf - s) + 1;
    DEMAND(line_parse(s, *ret_n, &l, NULL, NULL) == 0);
    return l;
}

static void same_event(const struct line *a, const struct line *b)
{
    DEMAND(a->seq == b->seq && a->version == b->version && a->tx == b->tx && a->uid == b->uid);
    DEMAND(slice_eq(a->entity, b->entity) && slice_eq(a->type, b->type));
    DEMAND(slice_eq(a->time, b->time) && slice_eq(a->data, b->data));
    DEMAND((a->meta.p != NULL) == (b->meta.p != NULL) && slice_eq(a->meta, b->meta));
    /* A store's own id has its key in it. */
    DEMAND(slice_eq(a->id, b->id) ||
           (line_id_seq(a->id) == a->seq && line_id_seq(b->id) == b->seq));
}

static void compare(const struct outcome *whole, const struct outcome *cut)
{
    size_t i = 0, k = 0, an, bn;

    while (i < whole->n && k < cut->n) {
        struct line a = line_at(whole->lines + i, whole->n - i, &an);
        struct line b = line_at(cut->lines + k, cut->n - k, &bn);
        same_event(&a, &b);
        i += an;
        k += bn;
    }
    DEMAND(i == whole->n && k == cut->n);
    if (whole->why.why == EVS_OK_) {
        DEMAND(cut->why.why == EVS_OK_ && cut->pending == whole->pending);
        return;
    }
    /* What arrives in pieces is judged when its end has come, or what makes the end unfindable. */
    if (cut->why.why == EVS_OK_)
        DEMAND(cut->pending);
    else
        DEMAND(cut->why.why == whole->why.why);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    size_t cuts[CUTS], n_cuts = 0;

    if (size <= HEAD || size > 1 << 14)
        return 0;
    const struct evs_target *target = &targets[data[0] % ARRAY_LEN(targets)];
    const size_t n = size - HEAD;
    const char *s = (const char *)data + HEAD;
    /* In the first 254 bytes, or spread over all of them; 255 is none. */
    for (int i = 0; i < CUTS; i++) {
        size_t c = data[1 + i], at = n > 254 && (data[0] & 16) ? c * n / 254 : c;
        if (c < 255 && at > (n_cuts ? cuts[n_cuts - 1] : 0) && at < n)
            cuts[n_cuts++] = at;
    }
    struct outcome whole = feed(target, s, n, NULL, 0), cut = feed(target, s, n, cuts, n_cuts);
    compare(&whole, &cut);
    free(cut.lines);
    if (data[0] & 32 && n < 200) {
        size_t each[200];
        for (size_t i = 0; i + 1 < n; i++)
            each[i] = i + 1;
        cut = feed(target, s, n, each, n - 1);
        compare(&whole, &cut);
        free(cut.lines);
    }
    free(whole.lines);
    return 0;
}
