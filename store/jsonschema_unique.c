/* SPDX-License-Identifier: MIT */
/* uniqueItems: a hash table of the elements, so that ten thousand of them are quick. */
#include "jsonschema_run.h"

#include "limits.h"

#include <errno.h>

struct element {
    uint64_t hash;
    struct slice value; /* p NULL: free */
};

enum { FEW = 32 };

/* The table has a power of two of slots, at most half of which are taken. */
static bool add(struct js_run *r, const struct js_node *n, struct element *table, size_t mask,
                struct slice v)
{
    const uint64_t hash = js_value_hash(v);
    size_t i = hash & mask;

    r->work += 1 + v.n / 64;
    for (; table[i].value.p; i = (i + 1) & mask) {
        const bool hit = table[i].hash == hash;
        r->work += 1 + (hit ? v.n / 16 : 0); /* somebody may have sought values that meet here */
        if (r->work > LIMIT_SCHEMA_WORK)
            return js_overworked(r, n);
        if (!hit)
            continue;
        const int same = js_value_equal(table[i].value, v);
        if (same < 0)
            r->stopped = same;
        if (same < 0)
            return false;
        if (same)
            return js_invalid(r, n, "uniqueItems", "two elements are equal: %.*s",
                              (int)MIN(v.n, 100), v.p);
    }
    table[i] = (struct element){hash, v};
    return true;
}

bool js_eval_unique(struct js_run *r, const struct js_node *n, const char *p)
{
    const struct slice array = {p, (size_t)(r->end - p)};
    struct element few[FEW], *table = few;
    AUTO_FREE struct element *many = NULL;
    struct slice v;
    size_t count = 0, pos = 0, slots = FEW;
    bool ok = true;

    while (scan_element(array, &pos, &v))
        count++;
    while (slots < 2 * count)
        slots *= 2;
    if (slots > FEW) {
        many = table = calloc(slots, sizeof *many);
        if (!many) {
            r->stopped = -ENOMEM;
            return false;
        }
    } else {
        memset(few, 0, sizeof few);
    }
    pos = 0;
    while (ok && scan_element(array, &pos, &v))
        ok = add(r, n, table, slots - 1, v);
    return ok;
}
