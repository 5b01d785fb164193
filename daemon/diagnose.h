/* daemon/diagnose.h - notices that the two ends do not fit, from what arrives (findings.h keeps it). */
#ifndef DAEMON_DIAGNOSE_H
#define DAEMON_DIAGNOSE_H

#include "daemon/tunnel.h"

/* n datagrams came that no key opens. */
void diagnose_unopened(struct tunnel *t, const struct io_src *sock, const struct sockaddr_any *from, unsigned n);
/* p is given up: nothing came in time, nor ever before from where it was dialled to. */
void diagnose_unanswered(struct peer *p);
/* What p's session sees. True: it explains why the session has ended. */
bool diagnose_peer(struct peer *p);

#endif
