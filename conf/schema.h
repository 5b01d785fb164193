/* conf/schema.h - the table of keys, and what each type of value can do. For conf/ and its tests, and for who lists keys. */
#ifndef CONF_SCHEMA_H
#define CONF_SCHEMA_H

#include "conf/conf.h"

enum conf_where { IN_GLOBAL = 1, IN_SERVER = 2, IN_CLIENT = 4, IN_BOTH = IN_SERVER | IN_CLIENT };
enum conf_when { CONF_LIVE, CONF_NEW_SESSIONS, CONF_RESTART };

struct conf_key {
    const char *name;
    enum conf_where where;
    const struct conf_type *type;
    size_t at, at_n;              /* offset in struct conf_global or conf_profile; of the count, for lists */
    uint64_t min, max;            /* of a number; of the length, for text */
    const char *def[2];           /* by enum conf_role; [0] for global keys; NULL: none */
    const char *const *words;     /* NULL-terminated: names of the enum values, or the accepted texts */
    enum conf_when when;
    const char *help;
};

enum { CONF_WHY_MAX = 256, CONF_KEYS_MAX = 96 };

struct conf_type {                /* base: the struct that the key's offsets are of */
    const char *name;             /* "uint", for help */
    size_t size;                  /* of the field */
    bool secret;
    /* 0; CONF_INVALID with the reason in why (the range is added by the caller); -ENOMEM. The field must be empty. */
    int (*parse)(const struct conf_key *k, void *base, const char *text, char *why);
    void (*print)(const struct conf_key *k, const void *base, FILE *out);
    /* NULL for plain fields: */
    int (*copy)(const struct conf_key *k, void *dst, const void *src); /* dst's field must be empty. 0, -ENOMEM */
    bool (*equal)(const struct conf_key *k, const void *a, const void *b);
    void (*fini)(const struct conf_key *k, void *base);
    void (*range)(const struct conf_key *k, FILE *out);                /* what is accepted */
};

extern const struct conf_type conf_bool, conf_uint, conf_size, conf_size64, conf_enum, conf_text, conf_word, conf_ip,
    conf_device, conf_udp, conf_stream, conf_maybe_stream, conf_servers, conf_blocks, conf_cpus, conf_secret,
    conf_keyfile, conf_include;

extern const struct conf_key conf_keys[];
extern const unsigned conf_n_keys;
struct conf_ceiling {             /* what a key is in mode auto, if nobody gave it: else it has its default */
    const char *name, *text;
};
extern const struct conf_ceiling conf_ceilings[];
extern const unsigned conf_n_ceilings;
extern const char *const conf_ciphers[]; /* NULL-terminated; crypto/cipher.h knows the same */

const struct conf_key *conf_key_find(const char *name, unsigned where); /* in any of these sections; NULL: none */
const char *conf_when_text(enum conf_when w);
bool conf_key_may_be_set(const struct conf_key *k); /* while running, by conf_assign() */
int conf_key_copy(const struct conf_key *k, void *dst, const void *src); /* 0, -ENOMEM */
bool conf_key_equal(const struct conf_key *k, const void *a, const void *b);
void conf_key_fini(const struct conf_key *k, void *base);
/* What the key accepts, on the heap; NULL: out of memory. */
char *conf_key_range(const struct conf_key *k);

#endif
