/* daemon/ctl_socket.h - a listening unix socket in the file system that goes when its owner does, and comes back when
 * somebody has removed its file. */
#ifndef DAEMON_CTL_SOCKET_H
#define DAEMON_CTL_SOCKET_H

#include <stdbool.h>
#include <sys/stat.h>

struct ctl_socket {               /* fd -1: not open */
    int fd;
    char *path;
    mode_t mode;
    const char *group;            /* borrowed for as long as it is open */
    dev_t dev;
    ino_t ino;
    bool lost;                    /* the file is gone, and cannot be made anew */
};

/* As ctl_new(). Nobody the mode keeps out gets in before it counts. */
int ctl_socket_open(struct ctl_socket *s, const char *path, mode_t mode, const char *group);
/* The same for a socket that listens there already, which it takes. 0, -errno (it is closed). */
int ctl_socket_inherit(struct ctl_socket *s, const char *path, mode_t mode, const char *group, int fd);
/* Whether nothing is at the path any more. What somebody else has put there is his, whatever it is. */
bool ctl_socket_is_gone(const struct ctl_socket *s);
/* Of one that is gone: listens there anew, and closes the old socket. 0, -errno: as it was. Either is logged, once. */
int ctl_socket_renew(struct ctl_socket *s);
void ctl_socket_let_go(struct ctl_socket *s); /* closes it, and leaves the path to another process */
/* Removes the path only if it is still ours. */
void ctl_socket_close(struct ctl_socket *s);

#endif
