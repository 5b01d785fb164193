/* conf/addr.c - addresses as people write them. Sees no resolver: a name stays text.
 * Source: the program description, section 3. Stricter than the peers where they guess: a port is 1..65535 in full,
 * nothing may follow it, and what looks like a bare IP address is not taken for a unix socket path. */
#include "conf/addr.h"

#include "core/base/err.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    HOST_MAX = 253,
    PATH_MAX_BYTES = 107, /* what fits sun_path with its NUL */
    V4_BITS = 96, /* prefix of ::ffff:0:0/96 */
};

static const uint8_t v4_prefix[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};

bool addr_ip(uint8_t ip[16], const char *text)
{
    uint8_t v6[16], v4[4];

    if (inet_pton(AF_INET, text, v4) == 1) {
        memcpy(ip, v4_prefix, sizeof v4_prefix);
        memcpy(ip + 12, v4, sizeof v4);
        return true;
    }
    if (inet_pton(AF_INET6, text, v6) != 1)
        return false;
    memcpy(ip, v6, sizeof v6);
    return true;
}

/* The inside of brackets: an IPv6 address, perhaps with a zone (fe80::1%eth0). */
static bool is_v6_literal(const char *p, size_t len)
{
    const char *zone = memchr(p, '%', len);
    size_t n = zone ? (size_t)(zone - p) : len;
    char text[INET6_ADDRSTRLEN];
    uint8_t ip[16];

    if (n >= sizeof text || !memchr(p, ':', n))
        return false;
    for (size_t i = n + 1; zone && i < len; i++)
        if (!isalnum((unsigned char)p[i]) && !strchr("._-", p[i]))
            return false;
    if (zone && n + 1 == len)
        return false;
    memcpy(text, p, n);
    text[n] = 0;
    return addr_ip(ip, text);
}

static bool is_name(const char *p, size_t len)
{
    if (len > HOST_MAX)
        return false;
    for (size_t i = 0; i < len; i++)
        if (!isalnum((unsigned char)p[i]) && p[i] != '.' && p[i] != '-' && p[i] != '_')
            return false;
    return true;
}

/* 1 to 5 digits; advances *pp. 0: none, or out of range. */
static uint16_t take_port(const char **pp)
{
    uint32_t v = 0;
    int n = 0;

    for (; isdigit((unsigned char)**pp); (*pp)++)
        if (++n <= 5)
            v = v * 10 + (uint32_t)(**pp - '0');
    return n && n <= 5 && v <= 65535 ? (uint16_t)v : 0;
}

static int parse_ports(struct addr_text *a, const char *p, bool range_ok)
{
    a->port_min = a->port_max = take_port(&p);
    if (!a->port_min)
        return ADDR_BAD_PORT;
    if (*p == '-' && range_ok) {
        p++;
        a->port_max = take_port(&p);
    }
    return *p || a->port_max < a->port_min ? ADDR_BAD_PORT : 0;
}

/* Finds host and port in "host:port" or "[v6]:port". False: text does not have that shape. */
static bool split(const char *text, const char **host, size_t *host_len, const char **port)
{
    const char *colon = strrchr(text, ':');

    if (!colon)
        return false;
    *host = text;
    *host_len = (size_t)(colon - text);
    *port = colon + 1;
    if (text[0] == '[') {
        if (*host_len < 2 || colon[-1] != ']' || !is_v6_literal(text + 1, *host_len - 2))
            return false;
        *host = text + 1;
        *host_len -= 2;
        return true;
    }
    return is_name(text, *host_len);
}

static bool is_path(const char *text)
{
    size_t n = strlen(text);
    uint8_t ip[16];

    if (!n || n > PATH_MAX_BYTES || text[0] == '[' || addr_ip(ip, text))
        return false;
    for (size_t i = 0; i < n; i++)
        if (iscntrl((unsigned char)text[i]))
            return false;
    return true;
}

int addr_text_parse(struct addr_text *a, const char *text, bool unix_ok, bool range_ok)
{
    struct addr_text got = {0};
    const char *host, *port;
    size_t host_len;
    int r;

    if (!split(text, &host, &host_len, &port)) {
        if (!unix_ok || !is_path(text))
            return ADDR_MALFORMED;
        got.path = strdup(text);
        if (!got.path)
            return err_here(-ENOMEM);
        *a = got;
        return 0;
    }
    r = parse_ports(&got, port, range_ok);
    if (r)
        return r;
    got.host = strndup(host, host_len);
    if (!got.host)
        return err_here(-ENOMEM);
    *a = got;
    return 0;
}

void addr_text_fini(struct addr_text *a)
{
    free(a->host);
    free(a->path);
    *a = (struct addr_text){0};
}

int addr_text_print(const struct addr_text *a, char *out, size_t n)
{
    bool v6 = a->host && strchr(a->host, ':');
    char range[8] = "";

    if (a->path)
        return snprintf(out, n, "%s", a->path);
    if (!a->host)
        return snprintf(out, n, "%s", "");
    if (a->port_max != a->port_min)
        snprintf(range, sizeof range, "-%u", a->port_max);
    return snprintf(out, n, "%s%s%s:%u%s", v6 ? "[" : "", a->host, v6 ? "]" : "", a->port_min, range);
}

static bool same_text(const char *a, const char *b)
{
    return a && b ? !strcmp(a, b) : a == b;
}

bool addr_text_equal(const struct addr_text *a, const struct addr_text *b)
{
    return same_text(a->host, b->host) && same_text(a->path, b->path) && a->port_min == b->port_min &&
           a->port_max == b->port_max;
}

bool addr_text_none(const struct addr_text *a)
{
    return !a->host && !a->path;
}

/* Zeroes the bits behind the prefix, so that equal blocks are equal bytes. */
static void mask(uint8_t ip[16], unsigned bits)
{
    for (unsigned i = 0; i < 16; i++) {
        unsigned keep = bits > i * 8 ? MIN(bits - i * 8, 8u) : 0;

        ip[i] &= (uint8_t)(0xff00u >> keep);
    }
}

int addr_block_parse(struct addr_block *b, const char *text)
{
    const char *slash = strchr(text, '/');
    size_t n = slash ? (size_t)(slash - text) : strlen(text);
    char ip[INET6_ADDRSTRLEN];
    unsigned bits = 0, base, most;
    struct addr_block got;

    if (n >= sizeof ip)
        return ADDR_MALFORMED;
    memcpy(ip, text, n);
    ip[n] = 0;
    if (!addr_ip(got.ip, ip))
        return ADDR_MALFORMED;
    base = strchr(ip, ':') ? 0 : V4_BITS;
    most = 128 - base;
    if (slash) {
        const char *p = slash + 1;

        if (!isdigit((unsigned char)*p) || (*p == '0' && p[1]))
            return ADDR_MALFORMED;
        for (; isdigit((unsigned char)*p) && bits <= most; p++)
            bits = bits * 10 + (unsigned)(*p - '0');
        if (*p || bits > most)
            return ADDR_MALFORMED;
    } else {
        bits = most;
    }
    got.bits = (uint8_t)(base + bits);
    mask(got.ip, got.bits);
    *b = got;
    return 0;
}

bool addr_block_has(const struct addr_block *b, const uint8_t ip[16])
{
    uint8_t masked[16];

    memcpy(masked, ip, sizeof masked);
    mask(masked, b->bits);
    return !memcmp(masked, b->ip, sizeof masked);
}

int addr_block_print(const struct addr_block *b, char *out, size_t n)
{
    bool v4 = b->bits >= V4_BITS && !memcmp(b->ip, v4_prefix, sizeof v4_prefix);
    char ip[INET6_ADDRSTRLEN];

    inet_ntop(v4 ? AF_INET : AF_INET6, v4 ? b->ip + 12 : b->ip, ip, sizeof ip);
    return snprintf(out, n, "%s/%u", ip, b->bits - (v4 ? V4_BITS : 0u));
}
