/* SPDX-License-Identifier: MIT */
/* A repair on a disk that is full from some call on, and of a meta.db with a sector that can't be read. Each run is in
 * a process of its own; EVFS_TEST_MODE=long has every call and every sector. */
#include "../unit/repair_check.h"
#include "disk.h"

#include <errno.h>
#include <sys/wait.h>

#define OWNERS 300

static struct evs_dir dir_of(int i, char name[20])
{
    int n = snprintf(name, 20, "c/d %d", i);

    return (struct evs_dir){EVS_DIR_ENTITY, name, (size_t)n};
}

/* quick, ci, long */
static int by_mode(int quick, int ci, int most)
{
    const char *mode = getenv("EVFS_TEST_MODE");

    return !mode ? quick : strcmp(mode, "long") == 0 ? most : strcmp(mode, "ci") == 0 ? ci : quick;
}

/* 0: repaired; 1: the disk was full, and the repair said so. */
static int repair_when_full(uint64_t n)
{
    const struct disk_fault full = {.n = n, .kinds = DISK_GROWS, .code = ENOSPC, .forever = true};
    int status = -1;
    pid_t child = fork();

    if (child == 0) {
        (void)disk_fault_set(&full);
        int r = evs_repair(dir, &done, NULL, NULL, &err);
        (void)disk_fault_set(NULL);
        char text[300];
        /* Where SQLite can't make a file it looks for one to read, and says that this isn't there. */
        bool is_full = err.why == EVS_DISK_FULL || strncmp(err.detail, "meta.db", 7) == 0;
        if (r < 0 && !is_full)
            fprintf(stderr, "full: %s\n", evs_error_format(&err, text, sizeof text));
        _exit(r == 0 ? 0 : is_full ? 1 : 2);
    }
    CHECK_EQ(waitpid(child, &status, 0), child);
    CHECK(WIFEXITED(status) && WEXITSTATUS(status) < 2);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 2;
}

/* From the nth call that needs room on there is none, before the log is exchanged or after: what is there then is
 * repaired when there is room again, and nothing good is lost. */
static void test_a_full_disk(void)
{
    uint64_t seed = check_seed(), store = seed % 1000, n = 1, refused = 0;

    was_killed = true; /* what was lost may have been told by the run before */
    for (int stores = by_mode(2, 6, 40); stores > 0 && check_failed < 20;
         n += 1 + (seed + n) % (uint64_t)by_mode(9, 5, 1)) {
        const int before = check_failed;
        bool exact = damage(store);
        int full = repair_when_full(n);
        CHECK_EQ(repair(), 0);
        check_repaired(exact);
        if (check_failed != before)
            fprintf(stderr, "SEED=%" PRIu64 ", full from call %" PRIu64 " on:\n%.2000s\n", seed, n,
                    said);
        refused += full == 1;
        if (full == 0) { /* it needed no more than that: another one */
            store += 100;
            stores--;
            n = 0;
        }
    }
    was_killed = false;
    CHECK(refused > 10);
}

/* Of a row that is damaged the name may be as well: as many as are missing are told. */
static void check_owners(bool all_told)
{
    struct evs_store *st;
    char name[20];
    struct evs_owner o;
    int missing = 0, gone = 0;
    bool own;

    for (const char *p = said; (p = strstr(p, "owner and mode are gone of a directory: ")); p++)
        gone++;
    CHECK_EQ(evs_open(dir, NULL, &st, &err), 0);
    CHECK_EQ(evs_end(st), EVENTS);
    for (int i = 0; i < OWNERS; i++) {
        const struct evs_dir d = dir_of(i, name);
        evs_get_owner(st, &d, &o, &own);
        CHECK(!own || (o.uid == (uid_t)i && o.mode == 0700));
        missing += !own;
    }
    CHECK(all_told || missing <= gone);
    CHECK_EQ(evs_close(st, &err), 0);
}

/* Each sector of meta.db in turn: the rest is kept, or what may be gone is told. */
static void test_a_sector_of_meta_that_cannot_be_read(void)
{
    struct evs_store *st;
    struct stat bad = {0};
    char name[20];
    int kept = 0;

    for (off_t at = 0;; at += 512 * by_mode(7, 3, 1)) {
        restore();
        CHECK_EQ(evs_open(dir, NULL, &st, &err), 0);
        for (int i = 0; i < OWNERS; i++) {
            const struct evs_dir d = dir_of(i, name);
            CHECK_EQ(evs_set_owner(st, &d, &(struct evs_owner){(uid_t)i, 2, 0700}, &err), 0);
        }
        CHECK_EQ(evs_close(st, &err), 0);
        CHECK_EQ(stat(path_of("meta.db"), &bad), 0);
        if (at >= bad.st_size)
            break;
        (void)disk_fault_set(
            &(struct disk_fault){.bad_file = bad.st_ino, .bad_from = at, .bad_to = at + 512});
        said[0] = '\0';
        int found = findings();
        CHECK(found > 0);
        CHECK(strstr(said, "meta.db"));
        CHECK_EQ(repair(), 0);
        CHECK(strstr(said, "meta.db: the disk does not give 1 sectors of it"));
        CHECK(strstr(said, "meta.db: set aside in damaged/meta.db"));
        CHECK_EQ(findings(), 0); /* while the sector is as it was: the file is another */
        (void)disk_fault_set(NULL);
        bool unread = strstr(said, "owners and modes may be gone");
        kept += !unread;
        check_owners(unread);
        struct stat aside = {0};
        CHECK_EQ(stat(path_of("damaged/meta.db"), &aside), 0);
        CHECK_EQ(aside.st_ino, bad.st_ino);
    }
    CHECK(kept > 0);
}

int main(void)
{
    make_store();
    RUN(test_a_full_disk);
    RUN(test_a_sector_of_meta_that_cannot_be_read);
    for (size_t i = 0; i < good.n; i++)
        free(good.p[i]);
    free(was_bytes);
    model_remove(dir);
    CHECK_DONE();
}
