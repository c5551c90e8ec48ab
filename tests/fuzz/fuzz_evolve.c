/* SPDX-License-Identifier: MIT */
/* libFuzzer: two schemas, one a line, and values. Where evolve_diff() says that one takes all that the other
 * does, no value says otherwise. */
#include "fuzz.h"
#include "store/evolve.h"
#include "store/jsonschema.h"
#include "store/scan.h"

#include <errno.h>
#include <jansson.h>

/* The next line, without white space around it. */
static struct slice line(const char **p, const char *end)
{
    const char *from = *p, *lf = memchr(from, '\n', (size_t)(end - from)), *to = lf ? lf : end;

    *p = lf ? lf + 1 : end;
    while (to > from && scan_is_space(to[-1]))
        to--;
    while (from < to && scan_is_space(*from))
        from++;
    return (struct slice){from, (size_t)(to - from)};
}

static void check_output(const struct evolve *e)
{
    char *p;
    size_t n;

    DEMAND(evolve_json(e, &p, &n) == 0);
    json_t *j = json_loadb(p, n, 0, NULL);
    DEMAND(j && !memchr(p, '\n', n));
    json_decref(j);
    free(p);
    DEMAND(evolve_text(e, &p, &n) == 0);
    free(p);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const struct js_options o = {.assert_format = true};
    const char *p = (const char *)data, *end = p + size;
    struct js_schema *old = NULL, *new = NULL;
    struct evolve e;

    if (size == 0 || size > 1 << 13)
        return 0;
    const struct slice from = line(&p, end), to = line(&p, end);
    const int r = evolve_diff(from, to, 0, &e);
    DEMAND(r == 0 || r == -EINVAL);
    if (r < 0)
        return 0;
    check_output(&e);
    if (js_compile(from, &o, &old, NULL) == 0 && js_compile(to, &o, &new, NULL) == 0) {
        while (p < end) {
            const struct slice v = line(&p, end);
            if (v.n == 0 || scan_whole(v.p, v.n, NULL) < 0)
                continue;
            const int a = js_validate(old, v, NULL), b = js_validate(new, v, NULL);
            DEMAND(!e.backward.holds || a != 1 || b != 0);
            DEMAND(!e.forward.holds || b != 1 || a != 0);
        }
    }
    js_free(old);
    js_free(new);
    evolve_done(&e);
    return 0;
}
