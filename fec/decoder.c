/* fec/decoder.c - groups on the way in. Source: the FEC description, sections 4 and 5.
 *
 * When is a recovery safe? A group decoded under a wrong shape yields packets that pass every check further up, so a
 * shape must be proven, not just not contradicted. Each packet's type narrows the peer's possible shapes (tuner.h).
 * All that a group's code depends on is its first seqid and D, so a group may be recovered once all possible shapes
 * agree on the start and what is known of D suffices:
 * - data shards are points on a polynomial of degree below D and parity further points, so hi shards, hi the largest
 *   possible D, rebuild it whatever D is: more unknowns than needed do no harm;
 * - a position below lo, the smallest possible D, is data. If the last data packet is lost, it might have been parity
 *   of a smaller code; then any D - 1 shards would predict all others, and one wrong prediction refutes that.
 * In a session's first group the start is seqid 0 for every shape, and recovery works at once, except when the first
 * parity is lost and so much else that no shard is left over: then, as in the middle of a stream, the group waits for
 * the packets that decide, one group later as a rule. A configured shape needs no other treatment: groups are collected
 * under it until a packet contradicts it. */
#include "fec/decoder.h"

#include "core/base/tick.h"
#include "fec/group.h"
#include "fec/plan_cache.h"
#include "fec/rs.h"
#include "fec/tuner.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

enum {
    SIZE_FIELD = SHARD_DATA_HEADER - SHARD_HEADER,
    GROUPS_MAX = 255,
    TESTS = 4, /* refutations tried before waiting is all that is done: they are dear for large D */
    RESYNC = 128, /* packets in a row behind the window: the peer has started over */
};

struct slot {
    struct group *g; /* NULL: nothing of it seen yet, or done */
    bool done; /* complete, recovered or given up: late packets are ignored */
};

struct fec_decoder {
    unsigned data, parity, n; /* shape in force; n = data + parity */
    uint32_t paws;
    bool sure; /* false: contradicted or never known, nothing is collected */
    bool started; /* newest means something */
    unsigned tests_left, stale;
    struct tuner tuner;
    struct rs *rs; /* of the shape in force; made when first needed */
    struct plan_cache plans;
    struct group_pool groups;
    unsigned n_deferred; /* groups that wait for proof of the shape */
    struct buf *given; /* what fec_decoder_next() handed out last */
    struct buf *out, **out_end; /* recovered, to be handed out */
    size_t n_out;
    struct buf_pool *pool;
    struct fec_decoder_counts counts;
    bool seen; /* last_seen means something */
    uint32_t last_seen; /* highest seqid that arrived */
    uint32_t newest; /* group number */
    unsigned head; /* its slot; b groups back is b slots before, cyclically */
    unsigned n_slots;
    struct slot slots[];
};

static void set_shape(struct fec_decoder *d, unsigned data, unsigned parity)
{
    d->data = data;
    d->parity = parity;
    d->n = data + parity;
    d->paws = UINT32_MAX / d->n * d->n;
    group_pool_init(&d->groups, d->n);
}

struct fec_decoder *fec_decoder_new(const struct fec_decoder_params *p)
{
    bool known = p->data && p->parity;
    struct fec_decoder *d;

    if (p->groups < 3 || p->groups > GROUPS_MAX)
        return NULL;
    if (p->data > SHARD_MAX_N || p->parity > SHARD_MAX_N || p->data + p->parity > SHARD_MAX_N)
        return NULL;
    d = calloc(1, sizeof *d + (p->groups + 1) * sizeof d->slots[0]);
    if (!d)
        return NULL;
    d->n_slots = p->groups + 1;
    d->pool = p->pool;
    d->out_end = &d->out;
    d->sure = known;
    d->tests_left = TESTS;
    tuner_init(&d->tuner);
    set_shape(d, known ? p->data : 1, known ? p->parity : 1);
    return d;
}

/* Leaves the slot empty; its buffers and lent packets are let go. */
static void slot_clear(struct fec_decoder *d, struct slot *s)
{
    if (s->g) {
        d->n_deferred -= s->g->deferred;
        group_put(&d->groups, s->g);
    }
    *s = (struct slot){0};
}

static void slot_finish(struct fec_decoder *d, struct slot *s)
{
    slot_clear(d, s);
    s->done = true;
}

static void slot_fail(struct fec_decoder *d, struct slot *s)
{
    d->counts.errs++;
    slot_finish(d, s);
}

static void forget_groups(struct fec_decoder *d)
{
    for (unsigned i = 0; i < d->n_slots; i++)
        slot_clear(d, &d->slots[i]);
    d->started = false;
    d->stale = 0;
}

static void put_given(struct fec_decoder *d)
{
    buf_put(d->given);
    d->given = NULL;
}

struct fec_decoder *fec_decoder_free(struct fec_decoder *d)
{
    struct bytes b;

    if (!d)
        return NULL;
    while (fec_decoder_next(d, &b))
        ;
    forget_groups(d);
    group_pool_trim(&d->groups);
    plan_cache_fini(&d->plans);
    rs_free(d->rs);
    free(d);
    return NULL;
}

/* Begins behind seqid: its group and all before may have lost nothing but our record of what arrived, so they count as
 * done. */
static void begin_after(struct fec_decoder *d, uint32_t seqid)
{
    forget_groups(d);
    d->started = true;
    d->last_seen = seqid;
    d->newest = MIN(seqid, d->paws - 1) / d->n;
    for (unsigned i = 0; i < d->n_slots; i++)
        d->slots[i].done = true;
}

static void adopt(struct fec_decoder *d, unsigned data, unsigned parity)
{
    d->sure = true;
    if (data != d->data || parity != d->parity) {
        group_pool_trim(&d->groups);
        plan_cache_fini(&d->plans);
        d->rs = rs_free(d->rs);
        set_shape(d, data, parity);
        d->counts.shape_changes++;
    }
    begin_after(d, d->last_seen);
}

/* Narrows the possible shapes by one packet; stops or resumes as they demand. True if something new was learnt. */
static bool learn(struct fec_decoder *d, const struct shard *s)
{
    int r = tuner_sample(&d->tuner, s->seqid, s->kind == SHARD_DATA);
    unsigned data, parity;

    if (r == TUNER_RESTARTED)
        d->tests_left = TESTS;
    if (!d->seen || r == TUNER_RESTARTED || serial_before(d->last_seen, s->seqid))
        d->last_seen = s->seqid;
    d->seen = true;
    if (d->sure && (r == TUNER_RESTARTED || !tuner_allows(&d->tuner, d->data, d->parity))) {
        forget_groups(d);
        d->sure = false;
    }
    if (!d->sure && tuner_verdict(&d->tuner, &data, &parity))
        adopt(d, data, parity);
    return r != TUNER_SAME;
}

/* The slot of a group; moves the window if the group is newer than all before. NULL: behind the window. */
static struct slot *slot_of(struct fec_decoder *d, uint32_t number)
{
    uint32_t total = d->paws / d->n; /* group numbers wrap there */
    uint32_t ahead = number >= d->newest ? number - d->newest : number + (total - d->newest);

    if (!d->started) {
        d->started = true;
        d->newest = number;
        ahead = 0;
    }
    if (ahead > total / 2) {
        uint32_t back = total - ahead;

        if (back >= d->n_slots)
            return NULL;
        d->stale = 0;
        return &d->slots[(d->head + d->n_slots - back) % d->n_slots];
    }
    for (uint32_t i = MIN(ahead, d->n_slots); i; i--) {
        d->head = (d->head + 1) % d->n_slots;
        if (d->slots[d->head].g)
            d->counts.stranded += d->slots[d->head].g->n_data;
        slot_clear(d, &d->slots[d->head]);
    }
    d->newest = number;
    d->stale = 0;
    return &d->slots[d->head];
}

static void put_all(struct buf *const b[], unsigned n)
{
    for (unsigned i = 0; i < n; i++)
        buf_put(b[i]);
}

/* Runs the plan into n pool buffers. False: there are not so many. */
static bool run_plan(struct fec_decoder *d, const struct rs_plan *p, const struct group *g, struct buf *out[],
                     unsigned n)
{
    uint8_t *dst[SHARD_MAX_N];

    for (unsigned i = 0; i < n; i++) {
        out[i] = buf_get(d->pool);
        if (!out[i]) {
            put_all(out, i);
            return false;
        }
        dst[i] = out[i]->mem;
    }
    rs_plan_run(p, g->rows, dst, g->parity_len);
    return true;
}

/* A lost packet in its padding: the size field must fit and all behind it be zero. */
static bool sound(const uint8_t *shard, size_t len)
{
    size_t size = get_le16(shard);

    if (size < SIZE_FIELD || size > len)
        return false;
    while (size < len)
        if (shard[size++])
            return false;
    return true;
}

/* Takes a rebuilt shard; hands its payload out, or drops it if it cannot be one. */
static void hand_out(struct fec_decoder *d, struct buf *b, size_t len)
{
    if (!sound(b->mem, len)) {
        d->counts.errs++;
        buf_put(b);
        return;
    }
    b->off = SIZE_FIELD;
    b->len = (uint32_t)get_le16(b->mem) - SIZE_FIELD;
    b->next = NULL;
    *d->out_end = b;
    d->out_end = &b->next;
    d->n_out++;
    d->counts.recovered++;
}

/* Rebuilds the missing ones of the first k rows as those of a code of k data shards and hands out the data among them.
 * k is D, or more if D is not known that well. */
static bool rebuild(struct fec_decoder *d, const struct group *g, const struct rs_plan *p)
{
    struct buf *out[SHARD_MAX_N];
    const uint8_t *missing;
    unsigned n = p ? rs_plan_missing(p, &missing) : 0;

    if (!n || d->n_out + n > (size_t)d->n_slots * d->n || !run_plan(d, p, g, out, n))
        return false;
    for (unsigned i = 0; i < n; i++) {
        if (missing[i] < d->data)
            hand_out(d, out[i], g->parity_len);
        else
            buf_put(out[i]);
    }
    return true;
}

static bool rebuild_known(struct fec_decoder *d, const struct group *g)
{
    bool have[SHARD_MAX_N];

    group_have(g, have);
    if (!d->rs)
        d->rs = rs_new(d->data, d->parity);
    return d->rs && rebuild(d, g, plan_cache_get(&d->plans, d->rs, have));
}

static bool rebuild_as(struct fec_decoder *d, const struct group *g, unsigned k)
{
    struct rs *rs = rs_new(k, d->n - k);
    bool have[SHARD_MAX_N], ok;
    struct rs_plan *p;

    group_have(g, have);
    p = rs ? rs_plan_new(rs, have) : NULL;
    ok = rebuild(d, g, p);
    rs_plan_free(p);
    rs_free(rs);
    return ok;
}

/* True if the shards of a group cannot come from D - 1 data shards, whence not from fewer either: all but one data shard
 * then predict that one wrong. False proves nothing. */
static bool refutes_fewer(struct fec_decoder *d, const struct group *g)
{
    struct rs *rs = rs_new(d->data - 1, d->parity + 1);
    struct buf *out[SHARD_MAX_N];
    bool have[SHARD_MAX_N], refuted = false;
    struct rs_plan *p = NULL;
    const uint8_t *missing;
    unsigned n, held = 0;

    group_have(g, have);
    while (held < d->data - 1 && !have[held])
        held++;
    if (rs && held < d->data - 1) {
        have[held] = false;
        p = rs_plan_new(rs, have);
    }
    n = p ? rs_plan_missing(p, &missing) : 0;
    if (n && run_plan(d, p, g, out, n)) {
        for (unsigned i = 0; i < n; i++)
            if (missing[i] == held)
                refuted = !group_row_equals(&g->rows[held], out[i]->mem, g->parity_len);
        put_all(out, n);
    }
    rs_plan_free(p);
    rs_free(rs);
    return refuted;
}

/* Recovers a group that has enough shards if that is safe; else it waits. */
static void try_group(struct fec_decoder *d, struct slot *s)
{
    struct group *g = s->g;
    unsigned lo, hi;
    bool known = tuner_bounds(&d->tuner, g->base, g->last, &lo, &hi);

    if (known && lo < d->data && !g->tested && d->tests_left) {
        g->tested = true;
        d->tests_left--;
        if (refutes_fewer(d, g)) {
            tuner_rule_out_fewer(&d->tuner, g->base, g->last, d->data);
            lo = d->data;
        }
    }
    if (known && lo == d->data && g->n_data + g->n_parity >= hi) {
        if (hi == d->data ? rebuild_known(d, g) : rebuild_as(d, g, hi))
            slot_finish(d, s);
        else
            slot_fail(d, s);
    } else if (!g->deferred) {
        g->deferred = true;
        d->n_deferred++;
    }
}

static void try_deferred(struct fec_decoder *d)
{
    for (unsigned i = 0; i < d->n_slots && d->n_deferred; i++)
        if (d->slots[i].g && d->slots[i].g->deferred)
            try_group(d, &d->slots[i]);
}

static void enter(struct fec_decoder *d, struct slot *s, const struct shard *shard)
{
    unsigned pos = shard->seqid % d->n;
    int r;

    d->counts.parity += shard->kind == SHARD_PARITY && !(s->g && s->g->rows[pos].p);
    if (s->done)
        return;
    if (!s->g)
        s->g = group_get(&d->groups, shard->seqid - pos);
    if (!s->g) {
        slot_fail(d, s);
        return;
    }
    r = group_lend(&d->groups, s->g, pos, shard->kind == SHARD_DATA, shard->code);
    if (r == GROUP_DUPLICATE)
        return;
    if (r == GROUP_INCONSISTENT) {
        slot_fail(d, s);
    } else if (s->g->n_data == d->data) {
        d->counts.full++;
        slot_finish(d, s);
    } else if (s->g->n_data + s->g->n_parity >= d->data) {
        try_group(d, s);
    }
}

static int refuse(struct fec_decoder *d)
{
    d->counts.errs++;
    return SHARD_MALFORMED;
}

int fec_decoder_input(struct fec_decoder *d, const struct shard *s)
{
    bool learnt;
    struct slot *slot;

    put_given(d);
    if (s->kind != SHARD_DATA && s->kind != SHARD_PARITY)
        return refuse(d);
    if (s->code.len < SIZE_FIELD || s->code.len > buf_pool_size(d->pool))
        return refuse(d);
    if (d->sure && s->seqid >= d->paws)
        return refuse(d);
    learnt = learn(d, s);
    if (!d->sure)
        return 0;
    if (s->seqid >= d->paws)
        return refuse(d);
    slot = slot_of(d, s->seqid / d->n);
    if (!slot && ++d->stale >= RESYNC)
        begin_after(d, s->seqid);
    if (slot)
        enter(d, slot, s);
    if (learnt)
        try_deferred(d);
    return 0;
}

bool fec_decoder_next(struct fec_decoder *d, struct bytes *payload)
{
    struct buf *b = d->out;

    put_given(d);
    if (!b)
        return false;
    d->out = b->next;
    if (!d->out)
        d->out_end = &d->out;
    d->n_out--;
    d->given = b;
    *payload = bytes_of(b->mem + b->off, b->len);
    return true;
}

void fec_decoder_settle(struct fec_decoder *d)
{
    put_given(d);
    for (unsigned i = 0; i < d->n_slots && d->groups.n_lent; i++)
        if (d->slots[i].g && !group_settle(&d->groups, d->slots[i].g, d->pool))
            slot_fail(d, &d->slots[i]);
}

void fec_decoder_shape(const struct fec_decoder *d, unsigned *data, unsigned *parity, bool *sure)
{
    *data = d->data;
    *parity = d->parity;
    *sure = d->sure;
}

struct fec_decoder_counts fec_decoder_take_counts(struct fec_decoder *d)
{
    struct fec_decoder_counts c = d->counts;

    d->counts = (struct fec_decoder_counts){0};
    return c;
}

unsigned fec_decoder_groups(const struct fec_decoder *d)
{
    return d->groups.n_out;
}

uint32_t fec_decoder_newest(const struct fec_decoder *d)
{
    return d->newest;
}

void fec_decoder_rest(struct fec_decoder *d)
{
    put_given(d);
    for (unsigned i = 0; i < d->n_slots && d->groups.n_out; i++)
        if (d->slots[i].g)
            slot_finish(d, &d->slots[i]);
    group_pool_trim(&d->groups);
    plan_cache_fini(&d->plans);
}

size_t fec_decoder_memory(const struct fec_decoder *d)
{
    return sizeof *d + d->n_slots * sizeof d->slots[0] + group_pool_memory(&d->groups) + plan_cache_memory(&d->plans);
}
