/* daemon/snmplog.h - kcptun's counters in kcptun's two forms: rows of a CSV file, and the line that SIGUSR1 asks for. */
#ifndef DAEMON_SNMPLOG_H
#define DAEMON_SNMPLOG_H

#include "conf/conf.h"
#include "core/base/tick.h"
#include "core/stats.h"

struct snmplog {                  /* zeroed: new. Main thread only */
    struct tick next;             /* when a row is due */
    uint32_t period;              /* as it was when that was decided */
    bool failed;                  /* the last row; told once */
};

/* When there is something to do; TICK_NEVER: nothing. A period that has changed begins anew at `now`. */
struct tick snmplog_deadline(struct snmplog *l, const struct conf_global *g, struct tick now);
/* Adds a row, and makes the file first if it is not there. A failure is logged, once until it works again. */
void snmplog_write(struct snmplog *l, const struct conf_global *g, const struct stats *s, struct tick now);

enum { SNMP_TEXT_MAX = 2048 };
/* "KCP SNMP:&{BytesSent:0 ...}" */
void snmp_dump(char out[SNMP_TEXT_MAX], enum conf_snmp columns, const struct stats *s);
void snmp_header(char out[SNMP_TEXT_MAX], enum conf_snmp columns);      /* with its line end, as is a row */
void snmp_row(char out[SNMP_TEXT_MAX], enum conf_snmp columns, const struct stats *s, int64_t unix_s);

#endif
