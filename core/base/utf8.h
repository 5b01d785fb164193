/* core/base/utf8.h - text from outside, made fit for people and for JSON: UTF-8 without control characters. */
#ifndef BASE_UTF8_H
#define BASE_UTF8_H

/* Replaces each control character, and each byte that is not part of a character of UTF-8, by '?'. */
void utf8_clean(char *s);

#endif
