/* daemon/net_addr.c - addresses: text, equality, hash. Knows IPv4, IPv6 and that a unix peer has none worth telling. */
#include "daemon/net.h"

#include <arpa/inet.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static bool is_ip(const struct sockaddr_any *a)
{
    return a->len && (a->sa.sa_family == AF_INET || a->sa.sa_family == AF_INET6);
}

static uint16_t port_of(const struct sockaddr_any *a)
{
    if (!is_ip(a))
        return 0;
    return ntohs(a->sa.sa_family == AF_INET ? a->in.sin_port : a->in6.sin6_port);
}

/* fe80::1 is another host on every link; elsewhere the scope says nothing. */
static uint32_t scope_of(const struct sockaddr_any *a)
{
    if (!a->len || a->sa.sa_family != AF_INET6 || !IN6_IS_ADDR_LINKLOCAL(&a->in6.sin6_addr))
        return 0;
    return a->in6.sin6_scope_id;
}

void net_addr_ip(const struct sockaddr_any *a, uint8_t ip[16])
{
    memset(ip, 0, 16);
    if (!is_ip(a))
        return;
    if (a->sa.sa_family == AF_INET) {
        memset(ip + 10, 0xff, 2);
        memcpy(ip + 12, &a->in.sin_addr, 4);
    } else {
        memcpy(ip, &a->in6.sin6_addr, 16);
    }
}

bool net_addr_is_loopback(const struct sockaddr_any *a)
{
    static const uint8_t one[16] = {[15] = 1};
    uint8_t ip[16];

    if (!is_ip(a))
        return false;
    net_addr_ip(a, ip);
    if (a->sa.sa_family == AF_INET || IN6_IS_ADDR_V4MAPPED(&a->in6.sin6_addr))
        return ip[12] == IN_LOOPBACKNET;
    return !memcmp(ip, one, sizeof ip);
}

const char *net_addr_text(const struct sockaddr_any *a)
{
    static _Thread_local char text[2][INET6_ADDRSTRLEN + IF_NAMESIZE + 16];
    static _Thread_local unsigned turn;
    char *out = text[turn++ & 1], host[INET6_ADDRSTRLEN] = "?";

    if (!a->len)
        return "none";
    if (!is_ip(a))
        return a->sa.sa_family == AF_UNIX ? "unix" : "unknown";
    if (a->sa.sa_family == AF_INET || IN6_IS_ADDR_V4MAPPED(&a->in6.sin6_addr)) {
        uint8_t ip[16];

        net_addr_ip(a, ip);
        inet_ntop(AF_INET, ip + 12, host, sizeof host);
        snprintf(out, sizeof text[0], "%s:%u", host, port_of(a));
        return out;
    }
    inet_ntop(AF_INET6, &a->in6.sin6_addr, host, sizeof host);
    if (scope_of(a))
        snprintf(out, sizeof text[0], "[%s%%%u]:%u", host, scope_of(a), port_of(a));
    else
        snprintf(out, sizeof text[0], "[%s]:%u", host, port_of(a));
    return out;
}

bool net_addr_equal(const struct sockaddr_any *a, const struct sockaddr_any *b)
{
    uint8_t x[16], y[16];

    if (is_ip(a) != is_ip(b) || port_of(a) != port_of(b) || scope_of(a) != scope_of(b))
        return false;
    net_addr_ip(a, x);
    net_addr_ip(b, y);
    return !memcmp(x, y, sizeof x);
}

/* Both halves of the product depend on all bits of both factors, which the seed hides from the peer. */
static uint64_t fold(uint64_t a, uint64_t b)
{
    unsigned __int128 p = (unsigned __int128)a * b;

    return (uint64_t)p ^ (uint64_t)(p >> 64);
}

uint64_t net_addr_hash(const struct sockaddr_any *a, uint64_t seed)
{
    static const uint64_t k[] = {0x9e3779b97f4a7c15, 0xbf58476d1ce4e5b9, 0x94d049bb133111eb}; /* splitmix64's */
    uint64_t half[2], h = fold(seed ^ k[0], k[1]);
    uint8_t ip[16];

    net_addr_ip(a, ip);
    memcpy(half, ip, sizeof half);
    h ^= fold(half[0] ^ h, k[1] ^ seed);
    h ^= fold(half[1] ^ h, k[2] ^ seed);
    return fold(h ^ ((uint64_t)scope_of(a) << 16 | port_of(a)), k[0] ^ seed) ^ h;
}

uint64_t net_addr_source(const struct sockaddr_any *a)
{
    uint64_t half[2];
    uint8_t ip[16];

    net_addr_ip(a, ip);
    memcpy(half, ip, sizeof half);
    return MAX(half[0] ? half[0] : half[1], UINT64_C(1)); /* the half of an IPv6 address that a host does not choose */
}

/* "fe80::1%eth0" or "%2" behind an address. 0: the scope's number is in *id, 1: there is no such link. */
static int scope_from_text(const char *text, uint32_t *id)
{
    char *end;
    unsigned long n = strtoul(text, &end, 10);

    if (*text && !*end && n <= UINT32_MAX)
        *id = (uint32_t)n;
    else
        *id = if_nametoindex(text);
    return *id ? 0 : 1;
}

int net_bytes_in_name(const char *host, uint16_t port, struct sockaddr_any *a)
{
    struct sockaddr_any v = {.len = 0};
    char plain[INET6_ADDRSTRLEN];
    const char *scope = strchr(host, '%');
    size_t n = scope ? (size_t)(scope - host) : strlen(host);

    if (n >= sizeof plain)
        return 1;
    memcpy(plain, host, n);
    plain[n] = '\0';
    if (!scope && inet_pton(AF_INET, plain, &v.in.sin_addr) == 1) {
        v.in.sin_family = AF_INET;
        v.in.sin_port = htons(port);
        v.len = sizeof v.in;
    } else {
        v.in6 = (struct sockaddr_in6){.sin6_family = AF_INET6, .sin6_port = htons(port)};
        v.len = sizeof v.in6;
        if (*host && inet_pton(AF_INET6, plain, &v.in6.sin6_addr) != 1)
            return 1;
        if (scope && scope_from_text(scope + 1, &v.in6.sin6_scope_id))
            return 1;
    }
    *a = v;
    return 0;
}
