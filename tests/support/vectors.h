/* tests/support/vectors.h - the JSON vectors under tests/data/, and small helpers of all tests. */
#ifndef SUPPORT_VECTORS_H
#define SUPPORT_VECTORS_H

#include "core/base/bytes.h"

#include <jansson.h>
#include <setjmp.h>
#include <stdarg.h>
/* cmocka wants the three above first */
#include <cmocka.h>

/* tests/data/NAME, parsed. Fails the test if it is missing. The caller json_decref()s it. */
json_t *vec_load(const char *name);
/* Member `key` of o; fails the test if it is missing. Borrowed. */
json_t *vec_get(const json_t *o, const char *key);
const char *vec_str(const json_t *o, const char *key);
long long vec_int(const json_t *o, const char *key);
/* Hex of a string value, or of member `key`, as bytes on the heap (own block each, exact size; free((void *)b.p)). */
struct bytes vec_unhex(const json_t *string);
struct bytes vec_hex(const json_t *o, const char *key);
void vec_free(struct bytes b);
/* pattern(n) of the stream vectors: byte i is i mod 251, starting at `from`. */
void vec_pattern(uint8_t *out, size_t from, size_t n);
/* Fails with both in hex (cut) unless equal. */
void assert_bytes(struct bytes got, struct bytes want, const char *what);

/* xorshift: the tests' random numbers, replayable from a printed seed (environment TEST_SEED overrides). */
struct rng {
    uint64_t s;
};
struct rng rng_seed(uint64_t seed);
uint64_t rng_next(struct rng *r);
uint32_t rng_below(struct rng *r, uint32_t n);
void rng_fill(struct rng *r, void *p, size_t n);

#endif
