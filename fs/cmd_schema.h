/* SPDX-License-Identifier: MIT */
/* cmd_schema: where evfs schema gets a type's schemas from: the files of a mount, or a store that is not mounted. */
#ifndef FS_CMD_SCHEMA_H
#define FS_CMD_SCHEMA_H

#include "fs/cmd.h"

#include <limits.h>

struct schema_source {
    char root[PATH_MAX];     /* of the mount; "" without */
    const char *dir;         /* of the store that is opened */
    struct evs_store *st;    /* owned; NULL where it is mounted */
    char name[EVS_PATH_MAX]; /* of the type, decoded */
    size_t name_n;
    char encoded[EVS_PATH_MAX]; /* as its directory is called */
};

/* The operands before the others: a path to or below types/TYPE in a mount, or the name of a type where the working
 * directory is in a mount, or (two) a directory of a store, or a path in a mount, and the name of a type. CMD_OK, or
 * CMD_FAILED with the message out. */
int schema_source_open(struct schema_source *s, int n, char **operands);
int schema_source_close(struct schema_source *s);

/* The pinned schema; NULL with CMD_OK where there is none. *ret is malloc'ed. */
int schema_source_pinned(struct schema_source *s, char **ret, size_t *ret_n);
/* What was learned: version 0 is the newest. */
int schema_source_learned(struct schema_source *s, uint32_t version, char **ret, size_t *ret_n);

/* A whole file, "-" is stdin. */
int schema_read_file(const char *path, char **ret, size_t *ret_n);

#endif
