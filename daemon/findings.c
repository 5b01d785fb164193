/* daemon/findings.c - see findings.h. */
#include "daemon/findings.h"

#include "daemon/log.h"
#include "daemon/net.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

enum { AGAIN_US = 3600u * 1000 * 1000 /* a source that comes back after this long is news again */ };

struct findings {
    pthread_mutex_t lock; /* a finding is rare, so nobody waits for it */
    struct finding (*rows)[FINDING_SOURCES]; /* by kind, on demand; count 0: free */
};

struct findings *findings_new(void)
{
    struct findings *f = calloc(1, sizeof *f);

    if (f)
        pthread_mutex_init(&f->lock, NULL);
    return f;
}

struct findings *findings_free(struct findings *f)
{
    if (!f)
        return NULL;
    pthread_mutex_destroy(&f->lock);
    free(f->rows);
    free(f);
    return NULL;
}

const char *finding_name(enum finding_kind k)
{
    static const char *const names[] = {
        [FINDING_KEY] = "key",
        [FINDING_SMUXVER] = "smuxver",
        [FINDING_PACKED] = "nocomp-here",
        [FINDING_PLAIN] = "nocomp-there",
        [FINDING_FEC_SHAPE] = "fec-shape",
        [FINDING_NO_FEC] = "no-fec-there",
        [FINDING_FEC] = "no-fec-here",
        [FINDING_FEC_UNSETTLED] = "fec-unsettled",
        [FINDING_STALL] = "stall",
        [FINDING_DROPPED] = "dropped",
        [FINDING_NOTHING] = "no-answer",
    };

    return names[k];
}

static void text_of_fec(const struct finding *f, const struct conf_profile *c, char *out, size_t room)
{
    char shape[32] = "";

    if (f->detail[0])
        snprintf(shape, sizeof shape, " (%u+%u)", f->detail[0], f->detail[1]);
    switch (f->kind) {
    case FINDING_FEC_SHAPE:
        snprintf(out, room,
                 "its FEC groups have another shape%s than datashard = %u, parityshard = %u here: set the same at both "
                 "ends (a kcptun of 2021 corrupts data otherwise; toward it FEC is now off)",
                 shape, c->datashard, c->parityshard);
        return;
    case FINDING_NO_FEC:
        snprintf(
            out, room,
            "it sends no FEC, while datashard = %u, parityshard = %u here: set the same at both ends (losses on the "
            "way here are not repaired, and toward a kcptun FEC is now off)",
            c->datashard, c->parityshard);
        return;
    case FINDING_FEC:
        snprintf(out, room,
                 "it sends FEC, while datashard = %u, parityshard = %u here, which is none: set the same at both ends "
                 "(losses on the way there are not repaired)",
                 c->datashard, c->parityshard);
        return;
    default:
        snprintf(out, room,
                 "no FEC shape explains its packets, so none is recovered: do two programs send from that address, or "
                 "does something on the way change packets?");
        return;
    }
}

static const char *text_of_stall(const struct conf_profile *c)
{
    return c->smuxver == 1
               ? "it acknowledges but takes nothing for 10 s: an application behind it does not read, and with "
                 "smuxver = 1 holds up every stream of the session; smuxver = 2 at both ends ends that"
               : "it acknowledges but takes nothing for 10 s: its receive buffer is full (smuxbuf there), because "
                 "applications behind it do not read";
}

void finding_text(const struct finding *f, const struct conf_profile *c, char *out, size_t room)
{
    unsigned smuxver = c->smuxver ? c->smuxver : f->detail[0];

    switch (f->kind) {
    case FINDING_KEY:
        snprintf(out, room,
                 "none of its datagrams opens: key or crypt (%s here) is not the same at both ends, or it is no tunnel",
                 c->crypt);
        return;
    case FINDING_SMUXVER:
        if (c->smuxver)
            snprintf(out, room,
                     "it speaks version %u of smux, while smuxver = %u here: set the same at both ends, or auto",
                     f->detail[0], c->smuxver);
        else
            snprintf(out, room, "it speaks version %u of smux, which the next session will, too", f->detail[0]);
        return;
    case FINDING_PACKED:
        snprintf(out, room, "it compresses, while nocomp = true here: set nocomp the same at both ends");
        return;
    case FINDING_PLAIN:
        snprintf(out, room, "it does not compress, while nocomp = false here: set nocomp the same at both ends");
        return;
    case FINDING_STALL:
        snprintf(out, room, "%s", text_of_stall(c));
        return;
    case FINDING_DROPPED:
        snprintf(
            out, room,
            "it received the beginning of a session and dropped it without an answer, as a server does that cannot "
            "read it: compare smuxver (%u here%s) and nocomp (%s here) with it; its log may say more",
            smuxver, c->smuxver ? "" : ", the other one is tried next", c->nocomp ? "true" : "false");
        return;
    case FINDING_NOTHING:
        snprintf(out, room,
                 "nothing ever came back from it: does a server run there, does UDP pass both ways, and do key, crypt "
                 "(%s here), smuxver (%u here) and nocomp (%s here) agree with it? Its log may say more",
                 c->crypt, smuxver, c->nocomp ? "true" : "false");
        return;
    default:
        text_of_fec(f, c, out, room);
        return;
    }
}

/* The row of this kind and source; else a free one, or the one not seen for longest. */
static struct finding *row_of(struct finding v[FINDING_SOURCES], const struct sockaddr_any *from)
{
    struct finding *best = v;
    uint8_t want[16], ip[16];

    net_addr_ip(from, want);
    for (struct finding *r = v; r < v + FINDING_SOURCES; r++) {
        net_addr_ip(&r->from, ip);
        if (r->count && !memcmp(ip, want, sizeof ip))
            return r;
        if (r->last.us < best->last.us)
            best = r;
    }
    best->count = 0;
    return best;
}

/* True: it is news. */
static bool keep(struct findings *f, const struct finding *what)
{
    struct finding *r;
    bool news;

    if (!f->rows)
        f->rows = calloc(FINDING_KINDS, sizeof *f->rows);
    if (!f->rows)
        return true;
    r = row_of(f->rows[what->kind], &what->from);
    news = !r->count || tick_since_us(what->last, r->last) >= AGAIN_US;
    if (!r->count)
        *r = (struct finding){.kind = what->kind, .first = what->last};
    r->from = what->from;
    r->count += what->count;
    r->last = what->last;
    memcpy(r->detail, what->detail, sizeof r->detail);
    return news;
}

bool findings_note(struct findings *f, const struct conf_profile *c, const struct finding *what)
{
    char text[384];
    bool news;

    pthread_mutex_lock(&f->lock);
    news = keep(f, what);
    pthread_mutex_unlock(&f->lock);
    if (!news)
        return false;
    finding_text(what, c, text, sizeof text);
    log_warning_of(net_addr_source(&what->from), "%s: %s: %s", c->name, net_addr_text(&what->from), text);
    return true;
}

unsigned findings_read(struct findings *f, struct finding out[FINDINGS_MAX])
{
    unsigned n = 0;

    pthread_mutex_lock(&f->lock);
    for (unsigned i = 0; f->rows && i < FINDINGS_MAX; i++)
        if (f->rows[i / FINDING_SOURCES][i % FINDING_SOURCES].count)
            out[n++] = f->rows[i / FINDING_SOURCES][i % FINDING_SOURCES];
    pthread_mutex_unlock(&f->lock);
    return n;
}
