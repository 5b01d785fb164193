/* tools/ctl_rates.c - rates from counters. */
#include "tools/ctl_rates.h"

#include "tools/ctl_text.h"

#include <string.h>
#include <time.h>

const json_t *ctl_counters(const json_t *data, const char *profile)
{
    const json_t *p;
    size_t i;

    if (!profile)
        return json_object_get(data, "total");
    json_array_foreach(json_object_get(data, "profiles"), i, p)
    {
        if (!strcmp(ctl_str(p, "name"), profile))
            return json_object_get(p, "counters");
    }
    return NULL;
}

double ctl_rate(const json_t *was, const json_t *is, const char *key, double seconds)
{
    json_int_t a = ctl_num(was, key), b = ctl_num(is, key);

    return seconds > 0 ? (double)(b >= a ? b - a : b) / seconds : 0;
}

double ctl_clock(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

void ctl_wait(double *next)
{
    double now = ctl_clock(), left = *next - now;

    if (left > 0) {
        struct timespec ts = {.tv_sec = (time_t)left, .tv_nsec = (long)((left - (double)(time_t)left) * 1e9)};

        nanosleep(&ts, NULL);
        *next += 1;
    } else {
        *next = now + 1;
    }
}

bool ctl_stats_args(json_t **args, const char *profile)
{
    *args = json_pack("{sb}", "sessions", 0);
    return ctl_args(args, "profile", profile);
}
