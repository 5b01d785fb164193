/* tests/fuzz/fuzz_cipher_open.c - arbitrary bytes through every row of the cipher table, under one key.
 * Properties: rows of one name agree; what is accepted, sealed again with its nonce, is the datagram that came; what
 * was sealed is accepted and unchanged. The first byte says into how many packets the rest is cut. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "crypto/cipher.h"
#include "crypto/kdf.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

enum { PKTS_MAX = 20, ROWS_MAX = 64 };

/* The key of the captured packets in tests/data, so that they make seeds. */
static const char passphrase[] = "spec check";

static struct cipher *ciphers[ROWS_MAX];
static size_t n_ciphers;

static void require(int held, const char *what, const struct cipher *c)
{
    if (held)
        return;
    fprintf(stderr, "%s: %s\n", cipher_impl(c), what);
    abort();
}

static void start(void)
{
    uint8_t key[CIPHER_KEY];

    if (crypto_init() || kdf_derive(key, bytes_of(passphrase, sizeof passphrase - 1)))
        abort();
    for (const struct cipher_ops *const *t = cipher_table; *t; t++)
        if ((!(*t)->usable || (*t)->usable()) && cipher_new_impl(&ciphers[n_ciphers++], *t, key))
            abort();
}

/* Packets of about equal length on blocks of their own. Returns their number. */
static size_t cut(struct cipher_pkt v[PKTS_MAX], const uint8_t *p, size_t len, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        size_t from = len * i / n, to = len * (i + 1) / n;

        v[i] = (struct cipher_pkt){.p = malloc(to - from + (to == from)), .len = (uint32_t)(to - from)};
        if (to > from)
            memcpy(v[i].p, p + from, to - from);
    }
    return n;
}

static void release(struct cipher_pkt v[], size_t n)
{
    for (size_t i = 0; i < n; i++)
        free(v[i].p);
}

static void check_open(struct cipher *c, const uint8_t *p, size_t len, size_t n)
{
    struct cipher_pkt v[PKTS_MAX], was[PKTS_MAX];

    cut(v, p, len, n);
    cut(was, p, len, n);
    cipher_open(c, v, n);
    for (size_t i = 0; i < n; i++) {
        uint8_t nonce[1][16] = {{0}};

        if (!v[i].ok)
            continue;
        require(v[i].len >= cipher_head(c) + cipher_tail(c) && v[i].len <= CIPHER_PKT_MAX, "accepts any length", c);
        memcpy(nonce, v[i].p, MIN(cipher_head(c), sizeof nonce[0]));
        cipher_seal(c, &v[i], 1, (const uint8_t(*)[16])nonce);
        require(!memcmp(v[i].p, was[i].p, v[i].len), "sealed again it is another datagram", c);
    }
    release(v, n);
    release(was, n);
}

/* The bytes as payloads: there and back. */
static void check_seal(struct cipher *c, const uint8_t *p, size_t len, size_t n)
{
    struct cipher_pkt v[PKTS_MAX], was[PKTS_MAX];
    uint8_t nonces[PKTS_MAX][16];
    size_t over = cipher_head(c) + cipher_tail(c), kept = 0;

    cut(v, p, len, n);
    cut(was, p, len, n);
    for (size_t i = 0; i < n; i++) {
        memset(nonces[i], (int)(len + i), sizeof nonces[i]);
        if (v[i].len < over || v[i].len > CIPHER_PKT_MAX)
            continue;
        struct cipher_pkt t = v[kept], u = was[kept];

        v[kept] = v[i];
        v[i] = t;
        was[kept] = was[i];
        was[i] = u;
        kept++;
    }
    cipher_seal(c, v, kept, (const uint8_t(*)[16])nonces);
    cipher_open(c, v, kept);
    for (size_t i = 0; i < kept; i++) {
        require(v[i].ok, "refuses what it sealed", c);
        require(!memcmp(v[i].p + cipher_head(c), was[i].p + cipher_head(c), v[i].len - over), "payload changed", c);
    }
    release(v, n);
    release(was, n);
}

/* Two rows of one name stand side by side: same verdicts, same bytes. */
static void check_agree(struct cipher *a, struct cipher *b, const uint8_t *p, size_t len, size_t n)
{
    struct cipher_pkt v[PKTS_MAX], w[PKTS_MAX];

    cut(v, p, len, n);
    cut(w, p, len, n);
    cipher_open(a, v, n);
    cipher_open(b, w, n);
    for (size_t i = 0; i < n; i++) {
        require(v[i].ok == w[i].ok, "another verdict than the row before", b);
        require(!memcmp(v[i].p, w[i].p, v[i].len), "other bytes than the row before", b);
    }
    release(v, n);
    release(w, n);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    const struct cipher_ops *const *t = cipher_table;
    const char *last = "";
    size_t n;

    if (!n_ciphers)
        start();
    if (!len || len > 1 + PKTS_MAX * 2000)
        return 0;
    n = 1 + data[0] % PKTS_MAX;
    for (size_t i = 0; i < n_ciphers; i++, t++) {
        while ((*t)->usable && !(*t)->usable())
            t++;
        check_open(ciphers[i], data + 1, len - 1, n);
        check_seal(ciphers[i], data + 1, len - 1, n);
        if (!strcmp(last, (*t)->name))
            check_agree(ciphers[i - 1], ciphers[i], data + 1, len - 1, n);
        last = (*t)->name;
    }
    return 0;
}
