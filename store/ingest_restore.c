/* SPDX-License-Identifier: MIT */
/* ingest_restore: stored lines take their place again. */
#include "ingest.h"
#include "limits.h"
#include "scan.h"

#include <errno.h>

/* The decoded names of a stored line; slices into it, or into names[cap] where they hold escapes. */
int ingest_names(const struct line *l, struct slice *entity, struct slice *type, struct slice *id,
                 char *names, size_t cap)
{
    struct slice *const out[] = {entity, type, id};
    const struct slice raw[] = {l->entity, l->type, l->id};
    const bool escaped[] = {l->entity_escape, l->type_escape, l->id_escape};

    for (int i = 0; i < 3; i++) {
        *out[i] = raw[i];
        if (UNLIKELY(escaped[i])) {
            struct slice quoted = {raw[i].p - 1, raw[i].n + 2};
            if (quoted.n > cap)
                return -EBADMSG;
            size_t n = scan_decode(quoted, names, NULL);
            *out[i] = (struct slice){names, n};
            names += n;
            cap -= n;
        }
    }
    return entity->n && entity->n <= LIMIT_ENTITY_BYTES && type->n && type->n <= LIMIT_TYPE_BYTES
               ? 0
               : -EBADMSG;
}

void ingest_find_names(const struct index *ix, const struct line *l, uint32_t *ret_entity,
                       uint32_t *ret_type)
{
    char names[6 * (LIMIT_ENTITY_BYTES + LIMIT_TYPE_BYTES + LIMIT_ID_BYTES)];
    struct slice entity, type, id;

    *ret_entity = *ret_type = 0;
    if (ingest_names(l, &entity, &type, &id, names, sizeof names) < 0)
        return;
    *ret_entity = index_find_entity(ix, entity, index_entity_hash(entity));
    *ret_type = index_find_type(ix, type, index_type_hash(type));
}

int ingest_restore(struct index *ix, const struct line *l, struct log_rec *rec,
                   struct evs_error *err)
{
    char names[6 * (LIMIT_ENTITY_BYTES + LIMIT_TYPE_BYTES + LIMIT_ID_BYTES)];
    struct slice entity, type, id;

    if (ingest_names(l, &entity, &type, &id, names, sizeof names) < 0 || l->seq > LIMIT_EVENTS)
        return evs_fail(err, EVS_DAMAGED, EVS_NOWHERE);
    if (!index_has_room(ix, 1))
        return evs_fail_at(err, EVS_TOO_MANY, EVS_NOWHERE, "events or names");
    if (UNLIKELY(!rec->entity || !rec->type)) {
        rec->entity = index_stage_entity(ix, entity, index_entity_hash(entity));
        rec->type = index_stage_type(ix, type, index_type_hash(type));
        if (!rec->type)
            return evs_fail_at(err, EVS_TOO_MANY, EVS_NOWHERE, "types");
    }
    struct set *s = index_set(ix, rec->entity);
    if (l->version != s->decided + 1ull)
        return evs_fail_at(err, EVS_DAMAGED, EVS_NOWHERE, "event %llu has version %llu, not %u",
                           (unsigned long long)l->seq, (unsigned long long)l->version,
                           s->decided + 1);
    s->decided++;
    if (l->id_seq != l->seq)
        index_stage_id(ix, index_id_hash(rec->entity, id), (uint32_t)l->seq);
    return 0;
}

void ingest_unrestore(struct index *ix, const struct log_rec *rec)
{
    index_set(ix, rec->entity)->decided--;
}
