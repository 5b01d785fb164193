/* daemon/watchdog.c - tells the service manager that the daemon lives, as long as it does. */
#include "daemon/watchdog.h"

#include "core/base/err.h"
#include "daemon/log.h"

#include <stdlib.h>

int watchdog_init(struct watchdog *d, struct shared *sh, struct notify *n, struct tick now)
{
    *d = (struct watchdog){.sh = sh, .notify = n, .next = n->watchdog_us ? now : TICK_NEVER};
    d->turns = malloc(sh->n_workers * sizeof *d->turns);
    if (!d->turns)
        return err_here(-ENOMEM);
    for (unsigned i = 0; i < sh->n_workers; i++)
        d->turns[i] = UINT64_MAX; /* a number that no worker is at: the first look finds all alive */
    return 0;
}

void watchdog_fini(struct watchdog *d)
{
    free(d->turns);
    d->turns = NULL;
}

static bool took_a_turn(struct watchdog *d, unsigned i)
{
    const struct worker_stats *s = worker_stats(d->sh->workers[i]);
    bool moved = !s || stat_read(&s->turns) != d->turns[i] || stat_read(&s->ended);

    if (!moved)
        log_error("worker %u has not finished a turn of its loop since it was asked to: the watchdog is not told", i);
    return moved;
}

/* A sleeping worker is woken by the letter, so that sleep cannot be mistaken for death, nor the other way round. */
static void ask(struct watchdog *d, unsigned i)
{
    const struct worker_stats *s = worker_stats(d->sh->workers[i]);

    if (!s)
        return;
    d->turns[i] = stat_read(&s->turns);
    if (!stat_read(&s->ended))
        post_put(d->sh->post, d->sh->n_workers, i, MAIL_PING, bytes_of(NULL, 0), bytes_of(NULL, 0));
}

void watchdog_step(struct watchdog *d, struct tick now)
{
    bool alive = true;

    if (tick_before(now, d->next))
        return;
    for (unsigned i = 0; i < d->sh->n_workers; i++)
        alive = took_a_turn(d, i) && alive;
    if (!alive) { /* a turn may be long on a busy machine: look again soon */
        d->next = tick_add_us(now, d->notify->watchdog_us / 8);
        return;
    }
    notify_alive(d->notify);
    for (unsigned i = 0; i < d->sh->n_workers; i++)
        ask(d, i);
    d->next = tick_add_us(now, d->notify->watchdog_us / 2);
}
