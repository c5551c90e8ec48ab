/* SPDX-License-Identifier: MIT */
/* libevstore: an append-only event store in a directory, or in memory.
 *
 * An event belongs to an entity (an id of 1-1024 bytes of UTF-8; '/' nests) and has a type. The store
 * gives it a seq (its place in the store, from 1, without gaps) and a version (its place in its entity,
 * from 1, without gaps), and keeps it as one line of JSON Lines. Everything else is derived from these
 * lines. What a reader sees are views: a set of events, in order, as bytes that only ever grow.
 *
 *     struct evs_store *st;
 *     struct evs_writer *w;
 *     struct evs_error err;
 *     if (evs_open("/var/lib/orders", NULL, &st, &err) < 0) ...
 *     if (evs_writer_new(st, &(struct evs_target){.kind = EVS_ALL}, NULL, &w, &err) < 0) ...
 *     n = evs_write(w, line, strlen(line), &(struct evs_cred){.uid = getuid()}, &err);
 *     evs_sync(st, evs_end(st), &err);
 *
 * Conventions, for every function below unless it says otherwise:
 *  - int and ssize_t results are 0 or a count, or a negative errno. err may be NULL; on failure it says
 *    why, on success it is untouched. Outputs (ret_...) are untouched on failure.
 *  - Any thread may call. Readers take no lock and never wait for writers.
 *  - Strings are (pointer, length), need no NUL, and are borrowed for the call.
 *  - Times are microseconds since 1970-01-01T00:00:00Z; sizes are bytes; ranges are half-open.
 */
#ifndef EVSTORE_H
#define EVSTORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#ifdef __cplusplus
extern "C" {
#endif

#define EVS_API __attribute__((visibility("default")))

typedef uint64_t evs_seq; /* place in the store, from 1; 0 is none */
typedef uint32_t
    evs_entity; /* an entity, or a directory above one; 0 is none, EVS_ROOT is entities/ */
typedef uint32_t evs_type; /* a type, from 1 in order of first appearance; 0 is none */

#define EVS_ROOT ((evs_entity)1)

/* ---- errors ---------------------------------------------------------------------------------- */

/* X(name, errno, sentence). The errno is what write(2) on a mount returns. */
#define EVS_REASONS(X)                                                                             \
    X(SYSTEM, EIO, "a system call failed")                                                         \
    X(BAD_JSON, EINVAL, "not JSON")                                                                \
    X(BAD_UTF8, EINVAL, "not UTF-8")                                                               \
    X(TOO_DEEP, EMSGSIZE, "nested deeper than 128")                                                \
    X(LINE_BREAK, EINVAL, "the line ends inside a value")                                          \
    X(NOT_APART, EINVAL, "no white space between two values")                                      \
    X(UNFINISHED, EINVAL, "the value was never finished")                                          \
    X(NOT_EVENT, EINVAL, "not an event: an object with an entity and a type")                      \
    X(NO_ENTITY, EINVAL, "the event has no entity, and the file does not say one")                 \
    X(NO_TYPE, EINVAL, "the event has no type, and the file does not say one")                     \
    X(UNKNOWN_NAME, EINVAL, "an event has no such field: put it into data or meta")                \
    X(GIVEN_TWICE, EINVAL, "a field is given twice")                                               \
    X(BAD_NAME, EINVAL, "entity, type or id is empty or holds what a name can't")                  \
    X(BAD_FIELD, EINVAL, "a field has a value of the wrong kind")                                  \
    X(BAD_TIME, EINVAL, "time is not RFC 3339")                                                    \
    X(WRONG_PLACE, EINVAL, "the event belongs to another place than the file")                     \
    X(TOO_LARGE, EMSGSIZE, "larger than the limit")                                                \
    X(TOO_MANY, EMSGSIZE, "more than the limit")                                                   \
    X(NAME_TOO_LONG, ENAMETOOLONG, "a name is too long")                                           \
    X(PENDING_FULL, ENOBUFS, "too many unfinished values are being written")                       \
    X(STALE, ESTALE, "expected_version is not the newest")                                         \
    X(ID_TAKEN, EEXIST, "the entity has an event with this id and other content")                  \
    X(DENIED, EACCES, "the writer may not append to this entity")                                  \
    X(READ_ONLY, EROFS, "the store is read-only")                                                  \
    X(DISK_FULL, ENOSPC, "the disk is full")                                                       \
    X(NO_MEMORY, ENOMEM, "no memory")                                                              \
    X(DAMAGED, EIO, "stored bytes are damaged")                                                    \
    X(BAD_FORMAT, EINVAL, "not a store, or of a version this program does not know")               \
    X(IN_USE, EBUSY, "another process has the store open")                                         \
    X(NO_SUCH, ENOENT, "no such entity, type or event")                                            \
    X(NOT_EMPTY, ENOTEMPTY, "not empty")                                                           \
    X(NOT_BACKUP, EEXIST, "the directory is not an older backup of this store")                    \
    X(SCHEMA, EBADMSG, "breaks the pinned schema")                                                 \
    X(BAD_SCHEMA, EINVAL, "not a JSON Schema that can be pinned")                                  \
    X(INCOMPATIBLE, EINVAL,                                                                        \
      "breaks the compatibility that the pinned schema asks for in x-evfs-compatibility")

enum evs_reason {
#define X(name, code, text) EVS_##name,
    EVS_OK_ = 0,
    EVS_REASONS(X)
#undef X
        EVS_REASON_COUNT
};

struct evs_error {
    enum evs_reason why;
    int code; /* errno, positive */
    uint64_t
        pos; /* byte at which it went wrong: of the write (of the value, if that began in an earlier write),
              * or of the file; UINT64_MAX: nowhere */
    char detail[160]; /* what else is known ("log/…0001.jsonl", "seq 17"); "" if nothing */
};

/* The sentence of a reason, "a field is given twice". Never NULL. */
EVS_API const char *evs_reason_text(enum evs_reason why);
/* Its name, "GIVEN_TWICE": what rejected.jsonl holds. */
EVS_API const char *evs_reason_name(enum evs_reason why);
/* The whole message: sentence, detail, byte and errno text, into buf. Returns buf. */
EVS_API char *evs_error_format(const struct evs_error *err, char *buf, size_t n);

/* ---- a store --------------------------------------------------------------------------------- */

struct evs_store;

struct evs_options {
    bool read_only;  /* look only: changes no byte of the directory */
    bool must_exist; /* do not create a store where there is none */
    bool sync;       /* every append is durable before it returns (group commit) */
    uint32_t
        sync_interval_ms; /* background fdatasync while dirty; 0: the default, 100; UINT32_MAX: never */
    int compress; /* level of zstd for sealed segments, 1 to 19; 0: the default, 15; -1: none is compressed */
    uint64_t segment_bytes; /* size of a segment of the log; 0: the default, 256 MiB */
    bool no_schemas;        /* learn no schemas from what is appended: evs_schema() has none */
    uint64_t
        state_bytes; /* memory for states that are kept; 0: the default, 16 MiB; UINT64_MAX: none is */
    int64_t (*clock_us)(void *arg); /* NULL: CLOCK_REALTIME. Called once a batch, from any thread */
    void *clock_arg;
};

/* Open the store in directory dir, creating it if need be; ":memory:" is a store in RAM. One process at
 * a time (flock on dir/lock): else IN_USE, with its pid in err->detail; a reader needs the lock as well,
 * shared. Recovers after a crash: what follows the last whole event is cut off. options may be NULL.
 * On 0, *ret_st is the caller's, to evs_close(). DAMAGED names segment and byte in err. */
EVS_API int evs_open(const char *dir, const struct evs_options *options, struct evs_store **ret_st,
                     struct evs_error *err);

/* Sync, write the checkpoint, free. All writers and cursors must be freed before. st may be NULL. The
 * store is freed even when the result is an error (then the next open takes longer). */
EVS_API int evs_close(struct evs_store *st, struct evs_error *err);

EVS_API evs_seq evs_end(const struct evs_store *st);     /* newest event; 0: there is none */
EVS_API evs_seq evs_durable(const struct evs_store *st); /* newest that survives power loss */

/* Wait until every event up to seq is durable; callers that wait share one fdatasync. */
EVS_API int evs_sync(struct evs_store *st, evs_seq seq, struct evs_error *err);
/* For one thread that calls evs_sync() in the name of several: to be called for each of them, once what it has to
 * wait for is written. An fdatasync that is held back for a moment, for those who shared the last one, knows by it
 * who has come. False: seq, of an event that there is, is durable; there is nothing to wait for. */
EVS_API bool evs_sync_join(struct evs_store *st, evs_seq seq);

/* Write the checkpoint now, so that the next open need not read the log from the last one on. */
EVS_API int evs_checkpoint(struct evs_store *st, struct evs_error *err);

struct evs_stats {
    uint64_t events, types, bytes; /* bytes: of all lines */
    uint64_t entities;             /* with events of their own */
    uint64_t segments, durable;    /* durable: a seq */
    uint64_t index_bytes, names_bytes,
        id_bytes; /* memory of the index; of it names; of it writers' ids */
    uint64_t appended, repeated, rejected, transactions, syncs; /* since open */
    uint64_t batches, pending_bytes, writers;
    int64_t opened_us,
        clock_behind_us; /* clock_behind_us: recorded repeats, the clock went back by this */
    bool read_only;
    int64_t newest_us; /* recorded time of the newest event */
    uint64_t compressed,
        disk_bytes; /* segments that are compressed; bytes of all lines as they are stored */
    uint64_t unpacked_bytes; /* memory with lines of compressed segments */
    evs_seq chained; /* event after which the newest stored hash of the log is; 0: there is none */
    char sha256[65]; /* it, in 64 digits and a NUL */
    uint64_t state_bytes;  /* memory with states that are kept */
    uint64_t schema_bytes; /* memory with what is learned of types */
    uint64_t pins;         /* pinned schemas */
    uint64_t schema_refused,
        schema_warned; /* events that broke one, since open: refused, or stored with a warning */
};
EVS_API void evs_stats(struct evs_store *st, struct evs_stats *ret);

/* Health in words, one line a finding ("ok\n" if none), into buf, always terminated. Returns 0 if all is
 * well, 1 if not. */
EVS_API int evs_health(struct evs_store *st, char *buf, size_t n);

/* The borders that close files above them: with names a line each, as far as they fit; without, how many, for
 * those who may not know. Into buf, always terminated. Returns how many there are. */
EVS_API size_t evs_borders(struct evs_store *st, bool names, char *buf, size_t n);

/* Free and total bytes where the log lives (statvfs), for statfs(2). */
EVS_API int evs_space(struct evs_store *st, uint64_t *ret_total, uint64_t *ret_free,
                      struct evs_error *err);

/* Where time has gone in this process, in all stores: an array of spans with counts and histograms, as JSON. *ret_json
 * is malloc'ed, the caller's. -EOPNOTSUPP unless built with -Dhotpath=true; -ENOMEM. */
EVS_API int evs_hotpath(char **ret_json, size_t *ret_n);

/* ---- names ----------------------------------------------------------------------------------- */

/* A name in a file name: percent-encoding of what a file name can't say (docs/format.md, "Names").
 * An encoded entity is a path of components; a type is one component. Both directions are inverse. */
#define EVS_PATH_MAX 4096 /* an encoded id with its NUL fits */

/* Encode into out[cap], terminated. Returns the length; NAME_TOO_LONG for a component whose encoding
 * and longest suffix would not fit 255 bytes, or more than 32 components; BAD_NAME; BAD_UTF8. */
EVS_API int evs_encode_entity(const char *id, size_t n, char *out, size_t cap,
                              struct evs_error *err);
EVS_API int evs_encode_type(const char *type, size_t n, char *out, size_t cap,
                            struct evs_error *err);
/* Decode one component of a path, of an entity (is_type false) or a type. Returns the length in out;
 * NO_SUCH if it is not what encoding gives. */
EVS_API int evs_decode_component(const char *comp, size_t n, bool is_type, char *out, size_t cap,
                                 struct evs_error *err);

/* Look up. 0 where the store has no such event, nor one below (entity), nor an owner for it. */
EVS_API evs_entity evs_find_entity(struct evs_store *st, const char *id, size_t n);
EVS_API evs_type evs_find_type(struct evs_store *st, const char *type, size_t n);
/* The child named by one decoded component of parent; 0 if none. */
EVS_API evs_entity evs_find_child(struct evs_store *st, evs_entity parent, const char *comp,
                                  size_t n);

/* Names back, decoded, into buf (cap bytes, not terminated). The length; -ERANGE if cap is too small;
 * 1024 and 128 always suffice. */
EVS_API int evs_entity_name(struct evs_store *st, evs_entity e, char *buf, size_t cap);
EVS_API int evs_component(struct evs_store *st, evs_entity e, char *buf,
                          size_t cap); /* last component */
EVS_API int evs_type_name(struct evs_store *st, evs_type t, char *buf, size_t cap);
EVS_API evs_entity evs_parent(struct evs_store *st, evs_entity e); /* 0 for EVS_ROOT */

/* Children of a directory, in order of first appearance: the one after `after` (0: the first) that has
 * events at or below it or an owner of its own; 0: no more. */
EVS_API evs_entity evs_next_child(struct evs_store *st, evs_entity parent, evs_entity after);
/* Types of an entity's own events: all of them, in order of first appearance, into ret[cap]. Returns
 * how many there are (may be more than cap). */
EVS_API size_t evs_entity_types(struct evs_store *st, evs_entity e, evs_type *ret, size_t cap);
EVS_API evs_type evs_type_count(struct evs_store *st); /* types are 1..count */

/* ---- views ----------------------------------------------------------------------------------- */

enum evs_view_kind {
    EVS_ALL,      /* every event: whole lines */
    EVS_BELOW,    /* events at or below an entity */
    EVS_OWN,      /* events of exactly this entity */
    EVS_OWN_TYPE, /* of exactly this entity, of one type: the lines are their data */
    EVS_TYPE,     /* events of one type, of every entity */
};

struct evs_view {
    enum evs_view_kind kind;
    evs_entity entity; /* EVS_BELOW, EVS_OWN, EVS_OWN_TYPE */
    evs_type type;     /* EVS_OWN_TYPE, EVS_TYPE */
};

struct evs_extent {
    uint64_t events, bytes;
    evs_seq first, last;       /* 0 if there is none */
    int64_t first_us, last_us; /* their recorded times */
};

/* How large a view is now. Exact, and never half a transaction. Takes O(log n), or for a type of an
 * entity of at most 1,000 events, O(its events). */
EVS_API int evs_view_extent(struct evs_store *st, const struct evs_view *v, struct evs_extent *ret);

/* A directory's time: recorded time of the first event of its newest entry; 0 if it has none. */
EVS_API int64_t evs_directory_time(struct evs_store *st, evs_entity e);

/* A cursor reads a view, from any byte; sequential reads do not seek. Not for two threads at once. */
struct evs_cursor;
EVS_API int evs_cursor_new(struct evs_store *st, const struct evs_view *v,
                           struct evs_cursor **ret_c, struct evs_error *err);
EVS_API void evs_cursor_free(struct evs_cursor *c); /* NULL is fine */

/* pread(2) of a view: up to n bytes from byte pos. 0 at the end. Every line touched is checked against
 * its CRC: DAMAGED with segment and byte in err, and the store turns read-only. */
EVS_API ssize_t evs_cursor_read(struct evs_cursor *c, uint64_t pos, void *buf, size_t n,
                                struct evs_error *err);

/* The same without a copy: *ret points to up to n checked bytes of the store's own memory, constant and valid
 * until the next call with this cursor. Only for EVS_ALL, and perhaps less than n before the end; -EOPNOTSUPP
 * for other views: use evs_cursor_read(). A disk error while the bytes are touched later is a SIGBUS; writing them to a
 * descriptor is safe (EFAULT). */
EVS_API ssize_t evs_cursor_peek(struct evs_cursor *c, uint64_t pos, size_t n, const void **ret,
                                struct evs_error *err);
/* What was peeked at is not looked at any more: until then it keeps memory. */
EVS_API void evs_cursor_done(struct evs_cursor *c);

/* The byte at which the first event with seq > after begins (the view's end if there is none). */
EVS_API int evs_cursor_find(struct evs_cursor *c, evs_seq after, uint64_t *ret_pos,
                            struct evs_error *err);

/* state.json: the merge (RFC 7386) of the data of an entity's own events, in order, with a line feed. The newest that
 * were asked for are kept (state_bytes): of an entity that has grown only what is new is read.
 * *ret_json is malloc'ed, the caller's to free. NO_SUCH if it has no events of its own. */
EVS_API int evs_state(struct evs_store *st, evs_entity e, char **ret_json, size_t *ret_n,
                      struct evs_error *err);

/* ---- schemas --------------------------------------------------------------------------------- */

/* What a type's data looks like is learned from every event, in the background, as JSON Schema 2020-12: whatever was
 * appended validates against it. A change makes a version, numbered from 1; changes with the same recorded time are
 * one. docs/schemas.md says what is found, and what the annotations (x-evfs-...) mean.
 *
 * Schemas show names, values and examples of data: show them only to whom the type's events may be shown
 * (evs_border_mask(), evs_may_read() of the type).
 *
 * All of these wait until what is in the store at the call is learned, for some seconds at most: then they tell what
 * is known so far. Texts are malloc'ed, the caller's to free, and have a NUL behind their n bytes. NO_SUCH where there
 * is no such type or version, or with no_schemas; SYSTEM; NO_MEMORY. */

/* Are schemas learned here? With no_schemas all of these have none. Does not wait. */
EVS_API bool evs_learns(const struct evs_store *st);

/* Version 0 is the newest, with counts and examples of all events up to x-evfs-through; others as they were. */
EVS_API int evs_schema(struct evs_store *st, evs_type t, uint32_t version, char **ret_json,
                       size_t *ret_n, struct evs_error *err);
/* How many there are: 1..n. 0 where evs_schema() has none. */
EVS_API uint32_t evs_schema_versions(struct evs_store *st, evs_type t);
/* What each version changed, as JSON Lines: version, seq (of the event that changed it), through (the last one that
 * did), recorded; and but for the first: compatible ("full"; "backward": who knows the new schema can read what was
 * stored before; "forward": the reverse; "none"), changes, and why it is not backward, or forward. */
EVS_API int evs_schema_changes(struct evs_store *st, evs_type t, char **ret_jsonl, size_t *ret_n,
                               struct evs_error *err);
/* For people: the fields, a line each (field, type, required, count, example); and a page about the type, with this
 * table and the data of its first and its newest event, shortened. */
EVS_API int evs_schema_table(struct evs_store *st, evs_type t, char **ret_text, size_t *ret_n,
                             struct evs_error *err);
EVS_API int evs_schema_readme(struct evs_store *st, evs_type t, char **ret_text, size_t *ret_n,
                              struct evs_error *err);
/* What changes from one JSON Schema to another, in lines for a person, and whose data conforms to which. learned: both
 * are of evs_schema(), so data has no other fields than they mention. 1 where each schema holds all that the other
 * does, else 0; BAD_SCHEMA, NO_MEMORY. */
EVS_API int evs_schema_diff(const char *old_json, size_t old_n, const char *new_json, size_t new_n,
                            bool learned, char **ret_text, size_t *ret_n, struct evs_error *err);
/* The table of a schema that evs_schema() gave, without the store. BAD_SCHEMA. */
EVS_API int evs_schema_describe(const char *json, size_t n, char **ret_text, size_t *ret_n,
                                struct evs_error *err);

/* ---- appending ------------------------------------------------------------------------------- */

struct evs_cred {
    uid_t uid; /* becomes the event's uid */
    gid_t gid;
    pid_t pid; /* for rejected.jsonl only */
    /* Fill ret[cap] with the supplementary groups; returns their number, 0 if unknown. Called only when a
     * border asks. NULL: none. */
    int (*groups)(void *arg, gid_t *ret, int cap);
    void *groups_arg;
};

/* Where an append goes. EVS_ALL, EVS_BELOW and EVS_TYPE take whole events (objects; an array is a
 * transaction); EVS_OWN_TYPE takes data. Names are decoded ids, borrowed for the call; they need not
 * exist yet. An event that names no entity (or type) has the target's. EVS_OWN is not a target. */
struct evs_target {
    enum evs_view_kind kind;
    const char *entity; /* EVS_BELOW, EVS_OWN_TYPE */
    size_t entity_len;
    const char *type; /* EVS_TYPE, EVS_OWN_TYPE */
    size_t type_len;
};

/* One open file that appends. Keeps the part of a value that writes have not finished yet. */
struct evs_writer;

/* path (may be NULL) is what rejected.jsonl calls it. BAD_NAME or NAME_TOO_LONG for a bad target. */
EVS_API int evs_writer_new(struct evs_store *st, const struct evs_target *target, const char *path,
                           struct evs_writer **ret_w, struct evs_error *err);

/* write(2): take n bytes of JSON values apart and append them. Returns how many bytes were taken: all,
 * or, if a value is bad, those before it (the next write, which starts there, fails and says why).
 * Everything taken and complete is stored, visible to readers, and survives the death of the process.
 * With options.sync it is durable as well. Several threads may share a writer; they take turns. */
EVS_API ssize_t evs_write(struct evs_writer *w, const void *buf, size_t n,
                          const struct evs_cred *cred, struct evs_error *err);

/* The seq up to which evs_sync() makes durable all that was written here. */
EVS_API evs_seq evs_writer_seq(struct evs_writer *w);

/* UNFINISHED while a value is incomplete, else 0. */
EVS_API int evs_writer_pending(struct evs_writer *w, struct evs_error *err);

/* End it; an unfinished value goes to rejected.jsonl. NULL is fine. */
EVS_API void evs_writer_free(struct evs_writer *w);

/* ---- owners ---------------------------------------------------------------------------------- */

struct evs_owner {
    uid_t uid;
    gid_t gid;
    mode_t mode; /* 07777 */
};

/* A directory: "" the root of the tree, "entities" and below it by entity, "types" and by type. */
enum evs_dir_kind { EVS_DIR_ROOT, EVS_DIR_ENTITY, EVS_DIR_TYPE };
struct evs_dir {
    enum evs_dir_kind kind;
    const char *name; /* decoded id; n 0: entities/ or types/ itself */
    size_t n;
};

/* What the mode bits let cred do: 4 read, 2 write, 1 search. */
EVS_API mode_t evs_rights(const struct evs_owner *own, const struct evs_cred *cred);
/* The owner and mode of a directory: its own, or the nearest ancestor's that has one. *ret_own (may be
 * NULL) says whether it is its own. Exists or not, any valid name has an owner. */
EVS_API void evs_get_owner(struct evs_store *st, const struct evs_dir *d, struct evs_owner *ret,
                           bool *ret_own);
/* The same by number, faster. */
EVS_API void evs_entity_owner(struct evs_store *st, evs_entity e, struct evs_owner *ret,
                              bool *ret_own);
/* Give a directory an owner of its own, kept over reopening; an entity's is listed from then on. */
EVS_API int evs_set_owner(struct evs_store *st, const struct evs_dir *d, const struct evs_owner *o,
                          struct evs_error *err);
/* Take it back (rmdir): NOT_EMPTY if it has events or owners below, NO_SUCH if it had none. */
EVS_API int evs_clear_owner(struct evs_store *st, const struct evs_dir *d, struct evs_error *err);
/* The mode bits (of 0444) that a file which shows everything below d, or the events of type d, may keep: a
 * border with such events takes them from those who may not read there. The owner's is kept where the owner
 * may read by owner and mode, whatever other groups there are. */
EVS_API mode_t evs_border_mask(struct evs_store *st, const struct evs_dir *d);
/* May cred, whose groups are known, read all that such a file shows? */
EVS_API bool evs_may_read(struct evs_store *st, const struct evs_dir *d,
                          const struct evs_cred *cred);

/* ---- pinned schemas -------------------------------------------------------------------------- */

/* A JSON Schema (2020-12, "format" is an assertion) that is pinned to a type (EVS_DIR_TYPE) holds for the data of
 * its events, one that is pinned to a directory of entities (EVS_DIR_ENTITY, not its top) for that of every event at
 * or below it. All that apply must hold. Neither the type nor the directory need exist. From the return of
 * evs_pin_set() on no event that breaks a strict one is stored, whatever open file it comes through; what is
 * stored stays.
 *
 * In the schema itself, at its top: "x-evfs-level": "strict" (default), "warn" (what breaks it is stored, counted,
 * and listed in rejected.jsonl), "off"; "x-evfs-compatibility": "none" (default), "backward", "forward" or "full":
 * what a schema that replaces it must be. */
enum evs_level { EVS_LEVEL_STRICT, EVS_LEVEL_WARN, EVS_LEVEL_OFF };

#define EVS_SCHEMA_BYTES (1u << 20) /* longest schema */

/* Pin text in place of what d has; durable on return. The same text again is no change. BAD_SCHEMA, TOO_LARGE,
 * INCOMPATIBLE, TOO_MANY and errors of the disk: what was pinned stays in force, and evs_pin_refusal() says why
 * until the next success. */
EVS_API int evs_pin_set(struct evs_store *st, const struct evs_dir *d, const char *text, size_t n,
                        const struct evs_cred *cred, struct evs_error *err);
/* Take it away, and forget why another was refused. NO_SUCH where there is neither. */
EVS_API int evs_pin_clear(struct evs_store *st, const struct evs_dir *d, struct evs_error *err);

/* Forget only why another was refused; not while it is read-only. NO_SUCH. */
EVS_API int evs_pin_forget(struct evs_store *st, const struct evs_dir *d, struct evs_error *err);

struct evs_pin {
    bool pinned;  /* else only refusal_us means something */
    size_t bytes; /* of the text */
    enum evs_level level;
    uid_t uid;                /* who pinned it */
    int64_t time_us;          /* when */
    uint64_t refused, warned; /* events, since then, or since open */
    int64_t refusal_us; /* when the last schema was refused, if that came after it; 0: none was */
};
EVS_API void evs_pin_stat(struct evs_store *st, const struct evs_dir *d, struct evs_pin *ret);

/* The types that have a pinned schema, with events or without: the name of the next one, decoded, into buf. *place is
 * 0 first, and stands for the same place for as long as the store is open. The length, 0 at the end, -ERANGE. */
EVS_API int evs_next_pinned_type(struct evs_store *st, uint32_t *place, char *buf, size_t cap);

/* The text, byte for byte; malloc'ed, the caller's. NO_SUCH. */
EVS_API int evs_pin_text(struct evs_store *st, const struct evs_dir *d, char **ret, size_t *ret_n,
                         struct evs_error *err);
/* Why the last one was refused: lines for a person of a type, of a directory one JSON object. malloc'ed, the
 * caller's. NO_SUCH where none was since the last success, or since open. */
EVS_API int evs_pin_refusal(struct evs_store *st, const struct evs_dir *d, char **ret,
                            size_t *ret_n, struct evs_error *err);

/* Schemas without a store: check values against one. */
struct evs_breach {
    char keyword[32]; /* what failed; "" where the value is not JSON */
    char instance_path[256],
        schema_path[256]; /* JSON Pointers into value and schema, cut at their end */
    char text[160];       /* a sentence */
};
struct evs_checker;
/* BAD_SCHEMA with why. A schema that was learned may be larger than one that can be pinned. *ret is the caller's. */
EVS_API int evs_checker_new(const char *schema, size_t n, struct evs_checker **ret,
                            struct evs_error *err);
EVS_API void evs_checker_free(struct evs_checker *c); /* NULL is fine */
/* One JSON value, white space around it allowed. 1: it conforms; 0: not, and *ret says why; -ENOMEM. Any thread. */
EVS_API int evs_checker_check(const struct evs_checker *c, const char *json, size_t n,
                              struct evs_breach *ret);

/* ---- watching -------------------------------------------------------------------------------- */

/* What grew in a batch. Marks are set by evs_mark() and cleared by the commit that reports them, so that
 * nothing is paid for what nobody looks at. */
enum evs_mark {
    EVS_MARK_BELOW = 1,    /* events at or below the entity: EVS_BELOW (EVS_ALL with EVS_ROOT) */
    EVS_MARK_OWN = 2,      /* the entity's own: EVS_OWN, EVS_OWN_TYPE, state.json, its directory */
    EVS_MARK_TYPE = 4,     /* a type's events */
    EVS_MARK_CHILDREN = 8, /* a directory got a new entry */
};
struct evs_change {
    evs_entity entity; /* for BELOW, OWN, CHILDREN */
    evs_type type;     /* for TYPE */
    uint8_t marks;     /* those that were set, and are now cleared */
};
/* Called after a batch is visible, and before any evs_write() returns that has added to what changed. By one thread at a
 * time, which must not append in it; changes is borrowed for the call. */
typedef void evs_change_fn(void *arg, const struct evs_change *changes, size_t n);

/* Set once, before the first append. */
EVS_API void evs_on_change(struct evs_store *st, evs_change_fn *fn, void *arg);
/* Mark; after it, look at the extent: what grows later is reported. CHILDREN of entity 0 is types/. */
EVS_API void evs_mark_entity(struct evs_store *st, evs_entity e, uint8_t marks);
EVS_API void evs_mark_type(struct evs_store *st, evs_type t);

/* ---- rejected.jsonl -------------------------------------------------------------------------- */

/* The newest rejected values, as JSON Lines: those of uid, or all. *ret is malloc'ed, the caller's. */
EVS_API int evs_rejected(struct evs_store *st, bool all, uid_t uid, char **ret, size_t *ret_n,
                         struct evs_error *err);

/* ---- upkeep of a store that is not open ------------------------------------------------------- */

/* One finding, in words, "log/…0001.jsonl: byte 8192: checksum differs". */
typedef void evs_report_fn(void *arg, const char *finding);

/* Check every line, its checksum, the order of seq and version, transactions, and the derived files
 * against the log. Returns the number of findings. Changes nothing. */
EVS_API int evs_verify(const char *dir, evs_report_fn *report, void *arg, struct evs_error *err);

/* The same, and what can be noted down elsewhere, as a proof later on: the SHA-256 of the log, which is that of
 * /events.jsonl. from (NULL: none): 64 lower-case digits noted earlier; if no first lines of the log have that
 * hash, that is a finding, and ret->from is UINT64_MAX. */
struct evs_proof {
    evs_seq events;  /* in the log */
    char sha256[65]; /* of all of them; "" if the log can't be opened */
    evs_seq from;    /* after this event the hash is from */
};
EVS_API int evs_prove(const char *dir, const char *from, struct evs_proof *ret,
                      evs_report_fn *report, void *arg, struct evs_error *err);

/* Make a store of which evs_verify() finds something one of which it does not: what is derived from the log is made
 * again; files with damaged lines are set aside in damaged/, never deleted, and in their place all good lines
 * remain, with a line of type evfs.lost in the place of each event that is gone. Reports all of it. A call that was
 * interrupted is completed by the next. DAMAGED: nothing was done, as no way was found. */
struct evs_repaired {
    uint64_t found; /* findings before */
    uint64_t lost;  /* events that are gone */
    uint64_t left;  /* findings that nothing can be done about: what was sealed has other bytes */
};
EVS_API int evs_repair(const char *dir, struct evs_repaired *ret, evs_report_fn *report, void *arg,
                       struct evs_error *err);

/* Make idx and checkpoint again from the log. DAMAGED, and nothing has changed: a line of it is bad. */
EVS_API int evs_rebuild(const char *dir, evs_report_fn *report, void *arg, struct evs_error *err);

/* What evs_backup() has done. linked + copied + kept = bytes. */
struct evs_backup {
    uint64_t events, bytes; /* that the backup has now; bytes: of their lines */
    uint64_t linked;        /* of bytes: files shared with the store (hard link or reflink) */
    uint64_t copied, kept;  /* of bytes: new in the backup; in it already */
    bool meta_kept;         /* the store has lost its meta.db: the backup keeps the one it had */
};

/* Copy the store in directory dir to dest, which becomes, or is, a store as well: its events, owners and modes.
 * dest does not exist, is empty, or is an older backup of the same store: then only what is new is copied.
 * NOT_BACKUP otherwise, with the first event that differs. bytes UINT64_MAX: nobody has dir open (IN_USE if
 * somebody has). Else somebody has, and the backup holds exactly the first so many bytes of the log, which are
 * whole events and transactions: what EVS_ALL's extent was at some time, and durable since. What was copied is
 * checked, and synced. After a failure, or a crash, dest is an older backup still, or is not a store yet, and the
 * next call goes on with it. */
EVS_API int evs_backup(const char *dir, const char *dest, uint64_t bytes, struct evs_backup *ret,
                       struct evs_error *err);

/* Append lines that keep their seq, id, time, recorded, version and uid: another store's lines, in order, from
 * seq 1, into an empty store. Takes whole lines and whole transactions; returns how many bytes, which may
 * be less than n (call again with what is left and more), or why the first line is refused. */
EVS_API ssize_t evs_import_exact(struct evs_store *st, const void *lines, size_t n,
                                 struct evs_error *err);

EVS_API const char *evs_version(void); /* "0.1.0" */

#ifdef __cplusplus
}
#endif
#endif
