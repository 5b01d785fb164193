/* daemon/params.c - struct conf to session parameters and keys. */
#include "daemon/params.h"

struct session_params params_session(const struct conf_profile *c, const struct cipher *cipher)
{
    return (struct session_params){
        .client = c->role == CONF_CLIENT,
        .mtu = (uint16_t)c->mtu,
        .head = (uint8_t)cipher_head(cipher),
        .tail = (uint8_t)cipher_tail(cipher),
        .snd_wnd = c->sndwnd,
        .rcv_wnd = c->rcvwnd,
        .nodelay = (uint8_t)c->nodelay,
        .interval_ms = (uint16_t)(c->interval ? c->interval : 10), /* mode auto: not used, but for its range */
        .resend = c->resend,
        .nocwnd = c->nc != 0,
        .adaptive = c->mode == CONF_AUTO,
        .pacing = c->pacing,
        .redundancy = c->redundancy,
        .abreast = c->role == CONF_CLIENT ? c->conn : 0,
        .fec_data = (uint16_t)c->datashard,
        .fec_parity = (uint16_t)c->parityshard,
        .fec_unsent = (uint16_t)(c->parityshard - MIN(c->parityshard, c->paritysend)),
        .compress = !c->nocomp,
        .smux_ver = (uint8_t)c->smuxver,
        .frame_max = c->framesize,
        .session_buf = c->smuxbuf,
        .stream_buf = c->streambuf,
        .max_streams = c->maxstreams ? c->maxstreams : UINT32_MAX / 4, /* 0: no limit */
        .rate = c->ratelimit,
        .keepalive_ms = c->keepalive * 1000,
        .peer_timeout_ms = c->peertimeout * 1000,
    };
}
