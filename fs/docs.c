/* SPDX-License-Identifier: MIT */
/* Documents. Each is made when it is opened, in one go, and is not made again for that open file. The text
 * of README is a constant; its width is 80. */
#include "docs.h"
#include "tree.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define HEALTH_BYTES 16384

static const char readme[] =
    "This is an event store, mounted by evfs. Events are appended, never changed and\n"
    "never removed. Every program that reads and writes files is a client.\n"
    "\n"
    "  events.jsonl                every event, oldest first. Append whole events:\n"
    "                              {\"entity\":\"orders/42\",\"type\":\"placed\",\"data\":{}}\n"
    "  entities/ID/                one directory for each entity; '/' in an ID nests.\n"
    "                              It need not exist before you append to it.\n"
    "  entities/ID/TYPE.jsonl      the entity's own events of one type: their data.\n"
    "                              Append JSON values, each becomes an event.\n"
    "  entities/ID/events.jsonl    the events of the entity, and of those below it\n"
    "  entities/ID/state.json      the data of its own events, merged (RFC 7386)\n"
    "  types/TYPE/events.jsonl     the events of one type, of every entity\n"
    "  types/TYPE/README           its fields, with examples; schema.json has them as JSON\n"
    "                              Schema, schemas/ and changes.jsonl how that changed\n"
    "  types/TYPE/pinned.json      write a JSON Schema here: what breaks it is refused.\n"
    "                              pinned.error says why a schema was not taken.\n"
    "  entities/ID/pinned.json     the same for all events at or below it\n"
    "  .evfs/health                \"ok\", or what is wrong\n"
    "  .evfs/rejected.jsonl        what was refused, and why: look here after EINVAL\n"
    "  .evfs/stats.json            counters; metrics.prom has them for Prometheus\n"
    "\n"
    "Append       echo '{\"total\":99}' >> entities/orders/42/placed.jsonl\n"
    "Load         cat more.jsonl >> events.jsonl\n"
    "Read         cat entities/orders/events.jsonl\n"
    "Search       grep '\"type\":\"paid\"' events.jsonl | jq .data\n"
    "Follow       tail -n +1 -f events.jsonl, or evfs tail -f events.jsonl\n"
    "State        jq . entities/orders/42/state.json\n"
    "Count        wc -l types/placed/events.jsonl\n"
    "List         ls entities/orders; find entities -type d\n"
    "Enforce      cp schema.json types/placed/pinned.json; rm unpins\n"
    "Be sure      sync entities/orders/42/placed.jsonl (or mount with -o sync)\n"
    "\n"
    "Rules. A JSON array of events is a transaction: all of it or nothing. A write is\n"
    "stored up to its first bad value, and says so. \"expected_version\":N appends only\n"
    "if N is the entity's newest version (else ESTALE). An event with an \"id\" that\n"
    "its entity has is not stored twice; with other content it is EEXIST. A directory's\n"
    "owner and mode (chown, chmod, install -d) hold for all below it. Names: what a\n"
    "file name can't say is written %XX.\n"
    "\n"
    "Waiting is poll(2), select or epoll on any .jsonl: read to the end, poll, read.\n"
    "\n"
    "Commands     evfs append, tail, import, export, stats, verify, rebuild;\n"
    "             evfs --help and evfs COMMAND --help say more\n"
    "End          umount MOUNTPOINT, or fusermount3 -u MOUNTPOINT\n";

size_t docs_readme_bytes(void)
{
    return sizeof readme - 1;
}

static int copy(const char *text, char **ret, size_t *ret_n)
{
    char *p = strdup(text);

    if (!p)
        return -ENOMEM;
    *ret = p;
    *ret_n = strlen(p);
    return 0;
}

/* Both documents of numbers come from this table: name in stats.json, name in metrics.prom, its type, help. */
struct number {
    const char *json, *metric, *type, *help;
    uint64_t value;
};
#define NUMBERS 32

static size_t numbers(const struct docs_reader *r, struct number out[NUMBERS])
{
    struct evs_stats s = {0};

    evs_stats(r->st, &s);
    const struct number all[] = {
        {"events", "evfs_events_total", "counter", "events in the store", s.events},
        {"durable", "evfs_durable_events_total", "counter", "events that survive power loss",
         s.durable},
        {"entities", "evfs_entities", "gauge", "entities with events of their own", s.entities},
        {"types", "evfs_types", "gauge", "event types", s.types},
        {"bytes", "evfs_log_bytes", "gauge", "bytes of all lines", s.bytes},
        {"segments", "evfs_log_segments", "gauge", "files of the log", s.segments},
        {"disk_bytes", "evfs_log_disk_bytes", "gauge", "bytes of all lines as they are stored",
         s.disk_bytes},
        {"compressed", "evfs_log_compressed_segments", "gauge", "segments that are compressed",
         s.compressed},
        {"unpacked_bytes", "evfs_unpacked_bytes", "gauge",
         "memory with lines of compressed segments", s.unpacked_bytes},
        {"state_bytes", "evfs_state_bytes", "gauge", "memory with states that are kept",
         s.state_bytes},
        {"schema_bytes", "evfs_schema_bytes", "gauge", "memory with what is learned of types",
         s.schema_bytes},
        {"appended", "evfs_appended_total", "counter", "events appended since the mount",
         s.appended},
        {"repeated", "evfs_repeated_total", "counter", "repeats that stored nothing, by id",
         s.repeated},
        {"rejected", "evfs_rejected_total", "counter", "values refused since the mount",
         s.rejected},
        {"pins", "evfs_pinned_schemas", "gauge", "schemas that are pinned", s.pins},
        {"schema_refused", "evfs_schema_refused_total", "counter",
         "events refused by a pinned schema since the mount", s.schema_refused},
        {"schema_warned", "evfs_schema_warned_total", "counter",
         "events stored though they break a pinned schema, since the mount", s.schema_warned},
        {"transactions", "evfs_transactions_total", "counter", "transactions since the mount",
         s.transactions},
        {"batches", "evfs_batches_total", "counter", "batches written since the mount", s.batches},
        {"syncs", "evfs_syncs_total", "counter", "fdatasyncs of the log since the mount", s.syncs},
        {"pending_bytes", "evfs_pending_bytes", "gauge", "bytes of unfinished values",
         s.pending_bytes},
        {"writers", "evfs_writers", "gauge", "files open for appending", s.writers},
        {"index_bytes", "evfs_index_bytes", "gauge", "memory of the index", s.index_bytes},
        {"names_bytes", "evfs_names_bytes", "gauge", "of it, names", s.names_bytes},
        {"id_bytes", "evfs_id_bytes", "gauge", "memory of writers' ids", s.id_bytes},
        {"virtual_names", "evfs_virtual_names", "gauge", "names the kernel knows that began unreal",
         r->names},
        {"leases", "evfs_attribute_leases", "gauge", "attributes the kernel keeps", r->leases},
        {"open_files", "evfs_open_files", "gauge", "open files", r->files},
        {"read_only", "evfs_read_only", "gauge", "1 after an error of the disk, or by option",
         s.read_only},
        {"clock_behind_us", NULL, NULL, NULL,
         s.clock_behind_us > 0 ? (uint64_t)s.clock_behind_us : 0},
        {"opened_us", NULL, NULL, NULL, s.opened_us > 0 ? (uint64_t)s.opened_us : 0},
        {"newest_us", NULL, NULL, NULL, s.newest_us > 0 ? (uint64_t)s.newest_us : 0},
    };
    static_assert(sizeof all == NUMBERS * sizeof *all, "the table has NUMBERS rows");
    memcpy(out, all, sizeof all);
    return NUMBERS;
}

static void print_stats(FILE *f, const struct docs_reader *r)
{
    struct number all[NUMBERS];
    struct evs_stats s = {0};
    size_t n = numbers(r, all);

    evs_stats(r->st, &s);
    fprintf(f, "{\"version\":\"%s\"", evs_version());
    for (size_t i = 0; i < n; i++) {
        if (strcmp(all[i].json, "read_only") == 0)
            fprintf(f, ",\"%s\":%s", all[i].json, all[i].value ? "true" : "false");
        else
            fprintf(f, ",\"%s\":%" PRIu64, all[i].json, all[i].value);
    }
    fprintf(f, ",\"io_uring\":%s", r->rings ? "true" : "false");
    if (s.chained)
        fprintf(f, ",\"sealed\":{\"events\":%" PRIu64 ",\"sha256\":\"%s\"}", s.chained, s.sha256);
    fputs("}\n", f);
}

/* Prometheus' text format 0.0.4: base units, so times are seconds. */
static void print_metrics(FILE *f, const struct docs_reader *r)
{
    struct number all[NUMBERS];
    size_t n = numbers(r, all);
    char health[HEALTH_BYTES];
    bool ok = evs_health(r->st, health, sizeof health) == 0;
    static const char *const seconds[][2] = {
        {"clock_behind_us", "evfs_clock_behind_seconds"},
        {"newest_us", "evfs_newest_event_timestamp_seconds"},
        {"opened_us", "evfs_start_time_seconds"},
    };

    fprintf(f,
            "# HELP evfs_info the program\n# TYPE evfs_info gauge\nevfs_info{version=\"%s\"} 1\n",
            evs_version());
    fprintf(
        f,
        "# HELP evfs_healthy 1 if .evfs/health is ok\n# TYPE evfs_healthy gauge\nevfs_healthy %d\n",
        ok);
    for (size_t i = 0; i < n; i++) {
        const char *name = all[i].metric;
        if (name) {
            fprintf(f, "# HELP %s %s\n# TYPE %s %s\n%s %" PRIu64 "\n", name, all[i].help, name,
                    all[i].type, name, all[i].value);
            continue;
        }
        for (size_t j = 0; j < sizeof seconds / sizeof *seconds; j++) {
            if (strcmp(seconds[j][0], all[i].json) == 0)
                fprintf(f, "# TYPE %s gauge\n%s %" PRIu64 ".%06" PRIu64 "\n", seconds[j][1],
                        seconds[j][1], all[i].value / 1000000, all[i].value % 1000000);
        }
    }
}

static int printed(const struct docs_reader *r, void (*print)(FILE *f, const struct docs_reader *r),
                   char **ret, size_t *ret_n)
{
    char *text = NULL;
    size_t n = 0;
    FILE *f = open_memstream(&text, &n);

    if (!f)
        return -ENOMEM;
    print(f, r);
    if (fclose(f) != 0 || !text) {
        free(text);
        return -ENOMEM;
    }
    *ret = text;
    *ret_n = n;
    return 0;
}

static int pin_doc(struct evs_store *st, const struct node *n, char **ret, size_t *ret_n)
{
    struct node_names nm;

    node_names(st, n, &nm);
    struct evs_dir d = tree_dir(n, &nm);
    return node_traits(n->kind)->text ? evs_pin_text(st, &d, ret, ret_n, NULL)
                                      : evs_pin_refusal(st, &d, ret, ret_n, NULL);
}

int docs_make(const struct docs_reader *r, const struct node *n, char **ret, size_t *ret_n)
{
    char health[HEALTH_BYTES];
    char *text = NULL;
    size_t text_n = 0;
    int got;

    switch (n->kind) {
    case NODE_README:
        return copy(readme, ret, ret_n);
    case NODE_HEALTH:
        /* Borders are no fault, but who wonders why a file is closed finds the reason here: by name who
         * would see those directories anyway. */
        (void)evs_health(r->st, health, sizeof health);
        text_n = strlen(health);
        (void)evs_borders(r->st, r->sees_all, health + text_n, sizeof health - text_n);
        return copy(health, ret, ret_n);
    case NODE_STATS:
        return printed(r, print_stats, ret, ret_n);
    case NODE_METRICS:
        return printed(r, print_metrics, ret, ret_n);
    case NODE_HOTPATH:
        return evs_hotpath(ret, ret_n);
    case NODE_REJECTED:
        got = evs_rejected(r->st, r->sees_all, r->uid, &text, &text_n, NULL);
        break;
    case NODE_TYPE_PIN:
    case NODE_DIR_PIN:
    case NODE_TYPE_REFUSAL:
    case NODE_DIR_REFUSAL:
        got = pin_doc(r->st, n, &text, &text_n);
        break;
    case NODE_SCHEMA:
    case NODE_VERSION:
        got = evs_schema(r->st, n->type, n->entity, &text, &text_n, NULL);
        break;
    case NODE_CHANGES:
        got = evs_schema_changes(r->st, n->type, &text, &text_n, NULL);
        break;
    case NODE_TYPE_README:
        got = evs_schema_readme(r->st, n->type, &text, &text_n, NULL);
        break;
    case NODE_STATE:
        got = n->entity ? evs_state(r->st, n->entity, &text, &text_n, NULL) : -ENOENT;
        break;
    default:
        return -EINVAL;
    }
    if (got < 0)
        return got;
    if (!text)
        return copy("", ret, ret_n);
    *ret = text;
    *ret_n = text_n;
    return 0;
}
