/* tests/fuzz/fuzz_json.c - any text is taken or says at least one thing that is wrong; what is taken becomes a conf, or
 * says why not; and the settings alone, as INI, load to an equal one. */
#include "conf/json.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static void check(bool ok)
{
    if (!ok)
        abort();
}

/* As kcptunctl convert. */
static char *as_ini(enum conf_role role, const struct conf_setting *v, unsigned n, size_t *len)
{
    char *text = NULL;
    FILE *f = open_memstream(&text, len);

    check(f != NULL);
    kopts_print(v, n, role, "fuzz", f);
    check(!fclose(f));
    return text;
}

static void check_ini(const struct conf *c, enum conf_role role, const struct conf_setting *v, unsigned n)
{
    struct conf_problems ps = {0};
    struct conf *d = NULL;
    size_t len;
    char *text = as_ini(role, v, n, &len);

    check(!conf_load_text(&d, "printed", bytes_of(text, len), &ps) && conf_equal(c, d));
    conf_problems_fini(&ps);
    conf_free(d);
    free(text);
}

static void check_role(enum conf_role role, const uint8_t *data, size_t len)
{
    struct conf_setting v[KOPTS_MAX];
    struct conf_problems ps = {0};
    struct conf *c = NULL;
    struct kopts o;
    unsigned n;
    int r;

    kopts_init(&o, role, "fuzz");
    r = json_read_text(&o, "fuzz", bytes_of(data, len), &ps);
    check(r ? r == CONF_INVALID && ps.n_errors && ps.n : !ps.n_errors);
    if (!r) {
        check(!kopts_settle(&o, &ps));
        n = kopts_settings(&o, v);
        r = conf_load_settings(&c, role, "fuzz", v, n, &ps);
        check(r ? r == CONF_INVALID && ps.n_errors && !c : !ps.n_errors && c);
        if (c)
            check_ini(c, role, v, n);
    }
    for (unsigned i = 0; i < ps.n; i++)
        check(!strncmp(ps.v[i].text, "fuzz:", 5));
    conf_problems_fini(&ps);
    conf_free(c);
    kopts_fini(&o);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    enum conf_role role;

    json_role(&role, bytes_of(data, len));
    check_role(CONF_SERVER, data, len);
    check_role(CONF_CLIENT, data, len);
    return 0;
}
