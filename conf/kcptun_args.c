/* conf/kcptun_args.c - kcptun's command line: one dash or two, a value behind the option or behind "=", truth alone or
 * with "=", the end at the first argument that is no option. The last of several counts. */
#include "conf/kcptun_opts.h"

#include "conf/load.h"

#include <string.h>

enum { WHY_MAX = 256 };

/* What a kcptun says, for the same reasons. Name: len bytes of what was given. */
static int refuse(char *why, const char *what, const char *name, size_t len)
{
    char text[WHY_MAX], cut[CONF_SHOWN];

    snprintf(text, sizeof text, "%.*s", (int)MIN(len, sizeof text - 1), name);
    snprintf(why, WHY_MAX, "Incorrect Usage. %s: %s\n", what, conf_shown(text, cut));
    return CONF_INVALID;
}

static int refuse_value(char *why, enum kopt_type type, const char *value, const char *name, size_t len)
{
    char text[CONF_SHOWN], cut[CONF_SHOWN];

    snprintf(text, sizeof text, "%.*s", (int)MIN(len, sizeof text - 1), name);
    snprintf(why, WHY_MAX, "Incorrect Usage. invalid %svalue \"%s\" for %s-%s: %s\n",
             type == KOPT_BOOL ? "boolean " : "", conf_shown(value, cut), type == KOPT_BOOL ? "" : "flag ", text,
             type == KOPT_INT && kopts_is_number(value) ? "value out of range" : "parse error");
    return CONF_INVALID;
}

/* Which of its names each option was given by. */
enum { BY_NAME = 1, BY_ALIAS = 2 };

struct args {
    struct kopts *o;
    int argc, at;
    char *const *argv;
    unsigned char forms[KOPTS_MAX];
    char *why;
};

static bool is_option(const char *arg)
{
    return arg[0] == '-' && arg[1] && strcmp(arg, "--") != 0;
}

/* The argument at a->at, and the next if that is its value. As kopts_set(). */
static int take(struct args *a)
{
    const char *arg = a->argv[a->at], *name = arg + 1 + (arg[1] == '-'), *eq = strchr(name, '=');
    size_t len = eq ? (size_t)(eq - name) : strlen(name);
    int i = len && *name != '-' ? kopts_find(a->o->role, name, len) : -1, r;
    const char *value;

    if (!len || *name == '-')
        return refuse(a->why, "bad flag syntax", arg, strlen(arg));
    if (i < 0)
        return refuse(a->why, "flag provided but not defined", name - 1, len + 1);
    a->forms[i] |= strlen(kopts[i].name) == len && !memcmp(kopts[i].name, name, len) ? BY_NAME : BY_ALIAS;
    if (eq)
        value = eq + 1;
    else if (kopts[i].type == KOPT_BOOL)
        value = "true";
    else if (a->at + 1 < a->argc)
        value = a->argv[++a->at];
    else
        return refuse(a->why, "flag needs an argument", name - 1, len + 1);
    r = kopts_set(a->o, i, value, "command line");
    return r == CONF_INVALID ? refuse_value(a->why, kopts[i].type, value, name, len) : r;
}

static int both_forms(const struct args *a)
{
    for (unsigned i = 0; i < n_kopts; i++)
        if (a->forms[i] == (BY_NAME | BY_ALIAS)) {
            snprintf(a->why, WHY_MAX, "Cannot use two forms of the same flag: %s %s", kopts[i].alias, kopts[i].name);
            return CONF_INVALID;
        }
    return 0;
}

static bool asked(const struct kopts *o, const char *name)
{
    const char *text = kopts_text(o, name);

    return text && !strcmp(text, "true");
}

int kopts_args(struct kopts *o, int argc, char *const argv[], char why[256], const char **rest)
{
    struct args a = {.o = o, .argc = argc, .argv = argv, .why = why};
    int r = 0;

    for (a.at = 1; !r && a.at < argc && is_option(argv[a.at]); a.at++)
        r = take(&a);
    if (r)
        return r;
    r = both_forms(&a);
    if (r)
        return r;
    *rest = a.at < argc ? argv[a.at] : NULL;
    if (asked(o, "help") || (*rest && (!strcmp(*rest, "help") || !strcmp(*rest, "h"))))
        return KOPTS_HELP;
    return asked(o, "version") ? KOPTS_VERSION : 0;
}
