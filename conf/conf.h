/* conf/conf.h - a whole configuration: checked, immutable, printable. Opens no socket and resolves no name.
 * conf_load() reads INI (conf/ini.c) against the one table of keys (conf/schema.c), which --help, the printer and the
 * man page read too. */
#ifndef CONF_CONF_H
#define CONF_CONF_H

#include "conf/addr.h"

#include <stdbool.h>
#include <stdio.h>

enum conf_role { CONF_SERVER, CONF_CLIENT };
enum conf_io { CONF_IO_AUTO, CONF_IO_URING, CONF_IO_EPOLL };
enum conf_mode { CONF_NORMAL, CONF_FAST, CONF_FAST2, CONF_FAST3, CONF_MANUAL, CONF_AUTO };
enum conf_logformat { CONF_LOG_TEXT, CONF_LOG_JSON, CONF_LOG_KCPTUN };
enum conf_snmp { CONF_SNMP_2021, CONF_SNMP_2025 };
enum conf_loglevel { CONF_LOG_ERROR, CONF_LOG_WARNING, CONF_LOG_INFO, CONF_LOG_DEBUG };

#define CONF_DEFAULT_KEY "it's a secrect" /* kcptun's, spelled so */

struct conf_secret {              /* wiped by conf_free() */
    char *text;                   /* the passphrase (may hold any byte but NUL after unquoting) */
    char *file;                   /* keyfile it came from, or NULL */
};

enum { CONF_SERVERS_MAX = 16 };

struct conf_profile {
    char *name;
    enum conf_role role;
    char *file;                   /* where its section is */
    unsigned line;

    struct addr_text listen, target;         /* server */
    struct addr_text localaddr;              /* client */
    struct addr_text *remoteaddr;            /* by preference */
    unsigned n_remoteaddr;
    uint32_t failback;                       /* seconds; 0 = never */
    char *bind, *interface;                  /* client: source address, device; NULL: any */
    struct conf_secret key, oldkey;
    char *crypt;
    enum conf_mode mode;
    unsigned given;                          /* bit n: conf_ceilings[n], so that the mode has no say in it */
    bool pacing;                             /* of the other modes */
    uint32_t redundancy;                     /* `auto` */
    uint32_t nodelay, interval, resend, nc;  /* as the mode sets them; `manual`: as given;
                                              * `auto`: 0 */
    uint32_t mtu, sndwnd, rcvwnd, datashard, parityshard, paritysend, dscp;
    bool nocomp, acknodelay, quiet, qpp, tcp;
    uint32_t qppcount, qppgeneration;
    uint32_t smuxver;                        /* 1, 2; 0: auto */
    uint32_t smuxbuf, streambuf, framesize, sockbuf;
    uint32_t keepalive, closewait, dialtimeout; /* seconds */
    uint32_t peertimeout;                    /* seconds of silence, probes unanswered, after which a peer is gone */
    uint32_t conn, autoexpire, scavengettl;  /* client */
    uint64_t ratelimit;                      /* bytes per second; 0 = none */
    uint32_t maxsessions, maxsessionspersource, maxstreams;
    struct addr_block *allow, *deny;         /* server */
    unsigned n_allow, n_deny;
};

struct conf_global {
    unsigned workers;             /* 0: one per core */
    enum conf_io io;
    uint16_t *cpus;               /* cores to pin workers to; n_cpus 0: the allowed ones, one each */
    unsigned n_cpus;
    char *control, *stats;        /* paths of the control sockets: for all commands, for reading only; "" = none */
    struct addr_text metrics;     /* none: no metrics */
    char *log;                    /* "" = standard error */
    enum conf_logformat logformat;
    enum conf_loglevel loglevel;
    char *snmplog;                /* path with a date in Go's notation; "" = none */
    uint32_t snmpperiod;          /* seconds; 0 = none */
    enum conf_snmp snmpcolumns;
    uint64_t memory;              /* bytes for buffers, all workers; 0 = a quarter of what there is */
    uint32_t maxsessions;         /* 0 = none */
    uint32_t spin;                /* microseconds a worker looks for more before it sleeps */
    uint32_t draintime;           /* seconds that running streams get when the daemon is told to end */
    uint32_t upgradetime;         /* seconds that sessions get in the old process after an upgrade */
    bool watch;                   /* reload when a file has changed */
};

struct conf {
    struct conf_global global;
    struct conf_profile *profiles;
    unsigned n_profiles;
};

enum { CONF_INVALID = 1 };        /* struct conf_problems says what is wrong */

struct conf_problem {
    char *text;                   /* "FILE:LINE: what; accepted: range" */
    bool warning;                 /* the conf is usable all the same */
};
struct conf_problems {            /* zeroed: none */
    struct conf_problem *v;
    unsigned n, cap, n_errors;
};
void conf_problems_fini(struct conf_problems *ps);

/* Reads path (and what it includes) wholly, collecting every problem. 0 (*cp is the caller's), CONF_INVALID (see *ps),
 * -errno (unreadable; *ps says which). *ps may hold warnings on 0. */
int conf_load(struct conf **cp, const char *path, struct conf_problems *ps);
/* The same, noting what was read or looked for in *paths (which may hold some already), whatever the result. */
struct conf_paths;
int conf_load_noting(struct conf **cp, const char *path, struct conf_problems *ps, struct conf_paths *paths);
/* The same from memory, `name` standing for the file. Includes are refused. */
int conf_load_text(struct conf **cp, const char *name, struct bytes text, struct conf_problems *ps);
/* The same of one profile, from what is not INI. Its name is `name`, as is that of what was not given in messages. */
struct conf_setting {
    const char *key, *value;      /* of the profile or of [global]; each key once */
    const char *from;             /* who gave it, for messages */
};
int conf_load_settings(struct conf **cp, enum conf_role role, const char *name, const struct conf_setting *v, unsigned n,
                       struct conf_problems *ps);
struct conf *conf_free(struct conf *c);                       /* wipes secrets */

struct conf_paths {               /* zeroed: none. Files, and patterns of includes that hold a wildcard */
    char **v;
    unsigned n, cap;
};
void conf_paths_fini(struct conf_paths *p);

/* ---- copies (conf/copy.c) ---- */
int conf_copy(struct conf **cp, const struct conf *from);     /* 0, -ENOMEM */
/* dst is empty; on failure it is empty again. 0, -ENOMEM */
int conf_profile_copy(struct conf_profile *dst, const struct conf_profile *src);
void conf_profile_fini(struct conf_profile *p);               /* wipes secrets; zeroes */
/* Sets one live key to what text says, in one profile or, profile NULL, in [global], else in every profile that has the
 * key; then checks as conf_load() does. 0; CONF_INVALID: *ps says why, and c is of no more use; -ENOMEM. */
int conf_assign(struct conf *c, const char *profile, const char *key, const char *text, struct conf_problems *ps);
/* Prints INI that loads to an equal conf. Secrets read from a file are printed as keyfile, others as a comment unless
 * show_secrets. 0, -errno. */
int conf_print(const struct conf *c, FILE *out, bool show_secrets);
bool conf_equal(const struct conf *a, const struct conf *b);
/* Every key: section, name, default, range, when a change counts, help. For --help. */
void conf_help(FILE *out);
/* The same as the body of the man page's KEYS section (roff). */
void conf_man(FILE *out);

#endif
