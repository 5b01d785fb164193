/* crypto/cipher.h - the packet ciphers by kcptun's names, over batches of whole datagrams, in place.
 * Three families: CFB-like (16-byte nonce, CRC-32: cipher "none", "xor" and "salsa20" included), AEAD (12-byte nonce in
 * front, tag behind), and null (nothing at all). Source: the crypto description.
 * One file and one row per implementation; the first usable row of a name wins, the others are its test oracles. */
#ifndef CRYPTO_CIPHER_H
#define CRYPTO_CIPHER_H

#include "core/base/bytes.h"

#include <stdbool.h>

enum cipher_family { CIPHER_CFB, CIPHER_AEAD, CIPHER_NULL };
enum { CIPHER_KEY = 32, CIPHER_PKT_MAX = 1500 };

struct cipher_pkt {               /* one datagram: p[0..len), nonce to tag */
    uint8_t *p;
    uint32_t len;
    bool ok;                      /* out of open: an AEAD packet's tag matched, else its body is zeros; true for the others */
};

struct cipher_ops {
    const char *name;             /* as in `crypt =` */
    const char *impl;             /* "libgcrypt", "aesni x8", ... */
    enum cipher_family family;
    unsigned key_len;             /* bytes of the derived key used */
    bool (*usable)(void);         /* NULL: always */
    size_t (*state_size)(void);
    int (*init)(void *state, const uint8_t *key);               /* 0, -errno */
    void (*seal)(void *state, struct cipher_pkt v[], size_t n); /* encrypts p[0..len); AEAD: the body, writes the tag */
    void (*open)(void *state, struct cipher_pkt v[], size_t n);
    void (*fini)(void *state);    /* releases what init took; the state itself is wiped by the caller */
};

extern const struct cipher_ops *const cipher_table[];           /* NULL-terminated */

/* A keyed cipher. One thread at a time: each worker has its own. */
struct cipher;

enum { CIPHER_UNKNOWN = 1 };
/* key: the 32 derived bytes; copied into secure memory. 0, CIPHER_UNKNOWN, -errno. */
int cipher_new(struct cipher **cp, const char *name, const uint8_t key[CIPHER_KEY]);
int cipher_new_impl(struct cipher **cp, const struct cipher_ops *ops, const uint8_t key[CIPHER_KEY]);
struct cipher *cipher_free(struct cipher *c);                   /* wipes */
bool cipher_known(const char *name);
const char *cipher_name_at(unsigned i);                         /* the i-th name, once each; NULL past the end */
const char *cipher_impl(const struct cipher *c);
enum cipher_family cipher_family(const struct cipher *c);
unsigned cipher_head(const struct cipher *c);                   /* bytes before the payload: 20, 12, 0 */
unsigned cipher_tail(const struct cipher *c);                   /* bytes behind it: 0, 16, 0 */

/* Seals datagrams in place: v[i].p has cipher_head() bytes free in front and cipher_tail() behind the payload, both
 * counted in len. Fills in nonce (from nonces: 16 bytes for each packet) and CRC, then encrypts. */
void cipher_seal(struct cipher *c, struct cipher_pkt v[], size_t n, const uint8_t (*nonces)[16]);
/* Opens datagrams in place and checks CRC or tag: v[i].ok. The payload is p[head .. len-tail). A packet shorter than
 * head + tail, or longer than CIPHER_PKT_MAX, is not ok. */
void cipher_open(struct cipher *c, struct cipher_pkt v[], size_t n);

#endif
