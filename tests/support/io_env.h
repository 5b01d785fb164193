/* tests/support/io_env.h - one I/O backend under test: opened afresh for every scenario, the events of its last wait, and
 * the sockets that scenarios are made of. Whatever goes wrong in here fails the test. Short names: only tests see them. */
#ifndef SUPPORT_IO_ENV_H
#define SUPPORT_IO_ENV_H

#include "daemon/io.h"
#include "daemon/net.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

enum { EVENTS = 64, LONG_MS = 30000, SHORT_MS = 30, DELAYED_ACK_MS = 60, SKIPPED = 77 };

struct env {
    const struct io_ops *ops;
    struct io *io;
    struct io_event ev[EVENTS];
    int n; /* events in ev */
};

/* A row of a cmocka group: scenario f on a backend. */
#define SCENARIO(ops, f)                                                                                               \
    {                                                                                                                  \
#f, f, env_open, env_close, (void *)(uintptr_t)(ops)                                                           \
    }

int env_open(void **state); /* struct io_ops in, struct env out */
int env_close(void **state);
int wait_n(struct env *e, unsigned ms, unsigned n); /* at most n events into e->ev; their count */
int wait_ms(struct env *e, unsigned ms);
/* Waits for one event of this kind and source; nothing else may happen. */
void await(int fd, short events); /* something at a socket; with events 0, an error */
struct io_event *expect(struct env *e, enum io_kind kind, struct io_src *s);
void expect_nothing(struct env *e);
void bury(struct env *e, struct io_src *s); /* deletes a source and waits for IO_GONE: its descriptor is closed */

struct sockaddr_any name_of(int fd);
struct sockaddr_any loop4(uint16_t port); /* on 127.0.0.1 */
int udp_open(uint32_t sockbuf, uint32_t *got); /* on loopback, any port */
int tcp_listen(struct sockaddr_any *at); /* on loopback, any port; *at: which */
void tcp_pair(int *a, int *b); /* connected, both ends nonblocking */
void stuff(int fd); /* writes until nothing moves any more */
void fill(uint8_t *p, size_t len, unsigned seed); /* a pattern that differs by seed */
void send_run(int fd, int to_fd, const uint8_t *p, size_t len, size_t seg); /* all of it, as datagrams of seg bytes */

#endif
