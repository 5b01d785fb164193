/* core/base/list.h - intrusive doubly linked list. A zeroed or init'ed node is in no list; list_del() is
 * safe on one. The head is a node too. */
#ifndef BASE_LIST_H
#define BASE_LIST_H

#include "core/base/bytes.h"

#include <stdbool.h>

struct list {
    struct list *next, *prev;
};

static inline void list_init(struct list *l)
{
    l->next = l->prev = l;
}

static inline bool list_empty(const struct list *l)
{
    return l->next == l || !l->next;
}

/* True if node n is in a list. */
static inline bool list_linked(const struct list *n)
{
    return !list_empty(n);
}

static inline void list_add_before(struct list *at, struct list *n)
{
    n->next = at;
    n->prev = at->prev;
    at->prev->next = n;
    at->prev = n;
}

static inline void list_push(struct list *head, struct list *n) /* at the tail */
{
    list_add_before(head, n);
}

static inline void list_push_front(struct list *head, struct list *n)
{
    list_add_before(head->next, n);
}

static inline void list_del(struct list *n)
{
    if (list_empty(n))
        return;
    n->next->prev = n->prev;
    n->prev->next = n->next;
    list_init(n);
}

/* Moves every node of `from` to the tail of `to`. */
static inline void list_splice(struct list *to, struct list *from)
{
    if (list_empty(from))
        return;
    from->next->prev = to->prev;
    to->prev->next = from->next;
    from->prev->next = to;
    to->prev = from->prev;
    list_init(from);
}

#define LIST_FIRST(head, T, m) (list_empty(head) ? NULL : CONTAINER((head)->next, T, m))

/* Safe against deletion of the current node only. The inner loop runs once, to give the item its type; it##_go tells the
 * outer one that it was not left by `break`. */
#define LIST_EACH(it, head, T, m)                                                                                      \
    for (struct list *it##_n = (head)->next, *it##_go = it##_n, *it##_next;                                            \
         it##_go && it##_n != (head) && (it##_next = it##_n->next, 1); it##_n = it##_next)                             \
        for (T *it = (it##_go = NULL, CONTAINER(it##_n, T, m)); it; it = NULL, it##_go = it##_n)

#endif
