/* tools/bench_place.c - cores of the ends and of the load generator. */
#include "tools/bench_place.h"

#include "tools/bench.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Reads a list such as 0-3,6 up to `end`; false: not one, or none of it. */
static bool read_list(const char *s, const char *end, cpu_set_t *out)
{
    CPU_ZERO(out);
    while (s < end) {
        char *after;
        unsigned long a = strtoul(s, &after, 10), b = a;

        if (after == s || *s < '0' || *s > '9')
            return false;
        if (*after == '-') {
            s = after + 1;
            b = strtoul(s, &after, 10);
            if (after == s || *s < '0' || *s > '9')
                return false;
        }
        if (b < a || b >= CPU_SETSIZE)
            return false;
        for (; a <= b; a++)
            CPU_SET(a, out);
        s = after;
        if (s < end && (*s++ != ',' || s == end))
            return false;
    }
    return CPU_COUNT(out) > 0;
}

static int read_text(struct bench_place *p, const char *text, const cpu_set_t *ours)
{
    static const char *const seats[] = {"client", "server", "load"};
    const char *s = text;
    unsigned n = 0;

    for (;; s++) {
        const char *end = s + strcspn(s, ":");
        cpu_set_t usable;

        if (n == LEN(seats) || !read_list(s, end, &p->cores[n]))
            return bench_fail("--cpus %s: expected CLIENT:SERVER[:LOAD], each like 0-3,6", text);
        CPU_AND(&usable, &p->cores[n], ours);
        if (!CPU_EQUAL(&usable, &p->cores[n]))
            return bench_fail("--cpus %s: some of the cores for the %s cannot be used here", text, seats[n]);
        n++;
        s = end;
        if (!*s)
            break;
    }
    if (n < 2)
        return bench_fail("--cpus %s: expected CLIENT:SERVER[:LOAD]", text);
    p->cores[SEAT_FAR] = p->cores[n == 3 ? SEAT_NEAR : SEAT_SERVER];
    if (n == 2)
        p->cores[SEAT_NEAR] = p->cores[SEAT_CLIENT];
    return 0;
}

/* The next n of `from`, starting over at its end. */
static void deal(const cpu_set_t *from, unsigned *at, unsigned n, cpu_set_t *out)
{
    CPU_ZERO(out);
    for (unsigned tries = 0; n && tries < CPU_SETSIZE; tries++, *at = (*at + 1) % CPU_SETSIZE)
        if (CPU_ISSET(*at, from)) {
            CPU_SET(*at, out);
            n--;
        }
}

static void deal_all(struct bench_place *p, const cpu_set_t *ours, unsigned workers)
{
    unsigned n = (unsigned)CPU_COUNT(ours), each = workers ? workers : n / 3, at = 0;

    each = MIN(MAX(each, 1), MAX(n / 2, 1));
    deal(ours, &at, each, &p->cores[SEAT_CLIENT]);
    deal(ours, &at, each, &p->cores[SEAT_SERVER]);
    if (n < 2 * each + 1) {
        p->cores[SEAT_NEAR] = p->cores[SEAT_CLIENT];
        p->cores[SEAT_FAR] = p->cores[SEAT_SERVER];
        return;
    }
    deal(ours, &at, MAX((n - 2 * each) / 2, 1), &p->cores[SEAT_NEAR]);
    if (n == 2 * each + 1)
        p->cores[SEAT_FAR] = p->cores[SEAT_NEAR];
    else
        deal(ours, &at, n - 2 * each - (n - 2 * each) / 2, &p->cores[SEAT_FAR]);
}

int bench_place_init(struct bench_place *p, const char *text, unsigned workers)
{
    cpu_set_t ours;

    *p = (struct bench_place){.pinned = true};
    if (sched_getaffinity(0, sizeof ours, &ours))
        return bench_fail("cannot tell which cores may be used: %m");
    if (text && !strcmp(text, "none")) {
        p->pinned = false;
        for (int s = 0; s < SEATS; s++)
            p->cores[s] = ours;
        return 0;
    }
    if (text)
        return read_text(p, text, &ours);
    deal_all(p, &ours, workers);
    return 0;
}

void bench_place_take(const struct bench_place *p, enum bench_seat seat)
{
    if (p->pinned) /* the cores were checked; one that has gone offline since is no reason to end */
        (void)sched_setaffinity(0, sizeof p->cores[seat], &p->cores[seat]);
}

const char *bench_place_text(const struct bench_place *p, enum bench_seat seat, char out[256])
{
    const cpu_set_t *set = &p->cores[seat];
    size_t len = 0;

    out[0] = 0;
    for (unsigned a = 0; a < CPU_SETSIZE && len < 240; a++) {
        unsigned b = a;

        if (!CPU_ISSET(a, set))
            continue;
        while (b + 1 < CPU_SETSIZE && CPU_ISSET(b + 1, set))
            b++;
        len += (size_t)snprintf(out + len, 256 - len, b > a ? "%s%u-%u" : "%s%u", len ? "," : "", a, b);
        a = b;
    }
    return out;
}
