/* SPDX-License-Identifier: MIT */
/* schemas_save: what is learned as one file, schemas/%state (docs/format.md, "Schemas"): a head, and behind it for
 * each type its name, its versions and its model. All of it has a checksum. It says up to which event it reaches
 * and has the checksum of that event's line, so that it is known to belong to this log; the log up to there is
 * durable before it is written. */
#include "checkpoint.h"
#include "crc.h"
#include "io.h"
#include "schemas_state.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>

static const char magic[8] = "evfsSCHM";
#define STATE_VERSION 1u

struct state_head {
    char magic[8];
    uint32_t version;       /* STATE_VERSION */
    uint32_t infer_version; /* INFER_VERSION */
    uint64_t through;       /* the last event that is in it */
    uint64_t bytes;         /* behind the head */
    uint32_t line_crc;      /* of that event's line */
    uint32_t types;
    uint32_t body_crc;
    uint32_t head_crc; /* of all before it */
};
static_assert(sizeof(struct state_head) == 48, "on disk");

/* ---- bytes ---- */

struct bytes {
    char *p; /* owned */
    size_t n, cap;
    bool failed; /* no memory */
};

static void put(struct bytes *b, const void *p, size_t n)
{
    if (b->n + n > b->cap && !b->failed) {
        size_t cap = MAX(b->n + n, b->cap * 2);
        char *q = realloc(b->p, cap);
        b->failed = !q;
        b->p = q ? q : b->p;
        b->cap = q ? cap : b->cap;
    }
    if (b->failed || n == 0)
        return;
    memcpy(b->p + b->n, p, n);
    b->n += n;
}

static void put32(struct bytes *b, uint32_t v)
{
    put(b, &v, sizeof v);
}

static void put64(struct bytes *b, uint64_t v)
{
    put(b, &v, sizeof v);
}

/* Bytes that are read; p NULL: there were too few. */
static const char *take(struct slice *s, size_t n)
{
    const char *p = s->p;

    if (!p || n > s->n) {
        s->p = NULL;
        return NULL;
    }
    s->p += n;
    s->n -= n;
    return p;
}

static uint32_t take32(struct slice *s)
{
    const char *p = take(s, 4);

    return p ? load32(p) : 0;
}

static uint64_t take64(struct slice *s)
{
    const char *p = take(s, 8);

    return p ? load64(p) : 0;
}

/* ---- writing ---- */

static void put_version(struct bytes *b, const struct schema_version *v)
{
    put64(b, v->first);
    put64(b, v->last);
    put64(b, (uint64_t)v->recorded_us);
    put32(b, v->text_n);
    put32(b, v->text_crc);
    put32(b, v->plain_n);
    put32(b, v->plain_crc);
    put32(b, v->change_n);
    put(b, v->change, v->change_n);
}

static int put_type(struct bytes *b, const struct schemas *sk, const struct schema_type *t)
{
    struct slice name = index_type_name(sk->st->ix, t->id);
    AUTO_FREE char *model = NULL;
    size_t n = 0;
    int r = t->model ? infer_save(t->model, &model, &n) : 0;

    if (r < 0)
        return r;
    put32(b, (uint32_t)name.n);
    put32(b, atomic_load_explicit(&t->open, memory_order_relaxed) | (t->model ? 2u : 0));
    put(b, name.p, name.n);
    put64(b, (uint64_t)t->changed_us);
    put64(b, t->changed);
    put64(b, t->changed_last);
    put32(b, t->n_v);
    for (uint32_t i = 0; i < t->n_v; i++)
        put_version(b, &t->v[i]);
    put64(b, n);
    put(b, model, n);
    return b->failed ? -ENOMEM : 0;
}

static int make_state(const struct schemas *sk, evs_seq through, struct bytes *b)
{
    struct state_head h = {
        .version = STATE_VERSION, .infer_version = INFER_VERSION, .through = through};
    struct checkpoint_mark m;
    int r = checkpoint_mark_at(sk->st->lg, through, &m, NULL);

    if (r < 0)
        return r;
    memcpy(h.magic, magic, sizeof magic);
    put(b, &h, sizeof h);
    for (type_id i = 1; i <= sk->last_type; i++) {
        const struct schema_type *t = schemas_type(sk, i);
        if (!t)
            continue;
        if ((r = put_type(b, sk, t)) < 0)
            return r;
        h.types++;
    }
    if (b->failed)
        return -ENOMEM;
    h.line_crc = m.line_crc;
    h.bytes = b->n - sizeof h;
    h.body_crc = crc32c(0, b->p + sizeof h, h.bytes);
    h.head_crc = crc32c(0, &h, offsetof(struct state_head, head_crc));
    memcpy(b->p, &h, sizeof h);
    return 0;
}

static int write_state(const struct schemas *sk, const struct bytes *b)
{
    int dir = schemas_open_dir(sk->st->dirfd, NULL, true);

    if (dir < 0)
        return dir;
    int r = schemas_room(sk, dir, b->n);
    int fd = r < 0 ? r : io_open(dir, SCHEMAS_TMP, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    r = fd;
    if (fd >= 0) {
        r = io_write_all(fd, b->p, b->n, 0);
        if (r == 0)
            r = io_datasync(fd);
        int e = io_close(fd);
        r = r < 0 ? r : e;
        if (r == 0)
            r = io_rename(dir, SCHEMAS_TMP, SCHEMAS_STATE);
        if (r < 0)
            (void)io_unlink(dir, SCHEMAS_TMP); /* it takes the room that others lack */
    }
    (void)io_close(dir);
    return r;
}

int schemas_save(struct schemas *sk)
{
    struct bytes b = {0};
    evs_seq through = schemas_quiesce(sk);
    int r;

    if (!sk->checked || sk->dirty || sk->stuck) /* stuck: events behind `through` are counted */
        return -EAGAIN;
    if (through == sk->saved && !sk->unwritten)
        return 0;
    r = schemas_write_texts(sk);
    if (r == 0 && through > 0)
        r = make_state(sk, through, &b);
    if (r == 0 && through > 0 && (r = log_sync(sk->st->lg, through, NULL)) == 0)
        r = write_state(sk, &b);
    free(b.p);
    if (r == 0)
        sk->saved = through;
    if (r == 0)
        sk->trouble[0] = '\0';
    else
        schemas_say(sk, "can't be written: %s; tried again", strerror(-r));
    return r;
}

/* ---- reading ---- */

static int read_state(int dirfd, char **ret, struct state_head *h)
{
    size_t n;
    char *p;
    int r = schemas_read_file(dirfd, NULL, SCHEMAS_STATE, &p, &n);

    if (r < 0)
        return r;
    if (n >= sizeof *h)
        memcpy(h, p, sizeof *h);
    if (n < sizeof *h || memcmp(h->magic, magic, sizeof magic) != 0 ||
        h->head_crc != crc32c(0, h, offsetof(struct state_head, head_crc)) ||
        h->version != STATE_VERSION || h->infer_version != INFER_VERSION ||
        h->bytes != n - sizeof *h || h->body_crc != crc32c(0, p + sizeof *h, h->bytes)) {
        free(p);
        return -EBADMSG;
    }
    *ret = p;
    return 0;
}

/* Is it of this log? Where its last line is damaged nobody knows, and others tell: unknown. */
static bool belongs(const struct log *lg, const struct state_head *h, bool unknown)
{
    struct checkpoint_mark m;

    if (h->through == 0 || h->through > log_end(lg))
        return false;
    return checkpoint_mark_at(lg, h->through, &m, NULL) == 0 ? m.line_crc == h->line_crc : unknown;
}

/* Into *v, whose change is then a slice of the state. */
static void take_version(struct slice *s, struct schema_version *v)
{
    v->first = take64(s);
    v->last = take64(s);
    v->recorded_us = (int64_t)take64(s);
    v->text_n = take32(s);
    v->text_crc = take32(s);
    v->plain_n = take32(s);
    v->plain_crc = take32(s);
    v->change_n = take32(s);
}

struct type_head {
    struct slice name;
    uint32_t flags, versions;
    int64_t changed_us;
    evs_seq changed, changed_last;
};

static void take_type(struct slice *s, struct type_head *h)
{
    h->name.n = take32(s);
    h->flags = take32(s);
    h->name.p = take(s, h->name.n);
    h->changed_us = (int64_t)take64(s);
    h->changed = take64(s);
    h->changed_last = take64(s);
    h->versions = take32(s);
}

static int load_versions(struct schemas *sk, struct schema_type *t, struct slice *s, uint32_t n)
{
    if (n > LIMIT_SCHEMA_VERSIONS)
        return -EBADMSG;
    t->v = calloc(MAX(n, 1u), sizeof *t->v);
    if (!t->v)
        return -ENOMEM;
    t->cap_v = MAX(n, 1u);
    for (; t->n_v < n; t->n_v++) {
        struct schema_version *v = &t->v[t->n_v];
        take_version(s, v);
        const char *change = take(s, v->change_n);
        if (!change)
            return -EBADMSG;
        v->change = malloc(v->change_n + 1u);
        if (!v->change)
            return -ENOMEM;
        memcpy(v->change, change, v->change_n);
        sk->bytes += sizeof *v + v->change_n;
        sk->texts += schemas_on_disk_bytes(v->text_n);
    }
    return 0;
}

static int load_type(struct schemas *sk, struct slice *s)
{
    struct type_head h;
    struct infer *model = NULL;
    int r;

    take_type(s, &h);
    type_id id = h.name.p ? index_find_type(sk->st->ix, h.name, index_type_hash(h.name)) : 0;
    if (!s->p || !id || schemas_type(sk, id))
        return -EBADMSG;
    struct schema_type *t = schemas_add_type(sk, id, NULL);
    if (!t)
        return -ENOMEM;
    t->changed_us = h.changed_us;
    t->changed = h.changed;
    t->changed_last = h.changed_last;
    if ((r = load_versions(sk, t, s, h.versions)) < 0)
        return r;
    uint64_t n = take64(s);
    const char *bytes = take(s, n);
    if (!bytes)
        return -EBADMSG;
    if (h.flags & 2) {
        if ((r = infer_load((struct slice){bytes, n}, &model)) < 0)
            return r;
        t->model = model; /* nobody appends yet */
        sk->bytes += infer_bytes(model);
    }
    if (!(h.flags & 1)) {
        if (!model)
            return -EBADMSG;
        atomic_store_explicit(&t->open, false, memory_order_relaxed);
        sk->crowded--;
    }
    return 0;
}

int schemas_load(struct schemas *sk)
{
    AUTO_FREE char *p = NULL;
    struct state_head h;
    int r = read_state(sk->st->dirfd, &p, &h);

    if (r < 0)
        return r;
    if (!belongs(sk->st->lg, &h, false))
        return -EBADMSG;
    struct slice s = {p + sizeof h, h.bytes};
    for (uint32_t i = 0; i < h.types && r == 0; i++)
        r = load_type(sk, &s);
    if (r == 0 && s.n > 0)
        r = -EBADMSG;
    if (r < 0) {
        schemas_forget(sk);
        return r;
    }
    sk->saved = h.through;
    sk->next = sk->to = h.through + 1;
    return 0;
}

/* ---- for who only checks ---- */

void schemas_known_done(struct schemas_known *k)
{
    for (uint32_t i = 0; i < k->n; i++)
        free(k->types[i].v);
    free(k->types);
    free(k->state);
}

static int know_type(struct schemas_known_type *t, struct slice *s)
{
    struct type_head h;

    take_type(s, &h);
    if (!s->p || h.versions > LIMIT_SCHEMA_VERSIONS)
        return -EBADMSG;
    t->name = h.name;
    t->v = calloc(MAX(h.versions, 1u), sizeof *t->v);
    if (!t->v)
        return -ENOMEM;
    for (; t->n < h.versions; t->n++) {
        take_version(s, &t->v[t->n]);
        (void)take(s, t->v[t->n].change_n);
    }
    (void)take(s, take64(s));
    return s->p ? 0 : -EBADMSG;
}

int schemas_known(int dirfd, const struct log *lg, struct schemas_known *ret)
{
    struct schemas_known k = {0};
    struct state_head h;
    int r = read_state(dirfd, &k.state, &h);

    if (r < 0)
        return r;
    struct slice s = {k.state + sizeof h, h.bytes};
    k.through = h.through;
    k.types = calloc(MAX(h.types, 1u), sizeof *k.types);
    r = !k.types ? -ENOMEM : !belongs(lg, &h, true) || h.types > LIMIT_TYPES ? -EBADMSG : 0;
    for (; r == 0 && k.n < h.types; k.n++)
        r = know_type(&k.types[k.n], &s);
    if (r == 0)
        *ret = k;
    else
        schemas_known_done(&k);
    return r;
}

/* ---- removing ---- */

struct removing {
    int dir, r;
};

static int remove_file(void *arg, const char *name)
{
    struct removing *k = arg;
    int r = io_unlink(k->dir, name);

    k->r = k->r < 0 ? k->r : r;
    return 0;
}

static int remove_entry(void *arg, const char *name)
{
    struct removing *k = arg;
    struct removing of = {.dir = io_open(k->dir, name, O_RDONLY | O_DIRECTORY, 0)};

    if (of.dir < 0)
        return remove_file(arg, name);
    (void)io_list(of.dir, ".", remove_file, &of);
    (void)io_close(of.dir);
    int r = of.r < 0 ? of.r : io_rmdir(k->dir, name);
    k->r = k->r < 0 ? k->r : r;
    return 0;
}

int schemas_remove(int dirfd)
{
    struct removing k = {.dir = schemas_open_dir(dirfd, NULL, false)};

    if (k.dir == -ENOENT)
        return 0;
    if (k.dir == -ENOTDIR || k.dir == -ELOOP)
        return io_unlink(dirfd, SCHEMAS_DIR);
    if (k.dir < 0)
        return k.dir;
    (void)io_list(k.dir, ".", remove_entry, &k);
    (void)io_close(k.dir);
    return k.r < 0 ? k.r : io_rmdir(dirfd, SCHEMAS_DIR);
}
