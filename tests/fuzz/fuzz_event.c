/* SPDX-License-Identifier: MIT */
/* libFuzzer: what event_scan() promises whatever it reads; and that the line made of an event is taken apart to
 * the same event, by line_parse() and, poured into another store, by event_scan(). */
#include "fuzz.h"
#include "store/clock.h"
#include "store/event.h"
#include "store/limits.h"
#include "store/line.h"
#include "store/scan.h"

/* A name is what the checks of names accept, and survives being written. */
static void check_name(struct slice name, bool escape, size_t limit)
{
    if (!name.p)
        return;
    DEMAND(name.n > 0 && name.n <= limit);
    DEMAND(event_check_entity(name, 0, NULL) == 0);
    DEMAND(escape == event_needs_escape(name));
    char text[6 * LIMIT_ENTITY_BYTES + 2], back[sizeof text];
    size_t n = scan_encode(name, text + 1);
    DEMAND(escape || n == name.n);
    text[0] = text[n + 1] = '"';
    DEMAND(scan_decode((struct slice){text, n + 2}, back, NULL) == name.n);
    DEMAND(memcmp(back, name.p, name.n) == 0);
}

/* JSON, whose line breaks are known. */
static void check_json(struct slice v, bool breaks)
{
    bool seen = false;
    struct evs_error err;

    if (!v.p)
        return;
    DEMAND(scan_whole(v.p, v.n, &err) == 0);
    for (size_t i = 0; i < v.n; i++)
        seen |= v.p[i] == '\n' || v.p[i] == '\r';
    DEMAND(seen == breaks);
}

static void check_event(const char *s, size_t n, ssize_t r, const struct event *ev)
{
    bool breaks;
    int64_t us;

    DEMAND((size_t)r <= n && (size_t)r <= LIMIT_VALUE_BYTES);
    DEMAND(scan_value(s, n, 0, &breaks, NULL) == r);
    check_name(ev->entity, ev->entity_escape, LIMIT_ENTITY_BYTES);
    check_name(ev->type, ev->type_escape, LIMIT_TYPE_BYTES);
    check_name(ev->id, ev->id_escape, LIMIT_ID_BYTES);
    DEMAND(!ev->time.p || clock_parse(ev->time, &us) == 0);
    check_json(ev->meta, ev->meta_breaks);
    check_json(ev->data, ev->data_breaks);
    DEMAND(!ev->meta.p || ev->meta.p[0] == '{');
    DEMAND(!ev->data.p || (ev->data.p > s && ev->data.p + ev->data.n < s + r)); /* as written */
}

/* As stored: a CR or LF of what was given is a blank. */
static void same_json(struct slice given, struct slice stored)
{
    DEMAND((given.p != NULL) == (stored.p != NULL) && given.n == stored.n);
    for (size_t i = 0; i < given.n; i++) {
        char c = given.p[i] == '\n' || given.p[i] == '\r' ? ' ' : given.p[i];
        DEMAND(stored.p[i] == c);
    }
}

static void same_name(struct slice given, struct slice raw, bool escape)
{
    char text[6 * LIMIT_ENTITY_BYTES + 2];
    size_t n = raw.n;

    DEMAND(escape == event_needs_escape(given) && raw.n + 2 <= sizeof text);
    if (escape) /* the quotes stand around it */
        n = scan_decode((struct slice){raw.p - 1, raw.n + 2}, text, NULL);
    DEMAND(slice_eq((struct slice){escape ? text : raw.p, n}, given));
}

static const struct slice json_null = {"null", 4};

/* What another store makes of the line. */
static void check_poured(const char *text, size_t n, const struct line *l, struct slice time)
{
    struct event ev = {.pos = 0};
    struct scratch sc;

    if (n > LIMIT_VALUE_BYTES)
        return;
    scratch_init(&sc);
    DEMAND(event_scan(text, n, 0, &sc, &ev, NULL) == (ssize_t)n - 1);
    DEMAND(slice_eq(ev.entity, l->entity) && slice_eq(ev.type, l->type));
    DEMAND((!l->id.p || slice_eq(ev.id, l->id)) && slice_eq(ev.time, time));
    same_json(l->meta, ev.meta);
    same_json(l->data.p ? l->data : json_null, ev.data);
    scratch_done(&sc);
}

static void check_line(const struct event *ev)
{
    struct line_memo memo = {0};
    struct line l = {.seq = 7,
                     .version = 3,
                     .recorded_us = fuzz_clock(NULL),
                     .id = ev->id,
                     .time = ev->time,
                     .entity = ev->entity.p ? ev->entity : (struct slice){"e", 1},
                     .type = ev->type.p ? ev->type : (struct slice){"t", 1},
                     .meta = ev->meta,
                     .data = ev->data,
                     .entity_escape = ev->entity_escape,
                     .type_escape = ev->type_escape,
                     .id_escape = ev->id_escape,
                     .meta_breaks = ev->meta_breaks,
                     .data_breaks = ev->data_breaks};
    struct line back;
    uint32_t data, crc;
    const size_t bound = line_bound(&l);
    AUTO_FREE char *room = malloc(bound);
    const size_t n = line_write(&l, &memo, room, &data, &crc);

    DEMAND(n <= bound);
    AUTO_FREE char *text = malloc(n);
    memcpy(text, room, n);
    DEMAND(line_parse(text, n, &back, &data, &crc) == 0 && line_crc_ok(text, n, data));
    DEMAND(back.seq == 7 && back.version == 3 && back.recorded_us == l.recorded_us);
    same_name(l.entity, back.entity, back.entity_escape);
    same_name(l.type, back.type, back.type_escape);
    if (l.id.p)
        same_name(l.id, back.id, back.id_escape);
    DEMAND(!l.time.p || slice_eq(back.time, l.time));
    same_json(l.meta, back.meta);
    same_json(l.data.p ? l.data : json_null, back.data);
    DEMAND(scan_whole(text, n, NULL) == 0);
    check_poured(text, n, &l, back.time);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct event ev = {.pos = 0};
    struct evs_error err = {.pos = 0};
    struct scratch sc;

    if (size == 0 || size > 1 << 16)
        return 0;
    AUTO_FREE char *s = malloc(size);
    memcpy(s, data, size);
    scratch_init(&sc);
    ssize_t r = event_scan(s, size, 0, &sc, &ev, &err);
    if (r > 0) {
        check_event(s, size, r, &ev);
        check_line(&ev);
    }
    if (r < 0)
        DEMAND(err.pos <= size && err.why != EVS_OK_ && err.code == -r);
    if (r == 0)
        DEMAND(scan_value(s, size, 0, NULL, NULL) == 0);
    struct evs_error json = {.pos = 0}; /* what is not JSON is no event, and not blamed later */
    if (scan_value(s, size, 0, NULL, &json) < 0)
        DEMAND(r < 0 && err.pos <= json.pos);
    scratch_done(&sc);
    return 0;
}
