/* SPDX-License-Identifier: MIT */
/* replay: a target on every file of the directories given, without libFuzzer: what was found once is tried by
 * every compiler. */
#include "fuzz.h"

#include <dirent.h>
#include <errno.h>
#include <string.h>

static size_t replay_file(const char *path)
{
    FILE *f = fopen(path, "re");

    DEMAND(f && fseek(f, 0, SEEK_END) == 0);
    const size_t n = (size_t)ftell(f);
    AUTO_FREE uint8_t *p = malloc(n + 1);
    rewind(f);
    if (fread(p, 1, n, f) != n) { /* a directory */
        (void)fclose(f);
        return 0;
    }
    (void)fclose(f);
    AUTO_FREE uint8_t *exact = malloc(n ? n : 1);
    memcpy(exact, p, n);
    fprintf(stderr, "# %s\n", path); /* shown where the test fails */
    (void)LLVMFuzzerTestOneInput(exact, n);
    return 1;
}

int main(int argc, char **argv)
{
    for (int i = 1; i < argc; i++) {
        DIR *d = opendir(argv[i]);
        size_t files = 0;
        char path[4096];
        if (!d) {
            printf("not ok %s: %s\n", argv[i], strerror(errno));
            return 1;
        }
        for (struct dirent *e; (e = readdir(d));) {
            if (e->d_name[0] == '.')
                continue;
            (void)snprintf(path, sizeof path, "%s/%s", argv[i], e->d_name);
            files += replay_file(path);
        }
        (void)closedir(d);
        const char *name = strrchr(argv[i], '/');
        printf("%sok %zu inputs of %s\n", files ? "" : "not ", files, name ? name + 1 : argv[i]);
        if (!files)
            return 1;
    }
    return 0;
}
