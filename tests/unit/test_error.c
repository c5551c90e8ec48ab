/* SPDX-License-Identifier: MIT */
/* The table of reasons and the messages that people read. */
#include "check.h"
#include "store/error.h"

#include <errno.h>

static char text[400];

static const char *message(const struct evs_error *err)
{
    return evs_error_format(err, text, sizeof text);
}

static void every_reason_is_whole(void)
{
    for (int i = 1; i < EVS_REASON_COUNT; i++) {
        struct evs_error err = {0};
        const char *name = evs_reason_name((enum evs_reason)i);
        const char *sentence = evs_reason_text((enum evs_reason)i);
        int r = evs_fail(&err, (enum evs_reason)i, 7);
        CHECK(r < 0 && err.code == -r);
        CHECK_EQ(err.why, i);
        CHECK_EQ(err.pos, 7);
        CHECK_STR(err.detail, "");
        CHECK(*name && *sentence && strcmp(name, "OK") != 0);
        CHECK(sentence[strlen(sentence) - 1] != '.'); /* it is part of a longer message */
        for (int k = 1; k < i; k++) {
            CHECK(strcmp(name, evs_reason_name((enum evs_reason)k)) != 0);
            CHECK(strcmp(sentence, evs_reason_text((enum evs_reason)k)) != 0);
        }
    }
    CHECK_STR(evs_reason_name(EVS_OK_), "OK");
    CHECK_STR(evs_reason_name(EVS_REASON_COUNT), "OK");
    CHECK_STR(evs_reason_text((enum evs_reason)12345), "no error");
}

static void reasons_have_the_errno_that_is_promised(void)
{
    CHECK_EQ(evs_fail(NULL, EVS_BAD_JSON, 0), -EINVAL);
    CHECK_EQ(evs_fail(NULL, EVS_STALE, 0), -ESTALE);
    CHECK_EQ(evs_fail(NULL, EVS_ID_TAKEN, 0), -EEXIST);
    CHECK_EQ(evs_fail(NULL, EVS_TOO_LARGE, 0), -EMSGSIZE);
    CHECK_EQ(evs_fail(NULL, EVS_NAME_TOO_LONG, 0), -ENAMETOOLONG);
    CHECK_EQ(evs_fail(NULL, EVS_PENDING_FULL, 0), -ENOBUFS);
    CHECK_EQ(evs_fail(NULL, EVS_DENIED, 0), -EACCES);
    CHECK_EQ(evs_fail(NULL, EVS_READ_ONLY, 0), -EROFS);
    CHECK_EQ(evs_fail(NULL, EVS_DISK_FULL, 0), -ENOSPC);
    CHECK_EQ(evs_fail(NULL, EVS_DAMAGED, 0), -EIO);
    CHECK_EQ(evs_fail_at(NULL, EVS_DAMAGED, 0, "%s", "x"), -EIO);
    CHECK_EQ(evs_fail_errno(NULL, -EXDEV, "x"), -EXDEV);
}

static void a_system_call_keeps_its_errno(void)
{
    struct evs_error err;

    CHECK_EQ(evs_fail_errno(&err, -ENOSPC, "write"), -ENOSPC);
    CHECK_EQ(err.why, EVS_DISK_FULL);
    CHECK_EQ(evs_fail_errno(&err, -EDQUOT, "write"), -EDQUOT);
    CHECK_EQ(err.why, EVS_DISK_FULL);
    CHECK_EQ(err.code, EDQUOT);
    CHECK_EQ(evs_fail_errno(&err, -ENOMEM, "mmap"), -ENOMEM);
    CHECK_EQ(err.why, EVS_NO_MEMORY);
    CHECK_EQ(evs_fail_errno(&err, -EXDEV, "rename"), -EXDEV);
    CHECK_EQ(err.why, EVS_SYSTEM);
    CHECK_EQ(err.code, EXDEV);
    CHECK_EQ(err.pos, EVS_NOWHERE);
    CHECK_STR(err.detail, "rename");
}

static void a_detail_that_is_too_long_is_cut(void)
{
    struct evs_error err;

    memset(&err, 'x', sizeof err);
    (void)evs_fail_at(&err, EVS_DAMAGED, 1, "%0500d", 1);
    CHECK_EQ(strlen(err.detail), sizeof err.detail - 1);
    (void)evs_fail(&err, EVS_DAMAGED, 1); /* and one of an earlier failure does not stay */
    CHECK_STR(err.detail, "");
}

static void messages_say_what_where_and_why(void)
{
    struct evs_error err;
    char small[12];

    (void)evs_fail(&err, EVS_BAD_JSON, 17);
    CHECK_STR(message(&err), "not JSON (byte 17)");
    (void)evs_fail(&err, EVS_NO_MEMORY, EVS_NOWHERE);
    CHECK_STR(message(&err), "no memory");
    (void)evs_fail_at(&err, EVS_DAMAGED, 8192, "log/%020d.jsonl", 1);
    CHECK_STR(message(&err),
              "log/00000000000000000001.jsonl: stored bytes are damaged (byte 8192)");
    (void)evs_fail_errno(&err, -ENOENT, "/data");
    CHECK_STR(message(&err), "/data: a system call failed: No such file or directory");
    (void)evs_fail_errno(&err, -EIO, "/data"); /* its own errno, and said all the same */
    CHECK_STR(message(&err), "/data: a system call failed: Input/output error");
    (void)evs_fail_errno(&err, -EDQUOT, "append");
    CHECK_STR(message(&err), "append: the disk is full: Disk quota exceeded");
    CHECK_STR(evs_error_format(&err, small, sizeof small), "append: the");
}

int main(void)
{
    RUN(every_reason_is_whole);
    RUN(reasons_have_the_errno_that_is_promised);
    RUN(a_system_call_keeps_its_errno);
    RUN(a_detail_that_is_too_long_is_cut);
    RUN(messages_say_what_where_and_why);
    CHECK_DONE();
}
