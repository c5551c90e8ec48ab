/* SPDX-License-Identifier: MIT */
/* A comparison as JSON and as lines for a person. */
#include "evolve_state.h"

#include <errno.h>
#include <stdio.h>

/* ---- JSON ------------------------------------------------------------------------------------ */

/* A value as it was, or as a string if it was cut. */
static json_t *value(const char *text)
{
    json_t *j = json_loads(text, JSON_DECODE_ANY | JSON_ALLOW_NUL, NULL);

    return j ? j : json_string(text);
}

static json_t *changes(const struct evolve *e)
{
    json_t *list = json_array();

    for (size_t i = 0; i < e->n; i++) {
        const struct evolve_change *c = &e->change[i];
        json_t *j = json_pack("{ss ss ss}", "path", c->path, "what", evolve_what_name(c->what),
                              "keyword", c->keyword);
        if (c->from)
            (void)json_object_set_new(j, "from", value(c->from));
        if (c->to)
            (void)json_object_set_new(j, "to", value(c->to));
        (void)json_array_append_new(list, j);
    }
    return list;
}

static json_t *reasons(const struct evolve_side *s)
{
    json_t *list = json_array();

    for (uint32_t i = 0; i < s->n; i++)
        (void)json_array_append_new(
            list, json_pack("{ss ss}", "path", s->reason[i].path, "why", s->reason[i].why));
    return list;
}

int evolve_json(const struct evolve *e, char **ret, size_t *ret_n)
{
    json_t *j = json_pack("{ss so so so}", "compatible", evolve_verdict(e), "changes", changes(e),
                          "backward", reasons(&e->backward), "forward", reasons(&e->forward));

    if (e->more)
        (void)json_object_set_new(j, "more", json_true());
    char *s = j ? json_dumps(j, JSON_COMPACT) : NULL;
    json_decref(j);
    if (!s)
        return -ENOMEM;
    *ret = s;
    *ret_n = strlen(s);
    return 0;
}

/* ---- lines ----------------------------------------------------------------------------------- */

static void put_change(FILE *f, const struct evolve_change *c)
{
    fprintf(f, "%-14s %s", evolve_what_name(c->what), *c->path ? c->path : "(all of it)");
    if (strcmp(c->keyword, "properties") != 0 && strcmp(c->keyword, "required") != 0)
        fprintf(f, "  %s", c->keyword);
    if (c->from && c->to)
        fprintf(f, "  %s -> %s", c->from, c->to);
    else if (c->from)
        fprintf(f, "  was %s", c->from);
    else if (c->to)
        fprintf(f, "  %s", c->to);
    (void)fputc('\n', f);
}

static void put_side(FILE *f, const struct evolve_side *s, const char *what, const char *who)
{
    fprintf(f, "%s: %s%s\n", what, s->holds ? "yes, " : "no, ", who);
    for (uint32_t i = 0; i < s->n; i++)
        fprintf(f, "    %s: %s\n", *s->reason[i].path ? s->reason[i].path : "(all of it)",
                s->reason[i].why);
}

int evolve_text(const struct evolve *e, char **ret, size_t *ret_n)
{
    char *p = NULL;
    size_t n = 0;
    FILE *f = open_memstream(&p, &n);

    if (!f)
        return -ENOMEM;
    for (size_t i = 0; i < e->n; i++)
        put_change(f, &e->change[i]);
    if (e->more)
        fputs("and more\n", f);
    else if (e->n == 0)
        fputs("no difference\n", f);
    put_side(f, &e->backward, "backward",
             e->backward.holds ? "new readers take all old data"
                               : "new readers may refuse old data");
    put_side(f, &e->forward, "forward",
             e->forward.holds ? "old readers take all new data"
                              : "old readers may refuse new data");
    fprintf(f, "compatible: %s\n", evolve_verdict(e));
    const bool failed = ferror(f);
    if (fclose(f) != 0 || failed) {
        free(p);
        return -ENOMEM;
    }
    *ret = p;
    *ret_n = n;
    return 0;
}
