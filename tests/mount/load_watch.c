/* SPDX-License-Identifier: MIT */
/* What load.c looks at: the daemon in /proc and in its own statistics, and the whole of events.jsonl at the
 * end. Nothing here is believed that could not be read: a figure that is missing ends the run. */
#include "load.h"

#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static size_t slurp(const char *path, char *buf, size_t cap)
{
    FILE *f = fopen(path, "re");
    size_t n = f ? fread(buf, 1, cap - 1, f) : 0;

    if (!f || n == 0)
        give_up("%s: %s", path, f ? "empty" : strerror(errno));
    (void)fclose(f);
    buf[n] = '\0';
    return n;
}

static uint64_t number_after(const char *text, const char *name)
{
    const char *p = strstr(text, name);

    if (!p)
        give_up("no %s", name);
    p += strlen(name);
    return strtoull(p + strspn(p, " :"), NULL, 10);
}

static uint64_t count_entries(const char *path)
{
    DIR *d = opendir(path);
    uint64_t n = 0;

    if (!d)
        give_up("%s: %s", path, strerror(errno));
    while (readdir(d))
        n++;
    (void)closedir(d);
    return n - 2; /* . and .. */
}

void watch_look(pid_t daemon, struct daemon_now *ret)
{
    char path[4096], text[16384];

    (void)snprintf(path, sizeof path, "/proc/%d/smaps_rollup", (int)daemon);
    (void)slurp(path, text, sizeof text);
    ret->anonymous = number_after(text, "\nAnonymous:") << 10;
    ret->rss = number_after(text, "\nRss:") << 10;
    (void)snprintf(path, sizeof path, "/proc/%d/fd", (int)daemon);
    ret->files = count_entries(path);
    (void)snprintf(path, sizeof path, "/proc/%d/task", (int)daemon);
    ret->tasks = count_entries(path);
    (void)snprintf(path, sizeof path, "%s/.evfs/stats.json", root);
    (void)slurp(path, text, sizeof text);
    ret->events = number_after(text, "\"events\"");
    ret->index = number_after(text, "\"index_bytes\"") + number_after(text, "\"id_bytes\"");
    ret->open_files = number_after(text, "\"open_files\"");
    ret->names = number_after(text, "\"virtual_names\"") + number_after(text, "\"leases\"");
    ret->caches = number_after(text, "\"unpacked_bytes\"") + number_after(text, "\"state_bytes\"");
    ret->expected = ret->index + ret->caches + ret->names * NAME_BYTES;
}

/* Numbers of one line; false where it is none of a client's. */
static bool parse(const char *line, uint64_t *seq, unsigned *c, uint64_t *n)
{
    const char *data = strstr(line, "\"data\":{\"c\":");
    char *end;

    if (strncmp(line, "{\"seq\":", 7) != 0 || !data)
        return false;
    *seq = strtoull(line + 7, NULL, 10);
    *c = (unsigned)strtoul(data + 12, &end, 10);
    if (strncmp(end, ",\"n\":", 5) != 0)
        return false;
    *n = strtoull(end + 5, NULL, 10);
    return *c < CLIENTS;
}

uint64_t watch_check(void)
{
    char path[4096], *line = NULL;
    size_t cap = 0;
    uint64_t seen[CLIENTS] = {0}, lines = 0, seq, n;
    unsigned c;

    (void)snprintf(path, sizeof path, "%s/events.jsonl", root);
    FILE *f = fopen(path, "re");
    if (!f)
        give_up("%s: %s", path, strerror(errno));
    (void)setvbuf(f, NULL, _IOFBF, 1 << 20);
    while (getline(&line, &cap, f) > 0) {
        lines++;
        if (!parse(line, &seq, &c, &n))
            give_up("line %" PRIu64 " is of no client: %.300s", lines, line);
        if (seq != lines)
            give_up("line %" PRIu64 " has seq %" PRIu64, lines, seq);
        if (n != seen[c])
            give_up("client %u: event %" PRIu64 " stands where %" PRIu64 " belongs", c, n, seen[c]);
        seen[c]++;
    }
    if (ferror(f))
        give_up("%s: %s", path, strerror(errno));
    (void)fclose(f);
    free(line);
    for (unsigned i = 0; i < CLIENTS; i++) {
        uint64_t acked = atomic_load_explicit(&shared->acked[i], memory_order_relaxed);
        if (acked != seen[i])
            give_up("client %u (%s): %" PRIu64 " acknowledged, %" PRIu64 " stored", i,
                    client_name((int)i), acked, seen[i]);
    }
    /* It stopped at the end of the file with the others: all but what came after is seen. */
    uint64_t tail = atomic_load_explicit(&shared->seen_by_tail, memory_order_relaxed);
    if (tail > lines || tail == 0)
        give_up("the follower saw %" PRIu64 " of %" PRIu64 " events", tail, lines);
    return lines;
}
