/* conf/clash.c - addresses that two profiles would both listen on. Names are compared as text; "" and [::] cover every
 * address, 0.0.0.0 every IPv4 address. Sorted, so 10,000 profiles take no longer than they must. */
#include "conf/draft.h"

#include "core/base/err.h"

#include <stdlib.h>
#include <string.h>

enum cover { COVER_ALL, COVER_V4, COVER_ONE_V4, COVER_ONE, COVER_PATH };
enum proto { UDP, STREAM };

struct claim { /* one profile's wish to listen */
    enum proto proto;
    enum cover cover;
    uint8_t ip[16]; /* of a numeric host */
    const char *text; /* of a name or path, else "" */
    uint16_t lo, hi; /* ports */
    const struct claim *widest; /* of this claim and those before it with the same address: reaches the highest port */
    const char *who, *key;
    struct place at;
};

static void describe(struct claim *c, const struct addr_text *a)
{
    static const uint8_t all[16], all4[16] = {[10] = 0xff, [11] = 0xff};

    c->text = "";
    c->lo = a->port_min;
    c->hi = a->port_max;
    if (a->path) {
        c->cover = COVER_PATH;
        c->text = a->path;
    } else if (!*a->host || (addr_ip(c->ip, a->host) && !memcmp(c->ip, all, sizeof all))) {
        c->cover = COVER_ALL;
    } else if (!addr_ip(c->ip, a->host)) {
        c->cover = COVER_ONE;
        c->text = a->host;
    } else if (!memcmp(c->ip, all4, sizeof all4)) {
        c->cover = COVER_V4;
    } else {
        c->cover = memcmp(c->ip, all4, 12) ? COVER_ONE : COVER_ONE_V4;
    }
}

/* Same protocol and same address. */
static int by_address(const struct claim *a, const struct claim *b)
{
    int r;

    if (a->proto != b->proto)
        return a->proto < b->proto ? -1 : 1;
    if (a->cover != b->cover)
        return a->cover < b->cover ? -1 : 1;
    r = memcmp(a->ip, b->ip, sizeof a->ip);
    return r ? r : strcmp(a->text, b->text);
}

static int by_port(const void *x, const void *y)
{
    const struct claim *a = x, *b = y;
    int r = by_address(a, b);

    return r ? r : a->lo != b->lo ? (a->lo < b->lo ? -1 : 1) : a->hi - b->hi;
}

static void tell(const struct claim *a, const struct claim *b, struct conf_problems *ps)
{
    bool swap = a->at.file == b->at.file && a->at.line > b->at.line; /* the later line is the one to change */
    const struct claim *late = swap ? a : b, *early = swap ? b : a;

    if (late->cover == COVER_PATH)
        conf_problem_add(ps, false, late->at, "%s: %s is used by %s too, at %s:%u; accepted: a path of its own",
                         late->key, late->text, early->who, early->at.file, early->at.line);
    else
        conf_problem_add(ps, false, late->at,
                         "%s: %s port %u is used by '%s' too, at %s:%u; accepted: an address and ports of its own",
                         late->key, late->proto == UDP ? "UDP" : "TCP", MAX(late->lo, early->lo), early->who,
                         early->at.file, early->at.line);
}

/* Neighbours in the sorted list with one address; fills `widest`. */
static void check_same_address(struct claim *v, size_t n, struct conf_problems *ps)
{
    for (size_t i = 0; i < n; i++) {
        const struct claim *widest = i && !by_address(&v[i - 1], &v[i]) ? v[i - 1].widest : NULL;

        if (widest && v[i].lo <= widest->hi)
            tell(widest, &v[i], ps);
        v[i].widest = widest && widest->hi >= v[i].hi ? widest : &v[i];
    }
}

/* A claim among v[0..n), all of one address and sorted, that shares a port with c; or NULL. */
static const struct claim *find_overlap(const struct claim *v, size_t n, const struct claim *c)
{
    size_t lo = 0, hi = n; /* in the end v[0..lo) are those that begin at or below c->hi */

    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;

        if (v[mid].lo <= c->hi)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo && v[lo - 1].widest->hi >= c->lo ? v[lo - 1].widest : NULL;
}

/* Every claim of one address against those of all addresses of its protocol. */
static void check_wildcards(const struct claim *v, size_t n, enum proto proto, enum cover wild,
                            struct conf_problems *ps)
{
    size_t from = 0, to;

    while (from < n && (v[from].proto != proto || v[from].cover != wild))
        from++;
    for (to = from; to < n && v[to].proto == proto && v[to].cover == wild; to++)
        ;
    for (size_t i = 0; i < n; i++) {
        bool under =
            wild == COVER_ALL ? v[i].cover > COVER_ALL && v[i].cover != COVER_PATH : v[i].cover == COVER_ONE_V4;
        const struct claim *w = under && v[i].proto == proto ? find_overlap(v + from, to - from, &v[i]) : NULL;

        if (w)
            tell(w, &v[i], ps);
    }
}

static void claim(struct claim *c, const struct conf_profile *p, const struct draft *d, enum proto proto)
{
    bool server = p->role == CONF_SERVER;

    c->proto = proto;
    c->key = server ? "listen" : "localaddr";
    c->who = p->name;
    c->at = conf_draft_place(d, c->key, IN_BOTH);
    describe(c, server ? &p->listen : &p->localaddr);
}

/* A socket of the daemon's own. path NULL or "": none. */
static void claim_path(struct claim *v, size_t *n, const char *path, const char *who, const char *key,
                       const struct draft *global)
{
    if (path && *path)
        v[(*n)++] = (struct claim){
            .proto = STREAM,
            .cover = COVER_PATH,
            .text = path,
            .who = who,
            .key = key,
            .at = conf_draft_place(global, key, IN_GLOBAL),
        };
}

int conf_check_addrs(const struct conf *c, const struct draft *drafts, const struct draft *global,
                     struct conf_problems *ps)
{
    struct claim *v = calloc((size_t)c->n_profiles * 2 + 3, sizeof *v);
    size_t n = 0;

    if (!v)
        return err_here(-ENOMEM);
    for (unsigned i = 0; i < c->n_profiles; i++) {
        const struct conf_profile *p = &c->profiles[i];

        if (drafts[i].bad)
            continue;
        if (p->role == CONF_SERVER)
            claim(&v[n++], p, &drafts[i], UDP);
        if (p->role == CONF_CLIENT || p->tcp)
            claim(&v[n++], p, &drafts[i], STREAM);
    }
    claim_path(v, &n, c->global.control, "the control socket", "control", global);
    claim_path(v, &n, c->global.stats, "the stats socket", "stats", global);
    if (!addr_text_none(&c->global.metrics)) {
        v[n] = (struct claim){.proto = STREAM,
                              .who = "the metrics",
                              .key = "metrics",
                              .at = conf_draft_place(global, "metrics", IN_GLOBAL)};
        describe(&v[n++], &c->global.metrics);
    }
    qsort(v, n, sizeof *v, by_port);
    check_same_address(v, n, ps);
    check_wildcards(v, n, UDP, COVER_ALL, ps);
    check_wildcards(v, n, UDP, COVER_V4, ps);
    check_wildcards(v, n, STREAM, COVER_ALL, ps);
    check_wildcards(v, n, STREAM, COVER_V4, ps);
    free(v);
    return 0;
}
