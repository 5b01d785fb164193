/* tools/bench_dial.c - opens streams through a tunnel, and knows them open only when the target has answered. */
#include "tools/bench_dial.h"

#include "tools/bench_net.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

enum { OPENING = 64 }; /* streams whose answer is awaited at one time: within everybody's backlog */

static const double ANSWER_S = 30;

void bench_dial_hello(uint8_t out[BENCH_HELLO], enum bench_role far, unsigned slot)
{
    memcpy(out, "kb", 2);
    out[2] = (uint8_t)far;
    out[3] = 0;
    for (int i = 0; i < 4; i++)
        out[4 + i] = (uint8_t)(slot >> 8 * i);
}

static int dial_one(const struct sockaddr_in *to, enum bench_role far, unsigned slot)
{
    static const struct timeval slice = {.tv_usec = 200000};
    uint8_t hello[BENCH_HELLO];
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    if (fd < 0)
        return -1;
    bench_dial_hello(hello, far, slot);
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &slice, sizeof slice);
    bench_net_tcp(fd);
    if (connect(fd, (const struct sockaddr *)to, sizeof *to) ||
        send(fd, hello, sizeof hello, MSG_NOSIGNAL) != sizeof hello) {
        close(fd);
        return -1;
    }
    return fd;
}

static int await_answer(int fd)
{
    double until = bench_now() + ANSWER_S;
    char c;

    for (;;) {
        ssize_t n = recv(fd, &c, 1, 0);

        if (n == 1)
            return c == '+' ? 0 : bench_fail("the tunnel answers with other bytes");
        if (bench_stopped())
            return BENCH_STOPPED;
        if (!n || (errno != EAGAIN && errno != EINTR))
            return bench_fail("a stream ended before the target answered");
        if (bench_now() > until)
            return bench_fail("no answer from the target in %.0f s", ANSWER_S);
    }
}

int bench_dial(const struct sockaddr_in *to, enum bench_role far, unsigned first, unsigned n, int fds[])
{
    unsigned begun = 0, done = 0;
    int r = 0;

    while (!r && done < n) {
        if (begun < n && begun < done + OPENING) {
            fds[begun] = dial_one(to, far, first + begun);
            r = fds[begun] < 0 ? bench_fail("cannot connect to the tunnel: %m") : 0;
            begun += !r;
            continue;
        }
        r = await_answer(fds[done++]);
        if (n > 100 && done % 100 == 0)
            bench_progress_note("%u of %u streams", done, n);
    }
    for (unsigned i = 0; r && i < begun; i++)
        close(fds[i]);
    return r;
}
