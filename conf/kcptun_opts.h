/* conf/kcptun_opts.h - kcptun's options of both roles: one table that the command line (kcptun_args.c), the JSON reader
 * (json.c) and the help share; and what was given, on its way to a struct conf. Names, types and defaults are those of
 * kcptun of January 2026 (the program description, section 2); what it accepts but cannot work is refused. */
#ifndef CONF_KCPTUN_OPTS_H
#define CONF_KCPTUN_OPTS_H

#include "conf/conf.h"

enum kopt_type { KOPT_TEXT, KOPT_INT, KOPT_BOOL };

struct kopt {
    const char *name, *alias;     /* alias NULL: none */
    const char *json;             /* key in a JSON file; NULL: none */
    enum kopt_type type;
    unsigned roles;               /* 1 << enum conf_role */
    const char *def[2];           /* by role; NULL: false, or none */
    const char *key;              /* of our configuration, of the profile or of [global]; NULL: none */
    unsigned how;                 /* KOPT_ bits */
    const char *help;
};

enum {
    KOPT_HIDDEN = 1,              /* works, but the help does not list it */
    KOPT_LOW = 2, KOPT_HIGH = 4,  /* below or above the range kcptun takes the end of it: so do we, and warn */
    KOPT_CLAMPED = KOPT_LOW | KOPT_HIGH,
    KOPT_MANUAL = 8,              /* counts in mode manual alone */
};

enum { KOPTS_MAX = 64 };
extern const struct kopt kopts[];
extern const unsigned n_kopts;

struct kopt_value {
    char *text;                   /* NULL: not given. Whole numbers in decimal, truth as true or false */
    const char *from;             /* who gave it, for messages; borrowed */
};

struct kopts {
    enum conf_role role;
    const char *program;          /* for messages; borrowed */
    struct kopt_value v[KOPTS_MAX]; /* by row of the table */
};

void kopts_init(struct kopts *o, enum conf_role role, const char *program);
void kopts_fini(struct kopts *o);                     /* wipes */
/* Row of a name or alias of this role, len bytes; -1: none. */
int kopts_find(enum conf_role role, const char *name, size_t len);
int kopts_find_json(unsigned roles, const char *key);  /* whatever the case of its letters; -1: none */
const struct kopt_value *kopts_value(const struct kopts *o, const char *name); /* one not given: of no such option */
const char *kopts_text(const struct kopts *o, const char *name);               /* NULL: not given */
bool kopts_int(const char *text, int64_t *n);          /* as KOPT_INT; false: it is none, or too large */
bool kopts_is_number(const char *text);                /* as KOPT_INT, however large */
/* Takes text for row i, in place of what was there. 0; CONF_INVALID: not of its type, nothing changes; -ENOMEM. */
int kopts_set(struct kopts *o, int i, const char *text, const char *from);
void kopts_forget(struct kopts *o, unsigned i);       /* as if it had not been given; wipes */
/* What --help prints. */
void kopts_help(const struct kopts *o, const char *version, FILE *out);

/* ---- command line (kcptun_args.c) ---- */
enum { KOPTS_HELP = 2, KOPTS_VERSION };               /* beside CONF_INVALID */
/* argv[0] is not looked at. 0; CONF_INVALID with the reason in why, as kcptun words it; KOPTS_HELP, KOPTS_VERSION: it is asked
 * for; -ENOMEM. *rest: the first argument that is ignored, or NULL. */
int kopts_args(struct kopts *o, int argc, char *const argv[], char why[256], const char **rest);

/* ---- to a configuration (kcptun_conf.c) ---- */
/* Turns what was given into what our keys take, with warnings where that is not the same. 0, -ENOMEM. Errors count in ps. */
int kopts_settle(struct kopts *o, struct conf_problems *ps);
/* The keys to set, defaults included where ours differ. Texts are borrowed from o and its tables. Returns their number. */
unsigned kopts_settings(const struct kopts *o, struct conf_setting v[KOPTS_MAX]);
/* Writes them as INI: what belongs to [global], and the section of one profile. Secrets in clear. */
void kopts_print(const struct conf_setting *v, unsigned n, enum conf_role role, const char *name, FILE *out);

#endif
