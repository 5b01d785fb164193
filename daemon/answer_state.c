/* daemon/answer_state.c - how the daemon is: status, and the facts from which kcptunctl doctor draws its conclusions. */
#include "daemon/answer_priv.h"

#include "daemon/log.h"
#include "daemon/reload.h"

#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

enum { RECENT_S = 600 }; /* trouble older than this is past */

static json_int_t num(uint64_t n)
{
    return (json_int_t)n;
}

/* ---- clocks ---- */

static int64_t clock_us(clockid_t id)
{
    struct timespec ts;

    return clock_gettime(id, &ts) ? 0 : ts.tv_sec * INT64_C(1000000) + ts.tv_nsec / 1000;
}

void answer_look_at_clocks(struct answers *a, struct tick now)
{
    int64_t mono = clock_us(CLOCK_MONOTONIC);

    if (clock_watch_look(&a->clock, now, clock_us(CLOCK_REALTIME) - mono, clock_us(CLOCK_BOOTTIME) - mono) == CLOCK_SET)
        log_warning("the clock was set %s by %lld s", a->clock.jump_us < 0 ? "back" : "forward",
                    llabs(a->clock.jump_us) / 1000000);
}

/* ---- status ---- */

static json_t *address_json(const struct addr_text *a)
{
    char text[320];

    addr_text_print(a, text, sizeof text);
    return ctl_text(text);
}

/* Where a profile leads: of several servers all, as they are configured. */
static json_t *far_json(const struct conf_profile *p)
{
    char text[CONF_SERVERS_MAX * 322];
    size_t n = 0;

    if (p->role == CONF_SERVER)
        return address_json(&p->target);
    for (unsigned i = 0; i < p->n_remoteaddr; i++) {
        n += (size_t)snprintf(text + n, sizeof text - n, "%s", i ? ", " : "");
        n += (size_t)addr_text_print(&p->remoteaddr[i], text + n, sizeof text - n);
    }
    return ctl_text(text);
}

static json_t *profile_json(const struct answers *a, int64_t tunnel, struct tick now)
{
    const struct conf_profile *p = answer_profile(a, tunnel);
    bool server = p->role == CONF_SERVER;
    struct stats s = answer_stats(a, tunnel);

    return json_pack("{ss ss so so ss sI sI sb so}", "name", p->name, "role", server ? "server" : "client", "from",
                     address_json(server ? &p->listen : &p->localaddr), "to", far_json(p), "crypt", p->crypt,
                     "sessions", num(s.curr_estab), "streams", num(s.streams_now), "draining", answer_drains(a, tunnel),
                     "findings", answer_findings(a, tunnel, now));
}

bool answer_status(struct answers *a, struct ctl_query *q, struct tick now)
{
    json_t *profiles = json_array();
    unsigned at = 0;
    int64_t tunnel;

    while (answer_tunnels(a, &at, &tunnel))
        json_array_append_new(profiles, profile_json(a, tunnel, now));
    answer_rows(q,
                json_pack("{ss si sI sI si ss so so so so so}", "version", KCPTUND_VERSION, "pid", (int)getpid(),
                          "uptime_s", num(tick_since_us(now, a->began) / 1000000), "started", (json_int_t)a->began_s,
                          "workers", (int)a->p.sh->n_workers, "io", a->p.sh->io->name, "conf", answer_conf_json(a),
                          "overrides", answer_overrides_json(a), "finishing", answer_finishing_json(a), "upgrade",
                          answer_upgrade_json(a), "profiles", profiles),
                "profiles");
    return true;
}

/* ---- doctor ---- */

static unsigned open_files(void)
{
    DIR *d = opendir("/proc/self/fd");
    unsigned n = 0;

    if (!d)
        return 0;
    while (readdir(d))
        n++;
    closedir(d);
    return n > 3 ? n - 3 : 0; /* ".", ".." and the directory itself */
}

static json_t *age(struct tick at, struct tick now)
{
    return json_integer(num(tick_since_us(now, at) / 1000000));
}

/* What several workers know of one tunnel, put together. */
struct facts {
    struct tunnel_row sum;
    json_t *strangers;
};

static void add_strangers(json_t *v, const struct trouble *t, struct tick now)
{
    for (unsigned i = 0; i < TROUBLE_STRANGERS; i++) {
        const struct stranger *s = &t->strangers[i];

        if (s->n && tick_since_us(now, s->at) / 1000000 <= RECENT_S)
            json_array_append_new(v, json_pack("{ss sI so}", "from", net_addr_text(&s->from), "datagrams", num(s->n),
                                               "age_s", age(s->at, now)));
    }
}

static uint32_t least(uint32_t a, uint32_t b)
{
    return !a ? b : !b ? a : MIN(a, b);
}

static void add_facts(struct facts *f, const struct tunnel_row *r, struct tick now)
{
    struct tunnel_row *s = &f->sum;

    s->sockets += r->sockets;
    s->asked += r->asked;
    s->rcvbuf = least(s->rcvbuf, r->rcvbuf);
    s->sndbuf = least(s->sndbuf, r->sndbuf);
    s->no_gro += r->no_gro;
    s->drops += r->drops;
    s->sessions += r->sessions;
    s->no_gso += r->no_gso;
    s->stalled += r->stalled;
    s->mtu_path = least(s->mtu_path, r->mtu_path);
    if (*r->trouble.dial && (!*s->trouble.dial || tick_before(s->trouble.dialled, r->trouble.dialled)))
        trouble_dial(&s->trouble, r->trouble.dial, r->trouble.dialled);
    if (r->trouble.send_err && (!s->trouble.send_err || tick_before(s->trouble.sent, r->trouble.sent)))
        trouble_send(&s->trouble, r->trouble.send_err, r->trouble.sent);
    add_strangers(f->strangers, &r->trouble, now);
}

/* Bits that guessing the passphrase takes at most, by its length and the kinds of its characters. The key itself, which
 * cannot be told apart from better ones of the kind, is not shown. */
static unsigned key_bits(const char *key)
{
    bool lower = false, upper = false, digit = false, other = false, wide = false;
    uint32_t kinds;

    for (const char *p = key; *p; p++) {
        unsigned char c = (unsigned char)*p;
        bool l = c >= 'a' && c <= 'z', u = c >= 'A' && c <= 'Z', d = c >= '0' && c <= '9', w = c >= 0x7f || c < 0x20;

        lower |= l;
        upper |= u;
        digit |= d;
        wide |= w;
        other |= !l && !u && !d && !w;
    }
    kinds = 26u * lower + 26u * upper + 10u * digit + 33u * other + 100u * wide;
    kinds = MAX(kinds * kinds * kinds * kinds, 1u); /* four characters: quarters of a bit are exact enough */
    return (unsigned)(strlen(key) * (31u - (unsigned)__builtin_clz(kinds)) / 4);
}

static json_t *trouble_json(const struct trouble *t, struct tick now)
{
    json_t *o = json_object();

    if (*t->dial && tick_since_us(now, t->dialled) / 1000000 <= RECENT_S)
        json_object_set_new(o, "dial", json_pack("{so so}", "why", ctl_text(t->dial), "age_s", age(t->dialled, now)));
    if (t->send_err && tick_since_us(now, t->sent) / 1000000 <= RECENT_S)
        json_object_set_new(o, "send",
                            json_pack("{ss sb so}", "why", strerror(-t->send_err), "too_big", t->send_err == -EMSGSIZE,
                                      "age_s", age(t->sent, now)));
    return o;
}

static json_t *tunnel_json(const struct answers *a, int64_t tunnel, const struct facts *f, struct tick now)
{
    const struct conf_profile *p = answer_profile(a, tunnel);
    const struct tunnel_row *s = &f->sum;
    const char *key = p->key.text ? p->key.text : "";
    struct stats st = answer_stats(a, tunnel);

    return json_pack("{ss ss so ss sb sI sI sI sI sI sI sI sI sI sI sI sI sI sI sI sI so so so}", "name", p->name,
                     "role", p->role == CONF_SERVER ? "server" : "client", "to", far_json(p), "crypt", p->crypt,
                     "default_key", !strcmp(key, CONF_DEFAULT_KEY), "key_bits", num(key_bits(key)), "mtu", num(p->mtu),
                     "sockbuf", num(p->sockbuf), "rcvbuf", num(s->rcvbuf), "sndbuf", num(s->sndbuf), "sockets",
                     num(s->sockets), "no_gro", num(s->no_gro), "drops", num(s->drops), "sessions", num(s->sessions),
                     "no_gso", num(s->no_gso), "stalled", num(s->stalled), "mtu_path", num(s->mtu_path), "in_pkts",
                     num(st.in_pkts), "in_csum_errors", num(st.in_csum_errors), "dial_errors", num(st.dial_errors),
                     "send_drops", num(st.send_drops), "strangers", json_incref(f->strangers), "trouble",
                     trouble_json(&s->trouble, now), "findings", answer_findings(a, tunnel, now));
}

static json_t *clock_json(const struct clock_watch *c, struct tick now)
{
    json_t *o = json_pack("{si si}", "jumps", (int)c->jumps, "sleeps", (int)c->sleeps);

    if (c->jumps) {
        json_object_set_new(o, "jump_ms", json_integer(c->jump_us / 1000));
        json_object_set_new(o, "jump_age_s", age(c->jumped, now));
    }
    if (c->sleeps)
        json_object_set_new(o, "sleep_age_s", age(c->slept, now));
    return o;
}

static json_t *files_json(void)
{
    struct rlimit l = {0};

    getrlimit(RLIMIT_NOFILE, &l);
    return json_pack("{sI sI}", "limit", num(l.rlim_cur), "open", num(open_files()));
}

static json_t *tunnels_json(const struct answers *a, const struct ask *k, struct tick now)
{
    json_t *v = json_array();
    const struct tunnel_row *row;
    unsigned at = 0;
    int64_t tunnel;

    while (answer_tunnels(a, &at, &tunnel)) {
        struct facts f = {.strangers = json_array()};
        struct row_at i = {0};

        while ((row = answer_row(a, k, sizeof *row, &i)))
            if (row->tunnel == tunnel)
                add_facts(&f, row, now);
        json_array_append_new(v, tunnel_json(a, tunnel, &f, now));
        json_decref(f.strangers);
    }
    return v;
}

static void finish_doctor(struct answers *a, struct ask *k, struct tick now)
{
    const struct shared *sh = a->p.sh;
    json_t *data =
        json_pack("{ss si ss sb si so so so}", "version", KCPTUND_VERSION, "pid", (int)getpid(), "io", sh->io->name,
                  "io_uring", io_choose("io_uring") != NULL, "workers", (int)sh->n_workers, "files", files_json(),
                  "clock", clock_json(&a->clock, now), "tunnels", tunnels_json(a, k, now));

    if (data)
        answer_completeness(a, k, data);
    if (data && reload_last(a->p.reload)->error)
        json_object_set_new(data, "conf_error", ctl_text(reload_last(a->p.reload)->error));
    answer_rows(&k->q, data, "tunnels");
}

bool answer_doctor(struct answers *a, struct ctl_query *q, struct tick now)
{
    struct mail_list m = {.kind = LIST_FACTS, .tunnel = LIST_ALL, .session = LIST_ALL};

    return !answer_ask(a, q, &m, finish_doctor, now);
}
