/* SPDX-License-Identifier: MIT */
/* scan: JSON as bytes (RFC 8259, UTF-8 only). Validates and finds values; builds nothing, allocates
 * nothing, knows no events. Stricter and looser than the RFC nowhere, but for: nesting at most
 * LIMIT_DEPTH, no byte order mark, and the line rule below. */
#ifndef STORE_SCAN_H
#define STORE_SCAN_H

#include "error.h"
#include "util.h"

/* The line rule (DESIGN, Appending): CR and LF between tokens are allowed only inside an object
 * or array whose opening bracket is followed, but for blanks (space, tab, CR), by a LF: this is
 * how a forgotten brace is found on its own line. SCAN_TRANSACTION allows LF after the commas of
 * the outermost array as well. SCAN_ANY_LINES switches the rule off (a whole file as one value). */
enum scan_flags { SCAN_ANY_LINES = 1, SCAN_TRANSACTION = 2 };
/* In flags as well: the value already lies within d containers (they count for LIMIT_DEPTH). */
#define SCAN_DEPTH(d) ((unsigned)(d) << 8)

enum scan_kind {
    SCAN_NULL,
    SCAN_FALSE,
    SCAN_TRUE,
    SCAN_NUMBER,
    SCAN_STRING,
    SCAN_ARRAY,
    SCAN_OBJECT
};

/* Scan one value that begins at s[0] (no white space before it). Returns its length, > 0 bytes; or
 *   0: s ends inside the value, and what is there is a proper beginning of one. A number or literal
 *      that reaches s + n is unfinished as well, as more could follow;
 *   negative: BAD_JSON, BAD_UTF8, TOO_DEEP, LINE_BREAK with err->pos the byte, relative to s. A LF
 *      in a string is LINE_BREAK: its closing quote was forgotten.
 * *ret_breaks (may be NULL): whether a CR or LF lies inside. Does not look at what follows. */
ssize_t scan_value(const char *s, size_t n, unsigned flags, bool *ret_breaks,
                   struct evs_error *err);

/* An outline is a hash of a value's structure as it is written: names and their order, kinds, integer or number, classes
 * of strings; of neighbours in an array that have the same outline only one counts. Equal outlines: equal structures,
 * but for the chance of 64 bits; unequal ones say nothing. key: two random numbers, so that nobody can make two
 * that are equal on purpose. class_of(raw) says what a string is, from 0 to 63; it is asked only for those that hold ':'
 * or '@' or an escape, and those of 7 to 36 bytes with '-' as fifth or ninth or '.' as second, third or fourth byte: all
 * others are 0. */
struct scan_outliner {
    uint64_t key[2];
    unsigned (*class_of)(struct slice raw, bool escaped); /* raw: with its quotes */
};
/* As scan_value(), and the outline of it in the same pass. *ret_outline: only where the result is > 0. */
ssize_t scan_outline(const char *s, size_t n, unsigned flags, const struct scan_outliner *by,
                     bool *ret_breaks, uint64_t *ret_outline, struct evs_error *err);

/* scan_value() for a string only, s[0] is '"'. *ret_escapes: whether a backslash lies inside. */
ssize_t scan_string(const char *s, size_t n, unsigned flags, bool *ret_escapes,
                    struct evs_error *err);

/* A whole text is exactly one value, white space around it allowed, a number may end the text;
 * the line rule is off. This is what JSONTestSuite asks. 0 or negative; UNFINISHED where the
 * text ends too early. */
int scan_whole(const char *s, size_t n, struct evs_error *err);

/* The kind of the value that begins with byte c; only for what scan_value() accepted. */
enum scan_kind scan_kind(char c);

/* Walk the members of an object that scan_value() accepted: s at its '{'. Call with *pos = 0
 * first; each call gives the next key (with its quotes, raw) and value and returns 1, or 0 at
 * the end. */
int scan_member(struct slice object, size_t *pos, struct slice *ret_key, struct slice *ret_value);
/* The same for the elements of an array. */
int scan_element(struct slice array, size_t *pos, struct slice *ret_value);
/* Skip one valid value; its length. s must be inside a text that scan_value() accepted. */
size_t scan_skip(const char *s, size_t n);

/* Decode a string (raw, with its quotes, accepted by scan_value()) into out, at most raw.n
 * bytes. Returns the length. A lone surrogate is written as three bytes, as WTF-8 does; *ret_odd
 * (may be NULL) says whether there was one, or a NUL: names refuse both. */
size_t scan_decode(struct slice raw, char *out, bool *ret_odd);

/* Encode UTF-8 into out as the inside of a JSON string with only the escapes that JSON requires
 * (short forms where it has them, \u00xx else). Needs up to 6 n bytes. Returns the length. */
size_t scan_encode(struct slice s, char *out);

/* How many bytes at s are plain: neither '"' nor '\\', not below 0x20, not 0x80 and above. */
size_t scan_plain(const char *s, size_t n);
bool scan_is_utf8(const char *s, size_t n);

/* skim: finds where a value ends that arrives in pieces, without validating it, each byte looked
 * at once. Catches what makes its end unfindable: a closing bracket of the other kind, a line
 * break against the line rule (in a string as well), nesting beyond LIMIT_DEPTH. */
struct skim {
    uint64_t object[2]; /* bit d - 1: the container at depth d is an object */
    uint64_t broken[2]; /* bit d - 1: its opening bracket was followed by LF */
    uint16_t depth;
    uint8_t started, scalar, in_string, escaped, after_comma, transaction, done;
    uint8_t opened; /* nothing but blanks since the bracket: 1, with a CR among them: 2 */
};

/* Begin. transaction: the value may be an array of events (SCAN_TRANSACTION's rule). */
void skim_init(struct skim *k, bool transaction);
/* Feed the next n bytes. Returns how many bytes belong to the value when it ends within them
 * (> 0; a scalar ends before the white space that ends it, which may make it 0 with k->done set),
 * 0 when it goes on, or negative with err->pos relative to s. k->done says that it has ended. */
ssize_t skim_feed(struct skim *k, const char *s, size_t n, struct evs_error *err);

static inline bool scan_is_space(char c)
{
    return c == ' ' || c == '\n' || c == '\t' || c == '\r';
}

#endif
