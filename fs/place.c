/* SPDX-License-Identifier: MIT */
/* A mount whose daemon is dead answers ENOTCONN to everything. (1) It is unmounted, lazily, if it is an evfs
 * mount and we may; else the message says how. (2) A mount that works is never touched. (3) What a mount says of a store
 * is believed only if it is root's, or the owner's. */
#include "place.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define ENDING_MS      10000 /* how long a daemon may take to end once its store is unmounted */
#define ENDING_STEP_MS 20

#define DEAD_MAX 8

/* Its absolute path, though it can't be looked at: the parent's path and the last component. */
static char *path_of_dead(const char *mountpoint)
{
    char *copy = strdup(mountpoint), *ret = NULL, *parent, *name;
    size_t n = copy ? strlen(copy) : 0;

    if (!copy)
        return NULL;
    while (n > 1 && copy[n - 1] == '/')
        copy[--n] = '\0';
    name = strrchr(copy, '/');
    if (name) {
        *name++ = '\0';
        parent = realpath(*copy ? copy : "/", NULL);
    } else {
        name = copy;
        parent = realpath(".", NULL);
    }
    if (parent && asprintf(&ret, "%s/%s", strcmp(parent, "/") == 0 ? "" : parent, name) < 0)
        ret = NULL;
    free(parent);
    free(copy);
    return ret;
}

/* mountinfo writes blanks and the like as \ooo. */
static void unescape(char *s)
{
    char *out = s;

    while (*s) {
        if (s[0] == '\\' && s[1] >= '0' && s[1] <= '3' && s[2] >= '0' && s[2] <= '7' &&
            s[3] >= '0' && s[3] <= '7') {
            *out++ = (char)((s[1] - '0') << 6 | (s[2] - '0') << 3 | (s[3] - '0'));
            s += 4;
        } else {
            *out++ = *s++;
        }
    }
    *out = '\0';
}

/* Is the topmost mount at path one of evfs? */
static bool is_ours(const char *path)
{
    FILE *f = fopen("/proc/self/mountinfo", "re");
    char *line = NULL, where[PATH_MAX];
    size_t cap = 0;
    bool ours = false;

    if (!f)
        return false;
    while (getline(&line, &cap, f) > 0) {
        if (sscanf(line, "%*s %*s %*s %*s %4095s", where) != 1)
            continue;
        unescape(where);
        if (strcmp(where, path) == 0)
            ours = strstr(line, " - fuse.evfs ") != NULL;
    }
    free(line);
    fclose(f);
    return ours;
}

/* Anybody may mount something that says it is of this store. Whoever has the store open is root, or who owns it. */
static bool is_trusted(const char *dir, const char *options)
{
    const char *user = strstr(options, "user_id=");
    char path[PATH_MAX];
    struct stat st;
    unsigned uid;

    if (!user || sscanf(user, "user_id=%u", &uid) != 1)
        return false;
    if (uid == 0 || (stat(dir, &st) == 0 && st.st_uid == uid))
        return true;
    (void)snprintf(path, sizeof path, "%.*s/lock", (int)sizeof path - 8, dir);
    return lstat(path, &st) == 0 && st.st_uid == uid;
}

bool place_of_store(const char *dir, char *at, size_t cap)
{
    char *real = realpath(dir, NULL), *row = NULL;
    size_t row_cap = 0;
    bool found = false;
    FILE *f = fopen("/proc/self/mountinfo", "re");

    while (f && real && !found && getline(&row, &row_cap, f) > 0) {
        char point[PATH_MAX], source[PATH_MAX], options[1024];
        const char *rest = strstr(row, " - fuse.evfs ");
        if (!rest || sscanf(row, "%*s %*s %*s %*s %4095s", point) != 1 ||
            sscanf(rest, " - %*s %4095s %1023s", source, options) != 2)
            continue;
        unescape(source);
        unescape(point);
        char *there = realpath(source, NULL);
        found = there && strcmp(there, real) == 0 && is_trusted(real, options);
        free(there);
        if (found && at)
            (void)snprintf(at, cap, "%s", point);
    }
    if (f)
        (void)fclose(f); /* only read: nothing to learn */
    free(row);
    free(real);
    return found;
}

bool place_ending(const char *dir, const struct evs_error *err, int *waited_ms)
{
    const struct timespec pause = {.tv_nsec = ENDING_STEP_MS * 1000000l};

    if (err->why != EVS_IN_USE || *waited_ms >= ENDING_MS || place_of_store(dir, NULL, 0))
        return false;
    (void)nanosleep(&pause, NULL);
    *waited_ms += ENDING_STEP_MS;
    return true;
}

static int unmount(const char *path)
{
    pid_t pid;
    int status = 1;

    if (umount2(path, MNT_DETACH) == 0)
        return 0;
    pid = fork();
    if (pid == 0) {
        execlp("fusermount3", "fusermount3", "-u", "-z", path, (char *)NULL);
        _exit(127);
    }
    if (pid < 0 || waitpid(pid, &status, 0) < 0 || status != 0)
        return -EPERM;
    return 0;
}

static int clear_dead(const char *mountpoint)
{
    char *path = path_of_dead(mountpoint);
    int r = path && is_ours(path) ? unmount(path) : -EPERM;

    if (r < 0)
        fprintf(stderr,
                "evfs: mount: %s: a filesystem whose daemon is dead is mounted there; end it with "
                "'fusermount3 -u -z %s' (or umount -l)\n",
                mountpoint, mountpoint);
    else
        fprintf(stderr, "evfs: mount: %s: the daemon of the last mount is dead; unmounted it\n",
                mountpoint);
    free(path);
    return r < 0 ? 1 : 0;
}

/* stat(2) won't do: the kernel may still have the attributes of a dead mount. */
static int look(const char *mountpoint)
{
    int fd = open(mountpoint, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    if (fd < 0)
        return errno;
    (void)close(fd);
    return 0;
}

int place_check(const char *mountpoint, char **ret_path)
{
    int r = look(mountpoint);

    for (int i = 0; r == ENOTCONN && i < DEAD_MAX; i++) { /* they may lie upon each other */
        if (clear_dead(mountpoint) != 0)
            return 1;
        r = look(mountpoint);
    }
    if (r == EACCES)
        r = 0; /* not readable, but perhaps ours to mount on: the kernel knows */
    if (r == 0) {
        *ret_path = realpath(mountpoint, NULL);
        if (*ret_path)
            return 0;
        r = errno;
    }
    fprintf(stderr, "evfs: mount: %s: %s%s\n", mountpoint, strerror(r),
            r == ENOENT ? "; make it with mkdir" : "");
    return 1;
}
