/* SPDX-License-Identifier: MIT */
/* Each run takes what it can get, and nothing is tried again: right where no character that a run of
 * varying length could take is one that may follow it. Else this isn't the kind, and PCRE2's. */
#include "jsonschema_runs.h"

#include <ctype.h>

struct parse {
    const char *p, *end;
};

static void add_range(uint64_t set[2], unsigned char from, unsigned char to)
{
    for (unsigned c = from; c <= to; c++)
        set[c / 64] |= UINT64_C(1) << c % 64;
}

/* Behind a backslash: a set, or a character that stands for itself (*ret_char, else -1). */
static bool escape(struct parse *s, uint64_t set[2], int *ret_char)
{
    *ret_char = -1;
    if (s->p == s->end)
        return false;
    const unsigned char c = (unsigned char)*s->p++;
    if (c == 'd' || c == 'w')
        add_range(set, '0', '9');
    if (c == 'w') {
        add_range(set, 'A', 'Z');
        add_range(set, 'a', 'z');
        add_range(set, '_', '_');
    }
    if (c == 'd' || c == 'w')
        return true;
    *ret_char = c;
    return ispunct(c);
}

/* A class, s->p behind its '['. */
static bool class(struct parse *s, uint64_t set[2])
{
    if (s->p < s->end && *s->p == '^')
        return false;
    while (s->p < s->end && *s->p != ']') {
        int from = (unsigned char)*s->p++, to;
        if (from >= 0x80 || (from == '\\' && !escape(s, set, &from)))
            return false;
        if (from < 0)
            continue;
        to = from;
        if (s->end - s->p >= 2 && *s->p == '-' && s->p[1] != ']') {
            to = (unsigned char)s->p[1];
            s->p += 2;
            if (to >= 0x80 || (to == '\\' && (!escape(s, set, &to) || to < 0)))
                return false;
        }
        add_range(set, (unsigned char)from, (unsigned char)to);
    }
    return s->p < s->end && *s->p++ == ']';
}

static bool number(struct parse *s, uint32_t *ret)
{
    const char *const from = s->p;

    for (*ret = 0; s->p < s->end && isdigit((unsigned char)*s->p) && s->p - from < 6; s->p++)
        *ret = *ret * 10 + (uint32_t)(*s->p - '0');
    return s->p > from;
}

/* How often; once without a word. */
static bool repetition(struct parse *s, struct js_charset_run *r)
{
    r->min = r->max = 1;
    if (s->p == s->end || !*s->p || !strchr("*+?{", *s->p))
        return true;
    const char c = *s->p++;
    r->min = c == '+';
    r->max = c == '?' ? 1 : UINT32_MAX;
    if (c == '{') {
        if (!number(s, &r->min))
            return false;
        r->max = r->min;
        if (s->p < s->end && *s->p == ',') {
            s->p++;
            if (!number(s, &r->max))
                r->max = UINT32_MAX;
        }
        if (s->p == s->end || *s->p++ != '}')
            return false;
    }
    return s->p == s->end || *s->p != '?'; /* a lazy one is another matter */
}

static bool one_run(struct parse *s, struct js_charset_run *r)
{
    const unsigned char c = (unsigned char)*s->p++;
    int same = c;

    *r = (struct js_charset_run){0};
    if (c == '[') {
        if (!class(s, r->set))
            return false;
        same = -1;
    } else if (c == '\\') {
        if (!escape(s, r->set, &same))
            return false;
    } else if (c >= 0x80 || c == '\0' || strchr(".()|*+?{}]^$", c)) {
        return false;
    }
    if (same >= 0)
        add_range(r->set, (unsigned char)same, (unsigned char)same);
    return repetition(s, r);
}

/* What run i could take too much of is nothing that may follow it. */
static bool is_decided(const struct js_runs *r, uint32_t i)
{
    if (r->runs[i].min == r->runs[i].max)
        return true;
    for (uint32_t k = i + 1; k < r->n; k++) {
        if ((r->runs[i].set[0] & r->runs[k].set[0]) || (r->runs[i].set[1] & r->runs[k].set[1]))
            return false;
        if (r->runs[k].min > 0)
            return true;
    }
    return true;
}

bool js_runs_parse(struct slice text, struct js_runs *ret)
{
    struct parse s = {text.p, text.p + text.n};

    *ret = (struct js_runs){0};
    if (text.n == 0 || *s.p++ != '^')
        return false;
    while (s.p < s.end) {
        if (*s.p == '$' && s.p + 1 == s.end) {
            ret->to_end = true;
            break;
        }
        if (ret->n == JS_RUNS_MAX || !one_run(&s, &ret->runs[ret->n]))
            return false;
        ret->n++;
    }
    for (uint32_t i = 0; i < ret->n; i++)
        if (!is_decided(ret, i))
            return false;
    return true;
}

bool js_runs_match(const struct js_runs *r, struct slice text)
{
    const char *p = text.p, *const end = text.p + text.n;

    for (uint32_t i = 0; i < r->n; i++) {
        const struct js_charset_run *const run = &r->runs[i];
        const char *const from = p, *const most = (size_t)(end - p) > run->max ? p + run->max : end;
        while (p < most && (unsigned char)*p < 0x80 &&
               run->set[(unsigned char)*p / 64] >> *p % 64 & 1)
            p++;
        if (p - from < run->min)
            return false;
    }
    return !r->to_end || p == end;
}
