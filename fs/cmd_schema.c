/* SPDX-License-Identifier: MIT */
/* evfs schema: what the data of a type looks like, how that has changed, and whether values conform. */
#include "fs/cmd_schema.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char help[] =
    "TYPE is a path in a mount, as /ev/types/placed, or the name of a type where the working\n"
    "directory is in a mount. Of a store that is not mounted it is DATA TYPE: its directory and "
    "the\n"
    "name.\n"
    "  show TYPE           the fields of its data: type, whether required, how many events have "
    "it,\n"
    "                      an example\n"
    "  diff TYPE M N       what changed from version M of its schema to version N, and who can "
    "read\n"
    "                      whose data\n"
    "  check TYPE [FILE]   does each value of FILE (JSON Lines of data; - or none is stdin) "
    "conform to\n"
    "                      the pinned schema, or where none is pinned, to the one that was "
    "learned?\n"
    "                      Prints line, path, keyword and reason of those that don't; exit 1 if "
    "any\n"
    "  compat TYPE FILE    what changes if the schema in FILE replaces the pinned one, or the one "
    "that\n"
    "                      was learned, and who can read whose data; exit 1 unless both can\n";

/* ---- show ---- */

static void print_pinned(const char *text)
{
    printf("\npinned: ");
    for (const char *p = text; *p; p++) { /* on one line, as far as it is short */
        if (p - text == 200) {
            printf("...");
            break;
        }
        putchar(*p == '\n' || *p == '\r' || *p == '\t' ? ' ' : *p);
    }
    putchar('\n');
}

static int show(struct schema_source *s)
{
    struct evs_error err;
    char *json = NULL, *table = NULL, *pinned = NULL;
    size_t n;
    int r = schema_source_learned(s, 0, &json, &n);

    if (r == CMD_OK && evs_schema_describe(json, n, &table, &n, &err) < 0)
        r = cmd_fail("%s: %s", s->name, evs_reason_text(err.why));
    if (r == CMD_OK)
        r = schema_source_pinned(s, &pinned, &n);
    if (r == CMD_OK) {
        fputs(table, stdout);
        if (pinned)
            print_pinned(pinned);
    }
    free(json);
    free(table);
    free(pinned);
    return r;
}

/* ---- diff and compat ---- */

/* CMD_OK, and *ret_full (may be NULL) whether both can read each other's data. */
static int print_diff(const char *what, const char *a, size_t a_n, const char *b, size_t b_n,
                      bool learned, bool *ret_full)
{
    struct evs_error err;
    char *text = NULL, reason[256];
    size_t n;
    int r = evs_schema_diff(a, a_n, b, b_n, learned, &text, &n, &err);

    if (r < 0)
        return cmd_fail("%s: %s", what, cmd_reason(&err, reason, sizeof reason));
    fputs(text, stdout);
    if (ret_full)
        *ret_full = r == 1;
    free(text);
    return CMD_OK;
}

static int diff(struct schema_source *s, const char *from, const char *to)
{
    uint64_t m, k;
    char *a = NULL, *b = NULL;
    size_t a_n = 0, b_n = 0;

    if (cmd_parse_number(from, &m) < 0 || cmd_parse_number(to, &k) < 0 || m == 0 || k == 0 ||
        m > UINT32_MAX || k > UINT32_MAX)
        return cmd_usage("versions are numbers from 1");
    int r = schema_source_learned(s, (uint32_t)m, &a, &a_n);
    if (r == CMD_OK)
        r = schema_source_learned(s, (uint32_t)k, &b, &b_n);
    if (r == CMD_OK)
        r = print_diff(s->name, a, a_n, b, b_n, true, NULL);
    free(a);
    free(b);
    return r;
}

/* The one that is in force, and which that is, on stderr. */
static int in_force(struct schema_source *s, char **ret, size_t *ret_n)
{
    int r = schema_source_pinned(s, ret, ret_n);
    bool pinned = r == CMD_OK && *ret;

    if (r == CMD_OK && !pinned)
        r = schema_source_learned(s, 0, ret, ret_n);
    if (r == CMD_OK)
        fprintf(stderr, "evfs schema: %s: by the schema that %s\n", s->name,
                pinned ? "is pinned" : "was learned from its events (none is pinned)");
    return r;
}

static int compat(struct schema_source *s, const char *path)
{
    char *old = NULL, *new = NULL;
    size_t old_n = 0, new_n = 0;
    bool full = false;
    int r = schema_read_file(path, &new, &new_n);

    if (r == CMD_OK)
        r = in_force(s, &old, &old_n);
    if (r == CMD_OK)
        r = print_diff(path, old, old_n, new, new_n, false, &full);
    free(old);
    free(new);
    return r == CMD_OK && !full ? CMD_FAILED : r;
}

/* ---- check ---- */

/* Each line that is not blank. How many don't conform, or -1 after a message. */
static long check_lines(const struct evs_checker *c, char *text, size_t n, size_t *ret_values)
{
    struct evs_breach why;
    long bad = 0;
    size_t line = 1;

    for (size_t at = 0; at < n; line++) {
        const char *lf = memchr(text + at, '\n', n - at);
        size_t len = lf ? (size_t)(lf - text) - at : n - at;
        if (strspn(text + at, " \t\r") < len) {
            int r = evs_checker_check(c, text + at, len, &why);
            if (r < 0) {
                (void)cmd_fail("line %zu: %s", line, strerror(-r));
                return -1;
            }
            ++*ret_values;
            bad += r == 0;
            if (r == 0)
                printf("%zu: %s: %s: %s\n", line,
                       *why.instance_path ? why.instance_path : "(whole value)",
                       *why.keyword ? why.keyword : "-", why.text);
        }
        at += len + 1;
    }
    return bad;
}

static int check(struct schema_source *s, const char *path)
{
    struct evs_checker *c = NULL;
    struct evs_error err;
    char *schema = NULL, *text = NULL, reason[256];
    size_t schema_n = 0, n = 0, values = 0;
    long bad = -1;

    if (in_force(s, &schema, &schema_n) == CMD_OK && schema_read_file(path, &text, &n) == CMD_OK) {
        if (evs_checker_new(schema, schema_n, &c, &err) < 0)
            (void)cmd_fail("%s: %s", s->name, cmd_reason(&err, reason, sizeof reason));
        else
            bad = check_lines(c, text, n, &values);
    }
    if (bad > 0)
        fprintf(stderr, "evfs schema: %ld of %zu values do not conform\n", bad, values);
    evs_checker_free(c);
    free(schema);
    free(text);
    return bad == 0 ? CMD_OK : CMD_FAILED;
}

/* ---- the command ---- */

/* argv: what stands behind the word. more: operands behind the type. */
static int with_source(const char *word, int argc, char **argv, int more)
{
    struct schema_source s;

    if (schema_source_open(&s, argc - more, argv) != CMD_OK)
        return CMD_FAILED;
    char **rest = argv + argc - more;
    int r = strcmp(word, "show") == 0    ? show(&s)
            : strcmp(word, "diff") == 0  ? diff(&s, rest[0], rest[1])
            : strcmp(word, "check") == 0 ? check(&s, rest[0])
                                         : compat(&s, rest[0]);
    if (schema_source_close(&s) != CMD_OK && r == CMD_OK)
        r = CMD_FAILED;
    return r;
}

static int run(int argc, char **argv)
{
    static const struct option options[] = {{"help", no_argument, NULL, 'h'}, {0}};
    static const struct {
        const char *word;
        int more;
    } words[] = {{"show", 0}, {"diff", 2}, {"check", 1}, {"compat", 1}};
    static char from_stdin[] = "-";
    char *operands[6];

    while (cmd_option(argc, argv, ":h", options) != -1)
        ;
    int n = argc - optind - 1;
    if (n < 0)
        return cmd_usage("show, diff, check or compat?");
    const char *word = argv[optind];
    for (size_t i = 0; i < sizeof words / sizeof *words; i++) {
        if (strcmp(words[i].word, word) != 0)
            continue;
        if (n > words[i].more + 2)
            return cmd_usage("too many operands");
        for (int k = 0; k < n; k++)
            operands[k] = argv[optind + 1 + k];
        if (n == 1 && strcmp(word, "check") == 0)
            operands[n++] = from_stdin;
        if (n < words[i].more + 1)
            return cmd_usage("%s: too few operands", word);
        return with_source(word, n, operands, words[i].more);
    }
    return cmd_usage("there is no 'evfs schema %s'", word);
}

const struct command command_schema = {
    .name = "schema",
    .args = "show | diff | check | compat TYPE ...",
    .summary = "what data looks like, how that changed, and whether values conform",
    .help = help,
    .run = run,
};
