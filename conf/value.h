/* conf/value.h - what the files of value types share. Internal to conf/. */
#ifndef CONF_VALUE_H
#define CONF_VALUE_H

#include "conf/schema.h"

#include <string.h>

static inline void *value_field(const struct conf_key *k, void *base)
{
    return (char *)base + k->at;
}

static inline const void *value_cfield(const struct conf_key *k, const void *base)
{
    return (const char *)base + k->at;
}

static inline unsigned *value_count(const struct conf_key *k, void *base)
{
    return (unsigned *)(void *)((char *)base + k->at_n);
}

static inline unsigned value_count_of(const struct conf_key *k, const void *base)
{
    return *(const unsigned *)(const void *)((const char *)base + k->at_n);
}

static inline int value_refuse(char *why, const char *what)
{
    snprintf(why, CONF_WHY_MAX, "%s", what);
    return CONF_INVALID;
}

static inline bool value_same_text(const char *a, const char *b)
{
    return a && b ? !strcmp(a, b) : a == b;
}

/* The words of a key, for its range. */
void value_range_words(const struct conf_key *k, FILE *out);

#endif
