/* daemon/metrics.c - the text over HTTP. libmicrohttpd runs in the main loop: its epoll set is one descriptor there.
 *
 * A client gets one answer and is closed; it may rest for METRICS_IDLE_S and stay for METRICS_WHOLE_S, however slowly it
 * sends or reads, and costs a connection's buffer. */
#include "daemon/metrics.h"

#include "core/base/err.h"
#include "daemon/log.h"
#include "daemon/net.h"

#include <microhttpd.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { CONNECTION_MEMORY = 3 * METRICS_PIECE_MAX, BLOCK = 2 * METRICS_PIECE_MAX };

struct client {
    struct MHD_Connection *conn; /* NULL: the slot is free */
    struct tick until;
};

struct metrics {
    struct metrics_source src;
    struct MHD_Daemon *http;
    char *path; /* of a unix socket */
    bool lost; /* it is gone, and cannot be made anew */
    struct tick now;
    struct client clients[METRICS_CLIENTS];
};

/* ---- answers ---- */

struct reading { /* one answer under way */
    const struct metrics_source *src;
    struct metrics_cursor at;
};

static ssize_t read_text(void *ctx, uint64_t pos, char *out, size_t max)
{
    struct reading *rd = ctx;
    size_t n = 0, len;

    (void)pos;
    while (max - n >= METRICS_PIECE_MAX) {
        int r = metrics_text(&rd->at, rd->src, out + n, &len);

        if (r == METRICS_CHANGED)
            return MHD_CONTENT_READER_END_WITH_ERROR;
        if (r)
            break;
        n += len;
    }
    return n ? (ssize_t)n : MHD_CONTENT_READER_END_OF_STREAM;
}

static struct MHD_Response *text_response(const struct metrics *m)
{
    struct reading *rd = calloc(1, sizeof *rd);
    struct MHD_Response *r;

    if (!rd)
        return NULL;
    rd->src = &m->src;
    r = MHD_create_response_from_callback(MHD_SIZE_UNKNOWN, BLOCK, read_text, rd, free);
    if (!r) {
        free(rd);
        return NULL;
    }
    MHD_add_response_header(r, "Content-Type", "text/plain; version=0.0.4; charset=utf-8");
    return r;
}

static struct MHD_Response *words(const char *text)
{
    struct MHD_Response *r =
        MHD_create_response_from_buffer(strlen(text), (void *)(uintptr_t)text, MHD_RESPMEM_PERSISTENT);

    if (r)
        MHD_add_response_header(r, "Content-Type", "text/plain; charset=utf-8");
    return r;
}

static enum MHD_Result on_request(void *ctx, struct MHD_Connection *conn, const char *url, const char *method,
                                  const char *version, const char *body, size_t *body_len, void **per_request)
{
    bool get = !strcmp(method, "GET") || !strcmp(method, "HEAD"), known = !strcmp(url, "/metrics");
    unsigned status = !get ? MHD_HTTP_METHOD_NOT_ALLOWED : known ? MHD_HTTP_OK : MHD_HTTP_NOT_FOUND;
    struct MHD_Response *r = !get    ? words("only GET and HEAD\n")
                             : known ? text_response(ctx)
                                     : words("nothing here: the metrics are at /metrics\n");
    enum MHD_Result done;

    (void)version;
    (void)body;
    (void)body_len;
    (void)per_request;
    if (!r)
        return MHD_NO; /* closes */
    if (!get)
        MHD_add_response_header(r, "Allow", "GET, HEAD");
    MHD_add_response_header(r, "Connection", "close");
    done = MHD_queue_response(conn, status, r);
    MHD_destroy_response(r);
    return done;
}

/* ---- clients ---- */

static void on_connection(void *ctx, struct MHD_Connection *conn, void **slot, enum MHD_ConnectionNotificationCode what)
{
    struct metrics *m = ctx;

    (void)slot;
    for (unsigned i = 0; i < METRICS_CLIENTS; i++) {
        struct client *c = &m->clients[i];

        if (what == MHD_CONNECTION_NOTIFY_STARTED && !c->conn) {
            *c = (struct client){conn, tick_add_ms(m->now, METRICS_WHOLE_S * 1000)};
            return;
        }
        if (what == MHD_CONNECTION_NOTIFY_CLOSED && c->conn == conn)
            c->conn = NULL;
    }
}

/* The library knows rests, but no end: a client that moves a byte now and then would stay. */
static void end_late(struct metrics *m)
{
    for (unsigned i = 0; i < METRICS_CLIENTS; i++) {
        struct client *c = &m->clients[i];

        if (!c->conn || tick_before(m->now, c->until))
            continue;
        c->until = TICK_NEVER;
        shutdown(MHD_get_connection_info(c->conn, MHD_CONNECTION_INFO_CONNECTION_FD)->connect_fd, SHUT_RDWR);
    }
}

void metrics_step(struct metrics *m, struct tick now)
{
    m->now = now;
    end_late(m);
    MHD_run(m->http);
}

struct tick metrics_deadline(const struct metrics *m, struct tick now)
{
    struct tick at = TICK_NEVER;
    unsigned long long ms;

    if (MHD_get_timeout(m->http, &ms) == MHD_YES)
        at = tick_add_ms(now, ms);
    for (unsigned i = 0; i < METRICS_CLIENTS; i++)
        if (m->clients[i].conn)
            at = tick_min(at, m->clients[i].until);
    return at;
}

int metrics_fd(const struct metrics *m)
{
    return MHD_get_daemon_info(m->http, MHD_DAEMON_INFO_EPOLL_FD)->epoll_fd;
}

/* ---- beginning and end ---- */

static void on_words(void *ctx, const char *fmt, va_list ap)
{
    char text[256];

    (void)ctx;
    vsnprintf(text, sizeof text, fmt, ap);
    text[strcspn(text, "\n")] = 0;
    log_debug("metrics: %s", text);
}

/* fd, -errno. */
static int open_listener(const struct addr_text *at)
{
    struct sockaddr_any a = {.len = 0};
    int fd;

    if (!at->path && net_bytes_in_name(at->host, at->port_min, &a))
        return err_say(-EINVAL, "metrics = %s:%u: the address must be a number, not a name", at->host, at->port_min);
    fd = net_listen(&a, at->path);
    if (fd >= 0)
        return fd;
    if (at->path)
        return err_say(fd, "metrics = %s", at->path);
    return err_say(fd, "metrics = %s", net_addr_text(&a));
}

/* Takes fd. NULL: not to be. */
static struct MHD_Daemon *start_http(struct metrics *m, int fd)
{
    return MHD_start_daemon(MHD_USE_EPOLL | MHD_USE_ERROR_LOG, 0, NULL, NULL, on_request, m, MHD_OPTION_EXTERNAL_LOGGER,
                            on_words, NULL, MHD_OPTION_LISTEN_SOCKET, fd, MHD_OPTION_CONNECTION_LIMIT,
                            (unsigned)METRICS_CLIENTS, MHD_OPTION_CONNECTION_TIMEOUT, (unsigned)METRICS_IDLE_S,
                            MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)CONNECTION_MEMORY, MHD_OPTION_NOTIFY_CONNECTION,
                            on_connection, m, MHD_OPTION_END);
}

int metrics_new(struct metrics **mp, const struct addr_text *at, int fd, const struct metrics_source *src)
{
    struct metrics *m = calloc(1, sizeof *m);

    if (fd < 0 || !m)
        fd = m ? open_listener(at) : err_here(-ENOMEM);
    if (fd < 0) {
        free(m);
        return fd;
    }
    m->src = *src;
    m->path = at->path && at->path[0] == '/' ? strdup(at->path) : NULL;
    m->http = start_http(m, fd);
    if (!m->http) { /* it has closed fd */
        free(m->path);
        free(m);
        return err_say(-EIO, "metrics: the HTTP server does not start");
    }
    *mp = m;
    return 0;
}

void metrics_renew(struct metrics *m)
{
    struct MHD_Daemon *http = NULL;
    struct stat st;
    int fd;

    if (!m->path || !lstat(m->path, &st) || errno != ENOENT)
        return;
    fd = net_listen(NULL, m->path);
    if (fd >= 0 && !(http = start_http(m, fd)))
        unlink(m->path);
    if (!http && !m->lost)
        log_error("metrics = %s: somebody removed it, and it cannot be made anew: %s", m->path,
                  strerror(fd < 0 ? -fd : EIO));
    m->lost = !http;
    if (!http)
        return;
    log_warning("metrics = %s: somebody removed it; it is there again", m->path);
    MHD_stop_daemon(m->http); /* with who was being answered */
    m->http = http;
}

int metrics_listener(const struct metrics *m)
{
    return MHD_get_daemon_info(m->http, MHD_DAEMON_INFO_LISTEN_FD)->listen_fd;
}

void metrics_let_go(struct metrics *m, bool stays)
{
    int fd = MHD_quiesce_daemon(m->http); /* stopping it might shut the socket down, for both processes */

    if (fd >= 0)
        close(fd);
    if (m->path && !stays)
        unlink(m->path);
    free(m->path);
    m->path = NULL;
}

struct metrics *metrics_free(struct metrics *m)
{
    if (!m)
        return NULL;
    MHD_stop_daemon(m->http);
    if (m->path)
        unlink(m->path);
    free(m->path);
    free(m);
    return NULL;
}
