/* daemon/answer_page.c - long lists, page by page: `next` of an answer, and `after` of the request for what follows, has for
 * each worker the place in its list where it goes on, or null where its list has ended. So each page holds what every worker
 * has to say, nobody keeps anything between two of them, and what comes or goes meanwhile moves nothing. */
#include "daemon/answer_priv.h"

bool answer_page_after(const struct ctl_query *q, unsigned worker, struct list_place *p)
{
    const json_t *v = json_array_get(json_object_get(q->rq.args, "after"), worker);
    uint64_t *const to[] = {&p->tunnel, &p->peer, &p->relay};

    for (size_t i = 0; i < LEN(to); i++)
        *to[i] = (uint64_t)json_integer_value(json_array_get(v, i));
    return json_is_array(v);
}

static bool place_ok(const json_t *v)
{
    bool ok = json_array_size(v) == sizeof(struct list_place) / sizeof(uint64_t);

    for (size_t i = 0; i < json_array_size(v); i++)
        ok = ok && json_is_integer(json_array_get(v, i)) && json_integer_value(json_array_get(v, i)) >= 0;
    return ok || json_is_null(v);
}

bool answer_arg_page(const struct answers *a, struct ctl_query *q, struct mail_list *m)
{
    const json_t *after = json_object_get(q->rq.args, "after"), *limit = json_object_get(q->rq.args, "limit"), *v;
    bool ok = json_array_size(after) == a->p.sh->n_workers;
    size_t i;

    m->max = limit ? (uint32_t)json_integer_value(limit) : ANSWER_ROWS;
    if (limit && (json_integer_value(limit) < 1 || json_integer_value(limit) > ANSWER_ROWS)) {
        answer_error(q, CTL_BAD_ARGS, "limit: accepted: 1..%d", ANSWER_ROWS);
        return false;
    }
    json_array_foreach(after, i, v) ok = ok && place_ok(v);
    if (after && !ok) {
        answer_error(q, CTL_BAD_ARGS, "after: accepted: `next` of an answer to this command, as it is");
        return false;
    }
    m->later = after;
    return true;
}

/* NULL: a worker has said all it has. */
static const struct list_place *end_of(const struct ask *k, const struct mail_listed *l)
{
    const void *row;

    if (!l->more || !l->n)
        return NULL;
    row = (const char *)l->rows +
          (l->n - 1) * (k->kind == LIST_SESSIONS ? sizeof(struct session_row) : sizeof(struct stream_row));
    return k->kind == LIST_SESSIONS ? &((const struct session_row *)row)->place
                                    : &((const struct stream_row *)row)->place;
}

json_t *answer_page_next(const struct answers *a, const struct ask *k)
{
    json_t *v = json_array();
    bool any = false;

    for (unsigned i = 0; i < a->p.sh->n_workers; i++) {
        const struct list_place *p = end_of(k, &k->lists[i]);

        json_array_append_new(
            v, p ? json_pack("[III]", (json_int_t)p->tunnel, (json_int_t)p->peer, (json_int_t)p->relay) : json_null());
        any = any || p;
    }
    if (any)
        return v;
    json_decref(v);
    return NULL;
}
