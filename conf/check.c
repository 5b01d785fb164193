/* conf/check.c - the rules between the keys of one section. Ranges of single keys are in conf/schema.c, addresses used
 * twice in conf/clash.c. */
#include "conf/draft.h"

#include <inttypes.h>
#include <string.h>

enum { QPP_CHUNKS = 7, SHARDS_MAX = 256, MEMORY_MIN = 16 << 20, MTU_IN_TCP = 1500 - 20 - 32 };

struct place conf_draft_place(const struct draft *d, const char *name, unsigned where)
{
    const struct conf_key *k = conf_key_find(name, where);
    struct place at = d->at[k - conf_keys];

    return at.file ? at : d->head;
}

bool conf_draft_has(const struct draft *d, const char *name, unsigned where)
{
    return d->at[conf_key_find(name, where) - conf_keys].file;
}

/* Where a rule about two keys is broken: at the first that was given. */
static struct place place_of(const struct draft *d, const char *first, const char *second)
{
    return conf_draft_place(d, conf_draft_has(d, first, IN_BOTH) ? first : second, IN_BOTH);
}

void conf_check_manual(const struct draft *d, const char *why, struct conf_problems *ps)
{
    static const char *const keys[] = {"nodelay", "interval", "resend", "nc"};

    for (unsigned i = 0; i < LEN(keys); i++)
        if (conf_draft_has(d, keys[i], IN_BOTH))
            conf_problem_add(ps, true, conf_draft_place(d, keys[i], IN_BOTH), "%s: has no effect: %s", keys[i], why);
}

static void check_sizes(const struct conf_profile *p, const struct draft *d, struct conf_problems *ps)
{
    if (p->streambuf > p->smuxbuf)
        conf_problem_add(ps, false, place_of(d, "streambuf", "smuxbuf"),
                         "streambuf: %" PRIu32 " is more than smuxbuf; accepted: 4096..%" PRIu32, p->streambuf,
                         p->smuxbuf);
    if (p->datashard + p->parityshard > SHARDS_MAX)
        conf_problem_add(ps, false, place_of(d, "parityshard", "datashard"),
                         "parityshard: %" PRIu32 " with datashard %" PRIu32 "; accepted: together up to %d",
                         p->parityshard, p->datashard, SHARDS_MAX);
    if (!p->datashard != !p->parityshard)
        conf_problem_add(ps, true, place_of(d, "datashard", "parityshard"),
                         "datashard, parityshard: one of them is 0, so there is no FEC");
}

/* IPv4 and fake TCP add more than IPv4 and UDP do. */
static void check_tcp(const struct conf_profile *p, const struct draft *d, struct conf_problems *ps)
{
    if (p->tcp && p->mtu > MTU_IN_TCP)
        conf_problem_add(ps, true, place_of(d, "mtu", "tcp"),
                         "mtu: %" PRIu32 " and the headers of tcp do not fit a link of 1500 bytes; better: up to %d",
                         p->mtu, MTU_IN_TCP);
}

/* What the peer warns of too; a count with a factor of 8 meets the same pads at the same bytes of the generator's words. */
static void check_qpp(const struct conf_profile *p, const struct draft *d, struct conf_problems *ps)
{
    if (!p->qpp)
        return;
    if (p->qppcount % 2 == 0)
        conf_problem_add(ps, true, place_of(d, "qppcount", "qpp"),
                         "qppcount: %" PRIu32
                         " shares a factor with 8, which weakens the pads; better: a prime such as 61",
                         p->qppcount);
    if (p->qppcount < QPP_CHUNKS)
        conf_problem_add(ps, true, place_of(d, "qppcount", "qpp"),
                         "qppcount: %" PRIu32 " pads are fewer than the passphrase could fill; better: %d or more",
                         p->qppcount, QPP_CHUNKS);
}

static void check_path(const struct addr_text *a, const char *key, const struct draft *d, struct conf_problems *ps)
{
    if (a->path && !strchr(a->path, '/'))
        conf_problem_add(ps, true, conf_draft_place(d, key, IN_BOTH),
                         "%s: '%s' has no port and is taken for the path of a unix socket", key, a->path);
}

void conf_check_profile(const struct conf_profile *p, const struct draft *d, struct conf_problems *ps)
{
    check_sizes(p, d, ps);
    check_qpp(p, d, ps);
    check_tcp(p, d, ps);
    if (p->mode != CONF_MANUAL)
        conf_check_manual(d, "mode is not manual", ps);
    if (p->key.text && !p->key.file && !strcmp(p->key.text, conf_key_find("key", IN_BOTH)->def[0]))
        conf_problem_add(ps, true, conf_draft_place(d, "key", IN_BOTH),
                         "key: the passphrase is kcptun's default, which everybody knows");
    if (!strcmp(p->crypt, "none") || !strcmp(p->crypt, "null"))
        conf_problem_add(ps, true, conf_draft_place(d, "crypt", IN_BOTH),
                         "crypt: %s neither hides nor protects anything", p->crypt);
    if (p->role == CONF_SERVER) {
        check_path(&p->target, "target", d, ps);
        return;
    }
    check_path(&p->localaddr, "localaddr", d, ps);
    if (p->autoexpire && p->scavengettl > p->autoexpire)
        conf_problem_add(ps, true, place_of(d, "scavengettl", "autoexpire"),
                         "scavengettl: longer than autoexpire, so expired sessions compete with their successors");
}

void conf_check_global(const struct conf_global *g, const struct draft *d, struct conf_problems *ps)
{
    if (g->memory && g->memory < MEMORY_MIN)
        conf_problem_add(ps, false, conf_draft_place(d, "memory", IN_GLOBAL),
                         "memory: %" PRIu64 " is too little to work with; accepted: 0, or %d and more", g->memory,
                         MEMORY_MIN);
    if (g->n_cpus && g->workers > g->n_cpus)
        conf_problem_add(ps, true, conf_draft_place(d, "workers", IN_GLOBAL),
                         "workers: more than the %u cores of cpus, so some share one", g->n_cpus);
}
