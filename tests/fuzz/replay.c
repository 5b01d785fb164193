/* tests/fuzz/replay.c - runs a fuzz target over every file of a corpus directory, and over mutations of each: a
 * fixed number of seeded byte flips, cuts and splices, so that a build without libFuzzer still explores a little. */
#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

enum { MUTATIONS = 200, FILE_MAX = 1 << 20 };

static uint32_t seed = 1;

static uint32_t rnd(void)
{
    seed ^= seed << 13;
    seed ^= seed >> 17;
    seed ^= seed << 5;
    return seed;
}

/* Runs the target on its own exact-size heap block, so a sanitizer sees every overrun. */
static void run(const uint8_t *p, size_t n)
{
    uint8_t *copy = malloc(n + !n);

    if (n)
        memcpy(copy, p, n);
    LLVMFuzzerTestOneInput(copy, n);
    free(copy);
}

static void mutate(const uint8_t *p, size_t n)
{
    uint8_t *m = malloc(n + 1);

    for (int i = 0; i < MUTATIONS && n; i++) {
        size_t len = n;

        memcpy(m, p, n);
        for (uint32_t k = rnd() % 4 + 1; k; k--)
            m[rnd() % n] = rnd() % 3 ? (uint8_t)rnd() : (uint8_t)(rnd() % 2 ? 0xff : 0);
        if (rnd() % 4 == 0)
            len = rnd() % n;
        run(m, len);
    }
    free(m);
}

int main(int argc, char **argv)
{
    DIR *d = argc > 1 ? opendir(argv[1]) : NULL;
    struct dirent *e;
    unsigned files = 0;

    if (!d) {
        fprintf(stderr, "no corpus directory %s\n", argc > 1 ? argv[1] : "");
        return 1;
    }
    while ((e = readdir(d))) {
        char path[4096];
        uint8_t *buf;
        size_t n;
        FILE *f;

        if (e->d_name[0] == '.')
            continue;
        snprintf(path, sizeof path, "%s/%s", argv[1], e->d_name);
        f = fopen(path, "rb");
        if (!f)
            return 1;
        buf = malloc(FILE_MAX);
        n = fread(buf, 1, FILE_MAX, f);
        fclose(f);
        run(buf, n);
        mutate(buf, n);
        free(buf);
        files++;
    }
    closedir(d);
    run(NULL, 0);
    printf("%u files\n", files);
    return files ? 0 : 1;
}
