/* SPDX-License-Identifier: MIT */
/* judge: jansson's opinion of a text against scan's, and skim's against scan's. Shared by
 * test_scan and fuzz_scan. Each function returns NULL where all is as it must be, or words. */
#ifndef JUDGE_H
#define JUDGE_H

#include "store/scan.h"

#include <jansson.h>
#include <stdio.h>

/* Where jansson is stricter than scan, and means to be (docs/json.md, "Against jansson"). */
static inline bool judge_stricter(const json_error_t *e)
{
    switch (json_error_code(e)) {
    case json_error_numeric_overflow: /* integers beyond 64 bits, reals beyond a double */
    case json_error_null_byte_in_key: /* \u0000 in a key */
        return true;
    default: /* an escaped surrogate without its other half */
        return strncmp(e->text, "invalid Unicode '\\u", 19) == 0;
    }
}

/* Where it is looser: it nests deeper, and takes a NUL byte behind the value for the end. */
static inline bool judge_looser(const char *s, const struct evs_error *err)
{
    return err->why == EVS_TOO_DEEP || (err->why == EVS_BAD_JSON && s[err->pos] == '\0');
}

static inline const char *judge_tree(struct slice v, const json_t *j);

static inline const char *judge_string(struct slice raw, const char *want, size_t want_n)
{
    AUTO_FREE char *got = malloc(raw.n), *again = malloc(6 * raw.n + 2);
    bool odd;
    size_t n = scan_decode(raw, got, &odd);

    if (odd != (memchr(want, '\0', want_n) != NULL)) /* jansson has refused lone surrogates */
        return "odd";
    if (n != want_n || memcmp(got, want, n) != 0)
        return "decoded string differs";
    size_t m = scan_encode((struct slice){got, n}, again + 1);
    again[0] = again[m + 1] = '"';
    if (scan_whole(again, m + 2, NULL) < 0)
        return "encoded string is no string";
    AUTO_FREE char *back = malloc(m + 2);
    if (scan_decode((struct slice){again, m + 2}, back, NULL) != n || memcmp(back, got, n) != 0)
        return "encoding does not decode to the same";
    return NULL;
}

static inline const char *judge_object(struct slice v, const json_t *j)
{
    struct slice key, member;
    size_t pos = 0, count = 0;
    const char *bad = NULL;

    while (scan_member(v, &pos, &key, &member))
        count++;
    if (count < json_object_size(j))
        return "too few members";
    bool twice = count > json_object_size(j); /* then jansson has the last, and we do not compare */
    for (pos = 0; !bad && scan_member(v, &pos, &key, &member);) {
        AUTO_FREE char *name = malloc(key.n);
        size_t n = scan_decode(key, name, NULL);
        const json_t *sub = json_object_getn(j, name, n);
        bad = !sub ? "a member is missing" : twice ? NULL : judge_tree(member, sub);
    }
    return bad;
}

static inline const char *judge_array(struct slice v, const json_t *j)
{
    struct slice element;
    size_t pos = 0, i = 0;
    const char *bad = NULL;

    while (!bad && scan_element(v, &pos, &element)) {
        const json_t *sub = json_array_get(j, i++);
        bad = sub ? judge_tree(element, sub) : "too many elements";
    }
    return bad ? bad : i == json_array_size(j) ? NULL : "too few elements";
}

/* The walks and decoders see in v what jansson saw. */
static inline const char *judge_tree(struct slice v, const json_t *j)
{
    if (scan_skip(v.p, v.n) != v.n)
        return "scan_skip";
    switch (scan_kind(v.p[0])) {
    case SCAN_NULL:
        return json_is_null(j) ? NULL : "null";
    case SCAN_TRUE:
        return json_is_true(j) ? NULL : "true";
    case SCAN_FALSE:
        return json_is_false(j) ? NULL : "false";
    case SCAN_NUMBER:
        return json_is_number(j) ? NULL : "number";
    case SCAN_STRING:
        return json_is_string(j) ? judge_string(v, json_string_value(j), json_string_length(j))
                                 : "string";
    case SCAN_ARRAY:
        return json_is_array(j) ? judge_array(v, j) : "array";
    default:
        return json_is_object(j) ? judge_object(v, j) : "object";
    }
}

/* scan_whole() and jansson agree on s, but for what is listed. */
static inline const char *judge_whole(const char *s, size_t n)
{
    struct evs_error err = {0};
    json_error_t why;
    json_t *j = json_loadb(s, n, JSON_DECODE_ANY | JSON_ALLOW_NUL, &why);
    int r = scan_whole(s, n, &err);
    const char *bad = NULL;

    if (!j && r == 0)
        bad = judge_stricter(&why) ? NULL : "accepted, jansson refuses";
    else if (j && r < 0)
        bad = judge_looser(s, &err) ? NULL : "refused, jansson accepts";
    else if (r < 0 && err.pos > n)
        bad = "position beyond the end";
    if (j && r == 0) {
        while (scan_is_space(s[0])) {
            s++;
            n--;
        }
        while (scan_is_space(s[n - 1]))
            n--;
        bad = judge_tree((struct slice){s, n}, j);
    }
    json_decref(j);
    return bad;
}

/* Feed s to skim in pieces that end at cuts (ascending, below n). The end it finds; 0: none;
 * negative: it failed, *ret_pos says where. */
static inline ssize_t judge_skim(const char *s, size_t n, bool tx, const size_t *cuts,
                                 size_t n_cuts, uint64_t *ret_pos)
{
    struct evs_error err;
    struct skim k;
    size_t from = 0;

    skim_init(&k, tx);
    for (size_t i = 0; i <= n_cuts; i++) {
        size_t to = i < n_cuts ? cuts[i] : n;
        AUTO_FREE char *piece = malloc(to - from + 1);
        char *at = piece + 1; /* ends where the memory does */
        memcpy(at, s + from, to - from);
        ssize_t r = skim_feed(&k, at, to - from, &err);
        if (r < 0) {
            *ret_pos = from + err.pos;
            return r;
        }
        if (k.done)
            return (ssize_t)from + r;
        from = to;
    }
    return 0;
}

/* skim finds in s, whatever the cuts, what scan_value() finds. */
static inline const char *judge_cuts(const char *s, size_t n, bool tx, const size_t *cuts,
                                     size_t n_cuts)
{
    struct evs_error err = {.pos = 0};
    uint64_t pos = 0, whole_pos = 0;
    ssize_t want = scan_value(s, n, tx ? SCAN_TRANSACTION : 0, NULL, &err);
    ssize_t got = judge_skim(s, n, tx, cuts, n_cuts, &pos);
    ssize_t whole = judge_skim(s, n, tx, NULL, 0, &whole_pos);

    if (got != whole || pos != whole_pos)
        return "the cuts matter";
    if (want == 0 && got != 0)
        return "skim ends what is unfinished";
    bool apart = want > 0 &&
                 (scan_kind(s[0]) >= SCAN_STRING || ((size_t)want < n && scan_is_space(s[want])));
    if (apart && got != want)
        return "skim finds another end";
    if (want >= 0)
        return NULL;
    if (got < 0 && pos < err.pos)
        return "skim fails too early";
    if ((err.why == EVS_LINE_BREAK || err.why == EVS_TOO_DEEP) && (got >= 0 || pos != err.pos))
        return "skim misses a line break or the depth";
    return NULL;
}

#endif
