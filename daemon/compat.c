/* daemon/compat.c - kcptun's names, command line and start-up lines. The options themselves are conf/kcptun_opts.c. */
#include "daemon/compat.h"

#include "conf/json.h"
#include "conf/kcptun_opts.h"
#include "core/base/err.h"
#include "daemon/log.h"
#include "daemon/options.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

static const struct {
    const char *name;
    enum conf_role role;
} names[] = {{"kcptun-client", CONF_CLIENT}, {"kcptun-server", CONF_SERVER}};

bool compat_is(struct compat *c, int argc, char **argv)
{
    const char *slash = argc ? strrchr(argv[0], '/') : NULL, *base = slash ? slash + 1 : argc ? argv[0] : "";

    for (unsigned i = 0; i < LEN(names); i++)
        if (!strcmp(base, names[i].name)) {
            *c = (struct compat){names[i].name, names[i].role, argc, argv};
            return true;
        }
    return false;
}

bool compat_is_done(const struct compat *c, int *status)
{
    char why[256] = "out of memory";
    const char *rest = NULL;
    struct kopts o;
    int r;

    kopts_init(&o, c->role, c->name);
    r = kopts_args(&o, c->argc, c->argv, why, &rest);
    *status = r == KOPTS_HELP || r == KOPTS_VERSION ? STATUS_OK : STATUS_USAGE;
    if (r == KOPTS_VERSION)
        puts("kcptun version " KCPTUND_VERSION);
    else if (r && r != KOPTS_HELP)
        puts(why);
    if (r && r != KOPTS_VERSION)
        kopts_help(&o, KCPTUND_VERSION, stdout);
    kopts_fini(&o);
    return r;
}

/* The environment counts unless the command line has a key, even when it is empty. 0, -ENOMEM. */
static int take_environment(struct kopts *o)
{
    static const char name[] = "KCPTUN_KEY";
    const char *key = getenv(name);

    return key && !kopts_text(o, "key") ? kopts_set(o, kopts_find(o->role, "key", 3), key, name) : 0;
}

/* The command line was read before without a mistake. */
static int gather(const struct compat *c, struct kopts *o, struct conf_problems *ps)
{
    const char *rest = NULL, *file;
    char why[256];
    int r = kopts_args(o, c->argc, c->argv, why, &rest);

    if (!r && rest)
        log_warning("%s: '%s' is no option: it and what follows it is ignored", c->name, rest);
    if (!r)
        r = take_environment(o);
    file = kopts_text(o, "c");
    if (r || !file || !*file)
        return r;
    return json_read_file(o, file, ps);
}

int compat_load(const struct compat *c, struct conf **cp, struct conf_problems *ps)
{
    /* Nothing is left to a file here: a change counts when SIGHUP says so, and an end is an end. */
    static const struct conf_setting own[] = {
        {"logformat", "kcptun", ""}, {"watch", "false", ""}, {"draintime", "0", ""}};
    struct conf_setting v[KOPTS_MAX + LEN(own)];
    struct kopts o;
    unsigned n;
    int r;

    kopts_init(&o, c->role, c->name);
    r = gather(c, &o, ps);
    if (!r)
        r = kopts_settle(&o, ps);
    if (!r) {
        n = kopts_settings(&o, v);
        memcpy(v + n, own, sizeof own);
        r = conf_load_settings(cp, c->role, c->name, v, n + LEN(own), ps);
    }
    kopts_fini(&o);
    return r;
}

/* ---- start-up lines ---- */

static const char *truth(bool b)
{
    return b ? "true" : "false";
}

static void tell_addr(const char *what, const struct addr_text *a)
{
    char text[320];

    addr_text_print(a, text, sizeof text);
    log_all(LOG_AT_INFO, "%s %s", what, text);
}

/* kcptun shows its client's address as the system does. */
static void tell_listening(const struct conf_profile *p)
{
    if (p->role == CONF_CLIENT && p->localaddr.host && !*p->localaddr.host)
        log_all(LOG_AT_INFO, "listening on: [::]:%u", p->localaddr.port_min);
    else
        tell_addr("listening on:", p->role == CONF_CLIENT ? &p->localaddr : &p->listen);
}

static void tell_number(const char *what, uint64_t n)
{
    log_all(LOG_AT_INFO, "%s %" PRIu64, what, n);
}

static void tell_sizes(const struct conf_profile *p)
{
    log_all(LOG_AT_INFO, "sndwnd: %u rcvwnd: %u", p->sndwnd, p->rcvwnd);
    log_all(LOG_AT_INFO, "compression: %s", truth(!p->nocomp));
    tell_number("mtu:", p->mtu);
    tell_number("ratelimit:", p->ratelimit);
    log_all(LOG_AT_INFO, "datashard: %u parityshard: %u", p->datashard, p->parityshard);
    log_all(LOG_AT_INFO, "acknodelay: %s", truth(p->acknodelay));
    tell_number("dscp:", p->dscp);
    tell_number("sockbuf:", p->sockbuf);
    tell_number("smuxbuf:", p->smuxbuf);
    tell_number("framesize:", p->framesize);
    tell_number("streambuf:", p->streambuf);
    tell_number("keepalive:", p->keepalive);
}

void compat_tell(const struct conf *c)
{
    const struct conf_profile *p = &c->profiles[0];

    log_all(LOG_AT_INFO, "version: %s", KCPTUND_VERSION);
    if (p->smuxver)
        tell_number("smux version:", p->smuxver);
    else
        log_all(LOG_AT_INFO, "smux version: auto");
    tell_listening(p);
    if (p->role == CONF_SERVER)
        tell_addr("target:", &p->target);
    log_all(LOG_AT_INFO, "encryption: %s", p->crypt);
    log_all(LOG_AT_INFO, "QPP: %s", truth(p->qpp));
    tell_number("QPP Count:", p->qppcount);
    log_all(LOG_AT_INFO, "nodelay parameters: %u %u %u %u", p->nodelay, p->interval, p->resend, p->nc);
    if (p->role == CONF_CLIENT)
        tell_addr("remote address:", &p->remoteaddr[0]);
    tell_sizes(p);
    if (p->role == CONF_CLIENT) {
        tell_number("conn:", p->conn);
        tell_number("autoexpire:", p->autoexpire);
        tell_number("scavengettl:", p->scavengettl);
    }
    log_all(LOG_AT_INFO, "snmplog: %s", c->global.snmplog);
    tell_number("snmpperiod:", c->global.snmpperiod);
    if (p->role == CONF_SERVER)
        log_all(LOG_AT_INFO, "pprof: false"); /* whatever was asked for: there is none */
    log_all(LOG_AT_INFO, "quiet: %s", truth(p->quiet));
    log_all(LOG_AT_INFO, "tcp: %s", truth(p->tcp));
    if (p->role == CONF_CLIENT)
        log_all(LOG_AT_INFO, "pprof: false");
    log_all(LOG_AT_INFO, "initiating key derivation");
}

void compat_tell_ready(const struct conf *c, bool tcp)
{
    const struct conf_profile *p = &c->profiles[0];
    struct addr_text one = p->listen;
    char text[320];

    log_all(LOG_AT_INFO, "key derivation done");
    if (p->role == CONF_CLIENT)
        return;
    for (uint32_t port = p->listen.port_min; port <= p->listen.port_max; port++) {
        one.port_min = one.port_max = (uint16_t)port;
        addr_text_print(&one, text, sizeof text);
        log_all(LOG_AT_INFO, "Listening on: %s/udp", text);
        if (tcp)
            log_all(LOG_AT_INFO, "Listening on: %s/tcp", text);
    }
}
