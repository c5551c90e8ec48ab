/* SPDX-License-Identifier: MIT */
/* Every construct is parsed as ECMA-262 has it (with the flag u, as JSON Schema asks), and written as PCRE2
 * means the same. So nothing that only PCRE2 knows gets through: (?i), (?>...), (*...), a++, \A, \Z, \Q.
 *
 * More lenient than the flag u, since schemas are written with this in them: a backslash before punctuation
 * that needs none, and ']', '{' and '}' as themselves. Stricter where PCRE2 can't: a look-behind must have
 * a bounded number of lengths, a repetition at most 65535, a group name at most 32 ASCII letters. */
#include "jsonschema_ecma.h"

#include "limits.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>

/* ECMA's white space and line terminators, as part of a class. */
#define SPACES  "\\t\\n\\x0b\\f\\r\\x{feff}\\x{2028}\\x{2029}\\p{Zs}"
#define NEWLINE "\\n\\r\\x{2028}\\x{2029}"

enum { MAX_NESTED = 100 };

struct ecma {
    const char *p, *end;
    char *out; /* grows */
    size_t n, size;
    unsigned groups, back; /* back: the highest number that is referred to */
    unsigned nested;
    int failed; /* negative errno; why is filled for -EINVAL */
    char *why;
    size_t why_n;
};

static void refuse(struct ecma *e, const char *why)
{
    if (e->failed == 0) {
        e->failed = -EINVAL;
        (void)snprintf(e->why, e->why_n, "%s", why);
    }
    e->p = e->end;
}

static void put_bytes(struct ecma *e, const char *s, size_t n)
{
    if (e->n + n >= e->size) {
        const size_t size = MAX(e->size * 2, e->n + n + 64);
        char *const out = realloc(e->out, size);
        if (!out) {
            e->failed = -ENOMEM;
            e->p = e->end;
            return;
        }
        e->out = out;
        e->size = size;
    }
    memcpy(e->out + e->n, s, n);
    e->n += n;
}

static void put(struct ecma *e, const char *s)
{
    put_bytes(e, s, strlen(s));
}

static void put_code(struct ecma *e, uint32_t c)
{
    char s[24];

    if (c >= 0xd800 && c <= 0xdfff)
        c = 0xfffd;
    (void)snprintf(s, sizeof s, "\\x{%x}", c);
    put(e, s);
}

static inline bool at(const struct ecma *e, char c)
{
    return e->p < e->end && *e->p == c;
}

static inline bool take(struct ecma *e, const char *s)
{
    const size_t n = strlen(s);

    if ((size_t)(e->end - e->p) < n || memcmp(e->p, s, n) != 0)
        return false;
    e->p += n;
    return true;
}

/* n hexadecimal digits. */
static bool hex(struct ecma *e, unsigned n, uint32_t *ret)
{
    uint32_t v = 0;

    if ((size_t)(e->end - e->p) < n)
        return false;
    for (unsigned i = 0; i < n; i++) {
        const char c = e->p[i];
        if (!isxdigit((unsigned char)c))
            return false;
        v = v * 16 + (uint32_t)(c <= '9' ? c - '0' : (c | 0x20) - 'a' + 10);
    }
    e->p += n;
    *ret = v;
    return true;
}

/* Behind \u. */
static bool unicode_escape(struct ecma *e, uint32_t *ret)
{
    uint32_t low;

    if (take(e, "{")) {
        uint32_t v = 0, d;
        const char *const from = e->p;
        while (v <= 0x10ffff && hex(e, 1, &d))
            v = v * 16 + d;
        *ret = v;
        return e->p > from && v <= 0x10ffff && take(e, "}");
    }
    if (!hex(e, 4, ret))
        return false;
    const char *const behind = e->p;
    if (*ret >= 0xd800 && *ret <= 0xdbff && take(e, "\\u")) {
        if (hex(e, 4, &low) && low >= 0xdc00 && low <= 0xdfff)
            *ret = 0x10000 + ((*ret - 0xd800) << 10) + (low - 0xdc00);
        else
            e->p = behind;
    }
    return true;
}

/* ---- properties ------------------------------------------------------------------------------ */

/* PCRE2 knows general categories by their short names only. */
static const char *const categories[][2] = {
    {"Cased_Letter", "L&"},
    {"LC", "L&"},
    {"Close_Punctuation", "Pe"},
    {"Connector_Punctuation", "Pc"},
    {"Control", "Cc"},
    {"cntrl", "Cc"},
    {"Currency_Symbol", "Sc"},
    {"Dash_Punctuation", "Pd"},
    {"Decimal_Number", "Nd"},
    {"digit", "Nd"},
    {"Enclosing_Mark", "Me"},
    {"Final_Punctuation", "Pf"},
    {"Format", "Cf"},
    {"Initial_Punctuation", "Pi"},
    {"Letter", "L"},
    {"Letter_Number", "Nl"},
    {"Line_Separator", "Zl"},
    {"Lowercase_Letter", "Ll"},
    {"Mark", "M"},
    {"Combining_Mark", "M"},
    {"Math_Symbol", "Sm"},
    {"Modifier_Letter", "Lm"},
    {"Modifier_Symbol", "Sk"},
    {"Nonspacing_Mark", "Mn"},
    {"Number", "N"},
    {"Open_Punctuation", "Ps"},
    {"Other", "C"},
    {"Other_Letter", "Lo"},
    {"Other_Number", "No"},
    {"Other_Punctuation", "Po"},
    {"Other_Symbol", "So"},
    {"Paragraph_Separator", "Zp"},
    {"Private_Use", "Co"},
    {"Punctuation", "P"},
    {"punct", "P"},
    {"Separator", "Z"},
    {"Space_Separator", "Zs"},
    {"Spacing_Mark", "Mc"},
    {"Surrogate", "Cs"},
    {"Symbol", "S"},
    {"Titlecase_Letter", "Lt"},
    {"Unassigned", "Cn"},
    {"Uppercase_Letter", "Lu"},
};

/* What stands before '=', and what PCRE2 has for it. */
static const char *const property_kinds[][2] = {
    {"General_Category=", ""},      {"gc=", ""},      {"Script=", "sc:"}, {"sc=", "sc:"},
    {"Script_Extensions=", "scx:"}, {"scx=", "scx:"},
};

/* Behind \p or \P. */
static void property(struct ecma *e, bool negated, bool in_class)
{
    char name[64];
    const char *kind = "";
    size_t n = 0;

    if (!take(e, "{")) {
        refuse(e, "\\p without {");
        return;
    }
    for (size_t i = 0; i < ARRAY_LEN(property_kinds); i++)
        if (take(e, property_kinds[i][0])) {
            kind = property_kinds[i][1];
            break;
        }
    while (e->p < e->end && (isalnum((unsigned char)*e->p) || *e->p == '_') && n + 1 < sizeof name)
        name[n++] = *e->p++;
    name[n] = '\0';
    /* X...: PCRE2's own */
    if (n == 0 || !take(e, "}") || (name[0] == 'X' && strncmp(name, "XID", 3) != 0 && !*kind)) {
        refuse(e, "\\p{...} with an unknown property");
        return;
    }
    const char *value = name;
    for (size_t i = 0; i < ARRAY_LEN(categories) && !*kind; i++)
        if (strcmp(name, categories[i][0]) == 0)
            value = categories[i][1];
    if (strcmp(name, "Assigned") == 0) {
        value = "Cn";
        negated = !negated;
    }
    if (strcmp(name, "ASCII") == 0) {
        put(e, in_class ? "" : "[");
        put(e, negated ? "\\x{80}-\\x{10ffff}" : "\\x00-\\x7f");
        put(e, in_class ? "" : "]");
        return;
    }
    put(e, negated ? "\\P{" : "\\p{");
    put(e, kind);
    put(e, value);
    put(e, "}");
}

/* ---- escapes --------------------------------------------------------------------------------- */

enum escaped { ESCAPED_CHAR, ESCAPED_SET, ESCAPED_NOT_SPACE, ESCAPED_OTHER };

/* What a class may contain as well, e->p behind the backslash. ESCAPED_CHAR: *ret is the character. */
static enum escaped escape(struct ecma *e, bool in_class, uint32_t *ret)
{
    static const char controls[] = "fnrtv", meant[] = "\f\n\r\t\v";
    const char c = *e->p++;
    const char *control;

    switch (c) {
    case 'd':
    case 'D':
    case 'w':
    case 'W':
        put_bytes(e, (char[]){'\\', c}, 2); /* ASCII, as no PCRE2_UCP is set */
        return ESCAPED_SET;
    case 's':
        put(e, in_class ? SPACES : "[" SPACES "]");
        return ESCAPED_SET;
    case 'S':
        if (!in_class)
            put(e, "[^" SPACES "]");
        return ESCAPED_NOT_SPACE;
    case 'p':
    case 'P':
        property(e, c == 'P', in_class);
        return ESCAPED_SET;
    case 'c':
        if (e->p == e->end || !isalpha((unsigned char)*e->p))
            refuse(e, "\\c without a letter");
        else
            *ret = (uint32_t)*e->p++ & 0x1f;
        return ESCAPED_CHAR;
    case 'x':
        if (!hex(e, 2, ret))
            refuse(e, "\\x without two hexadecimal digits");
        return ESCAPED_CHAR;
    case 'u':
        if (!unicode_escape(e, ret))
            refuse(e, "\\u without a character's number");
        return ESCAPED_CHAR;
    case '0':
        if (e->p < e->end && isdigit((unsigned char)*e->p))
            refuse(e, "an octal escape");
        *ret = 0;
        return ESCAPED_CHAR;
    default:
        control = c ? strchr(controls, c) : NULL;
        *ret = control ? (unsigned char)meant[control - controls] : (unsigned char)c;
        if (control || (!isalnum((unsigned char)c) && c > 0x20 && c < 0x7f))
            return ESCAPED_CHAR;
        e->p--;
        return ESCAPED_OTHER;
    }
}

static void group_name(struct ecma *e)
{
    const char *const from = e->p;

    while (e->p < e->end && (isalnum((unsigned char)*e->p) || *e->p == '_'))
        e->p++;
    if (e->p == from || isdigit((unsigned char)*from) || !at(e, '>')) {
        refuse(e, "a group's name must be ASCII letters, digits and _, and end with >");
        return;
    }
    e->p++;
    put_bytes(e, from, (size_t)(e->p - from));
}

/* An escape outside a class, e->p behind the backslash. Returns whether it can be repeated. */
static bool atom_escape(struct ecma *e)
{
    uint32_t c = 0;

    if (e->p == e->end) {
        refuse(e, "a \\ at the end");
        return false;
    }
    if (take(e, "b") || take(e, "B")) {
        put_bytes(e, e->p - 2, 2);
        return false;
    }
    if (take(e, "k")) {
        if (!take(e, "<")) {
            refuse(e, "\\k without <");
            return false;
        }
        put(e, "\\k<");
        group_name(e);
        return true;
    }
    if (*e->p >= '1' && *e->p <= '9') {
        unsigned v = 0;
        char s[24];
        while (e->p < e->end && isdigit((unsigned char)*e->p) && v < 100000)
            v = v * 10 + (unsigned)(*e->p++ - '0');
        e->back = MAX(e->back, v);
        (void)snprintf(s, sizeof s, "\\g{%u}", v);
        put(e, s);
        return true;
    }
    const enum escaped what = escape(e, false, &c);
    if (what == ESCAPED_CHAR)
        put_code(e, c);
    else if (what == ESCAPED_OTHER)
        refuse(e, "an unknown escape");
    return true;
}

/* ---- classes --------------------------------------------------------------------------------- */

static uint32_t next_char(struct ecma *e)
{
    const unsigned char c = (unsigned char)*e->p++;
    const unsigned more = c < 0x80 ? 0 : c < 0xe0 ? 1 : c < 0xf0 ? 2 : 3;
    uint32_t v = more == 0 ? c : c & (0x3fu >> more);

    for (unsigned i = 0; i < more && e->p < e->end; i++)
        v = v << 6 | ((unsigned char)*e->p++ & 0x3f);
    return v;
}

/* One member of a class; what it is. Only sets are written. */
static enum escaped class_atom(struct ecma *e, uint32_t *ret)
{
    if (!take(e, "\\")) {
        *ret = next_char(e);
        return ESCAPED_CHAR;
    }
    if (e->p == e->end) {
        refuse(e, "a \\ at the end");
        return ESCAPED_SET;
    }
    if (take(e, "b")) {
        *ret = '\b';
        return ESCAPED_CHAR;
    }
    const enum escaped what = escape(e, true, ret);
    if (what != ESCAPED_OTHER)
        return what;
    refuse(e, "an unknown escape in a class");
    return ESCAPED_SET;
}

static void class_members(struct ecma *e, bool *ret_not_space)
{
    uint32_t from = 0, to = 0;

    while (e->p < e->end && *e->p != ']') {
        const enum escaped what = class_atom(e, &from);
        *ret_not_space |= what == ESCAPED_NOT_SPACE;
        if (what != ESCAPED_CHAR) {
            if (e->end - e->p >= 2 && *e->p == '-' && e->p[1] != ']')
                refuse(e, "a range of a class that begins with a set");
            continue;
        }
        put_code(e, from);
        if (e->end - e->p < 2 || *e->p != '-' || e->p[1] == ']')
            continue;
        e->p++;
        put(e, "-");
        const size_t before = e->n;
        if (class_atom(e, &to) != ESCAPED_CHAR || e->n != before)
            refuse(e, "a range of a class that ends with a set");
        else if (to < from)
            refuse(e, "a range of a class that is out of order");
        else
            put_code(e, to);
    }
}

/* A class, e->p behind its '['. PCRE2's classes have no complement of ECMA's white space in them, so such
 * a class becomes two alternatives. */
static void class(struct ecma *e)
{
    const bool negated = take(e, "^");
    const size_t from = e->n;
    bool not_space = false;

    put(e, negated ? "[^" : "[");
    class_members(e, &not_space);
    if (e->failed == 0 && !take(e, "]"))
        refuse(e, "a class without its ]");
    put(e, "]");
    if (!not_space || e->failed < 0)
        return;
    AUTO_FREE char *members = malloc(e->n - from);
    if (!members) {
        e->failed = -ENOMEM;
        return;
    }
    const size_t skip = negated ? 2 : 1, n = e->n - from - skip;
    memcpy(members, e->out + from + skip, n);
    e->n = from;
    put(e, negated ? "(?:(?![" : "(?:[");
    put_bytes(e, members, n);
    put(e, negated ? "|[^" SPACES "])[^])" : "|[^" SPACES "])");
}

/* ---- groups and repetitions ------------------------------------------------------------------ */

/* A group's beginning, e->p behind its '('. Returns whether the group can be repeated. */
static bool open_group(struct ecma *e)
{
    static const char *const kinds[] = {"?:", "?=", "?!", "?<=", "?<!"};

    put(e, "(");
    for (size_t i = 0; i < ARRAY_LEN(kinds); i++)
        if (take(e, kinds[i])) {
            put(e, kinds[i]);
            return i == 0;
        }
    if (take(e, "?<")) {
        put(e, "?<");
        group_name(e);
    } else if (at(e, '?')) {
        refuse(e, "an unknown kind of group");
    }
    e->groups++;
    return true;
}

static bool take_number(struct ecma *e, uint64_t *ret)
{
    const char *const from = e->p;

    for (*ret = 0; e->p < e->end && isdigit((unsigned char)*e->p); e->p++)
        *ret = MIN(*ret * 10 + (uint64_t)(*e->p - '0'), UINT64_C(1) << 40);
    return e->p > from;
}

/* Is a repetition in braces at e->p (at its '{')? Then it is taken. */
static bool take_braces(struct ecma *e)
{
    const char *const from = e->p;
    uint64_t min, max;

    e->p++;
    bool good = take_number(e, &min);
    max = min;
    if (good && take(e, ",") && !take_number(e, &max))
        max = UINT64_MAX;
    good = good && take(e, "}");
    if (!good)
        e->p = from;
    else if (max < min)
        refuse(e, "a repetition that is out of order");
    return good;
}

/* What follows an atom. */
static void repetition(struct ecma *e, bool allowed)
{
    const char *const from = e->p;

    if (e->p == e->end)
        return;
    if (*e->p == '*' || *e->p == '+' || *e->p == '?')
        e->p++;
    else if (*e->p != '{' || !take_braces(e))
        return;
    if (!allowed) {
        refuse(e, "a repetition of nothing");
        return;
    }
    (void)take(e, "?");
    put_bytes(e, from, (size_t)(e->p - from));
    if (e->p < e->end && strchr("*+?", *e->p) && *e->p)
        refuse(e, "a repetition of a repetition");
}

static void literal(struct ecma *e, const char *from)
{
    const uint32_t c = next_char(e);

    if (c == 0 || (c >= 0xd800 && c <= 0xdfff) || strchr("{}]", (int)c))
        put_code(e, c);
    else
        put_bytes(e, from, (size_t)(e->p - from));
}

/* One term, and its repetition. open: of each group around, whether it can be repeated. */
static void term(struct ecma *e, bool *open)
{
    const char *const from = e->p;
    bool repeats = true;

    switch (*e->p) {
    case '(':
        if (e->nested == MAX_NESTED) {
            refuse(e, "groups nested too deep");
            return;
        }
        e->p++;
        open[e->nested++] = open_group(e);
        repeats = false;
        break;
    case ')':
        if (e->nested == 0) {
            refuse(e, "a ) without its (");
            return;
        }
        e->p++;
        repeats = open[--e->nested];
        put(e, ")");
        break;
    case '|':
    case '^':
    case '$':
        repeats = false;
        put_bytes(e, e->p++, 1);
        break;
    case '.':
        e->p++;
        put(e, "[^" NEWLINE "]");
        break;
    case '[':
        e->p++;
        class(e);
        break;
    case '\\':
        e->p++;
        repeats = atom_escape(e);
        break;
    case '*':
    case '+':
    case '?':
        repeats = false;
        break;
    case '{':
        if (take_braces(e))
            refuse(e, "a repetition of nothing");
        else
            literal(e, from);
        break;
    default:
        literal(e, from);
    }
    repetition(e, repeats);
}

int js_ecma_translate(struct slice text, char **ret, size_t *ret_n, char *why, size_t why_n)
{
    struct ecma e = {.p = text.p, .end = text.p + text.n, .why = why, .why_n = why_n};
    bool open[MAX_NESTED];

    if (text.n > LIMIT_PATTERN_BYTES) {
        (void)snprintf(why, why_n, "longer than %u bytes", LIMIT_PATTERN_BYTES);
        return -E2BIG;
    }
    put(&e, ""); /* so that there is memory, even for nothing */
    while (e.p < e.end)
        term(&e, open);
    if (e.nested > 0)
        refuse(&e, "a ( without its )");
    if (e.back > e.groups)
        refuse(&e, "a reference to a group that is not there");
    if (e.failed < 0) {
        free(e.out);
        return e.failed;
    }
    *ret = e.out;
    *ret_n = e.n;
    return 0;
}
