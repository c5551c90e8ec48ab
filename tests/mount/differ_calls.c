/* SPDX-License-Identifier: MIT */
/* The calls of differ.c, as one of its workers makes them: first on the oracle, then on evfs. (1) A slot is
 * open on both sides or on none. (2) What was written is whole lines of JSON, so that a TYPE.jsonl shows the
 * same bytes. (3) What a call changed on one side only is undone before the answer, so that one difference
 * does not become another: a link that could be made, an O_APPEND that could be taken away. */
#include "differ.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/uio.h>
#include <sys/xattr.h>
#include <unistd.h>

static const struct world *world;
static int slots[SIDES][SLOTS];

#define X(name) #name,
static const char *const call_names[] = {CALLS(X)};
#undef X

void step_print(FILE *f, const struct step *s)
{
    fprintf(f, "worker %d: %s slot %d, %d file %s, %s dir %s flags %#o a %u b %u\n", s->worker,
            call_names[s->call], s->slot, s->slot2, file_names[s->file], file_names[s->file2],
            dir_names[s->dir], s->flags, s->a, s->b);
}

const char *world_path(const struct world *w, int side, const char *name)
{
    static char paths[4][4096];
    static unsigned n;
    char *p = paths[n++ % 4];

    (void)snprintf(p, sizeof paths[0], "%s/%s", w->base[side], name);
    return p;
}

static void add(struct answer *r, const void *p, size_t n)
{
    const unsigned char *c = p;

    for (size_t i = 0; i < n; i++)
        r->hash = (r->hash ^ c[i]) * 0x100000001b3u;
}

static void note(struct answer *r, const char *text)
{
    add(r, text, strlen(text));
    (void)snprintf(r->note, sizeof r->note, "%.199s", text);
}

/* Bytes of a file: their beginning says enough. */
static void note_bytes(struct answer *r, const char *p, int64_t n)
{
    if (n < 0)
        return;
    add(r, p, (size_t)n);
    (void)snprintf(r->note, sizeof r->note, "%.*s", (int)(n < 60 ? n : 60), p);
}

/* Lines of JSON that a is the seed of; most are short. */
static size_t lines(char *buf, size_t cap, uint32_t a)
{
    unsigned many = 1 + a % 4, pad = (a >> 4) % 97 == 0 ? 7000 : (a >> 4) % 80;
    size_t n = 0;

    for (unsigned i = 0; i < many; i++) {
        switch ((a >> (8 + 2 * i)) % 4) {
        case 0:
            n += (size_t)snprintf(buf + n, cap - n, "%u\n", a + i);
            break;
        case 1:
            n += (size_t)snprintf(buf + n, cap - n, "[%u, null,  true]\n", a);
            break;
        case 2:
            n +=
                (size_t)snprintf(buf + n, cap - n, "{\"n\":%u,\"pad\":\"%0*d\"}\n", a, (int)pad, 7);
            break;
        default:
            n += (size_t)snprintf(buf + n, cap - n, "\"%0*u \\u00e9 \xc3\xa9\"\n", (int)pad, i);
        }
    }
    return n;
}

static void note_stat(struct answer *r, const struct stat *st)
{
    char text[160];

    (void)snprintf(text, sizeof text, "mode %o uid %u gid %u", st->st_mode, st->st_uid, st->st_gid);
    if (S_ISREG(st->st_mode))
        (void)snprintf(text + strlen(text), sizeof text - strlen(text), " nlink %lu size %lld",
                       (unsigned long)st->st_nlink, (long long)st->st_size);
    note(r, text);
}

static int by_name(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

/* Names but those that evfs adds, and files that are empty yet; then telldir, seekdir and rewinddir have to
 * agree with what was read. */
static int64_t list(const char *path, struct answer *r)
{
    char *names[256], full[5000], text[2000] = "";
    long pos[256];
    size_t n = 0, all = 0;
    struct dirent *e;
    struct stat st;
    DIR *d = opendir(path);

    if (!d)
        return -1;
    while (all < 256 && (pos[all] = telldir(d), e = readdir(d))) {
        all++;
        (void)snprintf(full, sizeof full, "%s/%s", path, e->d_name);
        if (strcmp(e->d_name, "events.jsonl") == 0 || strcmp(e->d_name, "state.json") == 0 ||
            (e->d_type == DT_REG && stat(full, &st) == 0 && st.st_size == 0))
            continue;
        if (asprintf(&names[n], "%s:%d", e->d_name, e->d_type) > 0)
            n++;
    }
    if (all > 0) {
        char first[256] = "", again[256] = "";
        seekdir(d, pos[all / 2]);
        if ((e = readdir(d)))
            (void)snprintf(first, sizeof first, "%s", e->d_name);
        seekdir(d, pos[all / 2]);
        if ((e = readdir(d)))
            (void)snprintf(again, sizeof again, "%s", e->d_name);
        rewinddir(d);
        size_t count = 0;
        while (readdir(d))
            count++;
        if (count != all || strcmp(first, again) != 0)
            (void)snprintf(text, sizeof text, "seekdir or rewinddir: %zu of %zu, %s, %s; ", count,
                           all, first, again);
    }
    (void)closedir(d);
    qsort(names, n, sizeof *names, by_name);
    for (size_t i = 0; i < n; i++) {
        size_t len = strlen(text);
        (void)snprintf(text + len, sizeof text - len, "%s ", names[i]);
        free(names[i]);
    }
    note(r, text);
    return 0;
}

static int64_t open_slot(int side, const struct step *s)
{
    const char *name = s->a % 8 == 0 ? dir_names[s->dir] : file_names[s->file];
    int flags = s->flags, fd;

    if (s->file == FILE_NONE)
        flags &= ~O_CREAT;
    if (slots[side][s->slot] >= 0)
        (void)close(slots[side][s->slot]);
    fd = open(world_path(world, side, name), flags | O_CLOEXEC, 0644);
    slots[side][s->slot] = fd;
    /* A file that this made: the oracle's is made append-only only now. */
    if (fd >= 0 && (flags & O_ACCMODE) != O_RDONLY && !(flags & (O_APPEND | O_PATH | O_TMPFILE))) {
        int now = fcntl(fd, F_GETFL);
        if (now >= 0)
            (void)fcntl(fd, F_SETFL, now | O_APPEND);
    }
    return fd < 0 ? -1 : 0;
}

/* The same event by way of the whole mount; the oracle's by its file. */
static int64_t view_write(int side, const struct step *s)
{
    char data[2000], text[4000], type[64];
    const char *file = strrchr(file_names[s->file], '/');
    size_t n = (size_t)snprintf(data, sizeof data, "{\"n\":%u}", s->a);
    int fd, e;

    if (side == ORACLE) {
        data[n++] = '\n';
        fd = open(world_path(world, side, file_names[s->file]),
                  O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0644);
    } else {
        (void)snprintf(type, sizeof type, "%s", file + 1);
        type[strlen(type) - strlen(".jsonl")] = '\0';
        n = (size_t)snprintf(text, sizeof text,
                             "{\"entity\":\"%s/%s\",\"type\":\"%s\",\"data\":%s}\n", world->entity,
                             dir_names[dir_of_file[s->file]], type, data);
        fd = open(world->all, O_WRONLY | O_APPEND | O_CLOEXEC);
    }
    if (fd < 0)
        return -1;
    ssize_t r = write(fd, side == ORACLE ? data : text, n);
    e = errno;
    (void)close(fd);
    errno = e;
    return r == (ssize_t)n ? 0 : -1;
}

static int64_t transfer(int fd, const struct step *s, struct answer *r)
{
    static char buf[70000];
    size_t n = 1 + s->a % (s->a % 16 ? 300 : 65536);
    off_t off = s->b % (s->b % 8 ? 2000 : 100000);
    struct iovec v[3] = {{buf, n / 3}, {buf + n / 3, 1}, {buf + n / 3 + 1, n}};
    int64_t got;

    switch (s->call) {
    case CALL_READ:
        got = read(fd, buf, n);
        break;
    case CALL_PREAD:
        got = pread(fd, buf, n, off);
        break;
    case CALL_READV:
        got = readv(fd, v, 3);
        break;
    default:
        n = lines(buf, sizeof buf, s->a);
        v[0].iov_len = n / 3;
        v[1].iov_base = buf + n / 3;
        v[1].iov_len = n / 3;
        v[2].iov_base = buf + n / 3 * 2;
        v[2].iov_len = n - n / 3 * 2;
        if (s->call == CALL_WRITE)
            return write(fd, buf, n);
        if (s->call == CALL_WRITEV)
            return writev(fd, v, 3);
        if (s->call == CALL_PWRITE)
            return pwrite(fd, buf, n, off);
        return pwritev2(fd, v, 3, s->b % 2 ? off : -1, s->b % 4 ? RWF_APPEND : RWF_DSYNC);
    }
    note_bytes(r, buf, got);
    return got;
}

static int64_t map(int fd, const struct step *s, struct answer *r)
{
    int prot = s->call == CALL_MAP_WRITE ? PROT_READ | PROT_WRITE : PROT_READ;
    int how = s->call == CALL_MAP_PRIVATE ? MAP_PRIVATE : MAP_SHARED;
    struct stat st;

    if (fstat(fd, &st) < 0)
        return -1;
    size_t n = st.st_size > 0 ? (size_t)st.st_size : 1;
    char *p = mmap(NULL, n, prot, how, fd, 0);
    if (p == MAP_FAILED)
        return -1;
    if (st.st_size > 0)
        note_bytes(r, p, st.st_size);
    (void)munmap(p, n);
    return 0;
}

static int64_t send_to_pipe(int fd, const struct step *s, struct answer *r)
{
    char buf[4096];
    int p[2];
    off_t off = s->b % 3000;

    if (pipe2(p, O_CLOEXEC | O_NONBLOCK) < 0)
        return -1;
    int64_t n = sendfile(p[1], fd, s->b % 2 ? &off : NULL, 1 + s->a % 4000);
    int e = errno;
    int64_t got = n > 0 ? read(p[0], buf, sizeof buf) : 0;
    note_bytes(r, buf, got);
    (void)close(p[0]);
    (void)close(p[1]);
    errno = e;
    return n;
}

/* Polled for what a regular file always is; POLLIN is evfs's own, see evfs(5). */
static int64_t polled(int fd, struct answer *r)
{
    struct pollfd p = {.fd = fd, .events = POLLIN | POLLOUT | POLLPRI};
    char text[32];
    int n = poll(&p, 1, 0);

    (void)snprintf(text, sizeof text, "%#x", p.revents & ~(POLLIN | POLLRDNORM));
    note(r, text);
    return n < 0 ? -1 : 0;
}

static int64_t flags_of(int fd, const struct step *s, struct answer *a)
{
    char buf[32000];
    struct stat st;
    int now = fcntl(fd, F_GETFL);
    int64_t n = 0;

    if (now < 0 || s->call == CALL_GETFL)
        return now;
    if (s->call == CALL_SETFL)
        return fcntl(fd, F_SETFL, now ^ O_NONBLOCK);
    /* Whether O_APPEND can be taken away or not: what is written then is appended. */
    int r = fcntl(fd, F_SETFL, now & ~O_APPEND), e = errno;
    if (now & O_APPEND) {
        n = pwrite(fd, buf, lines(buf, sizeof buf, s->a), 0);
        /* The kernel took it for a write at 0, and knows the size when it is asked for. */
        if (fcntl(fd, F_SETFL, now) < 0 || fstat(fd, &st) < 0)
            return -2;
    }
    (void)snprintf(buf, 32, "wrote %lld", (long long)n);
    note(a, buf);
    errno = e;
    return r;
}

static int64_t on_slot(int side, const struct step *s, struct answer *r)
{
    int fd = slots[side][s->slot], fd2 = slots[side][s->slot2];
    static const int whence[] = {SEEK_SET, SEEK_CUR, SEEK_END, SEEK_DATA, SEEK_HOLE};
    struct stat st;
    struct flock l = {.l_type = (short[]){F_RDLCK, F_WRLCK, F_UNLCK}[s->a % 3],
                      .l_start = s->b % 10,
                      .l_len = 1 + s->b % 7};
    int64_t n;

    /* With an append through another path of the mount the kernel does not know the size until somebody asks:
     * where it is to send or to write from, that is asked for, as programs that copy do. */
    if (world->views)
        (void)fstat(fd, &st);
    switch (s->call) {
    case CALL_CLOSE:
        slots[side][s->slot] = -1;
        return close(fd);
    case CALL_DUP:
        if (fd2 >= 0)
            (void)close(fd2);
        slots[side][s->slot2] = dup(fd);
        return slots[side][s->slot2] < 0 ? -1 : 0;
    case CALL_LSEEK:
        return lseek(fd, (off_t)(s->a % 3000) - 300, whence[s->b % 5]);
    case CALL_FSTAT:
        n = fstat(fd, &st);
        if (n == 0)
            note_stat(r, &st);
        return n;
    case CALL_FSYNC:
        return fsync(fd);
    case CALL_FDATASYNC:
        return fdatasync(fd);
    case CALL_SYNCFS:
        return syncfs(fd);
    case CALL_FTRUNCATE:
        return ftruncate(fd, s->a % 2 ? 0 : 100000);
    case CALL_FCHMOD:
        return fchmod(fd, 0641);
    case CALL_FALLOC_KEEP:
        return fallocate(fd, FALLOC_FL_KEEP_SIZE, 0, 4096);
    case CALL_FALLOC_PUNCH:
        return fallocate(fd, FALLOC_FL_KEEP_SIZE | FALLOC_FL_PUNCH_HOLE, 0, 4096);
    case CALL_COPY_RANGE:
        return copy_file_range(fd, NULL, fd2, NULL, 100, 0);
    case CALL_SENDFILE:
        return send_to_pipe(fd, s, r);
    case CALL_SENDFILE_TO:
        return sendfile(fd2, fd, NULL, 100);
    case CALL_MAP_PRIVATE:
    case CALL_MAP_SHARED:
    case CALL_MAP_WRITE:
        return map(fd, s, r);
    case CALL_POLL:
        return polled(fd, r);
    case CALL_FLOCK:
        return flock(fd, (int[]){LOCK_SH, LOCK_EX, LOCK_UN}[s->a % 3] | LOCK_NB);
    case CALL_SETLK:
        return fcntl(fd, F_SETLK, &l);
    case CALL_GETFL:
    case CALL_SETFL:
    case CALL_APPEND_OFF:
        return flags_of(fd, s, r);
    case CALL_FADVISE:
        errno = posix_fadvise(fd, 0, 0, POSIX_FADV_WILLNEED);
        return errno ? -1 : 0;
    default:
        return transfer(fd, s, r);
    }
}

static int64_t extended_stat(const char *path, int how, struct answer *r)
{
    struct statx sx;

    if (statx(AT_FDCWD, path, how, STATX_BASIC_STATS, &sx) < 0)
        return -1;
    note_stat(r, &(struct stat){.st_mode = sx.stx_mode,
                                .st_uid = sx.stx_uid,
                                .st_gid = sx.stx_gid,
                                .st_nlink = sx.stx_nlink,
                                .st_size = (off_t)sx.stx_size});
    return 0;
}

static int64_t on_path(int side, const struct step *s, struct answer *r)
{
    const char *path = world_path(world, side, file_names[s->file]);
    const char *path2 = world_path(world, side, file_names[s->file2]);
    const char *dir = world_path(world, side, dir_names[s->dir]);
    const char *either = s->a % 4 == 0 ? dir : path;
    static const struct timespec past[2] = {{1, 0}, {2, 0}};
    struct stat st;
    struct statvfs sv;
    char buf[64];
    int64_t n;

    switch (s->call) {
    case CALL_STAT:
    case CALL_LSTAT:
        n = s->call == CALL_STAT ? stat(either, &st) : lstat(either, &st);
        if (n == 0)
            note_stat(r, &st);
        return n;
    case CALL_STATX:
        return extended_stat(either, s->b % 2 ? AT_STATX_FORCE_SYNC : 0, r);
    case CALL_ACCESS:
        return s->b % 2 ? access(either, (int)(s->b >> 1) % 8)
                        : faccessat(AT_FDCWD, either, (int)(s->b >> 1) % 8, AT_EACCESS);
    case CALL_READDIR:
        return list(s->a % 8 ? dir : path, r);
    case CALL_TRUNCATE:
        return truncate(path, s->a % 2 ? 0 : 100000);
    case CALL_RENAME:
        return rename(path, path2);
    case CALL_UNLINK:
        return unlink(path);
    case CALL_LINK:
        return link(path, path2);
    case CALL_SYMLINK:
    case CALL_MKNOD:
        path = world_path(world, side, file_names[FILE_NONE]);
        n = s->call == CALL_SYMLINK ? symlink("x", path) : mknod(path, S_IFIFO | 0600, 0);
        if (n == 0)
            (void)unlink(path);
        return n;
    case CALL_CHMOD:
        return chmod(path, 0641);
    case CALL_CHMOD_DIR:
        return chmod(dir, (mode_t)s->flags);
    case CALL_CHOWN:
        return chown(path, 17, 17);
    case CALL_CHOWN_DIR:
        return chown(dir, s->a % 2 ? STRANGER : 0, s->a % 3 ? STRANGER : 0);
    case CALL_UTIMES_NOW:
        return utimensat(AT_FDCWD, either, NULL, 0);
    case CALL_UTIMES_SET:
        return utimensat(AT_FDCWD, path, past, 0);
    case CALL_MKDIR:
    case CALL_RMDIR:
        (void)snprintf(buf, sizeof buf, "%s/.m%u", dir_names[s->dir], s->a % 3);
        dir = world_path(world, side, buf);
        return s->call == CALL_MKDIR ? mkdir(dir, (mode_t)s->flags & 0777) : rmdir(dir);
    case CALL_SETXATTR:
        return setxattr(path, "user.x", "1", 1, 0);
    case CALL_GETXATTR:
        return getxattr(path, "user.x", buf, sizeof buf);
    case CALL_LISTXATTR:
        return listxattr(path, buf, sizeof buf);
    case CALL_READLINK:
        return readlink(either, buf, sizeof buf);
    case CALL_STATFS:
        n = statvfs(either, &sv);
        if (n == 0)
            add(r, &sv.f_namemax, sizeof sv.f_namemax);
        return n;
    default:
        abort();
    }
}

/* Those whose call takes one or two of the files by name; which of them take a slot is all others. */
bool step_names_file(const struct step *s)
{
    switch (s->call) {
    case CALL_OPEN:
    case CALL_STAT:
    case CALL_LSTAT:
    case CALL_STATX:
    case CALL_ACCESS:
    case CALL_READDIR:
    case CALL_TRUNCATE:
    case CALL_RENAME:
    case CALL_UNLINK:
    case CALL_LINK:
    case CALL_SYMLINK:
    case CALL_MKNOD:
    case CALL_CHMOD:
    case CALL_CHMOD_DIR:
    case CALL_CHOWN:
    case CALL_CHOWN_DIR:
    case CALL_UTIMES_NOW:
    case CALL_UTIMES_SET:
    case CALL_MKDIR:
    case CALL_RMDIR:
    case CALL_SETXATTR:
    case CALL_GETXATTR:
    case CALL_LISTXATTR:
    case CALL_READLINK:
    case CALL_STATFS:
        return true;
    default:
        return false;
    }
}

/* What a directory's descriptor answers is each filesystem's own: offsets in it, and mappings of it. */
static bool skips(const struct step *s)
{
    struct stat st;

    return (s->call == CALL_LSEEK || s->call == CALL_POLL || s->call == CALL_SENDFILE ||
            s->call == CALL_FCHMOD || s->call == CALL_SETFL || s->call == CALL_FADVISE) &&
           fstat(slots[ORACLE][s->slot], &st) == 0 && S_ISDIR(st.st_mode);
}

static void both(const struct step *s, struct answers *r)
{
    bool slot = !step_names_file(s) && s->call != CALL_VIEW_WRITE;

    if (slot && skips(s))
        return;
    for (int side = 0; side < SIDES; side++) {
        struct answer *a = &r->side[side];
        errno = 0;
        a->hash = 0xcbf29ce484222325u;
        if (s->call == CALL_OPEN)
            a->ret = open_slot(side, s);
        else if (s->call == CALL_VIEW_WRITE)
            a->ret = view_write(side, s);
        else
            a->ret = slot ? on_slot(side, s, a) : on_path(side, s, a);
        a->err = a->ret < 0 ? errno : 0;
    }
    for (int i = 0; i < SLOTS; i++)
        for (int side = 0; side < SIDES; side++)
            if (slots[side][i] >= 0 && slots[1 - side][i] < 0) {
                (void)close(slots[side][i]);
                slots[side][i] = -1;
            }
}

void work(const struct world *w, int worker, int fd)
{
    struct step s;
    struct answers r;

    world = w;
    (void)umask(022);
    /* Two descriptors that all workers share are open already: 0 and 1. */
    for (int side = 0; side < SIDES; side++)
        for (int i = 0; i < SLOTS; i++)
            slots[side][i] = i < 2 ? 100 + 2 * i + side : -1;
    if (worker == WORKERS - 1 &&
        (setgroups(0, NULL) < 0 || setresgid(STRANGER, STRANGER, STRANGER) < 0 ||
         setresuid(STRANGER, STRANGER, STRANGER) < 0)) {
        perror("differ: another user");
        _exit(1);
    }
    while (read(fd, &s, sizeof s) == sizeof s) {
        memset(&r, 0, sizeof r);
        both(&s, &r);
        if (write(fd, &r, sizeof r) != sizeof r)
            _exit(1);
    }
    _exit(0);
}
