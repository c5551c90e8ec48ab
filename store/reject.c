/* SPDX-License-Identifier: MIT */
/* rejected.jsonl. One line an entry, fields always in this order:
 *     {"time":T,"uid":N,"pid":N,"path":S,"reason":S,"text":S,"errno":S,"pos":N|null,
 *      "detail":S,"value":S,"crc":C}
 * and between detail and value, where a pinned schema was broken:
 *     "instance_path":S,"schema_path":S,"keyword":S,"level":"strict"|"warn"
 * (1) text[0, n) is all there is: whole lines, each at most LINE_MAX_BYTES; n is at most
 *     LIMIT_REJECTED_BYTES + LINE_MAX_BYTES. What is asked for is answered from it, never from
 *     the file.
 * (2) Unless stale, the file holds the same bytes. After a failed write it is stale, gets
 *     nothing more, and is made anew when the text is next trimmed, or at the end. Nobody waits
 *     for it, nobody is told.
 * (3) Lines that are not ours (the file was edited, damaged, or torn by a crash) are dropped when it
 *     is read: crc says so. A uid that a flipped bit has made would show one user's values to another.
 *
 * Trimming is fair among users, or one who floods would push out what the others want to see:
 * half of the limit is divided equally among the uids that have lines, each keeps its newest up
 * to its part, and what is left over goes to the newest lines of anybody. */
#include "reject.h"
#include "clock.h"
#include "crc.h"
#include "io.h"
#include "limits.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>

#define FILE_NAME       "rejected.jsonl"
#define TEMPORARY_NAME  "rejected.jsonl.tmp"
#define PATH_KEPT_BYTES 4096u
/* A byte becomes at most six (\u00xx). */
#define LINE_MAX_BYTES                                                                             \
    (6u * (LIMIT_REJECTED_VALUE_BYTES + PATH_KEPT_BYTES + 160u + 3u * POINTER_BYTES) + 640u)
#define POINTER_BYTES 256u /* of a path in a value or schema, what is kept */
#define KEPT_BYTES    (LIMIT_REJECTED_BYTES / 2)
#define UIDS          64 /* counted apart when trimming; all further ones share the last part */

static const char head[] = "{\"time\":\"";
static const char uid_key[] = "\",\"uid\":";
static const char crc_key[] = ",\"crc\":\""; /* behind it eight digits and "} */

#define CRC_BYTES (sizeof crc_key - 1 + 8 + 2)

struct reject {
    pthread_mutex_t lock;
    int dirfd;               /* borrowed; -1: no file; const after open */
    int fd;                  /* owned; -1: no file, or none that can be written; under lock */
    bool stale;              /* under lock */
    char *text;              /* owned; under lock; NULL while n is 0 and none was ever needed */
    size_t n, cap;           /* under lock */
    uint64_t count;          /* under lock */
    struct clock_text clock; /* under lock */
};

/* ---- lines ---- */

/* Length of the UTF-8 sequence at p (RFC 3629); 0: not one; -1: a proper beginning, cut by n. */
static int utf8_length(const unsigned char *p, size_t n)
{
    unsigned char c = p[0], low = 0x80, high = 0xbf;
    int want = c < 0x80                ? 1
               : c >= 0xc2 && c < 0xe0 ? 2
               : (c & 0xf0) == 0xe0    ? 3
               : c >= 0xf0 && c < 0xf5 ? 4
                                       : 0;

    if (c == 0xe0)
        low = 0xa0;
    else if (c == 0xed)
        high = 0x9f; /* no surrogates */
    else if (c == 0xf0)
        low = 0x90;
    else if (c == 0xf4)
        high = 0x8f;
    for (int i = 1; i < want; i++) {
        if ((size_t)i == n)
            return -1;
        if (p[i] < low || p[i] > high)
            return 0;
        low = 0x80;
        high = 0xbf;
    }
    return want;
}

static char *put(char *out, const char *s)
{
    size_t n = strlen(s);

    memcpy(out, s, n);
    return out + n;
}

/* One byte below 0x20, or '"' or '\\', escaped. */
static char *put_escape(char *out, unsigned char c)
{
    static const char hex[] = "0123456789abcdef";
    static const char shorts[] = "\"\"\\\\\bb\ff\nn\rr\tt"; /* pairs: byte, letter */

    *out++ = '\\';
    for (const char *s = shorts; *s; s += 2)
        if ((unsigned char)s[0] == c) {
            *out++ = s[1];
            return out;
        }
    out = put(out, "u00");
    *out++ = hex[c >> 4];
    *out++ = hex[c & 15];
    return out;
}

static bool plain(unsigned char c)
{
    return c >= 0x20 && c < 0x80 && c != '"' && c != '\\';
}

/* The first max bytes of s as a JSON string; a byte that isn't UTF-8 becomes U+FFFD, a character
 * that max cuts in two is left out. At most 6 max + 2 bytes. */
static char *put_string(char *out, struct slice s, size_t max)
{
    bool cut = s.n > max;
    size_t n = cut ? max : s.n;

    *out++ = '"';
    for (size_t i = 0; i < n;) {
        const unsigned char *p = (const unsigned char *)s.p + i;
        if (plain(*p)) {
            *out++ = (char)*p;
            i++;
            continue;
        }
        if (*p < 0x20 || *p == '"' || *p == '\\') {
            out = put_escape(out, *p);
            i++;
            continue;
        }
        int len = utf8_length(p, n - i);
        if (len > 0) {
            memcpy(out, p, (size_t)len);
            out += len;
            i += (size_t)len;
        } else if (len < 0 && cut) {
            break;
        } else {
            out = put(out, "\xef\xbf\xbd");
            i++;
        }
    }
    *out++ = '"';
    return out;
}

static struct slice text_of(const char *s)
{
    return (struct slice){s, strlen(s)};
}

static char *put_schema(char *p, const struct reject_schema *s)
{
    p = put_string(put(p, ",\"instance_path\":"), text_of(s->instance_path), POINTER_BYTES);
    p = put_string(put(p, ",\"schema_path\":"), text_of(s->schema_path), POINTER_BYTES);
    p = put_string(put(p, ",\"keyword\":"), text_of(s->keyword), POINTER_BYTES);
    return put(p, s->warned ? ",\"level\":\"warn\"" : ",\"level\":\"strict\"");
}

/* The whole line at out, which has room for LINE_MAX_BYTES. Returns its length. */
static size_t format_line(struct clock_text *clock, const struct reject_entry *e, char *out)
{
    const struct evs_error *why = e->why;
    const char *code = strerrorname_np(why->code);
    char *p = put(out, head);

    clock_format(clock, e->time_us, p);
    p = put(p + CLOCK_TEXT_BYTES, uid_key);
    p += sprintf(p, "%" PRIu32 ",\"pid\":%d,\"path\":", (uint32_t)e->uid, (int)e->pid);
    p = put_string(p, e->path, PATH_KEPT_BYTES);
    p += sprintf(p, ",\"reason\":\"%s\",\"text\":", evs_reason_name(why->why));
    p = put_string(p, text_of(evs_reason_text(why->why)), 160);
    p += code ? sprintf(p, ",\"errno\":\"%s\",\"pos\":", code)
              : sprintf(p, ",\"errno\":\"%d\",\"pos\":", why->code);
    p += why->pos == EVS_NOWHERE ? sprintf(p, "null") : sprintf(p, "%" PRIu64, why->pos);
    p = put(p, ",\"detail\":");
    p = put_string(p, (struct slice){why->detail, strnlen(why->detail, sizeof why->detail)},
                   sizeof why->detail);
    if (e->schema)
        p = put_schema(p, e->schema);
    p = put(p, ",\"value\":");
    p = put_string(p, e->value, LIMIT_REJECTED_VALUE_BYTES);
    p += sprintf(p, "%s%08" PRIx32 "\"}\n", crc_key, crc32c(0, out, (size_t)(p - out)));
    return (size_t)(p - out);
}

/* Does the crc at the end of a line (without its LF) vouch for it? */
static bool crc_ok(const char *line, size_t n)
{
    char want[CRC_BYTES + 1];

    if (n <= CRC_BYTES)
        return false;
    (void)snprintf(want, sizeof want, "%s%08" PRIx32 "\"}", crc_key,
                   crc32c(0, line, n - CRC_BYTES));
    return memcmp(line + n - CRC_BYTES, want, CRC_BYTES) == 0;
}

/* The uid of a line (without its LF) of ours; false: it isn't one. Looks at the fixed places
 * only. */
static bool line_uid(const char *line, size_t n, uid_t *ret)
{
    const size_t at = sizeof head - 1 + CLOCK_TEXT_BYTES, key = at + sizeof uid_key - 1;
    uint64_t uid = 0;
    size_t i = key;

    if (n <= key || memcmp(line, head, sizeof head - 1) != 0 ||
        memcmp(line + at, uid_key, sizeof uid_key - 1) != 0 || line[n - 1] != '}')
        return false;
    for (; i < n && i < key + 10 && line[i] >= '0' && line[i] <= '9'; i++)
        uid = uid * 10 + (uint64_t)(line[i] - '0');
    *ret = (uid_t)uid;
    return i > key && line[i] == ',' && uid <= UINT32_MAX;
}

/* The line that ends at text[to) (a LF at to - 1): where it begins. */
static size_t line_start(const char *text, size_t to)
{
    const char *lf = to > 1 ? memrchr(text, '\n', to - 1) : NULL;

    return lf ? (size_t)(lf - text) + 1 : 0;
}

/* Copy the lines of uid, or all of ours; out may be text itself. Returns the bytes. check: they come from the
 * file. */
static size_t filter(const char *text, size_t n, bool all, uid_t uid, bool check, char *out)
{
    size_t used = 0;

    for (size_t at = 0; at < n;) {
        const char *lf = memchr(text + at, '\n', n - at);
        size_t len = lf ? (size_t)(lf - text) - at : n - at;
        uid_t owner;
        if (lf && line_uid(text + at, len, &owner) && (all || owner == uid) &&
            (!check || crc_ok(text + at, len))) {
            memmove(out + used, text + at, len + 1);
            used += len + 1;
        }
        at += len + 1;
    }
    return used;
}

/* ---- the file ---- */

/* Replace the file by the text: invariant (2) again, or stale. */
static void rewrite(struct reject *r)
{
    int fd = io_open(r->dirfd, TEMPORARY_NAME, O_RDWR | O_CREAT | O_TRUNC | O_APPEND, 0600);

    r->stale = true;
    if (fd < 0)
        return;
    if ((r->n && io_write_all(fd, r->text, r->n, 0) < 0) ||
        io_rename(r->dirfd, TEMPORARY_NAME, FILE_NAME) < 0) {
        (void)io_close(fd);
        (void)io_unlink(r->dirfd, TEMPORARY_NAME); /* or it takes the room that others lack */
        return;
    }
    if (r->fd >= 0)
        (void)io_close(r->fd);
    r->fd = fd;
    r->stale = false;
}

/* Take over what an earlier mount left, as far as it is ours; its newest part if it is too long. */
static void load(struct reject *r, int fd)
{
    struct stat st;

    if (io_stat(fd, &st) < 0 || !S_ISREG(st.st_mode) || st.st_size <= 0)
        return;
    size_t n = (size_t)MIN((uint64_t)st.st_size, LIMIT_REJECTED_BYTES);
    r->cap = LIMIT_REJECTED_BYTES + LINE_MAX_BYTES;
    r->text = malloc(r->cap);
    if (!r->text) {
        r->cap = 0;
        r->stale = true;
        return;
    }
    ssize_t got = io_read_all(fd, r->text, n, (uint64_t)st.st_size - n);
    r->n = got > 0 ? filter(r->text, (size_t)got, true, 0, true, r->text) : 0;
    r->stale = (uint64_t)st.st_size != r->n; /* something was dropped: make it anew */
}

/* ---- trimming ---- */

struct shares {
    uid_t uid[UIDS];
    size_t kept[UIDS];
    int n;
};

static int share_of(struct shares *s, uid_t uid)
{
    for (int i = 0; i < s->n; i++)
        if (s->uid[i] == uid)
            return i;
    if (s->n == UIDS)
        return UIDS - 1;
    s->uid[s->n] = uid;
    return s->n++;
}

/* Mark the lines to keep with a '\1' in place of their '{', newest first: those within the part
 * of their uid, then any others while there is room. */
static void mark(char *text, size_t n, struct shares *s, size_t part)
{
    size_t total = 0, start;

    for (int pass = 0; pass < 2; pass++)
        for (size_t to = n; to > 0; to = start) {
            uid_t uid = 0;
            start = line_start(text, to);
            if (text[start] != '{' || !line_uid(text + start, to - start - 1, &uid))
                continue;
            size_t *kept = &s->kept[share_of(s, uid)];
            if (total + (to - start) > KEPT_BYTES)
                continue;
            if (pass == 0 && *kept + (to - start) > part) {
                *kept = part; /* full: an older, shorter line must not outlive a newer one */
                continue;
            }
            *kept += to - start;
            total += to - start;
            text[start] = '\1';
        }
}

static void trim(struct reject *r)
{
    struct shares s = {.n = 0};
    size_t used = 0;

    for (size_t to = r->n, start; to > 0; to = start) {
        uid_t uid = 0;
        start = line_start(r->text, to);
        if (line_uid(r->text + start, to - start - 1, &uid))
            (void)share_of(&s, uid);
    }
    mark(r->text, r->n, &s, KEPT_BYTES / (size_t)MAX(s.n, 1));
    for (size_t at = 0; at < r->n;) {
        const char *lf = memchr(r->text + at, '\n', r->n - at);
        size_t len = (size_t)(lf - r->text) + 1 - at; /* invariant (1): there is one */
        if (r->text[at] == '\1') {
            r->text[at] = '{';
            memmove(r->text + used, r->text + at, len);
            used += len;
        }
        at += len;
    }
    r->n = used;
}

/* Room for one more line at text + n. */
static bool make_room(struct reject *r)
{
    if (r->n + LINE_MAX_BYTES <= r->cap)
        return true;
    size_t cap = MIN(MAX(2 * r->cap, 2u * LINE_MAX_BYTES), LIMIT_REJECTED_BYTES + LINE_MAX_BYTES);
    char *text = realloc(r->text, cap);
    if (!text)
        return false;
    r->text = text;
    r->cap = cap;
    return true;
}

/* ---- public ---- */

int reject_open(int dirfd, bool read_only, struct reject **ret, struct evs_error *err)
{
    struct reject *r = calloc(1, sizeof *r);

    if (!r)
        return evs_fail(err, EVS_NO_MEMORY, EVS_NOWHERE);
    (void)pthread_mutex_init(&r->lock, NULL);
    r->dirfd = read_only ? -1 : dirfd;
    r->clock.second = INT64_MIN;
    r->fd = -1;
    if (dirfd >= 0) {
        int flags = read_only ? O_RDONLY : O_RDWR | O_CREAT | O_APPEND;
        int fd = io_open(dirfd, FILE_NAME, flags, 0600);
        if (fd >= 0)
            load(r, fd);
        if (read_only && fd >= 0)
            (void)io_close(fd);
        else
            r->fd = fd < 0 ? -1 : fd;
        if (!read_only && (r->stale || r->fd < 0))
            rewrite(r);
    }
    *ret = r;
    return 0;
}

void reject_close(struct reject *r)
{
    if (!r)
        return;
    if (r->stale && r->dirfd >= 0)
        rewrite(r);
    if (r->fd >= 0)
        (void)io_close(r->fd);
    (void)pthread_mutex_destroy(&r->lock);
    free(r->text);
    free(r);
}

void reject_add(struct reject *r, const struct reject_entry *e)
{
    (void)pthread_mutex_lock(&r->lock);
    r->count += !(e->schema && e->schema->warned);
    if (r->n >= LIMIT_REJECTED_BYTES) {
        trim(r);
        if (r->dirfd >= 0)
            rewrite(r);
    }
    if (make_room(r)) { /* without memory, this one is lost */
        size_t n = format_line(&r->clock, e, r->text + r->n);
        if (r->dirfd >= 0 && !r->stale)
            r->stale = io_write_all(r->fd, r->text + r->n, n, r->n) < 0;
        r->n += n;
    }
    (void)pthread_mutex_unlock(&r->lock);
}

uint64_t reject_count(struct reject *r)
{
    (void)pthread_mutex_lock(&r->lock);
    uint64_t count = r->count;
    (void)pthread_mutex_unlock(&r->lock);
    return count;
}

int reject_text(struct reject *r, bool all, uid_t uid, char **ret, size_t *ret_n,
                struct evs_error *err)
{
    (void)pthread_mutex_lock(&r->lock);
    char *text = malloc(r->n + 1);
    if (text) {
        *ret_n = filter(r->text, r->n, all, uid, false, text);
        text[*ret_n] = '\0';
        *ret = text;
    }
    (void)pthread_mutex_unlock(&r->lock);
    return text ? 0 : evs_fail(err, EVS_NO_MEMORY, EVS_NOWHERE);
}
