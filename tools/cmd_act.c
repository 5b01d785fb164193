/* tools/cmd_act.c - kcptunctl commands that change something in the daemon. */
#include "tools/ctl_list.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Asks; prints the answer as JSON, or hands it to print(). */
static int act(const struct ctl *c, const char *cmd, json_t *args, void (*print)(const json_t *data))
{
    json_t *data;
    int r = ctl_call(c, cmd, args, &data);

    if (r)
        return r;
    if (c->json)
        ctl_print_json(data);
    else
        print(data);
    json_decref(data);
    return r;
}

static void print_kicked(const json_t *data)
{
    (void)data;
    puts("the session has ended");
}

int cmd_kick(const struct ctl *c, int argc, char **argv)
{
    json_t *args = NULL;

    (void)argc;
    if (!ctl_args(&args, "session", argv[1]))
        return CTL_EXIT_USAGE;
    return act(c, "kick", args, print_kicked);
}

static void print_draining(const json_t *data)
{
    const json_t *name;
    size_t i;

    if (!json_array_size(json_object_get(data, "draining")))
        puts("nothing drains");
    json_array_foreach(json_object_get(data, "draining"), i, name)
    {
        ctl_say(stdout, json_is_string(name) ? json_string_value(name) : "-");
        puts(" drains");
    }
}

int cmd_drain(const struct ctl *c, int argc, char **argv)
{
    json_t *args = NULL;

    (void)argc;
    if (!ctl_args(&args, "profile", argv[1]))
        return CTL_EXIT_USAGE;
    return act(c, argv[0], args, print_draining);
}

/* ---- configuration ---- */

static void print_texts(const json_t *data, const char *key, const char *before)
{
    const json_t *v;
    size_t i;

    json_array_foreach(json_object_get(data, key), i, v)
    {
        fputs(before, stdout);
        ctl_say(stdout, json_is_string(v) ? json_string_value(v) : "-");
        putchar('\n');
    }
}

static void print_reloaded(const json_t *data)
{
    printf("in force: %lld profiles added, %lld changed, %lld removed, %lld kept\n", (long long)ctl_num(data, "added"),
           (long long)ctl_num(data, "changed"), (long long)ctl_num(data, "removed"), (long long)ctl_num(data, "kept"));
    print_texts(data, "warnings", "");
    print_texts(data, "restart", "takes a restart: ");
}

int cmd_reload(const struct ctl *c, int argc, char **argv)
{
    (void)argc;
    (void)argv;
    return act(c, "reload", NULL, print_reloaded);
}

static void print_set(const json_t *data)
{
    puts("set, until the next reload");
    print_texts(data, "warnings", "");
}

int cmd_set(const struct ctl *c, int argc, char **argv)
{
    const char *setting = argv[argc - 1], *equals = strchr(setting, '=');
    char *key = equals ? strndup(setting, (size_t)(equals - setting)) : NULL;
    json_t *args = NULL;
    int r = CTL_EXIT_USAGE;

    if (key && ctl_args(&args, "key", key) && ctl_args(&args, "value", equals + 1) &&
        ctl_args(&args, "profile", argc > 2 ? argv[1] : NULL))
        r = act(c, "set", args, print_set);
    free(key);
    return r;
}

static void print_level(const json_t *data)
{
    if (!json_object_get(data, "loglevel")) {
        print_set(data);
        return;
    }
    ctl_say(stdout, ctl_str(data, "loglevel"));
    putchar('\n');
}

int cmd_loglevel(const struct ctl *c, int argc, char **argv)
{
    json_t *args = NULL;

    (void)argc;
    if (!ctl_args(&args, "level", argv[1]))
        return CTL_EXIT_USAGE;
    return act(c, "loglevel", args, print_level);
}

/* ---- upgrade ---- */

static void print_upgraded(const json_t *data)
{
    printf("process %lld has the service\n", (long long)ctl_num(data, "pid"));
}

int cmd_upgrade(const struct ctl *c, int argc, char **argv)
{
    (void)argc;
    (void)argv;
    return act(c, "upgrade", NULL, print_upgraded);
}
