/* tests/unit/test_conf_print.c - what is written, read and printed: quoting, hidden secrets, random values of every
 * key, every truncation. */
#include "conf/schema.h"

#include "tests/support/conf_text.h"

#include <stdio.h>

#define X50  "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"
#define X250 X50 X50 X50 X50 X50

/* Passphrases: what is written, and what is read. */
static void test_quoting(void **state)
{
    static const struct {
        const char *written, *read;
    } rows[] = {
        {"it's a secrect", "it's a secrect"},
        {"a;b#c", "a;b#c"},
        {"\"a ;b #c\"", "a ;b #c"},
        {"\" lead and trail \"", " lead and trail "},
        {"\"q\\\"b\\\\\"", "q\"b\\"},
        {"\"\\x01\\x7f\\xff\\xFe\"", "\x01\x7f\xff\xfe"},
        {"back\\slash", "back\\slash"},
        {"a\"b", "a\"b"},
        {"a = b : c", "a = b : c"},
        {"[x]", "[x]"},
        {"\xc3\xa9t\xc3\xa9", "\xc3\xa9t\xc3\xa9"},
        {"\"\" ; nothing", ""},
        {"don't", "don't"},
        {"\"'x'\"", "'x'"},
        {X250 X250, X250 X250}, /* more than inih's line */
        {"\"" X250 "\"", X250},
    };

    (void)state;
    for (size_t i = 0; i < LEN(rows); i++) {
        char text[1024];
        struct conf *c;

        snprintf(text, sizeof text, "[server s]\r\n \tkey\t= %s \t\r\n", rows[i].written);
        c = must_load(text);
        assert_string_equal(c->profiles[0].key.text, rows[i].read);
        assert_round_trip(c);
        conf_free(c);
    }
}

static void test_secrets_hidden(void **state)
{
    struct conf *c = must_load("[server s]\nkey = hunter2\noldkey = hunter1\n[client c]\nkey = hunter3\n");
    char *text = printed(c, false);

    (void)state;
    assert_null(strstr(text, "hunter"));
    assert_non_null(strstr(text, "; key is set but hidden\n; oldkey is set but hidden\n"));
    free(text);
    text = printed(c, true);
    assert_non_null(strstr(text, "\nkey = hunter2\noldkey = hunter1\n"));
    free(text);
    conf_free(c);
}

/* No message repeats a secret, whatever is wrong with its line. */
static void test_secrets_not_in_messages(void **state)
{
    static const char *const texts[] = {
        "[server s]\nkey = hunter2 ;\n",   "[server s]\nkey = hunter2\nkey = hunter2\n",
        "[server s]\nkey = \"hunter2\n",   "[server s]\nkey = 'hunter2'\n",
        "[server s]\nkey = hunter2 #\n",   "[server s]\nkey = \"hunter2\" x\n",
        "[server s]\nkey hunter2\n",       "[global]\nkey = hunter2\n",
        "[server s]\nkey = hunter2\x01\n",
    };

    (void)state;
    for (size_t i = 0; i < LEN(texts); i++) {
        struct conf_problems ps;
        struct conf *c;

        assert_int_equal(load(&c, texts[i], strlen(texts[i]), &ps), CONF_INVALID);
        for (unsigned j = 0; j < ps.n; j++)
            assert_null(strstr(ps.v[j].text, "hunter"));
        conf_problems_fini(&ps);
    }
}

/* A valid text cut anywhere loads or says why not, with a line that exists. */
static void test_truncations(void **state)
{
    static const char text[] =
        "\xef\xbb\xbf[global]\r\nworkers = 2 ; two\n\n[defaults]\nkey = \"a\\x41\\\"\"\n[server one]\n"
        "  listen = [::1]:4000-4010\nallow = 10.0.0.0/8, ::/0\n[client two]\nlocaladdr = /run/x\n";

    (void)state;
    for (size_t n = 0; n < sizeof text; n++) {
        struct conf_problems ps;
        struct conf *c;

        if (!load(&c, text, n, &ps))
            assert_round_trip(c);
        else
            assert_int_equal(strncmp(ps.v[0].text, "t.ini:", 6), 0);
        conf_problems_fini(&ps);
        conf_free(c);
    }
}

/* ---- random values of every key ---- */

static void random_text(struct rng *r, char *out, size_t n)
{
    size_t len = 1 + rng_below(r, (uint32_t)n - 1);

    for (size_t i = 0; i < len; i++)
        do
            out[i] = (char)(rng_below(r, 2) ? 1 + rng_below(r, 255) : (uint32_t) " ;#'\"\\=[]"[rng_below(r, 9)]);
        while (!out[i]);
    out[len] = 0;
}

/* s as a quoted value, every byte escaped: says nothing about the printer's own choices. */
static void escape(const char *s, char *out)
{
    *out++ = '"';
    for (; *s; s++)
        out += sprintf(out, "\\x%02x", (unsigned char)*s);
    strcpy(out, "\"");
}

static void random_value(struct rng *r, const struct conf_key *k, unsigned profile, char *out, size_t n)
{
    char text[40];

    if (k->type == &conf_bool) {
        snprintf(out, n, "%s", rng_below(r, 2) ? "on" : "off");
    } else if (k->type == &conf_uint || k->type == &conf_size || k->type == &conf_size64) {
        uint64_t v = k->min + rng_next(r) % (k->max - k->min + 1);

        if (!strcmp(k->name, "streambuf") || !strcmp(k->name, "smuxbuf"))
            v = !strcmp(k->name, "smuxbuf") ? (1 << 29) + v / 2 : v / 2 + 2048;
        else if (!strcmp(k->name, "datashard") || !strcmp(k->name, "parityshard"))
            v = v / 2;
        else if (!strcmp(k->name, "memory"))
            v |= 1 << 24;
        snprintf(out, n, "%llu", (unsigned long long)v);
    } else if (k->words) {
        unsigned words = 0;

        while (k->words[words])
            words++;
        snprintf(out, n, "%s", k->words[rng_below(r, words)]);
    } else if (k->type == &conf_udp || k->type == &conf_stream || k->type == &conf_maybe_stream) {
        unsigned port = 1000 + profile;

        if (k->type != &conf_udp && rng_below(r, 2))
            snprintf(out, n, "\"/run/ ;%u%u\"", profile, rng_below(r, 1000));
        else
            snprintf(out, n, "%s:%u", rng_below(r, 2) ? "[::1]" : "10.1.2.3", port);
    } else if (k->type == &conf_servers) {
        snprintf(out, n, "[::1]:%u,host%u.example:1-%u%s", 1 + rng_below(r, 65535), rng_below(r, 10),
                 1 + rng_below(r, 65535), rng_below(r, 2) ? ", 10.1.2.3:5" : "");
    } else if (k->type == &conf_blocks) {
        snprintf(out, n, "10.%u.0.0/%u, 2001:db8:%x::/%u", rng_below(r, 256), rng_below(r, 33), rng_below(r, 65536),
                 rng_below(r, 129));
    } else if (k->type == &conf_cpus) {
        snprintf(out, n, "%u-%u", rng_below(r, 8), 8 + rng_below(r, 8));
    } else if (k->type == &conf_ip) {
        snprintf(out, n, "10.0.0.%u", rng_below(r, 256));
    } else if (k->type == &conf_device) {
        snprintf(out, n, "eth%u", rng_below(r, 256));
    } else {
        random_text(r, text, sizeof text);
        escape(text, out);
    }
}

static void random_section(struct rng *r, FILE *f, unsigned where, unsigned profile)
{
    char value[256];

    for (unsigned i = 0; i < conf_n_keys; i++) {
        const struct conf_key *k = &conf_keys[i];

        if (!(k->where & where) || k->type == &conf_include || k->type == &conf_keyfile)
            continue;
        if (rng_below(r, 4) == 0 && k->type != &conf_udp && k->type != &conf_stream && strcmp(k->name, "smuxbuf"))
            continue; /* never an address: no two may have the default; nor smuxbuf: streambuf could be above it */
        random_value(r, k, profile, value, sizeof value);
        fprintf(f, "%s = %s\n", k->name, value);
    }
}

static void test_random_round_trip(void **state)
{
    struct rng r = rng_seed(7);

    (void)state;
    for (int i = 0; i < 300; i++) {
        char *text = NULL;
        size_t n;
        FILE *f = open_memstream(&text, &n);
        struct conf_problems ps;
        struct conf *c;

        fputs("[global]\n", f);
        random_section(&r, f, IN_GLOBAL, 0);
        for (unsigned p = 1; p < 4; p++) {
            bool server = rng_below(&r, 2);

            fprintf(f, "[%s p%u]\n", server ? "server" : "client", p);
            random_section(&r, f, server ? IN_SERVER : IN_CLIENT, p);
        }
        fclose(f);
        if (load(&c, text, n, &ps))
            fail_msg("%s in\n%s", gravest(&ps), text);
        assert_round_trip(c);
        conf_problems_fini(&ps);
        conf_free(c);
        free(text);
    }
}

/* Each key alone: setting it makes the conf unequal to one without, so the round trips above prove something. */
static void test_equal_sees_every_key(void **state)
{
    struct rng r = rng_seed(9);

    (void)state;
    for (unsigned i = 0; i < conf_n_keys; i++) {
        const struct conf_key *k = &conf_keys[i];
        const char *section = k->where == IN_GLOBAL ? "global" : k->where == IN_CLIENT ? "client x" : "server x";
        const char *first = "";
        bool differs = false;

        if (k->type == &conf_include || k->type == &conf_keyfile)
            continue;
        if (k->where == IN_BOTH && strcmp(k->name, "mode")) /* streambuf's values are up to half of smuxbuf's */
            first = strcmp(k->name, "smuxbuf") ? "mode = manual\nsmuxbuf = 1G\n" : "mode = manual\n";
        for (int tries = 0; tries < 20 && !differs; tries++) {
            char without[512], with[1024], value[256];
            struct conf *a, *b;

            random_value(&r, k, 1, value, sizeof value);
            snprintf(without, sizeof without, "[%s]\n%s", section, first);
            snprintf(with, sizeof with, "%s%s = %s\n", without, k->name, value);
            a = must_load(without);
            b = must_load(with);
            assert_true(conf_equal(a, a) && conf_equal(b, b));
            differs = !conf_equal(a, b);
            assert_int_equal(differs, !conf_equal(b, a));
            conf_free(a);
            conf_free(b);
        }
        if (!differs)
            fail_msg("%s", k->name);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_quoting),
        cmocka_unit_test(test_secrets_hidden),
        cmocka_unit_test(test_secrets_not_in_messages),
        cmocka_unit_test(test_truncations),
        cmocka_unit_test(test_random_round_trip),
        cmocka_unit_test(test_equal_sees_every_key),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
