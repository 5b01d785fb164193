/* conf/print.c - a configuration as INI, and the table of keys as help and as the body of a man page. */
#include "conf/schema.h"

#include "core/base/err.h"

#include <stdlib.h>
#include <string.h>

static void print_secret(const struct conf_key *k, const void *base, FILE *out, bool show)
{
    const struct conf_secret *s = (const void *)((const char *)base + k->at);

    if (!s->text)
        return;
    if (s->file || show) {
        const struct conf_key *row = s->file ? k + 1 : k; /* the keyfile row follows */

        fprintf(out, "%s = ", row->name);
        row->type->print(row, base, out);
        fputc('\n', out);
    } else {
        fprintf(out, "; %s is set but hidden\n", k->name);
    }
}

static bool is_manual_key(const char *name)
{
    return !strcmp(name, "nodelay") || !strcmp(name, "interval") || !strcmp(name, "resend") || !strcmp(name, "nc");
}

static void print_keys(const void *base, unsigned where, bool manual, FILE *out, bool show_secrets)
{
    for (unsigned i = 0; i < conf_n_keys; i++) {
        const struct conf_key *k = &conf_keys[i];

        if (!(k->where & where) || !k->type->print || k->type == &conf_keyfile)
            continue;
        if (!manual && is_manual_key(k->name))
            continue;
        if (k->type->secret) {
            print_secret(k, base, out, show_secrets);
            continue;
        }
        fprintf(out, "%s = ", k->name);
        k->type->print(k, base, out);
        fputc('\n', out);
    }
}

int conf_print(const struct conf *c, FILE *out, bool show_secrets)
{
    fputs("[global]\n", out);
    print_keys(&c->global, IN_GLOBAL, false, out, show_secrets);
    for (unsigned i = 0; i < c->n_profiles; i++) {
        const struct conf_profile *p = &c->profiles[i];
        bool server = p->role == CONF_SERVER, manual = p->mode == CONF_MANUAL;

        fprintf(out, "\n[%s %s]\n", server ? "server" : "client", p->name);
        print_keys(p, server ? IN_SERVER : IN_CLIENT, manual, out, show_secrets);
    }
    return ferror(out) ? err_here(-EIO) : 0;
}

static const char *section_text(enum conf_where w)
{
    return w == IN_GLOBAL ? "global" : w == IN_SERVER ? "server" : w == IN_CLIENT ? "client" : "server, client";
}

/* "10", or "server 30, client 0" where the roles differ; NULL: none. */
static const char *default_text(const struct conf_key *k, char *out, size_t n)
{
    const char *s = k->def[CONF_SERVER], *c = k->def[CONF_CLIENT];

    if (k->where == IN_BOTH && s && c && strcmp(s, c))
        snprintf(out, n, "server %s, client %s", s, c);
    else if (s || c)
        snprintf(out, n, "%s", s ? s : c);
    else
        return NULL;
    return *out ? out : "empty";
}

void conf_help(FILE *out)
{
    char def[64];

    for (unsigned i = 0; i < conf_n_keys; i++) {
        const struct conf_key *k = &conf_keys[i];
        const char *d = default_text(k, def, sizeof def);

        fprintf(out, "%s = %s\n      %s\n      in: %s; accepted: ", k->name, k->type->name, k->help,
                section_text(k->where));
        k->type->range(k, out);
        fprintf(out, "\n      %s%s%sa change counts: %s\n", d ? "default: " : "", d ? d : "", d ? "; " : "",
                conf_when_text(k->when));
    }
}

/* Text for roff: hyphens that are to be copied, backslashes, and no control line from a leading dot or quote. */
static void roff(const char *s, FILE *out)
{
    if (*s == '.' || *s == '\'')
        fputs("\\&", out);
    for (; *s; s++) {
        if (*s == '-' || *s == '\\')
            fputs(*s == '-' ? "\\-" : "\\e", out);
        else
            fputc(*s, out);
    }
}

static void man_key(const struct conf_key *k, FILE *out)
{
    char def[64];
    const char *d = default_text(k, def, sizeof def);
    char *range = conf_key_range(k);

    fprintf(out, ".TP\n.BR %s \" = \\fI%s\\fR\"\n", k->name, k->type->name);
    roff(k->help, out);
    fputs(".\nAccepted: ", out);
    roff(range ? range : "", out);
    fputs(".\n", out);
    if (d) {
        fputs("Default: ", out);
        roff(d, out);
        fputs(".\n", out);
    }
    fprintf(out, "A change counts: %s.\n", conf_when_text(k->when));
    free(range);
}

void conf_man(FILE *out)
{
    static const struct {
        unsigned where;
        const char *title;
    } parts[] = {
        {IN_GLOBAL, "In [global]"},
        {IN_BOTH, "In every profile, and in [defaults]"},
        {IN_SERVER, "In [server NAME], and in [defaults] for servers"},
        {IN_CLIENT, "In [client NAME], and in [defaults] for clients"},
    };

    for (unsigned i = 0; i < LEN(parts); i++) {
        fprintf(out, ".SS %s\n", parts[i].title);
        for (unsigned j = 0; j < conf_n_keys; j++)
            if (conf_keys[j].where == parts[i].where)
                man_key(&conf_keys[j], out);
    }
}
