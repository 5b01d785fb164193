/* tools/cmd_local.c - kcptunctl commands that need no daemon: check, genkey. */
#include "conf/conf.h"
#include "tools/ctl_text.h"
#include "tools/ctl.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

/* ---- check ---- */

static json_t *problems_json(const struct conf_problems *ps)
{
    json_t *v = json_array();

    for (unsigned i = 0; i < ps->n; i++)
        json_array_append_new(v, json_pack("{ss# ss}", "text", ps->v[i].text, strlen(ps->v[i].text), "severity",
                                           ps->v[i].warning ? "warning" : "error"));
    return v;
}

static void print_check(const char *file, const struct conf *conf, const struct conf_problems *ps)
{
    for (unsigned i = 0; i < ps->n; i++) {
        fputs(ps->v[i].warning ? "warning: " : "error: ", stdout);
        ctl_say(stdout, ps->v[i].text);
        putchar('\n');
    }
    ctl_say(stdout, file);
    if (conf)
        printf(": OK, %u tunnel%s\n", conf->n_profiles, conf->n_profiles == 1 ? "" : "s");
    else
        printf(": %u error%s\n", ps->n_errors, ps->n_errors == 1 ? "" : "s");
}

int cmd_check(const struct ctl *c, int argc, char **argv)
{
    struct conf_problems ps = {0};
    struct conf *conf = NULL;
    int r = conf_load(&conf, argv[1], &ps);

    (void)argc;
    if (c->json) {
        json_t *data = json_pack("{sb si so}", "ok", r == 0, "tunnels", r ? 0 : (int)conf->n_profiles, "problems",
                                 problems_json(&ps));

        ctl_print_json(data);
        json_decref(data);
    } else {
        print_check(argv[1], conf, &ps);
    }
    conf_problems_fini(&ps);
    conf_free(conf);
    return r ? CTL_EXIT_REFUSED : CTL_EXIT_DONE;
}

/* ---- genkey ---- */

enum { KEY_BYTES = 32, KEY_TEXT = (KEY_BYTES + 2) / 3 * 4 };

/* Base64 without padding: nothing in it needs quotes in an INI file or a shell. */
static void encode(const unsigned char *in, char out[KEY_TEXT + 1])
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    unsigned bits = 0, n = 0;

    for (unsigned i = 0; i < KEY_BYTES; i++) {
        bits = bits << 8 | in[i];
        for (n += 8; n >= 6; n -= 6)
            *out++ = digits[bits >> (n - 6) & 63];
    }
    if (n)
        *out++ = digits[bits << (6 - n) & 63];
    *out = 0;
}

/* A file that is there already is left alone: it may hold a key that is in use. */
static int write_key(const char *file, const char *key)
{
    int fd = open(file, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    FILE *f = fd < 0 ? NULL : fdopen(fd, "w");
    bool bad = !f || fprintf(f, "%s\n", key) < 0 || fflush(f) || fsync(fd);
    int e = errno;

    if (f)
        bad |= fclose(f) != 0;
    else if (fd >= 0)
        close(fd);
    if (!bad)
        return CTL_EXIT_DONE;
    fprintf(stderr, "kcptunctl: %s: %s\n", file, strerror(e));
    if (fd >= 0)
        unlink(file);
    return CTL_EXIT_OUTPUT;
}

int cmd_genkey(const struct ctl *c, int argc, char **argv)
{
    unsigned char raw[KEY_BYTES];
    char key[KEY_TEXT + 1];
    int r = CTL_EXIT_DONE;

    if (getrandom(raw, sizeof raw, 0) != sizeof raw) {
        fprintf(stderr, "kcptunctl: no random bytes: %s\n", strerror(errno));
        return CTL_EXIT_OUTPUT;
    }
    encode(raw, key);
    if (argc > 1)
        r = write_key(argv[1], key);
    else if (c->json)
        printf("{\"key\": \"%s\"}\n", key);
    else
        puts(key);
    explicit_bzero(raw, sizeof raw);
    explicit_bzero(key, sizeof key);
    return r;
}
