/* tests/support/vectors.c - loading and comparing what the JSON vectors hold. */
#include "tests/support/vectors.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

json_t *vec_load(const char *name)
{
    char path[4096];
    json_error_t err;
    json_t *j;

    snprintf(path, sizeof path, "%s/%s", TEST_DATA, name);
    j = json_load_file(path, 0, &err);
    if (!j)
        fail_msg("%s: %s (line %d)", path, err.text, err.line);
    return j;
}

json_t *vec_get(const json_t *o, const char *key)
{
    json_t *v = json_object_get(o, key);

    if (!v)
        fail_msg("vector lacks \"%s\"", key);
    return v;
}

const char *vec_str(const json_t *o, const char *key)
{
    const char *s = json_string_value(vec_get(o, key));

    if (!s)
        fail_msg("\"%s\" is not a string", key);
    return s;
}

long long vec_int(const json_t *o, const char *key)
{
    json_t *v = vec_get(o, key);

    if (!json_is_integer(v))
        fail_msg("\"%s\" is not an integer", key);
    return json_integer_value(v);
}

static int digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    fail_msg("bad hex digit '%c'", c);
    return 0;
}

struct bytes vec_unhex(const json_t *string)
{
    const char *s = json_string_value(string);
    size_t n;
    uint8_t *p;

    if (!s)
        fail_msg("hex value is not a string");
    n = strlen(s) / 2;
    p = malloc(n + !n);
    for (size_t i = 0; i < n; i++)
        p[i] = (uint8_t)(digit(s[2 * i]) << 4 | digit(s[2 * i + 1]));
    return bytes_of(p, n);
}

struct bytes vec_hex(const json_t *o, const char *key)
{
    return vec_unhex(vec_get(o, key));
}

void vec_free(struct bytes b)
{
    free((void *)(uintptr_t)b.p);
}

void vec_pattern(uint8_t *out, size_t from, size_t n)
{
    for (size_t i = 0; i < n; i++)
        out[i] = (uint8_t)((from + i) % 251);
}

static void hex_line(char *out, size_t room, struct bytes b)
{
    size_t n = MIN(b.len, (room - 4) / 2);

    for (size_t i = 0; i < n; i++)
        sprintf(out + 2 * i, "%02x", b.p[i]);
    strcpy(out + 2 * n, n < b.len ? "..." : "");
}

void assert_bytes(struct bytes got, struct bytes want, const char *what)
{
    char g[200], w[200];
    size_t at = 0;

    if (got.len == want.len && (!got.len || !memcmp(got.p, want.p, got.len)))
        return;
    while (at < got.len && at < want.len && got.p[at] == want.p[at])
        at++;
    hex_line(g, sizeof g, bytes_of(got.p + at, got.len - at));
    hex_line(w, sizeof w, bytes_of(want.p + at, want.len - at));
    fail_msg("%s: %zu bytes, want %zu; differ at %zu\n got %s\nwant %s", what, got.len, want.len, at, g, w);
}

struct rng rng_seed(uint64_t seed)
{
    const char *e = getenv("TEST_SEED");

    if (e)
        seed = strtoull(e, NULL, 0);
    print_message("seed %llu\n", (unsigned long long)seed);
    return (struct rng){seed * 0x9e3779b97f4a7c15u + 1};
}

uint64_t rng_next(struct rng *r)
{
    r->s ^= r->s << 13;
    r->s ^= r->s >> 7;
    r->s ^= r->s << 17;
    return r->s;
}

uint32_t rng_below(struct rng *r, uint32_t n)
{
    return (uint32_t)((rng_next(r) >> 32) * n >> 32);
}

void rng_fill(struct rng *r, void *p, size_t n)
{
    uint8_t *b = p;

    for (size_t i = 0; i < n; i++)
        b[i] = (uint8_t)(rng_next(r) >> 24);
}
