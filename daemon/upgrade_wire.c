/* daemon/upgrade_wire.c - the codec of upgrades. Everything is checked before anything is believed. */
#include "daemon/upgrade_wire.h"

enum { ADDR_NONE, ADDR_V4 = 4, ADDR_V6 = 6 };

static void put_le64_to(struct wr *w, uint64_t v)
{
    wr_le32(w, (uint32_t)v);
    wr_le32(w, (uint32_t)(v >> 32));
}

static uint64_t get_le64_from(struct rd *r)
{
    uint64_t low = rd_le32(r);

    return low | (uint64_t)rd_le32(r) << 32;
}

size_t upgrade_msg_put(uint8_t *out, size_t room, const struct upgrade_msg *m)
{
    const char *text = m->text ? m->text : "";
    struct wr w = wr_to(out, room);

    if (strlen(text) > UPGRADE_TEXT_MAX)
        return 0;
    wr_u8(&w, (uint8_t)m->type);
    wr_le32(&w, m->a);
    wr_le32(&w, m->b);
    wr_le32(&w, m->c);
    put_le64_to(&w, m->d);
    wr_le16(&w, (uint16_t)strlen(text));
    wr_bytes(&w, text, strlen(text));
    wr_bytes(&w, m->body.p, m->body.len);
    return w.bad ? 0 : (size_t)(w.p - out);
}

int upgrade_msg_parse(struct upgrade_msg *m, char *text, struct bytes b)
{
    struct rd r = rd_from(b.p, b.len);
    struct upgrade_msg g = {.type = rd_u8(&r)};
    const uint8_t *p;
    size_t n;

    g.a = rd_le32(&r);
    g.b = rd_le32(&r);
    g.c = rd_le32(&r);
    g.d = get_le64_from(&r);
    n = rd_le16(&r);
    p = rd_take(&r, n);
    if (r.bad || g.type < UPGRADE_HELLO || n > UPGRADE_TEXT_MAX || memchr(p, 0, n))
        return UPGRADE_MALFORMED;
    memcpy(text, p, n);
    text[n] = 0;
    g.text = text;
    g.body = bytes_of(r.p, rd_left(&r));
    *m = g;
    return 0;
}

/* | 0 | or | 4 | port | address | or | 6 | port | address | scope u32 |        port and address in network order */
static void put_addr(struct wr *w, const struct sockaddr_any *a)
{
    if (a->len && a->sa.sa_family == AF_INET) {
        wr_u8(w, ADDR_V4);
        wr_bytes(w, &a->in.sin_port, 2);
        wr_bytes(w, &a->in.sin_addr, 4);
    } else if (a->len && a->sa.sa_family == AF_INET6) {
        wr_u8(w, ADDR_V6);
        wr_bytes(w, &a->in6.sin6_port, 2);
        wr_bytes(w, &a->in6.sin6_addr, 16);
        wr_le32(w, a->in6.sin6_scope_id);
    } else {
        wr_u8(w, ADDR_NONE);
    }
}

static void copy(struct rd *r, void *to, size_t n)
{
    const uint8_t *p = rd_take(r, n);

    if (p)
        memcpy(to, p, n);
}

static struct sockaddr_any get_addr(struct rd *r)
{
    struct sockaddr_any a = {.len = 0};

    switch (rd_u8(r)) {
    case ADDR_NONE:
        break;
    case ADDR_V4:
        a.in.sin_family = AF_INET;
        a.len = sizeof a.in;
        copy(r, &a.in.sin_port, 2);
        copy(r, &a.in.sin_addr, 4);
        break;
    case ADDR_V6:
        a.in6.sin6_family = AF_INET6;
        a.len = sizeof a.in6;
        copy(r, &a.in6.sin6_port, 2);
        copy(r, &a.in6.sin6_addr, 16);
        a.in6.sin6_scope_id = rd_le32(r);
        break;
    default:
        r->bad = true;
    }
    return a;
}

void upgrade_session_put(struct wr *w, const struct upgrade_session *s)
{
    wr_le32(w, s->set);
    wr_le32(w, s->conv);
    put_addr(w, &s->remote);
}

bool upgrade_session_next(struct rd *r, struct upgrade_session *s)
{
    if (r->bad || !rd_left(r))
        return false;
    s->set = rd_le32(r);
    s->conv = rd_le32(r);
    s->remote = get_addr(r);
    r->bad = r->bad || !s->remote.len;
    return !r->bad;
}

/* | length of name u8 | name | value u64 | */
void upgrade_counter_put(struct wr *w, const char *name, uint64_t value)
{
    size_t n = strlen(name);

    wr_u8(w, (uint8_t)n);
    wr_bytes(w, name, n);
    put_le64_to(w, value);
}

bool upgrade_counter_next(struct rd *r, char name[UPGRADE_NAME_MAX + 1], uint64_t *value)
{
    const uint8_t *p;
    size_t n;

    if (r->bad || !rd_left(r))
        return false;
    n = rd_u8(r);
    p = rd_take(r, n);
    *value = get_le64_from(r);
    r->bad = r->bad || n > UPGRADE_NAME_MAX || memchr(p, 0, n);
    if (r->bad)
        return false;
    memcpy(name, p, n);
    name[n] = 0;
    return true;
}

size_t upgrade_run_put(uint8_t *out, size_t room, const struct upgrade_run *run)
{
    const struct upgrade_msg m = {.type = UPGRADE_RUN, .a = run->set, .b = run->port, .c = run->seg, .d = run->tunnel};
    size_t n = upgrade_msg_put(out, room, &m);
    struct wr w = wr_to(out + n, room - n);

    put_addr(&w, &run->from);
    put_addr(&w, &run->to);
    return n && !w.bad ? (size_t)(w.p - out) : 0;
}

int upgrade_run_parse(struct upgrade_run *run, struct bytes b)
{
    char text[UPGRADE_TEXT_MAX + 1];
    struct upgrade_msg m;
    struct upgrade_run g;
    struct rd r;

    if (upgrade_msg_parse(&m, text, b) || m.type != UPGRADE_RUN)
        return UPGRADE_MALFORMED;
    r = rd_from(m.body.p, m.body.len);
    g = (struct upgrade_run){.tunnel = m.d, .set = m.a, .port = m.b, .seg = m.c};
    g.from = get_addr(&r);
    g.to = get_addr(&r);
    g.data = bytes_of(r.p, rd_left(&r));
    if (r.bad || !g.from.len || !g.seg || !g.data.len || g.data.len > UINT16_MAX)
        return UPGRADE_MALFORMED;
    *run = g;
    return 0;
}
