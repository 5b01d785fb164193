/* tools/ctl_call.c - the control socket from kcptunctl's side: connect, one request, its answer's lines. */
#include "tools/ctl.h"

#include "conf/ctl_proto.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

enum { SILENCE_S = 15, CHUNK = 65536, REQUEST_ID = 1 };

static int unreached(const struct ctl *c, const char *what)
{
    fprintf(stderr, "kcptunctl: %s: %s\n", c->socket, what);
    return CTL_EXIT_UNREACHED;
}

/* A connected socket, or -1 with errno. */
static int dial(const char *path)
{
    struct timeval silence = {.tv_sec = SILENCE_S};
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

static bool send_all(int fd, const char *text)
{
    size_t left = strlen(text);

    while (left) {
        ssize_t n = send(fd, text, left, MSG_NOSIGNAL);

        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return false;
        text += n;
        left -= (size_t)n;
    }
    return true;
}

/* The next line. 0, or an exit status after saying why. */
static int next_line(const struct ctl *c, int fd, struct ctl_lines *l, struct bytes *line)
{
    uint8_t chunk[CHUNK];

    for (;;) {
        int r = ctl_lines_next(l, line);
        ssize_t n;

        if (!r)
            return 0;
        if (r == CTL_TOO_LONG)
            return unreached(c, "the answer is not kcptund's: a line without end");
        n = recv(fd, chunk, sizeof chunk, 0);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return unreached(c, errno == EAGAIN ? "no answer" : strerror(errno));
        if (!n)
            return unreached(c, "the daemon closed the connection before it had answered");
        if (ctl_lines_put(l, bytes_of(chunk, (size_t)n)))
            return unreached(c, strerror(ENOMEM));
    }
}

/* Text from elsewhere, without control characters that would act on a terminal. */
static void say(const char *text)
{
    for (; *text; text++)
        fputc((unsigned char)*text < 0x20 || *text == 0x7f ? '?' : *text, stderr);
}

/* One line of the answer into *data. *more: another follows. An exit status. */
static int take_line(const struct ctl *c, struct bytes line, json_t **data, bool *more)
{
    struct ctl_reply re;
    bool ours;
    int r = CTL_EXIT_DONE;

    if (ctl_reply_parse(&re, line))
        return unreached(c, "the answer is not kcptund's");
    *more = re.more;
    ours = re.id ? json_integer_value(re.id) == REQUEST_ID : !re.ok; /* no id: our request was not understood */
    if (!ours) {
        r = unreached(c, "the answer is to another request");
    } else if (!re.ok) {
        fputs("kcptunctl: ", stderr);
        say(re.text);
        fputs(" (", stderr);
        say(re.code);
        fputs(")\n", stderr);
        r = CTL_EXIT_REFUSED;
    } else if (!json_is_object(re.data)) {
        r = unreached(c, "the answer's data is not an object");
    } else if (ctl_merge(*data, re.data)) {
        r = unreached(c, strerror(ENOMEM));
    }
    ctl_reply_fini(&re);
    return r;
}

static int converse(const struct ctl *c, int fd, const char *request, json_t *data)
{
    struct ctl_lines l = {.max = CTL_ANSWER_MAX};
    struct bytes line;
    bool more = true;
    int r = 0;

    if (!send_all(fd, request))
        return unreached(c, strerror(errno));
    while (!r && more) {
        r = next_line(c, fd, &l, &line);
        if (!r)
            r = take_line(c, line, &data, &more);
    }
    ctl_lines_fini(&l);
    return r;
}

int ctl_call(const struct ctl *c, const char *cmd, json_t *args, json_t **data)
{
    char *request = ctl_request_print(REQUEST_ID, cmd, args);
    json_t *got = json_object();
    int fd, r;

    if (!request || !got) {
        r = unreached(c, "the request is too long, or memory is short");
    } else if ((fd = dial(c->socket)) < 0) {
        r = unreached(c, strerror(errno));
    } else {
        r = converse(c, fd, request, got);
        close(fd);
    }
    free(request);
    if (r)
        json_decref(got);
    else
        *data = got;
    return r;
}

void ctl_print_json(const json_t *data)
{
    json_dumpf(data, stdout, JSON_INDENT(2)); /* main() looks whether it was written */
    putchar('\n');
}
