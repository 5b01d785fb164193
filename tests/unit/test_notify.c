/* tests/unit/test_notify.c - the datagrams to the service manager. */
#include "daemon/notify.h"

#include "tests/support/vectors.h"

#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int manager = -1;

/* A manager at a path, or with a leading @ at an abstract address. */
static void listen_at(const char *name)
{
    bool abstract = name[0] == '@';
    struct sockaddr_un un = {.sun_family = AF_UNIX};

    memcpy(un.sun_path, name, strlen(name));
    if (abstract)
        un.sun_path[0] = 0;
    manager = socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK, 0);
    assert_int_equal(bind(manager, (struct sockaddr *)&un,
                          (socklen_t)(offsetof(struct sockaddr_un, sun_path) + strlen(name) + !abstract)),
                     0);
    setenv("NOTIFY_SOCKET", name, 1);
}

/* What came, or "". */
static const char *heard(void)
{
    static char text[512];
    ssize_t n = recv(manager, text, sizeof text - 1, 0);

    text[n > 0 ? n : 0] = 0;
    return text;
}

static int forget(void **state)
{
    (void)state;
    if (manager >= 0)
        close(manager);
    manager = -1;
    unsetenv("NOTIFY_SOCKET");
    unsetenv("WATCHDOG_USEC");
    unsetenv("WATCHDOG_PID");
    return 0;
}

static void say_all(struct notify *n)
{
    unsigned long long us;

    notify_ready(n);
    assert_string_equal(heard(), "READY=1");
    notify_reloading(n);
    assert_int_equal(sscanf(heard(), "RELOADING=1\nMONOTONIC_USEC=%llu", &us), 1);
    assert_true(us > 0);
    notify_stopping(n);
    assert_string_equal(heard(), "STOPPING=1");
    notify_alive(n);
    assert_string_equal(heard(), "WATCHDOG=1");
    notify_main_pid(n, 4711);
    assert_string_equal(heard(), "MAINPID=4711");
}

static void test_path(void **state)
{
    char dir[] = "/tmp/test_notify.XXXXXX", path[64];
    struct notify n;

    (void)state;
    assert_non_null(mkdtemp(dir));
    snprintf(path, sizeof path, "%s/socket", dir);
    listen_at(path);
    assert_int_equal(notify_open(&n), 0);
    say_all(&n);
    notify_close(&n);
    unlink(path);
    rmdir(dir);
}

static void test_abstract(void **state)
{
    struct notify n;
    char name[64];

    (void)state;
    snprintf(name, sizeof name, "@test_notify.%d", (int)getpid());
    listen_at(name);
    assert_int_equal(notify_open(&n), 0);
    say_all(&n);
    notify_close(&n);
}

static void test_status(void **state)
{
    char dir[] = "/tmp/test_notify.XXXXXX", path[64], big[1000];
    struct notify n;

    (void)state;
    assert_non_null(mkdtemp(dir));
    snprintf(path, sizeof path, "%s/socket", dir);
    listen_at(path);
    assert_int_equal(notify_open(&n), 0);
    notify_status(&n, "%d sessions", 3);
    assert_string_equal(heard(), "STATUS=3 sessions");
    notify_status(&n, "%d sessions", 3);
    assert_string_equal(heard(), "");
    notify_status(&n, "4 sessions\nMAINPID=1");
    assert_string_equal(heard(), "STATUS=4 sessions");
    memset(big, 'x', sizeof big - 1);
    big[sizeof big - 1] = 0;
    notify_status(&n, "%s", big);
    assert_int_equal(strncmp(heard(), "STATUS=xxx", 10), 0);
    notify_close(&n);
    unlink(path);
    rmdir(dir);
}

static void test_nobody(void **state)
{
    struct notify n;

    (void)state;
    setenv("WATCHDOG_USEC", "1000000", 1);
    assert_int_equal(notify_open(&n), 0);
    assert_int_equal(n.fd, -1);
    assert_int_equal(n.watchdog_us, 0);
    notify_ready(&n);
    notify_status(&n, "x");
    notify_close(&n);
}

static void test_bad_address(void **state)
{
    char big[200];
    const char *const bad[] = {"relative", "/", "@", big, "vsock:2:1"};
    struct notify n;

    (void)state;
    memset(big, '/', sizeof big - 1);
    big[sizeof big - 1] = 0;
    for (unsigned i = 0; i < LEN(bad); i++) {
        setenv("NOTIFY_SOCKET", bad[i], 1);
        assert_int_equal(notify_open(&n), -EINVAL);
        notify_ready(&n);
        notify_close(&n);
    }
}

static void test_watchdog(void **state)
{
    const struct {
        const char *us, *pid;
        uint64_t want;
    } rows[] = {
        {"30000000", NULL, 30000000},
        {"30000000", "1", 0},
        {"30000000", "0", 0},
        {"", NULL, 0},
        {"12x", NULL, 0},
        {"-5", NULL, 0},
        {"0", NULL, 0},
        {"99999999999999999999999", NULL, 0},
    };
    struct notify n;
    char self[16];

    (void)state;
    setenv("NOTIFY_SOCKET", "/nowhere/at/all", 1);
    for (unsigned i = 0; i < LEN(rows); i++) {
        setenv("WATCHDOG_USEC", rows[i].us, 1);
        unsetenv("WATCHDOG_PID");
        if (rows[i].pid)
            setenv("WATCHDOG_PID", rows[i].pid, 1);
        assert_int_equal(notify_open(&n), 0);
        assert_int_equal(n.watchdog_us, rows[i].want);
        notify_alive(&n); /* nobody is there: lost */
        notify_close(&n);
    }
    snprintf(self, sizeof self, "%d", (int)getpid());
    setenv("WATCHDOG_USEC", "5", 1);
    setenv("WATCHDOG_PID", self, 1);
    assert_int_equal(notify_open(&n), 0);
    assert_int_equal(n.watchdog_us, 5);
    notify_close(&n);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_path, forget, forget),
        cmocka_unit_test_setup_teardown(test_abstract, forget, forget),
        cmocka_unit_test_setup_teardown(test_status, forget, forget),
        cmocka_unit_test_setup_teardown(test_nobody, forget, forget),
        cmocka_unit_test_setup_teardown(test_bad_address, forget, forget),
        cmocka_unit_test_setup_teardown(test_watchdog, forget, forget),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
