/* conf/set.c - one "key = value" into the draft: given once, parsed, a keyfile read. */
#include "conf/load.h"

#include "conf/ini.h"
#include "core/base/err.h"

#include <stdlib.h>
#include <string.h>

enum { SHOWN = CONF_SHOWN - 4 };

const char *conf_shown(const char *text, char out[CONF_SHOWN])
{
    size_t n = strlen(text);

    snprintf(out, CONF_SHOWN, "%.*s%s", SHOWN, text, n > SHOWN ? "..." : "");
    for (char *p = out; *p; p++)
        if ((unsigned char)*p < 0x20 || *p == 0x7f)
            *p = '?';
    return out;
}

/* True if k, or the other way to give the same secret, is set already; tells. */
static bool given_before(struct loader *l, const struct conf_key *k, const struct draft *d, struct place at)
{
    for (unsigned i = 0; i < conf_n_keys; i++) {
        const struct conf_key *o = &conf_keys[i];
        const struct place *was = &d->at[i];

        if (!was->file || !(o->where & k->where) || (o != k && o->at != k->at))
            continue;
        if (o == k)
            conf_problem_add(l->ps, false, at, "%s: given twice in this section; first at %s:%u", k->name, was->file,
                             was->line);
        else
            conf_problem_add(l->ps, false, at, "%s: %s is given too, at %s:%u; accepted: one of the two", k->name,
                             o->name, was->file, was->line);
        return true;
    }
    return false;
}

/* Reads the passphrase that s->file names. */
static void read_keyfile(struct loader *l, const struct conf_key *k, struct conf_secret *s, struct draft *d,
                         struct place at)
{
    char why[CONF_WHY_MAX] = "", *path = conf_path_beside(at.file, s->file), *text = NULL;
    size_t len = 0;
    bool world = false;
    int r;

    if (!path) {
        l->r = err_here(-ENOMEM);
        return;
    }
    free(s->file);
    s->file = path;
    conf_note_path(l, path);
    r = conf_slurp(path, k->max, true, &text, &len, &world, why);
    if (r == -ENOMEM && !*why) {
        l->r = r;
        return;
    }
    if (!r) {
        if (len && text[len - 1] == '\n')
            text[--len] = 0;
        if (len && text[len - 1] == '\r')
            text[--len] = 0;
        if (!len || strlen(text) != len) {
            snprintf(why, sizeof why, len ? "holds a NUL byte" : "is empty");
            explicit_bzero(text, len);
            free(text);
            text = NULL;
            r = CONF_INVALID;
        }
    }
    s->text = text;
    if (r) {
        d->bad = true;
        conf_problem_add(l->ps, false, at, "%s: %s: %s; accepted: path of a file of 1..%llu bytes", k->name, path, why,
                         (unsigned long long)k->max);
    } else if (world) {
        conf_problem_add(l->ps, true, at, "%s: %s holds a key and others may read it (chmod o-r)", k->name, path);
    }
}

static void refuse_value(struct loader *l, const struct conf_key *k, struct draft *d, struct place at, const char *text,
                         const char *why)
{
    char *range = conf_key_range(k), cut[CONF_SHOWN];

    d->bad = true;
    if (!range)
        l->r = err_here(-ENOMEM);
    else if (k->type->secret)
        conf_problem_add(l->ps, false, at, "%s: %s; accepted: %s", k->name, why, range);
    else
        conf_problem_add(l->ps, false, at, "%s: '%s': %s; accepted: %s", k->name, conf_shown(text, cut), why, range);
    free(range);
}

void conf_set(struct loader *l, const struct conf_key *k, void *base, struct draft *d, const struct ini_value *v,
              struct place at)
{
    char why[CONF_WHY_MAX] = "";
    int r;

    if (given_before(l, k, d, at))
        return;
    d->at[k - conf_keys] = at;
    if (k->type->secret && !v->quoted && v->commented) {
        refuse_value(l, k, d, at, "", "' ;' begins a comment, or belongs to it; quote it");
        return;
    }
    if (k->type->secret && !v->quoted && !*v->text) {
        refuse_value(l, k, d, at, "", "empty");
        return;
    }
    r = k->type->parse(k, base, v->text, why);
    if (r == CONF_INVALID)
        refuse_value(l, k, d, at, v->text, why);
    else if (r)
        l->r = r;
    else if (k->type == &conf_keyfile)
        read_keyfile(l, k, (void *)((char *)base + k->at), d, at);
}
