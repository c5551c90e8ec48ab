/* SPDX-License-Identifier: MIT */
/* schemas_api: evs_schema() and its kin. Each catches up, looks at one moment, and lets learning go on. */
#include "io.h"
#include "schemas_state.h"
#include "schemas_table.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>

#define WAIT_MS 3000 /* for what is not learned yet: then it is told as far as it is */

/* Everything up to now, with work held; NULL, not held: there is no such schema. */
static struct schema_type *look(struct evs_store *st, evs_type t, evs_seq *ret_through,
                                struct evs_error *err)
{
    struct schemas *sk = st->schemas;

    if (!sk) {
        (void)evs_fail_at(err, EVS_NO_SUCH, EVS_NOWHERE, "schemas are off");
        return NULL;
    }
    if (t == 0 || t > index_type_count(st->ix)) {
        (void)evs_fail(err, EVS_NO_SUCH, EVS_NOWHERE);
        return NULL;
    }
    schemas_catch_up(sk, log_end(st->lg), WAIT_MS);
    *ret_through = schemas_quiesce(sk);
    struct schema_type *type = schemas_type(sk, t);
    if (!type || !type->n_v) {
        schemas_leave(sk);
        (void)evs_fail_at(err, EVS_NO_SUCH, EVS_NOWHERE, "not learned yet: events after %" PRIu64,
                          *ret_through);
        return NULL;
    }
    return type;
}

static int fail(int r, struct evs_error *err)
{
    return r == -ENOMEM ? evs_fail(err, EVS_NO_MEMORY, EVS_NOWHERE)
                        : evs_fail_errno(err, r, "schemas");
}

/* The newest, with counts, and which it is. */
static int newest(struct schemas *sk, const struct schema_type *t, evs_seq through, char **ret,
                  size_t *ret_n)
{
    const struct infer_options o = {.title = index_type_name(sk->st->ix, t->id)};
    AUTO_FREE char *plain = NULL;
    size_t n;
    int r = atomic_load_explicit(&t->open, memory_order_relaxed)
                ? schemas_plain(sk, t, &plain, &n)
                : infer_schema(t->model, &o, &plain, &n);

    if (r < 0)
        return r;
    assert(n > 3 && memcmp(plain + n - 3, "\n}\n", 3) == 0);
    int len = asprintf(
        ret, "%.*s,\n  \"x-evfs-version\": %" PRIu32 ",\n  \"x-evfs-through\": %" PRIu64 "\n}\n",
        (int)n - 3, plain, t->n_v, through);
    if (len < 0)
        return -ENOMEM;
    *ret_n = (size_t)len;
    return 0;
}

int evs_schema(struct evs_store *st, evs_type t, uint32_t version, char **ret_json, size_t *ret_n,
               struct evs_error *err)
{
    for (int again = 0;; again++) {
        evs_seq through;
        struct schema_type *type = look(st, t, &through, err);
        char *text = NULL;
        size_t n = 0;
        if (!type)
            return -ENOENT;
        if (version > type->n_v) {
            schemas_leave(st->schemas);
            return evs_fail_at(err, EVS_NO_SUCH, EVS_NOWHERE, "version %" PRIu32, version);
        }
        int r = version ? schemas_text(st->schemas, type, version, &text)
                        : newest(st->schemas, type, through, &text, &n);
        if (r == 0 && version)
            n = type->v[version - 1].text_n;
        if (r == -EBADMSG && !again)
            schemas_fail(st->schemas, r); /* its file is not what it was: it is learned again */
        schemas_leave(st->schemas);
        if (r == -EBADMSG && !again)
            continue;
        if (r < 0)
            return fail(r, err);
        *ret_json = text;
        *ret_n = n;
        return 0;
    }
}

uint32_t evs_schema_versions(struct evs_store *st, evs_type t)
{
    evs_seq through;
    struct schema_type *type = look(st, t, &through, NULL);

    if (!type)
        return 0;
    uint32_t n = type->n_v;
    schemas_leave(st->schemas);
    return n;
}

int evs_schema_changes(struct evs_store *st, evs_type t, char **ret_jsonl, size_t *ret_n,
                       struct evs_error *err)
{
    evs_seq through;
    struct schema_type *type = look(st, t, &through, err);
    size_t n = 0;

    if (!type)
        return -ENOENT;
    for (uint32_t i = 0; i < type->n_v; i++)
        n += type->v[i].change_n;
    char *p = malloc(n + 1);
    for (uint32_t i = 0, at = 0; p && i < type->n_v; at += type->v[i++].change_n)
        memcpy(p + at, type->v[i].change, type->v[i].change_n);
    schemas_leave(st->schemas);
    if (!p)
        return evs_fail(err, EVS_NO_MEMORY, EVS_NOWHERE);
    p[n] = '\0';
    *ret_jsonl = p;
    *ret_n = n;
    return 0;
}

int evs_schema_table(struct evs_store *st, evs_type t, char **ret_text, size_t *ret_n,
                     struct evs_error *err)
{
    char *json;
    size_t n;
    int r = evs_schema(st, t, 0, &json, &n, err);

    if (r < 0)
        return r;
    r = schemas_table((struct slice){json, n}, ret_text, ret_n);
    free(json);
    return r < 0 ? fail(r, err) : 0;
}

int evs_schema_describe(const char *json, size_t n, char **ret_text, size_t *ret_n,
                        struct evs_error *err)
{
    int r = schemas_table((struct slice){json, n}, ret_text, ret_n);

    return r == -EBADMSG ? evs_fail(err, EVS_BAD_SCHEMA, EVS_NOWHERE) : r < 0 ? fail(r, err) : 0;
}

bool evs_learns(const struct evs_store *st)
{
    return st->schemas != NULL;
}

/* ---- README ---- */

struct sample {
    const struct evs_store *st;
    evs_seq seq;
    struct log_pin *pin;
    uint32_t data;
    char *p; /* the caller's, room for cap */
    size_t n, cap;
};

static int copy_data(void *arg)
{
    struct sample *s = arg;
    struct slice line;
    int r = log_line(s->st->lg, s->seq, s->pin, &line, NULL);

    if (r < 0)
        return r;
    if (line.n < s->data + 2u || !line_crc_ok(line.p, line.n, s->data))
        return -EIO;
    s->n = MIN(line.n - s->data - 2, s->cap);
    memcpy(s->p, line.p + s->data, s->n);
    return 0;
}

/* The data of an event, malloc'ed and terminated. */
static int data_of(struct evs_store *st, evs_seq seq, char **ret, size_t *ret_n)
{
    struct log_pin pin = {0};
    struct log_rec rec;
    int r = log_rec_get(st->lg, seq, &rec, NULL);

    if (r < 0)
        return r;
    struct sample s = {
        .st = st, .seq = seq, .pin = &pin, .data = log_rec_data(&rec), .cap = rec.len};
    s.p = malloc(s.cap + 1u);
    if (!s.p)
        return -ENOMEM;
    r = io_guarded(copy_data, &s);
    log_unpin(&pin);
    if (r < 0) {
        free(s.p);
        return r;
    }
    s.p[s.n] = '\0';
    *ret = s.p;
    *ret_n = s.n;
    return 0;
}

static int readme(struct evs_store *st, evs_type t, const char *table, FILE *f)
{
    char name[SCHEMAS_NAME_BYTES];
    struct evs_extent x;
    int r = evs_view_extent(st, &(struct evs_view){.kind = EVS_TYPE, .type = t}, &x);

    if (r < 0 || x.events == 0)
        return r < 0 ? r : -ENOENT;
    schemas_type_name(index_type_name(st->ix, t), name);
    (void)fprintf(
        f,
        "%s: %" PRIu64 " events, the first is %" PRIu64 ", the newest %" PRIu64 ".\n\n"
        "  events.jsonl    all of them, whole\n"
        "  schema.json     what their data looks like, learned from them (JSON Schema "
        "2020-12)\n"
        "  schemas/        how that has changed; changes.jsonl says what changed, and when\n"
        "  pinned.json     write a JSON Schema here: from then on it is enforced\n\n"
        "The fields of data, how many events have them, and a value:\n\n%s\n",
        name, x.events, x.first, x.last, table);
    const evs_seq seqs[] = {x.first, x.last};
    for (int i = 0; i < (x.first == x.last ? 1 : 2); i++) {
        char *data, *text;
        size_t n;
        if ((r = data_of(st, seqs[i], &data, &n)) < 0)
            return r;
        r = schemas_example((struct slice){data, n}, &text);
        free(data);
        if (r < 0)
            return r;
        (void)fprintf(f, "The data of event %" PRIu64 " (%s):\n\n%s\n", seqs[i],
                      i ? "the newest" : "the first", text);
        free(text);
    }
    return 0;
}

int evs_schema_readme(struct evs_store *st, evs_type t, char **ret_text, size_t *ret_n,
                      struct evs_error *err)
{
    AUTO_FREE char *table = NULL;
    char *text = NULL;
    size_t n;
    int r = evs_schema_table(st, t, &table, &n, err);

    if (r < 0)
        return r;
    FILE *f = open_memstream(&text, &n);
    if (!f)
        return evs_fail(err, EVS_NO_MEMORY, EVS_NOWHERE);
    r = readme(st, t, table, f);
    if (fclose(f) != 0 && r == 0)
        r = -ENOMEM;
    if (r < 0) {
        free(text);
        return fail(r, err);
    }
    *ret_text = text;
    *ret_n = n;
    return 0;
}
