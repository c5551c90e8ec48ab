/* SPDX-License-Identifier: MIT */
/* scan_walk: the steps of scan.c's walk, which has what is always true: strings, numbers, white space. Private to
 * it. */
#ifndef STORE_SCAN_WALK_H
#define STORE_SCAN_WALK_H

#include "scan.h"

#include "limits.h"
#include "scan_plain.h"

#include <assert.h>

enum { FRAME_OBJECT = 1, FRAME_BROKEN = 2 };

struct walk {
    const char *end;
    const char *at;      /* of the failure */
    enum evs_reason why; /* EVS_OK_: none, or unfinished */
    unsigned depth;
    bool any_lines;
    bool breaks;      /* a CR or LF was met between tokens */
    bool ends;        /* the input ends at end: a number may end there */
    bool transaction; /* the outermost array may break after its commas */
    bool escaped;     /* an escape was met: for who sets it to false before */
    bool fraction;    /* the same: a number with '.' or an exponent */
    uint8_t frame[LIMIT_DEPTH + 1];
};

static const char *fail(struct walk *w, enum evs_reason why, const char *at)
{
    w->why = why;
    w->at = at;
    return NULL;
}

static const char *unfinished(struct walk *w)
{
    return fail(w, EVS_OK_, w->end);
}

/* ---- strings --------------------------------------------------------------------------------- */

/* What may follow a lead byte: how many bytes, and the range of the first of them. This is the
 * table of well-formed sequences in the Unicode standard: no overlong forms, no surrogates,
 * nothing above U+10FFFF. 0: not a lead byte. */
static inline unsigned utf8_lead(unsigned char c, unsigned char *ret_low, unsigned char *ret_high)
{
    *ret_low = c == 0xe0 ? 0xa0 : c == 0xf0 ? 0x90 : 0x80;
    *ret_high = c == 0xed ? 0x9f : c == 0xf4 ? 0x8f : 0xbf;
    return c < 0xc2 ? 0 : c < 0xe0 ? 1 : c < 0xf0 ? 2 : c < 0xf5 ? 3 : 0;
}

/* A run of bytes of 0x80 and above, at p. */
static const char *utf8_run(struct walk *w, const char *p)
{
    while (p < w->end && (unsigned char)*p >= 0x80) {
        unsigned char low, high;
        unsigned more = utf8_lead((unsigned char)*p, &low, &high);
        if (more == 0)
            return fail(w, EVS_BAD_UTF8, p);
        for (p++; more > 0; more--, p++) {
            if (p == w->end)
                return unfinished(w);
            if ((unsigned char)*p < low || (unsigned char)*p > high)
                return fail(w, EVS_BAD_UTF8, p);
            low = 0x80;
            high = 0xbf;
        }
    }
    return p;
}

/* 0-15, or -1. */
static inline int hex_digit(char c)
{
    return c >= '0' && c <= '9'   ? c - '0'
           : c >= 'a' && c <= 'f' ? c - 'a' + 10
           : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                  : -1;
}

/* An escape, p at its backslash. Surrogates are not paired here: data is kept as written. */
static const char *escape(struct walk *w, const char *p)
{
    w->escaped = true;
    if (++p == w->end)
        return unfinished(w);
    switch (*p) {
    case '"':
    case '\\':
    case '/':
    case 'b':
    case 'f':
    case 'n':
    case 'r':
    case 't':
        return p + 1;
    case 'u':
        for (int i = 0; i < 4; i++) {
            if (++p == w->end)
                return unfinished(w);
            if (hex_digit(*p) < 0)
                return fail(w, EVS_BAD_JSON, p);
        }
        return p + 1;
    default:
        return fail(w, EVS_BAD_JSON, p);
    }
}

/* What is not plain in a string, at p. */
static const char *not_plain(struct walk *w, const char *p)
{
    if (*p == '\\')
        return escape(w, p);
    if ((unsigned char)*p >= 0x80)
        return utf8_run(w, p);
    return fail(w, *p == '\n' && !w->any_lines ? EVS_LINE_BREAK : EVS_BAD_JSON, p);
}

/* The rest of a string, p behind its opening quote. */
static inline const char *string(struct walk *w, const char *p)
{
    for (;;) {
        p = plain(p, w->end);
        if (UNLIKELY(p == w->end))
            return unfinished(w);
        if (LIKELY(*p == '"'))
            return p + 1;
        p = not_plain(w, p);
        if (!p)
            return NULL;
    }
}

/* ---- numbers and literals -------------------------------------------------------------------- */

static inline bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

/* One digit or more. */
static inline const char *digits(struct walk *w, const char *p)
{
    if (UNLIKELY(p == w->end))
        return unfinished(w);
    if (UNLIKELY(!is_digit(*p)))
        return fail(w, EVS_BAD_JSON, p);
    return digits_end(p + 1, w->end);
}

/* p is where a number or literal may end; at the end of the input only if nothing can follow. */
static inline const char *may_end(struct walk *w, const char *p)
{
    return LIKELY(p < w->end) || w->ends ? p : unfinished(w);
}

static const char *number(struct walk *w, const char *p)
{
    if (*p == '-')
        p++;
    if (p < w->end && *p == '0')
        p++; /* a digit behind it belongs to nothing: the caller finds it */
    else if (!(p = digits(w, p)))
        return NULL;
    if (p < w->end && *p == '.') {
        w->fraction = true;
        if (!(p = digits(w, p + 1)))
            return NULL;
    }
    if (p < w->end && (*p == 'e' || *p == 'E')) {
        w->fraction = true;
        p++;
        if (p < w->end && (*p == '+' || *p == '-'))
            p++;
        if (!(p = digits(w, p)))
            return NULL;
    }
    return may_end(w, p);
}

static const char *literal(struct walk *w, const char *p, const char *word)
{
    for (; *word; word++, p++) {
        if (p == w->end)
            return unfinished(w);
        if (*p != *word)
            return fail(w, EVS_BAD_JSON, p);
    }
    return may_end(w, p);
}

static inline const char *scalar(struct walk *w, const char *p)
{
    switch (*p) {
    case '"':
        return string(w, p + 1);
    case 't':
        return literal(w, p, "true");
    case 'f':
        return literal(w, p, "false");
    case 'n':
        return literal(w, p, "null");
    default:
        return *p == '-' || is_digit(*p) ? number(w, p) : fail(w, EVS_BAD_JSON, p);
    }
}

/* ---- white space and structure --------------------------------------------------------------- */

/* White space at p, within the container at depth. Out of line: most input has none. */
static __attribute__((noinline)) const char *blanks(struct walk *w, const char *p, bool may_break)
{
    may_break = may_break || w->any_lines || (w->frame[w->depth] & FRAME_BROKEN);
    for (; p < w->end; p++) {
        if (*p == ' ' || *p == '\t')
            continue;
        if (*p != '\n' && *p != '\r')
            return p;
        if (!may_break)
            return fail(w, EVS_LINE_BREAK, p);
        w->breaks = true;
    }
    return unfinished(w);
}

/* To the next token. */
static inline const char *next(struct walk *w, const char *p, bool may_break)
{
    return LIKELY(p < w->end && (unsigned char)*p > ' ') ? p : blanks(w, p, may_break);
}

/* White space behind an opening bracket: here a LF allows those that follow. A CR is right only
 * if a LF comes, which is known at the next token. */
static __attribute__((noinline)) const char *opening(struct walk *w, const char *p)
{
    bool cr = false;

    for (; p < w->end; p++) {
        if (*p == '\n') {
            w->frame[w->depth] |= FRAME_BROKEN;
            return blanks(w, p, true);
        }
        if (*p == '\r')
            cr = true;
        else if (*p != ' ' && *p != '\t')
            break;
    }
    if (p == w->end)
        return unfinished(w);
    if (cr && !w->any_lines)
        return fail(w, EVS_LINE_BREAK, p);
    w->breaks |= cr;
    return p;
}

/* Enter the container at p; to its first token. */
static inline const char *enter(struct walk *w, const char *p)
{
    if (UNLIKELY(w->depth == LIMIT_DEPTH))
        return fail(w, EVS_TOO_DEEP, p);
    w->frame[++w->depth] = *p++ == '{' ? FRAME_OBJECT : 0;
    return LIKELY(p < w->end && (unsigned char)*p > ' ') ? p : opening(w, p);
}

/* A key and its colon; to the value. */
static inline const char *key(struct walk *w, const char *p)
{
    if (UNLIKELY(*p != '"'))
        return fail(w, EVS_BAD_JSON, p);
    if (!(p = string(w, p + 1)) || !(p = next(w, p, false)))
        return NULL;
    return LIKELY(*p == ':') ? next(w, p + 1, false) : fail(w, EVS_BAD_JSON, p);
}

#endif
