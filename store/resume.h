/* SPDX-License-Identifier: MIT */
/* resume: finds the end of a log that is opened, and makes what is there fit to go on. Private to
 * log.c. */
#ifndef STORE_RESUME_H
#define STORE_RESUME_H

#include "segment.h"

/* The segments of a log, oldest first; owned. */
struct segments {
    struct segment **s;
    size_t n;
    evs_seq recs_end; /* up to there the idx files had recs before any was touched */
    evs_seq cut;      /* log/CUT.cut keeps what was cut off, now or earlier; 0: there is none */
};

/* Open all segments in dirfd (the directory "log"). Afterwards each has its end (tail, visible,
 * synced), all lines are durable, all but the last are sealed, and the last, unless it is sealed as
 * well, has its files open and room to grow. None: an empty log. With o->read_only no byte has
 * changed, what follows the end is only ignored, and nothing is said of durability. DAMAGED:
 * segment and byte. */
int resume_segments(int dirfd, const struct log_options *o, struct frame_cache *cache,
                    struct segments *ret, struct evs_error *err);
void resume_free(struct segments *all);

/* How large a segment is made. */
struct segment_mark resume_room(const struct log_options *o);

#endif
