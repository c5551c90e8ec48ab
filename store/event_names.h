/* SPDX-License-Identifier: MIT */
/* event_names: the names that members of an event may have, in all spellings, and the
 * rules for CloudEvents attributes. For event.c only. */
#ifndef STORE_EVENT_NAMES_H
#define STORE_EVENT_NAMES_H

#include "scan.h"

#include <stdint.h>
#include <string.h>

enum event_field {
    F_ID,
    F_TIME,
    F_ENTITY,
    F_TYPE,
    F_META,
    F_DATA,
    F_EXPECTED,
    F_SPECVERSION, /* from here on: CloudEvents only */
    F_SOURCE,
    F_SUBJECT,
    F_DATA_BASE64,
    F_SEQ, /* from here on: ignored, or attributes of a CloudEvent */
    F_VERSION,
    F_RECORDED,
    F_UID,
    F_CRC,
    F_TX,
    F_OTHER
};
#define F_OWN          0x100u /* this spelling is ours, no CloudEvent may have it */
#define EVENT_KEY_ROOM 24     /* bytes that event_spelling() looks at */

/* The field that the EVENT_KEY_ROOM bytes at k name (what follows the opening quote), and the
 * length of that name; F_OWN is in it for a spelling that is not CloudEvents'. Each comparison
 * is one or two words. */
static inline unsigned event_spelling(const char *k, size_t *ret_n)
{
#define TRY(name, field)                                                                           \
    if (memcmp(k, name "\"", sizeof name) == 0)                                                    \
    return *ret_n = sizeof name - 1, (field)
    switch (k[0]) {
    case 'c':
        TRY("crc", F_CRC);
        break;
    case 'd':
        TRY("data", F_DATA);
        TRY("data_base64", F_DATA_BASE64);
        break;
    case 'e':
        TRY("entity", F_ENTITY | F_OWN);
        TRY("entity_id", F_ENTITY | F_OWN);
        TRY("event_type", F_TYPE | F_OWN);
        TRY("expected_version", F_EXPECTED);
        break;
    case 'i':
        TRY("id", F_ID);
        break;
    case 'm':
        TRY("meta", F_META | F_OWN);
        TRY("metadata", F_META | F_OWN);
        break;
    case 'p':
        TRY("payload", F_DATA | F_OWN);
        break;
    case 'r':
        TRY("recorded", F_RECORDED);
        break;
    case 's':
        TRY("seq", F_SEQ);
        TRY("source", F_SOURCE);
        TRY("subject", F_SUBJECT);
        TRY("specversion", F_SPECVERSION);
        break;
    case 't':
        TRY("type", F_TYPE);
        TRY("time", F_TIME);
        TRY("tx", F_TX);
        TRY("timestamp", F_TIME | F_OWN);
        break;
    case 'u':
        TRY("uid", F_UID);
        break;
    case 'v':
        TRY("version", F_VERSION);
        break;
    default:
        break;
    }
#undef TRY
    return F_OTHER;
}

/* The name of a CloudEvents attribute: lower-case letters and digits. */
static inline bool event_is_attribute(struct slice s)
{
    for (size_t i = 0; i < s.n; i++) {
        if (!(s.p[i] >= 'a' && s.p[i] <= 'z') && !(s.p[i] >= '0' && s.p[i] <= '9'))
            return false;
    }
    return s.n > 0;
}

/* Its type in JSON: string, boolean, or an integer of 32 bits written as digits. v: valid JSON. */
static inline bool event_is_attribute_value(struct slice v)
{
    enum scan_kind kind = scan_kind(v.p[0]);
    int64_t x = 0;

    if (kind != SCAN_NUMBER)
        return kind != SCAN_OBJECT && kind != SCAN_ARRAY;
    for (size_t i = v.p[0] == '-'; i < v.n; i++) {
        if (v.p[i] < '0' || v.p[i] > '9' || x > INT32_MAX)
            return false;
        x = x * 10 + (v.p[i] - '0');
    }
    return x <= (int64_t)INT32_MAX + (v.p[0] == '-');
}

/* TYPE/SUBTYPE of RFC 2046, each a token; what follows a ';' or a blank is not looked at. */
static inline bool event_is_media_type(struct slice s)
{
    static const char others[] = "!#$%&'*+-.^_`|~";
    size_t from = 0, slashes = 0, i = 0;

    for (; i < s.n && s.p[i] != ';' && s.p[i] != ' '; i++) {
        char c = s.p[i];
        if (c == '/' && i > from && ++slashes == 1)
            from = i + 1;
        else if (!(c >= '0' && c <= '9') && !((c | 0x20) >= 'a' && (c | 0x20) <= 'z') &&
                 !memchr(others, c, sizeof others - 1))
            return false;
    }
    return slashes == 1 && i > from;
}

/* A member that is remembered because it would be an attribute if the event proves to be a
 * CloudEvent. */
struct event_extra {
    const char *key; /* decoded */
    uint32_t key_n, key_pos;
    uint32_t value, value_n; /* in the input */
};

static inline bool event_extra_is(const struct event_extra *x, const char *name)
{
    return x->key_n == strlen(name) && memcmp(x->key, name, x->key_n) == 0;
}

/* For qsort(): by key, then by place. */
static inline int event_extra_order(const void *a, const void *b)
{
    const struct event_extra *x = a, *y = b;
    int r = memcmp(x->key, y->key, MIN(x->key_n, y->key_n));

    r = r ? r : (x->key_n > y->key_n) - (x->key_n < y->key_n);
    return r ? r : (x->key_pos > y->key_pos) - (x->key_pos < y->key_pos);
}

#endif
