/* tools/link_text.c - statements apart by semicolons or line ends; in each, an optional time, an optional direction, and
 * pairs of key and value. */
#include "tools/link_text.h"

#include "core/base/err.h"

#include <stdlib.h>
#include <string.h>

struct unit {
    const char *name;
    double scale;
};

static const struct unit rates[] = {{"bit", 1}, {"kbit", 1e3}, {"mbit", 1e6}, {"gbit", 1e9}, {NULL, 0}};
static const struct unit times[] = {{"us", 1}, {"ms", 1e3}, {"s", 1e6}, {NULL, 0}};
static const struct unit sizes[] = {{"b", 1}, {"kb", 1e3}, {"mb", 1e6}, {NULL, 0}};
static const struct unit shares[] = {{"%", LINK_PPM / 100.0}, {NULL, 0}};
static const struct unit counts[] = {{"", 1}, {NULL, 0}};
static const struct unit switches[] = {{"off", 0}, {"on", 1}, {NULL, 0}};

#define AT(m) offsetof(struct link_params, m)

/* clang-format off */
static const struct key {
    const char *name;
    const struct unit *units;
    double min, max; /* in the field's unit */
    uint16_t field;
    const char *form, *help;
} keys[] = {
    {"rate",      rates,    0, 1e11,     AT(rate),        "RATE", "of the bottleneck: bit, kbit, mbit or gbit a second"},
    {"queue",     times,    0, 60e6,     AT(queue_us),    "TIME", "longest wait before the bottleneck, what comes later is dropped"},
    {"queue",     sizes,    0, 4e9,      AT(queue_bytes), "SIZE", "the same as a length: b, kb or mb"},
    {"delay",     times,    0, 60e6,     AT(delay_us),    "TIME", "one way: us, ms or s"},
    {"jitter",    times,    0, 60e6,     AT(jitter_us),   "TIME", "up to so much more delay"},
    {"reorder",   switches, 0, 1,        AT(reorder),     "on|off", "jitter for each packet alone, so that packets overtake"},
    {"loss",      shares,   0, LINK_PPM, AT(loss_ppm),    "SHARE", "of the packets, behind the bottleneck, such as 0.5%"},
    {"burst",     counts,   1, 1000,     AT(burst),       "N", "mean run of losses in packets; 1: each for itself"},
    {"duplicate", shares,   0, LINK_PPM, AT(dup_ppm),     "SHARE", "of the packets arrives twice"},
    {"corrupt",   shares,   0, LINK_PPM, AT(corrupt_ppm), "SHARE", "of the packets arrives with one byte changed"},
    {"overhead",  sizes,    0, 65535,    AT(overhead),    "SIZE", "charged for each packet beside its own length"},
};
/* clang-format on */

bool link_key(unsigned i, struct link_key_help *out)
{
    if (i >= LEN(keys))
        return false;
    *out = (struct link_key_help){keys[i].name, keys[i].form, keys[i].help};
    return true;
}

/* True if the first n bytes of text are digits with at most one point, few enough to be read exactly. */
static bool is_number(const char *text, size_t n)
{
    size_t whole = strspn(text, "0123456789"), behind = whole < n ? strspn(text + whole + 1, "0123456789") + 1 : 0;

    return n <= 18 && whole + behind == n && n != (behind > 0);
}

/* A number with one of the units behind it, a plain 0, or for a switch a word. False: not that. */
static bool parse_value(const struct unit *u, const char *text, double *out)
{
    size_t n = u == switches ? 0 : strspn(text, "0123456789.");

    *out = 1;
    if (u != switches) {
        if (!n || !is_number(text, n))
            return false;
        *out = strtod(text, NULL);
        if (*out == 0 && !text[n])
            return true;
    }
    while (u->name && strcmp(text + n, u->name) != 0)
        u++;
    *out *= u->scale;
    return u->name;
}

static void put(struct link_plan *p, struct link_change c)
{
    size_t i = p->n++;

    for (; i && c.at_us < p->v[i - 1].at_us; i--)
        p->v[i] = p->v[i - 1];
    p->v[i] = c;
}

/* The key's row that understands the value. NULL: none (err_text()). */
static const struct key *find(const char *key, const char *value, double *v)
{
    const struct key *named = NULL;

    for (size_t i = 0; i < LEN(keys); i++) {
        if (strcmp(keys[i].name, key) != 0)
            continue;
        named = &keys[i];
        if (!parse_value(named->units, value, v))
            continue;
        if (*v >= named->min && *v <= named->max)
            return named;
        err_say(LINK_TEXT_BAD, "%s %s: out of range", key, value);
        return NULL;
    }
    if (named)
        err_say(LINK_TEXT_BAD, "%s %s: not a %s", key, value, named->form);
    else
        err_say(LINK_TEXT_BAD, "%s: no such setting", key);
    return NULL;
}

/* c says when and where. Of a key with two rows the other one ends. */
static int set(struct link_plan *p, const char *key, const char *value, struct link_change c)
{
    double v;
    const struct key *k = find(key, value, &v);

    if (!k)
        return LINK_TEXT_BAD;
    if (p->n + 2 > LEN(p->v))
        return err_say(LINK_TEXT_BAD, "%s %s: more than %zu changes", key, value, LEN(p->v) - 2);
    for (size_t i = 0; i < LEN(keys); i++)
        if (!strcmp(keys[i].name, k->name)) {
            c.field = keys[i].field;
            c.value = &keys[i] == k ? (uint64_t)(v + 0.5) : 0;
            put(p, c);
        }
    return 0;
}

struct reader {
    const char *p;
    char word[32]; /* empty at the end of a statement */
};

static int next_word(struct reader *r)
{
    size_t n;

    r->p += strspn(r->p, " \t\r");
    n = strcspn(r->p, " \t\r\n;");
    if (n >= sizeof r->word)
        return err_say(LINK_TEXT_BAD, "%.*s...: too long a word", 20, r->p);
    memcpy(r->word, r->p, n);
    r->word[n] = 0;
    r->p += n;
    return 0;
}

/* What stands in front of the settings. Leaves the first key in r->word. */
static int read_when(struct reader *r, struct link_change *c)
{
    double us;
    int res;

    *c = (struct link_change){.ways = LINK_BOTH};
    res = next_word(r);
    if (!res && !strcmp(r->word, "at")) {
        res = next_word(r);
        if (!res && (!parse_value(times, r->word, &us) || us > 1e12))
            res = err_say(LINK_TEXT_BAD, "at %s: not a TIME", r->word);
        if (res)
            return res;
        c->at_us = (uint64_t)(us + 0.5);
        res = next_word(r);
        if (!res && !*r->word)
            return err_say(LINK_TEXT_BAD, "at ...: no setting behind it");
    }
    if (!res && (!strcmp(r->word, "a-b") || !strcmp(r->word, "b-a"))) {
        c->ways = *r->word == 'a' ? LINK_A_B : LINK_B_A;
        res = next_word(r);
        if (!res && !*r->word)
            return err_say(LINK_TEXT_BAD, "a direction: no setting behind it");
    }
    return res;
}

static int read_statement(struct link_plan *p, struct reader *r)
{
    struct link_change c;
    int res = read_when(r, &c);

    while (!res && *r->word) {
        char key[sizeof r->word];

        memcpy(key, r->word, sizeof key);
        res = next_word(r);
        if (!res && !*r->word)
            res = err_say(LINK_TEXT_BAD, "%s: no value behind it", key);
        if (!res)
            res = set(p, key, r->word, c);
        if (!res)
            res = next_word(r);
    }
    return res;
}

int link_plan_add(struct link_plan *p, const char *text)
{
    struct reader r = {.p = text};
    struct link_plan next = *p;
    int res;

    do {
        res = read_statement(&next, &r);
    } while (!res && *r.p++);
    if (!res)
        *p = next;
    return res;
}

int link_plan_set(struct link_plan *p, const char *key, const char *value, unsigned ways)
{
    return set(p, key, value, (struct link_change){.ways = (uint16_t)ways});
}
