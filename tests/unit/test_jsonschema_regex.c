/* SPDX-License-Identifier: MIT */
/* Regular expressions of schemas: what of ECMA-262 they mean, what they refuse, and that none takes long. */
#include "jsonschema_by.h"

static void test_catastrophes(void)
{
    static const char *const patterns[] = {"(a+)+$", "^(a|aa)+$", "(a|a)*$", "(.*a){20}$",
                                           "^(([a-z])+.)+[A-Z]([a-z])+$"};
    static const char *const wrappers[] = {"%s", "{\"not\":%s}", "{\"anyOf\":[%s,true]}",
                                           "{\"if\":%s}", "{\"oneOf\":[true,%s]}"};
    char schema[256], inner[256], json[128];
    struct js_error err = {0};

    (void)snprintf(json, sizeof json, "\"%s!\"",
                   "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa");
    for (size_t i = 0; i < ARRAY_LEN(patterns); i++)
        for (size_t k = 0; k < ARRAY_LEN(wrappers); k++) {
            (void)snprintf(inner, sizeof inner, "{\"pattern\":\"%s\"}", patterns[i]);
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
            (void)snprintf(schema, sizeof schema, wrappers[k], inner);
#pragma GCC diagnostic pop
            CHECK_EQ(by(schema, json, &err), 0);
            CHECK_STR(err.text, "the pattern took too long");
            CHECK_STR(err.keyword, "pattern");
        }
}

/* Work that grows with the square of the subject is bounded as well, whatever the pattern. */
static void test_long_subjects(void)
{
    static const char *const patterns[] = {"a[^b]*b", "a.*b.*c", "(a|b)*c", "\\\\s+$"};
    enum { N = 1000000 };
    char *const json = malloc(N + 3);
    char schema[256];

    for (size_t i = 0; i < ARRAY_LEN(patterns); i++) {
        struct js_error err = {0};
        memset(json + 1, i == 3 ? ' ' : 'a', N);
        json[0] = json[N + 1] = '"';
        json[N] = 'x';
        json[N + 2] = '\0';
        (void)snprintf(schema, sizeof schema, "{\"pattern\":\"%s\"}", patterns[i]);
        CHECK_EQ(by(schema, json, &err), 0);
        if (i == 3)
            CHECK_STR(err.text, "the pattern took too long");
    }
    free(json);
}

static void test_patterns(void)
{
    static const struct {
        const char *pattern, *json;
        int valid;
    } cases[] = {
        {"^[0-9a-f]{40}$", "\"e83c5163316f89bfbde7d9ab23ca2e25604af290\"", 1},
        {"^[0-9a-f]{40}$", "\"e83c5163316f89bfbde7d9ab23ca2e25604af29\"", 0},
        {"", "\"\"", 1},
        {"^$", "\"\\n\"", 0},
        {"^.$", "\"\\u2028\"", 0},
        {"^.$", "\"\\ud83d\\ude00\"", 1},
        {"^.$", "\"\\ud83d\"", 1},
        {"^[\\\\S]$", "\"\\ufeff\"", 0},
        {"^[\\\\Sa ]$", "\" \"", 1},
        {"^[^\\\\S]$", "\"\\ufeff\"", 1},
        {"^[^\\\\S ]$", "\" \"", 0},
        {"^[\\\\s\\\\S]+$", "\"a \\n\"", 1},
        {"^[^]$", "\"\\n\"", 1},
        {"[]", "\"a\"", 0},
        {"^[[:alpha:]]$", "\"a]\"", 1},
        {"^[a\\\\]b]$", "\"]\"", 1},
        {"^(a)?\\\\1b$", "\"b\"", 1},
        {"^(?<x>a)\\\\k<x>$", "\"aa\"", 1},
        {"^\\\\u{1F600}$", "\"\\ud83d\\ude00\"", 1},
        {"^\\\\uD83D\\\\uDE00$", "\"\\ud83d\\ude00\"", 1},
        {"^\\\\x41$", "\"A\"", 1},
        {"^\\\\p{Lu}\\\\P{Lu}$", "\"\\u00c4\\u00e4\"", 1},
        {"^\\\\p{Script=Greek}$", "\"\\u03b1\"", 1},
        {"^\\\\p{gc=Decimal_Number}$", "\"5\"", 1},
        {"^\\\\p{ASCII}$", "\"\\u00e9\"", 0},
        {"^[\\\\P{ASCII}]$", "\"\\u00e9\"", 1},
        {"^a{2}$", "\"aa\"", 1},
        {"^a{,2}$", "\"a{,2}\"", 1},
        {"^\\\\-\\\\@$", "\"-@\"", 1},
        {"(?<!a)b", "\"ab\"", 0},
        {"^\\\\bfoo\\\\b", "\"foo bar\"", 1},
        {"a\\\\0b", "\"a\\u0000b\"", 1},
        /* without an engine */
        {"^[a-c]+d{2,3}[x-]?$", "\"abcddd-\"", 1},
        {"^[a-c]+d{2,3}[x-]?$", "\"abcd-\"", 0},
        {"^[a-c]+d{2,3}[x-]?$", "\"abcdddd\"", 0},
        {"^evt_\\\\w+$", "\"evt_\\u00e9\"", 0},
        {"^evt_\\\\w+$", "\"evt_9Z_\"", 1},
        {"^evt_\\\\w+", "\"evt_9.\"", 1},
        {"^a*$", "\"\"", 1},
        {"^a*a$", "\"aaa\"", 1},
        {"^a?b?a$", "\"a\"", 1},
        {"^[a-z]{1,2}\\\\d*[a-z]$", "\"ab\"", 1},
        {"^[\\\\d.-]+$", "\"-1.5\"", 1},
        {"^a+?$", "\"aa\"", 1},
        {"^\\\\$\\\\d{2,}$", "\"$12\"", 1},
    };
    char schema[256];

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        (void)snprintf(schema, sizeof schema, "{\"pattern\":\"%s\"}", cases[i].pattern);
        if (by(schema, cases[i].json, NULL) != cases[i].valid) {
            fprintf(stderr, "%s: %s\n", cases[i].pattern, cases[i].json);
            check_failed++;
        }
    }
}

static void test_refused_patterns(void)
{
    static const char *const refused[] = {"a++",
                                          "(?i)a",
                                          "(?>a)",
                                          "(?#x)a",
                                          "(?P<n>a)",
                                          "(*ACCEPT)",
                                          "\\\\A",
                                          "a\\\\Z",
                                          "\\\\Qa",
                                          "\\\\R",
                                          "\\\\h",
                                          "(?|a)",
                                          "a**",
                                          "*a",
                                          "(a",
                                          "a)",
                                          "[a",
                                          "\\\\",
                                          "\\\\1",
                                          "\\\\p{Xan}",
                                          "\\\\pL",
                                          "\\\\p{No_Such}",
                                          "[b-a]",
                                          "a{2,1}",
                                          "\\\\u{110000}",
                                          "(?<1>a)",
                                          "^*",
                                          "\\\\xg"};
    char schema[256];

    for (size_t i = 0; i < ARRAY_LEN(refused); i++) {
        struct js_schema *s = NULL;
        struct js_error err = {0};
        (void)snprintf(schema, sizeof schema, "{\"pattern\":\"%s\"}", refused[i]);
        if (js_compile(of(schema), NULL, &s, &err) != -EINVAL ||
            strcmp(err.schema_path, "/pattern") != 0) {
            fprintf(stderr, "%s: %s %s\n", refused[i], err.schema_path, err.text);
            check_failed++;
        }
        js_free(s);
    }
}

int main(void)
{
    RUN(test_patterns);
    RUN(test_refused_patterns);
    RUN(test_catastrophes);
    RUN(test_long_subjects);
    CHECK_DONE();
}
