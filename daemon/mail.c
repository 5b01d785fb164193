/* daemon/mail.c - the mailboxes of all pairs of threads, and their wake-ups. */
#include "daemon/mail.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

/* A box holds all that can arrive for another worker in one turn, which is a full socket buffer: a new session begins with
 * its whole window, before it can be steered. Only what such bursts need is ever touched, and given back afterwards. Among
 * many threads boxes are smaller, for those who do not let a process reserve more than it uses. */
enum { BOX_MAX = 1 << 22, BOX_MIN = 1 << 18, BOXES_MAX = 1 << 28 };

struct thread {
    _Alignas(64) atomic_bool sleeping;
    int fd;
    unsigned next; /* sender whose box is read next, so that none is starved */
    struct mailbox *reading; /* the box of the letter on loan */
};

struct post {
    unsigned n;
    struct thread *threads;
    struct mailbox *boxes[]; /* [from * n + to] */
};

static size_t box_size(unsigned n)
{
    size_t size = BOX_MAX;

    while (size > BOX_MIN && size * n * n > BOXES_MAX)
        size /= 2;
    return size;
}

struct post *post_new(unsigned n)
{
    struct post *p = calloc(1, sizeof *p + sizeof(struct mailbox *) * n * n);

    if (!p)
        return NULL;
    p->n = n;
    p->threads = aligned_alloc(64, sizeof *p->threads * n);
    if (!p->threads)
        return post_free(p);
    for (unsigned i = 0; i < n; i++)
        p->threads[i] = (struct thread){.fd = -1};
    for (unsigned i = 0; i < n; i++) {
        p->threads[i].fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
        if (p->threads[i].fd < 0)
            return post_free(p);
        for (unsigned to = 0; to < n; to++)
            if (i != to && !(p->boxes[i * n + to] = mailbox_new(box_size(n))))
                return post_free(p);
    }
    return p;
}

struct post *post_free(struct post *p)
{
    if (!p)
        return NULL;
    for (unsigned i = 0; i < p->n * p->n; i++)
        mailbox_free(p->boxes[i]);
    for (unsigned i = 0; p->threads && i < p->n; i++)
        if (p->threads[i].fd >= 0)
            close(p->threads[i].fd);
    free(p->threads);
    free(p);
    return NULL;
}

int post_put(struct post *p, unsigned from, unsigned to, enum mail_type type, struct bytes head, struct bytes body)
{
    return mailbox_put(p->boxes[from * p->n + to], type, head, body);
}

void post_publish(struct post *p, unsigned from)
{
    for (unsigned to = 0; to < p->n; to++) {
        struct mailbox *m = p->boxes[from * p->n + to];

        if (!m || !mailbox_publish(m))
            continue;
        /* the letter must be visible before the flag is read: the sleeper sets the flag, then looks again */
        atomic_thread_fence(memory_order_seq_cst);
        if (atomic_exchange(&p->threads[to].sleeping, false))
            (void)!write(p->threads[to].fd, &(uint64_t){1}, sizeof(uint64_t));
    }
}

bool post_has_spare(const struct post *p, unsigned from)
{
    for (unsigned to = 0; to < p->n; to++)
        if (to != from && mailbox_has_spare(p->boxes[from * p->n + to]))
            return true;
    return false;
}

void post_trim(struct post *p, unsigned from)
{
    for (unsigned to = 0; to < p->n; to++)
        if (to != from)
            mailbox_trim(p->boxes[from * p->n + to]);
}

int post_get(struct post *p, unsigned me, enum mail_type *type, struct bytes *rec)
{
    struct thread *t = &p->threads[me];

    for (unsigned i = 0; i < p->n; i++) {
        struct mailbox *m = p->boxes[(t->next + i) % p->n * p->n + me];
        uint32_t kind;

        if (!m || mailbox_get(m, &kind, rec))
            continue;
        *type = kind;
        t->reading = m;
        t->next = (t->next + i) % p->n;
        return 0;
    }
    return MAILBOX_EMPTY;
}

void post_done(struct post *p, unsigned me)
{
    struct thread *t = &p->threads[me];

    mailbox_done(t->reading);
    t->next = (t->next + 1) % p->n;
}

int post_fd(struct post *p, unsigned me)
{
    return p->threads[me].fd;
}

bool post_may_sleep(struct post *p, unsigned me)
{
    uint32_t kind;
    struct bytes rec;

    atomic_store(&p->threads[me].sleeping, true);
    atomic_thread_fence(memory_order_seq_cst);
    for (unsigned from = 0; from < p->n; from++) {
        struct mailbox *m = p->boxes[from * p->n + me];

        if (m && mailbox_get(m, &kind, &rec) == 0)
            return false; /* not consumed: got again by post_get() */
    }
    return true;
}

void post_awake(struct post *p, unsigned me)
{
    atomic_store_explicit(&p->threads[me].sleeping, false, memory_order_relaxed);
}
