/* SPDX-License-Identifier: MIT */
/* infer: the schema of one type, learned from its values. Pure: memory only, no files, no threads, no
 * store. docs/schemas.md tells users what it finds.
 *
 * A model is a function of the set of shapes that were added, whatever their order, but for its
 * annotations (ranges, enum candidates, examples), which come from the values that were looked at.
 * Whatever was added validates against infer_schema()'s text, with formats asserted too.
 *
 * Threads: one thread at a time changes a model (infer_add, infer_sample) or reads all of it
 * (infer_schema, infer_save, infer_bytes). infer_find() and infer_hit() may run beside it. */
#ifndef STORE_INFER_H
#define STORE_INFER_H

#include "error.h"
#include "util.h"

#include <stdatomic.h>

struct infer;

/* Events counted: how many, the least and the greatest seq. One thread writes, anyone reads. */
struct infer_span {
    _Atomic uint64_t count, first, last; /* first and last are 0 while count is */
};

/* A shape that the model has merged. Lives as long as the model and never moves. */
struct infer_shape_rec {
    uint64_t shape;
    struct infer_span added; /* by infer_add() */
    struct infer_span hits;  /* by infer_hit() */
    uint8_t *nodes;          /* infer's own: bit i: node i occurs in values of this shape */
    uint32_t nodes_bytes;
};

/* 0 or -ENOMEM. *ret is the caller's, to infer_free(), which takes NULL. */
int infer_new(struct infer **ret);
void infer_free(struct infer *m);

/* The hash of a value's shape: names of members in their order, kinds (null, boolean, integer, number, and a
 * string's format), of an array the set of its elements' shapes, of data-like names the set of their
 * values' shapes. Two values of one shape make the same model, but for counts and annotations. json is one
 * value that scan_value() accepted, without white space around it. One pass, no allocation, any thread. The
 * same in every process: it may be stored, together with INFER_VERSION. */
uint64_t infer_shape(struct slice json);

/* Changes whenever a shape's hash or what infer_save() writes does. */
#define INFER_VERSION 2u

/* Merge the value of event seq. shape: infer_shape(json). Returns 1 if the schema has changed structurally
 * (more than counts and annotations), 0 if not, -ENOMEM: the model is then as right as before and the value
 * is not counted, though part of it may be in it. A shape that was seen is counted and sampled only. */
int infer_add(struct infer *m, struct slice json, uint64_t shape, evs_seq seq);

/* The record of a shape that was merged, or NULL. Lock-free beside one infer_add(); at worst it does not
 * find a shape that is being added. */
struct infer_shape_rec *infer_find(const struct infer *m, uint64_t shape);

/* Count an event of a shape that infer_find() found, without looking at its value. One thread at a time for
 * a model (the caller's lock), which may be another than that of infer_add(). */
static inline void infer_span_add(struct infer_span *s, evs_seq seq)
{
    const uint64_t count = atomic_load_explicit(&s->count, memory_order_relaxed);

    if (count == 0 || seq < atomic_load_explicit(&s->first, memory_order_relaxed))
        atomic_store_explicit(&s->first, seq, memory_order_relaxed);
    if (seq > atomic_load_explicit(&s->last, memory_order_relaxed))
        atomic_store_explicit(&s->last, seq, memory_order_relaxed);
    /* Release: who acquires this count sees the seqs. */
    atomic_store_explicit(&s->count, count + 1, memory_order_release);
}
static inline void infer_hit(struct infer_shape_rec *rec, evs_seq seq)
{
    infer_span_add(&rec->hits, seq);
}

/* Look at a value whose shape was added, for the annotations only. Never structural, never fails: what finds
 * no memory is left out. */
void infer_sample(struct infer *m, struct slice json);

struct infer_options {
    struct slice title; /* becomes "title", UTF-8; p NULL: none */
    bool structure;     /* without annotations: the same text whenever the structure is the same */
};

/* The model as JSON Schema 2020-12, indented, with a LF at its end; deterministic: names are sorted. o may be
 * NULL. *ret is the caller's, to free(), *ret_n its length without the NUL. 0 or -ENOMEM. */
int infer_schema(const struct infer *m, const struct infer_options *o, char **ret, size_t *ret_n);

/* All of the model as bytes, and back. A version (INFER_VERSION) and a checksum around them are the caller's.
 * infer_load() takes any bytes: -EBADMSG for those that infer_save() can't have written. Hits are saved as
 * additions. Counts are read as they are at the moment; infer_hit() may go on. 0 or -ENOMEM. */
int infer_save(const struct infer *m, char **ret, size_t *ret_n);
int infer_load(struct slice bytes, struct infer **ret);

/* Bytes of memory that the model holds. */
size_t infer_bytes(const struct infer *m);

/* Events counted so far, hits included. */
uint64_t infer_count(const struct infer *m);

#endif
