/* crypto/cipher.c - the table, selection by name, and what surrounds the cipher in a datagram: nonce and CRC.
 * Wire: CFB family | nonce[16] crc32 payload |, all encrypted; AEAD | nonce[12] | payload, encrypted | tag[16] |. */
#include "crypto/cipher.h"

#include <assert.h>
#include <sodium.h>

#include "core/base/err.h"
#include "core/base/wire.h"
#include "crypto/cipher_rows.h"
#include "crypto/crc32.h"

enum {
    CFB_NONCE = 16,
    CFB_HEAD = CFB_NONCE + 4,
    STATE_ALIGN = 64,
    AT_ONCE = 32, /* packets: the widest kernel's; what one pass brings into the first cache is there for the next */
};

const uint8_t cipher_cfb_iv[CIPHER_CFB_IV] = {0xa7, 0x73, 0x4f, 0x9c, 0x12, 0xac, 0x1b, 0x01,
                                              0xa4, 0x15, 0xf2, 0xc1, 0xfc, 0x78, 0xe6, 0x6b};

/* Rows of one name stand together, the fastest first. */
const struct cipher_ops *const cipher_table[] = {
#if defined(__x86_64__)
    &cfb_vaes_aes,
    &cfb_vaes256_aes,
    &cfb_aesni_aes,
#endif
    &cipher_gcrypt_aes,
#if defined(__x86_64__)
    &cfb_vaes_aes128,
    &cfb_vaes256_aes128,
    &cfb_aesni_aes128,
#endif
    &cipher_gcrypt_aes128,
#if defined(__x86_64__)
    &cfb_vaes_aes192,
    &cfb_vaes256_aes192,
    &cfb_aesni_aes192,
#endif
    &cipher_gcrypt_aes192,
    &cipher_gcrypt_sm4,
    &cipher_gcrypt_twofish,
    &cipher_gcrypt_blowfish,
    &cipher_gcrypt_cast5,
    &cipher_gcrypt_tdes,
    &cipher_tea,
    &cipher_xtea,
#if defined(__x86_64__)
    &salsa_avx512,
    &salsa_avx2,
#endif
    &cipher_salsa20,
    &cipher_xor,
    &cipher_none,
    &cipher_null,
#if defined(__x86_64__)
    &gcm_vaes,
    &gcm_vaes256,
    &gcm_aesni,
#endif
    &aead_gcm128,
    NULL,
};

static const struct {
    unsigned head, tail;
} frames[] = {
    [CIPHER_CFB] = {CFB_HEAD, 0},
    [CIPHER_AEAD] = {CIPHER_AEAD_NONCE, CIPHER_AEAD_TAG},
    [CIPHER_NULL] = {0, 0},
};

struct cipher {
    const struct cipher_ops *ops;
    unsigned head, tail;
    _Alignas(STATE_ALIGN) uint8_t state[];
};

bool cipher_known(const char *name)
{
    for (const struct cipher_ops *const *t = cipher_table; *t; t++)
        if (!strcmp((*t)->name, name))
            return true;
    return false;
}

const char *cipher_name_at(unsigned i)
{
    const char *last = "";

    for (const struct cipher_ops *const *t = cipher_table; *t; t++) {
        if (!strcmp((*t)->name, last))
            continue;
        last = (*t)->name;
        if (i-- == 0)
            return last;
    }
    return NULL;
}

/* sodium_malloc() puts the end of the block at a guard page, so a whole number of lines is aligned to one; where pages
 * cannot be locked it goes on without. */
int cipher_new_impl(struct cipher **cp, const struct cipher_ops *ops, const uint8_t key[CIPHER_KEY])
{
    size_t state = (ops->state_size() + STATE_ALIGN - 1) / STATE_ALIGN * STATE_ALIGN;
    size_t size = sizeof(struct cipher) + state;
    struct cipher *c = sodium_malloc(size);
    int r;

    if (!c)
        return err_here(-ENOMEM);
    memset(c, 0, size);
    r = ops->init(c->state, key);
    if (r) {
        sodium_free(c);
        return err_pass(r);
    }
    c->ops = ops;
    c->head = frames[ops->family].head;
    c->tail = frames[ops->family].tail;
    *cp = c;
    return 0;
}

int cipher_new(struct cipher **cp, const char *name, const uint8_t key[CIPHER_KEY])
{
    for (const struct cipher_ops *const *t = cipher_table; *t; t++)
        if (!strcmp((*t)->name, name) && (!(*t)->usable || (*t)->usable()))
            return cipher_new_impl(cp, *t, key);
    return CIPHER_UNKNOWN;
}

struct cipher *cipher_free(struct cipher *c)
{
    if (!c)
        return NULL;
    c->ops->fini(c->state);
    sodium_free(c); /* wipes */
    return NULL;
}

const char *cipher_impl(const struct cipher *c)
{
    return c->ops->impl;
}

enum cipher_family cipher_family(const struct cipher *c)
{
    return c->ops->family;
}

unsigned cipher_head(const struct cipher *c)
{
    return c->head;
}

unsigned cipher_tail(const struct cipher *c)
{
    return c->tail;
}

static bool len_fits(const struct cipher *c, const struct cipher_pkt *v)
{
    return v->len >= c->head + c->tail && v->len <= CIPHER_PKT_MAX;
}

static uint32_t payload_crc(const struct cipher_pkt *v)
{
    return crc32_ieee(bytes_of(v->p + CFB_HEAD, v->len - CFB_HEAD));
}

/* Nonces and checksums, in clear. */
static void put_heads(const struct cipher *c, const struct cipher_pkt v[], size_t n, const uint8_t (*nonces)[16])
{
    for (size_t i = 0; i < n; i++) {
        assert(len_fits(c, &v[i]));
        switch (c->ops->family) {
        case CIPHER_CFB:
            memcpy(v[i].p, nonces[i], CFB_NONCE);
            put_le32(v[i].p + CFB_NONCE, payload_crc(&v[i]));
            break;
        case CIPHER_AEAD:
            memcpy(v[i].p, nonces[i], CIPHER_AEAD_NONCE);
            break;
        case CIPHER_NULL:
            break;
        }
    }
}

void cipher_seal(struct cipher *c, struct cipher_pkt v[], size_t n, const uint8_t (*nonces)[16])
{
    for (size_t i = 0; i < n; i += AT_ONCE) {
        size_t k = MIN(n - i, (size_t)AT_ONCE);

        put_heads(c, v + i, k, nonces + i);
        c->ops->seal(c->state, v + i, k);
    }
}

/* Packets that may be what they claim. */
static void open_run(struct cipher *c, struct cipher_pkt v[], size_t n)
{
    c->ops->open(c->state, v, n);
    if (c->ops->family != CIPHER_CFB)
        return;
    for (size_t i = 0; i < n; i++)
        v[i].ok = v[i].ok && get_le32(v[i].p + CFB_NONCE) == payload_crc(&v[i]);
}

void cipher_open(struct cipher *c, struct cipher_pkt v[], size_t n)
{
    for (size_t i = 0; i < n;) {
        size_t run = 0;

        while (run < AT_ONCE && i + run < n && len_fits(c, &v[i + run]))
            run++;
        if (run)
            open_run(c, v + i, run);
        i += run;
        if (i < n && run < AT_ONCE)
            v[i++].ok = false;
    }
}
