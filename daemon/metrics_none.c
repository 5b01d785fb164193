/* daemon/metrics_none.c - in place of metrics.c where libmicrohttpd is not there. */
#include "daemon/metrics.h"

#include "core/base/err.h"

int metrics_new(struct metrics **mp, const struct addr_text *at, int fd, const struct metrics_source *src)
{
    (void)mp;
    (void)fd;
    (void)at;
    (void)src;
    return err_say(-ENOSYS, "metrics: this kcptund was built without libmicrohttpd; leave the key out");
}

void metrics_renew(struct metrics *m)
{
    (void)m;
}

int metrics_listener(const struct metrics *m)
{
    (void)m;
    return -1;
}

void metrics_let_go(struct metrics *m, bool stays)
{
    (void)m;
    (void)stays;
}

struct metrics *metrics_free(struct metrics *m)
{
    return m;
}

int metrics_fd(const struct metrics *m)
{
    (void)m;
    return -1;
}

struct tick metrics_deadline(const struct metrics *m, struct tick now)
{
    (void)m;
    (void)now;
    return TICK_NEVER;
}

void metrics_step(struct metrics *m, struct tick now)
{
    (void)m;
    (void)now;
}
