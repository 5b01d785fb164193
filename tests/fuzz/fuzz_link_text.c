/* tests/fuzz/fuzz_link_text.c - any text as a plan for a link: refused whole, or every value within its bounds and the
 * changes in order of time. */
#include "tools/link_text.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static void check(const struct link_plan *p)
{
    for (size_t i = 0; i < p->n; i++) {
        const struct link_change *c = &p->v[i];

        if (i && c->at_us < p->v[i - 1].at_us)
            abort();
        if (c->field >= sizeof(struct link_params) || c->field % sizeof c->value || !c->ways || c->ways > LINK_BOTH)
            abort();
        if (c->value > UINT64_C(100000000000) ||
            (c->field != offsetof(struct link_params, rate) && c->value > UINT64_C(4000000000)))
            abort();
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    static struct link_plan p, was;
    char *text = malloc(len + 1);

    memcpy(text, data, len);
    text[len] = 0;
    p = (struct link_plan){.n = 0};
    if (link_plan_add(&p, "rate 1mbit; at 5s loss 1%"))
        abort();
    was = p;
    if (link_plan_add(&p, text) && (p.n != was.n || memcmp(p.v, was.v, p.n * sizeof p.v[0]) != 0))
        abort();
    check(&p);
    free(text);
    return 0;
}
