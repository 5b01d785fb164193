/* daemon/secret.h - pass phrases and the keys derived from them: each phrase once, however many profiles share it and
 * however often the configuration is read again; derived at first use, because it takes milliseconds. */
#ifndef DAEMON_SECRET_H
#define DAEMON_SECRET_H

#include <stdint.h>

struct qpp;
struct secret;                    /* shared; wiped when the last reference goes */
struct secrets;                   /* main's table of them */

struct secrets *secrets_new(void);                                     /* NULL: out of memory */
struct secrets *secrets_free(struct secrets *s);
struct secret *secrets_get(struct secrets *s, const char *phrase);     /* a reference; NULL: out of memory */
void secrets_sweep(struct secrets *s);                                 /* forgets those nobody else refers to */

/* Any thread: */
struct secret *secret_ref(struct secret *s);
struct secret *secret_put(struct secret *s);                           /* NULL in, NULL out */
uint32_t secret_id(const struct secret *s);                            /* no two of a process have the same */
int secret_key(struct secret *s, uint8_t key[32]);                     /* 0, -errno */
/* Pads made of it, there as long as the secret: made at first use, which a worker should not be (plan.c sees to it). NULL: out
 * of memory. */
struct qpp *secret_qpp(struct secret *s, unsigned count, unsigned generation);

#endif
