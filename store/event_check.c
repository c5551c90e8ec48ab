/* SPDX-License-Identifier: MIT */
/* event_check: what an entity, a type and an id may be. */
#include "event.h"
#include "limits.h"
#include "scan.h"

static int check_name(struct slice s, size_t limit, uint64_t pos, struct evs_error *err)
{
    if (s.n > limit)
        return evs_fail(err, EVS_NAME_TOO_LONG, pos);
    if (s.n == 0 || memchr(s.p, '\0', s.n) || !scan_is_utf8(s.p, s.n))
        return evs_fail(err, EVS_BAD_NAME, pos);
    return 0;
}

int event_check_entity(struct slice s, uint64_t pos, struct evs_error *err)
{
    return check_name(s, LIMIT_ENTITY_BYTES, pos, err);
}

int event_check_type(struct slice s, uint64_t pos, struct evs_error *err)
{
    return check_name(s, LIMIT_TYPE_BYTES, pos, err);
}

int event_check_id(struct slice s, uint64_t pos, struct evs_error *err)
{
    return check_name(s, LIMIT_ID_BYTES, pos, err);
}

bool event_needs_escape(struct slice s)
{
    for (size_t i = 0; i < s.n; i++) {
        i += scan_plain(s.p + i, s.n - i);
        if (i < s.n && (unsigned char)s.p[i] < 0x80)
            return true;
    }
    return false;
}
