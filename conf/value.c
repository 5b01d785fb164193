/* conf/value.c - the types of values: text to field and back. Knows no section, file or line. */
#include "conf/schema.h"

#include "conf/ini.h"
#include "core/base/err.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

static void *field(const struct conf_key *k, void *base)
{
    return (char *)base + k->at;
}

static const void *cfield(const struct conf_key *k, const void *base)
{
    return (const char *)base + k->at;
}

static unsigned *count(const struct conf_key *k, void *base)
{
    return (unsigned *)(void *)((char *)base + k->at_n);
}

static unsigned count_of(const struct conf_key *k, const void *base)
{
    return *(const unsigned *)(const void *)((const char *)base + k->at_n);
}

static int refuse(char *why, const char *what)
{
    snprintf(why, CONF_WHY_MAX, "%s", what);
    return CONF_INVALID;
}

static void range_words(const struct conf_key *k, FILE *out)
{
    for (const char *const *w = k->words; *w; w++)
        fprintf(out, "%s%s", w == k->words ? "" : " ", *w);
}

/* ---- true and false ---- */

static int bool_parse(const struct conf_key *k, void *base, const char *text, char *why)
{
    static const char *const yes[] = {"true", "yes", "on", "1"}, *const no[] = {"false", "no", "off", "0"};

    for (unsigned i = 0; i < LEN(yes); i++)
        if (!strcmp(text, yes[i]) || !strcmp(text, no[i])) {
            *(bool *)field(k, base) = !strcmp(text, yes[i]);
            return 0;
        }
    return refuse(why, "neither true nor false");
}

static void bool_print(const struct conf_key *k, const void *base, FILE *out)
{
    fputs(*(const bool *)cfield(k, base) ? "true" : "false", out);
}

static void bool_range(const struct conf_key *k, FILE *out)
{
    (void)k;
    fputs("true false yes no on off 1 0", out);
}

const struct conf_type conf_bool = {"bool", sizeof(bool), .parse = bool_parse, .print = bool_print,
                                    .range = bool_range};

/* ---- numbers ---- */

/* Decimal digits, no sign, no leading zero (kcptun reads one as octal), perhaps one of k M G behind. */
static int number(const struct conf_key *k, const char *text, bool suffix_ok, uint64_t *out, char *why)
{
    static const char suffixes[] = "kmg";
    const char *p = text, *s;
    uint64_t v = 0;

    for (; *p >= '0' && *p <= '9'; p++) {
        if (v > UINT64_MAX / 16) /* beyond every range, and the next digit might wrap */
            return refuse(why, "out of range");
        v = v * 10 + (uint64_t)(*p - '0');
    }
    if (p == text)
        return refuse(why, "not a number");
    if (*text == '0' && p > text + 1)
        return refuse(why, "a number without leading zeros is wanted");
    if (*p && suffix_ok) {
        s = strchr(suffixes, *p | 0x20);
        if (!s || !*s)
            return refuse(why, "unknown unit");
        if (v > UINT64_MAX >> 30)
            return refuse(why, "out of range");
        v <<= 10 * (s - suffixes + 1);
        p++;
    }
    if (*p)
        return refuse(why, "not a number");
    if (v < k->min || v > k->max)
        return refuse(why, "out of range");
    *out = v;
    return 0;
}

static int uint_parse(const struct conf_key *k, void *base, const char *text, char *why)
{
    uint64_t v;
    int r = number(k, text, k->type == &conf_size, &v, why);

    if (!r)
        *(uint32_t *)field(k, base) = (uint32_t)v;
    return r;
}

static void uint_print(const struct conf_key *k, const void *base, FILE *out)
{
    fprintf(out, "%" PRIu32, *(const uint32_t *)cfield(k, base));
}

static void uint_range(const struct conf_key *k, FILE *out)
{
    fprintf(out, "%" PRIu64 "..%" PRIu64, k->min, k->max);
}

static int size64_parse(const struct conf_key *k, void *base, const char *text, char *why)
{
    return number(k, text, true, field(k, base), why);
}

static void size64_print(const struct conf_key *k, const void *base, FILE *out)
{
    fprintf(out, "%" PRIu64, *(const uint64_t *)cfield(k, base));
}

static void size_range(const struct conf_key *k, FILE *out)
{
    uint_range(k, out);
    fputs(" bytes, or with k M G", out);
}

const struct conf_type conf_uint = {"number", sizeof(uint32_t), .parse = uint_parse, .print = uint_print,
                                    .range = uint_range};
const struct conf_type conf_size = {"size", sizeof(uint32_t), .parse = uint_parse, .print = uint_print,
                                    .range = size_range};
const struct conf_type conf_size64 = {"size", sizeof(uint64_t), .parse = size64_parse, .print = size64_print,
                                      .range = size_range};

/* ---- one of some words ---- */

static int enum_parse(const struct conf_key *k, void *base, const char *text, char *why)
{
    for (unsigned i = 0; k->words[i]; i++)
        if (!strcmp(text, k->words[i])) {
            *(unsigned *)field(k, base) = i;
            return 0;
        }
    return refuse(why, "unknown");
}

static void enum_print(const struct conf_key *k, const void *base, FILE *out)
{
    fputs(k->words[*(const unsigned *)cfield(k, base)], out);
}

_Static_assert(sizeof(enum conf_mode) == sizeof(unsigned) && sizeof(enum conf_io) == sizeof(unsigned), "enum fields");
const struct conf_type conf_enum = {"word", sizeof(unsigned), .parse = enum_parse, .print = enum_print,
                                    .range = range_words};

/* ---- owned text ---- */

static int text_store(const struct conf_key *k, void *base, const char *text)
{
    char *copy = strdup(text);

    if (!copy)
        return err_here(-ENOMEM);
    *(char **)field(k, base) = copy;
    return 0;
}

static int text_parse(const struct conf_key *k, void *base, const char *text, char *why)
{
    if (strlen(text) > k->max)
        return refuse(why, "too long");
    return text_store(k, base, text);
}

static void text_print(const struct conf_key *k, const void *base, FILE *out)
{
    const char *s = *(char *const *)cfield(k, base);

    ini_quote(s ? s : "", out);
}

static int text_copy(const struct conf_key *k, void *dst, const void *src)
{
    const char *s = *(char *const *)cfield(k, src);

    return s ? text_store(k, dst, s) : 0;
}

static bool text_same(const char *a, const char *b)
{
    return a && b ? !strcmp(a, b) : a == b;
}

static bool text_equal(const struct conf_key *k, const void *a, const void *b)
{
    return text_same(*(char *const *)cfield(k, a), *(char *const *)cfield(k, b));
}

static void text_fini(const struct conf_key *k, void *base)
{
    char **s = field(k, base);

    free(*s);
    *s = NULL;
}

static void text_range(const struct conf_key *k, FILE *out)
{
    fprintf(out, "text of up to %" PRIu64 " bytes", k->max);
}

static int word_parse(const struct conf_key *k, void *base, const char *text, char *why)
{
    for (const char *const *w = k->words; *w; w++)
        if (!strcmp(text, *w))
            return text_store(k, base, text);
    return refuse(why, "unknown");
}

/* Empty: no value, the field stays NULL. */
static int ip_parse(const struct conf_key *k, void *base, const char *text, char *why)
{
    uint8_t ip[16];

    if (!*text)
        return 0;
    return addr_ip(ip, text) ? text_store(k, base, text) : refuse(why, "not an IP address");
}

static void ip_range(const struct conf_key *k, FILE *out)
{
    (void)k;
    fputs("an IPv4 or IPv6 address, or nothing", out);
}

static int device_parse(const struct conf_key *k, void *base, const char *text, char *why)
{
    static const size_t device_max = 15; /* IFNAMSIZ - 1 */

    if (!*text)
        return 0;
    if (strlen(text) > device_max)
        return refuse(why, "too long");
    for (const char *p = text; *p; p++)
        if (*p <= ' ' || *p == '/' || *p == ':' || *p == 0x7f)
            return refuse(why, "not the name of a network device");
    return text_store(k, base, text);
}

static void device_range(const struct conf_key *k, FILE *out)
{
    (void)k;
    fputs("a device name of up to 15 bytes, or nothing", out);
}

#define TEXT_OPS .print = text_print, .copy = text_copy, .equal = text_equal, .fini = text_fini
const struct conf_type conf_text = {"text", sizeof(char *), .parse = text_parse, TEXT_OPS, .range = text_range};
const struct conf_type conf_word = {"word", sizeof(char *), .parse = word_parse, TEXT_OPS, .range = range_words};
const struct conf_type conf_ip = {"address", sizeof(char *), .parse = ip_parse, TEXT_OPS, .range = ip_range};
const struct conf_type conf_device = {"device", sizeof(char *), .parse = device_parse, TEXT_OPS, .range = device_range};

/* ---- addresses ---- */

static int addr_parse(const struct conf_key *k, void *base, const char *text, char *why)
{
    bool udp = k->type == &conf_udp;
    int r = addr_text_parse(field(k, base), text, !udp, udp);

    if (r == ADDR_MALFORMED)
        return refuse(why, "malformed address");
    if (r == ADDR_BAD_PORT)
        return refuse(why, "bad port or port range");
    return r;
}

static void addr_print(const struct conf_key *k, const void *base, FILE *out)
{
    char text[320];

    addr_text_print(cfield(k, base), text, sizeof text);
    ini_quote(text, out);
}

static int addr_copy(const struct conf_key *k, void *dst, const void *src)
{
    const struct addr_text *from = cfield(k, src);
    struct addr_text to = *from;

    to.host = from->host ? strdup(from->host) : NULL;
    to.path = from->path ? strdup(from->path) : NULL;
    if ((from->host && !to.host) || (from->path && !to.path)) {
        addr_text_fini(&to);
        return err_here(-ENOMEM);
    }
    *(struct addr_text *)field(k, dst) = to;
    return 0;
}

static bool addr_equal(const struct conf_key *k, const void *a, const void *b)
{
    return addr_text_equal(cfield(k, a), cfield(k, b));
}

static void addr_fini(const struct conf_key *k, void *base)
{
    addr_text_fini(field(k, base));
}

static void addr_range(const struct conf_key *k, FILE *out)
{
    fputs(k->type == &conf_udp ? "host:port or host:min-max, ports 1..65535, IPv6 in brackets"
                               : "host:port, port 1..65535, IPv6 in brackets, or the path of a unix socket",
          out);
}

#define ADDR_OPS                                                                                                       \
    .parse = addr_parse, .print = addr_print, .copy = addr_copy, .equal = addr_equal, .fini = addr_fini,               \
    .range = addr_range
const struct conf_type conf_udp = {"address", sizeof(struct addr_text), ADDR_OPS};
const struct conf_type conf_stream = {"address", sizeof(struct addr_text), ADDR_OPS};

/* ---- lists ---- */

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
        return refuse(why, "too many addresses");
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
    *(struct addr_block **)field(k, base) = v;
    *count(k, base) = (unsigned)n;
    return 0;
}

static void blocks_print(const struct conf_key *k, const void *base, FILE *out)
{
    const struct addr_block *v = *(struct addr_block *const *)cfield(k, base);
    char text[64];

    if (!count_of(k, base))
        ini_quote("", out);
    for (unsigned i = 0; i < count_of(k, base); i++) {
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
    size_t bytes = count_of(k, src) * item_size(k);
    void *v;

    if (!bytes)
        return 0;
    v = malloc(bytes);
    if (!v)
        return err_here(-ENOMEM);
    *(void **)field(k, dst) = memcpy(v, *(void *const *)cfield(k, src), bytes);
    *count(k, dst) = count_of(k, src);
    return 0;
}

static bool list_equal(const struct conf_key *k, const void *a, const void *b)
{
    unsigned n = count_of(k, a);

    return n == count_of(k, b) &&
           (!n || !memcmp(*(void *const *)cfield(k, a), *(void *const *)cfield(k, b), n * item_size(k)));
}

static void list_fini(const struct conf_key *k, void *base)
{
    void **v = field(k, base);

    free(*v);
    *v = NULL;
    *count(k, base) = 0;
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
            return refuse(why, "not a list of cores");
        for (; lo <= hi; lo++) {
            if (seen[lo])
                return refuse(why, "a core is named twice");
            seen[lo] = true;
            order[n++] = (uint16_t)lo;
        }
    }
    if (!n)
        return 0;
    v = malloc(n * sizeof *v);
    if (!v)
        return err_here(-ENOMEM);
    *(uint16_t **)field(k, base) = memcpy(v, order, n * sizeof *v);
    *count(k, base) = n;
    return 0;
}

static void cpus_print(const struct conf_key *k, const void *base, FILE *out)
{
    const uint16_t *v = *(uint16_t *const *)cfield(k, base);

    if (!count_of(k, base))
        ini_quote("", out);
    for (unsigned i = 0, n = count_of(k, base); i < n; i++)
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

/* ---- secrets ---- */

static int secret_parse(const struct conf_key *k, void *base, const char *text, char *why)
{
    struct conf_secret *s = field(k, base);

    (void)why;
    s->text = strdup(text);
    return s->text ? 0 : err_here(-ENOMEM);
}

static void secret_print(const struct conf_key *k, const void *base, FILE *out)
{
    const struct conf_secret *s = cfield(k, base);

    ini_quote(s->text ? s->text : "", out);
}

static void secret_fini(const struct conf_key *k, void *base)
{
    struct conf_secret *s = field(k, base);

    if (s->text)
        explicit_bzero(s->text, strlen(s->text));
    free(s->text);
    free(s->file);
    *s = (struct conf_secret){0};
}

static int secret_copy(const struct conf_key *k, void *dst, const void *src)
{
    const struct conf_secret *from = cfield(k, src);
    struct conf_secret *to = field(k, dst);

    to->text = from->text ? strdup(from->text) : NULL;
    to->file = from->file ? strdup(from->file) : NULL;
    if ((from->text && !to->text) || (from->file && !to->file)) {
        secret_fini(k, dst);
        return err_here(-ENOMEM);
    }
    return 0;
}

static bool secret_equal(const struct conf_key *k, const void *a, const void *b)
{
    const struct conf_secret *x = cfield(k, a), *y = cfield(k, b);

    return text_same(x->text, y->text) && text_same(x->file, y->file);
}

static void secret_range(const struct conf_key *k, FILE *out)
{
    (void)k;
    fputs("text; \"...\" if it is empty, begins with a quote or holds ' ;' or ' #'", out);
}

/* The keyfile rows: the value is a path, conf/load.c reads it into the field of the key it stands for. */
static int path_only_parse(const struct conf_key *k, void *base, const char *text, char *why)
{
    struct conf_secret *s = field(k, base);

    if (!*text)
        return refuse(why, "empty");
    s->file = strdup(text);
    return s->file ? 0 : err_here(-ENOMEM);
}

static void keyfile_print(const struct conf_key *k, const void *base, FILE *out)
{
    const struct conf_secret *s = cfield(k, base);

    ini_quote(s->file ? s->file : "", out);
}

static void keyfile_range(const struct conf_key *k, FILE *out)
{
    fprintf(out, "path of a file of %" PRIu64 "..%" PRIu64 " bytes", k->min, k->max);
}

static void include_range(const struct conf_key *k, FILE *out)
{
    (void)k;
    fputs("a path, with or without wildcards", out);
}

const struct conf_type conf_secret = {
    "secret",    sizeof(struct conf_secret), true, secret_parse, secret_print, secret_copy, secret_equal, secret_fini,
    secret_range};
const struct conf_type conf_keyfile = {"path", .parse = path_only_parse, .print = keyfile_print,
                                       .range = keyfile_range};
const struct conf_type conf_include = {"path", .range = include_range};

/* ---- any type ---- */

int conf_key_copy(const struct conf_key *k, void *dst, const void *src)
{
    if (k->type->copy)
        return k->type->copy(k, dst, src);
    if (k->type->size)
        memcpy(field(k, dst), cfield(k, src), k->type->size);
    return 0;
}

bool conf_key_equal(const struct conf_key *k, const void *a, const void *b)
{
    if (k->type->equal)
        return k->type->equal(k, a, b);
    return !k->type->size || !memcmp(cfield(k, a), cfield(k, b), k->type->size);
}

void conf_key_fini(const struct conf_key *k, void *base)
{
    if (k->type->fini)
        k->type->fini(k, base);
}

char *conf_key_range(const struct conf_key *k)
{
    char *text = NULL;
    size_t len;
    FILE *f = open_memstream(&text, &len);

    if (!f)
        return NULL;
    k->type->range(k, f);
    if (fclose(f)) {
        free(text);
        return NULL;
    }
    return text;
}
