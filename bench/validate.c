/* SPDX-License-Identifier: MIT */
/* evfs-validate: what validating by a JSON Schema costs, in this process and one thread.
 *   evfs-validate RUNS EVENTS SCHEMA...   EVENTS: JSON Lines, of which each "data" is validated. Prints for each
 *                                         run, in turns, "scan NS" (scan_value() of the same bytes) and
 *                                         "SCHEMA NS", an event; and "SCHEMA allocations N" once, of all events */
#include "bench.h"

#include "alloc_count.h"
#include "store/jsonschema.h"
#include "store/scan.h"

enum { MAX_SCHEMAS = 16 };

static struct slice *values; /* all "data" */
static size_t n_values;

static void find_values(const char *text, size_t n)
{
    struct slice key, value;

    values = calloc(n / 16 + 1, sizeof *values);
    if (!values)
        die("values", NULL);
    for (const char *p = text, *end = text + n, *lf; p < end; p = lf + 1) {
        size_t pos = 0;
        lf = memchr(p, '\n', (size_t)(end - p));
        lf = lf ? lf : end;
        if (scan_value(p, (size_t)(lf - p), 0, NULL, NULL) <= 0)
            continue;
        while (scan_member((struct slice){p, (size_t)(lf - p)}, &pos, &key, &value))
            if (slice_eq(key, (struct slice){"\"data\"", 6}))
                values[n_values++] = value;
    }
    if (n_values == 0) {
        fprintf(stderr, "no event has data\n");
        exit(1);
    }
}

static struct js_schema *compiled(const char *path)
{
    const struct js_options o = {.assert_format = true};
    struct js_error err;
    struct js_schema *s;
    size_t n;
    char *const text = load_file(path, &n);

    if (js_compile((struct slice){text, n}, &o, &s, &err) < 0) {
        fprintf(stderr, "%s: %s: %s\n", path, err.schema_path, err.text);
        exit(1);
    }
    free(text);
    return s;
}

/* Of this thread: the machine may have others. */
static uint64_t cpu_ns(void)
{
    struct timespec t;

    (void)clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static double scan_all(void)
{
    const uint64_t begin = cpu_ns();

    for (size_t i = 0; i < n_values; i++)
        if (scan_value(values[i].p, values[i].n, 0, NULL, NULL) <= 0)
            die("scan", NULL);
    return (double)(cpu_ns() - begin) / (double)n_values;
}

static double validate_all(const struct js_schema *s, const char *name)
{
    const uint64_t begin = cpu_ns();
    struct js_error err;

    for (size_t i = 0; i < n_values; i++)
        if (js_validate(s, values[i], &err) != 1) {
            fprintf(stderr, "%s: %.*s: %s: %s\n", name, (int)values[i].n, values[i].p,
                    err.instance_path, err.text);
            exit(1);
        }
    return (double)(cpu_ns() - begin) / (double)n_values;
}

int main(int argc, char **argv)
{
    struct js_schema *schemas[MAX_SCHEMAS];
    size_t n;

    if (argc < 4 || argc > 3 + MAX_SCHEMAS) {
        fprintf(stderr, "usage: evfs-validate RUNS EVENTS SCHEMA...\n");
        return 2;
    }
    char *const text = load_file(argv[2], &n);
    find_values(text, n);
    for (int i = 3; i < argc; i++) {
        schemas[i - 3] = compiled(argv[i]);
        const uint64_t before = alloc_count();
        (void)validate_all(schemas[i - 3], argv[i]); /* a warm-up */
        printf("%s allocations %" PRIu64 "\n", argv[i], alloc_count() - before);
    }
    for (int run = 0; run < atoi(argv[1]); run++) {
        printf("scan %.1f\n", scan_all());
        for (int i = 3; i < argc; i++)
            printf("%s %.1f\n", argv[i], validate_all(schemas[i - 3], argv[i]));
    }
    for (int i = 3; i < argc; i++)
        js_free(schemas[i - 3]);
    free(values);
    free(text);
    return 0;
}
