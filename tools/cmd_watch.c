/* tools/cmd_watch.c - kcptunctl watch: rates, a line every second. */
#include "tools/ctl_rates.h"
#include "tools/ctl_text.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

enum { HEAD_EVERY = 20 };

static const struct {
    const char *head, *member, *key;
    double factor;
} columns[] = {
    {"IN bit/s", "in_bits", "InBytes", 8},       {"OUT bit/s", "out_bits", "OutBytes", 8},
    {"IN pkt/s", "in_pkts", "InPkts", 1},        {"OUT pkt/s", "out_pkts", "OutPkts", 1},
    {"RESENT/s", "resent", "RetransSegs", 1},    {"MENDED/s", "recovered", "FECRecovered", 1},
    {"STREAMS+", "streams", "StreamsOpened", 1}, {"ERRORS/s", "errors", "InCsumErrors", 1},
};

static void print_head(const struct ctl *c)
{
    fputs(c->color ? "\033[1m" : "", stdout);
    printf("%-8s", "TIME");
    for (size_t i = 0; i < sizeof columns / sizeof columns[0]; i++)
        printf("  %9s", columns[i].head);
    printf("  %8s  %8s%s\n", "SESSIONS", "STREAMS", c->color ? "\033[0m" : "");
}

static void print_line(const json_t *was, const json_t *is, double seconds)
{
    time_t t = time(NULL);
    char buf[CTL_TEXT], clock[16];
    struct tm tm;

    strftime(clock, sizeof clock, "%H:%M:%S", localtime_r(&t, &tm));
    printf("%-8s", clock);
    for (size_t i = 0; i < sizeof columns / sizeof columns[0]; i++)
        printf("  %9s",
               ctl_amount((json_int_t)(ctl_rate(was, is, columns[i].key, seconds) * columns[i].factor + 0.5), buf));
    printf("  %8lld  %8lld\n", (long long)ctl_num(is, "CurrEstab"), (long long)ctl_num(is, "StreamsNow"));
}

static void print_json(const json_t *was, const json_t *is, double seconds)
{
    json_t *o = json_pack("{sI sI sI}", "time", (json_int_t)time(NULL), "sessions", ctl_num(is, "CurrEstab"), "open",
                          ctl_num(is, "StreamsNow"));

    for (size_t i = 0; i < sizeof columns / sizeof columns[0]; i++)
        json_object_set_new(o, columns[i].member,
                            json_real(ctl_rate(was, is, columns[i].key, seconds) * columns[i].factor));
    json_dumpf(o, stdout, JSON_COMPACT);
    putchar('\n');
    json_decref(o);
}

static int ask(const struct ctl *c, const char *profile, json_t **data)
{
    json_t *args;

    return ctl_stats_args(&args, profile) ? ctl_call(c, "stats", args, data) : CTL_EXIT_USAGE;
}

int cmd_watch(const struct ctl *c, int argc, char **argv)
{
    const char *profile = argc > 1 ? argv[1] : NULL;
    double next = ctl_clock() + 1, asked = ctl_clock(), now;
    json_t *was = NULL, *is = NULL;
    int r = ask(c, profile, &was);

    for (unsigned i = 0; !r && (!c->count || i < c->count); i++) {
        ctl_wait(&next);
        now = ctl_clock();
        r = ask(c, profile, &is);
        if (r)
            break;
        if (c->json) {
            print_json(ctl_counters(was, profile), ctl_counters(is, profile), now - asked);
        } else {
            if (i % HEAD_EVERY == 0)
                print_head(c);
            print_line(ctl_counters(was, profile), ctl_counters(is, profile), now - asked);
        }
        if (fflush(stdout))
            break; /* main() says why */
        json_decref(was);
        was = is;
        asked = now;
    }
    json_decref(was);
    return r;
}
