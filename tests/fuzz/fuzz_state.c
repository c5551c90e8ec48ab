/* SPDX-License-Identifier: MIT */
/* libFuzzer: the merge of values, one a line, against RFC 7386 done with jansson. */
#include "fuzz.h"
#include "store/scan.h"
#include "store/state.h"

#include <jansson.h>

static json_t *merge(json_t *target, json_t *patch) /* RFC 7386, section 2, word for word */
{
    const char *key;
    size_t key_n;
    json_t *value;

    if (!json_is_object(patch)) {
        json_decref(target);
        return json_incref(patch);
    }
    if (!json_is_object(target)) {
        json_decref(target);
        target = json_object();
    }
    json_object_keylen_foreach(patch, key, key_n, value)
    {
        json_t *old = json_object_getn(target, key, key_n);
        if (json_is_null(value))
            (void)json_object_deln(target, key, key_n);
        else
            json_object_setn_new(target, key, key_n, merge(json_incref(old), value));
    }
    return target;
}

static json_t *load(const char *p, size_t n)
{
    return json_loadb(p, n, JSON_DECODE_ANY | JSON_ALLOW_NUL, NULL);
}

/* Does the text hold an object with a key twice outside of arrays? Each is a patch of its own then: RFC 7386
 * says nothing of it, and jansson has dropped the first. */
static bool has_twice(const char *p, size_t n)
{
    json_t *j = json_loadb(p, n, JSON_DECODE_ANY | JSON_ALLOW_NUL | JSON_REJECT_DUPLICATES, NULL);

    json_decref(j);
    return !j;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct state *s = NULL;
    json_t *model = NULL;
    bool judge = true; /* jansson takes all that we do */
    char *text;
    size_t n;

    if (size > 1 << 14)
        return 0;
    DEMAND(state_new(&s, NULL) == 0);
    const char *p = (const char *)data, *end = p + size;
    while (p < end) {
        const char *lf = memchr(p, '\n', (size_t)(end - p));
        const size_t len = (size_t)((lf ? lf : end) - p);
        AUTO_FREE char *json = malloc(len + 1);
        memcpy(json, p, len);
        p = lf ? lf + 1 : end;
        if (len == 0 || scan_is_space(json[0]) || scan_whole(json, len, NULL) < 0)
            continue;
        struct slice v = {json, (size_t)len};
        while (scan_is_space(v.p[v.n - 1]))
            v.n--;
        DEMAND(state_merge(s, v, NULL) == 0);
        json_t *patch = load(v.p, v.n);
        judge = judge && patch && !has_twice(v.p, v.n);
        if (judge)
            model = merge(model, patch);
        json_decref(patch);
    }
    DEMAND(state_text(s, &text, &n, NULL) == 0);
    DEMAND(n > 1 && text[n - 1] == '\n' && scan_whole(text, n, NULL) == 0);
    if (judge) {
        json_t *got = load(text, n);
        DEMAND(got && (model ? json_equal(got, model) : json_is_null(got)));
        json_decref(got);
    }
    /* The result is its own merge. */
    struct state *again = NULL;
    char *same;
    size_t m;
    DEMAND(state_new(&again, NULL) == 0);
    DEMAND(state_merge(again, (struct slice){text, n - 1}, NULL) == 0);
    DEMAND(state_text(again, &same, &m, NULL) == 0);
    DEMAND(m == n && memcmp(same, text, n) == 0);
    json_decref(model);
    free(text), free(same);
    state_free(again);
    state_free(s);
    return 0;
}
