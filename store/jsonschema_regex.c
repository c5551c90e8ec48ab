/* SPDX-License-Identifier: MIT */
/* Matching is PCRE2's interpreter, with a callout before each item of the pattern. The callouts are counted,
 * over all patterns and subjects of a validation: that is the one bound that holds, since PCRE2's own match
 * limit begins anew at each character of the subject. It needs that nothing runs far between two callouts,
 * so automatic possessiveness is off. No JIT: it knows none of this, and a pattern is one item of an event.
 *
 * Lone surrogates are U+FFFD to a pattern, in subjects as in itself: UTF-8 has none. */
#define PCRE2_CODE_UNIT_WIDTH 8

#include "jsonschema_regex.h"

#include "jsonschema_ecma.h"
#include "limits.h"

#include <errno.h>
#include <pcre2.h>
#include <stdio.h>

static int compile_translated(const char *text, size_t n, pcre2_code **ret, char *why, size_t why_n)
{
    int code = 0;
    PCRE2_SIZE at = 0;
    PCRE2_UCHAR message[128];

    *ret = pcre2_compile((PCRE2_SPTR)text, n,
                         PCRE2_UTF | PCRE2_NO_UTF_CHECK | PCRE2_DOLLAR_ENDONLY |
                             PCRE2_ALLOW_EMPTY_CLASS | PCRE2_MATCH_UNSET_BACKREF |
                             PCRE2_NEVER_BACKSLASH_C | PCRE2_AUTO_CALLOUT | PCRE2_NO_AUTO_POSSESS,
                         &code, &at, NULL);
    if (*ret)
        return 0;
    if (code == PCRE2_ERROR_HEAP_FAILED)
        return -ENOMEM;
    (void)pcre2_get_error_message(code, message, sizeof message);
    (void)snprintf(why, why_n, "%s", (const char *)message);
    return -EINVAL;
}

int js_pattern_compile(struct slice text, struct js_pattern **ret, char *why, size_t why_n)
{
    AUTO_FREE char *translated = NULL;
    size_t n = 0;
    pcre2_code *code = NULL;

    int r = js_ecma_translate(text, &translated, &n, why, why_n);
    if (r == 0)
        r = compile_translated(translated, n, &code, why, why_n);
    if (r < 0)
        return r;
    struct js_pattern *const p = malloc(sizeof *p + text.n + 1);
    if (!p) {
        pcre2_code_free(code);
        return -ENOMEM;
    }
    *p = (struct js_pattern){.code = code};
    (void)pcre2_pattern_info(code, PCRE2_INFO_SIZE, &p->bytes);
    p->bytes += sizeof *p + text.n;
    p->is_runs = js_runs_parse(text, &p->runs);
    memcpy(p->text, text.p, text.n);
    p->text[text.n] = '\0';
    *ret = p;
    return 0;
}

void js_pattern_free(struct js_pattern *p)
{
    if (p)
        pcre2_code_free(p->code);
    free(p);
}

int js_pattern_is_valid(struct slice text)
{
    AUTO_FREE char *translated = NULL;
    char why[160];
    size_t n;
    const int r = js_ecma_translate(text, &translated, &n, why, sizeof why);

    return r == -ENOMEM ? r : r == 0;
}

static int count_step(pcre2_callout_block *block, void *arg)
{
    struct js_matcher *const m = arg;

    (void)block;
    return ++m->steps > LIMIT_PATTERN_STEPS ? PCRE2_ERROR_MATCHLIMIT : 0;
}

static bool prepare(struct js_matcher *m)
{
    if (!m->context && (m->context = pcre2_match_context_create(NULL)) != NULL) {
        (void)pcre2_set_callout(m->context, count_step, m);
        (void)pcre2_set_heap_limit(m->context, LIMIT_PATTERN_HEAP_KIB);
        (void)pcre2_set_match_limit(m->context, LIMIT_PATTERN_STEPS);
        (void)pcre2_set_depth_limit(m->context, LIMIT_PATTERN_STEPS);
    }
    if (!m->data)
        m->data = pcre2_match_data_create(1, NULL);
    return m->context && m->data;
}

/* Three bytes each, as U+FFFD has. */
static bool has_surrogate(struct slice s)
{
    for (const char *p = s.p, *end = s.p + s.n; (p = memchr(p, 0xed, (size_t)(end - p))); p++)
        if (end - p >= 3 && (unsigned char)p[1] >= 0xa0)
            return true;
    return false;
}

static void replace_surrogates(char *p, size_t n)
{
    for (size_t i = 0; i + 2 < n; i++)
        if ((unsigned char)p[i] == 0xed && (unsigned char)p[i + 1] >= 0xa0)
            memcpy(p + i, "\xef\xbf\xbd", 3);
}

int js_pattern_match(const struct js_pattern *p, struct js_matcher *m, struct slice text)
{
    AUTO_FREE char *copy = NULL;

    if (p->is_runs)
        return js_runs_match(&p->runs, text);
    if (!prepare(m))
        return -ENOMEM;
    if (UNLIKELY(text.n > 0 && has_surrogate(text))) {
        copy = malloc(text.n);
        if (!copy)
            return -ENOMEM;
        memcpy(copy, text.p, text.n);
        replace_surrogates(copy, text.n);
        text.p = copy;
    }
    const int r = pcre2_match(p->code, (PCRE2_SPTR)text.p, text.n, 0, PCRE2_NO_UTF_CHECK, m->data,
                              m->context);
    if (r >= 0)
        return 1;
    if (r == PCRE2_ERROR_NOMATCH)
        return 0;
    return r == PCRE2_ERROR_NOMEMORY ? -ENOMEM : -ETIME;
}

void js_matcher_done(struct js_matcher *m)
{
    pcre2_match_data_free(m->data);
    pcre2_match_context_free(m->context);
    *m = (struct js_matcher){0};
}
