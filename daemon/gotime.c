/* daemon/gotime.c - Go's notation of dates. English names, whatever the locale.
 * Source: the program description, section 8.3. */
#include "daemon/gotime.h"

#include "core/base/bytes.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *const months[] = {"January", "February", "March",     "April",   "May",      "June",
                                     "July",    "August",   "September", "October", "November", "December"};
static const char *const days[] = {"Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"};

enum part {
    MONTH_NAME,
    MONTH_ABBR,
    DAY_NAME,
    DAY_ABBR,
    ZONE,
    YEAR,
    YEAR_2,
    MONTH,
    MDAY,
    YDAY,
    HOUR,
    HOUR_12,
    MINUTE,
    SECOND,
    UPPER_PM,
    LOWER_PM,
    OFFSET,
};

enum { FIELD_MAX = 64 };

static const struct token {
    const char *text;
    enum part part;
    char width, pad; /* of a number */
} tokens[] = {
    /* a longer one before what begins like it */
    {"January", MONTH_NAME, 0, 0}, {"Jan", MONTH_ABBR, 0, 0}, {"Monday", DAY_NAME, 0, 0}, {"Mon", DAY_ABBR, 0, 0},
    {"MST", ZONE, 0, 0},           {"2006", YEAR, 4, '0'},    {"002", YDAY, 3, '0'},      {"01", MONTH, 2, '0'},
    {"02", MDAY, 2, '0'},          {"03", HOUR_12, 2, '0'},   {"04", MINUTE, 2, '0'},     {"05", SECOND, 2, '0'},
    {"06", YEAR_2, 2, '0'},        {"15", HOUR, 2, '0'},      {"1", MONTH, 0, 0},         {"2", MDAY, 0, 0},
    {"__2", YDAY, 3, ' '},         {"_2", MDAY, 2, ' '},      {"3", HOUR_12, 0, 0},       {"4", MINUTE, 0, 0},
    {"5", SECOND, 0, 0},           {"PM", UPPER_PM, 0, 0},    {"pm", LOWER_PM, 0, 0},     {"-07:00:00", OFFSET, 0, 0},
    {"-070000", OFFSET, 0, 0},     {"-07:00", OFFSET, 0, 0},  {"-0700", OFFSET, 0, 0},    {"-07", OFFSET, 0, 0},
    {"Z07:00:00", OFFSET, 0, 0},   {"Z070000", OFFSET, 0, 0}, {"Z07:00", OFFSET, 0, 0},   {"Z0700", OFFSET, 0, 0},
    {"Z07", OFFSET, 0, 0},
};

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

/* Like the example in form: sign, colons and digits; Z for UTC where the example begins with it. */
static void put_offset(char *out, const char *like, long offset)
{
    const long left = labs(offset), parts[] = {left / 3600, left / 60 % 60, left % 60};
    unsigned part = 0;

    if (*like == 'Z' && !offset) {
        strcpy(out, "Z");
        return;
    }
    *out++ = offset < 0 ? '-' : '+';
    for (like++; *like; like += is_digit(*like) ? 2 : 1) {
        if (*like == ':')
            *out++ = ':';
        else
            out += sprintf(out, "%02ld", parts[part++] % 100);
    }
    *out = 0;
}

static int number_of(enum part p, const struct tm *tm)
{
    switch (p) {
    case YEAR:
        return tm->tm_year + 1900;
    case YEAR_2:
        return (tm->tm_year + 1900) % 100;
    case MONTH:
        return tm->tm_mon + 1;
    case MDAY:
        return tm->tm_mday;
    case YDAY:
        return tm->tm_yday + 1;
    case HOUR:
        return tm->tm_hour;
    case HOUR_12:
        return tm->tm_hour % 12 ? tm->tm_hour % 12 : 12;
    case MINUTE:
        return tm->tm_min;
    default:
        return tm->tm_sec;
    }
}

static void put_token(char out[FIELD_MAX], const struct token *t, const struct tm *tm)
{
    switch (t->part) {
    case MONTH_NAME:
    case MONTH_ABBR:
        snprintf(out, t->part == MONTH_NAME ? FIELD_MAX : 4, "%s", months[tm->tm_mon % 12]);
        break;
    case DAY_NAME:
    case DAY_ABBR:
        snprintf(out, t->part == DAY_NAME ? FIELD_MAX : 4, "%s", days[tm->tm_wday % 7]);
        break;
    case ZONE:
        snprintf(out, FIELD_MAX, "%s", tm->tm_zone ? tm->tm_zone : "");
        break;
    case UPPER_PM:
        strcpy(out, tm->tm_hour >= 12 ? "PM" : "AM");
        break;
    case LOWER_PM:
        strcpy(out, tm->tm_hour >= 12 ? "pm" : "am");
        break;
    case OFFSET:
        put_offset(out, t->text, tm->tm_gmtoff);
        break;
    default:
        snprintf(out, FIELD_MAX, t->pad == '0' ? "%0*d" : "%*d", t->width, number_of(t->part, tm));
    }
}

/* Names in short end where a word does: "Monitor" is no Monday. */
static bool is_at(const struct token *t, const char *p)
{
    size_t len = strlen(t->text);
    bool ends = t->part == MONTH_ABBR || t->part == DAY_ABBR;

    return !strncmp(p, t->text, len) && !(ends && p[len] >= 'a' && p[len] <= 'z');
}

/* ".000" or ",999": bytes of the token at p, 0: none. Nines drop zeros at the end. */
static size_t put_fraction(char out[FIELD_MAX], const char *p, long ns)
{
    char digits[16];
    size_t n = 0, keep;

    if ((*p != '.' && *p != ',') || (p[1] != '0' && p[1] != '9'))
        return 0;
    while (p[1 + n] == p[1])
        n++;
    if (is_digit(p[1 + n]))
        return 0;
    snprintf(digits, sizeof digits, "%09ld", ns % 1000000000);
    keep = MIN(n, (size_t)9);
    while (p[1] == '9' && keep && digits[keep - 1] == '0')
        keep--;
    snprintf(out, FIELD_MAX, "%c%.*s", *p, (int)keep, digits);
    if (!keep)
        *out = 0;
    return 1 + n;
}

/* Replaces what is at p, and returns its length there. A byte that is no token stays. */
static size_t put_next(char out[FIELD_MAX], const char *p, const struct tm *tm, long ns)
{
    size_t len = put_fraction(out, p, ns);

    if (len)
        return len;
    out[0] = *p;
    out[1] = 0;
    if (!strncmp(p, "_2006", 5)) /* an underscore and the year */
        return 1;
    for (size_t i = 0; i < LEN(tokens); i++)
        if (is_at(&tokens[i], p)) {
            put_token(out, &tokens[i], tm);
            return strlen(tokens[i].text);
        }
    return 1;
}

size_t gotime_format(char *out, size_t n, const char *layout, const struct tm *tm, long ns)
{
    char field[FIELD_MAX];
    size_t len = 0;

    while (*layout) {
        size_t k;

        layout += put_next(field, layout, tm, ns);
        k = strlen(field);
        if (len < n)
            snprintf(out + len, n - len, "%s", field);
        len += k;
    }
    if (!len && n)
        *out = 0;
    return len;
}
