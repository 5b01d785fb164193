/* core/base/bytes.h - views of bytes somebody else owns. */
#ifndef BASE_BYTES_H
#define BASE_BYTES_H

#include <stddef.h>
#include <stdint.h>

#define LEN(a) (sizeof(a) / sizeof(a)[0])
#define MIN(a, b) ((a) < (b) ? (a) : (b))
#define MAX(a, b) ((a) > (b) ? (a) : (b))

/* `container_of`: the struct of type T whose member m is *p. */
#define CONTAINER(p, T, m) ((T *)((char *)(p) - offsetof(T, m)))

struct bytes {                    /* to read; never owns */
    const uint8_t *p;
    size_t len;
};

struct room {                     /* to write; never owns */
    uint8_t *p;
    size_t len;
};

static inline struct bytes bytes_of(const void *p, size_t len)
{
    return (struct bytes){p, len};
}

#endif
