/* tests/unit/test_conf.c - every rule of the configuration, each with the text that people get to read. */
#include "conf/conf.h"
#include "conf/schema.h"
#include "crypto/cipher.h"

#include "tests/support/conf_text.h"

#include <stdio.h>

#define LONG_NAME "a123456789b123456789c123456789d123456789e123456789f123456789g123" /* 64 bytes */
#define X50       "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"
#define X250      X50 X50 X50 X50 X50

/* One row per rule. want: what the first error (or warning, "W ") is; NULL: loads without either. */
static const struct {
    const char *text, *want;
} rules[] = {
#define S "[server s]\nkey = k\n" /* a server without complaints; the next line is 3 */
#define C "[client c]\nkey = k\n"
    {S, NULL},
    {"", "W t.ini: no [server NAME] and no [client NAME]: nothing to do"},
    {"; comment\n# comment\n\n" S, NULL},
    /* lines */
    {S "mtu 1400\n", "t.ini:3: not 'key = value'"},
    {S "mtu: 1400\n", "t.ini:3: not 'key = value'"},
    {S "mtu : x = 1400\n", "t.ini:3: not 'key = value': a key is 1..32 letters and digits"},
    {S " = 3\n", "t.ini:3: not 'key = value': a key is 1..32 letters and digits"},
    {S "   mtu = 1400\n\tsndwnd=5\n", NULL},
    {S "mtu = 1400 ; comment\n", NULL},
    {S "mtu = 1400;comment\n", "t.ini:3: mtu: '1400;comment': not a number; accepted: 128..1500"},
    {S "mtu = 1400 # comment\n",
     "t.ini:3: ' #' in a value: a comment begins with ' ;'; to keep the '#', quote the value"},
    {S "crypt = #aes\n", "t.ini:3: ' #' in a value"},
    {S "crypt = 'aes'\n", "t.ini:3: single quotes do not quote; use \"...\""},
    {S "crypt = \"aes\"\n", NULL},
    {S "crypt = \"aes\" ; comment\n", NULL},
    {S "crypt = \"aes\"x\n", "t.ini:3: text behind the closing '\"'"},
    {S "crypt = \"aes\";x\n", "t.ini:3: text behind the closing '\"'"},
    {S "crypt = \"aes\n", "t.ini:3: a quoted value needs its closing '\"' on the same line"},
    {S "crypt = \"aes\\\n", "t.ini:3: unknown escape in a quoted value; accepted: \\\" \\\\ \\x01..\\xff"},
    {S "crypt = \"\\n\"\n", "t.ini:3: unknown escape"},
    {S "crypt = \"\\x0\"\n", "t.ini:3: unknown escape"},
    {S "crypt = \"\\x00\"\n", "t.ini:3: unknown escape"},
    {S "crypt = \"\\x61es\"\n", NULL},
    {S "crypt = a\x01s\n", "t.ini:3: control character in a value; write it as \\xNN in a quoted value"},
    {S "crypt = a\rb\n", "t.ini:3: control character"},
    {S "crypt = \"\x1b[31m\"\n", "t.ini:3: crypt: '?[31m': unknown; accepted: aes aes-128 "},
    /* sections */
    {"mtu = 1\n", "t.ini:1: mtu: before any section; accepted: below [global], [defaults], ..."},
    {"[global\n", "t.ini:1: a section needs its closing ']'"},
    {"[global] x\n", "t.ini:1: text behind ']'"},
    {"[global] ; x\n" S, NULL},
    {"[ server   x ]\nkey=k\n", NULL},
    {"[Server x]\n",
     "t.ini:1: [Server x]: unknown section; accepted: [global], [defaults], [server NAME], [client NAME]"},
    {"[servers x]\nno = 1\n", "t.ini:1: [servers x]: unknown section"},
    {"[]\n", "t.ini:1: []: unknown section"},
    {"[server]\n", "t.ini:1: [server]: bad profile name; accepted: 1..64 letters, digits and . _ - : @ +"},
    {"[server a b]\n", "t.ini:1: [server a b]: bad profile name"},
    {"[server a\"b]\n", "t.ini:1: [server a\"b]: bad profile name"},
    {"[server " LONG_NAME "]\nkey=k\n", NULL},
    {"[server " LONG_NAME "4]\nkey=k\n", "t.ini:1: [server a123456789b123456789c123456789d12...]: bad profile name"},
    {"[server " X250 X250 "]\n", "t.ini:1: [server xxx"},
    {S "[server s]\nkey=k\nlisten=:1\n", "t.ini:3: profile 's' exists already, at t.ini:1; accepted: a name used once"},
    {S "[client s]\nkey=k\n", "t.ini:3: profile 's' exists already, at t.ini:1"},
    /* keys */
    {S "qpp-count = 1\n", "t.ini:3: qpp-count: unknown key; accepted: the keys that --help lists"},
    {S "MTU = 1400\n", "t.ini:3: MTU: unknown key"},
    {S "localaddr = :1\n", "t.ini:3: localaddr: not a key of this section; accepted: in [client NAME] and [defaults]"},
    {C "listen = :1\n", "t.ini:3: listen: not a key of this section; accepted: in [server NAME] and [defaults]"},
    {S "workers = 1\n", "t.ini:3: workers: not a key of this section; accepted: in [global]"},
    {"[global]\nmtu = 1400\n",
     "t.ini:2: mtu: not a key of this section; accepted: in [server NAME], [client NAME] and"},
    {"[defaults]\nlocaladdr = :1\nlisten = :2\n" S, NULL},
    {S "mtu = 1400\nmtu = 1400\n", "t.ini:4: mtu: given twice in this section; first at t.ini:3"},
    {"[global]\nio=auto\n[global]\nio=auto\n", "t.ini:4: io: given twice in this section; first at t.ini:2"},
    {"[global]\nworkers=1\n[global]\nio=auto\n" S, NULL},
    {"[global]\ninclude = x\n", "t.ini:2: include: only a file can include others"},
    {"[global]\ninclude =\n", "t.ini:2: include: empty"},
    /* numbers */
    {S "mtu = 127\n", "t.ini:3: mtu: '127': out of range; accepted: 128..1500"},
    {S "mtu = 1501\n", "t.ini:3: mtu: '1501': out of range; accepted: 128..1500"},
    {S "mtu =\n", "t.ini:3: mtu: '': not a number; accepted: 128..1500"},
    {S "mtu = -1400\n", "t.ini:3: mtu: '-1400': out of range"},
    {S "mtu = +1400\n", "t.ini:3: mtu: '+1400': not a number"},
    {S "mtu = 0x500\n", "t.ini:3: mtu: '0x500': not a number"},
    {S "mtu = 01400\n", "t.ini:3: mtu: '01400': a number without leading zeros is wanted"},
    {S "mtu = 1k\n", "t.ini:3: mtu: '1k': not a number"},
    {S "mtu = 4294968696\n", "t.ini:3: mtu: '4294968696': out of range"},
    {S "mtu = 18446744073709552966\n", "t.ini:3: mtu: '18446744073709552966': out of range"},
    {S "mtu = 99999999999999999999999999999999999999999999\n",
     "t.ini:3: mtu: '9999999999999999999999999999999999999999..."},
    {S "smuxbuf = 8M\nstreambuf = 64k\n", NULL},
    {S "smuxbuf = 8X\n", "t.ini:3: smuxbuf: '8X': unknown unit; accepted: 4096..1073741824 bytes, or with k M G"},
    {S "smuxbuf = 8MB\n", "t.ini:3: smuxbuf: '8MB': not a number"},
    {S "smuxbuf = 2G\n", "t.ini:3: smuxbuf: '2G': out of range"},
    {S "smuxbuf = 17179869184G\n", "t.ini:3: smuxbuf: '17179869184G': out of range"},
    {S "ratelimit = 1099511627776\n", NULL},
    {S "ratelimit = 1099511627777\n", "t.ini:3: ratelimit: '1099511627777': out of range"},
    {S "nocomp = maybe\n", "t.ini:3: nocomp: 'maybe': neither true nor false; accepted: true false yes no on off 1 0"},
    {S "nocomp = True\n", "t.ini:3: nocomp: 'True': neither true nor false"},
    {S "mode = slow\n", "t.ini:3: mode: 'slow': unknown; accepted: normal fast fast2 fast3 manual auto"},
    {S "crypt = aes-256\n", "t.ini:3: crypt: 'aes-256': unknown; accepted: aes aes-128 "},
    {"[global]\nio = uring\n", "t.ini:2: io: 'uring': unknown; accepted: auto io_uring epoll"},
    {"[global]\nloglevel = all\n", "t.ini:2: loglevel: 'all': unknown; accepted: error warning info debug"},
    {"[global]\ncontrol = " X250 "\n", "t.ini:2: control: 'xxx"},
    {"[global]\nmemory = 1M\n",
     "t.ini:2: memory: 1048576 is too little to work with; accepted: 0, or 16777216 and more"},
    {"[global]\ncpus = 0-3, 6\n" S, NULL},
    {"[global]\ncpus = 0,1,0\n", "t.ini:2: cpus: '0,1,0': a core is named twice; accepted: core numbers 0..4095"},
    {"[global]\ncpus = 3-1\n", "t.ini:2: cpus: '3-1': not a list of cores"},
    {"[global]\ncpus = 4096\n", "t.ini:2: cpus: '4096': not a list of cores"},
    {"[global]\ncpus = 1--2\n", "t.ini:2: cpus: '1--2': not a list of cores"},
    {"[global]\ncpus = 1-\n", "t.ini:2: cpus: '1-': not a list of cores"},
    {"[global]\ncpus = all\n", "t.ini:2: cpus: 'all': not a list of cores"},
    {"[global]\ncpus = 1\nworkers = 2\n" S, "W t.ini:3: workers: more than the 1 cores of cpus, so some share one"},
    /* addresses */
    {S "listen = 29900\n",
     "t.ini:3: listen: '29900': malformed address; accepted: host:port or host:min-max, ports 1.."},
    {S "listen = :0\n", "t.ini:3: listen: ':0': bad port or port range"},
    {S "listen = :5-4\n", "t.ini:3: listen: ':5-4': bad port or port range"},
    {S "listen = :http\n", "t.ini:3: listen: ':http': bad port or port range"},
    {S "target = 127.0.0.1:1-2\n",
     "t.ini:3: target: '127.0.0.1:1-2': bad port or port range; accepted: host:port, port"},
    {S "target = /run/x.sock\n", NULL},
    {C "remoteaddr = a:1, b:2-3 ,[::1]:4\n", NULL},
    {C "remoteaddr = a:1, b:0\n", "t.ini:3: remoteaddr: 'a:1, b:0': bad port or port range"},
    {C "remoteaddr = a:1, \n", "t.ini:3: remoteaddr: 'a:1,': malformed address"},
    {C "remoteaddr = ,a:1\n", "t.ini:3: remoteaddr: ',a:1': malformed address"},
    {C "remoteaddr = a:1 b:2\n", "t.ini:3: remoteaddr: 'a:1 b:2': malformed address"},
    {C "remoteaddr = a:1, b:2, a:1\n", "t.ini:3: remoteaddr: 'a:1, b:2, a:1': an address is named twice"},
    {C "remoteaddr = " X250 X250 ":1\n", "t.ini:3: remoteaddr: '"},
    {C "remoteaddr = a:1,a:2,a:3,a:4,a:5,a:6,a:7,a:8,a:9,a:10,a:11,a:12,a:13,a:14,a:15,a:16\n", NULL},
    {C "remoteaddr = a:1,a:2,a:3,a:4,a:5,a:6,a:7,a:8,a:9,a:10,a:11,a:12,a:13,a:14,a:15,a:16,a:17\n",
     "t.ini:3: remoteaddr: 'a:1,a:2,a:3,a:4,a:5,a:6,a:7,a:8,a:9,a:10...': too many addresses"},
    {S "target = 8080\n", "W t.ini:3: target: '8080' has no port and is taken for the path of a unix socket"},
    {C "bind = 10.0.0.1\ninterface = eth0\n", NULL},
    {C "bind = host\n", "t.ini:3: bind: 'host': not an IP address; accepted: an IPv4 or IPv6 address, or nothing"},
    {C "interface = a/b\n", "t.ini:3: interface: 'a/b': not the name of a network device; accepted: a device name"},
    {C "interface = a234567890123456\n", "t.ini:3: interface: 'a234567890123456': too long"},
    {S "allow = 10.0.0.0/8, ::1 192.168.0.1\n", NULL},
    {S "deny = 10.0.0.0/8, x\n",
     "t.ini:3: deny: '10.0.0.0/8, x': item 2 is not an address block; accepted: addresses and"},
    {S "deny = 10.0.0.0/33\n", "t.ini:3: deny: '10.0.0.0/33': item 1 is not an address block"},
    /* secrets */
    {"[server s]\n", "W t.ini:1: key: the passphrase is kcptun's default, which everybody knows"},
    {"[server s]\nkey = it's a secrect\n", "W t.ini:2: key: the passphrase is kcptun's default"},
    {"[server s]\nkey =\n",
     "t.ini:2: key: empty; accepted: text; \"...\" if it is empty, begins with a quote or holds"},
    {"[server s]\nkey = \"\"\n", NULL},
    {"[server s]\nkey = a ;b\n", "t.ini:2: key: ' ;' begins a comment, or belongs to it; quote it"},
    {"[server s]\nkey = a #b\n", "t.ini:2: ' #' in a value"},
    {"[server s]\nkey = a;b#c\n", NULL},
    {S "keyfile = /x\n", "t.ini:3: keyfile: key is given too, at t.ini:2; accepted: one of the two"},
    {S "oldkeyfile = /nonexistent/x\n",
     "t.ini:3: oldkeyfile: /nonexistent/x: No such file or directory; accepted: path"},
    {S "oldkeyfile = /\n", "t.ini:3: oldkeyfile: /: not a regular file; accepted: path of a file of 1..4096 bytes"},
    {S "oldkeyfile = /dev/zero\n", "t.ini:3: oldkeyfile: /dev/zero: not a regular file"},
    {S "oldkeyfile =\n", "t.ini:3: oldkeyfile: '': empty"},
    {S "crypt = none\n", "W t.ini:3: crypt: none neither hides nor protects anything"},
    {S "crypt = null\n", "W t.ini:3: crypt: null neither hides nor protects anything"},
    /* keys together */
    {S "streambuf = 8M\nmode = fast\n", "t.ini:3: streambuf: 8388608 is more than smuxbuf; accepted: 4096..4194304"},
    {S "smuxbuf = 1M\nmode = fast\n", "t.ini:3: streambuf: 2097152 is more than smuxbuf; accepted: 4096..1048576"},
    {S "datashard = 250\nparityshard = 6\n", NULL},
    {S "datashard = 250\nparityshard = 7\n",
     "t.ini:4: parityshard: 7 with datashard 250; accepted: together up to 256"},
    {S "datashard = 0\nparityshard = 0\n", NULL},
    {S "datashard = 0\n", "W t.ini:3: datashard, parityshard: one of them is 0, so there is no FEC"},
    {S "keepalive = 30\n", "t.ini:3: keepalive: '30': out of range; accepted: 1..29"},
    {S "interval = 20\n", "W t.ini:3: interval: has no effect: mode is not manual"},
    {S "interval = 20\nmode = manual\n", NULL},
    {"[defaults]\nnc = 1\n" S, "W t.ini:2: nc: has no effect: no profile is of mode manual"},
    {"[defaults]\nnc = 1\nkey = k\n[server s]\nmode = manual\n[client c]\n", NULL},
    {S "smuxver = auto\n", NULL},
    {S "smuxver = 3\n", "t.ini:3: smuxver: '3': unknown; accepted: auto 1 2"},
    {C "smuxver = 1\n", NULL},
    {C "smuxver = auto\n", NULL},
    {S "qpp = true\n", NULL},
    {S "qpp = true\nqppcount = 0\n", "t.ini:4: qppcount: '0': out of range; accepted: 1..65535"},
    {S "qppcount = 65536\n", "t.ini:3: qppcount: '65536': out of range; accepted: 1..65535"},
    {S "qpp = true\nqppgeneration = 4\n", "t.ini:4: qppgeneration: '4': out of range; accepted: 1..3"},
    {S "qppcount = 62\nqppgeneration = 1\nqpp = off\n", NULL},
    {S "qpp = true\nqppcount = 7\nqppgeneration = 1\n", NULL},
    {S "qpp = true\nqppcount = 62\n",
     "W t.ini:4: qppcount: 62 shares a factor with 8, which weakens the pads; better: a prime such as 61"},
    {S "qpp = true\nqppcount = 5\n",
     "W t.ini:4: qppcount: 5 pads are fewer than the passphrase could fill; better: 7 or more"},
    {C "autoexpire = 60\nscavengettl = 61\n", "W t.ini:4: scavengettl: longer than autoexpire"},
    {C "autoexpire = 600\n", NULL},
    {C "autoexpire = 599\n", "W t.ini:3: scavengettl: longer than autoexpire"},
    {"[defaults]\nmtu = 1\n[server s]\nmtu = 2\n", "t.ini:2: mtu: '1': out of range; accepted: 128..1500"},
};

static void test_rules(void **state)
{
    (void)state;
    for (size_t i = 0; i < LEN(rules); i++) {
        const char *want = rules[i].want ? rules[i].want : "";
        bool warning = !strncmp(want, "W ", 2);
        struct conf_problems ps;
        struct conf *c;
        int r = load(&c, rules[i].text, strlen(rules[i].text), &ps);

        if (r != (*want && !warning ? CONF_INVALID : 0) || !ps.n != !*want)
            fail_msg("row %zu: %d, %s in:\n%s", i, r, gravest(&ps), rules[i].text);
        if (*want) {
            unsigned first = 0;

            while (first + 1 < ps.n && ps.v[first].warning != warning)
                first++;
            if (strncmp(ps.v[first].text, want + 2 * warning, strlen(want + 2 * warning)) ||
                ps.v[first].warning != warning)
                fail_msg("row %zu: got  %s\n want %s", i, ps.v[first].text, want);
        }
        if (c)
            assert_round_trip(c);
        conf_problems_fini(&ps);
        conf_free(c);
    }
}

/* Two listeners (or local addresses) and whether they clash, both ways round. */
static void test_clashes(void **state)
{
    static const struct {
        const char *a, *b;
        bool server, clash;
    } rows[] = {
        {":1000", ":1000", true, true},
        {":1000", ":1001", true, false},
        {":1000-2000", ":2000-3000", true, true},
        {":1000-2000", ":2001-3000", true, false},
        {":1-65535", ":5", true, true},
        {":1000", "127.0.0.1:1000", true, true},
        {":1000", "[::1]:1000", true, true},
        {":1000", "host:1000", true, true},
        {"[::]:1000", "host:1-2000", true, true},
        {"[0::0]:1000", ":1000", true, true},
        {"0.0.0.0:1000", "127.0.0.1:900-1000", true, true},
        {"0.0.0.0:1000", ":1000", true, true},
        {"0.0.0.0:1000", "[::1]:1000", true, false},
        {"0.0.0.0:1000", "127.0.0.1:900-999", true, false},
        {"127.0.0.1:1000", "127.0.0.2:1000", true, false},
        {"127.0.0.1:1000", "127.0.0.1:1000", true, true},
        {"127.0.0.1:1000", "[::ffff:127.0.0.1]:1000", true, true},
        {"[::1]:1000", "[0:0::1]:1000", true, true},
        {"a:1000", "b:1000", true, false},
        {"a:1000", "a:1000-1001", true, true},
        {":1000", "127.0.0.1:1000", false, true},
        {"/run/a", "/run/a", false, true},
        {"/run/a", "/run/b", false, false},
        {"/run/a", ":1000", false, false},
    };

    (void)state;
    for (size_t i = 0; i < 2 * LEN(rows); i++) {
        const char *a = i % 2 ? rows[i / 2].b : rows[i / 2].a, *b = i % 2 ? rows[i / 2].a : rows[i / 2].b;
        bool server = rows[i / 2].server, clash = rows[i / 2].clash;
        const char *role = server ? "server" : "client", *key = server ? "listen" : "localaddr";
        struct conf_problems ps;
        char text[256], want[64];
        struct conf *c;
        int r;

        snprintf(text, sizeof text, "[%s x]\nkey=k\n%s=%s\n[%s y]\nkey=k\n%s=%s\n", role, key, a, role, key, b);
        snprintf(want, sizeof want, "t.ini:6: %s: ", key);
        r = load(&c, text, strlen(text), &ps);
        if (r != (clash ? CONF_INVALID : 0) || ps.n_errors != clash ||
            (clash && strncmp(ps.v[0].text, want, strlen(want))))
            fail_msg("%s and %s: %d, %s", a, b, r, gravest(&ps));
        conf_problems_fini(&ps);
        conf_free(c);
    }
}

static void test_clash_texts(void **state)
{
    static const struct {
        const char *text, *want;
    } rows[] = {
        {S "listen = :1000-2000\n[server t]\nkey=k\nlisten=127.0.0.1:1500\n",
         "t.ini:6: listen: UDP port 1500 is used by 's' too, at t.ini:3; accepted: an address and ports of its own"},
        {S "[server t]\nkey=k\n", "t.ini:3: listen: UDP port 29900 is used by 's' too, at t.ini:1"},
        {"[global]\ncontrol = /run/c\n" C "localaddr = /run/c\n",
         "t.ini:5: localaddr: /run/c is used by the control socket too, at t.ini:2; accepted: a path of its own"},
        {C "[client d]\nkey=k\n", "t.ini:3: localaddr: TCP port 12948 is used by 'c' too, at t.ini:1"},
        {S "listen = :12948\n" C, NULL}, /* UDP and TCP do not meet */
    };

    (void)state;
    for (size_t i = 0; i < LEN(rows); i++) {
        struct conf_problems ps;
        struct conf *c;

        load(&c, rows[i].text, strlen(rows[i].text), &ps);
        assert_int_equal(ps.n, rows[i].want ? 1 : 0);
        if (rows[i].want && strncmp(ps.v[0].text, rows[i].want, strlen(rows[i].want)))
            fail_msg("got  %s\n want %s", ps.v[0].text, rows[i].want);
        conf_problems_fini(&ps);
        conf_free(c);
    }
}

/* Many that clash are told one by one, none is missed, and the list is bounded. */
static void test_many_problems(void **state)
{
    enum { N = 1500 };
    char *text = malloc(N * 32), *p = text;
    struct conf_problems ps;
    struct conf *c;

    (void)state;
    for (int i = 0; i < N; i++)
        p += sprintf(p, "[server s%d]\nkey=k\n", i);
    assert_int_equal(load(&c, text, (size_t)(p - text), &ps), CONF_INVALID);
    assert_int_equal(ps.n_errors, N - 1);
    assert_int_equal(ps.n, 1001);
    assert_string_equal(ps.v[1000].text, "more problems follow; they are not listed");
    conf_problems_fini(&ps);
    free(text);
}

static void test_defaults(void **state)
{
    static const char text[] = "[server s]\n[client c]\n";
    struct conf *c = must_load(text);
    const struct conf_profile *s = &c->profiles[0], *l = &c->profiles[1];
    const struct conf_global *g = &c->global;

    (void)state;
    assert_int_equal(g->workers | g->io | g->n_cpus | g->memory | g->maxsessions, 0);
    assert_string_equal(g->control, "");
    assert_string_equal(g->log, "");
    assert_int_equal(g->loglevel, CONF_LOG_INFO);
    assert_int_equal(g->draintime, 10);
    assert_int_equal(s->role, CONF_SERVER);
    assert_int_equal(l->role, CONF_CLIENT);
    assert_string_equal(s->name, "s");
    assert_string_equal(l->file, "t.ini");
    assert_int_equal(l->line, 2);
    assert_string_equal(s->listen.host, "");
    assert_int_equal(s->listen.port_min, 29900);
    assert_string_equal(s->target.host, "127.0.0.1");
    assert_int_equal(s->target.port_min, 12948);
    assert_string_equal(l->localaddr.host, "");
    assert_int_equal(l->localaddr.port_max, 12948);
    assert_string_equal(l->remoteaddr[0].host, "vps");
    assert_int_equal(l->remoteaddr[0].port_min, 29900);
    assert_int_equal(l->n_remoteaddr, 1);
    assert_int_equal(l->failback, 30);
    assert_true(addr_text_none(&s->localaddr) && addr_text_none(&l->listen));
    assert_null(l->bind);
    assert_null(l->interface);
    assert_int_equal(s->sndwnd, 32768);
    assert_int_equal(l->rcvwnd, 32768);
    assert_int_equal(s->closewait, 30);
    assert_int_equal(l->closewait, 0);
    assert_int_equal(l->conn, 1);
    assert_int_equal(l->autoexpire, 0);
    assert_int_equal(l->scavengettl, 600);
    assert_int_equal(s->maxsessionspersource, 4096);
    assert_int_equal(s->n_allow + s->n_deny, 0);
    for (int i = 0; i < 2; i++) {
        const struct conf_profile *p = &c->profiles[i];

        assert_string_equal(p->key.text, "it's a secrect");
        assert_null(p->key.file);
        assert_null(p->oldkey.text);
        assert_string_equal(p->crypt, "aes");
        assert_int_equal(p->mode, CONF_AUTO);
        assert_int_equal(p->redundancy, 3);
        assert_false(p->pacing);
        assert_int_equal(p->mtu, 1350);
        assert_int_equal(p->datashard, 10);
        assert_int_equal(p->parityshard, 3);
        assert_int_equal(p->dscp, 0);
        assert_false(p->nocomp || p->acknodelay || p->quiet || p->qpp);
        assert_int_equal(p->qppcount, 61);
        assert_int_equal(p->qppgeneration, 3);
        assert_int_equal(p->smuxver, i ? 2 : 0);
        assert_int_equal(p->smuxbuf, 64 << 20);
        assert_int_equal(p->streambuf, 16 << 20);
        assert_int_equal(p->framesize, 8192);
        assert_int_equal(p->sockbuf, 4194304);
        assert_int_equal(p->keepalive, 10);
        assert_int_equal(p->dialtimeout, 10);
        assert_int_equal(p->peertimeout, 10);
        assert_int_equal(p->ratelimit, 0);
        assert_int_equal(p->maxsessions, 0);
        assert_int_equal(p->maxstreams, 16384);
    }
    assert_round_trip(c);
    conf_free(c);
}

/* Mode auto has ceilings of its own where nobody gave others. */
static void test_ceilings(void **state)
{
    static const struct {
        const char *text;
        uint32_t sndwnd, rcvwnd, smuxbuf, streambuf;
    } rows[] = {
        {"[client c]\nmode = auto\n", 32768, 32768, 64 << 20, 16 << 20},
        {"[client c]\nmode = fast3\n", 128, 512, 4 << 20, 2 << 20},
        {"[defaults]\nsndwnd = 99\n[client c]\nmode = auto\nrcvwnd = 98\n", 99, 98, 64 << 20, 16 << 20},
        {"[client c]\nmode = auto\nsmuxbuf = 1M\n", 32768, 32768, 1 << 20, 1 << 20},
        {"[defaults]\nmode = auto\nstreambuf = 3M\n[client c]\nsmuxbuf = 5M\n", 32768, 32768, 5 << 20, 3 << 20},
    };

    (void)state;
    for (size_t i = 0; i < LEN(rows); i++) {
        struct conf *c = must_load(rows[i].text);
        const struct conf_profile *p = &c->profiles[0];

        assert_int_equal(p->sndwnd, rows[i].sndwnd);
        assert_int_equal(p->rcvwnd, rows[i].rcvwnd);
        assert_int_equal(p->smuxbuf, rows[i].smuxbuf);
        assert_int_equal(p->streambuf, rows[i].streambuf);
        conf_free(c);
    }
}

static void test_modes(void **state)
{
    static const struct {
        const char *mode;
        uint32_t want[4];
    } rows[] = {
        {"normal", {0, 40, 2, 1}},
        {"fast", {0, 30, 2, 1}},
        {"fast2", {1, 20, 2, 1}},
        {"fast3", {1, 10, 2, 1}},
        {"manual", {0, 50, 0, 0}},
        {"manual\nnodelay=1\ninterval=15\nresend=3\nnc=1", {1, 15, 3, 1}},
        {"normal\ninterval=15", {0, 40, 2, 1}},
    };

    (void)state;
    for (size_t i = 0; i < LEN(rows); i++) {
        char text[128];
        struct conf *c;
        const struct conf_profile *p;

        snprintf(text, sizeof text, "[client c]\nmode=%s\n", rows[i].mode);
        c = must_load(text);
        p = c->profiles;
        assert_memory_equal(((uint32_t[]){p->nodelay, p->interval, p->resend, p->nc}), rows[i].want, 16);
        assert_round_trip(c);
        conf_free(c);
    }
}

/* [defaults] reaches profiles before and behind it, of either role, and what a profile says wins. */
static void test_defaults_section(void **state)
{
    struct conf *c =
        must_load("[server a]\nmtu = 1000\noldkey = mine\n[defaults]\nmtu = 900\nsndwnd = 7\nkey = d\nconn = 3\n"
                  "listen = :7\nallow = ::1\noldkey = theirs\n[client b]\n[server c]\nlisten = :8\nkey = own\n");
    const struct conf_profile *a = &c->profiles[0], *b = &c->profiles[1], *d = &c->profiles[2];

    (void)state;
    assert_int_equal(a->mtu, 1000);
    assert_int_equal(b->mtu, 900);
    assert_int_equal(a->sndwnd + b->sndwnd, 14);
    assert_int_equal(b->conn, 3);
    assert_int_equal(a->conn, 0);
    assert_int_equal(a->listen.port_min, 7);
    assert_true(addr_text_none(&b->listen));
    assert_int_equal(a->n_allow, 1);
    assert_int_equal(b->n_allow, 0);
    assert_string_equal(a->key.text, "d");
    assert_string_equal(d->key.text, "own");
    assert_string_equal(a->oldkey.text, "mine");
    assert_string_equal(b->oldkey.text, "theirs");
    assert_round_trip(c);
    conf_free(c);
}

static void one_error(const char *text, size_t len, const char *want)
{
    struct conf_problems ps;
    struct conf *c;

    assert_int_equal(load(&c, text, len, &ps), CONF_INVALID);
    if (strncmp(ps.v[0].text, want, strlen(want)))
        fail_msg("got %s\nwant %s", ps.v[0].text, want);
    conf_problems_fini(&ps);
}

static void test_bad_input(void **state)
{
    enum { MB = 1 << 20 };
    char *big = malloc(MB + 64);
    struct conf_problems ps;
    struct conf *c;
    size_t n;

    (void)state;
    c = must_load("\xef\xbb\xbf" S);
    conf_free(c);
    c = must_load("[server s]\r\nkey = k\r\n\r\n; x\r\nmtu = 1400\r\n");
    assert_string_equal(c->profiles[0].key.text, "k");
    assert_int_equal(c->profiles[0].mtu, 1400);
    conf_free(c);
    one_error("[server s]\nkey = a\0b\n", 22, "t.ini:2: NUL byte: not a text file");
    one_error("\xff\xfe[\0", 4, "t.ini:1: the file is UTF-16; accepted: UTF-8");
    strcpy(big, "[server s]\nkey = ");
    n = strlen(big);
    memset(big + n, 'x', MB);
    memcpy(big + n + MB, "\nmtu = 1\n", 9);
    one_error(big, n + MB + 9, "t.ini:2: line too long; accepted: up to 65536 bytes");
    big[n + 65536 - 6] = '\n'; /* the longest line that is accepted: one value of 65530 bytes */
    memcpy(big + n + 65536 - 5, "; x\n", 4);
    assert_int_equal(load(&c, big, n + 65536 - 1, &ps), 0);
    assert_int_equal(strlen(c->profiles[0].key.text), 65530);
    conf_problems_fini(&ps);
    conf_free(c);
    free(big);
}

/* Lines are told by their number in the file, behind comments, CRLF, long lines and quoted values too. */
static void test_line_numbers(void **state)
{
    static const char text[] = "\n\r\n; c\n[server s] ; x\n  key = \"" X250 "\"\n\n\t# c\nmtu = 1\n";

    (void)state;
    one_error(text, sizeof text - 1, "t.ini:8: mtu: '1'");
}

/* The list of ciphers is that of crypto/. */
static void test_ciphers(void **state)
{
    unsigned n = 0;

    (void)state;
    for (; conf_ciphers[n]; n++)
        if (!cipher_known(conf_ciphers[n]))
            fail_msg("crypto does not know %s", conf_ciphers[n]);
    for (unsigned i = 0; cipher_name_at(i); i++) {
        bool found = false;

        for (unsigned j = 0; j < n; j++)
            found |= !strcmp(conf_ciphers[j], cipher_name_at(i));
        if (!found)
            fail_msg("conf does not know %s", cipher_name_at(i));
    }
    assert_int_equal(n, 15);
}

/* Help and man page name every key, with its range. */
static void test_help(void **state)
{
    void (*const print[])(FILE *) = {conf_help, conf_man};

    (void)state;
    for (size_t i = 0; i < LEN(print); i++) {
        char *text = NULL, name[64];
        size_t n;
        FILE *f = open_memstream(&text, &n);

        print[i](f);
        fclose(f);
        for (unsigned j = 0; j < conf_n_keys; j++) {
            snprintf(name, sizeof name, i ? ".BR %s \" = " : "%s = ", conf_keys[j].name);
            if (!strstr(text, name))
                fail_msg("%s is missing", conf_keys[j].name);
        }
        assert_non_null(strstr(text, "128..1500"));
        assert_non_null(strstr(text, "server 30, client 0"));
        free(text);
    }
}

/* Every row is well formed: a default that its own range accepts, a help text, names without repetition in a section. */
static void test_table(void **state)
{
    (void)state;
    for (unsigned i = 0; i < conf_n_keys; i++) {
        const struct conf_key *k = &conf_keys[i];
        char *range = conf_key_range(k);

        assert_true(*k->help && *range);
        assert_int_equal(k->help[strlen(k->help) - 1] == '.', false);
        assert_ptr_equal(conf_key_find(k->name, k->where), k);
        if (k->type == &conf_keyfile)
            assert_int_equal(k->at, k[-1].at); /* the rows of a secret stand together */
        free(range);
    }
    assert_null(conf_key_find("", ~0u));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rules),       cmocka_unit_test(test_clashes),
        cmocka_unit_test(test_clash_texts), cmocka_unit_test(test_many_problems),
        cmocka_unit_test(test_defaults),    cmocka_unit_test(test_modes),
        cmocka_unit_test(test_ceilings),    cmocka_unit_test(test_defaults_section),
        cmocka_unit_test(test_bad_input),   cmocka_unit_test(test_line_numbers),
        cmocka_unit_test(test_ciphers),     cmocka_unit_test(test_help),
        cmocka_unit_test(test_table),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
