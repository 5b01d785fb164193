/* daemon/params.h - struct conf to what core takes: core never sees conf. */
#ifndef DAEMON_PARAMS_H
#define DAEMON_PARAMS_H

#include "conf/conf.h"
#include "core/session.h"
#include "crypto/cipher.h"
#include "crypto/qpp.h"

/* Everything but conv, pool and stats. */
struct session_params params_session(const struct conf_profile *c, const struct cipher *cipher);
/* Derives keys[i][0] and keys[i][1] (old key; zeroes if there is none) of every profile, each pass phrase once. 0, -errno. */
int params_keys(const struct conf *c, uint8_t (*keys)[2][CIPHER_KEY]);
/* Makes the pads of every profile with qpp, for its key and old key (NULL where there are none); equal ones once. 0, -errno. */
int params_qpps(const struct conf *c, struct qpp *(*qpps)[2]);

#endif
