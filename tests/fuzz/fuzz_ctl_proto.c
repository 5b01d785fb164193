/* tests/fuzz/fuzz_ctl_proto.c - any bytes cut into lines; a line that is a request can be answered, and the answer is read
 * back with the same id; a line that is an answer survives being merged with itself. */
#include "conf/ctl_proto.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static void check(bool ok)
{
    if (!ok)
        abort();
}

static int on_line(void *ctx, struct bytes line)
{
    const struct ctl_request *rq = ctx;
    struct ctl_reply re;

    check(line.len && line.p[line.len - 1] == '\n');
    check(!ctl_reply_parse(&re, bytes_of(line.p, line.len - 1)));
    check(rq->id ? json_equal(re.id, rq->id) : !re.id);
    ctl_reply_fini(&re);
    return 0;
}

/* The shape that ctl_answer_profiles() is for. */
static bool has_profiles(const json_t *args)
{
    const json_t *list = json_object_get(args, "profiles");

    for (size_t i = 0; i < json_array_size(list); i++)
        if (!json_object_get(json_array_get(list, i), "name"))
            return false;
    return json_is_array(list);
}

static void try_request(struct bytes line)
{
    struct ctl_request rq;
    int r = ctl_request_parse(&rq, line);

    if (r) {
        check(r == CTL_REFUSED && *rq.text);
        check(!ctl_answer_error(&rq, rq.code, rq.text, on_line, &rq));
    } else {
        check(*rq.cmd && (!rq.args || json_is_object(rq.args)));
        check(!ctl_answer(&rq, rq.args ? json_incref(rq.args) : json_object(), false, on_line, &rq));
        check(!has_profiles(rq.args) || !ctl_answer_profiles(&rq, json_incref(rq.args), on_line, &rq));
    }
    ctl_request_fini(&rq);
}

static void try_reply(struct bytes line)
{
    struct ctl_reply re;

    if (ctl_reply_parse(&re, line))
        return;
    check(re.ok ? re.data && !re.code : re.code && re.text);
    if (json_is_object(re.data)) {
        json_t *sum = json_object();

        check(!ctl_merge(sum, re.data) && json_equal(sum, re.data));
        check(!ctl_merge(sum, re.data));
        json_decref(sum);
    }
    ctl_reply_fini(&re);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    struct ctl_lines l = {.max = CTL_REQUEST_MAX};
    size_t step = len ? data[0] + 1u : 1;
    struct bytes line;

    for (size_t at = 0; at < len; at += step) {
        if (ctl_lines_put(&l, bytes_of(data + at, MIN(step, len - at))))
            break;
        while (!ctl_lines_next(&l, &line)) {
            try_request(line);
            try_reply(line);
        }
    }
    ctl_lines_fini(&l);
    return 0;
}
