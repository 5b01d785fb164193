/* tools/cmd_convert.c - kcptunctl convert: a JSON file of kcptun's as INI for kcptund. */
#include "conf/json.h"
#include "tools/ctl_text.h"
#include "tools/ctl.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { NAME_MAX_ = 64 };

/* "/etc/kcptun/vps one.json" to "vps-one". */
static void name_of(const char *file, enum conf_role role, char name[NAME_MAX_ + 1])
{
    const char *slash = strrchr(file, '/'), *base = slash ? slash + 1 : file;
    size_t len = strlen(base), n = 0;

    if (len > 5 && !strcmp(base + len - 5, ".json"))
        len -= 5;
    for (; n < len && n < NAME_MAX_; n++) {
        char c = base[n];
        bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' || c == '_';

        name[n] = plain ? c : '-';
    }
    name[n] = 0;
    if (!n)
        strcpy(name, role == CONF_SERVER ? "server" : "client");
}

static void say(const struct conf_problems *ps)
{
    for (unsigned i = 0; i < ps->n; i++) {
        fputs(ps->v[i].warning ? "warning: " : "error: ", stderr);
        ctl_say(stderr, ps->v[i].text);
        fputc('\n', stderr);
    }
}

/* Prints what o says, if it makes a conf. 0, CONF_INVALID, -ENOMEM. */
static int print(struct kopts *o, const char *file, struct conf_problems *ps)
{
    struct conf_setting v[KOPTS_MAX];
    char name[NAME_MAX_ + 1];
    struct conf *conf = NULL;
    int r = kopts_settle(o, ps);
    unsigned n;

    if (r)
        return r;
    name_of(file, o->role, name);
    n = kopts_settings(o, v);
    r = conf_load_settings(&conf, o->role, name, v, n, ps);
    conf_free(conf);
    if (!r)
        kopts_print(v, n, o->role, name, stdout);
    return r;
}

int cmd_convert(const struct ctl *c, int argc, char **argv)
{
    struct conf_problems ps = {0};
    enum conf_role role = CONF_SERVER;
    const char *file = argv[1];
    bool told = true;
    struct kopts o;
    int r;

    (void)argc;
    if (c->role)
        role = !strcmp(c->role, "client") ? CONF_CLIENT : CONF_SERVER;
    else
        told = json_file_role(&role, file) != CONF_INVALID;
    kopts_init(&o, role, file);
    r = json_read_file(&o, file, &ps); /* also says what is no JSON */
    if (!r && !told) {
        fprintf(stderr, "kcptunctl: %s: no key tells whose file this is: say --server or --client\n", file);
        conf_problems_fini(&ps); /* as read for a role that is a guess */
        r = CONF_INVALID;
    } else if (!r) {
        r = print(&o, file, &ps);
    }
    if (r < 0)
        fprintf(stderr, "kcptunctl: %s\n", strerror(-r));
    say(&ps);
    conf_problems_fini(&ps);
    kopts_fini(&o);
    return r ? CTL_EXIT_REFUSED : CTL_EXIT_DONE;
}
