/* SPDX-License-Identifier: MIT */
/* schemas_version: the versions of a type's schema, and their files, schemas/TYPE/N.json.
 * (1) A version is made when the schema differs from that of the newest one; changes with the same recorded time
 *     are one version, which is then made again. So versions are the same however often learning was interrupted.
 * (2) A file says of itself which version it is, up to which event, and has a checksum at its end: after a crash
 *     it may be ahead of the state, and is then made again, the same.
 * (3) A text that could not be written stays in memory until it can. */
#include "clock.h"
#include "crc.h"
#include "evolve.h"
#include "io.h"
#include "scan.h"
#include "schemas_state.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>

#define TEXT_MAX ((size_t)64 << 20)

/* ---- names ---- */

void schemas_type_name(struct slice type, char out[SCHEMAS_NAME_BYTES])
{
    if (evs_encode_type(type.p, type.n, out, SCHEMAS_NAME_BYTES, NULL) < 0)
        (void)snprintf(out, SCHEMAS_NAME_BYTES, "%%"); /* can't be: it is a type's */
}

static int open_made(int dirfd, const char *name, bool make)
{
    int r = io_open(dirfd, name, O_RDONLY | O_DIRECTORY, 0);

    if (r != -ENOENT || !make)
        return r;
    r = io_mkdir(dirfd, name, 0700);
    return r < 0 && r != -EEXIST ? r : io_open(dirfd, name, O_RDONLY | O_DIRECTORY, 0);
}

/* One name after the other: a symbolic link in the place of a directory leads nowhere. */
int schemas_open_dir(int dirfd, const char *type_name, bool make)
{
    int fd = open_made(dirfd, SCHEMAS_DIR, make);

    if (fd < 0 || !type_name)
        return fd;
    int type = open_made(fd, type_name, make);
    (void)io_close(fd);
    return type;
}

static void name_of(const struct schemas *sk, const struct schema_type *t,
                    char out[SCHEMAS_NAME_BYTES])
{
    schemas_type_name(index_type_name(sk->st->ix, t->id), out);
}

static void file_of(uint32_t n, char out[SCHEMAS_NAME_BYTES])
{
    (void)snprintf(out, SCHEMAS_NAME_BYTES, "%" PRIu32 ".json", n);
}

/* ---- texts ---- */

static int open_text(struct slice title, char **ret, size_t *ret_n)
{
    static const char head[] =
        "{\n  \"$schema\": \"https://json-schema.org/draft/2020-12/schema\",\n  \"title\": \"";
    static const char tail[] =
        "\",\n  \"x-evfs-limit\": \"the store has shown more than there is room for: anything is "
        "allowed\"\n}\n";
    char *p = malloc(sizeof head + 6 * title.n + sizeof tail);

    if (!p)
        return -ENOMEM;
    size_t n = sizeof head - 1;
    memcpy(p, head, n);
    n += scan_encode(title, p + n);
    memcpy(p + n, tail, sizeof tail);
    *ret = p;
    *ret_n = n + sizeof tail - 1;
    return 0;
}

int schemas_plain(const struct schemas *sk, const struct schema_type *t, char **ret, size_t *ret_n)
{
    struct slice title = index_type_name(sk->st->ix, t->id);

    return atomic_load_explicit(&t->open, memory_order_relaxed)
               ? open_text(title, ret, ret_n)
               : infer_schema(t->model, &(struct infer_options){.title = title, .structure = true},
                              ret, ret_n);
}

static const char crc_key[] = "\"crc32c\": \"";
#define TEXT_END    "\"}\n}\n"
#define TEXT_TAIL   (8 + sizeof TEXT_END - 1) /* bytes that the checksum does not cover */
#define VERSION_KEY "  \"x-evfs-version\": {\"version\": "
#define LABEL_BYTES 256

static void drop_text(struct schemas *sk, struct schema_version *v)
{
    if (v->text)
        sk->held -= v->text_n;
    free(v->text);
    v->text = NULL;
}

/* The text of the version's file: the schema, and what it is. */
static int label(struct schemas *sk, const char *plain, size_t n, uint32_t number,
                 struct schema_version *v)
{
    struct clock_text clock = {.second = INT64_MIN};
    char time[CLOCK_TEXT_BYTES];
    char *p = malloc(n + LABEL_BYTES);

    if (!p)
        return -ENOMEM;
    assert(n > 3 && memcmp(plain + n - 3, "\n}\n", 3) == 0);
    clock_format(&clock, v->recorded_us, time);
    memcpy(p, plain, n - 3);
    size_t at = n - 3;
    at += (size_t)snprintf(p + at, LABEL_BYTES,
                           ",\n" VERSION_KEY "%" PRIu32 ", \"seq\": %" PRIu64
                           ", \"through\": %" PRIu64 ", \"recorded\": \"%.*s\", %s",
                           number, v->first, v->last, CLOCK_TEXT_BYTES, time, crc_key);
    at += (size_t)snprintf(p + at, TEXT_TAIL + 1, "%08" PRIx32 TEXT_END, crc32c(0, p, at));
    drop_text(sk, v);
    sk->texts += schemas_on_disk_bytes(at) - schemas_on_disk_bytes(v->text_n);
    sk->held += at;
    v->text = p;
    v->text_n = (uint32_t)at;
    v->text_crc = crc32c(0, p, at);
    v->plain_n = (uint32_t)n;
    v->plain_crc = crc32c(0, plain, n);
    return 0;
}

bool schemas_text_ok(const char *p, size_t n, evs_seq *ret_last)
{
    static const char key[] = "\"through\": ";
    char want[TEXT_TAIL + 1];

    if (n < TEXT_TAIL + LABEL_BYTES / 2)
        return false;
    (void)snprintf(want, sizeof want, "%08" PRIx32 TEXT_END, crc32c(0, p, n - TEXT_TAIL));
    if (memcmp(p + n - TEXT_TAIL, want, TEXT_TAIL) != 0)
        return false;
    size_t from = n > LABEL_BYTES ? n - LABEL_BYTES : 0;
    const char *at = memmem(p + from, n - from, key, sizeof key - 1);
    *ret_last = 0;
    for (at = at ? at + sizeof key - 1 : p + n; at < p + n && *at >= '0' && *at <= '9'; at++)
        *ret_last = *ret_last * 10 + (evs_seq)(*at - '0');
    return *ret_last > 0;
}

int schemas_read_file(int dirfd, const char *type_name, const char *file, char **ret, size_t *ret_n)
{
    int dir = schemas_open_dir(dirfd, type_name, false), r;
    struct stat s;

    if (dir < 0)
        return dir;
    int fd = io_open(dir, file, O_RDONLY, 0);
    (void)io_close(dir);
    if (fd < 0)
        return fd;
    if ((r = io_stat(fd, &s)) == 0 && (uint64_t)s.st_size > TEXT_MAX)
        r = -EBADMSG;
    char *p = r == 0 ? malloc((size_t)s.st_size + 1) : NULL;
    if (r == 0 && !p)
        r = -ENOMEM;
    ssize_t n = r == 0 ? io_read_all(fd, p, (size_t)s.st_size, 0) : r;
    (void)io_close(fd);
    if (n < 0) {
        free(p);
        return (int)n;
    }
    p[n] = '\0';
    *ret = p;
    *ret_n = (size_t)n;
    return 0;
}

bool schemas_same_text(const struct schema_version *v, const char *p, size_t n)
{
    return n == v->text_n && crc32c(0, p, n) == v->text_crc;
}

int schemas_text(struct schemas *sk, const struct schema_type *t, uint32_t n, char **ret)
{
    const struct schema_version *v = &t->v[n - 1];
    char name[SCHEMAS_NAME_BYTES], file[SCHEMAS_NAME_BYTES], *p = NULL;
    size_t len = 0;

    if (v->text) {
        p = malloc(v->text_n + 1u);
        if (!p)
            return -ENOMEM;
        memcpy(p, v->text, v->text_n);
        p[v->text_n] = '\0';
        *ret = p;
        return 0;
    }
    name_of(sk, t, name);
    file_of(n, file);
    int r = schemas_read_file(sk->st->dirfd, name, file, &p, &len);
    if (r == 0 && !schemas_same_text(v, p, len))
        r = -EBADMSG;
    if (r < 0) {
        free(p);
        return r == -ENOMEM ? r : -EBADMSG; /* what can't be read can be learned again */
    }
    *ret = p;
    return 0;
}

int schemas_room(const struct schemas *sk, int dir, size_t n)
{
    uint64_t space;
    int r = io_space(dir, &space);

    return r < 0 ? r : space < sk->texts + n ? -ENOSPC : 0;
}

/* A version's text into its file. Not synced: checked when the store is opened. */
static int write_text(struct schemas *sk, struct schema_type *t, uint32_t n)
{
    struct schema_version *v = &t->v[n - 1];
    char name[SCHEMAS_NAME_BYTES], file[SCHEMAS_NAME_BYTES];

    name_of(sk, t, name);
    file_of(n, file);
    int dir = schemas_open_dir(sk->st->dirfd, name, true);
    if (dir < 0)
        return dir;
    int r = schemas_room(sk, dir, 0);
    int fd = r < 0 ? r : io_open(dir, file, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    r = fd;
    if (fd >= 0) {
        r = io_write_all(fd, v->text, v->text_n, 0);
        int e = io_close(fd);
        r = MIN(r, e);
        if (r < 0)
            (void)io_unlink(dir, file); /* half a file is none */
    }
    (void)io_close(dir);
    if (r == 0)
        drop_text(sk, v);
    return r;
}

int schemas_write_texts(struct schemas *sk)
{
    int r = 0;

    if (!schemas_on_disk(sk))
        return 0;
    for (type_id i = 1; sk->unwritten && i <= sk->last_type && r == 0; i++) {
        struct schema_type *t = schemas_type(sk, i);
        for (uint32_t n = 1; t && n <= t->n_v && r == 0; n++)
            if (t->v[n - 1].text)
                r = write_text(sk, t, n);
    }
    if (r < 0)
        schemas_say(sk, "can't be written: %s; tried again", strerror(-r));
    else
        sk->unwritten = false;
    return r;
}

/* ---- versions ---- */

void schemas_free_versions(struct schema_type *t)
{
    for (uint32_t i = 0; i < t->n_v; i++) {
        free(t->v[i].change);
        free(t->v[i].text);
    }
    free(t->v);
}

/* What differs, as the rest of a line of changes.jsonl: ',"compatible":...}'. Inferred schemas mention all that was
 * seen, so a field that is added breaks nobody. */
static int compare(const struct slice *before, const struct slice *now, char **ret, size_t *ret_n)
{
    struct evolve e = {0};
    int r = evolve_diff(*before, *now, EVOLVE_CLOSED, &e);

    if (r == 0)
        r = evolve_json(&e, ret, ret_n);
    evolve_done(&e);
    if (r == 0)
        (*ret)[0] = ',';
    return r;
}

/* Its line in changes.jsonl; before: the version before it, p NULL: there is none. */
static int describe(const struct slice *before, const struct slice *now, uint32_t number,
                    struct schema_version *v)
{
    struct clock_text clock = {.second = INT64_MIN};
    char time[CLOCK_TEXT_BYTES], *line;
    AUTO_FREE char *rest = NULL;
    size_t rest_n = 1;

    if (before->p) {
        int r = compare(before, now, &rest, &rest_n);
        if (r < 0)
            return r;
    }
    clock_format(&clock, v->recorded_us, time);
    int len =
        asprintf(&line,
                 "{\"version\":%" PRIu32 ",\"seq\":%" PRIu64 ",\"through\":%" PRIu64
                 ",\"recorded\":\"%.*s\"%.*s\n",
                 number, v->first, v->last, CLOCK_TEXT_BYTES, time, (int)rest_n, rest ? rest : "}");
    if (len < 0)
        return -ENOMEM;
    free(v->change);
    v->change = line;
    v->change_n = (uint32_t)len;
    return 0;
}

static struct schema_version *add_version(struct schema_type *t)
{
    if (t->n_v == t->cap_v) {
        uint32_t cap = t->cap_v ? t->cap_v * 2 : 4;
        struct schema_version *v = reallocarray(t->v, cap, sizeof *v);
        if (!v)
            return NULL;
        t->v = v;
        t->cap_v = cap;
    }
    t->v[t->n_v] = (struct schema_version){0};
    return &t->v[t->n_v];
}

static uint64_t texts_bytes(const struct schema_type *t)
{
    uint64_t n = 0;

    for (uint32_t i = 0; i < t->n_v; i++)
        n += t->v[i].text_n;
    return n;
}

/* Is the change part of the newest version, which is then made again? */
static bool amends(const struct schemas *sk, const struct schema_type *t)
{
    return t->n_v &&
           (t->v[t->n_v - 1].recorded_us == t->changed_us || t->n_v == LIMIT_SCHEMA_VERSIONS ||
            sk->bytes >= LIMIT_SCHEMAS_BYTES || sk->held >= LIMIT_SCHEMAS_BYTES ||
            texts_bytes(t) >= LIMIT_SCHEMA_TEXTS_BYTES);
}

static bool same_plain(const struct schema_version *v, const char *plain, size_t n)
{
    return v->plain_n == n && v->plain_crc == crc32c(0, plain, n);
}

static int make_version(struct schemas *sk, struct schema_type *t, const char *plain, size_t n)
{
    bool amend = amends(sk, t);
    uint32_t number = amend ? t->n_v : t->n_v + 1;
    const struct slice now = {plain, n};
    AUTO_FREE char *text = NULL;
    struct slice before = {0};
    int r;

    if (t->n_v && same_plain(&t->v[t->n_v - 1], plain, n) &&
        (!amend || t->v[t->n_v - 1].last == t->changed_last))
        return 0;
    if (number > 1) {
        if ((r = schemas_text(sk, t, number - 1, &text)) < 0)
            return r;
        before = (struct slice){text, t->v[number - 2].text_n};
    }
    struct schema_version *v = amend ? &t->v[number - 1] : add_version(t);
    if (!v)
        return -ENOMEM;
    if (!amend) {
        v->first = t->changed;
        v->recorded_us = t->changed_us;
    }
    v->last = t->changed_last;
    uint32_t old = v->change_n;
    if ((r = describe(&before, &now, number, v)) < 0 || (r = label(sk, plain, n, number, v)) < 0) {
        if (!amend) {
            free(v->change);
            *v = (struct schema_version){0};
        }
        return r;
    }
    sk->bytes += v->change_n - old + (amend ? 0 : sizeof *v);
    t->n_v = number;
    if (schemas_on_disk(sk) && (r = write_text(sk, t, number)) < 0) {
        sk->unwritten = true;
        schemas_say(sk, "can't be written: %s; tried again", strerror(-r));
    }
    return 0;
}

int schemas_flush(struct schemas *sk, struct schema_type *t)
{
    AUTO_FREE char *plain = NULL;
    size_t n;
    int r = schemas_plain(sk, t, &plain, &n);

    if (r == 0)
        r = make_version(sk, t, plain, n);
    if (r < 0)
        return r;
    t->dirty = false;
    for (struct schema_type **p = &sk->dirty; *p; p = &(*p)->next)
        if (*p == t) {
            *p = t->next;
            break;
        }
    return 0;
}

int schemas_flush_all(struct schemas *sk)
{
    int r = 0;

    while (sk->dirty && r == 0)
        r = schemas_flush(sk, sk->dirty);
    return r;
}

/* ---- the files of a store that is opened ---- */

struct stray {
    struct schemas *sk;
    const struct schema_type *t; /* NULL: of no type that the state has */
    int dir;
};

/* A version that the state doesn't have: the log that it was learned from was cut, or it is learned again. */
static int remove_stray(void *arg, const char *name)
{
    struct stray *s = arg;
    char *end;
    unsigned long n = strtoul(name, &end, 10);

    if (s->t && n >= 1 && n <= s->t->n_v && strcmp(end, ".json") == 0 && name[0] != '0')
        return 0;
    (void)io_remove(s->dir, name);
    return 0;
}

/* A directory of a type that the state doesn't have: the same. */
static int remove_strays(void *arg, const char *name)
{
    struct stray *s = arg;
    struct schemas *sk = s->sk;
    char type[LIMIT_TYPE_BYTES];
    int n = evs_decode_component(name, strlen(name), true, type, sizeof type, NULL);
    struct slice id = {type, (size_t)MAX(n, 0)};
    type_id t = n > 0 ? index_find_type(sk->st->ix, id, index_type_hash(id)) : 0;
    struct stray of = {sk, t ? schemas_type(sk, t) : NULL,
                       io_open(s->dir, name, O_RDONLY | O_DIRECTORY, 0)};

    if (of.dir < 0)
        return 0;
    (void)io_list(of.dir, ".", remove_stray, &of);
    (void)io_close(of.dir);
    if (!of.t)
        (void)io_rmdir(s->dir, name);
    return 0;
}

/* The newest version's file may be ahead of the state: then it is that of the model. */
static int mend_newest(struct schemas *sk, struct schema_type *t)
{
    struct schema_version v = t->v[t->n_v - 1];
    AUTO_FREE char *plain = NULL;
    size_t n;
    int r = schemas_plain(sk, t, &plain, &n);

    if (r < 0)
        return r;
    if (!same_plain(&v, plain, n))
        return -EBADMSG;
    if ((r = label(sk, plain, n, t->n_v, &v)) < 0)
        return r;
    t->v[t->n_v - 1] = v;
    if (schemas_on_disk(sk) && write_text(sk, t, t->n_v) < 0)
        sk->unwritten = true; /* it stays in memory */
    return 0;
}

int schemas_check_files(struct schemas *sk)
{
    int dir = schemas_on_disk(sk) ? schemas_open_dir(sk->st->dirfd, NULL, false) : -ENOENT, r = 0;

    if (dir >= 0) {
        (void)io_list(dir, ".", remove_strays, &(struct stray){sk, NULL, dir});
        (void)io_close(dir);
    }
    for (type_id i = 1; i <= sk->last_type && r == 0; i++) {
        struct schema_type *t = schemas_type(sk, i);
        for (uint32_t n = 1; t && n <= t->n_v && r == 0; n++) {
            char *text = NULL;
            r = schemas_text(sk, t, n, &text);
            free(text);
            if (r == -EBADMSG && n == t->n_v)
                r = mend_newest(sk, t);
        }
    }
    return r;
}
