/* tools/ctl_doctor.c - from facts to findings. Each check is a function and a row; a test provokes every one. */
#include "tools/ctl_doctor.h"

#include "core/base/bytes.h"
#include "tools/ctl_text.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    FILES_FEW = 4096, /* a server with some hundred users needs more */
    KEY_BITS_MIN = 64, /* below, a captured packet and rented machines find a passphrase */
    RECENT_S = 600, /* a setting that did not fit longer ago may have been changed since */
    UDP_OVERHEAD_V4 = 28, /* IP and UDP headers; the path's MTU counts them */
};

struct judge { /* what a check sees, and where it says */
    const json_t *facts, *t; /* t: one tunnel of facts; NULL in checks of the whole daemon */
    const struct doctor_machine *m;
    const char *check;
    struct doctor_findings *out;
};

const char *doctor_severity_name(enum doctor_severity s)
{
    static const char *const names[] = {[DOCTOR_NOTE] = "note", [DOCTOR_WARNING] = "warning", [DOCTOR_ERROR] = "error"};

    return names[s];
}

static json_int_t num(const struct judge *j, const char *key)
{
    return ctl_num(j->t ? j->t : j->facts, key);
}

static const char *name(const struct judge *j)
{
    return ctl_str(j->t, "name");
}

/* A new finding whose why and todo are constants or empty; NULL: out of memory. */
static struct doctor_finding *find(const struct judge *j, enum doctor_severity s, const char *why, const char *todo)
{
    struct doctor_findings *out = j->out;
    struct doctor_finding *f;

    if (out->n == out->cap) {
        size_t cap = out->cap ? out->cap * 2 : 8;

        f = reallocarray(out->v, cap, sizeof *f);
        if (!f)
            return NULL;
        out->v = f;
        out->cap = cap;
    }
    f = &out->v[out->n++];
    *f = (struct doctor_finding){.severity = s, .check = j->check};
    snprintf(f->why, sizeof f->why, "%s", why);
    snprintf(f->todo, sizeof f->todo, "%s", todo);
    return f;
}

static void say(char *out, size_t size, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

static void say(char *out, size_t size, const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(out, size, fmt, ap);
    va_end(ap);
}

#define SAY(f, member, ...)                                                                                            \
    do {                                                                                                               \
        if (f)                                                                                                         \
            say((f)->member, sizeof(f)->member, __VA_ARGS__);                                                          \
    } while (0)

/* ---- the machine and the process ---- */

static void check_files(const struct judge *j)
{
    const json_t *files = json_object_get(j->facts, "files");
    long long limit = ctl_num(files, "limit"), open = ctl_num(files, "open");
    bool full = open > limit / 5 * 4;
    struct doctor_finding *f;

    if (!json_is_object(files) || (limit >= FILES_FEW && !full))
        return;
    f = find(j, full ? DOCTOR_ERROR : DOCTOR_WARNING,
             "every stream takes a descriptor; without one, new streams and connections are refused",
             "LimitNOFILE=1048576 in the unit ([Service]), or `ulimit -n` before a start by hand; then restart");
    SAY(f, what, "%lld of %lld file descriptors are in use", open, limit);
}

static void check_io(const struct judge *j)
{
    bool off = j->m->uring_disabled > 0;
    struct doctor_finding *f;

    if (!json_is_false(json_object_get(j->facts, "io_uring")))
        return;
    f = find(j, DOCTOR_NOTE,
             "nothing is lost: epoll, which io = auto takes, is no slower; but io = io_uring would not start",
             off ? "sysctl kernel.io_uring_disabled=0, if it is wanted"
                 : "Linux 6.1 or later, and a container that permits io_uring_setup(2), if it is wanted");
    SAY(f, what, "io_uring is not usable here%s", off ? ": kernel.io_uring_disabled is set" : "");
}

static void check_machine_drops(const struct judge *j)
{
    struct doctor_finding *f;

    if (j->m->rcvbuf_errors <= 0)
        return;
    f = find(
        j, DOCTOR_NOTE,
        "it counts every program of this machine since it started; drops of this daemon's own sockets are told apart "
        "where they happen",
        "look whether it grows: nstat -az UdpRcvbufErrors; if so, and no profile is named here, it is another program");
    SAY(f, what, "the kernel has dropped %lld datagrams because a receive buffer was full", j->m->rcvbuf_errors);
}

static void check_clock(const struct judge *j)
{
    const json_t *c = json_object_get(j->facts, "clock");
    long long jumps = ctl_num(c, "jumps"), sleeps = ctl_num(c, "sleeps");
    char ago[CTL_TEXT];
    struct doctor_finding *f;

    if (jumps) {
        f = find(j, DOCTOR_WARNING,
                 "tunnels go by another clock and do not mind; the times in logs and metrics do not fit together there",
                 "let chrony or systemd-timesyncd slew the clock; on a virtual machine look at its host's");
        SAY(f, what, "the clock was set %lld time%s, last by %+.1f s, %s ago", jumps, jumps == 1 ? "" : "s",
            (double)ctl_num(c, "jump_ms") / 1000, ctl_duration(ctl_num(c, "jump_age_s"), ago));
    }
    if (sleeps) {
        f = find(j, DOCTOR_WARNING, "every session's peer has given it up meanwhile",
                 "if this is a server, keep the machine from suspending; on a virtual machine, its host");
        SAY(f, what, "the machine slept %lld time%s, last %s ago", sleeps, sleeps == 1 ? "" : "s",
            ctl_duration(ctl_num(c, "sleep_age_s"), ago));
    }
}

static void check_conf(const struct judge *j)
{
    struct doctor_finding *f;

    if (!json_object_get(j->facts, "conf_error"))
        return;
    f = find(j, DOCTOR_ERROR, "what runs is the configuration from before; a restart would fail",
             "correct the file; `kcptunctl check FILE` shows every mistake; then `kcptunctl reload`");
    SAY(f, what, "the configuration was not taken over: %s", ctl_str(j->facts, "conf_error"));
}

/* ---- a tunnel's sockets ---- */

static void check_sockbuf(const struct judge *j)
{
    long long asked = num(j, "sockbuf"), in = num(j, "rcvbuf"), out = num(j, "sndbuf"), least = MIN(in, out);
    struct doctor_finding *f;

    if (!num(j, "sockets") || least >= asked)
        return;
    f = find(j, DOCTOR_WARNING, "a burst that finds no room is lost, and looks like a link that loses packets", "");
    SAY(f, what, "%s: the kernel gives sockets %lld of %lld bytes of buffer (limits: rmem_max %lld, wmem_max %lld)",
        name(j), least, asked, j->m->rmem_max, j->m->wmem_max);
    SAY(f, todo,
        "printf 'net.core.rmem_max=%lld\\nnet.core.wmem_max=%lld\\n' > /etc/sysctl.d/60-kcptun.conf; sysctl --system; "
        "then restart; or a smaller sockbuf",
        asked, asked);
}

static void check_drops(const struct judge *j)
{
    struct doctor_finding *f;

    if (!num(j, "drops"))
        return;
    f = find(j, DOCTOR_WARNING, "this is loss made here, and each of them is sent again",
             "raise sockbuf (and net.core.rmem_max with it); look with `kcptunctl stats` and top(1) whether a worker's "
             "core is "
             "busy all the time: then more workers");
    SAY(f, what, "%s: the kernel dropped %lld datagrams because a receive buffer was full", name(j),
        (long long)num(j, "drops"));
}

static void check_offload(const struct judge *j)
{
    struct doctor_finding *f;

    if (num(j, "no_gro")) {
        f = find(j, DOCTOR_WARNING, "datagrams come one by one, which costs several times the CPU time",
                 "UDP_GRO takes Linux 5.0 or later; a seccomp filter or an emulated kernel (gVisor) may refuse it");
        SAY(f, what, "%s: %lld sockets without UDP_GRO", name(j), (long long)num(j, "no_gro"));
    }
    if (num(j, "no_gso")) {
        f = find(
            j, DOCTOR_NOTE, "datagrams to them leave one by one, which costs several times the CPU time",
            "ethtool -K DEV tx-checksum-ip-generic on tx-udp-segmentation on; a tunnel device (WireGuard, ipip) may "
            "not have it");
        SAY(f, what, "%s: the path of %lld of %lld sessions refuses UDP_SEGMENT", name(j), (long long)num(j, "no_gso"),
            (long long)num(j, "sessions"));
    }
}

/* ---- a tunnel's secrecy ---- */

static void check_key(const struct judge *j)
{
    static const char todo[] =
        "kcptunctl genkey /etc/kcptun.key; keyfile = /etc/kcptun.key at both ends; oldkey lets clients "
        "move one by one";
    struct doctor_finding *f;

    if (ctl_is(j->t, "default_key")) {
        f = find(j, DOCTOR_ERROR, "everybody knows it: anybody can read the tunnel and use it", todo);
        SAY(f, what, "%s: the passphrase is kcptun's default", name(j));
    } else if (num(j, "key_bits") < KEY_BITS_MIN) {
        f = find(j, DOCTOR_WARNING, "who has captured one packet can try passphrases as fast as his machines go", todo);
        SAY(f, what, "%s: the passphrase is short: worth %lld bits at most", name(j), (long long)num(j, "key_bits"));
    }
}

static const struct {
    const char *crypt;
    enum doctor_severity severity;
    const char *why;
} weak[] = {
    {"null", DOCTOR_ERROR,
     "nothing is encrypted or checked: anybody can read and use the tunnel, and flipped bits pass"},
    {"none", DOCTOR_ERROR, "nothing is encrypted: anybody can read and use the tunnel"},
    {"xor", DOCTOR_ERROR, "it hides nothing from who looks at two packets"},
    {"tea", DOCTOR_WARNING, "it has known weaknesses, blocks of 64 bits, and is slow"},
    {"xtea", DOCTOR_WARNING, "blocks of 64 bits repeat within hours of traffic, and it is slow"},
    {"3des", DOCTOR_WARNING, "blocks of 64 bits repeat within hours of traffic, and it is slow"},
    {"blowfish", DOCTOR_WARNING, "blocks of 64 bits repeat within hours of traffic"},
    {"cast5", DOCTOR_WARNING, "blocks of 64 bits repeat within hours of traffic"},
};

static void check_cipher(const struct judge *j)
{
    const char *crypt = ctl_str(j->t, "crypt");

    for (size_t i = 0; i < LEN(weak); i++) {
        struct doctor_finding *f;

        if (strcmp(crypt, weak[i].crypt) != 0)
            continue;
        f = find(j, weak[i].severity, weak[i].why,
                 "crypt = aes-128-gcm at both ends (with a kcptun before 2024: aes); it is faster, too");
        SAY(f, what, "%s: crypt = %s", name(j), crypt);
    }
}

/* ---- a tunnel's peers ---- */

static void check_strangers(const struct judge *j)
{
    const json_t *s;
    size_t i;

    json_array_foreach(json_object_get(j->t, "strangers"), i, s)
    {
        char ago[CTL_TEXT];
        struct doctor_finding *f =
            find(j, DOCTOR_WARNING, "its key or crypt is another than here; or somebody tries what is behind the port",
                 "compare key and crypt of both ends (trailing blanks and line ends of key files count); if it is "
                 "nobody you "
                 "know: deny = ADDRESS, or a packet filter");

        SAY(f, what, "%s: none of %lld datagrams from %s could be opened, the last %s ago", name(j),
            (long long)ctl_num(s, "datagrams"), ctl_str(s, "from"), ctl_duration(ctl_num(s, "age_s"), ago));
    }
}

/* What the daemon saw of the other ends' settings; another key is told by check_strangers(). */
static void check_mismatch(const struct judge *j)
{
    const json_t *s;
    size_t i;

    json_array_foreach(json_object_get(j->t, "findings"), i, s)
    {
        bool silent = !strcmp(ctl_str(s, "kind"), "no-answer");
        long long count = ctl_num(s, "count");
        char ago[CTL_TEXT];
        struct doctor_finding *f;

        if (!strcmp(ctl_str(s, "kind"), "key") || ctl_num(s, "last_s") > RECENT_S)
            continue;
        f = find(j, DOCTOR_WARNING, ctl_str(s, "text"),
                 silent ? "look at its end: does it run, do packet filters let UDP pass, and if it is a kcptund, what "
                          "do its log and `kcptunctl doctor` say there"
                        : "change one end; new sessions follow it");
        SAY(f, what, "%s: the other end at %s %s (%lld time%s, the last %s ago)", name(j), ctl_str(s, "from"),
            silent ? "says nothing" : "does not fit", count, count == 1 ? "" : "s",
            ctl_duration(ctl_num(s, "last_s"), ago));
    }
}

static void check_mtu(const struct judge *j)
{
    const json_t *send = json_object_get(json_object_get(j->t, "trouble"), "send");
    long long mtu = num(j, "mtu"), path = num(j, "mtu_path");
    struct doctor_finding *f;

    if (path && mtu + UDP_OVERHEAD_V4 > path) {
        f = find(j, DOCTOR_ERROR, "full datagrams do not fit: what is bigger than a keystroke gets stuck", "");
        SAY(f, what, "%s: mtu = %lld, but the path carries %lld bytes, %d of them IP and UDP headers", name(j), mtu,
            path, UDP_OVERHEAD_V4);
        SAY(f, todo, "mtu = %lld", path - UDP_OVERHEAD_V4 - 20); /* would do for IPv6, too */
    } else if (ctl_is(send, "too_big")) {
        f = find(j, DOCTOR_ERROR, "full datagrams do not fit: what is bigger than a keystroke gets stuck",
                 "lower mtu, 1200 passes nearly everywhere; `ping -M do -s 1322 HOST` tries a size");
        SAY(f, what, "%s: the kernel refused datagrams as too big for the path", name(j));
    } else if (num(j, "stalled")) {
        f = find(
            j, DOCTOR_WARNING, "small packets pass and full ones do not, as where a router drops what does not fit",
            "lower mtu at both ends, 1200 passes nearly everywhere; `ping -M do -s 1322 HOST` tries a size. If that is "
            "not it, the other end is overloaded");
        SAY(f, what, "%s: the peers of %lld of %lld sessions answer, but have acknowledged nothing for seconds",
            name(j), (long long)num(j, "stalled"), (long long)num(j, "sessions"));
    }
}

static void check_dial(const struct judge *j)
{
    const json_t *dial = json_object_get(json_object_get(j->t, "trouble"), "dial");
    bool server = !strcmp(ctl_str(j->t, "role"), "server");
    char ago[CTL_TEXT], often[CTL_TEXT] = "";
    struct doctor_finding *f;

    if (!dial)
        return;
    if (num(j, "dial_errors")) /* a client counts what it could not hold on to: none, while nobody connects */
        say(often, sizeof often, ", %lld in all", (long long)num(j, "dial_errors"));
    f = find(j, DOCTOR_ERROR, "streams are reset, which users see as refused connections",
             server ? "is the program behind `target` running, and does it listen on that address? ss -ltn tells"
                    : "does `remoteaddr` name the server, does its name resolve here, and is there a route?");
    SAY(f, what, "%s: %s %s cannot be reached: %s (%s ago%s)", name(j), server ? "the target" : "the server",
        ctl_str(j->t, "to"), ctl_str(dial, "why"), ctl_duration(ctl_num(dial, "age_s"), ago), often);
}

static void check_send(const struct judge *j)
{
    const json_t *send = json_object_get(json_object_get(j->t, "trouble"), "send");
    char ago[CTL_TEXT];
    struct doctor_finding *f;

    if (!send || ctl_is(send, "too_big"))
        return;
    f = find(
        j, DOCTOR_WARNING, "they are lost, and sent again later",
        "\"Operation not permitted\": a packet filter's output chain or a full conntrack table (nf_conntrack_max); "
        "\"Network is unreachable\": routes; \"No buffer space\": the device's queue");
    SAY(f, what, "%s: the kernel did not take datagrams: %s (%s ago, %lld in all)", name(j), ctl_str(send, "why"),
        ctl_duration(ctl_num(send, "age_s"), ago), (long long)num(j, "send_drops"));
}

static const struct check {
    const char *name;
    bool each; /* tunnel */
    void (*look)(const struct judge *j);
} checks[] = {
    {"conf", false, check_conf},
    {"files", false, check_files},
    {"io", false, check_io},
    {"machine-drops", false, check_machine_drops},
    {"clock", false, check_clock},
    {"sockbuf", true, check_sockbuf},
    {"drops", true, check_drops},
    {"offload", true, check_offload},
    {"key", true, check_key},
    {"cipher", true, check_cipher},
    {"strangers", true, check_strangers},
    {"mismatch", true, check_mismatch},
    {"mtu", true, check_mtu},
    {"dial", true, check_dial},
    {"send", true, check_send},
};

void doctor_examine(const json_t *facts, const struct doctor_machine *m, struct doctor_findings *out)
{
    const json_t *t;
    size_t i;

    for (size_t k = 0; k < LEN(checks); k++) {
        struct judge j = {.facts = facts, .m = m, .check = checks[k].name, .out = out};

        if (!checks[k].each) {
            checks[k].look(&j);
            continue;
        }
        json_array_foreach(json_object_get(facts, "tunnels"), i, t)
        {
            j.t = t;
            checks[k].look(&j);
        }
    }
}

void doctor_findings_fini(struct doctor_findings *f)
{
    free(f->v);
    *f = (struct doctor_findings){0};
}

/* ---- the machine ---- */

static long long read_number(const char *proc, const char *path)
{
    char file[512];
    long long n = -1;
    FILE *f;

    snprintf(file, sizeof file, "%s/%s", proc, path);
    f = fopen(file, "re");
    if (f) {
        if (fscanf(f, "%lld", &n) != 1)
            n = -1;
        fclose(f);
    }
    return n;
}

/* Of "Udp: InDatagrams ..." and the line of numbers below it, the one under `column`. */
static long long read_udp(const char *proc, const char *column)
{
    char file[512], heads[1024], values[1024];
    char *h, *v, *hs = NULL, *vs = NULL;
    long long n = -1;
    FILE *f;

    snprintf(file, sizeof file, "%s/net/snmp", proc);
    f = fopen(file, "re");
    while (f && n < 0 && fgets(heads, sizeof heads, f)) {
        if (strncmp(heads, "Udp: ", 5) != 0 || !fgets(values, sizeof values, f))
            continue;
        h = strtok_r(heads, " \n", &hs);
        v = strtok_r(values, " \n", &vs);
        while (h && v && strcmp(h, column) != 0) {
            h = strtok_r(NULL, " \n", &hs);
            v = strtok_r(NULL, " \n", &vs);
        }
        n = h && v ? strtoll(v, NULL, 10) : 0;
    }
    if (f)
        fclose(f);
    return n;
}

void doctor_machine_read(struct doctor_machine *m, const char *proc)
{
    m->rmem_max = read_number(proc, "sys/net/core/rmem_max");
    m->wmem_max = read_number(proc, "sys/net/core/wmem_max");
    m->uring_disabled = read_number(proc, "sys/kernel/io_uring_disabled");
    m->rcvbuf_errors = read_udp(proc, "RcvbufErrors");
}
