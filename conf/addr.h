/* conf/addr.h - addresses as people write them: host:port, host:min-max, unix socket paths, CIDR blocks. Text only: names
 * are kept as text and resolved by the daemon. */
#ifndef CONF_ADDR_H
#define CONF_ADDR_H

#include "core/base/bytes.h"

#include <stdbool.h>

enum { ADDR_MALFORMED = 1, ADDR_BAD_PORT };

struct addr_text {                /* owned strings; zeroed: none */
    char *host;                   /* "" = all addresses; NULL for a unix socket */
    char *path;                   /* unix socket path, or NULL */
    uint16_t port_min, port_max;
};

/* unix_ok: text that cannot be split into host and port is a path. range_ok: min-max allowed.
 * 0 (fills *a, which the caller frees by addr_text_fini()), ADDR_MALFORMED, ADDR_BAD_PORT, -ENOMEM. */
int addr_text_parse(struct addr_text *a, const char *text, bool unix_ok, bool range_ok);
void addr_text_fini(struct addr_text *a);
/* Writes it back ("[::1]:4000-4010"); returns the length as snprintf does. */
int addr_text_print(const struct addr_text *a, char *out, size_t n);
bool addr_text_equal(const struct addr_text *a, const struct addr_text *b);
bool addr_text_none(const struct addr_text *a);

/* A numeric address without brackets or zone, IPv4 as v4-mapped IPv6. False (ip untouched): not numeric. */
bool addr_ip(uint8_t ip[16], const char *text);

struct addr_block {               /* CIDR: IPv4 is kept as v4-mapped IPv6 */
    uint8_t ip[16];               /* bits behind the prefix are zero */
    uint8_t bits;                 /* 0..128 */
};
int addr_block_parse(struct addr_block *b, const char *text);  /* 0, ADDR_MALFORMED */
bool addr_block_has(const struct addr_block *b, const uint8_t ip[16]);
int addr_block_print(const struct addr_block *b, char *out, size_t n); /* "10.0.0.0/8"; length as snprintf */

#endif
