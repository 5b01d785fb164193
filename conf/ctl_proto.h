/* conf/ctl_proto.h - the codec of the control socket: one JSON object a line, both sides. Sees no socket.
 *
 *   -> {"v":1,"id":7,"cmd":"stats","args":{"profile":"home"}}
 *   <- {"v":1,"id":7,"ok":true,"data":{...},"more":false}
 *   <- {"v":1,"id":7,"ok":false,"error":{"code":"not-found","text":"no profile 'home'"}}
 *
 * Members that a reader does not know are ignored, so that the protocol can grow. A request may be answered in several
 * lines, all but the last with "more":true; ctl_merge() makes one of them. kcptun-control(7) describes the commands. */
#ifndef CONF_CTL_PROTO_H
#define CONF_CTL_PROTO_H

#include "core/base/bytes.h"

#include <jansson.h>
#include <stdbool.h>

enum {
    CTL_VERSION = 1,
    CTL_REQUEST_MAX = 65536,      /* bytes of a request line, without its LF */
    CTL_ANSWER_MAX = 1 << 20,     /* bytes of an answer line */
    CTL_CMD_MAX = 32,
    CTL_ID_MAX = 64,              /* bytes of an id that is a string */
};

enum { CTL_REFUSED = 1, CTL_TOO_LONG, CTL_AGAIN };

enum ctl_code {                   /* of an error; the names are part of the protocol */
    CTL_MALFORMED,                /* "malformed": not a request */
    CTL_BAD_VERSION,              /* "version": another "v" than 1 */
    CTL_UNKNOWN_COMMAND,          /* "unknown-command" */
    CTL_BAD_ARGS,                 /* "bad-args" */
    CTL_NOT_FOUND,                /* "not-found": no such profile or session */
    CTL_DENIED,                   /* "denied": not on this socket */
    CTL_BUSY,                     /* "busy": try again later */
    CTL_FAILED,                   /* "failed": something outside us broke */
};
const char *ctl_code_name(enum ctl_code c);

/* Bytes as they arrive, cut into lines. Zeroed with max set: empty. */
struct ctl_lines {
    size_t max;                   /* bytes of a line */
    char *buf;
    size_t at, len, cap;          /* buf[at..len) waits */
};
int ctl_lines_put(struct ctl_lines *l, struct bytes b);          /* copies. 0, -ENOMEM */
/* The next whole line without its LF (and CR), valid until the next put. 0, CTL_AGAIN, CTL_TOO_LONG (for good). */
int ctl_lines_next(struct ctl_lines *l, struct bytes *line);
void ctl_lines_fini(struct ctl_lines *l);

/* ---- the server's side ---- */

struct ctl_request {
    json_t *id;                   /* an integer or a string; NULL: none was given */
    char cmd[CTL_CMD_MAX + 1];
    json_t *args;                 /* an object; NULL: none */
    enum ctl_code code;           /* after CTL_REFUSED: what to answer ... */
    char text[160];               /* ... and its text */
};

/* 0, CTL_REFUSED (id is filled as far as it could be read, code and text say what to answer). The caller calls
 * ctl_request_fini() after either. */
int ctl_request_parse(struct ctl_request *rq, struct bytes line);
void ctl_request_fini(struct ctl_request *rq);

/* Text from outside as a JSON string: see utf8_clean(). NULL in, or out of memory: NULL. */
json_t *ctl_text(const char *text);

/* Called with each line of an answer, LF included. 0, -errno: stop, and pass it on. */
typedef int ctl_emit_fn(void *ctx, struct bytes line);

/* Takes data. 0, -ENOMEM, what emit gave; CTL_TOO_LONG: nothing was emitted. */
int ctl_answer(const struct ctl_request *rq, json_t *data, bool more, ctl_emit_fn *emit, void *ctx);
int ctl_answer_error(const struct ctl_request *rq, enum ctl_code code, const char *text, ctl_emit_fn *emit, void *ctx);
/* Like ctl_answer(), for data with "profiles":[{"name":...,"sessions":[...]}]: as many lines as it takes. */
int ctl_answer_profiles(const struct ctl_request *rq, json_t *data, ctl_emit_fn *emit, void *ctx);
/* Like ctl_answer(), for data with an array `name` of many members: as many lines as it takes. */
int ctl_answer_rows(const struct ctl_request *rq, json_t *data, const char *name, ctl_emit_fn *emit, void *ctx);

/* ---- the client's side ---- */

struct ctl_reply {
    bool ok, more;
    json_t *id;                   /* NULL: the daemon could not read ours */
    json_t *data;                 /* of an ok one; never NULL then */
    char *code, *text;            /* of an error */
};

/* A request line, LF included, on the heap. Takes args (NULL: none). NULL: out of memory, or too long. */
char *ctl_request_print(uint64_t id, const char *cmd, json_t *args);
/* 0 (the caller calls ctl_reply_fini()), CTL_REFUSED: not an answer. */
int ctl_reply_parse(struct ctl_reply *re, struct bytes line);
void ctl_reply_fini(struct ctl_reply *re);
/* Adds the data of a later line to that of earlier ones: objects member by member; arrays by appending, but an object
 * with the "name" of the last one there is merged with that; everything else is replaced. 0, -ENOMEM. */
int ctl_merge(json_t *into, const json_t *part);

#endif
