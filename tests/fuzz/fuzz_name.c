/* SPDX-License-Identifier: MIT */
/* libFuzzer: encoding of names is injective and decoding its exact inverse: what encodes decodes to the same,
 * and what decodes is what encoding gives. */
#include "fuzz.h"
#include "store/event.h"
#include "store/limits.h"
#include "store/name.h"

#include <errno.h>

static void encode_type(struct slice s)
{
    char path[EVS_PATH_MAX], back[LIMIT_COMPONENT_FILE_BYTES + 1];
    int n = evs_encode_type(s.p, s.n, path, sizeof path, NULL);

    DEMAND(n == -ENAMETOOLONG || n == -EINVAL || n > 0);
    if (event_check_type(s, 0, NULL) == 0)
        DEMAND((n > 0) == (name_check_type(s, 0, NULL) == 0));
    if (n <= 0)
        return;
    DEMAND((size_t)n < sizeof path && path[n] == '\0' && !memchr(path, '/', (size_t)n));
    DEMAND(n + 6 <= (int)LIMIT_COMPONENT_FILE_BYTES);
    DEMAND(strcmp(path, ".") != 0 && strcmp(path, "..") != 0 && strcmp(path, "events") != 0);
    DEMAND(evs_decode_component(path, (size_t)n, true, back, sizeof back, NULL) == (int)s.n);
    DEMAND(memcmp(back, s.p, s.n) == 0);
}

static void encode_entity(struct slice s)
{
    char path[EVS_PATH_MAX], back[LIMIT_ENTITY_BYTES + LIMIT_COMPONENT_FILE_BYTES + 2];
    int n = evs_encode_entity(s.p, s.n, path, sizeof path, NULL);
    size_t at = 0;

    DEMAND(n == -ENAMETOOLONG || n == -EINVAL || n > 0);
    if (event_check_entity(s, 0, NULL) == 0)
        DEMAND((n > 0) == (name_check_entity(s, 0, NULL) == 0));
    if (n <= 0)
        return;
    DEMAND((size_t)n < sizeof path && path[n] == '\0');
    unsigned components = 0;
    for (const char *p = path;; p++) {
        const char *end = strchrnul(p, '/');
        if (components++)
            back[at++] = '/';
        int k =
            evs_decode_component(p, (size_t)(end - p), false, back + at, sizeof back - at, NULL);
        DEMAND(k >= 0);
        at += (size_t)k;
        if (!*end)
            break;
        p = end;
    }
    DEMAND(components <= LIMIT_COMPONENTS && at == s.n && memcmp(back, s.p, s.n) == 0);
}

static void decode(struct slice s, bool is_type)
{
    char name[LIMIT_COMPONENT_FILE_BYTES + 1], again[EVS_PATH_MAX];
    int n = evs_decode_component(s.p, s.n, is_type, name, sizeof name, NULL), k;

    DEMAND(n >= 0 || n == -ENOENT || n == -ENAMETOOLONG);
    if (n < 0)
        return;
    if (is_type)
        k = evs_encode_type(name, (size_t)n, again, sizeof again, NULL);
    else if (n > 0)
        k = evs_encode_entity(name, (size_t)n, again, sizeof again, NULL);
    else { /* an empty component is of an id such as a/ */
        DEMAND(s.n == 1 && s.p[0] == '%');
        return;
    }
    /* Encoding refuses what no id may hold (NUL, not UTF-8): then nothing was to be decoded. */
    DEMAND(k == (int)s.n && memcmp(again, s.p, s.n) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 1 || size > 2048)
        return 0;
    AUTO_FREE char *p = malloc(size);
    memcpy(p, data, size);
    const struct slice s = {p, size};
    encode_type(s);
    encode_entity(s);
    decode(s, true);
    decode(s, false);
    return 0;
}
