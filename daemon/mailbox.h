/* daemon/mailbox.h - a bounded single-producer single-consumer ring of records between two threads.
 * Records are copied in and out; they become visible when the producer publishes, once per loop turn. */
#ifndef DAEMON_MAILBOX_H
#define DAEMON_MAILBOX_H

#include "core/base/bytes.h"

#include <stdbool.h>

enum { MAILBOX_FULL = 1, MAILBOX_EMPTY };

struct mailbox;

/* size: bytes of the ring, a power of two >= 4096. NULL: out of memory. */
struct mailbox *mailbox_new(size_t size);
struct mailbox *mailbox_free(struct mailbox *m);
/* Producer. Copies head then body as one record of `type`; len of both together < size/4. 0, MAILBOX_FULL. */
int mailbox_put(struct mailbox *m, uint32_t type, struct bytes head, struct bytes body);
bool mailbox_publish(struct mailbox *m); /* true: something became visible, so the consumer may need a wake */
/* Producer. True once letters have gone through that the system still holds memory for. */
bool mailbox_has_spare(const struct mailbox *m);
void mailbox_trim(struct mailbox *m);    /* gives it back, if the box is empty now */
/* Consumer. *rec points into the ring (contiguous, 8-aligned) until mailbox_done(). 0, MAILBOX_EMPTY. */
int mailbox_get(struct mailbox *m, uint32_t *type, struct bytes *rec);
void mailbox_done(struct mailbox *m);    /* the record last got is consumed */

#endif
