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
#define LIMIT_PINS                 65536u         /* pinned schemas a store */
#define LIMIT_PINS_BYTES           (64ull << 20)  /* of all of them */
#define LIMIT_PINS_MEMORY          (512ull << 20) /* of all of them, compiled */
#define LIMIT_PIN_ERRORS           1024u          /* refused schemas whose reason is kept */
#define LIMIT_PENDING_BYTES        (256ull << 20) /* unfinished values of all writers together */
#define LIMIT_REJECTED_BYTES       (1u << 20) /* rejected.jsonl; the older half goes when it is reached */
#define LIMIT_REJECTED_VALUE_BYTES 4096u         /* of one rejected value, what is kept */
#define LIMIT_EVENTS               0xfffffff0ull /* events a store: seqs are 32 bits in the index */
#define LIMIT_INFER_PROPERTIES     256u          /* names of fields an object; more: it is a map */
#define LIMIT_INFER_NODES          4096u         /* places that an inferred schema describes */
#define LIMIT_INFER_DEPTH          32u           /* nesting that it describes */
#define LIMIT_INFER_NAME_BYTES     128u          /* a field's name; longer ones are data */
#define LIMIT_INFER_SHAPES         4096u         /* shapes that a type remembers */
#define LIMIT_INFER_ENUM           16u           /* values of a vocabulary */
#define LIMIT_INFER_EXAMPLES       3u            /* values that are shown of other fields */
#define LIMIT_INFER_VALUE_BYTES    80u           /* one of them, as JSON */
#define LIMIT_SCHEMA_BYTES         (1u << 20) /* a JSON Schema, and each document that it refers to */
#define LIMIT_SCHEMA_DOCUMENTS     64u        /* with those that it refers to */
#define LIMIT_SCHEMA_NAMES         1024u      /* its $id, and its anchors */
#define LIMIT_SCHEMA_NODES         65536u     /* its subschemas */
#define LIMIT_SCHEMA_MEMORY        (64u << 20) /* of one, compiled */
#define LIMIT_SCHEMA_NESTING       1024u       /* subschemas within another in validating a value */
#define LIMIT_SCHEMA_WORK          (1u << 25) /* in validating a value: subschemas, members, and 64 bytes */
#define LIMIT_PATTERN_BYTES        4096u      /* a regular expression of a schema */
#define LIMIT_PATTERN_STEPS        (1u << 22) /* of all regular expressions in validating a value */
#define LIMIT_PATTERN_HEAP_KIB     (16u << 10) /* for what one of them has to try again */
#define LIMIT_SCHEMA_VERSIONS      1000u       /* a type; what changes then goes into the newest */
#define LIMIT_SCHEMA_TEXTS_BYTES   (32u << 20) /* of a type's versions; what changes then, the same */
#define LIMIT_SCHEMAS_BYTES        (64u << 20) /* what is learned of all types together */
#define LIMIT_EVOLVE_STEPS         200000u     /* of the proof that two schemas agree */
#define LIMIT_EVOLVE_CHANGES       1000u       /* differences of two schemas that are told */
#define LIMIT_SEGMENT_BYTES_MIN    (64ull << 10)
#define LIMIT_SEGMENT_BYTES_MAX    (4ull << 30)
#define DEFAULT_SEGMENT_BYTES      (256ull << 20)
#define DEFAULT_FRAMES_BYTES       (64ull << 20) /* of compressed segments, what is kept decompressed */
#define DEFAULT_STATES_BYTES       (16ull << 20) /* states that are kept, least recently used first out */
#define DEFAULT_STATES             16384u        /* and how many */
#define DEFAULT_COMPRESS           15            /* level; docs/performance.md has why */
#define DEFAULT_SYNC_INTERVAL_MS   100u

#endif
