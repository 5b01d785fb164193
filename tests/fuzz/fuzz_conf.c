/* tests/fuzz/fuzz_conf.c - any text loads, or says at least one thing that is wrong; what loads prints to a text that loads
 * to an equal conf, without secrets unless asked. */
#include "conf/conf.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static void check(bool ok)
{
    if (!ok)
        abort();
}

static char *printed(const struct conf *c, bool show, size_t *n)
{
    char *text = NULL;
    FILE *f = open_memstream(&text, n);

    check(f && !conf_print(c, f, show) && !fclose(f));
    return text;
}

static void check_print(const struct conf *c)
{
    struct conf_problems ps = {0};
    struct conf *d = NULL;
    size_t n;
    char *text = printed(c, true, &n);

    check(!conf_load_text(&d, "printed", bytes_of(text, n), &ps) && conf_equal(c, d));
    conf_problems_fini(&ps);
    conf_free(d);
    free(text);
    text = printed(c, false, &n);
    check(!strstr(text, "\nkey = ") && !strstr(text, "\noldkey = "));
    free(text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    struct conf_problems ps = {0};
    struct conf *c = NULL;
    int r = conf_load_text(&c, "fuzz", bytes_of(data, len), &ps);

    check(r ? r == CONF_INVALID && ps.n_errors && ps.n && !c : !ps.n_errors && c != NULL);
    for (unsigned i = 0; i < ps.n; i++)
        check(!strncmp(ps.v[i].text, "fuzz:", 5) || i == 1000);
    if (c)
        check_print(c);
    conf_problems_fini(&ps);
    conf_free(c);
    return 0;
}
