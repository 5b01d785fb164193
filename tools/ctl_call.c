/* tools/ctl_call.c - the control socket from kcptunctl's side: connect, one request, its answer's lines. */
#include "tools/ctl.h"

#include "conf/ctl_proto.h"
#include "tools/ctl_text.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

enum {
    SILENCE_S = 15,
    SILENCE_CHANGE_S = 60, /* a new process may take 20 s to begin, thousands of sockets as long to be opened */
    CHUNK = 65536,
    REQUEST_ID = 1,
};

#define CONTROL "/run/kcptun/control"
#define STATS   "/run/kcptun/stats"

static int unreached(const char *path, const char *what)
{
    fprintf(stderr, "kcptunctl: %s: %s\n", path, what);
    return CTL_EXIT_UNREACHED;
}

/* The same for a socket that could not be connected to. */
static int not_there(const char *path, int err)
{
    const char *hint = "";

    if (err == ENOENT || err == ECONNREFUSED)
        hint = "; does kcptund run, and does its configuration name this socket (control, stats)? -s names another";
    else if (err == EACCES || err == EPERM)
        hint = "; it is for root and for members of its group";
    fprintf(stderr, "kcptunctl: %s: %s%s\n", path, strerror(err), hint);
    return CTL_EXIT_UNREACHED;
}

/* A connected socket, or -1 with errno. */
static int dial(const char *path, bool reads)
{
    struct timeval silence = {.tv_sec = reads ? SILENCE_S : SILENCE_CHANGE_S};
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    int fd;

    if (strlen(path) >= sizeof a.sun_path) {
        errno = ENAMETOOLONG;
        return -1;
    }
    memcpy(a.sun_path, path, strlen(path) + 1);
    fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -1;
    if (setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &silence, sizeof silence) ||
        setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &silence, sizeof silence) ||
        connect(fd, (const struct sockaddr *)(const void *)&a, sizeof a)) {
        int e = errno;

        close(fd);
        errno = e;
        return -1;
    }
    return fd;
}

/* A daemon that has closed already may have said why: that is read. */
static bool send_all(int fd, const char *text)
{
    size_t left = strlen(text);

    while (left) {
        ssize_t n = send(fd, text, left, MSG_NOSIGNAL);

        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return errno == EPIPE;
        text += n;
        left -= (size_t)n;
    }
    return true;
}

/* The next line. 0, or an exit status after saying why. */
static int next_line(const char *path, int fd, struct ctl_lines *l, struct bytes *line)
{
    uint8_t chunk[CHUNK];

    for (;;) {
        int r = ctl_lines_next(l, line);
        ssize_t n;

        if (!r)
            return 0;
        if (r == CTL_TOO_LONG)
            return unreached(path, "the answer is not kcptund's: a line without end");
        n = recv(fd, chunk, sizeof chunk, 0);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return unreached(path, errno == EAGAIN ? "no answer" : strerror(errno));
        if (!n)
            return unreached(path, "the daemon closed the connection before it had answered");
        if (ctl_lines_put(l, bytes_of(chunk, (size_t)n)))
            return unreached(path, strerror(ENOMEM));
    }
}

/* One line of the answer into *data. *more: another follows. An exit status. */
static int take_line(const char *path, struct bytes line, json_t **data, bool *more)
{
    struct ctl_reply re;
    bool ours;
    int r = CTL_EXIT_DONE;

    if (ctl_reply_parse(&re, line))
        return unreached(path, "the answer is not kcptund's");
    *more = re.more;
    ours = re.id ? json_integer_value(re.id) == REQUEST_ID : !re.ok; /* no id: our request was not understood */
    if (!ours) {
        r = unreached(path, "the answer is to another request");
    } else if (!re.ok) {
        fputs("kcptunctl: ", stderr);
        ctl_say(stderr, re.text);
        fputs(" (", stderr);
        ctl_say(stderr, re.code);
        fputs(")\n", stderr);
        r = CTL_EXIT_REFUSED;
    } else if (!json_is_object(re.data)) {
        r = unreached(path, "the answer's data is not an object");
    } else if (ctl_merge(*data, re.data)) {
        r = unreached(path, strerror(ENOMEM));
    }
    ctl_reply_fini(&re);
    return r;
}

static int converse(const char *path, int fd, const char *request, json_t *data)
{
    struct ctl_lines l = {.max = CTL_ANSWER_MAX};
    struct bytes line;
    bool more = true;
    int r = 0;

    if (!send_all(fd, request))
        return unreached(path, strerror(errno));
    while (!r && more) {
        r = next_line(path, fd, &l, &line);
        if (!r)
            r = take_line(path, line, &data, &more);
    }
    ctl_lines_fini(&l);
    return r;
}

/* Connects; *path is where it did or would. -1 with errno. */
static int reach(const struct ctl *c, const char **path)
{
    int fd, e;

    *path = c->socket ? c->socket : CONTROL;
    fd = dial(*path, c->reads);
    if (fd >= 0 || c->socket || !c->reads)
        return fd;
    e = errno;
    fd = dial(STATS, true); /* who may not use the one may use the other */
    if (fd >= 0)
        *path = STATS;
    errno = e;
    return fd;
}

int ctl_call(const struct ctl *c, const char *cmd, json_t *args, json_t **data)
{
    char *request = ctl_request_print(REQUEST_ID, cmd, args);
    json_t *got = json_object();
    const char *path;
    int fd = reach(c, &path), r;

    if (!request || !got)
        r = unreached(path, "the request is too long, or memory is short");
    else if (fd < 0)
        r = not_there(path, errno);
    else
        r = converse(path, fd, request, got);
    if (fd >= 0)
        close(fd);
    free(request);
    if (r)
        json_decref(got);
    else
        *data = got;
    return r;
}

/* Takes the mark of where the next page begins out of `page`, and into args. False: there is none, or it leads nowhere. */
static bool turn(json_t *args, json_t *page)
{
    json_t *next = json_incref(json_object_get(page, "next"));
    bool on = next && !json_equal(next, json_object_get(args, "after")) && !json_object_set(args, "after", next);

    json_object_del(page, "next");
    json_decref(next);
    return on;
}

int ctl_call_all(const struct ctl *c, const char *cmd, json_t *args, json_t **data)
{
    json_t *own = args ? args : json_object(), *got = json_object(), *page;
    bool whole = true, on;
    int r;

    do {
        page = NULL;
        r = ctl_call(c, cmd, json_deep_copy(own), &page);
        on = !r && turn(own, page);
        whole = whole && !r && !json_is_false(json_object_get(page, "complete"));
        if (!r && ctl_merge(got, page))
            r = unreached("answer", strerror(ENOMEM));
        if (!r && !whole)
            json_object_set_new(got, "complete", json_false());
        if (page)
            json_decref(page);
    } while (!r && on);
    json_decref(own);
    if (r)
        json_decref(got);
    else
        *data = got;
    return r;
}

bool ctl_args(json_t **args, const char *name, const char *value)
{
    if (!value)
        return true;
    if (!*args)
        *args = json_object();
    if (!json_object_set_new(*args, name, json_string(value)))
        return true;
    json_decref(*args);
    *args = NULL;
    fprintf(stderr, "kcptunctl: %s: accepted: UTF-8\n", name);
    return false;
}

void ctl_print_json(const json_t *data)
{
    json_dumpf(data, stdout, JSON_INDENT(2)); /* main() looks whether it was written */
    putchar('\n');
}
