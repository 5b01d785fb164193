/* conf/value_text.c - types of values that own text: text, words, addresses, secrets. */
#include "conf/value.h"

#include "conf/ini.h"
#include "core/base/err.h"

#include <inttypes.h>
#include <stdlib.h>

/* ---- owned text ---- */

static int text_store(const struct conf_key *k, void *base, const char *text)
{
    char *copy = strdup(text);

    if (!copy)
        return err_here(-ENOMEM);
    *(char **)value_field(k, base) = copy;
    return 0;
}

static int text_parse(const struct conf_key *k, void *base, const char *text, char *why)
{
    if (strlen(text) > k->max)
        return value_refuse(why, "too long");
    return text_store(k, base, text);
}

static void text_print(const struct conf_key *k, const void *base, FILE *out)
{
    const char *s = *(char *const *)value_cfield(k, base);

    ini_quote(s ? s : "", out);
}

static int text_copy(const struct conf_key *k, void *dst, const void *src)
{
    const char *s = *(char *const *)value_cfield(k, src);

    return s ? text_store(k, dst, s) : 0;
}

static bool text_equal(const struct conf_key *k, const void *a, const void *b)
{
    return value_same_text(*(char *const *)value_cfield(k, a), *(char *const *)value_cfield(k, b));
}

static void text_fini(const struct conf_key *k, void *base)
{
    char **s = value_field(k, base);

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
    return value_refuse(why, "unknown");
}

/* Empty: no value, the field stays NULL. */
static int ip_parse(const struct conf_key *k, void *base, const char *text, char *why)
{
    uint8_t ip[16];

    if (!*text)
        return 0;
    return addr_ip(ip, text) ? text_store(k, base, text) : value_refuse(why, "not an IP address");
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
        return value_refuse(why, "too long");
    for (const char *p = text; *p; p++)
        if (*p <= ' ' || *p == '/' || *p == ':' || *p == 0x7f)
            return value_refuse(why, "not the name of a network device");
    return text_store(k, base, text);
}

static void device_range(const struct conf_key *k, FILE *out)
{
    (void)k;
    fputs("a device name of up to 15 bytes, or nothing", out);
}

#define TEXT_OPS .print = text_print, .copy = text_copy, .equal = text_equal, .fini = text_fini
const struct conf_type conf_text = {"text", sizeof(char *), .parse = text_parse, TEXT_OPS, .range = text_range};
const struct conf_type conf_word = {"word", sizeof(char *), .parse = word_parse, TEXT_OPS, .range = value_range_words};
const struct conf_type conf_ip = {"address", sizeof(char *), .parse = ip_parse, TEXT_OPS, .range = ip_range};
const struct conf_type conf_device = {"device", sizeof(char *), .parse = device_parse, TEXT_OPS, .range = device_range};

/* ---- addresses ---- */

static int addr_parse(const struct conf_key *k, void *base, const char *text, char *why)
{
    bool udp = k->type == &conf_udp;
    int r;

    if (!*text && k->type == &conf_maybe_stream)
        return 0;
    r = addr_text_parse(value_field(k, base), text, !udp, udp);
    if (r == ADDR_MALFORMED)
        return value_refuse(why, "malformed address");
    if (r == ADDR_BAD_PORT)
        return value_refuse(why, "bad port or port range");
    return r;
}

static void addr_print(const struct conf_key *k, const void *base, FILE *out)
{
    char text[320];

    addr_text_print(value_cfield(k, base), text, sizeof text);
    ini_quote(text, out);
}

static int addr_copy(const struct conf_key *k, void *dst, const void *src)
{
    const struct addr_text *from = value_cfield(k, src);
    struct addr_text to = *from;

    to.host = from->host ? strdup(from->host) : NULL;
    to.path = from->path ? strdup(from->path) : NULL;
    if ((from->host && !to.host) || (from->path && !to.path)) {
        addr_text_fini(&to);
        return err_here(-ENOMEM);
    }
    *(struct addr_text *)value_field(k, dst) = to;
    return 0;
}

static bool addr_equal(const struct conf_key *k, const void *a, const void *b)
{
    return addr_text_equal(value_cfield(k, a), value_cfield(k, b));
}

static void addr_fini(const struct conf_key *k, void *base)
{
    addr_text_fini(value_field(k, base));
}

static void addr_range(const struct conf_key *k, FILE *out)
{
    fputs(k->type == &conf_udp ? "host:port or host:min-max, ports 1..65535, IPv6 in brackets"
                               : "host:port, port 1..65535, IPv6 in brackets, or the path of a unix socket",
          out);
    if (k->type == &conf_maybe_stream)
        fputs(", or nothing", out);
}

#define ADDR_OPS                                                                                                       \
    .parse = addr_parse, .print = addr_print, .copy = addr_copy, .equal = addr_equal, .fini = addr_fini,               \
    .range = addr_range
const struct conf_type conf_udp = {"address", sizeof(struct addr_text), ADDR_OPS};
const struct conf_type conf_stream = {"address", sizeof(struct addr_text), ADDR_OPS};
const struct conf_type conf_maybe_stream = {"address", sizeof(struct addr_text), ADDR_OPS};

/* ---- secrets ---- */

static int secret_parse(const struct conf_key *k, void *base, const char *text, char *why)
{
    struct conf_secret *s = value_field(k, base);

    (void)why;
    s->text = strdup(text);
    return s->text ? 0 : err_here(-ENOMEM);
}

static void secret_print(const struct conf_key *k, const void *base, FILE *out)
{
    const struct conf_secret *s = value_cfield(k, base);

    ini_quote(s->text ? s->text : "", out);
}

static void secret_fini(const struct conf_key *k, void *base)
{
    struct conf_secret *s = value_field(k, base);

    if (s->text)
        explicit_bzero(s->text, strlen(s->text));
    free(s->text);
    free(s->file);
    *s = (struct conf_secret){0};
}

static int secret_copy(const struct conf_key *k, void *dst, const void *src)
{
    const struct conf_secret *from = value_cfield(k, src);
    struct conf_secret *to = value_field(k, dst);

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
    const struct conf_secret *x = value_cfield(k, a), *y = value_cfield(k, b);

    return value_same_text(x->text, y->text) && value_same_text(x->file, y->file);
}

static void secret_range(const struct conf_key *k, FILE *out)
{
    (void)k;
    fputs("text; \"...\" if it is empty, begins with a quote or holds ' ;' or ' #'", out);
}

/* The keyfile rows: the value is a path, conf/load.c reads it into the field of the key it stands for. */
static int path_only_parse(const struct conf_key *k, void *base, const char *text, char *why)
{
    struct conf_secret *s = value_field(k, base);

    if (!*text)
        return value_refuse(why, "empty");
    s->file = strdup(text);
    return s->file ? 0 : err_here(-ENOMEM);
}

static void keyfile_print(const struct conf_key *k, const void *base, FILE *out)
{
    const struct conf_secret *s = value_cfield(k, base);

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
