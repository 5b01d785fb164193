/* tests/unit/test_conf_work.c - loading takes work in proportion to the text: ten times the profiles, ten times the
 * work. conf/ is compiled into this program with a call at every branch, which counts them; no clock is involved. */
#include "conf/conf.h"

#include "tests/support/vectors.h"

#include <stdio.h>
#include <stdlib.h>

static unsigned long long work;

void __sanitizer_cov_trace_pc(void);
void __sanitizer_cov_trace_pc(void)
{
    work++;
}

struct shape {
    const char *name;
    void (*profile)(FILE *f, int i);
    int want; /* of conf_load_text() */
};

static void plain(FILE *f, int i)
{
    fprintf(f, "[server profile%d]\nkey = secret%d\nlisten = :%d\nallow = 10.0.0.0/8\n", i, i, i + 1);
}

static void one_host_each(FILE *f, int i)
{
    fprintf(f, "[server %d]\nkey = k\nlisten = 10.%d.%d.1:1-65535\n", i, i / 256, i % 256);
}

static void all_clash(FILE *f, int i)
{
    fprintf(f, "[server p%d]\nkey = k\nlisten = %s:%d-65535\n", i, i % 2 ? "127.0.0.1" : "", i + 1);
}

static void one_name(FILE *f, int i)
{
    fprintf(f, "[client same]\nkey = k%d\nlocaladdr = :%d\n", i, i + 1);
}

static void bad_keys(FILE *f, int i)
{
    fprintf(f, "[client x%d]\nnokey = %d\nmtu = x\n", i, i);
}

static unsigned long long measure(const struct shape *s, int n)
{
    struct conf_problems ps = {0};
    struct conf *c = NULL;
    char *text = NULL;
    size_t len;
    FILE *f = open_memstream(&text, &len);

    for (int i = 0; i < n; i++)
        s->profile(f, i);
    fclose(f);
    work = 0;
    if (conf_load_text(&c, "t.ini", bytes_of(text, len), &ps) != s->want)
        fail_msg("%s: %s", s->name, ps.n ? ps.v[0].text : "loaded");
    conf_free(c);
    conf_problems_fini(&ps);
    free(text);
    return work;
}

static void test_work_is_linear(void **state)
{
    static const struct shape shapes[] = {
        {"plain", plain, 0},
        {"one host each", one_host_each, 0},
        {"all clash", all_clash, CONF_INVALID},
        {"one name", one_name, CONF_INVALID},
        {"bad keys", bad_keys, CONF_INVALID},
    };

    (void)state;
    for (size_t i = 0; i < LEN(shapes); i++) {
        unsigned long long few = measure(&shapes[i], 1000), many = measure(&shapes[i], 10000);

        assert_true(few > 10000); /* the calls are there */
        printf("%s: %llu branches for 1000 profiles, %llu for 10000\n", shapes[i].name, few, many);
        if (many > few * 13) /* 10, and the logarithm of sorting */
            fail_msg("%s: %llu for 1000 profiles, %llu for 10000", shapes[i].name, few, many);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_work_is_linear)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
