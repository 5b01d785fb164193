/* tools/linkem_report.c - what happened to the packets, for people and for programs. */
#include "tools/linkem.h"

#include "core/base/err.h"
#include "tools/table.h"

#include <inttypes.h>
#include <jansson.h>
#include <string.h>

#define N(m) offsetof(struct link_counts, m)

static const struct counter {
    const char *name, *help;
    size_t field;
} counters[] = {
    {"in", "packets sent", N(in)},
    {"in_bytes", "bytes sent", N(in_bytes)},
    {"dropped", "dropped: queue full", N(dropped)},
    {"no_memory", "dropped: --memory used up", N(no_memory)},
    {"passed", "packets through the bottleneck", N(passed)},
    {"wire_bytes", "bytes through the bottleneck", N(wire_bytes)},
    {"lost", "lost", N(lost)},
    {"duplicated", "duplicated", N(duplicated)},
    {"corrupted", "corrupted", N(corrupted)},
    {"out", "packets delivered", N(out)},
    {"out_bytes", "bytes delivered", N(out_bytes)},
};

static uint64_t value(const struct linkem_way *w, const struct counter *c)
{
    uint64_t v;

    memcpy(&v, (const char *)&w->l.n + c->field, sizeof v);
    return v;
}

static double mean_ms(uint64_t sum_us, uint64_t n)
{
    return n ? (double)sum_us / (double)n / 1000 : 0;
}

static void row_of_ms(struct table *t, const char *what, const double v[LINKEM_ENDS])
{
    table_add(t, "%s", what);
    table_add(t, "%.3f ms", v[0]);
    table_add(t, "%.3f ms", v[1]);
}

void linkem_table(const struct linkem_way w[LINKEM_ENDS], const uint64_t dropped[LINKEM_ENDS], FILE *out)
{
    struct table t = {.columns = 3, .left = 1};

    table_add(&t, "%s", "");
    table_add(&t, "A to B");
    table_add(&t, "B to A");
    for (size_t i = 0; i < LEN(counters); i++) {
        table_add(&t, "%s", counters[i].help);
        for (int k = 0; k < LINKEM_ENDS; k++)
            table_add(&t, "%" PRIu64, value(&w[k], &counters[i]));
    }
    table_add(&t, "dropped by the device");
    for (int k = 0; k < LINKEM_ENDS; k++)
        table_add(&t, "%" PRIu64, dropped[k]);
    table_add(&t, "refused by the kernel");
    for (int k = 0; k < LINKEM_ENDS; k++)
        table_add(&t, "%" PRIu64, w[k].refused);
    row_of_ms(&t, "mean wait in the queue",
              (double[]){mean_ms(w[0].l.n.wait_us, w[0].l.n.passed), mean_ms(w[1].l.n.wait_us, w[1].l.n.passed)});
    row_of_ms(&t, "longest", (double[]){(double)w[0].l.n.wait_max_us / 1000, (double)w[1].l.n.wait_max_us / 1000});
    row_of_ms(&t, "mean lateness of ours",
              (double[]){mean_ms(w[0].late_us, w[0].l.n.out), mean_ms(w[1].late_us, w[1].l.n.out)});
    row_of_ms(&t, "worst", (double[]){(double)w[0].late_max_us / 1000, (double)w[1].late_max_us / 1000});
    table_print(&t, out);
    table_fini(&t);
}

static json_t *way_object(const struct linkem_way *w, uint64_t dropped)
{
    json_t *o = json_object();

    for (size_t i = 0; i < LEN(counters); i++)
        json_object_set_new(o, counters[i].name, json_integer((json_int_t)value(w, &counters[i])));
    json_object_set_new(o, "device_dropped", json_integer((json_int_t)dropped));
    json_object_set_new(o, "refused", json_integer((json_int_t)w->refused));
    json_object_set_new(o, "wait_ms", json_real(mean_ms(w->l.n.wait_us, w->l.n.passed)));
    json_object_set_new(o, "wait_max_ms", json_real((double)w->l.n.wait_max_us / 1000));
    json_object_set_new(o, "late_ms", json_real(mean_ms(w->late_us, w->l.n.out)));
    json_object_set_new(o, "late_max_ms", json_real((double)w->late_max_us / 1000));
    return o;
}

int linkem_json(const struct linkem *e, const struct linkem_way w[LINKEM_ENDS], const uint64_t dropped[LINKEM_ENDS],
                double seconds)
{
    json_t *o = json_pack("{s:i, s:s, s:I, s:f}", "format", 1, "version", KCPTUND_VERSION, "seed", (json_int_t)e->seed,
                          "seconds", seconds);
    FILE *f = strcmp(e->json, "-") != 0 ? fopen(e->json, "we") : stdout;
    bool bad = !f;

    json_object_set_new(o, "a-b", way_object(&w[0], dropped[0]));
    json_object_set_new(o, "b-a", way_object(&w[1], dropped[1]));
    if (f) {
        bad = json_dumpf(o, f, JSON_INDENT(2) | JSON_REAL_PRECISION(9)) || fputc('\n', f) == EOF || fflush(f);
        if (f != stdout)
            bad |= fclose(f);
    }
    json_decref(o);
    return bad ? err_say(-errno, "write %s", e->json) : 0;
}
