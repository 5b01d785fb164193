/* tools/ctl_text.c - members of answers as text. */
#include "tools/ctl_text.h"

const char *ctl_str(const json_t *o, const char *key)
{
    const json_t *v = json_object_get(o, key);

    return json_is_string(v) ? json_string_value(v) : "-";
}

json_int_t ctl_num(const json_t *o, const char *key)
{
    return json_integer_value(json_object_get(o, key));
}

bool ctl_is(const json_t *o, const char *key)
{
    return json_is_true(json_object_get(o, key));
}

const char *ctl_duration(json_int_t s, char out[CTL_TEXT])
{
    long long t = s > 0 ? s : 0;

    if (t < 60)
        snprintf(out, CTL_TEXT, "%llds", t);
    else if (t < 86400)
        snprintf(out, CTL_TEXT, "%02lld:%02lld:%02lld", t / 3600, t / 60 % 60, t % 60);
    else
        snprintf(out, CTL_TEXT, "%lldd %02lld:%02lld:%02lld", t / 86400, t / 3600 % 24, t / 60 % 60, t % 60);
    return out;
}

const char *ctl_amount(json_int_t n, char out[CTL_TEXT])
{
    static const char units[] = "kMGTPE";
    double v = (double)n;
    unsigned i = 0;

    if (n < 1000) {
        snprintf(out, CTL_TEXT, "%lld", (long long)n);
        return out;
    }
    for (v /= 1000; v >= 999.5 && units[i + 1]; i++)
        v /= 1000;
    snprintf(out, CTL_TEXT, v < 9.95 ? "%.1f%c" : "%.0f%c", v, units[i]);
    return out;
}

void ctl_say(FILE *out, const char *text)
{
    for (; *text; text++)
        fputc((unsigned char)*text < 0x20 || *text == 0x7f ? '?' : *text, out);
}
