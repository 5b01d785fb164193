/* conf/kcptun_opts.c - the table of kcptun's options, and what was given of them. */
#include "conf/kcptun_opts.h"

#include "core/base/err.h"

#include <inttypes.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define SERVER (1u << CONF_SERVER)
#define CLIENT (1u << CONF_CLIENT)
#define EITHER (SERVER | CLIENT)
#define BOTH(d)                                                                                                        \
    {                                                                                                                  \
        d, d                                                                                                           \
    }
#define NONE                                                                                                           \
    {                                                                                                                  \
        NULL, NULL                                                                                                     \
    }
#define CLAMPED (KOPT_LOW | KOPT_HIGH)
#define BY_HAND (KOPT_HIDDEN | KOPT_MANUAL | CLAMPED)
#define IS_TEXT KOPT_TEXT
#define IS_INT  KOPT_INT
#define IS_BOOL KOPT_BOOL

/* clang-format off */
const struct kopt kopts[] = {
    /* name, alias, JSON key, type, roles, default of server and client, our key, how, help */
    {"localaddr", "l", "localaddr", IS_TEXT, CLIENT, {NULL, ":12948"}, "localaddr", 0,
     "where local connections are accepted: host:port, or the path of a unix socket"},
    {"remoteaddr", "r", "remoteaddr", IS_TEXT, CLIENT, {NULL, "vps:29900"}, "remoteaddr", 0,
     "the server: host:port, or host:min-max, of which every session draws one"},
    {"listen", "l", "listen", IS_TEXT, SERVER, {":29900", NULL}, "listen", 0,
     "UDP address to serve: host:port or host:min-max"},
    {"target", "t", "target", IS_TEXT, SERVER, {"127.0.0.1:12948", NULL}, "target", 0,
     "where streams are connected to: host:port, or the path of a unix socket"},
    {"key", NULL, "key", IS_TEXT, EITHER, BOTH(CONF_DEFAULT_KEY), "key", 0,
     "passphrase, the same at both ends"},
    {"crypt", NULL, "crypt", IS_TEXT, EITHER, BOTH("aes"), "crypt", 0,
     "cipher, the same at both ends: aes, aes-128, aes-128-gcm, aes-192, salsa20, blowfish, twofish, cast5, 3des, tea, "
     "xtea, xor, sm4, none, null"},
    {"mode", NULL, "mode", IS_TEXT, EITHER, BOTH("fast"), "mode", 0,
     "how eagerly packets are sent again: normal, fast, fast2, fast3, manual; or auto, which measures the path"},
    {"QPP", NULL, "qpp", IS_BOOL, EITHER, NONE, "qpp", 0,
     "permutation pads over the bytes of streams, the same at both ends"},
    {"QPPCount", NULL, "qpp-count", IS_INT, EITHER, BOTH("61"), "qppcount", 0,
     "number of pads, a prime if possible, the same at both ends"},
    {"conn", NULL, "conn", IS_INT, CLIENT, {NULL, "1"}, "conn", 0,
     "sessions to spread connections over"},
    {"autoexpire", NULL, "autoexpire", IS_INT, CLIENT, {NULL, "0"}, "autoexpire", CLAMPED,
     "seconds after which a session gets no new streams; 0 = never"},
    {"scavengettl", NULL, "scavengettl", IS_INT, CLIENT, {NULL, "600"}, "scavengettl", CLAMPED,
     "seconds that an expired session may still live"},
    {"mtu", NULL, "mtu", IS_INT, EITHER, BOTH("1350"), "mtu", KOPT_HIGH,
     "bytes of one UDP payload"},
    {"ratelimit", NULL, "ratelimit", IS_INT, EITHER, BOTH("0"), "ratelimit", CLAMPED,
     "outgoing bytes per second of a session; 0 = no limit"},
    {"sndwnd", NULL, "sndwnd", IS_INT, EITHER, {"1024", "128"}, "sndwnd", KOPT_HIGH,
     "send window, packets"},
    {"rcvwnd", NULL, "rcvwnd", IS_INT, EITHER, {"1024", "512"}, "rcvwnd", KOPT_HIGH,
     "receive window, packets"},
    {"datashard", "ds", "datashard", IS_INT, EITHER, BOTH("10"), "datashard", KOPT_LOW,
     "data packets of a FEC group; 0 = no FEC"},
    {"parityshard", "ps", "parityshard", IS_INT, EITHER, BOTH("3"), "parityshard", KOPT_LOW,
     "parity packets of a FEC group; 0 = no FEC"},
    {"dscp", NULL, "dscp", IS_INT, EITHER, BOTH("0"), "dscp", 0,
     "DSCP of outgoing packets, 6 bits"},
    {"nocomp", NULL, "nocomp", IS_BOOL, EITHER, NONE, "nocomp", 0,
     "no compression, the same at both ends"},
    {"acknodelay", NULL, "acknodelay", IS_BOOL, EITHER, NONE, "acknodelay", KOPT_HIDDEN,
     "accepted: acknowledgements leave at once in any case"},
    {"nodelay", NULL, "nodelay", IS_INT, EITHER, BOTH("0"), "nodelay", BY_HAND, "mode manual: eager timer"},
    {"interval", NULL, "interval", IS_INT, EITHER, BOTH("50"), "interval", BY_HAND, "mode manual: ms between flushes"},
    {"resend", NULL, "resend", IS_INT, EITHER, BOTH("0"), "resend", BY_HAND, "mode manual: fast retransmission"},
    {"nc", NULL, "nc", IS_INT, EITHER, BOTH("0"), "nc", BY_HAND, "mode manual: no congestion window"},
    {"sockbuf", NULL, "sockbuf", IS_INT, EITHER, BOTH("4194304"), "sockbuf", CLAMPED,
     "bytes of the UDP socket's buffers"},
    {"smuxver", NULL, "smuxver", IS_INT, EITHER, BOTH("auto"), "smuxver", 0,
     "multiplexer version, 1 or 2, the same at both ends; without it a server takes that of each client, and a client "
     "finds out which the server reads"},
    {"smuxbuf", NULL, "smuxbuf", IS_INT, EITHER, BOTH("4194304"), "smuxbuf", KOPT_HIGH,
     "bytes a session may hold for slow readers"},
    {"framesize", NULL, "framesize", IS_INT, EITHER, BOTH("8192"), "framesize", 0,
     "most payload of one multiplexer frame"},
    {"streambuf", NULL, "streambuf", IS_INT, EITHER, BOTH("2097152"), "streambuf", KOPT_HIGH,
     "bytes a stream may hold for a slow reader, smuxver 2"},
    {"keepalive", NULL, "keepalive", IS_INT, EITHER, BOTH("10"), "keepalive", 0,
     "seconds between keepalives"},
    {"closewait", NULL, "closewait", IS_INT, EITHER, {"30", "0"}, "closewait", CLAMPED,
     "seconds a stream lives on when one direction has ended"},
    {"snmplog", NULL, "snmplog", IS_TEXT, EITHER, BOTH(""), "snmplog", 0,
     "file for rows of counters; its name may hold a date in Go's notation, as in snmp-20060102.csv"},
    {"snmpperiod", NULL, "snmpperiod", IS_INT, EITHER, BOTH("60"), "snmpperiod", CLAMPED,
     "seconds between its rows"},
    {"log", NULL, "log", IS_TEXT, EITHER, BOTH(""), "log", 0,
     "log file; without one, standard error"},
    {"quiet", NULL, "quiet", IS_BOOL, EITHER, NONE, "quiet", 0,
     "no message for each stream"},
    {"tcp", NULL, "tcp", IS_BOOL, EITHER, NONE, "tcp", 0,
     "packets look like TCP; needs CAP_NET_RAW and the same at both ends"},
    {"c", NULL, NULL, IS_TEXT, EITHER, BOTH(""), NULL, 0,
     "JSON file; what it says counts more than the command line"},
    {"pprof", NULL, "pprof", IS_BOOL, EITHER, NONE, NULL, 0,
     "accepted, and does nothing: it was a profiler for Go"},
    {"help", "h", NULL, IS_BOOL, EITHER, NONE, NULL, 0, "this text"},
    {"version", "v", NULL, IS_BOOL, EITHER, NONE, NULL, 0, "the version"},
};
/* clang-format on */
const unsigned n_kopts = LEN(kopts);
_Static_assert(LEN(kopts) <= KOPTS_MAX, "raise KOPTS_MAX");

void kopts_init(struct kopts *o, enum conf_role role, const char *program)
{
    *o = (struct kopts){.role = role, .program = program};
}

void kopts_forget(struct kopts *o, unsigned i)
{
    struct kopt_value *v = &o->v[i];

    if (v->text)
        explicit_bzero(v->text, strlen(v->text));
    free(v->text);
    *v = (struct kopt_value){0};
}

void kopts_fini(struct kopts *o)
{
    for (unsigned i = 0; i < n_kopts; i++)
        kopts_forget(o, i);
}

static bool is_called(const char *is, const char *name, size_t len)
{
    return is && strlen(is) == len && !memcmp(is, name, len);
}

int kopts_find(enum conf_role role, const char *name, size_t len)
{
    for (unsigned i = 0; i < n_kopts; i++)
        if (kopts[i].roles >> role & 1 && (is_called(kopts[i].name, name, len) || is_called(kopts[i].alias, name, len)))
            return (int)i;
    return -1;
}

int kopts_find_json(unsigned roles, const char *key)
{
    for (unsigned i = 0; i < n_kopts; i++)
        if (kopts[i].roles & roles && kopts[i].json && !strcasecmp(kopts[i].json, key))
            return (int)i;
    return -1;
}

const struct kopt_value *kopts_value(const struct kopts *o, const char *name)
{
    static const struct kopt_value none;
    int i = kopts_find(o->role, name, strlen(name));

    return i < 0 ? &none : &o->v[i];
}

const char *kopts_text(const struct kopts *o, const char *name)
{
    return kopts_value(o, name)->text;
}

/* ---- types ---- */

/* The base that a number names: 0b, 0o, 0x, or a 0 before other digits; skips such letters. */
static unsigned skip_base(const char **p)
{
    static const struct {
        char letter;
        unsigned base;
    } bases[] = {{'b', 2}, {'o', 8}, {'x', 16}};

    for (unsigned i = 0; **p == '0' && i < LEN(bases); i++)
        if (((*p)[1] | 0x20) == bases[i].letter) {
            *p += 2;
            return bases[i].base;
        }
    return **p == '0' ? 8 : 10;
}

static unsigned digit_of(char c)
{
    static const char digits[] = "0123456789abcdef";
    const char *at = strchr(digits, c >= 'A' && c <= 'F' ? c | 0x20 : c);

    return c && at ? (unsigned)(at - digits) : UINT_MAX;
}

/* A number as Go writes it: a sign, a base, digits, and an underscore between two of them or behind the base's letter.
 * False: it is none. *v: up to UINT64_MAX, which stands for all that is beyond. */
static bool read_number(const char *text, uint64_t *v)
{
    const char *p = text + (*text == '-' || *text == '+'), *digits = p;
    unsigned base = skip_base(&p), n = 0;
    bool may_part = p != digits; /* by an underscore */

    for (*v = 0; *p; p++) {
        unsigned d = digit_of(*p);

        if (*p == '_' ? !may_part : d >= base)
            return false;
        may_part = *p != '_';
        if (!may_part)
            continue;
        n++;
        *v = *v > (UINT64_MAX - d) / base ? UINT64_MAX : *v * base + d;
    }
    return n && may_part;
}

bool kopts_is_number(const char *text)
{
    uint64_t v;

    return read_number(text, &v);
}

bool kopts_int(const char *text, int64_t *n)
{
    uint64_t v;

    if (!read_number(text, &v) || v > (uint64_t)INT64_MAX + (*text == '-'))
        return false;
    *n = *text == '-' ? (int64_t)(0 - v) : (int64_t)v;
    return true;
}

static bool take_bool(const char *text, bool *b)
{
    static const char *const words[2][6] = {{"0", "f", "F", "false", "False", "FALSE"},
                                            {"1", "t", "T", "true", "True", "TRUE"}};

    for (unsigned i = 0; i < LEN(words[0]); i++)
        for (unsigned k = 0; k < 2; k++)
            if (!strcmp(text, words[k][i])) {
                *b = k;
                return true;
            }
    return false;
}

int kopts_set(struct kopts *o, int i, const char *text, const char *from)
{
    char number[24];
    int64_t n;
    char *copy;
    bool b;

    if (kopts[i].type == KOPT_INT) {
        if (!kopts_int(text, &n))
            return CONF_INVALID;
        snprintf(number, sizeof number, "%" PRId64, n);
        text = number;
    } else if (kopts[i].type == KOPT_BOOL) {
        if (!take_bool(text, &b))
            return CONF_INVALID;
        text = b ? "true" : "false";
    }
    copy = strdup(text);
    if (!copy)
        return err_here(-ENOMEM);
    kopts_forget(o, (unsigned)i);
    o->v[i] = (struct kopt_value){copy, from};
    return 0;
}

/* ---- help ---- */

/* "--datashard value, --ds value" */
static int put_names(const struct kopt *k, FILE *out)
{
    const char *value = k->type == KOPT_BOOL ? "" : " value";
    int n = fprintf(out, "   %s%s%s", k->name[1] ? "--" : "-", k->name, value);

    if (k->alias)
        n += fprintf(out, ", %s%s%s", k->alias[1] ? "--" : "-", k->alias, value);
    return n;
}

void kopts_help(const struct kopts *o, const char *version, FILE *out)
{
    enum { NAMES_WIDTH = 36 };

    fprintf(out,
            "NAME:\n   %s - the %s end of a kcptun tunnel (kcptund)\n\n"
            "USAGE:\n   %s [options]\n\nVERSION:\n   %s\n\nOPTIONS:\n",
            o->program, o->role == CONF_SERVER ? "server" : "client", o->program, version);
    for (unsigned i = 0; i < n_kopts; i++) {
        const struct kopt *k = &kopts[i];
        const char *def = k->def[o->role];
        int n;

        if (!(k->roles >> o->role & 1) || k->how & KOPT_HIDDEN)
            continue;
        n = put_names(k, out);
        fprintf(out, "%*s%s", n < NAMES_WIDTH ? NAMES_WIDTH - n : 1, "", k->help);
        if (def && *def)
            fprintf(out, k->type == KOPT_TEXT ? " (default: \"%s\")" : " (default: %s)", def);
        fputs(!strcmp(k->name, "key") ? " [$KCPTUN_KEY]\n" : "\n", out);
    }
}
