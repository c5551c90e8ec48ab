/* SPDX-License-Identifier: MIT */
/* cmd_schema_source: (1) A mount is asked through its files: it has the store open, and judges who may read what. */
#include "fs/cmd_schema.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define PIECE_BYTES (64u << 10)

/* All of fd, terminated. 0 or a negative errno. */
static int read_all(int fd, char **ret, size_t *ret_n)
{
    char *text = NULL;
    size_t n = 0, cap = 0;
    ssize_t r;

    do {
        if (cap - n < PIECE_BYTES) {
            cap = 2 * cap + PIECE_BYTES;
            char *more = realloc(text, cap + 1);
            if (!more) {
                free(text);
                return -ENOMEM;
            }
            text = more;
        }
        r = read(fd, text + n, cap - n);
        n += r > 0 ? (size_t)r : 0;
    } while (r > 0 || (r < 0 && errno == EINTR));
    if (r < 0) {
        int code = -errno;
        free(text);
        return code;
    }
    text[n] = '\0';
    *ret = text;
    *ret_n = n;
    return 0;
}

int schema_read_file(const char *path, char **ret, size_t *ret_n)
{
    bool standard = strcmp(path, "-") == 0;
    int fd = standard ? STDIN_FILENO : open(path, O_RDONLY | O_CLOEXEC);
    int r = fd < 0 ? -errno : read_all(fd, ret, ret_n);

    if (fd >= 0 && !standard)
        (void)close(fd); /* only read: nothing to learn */
    return r < 0 ? cmd_fail("%s: %s", standard ? "stdin" : path, strerror(-r)) : CMD_OK;
}

/* A file of the type's directory in the mount. -errno, without a message. */
static int read_mounted(const struct schema_source *s, const char *file, char **ret, size_t *ret_n)
{
    char path[PATH_MAX + EVS_PATH_MAX + 64];

    (void)snprintf(path, sizeof path, "%s/types/%s/%s", s->root, s->encoded, file);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    int r = fd < 0 ? -errno : read_all(fd, ret, ret_n);
    if (fd >= 0)
        (void)close(fd);
    return r;
}

static int set_name(struct schema_source *s, const char *name)
{
    struct evs_error err;
    int r = evs_encode_type(name, strlen(name), s->encoded, sizeof s->encoded, &err);
    char text[256];

    if (r < 0)
        return cmd_fail("%s: %s", name, cmd_reason(&err, text, sizeof text));
    s->name_n = strlen(name);
    memcpy(s->name, name, s->name_n + 1);
    return CMD_OK;
}

/* path lies in the mount at s->root: in types/TYPE. */
static int set_path(struct schema_source *s, const char *path)
{
    char *real = realpath(path, NULL);
    const char *at = real ? real + strlen(s->root) : NULL;
    int n = -1;

    if (at && strncmp(at, "/types/", 7) == 0) {
        at += 7;
        size_t len = strcspn(at, "/");
        n = evs_decode_component(at, len, true, s->name, sizeof s->name - 1, NULL);
        (void)snprintf(s->encoded, sizeof s->encoded, "%.*s", (int)len, at);
    }
    free(real);
    if (n < 0)
        return cmd_fail("%s: is not in types/TYPE of the mount at %s", path, s->root);
    s->name_n = (size_t)n;
    s->name[n] = '\0';
    return CMD_OK;
}

int schema_source_open(struct schema_source *s, int n, char **operands)
{
    const char *place = operands[0], *type = operands[n - 1];

    *s = (struct schema_source){.dir = place};
    if (n == 1) {
        int r = cmd_mount_root(place, s->root, sizeof s->root);
        bool is_path = strchr(place, '/') || *place == '.';
        if (r == 0 && is_path)
            return set_path(s, place);
        if (is_path)
            return cmd_fail("%s: %s; of a store that is not mounted: DATA TYPE", place,
                            r == -EXDEV ? "is not in a mount" : strerror(-r));
        if (cmd_mount_root(".", s->root, sizeof s->root) < 0)
            return cmd_fail("%s: the working directory is not in a mount; give a path in one, or "
                            "DATA TYPE",
                            place);
        return set_name(s, type);
    }
    if (set_name(s, type) != CMD_OK)
        return CMD_FAILED;
    if (cmd_mount_root(place, s->root, sizeof s->root) == 0)
        return CMD_OK;
    s->root[0] = '\0';
    return cmd_open_store(place, &(struct evs_options){.read_only = true, .must_exist = true},
                          &s->st);
}

int schema_source_close(struct schema_source *s)
{
    struct evs_error err;

    return evs_close(s->st, &err) < 0 ? cmd_fail_store(s->dir, &err) : CMD_OK;
}

static int fail(const struct schema_source *s, const char *file, int code)
{
    if (code == ENOENT)
        return cmd_fail("%s: there is no such type, or no schema of it is known", s->name);
    if (!s->st)
        return cmd_fail("%s/types/%s/%s: %s", s->root, s->encoded, file, strerror(code));
    return cmd_fail("%s: %s: %s", s->dir, s->name, strerror(code));
}

int schema_source_pinned(struct schema_source *s, char **ret, size_t *ret_n)
{
    const struct evs_dir d = {EVS_DIR_TYPE, s->name, s->name_n};
    int r = s->st ? evs_pin_text(s->st, &d, ret, ret_n, NULL)
                  : read_mounted(s, "pinned.json", ret, ret_n);

    if (r == -ENOENT)
        *ret = NULL;
    return r == 0 || r == -ENOENT ? CMD_OK : fail(s, "pinned.json", -r);
}

int schema_source_learned(struct schema_source *s, uint32_t version, char **ret, size_t *ret_n)
{
    char file[40] = "schema.json";
    int r;

    if (version)
        (void)snprintf(file, sizeof file, "schemas/%" PRIu32 ".json", version);
    if (s->st)
        r = evs_schema(s->st, evs_find_type(s->st, s->name, s->name_n), version, ret, ret_n, NULL);
    else
        r = read_mounted(s, file, ret, ret_n);
    if (r == -ENOENT && version)
        return cmd_fail("%s: there is no version %" PRIu32 " of its schema", s->name, version);
    return r < 0 ? fail(s, file, -r) : CMD_OK;
}
