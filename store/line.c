/* SPDX-License-Identifier: MIT */
/* A line is an object with these fields, in this order, without blanks between them, and a LF:
 *   seq id time [recorded] entity type version uid [tx] [meta] crc data
 * (1) Numbers are decimal, without leading zeros; seq, version and tx are at least 1.
 * (2) recorded is there only where its text would differ from time's; tx only where it is not 0.
 * (3) Strings have only the escapes that JSON requires; meta and data are bytes as the writer
 *     gave them, but for CR and LF, which are blanks: the only LF of a line is its last byte.
 * (4) crc is CRC32C over every byte but its own eight digits, the LF included.
 * Here it is written, in line_parse.c read.
 *
 * On the hottest path of the store, appending: digits are stored by fours, what neighbours have in common is kept as
 * text, and nothing is formatted by printf. */
#include "line.h"

#include "crc.h"
#include "hex16.h"
#include "scan.h"

#include <endian.h>
#if defined(__SSE2__)
#include <emmintrin.h>
#endif

#define NUMBER_BYTES 20 /* of the largest uint64_t */

/* ---- writing --------------------------------------------------------------------------------- */

static inline char *put(char *o, const char *p, size_t n)
{
    memcpy(o, p, n);
    return o + n;
}
#define PUT(o, literal) put((o), (literal), sizeof(literal) - 1)

/* The same for few bytes, without a call: two moves that overlap. */
static inline char *put_short(char *o, const char *p, size_t n)
{
    if (UNLIKELY(n > 32))
        return put(o, p, n);
    if (n > 16) {
        memcpy(o, p, 16);
        memcpy(o + n - 16, p + n - 16, 16);
    } else if (n >= 8) {
        memcpy(o, p, 8);
        memcpy(o + n - 8, p + n - 8, 8);
    } else if (n >= 4) {
        memcpy(o, p, 4);
        memcpy(o + n - 4, p + n - 4, 4);
    } else if (n > 0) {
        o[0] = p[0];
        o[n / 2] = p[n / 2];
        o[n - 1] = p[n - 1];
    }
    return o + n;
}

/* v < 10000 as four digits, the first in the lowest byte. */
static inline uint32_t four_digits(uint32_t v)
{
    static const char pairs[201] = "0001020304050607080910111213141516171819"
                                   "2021222324252627282930313233343536373839"
                                   "4041424344454647484950515253545556575859"
                                   "6061626364656667686970717273747576777879"
                                   "8081828384858687888990919293949596979899";
    uint16_t high, low;

    memcpy(&high, pairs + v / 100 * 2, 2);
    memcpy(&low, pairs + v % 100 * 2, 2);
    return le16toh(high) | (uint32_t)le16toh(low) << 16;
}

/* May use 3 bytes more than the number has: something longer follows each. */
static char *put_number(char *o, uint64_t v)
{
    uint32_t digits;

    if (UNLIKELY(v >= 10000)) {
        o = put_number(o, v / 10000);
        digits = htole32(four_digits((uint32_t)(v % 10000)));
        return put(o, (const char *)&digits, 4);
    }
    const unsigned zeros = (v < 10) + (v < 100) + (v < 1000);
    digits = htole32(four_digits((uint32_t)v) >> 8 * zeros);
    return put(o, (const char *)&digits, 4) - zeros;
}

/* Sixteen digits, lower case. */
#if defined(__SSE2__) && defined(__x86_64__)
static inline void put_hex16(char *o, uint64_t v)
{
    const __m128i nine = _mm_set1_epi8(9), digit = _mm_set1_epi8('0');
    __m128i b = _mm_cvtsi64_si128((int64_t)__builtin_bswap64(v));
    __m128i n = _mm_and_si128(_mm_unpacklo_epi8(_mm_srli_epi64(b, 4), b), _mm_set1_epi8(15));
    __m128i letter = _mm_and_si128(_mm_cmpgt_epi8(n, nine), _mm_set1_epi8('a' - '9' - 1));

    _mm_storeu_si128((__m128i *)(void *)o, _mm_add_epi8(_mm_add_epi8(n, digit), letter));
}
#else
static inline void put_hex16(char *o, uint64_t v)
{
    (void)put_hex8(put_hex8(o, (uint32_t)(v >> 32)), (uint32_t)v);
}
#endif

static inline char *put_name(char *o, struct slice s, bool escape)
{
    return UNLIKELY(escape) ? o + scan_encode(s, o) : put_short(o, s.p, s.n);
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

/* The first ID_HEAD bytes of an id, which are the time, with the dash behind them; and the rest. */
#define ID_HEAD 19
#define TIME_AT 10 /* in the time of a memo, behind ","time":" */

static void put_id_head(char *o, int64_t recorded_us)
{
    int64_t ms = recorded_us / 1000 - (recorded_us % 1000 < 0);
    uint32_t of_ms = (uint32_t)(recorded_us - ms * 1000) * 4096 / 1000;
    char hex[16];

    put_hex16(hex, (uint64_t)ms << 16 | 0x7000 | of_ms);
    o = put(o, hex, 8);
    *o++ = '-';
    o = put(o, hex + 8, 4);
    *o++ = '-';
    o = put(o, hex + 12, 4);
    *o = '-';
}

static inline char *put_id_rest(char *o, uint64_t seq, uint32_t key)
{
    const uint64_t low = 1ull << 63 | (seq & ((1ull << LINE_SEQ_BITS) - 1)) << LINE_KEY_BITS |
                         (key & ((1u << LINE_KEY_BITS) - 1));

    put_hex16(o + 1, low);
    const uint32_t first = load32(o + 1);
    memcpy(o, &first, sizeof first);
    o[4] = '-';
    return o + LINE_ID_BYTES - ID_HEAD;
}

void line_own_id(int64_t recorded_us, uint64_t seq, uint32_t key, char out[LINE_ID_BYTES])
{
    put_id_head(out, recorded_us);
    (void)put_id_rest(out + ID_HEAD, seq, key);
}

size_t line_bound(const struct line *l)
{
    /* All constant pieces with null for data, the numbers, the store's own id and time. */
    static const char all[] =
        "{\"seq\":,\"id\":\"\",\"time\":\"\",\"recorded\":\"\",\"entity\":\"\","
        "\"type\":\"\",\"version\":,\"uid\":,\"tx\":,\"meta\":,\"crc\":\"\","
        "\"data\":null}\n";

    return sizeof all + 4 * NUMBER_BYTES + LINE_ID_BYTES + 2 * CLOCK_TEXT_BYTES + LINE_CRC_BYTES +
           l->id.n * (l->id_escape ? 6 : 1) + l->time.n + l->entity.n * (l->entity_escape ? 6 : 1) +
           l->type.n * (l->type_escape ? 6 : 1) + l->meta.n + l->data.n;
}

/* ,"id":" and the head of an id; ","time":" and the time and ","entity":"; ,"uid": and the uid and ,"crc":" */
static void memo_time(struct line_memo *m, int64_t recorded_us)
{
    char *o = PUT(m->id, ",\"id\":\"");

    put_id_head(o, recorded_us);
    if (!m->has_time)
        m->clock.second = INT64_MIN;
    o = PUT(m->time, "\",\"time\":\"");
    clock_format(&m->clock, recorded_us, o);
    (void)PUT(o + CLOCK_TEXT_BYTES, "\",\"entity\":\"");
    m->recorded_us = recorded_us;
    m->has_time = true;
}

static void memo_uid(struct line_memo *m, uint32_t uid)
{
    char *o = put_number(PUT(m->uid_text, ",\"uid\":"), uid);

    m->uid_n = (uint8_t)(PUT(o, ",\"crc\":\"") - m->uid_text);
    m->crc_n = (uint8_t)(m->uid_text + m->uid_n - o);
    m->uid = uid;
    m->has_uid = true;
}

/* seq, mostly the one after the last. */
static inline char *put_seq(char *o, uint64_t seq, struct line_memo *m)
{
    if (LIKELY(seq == m->seq + 1 && m->seq_n > 0 && m->seq_text[m->seq_n - 1] < '9'))
        m->seq_text[m->seq_n - 1]++;
    else
        m->seq_n = (uint8_t)(put_number(m->seq_text, seq) - m->seq_text);
    m->seq = seq;
    memcpy(o, m->seq_text, sizeof m->seq_text);
    return o + m->seq_n;
}

/* From the id to the quote before the entity. */
static inline char *put_id_time(char *o, const struct line *l, const struct line_memo *m)
{
    const struct slice now = {m->time + TIME_AT, CLOCK_TEXT_BYTES};

    if (LIKELY(!l->id.p)) {
        memcpy(o, m->id, sizeof m->id);
        o = put_id_rest(o + sizeof m->id, l->seq, l->id_key);
    } else {
        o = PUT(o, ",\"id\":\"");
        o = put_name(o, l->id, l->id_escape);
    }
    if (UNLIKELY(l->time.p && !slice_eq(l->time, now))) {
        o = PUT(o, "\",\"time\":\"");
        o = put(o, l->time.p, l->time.n);
        o = PUT(o, "\",\"recorded\":\"");
        return put(o, now.p, sizeof m->time - TIME_AT);
    }
    return put(o, m->time, sizeof m->time);
}

size_t line_write(const struct line *l, struct line_memo *m, char *out, uint32_t *ret_data,
                  uint32_t *ret_crc)
{
    char *o = out, *digits;

    if (UNLIKELY(l->recorded_us != m->recorded_us || !m->has_time))
        memo_time(m, l->recorded_us);
    if (UNLIKELY(l->uid != m->uid || !m->has_uid))
        memo_uid(m, l->uid);
    o = PUT(o, "{\"seq\":");
    o = put_seq(o, l->seq, m);
    o = put_id_time(o, l, m);
    o = put_name(o, l->entity, l->entity_escape);
    o = PUT(o, "\",\"type\":\"");
    o = put_name(o, l->type, l->type_escape);
    o = PUT(o, "\",\"version\":");
    o = put_number(o, l->version);
    memcpy(o, m->uid_text, sizeof m->uid_text); /* what is too much is written over */
    o += m->uid_n;
    if (UNLIKELY(l->tx > 0 || l->meta.p)) {
        o -= m->crc_n;
        if (l->tx > 0) {
            o = PUT(o, ",\"tx\":");
            o = put_number(o, l->tx);
        }
        if (l->meta.p) {
            o = PUT(o, ",\"meta\":");
            o = put_json(o, l->meta, l->meta_breaks);
        }
        o = PUT(o, ",\"crc\":\"");
    }
    digits = o;
    o = PUT(o + LINE_CRC_BYTES, "\",\"data\":");
    *ret_data = (uint32_t)(o - out);
    o = l->data.p ? put_json(o, l->data, l->data_breaks) : PUT(o, "null");
    o = PUT(o, "}\n");
    *ret_crc = crc32c_two(out, (size_t)(digits - out), digits + LINE_CRC_BYTES,
                          (size_t)(o - digits) - LINE_CRC_BYTES);
    (void)put_hex8(digits, *ret_crc);
    return (size_t)(o - out);
}
