/* SPDX-License-Identifier: MIT */
/* schemas_verify: the files against themselves, the state and the log. A version's file may be ahead of the state (after
 * a crash): then it is made again when the store is opened, so it is no finding if it is whole. */
#include "findings.h"
#include "io.h"
#include "schemas_state.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>

#define AGAIN "run 'evfs rebuild'"

struct check {
    int dirfd;
    const struct schemas_known *known; /* NULL: there is no state */
    struct findings found;
    /* of the directory that is looked through */
    const char *name;
    const struct schemas_known_type *type; /* NULL: the state does not have it */
};

static void check_file(struct check *c, const char *type_name, uint32_t number,
                       const struct schema_version *want)
{
    char file[SCHEMAS_NAME_BYTES], path[2 * SCHEMAS_NAME_BYTES];
    AUTO_FREE char *text = NULL;
    size_t n = 0;
    evs_seq last = 0;

    (void)snprintf(file, sizeof file, "%" PRIu32 ".json", number);
    (void)snprintf(path, sizeof path, SCHEMAS_DIR "/%s/%s", type_name, file);
    int r = schemas_read_file(c->dirfd, type_name, file, &text, &n);
    if (r == -ENOMEM)
        return;
    if (r < 0)
        findings_add(&c->found, "%s: %s: " AGAIN, path,
                     r == -ENOENT ? "is missing" : "can't be read");
    else if (!schemas_text_ok(text, n, &last))
        findings_add(&c->found, "%s: checksum differs: " AGAIN, path);
    else if (want ? !schemas_same_text(want, text, n) && last <= c->known->through
                  : c->known && last <= c->known->through)
        findings_add(&c->found, "%s: is not what was learned: " AGAIN, path);
}

static int check_stray(void *arg, const char *name)
{
    struct check *c = arg;
    char *end;
    unsigned long n = strtoul(name, &end, 10);

    if (name[0] < '1' || name[0] > '9' || strcmp(end, ".json") != 0 || n > UINT32_MAX)
        findings_add(&c->found, SCHEMAS_DIR "/%s/%s: is not one of our files", c->name, name);
    else if (!c->type || n > c->type->n)
        check_file(c, c->name, (uint32_t)n, NULL);
    return 0;
}

static int check_entry(void *arg, const char *name)
{
    struct check *c = arg;

    if (strcmp(name, SCHEMAS_STATE) == 0 || strcmp(name, SCHEMAS_TMP) == 0)
        return 0;
    c->name = name;
    c->type = NULL;
    for (uint32_t i = 0; c->known && i < c->known->n; i++) {
        char is[SCHEMAS_NAME_BYTES];
        schemas_type_name(c->known->types[i].name, is);
        if (strcmp(is, name) == 0)
            c->type = &c->known->types[i];
    }
    int dir = schemas_open_dir(c->dirfd, name, false);
    if (dir >= 0)
        (void)io_list(dir, ".", check_stray, c);
    else
        findings_add(&c->found, SCHEMAS_DIR "/%s: is not one of our files", name);
    if (dir >= 0)
        (void)io_close(dir);
    return 0;
}

static void check_all(struct check *c)
{
    int dir = schemas_open_dir(c->dirfd, NULL, false);

    if (dir >= 0) {
        (void)io_list(dir, ".", check_entry, c);
        (void)io_close(dir);
    } else if (dir != -ENOENT) {
        findings_add(&c->found, "%s: %s", SCHEMAS_DIR, strerror(-dir));
    }
}

int schemas_verify(int dirfd, const struct log *lg, evs_report_fn *report, void *arg)
{
    struct check c = {.dirfd = dirfd, .found = {report, arg, 0}};
    struct schemas_known known;
    int r = schemas_known(dirfd, lg, &known);

    if (r == 0)
        c.known = &known;
    else if (r == -EBADMSG)
        findings_add(&c.found, "schemas/%s: checksum differs, or it is of another log: " AGAIN,
                     SCHEMAS_STATE);
    else if (r != -ENOENT)
        findings_add(&c.found, "schemas/%s: %s", SCHEMAS_STATE, strerror(-r));
    for (uint32_t i = 0; c.known && i < known.n; i++)
        for (uint32_t n = 1; n <= known.types[i].n; n++) {
            char name[SCHEMAS_NAME_BYTES];
            schemas_type_name(known.types[i].name, name);
            check_file(&c, name, n, &known.types[i].v[n - 1]);
        }
    if (r == 0 || r == -ENOENT)
        check_all(&c);
    if (c.known)
        schemas_known_done(&known);
    return c.found.n;
}
