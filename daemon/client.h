/* daemon/client.h - the client end of a tunnel: local connections come in on one worker and are dealt round robin over
 * `conn` slots; each slot is a session on a worker of its own, dialled when first needed and replaced when dead. In mode auto
 * interactive streams and bulk are kept apart (core/deal.h): there are extra slots behind the others, which come to an end
 * when they are not needed. */
#ifndef DAEMON_CLIENT_H
#define DAEMON_CLIENT_H

#include "daemon/tunnel.h"

int client_new(struct client **cp, struct tunnel *t);   /* 0, -errno */
struct client *client_free(struct client *c);
void client_close(struct client *c);                    /* stops listening, drops what waits */
void client_drain(struct client *c, bool on);           /* stops listening, or begins again */
int client_listen(struct client *c, struct sockets *s); /* there from now on, if this is the home worker. 0, -errno */
/* Uses the servers of conf, which takes the profile's place, from now on. 0, -ENOMEM: as it was. */
int client_follow(struct client *c, const struct conf_profile *conf);
struct remotes *client_remotes(struct client *c);       /* its servers, as this worker knows them */
/* The profile has changed. renew: new sessions take the place of those there are. */
void client_change(struct client *c, bool renew);
void client_on_accept(struct io_src *s, const struct io_event *ev);
/* A local connection for a slot, whosever it is; takes fd. */
void client_deal(struct client *c, unsigned slot, int fd);
/* The same, for a slot of this worker. */
void client_take(struct client *c, unsigned slot, int fd);
void client_on_resolved(struct client *c, const struct resolve_result *res);
/* Sessions whose way has changed are moved to it, or followed by others. */
void client_on_network(struct client *c);
/* As slot_served(), slot_lost() and so on. */
void client_served(struct client *c, struct peer *p);
void client_lost(struct client *c, struct peer *p);
bool client_refused(struct client *c, struct peer *p, const char *why);
void client_connected(struct client *c, struct peer *p);
void client_cut_off(struct client *c, struct peer *p);
void client_pause(struct client *c, bool paused);       /* as server_pause() */
bool client_waits(const struct client *c);              /* local connections wait for a session */
void client_gone(struct io_src *s);                     /* the local listener is closed */

#endif
