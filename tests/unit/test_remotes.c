/* tests/unit/test_remotes.c - which server is next: by preference, but not one that was silent lately. */
#include "conf/conf.h"
#include "daemon/net.h"
#include "daemon/remotes.h"
#include "tests/support/vectors.h"

#include <limits.h>
#include <string.h>

struct bench {
    struct worker w;
    struct conf *c;
    struct remotes *r;
};

static void begin(struct bench *b, const char *remoteaddr)
{
    struct conf_problems ps = {0};
    uint8_t seed[NONCE_SEED] = {1};
    char text[256];

    memset(b, 0, sizeof *b);
    snprintf(text, sizeof text, "[client c]\nkey = k\nremoteaddr = %s\n", remoteaddr);
    assert_int_equal(conf_load_text(&b->c, "t.ini", bytes_of(text, strlen(text)), &ps), 0);
    conf_problems_fini(&ps);
    nonce_init(&b->w.nonce, seed);
    b->w.now = (struct tick){1000000};
    b->r = remotes_new(&b->c->profiles[0]);
    assert_non_null(b->r);
}

static void end(struct bench *b)
{
    remotes_free(b->r);
    nonce_fini(&b->w.nonce);
    conf_free(b->c);
}

static void pass(struct bench *b, unsigned ms)
{
    b->w.now = tick_add_ms(b->w.now, ms);
}

static struct remote_pick pick(struct bench *b, unsigned below)
{
    struct remote_pick p;

    assert_int_equal(remotes_pick(b->r, &b->w, below, 0, &p), 0);
    return p;
}

static void test_by_preference(void **state)
{
    struct remote_pick p[3];
    struct bench b;

    (void)state;
    begin(&b, "10.0.0.1:1000, [::1]:2000-2009, 10.0.0.3:3000");
    assert_true(remotes_have_better(b.r, b.w.now));
    assert_false(remotes_are_one(b.r));
    for (unsigned i = 0; i < 3; i++) {
        p[i] = pick(&b, UINT_MAX);
        assert_int_equal(p[i].rank, i);
        remotes_silent(b.r, &p[i], b.w.now, 0);
        pass(&b, 10);
    }
    assert_string_equal(net_addr_text(&p[0].addr), "10.0.0.1:1000");
    assert_string_equal(net_addr_text(&p[2].addr), "10.0.0.3:3000");
    assert_false(remotes_have_better(b.r, b.w.now));
    assert_int_equal(pick(&b, UINT_MAX).rank, 0); /* all are silent: the first for longest */
    remotes_silent(b.r, &p[0], b.w.now, 0); /* told again: it does not count twice */
    pass(&b, 4000);
    assert_true(remotes_have_better(b.r, b.w.now));
    assert_int_equal(pick(&b, UINT_MAX).rank, 0);
    remotes_silent(b.r, &p[0], b.w.now, 0); /* again, so twice as long */
    assert_int_equal(pick(&b, UINT_MAX).rank, 1);
    assert_int_equal(pick(&b, 1).rank, 0); /* asked for a preferred one, silent or not */
    pass(&b, 7900);
    assert_int_equal(pick(&b, UINT_MAX).rank, 1);
    pass(&b, 200);
    assert_int_equal(pick(&b, UINT_MAX).rank, 0);
    assert_false(pick(&b, UINT_MAX).answered);
    remotes_silent(b.r, &p[0], b.w.now, 0);
    remotes_answered(b.r, &p[0]);
    assert_int_equal(pick(&b, UINT_MAX).rank, 0);
    assert_true(pick(&b, UINT_MAX).answered);
    end(&b);
}

/* Of a range every session draws a port, and all of them are one server. */
static void test_port_ranges(void **state)
{
    bool seen[10] = {false};
    struct bench b;

    (void)state;
    begin(&b, "[::1]:2000-2009");
    for (unsigned i = 0; i < 200; i++) {
        struct remote_pick p = pick(&b, UINT_MAX);
        unsigned port = ntohs(p.addr.in6.sin6_port);

        assert_in_range(port, 2000, 2009);
        seen[port - 2000] = true;
    }
    for (unsigned i = 0; i < LEN(seen); i++)
        assert_true(seen[i]);
    assert_true(remotes_are_one(b.r));
    end(&b);
}

/* However long a server is silent, it is asked again within a bounded time. */
static void test_silence_is_bounded(void **state)
{
    struct remote_pick p;
    struct bench b;

    (void)state;
    begin(&b, "10.0.0.1:1, 10.0.0.2:2");
    p = pick(&b, UINT_MAX);
    for (unsigned i = 0; i < 40; i++) {
        remotes_silent(b.r, &p, b.w.now, UINT_MAX);
        assert_int_equal(pick(&b, UINT_MAX).rank, 1);
        pass(&b, 76000);
        assert_int_equal(pick(&b, UINT_MAX).rank, 0);
    }
    end(&b);
}

/* Each address has a version of its own. One that was read there is tried again before the other. */
static void test_smux_versions(void **state)
{
    struct remote_pick p[2];
    struct bench b;

    (void)state;
    begin(&b, "10.0.0.1:1000, 10.0.0.2:2000-2009");
    p[0] = pick(&b, UINT_MAX);
    assert_true(p[0].smux_ver == 2 && !p[0].smux_known);
    assert_int_equal(remotes_smux_dropped(b.r, &p[0].addr, 2), 1);
    assert_int_equal(remotes_smux_dropped(b.r, &p[0].addr, 2), 1); /* two sessions had begun with it */
    p[0] = pick(&b, UINT_MAX);
    assert_true(p[0].smux_ver == 1 && !p[0].smux_known);
    remotes_smux_read(b.r, &p[0].addr, 1);
    p[0] = pick(&b, UINT_MAX);
    assert_true(p[0].smux_ver == 1 && p[0].smux_known);
    remotes_silent(b.r, &p[0], b.w.now, 0);
    p[1] = pick(&b, UINT_MAX);
    assert_true(p[1].rank == 1 && p[1].smux_ver == 2 && !p[1].smux_known);
    remotes_smux_read(b.r, &p[1].addr, 2); /* whatever the port it drew */
    assert_true(pick(&b, UINT_MAX).smux_known);
    assert_int_equal(remotes_smux_dropped(b.r, &p[1].addr, 2), 2); /* it may only have begun anew */
    p[1] = pick(&b, UINT_MAX);
    assert_true(p[1].smux_ver == 2 && !p[1].smux_known);
    assert_int_equal(remotes_smux_dropped(b.r, &p[1].addr, 2), 1);
    p[1].addr.in.sin_addr.s_addr++;
    remotes_smux_read(b.r, &p[1].addr, 2); /* nobody's */
    assert_int_equal(remotes_smux_dropped(b.r, &p[1].addr, 1), 2);
    assert_int_equal(pick(&b, UINT_MAX).smux_ver, 1);
    remotes_smux_read(b.r, &p[0].addr, 1);
    remotes_smux_doubt(b.r, &p[0].addr);
    pass(&b, 8000);
    p[0] = pick(&b, UINT_MAX);
    assert_true(p[0].rank == 0 && p[0].smux_ver == 1 && !p[0].smux_known);
    end(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_by_preference),
        cmocka_unit_test(test_port_ranges),
        cmocka_unit_test(test_silence_is_bounded),
        cmocka_unit_test(test_smux_versions),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
