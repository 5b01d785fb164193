/* fec/tuner.c - intervals of D for every N. */
#include "fec/tuner.h"

/* Calls the block with n = each possible D + P. The set may lose the current n meanwhile. */
#define EACH_ALIVE(t, n)                                                                                               \
    for (unsigned n##_w = 0, n = 0; n##_w < LEN((t)->alive); n##_w++)                                                  \
        for (uint64_t n##_set = (t)->alive[n##_w];                                                                     \
             n##_set && (n = n##_w * 64 + (unsigned)__builtin_ctzll(n##_set) + 1, 1); n##_set &= n##_set - 1)

void tuner_init(struct tuner *t)
{
    for (unsigned i = 0; i < LEN(t->alive); i++)
        t->alive[i] = UINT64_MAX;
    t->alive[0] &= ~(uint64_t)1; /* N = 1 has no room for both kinds */
    for (unsigned n = 2; n <= SHARD_MAX_N; n++) {
        t->lo[n - 1] = 1;
        t->hi[n - 1] = (uint8_t)(n - 1);
    }
}

static void kill(struct tuner *t, unsigned n)
{
    t->alive[(n - 1) / 64] &= ~((uint64_t)1 << (n - 1) % 64);
}

static bool none_alive(const struct tuner *t)
{
    return !(t->alive[0] | t->alive[1] | t->alive[2] | t->alive[3]);
}

/* Data at position p: D > p. Parity at p: D <= p. */
static bool narrow(struct tuner *t, uint32_t seqid, bool is_data)
{
    bool changed = false;

    EACH_ALIVE(t, n)
    {
        unsigned pos = seqid % n;

        if (is_data ? pos >= t->hi[n - 1] : pos < t->lo[n - 1]) {
            kill(t, n);
            changed = true;
        } else if (is_data && pos >= t->lo[n - 1]) {
            t->lo[n - 1] = (uint8_t)(pos + 1);
            changed = true;
        } else if (!is_data && pos < t->hi[n - 1]) {
            t->hi[n - 1] = (uint8_t)pos;
            changed = true;
        }
    }
    return changed;
}

int tuner_sample(struct tuner *t, uint32_t seqid, bool is_data)
{
    bool changed = narrow(t, seqid, is_data);

    if (!none_alive(t))
        return changed ? TUNER_NARROWED : TUNER_SAME;
    tuner_init(t);
    narrow(t, seqid, is_data);
    return TUNER_RESTARTED;
}

bool tuner_allows(const struct tuner *t, unsigned data, unsigned parity)
{
    unsigned n = data + parity;

    return t->alive[(n - 1) / 64] >> (n - 1) % 64 & 1 && t->lo[n - 1] <= data && data <= t->hi[n - 1];
}

bool tuner_bounds(const struct tuner *t, uint32_t base, unsigned last, unsigned *lo, unsigned *hi)
{
    *lo = SHARD_MAX_N;
    *hi = 0;
    EACH_ALIVE(t, n)
    {
        if (base % n || last >= n)
            return false;
        *lo = MIN(*lo, t->lo[n - 1]);
        *hi = MAX(*hi, t->hi[n - 1]);
    }
    return true;
}

void tuner_rule_out_fewer(struct tuner *t, uint32_t base, unsigned last, unsigned data)
{
    EACH_ALIVE(t, n)
    {
        if (base % n || last >= n || t->lo[n - 1] >= data)
            continue;
        t->lo[n - 1] = (uint8_t)data;
        if (t->hi[n - 1] < data)
            kill(t, n);
    }
}

bool tuner_verdict(const struct tuner *t, unsigned *data, unsigned *parity)
{
    unsigned smallest = 0, d = 0;

    EACH_ALIVE(t, n)
    {
        if (!smallest) {
            smallest = n;
            d = t->lo[n - 1];
        }
        if (t->lo[n - 1] != d || t->hi[n - 1] != d || n % smallest)
            return false;
    }
    if (!smallest)
        return false;
    *data = d;
    *parity = smallest - d;
    return true;
}
