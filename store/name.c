/* SPDX-License-Identifier: MIT */
/* What a component or a type becomes as a file name:
 *   '/' (only in a type), '%', 0x01-0x1f and 0x7f          %XX, upper case
 *   all of "." and ".."                                     %2E and %2E%2E
 *   the last dot of an ending .jsonl, .json or .csv         %2E: such names are files
 *   all of "events"                                         %65vents: events.jsonl is taken
 *   nothing at all (the middle of "a//b")                   %
 *   anything else, a leading '.' and an ending '~' too      itself
 * (1) Encoding is injective: '%' is always encoded, so that a '%' in a file name is always ours.
 * (2) Decoding is the exact inverse: what encoding does not give, byte for byte, names nothing.
 *     One name, one file; so the kernel's cache never holds two nodes for one directory.
 * (3) An encoded component has at most FILE_BYTES bytes, whichever suffix it may get. One limit
 *     for all, or an entity's file could be said and its directory not. */
#include "name.h"

#include "limits.h"
#include "scan.h"

#include <endian.h>
#include <errno.h>

#define SUFFIX_BYTES 6 /* of ".jsonl", the longest */
#define FILE_BYTES   (LIMIT_COMPONENT_FILE_BYTES - SUFFIX_BYTES)
#define PLACE_BYTES  4 /* most that encoding adds for where bytes stand: ".." becomes "%2E%2E" */

/* ---- hash ------------------------------------------------------------------------------------ */

/* Odd constants without structure: digits of the fractions of the square roots of 2, 3, 5 and 7. */
#define K0 0x6a09e667f3bcc909u
#define K1 0xbb67ae8584caa73bu
#define K2 0x3c6ef372fe94f82bu
#define K3 0xa54ff53a5f1d36f1u

/* The high and low half of a 128-bit product, folded (the idea of Wang Yi's wyhash). */
static inline uint64_t mix(uint64_t a, uint64_t b)
{
    unsigned __int128 product = (unsigned __int128)a * b;

    return (uint64_t)product ^ (uint64_t)(product >> 64);
}

static inline uint64_t le64(const char *p)
{
    return le64toh(load64(p));
}

static inline uint64_t le32(const char *p)
{
    return le32toh(load32(p));
}

/* The seed goes into both factors: else a name could be built that makes one of them 0, whatever
 * the seed, and all names like it would collide. */
uint64_t name_hash(const char *p, size_t n, uint64_t seed)
{
    uint64_t a, b, s = mix(seed ^ K0, K1 ^ n);

    if (n > 16) {
        size_t left = n;
        for (; left > 32; p += 32, left -= 32)
            s = mix(le64(p) ^ K2 ^ s, le64(p + 8) ^ s) ^
                mix(le64(p + 16) ^ K3 ^ s, le64(p + 24) ^ ~s);
        if (left > 16) {
            s = mix(le64(p) ^ K2 ^ s, le64(p + 8) ^ s);
            p += 16;
            left -= 16;
        }
        a = le64(p + left - 16); /* overlaps what was read, n > 16 */
        b = le64(p + left - 8);
    } else if (n >= 8) {
        a = le64(p);
        b = le64(p + n - 8);
    } else if (n >= 4) {
        a = le32(p);
        b = le32(p + n - 4);
    } else {
        a = n > 0 ? (uint64_t)(unsigned char)p[0] << 16 | (uint64_t)(unsigned char)p[n / 2] << 8 |
                        (unsigned char)p[n - 1]
                  : 0;
        b = 0;
    }
    return mix(mix(a ^ K2 ^ s, b ^ s) ^ K3, s ^ K0);
}

/* ---- encoding -------------------------------------------------------------------------------- */

static inline bool is_odd(char c)
{
    unsigned char u = (unsigned char)c;

    return u < 0x20 || u == 0x7f || u == '%' || u == '/';
}

static bool ends_with(const char *p, size_t n, const char *end, size_t end_n)
{
    return n >= end_n && memcmp(p + n - end_n, end, end_n) == 0;
}

/* Bytes [*from, *to) are encoded for where they stand. */
static void placed_bytes(const char *p, size_t n, size_t *from, size_t *to)
{
    *from = *to = 0;
    if (n <= 2 && memcmp(p, "..", n) == 0)
        *to = n;
    else if (n == 6 && memcmp(p, "events", 6) == 0)
        *to = 1;
    else if (ends_with(p, n, ".jsonl", 6))
        *from = n - 6;
    else if (ends_with(p, n, ".json", 5))
        *from = n - 5;
    else if (ends_with(p, n, ".csv", 4))
        *from = n - 4;
    else
        return;
    if (*to == 0)
        *to = *from + 1;
}

/* Encode a component into out (NULL: only count), at most 3 n + 1 bytes. Returns the length. */
static size_t encode(const char *p, size_t n, char *out)
{
    static const char digits[] = "0123456789ABCDEF";
    size_t from, to, len = 0;

    if (n == 0) {
        if (out)
            out[0] = '%';
        return 1;
    }
    placed_bytes(p, n, &from, &to);
    for (size_t i = 0; i < n; i++) {
        bool odd = is_odd(p[i]) || (i >= from && i < to);
        if (out && odd) {
            out[len] = '%';
            out[len + 1] = digits[(unsigned char)p[i] >> 4];
            out[len + 2] = digits[p[i] & 15];
        } else if (out) {
            out[len] = p[i];
        }
        len += odd ? 3 : 1;
    }
    return len;
}

static size_t component_end(const char *p, size_t n, size_t at)
{
    const char *slash = at < n ? memchr(p + at, '/', n - at) : NULL;

    return slash ? (size_t)(slash - p) : n;
}

/* Does some byte need encoding; how many '/' are there? Eight bytes at a time. */
static bool look(struct slice s, size_t *ret_slashes)
{
    const uint64_t ones = 0x0101010101010101u, low = 0x7f7f7f7f7f7f7f7fu;
    size_t i = 0, slashes = 0;
    bool odd = false;

    for (; i + 8 <= s.n; i += 8) {
        uint64_t v = load64(s.p + i), d = v & low;
        uint64_t ascii = ~v & ~low;          /* bytes beyond 0x7f are never odd */
        uint64_t below = ~(d + ones * 0x60); /* top bit: less than 0x20 */
        uint64_t del = d + ones;             /* top bit: 0x7f */
        uint64_t percent = ~((d ^ ones * '%') + low), slash = ~((d ^ ones * '/') + low);
        odd |= ((below | del | percent) & ascii) != 0;
        slashes += (size_t)__builtin_popcountll(slash & ascii);
    }
    for (; i < s.n; i++) {
        odd |= is_odd(s.p[i]) && s.p[i] != '/';
        slashes += s.p[i] == '/';
    }
    *ret_slashes = slashes;
    return odd;
}

int name_check_entity(struct slice id, uint64_t pos, struct evs_error *err)
{
    size_t slashes;
    bool odd = look(id, &slashes);

    if (slashes >= LIMIT_COMPONENTS)
        return evs_fail(err, EVS_NAME_TOO_LONG, pos);
    if (LIKELY(!odd && id.n <= FILE_BYTES - PLACE_BYTES))
        return 0;
    for (size_t at = 0; at <= id.n;) {
        size_t end = component_end(id.p, id.n, at);
        if (encode(id.p + at, end - at, NULL) > FILE_BYTES)
            return evs_fail(err, EVS_NAME_TOO_LONG, pos + at);
        at = end + 1;
    }
    return 0;
}

int name_check_type(struct slice type, uint64_t pos, struct evs_error *err)
{
    size_t slashes;

    if (LIKELY(!look(type, &slashes) && type.n + 2 * slashes <= FILE_BYTES - PLACE_BYTES))
        return 0;
    return encode(type.p, type.n, NULL) > FILE_BYTES ? evs_fail(err, EVS_NAME_TOO_LONG, pos) : 0;
}

static int check_name(const char *p, size_t n, size_t limit, struct evs_error *err)
{
    const char *nul;

    if (n == 0)
        return evs_fail(err, EVS_BAD_NAME, 0);
    if (n > limit)
        return evs_fail(err, EVS_NAME_TOO_LONG, limit);
    nul = memchr(p, 0, n);
    if (nul)
        return evs_fail(err, EVS_BAD_NAME, (uint64_t)(nul - p));
    return scan_is_utf8(p, n) ? 0 : evs_fail(err, EVS_BAD_UTF8, EVS_NOWHERE);
}

static int no_room(struct evs_error *err)
{
    return evs_fail_errno(err, -ERANGE, "the buffer for a name is too small");
}

int evs_encode_entity(const char *id, size_t n, char *out, size_t cap, struct evs_error *err)
{
    size_t len = 0;
    int r = check_name(id, n, LIMIT_ENTITY_BYTES, err);

    if (r == 0)
        r = name_check_entity((struct slice){id, n}, 0, err);
    if (r < 0)
        return r;
    for (size_t at = 0; at <= n;) {
        size_t end = component_end(id, n, at);
        char part[FILE_BYTES];
        size_t part_n = encode(id + at, end - at, part);
        if (len + part_n + 1 > cap) /* and a '/' or the NUL */
            return no_room(err);
        memcpy(out + len, part, part_n);
        len += part_n;
        out[len++] = '/';
        at = end + 1;
    }
    out[--len] = '\0';
    return (int)len;
}

int evs_encode_type(const char *type, size_t n, char *out, size_t cap, struct evs_error *err)
{
    size_t len;
    int r = check_name(type, n, LIMIT_TYPE_BYTES, err);

    if (r == 0)
        r = name_check_type((struct slice){type, n}, 0, err);
    if (r < 0)
        return r;
    len = encode(type, n, NULL);
    if (len + 1 > cap)
        return no_room(err);
    (void)encode(type, n, out);
    out[len] = '\0';
    return (int)len;
}

/* ---- decoding -------------------------------------------------------------------------------- */

static int upper_hex(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

/* Takes %XX back. The length, or -1 where '%' is not followed by two digits. Says nothing on
 * whether that byte had to be encoded. */
static ssize_t unescape(const char *p, size_t n, char *out)
{
    size_t len = 0;

    for (size_t i = 0; i < n; i++) {
        if (p[i] != '%') {
            out[len++] = p[i];
            continue;
        }
        int hi = i + 2 < n ? upper_hex(p[i + 1]) : -1, lo = hi >= 0 ? upper_hex(p[i + 2]) : -1;
        if (lo < 0)
            return -1;
        out[len++] = (char)(hi << 4 | lo);
        i += 2;
    }
    return (ssize_t)len;
}

int evs_decode_component(const char *comp, size_t n, bool is_type, char *out, size_t cap,
                         struct evs_error *err)
{
    char plain[FILE_BYTES], again[3 * FILE_BYTES + 1];
    ssize_t len;

    if (n > FILE_BYTES)
        return evs_fail(err, EVS_NAME_TOO_LONG, FILE_BYTES);
    len = n == 1 && comp[0] == '%' ? 0 : unescape(comp, n, plain);
    if (n == 0 || len < 0 || (len == 0 && is_type))
        return evs_fail(err, EVS_NO_SUCH, EVS_NOWHERE);
    if (memchr(plain, 0, (size_t)len) || (!is_type && memchr(plain, '/', (size_t)len)) ||
        !scan_is_utf8(plain,
                      (size_t)len)) /* no id or type has it, so no directory may answer to it */
        return evs_fail(err, EVS_NO_SUCH, EVS_NOWHERE);
    if (encode(plain, (size_t)len, again) != n || memcmp(again, comp, n) != 0)
        return evs_fail(err, EVS_NO_SUCH, EVS_NOWHERE);
    if (is_type && (size_t)len > LIMIT_TYPE_BYTES)
        return evs_fail(err, EVS_NAME_TOO_LONG, LIMIT_TYPE_BYTES);
    if ((size_t)len > cap)
        return no_room(err);
    memcpy(out, plain, (size_t)len);
    return (int)len;
}
