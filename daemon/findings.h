/* daemon/findings.h - what differs between the two ends of a tunnel, as far as it can be told here. Each is said once in the
 * log for its kind and source, and kept for whoever asks: a bounded list per tunnel and worker, written by the worker, read
 * by any thread. diagnose.h says how they are found. */
#ifndef DAEMON_FINDINGS_H
#define DAEMON_FINDINGS_H

#include "conf/conf.h"
#include "core/base/tick.h"
#include "daemon/io.h"

enum finding_kind {               /* see finding_text() */
    FINDING_KEY,
    FINDING_SMUXVER,
    FINDING_PACKED,
    FINDING_PLAIN,
    FINDING_FEC_SHAPE,
    FINDING_NO_FEC,
    FINDING_FEC,
    FINDING_FEC_UNSETTLED,
    FINDING_STALL,
    FINDING_DROPPED,
    FINDING_NOTHING,
    FINDING_KINDS,
};
enum { FINDING_SOURCES = 8 };     /* of each kind: those seen last */
enum { FINDINGS_MAX = FINDING_KINDS * FINDING_SOURCES };

struct finding {
    enum finding_kind kind;
    struct sockaddr_any from;     /* the other end; its port is that of the last time */
    uint64_t count;               /* sessions; FINDING_KEY: datagrams */
    struct tick first, last;
    unsigned detail[2];           /* FINDING_SMUXVER: its version; FINDING_FEC_SHAPE: its data and parity shards, or 0 */
};

struct findings;

struct findings *findings_new(void);                  /* NULL: out of memory */
struct findings *findings_free(struct findings *f);
/* Adds what->count to what is known of this kind and source. True: it is new, or was not seen for an hour, and was logged. */
bool findings_note(struct findings *f, const struct conf_profile *c, const struct finding *what);
/* Copies all there are to out. Returns their number. */
unsigned findings_read(struct findings *f, struct finding out[FINDINGS_MAX]);
const char *finding_name(enum finding_kind k);        /* one word, for machines */
/* What it means and what to check at which end. */
void finding_text(const struct finding *f, const struct conf_profile *c, char *out, size_t room);

#endif
