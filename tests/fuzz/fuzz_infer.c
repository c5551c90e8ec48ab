/* SPDX-License-Identifier: MIT */
/* libFuzzer: a model of values, one a line, whose schema must take them all by the validator's word; or, if the
 * first byte is a NUL, of bytes that infer_save() may have written, or not. */
#include "fuzz.h"
#include "store/infer.h"
#include "store/jsonschema.h"
#include "store/scan.h"

#include <errno.h>

static struct infer *merge_lines(const char *p, const char *end, struct js_schema *s)
{
    struct infer *m = NULL;
    evs_seq seq = 0;

    DEMAND(infer_new(&m) == 0);
    while (p < end) {
        const char *lf = memchr(p, '\n', (size_t)(end - p));
        size_t n = (size_t)((lf ? lf : end) - p);
        AUTO_FREE char *json = malloc(n + 1);
        memcpy(json, p, n);
        p = lf ? lf + 1 : end;
        while (n > 0 && scan_is_space(json[n - 1]))
            n--;
        if (n == 0 || scan_is_space(json[0]) || scan_whole(json, n, NULL) < 0)
            continue;
        const struct slice v = {json, n};
        if (s) {
            DEMAND(js_validate(s, v, NULL) == 1);
            continue;
        }
        const uint64_t shape = infer_shape(v);
        const bool known = infer_find(m, shape);
        const int r = infer_add(m, v, shape, ++seq);
        DEMAND(r == 0 || (r == 1 && !known));
        DEMAND(infer_count(m) == seq);
    }
    return m;
}

/* The schema is one, and the model is what it was after it was saved and loaded. */
static struct js_schema *check(struct infer *m)
{
    const struct js_options o = {.assert_format = true};
    struct js_schema *s = NULL;
    struct infer *again = NULL;
    char *text, *bytes, *more;
    size_t n, k, more_n;

    DEMAND(infer_schema(m, NULL, &text, &n) == 0);
    DEMAND(scan_whole(text, n, NULL) == 0);
    const int r = js_compile((struct slice){text, n}, &o, &s, NULL);
    DEMAND(r == 0 || r == -E2BIG);
    free(text);
    DEMAND(infer_save(m, &bytes, &k) == 0);
    DEMAND(infer_load((struct slice){bytes, k}, &again) == 0);
    DEMAND(infer_save(again, &more, &more_n) == 0);
    DEMAND(more_n == k && memcmp(more, bytes, k) == 0);
    DEMAND(infer_count(again) == infer_count(m));
    infer_free(again);
    free(bytes), free(more);
    return s;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char value[] = "{\"a\":[{\"b\":\"2026-01-01\"},1.5,null],\"17\":{}}";
    const char *p = (const char *)data;
    struct infer *m = NULL;

    if (size == 0 || size > 1 << 14)
        return 0;
    if (*p == '\0') {
        const int r = infer_load((struct slice){p + 1, size - 1}, &m);
        DEMAND(r == 0 || r == -EBADMSG);
        if (r < 0)
            return 0;
        js_free(check(m));
        const struct slice v = {value, sizeof value - 1};
        DEMAND(infer_add(m, v, infer_shape(v), 7) >= 0);
    } else {
        m = merge_lines(p, p + size, NULL);
    }
    struct js_schema *s = check(m);
    infer_free(m);
    if (s && *p)
        infer_free(merge_lines(p, p + size, s));
    js_free(s);
    return 0;
}
