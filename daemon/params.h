/* daemon/params.h - struct conf to what core takes: core never sees conf. */
#ifndef DAEMON_PARAMS_H
#define DAEMON_PARAMS_H

#include "conf/conf.h"
#include "core/session.h"
#include "crypto/cipher.h"

/* Everything but conv, pool and stats. */
struct session_params params_session(const struct conf_profile *c, const struct cipher *cipher);

#endif
