/* tests/unit/test_cgroup.c - which limit counts, over trees of files as the kernel shows them. */
#include "daemon/cgroup.h"

#include "tests/support/vectors.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

static char dir[] = "/tmp/test_cgroup.XXXXXX";

static const char *in_dir(const char *name)
{
    static char path[128];

    snprintf(path, sizeof path, "%s/%s", dir, name);
    return path;
}

static void put(const char *name, const char *text)
{
    FILE *f = fopen(in_dir(name), "w");

    assert_non_null(f);
    fputs(text, f);
    assert_int_equal(fclose(f), 0);
}

static uint64_t most(void)
{
    char members[128];

    snprintf(members, sizeof members, "%s", in_dir("members"));
    return cgroup_memory_max(members, dir);
}

static const struct {
    const char *name, *members, *top, *slice, *service; /* NULL: no such file */
    uint64_t want;
} rows[] = {
    {"the group's own", "0::/slice/service\n", NULL, "max\n", "536870912\n", 536870912},
    {"a lower one above it", "0::/slice/service\n", NULL, "1073741824\n", "2147483648\n", 1073741824},
    {"nothing is set", "0::/slice/service\n", NULL, "max\n", "max\n", UINT64_MAX},
    {"without the controller", "0::/slice/service\n", NULL, NULL, NULL, UINT64_MAX},
    {"a container sees its own group as the root", "0::/\n", "268435456\n", "1\n", "1\n", 268435456},
    {"a sibling's does not count", "0::/slice\n", NULL, "max\n", "1\n", UINT64_MAX},
    {"cgroup v1 beside it", "4:memory:/slice\n1:name=systemd:/slice\n0::/slice\n", NULL, "4096\n", NULL, 4096},
    {"cgroup v1 only", "4:memory:/slice/service\n", "1\n", "1\n", "1\n", UINT64_MAX},
    {"no newline", "0::/slice", NULL, "4096", NULL, 4096},
    {"a group that is gone", "0::/slice/gone (deleted)\n", NULL, "4096\n", NULL, 4096},
    {"nothing", "", "1\n", "1\n", "1\n", UINT64_MAX},
    {"not a number", "0::/slice\n", "\n", "much\n", NULL, UINT64_MAX},
    {"nothing is left", "0::/slice\n", NULL, "0\n", NULL, 0},
};

static void test_which_counts(void **state)
{
    (void)state;
    for (size_t i = 0; i < LEN(rows); i++) {
        const struct {
            const char *name, *text;
        } files[] = {{"members", rows[i].members},
                     {"memory.max", rows[i].top},
                     {"slice/memory.max", rows[i].slice},
                     {"slice/service/memory.max", rows[i].service}};

        for (size_t k = 0; k < LEN(files); k++) {
            unlink(in_dir(files[k].name));
            if (files[k].text)
                put(files[k].name, files[k].text);
        }
        if (most() != rows[i].want)
            fail_msg("%s: %llu", rows[i].name, (unsigned long long)most());
    }
    for (size_t k = 0; k < 4; k++)
        unlink(in_dir((const char *[]){"members", "memory.max", "slice/memory.max", "slice/service/memory.max"}[k]));
    assert_true(most() == UINT64_MAX); /* nor a /proc */
}

static int set_up(void **state)
{
    (void)state;
    return !mkdtemp(dir) || mkdir(in_dir("slice"), 0700) || mkdir(in_dir("slice/service"), 0700) ? -1 : 0;
}

static int tear_down(void **state)
{
    (void)state;
    return rmdir(in_dir("slice/service")) || rmdir(in_dir("slice")) || rmdir(dir);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_which_counts),
    };

    return cmocka_run_group_tests(tests, set_up, tear_down);
}
