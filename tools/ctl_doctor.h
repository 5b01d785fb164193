/* tools/ctl_doctor.h - from facts to findings: what goes wrong in practice, why it matters, and what to do. Judges only; the
 * facts come from the daemon (command doctor), and from this machine's /proc. */
#ifndef TOOLS_CTL_DOCTOR_H
#define TOOLS_CTL_DOCTOR_H

#include <jansson.h>
#include <stddef.h>

enum doctor_severity { DOCTOR_NOTE, DOCTOR_WARNING, DOCTOR_ERROR };

struct doctor_finding {
    enum doctor_severity severity;
    const char *check;            /* its name, for scripts */
    char what[320], why[320], todo[400];
};

struct doctor_findings {          /* zeroed: none */
    struct doctor_finding *v;
    size_t n, cap;
};

struct doctor_machine {           /* -1: not known */
    long long rmem_max, wmem_max; /* bytes */
    long long rcvbuf_errors;      /* datagrams, of all programs since the machine started */
    long long uring_disabled;     /* the sysctl: 0 allowed, 1 for a group, 2 not at all */
};

/* proc: "/proc", or what a test puts in its place. */
void doctor_machine_read(struct doctor_machine *m, const char *proc);
/* Every check over the daemon's facts; those that end up in *out come in the order of the table. */
void doctor_examine(const json_t *facts, const struct doctor_machine *m, struct doctor_findings *out);
void doctor_findings_fini(struct doctor_findings *f);
const char *doctor_severity_name(enum doctor_severity s);

#endif
