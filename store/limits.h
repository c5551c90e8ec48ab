/* SPDX-License-Identifier: MIT */
/* limits: everything that a user can grow, and how far. README.md, "Limits", tells users. */
#ifndef STORE_LIMITS_H
#define STORE_LIMITS_H

#define LIMIT_DEPTH                128            /* nesting of a value */
#define LIMIT_VALUE_BYTES          (1u << 20)     /* one value as written */
#define LIMIT_TX_BYTES             (16u << 20)    /* one transaction as written */
#define LIMIT_TX_EVENTS            65536u         /* events in it */
#define LIMIT_ENTITY_BYTES         1024u          /* an entity id */
#define LIMIT_TYPE_BYTES           128u           /* a type */
#define LIMIT_ID_BYTES             128u           /* a writer's id */
#define LIMIT_COMPONENTS           32u            /* of an entity id */
#define LIMIT_COMPONENT_FILE_BYTES 255u           /* an encoded component with its longest suffix */
#define LIMIT_TYPES                65536u         /* types a store */
#define LIMIT_OWNERS               262144u        /* directories with an owner of their own */
#define LIMIT_PENDING_BYTES        (256ull << 20) /* unfinished values of all writers together */
#define LIMIT_REJECTED_BYTES       (1u << 20) /* rejected.jsonl; the older half goes when it is reached */
#define LIMIT_REJECTED_VALUE_BYTES 4096u         /* of one rejected value, what is kept */
#define LIMIT_EVENTS               0xfffffff0ull /* events a store: seqs are 32 bits in the index */
#define LIMIT_SEGMENT_BYTES_MIN    (64ull << 10)
#define LIMIT_SEGMENT_BYTES_MAX    (4ull << 30)
#define DEFAULT_SEGMENT_BYTES      (256ull << 20)
#define DEFAULT_FRAMES_BYTES       (64ull << 20) /* of compressed segments, what is kept decompressed */
#define DEFAULT_COMPRESS           15            /* level; docs/performance.md has why */
#define DEFAULT_SYNC_INTERVAL_MS   100u

#endif
