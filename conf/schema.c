/* conf/schema.c - each key once: the parser, --help, the printer and the man page read this.
 * Names and defaults are the peers' (the program description, section 2), ranges and the last rows ours. */
#include "conf/schema.h"

#include "core/base/err.h"

#include <stdlib.h>
#include <string.h>

const char *const conf_ciphers[] = {"aes",     "aes-128", "aes-192", "aes-128-gcm", "salsa20", "blowfish",
                                    "twofish", "cast5",   "3des",    "tea",         "xtea",    "xor",
                                    "sm4",     "none",    "null",    NULL};
static const char *const modes[] = {"normal", "fast", "fast2", "fast3", "manual", "auto", NULL};
static const char *const ios[] = {"auto", "io_uring", "epoll", NULL};
static const char *const logformats[] = {"text", "json", "kcptun", NULL};
static const char *const smuxvers[] = {"auto", "1", "2", NULL}; /* in the order of struct conf_profile.smuxver */
static const char *const snmpcolumns[] = {"2021", "2025", NULL};
static const char *const loglevels[] = {"error", "warning", "info", "debug", NULL};

#define G(m)    offsetof(struct conf_global, m), 0
#define GN(m)   offsetof(struct conf_global, m), offsetof(struct conf_global, n_##m)
#define P(m)    offsetof(struct conf_profile, m), 0
#define PN(m)   offsetof(struct conf_profile, m), offsetof(struct conf_profile, n_##m)
#define NOTHING 0, 0
#define ANY     0, 0
#define BOTH(d)                                                                                                        \
    {                                                                                                                  \
        d, d                                                                                                           \
    }
#define LIVE    CONF_LIVE
#define NEW     CONF_NEW_SESSIONS
#define RESTART CONF_RESTART

/* A quarter of 2^32, so that sums of a few sizes still fit 32 bits. */
#define GIB    (1u << 30)
#define YEAR_S 31536000

/* clang-format off */
const struct conf_key conf_keys[] = {
    /* key, sections, type, field, min, max, default by role, words, counts from */
    {"workers", IN_GLOBAL, &conf_uint, G(workers), 0, 256, {"0"}, NULL, RESTART,
     "worker threads; 0 = one for each core the daemon may use"},
    {"io", IN_GLOBAL, &conf_enum, G(io), ANY, {"auto"}, ios, RESTART,
     "I/O backend; auto takes epoll, which measured faster; io_uring needs Linux 6.1 and permission"},
    {"cpus", IN_GLOBAL, &conf_cpus, GN(cpus), 0, 4095, {""}, NULL, RESTART,
     "cores to pin workers to, in this order; empty = those the daemon may use, if there are as many workers"},
    {"control", IN_GLOBAL, &conf_text, G(control), 0, 107, {""}, NULL, RESTART,
     "path of the control socket, for the owner and group kcptun; empty = none"},
    {"stats", IN_GLOBAL, &conf_text, G(stats), 0, 107, {""}, NULL, RESTART,
     "path of a second control socket, for everybody, that tells and changes nothing; empty = none"},
    {"metrics", IN_GLOBAL, &conf_maybe_stream, G(metrics), ANY, {""}, NULL, RESTART,
     "where Prometheus finds the counters, by HTTP at /metrics, for everybody who can connect; empty = nowhere"},
    {"log", IN_GLOBAL, &conf_text, G(log), 0, 4095, {""}, NULL, LIVE,
     "log file, or syslog; empty = standard error"},
    {"logformat", IN_GLOBAL, &conf_enum, G(logformat), ANY, {"text"}, logformats, LIVE,
     "form of a line of the log; json has an object with time, level and message in each, kcptun is what that program writes"},
    {"loglevel", IN_GLOBAL, &conf_enum, G(loglevel), ANY, {"info"}, loglevels, LIVE,
     "least grave message that is logged"},
    {"snmplog", IN_GLOBAL, &conf_text, G(snmplog), 0, 4095, {""}, NULL, LIVE,
     "file to which a row of counters is added every snmpperiod, as kcptun does; its name (not the directory) may hold a "
     "date in Go's notation, as in snmp-20060102.csv; empty = none"},
    {"snmpperiod", IN_GLOBAL, &conf_uint, G(snmpperiod), 0, YEAR_S, {"60"}, NULL, LIVE,
     "seconds between rows of snmplog; 0 = none"},
    {"snmpcolumns", IN_GLOBAL, &conf_enum, G(snmpcolumns), ANY, {"2021"}, snmpcolumns, LIVE,
     "columns of a new snmplog, and of what USR1 logs in logformat kcptun: those of kcptun 20210922, or of its last "
     "releases; a file that is there goes on as it began"},
    {"spin", IN_GLOBAL, &conf_uint, G(spin), 0, 1000, {"0"}, NULL, RESTART,
     "microseconds a worker goes on looking for work before it sleeps: buys latency with CPU time; 50 is a good start. "
     "Not with more workers than cores"},
    {"memory", IN_GLOBAL, &conf_size64, G(memory), 0, 1ull << 44, {"0"}, NULL, RESTART,
     "bytes for buffers of all workers, at least 16M; 0 = a quarter of the machine's memory, or of what its cgroup has"},
    {"maxsessions", IN_GLOBAL, &conf_uint, G(maxsessions), 0, 1048576, {"0"}, NULL, LIVE,
     "most sessions at one time in the whole daemon; 0 = no limit"},
    {"draintime", IN_GLOBAL, &conf_uint, G(draintime), 0, 86400, {"10"}, NULL, LIVE,
     "seconds that running streams get to end by themselves when the daemon is told to end"},
    {"upgradetime", IN_GLOBAL, &conf_uint, G(upgradetime), 0, 604800, {"3600"}, NULL, LIVE,
     "seconds that sessions get to end by themselves in the old process after an upgrade"},
    {"watch", IN_GLOBAL, &conf_bool, G(watch), ANY, {"true"}, NULL, LIVE,
     "reload when the configuration or a file it names has changed, and rested for a second"},
    {"include", IN_GLOBAL, &conf_include, NOTHING, ANY, {NULL}, NULL, LIVE,
     "more files to read; wildcards are allowed, a relative path starts at this file's directory. The one key "
     "that may be repeated"},

    {"listen", IN_SERVER, &conf_udp, P(listen), ANY, {":29900", NULL}, NULL, LIVE,
     "UDP address, or port range, to accept sessions on"},
    {"target", IN_SERVER, &conf_stream, P(target), ANY, {"127.0.0.1:12948", NULL}, NULL, LIVE,
     "where streams are connected to"},
    {"localaddr", IN_CLIENT, &conf_stream, P(localaddr), ANY, {NULL, ":12948"}, NULL, LIVE,
     "address to accept local connections on"},
    {"remoteaddr", IN_CLIENT, &conf_servers, PN(remoteaddr), 1, CONF_SERVERS_MAX, {NULL, "vps:29900"}, NULL, NEW,
     "the server, or several, the preferred one first; of a port range every session draws one"},
    {"failback", IN_CLIENT, &conf_uint, P(failback), 0, 86400, {NULL, "30"}, NULL, NEW,
     "seconds after which a client that had to take another server tries the preferred ones again; 0 = it stays"},
    {"bind", IN_CLIENT, &conf_ip, P(bind), ANY, {NULL, ""}, NULL, NEW,
     "source address of sessions; empty = the system's choice"},
    {"interface", IN_CLIENT, &conf_device, P(interface), ANY, {NULL, ""}, NULL, NEW,
     "network device of sessions; empty = the system's choice"},
    {"key", IN_BOTH, &conf_secret, P(key), ANY, BOTH(CONF_DEFAULT_KEY), NULL, NEW,
     "passphrase; the same at both ends"},
    {"keyfile", IN_BOTH, &conf_keyfile, P(key), 1, 4096, BOTH(NULL), NULL, NEW,
     "file that holds the passphrase, instead of key; one line end at its end is not part of it"},
    {"oldkey", IN_BOTH, &conf_secret, P(oldkey), ANY, BOTH(NULL), NULL, NEW,
     "a second passphrase that is still accepted while the other ends move"},
    {"oldkeyfile", IN_BOTH, &conf_keyfile, P(oldkey), 1, 4096, BOTH(NULL), NULL, NEW,
     "file that holds it, instead of oldkey"},
    {"crypt", IN_BOTH, &conf_word, P(crypt), ANY, BOTH("aes"), conf_ciphers, NEW,
     "packet cipher; the same at both ends"},
    {"qpp", IN_BOTH, &conf_bool, P(qpp), ANY, BOTH("false"), NULL, NEW,
     "permutation pads over the bytes of each stream, beside crypt; the same at both ends, as are the next two keys"},
    {"qppcount", IN_BOTH, &conf_uint, P(qppcount), 1, 65535, BOTH("61"), NULL, NEW,
     "with qpp: number of pads, 512 bytes each; a prime of 7 or more is best"},
    {"qppgeneration", IN_BOTH, &conf_uint, P(qppgeneration), 1, 3, BOTH("3"), NULL, NEW,
     "with qpp: which of three algorithms. 1 = kcptun until 20251212, 2 = kcptun 20251219, 3 = later ones"},
    {"mode", IN_BOTH, &conf_enum, P(mode), ANY, BOTH("auto"), modes, LIVE,
     "auto measures the path, paces, and sends again what is lost; the others are kcptun's presets of nodelay, interval, "
     "resend and nc, and manual takes the four keys"},
    {"pacing", IN_BOTH, &conf_bool, P(pacing), ANY, BOTH("false"), NULL, LIVE,
     "other modes than auto: spread a window over the round-trip time instead of sending it in bursts; auto always does"},
    {"redundancy", IN_BOTH, &conf_uint, P(redundancy), 1, 10, BOTH("3"), NULL, LIVE,
     "mode auto: most bytes of a flow of small messages, as a multiple of what it needs, so that lost ones need not wait for "
     "repair; 1 = nothing is sent twice"},
    {"nodelay", IN_BOTH, &conf_uint, P(nodelay), 0, 2, BOTH("0"), NULL, LIVE,
     "mode manual: retransmission timer, 0 = normal, 1 = eager, 2 = most eager"},
    {"interval", IN_BOTH, &conf_uint, P(interval), 10, 5000, BOTH("50"), NULL, LIVE,
     "mode manual: ms between flushes"},
    {"resend", IN_BOTH, &conf_uint, P(resend), 0, 1000, BOTH("0"), NULL, LIVE,
     "mode manual: later acknowledgements after which a segment is sent again; 0 = timer only"},
    {"nc", IN_BOTH, &conf_uint, P(nc), 0, 1, BOTH("0"), NULL, LIVE,
     "mode manual: 1 = no congestion window"},
    {"mtu", IN_BOTH, &conf_uint, P(mtu), 128, 1500, BOTH("1350"), NULL, NEW,
     "bytes of one UDP payload"},
    {"sndwnd", IN_BOTH, &conf_uint, P(sndwnd), 1, 32768, {"1024", "128"}, NULL, LIVE,
     "send window, packets. Mode auto: a ceiling, 32768 unless given"},
    {"rcvwnd", IN_BOTH, &conf_uint, P(rcvwnd), 1, 32768, {"1024", "512"}, NULL, LIVE,
     "receive window, packets. Mode auto: a ceiling, 32768 unless given"},
    {"datashard", IN_BOTH, &conf_uint, P(datashard), 0, 255, BOTH("10"), NULL, NEW,
     "FEC data shards of a group; 0 = no FEC"},
    {"parityshard", IN_BOTH, &conf_uint, P(parityshard), 0, 255, BOTH("3"), NULL, NEW,
     "FEC parity shards of a group; 0 = no FEC"},
    {"paritysend", IN_BOTH, &conf_uint, P(paritysend), 0, 255, BOTH("255"), NULL, LIVE,
     "of the parity shards of a group, at most so many are sent: less without a change of the shape"},
    {"dscp", IN_BOTH, &conf_uint, P(dscp), 0, 63, BOTH("0"), NULL, LIVE,
     "DSCP of outgoing packets"},
    {"tcp", IN_BOTH, &conf_bool, P(tcp), ANY, BOTH("false"), NULL, NEW,
     "packets look like TCP, for paths that block UDP; needs CAP_NET_RAW and CAP_NET_ADMIN, at both ends. A server serves UDP as well"},
    {"nocomp", IN_BOTH, &conf_bool, P(nocomp), ANY, BOTH("false"), NULL, NEW,
     "no compression; the same at both ends"},
    {"acknodelay", IN_BOTH, &conf_bool, P(acknodelay), ANY, BOTH("false"), NULL, LIVE,
     "accepted for kcptun's sake: acknowledgements leave at once in any case"},
    {"quiet", IN_BOTH, &conf_bool, P(quiet), ANY, BOTH("false"), NULL, LIVE,
     "no message for each stream"},
    {"smuxver", IN_BOTH, &conf_enum, P(smuxver), ANY, {"auto", "2"}, smuxvers, NEW,
     "multiplexer version; the same at both ends (kcptun before November 2025 defaults to 1). With auto a server takes that of "
     "each client's first frame; a client finds out which one its server reads"},
    {"smuxbuf", IN_BOTH, &conf_size, P(smuxbuf), 4096, GIB, BOTH("4194304"), NULL, NEW,
     "receive buffer of a session. Mode auto: a ceiling, 64M unless given"},
    {"streambuf", IN_BOTH, &conf_size, P(streambuf), 4096, GIB, BOTH("2097152"), NULL, NEW,
     "receive buffer of a stream (smuxver 2); at most smuxbuf. Mode auto: a ceiling, 16M unless given"},
    {"framesize", IN_BOTH, &conf_size, P(framesize), 128, 65535, BOTH("8192"), NULL, NEW,
     "most payload of one multiplexer frame"},
    {"sockbuf", IN_BOTH, &conf_size, P(sockbuf), 4096, GIB - 1, BOTH("4194304"), NULL, LIVE,
     "UDP socket buffers"},
    {"keepalive", IN_BOTH, &conf_uint, P(keepalive), 1, 29, BOTH("10"), NULL, LIVE,
     "seconds between keepalives; the other end gives up after 30 s without any"},
    {"closewait", IN_BOTH, &conf_uint, P(closewait), 0, 3600, {"30", "0"}, NULL, LIVE,
     "seconds a stream lives on when one direction has ended"},
    {"dialtimeout", IN_BOTH, &conf_uint, P(dialtimeout), 1, 300, BOTH("10"), NULL, LIVE,
     "seconds until an attempt to connect to the target, or to resolve a name, fails"},
    {"peertimeout", IN_BOTH, &conf_uint, P(peertimeout), 3, 3600, BOTH("10"), NULL, LIVE,
     "seconds of silence, with probes unanswered, after which the other end is gone"},
    {"conn", IN_CLIENT, &conf_uint, P(conn), 1, 65535, {NULL, "1"}, NULL, LIVE,
     "sessions to spread connections over. Mode auto: up to 3 more come and go by themselves, so that interactive streams "
     "and bulk keep apart; else connections take turns"},
    {"autoexpire", IN_CLIENT, &conf_uint, P(autoexpire), 0, YEAR_S, {NULL, "0"}, NULL, NEW,
     "seconds after which a session gets no new streams; 0 = never"},
    {"scavengettl", IN_CLIENT, &conf_uint, P(scavengettl), 0, YEAR_S, {NULL, "600"}, NULL, NEW,
     "seconds an expired session may still live"},
    {"ratelimit", IN_BOTH, &conf_size64, P(ratelimit), 0, 1ull << 40, BOTH("0"), NULL, LIVE,
     "outgoing bytes per second of a session; 0 = no limit"},
    {"maxsessions", IN_BOTH, &conf_uint, P(maxsessions), 0, 1048576, BOTH("0"), NULL, LIVE,
     "most sessions of the profile at one time; 0 = no limit"},
    {"maxsessionspersource", IN_SERVER, &conf_uint, P(maxsessionspersource), 0, 1048576, {"4096", NULL}, NULL, LIVE,
     "most sessions of one source address; 0 = no limit"},
    {"maxstreams", IN_BOTH, &conf_uint, P(maxstreams), 0, 1048576, BOTH("16384"), NULL, LIVE,
     "most streams of a session at one time; 0 = no limit"},
    {"allow", IN_SERVER, &conf_blocks, PN(allow), 0, 4096, {"", NULL}, NULL, LIVE,
     "sources that may open sessions; empty = all"},
    {"deny", IN_SERVER, &conf_blocks, PN(deny), 0, 4096, {"", NULL}, NULL, LIVE,
     "sources that may not, even where allow names them"},
};
/* clang-format on */
const unsigned conf_n_keys = LEN(conf_keys);
_Static_assert(LEN(conf_keys) <= CONF_KEYS_MAX, "raise CONF_KEYS_MAX");

/* Enough for 1 Gbit/s over 100 ms while packets are lost. */
const struct conf_ceiling conf_ceilings[] = {
    {"sndwnd", "32768"}, {"rcvwnd", "32768"}, {"smuxbuf", "67108864"}, {"streambuf", "16777216"}};
const unsigned conf_n_ceilings = LEN(conf_ceilings);

const struct conf_key *conf_key_find(const char *name, unsigned where)
{
    for (unsigned i = 0; i < conf_n_keys; i++)
        if ((conf_keys[i].where & where) && !strcmp(conf_keys[i].name, name))
            return &conf_keys[i];
    return NULL;
}

const char *conf_when_text(enum conf_when w)
{
    static const char *const texts[] = {[LIVE] = "live", [NEW] = "new sessions", [RESTART] = "restart"};

    return texts[w];
}

bool conf_key_may_be_set(const struct conf_key *k)
{
    return k->when == LIVE && k->type->size && !k->type->secret;
}
