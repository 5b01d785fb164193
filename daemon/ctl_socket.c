/* daemon/ctl_socket.c - a listening unix socket in the file system that goes when its owner does. */
#include "daemon/ctl_socket.h"

#include "core/base/err.h"
#include "daemon/log.h"

#include <grp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

enum { BACKLOG = 16 };

static int new_socket(void)
{
    return socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
}

/* Makes way at the path: a socket that refuses connections has lost its daemon. */
static int remove_stale(const struct sockaddr_un *a)
{
    struct stat st;
    int fd, e;

    if (lstat(a->sun_path, &st))
        return errno == ENOENT ? 0 : err_say(-errno, "control socket %s", a->sun_path);
    if (!S_ISSOCK(st.st_mode))
        return err_say(-EEXIST, "control socket %s: not a socket", a->sun_path);
    fd = new_socket();
    if (fd < 0)
        return err_say(-errno, "control socket");
    e = connect(fd, (const struct sockaddr *)a, sizeof *a) ? errno : 0;
    close(fd);
    if (!e || e == EAGAIN)
        return err_say(-EADDRINUSE, "control socket %s: somebody listens there", a->sun_path);
    if (e != ECONNREFUSED)
        return err_say(-e, "control socket %s", a->sun_path);
    if (unlink(a->sun_path) && errno != ENOENT)
        return err_say(-errno, "remove stale control socket %s", a->sun_path);
    return 0;
}

/* Not being allowed to is no failure: who is in the group just has to ask another way. */
static void give_to_group(const char *path, const char *group)
{
    const struct group *g = group ? getgrnam(group) : NULL;

    if (g && g->gr_gid != getegid() && lchown(path, (uid_t)-1, g->gr_gid))
        log_warning("control socket %s: cannot give it to group %s: %s", path, group, strerror(errno));
}

/* Fails where anything is at the path. Of s: mode and group are set. */
static int bind_and_listen(struct ctl_socket *s, const struct sockaddr_un *a)
{
    struct stat st;

    s->fd = new_socket();
    if (s->fd < 0)
        return -errno;
    /* the new name gets the mode of the socket: nobody but us until it is the right one, whatever the umask */
    if (fchmod(s->fd, 0600) || bind(s->fd, (const struct sockaddr *)a, sizeof *a))
        return -errno;
    s->path = strdup(a->sun_path);
    if (!s->path || lstat(a->sun_path, &st))
        return s->path ? -errno : -ENOMEM;
    s->dev = st.st_dev;
    s->ino = st.st_ino;
    give_to_group(a->sun_path, s->group);
    if (listen(s->fd, BACKLOG) || chmod(a->sun_path, s->mode))
        return -errno;
    return 0;
}

int ctl_socket_open(struct ctl_socket *s, const char *path, mode_t mode, const char *group)
{
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    int r;

    *s = (struct ctl_socket){.fd = -1, .mode = mode, .group = group};
    if (strlen(path) >= sizeof a.sun_path)
        return err_say(-ENAMETOOLONG, "control socket %s", path);
    memcpy(a.sun_path, path, strlen(path) + 1);
    r = remove_stale(&a);
    if (r)
        return r;
    r = bind_and_listen(s, &a);
    if (r) {
        ctl_socket_close(s);
        return err_say(r, "control socket %s", path);
    }
    return 0;
}

int ctl_socket_inherit(struct ctl_socket *s, const char *path, mode_t mode, const char *group, int fd)
{
    struct stat st;

    *s = (struct ctl_socket){.fd = fd, .path = strdup(path), .mode = mode, .group = group};
    if (!s->path) {
        ctl_socket_close(s);
        return err_here(-ENOMEM);
    }
    if (!lstat(path, &st)) {
        s->dev = st.st_dev;
        s->ino = st.st_ino;
    }
    return 0;
}

bool ctl_socket_is_gone(const struct ctl_socket *s)
{
    struct stat st;

    return s->path && lstat(s->path, &st) && errno == ENOENT;
}

int ctl_socket_renew(struct ctl_socket *s)
{
    struct ctl_socket n = {.fd = -1, .mode = s->mode, .group = s->group};
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    int r;

    memcpy(a.sun_path, s->path, strlen(s->path) + 1); /* it fitted before */
    r = bind_and_listen(&n, &a);
    if (r) {
        ctl_socket_close(&n);
        if (!s->lost)
            log_error("control socket %s: somebody removed it, and it cannot be made anew: %s", s->path, strerror(-r));
        s->lost = true;
        return r;
    }
    log_warning("control socket %s: somebody removed it; it is there again", n.path);
    ctl_socket_let_go(s);
    *s = n;
    return 0;
}

void ctl_socket_let_go(struct ctl_socket *s)
{
    free(s->path);
    s->path = NULL;
    ctl_socket_close(s);
}

void ctl_socket_close(struct ctl_socket *s)
{
    struct stat st;

    if (s->path && !lstat(s->path, &st) && st.st_dev == s->dev && st.st_ino == s->ino)
        unlink(s->path);
    if (s->fd >= 0)
        close(s->fd);
    free(s->path);
    *s = (struct ctl_socket){.fd = -1};
}
