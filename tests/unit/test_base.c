/* tests/unit/test_base.c - the floor: pools, piece queues (against a plain byte array), codecs, lists, the trace. */
#include "core/base/buf.h"
#include "core/base/err.h"
#include "core/base/tick.h"
#include "core/base/utf8.h"
#include "core/base/wire.h"

#include "tests/support/vectors.h"

#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum { SLAB = 256 * 1024 }; /* what a pool takes from the system at a time */

static void test_pool_limit(void **state)
{
    struct buf_pool *p = buf_pool_new(2048, 2 * SLAB + 1);
    struct buf *all = NULL, *b;
    size_t n = 0;

    (void)state;
    assert_int_equal(buf_pool_size(p), 2048);
    assert_int_equal(buf_pool_memory(p), 0);
    while ((b = buf_get(p))) {
        assert_int_equal((uintptr_t)b->mem % 16, 0);
        assert_int_equal(b->off | b->len, 0);
        memset(b->mem, (int)n, 2048);
        b->next = all;
        all = b;
        n++;
    }
    assert_int_equal(buf_pool_memory(p), 2 * SLAB);
    assert_int_equal(buf_pool_in_use(p), n);
    assert_true(n > 2 * (SLAB / 2048) * 9 / 10); /* the overhead is small */
    buf_pool_set_limit(p, 3 * SLAB);
    b = buf_get(p);
    assert_non_null(b);
    buf_put(b);
    for (size_t i = n; i--;) { /* nobody wrote into anybody else's */
        b = all;
        all = b->next;
        for (size_t k = 0; k < 2048; k++)
            assert_int_equal(b->mem[k], (uint8_t)i);
        buf_put(b);
    }
    buf_put(NULL);
    assert_int_equal(buf_pool_in_use(p), 0);
    assert_int_equal(buf_pool_used(p), 0);
    assert_null(buf_pool_free(p));
    assert_null(buf_pool_free(NULL));
}

static struct buf *take(struct buf_pool *p, unsigned n)
{
    struct buf *all = NULL;

    while (n--) {
        struct buf *b = buf_get(p);

        assert_non_null(b);
        b->next = all;
        all = b;
    }
    return all;
}

static void give(struct buf *all)
{
    while (all) {
        struct buf *b = all;

        all = b->next;
        buf_put(b);
    }
}

/* Bursts that come again find the memory of the last one; when they stop, all of it but a slab is gone after few ages. */
static void test_pool_ages(void **state)
{
    enum { MOST = 20 * SLAB / 2048 };
    struct buf_pool *p = buf_pool_new(2048, 0);
    size_t high = 0;
    unsigned ages = 0;

    (void)state;
    assert_false(buf_pool_has_spare(p));
    for (unsigned i = 0; i < 10; i++) {
        struct buf *all = take(p, MOST);

        high = high ? high : buf_pool_memory(p);
        assert_true(high >= 20 * SLAB);
        assert_int_equal(buf_pool_memory(p), high);
        assert_int_equal(buf_pool_used(p), high);
        assert_false(buf_pool_has_spare(p));
        give(all);
        assert_int_equal(buf_pool_used(p), 0);
        assert_true(buf_pool_has_spare(p));
        buf_pool_age(p);
        assert_int_equal(buf_pool_memory(p), high);
    }
    give(take(p, MOST / 4)); /* less is needed: half goes, then what this needs stays */
    buf_pool_age(p);
    assert_true(buf_pool_memory(p) >= high / 4 && buf_pool_memory(p) <= high / 2);
    while (buf_pool_has_spare(p)) {
        size_t before = buf_pool_memory(p);

        buf_pool_age(p);
        assert_true(buf_pool_memory(p) <= before);
        assert_true(++ages < 10);
    }
    assert_int_equal(buf_pool_memory(p), SLAB);
    buf_pool_free(p);
}

/* Memory in use does not age, and the empty slabs among it do. */
static void test_pool_ages_in_use(void **state)
{
    struct buf_pool *p = buf_pool_new(2048, 0);
    struct buf *all = take(p, 5 * SLAB / 2048), *more = take(p, 50 * SLAB / 2048);
    size_t used;

    (void)state;
    give(more);
    used = buf_pool_used(p);
    assert_true(used >= 5 * SLAB && used <= 7 * SLAB);
    for (unsigned i = 0; i < 10; i++)
        buf_pool_age(p);
    assert_int_equal(buf_pool_memory(p), used);
    assert_false(buf_pool_has_spare(p));
    give(all);
    buf_pool_free(p);
}

/* Whatever the order of gets and puts: each buffer has one owner, and memory follows use. */
static void test_pool_random(void **state)
{
    enum { MOST = 4000 };
    static struct buf *held[MOST];
    struct buf_pool *p = buf_pool_new(1000, 0);
    struct rng rng = rng_seed(1);
    size_t n = 0, per_slab = SLAB / 1032;

    (void)state;
    for (unsigned step = 0; step < 100000; step++) {
        bool up = step / 5000 % 2 == 0;

        if (n < MOST && (!n || rng_below(&rng, 4) < (up ? 3u : 1u))) {
            struct buf *b = buf_get(p);

            assert_non_null(b);
            b->len = (uint32_t)n;
            held[n++] = b;
        } else {
            size_t i = rng_below(&rng, (uint32_t)n);

            assert_int_equal(held[i]->len, i);
            buf_put(held[i]);
            held[i] = held[--n];
            if (i < n)
                held[i]->len = (uint32_t)i;
        }
        assert_int_equal(buf_pool_in_use(p), n);
        assert_true(buf_pool_used(p) >= n / (per_slab + 8) * SLAB);
        assert_true(buf_pool_memory(p) >= buf_pool_used(p));
        if (step % 500 == 0)
            buf_pool_age(p);
    }
    while (n)
        buf_put(held[--n]);
    assert_int_equal(buf_pool_used(p), 0);
    buf_pool_free(p);
}

#ifdef __SANITIZE_ADDRESS__
#define ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define ASAN 1
#endif
#endif

#ifdef ASAN
static bool dies_by_write(volatile uint8_t *at)
{
    int status;
    pid_t pid = fork();

    assert_true(pid >= 0);
    if (!pid) {
        close(STDERR_FILENO);
        *at = 1;
        _exit(0);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    return status != 0;
}
#endif

static void test_pool_poison(void **state)
{
    (void)state;
#ifdef ASAN
    struct buf_pool *p = buf_pool_new(1001, 0);
    struct buf *a = buf_get(p), *b = buf_get(p);

    assert_false(dies_by_write(&b->mem[1000]));
    assert_true(dies_by_write(&b->mem[1001]));
    assert_true(dies_by_write((uint8_t *)b + 2 * ((uint8_t *)b - (uint8_t *)a))); /* never handed out */
    buf_put(b);
    assert_true(dies_by_write(&b->mem[0]));
    assert_ptr_equal(buf_get(p), b);
    assert_false(dies_by_write(&b->mem[0]));
    buf_put(a);
    buf_put(b);
    buf_pool_free(p);
#else
    skip();
#endif
}

/* The model of a queue: its bytes; lent memory is a heap block that is freed when the loan ends. */
struct model {
    struct bufq q;
    struct buf_pool *pool;
    uint8_t bytes[1 << 18];
    size_t from, to;
    void *lent[64];
    unsigned n_lent;
    uint8_t next;
};

static void model_init(struct model *m, size_t size, size_t limit)
{
    memset(m, 0, sizeof *m);
    m->pool = buf_pool_new(size, limit);
}

static void model_fini(struct model *m)
{
    bufq_fini(&m->q);
    assert_int_equal(m->q.n | m->q.cap | m->q.n_lent, 0);
    while (m->n_lent)
        free(m->lent[--m->n_lent]);
    assert_int_equal(buf_pool_in_use(m->pool), 0);
    buf_pool_free(m->pool);
}

static struct bytes model_more(struct model *m, size_t n)
{
    uint8_t *p = malloc(n + !n);

    if (sizeof m->bytes - m->to < n) {
        memmove(m->bytes, m->bytes + m->from, m->to - m->from);
        m->to -= m->from;
        m->from = 0;
    }
    for (size_t i = 0; i < n; i++)
        p[i] = m->bytes[m->to++] = m->next = (uint8_t)(m->next * 5 + 7);
    return bytes_of(p, n);
}

static void model_lend(struct model *m, size_t n)
{
    struct bytes b = model_more(m, n);

    assert_int_equal(bufq_lend(&m->q, b), 0);
    m->lent[m->n_lent++] = (void *)b.p;
}

static int model_copy(struct model *m, size_t n)
{
    struct bytes b = model_more(m, n);
    int r = bufq_copy_in(&m->q, m->pool, b);

    free((void *)b.p);
    return r;
}

static int model_settle(struct model *m)
{
    int r = bufq_settle(&m->q, m->pool);

    assert_int_equal(m->q.n_lent, 0);
    while (m->n_lent)
        free(m->lent[--m->n_lent]);
    return r;
}

static void model_check(const struct model *m)
{
    struct bytes v[512];
    unsigned n = bufq_view(&m->q, v, LEN(v)), lent = 0;
    size_t at = m->from;

    assert_int_equal(m->q.bytes, m->to - m->from);
    assert_int_equal(n, m->q.n);
    for (unsigned i = 0; i < n; i++) {
        assert_true(v[i].len > 0);
        assert_memory_equal(v[i].p, m->bytes + at, v[i].len);
        at += v[i].len;
        lent += !m->q.v[(m->q.head + i) & (m->q.cap - 1)].own;
    }
    assert_int_equal(at, m->to);
    assert_int_equal(lent, m->q.n_lent);
    if (n > 1) {
        assert_int_equal(bufq_view(&m->q, v, 1), 1);
        assert_memory_equal(v[0].p, m->bytes + m->from, v[0].len);
    }
}

static void model_away(struct model *m, size_t n, bool take)
{
    uint8_t *dst = malloc(n + !n);

    if (take) {
        bufq_take(&m->q, dst, n);
        assert_memory_equal(dst, m->bytes + m->from, n);
    } else {
        bufq_drop(&m->q, n);
    }
    m->from += n;
    free(dst);
}

static void test_bufq_random(void **state)
{
    static struct model m;
    struct rng rng = rng_seed(2);

    (void)state;
    for (unsigned run = 0; run < 40; run++) {
        model_init(&m, 1 + rng_below(&rng, 200), 0);
        for (unsigned step = 0; step < 1000; step++) {
            uint32_t some = rng_below(&rng, 8) ? rng_below(&rng, 300) : rng_below(&rng, 3);

            if (m.q.n > 400)
                model_away(&m, m.q.bytes, step & 1);
            switch (rng_below(&rng, 6)) {
            case 0:
            case 1:
                if (m.n_lent == LEN(m.lent))
                    assert_int_equal(model_settle(&m), 0);
                model_lend(&m, some);
                break;
            case 2:
                assert_int_equal(model_copy(&m, some), 0);
                break;
            case 3:
                assert_int_equal(model_settle(&m), 0);
                break;
            default:
                model_away(&m, MIN(m.q.bytes, some), rng_below(&rng, 2));
            }
            model_check(&m);
        }
        model_fini(&m);
    }
}

/* The order that a rotation could get wrong: lent bytes in front, a half-full buffer behind them. */
static void test_bufq_copy_behind_lent(void **state)
{
    static struct model m;

    (void)state;
    model_init(&m, 64, 0);
    model_lend(&m, 10);
    assert_int_equal(model_copy(&m, 10), 0);
    model_check(&m);
    model_lend(&m, 100);
    assert_int_equal(model_copy(&m, 3), 0);
    assert_int_equal(model_settle(&m), 0);
    model_check(&m);
    assert_int_equal(m.q.n, 2); /* 123 bytes in two buffers of 64: nothing half empty in between */
    model_fini(&m);
}

/* A pool that gives out keeps the front of the queue, in order; nothing leaks. */
static void test_bufq_no_memory(void **state)
{
    static struct model m;
    struct rng rng = rng_seed(3);

    (void)state;
    for (unsigned run = 0; run < 50; run++) {
        struct buf *hold[4000];
        unsigned n_hold = 0, spare = rng_below(&rng, 6);
        size_t had;
        int r;

        model_init(&m, 80, SLAB);
        while ((hold[n_hold] = buf_get(m.pool)))
            n_hold++;
        for (unsigned i = 0; i < spare; i++)
            buf_put(hold[--n_hold]);
        if (rng_below(&rng, 2))
            r = model_copy(&m, 1 + rng_below(&rng, 200));
        else
            r = 0;
        for (unsigned i = 0; !r && i < 5; i++)
            model_lend(&m, rng_below(&rng, 150));
        had = m.to - m.from;
        if (!r)
            r = rng_below(&rng, 2) ? model_settle(&m) : model_copy(&m, 1 + rng_below(&rng, 100));
        had = MAX(had, m.to - m.from);
        assert_int_equal(m.q.n_lent, 0);
        assert_true(r == 0 || r == -ENOMEM);
        if (r) {
            assert_int_equal(m.q.bytes, spare * 80); /* every spare buffer is full */
            assert_true(m.q.bytes < had);
            m.to = m.from + m.q.bytes;
        }
        assert_int_equal(buf_pool_in_use(m.pool), n_hold + m.q.n);
        model_check(&m);
        bufq_fini(&m.q);
        while (n_hold)
            buf_put(hold[--n_hold]);
        model_fini(&m);
    }
}

static void test_wire(void **state)
{
    static const uint8_t wire[] = {0x01, 0x03, 0x02, 0x06, 0x05, 0x04, 0xfa, 0xf9, 0xf8, 0xf7, 'x', 'y'};

    (void)state;
    for (size_t n = 0; n <= sizeof wire; n++) { /* every truncation, on its own heap block */
        uint8_t *p = memcpy(malloc(n + !n), wire, n), *out = malloc(n + !n);
        struct rd r = rd_from(p, n);
        struct wr w = wr_to(out, n);
        const uint8_t *tail;

        assert_int_equal(rd_left(&r), n);
        assert_int_equal(rd_u8(&r), n >= 1 ? 0x01 : 0);
        assert_int_equal(rd_le16(&r), n >= 3 ? 0x0203 : 0);
        (void)rd_take(&r, 3);
        assert_int_equal(rd_le32(&r), n >= 10 ? 0xf7f8f9fa : 0);
        tail = rd_take(&r, 2);
        assert_ptr_equal(tail, n >= 12 ? p + 10 : NULL);
        assert_int_equal(r.bad, n < 12);
        assert_int_equal(rd_left(&r), 0);
        assert_int_equal(rd_u8(&r), 0); /* bad stays bad */
        assert_true(r.bad);

        wr_u8(&w, 0x01);
        wr_le16(&w, 0x0203);
        wr_le24(&w, 0xff040506); /* the upper byte is not the writer's */
        wr_le32(&w, 0xf7f8f9fa);
        wr_bytes(&w, "xy", 2);
        assert_int_equal(w.bad, n < 12);
        if (n == 12)
            assert_memory_equal(out, wire, 12);
        wr_bytes(&w, "", 0);
        wr_u8(&w, 0);
        assert_true(w.bad);
        free(p);
        free(out);
    }
    assert_int_equal(get_be32((const uint8_t *)"\x01\x02\x03\xf4"), 0x010203f4);
    assert_int_equal(get_le32((const uint8_t *)"\xf4\x03\x02\x01"), 0x010203f4);
    uint8_t be[4], le[4];
    put_be32(be, 0xf1020304);
    put_le32(le, 0xf1020304);
    assert_memory_equal(be, "\xf1\x02\x03\x04", 4);
    assert_memory_equal(le, "\x04\x03\x02\xf1", 4);
    struct rd none = rd_from(NULL, 0);
    assert_null(rd_take(&none, 0));
    assert_false(none.bad);
    assert_null(rd_take(&none, SIZE_MAX));
    assert_true(none.bad);
}

static void test_tick(void **state)
{
    (void)state;
    assert_true(tick_add_us((struct tick){UINT64_MAX - 5}, 6).us == TICK_NEVER.us);
    assert_int_equal(tick_add_ms((struct tick){1}, 2).us, 2001);
    assert_int_equal(tick_since_us((struct tick){5}, (struct tick){7}), 0);
    assert_int_equal(tick_ms((struct tick){UINT64_C(4294967296) * 1000 + 5999}), 5);
    assert_true(serial_before(0xffffffff, 0));
    assert_false(serial_before(0, 0xffffffff));
    assert_false(serial_before(7, 7));
    assert_int_equal(serial_diff(2, 0xfffffffe), 4);
}

struct item {
    int n;
    struct list node;
};

static int order(struct list *head) /* the items as decimal digits */
{
    int sum = 0;

    LIST_EACH(it, head, struct item, node) {
        sum = sum * 10 + it->n;
    }
    return sum;
}

static void test_list(void **state)
{
    struct item v[4] = {{1, {0}}, {2, {0}}, {3, {0}}, {4, {0}}};
    struct list a, b, zero = {0};

    (void)state;
    list_init(&a);
    list_init(&b);
    assert_true(list_empty(&a) && list_empty(&zero));
    assert_null(LIST_FIRST(&a, struct item, node));
    assert_int_equal(order(&zero), 0);
    list_del(&v[0].node); /* in no list */
    list_push(&a, &v[1].node);
    list_push(&a, &v[2].node);
    list_push_front(&a, &v[0].node);
    assert_int_equal(order(&a), 123);
    assert_true(list_linked(&v[0].node));
    list_push(&b, &v[3].node);
    list_splice(&b, &a);
    assert_true(list_empty(&a));
    assert_int_equal(order(&b), 4123);
    list_splice(&b, &a); /* nothing */
    assert_int_equal(order(&b), 4123);
    LIST_EACH(it, &b, struct item, node) {
        if (it->n % 2)
            list_del(&it->node);
    }
    assert_int_equal(order(&b), 42);
    assert_false(list_linked(&v[0].node));
    assert_int_equal(LIST_FIRST(&b, struct item, node)->n, 4);
    LIST_EACH(it, &b, struct item, node) /* a break leaves */
    {
        list_del(&it->node);
        break;
    }
    assert_int_equal(order(&b), 2);
}

static int fails_deep(void)
{
    return err_say(-ENOENT, "open \"%s\"", "x");
}

static void test_err(void **state)
{
    (void)state;
    char long_text[2000];

    assert_int_equal(err_pass(fails_deep()), -ENOENT);
    assert_string_equal(err_text(), "open \"x\": No such file or directory");
    assert_non_null(strstr(err_trace(), "test_base.c:"));
    assert_non_null(strstr(err_trace(), " < "));
    assert_int_equal(err_here(-ENOMEM), -ENOMEM); /* the newest only */
    assert_string_equal(err_text(), strerror(ENOMEM));
    assert_null(strstr(err_trace(), " < "));
    assert_int_equal(err_say(3, "odd"), 3);
    assert_string_equal(err_text(), "odd");

    memset(long_text, 'y', sizeof long_text - 1);
    long_text[sizeof long_text - 1] = 0;
    err_say(-EIO, "%s", long_text);
    assert_true(strlen(err_text()) < 512);
    for (unsigned i = 0; i < 500; i++)
        err_pass(-EIO);
    assert_true(strlen(err_trace()) < 256);
}

static int freed;
struct thing {
    int n;
};
static struct thing *thing_free(struct thing *t)
{
    freed += t != NULL;
    return NULL;
}
AUTO_DEFINE(struct thing, thing_free);

static struct thing *made(struct thing *from, bool keep)
{
    AUTO(thing_free) struct thing *t = from;

    return keep ? TAKE(t) : NULL;
}

static void test_auto(void **state)
{
    struct thing t = {0};

    (void)state;
    assert_null(made(&t, false));
    assert_int_equal(freed, 1);
    assert_ptr_equal(made(&t, true), &t);
    assert_int_equal(freed, 1);
}

static const struct {
    const char *in, *want;
} texts[] = {
    {"", ""},
    {"plain, ~", "plain, ~"},
    {"\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80", "\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80"},
    {"a\tb\x1b[1m\x7f", "a?b?[1m?"},
    {"\xff\xfe\x80", "???"},
    {"\xc3", "?"}, /* cut */
    {"\xe2\x82", "??"},
    {"\xf0\x9f\x98", "???"},
    {"\xc3x", "?x"},
    {"\xc0\xaf\xe0\x80\xaf", "?????"}, /* longer than they need be */
    {"\xed\xa0\x80", "???"}, /* half of a pair */
    {"\xf4\x90\x80\x80\xf8\x88\x80\x80\x80", "?????????"}, /* beyond the last */
    {"\xc2\x9b", "??"}, /* a control character of two bytes */
    {"\xc2\xa0\xef\xbf\xbf", "\xc2\xa0\xef\xbf\xbf"},
};

static void test_utf8(void **state)
{
    (void)state;
    for (size_t i = 0; i < LEN(texts); i++) {
        char *s = strdup(texts[i].in);

        utf8_clean(s);
        assert_string_equal(s, texts[i].want);
        free(s);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_pool_limit),
        cmocka_unit_test(test_pool_ages),
        cmocka_unit_test(test_pool_ages_in_use),
        cmocka_unit_test(test_pool_random),
        cmocka_unit_test(test_pool_poison),
        cmocka_unit_test(test_bufq_random),
        cmocka_unit_test(test_bufq_copy_behind_lent),
        cmocka_unit_test(test_bufq_no_memory),
        cmocka_unit_test(test_wire),
        cmocka_unit_test(test_tick),
        cmocka_unit_test(test_list),
        cmocka_unit_test(test_err),
        cmocka_unit_test(test_auto),
        cmocka_unit_test(test_utf8),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
