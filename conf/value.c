/* conf/value.c - the types of values, text to field and back: truth, numbers, words; and what holds for any type.
 * Knows no section, file or line. */
#include "conf/value.h"

#include "core/base/err.h"

#include <inttypes.h>
#include <stdlib.h>

void value_range_words(const struct conf_key *k, FILE *out)
{
    for (const char *const *w = k->words; *w; w++)
        fprintf(out, "%s%s", w == k->words ? "" : " ", *w);
}

/* ---- true and false ---- */

static int bool_parse(const struct conf_key *k, void *base, const char *text, char *why)
{
    static const char *const yes[] = {"true", "yes", "on", "1"}, *const no[] = {"false", "no", "off", "0"};

    for (unsigned i = 0; i < LEN(yes); i++)
        if (!strcmp(text, yes[i]) || !strcmp(text, no[i])) {
            *(bool *)value_field(k, base) = !strcmp(text, yes[i]);
            return 0;
        }
    return value_refuse(why, "neither true nor false");
}

static void bool_print(const struct conf_key *k, const void *base, FILE *out)
{
    fputs(*(const bool *)value_cfield(k, base) ? "true" : "false", out);
}

static void bool_range(const struct conf_key *k, FILE *out)
{
    (void)k;
    fputs("true false yes no on off 1 0", out);
}

const struct conf_type conf_bool = {"bool", sizeof(bool), .parse = bool_parse, .print = bool_print,
                                    .range = bool_range};

/* ---- numbers ---- */

/* Decimal digits, no sign, no leading zero (kcptun reads one as octal), perhaps one of k M G behind. */
static int number(const struct conf_key *k, const char *text, bool suffix_ok, uint64_t *out, char *why)
{
    static const char suffixes[] = "kmg";
    const char *p = text, *s;
    uint64_t v = 0;

    for (; *p >= '0' && *p <= '9'; p++) {
        if (v > UINT64_MAX / 16) /* beyond every range, and the next digit might wrap */
            return value_refuse(why, "out of range");
        v = v * 10 + (uint64_t)(*p - '0');
    }
    if (p == text)
        return value_refuse(why, *p == '-' && p[1] >= '0' && p[1] <= '9' ? "out of range" : "not a number");
    if (*text == '0' && p > text + 1)
        return value_refuse(why, "a number without leading zeros is wanted");
    if (*p && suffix_ok) {
        s = strchr(suffixes, *p | 0x20);
        if (!s || !*s)
            return value_refuse(why, "unknown unit");
        if (v > UINT64_MAX >> 30)
            return value_refuse(why, "out of range");
        v <<= 10 * (s - suffixes + 1);
        p++;
    }
    if (*p)
        return value_refuse(why, "not a number");
    if (v < k->min || v > k->max)
        return value_refuse(why, "out of range");
    *out = v;
    return 0;
}

static int uint_parse(const struct conf_key *k, void *base, const char *text, char *why)
{
    uint64_t v;
    int r = number(k, text, k->type == &conf_size, &v, why);

    if (!r)
        *(uint32_t *)value_field(k, base) = (uint32_t)v;
    return r;
}

static void uint_print(const struct conf_key *k, const void *base, FILE *out)
{
    fprintf(out, "%" PRIu32, *(const uint32_t *)value_cfield(k, base));
}

static void uint_range(const struct conf_key *k, FILE *out)
{
    fprintf(out, "%" PRIu64 "..%" PRIu64, k->min, k->max);
}

static int size64_parse(const struct conf_key *k, void *base, const char *text, char *why)
{
    return number(k, text, true, value_field(k, base), why);
}

static void size64_print(const struct conf_key *k, const void *base, FILE *out)
{
    fprintf(out, "%" PRIu64, *(const uint64_t *)value_cfield(k, base));
}

static void size_range(const struct conf_key *k, FILE *out)
{
    uint_range(k, out);
    fputs(" bytes, or with k M G", out);
}

const struct conf_type conf_uint = {"number", sizeof(uint32_t), .parse = uint_parse, .print = uint_print,
                                    .range = uint_range};
const struct conf_type conf_size = {"size", sizeof(uint32_t), .parse = uint_parse, .print = uint_print,
                                    .range = size_range};
const struct conf_type conf_size64 = {"size", sizeof(uint64_t), .parse = size64_parse, .print = size64_print,
                                      .range = size_range};

/* ---- one of some words ---- */

static int enum_parse(const struct conf_key *k, void *base, const char *text, char *why)
{
    for (unsigned i = 0; k->words[i]; i++)
        if (!strcmp(text, k->words[i])) {
            *(unsigned *)value_field(k, base) = i;
            return 0;
        }
    return value_refuse(why, "unknown");
}

static void enum_print(const struct conf_key *k, const void *base, FILE *out)
{
    fputs(k->words[*(const unsigned *)value_cfield(k, base)], out);
}

_Static_assert(sizeof(enum conf_mode) == sizeof(unsigned) && sizeof(enum conf_io) == sizeof(unsigned), "enum fields");
const struct conf_type conf_enum = {"word", sizeof(unsigned), .parse = enum_parse, .print = enum_print,
                                    .range = value_range_words};

/* ---- any type ---- */

int conf_key_copy(const struct conf_key *k, void *dst, const void *src)
{
    if (k->type->copy)
        return k->type->copy(k, dst, src);
    if (k->type->size)
        memcpy(value_field(k, dst), value_cfield(k, src), k->type->size);
    return 0;
}

bool conf_key_equal(const struct conf_key *k, const void *a, const void *b)
{
    if (k->type->equal)
        return k->type->equal(k, a, b);
    return !k->type->size || !memcmp(value_cfield(k, a), value_cfield(k, b), k->type->size);
}

void conf_key_fini(const struct conf_key *k, void *base)
{
    if (k->type->fini)
        k->type->fini(k, base);
}

char *conf_key_range(const struct conf_key *k)
{
    char *text = NULL;
    size_t len;
    FILE *f = open_memstream(&text, &len);

    if (!f)
        return NULL;
    k->type->range(k, f);
    if (fclose(f)) {
        free(text);
        return NULL;
    }
    return text;
}
