/* SPDX-License-Identifier: MIT */
/* survey_bytes: the plain bytes of a file of the log, as far as disk and compression still give them. */
#include "survey.h"

#include "frames.h"
#include "io.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <zstd.h>

#define PLAIN_NAME      26 /* bytes of "FIRST.jsonl"; with ".zst" behind it is compressed */
#define BAD_FRAME_BYTES ((size_t)128 << 10)
#define PLAIN_FRAME_MAX ((size_t)1 << 20) /* of a table that is believed */
#define READ_BYTES      ((size_t)1 << 20)
#define DISK_BYTES      ((size_t)4096) /* what a disk that fails may still give, piece by piece */

/* n bytes at p from byte at on; what can't be read is zeros. */
static int read_hard(int fd, char *p, size_t n, uint64_t at)
{
    ssize_t r = io_read_all(fd, p, n, at);

    if (r >= 0)
        return 0;
    if (r != -EIO)
        return (int)r;
    for (size_t i = 0; i < n; i += DISK_BYTES) {
        size_t k = MIN(n - i, DISK_BYTES);
        r = io_read_all(fd, p + i, k, at + i);
        if (r == -EIO)
            memset(p + i, 0, k);
        else if (r < 0)
            return (int)r;
    }
    return 0;
}

/* The file as it is. */
static int read_file(const struct survey *s, const char *name, char **ret, size_t *ret_n)
{
    char path[64], *p = NULL;
    struct stat st;

    (void)snprintf(path, sizeof path, "log/%s", name);
    int fd AUTO_CLOSE = io_open(s->dirfd, path, O_RDONLY, 0);
    int r = fd < 0 ? fd : io_stat(fd, &st);
    if (r < 0)
        return r;
    size_t n = (size_t)st.st_size;
    r = io_map_memory(MAX(n, 1u), &p);
    for (size_t at = 0; r == 0 && at < n; at += READ_BYTES)
        r = read_hard(fd, p + at, MIN(n - at, READ_BYTES), at);
    if (r < 0) {
        if (p)
            (void)io_unmap(p, MAX(n, 1u));
        return r;
    }
    *ret = p;
    *ret_n = n;
    return 0;
}

bool survey_packed(const char *name)
{
    return strlen(name) > PLAIN_NAME;
}

/* How many plain bytes a frame has: as table and frame say; where they differ, what it gives if it is whole. */
static size_t plain_of(const char *p, size_t n, size_t by_table)
{
    unsigned long long k = ZSTD_getFrameContentSize(p, n);

    if (k == by_table || k > PLAIN_FRAME_MAX)
        return by_table;
    char *try AUTO_FREE = malloc((size_t)k + 1);
    return try && ZSTD_decompress(try, (size_t)k, p, n) == k ? (size_t)k : by_table;
}

/* Frames as the table has them, which fills the file to the byte: so each line is where it was. False: there is no
 * such table. to NULL: only count. */
static bool unpack_by_table(const char *p, size_t n, char *to, size_t *ret, bool *ret_broken)
{
    const char *foot = p + n - FRAMES_FOOTER_BYTES;
    size_t at = 0, out = 0;

    if (n < FRAMES_SKIP_BYTES + FRAMES_FOOTER_BYTES || load32(foot + 5) != FRAMES_SEEK_MAGIC)
        return false;
    const size_t entry = foot[4] & 0x80 ? 12 : 8, bytes = load32(foot) * entry;
    if (bytes > n - FRAMES_SKIP_BYTES - FRAMES_FOOTER_BYTES)
        return false;
    const char *end = foot, *e = end - bytes;
    const size_t frames = n - FRAMES_FOOTER_BYTES - bytes - FRAMES_SKIP_BYTES;
    if (load32(p + frames) != FRAMES_SKIP_MAGIC)
        return false;
    for (const char *t = e; t < end; t += entry)
        if ((at += load32(t)) > frames || load32(t + 4) > PLAIN_FRAME_MAX)
            return false;
    if (at != frames)
        return false;
    for (at = 0; e < end; at += load32(e), e += entry) {
        size_t plain = plain_of(p + at, load32(e), load32(e + 4));
        *ret_broken |= plain != load32(e + 4);
        if (to && ZSTD_decompress(to + out, plain, p + at, load32(e)) != plain)
            *ret_broken = true; /* as far as it went: lines check themselves */
        out += plain;
    }
    *ret = out;
    return true;
}

/* No block gives more, and none has fewer bytes: what a damaged header says is not believed. */
static unsigned long long most_of(size_t packed)
{
    return (packed / 3 + 1) * (unsigned long long)ZSTD_BLOCKSIZE_MAX;
}

/* Frame by frame, without the table. What begins like no frame is as many zeros as one of ours has bytes. to NULL:
 * only count. */
static size_t unpack(const char *p, size_t n, char *to, size_t cap)
{
    size_t out = 0;

    for (size_t at = 0; at < n;) {
        size_t k = ZSTD_findFrameCompressedSize(p + at, n - at);
        unsigned long long plain =
            ZSTD_isError(k) ? ZSTD_CONTENTSIZE_ERROR : ZSTD_getFrameContentSize(p + at, k);
        if (plain == ZSTD_CONTENTSIZE_ERROR) { /* on to what begins like a frame */
            static const char magic[4] = {0x28, (char)0xb5, 0x2f, (char)0xfd};
            const char *next =
                at + 1 < n ? memmem(p + at + 1, n - at - 1, magic, sizeof magic) : NULL;
            k = next ? (size_t)(next - p) - at : n - at;
            plain = BAD_FRAME_BYTES;
        } else {
            plain = MIN(plain, most_of(k));
            if (to) /* as far as it goes: lines check themselves */
                (void)ZSTD_decompress(to + out, MIN(plain, cap - out), p + at, k);
        }
        out += plain;
        at += k;
    }
    return out;
}

static int read_plain(const struct survey *s, struct survey_file *f, char **ret, size_t *ret_n)
{
    char *packed, *p = NULL;
    size_t n;
    int r = read_file(s, f->name, ret, ret_n);

    if (r < 0 || !survey_packed(f->name))
        return r;
    packed = *ret;
    bool table = unpack_by_table(packed, *ret_n, NULL, &n, &f->broken);
    if (!table)
        n = unpack(packed, *ret_n, NULL, 0);
    r = io_map_memory(MAX(n, 1u), &p); /* zeros */
    if (r == 0 && table)
        (void)unpack_by_table(packed, *ret_n, p, &n, &f->broken);
    else if (r == 0)
        (void)unpack(packed, *ret_n, p, n);
    f->broken |= !table;
    (void)io_unmap(packed, MAX(*ret_n, 1u));
    *ret = p;
    *ret_n = n;
    return r;
}

static void drop_kept(struct survey *s, int i)
{
    if (s->kept[i].p)
        (void)io_unmap(s->kept[i].p, MAX(s->kept[i].n, 1u));
    s->kept[i].p = NULL;
    s->kept[i].file = SURVEY_NONE;
}

int survey_bytes(struct survey *s, uint32_t file, struct slice *ret, struct evs_error *err)
{
    char *p = NULL;
    size_t n = 0;

    for (int i = 0; i < 2; i++)
        if (s->kept[i].p && s->kept[i].file == file) {
            *ret = (struct slice){s->kept[i].p, s->kept[i].n};
            s->turn = !i;
            return 0;
        }
    drop_kept(s, s->turn);
    int r = read_plain(s, &s->files[file], &p, &n);
    if (r < 0)
        return evs_fail_errno(err, r, s->files[file].name);
    s->kept[s->turn].file = file;
    s->kept[s->turn].p = p;
    s->kept[s->turn].n = n;
    s->turn = !s->turn;
    *ret = (struct slice){p, n};
    return 0;
}

void survey_drop_bytes(struct survey *s)
{
    drop_kept(s, 0);
    drop_kept(s, 1);
}
