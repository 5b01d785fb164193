/* daemon/steer.c - the sk_reuseport program and its maps, by bpf(2); the count of connected sockets. */
#include "daemon/steer.h"

#include "daemon/net.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

enum {
    ADDRESSES_MAX = 1 << 16, /* beyond, sessions are handed over; 16 bytes each at once, the rest while they exist */
    SOCKETS_MAX = 1 << 20,
    LOAD_TRIES = 5, /* the verifier gives up when a signal comes */
};

struct key { /* what the program looks up */
    uint8_t ip[16]; /* IPv4 as v4-mapped */
    uint32_t port; /* network order, in the first two bytes as they lie in a register */
};

struct steer {
    uint16_t port_min;
    unsigned n_workers;
    int owners, sockets, prog; /* address to worker; port and worker to socket */
    atomic_int refusal;
    atomic_uint flows[]; /* connected sockets of each port */
};

static int bpf(enum bpf_cmd cmd, union bpf_attr *a)
{
    long r = syscall(__NR_bpf, cmd, a, sizeof *a);

    return r < 0 ? -errno : (int)r;
}

/* ---- the program ---- */

#define INSN(at, op, d, s, o, i) [at] = {.code = (op), .dst_reg = (d), .src_reg = (s), .off = (o), .imm = (i)}
#define MOV(at, d, s)            INSN(at, BPF_ALU64 | BPF_MOV | BPF_X, d, s, 0, 0)
#define SET(at, d, i)            INSN(at, BPF_ALU64 | BPF_MOV | BPF_K, d, 0, 0, i)
#define SUM(at, d, s)            INSN(at, BPF_ALU64 | BPF_ADD | BPF_X, d, s, 0, 0)
#define ADD(at, d, i)            INSN(at, BPF_ALU64 | BPF_ADD | BPF_K, d, 0, 0, i)
#define MUL(at, d, i)            INSN(at, BPF_ALU64 | BPF_MUL | BPF_K, d, 0, 0, i)
#define BE16(at, d)              INSN(at, BPF_ALU | BPF_END | BPF_TO_BE, d, 0, 0, 16)
#define LOAD(at, size, d, s, o)  INSN(at, BPF_LDX | BPF_MEM | (size), d, s, o, 0)
#define STORE(at, size, o, s)    INSN(at, BPF_STX | BPF_MEM | (size), FP, s, o, 0)
#define PUT(at, size, o, i)      INSN(at, BPF_ST | BPF_MEM | (size), FP, 0, o, i)
#define IF_EQ(at, r, i, to)      INSN(at, BPF_JMP | BPF_JEQ | BPF_K, r, 0, (to) - ((at) + 1), i)
#define IF_NE(at, r, i, to)      INSN(at, BPF_JMP | BPF_JNE | BPF_K, r, 0, (to) - ((at) + 1), i)
#define GOTO(at, to)             INSN(at, BPF_JMP | BPF_JA, 0, 0, (to) - ((at) + 1), 0)
#define CALL(at, f)              INSN(at, BPF_JMP | BPF_CALL, 0, 0, 0, BPF_FUNC_##f)
#define EXIT(at)                 INSN(at, BPF_JMP | BPF_EXIT, 0, 0, 0, 0)
#define MAP(at, d, fd)           INSN(at, BPF_LD | BPF_IMM | BPF_DW, d, BPF_PSEUDO_MAP_FD, 0, fd), INSN((at) + 1, 0, 0, 0, 0, 0)

enum { R0, R1, R2, R3, R4, R5, R6, R7, R8, FP = 10 };
enum { PORTS = -40, KEY = -32, KEY_PORT = KEY + 16, INDEX = -8 }; /* on its stack */
enum { V6 = 20, ADDRESS = 24, PASS = 48, END = 50 }; /* in its code */

/* Finds the sender's worker, then that worker's socket of the port it sent to. Whatever fails leaves the choice to the
 * kernel's hash. The data begins at the UDP header; a dual-stack socket sees IPv4 packets as they are. */
static int load_program(const struct steer *s)
{
    const struct bpf_insn code[END] = {
        MOV(0, R6, R1),
        PUT(1, BPF_DW, KEY, 0),
        PUT(2, BPF_DW, KEY + 8, 0),
        SET(3, R2, 0),
        MOV(4, R3, FP),
        ADD(5, R3, PORTS),
        SET(6, R4, 4),
        CALL(7, skb_load_bytes),
        IF_NE(8, R0, 0, PASS),
        LOAD(9, BPF_H, R1, FP, PORTS),
        STORE(10, BPF_W, KEY_PORT, R1),
        LOAD(11, BPF_W, R0, R6, offsetof(struct sk_reuseport_md, eth_protocol)),
        IF_EQ(12, R0, htons(ETH_P_IPV6), V6),
        IF_NE(13, R0, htons(ETH_P_IP), PASS),

        PUT(14, BPF_H, KEY + 10, 0xffff),
        SET(15, R2, offsetof(struct iphdr, saddr)),
        MOV(16, R3, FP),
        ADD(17, R3, KEY + 12),
        SET(18, R4, 4),
        GOTO(19, ADDRESS),

        SET(V6, R2, offsetof(struct ipv6hdr, saddr)),
        MOV(21, R3, FP),
        ADD(22, R3, KEY),
        SET(23, R4, 16),

        MOV(ADDRESS, R1, R6),
        SET(25, R5, BPF_HDR_START_NET),
        CALL(26, skb_load_bytes_relative),
        IF_NE(27, R0, 0, PASS),
        MAP(28, R1, s->owners),
        MOV(30, R2, FP),
        ADD(31, R2, KEY),
        CALL(32, map_lookup_elem),
        IF_EQ(33, R0, 0, PASS),
        LOAD(34, BPF_W, R7, R0, 0),

        LOAD(35, BPF_H, R8, FP, PORTS + 2),
        BE16(36, R8),
        ADD(37, R8, -s->port_min),
        MUL(38, R8, (int32_t)s->n_workers),
        SUM(39, R8, R7),
        STORE(40, BPF_W, INDEX, R8),
        MOV(41, R1, R6),
        MAP(42, R2, s->sockets),
        MOV(44, R3, FP),
        ADD(45, R3, INDEX),
        SET(46, R4, 0),
        CALL(47, sk_select_reuseport),

        SET(PASS, R0, SK_PASS),
        EXIT(49),
    };
    union bpf_attr a = {
        .prog_type = BPF_PROG_TYPE_SK_REUSEPORT,
        .insns = (uintptr_t)code,
        .insn_cnt = END,
        .license = (uintptr_t) "MIT",
        .prog_name = "kcptund_steer",
    };
    int fd = -EAGAIN;

    for (unsigned i = 0; i < LOAD_TRIES && fd == -EAGAIN; i++)
        fd = bpf(BPF_PROG_LOAD, &a);
    return fd;
}

/* ---- maps ---- */

static int new_map(uint32_t type, uint32_t key, uint32_t value, uint32_t entries, uint32_t flags)
{
    union bpf_attr a = {
        .map_type = type,
        .key_size = key,
        .value_size = value,
        .max_entries = entries,
        .map_flags = flags,
        .map_name = "kcptund_steer",
    };

    return bpf(BPF_MAP_CREATE, &a);
}

static int put(int map, const void *key, const void *value, uint64_t flags)
{
    union bpf_attr a = {
        .map_fd = (uint32_t)map,
        .key = (uintptr_t)key,
        .value = (uintptr_t)value,
        .flags = flags,
    };

    return bpf(BPF_MAP_UPDATE_ELEM, &a);
}

/* A plain hash: its entries are exactly those of living sessions, and a flood of new ones evicts no old one. */
static int load(struct steer *s, unsigned n_ports)
{
    if (n_ports > SOCKETS_MAX / s->n_workers)
        return -E2BIG;
    s->owners = new_map(BPF_MAP_TYPE_HASH, sizeof(struct key), sizeof(uint32_t), ADDRESSES_MAX, BPF_F_NO_PREALLOC);
    if (s->owners < 0)
        return s->owners;
    s->sockets =
        new_map(BPF_MAP_TYPE_REUSEPORT_SOCKARRAY, sizeof(uint32_t), sizeof(uint64_t), n_ports * s->n_workers, 0);
    if (s->sockets < 0)
        return s->sockets;
    s->prog = load_program(s);
    return s->prog < 0 ? s->prog : 0;
}

static struct steer *make(uint16_t port_min, unsigned n_ports, unsigned n_workers)
{
    struct steer *s = calloc(1, sizeof *s + n_ports * sizeof s->flows[0]);

    if (!s)
        return NULL;
    s->port_min = port_min;
    s->n_workers = n_workers;
    s->owners = s->sockets = s->prog = -1;
    return s;
}

struct steer *steer_new(uint16_t port_min, unsigned n_ports, unsigned n_workers)
{
    struct steer *s = make(port_min, n_ports, n_workers);

    if (s)
        atomic_init(&s->refusal, load(s, n_ports));
    return s;
}

bool steer_fds(const struct steer *s, int fds[STEER_FDS])
{
    fds[0] = s->owners;
    fds[1] = s->sockets;
    fds[2] = s->prog;
    return !steer_refusal(s);
}

struct steer *steer_inherit(uint16_t port_min, unsigned n_ports, unsigned n_workers, const int *fds)
{
    struct steer *s = make(port_min, n_ports, n_workers);

    if (s && fds) {
        s->owners = fds[0];
        s->sockets = fds[1];
        s->prog = fds[2];
    }
    if (s)
        atomic_init(&s->refusal, fds ? 0 : -EPERM);
    return s;
}

static void close_fd(int fd)
{
    if (fd >= 0)
        close(fd);
}

struct steer *steer_free(struct steer *s)
{
    if (!s)
        return NULL;
    close_fd(s->owners);
    close_fd(s->sockets);
    close_fd(s->prog);
    free(s);
    return NULL;
}

void steer_join(struct steer *s, unsigned port, unsigned worker, int fd)
{
    uint32_t index = port * s->n_workers + worker;
    uint64_t value = (uint64_t)fd;

    if (steer_refusal(s))
        return;
    /* The program belongs to the group of sockets, but the group may be a new one. */
    if (setsockopt(fd, SOL_SOCKET, SO_ATTACH_REUSEPORT_EBPF, &s->prog, sizeof s->prog))
        atomic_store(&s->refusal, -errno);
    else
        atomic_store(&s->refusal, put(s->sockets, &index, &value, BPF_ANY));
}

int steer_refusal(const struct steer *s)
{
    return atomic_load_explicit(&s->refusal, memory_order_relaxed);
}

static struct key key_of(const struct sockaddr_any *from)
{
    struct key k = {.port = from->sa.sa_family == AF_INET6 ? from->in6.sin6_port : from->in.sin_port};

    net_addr_ip(from, k.ip);
    return k;
}

int steer_add(struct steer *s, const struct sockaddr_any *from, unsigned worker)
{
    struct key k = key_of(from);
    uint32_t value = worker;
    int r = put(s->owners, &k, &value, BPF_NOEXIST);

    return r == -EEXIST ? STEER_TAKEN : r;
}

void steer_del(struct steer *s, const struct sockaddr_any *from)
{
    struct key k = key_of(from);
    union bpf_attr a = {.map_fd = (uint32_t)s->owners, .key = (uintptr_t)&k};

    bpf(BPF_MAP_DELETE_ELEM, &a);
}

/* ---- connected sockets ---- */

int steer_flow_begin(struct steer *s, unsigned port)
{
    if (atomic_fetch_add(&s->flows[port], 1) < STEER_FLOWS_MAX)
        return 0;
    atomic_fetch_sub(&s->flows[port], 1);
    return STEER_TAKEN;
}

void steer_flow_end(struct steer *s, unsigned port)
{
    atomic_fetch_sub(&s->flows[port], 1);
}
