/* SPDX-License-Identifier: MIT */
#include "jsonschema_uri.h"

#include <ctype.h>

void js_uri_split(struct slice uri, struct slice *ret_before, struct slice *ret_fragment)
{
    const char *const hash = uri.n ? memchr(uri.p, '#', uri.n) : NULL;

    *ret_before = hash ? (struct slice){uri.p, (size_t)(hash - uri.p)} : uri;
    *ret_fragment = hash ? (struct slice){hash + 1, (size_t)(uri.p + uri.n - hash - 1)}
                         : (struct slice){NULL, 0};
}

/* The parts of a URI, each with its delimiter: "http:", "//host", "/path", "?query". */
struct parts {
    struct slice scheme, authority, path, query;
};

static struct parts split(struct slice s)
{
    struct parts u = {0};
    size_t i = 0;

    while (i < s.n &&
           (isalnum((unsigned char)s.p[i]) || s.p[i] == '+' || s.p[i] == '-' || s.p[i] == '.'))
        i++;
    if (i > 0 && i < s.n && s.p[i] == ':' && isalpha((unsigned char)*s.p)) {
        u.scheme = (struct slice){s.p, i + 1};
        s = (struct slice){s.p + i + 1, s.n - i - 1};
    }
    const char *const query = s.n ? memchr(s.p, '?', s.n) : NULL;
    if (query) {
        u.query = (struct slice){query, (size_t)(s.p + s.n - query)};
        s.n -= u.query.n;
    }
    if (s.n >= 2 && s.p[0] == '/' && s.p[1] == '/') {
        const char *const slash = s.n > 2 ? memchr(s.p + 2, '/', s.n - 2) : NULL;
        u.authority = (struct slice){s.p, slash ? (size_t)(slash - s.p) : s.n};
        s = (struct slice){s.p + u.authority.n, s.n - u.authority.n};
    }
    u.path = s;
    return u;
}

static size_t append(char *out, size_t n, struct slice s)
{
    if (s.n)
        memcpy(out + n, s.p, s.n);
    return n + s.n;
}

/* Take "." and ".." out of the path at p, in place. Returns its length. */
static size_t remove_dots(char *p, size_t n)
{
    size_t from = 0, to = 0;
    const bool rooted = n > 0 && *p == '/';

    while (from < n) {
        size_t end = from + (p[from] == '/');
        while (end < n && p[end] != '/')
            end++;
        const size_t skip = p[from] == '/', len = end - from - skip;
        const bool one = len == 1 && p[from + skip] == '.';
        const bool two = len == 2 && p[from + skip] == '.' && p[from + skip + 1] == '.';
        if (two)
            while (to > 0 && p[--to] != '/')
                ;
        if (!one && !two) {
            memmove(p + to, p + from, end - from);
            to += end - from;
        } else if (end == n && (rooted || to > 0)) {
            p[to++] = '/';
        }
        from = end;
    }
    return to;
}

size_t js_uri_join(struct slice base, struct slice ref, char *out)
{
    const struct parts b = split(base), r = split(ref);
    size_t n = 0;

    if (r.scheme.n) {
        n = append(out, 0, r.scheme);
        n = append(out, n, r.authority);
        const size_t path = n;
        n = append(out, n, r.path);
        if (r.authority.n || (r.path.n && *r.path.p == '/'))
            n = path + remove_dots(out + path, n - path);
        return append(out, n, r.query);
    }
    n = append(out, 0, b.scheme);
    n = append(out, n, r.authority.n ? r.authority : b.authority);
    const size_t path = n;
    if (r.authority.n == 0 && r.path.n == 0) {
        n = append(out, n, b.path);
        return append(out, n, r.query.n ? r.query : b.query);
    }
    if (r.authority.n == 0 && *r.path.p != '/') {
        const char *const slash = b.path.n ? memrchr(b.path.p, '/', b.path.n) : NULL;
        if (slash)
            n = append(out, n, (struct slice){b.path.p, (size_t)(slash - b.path.p + 1)});
        else if (b.authority.n)
            out[n++] = '/';
    }
    n = append(out, n, r.path);
    n = path + remove_dots(out + path, n - path);
    return append(out, n, r.query);
}

size_t js_uri_decode(struct slice s, char *out)
{
    size_t n = 0;

    for (size_t i = 0; i < s.n; i++) {
        unsigned v = 0;
        if (s.p[i] != '%' || i + 2 >= s.n || !isxdigit((unsigned char)s.p[i + 1]) ||
            !isxdigit((unsigned char)s.p[i + 2])) {
            out[n++] = s.p[i];
            continue;
        }
        for (unsigned k = 1; k <= 2; k++) {
            const char c = s.p[i + k];
            v = v * 16 + (unsigned)(c <= '9' ? c - '0' : (c | 0x20) - 'a' + 10);
        }
        out[n++] = (char)v;
        i += 2;
    }
    return n;
}
