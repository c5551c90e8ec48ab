/* SPDX-License-Identifier: MIT */
/* frames_write: plain bytes to frames and their table. A frame is compressed by itself, from a copy: what is
 * mapped may fail to be read, and zstd would have to be left in the middle of it. */
#include "frames.h"

#include "io.h"

#include <errno.h>
#include <zstd.h>

static void store32(char *p, uint32_t v)
{
    memcpy(p, &v, sizeof v);
}

/* Compresses into out; the frame's size, or 0: no memory. */
static size_t encode(ZSTD_CCtx *zstd, const char *plain, size_t n, char *out, size_t cap)
{
    size_t k = ZSTD_compress2(zstd, out, cap, plain, n);

    return ZSTD_isError(k) ? 0 : k;
}

#define SYNC_BYTES                                                                                 \
    ((uint64_t)4 << 20) /* at the most so much waits for a sync, which others would wait for too */

struct writer {
    const struct frames_job *j;
    int fd;
    ZSTD_CCtx *zstd;
    char *plain, *packed; /* FRAME_BYTES, and what they can become */
    char *table;
    uint64_t at, synced; /* of the file */
    size_t n;            /* frames written */
};

static int write_frame(struct writer *w, struct evs_error *err)
{
    uint64_t pos = w->n * FRAME_BYTES;
    size_t n = MIN(w->j->n - pos, FRAME_BYTES), cap = ZSTD_compressBound(FRAME_BYTES);
    int r = io_copy(w->plain, w->j->plain + pos, n);

    if (r < 0)
        return evs_fail_errno(err, r, "reading lines to compress");
    size_t k = encode(w->zstd, w->plain, n, w->packed, cap);
    if (k == 0)
        return evs_fail(err, EVS_NO_MEMORY, EVS_NOWHERE);
    r = io_write_all(w->fd, w->packed, k, w->at);
    char *entry = w->table + FRAMES_SKIP_BYTES + w->n++ * 8;
    store32(entry, (uint32_t)k);
    store32(entry + 4, (uint32_t)n);
    w->at += k;
    if (r == 0 && w->at - w->synced >= SYNC_BYTES) {
        r = io_datasync(w->fd);
        w->synced = w->at;
    }
    return r < 0 ? evs_fail_errno(err, r, "writing frames") : 0;
}

static int write_table(struct writer *w, struct evs_error *err)
{
    size_t bytes = FRAMES_SKIP_BYTES + w->n * 8 + FRAMES_FOOTER_BYTES;
    char *foot = w->table + bytes - FRAMES_FOOTER_BYTES;

    store32(w->table, FRAMES_SKIP_MAGIC);
    store32(w->table + 4, (uint32_t)(bytes - FRAMES_SKIP_BYTES));
    store32(foot, (uint32_t)w->n);
    foot[4] = 0; /* each frame has its own checksum */
    store32(foot + 5, FRAMES_SEEK_MAGIC);
    int r = io_write_all(w->fd, w->table, bytes, w->at);
    if (r == 0)
        r = io_datasync(w->fd);
    return r < 0 ? evs_fail_errno(err, r, "writing frames") : 0;
}

int frames_write(const struct frames_job *j, int fd, struct evs_error *err)
{
    size_t n = (size_t)((j->n + FRAME_BYTES - 1) / FRAME_BYTES);
    struct writer w = {
        .j = j,
        .fd = fd,
        .zstd = ZSTD_createCCtx(),
        .plain = malloc(FRAME_BYTES),
        .packed = malloc(ZSTD_compressBound(FRAME_BYTES)),
        .table = malloc(FRAMES_SKIP_BYTES + n * 8 + FRAMES_FOOTER_BYTES),
    };
    int r = 0;

    assert(j->n > 0);
    if (!w.zstd || !w.plain || !w.packed || !w.table) {
        r = evs_fail(err, EVS_NO_MEMORY, EVS_NOWHERE);
    } else { /* neither can fail: zstd clamps the level */
        (void)ZSTD_CCtx_setParameter(w.zstd, ZSTD_c_compressionLevel, j->level);
        (void)ZSTD_CCtx_setParameter(w.zstd, ZSTD_c_checksumFlag, 1);
    }
    while (r == 0 && w.n < n)
        r = frames_stopped(j) ? evs_fail_errno(err, -ECANCELED, "compressing")
                              : write_frame(&w, err);
    if (r == 0)
        r = write_table(&w, err);
    (void)ZSTD_freeCCtx(w.zstd);
    free(w.plain);
    free(w.packed);
    free(w.table);
    return r;
}
