/* SPDX-License-Identifier: MIT */
/* What a label may contain is said in regular expressions over the Unicode properties that PCRE2 knows:
 * RFC 5892's letters, digits and marks, with its exceptions and its rules of context. Two things are
 * nearer than exact, for want of their tables: a label isn't tested for normal form C, and the joining
 * context of U+200C is taken from scripts. */
#define PCRE2_CODE_UNIT_WIDTH 8

#include "jsonschema_idna.h"

#include <errno.h>
#include <pcre2.h>
#include <stdatomic.h>
#include <stdio.h>

enum { MAX_CHARS = 63, MAX_BYTES = 4 * MAX_CHARS };

/* ---- properties ------------------------------------------------------------------------------ */

#define VIRAMA                                                                                     \
    "\\x{94d}\\x{9cd}\\x{a4d}\\x{acd}\\x{b4d}\\x{bcd}\\x{c4d}\\x{ccd}\\x{d3b}\\x{d3c}\\x{d4d}\\x{" \
    "dca}\\x{e3a}\\x{eba}"                                                                         \
    "\\x{f84}\\x{1039}\\x{103a}\\x{1714}\\x{1734}\\x{17d2}\\x{1a60}\\x{1b44}\\x{1baa}\\x{1bab}"    \
    "\\x{1bf2}\\x{1bf3}"                                                                           \
    "\\x{2d7f}\\x{a806}\\x{a8c4}\\x{a953}\\x{a9c0}\\x{aaf6}\\x{abed}\\x{10a3f}\\x{11046}\\x{"      \
    "1107f}\\x{110b9}"                                                                             \
    "\\x{11133}\\x{11134}\\x{111c0}\\x{11235}\\x{112ea}\\x{1134d}\\x{11442}\\x{114c2}\\x{115bf}"   \
    "\\x{1163f}\\x{116b6}"
#define JOINS "\\p{Arabic}\\p{Syriac}\\p{Mandaic}\\p{Nko}\\p{Mongolian}"
/* Uppercase and what Unicode's compatibility forms fold away are not stable, so not allowed. */
#define UNSTABLE                                                                                   \
    "\\x{aa}\\x{ba}\\x{132}-\\x{133}\\x{13f}-\\x{140}\\x{149}\\x{17f}\\x{1c4}-\\x{1cc}\\x{1f1}-"   \
    "\\x{1f3}\\x{2b0}-"                                                                            \
    "\\x{2b8}\\x{2e0}-\\x{2e4}\\x{1100}-\\x{11ff}\\x{1d2c}-\\x{1d6a}\\x{1d9b}-\\x{1dbf}\\x{2071}"  \
    "\\x{207f}\\x{2090}-"                                                                          \
    "\\x{209c}\\x{2100}-\\x{214f}\\x{3131}-\\x{318e}\\x{a960}-\\x{a97c}\\x{d7b0}-\\x{d7fb}\\x{"    \
    "f900}-\\x{fa0d}\\x{fa10}"                                                                     \
    "\\x{fa12}\\x{fa15}-\\x{fa1e}\\x{fa20}\\x{fa22}\\x{fa25}-\\x{fa26}\\x{fa2a}-\\x{fad9}\\x{"     \
    "fb00}-\\x{fb1d}\\x{fb1f}"                                                                     \
    "-\\x{fdff}\\x{fe70}-\\x{fefc}\\x{ff10}-\\x{ffdc}\\x{1d400}-\\x{1d7ff}\\x{1ee00}-\\x{1eeff}"   \
    "\\x{2f800}-\\x{2fa1d}"
#define DISALLOWED "\\x{640}\\x{7fa}\\x{302e}\\x{302f}\\x{3031}-\\x{3035}\\x{303b}"
#define PLAIN                                                                                      \
    "(?![" DISALLOWED UNSTABLE                                                                     \
    "])(?:[\\p{Ll}\\p{Lo}\\p{Lm}\\p{Mn}\\p{Mc}\\p{Nd}\\-]|[\\x{6fd}\\x{6fe}\\x{f0b}\\x{3007}])"
#define IN_CONTEXT                                                                                 \
    "(?<=l)\\x{b7}(?=l)|\\x{375}(?=\\p{Greek})|(?<=\\p{Hebrew})[\\x{5f3}\\x{5f4}]|\\x{30fb}|(?<="  \
    "[" VIRAMA "])[\\x{200c}\\x{200d}]|(?<=[" JOINS "])\\x{200c}(?=[" JOINS "])"
#define U_LABEL                                                                                    \
    "^(?!\\p{M}|-|..--|.*-$)(?!.*[\\x{660}-\\x{669}].*[\\x{6f0}-\\x{6f9}]|.*[\\x{6f0}-\\x{6f9}].*" \
    "[\\x{660}-\\x{669}])"                                                                         \
    "(?!(?=.*\\x{30fb})(?!.*(?!\\x{30fb})[\\p{Hiragana}\\p{Katakana}\\p{Han}]))(?:" IN_CONTEXT     \
    "|" PLAIN ")+$"

/* RFC 5893. R and AL by the blocks of their scripts; NSM are the marks, the rest of a label's characters
 * are L but for digits and the hyphen. */
#define RTL_BLOCKS                                                                                 \
    "\\x{590}-\\x{8ff}\\x{200f}\\x{fb1d}-\\x{fdff}\\x{fe70}-\\x{feff}\\x{10800}-\\x{10fff}\\x{"    \
    "1e800}-\\x{1efff}"
#define ARABIC_DIGIT "[\\x{660}-\\x{669}\\x{10d30}-\\x{10d39}]"
#define DIGIT        "[0-9\\x{6f0}-\\x{6f9}]"
#define RTL          "(?:(?!\\p{Mn}|\\p{Me}|\\p{Nd})[" RTL_BLOCKS "])"
#define LTR          "(?:(?!\\p{Mn}|\\p{Me}|[0-9\\-\\x{200c}\\x{200d}])[^" RTL_BLOCKS "])"
#define MARKS        "[\\p{Mn}\\p{Me}]*"
#define BIDI                                                                                       \
    "^(?:(?=" RTL ")(?!.*" LTR ")(?!.*" DIGIT ".*" ARABIC_DIGIT "|.*" ARABIC_DIGIT ".*" DIGIT      \
    ").*(?:" RTL "|" DIGIT "|" ARABIC_DIGIT ")" MARKS "$|(?=" LTR ")(?!.*(?:" RTL "|" ARABIC_DIGIT \
    ")).*(?:" LTR "|" DIGIT ")" MARKS "$)"
#define ANY_RTL RTL "|" ARABIC_DIGIT

enum { IS_U_LABEL, IS_BIDI, HAS_RTL, N_RULES };

/* Compiled when first needed, and kept. */
static const pcre2_code *rule(unsigned i)
{
    static const char *const texts[N_RULES] = {U_LABEL, BIDI, ANY_RTL};
    static _Atomic(pcre2_code *) rules[N_RULES];
    pcre2_code *there = atomic_load_explicit(&rules[i], memory_order_acquire);
    int code;
    PCRE2_SIZE at;

    if (there)
        return there;
    pcre2_code *const made =
        pcre2_compile((PCRE2_SPTR)texts[i], PCRE2_ZERO_TERMINATED,
                      PCRE2_UTF | PCRE2_DOTALL | PCRE2_DOLLAR_ENDONLY, &code, &at, NULL);
    /* Release: who finds it finds all of it. Pairs with the load above. */
    if (made && !atomic_compare_exchange_strong_explicit(
                    &rules[i], &there, made, memory_order_release, memory_order_acquire)) {
        pcre2_code_free(made);
        return there;
    }
    return made;
}

/* False as well where there is no memory to say. */
static bool keeps(unsigned i, struct slice label)
{
    const pcre2_code *const code = rule(i);
    pcre2_match_data *const data = code ? pcre2_match_data_create(1, NULL) : NULL;

    if (!data)
        return false;
    const int r = pcre2_match(code, (PCRE2_SPTR)label.p, label.n, 0, 0, data, NULL);
    pcre2_match_data_free(data);
    return r >= 0;
}

/* ---- Punycode (RFC 3492) --------------------------------------------------------------------- */

enum { BASE = 36, T_MIN = 1, T_MAX = 26, SKEW = 38, DAMP = 700, FIRST_BIAS = 72, FIRST_CODE = 128 };

static uint32_t adapted(uint32_t delta, uint32_t points, bool first)
{
    uint32_t k = 0;

    delta = first ? delta / DAMP : delta / 2;
    delta += delta / points;
    for (; delta > (BASE - T_MIN) * T_MAX / 2; k += BASE)
        delta /= BASE - T_MIN;
    return k + (BASE - T_MIN + 1) * delta / (delta + SKEW);
}

static inline uint32_t threshold(uint32_t k, uint32_t bias)
{
    return k <= bias + T_MIN ? T_MIN : k >= bias + T_MAX ? T_MAX : k - bias;
}

/* What a digit at *p says of the next insertion; false: it isn't one, or is too much. */
static bool take_delta(const char **p, const char *end, uint32_t bias, uint32_t *i)
{
    uint32_t weight = 1;

    for (uint32_t k = BASE;; k += BASE) {
        if (*p == end)
            return false;
        const char c = *(*p)++;
        const uint32_t digit = c >= '0' && c <= '9' ? (uint32_t)(c - '0') + 26
                               : (c | 0x20) >= 'a' && (c | 0x20) <= 'z'
                                   ? (uint32_t)((c | 0x20) - 'a')
                                   : BASE;
        uint32_t part;
        if (digit == BASE || __builtin_mul_overflow(digit, weight, &part) ||
            __builtin_add_overflow(*i, part, i))
            return false;
        const uint32_t t = threshold(k, bias);
        if (digit < t)
            return true;
        if (__builtin_mul_overflow(weight, BASE - t, &weight))
            return false;
    }
}

/* s, behind "xn--", to at most MAX_CHARS characters. Returns how many, 0: it isn't Punycode. */
static uint32_t decode(struct slice s, uint32_t *out)
{
    const char *const dash = memrchr(s.p, '-', s.n), *p = s.p, *const end = s.p + s.n;
    uint32_t n = 0, code = FIRST_CODE, bias = FIRST_BIAS, i = 0;

    if (s.n > MAX_CHARS || dash == s.p)
        return 0;
    for (; dash && p < dash; p++)
        out[n++] = (uint32_t)((*p >= 'A' && *p <= 'Z') ? *p | 0x20 : *p);
    p = dash ? dash + 1 : p;
    if (p == end)
        return 0;
    while (p < end) {
        const uint32_t before = i;
        if (n == MAX_CHARS || !take_delta(&p, end, bias, &i))
            return 0;
        bias = adapted(i - before, n + 1, before == 0);
        if (__builtin_add_overflow(code, i / (n + 1), &code) || code > 0x10ffff ||
            (code >= 0xd800 && code <= 0xdfff))
            return 0;
        i %= n + 1;
        memmove(out + i + 1, out + i, (n - i) * sizeof *out);
        out[i++] = code;
        n++;
    }
    return n;
}

static size_t put_delta(uint32_t delta, uint32_t bias, char *out)
{
    size_t n = 0;

    for (uint32_t k = BASE;; k += BASE) {
        const uint32_t t = threshold(k, bias),
                       digit = delta < t ? delta : t + (delta - t) % (BASE - t);
        out[n++] = (char)(digit < 26 ? 'a' + digit : '0' + digit - 26);
        if (delta < t)
            return n;
        delta = (delta - t) / (BASE - t);
    }
}

/* n characters (at most MAX_CHARS) to Punycode, without "xn--"; out has room for 8 bytes each. */
static size_t encode(const uint32_t *chars, uint32_t n, char *out)
{
    uint32_t done = 0, code = FIRST_CODE, bias = FIRST_BIAS, delta = 0, ascii;
    size_t len = 0;

    for (uint32_t i = 0; i < n; i++)
        if (chars[i] < FIRST_CODE)
            out[len++] = (char)chars[i];
    ascii = done = (uint32_t)len;
    if (done > 0)
        out[len++] = '-';
    while (done < n) {
        uint32_t next = UINT32_MAX;
        for (uint32_t i = 0; i < n; i++)
            if (chars[i] >= code && chars[i] < next)
                next = chars[i];
        delta += (next - code) * (done + 1); /* below 2^21 * 64 */
        code = next;
        for (uint32_t i = 0; i < n; i++) {
            delta += chars[i] < code;
            if (chars[i] != code)
                continue;
            len += put_delta(delta, bias, out + len);
            bias = adapted(delta, done + 1, done == ascii);
            delta = 0;
            done++;
        }
        delta++;
        code++;
    }
    return len;
}

/* ---- labels ---------------------------------------------------------------------------------- */

static size_t to_utf8(const uint32_t *chars, uint32_t n, char *out)
{
    char *p = out;

    for (uint32_t i = 0; i < n; i++) {
        const uint32_t c = chars[i];
        if (c < 0x80) {
            *p++ = (char)c;
            continue;
        }
        if (c < 0x800) {
            *p++ = (char)(0xc0 | c >> 6);
        } else {
            *p++ = (char)(c < 0x10000 ? 0xe0 | c >> 12 : 0xf0 | c >> 18);
            if (c >= 0x10000)
                *p++ = (char)(0x80 | (c >> 12 & 0x3f));
            *p++ = (char)(0x80 | (c >> 6 & 0x3f));
        }
        *p++ = (char)(0x80 | (c & 0x3f));
    }
    return (size_t)(p - out);
}

/* An A-label's characters as UTF-8; 0: it isn't one. */
static size_t a_label_text(struct slice label, char *out)
{
    uint32_t chars[MAX_CHARS + 1];
    char again[8 * MAX_CHARS + 8];
    const struct slice coded = {label.p + 4, label.n - 4};
    const uint32_t n = coded.n ? decode(coded, chars) : 0;

    if (n == 0 || encode(chars, n, again) != coded.n)
        return 0;
    for (size_t i = 0; i < coded.n; i++) {
        const char c = coded.p[i];
        if (again[i] != (c >= 'A' && c <= 'Z' ? c | 0x20 : c))
            return 0;
    }
    return to_utf8(chars, n, out);
}

bool js_idna_a_label(struct slice label, bool *ret_rtl)
{
    char text[MAX_BYTES];
    const size_t n = a_label_text(label, text);
    const struct slice u = {text, n};

    if (n == 0 || !keeps(IS_U_LABEL, u))
        return false;
    if (!keeps(HAS_RTL, u))
        return true;
    *ret_rtl = true;
    return keeps(IS_BIDI, u);
}

bool js_idna_u_label(struct slice label, size_t *ret_n, bool *ret_rtl)
{
    uint32_t chars[MAX_CHARS];
    char coded[8 * MAX_CHARS + 8];
    uint32_t n = 0;

    for (const char *p = label.p, *const end = p + label.n; p < end; n++) {
        const unsigned char c = (unsigned char)*p++;
        const unsigned more = c < 0x80 ? 0 : c < 0xe0 ? 1 : c < 0xf0 ? 2 : 3;
        if (n == MAX_CHARS)
            return false;
        chars[n] = more == 0 ? (c >= 'A' && c <= 'Z' ? c | 0x20u : c) : c & (0x3fu >> more);
        for (unsigned i = 0; i < more && p < end; i++)
            chars[n] = chars[n] << 6 | ((unsigned char)*p++ & 0x3f);
    }
    if (!keeps(IS_U_LABEL, label))
        return false;
    *ret_n = 4 + encode(chars, n, coded);
    *ret_rtl |= keeps(HAS_RTL, label);
    return true;
}

bool js_idna_bidi(struct slice label)
{
    char text[MAX_BYTES];

    if (label.n > 4 && label.n <= MAX_CHARS && (label.p[0] | 0x20) == 'x' &&
        memcmp(label.p + 2, "--", 2) == 0) {
        const size_t n = a_label_text(label, text);
        if (n > 0)
            label = (struct slice){text, n};
    }
    return keeps(IS_BIDI, label);
}
