/* daemon/diagnose.c - see diagnose.h. */
#include "daemon/diagnose.h"

#include "daemon/client.h"
#include "daemon/findings.h"
#include "daemon/log.h"
#include "daemon/remotes.h"

#include <stddef.h>

enum { UNOPENED_MIN = 8 /* datagrams of one address and port: a scanner sends fewer, a client goes on */ };

static bool note(struct tunnel *t, const struct sockaddr_any *from, enum finding_kind kind, uint64_t count,
                 const struct session_sight *sight)
{
    struct finding f = {.kind = kind, .from = *from, .count = count, .last = t->w->now};

    if (kind == FINDING_SMUXVER || kind == FINDING_DROPPED || kind == FINDING_NOTHING) {
        f.detail[0] = sight->smux_ver;
    } else if (kind == FINDING_FEC_SHAPE) {
        f.detail[0] = sight->fec_data;
        f.detail[1] = sight->fec_parity;
    }
    return findings_note(t->findings, t->conf, &f);
}

/* Something of this source was opened before: then it is damage on the way, not another key. */
static bool was_opened(struct tunnel *t, const struct io_src *sock, const struct sockaddr_any *from)
{
    if (sock->kind == SRC_PEER)
        return CONTAINER(sock, struct peer, src)->heard;
    return routes_find(&t->peers, from, t->w->now);
}

void diagnose_unopened(struct tunnel *t, const struct io_src *sock, const struct sockaddr_any *from, unsigned n)
{
    uint64_t all, before;

    if (sock->kind == SRC_PEER)
        from = &CONTAINER(sock, struct peer, src)->remote;
    all = trouble_stranger(&t->trouble, from, n, t->w->now);
    before = (all - n) / UNOPENED_MIN;
    if (all / UNOPENED_MIN == before || was_opened(t, sock, from))
        return;
    if (note(t, from, FINDING_KEY, all - before * UNOPENED_MIN, NULL))
        stat_add(&t->stats->mismatch_key, 1);
}

/* With smuxver = auto a client's next session speaks as the server does, or otherwise than the one it dropped. */
static void learn_smux_version(const struct peer *p, const struct session_sight *sight)
{
    const uint8_t had = smux_version(session_smux(p->session));
    struct client *c = p->tunnel->client;
    uint8_t next = had;

    if (!c || p->tunnel->conf->smuxver)
        return;
    if (sight->bits & SESSION_SEES_SMUX_VER)
        remotes_smux_read(client_remotes(c), &p->remote, next = sight->smux_ver);
    else if (sight->bits & SESSION_SEES_DROPPED)
        next = remotes_smux_dropped(client_remotes(c), &p->remote, had);
    if (next != had)
        log_info("%s: the next session speaks version %u of smux", peer_text(p), next);
}

void diagnose_unanswered(struct peer *p)
{
    const struct session_sight sight = {.smux_ver = smux_version(session_smux(p->session))};

    note(p->tunnel, &p->remote, FINDING_NOTHING, 1, &sight);
    stat_add(&p->tunnel->stats->peer_unheard, 1);
}

bool diagnose_peer(struct peer *p)
{
    static const struct {
        unsigned bit;
        enum finding_kind kind;
        size_t counter;
    } rows[] = {
        {SESSION_SEES_SMUX_VER, FINDING_SMUXVER, offsetof(struct stats, mismatch_smux)},
        {SESSION_SEES_PACKED, FINDING_PACKED, offsetof(struct stats, mismatch_comp)},
        {SESSION_SEES_PLAIN, FINDING_PLAIN, offsetof(struct stats, mismatch_comp)},
        {SESSION_SEES_FEC_SHAPE, FINDING_FEC_SHAPE, offsetof(struct stats, mismatch_fec)},
        {SESSION_SEES_NO_FEC, FINDING_NO_FEC, offsetof(struct stats, mismatch_fec)},
        {SESSION_SEES_FEC, FINDING_FEC, offsetof(struct stats, mismatch_fec)},
        {SESSION_SEES_FEC_UNSETTLED, FINDING_FEC_UNSETTLED, offsetof(struct stats, mismatch_fec)},
        {SESSION_SEES_STALL, FINDING_STALL, offsetof(struct stats, peer_stalls)},
        {SESSION_SEES_DROPPED, FINDING_DROPPED, offsetof(struct stats, peer_drops)},
        {SESSION_SEES_NOTHING, FINDING_NOTHING, offsetof(struct stats, peer_unheard)},
    };
    struct tunnel *t = p->tunnel;
    struct session_sight sight = session_sees(p->session, t->w->now);

    learn_smux_version(p, &sight);
    if (session_end(p->session) == SESSION_UNREAD && sight.smux_ver != 1)
        return true; /* no wonder: it will be asked whether it reads version 1 */
    for (unsigned i = 0; i < LEN(rows) && sight.bits & ~p->told; i++) {
        if (!(sight.bits & ~p->told & rows[i].bit))
            continue;
        p->told |= rows[i].bit;
        note(t, &p->remote, rows[i].kind, 1, &sight);
        stat_add((uint64_t *)(void *)((char *)t->stats + rows[i].counter), 1);
    }
    return session_end(p->session) && sight.bits;
}
