/* daemon/params.c - struct conf to session parameters and keys. */
#include "daemon/params.h"

#include "core/base/err.h"
#include "crypto/kdf.h"

#include <stdlib.h>
#include <string.h>

struct session_params params_session(const struct conf_profile *c, const struct cipher *cipher)
{
    return (struct session_params){
        .client = c->role == CONF_CLIENT,
        .mtu = (uint16_t)c->mtu,
        .head = (uint8_t)cipher_head(cipher),
        .tail = (uint8_t)cipher_tail(cipher),
        .snd_wnd = c->sndwnd,
        .rcv_wnd = c->rcvwnd,
        .nodelay = (uint8_t)c->nodelay,
        .interval_ms = (uint16_t)(c->interval ? c->interval : 10), /* mode auto: not used, but for its range */
        .resend = c->resend,
        .nocwnd = c->nc != 0,
        .adaptive = c->mode == CONF_AUTO,
        .fec_data = (uint16_t)c->datashard,
        .fec_parity = (uint16_t)c->parityshard,
        .compress = !c->nocomp,
        .smux_ver = (uint8_t)c->smuxver,
        .frame_max = c->framesize,
        .session_buf = c->smuxbuf,
        .stream_buf = c->streambuf,
        .max_streams = c->maxstreams ? c->maxstreams : UINT32_MAX / 4, /* 0: no limit */
        .rate = c->ratelimit,
        .keepalive_ms = c->keepalive * 1000,
        .peer_timeout_ms = c->peertimeout * 1000,
    };
}

struct phrase { /* where a pass phrase is used */
    const char *text;
    uint8_t *key;
};

static int by_text(const void *a, const void *b)
{
    return strcmp(((const struct phrase *)a)->text, ((const struct phrase *)b)->text);
}

int params_keys(const struct conf *c, uint8_t (*keys)[2][CIPHER_KEY])
{
    struct phrase *v = calloc(2 * (size_t)c->n_profiles + 1, sizeof *v);
    size_t n = 0;
    int r = 0;

    if (!v)
        return err_here(-ENOMEM);
    for (unsigned i = 0; i < c->n_profiles; i++) {
        const struct conf_profile *p = &c->profiles[i];

        v[n++] = (struct phrase){p->key.text, keys[i][0]};
        if (p->oldkey.text)
            v[n++] = (struct phrase){p->oldkey.text, keys[i][1]};
    }
    qsort(v, n, sizeof *v, by_text); /* equal ones side by side */
    for (size_t i = 0; i < n && !r; i++) {
        if (i && !by_text(&v[i - 1], &v[i]))
            memcpy(v[i].key, v[i - 1].key, CIPHER_KEY);
        else
            r = kdf_derive(v[i].key, bytes_of(v[i].text, strlen(v[i].text)));
    }
    free(v);
    return r;
}

struct pads { /* what pads are made of */
    const char *text;
    unsigned count, generation;
    struct qpp **at;
};

static int by_source(const void *a, const void *b)
{
    const struct pads *x = a, *y = b;
    int r = strcmp(x->text, y->text);

    if (!r)
        r = (x->count > y->count) - (x->count < y->count);
    return r ? r : (x->generation > y->generation) - (x->generation < y->generation);
}

int params_qpps(const struct conf *c, struct qpp *(*qpps)[2])
{
    struct pads *v = calloc(2 * (size_t)c->n_profiles + 1, sizeof *v);
    size_t n = 0;
    int r = 0;

    if (!v)
        return err_here(-ENOMEM);
    for (unsigned i = 0; i < c->n_profiles; i++) {
        const struct conf_profile *p = &c->profiles[i];
        const char *texts[2] = {p->key.text, p->oldkey.text};

        for (unsigned k = 0; k < 2 && p->qpp; k++)
            if (texts[k])
                v[n++] = (struct pads){texts[k], p->qppcount, p->qppgeneration, &qpps[i][k]};
    }
    qsort(v, n, sizeof *v, by_source); /* equal ones side by side */
    for (size_t i = 0; i < n && !r; i++) {
        if (i && !by_source(&v[i - 1], &v[i]))
            *v[i].at = qpp_share(*v[i - 1].at);
        else
            r = qpp_new(v[i].at, bytes_of(v[i].text, strlen(v[i].text)), v[i].count, v[i].generation);
    }
    free(v);
    return r;
}
