/* SPDX-License-Identifier: MIT */
/* A line is an object with these fields, in this order, without blanks between them, and a LF:
 *   seq id time [recorded] entity type version uid [tx] [meta] crc data
 * (1) Numbers are decimal, without leading zeros; seq, version and tx are at least 1.
 * (2) recorded is there only where its text would differ from time's; tx only where it is not 0.
 * (3) Strings have only the escapes that JSON requires; meta and data are bytes as the writer
 *     gave them, but for CR and LF, which are blanks: the only LF of a line is its last byte.
 * (4) crc is CRC32C over every byte but its own eight digits, the LF included.
 * line_parse() accepts nothing else, but takes it from the CRC that meta and data are JSON, and
 * names UTF-8.
 *
 * Both are on the hottest paths of the store (append, replay): digits are stored in pairs,
 * strings are copied or searched eight bytes at a time, and nothing is formatted by printf. */
#include "line.h"

#include "crc.h"
#include "scan.h"

#include <endian.h>
#include <errno.h>

#define NUMBER_BYTES 20 /* of the largest uint64_t */
#define CRC_BYTES    8
#define SEQ_BITS     40 /* in the store's own id */
#define KEY_BITS     22

/* ---- writing --------------------------------------------------------------------------------- */

static inline char *put(char *o, const char *p, size_t n)
{
    memcpy(o, p, n);
    return o + n;
}
#define PUT(o, literal) put((o), (literal), sizeof(literal) - 1)

static char *put_number(char *o, uint64_t v)
{
    static const char pairs[200] = "0001020304050607080910111213141516171819"
                                   "2021222324252627282930313233343536373839"
                                   "4041424344454647484950515253545556575859"
                                   "6061626364656667686970717273747576777879"
                                   "8081828384858687888990919293949596979899";
    char text[NUMBER_BYTES], *p = text + sizeof text;

    for (; v >= 100; v /= 100)
        p = memcpy(p - 2, pairs + v % 100 * 2, 2);
    if (v >= 10)
        p = memcpy(p - 2, pairs + v * 2, 2);
    else
        *--p = (char)('0' + v);
    return put(o, p, (size_t)(text + sizeof text - p));
}

/* Eight lower-case digits at once: each nibble into its own byte, then those above 9 get 'a' -
 * '9' - 1. */
static char *put_hex(char *o, uint32_t value)
{
    const uint64_t ones = 0x0101010101010101u;
    uint64_t v = value;

    v = (v << 16 | v) & 0x0000ffff0000ffffu;
    v = (v << 8 | v) & 0x00ff00ff00ff00ffu;
    v = (v << 4 | v) & 0x0f0f0f0f0f0f0f0fu;
    v += ones * '0' + ((v + ones * 6) >> 4 & ones) * ('a' - '9' - 1);
    v = htobe64(v);
    memcpy(o, &v, 8);
    return o + 8;
}

static inline char *put_name(char *o, struct slice s, bool escape)
{
    return UNLIKELY(escape) ? o + scan_encode(s, o) : put(o, s.p, s.n);
}

static char *put_json(char *o, struct slice s, bool breaks)
{
    char *end = put(o, s.p, s.n);

    if (UNLIKELY(breaks)) {
        for (; o < end; o++)
            *o = *o == '\n' || *o == '\r' ? ' ' : *o;
    }
    return end;
}

void line_own_id(int64_t recorded_us, uint64_t seq, uint32_t key, char out[LINE_ID_BYTES])
{
    int64_t ms = recorded_us / 1000 - (recorded_us % 1000 < 0);
    uint32_t of_ms = (uint32_t)(recorded_us - ms * 1000) * 4096 / 1000;
    uint64_t low =
        1ull << 63 | (seq & ((1ull << SEQ_BITS) - 1)) << KEY_BITS | (key & ((1u << KEY_BITS) - 1));
    char hex[32];

    put_hex(hex, (uint32_t)((uint64_t)ms >> 16));
    put_hex(hex + 8, (uint32_t)((uint64_t)ms << 16 | 0x7000 | of_ms));
    put_hex(hex + 16, (uint32_t)(low >> 32));
    put_hex(hex + 24, (uint32_t)low);
    memcpy(out, hex, 8);
    out[8] = '-';
    memcpy(out + 9, hex + 8, 4);
    out[13] = '-';
    memcpy(out + 14, hex + 12, 4);
    out[18] = '-';
    memcpy(out + 19, hex + 16, 4);
    out[23] = '-';
    memcpy(out + 24, hex + 20, 12);
}

size_t line_bound(const struct line *l)
{
    /* All constant pieces with null for data, the numbers, the store's own id and time. */
    static const char all[] =
        "{\"seq\":,\"id\":\"\",\"time\":\"\",\"recorded\":\"\",\"entity\":\"\","
        "\"type\":\"\",\"version\":,\"uid\":,\"tx\":,\"meta\":,\"crc\":\"\","
        "\"data\":null}\n";

    return sizeof all + 4 * NUMBER_BYTES + LINE_ID_BYTES + 2 * CLOCK_TEXT_BYTES + CRC_BYTES +
           l->id.n * (l->id_escape ? 6 : 1) + l->time.n + l->entity.n * (l->entity_escape ? 6 : 1) +
           l->type.n * (l->type_escape ? 6 : 1) + l->meta.n + l->data.n;
}

static char *put_times(char *o, const struct line *l, struct clock_text *c)
{
    char text[CLOCK_TEXT_BYTES];

    clock_format(c, l->recorded_us, text);
    if (!l->time.p || slice_eq(l->time, (struct slice){text, sizeof text}))
        return put(o, text, sizeof text);
    o = put(o, l->time.p, l->time.n);
    o = PUT(o, "\",\"recorded\":\"");
    return put(o, text, sizeof text);
}

size_t line_write(const struct line *l, struct clock_text *c, char *out, uint32_t *ret_data,
                  uint32_t *ret_crc)
{
    char *o = PUT(out, "{\"seq\":"), *digits;
    uint32_t crc;

    o = put_number(o, l->seq);
    o = PUT(o, ",\"id\":\"");
    if (l->id.p) {
        o = put_name(o, l->id, l->id_escape);
    } else {
        line_own_id(l->recorded_us, l->seq, l->id_key, o);
        o += LINE_ID_BYTES;
    }
    o = PUT(o, "\",\"time\":\"");
    o = put_times(o, l, c);
    o = PUT(o, "\",\"entity\":\"");
    o = put_name(o, l->entity, l->entity_escape);
    o = PUT(o, "\",\"type\":\"");
    o = put_name(o, l->type, l->type_escape);
    o = PUT(o, "\",\"version\":");
    o = put_number(o, l->version);
    o = PUT(o, ",\"uid\":");
    o = put_number(o, l->uid);
    if (l->tx > 0) {
        o = PUT(o, ",\"tx\":");
        o = put_number(o, l->tx);
    }
    if (l->meta.p) {
        o = PUT(o, ",\"meta\":");
        o = put_json(o, l->meta, l->meta_breaks);
    }
    digits = o = PUT(o, ",\"crc\":\"");
    o = PUT(o + CRC_BYTES, "\",\"data\":");
    *ret_data = (uint32_t)(o - out);
    o = l->data.p ? put_json(o, l->data, l->data_breaks) : PUT(o, "null");
    o = PUT(o, "}\n");
    crc = crc32c(0, out, (size_t)(digits - out));
    crc = crc32c(crc, digits + CRC_BYTES, (size_t)(o - digits) - CRC_BYTES);
    put_hex(digits, crc);
    *ret_crc = crc;
    return (size_t)(o - out);
}

/* ---- taking apart ---------------------------------------------------------------------------- */

/* Where the walk is: [p, end). Each step returns false where the bytes are not what must stand
 * there, and reads nothing at or beyond end. */
struct walk {
    const char *p, *end;
};

static inline bool eat(struct walk *w, const char *literal, size_t n)
{
    if ((size_t)(w->end - w->p) < n || memcmp(w->p, literal, n) != 0)
        return false;
    w->p += n;
    return true;
}
#define EAT(w, literal) eat((w), (literal), sizeof(literal) - 1)

static inline bool eat_number(struct walk *w, uint64_t min, uint64_t max, uint64_t *ret)
{
    const char *first = w->p;
    uint64_t v = 0;

    for (; w->p < w->end && (unsigned char)(*w->p - '0') <= 9; w->p++) {
        uint64_t digit = (uint64_t)(*w->p - '0');
        if (UNLIKELY(w->p - first >= NUMBER_BYTES - 1) &&
            (__builtin_mul_overflow(v, 10u, &v) || __builtin_add_overflow(v, digit, &v)))
            return false;
        else if (w->p - first < NUMBER_BYTES - 1)
            v = v * 10 + digit;
    }
    *ret = v;
    return w->p > first && (*first != '0' || w->p == first + 1) && v >= min && v <= max;
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

static bool eat_crc(struct walk *w, uint32_t *ret)
{
    uint32_t v = 0;

    if (w->end - w->p < CRC_BYTES)
        return false;
    for (int i = 0; i < CRC_BYTES; i++) {
        unsigned char c = (unsigned char)w->p[i];
        unsigned digit = c <= '9' ? c - (unsigned)'0' : c < 'a' ? 16 : c - (unsigned)'a' + 10;
        if (digit > 15)
            return false;
        v = v << 4 | digit;
    }
    w->p += CRC_BYTES;
    *ret = v;
    return true;
}

struct found {
    struct slice recorded; /* p NULL: not given */
    const char *digits;    /* of the crc */
    uint32_t crc, data;
};

/* Everything but the meaning of the times and the sum. */
static bool walk_line(const char *p, size_t n, struct line *l, struct found *f)
{
    struct walk *w = &(struct walk){p, p + n};
    uint64_t uid, tx;
    bool unused; /* of times: clock_parse() knows no escapes */

    if (n < 2 || p[n - 2] != '}' || memchr(p, '\n', n) != p + n - 1)
        return false;
    w->end -= 2;
    if (!EAT(w, "{\"seq\":") || !eat_number(w, 1, UINT64_MAX, &l->seq) || !EAT(w, ",\"id\":\"") ||
        !eat_string(w, &l->id, &l->id_escape) || !EAT(w, ",\"time\":\"") ||
        !eat_string(w, &l->time, &unused))
        return false;
    if (EAT(w, ",\"recorded\":\"") && !eat_string(w, &f->recorded, &unused))
        return false;
    if (!EAT(w, ",\"entity\":\"") || !eat_string(w, &l->entity, &l->entity_escape) ||
        !EAT(w, ",\"type\":\"") || !eat_string(w, &l->type, &l->type_escape) ||
        !EAT(w, ",\"version\":") || !eat_number(w, 1, UINT64_MAX, &l->version) ||
        !EAT(w, ",\"uid\":") || !eat_number(w, 0, UINT32_MAX, &uid))
        return false;
    l->uid = (uint32_t)uid;
    if (EAT(w, ",\"tx\":")) {
        if (!eat_number(w, 1, UINT32_MAX, &tx))
            return false;
        l->tx = (uint32_t)tx;
    }
    if (EAT(w, ",\"meta\":") && !eat_object(w, &l->meta))
        return false;
    if (!EAT(w, ",\"crc\":\""))
        return false;
    f->digits = w->p;
    if (!eat_crc(w, &f->crc) || !EAT(w, "\",\"data\":") || w->p == w->end ||
        w->end - p > UINT32_MAX)
        return false;
    l->data = (struct slice){w->p, (size_t)(w->end - w->p)};
    f->data = (uint32_t)(w->p - p);
    return true;
}

static bool sum_ok(const char *p, size_t n, const struct found *f)
{
    uint32_t crc = crc32c(0, p, (size_t)(f->digits - p));
    const char *rest = f->digits + CRC_BYTES;

    return crc32c(crc, rest, (size_t)(p + n - rest)) == f->crc;
}

/* Is s what clock_format() writes? us is what clock_parse() made of it. */
static bool is_canonical(struct slice s)
{
    return s.n == CLOCK_TEXT_BYTES && s.p[10] == 'T' && s.p[17] != '6' && s.p[19] == '.' &&
           s.p[CLOCK_TEXT_BYTES - 1] == 'Z';
}

static bool read_times(struct line *l, const struct found *f)
{
    int64_t time_us;

    if (clock_parse(l->time, &time_us) < 0)
        return false;
    if (!f->recorded.p) {
        l->recorded_us = time_us;
        return is_canonical(l->time);
    }
    return clock_parse(f->recorded, &l->recorded_us) == 0 && is_canonical(f->recorded) &&
           !slice_eq(f->recorded, l->time);
}

int line_parse(const char *p, size_t n, struct line *ret, uint32_t *ret_data, uint32_t *ret_crc)
{
    struct line l = {0};
    struct found f = {0};

    if (!walk_line(p, n, &l, &f) || !read_times(&l, &f) || !sum_ok(p, n, &f))
        return -EBADMSG;
    *ret = l;
    if (ret_data)
        *ret_data = f.data;
    if (ret_crc)
        *ret_crc = f.crc;
    return 0;
}

bool line_crc_ok(const char *p, size_t n, uint32_t data)
{
    static const char before[] = "\"crc\":\"", behind[] = "\",\"data\":";
    const size_t digits = data - (sizeof behind - 1) - CRC_BYTES;
    uint32_t want = 0;

    if (data < sizeof before + sizeof behind + CRC_BYTES || n < 2 || data > n - 2 ||
        p[n - 2] != '}' || p[n - 1] != '\n' ||
        memcmp(p + data - (sizeof behind - 1), behind, sizeof behind - 1) != 0 ||
        memcmp(p + digits - (sizeof before - 1), before, sizeof before - 1) != 0)
        return false;
    for (size_t i = 0; i < CRC_BYTES; i++) {
        char c = p[digits + i];
        if (!(c >= '0' && c <= '9') && !(c >= 'a' && c <= 'f'))
            return false;
        want = want << 4 | (uint32_t)(c <= '9' ? c - '0' : c - 'a' + 10);
    }
    uint32_t crc = crc32c(0, p, digits);
    return crc32c(crc, p + digits + CRC_BYTES, n - digits - CRC_BYTES) == want;
}

uint64_t line_id_seq(struct slice id)
{
    uint64_t low = 0;

    if (id.n != LINE_ID_BYTES)
        return 0;
    for (size_t i = 0; i < LINE_ID_BYTES; i++) {
        char c = id.p[i];
        bool dash = i == 8 || i == 13 || i == 18 || i == 23, digit = c >= '0' && c <= '9';
        if (dash ? c != '-' : !digit && !(c >= 'a' && c <= 'f'))
            return 0;
        if (!dash)
            low =
                low << 4 | (uint64_t)(digit ? c - '0' : c - 'a' + 10); /* the last 16 digits stay */
    }
    if (id.p[14] != '7' || low >> 62 != 2)
        return 0;
    return low >> KEY_BITS & ((1ull << SEQ_BITS) - 1);
}
