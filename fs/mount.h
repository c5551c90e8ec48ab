/* SPDX-License-Identifier: MIT */
/* mount: a store as a filesystem: from options to the end of the session. */
#ifndef FS_MOUNT_H
#define FS_MOUNT_H

#include <stdbool.h>
#include <stdint.h>

struct mount_options {
    const char *data;       /* directory of the store, or ":memory:" */
    const char *mountpoint; /* an existing directory */
    bool foreground;        /* else a daemon, once the mount works */
    bool strict;            /* unknown directories are ENOENT, mkdir makes them */
    bool sync;              /* every append is durable before write(2) returns */
    bool allow_other;       /* for root it is so anyway */
    bool read_only;
    bool debug;                /* libfuse prints every request; implies foreground */
    uint32_t sync_interval_ms; /* 0: the store's default; UINT32_MAX: never */
    uint64_t segment_bytes;    /* 0: the store's default */
    bool io_uring;             /* requests through rings where libfuse and the kernel can */
    int compress;              /* level; 0: the store's default; -1: off */
    bool no_schemas;           /* none are learned */
    unsigned max_threads;      /* up to LOOP_THREADS_MAX; 0: the default */
};

/* Mount and serve. In the foreground it returns after the unmount; else when the daemon has mounted, or has
 * failed. 0, or 1 after a message on stderr. */
int evfs_mount(const struct mount_options *o);

#endif
