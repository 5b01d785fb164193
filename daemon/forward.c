/* daemon/forward.c - which datagrams are the old process's, and how they get there. */
#include "daemon/forward.h"

#include "daemon/claims.h"
#include "daemon/elder.h"

#include <sys/socket.h>
#include <sys/uio.h>

/* What the link does not take is lost, as in a full socket buffer. */
void forward_flush(struct worker *w)
{
    struct forward *f = &w->forward;
    struct tunnel *t;
    uint8_t head[256];
    struct iovec iov[2] = {{head, 0}, {(void *)(uintptr_t)f->data.p, f->data.len}};
    struct msghdr h = {.msg_iov = iov, .msg_iovlen = 2};

    if (!f->ev)
        return;
    t = f->from->set->tunnel;
    iov[0].iov_len = upgrade_run_put(head, sizeof head,
                                     &(struct upgrade_run){
                                         .tunnel = f->from->set->sockets->origin_tunnel,
                                         .set = f->from->set->sockets->origin_set,
                                         .port = f->from->set->sockets->at.port_min + f->from->index,
                                         .seg = f->ev->seg,
                                         .from = f->ev->from,
                                         .to = f->ev->to,
                                     });
    if (sendmsg(f->link, &h, MSG_DONTWAIT | MSG_NOSIGNAL) < 0)
        stat_add(&t->stats->mailbox_drops, f->n);
    else
        stat_add(&t->stats->handed_over, f->n);
    f->ev = NULL;
}

static void add(struct worker *w, const struct listener *l, const struct io_event *ev, uint32_t conv, struct bytes raw)
{
    struct forward *f = &w->forward;
    int link = elder_link(w->sh->elder, worker_of_conv(w->sh, conv));

    if (l->src.kind == SRC_RAW) /* the old process has raw sockets of its own, and heard it */
        return;
    if (f->ev && (f->ev != ev || f->link != link || f->data.p + f->data.len != raw.p || f->data.len % ev->seg))
        forward_flush(w);
    if (f->ev) {
        f->data.len += raw.len;
        f->n++;
    } else {
        *f = (struct forward){ev, l, raw, link, 1};
    }
}

bool forward_opened(struct tunnel *t, const struct listener *l, const struct io_event *ev,
                    const struct packet_info *info, const struct route *rt, struct bytes raw)
{
    struct worker *w = t->w;
    struct claims *c = elder_claims(w->sh->elder);
    uint32_t set = l->set->sockets->id, conv = info->has_conv ? info->conv : rt ? rt->conv : 0;

    if (!raw.p || !elder_claims_any(w->sh->elder))
        return false;
    if (!info->has_conv && rt && tick_before(w->now, rt->mixed_until))
        return false;
    if (info->has_conv || rt ? !claims_has(c, set, conv) : !claims_at(c, set, &ev->from, &conv))
        return false;
    add(w, l, ev, conv, raw);
    return true;
}

bool forward_unopened(struct tunnel *t, const struct listener *l, const struct io_event *ev, struct bytes raw)
{
    struct worker *w = t->w;
    uint32_t conv;

    if (!raw.p || !elder_claims_any(w->sh->elder) ||
        !claims_at(elder_claims(w->sh->elder), l->set->sockets->id, &ev->from, &conv))
        return false;
    add(w, l, ev, conv, raw);
    return true;
}
