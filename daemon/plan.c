/* daemon/plan.c - the lives of plans. */
#include "daemon/plan.h"

#include "core/deal.h"

#include <stdlib.h>

/* Pads are made by main, beforehand: many of them take seconds, which no worker has. */
static bool make_pads(const struct plan *p)
{
    for (unsigned i = 0; p->conf.qpp && i < LEN(p->keys); i++)
        if (p->keys[i] && !secret_qpp(p->keys[i], p->conf.qppcount, p->conf.qppgeneration))
            return false;
    return true;
}

struct plan *plan_new(uint64_t id, const struct conf_profile *conf, struct secrets *secrets, struct sockets *sockets)
{
    struct plan *p = calloc(1, sizeof *p);

    if (!p) {
        sockets_put(sockets);
        return NULL;
    }
    atomic_init(&p->refs, 1);
    p->id = id;
    p->sockets = sockets;
    if (conf_profile_copy(&p->conf, conf))
        return plan_put(p);
    p->keys[0] = secrets_get(secrets, conf->key.text);
    p->keys[1] = conf->oldkey.text ? secrets_get(secrets, conf->oldkey.text) : NULL;
    if (!p->keys[0] || (conf->oldkey.text && !p->keys[1]) || !make_pads(p))
        return plan_put(p);
    if (conf->role == CONF_CLIENT)
        p->deal = deal_new(conf->conn, conf->mode == CONF_AUTO ? DEAL_EXTRA : 0);
    if (conf->role == CONF_CLIENT && !p->deal)
        return plan_put(p);
    return p;
}

struct plan *plan_ref(struct plan *p)
{
    atomic_fetch_add_explicit(&p->refs, 1, memory_order_relaxed);
    return p;
}

struct plan *plan_put(struct plan *p)
{
    if (!p || atomic_fetch_sub_explicit(&p->refs, 1, memory_order_acq_rel) > 1)
        return NULL;
    conf_profile_fini(&p->conf);
    secret_put(p->keys[0]);
    secret_put(p->keys[1]);
    sockets_put(p->sockets);
    deal_free(p->deal);
    free(p);
    return NULL;
}

struct edition *edition_free(struct edition *e)
{
    for (unsigned i = 0; e && i < e->n; i++)
        plan_put(e->v[i].plan);
    free(e);
    return NULL;
}
