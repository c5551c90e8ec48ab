/* SPDX-License-Identifier: MIT */
/* jsonschema by the JSON-Schema-Test-Suite of json-schema.org: all required tests of draft 2020-12, and the
 * optional ones but for those listed here, each with its reason. A listed one that passes is a failure too. */
#include "check.h"
#include "store/jsonschema.h"
#include "store/scan.h"

#include <dirent.h>
#include <errno.h>

struct unmet {
    const char *file, *group, *test; /* their beginnings */
    const char *why;
};
static const struct unmet unmet[] = {
    {"cross-draft.json", "refs to historic drafts", "first item not a string",
     "other drafts are not known: a schema of one is refused"},
};

static char root[4096];

/* ---- files ----------------------------------------------------------------------------------- */

static struct file {
    struct file *next;
    size_t n;
    char text[];
} * files;

/* Kept until the end. NULL: not there. */
static struct file *read_file(const char *path)
{
    FILE *const f = fopen(path, "re");

    if (!f)
        return NULL;
    (void)fseek(f, 0, SEEK_END);
    const size_t n = (size_t)ftell(f);
    struct file *const x = malloc(sizeof *x + n);
    rewind(f);
    x->n = fread(x->text, 1, n, f);
    (void)fclose(f);
    x->next = files;
    files = x;
    return x;
}

static int resolve(void *arg, struct slice uri, struct slice *ret_text)
{
    static const char base[] = "http://localhost:1234/";
    char path[8192];

    (void)arg;
    if (uri.n < sizeof base - 1 || memcmp(uri.p, base, sizeof base - 1) != 0)
        return -ENOENT;
    (void)snprintf(path, sizeof path, "%s/remotes/%.*s", root, (int)(uri.n - sizeof base + 1),
                   uri.p + sizeof base - 1);
    const struct file *const f = read_file(path);
    if (!f)
        return -ENOENT;
    *ret_text = (struct slice){f->text, f->n};
    return 0;
}

/* ---- tests ----------------------------------------------------------------------------------- */

static size_t n_tests, n_unmet;
static bool unmet_seen[ARRAY_LEN(unmet)];

static struct slice whole(const struct file *f)
{
    size_t i = 0;

    while (scan_is_space(f->text[i]))
        i++;
    return (struct slice){f->text + i, f->n - i};
}

/* The member; p NULL: none. */
static struct slice get(struct slice object, const char *name)
{
    struct slice key, value;
    size_t pos = 0;

    while (scan_member(object, &pos, &key, &value))
        if (key.n == strlen(name) + 2 && memcmp(key.p + 1, name, key.n - 2) == 0)
            return value;
    return (struct slice){NULL, 0};
}

static void text(struct slice raw, char out[512])
{
    char decoded[8192] = "";

    if (raw.p && raw.n < sizeof decoded)
        decoded[scan_decode(raw, decoded, NULL)] = '\0';
    (void)snprintf(out, 512, "%.500s", decoded);
}

static int64_t is_unmet(const char *file, const char *group, const char *test)
{
    for (size_t i = 0; i < ARRAY_LEN(unmet); i++)
        if (strcmp(file, unmet[i].file) == 0 &&
            strncmp(group, unmet[i].group, strlen(unmet[i].group)) == 0 &&
            strncmp(test, unmet[i].test, strlen(unmet[i].test)) == 0)
            return (int64_t)i;
    return -1;
}

static void run_test(const char *file, const char *group, const struct js_schema *s,
                     const struct js_error *refused, struct slice test)
{
    char name[512];
    struct js_error err = {0};
    const struct slice data = get(test, "data");
    const bool want = *get(test, "valid").p == 't';
    AUTO_FREE char *exact = malloc(data.n); /* a read beyond is seen */
    int got = -1;

    text(get(test, "description"), name);
    memcpy(exact, data.p, data.n);
    if (s)
        got = js_validate(s, (struct slice){exact, data.n}, &err);
    const int64_t listed = is_unmet(file, group, name);
    n_tests++;
    if (listed >= 0) {
        unmet_seen[listed] = true;
        n_unmet++;
    }
    if ((got == want) == (listed < 0))
        return;
    check_failed++;
    fprintf(stderr, "%s: %s: %s: %s\n", file, group, name,
            listed >= 0 ? "is listed as unmet, but passes"
            : !s        ? refused->text
            : got < 0   ? strerror(-got)
            : want      ? err.text
                        : "is valid");
}

static void run_group(const char *file, struct slice group, bool format)
{
    char name[512];
    struct slice test;
    size_t pos = 0;
    struct js_schema *s = NULL;
    struct js_error err = {0};
    const struct js_options o = {.assert_format = format, .resolve = resolve};
    const struct slice schema = get(group, "schema");

    text(get(group, "description"), name);
    const int r = js_compile(schema, &o, &s, &err);
    CHECK(r == 0 || err.text[0]);
    while (scan_element(get(group, "tests"), &pos, &test))
        run_test(file, name, s, &err, test);
    js_free(s);
}

static int by_name(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static void run_directory(const char *part, bool format)
{
    char path[8192], *names[256];
    size_t n = 0;

    (void)snprintf(path, sizeof path, "%s/%s", root, part);
    DIR *const d = opendir(path);
    CHECK(d != NULL);
    for (struct dirent *e; d && (e = readdir(d)) && n < ARRAY_LEN(names);)
        if (strlen(e->d_name) > 5 && strcmp(e->d_name + strlen(e->d_name) - 5, ".json") == 0)
            names[n++] = strdup(e->d_name);
    if (d)
        (void)closedir(d);
    qsort(names, n, sizeof *names, by_name);
    for (size_t i = 0; i < n; i++) {
        struct slice group;
        size_t pos = 0;
        (void)snprintf(path, sizeof path, "%s/%s/%s", root, part, names[i]);
        const struct file *const f = read_file(path);
        CHECK(f && scan_whole(f->text, f->n, NULL) == 0);
        while (f && scan_element(whole(f), &pos, &group))
            run_group(names[i], group, format);
        free(names[i]);
    }
}

static void test_required(void)
{
    n_tests = n_unmet = 0;
    run_directory("draft2020-12", false);
    printf("# %zu required tests\n", n_tests);
    CHECK_EQ(n_tests, 1299);
    CHECK_EQ(n_unmet, 0);
}

static void test_optional(void)
{
    n_tests = n_unmet = 0;
    run_directory("draft2020-12/optional", false);
    printf("# %zu optional tests, %zu of them listed as unmet\n", n_tests, n_unmet);
    CHECK(n_tests > 150);
}

static void test_formats(void)
{
    n_tests = n_unmet = 0;
    run_directory("draft2020-12/optional/format", true);
    printf("# %zu tests of formats, %zu of them listed as unmet\n", n_tests, n_unmet);
    CHECK(n_tests > 500);
}

int main(void)
{
    if (!check_data()) {
        SKIP("test_required", "EVFS_TEST_DATA is not set");
        SKIP("test_optional", "EVFS_TEST_DATA is not set");
        SKIP("test_formats", "EVFS_TEST_DATA is not set");
        CHECK_DONE();
    }
    (void)snprintf(root, sizeof root, "%.4000s/JSON-Schema-Test-Suite", check_data());
    RUN(test_required);
    RUN(test_optional);
    RUN(test_formats);
    for (size_t i = 0; i < ARRAY_LEN(unmet); i++)
        if (!unmet_seen[i]) {
            fprintf(stderr, "listed, but not there: %s: %s: %s (%s)\n", unmet[i].file,
                    unmet[i].group, unmet[i].test, unmet[i].why);
            check_failed++;
        }
    for (struct file *f = files, *next; f; f = next) {
        next = f->next;
        free(f);
    }
    CHECK_DONE();
}
