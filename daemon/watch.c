/* daemon/watch.c - inotify on directories, and a digest of what the files in them are. */
#include "daemon/watch.h"

#include "core/base/err.h"

#include <glob.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum {
    REST_US = 1000000,
    REST_MAX_US = 10000000, /* where the directory never rests */
    SLACK_NS = 20000000, /* file times come from a clock that lags by a tick */
    MASK = IN_CLOSE_WRITE | IN_ATTRIB | IN_CREATE | IN_DELETE | IN_MOVE | IN_DELETE_SELF | IN_MOVE_SELF,
};

struct watch {
    int fd;
    struct conf_paths paths;
    uint64_t was; /* digest of the files as they were read */
    struct tick first, due; /* of what has not been looked at yet */
};

struct watch *watch_new(void)
{
    struct watch *w = calloc(1, sizeof *w);

    if (!w)
        return NULL;
    w->fd = -1;
    w->due = TICK_NEVER;
    return w;
}

static void forget(struct watch *w)
{
    if (w->fd >= 0)
        close(w->fd);
    w->fd = -1;
    w->due = TICK_NEVER;
    conf_paths_fini(&w->paths);
}

struct watch *watch_free(struct watch *w)
{
    if (w)
        forget(w);
    free(w);
    return NULL;
}

uint64_t watch_clock_ns(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_REALTIME, &ts);
    return (uint64_t)ts.tv_sec * 1000000000 + (uint64_t)ts.tv_nsec;
}

/* ---- what the files are ---- */

struct digest {
    uint64_t h; /* FNV-1a */
    uint64_t newest_ns; /* change of any file */
};

static void add_bytes(struct digest *d, const void *p, size_t n)
{
    for (size_t i = 0; i < n; i++)
        d->h = (d->h ^ ((const uint8_t *)p)[i]) * UINT64_C(0x100000001b3);
}

static void add_file(struct digest *d, const char *path)
{
    struct stat st;
    uint64_t ns;

    add_bytes(d, path, strlen(path) + 1);
    if (stat(path, &st))
        return;
    ns = (uint64_t)st.st_ctim.tv_sec * 1000000000 + (uint64_t)st.st_ctim.tv_nsec;
    d->newest_ns = ns > d->newest_ns ? ns : d->newest_ns;
    add_bytes(d, &st.st_dev, sizeof st.st_dev);
    add_bytes(d, &st.st_ino, sizeof st.st_ino);
    add_bytes(d, &st.st_size, sizeof st.st_size);
    add_bytes(d, &st.st_mtim, sizeof st.st_mtim);
    add_bytes(d, &ns, sizeof ns);
}

static struct digest digest(const struct conf_paths *paths)
{
    struct digest d = {.h = UINT64_C(0xcbf29ce484222325)};

    for (unsigned i = 0; i < paths->n; i++) {
        glob_t g = {0};

        if (!strpbrk(paths->v[i], "*?[")) {
            add_file(&d, paths->v[i]);
            continue;
        }
        if (!glob(paths->v[i], 0, NULL, &g))
            for (size_t k = 0; k < g.gl_pathc; k++)
                add_file(&d, g.gl_pathv[k]);
        globfree(&g);
    }
    return d;
}

/* ---- directories ---- */

/* Watches the directory of path, or the nearest above it that is there. False: none. */
static bool watch_dir_of(int fd, const char *path)
{
    char dir[PATH_MAX];
    char *slash;
    bool ok;

    snprintf(dir, sizeof dir, "%s", path);
    do {
        slash = strrchr(dir, '/');
        if (!slash)
            strcpy(dir, ".");
        else
            slash[slash == dir] = '\0';
        ok = inotify_add_watch(fd, dir, MASK) >= 0;
    } while (!ok && errno == ENOENT && slash && slash != dir);
    return ok;
}

static bool same_dir(const char *a, const char *b)
{
    const char *x = strrchr(a, '/'), *y = strrchr(b, '/');

    return x && y && x - a == y - b && !memcmp(a, b, (size_t)(x - a));
}

/* The directories of a file and of what a link of that name leads to. */
static int watch_all(int fd, const struct conf_paths *p)
{
    char real[PATH_MAX];

    for (unsigned i = 0; i < p->n; i++) {
        if ((!i || !same_dir(p->v[i - 1], p->v[i])) && !watch_dir_of(fd, p->v[i]))
            return err_say(-errno, "watch the directory of %s", p->v[i]);
        if (realpath(p->v[i], real) && !same_dir(real, p->v[i]))
            watch_dir_of(fd, real);
    }
    return 0;
}

static int copy_paths(struct conf_paths *to, const struct conf_paths *from)
{
    to->v = calloc(from->n + 1, sizeof *to->v);
    if (!to->v)
        return err_here(-ENOMEM);
    for (; to->n < from->n; to->n++)
        if (!(to->v[to->n] = strdup(from->v[to->n])))
            return err_here(-ENOMEM);
    return 0;
}

int watch_paths(struct watch *w, const struct conf_paths *paths, uint64_t since_ns, struct tick now)
{
    struct digest d;
    int r;

    forget(w);
    if (!paths)
        return 0;
    r = copy_paths(&w->paths, paths);
    if (!r)
        w->fd = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
    if (!r && w->fd < 0)
        r = err_say(-errno, "watch files");
    if (!r)
        r = watch_all(w->fd, paths);
    if (r) {
        forget(w);
        return err_pass(r);
    }
    d = digest(&w->paths);
    w->was = d.h;
    /* perhaps behind our reader; what seems to come from the future was changed before the clock was set back */
    if (d.newest_ns + SLACK_NS >= since_ns && d.newest_ns <= watch_clock_ns() + SLACK_NS) {
        w->was = 0;
        w->first = now;
        w->due = tick_add_us(now, REST_US);
    }
    return 0;
}

int watch_fd(const struct watch *w)
{
    return w->fd;
}

void watch_take(struct watch *w, struct tick now)
{
    char events[4096] __attribute__((aligned(8)));
    bool any = false;

    while (w->fd >= 0 && read(w->fd, events, sizeof events) > 0)
        any = true;
    if (!any)
        return;
    if (w->due.us == UINT64_MAX)
        w->first = now;
    w->due = tick_min(tick_add_us(now, REST_US), tick_add_us(w->first, REST_MAX_US));
}

struct tick watch_due(const struct watch *w)
{
    return w->due;
}

bool watch_changed(struct watch *w, struct tick now)
{
    if (w->fd < 0 || tick_before(now, w->due))
        return false;
    w->due = TICK_NEVER;
    return digest(&w->paths).h != w->was;
}
