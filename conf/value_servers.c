/* conf/value_servers.c - the type of a list of UDP addresses, in the order in which they are preferred. */
#include "conf/value.h"

#include "core/base/err.h"

#include <inttypes.h>
#include <stdlib.h>

enum { ADDR_TEXT = 320 };

/* The next item between commas, without the blanks around it. False: it does not fit. */
static bool next_item(const char **pp, char *item, size_t n)
{
    size_t len = strcspn(*pp, ","), lead = strspn(*pp, " \t");
    const char *from = *pp;

    *pp += len + (from[len] == ',');
    lead = lead < len ? lead : len;
    from += lead;
    len -= lead;
    while (len && strchr(" \t", from[len - 1]))
        len--;
    if (len >= n)
        return false;
    memcpy(item, from, len);
    item[len] = '\0';
    return true;
}

static void free_all(struct addr_text *v, unsigned n)
{
    for (unsigned i = 0; i < n; i++)
        addr_text_fini(&v[i]);
    free(v);
}

static bool is_twice(const struct addr_text *v, unsigned i)
{
    for (unsigned j = 0; j < i; j++)
        if (addr_text_equal(&v[j], &v[i]))
            return true;
    return false;
}

/* Reads one item into v[i]. As parse(). */
static int take_item(struct addr_text *v, unsigned i, const char **text, char *why)
{
    char item[ADDR_TEXT];
    int r = next_item(text, item, sizeof item) ? addr_text_parse(&v[i], item, false, true) : ADDR_MALFORMED;

    if (r == ADDR_MALFORMED)
        return value_refuse(why, "malformed address");
    if (r == ADDR_BAD_PORT)
        return value_refuse(why, "bad port or port range");
    if (!r && is_twice(v, i)) {
        addr_text_fini(&v[i]);
        return value_refuse(why, "an address is named twice");
    }
    return r;
}

static int servers_parse(const struct conf_key *k, void *base, const char *text, char *why)
{
    struct addr_text *v;
    unsigned n = 1;

    for (const char *p = text; *p; p++)
        n += *p == ',';
    if (n > k->max)
        return value_refuse(why, "too many addresses");
    v = calloc(n, sizeof *v);
    if (!v)
        return err_here(-ENOMEM);
    for (unsigned i = 0; i < n; i++) {
        int r = take_item(v, i, &text, why);

        if (r) {
            free_all(v, i);
            return r;
        }
    }
    *(struct addr_text **)value_field(k, base) = v;
    *value_count(k, base) = n;
    return 0;
}

static void servers_print(const struct conf_key *k, const void *base, FILE *out)
{
    const struct addr_text *v = *(struct addr_text *const *)value_cfield(k, base);
    char text[ADDR_TEXT];

    for (unsigned i = 0; i < value_count_of(k, base); i++) {
        addr_text_print(&v[i], text, sizeof text);
        fprintf(out, "%s%s", i ? ", " : "", text); /* nothing in an address needs quotes */
    }
}

static int servers_copy(const struct conf_key *k, void *dst, const void *src)
{
    const struct addr_text *from = *(struct addr_text *const *)value_cfield(k, src);
    unsigned n = value_count_of(k, src);
    struct addr_text *v;

    if (!n)
        return 0;
    v = calloc(n, sizeof *v);
    if (!v)
        return err_here(-ENOMEM);
    for (unsigned i = 0; i < n; i++) {
        v[i] = (struct addr_text){.port_min = from[i].port_min, .port_max = from[i].port_max};
        v[i].host = strdup(from[i].host);
        if (!v[i].host) {
            free_all(v, i);
            return err_here(-ENOMEM);
        }
    }
    *(struct addr_text **)value_field(k, dst) = v;
    *value_count(k, dst) = n;
    return 0;
}

static bool servers_equal(const struct conf_key *k, const void *a, const void *b)
{
    const struct addr_text *x = *(struct addr_text *const *)value_cfield(k, a);
    const struct addr_text *y = *(struct addr_text *const *)value_cfield(k, b);
    unsigned n = value_count_of(k, a);

    if (n != value_count_of(k, b))
        return false;
    for (unsigned i = 0; i < n; i++)
        if (!addr_text_equal(&x[i], &y[i]))
            return false;
    return true;
}

static void servers_fini(const struct conf_key *k, void *base)
{
    struct addr_text **v = value_field(k, base);

    free_all(*v, value_count_of(k, base));
    *v = NULL;
    *value_count(k, base) = 0;
}

static void servers_range(const struct conf_key *k, FILE *out)
{
    fprintf(out,
            "host:port or host:min-max, ports 1..65535, IPv6 in brackets; several with commas between, up to %" PRIu64,
            k->max);
}

const struct conf_type conf_servers = {
    "addresses",          sizeof(void *),         .parse = servers_parse, .print = servers_print,
    .copy = servers_copy, .equal = servers_equal, .fini = servers_fini,   .range = servers_range};
