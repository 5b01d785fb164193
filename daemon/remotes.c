/* daemon/remotes.c - servers by preference. */
#include "daemon/remotes.h"

#include "daemon/net.h"

#include <stdlib.h>
#include <string.h>

enum {
    SILENT_MIN_MS = 4000, /* an address that did not answer is passed over for so long, doubled each time, ... */
    SILENT_MAX_MS = 60000, /* ... up to this */
    SMUX_FIRST = 2,
};

struct candidate { /* an address behind a name */
    struct sockaddr_any addr; /* its port is the first of the range */
    struct tick silent_until;
    uint32_t silent_ms;
    uint8_t smux_ver; /* 0: SMUX_FIRST */
    bool smux_known;
    bool answered;
};

struct remote {
    const struct addr_text *text;
    struct name name;
    struct candidate v[RESOLVE_ADDRS]; /* as last known: they outlive a resolver that fails */
    unsigned n;
};

struct remotes {
    struct remote *asking; /* one name at a time, so that an answer needs no return address */
    bool stale; /* the answer that is to come is to a question of before */
    const char *why;
    unsigned n;
    struct remote v[];
};

struct remotes *remotes_new(const struct conf_profile *c)
{
    struct remotes *r = calloc(1, sizeof *r + c->n_remoteaddr * sizeof *r->v);

    if (!r)
        return NULL;
    r->n = c->n_remoteaddr;
    for (unsigned i = 0; i < r->n; i++)
        r->v[i].text = &c->remoteaddr[i];
    return r;
}

struct remotes *remotes_follow(struct remotes *old, const struct conf_profile *c)
{
    struct remotes *r = remotes_new(c);

    if (!r)
        return NULL;
    r->stale = old->asking || old->stale;
    for (unsigned i = 0; i < r->n; i++)
        for (unsigned j = 0; j < old->n; j++)
            if (addr_text_equal(r->v[i].text, old->v[j].text)) {
                const struct addr_text *text = r->v[i].text;

                r->v[i] = old->v[j];
                r->v[i].text = text;
                r->v[i].name.asking = false;
            }
    remotes_free(old);
    return r;
}

struct remotes *remotes_free(struct remotes *r)
{
    free(r);
    return NULL;
}

const char *remotes_why(const struct remotes *r)
{
    return r->why ? r->why : "no address";
}

static void set_port(struct sockaddr_any *a, in_port_t port)
{
    if (a->sa.sa_family == AF_INET)
        a->in.sin_port = port;
    else
        a->in6.sin6_port = port;
}

/* Of a range every session draws one port, so a candidate stands for all of them. */
static struct candidate *find(struct remote *r, const struct sockaddr_any *addr)
{
    struct sockaddr_any a = *addr;

    for (unsigned i = 0; i < r->n; i++) {
        set_port(&a, r->v[i].addr.sa.sa_family == AF_INET ? r->v[i].addr.in.sin_port : r->v[i].addr.in6.sin6_port);
        if (net_addr_equal(&r->v[i].addr, &a))
            return &r->v[i];
    }
    return NULL;
}

/* Takes over what a name stands for now; what was known of an address stays with it. */
static void update(struct remote *r)
{
    struct candidate v[RESOLVE_ADDRS] = {0};

    for (unsigned i = 0; i < r->name.n; i++) {
        const struct candidate *old = find(r, &r->name.addrs[i]);

        if (old)
            v[i] = *old;
        v[i].addr = r->name.addrs[i];
    }
    memcpy(r->v, v, sizeof r->v);
    r->n = r->name.n;
}

/* Fresh addresses, if they can be had at once. 0, NAME_WAIT, NAME_FAILED: what was known before may still do. */
static int refresh(struct remotes *rs, struct remote *r, struct worker *w, uint64_t token)
{
    int k;

    if (rs->stale || (rs->asking && rs->asking != r))
        return NAME_WAIT;
    k = name_get(&r->name, w, r->text, token);
    rs->asking = k == NAME_WAIT ? r : NULL;
    if (k == NAME_FAILED)
        rs->why = r->name.why;
    else if (k == 0)
        update(r);
    return k;
}

void remotes_answer(struct remotes *rs, const struct resolve_result *res, struct tick now)
{
    struct remote *r = rs->asking;

    rs->stale = false;
    if (!r)
        return;
    rs->asking = NULL;
    name_answer(&r->name, res, now);
    if (!r->name.failed)
        update(r);
}

/* One of r's addresses that may answer, at random so that sessions spread; NULL: none. */
static struct candidate *draw(struct remote *r, struct worker *w)
{
    struct candidate *good[RESOLVE_ADDRS];
    unsigned n = 0;

    for (unsigned i = 0; i < r->n; i++)
        if (!tick_before(w->now, r->v[i].silent_until))
            good[n++] = &r->v[i];
    return n ? good[n > 1 ? nonce_u32(&w->nonce) % n : 0] : NULL;
}

/* The address whose time of being passed over ends first. NULL: there is none at all. */
static struct candidate *least_bad(struct remotes *rs, unsigned below, unsigned *rank)
{
    struct candidate *best = NULL;

    for (unsigned i = 0; i < below; i++)
        for (unsigned j = 0; j < rs->v[i].n; j++)
            if (!best || tick_before(rs->v[i].v[j].silent_until, best->silent_until)) {
                best = &rs->v[i].v[j];
                *rank = i;
            }
    return best;
}

int remotes_pick(struct remotes *rs, struct worker *w, unsigned below, uint64_t token, struct remote_pick *out)
{
    struct candidate *c = NULL;
    unsigned rank = 0;
    bool wait = false;

    below = MIN(below, rs->n);
    for (unsigned i = 0; i < below && !c; i++) {
        if (refresh(rs, &rs->v[i], w, token) == NAME_WAIT && (rs->n == 1 || !rs->v[i].n)) {
            wait = true;
            if (i == 0 && !rs->v[i].name.failed)
                break; /* the preferred one, never asked for before */
            continue;
        }
        c = draw(&rs->v[i], w);
        rank = i;
    }
    if (!c && wait)
        return NAME_WAIT;
    if (!c)
        c = least_bad(rs, below, &rank);
    if (!c)
        return NAME_FAILED;
    out->rank = rank;
    out->addr = c->addr;
    set_port(&out->addr, htons(name_port(rs->v[rank].text, &w->nonce)));
    out->smux_ver = c->smux_ver ? c->smux_ver : SMUX_FIRST;
    out->smux_known = c->smux_known;
    out->answered = c->answered;
    return 0;
}

/* NULL: the list of servers has changed since. */
static struct candidate *picked(struct remotes *rs, const struct remote_pick *p)
{
    return p->rank < rs->n ? find(&rs->v[p->rank], &p->addr) : NULL;
}

void remotes_silent(struct remotes *rs, const struct remote_pick *p, struct tick now, uint32_t jitter)
{
    struct candidate *c = picked(rs, p);

    if (!c || tick_before(now, c->silent_until))
        return;
    c->silent_ms = c->silent_ms ? MIN(c->silent_ms * 2, (uint32_t)SILENT_MAX_MS) : SILENT_MIN_MS;
    c->silent_until = tick_add_ms(now, c->silent_ms + jitter % (c->silent_ms / 4));
}

void remotes_answered(struct remotes *rs, const struct remote_pick *p)
{
    struct candidate *c = picked(rs, p);

    if (c) {
        c->answered = true;
        c->silent_ms = 0;
        c->silent_until = (struct tick){0};
    }
}

static struct candidate *at_address(struct remotes *rs, const struct sockaddr_any *addr)
{
    struct candidate *c = NULL;

    for (unsigned i = 0; i < rs->n && !c; i++)
        c = find(&rs->v[i], addr);
    return c;
}

void remotes_smux_read(struct remotes *rs, const struct sockaddr_any *addr, uint8_t ver)
{
    struct candidate *c = at_address(rs, addr);

    if (!c)
        return;
    c->smux_ver = ver;
    c->smux_known = true;
}

uint8_t remotes_smux_dropped(struct remotes *rs, const struct sockaddr_any *addr, uint8_t ver)
{
    struct candidate *c = at_address(rs, addr);
    uint8_t next = c && c->smux_known ? ver : ver == 1 ? 2 : 1;

    if (c) {
        c->smux_ver = next;
        c->smux_known = false;
    }
    return next;
}

void remotes_smux_doubt(struct remotes *rs, const struct sockaddr_any *addr)
{
    struct candidate *c = at_address(rs, addr);

    if (c)
        c->smux_known = false;
}

bool remotes_have_better(const struct remotes *rs, struct tick now)
{
    for (unsigned i = 0; i < rs->n; i++) {
        if (!rs->v[i].n && !rs->v[i].name.failed)
            return true; /* not even looked up yet */
        for (unsigned j = 0; j < rs->v[i].n; j++)
            if (!tick_before(now, rs->v[i].v[j].silent_until))
                return true;
    }
    return false;
}

bool remotes_are_one(const struct remotes *rs)
{
    return rs->n == 1 && rs->v[0].n == 1;
}

void remotes_forget_names(struct remotes *rs)
{
    for (unsigned i = 0; i < rs->n; i++)
        rs->v[i].name.until = (struct tick){0};
}
