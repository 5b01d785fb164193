/* daemon/answer_findings.c - what does not fit between a tunnel and its peers, put together from all workers. */
#include "daemon/answer_priv.h"

#include "daemon/findings.h"
#include "daemon/reload.h"
#include "daemon/roster.h"

#include <string.h>

/* Adds b to what is known of the same kind and source. */
static void merge(struct finding *v, unsigned *n, const struct finding *b)
{
    uint8_t want[16], ip[16];

    net_addr_ip(&b->from, want);
    for (struct finding *f = v; f < v + *n; f++) {
        net_addr_ip(&f->from, ip);
        if (f->kind != b->kind || memcmp(ip, want, sizeof ip) != 0)
            continue;
        f->count += b->count;
        f->first = tick_min(f->first, b->first);
        if (tick_before(f->last, b->last)) {
            f->last = b->last;
            f->from = b->from;
            memcpy(f->detail, b->detail, sizeof f->detail);
        }
        return;
    }
    if (*n < FINDINGS_MAX)
        v[(*n)++] = *b;
}

static json_t *finding_json(const struct finding *f, const struct conf_profile *c, struct tick now)
{
    char text[384];

    finding_text(f, c, text, sizeof text);
    return json_pack("{ss ss sI sI sI so}", "kind", finding_name(f->kind), "from", net_addr_text(&f->from), "count",
                     (json_int_t)f->count, "first_s", (json_int_t)(tick_since_us(now, f->first) / 1000000), "last_s",
                     (json_int_t)(tick_since_us(now, f->last) / 1000000), "text", ctl_text(text));
}

json_t *answer_findings(const struct answers *a, int64_t tunnel, struct tick now)
{
    const struct roster_entry *e = roster_by_id(reload_roster(a->p.reload), (uint64_t)tunnel);
    struct finding one[FINDINGS_MAX], all[FINDINGS_MAX];
    json_t *v = json_array();
    unsigned n = 0;

    for (unsigned w = 0; e && w < a->p.sh->n_workers; w++) {
        unsigned k = findings_read(e->findings[w], one);

        for (unsigned i = 0; i < k; i++)
            merge(all, &n, &one[i]);
    }
    for (unsigned i = 0; i < n; i++)
        json_array_append_new(v, finding_json(&all[i], e->conf, now));
    return v;
}
