/* SPDX-License-Identifier: MIT */
/* append_read: a whole program on libevstore. Opens a store, appends events, reads them back.
 *
 *     cc append_read.c $(pkg-config --cflags --libs evstore) -o append_read
 *     ./append_read /tmp/orders        (or :memory:)
 */
#include <evstore.h>

#include <stdio.h>
#include <string.h>
#include <unistd.h>

static int fail(const char *what, const struct evs_error *err)
{
    char text[512];

    fprintf(stderr, "append_read: %s: %s\n", what, evs_error_format(err, text, sizeof text));
    return 1;
}

/* Append lines to one file of the tree. Each value is an event; an array of events is a
 * transaction. */
static int append(struct evs_store *st, const struct evs_target *target, const char *lines)
{
    const struct evs_cred cred = {.uid = getuid(), .gid = getgid(), .pid = getpid()};
    const char *end = lines + strlen(lines);
    struct evs_writer *w;
    struct evs_error err;
    int r = 0;

    if (evs_writer_new(st, target, "append_read", &w, &err) < 0)
        return fail("writer", &err);
    /* A write takes everything up to the first bad value; the next one, which starts there, says
     * why. */
    while (lines < end && r == 0) {
        ssize_t n = evs_write(w, lines, (size_t)(end - lines), &cred, &err);
        if (n < 0)
            r = fail("append", &err);
        else
            lines += n;
    }
    if (r == 0 && evs_sync(st, evs_writer_seq(w), &err) < 0)
        r = fail("sync", &err);
    evs_writer_free(w);
    return r;
}

/* Print a view: whole lines, as a file of the mount would have them. */
static int print(struct evs_store *st, const struct evs_view *view)
{
    struct evs_cursor *c;
    struct evs_error err;
    char buf[4096];
    uint64_t pos = 0;
    ssize_t n;

    if (evs_cursor_new(st, view, &c, &err) < 0)
        return fail("cursor", &err);
    while ((n = evs_cursor_read(c, pos, buf, sizeof buf, &err)) > 0) {
        fwrite(buf, 1, (size_t)n, stdout);
        pos += (uint64_t)n;
    }
    evs_cursor_free(c);
    return n < 0 ? fail("read", &err) : 0;
}

static int use(struct evs_store *st)
{
    const struct evs_target all = {.kind = EVS_ALL};
    const struct evs_target paid = {.kind = EVS_OWN_TYPE,
                                    .entity = "orders/42",
                                    .entity_len = 9,
                                    .type = "paid",
                                    .type_len = 4};
    struct evs_extent extent;

    if (append(st, &all,
               "{\"entity\":\"orders/42\",\"type\":\"placed\",\"data\":{\"total\":99}}\n"
               "{\"entity\":\"orders/43\",\"type\":\"placed\",\"data\":{\"total\":12}}\n") ||
        append(st, &paid, "{\"method\":\"card\"}\n"))
        return 1;

    struct evs_view view = {.kind = EVS_BELOW, .entity = evs_find_entity(st, "orders/42", 9)};
    if (evs_view_extent(st, &view, &extent) < 0)
        return 1;
    printf("orders/42 has %llu events, the newest is %llu:\n", (unsigned long long)extent.events,
           (unsigned long long)extent.last);
    return print(st, &view);
}

int main(int argc, char **argv)
{
    struct evs_store *st;
    struct evs_error err;

    if (argc != 2) {
        fprintf(stderr, "usage: append_read DIRECTORY\n");
        return 2;
    }
    if (evs_open(argv[1], NULL, &st, &err) < 0)
        return fail(argv[1], &err);
    int r = use(st);
    if (evs_close(st, &err) < 0)
        r = fail(argv[1], &err);
    return r;
}
