/* SPDX-License-Identifier: MIT */
/* posix MOUNT GROUP: what POSIX asks of a filesystem, as far as it fits one whose files only grow. The cases
 * are those of pjdfstest, of xfstests and of LTP, by their semantics; the code is ours.
 *
 * Ported, from pjdfstest (a group's cases stand in its function): the errnos of open, mkdir, rmdir, unlink,
 * rename, link, symlink, mknod, mkfifo, truncate, ftruncate, chmod, chown, utimensat, posix_fallocate for
 *   ENOTDIR (*_01), ENAMETOOLONG (*_02, *_03), ENOENT (*_04), EACCES by search and write permission (*_05,
 *   *_06), ELOOP (open_12, open_16: by O_NOFOLLOW), EISDIR (open_13), EROFS (*_14 to *_16), EXDEV (link_14,
 *   rename_15), EBUSY and EINVAL of rmdir (rmdir_12, _13), ENOTEMPTY (rmdir_06), EEXIST (open_22, mkdir_10),
 *   EPERM of append-only files (open_10, _11, unlink_10, rename_06, _07, link_12, truncate_08, ftruncate_08,
 *   chmod_08, chown_08 for SF_APPEND), EPERM of who is not the owner (chmod_07, chown_07, utimensat_06,
 *   _07), EFAULT (*_10, *_21); mkdir_00 and chmod_00 (modes, umask), mkdir_00 (gid of a setgid directory).
 * From LTP: write06, pwrite04 (append whatever the offset), open12 (O_APPEND, O_CLOEXEC, O_LARGEFILE), write05
 *   (EFAULT, EBADF), open08 (EEXIST, EISDIR, ENOTDIR, ENAMETOOLONG, EACCES, EFAULT), setrlimit05's EFBIG.
 * From xfstests: generic/069 (many appending processes), generic/131 in small (locks among processes).
 *
 * Not ported, for here there is no such thing:
 *   - whatever renames, links, unlinks or cuts and then looks (rename_00, _09 to _24, link_00, unlink_00,
 *     truncate_00, ftruncate_00, posix_fallocate_00): all EPERM, which group_refused asks for;
 *   - symbolic links and special files inside the mount (symlink_00, mknod_00, mkfifo_00, open_17, open_24);
 *   - modes of files (chmod_00 for files, chmod_12's set-user-ID after a write, open_00's mode): a file's is
 *     its directory's, chmod of it is EPERM;
 *   - ctime after chmod, chown, link (chmod_00, chown_00), times by utimensat (utimensat_00 to _05): times
 *     are those of events, and O_NOATIME of open12 follows;
 *   - nlink of directories (mkdir_00): 1, as in other filesystems that do not count;
 *   - ETXTBSY (open_20, truncate_11): nothing here can be executed;
 *   - chflags, ACLs, NFSv4 (granular_*), ENOSPC by quota: the operating system's, or not in Linux. */
#include "posix.h"

#include <dirent.h>
#include <fcntl.h>
#include <grp.h>
#include <limits.h>
#include <stdarg.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/wait.h>
#include <unistd.h>

enum { NOBODY = 65534, TENANT = 1001 };

int failures, checks;
const char *root;

static char *next_path(void)
{
    static char paths[8][3 * PATH_MAX];
    static unsigned n;

    return paths[n++ % 8];
}

const char *at(const char *fmt, ...)
{
    char *p = next_path();
    int n = snprintf(p, PATH_MAX, "%s/", root);
    va_list ap;

    va_start(ap, fmt);
    (void)vsnprintf(p + n, sizeof(char[2 * PATH_MAX]), fmt, ap);
    va_end(ap);
    return p;
}

const char *long_name(size_t n, const char *suffix)
{
    char *p = next_path();

    memset(p, 'x', n);
    strcpy(p + n - strlen(suffix), suffix);
    return p;
}

int open_close(const char *path, int flags)
{
    int fd = open(path, flags | O_CLOEXEC, 0644);

    return fd < 0 ? -1 : close(fd);
}

int append_to(const char *path, const char *text)
{
    int fd = open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0644);
    ssize_t r = fd < 0 ? -1 : write(fd, text, strlen(text));
    int e = errno;

    if (fd >= 0)
        (void)close(fd);
    errno = e;
    return r == (ssize_t)strlen(text) ? 0 : -1;
}

off_t size_of(const char *path)
{
    struct stat st;

    return stat(path, &st) < 0 ? -1 : st.st_size;
}

void in_process(uid_t uid, void (*fn)(void))
{
    int status = 0;
    pid_t pid;

    (void)fflush(stderr);
    pid = fork();
    if (pid == 0) {
        failures = 0;
        if (uid && (setgroups(0, NULL) < 0 || setresgid(uid, uid, uid) < 0 ||
                    setresuid(uid, uid, uid) < 0)) {
            fprintf(stderr, "user %d: %s\n", (int)uid, strerror(errno));
            failures++;
        }
        if (failures == 0)
            fn();
        (void)fflush(stderr);
        _exit(failures ? 1 : 0);
    }
    IS(waitpid(pid, &status, 0), pid);
    IS(status, 0);
}

/* Each call that takes a path, on one that fails for all of them alike. A path that must not exist for
 * some is given as new_path. */
#define EACH_FAILS(want, path)                                                                     \
    do {                                                                                           \
        const char *p_ = (path);                                                                   \
        struct stat st_;                                                                           \
        struct statvfs sv_;                                                                        \
        char buf_[16];                                                                             \
        FAILS(want, open_close(p_, O_RDONLY));                                                     \
        FAILS(want, open_close(p_, O_WRONLY | O_APPEND | O_CREAT));                                \
        FAILS(want, stat(p_, &st_));                                                               \
        FAILS(want, lstat(p_, &st_));                                                              \
        FAILS(want, statvfs(p_, &sv_));                                                            \
        FAILS(want, access(p_, F_OK));                                                             \
        FAILS(want, mkdir(p_, 0755));                                                              \
        FAILS(want, rmdir(p_));                                                                    \
        FAILS(want, unlink(p_));                                                                   \
        FAILS(want, rename(p_, at("entities/a/new.jsonl")));                                       \
        FAILS(want, rename(at("entities/a/t.jsonl"), p_));                                         \
        FAILS(want, link(p_, at("entities/a/new.jsonl")));                                         \
        FAILS(want, link(at("entities/a/t.jsonl"), p_));                                           \
        FAILS(want, symlink("x", p_));                                                             \
        FAILS(want, mknod(p_, S_IFREG | 0644, 0));                                                 \
        FAILS(want, mkfifo(p_, 0644));                                                             \
        FAILS(want, truncate(p_, 0));                                                              \
        FAILS(want, chmod(p_, 0755));                                                              \
        FAILS(want, chown(p_, 0, 0));                                                              \
        FAILS(want, utimensat(AT_FDCWD, p_, NULL, 0));                                             \
        FAILS(want, readlink(p_, buf_, sizeof buf_));                                              \
        FAILS(want, chdir(p_));                                                                    \
    } while (0)

static void paths_of_files(void)
{
    EACH_FAILS(ENOTDIR, at("entities/a/t.jsonl/x"));
    EACH_FAILS(ENOTDIR, at("entities/a/t.jsonl/x.jsonl"));
    EACH_FAILS(ENOTDIR, at("README/x"));
}

static void paths_too_long(void)
{
    EACH_FAILS(ENAMETOOLONG, at("entities/%s", long_name(256, "")));
    EACH_FAILS(ENAMETOOLONG, at("entities/a/%s", long_name(256, ".jsonl")));
    EACH_FAILS(ENAMETOOLONG, at("types/%s", long_name(2000, "")));
    EACH_FAILS(ENAMETOOLONG, at("entities/%s", long_name(PATH_MAX, "")));
    EACH_FAILS(ENAMETOOLONG, at("%s/x", long_name(300, "")));
    /* The longest of its kind is one: a type has 128 bytes, a component 249 and its suffix. */
    WORKS(append_to(at("entities/a/%s", long_name(128 + 6, ".jsonl")), "1\n"));
    WORKS(append_to(at("entities/%s/t.jsonl", long_name(249, "")), "1\n"));
}

static void paths_of_nothing(void)
{
    struct stat st;

    EACH_FAILS(ENOENT, "");
    EACH_FAILS(ENOENT, at("nothing/here"));
    EACH_FAILS(ENOENT, at("entities/.hidden/x"));
    EACH_FAILS(ENOENT, at("entities/%%61/x"));
    FAILS(ENOENT, stat(at("entities/a/none.jsonl"), &st));
    FAILS(ENOENT, open_close(at("entities/a/none.jsonl"), O_RDONLY));
    FAILS(ENOENT, open_close(at("entities/a/none.jsonl"), O_WRONLY | O_APPEND));
    FAILS(ENOENT, unlink(at("entities/a/none.jsonl")));
    FAILS(ENOENT, truncate(at("entities/a/none.jsonl"), 0));
    FAILS(ENOENT, rename(at("entities/a/none.jsonl"), at("entities/a/x.jsonl")));
}

static void group_paths(void)
{
    paths_of_files();
    paths_too_long();
    paths_of_nothing();
    EACH_FAILS(EFAULT, (const char *)(uintptr_t)1);
}

static void group_kinds(void)
{
    char buf[16];
    struct stat st;
    int fd;

    FAILS(EISDIR, open_close(at("entities/a"), O_WRONLY));
    FAILS(EISDIR, open_close(at("entities/a"), O_RDWR | O_APPEND));
    FAILS(EISDIR, open_close(at("entities/a"), O_RDONLY | O_CREAT));
    FAILS(EISDIR, open_close(at("entities/a"), O_WRONLY | O_TRUNC));
    FAILS(EISDIR, unlink(at("entities/a")));
    FAILS(EISDIR, truncate(at("entities/a"), 0));
    fd = open(at("entities/a"), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    WORKS(fd);
    FAILS(EISDIR, read(fd, buf, sizeof buf));
    FAILS(EBADF, write(fd, "1\n", 2));
    WORKS(fsync(fd));
    WORKS(openat(fd, "t.jsonl", O_RDONLY | O_CLOEXEC));
    WORKS(close(fd));
    FAILS(ENOTDIR, open_close(at("entities/a/t.jsonl"), O_RDONLY | O_DIRECTORY));
    FAILS(ENOTDIR, open_close(at("events.jsonl/"), O_RDONLY));
    FAILS(ENOTDIR, rmdir(at("entities/a/t.jsonl")));
    FAILS(ENOTDIR, chdir(at("entities/a/t.jsonl")));
    FAILS(EINVAL, readlink(at("entities/a/t.jsonl"), buf, sizeof buf));
    WORKS(open_close(at("entities/a/t.jsonl"), O_RDONLY | O_NOFOLLOW));
    FAILS(EOPNOTSUPP, open_close(at("entities/a"), O_RDWR | O_TMPFILE));
    fd = open(at("entities/a/t.jsonl"), O_PATH | O_CLOEXEC);
    WORKS(fd);
    WORKS(fstat(fd, &st));
    IS(S_ISREG(st.st_mode), 1);
    FAILS(EBADF, read(fd, buf, sizeof buf));
    WORKS(close(fd));
    /* What is there is there, by its own name and by another's. */
    FAILS(EEXIST, open_close(at("entities/a/t.jsonl"), O_WRONLY | O_APPEND | O_CREAT | O_EXCL));
    FAILS(EEXIST, open_close(at("entities/a"), O_RDONLY | O_CREAT | O_EXCL));
    FAILS(EEXIST, mkdir(at("entities/a"), 0755));
    FAILS(EEXIST, mkdir(at("entities/a/t.jsonl"), 0755));
    FAILS(EEXIST, mkdir(at("entities"), 0755));
    FAILS(EEXIST, mkdir(at("."), 0755));
    FAILS(EEXIST, symlink("x", at("entities/a/t.jsonl")));
    FAILS(EEXIST, mknod(at("entities/a/t.jsonl"), S_IFREG | 0644, 0));
    FAILS(EEXIST, link(at("entities/a/t.jsonl"), at("events.jsonl")));
    WORKS(stat(at("entities/a/t.jsonl"), &st));
    IS(st.st_nlink, 1);
}

/* A link outside, which is followed into the mount, and not where it must not be. */
static void group_links(void)
{
    char dir[] = "/tmp/evfs-posix.XXXXXX", path[64], loop[64];

    if (!mkdtemp(dir)) {
        perror(dir);
        exit(1);
    }
    (void)snprintf(path, sizeof path, "%s/l.jsonl", dir);
    (void)snprintf(loop, sizeof loop, "%s/loop", dir);
    WORKS(symlink(at("entities/a/t.jsonl"), path));
    WORKS(symlink(loop, loop));
    WORKS(append_to(path, "1\n"));
    FAILS(ELOOP, open_close(path, O_RDONLY | O_NOFOLLOW));
    FAILS(ELOOP, open_close(loop, O_RDONLY));
    FAILS(EXDEV, link(at("entities/a/t.jsonl"), at("../x.jsonl")));
    FAILS(EXDEV, rename(at("entities/a/t.jsonl"), at("../x.jsonl")));
    FAILS(EXDEV, rename(path, at("entities/a/moved.jsonl")));
    WORKS(unlink(path));
    WORKS(unlink(loop));
    WORKS(rmdir(dir));
}

/* What would change an event, or take it away. */
static void group_refused(void)
{
    static const char *const files[] = {"entities/a/t.jsonl", "events.jsonl",
                                        "types/t/events.jsonl"};
    off_t size = size_of(at("entities/a/t.jsonl"));

    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        const char *f = at("%s", files[i]), *other = at("entities/a/moved.jsonl");
        FAILS(EPERM, open_close(f, O_WRONLY));
        FAILS(EPERM, open_close(f, O_RDWR));
        FAILS(EPERM, open_close(f, O_RDONLY | O_TRUNC));
        FAILS(EPERM, open_close(f, O_WRONLY | O_TRUNC));
        FAILS(EPERM, open_close(f, O_WRONLY | O_APPEND | O_TRUNC));
        FAILS(EPERM, open_close(f, O_RDWR | O_CREAT | O_TRUNC));
        FAILS(EPERM, unlink(f));
        FAILS(EPERM, rename(f, other));
        FAILS(EPERM, link(f, other));
        FAILS(EPERM, truncate(f, 0));
        FAILS(EPERM, truncate(f, 1 << 20));
        FAILS(EPERM, chmod(f, 0777));
        FAILS(EPERM, chown(f, 1, 1));
        int fd = open(f, O_WRONLY | O_APPEND | O_CLOEXEC);
        WORKS(fd);
        FAILS(EPERM, ftruncate(fd, 0));
        FAILS(EPERM, fallocate(fd, 0, 0, 4096));
        FAILS(EPERM, fallocate(fd, FALLOC_FL_KEEP_SIZE | FALLOC_FL_PUNCH_HOLE, 0, 4096));
        FAILS(EPERM, fchmod(fd, 0777));
        FAILS(EPERM, fchown(fd, 1, 1));
        WORKS(close(fd));
        fd = open(f, O_RDONLY | O_CLOEXEC);
        FAILS(EINVAL, ftruncate(fd, 0));
        FAILS(EBADF, fallocate(fd, 0, 0, 4096));
        WORKS(close(fd));
    }
    FAILS(EPERM, rename(at("entities/a"), at("entities/.z")));
    FAILS(EINVAL, rename(at("entities/a"), at("entities/a/b")));
    FAILS(EPERM, rename(at("README"), at("README2")));
    FAILS(EPERM, unlink(at("README")));
    FAILS(EPERM, open_close(at("README"), O_WRONLY | O_APPEND));
    FAILS(EPERM, open_close(at("entities/a/state.json"), O_WRONLY | O_APPEND));
    FAILS(EPERM, open_close(at("other.txt"), O_WRONLY | O_APPEND | O_CREAT));
    FAILS(EPERM, symlink("x", at("entities/a/link.jsonl")));
    FAILS(EPERM, mknod(at("entities/a/x.jsonl"), S_IFREG | 0644, 0));
    FAILS(EPERM, mkfifo(at("entities/a/x.jsonl"), 0644));
    FAILS(EPERM, link(at("entities/a"), at("entities/a2.jsonl")));
    IS(size_of(at("entities/a/t.jsonl")), size);
}

static void group_directories(void)
{
    struct stat st;
    mode_t before = umask(027);

    WORKS(mkdir(at("entities/.made"), 0777));
    WORKS(stat(at("entities/.made"), &st));
    IS(st.st_mode, S_IFDIR | 0750);
    FAILS(EEXIST, mkdir(at("entities/.made"), 0777));
    (void)umask(before);
    WORKS(chmod(at("entities/.made"), 02771));
    WORKS(chown(at("entities/.made"), TENANT, 4242));
    WORKS(mkdir(at("entities/.made/.sub"), 0700));
    WORKS(stat(at("entities/.made/.sub"), &st));
    IS(st.st_gid, 4242); /* of a setgid directory */
    IS(st.st_mode & S_ISGID, S_ISGID);
    FAILS(ENOTEMPTY, rmdir(at("entities/.made")));
    FAILS(EINVAL, rmdir(at("entities/.made/.sub/.")));
    FAILS(ENOTEMPTY, rmdir(at("entities/.made/.sub/..")));
    WORKS(rmdir(at("entities/.made/.sub")));
    WORKS(rmdir(at("entities/.made")));
    FAILS(ENOENT, stat(at("entities/.made"), &st));
    FAILS(ENOENT, rmdir(at("entities/.made")));
    FAILS(EBUSY, rmdir(root));
    FAILS(EPERM, rmdir(at("entities")));
    FAILS(ENOTEMPTY, rmdir(at("entities/a/b"))); /* it has events */
    FAILS(EPERM, mkdir(at("own"), 0755));
    DIR *d = opendir(at("entities/a"));
    struct dirent *e;
    char third[256] = "";
    long pos[16];
    int n = 0;
    while (n < 15 && (pos[n] = telldir(d), e = readdir(d)))
        if (++n == 3)
            (void)snprintf(third, sizeof third, "%s", e->d_name);
    IS(n >= 5, 1); /* . .. events.jsonl state.json t.jsonl b */
    seekdir(d, pos[2]);
    e = readdir(d);
    IS(e ? strcmp(e->d_name, third) : -1, 0);
    rewinddir(d);
    for (int i = 0; i < n; i++)
        IS(readdir(d) != NULL, 1);
    IS(readdir(d) == NULL, 1);
    WORKS(closedir(d));
}

/* ---- who may what ---- */

static void stranger(void)
{
    struct stat st;
    const struct timespec past[2] = {{1, 0}, {1, 0}};

    /* No search permission for a prefix. */
    FAILS(EACCES, open_close(at("entities/shut/t.jsonl"), O_RDONLY));
    FAILS(EACCES, open_close(at("entities/shut/t.jsonl"), O_WRONLY | O_APPEND));
    FAILS(EACCES, open_close(at("entities/shut/new.jsonl"), O_WRONLY | O_APPEND | O_CREAT));
    FAILS(EACCES, stat(at("entities/shut/t.jsonl"), &st));
    FAILS(EACCES, mkdir(at("entities/shut/x"), 0755));
    FAILS(EACCES, rmdir(at("entities/shut/x")));
    FAILS(EACCES, chmod(at("entities/shut/sub"), 0755));
    FAILS(EACCES, chown(at("entities/shut/sub"), NOBODY, NOBODY));
    FAILS(EACCES, unlink(at("entities/shut/t.jsonl")));
    FAILS(EACCES, truncate(at("entities/shut/t.jsonl"), 0));
    FAILS(EACCES, rename(at("entities/shut/t.jsonl"), at("entities/open/x.jsonl")));
    FAILS(EACCES, link(at("entities/shut/t.jsonl"), at("entities/open/x.jsonl")));
    FAILS(EACCES, utimensat(AT_FDCWD, at("entities/shut/t.jsonl"), NULL, 0));
    FAILS(EACCES, opendir(at("entities/shut")) ? 0 : -1);
    FAILS(EACCES, chdir(at("entities/shut")));
    /* May search and read, not write. */
    WORKS(open_close(at("entities/look/t.jsonl"), O_RDONLY));
    WORKS(access(at("entities/look/t.jsonl"), R_OK));
    FAILS(EACCES, access(at("entities/look/t.jsonl"), W_OK));
    FAILS(EACCES, access(at("entities/look/t.jsonl"), X_OK));
    WORKS(access(at("entities/look"), R_OK | X_OK));
    FAILS(EACCES, open_close(at("entities/look/t.jsonl"), O_WRONLY | O_APPEND));
    FAILS(EACCES, open_close(at("entities/look/t.jsonl"), O_RDWR | O_APPEND));
    FAILS(EACCES, open_close(at("entities/look/t.jsonl"), O_RDONLY | O_TRUNC));
    FAILS(EACCES, open_close(at("entities/look/new.jsonl"), O_WRONLY | O_APPEND | O_CREAT));
    FAILS(EACCES, mkdir(at("entities/look/.x"), 0755));
    FAILS(EACCES, unlink(at("entities/look/t.jsonl")));
    FAILS(EACCES, truncate(at("entities/look/t.jsonl"), 0));
    FAILS(EACCES, utimensat(AT_FDCWD, at("entities/look/t.jsonl"), NULL, 0));
    FAILS(EPERM, utimensat(AT_FDCWD, at("entities/look/t.jsonl"), past, 0));
    FAILS(EPERM, chmod(at("entities/look"), 0777));
    FAILS(EPERM, chown(at("entities/look"), NOBODY, NOBODY));
    /* May append, not read. */
    WORKS(append_to(at("entities/drop/t.jsonl"), "1\n"));
    FAILS(EACCES, open_close(at("entities/drop/t.jsonl"), O_RDONLY));
    FAILS(EACCES, open_close(at("entities/drop/t.jsonl"), O_RDWR | O_APPEND));
    /* A file that it would make is not its own: others' events will be in it. */
    FAILS(EACCES, open_close(at("entities/drop/new.jsonl"), O_RDONLY | O_CREAT));
    FAILS(EACCES, open_close(at("entities/drop/new.jsonl"), O_RDWR | O_APPEND | O_CREAT));
    WORKS(open_close(at("entities/drop/new.jsonl"), O_WRONLY | O_APPEND | O_CREAT));
    FAILS(EACCES, opendir(at("entities/drop")) ? 0 : -1);
    /* Not the owner, whatever it may write. */
    FAILS(EPERM, chmod(at("entities/open"), 0700));
    FAILS(EPERM, chown(at("entities/open"), NOBODY, -1));
}

static void tenant(void)
{
    struct stat st;

    WORKS(chmod(at("entities/mine"), 0700));
    WORKS(stat(at("entities/mine"), &st));
    IS(st.st_mode & 07777, 0700);
    FAILS(EPERM, chown(at("entities/mine"), NOBODY, -1));
    FAILS(EPERM, chown(at("entities/mine"), -1, 4242)); /* not a group of its own */
    WORKS(chown(at("entities/mine"), -1, TENANT));
    WORKS(append_to(at("entities/mine/t.jsonl"), "1\n"));
    WORKS(chmod(at("entities/mine"), 0500));
    FAILS(EACCES, append_to(at("entities/mine/t.jsonl"), "1\n"));
    WORKS(chmod(at("entities/mine"), 0755));
    WORKS(append_to(at("entities/mine/t.jsonl"), "1\n"));
}

static void make_dir(const char *name, mode_t mode, uid_t uid)
{
    WORKS(append_to(at("entities/%s/t.jsonl", name), "1\n"));
    WORKS(append_to(at("entities/%s/sub/t.jsonl", name), "1\n"));
    WORKS(chmod(at("entities/%s", name), mode));
    WORKS(chown(at("entities/%s", name), uid, uid));
}

static void group_permissions(void)
{
    struct stat st;
    const struct timespec past[2] = {{1, 0}, {1, 0}};

    make_dir("shut", 0700, 0);
    make_dir("look", 0755, 0);
    make_dir("drop", 0733, 0);
    make_dir("open", 0777, 0);
    make_dir("mine", 0755, TENANT);
    in_process(NOBODY, stranger);
    in_process(TENANT, tenant);
    for (mode_t mode = 0; mode <= 0777; mode += 0111) {
        WORKS(chmod(at("entities/open"), mode));
        WORKS(stat(at("entities/open"), &st));
        IS(st.st_mode, S_IFDIR | mode);
        WORKS(stat(at("entities/open/t.jsonl"), &st));
        IS(st.st_mode, S_IFREG | (mode & 0666));
    }
    WORKS(chmod(at("entities/open"), 01777));
    WORKS(stat(at("entities/open"), &st));
    IS(st.st_mode, S_IFDIR | 01777);
    /* Times are events': asked for, they stay. */
    WORKS(stat(at("entities/a/t.jsonl"), &st));
    time_t was = st.st_mtime;
    WORKS(utimensat(AT_FDCWD, at("entities/a/t.jsonl"), past, 0));
    WORKS(stat(at("entities/a/t.jsonl"), &st));
    IS(st.st_mtime, was);
    FAILS(EINVAL, utimensat(AT_FDCWD, at("entities/a/t.jsonl"),
                            (const struct timespec[2]){{0, 1999999999}, {0, 0}}, 0));
}

/* The mount is read-only. */
static void group_read_only(void)
{
    char buf[64];
    int fd = open(at("entities/a/t.jsonl"), O_RDONLY | O_CLOEXEC);

    WORKS(fd);
    IS(read(fd, buf, sizeof buf) > 0, 1);
    WORKS(close(fd));
    FAILS(EROFS, open_close(at("entities/a/t.jsonl"), O_WRONLY | O_APPEND));
    FAILS(EROFS, open_close(at("entities/a/t.jsonl"), O_RDWR | O_APPEND));
    FAILS(EROFS, open_close(at("entities/a/t.jsonl"), O_RDONLY | O_TRUNC));
    FAILS(EROFS, open_close(at("entities/a/new.jsonl"), O_WRONLY | O_APPEND | O_CREAT));
    FAILS(EROFS, mkdir(at("entities/.new"), 0755));
    FAILS(EROFS, rmdir(at("entities/a")));
    FAILS(EROFS, unlink(at("entities/a/t.jsonl")));
    FAILS(EROFS, rename(at("entities/a/t.jsonl"), at("entities/a/u.jsonl")));
    FAILS(EROFS, link(at("entities/a/t.jsonl"), at("entities/a/u.jsonl")));
    FAILS(EROFS, symlink("x", at("entities/a/l.jsonl")));
    FAILS(EROFS, mknod(at("entities/a/u.jsonl"), S_IFREG | 0644, 0));
    FAILS(EROFS, truncate(at("entities/a/t.jsonl"), 0));
    FAILS(EROFS, chmod(at("entities/a"), 0700));
    FAILS(EROFS, chown(at("entities/a"), 1, 1));
    FAILS(EROFS, utimensat(AT_FDCWD, at("entities/a/t.jsonl"), NULL, 0));
    FAILS(EROFS, access(at("entities/a/t.jsonl"), W_OK));
}

static const struct {
    const char *name;
    void (*run)(void);
} groups[] = {
    {"paths", group_paths},
    {"kinds", group_kinds},
    {"links", group_links},
    {"refused", group_refused},
    {"directories", group_directories},
    {"permissions", group_permissions},
    {"read-only", group_read_only},
    {"append", group_append},
    {"offsets", group_offsets},
    {"writers", group_writers},
    {"limits", group_limits},
    {"locks", group_locks},
};

int main(int argc, char **argv)
{
    if (argc != 3) {
        fprintf(stderr, "usage: posix MOUNT GROUP\n");
        return 2;
    }
    root = argv[1];
    for (size_t i = 0; i < sizeof groups / sizeof *groups; i++) {
        if (strcmp(groups[i].name, argv[2]) != 0)
            continue;
        (void)umask(022);
        if (groups[i].run != group_read_only &&
            (append_to(at("entities/a/t.jsonl"), "{\"n\":1}\n") < 0 ||
             append_to(at("entities/a/b/u.jsonl"), "{\"n\":2}\n") < 0)) {
            perror(root);
            return 1;
        }
        groups[i].run();
        printf("%s: %d checks, %d failed\n", argv[2], checks, failures);
        return failures || checks == 0 ? 1 : 0;
    }
    fprintf(stderr, "no group %s\n", argv[2]);
    return 2;
}
