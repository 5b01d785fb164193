/* tools/ctl_complete.c - what may be typed next, for the shells' completion: it comes from the table of commands, the table of
 * keys, and the daemon, so the scripts in packaging/completion know nothing by themselves. */
#include "conf/schema.h"
#include "tools/ctl_text.h"
#include "tools/ctl.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

static void offer(const char *text, const char *help)
{
    ctl_say(stdout, text);
    if (help) {
        putchar('\t');
        ctl_say(stdout, help);
    }
    putchar('\n');
}

/* Offers member `key` of the objects in array `cmd` of what the daemon answers to `cmd`. */
static void offer_asked(const struct ctl *c, const char *cmd, const char *array, const char *key, const char *help)
{
    const json_t *o;
    json_t *data;
    size_t i;

    if (ctl_call(c, cmd, NULL, &data))
        return;
    json_array_foreach(json_object_get(data, array), i, o) offer(ctl_str(o, key), ctl_str(o, help));
    json_decref(data);
}

/* A daemon that does not answer offers nothing, and says nothing into the line being edited. */
static void be_quiet(void)
{
    FILE *null = freopen("/dev/null", "w", stderr);

    (void)null;
}

static bool is_offered(const struct conf_key *k)
{
    for (const struct conf_key *before = conf_keys; before < k; before++)
        if (!strcmp(before->name, k->name)) /* in two sections: it is there already */
            return false;
    return conf_key_may_be_set(k);
}

/* Keys; after KEY= what it may be, if that is a choice. */
static void offer_settings(const char *typed)
{
    static const char *const truth[] = {"true", "false", NULL};
    const char *equals = strchr(typed, '=');
    char text[128];

    for (const struct conf_key *k = conf_keys; k < conf_keys + conf_n_keys; k++) {
        const char *const *w = k->type == &conf_bool ? truth : k->words;

        if (!is_offered(k))
            continue;
        if (!equals) {
            snprintf(text, sizeof text, "%s=", k->name);
            offer(text, k->help);
        } else if (strlen(k->name) == (size_t)(equals - typed) && !memcmp(k->name, typed, strlen(k->name))) {
            for (; w && *w; w++) {
                snprintf(text, sizeof text, "%s=%s", k->name, *w);
                offer(text, NULL);
            }
        }
    }
}

static void offer_argument(const struct ctl *c, enum ctl_arg arg, const char *typed)
{
    switch (arg) {
    case CTL_ARG_PROFILE:
        offer_asked(c, "status", "profiles", "name", "role");
        break;
    case CTL_ARG_SESSION:
        offer_asked(c, "sessions", "sessions", "id", "remote");
        break;
    case CTL_ARG_SETTING:
        offer_settings(typed);
        break;
    case CTL_ARG_LEVEL:
        for (const char *const *w = conf_key_find("loglevel", IN_GLOBAL)->words; *w; w++)
            offer(*w, NULL);
        break;
    case CTL_ARG_NONE:
    case CTL_ARG_FILE: /* the shell knows better */
        break;
    }
}

int ctl_complete(const struct ctl *c, int argc, char **argv)
{
    const struct ctl_command *cmd = argc > 1 ? ctl_command_find(argv[0]) : NULL;
    struct ctl asking = *c;

    be_quiet();
    if (argc <= 1) {
        for (cmd = ctl_commands; cmd->name; cmd++)
            offer(cmd->name, cmd->help);
    } else if (cmd && (unsigned)argc - 1 <= cmd->max) {
        asking.reads = true;
        offer_argument(&asking, cmd->arg, argv[argc - 1]);
    }
    return CTL_EXIT_DONE;
}
