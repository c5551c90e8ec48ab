/* SPDX-License-Identifier: MIT */
/* Host names (RFC 1123, RFC 5890 to 5893) and mail addresses (RFC 5321, RFC 6531). */
#include "jsonschema_format.h"
#include "jsonschema_idna.h"

enum { NAME_BYTES = 253, LABEL_BYTES = 63, LOCAL_BYTES = 64 };

static inline bool is_alnum(char c)
{
    return (c >= '0' && c <= '9') || ((c | 0x20) >= 'a' && (c | 0x20) <= 'z');
}

static inline bool is_a_label(struct slice s)
{
    return s.n >= 4 && (s.p[0] | 0x20) == 'x' && (s.p[1] | 0x20) == 'n' && s.p[2] == '-' &&
           s.p[3] == '-';
}

/* Letters, digits and hyphens. */
static bool is_ldh(struct slice s)
{
    if (s.n == 0 || s.n > LABEL_BYTES || *s.p == '-' || s.p[s.n - 1] == '-')
        return false;
    for (size_t i = 0; i < s.n; i++)
        if (!is_alnum(s.p[i]) && s.p[i] != '-')
            return false;
    return true;
}

bool js_is_hostname(struct slice s)
{
    bool rtl = false;

    if (s.n > NAME_BYTES)
        return false;
    for (const char *p = s.p, *const end = s.p + s.n;;) {
        const char *const dot = memchr(p, '.', (size_t)(end - p));
        const struct slice label = {p, (size_t)((dot ? dot : end) - p)};
        if (!is_ldh(label) || (is_a_label(label) && !js_idna_a_label(label, &rtl)))
            return false;
        if (!dot)
            return true;
        p = dot + 1;
    }
}

/* The full stops of other scripts separate as well. Returns its length, 0: none here. */
static size_t separator(const char *p, const char *end)
{
    if (*p == '.')
        return 1;
    if (end - p >= 3 && (memcmp(p, "\xe3\x80\x82", 3) == 0 || memcmp(p, "\xef\xbc\x8e", 3) == 0 ||
                         memcmp(p, "\xef\xbd\xa1", 3) == 0))
        return 3;
    return 0;
}

/* One label; *bytes grows by what it is as an A-label. */
static bool idn_label(struct slice s, size_t *bytes, bool *ret_rtl)
{
    bool ascii = true;
    size_t n = s.n;

    for (size_t i = 0; i < s.n; i++)
        ascii = ascii && !(s.p[i] & 0x80);
    if (!ascii) {
        if (!js_idna_u_label(s, &n, ret_rtl) || n > LABEL_BYTES)
            return false;
    } else if (!is_ldh(s)) {
        return false;
    } else if (is_a_label(s)) {
        if (!js_idna_a_label(s, ret_rtl))
            return false;
    } else if (s.n >= 4 && s.p[2] == '-' && s.p[3] == '-') {
        return false;
    }
    *bytes += n + 1;
    return true;
}

bool js_is_idn_hostname(struct slice s)
{
    const char *const end = s.p + s.n;
    bool rtl = false;
    size_t bytes = 0;

    for (unsigned pass = 0; pass < 2; pass++) {
        for (const char *p = s.p, *q = s.p;; q++) {
            const size_t n = q < end ? separator(q, end) : 0;
            if (q < end && n == 0)
                continue;
            const struct slice label = {p, (size_t)(q - p)};
            if (pass == 0 && !idn_label(label, &bytes, &rtl))
                return false;
            /* One label of Hebrew or Arabic: RFC 5893 binds all of them. */
            if (pass == 1 && !js_idna_bidi(label))
                return false;
            if (q == end)
                break;
            p = q + n;
            q = p - 1;
        }
        if (!rtl)
            break;
    }
    return bytes <= NAME_BYTES + 1;
}

/* ---- mail ------------------------------------------------------------------------------------ */

static inline bool is_atext(char c, bool international)
{
    return is_alnum(c) || (c && strchr("!#$%&'*+-/=?^_`{|}~", c)) || (international && (c & 0x80));
}

/* The local part; its length, 0: none. */
static size_t local_part(struct slice s, bool international)
{
    size_t i = 0;

    if (s.n > 0 && *s.p == '"') {
        for (i = 1; i < s.n && s.p[i] != '"'; i++) {
            if (s.p[i] == '\\')
                i++;
            if (i == s.n || (unsigned char)s.p[i] < ' ' || s.p[i] == 0x7f ||
                (!international && (s.p[i] & 0x80)))
                return 0;
        }
        return i < s.n ? i + 1 : 0;
    }
    for (; i < s.n; i++)
        if (s.p[i] == '.' ? i == 0 || s.p[i - 1] == '.' : !is_atext(s.p[i], international))
            break;
    return i > 0 && s.p[i - 1] != '.' ? i : 0;
}

static bool is_address(struct slice s, bool international)
{
    const size_t n = local_part(s, international);

    if (n == 0 || n > LOCAL_BYTES || n + 1 >= s.n || s.p[n] != '@')
        return false;
    struct slice domain = {s.p + n + 1, s.n - n - 1};
    if (*domain.p == '[' && domain.p[domain.n - 1] == ']') {
        domain = (struct slice){domain.p + 1, domain.n - 2};
        if (domain.n > 5 && memcmp(domain.p, "IPv6:", 5) == 0)
            return js_is_ipv6((struct slice){domain.p + 5, domain.n - 5});
        return js_is_ipv4(domain);
    }
    return international ? js_is_idn_hostname(domain) : js_is_hostname(domain);
}

bool js_is_email(struct slice s)
{
    return is_address(s, false);
}

bool js_is_idn_email(struct slice s)
{
    return is_address(s, true);
}
