/* SPDX-License-Identifier: MIT */
/* hotpath: how long the parts of appending and reading take. HOT(NAME) at the head of a block is a span up to its end:
 * a pair of probes for perf and bpftrace (USDT, evfs:NAME__begin and evfs:NAME__end: a no-op each until somebody
 * attaches), and, with -Dhotpath=true, a count and a histogram for .evfs/hotpath.json. With neither it is
 * nothing. Spans nest: the time of an inner one is in that of the outer ones, too. */
#ifndef STORE_HOTPATH_H
#define STORE_HOTPATH_H

#include <stdint.h>

/* X(name, where it is, what it is) */
#define HOT_SPANS(X)                                                                               \
    X(write, "", "evs_write(): all of an append but waiting to be durable")                        \
    X(scan, "write", "take values apart, up to a batch of them")                                   \
    X(prepare, "write", "check names, places and rights; look names up")                           \
    X(shapes, "prepare", "shapes of data, looked up among those of its type")                      \
    X(wait, "write", "wait for the commit lock")                                                   \
    X(commit, "write", "with the commit lock: from decided to published")                          \
    X(decide, "commit", "versions, repeats, expected_version")                                     \
    X(lines, "commit", "format lines and their checksums")                                         \
    X(log, "lines", "copy lines into the segment, and their records")                              \
    X(apply, "commit", "put them into the index")                                                  \
    X(report, "write", "tell those who wait for a view to grow")                                   \
    X(sync, "", "one fdatasync of a segment")                                                      \
    X(durable, "", "wait until an event is durable")                                               \
    X(read, "", "one read of a view")                                                              \
    X(state, "", "state.json")                                                                     \
    X(checkpoint, "", "write the checkpoint")

enum hot_span {
#define X(name, in, text) HOT_##name,
    HOT_SPANS(X)
#undef X
        HOT_SPAN_COUNT
};

#ifdef EVFS_USDT
#include <sys/sdt.h>
#define HOT_PROBE(name, at) DTRACE_PROBE(evfs, name##__##at)
#else
#define HOT_PROBE(name, at) ((void)0)
#endif

#ifdef EVFS_HOTPATH
struct hot_running {
    enum hot_span span;
    uint64_t begin;
};
uint64_t hot_ticks(void);
void hot_add(enum hot_span span, uint64_t ticks);
#define HOT_BEGIN(name)                                                                            \
    {                                                                                              \
        HOT_##name, hot_ticks()                                                                    \
    }
#define HOT_END(r) hot_add((r)->span, hot_ticks() - (r)->begin)
#else
struct hot_running {
    char unused; /* no more than a place for the end of the block: nothing is stored in it */
};
#define HOT_BEGIN(name)                                                                            \
    {                                                                                              \
        0                                                                                          \
    }
#define HOT_END(r) ((void)(r))
#endif

#define X(name, in, text)                                                                          \
    static inline void hot_end_##name(const struct hot_running *r)                                 \
    {                                                                                              \
        HOT_END(r);                                                                                \
        HOT_PROBE(name, end);                                                                      \
    }
HOT_SPANS(X)
#undef X

#define HOT(name)                                                                                  \
    HOT_PROBE(name, begin);                                                                        \
    __attribute__((cleanup(hot_end_##name), unused)) const struct hot_running hot_##name =         \
        HOT_BEGIN(name)

#endif
