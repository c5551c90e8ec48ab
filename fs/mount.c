/* SPDX-License-Identifier: MIT */
/* The life of a mount: fork, open the store, mount, tell the parent, serve, unmount, close the store.
 *
 * (1) The fork is first: the store and libfuse have threads and locks that don't survive one. The parent
 *     waits until the mount works or has failed, so the exit status and the message reach the terminal.
 * (2) Signals are blocked while threads are made, so only the main thread gets them: SIGTERM, SIGINT and
 *     SIGHUP end the session as umount does.
 * (3) At the end: no more requests, then the pool's last tasks, then open files, then the store. What was
 *     acknowledged is in the log long before; a clean end only saves the next open some time. */
#include "mount.h"

#include "fs/fs.h"
#include "fs/loop.h"
#include "fs/place.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <syslog.h>
#include <time.h>
#include <unistd.h>

#define POOL_THREADS 4
#define RING_DEPTH                                                                                 \
    "32" /* requests a processor: those that wait for a sync or a document hold one each */
#define RING_SWITCH "/sys/module/fuse/parameters/enable_uring"
#define READY       "ready" /* what the child says when it has mounted */

static bool to_syslog; /* set once, before there are threads */

void fs_log(int level, const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    if (to_syslog) {
        vsyslog(level, fmt, ap);
    } else {
        flockfile(stderr);
        fputs("evfs: ", stderr);
        vfprintf(stderr, fmt, ap);
        fputc('\n', stderr);
        funlockfile(stderr);
    }
    va_end(ap);
}

/* The first of each kind: a store that is broken says so to every writer, and once to the operator. */
void fs_log_error(const char *doing, const struct evs_error *err)
{
    static _Atomic bool said[EVS_REASON_COUNT];
    char text[512];

    switch (err->why) {
    case EVS_SYSTEM:
    case EVS_READ_ONLY:
    case EVS_DISK_FULL:
    case EVS_NO_MEMORY:
    case EVS_DAMAGED:
        break;
    default:
        return;
    }
    if (!atomic_exchange_explicit(&said[err->why], true, memory_order_relaxed))
        fs_log(LOG_ERR, "%s: %s", doing, evs_error_format(err, text, sizeof text));
}

static void log_fuse(enum fuse_log_level level, const char *fmt, va_list ap)
    __attribute__((format(printf, 2, 0)));

static void log_fuse(enum fuse_log_level level, const char *fmt, va_list ap)
{
    if (to_syslog)
        vsyslog((int)level, fmt, ap); /* the levels are syslog's */
    else
        vfprintf(stderr, fmt, ap);
}

static void invalidate(void *arg, uint64_t id)
{
    struct fs *fs = arg;

    /* ENOENT: the kernel has not got it any more. Always (-1, 0), attributes only: a range of data waits
     * for page locks and so for the thread that would serve them. */
    (void)fuse_lowlevel_notify_inval_inode(fs->se, id, -1, 0);
}

static void wake(void *arg, void *handle)
{
    (void)arg;
    (void)fuse_lowlevel_notify_poll(handle);
    fuse_pollhandle_destroy(handle);
}

static void drop(void *arg, void *handle)
{
    (void)arg;
    fuse_pollhandle_destroy(handle);
}

static void op_init(void *arg, struct fuse_conn_info *conn)
{
    static const unsigned off = FUSE_CAP_SPLICE_READ | FUSE_CAP_SPLICE_WRITE |
                                FUSE_CAP_SPLICE_MOVE | FUSE_CAP_ASYNC_DIO |
                                FUSE_CAP_EXPLICIT_INVAL_DATA | FUSE_CAP_WRITEBACK_CACHE;
    static const unsigned on = FUSE_CAP_ATOMIC_O_TRUNC | FUSE_CAP_READDIRPLUS |
                               FUSE_CAP_READDIRPLUS_AUTO | FUSE_CAP_PARALLEL_DIROPS |
                               FUSE_CAP_AUTO_INVAL_DATA;

    (void)arg;
    conn->want = (conn->want & ~off) | (conn->capable & on);
    if (conn->max_write > FS_WRITE_BYTES)
        conn->max_write = FS_WRITE_BYTES;
    if (conn->max_readahead > FS_WRITE_BYTES)
        conn->max_readahead = FS_WRITE_BYTES;
}

static struct fuse_lowlevel_ops operations(void)
{
    struct fuse_lowlevel_ops ops = {
        .init = op_init,
        .lookup = op_lookup,
        .forget = op_forget,
        .forget_multi = op_forget_multi,
        .getattr = op_getattr,
        .setattr = op_setattr,
        .statfs = op_statfs,
        .readdir = op_readdir,
        .readdirplus = op_readdirplus,
        .mkdir = op_mkdir,
        .rmdir = op_rmdir,
        .unlink = op_unlink,
        .open = op_open,
        .create = op_create,
        .release = op_release,
        .read = op_read,
        .write = op_write,
        .flush = op_flush,
        .fsync = op_fsync,
        .fsyncdir = op_fsyncdir,
        .poll = op_poll,
    };

    ops_refuse(&ops);
    return ops;
}

/* ---- one mount ---- */

struct mount {
    const struct mount_options *o;
    char *data, *mountpoint; /* absolute: a daemon leaves its directory */
    struct fs fs;
    bool mounted, signals;
    char failure[1024]; /* what to tell the user */
};

static int fail(struct mount *m, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

static int fail(struct mount *m, const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    (void)vsnprintf(m->failure, sizeof m->failure, fmt, ap);
    va_end(ap);
    return -1;
}

static int open_store(struct mount *m)
{
    const struct mount_options *o = m->o;
    struct evs_options options = {.read_only = o->read_only,
                                  .sync_interval_ms = o->sync_interval_ms,
                                  .segment_bytes = o->segment_bytes,
                                  .compress = o->compress,
                                  .no_schemas = o->no_schemas};
    struct lease_ops lease = {.invalidate = invalidate, .wake = wake, .drop = drop, .arg = &m->fs};
    struct fs *fs = &m->fs;
    struct evs_error err;
    char text[512];
    struct timespec now;
    int waited_ms = 0, r;

    do
        r = evs_open(m->data, &options, &fs->st, &err);
    while (r < 0 && place_ending(m->data, &err, &waited_ms));
    if (r < 0 && strcmp(err.detail, m->data) == 0)
        err.detail[0] = '\0'; /* it stands before it anyway */
    if (r < 0)
        return fail(m, "%s: %s", m->data, evs_error_format(&err, text, sizeof text));
    (void)clock_gettime(CLOCK_REALTIME, &now);
    fs->start_us = now.tv_sec * 1000000ll + now.tv_nsec / 1000;
    fs->strict = o->strict;
    fs->sync = o->sync;
    fs->read_only = o->read_only;
    fs->owner = getuid();
    pthread_mutex_init(&fs->owners_lock, NULL);
    pthread_rwlock_init(&fs->settling, NULL);
    pthread_mutex_init(&fs->files_lock, NULL);
    fs->file_quota.whole = QUOTA_FILES;
    fs->doc_quota.whole = QUOTA_DOC_BYTES;
    pthread_mutex_init(&fs->syncs.lock, NULL);
    fs->nodes = nodes_new(fs->st);
    fs->leases = fs->nodes ? lease_new(fs->st, fs->nodes, &lease) : NULL;
    fs->pool = pool_new(POOL_THREADS);
    fs->sync_pool = pool_new(1);
    if (!fs->leases || !fs->pool || !fs->sync_pool)
        return fail(m, "no memory or no threads");
    evs_on_change(fs->st, lease_on_change, fs->leases);
    return 0;
}

static int add_option(struct fuse_args *args, char **all, const char *name, const char *value)
{
    char text[PATH_MAX + 32];

    (void)args;
    (void)snprintf(text, sizeof text, "%s%s%s", name, value ? "=" : "", value ? value : "");
    return fuse_opt_add_opt_escaped(all, text);
}

/* Can requests come by io_uring? Where not, it is said why, and they come as ever. */
static bool rings(void)
{
#ifdef EVFS_IO_URING
    char c = 'N';
    int fd = open(RING_SWITCH, O_RDONLY | O_CLOEXEC);

    if (fd >= 0) {
        (void)!read(fd, &c, 1);
        (void)close(fd);
    }
    if (c != 'Y')
        fs_log(LOG_WARNING, "io_uring: the kernel %s: going on without",
               fd < 0 ? "is too old for it (Linux 6.14)" : "has it switched off (" RING_SWITCH ")");
    return c == 'Y';
#else
    fs_log(LOG_WARNING, "io_uring: this evfs is built with a libfuse without it "
                        "(scripts/build-libfuse): going on without");
    return false;
#endif
}

static int mount_args(struct mount *m, struct fuse_args *args)
{
    const struct mount_options *o = m->o;
    char *all = NULL;
    int r = fuse_opt_add_arg(args, "evfs");

    r |= add_option(args, &all, "fsname", m->data);
    r |= add_option(args, &all, "subtype", "evfs");
    r |= add_option(args, &all, "default_permissions", NULL);
    if (o->allow_other || getuid() == 0)
        r |= add_option(args, &all, "allow_other", NULL);
    if (o->read_only)
        r |= add_option(args, &all, "ro", NULL);
    if (o->debug)
        r |= add_option(args, &all, "debug", NULL);
    if (o->io_uring && rings()) {
        r |= add_option(args, &all, "io_uring", NULL);
        r |= add_option(args, &all, "io_uring_q_depth", RING_DEPTH);
        m->fs.rings = true;
    }
    r |= fuse_opt_add_arg(args, "-o");
    r |= all ? fuse_opt_add_arg(args, all) : -1;
    free(all);
    return r ? fail(m, "no memory") : 0;
}

static int start_session(struct mount *m)
{
    struct fuse_args args = FUSE_ARGS_INIT(0, NULL);
    const struct fuse_lowlevel_ops ops = operations();
    int r = mount_args(m, &args);

    (void)unsetenv("FUSE_URING_ENABLE"); /* would be rings that nobody here knows of */
    if (r == 0)
        m->fs.se = fuse_session_new(&args, &ops, sizeof ops, &m->fs);
    fuse_opt_free_args(&args);
    if (r < 0)
        return r;
    if (!m->fs.se)
        return fail(m, "libfuse refuses the options");
    if (fuse_set_signal_handlers(m->fs.se) != 0)
        return fail(m, "signal handlers can't be set");
    m->signals = true;
    if (fuse_session_mount(m->fs.se, m->mountpoint) != 0)
        return fail(m,
                    "%s: can't be mounted (see the line above; is /dev/fuse there, and are you "
                    "allowed to?)",
                    m->mountpoint);
    m->mounted = true;
    return 0;
}

/* libfuse's own loop is the one that knows rings. */
static int serve_rings(const struct mount *m)
{
    struct fuse_loop_config *cfg = fuse_loop_cfg_create();

    if (!cfg)
        return -ENOMEM;
    if (m->o->max_threads)
        fuse_loop_cfg_set_max_threads(cfg, m->o->max_threads);
    int r = fuse_session_loop_mt(m->fs.se, cfg); /* a signal's number is no failure */
    fuse_loop_cfg_destroy(cfg);
    return r;
}

static int serve(struct mount *m)
{
    const unsigned threads = m->o->max_threads ? m->o->max_threads : LOOP_THREADS_DEFAULT;
    int r = m->fs.rings ? serve_rings(m) : loop_run(m->fs.se, threads);

    return r < 0 ? fail(m, "the session failed: %s", strerror(-r)) : 0;
}

static int end(struct mount *m)
{
    struct fs *fs = &m->fs;
    struct evs_error err;
    char text[512];
    int r = 0;

    if (m->signals)
        fuse_remove_signal_handlers(fs->se);
    if (m->mounted)
        fuse_session_unmount(fs->se);
    pool_stop(fs->pool);
    pool_stop(fs->sync_pool);
    while (fs->files)
        file_free(fs->files);
    quota_done(&fs->file_quota);
    quota_done(&fs->doc_quota);
    if (fs->se)
        fuse_session_destroy(fs->se);
    lease_free(fs->leases);
    nodes_free(fs->nodes);
    if (fs->st && evs_close(fs->st, &err) < 0) {
        fs_log(LOG_ERR, "%s: closing: %s", m->data, evs_error_format(&err, text, sizeof text));
        r = -1;
    }
    return r;
}

/* Open and mount; *told (a pipe to the parent, or -1) gets READY, or the failure. */
static int run(struct mount *m, int told)
{
    sigset_t ours, before;
    int r;

    sigemptyset(&ours); /* no others: a SIGBUS that is blocked kills */
    sigaddset(&ours, SIGTERM);
    sigaddset(&ours, SIGINT);
    sigaddset(&ours, SIGHUP);
    (void)pthread_sigmask(SIG_BLOCK, &ours, &before);
    r = open_store(m);
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (r == 0)
        r = start_session(m);
    if (r == 0 && told >= 0) {
        int null = open("/dev/null", O_RDWR | O_CLOEXEC);
        if (null >= 0) {
            (void)dup2(null, STDIN_FILENO);
            (void)dup2(null, STDOUT_FILENO);
            (void)dup2(null, STDERR_FILENO);
            if (null > STDERR_FILENO)
                (void)close(null);
        }
        openlog("evfs", LOG_PID, LOG_DAEMON);
        to_syslog = true;
        if (write(told, READY, strlen(READY)) < 0)
            fs_log(LOG_WARNING, "the starter is gone");
        (void)close(told);
        told = -1;
    }
    if (r == 0)
        r = serve(m);
    if (r < 0 && told >= 0)
        (void)!write(told, m->failure, strlen(m->failure)); /* then the parent says that we died */
    else if (r < 0)
        fs_log(LOG_ERR, "%s", m->failure);
    if (end(m) < 0)
        r = -1;
    return r < 0 ? 1 : 0;
}

/* The parent: wait for what the child says. */
static int wait_for(int fd)
{
    char said[1024];
    size_t n = 0;
    ssize_t r;

    while (n < sizeof said - 1) {
        r = read(fd, said + n, sizeof said - 1 - n);
        if (r < 0 && errno == EINTR)
            continue;
        if (r <= 0)
            break;
        n += (size_t)r;
    }
    said[n] = '\0';
    if (strcmp(said, READY) == 0)
        return 0;
    fs_log(LOG_ERR, "mount: %s", n ? said : "the daemon died before it had mounted");
    return 1;
}

static int daemonize(struct mount *m)
{
    int fds[2];
    pid_t pid;

    if (pipe2(fds, O_CLOEXEC) < 0 || (pid = fork()) < 0) {
        fs_log(LOG_ERR, "mount: can't start a daemon: %s", strerror(errno));
        return 1;
    }
    if (pid > 0) {
        (void)close(fds[1]);
        int r = wait_for(fds[0]);
        (void)close(fds[0]);
        return r;
    }
    (void)close(fds[0]);
    (void)setsid();
    if (chdir("/") < 0)
        fs_log(LOG_WARNING, "chdir: %s", strerror(errno)); /* keeps a directory busy, no more */
    _exit(run(m, fds[1]));
}

/* Each of the newest segments has two, and cancelling a thread opens a library: with too few, the C
 * library ends the process. */
enum { FILES_MIN = 64 };

static int raise_files(void)
{
    struct rlimit l;

    if (getrlimit(RLIMIT_NOFILE, &l) < 0)
        return 0;
    if (l.rlim_cur < l.rlim_max) {
        l.rlim_cur = l.rlim_max;
        (void)setrlimit(RLIMIT_NOFILE, &l); /* the old limit will do for most */
        (void)getrlimit(RLIMIT_NOFILE, &l);
    }
    if (l.rlim_cur >= FILES_MIN)
        return 0;
    fs_log(LOG_ERR, "mount: at most %llu open files are allowed, %d are needed: see 'ulimit -n'",
           (unsigned long long)l.rlim_cur, FILES_MIN);
    return 1;
}

static char *absolute(const char *path)
{
    char cwd[PATH_MAX], *ret = NULL;

    if (path[0] == '/' || strcmp(path, ":memory:") == 0)
        return strdup(path);
    if (!getcwd(cwd, sizeof cwd) || asprintf(&ret, "%s/%s", cwd, path) < 0)
        return NULL;
    return ret;
}

int evfs_mount(const struct mount_options *o)
{
    struct mount m = {.o = o, .data = absolute(o->data)};
    int r = place_check(o->mountpoint, &m.mountpoint);

    if (r == 0 && !m.data) {
        fs_log(LOG_ERR, "mount: no memory");
        r = 1;
    }
    if (r == 0)
        r = raise_files();
    if (r == 0) {
        fuse_set_log_func(log_fuse);
        r = o->foreground || o->debug ? run(&m, -1) : daemonize(&m);
    }
    free(m.data);
    free(m.mountpoint);
    return r;
}
