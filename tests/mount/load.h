/* SPDX-License-Identifier: MIT */
/* load: many clients of one mount for some time. What its files share. Everything that the clients count is
 * in memory that all processes share. A client that meets what must not be says so and ends the run. */
#ifndef LOAD_H
#define LOAD_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#define CLIENTS 16
/* What the daemon has for a name, or for attributes, that the kernel knows, with the slots of hash tables:
 * it ends when the kernel forgets them, which it does when memory gets short. */
#define NAME_BYTES 224u

/* What is timed: one row of load.c's table each. */
enum op {
    OP_APPEND,
    OP_ECHO,
    OP_TX,
    OP_FSYNC,
    OP_DSYNC,
    OP_BULK,
    OP_NEW,
    OP_REFUSED,
    OP_READ,
    OP_CAT,
    OP_WAKE,
    OP_STAT,
    OP_LIST,
    OP_STATE,
    OP_CHMOD,
    OP_MAP,
    OP_STATS,
    OPS
};

/* Latencies in buckets of a 16th of a power of two of nanoseconds. */
#define BUCKETS (64 * 16)
struct times {
    _Atomic uint64_t n, max_ns;
    _Atomic uint32_t in[BUCKETS];
};

struct shared {
    _Atomic bool stop, failed;
    _Atomic uint64_t acked[CLIENTS]; /* events whose write(2) was taken; numbered from 0 */
    _Atomic uint64_t seen_by_tail;   /* lines that the follower has read */
    struct times times[OPS];
};

extern struct shared *shared; /* load.c */
extern const char *root;      /* of the mount */

_Noreturn void give_up(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
uint64_t clock_ns(void);

/* load_clients.c: what client i does until shared->stop. */
void client(int i);
const char *client_name(int i);
void took(enum op op, uint64_t since_ns);

/* load_watch.c: the daemon's figures. */
struct daemon_now {
    uint64_t anonymous, rss, index, files, tasks, events, open_files;
    uint64_t names;    /* and attributes that the kernel knows */
    uint64_t caches;   /* bytes of lines out of compressed segments, and of states, that are kept */
    uint64_t expected; /* bytes that index, caches and names account for */
};
void watch_look(pid_t daemon, struct daemon_now *ret);
/* Every acknowledged event is in events.jsonl once and in its writer's order, and none besides; seq has no
 * gap. Returns how many. */
uint64_t watch_check(void);

#endif
