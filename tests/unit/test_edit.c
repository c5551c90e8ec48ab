/* SPDX-License-Identifier: MIT */
/* edit: bytes as a file has them, checked once for each time that something was written. */
#include "check.h"

#include "fs/edit.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static struct quota quota;
static pthread_mutex_t quota_lock = PTHREAD_MUTEX_INITIALIZER;
static int checked;
static char seen[64];

static struct edit *edit(const char *text, size_t most)
{
    struct edit *e = NULL;

    CHECK_EQ(edit_new(text ? strdup(text) : NULL, text ? strlen(text) : 0, most, &quota,
                      &quota_lock, 7, &e),
             0);
    return e;
}

static int note(void *arg, const char *text, size_t n)
{
    checked++;
    (void)snprintf(seen, sizeof seen, "%.*s", (int)n, text);
    return *(int *)arg;
}

static void bytes_are_those_of_a_file(void)
{
    int ok = 0;

    quota = (struct quota){.whole = 1 << 20};
    struct edit *e = edit("0123456789", 100000);
    CHECK_EQ(edit_write(e, "ab", 2, 3, false), 2);
    CHECK_EQ(edit_write(e, "cd", 2, 0, true), 2);
    CHECK_EQ(edit_bytes(e), 12);
    CHECK_EQ(edit_check(e, false, note, &ok), 0);
    CHECK_STR(seen, "012ab56789cd");
    CHECK_EQ(edit_write(e, "x", 1, 14, false), 1);
    CHECK(memcmp(e->text, "012ab56789cd\0\0x", 15) == 0);
    CHECK_EQ(edit_resize(e, 4), 0);
    CHECK_EQ(edit_resize(e, 6), 0);
    CHECK(e->n == 6 && memcmp(e->text, "012a\0\0", 6) == 0);
    CHECK_EQ(edit_resize(e, 0), 0);
    for (int i = 0; i < 1000; i++)
        CHECK_EQ(edit_write(e, "0123456789", 10, (uint64_t)(999 - i) * 10, false), 10);
    CHECK_EQ(e->n, 10000);
    for (size_t i = 0; i < e->n; i++)
        CHECK_EQ(e->text[i], '0' + (int)(i % 10));
    CHECK_EQ(edit_write(e, "", 0, 99999, false), 0);
    CHECK_EQ(e->n, 10000);
    edit_free(e);
    CHECK_EQ(quota.n, 0);
    quota_done(&quota);
}

static void it_has_a_largest_size_and_a_share(void)
{
    quota = (struct quota){.whole = 10000};
    struct edit *e = edit(NULL, 6000), *other = edit(NULL, 6000);
    CHECK_EQ(edit_write(e, "x", 1, 5999, false), 1);
    CHECK_EQ(edit_write(e, "xyz", 3, 5999, false), 1);
    CHECK_EQ(edit_write(e, "x", 1, 6000, false), -EFBIG);
    CHECK_EQ(edit_write(e, "x", 1, UINT64_MAX, false), -EFBIG);
    CHECK_EQ(edit_write(e, "x", 1, 0, true), -EFBIG);
    CHECK_EQ(edit_resize(e, 6001), -EFBIG);
    CHECK_EQ(edit_write(other, "x", 1, 0, false), -ENOBUFS);
    edit_free(e);
    CHECK_EQ(edit_write(other, "x", 1, 0, false), 1);
    edit_free(other);
    edit_free(NULL);
    quota_done(&quota);
}

static void checked_when_written(void)
{
    int ok = 0, bad = -EINVAL;

    quota = (struct quota){.whole = 1 << 20};
    struct edit *e = edit("old", 100);
    checked = 0;
    CHECK_EQ(edit_check(e, false, note, &bad), 0);
    CHECK_EQ(edit_check(e, true, note, &bad), 0);
    CHECK_EQ(checked, 0); /* nothing was written */
    CHECK_EQ(edit_write(e, "new", 3, 0, false), 3);
    CHECK_EQ(edit_check(e, false, note, &bad), -EINVAL);
    CHECK_EQ(edit_check(e, false, note, &ok), -EINVAL); /* said again, not tried again */
    CHECK_EQ(checked, 1);
    CHECK_EQ(edit_write(e, "NEW", 3, 0, false), 3);
    CHECK_EQ(edit_check(e, true, note, &ok), 0);
    CHECK_EQ(checked, 2);
    CHECK_STR(seen, "NEW");
    edit_free(e);

    e = edit(NULL, 100); /* emptied, and not written to */
    CHECK_EQ(edit_check(e, false, note, &bad), 0);
    CHECK_EQ(checked, 2);
    CHECK_EQ(edit_check(e, true, note, &bad), -EINVAL);
    CHECK_EQ(checked, 3);
    CHECK_STR(seen, "");
    edit_free(e);
    quota_done(&quota);
}

int main(void)
{
    RUN(bytes_are_those_of_a_file);
    RUN(it_has_a_largest_size_and_a_share);
    RUN(checked_when_written);
    CHECK_DONE();
}
