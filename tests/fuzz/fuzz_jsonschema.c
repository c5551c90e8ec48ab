/* SPDX-License-Identifier: MIT */
/* libFuzzer: the first line is a schema, the rest a value. Each is handled without a read beyond its end;
 * a verdict is the same each time, its opposite below "not", and every value is equal to itself. */
#include "fuzz.h"
#include "store/jsonschema.h"
#include "store/scan.h"

#include <errno.h>

#define SCHEMA_URI "http://fuzz/s"

static int give_schema(void *arg, struct slice uri, struct slice *ret_text)
{
    if (!slice_eq(uri, (struct slice){SCHEMA_URI, sizeof SCHEMA_URI - 1}))
        return -ENOENT;
    *ret_text = *(struct slice *)arg;
    return 0;
}

static int compile(struct slice text, const struct js_options *o, struct js_schema **ret)
{
    struct js_error err = {.text = ""};
    const int r = js_compile(text, o, ret, &err);

    DEMAND(r == 0 || r == -EINVAL || r == -E2BIG || r == -ENOMEM);
    DEMAND(r == 0 || err.text[0]);
    DEMAND(memchr(err.instance_path, 0, sizeof err.instance_path) &&
           memchr(err.schema_path, 0, sizeof err.schema_path));
    return r;
}

static int verdict(const struct js_schema *s, struct slice json)
{
    struct js_error err = {.text = ""};
    const int r = js_validate(s, json, &err);

    DEMAND(r == 1 || r == 0 || r == -E2BIG || r == -ENOMEM);
    DEMAND(r == 1 || err.text[0]);
    DEMAND(js_validate(s, json, NULL) == r);
    /* Too long a match is invalid whatever is around it. */
    return r == 0 && strstr(err.text, "took too long") ? -ETIME : r;
}

static void by_schema(struct slice schema, struct slice json)
{
    static const char negated[] = "{\"not\":{\"$ref\":\"" SCHEMA_URI "\"}}";
    const struct js_options o = {
        .assert_format = true, .resolve = give_schema, .resolve_arg = &schema};
    struct js_schema *s = NULL, *not = NULL;

    if (compile(schema, &o, &s) == 0) {
        const int r = verdict(s, json);
        /* It may refer to "#" of no base, or have this very URI. */
        if (compile((struct slice){negated, sizeof negated - 1}, &o, &not ) == 0 && r >= 0 &&
            !memmem(schema.p, schema.n, "Ref", 3) && !memmem(schema.p, schema.n, "ref", 3) &&
            !memmem(schema.p, schema.n, "\\u", 2)) {
            const int opposite = verdict(not, json);
            DEMAND(opposite == !r || opposite == -E2BIG || opposite == -ENOMEM);
        }
    }
    js_free(s);
    js_free(not );
}

/* {"const":V}, {"enum":[V]} and {"not":{"const":V}}. */
static void by_itself(struct slice json)
{
    static const char *const around[][2] = {
        {"{\"const\":", "}"}, {"{\"enum\":[0,", "]}"}, {"{\"not\":{\"const\":", "}}"}};

    for (size_t i = 0; i < ARRAY_LEN(around); i++) {
        AUTO_FREE char *text = malloc(json.n + 32);
        struct js_schema *s = NULL;
        const int n = sprintf(text, "%s%.*s%s", around[i][0], (int)json.n, json.p, around[i][1]);
        if (memchr(json.p, 0, json.n) || compile((struct slice){text, (size_t)n}, NULL, &s) < 0)
            continue; /* its nesting is what the rest allows less by */
        const int r = verdict(s, json);
        DEMAND(r == (i < 2) || r == -ENOMEM || r == -E2BIG);
        js_free(s);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const uint8_t *const lf = memchr(data, '\n', size);

    if (!lf || size > 1 << 14)
        return 0;
    const size_t n = (size_t)(lf - data), m = size - n - 1;
    AUTO_FREE char *schema = malloc(n); /* of their own: a read beyond is seen */
    AUTO_FREE char *json = malloc(m);
    if (n)
        memcpy(schema, data, n);
    if (m)
        memcpy(json, lf + 1, m);
    /* scan_value() takes a number that ends the input for an unfinished one. */
    if (m == 0 || scan_is_space(*json) || scan_whole(json, m, NULL) < 0)
        return 0;
    struct slice value = {json, m};
    while (scan_is_space(value.p[value.n - 1]))
        value.n--;
    by_schema((struct slice){schema, n}, value);
    by_itself(value);
    return 0;
}
