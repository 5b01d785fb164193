/* tools/linkem_space.c - namespaces, named or not, and the devices in them.
 * A TUN device and a nameless namespace are gone when we are, however we end. A name is a mount and outlives kill -9: the
 * lock file beside it says that it was ours, so that the next start may remove it. */
#include "tools/linkem.h"

#include "core/base/err.h"
#include "tools/net_device.h"

#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#define NETNS_DIR "/run/netns"

/* 198.18.0.0/15 and 2001:2::/48 are for benchmarks (RFC 2544, RFC 5180): nobody else's addresses. */
static const char *const ipv4[LINKEM_ENDS] = {"198.18.0.1", "198.18.0.2"};
static const char *const ipv6[LINKEM_ENDS] = {"2001:2::1", "2001:2::2"};
static const char device[] = "link0";

enum { DEVICE_QUEUE = 20000 }; /* packets that wait for our thread; the queue that counts is the model's */

const char *linkem_address(int end)
{
    return ipv4[end];
}

static int put_fd(int *at, int fd)
{
    if (fd < 0)
        return -errno;
    *at = fd + 1;
    return 0;
}

static void close_fd(int *at)
{
    if (*at)
        close(*at - 1);
    *at = 0;
}

static int enter(int fd)
{
    return setns(fd - 1, CLONE_NEWNET) ? err_say(-errno, "enter a network namespace") : 0;
}

int linkem_space_enter(const struct linkem_space *s, int end)
{
    return enter(s->ns[end]);
}

/* The lock, still in the directory. *stale: the file was there, and nobody holds it. */
static int take_lock(struct linkem_space *s, const char *name, bool *stale)
{
    if (asprintf(&s->lock_path, "/run/kcptun-linkem.%s.lock", name) < 0) {
        s->lock_path = NULL;
        return err_here(-ENOMEM);
    }
    for (;;) {
        struct stat st;
        int r;

        *stale = !access(s->lock_path, F_OK);
        r = put_fd(&s->lock, open(s->lock_path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600));
        if (r)
            return err_say(r, "create %s (this needs root)", s->lock_path);
        if (flock(s->lock - 1, LOCK_EX | LOCK_NB)) {
            close_fd(&s->lock);
            return err_say(-EBUSY, "the name %s is in use by another kcptun-linkem (--name chooses one)", name);
        }
        if (!fstat(s->lock - 1, &st) && st.st_nlink) /* else its owner has just removed it */
            return 0;
        close_fd(&s->lock);
    }
}

/* Binds the namespace of this thread to a name, where `ip netns` looks for it. */
static int make_name(struct linkem_space *s, int end, const char *name, bool stale)
{
    char *path;
    int fd;

    if (asprintf(&path, NETNS_DIR "/%s-%c", name, "ab"[end]) < 0)
        return err_here(-ENOMEM);
    if (stale && !access(path, F_OK)) {
        umount2(path, MNT_DETACH);
        unlink(path);
    }
    if (mkdir(NETNS_DIR, 0755) && errno != EEXIST) {
        free(path);
        return err_say(-errno, "create " NETNS_DIR);
    }
    fd = open(path, O_RDONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0444);
    if (fd < 0) {
        int r = err_say(-errno, "create %s", path);

        free(path);
        return r;
    }
    close(fd);
    s->made[end] = path;
    if (mount("/proc/thread-self/ns/net", path, "none", MS_BIND, NULL))
        return err_say(-errno, "mount %s", path);
    return 0;
}

static int make_space(struct linkem_space *s, const struct linkem *e, int end, bool stale)
{
    int r;

    if (unshare(CLONE_NEWNET))
        return err_say(-errno, "make a network namespace (this needs root)");
    r = put_fd(&s->ns[end], open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC));
    if (r)
        return err_say(r, "open the namespace");
    if (net_device_up("lo", NULL))
        return err_say(-errno, "bring lo up");
    return e->name ? make_name(s, end, e->name, stale) : 0;
}

static int join_space(struct linkem_space *s, int end, const char *name)
{
    char path[512];
    int r;

    snprintf(path, sizeof path, "%s%s", strchr(name, '/') ? "" : NETNS_DIR "/", name);
    r = put_fd(&s->ns[end], open(path, O_RDONLY | O_CLOEXEC));
    if (r)
        return err_say(r, "open the namespace %s", path);
    return enter(s->ns[end]) ? err_say(-errno, "enter the namespace %s (this needs root)", path) : 0;
}

/* The kernel has its own to say on a new device: neither solicitations nor multicast reports belong into an experiment. */
static void keep_silent(void)
{
    int fd = open("/proc/sys/net/ipv6/conf/link0/addr_gen_mode", O_WRONLY | O_CLOEXEC);

    if (fd < 0)
        return; /* no IPv6 here */
    if (write(fd, "1", 1) != 1)
        err_here(-errno);
    close(fd);
}

static int open_tun(struct linkem_space *s, unsigned mtu, int end)
{
    struct ifreq q = {.ifr_flags = IFF_TUN | IFF_NO_PI};
    int r = put_fd(&s->tun[end], open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC));

    if (r)
        return err_say(r, "open /dev/net/tun (this needs root and the tun module)");
    memcpy(q.ifr_name, device, sizeof device);
    if (ioctl(s->tun[end] - 1, TUNSETIFF, &q))
        return err_say(-errno, "make the device %s (this needs root)", device);
    keep_silent();
    if (net_device_sizes(device, mtu, DEVICE_QUEUE) || net_device_up(device, ipv4[end]))
        return err_say(-errno, "set up %s", device);
    if (net_device_ipv6(device, ipv6[end]) && errno != EAFNOSUPPORT && errno != EPERM && errno != EACCES)
        return err_say(-errno, "set up IPv6 on %s", device);
    return 0;
}

int linkem_space_open(struct linkem_space *s, const struct linkem *e)
{
    bool stale = false;
    int r = put_fd(&s->home, open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC));

    if (r)
        return err_say(r, "open /proc/self/ns/net");
    if (e->name)
        r = take_lock(s, e->name, &stale);
    for (int end = 0; !r && end < LINKEM_ENDS; end++) {
        r = e->netns[end] ? join_space(s, end, e->netns[end]) : make_space(s, e, end, stale);
        r = r ? r : open_tun(s, e->mtu, end);
    }
    return r ? r : enter(s->home);
}

void linkem_space_close(struct linkem_space *s)
{
    for (int end = 0; end < LINKEM_ENDS; end++) {
        close_fd(&s->tun[end]);
        close_fd(&s->ns[end]);
        if (!s->made[end])
            continue;
        umount2(s->made[end], MNT_DETACH);
        unlink(s->made[end]);
        free(s->made[end]);
    }
    if (s->lock)
        unlink(s->lock_path);
    free(s->lock_path);
    close_fd(&s->lock);
    close_fd(&s->home);
    *s = (struct linkem_space){.home = 0};
}

uint64_t linkem_space_dropped(const struct linkem_space *s, int end)
{
    uint64_t n = 0;

    if (!linkem_space_enter(s, end))
        n = net_device_dropped(device);
    enter(s->home);
    return n;
}
