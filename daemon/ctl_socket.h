/* daemon/ctl_socket.h - a listening unix socket in the file system that goes when its owner does. */
#ifndef DAEMON_CTL_SOCKET_H
#define DAEMON_CTL_SOCKET_H

#include <sys/stat.h>

struct ctl_socket {               /* fd -1: not open */
    int fd;
    char *path;
    dev_t dev;
    ino_t ino;
};

/* As ctl_new(). Nobody the mode keeps out gets in before it counts. */
int ctl_socket_open(struct ctl_socket *s, const char *path, mode_t mode, const char *group);
/* The same for a socket that listens there already, which it takes. 0, -errno (it is closed). */
int ctl_socket_inherit(struct ctl_socket *s, const char *path, int fd);
void ctl_socket_let_go(struct ctl_socket *s); /* closes it, and leaves the path to another process */
/* Removes the path only if it is still ours. */
void ctl_socket_close(struct ctl_socket *s);

#endif
