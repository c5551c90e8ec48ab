/* SPDX-License-Identifier: MIT */
/* libFuzzer: what event_scan() promises whatever it reads. */
#include "store/clock.h"
#include "store/event.h"
#include "store/limits.h"
#include "store/scan.h"

#include <stdio.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define DEMAND(cond)                                                                               \
    do {                                                                                           \
        if (!(cond)) {                                                                             \
            fprintf(stderr, "%s:%d: not so: %s\n", __FILE__, __LINE__, #cond);                     \
            abort();                                                                               \
        }                                                                                          \
    } while (0)

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
    if (r > 0)
        check_event(s, size, r, &ev);
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
