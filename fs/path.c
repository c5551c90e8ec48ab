/* SPDX-License-Identifier: MIT */
/* path: (1) Only what encoding gives is accepted: a path and what it stands for are one to one. (2)
 * The last component ends in .jsonl, the others don't; "events" before it is the directory's view,
 * and the type of this name is spelt otherwise (%65vents). (3) entities/ itself holds directories
 * only. */
#include "fs/path.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define SUFFIX       ".jsonl"
#define SUFFIX_BYTES (sizeof SUFFIX - 1)

/* A component of the path, not yet decoded. */
struct part {
    const char *p;
    size_t n;
};

static int fail(struct evs_error *err, enum evs_reason why, int code, uint64_t pos,
                const char *path)
{
    if (err) {
        *err = (struct evs_error){.why = why, .code = code, .pos = pos};
        (void)snprintf(err->detail, sizeof err->detail, "%s", path); /* cut is fine: for people */
    }
    return -code;
}

static int no_such(struct evs_error *err, const char *path, const char *at)
{
    return fail(err, EVS_NO_SUCH, ENOENT, (uint64_t)(at - path), path);
}

static bool part_is(const struct part *c, const char *word)
{
    return c->n == strlen(word) && memcmp(c->p, word, c->n) == 0;
}

/* The component at *s, which moves behind the '/' after it, or becomes NULL after the last. */
static struct part next_part(const char **s)
{
    const char *end = strchrnul(*s, '/');
    struct part c = {*s, (size_t)(end - *s)};

    *s = *end ? end + 1 : NULL;
    return c;
}

/* Append a decoded component to the id; its '/' first, where one is needed. */
static int add_component(struct path *ret, size_t *count, const struct part *c,
                         struct evs_error *err)
{
    char one[PATH_TYPE_BYTES];
    int n = evs_decode_component(c->p, c->n, false, one, sizeof one, err);

    if (n < 0)
        return n;
    size_t at = ret->target.entity_len, slash = *count > 0;
    if (*count == PATH_COMPONENTS || at + slash + (size_t)n > sizeof ret->entity)
        return fail(err, EVS_NAME_TOO_LONG, ENAMETOOLONG, UINT64_MAX, "entity");
    if (slash)
        ret->entity[at++] = '/';
    memcpy(ret->entity + at, one, (size_t)n);
    ret->target.entity_len = at + (size_t)n;
    (*count)++;
    return 0;
}

static int set_type(struct path *ret, const struct part *c, struct evs_error *err)
{
    int n = evs_decode_component(c->p, c->n, true, ret->type, sizeof ret->type, err);

    if (n < 0)
        return n;
    ret->target.type_len = (size_t)n;
    return 0;
}

/* Behind entities/: components, then events.jsonl or TYPE.jsonl. */
static int parse_entity(const char *path, const char *s, struct path *ret, struct evs_error *err)
{
    size_t count = 0;
    struct part c = next_part(&s);

    for (; s; c = next_part(&s)) {
        int r = add_component(ret, &count, &c, err);
        if (r < 0)
            return r;
    }
    if (count == 0 || c.n <= SUFFIX_BYTES ||
        memcmp(c.p + c.n - SUFFIX_BYTES, SUFFIX, SUFFIX_BYTES) != 0)
        return no_such(err, path, c.p);
    c.n -= SUFFIX_BYTES;
    if (part_is(&c, "events")) {
        ret->target.kind = EVS_BELOW;
        return 0;
    }
    ret->target.kind = EVS_OWN_TYPE;
    return set_type(ret, &c, err);
}

/* Behind types/: TYPE/events.jsonl. */
static int parse_type(const char *path, const char *s, struct path *ret, struct evs_error *err)
{
    struct part type = next_part(&s), file = {0};

    if (s)
        file = next_part(&s);
    if (s || !file.p || !part_is(&file, "events" SUFFIX))
        return no_such(err, path, file.p ? file.p : type.p);
    ret->target.kind = EVS_TYPE;
    return set_type(ret, &type, err);
}

int path_parse(const char *path, struct path *ret, struct evs_error *err)
{
    const char *s = path;
    struct path p = {.target.kind = EVS_ALL};
    int r;

    if (*s == '/')
        s++;
    struct part first = next_part(&s);
    if (!s)
        r = part_is(&first, "events" SUFFIX) ? 0 : no_such(err, path, first.p);
    else if (part_is(&first, "entities"))
        r = parse_entity(path, s, &p, err);
    else if (part_is(&first, "types"))
        r = parse_type(path, s, &p, err);
    else
        r = no_such(err, path, first.p);
    if (r < 0)
        return r;

    *ret = p;
    ret->target.entity =
        ret->target.kind == EVS_BELOW || ret->target.kind == EVS_OWN_TYPE ? ret->entity : NULL;
    ret->target.type =
        ret->target.kind == EVS_OWN_TYPE || ret->target.kind == EVS_TYPE ? ret->type : NULL;
    return 0;
}

int path_view(struct evs_store *st, const struct path *p, struct evs_view *ret,
              struct evs_error *err)
{
    struct evs_view v = {.kind = p->target.kind};

    if (p->target.entity) {
        v.entity = evs_find_entity(st, p->entity, p->target.entity_len);
        if (!v.entity)
            return fail(err, EVS_NO_SUCH, ENOENT, UINT64_MAX, "entity");
    }
    if (p->target.type) {
        v.type = evs_find_type(st, p->type, p->target.type_len);
        if (!v.type)
            return fail(err, EVS_NO_SUCH, ENOENT, UINT64_MAX, "type");
    }
    *ret = v;
    return 0;
}
