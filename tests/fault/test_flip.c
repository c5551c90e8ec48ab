/* SPDX-License-Identifier: MIT */
/* Every bit of a small store, flipped in turn. What must hold, whatever bit it is:
 * (1) Nothing crashes and nothing hangs: the flips run in a child process, under an alarm.
 * (2) No read gives other bytes than were stored: the right ones, or an error. Owners and modes as well.
 * (3) A bit of the log is named by verify, and by whoever stumbles over it: segment, byte, event. In a compressed
 *     segment it costs no more than the events of its frame; verify says which of them, and a repair keeps the rest.
 * (4) A bit of meta.db is harmless, or the store does not open, and says which file it is.
 * (5) A bit of anything else costs nothing: all reads and appends are right, and verify is content afterwards.
 * By default some of the bits, at random (SEED=); all of them with EVFS_TEST_MODE=long, of which PART=K/N does every
 * Nth, from the Kth on: for several processors, or days; but of meta.db-shm, which SQLite makes anew at each first
 * open, some. STORE=closed or STORE=killed: of that store only. FLIP=FILE:BYTE:BIT does one. */
#include "flip_hit.h"

#include <sys/prctl.h>

/* ---- what is asked of a store ---- */

struct looked {
    struct evs_store *st;
    size_t n;     /* events that are there */
    bool trouble; /* an error was allowed, and met */
};

/* Are these the only lines of some events? */
static bool is_log(void)
{
    return w.files[now->file].kind <= PACKED;
}

/* An error of a read: allowed where the log itself is hit. */
static void read_failed(struct looked *l, const char *what, const struct evs_error *err)
{
    now->read_errors += !l->trouble;
    l->trouble = true;
    if (!is_log())
        fail("%s: %s %s", what, evs_reason_name(err->why), err->detail);
    else if (err->why != EVS_DAMAGED)
        fail("%s: %s, not DAMAGED", what, evs_reason_name(err->why));
    else
        check_named(err->detail, err->pos);
}

static void look_at_bytes(struct looked *l, struct evs_cursor *c, const char *what,
                          const char *want, size_t n)
{
    struct evs_error err;
    char buf[9000];
    size_t at = 0;
    ssize_t r;

    while ((r = evs_cursor_read(c, at, buf, 1 + at * 7 % sizeof buf, &err)) > 0) {
        if (at + (size_t)r > n || memcmp(buf, want + at, (size_t)r) != 0) {
            fail("%s: other bytes at %zu", what, at);
            return;
        }
        at += (size_t)r;
    }
    if (r < 0)
        read_failed(l, what, &err);
    else if (at != n)
        fail("%s: ends at %zu of %zu", what, at, n);
    for (size_t k = 1; k < 4; k++) { /* not in order */
        size_t pos = n * (4 - k) / 4;
        r = evs_cursor_read(c, pos, buf, 400, &err);
        if (r < 0)
            read_failed(l, what, &err);
        else if ((size_t)r > n - pos || memcmp(buf, want + pos, (size_t)r) != 0 ||
                 ((size_t)r < MIN(n - pos, (size_t)400) && !l->trouble))
            fail("%s: other bytes at %zu", what, pos);
    }
}

static void look_at_view(struct looked *l, const struct evs_view *v, const char *what,
                         const char *want, size_t n, size_t events)
{
    struct evs_extent x = {0};
    struct evs_cursor *c;
    struct evs_error err;
    int r = evs_view_extent(l->st, v, &x);

    if (r == -EIO)
        read_failed(l, what, &(struct evs_error){.why = EVS_SYSTEM});
    else if (r < 0 ? events > 0 : x.events != events || x.bytes != n)
        fail("%s: extent is %" PRIu64 " events, %" PRIu64 " bytes, not %zu, %zu", what, x.events,
             x.bytes, events, n);
    else if (events && (x.first_us != w.m.lines[x.first - 1].recorded_us ||
                        x.last_us != w.m.lines[x.last - 1].recorded_us))
        fail("%s: other times", what);
    r = evs_cursor_new(l->st, v, &c, &err);
    if (r < 0) {
        if (r != -ENOENT || events)
            read_failed(l, what, &err);
        return;
    }
    look_at_bytes(l, c, what, want, n);
    evs_cursor_free(c);
}

/* One entity of the model's first l->n events: every view of it, its types, its state. */
static void look_at_entity(struct looked *l, const struct model *m, const char *id)
{
    struct slice s = {id, strlen(id)};
    evs_entity e = evs_find_entity(l->st, id, s.n);
    size_t n, events, own = 0;
    char *want = model_view(m, s, true, (struct slice){0}, false, &n, &events), name[1100];
    evs_type of[16];

    look_at_view(l, &(struct evs_view){EVS_BELOW, e, 0}, id, want, n, events);
    if (e && (evs_entity_name(l->st, e, name, sizeof name) != (int)s.n || memcmp(name, id, s.n)))
        fail("%s: has another name", id);
    free(want);
    want = model_view(m, s, false, (struct slice){0}, false, &n, &events);
    look_at_view(l, &(struct evs_view){EVS_OWN, e, 0}, id, want, n, events);
    free(want);
    for (size_t i = 0; i < ARRAY_LEN(types); i++) {
        struct slice type = {types[i], strlen(types[i])};
        evs_type t = evs_find_type(l->st, type.p, type.n);
        want = model_view(m, s, false, type, true, &n, &events);
        look_at_view(l, &(struct evs_view){EVS_OWN_TYPE, e, t}, id, want, n, events);
        free(want);
        own += events > 0;
    }
    if (e && evs_entity_types(l->st, e, of, ARRAY_LEN(of)) < own && !l->trouble)
        fail("%s: has fewer types", id);
    char *json;
    struct evs_error err;
    if (e && evs_state(l->st, e, &json, &n, &err) == 0)
        free(json);
    else if (e && err.why != EVS_NO_SUCH)
        read_failed(l, id, &err);
}

static void look_at_owners(struct looked *l)
{
    for (size_t i = 0; i < ARRAY_LEN(places); i++) {
        const struct evs_owner *want = &places[i].owner;
        struct evs_owner got;
        bool own;
        evs_get_owner(l->st, &places[i].dir, &got, &own);
        if (want->mode
                ? !own || got.uid != want->uid || got.gid != want->gid || got.mode != want->mode
                : own || got.mode != 0755)
            fail("%s: owner %u:%u, mode %o", places[i].dir.name, got.uid, got.gid, got.mode);
    }
    if (evs_border_mask(l->st, &(struct evs_dir){.kind = EVS_DIR_ROOT}) & 044)
        fail("the border of tenant is open");
}

/* Lines of a user's own, as they were, or none. */
static void look_at_rejected(struct looked *l)
{
    static const uid_t uids[] = {0, 7, 8};

    for (size_t i = 0; i < ARRAY_LEN(uids); i++) {
        char *text, uid[32];
        size_t n;
        if (evs_rejected(l->st, false, uids[i], &text, &n, NULL) < 0)
            continue;
        (void)snprintf(uid, sizeof uid, "\"uid\":%u,", uids[i]);
        for (char *p = text, *lf; (lf = strchr(p, '\n')); p = lf + 1) {
            *lf = '\0';
            if (!strstr(w.rejected, p) || !strstr(p, uid))
                fail("rejected: another line: %s", p);
        }
        free(text);
    }
}

/* Line by line: only those that are hit may fail. */
static void look_at_each(struct looked *l)
{
    static char buf[2 * FRAME_BYTES];
    struct evs_cursor *c;
    struct evs_error err;
    struct hit h = {0};

    if (!find_hit(&h) || evs_cursor_new(l->st, &(struct evs_view){.kind = EVS_ALL}, &c, &err) < 0)
        return;
    uint64_t at = 0;
    for (evs_seq seq = 1; seq <= l->n; at += w.m.raw[seq++ - 1].n) {
        const struct slice *want = &w.m.raw[seq - 1];
        ssize_t r = evs_cursor_read(c, at, buf, want->n, &err);
        if (r < 0)
            read_failed(l, "a line", &err);
        if (r < 0 ? seq < h.from || seq > h.to
                  : (size_t)r != want->n || memcmp(buf, want->p, want->n) != 0)
            fail("event %" PRIu64 " alone: %zd", seq, r);
    }
    evs_cursor_free(c);
}

static void look_at_all(struct looked *l)
{
    struct model m = w.m; /* the first events only */
    size_t n, events;
    char *want;

    m.n = l->n;
    m.n_bytes = 0;
    for (size_t i = 0; i < m.n; i++)
        m.n_bytes += m.raw[i].n;
    look_at_view(l, &(struct evs_view){.kind = EVS_ALL}, "all", m.bytes, m.n_bytes, m.n);
    for (size_t i = 0; i < ARRAY_LEN(types); i++) {
        struct slice type = {types[i], strlen(types[i])};
        want = model_view(&m, (struct slice){0}, false, type, false, &n, &events);
        look_at_view(l, &(struct evs_view){EVS_TYPE, 0, evs_find_type(l->st, type.p, type.n)},
                     types[i], want, n, events);
        free(want);
    }
    for (size_t i = 0; i < ARRAY_LEN(ids); i++)
        look_at_entity(l, &m, ids[i]);
    look_at_each(l);
    look_at_owners(l);
    look_at_rejected(l);
}

/* ---- appending ---- */

/* One event to a: stored, with the right seq and version, or refused with an errno. */
static void append_one(struct looked *l)
{
    static const char text[] = "{\"entity\":\"a\",\"type\":\"paid\",\"data\":\"more\"}\n";
    evs_entity e = evs_find_entity(l->st, "a", 1);
    evs_seq end = evs_end(l->st);
    struct evs_extent x;
    struct evs_cursor *c;
    struct line line;
    char buf[1024];
    uint64_t version = 1;
    ssize_t r = give(l->st, text);

    for (size_t i = 0; i < l->n; i++)
        version += w.m.lines[i].entity.n == 1 && w.m.lines[i].entity.p[0] == 'a';
    if (r < 0) {
        if (!l->trouble && !is_log())
            fail("append: errno %zd", -r);
        return;
    }
    if (evs_end(l->st) != end + 1)
        fail("append: end is %" PRIu64 " after %" PRIu64, evs_end(l->st), end);
    if (evs_view_extent(l->st, &(struct evs_view){EVS_OWN, e, 0}, &x) < 0 ||
        evs_cursor_new(l->st, &(struct evs_view){EVS_OWN, e, 0}, &c, NULL) < 0) {
        if (!l->trouble)
            fail("append: no view");
        return;
    }
    uint64_t pos = 0;
    r = evs_cursor_find(c, end, &pos, NULL);
    if (r == 0)
        r = evs_cursor_read(c, pos, buf, sizeof buf, NULL);
    evs_cursor_free(c);
    if (r < 0 && l->trouble)
        return;
    if (r <= 0 || line_parse(buf, (size_t)r, &line, NULL, NULL) < 0 || line.seq != end + 1 ||
        line.version != version)
        fail("append: read back wrong");
}

/* What is decided by what is stored: ids that were there, versions. */
static void decide(struct looked *l)
{
    evs_seq end = evs_end(l->st);
    ssize_t r;

    r = give(l->st, "{\"entity\":\"a/b\",\"type\":\"paid\",\"data\":{\"n\":1,\"s\":\"a\"},"
                    "\"id\":\"wid-1\"}\n");
    if ((r < 0 && !is_log()) || evs_end(l->st) != end)
        fail("a repeat: %zd, end %" PRIu64 " after %" PRIu64, r, evs_end(l->st), end);
    r = give(l->st, "{\"entity\":\"a/b\",\"type\":\"paid\",\"data\":0,\"id\":\"wid-1\"}\n");
    if ((r != -EEXIST && !is_log()) || r >= 0)
        fail("an id that is taken: %zd", r);
    r = give(l->st, "{\"entity\":\"z\",\"type\":\"paid\",\"expected_version\":1}\n");
    if ((r != -ESTALE && !is_log()) || r >= 0)
        fail("a stale version: %zd", r);
}

/* ---- one flip ---- */

/* A hash that is damaged stays as it is, and is found: who mended it in silence would hide what was done. */
static void say(void *arg, const char *text)
{
    int *other = arg;

    if (w.files[now->file].kind == CHAIN && strstr(text, w.files[now->file].name))
        return;
    ++*other;
    fprintf(stderr, "# %s\n", text);
}

static void check_healed(void)
{
    struct evs_store *st;
    struct evs_error err;
    int other = 0, n = evs_verify(w.dir, say, &other, &err);

    if (n < 0 || other)
        fail("verify afterwards: %d findings (%s)", n, n < 0 ? err.detail : "");
    if (evs_open(w.dir, NULL, &st, &err) < 0) {
        fail("reopening: %s", err.detail);
        return;
    }
    struct looked l = {.st = st, .n = w.m.n};
    struct evs_cursor *c;
    if (evs_cursor_new(st, &(struct evs_view){.kind = EVS_ALL}, &c, NULL) == 0) {
        char *buf = malloc(w.m.n_bytes);
        if (evs_cursor_read(c, 0, buf, w.m.n_bytes, &err) != (ssize_t)w.m.n_bytes ||
            memcmp(buf, w.m.bytes, w.m.n_bytes) != 0)
            fail("reopened: other bytes");
        free(buf);
        evs_cursor_free(c);
    }
    look_at_owners(&l);
    if (evs_close(st, &err) < 0)
        fail("closing again: %s", err.detail);
}

static void check_refusal(const struct evs_error *err)
{
    const struct file *f = &w.files[now->file];

    now->refused++;
    struct hit h = {0};
    if (f->kind == LOG || (find_hit(&h) && h.to == 0)) /* frames are not looked at yet */
        check_named(err->detail, err->pos);
    else if (f->kind != META)
        fail("it does not open: %s %s", evs_reason_name(err->why), err->detail);
    else if (!strstr(err->detail, "meta.db"))
        fail("it does not open, and does not say why: %s", err->detail);
}

static void try_flip(void)
{
    const struct file *f = &w.files[now->file];
    struct findings found = {0};
    struct evs_store *st;
    struct evs_error err;

    (void)alarm(ALARM_SECONDS);
    now->tried++;
    restore();
    flip();
    int n = evs_verify(w.dir, take_finding, &found, &err);
    if (evs_open(w.dir, NULL, &st, &err) < 0) {
        if (n == 0)
            fail("it does not open, and verify finds nothing");
        check_refusal(&err);
        if (f->kind == PACKED)
            check_repair(&found);
        return;
    }
    struct looked l = {.st = st, .n = evs_end(st)};
    if (l.n > w.m.n || l.n < w.durable || (l.n < w.m.n && f->kind != LOG)) {
        fail("ends with event %zu of %zu", l.n, w.m.n);
        l.n = MIN(l.n, w.m.n);
    }
    bool cut = l.n < w.m.n;
    look_at_all(&l);
    append_one(&l);
    decide(&l);
    if ((f->kind == LOG || l.trouble) && !cut && !found.named)
        fail("verify does not name it (%d findings)", found.n);
    if (n == 0 && l.trouble)
        fail("verify found nothing");
    now->harmless += n == 0 && !l.trouble;
    if (evs_close(st, &err) < 0 && !l.trouble)
        fail("close: %s", err.detail);
    else if (f->kind == PACKED && n > 0)
        check_repair(&found);
    else if (!is_log() && f->kind != META)
        check_healed();
}

/* ---- which flips ---- */

struct turn {
    int file;
    uint64_t byte;
    int bit;
};
static struct turn *turns;
static uint64_t n_turns;

static void add_turn(int file, uint64_t byte, int bit)
{
    if ((n_turns & (n_turns - 1)) == 0)
        turns = realloc(turns, (n_turns ? 2 * n_turns : 1) * sizeof *turns);
    turns[n_turns++] = (struct turn){file, byte, bit};
}

static bool is_padding(const struct file *f, uint64_t at)
{
    for (uint64_t i = at > 16 ? at - 16 : 0; i < at + 16 && i < f->n; i++)
        if (f->bytes[i])
            return false;
    return true;
}

/* An equal part of n for each file; of what is only zeros, few. */
static void choose(uint64_t n, uint64_t *random)
{
    for (int i = 0; i < w.n; i++)
        for (uint64_t k = 0; w.files[i].n && k < n / (uint64_t)w.n;) {
            uint64_t byte = check_random(random) % w.files[i].n;
            k++;
            if (!is_padding(&w.files[i], byte) || check_random(random) % 16 == 0)
                add_turn(i, byte, (int)(check_random(random) % 8));
            else if (check_random(random) % 16)
                k--;
        }
}

static bool is_shm(const struct file *f)
{
    return strcmp(f->name, "meta.db-shm") == 0;
}

/* Part k of n, from 1, of each file: stores differ by a few bytes from run to run. false: there is no such part. */
static bool choose_all(const char *part)
{
    uint64_t k = 1, n = 1;

    if (part && (sscanf(part, "%" SCNu64 "/%" SCNu64, &k, &n) != 2 || k < 1 || k > n))
        return false;
    for (int i = 0; i < w.n; i++)
        for (uint64_t byte = 0; byte < w.files[i].n; byte += is_shm(&w.files[i]) ? 97 : 1)
            for (int bit = 0; bit < 8; bit++)
                if ((8 * byte + (uint64_t)bit) % n == k - 1)
                    add_turn(i, byte, bit);
    return true;
}

static bool choose_one(const char *flip_env)
{
    const char *colon = strchr(flip_env, ':');

    for (int i = 0; colon && i < w.n; i++)
        if (strlen(w.files[i].name) == (size_t)(colon - flip_env) &&
            strncmp(w.files[i].name, flip_env, (size_t)(colon - flip_env)) == 0) {
            char *rest;
            uint64_t byte = strtoull(colon + 1, &rest, 10);
            if (byte < w.files[i].n && *rest == ':')
                add_turn(i, byte, atoi(rest + 1) & 7);
            return n_turns > 0;
        }
    return false;
}

static void run_turns(void)
{
    while (now->next < n_turns) {
        (void)fflush(NULL);
        pid_t pid = fork();
        if (pid == 0) {
            check_failed = 0;
            for (int i = 0; i < 2000 && now->next < n_turns; i++, now->next++) {
                const struct turn *t = &turns[now->next];
                now->file = t->file;
                now->byte = t->byte;
                now->bit = t->bit;
                try_flip();
            }
            exit(check_failed ? 1 : 0); /* not _exit(): leaks are looked for */
        }
        int status;
        CHECK(waitpid(pid, &status, 0) == pid);
        if (status != 0) {
            fail(WIFSIGNALED(status) ? "killed by signal %d" : "exit %d",
                 WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status));
            now->next++;
        }
    }
}

#define ROUND        400u
#define MOST_SECONDS 40

static void flip_bits(bool clean, uint64_t seed)
{
    const char *mode = getenv("EVFS_TEST_MODE"), *one = getenv("FLIP");
    const bool all = mode && strcmp(mode, "long") == 0;
    uint64_t n = mode && strcmp(mode, "ci") == 0 ? 4500 : 800;

    everything = all || one;
    *now = (struct progress){0};
    if (!make_world(clean)) {
        free_world();
        return;
    }
    if (one)
        CHECK(choose_one(one) || !clean);
    else if (all)
        CHECK(choose_all(getenv("PART")));
    const uint64_t until = monotonic_ns() + MOST_SECONDS * 1000000000ull;
    do { /* rounds over all files, so that none is left out where time is over */
        if (!one && !all)
            choose(ROUND, &seed);
        run_turns();
    } while (!one && !all && n_turns < (clean ? n : n / 2) && monotonic_ns() < until);
    size_t bytes = 0;
    for (int i = 0; i < w.n; i++)
        bytes += w.files[i].n;
    printf("# %" PRIu64 " bits of %d files, %zu bytes: %" PRIu64 " refused at open, %" PRIu64
           " found when read, %" PRIu64 " harmless; %" PRIu64 " wrong\n",
           now->tried, w.n, bytes, now->refused, now->read_errors, now->harmless, now->failed);
    CHECK_EQ(now->failed, 0);
    CHECK(one || now->tried == n_turns);
    free_world();
    free(turns);
    turns = NULL;
    n_turns = 0;
}

static uint64_t seed;

static void test_bits_of_a_store_that_was_closed(void)
{
    flip_bits(true, seed);
}

static void test_bits_of_a_store_that_was_killed(void)
{
    flip_bits(false, seed + 1);
}

int main(void)
{
    seed = check_seed();
    (void)prctl(PR_SET_THP_DISABLE, 1, 0, 0, 0); /* an index is opened some 100,000 times */
    now = mmap(NULL, sizeof *now, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (now == MAP_FAILED)
        return 2;
    const char *which = getenv("STORE");
    if (!which || strcmp(which, "killed") != 0)
        RUN(test_bits_of_a_store_that_was_closed);
    if (!which || strcmp(which, "closed") != 0)
        RUN(test_bits_of_a_store_that_was_killed);
    CHECK_DONE();
}
