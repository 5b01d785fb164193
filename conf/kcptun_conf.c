/* conf/kcptun_conf.c - from kcptun's options to our keys: what kcptun bends into range is bent, what it takes and cannot
 * work is left for our own checks to refuse. */
#include "conf/kcptun_opts.h"

#include "conf/ini.h"
#include "conf/load.h"
#include "core/base/err.h"

#include <inttypes.h>
#include <string.h>

static const struct conf_key *key_of(const struct kopts *o, const struct kopt *k)
{
    unsigned role = o->role == CONF_SERVER ? IN_SERVER : IN_CLIENT;
    const struct conf_key *key = k->key ? conf_key_find(k->key, role) : NULL;

    return key || !k->key ? key : conf_key_find(k->key, IN_GLOBAL);
}

static struct place place_of(const struct kopt_value *v)
{
    return (struct place){v->from, 0};
}

/* A number beyond the range, where kcptun would take the end of it. */
static int clamp(struct kopts *o, int i, struct conf_problems *ps)
{
    const struct conf_key *key = key_of(o, &kopts[i]);
    struct kopt_value *v = &o->v[i];
    char end[24];
    int64_t n;

    if (!v->text || !(kopts[i].how & KOPT_CLAMPED) || !kopts_int(v->text, &n))
        return 0;
    if (kopts[i].how & KOPT_LOW && n < (int64_t)key->min)
        snprintf(end, sizeof end, "%" PRIu64, key->min);
    else if (kopts[i].how & KOPT_HIGH && n > (int64_t)key->max)
        snprintf(end, sizeof end, "%" PRIu64, key->max);
    else
        return 0;
    conf_problem_add(ps, true, place_of(v), "%s: %s counts as %s", kopts[i].name, v->text, end);
    return kopts_set(o, i, end, v->from);
}

/* An unknown name means manual. The four numbers count in that mode alone, and stand in everybody's files. */
static int settle_mode(struct kopts *o, struct conf_problems *ps)
{
    const struct kopt_value *v = kopts_value(o, "mode");
    const char *const *w = conf_key_find("mode", IN_BOTH)->words;
    char cut[CONF_SHOWN];
    int r = 0;

    while (v->text && *w && strcmp(*w, v->text) != 0)
        w++;
    if (v->text && !*w) {
        conf_problem_add(ps, true, place_of(v), "mode: '%s' is no known name and counts as manual",
                         conf_shown(v->text, cut));
        r = kopts_set(o, (int)(v - o->v), "manual", v->from);
    }
    for (unsigned i = 0; i < n_kopts; i++)
        if (kopts[i].how & KOPT_MANUAL && (!v->text || strcmp(v->text, "manual") != 0))
            kopts_forget(o, i);
    return r;
}

/* The number of pads is anything while there are none. */
static void settle_pads(struct kopts *o)
{
    const struct kopt_value *qpp = kopts_value(o, "QPP"), *count = kopts_value(o, "QPPCount");
    const struct conf_key *key = conf_key_find("qppcount", IN_BOTH);
    int64_t n;

    if (!count->text || !kopts_int(count->text, &n) || (qpp->text && !strcmp(qpp->text, "true")))
        return;
    if (n < (int64_t)key->min || n > (int64_t)key->max)
        kopts_forget(o, (unsigned)(count - o->v));
}

/* Ours takes this word for the system's log; kcptun for a file. */
static int settle_log(struct kopts *o)
{
    const struct kopt_value *log = kopts_value(o, "log");

    return log->text && !strcmp(log->text, "syslog") ? kopts_set(o, (int)(log - o->v), "./syslog", log->from) : 0;
}

/* What cannot be guessed from a range, or from silence. */
static void explain(const struct kopts *o, struct conf_problems *ps)
{
    const struct kopt_value *keepalive = kopts_value(o, "keepalive"), *pprof = kopts_value(o, "pprof");
    int64_t n;

    if (keepalive->text && kopts_int(keepalive->text, &n) && n > (int64_t)conf_key_find("keepalive", IN_BOTH)->max)
        conf_problem_add(ps, true, place_of(keepalive), "keepalive: the other end gives up after 30 s without any");
    if (pprof->text && !strcmp(pprof->text, "true"))
        conf_problem_add(ps, true, place_of(pprof), "pprof: does nothing here; see perf(1)");
    if (o->role == CONF_CLIENT && !kopts_text(o, "smuxver"))
        conf_problem_add(ps, true, (struct place){o->program, 0},
                         "smuxver: not given: 2, or 1 if that is what the server reads, as before November 2025");
}

int kopts_settle(struct kopts *o, struct conf_problems *ps)
{
    int r = settle_mode(o, ps);

    settle_pads(o);
    if (!r)
        r = settle_log(o);
    for (unsigned i = 0; i < n_kopts && !r; i++)
        r = clamp(o, (int)i, ps);
    if (r)
        return err_pass(r);
    explain(o, ps);
    return 0;
}

unsigned kopts_settings(const struct kopts *o, struct conf_setting v[KOPTS_MAX])
{
    unsigned n = 0;

    for (unsigned i = 0; i < n_kopts; i++) {
        const struct kopt *k = &kopts[i];
        const struct conf_key *key = key_of(o, k);
        const char *def = k->def[o->role];

        if (!key || !(k->roles >> o->role & 1))
            continue;
        if (o->v[i].text)
            v[n++] = (struct conf_setting){k->key, o->v[i].text, o->v[i].from};
        else if (def && !(k->how & KOPT_MANUAL) &&
                 (strcmp(def, key->def[key->where == IN_GLOBAL ? 0 : o->role]) != 0 || !strcmp(k->name, "mode")))
            v[n++] = (struct conf_setting){k->key, def, o->program};
    }
    return n;
}

static unsigned section_of(const struct conf_setting *v, enum conf_role role)
{
    unsigned own = role == CONF_SERVER ? IN_SERVER : IN_CLIENT;

    return conf_key_find(v->key, own) ? own : IN_GLOBAL;
}

/* True if there was one. */
static bool print_section(const struct conf_setting *v, unsigned n, enum conf_role role, bool global, FILE *out)
{
    bool any = false;

    for (unsigned i = 0; i < n; i++) {
        if ((section_of(&v[i], role) == IN_GLOBAL) != global)
            continue;
        if (global && !any)
            fputs("[global]\n", out);
        any = true;
        fprintf(out, "%s = ", v[i].key);
        ini_quote(v[i].value, out);
        fputc('\n', out);
    }
    return any;
}

void kopts_print(const struct conf_setting *v, unsigned n, enum conf_role role, const char *name, FILE *out)
{
    if (print_section(v, n, role, true, out))
        fputc('\n', out);
    fprintf(out, "[%s %s]\n", role == CONF_SERVER ? "server" : "client", name);
    print_section(v, n, role, false, out);
}
