/* core/base/err.h - results and the trace behind a negative one.
 * 0 done; negative -errno: something outside us broke, pass it on; positive: an outcome that the header of the
 * called function names. The trace is per thread, holds the newest failure only, and is for people. */
#ifndef BASE_ERR_H
#define BASE_ERR_H

#include <errno.h>

/* Starts a trace; the value is r. err_say() adds what was being done: err_say(-errno, "bind %s", text). */
#define err_here(r) err_start_(__FILE__, __LINE__, (r), 0)
#define err_say(r, ...) err_start_(__FILE__, __LINE__, (r), __VA_ARGS__)
/* Adds this frame to the trace; the value is r. */
#define err_pass(r) err_pass_(__FILE__, __LINE__, (r))

/* "what: strerror" of the newest failure; never NULL. Valid until the thread's next err_*() call. */
const char *err_text(void);
/* " (daemon/net.c:10 < daemon/worker.c:20)": where it passed. Same lifetime. */
const char *err_trace(void);

int err_start_(const char *file, int line, int r, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));
int err_pass_(const char *file, int line, int r);

/* AUTO(x_free) struct x *x = ...;  calls x_free(x) on every way out. TAKE(x) hands x over and disarms that. */
#define AUTO(fn) __attribute__((cleanup(fn##_auto_)))
#define AUTO_DEFINE(T, fn)                                                                         \
    static inline void fn##_auto_(T **p)                                                           \
    {                                                                                              \
        fn(*p);                                                                                    \
    }                                                                                              \
    struct auto_define_##fn                                                                        \
    {                                                                                              \
        char unused;                                                                               \
    }
#define TAKE(p)                                                                                    \
    __extension__({                                                                                \
        __typeof__(p) take_ = (p);                                                                 \
        (p) = 0;                                                                                   \
        take_;                                                                                     \
    })

#endif
