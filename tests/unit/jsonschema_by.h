/* SPDX-License-Identifier: MIT */
/* jsonschema_by: values by schemas, both as text. Values lie at the end of memory of their own, so that a read
 * beyond is seen. */
#ifndef JSONSCHEMA_BY_H
#define JSONSCHEMA_BY_H

#include "check.h"
#include "store/jsonschema.h"

#include <errno.h>
#include <time.h>

static inline struct slice of(const char *s)
{
    return (struct slice){s, strlen(s)};
}

static inline struct js_schema *compiled(const char *text)
{
    const struct js_options o = {.assert_format = true};
    struct js_schema *s = NULL;
    struct js_error err = {0};

    if (js_compile(of(text), &o, &s, &err) < 0)
        fprintf(stderr, "%s: %s: %s\n", text, err.schema_path, err.text);
    CHECK(s != NULL);
    return s;
}

static inline int validated(const struct js_schema *s, const char *json, struct js_error *err)
{
    const size_t n = strlen(json);
    AUTO_FREE char *exact = malloc(n);

    memcpy(exact, json, n);
    return js_validate(s, (struct slice){exact, n}, err);
}

static inline int by(const char *schema, const char *json, struct js_error *err)
{
    struct js_schema *const s = compiled(schema);
    const int r = s ? validated(s, json, err) : -EINVAL;

    js_free(s);
    return r;
}

#endif
