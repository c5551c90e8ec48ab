/* SPDX-License-Identifier: MIT */
/* evfs-gen: events for benchmarks and tests, as JSON Lines for events.jsonl. (1) The same arguments
 * give the same bytes. (2) Every line has --size bytes, its line feed included. (3) Entity, type
 * and numbers are drawn uniformly: for caches the worst there is, so figures from it are on the
 * safe side.
 *
 *     {"entity":"orders/0001234","type":"type-07","data":{"n":7,"customer":"c-5d1f…",
 *      "total":1130717.25,"note":"…"}}
 *
 * Fast enough not to be what is measured: a line is a template whose digits are overwritten, a
 * write is some 256 KB. */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define BUFFER_BYTES (256u << 10)
#define SIZE_DEFAULT 200
#define SIZE_MAX_    (1u << 20) /* the largest value that a store takes */

static const char usage[] =
    "usage: evfs-gen N [--entities M | --per-entity K] [--types T] [--size BYTES] [--seed S] "
    "[--ids]\n"
    "Writes N events as JSON Lines to stdout, made from seed S (1).\n"
    "  --entities M     over M entities; or --per-entity K (10): over N / K of them\n"
    "  --types T        of T types (20)\n"
    "  --size BYTES     each so many bytes with its line feed (200)\n"
    "  --ids            each with an id of its own\n"
    "Numbers may end in k or M (thousands, millions).\n";

struct plan {
    uint64_t n, entities, types, size, seed;
    bool ids;
};

/* A line with the places in it that change. */
struct line {
    char *text; /* size bytes, owned */
    size_t size;
    size_t id, entity, type, n, customer, total, note; /* offsets; id 0: none */
    unsigned entity_digits, type_digits;
    size_t note_bytes;
};

static int fail(const char *what, const char *why)
{
    fprintf(stderr, "evfs-gen: %s: %s\n", what, why);
    return 1;
}

static uint64_t next_random(uint64_t *state) /* xorshift64*, Vigna 2016 */
{
    *state ^= *state >> 12;
    *state ^= *state << 25;
    *state ^= *state >> 27;
    return *state * 0x2545f4914f6cdd1du;
}

/* Uniform in [0, n) from the high bits, without a division (Lemire). */
static uint64_t below(uint64_t random, uint64_t n)
{
    return (uint64_t)((unsigned __int128)random * n >> 64);
}

static unsigned digits_of(uint64_t v)
{
    unsigned d = 1;

    for (; v >= 10; v /= 10)
        d++;
    return d;
}

static void put_decimal(char *out, unsigned digits, uint64_t v)
{
    for (; digits > 0; v /= 10)
        out[--digits] = (char)('0' + v % 10);
}

static void put_hex(char *out, unsigned digits, uint64_t v)
{
    static const char hex[] = "0123456789abcdef";

    for (; digits > 0; v >>= 4)
        out[--digits] = hex[v & 15];
}

/* Lay the template out: text with '0' for digits, and where they are. 0, or -EINVAL, and says so,
 * if size is too small. */
static int make_line(struct line *l, const struct plan *p)
{
    static const char words[] =
        "the parcel is to be left with a neighbour if nobody answers the door; ";
    char head[400], id[64] = "";
    unsigned entity = digits_of(p->entities - 1), type = digits_of(p->types - 1);

    if (p->ids)
        (void)snprintf(id, sizeof id, "\"id\":\"00000000-0000-4000-8000-%012d\",", 0);
    int n = snprintf(
        head, sizeof head,
        "{\"entity\":\"orders/%0*d\",\"type\":\"type-%0*d\",%s\"data\":{\"n\":%0*d,\"customer\":"
        "\"c-%016d\",\"total\":1%06d.25,\"note\":\"",
        (int)entity, 0, (int)type, 0, id, 1, 1, 0, 0);
    size_t head_n = (size_t)n, tail_n = sizeof "\"}}\n" - 1;
    if (p->size < head_n + tail_n) {
        fprintf(stderr, "evfs-gen: --size: such an event has %zu bytes and more\n",
                head_n + tail_n);
        return -EINVAL;
    }
    l->text = malloc(p->size);
    if (!l->text)
        return -ENOMEM;
    l->size = p->size;
    memcpy(l->text, head, head_n);
    l->entity_digits = entity;
    l->type_digits = type;
    l->entity = (size_t)(strstr(head, "orders/") - head) + 7;
    l->type = (size_t)(strstr(head, "type-") - head) + 5;
    l->id = p->ids ? (size_t)(strstr(head, "\"id\":") - head) + 6 : 0;
    l->n = (size_t)(strstr(head, "\"n\":") - head) + 4;
    l->customer = (size_t)(strstr(head, "\"c-") - head) + 3;
    l->total = (size_t)(strstr(head, "\"total\":") - head) + 8;
    l->note = head_n;
    l->note_bytes = p->size - head_n - tail_n;
    for (size_t i = 0; i < l->note_bytes; i++)
        l->text[head_n + i] = words[i % (sizeof words - 1)];
    memcpy(l->text + p->size - tail_n, "\"}}\n", tail_n);
    return 0;
}

/* Fill in event i. */
static void draw(const struct line *l, const struct plan *p, uint64_t i, uint64_t *state)
{
    uint64_t a = next_random(state), b = next_random(state);

    put_decimal(l->text + l->entity, l->entity_digits, below(a, p->entities));
    put_decimal(l->text + l->type, l->type_digits, below(b, p->types));
    l->text[l->n] = (char)('1' + (b & 7)); /* one digit, no leading zero */
    put_hex(l->text + l->customer, 16, a ^ b);
    put_decimal(l->text + l->total + 1, 6, (b >> 8) % 1000000);
    if (l->id) {
        put_hex(l->text + l->id, 8, p->seed);
        put_hex(l->text + l->id + 24, 12, i);
    }
}

static int write_all(const char *p, size_t n)
{
    while (n > 0) {
        ssize_t r = write(STDOUT_FILENO, p, n);
        if (r < 0 && errno != EINTR)
            return fail("stdout", strerror(errno));
        if (r > 0) {
            p += r;
            n -= (size_t)r;
        }
    }
    return 0;
}

static int generate(const struct plan *p)
{
    struct line l = {0};
    uint64_t state = p->seed * 0x9e3779b97f4a7c15u | 1; /* xorshift must not begin with 0 */
    size_t cap = BUFFER_BYTES > p->size ? BUFFER_BYTES : p->size, n = 0;
    char *buf = malloc(cap);
    int r = buf ? make_line(&l, p) : -ENOMEM;

    if (r < 0) {
        free(buf);
        return r == -EINVAL ? 2 : fail("template", strerror(-r));
    }
    (void)fcntl(STDOUT_FILENO, F_SETPIPE_SZ, 1 << 20); /* fails where it is no pipe: fine */
    for (uint64_t i = 0; i < p->n && r == 0; i++) {
        if (n + l.size > cap) {
            r = write_all(buf, n);
            n = 0;
        }
        draw(&l, p, i, &state);
        memcpy(buf + n, l.text, l.size);
        n += l.size;
    }
    if (r == 0)
        r = write_all(buf, n);
    free(l.text);
    free(buf);
    return r;
}

/* A positive number, perhaps with k or M. 0 if it is none. */
static uint64_t number(const char *s)
{
    char *end;
    uint64_t v = *s >= '0' && *s <= '9' ? strtoull(s, &end, 10) : (end = NULL, 0);
    uint64_t unit = !end ? 0 : *end == 'k' ? 1000 : *end == 'M' ? 1000000 : 1;

    if (!end || end[unit > 1] || __builtin_mul_overflow(v, unit, &v))
        return 0;
    return v;
}

int main(int argc, char **argv)
{
    static const struct option options[] = {
        {"entities", required_argument, NULL, 'e'}, {"per-entity", required_argument, NULL, 'p'},
        {"types", required_argument, NULL, 't'},    {"size", required_argument, NULL, 's'},
        {"seed", required_argument, NULL, 'r'},     {"ids", no_argument, NULL, 'i'},
        {"help", no_argument, NULL, 'h'},           {0}};
    struct plan p = {.types = 20, .size = SIZE_DEFAULT, .seed = 1};
    uint64_t per_entity = 10;

    for (int c; (c = getopt_long(argc, argv, "h", options, NULL)) != -1;) {
        uint64_t v = optarg ? number(optarg) : 1;
        if (c == 'h')
            return fputs(usage, stdout) < 0;
        if (c == '?' || v == 0) {
            fputs(usage, stderr);
            return 2;
        }
        *(c == 'e'   ? &p.entities
          : c == 'p' ? &per_entity
          : c == 't' ? &p.types
          : c == 's' ? &p.size
          : c == 'r' ? &p.seed
                     : &v) = v;
        p.ids = p.ids || c == 'i';
    }
    p.n = argc - optind == 1 ? number(argv[optind]) : 0;
    if (p.n == 0 || p.size > SIZE_MAX_) {
        fputs(usage, stderr);
        return 2;
    }
    if (p.entities == 0)
        p.entities = (p.n + per_entity - 1) / per_entity;
    return generate(&p);
}
