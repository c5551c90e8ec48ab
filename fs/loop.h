/* SPDX-License-Identifier: MIT */
/* loop: the threads that take requests from /dev/fuse and serve them. */
#ifndef FS_LOOP_H
#define FS_LOOP_H

#define LOOP_THREADS_DEFAULT 10u /* as many as libfuse has */
#define LOOP_THREADS_MAX     64u

struct fuse_session;

/* Serve se by at most so many threads (1 to LOOP_THREADS_MAX) until it is unmounted, a signal ends it
 * (fuse_set_signal_handlers()), or fuse_session_exit() was called by one of the threads. To be called by one thread, in
 * which those signals arrive. 0, or a negative errno: no thread could be started, or reading requests failed. */
int loop_run(struct fuse_session *se, unsigned threads);

#endif
