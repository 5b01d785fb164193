/* core/base/utf8.c - characters as RFC 3629 has them: the shortest form, no surrogates, up to U+10FFFF. */
#include "core/base/utf8.h"

#include <stddef.h>
#include <stdint.h>

/* Bytes of the character that begins at s and may stay; 0: none does. s ends in NUL, which continues no character. */
static size_t character(const unsigned char *s)
{
    static const uint32_t least[] = {0, 0x20, 0xa0, 0x800, 0x10000}; /* of so many bytes, without control characters */
    size_t n = *s < 0x80 ? 1 : *s < 0xc0 ? 0 : *s < 0xe0 ? 2 : *s < 0xf0 ? 3 : *s < 0xf8 ? 4 : 0;
    uint32_t c = n == 1 ? *s : *s & (0x7fu >> n);

    for (size_t i = 1; i < n; i++) {
        if ((s[i] & 0xc0) != 0x80)
            return 0;
        c = c << 6 | (s[i] & 0x3f);
    }
    return n && c >= least[n] && c != 0x7f && (c < 0xd800 || c > 0xdfff) && c <= 0x10ffff ? n : 0;
}

void utf8_clean(char *s)
{
    for (size_t n; *s; s += n) {
        n = character((const unsigned char *)s);
        if (n)
            continue;
        *s = '?';
        n = 1;
    }
}
