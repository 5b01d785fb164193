/* tests/fuzz/fuzz_sender.c - a sender over an engine, under any acknowledgements and any calls at any time. Properties: its
 * sums and places agree with its records; its work is a constant for each call and each transmission, whatever the peer says;
 * what was sent gets through as soon as the peer behaves. */
#include "core/sender_priv.h"
#include "tests/support/arq_solo.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

#define MUST(x) ((x) ? (void)0 : abort())

enum {
    WND = 256,
    STEPS = 100, /* of a call or a transmission; the window would be more */
    CHECK_EVERY = 16,
    PATIENCE = 20000, /* turns of 10 ms: who was asked in vain all the time is asked ever less often */
};

struct fuzz {
    const uint8_t *p, *end;
    struct solo solo;
    struct sender *s;
    struct tick now;
    uint64_t work; /* calls and transmissions so far */
};

static uint8_t u8(struct fuzz *f)
{
    return f->p < f->end ? *f->p++ : 0;
}

static void begin_sender(struct fuzz *f)
{
    f->s = sender_new(&(struct sender_params){.arq = f->solo.a, .overhead = 28, .redundancy = 3, .seed = 1}, f->now);
    MUST(f->s);
    f->work += WND; /* what is in flight is taken over */
}

static void flush(struct fuzz *f, unsigned n, uint64_t most, bool company)
{
    f->solo.left = n;
    sender_begin_flush(f->s, f->now, most, company);
    solo_flush(&f->solo, tick_ms(f->now));
    sender_end_flush(f->s, f->solo.left > 0);
    f->work += 1 + f->solo.n_segs;
}

/* When the segment was sent last; 0: it is not in the ring. */
static uint32_t ts_of(const struct fuzz *f, uint32_t sn)
{
    const struct arq *a = f->solo.a;

    return a->out_cap && arq_within(sn, a->st.snd_una, a->st.snd_nxt) ? arq_out_at(a, sn)->ts : 0;
}

static void input(struct fuzz *f, uint8_t cmd, uint32_t sn, uint32_t ts, uint32_t una, uint16_t wnd, unsigned flags)
{
    const struct arq_seg seg = {.cmd = cmd, .wnd = wnd, .ts = ts, .sn = sn, .una = una};

    solo_input(&f->solo, seg, flags, tick_ms(f->now));
    f->work++;
}

/* A datagram of a few acknowledgements, the later half of them further up. */
static void acks(struct fuzz *f)
{
    uint32_t una = arq_state(f->solo.a)->snd_una, sn = una + u8(f);
    uint8_t how = u8(f);

    sender_begin_input(f->s, f->now);
    for (unsigned i = 0; i <= how % 4; i++, sn += how / 64)
        input(f, ARQ_SEG_ACK, sn, ts_of(f, sn) - (how >> 3 & 1), una - (how >> 2 & 1), UINT16_MAX,
              how & 16 ? ARQ_RECOVERED : 0);
    sender_end_input(f->s);
}

static void other_word(struct fuzz *f)
{
    uint32_t una = arq_state(f->solo.a)->snd_una + u8(f);

    sender_begin_input(f->s, f->now);
    input(f, ARQ_SEG_WINS, 0, 0, una, (uint16_t)(u8(f) * 257), 0);
    sender_end_input(f->s);
}

/* The mode changes, and back after a flush by the engine's own rules. */
static void change(struct fuzz *f)
{
    MUST(sender_leave(f->s, f->now));
    f->s = sender_free(f->s);
    arq_knobs(f->solo.a)->resend = 2;
    solo_flush(&f->solo, tick_ms(f->now));
    f->work += f->solo.n_segs + WND;
    begin_sender(f);
}

static void knob(struct fuzz *f, uint8_t v)
{
    sender_retune(f->s, v % 5, v / 5 % 5);
    sender_back_loss(f->s, v / 256.0);
    sender_charge(f->s, sender_parity(f->s, 10, 3, v & 1) * 1400);
    sender_sent(f->s, v);
    arq_knobs(f->solo.a)->snd_wnd = v & 2 ? WND : 1 + v;
    if (v & 4)
        sender_peer_is_ours(f->s);
}

static void pause(struct fuzz *f)
{
    f->now = tick_add_ms(f->now, 500);
    arq_trim(f->solo.a);
    sender_trim(f->s);
    f->work += WND;
}

static void act(struct fuzz *f)
{
    uint8_t op = u8(f);

    f->work++;
    switch (op % 16) {
    case 0:
        f->now = tick_add_ms(f->now, u8(f));
        break;
    case 1:
        f->now = tick_add_us(f->now, u8(f) * UINT64_C(8));
        break;
    case 2:
    case 3:
        flush(f, u8(f), UINT64_MAX, op & 16);
        break;
    case 4:
        f->s->urgent = u8(f); /* however little the path is thought to carry */
        flush(f, f->s->urgent, UINT64_MAX, false);
        break;
    case 5:
        flush(f, 1, u8(f) * UINT64_C(64), op & 16);
        break;
    case 6:
    case 7:
    case 8:
        acks(f);
        break;
    case 9:
        other_word(f);
        break;
    case 10:
    case 11:
        sender_gap(f->s, f->now);
        break;
    case 12:
        sender_gap_over(f->s);
        break;
    case 13:
        knob(f, u8(f));
        break;
    case 14:
        sender_moved(f->s, f->now);
        break;
    case 15:
        if (op & 16)
            change(f);
        else
            pause(f);
        break;
    }
}

static void check(const struct fuzz *f)
{
    const struct sender *s = f->s;
    uint64_t bytes = 0;
    uint32_t n = 0;

    MUST(s->spared - s->first <= s->scan - s->first && s->scan - s->first <= s->next - s->first);
    MUST(!s->cap || s->next - s->first < s->cap);
    for (uint32_t no = s->first; no != s->next; no++) {
        const struct sender_rec *r = sender_rec_at(s, no);

        if (r->state != REC_FLYING)
            continue;
        MUST(no - s->spared < s->next - s->spared);
        bytes += r->bytes;
        n++;
    }
    MUST(n == s->n_flying && bytes == s->inflight);
    MUST(s->gaps.n <= LEN(s->gaps.v));
    MUST(!arq_state(f->solo.a)->n_inflight || sender_deadline(s).us != TICK_NEVER.us);
    MUST(arq_steps <= STEPS * (f->work + WND));
}

/* The peer acknowledges whatever comes. */
static void behave(struct fuzz *f)
{
    const struct arq_state *st = arq_state(f->solo.a);

    for (unsigned i = 0; st->n_inflight; i++) {
        MUST(i < PATIENCE);
        f->now = tick_add_ms(f->now, 10);
        flush(f, 0, UINT64_MAX, false);
        sender_begin_input(f->s, f->now);
        for (unsigned k = 0; k < MIN(f->solo.n_segs, LEN(f->solo.seg)); k++)
            if (f->solo.seg[k].cmd == ARQ_SEG_PUSH)
                input(f, ARQ_SEG_ACK, f->solo.seg[k].sn, f->solo.seg[k].ts, st->snd_una, UINT16_MAX, 0);
        sender_end_input(f->s);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    static struct fuzz f;

    f = (struct fuzz){.p = data, .end = data + len, .now = {5000000}};
    arq_steps = 0;
    solo_init(&f.solo, &solo_params, WND);
    solo_open(&f.solo);
    begin_sender(&f);
    for (unsigned i = 0; f.p < f.end; i++) {
        act(&f);
        if (i % CHECK_EVERY == 0)
            check(&f);
    }
    check(&f);
    behave(&f);
    flush(&f, 0, UINT64_MAX, false); /* transmissions that nobody answered for are let go */
    check(&f);
    MUST(!f.s->n_flying && !f.s->inflight);
    sender_free(f.s);
    solo_fini(&f.solo);
    return 0;
}
