/* daemon/keyring.c - which keys a tunnel has, and their ciphers. */
#include "daemon/keyring.h"

#include "core/base/err.h"
#include "crypto/kdf.h"
#include "daemon/log.h"

#include <stdlib.h>
#include <string.h>

enum { FORMER_US = 10 * 1000000 }; /* in which every worker has moved on and written down what it uses */

/* The registry's own name, and its number. */
static unsigned cipher_number(const char *name, const char **own)
{
    unsigned i = 0;

    while ((*own = cipher_name_at(i)) && strcmp(*own, name) != 0)
        i++;
    return i;
}

static struct tunnel_key *key_free(struct tunnel_key *k)
{
    if (!k)
        return NULL;
    cipher_free(k->cipher);
    secret_put(k->secret);
    free(k);
    return NULL;
}

static struct tunnel_key *key_new(struct secret *s, const char *crypt, uint64_t id)
{
    struct tunnel_key *k = calloc(1, sizeof *k);

    if (!k)
        return NULL;
    *k = (struct tunnel_key){.id = id, .crypt = crypt, .secret = secret_ref(s)};
    return k;
}

struct tunnel_key *keyring_find(const struct keyring *k, uint64_t id)
{
    for (unsigned i = 0; i < k->n; i++)
        if (k->v[i]->id == id)
            return k->v[i];
    return NULL;
}

/* v[0..n) moves to the front of the ring, whatever of it is there already goes. */
static void put_in_front(struct keyring *k, struct tunnel_key *const v[], unsigned n)
{
    struct keyring out = {.n = n, .n_current = n};

    memcpy(out.v, v, n * sizeof *v);
    for (unsigned i = 0; i < k->n; i++)
        if (!keyring_find(&out, k->v[i]->id))
            out.v[out.n++] = k->v[i];
    *k = out;
}

int keyring_set(struct keyring *k, const struct plan *p)
{
    struct tunnel_key *v[2], *new[2] = {NULL, NULL};
    const char *crypt;
    unsigned number = cipher_number(p->conf.crypt, &crypt), n = 0, n_new = 0;

    for (unsigned i = 0; i < LEN(p->keys) && p->keys[i]; i++) {
        uint64_t id = (uint64_t)secret_id(p->keys[i]) << 8 | number;

        if (n && v[0]->id == id)
            continue; /* oldkey is key */
        v[n] = keyring_find(k, id);
        if (!v[n])
            v[n] = new[n_new++] = key_new(p->keys[i], crypt, id);
        if (!v[n++] || k->n + n_new > KEYRING_MAX) {
            key_free(new[0]);
            key_free(new[1]);
            return v[n - 1] ? KEYRING_FULL : err_here(-ENOMEM);
        }
    }
    put_in_front(k, v, n);
    return 0;
}

void keyring_fini(struct keyring *k)
{
    while (k->n)
        key_free(k->v[--k->n]);
}

struct cipher *keyring_cipher(struct tunnel_key *key, const char *who)
{
    uint8_t bytes[CIPHER_KEY];
    int r;

    if (key->cipher)
        return key->cipher;
    r = secret_key(key->secret, bytes);
    if (!r)
        r = cipher_new(&key->cipher, key->crypt, bytes);
    crypto_wipe(bytes, sizeof bytes);
    if (r)
        log_error("%s: cipher %s cannot be set up: %s", who, key->crypt, err_text());
    return key->cipher;
}

static void write_down(const struct keyring *k, struct key_uses *mine)
{
    for (unsigned i = 0; i < KEYRING_MAX; i++)
        atomic_store(&mine->v[i], i < k->n && k->v[i]->used ? k->v[i]->id + 1 : 0);
}

static bool is_used(const struct tunnel_key *key, struct key_uses *uses, unsigned n_workers)
{
    for (unsigned w = 0; w < n_workers; w++)
        for (unsigned i = 0; i < KEYRING_MAX; i++)
            if (atomic_load(&uses[w].v[i]) == key->id + 1)
                return true;
    return false;
}

void keyring_drop_unused(struct keyring *k, struct key_uses *uses, unsigned n_workers, unsigned self, struct tick now)
{
    unsigned n = k->n_current;

    write_down(k, &uses[self]);
    for (unsigned i = 0; i < n; i++)
        k->v[i]->former = (struct tick){0};
    for (unsigned i = n; i < k->n; i++) {
        struct tunnel_key *key = k->v[i];

        if (!key->former.us)
            key->former = now;
        if (tick_since_us(now, key->former) < FORMER_US || is_used(key, uses, n_workers))
            k->v[n++] = key;
        else
            key_free(key);
    }
    k->n = n;
}

void keyring_drop_oldest(struct keyring *k)
{
    if (k->n > k->n_current)
        key_free(k->v[--k->n]);
}
