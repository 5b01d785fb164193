/* tests/fuzz/fuzz_upgrade_wire.c - any bytes as a message, as a run, as either kind of body: what is taken is written back as
 * the same bytes. */
#include "daemon/upgrade_wire.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static void check(bool ok)
{
    if (!ok)
        abort();
}

static void same(const uint8_t *a, size_t n, const uint8_t *b)
{
    check(!n || !memcmp(a, b, n));
}

static void try_body(struct bytes body, uint8_t *out)
{
    struct rd r = rd_from(body.p, body.len);
    struct wr w = wr_to(out, body.len);
    char name[UPGRADE_NAME_MAX + 1];
    struct upgrade_session s;
    uint64_t value;

    while (upgrade_session_next(&r, &s))
        upgrade_session_put(&w, &s);
    check(!w.bad);
    same(out, (size_t)(w.p - out), body.p);
    r = rd_from(body.p, body.len);
    w = wr_to(out, body.len);
    while (upgrade_counter_next(&r, name, &value))
        upgrade_counter_put(&w, name, value);
    check(!w.bad);
    same(out, (size_t)(w.p - out), body.p);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    char text[UPGRADE_TEXT_MAX + 1];
    uint8_t *out = malloc(len + 1);
    struct upgrade_run run;
    struct upgrade_msg m;

    if (!out)
        return 0;
    try_body(bytes_of(data, len), out);
    if (!upgrade_msg_parse(&m, text, bytes_of(data, len))) {
        check(upgrade_msg_put(out, len, &m) == len);
        same(out, len, data);
        try_body(m.body, out);
    }
    if (!upgrade_run_parse(&run, bytes_of(data, len)) && len < 256 && data[21] == 0 && data[22] == 0) {
        uint8_t head[256];
        size_t n = upgrade_run_put(head, sizeof head, &run);

        check(n + run.data.len == len);
        same(head, n, data);
    }
    free(out);
    return 0;
}
