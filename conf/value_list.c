/* conf/value_list.c - types of values that are lists: address blocks, cores. */
#include "conf/value.h"

#include "conf/ini.h"
#include "core/base/err.h"

#include <inttypes.h>
#include <stdlib.h>

/* The next item of a list separated by commas and blanks, cut to fit. Returns its length, 0 at the end. */
static size_t next_item(const char **pp, char *item, size_t n)
{
    size_t len;

    *pp += strspn(*pp, ", \t");
    len = strcspn(*pp, ", \t");
    snprintf(item, n, "%.*s", (int)MIN(len, n), *pp);
    *pp += len;
    return len;
}

static size_t count_items(const char *text)
{
    size_t n = 0;
    char item[2];

    while (next_item(&text, item, sizeof item))
        n++;
    return n;
}

static int blocks_parse(const struct conf_key *k, void *base, const char *text, char *why)
{
    size_t n = count_items(text), len;
    struct addr_block *v;
    char item[64];

    if (n > k->max)
        return value_refuse(why, "too many addresses");
    if (!n)
        return 0;
    v = calloc(n, sizeof *v);
    if (!v)
        return err_here(-ENOMEM);
    for (size_t i = 0; i < n; i++) {
        len = next_item(&text, item, sizeof item);
        if (len >= sizeof item || addr_block_parse(&v[i], item)) {
            snprintf(why, CONF_WHY_MAX, "item %zu is not an address block", i + 1);
            free(v);
            return CONF_INVALID;
        }
    }
    *(struct addr_block **)value_field(k, base) = v;
    *value_count(k, base) = (unsigned)n;
    return 0;
}

static void blocks_print(const struct conf_key *k, const void *base, FILE *out)
{
    const struct addr_block *v = *(struct addr_block *const *)value_cfield(k, base);
    char text[64];

    if (!value_count_of(k, base))
        ini_quote("", out);
    for (unsigned i = 0; i < value_count_of(k, base); i++) {
        addr_block_print(&v[i], text, sizeof text);
        fprintf(out, "%s%s", i ? ", " : "", text);
    }
}

static size_t item_size(const struct conf_key *k)
{
    return k->type == &conf_blocks ? sizeof(struct addr_block) : sizeof(uint16_t);
}

static int list_copy(const struct conf_key *k, void *dst, const void *src)
{
    size_t bytes = value_count_of(k, src) * item_size(k);
    void *v;

    if (!bytes)
        return 0;
    v = malloc(bytes);
    if (!v)
        return err_here(-ENOMEM);
    *(void **)value_field(k, dst) = memcpy(v, *(void *const *)value_cfield(k, src), bytes);
    *value_count(k, dst) = value_count_of(k, src);
    return 0;
}

static bool list_equal(const struct conf_key *k, const void *a, const void *b)
{
    unsigned n = value_count_of(k, a);

    return n == value_count_of(k, b) &&
           (!n || !memcmp(*(void *const *)value_cfield(k, a), *(void *const *)value_cfield(k, b), n * item_size(k)));
}

static void list_fini(const struct conf_key *k, void *base)
{
    void **v = value_field(k, base);

    free(*v);
    *v = NULL;
    *value_count(k, base) = 0;
}

static void blocks_range(const struct conf_key *k, FILE *out)
{
    fprintf(out, "addresses and CIDR blocks, with commas between, up to %" PRIu64, k->max);
}

/* "3" or "3-5" within the key's range. */
static bool cpu_item(const struct conf_key *k, const char *item, unsigned *lo, unsigned *hi)
{
    int used = 0, n;

    if (strspn(item, "0123456789-") != strlen(item) || strlen(item) > 9)
        return false;
    n = sscanf(item, "%4u%n-%4u%n", lo, &used, hi, &used);
    if (n < 1 || item[used])
        return false;
    if (n == 1)
        *hi = *lo;
    return *lo <= *hi && *hi <= k->max;
}

static int cpus_parse(const struct conf_key *k, void *base, const char *text, char *why)
{
    bool seen[4096] = {0};
    uint16_t order[LEN(seen)], *v;
    unsigned n = 0, lo, hi;
    char item[16];
    size_t len;

    while ((len = next_item(&text, item, sizeof item))) {
        if (len >= sizeof item || !cpu_item(k, item, &lo, &hi))
            return value_refuse(why, "not a list of cores");
        for (; lo <= hi; lo++) {
            if (seen[lo])
                return value_refuse(why, "a core is named twice");
            seen[lo] = true;
            order[n++] = (uint16_t)lo;
        }
    }
    if (!n)
        return 0;
    v = malloc(n * sizeof *v);
    if (!v)
        return err_here(-ENOMEM);
    *(uint16_t **)value_field(k, base) = memcpy(v, order, n * sizeof *v);
    *value_count(k, base) = n;
    return 0;
}

static void cpus_print(const struct conf_key *k, const void *base, FILE *out)
{
    const uint16_t *v = *(uint16_t *const *)value_cfield(k, base);

    if (!value_count_of(k, base))
        ini_quote("", out);
    for (unsigned i = 0, n = value_count_of(k, base); i < n; i++)
        fprintf(out, "%s%u", i ? "," : "", v[i]);
}

static void cpus_range(const struct conf_key *k, FILE *out)
{
    fprintf(out, "core numbers 0..%" PRIu64 " and ranges of them (0-3,6), or nothing", k->max);
}

#define LIST_OPS .copy = list_copy, .equal = list_equal, .fini = list_fini
const struct conf_type conf_blocks = {"list",   sizeof(void *),       .parse = blocks_parse, .print = blocks_print,
                                      LIST_OPS, .range = blocks_range};
const struct conf_type conf_cpus = {"list",   sizeof(void *),     .parse = cpus_parse, .print = cpus_print,
                                    LIST_OPS, .range = cpus_range};
