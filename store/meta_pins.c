/* SPDX-License-Identifier: MIT */
/* meta_pins: the table of pinned schemas; the invariants stand in meta.c. */
#include "meta_state.h"

#include "crc.h"

static int64_t pin_crc(const struct pin_row *p)
{
    uint32_t crc = meta_crc_bytes(meta_crc_int(crc32c(0, "p", 1), p->kind), p->name);

    return meta_crc_bytes(meta_crc_int(meta_crc_int(crc, p->uid), p->time_us), p->schema);
}

bool meta_pin_row(sqlite3_stmt *s, struct pin_row *ret)
{
    *ret = (struct pin_row){
        .kind = sqlite3_column_int64(s, 0),
        .name = meta_column(s, 1),
        .uid = sqlite3_column_int64(s, 2),
        .time_us = sqlite3_column_int64(s, 3),
        .schema = meta_column(s, 4),
        .crc = sqlite3_column_int64(s, 5),
    };
    return ret->crc == pin_crc(ret) && ret->kind > EVS_DIR_ROOT && ret->kind <= EVS_DIR_TYPE &&
           ret->uid >= 0 && ret->uid <= UINT32_MAX && ret->name.n > 0;
}

/* Walk the rows; fn NULL: only check them. */
static int each_pin(struct meta *m, meta_pin_fn *fn, void *arg, int64_t *sum, struct evs_error *err)
{
    int r = 0, rc = SQLITE_DONE;
    struct pin_row row;
    sqlite3_stmt *s = m->pinned ? meta_begin(m, EACH_PIN, &r, err) : NULL;

    while (s && r == 0 && (rc = sqlite3_step(s)) == SQLITE_ROW) {
        if (!meta_pin_row(s, &row)) {
            r = meta_damaged("pins", row.name, err);
            break;
        }
        *sum += row.crc;
        const struct meta_pin p = {.kind = (enum evs_dir_kind)row.kind,
                                   .name = row.name,
                                   .uid = (uid_t)row.uid,
                                   .time_us = row.time_us,
                                   .schema = row.schema};
        r = fn ? fn(arg, &p) : 0;
    }
    if (r == 0 && rc != SQLITE_DONE)
        r = meta_fail(m, rc, "pins", err);
    meta_end(s);
    return r;
}

int meta_sum_pins(struct meta *m, int64_t *sum, struct evs_error *err)
{
    return each_pin(m, NULL, NULL, sum, err);
}

int meta_each_pin(struct meta *m, meta_pin_fn *fn, void *arg, struct evs_error *err)
{
    int64_t sum = 0;

    (void)pthread_mutex_lock(&m->lock);
    int r = each_pin(m, fn, arg, &sum, err);
    (void)pthread_mutex_unlock(&m->lock);
    return r;
}

static int put_pin(struct meta *m, const struct pin_row *p, struct evs_error *err)
{
    int r = 0;
    sqlite3_stmt *s = meta_begin(m, SET_PIN, &r, err);

    if (!s)
        return r;
    int rc = sqlite3_bind_int64(s, 1, p->kind);
    if (rc == SQLITE_OK)
        rc = meta_bind_blob(s, 2, p->name);
    if (rc == SQLITE_OK)
        rc = sqlite3_bind_int64(s, 3, p->uid);
    if (rc == SQLITE_OK)
        rc = sqlite3_bind_int64(s, 4, p->time_us);
    if (rc == SQLITE_OK)
        rc = meta_bind_blob(s, 5, p->schema);
    if (rc == SQLITE_OK)
        rc = sqlite3_bind_int64(s, 6, pin_crc(p));
    return meta_finish(m, s, rc, "pins", err);
}

static int set_pin(struct meta *m, const struct pin_row *p, struct evs_error *err)
{
    int64_t old = 0;
    int r = meta_begin_change(m, err);

    if (r < 0)
        return r;
    r = meta_crc_now(m, GET_PIN, p->kind, p->name, &old, err);
    if (r == 0)
        r = put_pin(m, p, err);
    return meta_end_change(m, r, pin_crc(p) - old, err);
}

int meta_set_pin(struct meta *m, const struct meta_pin *p, struct evs_error *err)
{
    const struct pin_row row = {.kind = (int64_t)p->kind,
                                .name = p->name,
                                .uid = p->uid,
                                .time_us = p->time_us,
                                .schema = p->schema};

    if (m->read_only)
        return evs_fail(err, EVS_READ_ONLY, EVS_NOWHERE);
    (void)pthread_mutex_lock(&m->lock);
    int r = set_pin(m, &row, err);
    (void)pthread_mutex_unlock(&m->lock);
    return r;
}

static int clear_pin(struct meta *m, int64_t kind, struct slice name, struct evs_error *err)
{
    int64_t old = 0;
    int r = meta_begin_change(m, err);

    if (r < 0)
        return r;
    r = meta_crc_now(m, GET_PIN, kind, name, &old, err);
    if (r == 0)
        r = meta_remove(m, CLEAR_PIN, kind, name, err);
    return meta_end_change(m, r, -old, err);
}

int meta_clear_pin(struct meta *m, const struct evs_dir *d, struct evs_error *err)
{
    if (m->read_only)
        return evs_fail(err, EVS_READ_ONLY, EVS_NOWHERE);
    (void)pthread_mutex_lock(&m->lock);
    int r = clear_pin(m, (int64_t)d->kind, (struct slice){d->name, d->n}, err);
    (void)pthread_mutex_unlock(&m->lock);
    return r;
}
