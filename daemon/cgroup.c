/* daemon/cgroup.c - limits from the file system of cgroup v2. Source: the kernel's admin-guide/cgroup-v2.rst. */
#include "daemon/cgroup.h"

#include "core/base/bytes.h"

#include <inttypes.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

/* The group's path, from the line "0::PATH"; other lines are of cgroup v1. */
static bool find_path(const char *members, char path[PATH_MAX])
{
    FILE *f = fopen(members, "re");
    bool found = false;

    while (f && !found && fgets(path, PATH_MAX, f)) {
        path[strcspn(path, "\n")] = '\0';
        found = !strncmp(path, "0::/", 4);
    }
    if (f)
        fclose(f);
    if (found)
        memmove(path, path + 3, strlen(path + 3) + 1);
    return found;
}

/* "max", which is no number, and a file that is not there (in the root group, or without the controller) say nothing. */
static uint64_t read_max(const char *root, const char *path)
{
    char file[2 * PATH_MAX];
    uint64_t v = UINT64_MAX;
    FILE *f;

    snprintf(file, sizeof file, "%s%s/memory.max", root, path);
    f = fopen(file, "re");
    if (f && fscanf(f, "%" SCNu64, &v) != 1)
        v = UINT64_MAX;
    if (f)
        fclose(f);
    return v;
}

uint64_t cgroup_memory_max(const char *members, const char *root)
{
    uint64_t least = UINT64_MAX;
    char path[PATH_MAX];
    char *end = path;

    if (!find_path(members, path))
        return least;
    while (end) { /* up to the root itself: what a container sees as that is its own group */
        uint64_t max = read_max(root, path);

        least = MIN(least, max);
        end = strrchr(path, '/');
        if (end)
            *end = '\0';
    }
    return least;
}
