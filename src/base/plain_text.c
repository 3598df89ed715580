#include "base/plain_text.h"

#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

// Asked for all categories, "C" is a constant of the C library.
lm_locale_aside lm_locale_enter_plain(void) {
    int kept = errno; // for %m
    lm_locale_aside a = {.plain = newlocale(LC_ALL_MASK, "C", (locale_t)0)};
    if (a.plain) a.before = uselocale(a.plain);
    errno = kept;
    return a;
}

void lm_locale_leave_plain(lm_locale_aside a) {
    int kept = errno;
    if (a.plain) {
        uselocale(a.before);
        freelocale(a.plain);
    }
    errno = kept;
}

int lm_text_vformat(char *out, size_t size, const char *format, va_list args) {
    lm_locale_aside a = lm_locale_enter_plain();
    int n = vsnprintf(out, size, format, args);
    lm_locale_leave_plain(a);
    return n;
}

int lm_text_format(char *out, size_t size, const char *format, ...) {
    va_list args;
    va_start(args, format);
    int n = lm_text_vformat(out, size, format, args);
    va_end(args);
    return n;
}

double lm_text_number(const char *text, char **end) {
    lm_locale_aside a = lm_locale_enter_plain();
    double v = strtod(text, end);
    lm_locale_leave_plain(a);
    return v;
}

// The character at text, of *length bytes; -1 when the first byte doesn't begin one (RFC 3629).
static int32_t decode(const unsigned char *text, int *length) {
    static const int32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
    *length = 1;
    if (text[0] < 0x80) return text[0];
    if (text[0] < 0xc2 || text[0] > 0xf4) return -1;
    int n = text[0] < 0xe0 ? 2 : text[0] < 0xf0 ? 3 : 4;
    int32_t c = text[0] & (0x7f >> n);
    for (int i = 1; i < n; i++) {
        if ((text[i] & 0xc0) != 0x80) return -1;
        c = c << 6 | (text[i] & 0x3f);
    }
    if (c < least[n] || c > 0x10ffff || (c >= 0xd800 && c <= 0xdfff)) return -1;
    *length = n;
    return c;
}

// The joiners U+200C and U+200D are left alone: they belong to Persian words and to emoji.
static bool is_shown(int32_t c) {
    static const struct {
        int32_t low, high;
    } hidden[] = {{0, 0x1f},        {0x7f, 0x9f},     {0x61c, 0x61c},   {0x200b, 0x200b}, {0x200e, 0x200f},
                  {0x2028, 0x202e}, {0x2060, 0x206f}, {0xfeff, 0xfeff}, {0xfff9, 0xfffb}, {0xe0000, 0xe007f}};
    for (size_t i = 0; i < sizeof hidden / sizeof *hidden; i++)
        if (c >= hidden[i].low && c <= hidden[i].high) return false;
    return true;
}

// How a character (or a byte that is none, c < 0) is written; its length.
static size_t spell(int32_t c, const unsigned char *bytes, int length, char out[16]) {
    static const char letters[] = "\b\f\n\r\t", names[] = "bfnrt";
    const char *letter = c > 0 && c < 0x20 ? strchr(letters, c) : NULL;
    if (c >= 0 && is_shown(c)) return (size_t)(memcpy(out, bytes, (size_t)length), length);
    if (c < 0) return (size_t)snprintf(out, 16, "\\x%02x", bytes[0]);
    if (letter) return (size_t)snprintf(out, 16, "\\%c", names[letter - letters]);
    if (c < 0x10000) return (size_t)snprintf(out, 16, "\\u%04x", (unsigned)c);
    unsigned over = (unsigned)c - 0x10000; // a surrogate pair, as in JSON
    return (size_t)snprintf(out, 16, "\\u%04x\\u%04x", 0xd800 | over >> 10, 0xdc00 | (over & 0x3ff));
}

size_t lm_text_escape(char *out, size_t size, const char *text) {
    size_t whole = 0, kept = 0;
    bool fits = size > 0;
    int length;
    for (const unsigned char *p = (const unsigned char *)text; *p; p += length) {
        char one[16];
        int32_t c = decode(p, &length);
        size_t n = spell(c, p, length, one);
        fits = fits && whole + n < size;
        if (fits) memcpy(out + whole, one, n), kept = whole + n;
        whole += n;
    }
    if (size) out[kept] = 0;
    return whole;
}

// Drops the beginning of a character that was cut off.
static void trim_cut(char *text) {
    size_t n = strlen(text), back = 0;
    while (back < 4 && back < n && ((unsigned char)text[n - 1 - back] & 0xc0) == 0x80) back++;
    int length;
    if (back < n && decode((const unsigned char *)text + n - 1 - back, &length) < 0) text[n - 1 - back] = 0;
}

void lm_text_vline(char *out, size_t size, const char *format, va_list args) {
    char raw[1024] = "";
    if (lm_text_vformat(raw, sizeof raw, format, args) >= (int)sizeof raw) trim_cut(raw);
    lm_text_escape(out, size, raw);
}
