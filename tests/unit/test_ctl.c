/* tests/unit/test_ctl.c - the control socket with clients that are slow, greedy, silent, many or gone. */
#include "daemon/ctl.h"

#include "tests/support/vectors.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

static char dir[] = "/tmp/test_ctl.XXXXXX", path[64];
static struct ctl *ctl;
static struct tick now;

/* What the daemon does with requests: "echo" is answered at once, "big" by `big` bytes, "hold" when the test says so. */
static struct ctl_query held[1000];
static unsigned n_held, n_echoed;
static size_t big;

static json_t *blob(size_t n)
{
    char *text = malloc(n + 1);
    json_t *o;

    memset(text, 'x', n);
    text[n] = 0;
    o = json_pack("{ss}", "blob", text);
    free(text);
    return o;
}

static void serve(struct ctl_query *q)
{
    if (!strcmp(q->rq.cmd, "hold")) {
        held[n_held++] = *q;
        return;
    }
    n_echoed++;
    if (!strcmp(q->rq.cmd, "big"))
        for (size_t done = 0; done < big; done += 1000000)
            ctl_answer(&q->rq, blob(MIN(1000000, big - done)), true, ctl_send, q);
    ctl_answer(&q->rq, json_pack("{ss}", "cmd", q->rq.cmd), false, ctl_send, q);
    ctl_done(q);
}

/* One turn of the main loop. */
static void turn(void)
{
    struct ctl_query q;
    unsigned n = 0;

    ctl_step(ctl, now);
    while (ctl_next(ctl, &q) == 0) {
        serve(&q);
        assert_true(++n <= 64); /* nobody keeps the loop for himself */
    }
}

static bool busy(void)
{
    struct pollfd p = {ctl_fd(ctl), POLLIN, 0};

    return poll(&p, 1, 0) == 1;
}

/* Turns while there is something to do; a loop that spins without end is a failure. */
static void settle(void)
{
    for (unsigned i = 0; busy(); i++) {
        turn();
        assert_true(i < 100000);
    }
}

static int dial(void)
{
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0);

    snprintf(a.sun_path, sizeof a.sun_path, "%s", path);
    while (connect(fd, (struct sockaddr *)&a, sizeof a)) {
        assert_int_equal(errno, EAGAIN);
        turn(); /* the backlog was full */
    }
    return fd;
}

static void say(int fd, const char *text)
{
    assert_int_equal(send(fd, text, strlen(text), MSG_NOSIGNAL), strlen(text));
}

/* Reads what has come, turning meanwhile. Returns bytes; *eof (may be NULL): the daemon closed. */
static size_t hear(int fd, char *out, size_t size, bool *eof)
{
    size_t n = 0;
    ssize_t got;

    do {
        settle();
        got = recv(fd, out + n, size - 1 - n, 0);
        n += got > 0 ? (size_t)got : 0;
    } while (got > 0);
    out[n] = 0;
    if (eof)
        *eof = got == 0 || errno == ECONNRESET;
    return n;
}

static unsigned count(const char *text, const char *what)
{
    unsigned n = 0;

    for (; (text = strstr(text, what)); text += strlen(what))
        n++;
    return n;
}

static char text[8 << 20]; /* what a client heard */

static int begin(void **state)
{
    (void)state;
    n_held = n_echoed = 0;
    now = (struct tick){5000000};
    return ctl_new(&ctl, &(struct ctl_params){.path = path, .mode = 0660});
}

static int end(void **state)
{
    (void)state;
    while (n_held)
        ctl_done(&held[--n_held]);
    ctl = ctl_free(ctl);
    return access(path, F_OK) == 0; /* the socket is gone */
}

static void test_one(void **state)
{
    int fd = dial();
    bool eof;

    (void)state;
    say(fd, "{\"v\":1,\"id\":7,\"cmd\":\"echo\"}\n");
    hear(fd, text, sizeof text, &eof);
    assert_string_equal(text, "{\"v\":1,\"id\":7,\"ok\":true,\"data\":{\"cmd\":\"echo\"},\"more\":false}\n");
    assert_false(eof);
    say(fd, "{\"v\":1,\"id\":8,\"cmd\":\"echo\"}\n");
    assert_true(hear(fd, text, sizeof text, NULL) > 0);
    close(fd);
    settle();
    assert_false(busy());
}

static void test_half_lines(void **state)
{
    static const char line[] = "{\"v\":1,\"id\":\"a\",\"cmd\":\"echo\"}\r\n";
    int fd = dial();

    (void)state;
    for (unsigned i = 0; i < 3; i++) {
        for (size_t k = 0; line[k]; k++) {
            assert_int_equal(n_echoed, i);
            assert_int_equal(send(fd, &line[k], 1, 0), 1);
            settle();
        }
        assert_int_equal(n_echoed, i + 1);
    }
    say(fd, "{\"v\":1,\"id\":"); /* never ended: not a request */
    shutdown(fd, SHUT_WR);
    hear(fd, text, sizeof text, NULL);
    assert_int_equal(count(text, "\n"), 3);
    close(fd);
}

static void test_not_requests(void **state)
{
    int fd = dial();

    (void)state;
    say(fd, "\n{\nnull\n[1,2]\n{\"v\":2,\"id\":1,\"cmd\":\"echo\"}\n\xff\xfe\n{\"v\":1,\"id\":9,\"cmd\":\"echo\"}\n");
    hear(fd, text, sizeof text, NULL);
    assert_int_equal(count(text, "\"code\":\"malformed\""), 5);
    assert_int_equal(count(text, "\"code\":\"version\""), 1);
    assert_int_equal(count(text, "\"ok\":true"), 1); /* the connection goes on */
    close(fd);
}

/* More than one turn's worth in one buffer: nothing new has to come for the rest to be heard. */
static void test_many_not_requests(void **state)
{
    int fd = dial();

    (void)state;
    memset(text, '\n', 1000);
    text[1000] = 0;
    say(fd, text);
    hear(fd, text, sizeof text, NULL);
    assert_int_equal(count(text, "malformed"), 1000);
    close(fd);
}

/* Many at once, from a client that closes its half behind them: every one is answered, in order. */
static void test_many_at_once(void **state)
{
    enum { MANY = 2000 };
    static char all[MANY * 64];
    size_t n = 0, sent = 0, heard = 0;
    int fd = dial();
    bool eof = false;
    const char *p = text;

    (void)state;
    for (unsigned i = 0; i < MANY; i++)
        n += (size_t)snprintf(all + n, sizeof all - n, "{\"v\":1,\"id\":%u,\"cmd\":\"echo\"}\n", i);
    while (sent < n) {
        ssize_t k = send(fd, all + sent, n - sent, 0);

        sent += k > 0 ? (size_t)k : 0;
        heard += hear(fd, text + heard, sizeof text - heard, NULL);
    }
    shutdown(fd, SHUT_WR);
    while (!eof)
        heard += hear(fd, text + heard, sizeof text - heard, &eof);
    for (unsigned i = 0; i < MANY; i++, p = strchr(p, '\n') + 1)
        assert_int_equal(strtoul(p + strlen("{\"v\":1,\"id\":"), NULL, 10), i);
    assert_int_equal(*p, 0);
    close(fd);
}

/* One whose requests never cease does not take all the turns. */
static void test_next_in_turn(void **state)
{
    static const char echo[] = "{\"v\":1,\"id\":1,\"cmd\":\"echo\"}\n";
    int loud = dial(), quiet = dial();

    (void)state;
    for (size_t i = 0, n = strlen(echo); i < 500; i++)
        memcpy(text + i * n, echo, n + 1);
    say(loud, text);
    turn(); /* takes both in, and most of the turn is loud's */
    say(quiet, echo);
    turn();
    assert_true(recv(quiet, text, sizeof text, 0) > 0);
    assert_true(n_echoed < 200);
    close(loud);
    close(quiet);
}

/* Whoever shouts while others are there does not keep them from being heard. */
static void test_turns(void **state)
{
    static const char line[] = "{\"v\":1,\"id\":1,\"cmd\":\"hold\"}\n";
    int loud = dial(), quiet = dial();
    unsigned from_quiet = 0;

    (void)state;
    for (unsigned i = 0; i < 100; i++)
        say(loud, line);
    say(quiet, line);
    settle();
    assert_int_equal(n_held, CTL_PENDING + 1); /* the rest is not even read */
    for (unsigned i = 0; i < n_held; i++)
        from_quiet += held[i].client != held[0].client;
    assert_true(from_quiet == 1 || from_quiet == CTL_PENDING);
    for (unsigned i = 0; i < n_held; i++) { /* the list grows meanwhile */
        ctl_answer(&held[i].rq, json_object(), false, ctl_send, &held[i]);
        ctl_done(&held[i]);
        settle();
    }
    assert_int_equal(n_held, 101);
    n_held = 0;
    hear(loud, text, sizeof text, NULL);
    assert_int_equal(count(text, "\n"), 100);
    close(loud);
    close(quiet);
}

static void test_huge_line(void **state)
{
    static const char request[] = "{\"v\":1,\"id\":1,\"cmd\":\"echo\"}";
    static char huge[CTL_REQUEST_MAX + 3];
    size_t sent = 0;
    int fd = dial();
    bool eof;

    (void)state;
    memset(huge, ' ', sizeof huge);
    memcpy(huge, request, strlen(request));
    huge[CTL_REQUEST_MAX] = '\n'; /* the longest that is allowed */
    while (sent <= CTL_REQUEST_MAX) {
        ssize_t k = send(fd, huge + sent, CTL_REQUEST_MAX + 1 - sent, MSG_NOSIGNAL);

        sent += k > 0 ? (size_t)k : 0;
        settle();
    }
    assert_int_equal(n_echoed, 1);
    hear(fd, text, sizeof text, &eof);
    assert_false(eof);
    memset(huge, 'x', sizeof huge);
    for (unsigned i = 0; i < 1000; i++) { /* endless: cut off long before the end */
        ssize_t k = send(fd, huge, sizeof huge, MSG_NOSIGNAL);

        settle();
        if (k < 0 && errno == EPIPE)
            break;
        assert_true(i < 10);
    }
    hear(fd, text, sizeof text, &eof);
    assert_true(eof);
    assert_int_equal(count(text, "malformed"), 1);
    close(fd);
}

/* Does not read: its requests wait, then a single answer beyond the limit ends it. Others do not notice. */
static void test_slow_reader(void **state)
{
    static const char line[] = "{\"v\":1,\"id\":1,\"cmd\":\"big\"}\n";
    int slow = dial(), fd = dial();
    unsigned asked = 0;
    bool eof = false;

    (void)state;
    big = 1000000;
    while (asked < 100000 && send(slow, line, strlen(line), MSG_NOSIGNAL) > 0) {
        asked++;
        settle();
    }
    assert_in_range(n_echoed, 1, 3); /* it has answers enough */
    say(fd, "{\"v\":1,\"id\":1,\"cmd\":\"echo\"}\n");
    assert_true(hear(fd, text, sizeof text, NULL) > 0);
    assert_true(asked < 100000); /* it can send no more either */
    big = 0;
    for (unsigned i = 0; i < asked;) {
        i += (hear(slow, text, sizeof text, &eof), count(text, "\"more\":false"));
        assert_false(eof);
    }
    big = CTL_OUT_MAX + 2000000; /* the kernel takes some of it */
    say(slow, line);
    settle();
    hear(slow, text, sizeof text, &eof);
    assert_true(eof);
    close(slow);
    close(fd);
}

static void test_hundred_clients(void **state)
{
    int fd[100];
    unsigned served = 0, refused = 0;

    (void)state;
    for (unsigned i = 0; i < LEN(fd); i++) {
        fd[i] = dial();
        settle();
    }
    for (unsigned i = 0; i < LEN(fd); i++) {
        bool eof;

        send(fd[i], "{\"v\":1,\"id\":1,\"cmd\":\"echo\"}\n", 28, MSG_NOSIGNAL);
        hear(fd[i], text, sizeof text, &eof);
        served += count(text, "\"ok\":true");
        refused += count(text, "\"busy\"") && eof;
    }
    assert_int_equal(served, CTL_CLIENTS);
    assert_int_equal(refused, LEN(fd) - CTL_CLIENTS);
    for (unsigned i = 0; i < LEN(fd); i++)
        close(fd[i]);
    settle();
    for (unsigned i = 0; i < 500; i++) { /* every slot was given back */
        int one = dial();

        say(one, "{\"v\":1,\"id\":1,\"cmd\":\"echo\"}\n");
        hear(one, text, sizeof text, NULL);
        assert_int_equal(count(text, "\"ok\":true"), 1);
        close(one);
    }
}

static void test_gone_while_pending(void **state)
{
    int fd = dial(), other;

    (void)state;
    say(fd, "{\"v\":1,\"id\":1,\"cmd\":\"hold\"}\n{\"v\":1,\"id\":2,\"cmd\":\"hold\"}\n");
    settle();
    assert_int_equal(n_held, 2);
    close(fd);
    settle();
    assert_false(busy()); /* a dead client is not told of for ever */
    other = dial(); /* may get the slot, must not get the answer */
    settle();
    assert_int_equal(ctl_answer(&held[0].rq, json_object(), true, ctl_send, &held[0]), -EPIPE);
    assert_int_equal(ctl_answer(&held[0].rq, json_object(), false, ctl_send, &held[0]), -EPIPE);
    ctl_done(&held[0]);
    assert_int_equal(ctl_answer(&held[1].rq, json_object(), false, ctl_send, &held[1]), -EPIPE);
    ctl_done(&held[1]);
    n_held = 0;
    assert_int_equal(hear(other, text, sizeof text, NULL), 0);
    close(other);
}

/* Sends and leaves at once: what was asked still happens. */
static void test_fire_and_forget(void **state)
{
    (void)state;
    for (unsigned n = 1; n < 40; n++) {
        int fd = dial();

        n_echoed = n_held = 0;
        for (unsigned i = 0; i < n; i++)
            say(fd, "{\"v\":1,\"id\":1,\"cmd\":\"hold\"}\n");
        close(fd);
        settle();
        assert_int_equal(n_held, MIN(n, CTL_PENDING));
        for (unsigned i = 0; i < n_held; i++) {
            ctl_done(&held[i]);
            settle();
        }
        assert_int_equal(n_held, n);
    }
    n_held = 0;
}

static void test_idle(void **state)
{
    int silent = dial(), waiting = dial(), half = dial(), deaf = dial();
    bool eof;

    (void)state;
    assert_true(ctl_deadline(ctl).us == TICK_NEVER.us);
    big = 3000000;
    say(waiting, "{\"v\":1,\"id\":1,\"cmd\":\"hold\"}\n");
    say(deaf, "{\"v\":1,\"id\":1,\"cmd\":\"big\"}\n");
    settle();
    now = tick_add_ms(now, 30000);
    say(half, "{");
    settle();
    now = tick_add_ms(now, CTL_IDLE_S * 1000 - 30000 - 1);
    assert_true(ctl_deadline(ctl).us == now.us + 1000);
    turn();
    hear(silent, text, sizeof text, &eof);
    assert_false(eof);
    now = ctl_deadline(ctl);
    turn();
    hear(silent, text, sizeof text, &eof);
    assert_true(eof);
    assert_true(ctl_deadline(ctl).us == now.us + 30000000);
    now = ctl_deadline(ctl);
    turn();
    hear(half, text, sizeof text, &eof);
    assert_true(eof);
    assert_true(ctl_deadline(ctl).us == TICK_NEVER.us); /* an open request has all the time */
    now = tick_add_ms(now, 1000000);
    turn();
    hear(waiting, text, sizeof text, &eof);
    assert_false(eof);
    ctl_done(&held[0]);
    n_held = 0;
    assert_true(ctl_deadline(ctl).us > now.us);
    while (hear(deaf, text, sizeof text, &eof)) {
    }
    assert_true(eof); /* did not take its answer */
    close(silent);
    close(waiting);
    close(half);
    close(deaf);
}

static void test_path(void **state)
{
    struct ctl *second = NULL;
    char file[80];
    struct stat st;
    int fd;

    (void)state;
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0660);
    assert_int_equal(ctl_new(&second, &(struct ctl_params){.path = path, .mode = 0660}), -EADDRINUSE);
    assert_int_equal(ctl_new(&second, &(struct ctl_params){.path = dir, .mode = 0660}), -EEXIST);
    snprintf(file, sizeof file, "%s/file", dir);
    fd = open(file, O_CREAT | O_WRONLY, 0600);
    assert_int_equal(write(fd, "keep", 4), 4);
    assert_int_equal(ctl_new(&second, &(struct ctl_params){.path = file, .mode = 0660}), -EEXIST);
    assert_int_equal(fstat(fd, &st), 0);
    assert_int_equal(st.st_size * (off_t)st.st_nlink, 4);
    close(fd);
    unlink(file);
    assert_int_equal(symlink(path, file), 0); /* not followed */
    assert_int_equal(ctl_new(&second, &(struct ctl_params){.path = file, .mode = 0660}), -EEXIST);
    unlink(file);
    memset(text, 'a', 200);
    text[200] = 0;
    assert_int_equal(ctl_new(&second, &(struct ctl_params){.path = text, .mode = 0660}), -ENAMETOOLONG);
    assert_int_equal(ctl_new(&second, &(struct ctl_params){.path = "/nonexistent/socket", .mode = 0660}), -ENOENT);
    assert_null(second);
}

static void test_stale(void **state)
{
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    char moved[80];
    int fd;

    (void)state;
    /* ours was moved away and replaced: it is not ours to remove */
    snprintf(moved, sizeof moved, "%s/moved", dir);
    assert_int_equal(rename(path, moved), 0);
    fd = socket(AF_UNIX, SOCK_STREAM, 0);
    snprintf(a.sun_path, sizeof a.sun_path, "%s", path);
    assert_int_equal(bind(fd, (struct sockaddr *)&a, sizeof a), 0);
    ctl = ctl_free(ctl);
    assert_int_equal(access(path, F_OK), 0);
    unlink(moved);
    close(fd); /* and now it is stale */
    assert_int_equal(ctl_new(&ctl, &(struct ctl_params){.path = path, .mode = 0660}), 0);
    fd = dial();
    say(fd, "{\"v\":1,\"id\":1,\"cmd\":\"echo\"}\n");
    assert_true(hear(fd, text, sizeof text, NULL) > 0);
    close(fd);
}

/* A path that somebody removed is bound anew, and what somebody put there is his. */
static void test_removed(void **state)
{
    char moved[80];
    struct stat st;
    int fd, file;

    (void)state;
    fd = dial();
    settle();
    snprintf(moved, sizeof moved, "%s.dir", dir);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(rename(dir, moved), 0);
    ctl_renew(ctl); /* cannot be */
    assert_int_equal(rename(moved, dir), 0);
    file = open(path, O_CREAT | O_WRONLY, 0600);
    assert_true(file >= 0);
    ctl_renew(ctl); /* must not be */
    assert_int_equal(fstat(file, &st), 0);
    assert_true(S_ISREG(st.st_mode) && st.st_nlink == 1);
    close(file);
    assert_int_equal(unlink(path), 0);
    ctl_renew(ctl);
    assert_int_equal(stat(path, &st), 0);
    assert_true(S_ISSOCK(st.st_mode) && (st.st_mode & 07777) == 0660);
    ctl_renew(ctl); /* it is there */
    say(fd, "{\"v\":1,\"id\":1,\"cmd\":\"echo\"}\n"); /* who was there stays */
    assert_true(hear(fd, text, sizeof text, NULL) > 0);
    close(fd);
    fd = dial();
    say(fd, "{\"v\":1,\"id\":1,\"cmd\":\"echo\"}\n");
    assert_true(hear(fd, text, sizeof text, NULL) > 0);
    close(fd);
    ctl_let_go(ctl, true); /* another process has it */
    assert_int_equal(unlink(path), 0);
    ctl_renew(ctl);
    assert_int_not_equal(access(path, F_OK), 0);
}

/* The group's, where there is one of that name; else the process's. */
static void test_group(void **state)
{
    static const char *const none = "no-such-group-here";
    const struct group *g = getgrgid(geteuid() ? getegid() : 1); /* root may give it to any */
    char name[64] = "", other[80];
    struct ctl *second;
    struct stat st;

    (void)state;
    assert_non_null(g);
    snprintf(name, sizeof name, "%s", g->gr_name);
    for (int i = 0; i < 2; i++) {
        snprintf(other, sizeof other, "%s/group%d", dir, i);
        assert_int_equal(ctl_new(&second, &(struct ctl_params){.path = other, .mode = 0660, .group = i ? none : name}),
                         0);
        assert_int_equal(stat(other, &st), 0);
        assert_int_equal(st.st_gid, i || geteuid() ? getegid() : 1);
        assert_int_equal(st.st_mode & 07777, 0660);
        ctl_free(second);
    }
}

static int set_up(void **state)
{
    (void)state;
    if (!mkdtemp(dir))
        return -1;
    snprintf(path, sizeof path, "%s/control", dir);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    return rmdir(dir);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_one, begin, end),
        cmocka_unit_test_setup_teardown(test_half_lines, begin, end),
        cmocka_unit_test_setup_teardown(test_not_requests, begin, end),
        cmocka_unit_test_setup_teardown(test_many_at_once, begin, end),
        cmocka_unit_test_setup_teardown(test_many_not_requests, begin, end),
        cmocka_unit_test_setup_teardown(test_next_in_turn, begin, end),
        cmocka_unit_test_setup_teardown(test_turns, begin, end),
        cmocka_unit_test_setup_teardown(test_huge_line, begin, end),
        cmocka_unit_test_setup_teardown(test_slow_reader, begin, end),
        cmocka_unit_test_setup_teardown(test_hundred_clients, begin, end),
        cmocka_unit_test_setup_teardown(test_gone_while_pending, begin, end),
        cmocka_unit_test_setup_teardown(test_fire_and_forget, begin, end),
        cmocka_unit_test_setup_teardown(test_idle, begin, end),
        cmocka_unit_test_setup_teardown(test_path, begin, end),
        cmocka_unit_test_setup_teardown(test_stale, begin, end),
        cmocka_unit_test_setup_teardown(test_removed, begin, end),
        cmocka_unit_test_setup_teardown(test_group, begin, end),
    };

    return cmocka_run_group_tests(tests, set_up, tear_down);
}
