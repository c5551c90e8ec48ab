/* SPDX-License-Identifier: MIT */
/* lock: the roles that guard fields and functions, for clang's -Wthread-safety; empty for gcc.
 *
 * Lock order, all of it: writer (one open file), checkpoint, pins, owners or schemas -> commit -> meta; pins come before
 * owners. No callback, no SQL, no reply to the kernel under commit. Reports are taken after commit is dropped, and
 * evs_on_change()'s callback runs under it. Readers take none of them. */
#ifndef STORE_LOCK_H
#define STORE_LOCK_H

#if defined(__clang__)
#define LOCK_ATTR(x) __attribute__((x))
#else
#define LOCK_ATTR(x)
#endif

struct LOCK_ATTR(capability("role")) lock_role {
    char unused;
};
extern struct lock_role commit_role; /* declared, never defined: only the analysis knows it */

#define NEEDS_COMMIT LOCK_ATTR(requires_capability(commit_role))
#define UNDER_COMMIT LOCK_ATTR(guarded_by(commit_role))
#define TAKES_COMMIT LOCK_ATTR(acquire_capability(commit_role)) LOCK_ATTR(no_thread_safety_analysis)
#define DROPS_COMMIT LOCK_ATTR(release_capability(commit_role)) LOCK_ATTR(no_thread_safety_analysis)
#define UNANALYSED   LOCK_ATTR(no_thread_safety_analysis)

#endif
