/* daemon/own_names.c - a list of names, and what became of them. */
#include "daemon/own_names.h"

#include "core/base/err.h"
#include "daemon/net.h"
#include "daemon/resolve.h"

#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct own_name {
    char *host;
    bool known;
    struct resolve_result result;
};

struct own_names {
    struct own_name *v;
    unsigned n, n_asked, n_known;
    struct resolver *resolver; /* on demand */
    struct resolver_client *client;
};

struct own_names *own_names_new(void)
{
    return calloc(1, sizeof(struct own_names));
}

struct own_names *own_names_free(struct own_names *n)
{
    if (!n)
        return NULL;
    resolver_client_free(n->client);
    resolver_free(n->resolver);
    for (unsigned i = 0; i < n->n; i++)
        free(n->v[i].host);
    free(n->v);
    free(n);
    return NULL;
}

static void look_up(const char *host, uint16_t port, struct resolve_result *out)
{
    const struct addrinfo wanted = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE};
    struct addrinfo *found = NULL, *i;
    int r = getaddrinfo(host, NULL, &wanted, &found), saved = errno;

    (void)port;
    for (i = found; i && i->ai_family != AF_INET; i = i->ai_next)
        ;
    i = i ? i : found;
    if (i && i->ai_addrlen <= sizeof out->addr[0].in6) {
        memcpy(&out->addr[0].sa, i->ai_addr, i->ai_addrlen);
        out->addr[0].len = i->ai_addrlen;
        out->n = 1;
    } else {
        snprintf(out->text, sizeof out->text, "%s",
                 r == EAI_SYSTEM ? strerror(saved) : gai_strerror(r ? r : EAI_NONAME));
    }
    if (found)
        freeaddrinfo(found);
}

/* NULL: out of memory. */
static struct own_name *get(struct own_names *n, const char *host)
{
    struct own_name *v;

    for (unsigned i = 0; i < n->n; i++)
        if (!strcmp(n->v[i].host, host))
            return &n->v[i];
    v = reallocarray(n->v, n->n + 1, sizeof *v);
    if (!v)
        return NULL;
    n->v = v;
    v[n->n] = (struct own_name){.host = strdup(host)};
    return v[n->n].host ? &v[n->n++] : NULL;
}

static int begin(struct own_names *n)
{
    int r = n->resolver ? 0 : resolver_new(&n->resolver, look_up);

    if (!r && !n->client)
        r = resolver_client_new(&n->client, n->resolver);
    return r;
}

/* Asks for as many as may be asked for at a time. 0, -errno. */
static int ask_more(struct own_names *n)
{
    int r = 0;

    for (; n->n_asked < n->n && !r; n->n_asked += !r)
        r = resolver_ask(n->client, n->v[n->n_asked].host, 0, n->n_asked);
    return r == RESOLVE_BUSY ? 0 : r;
}

int own_names_ask(struct own_names *n, const char *host)
{
    struct sockaddr_any a;
    int r;

    if (!net_bytes_in_name(host, 0, &a))
        return 0;
    r = begin(n);
    if (r)
        return err_pass(r);
    if (!get(n, host))
        return err_here(-ENOMEM);
    r = ask_more(n);
    return r ? err_pass(r) : 0;
}

int own_names_fd(const struct own_names *n)
{
    return n->client ? resolver_client_fd(n->client) : -1;
}

bool own_names_known(struct own_names *n)
{
    struct resolve_result x;

    while (n->client && resolver_next(n->client, &x)) {
        n->v[x.token].result = x;
        n->v[x.token].known = true;
        n->n_known++;
        ask_more(n);
    }
    return n->n_known == n->n;
}

int own_names_find(struct own_names *n, const char *host, uint16_t port, struct sockaddr_any *a, const char **why)
{
    struct own_name *x;

    if (!net_bytes_in_name(host, port, a))
        return 0;
    x = get(n, host);
    if (!x)
        return err_here(-ENOMEM);
    if (!x->known && !n->client) {
        look_up(host, port, &x->result);
        x->known = true;
        n->n_known++;
    }
    *why = x->known ? x->result.text : "the name servers do not answer in time";
    if (!x->result.n)
        return OWN_NAMES_NONE;
    *a = x->result.addr[0];
    if (a->sa.sa_family == AF_INET)
        a->in.sin_port = htons(port);
    else
        a->in6.sin6_port = htons(port);
    return 0;
}
