/* SPDX-License-Identifier: MIT */
/* line_parse: a line (line.c has its form) is taken apart, and its sum checked.
 *
 * (1) Nothing but the form is accepted, but it is taken from the CRC that meta and data are JSON, and names UTF-8.
 * (2) Nothing outside of the bytes given is read, nor beyond their first LF, which ends the line.
 * On the hottest path of opening without a checkpoint: strings are searched sixteen bytes at a time, an id of the
 * store's own and a time in the same second as the one before are read as what they are. */
#include "line.h"

#include "crc.h"
#include "hex16.h"

#include <errno.h>

#define NUMBER_SURE 19 /* digits that a uint64_t holds in any case */

uint64_t line_id_seq(struct slice id)
{
    const char *const p = id.p;
    uint64_t high, low;
    char hex[32];

    if (id.n != LINE_ID_BYTES || p[8] != '-' || p[13] != '-' || p[18] != '-' || p[23] != '-' ||
        p[14] != '7')
        return 0;
    memcpy(hex, p, 8);
    memcpy(hex + 8, p + 9, 4);
    memcpy(hex + 12, p + 14, 4);
    memcpy(hex + 16, p + 19, 4);
    memcpy(hex + 20, p + 24, 12);
    if (!read_hex16(hex, &high) || !read_hex16(hex + 16, &low) || low >> 62 != 2)
        return 0;
    return low >> LINE_KEY_BITS & ((1ull << LINE_SEQ_BITS) - 1);
}

/* Where the walk is: [p, end). Each step returns false where the bytes are not what must stand
 * there, and reads nothing at or beyond end. */
struct walk {
    const char *p, *end;
};

#define EAT(w, literal)                                                                            \
    ((size_t)((w)->end - (w)->p) >= sizeof(literal) - 1 &&                                         \
     memcmp((w)->p, literal, sizeof(literal) - 1) == 0 && ((w)->p += sizeof(literal) - 1, true))

static inline bool eat_number(struct walk *w, uint64_t min, uint64_t max, uint64_t *ret)
{
    const char *const first = w->p, *p = first;
    const char *const sure = w->end - first > NUMBER_SURE ? first + NUMBER_SURE : w->end;
    uint64_t v = 0;
    unsigned digit;

    for (; p < sure && (digit = (unsigned char)(*p - '0')) <= 9; p++)
        v = v * 10 + digit;
    for (; UNLIKELY(p - first >= NUMBER_SURE) && p < w->end &&
           (digit = (unsigned char)(*p - '0')) <= 9;
         p++)
        if (__builtin_mul_overflow(v, 10u, &v) || __builtin_add_overflow(v, digit, &v))
            return false;
    w->p = p;
    *ret = v;
    return p > first && (*first != '0' || p == first + 1) && v >= min && v <= max;
}

/* Bytes of v that end the plain run of a string ('"', '\\', below 0x20), as top bits; bytes in
 * front of the lowest that is set are surely plain. */
static inline uint64_t special(uint64_t v)
{
    const uint64_t ones = 0x0101010101010101u, tops = ones << 7;
    uint64_t quote = v ^ ones * '"', back = v ^ ones * '\\';

    return ((quote - ones) & ~quote & tops) | ((back - ones) & ~back & tops) |
           ((v - ones * 0x20) & ~v & tops);
}

/* Where the run of plain bytes at p ends: at a special one, or at end. */
static inline const char *plain_end(const char *p, const char *end)
{
#if defined(__SSE2__)
    for (; end - p >= 16; p += 16) {
        const __m128i v = _mm_loadu_si128((const __m128i *)(const void *)p);
        const __m128i low = _mm_cmpeq_epi8(_mm_min_epu8(v, _mm_set1_epi8(0x1f)), v);
        const __m128i quote = _mm_cmpeq_epi8(v, _mm_set1_epi8('"'));
        const __m128i back = _mm_cmpeq_epi8(v, _mm_set1_epi8('\\'));
        int found = _mm_movemask_epi8(_mm_or_si128(_mm_or_si128(quote, back), low));
        if (found)
            return p + __builtin_ctz((unsigned)found);
    }
#endif
    for (; end - p >= 8; p += 8) {
        uint64_t found = special(le64toh(load64(p)));
        if (found)
            return p + __builtin_ctzll(found) / 8;
    }
    while (p < end && *p != '"' && *p != '\\' && (unsigned char)*p >= 0x20)
        p++;
    return p;
}

/* Bytes of the escape at p, 2 or 6; 0 if scan_encode() does not write it. Checked here, as
 * scan_decode() trusts what it is given. */
static size_t escape_bytes(const char *p, const char *end)
{
    if (end - p >= 2 && p[1] != '\0' && strchr("\"\\bfnrt", p[1]))
        return 2;
    if (end - p < 6 || memcmp(p, "\\u00", 4) != 0 || (p[4] != '0' && p[4] != '1'))
        return 0;
    if (p[4] == '0' && (p[5] == '8' || p[5] == '9' || p[5] == 'a' || p[5] == 'c' || p[5] == 'd'))
        return 0; /* has a short form */
    return (p[5] >= '0' && p[5] <= '9') || (p[5] >= 'a' && p[5] <= 'f') ? 6 : 0;
}

/* The inside of a string of at least 1 byte; w is behind its opening quote, and then behind the
 * closing. */
static inline bool eat_string(struct walk *w, struct slice *ret, bool *ret_escape)
{
    const char *p = plain_end(w->p, w->end);

    *ret_escape = false;
    while (UNLIKELY(p < w->end && *p == '\\')) {
        size_t n = escape_bytes(p, w->end);
        if (n == 0)
            return false;
        *ret_escape = true;
        p = plain_end(p + n, w->end);
    }
    if (p >= w->end || *p != '"')
        return false;
    *ret = (struct slice){w->p, (size_t)(p - w->p)};
    w->p = p + 1;
    return ret->n > 0;
}

/* Behind the closing quote of a string of meta, with any escapes; NULL if it has none. */
static const char *skip_string(const char *p, const char *end)
{
    while (p < end && *p != '"') {
        if (*p == '\\')
            p += MIN(2, end - p);
        else
            p = (unsigned char)*p < 0x20 ? p + 1 : plain_end(p, end);
    }
    return p < end ? p + 1 : NULL;
}

/* An object, without a look at its grammar: brackets outside of strings. */
static bool eat_object(struct walk *w, struct slice *ret)
{
    const char *p = w->p;
    size_t depth = 0;

    if (p >= w->end || *p != '{')
        return false;
    do {
        if (p >= w->end)
            return false;
        char c = *p++;
        if (c == '{' || c == '[')
            depth++;
        else if (c == '}' || c == ']')
            depth--;
        else if (c == '"' && !(p = skip_string(p, w->end)))
            return false;
    } while (depth > 0);
    *ret = (struct slice){w->p, (size_t)(p - w->p)};
    w->p = p;
    return true;
}

/* The store's own id is looked at but once. */
static inline bool eat_id(struct walk *w, struct line *l)
{
    const struct slice own = {w->p, LINE_ID_BYTES};

    l->id_escape = false;
    l->id_seq = 0;
    if (LIKELY(w->end - w->p > LINE_ID_BYTES && w->p[LINE_ID_BYTES] == '"'))
        l->id_seq = line_id_seq(own);
    if (UNLIKELY(l->id_seq == 0))
        return eat_string(w, &l->id, &l->id_escape);
    l->id = own;
    w->p += LINE_ID_BYTES + 1;
    return true;
}

/* Is the sum of all but the digits what they say? */
static inline bool sum_ok(const char *p, size_t n, const char *digits, uint32_t *ret)
{
    const char *rest = digits + LINE_CRC_BYTES;
    char want[LINE_CRC_BYTES];

    *ret = crc32c_two(p, (size_t)(digits - p), rest, (size_t)(p + n - rest));
    (void)put_hex8(want, *ret);
    return load64(want) == load64(digits);
}

/* Everything but the meaning of the times and the sum, of n bytes that end with the only LF. */
static bool walk_line(const char *p, size_t n, struct line *l, struct slice *recorded,
                      const char **ret_digits)
{
    struct walk walk = {p, p + n - 2}, *const w = &walk;
    uint64_t uid, tx = 0;
    bool unused; /* of times: clock_parse() knows no escapes */

    if (!EAT(w, "{\"seq\":") || !eat_number(w, 1, UINT64_MAX, &l->seq) || !EAT(w, ",\"id\":\"") ||
        !eat_id(w, l) || !EAT(w, ",\"time\":\"") || !eat_string(w, &l->time, &unused))
        return false;
    if (EAT(w, ",\"recorded\":\"") && !eat_string(w, recorded, &unused))
        return false;
    if (!EAT(w, ",\"entity\":\"") || !eat_string(w, &l->entity, &l->entity_escape) ||
        !EAT(w, ",\"type\":\"") || !eat_string(w, &l->type, &l->type_escape) ||
        !EAT(w, ",\"version\":") || !eat_number(w, 1, UINT64_MAX, &l->version) ||
        !EAT(w, ",\"uid\":") || !eat_number(w, 0, UINT32_MAX, &uid))
        return false;
    if (EAT(w, ",\"tx\":") && !eat_number(w, 1, UINT32_MAX, &tx))
        return false;
    l->meta = (struct slice){0};
    if (EAT(w, ",\"meta\":") && !eat_object(w, &l->meta))
        return false;
    if (!EAT(w, ",\"crc\":\"") || w->end - w->p < LINE_CRC_BYTES)
        return false;
    *ret_digits = w->p;
    w->p += LINE_CRC_BYTES;
    if (!EAT(w, "\",\"data\":") || w->p == w->end)
        return false;
    l->uid = (uint32_t)uid;
    l->tx = (uint32_t)tx;
    l->id_key = 0;
    l->meta_breaks = l->data_breaks = false;
    l->data = (struct slice){w->p, (size_t)(w->end - w->p)};
    return true;
}

/* When it was recorded: of a line without, its time in the only spelling that there is. */
static inline bool read_times(struct line *l, struct slice recorded, struct clock_text *near)
{
    int64_t time_us;

    if (LIKELY(!recorded.p))
        return clock_parse_near(near, l->time, &l->recorded_us) > 0;
    return clock_parse_near(near, recorded, &l->recorded_us) > 0 &&
           clock_parse(l->time, &time_us) == 0 && !slice_eq(recorded, l->time);
}

int line_read(const char *p, size_t n, struct clock_text *near, struct line *ret,
              uint32_t *ret_data, uint32_t *ret_crc)
{
    const char *const lf = memchr(p, '\n', n), *digits;
    struct slice recorded = {0};
    uint32_t crc;

    if (!lf || lf == p || lf[-1] != '}' || lf - p >= INT32_MAX)
        return -EBADMSG;
    n = (size_t)(lf - p) + 1;
    if (!walk_line(p, n, ret, &recorded, &digits) || !read_times(ret, recorded, near) ||
        !sum_ok(p, n, digits, &crc))
        return -EBADMSG;
    if (ret_data)
        *ret_data = (uint32_t)(ret->data.p - p);
    if (ret_crc)
        *ret_crc = crc;
    return (int)n;
}

int line_parse(const char *p, size_t n, struct line *ret, uint32_t *ret_data, uint32_t *ret_crc)
{
    struct clock_text near = {0};
    uint32_t data, crc;
    struct line l;

    if (line_read(p, n, &near, &l, &data, &crc) != (int64_t)n)
        return -EBADMSG;
    *ret = l;
    if (ret_data)
        *ret_data = data;
    if (ret_crc)
        *ret_crc = crc;
    return 0;
}

bool line_crc_ok(const char *p, size_t n, uint32_t data)
{
    static const char before[] = ",\"crc\":\"", behind[] = "\",\"data\":", end[] = "}\n";
    const size_t least = sizeof "{" - 1 + sizeof before - 1 + LINE_CRC_BYTES + sizeof behind - 1;
    const size_t digits = data - (sizeof behind - 1) - LINE_CRC_BYTES;
    uint32_t crc;

    if (data < least || n < data + (sizeof end - 1) ||
        memcmp(p + n - (sizeof end - 1), end, sizeof end - 1) != 0 ||
        memcmp(p + data - (sizeof behind - 1), behind, sizeof behind - 1) != 0 ||
        memcmp(p + digits - (sizeof before - 1), before, sizeof before - 1) != 0)
        return false;
    return sum_ok(p, n, p + digits, &crc);
}
