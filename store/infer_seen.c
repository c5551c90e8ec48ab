/* SPDX-License-Identifier: MIT */
/* What scalars looked like: ranges, lengths and a few of the values. Nothing here is structural: where memory
 * fails something is left out. Only text that any parser of JSON takes gets in: no escapes (a lone surrogate
 * may be one), no numbers beyond a double. */
#include "infer_model.h"

#include "scan.h"

#include <math.h>

static struct infer_seen *seen_of(struct infer *m, struct infer_node *node)
{
    if (!node->seen)
        node->seen = infer_alloc(m, sizeof *node->seen);
    return node->seen;
}

static void bump(uint32_t *n)
{
    *n += *n < UINT32_MAX;
}

/* Where the text of value i begins. */
static size_t text_at(const struct infer_seen *s, unsigned i)
{
    size_t at = 0;

    while (i-- > 0)
        at += 1u + (unsigned char)s->text[at];
    return at;
}

static void keep_few(struct infer *m, struct infer_seen *s)
{
    s->many = true;
    if (s->n <= LIMIT_INFER_EXAMPLES)
        return;
    const size_t n = text_at(s, LIMIT_INFER_EXAMPLES);
    char *text = infer_realloc(m, s->text, s->text_bytes, n);
    if (text)
        s->text = text;
    else
        m->bytes += n - s->text_bytes; /* it stayed larger; its bytes are counted by text_bytes */
    s->text_bytes = (uint16_t)n;
    s->n = LIMIT_INFER_EXAMPLES;
}

static void keep(struct infer *m, struct infer_seen *s, struct slice raw)
{
    const unsigned max = s->many ? LIMIT_INFER_EXAMPLES : LIMIT_INFER_ENUM;

    if (s->many && s->n == max)
        return;
    if (raw.n > LIMIT_INFER_VALUE_BYTES) {
        keep_few(m, s);
        return;
    }
    for (size_t i = 0, at = 0; i < s->n; i++) {
        const struct slice old = {s->text + at + 1, (unsigned char)s->text[at]};
        if (slice_eq(old, raw))
            return;
        at += 1 + old.n;
    }
    if (s->n == max) {
        keep_few(m, s);
        return;
    }
    char *text = infer_realloc(m, s->text, s->text_bytes, s->text_bytes + 1u + raw.n);
    if (!text) {
        keep_few(m, s);
        return;
    }
    text[s->text_bytes] = (char)raw.n;
    memcpy(text + s->text_bytes + 1, raw.p, raw.n);
    s->text = text;
    s->text_bytes = (uint16_t)(s->text_bytes + 1u + raw.n);
    s->n++;
}

/* NAN: beyond a double, or too long to be looked at. */
static double number_of(struct slice raw)
{
    char text[LIMIT_INFER_VALUE_BYTES + 1];

    if (raw.n > LIMIT_INFER_VALUE_BYTES)
        return NAN;
    memcpy(text, raw.p, raw.n);
    text[raw.n] = '\0';
    const double v = strtod(text, NULL);
    return isfinite(v) ? v : NAN;
}

/* Integers of 19 digits and more are beyond what many parsers take. */
bool infer_is_kept_number(struct slice raw)
{
    return raw.n <= 18 && scan_kind(raw.p[0]) == SCAN_NUMBER && isfinite(number_of(raw));
}

void infer_look_number(struct infer *m, struct infer_node *node, struct slice raw)
{
    const double v = number_of(raw);
    struct infer_seen *s = isfinite(v) ? seen_of(m, node) : NULL;

    if (!s)
        return;
    s->min = s->numbers == 0 || v < s->min ? v : s->min;
    s->max = s->numbers == 0 || v > s->max ? v : s->max;
    bump(&s->numbers);
    if (infer_is_kept_number(raw))
        keep(m, s, raw);
}

/* Code points between the quotes; an escaped pair of surrogates is one. */
static size_t length_of(struct slice raw)
{
    size_t n = 0;

    for (size_t i = 1; i + 1 < raw.n; i++) {
        const char c = raw.p[i];
        if (c == '\\' && raw.p[i + 1] == 'u') {
            const bool low = i >= 7 && (raw.p[i + 2] | 0x20) == 'd' && raw.p[i - 6] == '\\' &&
                             strchr("cdefCDEF", raw.p[i + 3]) != NULL;
            n += !low;
            i += 5;
        } else if (c == '\\') {
            n++;
            i++;
        } else {
            n += ((unsigned char)c & 0xc0) != 0x80;
        }
    }
    return n;
}

void infer_look_string(struct infer *m, struct infer_node *node, struct slice raw)
{
    struct infer_seen *s = seen_of(m, node);

    if (!s)
        return;
    const uint32_t len = (uint32_t)MIN(length_of(raw), UINT32_MAX);
    s->len_min = s->strings == 0 || len < s->len_min ? len : s->len_min;
    s->len_max = s->strings == 0 || len > s->len_max ? len : s->len_max;
    bump(&s->strings);
    if (memchr(raw.p, '\\', raw.n))
        keep_few(m, s);
    else
        keep(m, s, raw);
}

void infer_seen_merge(struct infer *m, struct infer_node *into, const struct infer_seen *from)
{
    struct infer_seen *s = from ? seen_of(m, into) : NULL;

    if (!s)
        return;
    if (from->numbers > 0) {
        s->min = s->numbers == 0 ? from->min : MIN(s->min, from->min);
        s->max = s->numbers == 0 ? from->max : MAX(s->max, from->max);
    }
    if (from->strings > 0) {
        s->len_min = s->strings == 0 ? from->len_min : MIN(s->len_min, from->len_min);
        s->len_max = s->strings == 0 ? from->len_max : MAX(s->len_max, from->len_max);
    }
    s->numbers += MIN(from->numbers, UINT32_MAX - s->numbers);
    s->strings += MIN(from->strings, UINT32_MAX - s->strings);
    for (size_t i = 0, at = 0; i < from->n; i++) {
        const struct slice value = {from->text + at + 1, (unsigned char)from->text[at]};
        keep(m, s, value);
        at += 1 + value.n;
    }
    if (from->many)
        keep_few(m, s);
}
