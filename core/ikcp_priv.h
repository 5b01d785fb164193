/* core/ikcp_priv.h - between the files of the face. */
#ifndef CORE_IKCP_PRIV_H
#define CORE_IKCP_PRIV_H

#include "core/arq_priv.h"
#include "core/ikcp.h"

/* Members of the control block to the engine, and back. Users write members between calls, hooks within them. */
void ikcp_priv_enter(ikcpcb *kcp);
void ikcp_priv_leave(ikcpcb *kcp);
/* Logs each segment of a datagram that the log mask asks for. */
void ikcp_priv_log_segs(ikcpcb *kcp, bool in, const uint8_t *p, size_t len);

#endif
